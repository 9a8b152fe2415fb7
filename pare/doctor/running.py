"""Whether Pare itself runs: stacks, subscriptions, schedules, queues, alarms, last runs."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from pare.clock import format_time, parse_time
from pare.doctor.commands import bring_back, deploy, look_again, quoted
from pare.doctor.deployed_rules import lets_alarms_publish
from pare.doctor.model import Mend, Result, cannot_tell, missing, ok
from pare.message import listed, plain, sentence, several

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from datetime import datetime

    from pare.doctor.deployed_rules import ExpectedAlarm, ExpectedSchedule, ExpectedSubscription
    from pare.doctor.setup import Setup
    from pare.policy.document import JsonObject

OPERATIONS: Final = "docs/operations.md"


def region_stack_name(region: str) -> str:
    """Return the name of the stack of another governed Region."""
    return f"PareRegion-{region}"


# --- running.stacks -------------------------------------------------------------------------------

_WELL: Final = frozenset({"CREATE_COMPLETE", "UPDATE_COMPLETE", "IMPORT_COMPLETE"})
_TAKEN_BACK: Final = frozenset({"UPDATE_ROLLBACK_COMPLETE", "IMPORT_ROLLBACK_COMPLETE"})
_NEVER_MADE: Final = frozenset(
    {"CREATE_FAILED", "ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "REVIEW_IN_PROGRESS"}
)


@dataclass(frozen=True, slots=True)
class Stack:
    """A stack as it is: ``version`` is Pare's that deployed it, empty where it does not say.

    ``build``: what else tells one deployment from another, its settings, where the stack says it.
    """

    name: str
    region: str
    status: str
    reason: str = ""
    version: str = ""
    build: str = ""


def judge_stack(setup: Setup, name: str, region: str, found: Stack | None) -> Result:
    """Judge a stack; None: there is none of that name in the Region."""
    check, subject = "running.stacks", f"{name} ({region})"
    mend = Mend(where="hub", commands=(deploy(name),))
    if found is None:
        return missing(check, subject, f"There is no stack {name} in {region}.", mend)
    because = f": {plain(found.reason, 300)}" if found.reason else ""
    if found.status in _TAKEN_BACK:
        return missing(
            check,
            subject,
            sentence(f"Its last update failed and was taken back, it is {found.status}{because}"),
            Mend(where="hub", commands=(_events(found), deploy(name)),
                 text="The first command says what failed. Mend that, then deploy again."),
        )  # fmt: skip
    if found.status in _NEVER_MADE:
        return missing(
            check,
            subject,
            sentence(f"It was never made, it is {found.status}{because}"),
            Mend(
                where="hub",
                commands=(
                    _events(found),
                    f"aws cloudformation delete-stack --stack-name {name} --region {region}",
                    f"aws cloudformation wait stack-delete-complete --stack-name {name} "
                    f"--region {region}",
                    deploy(name),
                ),
                text="The first command says what failed.",
            ),
        )
    if found.status.endswith("_IN_PROGRESS"):
        return cannot_tell(
            check,
            subject,
            f"CloudFormation is at work on it: {found.status}.",
            look_again("Look again when it is done."),
        )
    if found.status not in _WELL:
        return missing(
            check,
            subject,
            sentence(f"It is {plain(found.status, 60)}{because}"),
            Mend(
                where="hub",
                commands=(
                    _events(found),
                    f"aws cloudformation continue-update-rollback --stack-name {name} "
                    f"--region {region}",
                    deploy(name),
                )
                if found.status == "UPDATE_ROLLBACK_FAILED"
                else (_events(found), deploy(name)),
                text="The first command says what failed.",
            ),
        )
    if found.version and found.version != setup.version:
        return missing(
            check,
            subject,
            f"It is of version {plain(found.version, 40)}, ParePipeline of {setup.version}.",
            Mend(where="hub", commands=("npx cdk deploy --all",)),
        )
    build = f", settings {plain(found.build, 40)}" if found.build else ""
    return ok(check, subject, f"version {plain(found.version or setup.version, 40)}{build}")


def _events(stack: Stack) -> str:
    return (
        f"aws cloudformation describe-stack-events --stack-name {stack.name} "
        f"--region {stack.region} --query "
        "\"StackEvents[?contains(ResourceStatus, 'FAILED')]."
        '[Timestamp,LogicalResourceId,ResourceStatusReason]" --output table'
    )


# --- running.resources ----------------------------------------------------------------------------

# What is looked for, in the words of a person. AWS lists each of them by itself, of the whole
# account and Region, so that nothing has to be asked one by one.
KINDS: Final = {
    "AWS::Lambda::Function": "function",
    "AWS::StepFunctions::StateMachine": "state machine",
    "AWS::SNS::Topic": "topic",
}


def judge_resources(
    kind: str, wanted: Mapping[str, str], there: Collection[str], stack: str
) -> Result:
    """Judge whether what a stack made of a kind is still there.

    ``wanted``: what each is called in the template -> its physical id; ``there``: the physical ids
    of all that the account has of it.
    """
    check, word = "running.resources", KINDS[kind]
    gone = sorted(label for label, each in wanted.items() if each not in there)
    if not gone:
        return ok(check, f"{word}s", several(len(wanted), word), count=len(wanted))
    return missing(check, f"{word}s", _not_there(word, gone, stack), bring_back(stack), gone=gone)


def _not_there(word: str, gone: Sequence[str], stack: str) -> str:
    are = "is" if len(gone) == 1 else "are"
    many = f"1 {word}" if len(gone) == 1 else f"{len(gone):,} {_PLURALS.get(word, f'{word}s')}"
    return f"{many} of {stack} {are} not there: {listed(gone)}."


# What is asked one by one: few, and a key or a table may be there and not usable.
PARTS: Final = {
    "AWS::DynamoDB::GlobalTable": "table",
    "AWS::DynamoDB::Table": "table",
    "AWS::S3::Bucket": "bucket",
    "AWS::KMS::Key": "key",
    "AWS::Events::EventBus": "event bus",
}
_PLURALS: Final = {"event bus": "event buses"}
_ENABLED: Final = "Enabled"


@dataclass(frozen=True, slots=True)
class Part:
    """A table, bucket, key or event bus of a stack as it is; ``physical_id``: what AWS calls it.

    ``state``: of a key its KeyState, ``deleted_at``: when it is to be deleted.
    """

    label: str
    physical_id: str
    is_there: bool = True
    state: str = _ENABLED
    deleted_at: datetime | None = None


def judge_parts(setup: Setup, word: str, parts: Sequence[Part], stack: str) -> Iterator[Result]:
    """Judge the tables, buckets, keys or event buses of a stack; ``word``: which of them."""
    check, words = "running.resources", _PLURALS.get(word, f"{word}s")
    gone = sorted((each for each in parts if not each.is_there), key=lambda each: each.label)
    if gone:
        labels = [each.label for each in gone]
        back = bring_back(stack)
        text = f"{back.text} {_lost_with(setup, word, gone)}".strip()
        mend = Mend("hub", back.commands, text=text, after=_same_name(setup, word, gone))
        yield missing(check, words, _not_there(word, labels, stack), mend, gone=labels)
    asleep = [each for each in parts if each.is_there and each.state != _ENABLED]
    for each in asleep:
        yield _key_asleep(setup, each, stack)
    if parts and not gone and not asleep:
        many = f"1 {word}" if len(parts) == 1 else f"{len(parts):,} {words}"
        yield ok(check, words, many, count=len(parts))


def _lost_with(setup: Setup, word: str, gone: Sequence[Part]) -> str:
    """Return what a deployment does not bring back of what was deleted, and what might.

    DynamoDB keeps a last backup of a deleted table for 35 days where point-in-time recovery was on.
    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/PointInTimeRecovery_Howitworks.html
    """
    match word:
        case "table":
            looks = "; ".join(
                "aws dynamodb list-backups --backup-type SYSTEM --table-name "
                f"{quoted(each.physical_id)} --region {setup.home_region}"
                for each in gone
            )
            return (
                "It comes back empty: its data is gone with it unless it is restored. Pare's "
                "tables have point-in-time recovery on; where nobody switched it off, DynamoDB "
                "keeps a backup of a deleted table for 35 days. So look first, before you deploy: "
                f"{looks}. Where there is one, restore it under the same name (aws dynamodb "
                "restore-table-from-backup), then deploy."
            )
        case "bucket":
            return (
                "It comes back empty: what it held is gone with it, unless somebody has a copy to "
                "restore it from. S3 keeps nothing of a deleted bucket."
            )
        case "key":
            return (
                "It comes back as another key: what was stored with the old one can no longer be "
                "read."
            )
    return ""


def _same_name(setup: Setup, word: str, gone: Sequence[Part]) -> str:
    """Return how to give buckets their names again: a stack that uses one takes no other.

    https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/using-cfn-stack-exports.html
    """
    names = [each.physical_id for each in gone if each.physical_id]
    if word != "bucket" or not names:
        return ""
    commands = "; ".join(
        f"aws s3 mb {quoted(f's3://{name}')} --region {setup.home_region}" for name in names
    )
    return (
        "Where CloudFormation refuses because another stack uses the name it had, make it under "
        f"that name first, then deploy again: {commands}."
    )


def _key_asleep(setup: Setup, key: Part, stack: str) -> Result:
    """Return the result of a key that AWS has and does not use.

    https://docs.aws.amazon.com/kms/latest/developerguide/key-state.html
    """
    check, subject = "running.resources", f"key {key.label}"
    says = f"The key {key.label} of {stack} is {plain(key.state, 60)}"
    named = f"--key-id {quoted(key.physical_id)} --region {setup.home_region}"
    enable, cancel = f"aws kms enable-key {named}", f"aws kms cancel-key-deletion {named}"
    nothing = "Pare can neither read nor write its tables, its evidence and its topics"
    match key.state:
        case "Disabled":
            mend = Mend("hub", (enable,), text="AWS needs some minutes to know of it everywhere.")
            return missing(check, subject, f"{says}: {nothing}.", mend, state=key.state)
        case "PendingDeletion":
            when = f" {_day(key.deleted_at)}" if key.deleted_at else ""
            mend = Mend(
                "hub",
                (cancel, enable),
                text=f"Before it is deleted{when}: then everything that is stored with it is lost. "
                "The first command leaves the key disabled, the second switches it on.",
            )
            return missing(
                check,
                subject,
                f"{says}, it will be deleted{when}: {nothing}, and everything stored with it is "
                "lost after it.",
                mend,
                state=key.state,
            )
    mend = Mend(
        "hub",
        (f"aws kms describe-key {named}",),
        text="This says what AWS has of it. See "
        "https://docs.aws.amazon.com/kms/latest/developerguide/key-state.html.",
    )
    return missing(check, subject, f"{says}.", mend, state=key.state)


def judge_concurrency(
    setup: Setup,
    names: Mapping[str, str],
    wanted: Mapping[str, int],
    found: Mapping[str, int | None],
) -> Result:
    """Judge whether functions may run: reserved concurrency of 0 keeps one from it, and stays.

    ``names``: what each function is called in the template -> its name; ``wanted``: what the
    template reserves, where it does; ``found``: what is reserved, None: nothing.
    """
    check, subject = "running.resources", "reserved concurrency"
    says, commands = [], []
    for label, reserved in sorted(found.items()):
        options = f"--function-name {quoted(names[label])} --region {setup.home_region}"
        should = wanted.get(label)
        if should is None and reserved == 0:
            says.append(f"{label} (0)")
            commands.append(f"aws lambda delete-function-concurrency {options}")
        elif should is not None and reserved != should:
            has = "none" if reserved is None else reserved
            says.append(f"{label} ({has}, not {should})")
            commands.append(
                f"aws lambda put-function-concurrency {options} "
                f"--reserved-concurrent-executions {should}"
            )
    if not says:
        return ok(check, subject, "it keeps no function from running", count=len(found))
    what = several(len(says), "function")
    return missing(
        check,
        subject,
        f"The reserved concurrency of {what} was set by hand: {listed(says)}. With 0 AWS refuses "
        "every call of a function, and that does not pass.",
        Mend(
            "hub",
            tuple(commands),
            text="This sets it back. A deployment would not: the template reserves none."
            if not wanted
            else "This sets it back.",
        ),
    )


# --- running.subscriptions ------------------------------------------------------------------------

PENDING: Final = "PendingConfirmation"


@dataclass(frozen=True, slots=True)
class Subscription:
    """A subscription of a topic; ``arn`` is no ARN before somebody confirmed it.

    ``filter``: its filter policy, empty where it lets everything through; None where AWS did not
    tell it, ``unread`` says why. ``scope``: what the filter looks at.
    """

    protocol: str
    endpoint: str
    arn: str
    filter: JsonObject | None = field(default_factory=dict)
    scope: str = "MessageAttributes"
    unread: str = ""

    @property
    def is_confirmed(self) -> bool:
        return self.arn.startswith("arn:")


def judge_subscriptions(
    setup: Setup,
    topics: Mapping[str, tuple[str, Sequence[Subscription]]],
    deployed: Sequence[ExpectedSubscription] = (),
) -> Iterator[Result]:
    """Judge who hears of findings; ``topics``: name -> its ARN and its subscriptions.

    The topics: ``People``, ``Chat``, and ``Alarms`` where there is one. Each address is looked for
    on each topic on which the stack subscribes it. ``deployed``: the template's subscriptions.
    """
    check = "running.subscriptions"
    own = {(each.topic, each.endpoint.lower()): each for each in deployed}
    expected = {"People": setup.emails, "Alarms": setup.alarm_emails or ()}
    hears = False
    for name, (topic_arn, found) in topics.items():
        hears = hears or any(each.is_confirmed for each in found if name in {"People", "Chat"})
        wanted = {each.lower() for each in expected.get(name, ())}
        # Where alarms have a topic of their own, the stack gives filters on the other one.
        has_filters = name == "People" and "Alarms" in topics
        for each in sorted(found, key=lambda one: (one.endpoint, one.arn)):
            subject = f"{plain(each.endpoint, 200)} ({name})"
            if each.is_confirmed:
                yield _judge_filter(setup, name, each, own.get((topic_arn, each.endpoint.lower())))
            elif each.arn == PENDING:
                yield missing(
                    check,
                    subject,
                    f"{plain(each.endpoint, 200)} did not confirm the subscription of the topic "
                    f"{name} yet.",
                    _confirm(
                        setup, topic_arn, each,
                        is_own=each.endpoint.lower() in wanted, has_filters=has_filters,
                    ),
                )  # fmt: skip
        there = {
            each.endpoint.lower() for each in found if each.is_confirmed or each.arn == PENDING
        }
        for email in expected.get(name, ()):
            if email.lower() not in there:
                yield missing(
                    check,
                    f"{plain(email, 200)} ({name})",
                    f"{plain(email, 200)} is in the settings and not subscribed to the topic "
                    f"{name}: it was never confirmed, or the person unsubscribed.",
                    _subscribe_again(setup, topic_arn, email, has_filters=has_filters),
                )
    for name, emails in expected.items():
        if emails and name not in topics:
            yield missing(check, name, f"There is no topic {name}.", bring_back("ParePipeline"))
    if "Alarms" in topics and setup.alarm_emails is None:
        yield cannot_tell(
            check,
            "Alarms",
            "The deployed Pare does not say who has to hear of alarms: it is older than the "
            "doctor.",
            Mend(where="hub", commands=("npx cdk deploy --all",)),
        )
    if not hears and not setup.emails:
        yield missing(
            check,
            "",
            "Nobody is subscribed, neither by mail nor in a chat channel.",
            Mend(
                where="you",
                commands=("npx cdk deploy ParePipeline",),
                text="First write addresses into notifications.people_emails of config/pare.yaml; "
                "or join a chat channel to the topic Chat (docs/findings.md).",
            ),
        )
    elif unheard := _unheard(setup, topics, deployed):
        yield ok(check, "", f"nobody gets {unheard}")


def _judge_filter(
    setup: Setup, name: str, found: Subscription, wanted: ExpectedSubscription | None
) -> Result:
    """Judge what reaches who is subscribed; ``wanted``: None where the stack did not subscribe it.

    Whoever subscribes somebody by hand gives the filter that is meant.
    """
    check, address = "running.subscriptions", plain(found.endpoint, 200)
    subject = f"{address} ({name})"
    if found.filter is None and wanted is not None:
        return cannot_tell(
            check,
            subject,
            f"AWS did not tell what reaches {address}: {sentence(plain(found.unread, 400))}",
            Mend(
                where="you",
                commands=("pare doctor --only running",),
                text="Your credentials need the right to read it; throttling passes by itself.",
            ),
        )
    if found.filter is None:
        return ok(check, subject, f"{subject}: confirmed")
    if wanted is None or _filter_of(found) == _filter_of(wanted):
        return ok(check, subject, f"{subject}: {_reached_by(found.filter)}")
    # An empty policy takes a filter away.
    # https://docs.aws.amazon.com/sns/latest/dg/message-filtering-apply.html
    values = {"FilterPolicy": quoted(wanted.filter)}
    if wanted.filter and found.scope != wanted.scope:
        values["FilterPolicyScope"] = quoted(wanted.scope)
    return missing(
        check,
        subject,
        f"{subject} gets {_let_through(found)}, not {_let_through(wanted)}.",
        Mend(
            where="hub",
            commands=tuple(
                f"aws sns set-subscription-attributes --subscription-arn {quoted(found.arn)} "
                f"--attribute-name {key} --attribute-value {value} --region {setup.home_region}"
                for key, value in values.items()
            ),
            text="Somebody changed the filter: this sets the template's again.",
        ),
    )


def _filter_of(subscription: Subscription | ExpectedSubscription) -> tuple[JsonObject, str]:
    policy = subscription.filter or {}
    return policy, subscription.scope if policy else ""


def _let_through(subscription: Subscription | ExpectedSubscription) -> str:
    if not subscription.filter:
        return "everything"
    text = plain(json.dumps(subscription.filter, separators=(",", ":")), 300)
    scope = plain(subscription.scope, 40)
    on = "" if scope == "MessageAttributes" else f" on {scope}"
    return f"only what the filter {text}{on} lets through"


def _reached_by(policy: JsonObject) -> str:
    if not policy:
        return "everything"
    if "owner" in policy:
        return "only what is theirs (filter)"
    return "all but what is for owners alone" if _is_for_all(policy) else "what its filter takes"


def _is_for_all(policy: JsonObject | None) -> bool:
    """Return whether a filter takes what names no owner; None: nobody knows."""
    return not policy or (policy.keys() == {"audience"} and "security" in str(policy["audience"]))


def _unheard(
    setup: Setup,
    topics: Mapping[str, tuple[str, Sequence[Subscription]]],
    deployed: Sequence[ExpectedSubscription],
) -> str:
    """Return what nobody is subscribed to; empty: somebody is, or nobody knows.

    Settings may want it so. Who has not confirmed yet, or has to be subscribed again, counts.
    """
    filters: dict[str, list[JsonObject | None]] = {}
    for name, emails in (
        ("People", setup.emails), ("Chat", ()), ("Alarms", setup.alarm_emails or ()),
    ):  # fmt: skip
        arn, found = topics.get(name, ("", ()))
        meant: dict[str, JsonObject | None] = {each.lower(): None for each in emails}
        for each in found:
            if each.is_confirmed or each.arn == PENDING:
                meant[each.endpoint.lower()] = each.filter if each.is_confirmed else None
        meant |= {each.endpoint.lower(): each.filter for each in deployed if each.topic == arn}
        filters[name] = list(meant.values())
    told = any(_is_for_all(each) for each in (*filters["People"], *filters["Chat"]))
    # An alarm has no attributes: no filter takes it. And none goes into the chat.
    alarmed = any(not each for each in (*filters["People"], *filters["Alarms"]))
    if "Alarms" in topics and setup.alarm_emails is None:
        alarmed = True
    if told:
        return "" if alarmed else "alarms"
    return f"{'' if alarmed else 'alarms, '}failures and digests that name no owner"


def _confirm(
    setup: Setup, topic_arn: str, subscription: Subscription, *, is_own: bool, has_filters: bool
) -> Mend:
    """Return what confirms a subscription; ``is_own``: the stack made it.

    A subscription that nobody confirmed is gone after two days. Made anew by a bare command it has
    no filter: whoever is for one owner's digest alone would get everybody's.
    """
    address = plain(subscription.endpoint, 200)
    text = f"Open the mail of AWS Notifications to {address} and follow its link."
    if is_own and has_filters:
        return Mend(
            where="hub",
            commands=bring_back("ParePipeline").commands,
            text=f"{text} It is good for two days. When they are over, this subscribes the address "
            "anew, with its filter, and there is a new mail.",
        )
    text += " Where it is lost or older than two days, this sends it again."
    if has_filters:
        text += " A filter that somebody gave the subscription is then to be given again."
    return Mend(where="hub", commands=(_subscribe(setup, topic_arn, subscription),), text=text)


def _subscribe_again(setup: Setup, topic_arn: str, email: str, *, has_filters: bool) -> Mend:
    """Return what subscribes an address that is not there; with filters only the template can."""
    command = _subscribe(setup, topic_arn, Subscription("email", email, ""))
    if has_filters:
        command = bring_back("ParePipeline").commands[0]
    return Mend(
        where="hub",
        commands=(command,),
        text="Then open the mail of AWS Notifications and follow its link. Who does not want it "
        "any more is taken out of config/pare.yaml.",
    )


def _subscribe(setup: Setup, topic_arn: str, subscription: Subscription) -> str:
    return (
        f"aws sns subscribe --topic-arn {topic_arn} --protocol {quoted(subscription.protocol)} "
        f"--notification-endpoint {quoted(plain(subscription.endpoint, 500))} "
        f"--region {setup.home_region}"
    )


# --- running.schedules ----------------------------------------------------------------------------


def schedule_name(construct_id: str) -> str:
    """Return what a schedule is called: ``Inventory`` of ``EventSourcesInventorySchedule``."""
    return construct_id.removeprefix("EventSources").removesuffix("Schedule")


def judge_schedule(
    setup: Setup,
    construct_id: str,
    wanted: ExpectedSchedule | None,
    found: Mapping[str, Any] | None,
    *,
    now: datetime,
) -> Result:
    """Judge a schedule, as GetSchedule returns it; None: it is not there.

    ``wanted``: what the deployed template has of it; None: nothing, or nobody knows.
    """
    check, name = "running.schedules", schedule_name(construct_id)
    the = f"The schedule {name}"
    if found is None:
        return missing(check, name, f"{the} is not there.", bring_back("ParePipeline"))
    if not found.get("Target", {}).get("Arn"):
        return missing(check, name, f"{the} has no target.", bring_back("ParePipeline"))
    differs = _schedule_differs(wanted, found) if wanted else []
    if wanted and differs:
        says = f"{the} is not that of the template: {'; '.join(differs)}."
        return missing(check, name, says, _set_schedule_back(setup, wanted, found))
    sleeps = _schedule_sleeps(found, now)
    if sleeps:
        mend = Mend(where="hub", commands=(_update_schedule(setup, found),))
        return missing(check, name, f"{the} {sleeps}.", mend)
    if wanted is None or None in (wanted.target, wanted.expression, wanted.time_zone):
        return cannot_tell(
            check,
            name,
            f"{the} is on; what it should start, and when, the deployed template does not tell.",
            Mend(where="hub", commands=("npx cdk deploy --all",)),
        )
    return ok(check, name, plain(found.get("ScheduleExpression", ""), 60))


def _schedule_differs(wanted: ExpectedSchedule, found: Mapping[str, Any]) -> list[str]:
    """Return in what a schedule is not that of the template; what is not known does not differ."""
    differs = []
    target, runs = found["Target"]["Arn"], found.get("ScheduleExpression", "")
    if wanted.target is not None and target != wanted.target:
        differs.append(f"it starts {plain(target, 300)}, not {plain(wanted.target, 300)}")
    if wanted.expression is not None and runs != wanted.expression:
        differs.append(f"it runs at {plain(runs, 100)}, not at {plain(wanted.expression, 100)}")
    zone = found.get("ScheduleExpressionTimezone") or "UTC"
    if wanted.time_zone is not None and _zone(zone) != _zone(wanted.time_zone):
        differs.append(f"its time zone is {plain(zone, 60)}, not {plain(wanted.time_zone, 60)}")
    given = found["Target"].get("Input", "")
    if wanted.input is not None and _parsed(given) != _parsed(wanted.input):
        differs.append(f"its input is {plain(given, 200) or 'empty'}, not {wanted.input}")
    return differs


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _set_schedule_back(setup: Setup, wanted: ExpectedSchedule, found: Mapping[str, Any]) -> Mend:
    """Return what makes a schedule the template's again."""
    target = {**found["Target"]}
    if wanted.target is not None:
        target["Arn"] = wanted.target
    if wanted.input is not None:
        target["Input"] = wanted.input
    changes: dict[str, Any] = {"Target": target}
    if wanted.expression is not None:
        changes["ScheduleExpression"] = wanted.expression
    if wanted.time_zone is not None:
        changes["ScheduleExpressionTimezone"] = wanted.time_zone
    back = bring_back("ParePipeline")
    return Mend(
        where=back.where,
        commands=(*back.commands, _update_schedule(setup, {**found, **changes})),
        text=f"{back.text} Where that changes nothing, the second command sets this one back.",
    )


