from __future__ import annotations

import json
import shlex
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from pare.doctor.deployed_rules import ExpectedAlarm, ExpectedSchedule, ExpectedSubscription
from pare.doctor.running import (
    PENDING,
    WORKFLOWS,
    Alarm,
    Part,
    Runs,
    Stack,
    Subscription,
    judge_alarms,
    judge_concurrency,
    judge_parts,
    judge_queue,
    judge_schedule,
    judge_stack,
    judge_subscriptions,
    judge_topic_policy,
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


# --- running.resources ---


def test_a_deleted_table_is_looked_for_in_the_backups_before_it_is_made_anew() -> None:
    parts = [Part("RunsTable", "Runs-1", is_there=False), Part("CardsTable", "Cards-1")]

    (found,) = judge_parts(setup(), "table", parts, "PareStorage")

    assert found.says == "1 table of PareStorage is not there: RunsTable."
    assert commands(found) == ("npx cdk deploy PareStorage --revert-drift",)
    assert found.mend and "its data is gone with it unless it is restored" in found.mend.text
    backups = "aws dynamodb list-backups --backup-type SYSTEM --table-name Runs-1 --region"
    assert f"{backups} {HOME}" in found.mend.text


@pytest.mark.parametrize(
    ("word", "words"), [("bucket", "what it held is gone"), ("key", "as another key")]
)
def test_what_a_deployment_does_not_bring_back_is_said(word: str, words: str) -> None:
    (found,) = judge_parts(setup(), word, [Part("It", "it-1", is_there=False)], "PareStorage")

    assert found.mend and words in found.mend.text
    in_place = f"aws s3 mb s3://it-1 --region {HOME}." in found.mend.after
    assert in_place is (word == "bucket")


def test_event_buses_are_counted() -> None:
    parts = [Part("Bus", "pare"), Part("Other", "other")]

    assert [each.says for each in judge_parts(setup(), "event bus", parts, "ParePipeline")] == [
        "2 event buses"
    ]
    gone = [replace(each, is_there=False) for each in parts]
    (found,) = judge_parts(setup(), "event bus", gone, "ParePipeline")
    assert found.says == "2 event buses of ParePipeline are not there: Bus, Other."


def test_a_key_in_a_state_that_nobody_thought_of_is_not_well() -> None:
    key = Part("Key", "1234", state="PendingImport")

    (found,) = judge_parts(setup(), "key", [key], "PareStorage")

    assert found.says == "The key Key of PareStorage is PendingImport."
    assert commands(found) == (f"aws kms describe-key --key-id 1234 --region {HOME}",)


def test_what_the_template_reserves_is_well() -> None:
    names = {"One": "One-1", "Two": "Two-1"}

    assert judge_concurrency(setup(), names, {"One": 3}, {"One": 3, "Two": 9}).status == "ok"
    found = judge_concurrency(setup(), names, {"One": 3}, {"One": None, "Two": 9})
    assert ": One (none, not 3)." in found.says


# --- running.subscriptions ---


def subscriptions(*found: Subscription, **changes: Any) -> list[Result]:
    return list(judge_subscriptions(setup(**changes), {"People": (TOPIC, found), "Chat": ("", ())}))


def test_a_confirmed_subscription_is_well() -> None:
    (found,) = subscriptions(CONFIRMED)

    assert (found.status, found.subject) == ("ok", "security@example.com (People)")
    assert found.says == "security@example.com (People): everything"


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


OWNERS: dict[str, Any] = {"owner": ["payments", "shop"], "audience": ["owner"]}
FOR_ALL: dict[str, Any] = {"audience": ["security", {"exists": False}]}


def filtered(found: Subscription, policy: dict[str, Any] | None, **changes: Any) -> Subscription:
    return replace(found, filter=policy, **changes)


def deployed(endpoint: str, policy: dict[str, Any], topic: str = TOPIC) -> ExpectedSubscription:
    return ExpectedSubscription(topic, "email", endpoint, policy, "MessageAttributes")


def judged(
    people: tuple[Subscription, ...], *wanted: ExpectedSubscription, **changes: Any
) -> list[Result]:
    """Return what is said of the topic People, next to the template's subscriptions."""
    topics: Any = {"People": (TOPIC, people), "Chat": ("", changes.pop("chat", ()))}
    if alarms := changes.pop("alarms", None):
        topics["Alarms"] = (ALARMS, alarms)
    emails = {"emails": tuple(each.endpoint for each in wanted), **changes}
    return list(judge_subscriptions(setup(**emails), topics, wanted))


@pytest.mark.parametrize(
    ("policy", "scope", "wanted", "says", "values"),
    [
        (
            {"owner": ["nobody"]},
            "MessageAttributes",
            {},
            'security@example.com (People) gets only what the filter {"owner":["nobody"]} lets '
            "through, not everything.",
            ["{}"],
        ),
        (
            {},
            "MessageAttributes",
            FOR_ALL,
            "security@example.com (People) gets everything, not only what the filter",
            [json.dumps(FOR_ALL, separators=(",", ":"))],
        ),
        (
            FOR_ALL,
            "MessageBody",
            FOR_ALL,
            "on MessageBody lets through, not only what",
            [json.dumps(FOR_ALL, separators=(",", ":")), "MessageAttributes"],
        ),
    ],
)
def test_another_filter_than_the_templates_is_set_back(
    policy: dict[str, Any], scope: str, wanted: dict[str, Any], says: str, values: list[str]
) -> None:
    changed = filtered(CONFIRMED, policy, scope=scope)

    (found,) = faults(judged((changed,), deployed("Security@example.com", wanted)))

    assert (found.status, found.subject) == ("missing", "security@example.com (People)")
    assert says in found.says
    words = [shlex.split(each) for each in commands(found)]
    assert [each[:3] for each in words] == [["aws", "sns", "set-subscription-attributes"]] * len(
        values
    )
    assert {each[each.index("--subscription-arn") + 1] for each in words} == {CONFIRMED.arn}
    assert [each[each.index("--attribute-value") + 1] for each in words] == values


def test_a_filter_that_somebody_gave_by_hand_is_theirs() -> None:
    by_hand = filtered(ROUTED, {"severity": ["critical"]})

    found = judged((CONFIRMED, by_hand), deployed("security@example.com", {}))

    assert [(each.status, each.says) for each in found] == [
        ("ok", "payments@example.com (People): what its filter takes"),
        ("ok", "security@example.com (People): everything"),
    ]


def test_a_filter_that_cannot_be_read_cannot_be_told_for_that_address_alone() -> None:
    unread = filtered(CONFIRMED, None, unread="no right")
    foreign = filtered(ROUTED, None, unread="no right")

    found = judged((unread, foreign), deployed("security@example.com", {}))

    assert [(each.status, each.says) for each in found] == [
        ("ok", "payments@example.com (People): confirmed"),
        ("cannot tell", "AWS did not tell what reaches security@example.com: no right."),
    ]


@pytest.mark.parametrize(
    ("addresses", "changes", "note"),
    [
        # Routes alone, nobody in people_emails.
        (
            [(ROUTED, OWNERS)],
            {},
            "nobody gets alarms, failures and digests that name no owner",
        ),
        ([(ROUTED, OWNERS), (CONFIRMED, FOR_ALL)], {"alarms": (OF_ALARMS,)}, None),
        (
            [(ROUTED, OWNERS)],
            {"alarms": (OF_ALARMS,)},
            "nobody gets failures and digests that name no owner",
        ),
        (
            [(ROUTED, OWNERS)],
            {"chat": (Subscription("https", "https://chat.example", f"{TOPIC}:2"),)},
            "nobody gets alarms",
        ),
        ([(CONFIRMED, {})], {}, None),
    ],
)
def test_what_nobody_is_subscribed_to_is_said_and_is_a_choice(
    addresses: list[tuple[Subscription, dict[str, Any]]], changes: dict[str, Any], note: str | None
) -> None:
    changes = {"alarm_emails": (), **changes}
    people = tuple(filtered(each, policy) for each, policy in addresses)

    results = judged(
        people, *(deployed(each.endpoint, policy) for each, policy in addresses), **changes
    )

    assert faults(results) == []
    assert [each.says for each in results if not each.subject] == ([note] if note else [])
    if note:
        assert "payments@example.com (People): only what is theirs (filter)" in {
            each.says for each in results
        }


def test_who_has_to_confirm_yet_is_not_nobody() -> None:
    waiting = Subscription("email", "security@example.com", PENDING)

    assert len(judged((waiting,), deployed("security@example.com", {}))) == 1


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
    "Target": {
        "Arn": MACHINE,
        "RoleArn": "arn:role",
        "Input": '{"scheduled_at": "<aws.scheduler.scheduled-time>"}',
    },
    "CreationDate": "2026-11-01T00:00:00Z",
    "ResponseMetadata": {},
}


