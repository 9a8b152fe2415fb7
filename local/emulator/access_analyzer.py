"""The Access Analyzer API: routing, validation, authorization, and every answer checked.

Requests are matched, parsed and checked by botocore's service model. An answer that does not fit
the operation's output shape is a fault of the emulator: HTTP 500, with the reason in the log.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

from local.emulator.call_events import call_event
from local.emulator.caller import identify
from local.emulator.faults import LOST_ANSWER, REQUEST_KINDS, error_of
from local.emulator.findings import Findings
from local.emulator.paging import page
from local.emulator.policy_checks import check_no_new_access, validate_policy
from local.emulator.policy_generation import PolicyGeneration
from local.emulator.shapes import InputError, RestRouter, parse_rest_json, problems, to_json
from local.emulator.wire import AwsError, Request, Response, error_in_protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from botocore.model import OperationModel

    from local.emulator.caller import Caller
    from local.emulator.emulation import Emulation

logger = logging.getLogger("pare.access_analyzer")

# Where the IAM action is not named after the operation: Service Authorization Reference,
# list_accessanalyzer (facts §1).
_IAM_ACTIONS = {
    "GetFindingV2": "GetFinding",
    "ListFindingsV2": "ListFindings",
}

# What CloudTrail's event is sent for.
_CHANGES = frozenset(
    {
        "ApplyArchiveRule", "CreateAnalyzer", "CreateArchiveRule", "DeleteAnalyzer",
        "DeleteArchiveRule", "UpdateAnalyzer", "UpdateArchiveRule", "UpdateFindings",
    }
)  # fmt: skip


class AccessAnalyzer:
    """The service, in every account and Region."""

    def __init__(self, emulation: Emulation) -> None:
        self._emulation = emulation
        self._router = RestRouter("accessanalyzer")
        self.findings = Findings(emulation)
        self.policy_generation = PolicyGeneration(emulation)
        findings, generation = self.findings, self.policy_generation
        self._operations: dict[str, Callable[[Caller, dict[str, Any]], dict[str, Any]]] = {
            "CreateAnalyzer": findings.create_analyzer,
            "ListAnalyzers": findings.list_analyzers,
            "GetAnalyzer": findings.get_analyzer,
            "DeleteAnalyzer": findings.delete_analyzer,
            "UpdateAnalyzer": findings.update_analyzer,
            "CreateArchiveRule": findings.create_archive_rule,
            "GetArchiveRule": findings.get_archive_rule,
            "UpdateArchiveRule": findings.update_archive_rule,
            "DeleteArchiveRule": findings.delete_archive_rule,
            "ApplyArchiveRule": findings.apply_archive_rule,
            "ListArchiveRules": findings.list_archive_rules,
            "ListFindingsV2": findings.list_findings,
            "GetFindingV2": findings.get_finding,
            "UpdateFindings": findings.update_findings,
            "GetAccessPreview": findings.get_access_preview,
            "ListAccessPreviews": findings.list_access_previews,
            "ListAccessPreviewFindings": findings.list_preview_findings,
            "StartPolicyGeneration": generation.start,
            "GetGeneratedPolicy": generation.get,
            "ListPolicyGenerations": lambda caller, params: page(
                generation.list_jobs(caller, params), "policyGenerations", params
            ),
            "CancelPolicyGeneration": generation.cancel,
            "ValidatePolicy": lambda _, params: page(validate_policy(params), "findings", params),
            "CheckNoNewAccess": lambda _, params: check_no_new_access(params),
        }

    def handle(self, request: Request) -> Response:
        """Return the answer to one signed request."""
        operation: OperationModel | None = None
        try:
            caller = identify(request)
            matched = self._router.match(request)
            if matched is None:
                raise AwsError(
                    "ValidationException",
                    f"There is no operation {request.method} {request.raw_path}.",
                    400,
                    reason="unknownOperation",
                )
            operation, labels = matched
            return self._answer(caller, operation, request, labels)
        except AwsError as error:
            return _error_response(error, operation)

    def _answer(
        self, caller: Caller, operation: OperationModel, request: Request, labels: dict[str, str]
    ) -> Response:
        name = operation.name
        fault = self._emulation.faults.take(name, REQUEST_KINDS)
        if fault is not None and fault.kind != LOST_ANSWER:
            raise error_of(fault, "rest-json")
        run = self._operations.get(name)
        if run is None:
            raise AwsError("InternalServerException", f"The emulator does not have {name}.", 500)
        try:
            params = parse_rest_json(operation, request, labels)
        except InputError as error:
            raise AwsError(
                "ValidationException",
                str(error),
                400,
                reason=error.reason,
                fieldList=[{"name": p.name, "message": p.message} for p in error.problems],
            ) from error
        try:
            caller.require(
                f"access-analyzer:{_IAM_ACTIONS.get(name, name)}", _resource(caller, params)
            )
            answer = run(caller, params)
        except AwsError as error:
            self._record_call(caller, name, params, request, error)
            raise
        self._record_call(caller, name, params, request, None)
        if fault is not None:
            raise error_of(fault, "rest-json")
        shape = operation.output_shape
        found = problems(answer, shape) if shape is not None else []
        if found:
            text = "; ".join(str(problem) for problem in found)
            logger.error("%s answered what AWS could not: %s", name, text)
            raise AwsError("InternalServerException", f"emulator fault in {name}: {text}", 500)
        return Response(200, json.dumps(to_json(answer)).encode())

    def _record_call(
        self,
        caller: Caller,
        name: str,
        params: dict[str, Any],
        request: Request,
        error: AwsError | None,
    ) -> None:
        """Send CloudTrail's event of a call that changes something, where that is switched on."""
        if name in _CHANGES and self._emulation.settings.cloudtrail_events:
            event = call_event(
                caller, "access-analyzer", name, params, request, error, self._emulation.now()
            )
            self._emulation.service_events.send(event)


def _resource(caller: Caller, params: dict[str, Any]) -> str:
    """Return the resource the action is authorized on; many take none (facts §1)."""
    analyzer = params.get("analyzerArn")
    if analyzer is None and "analyzerName" in params:
        analyzer = analyzer_arn(caller.account_id, caller.region, params["analyzerName"])
    if analyzer is None:
        return "*"
    if "ruleName" in params:
        return f"{analyzer}/archive-rule/{params['ruleName']}"
    return str(analyzer)


def analyzer_arn(account_id: str, region: str, name: str) -> str:
    """Return the ARN of an analyzer."""
    return f"arn:aws:access-analyzer:{region}:{account_id}:analyzer/{name}"


def _error_response(error: AwsError, operation: OperationModel | None) -> Response:
    """Return the error as its shape has it: some members travel as headers."""
    response = error_in_protocol(error, "rest-json")
    if operation is None or error.code not in {shape.name for shape in operation.error_shapes}:
        return response
    shape: Any = operation.service_model.shape_for(error.code)
    body: dict[str, Any] = {"message": error.message}
    headers = dict(response.headers)
    for name, member in shape.members.items():
        if name not in error.members:
            continue
        if member.serialization.get("location") == "header":
            headers[member.serialization["name"]] = str(error.members[name])
        else:
            body[name] = error.members[name]
    found = problems({**error.members, "message": error.message}, shape)
    if found:
        logger.error("error %s does not fit its shape: %s", error.code, found)
        return Response(500, json.dumps({"message": f"emulator fault: {found}"}).encode())
    return Response(error.status, json.dumps(body).encode(), headers=headers)
