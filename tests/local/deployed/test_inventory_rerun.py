"""An inventory that was killed goes on: nothing is lost, nothing doubled, people are told once.

Months are those that no other test has, and where each test finds no earlier one to compare with.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from local import demo

if TYPE_CHECKING:
    from tests.local.deployed.conftest import Deployed

TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"Service": "ec2.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
    ],
}


def jobs(deployed: Deployed) -> int:
    """Return how many last accessed jobs IAM has had so far, in all accounts."""
    state = deployed.box.emulator.control("state", method="GET")
    return sum(state["last_accessed_jobs"]["jobs"].values())


def finished(deployed: Deployed, work: str) -> set[str]:
    """Return the accounts that have a result."""
    return {
        key.removeprefix("account=").removesuffix("/result.json")
        for key in deployed.keys(f"{work}/")
        if key.endswith("/result.json")
    }


def versions(deployed: Deployed, prefix: str) -> dict[str, int]:
    """Return how often each object under a prefix was written: the bucket keeps old versions."""
    found: dict[str, int] = {}
    paginator = deployed.box.hub("s3").get_paginator("list_object_versions")
    bucket = deployed.box.outputs["EvidenceBucketName"]
    for page in paginator.paginate(Bucket=bucket, Prefix=prefix):
        for each in page.get("Versions", []):
            found[each["Key"]] = found.get(each["Key"], 0) + 1
    return found


def states_of(deployed: Deployed, execution: str) -> list[str]:
    """Return the states an execution entered."""
    return [
        event["stateEnteredEventDetails"]["name"]
        for event in deployed.history(execution)
        if "stateEnteredEventDetails" in event
    ]


def test_killed_in_the_middle_and_started_again_loses_and_doubles_nothing(
    deployed: Deployed,
) -> None:
    states, accounts = deployed.box.hub("stepfunctions"), deployed.box.created.account_ids
    begin = {"scheduled_at": "2035-03-01T06:00:00Z"}
    work = "inventory/period=2035-03/work=killed"
    # So slow that accounts end one after the other, the small ones first.
    deployed.box.emulator.control(
        "settings", {"last_accessed_delay_seconds": 1, "last_accessed_calls_per_second": 10}
    )
    before = jobs(deployed)
    killed = deployed.start("Inventory", begin, "killed")

    # While it runs, another start does nothing.
    demo.wait_for(lambda: "Inventory accounts" in states_of(deployed, killed), "the map")
    second = deployed.start("Inventory", begin)
    assert deployed.ended(second)["status"] == "SUCCEEDED"
    assert states_of(deployed, second)[-1] == "Period already collected"

    some = demo.wait_for(lambda: finished(deployed, work), "the first account")
    states.stop_execution(executionArn=killed)
    deployed.box.emulator.control("settings", {"last_accessed_calls_per_second": None})
    assert deployed.ended(killed)["status"] == "ABORTED"
    done = finished(deployed, work)
    assert some <= done < set(accounts), "it was stopped in the middle"
    written = versions(deployed, f"{work}/account=")
    assert deployed.messages("2035-03") == []

    execution = deployed.start("Inventory", begin, "continues")
    ended = deployed.ended(execution, seconds=240)
    assert ended["status"] == "SUCCEEDED", ended

    # Nothing is lost, nothing doubled.
    snapshot, found = deployed.snapshot("2035-03"), deployed.principals("2035-03")
    assert found.keys() == deployed.in_iam()
    assert snapshot["unknown_account_count"] == 0
    assert finished(deployed, work) == set(accounts)
    assert snapshot["as_of"] == _listed(deployed, killed)["as_of"]
    assert _listed(deployed, execution)["continues"] is True
    for account in snapshot["accounts"]:
        read = [row["principal_arn"] for ref in account["last_accessed"]
                for row in deployed.rows(ref)]  # fmt: skip
        mine = {arn for arn, row in found.items() if row["account_id"] == account["account_id"]}
        assert len(read) == len(set(read)) and set(read) == mine

    # Accounts that were done are not read again, and those in the middle not from the start.
    again = versions(deployed, f"{work}/account=")
    for account_id in done:
        prefix = f"{work}/account={account_id}/"
        assert {key: n for key, n in again.items() if key.startswith(prefix)} == {
            key: n for key, n in written.items() if key.startswith(prefix)
        }
    for key in written:
        if key.endswith(("collected.json", "authorization_details.ndjson.gz")):
            assert again[key] == written[key], key
    assert deployed.keys("inventory/period=2035-03/work=continues") == set()
    # At most what the function that was cut off had asked for and not written is asked again.
    assert jobs(deployed) - before < 2 * len(found)

    # People are told once, plans are announced once, there is one snapshot.
    assert len(deployed.messages("2035-03")) == 1
    assert versions(deployed, "inventory/period=2035-03/snapshot.json") == {
        "inventory/period=2035-03/snapshot.json": 1
    }
    announced = [plan["times_announced"] for row in found.values() for plan in row["plans"]]
    assert announced and set(announced) == {1}

    # Once it is done, a start does nothing more.
    asked = jobs(deployed)
    last = deployed.take_inventory("2035-03")
    assert states_of(deployed, last)[-1] == "Period already collected"
    assert jobs(deployed) == asked
    assert len(deployed.messages("2035-03")) == 1


def test_people_who_were_told_before_it_failed_are_not_told_again(deployed: Deployed) -> None:
    iam = deployed.box.hub("iam")
    role = next(
        role["RoleName"]
        for page in iam.get_paginator("list_roles").paginate()
        for role in page["Roles"]
        if role["RoleName"].startswith("ParePipeline-RecordRunRole")
    )
    policy, document = next(
        (name, found)
        for name in iam.list_role_policies(RoleName=role)["PolicyNames"]
        if "dynamodb:PutItem" in json.dumps(
            found := iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
        )
    )  # fmt: skip
    less = [
        statement for statement in document["Statement"]
        if "dynamodb:PutItem" not in json.dumps(statement["Action"])
    ]  # fmt: skip
    begin = {"scheduled_at": "2029-06-01T06:00:00Z"}

    def put(statements: list[dict[str, Any]]) -> None:
        text = json.dumps({**document, "Statement": statements})
        iam.put_role_policy(RoleName=role, PolicyName=policy, PolicyDocument=text)

    put(less)
    try:
        ended = deployed.ended(deployed.start("Inventory", begin, "unrecorded"), seconds=240)
    finally:
        put(document["Statement"])
    assert ended["status"] == "FAILED"
    assert len(deployed.messages("2029-06")) == 1
    asked = jobs(deployed)

    execution = deployed.take_inventory("2029-06")

    assert "Notify inventory" in states_of(deployed, execution)
    assert jobs(deployed) == asked, "every account was done"
    assert len(deployed.messages("2029-06")) == 1
    (run,) = [run for run in demo.runs_of(deployed.box, "inventory") if run["subject"] == "2029-06"]
    assert run["execution_arn"] == execution
    assert states_of(deployed, deployed.take_inventory("2029-06"))[-1] == "Period already collected"


def _listed(deployed: Deployed, execution: str) -> dict[str, Any]:
    """Return what an execution's step List accounts said."""
    for event in deployed.history(execution):
        details = event.get("stateExitedEventDetails", {})
        if details.get("name") == "List accounts":
            listed: dict[str, Any] = json.loads(details["output"])["listed"]
            return listed
    raise AssertionError(f"{execution} listed nothing")


