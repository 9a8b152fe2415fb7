from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from pare.aws.doctor.size import examine
from pare.aws.tables import to_item
from tests.doctor_setup import HOME, HUB, OTHER, PAYMENTS, SHOP
from tests.handlers.fake_aws import BUCKET
from tests.unit.inventory import snapshot_folder

if TYPE_CHECKING:
    from collections.abc import Callable

    from pare.aws.evidence_store import EvidenceStore
    from pare.doctor.model import Result
    from tests.handlers.fake_aws import FakeAws

OUTPUTS = {"EvidenceBucketName": BUCKET, "RunsTableName": "Runs"}


@pytest.fixture
def hub(aws: FakeAws, evidence: EvidenceStore, tables: Any) -> FakeAws:
    """A hub with some rules, roles and an analyzer, and no inventory yet."""
    aws.answer(
        "organizations:ListAccounts",
        {
            "Accounts": [
                {"Id": each, "Name": each, "State": "ACTIVE"} for each in (HUB, PAYMENTS, SHOP)
            ]
        },
    )
    aws.answer(
        "organizations:ListDelegatedAdministrators", {"DelegatedAdministrators": [{"Id": HUB}]}
    )
    aws.answer(
        "lambda:GetAccountSettings",
        {"AccountLimit": {"ConcurrentExecutions": 1000, "UnreservedConcurrentExecutions": 1000}},
    )
    aws.answer("accessanalyzer:ListAnalyzers", {"analyzers": []})
    aws.fail("servicequotas:GetServiceQuota", "NoSuchResourceException", 404)
    for region, rules in ((HOME, 7), (OTHER, 3)):
        events = boto3.client("events", region_name=region)
        for number in range(rules):
            events.put_rule(Name=f"rule-{number}", EventPattern='{"source": ["x"]}')
    return aws


@pytest.fixture
def looked(hub: FakeAws, examined: Callable[..., Any]) -> Callable[..., dict[str, Result]]:
    return lambda **changes: {
        each.subject or each.check: each for each in examine(examined(outputs=OUTPUTS, **changes))
    }


def put_inventory(principals: int) -> None:
    account = snapshot_folder.account(PAYMENTS, principal_count=principals)
    head = snapshot_folder.head([account], counts={"principals": principals})
    boto3.client("s3").put_object(
        Bucket=BUCKET,
        Key=f"inventory/period={head['period']}/snapshot.json",
        Body=json.dumps(head).encode(),
    )


def test_quotas_are_compared_in_every_region_with_aws_defaults(
    looked: Callable[..., Any],
) -> None:
    found = looked()

    assert found[f"rules of a bus ({HOME})"].says == "7 of 300, AWS's default"
    assert found[f"rules of a bus ({OTHER})"].says == "3 of 300, AWS's default"
    assert found["stack instances"].says == "3 of 100,000, AWS's default"
    assert found["functions side by side"].says == "120 of 1,000"
    assert found["IAM roles of the hub account"].status == "ok"
    assert [name for name, each in found.items() if each.status != "ok"] == ["size.cost"]


def test_without_a_stack_set_its_quotas_are_not_met(looked: Callable[..., Any]) -> None:
    found = looked(member_stacks="by-hand")

    assert not [each for each in found if "stack instances" in each or "StackSets" in each]


def test_what_service_quotas_says_is_given_counts(hub: FakeAws, looked: Callable[..., Any]) -> None:
    hub.mend("servicequotas:GetServiceQuota")
    hub.answer("servicequotas:GetServiceQuota", {"Quota": {"Value": 8.0}})

    found = looked()[f"rules of a bus ({HOME})"]

    assert (found.status, found.facts) == ("missing", {"need": 7, "limit": 8})
    assert f"--region {HOME}" in found.mend.commands[0]


def test_a_new_account_with_few_functions_side_by_side_is_told(
    hub: FakeAws, looked: Callable[..., Any]
) -> None:
    hub.mend("lambda:GetAccountSettings")
    hub.answer("lambda:GetAccountSettings", {"AccountLimit": {"ConcurrentExecutions": 10}})

    found = looked()["functions side by side"]

    assert found.status == "missing"
    assert "120 of 10" in found.says


def test_the_analyzer_with_the_most_archive_rules_counts(
    hub: FakeAws, looked: Callable[..., Any]
) -> None:
    hub.mend("accessanalyzer:ListAnalyzers")
    analyzer = {
        "arn": "arn", "type": "ORGANIZATION", "createdAt": 0, "status": "ACTIVE",
    }  # fmt: skip
    hub.answer(
        "accessanalyzer:ListAnalyzers",
        {"analyzers": [{**analyzer, "name": "few"}, {**analyzer, "name": "many"}]},
    )
    hub.answer(
        "accessanalyzer:ListArchiveRules",
        lambda asked: {
            "archiveRules": [
                {"ruleName": str(n), "filter": {}, "createdAt": 0, "updatedAt": 0}
                for n in range(90 if asked["analyzerName"] == "many" else 1)
            ]
        },
    )

    found = looked()[f"archive rules of an analyzer ({HOME})"]

    assert (found.status, found.facts["need"]) == ("missing", 90)


def test_what_may_not_be_read_cannot_be_told_and_the_rest_is(
    hub: FakeAws, looked: Callable[..., Any]
) -> None:
    hub.fail("iam:GetAccountSummary", "AccessDenied", 403)
    hub.mend("organizations:ListDelegatedAdministrators")
    hub.fail("organizations:ListDelegatedAdministrators", "AccessDeniedException", 403)

    found = looked()

    assert {name for name, each in found.items() if each.status == "cannot tell"} == {
        "IAM roles of the hub account",
        "IAM policies of the hub account",
        "delegated administrators of StackSets",
        "size.cost",
    }


# --- Cost ---


def test_without_an_inventory_the_cost_is_a_guess(looked: Callable[..., Any]) -> None:
    found = looked()["size.cost"]

    assert found.status == "cannot tell"
    assert "there is no inventory yet" in found.says


def test_the_newest_inventory_counts_users_and_roles(
    looked: Callable[..., Any],
) -> None:
    put_inventory(420)

    found = looked()

    assert found["size.cost"].status == "ok"
    assert "for 3 accounts with 420 users and roles" in found["size.cost"].says
    assert "in the largest account are 420 users and roles" in found["policy generations"].says


def test_log_files_are_those_of_the_latest_nights(looked: Callable[..., Any], tables: Any) -> None:
    put_inventory(420)
    for day in range(1, 11):
        tables.put_item(
            TableName="Runs",
            Item=to_item(
                {
                    "workflow": "activity",
                    "run_id": f"2026-11-{day:02}T04:00:00Z#x",
                    "outcome": "succeeded" if day > 1 else "failed",
                    "counts": {"bytes": 1_000_000_000},
                }
            ),
        )

    found = looked()["size.cost"]

    assert found.facts["guessed"] == ["findings, messages and proposals"]
    # A gigabyte a night, unpacked seven times as large.
    (line,) = [each for each in found.facts["lines"] if "night" in each["what"]]
    assert line["counted"].startswith("213 GB unpacked")
