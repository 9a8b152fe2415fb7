"""What the state machines promise: retries, catches, error names, and what passes between steps."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import re
import uuid
from functools import cache
from typing import (
    TYPE_CHECKING,
    Any,
    NotRequired,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

import botocore.session
import pytest

import pare.errors
from infra.lambda_function import PASSING_ERRORS, pascal
from infra.pipeline_stack import STEPS
from lambdas.accounts import start_proposals
from lambdas.activity import list_logs
from lambdas.findings import record_archiver, record_finding
from lambdas.inventory import list_accounts
from lambdas.notifications import collect_news, settle_message
from lambdas.policies import build_policy, resolve_principal
from pare.errors import PareError
from pare.inventory.model import InventoryTermsJson
from pare.policy.evidence import Terms, TermsJson, terms_of
from tests.infra.synthesis import states, tasks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.infra.synthesis import Json, Synthesis, Template

WORKFLOWS = (
    "Finding", "Notification", "Reconcile", "Policy", "Account", "Inventory", "Activity",
)  # fmt: skip
FOLDERS = {pascal(step): folder for folder, steps in STEPS.items() for step in steps}
MODULES = {pascal(step): step for steps in STEPS.values() for step in steps}
# These have nobody to pass a failure to: Record run is where all the others pass theirs, and
# BuildSnapshot and CountActivity find out which child of their map failed.
WITHOUT_CATCH = {
    "Record run", "Digest logs", "Merge activity",
    "Collect principals", "Read last accessed", "Classify principals",
}  # fmt: skip


# None only where a Choice leads elsewhere: "Account done?", "What came?", "Meant?".
THERE_BY_CHOICE = {
    "$.collected", "$.normalized.finding", "$.normalized.preview", "$.normalized.call",
    "$.normalized.check", "$.recorded.exemption",
}  # fmt: skip


@pytest.fixture(params=WORKFLOWS)
def definition(request: pytest.FixtureRequest, pipeline: Template) -> Json:
    """One workflow's definition after the other."""
    found: Json = pipeline.state_machines()[request.param]
    return found


# --- Each state machine ---------------------------------------------------------------------------


def test_these_are_all_workflows(pipeline: Template) -> None:
    assert sorted(pipeline.state_machines()) == sorted(WORKFLOWS)


def test_every_workflow_is_standard_traced_and_logs_all(pipeline: Template) -> None:
    for name, properties in pipeline.properties("AWS::StepFunctions::StateMachine").items():
        assert properties.get("StateMachineType", "STANDARD") == "STANDARD", name
        assert properties["TracingConfiguration"] == {"Enabled": True}, name
        assert properties["LoggingConfiguration"]["Level"] == "ALL", name
        # Policies and findings are evidence; they do not belong in a log.
        assert properties["LoggingConfiguration"]["IncludeExecutionData"] is False, name


ALREADY_STARTED = ["StepFunctions.ExecutionAlreadyExistsException"]


def test_every_task_retries_with_jitter_and_an_end(definition: Json) -> None:
    for name, task in tasks(definition).items():
        assert task["Retry"], name
        for retrier in task["Retry"]:
            if retrier["MaxAttempts"] == 0:  # an error that is no failure: it goes to its Catch
                assert retrier["ErrorEquals"] == ALREADY_STARTED, name
                continue
            assert retrier["JitterStrategy"] == "FULL", name
            assert 1 <= retrier["MaxAttempts"] <= 10, name
            assert retrier["BackoffRate"] > 1, name
            assert retrier["IntervalSeconds"] < retrier["MaxDelaySeconds"] <= 3600, name


def test_every_function_is_retried_on_the_errors_that_pass(definition: Json) -> None:
    for name, task in tasks(definition).items():
        if function_of(task):
            assert task["Retry"][0]["ErrorEquals"] == PASSING_ERRORS, name


def test_every_task_catches_everything_but_where_there_is_nobody_to_tell(definition: Json) -> None:
    for name, task in tasks(definition).items():
        caught = [names for catcher in task.get("Catch", ()) for names in catcher["ErrorEquals"]]
        assert ("States.ALL" in caught) is (name not in WITHOUT_CATCH), name


def test_every_failure_ends_in_the_run_record(definition: Json) -> None:
    for name, state in definition["States"].items():
        for catcher in state.get("Catch", ()):
            if catcher["ErrorEquals"] != ALREADY_STARTED and name != "Enrich finding":  # no failure
                assert catcher["Next"] == "Record run", name
        if state["Type"] in {"Parallel", "Map"}:
            assert state["Catch"][-1]["ErrorEquals"] == ["States.ALL"], name


def test_a_catch_of_everything_stands_alone_and_last(definition: Json) -> None:
    # Amazon States Language: "States.ALL" must be alone in its list, and in the last catcher.
    for name, state in states(definition):
        for kind in ("Retry", "Catch"):
            lists = [each["ErrorEquals"] for each in state.get(kind, ())]
            assert not [each for each in lists[:-1] if "States.ALL" in each], name
            assert not [each for each in lists if "States.ALL" in each and len(each) > 1], name


