"""Our own roles are enough, and a permission that is missing is named."""

from __future__ import annotations

from typing import TYPE_CHECKING

from local import demo

if TYPE_CHECKING:
    from tests.local.deployed.conftest import Deployed


def test_permission_taken_away_fails_the_run_and_is_named(deployed: Deployed) -> None:
    """Without this one, nothing shows that enforcement is on."""
    box = deployed.box
    arn = box.created.organization.principal("shop-prod/ShopCheckout").arn
    with deployed.without_right("ParePipeline-RecordProposalRole", "dynamodb:PutItem"):
        execution = deployed.start("Policy", {"principal_arn": arn})
        ended = deployed.ended(execution)

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
    role = role_of(deployed, "Finding")
    with deployed.without_right(role, "states:StartExecution"):
        deployed.send(deployed.event("shop-prod/ShopCheckout", finding_id="no-start"))
        run = deployed.run_of("finding", "no-start")

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


def test_message_that_sns_refused_is_told_with_the_next_round(deployed: Deployed) -> None:
    """What docs/operations.md says to do when the cause is mended: nothing."""
    event = deployed.event(
        "data-prod/ReportReader", finding_id="again-1", findingType="UnusedIAMRole"
    )
    deployed.send(event)
    assert deployed.run_of("finding", "again-1")["outcome"] == "succeeded"

    with deployed.without_right(role_of(deployed, "Notification"), "sns:Publish"):
        refused = deployed.tell(outcome="failed")

    assert refused["counts"]["messages_refused"] >= 1
    assert any("SNS refused" in sentence for sentence in refused["unknown"])
    assert deployed.messages("again-1") == []
    deployed.tell()
    deployed.tell()
    (told,) = deployed.messages("again-1")
    assert "perhaps told before" not in told["Message"]


def role_of(deployed: Deployed, workflow: str) -> str:
    """Return the name of a state machine's role."""
    found = deployed.box.hub("stepfunctions").describe_state_machine(
        stateMachineArn=deployed.box.outputs[f"{workflow}WorkflowArn"]
    )
    return str(found["roleArn"]).rpartition("/")[2]
