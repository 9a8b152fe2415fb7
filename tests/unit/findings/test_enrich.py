from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest

from pare.errors import (
    ArnParseError,
    AwsCallError,
    AwsServiceError,
    MemberAccountError,
    PareError,
    PrincipalNotFoundError,
    ThrottledError,
)
from pare.findings.enrich import enrich
from tests.recorded import finding

if TYPE_CHECKING:
    from pare.findings.model import Finding

FAILURES = [AwsCallError, ArnParseError, MemberAccountError, PrincipalNotFoundError]
PASSING = [AwsServiceError, ThrottledError]


def unused(service: str, *actions: str) -> dict[str, Any]:
    """Return an entry of findingDetails as GetFindingV2 sends it."""
    details: dict[str, Any] = {"serviceNamespace": service}
    if actions:
        details["actions"] = [{"action": f"{service}:{name}"} for name in actions]
    return {"unusedPermissionDetails": details}


@dataclass
class Readers:
    """Three readers that answer from memory, or fail; each call is kept."""

    name: str | None = "shop-prod"
    found: list[dict[str, Any]] | PareError = field(default_factory=list)
    tagged: dict[str, str] | PareError = field(default_factory=dict)
    calls: list[tuple[str, ...]] = field(default_factory=list)

    def account_name(self, account_id: str) -> str | None:
        self.calls.append(("account_name", account_id))
        return self.name

    def details(self, analyzer_arn: str, finding_id: str) -> list[dict[str, Any]]:
        self.calls.append(("details", analyzer_arn, finding_id))
        if isinstance(self.found, PareError):
            raise self.found
        return self.found

    def tags(self, arn: str) -> dict[str, str]:
        self.calls.append(("tags", arn))
        if isinstance(self.tagged, PareError):
            raise self.tagged
        return self.tagged

    def enrich(self, found: Finding, default_owner: str | None = None) -> Finding:
        return enrich(
            found,
            account_name=self.account_name,
            details=self.details,
            tags=self.tags,
            owner_tag_keys=("owner", "team"),
            default_owner=default_owner,
        )

    def called(self, reader: str) -> list[tuple[str, ...]]:
        return [call[1:] for call in self.calls if call[0] == reader]


def test_account_name_owner_and_wholly_unused_services_are_added() -> None:
    readers = Readers(
        tagged={"Owner": " orders@example.com "},
        found=[unused("sqs"), unused("s3", "PutObject"), unused("ec2")],
    )
    found = finding()

    enriched = readers.enrich(found)

    assert enriched == replace(
        found,
        account_name="shop-prod",
        owner="orders@example.com",
        unused_services=("ec2", "sqs"),  # s3 is in use: some of its actions are not
    )
    assert readers.called("account_name") == [(found.account_id,)]
    assert readers.called("details") == [(found.analyzer_arn, found.finding_id)]
    assert readers.called("tags") == [(found.resource,)]


def test_other_details_than_permissions_name_no_service() -> None:
    readers = Readers(found=[{"unusedIamRoleDetails": {}}, {"unusedIamUserPasswordDetails": {}}])

    assert readers.enrich(finding()).unused_services == ()


@pytest.mark.parametrize("failure", FAILURES)
def test_tags_that_cannot_be_read_leave_the_owner_unknown(failure: type[PareError]) -> None:
    enriched = Readers(tagged=failure("no way in")).enrich(finding())

    assert enriched.owner is None
    assert enriched.unknown == ("owner: no way in",)
    assert enriched.account_name == "shop-prod"


@pytest.mark.parametrize("failure", FAILURES)
def test_details_that_cannot_be_read_are_named(failure: type[PareError]) -> None:
    enriched = Readers(found=failure("no details"), tagged={"owner": "x"}).enrich(finding())

    assert enriched.unused_services == ()
    assert enriched.unknown == ("finding details: no details",)
    assert enriched.owner == "x"


def test_everything_that_fails_is_named_and_the_finding_stays() -> None:
    found = finding(unknown=("before",))
    readers = Readers(name=None, tagged=MemberAccountError("no"), found=AwsCallError("refused"))

    enriched = readers.enrich(found)

    assert enriched.unknown == (
        "before",
        "account name: Organizations did not tell",
        "owner: no",
        "finding details: refused",
    )
    assert replace(enriched, unknown=("before",)) == found


def test_the_default_owner_stands_in_where_no_tag_names_one() -> None:
    assert Readers().enrich(finding(), "security@example.com").owner == "security@example.com"
    failing = Readers(tagged=MemberAccountError("no"))
    assert failing.enrich(finding(), "security@example.com").owner == "security@example.com"
    assert Readers(tagged={"team": "a"}).enrich(finding(), "security@example.com").owner == "a"


def test_only_roles_and_users_are_asked_for_tags() -> None:
    readers = Readers(tagged={"owner": "x"})

    enriched = readers.enrich(finding("external_access"))

    assert readers.called("tags") == []
    assert enriched.owner is None
    assert enriched.unknown == ()
    assert readers.enrich(finding(resource_type="AWS::IAM::User")).owner == "x"


@pytest.mark.parametrize(
    "found",
    [
        finding("external_access"),
        finding("internal_access"),
        finding("unused_iam_role_error"),
        finding(is_deleted=True),
    ],
)
def test_details_are_read_only_where_there_are_any(found: Finding) -> None:
    readers = Readers(found=[unused("s3")])

    enriched = readers.enrich(found)

    assert readers.called("details") == []
    assert enriched.unused_services == ()


@pytest.mark.parametrize("failure", PASSING)
def test_what_is_worth_another_try_is_an_error(failure: type[PareError]) -> None:
    with pytest.raises(failure):
        Readers(tagged=failure("later")).enrich(finding())
    with pytest.raises(failure):
        Readers(found=failure("later")).enrich(finding())


def test_an_error_that_is_not_ours_is_not_swallowed() -> None:
    class Broken(Readers):
        def tags(self, arn: str) -> dict[str, str]:
            raise KeyError(arn)

    with pytest.raises(KeyError):
        Broken().enrich(finding())
