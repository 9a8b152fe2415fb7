"""A folder of invented CloudTrail log files, as an organization trail delivers them, for the bench.

``make_trail`` writes it into ``.build/bench/`` once and returns it from there afterwards; the same
parameters give the same bytes. What is called and how it is recorded is in
``trail_operations.yaml``; who calls is made here: principals of every kind, busy ones and idle
ones (Zipf), each with a few operations and a few resources of its own, in bursts, as programs call.

Record sizes, nesting, error share and callers are those of real trails (docs/benchmarks.md has the
comparison). Run: ``python -m bench.trail_files --size 50MB`` prints the folder and its figures.
"""

from __future__ import annotations

import argparse
import bisect
import hashlib
import itertools
import json
import math
import multiprocessing
import random
import re
import shutil
import struct
import zlib
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

ROOT = Path(__file__).parent.parent
CACHE = ROOT / ".build" / "bench"
OPERATIONS = Path(__file__).parent / "trail_operations.yaml"

MEGABYTE = 1_000_000
ORGANIZATION_ID = "o-be5nchmark"

# In the past, for programs whose default is "until now".
_START = datetime(2025, 6, 1, tzinfo=UTC)
_DAYS = 30
_ACCOUNTS = 20
_REGIONS = (("us-east-1", 0.6), ("eu-west-1", 0.25), ("us-west-2", 0.1), ("ap-southeast-2", 0.05))
_GLOBAL_REGION = "us-east-1"
_FILES_IN_GROUP = 25
_RECORD_BYTES = 1_500  # about the mean, to plan files with
_SINGLE_RECORD_FILES = 0.17
_BURST = 4  # calls after each other of the same kind, on average
_DATA_BURST = 10
_EVENLY = 0.15  # of the calls: so that every principal calls, however idle
_HABIT = 0.15  # of an account's principals use any one operation
_DATA_HABIT = 0.04  # ... of those that handle data: few do, and much
_DENIALS = 0.03
_OTHER_ERRORS = 0.06
_ON_BEHALF = 0.6  # of the calls that services make with their callers' permissions
_ODD = 0.003
_BASE62 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_BASE64 = _BASE62 + "+/"
_KEY_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_PLACEHOLDER = re.compile(r"\{([a-z0-9_]+)\}")


@dataclass(frozen=True, slots=True)
class Parameters:
    """What a trail is made from.

    ``duplicate_share`` is of all records delivered. A real trail had 0.21; the default is lower
    because a duplicate is cheap to read (it is dropped before it is looked at), so that many of
    them would flatter the program measured; and above zero, so that dropping them is measured too.
    """

    size: int = 50 * MEGABYTE  # uncompressed
    principals: int = 5_000
    zipf: float = 1.1
    duplicate_share: float = 0.05
    rounds: int = 1  # the same calls so many times over, at other times and with other event ids
    file_size: int = 200_000  # uncompressed, on average
    seed: int = 7


@dataclass(frozen=True, slots=True)
class Trail:
    """A folder of log files, and what is in it."""

    folder: Path
    files: int
    bytes: int  # uncompressed
    compressed_bytes: int
    records: int
    unique_records: int
    principals: int
    role_arn: str  # of the busiest role
    role_records: int

    def paths(self) -> list[Path]:
        """Return the log files, in the order of their keys."""
        return sorted(self.folder.glob("AWSLogs/**/*.json.gz"))


def make_trail(parameters: Parameters, cache: Path = CACHE) -> Trail:
    """Return the trail, made now unless it was made before."""
    made_by = hashlib.sha256(OPERATIONS.read_bytes() + Path(__file__).read_bytes()).hexdigest()[:8]
    key = hashlib.sha256(json.dumps(asdict(parameters)).encode()).hexdigest()[:8]
    name = f"trail-{made_by}-{parameters.size // MEGABYTE}MB-{parameters.principals}-{key}"
    folder = cache / name
    manifest = cache / f"{name}.json"  # written last: a folder without it was not finished
    if not manifest.exists():
        for path in cache.glob("trail-*"):  # made by another version of this module
            if not path.name.startswith(f"trail-{made_by}-"):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        manifest.write_text(json.dumps(_write(parameters, folder)))
    return Trail(folder=folder, **json.loads(manifest.read_text()))


