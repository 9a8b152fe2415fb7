from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from lambdas.inventory import classify_principals
from lambdas.inventory.classify_principals import Output, lambda_handler
from pare.aws.activity_store import ActivityStore, dates_before, digest_key
from pare.aws.tables import from_item
from pare.clock import parse_time
from pare.cloudtrail.activity import Activity, Use, UseKey
from pare.cloudtrail.activity_file import write_activity
from pare.cloudtrail.principals import Principal
from pare.errors import EvidenceError
from pare.inventory.model import COUNTS
from tests.handlers.fake_aws import BUCKET, MEMBER
from tests.unit.inventory.row_builders import (
    collected,
    last_accessed,
    row,
    service_use,
    terms,
    unused_service,
)

if TYPE_CHECKING:
    from pare.aws.evidence_store import EvidenceStore

AS_OF = "2026-11-01T06:00:00Z"
WORK = "inventory/period=2026-11/work=run"
FOLDER = f"{WORK}/account={MEMBER}"
APP, MAIL = f"arn:aws:iam::{MEMBER}:role/team/App", f"arn:aws:iam::{MEMBER}:role/Mail"
MARY = f"arn:aws:iam::{MEMBER}:user/mary"
# A short window, and few nights to write.
DAYS = dates_before(parse_time(AS_OF), 14)
REFUSED = "2026-10-20T05:30:00Z"

HEADER = (
    "user,arn,user_creation_time,password_enabled,password_last_used,password_last_changed,"
    "mfa_active,access_key_1_active,access_key_1_last_rotated,access_key_1_last_used_date,"
    "access_key_2_active\n"
)
REPORT = (
    f"{HEADER}"
    f"<root_account>,arn:aws:iam::{MEMBER}:root,2020-01-01T00:00:00Z,not_supported,"
    "2021-01-01T00:00:00Z,not_supported,false,true,2020-01-01T00:00:00Z,N/A,false\n"
    f"mary,{MARY},2024-01-01T00:00:00Z,true,2026-10-30T08:00:00Z,2024-01-01T00:00:00Z,true,"
    "true,2024-01-01T00:00:00Z,2026-05-01T00:00:00Z,false\n"
)


def role(name: str, path: str, used_at: str | None, *actions: str) -> dict[str, Any]:
    trust = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"},
             "Action": "sts:AssumeRole"}  # fmt: skip
    allow = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
    return {
        "Path": path, "RoleName": name, "RoleId": f"AROA{name.upper()}",
        "Arn": f"arn:aws:iam::{MEMBER}:role{path}{name}", "CreateDate": "2024-02-01T00:00:00Z",
        "AssumeRolePolicyDocument": {"Version": "2012-10-17", "Statement": [trust]},
        "RolePolicyList": [{"PolicyName": "Own", "PolicyDocument": {
            "Version": "2012-10-17", "Statement": [allow]}}],
        "AttachedManagedPolicies": [], "InstanceProfileList": [], "Tags": [],
        "RoleLastUsed": {"LastUsedDate": used_at, "Region": "eu-west-1"} if used_at else {},
    }  # fmt: skip


def user(name: str) -> dict[str, Any]:
    return {
        "Path": "/", "UserName": name, "UserId": f"AIDA{name.upper()}",
        "Arn": f"arn:aws:iam::{MEMBER}:user/{name}", "CreateDate": "2024-01-01T00:00:00Z",
        "UserPolicyList": [], "AttachedManagedPolicies": [], "GroupList": [],
        "Tags": [{"Key": "owner", "Value": "mary@example.com"}],
    }  # fmt: skip


