"""The settings file, ``config/pare.yaml``, read into frozen dataclasses and checked.

``infra/settings.schema.json`` says what each key means, which values it takes and how to mend a
wrong one. This module adds what one key's schema cannot say, and the line of every fault.
"""

from __future__ import annotations

import difflib
import json
import re
import zoneinfo
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import date
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

import yaml
from jsonschema import Draft202012Validator

from pare.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jsonschema import ValidationError

    Get: TypeAlias = Callable[..., Any]

KeyPath: TypeAlias = tuple[str | int, ...]
Schema: TypeAlias = Mapping[str, Any]

SCHEMA_PATH = Path(__file__).parent / "settings.schema.json"

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


# YAML 1.2's core schema. https://yaml.org/spec/1.2.2/#103-core-schema
PLAIN_VALUES: Mapping[str, bool | None] = {
    "": None,
    "~": None,
    "null": None,
    "true": True,
    "false": False,
}


# An execution may have 25,000 events, and one poll makes nine of them.
# https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
MAX_POLLS = 2_500
# One minute and one hour of every day.
DAILY = re.compile(r"cron\(\d+ \d+ (?:\* \* \?|\? \* \*) \*\)")
# One minute, one hour, and one day of the month or one weekday of one week, in every month.
MONTHLY = re.compile(r"cron\(\d+ \d+ (?:(?:\d+|L|\d+W|LW) \* \?|\? \* (?:\w+#\d|\w+L)) \*\)")


@dataclass(frozen=True, slots=True)
class Names:
    """The few physical names Pare fixes, because another account must spell them."""

    member_role_name: str = "PareMember"
    # The bucket and key policies that AWS documents match on this path and this start of the name.
    # https://docs.aws.amazon.com/IAM/latest/UserGuide/access-analyzer-policy-generation.html
    access_role_name: str = "AccessAnalyzerMonitorServiceRole_Pare"
    access_role_path: str = "/service-role/"
    bus_name: str = "pare"
    # PutEvents refuses sources that start with "aws.", so rules match this one too.
    test_event_source: str = "pare.test"


@dataclass(frozen=True, slots=True)
class Trail:
    """The organization trail."""

    arn: str
    bucket: str
    prefix: str | None
    kms_key_arn: str | None
    made_by_control_tower: bool

    @property
    def region(self) -> str:
        """The trail's home Region."""
        return self.arn.split(":")[3]

    @property
    def account_id(self) -> str:
        """The account that owns the trail."""
        return self.arn.split(":")[4]

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


@dataclass(frozen=True, slots=True)
class PolicyGeneration:
    """How long to wait for a policy generation."""

    poll_seconds: int
    max_wait_minutes: int


@dataclass(frozen=True, slots=True)
class Notifications:
    """Who is told, and in which language."""

    people_emails: tuple[str, ...]
    language: Literal["en", "ja"]
    default_owner: str


@dataclass(frozen=True, slots=True)
class Schedule:
    """When inventory and reading of logs run; ``activity`` is in UTC, as the logs' days are."""

    inventory: str
    activity: str
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
    member_external_id: str
    names: Names = field(default_factory=Names)

    def terms(self) -> dict[str, Any]:
        """Return what proposals are made by, as ``Build policy`` takes it."""
        thresholds = asdict(self.proposals)
        fold_after, packing = thresholds.pop("fold_after"), thresholds.pop("packing")
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

    def not_read_yet(self) -> list[str]:
        """Return what is set and not, or not wholly, acted on by this version: a sentence each."""
        nothing = "is set, and this version of Pare does not act on it."
        is_set = {
            f"analyzers.paid_unused_access {nothing}": self.analyzers.paid_unused_access,
            f"analyzers.unused_access_arn {nothing}": self.analyzers.unused_access_arn is not None,
            "notifications.language is ja: the inventory's message, chat card and report are in "
            "Japanese. Messages about findings, proposals and failures, the proposals themselves "
            "and the command line are in English.": self.notifications.language == "ja",
        }
        return [sentence for sentence, value in is_set.items() if value]


