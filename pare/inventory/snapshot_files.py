"""A snapshot as files on disk: the rows, the head beside them, and the last accessed information.

The folder of a period, as ``aws s3 cp --recursive`` brings it, has ``snapshot.json``,
``principals.ndjson.gz`` and, below ``work=…/``, the list of accounts and of each account its last
accessed information and who is gone. The rows alone, in one NDJSON file, packed or not, do as well:
then nothing is known of accounts.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, get_args

from pare.errors import SnapshotError
from pare.inventory.model import (
    CLASSES,
    DEFINITION_VERSION,
    AccountResultJson,
    CredentialsJson,
    ExemptionJson,
    LastUseJson,
    PlanJson,
    PrincipalRowJson,
    ReasonJson,
    SeasonJson,
    SnapshotJson,
    Status,
    TrustJson,
    UsedServiceJson,
    WidePolicyJson,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pare.inventory.model import LastAccessedJson
    from pare.object_ref import ObjectRef

HEAD = "snapshot.json"
ROWS = ("principals.ndjson.gz", "principals.ndjson", "rows.ndjson.gz")
STATUSES: tuple[str, ...] = get_args(Status)
UNUSED: tuple[Status, ...] = ("idle", "never used")
_PERIOD = "period="
_GZIP = b"\x1f\x8b"
_CHUNK = 65_536
# What a row's members must be that commands look into; the rest is printed as it is.
_SHAPE: tuple[tuple[str, type], ...] = (
    ("principal_arn", str), ("account_id", str), ("kind", str), ("owner_shown", str),
    ("created_at", str), ("last_use", dict), ("services", dict), ("tags", dict),
    ("is_unused", bool),
)  # fmt: skip
_LISTS: tuple[tuple[str, frozenset[str]], ...] = (
    ("reasons", ReasonJson.__required_keys__),
    ("issues", ReasonJson.__required_keys__),
    ("plans", PlanJson.__required_keys__),
    ("seasons", SeasonJson.__required_keys__),
    ("wide", WidePolicyJson.__required_keys__),
)
_OBJECTS_OR_NULL: tuple[tuple[str, frozenset[str]], ...] = (
    ("trust", TrustJson.__required_keys__),
    ("credentials", CredentialsJson.__required_keys__),
    ("exemption", ExemptionJson.__required_keys__),
)


# What may be left out counts as required where annotations are texts.
# https://docs.python.org/3/library/typing.html#typing.TypedDict.__required_keys__
_ACCOUNT = AccountResultJson.__required_keys__ - {"known"}


@dataclass(slots=True)
class Rows:
    """The rows of a file or object, and what in it is none.

    ``damaged`` is the number of lines that are no rows; ``problems`` are sentences about them;
    ``versions`` counts rows by a definition version that is not this one's, and ``unread`` those of
    them that this version cannot show.
    """

    rows: list[PrincipalRowJson] = field(default_factory=list)
    damaged: int = 0
    problems: list[str] = field(default_factory=list)
    versions: dict[int, int] = field(default_factory=dict)
    unread: int = 0


class SnapshotReader(Protocol):
    """A period's snapshot, wherever it lies."""

    @property
    def origin(self) -> str:
        """Where it lies, for people."""

    @property
    def head(self) -> SnapshotJson | None:
        """The head; None where only the rows are known."""

    def rows(self, account_id: str | None = None) -> Rows:
        """Return all rows, or those of one account."""

    def known_rows(self, account: AccountResultJson) -> Rows:
        """Return the last rows known of an account that could not be read this time."""

    def gone_rows(self, account: AccountResultJson) -> Rows:
        """Return last month's rows of the account that are no longer there."""

    def last_accessed(self, account_id: str, principal_arn: str) -> LastAccessedJson | None:
        """Return the last accessed information of a principal; None where there is none."""

    def organization(self) -> dict[str, dict[str, str]] | None:
        """Return name and state of every account by its id, excluded ones too; None: not known."""


def read_rows(content: bytes, origin: str) -> Rows:
    """Return the rows in NDJSON, packed (of any number of gzip members) or not.

    A line that is no row is counted and never an error; of a file that is cut off, what is there
    is read. Rows that lack members of today's are of an older or newer version, and counted so.
    """
    found = Rows()
    text, problem = unpacked(content)
    lines = text.split(b"\n")
    if problem:
        found.problems.append(f"{origin}: {problem}")
        if lines.pop().strip():
            found.damaged += 1  # the line it was cut off in
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        row = _json_object(line)
        if row is None or not isinstance(row.get("principal_arn"), str):
            _lose(found, f"{origin}, line {number:,}: this is no row of an inventory")
            continue
        # Rows of earlier months do not say it.
        row.setdefault("is_unused", row.get("status") in UNUSED)
        version = _version(row)
        if version != DEFINITION_VERSION:
            found.versions[version] = found.versions.get(version, 0) + 1
        if _is_row(row):
            found.rows.append(row)  # type: ignore[arg-type]  # _is_row looked
        elif version != DEFINITION_VERSION:
            found.unread += 1
        else:
            _lose(found, f"{origin}, line {number:,}: members of the row are missing or damaged")
    return found


