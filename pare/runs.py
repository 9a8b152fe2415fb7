"""Run records: what a workflow did, what is unknown, what it cost, and why it stopped."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any, TypedDict, TypeGuard

import pare.errors
from pare.data_tables import read_table
from pare.errors import MessageError, PareError
from pare.findings.outcomes import tally
from pare.findings.sent import PARE_FINDING
from pare.message import Message, headline, paragraph, plain, rows, subject

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pare.object_ref import ObjectRef

# Errors that say something about the input or the organization rather than about Pare: the run is
# recorded as rejected, people are told, and the execution does not count as failed.
REJECTIONS = frozenset(
    {"FindingParseError", "UnknownFindingError", "PrincipalNotFoundError", "MemberAccountError",
     "ArnParseError", "PolicyParseError", "ActivityError"}
)  # fmt: skip


# The count, among a step's counts, of transitions that the execution's own history does not have:
# those of the children of a distributed map. AWS charges them like the others.
CHILD_TRANSITIONS = "child_transitions"
# Where the steps that count, or know of something unknown, leave their results.
_TELLING_STEPS = (
    "finding", "built", "recorded", "counted", "listed", "started", "collected", "compared",
    "reviewed",
)  # fmt: skip
# A flood of executions that fail for one cause must not be a flood of mails: people get so many an
# hour of a kind.
FAILURES_TOLD_AN_HOUR = 5
_HOUR = len("2026-11-22T09")
# Of a round's messages: these ended as they should not, though the round itself went on.
_MISSED = ("messages_refused", "messages_unsettled")


class RunJson(TypedDict):
    """A run record; ``run_id`` sorts by start time."""

    workflow: str
    run_id: str
    execution_arn: str
    started_at: str
    ended_at: str
    outcome: str  # succeeded, rejected or failed
    error: str | None
    message: str | None
    what_to_do: str | None
    subject: str
    asked_by: str | None  # who asked for it, where the input says so
    counts: dict[str, int]
    unknown: list[str]
    transitions: int | None  # children included; None: the history could not be read
    estimated_cost_usd: float | None  # of the transitions
    input: ObjectRef | None  # where the input lies, when the run did not succeed


class FailureJson(TypedDict):
    """What a Catch of Step Functions leaves: the error's name and its cause."""

    Error: str
    Cause: str


@cache
def usd_per_transition() -> float:
    """Return what AWS asks for a transition of a Standard workflow (pare/data/prices.json)."""
    price: float = read_table("prices.json", schema_version=1)["usd"]["step_functions_transition"]
    return price


def failure_text(failure: FailureJson) -> tuple[str, str]:
    """Return an error's name and message from what Step Functions caught.

    A function's error has its message in a JSON ``Cause``; a service integration's is plain text.
    """
    cause = str(failure.get("Cause") or "")
    try:
        parsed = json.loads(cause)
    except ValueError:
        parsed = None
    if isinstance(parsed, dict) and "errorMessage" in parsed:
        return failure["Error"], str(parsed["errorMessage"])
    return failure["Error"], cause


_SENT_BY_PARE = (
    "Pare itself sent it: its command line, reconcile or the inventory. So nobody's event is at "
    "fault, but perhaps the versions: update the command line (git pull) and deploy "
    "(npx cdk deploy --all), so that both are one, then run the command again. If it stays, report "
    "it to the maintainers, with the kept input."
)


def what_to_do(error: str) -> str:
    """Return what a person should do about an error, by its name."""
    known = getattr(pare.errors, error, None)
    if isinstance(known, type) and issubclass(known, PareError):
        return known.what_to_do
    return PareError.what_to_do


def run_record(
    *,
    workflow: str,
    execution_arn: str,
    started_at: str,
    ended_at: str,
    state: Mapping[str, Any],
    transitions: int | None,
    input_ref: ObjectRef | None,
) -> RunJson:
    """Return the record of a run from the last state of its execution.

    ``transitions``: of the execution itself; those of its map's children are in the counts.
    """
    failure = state.get("failure")
    error, message = failure_text(failure) if _is_failure(failure) else (None, None)
    counts: dict[str, int] = {}
    unknown: list[str] = []
    for step in _TELLING_STEPS:
        # Whatever started the execution may have put anything under these names.
        result = state.get(step)
        found = result if isinstance(result, dict) else {}
        if isinstance(found.get("counts"), dict):
            counts |= {name: n for name, n in found["counts"].items() if isinstance(n, int)}
        if isinstance(found.get("unknown"), list):
            unknown += [str(each) for each in found["unknown"]]
    if workflow == "notification":
        told, lost = _told(state)
        for name, number in told.items():
            counts[name] = counts.get(name, 0) + number
        unknown += lost
        if error is None and any(counts.get(name) for name in _MISSED):
            error, message = MessageError.__name__, "; ".join(unknown)
    cost = None
    if transitions is None:
        unknown.append("transitions")
    else:
        transitions += counts.get(CHILD_TRANSITIONS, 0)
        cost = round(transitions * usd_per_transition(), 6)
    outcome = "succeeded"
    if error:
        outcome = "rejected" if error in REJECTIONS else "failed"
    return {
        "workflow": workflow,
        "run_id": f"{started_at}#{execution_arn.rpartition(':')[2]}",
        "execution_arn": execution_arn,
        "started_at": started_at,
        "ended_at": ended_at,
        "outcome": outcome,
        "error": error,
        "message": message[:2_000] if message else None,
        "what_to_do": _what_to_do(error, state) if error else None,
        "subject": _subject_of(state),
        "asked_by": _asked_by(state),
        "counts": counts,
        "unknown": unknown,
        "transitions": transitions,
        "estimated_cost_usd": cost,
        "input": input_ref,
    }