def load_settings(path: str | Path) -> Settings:
    """Return the settings in a file.

    Raises SettingsError with one line for every fault, in the order of the file:
    ``config/pare.yaml:14: hub_account_id: '12345' is not a 12-digit account id. Fix: …``
    """
    path = Path(path)
    source = _Source.read(path)
    problems = list(source.problems)
    value = _with_defaults(_schema(), source.value)
    problems.extend(_schema_problems(value))
    problems.extend(_cross_field_problems(value, {problem.path for problem in problems}))
    if problems:
        lines = sorted({(source.line(problem), problem.text()) for problem in problems})
        raise SettingsError("\n".join(f"{_shown(path)}:{line}: {text}" for line, text in lines))
    return _settings(value)


# --- Problems -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Problem:
    """One fault: at which key, what is wrong with it, and what to write instead."""

    path: KeyPath
    wrong: str  # continues "key: "
    fix: str
    line: int | None = None  # where it is not the line of the key

    def text(self) -> str:
        key = ".".join(str(part) for part in self.path)
        key = re.sub(r"\.(\d+)", r"[\1]", key)
        return f"{key}: {self.wrong}. Fix: {self.fix}" if key else f"{self.wrong}. Fix: {self.fix}"


def _shown(path: Path) -> str:
    """Return the path as a person would write it from where they stand."""
    if path.is_absolute() and path.is_relative_to(Path.cwd()):
        path = path.relative_to(Path.cwd())
    return path.as_posix()


def _written(value: Any) -> str:
    """Return a value as a message shows it."""
    if isinstance(value, str):
        return f"'{value}'"
    if isinstance(value, dict):
        return "a mapping" if value else "an empty mapping"
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    return json.dumps(value)


# --- Reading: YAML nodes, their values and their lines --------------------------------------------


class _Source:
    """A file's value, the line of every key in it, and what is wrong with it as YAML."""

    def __init__(self) -> None:
        self.value: dict[str, Any] = {}
        self.problems: list[_Problem] = []
        self._lines: dict[KeyPath, int] = {(): 1}

    @classmethod
    def read(cls, path: Path) -> _Source:
        """Return what the file holds; SettingsError if it is not YAML, or no mapping."""
        try:
            text = path.read_text(encoding="utf-8-sig")
            node = yaml.compose(text, Loader=yaml.BaseLoader)
        except FileNotFoundError as error:
            raise SettingsError(
                f"{_shown(path)}: there is no such file. Fix: start from config/pare.yaml as it "
                "came with Pare."
            ) from error
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(
                f"{_shown(path)}: cannot be read as UTF-8 text: {error}. Fix: save it as UTF-8."
            ) from error
        except yaml.reader.ReaderError as error:
            line = text.count("\n", 0, error.position) + 1
            raise SettingsError(
                f"{_shown(path)}:{line}: the character U+{error.character:04X} is not allowed in "
                "YAML. Fix: delete it."
            ) from error
        except yaml.MarkedYAMLError as error:
            raise SettingsError(_syntax_message(_shown(path), error)) from error
        if not isinstance(node, yaml.MappingNode):
            line = 1 if node is None else node.start_mark.line + 1
            wrong = "empty" if node is None else "not a mapping"
            raise SettingsError(
                f"{_shown(path)}:{line}: the file is {wrong}. Fix: start from config/pare.yaml as "
                "it came with Pare."
            )
        source = cls()
        source.value = source._value(node, (), ())
        return source

    def line(self, problem: _Problem) -> int:
        """Return the line of a problem: its own, its key's, or its nearest parent's."""
        if problem.line is not None:
            return problem.line
        path = problem.path
        while path not in self._lines:
            path = path[:-1]
        return self._lines[path]

    def _value(self, node: yaml.Node, path: KeyPath, parents: tuple[yaml.Node, ...]) -> Any:
        if node in parents:
            self._add(path, node, "contains itself through an alias", "write it out, without &, *.")
            return None
        parents = (*parents, node)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path, parents)
        if isinstance(node, yaml.ScalarNode):
            return _scalar(node)
        items = []
        for index, item in enumerate(node.value):
            self._lines[(*path, index)] = item.start_mark.line + 1
            items.append(self._value(item, (*path, index), parents))
        return items

    def _mapping(
        self, node: yaml.MappingNode, path: KeyPath, parents: tuple[yaml.Node, ...]
    ) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self._add(path, key_node, "has a key that is not text", "write a plain key.")
                continue
            key = str(key_node.value)
            key_path = (*path, key)
            if key in result:
                self._add(
                    key_path,
                    key_node,
                    f"is set twice, first on line {self._lines[key_path]}",
                    "keep one of the two.",
                )
                continue
            self._lines[key_path] = key_node.start_mark.line + 1
            result[key] = self._value(value_node, key_path, parents)
        return result

    def _add(self, path: KeyPath, node: yaml.Node, wrong: str, fix: str) -> None:
        self.problems.append(_Problem(path, wrong, fix, node.start_mark.line + 1))


