from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from infra import activity_workflow, inventory_workflow, reconcile_workflow
from pare.doctor.commands import own_right
from pare.doctor.size import (
    Known,
    Need,
    Quota,
    fixed_needs,
    global_region,
    judge_cost,
    judge_generations,
    judge_quota,
    quotas,
    size_of,
)
from tests.doctor_setup import HOME, HUB, setup

if TYPE_CHECKING:
    from pare.doctor.model import Result

RULES = next(each for each in quotas() if each.need == "rules")


def commands(result: Result) -> tuple[str, ...]:
    assert result.mend is not None
    return result.mend.commands


# --- size.quotas ---


@pytest.mark.parametrize(
    ("need", "status", "says"),
    [
        (Need(HOME, 12), "ok", "12 of 300, AWS's default"),
        (Need(HOME, 12, 1000), "ok", "12 of 1,000"),
        (Need("af-south-1", 12), "ok", "12 of 100, AWS's default"),
        (Need(HOME, 240), "ok", "240 of 300, AWS's default"),
        (Need(HOME, 241), "missing", "The quota is nearly used up: 241 of 300"),
        (Need(HOME, 301), "missing", "The quota is too small: 301 of 300"),
        (Need(HOME, None, problem="AccessDenied"), "cannot tell", "AccessDenied."),
        (Need(HOME, 0), "ok", "0 of 300, AWS's default"),
    ],
)
def test_a_quota_is_compared_with_what_is_needed(need: Need, status: str, says: str) -> None:
    found = judge_quota(setup(), RULES, need)

    assert found.status == status
    assert says in found.says
    assert found.subject == f"rules of a bus ({need.region})"


def test_a_quota_that_aws_raises_is_asked_for_by_its_code() -> None:
    assert commands(judge_quota(setup(), RULES, Need(HOME, 290, 300))) == (
        "aws service-quotas request-service-quota-increase --service-code events "
        f"--quota-code L-244521F2 --desired-value 600 --region {HOME}",
    )


def test_a_quota_that_has_no_code_names_its_page() -> None:
    quota = next(each for each in quotas() if each.quota_code is None)
    found = judge_quota(setup(), quota, Need(HOME, quota.default + 1))

    assert found.mend is not None
    assert quota.url in found.mend.text


@pytest.mark.parametrize("quota", quotas(), ids=lambda quota: quota.name)
def test_every_quota_has_a_page_of_aws_and_a_default(quota: Quota) -> None:
    assert quota.url.startswith("https://docs.aws.amazon.com/")
    assert quota.default > 0
    assert quota.where in {"home", "each", "global"}
    assert (quota.service_code is None) == (quota.quota_code is None)


def test_the_functions_side_by_side_are_those_that_the_workflows_allow() -> None:
    maps = inventory_workflow.ACCOUNTS_AT_ONCE + activity_workflow.ACCOUNTS_AT_ONCE
    others = 16  # of findings, messages and proposals

    assert fixed_needs() == {
        "functions_side_by_side": maps + reconcile_workflow.ANALYZERS_AT_ONCE + others,
        "map_children": inventory_workflow.ACCOUNTS_AT_ONCE,
    }


def test_a_new_account_of_ten_functions_side_by_side_is_too_small() -> None:
    quota = next(each for each in quotas() if each.need == "functions_side_by_side")

    assert judge_quota(setup(), quota, Need(HOME, 120, 10)).status == "missing"


@pytest.mark.parametrize("partition", ["aws", "aws-us-gov", "aws-cn"])
def test_quotas_of_iam_are_in_one_region_of_the_partition(partition: str) -> None:
    assert global_region(setup(partition=partition)) != HOME


def test_quotas_of_iam_of_an_unknown_partition_are_asked_at_home() -> None:
    assert global_region(setup(partition="aws-new")) == HOME


@pytest.mark.parametrize("largest", [None, 40, 4_000])
def test_policy_generation_bounds_nothing_of_ours(largest: int | None) -> None:
    found = judge_generations(50, largest)

    assert found.status == "ok"
    assert "Pare's own reading of the trail carries the rest" in found.says


# --- size.cost ---


def cost(known: Known, **changes: Any) -> Result:
    (found,) = judge_cost(setup(**changes), known)
    return found


def test_a_month_is_reckoned_from_the_newest_inventory() -> None:
    found = cost(Known(accounts=500, regions=4, principals=100_000))

    assert found.status == "ok"
    assert "for 500 accounts with 100,000 users and roles" in found.says
    assert found.facts["usd_month"] == pytest.approx(
        sum(line["usd"] for line in found.facts["lines"]), abs=0.1
    )
    assert found.facts["guessed"] == ["log files", "findings, messages and proposals"]


def test_without_an_inventory_it_is_a_guess_and_the_mend_is_an_inventory() -> None:
    found = cost(Known(accounts=10, regions=2))

    assert found.status == "cannot tell"
    assert "A guess: some" in found.says
    assert commands(found) == ("pare inventory run --wait",)


def test_an_inventory_that_may_not_be_read_is_no_reason_to_run_one() -> None:
    message = f"User: arn:aws:sts::{HUB}:assumed-role/x is not authorized to perform: {'x' * 200}"
    problem = f"s3:ListBucket s3://evidence/inventory/: AccessDenied: {message}"

    (found,) = judge_cost(setup(), Known(accounts=10, regions=2), problem)

    assert found.status == "cannot tell"
    assert message in found.says
    assert found.mend == own_right(setup(), problem)
    assert found.mend
    assert f"s3:ListBucket in account {HUB}" in found.mend.text


def test_the_paid_analyzer_is_in_the_bill_where_the_settings_want_it() -> None:
    without = cost(Known(accounts=10, regions=2, principals=2_000))
    with_it = cost(Known(accounts=10, regions=2, principals=2_000), paid_unused_access=True)

    # 0.20 USD for each of 2,000, and one analyzer more to be asked every day.
    assert with_it.facts["usd_month"] - without.facts["usd_month"] == pytest.approx(400, abs=1)


def test_log_files_are_those_of_the_nights_and_a_backfill_is_no_night() -> None:
    nights = (1_000_000, 1_000_000, 1_000_000, 1_000_000, 1_000_000, 1_000_000, 90_000_000)
    size, guessed = size_of(
        Known(accounts=10, regions=2, principals=1, night_bytes=nights), has_paid_analyzer=False
    )

    assert size.log_gigabytes == pytest.approx(0.001 * 7 * 30.4)
    assert guessed == ["findings, messages and proposals"]


def test_too_few_nights_are_no_month() -> None:
    _, guessed = size_of(
        Known(accounts=10, regions=2, principals=1, night_bytes=(1,) * 6), has_paid_analyzer=False
    )

    assert "log files" in guessed


def test_an_organization_without_anybody_costs_something_all_the_same() -> None:
    assert cost(Known(accounts=1, regions=1, principals=0)).facts["usd_month"] > 0
