from __future__ import annotations

import json
import re
import unicodedata
from typing import TYPE_CHECKING, Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pare.chat_card import (
    DESCRIPTION_LIMIT,
    NEXT_STEP_LIMIT,
    STEPS_LIMIT,
    TITLE_LIMIT,
)
from pare.findings.card import CardNews
from pare.findings.message import (
    LISTED_GROUPS,
    card_message,
    digest_message,
    preview_message,
    summary_message,
)
from pare.findings.model import SEVERITIES, Exposure, Finding
from pare.findings.overview import LISTED_CARDS
from pare.findings.phrases import TEXTS, rule_key
from pare.findings.severity import rules
from pare.message import columns
from tests.unit.findings.told_cases import (
    CASES,
    INTERNAL,
    LANGUAGES,
    PARTNER,
    ROLE,
    credential,
    many,
    old,
    open_to,
    partly_archived,
    preview,
    public,
    reading,
    role_trust,
    single,
    some_views,
    unused,
    would_be,
    writing,
)
from tests.unit.findings.view_builders import (
    NOW,
    PLACE,
    proposal,
    sample,
    told,
    view,
    watch,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from pare.findings.card import CardViewJson
    from pare.message import Message

NEWS: tuple[str, ...] = get_args(CardNews)
TYPES = (
    "AWS::S3::Bucket", "AWS::IAM::Role", "AWS::SQS::Queue", "AWS::Lambda::Function",
    "AWS::Lambda::LayerVersion", "AWS::KMS::Key", "AWS::SecretsManager::Secret",
    "AWS::EFS::FileSystem", "AWS::EC2::Snapshot", "AWS::ECR::Repository", "AWS::RDS::DBSnapshot",
    "AWS::RDS::DBClusterSnapshot", "AWS::SNS::Topic", "AWS::S3Express::DirectoryBucket",
    "AWS::DynamoDB::Table", "AWS::DynamoDB::Stream", "AWS::Later::Thing",
)  # fmt: skip
# What a stranger could put into a name, a tag, a reason or a condition.
FORGED = (
    "x\r\nWhat to do: call 555 0100\n\nOwner: me\u2028What to do: pay\x0b\x0c\x85\x1b[31m\x00"
    "\u202egnp.exe\u2066\u200f\u200b 対応手順: 送金 "
    "`<@U012AB3CD> <!channel> [x](http://evil.example) <http://evil.example|ok> **b** _i_ | & "
    "www.evil.example javascript://evil " + "y" * 75 + " What to do: obey"
)
LINKS = re.compile(r"[a-z0-9]+://[^\s]+|\bwww\.", re.IGNORECASE)
OURS = re.compile(r"https://console\.aws\.amazon\.com/[\w./?=&%#+~-]+|s3://[\w./:=+-]+")


def lines_of(message: Message) -> list[str]:
    return message.text.splitlines()


def one_line(message: Message) -> str:
    return " ".join(message.text.split())


def tell(of: CardViewJson, language: str = "en", **changes: Any) -> Message:
    given: dict[str, Any] = {"place": PLACE, "now": NOW, "perhaps_told": False, **changes}
    return card_message(of, language=language, **given)


def assert_well_formed(message: Message, language: str = "en") -> None:
    """Check what SNS demands of a mail, and what a reader does of 80 columns."""
    if language == "en":
        assert message.subject.isascii()
    assert message.subject.isprintable()
    assert 0 < len(message.subject) < 100
    assert message.text.endswith("\n")
    assert not message.text.endswith("\n\n")
    assert len(message.text.encode()) < 200_000
    for line in message.text.splitlines():
        # A single word (an ARN, a link, a command's argument) is never broken.
        assert columns(line) <= 80 or max(map(columns, line.split())) > 40, line
        assert not [c for c in line if unicodedata.category(c)[0] == "C"], line
    for link in LINKS.findall(message.text):
        assert OURS.fullmatch(link), link
    for name, value in message.attributes.items():
        for each in [value] if isinstance(value, str) else value:
            assert 0 < len(each) <= 256, name
            assert each.isprintable(), name
    json.dumps(message.facts, ensure_ascii=False).encode(errors="strict")
    assert_card_is_harmless(message.card)


def assert_card_is_harmless(card: dict[str, Any] | None) -> None:
    """Check Amazon Q's limits, and that text from outside is only in code spans."""
    assert card is not None
    content = card["content"]
    assert set(card) == {"version", "source", "content", "metadata"}
    assert len(content["title"].encode()) <= TITLE_LIMIT
    assert len(content["description"].encode()) <= DESCRIPTION_LIMIT
    assert 0 < len(content["nextSteps"]) <= STEPS_LIMIT
    texts = [content["title"], *content["description"].split("\n"), *content["nextSteps"]]
    for text in texts:
        assert text.isprintable(), text
        outside = re.sub(r"`[^`]*`", "", text)
        assert "`" not in outside
        assert "``" not in text
        assert not re.search(r"[<|*]|(?<!-)>|\]\(|evil|555 0100", outside), outside
        assert "<" not in text
        assert "](" not in outside
        for link in LINKS.findall(text):
            assert OURS.fullmatch(link.rstrip("`")), link


# --- the golden messages --------------------------------------------------------------------------


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", sorted(CASES))
def test_a_message_reads_well(name: str, language: str, golden: Callable[[str, Any], None]) -> None:
    message = CASES[name](language)

    assert_well_formed(message, language)
    golden(f"findings/{name}.{language}.txt", f"Subject: {message.subject}\n\n{message.text}")
    golden(f"findings/{name}.{language}.json", message.card)


@pytest.mark.parametrize("name", sorted(CASES))
def test_japanese_is_japanese(name: str) -> None:
    message = CASES[name]("ja")

    assert re.search("[ぁ-ん]", message.subject)
    assert re.search("です|ます|ません|ください", message.text)
    assert "Nobody" not in message.text
    assert "What" not in message.text


def test_no_message_calls_anything_safe_that_nobody_could_look_at() -> None:
    for name in CASES:
        assert "safe" not in CASES[name]("en").text.lower()
        assert "安全" not in CASES[name]("ja").text


# --- who may do what, since when, whose, how bad --------------------------------------------------


def test_a_message_says_everything_that_one_must_know() -> None:
    text = tell(view(old())).text

    for said in (
        "S3 bucket amzn-s3-demo-bucket is open to outside account 999988887777",
        "arn:aws:s3:::amzn-s3-demo-bucket",
        "account 999988887777, outside the organization",
        "read (s3:GetObject)",
        "2026-11-01 04:58 UTC (for 21 days)",
        "shop-prod (111122223333)",
        "us-west-2",
        "orders@example.com (by its tag)",
        "medium - somebody outside the organization can read it",
        "pare findings show 22222222-dcba-4444-dcba-333333333333",
        '--all-regions --reason "why it is meant" --expires 2027-05-21',
    ):
        assert said in text


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("exposure", get_args(Exposure))
def test_every_exposure_has_its_words(exposure: Any, language: str) -> None:
    found = old(exposure=exposure, partner="Example" if exposure == "partner" else None)

    message = tell(view(found), language)

    assert_well_formed(message, language)
    assert len({tell(view(old(exposure=each, partner="E")), language).subject
                for each in get_args(Exposure)}) == len(get_args(Exposure))  # fmt: skip


@pytest.mark.parametrize(
    ("finding", "says"),
    [
        (old(principal_account_id=None, principal=(("CanonicalUser", "79a59d"),)),
         "79a59d, outside the organization"),
        (old(exposure="service", principal=(("Service", "logs.amazonaws.com"),)),
         "the AWS service logs.amazonaws.com"),
        (role_trust(), "whoever signs in with token.actions.githubusercontent.com"),
        (PARTNER, "the known partner Example Backup, account 555566667777"),
        (INTERNAL, "account reports (333344445555) of the same organization"),
        (public(), "everybody (public)"),
        (old(exposure=None, principal=(("AWS", "*"),), principal_account_id=None),
         "* (nobody knows yet whose)"),
    ],
)  # fmt: skip
def test_it_says_to_whom(finding: Finding, says: str) -> None:
    assert f"Open to:{' ' * 4}{says}" in re.sub(r"Open to: +", "Open to:    ",
                                               tell(view(finding)).text)  # fmt: skip


def test_several_principals_in_one_finding_are_all_named() -> None:
    both = '["arn:aws:iam::999988887777:role/A", "arn:aws:iam::999988887777:role/B"]'

    text = one_line(tell(view(old(principal=(("AWS", both),)))))

    assert "AWS arn:aws:iam::999988887777:role/A, AWS arn:aws:iam::999988887777:role/B" in text


def test_conditions_and_ways_are_said() -> None:
    found = old(
        condition=tuple((f"aws:Key{n}", f"value-{n}") for n in range(7)),
        granted_through=("POLICY", "BUCKET_ACL", "LATER"),
    )

    text = one_line(tell(view(found)))

    assert "aws:Key0 = value-0; aws:Key1 = value-1" in text
    assert "and 2 more" in text
    assert "its policy, the bucket's ACL, LATER" in text


def test_ten_actions_are_named_and_the_others_counted() -> None:
    text = one_line(tell(view(old(actions=tuple(f"s3:A{n:02}" for n in range(12))))))

    assert "s3:A09 and 2 more" in text
    assert "s3:A10" not in text


def test_actions_that_nobody_named_are_unknown_and_not_none() -> None:
    assert "They may:   unknown: Access Analyzer named no action" in tell(
        view(old(actions=(), access_levels=()))).text  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"owner_source": "tag"}, "orders@example.com (by its tag)"),
        ({"owner_source": "account contact"}, "orders@example.com (contact of the account)"),
        ({"owner_source": "settings"}, "default of the settings: nobody else is named"),
        ({"owner": None, "owner_source": None}, "Owner: not known"),
    ],
)
def test_it_says_who_owns_it_and_how_that_is_known(changes: dict[str, Any], says: str) -> None:
    text = re.sub(r"Owner: +", "Owner: ", one_line(tell(view(old(**changes)))))

    assert says in text


