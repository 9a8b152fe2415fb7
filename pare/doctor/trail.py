"""Whether the trail is there, records what Pare needs, and who can read it.

https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_AdvancedEventSelector.html
https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_EventSelector.html
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from pare.clock import parse_time
from pare.doctor.checks import title_of
from pare.doctor.commands import deploy, look_again, mend_first, profile_of, quoted
from pare.doctor.elsewhere import reading_mend, said, where_of
from pare.doctor.model import Mend, Result, cannot_tell, missing, ok
from pare.message import listed, plain, several

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pare.doctor.answers import Failure, TrailAnswer
    from pare.doctor.setup import Setup
    from pare.policy.document import JsonObject

# CloudTrail delivers about every five minutes (facts §7); a trail of an organization is never so
# long without a call. That of a single account may be: there it proves nothing.
LATE_HOURS: Final = 6
# Where AWS says what a bucket's policy, and a key's, must let CloudTrail do.
_GUIDE: Final = "https://docs.aws.amazon.com/awscloudtrail/latest/userguide/"
_BUCKET_PAGE: Final = f"{_GUIDE}create-s3-bucket-policy-for-cloudtrail.html"
_KEY_PAGE: Final = f"{_GUIDE}create-kms-key-policy-for-cloudtrail.html"
# What Control Tower calls its trail.
# https://docs.aws.amazon.com/controltower/latest/userguide/about-logging.html
CONTROL_TOWER_TRAIL: Final = "aws-controltower-BaselineCloudTrail"
MOST_SELECTORS: Final = 5
# The types of data events that a basic selector may name, and their services: an ARN that ends
# with the service stands for all of a type.
SERVICES: Final = {
    "AWS::S3::Object": "s3",
    "AWS::Lambda::Function": "lambda",
    "AWS::DynamoDB::Table": "dynamodb",
}
_GONE: Final = frozenset({"TrailNotFoundException", "CloudTrailARNInvalidException"})
CHECKS: Final = (
    "trail.exists",
    "trail.scope",
    "trail.logging",
    "trail.management-events",
    "trail.data-events",
)


def judge_trails(
    setup: Setup, answers: Mapping[str, TrailAnswer], *, now: datetime
) -> Iterator[Result]:
    """Judge the trail, or each account's own; what is well of several is one result a check."""
    if setup.trail.is_organization_trail:
        for arn, answer in answers.items():
            yield from judge_trail(setup, arn, answer, now=now)
        return
    well: dict[str, list[Result]] = defaultdict(list)
    for arn, answer in sorted(answers.items()):
        for result in judge_trail(setup, arn, answer, now=now):
            if result.status == "ok":
                well[result.check].append(result)
            else:
                yield result
    for check, results in well.items():
        says = {each.says for each in results}
        text = says.pop() if len(says) == 1 else "as they should be"
        yield ok(check, "", f"{several(len(results), 'account trail')}: {text}")


def judge_trail(setup: Setup, arn: str, answer: TrailAnswer, *, now: datetime) -> Iterator[Result]:
    """Judge one trail."""
    trail = Trail(setup, arn)
    found = answer["trail"]
    if not found["ok"]:
        yield _without(trail, found)
        return
    yield _existing(trail, found["value"])
    yield _scope(trail, found["value"])
    status, selectors = answer["status"], answer["selectors"]
    if found["value"].get("S3BucketName") != setup.trail.bucket:
        # What CloudTrail tells is of the other bucket, and no mend of it is of this one.
        yield cannot_tell(
            "trail.logging",
            trail.subject,
            "Not looked at: what CloudTrail delivers, it delivers into another bucket.",
            mend_first(title_of("trail.exists")),
        )
    elif status["ok"]:
        yield _logging(trail, status["value"], now, str(found["value"].get("KmsKeyId") or ""))
    else:
        yield trail.unknown("trail.logging", status)
    if not selectors["ok"]:
        yield trail.unknown("trail.management-events", selectors)
        yield trail.unknown("trail.data-events", selectors)
        return
    yield _management_events(trail, selectors["value"])
    yield _data_events(trail, selectors["value"])


