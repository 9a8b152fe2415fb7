"""A person's own CloudTrail files, made into an emulated organization: ``make demo TRAIL=DIR``.

``read_trail`` reads what it can, names what it cannot, and returns an organization whose workload
accounts are theirs, the same records packed as an organization trail would hold them, and what was
used when. Accounts and names stay as they are; times are moved as a whole to end shortly before
now, because policy generation looks back no further than 90 days.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from local.emulator.catalogue import actions_of, service_of
from local.organization import (
    ADMINISTRATOR_ACCESS,
    IDENTITY_CENTER_PATH,
    SERVICE_LINKED_PATH,
    AccessKey,
    Account,
    Role,
    User,
    read_organization,
    trust_document,
)
from local.trail_generator import Usage, delivery_time, log_file
from pare.clock import format_time, parse_time
from pare.errors import PareError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from local.organization import Organization, Principal
    from local.trail_generator import LogFile

WINDOW_DAYS = 90
MAX_RECORDS = 150_000  # all are held in memory, at about 4 KB each
RECORDS_PER_FILE = 20_000

_SUFFIXES = (".json", ".json.gz", ".ndjson", ".jsonl", ".ndjson.gz", ".jsonl.gz", ".gz", ".log")
_NO_LOG_FILES = (
    "CloudTrail-Digest",
    "CloudTrail-Insight",
    "CloudTrail-NetworkActivity",
    "CloudTrail-Aggregated",
)
_END_BEFORE_NOW = timedelta(minutes=30)
_AGE_DAYS = 400  # of every imported principal: older than any window
_STAMP = re.compile(r"_(\d{8}T\d{4,6}Z)")
_OTHER_PARTITION = re.compile(r"arn:aws-(?:us-gov|cn|eusc|iso[a-z-]*):")
_ACCOUNT_ID = re.compile(r"[0-9]{12}")
_REGION = re.compile(r"[a-z0-9-]{2,30}")
_ENTITY_ARN = re.compile(
    r"arn:aws:iam::(?P<account>\d{12}):(?P<kind>role|user)(?P<path>/(?:[\x21-\x7e]{1,510}/)?)"
    r"(?P<name>[\w+=,.@-]{1,64})",
    re.ASCII,
)
_SESSION_ARN = re.compile(
    r"arn:aws:sts::(?P<account>\d{12}):assumed-role/(?P<name>[\w+=,.@-]{1,64})/.+", re.ASCII
)
# The codes under which services refuse (facts §7); any other error means that the call was allowed.
_DENIAL = re.compile(
    r"(?:.*\.)?(?:\w*AccessDenied(?:Exception|Fault)?|UnauthorizedOperation|UnauthorizedAccess|"
    r"AuthorizationError(?:Exception)?|AuthFailure|NotAuthorized(?:Exception)?|Forbidden|"
    r"ForbiddenException|UnauthorizedException|Unauthorized)"
)


class TrailImportError(PareError):
    """A folder holds no CloudTrail records."""

    what_to_do = (
        "Give the folder that holds your CloudTrail log files (.json or .json.gz, as CloudTrail "
        "delivers them, or the output of `aws cloudtrail lookup-events`): `make demo TRAIL=DIR`."
    )


@dataclass(frozen=True, slots=True)
class UnreadableFile:
    """A file, or a part of one, that could not be read."""

    path: str  # below the folder given
    reason: str


@dataclass(frozen=True, slots=True)
class ImportedTrail:
    """A person's own trail, ready to be put into the emulated organization."""

    organization: Organization
    records: tuple[_Record, ...]
    shift: timedelta
    newest_at: datetime  # of the moved records
    usage: tuple[Usage, ...]
    finding_principal_arn: str | None  # about whom the demo's finding is; None: no role, no user
    unreadable: tuple[UnreadableFile, ...]
    notes: tuple[str, ...]

    @property
    def record_count(self) -> int:
        """How many records were read."""
        return len(self.records)

    def log_files(self, organization: Organization | None = None) -> tuple[LogFile, ...]:
        """Return the records as the log files of an organization trail.

        Give the organization as it was created: its id is in every key, and the unique ids that
        IAM gave the imported principals take the place of those in the records.
        """
        organization = organization or self.organization
        return tuple(_log_files(self, organization, _new_ids(self.organization, organization)))


