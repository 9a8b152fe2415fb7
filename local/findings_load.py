"""Many findings and their later life, played against the emulator while much goes wrong.

``plan_load`` makes the same plan from the same arguments; ``play`` plays it in its order; the plan
knows what every finding is at its analyzer in the end. ``wrong`` compares that with Pare's table.
"""

from __future__ import annotations

import itertools
import random
import time
import uuid
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, cast

from local.seed_findings import (
    EXTERNAL_ACCESS_ANALYZER,
    INTERNAL_ACCESS_ANALYZER,
    OUTSIDE_ACCOUNT,
    PARTNER_ACCOUNT,
    UNUSED_ACCESS_ANALYZER,
    answer,
    make_analyzer,
)
from pare.clock import format_time
from pare.findings.view import status_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from local.organization import EmulatorClients
    from local.process import Emulator
    from pare.findings.model import FindingJson

_ENDING = frozenset({"resolve", "delete", "ARCHIVED"})
Life = Literal["stays", "resolved", "partly fixed", "changed", "archived", "reopened", "deleted"]
# Of a hundred findings, what becomes of them: about 1.3 events a finding. Of an error finding that
# is resolved: "deleted".
LIVES: dict[Life, int] = {
    "stays": 74,
    "resolved": 10,
    "partly fixed": 6,
    "changed": 5,
    "archived": 3,
    "reopened": 2,
}
# Of a hundred findings so many of each kind.
_KINDS = {
    "public read": 6,
    "public write": 3,
    "outside read": 18,
    "outside write": 8,
    "role": 14,
    "role everywhere": 3,
    "partner": 8,
    "key": 6,
    "queue": 6,
    "error": 2,
    "internal": 6,
    "unused permission": 12,
    "unused role": 5,
    "unused key": 2,
    "unused password": 1,
}
# What comes from outside may say anything.
_HOSTILE: tuple[dict[str, str], ...] = (
    {},
    {},
    {},
    {"aws:SourceVpc": "vpc-0123456789"},
    {"aws:UserAgent": '=HYPERLINK("http://example.com")'},
    {"aws:UserAgent": "<script>alert(1)</script> [x](http://example.com)"},
    {"aws:PrincipalTag/team": "営業部 & co\n\u202e"},
)
_NAMESPACE = uuid.UUID("0d5f9a1e-8a1b-4f0e-9f0d-3b6c1a2e4d55")
_WORST = {
    "lost": 0.1,
    "twice": 0.2,
    "late": 0.3,
}
# What Pare's functions call, and how it may fail: throttled or refused by the service half each.
OPERATIONS = (
    "AssumeRole", "BatchGetItem", "DescribeAccount", "GetAlternateContact", "GetAnalyzer",
    "GetFindingV2", "GetItem", "GetObject", "GetResources", "ListAnalyzers", "ListFindingsV2",
    "PutItem", "PutObject", "Query", "StartExecution", "UpdateFindings", "UpdateItem",
)  # fmt: skip
# Done, and the caller does not hear of it: what these do twice must be the same as once.
LOST_ANSWERS = ("PutItem", "PutObject", "TransactWriteItems", "UpdateFindings", "UpdateItem")


@dataclass(frozen=True, slots=True)
class Step:
    """Something that happens at an analyzer, in the order of the plan."""

    kind: Literal["plant", "resolve", "delete", "ARCHIVED", "ACTIVE"]
    analyzer_arn: str
    finding_id: str
    finding: dict[str, Any] | None = None  # of "plant"


@dataclass(frozen=True, slots=True)
class End:
    """What a finding is in the end; status None: its analyzer does not have it any more."""

    analyzer_arn: str
    account_id: str
    resource: str
    status: str | None

    @property
    def is_open(self) -> bool:
        """Return whether it is open."""
        return self.status == "ACTIVE"


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """The findings, what becomes of them, and what they are in the end."""

    analyzers: tuple[str, ...]
    steps: tuple[Step, ...]
    ends: dict[str, End] = field(repr=False)

    def always_open(self) -> set[str]:
        """Return the ids of findings that never ended, not even for a while."""
        ended = {step.finding_id for step in self.steps if step.kind in _ENDING}
        return {finding_id for finding_id, end in self.ends.items() if end.is_open} - ended

    def open_cards(self) -> dict[tuple[str, str], set[str]]:
        """Return the ids of what is open in the end by (account, resource)."""
        cards: dict[tuple[str, str], set[str]] = defaultdict(set)
        for finding_id, end in self.ends.items():
            if end.is_open:
                cards[end.account_id, end.resource].add(finding_id)
        return dict(cards)