@dataclass(frozen=True, slots=True)
class Trail:
    """A trail by its ARN, and how its results and mends name it."""

    setup: Setup
    arn: str

    @property
    def region(self) -> str:
        return self.arn.split(":")[3]

    @property
    def account_id(self) -> str:
        return self.arn.split(":")[4]

    @property
    def name(self) -> str:
        return self.arn.rpartition("/")[2]

    @property
    def subject(self) -> str:
        """The name of the one trail, or the account whose own it is."""
        return self.name if self.setup.trail.is_organization_trail else self.account_id

    @property
    def where(self) -> str:
        return where_of(self.setup, self.account_id)

    def mend(self, *commands: str, text: str = "", statement: JsonObject | None = None) -> Mend:
        """Return a mend with the credentials of the trail's account."""
        return Mend(self.where, commands, statement, text)

    def command(self, operation: str, options: str) -> str:
        return f"aws cloudtrail {operation} {options} --region {self.region}"

    def unknown(self, check: str, failure: Failure) -> Result:
        return cannot_tell(
            check, self.subject, said(failure), reading_mend(self.setup, self.account_id, failure)
        )


# --- trail.exists, trail.scope --------------------------------------------------------------------


def _without(trail: Trail, failure: Failure) -> Result:
    if failure["code"] not in _GONE:
        return trail.unknown("trail.exists", failure)
    setup = trail.setup
    says = f"There is no trail {trail.arn}."
    if setup.trail.made_by_control_tower:
        return missing(
            "trail.exists",
            trail.subject,
            says,
            trail.mend(
                trail.command("describe-trails", "--query 'trailList[].TrailARN'"),
                text="Control Tower makes it: in its console, landing zone settings, turn "
                "CloudTrail on. Where the trail has another name, write its ARN as trail.arn into "
                "config/pare.yaml and deploy.",
            ),
        )
    prefix, key = _prefix(setup), next(iter(setup.trail.kms_key_arns), "")
    options = [
        f"--name {quoted(trail.name)}",
        f"--s3-bucket-name {quoted(setup.trail.bucket)}",
        *([f"--s3-key-prefix {quoted(prefix)}"] if prefix else []),
        *([f"--kms-key-id {quoted(key)}"] if key else []),
        "--is-multi-region-trail",
        "--enable-log-file-validation",
        *(["--is-organization-trail"] if setup.trail.is_organization_trail else []),
    ]
    before, text = _before(trail, key)
    describe = trail.command("describe-trails", "--query 'trailList[].TrailARN'")
    return missing(
        "trail.exists",
        trail.subject,
        says,
        trail.mend(
            *before,
            trail.command("create-trail", " ".join(options)),
            trail.command("start-logging", f"--name {trail.arn}"),
            text=f"If there is a trail already, do not create a second: `{describe}` shows its "
            "ARN; write it as trail.arn into config/pare.yaml and deploy. A new trail has no "
            f"past: what is older stays unknown. {text}",
        ),
    )


def _before(trail: Trail, key: str = "") -> tuple[list[str], str]:
    """Return what comes before a trail is made, or made the organization's, and why.

    CloudTrail refuses an organization's trail unless the organization trusts it, and any trail
    whose bucket or key does not let it in.
    https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_CreateTrail.html#API_CreateTrail_Errors
    """
    setup = trail.setup
    commands, refusals = [], []
    if setup.trail.is_organization_trail:
        commands.append(
            "aws organizations enable-aws-service-access "
            "--service-principal cloudtrail.amazonaws.com"
        )
        refusals.append(
            "the organization does not trust CloudTrail (CloudTrailAccessNotEnabledException)"
        )
    profiles = {setup.log_archive_account_id: "the bucket's"}
    commands.append(_put_into_bucket(trail, _profile(trail, setup.log_archive_account_id)))
    refusals.append(
        "the bucket's policy does not let it look at the bucket and write "
        "(InsufficientS3BucketPolicyException)"
    )
    if key_account := _key_account(key):
        profiles.setdefault(key_account, "the key's")
        commands.append(_put_into_key(trail, key, _profile(trail, key_account)))
        refusals.append("the key's policy does not let it use the key "
                        "(InsufficientEncryptionPolicyException)")  # fmt: skip
    text = f"CloudTrail refuses where {', or '.join(refusals)}: the first commands see to that."
    for account_id, whose in profiles.items():
        if option := _profile(trail, account_id).strip():
            text += f" `{option}` stands for a profile of {whose} account, {account_id}."
    return commands, text


