"""The settings file, ``config/pare.yaml``, read into frozen dataclasses and checked.

``infra/settings.schema.json`` says what each key means, which values it takes and how to mend a
wrong one. This module adds what one key's schema cannot say, and the line of every fault.
"""

from __future__ import annotations

import difflib
import json
import re
import zoneinfo
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from infra.archive_rules import load_archive_rules
from infra.checked_file import KeyPath, Problem, read_checked, read_schema, schema_at
from pare.errors import SettingsError
from pare.findings.agreement import usd_per_principal_month

if TYPE_CHECKING:
    from collections.abc import Iterator

    from infra.checked_file import Get, Schema
    from pare.doctor.setup import MemberStacks, Setup
    from pare.findings.archive_rules import ArchiveRule

SCHEMA_PATH = Path(__file__).parent / "settings.schema.json"
# The file of archive rules, beside the settings file.
ARCHIVE_RULES = "archive-rules.yaml"
# The rules stand in nine states, and a template has 1 MB at most.
# https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html
MAX_RULES_CHARACTERS = 50_000
# How long before its end an exemption is announced.
ANNOUNCE_DAYS = 14
# In a trail's ARN: each account has a trail of its own.
ANY_ACCOUNT = "{account_id}"
# What config/pare.yaml says of an organization that does not exist; a test compares them.
PLACEHOLDERS = {
    "organization_id": "o-example0000",
    "management_account_id": "111111111111",
    "hub_account_id": "222222222222",
    "log_archive_account_id": "333333333333",
    "organizational_units": ("r-exam",),
    "trail.arn": "arn:aws:cloudtrail:us-east-1:111111111111:trail/organization",
    "trail.bucket": "example-organization-trail",
    "notifications.people_emails": ("security@example.com",),
    "notifications.default_owner": "security@example.com",
}

# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html, and botocore's partitions.
PARTITION_BY_REGION_PREFIX = {
    "cn-": "aws-cn",
    "eu-isoe-": "aws-iso-e",
    "eusc-": "aws-eusc",
    "us-gov-": "aws-us-gov",
    "us-iso-": "aws-iso",
    "us-isob-": "aws-iso-b",
    "us-isof-": "aws-iso-f",
}
# Where services are called under amazonaws.com or amazonaws.com.cn, as Pare's policies say.
# https://docs.aws.amazon.com/general/latest/gr/rande.html
PARTITIONS = ("aws", "aws-us-gov", "aws-cn")
# Where trusted access for StackSets cannot be enabled.
# https://docs.amazonaws.cn/en_us/AWSCloudFormation/latest/UserGuide/stacksets-prereqs.html
WITHOUT_STACK_SETS = ("aws-cn",)


# An execution may have 25,000 events, and one poll makes nine of them.
# https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
MAX_POLLS = 2_500
# One minute and one hour of every day.
DAILY = re.compile(r"cron\(\d+ \d+ (?:\* \* \?|\? \* \*) \*\)")
# One minute, one hour, and one day of the month or one weekday of one week, in every month.
MONTHLY = re.compile(r"cron\(\d+ \d+ (?:(?:\d+|L|\d+W|LW) \* \?|\? \* (?:\w+#\d|\w+L)) \*\)")


@dataclass(frozen=True, slots=True)
class Names:
    """The few physical names Pare fixes, because another account or Region must spell them."""

    member_role_name: str = "PareMember"
    # The bucket and key policies that AWS documents match on this path and this start of the name.
    # https://docs.aws.amazon.com/IAM/latest/UserGuide/access-analyzer-policy-generation.html
    access_role_name: str = "AccessAnalyzerMonitorServiceRole_Pare"
    access_role_path: str = "/service-role/"
    bus_name: str = "pare"
    region_dead_letters_name: str = "PareRegionDeadLetters"
    # PutEvents refuses sources that start with "aws.", so rules match this one too.
    test_event_source: str = "pare.test"
    # The doctor looks for it, and people name it to the AWS CLI.
    stack_set_name: str = "PareMembers"


