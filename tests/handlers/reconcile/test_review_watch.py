from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

import pytest

from lambdas.reconcile import review_watch
from lambdas.reconcile.review_watch import Output, Result, lambda_handler
from pare.findings.archive_rules import reactivated_key
from pare.findings.card import card_id_of
from pare.findings.compare import gone
from pare.findings.model import Finding
from pare.findings.state import how_ended
from tests.handlers.fake_aws import BUCKET, HUB, MEMBER, REGION
from tests.handlers.reconcile.conftest import BUCKET_ARN, EXECUTION, NOW, TERMS, recorded

if TYPE_CHECKING:
    from pare.aws.evidence_store import EvidenceStore
    from pare.findings.card import CardJson
    from pare.object_ref import ObjectRef
    from tests.handlers.fake_aws import FakeAws
    from tests.handlers.reconcile.conftest import Analyzer, Analyzers, Tables

UPDATE = "accessanalyzer:UpdateFindings"
EARLIER = datetime(2026, 11, 20, 9, tzinfo=UTC)
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
    seen: ObjectRef | None = None,
    **terms: Any,
) -> Output:
    errors = unread or {}
    looked = {
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
    watch = seen or evidence.put_json("findings/reconcile/daily-1/seen.json", looked)
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


def listed_before(evidence: EvidenceStore, analyzers: Analyzers) -> ObjectRef:
    """What List analyzers saw a while ago."""
    regions = [
        {
            "region": region,
            "error": None,
            "analyzers": [each.item() for each in analyzers.all if each.region == region],
        }
        for region in TERMS["governed_regions"]
    ]
    seen = {"partition": "aws", "regions": regions}
    return evidence.put_json("findings/reconcile/daily-1/seen-before.json", seen)


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
        "exemptions_ended": 0, "findings_opened_again": 0, "analyzers_deleted": 0,
        "findings_unwatched": 0, "analyzers_unknown": 0,
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


def healed(both: Tables, found: list[Finding]) -> set[tuple[str, str, Any]]:
    """Record what was brought in; return its types and statuses, and how many findings it names."""
    for each in found:
        both.record(each, execution=f"healed-{each.finding_id}-{each.status}-{each.values}")
    return {(each.finding_type, each.status, dict(each.values).get("findings")) for each in found}


def test_it_stays_said_that_the_analyzer_is_gone_until_another_has_seen_all_it_saw(
    context: Any, analyzers: Analyzers, evidence: EvidenceStore, both: Tables
) -> None:
    gone = analyzers.all.pop()
    elsewhere = {"resource": "arn:aws:s3:::amzn-s3-demo-other"}
    both.record(recorded(gone, "one"))
    both.record(recorded(gone, "two", **elsewhere))
    healed(both, brought_in(evidence, review(context, evidence, analyzers)))

    assert brought_in(evidence, review(context, evidence, analyzers)) == []

    new = analyzers.add(region="us-east-1", name="new")
    assert healed(both, brought_in(evidence, review(context, evidence, analyzers))) == {
        ("AnalyzerMissing", "RESOLVED", None)  # it has not seen anything yet
    }
    both.record(recorded(analyzers.all[0], "of another Region", **elsewhere))
    both.record(recorded(new, "of another principal", principal=(("AWS", "1"),)))
    assert brought_in(evidence, review(context, evidence, analyzers)) == []

    both.record(recorded(new, "one again"))
    assert healed(both, brought_in(evidence, review(context, evidence, analyzers))) == {
        ("AnalyzerDeleted", "ACTIVE", 1)
    }
    both.record(recorded(new, "two again", status="RESOLVED", **elsewhere))
    found = healed(both, brought_in(evidence, review(context, evidence, analyzers)))
    assert {each[:2] for each in found} == {("AnalyzerDeleted", "RESOLVED")}
    unread = review(context, evidence, analyzers, unread={"us-east-1": "AccessDenied"})
    kinds = {each.finding_type for each in brought_in(evidence, unread)}
    assert kinds == {"RegionUnread"}


def test_findings_of_an_analyzer_made_again_under_its_arn_are_missed_too(
    context: Any, analyzers: Analyzers, evidence: EvidenceStore, both: Tables
) -> None:
    analyzer = analyzers.all[0]
    both.record(recorded(analyzer, "earlier", created_at="2025-12-31T00:00:00Z", is_deleted=True))
    both.record(recorded(analyzer, "deleted by a late event", is_deleted=True, **{
        "resource": "arn:aws:s3:::amzn-s3-demo-other",
    }))  # fmt: skip

    assert healed(both, brought_in(evidence, review(context, evidence, analyzers))) == {
        ("AnalyzerDeleted", "ACTIVE", 1)
    }
    both.record(recorded(analyzer, "again"))
    assert healed(both, brought_in(evidence, review(context, evidence, analyzers))) == {
        ("AnalyzerDeleted", "RESOLVED", 1)
    }


def test_what_the_inventory_says_is_no_analyzers_word(
    context: Any, analyzers: Analyzers, evidence: EvidenceStore, both: Tables
) -> None:
    gone = analyzers.all.pop()
    unused: Any = {"access": "unused", "finding_type": "UnusedIAMRole", "principal": ()}
    both.record(recorded(gone, "unused", **unused))
    own = {"analyzer_arn": "pare:inventory", "source": "pare-inventory"}
    both.record(recorded(gone, "own", **unused, **own))

    output = review(context, evidence, analyzers, expects_unused_analyzer=True)
    found = brought_in(evidence, output)

    assert "AnalyzerDeleted" in {each.finding_type for each in found}


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
            "is_public": finding.is_public,
            "condition": dict(finding.condition),
            "severity": "critical",
            "reason": "the partner reads its logs",
            "by": f"arn:aws:iam::{HUB}:role/Security",
            "at": "2026-11-01T08:00:00Z",
            "expires": expires,
        },
        findings=[finding],
        now=EARLIER,  # while it holds
    )
    return card_id


