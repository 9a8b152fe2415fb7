"""The AWS CLI's commands that disable, bring back and delete a user, a role or a credential.

Pare runs none of them: a person with permissions in the account does. Names come from outside and
are quoted for a POSIX shell. What a row does not tell is listed by a command first, and stands in
the next one in capitals.
https://docs.aws.amazon.com/IAM/latest/UserGuide/id_users_remove.html
https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_manage_delete.html
"""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pare.arns import parse_principal_arn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pare.inventory.model import PrincipalRowJson

Title = Literal["disable", "undo", "delete"]

DISABLED_POLICY = "PareDisabled"
# Refuses everything, also to sessions that were begun before.
DENY_ALL = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [{"Sid": DISABLED_POLICY, "Effect": "Deny", "Action": "*", "Resource": "*"}],
    },
    separators=(",", ":"),
)
_INLINE = "inline:"
_NO_COMMANDS = frozenset(
    {"service-linked role", "Identity Center role", "bootstrap role", "break-glass"}
)


@dataclass(frozen=True, slots=True)
class Command:
    """Commands for one purpose, in the order in which they are run."""

    title: Title
    lines: tuple[str, ...]


def commands(row: PrincipalRowJson) -> list[Command]:
    """Return the commands for what is to be disabled or deleted, as the row plans it.

    The whole principal where its class says so, else the credentials with a plan. Who is disabled
    and missed is brought back. None for what else is used, nor for what AWS owns, bootstrap roles,
    break-glass and whoever is exempt.
    """
    if row["kind"] in _NO_COMMANDS or row["exemption"] is not None:
        return []
    principal = parse_principal_arn(row["principal_arn"])
    is_missed = any(each["code"] == "DISABLED_AND_USED" for each in row["reasons"])
    if row["class"] in ("disable", "delete") or is_missed:
        of_entity = _of_user if principal.entity == "user" else _of_role
        found = of_entity(row, principal.name)
        return [each for each in found if not is_missed or each.title == "undo"]
    planned = {str(plan["what"]) for plan in row["plans"]}
    if principal.entity != "user" or not planned:
        return []
    return _of_credentials(row, principal.name, planned)


# --- roles ----------------------------------------------------------------------------------------


def _of_role(row: PrincipalRowJson, name: str) -> list[Command]:
    disable = [
        _aws(
            "put-role-policy", role_name=name, policy_name=DISABLED_POLICY, policy_document=DENY_ALL
        )
    ]
    undo = [_aws("delete-role-policy", role_name=name, policy_name=DISABLED_POLICY)]
    if row["disabled_by"] is not None:
        disable = []  # it is
    if row["disabled_by"] is not None and DISABLED_POLICY not in row["disabled_by"]:
        undo = []  # whoever disabled it in another way knows how
    delete = [
        _aws(
            "remove-role-from-instance-profile",
            instance_profile_name=arn.rpartition("/")[2],
            role_name=name,
        )
        for arn in row["instance_profiles"]
    ]
    inline = {each.removeprefix(_INLINE) for each in row["policies"] if each.startswith(_INLINE)}
    if row["disabled_by"] is None:
        inline.add(DISABLED_POLICY)  # by then, the first command was run
    delete += [
        _aws("detach-role-policy", role_name=name, policy_arn=policy)
        for policy in row["policies"]
        if not policy.startswith(_INLINE)
    ]
    delete += [
        _aws("delete-role-policy", role_name=name, policy_name=policy) for policy in sorted(inline)
    ]
    if row["boundary"]:
        delete.append(_aws("delete-role-permissions-boundary", role_name=name))
    delete.append(_aws("delete-role", role_name=name))
    return _commands(disable, undo, delete)


# --- users ----------------------------------------------------------------------------------------


def _of_user(row: PrincipalRowJson, name: str) -> list[Command]:
    parts = [
        _password(row, name),
        *_access_keys(row, name, None),
        _certificates(row, name),
        _mfa_devices(name),
        *_unreported(name),
    ]
    delete = [line for part in parts for line in part.delete]
    for policy in row["policies"]:
        if policy.startswith(_INLINE):
            inline = policy.removeprefix(_INLINE)
            delete.append(_aws("delete-user-policy", user_name=name, policy_name=inline))
        else:
            delete.append(_aws("detach-user-policy", user_name=name, policy_arn=policy))
    delete += [
        _aws("remove-user-from-group", user_name=name, group_name=group) for group in row["groups"]
    ]
    if row["boundary"]:
        delete.append(_aws("delete-user-permissions-boundary", user_name=name))
    delete.append(_aws("delete-user", user_name=name))
    return _commands(
        [line for part in parts for line in part.disable],
        [line for part in parts for line in part.undo],
        delete,
    )


