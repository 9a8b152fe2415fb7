"""A made-up month of an inventory: as many principals as asked for, in as many accounts.

Every class, kind, status, issue and mark is in it, with names and owners such as people give. The
same seed gives the same month. For the report's pictures, its browser tests and its measurements;
what Pare decides about real principals is tested elsewhere.
"""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from pare.inventory.model import COUNTS, DEFINITION_VERSION

if TYPE_CHECKING:
    from pare.inventory.model import PeriodCountsJson, PrincipalRowJson, SnapshotJson

PERIOD = "2026-11"
AS_OF = datetime(2026, 11, 1, 6, tzinfo=UTC)
TODAY = AS_OF.date()

TEAMS = (
    "orders", "payments", "identity", "search", "logistics", "billing", "mobile", "data-platform",
    "machine-learning", "web", "warehouse", "support", "marketing", "fraud", "pricing", "partners",
)  # fmt: skip
STAGES = ("prod", "staging", "dev", "sandbox")
PEOPLE = (
    "alice", "bjorn", "chidi", "daniela", "emre", "fatima", "george", "hanako", "ines", "jun",
    "kenta", "lucia", "mei", "noor", "olga", "priya", "quentin", "rosa", "sora", "takumi", "uma",
    "viktor", "wei", "ximena", "yuki", "zofia",
)  # fmt: skip
WORKS = (
    "Api", "Worker", "Importer", "Exporter", "Scheduler", "Webhook", "Migrator", "Indexer",
    "Notifier", "Reporter", "Archiver", "Replicator", "Gateway", "Consumer", "Cleaner",
)  # fmt: skip
SERVICES = (
    "s3", "dynamodb", "ec2", "lambda", "sqs", "sns", "kms", "logs", "cloudwatch", "secretsmanager",
    "ssm", "ecr", "ecs", "rds", "athena", "glue", "sts", "iam", "cloudfront", "kinesis",
    "states", "events", "elasticache", "apigateway", "cloudtrail",
)  # fmt: skip
MANAGED = (
    "ReadOnlyAccess", "AmazonS3ReadOnlyAccess", "CloudWatchLogsFullAccess", "AmazonEC2FullAccess",
    "AWSLambda_FullAccess", "SecurityAudit", "AmazonSQSFullAccess", "AmazonDynamoDBFullAccess",
)  # fmt: skip
EXEMPTION = {
    "owner": "security@example.com",
    "reason": "audited by hand until the partner has moved",
    "expires": "2027-03-31",
}
UNREADABLE = (
    ("AccessDeniedError", "sts:AssumeRole of PareMember was refused: the stack set has not reached "
     "this account"),
    ("ThrottledError", "GetAccountAuthorizationDetails: Rate exceeded, after 8 attempts"),
)  # fmt: skip


class Month(NamedTuple):
    """What ``render`` takes."""

    snapshot: SnapshotJson
    rows: list[PrincipalRowJson]
    gone: list[PrincipalRowJson]