def _profile(trail: Trail, account_id: str) -> str:
    """Return the option for another account than the trail's, whose credentials are in use."""
    if account_id == trail.account_id:
        return ""
    return f" --profile {quoted(profile_of(trail.setup, account_id) or 'hub')}"


def _prefix(setup: Setup) -> str:
    """Return what the settings put before AWSLogs/, without the slash."""
    return setup.trail.log_roots[0].removesuffix("AWSLogs/").rstrip("/")


def _existing(trail: Trail, found: Mapping[str, Any]) -> Result:
    check, wanted = "trail.exists", trail.setup.trail
    bucket, prefix = str(found.get("S3BucketName", "")), str(found.get("S3KeyPrefix") or "")
    root = f"{prefix.strip('/')}/AWSLogs/" if prefix else "AWSLogs/"
    change = (
        f"npx cdk deploy --all with these settings; then {deploy('ByHand/PareMember')} and "
        f"{deploy('ByHand/PareLogArchive')} as docs/deploy.md says"
    )
    if bucket != wanted.bucket:
        return missing(
            check,
            trail.subject,
            f"{trail.arn} writes into the bucket {plain(bucket, 63)}; the settings name "
            f"{wanted.bucket}.",
            trail.mend(
                trail.command(
                    "update-trail",
                    f"--name {trail.arn} --s3-bucket-name {quoted(wanted.bucket)}",
                ),
                text="Where somebody changed the trail by mistake, this puts it back. Where the "
                f"other bucket is meant, do not: write `bucket: {plain(bucket, 63)}` under trail "
                "in config/pare.yaml instead. That bucket needs Pare's statements too: "
                f"{change}.",
            ),
        )
    if root not in wanted.log_roots:
        return missing(
            check,
            trail.subject,
            f"{trail.arn} writes below {plain(root, 200)}; the settings say "
            f"{listed(list(wanted.log_roots))}.",
            Mend(
                "you",
                (deploy("--all"),),
                text=f"First write `prefix: {quoted(plain(prefix, 200)) if prefix else 'null'}` "
                f"under trail in config/pare.yaml. The statements name the prefix too: {change}.",
            ),
        )
    key = str(found.get("KmsKeyId") or "")
    if _key_account(key) and ":key/" in key and key not in wanted.kms_key_arns:
        return missing(
            check,
            trail.subject,
            f"{trail.arn} encrypts with {plain(key, 200)}, which the settings do not name: nobody "
            "lets Pare read what it writes from now on.",
            Mend(
                "you",
                (deploy("--all"),),
                text=f"First add `{plain(key, 200)}` to trail.kms_key_arns in config/pare.yaml; "
                f"those that are there stay. The key needs Pare's statements too: {change}.",
            ),
        )
    return ok(check, trail.subject, f"{trail.arn}, into {bucket}")


def _scope(trail: Trail, found: Mapping[str, Any]) -> Result:
    check, setup = "trail.scope", trail.setup
    faults, options = [], []
    if not found.get("IsMultiRegionTrail"):
        home = str(found.get("HomeRegion") or trail.region)
        others = [each for each in setup.governed_regions if each != home]
        faults.append(
            f"it records {home} only"
            + (f": nothing of {listed(others)}" if others else ", and IAM is used elsewhere too")
        )
        options.append("--is-multi-region-trail")
    if not found.get("IncludeGlobalServiceEvents", True):
        faults.append("it leaves out global services, such as IAM and STS")
        options.append("--include-global-service-events")
    if setup.trail.is_organization_trail and not found.get("IsOrganizationTrail"):
        faults.append("it records its own account only, not the organization")
        options.append("--is-organization-trail")
    if faults:
        before, text = _before(trail) if "--is-organization-trail" in options else ([], "")
        return missing(
            check,
            trail.subject,
            f"The trail is too narrow: {'; '.join(faults)}.",
            trail.mend(
                *before,
                trail.command("update-trail", f"--name {trail.arn} {' '.join(options)}"),
                text=f"What was not recorded until then stays unknown. {text}".strip(),
            ),
        )
    accounts = "of every account" if found.get("IsOrganizationTrail") else "of its account"
    return ok(check, trail.subject, f"every Region {accounts}")


