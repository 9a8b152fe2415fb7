"""The replay certificate: is every observed, allowed call still allowed by a set of policies?

Each row of evidence is asked of the evaluator. A row whose resource the records do not tell is
asked for every ARN it may have been. Whatever cannot be decided is said so, never counted as
allowed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal, TypedDict

from pare.policy.access import speaks_of
from pare.policy.conditions import absent_keys, request_context
from pare.policy.covering import pattern_covers
from pare.policy.evaluate import Request
from pare.policy.statements import as_pattern, type_patterns, with_passed_to_service
from pare.policy.variables import widened

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pare.policy.access import Access
    from pare.policy.document import JsonObject, Statement
    from pare.policy.evaluate import Answer
    from pare.policy.observed import Observed

Outcome = Literal["allowed", "not allowed", "denied", "undecided"]

# Counterexamples and the like that are listed; all are counted.
MAX_LISTED = 50


class CounterexampleJson(TypedDict):
    """A call that is not shown to be allowed. ``file`` holds the last one, at ``last``."""

    action: str
    resource: str | None
    passed_to_service: str
    answer: Outcome
    why: str
    count: int
    last: str
    file: str


class ReplayJson(TypedDict):
    """The certificate: rows and calls, and how many of them are allowed.

    ``not_granted_today``: calls that were allowed, though today's identity-based policies do not
    grant them: by a resource-based policy, or by a policy that is gone. No proposal adds them.
    """

    rows: int
    allowed_rows: int
    undecided_rows: int
    calls: int
    allowed_calls: int
    counterexamples: list[CounterexampleJson]
    more_counterexamples: int
    not_granted_today: list[CounterexampleJson]
    more_not_granted_today: int
    complete: bool


class Replay:
    """Asks policies about the calls of one principal."""

    __slots__ = (
        "_absent", "_access", "_account_id", "_arn", "_contexts", "_partition", "_today",
    )  # fmt: skip

    def __init__(self, arn: str, account_id: str, access: Access, today: Access | None) -> None:
        self._arn = arn
        self._absent = absent_keys(arn)
        self._account_id = account_id
        self._partition = arn.split(":", 2)[1]
        self._access = access
        self._today = today
        self._contexts: dict[tuple[tuple[str, ...], str], dict[str, tuple[str, ...]]] = {}

    def answer(self, row: Observed) -> tuple[Answer, str]:
        """Return whether a call is allowed, and why not."""
        if row.resource is not None:
            return self._ask(row, as_pattern(row.resource))
        if not self._access.allows_of(row.action):
            return "not allowed", "no statement allows it"
        answers = [self._ask(row, pattern) for pattern in self._possible(row)]
        failed = [each for each in answers if each[0] != "allowed"]
        if not answers:
            return "not allowed", "today's policies refuse it on all that they name"
        if not failed:
            return "allowed", ""
        if all(answer == "denied" for answer, _ in answers):
            return failed[0]
        why = failed[0][1] or "a Deny statement refuses it on some"
        return "undecided", f"the records do not tell the resource; {why}"

    def _possible(self, row: Observed) -> list[str]:
        """Return patterns of what an unknown resource may have been.

        It was one that today's policies grant: only those need to be granted still.
        """
        patterns = self._patterns(row)
        if self._today is None:
            return patterns
        decide = self._today.policies.decide
        return [
            pattern
            for pattern in patterns
            if decide(self._request(row, pattern)).answer not in {"not allowed", "denied"}
        ]

    def _patterns(self, row: Observed) -> list[str]:
        if self._today is not None:
            granted = {
                widened(resource)
                for statement in self._today.allows_of(row.action)
                for resource in statement.resources or ("*",)
            }
            if granted and "*" not in granted:
                return sorted(granted)
        patterns = type_patterns(
            row.action, account_id=self._account_id, partition=self._partition, regions=row.regions
        )
        return sorted({each for some in patterns.values() for each in some} or {"*"})

    def _request(self, row: Observed, resource: str) -> Request:
        key = (row.regions, row.passed_to_service)
        context = self._contexts.get(key)
        if context is None:
            context = self._contexts[key] = request_context(
                self._arn, row.regions, row.passed_to_service
            )
        return Request(row.action, resource, context, self._absent)

    def _ask(self, row: Observed, resource: str) -> tuple[Answer, str]:
        decision = self._access.policies.decide(self._request(row, resource))
        if (
            decision.answer == "undecided"
            and self._today is not None
            and self._is_as_today(row, resource, self._today)
        ):
            return "allowed", ""
        return decision.answer, decision.why

    def _is_as_today(self, row: Observed, resource: str, today: Access) -> bool:
        """Return whether every way in which today's policies may allow this is still there.

        The call was allowed. If only statements with conditions grant it, one of these conditions
        held, and holds in the same statement of the proposal, as long as nothing refuses more.
        """
        if (self._access.boundary, self._access.limits) != (today.boundary, today.limits):
            return False
        refused = _deny_frames(today, row.action)
        if any(each not in refused for each in _deny_frames(self._access, row.action)):
            return False
        ways = today.within(row.action, resource)
        kept = self._access.within(row.action, resource)
        return bool(ways) and all(
            any(_grants_as(each, way, row.passed_to_service) for each in kept) for way in ways
        )


def _deny_frames(access: Access, action: str) -> list[JsonObject]:
    """Return the Deny statements that speak of an action, without their actions."""
    return [
        replace(each, sid=None, actions=None, not_actions=None).to_json_object()
        for each in access.denies()
        if speaks_of(each, action)
    ]


def _grants_as(frame: Statement, way: Statement, service: str) -> bool:
    """Return whether a frame is shown to grant all that another does, under its conditions."""
    passing = with_passed_to_service(way.conditions, service)
    if frame.conditions and frame.conditions not in (way.conditions, passing):
        return False
    if frame.not_resources is not None or way.not_resources is not None:
        return set(frame.not_resources or ()) == set(way.not_resources or ())
    return all(
        any(pattern_covers(wide, narrow) for wide in frame.resources or ())
        for narrow in way.resources or ()
    )


def replay(
    rows: Iterable[Observed],
    *,
    principal_arn: str,
    account_id: str,
    access: Access,
    today: Access | None = None,
) -> ReplayJson:
    """Return the certificate for the allowed calls of a principal under some policies.

    With ``today``, a call that today's policies do not grant is listed apart, and a call that
    depends on conditions the records do not tell counts as allowed where the same conditions grant
    it today.
    """
    asked = Replay(principal_arn, account_id, access, today)
    before = Replay(principal_arn, account_id, today, today) if today else None
    found: ReplayJson = {
        "rows": 0, "allowed_rows": 0, "undecided_rows": 0, "calls": 0, "allowed_calls": 0,
        "counterexamples": [], "more_counterexamples": 0, "not_granted_today": [],
        "more_not_granted_today": 0, "complete": False,
    }  # fmt: skip
    failed: list[CounterexampleJson] = []
    elsewhere: list[CounterexampleJson] = []
    for row in rows:
        found["rows"] += 1
        found["calls"] += row.count
        answer, why = asked.answer(row)
        if answer == "allowed":
            found["allowed_rows"] += 1
            found["allowed_calls"] += row.count
            continue
        if before is not None:
            granted, why_not = before.answer(row)
            if granted in {"not allowed", "denied"}:
                elsewhere.append(_listed(row, granted, why_not))
                continue
        if answer == "undecided":
            found["undecided_rows"] += 1
        failed.append(_listed(row, answer, why))
    failed.sort(key=_worst_first)
    elsewhere.sort(key=_worst_first)
    found["counterexamples"] = failed[:MAX_LISTED]
    found["more_counterexamples"] = max(0, len(failed) - MAX_LISTED)
    found["not_granted_today"] = elsewhere[:MAX_LISTED]
    found["more_not_granted_today"] = max(0, len(elsewhere) - MAX_LISTED)
    found["complete"] = not failed and not elsewhere
    return found


def _listed(row: Observed, answer: Answer, why: str) -> CounterexampleJson:
    return {
        "action": row.action,
        "resource": row.resource,
        "passed_to_service": row.passed_to_service,
        "answer": answer,
        "why": why,
        "count": row.count,
        "last": row.last,
        "file": row.file,
    }


def _worst_first(each: CounterexampleJson) -> tuple[bool, int, str, str]:
    return (
        each["answer"] == "undecided", -each["count"], each["action"], each["resource"] or ""
    )  # fmt: skip
