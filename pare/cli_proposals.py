"""Proposals for many principals: made, written into folders, summed up."""

from __future__ import annotations

import csv
import io
import json
import multiprocessing
import re
import shutil
import sys
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pare.arns import parse_principal_arn
from pare.cli_activity import csv_cell, progress_bar
from pare.errors import ArnParseError, OutputFileError, WorkerError
from pare.policy.coverage import activity_coverage, recorded
from pare.policy.current import kind_of, kind_without_path, may_be_narrowed
from pare.policy.evidence import Evidence, Terms
from pare.policy.limits import bind
from pare.policy.outputs import FORMS, WHOLE_PROPOSAL, file_name, files_of, render
from pare.policy.proposal import build_proposal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pare.arns import PrincipalArn
    from pare.cloudtrail.activity import Activity, PrincipalActivity
    from pare.policy.authorization_details import AuthorizationDetails
    from pare.policy.coverage import ActivityCoverageJson
    from pare.policy.document import PolicyDocument
    from pare.policy.outputs import Form
    from pare.policy.proposal import ProposalJson
    from pare.policy.subjects import Subject, Subjects

# A line of the index.
Row = dict[str, Any]

NOT_IN_THE_LOGS = "not in the logs"
_SHOWN = 20
_IDLE_SHOWN = 10
# Columns of a terminal; and what is left of a principal and of a reason where these are too few.
_WIDTH = 80
_LEAST_OF_PRINCIPAL = 24
_LEAST_OF_REASON = 8
# Below this, starting a process costs more than it saves.
_WORTH_A_PROCESS = 100
# Principals a process takes at once.
_AT_ONCE = 32
# What forked processes have in common with the one they come from: work, subjects.
_inherited: list[Any] = []
# The files of a proposal, whatever forms were asked for; policies are numbered besides.
_FILE_NAMES = frozenset({WHOLE_PROPOSAL, *(file_name(form) for form in FORMS)})
_NUMBERED = re.compile(r"policy-[0-9]+\.json")


@dataclass(frozen=True, slots=True)
class Inputs:
    """What was given besides the logs."""

    details: AuthorizationDetails | None
    limits: tuple[tuple[PolicyDocument, ...], ...]
    last_accessed: Any
    terms: Terms


class Logs:
    """What was read, and how much of it there is for each account."""

    def __init__(self, activity: Activity) -> None:
        self._activity = activity
        self._principals: dict[str, list[PrincipalActivity]] = {}
        for principal, theirs in activity.principals.items():
            self._principals.setdefault(principal.account_id, []).append(theirs)
        self._coverages: dict[str, ActivityCoverageJson] = {}

    def coverage(self, account_id: str) -> ActivityCoverageJson:
        """Return the coverage of an account, the same object each time."""
        found = self._coverages.get(account_id)
        if found is None:
            found = self._coverages[account_id] = activity_coverage(
                self._activity,
                account_id,
                recorded(self._activity, self._principals.get(account_id, ())),
            )
        return found


def propose_one(subject: Subject, logs: Logs, inputs: Inputs) -> ProposalJson:
    """Return the proposal for one user or role."""
    account_id = subject.arn.account_id
    kind = kind_of(subject.arn) if subject.is_path_known else kind_without_path(subject.arn)
    current, why = _current(subject.arn.arn, account_id, inputs.details)
    return build_proposal(
        Evidence(
            principal_arn=subject.arn.arn,
            account_id=account_id,
            kind=kind,
            current=current,
            activity=subject.activity,
            coverage=logs.coverage(account_id),
            last_accessed=inputs.last_accessed,
            limits=inputs.limits if bind(kind) else (),
            current_unknown_because=why,
            is_path_known=subject.is_path_known,
            gone_ids=subject.gone_ids,
        ),
        inputs.terms,
    )


def _current(arn: str, account_id: str, details: AuthorizationDetails | None) -> tuple[Any, str]:
    if details is None:
        return None, ""
    if arn in details.principals():
        return details.principals()[arn], ""
    if arn in details.unknown():
        return None, details.unknown()[arn]
    if account_id not in details.account_ids():
        return None, f"--current is not of account {account_id}"
    return None, "it is not in --current: it may have been deleted"


