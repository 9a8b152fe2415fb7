from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest

from lambdas.reconcile.apply_archive_rules import Output, lambda_handler
from pare.errors import AwsServiceError
from pare.findings.archive_rules import reactivated_key
from tests.handlers.reconcile.conftest import EXECUTION, NOW, TERMS, recorded

if TYPE_CHECKING:
    from pare.aws.evidence_store import EvidenceStore
    from tests.handlers.fake_aws import FakeAws
    from tests.handlers.reconcile.conftest import Analyzer, Analyzers, Tables

PARTNER = {"principal.AWS": {"eq": ["555566667777"]}}
OTHER = {"principal.AWS": {"eq": ["999988887777"]}}
APPLY, UPDATE = "accessanalyzer:ApplyArchiveRule", "accessanalyzer:UpdateFindings"
DELETE = "accessanalyzer:DeleteArchiveRule"


def rule(name: str = "partner", **changed: Any) -> dict[str, Any]:
    return {
        "name": name,
        "filter": PARTNER,
        "reason": "The partner reads its logs.",
        "owner": "data@example.com",
        "expires": "2026-12-31",
        "analyzers": ["external"],
        "regions": [],
        **changed,
    }


@pytest.fixture
def analyzer(analyzers: Analyzers, evidence: EvidenceStore, both: Tables) -> Analyzer:
    return analyzers.all[0]


_runs = itertools.count(1)


def apply(
    analyzer: Analyzer, context: Any, *rules: dict[str, Any], execution: str | None = None
) -> Output:
    """Apply the rules, in an execution of their own unless one is given."""
    terms: Any = {**TERMS, "archive_rules": list(rules)}
    output: Output = lambda_handler(
        {
            "analyzer": analyzer.item(),
            "terms": terms,
            "execution": execution or f"{EXECUTION}-{next(_runs)}",
        },
        context,
    )
    return output


def result(evidence: EvidenceStore, output: Output) -> Any:
    assert output["applied"] is not None
    return evidence.get_json(output["applied"])


# --- Rules that come ---


def test_a_rule_is_created_and_archives_what_there_is_already(
    aws: FakeAws, context: Any, analyzer: Analyzer, both: Tables
) -> None:
    for name in "abc":
        analyzer.plant(name)
        both.record(recorded(analyzer, name))
    analyzer.plant("other", **{"principal.AWS": "999988887777"})

    output = apply(analyzer, context, rule())

    assert analyzer.rules == {"pare-partner": PARTNER}
    assert analyzer.statuses() == {
        "a": "ARCHIVED", "b": "ARCHIVED", "c": "ARCHIVED", "other": "ACTIVE",
    }  # fmt: skip
    assert (output["error"], output["counts"]["rules_created"]) == (None, 1)
    assert output["counts"]["findings_archived"] == 3
    item = both.findings.get("a")
    assert item is not None
    assert item["archived"] == {
        "by": "data@example.com", "how": "archive rule partner", "at": "2026-11-22T09:00:00Z",
        "reason": "The partner reads its logs.", "expires": "2026-12-31",
    }  # fmt: skip


def test_nobody_is_told_of_what_a_rule_archived(
    context: Any, analyzer: Analyzer, both: Tables
) -> None:
    """The table knows before Access Analyzer does, so its event comes too late to be news."""
    analyzer.plant("a")
    both.record(recorded(analyzer, "a"))
    card_id = (both.findings.get("a") or {})["card_id"]
    apply(analyzer, context, rule())
    both.record(
        recorded(analyzer, "a", status="ARCHIVED", updated_at="2026-11-22T10:00:00Z"),
        execution="event",
    )
    card = both.cards.get(card_id)
    assert card is not None
    assert card["open"] == {}
    assert all(ended["by_pare"] for ended in card["ended"].values())


def test_a_rule_that_was_applied_is_not_applied_again(
    aws: FakeAws, context: Any, analyzer: Analyzer
) -> None:
    analyzer.plant("a")
    apply(analyzer, context, rule())
    analyzer.findings["a"]["status"] = "ACTIVE"  # by a person, who wants to see it

    output = apply(analyzer, context, rule())

    assert analyzer.statuses() == {"a": "ACTIVE"}
    assert len(aws.called(APPLY)) == 1
    assert output["counts"]["rules_created"] == 0


