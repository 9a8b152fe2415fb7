from __future__ import annotations

import json
import shlex
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from pare.doctor.deployed_rules import ExpectedSchedule
from pare.doctor.running import (
    PENDING,
    WORKFLOWS,
    Alarm,
    Runs,
    Stack,
    Subscription,
    judge_alarms,
    judge_queue,
    judge_schedule,
    judge_stack,
    judge_subscriptions,
    judge_workflow,
    schedule_name,
)
from tests.doctor_setup import HOME, HUB, OTHER, setup

if TYPE_CHECKING:
    from pare.doctor.model import Result

NOW = datetime(2026, 11, 22, 13, 0, tzinfo=UTC)
TOPIC = f"arn:aws:sns:{HOME}:{HUB}:People"
ALARMS = f"arn:aws:sns:{HOME}:{HUB}:Alarms"
MACHINE = f"arn:aws:states:{HOME}:{HUB}:stateMachine:Reconcile"
CONFIRMED = Subscription("email", "security@example.com", f"{TOPIC}:1")
REVERT = ("npx cdk deploy ParePipeline --revert-drift",)


def commands(result: Result) -> tuple[str, ...]:
    assert result.mend is not None
    return result.mend.commands


def faults(results: Any) -> list[Result]:
    return [each for each in results if each.status != "ok"]


# --- running.stacks ---


def stack(status: str, version: str = "0.7.0", reason: str = "") -> Stack:
    return Stack("PareStorage", HOME, status, reason, version)


@pytest.mark.parametrize("status", ["CREATE_COMPLETE", "UPDATE_COMPLETE"])
@pytest.mark.parametrize("version", ["0.7.0", ""])
def test_a_complete_stack_of_this_version_is_well(status: str, version: str) -> None:
    assert judge_stack(setup(), "PareStorage", HOME, stack(status, version)).status == "ok"


def test_a_stack_that_is_not_there_is_deployed() -> None:
    found = judge_stack(setup(), f"PareRegion-{OTHER}", OTHER, None)

    assert found.says == "There is no stack PareRegion-eu-central-1 in eu-central-1."
    assert commands(found) == (f"npx cdk deploy PareRegion-{OTHER}",)


def test_a_stack_of_another_version_is_deployed_with_all_the_others() -> None:
    found = judge_stack(setup(), "PareStorage", HOME, stack("UPDATE_COMPLETE", "0.6.0"))

    assert "of version 0.6.0, ParePipeline of 0.7.0" in found.says
    assert commands(found) == ("npx cdk deploy --all",)


@pytest.mark.parametrize(
    ("status", "result", "verbs"),
    [
        ("UPDATE_ROLLBACK_COMPLETE", "missing", ["describe-stack-events", "deploy"]),
        (
            "ROLLBACK_COMPLETE",
            "missing",
            ["describe-stack-events", "delete-stack", "wait", "deploy"],
        ),
        (
            "UPDATE_ROLLBACK_FAILED",
            "missing",
            ["describe-stack-events", "continue-update-rollback", "deploy"],
        ),
        ("DELETE_FAILED", "missing", ["describe-stack-events", "deploy"]),
        ("UPDATE_IN_PROGRESS", "cannot tell", ["doctor"]),
    ],
)
def test_a_stack_that_is_not_complete_is_mended_by_its_status(
    status: str, result: str, verbs: list[str]
) -> None:
    found = judge_stack(setup(), "PareStorage", HOME, stack(status, reason="no right"))

    assert found.status == result
    assert status in found.says
    words = [each.split() for each in commands(found)]
    assert [each[1] if each[0] == "pare" else each[2] for each in words] == verbs


# --- running.subscriptions ---


def subscriptions(*found: Subscription, **changes: Any) -> list[Result]:
    return list(judge_subscriptions(setup(**changes), {"People": (TOPIC, found), "Chat": ("", ())}))


