"""Every form holds the very documents of the proposal, and no outside text can leave its place."""

from __future__ import annotations

import json
import re
import unicodedata
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import pygohcl
import pytest
import yaml
from cfnlint import api
from cfnlint.config import ManualArgs
from hypothesis import assume, example, given
from hypothesis import strategies as st

from pare.policy.difference import as_markdown, as_text, difference_of_documents
from pare.policy.document import parse
from pare.policy.output_escapes import code, comment, fenced, hcl_string, markdown, yaml_string
from pare.policy.output_markdown import PAGE_LIMIT, markdown_page
from pare.policy.output_words import coverage_line, coverage_rows, names_of, ordered
from pare.policy.outputs import FORMS, WHOLE_PROPOSAL, file_name, files_of, render

if TYPE_CHECKING:
    from pare.policy.outputs import Form

NASTY = (
    'x"}\r\nresource "null_resource" "y" {\n# ${file("/etc/passwd")} %{ if true } $${a} $$${b} \\',
    "| <script>alert(1)</script> `` ` @admins #12 https://evil.example www.evil.example $x$ *_[~]",
    "\u2028Verdict: ready\u202e\x00\x1b[1m\x85 --- ... : # - ? &a *b !!python/object",
    "*/ --> ]]> </details> ```\n```",
)
BUCKET = "arn:aws:s3:::shop-orders"


