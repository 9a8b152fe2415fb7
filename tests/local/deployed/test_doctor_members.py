"""`pare doctor` where somebody changed or deleted by hand what Pare made, and a role stays."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.org.defects import MEMBER_ROLE, Defect, Organization
from tests.org.examinations import check_defect, type_mends
from tests.org.person import Person

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.local.deployed.conftest import Deployed

ACCOUNT = "data-prod"
DELETED = "ComposeMessage"


@pytest.fixture(scope="module")
def organization(deployed: Deployed, tmp_path_factory: pytest.TempPathFactory) -> Organization:
    """The deployed organization, and somebody at a terminal."""
    return Organization(deployed.box, Person.at(deployed.box, tmp_path_factory.mktemp("person")))


def policy_of(iam: Any) -> tuple[str, dict[str, Any]]:
    """Return the name of the member role's one inline policy, and its document."""
    (name,) = iam.list_role_policies(RoleName=MEMBER_ROLE)["PolicyNames"]
    return name, iam.get_role_policy(RoleName=MEMBER_ROLE, PolicyName=name)["PolicyDocument"]


def put(iam: Any, name: str, document: dict[str, Any]) -> None:
    iam.put_role_policy(
        RoleName=MEMBER_ROLE, PolicyName=name, PolicyDocument=json.dumps(document)
    )  # fmt: skip


def without_a_right(org: Organization) -> Callable[[], object]:
    """Somebody takes one action out of the policy; the role still reads itself."""
    iam = org.client("iam", ACCOUNT)
    name, document = policy_of(iam)
    statements = [each for each in document["Statement"] if each["Sid"] != "ReadUsers"]
    put(iam, name, {**document, "Statement": statements})
    return lambda: put(iam, name, document)


def without_any(org: Organization) -> Callable[[], object]:
    iam = org.client("iam", ACCOUNT)
    name, document = policy_of(iam)
    iam.delete_role_policy(RoleName=MEMBER_ROLE, PolicyName=name)
    return lambda: put(iam, name, document)


@pytest.mark.parametrize(
    "defect",
    [
        Defect("member role without a right", without_a_right, "members.template", ACCOUNT),
        Defect(
            "member role without any right",
            without_any,
            "members.template",
            ACCOUNT,
            also=("members.access-role",),
        ),
    ],
    ids=lambda each: each.name,
)
def test_a_member_role_that_lost_its_rights_is_named_and_made_anew(
    organization: Organization, defect: Defect
) -> None:
    check_defect(organization, defect, "members")


def test_a_deleted_function_is_named_and_brought_back(organization: Organization) -> None:
    hub = organization.hub("lambda")
    names = [each["FunctionName"] for each in hub.list_functions()["Functions"]]
    (name,) = (each for each in names if DELETED in each)
    hub.delete_function(FunctionName=name)

    found = organization.person.doctor("--only", "running")
    resources = found.not_ok["running.resources", "functions"]
    assert resources["says"] == f"1 function of ParePipeline is not there: {DELETED}."
    type_mends(organization, [resources])

    assert organization.person.doctor("--only", "running").is_ok("running.resources", "functions")
