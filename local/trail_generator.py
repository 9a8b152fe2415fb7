"""An invented CloudTrail trail of the emulated organization, as AWS would have delivered it.

``generate`` turns two data files (``local/seed/behaviour.yaml``: who does what and when;
``local/seed/operations.yaml``: how each operation is recorded) into the log files of an
organization trail, and says beside them what each principal really used, which is more than the
trail shows. The same organization, end and seed give the same bytes.
"""

from __future__ import annotations

import gzip
import io
import json
import math
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import yaml

from local.organization import SEED_FOLDER, SeedError, User
from local.trail_records import (
    GLOBAL_REGION,
    Call,
    Session,
    Values,
    api_call,
    assume_role,
    caller_session,
    console_sign_in,
    federated_session,
    new_uuid,
    random_text,
    role_session,
    seen_from,
    service_session,
    user_session,
    with_shared_id,
)
from pare.clock import format_time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from local.organization import (
        CreatedOrganization,
        EmulatorClients,
        Organization,
        Principal,
        Role,
    )
    from pare.policy.document import JsonObject

SCHEMA_VERSION = 1

# CloudTrail delivers on average five minutes after the call, and not in order.
# https://docs.aws.amazon.com/awscloudtrail/latest/userguide/get-and-view-cloudtrail-log-files.html
_COLLECT_SECONDS = 15 * 60
_DELIVERY_DELAY = timedelta(minutes=5)
_BURST_SECONDS = 180
_DUPLICATE_SHARE = 0.05  # of the files that hold a copy of records of the file before
_UPLOADS_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class LogFile:
    """An object of the trail bucket. ``record_count`` is 0 for the kinds a reader must skip."""

    key: str
    body: bytes
    record_count: int


@dataclass(frozen=True, slots=True)
class Usage:
    """The last time a principal used something: what last accessed information is made of."""

    principal_arn: str
    service: str
    action: str | None  # None: the data plane, known by service only
    last_accessed_at: datetime
    region: str
    is_denied: bool = False  # never once allowed; AWS counts such attempts as access too

    def to_json(self) -> dict[str, str | None]:
        """Return the entry as the emulator's control plane takes it."""
        return {
            "principal_arn": self.principal_arn,
            "service": self.service,
            "action": self.action,
            "last_accessed_at": format_time(self.last_accessed_at),
            "region": self.region,
        }


@dataclass(frozen=True, slots=True)
class CredentialUse:
    """The last time the trail shows a user's first access key, or a password, in use."""

    arn: str  # of the user, or of an account's root user
    access_key_id: str | None  # None: the password
    last_used_at: datetime
    service: str = ""
    region: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return an access key's use as the emulator's control plane takes it."""
        return {
            "access_key_id": self.access_key_id,
            "last_used_at": format_time(self.last_used_at),
            "service": self.service,
            "region": self.region,
        }


@dataclass(frozen=True, slots=True)
class GeneratedTrail:
    """The files of a trail, and beside them the truth about use. Iterating yields the files.

    ``usage`` has also what the trail does not show: data events, and what is older.
    """

    files: tuple[LogFile, ...]
    usage: tuple[Usage, ...]
    credentials: tuple[CredentialUse, ...] = ()

    def __iter__(self) -> Iterator[LogFile]:
        return iter(self.files)

    @property
    def record_count(self) -> int:
        """How many records the log files hold, those delivered twice counted twice."""
        return sum(file.record_count for file in self.files)


def generate(
    organization: Organization,
    *,
    end: datetime,
    days: int = 90,
    seed: int = 7,
    folder: Path = SEED_FOLDER,
) -> GeneratedTrail:
    """Return the trail of the ``days`` before ``end``: log files, and what was really used."""
    end = end.astimezone(UTC).replace(microsecond=0)
    behaviour = _read(folder / "behaviour.yaml")
    operations = _read(folder / "operations.yaml")
    recorder = _Recorder(organization, end - timedelta(days=days), end)
    bursts: dict[str, list[datetime]] = {}
    for table in behaviour["principals"]:
        actor = _Actor.read(table, organization, behaviour, operations, seed)
        bursts[table["principal"]] = actor.act(recorder, bursts)
    for table in behaviour["events"]:
        _by_themselves(table, recorder, operations, seed)
    for table in behaviour["beside_the_trail"]:
        recorder.use(_beside_the_trail(table, organization, end))
    files = [*recorder.log_files(seed), *_sibling_files(organization, end, operations, seed)]
    return GeneratedTrail(
        files=tuple(sorted(files, key=lambda f: f.key)),
        usage=recorder.usage(),
        credentials=recorder.credentials(),
    )


def write_trail(
    emulator: EmulatorClients,
    created: CreatedOrganization,
    files: Iterable[LogFile],
    usage: Iterable[Usage],
) -> int:
    """Put files into the trail's bucket and usage into the emulator; return the bytes put."""
    organization = created.organization
    s3 = emulator.client(
        "s3", organization.log_archive_account.account_id, organization.home_region
    )

    def put(file: LogFile) -> int:
        s3.put_object(
            Bucket=created.bucket_name,
            Key=file.key,
            Body=file.body,
            ContentType="application/json",
            ContentEncoding="gzip",
        )
        return len(file.body)

    with ThreadPoolExecutor(_UPLOADS_AT_ONCE) as pool:
        size = sum(pool.map(put, files))
    emulator.control("usage", {"entries": [entry.to_json() for entry in usage]})
    return size