def test_where_no_owner_is_known_the_account_is_asked() -> None:
    text = one_line(tell(view(old(owner=None, owner_source=None))))

    assert "Ask whoever answers for account shop-prod (111122223333) whose account" in text


def test_what_could_not_be_read_is_said() -> None:
    found = old(unknown=("tags: AccessDenied", "account name: not told"))

    assert "Not known:  tags: AccessDenied; account name: not told" in tell(view(found)).text


@pytest.mark.parametrize("rule", [*(each.rule_id for each in rules()), "no rule"])
def test_every_rule_of_severity_is_said_in_words(rule: str) -> None:
    text = tell(view(old(severity="high", severity_rule=rule))).text

    assert TEXTS.has(rule_key(rule))
    assert f"high - {TEXTS.text(rule_key(rule), 'en')}" in " ".join(text.split())


def test_a_rule_of_another_version_is_shown_as_it_is() -> None:
    assert "high - later rule" in tell(view(old(severity="high", severity_rule="later rule"))).text


def test_a_limit_that_was_not_applicable_is_not_said() -> None:
    found = sample("internal_access")

    assert "RCP" not in tell(view(found)).text


@pytest.mark.parametrize(
    ("created_at", "says"),
    [
        ("2026-11-22T09:16:00Z", "for less than an hour"),
        ("2026-11-22T08:00:00Z", "for 1 hour)"),
        ("2026-11-21T09:17:00Z", "for 24 hours)"),
        ("2026-11-20T09:17:00Z", "for 2 days)"),
        ("2027-01-01T00:00:00Z", "2027-01-01 00:00 UTC\n"),
        ("never", "never\n"),
    ],
)
def test_since_when_is_said(created_at: str, says: str) -> None:
    assert says in tell(view(old(created_at=created_at), opened_at=created_at)).text


# --- many findings of one card --------------------------------------------------------------------


def test_many_principals_are_grouped_ten_are_named_and_the_others_counted() -> None:
    text = tell(many()).text

    assert "Open to whom, for what (13):" in text
    assert text.count("- account ") == LISTED_GROUPS - 1
    assert "- and 3 more: pare findings show 33333333" in text


def test_the_same_principal_in_several_regions_is_one_line() -> None:
    regions = ("eu-west-1", "eu-west-2", "us-east-1")
    found = [old(region=each, finding_id=f"id-{each}") for each in regions]

    text = tell(view(*found)).text

    assert "Region:     eu-west-1, eu-west-2, us-east-1" in text
    assert "Findings:   3 findings, such as id-eu-west-1" in text
    assert "Open to whom" not in text


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_access_of_the_same_principal_is_said_with_its_condition(language: str) -> None:
    message = tell(view(writing(), reading()), language)
    text = one_line(message)

    assert_well_formed(message, language)
    assert message.card is not None
    for said in (text, message.card["content"]["description"].replace("`", "")):
        for part in ("s3:PutObject", "aws:SourceIp = 203.0.113.0/24", "s3:GetObject",
                     "s3:ListBucket", TEXTS.text("group_condition_none", language),
                     writing().finding_id, reading().finding_id):  # fmt: skip
            assert part in said
    assert TEXTS.text("meant_many", language).split()[0] in text, "one command does not cover both"


