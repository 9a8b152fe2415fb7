"""cdk-nag's AwsSolutions rules: nothing found, and everything accepted is explained where it is."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import aws_cdk as cdk
from aws_cdk import aws_sqs as sqs

from infra.nag import explain
from tests.infra.synthesis import synth_checked

if TYPE_CHECKING:
    from pathlib import Path

    from tests.infra.synthesis import Synthesis


@dataclass(frozen=True, order=True)
class Explanation:
    """One accepted finding: where it was accepted, which, and why."""

    path: str
    id: str
    reason: str


def report(folder: Path) -> dict[str, Any]:
    """Return cdk-nag's part of the validation report."""
    text = (folder / "validation-report.json").read_text(encoding="utf-8")
    (part,) = json.loads(text)["pluginReports"]
    assert part["pluginName"] == "AwsSolutions"
    return dict(part)


def found(folder: Path) -> list[str]:
    """Return what is wrong and not explained, one line each."""
    return [
        f"{construct['constructPath']}: {violation['ruleName']}: {violation['description']}"
        for violation in report(folder)["violations"]
        for construct in violation["violatingConstructs"]
    ]


def explanations(synthesis: Synthesis) -> set[Explanation]:
    """Return every explanation in the code, whether or not anything was found there."""
    return {
        Explanation(path, rule, reason)
        for path, kind, data in synthesis.metadata()
        if kind == "aws:cdk:acknowledged-rules"
        for rule, reason in data.items()
    }


def test_every_stack_is_without_findings(anywhere: Synthesis) -> None:
    assert found(anywhere.folder) == []


def test_every_rule_could_be_evaluated(anywhere: Synthesis) -> None:
    everything = json.dumps(report(anywhere.folder))
    assert "CdkNagValidationFailure" not in everything


def test_every_explanation_is_a_sentence(anywhere: Synthesis) -> None:
    told = explanations(anywhere)
    assert told
    unclear = [
        each
        for each in told
        if not re.fullmatch(r"[A-Za-z].*\.", each.reason) or len(each.reason.split()) < 5
    ]
    assert unclear == []


def test_every_explanation_is_on_a_resource_never_on_a_stack_or_the_app(
    anywhere: Synthesis,
) -> None:
    types = anywhere.construct_types()
    elsewhere = [
        (each.path, types.get(each.path))
        for each in explanations(anywhere)
        if not re.match(r"aws-cdk-lib\.aws_\w+\.", types.get(each.path, ""))
    ]
    assert elsewhere == []
    # The report would also show what the app itself accepts.
    accepted = report(anywhere.folder)["suppressedViolations"]
    accepted_at = {each["acknowledgedAt"] for each in accepted}
    assert accepted_at <= {each.path for each in explanations(anywhere)}


def test_no_explanation_has_outlived_its_finding(anywhere: Synthesis) -> None:
    occurring = {
        (each["acknowledgedAt"], each["acknowledgedId"])
        for each in report(anywhere.folder)["suppressedViolations"]
    }
    explained = {(each.path, each.id) for each in explanations(anywhere)}
    assert explained - occurring == set()


def test_every_explained_finding_is_about_a_resource_of_a_template(anywhere: Synthesis) -> None:
    # CDK leaves out a policy that is attached to nobody; cdk-nag reports it all the same.
    logical_ids = {
        path: data for path, kind, data in anywhere.metadata() if kind == "aws:cdk:logicalId"
    }
    templates = {anywhere.path(stack): each for stack, each in anywhere.templates.items()}
    missing = [
        path
        for finding in report(anywhere.folder)["suppressedViolations"]
        for path in (construct["constructPath"] for construct in finding["violatingConstructs"])
        if not any(
            path.startswith(f"{stack}/") and logical_ids.get(path) in template.resources()
            for stack, template in templates.items()
        )
    ]
    assert missing == []


def test_cdk_itself_warns_of_nothing(anywhere: Synthesis) -> None:
    warnings = [
        (path, data)
        for path, kind, data in anywhere.metadata()
        if kind in {"aws:cdk:warning", "aws:cdk:error"}
    ]
    assert warnings == []


def test_an_unexplained_finding_is_found(tmp_path: Path) -> None:
    app = cdk.App(outdir=str(tmp_path))
    stack = cdk.Stack(app, "Stack")
    explained, unexplained = sqs.Queue(stack, "Explained"), sqs.Queue(stack, "Unexplained")
    for queue in (explained, unexplained):
        queue.add_to_resource_policy(_only_over_tls(queue))
    explain(explained, "AwsSolutions-SQS3", "It is here to be explained.")
    synth_checked(app)
    assert [line.partition(": ")[0] for line in found(tmp_path)] == ["Stack/Unexplained/Resource"]


def _only_over_tls(queue: sqs.Queue) -> cdk.aws_iam.PolicyStatement:
    return cdk.aws_iam.PolicyStatement(
        effect=cdk.aws_iam.Effect.DENY,
        principals=[cdk.aws_iam.AnyPrincipal()],
        actions=["sqs:*"],
        resources=[queue.queue_arn],
        conditions={"Bool": {"aws:SecureTransport": "false"}},
    )