def _scalar(node: yaml.ScalarNode) -> str | int | bool | None:
    """Return a plain true, false, null or short whole number as such, and all else as text.

    So an account id needs no quotes, 012345678901 keeps its zero, a date stays as it is written,
    and ``no`` is not false.
    """
    text = str(node.value)
    if node.style is not None:  # in quotes, or a block of text
        return text
    if text in PLAIN_VALUES:
        return PLAIN_VALUES[text]
    return int(text) if re.fullmatch(r"-?(0|[1-9][0-9]{0,8})", text) else text


def _syntax_message(shown: str, error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    line = 1 if mark is None else mark.line + 1
    problem = error.problem or "not YAML"
    if "'\\t'" in problem:
        return (
            f"{shown}:{line}: a tab indents this line. Fix: use spaces; YAML allows no tabs there."
        )
    context = f" ({error.context})" if error.context else ""
    return (
        f"{shown}:{line}: this is not YAML: {problem}{context}. Fix: check the indentation, quotes "
        "and colons of this line and the one before it."
    )


# --- Checking: the schema, then what takes two keys to say ----------------------------------------


@cache
def _schema() -> Schema:
    schema: Schema = json.loads(SCHEMA_PATH.read_text(encoding="utf-8"))
    return schema


def _resolved(schema: Schema) -> Schema:
    """Return a part of the schema with what it refers to; what it says itself comes first."""
    if "$ref" not in schema:
        return schema
    name = schema["$ref"].removeprefix("#/$defs/")
    return {**_schema()["$defs"][name], **schema}


def _schema_at(path: KeyPath) -> Schema:
    """Return the schema of a known key, or of an item of a list."""
    schema = _schema()
    for part in path:
        schema = _resolved(
            schema["items"] if isinstance(part, int) else schema["properties"][str(part)]
        )
    return schema


def _with_defaults(schema: Schema, value: Any) -> Any:
    """Return the value with the defaults of its absent keys; an empty key counts as absent."""
    schema = _resolved(schema)
    if value is None and "default" in schema:
        value = schema["default"]
    if isinstance(value, dict) and "properties" in schema:
        value = dict(value)
        for key, part in schema["properties"].items():
            if key in value or "default" in _resolved(part):
                value[key] = _with_defaults(part, value.get(key))
    elif isinstance(value, list) and "items" in schema:
        value = [_with_defaults(schema["items"], item) for item in value]
    return value


def _schema_problems(value: Any) -> Iterator[_Problem]:
    validator = Draft202012Validator(_schema(), format_checker=Draft202012Validator.FORMAT_CHECKER)
    for error in validator.iter_errors(value):
        path = tuple(error.absolute_path)
        schema = _schema_at(path)
        match error.validator:
            case "additionalProperties":
                yield from _unknown_keys(path, error, schema)
            case "required":
                yield from _missing_keys(path, error, schema)
            case "uniqueItems":
                items = cast("list[Any]", error.instance)
                twice = next(item for index, item in enumerate(items) if item in items[:index])
                yield _Problem(path, f"has {_written(twice)} twice", "keep one of the two.")
            case _:
                wrong = f"{_written(error.instance)} is not {schema['title']}"
                yield _Problem(path, wrong, schema["x-fix"])


def _unknown_keys(path: KeyPath, error: ValidationError, schema: Schema) -> Iterator[_Problem]:
    known = list(schema["properties"])
    for key in cast("dict[str, Any]", error.instance):
        if key not in known:
            near = _nearest(key, known)
            fix = (
                f"did you mean {near}?"
                if near
                else f"remove it; the keys here are {', '.join(known)}."
            )
            yield _Problem((*path, key), "is not a key Pare knows", fix)


def _missing_keys(path: KeyPath, error: ValidationError, schema: Schema) -> Iterator[_Problem]:
    """Yield each key that is missing, unless an unknown key is likely to be meant for it.

    jsonschema reports every missing key apart, as one error whose message begins with the key.
    """
    known = list(schema["properties"])
    present = cast("dict[str, Any]", error.instance)
    meant = {_nearest(key, known) for key in present if key not in known}
    for key in schema["required"]:
        if error.message.startswith(f"{key!r} ") and key not in meant:
            yield _Problem((*path, key), "is missing", _schema_at((*path, key))["x-fix"])


def _nearest(key: str, known: list[str]) -> str | None:
    return next(iter(difflib.get_close_matches(key.lower(), known, n=1, cutoff=0.7)), None)


def _cross_field_problems(value: dict[str, Any], bad: set[KeyPath]) -> Iterator[_Problem]:
    """Yield what the schema cannot say: what two keys together, or the time zones, show."""

    def get(*path: str | int) -> Any:
        """Return a value whose key, parents and children are sound so far, else None."""
        if any(path[: len(each)] == each or each[: len(path)] == path for each in bad):
            return None
        found: Any = value
        for part in path:
            if isinstance(found, dict):
                found = found.get(part)
            elif isinstance(found, list) and isinstance(part, int):
                found = found[part]
            else:
                return None
        return found

    checks = (_check_accounts, _check_regions, _check_analyzers, _check_times, _check_rules)
    for check in checks:
        yield from check(get)


def _check_accounts(get: Get) -> Iterator[_Problem]:
    hub, management = get("hub_account_id"), get("management_account_id")
    if hub and hub == management:
        # https://docs.aws.amazon.com/organizations/latest/userguide/orgs_integrate_delegated_admin.html
        yield _Problem(
            ("hub_account_id",),
            f"'{hub}' is the management account, which cannot be a delegated administrator",
            "choose a member account for the hub, such as the security account.",
        )


def _check_regions(get: Get) -> Iterator[_Problem]:
    home, governed = get("home_region"), get("governed_regions")
    if home and governed and home not in governed:
        yield _Problem(
            ("home_region",),
            f"'{home}' is not one of governed_regions ({', '.join(governed)})",
            "add it to governed_regions, or choose one of them.",
        )
    if not home:
        return
    partition = _partition(home)
    for index, region in enumerate(governed or ()):
        if _partition(region) != partition:
            yield _Problem(
                ("governed_regions", index),
                f"'{region}' is in the partition {_partition(region)}, home_region in {partition}",
                "deploy Pare once in each partition, each with a settings file of its own.",
            )
    for path in (("trail", "arn"), ("trail", "kms_key_arn"), ("analyzers", "unused_access_arn")):
        arn = get(*path)
        if arn and arn.split(":")[1] != partition:
            yield _Problem(
                path,
                f"'{arn}' is in the partition {arn.split(':')[1]}, home_region in {partition}",
                f"write the ARN as AWS shows it; there it starts with arn:{partition}:.",
            )


def _partition(region: str) -> str:
    for prefix, partition in PARTITION_BY_REGION_PREFIX.items():
        if region.startswith(prefix):
            return partition
    return "aws"


def _check_analyzers(get: Get) -> Iterator[_Problem]:
    arn = get("analyzers", "unused_access_arn")
    if not arn:
        return
    if get("analyzers", "paid_unused_access"):
        yield _Problem(
            ("analyzers", "paid_unused_access"),
            "true would create an analyzer beside unused_access_arn, and AWS charges for both",
            "write false, or unused_access_arn: null.",
        )
    account_id = arn.split(":")[4]
    hub = get("hub_account_id")
    if hub and account_id != hub:
        # Findings arrive as events in the analyzer's own account only.
        # https://docs.aws.amazon.com/IAM/latest/UserGuide/access-analyzer-eventbridge.html
        yield _Problem(
            ("analyzers", "unused_access_arn"),
            f"the analyzer is in account {account_id}, not in the hub account {hub}",
            "name an analyzer of the hub account, or write null.",
        )
    region, governed = arn.split(":")[3], get("governed_regions")
    if governed and region not in governed:
        yield _Problem(
            ("analyzers", "unused_access_arn"),
            f"the analyzer is in {region}, which is not one of governed_regions",
            f"add {region} to governed_regions.",
        )


def _check_times(get: Get) -> Iterator[_Problem]:
    poll, wait = (
        get("policy_generation", "poll_seconds"),
        get("policy_generation", "max_wait_minutes"),
    )
    if poll and wait and poll > wait * 60:
        yield _Problem(
            ("policy_generation", "poll_seconds"),
            f"{poll} seconds are longer than max_wait_minutes ({wait} minutes)",
            "poll more often, or wait longer.",
        )
    if poll and wait and wait * 60 / poll > MAX_POLLS:
        yield _Problem(
            ("policy_generation", "max_wait_minutes"),
            f"{wait} minutes at {poll} seconds are more than {MAX_POLLS} polls, and a workflow may "
            "have 25,000 events",
            "poll less often, or wait shorter.",
        )
    yield from _check_cron(get, "inventory", MONTHLY, "once a month", "cron(0 6 1 * ? *)")
    yield from _check_cron(get, "activity", DAILY, "once a day", "cron(0 4 * * ? *)")
    time_zone = get("schedule", "time_zone")
    known = zoneinfo.available_timezones()  # empty on a machine without time zone data
    if time_zone and known and time_zone not in known:
        near = difflib.get_close_matches(time_zone, known, n=1)
        yield _Problem(
            ("schedule", "time_zone"),
            f"'{time_zone}' is not an IANA time zone",
            f"did you mean {near[0]}?" if near else "write a name such as UTC or Asia/Tokyo.",
        )


def _check_rules(get: Get) -> Iterator[_Problem]:
    for index, rule in enumerate(get("inventory", "rules") or ()):
        when = get("inventory", "rules", index, "when")
        if isinstance(rule, dict) and when is not None and not any(when.values()):
            path: KeyPath = ("inventory", "rules", index, "when")
            yield _Problem(path, "says nothing, and would fit everybody", _schema_at(path)["x-fix"])


def _check_cron(
    get: Get, key: str, allowed: re.Pattern[str], how_often: str, example: str
) -> Iterator[_Problem]:
    cron = get("schedule", key)
    if not cron:
        return
    parts = cron.removeprefix("cron(").removesuffix(")").split()
    if [parts[2], parts[4]].count("?") != 1:
        # https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html
        yield _Problem(
            ("schedule", key),
            f"'{cron}' does not have ? as exactly one of day of month and day of week",
            _schema_at(("schedule", key))["x-fix"],
        )
    elif not allowed.fullmatch(cron):
        what = "an inventory is made" if key == "inventory" else "the logs are read"
        yield _Problem(
            ("schedule", key),
            f"'{cron}' is not {how_often}, and {what} {how_often}",
            f"write one minute, one hour and one day, such as {example}."
            if key == "inventory"
            else f"write one minute and one hour of every day, such as {example}.",
        )


# --- The result -----------------------------------------------------------------------------------


def _settings(value: dict[str, Any]) -> Settings:
    """Return the settings of a checked value."""
    notifications = value["notifications"]
    return Settings(
        organization_id=value["organization_id"],
        management_account_id=value["management_account_id"],
        hub_account_id=value["hub_account_id"],
        log_archive_account_id=value["log_archive_account_id"],
        home_region=value["home_region"],
        governed_regions=tuple(value["governed_regions"]),
        trail=Trail(**value["trail"]),
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
        notifications=Notifications(
            people_emails=tuple(notifications["people_emails"]),
            language=notifications["language"],
            default_owner=notifications["default_owner"],
        ),
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
        member_external_id=value["member_external_id"] or f"pare-{value['organization_id']}",
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
