from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pare.errors import PareError, PolicyParseError, PolicySizeError
from pare.policy.document import PolicyDocument, Statement, parse, size_in_characters, split

if TYPE_CHECKING:
    from collections.abc import Iterable


def allow(**elements: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*", **elements}


def policy(*statements: dict[str, Any]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def long_document(count: int) -> PolicyDocument:
    actions = tuple(f"service:SomeActionWithALongName{number:04}" for number in range(count))
    return PolicyDocument(
        (Statement("Allow", sid="Long", actions=actions, resources=("arn:aws:x:::y", "z")),)
    )


# --- Parsing and writing ---


def test_every_element_is_read() -> None:
    document = parse(
        {
            "Version": "2012-10-17",
            "Id": "everything",
            "Statement": [
                {
                    "Sid": "One",
                    "Effect": "Allow",
                    "Principal": {"AWS": "111111111111"},
                    "Action": ["s3:PutObject", "s3:GetObject"],
                    "Resource": "*",
                    "Condition": {"StringEquals": {"aws:PrincipalOrgID": ["o-a"]}},
                },
                {
                    "Effect": "Deny",
                    "NotPrincipal": "*",
                    "NotAction": "iam:*",
                    "NotResource": ["a", "b"],
                },
            ],
        }
    )
    assert document == PolicyDocument(
        version="2012-10-17",
        id="everything",
        statements=(
            Statement(
                sid="One",
                effect="Allow",
                principals={"AWS": "111111111111"},
                actions=("s3:PutObject", "s3:GetObject"),
                resources=("*",),
                conditions={"StringEquals": {"aws:PrincipalOrgID": ["o-a"]}},
            ),
            Statement(
                effect="Deny",
                not_principals="*",
                not_actions=("iam:*",),
                not_resources=("a", "b"),
            ),
        ),
    )


def test_text_and_object_are_read_alike() -> None:
    source = policy(allow())
    assert parse(json.dumps(source)) == parse(source)


def test_one_statement_needs_no_list() -> None:
    assert parse({"Statement": allow()}).statements == parse(policy(allow())).statements


def test_an_absent_version_stays_absent() -> None:
    document = parse({"Statement": []})
    assert document.version is None
    assert document.to_json_object() == {"Statement": []}


def test_an_empty_list_is_not_an_absent_element() -> None:
    (statement,) = parse(policy(allow(Action=[]))).statements
    assert statement.actions == ()
    assert statement.not_actions is None


def test_lists_are_written_sorted_without_repetition_and_stay_lists() -> None:
    document = parse(policy(allow(Action=["s3:PutObject", "s3:GetObject", "s3:PutObject"])))
    assert document.to_json_object() == policy(
        {"Effect": "Allow", "Action": ["s3:GetObject", "s3:PutObject"], "Resource": ["*"]}
    )


def test_writing_and_reading_again_changes_nothing() -> None:
    text = parse(
        policy(allow(Sid="A", Condition={"Bool": {"aws:SecureTransport": "true"}}), allow())
    ).to_json()
    assert parse(text).to_json() == text


def test_same_meaning_same_bytes() -> None:
    one = parse('{"Statement":{"Action":["b:B","a:A"],"Effect":"Allow","Resource":"*"}}')
    other = parse('{"Statement":[{"Resource":["*"],"Effect":"Allow","Action":["a:A","b:B"]}]}')
    assert one.to_json() == other.to_json()
    assert one.to_json(indent=2) == other.to_json(indent=2)


def test_statements_can_be_hashed() -> None:
    document = parse(policy(allow(Condition={"Bool": {"a": "b"}}, Principal={"AWS": "*"})))
    assert len({document, parse(document.to_json())}) == 1


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{", "not JSON"),
        ('{"Statement": [], "Statement": []}', "'Statement' is there twice"),
        ("[]", "not a JSON object"),
        ({"Version": "2012-10-17"}, "has no Statement"),
        ({"Version": "2013-01-01", "Statement": []}, "Version is '2013-01-01'"),
        ({"Statement": "x"}, "neither an object nor a list"),
        ({"Statement": [], "Statment": []}, "does not know: Statment"),
        ({"Statement": [], "Id": 5}, "Id is not a string"),
        (policy(allow(), {"Effect": "Allow"}), "Statement 2 has neither Action nor NotAction"),
        (policy(allow(Effect="allow")), "Statement 1: Effect is 'allow'"),
        (policy(allow(NotAction="a:B")), "both Action and NotAction"),
        (policy(allow(NotResource="*")), "both Resource and NotResource"),
        (policy(allow(Principal="*", NotPrincipal="*")), "both Principal and NotPrincipal"),
        (policy(allow(Action=5)), "Action is neither a string nor a list"),
        (policy(allow(Resource=["*", None])), "Resource is neither a string nor a list"),
        (policy(allow(Resources="*")), "does not know: Resources"),
        (policy(allow(Condition=[])), "Condition is not an object of objects"),
        (policy(allow(Condition={"Bool": "x"})), "Condition is not an object of objects"),
        (policy(allow(Sid=1)), "Sid is not a string"),
        ({"Statement": ["x"]}, "Statement 1 is not a JSON object"),
    ],
)
def test_what_iam_would_refuse_is_refused_by_name(
    source: str | dict[str, Any], message: str
) -> None:
    with pytest.raises(PolicyParseError, match=message) as caught:
        parse(source)
    assert isinstance(caught.value, PareError)
    assert caught.value.what_to_do


# --- Size ---


def test_white_space_between_elements_does_not_count() -> None:
    compact = (
        '{"Statement":[{"Action":["s3:GetObject"],"Effect":"Allow","Resource":["*"]}],'
        '"Version":"2012-10-17"}'
    )
    assert size_in_characters(parse(json.dumps(json.loads(compact), indent=8))) == len(compact)


def test_a_character_beyond_ascii_counts_once() -> None:
    plain = parse(policy(allow(Resource="arn:x/e")))
    accented = parse(policy(allow(Resource="arn:x/é")))
    assert size_in_characters(accented) == size_in_characters(plain)


# --- Splitting ---


def union(documents: tuple[PolicyDocument, ...]) -> set[tuple[str, str]]:
    return {
        (action, resource)
        for document in documents
        for statement in document.statements
        for action in statement.actions or ()
        for resource in statement.resources or ()
    }


def test_a_document_that_fits_is_left_alone() -> None:
    document = parse(policy(allow()))
    assert split(document) == (document,)
    assert split(document, limit=size_in_characters(document)) == (document,)


def test_statements_are_shared_out_in_their_order() -> None:
    document = parse(policy(*(allow(Sid=f"S{number}") for number in range(200))))
    parts = split(document)
    assert len(parts) > 1
    assert [s for part in parts for s in part.statements] == list(document.statements)
    assert all(size_in_characters(part) <= 6144 for part in parts)
    # Packed: no part could take the first statement of the next.
    for part, following in pairwise(parts):
        fuller = PolicyDocument((*part.statements, following.statements[0]))
        assert size_in_characters(fuller) > 6144


@pytest.mark.parametrize("limit", [300, 1000, 6144])
def test_a_long_statement_is_cut_into_parts_that_mean_the_same(limit: int) -> None:
    document = long_document(400)
    parts = split(document, limit)
    assert len(parts) > 1
    assert all(size_in_characters(part) <= limit for part in parts)
    assert union(parts) == union((document,))
    assert {s.sid for part in parts for s in part.statements} == {"Long"}
    for part in parts:
        sids = [statement.sid for statement in part.statements]
        assert len(sids) == len(set(sids)), "a Sid is unique within a document"


def test_resources_and_actions_are_both_cut_where_needed() -> None:
    actions = tuple(f"s:A{number:03}" for number in range(100))
    resources = tuple(f"arn:x:{number:03}" for number in range(100))
    document = PolicyDocument((Statement("Allow", actions=actions, resources=resources),))
    for limit in range(150, 400, 10):
        parts = split(document, limit)
        assert all(size_in_characters(part) <= limit for part in parts)
        assert union(parts) == union((document,))
        assert all(len(part.statements) == 1 for part in parts), "a Sid is there once"


def test_a_cut_statement_fills_the_last_document_and_shares_its_own_last_part() -> None:
    long = long_document(250).statements[0]
    short = parse(policy(allow(Sid="Short"))).statements[0]
    parts = split(PolicyDocument((short, long, replace(short, sid="Next"))))
    assert [[s.sid for s in part.statements] for part in parts] == [
        ["Short", "Long"],
        ["Long", "Next"],
    ]
    assert size_in_characters(parts[0]) > 6144 - len('"service:SomeActionWithALongName0000",')
    assert union(parts) == union((PolicyDocument((short, long)),))


def test_a_statement_goes_into_the_first_document_with_room() -> None:
    large = [long_document(n).statements[0] for n in (100, 120)]
    short = parse(policy(allow(Sid="Short"))).statements[0]
    statements = (replace(large[0], sid="A"), replace(large[1], sid="B"), short)
    parts = split(PolicyDocument(statements))
    assert [[s.sid for s in part.statements] for part in parts] == [["A", "Short"], ["B"]]


def test_many_actions_on_many_resources_make_few_parts() -> None:
    actions = tuple(f"service:Action{number:04}" for number in range(400))  # 8,800 characters
    resources = tuple(f"arn:aws:service:::resource/{number:04}" for number in range(300))  # 10,200
    document = PolicyDocument((Statement("Allow", actions=actions, resources=resources),))
    parts = split(document)
    assert union(parts) == union((document,))
    assert all(size_in_characters(part) <= 6144 for part in parts)
    assert len(parts) <= 12, "one part for every action would be 400"


def test_every_part_is_full_but_the_last() -> None:
    resources = tuple(f"arn:aws:s3:::bucket/{number:05}" for number in range(5000))
    document = PolicyDocument((Statement("Allow", actions=("s3:A",), resources=resources),))
    parts = split(document)
    assert union(parts) == union((document,))
    assert all(6144 - 30 < size_in_characters(part) <= 6144 for part in parts[:-1])


values = st.lists(st.text('abcé:/*"', min_size=1, max_size=12), min_size=1, max_size=12)
written = st.builds(
    lambda effect, actions, resources: Statement(
        effect, actions=tuple(actions), resources=tuple(resources)
    ),
    st.sampled_from(["Allow", "Deny"]),
    values,
    values,
)


@given(st.lists(written, min_size=1, max_size=8), st.integers(min_value=150, max_value=400))
def test_parts_fit_and_together_say_the_same(statements: list[Statement], limit: int) -> None:
    document = PolicyDocument(
        tuple(replace(each, sid=f"S{number}") for number, each in enumerate(statements))
    )
    parts = split(document, limit)
    for part in parts:
        assert size_in_characters(part) <= limit
        sids = [int(str(statement.sid)[1:]) for statement in part.statements]
        assert sids == sorted(set(sids)), "in order, and no Sid twice"

    def said(documents: Iterable[PolicyDocument]) -> set[tuple[str | None, str, str, str]]:
        return {
            (s.sid, s.effect, action, resource)
            for each in documents
            for s in each.statements
            for action in s.actions or ()
            for resource in s.resources or ()
        }

    assert said(parts) == said([document])


def test_version_and_id_are_kept_and_counted() -> None:
    document = PolicyDocument(long_document(300).statements, id="x" * 100)
    for part in split(document):
        assert part.id == document.id
        assert size_in_characters(part) <= 6144


@pytest.mark.parametrize(
    "statement",
    [
        Statement("Deny", sid="Guard", not_actions=("a:B" * 50, "c:D" * 50), resources=("*",)),
        Statement("Allow", sid="Guard", actions=("a:B",), resources=("x" * 300,)),
        Statement("Allow", sid="Guard", actions=("a:B",), not_resources=("x" * 99, "y" * 99)),
    ],
)
def test_a_statement_that_cannot_be_cut_is_named(statement: Statement) -> None:
    with pytest.raises(PolicySizeError, match="The statement Guard needs"):
        split(PolicyDocument((statement,)), limit=250)