# --- trail.logging --------------------------------------------------------------------------------


def _logging(trail: Trail, status: Mapping[str, Any], now: datetime, key: str) -> Result:
    """Judge whether a trail is on and delivers; ``key``: the ARN of its key, empty if it has none.

    Of an account's own trail nothing delivered is no evidence: perhaps nothing happened there.
    """
    check = "trail.logging"
    show = trail.command("get-trail-status", f"--name {trail.arn}")
    if not status.get("IsLogging"):
        since = status.get("StopLoggingTime")
        return missing(
            check,
            trail.subject,
            f"The trail is stopped{f', since {since}' if since else ''}.",
            trail.mend(
                trail.command("start-logging", f"--name {trail.arn}"),
                text="What happened meanwhile is recorded nowhere.",
            ),
        )
    last = _moment(status.get("LatestDeliveryTime"))
    error = str(status.get("LatestDeliveryError") or "")
    if error:
        return missing(
            check,
            trail.subject,
            f"CloudTrail cannot deliver log files: {plain(error, 200)}"
            + (f" (the last came at {status['LatestDeliveryTime']})." if last else "."),
            _delivery_mend(trail, error, key),
        )
    late = timedelta(hours=LATE_HOURS)
    if last is None:
        started = _moment(status.get("StartLoggingTime"))
        if started is not None and now - started < late:
            return cannot_tell(
                check,
                trail.subject,
                f"It is on since {status['StartLoggingTime']} and has delivered nothing yet.",
                look_again("CloudTrail needs some minutes: look again in half an hour."),
            )
    if last is None or now - last > late:
        told = f"the last log file came at {status['LatestDeliveryTime']}" if last else "none came"
        says = f"It is on, and for over {LATE_HOURS} hours no log file came: {told}."
        if not trail.setup.trail.is_organization_trail:
            return cannot_tell(
                check,
                trail.subject,
                says,
                look_again(
                    "An account in which nothing happens delivers nothing, and CloudTrail tells "
                    "of no error. What the doctor asked there just now is an event, too: look "
                    "again in half an hour. If it says the same then, and the trail records all "
                    "management events, open a case with AWS."
                ),
            )
        return missing(
            check,
            trail.subject,
            says,
            trail.mend(
                show,
                text="CloudTrail tells of no error. Look at the AWS Health Dashboard of its "
                "Region; where it has nothing, open a case with AWS.",
            ),
        )
    return ok(check, trail.subject, f"on; the last log file came at {status['LatestDeliveryTime']}")


def _delivery_mend(trail: Trail, error: str, key: str) -> Mend:
    if "KMS" in error.upper():
        return _key_mend(trail, error, key) if _key_account(key) else _default_key_mend(trail)
    return Mend(
        where_of(trail.setup, trail.setup.log_archive_account_id),
        (_put_into_bucket(trail),),
        None,
        "The bucket must be there, and its policy let CloudTrail look at it and write: the "
        f"command below adds CloudTrail's two statements to the policy as it is then "
        f"({_BUCKET_PAGE}). Where the "
        "policy has both, a Deny statement keeps CloudTrail out.",
    )


