"""What the doctor says: one result for each thing it looked at, and how to mend what is amiss."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, TypedDict

if TYPE_CHECKING:
    from pare.policy.document import JsonObject

# ``cannot tell``: it could not be looked at. It is never taken for ok.
Status = Literal["ok", "missing", "cannot tell"]
STATUSES: Final[tuple[Status, ...]] = ("missing", "cannot tell", "ok")
SCHEMA_VERSION: Final = 1


class MendJson(TypedDict):
    """How a mend is written to JSON."""

    where: str
    commands: list[str]
    statement: JsonObject | None
    text: str
    after: str


class ResultJson(TypedDict):
    """How a result is written to JSON; ``group``, ``title`` and ``why`` are the check's."""

    group: str
    check: str
    title: str
    subject: str
    status: Status
    says: str
    why: str
    mend: MendJson | None
    facts: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Mend:
    """What mends it: commands to be run as they stand, a statement to be pasted, or words.

    ``where``: whose credentials or eyes it takes: ``hub``, ``management``, ``log archive``,
    ``member 111122223333``, or ``you`` (this repository, or a mailbox). ``commands`` are lines of a
    shell, in this order, without placeholders wherever the doctor can know the value.
    ``statement`` is the policy statement meant where a command cannot carry it by itself.
    ``text`` stands before the commands, ``after`` behind them: what else there is to do, or to try.
    A mend without commands says what is to be mended first, or asks for something of a person.
    """

    where: str
    commands: tuple[str, ...] = ()
    statement: JsonObject | None = None
    text: str = ""
    after: str = ""

    def to_json(self) -> MendJson:
        """Return the mend as JSON."""
        return {
            "where": self.where,
            "commands": list(self.commands),
            "statement": self.statement,
            "text": self.text,
            "after": self.after,
        }


@dataclass(frozen=True, slots=True)
class Result:
    """One thing that was looked at.

    ``check`` is a key of ``pare/data/doctor_checks.json``; ``subject`` the account, Region, bucket,
    key, queue … looked at, empty where there is only one; ``says`` one sentence of what was found.
    A result that is not ok has a mend. ``facts``: numbers for machines, JSON values.
    """

    check: str
    subject: str
    status: Status
    says: str
    mend: Mend | None = None
    facts: dict[str, Any] = field(default_factory=dict)


def ok(check: str, subject: str, says: str, **facts: Any) -> Result:
    """Return the result of a thing that is as it should be."""
    return Result(check, subject, "ok", says, None, dict(facts))


def missing(check: str, subject: str, says: str, mend: Mend, **facts: Any) -> Result:
    """Return the result of a thing that is not there, or not as it should be."""
    return Result(check, subject, "missing", says, mend, dict(facts))


def cannot_tell(check: str, subject: str, says: str, mend: Mend, **facts: Any) -> Result:
    """Return the result of a thing that could not be looked at; the mend lets it be looked at."""
    return Result(check, subject, "cannot tell", says, mend, dict(facts))
