"""The command as a person runs it, against moto's hub account."""

from __future__ import annotations

import importlib
import json
from dataclasses import replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from click.testing import CliRunner

from pare.aws.doctor.examine import begin, chosen_groups, run_group, template_of
from pare.cli import main
from pare.doctor.checks import groups
from pare.errors import CredentialsError
from tests.doctor_setup import HOME, HUB, MANAGEMENT, SHOP
from tests.handlers.aws.doctor.hub import NOW, deploy, template

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from click.testing import Result as Ran

    from tests.handlers.fake_aws import FakeAws

PRINCIPALS = (
    "access-analyzer.amazonaws.com",
    "member.org.stacksets.cloudformation.amazonaws.com",
)


@pytest.fixture
def hub(aws: FakeAws) -> FakeAws:
    """A hub that is all that the group ``organization`` asks for, with Pare deployed."""
    deploy(aws, template())
    aws.answer(
        "organizations:DescribeOrganization",
        {
            "Organization": {
                "Id": "o-example0000",
                "MasterAccountId": MANAGEMENT,
                "FeatureSet": "ALL",
            }
        },
    )
    aws.answer(
        "organizations:ListAWSServiceAccessForOrganization",
        {"EnabledServicePrincipals": [{"ServicePrincipal": each} for each in PRINCIPALS]},
    )
    aws.answer(
        "organizations:ListDelegatedAdministrators", {"DelegatedAdministrators": [{"Id": HUB}]}
    )
    aws.answer("cloudformation:DescribeOrganizationsAccess", {"Status": "ENABLED"})
    return aws


def run(*arguments: str) -> Ran:
    return CliRunner().invoke(main, ["doctor", *arguments], env={"COLUMNS": "80"})


def synthesized(folder: Path, **changes: Any) -> str:
    (folder / "ParePipeline.template.json").write_text(json.dumps(template(**changes)))
    return str(folder)


# --- What is deployed ---


def test_a_group_that_is_well_ends_with_exit_code_0(
    hub: FakeAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pare.cli_doctor.version", lambda _: "0.7.0")
    ran = run("--only", "organization")

    assert ran.exit_code == 0
    assert ran.stdout.splitlines() == [
        f"Pare 0.7.0: hub {HUB} in {HOME}, organization o-example0000",
        "",
        "The organization lets the hub work",
        f"  ok  organization: o-example0000, hub {HUB}",
        "  ok  trusted access, Access Analyzer: on",
        f"  ok  administrator, Access Analyzer: the hub, {HUB}",
        "  ok  trusted access, StackSets: on",
        f"  ok  administrator, StackSets: the hub, {HUB}",
        "",
        "Looked at organization only.",
        "5 ok. Nothing is missing.",
    ]
    assert "… organization: asking Organizations" in ran.stderr


def test_a_command_of_another_version_says_so(
    hub: FakeAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pare.cli_doctor.version", lambda _: "0.8.0")
    assert run("--only", "organization").stdout.splitlines()[1] == (
        "This command is of Pare 0.8.0: another version than the one deployed."
    )


def test_what_is_missing_is_named_first_with_its_mend_and_exit_code_1(hub: FakeAws) -> None:
    hub.mend("cloudformation:DescribeOrganizationsAccess")
    hub.answer("cloudformation:DescribeOrganizationsAccess", {"Status": "DISABLED"})

    ran = run("--only", "organization")

    assert ran.exit_code == 1
    lines = ran.stdout.splitlines()
    at = lines.index("  MISSING  trusted access, StackSets")
    assert lines[at - 2 : at] == ["The organization lets the hub work", ""]
    assert f"aws cloudformation activate-organizations-access --region {HOME}" in lines
    assert lines[-1] == "1 missing, 4 ok. Mend the first, then run pare doctor again."


def test_machines_get_one_json_object_and_no_progress_in_it(hub: FakeAws) -> None:
    ran = run("--only", "organization", "--format", "json")

    told = json.loads(ran.stdout)
    assert ran.exit_code == 0
    assert told["schema_version"] == 1
    assert told["groups"] == ["organization"]
    assert told["counts"] == {"missing": 0, "cannot_tell": 0, "ok": 5}
    assert told["about"] == {
        "version": "0.7.0",
        "version_of_command": version("pare"),
        "is_deployed": True,
        "organization_id": "o-example0000",
        "hub_account_id": HUB,
        "home_region": HOME,
    }
    assert set(told["results"][0]) == {
        "group", "check", "title", "subject", "status", "says", "why", "mend", "facts",
    }  # fmt: skip


# --- Before it is deployed ---


def test_before_the_first_deployment_the_organization_is_looked_at(
    hub: FakeAws, tmp_path: Path
) -> None:
    for operation in ("DescribeStacks", "GetTemplate"):
        hub.mend(f"cloudformation:{operation}")

    ran = run("--template", synthesized(tmp_path))

    assert ran.exit_code == 0
    assert "Pare 0.7.0, of the template: nothing deployed is looked at: hub" in ran.stdout
    assert (
        "Not looked at before Pare is deployed: members, trail, log-archive, findings, running, "
        "size." in ran.stdout
    )


def test_what_needs_pares_functions_is_refused_before_they_are_there(
    hub: FakeAws, tmp_path: Path
) -> None:
    ran = run("--template", synthesized(tmp_path), "--only", "members", "--only", "organization")

    assert ran.exit_code == 2
    assert "members: this needs Pare's functions." in ran.stderr


def test_a_folder_without_a_template_says_how_to_make_one(tmp_path: Path) -> None:
    ran = run("--template", str(tmp_path / "cdk.out"))

    assert ran.exit_code == 3
    assert "npx cdk synth --quiet" in ran.stderr


# --- Not where it looks ---


def test_where_nothing_is_deployed_the_account_and_region_are_named(aws: FakeAws) -> None:
    aws.fail("cloudformation:DescribeStacks", "ValidationError", message="does not exist")

    ran = run()

    assert ran.exit_code == 3
    assert f"there is no stack ParePipeline in account {HUB}, {HOME}." in ran.stderr
    assert "pare doctor --template cdk.out" in ran.stderr
    assert ran.stdout == ""


def test_credentials_of_another_account_are_named_before_anything_else(
    hub: FakeAws, tmp_path: Path
) -> None:
    ran = run("--template", synthesized(tmp_path, hub_account_id=SHOP))

    assert ran.exit_code == 3
    assert f"these are credentials of account {HUB}; the hub is {SHOP}." in ran.stderr


def test_without_a_region_nothing_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")

    ran = run()

    assert ran.exit_code == 3
    assert "no Region is chosen" in ran.stderr


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"Resources": {}, "Outputs": {"A": {"Value": "b"}}}, "older than the doctor"),
        ("Resources: {}", "older than the doctor"),
        (
            {**template(), "Metadata": {"Pare": {**template()["Metadata"]["Pare"],
                                                 "schema_version": 2}}},
            "of another version",
        ),
        ({**template(), "Metadata": {"Pare": {"schema_version": 1}}}, "of another version"),
    ],
)  # fmt: skip
def test_an_earlier_pare_is_to_be_deployed_first(aws: FakeAws, body: Any, words: str) -> None:
    deploy(aws, body)

    ran = run()

    assert ran.exit_code == 3
    assert words in ran.stderr
    assert "npx cdk deploy --all" in ran.stderr


