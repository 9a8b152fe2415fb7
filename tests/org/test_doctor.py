"""The whole way in an organization: deployed, broken in every way, named and mended by the doctor.

What the doctor prints is typed into a shell as it stands. Run it with ``make test-org``; the suite
has a part of it (tests/local/deployed/test_doctor.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.org.defects import DEFECTS
from tests.org.examinations import check_defect, make_green

if TYPE_CHECKING:
    from tests.org.defects import Defect, Organization


def test_a_new_deployment_becomes_green_as_the_doctor_says(organization: Organization) -> None:
    first = organization.person.doctor()

    # The seed has no analyzers, nobody has followed the link in a mail, and no inventory has
    # counted users and roles: it names all three. What it says is done, then nothing is left.
    print(first.shown())
    assert {(check, each["status"]) for (check, _), each in first.not_ok.items()} == {
        ("findings.analyzer", "missing"),
        ("running.subscriptions", "missing"),
        ("size.cost", "cannot tell"),
    }, first.shown()
    make_green(organization, first)


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda each: each.name)
def test_a_defect_is_named_and_mended(organization: Organization, defect: Defect) -> None:
    check_defect(organization, defect)


def test_an_account_that_joins_is_covered_by_itself_and_a_closed_one_is_no_fault(
    organization: Organization,
) -> None:
    organizations = organization.client("organizations", "management")
    request = organizations.create_account(Email="new@northwind.example", AccountName="newcomer")
    account_id = request["CreateAccountStatus"]["AccountId"]

    joined = organization.person.doctor()
    assert joined.is_ok("members.instance", account_id), joined.shown()
    # Nothing was ever called there: there is no log file of it yet.
    assert {check for check, _ in joined.not_ok} <= {"log-archive.listing"}, joined.shown()

    organizations.close_account(AccountId=account_id)
    closed = organization.person.doctor()
    assert closed.not_ok == {}, closed.shown()
    assert "suspended" in closed.said("members.instance", account_id)
