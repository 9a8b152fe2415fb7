from __future__ import annotations

import itertools
from typing import Any

import msgspec
import pytest

from pare.cloudtrail import activity as activity_module
from pare.cloudtrail.principals import (
    UNKNOWN,
    Principal,
    partition_of,
    principal_of,
    session_name,
)
from pare.cloudtrail.record import UserIdentity
from tests.unit.cloudtrail.records import (
    ACCOUNT,
    OTHER_ACCOUNT,
    ROLE_ARN,
    ROLE_ID,
    USER_ARN,
    USER_ID,
    Json,
    as_bytes,
    digest,
    merged,
    principals,
    record,
    role_session,
    user,
)

STORE = f"arn:aws:identitystore::{ACCOUNT}:identitystore/d-1234567890"
ROOT_ARN = f"arn:aws:iam::{ACCOUNT}:root"


def issuer(kind: str, arn: str, principal_id: str) -> Json:
    return {
        "sessionIssuer": {
            "type": kind, "arn": arn, "principalId": principal_id, "accountId": ACCOUNT
        }
    }  # fmt: skip


def federated(context: Json | None = None) -> Json:
    return {
        "type": "FederatedUser",
        "principalId": f"{ACCOUNT}:bob",
        "arn": f"arn:aws:sts::{ACCOUNT}:federated-user/bob",
        "accountId": ACCOUNT,
        "sessionContext": context,
    }


# Each userIdentity.type: identity -> principal, session.
CASES: dict[str, tuple[Json | None, Principal, str | None]] = {
    "root": (
        {"type": "Root", "principalId": ACCOUNT, "arn": ROOT_ARN, "accountId": ACCOUNT},
        Principal(ROOT_ARN, ACCOUNT, "Root", ACCOUNT),
        None,
    ),
    "IAM user, with path": (user(), Principal(USER_ARN, USER_ID, "IAMUser", ACCOUNT), None),
    "IAM user without ARN": (
        {"type": "IAMUser", "principalId": USER_ID, "accountId": ACCOUNT, "userName": "ann"},
        Principal(USER_ID, USER_ID, "IAMUser", ACCOUNT),
        None,
    ),
    "IAM user who failed to sign in": (
        {"type": "IAMUser", "accountId": ACCOUNT, "userName": "HIDDEN"},
        Principal("HIDDEN", "", "IAMUser", ACCOUNT),
        None,
    ),
    "role session, with path": (
        role_session("ann@example.org"),
        Principal(ROLE_ARN, ROLE_ID, "AssumedRole", ACCOUNT),
        "ann@example.org",
    ),
    "role session without session issuer": (
        role_session(sessionContext=None),
        Principal(f"arn:aws:sts::{ACCOUNT}:assumed-role/Shop", ROLE_ID, "AssumedRole", ACCOUNT),
        "i-0abc",
    ),
    "role session, the issuer without ARN": (
        role_session(sessionContext={"sessionIssuer": {"type": "Role"}}),
        Principal(f"arn:aws:sts::{ACCOUNT}:assumed-role/Shop", ROLE_ID, "AssumedRole", ACCOUNT),
        "i-0abc",
    ),
    "role session by its ARN alone": (
        {"type": "AssumedRole", "arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/Shop/x"},
        Principal(f"arn:aws:sts::{ACCOUNT}:assumed-role/Shop", "", "AssumedRole", ACCOUNT),
        "x",
    ),
    "a role itself": (
        {"type": "Role", "principalId": ROLE_ID, "arn": ROLE_ARN, "accountId": ACCOUNT},
        Principal(ROLE_ARN, ROLE_ID, "Role", ACCOUNT),
        None,
    ),
    "federated user of a user": (
        federated(issuer("IAMUser", USER_ARN, USER_ID)),
        Principal(USER_ARN, USER_ID, "IAMUser", ACCOUNT),
        "federated-user/bob",
    ),
    "federated user of root": (
        federated(issuer("Root", ROOT_ARN, ACCOUNT)),
        Principal(ROOT_ARN, ACCOUNT, "Root", ACCOUNT),
        "federated-user/bob",
    ),
    "federated user of nobody": (
        federated(),
        Principal(f"arn:aws:sts::{ACCOUNT}:federated-user/bob", ACCOUNT, "FederatedUser", ACCOUNT),
        "federated-user/bob",
    ),
    "another account": (
        {"type": "AWSAccount", "principalId": "AIDAOTHER", "accountId": OTHER_ACCOUNT},
        Principal(OTHER_ACCOUNT, "AIDAOTHER", "AWSAccount", OTHER_ACCOUNT),
        None,
    ),
    "a service": (
        {"type": "AWSService", "invokedBy": "autoscaling.amazonaws.com"},
        Principal("autoscaling.amazonaws.com", "", "AWSService", ""),
        None,
    ),
    "a service that does not say its type": (
        {"invokedBy": "autoscaling.amazonaws.com"},
        Principal("autoscaling.amazonaws.com", "", "AWSService", ""),
        None,
    ),
    "Identity Center user": (
        {
            "type": "IdentityCenterUser",
            "accountId": ACCOUNT,
            "onBehalfOf": {"userId": "9067-0e7d", "identityStoreArn": STORE},
            "credentialId": "x",
        },
        Principal(
            "arn:aws:identitystore:::user/9067-0e7d", "9067-0e7d", "IdentityCenterUser", ACCOUNT
        ),
        None,
    ),
    "SAML user": (
        {
            "type": "SAMLUser",
            "principalId": "SampleUkh1i4+ExamplexL/jEvs=:ann",
            "userName": "ann",
            "identityProvider": "SampleUkh1i4+ExamplexL/jEvs=",
        },
        Principal("SampleUkh1i4+ExamplexL/jEvs=", "", "SAMLUser", "999999999999"),
        "ann",
    ),
    "web identity user": (
        {
            "type": "WebIdentityUser",
            "principalId": "accounts.google.com:app.apps.googleusercontent.com:123",
            "userName": "123",
            "identityProvider": "accounts.google.com",
        },
        Principal("accounts.google.com", "", "WebIdentityUser", "999999999999"),
        "123",
    ),
    "directory user": (
        {"type": "Directory", "principalId": "S-1-5-21", "accountId": ACCOUNT, "userName": "bob"},
        Principal("S-1-5-21", "S-1-5-21", "Directory", ACCOUNT),
        None,
    ),
    "unknown": (
        {"type": "Unknown", "principalId": "anonymous"},
        Principal("anonymous", "anonymous", "Unknown", "999999999999"),
        None,
    ),
    "anonymous": (
        {"type": "AWSAccount", "principalId": "", "accountId": "ANONYMOUS_PRINCIPAL"},
        Principal("ANONYMOUS_PRINCIPAL", "", "AWSAccount", "ANONYMOUS_PRINCIPAL"),
        None,
    ),
    "a type of the future": (
        {"type": "Robot", "arn": "arn:aws:iam::111122223333:robot/r", "principalId": "AXXX"},
        Principal("arn:aws:iam::111122223333:robot/r", "AXXX", "Robot", ACCOUNT),
        None,
    ),
    "empty": ({}, Principal("unknown", "", "Unknown", "999999999999"), None),
    "none": (None, UNKNOWN, None),
}


