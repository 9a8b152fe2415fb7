"""The verdict on a proposal and the reasons a person understands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypedDict

from pare.policy.patterns import wildcard_regex

if TYPE_CHECKING:
    from collections.abc import Iterable

Verdict = Literal["ready", "review", "refused"]
Level = Literal["note", "review", "refused"]
GRAVEST_FIRST: tuple[Level, ...] = ("refused", "review", "note")

# What each reason does to the verdict. A note changes nothing: it is good to know.
LEVELS: dict[str, Level] = {
    "ASKED_FOR_AND_REFUSED": "note",
    "CHECK_UNKNOWN": "review",
    "CURRENT_ACCESS_UNKNOWN": "review",
    "DATA_EVENTS_MAY_BE_PARTIAL": "review",
    "DAYS_WITHOUT_RECORDS": "review",
    "EARLIER_NAMESAKE": "note",
    "EXEMPT": "refused",
    "EXEMPTION_EXPIRED": "note",
    "INVALID_POLICY": "refused",
    "KEPT_LAST_ACCESSED": "note",
    "KEPT_NOT_OBSERVABLE": "note",
    "LAST_ACCESSED_UNKNOWN": "review",
    "LINT": "review",
    "NEW_ACCESS": "review",
    "NEW_ACCESS_UNDECIDED": "review",
    "NEW_PRINCIPAL": "review",
    "NOTHING_TO_REMOVE": "note",
    "NOT_COMPLETE": "review",
    "NOT_GRANTED_TODAY": "review",
    "NOT_NARROWED": "refused",
    "NOT_REPLAYED": "review",
    "NO_ACTIVITY": "refused",
    "NO_EVIDENCE": "refused",
    "PASS_ROLE_KEPT": "review",
    "PATH_NOT_RECORDED": "review",
    "POLICY_GENERATION_UNKNOWN": "note",
    "READS_NOT_RECORDED": "review",
    "REFUSED_CALL_GRANTED": "review",
    "REGIONS_NOT_READ": "review",
    "REPLAY_FAILED": "refused",
    "REPLAY_UNDECIDED": "review",
    "RESOURCES_NOT_RECORDED": "note",
    "RESOURCES_STILL_NEW": "review",
    "ROUTES_DISAGREE": "review",
    "SECURITY_WARNING": "review",
    "SERVICES_NOT_REPORTED": "review",
    "SHORT_WINDOW": "review",
    "TOO_MANY_POLICIES": "review",
    "UNKNOWN_ACTIONS": "review",
    "UNMAPPED_OPERATIONS": "review",
    "UNREADABLE_LOGS": "review",
    "WILDCARDS": "note",
}


class Reason(TypedDict):
    """Why a proposal has its verdict: a stable code, a sentence, and what to do."""

    code: str
    level: Level
    text: str
    what_to_do: str


@dataclass(frozen=True, slots=True)
class Thresholds:
    """How much must have been read for ``ready``.

    ``complete_data_events``: service prefixes whose data events the trail records for all resources
    (a person must say so: the logs do not tell).
    """

    min_window_days: int = 80
    max_days_without_records: int = 3
    max_unreadable_records: int = 0
    max_unreadable_files: int = 0
    complete_data_events: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Exemption:
    """A principal that is left as it is. ``expires`` is a date, the last day it holds."""

    principal: str  # an ARN; * stands for any characters
    owner: str
    reason: str
    expires: str

    def holds(self, arn: str) -> bool:
        """Return whether it speaks of a principal."""
        return wildcard_regex(self.principal).fullmatch(arn) is not None


def reason(code: str, text: str, what_to_do: str, *, level: Level | None = None) -> Reason:
    """Return a reason at its usual level, or at another where the circumstances ask for it."""
    return {
        "code": code,
        "level": level or LEVELS[code],
        "text": text,
        "what_to_do": what_to_do,
    }


def verdict_of(reasons: Iterable[Reason]) -> Verdict:
    """Return the verdict that reasons make: the worst of them; ``ready`` where there is none."""
    levels = {each["level"] for each in reasons}
    return "refused" if "refused" in levels else "review" if "review" in levels else "ready"


def in_order(reasons: Iterable[Reason]) -> list[Reason]:
    """Return reasons with the gravest first; within a level they stay in their order."""
    return sorted(reasons, key=lambda each: GRAVEST_FIRST.index(each["level"]))