def test_every_error_name_is_ours_or_one_of_awss(definition: Json) -> None:
    ours = {
        name
        for name, value in vars(pare.errors).items()
        if isinstance(value, type) and issubclass(value, PareError)
    }
    named = {
        name
        for _, state in states(definition)
        for kind in ("Retry", "Catch")
        for each in state.get(kind, ())
        for name in each["ErrorEquals"]
    }
    aws = re.compile(r"(Lambda|Runtime|Sandbox|Sns|States|StepFunctions)\.[A-Z]\w+")
    assert [name for name in named if name not in ours and not aws.fullmatch(name)] == []


def test_a_state_waits_longer_for_its_function_than_the_function_may_run(
    pipeline: Template,
) -> None:
    functions = pipeline.properties("AWS::Lambda::Function")
    for definition in pipeline.state_machines().values():
        for name, task in tasks(definition).items():
            if match := re.fullmatch(r"<(\w+)\.Arn>", task["Resource"]):
                assert task["TimeoutSeconds"] > functions[match[1]]["Timeout"], name


# --- What passes between the steps ----------------------------------------------------------------


@pytest.mark.parametrize("workflow", WORKFLOWS)
def test_a_step_is_given_exactly_the_input_its_module_declares(
    pipeline: Template, workflow: str
) -> None:
    for name, task in tasks(pipeline.state_machines()[workflow]).items():
        step = function_of(task)
        if step is None or "Parameters" not in task:
            continue
        wanted = fields_of(input_of(step))
        given = {key.removesuffix(".$") for key in task["Parameters"]}
        assert given <= wanted.keys(), name
        assert {key for key, kind in wanted.items() if not is_optional(kind)} <= given, name


@pytest.mark.parametrize("workflow", WORKFLOWS)
def test_what_a_step_reads_is_what_an_earlier_step_wrote(pipeline: Template, workflow: str) -> None:
    definition = pipeline.state_machines()[workflow]
    written = results(definition)
    for name, task in tasks(definition).items():
        step = function_of(task)
        if step is None:
            continue
        for key, path in task.get("Parameters", {}).items():
            if key.endswith(".$") and path != "$":
                wanted = fields_of(input_of(step))[key.removesuffix(".$")]
                for kind in resolved(path, written):
                    given = without_none(kind) if path in THERE_BY_CHOICE else kind
                    assert fits(given, wanted), f"{name}: {key} is {given}, not {wanted}"


@pytest.mark.parametrize("workflow", WORKFLOWS)
def test_every_path_in_a_state_leads_to_something(pipeline: Template, workflow: str) -> None:
    definition = pipeline.state_machines()[workflow]
    written = results(definition)
    for name, state in states(definition):
        for path in paths(state):
            assert resolved(path, written), f"{name}: nothing writes {path}"


def test_what_an_integration_answers_never_takes_the_place_of_the_state(
    definition: Json,
) -> None:
    # CDK leaves out a ResultPath of None, and then the answer is the state from there on.
    for name, task in tasks(definition).items():
        if function_of(task) is None:
            assert task.get("ResultPath", "$") not in ("$", None), name


def test_a_path_is_marked_as_one_and_nothing_else_is(definition: Json) -> None:
    # Without ".$" the path itself would be the value.
    for name, state in states(definition):
        for key, value in parameters(state):
            assert key.endswith(".$") is str(value).startswith("$"), f"{name}: {key}: {value}"


def test_the_policy_workflow_is_started_with_the_input_it_reads(pipeline: Template) -> None:
    start = tasks(pipeline.state_machines()["Finding"])["Start policy workflow"]
    given = {key.removesuffix(".$") for key in start["Parameters"]["Input"]}
    assert given == fields_of(resolve_principal.Start).keys() - {"batch"}


def test_the_inventory_workflow_is_started_with_the_input_it_reads(pipeline: Template) -> None:
    for schedule in pipeline.properties("AWS::Scheduler::Schedule").values():
        assert schedule["Target"]["Input"] == '{"scheduled_at":"<aws.scheduler.scheduled-time>"}'
    required = {
        key for key, kind in fields_of(list_accounts.Start).items() if not is_optional(kind)
    }
    assert required == {"scheduled_at"}
    assert fields_of(list_logs.Start).keys() >= {"scheduled_at"}


def test_a_child_of_the_map_is_given_an_account_of_the_manifest(pipeline: Template) -> None:
    collect = tasks(pipeline.state_machines()["Inventory"])["Collect principals"]
    assert "Parameters" not in collect  # the item itself
    item = fields_of(list_accounts.AccountItem)
    given = fields_of(input_of("CollectPrincipals"))
    assert given.keys() == item.keys()
    for key, wanted in given.items():
        assert fits(item[key], wanted), key


def test_an_account_is_collected_read_until_nothing_is_left_and_classified(
    pipeline: Template,
) -> None:
    inner = pipeline.state_machines()["Inventory"]["States"]["Inventory accounts"]["ItemProcessor"]
    found = inner["States"]
    assert inner["StartAt"] == "Collect principals"
    assert "ResultPath" not in found["Collect principals"]  # what it returns is the child's state
    assert found["Collect principals"]["Next"] == "Account done?"
    done, more = found["Account done?"], found["More to read?"]
    assert done["Choices"] == [
        {"Variable": "$.is_done", "BooleanEquals": True, "Next": "Account ended"}
    ]
    assert done["Default"] == "Read last accessed"
    assert found["Read last accessed"]["Next"] == "More to read?"
    assert more["Choices"] == [
        {"Variable": "$.read.is_done", "BooleanEquals": False, "Next": "Read last accessed"}
    ]
    assert more["Default"] == "Classify principals"
    assert found["Classify principals"]["End"] is True


