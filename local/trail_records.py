"""CloudTrail records as AWS writes them, made from templates: who called, what, with what result.

Field by field after the CloudTrail user guide and real records; the key order is that of delivered
files. The trail generator decides what happens; this module says how it is recorded.
https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-record-contents.html
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from local.organization import Role, SeedError, User, stable_id
from pare.clock import format_time

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping
    from datetime import datetime

    from local.organization import Principal
    from pare.policy.document import JsonObject

GLOBAL_REGION = "us-east-1"

_VERSIONS = ("1.09", "1.10", "1.11")
_BASE62 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_KEY_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_PLACEHOLDER = re.compile(r"\{([a-z0-9_]+)(?::(\d+))?\}")


# --------------------------------------------------------------------------------------- templates


@dataclass(slots=True)
class Values:
    """What the placeholders of one call stand for: a name has the same value throughout."""

    rng: random.Random
    known: dict[str, Any]
    choices: Mapping[str, list[Any]]

    @classmethod
    def at(
        cls,
        moment: datetime,
        rng: random.Random,
        known: Mapping[str, Any],
        choices: Mapping[str, list[Any]],
    ) -> Values:
        """Return the values of a call at a moment."""
        of_the_moment = {
            "time": format_time(moment),
            "date_path": f"{moment:%Y/%m/%d}",
            "console_time": console_time(moment),
        }
        return cls(rng, {**of_the_moment, **known}, choices)

    def fill(self, template: Any) -> Any:
        """Return the template with every placeholder filled."""
        if isinstance(template, str):
            return _PLACEHOLDER.sub(self._value, template) if "{" in template else template
        if isinstance(template, dict):
            return {key: self.fill(value) for key, value in template.items()}
        if isinstance(template, list):
            return [self.fill(value) for value in template]
        return template

    def _value(self, match: re.Match[str]) -> str:
        name, length = match.groups()
        if length is not None:
            return random_text(self.rng, name, int(length))
        if name == "new_uuid":
            return new_uuid(self.rng)
        if name not in self.known:
            if name == "uuid":
                self.known[name] = new_uuid(self.rng)
            elif name in self.choices:
                self.known[name] = self.rng.choice(self.choices[name])
            else:
                raise SeedError(f"operations.yaml: nothing is known as {{{name}}}.")
        return str(self.known[name])


def random_text(rng: random.Random, kind: str, length: int) -> str:
    """Return so many letters: ``hex``, ``base62``, or ``key`` as in access key ids."""
    if kind == "hex":
        return f"{rng.getrandbits(4 * length):0{length}x}"
    if kind == "base62":
        return "".join(rng.choices(_BASE62, k=length))
    if kind == "key":
        return "".join(rng.choices(_KEY_ALPHABET, k=length))
    raise SeedError(f"operations.yaml: there is no placeholder {{{kind}:{length}}}.")


def new_uuid(rng: random.Random) -> str:
    """Return a version 4 UUID."""
    digits = f"{rng.getrandbits(128):032x}"
    variant = "89ab"[int(digits[16], 16) % 4]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"


def console_time(moment: datetime) -> str:
    """Return a time as STS and older services write it: ``Jul 10, 2023, 12:21:41 PM``."""
    hour = moment.hour % 12 or 12
    return f"{moment:%b} {moment.day}, {moment.year}, {hour}:{moment:%M:%S %p}"


# ------------------------------------------------------------------------------------- who calls


@dataclass(frozen=True, slots=True)
class Session:
    """Credentials in use: who the caller is said to be, and from where."""

    identity: JsonObject
    caller_arn: str
    address: str
    agent: str
    invoked_by: str | None = None  # the service that called with the caller's permissions
    is_console: bool = False

    def on_behalf(self, service: str) -> Session:
        """Return the session as it looks where a service calls on with its permissions."""
        return replace(self, address=service, agent=service, invoked_by=service)


def service_session(service: str) -> Session:
    """Return a service calling with its own identity: no ARN, no account."""
    return Session({"type": "AWSService", "invokedBy": service}, service, service, service)


def user_session(
    user: User, address: str, agent: str, signed_in_at: datetime | None, rng: random.Random
) -> Session:
    """Return an IAM user with its access key or, if signed in, with the console's credentials."""
    identity: JsonObject = {
        "type": "IAMUser",
        "principalId": user.unique_id,
        "arn": user.arn,
        "accountId": user.account_id,
        "accessKeyId": _access_key_id(user),
        "userName": user.name,
    }
    if signed_in_at is not None:
        identity["accessKeyId"] = "ASIA" + random_text(rng, "key", 16)
        identity["sessionContext"] = {
            "attributes": {
                "creationDate": format_time(signed_in_at),
                "mfaAuthenticated": "true" if user.has_mfa else "false",
            }
        }
    return Session(identity, user.arn, address, agent, is_console=signed_in_at is not None)


