"""The emulated organization: read from data, and created through AWS's own APIs.

``local/seed/organization.yaml`` says what exists; ``read_organization`` reads it into frozen
dataclasses; ``create_organization`` makes it in a running emulator. The trail generator and the
import of a person's own trail work from the same dataclasses.
"""

from __future__ import annotations

import hashlib
import json
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import yaml
from botocore.exceptions import ClientError

from pare.clock import format_time
from pare.errors import PareError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from datetime import datetime

    from local.trail_generator import CredentialUse
    from pare.policy.document import JsonObject

SCHEMA_VERSION = 1
SEED_FOLDER = Path(__file__).parent / "seed"
SERVICE_LINKED_PATH = "/aws-service-role/"
STACK_SETS_SERVICE = "member.org.stacksets.cloudformation.amazonaws.com"
IDENTITY_CENTER_PATH = "/aws-reserved/sso.amazonaws.com/"
ADMINISTRATOR_ACCESS = "arn:aws:iam::aws:policy/AdministratorAccess"

_CALLS_AT_ONCE = 4
_ID_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_NOT_IMPLEMENTED = {"InvalidAction", "UnknownOperationException", "NotImplemented", "501"}


class SeedError(PareError):
    """A data file of the emulated organization is not as it should be."""

    what_to_do = "Mend the file under local/seed/ as the message says, then run `make demo` again."


class EmulatorClients(Protocol):
    """What is needed of a running emulator (``local.process.Emulator`` has it)."""

    def client(self, service: str, account_id: str, region: str = ..., /) -> Any:
        """Return a boto3 client acting as the account's root."""

    def control(self, path: str, body: dict[str, Any] | None = ..., /) -> dict[str, Any]:
        """Return the answer of the emulator's own control plane."""


@dataclass(frozen=True, slots=True)
class ManagedPolicy:
    """A customer managed policy."""

    name: str
    document: JsonObject
    path: str = "/"
    description: str = ""


@dataclass(frozen=True, slots=True)
class ServiceControlPolicy:
    """A service control policy and the organizational units it is attached to."""

    name: str
    document: JsonObject
    units: tuple[str, ...]
    description: str = ""


@dataclass(frozen=True, slots=True)
class AccessKey:
    """An access key of a user; AWS chooses its id, so it is known only once it is created."""

    status: str = "Active"  # or "Inactive"
    created_days_ago: int = 0
    access_key_id: str | None = None
    last_used_days_ago: int | None = None  # beside what the trail shows; None: not used
    last_used_service: str = "s3"


@dataclass(frozen=True, slots=True)
class Root:
    """An account's root user: one that is locked away, where the data says nothing else."""

    has_mfa: bool = True
    last_used_days_ago: int | None = None
    access_keys: tuple[AccessKey, ...] = ()


@dataclass(frozen=True, slots=True)
class Group:
    """A group of users."""

    name: str
    path: str = "/"
    managed_policy_arns: tuple[str, ...] = ()
    inline_policies: Mapping[str, JsonObject] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Role:
    """A role. ``service_linked`` names the service that owns it, if one does."""

    account_id: str
    name: str
    trust: JsonObject
    path: str = "/"
    description: str = ""
    managed_policy_arns: tuple[str, ...] = ()
    inline_policies: Mapping[str, JsonObject] = field(default_factory=dict)
    boundary_arn: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    max_session_hours: int = 1
    created_days_ago: int = 0
    service_linked: str | None = None
    unique_id: str = ""  # AROA…; made up from the ARN where it is not given

    def __post_init__(self) -> None:
        if not self.unique_id:
            object.__setattr__(self, "unique_id", stable_id("AROA", self.arn))

    @property
    def arn(self) -> str:
        """The role's ARN, with its path."""
        return f"arn:aws:iam::{self.account_id}:role{self.path}{self.name}"

    @property
    def is_identity_center(self) -> bool:
        """Whether Identity Center made the role for a permission set."""
        in_its_path = self.path.startswith(IDENTITY_CENTER_PATH)
        return in_its_path or self.name.startswith("AWSReservedSSO_")


