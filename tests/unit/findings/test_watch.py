"""Blind spots: what is said of what was seen, and what is not said of what was not."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

import pytest

from pare.findings.card import card_id_of
from pare.findings.watch import (
    WATCH,
    AppliedJson,
    Left,
    RegionJson,
    Unread,
    Watch,
    differences,
    is_about,
    sight,
)
from tests.recorded import finding

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pare.findings.card import CardJson
    from pare.findings.model import Finding
    from pare.findings.watch import AnalyzerJson

NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)
HUB, MEMBER = "222222222222", "111122223333"
BUCKET = "arn:aws:s3:::amzn-s3-demo-bucket"
TERMS: Any = {
    "hub_account_id": HUB,
    "home_region": "eu-west-1",
    "governed_regions": ["eu-west-1", "us-east-1"],
    "expects_unused_analyzer": False,
    "announce_days": 14,
    "archive_rules": [],
}


def analyzer(**changed: Any) -> AnalyzerJson:
    region, name = changed.pop("region", "eu-west-1"), changed.pop("name", "org")
    found: Any = {
        "arn": f"arn:aws:access-analyzer:{region}:{HUB}:analyzer/{name}",
        "name": name,
        "type": "ORGANIZATION",
        "region": region,
        "status": "ACTIVE",
        "status_reason": None,
        "created_at": "2026-01-01T00:00:00Z",
        "managed_by": None,
    }
    return cast("AnalyzerJson", {**found, **changed})


def region(*analyzers: AnalyzerJson, error: str | None = None) -> RegionJson:
    return {"region": "eu-west-1", "error": error, "analyzers": list(analyzers)}


def applied(**changed: Any) -> AppliedJson:
    nothing: Any = {
        "analyzer_arn": analyzer()["arn"],
        "error": None,
        "drift": {"changed": [], "deleted": []},
        "hiding_public": [],
    }
    return cast("AppliedJson", {**nothing, **changed})


def watch(
    *regions: RegionJson,
    rules: Iterable[AppliedJson] = (),
    left: Iterable[Left] = (),
    unread_analyzers: Iterable[Unread] = (),
    now: datetime = NOW,
    **terms: Any,
) -> Watch:
    seen: Any = {"partition": "aws", "regions": list(regions)}
    return Watch(seen, list(rules), list(left), TERMS | terms, now, list(unread_analyzers))


def spots(looked: Watch, *cards: CardJson) -> list[tuple[str, dict[str, Any]]]:
    return [(each.finding_type, dict(each.values)) for each in looked.blind_spots(cards)]


def card(**exemption: Any) -> CardJson:
    whole: Any = {
        "card_id": card_id_of(MEMBER, BUCKET),
        "account_id": MEMBER,
        "resource": BUCKET,
        "resource_type": "AWS::S3::Bucket",
        "exemptions": [
            {
                "finding_type": "ExternalAccess",
                "principal": {"AWS": "555566667777"},
                "is_public": False,
                "condition": {},
                "severity": "medium",
                "reason": "the partner reads its logs",
                "by": "arn:aws:iam::222222222222:role/Security",
                "at": "2026-06-01T08:00:00Z",
                "expires": "2026-12-01",
                **exemption,
            }
        ],
    }
    return whole  # type: ignore[no-any-return]


# --- What is true now ---


def test_a_region_with_a_working_analyzer_has_no_blind_spot() -> None:
    assert spots(watch(region(analyzer()))) == []


def test_a_region_without_an_analyzer_of_the_organization_is_blind() -> None:
    looked = watch(region(analyzer(type="ACCOUNT", name="own")))
    (found,) = looked.blind_spots([])
    assert (found.finding_type, dict(found.values)) == (
        "AnalyzerMissing",
        {"region": "eu-west-1", "kind": "external"},
    )
    assert found.resource == f"arn:aws:access-analyzer:eu-west-1:{HUB}:analyzer"
    assert (found.access, found.source, found.analyzer_arn) == ("watch", "pare-watch", WATCH)
    assert (found.account_id, found.created_at) == (HUB, "2026-11-22T09:00:00Z")


def test_a_missing_analyzer_says_whether_the_settings_create_it() -> None:
    created = watch(region(), creates_external_analyzer=True)
    by_hand = watch(region(), creates_external_analyzer=False)

    assert spots(created)[0][1]["by_settings"] is True
    assert spots(by_hand)[0][1]["by_settings"] is False


@pytest.mark.parametrize("status", ["DISABLED", "FAILED", "CREATING"])
def test_an_analyzer_that_does_not_work_is_said_with_its_reason(status: str) -> None:
    broken = analyzer(status=status, status_reason="AWS_SERVICE_ACCESS_DISABLED")
    assert spots(watch(region(broken))) == [
        ("AnalyzerNotActive", {"region": "eu-west-1", "analyzer": "org", "kind": "external",
                               "status": status, "reason": "AWS_SERVICE_ACCESS_DISABLED"}),
    ]  # fmt: skip


def test_an_analyzer_being_created_is_given_a_day() -> None:
    new = analyzer(status="CREATING", created_at="2026-11-21T09:00:01Z")
    assert spots(watch(region(new))) == []
    assert spots(watch(region({**new, "created_at": "2026-11-21T09:00:00Z"}))) != []


def test_one_that_does_not_work_is_no_blind_spot_beside_one_that_does() -> None:
    assert spots(watch(region(analyzer(), analyzer(name="old", status="DISABLED")))) == []


def test_a_region_that_could_not_be_read_says_only_that() -> None:
    looked = watch(region(error="AccessDenied: \x1b[31mno\nway"))
    ((kind, values),) = spots(looked)
    assert kind == "RegionUnread"
    assert values["region"] == "eu-west-1"
    assert "\x1b" not in values["error"]
    assert "\n" not in values["error"]


@pytest.mark.parametrize(
    ("expects", "regions", "is_missing"),
    [
        (True, [region(analyzer())], True),
        (False, [region(analyzer())], False),
        (True, [region(analyzer(), analyzer(name="u", type="ACCOUNT_UNUSED_ACCESS"))], False),
        (True, [region(error="no")], False),  # it may be there
    ],
)
def test_the_unused_access_analyzer_is_missed_where_the_settings_have_one(
    expects: bool, regions: list[RegionJson], is_missing: bool
) -> None:
    found = spots(watch(*regions, expects_unused_analyzer=expects))
    missed = ("AnalyzerMissing", {"region": "eu-west-1", "kind": "unused"})
    assert (missed in found) is is_missing


def test_an_analyzer_that_left_findings_is_missed_whatever_other_analyzers_there_are() -> None:
    gone = analyzer(name="gone")["arn"]
    left = [Left(gone, "external", 7)]
    told = ("AnalyzerDeleted", {"region": "eu-west-1", "analyzer": "gone", "kind": "external",
                                "findings": 7})  # fmt: skip
    assert told in spots(watch(region(), left=left))
    assert told in spots(watch(region(analyzer(status="FAILED")), left=left))
    assert spots(watch(region(analyzer()), left=left)) == [told]
    assert spots(watch(region(analyzer()))) == []


def test_the_same_access_is_seen_by_the_analyzers_of_its_region() -> None:
    found = finding("external_access")
    assert sight(found) == sight(replace(found, finding_id="other", analyzer_arn="other"))
    for changed in (
        {"region": "eu-north-1"},
        {"principal": (("AWS", "1"),)},
        {"resource": "arn:aws:s3:::other"},
        {"account_id": "999988887777"},
        {"access": "internal"},
    ):
        assert sight(found) != sight(replace(found, **changed))


def test_unused_access_is_the_same_in_every_region() -> None:
    found = finding("unused_permission")
    assert sight(found) == sight(replace(found, region="eu-north-1"))
    key = replace(found, finding_type="UnusedIAMUserAccessKey", access_key_id="AKIAONE")
    assert sight(key) != sight(replace(key, access_key_id="AKIATWO"))


def test_rules_of_others_that_hide_and_rules_of_ours_that_were_changed_are_said() -> None:
    rules = applied(
        hiding_public=[{"name": "quiet", "filter": '{"resource": …}', "hidden": 3}],
        drift={"changed": ["pare-a"], "deleted": [f"pare-{n:03}" for n in range(100)]},
    )
    hides, drifts = spots(watch(region(analyzer()), rules=[rules]))
    assert hides == ("ArchiveRuleHidesPublic", {"region": "eu-west-1", "analyzer": "org",
                     "rule": "quiet", "filter": '{"resource": …}', "hidden": 3})  # fmt: skip
    assert drifts[0] == "ArchiveRuleDrift"
    assert (drifts[1]["changed"], len(drifts[1]["deleted"])) == (["pare-a"], 20)


@pytest.mark.parametrize(
    ("expires", "is_said", "has_ended"),
    [("2026-12-07", False, None), ("2026-12-06", True, False), ("2026-11-22", True, False),
     ("2026-11-21", True, True)],
)  # fmt: skip
def test_what_ends_soon_is_announced(expires: str, is_said: bool, has_ended: bool | None) -> None:
    rule = {"name": "logs", "filter": {}, "reason": "because of it", "owner": "data",
            "expires": expires, "analyzers": ["external"], "regions": []}  # fmt: skip
    looked = watch(region(analyzer()), archive_rules=[rule])
    found = list(looked.blind_spots([card(expires=expires)]))
    assert bool(found) is is_said
    if is_said:
        of_rule, of_card = found
        assert dict(of_rule.values) == {
            "what": "archive rule", "name": "logs", "reason": "because of it", "owner": "data",
            "expires": expires, "ended": has_ended,
        }  # fmt: skip
        # The card that is quiet is the one that says so.
        assert (of_card.account_id, of_card.resource) == (MEMBER, BUCKET)
        assert dict(of_card.values)["ended"] is has_ended


def test_an_exemption_without_an_end_is_not_announced() -> None:
    assert spots(watch(region(analyzer())), card(expires=None)) == []


def test_all_have_ids_of_their_own_and_the_same_again() -> None:
    rules = applied(hiding_public=[{"name": n, "filter": "", "hidden": 0} for n in "ab"])
    looked = watch(
        region(analyzer(status="FAILED")),
        {"region": "us-east-1", "error": "no", "analyzers": []},
        rules=[rules],
    )
    cards = [card(), card(finding_type="X"), card(is_public=True), card(condition={"k": "v"})]
    ids = [each.finding_id for each in looked.blind_spots(cards)]
    assert len(ids) == len(set(ids)) == 8
    assert [each.finding_id for each in looked.blind_spots(cards)] == ids


# --- What changed ---


def known(looked: Watch, **changed: Any) -> dict[str, Finding]:
    return {each.finding_id: replace(each, **changed) for each in looked.blind_spots([])}


def test_a_blind_spot_is_brought_in_once() -> None:
    looked = watch(region())
    assert [each.status for each in differences(looked, looked.blind_spots([]), {})] == ["ACTIVE"]
    assert list(differences(looked, looked.blind_spots([]), known(looked))) == []


def test_one_that_changed_keeps_when_it_was_first_seen() -> None:
    before = watch(region(analyzer(status="FAILED")))
    later = watch(region(analyzer(status="DISABLED")), now=datetime(2026, 11, 23, tzinfo=UTC))
    (found,) = differences(later, later.blind_spots([]), known(before))
    assert (found.created_at, found.updated_at) == ("2026-11-22T09:00:00Z", "2026-11-23T00:00:00Z")


def test_one_that_is_no_longer_so_is_closed_and_one_that_is_again_is_open_again() -> None:
    blind, seeing = (
        watch(region()),
        watch(region(analyzer()), now=datetime(2026, 11, 23, tzinfo=UTC)),
    )
    (closed,) = differences(seeing, seeing.blind_spots([]), known(blind))
    assert (closed.status, closed.updated_at) == ("RESOLVED", "2026-11-23T00:00:00Z")
    assert closed.created_at == "2026-11-22T09:00:00Z"
    assert list(differences(seeing, [], {closed.finding_id: closed})) == []
    (again,) = differences(blind, blind.blind_spots([]), {closed.finding_id: closed})
    assert again.status == "ACTIVE"


def test_what_somebody_archived_stays_so_until_it_is_gone() -> None:
    blind, seeing = watch(region()), watch(region(analyzer()))
    archived = known(blind, status="ARCHIVED", values=(("region", "other"),))
    assert list(differences(blind, blind.blind_spots([]), archived)) == []
    assert [each.status for each in differences(seeing, [], archived)] == ["RESOLVED"]


def test_nothing_of_a_region_that_could_not_be_read_is_closed() -> None:
    blind = watch(region(analyzer(status="FAILED")), rules=[
        applied(hiding_public=[{"name": "quiet", "filter": "", "hidden": 0}])
    ])  # fmt: skip
    unread = watch(region(error="no"))
    found = list(differences(unread, unread.blind_spots([]), known(blind)))
    assert [each.finding_type for each in found] == ["RegionUnread"]


def test_nothing_of_rules_that_could_not_be_read_is_closed() -> None:
    drift = applied(drift={"changed": ["pare-a"], "deleted": []})
    before = known(watch(region(analyzer()), rules=[drift]))
    failed = watch(region(analyzer()), rules=[applied(error="Denied")])
    assert list(differences(failed, failed.blind_spots([]), before)) == []
    mended = watch(region(analyzer()), rules=[applied()])
    (closed,) = differences(mended, mended.blind_spots([]), before)
    assert closed.status == "RESOLVED"


def test_the_missing_unused_access_analyzer_may_be_in_a_region_that_could_not_be_read() -> None:
    before = known(watch(region(analyzer()), expects_unused_analyzer=True))
    assert len(before) == 1
    partly = watch(
        region(analyzer()),
        {"region": "us-east-1", "error": "no", "analyzers": []},
        expects_unused_analyzer=True,
    )
    found = list(differences(partly, partly.blind_spots([]), before))
    assert [each.finding_type for each in found] == ["RegionUnread"]


def test_a_region_that_can_be_read_again_closes_that() -> None:
    before = known(watch(region(error="no")))
    looked = watch(region(analyzer()))
    (closed,) = differences(looked, looked.blind_spots([]), before)
    assert (closed.finding_type, closed.status) == ("RegionUnread", "RESOLVED")


def test_an_exemption_is_about_one_access_however_grave_it_became() -> None:
    (exemption,) = card()["exemptions"]
    external = finding("external_access", principal=(("AWS", "555566667777"),))
    assert is_about(exemption, external)
    assert is_about(exemption, replace(external, severity="critical"))
    for changed in (
        {"principal": (("AWS", "1"),)},
        {"finding_type": "InternalAccess"},
        {"is_public": True},
        {"condition": (("aws:SourceVpc", "vpc-1"),)},
    ):
        assert not is_about(exemption, replace(external, **changed))


def test_an_analyzer_of_another_service_does_not_stand_in_for_the_regions_own() -> None:
    managed = analyzer(managed_by="securityhubv2.amazonaws.com")
    missing = ("AnalyzerMissing", {"region": "eu-west-1", "kind": "external"})
    assert spots(watch(region(managed))) == [missing]
    assert spots(watch(region(managed, analyzer(name="own")))) == []


def test_nothing_of_the_rules_of_an_analyzer_that_was_not_asked_is_closed() -> None:
    """It is disabled, say, so no step looked at its rules."""
    drift = applied(drift={"changed": ["pare-a"], "deleted": []})
    before = known(watch(region(analyzer()), rules=[drift]))
    broken = analyzer(status="DISABLED")
    disabled = watch(region(broken))
    found = list(differences(disabled, disabled.blind_spots([]), before))
    assert [each.finding_type for each in found] == ["AnalyzerNotActive"]
    deleted = watch(region(analyzer(name="new")), rules=[applied(analyzer_arn="another")])
    (closed,) = differences(deleted, deleted.blind_spots([]), before)
    assert closed.status == "RESOLVED"


def test_an_analyzer_that_could_not_be_read_is_said_until_it_can() -> None:
    unread = watch(region(analyzer()), unread_analyzers=[
        Unread(analyzer(), "findings", "access-analyzer:ListFindings: \x1b[31mno")])  # fmt: skip
    ((kind, values),) = spots(unread)
    assert (kind, values["what"], values["analyzer"]) == ("AnalyzerUnread", "findings", "org")
    assert "\x1b" not in values["error"]
    before = known(unread)
    blind = watch(region(error="no"))
    found = list(differences(blind, blind.blind_spots([]), before))
    assert [each.finding_type for each in found] == ["RegionUnread"]
    read = watch(region(analyzer()))
    assert [each.status for each in differences(read, [], before)] == ["RESOLVED"]
