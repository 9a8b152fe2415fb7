from __future__ import annotations

import json
from typing import Any

import pytest

from pare.errors import LimitsError
from pare.policy.document import parse
from pare.policy.grants import granted_actions
from pare.policy.limits import RCP_FULL_ACCESS, bind, read_limits


def document(*statements: dict[str, Any]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements)}


FULL = document({"Effect": "Allow", "Action": "*", "Resource": "*"})
NO_IAM = document({"Effect": "Deny", "Action": "iam:*", "Resource": "*"})
ONLY_S3 = document({"Effect": "Allow", "Action": "s3:*", "Resource": "*"})
RCP = document({
    "Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "*",
    "Condition": {"StringNotEqualsIfExists": {"aws:PrincipalOrgID": "o-1"}},
})  # fmt: skip


@pytest.mark.parametrize(
    ("sources", "levels"),
    [
        ([], []),
        ([FULL], [[FULL]]),
        ([[FULL, NO_IAM]], [[FULL, NO_IAM]]),
        ([[FULL, NO_IAM], ONLY_S3], [[FULL, NO_IAM], [ONLY_S3]]),
        ([{"levels": [[FULL, NO_IAM], [ONLY_S3], FULL]}], [[FULL, NO_IAM], [ONLY_S3], [FULL]]),
        ([json.dumps(FULL)], [[FULL]]),
        ([json.dumps(json.dumps(FULL))], [[FULL]]),
        # As `aws organizations describe-policy` prints it.
        ([{"Policy": {"PolicySummary": {"Name": "FullAWSAccess"}, "Content": json.dumps(FULL)}}],
         [[FULL]]),
        ([[FULL, {"PolicySummary": {}, "Content": json.dumps(NO_IAM)}]], [[FULL, NO_IAM]]),
        # As IAM's policy simulator takes it.
        ([[{"ServiceControlPolicyInputList": [json.dumps(FULL), json.dumps(NO_IAM)]},
           {"ServiceControlPolicyInputList": [json.dumps(ONLY_S3)]}]],
         [[FULL, NO_IAM], [ONLY_S3]]),
    ],
)  # fmt: skip
def test_levels_are_read_in_each_shape(sources: list[Any], levels: list[list[Any]]) -> None:
    assert read_limits(sources) == tuple(tuple(parse(each) for each in level) for level in levels)


def test_a_resource_control_policy_comes_with_what_aws_always_attaches() -> None:
    assert read_limits([RCP]) == ((RCP_FULL_ACCESS, parse(RCP)),)


@pytest.mark.parametrize(
    ("sources", "said"),
    [
        ([FULL, NO_IAM], "File 2 of the limits allows nothing"),
        ([{"levels": [[FULL], [NO_IAM]]}], "File 1 of the limits, level 2 allows nothing"),
        ([[]], "allows nothing"),
        ([[FULL, RCP]], "mixes resource control policies"),
        ([{"Statement": 1}], "File 1 of the limits is not a policy: Statement is neither"),
        (["not JSON"], "is not a policy"),
        ([7], "is not a policy: The policy document is not a JSON object"),
        ([{"SomethingElse": []}], "an element IAM does not know: SomethingElse"),
    ],
)
def test_what_cannot_be_meant_is_an_error_that_names_the_file(
    sources: list[Any], said: str
) -> None:
    with pytest.raises(LimitsError, match=said):
        read_limits(sources)


def test_an_old_document_is_taken_to_the_current_version() -> None:
    old = {"Statement": {"Effect": "Allow", "Action": "*", "Resource": "${a}"}}

    ((found,),) = read_limits([old])

    assert found.version == "2012-10-17"
    assert found.statements[0].resources == ("${$}{a}",)


def test_limits_limit_what_is_granted() -> None:
    administrator = parse(FULL)

    assert granted_actions(
        [administrator], limits=read_limits([[FULL, NO_IAM], ONLY_S3])
    ).actions == granted_actions([parse(ONLY_S3)]).actions  # fmt: skip
    assert (
        granted_actions([administrator], limits=read_limits([RCP])).actions
        == granted_actions([administrator]).actions
    )


def test_service_linked_roles_are_not_bound() -> None:
    assert bind("role")
    assert not bind("service-linked role")
