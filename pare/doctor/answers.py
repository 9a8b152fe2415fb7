"""What the hub's functions answer when the doctor asks them to look with their own rights.

``pare.aws.probe`` makes these, ``lambdas.probe`` hands them out. Everything is JSON. What failed is
told as a ``Failure`` in the place of what was asked for, so that one refusal hides nothing else; a
request that cannot be answered at all is answered with a ``Failure`` alone.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict

Age = Literal["old", "middle", "new"]
# Which part of a way refuses: S3 (the bucket's policy, or the function's own), the object's owner,
# or KMS.
Barrier = Literal["s3", "owner", "kms"]


class Failure(TypedDict):
    """A call that failed: which, and AWS's code and message (or the SDK's)."""

    ok: Literal[False]
    action: str  # "s3:GetBucketPolicy"
    code: str
    message: str


class Found(TypedDict):
    """A call that answered."""

    ok: Literal[True]
    value: Any


Answer = Found | Failure


class Entered(TypedDict):
    """A member account that let the function in.

    ``template``: the tag of its member role. ``rights``: the hash of that role's rights
    (``pare.member_rights``), or why it may not read itself. ``access_role``: {path, is_trusting} of
    Access Analyzer's role there, which trusts Access Analyzer or does not.
    """

    ok: Literal[True]
    template: NotRequired[str | None]
    rights: NotRequired[Answer]
    access_role: NotRequired[Answer]


class MemberAnswer(TypedDict):
    """Of ``{"kind": "member", "account_ids": […], "template": true, "access_role": NAME}``.

    The last two are optional, and the last is of no use without the one before.
    ``not_reached``: accounts for which no time was left; ask again for these.
    """

    accounts: dict[str, Entered | Failure]
    not_reached: list[str]


class BucketAnswer(TypedDict):
    """The trail's bucket, as its own account sees it.

    ``location``: a Region. ``policy``: the document, None where there is none. ``ownership``:
    ``BucketOwnerEnforced``, ``BucketOwnerPreferred`` or ``ObjectWriter``. ``encryption``:
    {algorithm, kms_key_arn} of the default encryption. ``owner``: the bucket owner's canonical id.
    """

    location: Answer
    policy: Answer
    ownership: Answer
    encryption: Answer
    owner: Answer


class KeyAnswer(TypedDict):
    """A key: ``key``: {state, manager} as DescribeKey has them, ``policy``: the document.

    ``state``: ``Enabled`` …; ``manager``: ``CUSTOMER``, or ``AWS`` for a key of a service's own.
    """

    key: Answer
    policy: Answer


class TrailAnswer(TypedDict):
    """A trail: the answers of GetTrail (its ``Trail``), GetTrailStatus and GetEventSelectors.

    Times are texts in ISO 8601.
    """

    trail: Answer
    status: Answer
    selectors: Answer


class LogArchiveAnswer(TypedDict):
    """Of ``{"kind": "log archive", "bucket": {…}, "key_arns": […], "trail_arns": […]}``.

    All three are optional; ``bucket`` is {name, account_id, region}. Each is looked at through the
    member role in the account it lies in.
    """

    ok: Literal[True]
    bucket: BucketAnswer | None
    keys: dict[str, KeyAnswer]
    trails: dict[str, TrailAnswer]
    not_reached: list[str]


class SampleJson(TypedDict):
    """A log file of an account; ``owner``: the canonical id of who owns the object, or None."""

    key: str
    age: Age
    date: str
    size: int
    owner: str | None


class AccountLogs(TypedDict):
    """The log files of an account in a window: some of them, and about how much they all are.

    ``files`` and ``bytes`` (as stored) are worked out from the newest days of each Region.
    """

    ok: Literal[True]
    samples: list[SampleJson]
    files: int
    bytes: int


class ListingAnswer(TypedDict):
    """Of ``{"kind": "list trail", "first_date": D, "last_date": D, "account_ids": […]}``.

    Without ``account_ids``, of every account that has a folder in the bucket. ``region``: the
    bucket's, as S3 says it. ``missing``: accounts asked for that have no folder.
    """

    ok: Literal[True]
    region: str | None
    accounts: dict[str, AccountLogs | Failure]
    missing: list[str]
    not_reached: list[str]


class ReadObject(TypedDict):
    """A log file that can be read; ``kms_key_arn``: the key it is encrypted with, if any."""

    ok: Literal[True]
    size: int
    encryption: str | None  # "aws:kms", "AES256"
    kms_key_arn: str | None


class UnreadObject(Failure):
    """A log file that cannot be read; ``barrier``: who refuses, None where it was no refusal.

    ``kms_key_arn``: where S3 names the key all the same.
    """

    barrier: Barrier | None
    kms_key_arn: str | None


class ReadingAnswer(TypedDict):
    """Of ``{"kind": "read trail", "keys": […]}``. No content of a log file is in it."""

    ok: Literal[True]
    objects: dict[str, ReadObject | UnreadObject]
    not_reached: list[str]
