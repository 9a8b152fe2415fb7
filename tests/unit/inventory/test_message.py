from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from pare.chat_card import DESCRIPTION_LIMIT
from pare.errors import MemberAccountError
from pare.inventory.gravest import KEPT, gravest
from pare.inventory.message import (
    LISTED_ACCOUNTS,
    LISTED_GONE,
    LISTED_NEW,
    LISTED_OF_OWNER,
    LISTED_OPEN,
    LISTED_OWNERS,
    Place,
    console_link,
    download_command,
    inventory_message,
)
from pare.inventory.snapshot import build_snapshot, unknown_account
from pare.message import columns
from tests.unit.inventory.row_builders import ACCOUNT, AS_OF, account_result, row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pare.inventory.model import AccountResultJson, PlanJson, PrincipalRowJson, SnapshotJson
    from pare.message import Message
    from pare.object_ref import ObjectRef

FOLDER = "inventory/period=2026-11"
LINK = (
    "https://console.aws.amazon.com/s3/object/evidence"
    "?region=eu-west-1&prefix=inventory/period%3D2026-11/report.html"
)
SANDBOX = "999988887777"
FORGED = (
    "x\r\nReport: https://elsewhere.example\n\nReport: https://elsewhere.example\u2028\x00\u202e "
    + "y" * 75
    + " Report: https://elsewhere.example <b>*_[a](https://elsewhere.example)"
)


GITHUB = f"arn:aws:iam::{ACCOUNT}:oidc-provider/token.actions.githubusercontent.com"
PUBLIC: Any = {"code": "PUBLIC_TRUST", "values": {}}


def ref(name: str) -> ObjectRef:
    return {"bucket": "evidence", "key": f"{FOLDER}/{name}"}


PLACE = Place(
    snapshot=ref("snapshot.json"),
    report=ref("report.html"),
    csv=ref("report.csv"),
    partition="aws",
    region="eu-west-1",
)


def role(name: str, **changes: Any) -> PrincipalRowJson:
    return row(f"arn:aws:iam::{ACCOUNT}:role/{name}", **changes)


def user(name: str, **changes: Any) -> PrincipalRowJson:
    return row(f"arn:aws:iam::{ACCOUNT}:user/{name}", **changes)


def plan(**changes: Any) -> PlanJson:
    found: Any = {
        "what": "principal",
        "announced_on": "2026-11-01",
        "disable_on": "2026-12-01",
        "disabled_on": None,
        "delete_on": None,
        "times_announced": 1,
    }
    found.update(changes)
    planned: PlanJson = found
    return planned


def snapshot(*results: AccountResultJson, previous: SnapshotJson | None = None) -> SnapshotJson:
    return build_snapshot(
        period="2026-11",
        created_at="2026-11-01T08:00:00Z",
        as_of="2026-11-01T06:00:00Z",
        results=results,
        by_kind={"person": 2, "service role": 410},
        rows=ref("principals.ndjson.gz"),
        previous=previous,
    )


def october() -> SnapshotJson:
    return {**snapshot(account_result()), "period": "2026-10"}


def told(
    head: SnapshotJson, rows: Iterable[PrincipalRowJson] = (), language: str = "en", **changes: Any
) -> Message:
    given: dict[str, Any] = {"gone": (), "place": PLACE, "idle_days": 90, "key_max_age_days": 365}
    return inventory_message(
        head, gravest(rows, as_of=AS_OF), language=language, **{**given, **changes}
    )


def without_external_id(account: str) -> Any:
    return {"code": "OUTSIDE_TRUST_WITHOUT_EXTERNAL_ID", "values": {"account": account}}


