from __future__ import annotations

import copy
import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import pytest

from pare.errors import AuthorizationDetailsError
from pare.policy.authorization_details import read_authorization_details, source_of

ACCOUNT = "111122223333"
IAM = f"arn:aws:iam::{ACCOUNT}"


def policy(action: str) -> dict[str, Any]:
    return {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": action, "Resource": "*"}],
    }


def managed(arn: str, document: Any, **more: Any) -> dict[str, Any]:
    return {
        "PolicyName": arn.rpartition("/")[2],
        "PolicyId": "ANPA",
        "Arn": arn,
        "DefaultVersionId": "v2",
        "AttachmentCount": 1,
        "PolicyVersionList": [
            {"VersionId": "v3", "IsDefaultVersion": False, "Document": policy("*")},
            {"VersionId": "v2", "IsDefaultVersion": True, "Document": document},
        ],
        **more,
    }


def role(name: str = "App", path: str = "/", **more: Any) -> dict[str, Any]:
    return {
        "Path": path,
        "RoleName": name,
        "RoleId": f"AROA{name}",
        "Arn": f"{IAM}:role{path}{name}",
        "CreateDate": "2026-01-02T03:04:05+00:00",
        "AssumeRolePolicyDocument": policy("sts:AssumeRole"),
        "InstanceProfileList": [{"InstanceProfileName": name, "Roles": []}],
        "RolePolicyList": [],
        "AttachedManagedPolicies": [],
        "Tags": [],
        "RoleLastUsed": {},
        **more,
    }


def user(name: str = "anna", **more: Any) -> dict[str, Any]:
    # IAM leaves UserPolicyList out where there is none.
    return {
        "Path": "/",
        "UserName": name,
        "UserId": f"AIDA{name}",
        "Arn": f"{IAM}:user/{name}",
        "CreateDate": "2026-01-02T03:04:05Z",
        "GroupList": [],
        "AttachedManagedPolicies": [],
        "Tags": [],
        **more,
    }


def group(name: str, **more: Any) -> dict[str, Any]:
    return {
        "Path": "/",
        "GroupName": name,
        "GroupId": "AGPA",
        "Arn": f"{IAM}:group/{name}",
        "CreateDate": "2026-01-02T03:04:05Z",
        "GroupPolicyList": [],
        "AttachedManagedPolicies": [],
        **more,
    }


def attached(arn: str) -> dict[str, str]:
    return {"PolicyName": arn.rpartition("/")[2], "PolicyArn": arn}


def inline(name: str, document: Any) -> dict[str, Any]:
    return {"PolicyName": name, "PolicyDocument": document}


def page(*, users: Any = (), groups: Any = (), roles: Any = (), policies: Any = (),
         **more: Any) -> dict[str, Any]:  # fmt: skip
    return {
        "UserDetailList": list(users),
        "GroupDetailList": list(groups),
        "RoleDetailList": list(roles),
        "Policies": list(policies),
        **more,
    }


READ_ONLY = "arn:aws:iam::aws:policy/job-function/ViewOnlyAccess"
OWN = f"{IAM}:policy/team/Own"
BOUND = f"{IAM}:policy/Bound"


# --- What is read ---


