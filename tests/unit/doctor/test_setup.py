from __future__ import annotations

import json

import pytest

from pare.doctor.setup import Setup
from tests.doctor_setup import OTHER, PAYMENTS, setup


def test_a_setup_comes_back_from_a_template_as_it_went_in() -> None:
    there = setup(account_exclusions=(PAYMENTS,))

    assert Setup.from_json(json.loads(json.dumps(there.to_json()))) == there


def test_another_version_of_the_shape_is_refused() -> None:
    told = {**setup().to_json(), "schema_version": 2}

    with pytest.raises(ValueError, match="schema version 2, not 1"):
        Setup.from_json(told)


@pytest.mark.parametrize("change", [{"new_field": 1}, {"trail": None}])
def test_another_shape_is_refused(change: dict[str, object]) -> None:
    with pytest.raises((KeyError, TypeError, AttributeError)):
        Setup.from_json({**setup().to_json(), **change})


def test_the_other_regions_are_those_governed_but_the_home_region() -> None:
    assert setup().other_regions == (OTHER,)


def test_the_member_role_has_the_partition_and_leaves_the_account_open() -> None:
    assert (
        setup(partition="aws-us-gov").member_role_arn_template
        == "arn:aws-us-gov:iam::{account_id}:role/PareMember"
    )