@dataclass(frozen=True, slots=True)
class User:
    """An IAM user."""

    account_id: str
    name: str
    path: str = "/"
    managed_policy_arns: tuple[str, ...] = ()
    inline_policies: Mapping[str, JsonObject] = field(default_factory=dict)
    boundary_arn: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    groups: tuple[str, ...] = ()
    access_keys: tuple[AccessKey, ...] = ()
    has_console_password: bool = False
    has_mfa: bool = False
    password_last_used_days_ago: int | None = None  # beside what the trail shows; None: not used
    created_days_ago: int = 0
    unique_id: str = ""  # AIDA…

    def __post_init__(self) -> None:
        if not self.unique_id:
            object.__setattr__(self, "unique_id", stable_id("AIDA", self.arn))

    @property
    def arn(self) -> str:
        """The user's ARN, with its path."""
        return f"arn:aws:iam::{self.account_id}:user{self.path}{self.name}"


Principal: TypeAlias = Role | User


@dataclass(frozen=True, slots=True)
class Exemption:
    """A principal that the settings leave as it is."""

    principal: str  # account/Name
    owner: str
    reason: str
    expires_in_days: int  # less than 0: it has expired


@dataclass(frozen=True, slots=True)
class Account:
    """One account and what is in its IAM."""

    account_id: str
    name: str
    email: str
    organizational_unit: str | None = None  # None: under the root
    policies: tuple[ManagedPolicy, ...] = ()
    groups: tuple[Group, ...] = ()
    roles: tuple[Role, ...] = ()
    users: tuple[User, ...] = ()
    root: Root = Root()

    @property
    def root_arn(self) -> str:
        """The ARN that the root user has in the credential report and in CloudTrail."""
        return f"arn:aws:iam::{self.account_id}:root"

    @property
    def principals(self) -> tuple[Principal, ...]:
        """Every role and user, roles first."""
        return (*self.roles, *self.users)


@dataclass(frozen=True, slots=True)
class Organization:
    """An organization as data: nothing of it need exist yet."""

    organization_id: str
    home_region: str
    regions: tuple[str, ...]
    management_account_name: str
    hub_account_name: str
    log_archive_account_name: str
    trail_name: str
    trail_bucket: str
    organizational_units: tuple[str, ...]
    delegated_services: tuple[str, ...]
    service_control_policies: tuple[ServiceControlPolicy, ...]
    accounts: tuple[Account, ...]
    exemptions: tuple[Exemption, ...] = ()

    @property
    def management_account(self) -> Account:
        """The account that owns the organization and its trail."""
        return self.account(self.management_account_name)

    @property
    def hub_account(self) -> Account:
        """The account Pare is deployed to."""
        return self.account(self.hub_account_name)

    @property
    def log_archive_account(self) -> Account:
        """The account that owns the trail's bucket."""
        return self.account(self.log_archive_account_name)

    @property
    def workload_accounts(self) -> tuple[Account, ...]:
        """The accounts that are none of the three above."""
        names = {self.management_account_name, self.hub_account_name, self.log_archive_account_name}
        return tuple(account for account in self.accounts if account.name not in names)

    @property
    def trail_arn(self) -> str:
        """The organization trail's ARN: the same in every member account."""
        owner = self.management_account.account_id
        return f"arn:aws:cloudtrail:{self.home_region}:{owner}:trail/{self.trail_name}"

    def account(self, name: str) -> Account:
        """Return the account of that name or id; KeyError if there is none."""
        for account in self.accounts:
            if name in {account.name, account.account_id}:
                return account
        raise KeyError(name)

    def principals(self) -> Iterator[Principal]:
        """Yield every role and user of every account."""
        for account in self.accounts:
            yield from account.principals

    def principal(self, name: str) -> Principal:
        """Return a principal by its ARN or by ``account/Name``; KeyError if there is none."""
        account_name, _, own_name = name.partition("/")
        for account in self.accounts:
            for principal in account.principals:
                if principal.arn == name:
                    return principal
                if account.name == account_name and principal.name == own_name:
                    return principal
        raise KeyError(name)