def _key_mend(trail: Trail, error: str, key: str) -> Mend:
    """Return what lets CloudTrail use the trail's key, by what S3 says of the key.

    https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
    """
    shown, region = plain(key, 200), key.split(":")[3]
    where = where_of(trail.setup, _key_account(key))
    if "NotFound" in error:
        return trail.mend(
            trail.command("update-trail", f"--name {trail.arn} --kms-key-id ''"),
            text=f"The trail's key, {shown}, is gone, or not in the bucket's Region. This has S3 "
            "encrypt with its own keys from now on. To use another key, name it in place of the "
            f"empty text; its policy must let CloudTrail in first ({_KEY_PAGE}).",
        )
    enable = f"aws kms enable-key --key-id {quoted(key)} --region {region}"
    cancel = f"aws kms cancel-key-deletion --key-id {quoted(key)} --region {region}"
    if "Disabled" in error:
        return Mend(where, (enable,), text=f"The trail's key, {shown}, is disabled.")
    if "InvalidState" in error:
        return Mend(
            where,
            (cancel, enable),
            text=f"The trail's key, {shown}, cannot be used: most likely it is to be deleted.",
        )
    return Mend(
        where,
        (_put_into_key(trail, key),),
        None,
        f"CloudTrail must be let in by the policy of the trail's key, {shown}: the "
        f"command below adds CloudTrail's three statements to the policy as it is then "
        f"({_KEY_PAGE}). It takes credentials that the key's policy lets change it. Where the "
        "policy has all three, a Deny statement keeps CloudTrail out.",
    )


def _default_key_mend(trail: Trail) -> Mend:
    """Return what shows the key where the trail names none: the bucket encrypts with one."""
    setup = trail.setup
    statement: JsonObject = {
        "Sid": f"AllowCloudTrailToEncrypt{_whose(trail)}",
        "Effect": "Allow",
        "Principal": {"Service": "cloudtrail.amazonaws.com"},
        "Action": ["kms:GenerateDataKey*", "kms:DescribeKey"],
        "Resource": "*",
        # The context in which S3 encrypts by default names no trail.
        "Condition": {"StringEquals": {"aws:SourceArn": trail.arn}},
    }
    return Mend(
        where_of(setup, setup.log_archive_account_id),
        (
            f"aws s3api get-bucket-encryption --bucket {quoted(setup.trail.bucket)} "
            f"--region {setup.trail.bucket_region}",
        ),
        statement,
        "The trail names no key, so it is the one that the bucket encrypts with by default: this "
        "shows it as KMSMasterKeyID. Add the statement to its policy; where it is a key of AWS's "
        f"own, `aws/s3`, let the bucket encrypt with another ({_KEY_PAGE}).",
    )


def _key_account(key: str) -> str:
    """Return the account of a key by its ARN; empty for what is no such ARN."""
    parts = key.split(":")
    return parts[4] if len(parts) == 6 and parts[2] == "kms" else ""


def _whose(trail: Trail) -> str:
    """Return what the Sids end in: account trails have a statement each in one policy."""
    return "" if trail.setup.trail.is_organization_trail else trail.account_id


def _bucket_statements(trail: Trail) -> list[JsonObject]:
    """Return what the bucket's policy must let CloudTrail do.

    https://docs.aws.amazon.com/awscloudtrail/latest/userguide/create-s3-bucket-policy-for-cloudtrail.html
    """
    setup = trail.setup
    bucket = f"arn:{setup.partition}:s3:::{setup.trail.bucket}"
    owner = setup.organization_id if setup.trail.is_organization_trail else trail.account_id
    resources = [f"{bucket}/{root}{each}/*" for root in setup.trail.log_roots[:1]
                 for each in dict.fromkeys((trail.account_id, owner))]  # fmt: skip
    look: JsonObject = {
        "Sid": f"AllowCloudTrailToLook{_whose(trail)}",
        "Effect": "Allow",
        "Principal": {"Service": "cloudtrail.amazonaws.com"},
        "Action": "s3:GetBucketAcl",
        "Resource": bucket,
        "Condition": {"StringEquals": {"aws:SourceArn": trail.arn}},
    }
    write: JsonObject = {
        "Sid": f"AllowCloudTrailToWrite{_whose(trail)}",
        "Effect": "Allow",
        "Principal": {"Service": "cloudtrail.amazonaws.com"},
        "Action": "s3:PutObject",
        "Resource": [*resources],
        "Condition": {
            "StringEquals": {
                "aws:SourceArn": trail.arn,
                "s3:x-amz-acl": "bucket-owner-full-control",
            }
        },
    }
    return [look, write]


