"""What the doctor found, for a person at a terminal and for machines.

Commands and statements stand at the left edge, so that they can be copied as they are, also those
that have lines which must begin there.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, Final

from pare.doctor.checks import all_checks, group_of, groups, title_of, why
from pare.doctor.model import SCHEMA_VERSION, STATUSES
from pare.message import listed, several

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from pare.doctor.model import Mend, Result, ResultJson, Status

WIDTH: Final = 80
# A line of text is not wider than this, however wide the terminal is: it is read, not scanned.
MOST: Final = 100
_SUBJECTS_SHOWN: Final = 4
_COLOURS: Final[dict[Status, str]] = {"missing": "31", "cannot tell": "33", "ok": "32"}
_WORDS: Final[dict[Status, str]] = {"missing": "MISSING", "cannot tell": "CANNOT TELL", "ok": "ok"}
_ACCOUNT = re.compile(r"[0-9]{12}\b")
_REGION = re.compile(r"[a-z]{2,4}(-[a-z]+)+-[0-9]{1,2}")
_WHERE: Final = {
    "hub": "With credentials of the hub account:",
    "management": "With credentials of the management account:",
    "log archive": "With credentials of the log archive account:",
    "you": "Here, in this repository:",
}


def in_order(results: Iterable[Result]) -> list[Result]:
    """Return results in the order of the table of checks, those of one check by their subjects."""
    places = {check: number for number, check in enumerate(all_checks())}
    return sorted(results, key=lambda each: (places[each.check], each.subject, each.says))


def counts(results: Iterable[Result]) -> dict[Status, int]:
    """Return how many results have which status."""
    found = Counter(each.status for each in results)
    return {status: found[status] for status in STATUSES}


# --- Text -----------------------------------------------------------------------------------------


def group_lines(
    group: str,
    results: Sequence[Result],
    *,
    width: int = WIDTH,
    colour: bool = False,
    left_out: Collection[str] = (),
) -> Iterator[str]:
    """Yield a group: its title, what is missing, what cannot be told, and what is well.

    Where something is amiss, the checks that nothing was said of are named last. ``left_out``: the
    checks that this deployment has no use for.
    """
    waiting = False
    for line in _group_lines(group, results, min(width, MOST), colour, left_out):
        # Empty lines stand between, one at a time.
        if line:
            if waiting:
                yield ""
            yield line
        waiting = not line


def _group_lines(
    group: str, results: Sequence[Result], width: int, colour: bool, left_out: Collection[str]
) -> Iterator[str]:
    yield _painted(groups()[group], "1", colour)
    if not results:
        yield "  Nothing to look at."
    for status in STATUSES:
        chosen: dict[str, list[Result]] = defaultdict(list)
        for each in in_order(results):
            if each.status == status:
                chosen[each.check].append(each)
        for check, same in chosen.items():
            if status == "ok":
                yield from _ok_lines(check, same, width, colour)
            else:
                yield from _fault_lines(status, check, same, width, colour)
    if any(each.status != "ok" for each in results):
        told = {each.check for each in results}
        silent = [
            title_of(check) for check in all_checks()
            if group_of(check) == group and check not in told and check not in left_out
        ]  # fmt: skip
        if silent:
            yield ""
            text = f"Not looked at, because of what is said above: {', '.join(silent)}."
            yield from _filled(text, "  ", "  ", width)


def summary(
    results: Sequence[Result], *, again: str = "pare doctor", is_deployed: bool = True
) -> str:
    """Return all in one line, and what to do next; ``again``: how it is run again.

    It counts what is printed: of each check what is missing, cannot be told, and is well.
    """
    if not results:
        return "Nothing was looked at."
    found = Counter(status for status, _ in {(each.status, each.check) for each in results})
    words: dict[Status, str] = {
        "missing": "missing", "cannot tell": "cannot be told", "ok": "ok"
    }  # fmt: skip
    parts = [
        f"{found[status]:,} {words[status]}"
        for status in STATUSES
        if found[status] or status == "ok"
    ]
    text = ", ".join(parts) + "."
    if found["missing"]:
        return f"{text} Mend the first, then run {again} again."
    if found["cannot tell"]:
        return f"{text} What cannot be told may be missing: let it be looked at, as said above."
    if not is_deployed:
        return f"{text} That is all that can be looked at before Pare is deployed."
    return f"{text} Nothing is missing."


def _ok_lines(check: str, results: Sequence[Result], width: int, colour: bool) -> Iterator[str]:
    says = " ".join(_plainly(_all_well(results)).split())
    yield from _filled(f"{title_of(check)}: {says}", "  ok  ", "        ", width, "32", colour)


def _all_well(results: Sequence[Result]) -> str:
    """Return in a few words of what all is well; what says more of itself is named."""
    if len(results) == 1:
        return results[0].says
    alike = [each for each in results if not each.says.startswith(each.subject) or not each.subject]
    special = [each.says for each in results if each not in alike]
    parts = []
    subjects = list(dict.fromkeys(each.subject for each in alike if each.subject))
    if subjects and all(_ACCOUNT.match(each) for each in subjects):
        parts.append(several(len(subjects), "account"))
    elif subjects and all(_REGION.fullmatch(each) for each in subjects):
        parts.append(f"{several(len(subjects), 'Region')} ({listed(subjects, _SUBJECTS_SHOWN)})")
    elif subjects:
        parts.append(listed(subjects, _SUBJECTS_SHOWN))
        if len({each.says for each in alike}) == 1:
            parts[-1] += f": {alike[0].says}"
    elif alike:
        parts.append("; ".join(each.says for each in alike))
    if special:
        parts.append(listed(special, _SUBJECTS_SHOWN))
    return "; ".join(parts)


def _fault_lines(
    status: Status, check: str, results: Sequence[Result], width: int, colour: bool
) -> Iterator[str]:
    yield ""
    word = _WORDS[status]
    yield f"  {_painted(word, _COLOURS[status], colour)}  {title_of(check)}"
    mends: dict[str, tuple[Mend | None, list[Result]]] = {}
    for each in results:
        key = json.dumps(each.mend.to_json() if each.mend else None, sort_keys=True)
        mends.setdefault(key, (each.mend, []))[1].append(each)
    yield from _filled(f"Why it matters: {why(check)}", "    ", "    ", width)
    texts: set[str] = set()
    for mend, same in mends.values():
        said: dict[str, list[str]] = defaultdict(list)
        for each in same:
            said[each.says].append(each.subject)
        for says, subjects in said.items():
            # What begins with its subject names it by itself.
            named = [each for each in subjects if each and not says.startswith(each)]
            text = f"{', '.join(named)}: {says}" if named else says
            yield from _filled(_plainly(text), "  - ", "    ", width)
        if mend is not None:
            yield from _mend_lines(mend, width, has_text=mend.text + mend.after not in texts)
            texts.add(mend.text + mend.after)


def _mend_lines(mend: Mend, width: int, *, has_text: bool) -> Iterator[str]:
    """Yield a mend; of several with the same text (a Region each), one has it."""
    if mend.text and has_text:
        yield from _filled(_plainly(mend.text), "    ", "    ", width)
        if not mend.commands and mend.statement is None:
            yield ""
    if mend.commands or mend.statement is not None:
        where = _WHERE.get(mend.where, f"With credentials of the account {mend.where}:")
        if mend.where.startswith("member "):
            where = f"With credentials of the account {mend.where.removeprefix('member ')}:"
        yield from _filled(_plainly(where), "    ", "    ", width)
    if mend.commands:
        yield ""
        for command in mend.commands:
            yield from (_plainly(line) for line in command.split("\n"))
        yield ""
    if mend.after and has_text:
        yield from _filled(_plainly(mend.after), "    ", "    ", width)
        yield ""
    if mend.statement is not None:
        yield "    The statement meant:"
        yield ""
        text = json.dumps(mend.statement, indent=2, ensure_ascii=False)
        yield from (_plainly(line) for line in text.split("\n"))
        yield ""


def _filled(
    text: str, first: str, after: str, width: int, paint: str = "", colour: bool = False
) -> Iterator[str]:
    lines = textwrap.wrap(
        " ".join(text.split()),
        width,
        initial_indent=first,
        subsequent_indent=after,
        # What is longer than a line (an ARN) stays whole: it is to be copied.
        break_long_words=False,
        break_on_hyphens=False,
    ) or [first.rstrip()]
    if paint and colour:
        lines[0] = lines[0].replace(first.strip(), _painted(first.strip(), paint, True), 1)
    yield from lines


def _painted(text: str, code: str, colour: bool) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if colour else text


def _plainly(text: str) -> str:
    """Return text without what a terminal would take for a command; line ends are ours."""
    return "".join(
        char if char.isprintable() else " " if char in "\n\t" else "\N{REPLACEMENT CHARACTER}"
        for char in text
    )


# --- JSON -----------------------------------------------------------------------------------------


def result_json(result: Result) -> ResultJson:
    """Return a result as machines read it."""
    return {
        "group": group_of(result.check),
        "check": result.check,
        "title": title_of(result.check),
        "subject": result.subject,
        "status": result.status,
        "says": result.says,
        "why": why(result.check),
        "mend": result.mend.to_json() if result.mend else None,
        "facts": result.facts,
    }


def report_json(
    results: Sequence[Result], *, as_of: str, looked_at: Sequence[str], about: dict[str, Any]
) -> dict[str, Any]:
    """Return the report: ``about`` the deployment, the groups looked at, counts, and results.

    ``results`` are sorted: groups in their order, in them checks in the table's, then subjects.
    """
    return {
        "schema_version": SCHEMA_VERSION,
        "as_of": as_of,
        "about": about,
        "groups": list(looked_at),
        "counts": {status.replace(" ", "_"): n for status, n in counts(results).items()},
        "results": [result_json(each) for each in in_order(results)],
    }