def _write(parameters: Parameters, folder: Path) -> dict[str, Any]:
    """Write the files of a trail, on all cores; return its figures."""
    one_round = parameters.size / parameters.rounds
    groups = max(1, round(one_round / parameters.file_size / _FILES_IN_GROUP))
    tasks = [(parameters, folder, number, groups) for number in range(groups * parameters.rounds)]
    total = _Written()
    # Forked where possible: the accounts are made once and shared.
    _accounts(parameters)
    with multiprocessing.Pool() as pool:
        for written in pool.imap_unordered(_write_group, tasks):
            total.add(written)
    arn, count = max(total.roles.items(), key=lambda item: (item[1], item[0]))
    return {
        "files": total.files,
        "bytes": total.bytes,
        "compressed_bytes": total.compressed_bytes,
        "records": total.records,
        "unique_records": total.records - total.duplicates,
        "principals": len(total.callers),
        "role_arn": arn,
        "role_records": count,
    }


@dataclass(slots=True)
class _Written:
    """What has been written."""

    files: int = 0
    bytes: int = 0
    compressed_bytes: int = 0
    records: int = 0
    duplicates: int = 0
    roles: dict[str, int] = field(default_factory=dict)
    callers: set[int] = field(default_factory=set)

    def add(self, other: _Written) -> None:
        self.files += other.files
        self.bytes += other.bytes
        self.compressed_bytes += other.compressed_bytes
        self.records += other.records
        self.duplicates += other.duplicates
        for arn, count in other.roles.items():
            self.roles[arn] = self.roles.get(arn, 0) + count
        self.callers |= other.callers


# -------------------------------------------------------------------------------------- operations


@dataclass(frozen=True, slots=True)
class _Operation:
    """One kind of call: the text of its record from ``eventSource`` on, in parts."""

    name: str
    weight: float
    is_global: bool
    service_callers: tuple[str, ...]
    on_behalf_of: tuple[str, ...]
    source: str
    event_name: str
    host: str
    request: str  # JSON with %(name)s for what is filled in; also the next three
    response: str
    additional: str
    resources: str
    names: tuple[str, ...]  # what to fill in
    ending: str  # from readOnly on
    is_data: bool
    burst: int  # calls after each other, on average
    denied: str
    error: str | None


def _operations() -> list[_Operation]:
    table = yaml.safe_load(OPERATIONS.read_text(encoding="utf-8"))
    return [_operation(name, entry) for name, entry in table["operations"].items()]


def _operation(name: str, entry: dict[str, Any]) -> _Operation:
    prefix, _, event = name.partition(" ")[0].partition(":")
    source = entry.get("source", f"{prefix}.amazonaws.com")
    texts = {
        part: _template(entry[part]) if part in entry else ""
        for part in ("request", "response", "additional", "resources")
    }
    is_data = entry.get("data", False)
    return _Operation(
        name=name,
        weight=entry["weight"],
        is_global=entry.get("global", False),
        service_callers=tuple(entry.get("service", ())),
        on_behalf_of=tuple(entry.get("for", ())),
        source=source,
        event_name=entry.get("event", event),
        host=source if entry.get("global") else f"{prefix}.%s.amazonaws.com",
        request=texts["request"] or "null",
        response=texts["response"] or "null",
        additional=texts["additional"],
        resources=texts["resources"],
        names=tuple(sorted(set(re.findall(r"%\(([a-z0-9_]+)\)s", "".join(texts.values()))))),
        ending=f'"readOnly":{json.dumps(entry["read_only"])}',
        is_data=is_data,
        burst=_DATA_BURST if is_data else _BURST,
        denied=entry.get("denied", "AccessDeniedException"),
        error=entry.get("error"),
    )


def _template(value: Any) -> str:
    text = json.dumps(value, separators=(",", ":")).replace("%", "%%")
    for number in ("bytes", "many_items"):  # stand without quotes
        text = text.replace(f'"{{{number}}}"', f"{{{number}}}")
    return _PLACEHOLDER.sub(r"%(\1)s", text)


# --------------------------------------------------------------------------------------- who calls