def test_one_principal_is_not_counted_twice() -> None:
    two = view(writing(), reading())
    three = view(writing(), reading(), open_to(8, "888877776666"))
    both_closed = view(ended=(writing(), reading()), news="closed", told=told(writing()))

    def listed(of: CardViewJson) -> str:
        return one_line(digest_message([of], owner=None, language="en", place=PLACE, now=NOW))

    assert "is open to outside account 999988887777, in 2 ways\n" in tell(two).text.replace(
        "\n  ", " "
    )
    assert "is open to outside account 999988887777, and 1 more" in one_line(tell(three))
    assert tell(both_closed).text.startswith(
        "Closed: S3 bucket amzn-s3-demo-bucket is no longer open to outside account\n"
        "  999988887777\n"
    )
    assert "is open to outside account 999988887777 (write, read, list) since" in listed(two)
    assert "(write, read, list), and 1 more since" in listed(three)


def test_two_roles_of_one_account_can_be_told_from_each_other() -> None:
    arn = "arn:aws:iam::999988887777:role/"
    found = [
        old(finding_id=name, principal=(("AWS", arn + name),)) for name in ("Reader", "Backup")
    ]

    text = one_line(tell(view(*found)))

    for name in ("Reader", "Backup"):
        assert f"read (s3:GetObject); AWS {arn}{name}, since" in text


def test_many_ways_of_one_principal_are_counted_where_they_are_too_many() -> None:
    found = [reading(finding_id=f"id-{n}", condition=(("aws:SourceIp", f"203.0.113.{n}"),))
             for n in range(13)]  # fmt: skip

    text = tell(view(*found)).text

    assert "in 13 ways" in one_line(tell(view(*found)))
    assert text.count("- account ") == LISTED_GROUPS
    assert "- and 3 more: pare findings show id-0 lists all." in text


def test_all_ways_in_which_regions_grant_the_same_are_said() -> None:
    found = [reading(finding_id=f"id-{way}", region=region, granted_through=(way,))
             for way, region in (("POLICY", "eu-west-1"), ("BUCKET_ACL", "us-east-1"))]  # fmt: skip

    assert "Granted by: its policy, the bucket's ACL" in tell(view(*found)).text


def test_a_card_whose_findings_could_not_be_read_says_so() -> None:
    of = view(old())
    of["findings"] = []

    text = one_line(tell(of))

    assert "nobody knows whether it is open" in text
    assert "the finding itself could not be read" in text


# --- what changed ---------------------------------------------------------------------------------


def test_each_news_has_its_own_title_and_lead() -> None:
    titles = set()
    for news in NEWS:
        of = view(old(), news=news, told=told(old()))
        if news in {"closed", "archived", "unwatched"}:
            how = {"archived": "ARCHIVED", "unwatched": "UNWATCHED"}.get(news, "RESOLVED")
            of = view(ended=(old(),), how=how, news=news, told=told(old()))
        message = tell(of)
        assert_well_formed(message)
        assert message.attributes["news"] == news
        titles.add(message.text.splitlines()[0].split(": ")[0])
    assert len(titles) == len(NEWS) - 1  # none reads like first_sight, and is never told


def test_a_worsened_card_says_what_got_worse() -> None:
    text = tell(view(public(), old(), news="worsened", told=told(old()))).text

    assert "- Severity: medium -> critical." in text
    assert "- New: open to everybody (public)" in text
    assert "New: open to account 999988887777" not in text


def test_a_finding_that_got_worse_while_the_card_did_not_is_named() -> None:
    low = open_to(7, "777788889999", severity="low", region="eu-north-1")
    worse = open_to(7, "777788889999", severity="medium", region="eu-north-1")

    text = tell(view(worse, old(), news="worsened", told=told(low, old()))).text

    assert "- Worse in eu-north-1: severity low -> medium." in text


def test_a_partial_fix_is_one_story() -> None:
    text = one_line(CASES["changed_churn"]("en"))

    assert "Unused services: 12 -> 5." in text
    assert "Unused actions: 340 -> 91." in text
    assert "New:" not in text
    assert "Gone:" not in text


def test_an_end_of_one_of_several_is_said_with_how_it_ended() -> None:
    other = open_to(8, "888877776666")
    before = told(old(), other)
    for how, says in (
        ("RESOLVED", "No longer open to account 888877776666"),
        ("ARCHIVED", "Still open, archived by somebody unknown: S3 bucket"),
        ("UNWATCHED", "No longer watched, so nobody knows: S3 bucket"),
    ):
        text = tell(view(old(), ended=(other,), how=how, news="changed", told=before)).text

        assert f"- {says}" in text


def test_a_proposal_is_said_with_its_verdict_its_numbers_and_where_it_lies() -> None:
    text = CASES["changed_proposal"]("en").text

    assert "Smaller policy for IAM role FindingIntegTestFakeRole: ready to apply: 22,091 -> 21" in (
        " ".join(text.split()))  # fmt: skip
    assert "s3://evidence/proposals/111122223333/role/FindingIntegTestFakeRole/" in text


def test_a_refused_proposal_says_why() -> None:
    assert "Why: The logs cover 3 of 90 days. A part of them could not be read." in (
        CASES["changed_refused"]("en").text
    )


@pytest.mark.parametrize("verdict", ["ready", "review", "refused", "later"])
def test_every_verdict_has_its_words(verdict: str) -> None:
    of = view(unused(12, 340), proposal=proposal(verdict=verdict, before_action_count=None))

    assert_well_formed(tell(of))


def test_who_archived_it_is_taken_from_what_the_round_hands_down() -> None:
    of: Any = view(ended=(old(),), how="ARCHIVED", news="archived", told=told(old()))
    of["archived"] = {old().finding_id: {
        "by": "arn:aws:iam::111122223333:user/bob", "how": "archive rule pare-auditors",
        "reason": "Auditors", "at": "2026-11-22T08:00:00Z", "expires": None}}  # fmt: skip

    text = tell(of).text

    assert "Archived by: arn:aws:iam::111122223333:user/bob" in text
    assert "Reason:      Auditors" in text
    assert "Until:       no end" in text


