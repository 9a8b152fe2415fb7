"""The invented trail: the same bytes each time, in AWS's layout, with records as real ones look."""

from __future__ import annotations

import gzip
import json
import re
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from moto.iam.aws_managed_policies import aws_managed_policies_data

from local.emulator.catalogue import actions_of
from local.organization import (
    SEED_FOLDER,
    Organization,
    Role,
    SeedError,
    User,
    read_organization,
)
from local.trail_generator import GeneratedTrail, LogFile, Usage, delivery_time, generate
from pare.clock import format_time, parse_time
from pare.policy.catalogue import load_catalogue
from pare.policy.document import parse
from pare.policy.grants import granted_actions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

END = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
REAL = Path(__file__).parents[4] / "shared/cloudtrail/invictus-ir-aws_dataset"
CHECKOUT = "arn:aws:iam::400000000004:role/app/ShopCheckout"
SIX_ACTIONS = {
    "cognito-idp:AdminGetUser",
    "dynamodb:DescribeTable",
    "kms:Decrypt",
    "secretsmanager:GetSecretValue",
    "ssm:GetParameter",
    "states:StartExecution",
}
KEY = re.compile(
    r"AWSLogs/(?P<organization>o-[a-z0-9]{10,32})/(?P<account>\d{12})/CloudTrail/"
    r"(?P<region>[a-z0-9-]+)/(?P<day>\d{4}/\d{2}/\d{2})/"
    r"(?P=account)_CloudTrail_(?P=region)_(?P<stamp>\d{8}T\d{4}Z)_[A-Za-z0-9]{16}\.json\.gz"
)


@pytest.fixture(scope="module")
def organization() -> Organization:
    return read_organization()


@pytest.fixture(scope="module")
def trail(organization: Organization) -> GeneratedTrail:
    return generate(organization, end=END)


@pytest.fixture(scope="module")
def logs(trail: GeneratedTrail) -> list[tuple[LogFile, list[dict[str, Any]]]]:
    return [(file, records_of(file)) for file in trail if KEY.fullmatch(file.key)]


@pytest.fixture(scope="module")
def records(logs: list[tuple[LogFile, list[dict[str, Any]]]]) -> list[dict[str, Any]]:
    """Every record once."""
    return list({r["eventID"]: r for _, found in logs for r in found}.values())


def records_of(file: LogFile) -> list[dict[str, Any]]:
    document = json.loads(gzip.decompress(file.body))
    assert list(document) == ["Records"]
    found: list[dict[str, Any]] = document["Records"]
    return found


def issuer_arn(record: dict[str, Any]) -> str:
    """Return the ARN of the role or user that called."""
    identity = record["userIdentity"]
    context = identity.get("sessionContext", {})
    arn: str = context.get("sessionIssuer", {}).get("arn") or identity.get("arn", "")
    return arn


def is_in_the_window(use: Usage) -> bool:
    return use.last_accessed_at > END - timedelta(days=91)


def is_denied(record: dict[str, Any]) -> bool:
    code = record.get("errorCode", "")
    return "AccessDenied" in code or "Unauthorized" in code or code == "AuthorizationError"


def test_the_same_seed_gives_the_same_bytes(organization: Organization) -> None:
    first = generate(organization, end=END, days=12)
    assert first == generate(read_organization(), end=END, days=12)
    other = generate(organization, end=END, days=12, seed=8)
    assert [file.body for file in first] != [file.body for file in other]


def test_its_size_is_that_of_a_small_organization(trail: GeneratedTrail) -> None:
    assert 1_000 <= len(trail.files) <= 1_600
    assert 20_000 <= trail.record_count <= 30_000
    assert sum(len(file.body) for file in trail) < 8_000_000


def test_files_lie_where_an_organization_trail_puts_them(
    trail: GeneratedTrail, organization: Organization
) -> None:
    log_files = 0
    for file in trail:
        found = KEY.fullmatch(file.key)
        if found is None:
            assert file.record_count == 0
            continue
        log_files += 1
        assert found["organization"] == organization.organization_id
        assert found["day"].replace("/", "") == found["stamp"][:8]
    assert log_files == len(trail.files) - 2
    assert len({file.key for file in trail}) == len(trail.files)