def role_session(
    role: Role, name: str, address: str, agent: str, started_at: datetime, rng: random.Random
) -> Session:
    """Return a session of a role. Its own ARN leaves the role's path out; the issuer's keeps it."""
    context: JsonObject = {
        "sessionIssuer": {
            "type": "Role",
            "principalId": role.unique_id,
            "arn": role.arn,
            "accountId": role.account_id,
            "userName": role.name,
        },
        "webIdFederationData": {},
        "attributes": {"creationDate": format_time(started_at), "mfaAuthenticated": "false"},
    }
    if _trusts(role, "web_identity"):
        context["webIdFederationData"] = {"federatedProvider": _provider(role), "attributes": {}}
    if _trusts(role, "ec2.amazonaws.com"):
        context["ec2RoleDelivery"] = "2.0"
    identity: JsonObject = {
        "type": "AssumedRole",
        "principalId": f"{role.unique_id}:{name}",
        "arn": session_arn(role, name),
        "accountId": role.account_id,
        "accessKeyId": "ASIA" + random_text(rng, "key", 16),
        "sessionContext": context,
    }
    session = Session(identity, session_arn(role, name), address, agent)
    if role.service_linked:
        # A service with its service-linked role shows no key, and its own name for an address.
        del identity["accessKeyId"]
        return session.on_behalf(role.service_linked)
    if _trusts(role, "saml"):
        return replace(session, is_console=agent.startswith("Mozilla"))
    return session


def federated_session(role: Role, name: str, address: str, agent: str) -> Session:
    """Return who asks for a role with an assertion or a token: no ARN and no account yet."""
    provider = _provider(role)
    if _trusts(role, "saml"):
        identity: JsonObject = {
            "type": "SAMLUser",
            "principalId": f"{stable_id('', provider, 27)}=:{name}",
            "userName": name,
            "identityProvider": provider,
        }
        return Session(identity, name, address, "aws-internal/3")
    statement: Any = role.trust["Statement"]
    conditions: dict[str, str] = statement[0]["Condition"]["StringEquals"]
    subject = next(value for key, value in conditions.items() if key.endswith(":sub"))
    identity = {
        "type": "WebIdentityUser",
        "principalId": f"{provider}:sts.amazonaws.com:{subject}",
        "userName": subject,
        "identityProvider": provider,
    }
    return Session(identity, subject, address, agent)


def session_arn(role: Role, name: str) -> str:
    """Return the ARN of a role's session."""
    return f"arn:aws:sts::{role.account_id}:assumed-role/{role.name}/{name}"


def _access_key_id(user: User) -> str:
    active = [key.access_key_id for key in user.access_keys if key.status == "Active"]
    return (active and active[0]) or stable_id("AKIA", user.arn, 20)


def _trusts(role: Role, kind: str) -> bool:
    statement: Any = role.trust["Statement"]
    action = statement[0]["Action"]
    if kind == "saml":
        return "sts:AssumeRoleWithSAML" in action
    if kind == "web_identity":
        return "sts:AssumeRoleWithWebIdentity" in action
    return bool(statement[0]["Principal"].get("Service") == kind)


def _provider(role: Role) -> str:
    statement: Any = role.trust["Statement"]
    return str(statement[0]["Principal"]["Federated"])


# ----------------------------------------------------------------------------------- what is called


