from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pare.message import WIDTH
from pare.policy.catalogue import Catalogue, load_catalogue
from pare.policy.difference import (
    DifferenceJson,
    as_markdown,
    as_text,
    difference,
    difference_of_documents,
)
from pare.policy.document import PolicyDocument, parse
from pare.policy.no_new_access import compare

if TYPE_CHECKING:
    from pare.policy.current import CurrentAccessJson
    from pare.policy.difference import SourceDifferenceJson

CATALOGUE = Catalogue(
    {
        "schema_version": 1,
        "source": "",
        "version": "",
        "retrieved": "",
        "licence": "",
        "services": {
            "s3": {
                "name": "S3",
                "actions": {"Read": ["GetObject", "ListBucket"], "Write": ["PutObject"]},
            },
            "iam": {"name": "IAM", "actions": {"List": ["ListRoles"], "Write": ["PassRole"]}},
            "sqs": {"name": "SQS", "actions": {"Write": ["SendMessage"]}},
        },
    }
)
OBJECTS = "arn:aws:s3:::b/*"
TLS = {"Bool": {"aws:SecureTransport": "true"}}


def allow(action: str | list[str], resource: str | list[str] = "*", **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def deny(action: str | list[str], resource: str | list[str] = "*", **more: Any) -> dict[str, Any]:
    return {"Effect": "Deny", "Action": action, "Resource": resource, **more}


def document(*statements: dict[str, Any]) -> PolicyDocument:
    return parse({"Version": "2012-10-17", "Statement": list(statements)})


def found(old: Any, new: Any) -> DifferenceJson:
    def statements(value: Any) -> list[dict[str, Any]]:
        return value if isinstance(value, list) else [value]

    return difference_of_documents(
        [document(*statements(old))], [document(*statements(new))], catalogue=CATALOGUE
    )


def access(*policies: dict[str, Any], boundary: Any = None) -> CurrentAccessJson:
    return {
        "principal_arn": "arn:aws:iam::111122223333:role/App",
        "principal_id": "AROA",
        "kind": "role",
        "created_at": "2026-01-01T00:00:00Z",
        "last_used_at": None,
        "tags": {},
        "policies": list(policies),  # type: ignore[arg-type]
        "boundary": boundary,
    }


def attached(name: str, *statements: dict[str, Any], group: str | None = None) -> dict[str, Any]:
    return {
        "source": "inline",
        "name": name,
        "arn": None,
        "group": group,
        "document": {"Version": "2012-10-17", "Statement": list(statements)},
    }


# --- Removed, kept, added ---


def test_removed_kept_and_added_are_told_by_source() -> None:
    result = difference(
        access(
            attached("Read", allow(["s3:GetObject", "s3:ListBucket"]), allow("iam:*")),
            attached("Write", allow(["s3:PutObject", "s3:GetObject"]), group="ops"),
        ),
        [document(allow(["s3:GetObject", "sqs:SendMessage"]))],
        catalogue=CATALOGUE,
    )

    assert result["before"]["action_count"] == 5
    assert result["after"]["services"] == ["s3", "sqs"]
    assert result["removed_action_count"] == 4
    assert result["kept_action_count"] == 1
    assert result["changed_action_count"] == 0
    assert result["added_action_count"] == 1
    assert result["removed_services"] == ["iam"]
    assert result["added_services"] == ["sqs"]
    assert result["added_actions"] == {"sqs": {"count": 1, "is_whole_service": True, "actions": []}}
    read, write = result["sources"]
    expected: SourceDifferenceJson = {
        "source": "inline",
        "name": "Read",
        "arn": None,
        "group": None,
        "is_replaced": True,
        "removed_action_count": 3,
        "kept_action_count": 1,
        "changed_action_count": 0,
        "removed_actions": {
            "iam": {"count": 2, "is_whole_service": True, "actions": []},
            "s3": {"count": 1, "is_whole_service": False, "actions": ["s3:ListBucket"]},
        },
        "kept_actions": {
            "s3": {"count": 1, "is_whole_service": False, "actions": ["s3:GetObject"]}
        },
        "removed_services": ["iam"],
        "changed": [],
        "removed_denies": [],
    }
    assert read == expected
    assert (write["name"], write["group"], write["removed_action_count"]) == ("Write", "ops", 1)


def test_what_is_held_back_today_is_not_removed() -> None:
    bound = attached("Bound", allow("s3:*"))
    result = difference(
        access(attached("A", allow("*")), attached("B", deny("s3:PutObject")), boundary=bound),
        [document(allow("s3:GetObject"), deny("s3:PutObject"))],
        limits=[[document(allow(["s3:GetObject", "iam:*"]))]],
        catalogue=CATALOGUE,
    )

    assert result["before"]["action_count"] == 1
    assert result["removed_action_count"] == 0
    assert [source["is_replaced"] for source in result["sources"]] == [False, False]


def test_a_policy_against_itself_has_no_difference() -> None:
    policy = [allow(["s3:*"], OBJECTS, Condition=TLS), deny("s3:PutObject", "arn:aws:s3:::b/x")]

    result = found(policy, [*reversed(policy)])

    assert not result["sources"][0]["is_replaced"]
    assert result["removed_action_count"] == result["added_action_count"] == 0


def test_without_policies_everything_is_added() -> None:
    result = difference_of_documents([], [document(allow("*"))], catalogue=CATALOGUE)

    assert result["before"]["action_count"] == 0
    assert result["added_action_count"] == 6
    assert result["sources"] == []


def test_patterns_the_catalogue_does_not_know_are_named() -> None:
    result = found(allow(["s3:GetObject", "old:Thing"]), allow(["s3:GetObject", "new:Thing"]))

    assert result["unlisted"] == {"before": ["old:Thing"], "after": ["new:Thing"]}


# --- Changed ---


@pytest.mark.parametrize(
    ("old", "new", "actions", "from_resources", "to_resources"),
    [
        (allow("s3:GetObject"), allow("s3:GetObject", OBJECTS), ["s3:GetObject"], ["*"],
         [OBJECTS]),
        (allow("s3:GetObject", ["arn:aws:s3:::a/*", "arn:aws:s3:::b/*"]),
         allow("s3:GetObject", "arn:aws:s3:::b/x"), ["s3:GetObject"],
         ["arn:aws:s3:::a/*", "arn:aws:s3:::b/*"], ["arn:aws:s3:::b/x"]),
        # All of a service, by its name.
        (allow("s3:*"), allow("s3:*", OBJECTS), ["s3:*"], ["*"], [OBJECTS]),
        # Another statement's resources say nothing of this action.
        ([allow("s3:GetObject"), allow("s3:PutObject", "x")],
         [allow("s3:GetObject", OBJECTS), allow("s3:PutObject", "x")],
         ["s3:GetObject"], ["*"], [OBJECTS]),
        ({"Effect": "Allow", "Action": "s3:GetObject", "NotResource": "arn:aws:s3:::a"},
         allow("s3:GetObject", OBJECTS), ["s3:GetObject"], ["everything but arn:aws:s3:::a"],
         [OBJECTS]),
    ],
)  # fmt: skip
def test_fewer_resources_are_a_change(
    old: Any, new: Any, actions: list[str], from_resources: list[str], to_resources: list[str]
) -> None:
    (source,) = found(old, new)["sources"]

    (change,) = source["changed"]
    assert change["actions"] == actions
    assert change["from_resources"] == from_resources
    assert change["to_resources"] == to_resources
    assert change["conditions"] == []
    assert source["changed_action_count"] == change["action_count"] > 0
    assert source["is_replaced"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (allow("s3:GetObject", OBJECTS), allow("s3:GetObject", "arn:aws:s3:::*")),
        (allow("s3:GetObject", OBJECTS), allow("s3:GetObject", [OBJECTS, "arn:aws:s3:::c"])),
        (allow("s3:GetObject", Condition=TLS), allow("s3:GetObject", Condition=TLS)),
        (allow("s3:GetObject", Condition=TLS), allow("s3:GetObject")),
        (allow("s3:GetObject"), [allow("s3:GetObject", Condition=TLS), allow("s3:GetObject")]),
    ],
)
def test_as_many_resources_or_more_are_no_change(old: Any, new: Any) -> None:
    assert found(old, new)["sources"][0]["changed"] == []