def a_month() -> tuple[SnapshotJson, list[PrincipalRowJson]]:
    """Return a month in which there is one of everything."""
    counts = {
        "principals": 412, "new": 2, "gone": 12, "unused_principals": 31, "old_access_keys": 3,
        "public_trusts": 2,
        "users_without_mfa": 2, "root_access_keys": 1, "status_unknown": 5,
        "last_accessed_unknown": 5, "class_keep": 350, "class_review": 20, "class_narrow": 11,
        "class_disable": 30, "class_delete": 1,
    }  # fmt: skip
    issues = [
        {"code": "ROOT_KEY", "values": {"number": 1}},
        {"code": "ROOT_USED", "values": {"date": "2026-10-28", "days": 3}},
    ]
    unknown = unknown_account(
        SANDBOX,
        "sandbox",
        error="MemberAccountError",
        message="sts:AssumeRole in account 999988887777: AccessDenied: not authorized",
        known={"period": "2026-09", "bucket": "evidence", "key": "rows"},
    )
    rows = [
        role("app/OldImport", cls="disable", owner_shown="orders@example.com",
             plans=[plan(times_announced=2, disable_on="2026-11-01")]),
        role("app/Unused", cls="disable", owner_shown="orders@example.com", plans=[plan()]),
        role("Gone", cls="delete", owner_shown="security@example.com",
             plans=[plan(disabled_on="2026-08-01", delete_on="2026-09-30", times_announced=4)]),
        role("Waiting", cls="disable", owner_shown="security@example.com",
             plans=[plan(disabled_on="2026-10-01", delete_on="2026-11-30", times_announced=3)]),
        user("alice", owner_shown="security@example.com", plans=[plan(what="access key 2")],
             issues=[{"code": "NO_MFA", "values": {}},
                     {"code": "KEY_IDLE", "values": {"number": 2, "days": 120}}]),
        user("backup", issues=[{"code": "KEY_OLD", "values": {"number": 1, "days": 1_500}}]),
        role("Emergency", reasons=[{"code": "BREAK_GLASS_USED",
                                    "values": {"date": "2026-10-20", "days": 12}}]),
        role("Audit", exemption={"owner": "audit@example.com", "reason": "yearly",
                                 "expires": "2026-11-30"}),
        role("Stage", reasons=[{"code": "EXEMPTION_EXPIRED",
                                "values": {"owner": "web@example.com", "expires": "2026-10-15"}}]),
        role("Backup", kind="cross-account role", issues=[without_external_id("998877665544"),
                                                          without_external_id("887766554433")]),
        role("Deploy", kind="federated role",
             issues=[{"code": "FEDERATED_WITHOUT_SUBJECT", "values": {"provider": GITHUB}}]),
        role("Anybody", kind="cross-account role", change="new", issues=[PUBLIC]),
        user("carol", change="new"),
    ]  # fmt: skip
    read: Any = [
        account_result(f"{number:012d}", name=f"team-{number}", counts={}) for number in range(21)
    ]
    head = snapshot(
        account_result(ACCOUNT, name="orders-prod", counts=counts),
        account_result("444455556666", name="payments", counts={}, issues=issues),
        *read,
        unknown,
        previous=october(),
    )
    return head, rows


def those_gone() -> list[PrincipalRowJson]:
    return [role(f"old/Job{number:02d}") for number in range(12)]


def test_an_inventory_reads_well(golden: Callable[[str, Any], None]) -> None:
    message = told(*a_month(), gone=those_gone())

    golden("inventory.txt", f"Subject: {message.subject}\n\n{message.text}")
    assert message.subject == "[Pare] Inventory 2026-11: 412 users and roles in 23 accounts"
    owners = message.attributes.pop("owner")
    assert message.attributes == {"kind": "inventory", "period": "2026-11"}
    assert owners == list(message.facts["planned_by_owner"])
    assert len(owners) > 1


def test_an_inventory_reads_well_in_japanese(golden: Callable[[str, Any], None]) -> None:
    message = told(*a_month(), language="ja", gone=those_gone())

    golden("inventory_ja.txt", f"Subject: {message.subject}\n\n{message.text}")
    assert message.subject == "[Pare] 2026-11 の IAM 棚卸し: 23 アカウント、412 件"
    assert len(message.subject) < 100


