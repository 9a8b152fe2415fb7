from __future__ import annotations

import pytest

from pare.doctor.commands import deploy_members, profile_of
from tests.doctor_setup import HUB, LOG_ARCHIVE, MANAGEMENT, PAYMENTS, SHOP, setup

BY_HAND = "npx cdk deploy ByHand/PareMember"


@pytest.mark.parametrize(
    ("accounts", "commands"),
    [
        ((), ()),
        ((SHOP, PAYMENTS), ("npx cdk deploy PareMembers",)),
        ((MANAGEMENT,), (f"{BY_HAND} --profile management",)),
        (
            (SHOP, MANAGEMENT),
            ("npx cdk deploy PareMembers", f"{BY_HAND} --profile management"),
        ),
    ],
)
def test_the_stack_set_reaches_every_account_but_the_management_account(
    accounts: tuple[str, ...], commands: tuple[str, ...]
) -> None:
    assert deploy_members(setup(), accounts) == commands


def test_without_a_stack_set_every_account_is_deployed_by_its_own_profile() -> None:
    accounts = (HUB, LOG_ARCHIVE, MANAGEMENT, SHOP)

    assert deploy_members(setup(member_stacks="by-hand"), accounts) == (
        BY_HAND,  # the credentials in use are the hub's
        f"{BY_HAND} --profile log-archive",
        f"{BY_HAND} --profile management",
        f"{BY_HAND} --profile {SHOP}",
    )


def test_a_profile_of_which_nothing_is_known_is_called_as_the_account() -> None:
    assert profile_of(setup(), PAYMENTS) == PAYMENTS
