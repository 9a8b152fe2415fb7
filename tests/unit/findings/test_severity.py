from __future__ import annotations

from typing import Any, get_args

import pytest

from pare.data_tables import read_table
from pare.findings.model import SEVERITIES, Access, Exposure
from pare.findings.severity import gravest, rank, rules, severity_of
from tests.recorded import FINDINGS, finding

READ, WRITE = ("List", "Read"), ("Read", "Write")


def external(exposure: Exposure | None, levels: tuple[str, ...], **changes: Any) -> Any:
    return finding("external_access", exposure=exposure, access_levels=levels, **changes)


@pytest.mark.parametrize(
    ("found", "severity", "rule"),
    [
        (external("public", READ), "high", "public read"),
        (external("public", WRITE), "critical", "public write"),
        (external("public", ("Permissions management",)), "critical", "public write"),
        (external("public", READ, resource_type="AWS::KMS::Key"), "critical",
         "public secret, key or role"),
        (external("public", READ, resource_type="AWS::SecretsManager::Secret"), "critical",
         "public secret, key or role"),
        (external("public", WRITE, resource_type="AWS::IAM::Role"), "critical",
         "public secret, key or role"),
        (external("outside", READ), "medium", "outside read"),
        (external("outside", WRITE), "high", "outside write"),
        (external("federated", WRITE), "high", "outside write"),
        (external("unknown", READ), "medium", "outside read"),
        (external("unknown", WRITE), "high", "outside write"),
        (external("outside", READ, resource_type="AWS::IAM::Role"), "high", "role trust outside"),
        (external("partner", READ), "low", "partner read"),
        (external("partner", WRITE), "medium", "partner write"),
        (external("organization", READ), "low", "organization read"),
        (external("organization", WRITE), "medium", "organization write"),
        (external("account", WRITE), "medium", "organization write"),
        (external("service", WRITE), "low", "service"),
        (external("public", WRITE, error="ACCESS_DENIED"), "medium", "not analyzed"),
        (finding("unused_permission"), "low", "unused"),
        (finding("unused_permission", unused_action_count=9_000), "low", "unused"),
        (finding(access="watch", finding_type="AnalyzerMissing"), "high", "blind spot"),
        (finding(access="watch", finding_type="ArchiveRuleHidesPublic"), "high", "blind spot"),
        (finding(access="watch", finding_type="ExemptionExpiring"), "medium", "watch notice"),
        (external("none", READ), "medium", "no rule"),
    ],
)  # fmt: skip
def test_how_grave_a_finding_is(found: Any, severity: str, rule: str) -> None:
    assert severity_of(found) == (severity, rule)


@pytest.mark.parametrize("levels", [(), ("unknown",), ("Read", "unknown"), ("Tagging",)])
def test_a_level_that_is_not_known_may_change_something(levels: tuple[str, ...]) -> None:
    assert severity_of(external("outside", levels)) == ("high", "outside write")


def test_a_finding_that_nobody_enriched_is_judged_as_open_to_an_unknown_one() -> None:
    assert severity_of(external(None, READ)) == ("medium", "outside read")
    assert severity_of(external(None, READ, is_public=True)) == ("high", "public read")


@pytest.mark.parametrize("restriction", ["APPLIED", "NOT_APPLICABLE", None])
def test_a_restriction_lowers_nothing(restriction: str | None) -> None:
    found = external("public", WRITE, resource_control_policy_restriction=restriction)

    assert severity_of(found)[0] == "critical"


@pytest.mark.parametrize("name", FINDINGS)
def test_every_recorded_finding_is_judged_by_a_rule(name: str) -> None:
    assert severity_of(finding(name))[1] != "no rule"


def test_every_exposure_that_opens_something_has_a_rule() -> None:
    judged = {severity_of(external(each, WRITE))[1] for each in get_args(Exposure)}

    assert judged >= {rule.rule_id for rule in rules() if rule.rule_id.endswith("write")}
    assert [e for e in get_args(Exposure) if severity_of(external(e, WRITE))[1] == "no rule"] == [
        "none"
    ]


def test_the_rules_ask_for_nothing_that_is_not_there() -> None:
    """A misspelt value would never match, and the rule after it would decide."""
    known = {
        "access": set(get_args(Access)),
        "exposure": set(get_args(Exposure)),
        "grants": {"read", "write"},
        "error": {True, False},
    }
    for rule in rules():
        assert rule.severity in SEVERITIES
        for key, values in rule.when.items():
            assert key in {*known, "finding_type", "resource_type"}, rule.rule_id
            assert set(values) <= known.get(key, set(values)), rule.rule_id
    ids = [rule.rule_id for rule in rules()]
    assert len(set(ids)) == len(ids) == len(read_table("severity_rules.json", schema_version=1)
                                            ["rules"])  # fmt: skip


def test_the_gravest_of_some() -> None:
    assert gravest(["low", "critical", "medium"]) == "critical"
    assert gravest([]) is None
    assert [rank(each) for each in SEVERITIES] == [0, 1, 2, 3]