def plan_load(
    count: int,
    accounts: Sequence[str],
    regions: Sequence[str],
    *,
    hub_account_id: str,
    now: datetime,
    seed: int = 0,
) -> LoadPlan:
    """Return the life of so many findings; the first Region is the home Region.

    A finding that is partly fixed leaves another one behind, so there are some more in the end. The
    times in the plan are within the four hours before ``now``.
    """
    return _Planner(accounts, regions, hub_account_id, now, seed).plan(count)


class _Planner:
    def __init__(
        self,
        accounts: Sequence[str],
        regions: Sequence[str],
        hub_account_id: str,
        now: datetime,
        seed: int,
    ) -> None:
        self._accounts = accounts
        self._regions = regions
        self._hub = hub_account_id
        self._now = now.replace(microsecond=0)
        self._random = random.Random(seed)
        self._numbers = itertools.count(1)
        self._seed = seed
        self._ends: dict[str, End] = {}

    def plan(self, count: int) -> LoadPlan:
        first: list[Step] = []
        later: list[list[Step]] = []
        while len(first) < count:
            for step in self._new()[: count - len(first)]:
                first.append(step)
                later.append(self._life(step))
        analyzers = sorted({step.analyzer_arn for step in first})
        return LoadPlan(tuple(analyzers), tuple(_interleaved(first, later)), self._ends)

    def _new(self) -> list[Step]:
        """Return the planting of one finding, or of one in every Region about the same role."""
        number = next(self._numbers)
        kind = self._drawn(_KINDS)
        account = self._random.choice(self._accounts)
        region = self._random.choice(self._regions)
        if kind == "role everywhere":
            return [self._external("role", number, account, each) for each in self._regions]
        if kind == "internal":
            return [self._internal(number, account, region)]
        if kind.startswith("unused"):
            return [self._unused(kind, number, account)]
        return [self._external(kind, number, account, region)]

    def _external(self, kind: str, number: int, account: str, region: str) -> Step:
        resource, resource_type, whom, actions = _EXTERNAL[kind]
        details = {
            "action": list(actions),
            "condition": dict(self._random.choice(_HOSTILE)),
            "isPublic": whom == "*",
            "principal": {"AWS": whom},
        }
        error = "ACCESS_DENIED" if kind == "error" else None
        return self._planted(
            EXTERNAL_ACCESS_ANALYZER,
            region,
            "ExternalAccess",
            resource.format(region=region, account=account, number=number),
            resource_type,
            account,
            [{"externalAccessDetails": details}],
            error=error,
        )

    def _internal(self, number: int, account: str, region: str) -> Step:
        owner = self._random.choice(self._accounts)
        details = {
            "action": ["s3:GetObject"],
            "condition": {},
            "principal": {"AWS": f"arn:aws:iam::{owner}:role/Reader{number}"},
            "principalOwnerAccount": owner,
            "principalType": "IAM_ROLE",
            "accessType": "INTRA_ACCOUNT" if owner == account else "INTRA_ORG",
            "resourceControlPolicyRestriction": "NOT_APPLICABLE",
            "serviceControlPolicyRestriction": "NOT_APPLICABLE",
        }
        return self._planted(
            INTERNAL_ACCESS_ANALYZER,
            region,
            "InternalAccess",
            f"arn:aws:s3:::ledger-{number}",
            "AWS::S3::Bucket",
            account,
            [{"internalAccessDetails": details}],
        )

    def _unused(self, kind: str, number: int, account: str) -> Step:
        finding_type, resource, resource_type, details = _unused_details(kind, number, account)
        return self._planted(
            UNUSED_ACCESS_ANALYZER,
            self._regions[0],
            finding_type,
            resource,
            resource_type,
            account,
            details,
        )

    def _planted(
        self,
        analyzer: str,
        region: str,
        finding_type: str,
        resource: str,
        resource_type: str,
        account: str,
        details: list[dict[str, Any]],
        **more: Any,
    ) -> Step:
        arn = f"arn:aws:access-analyzer:{region}:{self._hub}:analyzer/{analyzer}"
        finding_id = self._id(f"{resource}/{arn}")
        moment = self._now - timedelta(seconds=self._random.randint(7_200, 14_400))
        finding = answer(
            finding_id, finding_type, resource, resource_type, account, moment, details, **more
        )
        self._ends[finding_id] = End(arn, account, resource, "ACTIVE")
        return Step("plant", arn, finding_id, finding)

    def _life(self, planted: Step) -> list[Step]:
        """Return what happens later to a planted finding, and note its end."""
        assert planted.finding is not None
        arn, finding_id = planted.analyzer_arn, planted.finding_id
        life: Life = self._drawn(LIVES)
        if life in {"partly fixed", "changed"} and not _is_external(planted.finding):
            life = "resolved"
        if life == "resolved" and "error" in planted.finding:
            # "The error finding will be removed completely instead of changing to a resolved
            # finding." AWS does it by itself; the emulator, which analyzes nothing, on demand. No
            # others are deleted while their analyzer is alive.
            # https://docs.aws.amazon.com/IAM/latest/UserGuide/access-analyzer-findings-remediate.html
            life = "deleted"

        def end(status: str | None) -> None:
            old = self._ends[finding_id]
            self._ends[finding_id] = End(arn, old.account_id, old.resource, status)

        if life == "resolved":
            end("RESOLVED")
            return [Step("resolve", arn, finding_id)]
        if life == "deleted":
            end(None)
            return [Step("delete", arn, finding_id)]
        if life == "archived":
            end("ARCHIVED")
            return [Step("ARCHIVED", arn, finding_id)]
        if life == "reopened":
            return [Step("ARCHIVED", arn, finding_id), Step("ACTIVE", arn, finding_id)]
        if life == "changed":
            return [Step("plant", arn, finding_id, self._worsened(planted.finding))]
        if life == "partly fixed":
            end("RESOLVED")
            rest = self._rest(planted.finding, arn)
            return [Step("resolve", arn, finding_id), Step("plant", arn, rest["id"], rest)]
        return []

    def _worsened(self, finding: dict[str, Any]) -> dict[str, Any]:
        details = dict(finding["findingDetails"][0]["externalAccessDetails"])
        details["action"] = sorted({*details["action"], "s3:DeleteObject"})
        return self._newer(finding) | {"findingDetails": [{"externalAccessDetails": details}]}

    def _rest(self, finding: dict[str, Any], arn: str) -> dict[str, Any]:
        """Return the finding that is left where a part of the access was taken away."""
        details = dict(finding["findingDetails"][0]["externalAccessDetails"])
        details |= {"isPublic": False, "principal": {"AWS": PARTNER_ACCOUNT}}
        rest = self._newer(finding) | {
            "id": self._id(f"rest/{finding['id']}"),
            "findingDetails": [{"externalAccessDetails": details}],
        }
        rest["createdAt"] = rest["updatedAt"]
        account, resource = finding["resourceOwnerAccount"], finding["resource"]
        self._ends[rest["id"]] = End(arn, account, resource, "ACTIVE")
        return rest

    def _newer(self, finding: dict[str, Any]) -> dict[str, Any]:
        moment = format_time(self._now - timedelta(seconds=self._random.randint(60, 7_000)))
        return finding | {"updatedAt": moment, "analyzedAt": moment}

    def _drawn(self, shares: Mapping[Any, int]) -> Any:
        return self._random.choices(list(shares), weights=list(shares.values()))[0]

    def _id(self, text: str) -> str:
        return str(uuid.uuid5(_NAMESPACE, f"{self._seed}/{text}"))