def make_month(
    principals: int, accounts: int, *, unknown: int = 0, months: int = 14, seed: int = 5
) -> Month:
    """Return a month with so many principals and accounts, ``unknown`` of them not read."""
    chance = random.Random(seed)
    ids = [f"{100_000_000_000 + chance.randrange(899_999_999_999)}" for _ in range(accounts)]
    names = [
        f"{TEAMS[at % len(TEAMS)]}-{STAGES[at // len(TEAMS) % 4]}"
        + (f"-{at // 64 + 1}" if at >= 64 else "")
        for at in range(accounts)
    ]
    read = accounts - unknown
    rows = [_row(chance, number, ids[number % read]) for number in range(principals if read else 0)]
    rows.sort(key=lambda row: (row["account_id"], row["principal_arn"]))
    if months == 1:  # the first inventory: there is nothing to compare it with
        for row in rows:
            row["change"], row["changes"] = None, []
    gone = [
        _row(chance, 900_000 + number, ids[number % read]) for number in range(principals // 60)
    ]
    results = [
        _account(chance, at, ids[at], names[at], rows if principals < 5_000 else None)
        if at < read
        else _unknown(ids[at], names[at], at - read)
        for at in range(accounts)
    ]
    if principals >= 5_000:  # by account once, not once for every account
        _count_accounts(results, rows)
    counts = _counts(rows)
    counts["gone"] = len(gone)
    counts["root_without_mfa"] = sum(
        issue["code"] == "ROOT_NO_MFA" for each in results for issue in each["issues"]
    )
    counts["root_access_keys"] = sum(
        issue["code"] == "ROOT_KEY" for each in results for issue in each["issues"]
    )
    by_kind: dict[str, int] = {}
    for row in rows:
        by_kind[row["kind"]] = by_kind.get(row["kind"], 0) + 1
    trend = _trend(chance, counts, accounts, unknown, months)
    snapshot = {
        "definition_version": DEFINITION_VERSION,
        "period": PERIOD,
        "created_at": "2026-11-01T06:41:00Z",
        "as_of": "2026-11-01T06:00:00Z",
        "previous": trend[-2]["period"] if len(trend) > 1 else None,
        "comparable": len(trend) > 1,
        "account_count": accounts,
        "unknown_account_count": unknown,
        "counts": counts,
        "by_kind": dict(sorted(by_kind.items())),
        "trend": trend,
        "accounts": sorted(results, key=lambda each: each["account_id"]),
        "rows": {"bucket": "evidence", "key": f"inventory/period={PERIOD}/principals.ndjson.gz"},
        "calls": principals * 3,
        "throttled": principals // 50,
        "seconds": principals * 0.4,
        "transitions": accounts * 6,
        "estimated_cost_usd": 0.12,
    }
    return Month(cast("SnapshotJson", snapshot), rows, gone if len(trend) > 1 else [])


# --- a principal ----------------------------------------------------------------------------------


def _day(days_ago: int) -> str:
    return (TODAY - timedelta(days=days_ago)).isoformat()


def _moment(days_ago: int) -> str:
    return f"{_day(days_ago)}T09:30:00Z"


def _reason(code: str, **values: str | int) -> dict[str, Any]:
    return {"code": code, "values": values}


# What to do and why: weight, class, status, and the function that changes the row so.
def _row(chance: random.Random, number: int, account: str) -> PrincipalRowJson:
    team = chance.choice(TEAMS)
    is_user = chance.random() < 0.28
    if is_user:
        is_person = chance.random() < 0.6
        person = chance.choice(PEOPLE)
        name = (
            f"{person}.{team}{number}"
            if is_person
            else f"{team}-{chance.choice(WORKS).lower()}-bot{number}"
        )
        resource = f"user/{'people/' if is_person else 'machines/'}{name}"
        kind = "person" if is_person else "machine user"
        source = "password" if is_person else "access key"
    else:
        kind = chance.choices(
            ["service role", "cross-account role", "federated role", "role", "service-linked role",
             "Identity Center role", "bootstrap role", "break-glass"],
            [55, 10, 6, 8, 9, 6, 4, 2],
        )[0]  # fmt: skip
        title = "".join(part.title() for part in team.split("-"))
        path = chance.choice(["", "", "app/", "service-role/", f"{team}/"])
        name = f"{title}{chance.choice(WORKS)}{number}"
        if kind == "service-linked role":
            service = chance.choice(SERVICES)
            path, name = (
                f"aws-service-role/{service}.amazonaws.com/",
                f"AWSServiceRoleFor{title}{number}",
            )
        elif kind == "Identity Center role":
            path = "aws-reserved/sso.amazonaws.com/eu-west-1/"
            name = f"AWSReservedSSO_{title}Access_{number:016x}"
        elif kind == "bootstrap role":
            name = f"cdk-hnb659fds-deploy-role-{account}-eu-west-{number}"
        resource, source = f"role/{path}{name}", "role"
    owner = None if chance.random() < 0.12 else f"{team}@example.com"
    created = chance.randrange(200, 2_400)
    used = chance.randrange(0, 40)
    policies = [
        f"arn:aws:iam::aws:policy/{each}" for each in chance.sample(MANAGED, chance.randrange(0, 3))
    ]
    policies += [f"arn:aws:iam::{account}:policy/{team}-access"] if chance.random() < 0.6 else []
    policies += ["inline:Work"] if chance.random() < 0.4 or not policies else []
    row: dict[str, Any] = {
        "account_id": account,
        "principal_arn": f"arn:aws:iam::{account}:{resource}",
        "principal_id": ("AIDA" if is_user else "AROA") + f"{chance.getrandbits(64):016X}",
        "kind": kind,
        "created_at": _moment(created),
        "owner": owner,
        "tags": {"owner": owner, "stage": chance.choice(STAGES)} if owner else {},
        "policies": policies,
        "groups": [f"{team}-developers"] if kind == "person" else [],
        "boundary": f"arn:aws:iam::{account}:policy/boundary" if chance.random() < 0.15 else None,
        "description": f"{chance.choice(WORKS)} of {team}" if chance.random() < 0.3 else "",
        "trust": None if is_user else _trust(chance, kind, account),
        "role_last_used_at": None if is_user else _moment(used),
        "role_last_used_region": None if is_user else "eu-west-1",
        "credentials": _credentials(chance, kind == "person", used) if is_user else None,
        "wide": [],
        "disabled_by": None,
        "instance_profiles": [name] if kind == "service role" and chance.random() < 0.1 else [],
        "unknown": [],
        "class": "keep",
        "definition_version": DEFINITION_VERSION,
        "period": PERIOD,
        "status": "used",
        "is_unused": False,
        "idle_days": used,
        "reasons": [_reason("USED", date=_day(used), source=source, what="")],
        "issues": [],
        "last_use": {
            "at": _moment(used),
            "source": source,
            "what": "",
            "sources": {source: _moment(used), "service": _moment(used + 1), "activity": None},
            "unknown": [],
            "since": _moment(400),
        },
        "services": _services(chance, used),
        "unused_services": chance.randrange(0, 5),
        "unused_actions": chance.randrange(0, 60),
        "seasons": [],
        "used_months": _months(used, chance.randrange(3, 14)),
        "used_services_months": {},
        "exemption": None,
        "owner_shown": owner or "security@example.com",
        "plans": [],
        "change": "same",
        "changes": [],
    }
    row["used_services_months"] = {service: row["used_months"] for service in row["services"]}
    _decide(chance, row, kind, created, is_user=is_user)
    _issues(chance, row, account, is_user=is_user)
    if chance.random() < 0.03:
        row["change"] = "changed"
        row["changes"] = sorted(
            chance.sample(["class", "policies", "owner", "access keys", "groups", "trust"], 2)
        )
    return cast("PrincipalRowJson", row)


def _decide(
    chance: random.Random, row: dict[str, Any], kind: str, created: int, *, is_user: bool
) -> None:
    """Give the row one of the classes, with its reason and what goes with it."""
    fixed = {
        "service-linked role": _reason("AWS_OWNS"),
        "bootstrap role": _reason("BOOTSTRAP"),
        "break-glass": _reason("BREAK_GLASS"),
    }
    if kind in fixed:
        row["reasons"].insert(0, fixed[kind])
        if kind != "break-glass":
            return
        _unuse(row, chance.randrange(120, 500), created)
        row["is_unused"] = False
        return
    what = chance.choices(
        ["keep", "idle", "never", "narrow", "admin", "unknown", "new", "seasonal", "disabled",
         "delete", "exempt"],
        [560, 70, 35, 110, 12, 14, 22, 8, 14, 12, 6],
    )[0]  # fmt: skip
    if kind == "Identity Center role" and what in {"idle", "never", "disabled", "delete"}:
        idle = chance.randrange(91, 395)
        _unuse(row, idle, created)
        row["class"] = "review"
        row["reasons"] = [_reason("IDENTITY_CENTER_IDLE", days=idle)]
        return
    policy = row["policies"][0]
    if what == "idle":
        idle = chance.randrange(91, 395)
        _unuse(row, idle, created)
        row.update({"class": "disable", "status": "idle"})
        row["reasons"] = [
            _reason("IDLE", days=idle, date=_day(idle), source=row["last_use"]["source"], what="")
        ]
        _plan(chance, row)
    elif what == "never":
        _unuse(row, None, created)
        row.update({"class": "disable", "status": "never used"})
        row["reasons"] = [_reason("NEVER_USED", created=_day(created), days=created)]
        _plan(chance, row)
    elif what == "narrow":
        unused = chance.randrange(5, 140)
        row.update({"class": "narrow", "unused_services": unused, "unused_actions": unused * 7})
        row["reasons"] = [
            _reason(
                "UNUSED_SERVICES",
                unused=unused,
                allowed=unused + len(row["services"]),
                examples="glue, athena, rds",
            )
        ]
    elif what == "admin":
        row.update({"class": "narrow", "unused_services": 380})
        row["wide"] = [
            {"policy": policy, "group": None, "pattern": "*", "is_administrator": True},
            {"policy": "inline:Work", "group": None, "pattern": "iam:*", "is_administrator": False},
        ]
        row["reasons"] = [_reason("ADMINISTRATOR", policy=policy)]
    elif what == "unknown":
        row.update({"class": "review", "status": "unknown", "idle_days": None})
        row.update(
            {
                "unused_services": None,
                "unused_actions": None,
                "services": {},
                "unknown": ["service"],
            }
        )
        row["last_use"].update(
            {
                "at": None,
                "source": None,
                "sources": {"role": None},
                "unknown": ["service"],
                "since": None,
            }
        )
        row["reasons"] = [
            _reason("USE_UNKNOWN", sources="service"),
            _reason("LAST_ACCESSED_UNKNOWN", error="LastAccessedError"),
        ]
    elif what == "new":
        days = chance.randrange(0, 29)
        _unuse(row, None, days)
        row.update({"status": "new", "is_unused": False})
        row.update({"created_at": _moment(days), "change": "new"})
        row["reasons"] = [_reason("NEW", days=days)]
    elif what == "seasonal":
        _unuse(row, 340, created)
        row.update({"class": "review", "status": "idle", "is_unused": False})
        season = {
            "what": "principal",
            "used_on": ["2024-11", "2025-11"],
            "expected": "2026-11-25",
            "decide_after": "2026-12-16",
        }
        row["seasons"] = [season]
        row["reasons"] = [
            _reason(
                "MAY_BE_SEASONAL",
                used_on="2024-11, 2025-11",
                expected="2026-11-25",
                decide_after="2026-12-16",
            )
        ]
    elif what in {"disabled", "delete"}:
        _unuse(row, 250, created)
        since = chance.randrange(5, 50) if what == "disabled" else chance.randrange(61, 120)
        how = "no active credential" if is_user else "AWSDenyAll"
        delete_on = (TODAY + timedelta(days=60 - since)).isoformat()
        row.update(
            {
                "class": "disable" if what == "disabled" else "delete",
                "status": "idle",
                "disabled_by": how,
            }
        )
        code = "DISABLED_WAITING" if what == "disabled" else "DISABLED_DELETE_DUE"
        row["reasons"] = [_reason(code, how=how, disabled_on=_day(since), delete_on=delete_on)]
        _plan(chance, row)
        row["plans"][0].update({"disabled_on": _day(since), "delete_on": delete_on})
    elif what == "exempt":
        _unuse(row, 200, created)
        row.update({"status": "idle", "is_unused": False, "exemption": dict(EXEMPTION)})
        row["reasons"] = [_reason("EXEMPT", **EXEMPTION)]


def _unuse(row: dict[str, Any], days: int | None, created: int) -> None:
    """Make the last use so long ago; None: never since it was created."""
    use = row["last_use"]
    at = None if days is None else _moment(days)
    use["at"], use["sources"] = at, dict.fromkeys(use["sources"], at)
    if days is None:
        use["source"], row["services"], row["used_services_months"] = None, {}, {}
        row["status"] = "never used"
    else:
        row["status"] = "idle"
        for used in row["services"].values():
            used["last_accessed_at"] = at
    row["is_unused"] = True
    row["idle_days"] = min(created, 400) if days is None else days
    row["used_months"] = [] if days is None else _months(days, 3)
    row["used_services_months"] = {service: row["used_months"] for service in row["services"]}


def _plan(chance: random.Random, row: dict[str, Any]) -> None:
    times = chance.randrange(1, 4)
    announced = TODAY - timedelta(days=30 * (times - 1))
    row["plans"] = [
        {
            "what": "principal",
            "announced_on": announced.isoformat(),
            "disable_on": (announced + timedelta(days=30)).isoformat(),
            "disabled_on": None,
            "delete_on": None,
            "times_announced": times,
        }
    ]


def _issues(chance: random.Random, row: dict[str, Any], account: str, *, is_user: bool) -> None:
    if row["owner"] is None and row["kind"] not in {"service-linked role", "bootstrap role"}:
        row["issues"].append(_reason("NO_OWNER"))
    if is_user:
        if not row["credentials"]["mfa_active"] and row["credentials"]["password_enabled"]:
            row["issues"].append(_reason("NO_MFA"))
        for number, key in enumerate(row["credentials"]["access_keys"], 1):
            age = (TODAY - date.fromisoformat(key["created_at"][:10])).days
            if age > 365:
                row["issues"].append(_reason("KEY_OLD", number=number, days=age))
            if key["last_used_at"] is None:
                row["issues"].append(_reason("KEY_NEVER_USED", number=number, days=age))
    elif row["trust"]["outside"]:
        outside = row["trust"]["outside"][0]
        code = "OUTSIDE_TRUST" if outside["external_id"] else "OUTSIDE_TRUST_WITHOUT_EXTERNAL_ID"
        row["issues"].append(_reason(code, account=outside["account_id"]))
    elif row["trust"]["is_public"]:
        row["issues"].append(_reason("PUBLIC_TRUST"))
        row["class"] = "review"
        row["reasons"].insert(0, _reason("PUBLIC_TRUST"))
    elif row["trust"]["federated_open"]:
        for provider in row["trust"]["federated_open"]:
            row["issues"].append(_reason("FEDERATED_WITHOUT_SUBJECT", provider=provider))
        if row["class"] == "keep" and row["status"] == "used":
            row["class"] = "review"
            row["reasons"].insert(
                0, _reason("FEDERATED_OPEN", providers=", ".join(row["trust"]["federated_open"]))
            )
    if (
        row["issues"]
        and row["class"] == "keep"
        and row["status"] == "used"
        and chance.random() < 0.3
    ):
        row["class"] = "review"
        row["reasons"].insert(0, _reason("CREDENTIAL_ISSUES", count=len(row["issues"])))


def _trust(chance: random.Random, kind: str, account: str) -> dict[str, Any]:
    trust: dict[str, Any] = {
        "services": [], "own_account": kind in {"role", "break-glass"}, "inside": [], "outside": [],
        "federated": [], "federated_open": [], "is_public": False, "unknown": [],
    }  # fmt: skip
    if kind in {"service role", "service-linked role"}:
        trust["services"] = [
            f"{chance.choice(['ec2', 'lambda', 'ecs-tasks', 'states'])}.amazonaws.com"
        ]
    elif kind == "cross-account role":
        if chance.random() < 0.35:
            trust["outside"] = [{
                "account_id": "998877665544", "external_id": chance.random() < 0.5,
                "conditions": ["sts:ExternalId"] if chance.random() < 0.5 else [],
            }]  # fmt: skip
        elif chance.random() < 0.06:
            trust["is_public"] = True
        else:
            trust["inside"] = ["222233334444"]
    elif kind == "federated role":
        provider = f"arn:aws:iam::{account}:oidc-provider/token.actions.githubusercontent.com"
        trust["federated"] = [provider]
        trust["federated_open"] = [provider] if chance.random() < 0.1 else []
    elif kind == "Identity Center role":
        trust["federated"] = [f"arn:aws:iam::{account}:saml-provider/AWSSSO"]
    return trust


def _credentials(chance: random.Random, is_person: bool, used: int) -> dict[str, Any]:
    keys = 0 if is_person and chance.random() < 0.7 else chance.randrange(1, 3)
    return {
        "password_enabled": is_person,
        "password_last_used_at": _moment(used) if is_person else None,
        "password_changed_at": _moment(300) if is_person else None,
        "mfa_active": is_person and chance.random() < 0.92,
        "access_keys": [
            {
                "access_key_id": f"AKIA{chance.getrandbits(64):016X}",
                "is_active": True,
                "created_at": _moment(chance.randrange(40, 420)),
                "last_used_at": None if chance.random() < 0.1 else _moment(used),
                "last_used_service": "s3",
                "last_used_region": "eu-west-1",
            }
            for _ in range(keys)
        ],
        "active_certificates": 0,
        "additional": "",
    }


def _services(chance: random.Random, used: int) -> dict[str, Any]:
    return {
        service: {
            "last_accessed_at": _moment(used + chance.randrange(0, 30)),
            "used_actions": chance.randrange(1, 12),
            "unused_actions": None if chance.random() < 0.4 else chance.randrange(0, 40),
            "denied_only": chance.random() < 0.02,
        }
        for service in sorted(chance.sample(SERVICES, chance.randrange(1, 10)))
    }


def _months(days_ago: int, count: int) -> list[str]:
    """Return so many months, the last of them that of a use so many days ago."""
    last = TODAY - timedelta(days=days_ago)
    number = last.year * 12 + last.month - 1
    return sorted(f"{at // 12}-{at % 12 + 1:02}" for at in range(number - count + 1, number + 1))


# --- accounts and counts --------------------------------------------------------------------------


def _account(
    chance: random.Random, at: int, account: str, name: str, rows: list[PrincipalRowJson] | None
) -> dict[str, Any]:
    issues: list[dict[str, Any]] = []
    if at != 3 and chance.random() < 0.08:
        issues.append(_reason("ROOT_NO_MFA"))
    if at != 3 and chance.random() < 0.04:
        issues.append(_reason("ROOT_KEY", number=1))
    of_account = [row for row in rows or () if row["account_id"] == account]
    return {
        "account_id": account,
        "name": name,
        "alias": None,
        "error": None,
        "message": None,
        "principal_count": len(of_account),
        "rows": {"bucket": "evidence", "key": f"account={account}/rows.ndjson.gz"},
        "last_accessed": [],
        "gone": None,
        "root": None
        if at == 3
        else {
            "mfa_active": not any(issue["code"] == "ROOT_NO_MFA" for issue in issues),
            "password_last_used_at": None,
            "access_keys": [],
        },
        "issues": issues,
        "counts": _counts(of_account),
        "unknown": ["credential report"] if at == 3 else [],
        "calls": 30,
        "throttled": 0,
        "seconds": 4.0,
        "transitions": 6,
    }


def _unknown(account: str, name: str, at: int) -> dict[str, Any]:
    error, message = UNREADABLE[at % len(UNREADABLE)]
    result = _account(random.Random(0), 0, account, name, None) | {
        "error": error, "message": message, "rows": None, "root": None, "issues": [], "counts": {},
        "unknown": ["account"],
    }  # fmt: skip
    if at % 2 == 0:
        result["known"] = {"period": "2026-10", "bucket": "evidence", "key": "rows.ndjson.gz"}
    return result


def _count_accounts(results: list[dict[str, Any]], rows: list[PrincipalRowJson]) -> None:
    by_account: dict[str, list[PrincipalRowJson]] = {}
    for row in rows:
        by_account.setdefault(row["account_id"], []).append(row)
    for result in results:
        of_account = by_account.get(result["account_id"], [])
        if not result["error"]:
            result.update({"principal_count": len(of_account), "counts": _counts(of_account)})


def _counts(rows: list[PrincipalRowJson]) -> dict[str, int]:
    counts = dict.fromkeys(COUNTS, 0)
    for row in rows:
        codes = [issue["code"] for issue in row["issues"]]
        counts["principals"] += 1
        counts["new"] += row["change"] == "new"
        counts["changed"] += row["change"] == "changed"
        counts["status_" + row["status"].replace(" ", "_")] += 1
        counts["class_" + row["class"]] += 1
        counts["unused_principals"] += row["is_unused"]
        counts["old_access_keys"] += codes.count("KEY_OLD")
        counts["idle_access_keys"] += codes.count("KEY_IDLE") + codes.count("KEY_NEVER_USED")
        counts["users_without_mfa"] += "NO_MFA" in codes
        counts["administrators"] += any(wide["is_administrator"] for wide in row["wide"])
        counts["trusts_outside"] += bool(row["trust"] and row["trust"]["outside"])
        is_open = "PUBLIC_TRUST" in codes or "FEDERATED_WITHOUT_SUBJECT" in codes
        counts["public_trusts"] += is_open
        counts["exempt"] += row["exemption"] is not None
        counts["seasonal"] += bool(row["seasons"])
        counts["without_owner"] += row["owner"] is None
        counts["last_accessed_unknown"] += "service" in row["unknown"]
        counts["planned"] += len(row["plans"])
    return counts


def _trend(
    chance: random.Random, counts: dict[str, int], accounts: int, unknown: int, months: int
) -> list[PeriodCountsJson]:
    """Return the months before, a little smaller and with more unused each, and this month."""
    trend: list[PeriodCountsJson] = []
    last = 2026 * 12 + 10
    for back in range(months - 1, -1, -1):
        number = last - back
        factor = 1 - 0.015 * back
        earlier = {
            name: count if back == 0 else max(0, round(count * factor * chance.uniform(0.94, 1.06)))
            for name, count in counts.items()
        }
        if back:
            for name in (
                "unused_principals",
                "class_disable",
                "old_access_keys",
                "users_without_mfa",
            ):
                earlier[name] = round(earlier[name] * (1 + 0.06 * back))
        trend.append(
            {
                "period": f"{number // 12}-{number % 12 + 1:02}",
                "definition_version": DEFINITION_VERSION - (back > 9),
                "accounts": accounts - back // 4,
                "unknown_accounts": unknown if back == 0 else int(back in {5, 6}),
                "counts": earlier,
            }
        )
    return trend
