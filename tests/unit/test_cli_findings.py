"""What `pare findings` shows of cards and findings, and how it understands what it is asked.

Against the deployed Pare: tests/handlers/aws/test_deployed_findings.py.
"""

from __future__ import annotations

import csv
import io
from contextlib import redirect_stdout
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from pare import cli_findings
from pare.cli import main
from pare.cli_activity import printable
from pare.findings import view
from pare.findings.page import Page, as_json
from pare.findings.view import Filter, Meant
from pare.message import columns
from tests.unit.findings import finding_items as build

if TYPE_CHECKING:
    from pare.findings.model import Finding
    from pare.findings.view import FindingItemJson, ListedCardJson

NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)
HOSTILE = "\x1b]0;owned\x07\n=1+1"
OTHER = build.finding("22222222-dcba-4444-dcba-444444444444", region="us-east-1")
ALL = (build.finding(), OTHER, build.public(), build.unused(), build.blind())


def items(*found: Finding) -> list[FindingItemJson]:
    return [build.item(each) for each in found or ALL]


def chosen(wanted: Filter, *found: Finding) -> list[ListedCardJson]:
    return view.chosen([], items(*found), wanted)


def ids(wanted: Filter, *found: Finding) -> list[str]:
    """Return the beginnings of the ids of the findings that are listed, in their order."""
    return [each["finding_id"][:4] for card in chosen(wanted, *found) for each in card["findings"]]


# --- list -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Filter(), ["5555", "3333", "2222", "2222", "4444"]),
        (Filter(types=("UnusedPermission",)), ["4444"]),
        (Filter(accounts=("security",)), ["5555"]),
        (Filter(accounts=(build.HUB,)), ["5555"]),
        (Filter(accounts=("pay*",)), ["3333", "2222", "2222", "4444"]),
        (Filter(regions=("us-east-1",)), ["2222"]),
        (Filter(owners=("PAYMENTS",), types=("UnusedPermission",)), ["4444"]),
        (Filter(owners=("*@example.org",)), []),
        (Filter(severities=("low",)), ["4444"]),
        (Filter(sources=("pare-watch", "pare-inventory")), ["5555", "4444"]),
        (Filter(resources=(build.BUCKET,)), ["2222", "2222"]),
        (Filter(resources=("arn:aws:iam:*",)), ["4444"]),
        (Filter(statuses=("RESOLVED",)), []),
    ],
)
def test_each_filter_and_the_order(wanted: Filter, expected: list[str]) -> None:
    found = ids(wanted)

    assert sorted(found) == sorted(expected)
    assert found[-1:] == expected[-1:]


def test_only_a_star_is_special_in_a_resource() -> None:
    odd = build.finding(resource="arn:aws:s3:::a[1]?")

    assert ids(Filter(resources=("arn:aws:s3:::a[1]?",)), odd) == ["2222"]
    assert ids(Filter(resources=("arn:aws:s3:::a[1]?",)), build.finding()) == []


def test_the_gravest_comes_first_then_the_oldest() -> None:
    found = [
        build.finding(f"{number}" * 8, resource=f"arn:aws:s3:::{number}", severity=severity,
                      created_at=f"2026-11-0{day}T00:00:00Z")
        for number, (severity, day) in enumerate(
            [("low", 1), ("high", 3), ("critical", 4), (None, 1), ("high", 2), ("medium", 1)]
        )
    ]  # fmt: skip

    # What nobody judged stands before what is known to be medium.
    assert ids(Filter(), *found) == ["2222", "4444", "1111", "3333", "5555", "0000"]


def test_a_card_lists_its_findings_of_all_regions_and_its_gravest_severity() -> None:
    graver = build.finding("66666666", region="eu-central-1", severity="critical")

    (card,) = chosen(Filter(), build.finding(), OTHER, graver)

    assert card["regions"] == ["eu-central-1", "eu-west-1", "us-east-1"]
    assert card["severity"] == "critical"
    assert card["findings"][0]["finding_id"] == "66666666"


