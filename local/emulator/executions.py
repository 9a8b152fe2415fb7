"""Starting executions as AWS does: idempotent while running, and its refusals named.

https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html: the same
name and input as a running execution of a Standard workflow answers as the first start did;
anything else under a known name is ExecutionAlreadyExists. A Task that starts one sees that as
``StepFunctions.ExecutionAlreadyExistsException``, as the optimized integrations name every error.
ministack refuses each repeated name, and a Task sees its bare error code.
"""

from __future__ import annotations

from typing import Any

from ministack.core import responses
from ministack.services import stepfunctions


def apply() -> None:
    """Put both in place."""
    start = stepfunctions._start_execution
    nested = stepfunctions._invoke_nested_start_execution

    def start_execution(data: dict[str, Any]) -> Any:
        running = _running(data)
        return running if running is not None else start(data)

    def invoke_nested_start_execution(resource: str, input_data: Any) -> Any:
        try:
            return nested(resource, input_data)
        except stepfunctions._ExecutionError as error:
            name = str(error.error)
            if "." in name:
                raise
            raise stepfunctions._ExecutionError(
                f"StepFunctions.{name.removesuffix('Exception')}Exception", error.cause
            ) from error

    stepfunctions._start_execution = start_execution
    stepfunctions._invoke_nested_start_execution = invoke_nested_start_execution


def _running(data: dict[str, Any]) -> Any:
    """Return the first start's answer if this is the same start again, else None."""
    base = stepfunctions._resolve_state_machine_arn(data.get("stateMachineArn", ""))
    if base is None or not data.get("name"):
        return None
    machine = stepfunctions._state_machines[base]
    arn = (
        f"arn:aws:states:{responses.get_region()}:{responses.get_account_id()}"
        f":execution:{machine['name']}:{data['name']}"
    )
    known = stepfunctions._executions.get(arn)
    if known is None or known["status"] != "RUNNING" or machine.get("type") == "EXPRESS":
        return None
    if known["input"] != data.get("input", "{}"):
        return None
    return responses.json_response({"executionArn": arn, "startDate": known["startDate"]})
