from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pare.findings.exposure import OpenTo, open_to
from tests.recorded import finding

if TYPE_CHECKING:
    from pare.findings.model import Finding

OWN = "111122223333"  # of the recorded finding's resource
MEMBER, STRANGER, PARTNER, SILENT = "222233334444", "999988887777", "555566667777", "000011112222"
ORGANIZATION = "o-ours"
HUB = "444455556666"
OF_THE_ORGANIZATION = f"arn:aws:access-analyzer:us-west-2:{HUB}:analyzer/Org"


@dataclass
class Organizations:
    asked: list[str] = field(default_factory=list)

    def is_member(self, account_id: str) -> bool | None:
        self.asked.append(account_id)
        return {OWN: True, MEMBER: True, SILENT: None}.get(account_id, False)


def opened(found: Finding, organizations: Organizations | None = None) -> OpenTo:
    return open_to(
        found,
        is_member=(organizations or Organizations()).is_member,
        partner_accounts={PARTNER: "Auditor Ltd"},
        organization_id=ORGANIZATION,
        hub_account_id=HUB,
    )


def external(
    principal: dict[str, str], condition: dict[str, str] | None = None, **changes: Any
) -> Finding:
    return finding(
        "external_access",
        **{
            "principal": tuple(sorted(principal.items())),
            "condition": tuple(sorted((condition or {}).items())),
            "is_public": False,
            **changes,
        },
    )


@pytest.mark.parametrize(
    ("account_id", "expected"),
    [
        (STRANGER, OpenTo("outside", STRANGER)),
        (MEMBER, OpenTo("organization", MEMBER)),
        (PARTNER, OpenTo("partner", PARTNER, "Auditor Ltd")),
        (OWN, OpenTo("account", OWN)),
        (SILENT, OpenTo("unknown", SILENT)),
    ],
)
@pytest.mark.parametrize(
    "principal",
    [
        "{}",
        "arn:aws:iam::{}:root",
        "arn:aws-cn:iam::{}:role/a/B",
        "arn:aws:sts::{}:assumed-role/x/y",
    ],
)
def test_an_account_is_told_from_every_form_of_a_principal(
    principal: str, account_id: str, expected: OpenTo
) -> None:
    assert opened(external({"AWS": principal.format(account_id)})) == expected


def test_a_partner_and_the_own_account_are_known_without_asking() -> None:
    organizations = Organizations()

    opened(external({"AWS": PARTNER}), organizations)
    opened(external({"AWS": OWN}), organizations)

    assert organizations.asked == []


@pytest.mark.parametrize(
    ("principal", "expected"),
    [
        ({"Federated": "accounts.google.com"}, OpenTo("federated")),
        ({"Federated": f"arn:aws:iam::{OWN}:saml-provider/Okta"}, OpenTo("federated", OWN)),
        ({"Service": "lambda.amazonaws.com"}, OpenTo("service")),
        ({"AWS": "arn:aws:iam::cloudfront:user/CloudFront Origin Access Identity E1"},
         OpenTo("unknown")),
        ({"CanonicalUser": "79a59df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47ef2be"},
         OpenTo("unknown")),
        ({"AWS": "AROAEXAMPLEEXAMPLE"}, OpenTo("unknown")),
        ({"AWS": "99998888777"}, OpenTo("unknown")),
        ({"AWS": "arn:aws:iam::*:role/x"}, OpenTo("unknown")),
        ({"Alien": "*"}, OpenTo("unknown")),
        ({"AWS": "null"}, OpenTo("unknown")),
        ({}, OpenTo("unknown")),
        ({"AWS": "http://acs.amazonaws.com/groups/global/AllUsers"}, OpenTo("public")),
        ({"CanonicalUser": "http://acs.amazonaws.com/groups/global/AuthenticatedUsers"},
         OpenTo("public")),
    ],
)  # fmt: skip
def test_other_principals(principal: dict[str, str], expected: OpenTo) -> None:
    assert opened(external(principal)) == expected


def test_public_is_what_access_analyzer_calls_public_whatever_the_principal() -> None:
    assert opened(external({"AWS": OWN}, is_public=True)) == OpenTo("public")
    assert opened(external({}, is_public=True, error="X")) == OpenTo("public")


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ({"aws:PrincipalOrgID": ORGANIZATION}, OpenTo("organization")),
        ({"AWS:PRINCIPALORGID": ORGANIZATION}, OpenTo("organization")),
        ({"aws:PrincipalOrgID": "o-theirs"}, OpenTo("outside")),
        ({"aws:PrincipalOrgID": "o-*"}, OpenTo("unknown")),
        ({"aws:PrincipalOrgID": f'["{ORGANIZATION}", "o-theirs"]'}, OpenTo("outside")),
        ({"aws:SourceAccount": STRANGER}, OpenTo("outside", STRANGER)),
        ({"aws:SourceAccount": f'["{OWN}","{MEMBER}"]'}, OpenTo("organization", MEMBER)),
        ({"kms:CallerAccount": PARTNER}, OpenTo("partner", PARTNER, "Auditor Ltd")),
        ({"aws:PrincipalArn": f"arn:aws:iam::{MEMBER}:role/x"}, OpenTo("organization", MEMBER)),
        ({"aws:PrincipalArn": "arn:aws:iam::*:role/x"}, OpenTo("unknown")),
        # The caller's own account says more than the organization of what it calls through.
        ({"aws:PrincipalAccount": STRANGER, "aws:SourceOrgID": ORGANIZATION},
         OpenTo("outside", STRANGER)),
        # One condition that says nobody leaves the word to the other: all hold at once.
        ({"aws:PrincipalArn": "*", "aws:PrincipalOrgID": ORGANIZATION}, OpenTo("organization")),
        ({}, OpenTo("unknown")),
    ],
)  # fmt: skip
def test_conditions_say_who_everybody_is(condition: dict[str, str], expected: OpenTo) -> None:
    assert opened(external({"AWS": "*"}, condition)) == expected