def test_a_role_is_read_from_every_source() -> None:
    details = read_authorization_details(
        page(
            roles=[
                role(
                    path="/team/",
                    RolePolicyList=[inline("In", policy("s3:GetObject"))],
                    AttachedManagedPolicies=[attached(OWN), attached(READ_ONLY)],
                    PermissionsBoundary={
                        "PermissionsBoundaryType": "Policy",
                        "PermissionsBoundaryArn": BOUND,
                    },
                    Tags=[{"Key": "owner", "Value": "orders"}],
                    RoleLastUsed={"LastUsedDate": "2026-11-01T00:00:00+01:00", "Region": "x"},
                )
            ],
            policies=[
                managed(OWN, policy("s3:PutObject")),
                managed(READ_ONLY, policy("ec2:Describe*")),
                managed(BOUND, policy("s3:*")),
            ],
        )
    )

    assert details.unknown() == {}
    assert details.account_ids() == (ACCOUNT,)
    assert details.principals() == {
        f"{IAM}:role/team/App": {
            "principal_arn": f"{IAM}:role/team/App",
            "principal_id": "AROAApp",
            "kind": "role",
            "created_at": "2026-01-02T03:04:05Z",
            "last_used_at": "2026-10-31T23:00:00Z",
            "tags": {"owner": "orders"},
            "policies": [
                {"source": "inline", "name": "In", "arn": None, "group": None,
                 "document": policy("s3:GetObject")},
                {"source": "customer managed", "name": "Own", "arn": OWN, "group": None,
                 "document": policy("s3:PutObject")},
                {"source": "AWS managed", "name": "ViewOnlyAccess", "arn": READ_ONLY,
                 "group": None, "document": policy("ec2:Describe*")},
            ],
            "boundary": {"source": "customer managed", "name": "Bound", "arn": BOUND,
                         "group": None, "document": policy("s3:*")},
        }
    }  # fmt: skip


def test_a_user_has_the_policies_of_its_groups() -> None:
    details = read_authorization_details(
        page(
            users=[user(GroupList=["ops", "dev"], UserPolicyList=[inline("U", policy("s3:*"))])],
            groups=[
                group("dev", GroupPolicyList=[inline("G", policy("ec2:*"))]),
                group("ops", AttachedManagedPolicies=[attached(OWN)]),
                group("other", GroupPolicyList=[inline("O", policy("*"))]),
            ],
            policies=[managed(OWN, policy("iam:*"))],
        )
    )

    access = details.principals()[f"{IAM}:user/anna"]
    assert access["kind"] == "user"
    assert access["last_used_at"] is None
    assert [(each["source"], each["name"], each["group"]) for each in access["policies"]] == [
        ("inline", "U", None),
        ("customer managed", "Own", "ops"),
        ("inline", "G", "dev"),
    ]


def test_without_policies_a_principal_is_known_to_have_none() -> None:
    details = read_authorization_details(page(users=[user()], roles=[role()]))

    assert [each["policies"] for each in details.principals().values()] == [[], []]
    assert list(details.principals()) == sorted(details.principals())


@pytest.mark.parametrize(
    "document",
    [
        policy("s3:GetObject"),
        json.dumps(policy("s3:GetObject")),
        json.dumps(policy("s3:GetObject"), indent=2),
        quote(json.dumps(policy("s3:GetObject")), safe=""),
        quote("\n " + json.dumps(policy("s3:GetObject")), safe=""),
    ],
    ids=["object", "text", "indented", "URL-encoded", "URL-encoded with white space"],
)
def test_a_document_is_an_object_or_a_text(document: Any) -> None:
    details = read_authorization_details(
        page(
            roles=[role(RolePolicyList=[inline("In", document)],
                        AttachedManagedPolicies=[attached(OWN)])],
            policies=[managed(OWN, document)],
        )
    )  # fmt: skip

    access = details.principals()[f"{IAM}:role/App"]
    assert [each["document"] for each in access["policies"]] == [policy("s3:GetObject")] * 2


def test_a_plus_sign_in_an_encoded_document_is_a_plus_sign() -> None:
    document = policy("s3:GetObject")
    document["Statement"][0]["Resource"] = "arn:aws:s3:::a+b"
    text = quote(json.dumps(document), safe="").replace("%2B", "+")

    details = read_authorization_details(page(roles=[role(RolePolicyList=[inline("In", text)])]))

    assert details.principals()[f"{IAM}:role/App"]["policies"][0]["document"] == document


def test_times_may_be_moments_as_boto3_gives_them() -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    details = read_authorization_details(
        page(roles=[role(CreateDate=moment, RoleLastUsed={"LastUsedDate": moment})])
    )

    access = details.principals()[f"{IAM}:role/App"]
    assert access["created_at"] == access["last_used_at"] == "2026-01-02T03:04:05Z"