@dataclass
class Account:
    """What the steps before leave of an account; a test changes it before it classifies."""

    store: EvidenceStore
    tables: Any
    roles: list[dict[str, Any]] = field(default_factory=lambda: [
        role("App", "/team/", "2026-10-30T10:00:00Z", "sqs:ListQueues"),
        role("Mail", "/", REFUSED, "secretsmanager:GetSecretValue"),
    ])  # fmt: skip
    parts: list[list[Any]] = field(default_factory=lambda: [
        [last_accessed(service_use("sqs", used={}, unused=None), arn=APP)],
        [last_accessed(arn=MARY),
         last_accessed(service_use("secretsmanager", last_accessed_at=REFUSED,
                                   used={"GetSecretValue": REFUSED}, unused=[]), arn=MAIL)],
    ])  # fmt: skip
    report: str | None = REPORT
    previous: list[Any] | None = None
    is_new: bool = False
    settings: dict[str, Any] = field(default_factory=lambda: {"window_days": 14, "idle_days": 14})
    unknown: list[str] = field(default_factory=list)

    def ref(self, name: str) -> dict[str, str]:
        return {"bucket": BUCKET, "key": f"{FOLDER}/{name}"}

    def event(self) -> dict[str, Any]:
        """Write everything, and return the step's input."""
        store = self.store
        page = {"UserDetailList": [user("mary")], "RoleDetailList": self.roles,
                "GroupDetailList": [], "Policies": []}  # fmt: skip
        arns = sorted([MARY, *(each["Arn"] for each in self.roles)])
        report = None
        if self.report is not None:
            report = store.put_text(f"{FOLDER}/credential_report.csv", self.report, "text/csv")
        left = collected(
            account_id=MEMBER, name="shop", alias="shop", credential_report=report,
            details=store.put_ndjson_gz(f"{FOLDER}/authorization_details.ndjson.gz", [page]),
            principals=store.put_json(f"{FOLDER}/principals.json", arns),
            principal_count=len(arns), unknown=self.unknown,
            access_keys={"mary": [{"AccessKeyId": "AKIAMARY", "Status": "Active",
                                   "CreateDate": "2024-01-01T00:00:00Z"}]},
        )  # fmt: skip
        keys = [
            store.put_ndjson_gz(f"{FOLDER}/last_accessed/part-{n}.ndjson.gz", part)["key"]
            for n, part in enumerate(self.parts)
        ]
        store.put_json(f"{FOLDER}/last_accessed/progress.json", {
            "parts": keys, "left": [], "read": 3, "unknown": 0, "calls": 9, "throttled": 2,
            "seconds": 12.5, "batches": 2,
        })  # fmt: skip
        previous = None
        if self.previous is not None:
            ref = store.put_ndjson_gz("inventory/period=2026-10/rows.ndjson.gz", self.previous)
            previous = {"period": "2026-10", **ref}
        organization = store.put_json(f"{WORK}/organization.json", {"accounts": {MEMBER: {}}})
        return {
            "item": {"account_id": MEMBER, "name": "shop", "state": "ACTIVE", "period": "2026-11",
                     "work": WORK, "as_of": AS_OF, "organization": organization,
                     "previous": previous, "is_new": self.is_new},
            "collected": store.put_json(f"{FOLDER}/collected.json", left),
            "terms": terms(**self.settings),
        }  # fmt: skip

    def night(self, day: str, *uses: tuple[str, str, str, str, str]) -> None:
        """Write the digest of a day: ARN, id, action, outcome, time."""
        activity = Activity()
        for arn, unique_id, action, outcome, at in uses:
            principal = Principal(arn, unique_id, "AssumedRole", MEMBER)
            key = UseKey(action, "", "denied" if outcome == "denied" else "allowed")
            activity.of(principal).group(key).add("*", Use(1, first=at, last=at))
        file = io.BytesIO()
        write_activity(activity, file)
        ActivityStore(self.store.s3, BUCKET).put(digest_key(day, MEMBER), file.getvalue())

    def nights(self) -> None:
        """Let every night of the window have been read, with a call that reads."""
        for day in DAYS:
            self.night(day, (APP, "AROAAPP", "sqs:ListQueues", "allowed", f"{day}T10:00:00Z"))

    def rows(self) -> dict[str, Any]:
        found = self.store.get_ndjson_gz(self.ref("rows.ndjson.gz"))  # type: ignore[arg-type]
        return {each["principal_arn"]: each for each in found}

    def result(self) -> Any:
        return self.store.get_json(self.ref("result.json"))  # type: ignore[arg-type]

    def items(self) -> dict[str, Any]:
        found = self.tables.scan(TableName="Principals")["Items"]
        return {each["principal_arn"]: each for each in map(from_item, found)}


@pytest.fixture
def account(evidence: EvidenceStore, tables: Any) -> Account:
    return Account(evidence, tables)


def classify(account: Account, context: Any) -> Output:
    event: Any = account.event()
    output: Output = lambda_handler(event, context)
    return output


def test_every_user_and_role_has_a_row_and_an_item(account: Account, context: Any) -> None:
    assert classify(account, context) == {"account_id": MEMBER, "error": None}

    rows = account.rows()
    assert list(rows) == [MAIL, APP, MARY]
    assert [each["class"] for each in rows.values()] == ["keep", "keep", "review"]
    assert rows[MARY]["plans"][0]["what"] == "access key 1"
    assert {each["change"] for each in rows.values()} == {None}
    items = account.items()
    part = [{"bucket": BUCKET, "key": f"{FOLDER}/last_accessed/part-1.ndjson.gz"}]
    assert items == {
        arn: {**found, "last_accessed": part if arn != APP else [
            {"bucket": BUCKET, "key": f"{FOLDER}/last_accessed/part-0.ndjson.gz"}]}
        for arn, found in rows.items()
    }  # fmt: skip