def _lose(found: Rows, problem: str) -> None:
    found.damaged += 1
    if len(found.problems) < 10:
        found.problems.append(problem)


def _is_row(row: dict[str, Any]) -> bool:
    return (
        row.keys() >= PrincipalRowJson.__required_keys__
        and row["class"] in CLASSES
        and row["status"] in STATUSES
        and all(isinstance(row[name], kind) for name, kind in _SHAPE)
        and row["last_use"].keys() >= LastUseJson.__required_keys__
        and all(_are(row[name], keys) for name, keys in _LISTS)
        and all(row[name] is None or _are([row[name]], keys) for name, keys in _OBJECTS_OR_NULL)
        and _are(list(row["services"].values()), UsedServiceJson.__required_keys__)
    )


def _are(values: object, keys: frozenset[str]) -> bool:
    """Return whether it is a list of objects that have these members."""
    return isinstance(values, list) and all(
        isinstance(each, dict) and each.keys() >= keys for each in values
    )


def _version(value: dict[str, Any]) -> int:
    version = value.get("definition_version")
    # The first inventories' rows did not say theirs.
    return version if isinstance(version, int) else 1


def _json_object(text: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def unpacked(content: bytes) -> tuple[bytes, str | None]:
    """Return bytes without their gzip packing, as far as they go, and what is wrong with the rest.

    Objects are joined of one gzip member an account, so there may be thousands.
    """
    if not content.startswith(_GZIP):
        return content, None
    parts: list[bytes] = []
    position = 0
    while position < len(content):
        if not content[position : position + 1].strip(b"\0"):
            position += 1  # padding between or behind the members
            continue
        member = zlib.decompressobj(wbits=31)
        while not member.eof and position < len(content):
            chunk = content[position : position + _CHUNK]
            position += len(chunk)
            try:
                parts.append(member.decompress(chunk))
            except zlib.error as error:
                return b"".join(parts), f"the packed content is damaged ({error})"
        if not member.eof:
            return b"".join(parts), "the file is cut off"
        position -= len(member.unused_data)
    return b"".join(parts), None


def read_head(content: bytes, origin: str) -> SnapshotJson:
    """Return the head of a snapshot; raises SnapshotError for what is none of this version."""
    head = _json_object(content)
    if head is None:
        raise SnapshotError(f"{origin} is no JSON object")
    if missing := SnapshotJson.__required_keys__ - head.keys():
        version = _version(head)
        if version != DEFINITION_VERSION:
            raise SnapshotError(f"{origin} {other_version(version)}")
        raise SnapshotError(f"{origin} is no head of a snapshot: {min(missing)!r} is missing")
    if not _are(head["accounts"], _ACCOUNT):
        raise SnapshotError(f"{origin} is damaged: 'accounts' is no list of accounts")
    return head  # type: ignore[return-value]  # its members are all there


def other_version(version: int) -> str:
    """Return what to say of a snapshot of another definition version than this one's."""
    age = "an older" if version < DEFINITION_VERSION else "a newer"
    return (
        f"was made by {age} Pare, with definition version {version} of a row; this one reads "
        f"version {DEFINITION_VERSION}"
    )


def organization_ref(head: SnapshotJson) -> ObjectRef | None:
    """Return where the work of a snapshot keeps the list of all accounts of the organization."""
    for account in head["accounts"]:
        for ref in (account["rows"], *account["last_accessed"]):
            work, found, _ = ref["key"].partition("/account=") if ref else ("", "", "")
            if ref and found:
                return {"bucket": ref["bucket"], "key": f"{work}/organization.json"}
    return None


def named_in(lines: bytes, principal_arn: str) -> LastAccessedJson | None:
    """Return a principal's outcome in NDJSON of LastAccessedJson, or None.

    Of several, one with an answer. Damaged lines are not looked at.
    """
    spelled = json.dumps(principal_arn, ensure_ascii=False).encode()
    last: LastAccessedJson | None = None
    for line in lines.split(b"\n"):
        if spelled in line or b"\\u" in line:  # JSON may spell letters by number
            found: Any = _json_object(line)
            if found is not None and found.get("principal_arn") == principal_arn:
                last = found
                if found.get("services") is not None:
                    break
    return last


# --- on disk --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SnapshotFiles:
    """A snapshot in a folder, or a file of rows. Reads each file once."""

    rows_file: Path

    @property
    def origin(self) -> str:
        return str(self.rows_file)

    @property
    def folder(self) -> Path:
        """The folder of the period, or of the one account."""
        return self.rows_file.parent

    @cached_property
    def head(self) -> SnapshotJson | None:
        file = self.folder / HEAD
        return read_head(_bytes(file), str(file)) if file.is_file() else None

    @cached_property
    def _all(self) -> Rows:
        found = read_rows(_bytes(self.rows_file), str(self.rows_file))
        if not found.rows and not (self.head is not None and not found.damaged + found.unread):
            raise SnapshotError(_nothing_in(found, str(self.rows_file)))
        return found

    def rows(self, account_id: str | None = None) -> Rows:
        """Return all rows, or those of one account; raises SnapshotError where there is none."""
        if account_id is None:
            return self._all
        found = self._all
        return Rows([row for row in found.rows if row["account_id"] == account_id],
                    found.damaged, found.problems, found.versions, found.unread)  # fmt: skip

    def known_rows(self, account: AccountResultJson) -> Rows:
        """Return the last rows known of an account, if that month's folder lies beside this one."""
        known = account.get("known")
        return self._rows_of({"bucket": known["bucket"], "key": known["key"]} if known else None)

    def gone_rows(self, account: AccountResultJson) -> Rows:
        """Return last month's rows of an account that are no longer there, if the file is."""
        return self._rows_of(account["gone"])

    def _rows_of(self, ref: ObjectRef | None) -> Rows:
        file = self._file(ref) if ref else None
        return read_rows(_bytes(file), str(file)) if file else Rows()

    def last_accessed(self, account_id: str, principal_arn: str) -> LastAccessedJson | None:
        """Return the principal's last accessed information; None where no file has it."""
        found: LastAccessedJson | None = None
        for file in self._parts(account_id):
            lines, _ = unpacked(_bytes(file))
            found = named_in(lines, principal_arn) or found
            if found and found["services"] is not None:
                break  # a job that failed was tried again: its answer is in a later file
        return found

    def organization(self) -> dict[str, dict[str, str]] | None:
        """Return name and state of every account by its id, if the file is there."""
        ref = organization_ref(self.head) if self.head else None
        file = self._file(ref) if ref else None
        found = _json_object(_bytes(file)) if file else None
        accounts = found.get("accounts") if found else None
        return accounts if isinstance(accounts, dict) else None

    def has_last_accessed(self) -> bool:
        """Return whether there is any file of last accessed information."""
        return any(self._parts("*"))

    def _parts(self, account_id: str) -> Iterator[Path]:
        """Yield the files of an account's last accessed information, as the head names them."""
        accounts = self.head["accounts"] if self.head else []
        refs = [
            ref
            for account in accounts
            if account_id in {"*", account["account_id"]}
            for ref in account["last_accessed"]
        ]
        named = [file for file in map(self._file, refs) if file is not None]
        if named:
            yield from named
        else:
            folder = "last_accessed/part-*.ndjson.gz"
            for pattern in (folder, f"work=*/account={account_id}/{folder}"):
                # Work begun later has the later name; what is newest comes first.
                yield from sorted(self.folder.glob(pattern), reverse=True)

    def _file(self, ref: ObjectRef) -> Path | None:
        """Return where an object of the bucket lies beside this folder, or None."""
        key = ref["key"]
        if ".." in Path(key).parts:
            return None
        _, found, below = key.partition(f"{_PERIOD}")
        period, _, rest = below.partition("/")
        places = [self.folder / rest, self.folder.parent / f"{_PERIOD}{period}" / rest]
        if self.folder.name.startswith(_PERIOD) and self.folder.name != f"{_PERIOD}{period}":
            places = places[1:]
        return next((each for each in places if found and each.is_file()), None)


def open_files(path: Path, period: str | None = None) -> SnapshotFiles:
    """Return the snapshot in a file, in a folder of a period, or in a folder of several periods.

    Of several the newest, or the one asked for. Raises SnapshotError where there is none.
    """
    if path.is_file():
        return SnapshotFiles(path)
    if not path.exists():
        raise SnapshotError(f"There is no file or folder {str(path)!r}")
    for folder in (path, path / "inventory"):
        for name in ROWS:
            if (folder / name).is_file():
                return SnapshotFiles(folder / name)
        wanted = f"{_PERIOD}{period or '*'}"
        for each in sorted(folder.glob(wanted), reverse=True):
            for name in ROWS:
                if (each / name).is_file():
                    return SnapshotFiles(each / name)
    of = f" of {period}" if period else ""
    raise SnapshotError(f"There is no snapshot{of} in {path}: no {ROWS[0]}")


def _nothing_in(found: Rows, origin: str) -> str:
    if found.unread:
        return f"{origin} {other_version(max(found.versions))}: no row can be shown"
    if found.damaged or found.problems:
        return f"{origin} has no row of an inventory that can be read: {found.problems[0]}"
    return f"{origin} is empty"


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise SnapshotError(f"{file} cannot be read: {error.strerror}") from error