def test_a_run_that_broke_off_after_it_created_the_rule_is_ended_by_the_next(
    aws: FakeAws, context: Any, analyzer: Analyzer
) -> None:
    analyzer.plant("a")
    apply_rule = aws._answers.pop(APPLY)
    aws.fail(APPLY, "InternalServerException", 500)
    with pytest.raises(AwsServiceError):
        apply(analyzer, context, rule())
    aws._answers[APPLY] = apply_rule

    apply(analyzer, context, rule())

    assert analyzer.statuses() == {"a": "ARCHIVED"}


@pytest.mark.parametrize(
    ("changed", "kind"),
    [({"expires": "2026-11-21"}, "ORGANIZATION"), ({"regions": ["us-east-1"]}, "ORGANIZATION"),
     ({}, "ORGANIZATION_UNUSED_ACCESS"), ({"analyzers": ["internal"]}, "ORGANIZATION")],
)  # fmt: skip
def test_a_rule_is_only_where_it_should_be(
    context: Any, analyzer: Analyzer, changed: dict[str, Any], kind: str
) -> None:
    analyzer.type = kind
    apply(analyzer, context, rule(**changed))
    assert analyzer.rules == {}


# --- Rules that go ---


def test_what_a_rule_archived_is_active_again_when_it_expires(
    context: Any, analyzer: Analyzer, both: Tables
) -> None:
    for name in "abc":
        analyzer.plant(name)
    apply(analyzer, context, rule())
    analyzer.plant("gone", "RESOLVED")

    output = apply(analyzer, context, rule(expires="2026-11-21"))

    assert analyzer.rules == {}
    assert analyzer.statuses() == {"a": "ACTIVE", "b": "ACTIVE", "c": "ACTIVE", "gone": "RESOLVED"}
    assert output["counts"]["rules_deleted"] == 1
    assert output["counts"]["findings_reactivated"] == 3


@pytest.mark.parametrize("how", ["pare findings archive", "exemption", "call"])
def test_what_a_person_archived_stays(
    context: Any, analyzer: Analyzer, both: Tables, how: str
) -> None:
    analyzer.rules["pare-partner"] = PARTNER
    for name in ("by-rule", "by-person"):
        analyzer.plant(name, "ARCHIVED")
        both.record(recorded(analyzer, name, status="ARCHIVED"))
    archived: Any = {"by": "a person", "how": how, "reason": None,
                     "at": "2026-11-21T08:00:00Z", "expires": None}  # fmt: skip
    both.findings.set_archived("by-person", archived, cards=both.cards, now=NOW)

    apply(analyzer, context)

    assert analyzer.statuses() == {"by-rule": "ACTIVE", "by-person": "ARCHIVED"}


@pytest.mark.parametrize("name", ["pare-second", "by-hand"])
def test_what_another_rule_archives_too_stays(
    aws: FakeAws, context: Any, analyzer: Analyzer, name: str
) -> None:
    """Neither is it set active and archived again, which would be two events."""
    bucket = {"resourceType": {"eq": ["AWS::S3::Bucket"]}, "isPublic": {"eq": ["false"]}}
    analyzer.rules = {"pare-partner": PARTNER, name: bucket}
    analyzer.plant("a", "ARCHIVED")

    apply(analyzer, context, rule("second", filter=bucket))

    assert "pare-partner" not in analyzer.rules
    assert analyzer.statuses() == {"a": "ARCHIVED"}
    assert aws.called(UPDATE) == []


def test_a_filter_that_changed_archives_other_findings(context: Any, analyzer: Analyzer) -> None:
    analyzer.plant("old")
    analyzer.plant("new", **{"principal.AWS": "999988887777"})
    apply(analyzer, context, rule())

    output = apply(analyzer, context, rule(filter=OTHER))

    assert analyzer.rules == {"pare-partner": OTHER}
    assert analyzer.statuses() == {"old": "ACTIVE", "new": "ARCHIVED"}
    assert output["counts"]["rules_changed"] == 1


def test_a_run_that_broke_off_while_it_deleted_a_rule_is_ended_by_the_next(
    aws: FakeAws, context: Any, analyzer: Analyzer
) -> None:
    """As long as its findings are not all active, the rule is there, and with it its filter."""
    analyzer.rules["pare-partner"] = PARTNER
    for name in "abc":
        analyzer.plant(name, "ARCHIVED")
    update = aws._answers.pop(UPDATE)
    aws.fail(UPDATE, "InternalServerException", 500)
    with pytest.raises(AwsServiceError):
        apply(analyzer, context)
    assert analyzer.rules == {"pare-partner": PARTNER}
    aws._answers[UPDATE] = update

    apply(analyzer, context)

    assert analyzer.rules == {}
    assert set(analyzer.statuses().values()) == {"ACTIVE"}