@dataclass(frozen=True, slots=True)
class Call:
    """One kind of call, from its template in operations.yaml, and how it ends."""

    template: Mapping[str, Any]
    name: str  # ssm:GetParameter
    values: Mapping[str, list[Any]] = field(default_factory=dict)
    denied: str | None = None  # which kind of policy refused
    error: tuple[str, str] | None = None

    @property
    def event_name(self) -> str:
        """The operation's name as CloudTrail writes it."""
        return str(self.template.get("event") or self.name.partition(":")[2])

    @property
    def source(self) -> str:
        """The event source."""
        return str(self.template.get("source") or f"{self.name.partition(':')[0]}.amazonaws.com")

    @property
    def actions(self) -> list[str]:
        """The IAM actions it takes."""
        return list(self.template.get("actions", [self.name]))

    @property
    def version(self) -> str:
        """The version of the record: services moved on at different times."""
        version = self.template.get("version")
        return str(version or _VERSIONS[zlib.crc32(self.source.encode()) % len(_VERSIONS)])

    @property
    def is_global(self) -> bool:
        """Whether the service logs in us-east-1 only."""
        return bool(self.template.get("is_global"))


def api_call(
    call: Call, session: Session, moment: datetime, region: str, account_id: str, values: Values
) -> JsonObject:
    """Return the record of one call."""
    template = call.template
    resources = values.fill(template["resources"]) if "resources" in template else None
    request = values.fill(template.get("request"))
    response = values.fill(template.get("response"))
    error = call.error
    if call.denied is not None:
        error = _denial(call, call.denied, session, resources)
        request = values.fill(template.get("denied_request", request))
    record: JsonObject = {
        "eventVersion": call.version,
        "userIdentity": _identity(session, call.version),
        "eventTime": format_time(moment),
        "eventSource": call.source,
        "eventName": call.event_name,
        "awsRegion": region,
        "sourceIPAddress": session.address,
        "userAgent": session.agent,
    }
    if error is not None:
        record["errorCode"], record["errorMessage"] = error
        response = None
    record["requestParameters"] = request
    record["responseElements"] = response
    if "additional" in template:
        record["additionalEventData"] = values.fill(template["additional"])
    record["requestID"] = new_uuid(values.rng)
    record["eventID"] = new_uuid(values.rng)
    record["readOnly"] = bool(template["read_only"])
    if resources is not None and error is None:
        record["resources"] = resources
    record["eventType"] = "AwsApiCall"
    if "api_version" in template:
        record["apiVersion"] = template["api_version"]
    record["managementEvent"] = True
    record["recipientAccountId"] = account_id
    record["eventCategory"] = "Management"
    return record | _connection(session, values.fill(template.get("host") or _host(call, region)))


def assume_role(
    role: Role,
    name: str,
    session: Session,
    caller: Session,
    moment: datetime,
    expires_at: datetime,
    region: str,
    rng: random.Random,
) -> JsonObject:
    """Return the record of the call that began a role's session: the caller's call, not the role's.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/cloudtrail-integration.html
    """
    kinds = {"SAMLUser": "AssumeRoleWithSAML", "WebIdentityUser": "AssumeRoleWithWebIdentity"}
    request: JsonObject = {"roleArn": role.arn, "roleSessionName": name}
    if caller.identity["type"] == "SAMLUser":
        request["principalArn"] = caller.identity["identityProvider"]
    if caller.identity["type"] in kinds:
        request["durationSeconds"] = role.max_session_hours * 3600
    access_key_id = session.identity.get("accessKeyId") or "ASIA" + random_text(rng, "key", 16)
    record: JsonObject = {
        "eventVersion": "1.08",
        "userIdentity": dict(caller.identity),
        "eventTime": format_time(moment),
        "eventSource": "sts.amazonaws.com",
        "eventName": kinds.get(str(caller.identity["type"]), "AssumeRole"),
        "awsRegion": region,
        "sourceIPAddress": caller.address,
        "userAgent": caller.agent,
        "requestParameters": request,
        "responseElements": {
            "credentials": {
                "accessKeyId": access_key_id,
                # A real token has about a thousand letters; nobody reads them.
                "sessionToken": f"IQoJb3JpZ2luX2VjE{random_text(rng, 'base62', 96)}==",
                "expiration": console_time(expires_at),
            },
            "assumedRoleUser": {
                "assumedRoleId": f"{role.unique_id}:{name}",
                "arn": session_arn(role, name),
            },
        },
        "requestID": new_uuid(rng),
        "eventID": new_uuid(rng),
        "readOnly": True,
        "resources": [{"accountId": role.account_id, "type": "AWS::IAM::Role", "ARN": role.arn}],
        "eventType": "AwsApiCall",
        "managementEvent": True,
        # A caller without an account of its own is recorded in the role's.
        "recipientAccountId": caller.identity.get("accountId") or role.account_id,
        "eventCategory": "Management",
    }
    if caller.identity["type"] == "AWSService":
        return with_shared_id(record, new_uuid(rng))
    return record | _connection(caller, f"sts.{region}.amazonaws.com")