def test_a_confirmed_subscription_is_well() -> None:
    (found,) = subscriptions(CONFIRMED)

    assert (found.status, found.subject) == ("ok", "security@example.com (People)")


def test_a_pending_subscription_names_the_address_and_sends_the_mail_again() -> None:
    (found,) = subscriptions(Subscription("email", "security@example.com", PENDING))

    assert found.status == "missing"
    assert "security@example.com did not confirm" in found.says
    assert commands(found) == (
        f"aws sns subscribe --topic-arn {TOPIC} --protocol email "
        f"--notification-endpoint security@example.com --region {HOME}",
    )


def test_an_address_of_the_settings_that_is_not_subscribed_is_subscribed() -> None:
    (found,) = subscriptions()

    assert "is in the settings and not subscribed" in found.says
    assert commands(found)[0].startswith("aws sns subscribe")


def with_alarms(
    people: tuple[Subscription, ...], alarms: tuple[Subscription, ...], **changes: Any
) -> list[Result]:
    """Return what is said where routes give alarms a topic of their own."""
    topics: Any = {"People": (TOPIC, people), "Chat": ("", ()), "Alarms": (ALARMS, alarms)}
    return list(
        judge_subscriptions(
            setup(**{
                "emails": ("payments@example.com", "security@example.com"),
                "alarm_emails": ("security@example.com",),
                **changes,
            }),
            topics,
        )
    )  # fmt: skip


ROUTED = Subscription("email", "payments@example.com", f"{TOPIC}:2")
OF_ALARMS = Subscription("email", "security@example.com", f"{ALARMS}:1")


def test_with_routes_each_address_is_well_on_each_topic_of_its_own() -> None:
    found = with_alarms((CONFIRMED, ROUTED), (OF_ALARMS,))

    assert [(each.status, each.subject) for each in found] == [
        ("ok", "payments@example.com (People)"),
        ("ok", "security@example.com (People)"),
        ("ok", "security@example.com (Alarms)"),
    ]


@pytest.mark.parametrize(
    ("people", "alarms", "subject", "command"),
    [
        ((ROUTED,), (OF_ALARMS,), "security@example.com (People)", REVERT[0]),
        ((CONFIRMED,), (OF_ALARMS,), "payments@example.com (People)", REVERT[0]),
        (
            (CONFIRMED, ROUTED),
            (),
            "security@example.com (Alarms)",
            f"aws sns subscribe --topic-arn {ALARMS} --protocol email "
            f"--notification-endpoint security@example.com --region {HOME}",
        ),
    ],
)
def test_whoever_hears_of_one_topic_is_missed_on_the_other(
    people: tuple[Subscription, ...],
    alarms: tuple[Subscription, ...],
    subject: str,
    command: str,
) -> None:
    """A filter can only the template give again; alarms have none."""
    (found,) = faults(with_alarms(people, alarms))

    assert (found.status, found.subject) == ("missing", subject)
    assert "is in the settings and not subscribed to the topic" in found.says
    assert commands(found) == (command,)


def test_a_pending_subscription_with_a_filter_is_not_made_anew_without() -> None:
    waiting = Subscription("email", "payments@example.com", PENDING)

    (found,) = faults(with_alarms((CONFIRMED, waiting), (OF_ALARMS,)))

    assert found.subject == "payments@example.com (People)"
    assert commands(found) == REVERT
    assert found.mend and "follow its link" in found.mend.text


def test_what_the_stack_did_not_subscribe_it_cannot_bring_back() -> None:
    waiting = Subscription("email", "somebody@example.com", PENDING)

    (found,) = faults(with_alarms((CONFIRMED, ROUTED, waiting), (OF_ALARMS,)))

    assert commands(found)[0].startswith(f"aws sns subscribe --topic-arn {TOPIC}")
    assert found.mend and "A filter that somebody gave" in found.mend.text