def read_trail(
    directory: Path, *, now: datetime, base: Organization | None = None
) -> ImportedTrail:
    """Return the organization, log files and usage that the CloudTrail files of a folder show.

    ``base`` lends its management, hub and log archive accounts. Raises TrailImportError where not
    one record is found.
    """
    base = base or read_organization()
    reading = _Reading(directory)
    records = reading.records()
    if not records:
        raise TrailImportError(_nothing_found(directory, reading))
    newest = max((r.time for r in records if r.time is not None), default=None)
    shift = _shift(newest, now)
    principals = _principals(records, reading.notes)
    organization = _organization(base, principals, records)
    imported = [a for a in organization.accounts if a.account_id not in _ids(base.accounts)]
    reading.notes[
        f"{len(imported)} accounts, {sum(len(a.roles) for a in imported)} roles and "
        f"{sum(len(a.users) for a in imported)} users come from the trail"
    ] = 1
    return ImportedTrail(
        organization=organization,
        records=tuple(records),
        shift=shift,
        newest_at=_end(now),
        usage=_usage(records, principals, shift),
        finding_principal_arn=_most_active(records, principals, _end(now) - shift),
        unreadable=tuple(reading.unreadable),
        notes=(*_standing_notes(records, principals, shift, now), *_counted(reading.notes)),
    )


# ----------------------------------------------------------------------------------------- reading


@dataclass(slots=True)
class _Record:
    """One record, and what was read of it."""

    json: dict[str, Any]
    time: datetime | None
    account_id: str
    region: str
    entity: _Entity | None

    @property
    def operation(self) -> tuple[str, str]:
        return self.json["eventSource"], self.json["eventName"]

    @property
    def is_api_call(self) -> bool:
        return bool(self.json.get("eventType", "AwsApiCall") == "AwsApiCall")

    @property
    def is_management_event(self) -> bool:
        category = self.json.get("eventCategory", "Management")
        return self.is_api_call and category == "Management"

    @property
    def is_denied(self) -> bool:
        code = self.json.get("errorCode")
        return isinstance(code, str) and _DENIAL.fullmatch(code) is not None


@dataclass(frozen=True, slots=True)
class _Entity:
    """The role or user that a record names as its caller."""

    kind: Literal["role", "user"]
    account_id: str
    path: str
    name: str
    is_path_known: bool = True

    @property
    def arn(self) -> str:
        return f"arn:aws:iam::{self.account_id}:{self.kind}{self.path}{self.name}"