def _of_credentials(row: PrincipalRowJson, name: str, planned: set[str]) -> list[Command]:
    parts = _access_keys(row, name, planned)
    if "password" in planned:
        parts.insert(0, _password(row, name))
    return _commands(
        [line for part in parts for line in part.disable],
        [line for part in parts for line in part.undo],
        [line for part in parts for line in part.delete],
    )


@dataclass(frozen=True, slots=True)
class _Part:
    """What is to be run for one credential."""

    disable: tuple[str, ...] = ()
    undo: tuple[str, ...] = ()
    delete: tuple[str, ...] = ()


def _commands(disable: list[str], undo: list[str], delete: list[str]) -> list[Command]:
    found = (
        Command("disable", tuple(disable)),
        Command("undo", tuple(undo)),
        Command("delete", tuple(delete)),
    )
    return [command for command in found if command.lines]


def _password(row: PrincipalRowJson, name: str) -> _Part:
    """Return the commands for a password: to take it away disables it, and there is no less."""
    credentials = row["credentials"]
    if credentials is not None and credentials["password_enabled"] is False:
        return _Part()
    take = _aws("delete-login-profile", user_name=name)
    give = _aws(
        "create-login-profile",
        user_name=name,
        password="NEW_PASSWORD",
        password_reset_required=True,
    )
    return _Part((take,), (give,), (take,))


def _access_keys(row: PrincipalRowJson, name: str, planned: set[str] | None) -> list[_Part]:
    """Return the commands for access keys: those with a plan, or where None all of them."""
    credentials = row["credentials"]
    if credentials is None:
        return [_access_key(name, None, is_active=True, is_brought_back=True)]
    # A key that was inactive before anything was disabled stays so.
    may_be_ours = planned is not None or row["disabled_by"] is not None
    return [
        _access_key(
            name,
            key["access_key_id"],
            is_active=key["is_active"],
            is_brought_back=key["is_active"] or may_be_ours,
        )
        for number, key in enumerate(credentials["access_keys"], start=1)
        if planned is None or f"access key {number}" in planned
    ]


def _access_key(name: str, key_id: str | None, *, is_active: bool, is_brought_back: bool) -> _Part:
    """Return the commands for a key; one whose id is not known is listed first."""
    first = () if key_id else (_aws("list-access-keys", user_name=name),)
    key = {"user_name": name, "access_key_id": key_id or "ACCESS_KEY_ID"}
    off = (*first, _aws("update-access-key", **key, status="Inactive"))
    on = (*first, _aws("update-access-key", **key, status="Active"))
    return _Part(
        off if is_active else (),
        on if is_brought_back else (),
        (*first, _aws("delete-access-key", **key)),
    )


def _certificates(row: PrincipalRowJson, name: str) -> _Part:
    """Return the commands for signing certificates; the report tells only how many are active."""
    first = _aws("list-signing-certificates", user_name=name)
    one = {"user_name": name, "certificate_id": "CERTIFICATE_ID"}
    delete = (first, _aws("delete-signing-certificate", **one))
    credentials = row["credentials"]
    if credentials is None or not credentials["active_certificates"]:
        return _Part(delete=delete)
    return _Part(
        (first, _aws("update-signing-certificate", **one, status="Inactive")),
        (first, _aws("update-signing-certificate", **one, status="Active")),
        delete,
    )


def _mfa_devices(name: str) -> _Part:
    return _Part(
        delete=(
            _aws("list-mfa-devices", user_name=name),
            _aws("deactivate-mfa-device", user_name=name, serial_number="SERIAL_NUMBER"),
            _aws("delete-virtual-mfa-device", serial_number="SERIAL_NUMBER"),
        )
    )


def _unreported(name: str) -> Iterator[_Part]:
    """Yield the commands for what the credential report leaves out, such as a Bedrock key."""
    for what, number in (
        ("ssh-public-key", "ssh_public_key_id"),
        ("service-specific-credential", "service_specific_credential_id"),
    ):
        first = _aws(f"list-{what}s", user_name=name)
        one = {"user_name": name, number: number.upper()}
        yield _Part(
            (first, _aws(f"update-{what}", **one, status="Inactive")),
            (first, _aws(f"update-{what}", **one, status="Active")),
            (first, _aws(f"delete-{what}", **one)),
        )


# --- words ----------------------------------------------------------------------------------------


def _aws(operation: str, **options: str | Literal[True]) -> str:
    """Return a command line of the AWS CLI; an option that is True has no value."""
    words = ["aws", "iam", operation]
    for name, value in options.items():
        option = f"--{name.replace('_', '-')}"
        if value is True:
            words.append(option)
        elif value.startswith("-"):
            # A name may begin with a hyphen: so it cannot be taken for an option.
            words.append(f"{option}={shlex.quote(value)}")
        else:
            words += [option, shlex.quote(value)]
    return " ".join(words)