def _update_schedule(setup: Setup, schedule: Mapping[str, Any]) -> str:
    """Return the command that makes a schedule what is given, and switches it on.

    UpdateSchedule takes the whole schedule; what is left out would be lost.
    https://docs.aws.amazon.com/scheduler/latest/APIReference/API_UpdateSchedule.html
    """
    whole = {key: schedule[key] for key in _OF_A_SCHEDULE if schedule.get(key) is not None}
    return (
        f"aws scheduler update-schedule --region {setup.home_region} "
        f"--cli-input-json {quoted({**whole, 'State': 'ENABLED'})}"
    )


def _zone(name: str) -> str:
    return "UTC" if name == "Etc/UTC" else name


def _schedule_sleeps(found: Mapping[str, Any], now: datetime) -> str:
    """Return why a schedule starts nothing, now or one day; empty: it does. Pare's have no end."""
    if found.get("State", "ENABLED") != "ENABLED":
        return "is switched off"
    begins, ends = (
        parse_time(found[each]) if found.get(each) else None for each in ("StartDate", "EndDate")
    )
    if ends:
        return f"{'ended' if ends <= now else 'will end'} {_day(ends)}"
    return f"starts nothing before {_moment(begins)}" if begins and begins > now else ""


# Without StartDate and EndDate: Pare's schedules have none.
_OF_A_SCHEDULE: Final = (
    "Name", "GroupName", "ScheduleExpression", "ScheduleExpressionTimezone", "Description",
    "FlexibleTimeWindow", "KmsKeyArn", "ActionAfterCompletion", "Target",
)  # fmt: skip


