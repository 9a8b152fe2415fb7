"""Ordered rules, as data."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pare.errors import SettingsError
from pare.inventory.flags import FLAGS, PROTECTING
from pare.inventory.model import CLASSES, Class, PrincipalKind, Status
from pare.inventory.rules import all_rules, check_rules, default_rules, first_match
from tests.unit.inventory.row_builders import ROLE


def decided(
    status: Status, *flags: str, kind: str = "service role", rules: Any = (), arn: str = ROLE
) -> tuple[str, str]:
    rule = first_match(all_rules(list(rules)), arn=arn, kind=kind, status=status, flags=set(flags))
    return rule.cls, rule.code


def rule(cls: str, reason: str = "we say so", **when: Any) -> dict[str, Any]:
    return {"when": when, "class": cls, "reason": reason}


@pytest.mark.parametrize(
    ("status", "flags", "expected"),
    [
        ("idle", ["aws_owns", "wide"], ("keep", "AWS_OWNS")),
        ("unknown", ["aws_owns"], ("keep", "AWS_OWNS")),
        ("idle", ["exempt", "public_trust"], ("keep", "EXEMPT")),
        ("used", ["break_glass", "break_glass_used"], ("review", "BREAK_GLASS_USED")),
        ("idle", ["break_glass", "administrator"], ("keep", "BREAK_GLASS")),
        ("unknown", ["break_glass", "administrator"], ("review", "USE_UNKNOWN")),
        ("never used", ["bootstrap"], ("keep", "BOOTSTRAP")),
        ("never used", ["own", "wide"], ("keep", "OWN")),
        ("used", ["own", "unused_services"], ("narrow", "UNUSED_SERVICES")),
        ("idle", ["identity_center"], ("review", "IDENTITY_CENTER_IDLE")),
        ("used", ["identity_center", "administrator"], ("keep", "USED")),
        ("unknown", ["identity_center"], ("review", "USE_UNKNOWN")),
        ("unknown", ["disabled", "administrator"], ("review", "USE_UNKNOWN")),
        ("new", ["administrator"], ("keep", "NEW")),
        ("idle", ["seasonal", "disabled", "delete_due"], ("review", "MAY_BE_SEASONAL")),
        ("idle", ["disabled", "delete_due"], ("delete", "DISABLED_DELETE_DUE")),
        ("never used", ["disabled"], ("disable", "DISABLED_WAITING")),
        ("idle", ["administrator", "public_trust"], ("disable", "IDLE")),
        ("never used", [], ("disable", "NEVER_USED")),
        ("used", ["disabled", "wide"], ("review", "DISABLED_AND_USED")),
        ("used", ["policy_unknown", "unused_services"], ("review", "POLICY_UNKNOWN")),
        ("idle", ["policy_unknown"], ("disable", "IDLE")),
        ("used", ["public_trust", "administrator", "wide"], ("review", "PUBLIC_TRUST")),
        ("used", ["administrator", "wide", "unused_services"], ("narrow", "ADMINISTRATOR")),
        ("used", ["wide", "unused_services"], ("narrow", "WIDE")),
        ("used", ["unused_services", "credential_issue"], ("narrow", "UNUSED_SERVICES")),
        ("used", ["credential_issue", "no_owner"], ("review", "CREDENTIAL_ISSUES")),
        ("used", ["outside_trust", "no_owner"], ("keep", "USED")),
        ("used", ["last_accessed_unknown"], ("review", "LAST_ACCESSED_UNKNOWN")),
        ("used", ["last_accessed_unknown", "wide"], ("narrow", "WIDE")),
        ("used", ["credentials_unknown", "no_owner"], ("review", "CREDENTIALS_UNKNOWN")),
    ],
)
def test_the_default_rules_decide_in_this_order(
    status: Status, flags: list[str], expected: tuple[str, str]
) -> None:
    assert decided(status, *flags) == expected


def test_a_rule_of_the_settings_is_asked_first() -> None:
    rules = [
        rule("review", principal="arn:aws:iam::*:role/ci/*"),
        rule("keep", kind=["service role", "role"], status=["used"], flags=["wide", "no_owner"]),
    ]

    assert decided("used", rules=rules) == ("keep", "USED")
    assert decided("used", rules=rules, arn="arn:aws:iam::111122223333:role/ci/x") == (
        "review", "RULE",
    )  # fmt: skip
    assert decided("used", "wide", "no_owner", rules=rules) == ("keep", "RULE")
    assert decided("used", "wide", rules=rules) == ("narrow", "WIDE")
    assert decided("used", "wide", "no_owner", rules=rules, kind="person") == ("narrow", "WIDE")


def test_a_star_alone_reaches_over_everything_and_a_dot_is_a_dot() -> None:
    rules = [rule("review", principal="arn:aws:iam::111122223333:user/a.b")]

    assert decided("used", rules=rules, arn="arn:aws:iam::111122223333:user/axb")[1] == "USED"
    assert decided("used", rules=rules, arn="arn:aws:iam::111122223333:user/a.b")[1] == "RULE"


@pytest.mark.parametrize("status", ["used", "unknown", "new"])
@pytest.mark.parametrize("cls", ["disable", "delete"])
def test_no_rule_disables_what_is_used_or_unknown(status: Status, cls: str) -> None:
    rules = [rule(cls, principal="*")]

    assert decided(status, "disabled", "delete_due", rules=rules)[0] in {"keep", "review"}


@pytest.mark.parametrize("flag", sorted(PROTECTING))
def test_no_rule_disables_what_is_protected(flag: str) -> None:
    rules = [rule("disable", principal="*"), rule("delete", principal="*")]

    assert decided("idle", flag, rules=rules)[0] not in {"disable", "delete"}


def test_a_rule_may_disable_what_is_idle_and_deletes_nothing_before_its_date() -> None:
    assert decided("idle", rules=[rule("disable", principal="*")]) == ("disable", "RULE")
    deleting = [rule("delete", principal="*")]
    assert decided("idle", "disabled", rules=deleting) == ("disable", "DISABLED_WAITING")
    assert decided("idle", "disabled", "delete_due", rules=deleting) == ("delete", "RULE")


@given(
    status=st.sampled_from(get_args(Status)),
    flags=st.sets(st.sampled_from(FLAGS)),
    rules=st.lists(
        st.builds(
            rule,
            st.sampled_from(get_args(Class)),
            principal=st.sampled_from(["*", "arn:*"]),
            flags=st.lists(st.sampled_from(FLAGS), max_size=2),
        ),
        max_size=3,
    ),
)
def test_there_is_always_a_class_and_never_an_unfounded_one(
    status: Status, flags: set[str], rules: list[dict[str, Any]]
) -> None:
    cls, _ = decided(status, *flags, rules=rules)

    assert cls in CLASSES
    if cls in {"disable", "delete"}:
        assert status in {"idle", "never used"}
        assert not flags & PROTECTING
    if cls == "delete":
        assert "delete_due" in flags


def test_the_last_default_rule_matches_everybody_and_deletes_nobody() -> None:
    last = default_rules()[-1]

    assert (last.cls, last.code) == ("review", "USE_UNKNOWN")
    assert not (last.kinds or last.statuses or last.flags or last.principal)


def test_the_default_rules_know_only_what_there_is() -> None:
    for each in default_rules():
        assert each.cls in CLASSES
        assert each.flags <= set(FLAGS)
        assert each.statuses <= set(get_args(Status))
        assert each.kinds <= set(get_args(PrincipalKind))


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({}, "rule 1: a rule has when, class and reason"),
        ("keep", "rule 1: a rule has when, class and reason"),
        (rule("keep"), "when says nothing"),
        (rule("forget", flags=["wide"]), "class is 'forget'; it is one of keep, review"),
        (rule("keep", " ", flags=["wide"]), "reason says nothing"),
        (rule("keep", flags=["widest"]), "flags has 'widest'; it knows aws_owns"),
        (rule("keep", flags="wide"), "flags is not a list"),
        (rule("keep", status=["old"]), "status has 'old'; it knows used"),
        (rule("keep", kind=["robot"]), "kind has 'robot'"),
        (rule("keep", principal=""), "principal is not the ARN"),
        (rule("keep", account=["1"]), "when has account; it knows principal"),
    ],
)
def test_a_wrong_rule_is_named_with_what_is_wrong(wrong: Any, sentence: str) -> None:
    problems = list(check_rules([wrong]))

    assert len(problems) == 1
    assert sentence in problems[0]
    with pytest.raises(SettingsError, match=r"inventory\.rules, rule 1"):
        all_rules([wrong])


def test_rules_that_are_no_list_are_named() -> None:
    assert list(check_rules({"when": {}})) == ["inventory.rules is not a list of rules"]