def card_at(both: Tables, card_id: str) -> CardJson:
    card = both.cards.get(card_id)
    assert card is not None
    return card


def exemptions(both: Tables, card_id: str) -> list[Any]:
    return [*card_at(both, card_id)["exemptions"]]


def heal(both: Tables, found: list[Finding]) -> None:
    """Record what was brought in, as the executions that Start findings starts do."""
    for number, each in enumerate(found):
        both.record(each, execution=f"heal-{number}-{each.finding_id}-{each.status}")


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

    # It has ended: there is nothing to announce.
    (opened,) = brought_in(evidence, review(context, evidence, analyzers))

    assert (opened.finding_id, opened.status) == ("exempt", "ACTIVE")
    assert exempted.statuses() == {
        "exempt": "ACTIVE", "stranger": "ARCHIVED", "elsewhere": "ARCHIVED",
    }  # fmt: skip
    # Whatever becomes of it on the way to the card, the exemption is there to do it again.
    assert exemptions(both, card_id) != []
    both.record(opened, execution="healed")
    assert list(card_at(both, card_id)["open"]) == ["exempt"]
    assert brought_in(evidence, review(context, evidence, analyzers)) == []
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
    (unknown,) = review(context, evidence, analyzers)["unknown"]
    assert "InternalServerException" in unknown
    assert exemptions(both, card_id) != []
    aws._answers[UPDATE] = update

    heal(both, brought_in(evidence, review(context, evidence, analyzers)))

    assert exempted.statuses()["exempt"] == "ACTIVE"
    review(context, evidence, analyzers)
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
    both.cards.end_exemption(card_id, exemptions(both, card_id)[0], now=NOW)

    (closed,) = brought_in(evidence, review(context, evidence, analyzers))

    assert (closed.finding_id, closed.status) == (announced.finding_id, "RESOLVED")


def test_what_an_exemption_kept_quiet_and_nobody_archived_is_open_again(
    aws: FakeAws, context: Any, analyzers: Analyzers, evidence: EvidenceStore, both: Tables
) -> None:
    """That it was archived failed, say. Its time stays: what its analyzer says next is newer."""
    analyzer = analyzers.all[0]
    analyzer.plant("active")
    both.record(recorded(analyzer, "active"))
    card_id = exempt(both, recorded(analyzer, "active"), "2026-11-21")
    assert card_at(both, card_id)["open"] == {}

    found = brought_in(evidence, review(context, evidence, analyzers))

    assert [(each.finding_id, each.updated_at) for each in found] == [
        ("active", "2026-11-20T08:00:00Z")
    ]
    heal(both, found)
    assert list(card_at(both, card_id)["open"]) == ["active"]
    assert brought_in(evidence, review(context, evidence, analyzers)) == []
    assert aws.called(UPDATE) == []
    assert exemptions(both, card_id) == []