def test_digest_and_insights_files_lie_beside_the_logs(trail: GeneratedTrail) -> None:
    siblings = {f.key.split("/")[3]: f for f in trail if not KEY.fullmatch(f.key)}
    assert sorted(siblings) == ["CloudTrail-Digest", "CloudTrail-Insight"]
    digest = json.loads(gzip.decompress(siblings["CloudTrail-Digest"].body))
    assert digest["digestS3Object"] == siblings["CloudTrail-Digest"].key
    insight = json.loads(gzip.decompress(siblings["CloudTrail-Insight"].body))
    assert insight["Records"][0]["eventType"] == "AwsCloudTrailInsight"


def test_files_are_delivered_minutes_after_their_events_and_before_the_end(
    logs: list[tuple[LogFile, list[dict[str, Any]]]],
) -> None:
    slipped = 0
    for file, found in logs:
        match = KEY.fullmatch(file.key)
        assert match is not None
        delivered_at = datetime.strptime(match["stamp"], "%Y%m%dT%H%MZ").replace(tzinfo=UTC)
        assert delivered_at <= END
        for record in found:
            happened_at = parse_time(record["eventTime"])
            assert END - timedelta(days=91) <= happened_at
            # A duplicate comes later, with the next file of its account and Region.
            assert delivered_at >= delivery_time(happened_at)
            slipped += happened_at.date() < delivered_at.date()
    assert slipped > 1_000


def test_records_are_in_no_order(logs: list[tuple[LogFile, list[dict[str, Any]]]]) -> None:
    times = [[record["eventTime"] for record in found] for _, found in logs]
    assert any(a > b for found in times for a, b in pairwise(found))


def test_some_records_are_delivered_twice_in_two_files(
    logs: list[tuple[LogFile, list[dict[str, Any]]]],
) -> None:
    files: dict[str, list[str]] = defaultdict(list)
    texts: dict[str, set[str]] = defaultdict(set)
    for file, found in logs:
        for record in found:
            files[record["eventID"]].append(file.key)
            texts[record["eventID"]].add(json.dumps(record))
    twice = {event_id: keys for event_id, keys in files.items() if len(keys) > 1}
    assert 100 < len(twice) < len(files) * 0.05
    assert all(len(set(keys)) == 2 for keys in twice.values())
    assert all(len(texts[event_id]) == 1 for event_id in twice)


def test_records_lie_under_their_account_and_region(
    logs: list[tuple[LogFile, list[dict[str, Any]]]],
) -> None:
    for file, found in logs:
        match = KEY.fullmatch(file.key)
        assert match is not None
        for record in found:
            assert record["recipientAccountId"] == match["account"]
            assert record["awsRegion"] == match["region"]


def test_global_services_log_in_us_east_1(records: list[dict[str, Any]]) -> None:
    regions = {
        r["awsRegion"]
        for r in records
        if r["eventSource"] in {"iam.amazonaws.com", "organizations.amazonaws.com"}
    }
    assert regions == {"us-east-1"}


def test_the_checkout_role_uses_six_actions_and_is_refused_one(
    records: list[dict[str, Any]], trail: GeneratedTrail
) -> None:
    own = [r for r in records if issuer_arn(r) == CHECKOUT]
    used: set[str] = set()
    refused: set[str] = set()
    for record in own:
        actions = actions_of(record["eventSource"], record["eventName"])
        assert len(actions) == 1
        assert record["eventName"] == actions[0].partition(":")[2]
        (refused if is_denied(record) else used).update(actions)
        assert record["managementEvent"] is True
    assert used == SIX_ACTIONS
    assert refused == {"dynamodb:DeleteTable"}
    truth = [use for use in trail.usage if use.principal_arn == CHECKOUT]
    assert {use.action for use in truth if not use.is_denied} == SIX_ACTIONS
    assert {use.action for use in truth if use.is_denied} == {"dynamodb:DeleteTable"}