def log_file(
    organization_id: str,
    account_id: str,
    region: str,
    delivered_at: datetime,
    records: Iterable[Mapping[str, Any]],
    *,
    unique: str,
    rewrite: Callable[[str], str] | None = None,
) -> LogFile:
    """Return a log file in the layout of an organization trail.

    ``unique`` seeds the 16 letters of its name; ``rewrite`` changes its text before it is packed.
    """
    stamp = delivered_at.strftime("%Y%m%dT%H%MZ")
    letters = random.Random(f"{unique}/{account_id}/{region}/{stamp}")
    name = f"{account_id}_CloudTrail_{region}_{stamp}_{random_text(letters, 'base62', 16)}.json.gz"
    folder = f"AWSLogs/{organization_id}/{account_id}/CloudTrail/{region}"
    listed = list(records)
    return LogFile(
        key=f"{folder}/{delivered_at:%Y/%m/%d}/{name}",
        body=_gzip({"Records": listed}, name, rewrite),
        record_count=len(listed),
    )


def delivery_time(event_time: datetime) -> datetime:
    """Return when the file with an event of that time is delivered: 5 to 20 minutes later."""
    seconds = math.floor(event_time.timestamp() / _COLLECT_SECONDS + 1) * _COLLECT_SECONDS
    return datetime.fromtimestamp(seconds, UTC) + _DELIVERY_DELAY


def _early_in_a_collection(moment: datetime) -> datetime:
    """Return the moment, moved so that a burst begun then mostly fits one log file."""
    seconds = int(moment.timestamp())
    place = 30 + seconds % (_COLLECT_SECONDS - _BURST_SECONDS - 60)
    return datetime.fromtimestamp(seconds - seconds % _COLLECT_SECONDS + place, UTC)


def _gzip(
    document: Mapping[str, Any], name: str, rewrite: Callable[[str], str] | None = None
) -> bytes:
    text = json.dumps(document, separators=(",", ":"), ensure_ascii=False)
    if rewrite is not None:
        text = rewrite(text)
    try:
        body = text.encode()
    except UnicodeEncodeError:  # half a surrogate pair, in an imported record
        body = json.dumps(json.loads(text), separators=(",", ":")).encode()
    buffer = io.BytesIO()
    with gzip.GzipFile(name.removesuffix(".gz"), "wb", 6, buffer, mtime=0) as stream:
        stream.write(body)
    return buffer.getvalue()


def _read(path: Path) -> dict[str, Any]:
    try:
        table: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise SeedError(f"{path.name} is not YAML: {error}") from error
    if table.get("schema_version") != SCHEMA_VERSION:
        raise SeedError(f"{path.name}: schema_version is not {SCHEMA_VERSION}.")
    return table


# --------------------------------------------------------------------------------------- recording