def test_the_sentence_says_what_changed_and_what_is_wrong() -> None:
    text = " ".join(told(*a_month()).text.split())

    assert (
        "2 roles open to anybody, 2 new since 2026-10, 12 gone, "
        "31 unused for 90 days, 5 whose use is unknown, "
        "3 access keys older than a year, 2 users without MFA, 1 access key of root users, "
        "1 account we could not read."
    ) in text


def test_terms_of_the_settings_are_the_ones_that_are_named() -> None:
    text = " ".join(told(*a_month(), idle_days=60, key_max_age_days=180).text.split())

    assert "31 unused for 60 days" in text
    assert "3 access keys older than 180 days" in text


def test_a_quiet_month_reads_quietly(golden: Callable[[str, Any], None]) -> None:
    head = snapshot(account_result(counts={"principals": 40, "class_keep": 40}), previous=october())

    message = told(head, [role("App")])

    golden("inventory_quiet.txt", f"Subject: {message.subject}\n\n{message.text}")
    for word in ("0 ", "None", "could not", "disable", "Root"):
        assert word not in message.text.replace("40 ", ""), word


@pytest.mark.parametrize("language", ["en", "ja"])
def test_a_month_is_not_quiet_while_a_part_of_an_account_is_unknown(language: str) -> None:
    refused = "credential report: iam:GetCredentialReport: AccessDenied"
    head = snapshot(account_result(unknown=[refused], counts={"principals": 40, "class_keep": 40}),
                    previous=october())  # fmt: skip

    text = " ".join(told(head, language=language).text.split())

    assert refused in text
    assert "quiet" not in text
    assert ACCOUNT in text


@pytest.mark.parametrize("language", ["en", "ja"])
def test_the_first_inventory_is_not_compared(language: str) -> None:
    texts = {"en": "This is the first inventory", "ja": "今回が初回"}

    assert texts[language] in told(snapshot(account_result()), language=language).text


def test_other_definitions_are_said_not_to_be_comparable() -> None:
    before = october()
    before["definition_version"] -= 1

    text = told(snapshot(account_result(), previous=before)).text

    assert "counted by other definitions" in text


# --- What is listed ---


def test_every_owner_gets_an_announcement_with_dates_and_how_often_it_was_made() -> None:
    text = " ".join(told(*a_month()).text.split())

    assert "- orders@example.com: 2 planned - role/app/OldImport" in text
    assert (
        "role/app/OldImport in orders-prod (111122223333): "
        "disable now, the date was 2026-11-01 (announced 2 times)" in text
    )
    assert "role/app/Unused in orders-prod (111122223333): disable on 2026-12-01 -" in text
    assert "role/Gone in orders-prod (111122223333): disabled since 2026-08-01, delete now" in text
    assert "disabled since 2026-10-01, delete on 2026-11-30 (announced 3 times)" in text
    assert "user/alice in orders-prod (111122223333): disable access key 2 on 2026-12-01" in text


def test_whoever_may_come_in_from_outside_is_named_near_the_top_with_what_to_do() -> None:
    text = told(*a_month()).text
    section = " ".join(
        text.split("Open to the outside")[1].split("What to do with them")[0].split()
    )

    assert text.index("Open to the outside") < text.index("To disable first")
    assert (
        "role/Anybody in orders-prod (111122223333): Its trust policy lets anybody in AWS assume "
        "it. Name in it who may" in section
    )
    assert "role/Deploy in orders-prod (111122223333): Everybody with an identity" in section
    assert ": token.actions.githubusercontent.com. Add a condition on the subject" in section
    assert "without an external ID: 998877665544, 887766554433. Find out whose" in section
    assert section.index("Anybody") < section.index("Deploy") < section.index("Backup")


def test_an_administrator_that_is_open_comes_before_other_roles() -> None:
    wide = [{"policy": "inline:All", "group": None, "pattern": "*", "is_administrator": True}]
    rows = [role("A", issues=[PUBLIC]), role("B", issues=[PUBLIC], wide=wide)]

    text = told(snapshot(account_result()), rows).text

    assert text.index("role/B") < text.index("role/A")


