from __future__ import annotations

import json
import re
from typing import Any

import pytest
from moto.iam.aws_managed_policies import aws_managed_policies_data

from local.emulator.policy_checks import validate_policy
from pare.policy.catalogue import load_catalogue
from pare.policy.document import PolicyDocument, Statement, parse
from pare.policy.lint import LintFindingJson, lint, load_checks
from pare.policy.resource_types import load_resource_types

BUCKET = "arn:aws:s3:::bucket"
ROLE = "arn:aws:iam::111122223333:role/App"
LINKED = "arn:aws:iam::*:role/aws-service-role"


def allow(**elements: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": BUCKET, **elements}


def policy(*statements: dict[str, Any], **elements: Any) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements), **elements}


def found(*statements: dict[str, Any], **elements: Any) -> list[LintFindingJson]:
    return lint(parse(policy(*statements, **elements)))


def codes(*statements: dict[str, Any], **elements: Any) -> list[str]:
    return [finding["code"] for finding in found(*statements, **elements)]


def condition(operator: str, key: str, value: Any) -> dict[str, Any]:
    return allow(Condition={operator: {key: value}})


def role(action: str | list[str], resource: str, **elements: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **elements}


def without(statement: dict[str, Any], *elements: str) -> dict[str, Any]:
    return {name: value for name, value in statement.items() if name not in elements}


# --- The table


def test_the_table_has_every_code_of_the_rules_and_no_other() -> None:
    table = load_checks()
    names = {*table["checks"], *table["own"]}
    assert not set(table["checks"]) & set(table["own"])
    shown = {code for _, code in CASES} | {code for _, code in DOCUMENT_CASES}
    assert shown == names, "each check has a case below"


def test_services_without_a_region_or_account_have_none_in_the_catalogue() -> None:
    table = load_checks()
    for field, services in (
        (3, table["services_without_region"]),
        (4, table["services_without_account"]),
    ):
        for service in services:
            formats = [
                each
                for several in load_resource_types().arn_formats(service).values()
                for each in several
                if each.split(":")[2] == service
            ]
            assert formats
            assert {each.split(":")[field] for each in formats} == {""}


# --- Each check