def test_who_has_to_hear_of_alarms_an_earlier_pare_did_not_say() -> None:
    (found,) = faults(with_alarms((CONFIRMED, ROUTED), (OF_ALARMS,), alarm_emails=None))

    assert (found.status, found.subject) == ("cannot tell", "Alarms")


def test_a_topic_that_is_not_there_has_nobody_who_hears() -> None:
    (found,) = judge_subscriptions(setup(), {"Chat": ("", ())})

    assert (found.status, found.says) == ("missing", "There is no topic People.")
    assert commands(found) == REVERT


def test_without_addresses_a_chat_channel_is_enough_and_nobody_is_not() -> None:
    chat = Subscription("https", "https://chat.example", f"{TOPIC}:2")
    topics: Any = {"People": (TOPIC, ()), "Chat": (TOPIC, (chat,))}

    assert faults(judge_subscriptions(setup(emails=()), topics)) == []
    (found,) = subscriptions(emails=())
    assert found.says == "Nobody is subscribed, neither by mail nor in a chat channel."


def test_an_address_is_one_word_of_the_shell() -> None:
    (found,) = subscriptions(
        Subscription("email", "a'; rm -rf /@example.com", PENDING), emails=()
    )[:1]  # fmt: skip

    assert "a'; rm -rf /@example.com" in shlex.split(commands(found)[0])


# --- running.schedules ---

SCHEDULE = {
    "Name": "Reconcile-1",
    "GroupName": "default",
    "ScheduleExpression": "cron(0 3 * * ? *)",
    "FlexibleTimeWindow": {"Mode": "OFF"},
    "State": "ENABLED",
    "Target": {"Arn": MACHINE, "RoleArn": "arn:role", "Input": "<aws.scheduler.scheduled-time>"},
    "CreationDate": "2026-11-01T00:00:00Z",
    "ResponseMetadata": {},
}


WANTED = ExpectedSchedule("cron(0 3 * * ? *)", "Etc/UTC", MACHINE)


def schedule(found: dict[str, Any] | None, wanted: ExpectedSchedule | None = WANTED) -> Result:
    return judge_schedule(setup(), "EventSourcesReconcileSchedule", wanted, found, now=NOW)


def test_a_schedule_that_is_on_is_well() -> None:
    found = schedule(SCHEDULE)

    assert (found.status, found.subject, found.says) == ("ok", "Reconcile", "cron(0 3 * * ? *)")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"Target": {"Arn": "arn:aws:lambda:eu-west-1:1:function:another", "RoleArn": "r"}},
            f"it starts arn:aws:lambda:eu-west-1:1:function:another, not {MACHINE}.",
        ),
        (
            {"ScheduleExpression": "cron(0 3 1 1 ? 2099)"},
            "it runs at cron(0 3 1 1 ? 2099), not at cron(0 3 * * ? *).",
        ),
        ({"ScheduleExpressionTimezone": "Asia/Tokyo"}, "its time zone is Asia/Tokyo, not Etc/UTC."),
        # The template says of it that it is on, too.
        ({"ScheduleExpression": "rate(9 days)", "State": "DISABLED"}, "it runs at rate(9 days)"),
    ],
)
def test_a_schedule_that_is_another_than_was_deployed_comes_back_with_the_stack(
    change: dict[str, Any], words: str
) -> None:
    found = schedule({**SCHEDULE, **change})

    assert found.status == "missing"
    assert words in found.says
    assert commands(found) == REVERT


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"EndDate": "2026-11-20T00:00:00Z"}, "ended on 2026-11-20 at 00:00 UTC."),
        ({"EndDate": "2026-12-20T00:00:00Z"}, "will end on 2026-12-20 at 00:00 UTC."),
        ({"StartDate": "2099-01-01T00:00:00Z"}, "starts nothing before 2099-01-01 at 00:00 UTC."),
    ],
)
def test_a_schedule_with_an_end_is_written_without(change: dict[str, Any], says: str) -> None:
    found = schedule({**SCHEDULE, **change})

    assert (found.status, found.says) == ("missing", f"The schedule Reconcile {says}")
    words = shlex.split(commands(found)[0])
    told = json.loads(words[words.index("--cli-input-json") + 1])
    assert told["ScheduleExpression"] == SCHEDULE["ScheduleExpression"]
    assert not told.keys() & change.keys()