@pytest.mark.parametrize("news", ["archived", "closed"])
def test_only_what_is_over_is_called_closed(news: str) -> None:
    """Everybody's access is archived and still there; only an account's is resolved."""
    of = partly_archived(news)
    message = tell(of)
    text, archiver = one_line(message), "arn:aws:sts::111122223333:assumed-role/Developer/bob"
    card = json.dumps(message.card)
    listed = one_line(digest_message([of], owner=None, language="en", place=PLACE, now=NOW))

    assert message.subject.startswith(
        "[Pare] Archived, still open: S3 bucket amzn-s3-demo-bucket is open to everybody; 1 more cl"
    )
    assert f"Still open, archived by {archiver}: 1 of those below." in text
    assert "1 other is closed." in text
    assert "Still open, archived (1): - everybody (public)" in text
    assert "Was open to whom, for what (1): - account 999988887777" in text
    assert "pare findings unarchive 33333333-dcba" in text
    assert "Severity: critical" in text
    assert "Archived, still open (1):" in listed
    assert "S3 bucket amzn-s3-demo-bucket is open to everybody (write, read); 1 more cl" in listed
    assert f"still open, archived by {archiver};" in listed
    for said in (message.subject, text, card, listed):
        assert "no longer open to everybody" not in said
        assert "it has ended" not in said
        assert "It is over" not in said
        assert "Closed" not in said


def test_what_was_archived_before_is_said_when_the_rest_is_closed() -> None:
    text = one_line(CASES["archived_before"]("en"))

    assert "no longer open to everybody; 1 archived, still open" in text
    assert "1 finding archived before and still open: AWS 999988887777." in text
    assert "it has ended" not in text


def test_of_an_unwatched_card_what_is_resolved_is_not_called_unknown() -> None:
    message = CASES["unwatched_partly"]("en")
    text = one_line(message)

    assert "perhaps still so: S3 bucket amzn-s3-demo-bucket is open to outside account" in text
    assert "No longer watched, perhaps still so (1): - account 999988887777" in text
    assert "Was open to whom, for what (1): - everybody (public)" in text
    assert "create-analyzer --analyzer-name MyAnalyzer" in text
    assert "--region eu-west-1" in text, "where the analyzer is gone"


def test_what_a_principal_still_may_is_not_called_gone() -> None:
    both = told(writing(), reading())
    gone = tell(view(reading(), ended=(writing(),), news="changed", told=both)).text
    archived = view(reading(), ended=(writing(),), how="ARCHIVED", news="changed", told=both)

    assert "Gone, while other access of theirs stays open: account 999988887777" in gone
    assert "write (s3:PutObject); condition: aws:SourceIp" in gone
    assert "No longer open" not in gone
    assert "999988887777: write (s3:PutObject); condition: aws:SourceIp =" in one_line(
        tell(archived)
    )


def test_what_is_new_is_said_with_its_condition() -> None:
    text = one_line(tell(view(writing(), reading(), news="worsened", told=told(reading()))))

    assert "write (s3:PutObject); condition: aws:SourceIp = 203.0.113.0/24." in text


def test_what_is_gone_in_one_region_and_open_in_another_is_not_called_gone() -> None:
    here, there = public(region="us-west-2"), public(region="eu-west-1", finding_id="id-2")

    text = tell(view(here, ended=(there,), news="changed", told=told(here, there))).text

    assert "- Gone in eu-west-1, still so elsewhere: S3 bucket" in text
    assert "No longer open" not in text


def test_what_the_analyzer_is_denied_to_look_at_is_not_called_gone() -> None:
    """AWS resolves what is open then, and says instead that it could not look."""
    error: Any = {"error": "ACCESS_DENIED", "principal": (), "actions": (), "is_public": None}
    denied, elsewhere = public(**error), public(**error, region="eu-west-1")

    text = one_line(tell(view(denied, ended=(old(),), news="changed", told=told(old()))))
    assert "No longer watched, so nobody knows: S3 bucket" in text
    assert "No longer open" not in text

    text = one_line(tell(view(elsewhere, ended=(old(),), news="changed", told=told(old()))))
    assert "No longer open to account" in text


def test_an_unwatched_card_is_not_called_over_though_what_nobody_knows_could_not_be_read() -> None:
    message = tell(view(ended=(old(),), news="unwatched", told=told(old())))

    assert "do not take it for closed" in message.text
    assert "It is over" not in message.text


def test_an_archived_finding_is_no_partial_fix() -> None:
    twelve, five = unused(12, 340), unused(5, 91, finding_id="id-2")

    text = tell(view(five, ended=(twelve,), how="ARCHIVED", news="changed", told=told(twelve))).text

    assert "Partly fixed" not in text
    assert "- Still open, archived by somebody unknown: IAM role" in text


def test_another_access_under_the_same_id_is_said() -> None:
    before = old(condition=(("aws:SourceVpce", "vpce-1"),))
    after = old(actions=("s3:GetObject", "s3:ListBucket"))

    text = one_line(tell(view(after, news="changed", told=told(before))))

    assert "Other than it was: open to account 999988887777" in text
    assert "s3:ListBucket); condition: none." in text


def test_findings_beyond_those_a_card_names_are_counted() -> None:
    of = view(old(), more_open={"high": 3, "low": 40})
    text = one_line(tell(of))

    assert "43 more findings are open on it than this message can name." in text
    assert "44 findings, such as" in text
    assert ", and 43 more" in one_line(
        digest_message([of], owner=None, language="en", place=PLACE, now=NOW)
    )


def test_unwatched_is_never_called_closed() -> None:
    message = CASES["unwatched"]("en")

    assert "Nobody knows whether it is still so" in one_line(message)
    assert "Closed" not in message.text
    assert "不明" in CASES["unwatched"]("ja").subject


def test_what_was_perhaps_told_before_says_so_on_top() -> None:
    for language, begins in (("en", "Perhaps told before: "), ("ja", "以前にお知らせ済みの可能性")):
        message = tell(view(old()), language, perhaps_told=True)
        assert message.text.startswith(begins)
        assert message.facts["perhaps_told"] is True
        assert message.card is not None
        assert message.card["content"]["description"].startswith(begins)


# --- what to do -----------------------------------------------------------------------------------


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("exposure", ["public", "outside", "federated"])
@pytest.mark.parametrize("resource_type", TYPES)
def test_each_type_says_what_to_do_and_it_fits_a_card(
    resource_type: str, exposure: Any, language: str
) -> None:
    found = old(resource_type=resource_type, exposure=exposure, is_public=exposure == "public")

    message = tell(view(found), language)

    assert_well_formed(message, language)
    assert message.card is not None
    steps = message.card["content"]["nextSteps"]
    assert len(steps) == 4
    assert_commands_fit(steps, language)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", sorted(CASES))
def test_no_step_of_ours_is_too_long_for_a_card(name: str, language: str) -> None:
    message = CASES[name](language)

    assert message.card is not None
    numbered = re.findall(r"^(\d)\. ", message.text, re.MULTILINE)
    steps = message.card["content"]["nextSteps"]
    assert len(steps) >= min(STEPS_LIMIT, len(numbered))
    assert_commands_fit(steps, language)


