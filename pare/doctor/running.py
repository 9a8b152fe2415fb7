"""Whether Pare itself runs: stacks, subscriptions, schedules, queues, alarms, last runs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from pare.clock import format_time, parse_time
from pare.doctor.commands import bring_back, deploy, look_again, quoted
from pare.doctor.model import Mend, Result, cannot_tell, missing, ok
from pare.message import listed, plain, sentence, several

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from datetime import datetime

    from pare.doctor.deployed_rules import ExpectedSchedule
    from pare.doctor.setup import Setup

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
    return missing(
        check,
        f"{word}s",
        f"{several(len(gone), word)} of {stack} {'is' if len(gone) == 1 else 'are'} not there: "
        f"{listed(gone)}.",
        bring_back(stack),
        gone=gone,
    )


# --- running.subscriptions ------------------------------------------------------------------------

PENDING: Final = "PendingConfirmation"


@dataclass(frozen=True, slots=True)
class Subscription:
    """A subscription of a topic; ``arn`` is no ARN before somebody confirmed it."""

    protocol: str
    endpoint: str
    arn: str

    @property
    def is_confirmed(self) -> bool:
        return self.arn.startswith("arn:")


def judge_subscriptions(
    setup: Setup, topics: Mapping[str, tuple[str, Sequence[Subscription]]]
) -> Iterator[Result]:
    """Judge who hears of findings; ``topics``: name -> its ARN and its subscriptions.

    The topics: ``People``, ``Chat``, and ``Alarms`` where there is one. Each address is looked for
    on each topic on which the stack subscribes it.
    """
    check = "running.subscriptions"
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
                yield ok(check, subject, "confirmed")
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
    if differs:
        says = f"{the} is not that of the template: {'; '.join(differs)}."
        return missing(check, name, says, bring_back("ParePipeline"))
    sleeps = _schedule_sleeps(found, now)
    if sleeps:
        # UpdateSchedule takes the whole schedule; what is left out would be lost.
        # https://docs.aws.amazon.com/scheduler/latest/APIReference/API_UpdateSchedule.html
        whole = {key: found[key] for key in _OF_A_SCHEDULE if found.get(key) is not None}
        return missing(
            check,
            name,
            f"{the} {sleeps}.",
            Mend(
                where="hub",
                commands=(
                    f"aws scheduler update-schedule --region {setup.home_region} "
                    f"--cli-input-json {quoted({**whole, 'State': 'ENABLED'})}",
                ),
            ),
        )
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
    return differs


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
        f"{several(waiting, 'message')} {'waits' if waiting == 1 else 'wait'} in {name}.",
        Mend(
            where="hub",
            commands=(
                f"aws sqs receive-message --queue-url {url} --region {region} "
                "--max-number-of-messages 10 --visibility-timeout 0 "
                "--attribute-names All --message-attribute-names All",
            ),
            text=f"{_LETTERS[name]} The command shows what waits and why. When it was seen to "
            f"({OPERATIONS}, 'A dead-letter queue is not empty'), this throws all of it away: aws "
            f"sqs purge-queue --queue-url {url} --region {region}",
        ),
        waiting=waiting,
    )


# --- running.alarms -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Alarm:
    """An alarm as it is."""

    name: str
    state: str
    has_actions_on: bool
    actions: int
    description: str = ""
    reason: str = ""


def judge_alarms(
    setup: Setup, wanted: Mapping[str, str], found: Mapping[str, Alarm]
) -> Iterator[Result]:
    """Judge the alarms; ``wanted``: what each is called in the template -> its real name."""
    check = "running.alarms"
    gone = sorted(label for label, name in wanted.items() if name not in found)
    if gone:
        yield missing(
            check,
            listed(gone, 3),
            f"{'The alarm is' if len(gone) == 1 else 'The alarms are'} not there: {listed(gone)}.",
            bring_back("ParePipeline"),
        )
    silent = sorted(
        label for label, name in wanted.items()
        if name in found and found[name].has_actions_on and not found[name].actions
    )  # fmt: skip
    if silent:
        yield missing(
            check, listed(silent, 3), f"They tell nobody: {listed(silent)}.",
            bring_back("ParePipeline"),
        )  # fmt: skip
    off = sorted(
        label for label, name in wanted.items() if name in found and not found[name].has_actions_on
    )
    if off:
        names = " ".join(quoted(wanted[label]) for label in off)
        yield missing(
            check,
            listed(off, 3),
            f"Their actions are switched off: {listed(off)}.",
            Mend(
                where="hub",
                commands=(
                    f"aws cloudwatch enable-alarm-actions --region {setup.home_region} "
                    f"--alarm-names {names}",
                ),
            ),
        )
    for label, name in sorted(wanted.items()):
        alarm = found.get(name)
        if alarm is None or label in off or label in silent:
            continue
        if alarm.state != "ALARM":
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