def test_kinds_are_told_apart_and_other_partitions_are_read() -> None:
    roles = [
        role("R", "/aws-service-role/x.amazonaws.com/"),
        role("S", "/aws-reserved/sso.amazonaws.com/"),
    ]
    for each in roles:
        each["Arn"] = each["Arn"].replace("arn:aws:", "arn:aws-us-gov:")
    gov = "arn:aws-us-gov:iam::aws:policy/AdministratorAccess"
    roles[0]["AttachedManagedPolicies"] = [attached(gov)]

    details = read_authorization_details(page(roles=roles, policies=[managed(gov, policy("*"))]))

    assert sorted(each["kind"] for each in details.principals().values()) == [
        "Identity Center role",
        "service-linked role",
    ]
    assert source_of(gov) == "AWS managed"
    assert source_of(OWN) == "customer managed"


# --- Pages and files ---


def test_pages_are_put_together_in_any_order() -> None:
    one = page(roles=[role(AttachedManagedPolicies=[attached(OWN)])], IsTruncated=True, Marker="m")
    other = page(policies=[managed(OWN, policy("s3:*"))], IsTruncated=False)

    for pages in ([one, other], [other, one], [one, other, one]):
        details = read_authorization_details(pages)
        assert list(details.principals()) == [f"{IAM}:role/App"]
        assert not details.is_truncated


@pytest.mark.parametrize("more", [{"IsTruncated": True}, {"NextToken": "t"}])
def test_a_file_that_ends_before_the_last_page_says_so(more: dict[str, Any]) -> None:
    assert read_authorization_details(page(roles=[role()], **more)).is_truncated
    assert not read_authorization_details(page(roles=[role()])).is_truncated


def test_files_of_two_accounts_share_the_policies_of_aws_and_no_groups() -> None:
    one = page(
        users=[user(GroupList=["ops"])],
        groups=[group("ops", GroupPolicyList=[inline("G", policy("s3:*"))])],
        roles=[role(AttachedManagedPolicies=[attached(READ_ONLY)])],
        policies=[managed(READ_ONLY, policy("ec2:*"), AttachmentCount=1)],
    )
    other = json.loads(json.dumps(one).replace(ACCOUNT, "444455556666"))
    other["GroupDetailList"][0]["GroupPolicyList"] = []
    # Read later: AWS has changed its policy meanwhile.
    newer = managed(READ_ONLY, policy("ec2:*"), AttachmentCount=7, DefaultVersionId="v10")
    newer["PolicyVersionList"] = [
        {"VersionId": "v10", "IsDefaultVersion": True, "Document": policy("rds:*")}
    ]
    other["Policies"] = [newer]

    details = read_authorization_details([one, other])

    assert details.account_ids() == (ACCOUNT, "444455556666")
    assert details.unknown() == {}
    access = details.principals()
    assert access[f"{IAM}:role/App"]["policies"][0]["document"] == policy("rds:*")
    assert len(access[f"{IAM}:user/anna"]["policies"]) == 1
    assert access["arn:aws:iam::444455556666:user/anna"]["policies"] == []


def test_what_two_files_say_differently_is_unknown() -> None:
    one = page(
        roles=[role(), role("B", AttachedManagedPolicies=[attached(OWN)]), role("C")],
        users=[user(GroupList=["ops"])],
        groups=[group("ops")],
        policies=[managed(OWN, policy("s3:*"))],
    )
    other = copy.deepcopy(one)
    other["RoleDetailList"][0]["RolePolicyList"] = [inline("In", policy("*"))]
    other["GroupDetailList"][0]["GroupPolicyList"] = [inline("In", policy("*"))]
    other["Policies"] = [managed(OWN, policy("ec2:*"))]

    for pages in ([one, other], [other, one], [one, other, one]):
        details = read_authorization_details(pages)
        assert list(details.principals()) == [f"{IAM}:role/C"]
        assert sorted(details.unknown()) == [
            f"{IAM}:role/App", f"{IAM}:role/B", f"{IAM}:user/anna"
        ]  # fmt: skip


# --- What is missing ---