@dataclass(slots=True)
class _Reading:
    """Reads the files of a folder, newest first, and counts what it could not use."""

    directory: Path
    unreadable: list[UnreadableFile] = field(default_factory=list)
    notes: Counter[str] = field(default_factory=Counter)
    file_count: int = 0

    def records(self) -> list[_Record]:
        """Return the records, in the order of their files."""
        found: list[_Record] = []
        paths = self._paths()
        for index, path in enumerate(paths):
            if len(found) >= MAX_RECORDS:
                self.notes[
                    f"only the newest {len(found):,} records were read: {{n}} older log files were "
                    "left alone"
                ] = len(paths) - index
                break
            self.file_count += 1
            for record in self._of_file(path):
                read = self._read(record)
                if read is not None:
                    found.append(read)
        return found

    def _paths(self) -> list[Path]:
        if self.directory.is_file():
            return [self.directory]
        if not self.directory.is_dir():
            raise TrailImportError(f"{self.directory} is not a folder.")
        paths = []
        for path in sorted(self.directory.rglob("*")):
            if not self._is_file(path):
                continue
            if any(kind in part for part in path.parts for kind in _NO_LOG_FILES):
                self.notes["{n} digest, Insights and other files beside the logs were skipped"] += 1
            elif path.name.lower().endswith(_SUFFIXES):
                paths.append(path)
        return sorted(paths, key=_stamp, reverse=True)

    def _is_file(self, path: Path) -> bool:
        try:
            return path.is_file()
        except OSError as error:
            name = str(path.relative_to(self.directory))
            self.unreadable.append(UnreadableFile(name, f"cannot be read: {error}"))
            return False

    def _of_file(self, path: Path) -> Iterator[Any]:
        name = str(path.relative_to(self.directory)) if path != self.directory else path.name
        try:
            text = self._text(path.read_bytes())
        except (OSError, EOFError, zlib.error) as error:
            self.unreadable.append(UnreadableFile(name, f"cannot be read: {error}"))
            return
        except UnicodeDecodeError:
            self.unreadable.append(UnreadableFile(name, "is not UTF-8 text"))
            return
        try:
            yield from _records_in(json.loads(text))
        except (ValueError, RecursionError):
            yield from self._of_lines(name, text)

    def _text(self, body: bytes) -> str:
        while body[:2] == b"\x1f\x8b":
            body = gzip.decompress(body)
        text = body.decode("utf-8-sig")
        text, count = _OTHER_PARTITION.subn("arn:aws:", text)
        if count:
            self.notes["{n} ARNs of another partition were written as arn:aws"] += count
        return text

    def _of_lines(self, name: str, text: str) -> Iterator[Any]:
        bad = good = 0
        for line in text.splitlines():
            if not line.strip():
                continue
            try:
                document = json.loads(line)
            except (ValueError, RecursionError):
                bad += 1
                continue
            good += 1
            yield from _records_in(document)
        if bad and not good:
            self.unreadable.append(UnreadableFile(name, "is not JSON"))
        elif bad:
            self.unreadable.append(UnreadableFile(name, f"{bad} of its lines are not JSON"))

    def _read(self, record: Any) -> _Record | None:
        """Return a record that can be used, or None after counting why not."""
        if not isinstance(record, dict) or not all(
            isinstance(record.get(key), str) for key in ("eventSource", "eventName")
        ):
            if isinstance(record, dict) and record.get("eventCategory") == "Insight":
                self.notes["{n} Insights events are no calls and were skipped"] += 1
            else:
                self.notes["{n} entries are not CloudTrail records and were skipped"] += 1
            return None
        identity = record.get("userIdentity")
        identity = identity if isinstance(identity, dict) else {}
        entity = _entity(identity)
        account_id = _account_of(record, identity, entity)
        if account_id is None:
            self.notes["{n} records name no account and were left out"] += 1
            return None
        time = _time(record.get("eventTime"))
        if time is None:
            self.notes["{n} records have no readable eventTime: kept, with no place in time"] += 1
        if entity is None and record.get("eventType", "AwsApiCall") == "AwsApiCall":
            kind = str(identity.get("type") or "no identity")
            self.notes[f"{{n}} calls by {kind} belong to no role or user"] += 1
        region = record.get("awsRegion")
        if not isinstance(region, str) or not _REGION.fullmatch(region):
            region = "us-east-1"
        return _Record(record, time, account_id, region, entity)


def _stamp(path: Path) -> tuple[str, str]:
    found = _STAMP.search(path.name)
    return (found[1] if found else "", str(path))


def _records_in(document: Any) -> Iterator[Any]:
    """Yield the records of a document in any of the shapes people keep them in."""
    if isinstance(document, list):
        yield from document
    elif isinstance(document, dict):
        if isinstance(document.get("Records"), list):
            yield from document["Records"]
        elif isinstance(document.get("Events"), list):  # aws cloudtrail lookup-events
            for event in document["Events"]:
                yield from _looked_up(event)
        elif isinstance(document.get("CloudTrailEvent"), str):
            yield from _looked_up(document)
        elif "digestS3Object" not in document:
            yield document
    else:
        yield document