STARTED_WITH = '{"scheduled_at":"<aws.scheduler.scheduled-time>"}'
WANTED = ExpectedSchedule("cron(0 3 * * ? *)", "Etc/UTC", MACHINE, STARTED_WITH)


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
            f"it starts arn:aws:lambda:eu-west-1:1:function:another, not {MACHINE}; its input",
        ),
        (
            {"ScheduleExpression": "cron(0 3 1 1 ? 2099)"},
            "it runs at cron(0 3 1 1 ? 2099), not at cron(0 3 * * ? *).",
        ),
        (
            {"Target": {"Arn": MACHINE, "RoleArn": "arn:role", "Input": "{}"}},
            f"its input is {{}}, not {STARTED_WITH}.",
        ),
        (
            {"Target": {"Arn": MACHINE, "RoleArn": "arn:role"}},
            f"its input is empty, not {STARTED_WITH}.",
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
    revert, directly = commands(found)
    assert (revert,) == REVERT
    told = shlex.split(directly)
    asked = json.loads(told[told.index("--cli-input-json") + 1])
    assert schedule({**SCHEDULE, **asked}).status == "ok"
    assert asked["State"] == "ENABLED"
    assert found.mend and "Where that changes nothing, the second" in found.mend.text


def test_an_input_that_the_template_does_not_tell_is_not_compared() -> None:
    found = schedule({**SCHEDULE, "Target": {"Arn": MACHINE}}, replace(WANTED, input=None))

    assert found.status == "ok"


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

    assert found.says == "3 messages wait there to be seen to."
    assert [each.split()[2] for each in commands(found)] == ["receive-message", "purge-queue"]
    assert commands(found)[-1] == f"aws sqs purge-queue --queue-url https://queue --region {OTHER}"
    assert found.mend and "The second throws all messages of the queue away" in found.mend.text
    assert found.facts["waiting"] == 3


@pytest.mark.parametrize(
    ("name", "stack_name"),
    [("RegionDeadLetters", f"PareRegion-{OTHER}"), ("FindingDeadLetters", "ParePipeline")],
)
def test_a_queue_that_is_gone_comes_back_with_its_stack(name: str, stack_name: str) -> None:
    found = judge_queue(name, OTHER, "", None)

    assert commands(found) == (f"npx cdk deploy {stack_name} --revert-drift",)


# --- running.alarms ---


MEASURES: dict[str, Any] = {
    "MetricName": "ExecutionsFailed", "Threshold": 1.0, "Period": 300,
    "Dimensions": [{"Name": "StateMachineArn", "Value": MACHINE}],
}  # fmt: skip
EXPECTED = ExpectedAlarm((TOPIC,), {**MEASURES, "Threshold": 1})


def alarm(**changes: Any) -> Alarm:
    fields: dict[str, Any] = {
        "name": "alarm-1", "state": "OK", "has_actions_on": True, "actions": (TOPIC,),
        "description": "Pare: something waits.", "measures": MEASURES,
    }  # fmt: skip
    return Alarm(**{**fields, **changes})


def alarms(*found: Alarm) -> list[Result]:
    wanted = {"FindingFailed": "alarm-1"}
    found_alarms = {each.name: each for each in found}
    return list(judge_alarms(setup(), wanted, found_alarms, {"FindingFailed": EXPECTED}))


@pytest.mark.parametrize("state", ["OK", "INSUFFICIENT_DATA"])
def test_a_silent_alarm_that_would_tell_somebody_is_well(state: str) -> None:
    assert faults(alarms(alarm(state=state))) == []


@pytest.mark.parametrize(
    ("found", "words", "command"),
    [
        ((), "FindingFailed is not there.", REVERT[0]),
        ((alarm(actions=()),), "FindingFailed tells nobody.", REVERT[0]),
        (
            (alarm(actions=(ALARMS,)),),
            f"FindingFailed does not tell {TOPIC}, as the template has it.",
            REVERT[0],
        ),
        (
            (alarm(measures={**MEASURES, "Threshold": 100000000.0}),),
            "FindingFailed looks for something else than in the template: Threshold 100000000, "
            "not 1.",
            REVERT[0],
        ),
        (
            (alarm(measures={**MEASURES, "Dimensions": [], "MetricName": "Another"}),),
            f"MetricName Another, not ExecutionsFailed, Dimensions none, not StateMachineArn="
            f"{MACHINE}.",
            REVERT[0],
        ),
        (
            (alarm(has_actions_on=False),),
            "FindingFailed has its actions switched off.",
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


def test_several_alarms_are_one_line() -> None:
    names = {"A": "alarm-1", "B": "alarm-2"}
    changed = [alarm(name=each, measures={"Threshold": 9.0}, actions=()) for each in names.values()]
    expected = dict.fromkeys(names, ExpectedAlarm((TOPIC,), {"Threshold": 1}))

    found = list(judge_alarms(setup(), names, {each.name: each for each in changed}, expected))

    assert [each.says for each in found] == [
        "A, B tell nobody.",
        "A, B look for something else than in the template: A: Threshold 9, not 1, "
        "B: Threshold 9, not 1.",
    ]


def test_an_alarm_of_which_the_template_says_nothing_is_judged_by_what_it_does() -> None:
    found = judge_alarms(setup(), {"A": "alarm-1"}, {"alarm-1": alarm(measures={})})

    assert [each.status for each in found] == ["ok"]


PUBLISH = {
    "Sid": "AlarmsPublish", "Effect": "Allow", "Action": "SNS:Publish",
    "Principal": {"Service": "cloudwatch.amazonaws.com"}, "Resource": TOPIC,
}  # fmt: skip


@pytest.mark.parametrize("policy", [{"Statement": [PUBLISH]}, {"Statement": PUBLISH}])
def test_a_topic_that_lets_alarms_publish_is_well(policy: dict[str, Any]) -> None:
    assert judge_topic_policy("People", policy) is None


@pytest.mark.parametrize(
    "policy",
    [
        None,
        {"Statement": []},
        {"Statement": [{**PUBLISH, "Effect": "Deny"}]},
        {"Statement": [{**PUBLISH, "Action": "SNS:Subscribe"}]},
        {"Statement": [{**PUBLISH, "Principal": {"AWS": "*"}}]},
    ],
)
def test_a_topic_that_refuses_alarms_is_named(policy: dict[str, Any] | None) -> None:
    found = judge_topic_policy("People", policy)

    assert found and found.says.startswith("The policy of the topic People lets no alarm publish")
    assert commands(found) == REVERT


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
