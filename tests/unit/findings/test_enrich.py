from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from pare.clock import parse_time
from pare.errors import (
    ArnParseError,
    AwsCallError,
    AwsServiceError,
    MemberAccountError,
    PareError,
    PrincipalNotFoundError,
    ThrottledError,
)
from pare.findings.compare import gone
from pare.findings.enrich import access_levels, enrich
from pare.findings.severity import severity_of
from pare.findings.state import how_ended, supersedes
from pare.policy.catalogue import load_catalogue
from tests.recorded import finding

if TYPE_CHECKING:
    from pare.findings.model import Finding
    from pare.findings.watch import AnalyzerJson

FAILURES = [AwsCallError, ArnParseError, MemberAccountError, PrincipalNotFoundError]
HUB_DEFAULT = "security@example.com"


def answer(found: Finding, *details: dict[str, Any], later: int = 0, **more: Any) -> dict[str, Any]:
    """Return an answer of GetFindingV2 about a finding, ``later`` seconds after its event."""
    moment = parse_time(found.updated_at) + timedelta(seconds=later)
    return {
        "status": found.status,
        "updatedAt": moment,
        "analyzedAt": moment,
        "findingDetails": list(details),
        **more,
    }


def raised(value: Any) -> Any:
    if isinstance(value, PareError):
        raise value
    return value


@dataclass
class AwsInMemory:
    """Readers that answer from memory, or fail; each call is kept."""

    names: dict[str, str | PareError | None] = field(default_factory=dict)
    found: dict[str, Any] | PareError | None = None
    tagged: dict[str, str] | PareError = field(default_factory=dict)
    mail: str | PareError | None = None
    there: AnalyzerJson | PareError | None = None
    calls: list[tuple[str, str]] = field(default_factory=list)

    def account_name(self, account_id: str) -> str | None:
        self.calls.append(("account_name", account_id))
        name: str | None = raised(self.names.get(account_id, "shop-prod"))
        return name

    def details(self, finding: Finding) -> dict[str, Any]:
        self.calls.append(("details", finding.finding_id))
        details: dict[str, Any] = raised(self.found or answer(finding))
        return details

    def analyzer(self, finding: Finding) -> AnalyzerJson | None:
        self.calls.append(("analyzer", finding.analyzer_arn))
        there: AnalyzerJson | None = raised(self.there)
        return there

    def tags(self, finding: Finding) -> dict[str, str]:
        self.calls.append(("tags", finding.resource))
        tags: dict[str, str] = raised(self.tagged)
        return tags

    def contact(self, account_id: str) -> str | None:
        self.calls.append(("contact", account_id))
        mail: str | None = raised(self.mail)
        return mail

    def enrich(self, found: Finding, **terms: Any) -> Finding:
        return enrich(found, readers=self, terms=terms_of(**terms), catalogue=load_catalogue())

    def called(self, reader: str) -> list[str]:
        return [what for name, what in self.calls if name == reader]


def terms_of(**terms: Any) -> Any:
    """Return of all terms those that enriching needs."""
    return {
        "owner_tag_keys": ["owner", "team"],
        "default_owner": "",
        "partner_accounts": {},
        "organization_id": "o-ours",
        "hub_account_id": "444455556666",
        **terms,
    }


def test_all_that_is_told_is_added() -> None:
    found = finding("external_access")
    aws = AwsInMemory(
        names={"999988887777": None},
        tagged={"Owner": " orders@example.com ", "stage": "prod"},
        found=answer(
            found,
            {"externalAccessDetails": {
                "action": ["s3:GetObject", "s3:PutObject"], "condition": {},
                "principal": {"AWS": "999988887777"}, "isPublic": False,
                "sources": [{"type": "POLICY"}],
            }},
        ),
    )  # fmt: skip

    enriched = aws.enrich(found)

    expected = replace(
        found,
        account_name="shop-prod",
        owner="orders@example.com",
        owner_source="tag",
        tags=(("Owner", " orders@example.com "), ("stage", "prod")),
        actions=("s3:GetObject", "s3:PutObject"),
        granted_through=("POLICY",),
        access_levels=("Read", "Write"),
        exposure="outside",
        principal_account_id="999988887777",
    )
    severity, rule = severity_of(expected)
    assert enriched == replace(expected, severity=severity, severity_rule=rule)
    assert severity == "high"
    assert aws.called("details") == [found.finding_id]
    assert aws.called("tags") == [found.resource]