def test_what_was_set_active_and_did_not_come_back_is_brought_in_the_next_time(
    context: Any, analyzers: Analyzers, evidence: EvidenceStore, both: Tables, exempted: Analyzer
) -> None:
    """AWS need not give it a later time, so the comparison may see no difference."""
    exempt(both, recorded(exempted, "exempt"), "2026-11-21")
    exempted.findings["exempt"]["status"] = "ACTIVE"  # by a run that was lost

    (found,) = brought_in(evidence, review(context, evidence, analyzers))

    assert (found.finding_id, found.status) == ("exempt", "ACTIVE")
    heal(both, [found])
    assert (both.findings.get("exempt") or {})["status"] == "ACTIVE"


@pytest.mark.parametrize(
    ("how", "expires", "stays"),
    [("pare findings archive", None, True), ("pare findings archive", "2026-11-22", True),
     ("pare findings archive", "2026-11-21", False), ("call", None, True),
     ("exemption", "2026-11-21", False), ("archive rule gone", "2026-12-31", False)],
)  # fmt: skip
def test_what_a_person_archived_singly_stays_so_when_an_exemption_ends(
    context: Any, analyzers: Analyzers, evidence: EvidenceStore, both: Tables, exempted: Analyzer,
    how: str, expires: str | None, stays: bool,
) -> None:  # fmt: skip
    card_id = exempt(both, recorded(exempted, "exempt"), "2026-11-21")
    archived: Any = {"by": "ann", "how": how, "reason": "it is meant",
                     "at": "2026-11-20T08:00:00Z", "expires": expires}  # fmt: skip
    both.findings.set_archived("exempt", archived, cards=both.cards, now=EARLIER)

    heal(both, brought_in(evidence, review(context, evidence, analyzers)))
    review(context, evidence, analyzers)

    assert exempted.statuses()["exempt"] == ("ARCHIVED" if stays else "ACTIVE")
    assert exemptions(both, card_id) == []


@pytest.mark.parametrize(("expires", "stays"), [("2026-12-31", True), ("2026-11-21", False)])
def test_what_a_rule_of_ours_archives_stays_so_when_an_exemption_ends(
    context: Any, analyzers: Analyzers, evidence: EvidenceStore, both: Tables, exempted: Analyzer,
    expires: str, stays: bool,
) -> None:  # fmt: skip
    exempt(both, recorded(exempted, "exempt"), "2026-11-21")
    rule = {"name": "partner", "filter": {"principal.AWS": {"eq": ["555566667777"]}},
            "reason": "it reads its logs", "owner": "data", "expires": expires,
            "analyzers": ["external"], "regions": []}  # fmt: skip

    review(context, evidence, analyzers, archive_rules=[rule])

    assert exempted.statuses()["exempt"] == ("ARCHIVED" if stays else "ACTIVE")


@pytest.mark.parametrize("operation", ["ListFindingsV2", "UpdateFindings"])
def test_one_refusal_stops_neither_the_other_exemptions_nor_the_blind_spots(
    aws: FakeAws, context: Any, analyzers: Analyzers, evidence: EvidenceStore, both: Tables,
    exempted: Analyzer, operation: str,
) -> None:  # fmt: skip
    elsewhere = recorded(exempted, "elsewhere", resource="arn:aws:s3:::amzn-s3-demo-other")
    refused, allowed = (
        exempt(both, each, "2026-11-21") for each in (recorded(exempted, "exempt"), elsewhere)
    )
    answer = aws._answers.pop(f"accessanalyzer:{operation}")
    aws.fail(
        f"accessanalyzer:{operation}", "AccessDeniedException", 403,
        when=lambda asked: BUCKET_ARN in str(asked.get("filter")) or asked.get("ids") == ["exempt"],
    )  # fmt: skip
    aws._answers[f"accessanalyzer:{operation}"] += answer
    analyzers.add(name="broken", type="ORGANIZATION_INTERNAL_ACCESS", status="FAILED")

    output = review(context, evidence, analyzers)

    found = brought_in(evidence, output)
    assert {(each.finding_type, each.finding_id == "elsewhere") for each in found} == {
        ("AnalyzerNotActive", False), ("ExternalAccess", True), ("ExemptionExpiring", False),
    }  # fmt: skip
    assert all(BUCKET_ARN in each and "AccessDenied" in each for each in output["unknown"])
    assert output["unknown"]
    heal(both, found)
    review(context, evidence, analyzers)
    assert exemptions(both, refused) != []
    assert exemptions(both, allowed) == []