@pytest.mark.parametrize(
    ("workflow", "over_accounts", "ends"),
    [("Inventory", "Inventory accounts", {"Account ended", "Classify principals"}),
     ("Activity", "Read accounts", {"Merge activity"})],
)  # fmt: skip
def test_the_children_of_a_map_leave_nothing(
    pipeline: Template, workflow: str, over_accounts: str, ends: set[str]
) -> None:
    """What 2,000 of them leave would be more than the 256 KiB that the map's result may have."""
    found = pipeline.state_machines()[workflow]["States"][over_accounts]
    assert "ResultWriter" not in found  # so that the results are in the state
    children = found["ItemProcessor"]["States"]
    left = {
        name: state for name, state in children.items()
        if state["Type"] == "Succeed" or state.get("End")
    }  # fmt: skip
    assert left.keys() == ends
    for name, state in left.items():
        assert "OutputPath" in state, name
        assert state["OutputPath"] is None, name


def test_a_child_of_the_map_over_logs_is_given_an_account_of_the_manifest(
    pipeline: Template,
) -> None:
    found = tasks(pipeline.state_machines()["Activity"])
    given = {**fields_of(list_logs.Item), "digested": fields_of(module_of("DigestLogs").Progress)}
    for step in ("Digest logs", "Merge activity"):
        assert "Parameters" not in found[step]  # the item, and beside it what was digested
        wanted = fields_of(input_of(pascal(step.lower().replace(" ", "_"))))
        assert wanted.keys() <= given.keys()
        for key in wanted.keys() - {"digested"}:
            assert fits(given[key], wanted[key]), key
    assert is_optional(fields_of(input_of("DigestLogs"))["digested"])  # not at first


def test_an_account_is_read_until_nothing_is_left_and_merged_once(pipeline: Template) -> None:
    inner = pipeline.state_machines()["Activity"]["States"]["Read accounts"]["ItemProcessor"]
    assert inner["StartAt"] == "Digest logs"
    assert inner["States"]["Digest logs"]["Next"] == "Account read?"
    choice = inner["States"]["Account read?"]
    assert choice["Choices"] == [
        {"Variable": "$.digested.is_complete", "BooleanEquals": True, "Next": "Merge activity"}
    ]
    assert choice["Default"] == "Digest logs"
    # Whoever lost a race begins again: what it was told lies where its progress lay.
    assert inner["States"]["Merge activity"]["Catch"] == [
        {
            "ErrorEquals": ["ActivityConflictError"],
            "ResultPath": "$.digested",
            "Next": "Digest logs",
        }
    ]


def test_a_run_lists_again_until_all_its_days_are_read(pipeline: Template) -> None:
    found = pipeline.state_machines()["Activity"]["States"]
    more = found["More to read?"]
    assert found["Count activity"]["Next"] == "More to read?"
    assert more["Choices"] == [
        {"Variable": "$.counted.has_more", "BooleanEquals": True, "Next": "List logs"}
    ]
    assert more["Default"] == "Record run"


def test_the_same_state_of_a_finding_starts_its_policy_workflow_once(pipeline: Template) -> None:
    start = tasks(pipeline.state_machines()["Finding"])["Start policy workflow"]
    assert start["Parameters"]["Name.$"] == "$.recorded.policy_execution_name"
    assert start["Catch"][0] == {
        "ErrorEquals": ["StepFunctions.ExecutionAlreadyExistsException"],
        "ResultPath": "$.policy_workflow",
        "Next": "Urgent?",
    }


@pytest.mark.parametrize(
    ("workflow", "state", "at_once"),
    [("Inventory", "Inventory accounts", 50), ("Activity", "Read accounts", 50)],
)
def test_one_account_that_fails_does_not_stop_the_others(
    pipeline: Template, workflow: str, state: str, at_once: int
) -> None:
    collect = pipeline.state_machines()[workflow]["States"][state]
    assert collect["ToleratedFailurePercentage"] == 100
    assert collect["MaxConcurrency"] == at_once  # 0 would mean 10,000
    assert collect["ItemProcessor"]["ProcessorConfig"] == {
        "Mode": "DISTRIBUTED",
        "ExecutionType": "STANDARD",
    }


def test_access_analyzers_job_is_asked_after_when_the_step_before_says(
    pipeline: Template,
) -> None:
    policy = dict(states(pipeline.state_machines()["Policy"]))
    wait = policy["Wait for policy generation"]
    assert (wait["SecondsPath"], wait["Next"]) == ("$.job.wait_seconds", "Get generated policy")


def test_proposals_are_made_by_the_settings(synthesis: Synthesis) -> None:
    build = tasks(synthesis.pipeline.state_machines()["Policy"])["Build policy"]
    terms = build["Parameters"]["terms"]
    assert terms == synthesis.settings.terms()
    assert fields_of(TermsJson).keys() == terms.keys()
    # Nothing is lost on the way, and without settings the defaults are those of the command line.
    assert terms_of(terms, today="2026-11-22") == Terms(today="2026-11-22")