CASES: list[tuple[dict[str, Any], str]] = [
    (allow(Sid=""), "EMPTY_SID_VALUE"),
    (allow(Sid="a b"), "UNSUPPORTED_SID"),
    (allow(Principal="*"), "UNSUPPORTED_PRINCIPAL"),
    (allow(NotPrincipal="*"), "ALLOW_WITH_NOT_PRINCIPAL"),
    (without(allow(), "Resource"), "MISSING_RESOURCE"),
    (allow(Action=[]), "EMPTY_ARRAY_ACTION"),
    (allow(Resource=[]), "EMPTY_ARRAY_RESOURCE"),
    (allow(Action="s3:ListBukket"), "INVALID_ACTION"),
    (allow(Action="s3:Lizt*"), "INVALID_ACTION"),
    (allow(Action="ListBucket"), "INVALID_ACTION"),
    (allow(Action="s4:ListBucket"), "INVALID_SERVICE_IN_ACTION"),
    (allow(Action="s3:${aws:username}"), "VARIABLE_UNSUPPORTED_IN_ELEMENT"),
    (allow(Action="s3*:ListBucket"), "WILDCARD_IN_SERVICE_NAME"),
    (allow(Action=["s3:ListBucket", "s3:List*"]), "REDUNDANT_ACTION"),
    (allow(Action=["s3:listbucket", "s3:ListBucket"]), "REDUNDANT_ACTION"),
    ({"Effect": "Allow", "NotAction": "iam:*", "Resource": BUCKET}, "ALLOW_WITH_NOT_ACTION"),
    (allow(Resource="bucket"), "INVALID_ARN_PREFIX"),
    (allow(Resource="arn:aws:s3"), "MISSING_ARN_FIELD"),
    (allow(Resource="arn:aws:s3:::"), "MISSING_ARN_FIELD"),
    (allow(Resource="arn:AWS:s3:::bucket"), "INVALID_PARTITION"),
    (allow(Resource="arn:aws:S3:::bucket"), "INVALID_ARN_SERVICE_CASE"),
    (role("iam:GetRole", ROLE.replace("iam::", "iam:eu-west-1:")), "ARN_REGION_NOT_ALLOWED"),
    (
        role("route53:GetHostedZone", "arn:aws:route53::111122223333:hostedzone/Z1"),
        "ARN_ACCOUNT_NOT_ALLOWED",
    ),
    (role("sqs:SendMessage", "arn:aws:sqs:EU-West:111122223333:q"), "INVALID_ARN_REGION"),
    (role("iam:GetRole", "arn:aws:iam::1111-2222-3333:role/App"), "INVALID_ARN_ACCOUNT"),
    (allow(Resource=[BUCKET, "arn:aws:s3:::bu*"]), "REDUNDANT_RESOURCE"),
    (allow(Action="s3:ListAllMyBuckets"), "RESOURCE_NOT_OF_ACTION"),
    (allow(Action="s3:GetObject"), "RESOURCE_NOT_OF_ACTION"),
    (role("iam:PassRole", "*"), "PASS_ROLE_WITH_STAR_IN_RESOURCE"),
    (role("iam:passrole", ROLE + "*"), "PASS_ROLE_WITH_STAR_IN_RESOURCE"),
    (role("iam:*", "*"), "PASS_ROLE_WITH_STAR_IN_ACTION_AND_RESOURCE"),
    (role("*", "*"), "PASS_ROLE_WITH_STAR_IN_ACTION_AND_RESOURCE"),
    (
        {"Effect": "Allow", "NotAction": "s3:*", "Resource": "*"},
        "PASS_ROLE_WITH_STAR_IN_RESOURCE_AND_NOT_ACTION",
    ),
    (
        {"Effect": "Allow", "Action": "iam:PassRole", "NotResource": ROLE},
        "PASS_ROLE_WITH_NOT_RESOURCE",
    ),
    (
        {"Effect": "Allow", "Action": "iam:Pass*", "NotResource": ROLE},
        "PASS_ROLE_WITH_STAR_IN_ACTION_AND_NOT_RESOURCE",
    ),
    (
        {"Effect": "Allow", "NotAction": "s3:*", "NotResource": ROLE},
        "PASS_ROLE_WITH_NOT_ACTION_AND_NOT_RESOURCE",
    ),
    (role("iam:CreateServiceLinkedRole", f"{LINKED}/*"), "CREATE_SLR_WITH_STAR_IN_RESOURCE"),
    (role("iam:Create*", "*"), "CREATE_SLR_WITH_STAR_IN_ACTION_AND_RESOURCE"),
    (
        {"Effect": "Allow", "NotAction": "s3:*", "Resource": "*"},
        "CREATE_SLR_WITH_STAR_IN_RESOURCE_AND_NOT_ACTION",
    ),
    (
        {"Effect": "Allow", "Action": "iam:CreateServiceLinkedRole", "NotResource": ROLE},
        "CREATE_SLR_WITH_NOT_RESOURCE",
    ),
    (
        {"Effect": "Allow", "Action": "iam:Create*", "NotResource": ROLE},
        "CREATE_SLR_WITH_STAR_IN_ACTION_AND_NOT_RESOURCE",
    ),
    (
        {"Effect": "Allow", "NotAction": "s3:*", "NotResource": ROLE},
        "CREATE_SLR_WITH_NOT_ACTION_AND_NOT_RESOURCE",
    ),
    (condition("StringSame", "aws:PrincipalOrgID", "o-1"), "INVALID_CONDITION_OPERATOR"),
    (condition("Some:StringLike", "aws:PrincipalOrgID", "o-1"), "INVALID_CONDITION_OPERATOR"),
    (condition("NullIfExists", "aws:PrincipalOrgID", "true"), "NULL_WITH_IF_EXISTS"),
    (condition("StringEquals", "PrincipalOrgID", "o-1"), "INVALID_CONDITION_KEY_FORMAT"),
    (condition("StringEquals", "aws:ResourceTag/", "x"), "MISSING_TAG_KEY_IN_CONDITION"),
    (allow(Condition={"StringEquals": {}}), "EMPTY_OBJECT_CONDITION"),
    (
        allow(Condition={"StringEquals": {"s3:prefix": "a", "S3:Prefix": "b"}}),
        "DUPLICATE_KEYS_WITH_DIFFERENT_CASE",
    ),
    (condition("StringEquals", "s3:prefix", []), "EMPTY_ARRAY_CONDITION"),
    (condition("StringEqualsIfExists", "s3:prefix", []), "EMPTY_ARRAY_CONDITION_IFEXISTS"),
    (
        condition("ForAllValues:StringEquals", "aws:TagKeys", []),
        "EMPTY_ARRAY_CONDITION_FORALLVALUES",
    ),
    (
        condition("ForAnyValue:StringEquals", "aws:TagKeys", []),
        "EMPTY_ARRAY_CONDITION_FORANYVALUE",
    ),
    (condition("StringEquals", "s3:prefix", "home/*"), "WILDCARD_WITHOUT_LIKE_OPERATOR"),
    (condition("Bool", "aws:SecureTransport", "yes"), "TYPE_MISMATCH_BOOLEAN"),
    (condition("NumericLessThan", "s3:max-keys", "ten"), "TYPE_MISMATCH_NUMBER"),
    (condition("IpAddress", "aws:SourceIp", "10.0.0"), "TYPE_MISMATCH_IP_RANGE"),
    (
        condition("NumericLessThan", "s3:max-keys", "${aws:username}"),
        "INVALID_VARIABLE_FOR_OPERATOR",
    ),
    (allow(Resource=BUCKET + "/${}"), "EMPTY_VARIABLE"),
    (allow(Resource=BUCKET + "${aws:username"), "MISSING_BRACE_IN_VARIABLE"),
    (allow(Resource="arn:aws:s3:::${BucketName}"), "PLACEHOLDER_IN_RESOURCE"),
]