def test_an_exemption_waits_for_an_analyzer_that_is_disabled(
    aws: FakeAws, context: Any, analyzers: Analyzers, evidence: EvidenceStore, both: Tables,
    exempted: Analyzer,
) -> None:  # fmt: skip
    card_id = exempt(both, recorded(exempted, "exempt"), "2026-11-21")
    exempted.status = "DISABLED"

    output = review(context, evidence, analyzers)

    assert "DISABLED" in output["unknown"][0]
    assert aws.called(UPDATE) == []
    assert exemptions(both, card_id) != []


def test_nothing_is_set_active_at_an_analyzer_of_another_service(
    aws: FakeAws, context: Any, analyzers: Analyzers, evidence: EvidenceStore, both: Tables,
    exempted: Analyzer,
) -> None:  # fmt: skip
    exempt(both, recorded(exempted, "exempt"), "2026-11-21")
    exempted.managed_by = "securityhubv2.amazonaws.com"

    output = review(context, evidence, analyzers)

    assert "securityhubv2.amazonaws.com manages the analyzer" in output["unknown"][0]
    assert aws.called(UPDATE) == []


# --- Analyzers that come and go, and those the settings want no more ---


def test_findings_of_an_analyzer_that_is_newer_than_the_list_are_watched(
    context: Any, analyzers: Analyzers, evidence: EvidenceStore, both: Tables
) -> None:
    new = analyzers.all.pop()
    both.record(recorded(new, "first"))
    seen = listed_before(evidence, analyzers)
    analyzers.all.append(new)

    assert brought_in(evidence, review(context, evidence, analyzers, seen=seen)) == []


def test_what_is_recorded_after_the_analyzers_were_listed_again_is_watched_too(
    context: Any, analyzers: Analyzers, evidence: EvidenceStore, both: Tables
) -> None:
    new = analyzers.all.pop()
    later = NOW + timedelta(seconds=1)
    both.findings.record(
        recorded(new, "first"), cards=both.cards, execution="event", now=later, terms=TERMS
    )

    found = brought_in(evidence, review(context, evidence, analyzers))

    assert {each.finding_type for each in found} == {"AnalyzerMissing"}


@pytest.mark.parametrize("change", ["deleted", "made again", "disabled", "unread"])
def test_what_seems_gone_because_its_analyzer_is_gone_is_not_closed(
    aws: FakeAws, context: Any, analyzers: Analyzers, evidence: EvidenceStore, both: Tables,
    change: str,
) -> None:  # fmt: skip
    analyzer = analyzers.all[1]
    compared = gone(recorded(analyzer, "seems gone"), how="DELETED")
    rows = [compared.to_json(), recorded(analyzer, "missing").to_json()]
    key = "findings/reconcile/daily-1/us-east-1/org/part-00001.ndjson.gz"
    ref = evidence.put_ndjson_gz(key, rows)
    differences = {"differences": [ref], "counts": {"gone": 1}, "error": None}
    result = of(analyzer, compared=differences)
    both.record(recorded(analyzer, "seems gone"))
    seen = listed_before(evidence, analyzers)
    if change == "deleted":
        analyzers.all.remove(analyzer)
    elif change == "made again":
        analyzer.created_at = "2026-11-22T08:59:00Z"
    elif change == "disabled":
        analyzer.status = "DISABLED"
    else:
        denied = {"Error": {"Code": "AccessDeniedException", "Message": "no"}, "_status": 403}
        aws.mend("accessanalyzer:ListAnalyzers")
        aws.answer("accessanalyzer:ListAnalyzers", lambda _: denied)

    output = review(context, evidence, analyzers, result, seen=seen)

    assert ref not in output["differences"]
    rows = [row for each in output["differences"] for row in evidence.get_ndjson_gz(each)]
    found = [Finding.from_json(row) for row in rows]
    assert "DELETED" not in {how_ended(each) for each in found}
    assert "missing" in {each.finding_id for each in found}  # it was true when it was listed
    unwatched = {each.finding_id for each in found if how_ended(each) == "UNWATCHED"}
    assert unwatched == ({"seems gone"} if change == "deleted" else set())
    assert any("nothing of it is closed" in each for each in output["unknown"])