def assert_commands_fit(steps: list[str], language: str) -> None:
    """Check that each step is there as it was written, with its command."""
    for step in steps:
        assert len(step.encode()) <= NEXT_STEP_LIMIT
        assert not step.endswith(("...", TEXTS.text("command_below", language))), step


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("verdict", ["ready", "review", "refused"])
@pytest.mark.parametrize(
    "name",
    ["R" * 64, f"aws-reserved/sso.amazonaws.com/eu-central-1/AWSReservedSSO_{'R' * 26}_0123abcd"],
)
def test_a_step_whose_command_is_too_long_for_a_card_is_said_without_it(
    name: str, verdict: str, language: str
) -> None:
    found = unused(12, 340, resource=f"arn:aws:iam::111122223333:role/{name}")
    key = f"proposals/111122223333/role/{name}/2026-11-21T10:00:00Z/proposal.json"
    note = proposal(
        verdict=verdict,
        proposal={"bucket": "pare-evidence-".ljust(60, "b"), "key": key},
        reasons=["The logs cover 3 of 90 days."] if verdict == "refused" else [],
    )

    message = tell(view(found, proposal=note), language)

    assert_well_formed(message, language)
    assert message.card is not None
    steps = message.card["content"]["nextSteps"]
    text, instead = TEXTS.text(f"permission_{verdict}", language), "command_below"
    assert steps[0].startswith(text)
    command = f" `aws s3 cp --recursive s3://{note['proposal']['bucket']}/"
    assert steps[0].startswith(text + command) or steps[0] == (
        f"{text} {TEXTS.text(instead, language)}"
    )
    assert steps[-1].endswith(f"`pare findings show {found.finding_id}`")
    assert len(steps) == (4 if verdict == "refused" else 3)


def test_a_step_of_a_card_says_where_its_command_is() -> None:
    key = f"proposals/111122223333/role/{'R' * 64}/2026-11-21T10:00:00Z/proposal.json"
    note = proposal(proposal={"bucket": "b" * 63, "key": key * 2})

    card = tell(view(unused(1, 2), proposal=note)).card

    assert card is not None
    assert card["content"]["nextSteps"][0] == (
        "Apply the proposed policy: it keeps everything that was used. Download it (how to read it:"
        " docs/policies.md): the last command here shows how."
    )


def test_each_type_has_its_own_advice() -> None:
    def fix(resource_type: str) -> str:
        return re.split(r"\n[123]\. ", tell(view(old(resource_type=resource_type))).text)[2]

    known = [each for each in TYPES if each != "AWS::Later::Thing"]
    assert len({fix(each) for each in known}) >= len(known) - 1


@pytest.mark.parametrize(
    ("error", "says"),
    [
        ("ACCESS_DENIED", "AWSServiceRoleForAccessAnalyzer"),
        ("INTERNAL_ERROR", "open a case with AWS Support"),
        ("SOMETHING_NEW", "Look at the finding in the Access Analyzer console"),
    ],
)
def test_an_error_says_that_nobody_knows_and_what_to_do(error: str, says: str) -> None:
    text = one_line(tell(view(sample("external_access_error", error=error))))

    assert "nobody knows whether it is open" in text
    assert says in text
    assert "pare findings archive" not in text, "nothing is known that could be meant"


@pytest.mark.parametrize(
    "name", ["a'; rm -rf ~", "$(id)", "`id`", "-x", "a b", "www.evil.example", "a\nb", "", "é"]
)
def test_no_command_has_what_a_shell_or_a_mail_program_would_take_for_more(name: str) -> None:
    found = credential("UnusedIAMUserAccessKey", resource=f"arn:aws:iam::1:user/{name}",
                       access_key_id=name, finding_id=name)  # fmt: skip

    text = tell(view(found)).text

    assert "  aws iam update-access-key --user-name NAME \\\n" in text
    assert "--access-key-id KEY --status" in text
    assert "  pare findings show ID\n" in text
    assert "  pare findings archive ID \\\n" in text


def test_a_key_without_an_id_is_asked_for() -> None:
    text = tell(view(credential("UnusedIAMUserAccessKey", access_key_id=None))).text

    assert "--access-key-id KEY" in text


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_type_that_this_version_does_not_know_is_told_as_it_is(language: str) -> None:
    for found in (
        old(access="unused", finding_type="UnusedLater", source="pare-inventory"),
        watch("LaterBlindSpot"),
    ):
        message = tell(view(found), language)

        assert_well_formed(message, language)
        assert found.finding_type in message.text


@pytest.mark.parametrize(
    ("of", "creates"),
    [
        (view(watch("AnalyzerMissing", kind="external")),
         "--analyzer-name pare --type ORGANIZATION --region eu-central-1"),
        (view(watch("AnalyzerMissing", kind="unused")),
         "--analyzer-name pare --type ORGANIZATION_UNUSED_ACCESS --region eu-central-1 "
         """--configuration '{"unusedAccess":{"unusedAccessAge":90}}'"""),
        (view(watch("AnalyzerDeleted", kind="external", analyzer="ours", findings=2)),
         "--analyzer-name ours --type ORGANIZATION --region eu-central-1"),
        (view(ended=(old(),), how="UNWATCHED", news="unwatched", told=told(old())),
         "--analyzer-name MyAnalyzer --type ORGANIZATION --region us-west-2"),
    ],
)  # fmt: skip
def test_an_analyzer_comes_back_by_a_command_and_not_by_a_deployment_alone(
    of: CardViewJson, creates: str
) -> None:
    message = tell(of)
    text = " ".join(one_line(message).replace("\\", "").split())

    assert f"aws sts get-caller-identity aws accessanalyzer create-analyzer {creates}" in text
    assert "Where the settings do not create it" in text
    assert "signed in to the hub account" in text
    assert "cdk deploy" not in text
    assert message.card is not None
    assert any(f"`aws accessanalyzer create-analyzer {creates}`" in step
               for step in message.card["content"]["nextSteps"])  # fmt: skip


def test_an_analyzer_for_unused_access_has_its_price() -> None:
    text = one_line(CASES["watch_analyzer_missing_unused"]("en"))

    assert "AWS asks 0.20 USD a month for each role and user" in text
    assert "analyzers.paid_unused_access" in text


def test_an_analyzer_that_asks_what_to_watch_has_no_ready_command() -> None:
    found = watch("AnalyzerDeleted", kind="internal", analyzer="ours", findings=2)

    text = one_line(tell(view(found)))

    assert "in Access Analyzer's console, signed in to the hub account security" in text
    assert "create-analyzer" not in text


