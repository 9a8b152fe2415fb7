from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pare.doctor.commands import mend_first
from pare.doctor.model import Mend, cannot_tell, missing, ok
from pare.doctor.text import counts, group_lines, in_order, report_json, summary
from tests.doctor_setup import LOG_ARCHIVE, PAYMENTS, SHOP

if TYPE_CHECKING:
    from collections.abc import Callable

    from pare.doctor.model import Result

HERE_DOCUMENT = "\n".join(
    [
        "cat > /tmp/policy.json <<'END'",
        '{"Version": "2012-10-17"}',
        "END",
        "aws s3api put-bucket-policy --bucket organization-trail --policy file:///tmp/policy.json",
    ]
)
MEMBERS = [
    ok("members.stack-set", "PareMembers", "PareMembers, template 0a1b2c3d4e5f"),
    *(ok("members.instance", each, "current") for each in (PAYMENTS, SHOP, LOG_ARCHIVE)),
    ok("members.instance", "555566667777", "555566667777: suspended, needs none"),
    missing(
        "members.role",
        f"{PAYMENTS} payments",
        "No function of the hub is let in: its member stack is current, so in this order: somebody "
        "deleted the role PareMember, or changed its trust policy, or a service control policy "
        "denies sts:AssumeRole.",
        Mend("hub", ("aws cloudformation delete-stack-instances --stack-set-name PareMembers",)),
    ),
    missing(
        "members.role",
        f"{SHOP} shop",
        "EnrichFinding is refused, 7 others let in: its trust policy does not name it.",
        Mend("hub", ("aws cloudformation delete-stack-instances --stack-set-name PareMembers",)),
    ),
    cannot_tell(
        "members.template",
        "",
        "No function could say of which version the member roles are.",
        mend_first("entering accounts"),
    ),
]
LOG_ARCHIVE_RESULTS = [
    ok("log-archive.bucket", "", "organization-trail in eu-west-1"),
    missing(
        "log-archive.bucket-policy",
        "organization-trail",
        "The bucket's policy does not let PareListLogs list it.",
        Mend(
            "log archive",
            (HERE_DOCUMENT,),
            {"Sid": "PareListsTheTrail", "Effect": "Allow"},
            after="Or deploy it: npx cdk deploy ByHand/PareLogArchive --profile log-archive.",
        ),
    ),
    *(ok("log-archive.reading", each, "3 files") for each in ("old", "new")),
]
FINDINGS = [ok("findings.analyzer", each, "active") for each in ("eu-west-1", "eu-central-1")]


def text(group: str, results: list[Result], **options: Any) -> str:
    return "\n".join(group_lines(group, results, **options)) + "\n"


def test_a_group_is_told_as_a_person_reads_it(golden: Callable[[str, Any], None]) -> None:
    golden(
        "doctor/text.txt",
        "\n".join(
            [
                text("members", MEMBERS),
                text("log-archive", LOG_ARCHIVE_RESULTS),
                text("findings", FINDINGS),
                summary([*MEMBERS, *LOG_ARCHIVE_RESULTS, *FINDINGS]) + "\n",
            ]
        ),
    )


def test_only_commands_and_statements_are_longer_than_the_terminal_is_wide() -> None:
    lines = (
        text("members", MEMBERS).splitlines()
        + text("log-archive", LOG_ARCHIVE_RESULTS).splitlines()
    )

    assert {line[:3] for line in lines if len(line) > 80} <= {"aws"}


def test_commands_stand_at_the_left_edge_so_that_they_can_be_copied() -> None:
    lines = text("log-archive", LOG_ARCHIVE_RESULTS).splitlines()

    at = lines.index("cat > /tmp/policy.json <<'END'")
    assert lines[at + 1 : at + 3] == ['{"Version": "2012-10-17"}', "END"]


def test_one_mend_of_several_things_is_printed_once() -> None:
    assert text("members", MEMBERS).count("delete-stack-instances") == 1


def test_a_text_that_several_mends_share_is_printed_once_and_every_command() -> None:
    found = [
        missing("findings.analyzer", region, "There is none.", Mend("hub", (f"aws {region}",), None,
                                                                  "Or let Pare create it."))
        for region in ("eu-west-1", "eu-central-1")
    ]  # fmt: skip
    shown = text("findings", found)

    assert shown.count("Or let Pare create it.") == 1
    assert "\naws eu-west-1\n" in shown
    assert "\naws eu-central-1\n" in shown


