"""Check policy: what AWS itself says of the proposal (ValidatePolicy, CheckNoNewAccess)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, TypedDict

from lambdas.runtime import client, logger, read_environment
from pare.aws.access_analyzer import AccessAnalyzer
from pare.aws.evidence_store import EvidenceStore
from pare.errors import AwsCallError
from pare.policy.checks import is_checked, with_checks
from pare.policy.current import documents, merged
from pare.policy.outputs import WHOLE_PROPOSAL, Form, files_of

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from lambdas.policies.resolve_principal import Principal
    from pare.object_ref import ObjectRef
    from pare.policy.current import CurrentAccessJson
    from pare.policy.proposal import ProposalJson


# What lies beside the proposal: all but the text of a terminal.
STORED_FORMS: tuple[Form, ...] = ("json", "terraform", "cloudformation", "markdown")


class Input(TypedDict):
    principal: Principal
    proposal: ObjectRef


class Output(TypedDict):
    proposal: ObjectRef
    verdict: str


@dataclass(frozen=True, slots=True)
class Environment:
    evidence_bucket_name: str


@cache
def environment() -> Environment:
    return read_environment(Environment)


@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: Input, context: LambdaContext) -> Output:
    """Return where the checked proposal lies, its other forms beside it.

    A retried step does not check it again, and a proposal without documents has nothing to check.
    One CheckNoNewAccess per proposal, all of its documents as one, because AWS charges each call. A
    check AWS refuses is unknown, a reason to review; throttling and AWS's failures are raised.
    """
    principal = event["principal"]
    logger.append_keys(principal_arn=principal["principal_arn"])
    store = EvidenceStore(client("s3"), environment().evidence_bucket_name)
    proposal: ProposalJson = store.get_json(event["proposal"])
    ref = event["proposal"]
    if proposal["documents"] and not is_checked(proposal):
        proposal = _checked(proposal, store.get_json(principal["current"]))
        ref = store.put_json(ref["key"], proposal)
    for name, text in files_of(proposal, STORED_FORMS).items():
        if name != WHOLE_PROPOSAL:
            store.put_text(f"{principal['prefix']}/{name}", text, _content_type(name))
    return {"proposal": ref, "verdict": proposal["verdict"]}


def _checked(proposal: ProposalJson, current: CurrentAccessJson) -> ProposalJson:
    """Return the proposal with what AWS says of it."""
    analyzer = AccessAnalyzer(client("accessanalyzer"))
    validation: list[dict[str, Any]] | None = None
    no_new_access: dict[str, Any] | None = None
    refusals: list[str] = []
    try:
        validation = [
            finding for document in proposal["documents"]
            for finding in analyzer.validate_policy(document)
        ]  # fmt: skip
    except AwsCallError as error:
        refusals.append(str(error))
    try:
        no_new_access = analyzer.check_no_new_access(
            merged(proposal["documents"]), merged(documents(current))
        )
    except AwsCallError as error:
        refusals.append(str(error))
    checked = with_checks(proposal, validation, no_new_access, refusals=refusals)
    logger.info(
        "policy checked",
        verdict=checked["verdict"],
        findings=len(validation or ()),
        refusals=refusals,
    )
    return checked


def _content_type(name: str) -> str:
    """Return what a browser takes a file for; text where AWS has no better word for it."""
    kinds = {".json": "application/json", ".md": "text/markdown", ".yaml": "application/yaml"}
    return kinds.get(PurePosixPath(name).suffix, "text/plain") + "; charset=utf-8"