@pytest.mark.parametrize(
    ("finding_type", "command"),
    [
        ("UnusedIAMUserAccessKey", "aws iam update-access-key"),
        ("UnusedIAMUserPassword", "aws iam delete-login-profile"),
    ],
)
def test_a_command_that_changes_an_account_says_which_and_is_checked_first(
    finding_type: str, command: str
) -> None:
    text = one_line(tell(view(credential(finding_type, access_key_id="AKIAIOSFODNN7EXAMPLE"))))

    assert "signed in to account shop-prod (111122223333) (check first)" in text
    assert f"aws sts get-caller-identity {command}" in text


@pytest.mark.parametrize(
    "resource_type", [each for each in TYPES if "`" not in each and each != "AWS::Later::Thing"]
)
def test_advice_that_names_an_aws_command_names_the_account(resource_type: str) -> None:
    text = re.split(r"\n[123]\. ", tell(view(old(resource_type=resource_type))).text)[2]

    assert ("account shop-prod (111122223333)" in " ".join(text.split())) == ("aws " in text)


@pytest.mark.parametrize("ended", [False, True])
def test_an_exemption_that_ends_is_extended_by_a_ready_command(ended: bool) -> None:
    found = watch("ExemptionExpiring", what="exemption", expires="2026-12-01", ended=ended,
                  owner="alice", reason="meant")  # fmt: skip

    text = one_line(tell(view(found)))

    assert (
        f'pare findings archive {found.finding_id} \\ --all-regions --reason "why it is meant" '
        "--expires 2027-05-21" in text
    )


def test_an_archive_rule_that_ends_is_extended_in_its_file() -> None:
    text = one_line(CASES["watch_archive_rule_ended"]("en"))

    assert "config/archive-rules.yaml" in text
    assert "pare findings archive" not in text


# --- links ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("partition", "host"),
    [
        ("aws", "console.aws.amazon.com"),
        ("aws-cn", "console.amazonaws.cn"),
        ("aws-us-gov", "console.amazonaws-us-gov.com"),
    ],
)
def test_links_are_of_the_partition(partition: str, host: str) -> None:
    place = type(PLACE)(partition, "r")

    text = tell(view(role_trust()), place=place).text

    assert f"https://{host}/iam/home#/roles/details/Deploy" in text
    assert f"https://{host}/access-analyzer/home?region=eu-west-1#/findings/details/4444" in text


def test_names_in_links_are_encoded_and_strange_ones_have_none() -> None:
    found = role_trust(resource="arn:aws:iam::111122223333:role/a+b=c,d.e@f_g-h")
    assert "/iam/home#/roles/details/a%2Bb%3Dc%2Cd.e%40f_g-h" in tell(view(found)).text

    strange = old(resource="arn:aws:s3:::a b/../&x=1#</>", finding_id="x y")
    for text in (
        tell(view(strange)).text,
        tell(view(old(region="us-west-2.evil"))).text,
        tell(view(old()), place=type(PLACE)("aws-later", "r")).text,
    ):
        assert "https://" not in text


def test_what_is_unused_has_the_page_of_its_role_or_user() -> None:
    page = "https://console.aws.amazon.com/access-analyzer/home?region=us-west-2#/unused-access-"
    path = "arn:aws:iam::111122223333:role/a b/Strange"

    assert (
        f"{page}findings?resource=arn%3Aaws%3Aiam%3A%3A111122223333%3Arole%2FFindingIntegTestFakeRole\n"
    ) in tell(view(sample("unused_permission"))).text
    assert "access-analyzer/home" not in tell(view(unused(1, 2, resource=path))).text


def test_of_internal_access_no_page_is_known() -> None:
    assert "access-analyzer/home" not in tell(view(sample("internal_access"))).text
    assert "access-analyzer/home" not in tell(view(sample("internal_access_error"))).text


def test_findings_of_our_own_have_no_page_in_access_analyzer() -> None:
    assert "access-analyzer/home" not in CASES["unused_key"]("en").text


# --- attributes and facts -------------------------------------------------------------------------


def test_subscriptions_can_filter_by_what_matters() -> None:
    assert tell(view(old())).attributes == {
        "kind": "finding",
        "news": "first_sight",
        "severity": "medium",
        "account_id": "111122223333",
        "owner": "orders@example.com",
        "finding_type": "ExternalAccess",
        "audience": ["security", "owner"],
    }
    owners = CASES["digest_owner"]("en").attributes
    assert (owners["kind"], owners["audience"]) == ("finding-digest", ["owner"])
    assert owners["owner"] == "orders@example.com"
    assert CASES["summary"]("en").attributes == {
        "kind": "finding-summary", "audience": ["security"], "severity": "critical",
    }  # fmt: skip
    assert CASES["access_preview_failed"]("en").attributes["kind"] == "preview"


def test_machines_get_the_card_and_all_its_findings() -> None:
    of = many()

    facts = tell(of).facts

    assert facts["card"] == of["card"]
    assert [each["finding_id"] for each in facts["findings"]] == [
        each["finding_id"] for each in of["findings"]
    ]
    assert (facts["kind"], facts["news"], facts["severity"]) == (
        "finding", "first_sight", "critical",
    )  # fmt: skip


def test_what_is_said_of_one_card_stays_in_one_thread() -> None:
    of = view(old())
    card = tell(of).card

    assert card is not None
    assert card["metadata"]["threadId"] == of["card"]["card_id"]


def test_the_same_card_makes_the_same_message() -> None:
    for name in CASES:
        assert CASES[name]("en") == CASES[name]("en")


# --- summary and digest ---------------------------------------------------------------------------


def lots(count: int) -> list[CardViewJson]:
    return [
        view(old(
            resource=f"arn:aws:s3:::bucket-{n:04}", finding_id=f"id-{n:04}",
            account_id=f"{100000000000 + n % 61}", account_name=f"account-{n % 61:02}",
            severity=SEVERITIES[n % 4],
        )) for n in range(count)
    ]  # fmt: skip


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_hundred_are_listed_the_gravest_first_and_the_others_counted(language: str) -> None:
    views = lots(130)

    message = summary_message(views, language=language, place=PLACE, now=NOW, perhaps_told=())

    assert_well_formed(message, language)
    assert message.text.count("pare findings show id-") == LISTED_CARDS
    ranks = [int(each) % 4 for each in re.findall("show id-([0-9]+)", message.text)]
    assert ranks == sorted(ranks, reverse=True)
    assert len(message.facts["cards"]) == 130
    listing = "s3://evidence/notifications/2026-11-22T09/all.json"
    assert message.text.count(listing) == 2
    if language == "en":
        assert "30 more are not listed above. By account:" in message.text
        assert "- external access: 30" in message.text
        assert "- and 10 more" in message.text