def _looked_up(event: Any) -> Iterator[Any]:
    text = event.get("CloudTrailEvent") if isinstance(event, dict) else None
    try:
        yield json.loads(text) if isinstance(text, str) else event
    except ValueError:
        yield event


def _time(text: Any) -> datetime | None:
    if not isinstance(text, str):
        return None
    try:
        return parse_time(text).astimezone(UTC).replace(microsecond=0)
    except (ValueError, OverflowError):
        return None


def _account_of(
    record: dict[str, Any], identity: dict[str, Any], entity: _Entity | None
) -> str | None:
    """Return the account a record belongs to: its recipient, else its caller's."""
    issuer = _issuer(identity)
    for value in (
        record.get("recipientAccountId"),
        identity.get("accountId"),
        issuer.get("accountId"),
        entity.account_id if entity else None,
    ):
        text = f"{value:012d}" if type(value) is int else value
        if isinstance(text, str) and _ACCOUNT_ID.fullmatch(text):
            return text
    return None


def _issuer(identity: dict[str, Any]) -> dict[str, Any]:
    context = identity.get("sessionContext")
    issuer = context.get("sessionIssuer") if isinstance(context, dict) else None
    return issuer if isinstance(issuer, dict) else {}


def _entity(identity: dict[str, Any]) -> _Entity | None:
    """Return the role or user that called, or None: a service, an account, the root, nobody."""
    kind = identity.get("type")
    if kind not in ("IAMUser", "AssumedRole", "Role", "FederatedUser"):
        return None
    for arn in (_issuer(identity).get("arn"), identity.get("arn")):
        found = _ENTITY_ARN.fullmatch(arn) if isinstance(arn, str) else None
        if found:
            entity_kind: Literal["role", "user"] = "role" if found["kind"] == "role" else "user"
            return _Entity(entity_kind, found["account"], found["path"], found["name"])
    arn = identity.get("arn")
    found = _SESSION_ARN.fullmatch(arn) if isinstance(arn, str) else None
    if found:
        # Only the session's ARN is there, and it leaves the path out.
        path = f"{IDENTITY_CENTER_PATH}" if found["name"].startswith("AWSReservedSSO_") else "/"
        return _Entity("role", found["account"], path, found["name"], is_path_known=False)
    return None


def _nothing_found(directory: Path, reading: _Reading) -> str:
    text = f"{directory} holds no CloudTrail record: {reading.file_count} files were read"
    if reading.unreadable:
        first = reading.unreadable[0]
        text += f", {len(reading.unreadable)} of them in vain ({first.path} {first.reason})"
    return text + "."


# --------------------------------------------------------------------------------------- principals


def _principals(records: list[_Record], notes: Counter[str]) -> dict[_Entity, Principal]:
    """Return the roles and users the records name, by what the records call them.

    IAM has one role of a name in an account, whatever its path: the one seen last stands.
    """
    seen: dict[tuple[str, str, str], _Record] = {}
    entities: dict[_Entity, tuple[str, str, str]] = {}
    for record in records:
        entity = record.entity
        if entity is None:
            continue
        key: tuple[str, str, str] = (entity.account_id, entity.kind, entity.name.lower())
        entities[entity] = key
        before = seen.get(key)
        if before is None or _preference(record) > _preference(before):
            seen[key] = record
    access_keys = _access_keys(records)
    made: dict[_Entity, Principal] = {}
    for entity, key in entities.items():
        chosen = seen[key]
        assert chosen.entity is not None  # only records with one are in there
        if chosen.entity != entity:
            notes["{n} principals are another's name under another path: taken for the same"] += 1
        unique_id = _unique_id(chosen)
        if chosen.entity.kind == "role":
            made[entity] = _role(chosen.entity, unique_id)
        else:
            made[entity] = _user(chosen.entity, unique_id, access_keys.get(chosen.entity.arn, ()))
    return made


