"""The pages by which a person deploys, upgrades and removes Pare: every command is one that exists.

Whether the commands do what the page says was tried on the emulated organization; here they are
held to the models of AWS's own CLI, to the app's stacks, to `pare` and to what the pages rest on.
"""

from __future__ import annotations

import json
import re
import shlex
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import click
import pytest
from botocore import xform_name

from infra.by_hand import BY_HAND, LOG_ARCHIVE_STACK
from infra.member_stack import MEMBER_STACK
from infra.members_stack import MEMBERS_STACK
from infra.region_stack import region_stack_name
from infra.stacks import PIPELINE_STACK, STORAGE_STACK
from pare import cli
from pare.data_tables import read_table
from pare.policy.catalogue import load_catalogue
from pare.policy.document import parse
from tests.org.aws_cli import CALLED, NO_OPERATIONS, parameters, split
from tools import permission_tables

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PAGES = tuple(
    ROOT / "docs" / f"{name}.md" for name in ("deploy", "upgrade", "remove", "security", "cost")
)
STACKS = {
    STORAGE_STACK, PIPELINE_STACK, MEMBERS_STACK, region_stack_name("*"),
    f"{BY_HAND}/{MEMBER_STACK}", f"{BY_HAND}/{LOG_ARCHIVE_STACK}",
}  # fmt: skip
CDK_FLAGS = {"--all", "--quiet"}
PROFILES = {"management", "hub", "log-archive"}


def blocks(page: Path) -> Iterator[str]:
    """Yield what a page wants typed: its indented blocks."""
    text = page.read_text(encoding="utf-8")
    for found in re.findall(r"(?:^\n)((?:^ {4}.*\n)+)", text, re.M):
        yield re.sub(r"^ {4}", "", found, flags=re.M)


def typed(page: Path) -> Iterator[list[str]]:
    """Yield each command of a page as words; those inside of $(…) among them."""
    for block in blocks(page):
        text = block.replace("\\\n", " ")
        inner = re.findall(r"\$\(((?:aws|date|sed)[^()]*)\)", text)
        lines = re.sub(r"\$\((?:aws|date|sed)[^()]*\)", "X", text).splitlines()
        for line in [*lines, *inner]:
            words: list[str] = []
            into_file = False
            for word in [*_words(line), ";"]:
                if word in {"|", "&&", ";", ">"}:
                    if words:
                        yield words
                    # After > comes a file, which is no command.
                    words = []
                    into_file = word == ">"
                elif into_file:
                    into_file = False
                elif words or not re.fullmatch(r"export|do|eval|[A-Z_]+=.*", word):
                    words.append(word)


def _words(line: str) -> list[str]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;")
    lexer.whitespace_split = True
    return list(lexer)


def commands(program: str) -> list[tuple[str, list[str]]]:
    """Return what the pages type of a program: page, words."""
    return [
        (page.name, words)
        for page in PAGES
        for words in typed(page)
        if words[0].removeprefix(".venv/bin/") == program
    ]


def test_something_is_typed() -> None:
    assert len(commands("aws")) > 25
    assert len(commands("npx")) > 15
    assert len(commands("pare")) > 6


@pytest.mark.parametrize(("page", "words"), commands("aws"), ids=lambda each: str(each)[:80])
def test_a_command_of_aws_is_one_that_the_aws_cli_takes(page: str, words: list[str]) -> None:
    service, name, *more = split(words[1:]).words
    if service == "s3":
        assert (service, name, len(more)) == ("s3", "sync", 2), page
        return
    assert service not in NO_OPERATIONS
    command = split(words[1:])
    # What a page wrote into a file by the command before.
    options = {
        option: values
        for option, values in command.options.items()
        if not (values and values[0].startswith("file://"))
    }
    model = _service(CALLED.get(service, service))
    if name == "wait":
        waiters = {each.replace("_", "-"): each for each in model.waiter_names}
        waiter = model.get_waiter(waiters[more[0]])
        operation = model.meta.service_model.operation_model(waiter.config.operation)
    else:
        names = {xform_name(each, "-"): each for each in model.meta.service_model.operation_names}
        assert more == [], page
        operation = model.meta.service_model.operation_model(names[name])
    if options.keys() == command.options.keys():
        parameters(operation, options, raw_blobs=False, input_json=None)
    profile = command.globals.get("profile")
    assert profile in {*PROFILES, None}, page