def test_a_new_condition_is_a_change() -> None:
    (source,) = found(allow("s3:GetObject"), allow("s3:GetObject", Condition=TLS))["sources"]

    assert source["changed"] == [{
        "actions": ["s3:GetObject"], "action_count": 1, "from_resources": [],
        "more_from_resources": 0, "to_resources": [], "more_to_resources": 0, "conditions": [TLS],
        "is_partly_conditional": False,
    }]  # fmt: skip


def test_actions_that_change_alike_are_told_together() -> None:
    old = [allow("s3:GetObject"), allow("s3:PutObject"), allow("iam:PassRole")]
    new = [allow("s3:PutObject", OBJECTS), allow("s3:GetObject", OBJECTS), allow("iam:PassRole")]

    (source,) = found(old, new)["sources"]

    assert [change["actions"] for change in source["changed"]] == [["s3:GetObject", "s3:PutObject"]]
    assert source["changed_action_count"] == 2


def test_only_resources_of_the_source_are_shown_and_not_too_many() -> None:
    arns = [f"arn:aws:s3:::b/{i:04}" for i in range(60)]
    result = difference(
        access(attached("A", allow("s3:GetObject", "arn:aws:s3:::a/*")),
               attached("B", allow("s3:GetObject", OBJECTS))),
        [document(allow("s3:GetObject", ["arn:aws:s3:::a/x", *arns]))],
        catalogue=CATALOGUE,
    )  # fmt: skip

    a, b = (source["changed"][0] for source in result["sources"])
    assert a["to_resources"] == ["arn:aws:s3:::a/x"]
    assert (b["to_resources"], b["more_to_resources"]) == (arns[:50], 10)
    assert result["changed_action_count"] == 1