def _preference(record: _Record) -> tuple[bool, datetime]:
    known = record.entity is not None and record.entity.is_path_known
    return known, record.time or datetime.min.replace(tzinfo=UTC)


def _access_keys(records: list[_Record]) -> dict[str, tuple[AccessKey, ...]]:
    """Return the long-term access keys each user is seen with, by ARN: 2 at most, as in IAM.

    Days are counted to the newest record, which is moved to this day.
    """
    newest = max((record.time for record in records if record.time is not None), default=None)
    last: dict[str, dict[str, _Record]] = {}
    for record in records:
        if record.entity is not None and record.entity.kind == "user":
            key = record.json["userIdentity"].get("accessKeyId")
            if isinstance(key, str) and key.startswith("AKIA"):
                keys = last.setdefault(record.entity.arn, {})
                if key not in keys or _preference(keys[key])[1] <= _preference(record)[1]:
                    keys[key] = record
    return {
        arn: tuple(_access_key(keys[key], newest) for key in sorted(keys)[:2])
        for arn, keys in last.items()
    }


def _access_key(last: _Record, newest: datetime | None) -> AccessKey:
    """Return a key as its last record shows it in use."""
    if last.time is None or newest is None:
        return AccessKey(created_days_ago=_AGE_DAYS)
    return AccessKey(
        created_days_ago=max(_AGE_DAYS, (newest - last.time).days + 1),
        last_used_days_ago=(newest - last.time).days,
        last_used_service=service_of(last.operation[0]),
    )


def _unique_id(record: _Record) -> str:
    identity = record.json["userIdentity"]
    for value in (_issuer(identity).get("principalId"), identity.get("principalId")):
        if isinstance(value, str):
            own = value.partition(":")[0]
            if re.fullmatch(r"A(?:RO|ID)A[A-Z0-9]{12,28}", own):
                return own
    return ""


def _role(entity: _Entity, unique_id: str) -> Role:
    service = None
    if entity.path.startswith(SERVICE_LINKED_PATH):
        service = entity.path.removeprefix(SERVICE_LINKED_PATH).strip("/") or None
    return Role(
        account_id=entity.account_id,
        name=entity.name,
        path=entity.path,
        description="From an imported trail.",
        trust=_trust(entity, service),
        managed_policy_arns=() if service else (ADMINISTRATOR_ACCESS,),
        created_days_ago=_AGE_DAYS,
        service_linked=service,
        unique_id=unique_id,
    )


def _trust(entity: _Entity, service: str | None) -> Any:
    if service:
        return trust_document({"service": service}, entity.account_id, {})
    if entity.path.startswith(IDENTITY_CENTER_PATH):
        form = {"identity_center": "AWSSSO_0000000000000000_DO_NOT_DELETE"}
        return trust_document(form, entity.account_id, {})
    return trust_document({"account": entity.account_id}, entity.account_id, {})


def _user(entity: _Entity, unique_id: str, access_keys: tuple[AccessKey, ...]) -> User:
    return User(
        account_id=entity.account_id,
        name=entity.name,
        path=entity.path,
        managed_policy_arns=(ADMINISTRATOR_ACCESS,),
        access_keys=access_keys,
        created_days_ago=_AGE_DAYS,
        unique_id=unique_id,
    )


def _ids(accounts: Iterable[Account]) -> set[str]:
    return {account.account_id for account in accounts}