def test_a_role_is_named_once_however_many_may_assume_it() -> None:
    many = [without_external_id(f"{number:012d}") for number in range(100)]
    found = gravest([role("A", issues=[*many, PUBLIC]), role("B", issues=many)], as_of=AS_OF)

    assert [each.reason["code"] for each in found.open.items()] == [
        "PUBLIC_TRUST",
        "OUTSIDE_WITHOUT_EXTERNAL_ID",
    ]
    assert "and 95 more" in str(found.open.items()[1].reason)


def test_of_who_is_to_go_as_a_whole_no_key_is_to_be_made_anew() -> None:
    old: Any = [{"code": "KEY_OLD", "values": {"number": 1, "days": 900}}]
    rows = [
        user("going", cls="disable", plans=[plan()], issues=old),
        user("due", cls="delete", issues=old),
        user("staying", plans=[plan(what="access key 2")], issues=old),
    ]

    text = told(snapshot(account_result()), rows).text
    _, keys = text.split("Keys and passwords of those that stay:")

    assert "user/staying" in keys
    assert "user/going" not in keys
    assert "user/due" not in keys
    assert "user/going" in text


def test_new_and_gone_ones_are_named() -> None:
    text = " ".join(told(*a_month(), gone=those_gone()).text.split())

    assert "New since 2026-10: - role/Anybody in orders-prod" in text
    assert "- user/carol in orders-prod (111122223333): person, orders@example.com" in text
    assert "Gone since 2026-10: - role/old/Job00 in orders-prod (111122223333): service" in text
    assert "Job09" in text
    assert "Job10" not in text
    assert "and 2 more; see the report." in text


def test_what_aws_made_is_the_last_of_the_new() -> None:
    rows = [role("A", kind="service-linked role", change="new"), role("B", change="new")]

    text = told(snapshot(account_result(), previous=october()), rows).text

    assert text.index("role/B") < text.index("role/A")


def test_in_the_first_inventory_nothing_is_new() -> None:
    head = snapshot(account_result(counts={"principals": 1, "new": 1}))

    text = told(head, [role("A", change="new")], gone=[role("B")]).text

    assert "new" not in text
    assert "role/A" not in text
    assert "role/B" not in text


def test_the_mail_says_where_those_are_named_that_it_only_counts() -> None:
    counted = snapshot(account_result(counts={"class_review": 1}))
    planned = snapshot(account_result(counts={"class_disable": 1}))

    assert "is named in the report" in " ".join(told(counted).text.split())
    assert "is named in the report" not in " ".join(told(planned).text.split())


def test_counts_of_before_there_was_a_count_of_open_roles() -> None:
    head = snapshot(account_result())
    del head["counts"]["public_trusts"]

    assert "open to anybody" not in told(head).text


def test_an_unused_principal_without_a_plan_is_not_passed_over() -> None:
    text = told(snapshot(account_result()), [role("New", cls="disable", plans=[])]).text

    assert "role/New in orders (111122223333): unused, no date planned yet" in text


def test_an_unknown_account_comes_with_what_to_do_and_when_it_was_last_known() -> None:
    text = " ".join(told(*a_month()).text.split())

    assert MemberAccountError.what_to_do in text
    assert "Last known: 2026-09." in text
    assert "not authorized." in text


def test_in_japanese_what_to_do_is_in_japanese_where_there_is_a_text() -> None:
    head = snapshot(
        unknown_account("1" * 12, "a", error="MemberAccountError"),
        unknown_account("2" * 12, "b", error="SettingsError"),
    )
    text = "".join(told(head, language="ja").text.split())

    assert "が分かります。" in text
    assert "Mendconfig/pare.yaml" in text


def test_where_every_account_is_known_none_is_listed() -> None:
    assert "could not be read" not in told(snapshot(account_result())).text


def test_an_exemption_that_ends_later_is_no_news() -> None:
    exemption = {"owner": "a", "reason": "b", "expires": "2026-12-03"}

    assert "xemption" not in told(snapshot(), [role("A", exemption=exemption)]).text


