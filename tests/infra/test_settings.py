"""The settings file: what it may say, and what is said of every fault in it."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, fields, is_dataclass
from datetime import date
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from jsonschema import Draft202012Validator

from infra.settings import PLACEHOLDERS, SCHEMA_PATH, Settings, load_settings
from pare.errors import SettingsError
from pare.findings.terms import FindingTermsJson
from pare.inventory.flags import FLAGS
from pare.inventory.model import Class, InventoryTermsJson, PrincipalKind, Status, WhenJson

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "config" / "pare.yaml"

MINIMAL = """\
organization_id: o-example0000
management_account_id: 111111111111
hub_account_id: 222222222222
log_archive_account_id: 333333333333
organizational_units: [r-exam]
home_region: us-east-1
governed_regions: [us-east-1, us-west-2]
trail:
  arn: arn:aws:cloudtrail:us-east-1:111111111111:trail/organization
  bucket: example-organization-trail
  made_by_control_tower: false
notifications:
  people_emails: [security@example.com]
  default_owner: security@example.com
"""
KEYS = [f"arn:aws:kms:us-east-1:333333333333:key/{each}" for each in "abcdef"]
NEXT_LINE = MINIMAL.count("\n") + 1


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that loads settings from text, as config/pare.yaml."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config").mkdir()

    def load_text(text: str) -> Settings:
        path = Path("config/pare.yaml")
        path.write_text(text, encoding="utf-8")
        return load_settings(path)

    return load_text


@pytest.fixture
def faults(load: Any) -> Any:
    """Return a function that loads faulty text and returns the lines of its error."""

    def faults_of(text: str) -> list[str]:
        with pytest.raises(SettingsError) as caught:
            load(text)
        return str(caught.value).splitlines()

    return faults_of


# --- The schema and the example ---


def schema_parts(schema: Any, path: str = "") -> list[tuple[str, dict[str, Any]]]:
    parts = []
    for name, part in schema.get("properties", {}).items():
        parts += [(f"{path}{name}", part), *schema_parts(part, f"{path}{name}.")]
    if "items" in schema:
        parts += [(f"{path}[]", schema["items"]), *schema_parts(schema["items"], f"{path}[].")]
    return parts


def schema() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(SCHEMA_PATH.read_text(encoding="utf-8"))
    return loaded


def test_the_schema_is_one_and_explains_every_key() -> None:
    Draft202012Validator.check_schema(schema())
    for path, part in schema_parts(schema()):
        resolved = {**schema()["$defs"].get(part.get("$ref", "").split("/")[-1], {}), **part}
        for keyword in ("title", "description", "x-fix"):
            assert resolved.get(keyword), f"{path} has no {keyword}"
        assert resolved["x-fix"].endswith("."), path


def test_every_key_is_required_or_has_a_default() -> None:
    for path, part in [("", schema()), *schema_parts(schema())]:
        for name, child in part.get("properties", {}).items():
            required = name in part.get("required", [])
            assert required != ("default" in child), f"{path}.{name}"


def test_the_example_is_valid_and_shows_every_key() -> None:
    load_settings(EXAMPLE)
    shown = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))
    commented = EXAMPLE.read_text(encoding="utf-8")
    for path, _ in schema_parts(schema()):
        if "[]" in path:
            assert path.split(".")[-1].removesuffix("[]") in commented
            continue
        found = shown
        for part in path.split("."):
            assert part in found, f"{path} is not in config/pare.yaml"
            found = found[part]


def test_the_example_shows_the_defaults(load: Any) -> None:
    example, minimal = load_settings(EXAMPLE), load(MINIMAL)
    assert example == minimal


def test_every_setting_is_a_key_of_the_schema() -> None:
    # Fixed, and of a file of its own.
    names = {each.name for each in fields(Settings)} - {"names", "archive_rules"}
    assert names == set(schema()["properties"])


def test_rules_may_name_what_the_inventory_knows_and_nothing_else() -> None:
    rule = schema()["properties"]["inventory"]["properties"]["rules"]["items"]["properties"]
    when = rule["when"]["properties"]
    assert when.keys() == WhenJson.__annotations__.keys()
    assert when["kind"]["items"]["enum"] == list(get_args(PrincipalKind))
    assert when["status"]["items"]["enum"] == list(get_args(Status))
    assert when["flags"]["items"]["enum"] == list(FLAGS)
    assert rule["class"]["enum"] == list(get_args(Class))
    for name in ("kind", "status", "flags"):
        assert ", ".join(when[name]["items"]["enum"]) in when[name]["x-fix"], name


# --- What is read ---


def test_settings_are_read(load: Any) -> None:
    settings = load(
        MINIMAL.replace("[us-east-1, us-west-2]", "[us-east-1]")
        + """\
  language: ja
analyzers:
  unused_access_arn: arn:aws:access-analyzer:us-east-1:222222222222:analyzer/unused
