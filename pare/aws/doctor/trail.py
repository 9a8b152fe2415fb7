"""Reads the trail in its own account, by a function of the hub that may enter it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pare.doctor.commands import deploy, look_again, own_right
from pare.doctor.elsewhere import said
from pare.doctor.model import Mend, Result, cannot_tell
from pare.doctor.trail import CHECKS, judge_route, judge_trails
from pare.errors import AwsServiceError, CredentialsError, PareError, ThrottledError
from pare.message import plain, sentence, several

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pare.aws.doctor.context import Examination
    from pare.doctor.answers import TrailAnswer

# Enters the accounts: it has the longest time of those that may.
ASKED = "list_principals"
# So many trails at a time: three calls each.
TRAILS_A_PROBE = 200


def examine(examination: Examination) -> Iterator[Result]:
    """Yield what the trail, or each account's own, records and what it does not."""
    setup = examination.setup
    yield judge_route(setup)
    try:
        arns = trail_arns(examination)
        answers, not_reached = _trails(examination, arns)
    except CredentialsError:
        raise
    except PareError as error:
        problem = sentence(plain(error, 400))
        mend = Mend("hub", (deploy("--all"),), text=error.what_to_do)
        if isinstance(error, AwsServiceError):
            mend = look_again(error.what_to_do)
        elif isinstance(error, ThrottledError):
            mend = look_again("Throttling passes by itself: look again in some minutes.")
        mend = own_right(setup, str(error)) or mend
        yield from (cannot_tell(check, "", problem, mend) for check in CHECKS)
        return
    yield from judge_trails(setup, answers, now=examination.now)
    if not_reached:
        yield cannot_tell(
            CHECKS[0],
            several(len(not_reached), "trail"),
            "For the other trails no time was left.",
            Mend("you", ("pare doctor --only trail",)),
            not_reached=not_reached,
        )


def trail_arns(examination: Examination) -> list[str]:
    """Return the ARN of the trail, or those of each active account's own."""
    setup = examination.setup
    if setup.trail.is_organization_trail:
        return [setup.trail.arn]
    return [
        setup.trail.arn.replace("{account_id}", account["account_id"])
        for account in examination.accounts
        if account["state"] == "ACTIVE" and account["account_id"] not in setup.account_exclusions
    ]


def _trails(
    examination: Examination, arns: Sequence[str]
) -> tuple[dict[str, TrailAnswer], list[str]]:
    found: dict[str, TrailAnswer] = {}
    not_reached: list[str] = []
    for start in range(0, len(arns), TRAILS_A_PROBE):
        some = arns[start : start + TRAILS_A_PROBE]
        examination.say(f"reading {several(len(some), 'trail')}")
        answer: dict[str, Any] = examination.probe(
            ASKED, {"kind": "log archive", "trail_arns": list(some)}
        )
        if "trails" not in answer:
            raise _RefusedError(said(answer))  # type: ignore[arg-type]  # a Failure
        found |= answer["trails"]
        not_reached += answer["not_reached"]
    return found, not_reached


class _RefusedError(PareError):
    """A function did not understand the doctor: it is of another version."""

    what_to_do = "Deploy this version of Pare: the function is of another."