@dataclass(frozen=True, slots=True)
class CreatedOrganization:
    """An organization that now exists in the emulator.

    ``organization`` is the one asked for with what only AWS chooses filled in: the organization's
    id, the unique ids of roles and users, access key ids.
    ``notes`` names what the emulator could not do.
    """

    organization: Organization
    organization_id: str
    trail_arn: str
    bucket_name: str
    account_ids: tuple[str, ...]
    notes: tuple[str, ...] = ()


# -------------------------------------------------------------------------------- reading the data


def read_organization(path: Path = SEED_FOLDER / "organization.yaml") -> Organization:
    """Return the organization that a data file describes; SeedError names what is wrong in it."""
    try:
        table = yaml.safe_load(path.read_text(encoding="utf-8"))
        if table["schema_version"] != SCHEMA_VERSION:
            raise SeedError(f"{path.name}: schema_version is not {SCHEMA_VERSION}.")
        ids = {account["name"]: str(account["id"]) for account in table["accounts"]}
        return _organization(_filled(table, ids))
    except yaml.YAMLError as error:
        raise SeedError(f"{path.name} is not YAML: {error}") from error
    except KeyError as error:
        raise SeedError(f"{path.name}: {error.args[0]!r} is missing.") from error
    except (TypeError, ValueError) as error:
        raise SeedError(f"{path.name}: {error}") from error


def _filled(value: Any, ids: Mapping[str, str]) -> Any:
    """Return the value with every ``{account name}`` in its texts replaced by the account's id."""
    if isinstance(value, str):
        for name, account_id in ids.items():
            value = value.replace("{" + name + "}", account_id)
        return value
    if isinstance(value, list):
        return [_filled(item, ids) for item in value]
    if isinstance(value, dict):
        return {key: _filled(item, ids) for key, item in value.items()}
    return value


def _organization(table: dict[str, Any]) -> Organization:
    head = dict(table["organization"])
    accounts = tuple(_account(account, table["accounts"]) for account in table["accounts"])
    organization = Organization(
        organization_id=head.pop("id"),
        home_region=head.pop("home_region"),
        regions=tuple(head.pop("regions")),
        management_account_name=head.pop("management_account"),
        hub_account_name=head.pop("hub_account"),
        log_archive_account_name=head.pop("log_archive_account"),
        trail_name=head.pop("trail_name"),
        trail_bucket=head.pop("trail_bucket"),
        organizational_units=tuple(head.pop("organizational_units")),
        delegated_services=tuple(head.pop("delegated_services")),
        service_control_policies=tuple(
            ServiceControlPolicy(**{**policy, "units": tuple(policy["units"])})
            for policy in head.pop("service_control_policies", ())
        ),
        accounts=accounts,
        exemptions=tuple(Exemption(**each) for each in table.get("exemptions", ())),
    )
    _refuse_rest(head, "organization")
    for exemption in organization.exemptions:
        organization.principal(exemption.principal)
    for name in (organization.management_account_name, organization.hub_account_name):
        organization.account(name)
    for account in accounts:
        ou = account.organizational_unit
        if ou is not None and ou not in organization.organizational_units:
            raise ValueError(f"account {account.name!r} is in the unknown unit {ou!r}")
    return organization


def _account(table: dict[str, Any], accounts: list[dict[str, Any]]) -> Account:
    table = dict(table)
    account_id = str(table.pop("id"))
    if not re.fullmatch(r"\d{12}", account_id):
        raise ValueError(f"account id {account_id!r} is not 12 digits")
    ids = {account["name"]: str(account["id"]) for account in accounts}
    account = Account(
        account_id=account_id,
        name=table.pop("name"),
        email=table.pop("email"),
        organizational_unit=table.pop("organizational_unit", None),
        policies=tuple(ManagedPolicy(**policy) for policy in table.pop("policies", ())),
        groups=tuple(Group(**_attachments(group)) for group in table.pop("groups", ())),
        roles=tuple(_role(role, account_id, ids) for role in table.pop("roles", ())),
        users=tuple(_user(user, account_id) for user in table.pop("users", ())),
        root=Root(**_access_keys(table.pop("root", {}))),
    )
    _refuse_rest(table, f"account {account.name!r}")
    return account