def test_an_enriched_finding_enriched_again_is_the_same() -> None:
    once = AwsInMemory(tagged={"team": "a"}).enrich(finding("internal_access"))

    assert AwsInMemory(tagged={"team": "a"}).enrich(once) == once


def test_a_later_word_of_the_analyzer_is_the_one_that_is_judged() -> None:
    found = finding("external_access_error")
    aws = AwsInMemory(
        found=answer(
            found,
            {"externalAccessDetails": {"condition": {}, "principal": {"AWS": "*"},
                                       "isPublic": True, "action": ["s3:PutObject"]}},
            later=60,
        )
    )  # fmt: skip

    enriched = aws.enrich(found)

    assert (enriched.error, enriched.exposure, enriched.severity) == (None, "public", "critical")


# --- Owners ---


def test_the_accounts_contact_stands_in_where_no_tag_names_an_owner() -> None:
    aws = AwsInMemory(mail="shop@example.com")

    enriched = aws.enrich(finding(), default_owner=HUB_DEFAULT)

    assert (enriched.owner, enriched.owner_source) == ("shop@example.com", "account contact")
    assert aws.called("contact") == [finding().account_id]


def test_a_tag_saves_the_question_for_the_contact() -> None:
    aws = AwsInMemory(tagged={"team": "orders"}, mail="shop@example.com")

    enriched = aws.enrich(finding())

    assert (enriched.owner, enriched.owner_source) == ("orders", "tag")
    assert aws.called("contact") == []


@pytest.mark.parametrize("mail", [None, MemberAccountError("no way in")])
def test_the_settings_stand_in_where_the_account_names_nobody(mail: Any) -> None:
    enriched = AwsInMemory(mail=mail).enrich(finding(), default_owner=HUB_DEFAULT)

    assert (enriched.owner, enriched.owner_source) == (HUB_DEFAULT, "settings")
    assert enriched.unknown == (("contact: no way in",) if mail else ())


def test_without_any_of_them_the_owner_is_unknown() -> None:
    enriched = AwsInMemory().enrich(finding())

    assert (enriched.owner, enriched.owner_source) == (None, None)


# --- What nobody tells ---


@pytest.mark.parametrize("failure", FAILURES)
def test_everything_that_fails_is_named_and_the_finding_stays(failure: type[PareError]) -> None:
    found = finding("external_access", actions=("s3:GetObject",))
    aws = AwsInMemory(
        names={found.account_id: failure("no name"), "999988887777": failure("no answer")},
        tagged=failure("no tags"),
        found=failure("no details"),
        mail=failure("no contact"),
    )

    enriched = aws.enrich(found)

    assert enriched.unknown == (
        "finding details: no details",
        "account name: no name",
        "tags: no tags",
        "contact: no contact",
        "whether 999988887777 is an account of the organization: no answer",
    )
    assert (enriched.exposure, enriched.principal_account_id) == ("unknown", "999988887777")
    assert (enriched.status, enriched.actions) == (found.status, found.actions)
    assert (enriched.account_name, enriched.owner, enriched.tags) == (None, None, ())


def failing_at(what: str, error: PareError) -> AwsInMemory:
    failing: Any = {finding().account_id: error} if what == "names" else error
    return AwsInMemory(**{what: failing})


@pytest.mark.parametrize(
    ("what", "failure"),
    [("found", AwsServiceError),
     *((what, ThrottledError) for what in ("names", "tagged", "found", "mail"))],
)  # fmt: skip
def test_what_is_worth_another_try_is_an_error(failure: type[PareError], what: str) -> None:
    with pytest.raises(failure):
        failing_at(what, failure("later")).enrich(finding())


@pytest.mark.parametrize("what", ["names", "tagged", "mail"])
def test_a_service_beside_it_that_is_down_or_not_there_costs_no_finding(what: str) -> None:
    # GovCloud has no Account Management: the SDK makes up an address that does not exist.
    down = AwsServiceError("account:GetAlternateContact: Could not connect to the endpoint URL")

    enriched = failing_at(what, down).enrich(finding())

    assert any("Could not connect" in each for each in enriched.unknown)
    assert enriched.severity == AwsInMemory().enrich(finding()).severity


def test_an_error_that_is_not_ours_is_not_swallowed() -> None:
    class Broken(AwsInMemory):
        def tags(self, finding: Finding) -> dict[str, str]:
            raise KeyError(finding.resource)

    with pytest.raises(KeyError):
        Broken().enrich(finding())


