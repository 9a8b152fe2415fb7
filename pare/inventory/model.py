"""The shapes that the inventory's steps pass on, as JSON. Times are ISO 8601 UTC, dates YYYY-MM-DD.

None stands for what is not known, or not there where the comment says so. What is unknown is named
in ``unknown``, and never counted as unused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NotRequired, TypedDict

if TYPE_CHECKING:
    from pare.object_ref import ObjectRef

# Raised whenever a row changes its meaning, so that months can be compared honestly.
DEFINITION_VERSION = 2

PrincipalKind = Literal[
    "person",  # a user who signs in to the console
    "machine user",  # a user with nothing but keys
    "user",  # a user of whom the credential report says nothing
    "service role",  # trusts a service of AWS
    "cross-account role",  # trusts another account
    "federated role",  # trusts an identity provider
    "role",  # trusts its own account, or nobody
    "service-linked role",
    "Identity Center role",
    "bootstrap role",
    "break-glass",
]
Status = Literal["used", "idle", "never used", "new", "unknown"]
# What to do with a principal.
Class = Literal["keep", "review", "narrow", "disable", "delete"]
CLASSES: tuple[Class, ...] = ("delete", "disable", "narrow", "review", "keep")  # gravest first
# Where a last use was seen. "role" is IAM's RoleLastUsed, "service" its service last accessed.
UseSource = Literal["role", "service", "password", "access key", "activity"]


class ReasonJson(TypedDict):
    """A reason or an issue: its code, and the values its sentence names (pare/data/texts)."""

    code: str
    values: dict[str, str | int]


# --- terms ----------------------------------------------------------------------------------------


class WhenJson(TypedDict, total=False):
    """Which principals a rule is about; all that is there must hold. Empty: every one."""

    principal: str  # an ARN; * stands for any characters
    kind: list[PrincipalKind]  # any of them
    status: list[Status]  # any of them
    flags: list[str]  # all of them; pare/inventory/flags.py has their names


# A rule of the settings; "class" is a keyword of Python: only this form of TypedDict takes it.
RuleJson = TypedDict("RuleJson", {"when": WhenJson, "class": "Class", "reason": str})


class InventoryTermsJson(TypedDict):
    """``inventory:`` of the settings, as they hand it to the inventory workflow."""

    idle_days: int
    new_days: int
    key_max_age_days: int
    narrow_unused_services: int
    disable_after_days: int
    delete_after_days: int
    seasonal_weeks: int
    window_days: int  # of the nightly digests, before as_of
    break_glass_tag: str
    owner_tag_keys: list[str]
    default_owner: str
    exemptions: list[dict[str, str]]  # principal, owner, reason, expires
    rules: list[RuleJson]  # before the default ones


# --- what is collected ----------------------------------------------------------------------------


class OutsideTrustJson(TypedDict):
    """An account outside the organization that a role trusts."""

    account_id: str
    external_id: bool  # the trust policy demands an external id
    conditions: list[str]  # the condition keys of the statement, sorted


class TrustJson(TypedDict):
    """Who may assume a role, as its trust policy says."""

    services: list[str]  # such as ec2.amazonaws.com
    own_account: bool
    inside: list[str]  # other accounts of the organization
    outside: list[OutsideTrustJson]
    federated: list[str]  # identity providers: their ARNs, or cognito-identity.amazonaws.com
    federated_open: list[str]  # of these, OpenID providers all of whose identities may assume it
    is_public: bool  # anybody in AWS, with no condition that names who
    unknown: list[str]  # principals that are none of these, such as ids of deleted ones


class AccessKeyJson(TypedDict):
    """An access key of a user, or of the root user."""

    access_key_id: str | None  # the credential report does not tell it
    is_active: bool
    created_at: str | None  # or activated again, whichever was last
    last_used_at: str | None  # None: no use recorded
    last_used_service: str | None
    last_used_region: str | None


class CredentialsJson(TypedDict):
    """A user's row of the credential report."""

    password_enabled: bool | None
    password_last_used_at: str | None  # None: no use recorded
    password_changed_at: str | None
    mfa_active: bool
    access_keys: list[AccessKeyJson]
    active_certificates: int
    additional: str  # additional_credentials_info as it is, empty where the report has none