_BUCKET = "arn:aws:s3:::load-{account}-{number}"
_ROLE = "arn:aws:iam::{account}:role/Load{number}"
# kind: resource, its type, who may, what
_EXTERNAL: dict[str, tuple[str, str, str, tuple[str, ...]]] = {
    "public read": (_BUCKET, "AWS::S3::Bucket", "*", ("s3:GetObject",)),
    "public write": (_BUCKET, "AWS::S3::Bucket", "*", ("s3:GetObject", "s3:PutObject")),
    "outside read": (_BUCKET, "AWS::S3::Bucket", OUTSIDE_ACCOUNT, ("s3:GetObject",)),
    "outside write": (_BUCKET, "AWS::S3::Bucket", OUTSIDE_ACCOUNT, ("s3:PutObject",)),
    "role": (_ROLE, "AWS::IAM::Role", OUTSIDE_ACCOUNT, ("sts:AssumeRole",)),
    "partner": (_BUCKET, "AWS::S3::Bucket", PARTNER_ACCOUNT, ("s3:GetObject",)),
    "key": (
        "arn:aws:kms:{region}:{account}:key/load-{number}",
        "AWS::KMS::Key",
        OUTSIDE_ACCOUNT,
        ("kms:Decrypt",),
    ),
    "queue": (
        "arn:aws:sqs:{region}:{account}:load-{number}",
        "AWS::SQS::Queue",
        OUTSIDE_ACCOUNT,
        ("sqs:SendMessage",),
    ),
    "error": (_BUCKET, "AWS::S3::Bucket", OUTSIDE_ACCOUNT, ()),
}


