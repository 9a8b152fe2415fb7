"""A month's bill: every line is counts times prices, and grows with what it is for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench.cost import ACCOUNTS, OF_README, bill, tables
from pare.cost import DAYS, HOURS, Size, month_cost, prices, total, typical
from pare.data_tables import read_table
from pare.inventory.cost import LOG_BYTES

ROOT = Path(__file__).parents[2]
SIZE = Size(
    accounts=100, principals=20_000, analyzers=4, log_gigabytes=300.0, findings=200, messages=50,
    proposals=50,
)  # fmt: skip
USD = prices()[0]
COUNTS = read_table("cost_counts.json", schema_version=1)


def usd(what: str, size: Size = SIZE) -> float:
    """Return the amount of one line."""
    (line,) = [line for line in month_cost(size) if line.what == what]
    return line.usd


def test_what_does_not_grow_stays() -> None:
    for what in ("The key", "Alarms, metrics, dashboard"):
        assert usd(what) == usd(what, replace(SIZE, accounts=1_000, principals=200_000))
    assert usd("The key") == USD["kms_key_month"]
    assert usd("Alarms, metrics, dashboard") == pytest.approx(
        COUNTS["alarms"] * 0.10 + COUNTS["metrics"] * 0.30 + 3.00
    )


def test_looking_after_findings_is_transitions_functions_and_logs() -> None:
    each, gb_seconds = COUNTS["transitions"], COUNTS["gb_seconds"]
    runs = {"hourly_round": HOURS, "reconcile": DAYS, "reconcile_analyzer": DAYS * 4}
    calls = sum(COUNTS["invocations"][run] * times for run, times in runs.items())
    executions = HOURS + DAYS  # an analyzer is no execution of its own
    transitions = sum(each[run] * times for run, times in runs.items()) + 2 * executions
    logged = calls * LOG_BYTES + transitions * COUNTS["bytes_logged_a_transition"]
    assert usd("Looking after findings") == pytest.approx(
        transitions * USD["step_functions_transition"]
        + executions * USD["xray_trace"]
        + sum(gb_seconds[run] * times for run, times in runs.items())
        * USD["lambda_gb_second_arm64"]
        + calls * USD["lambda_request"]
        + logged / 1e9 * USD["cloudwatch_logs_gb"]
    )


def test_every_log_file_of_a_trail_with_a_key_is_a_request_to_it() -> None:
    what = "Decrypting its log files"
    night = COUNTS["night"]
    files = 300e9 / night["stored_ratio"] / night["log_file_bytes"]
    assert usd(what) == pytest.approx(files * USD["kms_request"])
    lines = month_cost(replace(SIZE, log_files_have_key=False))
    assert what not in [line.what for line in lines]
    assert total(lines) == pytest.approx(total(month_cost(SIZE)) - usd(what))


def test_what_is_kept_grows_with_logs_accounts_and_principals() -> None:
    what = "What is kept"
    for more in ({"log_gigabytes": 600.0}, {"accounts": 200}, {"principals": 40_000}):
        assert usd(what, replace(SIZE, **more)) > usd(what), more


def test_a_message_goes_to_three_topics_and_some_addresses() -> None:
    one = usd("Messages", replace(SIZE, messages=1))
    sent = 3 * USD["sns_publish"] + COUNTS["mails_a_message"] * USD["sns_email"]
    transitions = COUNTS["transitions"]["message"] * USD["step_functions_transition"]
    assert sent + transitions < one < 2 * (sent + transitions)


def test_counts_are_told_as_people_say_them() -> None:
    told = [line.counted for line in month_cost(replace(SIZE, proposals=1, accounts=1))]
    assert any("122 analyzer listings" in each for each in told)
    assert any(each.startswith("1 proposal,") for each in told)
    assert not any("_" in each for each in told)


def test_the_page_and_the_readme_have_the_tables_as_they_are_computed() -> None:
    page = (ROOT / "docs" / "cost.md").read_text(encoding="utf-8")
    head = page[: page.index("## The monthly inventory")]
    for line in tables():
        assert line in head, "run `python -m bench.cost` and put it into docs/cost.md"
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for line in bill(typical(OF_README)):
        assert line in readme, "run `python -m bench.cost --readme` and put it into README.md"
    assert ACCOUNTS == (10, 100, 1_000)


def test_a_proposal_costs_its_run_and_its_check() -> None:
    none = usd("Proposals", replace(SIZE, proposals=0))
    assert none == 0
    one = usd("Proposals", replace(SIZE, proposals=1))
    assert one > USD["access_analyzer_check"]
    assert usd("Proposals") == pytest.approx(50 * one)


def test_reading_grows_with_gigabytes_and_with_accounts() -> None:
    what = "Reading CloudTrail every night"
    gigabytes = usd(what, replace(SIZE, log_gigabytes=600.0)) - usd(what)
    assert gigabytes == pytest.approx(usd(what) - usd(what, replace(SIZE, log_gigabytes=0.0)))
    assert usd(what, replace(SIZE, accounts=200, log_gigabytes=0.0)) > usd(
        what, replace(SIZE, log_gigabytes=0.0)
    )


def test_the_paid_analyzer_is_on_the_bill_only_where_it_is_on() -> None:
    names = [line.what for line in month_cost(SIZE)]
    assert "Unused-access analyzer" not in names
    assert usd("Unused-access analyzer", replace(SIZE, has_paid_analyzer=True)) == pytest.approx(
        20_000 * 0.20
    )


def test_the_total_is_the_sum_and_an_organization_of_nobody_costs_its_fixed_part() -> None:
    lines = month_cost(SIZE)
    assert total(lines) == pytest.approx(sum(line.usd for line in lines))
    assert all(line.usd >= 0 and line.counted for line in lines)
    nobody = Size(0, 0, 1, 0.0, 0, 0, 0)
    assert total(month_cost(nobody)) < 12


def test_ten_times_the_accounts_cost_at_most_ten_times_as_much() -> None:
    small, large = (total(month_cost(typical(accounts))) for accounts in (100, 1_000))
    assert small < large < 10 * small


def test_the_prices_have_a_date() -> None:
    _, date = prices()
    assert date == read_table("prices.json", schema_version=1)["retrieved"]