def test_owner_and_telling_are_the_cards() -> None:
    card = build.card(build.finding(), owner="new-owner@example.com", due_at="2026-11-22T08:00:00Z")

    (row,) = view.chosen([card], items(build.finding()), Filter(owners=("new-owner",)))

    assert row["owner"] == "new-owner@example.com"
    assert row["due_at"] == "2026-11-22T08:00:00Z"
    assert row["told"] == card["told"]


@pytest.mark.parametrize(
    ("finding", "status"),
    [
        (build.finding(), "ACTIVE"),
        (build.finding(is_deleted=True), "UNWATCHED"),
        (build.finding(is_deleted=True, status="ARCHIVED"), "UNWATCHED"),
        (build.finding(is_deleted=True, values=(("ended", "DELETED"),)), "DELETED"),
        (build.finding(is_deleted=True, status="RESOLVED"), "RESOLVED"),
    ],
)
def test_a_deletion_says_whether_it_is_known_to_be_over(finding: Finding, status: str) -> None:
    assert view.status_of(finding.to_json()) == status


@pytest.mark.parametrize(
    ("finding", "words"),
    [
        (build.finding(), ("555566667777", "write, read")),
        (build.public(), ("everybody", "read")),
        (build.unused(), ("unused: 12 services, 340 actions",)),
        (build.unused(finding_type="UnusedIAMRole"), ("unused role, no use known",)),
        (
            build.unused(
                finding_type="UnusedIAMUserAccessKey",
                access_key_id="AKIA1",
                last_accessed_at="2026-01-02T00:00:00Z",
            ),
            ("unused access key AKIA1, last used 2026-01-02",),
        ),
        (build.blind(), ("no external access analyzer",)),
        (build.finding(error="ACCESS_DENIED", exposure=None), ("nobody knows: ACCESS_DENIED",)),
    ],
)
def test_a_finding_in_words(finding: Finding, words: tuple[str, ...]) -> None:
    said = view.in_words(finding.to_json())

    assert all(word in said for word in words), said


@pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
def test_no_line_of_the_table_is_wider_than_the_terminal(width: int) -> None:
    long = build.finding("99999999", resource=f"arn:aws:s3:::{'b' * 90}", owner="o" * 80,
                         account_name="決済基盤のアカウント" * 3)  # fmt: skip

    lines = list(view.table(chosen(Filter(), *ALL, long), width))

    assert len(lines) == 6
    assert max(map(columns, lines)) <= width
    assert "OPEN TO" in lines[0]
    assert ("OWNER" in lines[0]) == (width >= 200)


def test_at_80_columns_what_matters_stays() -> None:
    lines = list(view.table(chosen(Filter(), *ALL), 80))

    text = "\n".join(lines)
    for words in (
        "ap-northeast-1", "no external access analyzer", "everybody: read", "bucket amzn-s3-",
        "outside 555566667777: write", "role ShopCheckout", "unused: 12 services, 340",
    ):  # fmt: skip
        assert words in text, text


def test_a_long_name_is_cut_at_its_end() -> None:
    found = build.finding(resource=f"arn:aws:s3:::{'begin' * 20}end")

    (_, line) = view.table(chosen(Filter(), found), 80)

    assert "bucket beginbegin" in line
    assert "end" not in line


def test_no_line_of_the_page_is_wider_than_a_terminal_but_for_what_is_copied() -> None:
    found = build.finding(region="ap-northeast-1", status="ARCHIVED", severity="critical")
    page = Page(build.card(found), items(found), NOW)

    for line in page.lines():
        assert columns(line) <= 80 or "https://" in line or "pare findings" in line, line


def test_the_table_tells_when_a_card_says_more_than_one_thing() -> None:
    other = build.finding("88888888", principal=(("AWS", "444455556666"),),
                          principal_account_id="444455556666")  # fmt: skip

    (_, line) = view.table(chosen(Filter(), build.finding(), other), 200)

    assert "(+1)" in line


def test_names_from_outside_cannot_forge_a_line_or_a_command() -> None:
    nasty = build.finding(resource=f"arn:aws:s3:::b{HOSTILE}", owner=HOSTILE, account_name=HOSTILE,
                          region=HOSTILE, tags=((HOSTILE, HOSTILE),), unknown=(HOSTILE,),
                          actions=(HOSTILE,), principal=((HOSTILE, HOSTILE),),
                          condition=((HOSTILE, HOSTILE),), granted_through=(HOSTILE,))  # fmt: skip
    page = Page(build.card(nasty), items(nasty), NOW)

    for line in (*view.table(chosen(Filter(), nasty), 200), *page.lines()):
        assert printable(line) == line