class WidePolicyJson(TypedDict):
    """A policy that allows whole services, or everything."""

    policy: str  # its ARN, or inline:NAME
    group: str | None
    pattern: str  # "*", "iam:*", or "NotAction"
    is_administrator: bool  # every action on every resource, without a condition


class PrincipalFactsJson(TypedDict):
    """What IAM and the credential report say of a user or role."""

    account_id: str
    principal_arn: str
    principal_id: str
    kind: PrincipalKind
    created_at: str
    owner: str | None  # what its owner tag says
    tags: dict[str, str]
    policies: list[str]  # ARNs, then inline:NAME
    groups: list[str]
    boundary: str | None
    description: str
    trust: TrustJson | None  # None: a user
    role_last_used_at: str | None  # RoleLastUsed; None: no use recorded, or a user
    role_last_used_region: str | None
    credentials: CredentialsJson | None  # None: a role, or the report is unknown
    wide: list[WidePolicyJson]  # administrators first
    disabled_by: str | None  # such as "AWSDenyAll": what leaves it no permission or no credential
    instance_profiles: list[str]
    unknown: list[str]  # such as "credential report"


class RootUserJson(TypedDict):
    """The root user of an account, from the credential report."""

    mfa_active: bool
    password_last_used_at: str | None
    access_keys: list[AccessKeyJson]


class CollectedJson(TypedDict):
    """What the step Collect principals leaves of an account."""

    account_id: str
    name: str
    alias: str | None  # None: it has none, or see unknown
    collected_at: str
    details: ObjectRef  # gzip NDJSON: a page of GetAccountAuthorizationDetails a line, as boto3 has
    credential_report: ObjectRef | None  # CSV as IAM sent it; None: unknown
    access_keys: dict[str, list[dict[str, str]]]  # user name -> AccessKeyId, Status, CreateDate
    principals: ObjectRef  # JSON: the ARNs of its users and roles, sorted
    principal_count: int
    unknown: list[str]  # what could not be read, and why
    calls: int  # of IAM
    seconds: float  # of the function, so far


# --- last accessed --------------------------------------------------------------------------------


class ServiceUseJson(TypedDict):
    """A service that the principal's policies allow, and what was used of it."""

    service: str
    last_accessed_at: str | None  # None: not in the tracking period
    region: str | None
    used: dict[str, str]  # action, without prefix -> last accessed at
    # Tracked and never used; None: its actions are not tracked, or the service was not used at all.
    unused: list[str] | None
    tracked: int  # actions tracked and allowed


class LastAccessedJson(TypedDict):
    """How a principal's last accessed job ended. ``services`` is None where it is unknown."""

    principal_arn: str
    outcome: Literal["COMPLETED", "unknown"]
    error: str | None  # the class of the error, such as LastAccessedError
    message: str
    attempts: int
    generated_at: str | None
    services: list[ServiceUseJson] | None


class ProgressJson(TypedDict):
    """How far an account's last accessed information is read."""

    parts: list[str]  # keys of gzip NDJSON objects of LastAccessedJson
    left: list[dict[str, str | int]]  # principal_arn, attempts, error, message
    read: int
    unknown: int
    calls: int
    throttled: int
    seconds: float
    batches: int
    stalled: int  # batches in a row in which no job ended


# --- the row --------------------------------------------------------------------------------------


class LastUseJson(TypedDict):
    """The newest use known, wherever it was seen."""

    at: str | None  # None: none is recorded
    source: UseSource | None
    what: str  # such as "s3" or "access key 2", empty where there is none
    sources: dict[str, str | None]  # every source asked -> what it says; not in it: not asked
    unknown: list[str]  # sources that should have been asked and gave no answer
    since: str | None  # a use since then would be known; None: cannot be told


class UsedServiceJson(TypedDict):
    """A used service in a row."""

    last_accessed_at: str
    used_actions: int
    unused_actions: int | None  # None: its actions are not tracked
    denied_only: bool  # activity proves that everything it asked of the service was refused


class PlanJson(TypedDict):
    """Planned dates, carried from month to month. Nothing is changed by Pare."""

    what: Literal["principal", "password", "access key 1", "access key 2"]
    announced_on: str
    disable_on: str
    disabled_on: str | None  # the first inventory that saw it disabled
    delete_on: str | None  # set once it is disabled
    times_announced: int


