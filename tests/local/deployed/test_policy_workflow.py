"""A principal becomes a proposal: what is kept, what goes, and when there is none."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from local import demo

if TYPE_CHECKING:
    from tests.local.deployed.conftest import Deployed


def bases(proposal: dict[str, Any]) -> dict[str, list[str]]:
    """Return the proposal's actions by what they rest on."""
    found: dict[str, list[str]] = {}
    for row in proposal["document"]["evidence"]:
        found.setdefault(row["basis"], []).extend(row["actions"])
    return found


def codes(proposal: dict[str, Any]) -> set[str]:
    return {reason["code"] for reason in proposal["document"]["reasons"]}


def test_administrator_is_narrowed_to_what_it_used(deployed: Deployed) -> None:
    proposal = deployed.propose("shop-prod/ShopCheckout")

    observed = set(bases(proposal)["observed"])
    used = {
        "cognito-idp:AdminGetUser",
        "dynamodb:DescribeTable",
        "kms:Decrypt",
        "secretsmanager:GetSecretValue",
        "ssm:GetParameter",
        "states:StartExecution",
    }
    assert used <= observed
    # Access Analyzer grants denied calls; the role asked for this one and was refused.
    assert observed - used == {"dynamodb:DeleteTable"}
    assert "dynamodb:GetItem" in bases(proposal)["kept: not observable"]
    document = proposal["document"]
    assert document["before"]["action_count"] > 20_000
    # The six used services, and iam for PassRole, which nothing can observe.
    assert bases(proposal)["kept: not observable"].count("iam:PassRole") == 1
    assert document["after"]["service_count"] == 7
    assert "ec2" in document["removed_services"]
    assert document["coverage"]["check_no_new_access"]["result"] == "PASS"
    assert not [f for f in document["coverage"]["validate_policy"] if f["type"] == "ERROR"]
    assert proposal["verdict"] == "review"


def test_policies_and_evidence_lie_beside_the_proposal(deployed: Deployed) -> None:
    proposal = deployed.propose("shop-prod/ShopCheckout")

    ref = proposal["proposal"]
    folder = ref["key"].rpartition("/")[0]
    listed = deployed.box.hub("s3").list_objects_v2(Bucket=ref["bucket"], Prefix=folder + "/")
    names = {item["Key"].rpartition("/")[2] for item in listed["Contents"]}
    assert names == {
        "current.json", "policy_generation.json", "last_accessed.json", "proposal.json",
        "policy-1.json", "policy.tf", "policy.cloudformation.yaml", "proposal.md",
    }  # fmt: skip
    policy = demo.read_json(
        deployed.box, {"bucket": ref["bucket"], "key": f"{folder}/policy-1.json"}
    )
    assert policy == proposal["document"]["documents"][0]
    assert len(json.dumps(policy, separators=(",", ":"))) <= 6144


def test_service_that_cloudtrail_does_not_show_is_kept(deployed: Deployed) -> None:
    proposal = deployed.propose("data-prod/ReportReader")

    kept = bases(proposal)["kept: not observable"]
    assert "s3:GetObject" in kept
    assert "KEPT_NOT_OBSERVABLE" in codes(proposal)
    # Kept as it is granted today: on the same resources, never on everything.
    for document in proposal["document"]["documents"]:
        for statement in document["Statement"]:
            assert statement["Resource"] != ["*"]


@pytest.mark.parametrize(
    ("principal", "reason"),
    [
        ("shop-prod/BreakGlassAdmin", "break-glass"),
        ("identity-center", "Identity Center"),
        ("service-linked", "service-linked"),
        ("bootstrap", "deploys infrastructure"),
    ],
)
def test_principal_that_must_not_be_narrowed_gets_a_refusal_with_the_reason(
    deployed: Deployed, principal: str, reason: str
) -> None:
    proposal = deployed.propose(_find(deployed, principal))

    assert proposal["verdict"] == "refused"
    assert codes(proposal) == {"NOT_NARROWED"}
    assert reason in proposal["document"]["reasons"][0]["text"]
    assert proposal["document"]["documents"] == []


