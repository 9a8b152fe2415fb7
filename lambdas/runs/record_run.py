"""Record run: what a workflow did; where it did not succeed, people are told why."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, TypedDict

from lambdas.runtime import client, count, logger, metrics, read_environment, utc_now
from pare.aws.evidence_store import EvidenceStore
from pare.aws.executions import count_transitions
from pare.aws.tables import PERIOD, RunsTable
from pare.aws.topics import Topics
from pare.clock import format_time, parse_time
from pare.errors import PareError
from pare.runs import FAILURES_TOLD_AN_HOUR, failure_message, kind_of_failure, run_record

if TYPE_CHECKING:
    from datetime import datetime

    from aws_lambda_powertools.utilities.typing import LambdaContext


# The outcome's choice and the end of the execution come after this step.
STATES_AFTER = 2


class Input(TypedDict):
    workflow: str
    execution: str
    started_at: str
    state: dict[str, Any]


class Output(TypedDict):
    outcome: str
    error: str
    message: str


@dataclass(frozen=True, slots=True)
class Environment:
    runs_table_name: str
    people_topic_arn: str
    machines_topic_arn: str
    evidence_bucket_name: str


@cache
def environment() -> Environment:
    return read_environment(Environment)


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def lambda_handler(event: Input, context: LambdaContext) -> Output:
    """Return the run's outcome: succeeded, rejected (the input's fault) or failed."""
    settings = environment()
    now = utc_now()
    workflow, execution, state = event["workflow"], event["execution"], event["state"]
    input_ref = None
    if "failure" in state:
        store = EvidenceStore(client("s3"), settings.evidence_bucket_name)
        input_ref = store.put_json(
            f"runs/{workflow}/{execution.rpartition(':')[2]}/state.json", state
        )
    run = run_record(
        workflow=workflow,
        execution_arn=execution,
        started_at=format_time(parse_time(event["started_at"])),
        ended_at=format_time(now),
        state=state,
        transitions=_transitions(execution),
        input_ref=input_ref,
    )
    runs = RunsTable(client("dynamodb"), settings.runs_table_name)
    runs.put(run)
    count("Runs", workflow=workflow, outcome=run["outcome"])
    if run["outcome"] != "succeeded":
        topics = Topics(client("sns"), settings.people_topic_arn, settings.machines_topic_arn)
        failure = failure_message(run)
        if _has_room(runs, kind_of_failure(run), now):
            topics.tell_once(failure, key=f"run#{execution}", runs=runs, now=now)
        else:
            topics.tell_machines(failure)
    elif workflow == "inventory":
        # Not before people were told: until now a new start goes on where this one was stopped,
        # from now on it does nothing.
        runs.finish(PERIOD, state["listed"]["period"], execution=execution)
    logger.info("run recorded", workflow=workflow, outcome=run["outcome"], error=run["error"])
    return {
        "outcome": run["outcome"],
        "error": run["error"] or "",
        "message": run["message"] or "",
    }


def _has_room(runs: RunsTable, kind: str, now: datetime) -> bool:
    """Return whether people may hear of one more failure of a kind; a repeated step asks anew."""
    expires_at = int((now + timedelta(days=1)).timestamp())
    return any(
        runs.claim_message(f"runs#{kind}#{number}", expires_at=expires_at)
        for number in range(FAILURES_TOLD_AN_HOUR)
    )


def _transitions(execution: str) -> int | None:
    """Return the run's transitions, or None: a count must not hide how the run ended."""
    try:
        return count_transitions(client("stepfunctions"), execution) + STATES_AFTER
    except PareError as error:
        logger.warning("transitions unknown", error=str(error))
        return None