def test_an_account_that_organizations_does_not_know_is_named() -> None:
    aws = AwsInMemory(names={finding().account_id: None})

    assert aws.enrich(finding()).unknown == ("account name: Organizations knows no such account",)


def test_a_long_reason_is_cut() -> None:
    (unknown,) = AwsInMemory(tagged=AwsCallError("x" * 10_000)).enrich(finding()).unknown

    assert len(unknown) == 500


def test_why_an_account_of_the_organization_is_unknown_is_said() -> None:
    arn = "arn:aws:access-analyzer:us-west-2:444455556666:analyzer/Org"
    found = finding("external_access", analyzer_arn=arn)
    aws = AwsInMemory(names={"999988887777": "shop-dev"})

    enriched = aws.enrich(found)

    assert (enriched.exposure, enriched.principal_account_name) == ("unknown", "shop-dev")
    (why,) = enriched.unknown
    assert why.startswith("open to whom: ")
    assert aws.enrich(enriched).unknown == (why,)


def test_of_several_principals_the_gravest_is_told_by_what_they_may_do() -> None:
    principal = (("AWS", "555566667777"), ("Service", "s3.amazonaws.com"))
    found = finding("external_access", principal=principal, actions=("s3:PutObject",))

    enriched = AwsInMemory().enrich(found, partner_accounts={"555566667777": "Auditor Ltd"})

    assert (enriched.exposure, enriched.severity) == ("partner", "medium")


def test_a_condition_that_was_taken_away_leaves_nobody_inside() -> None:
    everybody = (("AWS", "*"),)
    found = finding("external_access", principal=everybody, is_public=False,
                    condition=(("aws:PrincipalOrgID", "o-ours"),))  # fmt: skip
    details = {"condition": {}, "isPublic": False, "principal": {"AWS": "*"},
               "action": ["s3:GetObject"]}  # fmt: skip
    aws = AwsInMemory(found=answer(found, {"externalAccessDetails": details}, later=60))

    enriched = aws.enrich(found)

    assert (enriched.exposure, enriched.severity) == ("unknown", "medium")


# --- What is not asked ---


def test_a_deleted_finding_is_not_asked_for() -> None:
    aws = AwsInMemory(found=AwsCallError("not found"))

    enriched = aws.enrich(finding(is_deleted=True))

    assert aws.called("details") == []
    assert enriched.unknown == ()


ERRORS = ("external_access_error", "internal_access_error")


def analyzer_of(found: Finding, **changes: Any) -> AnalyzerJson:
    made: Any = {
        "arn": found.analyzer_arn,
        "name": "org",
        "type": "ORGANIZATION",
        "region": found.region,
        "status": "ACTIVE",
        "status_reason": None,
        "created_at": "2018-01-01T00:00:00Z",
        "managed_by": None,
        **changes,
    }
    analyzer: AnalyzerJson = made
    return analyzer


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_finding_whose_cause_is_mended_is_gone(name: str) -> None:
    deleted = finding(name, is_deleted=True)
    aws = AwsInMemory(there=analyzer_of(deleted))

    enriched = aws.enrich(deleted)

    assert how_ended(enriched) == "DELETED"
    assert aws.called("analyzer") == [deleted.analyzer_arn]
    assert (enriched.status, enriched.updated_at) == (deleted.status, deleted.updated_at)
    assert supersedes(finding(name), enriched)
    # Once more, as where the step is tried again, and nobody is asked.
    again = AwsInMemory()
    assert how_ended(again.enrich(enriched)) == "DELETED"
    assert again.called("analyzer") == []


@pytest.mark.parametrize("name", [*ERRORS, "external_access", "unused_permission"])
@pytest.mark.parametrize(
    "changes", [None, {"created_at": "2026-01-01T00:00:00Z"}, {"status": "DISABLED"}]
)
def test_what_went_with_its_analyzer_is_unwatched(
    name: str, changes: dict[str, str] | None
) -> None:
    deleted = finding(name, is_deleted=True)
    there = None if changes is None else analyzer_of(deleted, **changes)

    enriched = AwsInMemory(there=there).enrich(deleted)

    assert how_ended(enriched) == "UNWATCHED"
    assert enriched.unknown == ()