class _Recorder:
    """Collects records by the file they will be delivered in, and use by principal."""

    def __init__(self, organization: Organization, start: datetime, end: datetime) -> None:
        self.organization = organization
        self.start = start
        self.end = end
        self._files: dict[tuple[str, str, datetime], list[JsonObject]] = {}
        self._usage: dict[tuple[str, str, str | None], Usage] = {}
        self._credentials: dict[tuple[str, str | None], CredentialUse] = {}

    def covers(self, moment: datetime) -> bool:
        """Return whether an event of that time has been delivered by the trail's end."""
        return self.start <= moment and delivery_time(moment) <= self.end

    def record(self, moment: datetime, record: JsonObject) -> None:
        """Put a record into the file it is delivered in."""
        place = (str(record["recipientAccountId"]), str(record["awsRegion"]), delivery_time(moment))
        self._files.setdefault(place, []).append(record)

    def use(self, usage: Usage) -> None:
        """Remember a use, if it is the latest of its kind; one allowed use outweighs denials."""
        key = (usage.principal_arn, usage.service, usage.action)
        before = self._usage.get(key)
        if before is None:
            self._usage[key] = usage
            return
        latest = max(before, usage, key=lambda u: u.last_accessed_at)
        self._usage[key] = replace(latest, is_denied=before.is_denied and usage.is_denied)

    def sign(self, use: CredentialUse) -> None:
        """Remember the use of a credential, refused or not, if it is the latest."""
        key = (use.arn, use.access_key_id)
        before = self._credentials.get(key)
        if before is None or before.last_used_at < use.last_used_at:
            self._credentials[key] = use

    def credentials(self) -> tuple[CredentialUse, ...]:
        """Return the last uses of credentials, sorted."""
        return tuple(
            sorted(self._credentials.values(), key=lambda u: (u.arn, u.access_key_id or ""))
        )

    def usage(self) -> tuple[Usage, ...]:
        """Return what was used, sorted."""
        return tuple(
            sorted(self._usage.values(), key=lambda u: (u.principal_arn, u.service, u.action or ""))
        )

    def log_files(self, seed: int) -> Iterator[LogFile]:
        """Yield the log files: records in no order, and some of them delivered twice."""
        rng = random.Random(f"{seed}/delivery")
        before: dict[tuple[str, str], list[JsonObject]] = {}
        for (account_id, region, delivered_at), records in sorted(
            self._files.items(), key=lambda item: item[0]
        ):
            again = before.get((account_id, region), [])
            before[account_id, region] = records
            delivered = list(records)
            if again and rng.random() < _DUPLICATE_SHARE:
                delivered += rng.sample(again, min(len(again), rng.randint(1, 12)))
            rng.shuffle(delivered)
            yield log_file(
                self.organization.organization_id,
                account_id,
                region,
                delivered_at,
                delivered,
                unique=str(seed),
            )


