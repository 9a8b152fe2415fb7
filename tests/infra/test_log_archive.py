"""PareLogArchive's template: what it may do, and that keys come and go with their rights."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import aws_cdk as cdk
import pytest
import yaml

from infra.log_archive_stack import LogArchiveStack, function_source
from infra.settings import load_settings
from pare.log_archive.statements import bucket_statements, key_statements
from tests.infra.synthesis import EXAMPLE

if TYPE_CHECKING:
    from pathlib import Path

    from infra.settings import Settings

Json = dict[str, Any]

ACCOUNT = "333333333333"
BUCKET = "arn:aws:s3:::example-organization-trail"
# What CloudFormation takes without a bucket, as which the CDK CLI sends it.
# https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html
MAX_TEMPLATE = 51_200


def key_arn(number: int, account: str = ACCOUNT) -> str:
    return f"arn:aws:kms:us-east-1:{account}:key/0a1b2c3d-1111-2222-3333-44445555666{number}"


def synthesized(folder: Path, *keys: str) -> tuple[Settings, Json]:
    """Return the settings of config/pare.yaml with these keys, and the template."""
    text = EXAMPLE.read_text(encoding="utf-8")
    line = "  kms_key_arns: []"
    assert text.count(line) == 1
    path = folder / "pare.yaml"
    path.write_text(text.replace(line, f"  kms_key_arns: {json.dumps(keys)}"), encoding="utf-8")
    settings = load_settings(path)
    app = cdk.App(outdir=str(folder / "out"))
    LogArchiveStack(
        app,
        "PareLogArchive",
        settings=settings,
        synthesizer=cdk.LegacyStackSynthesizer(),
        env=cdk.Environment(account=ACCOUNT, region=settings.trail.bucket_region),
    )
    app.synth()
    template = (folder / "out" / "PareLogArchive.template.json").read_text(encoding="utf-8")
    return settings, json.loads(template)


@pytest.fixture(scope="module")
def with_keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, Json]:
    """With two keys of the log archive account, and one of another."""
    keys = (key_arn(1), key_arn(2), key_arn(3, "444444444444"))
    return synthesized(tmp_path_factory.mktemp("keys"), *keys)


def of_type(template: Json, kind: str) -> dict[str, Json]:
    return {
        name: each for name, each in template["Resources"].items() if each["Type"].endswith(kind)
    }


def statements_of_role(template: Json) -> list[Json]:
    return [
        statement
        for each in of_type(template, "::IAM::Policy").values()
        for statement in each["Properties"]["PolicyDocument"]["Statement"]
    ]


def test_the_function_may_change_named_policies_and_nothing_else(
    with_keys: tuple[Settings, Json],
) -> None:
    allowed = {
        (action, json.dumps(statement["Resource"]))
        for statement in statements_of_role(with_keys[1])
        for action in (
            [statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"]
        )
    }
    assert {each for each in allowed if ":Put" in each[0] or ":Delete" in each[0]} == {
        ("logs:PutLogEvents", '{"Fn::GetAtt": ["Logs", "Arn"]}'),
        ("s3:PutBucketPolicy", json.dumps(BUCKET)),
        ("s3:DeleteBucketPolicy", json.dumps(BUCKET)),
        ("kms:PutKeyPolicy", json.dumps(key_arn(1))),
        ("kms:PutKeyPolicy", json.dumps(key_arn(2))),
    }
    # Looking at an object for its key takes s3:GetObject; reading what is encrypted takes more.
    assert not any(action == "kms:Decrypt" for action, _ in allowed)
    assert not any("*" in action for action, _ in allowed)


def test_every_policy_has_a_resource_of_its_own_that_outlives_its_rights(
    with_keys: tuple[Settings, Json],
) -> None:
    settings, template = with_keys
    found = {
        each["Properties"]["Name"]: each
        for kind in ("::PareBucketPolicy", "::PareKeyPolicy")
        for each in of_type(template, kind).values()
    }
    assert set(found) == {settings.trail.bucket, key_arn(1), key_arn(2)}
    for name, each in found.items():
        rights = [
            logical_id
            for logical_id, policy in of_type(template, "::IAM::Policy").items()
            if name in json.dumps(policy)
        ]
        # Deleted after what depends on them: so the function can still clean up.
        assert set(rights) <= set(each["DependsOn"])
        assert len(rights) == 1
    (bucket,) = of_type(template, "::PareBucketPolicy")
    assert all(bucket in found[key]["DependsOn"] for key in (key_arn(1), key_arn(2)))


def test_the_resources_have_the_statements_that_the_doctor_prints(
    with_keys: tuple[Settings, Json],
) -> None:
    settings, template = with_keys
    setup = settings.setup()
    (bucket,) = of_type(template, "::PareBucketPolicy").values()
    assert bucket["Properties"]["Statements"] == bucket_statements(setup)
    assert bucket["Properties"]["Look"]["KeyStatements"] == key_statements(setup, key_arn(1))
    for each in of_type(template, "::PareKeyPolicy").values():
        arn = each["Properties"]["Name"]
        assert each["Properties"]["Statements"] == key_statements(setup, arn)


def test_a_key_of_another_account_is_named_and_left_alone(
    with_keys: tuple[Settings, Json],
) -> None:
    settings, template = with_keys
    (bucket,) = of_type(template, "::PareBucketPolicy").values()
    assert bucket["Properties"]["Look"]["KeyArns"] == list(settings.trail.kms_key_arns)
    assert template["Outputs"]["KeysOfOtherAccounts"]["Value"] == key_arn(3, "444444444444")
    assert "444444444444" not in json.dumps(statements_of_role(template))


def test_the_function_is_the_source_with_what_it_imports(
    with_keys: tuple[Settings, Json],
) -> None:
    (function,) = of_type(with_keys[1], "::Lambda::Function").values()
    assert function["Properties"]["Code"] == {"ZipFile": function_source()}
    assert function["Properties"]["Handler"] == "index.lambda_handler"
    assert "pare.log_archive" not in function_source()
    # A function that dies without an answer is waited for no longer than it may run, and a bit.
    assert function["Properties"]["Timeout"] == 900
    for kind in ("::PareBucketPolicy", "::PareKeyPolicy"):
        for each in of_type(with_keys[1], kind).values():
            assert each["Properties"]["ServiceTimeout"] == "1200"


def test_any_other_value_of_again_asks_again(with_keys: tuple[Settings, Json]) -> None:
    template = with_keys[1]
    assert template["Parameters"]["Again"]["Default"] == "0"
    for kind in ("::PareBucketPolicy", "::PareKeyPolicy"):
        for each in of_type(template, kind).values():
            assert each["Properties"]["Again"] == {"Ref": "Again"}


def test_five_keys_fit_into_a_template_that_needs_no_bootstrap(tmp_path: Path) -> None:
    _, template = synthesized(tmp_path, *(key_arn(number) for number in range(5)))
    # The CDK CLI sends YAML, the function's text as a block.
    text = yaml.dump(template, Dumper=_Blocks, sort_keys=False, width=80)
    assert len(text.encode()) < MAX_TEMPLATE
    assert len(json.dumps(template).encode()) < MAX_TEMPLATE


class _Blocks(yaml.SafeDumper):
    """Writes texts of several lines as blocks, as CDK's YAML does."""


_Blocks.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style="|" if "\n" in text else None
    ),
)