def _attachments(table: dict[str, Any]) -> dict[str, Any]:
    """Return a principal's or group's table with the names the dataclasses use."""
    table = dict(table)
    table["managed_policy_arns"] = tuple(table.pop("managed_policies", ()))
    if "boundary" in table:
        table["boundary_arn"] = table.pop("boundary")
    return table


def _role(table: dict[str, Any], account_id: str, ids: Mapping[str, str]) -> Role:
    table = _attachments(table)
    service = table.get("service_linked")
    if service:
        table |= {
            "path": f"{SERVICE_LINKED_PATH}{service}/",
            "trust": trust_document({"service": service}, account_id, ids),
        }
    else:
        table["trust"] = trust_document(table["trust"], account_id, ids)
    return Role(account_id=account_id, **table)


def _user(table: dict[str, Any], account_id: str) -> User:
    table = _access_keys(_attachments(table))
    table["groups"] = tuple(table.pop("groups", ()))
    return User(account_id=account_id, **table)


def _access_keys(table: Mapping[str, Any]) -> dict[str, Any]:
    keys = tuple(AccessKey(**key) for key in table.get("access_keys", ()))
    return {**table, "access_keys": keys}


def _refuse_rest(table: Mapping[str, Any], where: str) -> None:
    if table:
        raise ValueError(f"{where} has unknown keys: {', '.join(sorted(table))}")


def trust_document(trust: Mapping[str, str], account_id: str, ids: Mapping[str, str]) -> JsonObject:
    """Return the trust policy a short form stands for.

    Short forms: ``service``, ``account`` (by name, or an id outside the organization) with
    ``external_id`` or without, ``principal`` (an ARN, the id of a principal that is deleted, or *),
    ``identity_center`` (the name of its SAML provider), ``web_identity`` with ``subject``.
    """
    statement: JsonObject = {"Effect": "Allow", "Action": "sts:AssumeRole"}
    match trust:
        case {"service": service}:
            statement["Principal"] = {"Service": service}
        case {"account": name}:
            statement["Principal"] = {"AWS": f"arn:aws:iam::{ids.get(name, name)}:root"}
            if "external_id" in trust:
                statement["Condition"] = {"StringEquals": {"sts:ExternalId": trust["external_id"]}}
        case {"principal": arn}:
            statement["Principal"] = {"AWS": arn}
        case {"identity_center": provider}:
            statement |= {
                "Action": ["sts:AssumeRoleWithSAML", "sts:TagSession"],
                "Principal": {"Federated": f"arn:aws:iam::{account_id}:saml-provider/{provider}"},
                "Condition": {
                    "StringEquals": {"SAML:aud": "https://signin.aws.amazon.com/saml"},
                },
            }
        case {"web_identity": provider, "subject": subject}:
            statement |= {
                "Action": "sts:AssumeRoleWithWebIdentity",
                "Principal": {"Federated": f"arn:aws:iam::{account_id}:oidc-provider/{provider}"},
                "Condition": {
                    "StringEquals": {
                        f"{provider}:aud": "sts.amazonaws.com",
                        f"{provider}:sub": subject,
                    },
                },
            }
        case _:
            raise ValueError(f"no such form of trust: {dict(trust)!r}")
    return {"Version": "2012-10-17", "Statement": [statement]}


def stable_id(prefix: str, text: str, length: int = 21) -> str:
    """Return an id as IAM writes them (``AROA`` and 17 characters), always the same for a text."""
    digest = hashlib.sha256(text.encode()).digest()
    return prefix + "".join(_ID_ALPHABET[b % 32] for b in digest[: length - len(prefix)])


# -------------------------------------------------------------------------------------- creating it


def create_organization(
    emulator: EmulatorClients, organization: Organization, *, now: datetime
) -> CreatedOrganization:
    """Create the organization in the emulator through AWS's APIs, and return what came of it.

    Two things no API of AWS can do go through the emulator's control plane: accounts with ids of
    our choice (CreateAccount chooses them), and IAM entities that are older than this minute.
    """
    notes: list[str] = []
    organization_id = _create_accounts(emulator, organization, notes)
    organization = replace(organization, organization_id=organization_id)
    with ThreadPoolExecutor(_CALLS_AT_ONCE) as pool:
        accounts = tuple(
            pool.map(lambda account: _create_iam(emulator, account), organization.accounts)
        )
    organization = replace(organization, accounts=accounts)
    _backdate(emulator, organization, now)
    plant_credentials(emulator, organization, now=now)
    _create_bucket(emulator, organization)
    trail_arn = _create_trail(emulator, organization)
    return CreatedOrganization(
        organization=organization,
        organization_id=organization_id,
        trail_arn=trail_arn,
        bucket_name=organization.trail_bucket,
        account_ids=tuple(account.account_id for account in accounts),
        notes=tuple(notes),
    )


