"""`pare doctor` after a deployment, and some defects that it names and mends.

All of them: `make test-org`. It runs before the other tests here, which leave failed runs and dead
letters behind.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.org.defects import DEFECTS, Organization
from tests.org.examinations import check_defect, confirm_subscriptions
from tests.org.person import PARE, Person

if TYPE_CHECKING:
    from tests.local.deployed.conftest import Deployed
    from tests.org.defects import Defect

QUICK = [each for each in DEFECTS if each.is_quick]


@pytest.fixture(scope="module")
def organization(deployed: Deployed, tmp_path_factory: pytest.TempPathFactory) -> Organization:
    """The deployed organization, and somebody at a terminal."""
    return Organization(deployed.box, Person.at(deployed.box, tmp_path_factory.mktemp("person")))


def test_after_a_deployment_all_is_well_but_what_people_have_to_do(
    organization: Organization,
) -> None:
    first = organization.person.doctor()

    # Nobody has followed the link in a mail yet, and no inventory has counted anybody.
    assert {(check, each["status"]) for (check, _), each in first.not_ok.items()} == {
        ("running.subscriptions", "missing"),
        ("size.cost", "cannot tell"),
    }, first.shown()
    (cost,) = (each for (check, _), each in first.not_ok.items() if check == "size.cost")
    assert cost["mend"]["commands"] == [f"{PARE} inventory run --wait"]
    confirm_subscriptions(organization, first)
    assert organization.person.doctor("--only", "running").not_ok == {}


@pytest.mark.parametrize("defect", QUICK, ids=lambda each: each.name)
def test_a_defect_is_named_and_mended(organization: Organization, defect: Defect) -> None:
    """Of its own group of checks; `make test-org` looks at all of them."""
    check_defect(organization, defect, defect.check.partition(".")[0])