@pytest.mark.parametrize(
    ("entity", "missing"),
    [
        (role(AttachedManagedPolicies=[attached(READ_ONLY)]),
         f"The managed policy {READ_ONLY} of {IAM}:role/App is not in the file"),
        (role(PermissionsBoundary={"PermissionsBoundaryArn": BOUND}),
         f"The permissions boundary {BOUND} of {IAM}:role/App is not in the file"),
        (user(GroupList=["ops"]), f"The group ops of {IAM}:user/anna is not in the file"),
        (user(GroupList=["dev"]), f"The managed policy {READ_ONLY} of {IAM}:user/anna is not"),
        (role(AttachedManagedPolicies=[attached(OWN)]), "without its default version v2"),
        ({key: value for key, value in role().items() if key != "AttachedManagedPolicies"},
         "without its AttachedManagedPolicies"),
        ({key: value for key, value in user().items() if key != "GroupList"},
         "without its GroupList"),
        (role(AttachedManagedPolicies=[{"PolicyName": "x"}]), "names no PolicyArn"),
        (role(RolePolicyList=[inline("In", "{not JSON")]), "The inline policy In of"),
        (role(RolePolicyList=[inline("In", {"Version": "2012-10-17"})]), "has no Statement"),
        (role(RolePolicyList=[inline("In", None)]), "cannot be read"),
        (role(RolePolicyList=[{"PolicyDocument": policy("*")}]), "has no PolicyName"),
        (user(GroupList=["bad"]), "The inline policy G (group bad) of"),
        (role(CreateDate=None), "no CreateDate"),
        (role(CreateDate="yesterday"), "a time that cannot be read: 'yesterday'"),
        (role(CreateDate=1767323045), "a time that cannot be read"),
        (role(RoleId=None), "no unique id"),
        (role(Tags=["x"]), "not of the shape IAM prints"),
    ],
)  # fmt: skip
def test_a_principal_whose_policies_are_not_all_there_is_unknown(
    entity: dict[str, Any], missing: str
) -> None:
    is_user = "UserName" in entity
    own = managed(OWN, policy("*"))
    own["PolicyVersionList"].pop()
    details = read_authorization_details(
        page(
            users=[entity] if is_user else [user("fine")],
            roles=[role("Fine")] if is_user else [entity],
            groups=[
                group("dev", AttachedManagedPolicies=[attached(READ_ONLY)]),
                group("bad", GroupPolicyList=[inline("G", "%7B")]),
            ],
            policies=[own],
        )
    )

    ((arn, why),) = details.unknown().items()
    assert arn == entity["Arn"]
    assert missing in why
    assert why.endswith(".")
    assert len(details.principals()) == 1, "nobody else is"


def test_with_a_filter_nobody_with_a_managed_policy_is_known() -> None:
    """As ``aws iam get-account-authorization-details --filter Role`` prints it."""
    details = read_authorization_details(
        page(roles=[role(AttachedManagedPolicies=[attached(READ_ONLY)]), role("B")])
    )

    assert list(details.principals()) == [f"{IAM}:role/B"]
    assert "--filter" in details.unknown()[f"{IAM}:role/App"]


# --- Not such a file ---


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ({"Roles": []}, "none of UserDetailList, GroupDetailList, RoleDetailList, Policies"),
        ({"Roles": []}, "Roles is."),
        ({}, "nothing is."),
        ([], "the input is empty"),
        ([page(), ["x"]], "a JSON list is."),
        (["x"], "a JSON text is."),
        ({"RoleDetailList": {}}, "RoleDetailList is not a list of objects"),
        ({"Policies": ["x"]}, "Policies is not a list of objects"),
        (page(roles=[{"RoleName": "x"}]), "An entry of RoleDetailList has no Arn"),
        (page(users=[user(Arn=f"{IAM}:group/x")]), "An entry of UserDetailList has no Arn"),
    ],
)
def test_anything_else_is_an_error_of_one_sentence(source: Any, said: str) -> None:
    with pytest.raises(AuthorizationDetailsError) as caught:
        read_authorization_details(source)

    assert said in str(caught.value)
    assert str(caught.value).endswith(".")


def test_a_page_may_lack_lists() -> None:
    assert read_authorization_details({"RoleDetailList": [role()]}).account_ids() == (ACCOUNT,)
    assert read_authorization_details(page()).account_ids() == ()