DOCUMENT_CASES: list[tuple[dict[str, Any], str]] = [
    ({"Statement": [allow()]}, "MISSING_VERSION"),
    (policy(allow(Sid="A"), allow(Sid="A", Effect="Deny")), "UNIQUE_SIDS_REQUIRED"),
    (policy(allow(Sid="A"), allow(Sid="B")), "REDUNDANT_STATEMENT"),
    (
        policy(allow(Resource=BUCKET + "-${aws:username}"), Version="2008-10-17"),
        "VARIABLE_UNSUPPORTED_IN_VERSION",
    ),
    (
        policy(allow(Resource=[f"{BUCKET}-{number:04}" for number in range(300)])),
        "POLICY_SIZE_EXCEEDS_IDENTITY_POLICY_QUOTA",
    ),
]


@pytest.mark.parametrize(("statement", "code"), CASES, ids=lambda each: str(each)[:60])
def test_a_fault_of_a_statement_is_found_where_it_is(statement: dict[str, Any], code: str) -> None:
    findings = found(allow(Sid="First", Resource="*"), statement)
    (finding,) = [each for each in findings if each["code"] == code]
    assert finding["path"].startswith("Statement[1]")
    assert finding["sid"] == statement.get("Sid")
    assert finding["details"].endswith(".")
    assert not [each for each in findings if each["path"].startswith("Statement[0]")]


@pytest.mark.parametrize(("document", "code"), DOCUMENT_CASES, ids=lambda each: str(each)[:60])
def test_a_fault_of_a_document_is_found(document: dict[str, Any], code: str) -> None:
    assert [each["code"] for each in lint(parse(document))] == [code]