def _organization(
    base: Organization, principals: dict[_Entity, Principal], records: Iterable[_Record]
) -> Organization:
    """Return the base organization with the trail's accounts in place of its workload accounts."""
    workloads = {account.account_id for account in base.workload_accounts}
    kept = [account for account in base.accounts if account.account_id not in workloads]
    own_ids = {account.account_id for account in kept}
    distinct = {principal.arn: principal for principal in principals.values()}
    ids = {record.account_id for record in records} | {p.account_id for p in distinct.values()}
    unit = "Workloads" if "Workloads" in base.organizational_units else None
    accounts = [
        _with_principals(account, distinct.values()) if account.account_id in ids else account
        for account in kept
    ]
    for account_id in sorted(ids - own_ids):
        account = Account(
            account_id=account_id,
            name=f"imported-{account_id}",
            email=f"aws-{account_id}@imported.example",
            organizational_unit=unit,
        )
        accounts.append(_with_principals(account, distinct.values()))
    regions = {record.region for record in records}
    return replace(
        base,
        accounts=tuple(accounts),
        regions=tuple(sorted({*base.regions, *regions})),
        service_control_policies=(),  # a trail does not tell them
        exemptions=(),
    )


def _with_principals(account: Account, principals: Iterable[Principal]) -> Account:
    own = sorted((p for p in principals if p.account_id == account.account_id), key=lambda p: p.arn)
    taken = {p.name.lower() for p in account.principals}
    return replace(
        account,
        roles=(
            *account.roles,
            *(p for p in own if isinstance(p, Role) and p.name.lower() not in taken),
        ),
        users=(
            *account.users,
            *(p for p in own if isinstance(p, User) and p.name.lower() not in taken),
        ),
    )


def _most_active(
    records: list[_Record], principals: dict[_Entity, Principal], newest: datetime
) -> str | None:
    """Return the role, else the user, with the most distinct operations that were allowed.

    Only what a policy can be made of counts: management events of the window, with a known action.
    """
    start = newest - timedelta(days=WINDOW_DAYS - 1)
    operations: dict[str, set[tuple[str, str]]] = {}
    for record in records:
        if record.time is None or record.time < start or not record.is_management_event:
            continue
        if record.entity is not None and not record.is_denied and actions_of(*record.operation):
            arn = principals[record.entity].arn
            operations.setdefault(arn, set()).add(record.operation)
    by_arn = {principal.arn: principal for principal in principals.values()}
    roles = [
        arn
        for arn in operations
        if isinstance(role := by_arn[arn], Role)
        and not role.service_linked
        and not role.is_identity_center
    ]
    users = [arn for arn in operations if isinstance(by_arn[arn], User)]
    candidates = roles or users
    return min(candidates, key=lambda arn: (-len(operations[arn]), arn)) if candidates else None


# ----------------------------------------------------------------------------------- time and files


def _shift(newest: datetime | None, now: datetime) -> timedelta:
    if newest is None:
        return timedelta(0)
    return _end(now) - newest


def _end(now: datetime) -> datetime:
    return now.astimezone(UTC).replace(microsecond=0) - _END_BEFORE_NOW


def _new_ids(before: Organization, after: Organization) -> dict[str, str]:
    """Return the unique ids that IAM gave the principals, by those they have in the trail."""
    created = {principal.arn: principal.unique_id for principal in after.principals()}
    return {
        principal.unique_id: created[principal.arn]
        for principal in before.principals()
        if created.get(principal.arn, principal.unique_id) != principal.unique_id
    }


def _shifted(record: _Record, shift: timedelta) -> dict[str, Any]:
    """Return the record at its new time: eventTime and the session's creationDate move."""
    if record.time is None:
        return record.json
    moved = {**record.json, "eventTime": format_time(record.time + shift)}
    identity = record.json.get("userIdentity")
    context = identity.get("sessionContext") if isinstance(identity, dict) else None
    attributes = context.get("attributes") if isinstance(context, dict) else None
    created = _time(attributes.get("creationDate")) if isinstance(attributes, dict) else None
    if created is not None:
        moved["userIdentity"] = {
            **moved["userIdentity"],
            "sessionContext": {
                **context,  # type: ignore[dict-item]  # a dict: its attributes were found
                "attributes": {**attributes, "creationDate": format_time(created + shift)},  # type: ignore[dict-item]
            },
        }
    return moved


