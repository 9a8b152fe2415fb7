"""Last accessed information as a person asks for it: some services, some days, used or not.

https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_last-accessed.html
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, TypedDict

from pare.clock import format_time, parse_time
from pare.inventory.uses import TRACKED_DAYS
from pare.inventory.view import wrapped
from pare.message import several

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from pare.inventory.model import LastAccessedJson, ServiceUseJson

# Said once with every answer: what nothing in it is about.
NOT_TRACKED = (
    "IAM tracks neither data events (such as s3:GetObject of an object) nor iam:PassRole: they are "
    "in no list here, used or not. An attempt that was refused counts as a use. What happened in "
    "the last four hours may be missing."
)
_WIDTH = 80


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked. ``since``: a use before it is none; ``services`` empty: all of them."""

    services: tuple[str, ...] = ()
    days: int | None = None
    since: str | None = None
    used: bool = False
    unused: bool = False


class ShownServiceJson(TypedDict):
    """A service of the answer. ``used``, ``earlier``: action -> last use, in and before the window.

    ``is_allowed`` is False for one that was asked for and that IAM does not list, as no
    identity-based policy of the principal allows it.
    ``unused`` are tracked actions without any recorded use; None: IAM does not track the service's
    actions (``tracked`` is 0), or it was never used and the names were not kept (``tracked`` says
    how many).
    """

    service: str
    is_allowed: bool
    last_accessed_at: str | None
    region: str | None
    is_used: bool  # in the window, if there is one
    used: dict[str, str]
    earlier: dict[str, str]
    unused: list[str] | None
    tracked: int


def question(
    *,
    services: Iterable[str] = (),
    days: int | None = None,
    used: bool = False,
    unused: bool = False,
    asked_at: datetime,
) -> Question:
    """Return the question; the days are those before IAM was asked, not before today."""
    since = format_time(asked_at - timedelta(days=days)) if days is not None else None
    # "in the last 7 days" asks what was used then, unless somebody asks for the rest.
    used = used or (days is not None and not unused)
    return Question(tuple(sorted({each.lower() for each in services})), days, since, used, unused)


def answer(services: Iterable[ServiceUseJson], asked: Question) -> list[ShownServiceJson]:
    """Return the services and actions that the question chooses, sorted by service.

    A service that is asked for by name is in the answer, whatever the answer is.
    """
    found = [
        _shown(each, asked)
        for each in services
        if not asked.services or each["service"] in asked.services
    ]
    if asked.services:
        listed = {each["service"] for each in found}
        found += [_not_allowed(name) for name in asked.services if name not in listed]
    elif asked.used:
        found = [each for each in found if each["is_used"]]
    elif asked.unused:
        # Of a used service, the actions that were not.
        found = [each for each in found if not each["is_used"] or each["earlier"] or each["unused"]]
    return sorted(found, key=lambda each: each["service"])


def _shown(service: ServiceUseJson, asked: Question) -> ShownServiceJson:
    at = service["last_accessed_at"]
    in_window = {
        name: last
        for name, last in service["used"].items()
        if asked.since is None or _is_since(last, asked.since)
    }
    earlier = {name: last for name, last in service["used"].items() if name not in in_window}
    return {
        "service": service["service"],
        "is_allowed": True,
        "last_accessed_at": at,
        "region": service["region"],
        "is_used": at is not None and (asked.since is None or _is_since(at, asked.since)),
        "used": {} if asked.unused else in_window,
        "earlier": {} if asked.used else earlier,
        "unused": None if asked.used else service["unused"],
        "tracked": service["tracked"],
    }


def _not_allowed(service: str) -> ShownServiceJson:
    return {
        "service": service,
        "is_allowed": False,
        "last_accessed_at": None,
        "region": None,
        "is_used": False,
        "used": {},
        "earlier": {},
        "unused": None,
        "tracked": 0,
    }


def _is_since(time: str, since: str) -> bool:
    return parse_time(time) >= parse_time(since)


# --- as text --------------------------------------------------------------------------------------


def answer_lines(
    info: LastAccessedJson, shown: Sequence[ShownServiceJson], asked: Question
) -> Iterator[str]:
    """Yield the answer for a terminal, 80 columns wide where words allow; not escaped."""
    of_all = info["services"] or []
    for each in shown:
        yield from _service_lines(each, asked)
    if shown:
        yield ""
    yield from wrapped(_summary(of_all, asked))
    yield ""
    yield from wrapped(NOT_TRACKED)


def _service_lines(each: ShownServiceJson, asked: Question) -> Iterator[str]:
    yield from wrapped(f"{each['service']}: {_told(each, asked)}", rest="  ")
    for name, at in sorted({**each["used"], **each["earlier"]}.items(), key=_newest_first):
        before = "  (before these days)" if name in each["earlier"] and asked.since else ""
        yield f"  {_minute(at)}  {name}{before}"
    if each["unused"]:
        names = ", ".join(each["unused"])
        yield from wrapped(names, width=_WIDTH, first="  no use recorded: ", rest="    ")


def _told(each: ShownServiceJson, asked: Question) -> str:
    """Return what is said of a service; of one that is asked for, first whether it was used."""
    if not each["is_allowed"]:
        return "no identity-based policy of it allows this service, so IAM tells nothing of it"
    if each["last_accessed_at"] is None:
        kept = f" in the {TRACKED_DAYS} days that IAM keeps" if asked.services else ""
        return f"no use recorded{kept}; {_tracked_counts(each, asked)}"
    where = f" in {each['region']}" if each["region"] else ""
    told = f"last used {_minute(each['last_accessed_at'])}{where}; {_tracked_counts(each, asked)}"
    if asked.services and asked.since:
        return f"{'' if each['is_used'] else 'not '}used since {_minute(asked.since)}; {told}"
    return told


def _tracked_counts(each: ShownServiceJson, asked: Question) -> str:
    if not each["tracked"]:
        return "its actions are not tracked"
    tracked = several(each["tracked"], "tracked action")
    if each["last_accessed_at"] is None:
        return tracked
    if asked.unused:
        unused = len(each["unused"] or ()) + len(each["earlier"])
        return f"{unused:,} of {tracked} not used"
    if asked.used and not each["is_used"]:
        return tracked
    used = len(each["used"])
    if not used and not each["earlier"]:
        return f"none of {tracked} used: it was something that is not tracked, or a data event"
    return f"{used:,} of {tracked} used"


def _newest_first(item: tuple[str, str]) -> tuple[float, str]:
    name, at = item
    return -parse_time(at).timestamp(), name


def _minute(time: str) -> str:
    return f"{time[:16].replace('T', ' ')} UTC"


def _summary(services: Sequence[ServiceUseJson], asked: Question) -> str:
    every = Question(since=asked.since)
    used = sum(_shown(each, every)["is_used"] for each in services)
    when = f" in the {several(asked.days, 'day')} asked for" if asked.days is not None else ""
    if not services:
        return "Its identity-based policies allow no service."
    allow = "service that its identity-based policies allow was"
    if len(services) != 1:
        allow = "services that its identity-based policies allow were"
    return f"{used:,} of the {len(services):,} {allow} used{when}."
