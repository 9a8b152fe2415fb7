"""The file of archive rules: what it may say, and what a person is told of each fault."""

from __future__ import annotations

import json
import re
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator

from infra.archive_rules import SCHEMA_PATH, load_archive_rules
from pare.errors import SettingsError
from pare.findings.archive_rules import ArchiveRule

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "config" / "archive-rules.yaml"
GOOD = """\
rules:
  - name: partner-logs
    filter:
      resourceType: {eq: ["AWS::S3::Bucket"]}
      principal.AWS: {eq: [555566667777]}
    reason: The partner reads its own logs, contract 17.
    owner: data@example.com
    expires: 2027-06-30
"""


def load(tmp_path: Path, text: str) -> tuple[ArchiveRule, ...]:
    path = tmp_path / "archive-rules.yaml"
    path.write_text(text, encoding="utf-8")
    return load_archive_rules(path)


def faults(tmp_path: Path, text: str) -> list[str]:
    """Return the lines of the error, each from the line number on."""
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, text)
    return [line.split("archive-rules.yaml:", 1)[1] for line in str(caught.value).splitlines()]


def test_the_file_as_it_comes_with_pare_has_no_rules() -> None:
    assert load_archive_rules(SHIPPED) == ()


def test_its_example_is_a_rule(tmp_path: Path) -> None:
    lines = SHIPPED.read_text(encoding="utf-8").splitlines()
    example = [line[4:] for line in lines if re.match(r"#   (rules:|  )", line)]
    (rule,) = load(tmp_path, "\n".join(example))
    assert (rule.name, rule.analyzers, rule.regions) == ("partner-logs", ("external",), ())


def test_a_rule_is_read_whole(tmp_path: Path) -> None:
    assert load(tmp_path, GOOD) == (
        ArchiveRule(
            name="partner-logs",
            filter={
                "principal.AWS": {"eq": ["555566667777"]},
                "resourceType": {"eq": ["AWS::S3::Bucket"]},
            },
            reason="The partner reads its own logs, contract 17.",
            owner="data@example.com",
            expires=date(2027, 6, 30),
        ),
    )


def test_values_that_yaml_takes_for_something_else_are_texts(tmp_path: Path) -> None:
    more = GOOD + "    analyzers: [external, unused]\n    regions: [eu-west-1]\n"
    text = more.replace("{eq: [555566667777]}", "{contains: [7]}").replace(
        'resourceType: {eq: ["AWS::S3::Bucket"]}', "resourceType: {neq: [x]}"
    )
    (rule,) = load(tmp_path, text)
    assert rule.filter["principal.AWS"] == {"contains": ["7"]}
    (public,) = load(tmp_path, GOOD.replace("principal.AWS: {eq: [555566667777]}",
                                            "isPublic: {eq: [false]}"))  # fmt: skip
    assert public.filter["isPublic"] == {"eq": ["false"]}


