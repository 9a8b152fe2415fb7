"""Templates that go anywhere, and come out the same every time."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from pare.inventory import flags
from tests.infra.synthesis import EXAMPLE, PARTITIONS, PLACES, ROOT, STACKS, Synthesis

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.infra.synthesis import Template

# https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html
TEMPLATE_BODY_BYTES = 51_200
REGION = re.compile(r"\b(?:us|eu|ap|sa|ca|me|af|il|mx|cn)(?:-gov|-iso[a-z]?)?-[a-z]+-\d\b")
ACCOUNT = re.compile(r"(?<!\d)\d{12}(?!\d)")
PARTITION = re.compile(r"arn:aws\b")
# What the code itself names of partitions, Regions and accounts: (file, literal) -> why it may.
LITERALS = {
    **dict.fromkeys(
        (("infra/settings.py", each) for each in (
            "111111111111", "222222222222", "333333333333",
            "arn:aws:cloudtrail:us-east-1:111111111111:trail/organization",
        )),
        "The example's values, so that synth can say they are still there.",
    ),
    **dict.fromkeys(
        ((file, each) for file in ("infra/inline/log_archive.py", "pare/aws/probe.py")
         for each in ("us-east-1", "eu-west-1")),
        "What S3 calls no location, and EU.",
    ),
    **dict.fromkeys(
        ((file, "us-east-1") for file in (
            "pare/aws/log_address.py", "pare/cli_last_accessed.py",
        )),
        "Where somebody asks at a terminal who has chosen no Region.",
    ),
    ("pare/cloudtrail/pass_role.py",
     "arn:aws[a-z-]*:iam::[0-9]{12}:role/[A-Za-z0-9+=,.@_/-]{1,576}"):
        "A pattern that knows every partition.",
    ("pare/doctor/log_archive.py", "arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+"):
        "A pattern that knows every partition.",
    ("pare/policy/no_new_access.py", "000000000000"): "An account that nobody has.",
    **dict.fromkeys(
        (("pare/log_archive/lacking.py", each) for each in (
            "111122223333", "444455556666", "/CloudTrail/us-east-1/",
        )),
        "Accounts and a Region that stand for any, to try a policy with.",
    ),
}  # fmt: skip


# --- Partitions, accounts, Regions ----------------------------------------------------------------


@pytest.mark.parametrize(("partition", "stack"), [place for place in PLACES if place[0] != "aws"])
def test_no_stack_names_the_partition_aws_elsewhere(
    synthesis_in: Callable[[str], Synthesis], partition: str, stack: str
) -> None:
    assert "arn:aws:" not in synthesis_in(partition).text(stack)


def test_the_member_template_has_no_partition_but_where_the_settings_have_one(
    anywhere: Synthesis,
) -> None:
    literal = re.findall(r"arn:aws[a-z-]*:[^\"]*", anywhere.text("PareMember"))
    trail = anywhere.settings.trail
    assert set(literal) == {trail.arn, *trail.kms_key_arns}


@pytest.mark.parametrize(("partition", "stack"), PLACES)
def test_every_account_and_region_in_a_template_is_the_settings(
    synthesis_in: Callable[[str], Synthesis], partition: str, stack: str
) -> None:
    synthesis = synthesis_in(partition)
    settings, text = synthesis.settings, synthesis.text(stack)
    # Of code that stands in a template, every literal is looked at below.
    for code in re.findall(r'"ZipFile": ("(?:[^"\\]|\\.)*")', text):
        text = text.replace(code, "")
    said = json.dumps([str(settings), settings.hub_account_id])
    assert set(ACCOUNT.findall(text)) <= set(ACCOUNT.findall(said))
    assert set(REGION.findall(text)) <= set(REGION.findall(said))


def test_the_member_template_goes_into_any_region(anywhere: Synthesis) -> None:
    text = anywhere.text("PareMember")
    for arn in (anywhere.settings.trail.arn, *anywhere.settings.trail.kms_key_arns):
        assert arn in text
        text = text.replace(arn, "")
    assert REGION.findall(text) == []


def literals(text: str) -> Iterator[str]:
    """Yield every string of a module that is no docstring."""
    tree = ast.parse(text)
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = {
        node.body[0].value
        for node in ast.walk(tree)
        if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and node not in docstrings
        ):
            yield node.value


def test_the_code_names_no_partition_account_or_region_but_with_a_reason() -> None:
    found = {
        (file.relative_to(ROOT).as_posix(), literal)
        for folder in ("pare", "lambdas", "infra")
        for file in (ROOT / folder).rglob("*.py")
        for literal in literals(file.read_text(encoding="utf-8"))
        if PARTITION.search(literal) or ACCOUNT.search(literal) or REGION.search(literal)
    }
    assert found == LITERALS.keys()
    assert all(reason.endswith(".") for reason in LITERALS.values())


def test_a_literal_in_the_code_is_found() -> None:
    code = '"""arn:aws:iam::111122223333:root"""\nbus = f"arn:aws:events:{region}:bus"\n'
    assert list(literals(code)) == ["arn:aws:events:", ":bus"]


def test_the_pattern_for_regions_knows_those_of_every_partition() -> None:
    for regions in PARTITIONS.values():
        for region in regions:
            assert REGION.fullmatch(region)


# --- PareMember: what StackSets take (facts §6) ---------------------------------------------------


# stack -> the sections of its template
WITHOUT_BOOTSTRAP = {
    "PareMember": {"Description", "Resources"},
    "PareLogArchive": {"Description", "Outputs", "Parameters", "Resources"},
    "PareRegion": {"Description", "Metadata", "Outputs", "Resources"},
}


@pytest.mark.parametrize("stack", WITHOUT_BOOTSTRAP)
def test_what_goes_elsewhere_needs_no_bootstrap_no_assets_and_no_macros(
    anywhere: Synthesis, stack: str
) -> None:
    assert set(anywhere.templates[stack].body) == WITHOUT_BOOTSTRAP[stack]


@pytest.mark.parametrize("stack", WITHOUT_BOOTSTRAP)
def test_what_goes_elsewhere_publishes_nothing(synthesis: Synthesis, stack: str) -> None:
    text = (synthesis.assembly(stack) / "manifest.json").read_text(encoding="utf-8")
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
    again = Synthesis(synthesis.settings, tmp_path / "out")
    for stack in STACKS:
        assert again.text(stack) == synthesis.text(stack), stack


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
