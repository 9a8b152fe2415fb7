"""One step, one name: module, STEPS, function, state and test agree (style rule 4).

And what a function is given in its environment is what its module reads.
"""

from __future__ import annotations

import importlib
import re
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import pytest

from infra.lambda_function import pascal, sentence
from infra.member_access import MEMBER_CALLERS, TRAIL_READERS
from infra.pipeline_stack import STEPS
from tests.infra.synthesis import HASH, ROOT, as_list, tasks

if TYPE_CHECKING:
    from types import ModuleType

    from tests.infra.synthesis import Json, Synthesis, Template

ALL_STEPS = [(folder, step) for folder, steps in STEPS.items() for step in steps]
POWERTOOLS = {
    "POWERTOOLS_SERVICE_NAME": "pare",
    "POWERTOOLS_METRICS_NAMESPACE": "Pare",
    "POWERTOOLS_LOG_LEVEL": "INFO",
}


def module_of(folder: str, step: str) -> ModuleType:
    return importlib.import_module(f"lambdas.{folder}.{step}")


def functions(template: Template) -> dict[str, Json]:
    """Return the properties of every function by its construct id, such as NormalizeFinding."""
    found = template.properties("AWS::Lambda::Function")
    return {HASH.sub("", logical_id): properties for logical_id, properties in found.items()}


def variables(template: Template, step: str) -> dict[str, str]:
    """Return a function's own variables, readable."""
    given = functions(template)[pascal(step)]["Environment"]["Variables"]
    return {name: template.readable(given[name]) for name in given if name not in POWERTOOLS}


def actions_on(template: Template, step: str, resource: str) -> set[str]:
    """Return what a function may do on resources whose readable name starts so."""
    role = functions(template)[pascal(step)]["Role"]["Fn::GetAtt"][0]
    return {
        action
        for statement in template.statements_of(role)
        for each in as_list(statement["Resource"])
        if template.readable(each).lstrip("<").startswith(resource)
        for action in as_list(statement["Action"])
    }


# --- Names ----------------------------------------------------------------------------------------


def test_every_module_is_a_step_and_every_step_a_module() -> None:
    modules = {
        (file.parent.name, file.stem)
        for file in (ROOT / "lambdas").glob("*/*.py")
        if file.stem != "__init__"
    }
    assert modules == set(ALL_STEPS)


def test_every_step_is_one_function_under_its_own_name(pipeline: Template) -> None:
    assert sorted(functions(pipeline)) == sorted(pascal(step) for _, step in ALL_STEPS)


def test_every_step_is_a_state_under_its_own_name(pipeline: Template) -> None:
    found = {
        (name, match[1])
        for definition in pipeline.state_machines().values()
        for name, state in tasks(definition).items()
        if (match := re.fullmatch(r"<(\w+?)[0-9A-F]{8}\.Arn>", state["Resource"]))
    }
    assert found == {(sentence(step), pascal(step)) for _, step in ALL_STEPS}


def test_every_step_has_its_handler_test_and_no_test_lacks_a_step() -> None:
    folder_of_tests = ROOT / "tests" / "handlers"
    tests = {
        (folder, file.stem.removeprefix("test_"))
        for folder in STEPS
        for file in (folder_of_tests / folder).glob("test_*.py")
    }
    assert tests == set(ALL_STEPS)


@pytest.mark.parametrize(("folder", "step"), ALL_STEPS)
def test_the_handler_can_be_imported(pipeline: Template, folder: str, step: str) -> None:
    handler = functions(pipeline)[pascal(step)]["Handler"]
    assert handler == f"lambdas.{folder}.{step}.lambda_handler"
    module, _, name = handler.rpartition(".")
    assert callable(getattr(importlib.import_module(module), name))


# --- Environment ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("folder", "step"), ALL_STEPS)
def test_the_variables_of_a_function_are_the_fields_of_its_environment(
    pipeline: Template, folder: str, step: str
) -> None:
    environment = getattr(module_of(folder, step), "Environment", None)
    wanted = {field.name.upper() for field in fields(environment)} if environment else set()
    assert set(variables(pipeline, step)) == wanted


def test_every_function_has_the_same_powertools_variables(pipeline: Template) -> None:
    for function, properties in functions(pipeline).items():
        given = properties["Environment"]["Variables"]
        powertools = {name: given[name] for name in given if name.startswith("POWERTOOLS_")}
        assert powertools == POWERTOOLS, function


