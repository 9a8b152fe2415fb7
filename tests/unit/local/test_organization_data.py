"""The emulated organization as data: what it holds, and what is refused."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from local.organization import (
    ADMINISTRATOR_ACCESS,
    SEED_FOLDER,
    Organization,
    Role,
    SeedError,
    User,
    plant_credentials,
    read_organization,
    stable_id,
    trail_bucket_policy,
    trust_document,
)
from local.trail_generator import CredentialUse
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


def test_the_bucket_lets_cloudtrail_write_and_nobody_read(organization: Organization) -> None:
    policy: Any = trail_bucket_policy(organization)
    found = {statement["Sid"]: statement for statement in policy["Statement"]}
    assert set(found) == {"TlsOnly", "AWSCloudTrailAclCheck", "AWSCloudTrailWrite"}
    assert found["TlsOnly"]["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert "s3:GetObject" not in json.dumps(policy)


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


def test_an_account_outside_is_trusted_with_and_without_an_external_id() -> None:
    plain: Any = trust_document({"account": "910000000001"}, "400000000004", {})
    (statement,) = plain["Statement"]
    assert statement["Principal"] == {"AWS": "arn:aws:iam::910000000001:root"}
    assert "Condition" not in statement
    form = {"account": "910000000001", "external_id": "x-1"}
    demanding: Any = trust_document(form, "400000000004", {})
    assert demanding["Statement"] == [
        {**statement, "Condition": {"StringEquals": {"sts:ExternalId": "x-1"}}}
    ]


def test_a_root_user_is_locked_away_where_nothing_is_said(organization: Organization) -> None:
    roots = {account.name: account.root for account in organization.accounts}
    assert [name for name, root in roots.items() if not root.has_mfa] == ["data-prod"]
    assert [name for name, root in roots.items() if root.access_keys] == ["shop-prod"]
    assert organization.account("data-prod").root_arn == "arn:aws:iam::500000000005:root"


def test_use_of_a_credential_is_said_once(organization: Organization) -> None:
    """Either the data says when a key or password was last used, or the trail shows it."""
    behaviour = yaml.safe_load((SEED_FOLDER / "behaviour.yaml").read_text())
    acting = {table["principal"] for table in behaviour["principals"]}
    for account in organization.accounts:
        for user in account.users:
            said = [key for key in user.access_keys if key.last_used_days_ago is not None]
            if f"{account.name}/{user.name}" in acting:
                assert not said
                assert user.password_last_used_days_ago is None


def test_planted_credentials_are_those_of_the_data_and_of_the_trail(
    organization: Organization,
) -> None:
    class Recorder:
        def control(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
            assert path == "credentials"
            self.entries = {entry["arn"]: entry for entry in body["entries"]}
            return {}

    now = datetime(2026, 11, 22, 6, tzinfo=UTC)
    deployer = organization.principal("shop-prod/ci-deployer").arn
    maria = organization.principal("shop-prod/maria.jansen").arn
    used = [
        CredentialUse(deployer, "AKIA1", now, "lambda", "eu-west-1"),
        CredentialUse(maria, None, now),
    ]
    emulator: Any = Recorder()

    plant_credentials(emulator, organization, now=now, used=used)

    entries = emulator.entries
    assert len(entries) == len(organization.accounts) + sum(
        len(account.users) for account in organization.accounts
    )
    assert entries["arn:aws:iam::500000000005:root"]["mfa_active"] is False
    (key,) = entries["arn:aws:iam::400000000004:root"]["access_keys"]
    assert (key["service"], key["last_used_at"]) == ("ec2", "2023-08-10T06:00:00Z")
    assert entries[deployer]["access_keys"] == [used[0].to_json()]
    assert entries[maria]["mfa_active"] is False
    assert entries[maria]["password_last_used_at"] == "2026-11-22T06:00:00Z"
    jonas = organization.principal("shop-prod/jonas.weber").arn
    assert entries[jonas]["password_last_used_at"] == "2026-07-14T06:00:00Z"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("schema_version: 1", "schema_version: 2"), "schema_version"),
        (lambda text: text.replace("    name: shop-prod\n", "", 1), "'name' is missing"),
        (lambda text: text.replace('id: "400000000004"', 'id: "4"'), "is not 12 digits"),
        (lambda text: text + "    surprise: 1\n", "unknown keys: surprise"),
        (lambda text: text.replace("hub_account: security", "hub_account: x"), "'x' is missing"),
        (lambda text: text.replace("unit: Workloads", "unit: Nowhere"), "unknown unit 'Nowhere'"),
        (
            lambda text: text.replace(
                "principal: shop-prod/StandbyFailover", "principal: x/Nobody"
            ),
            "'x/Nobody' is missing",
        ),
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
