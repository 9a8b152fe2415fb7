"""Proposals for the kinds of principals people have, as the command line writes them.

Each folder of ``tests/golden/policies`` is one: what goes in (``activity.ndjson``, and where there
are any ``current.json``, ``last_accessed.json``, ``limits.json`` and ``options.json``), and in
``proposal/`` what comes out, byte for byte. ``proposal.json`` is written there with line breaks, so
that a difference can be read. ``docs/policies.md`` shows them.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from pare import cli_policy
from pare.cli import main
from pare.cloudtrail.activity import PrincipalActivity
from pare.cloudtrail.activity_file import read_activity
from pare.policy.catalogue import load_catalogue
from pare.policy.conditions import request_context
from pare.policy.document import MANAGED_POLICY_LIMIT, parse, size_in_characters
from pare.policy.evaluate import Policies, Request
from pare.policy.limits import read_limits
from pare.policy.observed import observed_calls
from pare.policy.statements import as_pattern
from pare.policy.subjects import subjects_of
from pare.policy.verdict import LEVELS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from click.testing import Result

    from pare.policy.observed import Calls

ROOT = Path(__file__).parents[3]
GOLDEN = ROOT / "tests/golden/policies"
REAL = ROOT.parent / "shared/cloudtrail"
PAGE = ROOT / "docs/policies.md"
KINDS = sorted(folder.name for folder in GOLDEN.iterdir() if folder.is_dir())
VERDICTS = {
    "administrator": "review",
    "break-glass": "refused",
    "cross-account-caller": "ready",
    "data-platform-role": "review",
    "deploy-role": "ready",
    "function-role": "ready",
    "govcloud-role": "review",
    "granted-elsewhere": "review",
    "identity-center-role": "refused",
    "idle-role": "refused",
    "instance-role": "review",
    "role-with-conditions": "ready",
    "service-linked-role": "refused",
    "user-with-groups": "ready",
    "without-current": "review",
}


def told(kind: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((GOLDEN / kind / "options.json").read_text("utf-8"))
    return found


def propose(kind: str, *more: str) -> Result:
    """Run ``pare policy propose`` on what goes in; ``more`` are further options."""
    folder = GOLDEN / kind
    arguments = ["--activity", str(folder / "activity.ndjson")]
    for option in ("current", "last-accessed", "limits"):
        file = folder / f"{option.replace('-', '_')}.json"
        arguments += [f"--{option}", str(file)] if file.exists() else []
    arguments += ["--principal", told(kind)["principal"], *told(kind)["options"], *more]
    result = CliRunner().invoke(main, ["policy", "propose", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == (1 if VERDICTS[kind] == "refused" else 0), result.output
    return result


def written(kind: str, out: Path) -> dict[str, str]:
    """Return the files of the proposal for a kind: name -> text."""
    forms = [text for form in told(kind)["forms"] for text in ("--output", form)]
    propose(kind, "-o", str(out), *forms)
    (place,) = [each["folder"] for each in json.loads((out / "index.json").read_text("utf-8"))]
    return {file.name: file.read_text("utf-8") for file in (out / place).iterdir()}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    return {kind: written(kind, tmp_path_factory.mktemp(kind)) for kind in KINDS}


def proposals(made: dict[str, dict[str, str]]) -> dict[str, dict[str, Any]]:
    return {kind: json.loads(files["proposal.json"]) for kind, files in made.items()}


# --- the golden files -----------------------------------------------------------------------------


def test_there_are_at_least_twelve_kinds_and_each_verdict() -> None:
    assert set(KINDS) == set(VERDICTS)
    assert len(KINDS) >= 12
    assert set(VERDICTS.values()) == {"ready", "review", "refused"}


@pytest.mark.parametrize("kind", KINDS)
def test_what_comes_out_is_as_it_was(
    kind: str,
    made: dict[str, dict[str, str]],
    golden: Callable[[str, Any], None],
    request: pytest.FixtureRequest,
) -> None:
    folder = GOLDEN / kind / "proposal"
    files = dict(made[kind])
    whole = json.loads(files.pop("proposal.json"))
    if request.config.getoption("--update-golden"):
        folder.mkdir(exist_ok=True)
        for old in folder.iterdir():
            old.unlink()
    for name, text in files.items():
        golden(f"policies/{kind}/proposal/{name}", text)
    golden(f"policies/{kind}/proposal/proposal.json", whole)
    golden(f"policies/{kind}/proposal/terminal.txt", propose(kind).stdout)
    expected = {*files, "proposal.json", "terminal.txt"}
    assert {file.name for file in folder.iterdir()} == expected


@pytest.mark.parametrize("kind", KINDS)
def test_the_whole_proposal_is_one_sorted_line(kind: str, made: dict[str, dict[str, str]]) -> None:
    text = made[kind]["proposal.json"]
    assert text.count("\n") == 1
    assert list(json.loads(text)) == sorted(json.loads(text))


@pytest.mark.parametrize("kind", KINDS)
def test_the_clock_is_in_nothing(
    kind: str,
    made: dict[str, dict[str, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Later(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Later:
            return cls(2031, 5, 6, 7, 8, 9, tzinfo=UTC)

    monkeypatch.setattr(cli_policy, "datetime", Later)
    assert written(kind, tmp_path) == made[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_the_verdict_is_the_one_meant(kind: str, made: dict[str, dict[str, str]]) -> None:
    proposal = proposals(made)[kind]
    assert proposal["verdict"] == VERDICTS[kind], proposal["reasons"]


# --- the bars -------------------------------------------------------------------------------------


def assert_bars(
    proposal: dict[str, Any], calls: Calls, *, current_text: str = "", limits: Any = ()
) -> None:
    """Check what holds for every proposal, asking the evaluator anew."""
    arn = proposal["principal_arn"]
    documents = [parse(document) for document in proposal["documents"]]
    assert_fits_and_exists(proposal, current_text)
    if proposal["verdict"] == "refused":
        assert not documents
        return
    policies = Policies(documents, limits=limits)

    def answer(row: Any) -> str:
        context = request_context(arn, row.regions, row.passed_to_service)
        return policies.decide(Request(row.action, as_pattern(row.resource), context)).answer

    replay = proposal["replay"]
    assert replay["rows"] == len(calls.allowed)
    assert replay["counterexamples"] == []
    elsewhere = {(each["action"], each["resource"]) for each in replay["not_granted_today"]}
    if proposal["verdict"] == "ready":
        assert replay["complete"] is True
        assert replay["allowed_rows"] == replay["rows"]
        assert replay["allowed_calls"] == replay["calls"]
        assert not elsewhere
    for row in calls.allowed:
        if row.resource is not None and (row.action, row.resource) not in elsewhere:
            # Conditions that the records do not tell leave a call undecided, never refused.
            assert answer(row) in {"allowed", "undecided"}, row
    codes = {each["code"] for each in proposal["reasons"]}
    for row in calls.never_allowed:
        if row.resource is not None and answer(row) in {"allowed", "undecided"}:
            assert "REFUSED_CALL_GRANTED" in codes, row
            assert proposal["verdict"] == "review"
            grants = [each for each in proposal["evidence"] if row.action in each["actions"]]
            assert any(each["widened"] or each["basis"] != "observed" for each in grants), row
    if proposal["no_new_access"] is not None and proposal["verdict"] == "ready":
        assert proposal["no_new_access"]["result"] == "proved"


def assert_fits_and_exists(proposal: dict[str, Any], current_text: str) -> None:
    catalogue = load_catalogue()
    for document in proposal["documents"]:
        assert size_in_characters(parse(document)) <= MANAGED_POLICY_LIMIT
        for statement in document["Statement"]:
            for action in statement.get("Action", statement.get("NotAction")):
                assert catalogue.expand(action) or f'"{action}"' in current_text, action


def calls_of(kind: str) -> Calls:
    activity = read_activity(BytesIO((GOLDEN / kind / "activity.ndjson").read_bytes()))
    subject = subjects_of(activity, {}).by_arn.get(told(kind)["principal"])
    return observed_calls(subject.activity if subject else PrincipalActivity())


@pytest.mark.parametrize("kind", KINDS)
def test_the_bars_hold(kind: str, made: dict[str, dict[str, str]]) -> None:
    current, limits = GOLDEN / kind / "current.json", GOLDEN / kind / "limits.json"
    assert_bars(
        proposals(made)[kind],
        calls_of(kind),
        current_text=current.read_text("utf-8") if current.exists() else "",
        limits=read_limits([json.loads(limits.read_text("utf-8"))]) if limits.exists() else (),
    )


@pytest.mark.parametrize("kind", KINDS)
def test_no_example_grants_what_was_refused(kind: str, made: dict[str, dict[str, str]]) -> None:
    granted = [each["granted_by_proposal"] for each in proposals(made)[kind]["refused_calls"]]
    assert not any(granted)


def test_the_examples_have_refused_calls_to_grant() -> None:
    assert sum(len(calls_of(kind).never_allowed) for kind in KINDS) >= 8


def test_the_examples_show_what_they_are_for(made: dict[str, dict[str, str]]) -> None:
    found = proposals(made)
    assert any(each["folded"] for each in found["instance-role"]["evidence"])
    passed = [
        statement["Condition"]["StringEquals"]["iam:PassedToService"]
        for statement in found["deploy-role"]["documents"][0]["Statement"]
        if "iam:PassRole" in statement["Action"]
    ]
    assert passed == [["lambda.amazonaws.com"], ["ecs-tasks.amazonaws.com"]]
    assert found["administrator"]["before"]["action_count"] == len(load_catalogue().expand("*"))
    assert len(found["data-platform-role"]["documents"]) == 2
    assert found["data-platform-role"]["packing"]["wildcards"]
    assert all(
        ":aws-us-gov:" in resource or resource == "*"
        for statement in found["govcloud-role"]["documents"][0]["Statement"]
        for resource in statement["Resource"]
    )
    (change_password,) = [
        each["actions"] for each in found["user-with-groups"]["evidence"]
        if "iam:ChangePassword" in each["actions"]
    ]  # fmt: skip
    assert change_password == ["iam:ChangePassword"]
    assert found["granted-elsewhere"]["replay"]["not_granted_today"]
    assert {"policy.tf", "policy.cloudformation.yaml"} <= set(made["function-role"])
    assert {"policy.tf", "policy.cloudformation.yaml"} <= set(made["deploy-role"])


# --- the real records -----------------------------------------------------------------------------

_FOLDERS = (
    "aws-docs",
    "invictus-ir-aws_dataset",
    "opensearch-catalog",
    "stratus-red-team",
    "umccr-cloudtrail-parquet-lambda",
)


@pytest.mark.parametrize("folder", _FOLDERS)
def test_the_bars_hold_on_real_records(folder: str, tmp_path: Path) -> None:
    logs = REAL / folder
    if not logs.is_dir():
        pytest.skip(f"{logs} is not here: no proposal is tested on real records")
    read = CliRunner().invoke(
        main, ["activity", str(logs), "-o", str(tmp_path / "a.ndjson"), "--jobs", "1"]
    )
    assert read.exit_code == 0, read.output
    result = CliRunner().invoke(main, [
        "policy", "propose", "--trail", str(logs), "--jobs", "1", "--all", "--min-days", "0",
        "--max-quiet-days", "100000", "-o", str(tmp_path / "out"),
    ])  # fmt: skip
    assert result.exit_code == 0, result.output
    with (tmp_path / "a.ndjson").open("rb") as file:
        subjects = subjects_of(read_activity(file), {}).by_arn
    found = list(_proposals(tmp_path / "out"))
    assert {each["principal_arn"] for each in found} == set(subjects)
    assert any(each["documents"] for each in found)
    for proposal in found:
        calls = observed_calls(subjects[proposal["principal_arn"]].activity)
        assert_bars(proposal, calls)
        if calls.allowed and proposal["verdict"] == "refused":
            assert {each["code"] for each in proposal["reasons"]} == {"NOT_NARROWED"}


def _proposals(out: Path) -> Iterator[dict[str, Any]]:
    for row in json.loads((out / "index.json").read_text("utf-8")):
        yield json.loads((out / row["folder"] / "proposal.json").read_text("utf-8"))


# --- docs/policies.md -----------------------------------------------------------------------------


def test_the_page_tells_every_reason_and_its_level() -> None:
    rows = re.findall(r"^\| `([A-Z_]+)` \| (\w+)", PAGE.read_text("utf-8"), re.M)
    table = [(code, level) for code, level in rows if level in {"note", "review", "refused"}]
    assert sorted(table) == sorted(LEVELS.items())


def test_the_page_links_every_example() -> None:
    text = PAGE.read_text("utf-8")
    for kind in KINDS:
        assert f"](../tests/golden/policies/{kind}/proposal/proposal.md)" in text, kind


def test_the_excerpts_of_the_page_are_in_the_examples() -> None:
    text = PAGE.read_text("utf-8")
    excerpts = re.findall(r"<!-- (tests/golden/policies/\S+) -->\n+```\w*\n(.*?)```", text, re.S)
    assert len(excerpts) >= 3
    assert len(excerpts) == text.count("<!-- tests/golden/")
    for name, excerpt in excerpts:
        assert excerpt in (ROOT / name).read_text("utf-8"), name