def _unused_details(
    kind: str, number: int, account: str
) -> tuple[str, str, str, list[dict[str, Any]]]:
    role = f"arn:aws:iam::{account}:role/Unused{number}"
    user = f"arn:aws:iam::{account}:user/Unused{number}"
    if kind == "unused role":
        return "UnusedIAMRole", role, "AWS::IAM::Role", [{"unusedIamRoleDetails": {}}]
    if kind == "unused password":
        details: list[dict[str, Any]] = [{"unusedIamUserPasswordDetails": {}}]
        return "UnusedIAMUserPassword", user, "AWS::IAM::User", details
    if kind == "unused key":
        details = [{"unusedIamUserAccessKeyDetails": {"accessKeyId": f"AKIA{number:016d}"}}]
        return "UnusedIAMUserAccessKey", user, "AWS::IAM::User", details
    details = [
        {"unusedPermissionDetails": {"serviceNamespace": "ec2"}},
        {
            "unusedPermissionDetails": {
                "serviceNamespace": "s3",
                "actions": [{"action": "s3:DeleteBucket"}],
            }
        },
    ]
    return "UnusedPermission", role, "AWS::IAM::Role", details


def _is_external(finding: dict[str, Any]) -> bool:
    return finding["findingType"] == "ExternalAccess" and "error" not in finding