def test_an_analyzer_of_unused_access_that_the_settings_want_no_more_is_not_missed(
    context: Any, analyzers: Analyzers, evidence: EvidenceStore, both: Tables
) -> None:
    unused = analyzers.add(name="unused", type="ORGANIZATION_UNUSED_ACCESS")
    both.record(recorded(unused, "u", access="unused", finding_type="UnusedIAMRole"))
    analyzers.all.remove(unused)

    output = review(context, evidence, analyzers)

    (ended,) = brought_in(evidence, output)
    assert (ended.finding_id, how_ended(ended)) == ("u", "UNWATCHED")
    assert "no analyzer of unused access" in dict(ended.values)["because"]
    heal(both, [ended])
    assert brought_in(evidence, review(context, evidence, analyzers)) == []
    missed = review(context, evidence, analyzers, expects_unused_analyzer=True)
    kinds = {each.finding_type for each in brought_in(evidence, missed)}
    assert kinds == {"AnalyzerMissing", "AnalyzerDeleted"}


def test_findings_of_a_region_that_is_not_governed_any_more_are_unwatched(
    context: Any, analyzers: Analyzers, evidence: EvidenceStore, both: Tables
) -> None:
    far = analyzers.add(region="eu-west-3")
    both.record(recorded(far, "far"))

    output = review(context, evidence, analyzers)

    (ended,) = brought_in(evidence, output)
    assert (ended.finding_id, how_ended(ended)) == ("far", "UNWATCHED")
    assert output["unknown"] == [
        f"{far.arn}: 1 open findings are unwatched from now on: the Region is not governed any more"
    ]
    heal(both, [ended])
    again = review(context, evidence, analyzers)
    assert (brought_in(evidence, again), again["unknown"]) == ([], [])


# --- Analyzers that could not be read ---


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"compared": {"differences": [], "counts": {},
                       "error": "access-analyzer:ListFindings: AccessDeniedException: deny"}},
         "findings"),
        ({"compared": {}, "failure": {"Error": "States.Timeout"}}, "findings"),
        ({"applied": {"applied": None, "counts": {}, "error": "CreateArchiveRule: AccessDenied"}},
         "archive rules"),
        ({"compared": {}, "failure": {"Error": "X"},
          "applied": {}, "rules_failure": {"Error": "Y"}},
         "findings and archive rules"),
    ],
)  # fmt: skip
def test_an_analyzer_that_could_not_be_read_or_written_is_a_finding_until_it_can(
    context: Any, analyzers: Analyzers, evidence: EvidenceStore, both: Tables,
    changed: dict[str, Any], what: str,
) -> None:  # fmt: skip
    analyzer = analyzers.all[0]

    output = review(context, evidence, analyzers, of(analyzer, **changed))

    (found,) = brought_in(evidence, output)
    assert (found.finding_type, found.resource) == ("AnalyzerUnread", analyzer.arn)
    assert dict(found.values)["what"] == what
    assert output["unknown"]
    heal(both, [found])
    unread = review(context, evidence, analyzers, unread={REGION: "AccessDenied"})
    assert {each.finding_type for each in brought_in(evidence, unread)} == {"RegionUnread"}
    (closed,) = brought_in(evidence, review(context, evidence, analyzers, of(analyzer)))
    assert (closed.finding_id, closed.status) == (found.finding_id, "RESOLVED")


def test_a_list_that_was_read_and_leaves_a_few_findings_unknown_is_not_unread(
    context: Any, analyzers: Analyzers, evidence: EvidenceStore, both: Tables
) -> None:
    compared = {"differences": [], "counts": {}, "error": "3 findings are of a type unknown"}
    output = review(context, evidence, analyzers, of(analyzers.all[0], compared=compared))
    assert brought_in(evidence, output) == []
    assert "3 findings" in output["unknown"][0]


def test_what_archive_rules_set_active_is_brought_in(
    context: Any, analyzers: Analyzers, evidence: EvidenceStore, both: Tables
) -> None:
    analyzer = analyzers.all[0]
    key = reactivated_key(EXECUTION, analyzer.region, analyzer.name)
    evidence.put_ndjson_gz(key, [recorded(analyzer, "again").to_json()])
    failed = of(analyzer, applied={}, rules_failure={"Error": "States.Timeout"})

    found = brought_in(evidence, review(context, evidence, analyzers, failed))

    assert "again" in {each.finding_id for each in found}