def test_a_finding_has_its_type_from_the_table() -> None:
    assert found(allow(Sid="Read", Resource=["bucket", BUCKET])) == [
        {
            "type": "ERROR",
            "code": "INVALID_ARN_PREFIX",
            "details": "The resource bucket does not begin with arn:.",
            "sid": "Read",
            "path": "Statement[0].Resource",
        }
    ]


def test_an_action_the_catalogue_does_not_have_is_a_warning() -> None:
    """AWS calls it an ERROR; but the catalogue may be older than the action."""
    (finding,) = found(allow(Action="s3:ListBukket"))
    assert (finding["type"], finding["code"]) == ("WARNING", "INVALID_ACTION")
    assert "s3:ListBukket" in finding["details"]
    assert load_catalogue().version in finding["details"]
    table = load_checks()
    assert {table["checks"][code] for code in table["uncertain"]} == {"ERROR"}


def test_no_policy_that_aws_wrote_has_an_error() -> None:
    documents = json.loads(aws_managed_policies_data)
    assert len(documents) > 1_000
    errors = {
        (name, finding["code"], finding["details"])
        for name, each in documents.items()
        for finding in lint(parse(each["Document"]))
        if finding["type"] == "ERROR"
    }
    assert not errors


# --- What is right is left alone


GOOD: list[dict[str, Any]] = [
    allow(),
    allow(Resource="*"),
    allow(Resource="arn:*:s3:::bucket"),
    allow(Resource="arn:aws*"),
    allow(Resource="a*"),
    allow(Resource="arn:aws-us-gov:s3:::bucket"),
    allow(Resource="arn:aws-iso-z:s3:::bucket"),
    allow(Action="s3:listbucket"),
    allow(Action="s3:List*"),
    allow(Action="*", Effect="Deny"),
    allow(Action="*", Resource="*", Effect="Deny"),
    allow(Action=["s3:Get*", "s3:*Acl"], Resource="*"),
    allow(Action="s3:GetObject", Resource=f"{BUCKET}/${{aws:username}}/*"),
    allow(Action="s3:GetObject", Resource=f"{BUCKET}/${{aws:username, 'anonymous'}}/*"),
    allow(Action="s3:GetObject", Resource=f"{BUCKET}/${{*}}${{$}}{{x}}"),
    allow(Resource=["arn:aws:s3:::a*b", "arn:aws:s3:::ab*"]),
    allow(Resource=["arn:aws:s3:::bucket-?", "arn:aws:s3:::bucket-10"]),
    role("ec2:DescribeImages", "*"),
    role("ec2:RunInstances", "arn:aws:ec2:eu-west-1::image/ami-1"),
    role("logs:CreateLogStream", "arn:aws:logs:eu-west-1:111122223333:log-group:/aws/x:*"),
    role("execute-api:Invoke", "arn:aws:execute-api:eu-west-1:111122223333:abc/prod/GET/x"),
    role("imagebuilder:GetComponent", "arn:aws:imagebuilder:eu-west-1:aws:component/x/1.0.0/1"),
    role("iam:PassRole", ROLE),
    role(
        "iam:PassRole",
        "*",
        Condition={"StringEquals": {"iam:PassedToService": "lambda.amazonaws.com"}},
    ),
    role("iam:PassRole", "*", Effect="Deny"),
    role("iam:CreateServiceLinkedRole", f"{LINKED}/ecs.amazonaws.com/*"),
    condition("ForAllValues:StringLikeIfExists", "aws:TagKeys", ["a*", "b"]),
    condition("stringequals", "aws:ResourceTag/Team", "x"),
    condition("StringEquals", "aws:PrincipalTag/Team", "${aws:ResourceTag/Team}"),
    condition("StringEquals", "s3:prefix", "${*}"),
    condition("Bool", "aws:SecureTransport", True),
    condition("Bool", "aws:SecureTransport", "${aws:username}"),
    condition("Null", "aws:TokenIssueTime", "true"),
    condition("NumericLessThanEquals", "s3:max-keys", 10),
    condition("IpAddress", "aws:SourceIp", ["203.0.113.0/24", "2001:db8::/32"]),
    condition("DateLessThan", "aws:CurrentTime", "2026-11-22T00:00:00Z"),
    condition("ArnLike", "aws:SourceArn", "arn:aws:sns:*:111122223333:*"),
    condition("StringEquals", "www.amazon.com:app_id", "x"),
]