def statement(sid: str, actions: list[str], resources: list[str], **more: Any) -> dict[str, Any]:
    return {"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resources, **more}


def document(*statements: dict[str, Any]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": [*statements]}


def use(action: str, resource: str | None, count: int) -> dict[str, Any]:
    return {
        "action": action,
        "resource": resource,
        "count": count,
        "first": "2026-08-23T00:00:04Z",
        "last": "2026-11-20T23:59:58Z",
        "file": "111122223333_CloudTrail_eu-west-1_20261120T2359Z_abcdefgh.json.gz",
    }


def evidence(sid: str, basis: str, actions: list[str], **more: Any) -> dict[str, Any]:
    return {
        "sid": sid,
        "basis": basis,
        "actions": actions,
        "uses": [],
        "more_uses": 0,
        "call_count": 0,
        "first": "",
        "last": "",
        "widened": [],
        "folded": [],
        "last_accessed_at": {},
        **more,
    }


def counts(actions: int, *services: str) -> dict[str, Any]:
    return {
        "action_count": actions,
        "service_count": len(services),
        "services": [*services],
    }


def ready(**changes: Any) -> dict[str, Any]:
    """A role with one policy: everything was observed, folded, and replayed."""
    proposal = {
        "schema_version": 2,
        "principal_arn": "arn:aws:iam::111122223333:role/app/ShopCheckout",
        "account_id": "111122223333",
        "kind": "role",
        "verdict": "ready",
        "reasons": [
            {
                "code": "DATA_EVENTS_NOT_RECORDED",
                "level": "note",
                "text": "The trail records no data events of dynamodb.",
                "what_to_do": "Nothing: the actions granted today are kept.",
            }
        ],
        "documents": [
            document(
                statement("S3ShopOrders", ["s3:GetObject", "s3:PutObject"], [f"{BUCKET}/2026/*"]),
                statement(
                    "PassRole",
                    ["iam:PassRole"],
                    ["arn:aws:iam::111122223333:role/app/Worker"],
                    Condition={"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}},
                ),
                statement(
                    "KeptDynamoDB",
                    ["dynamodb:GetItem", "dynamodb:Query"],
                    ["arn:aws:dynamodb:eu-west-1:111122223333:table/orders"],
                ),
            )
        ],
        "evidence": [
            evidence(
                "S3ShopOrders",
                "observed",
                ["s3:GetObject", "s3:PutObject"],
                uses=[use("s3:GetObject", f"{BUCKET}/2026/{n}.json", 120) for n in range(3)],
                call_count=81_240,
                first="2026-08-23T00:00:04Z",
                last="2026-11-20T23:59:58Z",
                folded=[
                    {
                        "pattern": f"{BUCKET}/2026/*",
                        "arn_count": 4_120,
                        "examples": [f"{BUCKET}/2026/{n}.json" for n in range(3)],
                    }
                ],
            ),
            evidence(
                "PassRole",
                "observed",
                ["iam:PassRole"],
                uses=[use("iam:PassRole", "arn:aws:iam::111122223333:role/app/Worker", 12)],
                call_count=12,
                first="2026-08-23T00:00:04Z",
                last="2026-11-19T11:00:00Z",
            ),
            evidence(
                "KeptDynamoDB",
                "kept: not observable",
                ["dynamodb:GetItem", "dynamodb:Query"],
                last_accessed_at={"dynamodb": "2026-11-20T05:00:00Z"},
            ),
        ],
        "before": counts(240, "dynamodb", "ec2", "iam", "s3", "sqs"),
        "after": counts(5, "dynamodb", "iam", "s3"),
        "difference": None,
        "no_new_access": {"result": "proved", "additions": [], "undecided": []},
        "replay": {
            "calls": 81_252,
            "allowed_calls": 81_252,
            "rows": 4_121,
            "allowed_rows": 4_121,
            "undecided_rows": 0,
            "counterexamples": [],
            "more_counterexamples": 0,
            "not_granted_today": [],
            "complete": True,
        },
        "refused_calls": [
            {
                "action": "s3:DeleteObject",
                "resource": f"{BUCKET}/2026/1.json",
                "count": 3,
                "last": "2026-11-02T08:00:00Z",
                "file": "x.json.gz",
                "errors": {"AccessDenied": 3},
                "granted_by_proposal": False,
            }
        ],
        "coverage": {
            "activity": {
                "asked": [{"since": "2026-08-23T00:00:00Z", "until": ""}],
                "first": "2026-08-23T00:00:04Z",
                "last": "2026-11-20T23:59:58Z",
                "window_days": 90,
                "days_without_records": 1,
                "first_days_without_records": ["2026-10-04"],
                "hours_with_records": 2_112,
                "files": 25_120,
                "bytes": 1_204_551_000,
                "uncompressed_bytes": 20_204_551_000,
                "unreadable_files": 0,
                "records": 4_204_551,
                "unreadable_records": 2,
                "problem_files": ["broken.json.gz"],
                "forgotten_event_ids": 0,
                "reads_recorded": True,
                "data_events": ["s3"],
                "catalogue": ["2026-11-01"],
            },
            "last_accessed": {
                "outcome": "COMPLETED",
                "message": "",
                "service_count": 31,
                "accessed_service_count": 4,
            },
            "unmapped_operations": {"newservice.amazonaws.com:DoThing": 3},
        },
        "packing": None,
        "lint": [],
        "session_count": 4,
        "created_at": "2026-11-21T09:00:00Z",
        "owner": "orders@example.com",
    }
    return deepcopy({**proposal, **changes})


def review(**changes: Any) -> dict[str, Any]:
    """A user with a path, two policies, a policy variable, and calls that would stop working."""
    counterexample = {
        "action": "sqs:SendMessage",
        "resource": "arn:aws:sqs:eu-west-1:111122223333:mails",
        "answer": "not allowed",
        "why": "aws:SourceIp is not in the record",
        "count": 14,
        "last": "2026-11-18T07:12:00Z",
        "file": "111122223333_CloudTrail_eu-west-1_20261118T0715Z_abcdefgh.json.gz",
    }
    return ready(
        principal_arn="arn:aws:iam::111122223333:user/people/alice@example.com",
        kind="user",
        verdict="review",
        reasons=[
            {
                "code": "SHARED",
                "level": "note",
                "text": "Three sessions use it.",
                "what_to_do": "Give each a role of its own.",
            },
            {
                "code": "COUNTEREXAMPLES",
                "level": "review",
                "text": "14 calls that worked would not be allowed any more",
                "what_to_do": "Read the table below before you apply it.",
            },
        ],
        documents=[
            document(
                statement(
                    "OwnFolder",
                    ["s3:GetObject"],
                    ["arn:aws:s3:::homes/${aws:username}/*"],
                    Condition={
                        "Bool": {"aws:SecureTransport": True},
                        "NumericLessThan": {"s3:max-keys": 10},
                        "StringLike": {"s3:prefix": ["${aws:username}/*", "%{a}", "$${b}"]},
                    },
                )
            ),
            document({"Effect": "Deny", "NotAction": ["iam:*"], "Resource": "*"}),
        ],
        evidence=[
            evidence("OwnFolder", "kept: last accessed", ["s3:GetObject"], widened=[
                {"action": "s3:GetObject", "resource": "arn:aws:s3:::homes/*", "why": "no events"}
            ]),
        ],
        no_new_access={
            "result": "additions",
            "additions": [
                {"sid": "OwnFolder", "action": "s3:GetObject", "resource": "arn:aws:s3:::homes/*",
                 "why": "nothing grants it"}
            ],
            "undecided": [],
        },
        replay={
            "calls": 812,
            "allowed_calls": 798,
            "rows": 20,
            "allowed_rows": 18,
            "undecided_rows": 1,
            "counterexamples": [counterexample],
            "more_counterexamples": 3,
            "not_granted_today": [{**counterexample, "resource": None}],
            "complete": False,
        },
        owner=None,
        **changes,
    )  # fmt: skip


def refused(**changes: Any) -> dict[str, Any]:
    """A role without evidence: there is nothing but the reason."""
    return ready(
        principal_arn="arn:aws:iam::111122223333:role/Quiet",
        verdict="refused",
        reasons=[
            {
                "code": "NO_ACTIVITY",
                "level": "refused",
                "text": "No use of this principal was recorded in the window.",
                "what_to_do": "Ask its owner whether it is needed at all.",
            }
        ],
        documents=[],
        evidence=[],
        after=None,
        no_new_access=None,
        replay=None,
        refused_calls=[],
        **changes,
    )


def govcloud(**changes: Any) -> dict[str, Any]:
    """A role of GovCloud whose permissions of today are not known."""
    return ready(
        principal_arn="arn:aws-us-gov:iam::111122223333:role/Batch",
        documents=[
            document(
                statement("Queue", ["sqs:SendMessage"],
                          ["arn:aws-us-gov:sqs:us-gov-west-1:111122223333:jobs"])
            )
        ],
        evidence=[evidence("Queue", "observed", ["sqs:SendMessage"], call_count=1,
                           last="2026-11-20T23:59:58Z")],
        before=None,
        no_new_access=None,
        **changes,
    )  # fmt: skip


SAMPLES = {"ready": ready, "review": review, "refused": refused, "govcloud": govcloud}
PROPOSED = [name for name in SAMPLES if name != "refused"]

texts = st.one_of(st.text(max_size=40), st.sampled_from(NASTY))
values = st.one_of(texts, st.booleans(), st.integers(), st.none(), st.lists(texts, max_size=3))
statements = st.fixed_dictionaries(
    {"Effect": st.just("Allow"), "Action": st.lists(texts, max_size=3)},
    optional={
        "Sid": texts,
        "Resource": st.one_of(texts, st.lists(texts, max_size=3)),
        "Condition": st.dictionaries(texts, st.dictionaries(texts, values, max_size=2), max_size=2),
    },
)
documents = st.lists(
    st.builds(lambda each: document(*each), st.lists(statements, max_size=3)),
    min_size=1,
    max_size=2,
)


def hcl_of(text: str) -> Any:
    """Return what HashiCorp's own parser reads; it evaluates no function, so none is left in."""
    text = re.sub(r"^  policy = jsonencode\((.*)", r"  policy = \1", text, flags=re.MULTILINE)
    return pygohcl.loads(re.sub(r"^(  \}|.*\})\)$", r"\1", text, flags=re.MULTILINE))


def terraform_documents(text: str) -> list[Any]:
    policies = hcl_of(text)["resource"]["aws_iam_policy"]
    found = [policies[label]["policy"] for label in sorted(policies)]
    return [json.loads(each) if isinstance(each, str) else each for each in found]


def template_of(text: str) -> Any:
    return yaml.safe_load(text)


def template_documents(text: str) -> list[Any]:
    resources = template_of(text)["Resources"]
    return [resources[name]["Properties"]["PolicyDocument"] for name in resources]


def json_documents(text: str) -> list[Any]:
    decoder, found = json.JSONDecoder(), []
    while text := text.lstrip():
        value, end = decoder.raw_decode(text)
        found.append(value)
        text = text[end:]
    return found


@pytest.mark.parametrize("kind", PROPOSED)
def test_every_form_holds_the_very_documents(kind: str) -> None:
    proposal = SAMPLES[kind]()

    assert json_documents(render(proposal, "json")) == proposal["documents"]
    assert terraform_documents(render(proposal, "terraform")) == proposal["documents"]
    assert template_documents(render(proposal, "cloudformation")) == proposal["documents"]


@given(documents)
def test_terraform_keeps_every_text(found: list[Any]) -> None:
    text = render(ready(documents=found, evidence=[]), "terraform")

    assert terraform_documents(text) == found


@given(documents)
def test_cloudformation_keeps_every_text(found: list[Any]) -> None:
    assume("{{resolve:" not in json.dumps(found))
    text = render(ready(documents=found, evidence=[]), "cloudformation")

    assert template_documents(text) == found


@given(documents)
def test_json_keeps_every_text(found: list[Any]) -> None:
    text = render(ready(documents=found, evidence=[]), "json")

    assert json_documents(text) == found
    assert all(line.isprintable() for line in text.split("\n"))


@given(st.text())
@example("$${a}")
@example("$$${a}")
@example("%%{a}")
@example("$%{a}")
@example("a$")
@example("\\${a}")
def test_a_string_of_hcl_is_never_a_template(text: str) -> None:
    assert pygohcl.loads(f"a = {hcl_string(text)}")["a"] == unicodedata.normalize("NFC", text)


@given(st.text())
@example("yes")
@example("Null")
@example("2012-10-17")
@example("12:30")
@example("")
def test_a_string_of_yaml_stays_a_string(text: str) -> None:
    assert yaml.safe_load(f"a: {yaml_string(text)}") == {"a": text}


def test_terraform_keeps_a_name_that_it_would_normalize() -> None:
    decomposed = document(statement("Cafe", ["s3:GetObject"], ["arn:aws:s3:::b/cafe\u0301"]))
    text = render(ready(documents=[decomposed], evidence=[]), "terraform")

    assert "jsonencode" not in text
    assert terraform_documents(text) == [decomposed]


def test_terraform_escapes_policy_variables() -> None:
    text = render(review(), "terraform")

    assert '"arn:aws:s3:::homes/$${aws:username}/*"' in text
    assert '"%%{a}"' in text


@pytest.mark.parametrize("kind", PROPOSED)
def test_terraform_attaches_each_policy_by_name(kind: str) -> None:
    proposal = SAMPLES[kind]()
    entity = "user" if kind == "review" else "role"
    found = hcl_of(render(proposal, "terraform"))
    attachments = found["resource"][f"aws_iam_{entity}_policy_attachment"]
    [(variable, body)] = found["variable"].items()

    assert body["default"] == proposal["principal_arn"].rpartition("/")[2]
    assert len(attachments) == len(proposal["documents"])
    for label, attachment in attachments.items():
        assert attachment[entity] == f"var.{variable}"
        assert attachment["policy_arn"] == f"aws_iam_policy.{label}.arn"
        name = found["resource"]["aws_iam_policy"][label]["name"]
        assert re.fullmatch(r"[\w+=,.@-]{1,128}", name, re.ASCII)


def test_terraform_is_laid_out_as_fmt_does() -> None:
    text = render(ready(), "terraform")

    assert (
        """\
      {
        Sid    = "S3ShopOrders"
        Effect = "Allow"
        Action = [
          "s3:GetObject",
          "s3:PutObject",
        ]
        Resource = ["arn:aws:s3:::shop-orders/2026/*"]
      },
"""
        in text
    )
    assert "      # observed: 81,240 calls, last on 2026-11-20; 4,120 ARNs folded\n" in text


@pytest.mark.parametrize("kind", PROPOSED)
def test_cfn_lint_accepts_the_template(kind: str) -> None:
    region = "us-gov-west-1" if kind == "govcloud" else "eu-west-1"
    text = render(SAMPLES[kind](), "cloudformation")

    assert [str(each) for each in api.lint(text, config=ManualArgs(regions=[region]))] == []


def test_cfn_lint_would_find_a_fault() -> None:
    text = render(ready(), "cloudformation").replace("PolicyDocument", "PolicyDocumen")

    assert api.lint(text, config=ManualArgs(regions=["eu-west-1"]))


def test_the_template_attaches_each_policy_by_name() -> None:
    user, role = (template_of(render(each(), "cloudformation")) for each in (review, ready))

    assert user["Parameters"]["PrincipalName"]["Default"] == "alice@example.com"
    for template, key, count in ((user, "Users", 2), (role, "Roles", 1)):
        properties = [each["Properties"] for each in template["Resources"].values()]
        assert [each[key] for each in properties] == [[{"Ref": "PrincipalName"}]] * count
    assert "Verdict: review." in user["Description"]
    assert "Fn::" not in render(review(), "cloudformation")


def test_a_reference_that_cloudformation_would_resolve_is_not_written() -> None:
    secret = "arn:aws:s3:::b/{{resolve:secretsmanager:x}}"
    proposal = ready(documents=[document(statement("A", ["s3:GetObject"], [secret]))])
    text = render(proposal, "cloudformation")

    assert "# No template:" in text
    assert template_of(text) is None
    assert "\n" not in "".join(line for line in text.splitlines() if not line.startswith("#"))
    assert terraform_documents(render(proposal, "terraform")) == proposal["documents"]


@given(st.lists(st.text("aA1+=,.@-_é \n\"'/", min_size=1, max_size=130), min_size=2, unique=True))
def test_names_are_valid_and_distinct(names: list[str]) -> None:
    found = [names_of(f"arn:aws:iam::111122223333:role/p/{name}x") for name in names]

    for each in found:
        assert re.fullmatch(r"[\w+=,.@-]{1,128}", each.policy_name(99), re.ASCII)
        assert re.fullmatch(r"[A-Za-z][A-Za-z0-9]*", each.logical_id)
        assert re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]*", each.label)
    distinct = {each.name for each in found}
    for attribute in ("label", "logical_id"):
        assert len({getattr(each, attribute) for each in found}) == len(distinct)
    assert len({each.policy_name(1) for each in found}) == len(distinct)


def nasty(text: str) -> dict[str, Any]:
    """A proposal that has the text wherever one from outside can be."""
    call = {"action": text, "resource": text, "answer": text, "why": text, "count": 1,
            "last": text, "file": text, "passed_to_service": text}  # fmt: skip
    access = {"sid": text, "action": text, "resource": text, "why": text}
    activity = ready()["coverage"]["activity"] | {
        "asked": [{"since": text, "until": text}],
        "first": text,
        "last": text,
        "first_days_without_records": [text],
        "problem_files": [text],
        "data_events": [text],
        "catalogue": [text],
    }
    return review() | {
        "principal_arn": f"arn:aws:iam::111122223333:user/{text}",
        "owner": text,
        "finding_id": text,
        "created_at": text,
        "kind": text,
        "reasons": [{"code": text, "level": "review", "text": text, "what_to_do": text}],
        "evidence": [
            evidence(text, text, [text], uses=[use(text, text, 1)], call_count=1, last=text,
                     widened=[{"action": text, "resource": text, "why": text}],
                     folded=[{"pattern": text, "arn_count": 2, "examples": [text]}]),
            evidence(text, text, [text], last_accessed_at={text: text}),
        ],
        "before": counts(9, text, "s3"),
        "no_new_access": {"result": text, "additions": [access], "undecided": [access]},
        "replay": review()["replay"] | {"counterexamples": [call], "not_granted_today": [call]},
        "refused_calls": [{**call, "errors": {text: 1}, "granted_by_proposal": True}],
        "coverage": {text: text, "files": {text: {text: 1}}, "activity": activity},
        "lint": [{"type": text, "code": text, "details": text, "sid": text, "path": text}],
    }  # fmt: skip


@given(texts)
@example(NASTY[0])
@example(NASTY[1])
@example(NASTY[2])
@example(NASTY[3])
def test_no_outside_text_leaves_a_comment_or_a_string(text: str) -> None:
    proposal = nasty(text + "x")

    found = hcl_of(render(proposal, "terraform"))
    assert {*found} == {"variable", "resource"}
    assert {*found["resource"]} == {"aws_iam_policy", "aws_iam_user_policy_attachment"}
    template = template_of(render(proposal, "cloudformation"))
    assert {*template} == {"AWSTemplateFormatVersion", "Description", "Parameters", "Resources"}
    for written in (render(proposal, "terraform"), render(proposal, "cloudformation")):
        assert all(line.isprintable() for line in written.split("\n"))


@pytest.mark.parametrize("text", NASTY)
def test_no_outside_text_leaves_its_place_on_the_page(text: str) -> None:
    page, plain_page = (render(nasty(each), "markdown") for each in (text, "harmless"))
    policy = page.index("## The policy")
    told = page[:policy]

    assert [line for line in told.split("\n") if line.startswith("#")][1:] == [
        line for line in plain_page.split("\n") if line.startswith("#")
    ][1:-1]
    assert len(told.split("\n")) == len(plain_page[: plain_page.index("## The policy")].split("\n"))
    outside_code = re.sub(r"`[^`]*`", "", told.replace("<br>", ""))
    assert re.findall(r"<(?!/?code>)", outside_code) == []
    assert not re.search(r"@\w|(?<!&)#\d|://|www\.|(?<![&\\])\$", outside_code)
    rows = [line for line in told.split("\n") if line.startswith("|")]
    widths = {line.count("|") for line in rows}
    assert widths <= {line.count("|") for line in plain_page.split("\n") if line.startswith("|")}


@pytest.mark.parametrize("text", NASTY)
def test_no_outside_text_forges_a_line_of_the_terminal(text: str) -> None:
    page = render(nasty(text), "text")

    assert all(line.isprintable() for line in page.split("\n"))
    assert len([line for line in page.splitlines() if line.startswith("Verdict:")]) == 1


@given(st.text())
@example("`a|b`")
@example("a\\|b")
def test_code_and_prose_stay_in_one_cell(text: str) -> None:
    for shown in (code(text), markdown(text)):
        assert "|" not in shown
        assert "\n" not in shown
        assert shown.isprintable() or "\u200b" in shown


@given(texts)
def test_a_comment_is_nothing_but_comment(text: str) -> None:
    assert all(line.startswith("#") for line in comment(text).splitlines())


def test_a_fence_is_longer_than_any_in_the_text() -> None:
    assert fenced("a\n````\nb", "json") == "`````json\na\n````\nb\n`````"


def test_keys_stand_in_the_order_people_read() -> None:
    stored = json.loads(json.dumps(ready()["documents"][0], sort_keys=True))

    assert [*stored] == ["Statement", "Version"]
    assert [*ordered(stored)] == ["Version", "Statement"]
    assert " ".join(ordered(stored)["Statement"][1]) == "Sid Effect Action Resource Condition"


@pytest.mark.parametrize("kind", SAMPLES)
@pytest.mark.parametrize("form", FORMS)
def test_a_stored_proposal_gives_the_same_bytes(kind: str, form: Form) -> None:
    proposal = SAMPLES[kind]()
    stored = json.loads(json.dumps(proposal, sort_keys=True))

    assert render(stored, form) == render(proposal, form)


def test_the_page_says_the_verdict_first_and_what_would_break() -> None:
    page = markdown_page(review(), ["{}", "{}"], "### By source\n\nTHE DIFFERENCE")

    sections = re.findall(r"^## (.*)$", page, re.MULTILINE)
    assert sections == [
        "Why, and what to do",
        "Does it still work?",
        "What changes",
        "New access",
        "What each statement rests on",
        "Asked for and refused",
        "What was read",
        "The policy",
    ]
    assert page.index("**Verdict: review.**") < page.index("## Why")
    assert page.index("14 calls that worked") < page.index("Three sessions")
    assert "**798 of 812 observed calls are still allowed; 1 of 20 rows undecided" in page
    assert (
        "| `sqs:SendMessage` | `arn:aws:sqs:eu-west-1:111122223333:mails` | not allowed |" in page
    )
    assert "… and 3 more; the rest is in `proposal.json`." in page
    assert "| `sqs:SendMessage` | unknown |" in page
    changes = page[page.index("## What changes") : page.index("## New access")]
    assert "THE DIFFERENCE" in changes
    assert "Services gone" not in page  # the difference names them
    assert "- Services gone: 2: ec2, sqs" in markdown_page(review(), ["{}", "{}"])


def test_what_a_statement_rests_on_fits_a_narrow_page() -> None:
    page = render(ready(), "markdown")
    section = page.partition("## What each statement rests on\n\n")[2].partition("\n\n## ")[0]

    assert section == (
        """\
| Sid | Basis | Actions | Calls | Last use |
| --- | --- | ---: | ---: | --- |
| `S3ShopOrders` | observed | 2 | 81,240 | 2026-11-20 |
| `PassRole` | observed | 1 | 12 | 2026-11-19 |
| `KeptDynamoDB` | kept: not observable | 2 |  | 2026-11-20 |

- `S3ShopOrders`
  - Actions: `s3:GetObject`, `s3:PutObject`
  - 4,120 ARNs folded to `arn:aws:s3:::shop-orders/2026/*`, such as """
        """`arn:aws:s3:::shop-orders/2026/0.json`
- `PassRole`
  - Actions: `iam:PassRole`
  - Resources: `arn:aws:iam::111122223333:role/app/Worker`
- `KeptDynamoDB`
  - Actions: `dynamodb:GetItem`, `dynamodb:Query`
  - Resources: `arn:aws:dynamodb:eu-west-1:111122223333:table/orders`"""
    )


def test_what_a_kept_statement_leaves_out_is_told() -> None:
    but = {"Sid": "Kept", "Effect": "Allow", "Action": "s3:*", "NotResource": ["arn:a", "arn:b"]}
    kept = [evidence("Kept", "kept: not observable", ["s3:GetObject"])]
    page = render(ready(documents=[document(but)], evidence=kept), "markdown")

    assert "  - Resources: `everything but arn:a, arn:b`\n" in page


def sources(*groups: str | None) -> dict[str, Any]:
    """Return today's policies, each through a group or attached to the user itself."""
    found = deepcopy(DIFFERENCE)
    found["sources"] = [{**found["sources"][0], "group": group} for group in groups]
    return found  # type: ignore[return-value]


@pytest.mark.parametrize("form", ["text", "markdown", "terraform", "cloudformation"])
def test_what_comes_through_a_group_stays_on_the_group(form: Form) -> None:
    def told(*groups: str | None) -> str:
        text = render(review() | {"difference": sources(*groups)}, form)
        return " ".join(text.replace("\n# ", " ").replace("`", "").split())

    user = "alice@example.com"
    several = told("operators", None, "everybody", "operators")
    assert (
        f"Then detach what is attached to {user} itself. Remove {user} from the groups operators "
        "and everybody; do not detach their policies." in several
    )
    assert "then detach that" not in several
    one = told("operators")
    assert (
        f"attached today. Then remove {user} from the group operators; do not detach its policies."
    ) in one
    assert "attached to alice" not in one
    assert "then detach that: until then nothing is narrowed." in told(None)


@pytest.mark.parametrize("text", NASTY)
def test_a_group_from_outside_stays_in_its_place(text: str) -> None:
    proposal = nasty(text + "x") | {"difference": sources(text + "x")}

    assert {*hcl_of(render(proposal, "terraform"))} == {"variable", "resource"}
    assert {*template_of(render(proposal, "cloudformation"))} == {
        "AWSTemplateFormatVersion", "Description", "Parameters", "Resources",
    }  # fmt: skip
    page = render(proposal, "markdown")
    applied = next(line for line in page.split("\n") if line.startswith("Apply this beside"))
    assert not re.search(r"@\w|://|<script", re.sub(r"`[^`]*`", "", applied))
    assert all(line.isprintable() for line in render(proposal, "text").split("\n"))


def test_lists_that_are_cut_say_where_they_are_whole() -> None:
    proposal = review() | {"difference": DIFFERENCE}
    page, text = render(proposal, "markdown"), render(proposal, "text")

    assert page.count("Complete lists: `jq .difference proposal.json`.\n") == 1
    told = "Complete lists: `jq .difference proposal.json` (`-o DIR` writes it)."
    assert " ".join(text.split()).count(told) == 1
    assert "Services gone" not in page + text


def test_the_terminal_says_what_to_run_next() -> None:
    told = " ".join(render(ready(), "text").split())

    assert told.endswith(
        "`-o DIR` writes a page with what each statement rests on; `--output json` prints the "
        "policy."
    )
    assert "proposal.md" not in told


def test_sizes_are_told_in_a_sentence() -> None:
    packing = {"sizes": [6_012, 1_100], "fits": True}

    assert "1 policy of 519 characters (IAM takes 6,144)" in render(ready(), "text")
    assert "- Written as: 1 policy of 519 characters (IAM takes 6,144)\n" in render(
        ready(), "markdown"
    )
    assert "2 policies of 6,012 and 1,100 characters (IAM takes 6,144 each)" in render(
        review(packing=packing), "text"
    )


def test_the_page_says_what_is_not_known() -> None:
    page = render(govcloud(replay=None), "markdown")

    assert "- Granted today: not known" in page
    assert "Not replayed" in page
    assert "Not checked: what is attached today is not known" in page


def huge() -> dict[str, Any]:
    arns = [f"arn:aws:s3:::{'b' * 60}/{n:05}/{'k' * 200}" for n in range(400)]
    call = review()["replay"]["counterexamples"][0]
    calls = [{**call, "resource": arn} for arn in arns]
    basis = [
        evidence(f"Statement{n:04}", "observed", [f"s3:Action{m}" for m in range(90)],
                 uses=[use("s3:GetObject", arn, 2) for arn in arns], call_count=9)
        for n in range(400)
    ]  # fmt: skip
    return review() | {
        "documents": [document(statement("A", ["s3:GetObject"], arns[:20]))] * 20,
        "evidence": basis,
        "replay": review()["replay"] | {"counterexamples": calls, "not_granted_today": calls},
        "refused_calls": [{**each, "errors": {}, "granted_by_proposal": False} for each in calls],
        "reasons": review()["reasons"] * 200,
        "lint": [{"type": "WARNING", "code": "X", "details": "t" * 500, "sid": None}] * 300,
        "no_new_access": {
            "result": "undecided",
            "undecided": [
                {"sid": "A", "action": "s3:GetObject", "resource": arn, "why": "w" * 200}
                for arn in arns
            ],
        },
        "coverage": {f"part {n}": ["x" * 200] * 40 for n in range(60)},
    }


def test_the_page_fits_a_comment_of_github() -> None:
    page = markdown_page(huge(), ["x" * 70_000], "d" * 70_000)

    assert len(page.encode()) <= PAGE_LIMIT < 65_536
    assert page.count("more; the rest is in `proposal.json`") >= 4
    assert "Too long for this page: see `policy-1.json`" in page
    assert "The difference, action by action, is too long for this page" in page


def test_a_page_that_fits_is_whole() -> None:
    page = render(review(), "markdown")

    assert len(page) < 8_000
    assert page.count("<details>") == 2
    assert (
        json_documents(page.partition("```json\n")[2].partition("```")[0])
        == (review()["documents"][:1])
    )


def test_the_terminal_shows_the_numbers() -> None:
    page = render(ready(), "text")

    assert page.startswith("Proposed policy for ShopCheckout: 240 -> 5 actions\n")
    assert "Verdict: ready." in page
    assert "81,252 of 81,252 observed calls are still allowed" in page
    assert re.search(r"^  S3ShopOrders  observed +2  81,240  2026-11-20$", page, re.MULTILINE)
    assert re.search(
        r"^  KeptDynamoDB  kept: not observable +2 +-  2026-11-20$", page, re.MULTILINE
    )


@pytest.mark.parametrize("kind", SAMPLES)
def test_the_terminal_is_not_overrun(kind: str) -> None:
    page = render(SAMPLES[kind](), "text")

    assert all(len(line) <= 80 for line in page.splitlines())


DIFFERENCE = difference_of_documents(
    [
        parse(
            {
                "Version": "2012-10-17",
                "Statement": [{"Effect": "Allow", "Action": "sqs:*", "Resource": "*"}],
            }
        )
    ],
    [
        parse(
            {
                "Version": "2012-10-17",
                "Statement": [{"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": "*"}],
            }
        )
    ],
)


def test_a_folder_gets_a_file_for_each_policy_and_form() -> None:
    sample = {**review(), "difference": DIFFERENCE}
    files = files_of(sample, FORMS)

    assert [*files] == [
        "proposal.json",
        "policy-1.json",
        "policy-2.json",
        "policy.tf",
        "policy.cloudformation.yaml",
        "proposal.md",
        "proposal.txt",
    ]
    assert [json.loads(files[f"policy-{n}.json"]) for n in (1, 2)] == review()["documents"]
    assert json.loads(files[WHOLE_PROPOSAL]) == sample
    assert as_markdown(DIFFERENCE).partition("Complete lists")[0].strip() in files["proposal.md"]
    assert as_text(DIFFERENCE).partition("Complete lists")[0].strip() in files["proposal.txt"]
    assert file_name("json", 2) == "policy-2.json"


def test_a_refusal_has_no_policy_files() -> None:
    files = files_of(refused(), ["json", "terraform"])

    assert [*files] == ["proposal.json", "proposal.md"]
    page = files["proposal.md"]
    assert page.startswith("# No proposal for `Quiet`\n\n**Verdict: refused.**")
    assert "No use of this principal was recorded" in page
    assert "Ask its owner" in page
    assert "Does it still work?" not in page


@pytest.mark.parametrize("form", ["terraform", "cloudformation"])
def test_a_refusal_in_code_is_a_comment_with_the_reason(form: Form) -> None:
    text = render(refused(), form)

    assert all(line.startswith("#") for line in text.splitlines())
    assert "No use of this principal was recorded" in text
    assert render(refused(), "json") == ""


def test_the_header_says_what_a_reviewer_must_know() -> None:
    header = "\n".join(
        line for line in render(review(), "terraform").splitlines() if line.startswith("#")
    )

    for told in (
        "# Proposed by Pare for arn:aws:iam::111122223333:user/people/alice@example.com",
        "Verdict: review.",
        "Replay: 798 of 812 observed calls",
        "New access: yes: the proposal grants what is not granted today.",
        "- review: 14 calls that worked would not be allowed any more.",
        "1 day without records, 0 files and 2 records unreadable, data events: s3",
    ):
        assert told in " ".join(header.replace("\n# ", " ").split())
    assert "# - " not in render(ready(), "terraform")


def test_coverage_is_told_in_words_and_nothing_is_left_out() -> None:
    rows = dict(
        coverage_rows(
            ready()["coverage"]
            | {"something_new": {"a_b": [1, 2]}, "denied_calls": "unknown", "is_complete": False}
        )
    )

    assert rows["Asked for"] == "2026-08-23T00:00:00Z to the end"
    assert rows["Events"] == "2026-08-23 to 2026-11-20 (90 days)"
    assert rows["Days without records"] == "1 of 90: 2026-10-04"
    assert rows["Log files"] == "25,120 log files (1.2 GB); 0 unreadable"
    assert rows["Data events"] == "s3"
    assert rows["Last accessed information"] == "4 of 31 services accessed"
    assert rows["Unmapped operations"] == "newservice.amazonaws.com:DoThing: 3"
    assert rows["Something new"] == "a b: (1, 2)"
    assert rows["Denied calls"] == "unknown"
    assert rows["Is complete"] == "no"


def test_last_accessed_information_that_failed_says_so() -> None:
    failed = {"outcome": "FAILED", "message": "no job", "service_count": 1,
              "accessed_service_count": 0}  # fmt: skip

    rows = dict(coverage_rows({"last_accessed": failed}))
    assert rows["Last accessed information"] == "0 of 1 service accessed; FAILED; no job"


def test_no_part_of_the_coverage_of_logs_is_left_out() -> None:
    activity = ready()["coverage"]["activity"]
    told = str(coverage_rows({"activity": activity}))

    for key in {*activity} - {"uncompressed_bytes"}:
        kind = type(activity[key])
        other = {str: "2001-01-01", int: 777_777, bool: not activity[key], list: ["other"]}[kind]
        if key == "asked":
            other = []
        assert str(coverage_rows({"activity": activity | {key: other}})) != told, key


def test_without_logs_the_line_says_what_there_was() -> None:
    coverage = {
        "activity": None,
        "policy_generation": {"outcome": "SUCCEEDED"},
        "last_accessed": {"outcome": "COMPLETED"},
    }

    assert coverage_line(coverage) == (
        "no log files; Access Analyzer: SUCCEEDED; Last accessed information: COMPLETED"
    )
