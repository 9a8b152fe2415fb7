"""Start findings: the finding workflow for what reconcile or the inventory brings in."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict

from lambdas.runtime import client, logger, read_environment
from pare.aws.evidence_store import EvidenceStore
from pare.aws.executions import start_named
from pare.findings.sent import event_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aws_lambda_powertools.utilities.typing import LambdaContext

    from pare.findings.model import FindingJson
    from pare.object_ref import ObjectRef

# Started in one step: some seconds, and what Access Analyzer, asked by each of them, stands.
AT_ONCE = 200


class Differences(TypedDict):
    differences: list[ObjectRef]  # gzip NDJSON: a FindingJson a line


class Position(TypedDict):
    """How far it is: findings of which object were started already."""

    part: int
    row: int


class Output(TypedDict):
    position: Position
    has_more: bool
    counts: dict[str, int]


class Input(TypedDict):
    input: Differences
    state: State
    execution: str


class State(TypedDict):
    started: NotRequired[Output]  # of the step before, if there was one


@dataclass(frozen=True, slots=True)
class Environment:
    evidence_bucket_name: str
    finding_workflow_arn: str


@cache
def environment() -> Environment:
    return read_environment(Environment)


@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: Input, context: LambdaContext) -> Output:
    """Return how many were started so far; a retried step starts none twice."""
    settings = environment()
    store = EvidenceStore(client("s3"), settings.evidence_bucket_name)
    refs = event["input"]["differences"]
    before: Any = event["state"].get("started")
    if not isinstance(before, dict):
        before = {"position": {"part": 0, "row": 0}, "counts": {"findings_started": 0}}
    position: Position = dict(before["position"])  # type: ignore[assignment]
    started = before["counts"]["findings_started"]
    end = started + AT_ONCE
    while position["part"] < len(refs) and started < end:
        some = list(_rows(store, refs[position["part"]], position["row"], end - started))
        for finding in some:
            start_named(
                client("stepfunctions"),
                settings.finding_workflow_arn,
                execution_name(event["execution"], finding),
                event_of(finding),
            )
        started += len(some)
        position["row"] += len(some)
        if started < end:  # the object had no more
            position = {"part": position["part"] + 1, "row": 0}
    logger.info("findings started", started=started, of_parts=len(refs))
    return {
        "position": position,
        "has_more": position["part"] < len(refs),
        "counts": {"findings_started": started},
    }


def _rows(store: EvidenceStore, ref: ObjectRef, start: int, most: int) -> Iterator[FindingJson]:
    return islice(store.each_ndjson_gz(ref), start, start + most)


def execution_name(execution: str, finding: FindingJson) -> str:
    """Return the name under which an execution starts a finding: the same again for it."""
    return f"heal-{_short(execution)}-{_short(finding['finding_id'])}"


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