# --- Deny statements ---


@pytest.mark.parametrize(
    ("denied", "new", "is_removed"),
    [
        (deny("s3:*", Sid="A"), [deny("s3:*", Sid="B")], False),
        (deny("s3:*"), [deny("s3:Get*"), deny(["s3:PutObject", "s3:ListBucket"])], False),
        (deny("s3:*"), [deny("s3:Get*")], True),
        (deny("s3:*"), [deny("s3:*", OBJECTS)], True),
        (deny("s3:*", Condition=TLS), [deny("s3:*", Condition=TLS)], False),
        (deny("s3:*"), [deny("s3:*", Condition=TLS)], True),
        (deny("new:Thing"), [], True),
        (deny("new:Thing"), [deny("new:Thing")], False),
    ],
)
def test_a_deny_that_goes_is_named(
    denied: dict[str, Any], new: list[dict[str, Any]], is_removed: bool
) -> None:
    (source,) = found([allow("iam:*"), denied], [allow("iam:*"), *new])["sources"]

    assert len(source["removed_denies"]) == is_removed
    assert source["is_replaced"] is is_removed


def test_a_deny_that_comes_is_named_and_counted() -> None:
    result = found(allow("s3:*"), [allow("s3:*"), deny("s3:PutObject", OBJECTS, Sid="No")])

    assert result["added_denies"] == [
        {"Sid": "No", "Effect": "Deny", "Action": ["s3:PutObject"], "Resource": [OBJECTS]}
    ]
    assert result["differs"]
    text = as_text(result)
    assert "1 Deny statement added.\n" in text
    assert '\nAdded 1 Deny statement\n  {"Action": ["s3:PutObject"], "Effect": "Deny"' in text
    assert '- `{"Action": ["s3:PutObject"]' in as_markdown(result)