def test_what_is_said_of_several_things_alike_is_said_once() -> None:
    mend = Mend("hub", ("aws x",))
    shown = text(
        "members", [missing("members.role", each, "It refuses.", mend) for each in (PAYMENTS, SHOP)]
    )

    assert f"  - {PAYMENTS}, {SHOP}: It refuses." in shown


def test_colour_only_repeats_what_a_word_says() -> None:
    painted = text("members", MEMBERS, colour=True)

    assert "\x1b[31mMISSING\x1b[0m" in painted
    assert "\x1b[33mCANNOT TELL\x1b[0m" in painted
    assert "\x1b[32mok\x1b[0m" in painted
    assert "\x1b" not in text("members", MEMBERS)


def test_words_from_outside_send_a_terminal_nothing() -> None:
    evil = missing(
        "members.role",
        "\x1b]0;title\x07",
        "It said:\nok\n\x1b[2J",
        Mend("hub", ("echo '\x1b[2J'",), {"Sid": "\x1b[2J"}, "\x07"),
    )

    assert "\x1b" not in text("members", [evil])
    assert "\x07" not in text("members", [evil])


def test_a_wide_terminal_makes_no_wide_lines_and_a_narrow_one_narrow_ones() -> None:
    def widest(width: int) -> int:
        lines = text("members", MEMBERS, width=width).splitlines()
        return max(len(line) for line in lines if not line.startswith("aws "))

    assert 80 < widest(300) <= 100
    assert widest(60) <= 60


def test_a_group_without_results_says_so() -> None:
    assert "Nothing to look at." in text("trail", [])


def test_checks_that_nothing_was_said_of_are_named_where_something_is_amiss() -> None:
    gone = missing("organization.member", "", "It is in none.", Mend("you", (), text="Join."))
    silent = "Not looked at, because of what is said above: trusted access, Access Analyzer, "

    assert silent in " ".join(text("organization", [gone]).split())
    assert "Not looked at" not in text("organization", [ok("organization.member", "", "in it")])
    assert "StackSets" not in text(
        "organization",
        [gone],
        left_out=("organization.stack-sets-trusted", "organization.stack-sets-administrator"),
    )


def test_the_summary_says_what_to_do_next() -> None:
    mend = Mend("hub", ("x",))
    well, gone = ok("trail.exists", "", "there"), missing("trail.exists", "", "gone", mend)
    unknown = cannot_tell("trail.exists", "", "unknown", mend)

    assert summary([gone, unknown, well]) == (
        "1 missing, 1 cannot be told, 1 ok. Mend the first, then run pare doctor again."
    )
    assert summary([unknown, well]).startswith("1 cannot be told, 1 ok. What cannot be told may")
    # What is printed as one block is counted as one.
    assert summary([well, well]) == "1 ok. Nothing is missing."
    assert summary([well], is_deployed=False) == (
        "1 ok. That is all that can be looked at before Pare is deployed."
    )
    assert summary([gone], again="pare doctor --local").endswith("run pare doctor --local again.")
    assert summary([]) == "Nothing was looked at."


def test_results_are_in_the_order_of_the_table_whatever_order_they_came_in() -> None:
    assert in_order([*FINDINGS, *reversed(MEMBERS)]) == in_order([*MEMBERS, *reversed(FINDINGS)])
    assert [each.check for each in in_order([*FINDINGS, *MEMBERS])][:2] == [
        "members.stack-set",
        "members.instance",
    ]


def test_counts_have_every_status() -> None:
    assert counts(FINDINGS) == {"missing": 0, "cannot tell": 0, "ok": 2}


def test_the_report_is_json_with_why_and_mend(golden: Callable[[str, Any], None]) -> None:
    golden(
        "doctor/report.json",
        report_json(
            [*LOG_ARCHIVE_RESULTS, *FINDINGS],
            as_of="2026-11-22T13:00:00Z",
            looked_at=["log-archive", "findings"],
            about={"version": "0.7.0", "hub_account_id": "123456789012"},
        ),
    )