def _key_statements(trail: Trail) -> list[JsonObject]:
    """Return what the policy of the trail's key must let CloudTrail do: as its console writes it.

    It decrypts only when it makes or changes a trail whose bucket has an S3 Bucket Key.

    https://docs.aws.amazon.com/awscloudtrail/latest/userguide/create-kms-key-policy-for-cloudtrail.html
    https://docs.aws.amazon.com/awscloudtrail/latest/userguide/default-kms-key-policy.html
    """
    trails = f"arn:{trail.setup.partition}:cloudtrail:*:{trail.account_id}:trail/*"
    encrypt: JsonObject = {
        "Sid": f"AllowCloudTrailToEncrypt{_whose(trail)}",
        "Effect": "Allow",
        "Principal": {"Service": "cloudtrail.amazonaws.com"},
        "Action": "kms:GenerateDataKey*",
        "Resource": "*",
        "Condition": {
            "StringEquals": {"aws:SourceArn": trail.arn},
            "StringLike": {"kms:EncryptionContext:aws:cloudtrail:arn": trails},
        },
    }
    describe: JsonObject = {
        "Sid": "AllowCloudTrailToDescribe",
        "Effect": "Allow",
        "Principal": {"Service": "cloudtrail.amazonaws.com"},
        "Action": "kms:DescribeKey",
        "Resource": "*",
    }
    decrypt: JsonObject = {
        "Sid": f"AllowCloudTrailToDecrypt{_whose(trail)}",
        "Effect": "Allow",
        "Principal": {"Service": "cloudtrail.amazonaws.com"},
        "Action": "kms:Decrypt",
        "Resource": "*",
        "Condition": {"StringEquals": {"aws:SourceArn": trail.arn}},
    }
    return [encrypt, decrypt, describe]


def _put_into_bucket(trail: Trail, profile: str = "") -> str:
    """Return the command that lets CloudTrail in by the bucket's policy, as it is then."""
    setup = trail.setup
    name = quoted(setup.trail.bucket)
    options = f"--region {setup.trail.bucket_region}{profile}"
    get = f"aws s3api get-bucket-policy --bucket {name} --query Policy --output text {options}"
    return (
        f"policy=$({get} 2>&1) ||\n"
        "{ [[ $policy == *NoSuchBucketPolicy* ]] && policy='{}'; } &&\n"
        f'policy=$(python3 -c {quoted(_PUT_IN)} "$policy" {quoted(_bucket_statements(trail))}) &&\n'
        f'aws s3api put-bucket-policy --bucket {name} --policy "$policy" {options}'
    )


def _put_into_key(trail: Trail, key: str, profile: str = "") -> str:
    """Return the command that lets CloudTrail in by a key's policy, as it is then."""
    options = f"--region {key.split(':')[3]}{profile}"
    policy = f"--key-id {quoted(key)} --policy-name default"
    return (
        f"policy=$(aws kms get-key-policy {policy} --query Policy --output text {options}) &&\n"
        f'policy=$(python3 -c {quoted(_PUT_IN)} "$policy" {quoted(_key_statements(trail))}) &&\n'
        f'aws kms put-key-policy {policy} --policy "$policy" {options}'
    )


# Puts statements into a policy, in place of those with their Sids.
_PUT_IN: Final = """\
import json, sys
policy, new = map(json.loads, sys.argv[1:])
old = policy.get("Statement", [])
old = [each for each in (old if isinstance(old, list) else [old])
       if each.get("Sid") not in [one["Sid"] for one in new]]
print(json.dumps({"Version": "2012-10-17", **policy, "Statement": old + new}))"""


def _moment(text: Any) -> datetime | None:
    try:
        return parse_time(str(text)) if text else None
    except ValueError:
        return None


# --- trail.management-events ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ManagementEvents:
    """What of management events a trail leaves out: sentences' parts; none: it records all."""

    left_out: tuple[str, ...]


def _values(field: Mapping[str, Any], *names: str) -> list[str]:
    return [str(value) for name in names for value in field.get(name) or ()]