def test_a_deny_that_goes_is_counted() -> None:
    result = found([allow("s3:*"), deny("s3:PutObject", OBJECTS)], allow("s3:*"))

    assert result["differs"]
    assert "1 Deny statement removed.\n" in as_text(result)
    assert (result["removed_action_count"], result["added_denies"]) == (0, [])


# --- Widened ---

IP = {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}


@pytest.mark.parametrize(
    ("old", "new", "today", "added", "dropped"),
    [
        (allow("s3:*", OBJECTS), allow("s3:*"), [OBJECTS], ["*"], []),
        (allow("s3:*", OBJECTS), allow("s3:*", [OBJECTS, "arn:aws:s3:::c/*"]), [OBJECTS],
         ["arn:aws:s3:::c/*"], []),
        # Another bucket instead of this one.
        (allow("s3:*", OBJECTS), allow("s3:*", "arn:aws:s3:::c/*"), [OBJECTS],
         ["arn:aws:s3:::c/*"], []),
        (allow("s3:*", Condition=TLS), allow("s3:*"), ["*"], [], [TLS]),
        (allow("s3:*", OBJECTS, Condition=TLS), allow("s3:*"), [OBJECTS], ["*"], []),
        (allow("s3:*", Condition={**TLS, **IP}), allow("s3:*", Condition=TLS), ["*"], [],
         [{**TLS, **IP}]),
        (allow("s3:*", Condition=IP), allow("s3:*", Condition=TLS), ["*"], [], [IP]),
        ([allow("s3:*", OBJECTS), allow("s3:*", Condition=TLS)], allow("s3:*"),
         ["*", OBJECTS], [], [TLS]),
        (allow("s3:*", OBJECTS), {"Effect": "Allow", "Action": "s3:*", "NotResource": OBJECTS},
         [OBJECTS], [f"everything but {OBJECTS}"], []),
    ],
)  # fmt: skip
def test_more_resources_or_fewer_conditions_are_widened(
    old: Any, new: Any, today: list[str], added: list[str], dropped: list[Any]
) -> None:
    result = found(old, new)

    assert result["widened"] == [{
        "actions": ["s3:*"], "action_count": 3, "today_resources": today,
        "more_today_resources": 0, "added_resources": added, "more_added_resources": 0,
        "dropped_conditions": dropped,
    }]  # fmt: skip
    assert result["widened_action_count"] == 3
    assert result["differs"]
    assert "widened), added 0" in " ".join(as_text(result).split())


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (allow("s3:*"), allow("s3:*", OBJECTS)),
        (allow("s3:*"), allow("s3:*", Condition=TLS)),
        (allow("s3:*", Condition=TLS), allow("s3:*", OBJECTS, Condition={**TLS, **IP})),
        (allow("s3:*", OBJECTS), allow("s3:GetObject", "arn:aws:s3:::b/x")),
        ({"Effect": "Allow", "Action": "s3:*", "NotResource": OBJECTS},
         allow("s3:*", "arn:aws:s3:::c/*")),
        (allow("s3:GetObject"), allow("iam:*")),
    ],
)  # fmt: skip
def test_less_is_not_widened_but_differs(old: Any, new: Any) -> None:
    result = found(old, new)

    assert (result["widened"], result["widened_action_count"]) == ([], 0)
    assert result["differs"]


def test_what_is_widened_is_told_before_what_is_kept() -> None:
    text = as_text(found(allow("s3:*", OBJECTS), allow("s3:*", "arn:aws:s3:::c/*")))

    assert (
        text
        == f"""\
3 actions in 1 service today, 3 actions in 1 service proposed: removed 0, kept
3 (3 changed, 3 widened), added 0.

Widened 3 actions, granted on less today
  s3:*: now on arn:aws:s3:::c/*, today on {OBJECTS}

Policy document 1: removed 0, kept 3 (3 changed)
  kept 3 actions
    - s3: all 3 actions
  changed 3 actions
    - s3:*: no longer on {OBJECTS}
"""
    )
    dropped = as_text(found(allow("s3:*", Condition=TLS), allow("s3:*")))
    assert 's3:*: no longer only under {"Bool": {"aws:SecureTransport": "true"}}\n' in dropped