@pytest.mark.parametrize("failure", FAILURES)
def test_where_nobody_can_tell_a_deleted_finding_is_unwatched_until_reconcile(
    failure: type[PareError],
) -> None:
    deleted = finding(ERRORS[0], is_deleted=True)
    enriched = AwsInMemory(there=failure("AWS's own words")).enrich(deleted)

    assert how_ended(enriched) == "UNWATCHED"
    assert enriched.unknown == ("whether its analyzer is there: AWS's own words",)
    assert dict(enriched.values) == {}
    assert supersedes(enriched, gone(enriched, how="DELETED"))


@pytest.mark.parametrize("failure", [ThrottledError, AwsServiceError])
def test_whether_the_analyzer_is_there_is_worth_another_try(failure: type[PareError]) -> None:
    with pytest.raises(failure):
        AwsInMemory(there=failure("later")).enrich(finding(ERRORS[0], is_deleted=True))


@pytest.mark.parametrize(
    "found",
    [
        finding(),
        finding(is_deleted=True),  # AWS deletes only errors of an analyzer that is alive
        finding(status="ARCHIVED", is_deleted=True),
        finding(ERRORS[0], status="RESOLVED", is_deleted=True),  # AWS cleans up after 90 days
        gone(finding(ERRORS[0]), how="UNWATCHED"),  # reconcile has looked
        gone(finding(ERRORS[0]), how="DELETED"),
        finding(is_deleted=True, source="pare-watch", analyzer_arn="pare:watch"),
    ],
)
def test_the_analyzer_is_asked_for_only_where_that_tells_something(found: Finding) -> None:
    aws = AwsInMemory()

    assert how_ended(aws.enrich(found)) == how_ended(found)

    assert aws.called("analyzer") == []


def test_a_finding_of_the_inventory_brings_its_own_facts() -> None:
    found = finding(
        source="pare-inventory",
        analyzer_arn="pare:inventory",
        owner="orders",
        owner_source="tag",
        tags=(("team", "orders"),),
    )
    aws = AwsInMemory()

    enriched = aws.enrich(found)

    assert aws.calls == [("account_name", found.account_id)]
    assert (enriched.owner, enriched.owner_source) == ("orders", "tag")
    assert (enriched.tags, enriched.exposure) == (found.tags, "none")
    assert enriched.severity == "low"


def test_an_owner_that_the_inventory_does_not_know_is_the_accounts_contact() -> None:
    found = finding(source="pare-inventory", analyzer_arn="pare:inventory")

    assert AwsInMemory(mail="shop@example.com").enrich(found).owner == "shop@example.com"


def test_a_blind_spot_is_ours() -> None:
    found = finding(
        access="watch", finding_type="AnalyzerMissing", source="pare-watch",
        analyzer_arn="pare:watch", resource_type="AWS::AccessAnalyzer::Analyzer",
    )  # fmt: skip
    aws = AwsInMemory(mail="shop@example.com")

    enriched = aws.enrich(found, default_owner=HUB_DEFAULT)

    assert aws.calls == [("account_name", found.account_id)]
    assert (enriched.owner, enriched.owner_source) == (HUB_DEFAULT, "settings")
    assert (enriched.exposure, enriched.severity) == ("none", "high")


# --- Bounds ---


def test_tags_are_bounded_after_the_owner_is_looked_for() -> None:
    tags = {f"key{number:03}": "v" * 300 for number in range(60)} | {"team": "o" * 300}

    enriched = AwsInMemory(tagged=tags).enrich(finding())

    assert len(enriched.tags) == 50
    assert {len(value) for _, value in enriched.tags} == {256}
    assert enriched.owner == "o" * 256


# --- Access levels ---


@pytest.mark.parametrize(
    ("actions", "levels"),
    [
        ((), ()),
        (("s3:GetObject", "S3:putobject"), ("Read", "Write")),
        (("s3:PutBucketPolicy", "s3:ListBucket"), ("List", "Permissions management")),
        (("sqs:*",), ("Permissions management", "Read", "Tagging", "Write")),
        (("s3:Teleport", "nosuch:Thing", "broken"), ("unknown",)),
        (("s3:GetObject", "nosuch:*"), ("Read", "unknown")),
    ],
)
def test_access_levels_are_the_catalogues(
    actions: tuple[str, ...], levels: tuple[str, ...]
) -> None:
    assert access_levels(finding("external_access", actions=actions), load_catalogue()) == levels


def test_unused_access_grants_nothing_anew() -> None:
    assert access_levels(finding(actions=("s3:PutObject",)), load_catalogue()) == ()