@pytest.mark.parametrize("case", CASES)
def test_who_made_the_call(case: str) -> None:
    identity, expected, session = CASES[case]
    found = msgspec.convert(identity, UserIdentity | None)
    assert principal_of(found, "999999999999") == expected
    assert session_name(found) == session


@pytest.mark.parametrize("case", CASES)
def test_the_engine_counts_each_for_that_principal(case: str) -> None:
    identity, expected, session = CASES[case]
    if identity is not None and identity.get("type") == "SAMLUser":
        expected = expected._replace(account_id="999999999999")
    found = digest([record(1, userIdentity=identity, recipientAccountId="999999999999")])
    assert list(found.principals) == [expected]
    names = found.principals[expected].sessions.names
    assert sorted(names) == ([] if session is None else [session])


def test_all_of_them_at_once_are_told_apart_in_any_order() -> None:
    records = [
        record(number, userIdentity=identity, recipientAccountId="999999999999")
        for number, (identity, _, _) in enumerate(CASES.values())
    ]
    whole = digest(records)
    assert set(whole.principals) == {principal for _, principal, _ in CASES.values()}
    assert as_bytes(digest(records[::-1])) == as_bytes(whole)
    parts = [digest([each]) for each in records]
    for part in parts:
        part.totals.files, part.totals.bytes, part.totals.uncompressed_bytes = 0, 0, 0
    whole.totals.files, whole.totals.bytes, whole.totals.uncompressed_bytes = 0, 0, 0
    assert as_bytes(merged(parts)) == as_bytes(whole)


def test_a_role_made_anew_under_its_name_is_another_principal() -> None:
    again = role_session()
    again["principalId"] = "AROAOTHEROTHEROTHER12:i-0abc"
    again["sessionContext"]["sessionIssuer"]["principalId"] = "AROAOTHEROTHEROTHER12"
    found = principals(digest([record(1), record(2, userIdentity=again)]))
    assert [(each["principal"], each["principal_id"]) for each in found] == [
        (ROLE_ARN, ROLE_ID),
        (ROLE_ARN, "AROAOTHEROTHEROTHER12"),
    ]


def test_sessions_of_a_role_are_one_principal_and_told_apart() -> None:
    names = ["ann", "bob", "ann", "pod/x", "ann"]
    found = digest([record(n, userIdentity=role_session(name)) for n, name in enumerate(names)])
    (line,) = principals(found)
    assert line["sessions"] == [
        {"name": "ann", "count": 3},
        {"name": "bob", "count": 1},
        {"name": "pod/x", "count": 1},
    ]
    assert "more_sessions" not in line


