"""Proposals for many principals: made, written into folders, summed up."""

from __future__ import annotations

import csv
import io
import json
import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pare.cli_activity import csv_cell, progress_bar
from pare.errors import OutputFileError, WorkerError
from pare.policy.coverage import activity_coverage, recorded
from pare.policy.current import kind_of, kind_without_path
from pare.policy.evidence import Evidence, Terms
from pare.policy.limits import bind
from pare.policy.outputs import files_of, render
from pare.policy.proposal import build_proposal

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pare.arns import PrincipalArn
    from pare.cloudtrail.activity import Activity
    from pare.policy.authorization_details import AuthorizationDetails
    from pare.policy.coverage import ActivityCoverageJson
    from pare.policy.document import PolicyDocument
    from pare.policy.outputs import Form
    from pare.policy.proposal import ProposalJson
    from pare.policy.subjects import Subject, Subjects

# A line of the index.
Row = dict[str, Any]

_SHOWN = 20
# Below this, starting a process costs more than it saves.
_WORTH_A_PROCESS = 100
# Principals a process takes at once.
_AT_ONCE = 32
# What forked processes have in common with the one they come from: work, subjects.
_inherited: list[Any] = []


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
        self._recorded = recorded(activity)
        self._coverages: dict[str, ActivityCoverageJson] = {}

    def coverage(self, account_id: str) -> ActivityCoverageJson:
        """Return the coverage of an account, the same object each time."""
        found = self._coverages.get(account_id)
        if found is None:
            found = self._coverages[account_id] = activity_coverage(
                self._activity, account_id, self._recorded
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
) -> list[Row]:
    """Make a proposal for each, write it into its folder, and return what the index says of them.

    Several processes share the work where the machine can fork: each has all that was read.
    """
    work = _Work(logs, inputs, folder, forms or ("json", "markdown"))
    jobs = min(jobs, len(chosen) // _WORTH_A_PROCESS) if sys.platform == "linux" else 1
    with progress_bar(len(chosen), f"Proposing {len(chosen):,} policies") as progress:
        rows = []
        for row in map(work, chosen) if jobs < 2 else _in_processes(work, chosen, jobs):
            rows.append(row)
            progress(1)
    if folder is not None:
        _write(folder, {
            "index.json": json.dumps(rows, indent=1, sort_keys=True) + "\n",
            "index.csv": _index_csv(rows),
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
            _write(self.folder / place, files_of(proposal, self.forms))
        return _row(proposal, place)


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


def _row(proposal: ProposalJson, place: str) -> Row:
    before, after, certificate = proposal["before"], proposal["after"], proposal["replay"]
    return {
        "principal_arn": proposal["principal_arn"],
        "account_id": proposal["account_id"],
        "verdict": proposal["verdict"],
        "reasons": [each["code"] for each in proposal["reasons"]],
        "before_action_count": before["action_count"] if before else None,
        "after_action_count": after["action_count"] if after else None,
        "policy_count": len(proposal["documents"]),
        "replayed_rows": certificate["rows"] if certificate else None,
        "replayed_allowed_rows": certificate["allowed_rows"] if certificate else None,
        "refused_call_count": len(proposal["refused_calls"]) + proposal["more_refused_calls"],
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


def summary(rows: Sequence[Row], subjects: Subjects, folder: Path | None) -> Iterator[str]:
    """Yield what was proposed, a line a principal, the ones to look at first on top."""
    order = ("ready", "review", "refused")
    rows = sorted(
        rows,
        key=lambda row: (order.index(row["verdict"]), -(row["before_action_count"] or 0),
                         row["principal_arn"]),
    )  # fmt: skip
    yield f"{'VERDICT':<8}  {'TODAY':>6}  {'PROPOSED':>8}  {'REPLAYED':>13}  PRINCIPAL"
    for row in rows[:_SHOWN]:
        before = "" if row["before_action_count"] is None else f"{row['before_action_count']:,}"
        after = "" if row["after_action_count"] is None else f"{row['after_action_count']:,}"
        replayed = (
            "" if row["replayed_rows"] is None
            else f"{row['replayed_allowed_rows']:,} of {row['replayed_rows']:,}"
        )  # fmt: skip
        numbers = f"{before:>6}  {after:>8}  {replayed:>13}"
        yield f"{row['verdict']:<8}  {numbers}  {row['principal_arn']}"
    if len(rows) > _SHOWN:
        yield f"… and {len(rows) - _SHOWN:,} more" + (" in index.csv" if folder else "")
    yield ""
    numbers = ", ".join(
        f"{sum(row['verdict'] == verdict for row in rows):,} {verdict}" for verdict in order
    )
    yield f"{len(rows):,} {'user or role' if len(rows) == 1 else 'users and roles'}: {numbers}."
    for why, count in sorted(subjects.others.items()):
        yield f"  {count:,} other{'' if count == 1 else 's'}, no policy: {why}"
    if folder is not None:
        yield f"Wrote {folder}/index.csv, index.json, and a folder for each principal."


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


def _write(folder: Path, files: dict[str, str]) -> None:
    """Write files; what an earlier run left of the same kind is taken away."""
    try:
        if folder.is_dir():
            for old in folder.glob("policy*"):
                if old.name not in files and old.is_file():
                    old.unlink()
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputFileError(f"{folder} cannot be written: {error.strerror}.") from error