def _log_files(
    trail: ImportedTrail, organization: Organization, new_ids: Mapping[str, str]
) -> Iterator[LogFile]:
    """Yield the records packed by account, Region and day, delivered after the last of each."""
    shift, newest = trail.shift, trail.newest_at
    rewrite = _rewriter(new_ids)
    days: dict[tuple[str, str, str], list[_Record]] = {}
    timeless: dict[tuple[str, str], list[_Record]] = {}
    for record in trail.records:
        if record.time is None:
            timeless.setdefault((record.account_id, record.region), []).append(record)
        else:
            day = f"{record.time + shift:%Y-%m-%d}"
            days.setdefault((record.account_id, record.region, day), []).append(record)
    for (account_id, region), lost in timeless.items():
        own = [day for a, r, day in days if (a, r) == (account_id, region)]
        day = max(own, default=f"{newest:%Y-%m-%d}")
        days.setdefault((account_id, region, day), []).extend(lost)
    for (account_id, region, day), packed in sorted(days.items(), key=lambda item: item[0]):
        times = [record.time + shift for record in packed if record.time is not None]
        for start in range(0, len(packed), RECORDS_PER_FILE):
            yield log_file(
                organization.organization_id,
                account_id,
                region,
                delivery_time(max(times, default=newest)),
                [_shifted(record, shift) for record in packed[start : start + RECORDS_PER_FILE]],
                unique=f"import/{day}/{start}",
                rewrite=rewrite,
            )


def _rewriter(new_ids: Mapping[str, str]) -> Callable[[str], str] | None:
    """Return what puts the new unique ids in the place of the old ones, if there are any."""
    if not new_ids:
        return None
    old_ids = re.compile("|".join(map(re.escape, sorted(new_ids))))
    return lambda text: old_ids.sub(lambda found: new_ids[found[0]], text)


def _usage(
    records: list[_Record], principals: dict[_Entity, Principal], shift: timedelta
) -> tuple[Usage, ...]:
    """Return the last use of each service and action by each principal."""
    latest: dict[tuple[str, str, str | None], Usage] = {}
    for record in records:
        if record.entity is None or record.time is None or not record.is_api_call:
            continue
        arn = principals[record.entity].arn
        source, name = record.operation
        actions: tuple[str | None, ...] = actions_of(source, name) or (None,)
        for action in actions:
            service = action.partition(":")[0] if action else service_of(source)
            use = Usage(arn, service, action, record.time + shift, record.region, record.is_denied)
            before = latest.get((arn, service, action))
            if before is not None:
                newer = max(before, use, key=lambda u: u.last_accessed_at)
                use = replace(newer, is_denied=before.is_denied and use.is_denied)
            latest[arn, service, action] = use
    return tuple(
        sorted(latest.values(), key=lambda u: (u.principal_arn, u.service, u.action or ""))
    )


def _standing_notes(
    records: list[_Record],
    principals: dict[_Entity, Principal],
    shift: timedelta,
    now: datetime,
) -> Iterator[str]:
    yield (
        "attached policies are not in a trail; the demo attaches AdministratorAccess to each role "
        "and user, and makes up their trust policies and their age"
    )
    if shift:
        yield (
            f"every record was moved by {shift.days} days and {shift.seconds // 3600} hours, so "
            "that the newest lies half an hour before now: CloudTrail windows are 90 days"
        )
    start = now.astimezone(UTC) - timedelta(days=WINDOW_DAYS)
    early = sum(r.time is not None and r.time + shift < start for r in records)
    if early:
        yield f"{early:,} records are more than 90 days older than the newest: outside the window"
    guessed = sorted({e.arn for e in principals if not e.is_path_known})
    if guessed:
        yield f"the path of {len(guessed)} roles is not in their records and is made up: " + (
            ", ".join(guessed[:3]) + (", …" if len(guessed) > 3 else "")
        )


def _counted(notes: Counter[str]) -> Iterator[str]:
    for text, count in sorted(notes.items()):
        yield text.replace("{n}", f"{count:,}")