@dataclass(slots=True, eq=False)
class _Principal:
    """A caller: its identity up to what differs from session to session."""

    number: int
    kind: str
    arn: str
    name: str
    path: str
    unique_id: str
    account_id: str
    agents: list[str]
    sessions: list[str]
    address: str
    is_console: bool

    def session(self, rng: random.Random, day: datetime) -> str:
        """Return the JSON of ``userIdentity`` of a session, but for its last brace."""
        began = day.replace(hour=rng.randrange(24), minute=rng.randrange(60))
        created = f"{began:%Y-%m-%dT%H:%M:%SZ}"
        owner = f'"accountId":"{self.account_id}"'
        if self.kind == "AssumedRole":
            name = rng.choice(self.sessions)
            return (
                f'{{"type":"AssumedRole","principalId":"{self.unique_id}:{name}",'
                f'"arn":"arn:aws:sts::{self.account_id}:assumed-role/{self.name}/{name}",'
                f'{owner},"accessKeyId":"ASIA{_text(rng, _KEY_ALPHABET, 16)}",'
                f'"sessionContext":{{"sessionIssuer":{{"type":"Role",'
                f'"principalId":"{self.unique_id}","arn":"{self.arn}",{owner},'
                f'"userName":"{self.name}"}},"webIdFederationData":{{}},'
                f'"attributes":{{"creationDate":"{created}","mfaAuthenticated":"false"}}}}'
            )
        if self.kind == "AWSAccount":
            return f'{{"type":"AWSAccount","principalId":"{self.unique_id}:{self.name}",{owner}'
        if self.kind == "WebIdentityUser":
            subject = f"repo:example/{self.name}:ref:refs/heads/main"
            provider = f"arn:aws:iam::{self.account_id}:oidc-provider/token.example.com"
            return (
                f'{{"type":"WebIdentityUser","principalId":"{provider}:sts.amazonaws.com:{subject}"'
                f',"userName":"{subject}","identityProvider":"{provider}"'
            )
        text = (
            f'{{"type":"{self.kind}","principalId":"{self.unique_id}","arn":"{self.arn}",'
            f'{owner},"accessKeyId":"{self.sessions[0]}"'
        )
        if self.kind == "IAMUser":
            text += f',"userName":"{self.name}"'
        if self.is_console or self.kind == "Root":
            text += (
                f',"sessionContext":{{"sessionIssuer":{{}},"webIdFederationData":{{}},'
                f'"attributes":{{"creationDate":"{created}","mfaAuthenticated":"true"}}}}'
            )
        return text


_KINDS = (("AssumedRole", 82), ("IAMUser", 13), ("AWSAccount", 3), ("Root", 1))
_AGENTS = (
    "aws-sdk-java/2.31.50 md/io#sync md/http#Apache ua/2.1 api/{service}#2.31.x os/Linux#5.10.236 "
    "lang/java#21.0.7 m/D,N,e",
    "Boto3/1.38.27 md/Botocore#1.38.27 ua/2.1 os/linux#6.1.134 md/arch#x86_64 lang/python#3.12.10 "
    "cfg/retry-mode#legacy",
    "aws-sdk-go-v2/1.36.3 ua/2.1 os/linux lang/go#1.24.3 md/GOOS#linux md/GOARCH#amd64 "
    "api/{service}#1.58.1 m/E,g",
    "APN/1.0 HashiCorp/1.0 Terraform/1.12.1 (+https://www.terraform.io) terraform-provider-aws/"
    "5.99.1 (+https://registry.terraform.io/providers/hashicorp/aws) aws-sdk-go-v2/1.36.3 ua/2.1 "
    "os/linux lang/go#1.24.3 md/GOOS#linux md/GOARCH#amd64 api/{service}#1.45.1 m/n",
    "aws-sdk-js/3.821.0 ua/2.1 os/linux#5.10.236-248.925.amzn2.x86_64 lang/js md/nodejs#20.19.1 "
    "api/{service}#3.821.0 exec-env/AWS_Lambda_nodejs20.x m/E,e",
    "[aws-sdk-java/1.12.780 Linux/5.10.236 OpenJDK_64-Bit_Server_VM/17.0.15+6-LTS java/17.0.15 "
    "vendor/Amazon.com_Inc. cfg/retry-mode/standard]",
    "aws-cli/2.27.25 md/awscrt#0.26.1 ua/2.1 os/macos#24.5.0 md/arch#arm64 lang/python#3.13.3 "
    "md/installer#exe md/command#{service}",
    "aws-sdk-go/1.55.5 (go1.22.3; linux; amd64) amazon-ssm-agent/3.3.1611.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/137.0.0.0 Safari/537.36",
)
_CONSOLE_AGENT = _AGENTS[-1]
_WORDS = [
    "checkout",
    "orders",
    "payments",
    "catalog",
    "search",
    "billing",
    "lake",
    "ingest",
    "reports",
    "audit",
    "mailer",
    "worker",
    "api",
    "web",
    "batch",
    "stream",
    "index",
    "backup",
    "deploy",
    "metrics",
    "gateway",
    "session",
    "profile",
    "pricing",
    "stock",
    "returns",
]


