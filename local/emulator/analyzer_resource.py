"""The CloudFormation resource type AWS::AccessAnalyzer::Analyzer, which ministack lacks.

CloudFormation template reference, AWS::AccessAnalyzer::Analyzer: Ref and Arn are the analyzer's
ARN; AnalyzerName and Type cannot change; archive rules are a list of criteria by property.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ministack.core import responses
from ministack.services.cloudformation import provisioners

from local.emulator.caller import Caller
from local.emulator.upstream import Identity
from local.emulator.wire import AwsError

if TYPE_CHECKING:
    from local.emulator.emulation import Emulation

TYPE = "AWS::AccessAnalyzer::Analyzer"


def register(emulation: Emulation) -> None:
    """Let stacks create, change and delete analyzers."""

    def create(logical_id: str, props: dict[str, Any], stack_name: str) -> tuple[str, Any]:
        name = props.get("AnalyzerName") or provisioners._physical_name(
            stack_name, logical_id, max_len=255
        )
        request = {"analyzerName": name, "type": props["Type"], **_settings(props)}
        arn = _run(emulation.access_analyzer.findings.create_analyzer, request)["arn"]
        return arn, {"Arn": arn}

    def update(
        physical_id: str, old: dict[str, Any], new: dict[str, Any], stack_name: str
    ) -> tuple[str, Any]:
        emulation.access_analyzer.findings.change_analyzer(physical_id, _settings(new))
        return physical_id, {"Arn": physical_id}

    def delete(physical_id: str, props: dict[str, Any]) -> None:
        request = {"analyzerName": physical_id.rpartition("/")[2]}
        try:
            _run(emulation.access_analyzer.findings.delete_analyzer, request)
        except ValueError:
            return  # gone already, as CloudFormation takes it

    provisioners._RESOURCE_HANDLERS[TYPE] = {"create": create, "update": update, "delete": delete}
    provisioners._REPLACING_PROPERTIES[TYPE] = ("AnalyzerName", "Type")


def _run(operation: Any, request: dict[str, Any]) -> dict[str, Any]:
    account_id = responses.get_account_id()
    root = f"arn:aws:iam::{account_id}:root"
    caller = Caller(Identity(account_id, responses.get_region(), account_id, root, "Root"))
    try:
        answer: dict[str, Any] = operation(caller, request)
    except AwsError as error:
        # CloudFormation shows a ValueError as the reason of the failed resource.
        raise ValueError(f"{error.message} (Service: AccessAnalyzer, {error.code})") from error
    return answer


def _settings(props: dict[str, Any]) -> dict[str, Any]:
    """Return tags, rules and configuration as the API takes them."""
    settings: dict[str, Any] = {
        "tags": {tag["Key"]: tag["Value"] for tag in props.get("Tags") or []},
        "archiveRules": [
            {
                "ruleName": rule["RuleName"],
                "filter": {item["Property"]: _criterion(item) for item in rule["Filter"]},
            }
            for rule in props.get("ArchiveRules") or []
        ],
    }
    unused = (props.get("AnalyzerConfiguration") or {}).get("UnusedAccessConfiguration")
    if unused is not None:
        settings["configuration"] = {"unusedAccess": _unused_access(unused)}
    return settings


def _criterion(item: dict[str, Any]) -> dict[str, Any]:
    criterion: dict[str, Any] = {}
    for name, member in (("Eq", "eq"), ("Neq", "neq"), ("Contains", "contains")):
        if item.get(name):
            criterion[member] = item[name]
    if "Exists" in item:
        criterion["exists"] = str(item["Exists"]).lower() == "true"
    return criterion


def _unused_access(props: dict[str, Any]) -> dict[str, Any]:
    unused: dict[str, Any] = {}
    if "UnusedAccessAge" in props:
        unused["unusedAccessAge"] = int(props["UnusedAccessAge"])
    exclusions = (props.get("AnalysisRule") or {}).get("Exclusions")
    if exclusions:
        unused["analysisRule"] = {"exclusions": [_exclusion(item) for item in exclusions]}
    return unused


def _exclusion(props: dict[str, Any]) -> dict[str, Any]:
    exclusion: dict[str, Any] = {}
    if props.get("AccountIds"):
        exclusion["accountIds"] = [str(account_id) for account_id in props["AccountIds"]]
    if props.get("ResourceTags"):
        exclusion["resourceTags"] = [
            {tag["Key"]: tag["Value"] for tag in tags} for tags in props["ResourceTags"]
        ]
    return exclusion
