"""What docs/cost.md says is what the projection computes, from what was measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.inventory_cost import tables
from pare.data_tables import read_table
from pare.inventory.cost import READ, Measured, Step, project

DOC = Path(__file__).parents[2] / "docs" / "cost.md"


def measured() -> Measured:
    """Ten accounts of a hundred principals, in round numbers."""
    return Measured(
        date="2026-11-22", accounts=10, principals=1_000, own_transitions=8, child_transitions=90,
        iam_calls=2_500, last_accessed_calls=2_000, throttled=100, unknown=1, seconds=60.0,
        puts=120, stored_bytes=4_000_000, table_write_units=3_000,
        own_steps={"Build snapshot": Step(1, 10.0, 2048)},
        child_steps={READ: Step(20, 999.0, 512), "Classify principals": Step(10, 50.0, 1024)},
    )  # fmt: skip


def test_the_page_has_the_tables_as_they_are_computed() -> None:
    text = DOC.read_text(encoding="utf-8")
    for line in tables(Measured.read()):
        assert line in text, "run `python -m bench.inventory --project` and put it into the page"


def test_an_account_costs_what_the_measured_ones_did() -> None:
    cost = project(measured(), 100)
    prices = read_table("prices.json", schema_version=1)["usd"]

    assert cost.principals == 20_000
    assert cost.transitions == 8 + 90 * 10
    assert cost.iam_calls == 2.5 * 20_000
    assert cost.usd["Step Functions"] == pytest.approx(908 * 0.000025)
    assert cost.usd["DynamoDB"] == pytest.approx(60_000 * prices["dynamodb_write_unit"])
    # Reading takes as long as the pace lets it: 400 calls at 5 a second, a tenth more, 10 s to
    # begin with; not the seconds measured on the emulator.
    read, classify, own = 98.0 * 100, 5.0 * 100, 10.0 * 20
    assert cost.function_hours * 3600 == pytest.approx(read + classify + own)
    gb_seconds = read / 2 + classify + own * 2
    assert cost.usd["Lambda"] == pytest.approx(
        gb_seconds * prices["lambda_gb_second_arm64"] + 301 * prices["lambda_request"]
    )
    assert cost.hours * 3600 == pytest.approx(2 * (98 + 5) + 200), "50 accounts at once"
    assert cost.total == pytest.approx(sum(cost.usd.values()))


def test_twice_the_organization_costs_twice_as_much() -> None:
    one, two = project(measured(), 1_000), project(measured(), 2_000)
    assert two.total == pytest.approx(2 * one.total, rel=0.01)


def test_every_price_says_where_it_is_from() -> None:
    prices = read_table("prices.json", schema_version=1)
    assert prices["usd"].keys() == prices["sources"].keys()
    assert all(price > 0 for price in prices["usd"].values())
    assert all(
        source.startswith(("https://", "from memory")) for source in prices["sources"].values()
    )
