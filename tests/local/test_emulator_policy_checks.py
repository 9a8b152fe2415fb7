"""ValidatePolicy and CheckNoNewAccess on the emulator, through boto3 over HTTPS (facts §1)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from pare.policy.catalogue import load_catalogue
from tests.local.emulator_fixtures import allow, member, unique

if TYPE_CHECKING:
    from tests.local.emulator_fixtures import Box


def validate(box: Box, document: str | dict[str, Any], **more: Any) -> list[dict[str, Any]]:
    """The findings of a policy."""
    text = document if isinstance(document, str) else json.dumps(document)
    request = {"policyDocument": text, "policyType": "IDENTITY_POLICY", **more}
    findings: list[dict[str, Any]] = box.client("accessanalyzer").validate_policy(**request)[
        "findings"
    ]
    return findings


def codes(findings: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Type and code of each finding."""
    return [(f["findingType"], f["issueCode"]) for f in findings]


def check(box: Box, new: dict[str, Any], existing: dict[str, Any]) -> dict[str, Any]:
    """The answer of CheckNoNewAccess."""
    answer: dict[str, Any] = box.client("accessanalyzer").check_no_new_access(
        newPolicyDocument=json.dumps(new),
        existingPolicyDocument=json.dumps(existing),
        policyType="IDENTITY_POLICY",
    )
    return answer


def test_a_good_policy_has_no_findings(box: Box) -> None:
    document = allow("s3:GetObject", "s3:Get*", "*", resource="arn:aws:s3:::bucket/*")
    assert validate(box, document) == []


def test_each_fault_is_found_where_it_is(box: Box) -> None:
    text = (
        '{\n  "Version": "2012-10-17",\n  "Statement": [\n'
        '    {"Effect": "Allow", "Action": ["s3:GetObjekt", "nope:Do"], "Resource": "bucket"},\n'
        '    {"Effect": "Maybe", "Action": "iam:PassRole", "Resource": "arn:aws:s3"}\n  ]\n}'
    )

    findings = validate(box, text)

    assert codes(findings) == [
        ("ERROR", "INVALID_ACTION"),
        ("ERROR", "INVALID_SERVICE_IN_ACTION"),
        ("ERROR", "INVALID_ARN_PREFIX"),
        ("ERROR", "INVALID_EFFECT"),
        ("ERROR", "MISSING_ARN_FIELD"),
    ]
    location = findings[0]["locations"][0]
    assert location["path"] == [
        {"value": "Statement"},
        {"index": 0},
        {"value": "Action"},
        {"index": 0},
    ]
    span = location["span"]
    assert text[span["start"]["offset"] : span["end"]["offset"]] == '"s3:GetObjekt"'
    assert span["start"]["line"] == 4
    assert findings[0]["learnMoreLink"].startswith("https://docs.aws.amazon.com/IAM/")


def test_a_syntax_error_has_its_place(box: Box) -> None:
    findings = validate(box, '{"Version": }')

    assert codes(findings) == [("ERROR", "JSON_SYNTAX_ERROR")]
    assert findings[0]["locations"][0]["span"]["start"]["offset"] == 12


