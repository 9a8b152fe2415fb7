from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

import pytest

from lambdas.reconcile import review_watch
from lambdas.reconcile.review_watch import Output, Result, lambda_handler
from pare.errors import AwsServiceError
from pare.findings.card import card_id_of
from pare.findings.model import Finding
from pare.findings.state import how_ended
from tests.handlers.fake_aws import BUCKET, HUB, MEMBER, REGION
from tests.handlers.reconcile.conftest import BUCKET_ARN, EXECUTION, NOW, TERMS, recorded

if TYPE_CHECKING:
    from pare.aws.evidence_store import EvidenceStore
    from tests.handlers.fake_aws import FakeAws
    from tests.handlers.reconcile.conftest import Analyzer, Analyzers, Tables

UPDATE = "accessanalyzer:UpdateFindings"
PART_OF_EU: Any = {"bucket": BUCKET, "key": "findings/reconcile/daily-1/eu/part-00001.ndjson.gz"}
NOTHING: Any = {}


def of(analyzer: Analyzer, **changed: Any) -> Result:
    """What the two steps leave of an analyzer where all is well."""
    result: Any = {
        "analyzer": analyzer.item(),
        "applied": {"applied": None, "counts": {}, "error": None},
        "compared": {"differences": [], "counts": {"listed": 2}, "error": None},
        "rules_failure": NOTHING,
        "failure": NOTHING,
    }
    return cast("Result", {**result, **changed})


def review(
    context: Any,
    evidence: EvidenceStore,
    analyzers: Analyzers,
    *results: Result,
    unread: dict[str, str] | None = None,
    **terms: Any,
) -> Output:
    errors = unread or {}
    seen = {
        "partition": "aws",
        "regions": [
            {
                "region": region,
                "error": errors.get(region),
                "analyzers": [
                    each.item()
                    for each in analyzers.all
                    if each.region == region and region not in errors
                ],
            }
            for region in TERMS["governed_regions"]
        ],
    }
    watch = evidence.put_json("findings/reconcile/daily-1/seen.json", seen)
    listed: Any = {
        "analyzers": [],
        "watch": watch,
        "counts": {"regions": 2, "analyzers": 2},
        "unknown": [f"{region}: {error}" for region, error in errors.items()],
    }
    output: Output = lambda_handler(
        {
            "listed": listed,
            "results": list(results),
            "execution": EXECUTION,
            "terms": TERMS | terms,
        },
        context,
    )
    return output


def brought_in(evidence: EvidenceStore, output: Output) -> list[Finding]:
    own = [ref for ref in output["differences"] if "/watch/" in ref["key"]]
    return [Finding.from_json(row) for ref in own for row in evidence.get_ndjson_gz(ref)]


def test_where_all_is_well_there_is_nothing_but_the_differences_of_the_analyzers(
    context: Any, analyzers: Analyzers, evidence: EvidenceStore, both: Tables
) -> None:
    first, second = analyzers.all
    compared = {"differences": [PART_OF_EU], "counts": {"listed": 3, "missing": 1}, "error": None}

    output = review(context, evidence, analyzers, of(first, compared=compared), of(second))

    assert output["differences"] == [PART_OF_EU]
    assert output["unknown"] == []
    assert output["counts"] == {
        "listed": 5, "missing": 1, "blind_spots_changed": 0,
        "exemptions_ended": 0, "analyzers_deleted": 0, "findings_unwatched": 0,
        "analyzers_unknown": 0,
    }  # fmt: skip


def test_a_blind_spot_is_brought_in_once_and_closed_when_it_is_gone(
    context: Any, analyzers: Analyzers, evidence: EvidenceStore, both: Tables
) -> None:
    removed = analyzers.all.pop()

    (missing,) = brought_in(evidence, review(context, evidence, analyzers))
    assert (missing.finding_type, missing.region) == ("AnalyzerMissing", "us-east-1")
    both.record(missing)
    assert brought_in(evidence, review(context, evidence, analyzers)) == []

    analyzers.all.append(removed)
    (closed,) = brought_in(evidence, review(context, evidence, analyzers))
    assert (closed.finding_id, closed.status) == (missing.finding_id, "RESOLVED")


