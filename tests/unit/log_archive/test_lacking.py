"""What a policy does not grant of a statement: by what it means, whoever wrote it."""

from __future__ import annotations

from typing import Any

import pytest

from pare.log_archive.lacking import in_doubt, lacking
from pare.log_archive.statements import bucket_statements, key_statements
from tests.unit.log_archive.setups import BUCKET, HUB, KEY, ORGANIZATION, TRAIL, setup

Json = dict[str, Any]
LISTS, READS, GENERATES = bucket_statements(setup())
DECRYPTS, GENERATES_DECRYPTS = key_statements(setup(), KEY)
ALL = (LISTS, READS, GENERATES, DECRYPTS, GENERATES_DECRYPTS)
BUCKET_ARN = f"arn:aws:s3:::{BUCKET}"
ROLE = f"arn:aws:iam::{HUB}:role"


def policy(*statements: Any, version: str = "2012-10-17") -> Json:
    return {"Version": version, "Statement": list(statements)}


def key_of(wanted: Any) -> str:
    return KEY if wanted["Action"] == "kms:Decrypt" else ""


def lack(wanted: Any, *statements: Any, version: str = "2012-10-17") -> tuple[str, ...]:
    there = policy(*statements, version=version)
    return lacking(there, wanted, organization_id=ORGANIZATION, key_arn=key_of(wanted))


def doubt(wanted: Any, *statements: Any) -> tuple[str, ...]:
    there = policy(*statements)
    return in_doubt(there, wanted, organization_id=ORGANIZATION, key_arn=key_of(wanted))


def deny(sid: str | None = "OnlyOurNetwork", **condition: Any) -> Json:
    """A Deny of everything, under a condition."""
    return {
        **({"Sid": sid} if sid else {}),
        "Effect": "Deny",
        "Principal": "*",
        "Action": ["s3:*", "kms:*"],
        "Resource": "*",
        "Condition": condition,
    }


@pytest.mark.parametrize("statement", ALL, ids=lambda each: each["Sid"])
def test_a_statement_grants_what_it_grants(statement: Any) -> None:
    assert lack(statement, statement) == ()
    key_arn = key_of(statement)
    assert lacking(policy(statement), statement, key_arn=key_arn) == ()
    nothing = lacking({}, statement, organization_id=ORGANIZATION, key_arn=key_arn)
    assert lack(statement) == nothing != ()
    assert doubt(statement, statement) == ()
    assert in_doubt({}, statement, key_arn=key_arn) == ()


@pytest.mark.parametrize("statement", ALL, ids=lambda each: each["Sid"])
def test_the_sid_does_not_matter(statement: Any) -> None:
    assert lack(statement, {**statement, "Sid": "SomethingElse"}) == ()


@pytest.mark.parametrize(
    ("log_roots", "made_by_control_tower"),
    [(("audit/AWSLogs/",), False), ((f"{ORGANIZATION}/AWSLogs/", "AWSLogs/"), True)],
)
def test_it_is_so_with_every_layout(
    log_roots: tuple[str, ...], made_by_control_tower: bool
) -> None:
    there = setup(log_roots=log_roots, made_by_control_tower=made_by_control_tower)
    statements = bucket_statements(there)
    for each in statements:
        assert lack(each, *statements) == ()
    # The path without the prefix, or with one of two roots, is not enough.
    for each, other in zip(bucket_statements(setup()), statements, strict=False):
        assert lack(other, each) != ()


def test_it_is_so_with_the_trails_of_single_accounts() -> None:
    alone = setup(
        is_organization_trail=False, arn="arn:aws:cloudtrail:us-east-1:{account_id}:trail/x"
    )
    for each in (*bucket_statements(alone), *key_statements(alone, KEY)):
        assert lack(each, each) == ()
    assert lack(bucket_statements(alone)[2], GENERATES) != ()
    assert lack(key_statements(alone, KEY)[1], GENERATES_DECRYPTS) != ()


def test_roles_may_be_the_principal_themselves() -> None:
    named = {
        "Effect": "Allow",
        "Principal": {"AWS": [f"{ROLE}/PareListLogs", f"{ROLE}/PareChooseRoute"]},
        "Action": "s3:List*",
        "Resource": BUCKET_ARN,
    }
    assert lack(LISTS, named) == ()
    one = {**named, "Principal": {"AWS": f"{ROLE}/PareListLogs"}}
    lines = lack(LISTS, one)
    assert len(lines) == 2
    assert all("PareChooseRoute: no statement allows it" in line for line in lines)


