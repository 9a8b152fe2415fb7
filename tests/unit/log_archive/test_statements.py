"""What the trail's bucket and keys must let in: our roles, and Access Analyzer as AWS has it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pare.log_archive.statements import bucket_statements, key_statements
from tests.unit.log_archive.setups import BUCKET, HUB, KEY, ORGANIZATION, TRAIL, setup

Json = dict[str, Any]

# As AWS documents them (../shared/aws/policies/trail_bucket_policy_statement.json and
# trail_kms_key_statement.json), for this organization.
DOCUMENTED_BUCKET: Json = {
    "Effect": "Allow",
    "Principal": {"AWS": "*"},
    "Action": ["s3:GetObject", "s3:ListBucket"],
    "Resource": [
        f"arn:aws:s3:::{BUCKET}",
        f"arn:aws:s3:::{BUCKET}/AWSLogs/{ORGANIZATION}/${{aws:PrincipalAccount}}/*",
    ],
    "Condition": {
        "StringEquals": {"aws:PrincipalOrgID": ORGANIZATION},
        "ArnLike": {
            "aws:PrincipalArn": "arn:aws:iam::${aws:PrincipalAccount}:role/service-role/"
            "AccessAnalyzerMonitorServiceRole*"
        },
    },
}
DOCUMENTED_KEY: Json = {
    "Effect": "Allow",
    "Principal": {"AWS": "*"},
    "Action": "kms:Decrypt",
    "Resource": "*",
    "Condition": {
        "StringEquals": {
            "kms:EncryptionContext:aws:cloudtrail:arn": TRAIL,
            "aws:PrincipalOrgID": ORGANIZATION,
        },
        "StringLike": {"kms:ViaService": ["access-analyzer.*.amazonaws.com", "s3.*.amazonaws.com"]},
        "ArnLike": {
            "aws:PrincipalArn": "arn:aws:iam::${aws:PrincipalAccount}:role/service-role/"
            "AccessAnalyzerMonitorServiceRole*"
        },
    },
}


def by_sid(statements: list[Any]) -> dict[str, Json]:
    return {each["Sid"]: each for each in statements}


def test_access_analyzer_gets_what_aws_documents_for_the_bucket() -> None:
    statement = by_sid(bucket_statements(setup()))["ParePolicyGeneration"]
    assert statement == {"Sid": "ParePolicyGeneration", **DOCUMENTED_BUCKET}


def test_access_analyzer_gets_what_aws_documents_for_the_key() -> None:
    statement = by_sid(key_statements(setup(), KEY))["ParePolicyGenerationDecrypts"]
    assert statement == {"Sid": "ParePolicyGenerationDecrypts", **DOCUMENTED_KEY}


def test_our_roles_are_let_in_by_their_names_alone() -> None:
    roles = f"arn:aws:iam::{HUB}:role"
    statements = by_sid([*bucket_statements(setup()), *key_statements(setup(), KEY)])
    ours = {
        sid: each["Condition"]["ArnEquals"]["aws:PrincipalArn"]
        for sid, each in statements.items()
        if each["Principal"] == {"AWS": f"arn:aws:iam::{HUB}:root"}
    }
    assert ours == {
        "PareListsTheTrail": [f"{roles}/PareListLogs", f"{roles}/PareChooseRoute"],
        "PareReadsTheTrail": f"{roles}/PareDigestLogs",
        "PareDecryptsTheTrail": f"{roles}/PareDigestLogs",
    }


def test_a_prefix_stands_before_every_path() -> None:
    statements = by_sid(bucket_statements(setup(log_roots=("audit/AWSLogs/",))))
    below = f"arn:aws:s3:::{BUCKET}/audit/AWSLogs"
    assert statements["PareListsTheTrail"]["Condition"]["StringLike"] == {
        "s3:prefix": "audit/AWSLogs/*"
    }
    assert statements["PareReadsTheTrail"]["Resource"] == f"{below}/*/CloudTrail/*"
    assert statements["ParePolicyGeneration"]["Resource"][1:] == [
        f"{below}/{ORGANIZATION}/${{aws:PrincipalAccount}}/*"
    ]


def test_control_towers_trail_lets_in_nobody_but_pare() -> None:
    roots = (f"{ORGANIZATION}/AWSLogs/", "AWSLogs/")
    tower = setup(made_by_control_tower=True, log_roots=roots)
    assert set(by_sid(bucket_statements(tower))) == {"PareListsTheTrail", "PareReadsTheTrail"}
    assert set(by_sid(key_statements(tower, KEY))) == {"PareDecryptsTheTrail"}
    assert by_sid(bucket_statements(tower))["PareReadsTheTrail"]["Resource"] == [
        f"arn:aws:s3:::{BUCKET}/{ORGANIZATION}/AWSLogs/*/CloudTrail/*",
        f"arn:aws:s3:::{BUCKET}/AWSLogs/*/CloudTrail/*",
    ]


def test_trails_of_single_accounts_have_no_organization_in_the_path() -> None:
    alone = setup(
        is_organization_trail=False,
        arn="arn:aws:cloudtrail:us-east-1:{account_id}:trail/management",
    )
    bucket = by_sid(bucket_statements(alone))["ParePolicyGeneration"]
    key = by_sid(key_statements(alone, KEY))["ParePolicyGenerationDecrypts"]
    assert bucket["Resource"][1] == (f"arn:aws:s3:::{BUCKET}/AWSLogs/${{aws:PrincipalAccount}}/*")
    # Each account's role decrypts what that account's own trail wrote.
    assert key["Condition"]["StringEquals"]["kms:EncryptionContext:aws:cloudtrail:arn"] == (
        "arn:aws:cloudtrail:us-east-1:${aws:PrincipalAccount}:trail/management"
    )


@pytest.mark.parametrize("partition", ["aws", "aws-us-gov", "aws-cn"])
def test_every_arn_is_of_the_partition(partition: str) -> None:
    there = setup(arn=TRAIL.replace("arn:aws:", f"arn:{partition}:"))
    key = KEY.replace("arn:aws:", f"arn:{partition}:")
    text = json.dumps([*bucket_statements(there), *key_statements(there, key)])
    assert text.count("arn:aws") == text.count(f"arn:{partition}:")


def test_in_china_a_service_may_be_named_by_its_endpoint_there() -> None:
    there = setup(arn=TRAIL.replace("arn:aws:", "arn:aws-cn:"))
    ours = by_sid(key_statements(there, KEY.replace("arn:aws:", "arn:aws-cn:")))
    assert ours["PareDecryptsTheTrail"]["Condition"]["StringLike"] == {
        "kms:ViaService": ["s3.*.amazonaws.com", "s3.*.amazonaws.com.cn"]
    }


def test_a_key_of_another_partition_is_refused() -> None:
    with pytest.raises(ValueError, match="aws-cn"):
        key_statements(setup(), KEY.replace("arn:aws:", "arn:aws-cn:"))