# --- running.dead-letters -------------------------------------------------------------------------

# What to do about what waits there, before it is thrown away; docs/operations.md has more.
_LETTERS: Final = {
    "FindingDeadLetters": "Events of Access Analyzer. The next reconcile brings their findings in "
    "by itself, or now: pare findings reconcile --wait.",
    "ScheduleDeadLetters": "Starts of workflows. Start those again: the message's target names the "
    "workflow, its body is the input. Notification and Reconcile need it not.",
    "MessageDeadLetters": "Mails that SNS could not deliver. What they told is in pare findings "
    "list; see to the address.",
    "RegionDeadLetters": "Events that could not be forwarded to the hub bus. The next reconcile "
    "brings their findings in by itself, or now: pare findings reconcile --wait. ERROR_MESSAGE "
    "says why.",
}


def judge_queue(name: str, region: str, url: str, waiting: int | None) -> Result:
    """Judge a dead-letter queue by how many messages wait in it; None: it is not there."""
    check, subject = "running.dead-letters", f"{name} ({region})"
    if waiting is None:
        stack = "ParePipeline" if name != "RegionDeadLetters" else region_stack_name(region)
        return missing(check, subject, f"There is no queue {name} in {region}.", bring_back(stack))
    if not waiting:
        return ok(check, subject, "empty", waiting=0)
    return missing(
        check,
        subject,
        f"{several(waiting, 'message')} {'waits' if waiting == 1 else 'wait'} there to be seen to.",
        Mend(
            where="hub",
            commands=(
                f"aws sqs receive-message --queue-url {url} --region {region} "
                "--max-number-of-messages 10 --visibility-timeout 0 "
                "--attribute-names All --message-attribute-names All",
                f"aws sqs purge-queue --queue-url {url} --region {region}",
            ),
            text=f"{_LETTERS[name]} The first command shows what waits and why. The second throws "
            "all messages of the queue away, for good: run it when they were seen to "
            f"({OPERATIONS}, 'A dead-letter queue is not empty').",
        ),
        waiting=waiting,
    )