@pytest.mark.parametrize(
    ("variable", "resource"),
    [
        ("FINDINGS_TABLE_NAME", "PareStorage.FindingsTable"),
        ("CARDS_TABLE_NAME", "PareStorage.CardsTable"),
        ("PRINCIPALS_TABLE_NAME", "PareStorage.PrincipalsTable"),
        ("PROPOSALS_TABLE_NAME", "PareStorage.ProposalsTable"),
        ("RUNS_TABLE_NAME", "PareStorage.RunsTable"),
        ("EVIDENCE_BUCKET_NAME", "PareStorage.EvidenceBucket"),
        ("PEOPLE_TOPIC_ARN", "TopicsPeople"),
        ("MACHINES_TOPIC_ARN", "TopicsMachines"),
        ("CHAT_TOPIC_ARN", "TopicsChat"),
        ("POLICY_WORKFLOW_ARN", "PolicyWorkflowPolicyStateMachine"),
        ("FINDING_WORKFLOW_ARN", "FindingWorkflowFindingStateMachine"),
    ],
)
def test_who_is_told_of_a_resource_may_use_it_and_nobody_else(
    pipeline: Template, variable: str, resource: str
) -> None:
    told = {step for _, step in ALL_STEPS if variable in variables(pipeline, step)}
    allowed = {step for _, step in ALL_STEPS if actions_on(pipeline, step, resource)}
    assert told == allowed != set()
    assert {variables(pipeline, step)[variable] for step in told} == {resource}


def test_who_is_told_of_the_member_role_may_assume_it_and_nobody_else(pipeline: Template) -> None:
    told = {
        step for _, step in ALL_STEPS if "MEMBER_ROLE_ARN_TEMPLATE" in variables(pipeline, step)
    }
    role = "arn:<AWS::Partition>:iam::*:role/PareMember"
    allowed = {step for _, step in ALL_STEPS if actions_on(pipeline, step, role)}
    assert told == allowed
    assert {pascal(step) for step in told} == set(MEMBER_CALLERS)


def test_settings_arrive_in_the_environment(synthesis: Synthesis) -> None:
    settings, pipeline = synthesis.settings, synthesis.pipeline
    values: dict[str, set[Any]] = {}
    for _, step in ALL_STEPS:
        for name, value in variables(pipeline, step).items():
            values.setdefault(name, set()).add(value)
    given = {name: value for name, (value, *rest) in values.items() if not rest}
    assert given.keys() == values.keys()  # one value each, in whichever function
    arn = "arn:<AWS::Partition>:iam::{account_id}:role"
    generation = settings.policy_generation
    # The first poll comes after three intervals.
    polls = generation.max_wait_minutes * 60 / generation.poll_seconds - 2
    resources = "TABLE|BUCKET|TOPIC|WORKFLOW"
    assert {name: given[name] for name in given if not re.search(resources, name)} == {
        "ACCESS_ROLE_ARN_TEMPLATE": f"{arn}/service-role/AccessAnalyzerMonitorServiceRole_Pare",
        "ACCOUNT_EXCLUSIONS": ",".join(settings.account_exclusions),
        "BREAK_GLASS_TAG": settings.break_glass_tag,
        "CALLS_PER_SECOND": str(settings.inventory.calls_per_second),
        "DEFAULT_OWNER": settings.notifications.default_owner,
        "EVIDENCE": "auto",
        "IDLE_DAYS": str(settings.inventory.idle_days),
        "KEY_MAX_AGE_DAYS": str(settings.inventory.key_max_age_days),
        "LANGUAGE": settings.notifications.language,
        "LEASE_MINUTES": str(generation.max_wait_minutes + 15),
        "MAX_POLLS": f"{polls:.0f}",
        "MEMBER_EXTERNAL_ID": settings.member_external_id,
        "MEMBER_ROLE_ARN_TEMPLATE": f"{arn}/PareMember",
        "OWNER_TAG_KEYS": ",".join(settings.owner_tag_keys),
        "POLL_SECONDS": str(generation.poll_seconds),
        "TIME_ZONE": settings.schedule.time_zone,
        "TRAIL_ARN": settings.trail.arn,
        "TRAIL_LOG_ROOTS": "AWSLogs/",
        "TRAIL_MADE_BY_CONTROL_TOWER": "false",
        "TRAIL_REGION": settings.trail.region,
        "WINDOW_DAYS": str(settings.window_days),
    }


def test_the_steps_that_read_the_trail_know_its_bucket_and_the_folders_above_the_accounts(
    anywhere: Synthesis,
) -> None:
    settings, pipeline = anywhere.settings, anywhere.pipeline
    told = {
        pascal(step) for _, step in ALL_STEPS if "TRAIL_BUCKET_NAME" in variables(pipeline, step)
    }
    assert told == set(TRAIL_READERS)
    prefix = settings.trail.prefix
    for step in ("list_logs", "choose_route"):
        listing = variables(pipeline, step)
        assert listing["TRAIL_BUCKET_NAME"] == settings.trail.bucket
        assert listing["TRAIL_LOG_ROOTS"] == (f"{prefix}/AWSLogs/" if prefix else "AWSLogs/")


def test_every_function_is_traced_logs_json_and_has_a_role_of_its_own(pipeline: Template) -> None:
    each = functions(pipeline)
    for name, properties in each.items():
        assert properties["TracingConfig"] == {"Mode": "Active"}, name
        assert properties["LoggingConfig"]["LogFormat"] == "JSON", name
        log_group = HASH.sub("", properties["LoggingConfig"]["LogGroup"]["Ref"])
        assert log_group == f"{name}Logs"
        assert HASH.sub("", properties["Role"]["Fn::GetAtt"][0]) == f"{name}Role"
    assert {(f["Runtime"], tuple(f["Architectures"])) for f in each.values()} == {
        ("python3.14", ("arm64",))
    }
