from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pare.doctor.organization import (
    ACCESS_ANALYZER,
    STACK_SETS,
    Asked,
    judge_administrator,
    judge_member,
    judge_trusted,
)
from tests.doctor_setup import HUB, MANAGEMENT, SHOP, setup

if TYPE_CHECKING:
    from pare.doctor.model import Result

ORGANIZATION = {"Id": "o-example0000", "MasterAccountId": MANAGEMENT, "FeatureSet": "ALL"}
DENIED: Asked[set[str]] = Asked(problem="AccessDeniedException: no", is_denied=True)
TRUST_ANALYZER = (
    "aws organizations enable-aws-service-access --service-principal access-analyzer.amazonaws.com"
)
TRUST_STACK_SETS = "aws cloudformation activate-organizations-access --region eu-west-1"


def commands(result: Result) -> tuple[str, ...]:
    assert result.mend is not None
    return result.mend.commands


# --- organization.member ---


def test_the_organization_of_the_settings_is_well() -> None:
    found = judge_member(setup(), Asked(ORGANIZATION))

    assert (found.status, found.says) == ("ok", f"o-example0000, hub {HUB}")


@pytest.mark.parametrize(
    ("change", "words", "setting"),
    [
        ({"Id": "o-another0000"}, "organization with o-another0000", "o-another0000"),
        ({"MasterAccountId": SHOP}, f"organization with {SHOP}", f'"{SHOP}"'),
    ],
)
def test_another_organization_is_named_with_the_setting_to_change(
    change: dict[str, str], words: str, setting: str
) -> None:
    found = judge_member(setup(), Asked({**ORGANIZATION, **change}))

    assert found.status == "missing"
    assert words in found.says
    assert found.mend is not None
    assert setting in found.mend.text
    assert found.mend.commands == ("npx cdk deploy --all",)


def test_a_hub_outside_any_organization_is_invited() -> None:
    found = judge_member(setup(), Asked({}))

    assert found.status == "missing"
    assert f"Id={HUB},Type=ACCOUNT" in commands(found)[0]


def test_consolidated_billing_is_not_enough() -> None:
    found = judge_member(setup(), Asked({**ORGANIZATION, "FeatureSet": "CONSOLIDATED_BILLING"}))

    assert commands(found) == ("aws organizations enable-all-features",)


def test_an_organization_that_nobody_told_of_cannot_be_told() -> None:
    found = judge_member(setup(), Asked(problem="Throttling: slow down"))

    assert found.status == "cannot tell"
    assert "Throttling: slow down." in found.says


# --- Trusted access ---


def test_a_service_among_the_trusted_is_well() -> None:
    trusted = Asked({ACCESS_ANALYZER.principal, STACK_SETS.principal})

    assert judge_trusted(setup(), ACCESS_ANALYZER, trusted).status == "ok"
    assert judge_trusted(setup(), STACK_SETS, trusted).status == "ok"


def test_each_service_is_trusted_by_its_own_command_in_the_management_account() -> None:
    nobody: Asked[set[str]] = Asked(set())
    analyzer = judge_trusted(setup(), ACCESS_ANALYZER, nobody)
    sets = judge_trusted(setup(), STACK_SETS, nobody)

    assert (analyzer.status, commands(analyzer)) == ("missing", (TRUST_ANALYZER,))
    assert (sets.status, commands(sets)) == ("missing", (TRUST_STACK_SETS,))
    assert analyzer.mend and analyzer.mend.where == "management"
    assert sets.mend and sets.mend.where == "management"


@pytest.mark.parametrize(
    ("access", "status"),
    [
        (Asked("ENABLED"), "ok"),
        (Asked("DISABLED"), "missing"),
        (Asked("DISABLED_PERMANENTLY"), "missing"),
        (Asked(problem="AccessDenied"), "ok"),
        (None, "ok"),
    ],
)
def test_of_stack_sets_cloudformations_own_word_counts_where_there_is_one(
    access: Asked[str] | None, status: str
) -> None:
    found = judge_trusted(setup(), STACK_SETS, Asked({STACK_SETS.principal}), access)

    assert found.status == status


def test_cloudformations_word_is_enough_where_organizations_says_nothing() -> None:
    assert judge_trusted(setup(), STACK_SETS, DENIED, Asked("ENABLED")).status == "ok"


def test_what_aws_tells_delegated_administrators_alone_is_said_with_the_command() -> None:
    found = judge_trusted(setup(), ACCESS_ANALYZER, DENIED)

    assert found.status == "cannot tell"
    assert "the hub probably is none yet" in found.says
    assert commands(found) == (TRUST_ANALYZER,)


def test_in_china_the_member_stack_goes_by_hand() -> None:
    found = judge_trusted(setup(partition="aws-cn"), STACK_SETS, Asked(set()))

    assert found.mend is not None
    assert "npx cdk deploy ByHand/PareMember" in found.mend.text
    assert "member_stacks: by-hand" in found.mend.text


# --- Delegated administration ---


def test_the_hub_among_the_administrators_is_well() -> None:
    assert judge_administrator(setup(), STACK_SETS, Asked({SHOP, HUB})).status == "ok"


@pytest.mark.parametrize("service", [ACCESS_ANALYZER, STACK_SETS])
def test_a_hub_that_is_no_administrator_is_registered(service: object) -> None:
    chosen = ACCESS_ANALYZER if service is ACCESS_ANALYZER else STACK_SETS
    found = judge_administrator(setup(), chosen, Asked(set()))

    assert found.status == "missing"
    assert commands(found) == (
        f"aws organizations register-delegated-administrator --account-id {HUB} "
        f"--service-principal {chosen.principal}",
    )


def test_of_access_analyzer_another_administrator_first_has_to_go() -> None:
    found = judge_administrator(setup(), ACCESS_ANALYZER, Asked({SHOP}))

    assert found.status == "missing"
    assert SHOP in found.says
    assert [each.split()[2] for each in commands(found)] == [
        "deregister-delegated-administrator",
        "register-delegated-administrator",
    ]
    assert found.mend and "disables the analyzers" in found.mend.text


def test_stack_sets_have_several_administrators() -> None:
    found = judge_administrator(setup(), STACK_SETS, Asked({SHOP}))

    assert [each.split()[2] for each in commands(found)] == ["register-delegated-administrator"]


def test_administrators_that_aws_does_not_tell_cannot_be_told() -> None:
    found = judge_administrator(setup(), STACK_SETS, DENIED)

    assert found.status == "cannot tell"
    assert "register-delegated-administrator" in commands(found)[0]