def test_a_schedule_that_began_once_is_well() -> None:
    assert schedule({**SCHEDULE, "StartDate": "2026-11-01T00:00:00Z"}).status == "ok"


@pytest.mark.parametrize(
    "wanted", [None, replace(WANTED, target=None), replace(WANTED, expression=None)]
)
def test_a_schedule_that_cannot_be_compared_is_not_taken_for_well(
    wanted: ExpectedSchedule | None,
) -> None:
    assert schedule(SCHEDULE, wanted).status == "cannot tell"
    assert schedule({**SCHEDULE, "State": "DISABLED"}, wanted).status == "missing"


def test_a_schedule_that_is_off_is_switched_on_with_all_that_it_has() -> None:
    found = schedule({**SCHEDULE, "State": "DISABLED"})

    words = shlex.split(commands(found)[0])
    assert words[:5] == ["aws", "scheduler", "update-schedule", "--region", HOME]
    told = json.loads(words[words.index("--cli-input-json") + 1])
    assert told == {
        name: SCHEDULE[name]
        for name in SCHEDULE
        if name not in {"CreationDate", "ResponseMetadata"}
    }


@pytest.mark.parametrize("found", [None, {**SCHEDULE, "Target": {}}])
def test_a_schedule_that_is_gone_or_aims_nowhere_comes_back_with_the_stack(
    found: dict[str, Any] | None,
) -> None:
    assert commands(schedule(found)) == REVERT


def test_a_schedule_has_the_name_of_its_workflow() -> None:
    assert schedule_name("EventSourcesInventorySchedule") == "Inventory"


# --- running.dead-letters ---


def test_an_empty_queue_is_well() -> None:
    assert judge_queue("FindingDeadLetters", HOME, "https://queue", 0).status == "ok"


@pytest.mark.parametrize(
    "name",
    ["FindingDeadLetters", "ScheduleDeadLetters", "MessageDeadLetters", "RegionDeadLetters"],
)
def test_what_waits_is_counted_shown_and_only_then_thrown_away(name: str) -> None:
    found = judge_queue(name, OTHER, "https://queue", 3)

    assert found.says == f"3 messages wait in {name}."
    assert [each.split()[2] for each in commands(found)] == ["receive-message"]
    # Whoever types all commands must not throw away what nobody has seen.
    assert found.mend and "aws sqs purge-queue --queue-url https://queue" in found.mend.text
    assert found.facts["waiting"] == 3


@pytest.mark.parametrize(
    ("name", "stack_name"),
    [("RegionDeadLetters", f"PareRegion-{OTHER}"), ("FindingDeadLetters", "ParePipeline")],
)
def test_a_queue_that_is_gone_comes_back_with_its_stack(name: str, stack_name: str) -> None:
    found = judge_queue(name, OTHER, "", None)

    assert commands(found) == (f"npx cdk deploy {stack_name} --revert-drift",)


# --- running.alarms ---


def alarm(**changes: Any) -> Alarm:
    fields: dict[str, Any] = {
        "name": "alarm-1", "state": "OK", "has_actions_on": True, "actions": 1,
        "description": "Pare: something waits.",
    }  # fmt: skip
    return Alarm(**{**fields, **changes})


def alarms(*found: Alarm) -> list[Result]:
    return list(
        judge_alarms(setup(), {"FindingFailed": "alarm-1"}, {each.name: each for each in found})
    )