@dataclass(frozen=True, slots=True)
class Trail:
    """The organization trail, or the trails of all accounts that write into one bucket."""

    arn: str
    bucket: str
    bucket_region: str
    prefix: str | None
    kms_key_arns: tuple[str, ...]
    made_by_control_tower: bool

    @property
    def region(self) -> str:
        """The trail's home Region."""
        return self.arn.split(":")[3]

    @property
    def is_organization_trail(self) -> bool:
        """Whether it is one trail for all accounts; otherwise each has one of this name."""
        return ANY_ACCOUNT not in self.arn

    def log_roots(self, organization_id: str) -> tuple[str, ...]:
        """Return the prefixes right above the accounts' folders, or above the organization's.

        Control Tower writes under the organization's id (facts §7); whether it always did is not
        documented, so that a trail without a prefix is looked for in both places.
        """
        if self.prefix is not None:
            return (f"{self.prefix}/AWSLogs/",)
        if self.made_by_control_tower:
            return (f"{organization_id}/AWSLogs/", "AWSLogs/")
        return ("AWSLogs/",)


@dataclass(frozen=True, slots=True)
class Analyzers:
    """Analyzers of IAM Access Analyzer."""

    unused_access_arn: str | None
    paid_unused_access: bool
    create_external_access: bool

    @property
    def has_unused_access(self) -> bool:
        """Whether an analyzer looks for unused access, whoever created it."""
        return self.paid_unused_access or self.unused_access_arn is not None


@dataclass(frozen=True, slots=True)
class Proposals:
    """What a proposal must rest on to be ready, and how it is written."""

    min_window_days: int
    max_days_without_records: int
    max_unreadable_records: int
    max_unreadable_files: int
    complete_data_events: tuple[str, ...]
    fold_after: int
    packing: Literal["auto", "always", "never"]
    cool_down_days: int


@dataclass(frozen=True, slots=True)
class PolicyGeneration:
    """How long to wait for a policy generation."""

    poll_seconds: int
    max_wait_minutes: int


@dataclass(frozen=True, slots=True)
class RemindAfterDays:
    """After how many days people are reminded of what is still open, by severity."""

    critical: int
    high: int
    medium: int


@dataclass(frozen=True, slots=True)
class Route:
    """Who else is told of findings of some owners."""

    owners: tuple[str, ...]
    emails: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Notifications:
    """Who is told, in which language, how soon and how often."""

    people_emails: tuple[str, ...]
    language: Literal["en", "ja"]
    default_owner: str
    max_messages_per_hour: int
    settle_seconds: int
    digest: Literal["daily", "weekly"]
    digest_hour: int
    remind_after_days: RemindAfterDays
    routes: tuple[Route, ...]

    @property
    def routed_owners(self) -> tuple[str, ...]:
        """The owners whose findings somebody else is told of, sorted."""
        return tuple(sorted({owner for route in self.routes for owner in route.owners}))


@dataclass(frozen=True, slots=True)
class PartnerAccount:
    """An account outside the organization that is known."""

    account_id: str
    name: str


@dataclass(frozen=True, slots=True)
class Schedule:
    """When inventory, reading of logs and reconciling run; the latter two in UTC."""

    inventory: str
    activity: str
    reconcile: str
    time_zone: str


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of a person's own: which users and roles it is for, their class, and why."""

    principal: str | None
    kind: tuple[str, ...]
    status: tuple[str, ...]
    flags: tuple[str, ...]
    class_: str
    reason: str

    def to_json(self) -> dict[str, Any]:
        """Return the rule as the step Classify principals takes it: only what it asks for."""
        when = {
            "principal": self.principal,
            "kind": list(self.kind),
            "status": list(self.status),
            "flags": list(self.flags),
        }
        return {
            "when": {name: value for name, value in when.items() if value},
            "class": self.class_,
            "reason": self.reason,
        }