# --- running.alarms -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Alarm:
    """An alarm as it is; ``actions``: whom it tells; ``measures``: all that AWS says of it."""

    name: str
    state: str
    has_actions_on: bool
    actions: tuple[str, ...]
    description: str = ""
    reason: str = ""
    measures: Mapping[str, Any] = field(default_factory=dict)


def judge_alarms(
    setup: Setup,
    wanted: Mapping[str, str],
    found: Mapping[str, Alarm],
    deployed: Mapping[str, ExpectedAlarm] | None = None,
) -> Iterator[Result]:
    """Judge the alarms; ``wanted``: what each is called in the template -> its real name.

    ``deployed``: what the template says of each; what it does not tell is not compared.
    """
    check, deployed = "running.alarms", deployed or {}
    gone = sorted(label for label, name in wanted.items() if name not in found)
    if gone:
        says = f"{listed(gone)} {'is' if len(gone) == 1 else 'are'} not there."
        yield missing(check, listed(gone), says, bring_back("ParePipeline"))
    there = {label: found[name] for label, name in sorted(wanted.items()) if name in found}
    silent = [label for label, alarm in there.items() if not alarm.actions]
    astray = {
        label: others
        for label, alarm in there.items()
        if label not in silent
        and (others := [
            each for each in (deployed[label].actions if label in deployed else ())
            if each not in alarm.actions
        ])
    }  # fmt: skip
    differs = {
        label: words
        for label, alarm in there.items()
        if label in deployed and (words := _alarm_differs(deployed[label], alarm))
    }
    off = [label for label, alarm in there.items() if not alarm.has_actions_on]
    if silent:
        names = listed(silent)
        says = f"{names} {'tells' if len(silent) == 1 else 'tell'} nobody."
        yield missing(check, names, says, bring_back("ParePipeline"))
    if astray:
        names = listed(list(astray))
        others = sorted({arn for arns in astray.values() for arn in arns})
        does = "does" if len(astray) == 1 else "do"
        says = f"{names} {does} not tell {listed(others)}, as the template has it."
        yield missing(check, names, says, bring_back("ParePipeline"))
    if differs:
        names = listed(list(differs))
        does = "looks" if len(differs) == 1 else "look"
        told = [f"{label}: {words}" for label, words in differs.items()]
        if len(differs) == 1:
            told = list(differs.values())
        says = f"{names} {does} for something else than in the template: {listed(told)}."
        yield missing(check, names, says, bring_back("ParePipeline"))
    if off:
        names = listed(off)
        has, its = ("has", "its") if len(off) == 1 else ("have", "their")
        options = " ".join(quoted(wanted[label]) for label in off)
        yield missing(
            check,
            names,
            f"{names} {has} {its} actions switched off.",
            Mend(
                where="hub",
                commands=(
                    f"aws cloudwatch enable-alarm-actions --region {setup.home_region} "
                    f"--alarm-names {options}",
                ),
            ),
        )
    for label, name in sorted(wanted.items()):
        alarm = found.get(name)
        is_well = not any(label in each for each in (silent, astray, differs, off))
        if alarm is None or not (is_well or label in astray or label in differs):
            continue
        if alarm.state != "ALARM":
            if is_well:
                yield ok(check, label, "on")
            continue
        yield missing(
            check,
            label,
            sentence(f"It rings: {plain(alarm.reason or alarm.description, 300)}"),
            Mend(
                where="hub",
                commands=(
                    f"aws cloudwatch describe-alarm-history --alarm-name {quoted(name)} "
                    f"--history-item-type StateUpdate --max-items 5 --region {setup.home_region}",
                ),
                text=f"{plain(alarm.description, 300)} It falls silent by itself five minutes "
                "after its cause is gone.",
            ),
        )


