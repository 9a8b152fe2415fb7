"""The app's stacks as CloudFormation gets them, and what the tests read from them."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aws_cdk as cdk
from aws_cdk import aws_lambda as lambda_
from cdk_nag import AwsSolutionsChecks

from infra.lambda_code import ASSETS
from infra.region_stack import region_stack_name
from infra.settings import ARCHIVE_RULES, load_settings
from infra.stacks import add_stacks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from infra.settings import Settings

ROOT = Path(__file__).parents[2]
CONTEXT = json.loads((ROOT / "cdk.json").read_text(encoding="utf-8"))["context"]
EXAMPLE = ROOT / "config" / "pare.yaml"
# PareRegion: of the one other Region. The last are what other accounts deploy by hand.
BY_HAND = ("PareMember", "PareLogArchive")
STACKS = ("PareStorage", "PareMembers", "ParePipeline", "PareRegion", *BY_HAND)
# partition -> home Region, another one
PARTITIONS = {
    "aws": ("us-east-1", "us-west-2"),
    "aws-us-gov": ("us-gov-west-1", "us-gov-east-1"),
    "aws-cn": ("cn-north-1", "cn-northwest-1"),
}
# Without stack sets: there PareMember is deployed by hand in every account.
WITHOUT_MEMBERS = "aws-cn"
# (partition, stack): all there is, to try each.
PLACES = [
    (partition, stack)
    for partition in PARTITIONS
    for stack in STACKS
    if (partition, stack) != (WITHOUT_MEMBERS, "PareMembers")
]
PARTNERS = '[{account_id: "666666666666", name: Payment provider}]'
ROUTES = "[{owners: [payments, shop], emails: [payments@example.com]}]"
# CDK's hash at the end of a logical id.
HASH = re.compile(r"[0-9A-F]{8}$")
# Of the export of a resource's Ref: the logical id.
EXPORTED_REF = re.compile(r":ExportsOutputRef(\w+)[0-9A-F]{8}$")

Json = dict[str, Any]


def settings_in(partition: str, folder: Path) -> Settings:
    """Return config/pare.yaml moved to a partition.

    Outside ``aws`` everything optional is set too, so that it is checked as well.
    """
    text = EXAMPLE.read_text(encoding="utf-8")
    for old, new in zip(PARTITIONS["aws"], PARTITIONS[partition], strict=True):
        text = text.replace(old, new)
    text = text.replace("arn:aws:", f"arn:{partition}:")
    if partition != "aws":
        home = PARTITIONS[partition][0]
        key = f"arn:{partition}:kms:{home}:333333333333:key/0a1b2c3d-1111-2222-3333-444455556666"
        for line, value in (
            ("  prefix: null", "  prefix: cloudtrail"),
            ("  kms_key_arns: []", f"  kms_key_arns: [{key}]"),
            ("account_exclusions: []", 'account_exclusions: ["555555555555"]'),
            ("member_external_id: null", "member_external_id: a-secret-of-two-parties"),
            ("log_retention_days: 90", "log_retention_days: 365"),
            ("  create_external_access: false", "  create_external_access: true"),
            ("  paid_unused_access: false", "  paid_unused_access: true"),
            ("partner_accounts: []", f"partner_accounts: {PARTNERS}"),
            ("  routes: []", f"  routes: {ROUTES}"),
        ):
            assert text.count(f"\n{line}") == 1, line
            text = text.replace(f"\n{line}", f"\n{value}")
    shutil.copy(EXAMPLE.with_name(ARCHIVE_RULES), folder)
    path = folder / "pare.yaml"
    path.write_text(text, encoding="utf-8")
    return load_settings(path)


def synthesize(settings: Settings, folder: Path) -> Synthesis:
    """Return every stack of app.py, checked by cdk-nag, without the Lambda code.

    A failed check does not raise: it is in the report, for a test to show.
    """
    app = cdk.App(context=CONTEXT, outdir=str(folder))
    add_stacks(
        app,
        settings,
        code=lambda_.Code.from_inline("pass"),
        activity_code=lambda_.Code.from_inline("pass  # with compiled wheels"),
    )
    synth_checked(app)
    return Synthesis(settings, folder)


def copy_sources(root: Path) -> None:
    """Copy what app.py needs to another root, with the dependencies that are installed here.

    So that a synth there leaves ``.build`` of this repository alone, and needs no network.
    """
    root.mkdir(exist_ok=True)
    for name in ("app.py", "cdk.json", *(asset.requirements for asset in ASSETS)):
        shutil.copy(ROOT / name, root)
    for name in ("config", "infra", "lambdas", "pare"):
        shutil.copytree(ROOT / name, root / name)
    for installed in (ROOT / ".build").glob("dependencies-*"):
        if installed.suffix != ".partial":
            shutil.copytree(installed, root / ".build" / installed.name)


def synth_checked(app: cdk.App) -> None:
    """Synthesize with cdk-nag; what it finds is in ``validation-report.json``."""
    cdk.Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    try:
        app.synth()
    except RuntimeError as error:
        if "validation-report.json" not in str(error):
            raise


@dataclass(frozen=True)
class Synthesis:
    """What ``cdk synth`` leaves in a folder."""

    settings: Settings
    folder: Path

    @property
    def stacks(self) -> tuple[str, ...]:
        """The names of the stacks there are."""
        return tuple(stack for place, stack in PLACES if place == self.settings.partition)

    @property
    def storage(self) -> Template:
        return self.templates["PareStorage"]

    @property
    def pipeline(self) -> Template:
        return self.templates["ParePipeline"]

    @property
    def member(self) -> Template:
        return self.templates["PareMember"]

    @property
    def region(self) -> Template:
        return self.templates["PareRegion"]

    def artifact(self, stack: str) -> str:
        """Return the name by which CDK knows a stack: that of a Region's ends with the Region.

        That of one deployed by hand is the file's name without its end.
        """
        if stack == "PareRegion":
            (other,) = self.settings.other_regions
            return region_stack_name(other)
        if stack in BY_HAND:
            (template,) = self.assembly(stack).glob(f"ByHand{stack}????????.template.json")
            return template.name.removesuffix(".template.json")
        return stack

    def path(self, stack: str) -> str:
        """Return a stack's construct path, by which the CDK CLI deploys it."""
        return f"ByHand/{stack}" if stack in BY_HAND else self.artifact(stack)

    def assembly(self, stack: str) -> Path:
        """Return the folder with a stack's template and manifest."""
        return self.folder / "assembly-ByHand" if stack in BY_HAND else self.folder

    def _artifact(self, stack: str) -> Json:
        text = (self.assembly(stack) / "manifest.json").read_text(encoding="utf-8")
        artifact: Json = json.loads(text)["artifacts"][self.artifact(stack)]
        return artifact

    @cached_property
    def templates(self) -> dict[str, Template]:
        templates = {stack: Template(stack, json.loads(self.text(stack))) for stack in self.stacks}
        exports = templates["PareStorage"].exports()
        return {
            stack: Template(stack, template.body, exports) for stack, template in templates.items()
        }

    def text(self, stack: str) -> str:
        """Return a template as it is sent to CloudFormation."""
        file = self.assembly(stack) / f"{self.artifact(stack)}.template.json"
        return file.read_text(encoding="utf-8")

    def manifest(self, stack: str) -> Json:
        """Return what the CDK CLI is told about a stack."""
        properties: Json = self._artifact(stack)["properties"]
        return properties

    def metadata(self) -> Iterator[tuple[str, str, Any]]:
        """Yield (construct path, type, data) of everything CDK noted about a construct."""
        for stack in self.stacks:
            artifact = self._artifact(stack)
            entries = dict(artifact.get("metadata", {}))
            if extra := artifact.get("additionalMetadataFile"):
                entries |= json.loads((self.assembly(stack) / extra).read_text(encoding="utf-8"))
            for path, notes in entries.items():
                for note in notes:
                    yield path.removeprefix("/"), note["type"], note.get("data")

    def construct_types(self) -> dict[str, str]:
        """Return the type of every construct by its path, such as ``aws-cdk-lib.aws_sqs.Queue``."""
        types: dict[str, str] = {}

        def visit(node: Json) -> None:
            types[node["path"]] = node.get("constructInfo", {}).get("fqn", "")
            for child in node.get("children", {}).values():
                visit(child)

        visit(json.loads((self.folder / "tree.json").read_text(encoding="utf-8"))["tree"])
        return types