def test_the_order_of_cards_does_not_matter() -> None:
    views = lots(20)
    given = {"language": "en", "place": PLACE, "now": NOW, "perhaps_told": ()}

    assert summary_message(views, **given) == summary_message(views[::-1], **given)  # type: ignore[arg-type]


def test_a_digest_carries_the_verdict_of_a_proposal() -> None:
    # Without its counts: what is unused is counted in another way.
    assert "91 actions, proposal ready since" in one_line(CASES["digest"]("en"))


def test_what_was_archived_through_pare_is_not_told_as_closed() -> None:
    for told_as, words in (
        ("first_sight", "archived through Pare since. It is active again"),
        ("archived", "It was told as archived on"),
        ("unwatched", "It was told as no longer watched on"),
        ("closed", "It was told as closed on"),
    ):
        again = view(old(), news="reopened", told=told(severity=None, news=told_as))

        text = one_line(single(again)("en"))

        assert words in text
        assert ("told as closed" in text) == (told_as == "closed")


def test_the_services_that_matter_come_first() -> None:
    finding = unused(4, 40, unused_services=("athena", "glue", "iam", "kms"))

    assert re.search(r"Services: +iam, kms, athena, glue", single(view(finding))("en").text)


def test_a_blind_spot_names_the_one_way_that_holds() -> None:
    by_settings = one_line(CASES["watch_analyzer_missing_by_settings"]("en"))
    by_hand = one_line(CASES["watch_analyzer_missing"]("en"))
    unknown = one_line(single(view(watch("AnalyzerMissing", kind="external")))("en"))

    assert "create-analyzer" not in by_settings
    assert "set it to false, deploy" in by_settings
    assert "create_external_access" not in by_hand
    assert "create-analyzer" in by_hand
    assert "Where the settings do not create it" in unknown
    assert "Where they do" in unknown


def test_an_owner_hears_what_pare_is_and_whom_to_ask() -> None:
    text = one_line(CASES["digest_owner"]("en"))

    assert "without them, write to security@example.com." in text
    assert "update-access-key --user-name backup" in text
    assert "`pare` is the command" not in one_line(CASES["digest"]("en"))


def test_the_digest_of_an_owner_says_that_it_is_theirs() -> None:
    message = CASES["digest_owner"]("en")

    assert "Digest for orders@example.com" in message.subject
    assert "You are named as the owner of all of these" in message.text


def test_what_nobody_watches_any_more_is_not_among_the_closed() -> None:
    views = [
        view(ended=(old(),), how="UNWATCHED", news="unwatched", told=told(old())),
        view(ended=(old(resource="arn:aws:s3:::other"),), news="closed", told=told(old())),
    ]

    first = views[0]["card"]["card_id"]

    text = summary_message(views, language="en", place=PLACE, now=NOW, perhaps_told=[first]).text

    assert text.startswith("Perhaps told before: 1 of these")
    assert text.count("(perhaps told before)") == 1
    assert text.index("no longer watched, perhaps still so") < text.index("Closed (1)")
    assert "nobody knows whether it is still so" in text
    assert "1 medium, 1 closed" in text


def test_without_a_list_there_is_no_address() -> None:
    place = type(PLACE)("aws", "eu-west-1")

    message = summary_message(some_views(), language="en", place=place, now=NOW, perhaps_told=())

    assert "s3://" not in message.text
    assert message.facts["list"] is None


# --- previews -------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_preview_names_ten_and_counts_the_others(language: str) -> None:
    found = [would_be(principal={"AWS": f"{100000000000 + n}"}) for n in range(13)]

    message = preview_message(preview("completed"), found, language)

    assert_well_formed(message, language)
    assert message.text.count("s3:GetObject") == 10
    assert len(message.facts["findings"]) == 13


def test_a_preview_that_could_not_judge_a_resource_says_so() -> None:
    text = preview_message(preview("completed"), [would_be(error="ACCESS_DENIED")], "en").text

    assert "nobody knows, it could not be analyzed (ACCESS_DENIED)" in " ".join(text.split())


# --- text from outside ----------------------------------------------------------------------------

DOMAIN = re.compile(r"(?<![\w@/.:-])[\w-]+(\.[\w-]+)*\.[a-z]{2,}\b(?!@)")
PHISHING = "pay at login.evil.example/fix or evil.example."


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    "of",
    [
        view(old(owner=PHISHING)),
        view(old(account_name=PHISHING)),
        view(old(exposure="partner", partner=PHISHING)),
        view(old(condition=(("aws:Referer", PHISHING), ("evil.example/x", "y")))),
        view(old(unknown=(PHISHING,), principal_account_name=PHISHING, exposure="organization")),
        view(role_trust(principal=(("Federated", "login.evil.example/fix"),))),
        view(watch("ExemptionExpiring", what="exemption", reason=PHISHING, owner=PHISHING)),
        view(watch("ArchiveRuleHidesPublic", rule="evil.example", filter=PHISHING)),
        view(unused(1, 2), proposal=proposal(verdict="refused", reasons=[PHISHING])),
    ],
)  # fmt: skip
def test_no_words_from_outside_look_like_a_domain(of: CardViewJson, language: str) -> None:
    given: dict[str, Any] = {"language": language, "place": PLACE, "now": NOW}
    for message in (
        tell(of, language),
        digest_message([of], owner=PHISHING, **given),
        summary_message([of], **given),
    ):
        text = f"{message.subject}\n{message.text}"
        assert "evil.example" not in text
        found = {each[0] for each in DOMAIN.finditer(text)}
        assert found <= {"token.actions.githubusercontent.com", "sts.amazonaws.com"}, found
        assert "evil .example" in " ".join(text.split()) or "evil" not in text


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    ("resource", "shown"),
    [
        ("arn:aws:s3:::login.bank.com", "login .bank .com"),
        ("arn:aws:s3:::logs.example.com", "logs .example .com"),
        ("arn:aws:iam::111122223333:user/login.bank.com", "login .bank .com"),
        ("arn:aws:ecr:eu-west-1:111122223333:repository/bank.com/fix", "bank .com/fix"),
        ("arn:aws:sqs:eu-west-1:111122223333:pay.bank.com", "pay .bank .com"),
        ("arn:aws:sqs:eu-west-1:111122223333:orders-1.2.fifo", "orders-1.2.fifo"),
        ("arn:aws:lambda:eu-west-1:111122223333:function:orders_v2", "orders_v2"),
    ],
)
def test_the_name_of_a_resource_is_no_link_but_in_its_arn(
    resource: str, shown: str, language: str
) -> None:
    of = view(old(resource=resource))

    message = tell(of, language)
    listed = digest_message([of], owner=None, language=language, place=PLACE, now=NOW)

    assert_well_formed(message, language)
    assert shown in message.subject
    (arn,) = (line.split()[-1] for line in lines_of(message) if line.startswith("ARN:"))
    assert arn == resource, "to be copied"
    linked = re.compile(r"[\w-]\.(?:bank|example|com)\b")
    for text in (message.subject, *lines_of(message), listed.subject, *lines_of(listed)):
        said = text.replace(resource, "").replace("orders@example.com", "")
        assert not linked.search(OURS.sub("", said)), said