def test_conditions_on_some_resources_only_are_a_change() -> None:
    result = found(
        allow("s3:*", ["arn:aws:s3:::a/*", OBJECTS]),
        [allow("s3:*", "arn:aws:s3:::a/*"), allow("s3:*", OBJECTS, Condition=TLS)],
    )

    (change,) = result["sources"][0]["changed"]
    assert (change["conditions"], change["is_partly_conditional"]) == ([TLS], True)
    assert "s3:*, in part only under {" in as_text(result)
    assert result["differs"]


def test_what_the_catalogue_does_not_know_can_differ() -> None:
    known, other = allow("new:Thing", OBJECTS), allow("new:Thing", "*")

    assert found(known, other)["differs"]
    assert not found(known, known)["differs"]


# --- Numbers add up ---

PATTERNS = st.sampled_from(
    ["*", "s3:*", "s3:GetObject", "s3:*Object", "iam:*", "iam:PassRole", "sqs:SendMessage"]
)
STATEMENTS = st.builds(
    lambda effect, actions, resource: {"Effect": effect, "Action": actions, "Resource": resource},
    st.sampled_from(["Allow", "Allow", "Allow", "Deny"]),
    st.lists(PATTERNS, min_size=1, max_size=2),
    st.sampled_from(["*", OBJECTS, "arn:aws:s3:::b/x", "arn:aws:s3:::c/*"]),
)
POLICIES = st.lists(STATEMENTS, max_size=3)


@settings(max_examples=150, deadline=None)
@given(POLICIES, POLICIES, POLICIES)
def test_the_counts_add_up(
    one: list[dict[str, Any]], other: list[dict[str, Any]], new: list[dict[str, Any]]
) -> None:
    result = difference(
        access(attached("A", *one), attached("B", *other)), [document(*new)], catalogue=CATALOGUE
    )

    removed, kept = result["removed_action_count"], result["kept_action_count"]
    assert removed + kept == result["before"]["action_count"]
    assert kept + result["added_action_count"] == result["after"]["action_count"]
    assert result["changed_action_count"] <= kept
    for source in result["sources"]:
        for word in ("removed", "kept"):
            services: Any = source[f"{word}_actions"]  # type: ignore[literal-required]
            assert (
                sum(each["count"] for each in services.values())
                == source[
                    f"{word}_action_count"  # type: ignore[literal-required]
                ]
            )
        assert (
            sum(each["action_count"] for each in source["changed"])
            == source["changed_action_count"]
        )
    backward = difference_of_documents(
        [document(*new)], [document(*one), document(*other)], catalogue=CATALOGUE
    )
    assert backward["added_action_count"] == removed
    assert backward["differs"] == result["differs"]
    assert sum(each["action_count"] for each in result["widened"]) >= result["widened_action_count"]
    assert result["widened_action_count"] <= kept
    # What is not shown to be within today's policies is told; denied resources are not looked at.
    if not one and not any(each["Effect"] == "Deny" for each in [*other, *new]):
        proof = compare([document(*other)], [document(*new)], catalogue=CATALOGUE)
        is_wider = bool(result["widened"] or result["added_action_count"])
        assert is_wider == (proof["result"] != "proved")


@settings(max_examples=50, deadline=None)
@given(POLICIES)
def test_nothing_differs_from_itself(policy: list[dict[str, Any]]) -> None:
    result = found([*policy], [*reversed(policy)])

    assert not result["differs"]
    assert (result["widened"], result["added_denies"]) == ([], [])
    assert not result["sources"][0]["is_replaced"]
    assert as_text(result) and as_markdown(result)


# --- For people ---

SMALL = difference(
    access(
        attached("App`s\n# policy", allow("*")),
        attached("Same", allow("s3:GetObject", "arn:aws:s3:::b/x"), group="ops"),
    ),
    [document(allow(["s3:GetObject", "new:Thing"], "arn:aws:s3:::b/x"))],
    catalogue=CATALOGUE,
)