@dataclass(frozen=True)
class Template:
    """One stack's template. ``exports``: what other stacks' exports stand for."""

    stack: str
    body: Json
    exports_of_others: dict[str, str] | None = None

    def resources(self, *types: str) -> dict[str, Json]:
        """Return the resources of these types, or all, by logical id."""
        return {
            logical_id: resource
            for logical_id, resource in self.body["Resources"].items()
            if not types or resource["Type"] in types
        }

    def properties(self, *types: str) -> dict[str, Json]:
        """Return the properties of the resources of these types by logical id."""
        return {
            logical_id: resource.get("Properties", {})
            for logical_id, resource in self.resources(*types).items()
        }

    def exports(self) -> dict[str, str]:
        """Return what each export of this stack stands for, as a person writes it."""
        return {
            output["Export"]["Name"]: f"{self.stack}.{self.readable(output['Value'])}"
            for output in self.body.get("Outputs", {}).values()
            if "Export" in output
        }

    def readable(self, value: Any) -> str:
        """Return a value as text in which ``RunsTable.Arn`` stands for its reference."""
        match value:
            case str():
                return value
            case {"Ref": str(name)}:
                return name if "::" in name else HASH.sub("", name)
            case {"Fn::GetAtt": [str(name), str(attribute)]}:
                return f"{HASH.sub('', name)}.{attribute}"
            case {"Fn::ImportValue": str(name)}:
                return (self.exports_of_others or {}).get(name, name)
            case {"Fn::Join": [str(separator), list(parts)]}:
                return separator.join(
                    part if isinstance(part, str) else f"<{self.readable(part)}>" for part in parts
                )
            case {"Fn::Select": [int(index), {"Fn::Split": [str(separator), whole]}]}:
                return f"part {index} of {self.readable(whole)} at {separator}"
        return json.dumps(value, sort_keys=True)

    def statements_of(self, role: str) -> list[Json]:
        """Return every statement of a role's policies; the role is named by its logical id."""
        properties = self.properties("AWS::IAM::Role")[role]
        assert not properties.keys() & {"Policies", "ManagedPolicyArns"}, role
        return [
            statement
            for policy in self.properties("AWS::IAM::Policy").values()
            if {"Ref": role} in policy["Roles"]
            for statement in policy["PolicyDocument"]["Statement"]
        ]

    def state_machines(self) -> dict[str, Json]:
        """Return each state machine's definition by workflow: Finding, Policy, Inventory.

        A reference in it stands as ``<LogicalId>`` or ``<LogicalId.Arn>``.
        """
        return {
            re.findall(r"[A-Z][a-z]+", logical_id)[0]: json.loads(
                _with_placeholders(properties["DefinitionString"])
            )
            for logical_id, properties in self.properties(
                "AWS::StepFunctions::StateMachine"
            ).items()
        }


