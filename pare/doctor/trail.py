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
from pare.doctor.commands import deploy, look_again, quoted
from pare.doctor.elsewhere import reading_mend, said, where_of
from pare.doctor.model import Mend, Result, cannot_tell, missing, ok
from pare.message import listed, plain, several

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pare.doctor.answers import Failure, TrailAnswer
    from pare.doctor.setup import Setup
    from pare.policy.document import JsonObject

# CloudTrail delivers about every five minutes (facts §7); a trail of an organization is never so
# long without a call.
LATE_HOURS: Final = 6
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
    yield (
        _logging(trail, status["value"], now)
        if status["ok"]
        else trail.unknown("trail.logging", status)
    )
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
    prefix = _prefix(setup)
    options = [
        f"--name {quoted(trail.name)}",
        f"--s3-bucket-name {quoted(setup.trail.bucket)}",
        *([f"--s3-key-prefix {quoted(prefix)}"] if prefix else []),
        *([f"--kms-key-id {key}"] if (key := next(iter(setup.trail.kms_key_arns), "")) else []),
        "--is-multi-region-trail",
        *(["--is-organization-trail"] if setup.trail.is_organization_trail else []),
    ]
    return missing(
        "trail.exists",
        trail.subject,
        says,
        trail.mend(
            trail.command("create-trail", " ".join(options)),
            trail.command("start-logging", f"--name {trail.arn}"),
            text="If there is a trail already, do not create a second: `aws cloudtrail "
            "describe-trails` shows its ARN; write it as trail.arn into config/pare.yaml and "
            "deploy. A new trail has no past: what is older stays unknown.",
        ),
    )


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
            Mend(
                "you",
                (deploy("--all"),),
                text=f"First write `bucket: {plain(bucket, 63)}` under trail in config/pare.yaml. "
                f"The bucket needs Pare's statements too: {change}.",
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
        return missing(
            check,
            trail.subject,
            f"The trail is too narrow: {'; '.join(faults)}.",
            trail.mend(
                trail.command("update-trail", f"--name {trail.arn} {' '.join(options)}"),
                text="What was not recorded until then stays unknown.",
            ),
        )
    accounts = "of every account" if found.get("IsOrganizationTrail") else "of its account"
    return ok(check, trail.subject, f"every Region {accounts}")


# --- trail.logging --------------------------------------------------------------------------------


def _logging(trail: Trail, status: Mapping[str, Any], now: datetime) -> Result:
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
            _delivery_mend(trail, error, show),
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
        says = f"the last log file came at {status['LatestDeliveryTime']}" if last else "none came"
        return missing(
            check,
            trail.subject,
            f"It is on, and for over {LATE_HOURS} hours no log file came: {says}.",
            trail.mend(
                show,
                text="CloudTrail tells of no error. Look at the AWS Health Dashboard of its "
                "Region; where it has nothing, open a case with AWS.",
            ),
        )
    return ok(check, trail.subject, f"on; the last log file came at {status['LatestDeliveryTime']}")


def _delivery_mend(trail: Trail, error: str, show: str) -> Mend:
    setup = trail.setup
    bucket = f"arn:{setup.partition}:s3:::{setup.trail.bucket}"
    link = "https://docs.aws.amazon.com/awscloudtrail/latest/userguide/"
    archive = where_of(setup, setup.log_archive_account_id)
    if "KMS" in error.upper():
        key: JsonObject = {
            "Sid": "AllowCloudTrailToEncrypt",
            "Effect": "Allow",
            "Principal": {"Service": "cloudtrail.amazonaws.com"},
            "Action": ["kms:GenerateDataKey*", "kms:DescribeKey"],
            "Resource": "*",
            "Condition": {"StringEquals": {"aws:SourceArn": trail.arn}},
        }
        return Mend(
            archive,
            (),
            key,
            "CloudTrail must be let in by the policy of the trail's key: add the statement to it "
            f"({link}create-kms-key-policy-for-cloudtrail.html). Then: {show}",
        )
    owner = setup.organization_id if setup.trail.is_organization_trail else trail.account_id
    resources = [f"{bucket}/{root}{each}/*" for root in setup.trail.log_roots[:1]
                 for each in dict.fromkeys((trail.account_id, owner))]  # fmt: skip
    # Account trails have a statement each in the one bucket's policy.
    whose = "" if setup.trail.is_organization_trail else trail.account_id
    look: JsonObject = {
        "Sid": f"AllowCloudTrailToLook{whose}",
        "Effect": "Allow",
        "Principal": {"Service": "cloudtrail.amazonaws.com"},
        "Action": "s3:GetBucketAcl",
        "Resource": bucket,
        "Condition": {"StringEquals": {"aws:SourceArn": trail.arn}},
    }
    write: JsonObject = {
        "Sid": f"AllowCloudTrailToWrite{whose}",
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
    name, region = quoted(setup.trail.bucket), setup.trail.bucket_region
    get = f"aws s3api get-bucket-policy --bucket {name} --query Policy --output text"
    return Mend(
        archive,
        (
            f"policy=$({get} --region {region} 2>&1) ||\n"
            "{ [[ $policy == *NoSuchBucketPolicy* ]] && policy='{}'; } &&\n"
            f'python3 -c {quoted(_PUT_IN)} "$policy" {quoted([look, write])} '
            "> pare-bucket-policy.json &&\n"
            f"aws s3api put-bucket-policy --bucket {name} --policy file://pare-bucket-policy.json "
            f"--region {region}",
        ),
        write,
        "The bucket must be there, and its policy let CloudTrail look at it and write: this adds "
        "CloudTrail's two statements to the policy as it is then "
        f"({link}create-s3-bucket-policy-for-cloudtrail.html). Where it has both, a Deny "
        "statement keeps CloudTrail out.",
    )


# Puts statements into a policy, in place of those with their Sids.
_PUT_IN: Final = """\
import json, sys
policy, new = map(json.loads, sys.argv[1:])
old = policy.get("Statement", [])
old = [each for each in (old if isinstance(old, list) else [old])
       if each.get("Sid") not in [one["Sid"] for one in new]]
print(json.dumps({"Version": "2012-10-17", **policy, "Statement": old + new}, indent=2))"""


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