def test_two_months_name_what_is_new_gone_and_changed_and_keep_what_is_unknown(
    deployed: Deployed,
) -> None:
    box = deployed.box
    shop = box.created.organization.account("shop-prod").account_id
    data = box.created.organization.account("data-prod").account_id
    iam = box.emulator.client("iam", shop)
    for name in ("Leaving", "Changing"):
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(TRUST))
    leaving, changing, coming = (
        f"arn:aws:iam::{shop}:role/{name}" for name in ("Leaving", "Changing", "Coming")
    )
    deployed.take_inventory("2036-10")
    first = deployed.principals("2036-10")
    assert {leaving, changing} <= first.keys()

    iam.delete_role(RoleName="Leaving")
    iam.create_role(RoleName="Coming", AssumeRolePolicyDocument=json.dumps(TRUST))
    iam.attach_role_policy(
        RoleName="Changing", PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess"
    )
    try:
        # The child of one account fails: what it would go on with is damaged.
        box.hub("s3").put_object(
            Bucket=box.outputs["EvidenceBucketName"],
            Key=f"inventory/period=2036-11/work=damaged/account={data}/last_accessed/progress.json",
            Body=b"{",
        )
        execution = deployed.start("Inventory", {"scheduled_at": "2036-11-01T06:00:00Z"}, "damaged")
        assert deployed.ended(execution, seconds=240)["status"] == "SUCCEEDED"
        _check_month(deployed, data, new=coming, gone=leaving, changed=changing, first=first)

        # A person mends it and wants the month anew: all accounts, and people are told again.
        asked = jobs(deployed)
        deployed.take_inventory("2036-11", again=True)
    finally:
        iam.delete_role(RoleName="Coming")
        iam.detach_role_policy(
            RoleName="Changing", PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess"
        )
        iam.delete_role(RoleName="Changing")

    snapshot, second = deployed.snapshot("2036-11"), deployed.principals("2036-11")
    assert (snapshot["unknown_account_count"], snapshot["previous"]) == (0, "2036-10")
    assert jobs(deployed) - asked == len(second)
    assert len(deployed.messages("2036-11")) == 2
    assert second.keys() == (first.keys() - {leaving}) | {coming}
    changes = {arn: row["change"] for arn, row in second.items() if row["change"] != "same"}
    assert changes == {coming: "new", changing: "changed"}
    # The second announcement of what was planned a month ago, however often this month is made.
    for arn, row in second.items():
        for plan in row["plans"]:
            told_before = {each["what"]: each for each in first.get(arn, {}).get("plans", [])}
            if plan["what"] in told_before:
                assert plan["times_announced"] == 2
                assert plan["announced_on"] == told_before[plan["what"]]["announced_on"]


def _check_month(
    deployed: Deployed,
    unknown: str,
    *,
    new: str,
    gone: str,
    changed: str,
    first: dict[str, dict[str, Any]],
) -> None:
    """Check the second month, in which the child of an account failed."""
    snapshot, rows = deployed.snapshot("2036-11"), deployed.principals("2036-11")
    accounts = {account["account_id"]: account for account in snapshot["accounts"]}
    failed = accounts.pop(unknown)
    assert failed["error"] and failed["rows"] is None
    assert failed["known"]["period"] == "2036-10"
    known = {row["principal_arn"] for row in deployed.rows(failed["known"])}
    assert known == {arn for arn in first if f"::{unknown}:" in arn} != set()
    assert all(account["error"] is None for account in accounts.values())

    changes = {arn: row["change"] for arn, row in rows.items() if row["change"] != "same"}
    assert changes == {new: "new", changed: "changed"}
    assert "policies" in rows[changed]["changes"]
    left = [
        row["principal_arn"]
        for account in accounts.values()
        if account["gone"]
        for row in deployed.rows(account["gone"])
    ]
    assert left == [gone], "who is in an account that could not be read is not gone"
    assert (snapshot["counts"]["new"], snapshot["counts"]["gone"]) == (1, 1)
    assert len(deployed.messages("2036-11")) == 1