def test_a_finding_that_goes_meanwhile_does_not_keep_the_others_archived(
    aws: FakeAws, context: Any, analyzer: Analyzer
) -> None:
    analyzer.rules["pare-partner"] = PARTNER
    for name in "abc":
        analyzer.plant(name, "ARCHIVED")
    (update,) = aws._answers.pop(UPDATE)

    def b_is_gone(params: dict[str, Any]) -> dict[str, Any]:
        analyzer.findings.pop("b", None)
        return dict(update.make(params))

    aws.answer(UPDATE, b_is_gone)

    output = apply(analyzer, context)

    assert analyzer.statuses() == {"a": "ACTIVE", "c": "ACTIVE"}
    assert output["counts"]["findings_reactivated"] == 2


def test_what_a_rule_archived_that_is_gone_from_there_and_from_the_file_is_active_again(
    context: Any, analyzer: Analyzer, both: Tables
) -> None:
    analyzer.plant("a")
    apply(analyzer, context, rule())
    analyzer.rules.clear()  # by a person, who took it out of the file too

    output = apply(analyzer, context)

    assert analyzer.statuses() == {"a": "ACTIVE"}
    assert output["counts"]["findings_reactivated"] == 1
    assert apply(analyzer, context)["counts"]["findings_reactivated"] == 0


def test_what_is_set_active_is_noted_for_the_review_though_aws_gives_no_later_time(
    aws: FakeAws, context: Any, analyzer: Analyzer, both: Tables, evidence: EvidenceStore
) -> None:
    analyzer.rules = {"pare-one": PARTNER, "pare-two": OTHER}
    for name, who in (("a", "555566667777"), ("b", "999988887777")):
        analyzer.plant(name, "ARCHIVED", **{"principal.AWS": who})
        both.record(recorded(analyzer, name, status="ARCHIVED"))
    analyzer.plant("not recorded", "ARCHIVED")
    aws.fail(DELETE, "InternalServerException", 500, times=1,
             when=lambda asked: asked["ruleName"] == "pare-two")  # fmt: skip
    aws._answers[DELETE].reverse()
    with pytest.raises(AwsServiceError):
        apply(analyzer, context, execution=EXECUTION)
    apply(analyzer, context, execution=EXECUTION)  # tried again: they are active by now

    key = reactivated_key(EXECUTION, analyzer.region, analyzer.name)
    rows = evidence.get_ndjson_gz({"bucket": evidence.bucket, "key": key})
    assert {row["finding_id"]: (row["status"], row["updated_at"]) for row in rows} == {
        "a": ("ACTIVE", "2026-11-22T09:00:00Z"), "b": ("ACTIVE", "2026-11-22T09:00:00Z"),
    }  # fmt: skip


# --- What others did ---


def test_of_two_runs_at_once_neither_takes_the_others_rule_for_drift(
    aws: FakeAws, context: Any, analyzer: Analyzer, evidence: EvidenceStore
) -> None:
    (listing,) = aws._answers["accessanalyzer:ListArchiveRules"]
    during: list[Output] = []

    def the_other_runs_meanwhile(params: dict[str, Any]) -> dict[str, Any]:
        before = dict(listing.make(params))
        if not during:
            during.append({"applied": None, "counts": {}, "error": None})
            during.append(apply(analyzer, context, rule()))
        return before

    aws.mend("accessanalyzer:ListArchiveRules")
    aws.answer("accessanalyzer:ListArchiveRules", the_other_runs_meanwhile)

    output = apply(analyzer, context, rule())

    for each in (during[1], output):
        assert result(evidence, each)["drift"] == {"changed": [], "deleted": []}


def test_rules_of_others_are_left_alone_and_those_that_could_hide_public_access_are_named(
    context: Any, analyzer: Analyzer, evidence: EvidenceStore
) -> None:
    buckets = {"resourceType": {"eq": ["AWS::S3::Bucket"]}}
    analyzer.rules = {"buckets": buckets, "harmless": PARTNER}
    analyzer.plant("public", "ARCHIVED", isPublic="true", **{"principal.AWS": "*"})
    analyzer.plant("shut", "ARCHIVED")

    output = apply(analyzer, context)

    assert analyzer.rules == {"buckets": buckets, "harmless": PARTNER}
    found = result(evidence, output)
    assert found["hiding_public"] == [
        {"name": "buckets", "filter": '{"resourceType": {"eq": ["AWS::S3::Bucket"]}}', "hidden": 1}
    ]
    assert found["foreign"] == ["buckets", "harmless"]
    assert output["counts"]["rules_of_others"] == 2


