"""Templates that go anywhere, and come out the same every time."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from pare.inventory import flags
from tests.infra.synthesis import EXAMPLE, PARTITIONS, ROOT, STACKS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.infra.synthesis import Synthesis, Template

# https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html
TEMPLATE_BODY_BYTES = 51_200
REGION = re.compile(r"\b(?:us|eu|ap|sa|ca|me|af|il|mx|cn)(?:-gov|-iso[a-z]?)?-[a-z]+-\d\b")
ACCOUNT = re.compile(r"(?<!\d)\d{12}(?!\d)")


# --- Partitions, accounts, Regions ----------------------------------------------------------------


@pytest.mark.parametrize("partition", sorted(set(PARTITIONS) - {"aws"}))
@pytest.mark.parametrize("stack", STACKS)
def test_no_stack_names_the_partition_aws_elsewhere(
    synthesis_in: Callable[[str], Synthesis], partition: str, stack: str
) -> None:
    assert "arn:aws:" not in synthesis_in(partition).text(stack)


def test_the_member_template_has_no_partition_but_where_the_settings_have_one(
    anywhere: Synthesis,
) -> None:
    literal = re.findall(r"arn:aws[a-z-]*:[^\"]*", anywhere.text("PareMember"))
    key = anywhere.settings.trail.kms_key_arn
    assert literal == ([key] if key else [])


@pytest.mark.parametrize("stack", STACKS)
def test_every_account_and_region_in_a_template_is_the_settings(
    anywhere: Synthesis, stack: str
) -> None:
    settings, text = anywhere.settings, anywhere.text(stack)
    said = json.dumps([str(settings), settings.hub_account_id])
    assert set(ACCOUNT.findall(text)) <= set(ACCOUNT.findall(said))
    assert set(REGION.findall(text)) <= set(REGION.findall(said))


def test_the_member_template_goes_into_any_region(anywhere: Synthesis) -> None:
    key = anywhere.settings.trail.kms_key_arn or ""
    text = anywhere.text("PareMember").replace(key, "") if key else anywhere.text("PareMember")
    assert REGION.findall(text) == []


def test_the_pattern_for_regions_knows_those_of_every_partition() -> None:
    for regions in PARTITIONS.values():
        for region in regions:
            assert REGION.fullmatch(region)


# --- PareMember: what StackSets take (facts §6) ---------------------------------------------------


WITHOUT_BOOTSTRAP = ("PareMember", "PareRegion")


@pytest.mark.parametrize("stack", WITHOUT_BOOTSTRAP)
def test_what_goes_elsewhere_needs_no_bootstrap_no_assets_and_no_macros(
    anywhere: Synthesis, stack: str
) -> None:
    assert set(anywhere.templates[stack].body) == {"Description", "Resources"}


@pytest.mark.parametrize("stack", WITHOUT_BOOTSTRAP)
def test_what_goes_elsewhere_publishes_nothing(synthesis: Synthesis, stack: str) -> None:
    text = (synthesis.folder / "manifest.json").read_text(encoding="utf-8")
    assert f"{synthesis.artifact(stack)}.assets" not in text
    assert not {"stackTemplateAssetObjectUrl", "assumeRoleArn"} & (synthesis.manifest(stack).keys())


@pytest.mark.parametrize("stack", WITHOUT_BOOTSTRAP)
def test_what_goes_elsewhere_is_small_enough_to_be_sent_as_it_is(
    anywhere: Synthesis, stack: str
) -> None:
    assert len(anywhere.text(stack).encode()) < TEMPLATE_BODY_BYTES


def test_the_member_template_has_roles_and_nothing_else(member: Template) -> None:
    types = {resource["Type"] for resource in member.resources().values()}
    assert types == {"AWS::IAM::Role", "AWS::IAM::Policy"}


# --- Same settings, same bytes --------------------------------------------------------------------

AGAIN = """
from pathlib import Path
import sys
from infra.settings import load_settings
from tests.infra.synthesis import synthesize
synthesize(load_settings(sys.argv[1]), Path(sys.argv[2]))
"""


def test_the_same_settings_give_the_same_bytes(synthesis: Synthesis, tmp_path: Path) -> None:
    # In another process: sets and dictionaries there have another order.
    subprocess.run(
        [sys.executable, "-c", AGAIN, str(EXAMPLE), str(tmp_path / "out")],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "4711"},
        check=True,
        capture_output=True,
    )
    for stack in STACKS:
        name = f"{synthesis.artifact(stack)}.template.json"
        again = (tmp_path / "out" / name).read_text(encoding="utf-8")
        assert again == synthesis.text(stack), stack


@pytest.mark.parametrize("stack", ["ParePipeline", "PareMember", "PareRegion"])
def test_the_inventory_knows_our_own_roles_and_their_owner(
    synthesis: Synthesis, stack: str
) -> None:
    owner = {"Key": "owner", "Value": synthesis.settings.notifications.default_owner}
    own = {"Key": flags.OWN_TAG, "Value": flags.OWN}
    roles = synthesis.templates[stack].properties("AWS::IAM::Role")
    assert roles
    for name, role in roles.items():
        assert owner in role["Tags"], name
        assert own in role["Tags"], name