def _principal(number: int, account_id: str, seed: int) -> _Principal:
    rng = random.Random(f"{seed}/principal/{number}")
    kind = "AssumedRole"  # the first few: there is a role to ask for in the smallest trail
    if number >= 3:
        kind = rng.choices([k for k, _ in _KINDS], [w for _, w in _KINDS])[0]
    name = f"{rng.choice(_WORDS)}-{rng.choice(_WORDS)}-{number}"
    path = "/" if rng.random() < 0.6 else f"/{rng.choice(_WORDS)}/"
    prefix, of = {"AssumedRole": ("AROA", "role"), "AWSAccount": ("AROA", "role")}.get(
        kind, ("AIDA", "user")
    )
    is_console = kind in ("IAMUser", "AssumedRole") and rng.random() < 0.08
    if is_console and kind == "AssumedRole":
        name = f"AWSReservedSSO_{name}_{rng.getrandbits(64):016x}"
        path = "/aws-reserved/sso.amazonaws.com/"
    arn = f"arn:aws:iam::{account_id}:{of}{path}{name}"
    unique_id = f"{prefix}{_text(rng, _KEY_ALPHABET, 17)}"
    if kind == "Root":
        arn, unique_id = f"arn:aws:iam::{account_id}:root", account_id
    if kind == "AssumedRole":
        sessions = [
            _session_name(rng, name, is_console) for _ in range(rng.choice((1, 1, 2, 3, 9)))
        ]
    else:
        sessions = [f"AKIA{_text(rng, _KEY_ALPHABET, 16)}"]
    return _Principal(
        number=number,
        kind=kind,
        arn=arn,
        name=name,
        path=path,
        unique_id=unique_id,
        account_id=account_id,
        agents=[_CONSOLE_AGENT] if is_console else rng.sample(_AGENTS[:-1], 2),
        sessions=sessions,
        address=f"{rng.randrange(3, 220)}.{rng.randrange(256)}.{rng.randrange(256)}.7",
        is_console=is_console,
    )


def _session_name(rng: random.Random, name: str, is_person: bool) -> str:
    if is_person:
        return f"{rng.choice(_WORDS)}.{rng.choice(_WORDS)}@example.com"
    return rng.choice(
        (
            f"i-0{rng.getrandbits(64):016x}",
            f"{rng.getrandbits(128):032x}",
            name,
            f"botocore-session-{rng.randrange(1748736000, 1751328000)}",
            "GitHubActions",
            f"eks-{name[:20]}-{rng.getrandbits(128):032x}"[:64],
        )
    )


# --------------------------------------------------------------------------------------- accounts


@dataclass(slots=True, eq=False)
class _Account:
    """An account: its principals by operation, and what it has."""

    account_id: str
    principals: list[_Principal]
    callers: list[tuple[list[_Principal], list[float]]]  # by operation: who, cumulative weights
    roles: list[_Principal]
    things: dict[str, list[str]]


_CACHED: dict[Parameters, tuple[list[_Operation], list[float], list[_Account]]] = {}