@dataclass(slots=True)
class _Actor:
    """A principal and its habits."""

    table: Mapping[str, Any]
    principal: Principal
    organization: Organization
    agents: list[str]
    calls: list[tuple[Call, float]]  # with its weight
    operations: Mapping[str, Any]
    session_names: Mapping[str, list[str]]  # of every principal that has behaviour
    rng: random.Random
    held: dict[str, tuple[Session, datetime]] = field(default_factory=dict)

    @classmethod
    def read(
        cls,
        table: Mapping[str, Any],
        organization: Organization,
        behaviour: Mapping[str, Any],
        operations: Mapping[str, Any],
        seed: int,
    ) -> _Actor:
        """Return the actor that an entry of behaviour.yaml describes."""
        agents: Mapping[str, list[str]] = behaviour["agents"]
        try:
            principal = organization.principal(table["principal"])
            return cls(
                table=table,
                principal=principal,
                organization=organization,
                agents=agents[table["agent"]] if "agent" in table else [""],
                calls=[
                    _habit(name, habit, operations["operations"])
                    for name, habit in table["operations"].items()
                ],
                operations=operations,
                session_names={
                    each["principal"]: each["session"].get("names", [])
                    for each in behaviour["principals"]
                },
                rng=random.Random(f"{seed}/{principal.arn}"),
            )
        except KeyError as error:
            raise SeedError(
                f"behaviour.yaml, {table.get('principal')!r}: {error.args[0]!r} is not known."
            ) from error

    def act(self, recorder: _Recorder, bursts: Mapping[str, list[datetime]]) -> list[datetime]:
        """Record everything the principal does, and return when its bursts began."""
        if "follows" in self.table:
            gap = timedelta(seconds=_BURST_SECONDS)
            started = [moment + gap for moment in bursts[self.table["follows"]]]
        else:
            started = list(self._bursts(recorder))
        started = [m for m in started if recorder.covers(m + timedelta(seconds=2 * _BURST_SECONDS))]
        for index, moment in enumerate(started):
            self._burst(recorder, moment, index)
        for use in self.table.get("unrecorded", ()):
            for moment in started:
                recorder.use(Usage(self.principal.arn, use["service"], None, moment, use["region"]))
        return started

    def _bursts(self, recorder: _Recorder) -> Iterator[datetime]:
        since, until = self.table.get("days_ago", (math.inf, -1))
        first_hour, last_hour = self.table["hours"]
        per_day: float = self.table["bursts"]
        day = recorder.start.replace(hour=0, minute=0, second=0)
        while day < recorder.end:
            count = int(per_day)
            count += self.rng.random() < per_day - count
            moments = sorted(
                _early_in_a_collection(
                    day + timedelta(seconds=int(self.rng.uniform(first_hour, last_hour) * 3600))
                )
                for _ in range(count)
            )
            is_off = self.table.get("weekdays", False) and day.weekday() >= 5
            if until <= (recorder.end - day).days <= since and not is_off:
                yield from moments
            day += timedelta(days=1)

    def _burst(self, recorder: _Recorder, moment: datetime, index: int) -> None:
        session = self._session(recorder, moment)
        if not self.calls:
            return
        kinds, weights = zip(*self.calls, strict=True)
        calls = self.rng.choices(kinds, weights=weights, k=self.rng.randint(*self.table["calls"]))
        # Every kind of call happens, however rare it is.
        calls[self.rng.randrange(len(calls))] = kinds[index % len(kinds)]
        regions: Mapping[str, float] = self.table["regions"]
        region = self.rng.choices(list(regions), weights=list(regions.values()))[0]
        offsets = sorted(self.rng.randrange(_BURST_SECONDS) for _ in calls)
        for call, offset in zip(calls, offsets, strict=True):
            self._record(recorder, call, session, moment + timedelta(seconds=offset), region, {})

    def _record(
        self,
        recorder: _Recorder,
        call: Call,
        session: Session,
        moment: datetime,
        region: str,
        known: Mapping[str, Any],
    ) -> None:
        region = GLOBAL_REGION if call.is_global else region
        account_id = self.principal.account_id
        values = Values.at(
            moment,
            self.rng,
            {**known, "account": account_id, "region": region, "caller": session.caller_arn},
            {**self.operations["values"], **call.values},
        )
        recorder.record(moment, api_call(call, session, moment, region, account_id, values))
        if isinstance(self.principal, User) and not session.is_console:
            service = call.name.partition(":")[0]
            recorder.sign(_key_use(self.principal, moment, service, region))
        for action in call.actions:
            service = action.partition(":")[0]
            is_denied = call.denied is not None
            recorder.use(Usage(self.principal.arn, service, action, moment, region, is_denied))
        if call.denied or call.error:
            return
        for name in call.template.get("then", ()):
            next_call, _ = _habit(name, 0, self.operations["operations"])
            on_behalf = session.on_behalf(str(call.template["by"]))
            self._record(recorder, next_call, on_behalf, moment, region, values.known)

    def _session(self, recorder: _Recorder, moment: datetime) -> Session:
        """Return the session in use at the moment; record how it began, if it begins now."""
        habits: Mapping[str, Any] = self.table["session"]
        names: list[str] = habits.get("names", [""])
        place = self.rng.randrange(len(names))
        held, expires_at = self.held.get(names[place], (None, moment))
        if held is not None and moment < expires_at:
            return held
        addresses: list[str] = self.table.get("addresses", [""])
        address = addresses[place % len(addresses)]
        agent = self.rng.choice(self.agents)
        begin = moment - timedelta(seconds=self.rng.randint(1, 20))
        expires_at = moment + timedelta(hours=habits.get("hours", 1))
        if isinstance(self.principal, User):
            session = self._user_session(recorder, self.principal, address, agent, begin)
        else:
            name = Values(self.rng, {}, {}).fill(names[place])
            session = role_session(self.principal, name, address, agent, begin, self.rng)
            self._begin(recorder, self.principal, name, session, begin, expires_at)
        self.held[names[place]] = (session, expires_at)
        return session

    def _user_session(
        self, recorder: _Recorder, user: User, address: str, agent: str, begin: datetime
    ) -> Session:
        if self.table["session"]["kind"] != "console":
            return user_session(user, address, agent, None, self.rng)
        values = Values.at(begin, self.rng, {}, {})
        template = self.operations["events"]["console_sign_in"]
        # The sign-in page sees the browser, whatever calls AWS later.
        sign_in = console_sign_in(user, address, self.agents[0], values, template)
        recorder.record(begin, sign_in)
        recorder.sign(CredentialUse(user.arn, None, begin))
        return user_session(user, address, agent, begin, self.rng)

    def _begin(
        self,
        recorder: _Recorder,
        role: Role,
        name: str,
        session: Session,
        begin: datetime,
        expires_at: datetime,
    ) -> None:
        """Record the call by which the role's session began, in each account that sees it."""
        habits: Mapping[str, Any] = self.table["session"]
        region = self.organization.home_region
        caller: Session
        match habits["kind"]:
            case "service":
                caller = service_session(str(habits["by"]))
            case "identity_center" | "web_identity":
                caller = federated_session(role, name, session.address, session.agent)
            case "role":
                assuming = self.organization.principal(str(habits["by"]))
                own_name = self.rng.choice(self.session_names.get(habits["by"]) or ["cli"])
                caller = caller_session(
                    assuming, own_name, session.address, session.agent, begin, self.rng
                )
                recorder.use(Usage(assuming.arn, "sts", "sts:AssumeRole", begin, region))
            case kind:
                raise SeedError(f"behaviour.yaml: a session of kind {kind!r} is not known.")
        record = assume_role(role, name, session, caller, begin, expires_at, region, self.rng)
        if record["recipientAccountId"] != role.account_id:
            record = with_shared_id(record, new_uuid(self.rng))
            recorder.record(begin, seen_from(record, role.account_id, self.rng))
        recorder.record(begin, record)