def test_a_region_that_could_not_be_read_is_a_finding_and_closes_nothing(
    context: Any, analyzers: Analyzers, evidence: EvidenceStore, both: Tables
) -> None:
    analyzers.all.pop()
    (missing,) = brought_in(evidence, review(context, evidence, analyzers))
    both.record(missing)
    both.record(recorded(analyzers.all[0], "open"))

    output = review(
        context, evidence, analyzers, unread={REGION: "AccessDenied", "us-east-1": "AccessDenied"}
    )

    found = brought_in(evidence, output)
    assert {(each.finding_type, each.status) for each in found} == {("RegionUnread", "ACTIVE")}
    assert output["unknown"] == []  # said by List analyzers
    assert output["counts"]["findings_unwatched"] == 0


def test_findings_of_an_analyzer_that_is_gone_are_unwatched_not_closed(
    context: Any, analyzers: Analyzers, evidence: EvidenceStore, both: Tables
) -> None:
    gone = analyzers.all.pop()
    both.record(recorded(gone, "open"))
    both.record(recorded(gone, "closed", status="RESOLVED"))
    both.record(recorded(analyzers.all[0], "watched"))

    output = review(context, evidence, analyzers)

    found = {each.finding_id: each for each in brought_in(evidence, output)}
    assert how_ended(found.pop("open")) == "UNWATCHED"
    kinds = {each.finding_type: dict(each.values) for each in found.values()}
    assert kinds["AnalyzerDeleted"] == {
        "region": "us-east-1", "analyzer": "org", "kind": "external", "findings": 1,
    }  # fmt: skip
    assert kinds.keys() == {"AnalyzerDeleted", "AnalyzerMissing"}


def test_it_stays_said_that_the_analyzer_is_gone_until_another_does_its_work(
    context: Any, analyzers: Analyzers, evidence: EvidenceStore, both: Tables
) -> None:
    gone = analyzers.all.pop()
    both.record(recorded(gone, "open"))
    for each in brought_in(evidence, review(context, evidence, analyzers)):
        both.record(each, execution=f"healed-{each.finding_id}")

    assert brought_in(evidence, review(context, evidence, analyzers)) == []

    analyzers.add(region="us-east-1", name="new")
    found = brought_in(evidence, review(context, evidence, analyzers))
    assert {(each.finding_type, each.status) for each in found} == {
        ("AnalyzerDeleted", "RESOLVED"), ("AnalyzerMissing", "RESOLVED"),
    }  # fmt: skip


def test_what_hides_and_what_drifted_comes_from_the_rules_of_each_analyzer(
    context: Any, analyzers: Analyzers, evidence: EvidenceStore, both: Tables
) -> None:
    first, second = analyzers.all
    rules = evidence.put_json(
        "findings/reconcile/daily-1/rules.json",
        {
            "analyzer_arn": first.arn,
            "error": None,
            "drift": {"changed": ["pare-a"], "deleted": []},
            "hiding_public": [{"name": "quiet", "filter": "{}", "hidden": 2}],
            "foreign": ["quiet"],
            "refused": [],
        },
    )
    applied = {"applied": rules, "counts": {"rules_of_others": 1}, "error": None}

    output = review(context, evidence, analyzers, of(first, applied=applied), of(second))

    kinds = {each.finding_type for each in brought_in(evidence, output)}
    assert kinds == {"ArchiveRuleHidesPublic", "ArchiveRuleDrift"}
    assert output["counts"]["rules_of_others"] == 1