def test_a_template_comes_as_json_or_as_its_text() -> None:
    assert template_of({"a": 1}) == {"a": 1}
    assert template_of('{"a": 1}') == {"a": 1}
    assert template_of("a: 1") == {}
    assert template_of("[1]") == {}


# --- Groups that break off ---


def test_a_group_that_breaks_is_a_result_and_the_next_goes_on(hub: FakeAws) -> None:
    hub.mend("organizations:DescribeOrganization")
    hub.answer("organizations:DescribeOrganization", {})  # which AWS never says

    ran = run("--only", "organization", "--only", "running")

    assert ran.exit_code == 1
    assert "CANNOT TELL  organization" in ran.stdout
    assert "KeyError: 'Organization'" in ran.stdout
    assert "pare doctor --only organization" in ran.stdout
    assert "Pare runs and can tell people" in ran.stdout
    assert "Traceback" not in ran.output


def test_a_group_that_breaks_off_keeps_what_it_has_told(
    hub: FakeAws, examined: Callable[..., Any]
) -> None:
    hub.mend("organizations:ListDelegatedAdministrators")
    hub.answer("organizations:ListDelegatedAdministrators", {"DelegatedAdministrators": [{}]})

    found = run_group(examined(), "organization")

    assert [(each.check, each.status) for each in found] == [
        ("organization.member", "ok"),
        ("organization.access-analyzer-trusted", "ok"),
        ("organization.access-analyzer-administrator", "cannot tell"),
    ]


def test_credentials_that_are_no_longer_good_end_everything(
    hub: FakeAws, examined: Callable[..., Any]
) -> None:
    examination = examined()

    class Expired:
        def client(self, *_: object, **__: object) -> Any:
            raise CredentialsError("the token has expired.")

    with pytest.raises(CredentialsError):
        run_group(replace(examination, session=Expired()), "organization")