def test_short_ids_tell_cards_apart() -> None:
    assert view.unique_length(["aaaaaaaaaa", "aaaaaaaaab", "cccc"]) == 10
    assert view.unique_length(["aaaaaaaaaa"], ["aaaaaaaaab"]) == 10
    assert view.unique_length(["aaaaaaaaaa"], ["bbbbbbbbbb", "bbbbbbbbbc"]) == 8
    assert view.unique_length([]) == 8


def test_the_csv_has_a_row_a_finding_and_no_formula() -> None:
    nasty = build.finding(owner="=HYPERLINK(1)", account_name="@a", unknown=("-x",))
    output = io.StringIO()
    with redirect_stdout(output):
        cli_findings._print_csv(chosen(Filter(), nasty, OTHER))
    rows = list(csv.DictReader(io.StringIO(output.getvalue())))

    assert [row["region"] for row in rows] == ["eu-west-1", "us-east-1"]
    assert rows[0]["principal"] == f"AWS {build.OUTSIDE}"
    assert rows[0]["access_levels"] == "Read; Write"
    assert rows[0]["owner"] == "'=HYPERLINK(1)"
    assert rows[0]["account_name"] == "'@a"
    assert rows[0]["unknown"] == "'-x"


# --- which one is meant ---------------------------------------------------------------------------

CARD_ID = build.card(build.finding())["card_id"]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (build.FIRST_ID, [Meant(CARD_ID, build.FIRST_ID)]),
        (build.FIRST_ID[:28].upper(), [Meant(CARD_ID, build.FIRST_ID)]),
        (CARD_ID, [Meant(CARD_ID)]),
        (CARD_ID[:6], [Meant(CARD_ID)]),
        (build.BUCKET, [Meant(CARD_ID)]),
        ("22222222", [Meant(CARD_ID, build.FIRST_ID), Meant(CARD_ID, OTHER.finding_id)]),
        ("22222", []),
        (build.BUCKET[:-1], []),
    ],
)
def test_ids_beginnings_and_arns(asked: str, expected: list[Meant]) -> None:
    assert view.meant(asked, [], items(build.finding(), OTHER)) == expected


def test_a_whole_id_comes_before_what_begins_so() -> None:
    longer = build.finding(build.FIRST_ID + "0")

    assert view.meant(build.FIRST_ID, [], items(build.finding(), longer)) == [
        Meant(CARD_ID, build.FIRST_ID)
    ]


def test_alike_is_the_same_resource_type_and_principal_in_any_region() -> None:
    another = build.finding("88888888", principal=(("AWS", "444455556666"),))
    elsewhere = build.finding("99999999", resource="arn:aws:s3:::other")
    all_items = items(build.finding(), OTHER, another, elsewhere)

    same = view.alike(all_items[0], all_items)

    assert [each["finding_id"] for each in same] == [build.FIRST_ID, OTHER.finding_id]


# --- show -----------------------------------------------------------------------------------------


def shown(*found: Finding, **changes: Any) -> str:
    return "\n".join(Page(build.card(*found, **changes), items(*found), NOW).lines())


def test_the_page_says_what_is_open_since_when_whose_and_what_to_do() -> None:
    text = shown(build.finding(condition=(("aws:SourceVpc", "vpc-1"),)), OTHER)

    for words in (
        "HIGH: S3 bucket amzn-s3-demo-bucket is open to",
        "since 2026-11-20 04:58 UTC",
        "Account      111122223333 payments",
        "payments@example.com",
        "eu-west-1  ACTIVE  high  ExternalAccess  22222222-dcba-4444-dcba-333333333333",
        "us-east-1  ACTIVE",
        "(s3:GetObject, s3:PutObject)",
        "aws:SourceVpc = vpc-1",
        "Severity     high - ",
        "2026-11-21 01:33 UTC  first sight, by itself, message m-1",
        "pare findings archive 22222222-dcba-4444-dcba-333333333333",
    ):
        assert words in text, words