def test_a_rule_of_ours_that_somebody_changed_or_deleted_is_put_back_and_said(
    context: Any, analyzer: Analyzer, evidence: EvidenceStore
) -> None:
    rules = [rule("a"), rule("b"), rule("c")]
    first = apply(analyzer, context, *rules)
    assert result(evidence, first)["drift"] == {"changed": [], "deleted": []}
    analyzer.rules["pare-a"] = {"resource": {"contains": [""]}}
    del analyzer.rules["pare-b"]

    output = apply(analyzer, context, *rules)

    assert result(evidence, output)["drift"] == {"changed": ["pare-a"], "deleted": ["pare-b"]}
    assert analyzer.rules == dict.fromkeys(("pare-c", "pare-a", "pare-b"), PARTNER)
    again = apply(analyzer, context, *rules)
    assert result(evidence, again)["drift"] == {"changed": [], "deleted": []}


def test_a_step_that_is_tried_again_still_says_what_it_put_back(
    aws: FakeAws, context: Any, analyzer: Analyzer, evidence: EvidenceStore
) -> None:
    apply(analyzer, context, rule())
    analyzer.plant("a")
    del analyzer.rules["pare-partner"]
    apply_rule = aws._answers.pop(APPLY)
    aws.fail(APPLY, "InternalServerException", 500)
    with pytest.raises(AwsServiceError):
        apply(analyzer, context, rule(), execution=EXECUTION)
    aws._answers[APPLY] = apply_rule

    output = apply(analyzer, context, rule(), execution=EXECUTION)

    assert result(evidence, output)["drift"] == {"changed": [], "deleted": ["pare-partner"]}
    again = apply(analyzer, context, rule())
    assert result(evidence, again)["drift"] == {"changed": [], "deleted": []}


def test_what_came_while_a_rule_was_gone_is_archived_when_it_is_put_back(
    context: Any, analyzer: Analyzer
) -> None:
    apply(analyzer, context, rule())
    del analyzer.rules["pare-partner"]
    analyzer.plant("meanwhile")
    apply(analyzer, context, rule())
    assert analyzer.statuses() == {"meanwhile": "ARCHIVED"}


def test_what_the_file_changed_is_no_drift(
    context: Any, analyzer: Analyzer, evidence: EvidenceStore
) -> None:
    apply(analyzer, context, rule("a"), rule("b"))
    output = apply(analyzer, context, rule("a", filter=OTHER), rule("c"))
    assert result(evidence, output)["drift"] == {"changed": [], "deleted": []}


# --- What cannot be done ---


def test_a_filter_that_aws_refuses_is_said_and_stops_nothing_else(
    aws: FakeAws, context: Any, analyzer: Analyzer
) -> None:
    aws.mend("accessanalyzer:CreateArchiveRule")
    aws.fail("accessanalyzer:CreateArchiveRule", "ValidationException", message="no such key")
    output = apply(analyzer, context, rule())
    assert output["applied"] is None
    assert "no such key" in str(output["error"])


def test_an_analyzer_that_does_not_work_is_left_alone(
    aws: FakeAws, context: Any, analyzer: Analyzer
) -> None:
    analyzer.status = "DISABLED"
    output = apply(analyzer, context, rule())
    assert (output["applied"], aws.calls) == (None, [])
    assert "DISABLED" in str(output["error"])


def test_more_rules_than_aws_allows_are_said(context: Any, analyzer: Analyzer) -> None:
    analyzer.rules = {f"by-hand-{n}": PARTNER for n in range(99)}
    output = apply(analyzer, context, rule("a"), rule("b"), rule("c"))
    assert len(analyzer.rules) == 100
    assert "b, c" in str(output["error"])
    assert output["counts"]["rules_refused"] == 2
    assert output["counts"]["rules_created"] == 1


def test_where_aws_allows_more_than_a_hundred_there_are_more(
    context: Any, analyzers: Analyzers, analyzer: Analyzer
) -> None:
    analyzers.most_rules = 200
    analyzer.rules = {f"by-hand-{n}": PARTNER for n in range(120)}
    output = apply(analyzer, context, rule("a"), rule("b"))
    assert (len(analyzer.rules), output["error"]) == (122, None)


def test_an_analyzer_that_a_service_manages_is_left_alone(
    aws: FakeAws, context: Any, analyzer: Analyzer
) -> None:
    analyzer.managed_by = "securityhubv2.amazonaws.com"
    output = apply(analyzer, context, rule())
    assert (output, aws.calls) == ({"applied": None, "counts": {}, "error": None}, [])