def _told(state: Mapping[str, Any]) -> tuple[dict[str, int], list[str]]:
    """Return what became of the messages of a round's last step; its other steps counted theirs."""
    try:
        return tally(state["told"])
    except (KeyError, TypeError):
        return {}, []  # it had told nobody yet


def _is_failure(value: object) -> TypeGuard[FailureJson]:
    return isinstance(value, dict) and isinstance(value.get("Error"), str)


def _subject_of(state: Mapping[str, Any]) -> str:
    """Return what the run was about: a finding, a principal, a period.

    Of an event that was not accepted: the finding that its sender names in it.
    """
    for keys in (("finding", "finding_id"), ("principal_arn",), ("listed", "period"),
                 ("scheduled_at",), ("as_of",), ("account_id",),
                 ("detail", "finding", "finding_id"), ("detail", "findingId"), ("detail", "id"),
                 ("id",)):  # fmt: skip
        if value := _at(state, *keys):
            return str(value)
    return "unknown"


def _asked_by(state: Mapping[str, Any]) -> str | None:
    """Return who asked for the run: whose command it was, or who called AWS."""
    for keys in (("detail", "asked_by"), ("detail", "userIdentity", "arn")):
        if isinstance(value := _at(state, *keys), str) and value:
            return value
    return None


def _what_to_do(error: str, state: Mapping[str, Any]) -> str:
    """Return what to do about a run's error; whose event is refused is Pare's own is said."""
    is_of_pare = str(_at(state, "detail-type")) == PARE_FINDING
    if is_of_pare and error in {"FindingParseError", "UnknownFindingError"}:
        return _SENT_BY_PARE
    return what_to_do(error)


def _at(state: Mapping[str, Any], *keys: str) -> Any:
    """Return the value under keys in each other; None where there is none."""
    value: Any = state
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


_AFTERWARDS = {
    "failed": "Nothing is lost: the input is kept, and when the cause is mended the workflow can "
    "be started again with it (docs/operations.md).",
    "rejected": "Nothing is lost: the input is kept. Start the workflow again, with another "
    "input where that was at fault (docs/operations.md).",
}


def kind_of_failure(run: RunJson) -> str:
    """Return what people hear of some times: a workflow's error, in the hour the run began in.

    Not the hour it ended in: the step that tells may be retried in the next.
    """
    return f"{run['workflow']}#{run['error']}#{run['started_at'][:_HOUR]}"


def failure_message(run: RunJson) -> Message:
    """Return the message about a run that did not succeed: what, why, and what to do."""
    error = run["error"] or "unknown error"
    verb = "was not accepted" if run["outcome"] == "rejected" else "failed"
    title = f"The {run['workflow']} workflow {verb}: {plain(error, 60)}"
    text = "\n\n".join([
        headline(title),
        rows([
            ("About", plain(run["subject"], 1_000)),
            ("Asked by", plain(run["asked_by"] or "", 1_000)),
            ("Error", plain(error)),
            ("Message", plain(run["message"] or "", 1_500)),
            ("Started", run["started_at"]),
            ("Execution", run["execution_arn"]),
            ("Input", "s3://{bucket}/{key}".format(**run["input"]) if run["input"] else ""),
        ]),
        paragraph("What to do: " + (run["what_to_do"] or PareError.what_to_do)),
        paragraph(_AFTERWARDS[run["outcome"]]),
        paragraph(
            f"Of runs of this workflow that begin in one hour and end with the same error, "
            f"{FAILURES_TOLD_AN_HOUR} send a mail. Each has its record: docs/operations.md, "
            "'What failed lately'."
        ),
    ]) + "\n"  # fmt: skip
    return Message(
        subject=subject(f"[Pare] {title}"),
        text=text,
        attributes={"kind": "failure", "workflow": run["workflow"], "outcome": run["outcome"]},
        facts={"kind": "failure", "run": dict(run)},
    )
