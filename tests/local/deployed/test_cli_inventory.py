"""The inventory's commands against the deployed app, as a person runs them with --local."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from local import demo
from pare.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from click.testing import Result

    from tests.local.deployed.conftest import Deployed

# A month that no other test takes an inventory of, later than all of theirs.
PERIOD = "2039-01"


@pytest.fixture(scope="module")
def pare(deployed: Deployed) -> Iterator[Callable[..., Result]]:
    """Runs a command, after an inventory in which one account could not be entered."""
    box = deployed.box
    account = box.created.organization.account("data-prod").account_id
    iam = box.emulator.client("iam", account)
    trust = iam.get_role(RoleName="PareMember")["Role"]["AssumeRolePolicyDocument"]
    closed = {**trust, "Statement": [{**trust["Statement"][0], "Effect": "Deny"}]}
    iam.update_assume_role_policy(RoleName="PareMember", PolicyDocument=json.dumps(closed))
    try:
        deployed.take_inventory(PERIOD)
    finally:
        iam.update_assume_role_policy(RoleName="PareMember", PolicyDocument=json.dumps(trust))
    local = ("--local", "--state-dir", str(box.emulator.state_dir))

    def run(*arguments: str, code: int = 0) -> Result:
        result = CliRunner().invoke(main, [*arguments, *local])
        assert result.exit_code == code, result.output
        return result

    yield run


def arn_of(deployed: Deployed, name: str) -> str:
    return deployed.box.created.organization.principal(name).arn


def test_show_lists_what_the_snapshot_has_and_names_the_unknown_account(
    deployed: Deployed, pare: Callable[..., Result]
) -> None:
    answer = json.loads(pare("inventory", "show", "--format", "json", "--period", PERIOD).stdout)
    text = pare("inventory", "show", "--period", PERIOD, "--account", "shop-prod").stdout

    assert {row["principal_arn"]: row for row in answer["rows"]} == deployed.principals(PERIOD)
    (unknown,) = answer["unknown_accounts"]
    assert (unknown["name"], unknown["error"]) == ("data-prod", "MemberAccountError")
    assert "ShopCheckout" in text
    assert f"{unknown['account_id']} data-prod: MemberAccountError" in text


def test_stale_ones_are_those_that_the_snapshot_calls_so(
    deployed: Deployed, pare: Callable[..., Result]
) -> None:
    found = pare("inventory", "show", "--stale", "--format", "csv", "--period", PERIOD)

    expected = {arn for arn, row in deployed.principals(PERIOD).items() if row["is_unused"]}
    assert expected
    assert {row["arn"] for row in csv.DictReader(found.stdout.splitlines())} == expected


def test_last_accessed_says_what_iam_said(deployed: Deployed, pare: Callable[..., Result]) -> None:
    arn = arn_of(deployed, "shop-prod/ShopCheckout")
    stored = json.loads(pare("last-accessed", arn, "--period", PERIOD, "--format", "json").stdout)
    live: dict[str, Any] = json.loads(
        pare("last-accessed", arn, "--live", "--format", "json").stdout
    )

    assert stored["outcome"] == "COMPLETED"
    assert {each["service"] for each in stored["services"]} == {
        each["service"] for each in live["services"]
    }
    assert stored["allowed_services"] == len(stored["services"])


def test_explain_says_why(deployed: Deployed, pare: Callable[..., Result]) -> None:
    arn = arn_of(deployed, "shop-prod/ShopCheckout")
    row = deployed.principals(PERIOD)[arn]

    text = pare("explain", "shop-prod/ShopCheckout", "--period", PERIOD).stdout
    japanese = pare("explain", arn, "--period", PERIOD, "--language", "ja").stdout

    assert text.startswith(f"{arn}\nInventory {PERIOD}, as of ")
    assert f"\n{row['class'].upper()}: " in text
    assert row["owner_shown"] in text
    assert "Open findings" in text
    assert japanese != text
    assert "理由" in japanese


def test_explain_says_that_the_account_was_not_read(
    deployed: Deployed, pare: Callable[..., Result]
) -> None:
    (name,) = [
        each for each in deployed.box.created.organization.accounts if each.name == "data-prod"
    ]
    arn = name.roles[0].arn

    result = pare("explain", arn, "--period", PERIOD, code=3)

    assert "data-prod could not be read: sts:AssumeRole" in result.stderr


def test_the_report_is_taken_as_it_was_sent(
    deployed: Deployed,
    pare: Callable[..., Result],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    for form in ("html", "csv", "ndjson"):
        pare("inventory", "report", "--period", PERIOD, "--format", form)

    written = deployed.key(f"inventory/period={PERIOD}/report.html")
    assert Path(f"inventory-{PERIOD}.html").read_bytes() == demo.read_bytes(deployed.box, written)
    lines = Path(f"inventory-{PERIOD}.ndjson").read_text(encoding="utf-8").splitlines()
    assert len(lines) == len(deployed.principals(PERIOD))


def test_run_makes_this_month_once(deployed: Deployed, pare: Callable[..., Result]) -> None:
    first = json.loads(pare("inventory", "run", "--wait", "--format", "json").stdout)
    second = pare("inventory", "run", "--wait")

    assert first["status"] == "SUCCEEDED"
    assert first["counts"]["principals"] == len(deployed.principals(first["period"]))
    assert first["unknown_accounts"] == []
    assert second.stdout.startswith(f"Done already: the inventory of {first['period']}.")
    assert first["execution_arn"] in second.stdout
