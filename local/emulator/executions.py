"""Starting and stopping executions as AWS does.

Starting is idempotent while an execution runs, and its refusals have their names.
https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html: the same
name and input as a running execution of a Standard workflow answers as the first start did;
anything else under a known name is ExecutionAlreadyExists. A Task that starts one sees that as
``StepFunctions.ExecutionAlreadyExistsException``, as the optimized integrations name every error.
ministack refuses each repeated name, and a Task sees its bare error code.

A stopped execution enters no more states and retries nothing, and its map runs and their children
are stopped with it: https://docs.aws.amazon.com/step-functions/latest/apireference/API_StopExecution.html
and API_MapRunExecutionCounts.html (``aborted``). ministack lets the children go on, and writes over
the end. A function that was invoked before goes on to its own end, there as here.
"""

from __future__ import annotations

import copy
from typing import Any

from ministack.core import responses
from ministack.services import stepfunctions


class _Stopped(Exception):
    """The execution was stopped; no Retry and no Catch of its states may see this."""


def apply() -> None:
    """Put everything in place."""
    _start_as_aws()
    _stop_as_aws()


def _start_as_aws() -> None:
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


def _stop_as_aws() -> None:
    stop, fail = stepfunctions._stop_execution, stepfunctions._fail_execution
    add_event, run_states = stepfunctions._add_event, stepfunctions._run_sub_machine

    def stop_execution(data: dict[str, Any]) -> Any:
        answer = stop(data)
        execution = stepfunctions._executions.get(data.get("executionArn"))
        if execution is not None and execution["status"] == "ABORTED":
            for run in list(stepfunctions._map_runs.values()):
                if run["executionArn"] == execution["executionArn"] and run["status"] == "RUNNING":
                    _stop_map_run(run, execution["stopDate"])
        return answer

    def event_unless_stopped(execution: dict[str, Any], kind: str, *details: Any) -> Any:
        # Every state entered and every attempt of a task is an event first.
        if kind != "ExecutionAborted" and _is_stopped(execution):
            raise _Stopped(execution["executionArn"])
        return add_event(execution, kind, *details)

    def fail_unless_stopped(execution: dict[str, Any], error: Any, cause: Any) -> None:
        if execution["status"] != "ABORTED":
            fail(execution, error, cause)

    def run_states_unless_stopped(
        states: Any, start_at: Any, input_data: Any, execution: dict[str, Any], ctx: Any
    ) -> Any:
        if execution.get("mapRunArn") and _is_stopped(execution):
            # A child that waited for its turn has never been.
            stepfunctions._executions.pop(execution["executionArn"], None)
            raise _Stopped(execution["executionArn"])
        return run_states(states, start_at, input_data, execution, ctx)

    stepfunctions._stop_execution = stop_execution
    stepfunctions._fail_execution = fail_unless_stopped
    stepfunctions._add_event = event_unless_stopped
    stepfunctions._run_sub_machine = run_states_unless_stopped


def _is_stopped(execution: dict[str, Any]) -> bool:
    run = stepfunctions._map_runs.get(execution.get("mapRunArn", ""))
    return execution["status"] == "ABORTED" or (run is not None and run["status"] == "ABORTED")


def _stop_map_run(run: dict[str, Any], stop_date: str) -> None:
    """Show the run and its children as stopped.

    In copies: the threads that work for them go on writing into the old ones to the last.
    """
    stopped = copy.deepcopy(run) | {"status": "ABORTED", "stopDate": stop_date}
    for counts in (stopped["itemCounts"], stopped["executionCounts"]):
        counts["aborted"] += counts["running"]
        counts["running"] = 0
    stepfunctions._map_runs[run["mapRunArn"]] = stopped
    for arn, child in list(stepfunctions._executions.items()):
        if child.get("mapRunArn") == run["mapRunArn"] and child["status"] == "RUNNING":
            end = {"status": "ABORTED", "stopDate": stop_date}
            stepfunctions._executions[arn] = {**child, **end}
            child.update(end)