def _create_accounts(
    emulator: EmulatorClients, organization: Organization, notes: list[str]
) -> str:
    """Create accounts and units, register the hub, and return the organization's id."""
    management_id = organization.management_account.account_id
    client = emulator.client("organizations", management_id)
    organization_id: str = client.describe_organization()["Organization"]["Id"]
    emulator.control(
        "accounts",
        {
            "accounts": [
                {"account_id": account.account_id, "name": account.name, "email": account.email}
                for account in organization.accounts
            ]
        },
    )
    root_id = client.list_roots()["Roots"][0]["Id"]
    unit_ids = {
        name: client.create_organizational_unit(ParentId=root_id, Name=name)["OrganizationalUnit"][
            "Id"
        ]
        for name in organization.organizational_units
    }
    for account in organization.accounts:
        if account.organizational_unit is not None:
            client.move_account(
                AccountId=account.account_id,
                SourceParentId=root_id,
                DestinationParentId=unit_ids[account.organizational_unit],
            )
    for policy in organization.service_control_policies:
        created = client.create_policy(
            Name=policy.name,
            Description=policy.description,
            Type="SERVICE_CONTROL_POLICY",
            Content=json.dumps(policy.document),
        )
        policy_id = created["Policy"]["PolicySummary"]["Id"]
        for unit in policy.units:
            client.attach_policy(PolicyId=policy_id, TargetId=unit_ids[unit])
    for service in organization.delegated_services:
        hub_id = organization.hub_account.account_id
        try:
            if service == STACK_SETS_SERVICE:
                # StackSets are trusted from their own side alone (facts §6).
                emulator.client("cloudformation", management_id).activate_organizations_access()
            else:
                client.enable_aws_service_access(ServicePrincipal=service)
            client.register_delegated_administrator(AccountId=hub_id, ServicePrincipal=service)
        except ClientError as error:
            if error.response["Error"]["Code"] not in _NOT_IMPLEMENTED:
                raise
            notes.append(f"{service}: the emulator has no delegated administrators.")
    return organization_id


def _create_iam(emulator: EmulatorClients, account: Account) -> Account:
    """Create an account's IAM and return the account with its access key ids."""
    iam = emulator.client("iam", account.account_id)
    for policy in account.policies:
        iam.create_policy(
            PolicyName=policy.name,
            Path=policy.path,
            Description=policy.description,
            PolicyDocument=json.dumps(policy.document),
        )
    for group in account.groups:
        iam.create_group(GroupName=group.name, Path=group.path)
        _attach(iam, "group", group.name, group.managed_policy_arns, group.inline_policies)
    return replace(
        account,
        roles=tuple(_create_role(iam, role) for role in account.roles),
        users=tuple(_create_user(iam, user) for user in account.users),
    )


def _create_role(iam: Any, role: Role) -> Role:
    """Create a role and return it with the unique id it was given."""
    if role.service_linked:
        unique_id = _create_service_linked_role(iam, role)
        if unique_id is not None:
            return replace(role, unique_id=unique_id)
    options: dict[str, Any] = {}
    if role.boundary_arn:
        options["PermissionsBoundary"] = role.boundary_arn
    created = iam.create_role(
        RoleName=role.name,
        Path=role.path,
        Description=role.description,
        AssumeRolePolicyDocument=json.dumps(role.trust),
        MaxSessionDuration=role.max_session_hours * 3600,
        Tags=_tags(role.tags),
        **options,
    )
    _attach(iam, "role", role.name, role.managed_policy_arns, role.inline_policies)
    return replace(role, unique_id=created["Role"]["RoleId"])