def _interleaved(first: list[Step], later: list[list[Step]]) -> Iterator[Step]:
    """Give the later steps of a finding some hundred steps after it was planted."""
    waiting: dict[int, list[Step]] = defaultdict(list)
    length = max(1, min(300, len(first) // 3))
    for position, step in enumerate(first):
        yield step
        for number, after in enumerate(later[position], 1):
            waiting[position + number * length].append(after)
        yield from waiting.pop(position, [])
    for position in sorted(waiting):
        yield from waiting[position]


# Playing it


def make_analyzers(emulator: EmulatorClients, plan: LoadPlan) -> None:
    """Make the plan's analyzers where they are not there yet."""
    for arn in plan.analyzers:
        make_analyzer(emulator, arn.split(":")[4], arn)


def play(emulator: EmulatorClients, plan: LoadPlan, *, batch: int = 100) -> None:
    """Let everything of the plan happen, in its order; EventBridge tells of it as AWS does.

    Returns when everything has happened; events may still be on their way (``wait_for_events``).
    """
    clients: dict[str, Any] = {}
    for same in _batches(plan.steps, batch):
        kind, arn = same[0].kind, same[0].analyzer_arn
        ids = [step.finding_id for step in same]
        body: dict[str, Any] = {"analyzer_arn": arn, "events": True}
        if kind == "plant":
            emulator.control("findings", body | {"findings": [step.finding for step in same]})
        elif kind in {"resolve", "delete"}:
            emulator.control("findings", body | {kind: ids})
        else:
            parts = arn.split(":")
            client = clients.get(arn) or emulator.client("accessanalyzer", parts[4], parts[3])
            clients[arn] = client
            _archive(client, arn, ids, kind)


def _batches(steps: Sequence[Step], size: int) -> Iterator[list[Step]]:
    """Give the steps in groups of one kind at one analyzer, each finding's steps in their order."""
    for start in range(0, len(steps), size):
        groups: dict[tuple[int, str, str], list[Step]] = {}
        before: Counter[str] = Counter()
        for step in steps[start : start + size]:
            key = (before[step.finding_id], step.kind, step.analyzer_arn)
            groups.setdefault(key, []).append(step)
            before[step.finding_id] += 1
        yield from (groups[key] for key in sorted(groups, key=lambda key: key[0]))


def _archive(client: Any, arn: str, ids: list[str], status: str) -> None:
    """Set findings to a status as a person does, again where a fault was met."""
    for attempt in range(20):
        try:
            client.update_findings(analyzerArn=arn, ids=ids, status=status)
            return
        except (
            client.exceptions.ThrottlingException,
            client.exceptions.InternalServerException,
        ):
            if attempt == 19:
                raise


def wait_for_events(emulator: EmulatorClients, seconds: float = 3600.0) -> dict[str, int]:
    """Return how many events were sent, lost, doubled and late, once none waits any more."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        counts: dict[str, int] = emulator.control("state")["events"]
        if counts["waiting"] == 0:
            return counts
        time.sleep(0.5)
    raise TimeoutError(f"events still wait after {seconds:.0f} s: {counts}")


def switch_faults_on(
    emulator: EmulatorClients,
    *,
    rate: float = 0.3,
    kill: Mapping[str, float] | None = None,
    most_kills: int | None = None,
    running_executions: int | None = 40,
    functions_at_once: int = 3,
    retry_scale: float = 0.05,
    seed: int = 0,
) -> None:
    """Let calls fail at the rate, functions be killed, and events go astray.

    ``kill``: how often, by how the names of functions begin, and ``most_kills`` times each: a new
    process takes most of a second. Events wait while more executions run than given, and functions
    wait for one another: this machine has few cores. Their pauses before another attempt are
    shorter, so that it ends today.
    """
    half = rate / 2
    faults: list[dict[str, Any]] = [
        {"operation": name, "kind": kind, "rate": half}
        for name in OPERATIONS
        for kind in ("throttle", "server_error")
    ]
    faults += [
        {"operation": "TransactWriteItems", "kind": kind, "rate": half}
        for kind in ("throttle", "conflict")
    ]
    # People's messages: only what SNS surely refused, or nobody could tell them exactly once.
    faults.append({"operation": "Publish", "kind": "throttle", "rate": rate})
    faults += [{"operation": name, "kind": "lost_answer", "rate": 0.03} for name in LOST_ANSWERS]
    faults = [fault | {"count": None} for fault in faults]
    faults += [
        {"operation": name, "kind": "kill", "rate": often, "count": most_kills}
        for name, often in (kill or {}).items()
    ]
    emulator.control("faults", {"faults": faults})
    emulator.control(
        "settings",
        {
            "event_faults": {**_WORST, "seed": seed},
            "events_wait_above_executions": running_executions,
            "functions_at_once": functions_at_once,
            "function_retry_scale": retry_scale,
        },
    )


def switch_faults_off(emulator: Emulator) -> None:
    """Let everything work again."""
    emulator.control("faults", method="DELETE")
    emulator.control(
        "settings",
        {
            "event_faults": {},
            "events_wait_above_executions": None,
            "function_retry_scale": 1.0,
        },
    )


# What must come out


def at_the_analyzers(emulator: EmulatorClients, plan: LoadPlan) -> dict[str, str]:
    """Return the status of every finding that the plan's analyzers have, by id."""
    found: dict[str, str] = {}
    for arn in plan.analyzers:
        parts = arn.split(":")
        client = emulator.client("accessanalyzer", parts[4], parts[3])
        pages = client.get_paginator("list_findings_v2").paginate(analyzerArn=arn)
        found.update((f["id"], f["status"]) for page in pages for f in page["findings"])
    return found


def _status(item: Mapping[str, Any]) -> str:
    return status_of(cast("FindingJson", item))


def wrong(
    plan: LoadPlan, items: Mapping[str, Mapping[str, Any]], *, others: Iterable[str] = ()
) -> list[str]:
    """Return in what Pare's findings differ from the analyzers, in a sentence each.

    ``items``: the ``finding`` (FindingJson) of every item of the Findings table, by id. What is not
    open any more may be missing: nobody ever heard of it. What its analyzer, which is alive, has no
    more is closed, not unwatched. ``others``: ids of findings that the same analyzers had before.
    """
    problems = []
    for finding_id, end in sorted(plan.ends.items()):
        item = items.get(finding_id)
        is_open = item is not None and item["status"] == "ACTIVE" and not item["is_deleted"]
        if end.is_open and item is None:
            problems.append(f"{finding_id} of {end.resource} is open and not in the table")
        elif end.is_open != is_open:
            seen = "missing" if item is None else item["status"]
            problems.append(f"{finding_id} of {end.resource}: {end.status}, the table: {seen}")
        elif item is not None and end.status == "ARCHIVED" and item["status"] != "ARCHIVED":
            problems.append(f"{finding_id} of {end.resource} is archived, not {item['status']}")
        elif item is not None and end.status is None and _status(item) == "UNWATCHED":
            problems.append(f"{finding_id} of {end.resource} is gone, the table: UNWATCHED")
    known = {*plan.ends, *others}
    problems += [
        f"{finding_id} is in no analyzer of the plan"
        for finding_id, item in sorted(items.items())
        if finding_id not in known and item["analyzer_arn"] in plan.analyzers
    ]
    return problems