def test_what_could_not_be_compared_is_unknown(
    context: Any, analyzers: Analyzers, evidence: EvidenceStore, both: Tables
) -> None:
    first, second = analyzers.all

    output = review(
        context,
        evidence,
        analyzers,
        of(first, compared={}, failure={"Error": "ThrottledError"}, applied={},
           rules_failure={"Error": "States.Timeout"}),
        of(second, compared={"differences": [], "counts": {}, "error": "AccessDenied"},
           applied={"applied": None, "counts": {}, "error": "no such key"}),
    )  # fmt: skip

    assert output["unknown"] == [
        f"{first.arn}: not compared: ThrottledError",
        f"{first.arn}: archive rules: States.Timeout",
        f"{second.arn}: AccessDenied",
        f"{second.arn}: archive rules: no such key",
    ]
    assert output["counts"]["analyzers_unknown"] == 2


def test_what_is_unknown_is_bounded_and_says_how_much_more_there_is(
    context: Any, analyzers: Analyzers, evidence: EvidenceStore, both: Tables,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(review_watch, "MOST_UNKNOWN", 1)
    failed = [of(each, compared={}, failure={"Error": "X"}) for each in analyzers.all]
    output = review(context, evidence, analyzers, *failed)
    assert output["unknown"][1].startswith("and 1 more")


# --- Exemptions that end ---


def exempt(both: Tables, finding: Finding, expires: str) -> str:
    """Exempt a recorded finding's access on its card; return the card's id."""
    card_id = card_id_of(finding.account_id, finding.resource)
    both.cards.add_exemption(
        card_id,
        {
            "finding_type": finding.finding_type,
            "principal": dict(finding.principal),
            "reason": "the partner reads its logs",
            "by": f"arn:aws:iam::{HUB}:role/Security",
            "at": "2026-11-01T08:00:00Z",
            "expires": expires,
        },
        findings=[finding],
        now=NOW,
    )
    return card_id


def exemptions(both: Tables, card_id: str) -> list[Any]:
    card = both.cards.get(card_id)
    assert card is not None
    return [*card["exemptions"]]


@pytest.fixture
def exempted(analyzers: Analyzers, both: Tables) -> Analyzer:
    """An exempt finding, archived, beside two archived ones that the exemption is not about."""
    analyzer = analyzers.all[0]
    stranger = {"principal": (("AWS", "999988887777"),)}
    elsewhere = {"resource": "arn:aws:s3:::amzn-s3-demo-other"}
    for name, changed in (("exempt", {}), ("stranger", stranger), ("elsewhere", elsewhere)):
        resource = changed.get("resource", BUCKET_ARN)
        analyzer.plant(name, "ARCHIVED", resource=resource)
        both.record(recorded(analyzer, name, status="ARCHIVED", **changed))
    return analyzer


def test_what_an_exemption_archived_is_active_again_after_its_last_day(
    context: Any, analyzers: Analyzers, evidence: EvidenceStore, both: Tables, exempted: Analyzer
) -> None:
    card_id = exempt(both, recorded(exempted, "exempt"), "2026-11-21")

    output = review(context, evidence, analyzers)

    assert brought_in(evidence, output) == []  # it has ended: there is nothing to announce
    assert exempted.statuses() == {
        "exempt": "ACTIVE", "stranger": "ARCHIVED", "elsewhere": "ARCHIVED",
    }  # fmt: skip
    assert exemptions(both, card_id) == []


def test_on_its_last_day_an_exemption_is_announced_and_still_there(
    aws: FakeAws, context: Any, analyzers: Analyzers, evidence: EvidenceStore, both: Tables,
    exempted: Analyzer,
) -> None:  # fmt: skip
    card_id = exempt(both, recorded(exempted, "exempt"), "2026-11-22")

    (announced,) = brought_in(evidence, review(context, evidence, analyzers))

    assert (announced.finding_type, announced.resource) == ("ExemptionExpiring", BUCKET_ARN)
    assert announced.account_id == MEMBER
    assert aws.called(UPDATE) == []
    assert exemptions(both, card_id) != []


def test_a_run_that_broke_off_does_the_rest_again(
    aws: FakeAws, context: Any, analyzers: Analyzers, evidence: EvidenceStore, both: Tables,
    exempted: Analyzer,
) -> None:  # fmt: skip
    card_id = exempt(both, recorded(exempted, "exempt"), "2026-11-21")
    update = aws._answers.pop(UPDATE)
    aws.fail(UPDATE, "InternalServerException", 500)
    with pytest.raises(AwsServiceError):
        review(context, evidence, analyzers)
    assert exemptions(both, card_id) != []
    aws._answers[UPDATE] = update

    review(context, evidence, analyzers)

    assert exempted.statuses()["exempt"] == "ACTIVE"
    assert exemptions(both, card_id) == []


def test_an_exemption_does_not_end_while_a_region_cannot_be_read(
    context: Any, analyzers: Analyzers, evidence: EvidenceStore, both: Tables, exempted: Analyzer
) -> None:
    """What it archived there would stay archived for ever."""
    card_id = exempt(both, recorded(exempted, "exempt"), "2026-11-21")
    review(context, evidence, analyzers, unread={"us-east-1": "AccessDenied"})
    assert exempted.statuses()["exempt"] == "ACTIVE"
    assert exemptions(both, card_id) != []


def test_a_finding_of_our_own_is_open_again_when_its_exemption_ends(
    context: Any, analyzers: Analyzers, evidence: EvidenceStore, both: Tables
) -> None:
    analyzers.all.pop()
    (missing,) = brought_in(evidence, review(context, evidence, analyzers))
    missing = replace(missing, updated_at="2026-11-21T09:00:00Z", created_at="2026-11-21T09:00:00Z")
    both.record(missing)
    card_id = exempt(both, missing, "2026-11-21")

    found = brought_in(evidence, review(context, evidence, analyzers))

    (again,) = [each for each in found if each.finding_id == missing.finding_id]
    assert (again.status, again.created_at) == ("ACTIVE", "2026-11-21T09:00:00Z")
    assert datetime.fromisoformat(again.updated_at) == NOW
    both.record(again, execution="healed")
    card = both.cards.get(card_id)
    assert card is not None
    assert list(card["open"]) == [missing.finding_id]


def test_one_of_the_inventory_is_too(
    context: Any, analyzers: Analyzers, evidence: EvidenceStore, both: Tables
) -> None:
    role = recorded(
        analyzers.all[0], "unused", finding_type="UnusedIAMRole", access="unused",
        analyzer_arn="pare:inventory", source="pare-inventory", principal=(),
        resource=f"arn:aws:iam::{MEMBER}:role/Old", resource_type="AWS::IAM::Role",
    )  # fmt: skip
    other = replace(role, finding_id="other", resource=f"arn:aws:iam::{MEMBER}:role/Other")
    for each in (role, other):
        both.record(each)
    exempt(both, role, "2026-11-21")

    found = brought_in(evidence, review(context, evidence, analyzers))

    assert [each.finding_id for each in found if each.access == "unused"] == ["unused"]


def test_the_end_of_an_exemption_is_no_blind_spot_any_more(
    context: Any, analyzers: Analyzers, evidence: EvidenceStore, both: Tables, exempted: Analyzer
) -> None:
    card_id = exempt(both, recorded(exempted, "exempt"), "2026-11-22")
    (announced,) = brought_in(evidence, review(context, evidence, analyzers))
    both.record(announced, execution="healed")
    both.cards.end_exemption(
        card_id, finding_type="ExternalAccess", principal={"AWS": "555566667777"}, now=NOW
    )

    (closed,) = brought_in(evidence, review(context, evidence, analyzers))

    assert (closed.finding_id, closed.status) == (announced.finding_id, "RESOLVED")
