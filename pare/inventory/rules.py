"""Ordered rules, as data: the first one that matches says what to do with a principal.

Rules of the settings come first, then those of ``pare/data/inventory_rules.json``; the last of
these matches everybody. Whatever a rule says, nobody is to be disabled or deleted whose use is
known or unknown, nor whom a flag protects, nor deleted before the date has come: such a rule does
not match.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, get_args

from pare.data_tables import read_table
from pare.errors import SettingsError
from pare.inventory.flags import FLAGS, PROTECTING
from pare.inventory.model import Class, PrincipalKind, Status
from pare.policy.patterns import wildcard_regex

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

SCHEMA_VERSION = 1
RULE = "RULE"
UNUSED: frozenset[Status] = frozenset({"idle", "never used"})

_WHEN = {"principal", "kind", "status", "flags"}
_LISTS = {"kind": get_args(PrincipalKind), "status": get_args(Status), "flags": FLAGS}


@dataclass(frozen=True, slots=True)
class Rule:
    """Which principals it is about, and their class. Empty: it does not ask for that.

    ``code`` is the deciding reason's, ``text`` the words of the person who wrote the rule.
    """

    cls: Class
    code: str
    text: str = ""
    principal: str = ""
    kinds: frozenset[str] = frozenset()
    statuses: frozenset[str] = frozenset()
    flags: frozenset[str] = frozenset()

    def matches(self, arn: str, kind: str, status: Status, flags: Collection[str]) -> bool:
        """Return whether the rule decides about a principal."""
        return (
            is_allowed(self.cls, status, flags)
            and (not self.kinds or kind in self.kinds)
            and (not self.statuses or status in self.statuses)
            and self.flags <= set(flags)
            and (not self.principal or wildcard_regex(self.principal).fullmatch(arn) is not None)
        )


def is_allowed(cls: Class, status: Status, flags: Collection[str]) -> bool:
    """Return whether a class may be given at all to somebody of this status with these flags."""
    if cls in ("disable", "delete"):
        if status not in UNUSED or not PROTECTING.isdisjoint(flags):
            return False
        return cls == "disable" or "delete_due" in flags
    return True


def first_match(
    rules: Iterable[Rule], *, arn: str, kind: str, status: Status, flags: Collection[str]
) -> Rule:
    """Return the rule that decides about a principal; the default ones always have one."""
    for rule in rules:
        if rule.matches(arn, kind, status, flags):
            return rule
    raise ValueError("the last rule of inventory_rules.json must match everybody")


def all_rules(of_settings: Sequence[Any]) -> tuple[Rule, ...]:
    """Return the rules of the settings and after them the default ones; raises SettingsError."""
    problems = list(check_rules(of_settings))
    if problems:
        raise SettingsError("; ".join(problems))
    return (*(_rule(each, RULE, each["reason"]) for each in of_settings), *default_rules())


@cache
def default_rules() -> tuple[Rule, ...]:
    """Return the rules shipped with Pare; the file is read once per process."""
    table = read_table("inventory_rules.json", schema_version=SCHEMA_VERSION)
    return tuple(_rule(each, each["code"], "") for each in table["rules"])


def check_rules(rules: Any) -> Iterator[str]:
    """Yield a sentence for each thing that is wrong with the settings' rules."""
    if not isinstance(rules, list):
        yield "inventory.rules is not a list of rules"
        return
    for place, rule in enumerate(rules, start=1):
        name = f"inventory.rules, rule {place}:"
        if not isinstance(rule, dict) or rule.keys() != {"when", "class", "reason"}:
            yield f"{name} a rule has when, class and reason, and nothing else"
            continue
        yield from (f"{name} {problem}" for problem in _problems(rule))


def _problems(rule: dict[str, Any]) -> Iterator[str]:
    cls, when = rule["class"], rule["when"]
    if cls not in get_args(Class):
        yield f"class is {cls!r}; it is one of {', '.join(get_args(Class))}"
    if not isinstance(rule["reason"], str) or not rule["reason"].strip():
        yield "reason says nothing; people read it beside the class"
    if not isinstance(when, dict) or not when:
        yield "when says nothing, and would match every user and role"
        return
    unknown = sorted(str(key) for key in when.keys() - _WHEN)
    if unknown:
        yield f"when has {', '.join(unknown)}; it knows principal, kind, status and flags"
    if "principal" in when and not (isinstance(when["principal"], str) and when["principal"]):
        yield "principal is not the ARN of a user or role, with * for any characters"
    for key, known in _LISTS.items():
        values = when.get(key, [])
        if not isinstance(values, list):
            yield f"{key} is not a list"
            continue
        wrong = sorted(repr(value) for value in values if value not in known)
        if wrong:
            yield f"{key} has {', '.join(wrong)}; it knows {', '.join(known)}"


def _rule(source: Any, code: str, text: str) -> Rule:
    when = source["when"]
    return Rule(
        cls=source["class"],
        code=code,
        text=text,
        principal=when.get("principal") or "",
        kinds=frozenset(when.get("kind", ())),
        statuses=frozenset(when.get("status", ())),
        flags=frozenset(when.get("flags", ())),
    )