def management_events(selectors: Mapping[str, Any]) -> ManagementEvents:
    """Return what selectors leave out of management events.

    An event is recorded where any selector takes it, so each half, reads and writes, is judged by
    the selector that takes most of it. A trail without any records all of them:
    https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_PutEventSelectors.html
    """
    if not selectors.get("EventSelectors") and not selectors.get("AdvancedEventSelectors"):
        return ManagementEvents(())
    halves = {"reads": _taken_by(selectors, "true"), "writes": _taken_by(selectors, "false")}
    if not any(halves.values()):
        return ManagementEvents(("all management events",))
    left_out: list[str] = []
    for half, takers in halves.items():
        if not takers:
            left_out.append(f"all {half}")
        elif all(takers):
            # None takes all of it: what every one of them leaves out is surely left out.
            common = set(takers[0]).intersection(*takers[1:])
            left_out += sorted(common) or [f"some {half}"]
    return ManagementEvents(tuple(dict.fromkeys(left_out)))


def _taken_by(selectors: Mapping[str, Any], read_only: str) -> list[list[str]]:
    """Return for each selector that takes reads (or writes) what it leaves out of them."""
    found: list[list[str]] = []
    for each in selectors.get("EventSelectors") or ():
        kinds = {"true": ("All", "ReadOnly"), "false": ("All", "WriteOnly")}[read_only]
        # Both have their defaults where they are not said.
        if each.get("IncludeManagementEvents", True) and each.get("ReadWriteType", "All") in kinds:
            found.append([
                f"events of {plain(source, 60)}"
                for source in each.get("ExcludeManagementEventSources") or ()
            ])  # fmt: skip
    for each in selectors.get("AdvancedEventSelectors") or ():
        fields = each.get("FieldSelectors") or []
        if not _is_of(fields, "Management"):
            continue
        left_out, takes = [], True
        for one in fields:
            name = one.get("Field")
            if name == "eventCategory":
                continue
            if name == "readOnly":
                takes = takes and read_only in _values(one, "Equals")
            else:
                left_out.append(_restriction(one))
        if takes:
            found.append(left_out)
    return found


def _is_of(fields: Sequence[Mapping[str, Any]], category: str) -> bool:
    return any(
        each.get("Field") == "eventCategory" and category in _values(each, "Equals")
        for each in fields
    )


def _restriction(field: Mapping[str, Any]) -> str:
    """Return what a field of an advanced selector leaves out."""
    name = plain(field.get("Field", ""), 60)
    without = _values(field, "NotEquals", "NotStartsWith", "NotEndsWith")
    only = _values(field, "Equals", "StartsWith", "EndsWith")
    words = []
    if only:
        words.append(f"all but {name} {listed([plain(each, 60) for each in only])}")
    if without:
        shown = listed([plain(each, 60) for each in without])
        words.append(f"events of {shown}" if name == "eventSource" else f"{name} {shown}")
    return "; ".join(words) or f"some by {name}"


def _management_events(trail: Trail, selectors: Mapping[str, Any]) -> Result:
    left_out = management_events(selectors).left_out
    if not left_out:
        return ok("trail.management-events", trail.subject, "all, reads and writes")
    return missing(
        "trail.management-events",
        trail.subject,
        f"The trail leaves out {listed(list(left_out))}.",
        trail.mend(
            trail.command("put-event-selectors", f"--trail-name {trail.arn} {whole(selectors)}"),
            text="It keeps what is recorded of data. AWS asks nothing for the first copy of "
            "management events in each Region.",
        ),
        left_out=list(left_out),
    )