def test_how_the_account_went(account: Account, context: Any) -> None:
    account.unknown = ["access key ids of 1 of 2 users: refused"]

    classify(account, context)

    result = account.result()
    assert 14.0 <= result.pop("seconds") < 30, "1.5 to collect, 12.5 to read, and its own"
    assert result.pop("counts") == dict.fromkeys(COUNTS, 0) | {
        "principals": 3, "status_used": 3, "class_keep": 2, "class_review": 1,
        "old_access_keys": 1, "idle_access_keys": 1, "without_owner": 2, "planned": 1,
        "root_access_keys": 1, "root_without_mfa": 1,
    }  # fmt: skip
    assert result == {
        "account_id": MEMBER,
        "name": "shop",
        "alias": "shop",
        "error": None,
        "message": None,
        "principal_count": 3,
        "rows": account.ref("rows.ndjson.gz"),
        "last_accessed": [account.ref(f"last_accessed/part-{n}.ndjson.gz") for n in (0, 1)],
        "gone": account.ref("gone.ndjson.gz"),
        "root": {
            "mfa_active": False,
            "password_last_used_at": "2021-01-01T00:00:00Z",
            "access_keys": [
                {
                    "access_key_id": None,
                    "is_active": True,
                    "created_at": "2020-01-01T00:00:00Z",
                    "last_used_at": None,
                    "last_used_service": None,
                    "last_used_region": None,
                }
            ],
        },
        "issues": [
            {"code": "ROOT_KEY", "values": {"number": 1}},
            {"code": "ROOT_NO_MFA", "values": {}},
        ],
        "unknown": ["access key ids of 1 of 2 users: refused"],
        "calls": 12,
        "throttled": 2,
        "transitions": 9,  # start, Collect, Done?, 2 x (Read, More?), Classify, end
    }


def test_a_repeated_step_leaves_the_same_bytes(account: Account, context: Any) -> None:
    account.previous = [row(MARY), row(f"arn:aws:iam::{MEMBER}:role/Gone")]
    account.nights()
    classify(account, context)
    names = ("rows.ndjson.gz", "gone.ndjson.gz")
    before = [account.store.get_bytes(account.ref(name)) for name in names]  # type: ignore[arg-type]

    classify(account, context)

    assert [account.store.get_bytes(account.ref(name)) for name in names] == before  # type: ignore[arg-type]


def test_a_principal_nobody_read_is_unknown_and_not_dropped(account: Account, context: Any) -> None:
    account.parts = [[last_accessed(arn=APP, error="ThrottledError"), last_accessed(arn=MARY)]]
    account.roles = [role("App", "/team/", None), role("Mail", "/", None)]

    classify(account, context)

    rows = account.rows()
    assert [rows[arn]["status"] for arn in (APP, MAIL)] == ["unknown", "unknown"]
    assert [rows[arn]["class"] for arn in (APP, MAIL)] == ["review", "review"]
    assert account.result()["counts"]["last_accessed_unknown"] == 2
    assert account.items()[MAIL]["last_accessed"] == []


def test_an_answer_beats_a_failure_before_or_after_it(account: Account, context: Any) -> None:
    failed, answered = last_accessed(arn=APP, error="LastAccessedError"), last_accessed(arn=APP)
    for parts in ([[failed], [answered]], [[answered], [failed]]):
        account.parts = parts
        classify(account, context)
        assert account.rows()[APP]["unused_services"] == 0


def test_the_logs_prove_that_a_role_was_refused(account: Account, context: Any) -> None:
    account.nights()
    account.night("2026-10-20", (MAIL, "AROAMAIL", "secretsmanager:GetSecretValue", "denied",
                                 REFUSED))  # fmt: skip

    classify(account, context)

    found = account.rows()[MAIL]
    assert (found["status"], found["class"]) == ("idle", "review")
    assert [each["code"] for each in found["reasons"]] == ["IDLE_REFUSED", "DENIED_ONLY"]
    assert account.rows()[APP]["last_use"]["sources"]["activity"] == "2026-10-31T10:00:00Z"
    assert account.rows()[APP]["used_months"] == ["2026-10"]


@pytest.mark.parametrize("damage", ["digest", "unread"])
def test_what_is_missing_of_the_logs_proves_nothing(
    account: Account, context: Any, damage: str
) -> None:
    account.nights()
    account.night("2026-10-20", (MAIL, "AROAMAIL", "secretsmanager:GetSecretValue", "denied",
                                 REFUSED))  # fmt: skip
    store = ActivityStore(account.store.s3, BUCKET)
    if damage == "digest":
        store.put(digest_key(DAYS[1], MEMBER), b"no digest")
    else:
        store.put_unread(DAYS[1], MEMBER, {"AWSLogs/x": "access denied"})

    classify(account, context)

    assert account.rows()[MAIL]["status"] == "used"
    assert "activity" in account.rows()[MAIL]["last_use"]["sources"]


