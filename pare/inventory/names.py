"""Which user or role a person means: by ARN, by the ARN of a session, by name, or by pattern."""

from __future__ import annotations

import difflib
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_OFFERED = 3
_ALIKE = 0.7
_CUT = "…"  # what a table puts where it leaves out the middle


def meant(asked: str, known: Iterable[str], accounts: Mapping[str, str]) -> list[str]:
    """Return the ARNs that a text names, sorted: one where it is clear, several, or none.

    A text is an ARN; the ARN of a role's session, which names the role without its path; a name;
    ``account/Name`` with the account's id or name; or what mail and table show, with or without the
    account: ``shop-prod role/app/Checkout``. ``*`` stands for any characters, as does the ``…``
    of a table. ``accounts`` are names by id.
    """
    known = set(known)
    if asked in known:
        return [asked]
    if asked.startswith("arn:"):
        patterns = _patterns_of_arn(asked)
        return sorted(arn for arn in known if any(fnmatchcase(arn, each) for each in patterns))
    account, slash, name = asked.rpartition("/")
    found = []
    for arn in known:
        _, account_id, own_name = parts(arn)
        is_there = not slash or account in {account_id, accounts.get(account_id)}
        if (is_there and fnmatchcase(own_name, name)) or _is_shown_as(asked, arn, accounts):
            found.append(arn)
    return sorted(found)


def _is_shown_as(asked: str, arn: str, accounts: Mapping[str, str]) -> bool:
    if "/" not in asked and _CUT not in asked:
        return False  # a pattern of names alone
    pattern = asked.replace(_CUT, "*")
    as_shown = (arn.split(":", 5)[-1], shown(arn, {}), shown(arn, accounts))
    return asked in as_shown or any(fnmatchcase(each, pattern) for each in as_shown)


def _patterns_of_arn(asked: str) -> tuple[str, ...]:
    fields = asked.split(":", 5)
    if len(fields) == 6 and fields[2] == "sts" and fields[5].startswith("assumed-role/"):
        role = f"{fields[0]}:{fields[1]}:iam::{fields[4]}:role/"
        name = _literal(fields[5].split("/")[1])
        return f"{role}{name}", f"{role}*/{name}"
    return (asked,)


def _literal(text: str) -> str:
    return text.replace("[", "[[]").replace("*", "[*]").replace("?", "[?]")


def near(asked: str, known: Iterable[str]) -> list[str]:
    """Return up to three ARNs whose name is this one or much like it, the likest first.

    Those of the same account and entity come first.
    """
    entity, account_id, name = parts(asked) if asked.startswith("arn:") else ("", "", asked)
    name = name.rpartition("/")[2].lower()
    by_name: dict[str, list[str]] = {}
    for arn in known:
        by_name.setdefault(parts(arn)[2].lower(), []).append(arn)
    alike = difflib.get_close_matches(name, sorted(by_name), n=_OFFERED, cutoff=_ALIKE)
    ranked = sorted(
        (alike.index(each), parts(arn)[1] != account_id, parts(arn)[0] != entity, arn)
        for each in alike
        for arn in by_name[each]
    )
    return [arn for *_, arn in ranked][:_OFFERED]


def parts(arn: str) -> tuple[str, str, str]:
    """Return entity, account id and name of a principal's ARN, as far as it has them."""
    fields = arn.split(":", 5)
    if len(fields) < 6:
        return "", "", arn
    return fields[5].partition("/")[0], fields[4], fields[5].rpartition("/")[2]


def shown(arn: str, accounts: Mapping[str, str]) -> str:
    """Return a principal as a table shows it: ``shop-prod role/app/Checkout``."""
    fields = arn.split(":", 5)
    if len(fields) < 6:
        return arn
    return f"{accounts.get(fields[4]) or fields[4]} {fields[5]}"