def test_the_finding_that_was_asked_for_comes_first() -> None:
    page = Page(None, items(build.finding(), OTHER), NOW, OTHER.finding_id)

    assert next(iter(page.ordered))["finding_id"] == OTHER.finding_id


def test_who_archived_it_and_what_is_meant() -> None:
    item = build.item(
        build.finding(status="ARCHIVED"),
        archived={"by": "arn:aws:iam::1:user/alice", "how": "pare findings archive",
                  "reason": "Meant", "at": "2026-11-21T10:00:00Z", "expires": "2027-01-31"},
    )  # fmt: skip
    exemptions = [
        {"finding_type": "ExternalAccess", "principal": {"AWS": build.OUTSIDE}, "reason": "Meant",
         "by": "arn:aws:iam::1:user/alice", "at": "2026-11-21T10:00:00Z", "expires": expires}
        for expires in ("2027-01-31", "2026-11-21")
    ]  # fmt: skip
    page = Page(build.card(build.finding(), exemptions=exemptions), [item], NOW)

    text = "\n".join(page.lines())

    assert text.splitlines()[1].startswith("ARCHIVED: S3 bucket")
    assert "by arn:aws:iam::1:user/alice" in text
    assert "until 2027-01-31: Meant" in " ".join(text.split())
    assert "EXPIRED on 2026-11-21" in text
    assert "pare findings unarchive 22222222-dcba-4444-dcba-333333333333 --all-regions" in text


def test_what_is_unwatched_is_not_called_closed() -> None:
    text = shown(build.finding(is_deleted=True))

    assert "UNWATCHED" in text.splitlines()[1]
    assert "no longer open" not in text
    assert "pare findings reconcile" in text


def test_what_is_over_asks_for_nothing() -> None:
    page = Page(None, items(build.finding(status="RESOLVED")), NOW)

    assert as_json(page)["what_to_do"] == []
    assert "no longer open" in "\n".join(page.lines())


def test_a_message_that_may_not_have_come_is_said() -> None:
    lost = [{"message_id": "m-2", "at": "2026-11-21T02:00:00Z", "news": "worsened",
             "how": "unknown"}]  # fmt: skip

    assert "but whether it went out is unknown" in " ".join(
        shown(build.finding(), messages=lost).split()
    )


def test_nobody_told_and_when_they_will_be() -> None:
    text = shown(build.finding(), told=None, messages=[], due="due", due_at="2026-11-22T09:02:00Z")

    assert "Nobody was told yet." in text
    assert "Next: not before 2026-11-22 09:02 UTC." in text


def test_the_proposal_is_on_the_page() -> None:
    proposal = {"verdict": "review", "created_at": "2026-11-21T00:00:00Z",
                "before_action_count": 900, "after_action_count": 7, "reasons": ["SHORT_WINDOW"],
                "proposal": {"bucket": "evidence", "key": "proposals/x.json"}}  # fmt: skip

    text = shown(build.unused(), proposal=proposal)

    assert "review, made 2026-11-21 00:00 UTC" in text
    assert "900 actions today, 7 proposed" in text
    assert "s3://evidence/proposals/ " in f"{' '.join(text.split())} "
    assert "aws s3 cp --recursive \\\n        s3://evidence/proposals/ proposal/" in text


def test_what_is_unknown_is_said_of_its_finding() -> None:
    assert "Unknown      owner: AccessDenied" in shown(
        build.finding(unknown=("owner: AccessDenied",))
    )


# --- wrong use ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ("list", "--all", "--status", "ACTIVE"),
        ("list", "--all", "--active"),
        ("list", "--active", "--status", "ARCHIVED"),
        ("list", "--severity", "grave"),
        ("list", "--type", "Unknown"),
        ("archive", "22222222"),
        ("archive", "--reason", "x"),
        ("archive", "22222222", "--reason", "x", "--expires", "2030-01-01"),
        ("agreement", "--period", "2026-13"),
    ],
)
def test_wrong_use_is_exit_code_two_before_aws_is_asked(arguments: tuple[str, ...]) -> None:
    result = CliRunner().invoke(main, ["findings", *arguments])

    assert result.exit_code == 2, result.output