@cache
def _service(name: str) -> Any:
    # No call is made.
    return boto3.client(  # type: ignore[call-overload]
        name, region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x"
    )


@pytest.mark.parametrize(("page", "words"), commands("npx"), ids=lambda each: str(each)[:80])
def test_a_command_of_cdk_names_stacks_of_the_app(page: str, words: list[str]) -> None:
    assert words[1] == "cdk", page
    verb, *rest = words[2:]
    assert verb in {"bootstrap", "deploy", "destroy", "diff", "synth"}, page
    if verb == "bootstrap":
        # Without its environment, the CLI goes through those of all stacks, ByHand's too.
        assert len(rest) == 1, page
        assert re.fullmatch(r"aws://\d{12}/[a-z0-9-]+", rest[0]), page
        return
    profile = rest.index("--profile") if "--profile" in rest else len(rest)
    assert set(rest[profile + 1 :]) <= PROFILES, page
    flags = {each for each in rest[:profile] if each.startswith("--")}
    assert flags <= CDK_FLAGS, page
    named = {each for each in rest[:profile] if not each.startswith("--")}
    assert named <= STACKS, page
    # Only what is not the hub's is deployed with a profile named in the command.
    assert all(each.startswith(BY_HAND) for each in named) == (profile < len(rest)) or not named


@pytest.mark.parametrize(("page", "words"), commands("pare"), ids=lambda each: str(each)[:80])
def test_a_command_of_pare_is_taken_by_pare(page: str, words: list[str]) -> None:
    command: click.Command = cli.main
    rest = words[1:]
    while isinstance(command, click.Group):
        command = command.commands[rest.pop(0)]
    command.make_context(page, rest)  # raises what the person would see


def test_the_groups_and_checks_that_pages_name_exist() -> None:
    checks = set(read_table("doctor_checks.json", schema_version=1)["checks"])
    groups = {each.partition(".")[0] for each in checks}
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for group, check in re.findall(
            r"\*((?:members|trail|findings|running)\.([a-z-]+))\*", text
        ):
            assert group in checks, f"{page.name}: {check}"
        assert set(re.findall(r"--only ([a-z-]+)", text)) <= groups


def test_the_security_page_has_the_tables_as_they_are_made() -> None:
    page = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    permissions = permission_tables.read()
    tables = (permission_tables.elsewhere, permission_tables.by_role, permission_tables.hub)
    for table in tables:
        text = "\n".join(table(permissions)) + "\n"
        assert text in page, "run `python -m tools.permission_tables` and put it into the page"
    assert permission_tables.ELSEWHERE.keys() | {"ParePipeline"} == permissions.keys()


def test_the_policies_of_the_security_page_are_policies() -> None:
    page = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    catalogue = load_catalogue()
    documents = re.findall(r"```json\n(.+?)```", page, re.S)
    assert len(documents) == 2
    for text in documents:
        document = json.loads(text)
        parse(document)
        assert len(json.dumps(document, separators=(",", ":"))) < 5120  # of a control policy
        for statement in document["Statement"]:
            assert statement["Effect"] == "Deny"
            for action in statement["Action"]:
                assert catalogue.canonical(action) == action, action


def test_what_the_page_on_removal_says_stays_is_what_is_retained() -> None:
    source = (ROOT / "infra" / "storage_stack.py").read_text(encoding="utf-8")
    page = (ROOT / "docs" / "remove.md").read_text(encoding="utf-8")
    # The key, the two buckets, and the one place that makes tables.
    assert source.count("removal_policy=cdk.RemovalPolicy.RETAIN") == 4
    assert "five tables, the evidence bucket, the bucket of its access logs, the key" in page
    for days in re.findall(r"after (\d+)", page):
        assert f"days({days})" in source, days