def _alarm_differs(wanted: ExpectedAlarm, found: Alarm) -> str:
    """Return in what an alarm is not the template's, ``Threshold 99, not 1``; empty: in nothing."""
    return ", ".join(
        f"{key} {plain(_measure(found.measures.get(key)), 200)}, not {plain(_measure(each), 200)}"
        for key, each in wanted.measures.items()
        if _measure(found.measures.get(key)) != _measure(each)
    )


def _measure(value: Any) -> str:
    """Return a value of an alarm as text: CloudWatch has numbers as floats, the template not."""
    if value is None:
        return "none"
    if isinstance(value, list):  # dimensions
        pairs = sorted(f"{each.get('Name')}={each.get('Value')}" for each in value)
        return " ".join(pairs) or "none"
    try:
        return f"{float(value):.12g}"
    except (TypeError, ValueError):
        return str(value)


def judge_topic_policy(name: str, policy: Any) -> Result | None:
    """Judge the policy of a topic to which alarms go; None: it lets them publish."""
    statements = policy.get("Statement", []) if isinstance(policy, dict) else []
    each_one = [statements] if isinstance(statements, dict) else statements
    if any(map(lets_alarms_publish, each_one)):
        return None
    return missing(
        "running.alarms",
        f"topic {name}",
        f"The policy of the topic {name} lets no alarm publish: none reaches anybody through it.",
        bring_back("ParePipeline"),
    )