@pytest.mark.parametrize("code", ["ExpiredToken", "ExpiredTokenException"])
def test_credentials_that_expire_meanwhile_are_told_as_at_the_start(
    hub: FakeAws, code: str
) -> None:
    hub.mend("organizations:DescribeOrganization")

    def expire(_: dict[str, Any]) -> dict[str, Any]:
        hub.fail("sts:GetCallerIdentity", code, 403, message="The token is expired")
        raise ClientError({"Error": {"Code": code, "Message": "expired"}}, "DescribeOrganization")

    hub.answer("organizations:DescribeOrganization", expire)

    ran = run("--only", "organization")

    assert ran.exit_code == 3
    assert "Set AWS_PROFILE, or run `aws sso login`, and try again." in ran.stderr
    assert "CANNOT TELL" not in ran.stdout


def test_a_network_that_is_gone_is_told_to_a_person(hub: FakeAws) -> None:
    hub.mend("organizations:DescribeOrganization")

    def cut(_: dict[str, Any]) -> dict[str, Any]:
        hub.refuse_connection("sts:GetCallerIdentity")
        raise EndpointConnectionError(endpoint_url="https://organizations")

    hub.answer("organizations:DescribeOrganization", cut)

    ran = run("--only", "organization")

    assert ran.exit_code == 3
    assert "Could not connect to the endpoint URL" in ran.stderr
    assert "AWS_ENDPOINT_URL of this shell, then run it again." in ran.stderr


def test_a_right_that_credentials_lack_is_named_with_the_account(hub: FakeAws) -> None:
    hub.mend("cloudformation:ListStackResources")
    hub.fail("cloudformation:ListStackResources", "AccessDenied", 403, message="no")

    ran = run("--only", "trail")

    assert "npx cdk deploy" not in ran.stdout
    assert f"Your credentials need cloudformation:ListStackResources in account {HUB}" in " ".join(
        ran.stdout.split()
    )


def test_who_stops_it_is_told_that_not_everything_was_looked_at(hub: FakeAws) -> None:
    def stop(_: dict[str, Any]) -> dict[str, Any]:
        raise KeyboardInterrupt

    hub.mend("organizations:DescribeOrganization")
    hub.answer("organizations:DescribeOrganization", stop)

    ran = run()

    assert ran.exit_code == 130
    assert "pare: stopped. What is not printed above was not looked at." in ran.stderr
    assert "Traceback" not in ran.output


# --- Which groups ---


def test_all_groups_are_looked_at_in_the_order_of_the_table(examined: Callable[..., Any]) -> None:
    assert chosen_groups(examined(), ()) == list(groups())
    assert chosen_groups(examined(), ("size", "members")) == ["members", "size"]
    assert chosen_groups(examined(outputs={}), ()) == ["organization"]


def test_every_group_has_a_module_that_examines(examined: Callable[..., Any]) -> None:
    for group in groups():
        module = importlib.import_module(f"pare.aws.doctor.{group.replace('-', '_')}")
        assert callable(module.examine)


def test_what_is_deployed_is_read_from_the_stack_and_not_from_a_file(hub: FakeAws) -> None:
    said: list[str] = []

    examination = begin(boto3.Session(), None, now=NOW, say=said.append)

    assert examination.setup.organization_id == "o-example0000"
    assert examination.outputs == {"PareVersion": "0.7.0"}
    assert hub.called("cloudformation:GetTemplate") == [
        {"StackName": "ParePipeline", "TemplateStage": "Original"}
    ]


# --- Statements ---


@pytest.mark.parametrize("form", ["text", "json"])
def test_statements_are_printed_by_where_they_go(hub: FakeAws, form: str) -> None:
    ran = run("--statements", "--format", form)

    assert ran.exit_code == 0, ran.output
    assert "organization-trail" in ran.stdout
    assert "PareListsTheTrail" in ran.stdout
    if form == "json":
        told = json.loads(ran.stdout)
        assert told["bucket"]["name"] == "organization-trail"
        assert told["keys"] == []


def test_statements_are_printed_before_anything_is_deployed(hub: FakeAws, tmp_path: Path) -> None:
    key = f"arn:aws:kms:{HOME}:333344445555:key/1"
    setup = template()["Metadata"]["Pare"]
    trail = {**setup["trail"], "kms_key_arns": [key]}
    (tmp_path / "ParePipeline.template.json").write_text(
        json.dumps({"Metadata": {"Pare": {**setup, "trail": trail}}})
    )

    ran = run("--statements", "--template", str(tmp_path))

    assert ran.exit_code == 0, ran.output
    assert f"In account 333344445555, into the policy of the key {key}:" in ran.stdout
    assert "PareDecryptsTheTrail" in ran.stdout


def test_statements_of_one_group_are_not_asked_for() -> None:
    ran = run("--statements", "--only", "trail")

    assert ran.exit_code == 2


@pytest.mark.parametrize("code", ["ExpiredToken", "ExpiredTokenException"])
def test_expired_credentials_are_told_to_be_taken_anew(aws: FakeAws, code: str) -> None:
    aws.fail("sts:GetCallerIdentity", code, 403)

    ran = run()

    assert ran.exit_code == 3
    assert "aws sso login" in ran.stderr