def _accounts(
    parameters: Parameters,
) -> tuple[list[_Operation], list[float], list[_Account]]:
    """Return the operations, their cumulative weights, and the accounts of a trail."""
    if parameters not in _CACHED:
        operations = _operations()
        count = min(_ACCOUNTS, max(1, parameters.principals // 5))
        accounts = [_account(parameters, number, count, operations) for number in range(count)]
        # Weights are of calls; what is drawn is a burst of them.
        weights = list(itertools.accumulate(each.weight / each.burst for each in operations))
        _CACHED[parameters] = (operations, weights, accounts)
    return _CACHED[parameters]


def _account(
    parameters: Parameters, number: int, count: int, operations: Sequence[_Operation]
) -> _Account:
    rng = random.Random(f"{parameters.seed}/account/{number}")
    account_id = f"{rng.randrange(10**11, 10**12)}"
    principals = [
        _principal(each, account_id, parameters.seed)
        for each in range(number, parameters.principals, count)
    ]
    callers = []
    for operation in operations:
        habit = _DATA_HABIT if operation.is_data else _HABIT
        size = min(len(principals), max(3, math.ceil(habit * len(principals))))
        ranks = sorted(rng.sample(range(len(principals)), size))
        total = sum(1 / (rank + 1) ** parameters.zipf for rank in ranks)
        weights = [
            (1 - _EVENLY) / (rank + 1) ** parameters.zipf / total + _EVENLY / len(ranks)
            for rank in ranks
        ]
        callers.append(([principals[rank] for rank in ranks], list(itertools.accumulate(weights))))
    return _Account(
        account_id=account_id,
        principals=principals,
        callers=callers,
        roles=[p for p in principals if p.kind == "AssumedRole"][:40] or principals[:1],
        things=_things(rng, account_id),
    )


def _things(rng: random.Random, account_id: str) -> dict[str, list[str]]:
    def named(count: int, form: str) -> list[str]:
        return [
            form.format(a=rng.choice(_WORDS), b=rng.choice(_WORDS), n=n, h=rng.getrandbits(68))
            for n in range(count)
        ]

    return {
        "bucket": named(40, "northwind-{a}-{b}-{n}-" + account_id),
        "prefix": named(60, "raw/{a}/{b}-{n}/"),
        "table": named(30, "{a}-{b}-{n}"),
        "key": [_uuid(rng) for _ in range(25)],
        "function": named(80, "{a}-{b}-{n}"),
        "instance": named(200, "i-{h:017x}"),
        "subnet": named(12, "subnet-{h:017x}"),
        "parameter": named(60, "/{a}/{b}/setting-{n}"),
        "secret": named(30, "{a}/{b}-token-{n}-Qm4Zr7"),
        "cluster": named(6, "{a}-{b}-{n}"),
        "queue": named(20, "{a}-{b}-{n}"),
        "repository": named(15, "{a}/{b}-{n}"),
        "state_machine": named(10, "{a}-{b}-{n}"),
        "stack": named(25, "{a}-{b}-{n}"),
        "stack_id": [f"{name}/{_uuid(rng)}" for name in named(25, "{a}-{b}-{n}")],
        "target_group": named(20, "{a}-{b}-{n}/{h:017x}"),
        "group": named(40, "sg-{h:017x}"),
        "image": named(20, "ami-{h:017x}"),
        "layer": [f"{rng.getrandbits(256):064x}" for _ in range(300)],
        "rest_api": named(4, "{a}{n}"),
    }


# ---------------------------------------------------------------------------------------- one call


@dataclass(slots=True, eq=False)
class _Call:
    """What the makers of values know."""

    rng: random.Random
    account: _Account
    region: str
    caller: int
    moment: datetime
    values: dict[str, str] = field(default_factory=dict)

    def thing(self, name: str) -> str:
        """Return one of the few things of a kind that the caller uses."""
        things = self.account.things[name]
        return things[(self.caller * 7 + int(3 * self.rng.random() ** 2)) % len(things)]

    def role(self) -> _Principal:
        """Return one of the few roles the caller has to do with."""
        roles = self.account.roles
        return roles[(self.caller + int(2 * self.rng.random() ** 2)) % len(roles)]

    def object_key(self) -> str:
        """Return the key of an object: mostly never seen before."""
        rng = self.rng
        prefix = self.thing("prefix")
        if rng.random() < 0.3:
            return f"{prefix}config/settings-{rng.randrange(5)}.json"
        return (
            f"{prefix}dt={self.moment:%Y-%m-%d}/part-{rng.randrange(2000):05d}-"
            f"{_uuid(rng)}.c000.snappy.parquet"
        )


def _hex(length: int) -> Callable[[_Call], str]:
    return lambda call: f"{call.rng.getrandbits(4 * length):0{length}x}"


def _thing(name: str) -> Callable[[_Call], str]:
    return lambda call: call.thing(name)


def _text(rng: random.Random, letters: str, length: int) -> str:
    return "".join(rng.choices(letters, k=length))


def _uuid(rng: random.Random) -> str:
    digits = f"{rng.getrandbits(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


def _id2(call: _Call) -> str:
    return _text(call.rng, _BASE64, 75) + "="


def _many_items(call: _Call) -> str:
    count = call.rng.randrange(100, 700)
    return json.dumps(
        [{"imageId": f"ami-0{call.rng.getrandbits(64):016x}"} for _ in range(count)],
        separators=(",", ":"),
    )


def _role_session_arn(call: _Call) -> str:
    role = call.role()
    return f"arn:aws:sts::{role.account_id}:assumed-role/{role.name}/{role.sessions[0]}"


_MAKERS: dict[str, Callable[[_Call], str]] = {
    **{
        name: _thing(name)
        for name in [
            "bucket",
            "prefix",
            "table",
            "key",
            "function",
            "instance",
            "subnet",
            "parameter",
            "secret",
            "cluster",
            "queue",
            "repository",
            "state_machine",
            "stack",
            "stack_id",
            "target_group",
            "group",
            "image",
            "rest_api",
        ]
    },
    **{f"hex{length}": _hex(length) for length in (16, 17, 32, 64)},
    "layer": lambda call: call.rng.choice(call.account.things["layer"]),
    "account": lambda call: call.account.account_id,
    "region": lambda call: call.region,
    "object": _Call.object_key,
    "uuid": lambda call: _uuid(call.rng),
    "id2": _id2,
    "bytes": lambda call: str(int(call.rng.lognormvariate(8, 3))),
    "many_items": _many_items,
    "asia": lambda call: f"ASIA{_text(call.rng, _KEY_ALPHABET, 16)}",
    "token": lambda call: _text(call.rng, _BASE64, 480),
    "console_time": lambda call: (
        f"{call.moment:%b} {call.moment.day}, {call.moment:%Y, %I:%M:%S %p}"
    ),
    "role": lambda call: call.role().name,
    "role_arn": lambda call: call.role().arn,
    "role_id": lambda call: call.role().unique_id,
    "session": lambda call: call.role().sessions[0],
    "role_session_arn": _role_session_arn,
}


# ------------------------------------------------------------------------------------------- files


def _write_group(task: tuple[Parameters, Path, int, int]) -> _Written:
    """Write the files of one account and one day; return what was written."""
    parameters, folder, number, groups = task
    rng = random.Random(f"{parameters.seed}/group/{number % groups}")
    written = _Written()
    budget = parameters.size // (parameters.rounds * groups)
    writer = _Writer(parameters, rng, number, groups, written)
    before: list[str] = []
    owed = 0.0
    while budget > 0:
        records = writer.records(min(budget, _planned_size(parameters, rng)))
        written.records += len(records)
        owed += len(records) * parameters.duplicate_share / (1 - parameters.duplicate_share)
        again = rng.sample(before, min(len(before), int(owed)))
        owed -= len(again)
        before = list(records)
        written.duplicates += len(again)
        written.records += len(again)
        records += again
        rng.shuffle(records)
        content = f'{{"Records":[{",".join(records)}]}}'.encode()
        budget -= len(content)
        path, packed = writer.pack(content)
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(packed)
        written.files += 1
        written.bytes += len(content)
        written.compressed_bytes += len(packed)
    return written


def _planned_size(parameters: Parameters, rng: random.Random) -> int:
    """Return how big a file is to be: mostly small, some large, many with one record."""
    if rng.random() < _SINGLE_RECORD_FILES:
        return 1
    mean = parameters.file_size / (1 - _SINGLE_RECORD_FILES)
    return max(1, int(rng.lognormvariate(math.log(mean) - 0.72, 1.2)))  # 0.72: half of 1.2 squared


class _Writer:
    """Makes the records and the names of a group's files."""

    def __init__(
        self,
        parameters: Parameters,
        rng: random.Random,
        number: int,
        groups: int,
        written: _Written,
    ) -> None:
        self.rng = rng
        self.ids = random.Random(f"{parameters.seed}/ids/{number}")
        self.later = timedelta(days=_DAYS) * (number // groups)
        self.written = written
        self.operations, self.weights, accounts = _accounts(parameters)
        busy = [1 / (n + 1) ** 0.7 for n in range(len(accounts))]
        place = number % groups
        # The first groups go round: every account is in the smallest trail.
        self.account = accounts[place] if place < len(accounts) else rng.choices(accounts, busy)[0]
        self.moment = _START + timedelta(days=_DAYS) * place / groups
        self.moment = self.moment.replace(hour=0, minute=0, second=0, microsecond=0)
        self.region = ""
        self.sessions: dict[int, tuple[str, str]] = {}

    def records(self, size: int) -> list[str]:
        """Return the records of the next file, of about so many bytes."""
        rng = self.rng
        self.moment += timedelta(minutes=5)
        self.region = rng.choices([r for r, _ in _REGIONS], [w for _, w in _REGIONS])[0]
        self.sessions = {}
        records: list[str] = []
        total = 0
        while total < size:
            for record in self._burst():
                records.append(record)
                total += len(record)
                if total >= size:
                    break
        return records

    def pack(self, content: bytes) -> tuple[Path, bytes]:
        """Return the path and the gzip of a file, its name in the header, as AWS has it."""
        account_id = self.account.account_id
        delivered = self.moment + self.later + timedelta(minutes=5)
        name = (
            f"{account_id}_CloudTrail_{self.region}_{delivered:%Y%m%dT%H%MZ}_"
            f"{_text(self.ids, _BASE62, 16)}.json"
        )
        packer = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
        packed = (
            b"\x1f\x8b\x08\x08\0\0\0\0\0\xff"
            + name.encode()
            + b"\0"
            + packer.compress(content)
            + packer.flush()
            + struct.pack("<II", zlib.crc32(content), len(content) & 0xFFFFFFFF)
        )
        folder = f"AWSLogs/{ORGANIZATION_ID}/{account_id}/CloudTrail/{self.region}"
        return Path(f"{folder}/{delivered:%Y/%m/%d}/{name}.gz"), packed

    def _burst(self) -> Iterator[str]:
        """Yield a few calls of one caller and operation, seconds apart."""
        rng = self.rng
        place = bisect.bisect(self.weights, rng.random() * self.weights[-1])
        operation = self.operations[place]
        moment = self.moment + timedelta(seconds=rng.randrange(300))
        count = 1 + int(rng.expovariate(1 / (operation.burst - 0.5)))
        if operation.service_callers:
            service = rng.choice(operation.service_callers)
            for _ in range(count):
                identity = f'{{"type":"AWSService","invokedBy":"{service}"}}'
                number = rng.randrange(200)
                yield self._record(operation, identity, service, service, number, moment, None)
            return
        principals, weights = self.account.callers[place]
        caller = principals[min(bisect.bisect(weights, rng.random()), len(principals) - 1)]
        session = self.sessions.get(caller.number)
        if session is None:
            session = (caller.session(rng, self.moment), rng.choice(caller.agents))
            self.sessions[caller.number] = session
        identity, agent = session
        self.written.callers.add(caller.number)
        if caller.kind == "AssumedRole":
            roles = self.written.roles
            roles[caller.arn] = roles.get(caller.arn, 0) + count
        address = caller.address
        behind: str | None = None
        if operation.on_behalf_of and rng.random() < _ON_BEHALF:
            behind = address = agent = rng.choice(operation.on_behalf_of)
            identity += f',"invokedBy":"{behind}"'
        elif "{service}" in agent:
            agent = agent.replace("{service}", operation.source.partition(".")[0])
        identity += "}"
        for _ in range(count):
            moment += timedelta(seconds=rng.randrange(2))
            who = None if behind else caller
            yield self._record(operation, identity, address, agent, caller.number, moment, who)

    def _record(
        self,
        operation: _Operation,
        identity: str,
        address: str,
        agent: str,
        caller: int,
        moment: datetime,
        direct: _Principal | None,
    ) -> str:
        rng = self.rng
        region = _GLOBAL_REGION if operation.is_global else self.region
        call = _Call(rng, self.account, region, caller, moment)
        values = {name: _MAKERS[name](call) for name in operation.names}
        request = operation.request % values
        response = operation.response % values
        resources = f'"resources":{operation.resources % values},' if operation.resources else ""
        additional = ""
        if operation.additional:
            additional = f'"additionalEventData":{operation.additional % values},'
        error = ""
        chance = rng.random()
        if chance < _DENIALS and direct is not None:
            error = (
                f'"errorCode":"{operation.denied}","errorMessage":"User: {direct.arn} is not '
                f"authorized to perform: {operation.source.partition('.')[0]}:"
                f"{operation.event_name} because no identity-based policy allows the "
                'action",'
            )
            response = "null"
        elif chance < _DENIALS + _OTHER_ERRORS * 2 and operation.error is not None:
            error = f'"errorCode":"{operation.error}","errorMessage":"The item was not found.",'
            response = "null"
        elif chance > 1 - _ODD:
            # Shapes that real trails have, and that most programs survive.
            odd = rng.randrange(3)
            if odd == 0:
                response = '"OK"'
            elif odd == 1:
                resources = '"resources":["arn:aws:s3:::legacy"],'
            else:
                identity = f'{{"accountId":"{self.account.account_id}","invokedBy":"{agent[:20]}"}}'
        connection = ""
        shared = ""
        if direct is None:
            shared = f'"sharedEventID":"{_uuid(rng)}",' if rng.random() < 0.1 else ""
        elif direct.is_console:
            connection = ',"sessionCredentialFromConsole":"true"'
        else:
            host = operation.host % self.region if "%" in operation.host else operation.host
            connection = (
                ',"tlsDetails":{"tlsVersion":"TLSv1.3","cipherSuite":"TLS_AES_128_GCM_SHA256",'
                f'"clientProvidedHostHeader":"{host}"}}'
            )
            if direct.kind == "AWSAccount":
                shared = f'"sharedEventID":"{_uuid(rng)}",'
        category = "Data" if operation.is_data else "Management"
        managed = "false" if operation.is_data else "true"
        return (
            f'{{"eventVersion":"1.11","userIdentity":{identity},'
            f'"eventTime":"{moment + self.later:%Y-%m-%dT%H:%M:%SZ}",'
            f'"eventSource":"{operation.source}",'
            f'"eventName":"{operation.event_name}","awsRegion":"{region}",'
            f'"sourceIPAddress":"{address}","userAgent":"{agent}",{error}'
            f'"requestParameters":{request},"responseElements":{response},{additional}'
            f'"requestID":"{_uuid(self.ids)}","eventID":"{_uuid(self.ids)}",{operation.ending},{resources}'
            f'"eventType":"AwsApiCall","managementEvent":{managed},'
            f'"recipientAccountId":"{self.account.account_id}",{shared}'
            f'"eventCategory":"{category}"{connection}}}'
        )


def parse_size(text: str) -> int:
    """Return the bytes that ``50MB`` or ``1GB`` means."""
    match = re.fullmatch(r"(\d+)(MB|GB)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 50MB or 1GB")
    return int(match[1]) * {"MB": MEGABYTE, "GB": 1000 * MEGABYTE}[match[2]]


def main() -> None:
    """Make a trail; print its folder and figures."""
    parser = argparse.ArgumentParser(description="Make a trail of invented log files.")
    defaults = Parameters()
    parser.add_argument("--size", type=parse_size, default=defaults.size)
    parser.add_argument("--principals", type=int, default=defaults.principals)
    parser.add_argument("--rounds", type=int, default=defaults.rounds)
    parser.add_argument("--duplicates", type=float, default=defaults.duplicate_share)
    parser.add_argument("--seed", type=int, default=defaults.seed)
    given = parser.parse_args()
    trail = make_trail(
        Parameters(
            size=given.size,
            principals=given.principals,
            rounds=given.rounds,
            duplicate_share=given.duplicates,
            seed=given.seed,
        )
    )
    for name, value in asdict(trail).items():
        print(f"{name}: {value}")


if __name__ == "__main__":
    main()
