"""The emulated organization as data: what it holds, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from local.organization import (
    ADMINISTRATOR_ACCESS,
    Organization,
    Role,
    SeedError,
    User,
    read_organization,
    stable_id,
    trail_bucket_policy,
    trust_document,
)
from pare.policy.document import parse

if TYPE_CHECKING:
    from collections.abc import Callable

SHARED = Path(__file__).parents[4] / "shared"


@pytest.fixture(scope="module")
def organization() -> Organization:
    return read_organization()


def _role(organization: Organization, name: str) -> Role:
    found = organization.principal(name)
    assert isinstance(found, Role)
    return found


def test_the_five_accounts_have_their_parts(organization: Organization) -> None:
    assert organization.management_account.account_id == "100000000001"
    assert organization.hub_account.account_id == "200000000002"
    assert organization.log_archive_account.account_id == "300000000003"
    assert [a.name for a in organization.workload_accounts] == ["shop-prod", "data-prod"]


@pytest.mark.parametrize(
    ("name", "is_so"),
    [
        ("shop-prod/ShopCheckout", lambda r: r.managed_policy_arns == (ADMINISTRATOR_ACCESS,)),
        ("shop-prod/ShopCheckout", lambda r: r.path == "/app/" and "owner" in r.tags),
        ("shop-prod/BreakGlassAdmin", lambda r: r.tags["pare:break-glass"] == "true"),
        (
            "data-prod/AWSReservedSSO_DataEngineer_4f8e2a91bc37d605",
            lambda r: r.path == "/aws-reserved/sso.amazonaws.com/eu-west-1/",
        ),
        (
            "shop-prod/AWSServiceRoleForConfig",
            lambda r: r.path == "/aws-service-role/config.amazonaws.com/",
        ),
        (
            "shop-prod/OrderWorker",
            lambda r: r.inline_policies and r.managed_policy_arns and r.boundary_arn,
        ),
        ("shop-prod/LegacyExporter", lambda r: r.created_days_ago > 1000),
    ],
)
def test_there_is_a_role_of_each_kind(
    organization: Organization, name: str, is_so: Callable[[Role], object]
) -> None:
    assert is_so(_role(organization, name))


def test_there_is_a_user_with_an_old_key_and_one_in_a_group(organization: Organization) -> None:
    deployer = organization.principal("shop-prod/ci-deployer")
    assert isinstance(deployer, User)
    assert [(key.status, key.created_days_ago > 1000) for key in deployer.access_keys] == [
        ("Active", True),
        ("Inactive", True),
    ]
    maria = organization.principal("shop-prod/maria.jansen")
    assert isinstance(maria, User)
    groups = {group.name: group for group in organization.account("shop-prod").groups}
    assert groups[maria.groups[0]].managed_policy_arns


def test_every_policy_parses_and_every_own_policy_exists(organization: Organization) -> None:
    for account in organization.accounts:
        own = {
            f"arn:aws:iam::{account.account_id}:policy{policy.path}{policy.name}"
            for policy in account.policies
        }
        attached: list[str] = []
        documents: list[Any] = [policy.document for policy in account.policies]
        for holder in (*account.groups, *account.principals):
            attached += holder.managed_policy_arns
            documents += holder.inline_policies.values()
        attached += [p.boundary_arn for p in account.principals if p.boundary_arn]
        assert {arn for arn in attached if not arn.startswith("arn:aws:iam::aws:")} <= own
        for document in documents:
            assert parse(document).statements
        for role in account.roles:
            assert parse(dict(role.trust)).statements


def test_account_names_are_filled_but_policy_variables_are_not(
    organization: Organization,
) -> None:
    group = organization.account("shop-prod").groups[0]
    assert "user/people/${aws:username}" in json.dumps(dict(group.inline_policies))
    assert "{shop-prod}" not in json.dumps([p.arn for p in organization.principals()])


def test_the_bucket_lets_policy_generation_in_exactly_as_aws_documents(
    organization: Organization,
) -> None:
    path = SHARED / "aws/policies/trail_bucket_policy_statement.json"
    if not path.exists():
        pytest.skip(f"{path} is not here: the documented statement cannot be compared")
    text = path.read_text()
    text = text.replace("/OPTIONAL-PREFIX", "").replace("BUCKET", organization.trail_bucket)
    documented = json.loads(text.replace("ORG-ID", organization.organization_id))
    policy: Any = trail_bucket_policy(organization)
    found = {statement["Sid"]: statement for statement in policy["Statement"]}
    assert found["PolicyGenerationBucketPolicy"] == documented
    assert found["TlsOnly"]["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_ids_look_like_iams_and_are_the_same_each_time() -> None:
    made = stable_id("AROA", "arn:aws:iam::400000000004:role/app/ShopCheckout")
    assert len(made) == 21
    assert made.isalnum()
    assert made.isupper()
    assert made == stable_id("AROA", "arn:aws:iam::400000000004:role/app/ShopCheckout")
    assert made != stable_id("AROA", "arn:aws:iam::400000000004:role/ShopCheckout")


def test_an_unknown_form_of_trust_is_refused() -> None:
    with pytest.raises(ValueError, match="no such form of trust"):
        trust_document({"everybody": "yes"}, "400000000004", {})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("schema_version: 1", "schema_version: 2"), "schema_version"),
        (lambda text: text.replace("    name: shop-prod\n", "", 1), "'name' is missing"),
        (lambda text: text.replace('id: "400000000004"', 'id: "4"'), "is not 12 digits"),
        (lambda text: text + "    surprise: 1\n", "unknown keys: surprise"),
        (lambda text: text.replace("hub_account: security", "hub_account: x"), "'x' is missing"),
        (lambda text: text.replace("unit: Workloads", "unit: Nowhere"), "unknown unit 'Nowhere'"),
        (lambda text: text + "\t- {", "is not YAML"),
    ],
)
def test_a_broken_data_file_is_named_with_what_is_wrong(
    tmp_path: Path, change: Callable[[str], str], message: str
) -> None:
    import local.organization

    text = (local.organization.SEED_FOLDER / "organization.yaml").read_text()
    path = tmp_path / "organization.yaml"
    path.write_text(change(text))
    with pytest.raises(SeedError, match=message) as caught:
        read_organization(path)
    assert "organization.yaml" in str(caught.value)


def test_an_account_or_principal_that_is_not_there_is_a_key_error(
    organization: Organization,
) -> None:
    with pytest.raises(KeyError):
        organization.account("nowhere")
    with pytest.raises(KeyError):
        organization.principal("shop-prod/Nobody")