def test_principals_are_judged_by_the_settings(synthesis: Synthesis) -> None:
    classify = tasks(synthesis.pipeline.state_machines()["Inventory"])["Classify principals"]
    terms = classify["Parameters"]["terms"]
    assert terms == synthesis.settings.inventory_terms()
    assert fields_of(InventoryTermsJson).keys() == terms.keys()


def test_people_are_told_once_by_whoever_ends_the_work(pipeline: Template) -> None:
    # Under the name of the work: an execution that goes on with another one's has its name.
    notify = tasks(pipeline.state_machines()["Inventory"])["Notify inventory"]
    assert notify["Parameters"]["work.$"] == "$.listed.work"


# --- Transitions ----------------------------------------------------------------------------------

# What AWS charges: every state entered, those of branches too. What a principal costs at most, and
# what is aimed at (design.md, section 11).
MOST, AIM = 25, 15


def transitions(definition: Json, choices: dict[str, str | list[str]], start: str = "") -> int:
    """Return how many states an execution enters that goes well.

    ``choices``: Choice -> the state it leads to, several where it is met several times.
    """
    count, name = 0, start or definition["StartAt"]
    while True:
        count += 1
        state = definition["States"][name]
        for branch in state.get("Branches", ()):
            count += transitions(branch, choices)
        if state["Type"] == "Choice":
            chosen = choices[name]
            following = chosen.pop(0) if isinstance(chosen, list) else chosen
            possible = {each["Next"] for each in state["Choices"]} | {state["Default"]}
            assert following in possible, name
        elif state.get("End") or state["Type"] in {"Succeed", "Fail"}:
            return count
        else:
            following = state["Next"]
        name = following


@pytest.mark.parametrize(
    ("choices", "count"),
    [
        ({"May be narrowed?": "Choose route",
          "Access Analyzer asked?": "Policy generation not asked"}, 15),
        # A job of up to three intervals; each more costs three.
        ({"May be narrowed?": "Choose route",
          "Access Analyzer asked?": "Start policy generation",
          "Policy generation ended?": ["Policy generation known"]}, 19),
        ({"May be narrowed?": "Choose route",
          "Access Analyzer asked?": "Start policy generation",
          "Policy generation ended?": [*["Wait for policy generation"] * 2,
                                       "Policy generation known"]}, 25),
        ({"May be narrowed?": "No evidence needed"}, 10),
    ],
)  # fmt: skip
def test_a_principal_costs_few_transitions(
    pipeline: Template, choices: dict[str, str | list[str]], count: int
) -> None:
    ended = {"Run outcome?": "Run recorded"}
    policy = pipeline.state_machines()["Policy"]
    assert transitions(policy, {**choices, **ended}) == count <= MOST
    if "Start policy generation" not in choices.values():
        assert count <= AIM