@pytest.mark.parametrize("statement", GOOD, ids=lambda each: json.dumps(each)[:70])
def test_what_is_right_has_no_findings(statement: dict[str, Any]) -> None:
    assert codes(statement) == []


def test_an_action_somebody_used_is_not_called_invalid() -> None:
    document = parse(policy(allow(Action=["s3:brandNew", "brandnew:Do"], Resource="*")))
    assert lint(document, known_actions=["s3:BrandNew", "brandnew:do"]) == []
    assert len(lint(document)) == 2


def test_the_widest_of_redundant_resources_stays() -> None:
    findings = found(allow(Resource=["arn:aws:s3:::b*", "arn:aws:s3:::bu*", "arn:aws:s3:::bucket"]))
    assert [each["details"].rpartition(" ")[2] for each in findings] == [
        "arn:aws:s3:::bu*.",
        "arn:aws:s3:::bucket.",
    ]


def test_many_resources_are_looked_at_quickly() -> None:
    """Every pair compared would be 16 million pairs: the test would not end."""
    arns = tuple(f"arn:aws:logs:eu-west-1:111122223333:log-group:/x/{n:04}:*" for n in range(4000))
    document = PolicyDocument((Statement("Allow", actions=("logs:GetLogEvents",), resources=arns),))
    assert [each["code"] for each in lint(document)] == [
        "POLICY_SIZE_EXCEEDS_IDENTITY_POLICY_QUOTA"
    ]


# --- The emulator's ValidatePolicy is written apart from this: where both have a check, they agree


SHARED = {
    "INVALID_ACTION",
    "INVALID_ARN_PREFIX",
    "INVALID_SERVICE_IN_ACTION",
    "MISSING_ARN_FIELD",
    "MISSING_RESOURCE",
    "MISSING_VERSION",
    "PASS_ROLE_WITH_STAR_IN_RESOURCE",
    "UNIQUE_SIDS_REQUIRED",
    "UNSUPPORTED_PRINCIPAL",
}
# The emulator takes a role's prefix and a star for one role, iam:* for iam:PassRole, a variable in
# an action for an action that does not exist, and wants all fields of an ARN with wildcards too.
APART = [
    role("iam:passrole", ROLE + "*"),
    role("iam:*", "*"),
    allow(Action="s3:${aws:username}"),
    allow(Resource="arn:aws*"),
    allow(Resource="a*"),
]


@pytest.mark.parametrize(
    "document",
    [policy(each) for each, _ in CASES if each not in APART]
    + [policy(each) for each in GOOD if each not in APART]
    + [each for each, _ in DOCUMENT_CASES],
    ids=lambda each: json.dumps(each)[25:100],
)
def test_the_emulator_agrees(document: dict[str, Any]) -> None:
    theirs = validate_policy(
        {"policyDocument": json.dumps(document), "policyType": "IDENTITY_POLICY"}
    )
    ours = lint(parse(document))
    # With AWS's type, which is the emulator's, where ours is milder.
    types = load_checks()["checks"]
    assert {(types[each["code"]], each["code"]) for each in ours if each["code"] in SHARED} == {
        (each["findingType"], each["issueCode"]) for each in theirs if each["issueCode"] in SHARED
    }


def test_codes_are_spelled_as_aws_spells_them() -> None:
    assert all(re.fullmatch(r"[A-Z]+(_[A-Z]+)*", code) for code in load_checks()["checks"])