def propose_all(
    chosen: Sequence[Subject],
    logs: Logs,
    inputs: Inputs,
    *,
    folder: Path | None,
    forms: tuple[Form, ...],
    jobs: int,
    idle: Sequence[Row] = (),
) -> list[Row]:
    """Make a proposal for each, write it into its folder, and return what the index says of them.

    The policies as JSON are always written. ``idle``: rows that the index has besides. Folders that
    an earlier run's index names, and this one's does not, are taken away. Several processes share
    the work where the machine can fork: each has all that was read.
    """
    work = _Work(logs, inputs, folder, ("json", *(forms or ("markdown",))))
    jobs = min(jobs, len(chosen) // _WORTH_A_PROCESS) if sys.platform == "linux" else 1
    with progress_bar(len(chosen), f"Proposing {len(chosen):,} policies") as progress:
        rows = []
        for row in map(work, chosen) if jobs < 2 else _in_processes(work, chosen, jobs):
            rows.append(row)
            progress(1)
    if folder is not None:
        for place in sorted(folders_named_in(folder) - {row["folder"] for row in rows}):
            _take_away(folder, place)
        index = [*rows, *idle]
        _write(folder, {
            "index.json": json.dumps(index, indent=1, sort_keys=True) + "\n",
            "index.csv": _index_csv(index),
        })  # fmt: skip
    return rows


@dataclass(frozen=True, slots=True)
class _Work:
    """Makes and writes one proposal."""

    logs: Logs
    inputs: Inputs
    folder: Path | None
    forms: tuple[Form, ...]

    def __call__(self, subject: Subject) -> Row:
        """Return what the index says of the proposal."""
        proposal = propose_one(subject, self.logs, self.inputs)
        place = _place(subject.arn)
        if self.folder is not None:
            files = files_of(proposal, self.forms)
            _clear(self.folder / place, keep=files)
            _write(self.folder / place, files)
        return _row(proposal, place, _last_used_at(subject.arn.arn, self.inputs.details))


def _in_processes(work: _Work, chosen: Sequence[Subject], jobs: int) -> Iterator[Row]:
    """Yield the rows in their order; what was read is inherited, not sent."""
    _inherited.extend((work, chosen))
    try:
        with ProcessPoolExecutor(jobs, multiprocessing.get_context("fork")) as processes:
            yield from processes.map(_work_on, range(len(chosen)), chunksize=_AT_ONCE)
    except BrokenProcessPool as error:
        raise WorkerError("a process that makes proposals ended before its work") from error
    finally:
        _inherited.clear()


def _work_on(number: int) -> Row:
    work: _Work = _inherited[0]
    return work(_inherited[1][number])


def rendered(proposal: ProposalJson, forms: Sequence[Form]) -> str:
    """Return a proposal in some forms, one after another."""
    return "\n".join(render(proposal, form) for form in forms)


def idle_rows(arns: Iterable[str], details: AuthorizationDetails) -> list[Row]:
    """Return the rows of users and roles that are not in the logs, those that Pare narrows first.

    ``arns`` are users and roles of ``details``.
    """

    def order(arn: str) -> tuple[bool, str]:
        kind = kind_of(parse_principal_arn(arn))
        return not may_be_narrowed(kind, {}, break_glass_tag="").allowed, arn

    return [
        {
            "principal_arn": arn,
            "account_id": parse_principal_arn(arn).account_id,
            "verdict": NOT_IN_THE_LOGS,
            "reasons": [],
            "before_action_count": None,
            "after_action_count": None,
            "policy_count": 0,
            "replayed_calls": None,
            "replayed_allowed_calls": None,
            "refused_call_count": 0,
            "last_used_at": _last_used_at(arn, details),
            "folder": None,
        }
        for arn in sorted(arns, key=order)
    ]


def _last_used_at(arn: str, details: AuthorizationDetails | None) -> str | None:
    """Return when a role was last used as IAM tells; of a user it tells nothing."""
    current = details.principals().get(arn) if details is not None else None
    return current["last_used_at"] if current else None


def _row(proposal: ProposalJson, place: str, last_used_at: str | None) -> Row:
    before, after, certificate = proposal["before"], proposal["after"], proposal["replay"]
    return {
        "principal_arn": proposal["principal_arn"],
        "account_id": proposal["account_id"],
        "verdict": proposal["verdict"],
        "reasons": [each["code"] for each in proposal["reasons"]],
        "before_action_count": before["action_count"] if before else None,
        "after_action_count": after["action_count"] if after else None,
        "policy_count": len(proposal["documents"]),
        "replayed_calls": certificate["calls"] if certificate else None,
        "replayed_allowed_calls": certificate["allowed_calls"] if certificate else None,
        "refused_call_count": len(proposal["refused_calls"]) + proposal["more_refused_calls"],
        "last_used_at": last_used_at,
        "folder": place,
    }


def _index_csv(rows: Sequence[Row]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = list(rows[0]) if rows else ["principal_arn"]
    writer.writerow(names)
    for row in rows:
        cells = {**row, "reasons": " ".join(row["reasons"])}
        writer.writerow(["" if cells[name] is None else csv_cell(cells[name]) for name in names])
    return text.getvalue()


def summary(
    rows: Sequence[Row],
    idle: Sequence[Row],
    subjects: Subjects,
    folder: Path | None,
    *,
    has_current: bool,
) -> Iterator[str]:
    """Yield what was proposed, a line a principal, the ones to look at first on top."""
    order = ("ready", "review", "refused")
    rows = sorted(
        rows,
        key=lambda row: (order.index(row["verdict"]), -(row["before_action_count"] or 0),
                         row["principal_arn"]),
    )  # fmt: skip
    # Where the output is no terminal and COLUMNS is not set, it is as wide as most terminals.
    width = shutil.get_terminal_size((_WIDTH, 24)).columns
    yield from _table(rows[:_SHOWN], width, has_current=has_current)
    if len(rows) > _SHOWN:
        yield f"… and {len(rows) - _SHOWN:,} more" + (" in index.csv" if folder else "")
    yield ""
    numbers = ", ".join(
        f"{sum(row['verdict'] == verdict for row in rows):,} {verdict}" for verdict in order
    )
    yield f"{_users_and_roles(len(rows))}: {numbers}."
    for why, count in sorted(subjects.others.items()):
        yield f"  {count:,} other{'' if count == 1 else 's'}, no policy: {why}"
    if idle:
        are = "is" if len(idle) == 1 else "are"
        yield f"{_users_and_roles(len(idle))} of --current {are} not in the logs:"
        for row in idle[:_IDLE_SHOWN]:
            yield f"  {row['principal_arn']}"
        if len(idle) > _IDLE_SHOWN:
            yield f"  … and {len(idle) - _IDLE_SHOWN:,} more" + (" in index.csv" if folder else "")
    if folder is not None:
        yield f"Wrote {folder}/index.csv, index.json, and a folder for each principal."


def _users_and_roles(count: int) -> str:
    return f"{count:,} {'user or role' if count == 1 else 'users and roles'}"


def _table(rows: Sequence[Row], width: int, *, has_current: bool) -> Iterator[str]:
    """Yield a header and a line for each row, none longer than the width where that can be.

    Where ARNs are too long, what they have in common goes first, then their middle.
    """
    columns = [_column("VERDICT", [row["verdict"] for row in rows], "<")]
    if has_current:
        columns.append(_column("TODAY", [_number(row["before_action_count"]) for row in rows], ">"))
    columns += [
        _column("PROPOSED", [_number(row["after_action_count"]) for row in rows], ">"),
        _column("REPLAYED", [_replayed(row) for row in rows], ">"),
    ]
    reasons = ["REASON", *(row["reasons"][0] if row["reasons"] else "" for row in rows)]
    longest_reason = max(map(len, reasons))
    rest = width - sum(len(column[0]) + 2 for column in columns) - 2
    names = [row["principal_arn"] for row in rows]
    if max(map(len, names), default=0) > rest - longest_reason:
        is_one = len({row["account_id"] for row in rows}) == 1
        names = [name.split(":", 5 if is_one else 4)[-1] for name in names]
    longest_name = max(map(len, names), default=0)
    for_principal = max(rest - longest_reason, min(longest_name, _LEAST_OF_PRINCIPAL))
    for_reason = min(max(rest - for_principal, _LEAST_OF_REASON), longest_reason)
    columns.append([_cut(each, for_reason).ljust(for_reason) for each in reasons])
    columns.append(["PRINCIPAL", *(_cut_in_the_middle(name, for_principal) for name in names)])
    for cells in zip(*columns, strict=True):
        yield "  ".join(cells)


def _column(header: str, cells: Iterable[str], alignment: str) -> list[str]:
    cells = [header, *cells]
    width = max(map(len, cells))
    return [f"{cell:{alignment}{width}}" for cell in cells]


def _number(count: int | None) -> str:
    return "" if count is None else f"{count:,}"


def _replayed(row: Row) -> str:
    """Return how many of the observed, allowed calls the proposal allows."""
    calls, allowed = row["replayed_calls"], row["replayed_allowed_calls"]
    if not calls:
        return "" if calls is None else "none"
    return f"all {calls:,}" if calls == allowed else f"{allowed:,} of {calls:,}"


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


def _cut_in_the_middle(text: str, width: int) -> str:
    """Return a text shortened so that its end, the name of a principal, is seen most."""
    if len(text) <= width:
        return text
    head = (width - 1) // 4
    return f"{text[:head]}…{text[len(text) - (width - 1 - head) :]}"


def made_folder(output_dir: str | None) -> Path | None:
    """Return the folder, made where there is none; raises OutputFileError."""
    if output_dir is None:
        return None
    folder = Path(output_dir)
    if folder.exists() and not folder.is_dir():
        raise OutputFileError(f"{output_dir} is a file, not a folder.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputFileError(f"{output_dir} cannot be made: {error.strerror}.") from error
    return folder


def _place(arn: PrincipalArn) -> str:
    """Return the folder of a principal: ``111122223333/role/path/Name``.

    A path may hold what a file system takes otherwise, ``..`` above all: it is percent-encoded.
    """
    parts = [arn.account_id, arn.entity, *arn.path.strip("/").split("/"), arn.name]
    return "/".join(_file_name(part) for part in parts if part)


def _file_name(part: str) -> str:
    name = quote(part, safe="+=,@ ")
    return name.replace(".", "%2E") if not name.strip(".") else name


def folders_named_in(folder: Path) -> frozenset[str]:
    """Return the folders of principals that an earlier run's ``index.json`` names; none without it.

    The file may have been edited: only what Pare itself would call the folder of a principal
    counts, so that none of them leads out of ``folder``.
    """
    try:
        rows = json.loads((folder / "index.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return frozenset()
    found = set()
    for row in rows if isinstance(rows, list) else ():
        place = row.get("folder") if isinstance(row, dict) else None
        if isinstance(place, str) and place == _place_of(row.get("principal_arn")):
            found.add(place)
    return frozenset(found)


def _place_of(arn: Any) -> str | None:
    try:
        return _place(parse_principal_arn(arn)) if isinstance(arn, str) else None
    except (ArnParseError, UnicodeEncodeError):
        return None


def _take_away(folder: Path, place: str) -> None:
    """Remove what Pare wrote for a principal, and the folders that are empty then."""
    path = folder / place
    if not path.resolve().is_relative_to(folder.resolve()):
        return  # somebody put a link in its place
    _clear(path, keep=())
    for each in (path, *path.parents):
        try:
            if each == folder:
                return
            each.rmdir()
        except OSError:
            return  # something else is in it


def _clear(folder: Path, *, keep: Iterable[str]) -> None:
    """Remove the files of an earlier proposal from the folder of a principal."""
    try:
        for old in list(folder.iterdir()) if folder.is_dir() else ():
            is_ours = old.name in _FILE_NAMES or _NUMBERED.fullmatch(old.name)
            if is_ours and old.name not in keep and old.is_file():
                old.unlink()
    except OSError as error:
        raise OutputFileError(f"{folder} cannot be written: {error.strerror}.") from error


def _write(folder: Path, files: dict[str, str]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputFileError(f"{folder} cannot be written: {error.strerror}.") from error