def test_the_oldest_keys_come_first_and_users_without_mfa_before_them() -> None:
    def old(days: int) -> list[Any]:
        return [{"code": "KEY_OLD", "values": {"number": 1, "days": days}}]

    rows = [
        user("a", issues=old(400)),
        user("b", issues=old(900)),
        user("c", issues=[{"code": "NO_MFA", "values": {}}]),
    ]

    text = told(snapshot(account_result()), rows).text

    assert text.index("user/c") < text.index("user/b") < text.index("user/a")


# --- Bounds ---


@pytest.mark.parametrize("language", ["en", "ja"])
def test_a_message_about_thousands_of_everything_stays_one_sns_takes(language: str) -> None:
    unknown = [
        unknown_account(f"{number:012d}", "組織" * 25, message="m" * 5_000)
        for number in range(2_000)
    ]
    rooted: Any = [
        account_result(f"1{number:011d}", issues=[{"code": "ROOT_NO_MFA", "values": {}}])
        for number in range(500)
    ]
    rows = (
        user(f"{'u' * 400}{number}", cls="disable", owner_shown=f"{'所有' * 60}{number % 3_000}",
             plans=[plan()], issues=[{"code": "NO_MFA", "values": {}}, PUBLIC], change="new",
             exemption={"owner": "o" * 256, "reason": "", "expires": "2026-11-02"})
        for number in range(9_000)
    )  # fmt: skip

    left = [role(f"{'g' * 400}{number}") for number in range(LISTED_GONE)]
    head = snapshot(*unknown, *rooted, account_result(counts={"gone": 900}), previous=october())
    message = told(head, rows, language, gone=left)

    assert len(message.text.encode()) < 200_000
    assert len(json.dumps(message.facts, ensure_ascii=False).encode()) < 200_000
    assert message.text.count("\n- 組織") == LISTED_ACCOUNTS
    assert f"{2_000 - LISTED_ACCOUNTS:,}" in message.text
    assert f"{3_000 - LISTED_OWNERS:,}" in message.text
    for listed in (LISTED_NEW, LISTED_OPEN):
        assert f"{9_000 - listed:,}" in message.text
    assert f"{900 - LISTED_GONE:,}" in message.text
    assert len(message.facts["unknown_accounts"]) == 2_000
    owners = message.facts["planned_by_owner"]
    assert len(owners) + message.facts["owners_left_out"] == 3_000
    assert len(owners) > 100


def test_of_an_owner_with_many_the_most_urgent_are_named_and_the_rest_counted() -> None:
    rows = [
        role(f"R{number:04d}", cls="disable", owner_shown="a@example.com",
             plans=[plan(disable_on=f"2026-12-{31 - number // 40:02d}")])
        for number in range(1_000)
    ]  # fmt: skip

    message = told(snapshot(account_result()), rows)

    shown = [line for line in message.text.splitlines() if line.startswith("  - role/")]
    assert len(shown) == LISTED_OF_OWNER
    assert all("R09" in line for line in shown)
    assert f"and {1_000 - LISTED_OF_OWNER} more; see the report." in message.text
    facts = message.facts["planned_by_owner"]["a@example.com"]
    assert (facts["count"], len(facts["principals"])) == (1_000, KEPT)


def test_same_rows_in_any_order_the_same_message() -> None:
    head, rows = a_month()

    assert told(head, rows) == told(head, list(reversed(rows)))


# --- Machines and chat ---


def test_machines_get_all_counts_places_and_what_is_planned_by_owner() -> None:
    head, rows = a_month()

    facts = told(head, rows).facts

    assert facts["counts"] == head["counts"]
    assert facts["unknown_accounts"] == [SANDBOX]
    assert facts["report"] == f"s3://evidence/{FOLDER}/report.html"
    assert facts["rows"] == f"s3://evidence/{FOLDER}/principals.ndjson.gz"
    assert list(facts["planned_by_owner"]) == ["orders@example.com", "security@example.com"]
    assert facts["planned_by_owner"]["orders@example.com"]["principals"][0] == {
        "account_id": ACCOUNT,
        "principal_arn": f"arn:aws:iam::{ACCOUNT}:role/app/OldImport",
        "class": "disable",
        "what": "principal",
        "disable_on": "2026-11-01",
        "disabled_on": None,
        "delete_on": None,
        "times_announced": 2,
    }
    json.dumps(facts)