def test_the_text_reads_counts_first() -> None:
    assert (
        as_text(SMALL, width=80)
        == """\
6 actions in 3 services today, 1 action in 1 service proposed: removed 5, kept 1
(1 changed), added 0.
Services removed, 2: iam, sqs.

Inline policy App`s # policy: removed 5, kept 1 (1 changed)
  removed 5 actions
    - all actions of 2 services: iam (2), sqs (1)
    - s3, 2: ListBucket, PutObject
  kept 1 action
    - s3, 1: GetObject
  changed 1 action
    - s3:GetObject: from * to arn:aws:s3:::b/x

Inline policy Same, through the group ops: removed 0, kept 1
  all it grants is kept

Not in the catalogue, so not counted (proposed)
  new:Thing
"""
    )


def test_the_markdown_says_the_same() -> None:
    first, _, rest = as_markdown(SMALL).partition("\n")
    assert first == (
        "6 actions in 3 services today, 1 action in 1 service proposed: "
        "removed 5, kept 1 (1 changed), added 0."
    )
    assert (
        rest
        == """
Services removed, 2: `iam`, `sqs`.

### Inline policy <code>App&#96;s &#35; policy</code>: removed 5, kept 1 (1 changed)

- removed 5 actions
  - all actions of 2 services: `iam` (2), `sqs` (1)
  - `s3`, 2: `ListBucket`, `PutObject`
- kept 1 action
  - `s3`, 1: `GetObject`
- changed 1 action
  - `s3:GetObject`: from `*` to `arn:aws:s3:::b/x`

### Inline policy `Same`, through the group `ops`: removed 0, kept 1

- all it grants is kept

### Not in the catalogue, so not counted (proposed)

- `new:Thing`
"""
    )


def test_a_holder_of_everything_is_told_on_one_screen() -> None:
    result = difference(
        access(attached("Administrator", allow("*"))), [document(allow("ec2:DescribeInstances"))]
    )

    text = as_text(result)
    assert result["before"]["action_count"] == len(load_catalogue().expand("*"))
    assert len(text.splitlines()) < 25
    assert max(map(len, text.splitlines())) <= WIDTH
    assert len(json.dumps(result)) < 100_000
    removed = result["sources"][0]["removed_actions"]
    assert removed["s3"]["is_whole_service"]
    assert not removed["ec2"]["is_whole_service"]


def test_long_lists_are_cut_and_say_so() -> None:
    many = [f"arn:aws:s3:::b/{i}" for i in range(70)]
    result = found(allow("s3:GetObject"), allow("s3:GetObject", many))

    text = " ".join(as_text(result, complete_in="`jq .difference x.json`").split())
    assert "and 66 more" in text
    assert text.endswith("Complete lists: `jq .difference x.json`.")
    page = as_markdown(result, complete_in="`x.json`")
    assert page.endswith("\n\nComplete lists: `x.json`.\n")
    assert "Complete" not in as_text(SMALL) + as_markdown(SMALL)


def test_what_is_added_comes_first() -> None:
    text = as_text(found(allow("s3:GetObject"), allow(["s3:GetObject", "iam:*", "sqs:*"])))

    assert text.index("Added 3 actions, not granted today") < text.index("Policy document 1")
    assert "all actions of 2 services: iam (2), sqs (1)" in text


def test_names_tell_documents_apart() -> None:
    result = difference_of_documents(
        [document(allow("s3:*")), document(allow("iam:*"))], [], names=["old.json"],
        catalogue=CATALOGUE,
    )  # fmt: skip

    assert [source["name"] for source in result["sources"]] == ["old.json", "document 2"]


@given(st.text(max_size=50))
def test_a_name_begins_no_line_and_leaves_its_code_span(name: str) -> None:
    page = as_markdown(difference_of_documents([document()], [], names=[f"x{name}"]))

    title = page.splitlines()[-3]
    assert title.startswith("### Policy `x") or title.startswith("### Policy <code>x")
    assert title.endswith((": removed 0, kept 0",))
    assert len(page.splitlines()) == 5
