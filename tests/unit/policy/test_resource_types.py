"""The catalogue's resource types, ARN formats and dependent actions."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from pare.policy.catalogue import load_catalogue
from pare.policy.resource_types import PLACEHOLDER, ResourceTypeUse, load_resource_types

DATA = Path(__file__).parents[3] / "pare/data/iam_resources.json.gz"


def test_the_file_names_its_sources() -> None:
    table = json.loads(gzip.decompress(DATA.read_bytes()))
    for source in table["sources"]:
        assert set(source) == {"source", "version", "retrieved", "licence"}
        assert source["licence"] == "MIT"


def test_formats_and_types_of_an_action() -> None:
    types = load_resource_types()
    assert types.arn_formats("s3")["bucket"] == ("arn:${Partition}:s3:::${BucketName}",)
    assert types.types_of("s3:createbucket") == (ResourceTypeUse("bucket", required=True),)
    assert {use.name for use in types.types_of("s3:GetObject")} == {"accesspointobject", "object"}


def test_an_action_without_resource_types_takes_only_the_wildcard() -> None:
    assert load_resource_types().types_of("s3:ListAllMyBuckets") == ()


@pytest.mark.parametrize("action", ["nosuch:Action", "s3:NoSuchAction", "", "s3"])
def test_what_is_not_known_has_nothing(action: str) -> None:
    types = load_resource_types()
    assert types.types_of(action) == ()
    assert types.dependent_actions(action) == ()
    assert types.arn_formats("nosuch") == {}
    assert types.types_matching("arn:aws:s3:::b", "nosuch") == ()


def test_dependent_actions_have_pass_role() -> None:
    types = load_resource_types()
    assert "iam:PassRole" in types.dependent_actions("lambda:CreateFunction")
    assert "iam:PassRole" in types.dependent_actions("ecs:RunTask")
    assert types.dependent_actions("s3:GetObject") == ()


@pytest.mark.parametrize(
    ("prefix", "arn", "expected"),
    [
        ("s3", "arn:aws:s3:::b", {"bucket"}),
        ("s3", "arn:aws:s3:::b/deep/key:1", {"object"}),
        ("dynamodb", "arn:aws-cn:dynamodb:cn-north-1:1:table/t", {"table"}),
        ("dynamodb", "arn:aws:dynamodb:eu-west-1:1:table/t/index/i", {"index"}),
        ("iam", "arn:aws:iam::1:role/a/b/c", {"role"}),
        ("logs", "arn:aws:logs:eu-west-1:1:log-group:/a/b", {"log-group"}),
        ("logs", "arn:aws:logs:eu-west-1:1:log-group:/a:log-stream:x/y", {"log-stream"}),
        ("lambda", "arn:aws:lambda:eu-west-1:1:function:f", {"function"}),
        ("dms", "arn:aws:dms:eu-west-1:1:rep:ABC", {"replicationinstance"}),
        ("ec2", "arn:aws:ec2:eu-west-1::image/ami-1", {"image"}),
        ("s3", "not an arn", set()),
        ("s3", "arn:aws:sqs:eu-west-1:1:q", set()),
    ],
)
def test_the_types_an_arn_is_of(prefix: str, arn: str, expected: set[str]) -> None:
    assert set(load_resource_types().types_matching(arn, prefix)) == expected


def test_everything_in_the_table_is_in_the_catalogue() -> None:
    types, catalogue = load_resource_types(), load_catalogue()
    assert types.services == catalogue.services
    table = json.loads(gzip.decompress(DATA.read_bytes()))["services"]
    for prefix in types.services:
        service = json.loads(table[prefix])
        for arn_formats in service["types"].values():
            for arn_format in arn_formats:
                assert arn_format.startswith("arn:${Partition}:") and ", arn:" not in arn_format
        placeholders = {
            name
            for arn_formats in service["types"].values()
            for arn_format in arn_formats
            for name in PLACEHOLDER.findall(arn_format)
        }
        assert "Partition" in placeholders or not service["types"]
        for action, uses in service["actions"].items():
            assert catalogue.exists(f"{prefix}:{action}")
            assert {use.removesuffix("*") for use in uses} <= set(service["types"])
        for action, needed in service["dependent"].items():
            assert catalogue.exists(f"{prefix}:{action}")
            assert all(catalogue.canonical(other) == other for other in needed)


def test_the_two_pages_of_elastic_load_balancing_are_both_there() -> None:
    uses = load_resource_types().types_of("elasticloadbalancing:AddTags")
    assert {"loadbalancer", "loadbalancer/app/", "targetgroup"} <= {use.name for use in uses}
    assert not any(use.required for use in uses)
