"""cfn-lint accepts every template, in every partition."""

from __future__ import annotations

import copy
import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from cfnlint import api
from cfnlint.config import ManualArgs

from tests.infra.synthesis import PLACES, STACKS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.infra.synthesis import Synthesis, Template

# Warnings that stand, each with the reason. One that no longer occurs fails the test below.
EXPLAINED = {
    "W3005": "CDK lists what a resource refers to under DependsOn as well: redundant, and right.",
    "W6001": "Whoever looks for Pare looks at the outputs of one stack; the tables are in another.",
}
# Informational rules that say something about permissions; the rest is about style.
INFORMATIONAL = ["I3510"]


def lint(text: str, regions: list[str]) -> list[Any]:
    """Return what cfn-lint finds, as it would be printed."""
    arguments = ManualArgs(regions=regions, include_checks=INFORMATIONAL)
    return list(api.lint(text, config=arguments))


@pytest.mark.parametrize(("partition", "stack"), PLACES)
def test_every_template_passes_in_every_partition(
    synthesis_in: Callable[[str], Synthesis], partition: str, stack: str
) -> None:
    synthesis = synthesis_in(partition)
    settings = synthesis.settings
    region = settings.other_regions[0] if stack == "PareRegion" else settings.home_region
    found = [str(each) for each in lint(synthesis.text(stack), [region])]
    unexplained = [each for each in found if each[1:].partition(":")[0] not in EXPLAINED]
    assert unexplained == []


def test_every_explained_warning_still_occurs(synthesis: Synthesis) -> None:
    found = {
        each.rule.id
        for stack in STACKS
        for each in lint(synthesis.text(stack), [synthesis.settings.home_region])
    }
    assert found == set(EXPLAINED)


def test_every_state_machine_has_the_shape_the_states_language_wants(synthesis: Synthesis) -> None:
    assert structure_faults(with_definitions(synthesis.pipeline)) == []


def test_a_fault_in_a_state_machine_is_found(synthesis: Synthesis) -> None:
    # cfn-lint looks into a definition only if it is written out.
    body = with_definitions(synthesis.pipeline)
    machine = next(
        each for each in body["Resources"].values() if each["Type"].endswith("::StateMachine")
    )
    next(iter(machine["Properties"]["Definition"]["States"].values()))["Retri"] = []
    assert len(structure_faults(body)) == 1


def with_definitions(template: Template) -> dict[str, Any]:
    """Return a template whose state machines are written out as objects."""
    body = copy.deepcopy(template.body)
    arn = r"arn:aws:lambda:us-east-1:222222222222:function:\1"
    definitions = {
        name: json.loads(re.sub(r"<(\w+)(\.Arn)?>", arn, json.dumps(definition)))
        for name, definition in template.state_machines().items()
    }
    for logical_id, resource in body["Resources"].items():
        if resource["Type"] == "AWS::StepFunctions::StateMachine":
            del resource["Properties"]["DefinitionString"]
            name = next(each for each in definitions if logical_id.startswith(each))
            resource["Properties"]["Definition"] = definitions[name]
    return body


def structure_faults(body: dict[str, Any]) -> list[str]:
    return [str(each) for each in lint(json.dumps(body), ["us-east-1"]) if each.rule.id[0] == "E"]
