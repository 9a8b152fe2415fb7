"""What the steps of the policy workflow hand to each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from pare.policy.evidence import Evidence, TermsJson, terms_of
from pare.policy.proposal import ProposalJson, build_proposal
from tests.handlers.fake_aws import BUCKET, HUB, MEMBER, REGION

if TYPE_CHECKING:
    from lambdas.policies.resolve_principal import Principal
    from pare.policy.current import CurrentAccessJson
    from pare.policy.evidence import GenerationOutcomeJson, LastAccessedOutcomeJson

ARN = f"arn:aws:iam::{MEMBER}:role/app/Shop"
CREATED_AT = "2026-11-21T09:00:00.123Z"
PREFIX = f"proposals/{MEMBER}/role/app/Shop/{CREATED_AT}"
EXECUTION = f"arn:aws:states:{REGION}:{HUB}:execution:Policy:finding-0a1b"
USED_AT = "2026-11-20T09:00:00Z"
# Of a principal without digests.
ROUTE = {"route": "access-analyzer", "reason": "no digests", "waits": True}
TERMS: TermsJson = {
    "break_glass_tag": "pare:break-glass",
    "exemptions": [],
    "thresholds": {"min_window_days": 80, "complete_data_events": []},
    "fold_after": 20,
    "packing": "auto",
}


def principal(**changes: Any) -> Principal:
    """Return what ResolvePrincipal says of a role."""
    fields: dict[str, Any] = {
        "principal_arn": ARN,
        "account_id": MEMBER,
        "kind": "role",
        "owner": "orders@example.com",
        "is_narrowable": True,
        "created_at": CREATED_AT,
        "prefix": PREFIX,
        "finding_id": "b8ae0460",
        "batch": None,
        "current": {"bucket": BUCKET, "key": f"{PREFIX}/current.json"},
    }
    return cast("Principal", {**fields, **changes})


def allow(*actions: str, resource: str = "*") -> dict[str, Any]:
    """Return a policy document with one Allow statement."""
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": resource}
    return {"Version": "2012-10-17", "Statement": [statement]}


def current(document: dict[str, Any], **changes: Any) -> CurrentAccessJson:
    """Return what IAM says of the role: one inline policy."""
    fields: dict[str, Any] = {
        "principal_arn": ARN,
        "principal_id": "AROAEXAMPLE",
        "kind": "role",
        "created_at": "2024-01-01T00:00:00Z",
        "last_used_at": USED_AT,
        "tags": {},
        "policies": [
            {"source": "inline", "name": "p", "arn": None, "group": None, "document": document}
        ],
        "boundary": None,
    }
    return cast("CurrentAccessJson", {**fields, **changes})


def generated(*documents: dict[str, Any], **changes: Any) -> GenerationOutcomeJson:
    """Return the outcome of a policy generation."""
    fields: dict[str, Any] = {
        "outcome": "SUCCEEDED",
        "message": "",
        "job_id": "job-1",
        "is_complete": True,
        "policies": list(documents),
        "trail": None,
    }
    return cast("GenerationOutcomeJson", {**fields, **changes})


def accessed(*services: str, **changes: Any) -> LastAccessedOutcomeJson:
    """Return the outcome of a last accessed job: services that were used, nothing tracked."""
    fields: dict[str, Any] = {
        "outcome": "COMPLETED",
        "message": "",
        "services": [
            {
                "service": service,
                "name": service,
                "last_accessed_at": USED_AT,
                "region": REGION,
                "actions": None,
            }
            for service in services
        ],
    }
    return cast("LastAccessedOutcomeJson", {**fields, **changes})


def proposal(
    access: CurrentAccessJson,
    generation: GenerationOutcomeJson,
    last_accessed: LastAccessedOutcomeJson,
    **terms: Any,
) -> ProposalJson:
    """Return the proposal for the role from Access Analyzer's evidence."""
    evidence = Evidence(
        principal_arn=ARN,
        account_id=MEMBER,
        kind=access["kind"],
        current=access,
        generation=generation,
        last_accessed=last_accessed,
        route=ROUTE,
    )
    return build_proposal(
        evidence, terms_of(cast("TermsJson", {**TERMS, **terms}), today=CREATED_AT[:10])
    )


def call(event_id: str, day: str, *, arn: str = ARN, unique_id: str = "AROAEXAMPLE",
         name: str = "ListQueues") -> dict[str, Any]:  # fmt: skip
    """Return the record of a role's call."""
    role = arn.rpartition("/")[2]
    issuer = {"type": "Role", "arn": arn, "principalId": unique_id, "accountId": MEMBER,
              "userName": role}  # fmt: skip
    return {
        "eventVersion": "1.11",
        "userIdentity": {
            "type": "AssumedRole",
            "principalId": f"{unique_id}:session",
            "arn": f"arn:aws:sts::{MEMBER}:assumed-role/{role}/session",
            "accountId": MEMBER,
            "sessionContext": {"sessionIssuer": issuer},
        },
        "eventTime": f"{day}T10:00:00Z",
        "eventSource": "sqs.amazonaws.com",
        "eventName": name,
        "awsRegion": "eu-west-1",
        "eventID": event_id,
        "eventType": "AwsApiCall",
        "eventCategory": "Management",
        "managementEvent": True,
        "recipientAccountId": MEMBER,
    }