THROUGH_WHAT = [
    {"s3:DataAccessPointAccount": OWN},
    {"s3:DataAccessPointAccount": PARTNER},
    {"s3:DataAccessPointArn": f"arn:aws:s3:us-west-2:{MEMBER}:accesspoint/x"},
    {"aws:SourceVpc": "vpc-1"},
    {"aws:SourceVpce": "vpce-1"},
    {"aws:SourceVpcArn": f"arn:aws:ec2:us-west-2:{OWN}:vpc/vpc-1"},
    {"aws:SourceIp": "10.0.0.0/8"},
    {"aws:ViaAWSService": "true"},
]


@pytest.mark.parametrize("condition", THROUGH_WHAT)
def test_that_it_is_through_our_own_says_not_who_comes(condition: dict[str, str]) -> None:
    assert opened(external({"AWS": "*"}, condition)) == OpenTo("unknown")
    assert opened(external({"AWS": "*"}, condition, is_public=True)) == OpenTo("public")


def test_an_analyzer_of_the_organization_reports_nothing_that_is_inside() -> None:
    """An account says who it is; what it says contradicts the analyzer."""
    changes: dict[str, Any] = {"analyzer_arn": OF_THE_ORGANIZATION}
    inside: list[tuple[dict[str, str], dict[str, str], str | None]] = [
        ({"AWS": MEMBER}, {}, MEMBER),
        ({"AWS": OWN}, {}, OWN),
        ({"AWS": "*"}, {"aws:PrincipalOrgID": ORGANIZATION}, None),
        ({"AWS": "*"}, {"aws:SourceAccount": OWN}, OWN),
    ]
    for principal, condition, account_id in inside:
        result = opened(external(principal, condition, **changes))
        assert (result.exposure, result.account_id) == ("unknown", account_id)
        assert "inside the organization" in str(result.doubt)
    for account_id, exposure in ((STRANGER, "outside"), (PARTNER, "partner"), (SILENT, "unknown")):
        result = opened(external({"AWS": account_id}, **changes))
        assert (result.exposure, result.doubt) == (exposure, None)


@pytest.mark.parametrize(
    ("analyzer_account", "resource_account", "exposure"),
    [
        (OWN, OWN, "organization"),  # an analyzer of the account itself
        (HUB, OWN, "unknown"),
        (STRANGER, OWN, "unknown"),  # none of an account sees another account
        (HUB, HUB, "unknown"),  # may be either: the organization's is the one Pare requires
        ("", OWN, "unknown"),
    ],
)
def test_whose_analyzer_it_is_is_told_by_its_account_and_the_resources(
    analyzer_account: str, resource_account: str, exposure: str
) -> None:
    found = external(
        {"AWS": MEMBER},
        analyzer_arn=f"arn:aws:access-analyzer:us-west-2:{analyzer_account}:analyzer/x",
        account_id=resource_account,
    )
    assert opened(found).exposure == exposure


def test_internal_access_is_inside_whosever_analyzer_it_is() -> None:
    found = finding("internal_access", analyzer_arn=OF_THE_ORGANIZATION)
    assert opened(found) == OpenTo("account", OWN)


def test_everybody_without_any_condition_is_public_where_nobody_denies_it() -> None:
    assert opened(external({"AWS": "*"}, is_public=None)) == OpenTo("public")
    found = external({"AWS": "*"}, {"aws:SourceVpc": "vpc-1"}, is_public=None)
    assert opened(found) == OpenTo("unknown")


def test_a_condition_that_keeps_to_the_organization_narrows_no_named_stranger() -> None:
    found = external({"AWS": STRANGER}, {"aws:PrincipalOrgID": ORGANIZATION})

    assert opened(found) == OpenTo("outside", STRANGER)


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ({"aws:SourceAccount": STRANGER}, OpenTo("outside", STRANGER)),
        ({"aws:SourceAccount": OWN}, OpenTo("service", OWN)),
        ({"aws:SourceArn": "arn:aws:s3:::bucket"}, OpenTo("service")),
        ({"aws:SourceAccount": SILENT}, OpenTo("unknown", SILENT)),
        ({"aws:SourceOrgID": ORGANIZATION}, OpenTo("service")),
        ({"aws:SourceVpc": "vpc-1"}, OpenTo("service")),
    ],
)
def test_a_service_may_act_for_a_stranger(condition: dict[str, str], expected: OpenTo) -> None:
    assert opened(external({"Service": "s3.amazonaws.com"}, condition)) == expected