def whole(selectors: Mapping[str, Any]) -> str:
    """Return the option that records all management events, and all else as these selectors do."""
    advanced: list[Any] = list(selectors.get("AdvancedEventSelectors") or ())
    if advanced:
        others = [
            each for each in advanced if not _is_of(each.get("FieldSelectors") or [], "Management")
        ]
        every = {
            "Name": "Management events",
            "FieldSelectors": [{"Field": "eventCategory", "Equals": ["Management"]}],
        }
        return f"--advanced-event-selectors {quoted([every, *others])}"
    basic = [
        {
            "ReadWriteType": each.get("ReadWriteType", "All"),
            "IncludeManagementEvents": False,
            "DataResources": each["DataResources"],
        }
        for each in selectors.get("EventSelectors") or ()
        if each.get("DataResources")
    ]
    first: dict[str, Any] = {
        "ReadWriteType": "All",
        "IncludeManagementEvents": True,
        "DataResources": [],
    }
    if len(basic) == MOST_SELECTORS:
        # No room for one more: the first records reads and writes of its data, too.
        first["DataResources"] = basic.pop(0)["DataResources"]
    return f"--event-selectors {quoted([first, *basic])}"


# --- trail.data-events ----------------------------------------------------------------------------


def data_events(selectors: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Return the resource types whose data events are recorded wholly, and those in part."""
    types: dict[str, bool] = {}

    def note(kind: str, is_whole: bool) -> None:
        types[kind] = types.get(kind, False) or is_whole

    for each in selectors.get("EventSelectors") or ():
        for data in each.get("DataResources") or ():
            kind = str(data.get("Type", ""))
            every = any(_is_all(kind, str(value)) for value in data.get("Values") or ())
            note(kind, every and each.get("ReadWriteType", "All") == "All")
    for each in selectors.get("AdvancedEventSelectors") or ():
        fields = each.get("FieldSelectors") or []
        if not _is_of(fields, "Data"):
            continue
        kinds = [
            kind
            for one in fields
            if one.get("Field") == "resources.type"
            for kind in _values(one, "Equals")
        ]
        is_whole = all(one.get("Field") in {"eventCategory", "resources.type"} for one in fields)
        for kind in kinds:
            note(kind, is_whole)
    return (
        sorted(kind for kind, is_whole in types.items() if is_whole),
        sorted(kind for kind, is_whole in types.items() if not is_whole),
    )


def _is_all(kind: str, value: str) -> bool:
    """Return whether a value of a basic selector stands for all of its type: ``arn:aws:s3``."""
    parts = value.rstrip(":").split(":")
    return len(parts) == 3 and parts[2] == SERVICES.get(kind)


def _data_events(trail: Trail, selectors: Mapping[str, Any]) -> Result:
    whole_types, partly = data_events(selectors)
    services = [SERVICES[kind] for kind in whole_types if kind in SERVICES]
    parts = []
    if whole_types:
        parts.append(f"of every {listed([plain(each, 60) for each in whole_types])}")
    if partly:
        parts.append(f"of some {listed([plain(each, 60) for each in partly])}")
    says = "; ".join(parts) or "none are recorded: Pare keeps what is granted of data"
    if services:
        says += f" (proposals.complete_data_events may name {listed(services)})"
    return ok("trail.data-events", trail.subject, says, whole=whole_types, partly=partly)


# --- trail.route ----------------------------------------------------------------------------------


def judge_route(setup: Setup) -> Result:
    """Say who reads the trail; a trail of Control Tower must be known as one."""
    trail = setup.trail
    name = trail.arn.rpartition("/")[2]
    if name == CONTROL_TOWER_TRAIL and not trail.made_by_control_tower:
        return missing(
            "trail.route",
            name,
            "Control Tower made this trail, and the settings say it did not: Access Analyzer would "
            "be asked, and refuse.",
            Mend(
                "you",
                (deploy("--all"),),
                text="First write `made_by_control_tower: true` under trail in config/pare.yaml.",
            ),
        )
    if trail.made_by_control_tower:
        says = "Pare alone: Access Analyzer does not read trails that Control Tower made"
    elif trail.is_organization_trail:
        says = "Pare every night, and Access Analyzer as a second opinion"
    else:
        says = "Pare every night, and Access Analyzer by each account's own trail"
    told = [says]
    if trail.log_roots != ("AWSLogs/",):
        told.append(f"below {listed(list(trail.log_roots))}")
    if trail.bucket_region != setup.home_region:
        told.append(f"from the bucket's Region, {trail.bucket_region}")
    return ok("trail.route", name, "; ".join(told))