def test_starting_a_whole_account_costs_little_more(pipeline: Template) -> None:
    account = pipeline.state_machines()["Account"]
    steps = -(-1_000 // start_proposals.AT_ONCE)
    count = transitions(
        account,
        {"More to start?": [*["Pause"] * (steps - 1), "Record run"],
         "Run outcome?": "Run recorded"},
    )  # fmt: skip
    assert count == 3 * steps + 3
    assert count / 1_000 < 0.5


@pytest.mark.parametrize(("batches", "count"), [(1, 5), (2, 7)])
def test_an_account_of_the_inventory_costs_few_transitions(
    pipeline: Template, batches: int, count: int
) -> None:
    inventory = pipeline.state_machines()["Inventory"]
    account = inventory["States"]["Inventory accounts"]["ItemProcessor"]
    more = [*["Read last accessed"] * (batches - 1), "Classify principals"]
    of_account = transitions(
        account, {"Account done?": "Read last accessed", "More to read?": more}
    )
    assert of_account == count
    assert of_account / 200 <= 0.1  # of 200 principals; the aim of design.md, section 11
    of_run = transitions(
        inventory,
        {"First of its period?": "Inventory accounts", "More to start?": "Record run",
         "Run outcome?": "Run recorded"},
    )  # fmt: skip
    assert of_run == 12
    # Whatever is done already costs three, and a second start three as a whole.
    done = transitions(account, {"Account done?": "Account ended"})
    second = transitions(inventory, {"First of its period?": "Period already collected"})
    assert (done, second) == (3, 3)


@pytest.mark.parametrize(
    ("choices", "count"),
    [
        # Nothing new: an event that came twice, or late.
        ({"What came?": "Take finding", "Meant?": "Policy wanted?", "Policy wanted?": "Urgent?",
          "Urgent?": "Record run"}, 11),
        ({"What came?": "Take finding", "Meant?": "Policy wanted?", "Policy wanted?": "Urgent?",
          "Urgent?": "Wait until settled"}, 13),
        ({"What came?": "Take finding", "Meant?": "Archive finding",
          "Policy wanted?": "Start policy workflow", "Urgent?": "Record run"}, 13),
        ({"What came?": "Notify preview"}, 6),
        ({"What came?": "Record archiver"}, 6),
        ({"What came?": "Record check"}, 4),
    ],
)  # fmt: skip
def test_an_event_costs_few_transitions(
    pipeline: Template, choices: dict[str, str | list[str]], count: int
) -> None:
    finding = pipeline.state_machines()["Finding"]
    assert transitions(finding, {**choices, "Run outcome?": "Run recorded"}) == count <= AIM


# --- Telling people -------------------------------------------------------------------------------


@pytest.fixture
def message(pipeline: Template) -> Json:
    """What is done for one message."""
    found: Json = pipeline.state_machines()["Notification"]["States"]["Tell each"]["ItemProcessor"]
    return found


def refusals_of_sns() -> tuple[set[str], set[str]]:
    """Return by which errors SNS refuses a message, and by which it fails itself.

    As Step Functions names them: PascalCase, and always with "Exception" behind.
    """
    publish = botocore.session.get_session().get_service_model("sns").operation_model("Publish")
    refused: set[str] = set()
    failed: set[str] = set()
    for error in publish.error_shapes:
        name = error.name.replace("KMS", "Kms").removesuffix("Exception") + "Exception"
        is_refusal = error.metadata["error"].get("senderFault", False)
        (refused if is_refusal else failed).add(f"Sns.{name}")
    return refused, failed


def test_people_are_told_again_only_where_sns_said_no(message: Json) -> None:
    refused, failed = refusals_of_sns()
    throttled = {"Sns.ThrottledException"}  # of any operation of SNS
    for name in ("Tell people", "Tell chat"):
        retried = {
            each for retry in message["States"][name]["Retry"] for each in retry["ErrorEquals"]
        }
        assert retried <= refused | throttled, name
    caught = message["States"]["Tell people"]["Catch"]
    assert [each["Next"] for each in caught] == ["Refused", "Perhaps told"]
    assert set(caught[0]["ErrorEquals"]) == refused | throttled
    assert not failed & set(caught[0]["ErrorEquals"])
    assert caught[1]["ErrorEquals"] == ["States.ALL"]


def test_machines_are_told_again_whatever_the_error(message: Json) -> None:
    (retry,) = message["States"]["Tell machines"]["Retry"]
    assert retry["ErrorEquals"] == ["States.TaskFailed"]


def test_each_topic_is_told_what_is_for_it(pipeline: Template, message: Json) -> None:
    topics = {
        f"<{name}>": re.findall("[A-Z][a-z]+", name)[1]
        for name in pipeline.resources("AWS::SNS::Topic")
    }
    told = {
        name: state["Parameters"] for name, state in message["States"].items()
        if "sns:publish" in state.get("Resource", "")
    }  # fmt: skip
    assert {name: topics[given["TopicArn"]] for name, given in told.items()} == {
        "Tell people": "People", "Tell machines": "Machines", "Tell chat": "Chat",
    }  # fmt: skip
    assert {name: given["Message.$"] for name, given in told.items()} == {
        "Tell people": "$.composed.text",
        "Tell machines": "$.composed.machines",
        "Tell chat": "$.composed.chat",
    }
    # Amazon Q takes no subject, and machines have the attributes.
    assert [name for name, given in told.items() if "Subject.$" in given] == ["Tell people"]
    for name, given in told.items():
        assert given["MessageAttributes.$"] == "$.composed.attributes", name


def ends_of(message: Json, start: str, failing: dict[str, str]) -> tuple[list[str], Any]:
    """Return the states that one message enters, and the outcome that it is settled with.

    ``failing``: state -> the error that it ends with, after all retries.
    """
    entered, outcome, name = [], "told", start
    while True:
        state = message["States"][name]
        entered.append(name)
        if state["Type"] == "Pass" and state["ResultPath"] == "$.outcome":
            outcome = state["Result"]
        if name in failing:
            name = next(
                each["Next"]
                for each in state["Catch"]
                if {failing[name], "States.ALL"} & set(each["ErrorEquals"])
            )
        elif state["Type"] == "Choice":
            name = state["Default"]
        elif state.get("End"):
            return entered, outcome
        else:
            name = state["Next"]
        if name == "Unsettled":
            return [*entered, name], outcome


ALL_TOLD = ["Compose message", "Tell people", "Tell machines", "Chat wanted?", "Tell chat",
            "Settle message"]  # fmt: skip


@pytest.mark.parametrize(
    ("failing", "entered", "outcome"),
    [
        ({}, ALL_TOLD, "told"),
        ({"Compose message": "PareError"},
         ["Compose message", "Refused", "Settle message"], "refused"),
        ({"Tell people": "Sns.KmsDisabledException"},
         ["Compose message", "Tell people", "Refused", "Settle message"], "refused"),
        ({"Tell people": "Sns.InternalErrorException"},
         ["Compose message", "Tell people", "Perhaps told", "Settle message"], "unknown"),
        ({"Tell people": "States.Timeout"},
         ["Compose message", "Tell people", "Perhaps told", "Settle message"], "unknown"),
        # Once people were told, they were told.
        ({"Tell machines": "Sns.NotFoundException"}, ALL_TOLD, "told"),
        ({"Tell chat": "Sns.NotFoundException"}, ALL_TOLD, "told"),
        ({"Settle message": "AwsCallError"}, [*ALL_TOLD, "Unsettled"], "told"),
    ],
)  # fmt: skip
def test_a_message_is_settled_by_what_sns_said(
    message: Json, failing: dict[str, str], entered: list[str], outcome: str
) -> None:
    assert ends_of(message, message["StartAt"], failing) == (entered, outcome)


def test_one_message_never_stops_the_others(pipeline: Template, message: Json) -> None:
    # An inline map ends with its first iteration that fails.
    for name, state in message["States"].items():
        assert state["Type"] != "Fail", name
        if state["Type"] == "Task":
            assert state["Catch"][-1]["ErrorEquals"] == ["States.ALL"], name
    tell = pipeline.state_machines()["Notification"]["States"]["Tell each"]
    assert tell["ItemProcessor"]["ProcessorConfig"] == {"Mode": "INLINE"}
    assert tell["MaxConcurrency"] == 1  # the gravest first
    assert tell["ItemSelector"]["outcome"] == "told"


def test_what_a_message_leaves_in_the_round_is_small(message: Json) -> None:
    """Some hundreds of them share the 256 KiB of a state: no text, no finding."""
    left = {name for name, state in message["States"].items() if state.get("End")}
    assert left == {"Settle message", "Unsettled"}
    settled = fields_of(hints(inspect.unwrap(settle_message.lambda_handler))["return"])
    assert settled.keys() == {"message_id", "outcome", "error", "untold"}
    unsettled = message["States"]["Unsettled"]["Parameters"]
    assert {key.removesuffix(".$") for key in unsettled} == settled.keys()


def test_a_round_goes_on_until_nothing_is_left_to_tell(pipeline: Template) -> None:
    found = pipeline.state_machines()["Notification"]["States"]
    assert found["Tell each"]["Next"] == "More to tell?"
    assert found["More to tell?"]["Choices"] == [
        {"Variable": "$.collected.has_more", "BooleanEquals": True, "Next": "Collect news"}
    ]
    assert found["More to tell?"]["Default"] == "Record run"


def test_a_message_costs_few_transitions(pipeline: Template, message: Json) -> None:
    assert transitions(message, {"Chat wanted?": "Settle message"}) == 5
    assert transitions(message, {"Chat wanted?": "Tell chat"}) == 6
    # A round that finds nothing to tell.
    empty = {"More to tell?": "Record run", "Run outcome?": "Run recorded"}
    assert transitions(pipeline.state_machines()["Notification"], empty) == 6  # type: ignore[arg-type]


def test_a_round_has_room_for_the_messages_that_it_may_send(message: Json) -> None:
    """A history has 25,000 events, a state 256 KiB: more would end the round, and nothing sees it.

    https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
    """
    # Of a task: entered, scheduled, started, succeeded, left; of others: entered and left.
    events = sum(5 if state["Type"] == "Task" else 2 for state in message["States"].values())
    most = collect_news.MAX_SINGLES + 10 * collect_news.MAX_STEPS
    assert most * (events + 4) < 25_000
    bucket = "b" * 63
    key = f"notifications/2026-11-22/{uuid.uuid4()}.json"
    planned: Json = {"message_id": str(uuid.uuid4()), "ref": {"bucket": bucket, "key": key}}
    failure = "Sns.KmsInvalidStateException"
    settled = {"message_id": planned["message_id"], "outcome": "refused", "error": failure,
               "untold": ["machines", "chat"]}  # fmt: skip
    sentence = f"nobody knows whether people got message {planned['message_id']} ({failure})"
    left = collect_news.MAX_SINGLES * (
        len(json.dumps(planned)) + len(json.dumps(settled)) + 3 + len(sentence)
    )
    assert left < 256 * 1024


def test_findings_of_a_minute_start_one_round(pipeline: Template) -> None:
    finding = dict(states(pipeline.state_machines()["Finding"]))
    wait, start = finding["Wait until settled"], finding["Start notification workflow"]
    assert (wait["TimestampPath"], wait["Next"]) == (
        "$.recorded.notify_at", "Start notification workflow",
    )  # fmt: skip
    assert start["Parameters"]["Name.$"] == "$.recorded.notification_name"
    assert start["Catch"][0] == {
        "ErrorEquals": ALREADY_STARTED,
        "ResultPath": "$.notification_workflow",
        "Next": "Record run",
    }
    given = {key.removesuffix(".$") for key in start["Parameters"]["Input"]}
    assert given == {"as_of", "kind"}
    assert given <= fields_of(collect_news.Start).keys()


def test_a_finding_that_cannot_be_enriched_is_recorded_all_the_same(pipeline: Template) -> None:
    finding = pipeline.state_machines()["Finding"]["States"]

    assert finding["Enrich finding"]["Catch"] == [
        {
            "ErrorEquals": ["States.ALL"],
            "ResultPath": "$.finding.enrich_failure",
            "Next": "Record finding",
        }
    ]
    # It takes the finding with what failed.
    assert finding["Record finding"]["Parameters"]["finding.$"] == "$.finding"
    assert "enrich_failure" in get_type_hints(record_finding.TakenJson)


def test_a_call_that_came_before_its_finding_is_tried_again_for_longer_than_it_is_waited_for(
    pipeline: Template,
) -> None:
    retry = pipeline.state_machines()["Finding"]["States"]["Record archiver"]["Retry"]
    (later,) = [each for each in retry if each["ErrorEquals"] == ["FindingNotRecordedError"]]

    waits = [
        min(later["IntervalSeconds"] * later["BackoffRate"] ** number, later["MaxDelaySeconds"])
        for number in range(later["MaxAttempts"])
    ]
    # Each wait is any time up to its length: half of it in the mean.
    assert sum(waits) / 2 > 4 * record_archiver.WAITED_FOR.total_seconds()


def test_of_the_doctors_test_event_it_is_noted_for_a_day_that_it_arrived_and_no_more(
    pipeline: Template,
) -> None:
    finding = pipeline.state_machines()["Finding"]["States"]
    chosen = {each["StringEquals"]: each["Next"] for each in finding["What came?"]["Choices"]}
    assert chosen["check"] == "Record check"
    record = finding["Record check"]
    assert record["Resource"] == "arn:aws:states:::dynamodb:putItem"
    assert record["Parameters"]["Item"] == {
        "workflow": {"S": "doctor"},
        "run_id": {"S.$": "$.normalized.check.check_id"},
        "region": {"S.$": "$.normalized.check.region"},
        "arrived_at": {"S.$": "$$.State.EnteredTime"},
        "expires_at": {"N.$": "$.normalized.check.expires_at"},
    }
    # Whoever sends thousands makes four transitions and one item each: no run record, which would
    # stay, no mail, no other execution.
    assert finding[record["Next"]] == {"Type": "Succeed"}


def test_findings_are_judged_and_told_by_the_settings(synthesis: Synthesis) -> None:
    machines = synthesis.pipeline.state_machines()
    terms = synthesis.settings.finding_terms()
    for workflow, step in (("Finding", "Enrich finding"), ("Finding", "Record finding"),
                           ("Notification", "Collect news"), ("Notification", "Settle message"),
                           ):  # fmt: skip
        assert tasks(machines[workflow])[step]["Parameters"]["terms"] == terms, step


# --- The policy workflow's ends -------------------------------------------------------------------


def test_whatever_ends_a_policy_generation_gives_the_accounts_turn_back(
    pipeline: Template,
) -> None:
    policy = dict(states(pipeline.state_machines()["Policy"]))
    for step in ("Start policy generation", "Get generated policy"):
        assert [each["Next"] for each in policy[step]["Catch"]] == ["Release lease"]
    release = policy["Release lease"]
    assert release["Next"] == "Policy generation unknown"
    # If that fails too, the lease ends by itself; the failure that is told is the first one.
    assert [(each["Next"], each["ResultPath"]) for each in release["Catch"]] == [
        ("Policy generation unknown", "$.released")
    ]
    # What goes well is released by "Get generated policy" itself (its handler test).
    assert policy["Policy generation ended?"]["Default"] == "Policy generation known"


def test_access_analyzers_turn_is_waited_for_and_nothing_else_is(pipeline: Template) -> None:
    policy = tasks(pipeline.state_machines()["Policy"])
    later = {
        name: retrier
        for name, task in policy.items()
        for retrier in task["Retry"]
        if retrier["ErrorEquals"] != PASSING_ERRORS
    }
    assert set(later) == {"Start policy generation"}
    assert later["Start policy generation"]["ErrorEquals"] == [
        "AccessAnalyzerQuotaError", "PolicyGenerationConflictError",
    ]  # fmt: skip


def test_each_source_of_evidence_has_its_name_and_one_that_failed_says_why(
    pipeline: Template,
) -> None:
    definition = pipeline.state_machines()["Policy"]
    gather = definition["States"]["Gather evidence"]
    assert gather["ResultSelector"] == {
        "route.$": "$[0].route",
        "policy_generation.$": "$[0].policy_generation",
        "activity.$": "$[1]",
        "last_accessed.$": "$[2]",
    }
    assert {each.removesuffix(".$") for each in gather["ResultSelector"]} == set(
        fields_of(build_policy.Gathered)
    )
    ends = [
        {name: state["Parameters"] for name, state in branch["States"].items()
         if state["Type"] == "Pass"}
        for branch in gather["Branches"]
    ]  # fmt: skip
    assert ends == [
        {
            f"Policy generation {what}": {"route.$": "$.route", "policy_generation": answer}
            for what, answer in (
                ("unknown", {"failure.$": "$.failure"}),
                ("known", {"outcome.$": "$.job.outcome"}),
                ("not asked", {}),
            )
        },
        {"Activity unknown": {"failure.$": "$.failure"}},
        {"Last accessed unknown": {"failure.$": "$.failure"}},
    ]
    for step, branch in (("Get activity", 1), ("Get last accessed", 2)):
        assert gather["Branches"][branch]["States"][step]["End"] is True


# --- Reading definitions --------------------------------------------------------------------------


def function_of(task: Json) -> str | None:
    """Return the function a task invokes, such as NormalizeFinding; None for an integration."""
    match = re.fullmatch(r"<(\w+?)[0-9A-F]{8}\.Arn>", task.get("Resource", ""))
    return match[1] if match else None


def module_of(function: str) -> Any:
    return importlib.import_module(f"lambdas.{FOLDERS[function]}.{MODULES[function]}")


def input_of(function: str) -> Any:
    """Return the type of what a step's handler takes."""
    return hints(inspect.unwrap(module_of(function).lambda_handler))["event"]


def parameters(state: Json) -> Iterator[tuple[str, Any]]:
    """Yield every key and plain value of what a state passes on."""

    def within(value: Any, key: str) -> Iterator[tuple[str, Any]]:
        if isinstance(value, dict):
            for inner, each in value.items():
                yield from within(each, inner)
        elif isinstance(value, list):
            for each in value:
                yield from within(each, key)
        else:
            yield key, value

    # A ResultSelector's paths lead into the result, not into the state.
    for source in (state, state.get("ItemReader", {})):
        for kind in ("Parameters", "ItemSelector"):
            yield from within(source.get(kind, {}), kind)


def paths(state: Json) -> Iterator[str]:
    """Yield every path a state reads."""
    yield from (value for key, value in parameters(state) if key.endswith(".$"))
    yield from (choice["Variable"] for choice in state.get("Choices", ()))
    for key in ("ErrorPath", "CausePath", "InputPath", "OutputPath", "ItemsPath", "SecondsPath",
                "TimestampPath"):  # fmt: skip
        if state.get(key) is not None:  # null: nothing is passed on
            yield state[key]


def results(definition: Json) -> dict[str, list[Any]]:
    """Return what is written under each name of the state, by type; Any where nothing says."""
    written: dict[str, list[Any]] = {}
    for _, state in states(definition):
        if (path := state.get("ResultPath")) and path != "$":
            step = function_of(state)
            kind: Any = Any
            if step:
                kind = hints(inspect.unwrap(module_of(step).lambda_handler))["return"]
            written.setdefault(path.removeprefix("$."), []).append(kind)
        elif (step := function_of(state)) and "ResultPath" not in state and "Next" in state:
            # What it returns is the state from here on.
            returned = hints(inspect.unwrap(module_of(step).lambda_handler))["return"]
            for name, kind in fields_of(returned).items():
                written.setdefault(name, []).append(kind)
        for catcher in state.get("Catch", ()):
            written.setdefault(catcher["ResultPath"].removeprefix("$."), []).append(Any)
    for _, state in states(definition):
        for name, kind in selected(state, written):
            written.setdefault(name, []).append(kind)
    return written


def selected(state: Json, written: dict[str, list[Any]]) -> Iterator[tuple[str, Any]]:
    """Yield name and type of what a map over a list gives each of its items."""
    for key, value in state.get("ItemSelector", {}).items():
        if not key.endswith(".$"):
            yield key, Any
        elif not value.startswith("$$.Map.Item.Value"):
            yield from ((key.removesuffix(".$"), kind) for kind in resolved(value, written))
        else:
            field = value.removeprefix("$$.Map.Item.Value").removeprefix(".")
            for kind in resolved(state["ItemsPath"], written):
                (item,) = get_args(kind)
                yield key.removesuffix(".$"), fields_of(item)[field] if field else item


def resolved(path: str, written: dict[str, list[Any]]) -> list[Any]:
    """Return the types of what may stand at a path; none if nothing does."""
    if path == "$":
        return [Any]
    if path.startswith("$$."):
        return [str]  # the context object
    first, *rest = path.removeprefix("$.").split(".")
    kinds = written.get(first, [])
    reached = f"$.{first}"
    for name in rest:
        if reached in THERE_BY_CHOICE:
            kinds = [without_none(kind) if type(None) in get_args(kind) else kind for kind in kinds]
        reached += f".{name}"
        kinds = [
            inner[name] if is_typeddict(kind) else Any
            for kind in kinds
            if kind is Any or (is_typeddict(kind) and name in (inner := fields_of(kind)))
        ]
    return [get_args(kind)[0] if is_optional(kind) else kind for kind in kinds]


# --- Reading types --------------------------------------------------------------------------------


def hints(value: Any) -> dict[str, Any]:
    """Return the annotations of a function or TypedDict, resolved."""
    return get_type_hints(value, localns=names_for(value), include_extras=True)


def names_for(value: Any) -> dict[str, Any]:
    """Return what the annotations of a function may name, or of a TypedDict and its bases."""
    names: dict[str, Any] = {}
    for each in value.__annotations__.values():
        if module := getattr(each, "__forward_module__", None):
            names |= names_of(module)
    return names | names_of(value.__module__)


def fields_of(kind: Any) -> dict[str, Any]:
    return hints(kind)


@cache
def names_of(module: str) -> dict[str, Any]:
    """Return what a module's annotations may name: its own names, and those it imports for types.

    The latter are not there when it runs, to keep a cold start short.
    """
    imported = importlib.import_module(module)
    names = dict(vars(imported))
    for node in ast.parse(inspect.getsource(imported)).body:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for statement in node.body:
                if isinstance(statement, ast.ImportFrom) and statement.module:
                    source = importlib.import_module(statement.module)
                    for alias in statement.names:
                        names[alias.asname or alias.name] = getattr(source, alias.name)
    return names


def is_optional(kind: Any) -> bool:
    return get_origin(kind) is NotRequired


def without_none(kind: Any) -> Any:
    (only,) = (each for each in get_args(kind) if each is not type(None))
    return only


def fits(given: Any, wanted: Any) -> bool:
    """Return whether what is given has what the reader wants."""
    if is_optional(wanted):
        (wanted,) = get_args(wanted)
    if Any in (given, wanted) or given == wanted:
        return True
    if is_typeddict(given) and is_typeddict(wanted):
        has, wants = fields_of(given), fields_of(wanted)
        return all(
            (key in has and fits(has[key], kind)) or (key not in has and is_optional(kind))
            for key, kind in wants.items()
        )
    return list in {given, get_origin(given)} and get_origin(wanted) is list