def test_usage_is_the_last_call_of_each_kind(
    records: list[dict[str, Any]], trail: GeneratedTrail, organization: Organization
) -> None:
    latest = max(
        r["eventTime"]
        for r in records
        if issuer_arn(r) == CHECKOUT and r["eventName"] == "StartExecution"
    )
    assert (
        Usage(CHECKOUT, "states", "states:StartExecution", parse_time(latest), "eu-west-1")
        in trail.usage
    )
    assert all(use.last_accessed_at <= END for use in trail.usage)
    behaviour = yaml.safe_load((SEED_FOLDER / "behaviour.yaml").read_text())
    older = {
        organization.principal(each["principal"]).arn
        for each in behaviour["beside_the_trail"]
        if each["days_ago"] > 90
    }
    assert {use.principal_arn for use in trail.usage if not is_in_the_window(use)} == older


def test_credentials_are_used_as_the_trail_shows(
    records: list[dict[str, Any]], trail: GeneratedTrail, organization: Organization
) -> None:
    deployer = organization.principal("shop-prod/ci-deployer").arn
    own = [r for r in records if issuer_arn(r) == deployer and r["eventName"] != "AssumeRole"]
    last = max(own, key=lambda r: r["eventTime"])
    used = {use.arn: use for use in trail.credentials}
    assert format_time(used[deployer].last_used_at) == last["eventTime"]
    assert used[deployer].service == last["eventSource"].partition(".")[0]
    sign_ins: dict[str, str] = {}
    for record in records:
        if record["eventName"] == "ConsoleLogin":
            arn = record["userIdentity"]["arn"]
            sign_ins[arn] = max(record["eventTime"], sign_ins.get(arn, ""))
    assert len(sign_ins) == 3  # two people and a root user
    del used[deployer]
    assert {arn: format_time(use.last_used_at) for arn, use in used.items()} == sign_ins


def test_who_has_no_mfa_signs_in_without(records: list[dict[str, Any]]) -> None:
    signed_in = {
        r["userIdentity"]["userName"]: r["additionalEventData"]["MFAUsed"]
        for r in records
        if r["eventName"] == "ConsoleLogin" and r["userIdentity"]["type"] == "IAMUser"
    }
    assert signed_in == {"maria.jansen": "No", "amira.haddad": "Yes"}
    attributes = {
        r["userIdentity"]["userName"]: r["userIdentity"]["sessionContext"]["attributes"]
        for r in records
        if r["userIdentity"].get("userName") in signed_in and r["eventName"] != "ConsoleLogin"
    }
    assert {name: found["mfaAuthenticated"] for name, found in attributes.items()} == {
        "maria.jansen": "false",
        "amira.haddad": "true",
    }


def test_what_is_only_refused_is_only_refused(trail: GeneratedTrail) -> None:
    mailer = "arn:aws:iam::400000000004:role/app/VoucherMailer"
    (only,) = [use for use in trail.usage if use.principal_arn == mailer]
    assert only.is_denied
    # The nightly reading has read its last day, which the inventory needs for the proof.
    assert only.last_accessed_at < END - timedelta(days=2)


def test_object_reads_are_in_the_usage_and_not_in_the_trail(
    records: list[dict[str, Any]], trail: GeneratedTrail
) -> None:
    reader = "arn:aws:iam::500000000005:role/analytics/ReportReader"
    assert not [r for r in records if issuer_arn(r) == reader]
    truth = [use for use in trail.usage if use.principal_arn == reader]
    assert [(use.service, use.action) for use in truth] == [("s3", None)]
    # Its sessions begin in the trail: with the service's call.
    assert [r for r in records if (r["requestParameters"] or {}).get("roleArn") == reader]


def test_some_principals_do_nothing(trail: GeneratedTrail) -> None:
    used = {use.principal_arn for use in trail.usage}
    assert "arn:aws:iam::400000000004:role/app/LegacyExporter" not in used
    assert "arn:aws:iam::400000000004:user/backup-appliance" not in used