def _key_use(user: User, moment: datetime, service: str, region: str) -> CredentialUse:
    key = next((key.access_key_id for key in user.access_keys), None)
    return CredentialUse(user.arn, key or "", moment, service, region)


def _beside_the_trail(table: Mapping[str, Any], organization: Organization, end: datetime) -> Usage:
    """Return a use that the trail does not show."""
    action: str | None = table.get("action")
    try:
        principal = organization.principal(table["principal"])
        service = table["service"] if action is None else action.partition(":")[0]
        moment = end - timedelta(days=table["days_ago"])
        return Usage(principal.arn, service, action, moment, table["region"])
    except KeyError as error:
        raise SeedError(
            f"behaviour.yaml, beside_the_trail, {table.get('principal')!r}: "
            f"{error.args[0]!r} is not known."
        ) from error


def _habit(name: str, habit: Any, templates: Mapping[str, Mapping[str, Any]]) -> tuple[Call, float]:
    """Return the call a habit describes, and its weight."""
    if not isinstance(habit, dict):
        habit = {"weight": habit}
    operation = str(habit.get("operation", name))
    error = habit.get("error")
    call = Call(
        template=templates[operation],
        # "kms:Decrypt (parameter)" is another template of the same operation.
        name=operation.partition(" ")[0],
        values=habit.get("with", {}),
        denied=habit.get("denied"),
        error=(error[0], error[1]) if error else None,
    )
    return call, float(habit["weight"])


def _by_themselves(
    table: Mapping[str, Any], recorder: _Recorder, operations: Mapping[str, Any], seed: int
) -> None:
    """Record what no role or user does: services at work, the root's sign-in."""
    organization = recorder.organization
    account_id = organization.account(table["account"]).account_id
    rng = random.Random(f"{seed}/{table['kind']}/{account_id}")
    if table["kind"] not in operations["events"]:
        raise SeedError(f"behaviour.yaml: no event of kind {table['kind']!r} is known.")
    known = {
        "account": account_id,
        "region": table["region"],
        "trail_bucket": organization.trail_bucket,
    }
    happened = False
    day = recorder.start.replace(hour=0, minute=0, second=0)
    while day < recorder.end:
        moment = day + timedelta(seconds=rng.randrange(86_400))
        # The last days make sure that each kind is there at least once.
        is_late = not happened and day + timedelta(days=3) >= recorder.end
        if (rng.random() < table["per_day"] or is_late) and recorder.covers(moment):
            happened = True
            values = Values.at(moment, rng, known, operations["values"])
            recorder.record(moment, values.fill(operations["events"][table["kind"]]))
            if table["kind"] == "root_sign_in":
                root = organization.account(account_id).root_arn
                recorder.sign(CredentialUse(root, None, moment))
        day += timedelta(days=1)


def _sibling_files(
    organization: Organization, end: datetime, operations: Mapping[str, Any], seed: int
) -> Iterator[LogFile]:
    """Yield what lies beside log files in a real bucket and holds no calls: digests, Insights.

    https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-log-file-validation-digest-file-structure.html
    https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-insights-fields-trails.html
    """
    moment = (end - timedelta(hours=26)).replace(minute=0, second=0)
    account_id = organization.workload_accounts[0].account_id
    region = organization.home_region
    known = {
        "account": account_id,
        "organization": organization.organization_id,
        "region": region,
        "stamp": f"{moment:%Y%m%dT%H%M%SZ}",
        "trail": organization.trail_name,
        "trail_bucket": organization.trail_bucket,
    }
    for sibling in operations["siblings"]:
        values = Values.at(moment, random.Random(f"{seed}/{sibling['folder']}"), known, {})
        name = values.fill(sibling["name"])
        folder = f"AWSLogs/{organization.organization_id}/{account_id}/{sibling['folder']}"
        key = f"{folder}/{region}/{moment:%Y/%m/%d}/{name}"
        yield LogFile(key, _gzip(values.fill(sibling["document"]), name), 0)