def _create_service_linked_role(iam: Any, role: Role) -> str | None:
    """Return the service-linked role's unique id, or None where it was made under another name.

    ministack makes up the name (AWSServiceRoleForRds, where AWS says …RDS); then the role is taken
    back, and a plain role in the service-linked path stands in for it.
    """
    made = iam.create_service_linked_role(AWSServiceName=role.service_linked)["Role"]
    if made["RoleName"] == role.name:
        unique_id: str = made["RoleId"]
        return unique_id
    iam.delete_service_linked_role(RoleName=made["RoleName"])
    return None


def _create_user(iam: Any, user: User) -> User:
    options: dict[str, Any] = {}
    if user.boundary_arn:
        options["PermissionsBoundary"] = user.boundary_arn
    made = iam.create_user(UserName=user.name, Path=user.path, Tags=_tags(user.tags), **options)
    _attach(iam, "user", user.name, user.managed_policy_arns, user.inline_policies)
    for group in user.groups:
        iam.add_user_to_group(GroupName=group, UserName=user.name)
    if user.has_console_password:
        # Nobody signs in to an emulator; the password only has to exist.
        iam.create_login_profile(UserName=user.name, Password=stable_id("Aa1!", user.arn, 24))
    keys = []
    for key in user.access_keys:
        created = iam.create_access_key(UserName=user.name)["AccessKey"]
        if key.status != "Active":
            iam.update_access_key(
                UserName=user.name, AccessKeyId=created["AccessKeyId"], Status=key.status
            )
        keys.append(replace(key, access_key_id=created["AccessKeyId"]))
    return replace(user, access_keys=tuple(keys), unique_id=made["User"]["UserId"])


def _attach(
    iam: Any,
    kind: str,
    name: str,
    managed_policy_arns: Iterable[str],
    inline_policies: Mapping[str, JsonObject],
) -> None:
    parameter = {f"{kind.capitalize()}Name": name}
    attach: Callable[..., object] = getattr(iam, f"attach_{kind}_policy")
    put: Callable[..., object] = getattr(iam, f"put_{kind}_policy")
    for arn in managed_policy_arns:
        attach(PolicyArn=arn, **parameter)
    for policy_name, document in inline_policies.items():
        put(PolicyName=policy_name, PolicyDocument=json.dumps(document), **parameter)


def _tags(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def _backdate(emulator: EmulatorClients, organization: Organization, now: datetime) -> None:
    """Give roles, users and keys the age the data says."""
    entries: list[dict[str, str]] = []
    for principal in organization.principals():
        entries.append({"arn": principal.arn, "created_at": _ago(now, principal.created_days_ago)})
        if isinstance(principal, User):
            entries += [
                {
                    "arn": principal.arn,
                    "access_key_id": key.access_key_id or "",
                    "created_at": _ago(now, key.created_days_ago),
                }
                for key in principal.access_keys
            ]
    emulator.control("ages", {"entries": entries})


def plant_credentials(
    emulator: EmulatorClients,
    organization: Organization,
    *,
    now: datetime,
    used: Iterable[CredentialUse] = (),
) -> None:
    """Plant MFA, and the use of passwords and keys, as the data and ``used`` say.

    What was planted before is replaced.
    """
    entries = [
        entry
        for account in organization.accounts
        for entry in (_root_credentials(account, now), *_user_credentials(account, now))
    ]
    by_arn = {entry["arn"]: entry for entry in entries}
    for use in used:
        entry = by_arn[use.arn]
        if use.access_key_id is None:
            entry["password_last_used_at"] = format_time(use.last_used_at)
        else:
            entry["access_keys"] = [*entry.get("access_keys", []), use.to_json()]
    emulator.control("credentials", {"entries": entries})


def _root_credentials(account: Account, now: datetime) -> dict[str, Any]:
    root = account.root
    keys = [
        {
            "access_key_id": key.access_key_id,
            "created_at": _ago(now, key.created_days_ago),
            **_key_use(key, now),
        }
        for key in root.access_keys
    ]
    entry: dict[str, Any] = {
        "arn": account.root_arn,
        "mfa_active": root.has_mfa,
        "access_keys": keys,
    }
    if root.last_used_days_ago is not None:
        entry["password_last_used_at"] = _ago(now, root.last_used_days_ago)
    return entry


def _user_credentials(account: Account, now: datetime) -> Iterator[dict[str, Any]]:
    for user in account.users:
        entry: dict[str, Any] = {"arn": user.arn, "mfa_active": user.has_mfa}
        if user.has_console_password:
            entry["password_changed_at"] = _ago(now, user.created_days_ago)
        if user.password_last_used_days_ago is not None:
            entry["password_last_used_at"] = _ago(now, user.password_last_used_days_ago)
        entry["access_keys"] = [
            {"access_key_id": key.access_key_id, **_key_use(key, now)}
            for key in user.access_keys
            if key.last_used_days_ago is not None
        ]
        yield entry


def _key_use(key: AccessKey, now: datetime) -> dict[str, str]:
    if key.last_used_days_ago is None:
        return {}
    return {
        "last_used_at": _ago(now, key.last_used_days_ago),
        "service": key.last_used_service,
        "region": "eu-west-1",
    }


def _ago(now: datetime, days: int) -> str:
    return format_time(now - timedelta(days=days))


def _create_bucket(emulator: EmulatorClients, organization: Organization) -> None:
    s3 = emulator.client(
        "s3", organization.log_archive_account.account_id, organization.home_region
    )
    bucket = organization.trail_bucket
    s3.create_bucket(
        Bucket=bucket,
        ObjectOwnership="BucketOwnerEnforced",
        CreateBucketConfiguration={"LocationConstraint": organization.home_region},
    )
    s3.put_public_access_block(
        Bucket=bucket,
        PublicAccessBlockConfiguration={
            "BlockPublicAcls": True,
            "IgnorePublicAcls": True,
            "BlockPublicPolicy": True,
            "RestrictPublicBuckets": True,
        },
    )
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps(trail_bucket_policy(organization)))