def test_the_ci_user_calls_seldom_and_not_of_late(
    records: list[dict[str, Any]],
) -> None:
    own = [r for r in records if r["userIdentity"].get("userName") == "ci-deployer"]
    assert 20 <= len(own) <= 150
    newest = max(parse_time(r["eventTime"]) for r in own)
    assert newest < END - timedelta(days=35)
    assert {r["userIdentity"]["accessKeyId"][:4] for r in own} == {"AKIA"}


def test_a_shared_role_is_told_apart_by_its_session_names(records: list[dict[str, Any]]) -> None:
    role = "AWSReservedSSO_DataEngineer_4f8e2a91bc37d605"
    names = {
        r["userIdentity"]["arn"].rpartition("/")[2]
        for r in records
        if issuer_arn(r).endswith(f"/{role}")
    }
    assert len(names) == 4
    assert all("@" in name for name in names)


def test_a_role_has_one_unique_id_and_its_path_in_the_issuer_only(
    records: list[dict[str, Any]], organization: Organization
) -> None:
    for record in records:
        identity = record["userIdentity"]
        if identity.get("type") != "AssumedRole":
            continue
        issuer = identity["sessionContext"]["sessionIssuer"]
        role = organization.principal(issuer["arn"])
        assert issuer["principalId"] == role.unique_id
        assert identity["principalId"].startswith(f"{role.unique_id}:")
        assert identity["arn"].startswith(
            f"arn:aws:sts::{role.account_id}:assumed-role/{role.name}/"
        )


def test_a_cross_account_call_is_recorded_on_both_sides(records: list[dict[str, Any]]) -> None:
    pairs: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for record in records:
        if "sharedEventID" in record and record["userIdentity"]["type"] != "AWSService":
            pairs[record["sharedEventID"]].append(record)
    assert pairs
    for found in pairs.values():
        assert len(found) == 2
        caller, owner = sorted(found, key=lambda r: r["userIdentity"]["type"] == "AWSAccount")
        assert owner["userIdentity"] == {
            "type": "AWSAccount",
            "principalId": caller["userIdentity"]["principalId"],
            "accountId": caller["recipientAccountId"],
        }
        assert owner["recipientAccountId"] != caller["recipientAccountId"]
        assert owner["eventID"] != caller["eventID"]


@pytest.mark.parametrize(
    "is_there",
    [
        lambda r: r["eventType"] == "AwsServiceEvent",
        lambda r: r["eventName"] == "ConsoleLogin",
        lambda r: r["userIdentity"].get("type") == "Root",
        lambda r: r["userIdentity"].get("type") == "SAMLUser",
        lambda r: r["userIdentity"].get("type") == "WebIdentityUser",
        lambda r: "type" not in r["userIdentity"],
        lambda r: {"sessionContext", "invokedBy"} <= set(r["userIdentity"]),
        lambda r: r["eventName"] == "AssumeRole" and r["userIdentity"]["type"] == "AWSService",
        lambda r: r.get("errorCode") == "ThrottlingException",
        lambda r: r.get("errorCode") == "EntityNotFoundException",
        lambda r: r.get("errorCode") == "Client.UnauthorizedOperation",
        lambda r: "explicit deny in a service control policy" in r.get("errorMessage", ""),
        lambda r: "permissions boundary" in r.get("errorMessage", ""),
        lambda r: r["eventName"] == "UpdateFunctionCode20150331v2",
        lambda r: r["requestParameters"] is None,
        lambda r: r["awsRegion"] == "eu-central-1",
        lambda r: "sessionCredentialFromConsole" in r,
    ],
)
def test_there_are_records_of_each_kind(
    records: list[dict[str, Any]], is_there: Callable[[dict[str, Any]], bool]
) -> None:
    assert any(is_there(record) for record in records)


def test_event_ids_are_version_4_uuids(records: list[dict[str, Any]]) -> None:
    shape = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
    assert all(shape.fullmatch(record["eventID"]) for record in records)


def test_no_placeholder_is_left_in_any_record(records: list[dict[str, Any]]) -> None:
    left = re.compile(r"\{[a-z_]+(:\d+)?\}")
    assert not [r for r in records if left.search(json.dumps(r))]