# --- running.workflows ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Workflow:
    """A workflow that a schedule starts, how often it must succeed, and how it is started."""

    name: str
    within: timedelta
    words: str
    command: str  # may have {arn}, {region} and {now}


WORKFLOWS: Final = (
    # A month, and what a run may take.
    Workflow("Inventory", timedelta(days=33), "every month", "pare inventory run --wait"),
    Workflow(
        "Activity",
        timedelta(hours=36),
        "every day",
        "aws stepfunctions start-execution --state-machine-arn {arn} --region {region} "
        '--input \'{{"scheduled_at":"{now}"}}\'',
    ),
    Workflow("Reconcile", timedelta(hours=36), "every day", "pare findings reconcile --wait"),
    Workflow("Notification", timedelta(hours=3), "every hour", "pare findings tell --wait"),
)


@dataclass(frozen=True, slots=True)
class Runs:
    """What is known of a workflow's executions: when one last succeeded, and the latest of all."""

    succeeded_at: datetime | None = None
    last_status: str = ""
    last_at: datetime | None = None
    last_arn: str = ""


def judge_workflow(
    setup: Setup,
    workflow: Workflow,
    arn: str,
    runs: Runs,
    *,
    now: datetime,
    deployed_at: datetime | None,
) -> Result:
    """Judge whether a workflow succeeded lately; a new deployment has not run all of them yet."""
    check, name = "running.workflows", workflow.name
    if runs.succeeded_at and now - runs.succeeded_at <= workflow.within:
        if runs.last_status in {"FAILED", "TIMED_OUT", "ABORTED"}:
            return missing(
                check, name,
                f"Its latest run {runs.last_status.lower().replace('_', ' ')} "
                f"({_day(runs.last_at)}); it succeeded last {_day(runs.succeeded_at)}.",
                _start(setup, workflow, arn, runs, now),
            )  # fmt: skip
        return ok(check, name, f"{name} {_day(runs.succeeded_at)}")
    if runs.last_status == "RUNNING":
        return cannot_tell(
            check, name, f"Its run of {_day(runs.last_at)} is not done yet.",
            look_again("Look again when it is done."),
        )  # fmt: skip
    if runs.last_status:
        ended = runs.last_status.lower().replace("_", " ")
        says = f"Its latest run {ended} ({_day(runs.last_at)}); it runs {workflow.words}."
        if runs.last_status == "SUCCEEDED":
            says = f"It succeeded last {_day(runs.succeeded_at)}; it runs {workflow.words}."
        return missing(check, name, says, _start(setup, workflow, arn, runs, now))
    if deployed_at and now - deployed_at <= workflow.within:
        return ok(check, name, f"not due yet, Pare was deployed {_day(deployed_at)}")
    return missing(
        check,
        name,
        f"It never ran; it runs {workflow.words}.",
        _start(setup, workflow, arn, runs, now),
    )


def _start(setup: Setup, workflow: Workflow, arn: str, runs: Runs, now: datetime) -> Mend:
    start = workflow.command.format(
        arn=arn, region=setup.home_region, now=format_time(now.replace(microsecond=0))
    )
    if runs.last_arn and runs.last_status not in {"", "SUCCEEDED"}:
        why = (
            f"aws stepfunctions describe-execution --execution-arn {runs.last_arn} "
            f"--region {setup.home_region} --query '[error,cause]'"
        )
        return Mend(
            where="hub",
            commands=(why, start),
            text="The first command says why it failed; the second starts it anew.",
        )
    return Mend(where="hub", commands=(start,), text="This starts it now.")


def _day(moment: datetime | None) -> str:
    return f"on {_moment(moment)}" if moment else "never"


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d at %H:%M} UTC"