def trail_bucket_policy(organization: Organization) -> JsonObject:
    """Return the trail bucket's policy as it is before Pare comes: TLS only, CloudTrail writes.

    https://docs.aws.amazon.com/awscloudtrail/latest/userguide/create-s3-bucket-policy-for-cloudtrail.html
    What reading takes is added by PareLogArchive.
    """
    bucket_arn = f"arn:aws:s3:::{organization.trail_bucket}"
    organization_id = organization.organization_id
    cloudtrail: JsonObject = {"Service": "cloudtrail.amazonaws.com"}
    from_the_trail: JsonObject = {"aws:SourceArn": organization.trail_arn}
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "TlsOnly",
                "Effect": "Deny",
                "Principal": "*",
                "Action": "s3:*",
                "Resource": [bucket_arn, f"{bucket_arn}/*"],
                "Condition": {"Bool": {"aws:SecureTransport": "false"}},
            },
            {
                "Sid": "AWSCloudTrailAclCheck",
                "Effect": "Allow",
                "Principal": cloudtrail,
                "Action": "s3:GetBucketAcl",
                "Resource": bucket_arn,
                "Condition": {"StringEquals": from_the_trail},
            },
            {
                "Sid": "AWSCloudTrailWrite",
                "Effect": "Allow",
                "Principal": cloudtrail,
                "Action": "s3:PutObject",
                "Resource": [
                    f"{bucket_arn}/AWSLogs/{organization.management_account.account_id}/*",
                    f"{bucket_arn}/AWSLogs/{organization_id}/*",
                ],
                "Condition": {
                    "StringEquals": {
                        "s3:x-amz-acl": "bucket-owner-full-control",
                        **from_the_trail,
                    }
                },
            },
        ],
    }


def _create_trail(emulator: EmulatorClients, organization: Organization) -> str:
    cloudtrail = emulator.client(
        "cloudtrail", organization.management_account.account_id, organization.home_region
    )
    trail = cloudtrail.create_trail(
        Name=organization.trail_name,
        S3BucketName=organization.trail_bucket,
        IsMultiRegionTrail=True,
        IsOrganizationTrail=True,
        IncludeGlobalServiceEvents=True,
        EnableLogFileValidation=True,
    )
    cloudtrail.start_logging(Name=trail["TrailARN"])
    arn: str = trail["TrailARN"]
    return arn