def test_every_operation_maps_to_the_actions_its_template_says() -> None:
    table = yaml.safe_load((SEED_FOLDER / "operations.yaml").read_text())
    catalogue = load_catalogue()
    for name, template in table["operations"].items():
        operation = name.partition(" ")[0]
        prefix, _, action_name = operation.partition(":")
        source = template.get("source", f"{prefix}.amazonaws.com")
        said = template.get("actions", [operation])
        assert all(catalogue.exists(action) for action in said), name
        assert list(actions_of(source, template.get("event", action_name))) == said, name


def test_every_listed_operation_happens(
    records: list[dict[str, Any]], organization: Organization
) -> None:
    behaviour = yaml.safe_load((SEED_FOLDER / "behaviour.yaml").read_text())
    templates = yaml.safe_load((SEED_FOLDER / "operations.yaml").read_text())["operations"]
    happened = {(issuer_arn(r), r["eventName"]) for r in records}
    for table in behaviour["principals"]:
        arn = organization.principal(table["principal"]).arn
        for name, habit in table["operations"].items():
            operation = habit.get("operation", name) if isinstance(habit, dict) else name
            event = templates[operation].get("event") or operation.partition(":")[2]
            assert (arn, event) in happened


# What is recorded as allowed is granted, and what is recorded as refused is not.


def own_policies(organization: Organization, principal: Role | User) -> list[dict[str, Any]]:
    """Return a principal's identity-based policies, AWS's own as moto knows them."""
    account = organization.account(principal.account_id)
    holders: list[Any] = [principal]
    if isinstance(principal, User):
        holders += [group for group in account.groups if group.name in principal.groups]
    customer_managed = {
        f"arn:aws:iam::{account.account_id}:policy{policy.path}{policy.name}": policy.document
        for policy in account.policies
    }
    found: list[dict[str, Any]] = []
    for holder in holders:
        found += holder.inline_policies.values()
        for arn in holder.managed_policy_arns:
            if arn in customer_managed:
                found.append(dict(customer_managed[arn]))
            else:
                found.append(aws_managed()[arn.rpartition("/")[2]]["Document"])
    return found


@cache
def aws_managed() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(aws_managed_policies_data)
    return found


def test_calls_are_allowed_and_refused_as_the_policies_say(
    trail: GeneratedTrail, records: list[dict[str, Any]], organization: Organization
) -> None:
    account = organization.account("shop-prod")
    boundary = parse(dict(account.policies[0].document))
    refusals = {(issuer_arn(r), r["eventName"]): r["errorMessage"] for r in records if is_denied(r)}
    free = {"sts:GetCallerIdentity"}  # needs no permission
    for principal in organization.principals():
        if isinstance(principal, Role) and principal.service_linked:
            continue
        documents = [parse(document) for document in own_policies(organization, principal)]
        granted = granted_actions(documents).actions
        bounded = granted & granted_actions([boundary]).actions
        for use in trail.usage:
            if use.principal_arn != principal.arn or use.action is None or use.action in free:
                continue
            if not is_in_the_window(use):
                continue  # two roles were disabled since
            if not use.is_denied:
                assert use.action in (bounded if principal.boundary_arn else granted), use
                continue
            message = refusals[principal.arn, use.action.partition(":")[2]]
            if "no identity-based policy" in message:
                assert use.action not in granted, use
            elif "no permissions boundary" in message:
                assert principal.boundary_arn is not None
                assert use.action in granted - bounded, use
            else:
                (policy,) = organization.service_control_policies
                assert "service control policy" in message
                assert account.organizational_unit in policy.units
                assert use.action in granted_actions([parse(dict(policy.document))]).denied


def test_roles_are_assumed_by_those_they_trust(organization: Organization) -> None:
    behaviour = yaml.safe_load((SEED_FOLDER / "behaviour.yaml").read_text())
    for table in behaviour["principals"]:
        role = organization.principal(table["principal"])
        by = table["session"].get("by")
        if not isinstance(role, Role) or by is None:
            continue
        trust = json.dumps(dict(role.trust))
        if table["session"]["kind"] == "role":
            caller = organization.principal(by)
            assert caller.arn in trust or f"::{caller.account_id}:root" in trust
        else:
            assert by in trust