@pytest.mark.parametrize("state", ["OK", "INSUFFICIENT_DATA"])
def test_a_silent_alarm_that_would_tell_somebody_is_well(state: str) -> None:
    assert faults(alarms(alarm(state=state))) == []


@pytest.mark.parametrize(
    ("found", "words", "command"),
    [
        ((), "The alarm is not there: FindingFailed.", REVERT[0]),
        ((alarm(actions=0),), "They tell nobody: FindingFailed.", REVERT[0]),
        (
            (alarm(has_actions_on=False),),
            "switched off: FindingFailed.",
            f"aws cloudwatch enable-alarm-actions --region {HOME} --alarm-names alarm-1",
        ),
        (
            (alarm(state="ALARM", reason="1 datapoint"),),
            "It rings: 1 datapoint.",
            "aws cloudwatch describe-alarm-history --alarm-name alarm-1 --history-item-type "
            f"StateUpdate --max-items 5 --region {HOME}",
        ),
    ],
)
def test_an_alarm_that_is_not_well_is_mended_by_what_is_amiss(
    found: tuple[Alarm, ...], words: str, command: str
) -> None:
    (result,) = faults(alarms(*found))

    assert words in result.says
    assert commands(result) == (command,)


# --- running.workflows ---

RECONCILE = next(each for each in WORKFLOWS if each.name == "Reconcile")
ACTIVITY = next(each for each in WORKFLOWS if each.name == "Activity")
AN_HOUR_AGO, DAYS_AGO = NOW - timedelta(hours=1), NOW - timedelta(days=3)


def workflow(runs: Runs, *, deployed_at: datetime = DAYS_AGO, of: Any = RECONCILE) -> Result:
    return judge_workflow(setup(), of, MACHINE, runs, now=NOW, deployed_at=deployed_at)


def test_a_workflow_that_succeeded_lately_is_well() -> None:
    found = workflow(Runs(AN_HOUR_AGO, "SUCCEEDED", AN_HOUR_AGO, "arn:execution"))

    assert (found.status, found.says) == ("ok", "Reconcile on 2026-11-22 at 12:00 UTC")


def test_one_that_runs_now_after_a_success_is_well() -> None:
    assert workflow(Runs(AN_HOUR_AGO, "RUNNING", NOW, "arn:execution")).status == "ok"


@pytest.mark.parametrize(
    ("runs", "words"),
    [
        (Runs(AN_HOUR_AGO, "FAILED", NOW, "arn:e"), "Its latest run failed"),
        (Runs(DAYS_AGO, "TIMED_OUT", NOW, "arn:e"), "Its latest run timed out"),
        (Runs(DAYS_AGO, "SUCCEEDED", DAYS_AGO, "arn:e"), "succeeded last on 2026-11-19"),
        (Runs(), "It never ran; it runs every day."),
    ],
)
def test_one_that_did_not_succeed_lately_is_started(runs: Runs, words: str) -> None:
    found = workflow(runs)

    assert found.status == "missing"
    assert words in found.says
    assert commands(found)[-1] == "pare findings reconcile --wait"
    shows_why = any("describe-execution" in each for each in commands(found))
    assert shows_why is (runs.last_status in {"FAILED", "TIMED_OUT"})


def test_one_that_is_under_way_and_never_succeeded_cannot_be_told() -> None:
    assert workflow(Runs(None, "RUNNING", AN_HOUR_AGO, "arn:e")).status == "cannot tell"


def test_after_a_new_deployment_not_everything_ran_yet() -> None:
    found = workflow(Runs(), deployed_at=AN_HOUR_AGO)

    assert found.status == "ok"
    assert "not due yet" in found.says


def test_the_activity_is_started_with_the_day_that_is_meant() -> None:
    words = shlex.split(commands(workflow(Runs(), of=ACTIVITY))[0])

    assert json.loads(words[words.index("--input") + 1]) == {"scheduled_at": "2026-11-22T13:00:00Z"}
    assert MACHINE in words