@pytest.mark.parametrize("count", [3, 4, 7, 20, 60])
def test_sessions_are_bounded_and_which_are_kept_depends_on_no_order(
    count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(activity_module, "MAX_SESSIONS", 3)
    records = [
        record(number, userIdentity=role_session(f"session-{number % count}"))
        for number in range(count * 2)
    ]
    whole = as_bytes(digest(records))
    for order in itertools.islice(itertools.permutations(range(0, count * 2, 3)), 0, 5000, 1000):
        # Some first, then the rest.
        shuffled = [records[i] for i in order]
        shuffled += [each for i, each in enumerate(records) if i not in order]
        assert as_bytes(digest(shuffled)) == whole
    (line,) = principals(digest(records))
    assert len(line["sessions"]) == min(count, 3)
    assert all(session["count"] == 2 for session in line["sessions"])
    assert line.get("more_sessions", False) is (count > 3)


def test_long_session_names_are_cut() -> None:
    (line,) = principals(digest([record(1, userIdentity=role_session("x" * 1000))]))
    assert len(line["sessions"][0]["name"]) <= 128


@pytest.mark.parametrize(
    ("region", "arn", "expected"),
    [
        ("eu-west-1", "", "aws"),
        ("", "", "aws"),
        ("cn-north-1", "", "aws-cn"),
        ("us-gov-west-1", "", "aws-us-gov"),
        ("us-iso-east-1", "", "aws-iso"),
        ("us-isob-east-1", "", "aws-iso-b"),
        ("eu-isoe-west-1", "", "aws-iso-e"),
        ("eusc-de-east-1", "", "aws-eusc"),
        ("eu-west-1", "arn:aws-cn:iam::1:role/a", "aws-cn"),
        ("cn-north-1", "ecs.amazonaws.com", "aws-cn"),
        ("cn-north-1", "arn:", "aws-cn"),
    ],
)
def test_the_partition_is_the_arns_else_the_regions(region: str, arn: str, expected: str) -> None:
    assert partition_of(region, arn) == expected


# Callers that differ in one thing CloudTrail may leave out are told apart, whichever is first.
ODD_PAIRS: dict[str, tuple[Any, Any]] = {
    "no issuer id, two roles of one name": (
        role_session(principalId="AROAONE:s", sessionContext={"sessionIssuer": {"arn": ROLE_ARN}}),
        role_session(principalId="AROATWO:s", sessionContext={"sessionIssuer": {"arn": ROLE_ARN}}),
    ),
    "no account but in the ARN": (
        role_session(
            accountId=None,
            arn="arn:aws:sts::111111111111:assumed-role/Shop/s",
            sessionContext={"sessionIssuer": {"arn": ROLE_ARN, "principalId": ROLE_ID}},
        ),
        role_session(
            accountId=None,
            arn="arn:aws:sts::222222222222:assumed-role/Shop/s",
            sessionContext={"sessionIssuer": {"arn": ROLE_ARN, "principalId": ROLE_ID}},
        ),
    ),
    "the same role with a session name and without": (
        role_session(principalId=ROLE_ID, arn=None),
        role_session("named"),
    ),
    "role ARNs without a session": (
        {"type": "AssumedRole", "arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/One"},
        {"type": "AssumedRole", "arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/Two"},
    ),
    "texts that are no ARN": (
        {"type": "AssumedRole", "arn": "One"},
        {"type": "AssumedRole", "arn": "Two"},
    ),
    "ARNs without a type": (
        {"arn": f"arn:aws:iam::{ACCOUNT}:user/one"},
        {"arn": f"arn:aws:iam::{ACCOUNT}:user/two"},
    ),
    "SAML users without a provider": (
        {"type": "SAMLUser", "principalId": "one:ann"},
        {"type": "SAMLUser", "principalId": "two:ann"},
    ),
    "federated users by issuers of two types": (
        federated({"sessionIssuer": {"type": "Root", "arn": ROOT_ARN, "principalId": ACCOUNT}}),
        federated({"sessionIssuer": {"type": "User", "arn": ROOT_ARN, "principalId": ACCOUNT}}),
    ),
    "a user and a federated user of its": (
        user(),
        federated(issuer("IAMUser", USER_ARN, USER_ID)),
    ),
    "sessions of one id by two ARNs": (
        role_session(principalId=ROLE_ID, arn=f"arn:aws:sts::{ACCOUNT}:assumed-role/Shop/one"),
        role_session(principalId=ROLE_ID, arn=f"arn:aws:sts::{ACCOUNT}:assumed-role/Shop/two"),
    ),
    "Identity Center users of two partitions": (
        {"type": "IdentityCenterUser", "onBehalfOf": {"userId": "u", "identityStoreArn": STORE}},
        {
            "type": "IdentityCenterUser",
            "onBehalfOf": {
                "userId": "u",
                "identityStoreArn": STORE.replace("arn:aws:", "arn:aws-cn:"),
            },
        },
    ),
    "identities of the wrong type": ("text", None),
}


@pytest.mark.parametrize("case", ODD_PAIRS)
def test_odd_callers_are_told_apart_whichever_comes_first(case: str) -> None:
    first, second = (
        record(number, userIdentity=identity) for number, identity in enumerate(ODD_PAIRS[case])
    )
    assert as_bytes(digest([first, second])) == as_bytes(digest([second, first]))
    alone = {p for each in (first, second) for p in digest([each]).principals}
    assert set(digest([first, second]).principals) == alone