# What real delivered files look like.


def real_records() -> Iterator[dict[str, Any]]:
    if not REAL.is_dir():
        pytest.skip(f"{REAL} is not here: record shapes cannot be compared with real ones")
    for path in sorted(REAL.glob("*.json")):
        yield from json.loads(path.read_text())["Records"]


def orders(found: list[list[str]]) -> set[tuple[str, str]]:
    """Return every pair of keys of which the first comes before the second."""
    return {(a, b) for keys in found for i, a in enumerate(keys) for b in keys[i + 1 :]}


@pytest.mark.parametrize(
    "part",
    [
        lambda r: r,
        lambda r: r["userIdentity"],
        lambda r: r["userIdentity"].get("sessionContext", {}),
        lambda r: r["userIdentity"].get("sessionContext", {}).get("sessionIssuer", {}),
        lambda r: r.get("tlsDetails", {}),
        lambda r: (r.get("resources") or [{}])[0],
    ],
    ids=["record", "userIdentity", "sessionContext", "sessionIssuer", "tlsDetails", "resources"],
)
def test_keys_and_their_order_are_those_of_real_records(
    records: list[dict[str, Any]], part: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    real = [list(part(record)) for record in real_records()]
    known = {key for keys in real for key in keys}
    ours = [list(part(record)) for record in records]
    # Keys of sign-ins with an assertion or a token, which the real sample does not have.
    assert {key for keys in ours for key in keys} <= known | {"identityProvider"}
    assert not {(b, a) for a, b in orders(ours)} & (
        orders(real) - {(b, a) for a, b in orders(real)}
    )


def test_the_fields_of_a_call_have_the_types_of_real_ones(records: list[dict[str, Any]]) -> None:
    def types(found: list[dict[str, Any]]) -> dict[str, set[str]]:
        result: dict[str, set[str]] = defaultdict(set)
        for record in found:
            for key, value in record.items():
                result[key].add(type(value).__name__)
        return result

    real = types(list(real_records()))
    for key, found in types(records).items():
        assert found <= real[key], key


# Broken data.


def data_folder(tmp_path: Path, **changes: Callable[[str], str]) -> Path:
    for name in ("behaviour", "operations"):
        text = (SEED_FOLDER / f"{name}.yaml").read_text()
        changed = changes[name](text) if name in changes else text
        (tmp_path / f"{name}.yaml").write_text(changed)
    return tmp_path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"behaviour": lambda t: t.replace("shop-prod/OrderWorker", "shop-prod/Nobody")}, "Nobody"),
        ({"behaviour": lambda t: t.replace("ssm:GetParameter: 5", "ssm:Guess: 5")}, "ssm:Guess"),
        ({"behaviour": lambda t: t.replace("denied: scp", "denied: luck")}, "luck"),
        (
            {
                "behaviour": lambda t: t.replace(
                    "{principal: data-prod/YearEndClose,", "{principal: data-prod/Nobody,"
                )
            },
            "beside_the_trail.*Nobody",
        ),
        ({"behaviour": lambda t: t.replace("kind: identity_center", "kind: magic")}, "magic"),
        ({"behaviour": lambda t: t.replace("kind: key_rotation", "kind: flood")}, "flood"),
        ({"operations": lambda t: t.replace("{table}", "{tabel}")}, "tabel"),
        ({"operations": lambda t: t.replace("schema_version: 1", "schema_version: 9")}, "schema"),
        ({"operations": lambda t: t + "\n\t- ["}, "is not YAML"),
    ],
)
def test_broken_data_files_are_named(
    tmp_path: Path,
    organization: Organization,
    changes: dict[str, Callable[[str], str]],
    message: str,
) -> None:
    with pytest.raises(SeedError, match=message):
        generate(organization, end=END, days=8, folder=data_folder(tmp_path, **changes))