def test_the_gravest_of_several_principals_counts() -> None:
    found = external({"AWS": f'["{OWN}", "{STRANGER}"]', "Service": "s3.amazonaws.com"})

    assert opened(found) == OpenTo("outside", STRANGER)


@pytest.mark.parametrize(
    ("levels", "condition", "exposure"),
    [
        (("Write",), {}, "partner"),  # both medium: who has a name is named
        (("Write",), {"aws:SourceAccount": OWN}, "partner"),  # medium; the service low
        (("Read",), {}, "partner"),
    ],
)
def test_a_service_hides_no_partner(
    levels: tuple[str, ...], condition: dict[str, str], exposure: str
) -> None:
    principal = {"AWS": f'["{PARTNER}"]', "Service": "s3.amazonaws.com"}
    assert opened(external(principal, condition, access_levels=levels)).exposure == exposure


def test_which_of_several_is_gravest_depends_on_what_they_may_do() -> None:
    """Nobody's order of exposures says so: a service for anybody may write, a member only reads."""
    principal = {"AWS": MEMBER, "Service": "s3.amazonaws.com"}
    bound = {"aws:SourceAccount": OWN}
    write: dict[str, Any] = {"access_levels": ("Write",)}
    assert opened(external(principal, bound, **write)).exposure == "organization"
    assert opened(external(principal, **write)).exposure == "service"


def test_a_long_list_of_accounts_is_not_asked_for_one_by_one() -> None:
    organizations = Organizations()
    listed = ",".join(f'"{number:012d}"' for number in range(300, 400))

    result = opened(external({"AWS": f"[{listed}]"}), organizations)

    assert result.exposure == "outside"
    assert len(organizations.asked) <= 10


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, OpenTo("account", OWN)),
        ({"access_type": "INTRA_ORG", "principal_account_id": MEMBER},
         OpenTo("organization", MEMBER)),
        ({"access_type": None, "principal_account_id": None}, OpenTo("account", OWN)),
        ({"access_type": None, "principal_account_id": STRANGER}, OpenTo("outside", STRANGER)),
        ({"access_type": "INTRA_GALAXY", "principal_account_id": MEMBER},
         OpenTo("organization", MEMBER)),
        ({"access_type": None, "principal_account_id": None, "principal": ()},
         OpenTo("unknown")),
    ],
)  # fmt: skip
def test_internal_access(changes: dict[str, Any], expected: OpenTo) -> None:
    assert opened(finding("internal_access", **changes)) == expected


@pytest.mark.parametrize("name", ["external_access_error", "internal_access_error"])
def test_what_could_not_be_analyzed_is_unknown(name: str) -> None:
    assert opened(finding(name)) == OpenTo("unknown")


@pytest.mark.parametrize(
    ("principal", "expected"),
    [
        ({"AWS": STRANGER}, OpenTo("outside", STRANGER)),
        ({"Federated": "accounts.google.com"}, OpenTo("federated")),
        ({"AWS": MEMBER}, OpenTo("unknown")),
        ({"AWS": PARTNER}, OpenTo("unknown")),
        ({"Service": "s3.amazonaws.com"}, OpenTo("unknown")),
    ],
)
def test_of_what_could_not_be_analyzed_only_the_worse_is_believed(
    principal: dict[str, str], expected: OpenTo
) -> None:
    assert opened(external(principal, error="ACCESS_DENIED")) == expected


@pytest.mark.parametrize("access", ["unused", "watch"])
def test_unused_access_and_blind_spots_open_nothing(access: str) -> None:
    assert opened(finding("unused_iam_role_error", access=access)) == OpenTo("none")


texts = st.text(max_size=30) | st.sampled_from(
    ["*", OWN, STRANGER, "[", "[]", '["*"]', "arn:aws:iam::1:x", "[" * 5_000, "o-x"]
)


@given(
    st.dictionaries(
        st.sampled_from(["AWS", "Service", "Federated", "X"]) | texts, texts, max_size=3
    ),
    st.dictionaries(
        st.sampled_from(["aws:PrincipalOrgID", "aws:SourceAccount", "aws:PrincipalArn"]) | texts,
        texts,
        max_size=3,
    ),
    st.sampled_from([True, False, None]),
)
def test_whatever_is_sent_has_an_exposure(
    principal: dict[str, str], condition: dict[str, str], is_public: bool | None
) -> None:
    result = opened(external(principal, condition, is_public=is_public))

    assert result.exposure != "none"
    assert result.exposure != "public" or is_public is not False or "acs." in str(principal)