owner_tag_keys: [Owner]
window_days: 30
policy_generation: {poll_seconds: 20, max_wait_minutes: 10}
schedule: {inventory: "cron(30 9 ? * MON#1 *)", time_zone: Asia/Tokyo}
exemptions:
  - principal: arn:aws:iam::*:role/break-glass/*
    owner: platform
    reason: Used once a year.
    expires: 2027-06-30
log_retention_days: 365
account_exclusions: [012345670123]
"""
    )
    assert settings.hub_account_id == "222222222222"
    assert settings.governed_regions == ("us-east-1",)
    assert settings.organizational_units == ("r-exam",)
    assert settings.partition == "aws"
    assert settings.trail.region == "us-east-1"
    assert settings.trail.bucket_region == "us-east-1"
    assert settings.trail.is_organization_trail
    assert settings.notifications.language == "ja"
    assert settings.analyzers.unused_access_arn.endswith("analyzer/unused")
    assert settings.owner_tag_keys == ("Owner",)
    assert settings.window_days == 30
    assert settings.policy_generation.poll_seconds == 20
    assert settings.schedule.inventory == "cron(30 9 ? * MON#1 *)"
    assert settings.schedule.time_zone == "Asia/Tokyo"
    assert settings.exemptions[0].expires == date(2027, 6, 30)
    assert settings.log_retention_days == 365
    assert settings.account_exclusions == ("012345670123",)


RULES = """\
inventory:
  idle_days: 60
  calls_per_second: 2
  rules:
    - when: {principal: "arn:aws:iam::*:role/ci/*", kind: [service role],
             status: [idle, never used], flags: [wide]}
      class: review
      reason: The pipelines are being replaced.
    - {when: {flags: [no_owner]}, class: disable, reason: Nobody answers for it.}
"""


def test_the_inventory_is_given_its_terms(load: Any) -> None:
    settings = load(
        MINIMAL
        + RULES
        + """\
exemptions:
  - {principal: "arn:aws:iam::*:role/a", owner: o, reason: r, expires: 2027-06-30}
"""
    )

    assert settings.inventory.calls_per_second == 2
    terms = settings.inventory_terms()
    assert terms.keys() == InventoryTermsJson.__annotations__.keys()
    assert json.loads(json.dumps(terms)) == {
        "idle_days": 60,
        "new_days": 30,
        "key_max_age_days": 365,
        "narrow_unused_services": 5,
        "disable_after_days": 30,
        "delete_after_days": 60,
        "seasonal_weeks": 3,
        "window_days": 90,
        "break_glass_tag": "pare:break-glass",
        "owner_tag_keys": ["owner", "team"],
        "default_owner": "security@example.com",
        "exemptions": [
            {"principal": "arn:aws:iam::*:role/a", "owner": "o", "reason": "r",
             "expires": "2027-06-30"},
        ],
        "rules": [
            {"when": {"principal": "arn:aws:iam::*:role/ci/*", "kind": ["service role"],
                      "status": ["idle", "never used"], "flags": ["wide"]},
             "class": "review", "reason": "The pipelines are being replaced."},
            {"when": {"flags": ["no_owner"]}, "class": "disable",
             "reason": "Nobody answers for it."},
        ],
    }  # fmt: skip


NOTIFICATIONS = """\
  settle_seconds: 0
  max_messages_per_hour: 5
  digest: weekly
  digest_hour: 17
  remind_after_days: {high: 5}
  routes:
    - {owners: [shop, payments], emails: [shop@example.com]}
    - {owners: [payments], emails: [payments@example.com]}
analyzers: {paid_unused_access: true}
partner_accounts: [{account_id: 012345670123, name: Payment provider}]
schedule: {reconcile: "cron(30 1 * * ? *)", time_zone: Asia/Tokyo}
proposals: {cool_down_days: 7}
"""
ARCHIVE_RULE = """\
rules:
  - name: partner-logs
    filter: {resourceType: {eq: ["AWS::S3::Bucket"]}, isPublic: {eq: ["false"]}}
    reason: The partner reads its own logs.
    owner: data@example.com
    expires: 2027-06-30
    regions: [us-west-2]
"""


def test_findings_are_given_their_terms(load: Any) -> None:
    Path("config/archive-rules.yaml").write_text(ARCHIVE_RULE, encoding="utf-8")
    settings = load(MINIMAL + NOTIFICATIONS)

    assert settings.schedule.reconcile == "cron(30 1 * * ? *)"
    terms = settings.finding_terms()
    assert terms.keys() == FindingTermsJson.__annotations__.keys()
    (rule,) = settings.archive_rules
    assert rule.name == "partner-logs"
    assert json.loads(json.dumps(terms)) == {
        "organization_id": "o-example0000",
        "hub_account_id": "222222222222",
        "home_region": "us-east-1",
        "governed_regions": ["us-east-1", "us-west-2"],
        "owner_tag_keys": ["owner", "team"],
        "default_owner": "security@example.com",
        "partner_accounts": {"012345670123": "Payment provider"},
        "settle_seconds": 0,
        "max_messages_per_hour": 5,
        "remind_after_days": {"critical": 3, "high": 5, "medium": 30},
        "digest": "weekly",
        "digest_hour": 17,
        "time_zone": "Asia/Tokyo",
        "language": "en",
        "routed_owners": ["payments", "shop"],
        "cool_down_days": 7,
        "expects_unused_analyzer": True,
        "has_unused_analyzer": True,
        "creates_external_analyzer": False,
        "creates_unused_analyzer": True,
        "announce_days": 14,
        "archive_rules": [rule.to_json()],
    }


@pytest.mark.parametrize(
    ("text", "is_there"),
    [
        ("", False),
        ("analyzers: {create_external_access: true}\n", False),
        ("analyzers: {paid_unused_access: true}\n", True),
        ("analyzers: {unused_access_arn: "
         "'arn:aws:access-analyzer:us-east-1:222222222222:analyzer/unused'}\n", True),
    ],
)  # fmt: skip
def test_an_unused_access_analyzer_is_expected_where_there_is_one(
    load: Any, text: str, is_there: bool
) -> None:
    terms = load(MINIMAL + text).finding_terms()
    assert (terms["expects_unused_analyzer"], terms["has_unused_analyzer"]) == (is_there, is_there)


def test_a_proposal_knows_no_cool_down(load: Any) -> None:
    # Whether a finding starts one is decided before (finding_terms).
    assert "cool_down_days" not in json.dumps(load(MINIMAL).terms())


def test_no_archive_rules_file_is_no_archive_rules(load: Any) -> None:
    assert load(MINIMAL).archive_rules == ()


def test_a_fault_of_the_archive_rules_is_told_with_their_file(load: Any) -> None:
    rules = Path("config/archive-rules.yaml")
    rules.write_text(ARCHIVE_RULE.replace("2027-06-30", "soon"), encoding="utf-8")
    with pytest.raises(SettingsError, match=r"^config/archive-rules\.yaml:6: .*'soon' is not"):
        load(MINIMAL)


def test_an_archive_rule_for_a_region_that_is_not_governed_is_refused(load: Any) -> None:
    rules = Path("config/archive-rules.yaml")
    rules.write_text(ARCHIVE_RULE.replace("us-west-2", "eu-west-1"), encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        load(MINIMAL)
    assert str(caught.value) == (
        "config/archive-rules.yaml: rule partner-logs: eu-west-1: not one of governed_regions "
        "(us-east-1, us-west-2). Fix: add it there, or take it out here."
    )


def test_more_archive_rules_than_a_template_has_room_for_are_refused(load: Any) -> None:
    filters = ", ".join(f'"arn:aws:s3:::amzn-s3-demo-bucket-{number:04d}"' for number in range(20))
    rule = ARCHIVE_RULE.partition("\n")[2].replace('"AWS::S3::Bucket"', filters)
    some = "".join(rule.replace("partner-logs", f"rule-{number}") for number in range(60))
    Path("config/archive-rules.yaml").write_text(f"rules:\n{some}", encoding="utf-8")
    with pytest.raises(
        SettingsError, match=r"^config/archive-rules.yaml: the rules have \d+,\d+ c"
    ):
        load(MINIMAL)


def test_names_another_account_must_spell_are_fixed() -> None:
    names = load_settings(EXAMPLE).names
    assert names.member_role_name == "PareMember"
    assert names.access_role_path + names.access_role_name == (
        "/service-role/AccessAnalyzerMonitorServiceRole_Pare"
    )
    assert names.bus_name == "pare"
    assert names.region_dead_letters_name == "PareRegionDeadLetters"
    assert names.test_event_source == "pare.test"


def test_the_external_id_is_made_of_the_organization_unless_it_is_set(load: Any) -> None:
    assert load(MINIMAL).member_external_id == "pare-o-example0000"
    assert load(MINIMAL + "member_external_id: mine-1\n").member_external_id == "mine-1"


def test_settings_cannot_be_changed() -> None:
    settings = load_settings(EXAMPLE)
    for part in (settings, settings.trail, settings.names):
        assert is_dataclass(part)
        assert not hasattr(part, "__dict__"), "slots"
        with pytest.raises((FrozenInstanceError, AttributeError)):
            setattr(part, fields(part)[0].name, "x")


@pytest.mark.parametrize(
    ("partition", "region"),
    [
        ("aws", "eu-west-1"),
        ("aws-us-gov", "us-gov-west-1"),
        ("aws-cn", "cn-north-1"),
    ],
)
def test_the_partitions_that_policies_know_are_welcome(
    load: Any, partition: str, region: str
) -> None:
    settings = load(
        moved(partition, region) + f"analyzers: {{unused_access_arn: "
        f"'arn:{partition}:access-analyzer:{region}:222222222222:analyzer/a'}}\n"
    )
    assert settings.trail.arn.startswith(f"arn:{partition}:")


@pytest.mark.parametrize(
    ("partition", "region"),
    [
        ("aws-eusc", "eusc-de-east-1"),
        ("aws-iso", "us-iso-east-1"),
        ("aws-iso-b", "us-isob-east-1"),
        ("aws-iso-e", "eu-isoe-west-1"),
        ("aws-iso-f", "us-isof-south-1"),
    ],
)
def test_other_partitions_are_refused(faults: Any, partition: str, region: str) -> None:
    assert faults(moved(partition, region)) == [
        f"config/pare.yaml:6: home_region: '{region}' is in the partition {partition}, whose "
        "services have names that Pare's policies do not know. Fix: choose a Region of aws, "
        "aws-us-gov or aws-cn."
    ]


def moved(partition: str, region: str) -> str:
    """Return the least settings, in one Region of a partition."""
    text = MINIMAL.replace("arn:aws:", f"arn:{partition}:").replace("us-east-1", region)
    return text.replace(", us-west-2", "")


UNITS = "organizational_units: [r-exam]\n"


def test_in_china_the_accounts_get_their_stacks_by_hand(load: Any, faults: Any) -> None:
    text = moved("aws-cn", "cn-north-1")
    assert load(text).member_stacks == "by-hand"
    assert load(text.replace(UNITS, "")).organizational_units == ()
    (found,) = faults(text.replace(UNITS, "member_stacks: stack-set\n"))
    assert found == (
        "config/pare.yaml:5: member_stacks: 'stack-set' is not possible in aws-cn, where StackSets "
        "get no trusted access to an organization. Fix: write by-hand, and deploy "
        "ByHand/PareMember with each account's credentials."
    )


def test_elsewhere_whoever_cannot_have_stack_sets_says_so(load: Any) -> None:
    assert load(MINIMAL).member_stacks == "stack-set"
    assert load(MINIMAL + "member_stacks: stack-set\n") == load(MINIMAL)
    without = load(MINIMAL.replace(UNITS, "member_stacks: by-hand\n"))
    assert (without.member_stacks, without.organizational_units) == ("by-hand", ())
    assert load(MINIMAL + "member_stacks: by-hand\n").organizational_units == ("r-exam",)


def test_an_empty_key_means_its_default(load: Any) -> None:
    settings = load(MINIMAL + "exemptions:\nanalyzers:\nwindow_days:\n")
    assert settings == load(MINIMAL)


# --- Faults ---


def test_a_fault_names_file_line_key_value_and_fix(faults: Any) -> None:
    assert faults(MINIMAL.replace("222222222222", "'12345'")) == [
        "config/pare.yaml:3: hub_account_id: '12345' is not a 12-digit account id. Fix: write the "
        "12 digits that `aws organizations list-accounts` shows."
    ]


def test_all_faults_are_told_at_once_in_the_order_of_the_file(faults: Any) -> None:
    found = faults(
        MINIMAL.replace("o-example0000", "example")
        .replace("bucket:", "bukcet:")
        .replace("home_region: us-east-1", "home_region: eu-west-1")
        + "window_days: 91\nwindow_days: 90\nsomething: 1\n"
    )
    assert [line.split(" Fix:")[0] for line in found] == [
        "config/pare.yaml:1: organization_id: 'example' is not an organization id.",
        "config/pare.yaml:6: home_region: 'eu-west-1' is not one of governed_regions "
        "(us-east-1, us-west-2).",
        "config/pare.yaml:10: trail.bukcet: is not a key Pare knows.",
        "config/pare.yaml:15: window_days: 91 is not a whole number from 1 to 90.",
        "config/pare.yaml:16: window_days: is set twice, first on line 15.",
        "config/pare.yaml:17: something: is not a key Pare knows.",
    ]
    assert "did you mean bucket?" in found[2]
    assert "the keys here are organization_id" in found[5]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("log_retention_days: 91", "91 is not a retention CloudWatch Logs allows"),
        ("evidence: all", "'all' is not auto, activity, access-analyzer or both"),
        ("proposals: {packing: often}", "packing: 'often' is not auto, always or never"),
        ("proposals: {fold_after: 0}", "fold_after: 0 is not a whole number from 1 to 500"),
        ("proposals: {complete_data_events: [S3]}", "'S3' is not a service prefix"),
        ("window_days: 0", "0 is not a whole number from 1 to 90"),
        ("window_days: 1.5", "'1.5' is not a whole number"),
        ("window_days: yes", "'yes' is not a whole number"),
        ("window_days: true", "true is not a whole number"),
        ("owner_tag_keys: []", "an empty list is not a list of at least one tag key"),
        ("owner_tag_keys: owner", "'owner' is not a list"),
        ("owner_tag_keys: [a, b, a]", "has 'a' twice"),
        ("break_glass_tag: {}", "an empty mapping is not a tag key"),
        ("account_exclusions: [1]", "account_exclusions[0]: 1 is not a 12-digit account id"),
        ("analyzers: {paid_unused_access: no}", "'no' is not true or false"),
        ("analyzers: {unused_access_arn: unused}", "'unused' is not the ARN of an analyzer"),
        ("policy_generation: {poll_seconds: 1}", "1 is not a whole number from 5 to 600"),
        ("policy_generation: {max_wait_minutes: 0}", "0 is not a whole number from 1 to 1440"),
        ("schedule: {inventory: monthly}", "'monthly' is not a cron expression"),
        ("schedule: {inventory: cron(0 6 1 * *)}", "is not a cron expression"),
        ("schedule: {inventory: cron(0 6 1 * * *)}", "does not have ? as exactly one"),
        ("schedule: {inventory: 'cron(0 6 ? * ? *)'}", "does not have ? as exactly one"),
        ("schedule: {time_zone: Asia/Tokio}", "did you mean Asia/Tokyo?"),
        ("member_external_id: 'a b'", "'a b' is not an external id"),
        ("inventory: {idle_days: 401}", "idle_days: 401 is not a whole number from 1 to 400"),
        ("inventory: {new_days: 0}", "new_days: 0 is not a whole number from 1 to 365"),
        ("inventory: {key_max_age_days: 0}", "key_max_age_days: 0 is not a whole number from 1"),
        ("inventory: {narrow_unused_services: 0}", "services: 0 is not a whole number from 1 to"),
        ("inventory: {disable_after_days: 0}", "0 is not a whole number from 1 to 365"),
        ("inventory: {delete_after_days: 366}", "366 is not a whole number from 1 to 365"),
        ("inventory: {seasonal_weeks: 13}", "13 is not a whole number from 0 to 12"),
        ("inventory: {calls_per_second: 0}", "0 is not a whole number from 1 to 50"),
        ("inventory: {rules: [keep]}", "rules[0]: 'keep' is not a mapping with the keys when"),
        (
            "inventory: {rules: [{when: {flags: [wide]}, class: stop, reason: r}]}",
            "'stop' is not keep, review, narrow, disable or delete. Fix: write one of keep,",
        ),
        (
            "inventory: {rules: [{when: {flags: [broad]}, class: keep, reason: r}]}",
            "rules[0].when.flags[0]: 'broad' is not a flag. Fix: list some of aws_owns",
        ),
        (
            "inventory: {rules: [{when: {kind: [robot]}, class: keep, reason: r}]}",
            "'robot' is not a kind of user or role. Fix: list some of person, machine user",
        ),
        (
            "inventory: {rules: [{when: {status: [unused]}, class: keep, reason: r}]}",
            "'unused' is not a status. Fix: list some of used, idle",
        ),
        (
            "inventory: {rules: [{when: {principal: ci}, class: keep, reason: r}]}",
            "'ci' is not the ARN of a role or user",
        ),
        (
            "inventory: {rules: [{when: {}, class: keep, reason: r}]}",
            "rules[0].when: says nothing, and would fit everybody. Fix: say at least one of",
        ),
        (
            "inventory: {rules: [{when: {owner: a}, class: keep, reason: r}]}",
            "rules[0].when.owner: is not a key Pare knows",
        ),
        (
            "inventory: {rules: [{when: {kind: [role]}, class: keep}]}",
            "rules[0].reason: is missing. Fix: say why",
        ),
        ("analyzers: {create_external_access: 1}", "1 is not true or false"),
        ("proposals: {cool_down_days: 0}", "cool_down_days: 0 is not a whole number from 1 to 365"),
        ("schedule: {reconcile: daily}", "'daily' is not a cron expression"),
        ("partner_accounts: [1]", "partner_accounts[0]: 1 is not a mapping with the keys account"),
        (
            "partner_accounts: [{account_id: 1, name: a}]",
            "partner_accounts[0].account_id: 1 is not a 12-digit account id",
        ),
        ("partner_accounts: [{account_id: 012345670123}]", "partner_accounts[0].name: is missing"),
        (
            "partner_accounts: [{account_id: 222222222222, name: Hub}]",
            "'222222222222' is an account of the organization itself",
        ),
        (
            "partner_accounts: [{account_id: 012345670123, name: a}, "
            "{account_id: 012345670123, name: b}]",
            "partner_accounts[1].account_id: '012345670123' is there twice",
        ),
        ("exemptions: [arn]", "exemptions[0]: 'arn' is not a mapping with the keys principal"),
    ],
)
def test_wrong_values_are_explained(faults: Any, text: str, expected: str) -> None:
    (found,) = faults(f"{MINIMAL}{text}\n")
    assert found.startswith(f"config/pare.yaml:{NEXT_LINE}: {text.split(':')[0]}")
    assert expected in found
    assert " Fix: " in found


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("arn:aws:cloudtrail:", "arn:aws:s3:", "trail.arn: 'arn:aws:s3:us-east-1"),
        ("trail/organization", "trail/*", "is not the ARN of a trail"),
        (
            "arn:aws:cloudtrail",
            "arn:aws-cn:cloudtrail",
            "is in the partition aws-cn, home_region in aws",
        ),
        ("bucket: example", "bucket: s3://example", "is not the name of a bucket"),
        ("made_by_control_tower: false", "made_by_control_tower: 'false'", "not true or false"),
        (
            "made_by_control_tower: false",
            "made_by_control_tower: false\n  prefix: /logs/",
            "trail.prefix: '/logs/' is not a key prefix",
        ),
        (
            "made_by_control_tower: false",
            "made_by_control_tower: false\n"
            "  kms_key_arns: [arn:aws:kms:us-east-1:333333333333:alias/trail]",
            "kms_key_arns[0]: 'arn:aws:kms:us-east-1:333333333333:alias/trail' is not the ARN of a "
            "KMS key",
        ),
        (
            "made_by_control_tower: false",
            "made_by_control_tower: false\n"
            "  kms_key_arns: arn:aws:kms:us-east-1:333333333333:key/a",
            "is not a list of at most 5 ARNs of KMS keys. Fix: list the keys that `pare doctor` na",
        ),
        (
            "made_by_control_tower: false",
            "made_by_control_tower: false\n"
            "  kms_key_arns: [arn:aws-cn:kms:us-east-1:333333333333:key/a]",
            "kms_key_arns[0]: 'arn:aws-cn:kms:us-east-1:333333333333:key/a' is in the partition "
            "aws-cn, home_region in aws",
        ),
        (
            "made_by_control_tower: false",
            "made_by_control_tower: false\n"
            "  kms_key_arns: [arn:aws:kms:eu-west-1:333333333333:key/a]",
            "the key is in eu-west-1, the bucket in us-east-1, and S3 uses keys of a bucket's own "
            "Region only. Fix: write the Region the bucket is in as trail.bucket_region",
        ),
        (
            "made_by_control_tower: false",
            "made_by_control_tower: false\n  bucket_region: Ireland",
            "trail.bucket_region: 'Ireland' is not a Region, or null. Fix: write the Region that",
        ),
        (
            "made_by_control_tower: false",
            "made_by_control_tower: false\n  bucket_region: cn-north-1",
            "trail.bucket_region: 'cn-north-1' is in the partition aws-cn, home_region in aws",
        ),
        (
            "us-east-1:111111111111:trail",
            "us-east-1:{account}:trail",
            "trail.arn: 'arn:aws:cloudtrail:us-east-1:{account}:trail/organization' is not the ARN",
        ),
        (
            "organizational_units: [r-exam]\n",
            "",
            "organizational_units: names none, and the stack set must know which accounts get the "
            "member roles. Fix: list the root, such as [r-a1b2], for every account, or",
        ),
        ("[r-exam]", "[]", "such as [ou-a1b2-c3d4e5f6]; or write member_stacks: by-hand."),
        (
            "organizational_units: [r-exam]",
            "member_stacks: stackset",
            "member_stacks: 'stackset' is not stack-set, by-hand or null. Fix: write stack-set, or",
        ),
        (
            "made_by_control_tower: false",
            f"made_by_control_tower: false\n  kms_key_arns: [{', '.join(KEYS)}]",
            "trail.kms_key_arns: a list is not a list of at most 5 ARNs of KMS keys. Fix: list the "
            "keys that `pare doctor` names, or write []. More than 5 do not fit: PareLogArchive's",
        ),
        ("[r-exam]", "[o-example0000]", "[0]: 'o-example0000' is not the id of a root or of an"),
        ("[r-exam]", "[Workloads]", "write the id that `aws organizations list-roots` shows"),
        (
            "[r-exam]",
            "[ou-exam-11112222, ou-exam-11112222]",
            "organizational_units: has 'ou-exam-11112222' twice",
        ),
        (
            "[r-exam]",
            "[ou-exam-11112222, r-exam]",
            "organizational_units[1]: 'r-exam' is the whole organization, and the others are in it",
        ),
        (
            "[r-exam]",
            "[ou-exam-11112222, ou-mine-11112222]",
            "organizational_units[1]: 'ou-mine-11112222' is of another organization than 'ou-exam-",
        ),
        ("us-west-2]", "us-gov-west-1]", "governed_regions[1]: 'us-gov-west-1' is in the part"),
        ("us-west-2]", "uswest2]", "governed_regions[1]: 'uswest2' is not a Region"),
        ("222222222222", "111111111111", "hub_account_id: '111111111111' is the management"),
        ("[security@example.com]", "[security]", "people_emails[0]: 'security' is not an e-mail"),
        ("default_owner: s", "owner: s", "notifications.owner: is not a key Pare knows"),
        ("\n  default_owner: security@example.com", "", "notifications.default_owner: is missing"),
        ("organization_id: o-example0000\n", "", "config/pare.yaml:1: organization_id: is missing"),
        ("trail:", "trial:", "config/pare.yaml:8: trial: is not a key Pare knows. Fix: did you"),
    ],
)
def test_wrong_parts_are_explained(faults: Any, old: str, new: str, expected: str) -> None:
    found = "\n".join(faults(MINIMAL.replace(old, new)))
    assert expected in found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("settle_seconds: 901", "901 is not a whole number from 0 to 900"),
        ("max_messages_per_hour: 0", "0 is not a whole number from 1 to 1000"),
        ("digest: monthly", "'monthly' is not daily or weekly"),
        ("digest_hour: 24", "24 is not a whole number from 0 to 23"),
        ("remind_after_days: {low: 1}", "remind_after_days.low: is not a key Pare knows"),
        (
            "remind_after_days: {critical: 8}",
            "remind_after_days.critical: 8 days are more than those of high (7). Fix: remind of",
        ),
        ("routes: [{owners: [a]}]", "routes[0].emails: is missing. Fix: list the addresses"),
        ("routes: [{owners: [], emails: [a@b.c]}]", "is not a list of one to 100 owners"),
        ("routes: [{owners: [a], emails: [a]}]", "emails[0]: 'a' is not an e-mail address"),
        (
            "routes: [{owners: [a], emails: [security@example.com]}]",
            "routes[0].emails[0]: 'security@example.com' is in people_emails as well",
        ),
        (
            "routes: [{owners: [a], emails: [a@b.c]}, {owners: [b], emails: [a@b.c]}]",
            "routes[1].emails[0]: 'a@b.c' is in routes[0] as well, and SNS subscribes an address "
            "once. Fix: put all owners of an address into one route.",
        ),
    ],
)
def test_wrong_notifications_are_explained(faults: Any, text: str, expected: str) -> None:
    (found,) = faults(f"{MINIMAL}  {text}\n")
    assert found.startswith(f"config/pare.yaml:{NEXT_LINE}: notifications.{text.split(':')[0]}")
    assert expected in found
    assert " Fix: " in found


def test_a_key_that_is_only_misspelt_is_told_once(faults: Any) -> None:
    (found,) = faults(MINIMAL.replace("home_region", "home_regoin"))
    assert found.endswith("home_regoin: is not a key Pare knows. Fix: did you mean home_region?")


def test_an_exemption_needs_owner_reason_and_a_real_day(faults: Any) -> None:
    found = faults(
        MINIMAL
        + "exemptions:\n  - principal: arn:aws:iam::444444444444:role/a\n    expires: 2027-02-30\n"
    )
    assert [line.split(" Fix:")[0].split(": ", 1)[1] for line in found] == [
        "exemptions[0].owner: is missing.",
        "exemptions[0].reason: is missing.",
        "exemptions[0].expires: '2027-02-30' is not a day of the calendar as YYYY-MM-DD.",
    ]


def test_polling_must_fit_into_the_wait(faults: Any) -> None:
    (found,) = faults(MINIMAL + "policy_generation:\n  poll_seconds: 600\n  max_wait_minutes: 9\n")
    assert found.startswith(
        f"config/pare.yaml:{NEXT_LINE + 1}: policy_generation.poll_seconds: 600 seconds are"
    )


def test_an_analyzer_must_be_one_the_hub_sees_and_not_be_paid_twice(faults: Any) -> None:
    found = faults(
        MINIMAL
        + "analyzers:\n  paid_unused_access: true\n  unused_access_arn: "
        + "arn:aws:access-analyzer:eu-west-1:111111111111:analyzer/a\n"
    )
    assert [line.split(" Fix:")[0].split(": ", 1)[1] for line in found] == [
        "analyzers.paid_unused_access: true would create an analyzer beside unused_access_arn, "
        "and AWS charges for both.",
        "analyzers.unused_access_arn: the analyzer is in account 111111111111, not in the hub "
        "account 222222222222.",
        "analyzers.unused_access_arn: the analyzer is in eu-west-1, which is not one of "
        "governed_regions.",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a:\n\tb: 1\n", "config/pare.yaml:2: a tab indents this line. Fix: use spaces"),
        ("a: [1\nb: 2\n", "config/pare.yaml:2: this is not YAML: expected ',' or ']'"),
        ("a: 'b\n", "config/pare.yaml:2: this is not YAML: found unexpected end of stream"),
        ("a: 1\n---\nb: 2\n", "config/pare.yaml:2: this is not YAML: but found another document"),
        ("a: *b\n", "config/pare.yaml:1: this is not YAML: found undefined alias"),
        ("", "config/pare.yaml:1: the file is empty"),
        ("# only a comment\n", "config/pare.yaml:1: the file is empty"),
        ("- a\n", "config/pare.yaml:1: the file is not a mapping"),
        ("a: 1\nb: \x01\n", "config/pare.yaml:2: the character U+0001 is not allowed"),
    ],
)
def test_what_is_not_yaml_is_told_with_its_line(faults: Any, text: str, expected: str) -> None:
    (found,) = faults(text)
    assert found.startswith(expected)
    assert "Fix: " in found


def test_odd_yaml_is_a_fault_not_a_crash(faults: Any) -> None:
    found = faults(MINIMAL + "owner_tag_keys: &a [*a]\n? [x]\n: 1\n")
    assert any("contains itself through an alias" in line for line in found)
    assert any("has a key that is not text" in line for line in found)


def test_a_file_that_is_not_utf_8_is_told(tmp_path: Path) -> None:
    (tmp_path / "pare.yaml").write_bytes(b"a: \xff\n")
    with pytest.raises(SettingsError, match="cannot be read as UTF-8"):
        load_settings(tmp_path / "pare.yaml")


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"there is no such file\. Fix: "):
        load_settings(tmp_path / "pare.yaml")


def test_a_file_saved_by_a_windows_editor_is_read(load: Any) -> None:
    assert load("\ufeff" + MINIMAL.replace("\n", "\r\n")) == load(MINIMAL)


@pytest.mark.parametrize(
    "cron",
    ["cron(0 6 * * ? *)", "cron(0 6 ? * MON *)", "cron(0 6 1,15 * ? *)", "cron(0/5 6 1 * ? *)"],
)
def test_a_schedule_that_is_not_monthly_is_refused(tmp_path: Path, cron: str) -> None:
    text = (ROOT / "config/pare.yaml").read_text(encoding="utf-8")
    path = tmp_path / "pare.yaml"
    path.write_text(text.replace("cron(0 6 1 * ? *) ", f"{cron} "), encoding="utf-8")

    with pytest.raises(SettingsError, match="once a month"):
        load_settings(path)


@pytest.mark.parametrize(
    "cron",
    ["cron(0 4 1 * ? *)", "cron(0 4 ? * MON *)", "cron(0 4,16 * * ? *)", "cron(0/5 4 * * ? *)"],
)
@pytest.mark.parametrize(
    ("key", "what"),
    [("activity", "the logs are read"), ("reconcile", "findings are reconciled")],
)
def test_what_is_daily_is_refused_at_other_times(
    faults: Any, cron: str, key: str, what: str
) -> None:
    (found,) = faults(f"{MINIMAL}schedule: {{{key}: {cron!r}}}\n")
    assert f"schedule.{key}: '{cron}' is not once a day, and {what} once a day" in found
    assert f"such as {'cron(0 4 * * ? *)' if key == 'activity' else 'cron(0 3 * * ? *)'}." in found


@pytest.mark.parametrize("cron", ["cron(30 2 * * ? *)", "cron(30 2 ? * * *)"])
def test_both_ways_to_write_every_day_are_accepted(tmp_path: Path, cron: str) -> None:
    text = (ROOT / "config/pare.yaml").read_text(encoding="utf-8")
    path = tmp_path / "pare.yaml"
    path.write_text(text.replace("cron(0 4 * * ? *) ", f"{cron} "), encoding="utf-8")

    assert load_settings(path).schedule.activity == cron


@pytest.mark.parametrize(
    ("prefix", "by_control_tower", "roots"),
    [
        ("null", "false", ("AWSLogs/",)),
        ("logs/trail", "false", ("logs/trail/AWSLogs/",)),
        ("logs/trail", "true", ("logs/trail/AWSLogs/",)),
        ("null", "true", ("o-example0000/AWSLogs/", "AWSLogs/")),
    ],
)
def test_log_files_are_looked_for_where_the_trail_writes_them(
    tmp_path: Path, prefix: str, by_control_tower: str, roots: tuple[str, ...]
) -> None:
    text = (ROOT / "config/pare.yaml").read_text(encoding="utf-8")
    path = tmp_path / "pare.yaml"
    text = text.replace("\n  prefix: null ", f"\n  prefix: {prefix} ")
    path.write_text(
        text.replace(
            "made_by_control_tower: false ", f"made_by_control_tower: {by_control_tower} "
        ),
        encoding="utf-8",
    )
    settings = load_settings(path)

    assert settings.trail.log_roots(settings.organization_id) == roots


def test_more_polls_than_a_workflow_has_room_for_are_refused(tmp_path: Path) -> None:
    text = (ROOT / "config/pare.yaml").read_text(encoding="utf-8")
    path = tmp_path / "pare.yaml"
    text = text.replace("poll_seconds: 60", "poll_seconds: 5")
    path.write_text(text.replace("max_wait_minutes: 30", "max_wait_minutes: 1440"), "utf-8")

    with pytest.raises(SettingsError, match="2500 polls"):
        load_settings(path)


def test_settings_that_are_not_acted_on_yet_are_named(tmp_path: Path) -> None:
    text = (ROOT / "config/pare.yaml").read_text(encoding="utf-8")
    path = tmp_path / "pare.yaml"
    path.write_text(text.replace("language: en ", "language: ja "), encoding="utf-8")

    (sentence,) = load_settings(path).not_read_yet()
    assert sentence.startswith("notifications.language is ja: messages about findings, the inv")
    assert sentence.endswith("the command line are in English.")
    assert load_settings(ROOT / "config/pare.yaml").not_read_yet() == []


def test_the_price_of_the_paid_analyzer_is_told_with_the_command_that_counts(load: Any) -> None:
    (sentence,) = load(MINIMAL + "analyzers: {paid_unused_access: true}\n").prices()
    assert "AWS asks 0.20 USD a month for each role and user" in sentence
    assert "200 USD a month for each 1,000" in sentence
    assert "`pare findings agreement` counts those of the last inventory" in sentence
    arn = "arn:aws:access-analyzer:us-east-1:222222222222:analyzer/unused"
    # Whoever has one already knows what it costs.
    assert load(MINIMAL + f"analyzers: {{unused_access_arn: {arn}}}\n").prices() == []
    assert load(MINIMAL).prices() == []


TRAIL = "arn: arn:aws:cloudtrail:us-east-1:111111111111:trail/organization"


def test_trails_of_the_accounts_in_one_bucket_of_another_region(load: Any) -> None:
    each = TRAIL.replace("111111111111", "{account_id}")
    key = "arn:aws:kms:eu-west-1:333333333333:key/a"
    more = f"{each}\n  bucket_region: eu-west-1\n  kms_key_arns: [{key}]"
    trail = load(MINIMAL.replace(TRAIL, more)).trail

    assert not trail.is_organization_trail
    assert (trail.region, trail.bucket_region) == ("us-east-1", "eu-west-1")
    assert trail.kms_key_arns == (key,)


def test_the_values_of_the_example_are_told_and_no_others(load: Any) -> None:
    marked = [
        line.split(":")[0].strip()
        for line in EXAMPLE.read_text(encoding="utf-8").splitlines()
        if "# REPLACE" in line and ":" in line.partition("#")[0]
    ]
    # Whoever is in the same Regions need not replace them.
    expected = [each for each in marked if each not in ("home_region", "governed_regions")]
    assert [each.rpartition(".")[2] for each in PLACEHOLDERS] == expected

    (sentence,) = load_settings(EXAMPLE).placeholders()
    assert sentence.startswith(f"{', '.join(PLACEHOLDERS)}: still as config/pare.yaml came")
    own = MINIMAL.replace("333333333333", "444444444444").replace("r-exam", "ou-exam-11112222")
    (sentence,) = load(own).placeholders()
    assert "log_archive_account_id" not in sentence
    assert "organizational_units" not in sentence
    for old, new in (
        ("o-example0000", "o-northwind00"), ("111111111111", "444444444441"),
        ("222222222222", "444444444442"), ("example-org", "northwind-org"),
        ("security@example.com", "security@northwind.example"),
    ):  # fmt: skip
        own = own.replace(old, new)
    assert load(own).placeholders() == []