def _find(deployed: Deployed, kind: str) -> str:
    """Return account/Name of the first principal of a kind in the seed, or of the one named."""
    markers = {
        "identity-center": "/aws-reserved/sso.amazonaws.com/",
        "service-linked": "/aws-service-role/",
        "bootstrap": "role/cdk-",
    }
    if kind not in markers:
        return kind
    organization = deployed.box.created.organization
    for account in organization.accounts:
        for principal in account.principals:
            if markers[kind] in principal.arn:
                return f"{account.name}/{principal.name}"
    raise AssertionError(f"the seed has no {kind}")


def test_role_nobody_used_gets_no_proposal(deployed: Deployed) -> None:
    proposal = deployed.propose("shop-prod/LegacyExporter")

    assert proposal["verdict"] == "refused"
    assert codes(proposal) == {"NO_ACTIVITY"}


@pytest.mark.parametrize(
    "code",
    [
        "AUTHORIZATION_ERROR",
        "RESOURCE_NOT_FOUND_ERROR",
        "SERVICE_QUOTA_EXCEEDED_ERROR",
        "SERVICE_ERROR",
    ],
)
def test_failed_job_ends_in_a_refusal_with_its_code_and_what_to_do(
    deployed: Deployed, code: str
) -> None:
    deployed.box.emulator.control(
        "faults",
        {"faults": [{"operation": "StartPolicyGeneration", "kind": "failed_job", "code": code}]},
    )

    proposal = deployed.propose("shop-prod/ShopCheckout")

    assert proposal["verdict"] == "refused"
    (reason,) = proposal["document"]["reasons"]
    assert reason["code"] == code
    assert len(reason["what_to_do"]) > 30
    assert reason["what_to_do"].split(":")[0][:40] in deployed.message(
        f"{proposal['created_at']}/"
    )["Message"].replace("\n  ", " ")


def test_quota_that_stays_used_up_ends_in_a_refusal_and_a_message(deployed: Deployed) -> None:
    deployed.box.emulator.control("settings", {"quota_per_day": 0})

    proposal = deployed.propose("shop-prod/ShopCheckout")

    assert proposal["verdict"] == "refused"
    assert codes(proposal) == {"AccessAnalyzerQuotaError"}
    message = deployed.message(f"{proposal['created_at']}/")
    assert message["Subject"] == "[Pare] No proposal for ShopCheckout"
    assert "tomorrow" in message["Message"]


def test_job_that_hangs_is_cancelled_and_ends_in_a_refusal(deployed: Deployed) -> None:
    deployed.box.emulator.control(
        "faults", {"faults": [{"operation": "StartPolicyGeneration", "kind": "stuck_job"}]}
    )

    proposal = deployed.propose("shop-prod/ShopCheckout")

    assert codes(proposal) == {"PolicyGenerationTimeoutError"}
    account = deployed.box.created.organization.account("shop-prod").account_id
    analyzer = deployed.box.emulator.client("accessanalyzer", account)
    jobs = analyzer.list_policy_generations(
        principalArn=deployed.box.created.organization.principal("shop-prod/ShopCheckout").arn
    )["policyGenerations"]
    assert "IN_PROGRESS" not in {job["status"] for job in jobs}


def test_throttling_and_server_errors_pass(deployed: Deployed) -> None:
    faults = [
        {"operation": operation, "kind": kind, "count": 2}
        for operation, kind in (
            ("StartPolicyGeneration", "throttle"),
            ("GetGeneratedPolicy", "server_error"),
            ("GenerateServiceLastAccessedDetails", "throttle"),
            ("ValidatePolicy", "throttle"),
        )
    ]
    deployed.box.emulator.control("faults", {"faults": faults})

    proposal = deployed.propose("shop-prod/ShopCheckout")

    assert proposal["verdict"] == "review"


def test_failed_last_accessed_job_means_unknown_and_no_proposal(deployed: Deployed) -> None:
    deployed.box.emulator.control(
        "faults",
        {"faults": [{"operation": "GenerateServiceLastAccessedDetails", "kind": "failed_job"}]},
    )

    proposal = deployed.propose("shop-prod/ShopCheckout")

    assert proposal["verdict"] == "refused"
    assert codes(proposal) == {"LAST_ACCESSED_UNKNOWN"}