class ExemptionJson(TypedDict):
    """An exemption of the settings that names this principal."""

    owner: str
    reason: str
    expires: str


class SeasonJson(TypedDict):
    """Why something unused may be needed again."""

    what: str  # "principal" or an action
    used_on: list[str]  # dates or months of earlier use
    expected: str  # the date around which it may come again
    decide_after: str


# "class" is a keyword of Python: only this form of TypedDict takes it.
_ClassJson = TypedDict("_ClassJson", {"class": Class})


class PrincipalRowJson(PrincipalFactsJson, _ClassJson):
    """One user or role in a snapshot: the facts, what was used, what to do and why."""

    definition_version: int
    period: str
    status: Status
    is_unused: bool  # idle or never used, and it could be done without: see flags.KEPT
    idle_days: int | None  # since the last use, or since it would be known; None: cannot be told
    reasons: list[ReasonJson]  # why this class, the deciding one first
    issues: list[ReasonJson]  # of keys, passwords, MFA, trust: beside the class
    last_use: LastUseJson
    services: dict[str, UsedServiceJson]  # used ones
    unused_services: int | None  # allowed and not used; None: unknown
    unused_actions: int | None  # tracked, unused, of used services; None: unknown
    seasons: list[SeasonJson]
    used_months: list[str]  # YYYY-MM, of the last 14 months, as far as anybody knows
    used_services_months: dict[str, list[str]]  # service -> months, likewise
    exemption: ExemptionJson | None
    owner_shown: str  # the owner, or the settings' default
    plans: list[PlanJson]
    change: Literal["new", "changed", "same"] | None  # against last month; None: first inventory
    changes: list[str]  # names of members that changed, such as "class", "policies"


# --- accounts, snapshot ---------------------------------------------------------------------------


class AccountResultJson(TypedDict):
    """How an account ended; ``error`` means that nobody knows what is in it this month."""

    account_id: str
    name: str
    alias: str | None
    error: str | None
    message: str | None
    principal_count: int
    rows: ObjectRef | None  # gzip NDJSON of PrincipalRowJson, sorted by ARN
    last_accessed: list[ObjectRef]  # gzip NDJSON of LastAccessedJson
    gone: ObjectRef | None  # gzip NDJSON of last month's rows that are no longer there
    known: NotRequired[dict[str, str]]  # of an unknown account: {"period", "bucket", "key"} of rows
    root: RootUserJson | None
    issues: list[ReasonJson]  # of the root user
    counts: dict[str, int]  # see COUNTS
    unknown: list[str]
    calls: int
    throttled: int
    seconds: float  # of functions
    transitions: int


# The counts of an account, of a snapshot and of a trend: these names, 0 where there is none.
COUNTS = (
    "principals", "new", "gone", "changed",
    "status_used", "status_idle", "status_never_used", "status_new", "status_unknown",
    "class_keep", "class_review", "class_narrow", "class_disable", "class_delete",
    "unused_principals",  # is_unused
    "old_access_keys", "idle_access_keys", "users_without_mfa", "administrators",
    "trusts_outside", "public_trusts", "exempt", "exemptions_expired", "seasonal", "without_owner",
    "last_accessed_unknown", "root_access_keys", "root_without_mfa", "planned",
)  # fmt: skip


class PeriodCountsJson(TypedDict):
    """One month of the trend."""

    period: str
    definition_version: int
    accounts: int
    unknown_accounts: int
    counts: dict[str, int]


class SnapshotJson(TypedDict):
    """The head of a snapshot, ``snapshot.json``; its rows lie beside it as gzip NDJSON."""

    definition_version: int
    period: str
    created_at: str
    as_of: str  # the moment that ages and days are counted to
    previous: str | None  # the period it is compared with
    comparable: bool  # the same definitions as then
    account_count: int
    unknown_account_count: int
    counts: dict[str, int]
    by_kind: dict[str, int]
    trend: list[PeriodCountsJson]  # oldest first, this month last, 25 at most
    accounts: list[AccountResultJson]
    rows: ObjectRef
    calls: int
    throttled: int
    seconds: float
    transitions: int
    estimated_cost_usd: float