@dataclass(frozen=True, slots=True)
class Inventory:
    """How the monthly inventory judges users and roles."""

    idle_days: int
    new_days: int
    key_max_age_days: int
    narrow_unused_services: int
    disable_after_days: int
    delete_after_days: int
    seasonal_weeks: int
    calls_per_second: int
    rules: tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class Exemption:
    """A principal that is left as it is until a day."""

    principal: str
    owner: str
    reason: str
    expires: date

    def to_json(self) -> dict[str, str]:
        """Return the exemption as the steps take it."""
        return {**asdict(self), "expires": self.expires.isoformat()}


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything a person sets, as in ``config/pare.yaml``; the schema says what each key means."""

    organization_id: str
    management_account_id: str
    hub_account_id: str
    log_archive_account_id: str
    member_stacks: MemberStacks
    organizational_units: tuple[str, ...]
    home_region: str
    governed_regions: tuple[str, ...]
    trail: Trail
    analyzers: Analyzers
    owner_tag_keys: tuple[str, ...]
    break_glass_tag: str
    window_days: int
    evidence: Literal["auto", "activity", "access-analyzer", "both"]
    proposals: Proposals
    policy_generation: PolicyGeneration
    notifications: Notifications
    schedule: Schedule
    inventory: Inventory
    exemptions: tuple[Exemption, ...]
    log_retention_days: int
    account_exclusions: tuple[str, ...]
    partner_accounts: tuple[PartnerAccount, ...]
    member_external_id: str
    # Of the file archive-rules.yaml beside the settings file.
    archive_rules: tuple[ArchiveRule, ...] = ()
    names: Names = field(default_factory=Names)

    @property
    def other_regions(self) -> tuple[str, ...]:
        """The governed Regions but the home Region."""
        return tuple(each for each in self.governed_regions if each != self.home_region)

    @property
    def partition(self) -> str:
        """The partition of the home Region, and so of all that Pare is in."""
        return partition_of(self.home_region)

    def setup(self) -> Setup:
        """Return what is deployed with these settings, as the doctor reads it."""
        # Here, because it takes CDK, and most who read settings do without.
        from infra.setup import setup_of

        return setup_of(self)

    def terms(self) -> dict[str, Any]:
        """Return what proposals are made by, as ``Build policy`` takes it."""
        thresholds = asdict(self.proposals)
        fold_after, packing = thresholds.pop("fold_after"), thresholds.pop("packing")
        del thresholds["cool_down_days"]  # of findings: finding_terms
        return {
            "break_glass_tag": self.break_glass_tag,
            "exemptions": [each.to_json() for each in self.exemptions],
            "thresholds": {
                **thresholds,
                "complete_data_events": list(self.proposals.complete_data_events),
            },
            "fold_after": fold_after,
            "packing": packing,
        }

    def inventory_terms(self) -> dict[str, Any]:
        """Return what principals are judged by, as ``Classify principals`` takes it."""
        inventory = self.inventory
        return {
            "idle_days": inventory.idle_days,
            "new_days": inventory.new_days,
            "key_max_age_days": inventory.key_max_age_days,
            "narrow_unused_services": inventory.narrow_unused_services,
            "disable_after_days": inventory.disable_after_days,
            "delete_after_days": inventory.delete_after_days,
            "seasonal_weeks": inventory.seasonal_weeks,
            "window_days": self.window_days,
            "break_glass_tag": self.break_glass_tag,
            "owner_tag_keys": list(self.owner_tag_keys),
            "default_owner": self.notifications.default_owner,
            "exemptions": [each.to_json() for each in self.exemptions],
            "rules": [each.to_json() for each in inventory.rules],
        }

    def finding_terms(self) -> dict[str, Any]:
        """Return what findings are judged, told, archived and watched by, as their steps take it.

        Each step takes all of it, so that there is one shape.
        """
        told, unused = self.notifications, self.analyzers.has_unused_access
        return {
            "organization_id": self.organization_id,
            "hub_account_id": self.hub_account_id,
            "home_region": self.home_region,
            "governed_regions": list(self.governed_regions),
            "owner_tag_keys": list(self.owner_tag_keys),
            "default_owner": told.default_owner,
            "partner_accounts": {each.account_id: each.name for each in self.partner_accounts},
            "settle_seconds": told.settle_seconds,
            "max_messages_per_hour": told.max_messages_per_hour,
            "remind_after_days": asdict(told.remind_after_days),
            "digest": told.digest,
            "digest_hour": told.digest_hour,
            "time_zone": self.schedule.time_zone,
            "language": told.language,
            "routed_owners": list(told.routed_owners),
            "cool_down_days": self.proposals.cool_down_days,
            "expects_unused_analyzer": unused,
            "has_unused_analyzer": unused,
            "creates_external_analyzer": self.analyzers.create_external_access,
            "creates_unused_analyzer": self.analyzers.paid_unused_access,
            "announce_days": ANNOUNCE_DAYS,
            "archive_rules": [each.to_json() for each in self.archive_rules],
        }

    def not_read_yet(self) -> list[str]:
        """Return what is set and not, or not wholly, acted on by this version: a sentence each."""
        is_set = {
            "notifications.language is ja: messages about findings, the inventory's message, chat "
            "card and report are in Japanese. Messages about proposals and failures, the proposals "
            "themselves and the command line are in English.": self.notifications.language == "ja",
        }
        return [sentence for sentence, value in is_set.items() if value]

    def placeholders(self) -> list[str]:
        """Return which settings are still those of the organization that does not exist."""
        left = []
        for name, example in PLACEHOLDERS.items():
            value: Any = self
            for part in name.split("."):
                value = getattr(value, part)
            if value == example:
                left.append(name)
        if not left:
            return []
        return [
            f"{', '.join(left)}: still as config/pare.yaml came with Pare, of an organization that "
            "does not exist. Replace them before you deploy."
        ]

    def prices(self) -> list[str]:
        """Return what is switched on and costs by the account or principal: a sentence each."""
        if not self.analyzers.paid_unused_access:
            return []
        usd = usd_per_principal_month()
        return [
            f"analyzers.paid_unused_access is true: AWS asks {usd:.2f} USD a month for each role "
            f"and user of every account but those of account_exclusions, {1000 * usd:,.0f} USD a "
            "month for each 1,000. How many there are is not known here: `pare findings agreement` "
            "counts those of the last inventory, and says what the analyzer finds that the "
            "inventory does not."
        ]


def load_settings(path: str | Path) -> Settings:
    """Return the settings in a file.

    Raises SettingsError with one line for every fault, in the order of the file:
    ``config/pare.yaml:14: hub_account_id: '12345' is not a 12-digit account id. Fix: …``
    The file archive-rules.yaml beside it, if there is one, is read and checked likewise.
    """
    path = Path(path)
    value = read_checked(path, SCHEMA_PATH, _CHECKS, example="config/pare.yaml")
    rules = path.with_name(ARCHIVE_RULES)
    settings = _settings(value, load_archive_rules(rules) if rules.exists() else ())
    size = len(json.dumps(settings.finding_terms()["archive_rules"]))
    if size > MAX_RULES_CHARACTERS:
        raise SettingsError(
            f"{rules.as_posix()}: the rules have {size:,} characters as JSON, more than "
            f"{MAX_RULES_CHARACTERS:,}. Fix: say more with less, such as contains in place of many "
            "values."
        )
    for rule in settings.archive_rules:
        if strangers := sorted(set(rule.regions) - set(settings.governed_regions)):
            raise SettingsError(
                f"{rules.as_posix()}: rule {rule.name}: {', '.join(strangers)}: not one of "
                f"governed_regions ({', '.join(settings.governed_regions)}). Fix: add it there, or "
                "take it out here."
            )
    return settings


# --- Checking: what takes two keys to say, or the time zones --------------------------------------


def _schema_at(path: KeyPath) -> Schema:
    """Return the schema of a known setting."""
    return schema_at(read_schema(SCHEMA_PATH), path)


def _check_accounts(get: Get) -> Iterator[Problem]:
    hub, management = get("hub_account_id"), get("management_account_id")
    if hub and hub == management:
        # https://docs.aws.amazon.com/organizations/latest/userguide/orgs_integrate_delegated_admin.html
        yield Problem(
            ("hub_account_id",),
            f"'{hub}' is the management account, which cannot be a delegated administrator",
            "choose a member account for the hub, such as the security account.",
        )
    own = {
        get(key) for key in ("management_account_id", "hub_account_id", "log_archive_account_id")
    }
    yield from _check_member_stacks(get)
    yield from _check_organizational_units(get)
    seen: set[str] = set()
    for index, partner in enumerate(get("partner_accounts") or ()):
        account_id = partner.get("account_id") if isinstance(partner, dict) else None
        path: KeyPath = ("partner_accounts", index, "account_id")
        if account_id and account_id in own:
            yield Problem(
                path,
                f"'{account_id}' is an account of the organization itself",
                "remove it: partners are outside the organization.",
            )
        if account_id and account_id in seen:
            yield Problem(path, f"'{account_id}' is there twice", "keep one of the two.")
        seen.add(account_id or "")


def _check_member_stacks(get: Get) -> Iterator[Problem]:
    home, units = get("home_region"), get("organizational_units")
    if not home:
        return
    partition, said = partition_of(home), get("member_stacks")
    if said == "stack-set" and partition in WITHOUT_STACK_SETS:
        yield Problem(
            ("member_stacks",),
            f"'{said}' is not possible in {partition}, where StackSets get no trusted access to an "
            "organization",
            "write by-hand, and deploy ByHand/PareMember with each account's credentials.",
        )
    elif _member_stacks(said, home) == "stack-set" and units == []:
        path: KeyPath = ("organizational_units",)
        yield Problem(
            path,
            "names none, and the stack set must know which accounts get the member roles",
            f"{_schema_at(path)['x-fix'].removesuffix('.')}; or write member_stacks: by-hand.",
        )


def _member_stacks(said: MemberStacks | None, home_region: str) -> MemberStacks:
    """Return what member_stacks means in a partition."""
    if said:
        return said
    return "by-hand" if partition_of(home_region) in WITHOUT_STACK_SETS else "stack-set"


def _check_organizational_units(get: Get) -> Iterator[Problem]:
    units: list[str] = get("organizational_units") or []
    for index, unit in enumerate(units):
        path: KeyPath = ("organizational_units", index)
        # r-ROOT and ou-ROOT-UNIT
        if unit.split("-")[1] != units[0].split("-")[1]:
            yield Problem(
                path,
                f"'{unit}' is of another organization than '{units[0]}'",
                "the part after the first - is the same in all ids of an organization.",
            )
        elif unit.startswith("r-") and len(units) > 1:
            yield Problem(
                path,
                f"'{unit}' is the whole organization, and the others are in it",
                "keep the root alone, or remove it.",
            )


def _check_regions(get: Get) -> Iterator[Problem]:
    home, governed = get("home_region"), get("governed_regions")
    if home and governed and home not in governed:
        yield Problem(
            ("home_region",),
            f"'{home}' is not one of governed_regions ({', '.join(governed)})",
            "add it to governed_regions, or choose one of them.",
        )
    if not home:
        return
    partition = partition_of(home)
    if partition not in PARTITIONS:
        yield Problem(
            ("home_region",),
            f"'{home}' is in the partition {partition}, whose services have names that Pare's "
            "policies do not know",
            f"choose a Region of {', '.join(PARTITIONS[:-1])} or {PARTITIONS[-1]}.",
        )
    regions: list[tuple[KeyPath, str | None]] = [
        *((("governed_regions", index), region) for index, region in enumerate(governed or ())),
        (("trail", "bucket_region"), get("trail", "bucket_region")),
    ]
    for path, region in regions:
        if region and partition_of(region) != partition:
            yield Problem(
                path,
                f"'{region}' is in the partition {partition_of(region)}, home_region in "
                f"{partition}",
                "deploy Pare once in each partition, each with a settings file of its own.",
            )
    arns: list[KeyPath] = [
        ("trail", "arn"),
        *(("trail", "kms_key_arns", index) for index in range(len(_keys(get)))),
        ("analyzers", "unused_access_arn"),
    ]
    for path in arns:
        arn = get(*path)
        if arn and arn.split(":")[1] != partition:
            yield Problem(
                path,
                f"'{arn}' is in the partition {arn.split(':')[1]}, home_region in {partition}",
                f"write the ARN as AWS shows it; there it starts with arn:{partition}:.",
            )


def _keys(get: Get) -> list[str]:
    keys: list[str] | None = get("trail", "kms_key_arns")
    return keys or []


def _check_trail(get: Get) -> Iterator[Problem]:
    arn = get("trail", "arn")
    bucket_region = get("trail", "bucket_region") or (arn and arn.split(":")[3])
    for index, key in enumerate(_keys(get)):
        # https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingKMSEncryption.html
        if bucket_region and key.split(":")[3] != bucket_region:
            yield Problem(
                ("trail", "kms_key_arns", index),
                f"the key is in {key.split(':')[3]}, the bucket in {bucket_region}, and S3 uses "
                "keys of a bucket's own Region only",
                "write the Region the bucket is in as trail.bucket_region, or remove the key.",
            )


def partition_of(region: str) -> str:
    """Return the partition of a Region, by how its name begins."""
    for prefix, partition in PARTITION_BY_REGION_PREFIX.items():
        if region.startswith(prefix):
            return partition
    return "aws"


def _check_analyzers(get: Get) -> Iterator[Problem]:
    arn = get("analyzers", "unused_access_arn")
    if not arn:
        return
    if get("analyzers", "paid_unused_access"):
        yield Problem(
            ("analyzers", "paid_unused_access"),
            "true would create an analyzer beside unused_access_arn, and AWS charges for both",
            "write false, or unused_access_arn: null.",
        )
    account_id = arn.split(":")[4]
    hub = get("hub_account_id")
    if hub and account_id != hub:
        # Findings arrive as events in the analyzer's own account only.
        # https://docs.aws.amazon.com/IAM/latest/UserGuide/access-analyzer-eventbridge.html
        yield Problem(
            ("analyzers", "unused_access_arn"),
            f"the analyzer is in account {account_id}, not in the hub account {hub}",
            "name an analyzer of the hub account, or write null.",
        )
    region, governed = arn.split(":")[3], get("governed_regions")
    if governed and region not in governed:
        yield Problem(
            ("analyzers", "unused_access_arn"),
            f"the analyzer is in {region}, which is not one of governed_regions",
            f"add {region} to governed_regions.",
        )


def _check_notifications(get: Get) -> Iterator[Problem]:
    days = get("notifications", "remind_after_days")
    for graver, less in (("critical", "high"), ("high", "medium")):
        if days and days[graver] > days[less]:
            yield Problem(
                ("notifications", "remind_after_days", graver),
                f"{days[graver]} days are more than those of {less} ({days[less]})",
                "remind of what is graver at least as soon.",
            )
    # A topic has one subscription an address, and so one filter.
    # https://docs.aws.amazon.com/sns/latest/api/API_Subscribe.html
    where = dict.fromkeys(get("notifications", "people_emails") or (), "people_emails")
    for index, route in enumerate(get("notifications", "routes") or ()):
        for place, email in enumerate(route.get("emails", ()) if isinstance(route, dict) else ()):
            if email in where:
                yield Problem(
                    ("notifications", "routes", index, "emails", place),
                    f"'{email}' is in {where[email]} as well, and SNS subscribes an address once",
                    "remove it here: people_emails are told of every owner's findings."
                    if where[email] == "people_emails"
                    else "put all owners of an address into one route.",
                )
            where.setdefault(email, f"routes[{index}]")


def _check_times(get: Get) -> Iterator[Problem]:
    poll, wait = (
        get("policy_generation", "poll_seconds"),
        get("policy_generation", "max_wait_minutes"),
    )
    if poll and wait and poll > wait * 60:
        yield Problem(
            ("policy_generation", "poll_seconds"),
            f"{poll} seconds are longer than max_wait_minutes ({wait} minutes)",
            "poll more often, or wait longer.",
        )
    if poll and wait and wait * 60 / poll > MAX_POLLS:
        yield Problem(
            ("policy_generation", "max_wait_minutes"),
            f"{wait} minutes at {poll} seconds are more than {MAX_POLLS} polls, and a workflow may "
            "have 25,000 events",
            "poll less often, or wait shorter.",
        )
    yield from _check_cron(get, "inventory", MONTHLY, "an inventory is made once a month")
    yield from _check_cron(get, "activity", DAILY, "the logs are read once a day")
    yield from _check_cron(get, "reconcile", DAILY, "findings are reconciled once a day")
    time_zone = get("schedule", "time_zone")
    known = zoneinfo.available_timezones()  # empty on a machine without time zone data
    if time_zone and known and time_zone not in known:
        near = difflib.get_close_matches(time_zone, known, n=1)
        yield Problem(
            ("schedule", "time_zone"),
            f"'{time_zone}' is not an IANA time zone",
            f"did you mean {near[0]}?" if near else "write a name such as UTC or Asia/Tokyo.",
        )


def _check_rules(get: Get) -> Iterator[Problem]:
    for index, rule in enumerate(get("inventory", "rules") or ()):
        when = get("inventory", "rules", index, "when")
        if isinstance(rule, dict) and when is not None and not any(when.values()):
            path: KeyPath = ("inventory", "rules", index, "when")
            yield Problem(
                path,
                "says nothing, and would fit everybody",
                _schema_at(path)["x-fix"],
            )


def _check_cron(get: Get, key: str, allowed: re.Pattern[str], what: str) -> Iterator[Problem]:
    """Yield the fault of a schedule; ``what`` ends with how often it is: once a day, a month."""
    cron = get("schedule", key)
    if not cron:
        return
    schema = _schema_at(("schedule", key))
    parts = cron.removeprefix("cron(").removesuffix(")").split()
    if [parts[2], parts[4]].count("?") != 1:
        # https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html
        yield Problem(
            ("schedule", key),
            f"'{cron}' does not have ? as exactly one of day of month and day of week",
            schema["x-fix"],
        )
    elif not allowed.fullmatch(cron):
        how_often = what[what.index("once") :]
        days = (
            "one minute, one hour and one day"
            if allowed is MONTHLY
            else ("one minute and one hour of every day")
        )
        yield Problem(
            ("schedule", key),
            f"'{cron}' is not {how_often}, and {what}",
            f"write {days}, such as {schema['default']}.",
        )


_CHECKS = (
    _check_accounts,
    _check_regions,
    _check_trail,
    _check_analyzers,
    _check_notifications,
    _check_times,
    _check_rules,
)


# --- The result -----------------------------------------------------------------------------------


def _settings(value: dict[str, Any], archive_rules: tuple[ArchiveRule, ...]) -> Settings:
    """Return the settings of a checked value."""
    return Settings(
        organization_id=value["organization_id"],
        management_account_id=value["management_account_id"],
        hub_account_id=value["hub_account_id"],
        log_archive_account_id=value["log_archive_account_id"],
        member_stacks=_member_stacks(value["member_stacks"], value["home_region"]),
        organizational_units=tuple(value["organizational_units"]),
        home_region=value["home_region"],
        governed_regions=tuple(value["governed_regions"]),
        trail=_trail(value["trail"]),
        analyzers=Analyzers(**value["analyzers"]),
        owner_tag_keys=tuple(value["owner_tag_keys"]),
        break_glass_tag=value["break_glass_tag"],
        window_days=value["window_days"],
        evidence=value["evidence"],
        proposals=Proposals(
            **{
                **value["proposals"],
                "complete_data_events": tuple(value["proposals"]["complete_data_events"]),
            }
        ),
        policy_generation=PolicyGeneration(**value["policy_generation"]),
        notifications=_notifications(value["notifications"]),
        schedule=Schedule(**value["schedule"]),
        inventory=_inventory(value["inventory"]),
        exemptions=tuple(
            Exemption(
                principal=each["principal"],
                owner=each["owner"],
                reason=each["reason"],
                expires=date.fromisoformat(each["expires"]),
            )
            for each in value["exemptions"]
        ),
        log_retention_days=value["log_retention_days"],
        account_exclusions=tuple(value["account_exclusions"]),
        partner_accounts=tuple(PartnerAccount(**each) for each in value["partner_accounts"]),
        archive_rules=archive_rules,
        member_external_id=value["member_external_id"] or f"pare-{value['organization_id']}",
    )


def _trail(value: dict[str, Any]) -> Trail:
    return Trail(
        **{
            **value,
            "bucket_region": value["bucket_region"] or value["arn"].split(":")[3],
            "kms_key_arns": tuple(value["kms_key_arns"]),
        }
    )


def _notifications(value: dict[str, Any]) -> Notifications:
    routes = tuple(
        Route(owners=tuple(each["owners"]), emails=tuple(each["emails"]))
        for each in value["routes"]
    )
    return Notifications(
        **{
            **value,
            "people_emails": tuple(value["people_emails"]),
            "remind_after_days": RemindAfterDays(**value["remind_after_days"]),
            "routes": routes,
        }
    )


def _inventory(value: dict[str, Any]) -> Inventory:
    rules = tuple(
        Rule(
            principal=each["when"]["principal"],
            kind=tuple(each["when"]["kind"]),
            status=tuple(each["when"]["status"]),
            flags=tuple(each["when"]["flags"]),
            class_=each["class"],
            reason=each["reason"],
        )
        for each in value["rules"]
    )
    return Inventory(**{**value, "rules": rules})