def _with_placeholders(value: Any) -> str:
    match value:
        case str():
            return value
        case {"Ref": "AWS::Partition"}:
            return "aws"
        case {"Ref": str(name)}:
            return f"<{name}>"
        case {"Fn::GetAtt": [str(name), str(attribute)]}:
            return f"<{name}.{attribute}>"
        case {"Fn::ImportValue": str(name)} if exported := EXPORTED_REF.search(name):
            return f"<{exported[1]}>"
        case {"Fn::Join": ["", list(parts)]}:
            return "".join(_with_placeholders(part) for part in parts)
    raise AssertionError(f"a state machine has an unexpected reference: {value}")


def as_list(value: Any) -> list[Any]:
    """Return the items of an element that may be one value or a list, as in a policy."""
    return value if isinstance(value, list) else [value]


def states(definition: Json) -> Iterator[tuple[str, Json]]:
    """Yield every state of a definition, those of branches and maps too, with its name."""
    for name, state in definition["States"].items():
        yield name, state
        for inner in (*state.get("Branches", ()), state.get("ItemProcessor", {"States": {}})):
            yield from states(inner)


def tasks(definition: Json) -> dict[str, Json]:
    """Return the Task states of a definition by name."""
    return {name: state for name, state in states(definition) if state["Type"] == "Task"}
