"""What the templates tell the doctor, and which stacks go where."""

from __future__ import annotations

import json
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import pytest

from infra.member_access import MEMBER_CALLERS
from infra.setup import SCHEDULES
from pare.doctor.setup import METADATA_KEY, Setup
from tests.infra.synthesis import BY_HAND, HASH, WITHOUT_MEMBERS

if TYPE_CHECKING:
    from tests.infra.synthesis import Json, Synthesis, Template


def of_the_hub(synthesis: Synthesis) -> list[str]:
    return [each for each in synthesis.stacks if each not in BY_HAND]


# --- Metadata -----------------------------------------------------------------------------------


def test_the_pipeline_tells_the_doctor_what_is_deployed(anywhere: Synthesis) -> None:
    told = anywhere.pipeline.body["Metadata"][METADATA_KEY]
    assert Setup.from_json(told) == anywhere.settings.setup()


def test_every_stack_of_the_hub_tells_its_version(synthesis: Synthesis) -> None:
    for stack in of_the_hub(synthesis):
        body = synthesis.templates[stack].body
        assert body["Metadata"][METADATA_KEY]["version"] == version("pare"), stack
        # CloudFormation takes no update of the metadata alone: what changes with it is an output.
        value = body["Outputs"]["PareVersion"]["Value"]
        assert value.partition("+")[0] == version("pare"), stack
    pipeline = synthesis.pipeline.body["Outputs"]["PareVersion"]["Value"]
    assert len(pipeline.partition("+")[2]) == 12


def test_the_schedules_and_roles_told_are_those_of_the_template(pipeline: Template) -> None:
    setup = Setup.from_json(pipeline.body["Metadata"][METADATA_KEY])
    schedules = pipeline.resources("AWS::Scheduler::Schedule")
    assert sorted(HASH.sub("", each) for each in schedules) == sorted(setup.schedules)
    assert setup.schedules == SCHEDULES
    named = {
        role["RoleName"]
        for role in pipeline.properties("AWS::IAM::Role").values()
        if "RoleName" in role
    }
    assert {each for roles in setup.callers.values() for each in roles} == named
    assert len(setup.callers["member"]) == len(MEMBER_CALLERS)
    assert setup.callers["read_trail"] == ("PareDigestLogs",)


def test_the_partition_told_is_that_of_the_regions(anywhere: Synthesis) -> None:
    assert anywhere.settings.trail.arn.startswith(f"arn:{anywhere.settings.setup().partition}:")


def test_everybody_who_must_confirm_a_subscription_is_told(anywhere: Synthesis) -> None:
    subscribed: dict[str, set[str]] = {}
    for each in anywhere.pipeline.properties("AWS::SNS::Subscription").values():
        if each["Protocol"] == "email":
            topic = anywhere.pipeline.readable(each["TopicArn"])
            subscribed.setdefault(topic, set()).add(each["Endpoint"])
    setup = anywhere.settings.setup()
    told = {"TopicsPeople": set(setup.emails), "TopicsAlarms": set(setup.alarm_emails or ())}
    assert {topic: emails for topic, emails in told.items() if emails} == subscribed != {}


# --- Which stacks go where ----------------------------------------------------------------------


def manifest(synthesis: Synthesis, stack: str) -> dict[str, Json]:
    text = (synthesis.assembly(stack) / "manifest.json").read_text(encoding="utf-8")
    artifacts: dict[str, Json] = json.loads(text)["artifacts"]
    return artifacts


def stacks_in(artifacts: dict[str, Json]) -> set[str]:
    return {name for name, each in artifacts.items() if each["type"] == "aws:cloudformation:stack"}


def test_deploy_all_takes_the_stacks_of_the_hub_and_no_others(anywhere: Synthesis) -> None:
    # The CDK CLI takes the stacks of the main assembly for --all, and a stage is another one
    # (aws-cdk 2.1118: explicitOrDefaultStacks in lib/cli/cli.js).
    artifacts = manifest(anywhere, "ParePipeline")
    assert stacks_in(artifacts) == {anywhere.artifact(each) for each in of_the_hub(anywhere)}
    hub = anywhere.settings.hub_account_id
    for name in stacks_in(artifacts):
        assert artifacts[name]["environment"].startswith(f"aws://{hub}/"), name
    nested = [each for each in artifacts.values() if each["type"] == "cdk:cloud-assembly"]
    assert [each["properties"]["directoryName"] for each in nested] == ["assembly-ByHand"]


def test_what_is_deployed_by_hand_goes_to_its_account_under_its_plain_name(
    anywhere: Synthesis,
) -> None:
    settings, artifacts = anywhere.settings, manifest(anywhere, "PareMember")
    assert stacks_in(artifacts) == {anywhere.artifact(each) for each in BY_HAND}
    found: dict[str, tuple[Any, Any]] = {
        stack: (
            artifacts[anywhere.artifact(stack)]["environment"],
            anywhere.manifest(stack)["stackName"],
        )
        for stack in BY_HAND
    }
    assert found == {
        # In one Region, whatever the shell says: in a second one the roles' names would be taken.
        "PareMember": (f"aws://unknown-account/{settings.home_region}", "PareMember"),
        "PareLogArchive": (
            f"aws://{settings.log_archive_account_id}/{settings.trail.bucket_region}",
            "PareLogArchive",
        ),
    }


@pytest.mark.parametrize("stack", BY_HAND)
def test_what_is_deployed_by_hand_depends_on_nothing(synthesis: Synthesis, stack: str) -> None:
    artifact = manifest(synthesis, stack)[synthesis.artifact(stack)]
    of_stacks = set(artifact.get("dependencies", ())) & stacks_in(manifest(synthesis, stack))
    assert of_stacks == set()


def test_the_stack_set_is_there_unless_the_accounts_get_their_stacks_by_hand(
    anywhere: Synthesis,
) -> None:
    settings, artifacts = anywhere.settings, manifest(anywhere, "ParePipeline")
    by_hand = settings.partition == WITHOUT_MEMBERS
    assert settings.member_stacks == ("by-hand" if by_hand else "stack-set")
    assert settings.setup().has_stack_set is not by_hand
    assert ("PareMembers" in stacks_in(artifacts)) is not by_hand
    assert ("PareMembers" in artifacts["ParePipeline"]["dependencies"]) is not by_hand
    # Then it is for all of them, the hub too.
    assert anywhere.artifact("PareMember") in manifest(anywhere, "PareMember")