def seen_from(record: JsonObject, account_id: str, rng: random.Random) -> JsonObject:
    """Return a cross-account call as the other account's trail has it: the caller is an account."""
    identity = record["userIdentity"]
    assert isinstance(identity, dict)  # as made above
    return {
        **record,
        "userIdentity": {
            "type": "AWSAccount",
            "principalId": identity["principalId"],
            "accountId": identity["accountId"],
        },
        "eventID": new_uuid(rng),
        "recipientAccountId": account_id,
    }


def with_shared_id(record: JsonObject, shared: str) -> JsonObject:
    """Return the record with sharedEventID where delivered files have it."""
    result: JsonObject = {}
    for key, value in record.items():
        result[key] = value
        if key == "recipientAccountId":
            result["sharedEventID"] = shared
    return result


def console_sign_in(
    user: User, address: str, agent: str, values: Values, template: Any
) -> JsonObject:
    """Return the record of a user's sign-in to the console."""
    values.known |= {
        "address": address,
        "agent": agent,
        "user": user.name,
        "user_arn": user.arn,
        "unique_id": user.unique_id,
        "account": user.account_id,
    }
    record: JsonObject = values.fill(template)
    if not user.has_mfa:
        additional: Any = record["additionalEventData"]
        del additional["MFAIdentifier"]
        additional["MFAUsed"] = "No"
    return record


def _identity(session: Session, version: str) -> JsonObject:
    identity: JsonObject = dict(session.identity)
    context = identity.get("sessionContext")
    if isinstance(context, dict) and version != "1.08" and context.get("webIdFederationData") == {}:
        # Newer records leave the empty object out.
        identity["sessionContext"] = {
            key: value for key, value in context.items() if key != "webIdFederationData"
        }
    if session.invoked_by:
        identity["invokedBy"] = session.invoked_by
    return identity


def _host(call: Call, region: str) -> str:
    return call.source if call.is_global else call.source.replace(".", f".{region}.", 1)


def _connection(session: Session, host: str) -> JsonObject:
    if session.invoked_by:
        return {}
    if session.is_console:
        return {"sessionCredentialFromConsole": "true"}
    return {
        "tlsDetails": {
            "tlsVersion": "TLSv1.3",
            "cipherSuite": "TLS_AES_128_GCM_SHA256",
            "clientProvidedHostHeader": host,
        }
    }


def _denial(call: Call, denied: str, session: Session, resources: Any) -> tuple[str, str]:
    """Return the code and the message of a refusal, worded as AWS words it.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html
    """
    action = call.actions[0]
    reasons = {
        "scp": "with an explicit deny in a service control policy",
        "boundary": f"because no permissions boundary allows the {action} action",
        "identity": f"because no identity-based policy allows the {action} action",
    }
    if denied not in reasons:
        raise SeedError(f"behaviour.yaml: nothing denies as {denied!r}.")
    code = str(call.template.get("denied_code", "AccessDeniedException"))
    refused = f"User: {session.caller_arn} is not authorized to perform: {action}"
    if code == "Client.UnauthorizedOperation":
        return code, (
            f"You are not authorized to perform this operation. {refused} {reasons[denied]}."
        )
    where = resources[0]["ARN"] if resources else "*"
    return code, f"{refused} on resource: {where} {reasons[denied]}"


def caller_session(
    caller: Principal, name: str, address: str, agent: str, moment: datetime, rng: random.Random
) -> Session:
    """Return a session of a principal that assumes another role; ``name`` is a role session's."""
    if isinstance(caller, Role):
        return role_session(caller, name, address, agent, moment, rng)
    return user_session(caller, address, agent, None, rng)
