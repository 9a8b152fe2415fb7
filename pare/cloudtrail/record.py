"""The fields of a CloudTrail record that Pare reads, decoded straight into these shapes.

https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-record-contents.html
Names are CloudTrail's own. Whatever is not named here is passed over without being built. ``Raw``
holds JSON text that is decoded only when an operation needs it.

The fields stand in the order in which CloudTrail writes them: msgspec looks for each name from
where it found the last one.
"""

from __future__ import annotations

from typing import Any

import msgspec

NOTHING = msgspec.Raw(b"null")


class SessionIssuer(msgspec.Struct, gc=False):
    """Who issued the temporary credentials: for a role session, the role with its path."""

    type: str | None = None
    principalId: str | None = None
    arn: str | None = None


class SessionContext(msgspec.Struct, gc=False):
    """``userIdentity.sessionContext``."""

    sessionIssuer: SessionIssuer | None = None


class OnBehalfOf(msgspec.Struct, gc=False):
    """The Identity Center user a call is made for."""

    userId: str | None = None
    identityStoreArn: str | None = None


class UserIdentity(msgspec.Struct, gc=False):
    """``userIdentity``; every field is optional.

    https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-user-identity.html
    """

    type: str | None = None
    principalId: str | None = None
    arn: str | None = None
    accountId: str | None = None
    userName: str | None = None
    sessionContext: SessionContext | None = None
    invokedBy: str | None = None
    identityProvider: str | None = None
    onBehalfOf: OnBehalfOf | None = None


class Record(msgspec.Struct, gc=False):
    """One record; ``eventTime`` is ``2026-11-21T10:00:00Z``."""

    userIdentity: UserIdentity | None = None
    eventTime: str | None = None
    eventSource: str | None = None
    eventName: str | None = None
    awsRegion: str | None = None
    errorCode: str | None = None
    requestParameters: msgspec.Raw = NOTHING
    responseElements: msgspec.Raw = NOTHING
    eventID: str | None = None
    resources: msgspec.Raw = NOTHING
    eventType: str | None = None
    recipientAccountId: str | None = None
    sharedEventID: str | None = None
    eventCategory: str | None = None


def lenient(value: dict[str, Any]) -> Record:
    """Return the record in a decoded object of any shape; a field of a wrong type counts as absent.

    Real records break the documented shapes now and then: a number where a text should be, a text
    where an object should be. Such a field must not cost the record.
    """
    identity = _object(value.get("userIdentity"))
    context = _object(_object(identity).get("sessionContext"))
    issuer = _object(context.get("sessionIssuer"))
    behalf = _object(identity.get("onBehalfOf"))
    fields: dict[str, Any] = {name: _text(value.get(name)) for name in _TEXTS}
    fields |= {name: msgspec.Raw(msgspec.json.encode(value.get(name))) for name in _RAWS}
    return Record(
        **fields,
        userIdentity=UserIdentity(
            **{name: _text(identity.get(name)) for name in _IDENTITY_TEXTS},
            sessionContext=SessionContext(
                SessionIssuer(
                    *(_text(issuer.get(name)) for name in SessionIssuer.__struct_fields__)
                )
            ),
            onBehalfOf=OnBehalfOf(
                *(_text(behalf.get(name)) for name in OnBehalfOf.__struct_fields__)
            ),
        ),
    )


_RAWS = ("requestParameters", "responseElements", "resources")
_TEXTS = tuple(
    name for name in Record.__struct_fields__ if name != "userIdentity" and name not in _RAWS
)
_IDENTITY_TEXTS = tuple(
    name for name in UserIdentity.__struct_fields__ if name not in {"sessionContext", "onBehalfOf"}
)


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str | None:
    if isinstance(value, str):
        return value
    # Account ids and error codes are sometimes written as numbers.
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None