def test_several_statements_may_grant_it_together() -> None:
    get = {**GENERATES, "Action": "s3:GetObject"}
    see = {**GENERATES, "Action": "s3:ListBucket"}
    assert lack(GENERATES, get, see) == ()
    assert lack(GENERATES, get) == tuple(
        f"s3:ListBucket on {BUCKET_ARN} by arn:aws:iam::{account}:role/service-role/"
        "AccessAnalyzerMonitorServiceRole_Pare: no statement allows it"
        for account in ("111122223333", "444455556666")
    )


def test_the_path_without_the_organization_is_lacking() -> None:
    # The mistake of AWS's own older blog post.
    resources = [BUCKET_ARN, f"{BUCKET_ARN}/AWSLogs/${{aws:PrincipalAccount}}/*"]
    lines = lack(GENERATES, {**GENERATES, "Resource": resources})
    assert lines
    assert all(line.startswith("s3:GetObject") for line in lines)


def test_an_old_version_has_no_variables() -> None:
    assert lack(GENERATES, GENERATES, version="2008-10-17") != ()
    assert lack(READS, READS, version="2008-10-17") == ()


def test_accounts_listed_one_by_one_are_not_all_accounts() -> None:
    resources = [BUCKET_ARN, f"{BUCKET_ARN}/AWSLogs/{ORGANIZATION}/111122223333/*"]
    listed = {**GENERATES, "Resource": resources}
    assert lack(GENERATES, listed) != ()
    # Where these are all that there are, they are.
    assert lacking(policy(listed), GENERATES, account_ids=("111122223333",)) == ()


@pytest.mark.parametrize(
    "change",
    [
        {"Condition": {"StringEquals": {"kms:EncryptionContext:aws:cloudtrail:arn": TRAIL + "2"}}},
        {"Condition": {"StringLike": {"kms:ViaService": "access-analyzer.*.amazonaws.com"}}},
        {"Condition": {"StringEquals": {"aws:PrincipalOrgID": "o-another0000"}}},
        {"Condition": {"IpAddress": {"aws:SourceIp": "192.0.2.0/24"}}},
        {"Principal": {"AWS": "arn:aws:iam::111122223333:root"}},
        {"Action": "kms:Encrypt"},
        {"Effect": "Deny"},
    ],
)
def test_a_narrower_statement_is_lacking(change: Json) -> None:
    assert lack(GENERATES_DECRYPTS, {**GENERATES_DECRYPTS, **change}) != ()


def test_the_documented_statement_without_a_via_service_grants_more() -> None:
    wide = {
        **GENERATES_DECRYPTS,
        "Condition": {
            "StringEquals": {"aws:PrincipalOrgID": ORGANIZATION},
            "StringLike": {
                "aws:PrincipalArn": "arn:aws:iam::${aws:PrincipalAccount}:role/service-role/"
                "AccessAnalyzerMonitorServiceRole*"
            },
        },
    }
    assert lack(GENERATES_DECRYPTS, wide) == ()


@pytest.mark.parametrize("statement", [DECRYPTS, GENERATES_DECRYPTS], ids=lambda each: each["Sid"])
def test_a_key_policy_may_name_the_key_itself_and_no_other(statement: Any) -> None:
    other = KEY.replace("0a1b2c3d", "ffffffff")
    assert lack(statement, {**statement, "Resource": KEY}) == ()
    assert lack(statement, {**statement, "Resource": KEY.replace(KEY[-36:], "*")}) == ()
    lines = lack(statement, {**statement, "Resource": other})
    assert lines
    assert all(f"kms:Decrypt on {KEY} by " in line for line in lines)
    # Nor does a Deny of another key say anything about this one.
    forbids = {**deny(), "Resource": other}
    assert lack(statement, statement, forbids) == doubt(statement, statement, forbids) == ()


def test_a_keys_statement_is_not_asked_without_the_key() -> None:
    for ask in (lacking, in_doubt):
        with pytest.raises(ValueError, match="PareDecryptsTheTrail is asked of a key's policy"):
            ask(policy(DECRYPTS), DECRYPTS)


def test_a_key_is_used_through_services_of_its_own_region() -> None:
    there = KEY.replace("us-east-1", "eu-west-1")
    for region, granted in (("eu-west-1", True), ("us-east-1", False)):
        service = {"kms:ViaService": f"s3.{region}.amazonaws.com"}
        wanted: Any = DECRYPTS["Condition"]
        narrow = policy({**DECRYPTS, "Condition": {**wanted, "StringEquals": service}})
        assert (lacking(narrow, DECRYPTS, key_arn=there) == ()) is granted


