"""Calls that a Task makes without a function: sns:publish whole, and faults on every operation.

Step Functions developer guide, connect-sns and supported-services-awssdk. ministack loses the
message attributes of sns:publish in both integrations, so that no filtered subscription gets the
message, and names its errors otherwise.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from functools import cache
from typing import TYPE_CHECKING, Any

from ministack.services import sns, stepfunctions

from local.emulator.faults import REQUEST_KINDS
from local.emulator.shapes import service_model

if TYPE_CHECKING:
    from local.emulator.emulation import Emulation
    from local.emulator.faults import Fault

_RESOURCE = re.compile(r"arn:aws:states:::(aws-sdk:)?([^:]+):([^.:]+)")
_NAMESPACE = "{http://sns.amazonaws.com/doc/2010-03-31/}"
_MAX_SUBJECT = 100
# What SNS calls the kinds of fault: its service model.
_SNS_FAULTS = {
    "throttle": "ThrottledException",
    "server_error": "InternalErrorException",
    "lost_answer": "InternalErrorException",
    "access_denied": "AuthorizationErrorException",
}
_OTHER_FAULTS = {
    "throttle": "ThrottlingException",
    "server_error": "InternalServerException",
    "lost_answer": "InternalServerException",
    "access_denied": "AccessDeniedException",
}


def apply() -> None:
    """Put everything in place but the faults."""
    stepfunctions._SERVICE_DISPATCH["arn:aws:states:::sns:publish"] = _publish
    stepfunctions._SERVICE_DISPATCH["arn:aws:states:::aws-sdk:sns:publish"] = _publish
    subjects_are_checked()


def register(emulation: Emulation) -> None:
    """Let the calls of tasks meet the faults that are switched on, but not those of functions."""
    invoke = stepfunctions._invoke_resource

    def invoke_resource(resource: str, input_data: Any) -> Any:
        found = _RESOURCE.match(resource)
        faults = emulation.faults
        if not faults.active or found is None or found[2] == "lambda":
            return invoke(resource, input_data)
        fault = faults.take(found[3][0].upper() + found[3][1:], REQUEST_KINDS)
        if fault is None:
            return invoke(resource, input_data)
        if fault.kind == "lost_answer":
            invoke(resource, input_data)
        raise stepfunctions._ExecutionError(
            _error_name(fault, bool(found[1]), found[2]), "By a switched-on fault"
        )

    stepfunctions._invoke_resource = invoke_resource


def _error_name(fault: Fault, is_sdk: bool, service: str) -> str:
    if fault.code is not None:
        return fault.code
    names = _SNS_FAULTS if service == "sns" else _OTHER_FAULTS
    return f"{_prefix(is_sdk, service)}.{names[fault.kind]}"


def _prefix(is_sdk: bool, service: str) -> str:
    if is_sdk:
        return str(stepfunctions._AWS_SDK_ERROR_PREFIX.get(service, service.capitalize()))
    names = {"dynamodb": "DynamoDB", "states": "StepFunctions", "events": "EventBridge"}
    return names.get(service, service.upper())


def _publish(resource: str, data: dict[str, Any]) -> dict[str, Any]:
    """Return the answer of Publish; errors are named as each integration names them."""
    if not resource.partition(".")[0].endswith(":publish"):
        raise stepfunctions._ExecutionError("States.Runtime", f"The emulator lacks {resource}.")
    attributes = data.get("MessageAttributes") or {}
    form = {k: v for k, v in data.items() if k != "MessageAttributes"}
    for number, name in enumerate(sorted(attributes), 1):
        entry = f"MessageAttributes.entry.{number}"
        form[f"{entry}.Name"] = name
        for member, value in attributes[name].items():
            form[f"{entry}.Value.{member}"] = value
    status, _, body = sns._publish(form)
    root = ElementTree.fromstring(body)
    if status >= 400:
        is_sdk = "aws-sdk:" in resource
        code = root.findtext(f".//{_NAMESPACE}Code") or "InternalError"
        raise stepfunctions._ExecutionError(
            f"{_prefix(is_sdk, 'sns')}.{error_class(code, is_sdk=is_sdk)}",
            root.findtext(f".//{_NAMESPACE}Message") or "",
        )
    answer = {}
    for name in ("MessageId", "SequenceNumber"):
        found = root.find(f".//{{*}}{name}")
        if found is not None and found.text:
            answer[name] = found.text
    return answer


def error_class(code: str, *, is_sdk: bool) -> str:
    """Return the exception of an error code of SNS: of the SDK for Java 2, or of Java 1."""
    name = _error_shapes().get(code) or f"{code.removesuffix('Exception')}Exception"
    return f"Kms{name[3:]}" if is_sdk and name.startswith("KMS") else name


@cache
def _error_shapes() -> dict[str, str]:
    return {
        str(shape.metadata.get("error", {}).get("code", shape.name)): str(shape.name)
        for shape in service_model("sns").error_shapes
    }


def subjects_are_checked() -> None:
    """A subject has at most 100 characters, and no line breaks or control characters.

    https://docs.aws.amazon.com/sns/latest/api/API_Publish.html: otherwise InvalidParameter.
    ministack takes any.
    """
    publish = sns._publish

    def checked(params: Any) -> Any:
        subject = sns._p(params, "Subject") or ""
        if len(subject) > _MAX_SUBJECT or any(ord(c) < 32 or ord(c) == 127 for c in subject):
            return sns._error("InvalidParameter", "Invalid parameter: Subject", 400)
        return publish(params)

    sns._publish = checked