def test_a_quiet_day_that_was_read_to_its_end_is_no_gap(account: Account, context: Any) -> None:
    account.nights()
    account.night("2026-10-20", (MAIL, "AROAMAIL", "secretsmanager:GetSecretValue", "denied",
                                 REFUSED))  # fmt: skip
    store = ActivityStore(account.store.s3, BUCKET)
    account.store.s3.delete_object(Bucket=BUCKET, Key=digest_key(DAYS[1], MEMBER))
    classify(account, context)
    assert account.rows()[MAIL]["status"] == "used"

    store.complete(DAYS[1], "execution")
    classify(account, context)
    assert account.rows()[MAIL]["status"] == "idle"


def test_no_digest_is_no_source_and_only_damaged_ones_are_an_unknown_one(
    account: Account, context: Any
) -> None:
    account.roles[0]["RoleLastUsed"] = {}
    account.parts = [[last_accessed(unused_service("sqs"), arn=APP)]]
    classify(account, context)
    assert account.rows()[APP]["last_use"]["unknown"] == []

    ActivityStore(account.store.s3, BUCKET).put(digest_key(DAYS[1], MEMBER), b"no digest")
    classify(account, context)
    assert account.rows()[APP]["last_use"]["unknown"] == ["activity"]
    assert account.rows()[APP]["status"] == "unknown"


@pytest.mark.parametrize(("is_new", "change", "count"), [(False, None, 0), (True, "new", 3)])
def test_all_who_come_with_a_new_account_are_new(
    account: Account, context: Any, is_new: bool, change: str | None, count: int
) -> None:
    account.is_new = is_new

    classify(account, context)

    assert {each["change"] for each in account.rows().values()} == {change}
    assert account.result()["counts"]["new"] == count


def test_months_are_compared_and_what_is_gone_does_not_lie_there_as_if_alive(
    account: Account, context: Any
) -> None:
    old = row(f"arn:aws:iam::{MEMBER}:role/Old", account_id=MEMBER, period="2026-10")
    classify(account, context)
    account.previous = [*account.rows().values(), old]
    account.roles = [account.roles[0], role("New", "/", None)]

    classify(account, context)

    rows = account.rows()
    assert {arn.rpartition("/")[2]: each["change"] for arn, each in rows.items()} == {
        "App": "same", "New": "new", "mary": "same",
    }  # fmt: skip
    counts = account.result()["counts"]
    assert (counts["new"], counts["gone"], counts["changed"]) == (1, 2, 0)
    gone = account.store.get_ndjson_gz(account.ref("gone.ndjson.gz"))  # type: ignore[arg-type]
    assert [each["principal_arn"] for each in gone] == [MAIL, old["principal_arn"]]
    items = account.items()
    assert (items[MAIL]["status"], items[MAIL]["gone_in"]) == ("gone", "2026-11")
    assert items[APP]["status"] == "used"
    assert "gone_in" not in items[APP]


def test_plans_go_on_where_last_month_left_them(account: Account, context: Any) -> None:
    classify(account, context)
    plans = account.rows()[MARY]["plans"]
    plans[0] |= {"announced_on": "2026-10-01", "disable_on": "2026-10-31"}
    account.previous = [{**account.rows()[MARY], "period": "2026-10", "plans": plans}]

    classify(account, context)

    assert account.rows()[MARY]["plans"] == [{**plans[0], "times_announced": 2}]


def test_without_a_credential_report_users_are_unknown_and_so_is_root(
    account: Account, context: Any
) -> None:
    account.report = None

    classify(account, context)

    assert account.rows()[MARY]["status"] == "unknown"
    assert account.result()["root"] is None
    assert account.result()["counts"]["root_access_keys"] == 0


def test_a_row_too_large_for_the_table_leaves_out_what_the_snapshot_has(
    account: Account, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    months = {f"service{n}": ["2026-10"] for n in range(400)}
    classify(account, context)
    account.previous = [{**account.rows()[APP], "used_services_months": months}]
    monkeypatch.setattr(classify_principals, "MAX_ITEM_BYTES", 6_000)

    classify(account, context)

    item = account.items()[APP]
    assert item["left_out"] == ["used_services_months"]
    assert "used_services_months" not in item
    assert len(account.rows()[APP]["used_services_months"]) == 401
    assert len(json.dumps(item)) < 6_500


def test_what_a_step_before_did_not_leave_is_an_error(account: Account, context: Any) -> None:
    event: Any = account.event()
    account.store.s3.delete_object(Bucket=BUCKET, Key=f"{FOLDER}/last_accessed/progress.json")

    with pytest.raises(EvidenceError, match=r"progress\.json"):
        lambda_handler(event, context)