def test_a_deny_that_applies_is_said() -> None:
    deny = {
        "Sid": "OnlyUs",
        "Effect": "Deny",
        "NotPrincipal": {"AWS": "arn:aws:iam::333333333333:root"},
        "Action": "s3:*",
        "Resource": f"{BUCKET_ARN}/*",
    }
    lines = lack(READS, READS, deny)
    assert len(lines) == 1
    assert lines[0].endswith("PareDigestLogs: a Deny statement forbids it")


def test_a_deny_of_calls_without_tls_is_not() -> None:
    deny = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": [BUCKET_ARN, f"{BUCKET_ARN}/*"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    assert lack(READS, READS, deny) == ()


@pytest.mark.parametrize("statement", ALL, ids=lambda each: each["Sid"])
@pytest.mark.parametrize(
    ("condition", "keys"),
    [
        ({"StringNotEquals": {"aws:SourceVpce": "vpce-1"}}, "aws:SourceVpce"),
        ({"NotIpAddress": {"aws:SourceIp": "192.0.2.0/24"}}, "aws:SourceIp"),
        ({"StringNotLike": {"aws:userId": ["AROAEXAMPLE:*"]}}, "aws:userId"),
        (
            {
                "StringNotEqualsIfExists": {"aws:SourceVpc": "vpc-1", "aws:PrincipalTag/net": "x"},
                "BoolIfExists": {"aws:PrincipalIsAWSService": "false"},
            },
            "aws:PrincipalTag/net, aws:SourceVpc",
        ),
        ({"NumericLessThan": {"s3:TlsVersion": "1.3"}}, "s3:TlsVersion"),
    ],
)
def test_a_deny_by_what_nobody_can_know_is_in_doubt(
    statement: Any, condition: Json, keys: str
) -> None:
    perimeter = deny(**condition)
    actions = statement["Action"]
    named = ", ".join(actions) if isinstance(actions, list) else actions
    assert lack(statement, statement, perimeter) == ()
    assert doubt(statement, perimeter, statement) == (
        f"OnlyOurNetwork denies {named} by a condition that cannot be judged from here: {keys}",
    )


@pytest.mark.parametrize(
    "condition",
    [
        {"NumericLessThan": {"s3:TlsVersion": "1.2"}},
        {"StringNotEquals": {"aws:PrincipalOrgID": ORGANIZATION}},
        {"StringNotEqualsIfExists": {"aws:SourceArn": TRAIL}, "Null": {"aws:SourceArn": "false"}},
        {"Bool": {"aws:PrincipalIsAWSService": "true"}},
        # Unknown things do not matter where a known one decides.
        {
            "StringNotEquals": {"aws:PrincipalOrgID": ORGANIZATION, "aws:SourceVpce": "vpce-1"},
        },
    ],
)
def test_a_deny_that_surely_lets_everybody_in_is_no_doubt(condition: Json) -> None:
    for each in ALL:
        assert lack(each, each, deny(**condition)) == doubt(each, each, deny(**condition)) == ()


def test_a_deny_of_other_calls_or_other_principals_is_no_doubt() -> None:
    perimeter = deny(StringNotEquals={"aws:SourceVpce": "vpce-1"})
    assert doubt(READS, READS, {**perimeter, "Action": "s3:PutObject"}) == ()
    assert doubt(READS, READS, {**perimeter, "Principal": {"AWS": "555555555555"}}) == ()
    ours = {**perimeter, "Principal": {"AWS": HUB}}
    assert doubt(READS, READS, ours) != ()
    assert doubt(GENERATES, GENERATES, ours) == ()


def test_a_deny_without_a_sid_is_named_by_its_place() -> None:
    perimeter = deny(None, StringNotEquals={"aws:SourceVpce": "vpce-1"})
    (line,) = doubt(READS, READS, perimeter)
    assert line.startswith("statement 2, which has no Sid, denies s3:GetObject by a condition")


def test_a_deny_that_forbids_some_of_it_for_sure_is_not_said_twice() -> None:
    wanted = {"aws:PrincipalAccount": "111122223333"}
    partly = deny(StringNotEquals=wanted)
    unknown = deny("Another", StringNotEquals={"aws:SourceVpce": "vpce-1"})
    assert any(line.endswith("a Deny statement forbids it") for line in lack(READS, READS, partly))
    lines = doubt(GENERATES, GENERATES, partly, unknown)
    assert len(lines) == 1
    assert lines[0].startswith("Another denies s3:GetObject, s3:ListBucket by")


def test_a_deny_that_asks_for_a_service_principals_key_forbids_it() -> None:
    # No request of a role has an aws:SourceArn: this Deny is for all of them.
    for each in ALL:
        lines = lack(each, each, deny(StringNotEquals={"aws:SourceArn": TRAIL}))
        assert lines
        assert all(line.endswith("a Deny statement forbids it") for line in lines)