def test_addresses_stay_whole() -> None:
    text = one_line(tell(view(old(owner="a.b@shop.example.com"))))

    assert "Ask a.b@shop.example.com whose account" in text


FIELDS = (
    "resource", "resource_type", "account_name", "owner", "error", "finding_id", "region",
    "finding_type", "partner", "severity_rule", "access_key_id", "analyzer_arn", "access_type",
)  # fmt: skip


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("news", ["first_sight", "closed", "archived", "unwatched", "changed"])
@pytest.mark.parametrize("field", FIELDS)
def test_no_outside_text_can_forge_a_line_a_link_or_a_mention(
    field: str, news: str, language: str
) -> None:
    found = old(**{field: FORGED})
    is_open = news in {"first_sight", "changed"}
    of = view(found, news=news, told=told(open_to(1, "100000000001")), ended=(found,)) if (
        is_open) else view(ended=(found,), news=news, told=told(old()))  # fmt: skip

    message = tell(of, language)

    assert_well_formed(message, language)
    assert_one_of_each(message, language)


def assert_one_of_each(message: Message, language: str) -> None:
    begins = [line.partition(":")[0] for line in lines_of(message) if line[:1].strip()]
    if language == "en":
        assert begins.count("What to do") == 1
        assert begins.count("Owner") == 1
    else:
        assert begins.count("対応手順") + begins.count("対応") == 1
        assert begins.count("所有者") == 1


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    "changes",
    [
        {"principal": ((FORGED, FORGED),)},
        {"principal": (("AWS", json.dumps([FORGED] * 9)),)},
        {"actions": (FORGED,) * 50},
        {"unknown": tuple(f"{n} {FORGED}" for n in range(50))},
        {"condition": tuple((f"{n} {FORGED}", FORGED) for n in range(50))},
        {"access_levels": (FORGED,), "granted_through": (FORGED,) * 9},
        {"principal_account_name": FORGED},
        {"exposure": "federated", "principal": (("Federated", FORGED),)},
    ],
)
def test_no_list_from_outside_can_forge_a_line_or_flood_the_message(
    changes: dict[str, Any], language: str
) -> None:
    message = tell(view(old(**changes)), language)

    assert_well_formed(message, language)
    assert_one_of_each(message, language)
    assert len(message.text) < 7_000


@pytest.mark.parametrize("language", LANGUAGES)
def test_an_exemption_a_proposal_and_a_blind_spot_cannot_forge_anything(language: str) -> None:
    exemption: Any = {"finding_type": "ExternalAccess", "principal": {"AWS": "999988887777"},
                      "reason": FORGED, "by": FORGED, "at": FORGED, "expires": FORGED}  # fmt: skip
    of = [
        view(ended=(old(),), how="ARCHIVED", news="archived", told=told(old()),
             exemptions=[exemption]),
        view(unused(1, 2, unused_services=(FORGED,) * 20), proposal=proposal(
            verdict="refused", reasons=[FORGED] * 5)),
        *(view(watch(kind, kind=FORGED, rule=FORGED, error=FORGED, filter=FORGED, expires=FORGED,
                     reason=FORGED, status=FORGED, changed=[FORGED] * 9, name=FORGED))
          for kind in ("AnalyzerMissing", "AnalyzerNotActive", "AnalyzerDeleted", "AnalyzerUnread",
                       "RegionUnread", "ArchiveRuleHidesPublic", "ArchiveRuleDrift",
                       "ExemptionExpiring")),
    ]  # fmt: skip
    for each in of:
        message = tell(each, language)

        assert_well_formed(message, language)
        assert_one_of_each(message, language)


@pytest.mark.parametrize("language", LANGUAGES)
def test_nothing_in_a_summary_a_digest_or_a_preview_can_be_forged(language: str) -> None:
    strange = [
        view(old(resource=FORGED, account_name=FORGED, owner=FORGED, finding_id=FORGED)),
        view(old(finding_type=FORGED, resource_type=FORGED)),
        view(role_trust(principal=(("Federated", FORGED),))),
    ]
    given: dict[str, Any] = {"language": language, "place": PLACE, "now": NOW,
                             "perhaps_told": ()}  # fmt: skip
    found = preview("completed")
    found["configured_resources"] = [FORGED]
    messages = [
        summary_message(strange * 40, **given),
        digest_message(strange, owner=FORGED, **given),
        preview_message(found, [would_be(resource=FORGED, actions=[FORGED], condition={FORGED: "x"},
                                         error=error) for error in (None, FORGED)], language),
    ]  # fmt: skip
    for message in messages:
        assert_well_formed(message, language)
        begins = [line.partition(":")[0] for line in lines_of(message) if line[:1].strip()]
        assert begins.count("What to do") + begins.count("対応手順") == 1


outside = st.text(st.characters(exclude_categories=()), max_size=200)


@given(
    st.sampled_from(LANGUAGES),
    st.builds(
        old,
        resource=outside,
        resource_type=outside,
        account_name=st.none() | outside,
        owner=st.none() | outside,
        error=st.none() | outside,
        finding_id=outside,
        region=outside,
        created_at=outside,
        principal=st.lists(st.tuples(outside, outside), max_size=3).map(tuple),
        actions=st.lists(outside, max_size=3).map(tuple),
        condition=st.lists(st.tuples(outside, outside), max_size=3).map(tuple),
        unknown=st.lists(outside, max_size=3).map(tuple),
    ),
)
def test_any_text_from_outside_makes_a_message_sns_accepts(language: str, found: Finding) -> None:
    message = tell(view(found), language)

    assert message.subject.isprintable()
    assert 0 < len(message.subject) < 100
    for line in message.text.splitlines():
        assert not [c for c in line if unicodedata.category(c)[0] == "C"], line
    message.text.encode()
    assert message.card is not None
    json.dumps(message.card, ensure_ascii=False).encode()


def test_a_role_is_called_by_its_name_and_not_by_its_path() -> None:
    path = "/".join(["part"] * 100)
    found = role_trust(resource=f"arn:aws:iam::111122223333:role/{path}/TheRole")

    assert "IAM role TheRole can be assumed by" in tell(view(found)).subject
    assert ROLE.endswith("Deploy")
    assert single(view(found))("en").text.startswith("IAM role TheRole can be assumed by")