@pytest.mark.parametrize("language", ["en", "ja"])
def test_the_card_says_the_same_in_short(language: str) -> None:
    message = told(*a_month(), language)

    assert message.card is not None
    content = message.card["content"]
    assert "412" in content["title"]
    assert "`sandbox` 999988887777" in content["description"]
    assert "`orders@example.com`" in content["description"]
    anybody = {"en": "trusts anybody", "ja": "誰でも引き受け可能"}
    assert f"• `role/Anybody` {ACCOUNT}: {anybody[language]}" in content["description"]
    assert LINK in content["nextSteps"][0]
    assert "aws s3 cp" in content["nextSteps"][1]


# --- Text from outside ---


@pytest.mark.parametrize("language", ["en", "ja"])
def test_nobody_can_forge_a_line_or_a_link(language: str) -> None:
    reason: Any = [{"code": "EXEMPTION_EXPIRED",
                    "values": {"owner": FORGED, "expires": FORGED}},
                   {"code": "BREAK_GLASS_USED", "values": {"date": FORGED, "days": 1}}]  # fmt: skip
    rows = [
        row(f"arn:aws:iam::{ACCOUNT}:role/{FORGED}", cls="disable", owner_shown=FORGED,
            reasons=reason, plans=[plan(disable_on=FORGED)], change="new",
            issues=[{"code": "FEDERATED_WITHOUT_SUBJECT", "values": {"provider": FORGED}}],
            exemption={"owner": FORGED, "reason": FORGED, "expires": "2026-11-05"}),
    ]  # fmt: skip
    results = [
        unknown_account("1" * 12, FORGED),
        unknown_account("2" * 12, "b", message=FORGED, known={"period": FORGED}),
        unknown_account("3" * 12, "c", error=FORGED),
        account_result(
            ACCOUNT,
            name=FORGED,
            issues=[{"code": "ROOT_USED", "values": {"date": FORGED, "days": 1}}],
        ),
    ]

    head = snapshot(*results, account_result("4" * 12, counts={"gone": 1}), previous=october())
    message = told(head, rows, language, gone=rows)

    lines = message.text.splitlines()
    label = {"en": "Report:   ", "ja": "レポート: "}[language]
    assert [line for line in lines if line.startswith(("Report", "レポート:"))] == [label + LINK]
    assert message.text.count("https://") == 1
    assert all(line.isprintable() for line in lines)
    assert message.card is not None
    text = message.card["content"]["description"]
    assert len(text.encode()) <= DESCRIPTION_LIMIT
    # Outside of code spans there is nothing but our own words.
    assert "elsewhere" not in "".join(text.split("`")[::2])
    assert "<" not in text


@pytest.mark.parametrize("language", ["en", "ja"])
def test_lines_fit_a_mail(language: str) -> None:
    text = told(*a_month(), language).text

    assert [line for line in text.splitlines() if columns(line) > 80 and "://" not in line] == []


# --- Links ---


@pytest.mark.parametrize(
    ("partition", "region", "host"),
    [
        ("aws", "eu-west-1", "console.aws.amazon.com"),
        ("aws-us-gov", "us-gov-west-1", "console.amazonaws-us-gov.com"),
        ("aws-cn", "cn-north-1", "console.amazonaws.cn"),
    ],
)
def test_the_console_is_that_of_the_partition(partition: str, region: str, host: str) -> None:
    assert console_link(PLACE.report, partition=partition, region=region) == (
        f"https://{host}/s3/object/evidence?region={region}"
        "&prefix=inventory/period%3D2026-11/report.html"
    )


def test_the_command_can_be_pasted_into_a_shell() -> None:
    assert download_command(PLACE.report) == f"aws s3 cp s3://evidence/{FOLDER}/report.html ."
    assert download_command({"bucket": "b", "key": "a b;c"}) == "aws s3 cp 's3://b/a b;c' ."