@pytest.mark.parametrize(
    ("old", "new", "line", "wrong", "fix"),
    [
        ("- name: partner-logs", "- name: partner logs", 2, "rules[0].name: 'partner logs' is not",
         "letters, digits"),
        ("expires: 2027-06-30", "expires: soon", 8, "'soon' is not a day", "2027-06-30"),
        ("expires: 2027-06-30", "expires: 2027-06-31", 8, "'2027-06-31' is not a day", "such as"),
        ("    expires: 2027-06-30\n", "", 2, "expires: is missing", "such as"),
        ("owner:", "owners:", 7, "owners: is not a key Pare knows", "did you mean owner?"),
        ("reason: The partner reads its own logs, contract 17.", "reason: because", 6,
         "'because' is not a reason", "who needs the access"),
        ("principal.AWS:", "status:", 5, "status: is not a key Pare knows", "remove it"),
        ("principal.AWS:", "resourcetype:", 5, "is not a key Pare knows",
         "did you mean resourceType?"),
        ("principal.AWS:", "condition.SourceVpc:", 5, "is not a key Pare knows",
         "did you mean condition.aws:SourceVpc?"),
        ("{eq: [555566667777]}", "555566667777", 5, "'555566667777' is not a criterion",
         "eq, neq or contains"),
        ("{eq: [555566667777]}", "{eq: []}", 5, "eq: an empty list is not a list of 1 to 20",
         "second rule"),
        ("{eq: [555566667777]}", "{equals: [a]}", 5, "equals: is not a key", "remove it; the keys"),
        ("{eq: [555566667777]}", "{exists: 1}", 5, "exists: 1 is not true or false", "true or"),
        ("{eq: [555566667777]}", "{eq: [555566667777], exists: true}", 5,
         "has exists beside another operator", "keep one"),
        ("{eq: [555566667777]}", "{eq: [a, a]}", 5, "has 'a' twice", "keep one"),
        ("principal.AWS: {eq: [555566667777]}", "isPublic: {eq: [no]}", 5,
         "'no' is not true or false", "write true or false"),
        ('resourceType: {eq: ["AWS::S3::Bucket"]}', "resourceOwnerAccount: {eq: [12]}", 4,
         "'12' is not a 12-digit account id", "account id"),
        ("principal.AWS: {eq: [555566667777]}", "findingType: {eq: [External]}", 5,
         "'External' is not one of", "ExternalAccess"),
        ('resourceType: {eq: ["AWS::S3::Bucket"]}', "accessType: {eq: [INTRA_ORG]}", 4,
         "findings of external access do not have", "analyzers: [internal]"),
        ("      principal.AWS: {eq: [555566667777]}\n", "", 3,
         "filter: could archive findings about public access too", "isPublic"),
    ],
)  # fmt: skip
def test_a_fault_is_told_with_its_line_and_what_to_write(
    tmp_path: Path, old: str, new: str, line: int, wrong: str, fix: str
) -> None:
    assert old in GOOD
    found = faults(tmp_path, GOOD.replace(old, new))
    at, told = found[0].split(": ", 1)
    assert (int(at), len(found)) == (line, 1)
    assert wrong in told
    assert fix in told.split("Fix: ")[1]


def test_two_rules_of_one_name_are_told(tmp_path: Path) -> None:
    (found,) = faults(tmp_path, GOOD + GOOD.removeprefix("rules:\n"))
    assert found.startswith("9: rules[1].name: 'partner-logs' is the name of rules[0] too")


def test_all_faults_are_told_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = GOOD.replace("partner-logs", "a b").replace("2027-06-30", "soon")
    assert [each.split(":")[0] for each in faults(tmp_path, text)] == ["2", "8"]


@pytest.mark.parametrize("text", ["", "rules", "- rules", "rules: {}", "rules:\n\t- name: x"])
def test_what_is_no_list_of_rules_is_told(tmp_path: Path, text: str) -> None:
    (found,) = faults(tmp_path, text)
    assert "Fix: " in found


def test_a_file_that_is_not_there_names_the_one_that_comes_with_pare(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"start from config/archive-rules\.yaml"):
        load_archive_rules(tmp_path / "none.yaml")


def test_a_rule_that_is_meant_to_hide_public_access_says_so(tmp_path: Path) -> None:
    (rule,) = load(
        tmp_path, GOOD.replace("principal.AWS: {eq: [555566667777]}", "isPublic: {eq: [true]}")
    )
    assert rule.filter["isPublic"] == {"eq": ["true"]}


def test_a_key_of_a_condition_that_the_guide_does_not_list_is_taken(tmp_path: Path) -> None:
    text = GOOD + ""
    (rule,) = load(
        tmp_path,
        text.replace(
            "principal.AWS: {eq: [555566667777]}",
            "principal.AWS: {eq: [555566667777]}\n      condition.aws:SourceVpce: {eq: [vpce-1]}",
        ),
    )
    assert rule.filter["condition.aws:SourceVpce"] == {"eq": ["vpce-1"]}


# --- The schema ---


def schema() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(SCHEMA_PATH.read_text(encoding="utf-8"))
    return loaded


def parts(node: dict[str, Any], where: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield where, node
    for kind in ("properties", "patternProperties", "$defs"):
        for key, part in node.get(kind, {}).items():
            yield from parts(part, f"{where}/{key}")
    if "items" in node:
        yield from parts(node["items"], f"{where}[]")


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(schema())


def test_every_part_of_the_schema_says_what_it_means_and_how_to_mend_it() -> None:
    for where, part in parts(schema()):
        assert "description" in part, where
        if "$ref" not in part:
            assert {"title", "x-fix"} <= part.keys(), where
