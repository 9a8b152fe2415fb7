"""The commands that a person runs: each must be one that the AWS CLI has."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any

import botocore.session
import pytest
from botocore import xform_name

from pare.inventory.commands import DENY_ALL, DISABLED_POLICY, Command, commands
from pare.inventory.wide import denies_everything
from pare.policy.document import parse
from tests.unit.inventory.row_builders import ACCOUNT, ROLE, USER, access_key, credentials, row

if TYPE_CHECKING:
    from pare.inventory.model import PlanJson

PLAN: PlanJson = {
    "what": "principal",
    "announced_on": "2026-11-01",
    "disable_on": "2026-12-01",
    "disabled_on": None,
    "delete_on": None,
    "times_announced": 1,
}
MANAGED = "arn:aws-cn:iam::aws:policy/ReadOnlyAccess"
EVERYTHING = {"policies": [MANAGED, "inline:Work"], "boundary": MANAGED}


def lines(found: list[Command]) -> dict[str, list[str]]:
    return {command.title: list(command.lines) for command in found}


def old_role(**changes: Any) -> list[Command]:
    return commands(row(ROLE, cls="disable", **changes))


def old_user(**changes: Any) -> list[Command]:
    return commands(row(USER, cls="disable", **changes))


def key_plan(number: int = 1) -> Any:
    return {**PLAN, "what": f"access key {number}"}


def test_a_role_is_refused_everything_first_and_taken_apart_before_it_is_deleted() -> None:
    profile = f"arn:aws:iam::{ACCOUNT}:instance-profile/app/Orders"

    assert lines(old_role(**EVERYTHING, instance_profiles=[profile])) == {
        "disable": [
            "aws iam put-role-policy --role-name OrdersApi --policy-name PareDisabled "
            f"--policy-document '{DENY_ALL}'"
        ],
        "undo": [
            "aws iam delete-role-policy --role-name OrdersApi --policy-name PareDisabled"
        ],
        "delete": [
            "aws iam remove-role-from-instance-profile --instance-profile-name Orders "
            "--role-name OrdersApi",
            f"aws iam detach-role-policy --role-name OrdersApi --policy-arn {MANAGED}",
            "aws iam delete-role-policy --role-name OrdersApi --policy-name PareDisabled",
            "aws iam delete-role-policy --role-name OrdersApi --policy-name Work",
            "aws iam delete-role-permissions-boundary --role-name OrdersApi",
            "aws iam delete-role --role-name OrdersApi",
        ],
    }  # fmt: skip


def test_the_policy_that_disables_is_found_by_the_next_inventory() -> None:
    assert denies_everything(parse(json.loads(DENY_ALL)))


def test_a_role_that_is_disabled_in_another_way_keeps_its_own_policies_in_the_list() -> None:
    found = lines(old_role(disabled_by="AWSDenyAll", policies=["inline:Work"]))

    assert not any(DISABLED_POLICY in line for line in found["delete"])
    assert found.keys() == {"delete"}


def test_what_pare_disabled_is_not_disabled_again_and_can_be_brought_back() -> None:
    found = lines(old_role(disabled_by=DISABLED_POLICY, policies=[f"inline:{DISABLED_POLICY}"]))

    assert found.keys() == {"undo", "delete"}


def unreported(status: str) -> list[str]:
    return [
        "aws iam list-ssh-public-keys --user-name alice",
        "aws iam update-ssh-public-key --user-name alice --ssh-public-key-id SSH_PUBLIC_KEY_ID "
        f"--status {status}",
        "aws iam list-service-specific-credentials --user-name alice",
        "aws iam update-service-specific-credential --user-name alice "
        f"--service-specific-credential-id SERVICE_SPECIFIC_CREDENTIAL_ID --status {status}",
    ]


def test_a_user_loses_keys_and_password_first_and_then_all_that_hangs_on_it() -> None:
    keys = [access_key("AKIAONE"), access_key("AKIATWO", is_active=False)]

    assert lines(
        old_user(**EVERYTHING, credentials=credentials(access_keys=keys, active_certificates=1))
    ) == {
        "disable": [
            "aws iam delete-login-profile --user-name alice",
            "aws iam update-access-key --user-name alice --access-key-id AKIAONE --status Inactive",
            "aws iam list-signing-certificates --user-name alice",
            "aws iam update-signing-certificate --user-name alice --certificate-id CERTIFICATE_ID "
            "--status Inactive",
            *unreported("Inactive"),
        ],
        "undo": [
            "aws iam create-login-profile --user-name alice --password NEW_PASSWORD "
            "--password-reset-required",
            "aws iam update-access-key --user-name alice --access-key-id AKIAONE --status Active",
            "aws iam list-signing-certificates --user-name alice",
            "aws iam update-signing-certificate --user-name alice --certificate-id CERTIFICATE_ID "
            "--status Active",
            *unreported("Active"),
        ],
        "delete": [
            "aws iam delete-login-profile --user-name alice",
            "aws iam delete-access-key --user-name alice --access-key-id AKIAONE",
            "aws iam delete-access-key --user-name alice --access-key-id AKIATWO",
            "aws iam list-signing-certificates --user-name alice",
            "aws iam delete-signing-certificate --user-name alice --certificate-id CERTIFICATE_ID",
            "aws iam list-mfa-devices --user-name alice",
            "aws iam deactivate-mfa-device --user-name alice --serial-number SERIAL_NUMBER",
            "aws iam delete-virtual-mfa-device --serial-number SERIAL_NUMBER",
            "aws iam list-ssh-public-keys --user-name alice",
            "aws iam delete-ssh-public-key --user-name alice "
            "--ssh-public-key-id SSH_PUBLIC_KEY_ID",
            "aws iam list-service-specific-credentials --user-name alice",
            "aws iam delete-service-specific-credential --user-name alice "
            "--service-specific-credential-id SERVICE_SPECIFIC_CREDENTIAL_ID",
            f"aws iam detach-user-policy --user-name alice --policy-arn {MANAGED}",
            "aws iam delete-user-policy --user-name alice --policy-name Work",
            "aws iam remove-user-from-group --user-name alice --group-name Developers",
            "aws iam delete-user-permissions-boundary --user-name alice",
            "aws iam delete-user --user-name alice",
        ],
    }  # fmt: skip


def test_keys_nobody_knows_are_listed_first() -> None:
    unknown = [
        old_user(credentials=None),
        old_user(credentials=credentials(access_keys=[access_key(None)])),
    ]

    for found in unknown:
        disable = lines(found)["disable"]
        assert disable[1:] == [
            "aws iam list-access-keys --user-name alice",
            "aws iam update-access-key --user-name alice --access-key-id ACCESS_KEY_ID "
            "--status Inactive",
            *unreported("Inactive"),
        ]
        assert "aws iam delete-login-profile --user-name alice" in disable


def test_credentials_that_the_report_leaves_out_are_switched_off_before_a_user_is_deleted() -> None:
    nothing = credentials(password_enabled=False)
    found = lines(
        old_user(credentials=nothing, disabled_by="no active password, key or certificate")
    )

    assert found["disable"] == unreported("Inactive")


def test_of_a_used_user_only_the_planned_key_is_switched_off() -> None:
    keys = [access_key("AKIAONE"), access_key("AKIATWO")]
    found = commands(row(USER, credentials=credentials(access_keys=keys), plans=[key_plan(2)]))

    assert lines(found) == {
        "disable": [
            "aws iam update-access-key --user-name alice --access-key-id AKIATWO --status Inactive"
        ],
        "undo": [
            "aws iam update-access-key --user-name alice --access-key-id AKIATWO --status Active"
        ],
        "delete": ["aws iam delete-access-key --user-name alice --access-key-id AKIATWO"],
    }


def test_a_planned_password_is_taken_away() -> None:
    password: Any = {**PLAN, "what": "password"}

    found = lines(commands(row(USER, cls="review", plans=[password])))

    assert found["disable"] == ["aws iam delete-login-profile --user-name alice"]


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "service-linked role"},
        {"kind": "Identity Center role"},
        {"kind": "bootstrap role"},
        {"kind": "break-glass"},
        {"exemption": {"owner": "a", "reason": "b", "expires": "2027-01-01"}},
    ],
)
def test_nobody_gets_commands_against_what_is_not_to_be_touched(changes: dict[str, Any]) -> None:
    assert old_role(plans=[PLAN], **changes) == []


@pytest.mark.parametrize("cls", ["keep", "review", "narrow"])
def test_nor_against_what_is_used(cls: str) -> None:
    assert commands(row(ROLE, cls=cls)) == []
    assert commands(row(USER, cls=cls)) == []


HOSTILE = ["a b", "$(touch x)", "'; rm -rf ~; '", "-x", "--profile", "`id`", "a\nb"]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_stays_one_word_of_the_shell(name: str) -> None:
    arn = f"arn:aws:iam::{ACCOUNT}:user/{name}"
    hostile = row(arn, cls="disable", policies=[f"inline:{name}"], groups=[name],
                  credentials=credentials(access_keys=[access_key(name)]))  # fmt: skip

    for command in commands(hostile):
        for line in command.lines:
            words = shlex.split(line)
            assert words[:2] == ["aws", "iam"]
            values = [word.partition("=")[2] if word.startswith("--") else word
                      for word in words[3:]]  # fmt: skip
            assert name in values or "SERIAL_NUMBER" in values
            # What looks like an option is one, or is tied to its own.
            for word in words[3:]:
                assert not word.startswith("-") or word.startswith("--")
                assert word != "--profile"


def every_command() -> list[str]:
    keys = [access_key("AKIAONE"), access_key(None), access_key("AKIATWO", is_active=False)]
    some = [
        old_role(**EVERYTHING, instance_profiles=["arn:aws:iam::1:instance-profile/X"]),
        old_user(**EVERYTHING, credentials=credentials(access_keys=keys, active_certificates=2)),
        old_user(credentials=None),
    ]
    return sorted({line for found in some for command in found for line in command.lines})


def test_every_command_is_an_operation_with_these_members_and_all_it_needs() -> None:
    model = botocore.session.get_session().get_service_model("iam")
    operations = {xform_name(name, "-"): name for name in model.operation_names}
    seen = set()
    for line in every_command():
        words = shlex.split(line)
        operation = model.operation_model(operations[words[2]])
        assert operation.input_shape is not None
        members = {xform_name(name, "-"): name for name in operation.input_shape.members}
        given = {members[word[2:].partition("=")[0]] for word in words if word.startswith("--")}
        assert given >= set(operation.input_shape.required_members), line
        seen.add(words[2])
    assert {"put-role-policy", "delete-role", "update-access-key", "delete-user"} <= seen


@pytest.mark.parametrize("arn", [ROLE, USER])
def test_who_is_disabled_and_missed_is_brought_back(arn: str) -> None:
    keys = [access_key("AKIAONE", is_active=False)]
    found = lines(
        commands(
            row(arn, cls="review", disabled_by=DISABLED_POLICY,
                credentials=credentials(access_keys=keys),
                reasons=[{"code": "DISABLED_AND_USED", "values": {}}])
        )
    )  # fmt: skip

    assert found.keys() == {"undo"}