@pytest.mark.parametrize(
    ("document", "policy_type", "expected"),
    [
        ({"Statement": []}, "IDENTITY_POLICY", "MISSING_VERSION"),
        ({"Version": "2012-10-17"}, "IDENTITY_POLICY", "MISSING_STATEMENT"),
        (
            {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*"}},
            "IDENTITY_POLICY",
            "MISSING_RESOURCE",
        ),
        (allow("*"), "RESOURCE_POLICY", "MISSING_PRINCIPAL"),
        (allow("*", Principal="*"), "IDENTITY_POLICY", "UNSUPPORTED_PRINCIPAL"),
        (allow("iam:PassRole"), "IDENTITY_POLICY", "PASS_ROLE_WITH_STAR_IN_RESOURCE"),
    ],
)
def test_what_is_missing_or_dangerous_is_found(
    box: Box, document: dict[str, Any], policy_type: str, expected: str
) -> None:
    findings = validate(box, document, policyType=policy_type)
    assert [f["issueCode"] for f in findings] == [expected]


def test_a_policy_too_large_for_a_managed_policy_is_found(box: Box) -> None:
    document = allow(*sorted(load_catalogue().actions("ec2")))
    assert codes(validate(box, document)) == [
        ("ERROR", "POLICY_SIZE_EXCEEDS_IDENTITY_POLICY_QUOTA")
    ]


def test_findings_come_in_pages(box: Box) -> None:
    text = json.dumps(allow("x:a", "x:b", "x:c"))
    client = box.client("accessanalyzer")
    request = {"policyDocument": text, "policyType": "IDENTITY_POLICY"}

    first = client.validate_policy(**request, maxResults=2)
    rest = client.validate_policy(**request, nextToken=first["nextToken"])

    assert (len(first["findings"]), len(rest["findings"])) == (2, 1)


@pytest.mark.parametrize(
    ("new", "existing"),
    [
        (allow("s3:GetObject"), allow("s3:GetObject")),
        (allow("s3:GetObject", resource="arn:aws:s3:::a/*"), allow("s3:*")),
        (allow("s3:Get*"), allow("s3:*", "sqs:*")),
        (allow("S3:getobject"), allow("s3:Get*")),
        (allow("s3:GetObject", Condition={"Bool": {"aws:SecureTransport": "true"}}), allow("*")),
    ],
)
def test_what_was_allowed_before_passes(
    box: Box, new: dict[str, Any], existing: dict[str, Any]
) -> None:
    answer = check(box, new, existing)
    assert answer["result"] == "PASS"
    assert "reasons" not in answer


@pytest.mark.parametrize(
    ("new", "existing"),
    [
        (allow("s3:*"), allow("s3:Get*")),
        (allow("s3:GetObject"), allow("s3:GetObject", resource="arn:aws:s3:::a/*")),
        (
            allow("s3:GetObject", resource="arn:aws:s3:::*"),
            allow("s3:*", resource="arn:aws:s3:::a*"),
        ),
        (allow("s3:GetObject"), allow("s3:*", Condition={"Bool": {"aws:SecureTransport": "true"}})),
        (
            {"Statement": [{"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"}]},
            allow("s3:*"),
        ),
    ],
    ids=["more actions", "more resources", "wider pattern", "condition gone", "inconclusive"],
)
def test_new_access_fails_with_the_statement(
    box: Box, new: dict[str, Any], existing: dict[str, Any]
) -> None:
    answer = check(box, new, existing)
    assert answer["result"] == "FAIL"
    assert answer["reasons"][0]["statementIndex"] == 0


def test_a_denial_that_is_gone_is_new_access(box: Box) -> None:
    deny = {"Effect": "Deny", "Action": "s3:DeleteObject", "Resource": "*"}
    existing = allow("s3:*")
    existing["Statement"].append(deny)

    assert check(box, allow("s3:*"), existing)["result"] == "FAIL"
    assert check(box, existing, existing)["result"] == "PASS"


def test_both_checks_need_their_permission_and_json(box: Box) -> None:
    role = box.role(unique("checker"), allow("access-analyzer:ValidatePolicy"))
    client = box.session(role).client("accessanalyzer")
    client.validate_policy(policyDocument="{}", policyType="IDENTITY_POLICY")

    with pytest.raises(ClientError, match="access-analyzer:CheckNoNewAccess"):
        client.check_no_new_access(
            newPolicyDocument="{}", existingPolicyDocument="{}", policyType="IDENTITY_POLICY"
        )
    with pytest.raises(ClientError) as error:
        check(box, {}, allow("*"))
    assert member(error, "fieldList")[0]["name"] == "newPolicyDocument"
