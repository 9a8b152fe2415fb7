"""Our own roles are enough, and a permission that is missing is named."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from local import demo

if TYPE_CHECKING:
    from tests.local.deployed.conftest import Deployed


def test_permission_taken_away_fails_the_run_and_is_named(deployed: Deployed) -> None:
    """Without this one, nothing shows that enforcement is on."""
    box = deployed.box
    iam = box.hub("iam")
    role = next(
        role["RoleName"]
        for page in iam.get_paginator("list_roles").paginate()
        for role in page["Roles"]
        if role["RoleName"].startswith("ParePipeline-RecordProposalRole")
    )
    (policy,) = iam.list_role_policies(RoleName=role)["PolicyNames"]
    document = iam.get_role_policy(RoleName=role, PolicyName=policy)["PolicyDocument"]
    less = [
        statement for statement in document["Statement"]
        if "dynamodb:PutItem" not in json.dumps(statement["Action"])
    ]  # fmt: skip
    assert len(less) == len(document["Statement"]) - 1
    iam.put_role_policy(
        RoleName=role,
        PolicyName=policy,
        PolicyDocument=json.dumps({**document, "Statement": less}),
    )
    arn = box.created.organization.principal("shop-prod/ShopCheckout").arn
    try:
        execution = deployed.start("Policy", {"principal_arn": arn})
        ended = deployed.ended(execution)
    finally:
        iam.put_role_policy(RoleName=role, PolicyName=policy, PolicyDocument=json.dumps(document))

    assert ended["status"] == "FAILED"
    assert ended["error"] == "AwsCallError"
    assert "dynamodb:PutItem" in ended["cause"]
    run = next(run for run in demo.runs_of(box, "policy") if run["execution_arn"] == execution)
    assert run["outcome"] == "failed"
    assert "dynamodb:PutItem" in run["message"]
    told = deployed.message(execution)
    assert told["Subject"] == "[Pare] The policy workflow failed: AwsCallError"
    assert "dynamodb:PutItem" in told["Message"]


def test_state_machine_acts_with_its_own_role(deployed: Deployed) -> None:
    box = deployed.box
    iam, states = box.hub("iam"), box.hub("stepfunctions")
    arn = box.outputs["FindingWorkflowArn"]
    role = states.describe_state_machine(stateMachineArn=arn)["roleArn"].rpartition("/")[2]
    (policy,) = iam.list_role_policies(RoleName=role)["PolicyNames"]
    document = iam.get_role_policy(RoleName=role, PolicyName=policy)["PolicyDocument"]
    less = [
        statement for statement in document["Statement"]
        if "states:StartExecution" not in json.dumps(statement["Action"])
    ]  # fmt: skip
    iam.put_role_policy(
        RoleName=role,
        PolicyName=policy,
        PolicyDocument=json.dumps({**document, "Statement": less}),
    )
    try:
        deployed.send(deployed.event("shop-prod/ShopCheckout", finding_id="no-start"))
        run = deployed.run_of("finding", "no-start")
    finally:
        iam.put_role_policy(RoleName=role, PolicyName=policy, PolicyDocument=json.dumps(document))

    assert run["outcome"] == "failed"
    assert "states:StartExecution" in run["message"]


def test_hub_cannot_change_iam_in_a_member_account(deployed: Deployed) -> None:
    """The member role's own policy, asked of an independent evaluator."""
    account = deployed.box.created.organization.account("shop-prod").account_id
    iam = deployed.box.emulator.client("iam", account)
    writes = ["iam:PutRolePolicy", "iam:AttachRolePolicy", "iam:DeleteRole", "iam:CreateUser",
              "iam:UpdateAssumeRolePolicy", "iam:PassRole"]  # fmt: skip

    answer = iam.simulate_principal_policy(
        PolicySourceArn=f"arn:aws:iam::{account}:role/PareMember",
        ActionNames=writes,
        ResourceArns=[f"arn:aws:iam::{account}:role/app/ShopCheckout"],
    )

    decisions = {
        result["EvalActionName"]: result["EvalDecision"] for result in answer["EvaluationResults"]
    }
    assert set(decisions.values()) == {"implicitDeny"}


def test_failed_finding_started_again_is_told_after_all(deployed: Deployed) -> None:
    """What docs/operations.md says to do when the cause is mended."""
    box = deployed.box
    iam, states = box.hub("iam"), box.hub("stepfunctions")
    role = next(
        role["RoleName"]
        for page in iam.get_paginator("list_roles").paginate()
        for role in page["Roles"]
        if role["RoleName"].startswith("ParePipeline-NotifyFindingRole")
    )
    (policy,) = iam.list_role_policies(RoleName=role)["PolicyNames"]
    document = iam.get_role_policy(RoleName=role, PolicyName=policy)["PolicyDocument"]
    less = [s for s in document["Statement"] if "sns:Publish" not in json.dumps(s["Action"])]
    event = deployed.event(
        "data-prod/ReportReader", finding_id="again-1", findingType="UnusedIAMRole"
    )
    iam.put_role_policy(
        RoleName=role,
        PolicyName=policy,
        PolicyDocument=json.dumps({**document, "Statement": less}),
    )
    try:
        deployed.send(event)
        run = deployed.run_of("finding", "again-1")
    finally:
        iam.put_role_policy(RoleName=role, PolicyName=policy, PolicyDocument=json.dumps(document))
    assert run["outcome"] == "failed"
    assert "sns:Publish" in run["message"]

    failed = states.describe_execution(executionArn=run["execution_arn"])
    again = states.start_execution(
        stateMachineArn=failed["stateMachineArn"], input=failed["input"]
    )["executionArn"]

    assert deployed.ended(again)["status"] == "SUCCEEDED"
    told = [m for m in deployed.messages("again-1") if m["Subject"].startswith("[Pare] New")]
    assert len(told) == 1
