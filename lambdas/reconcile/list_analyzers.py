"""List analyzers: of every governed Region, with their state; a Region unread is said, not left."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, TypedDict

from lambdas.runtime import client, logger, read_environment
from pare.aws.access_analyzer import AccessAnalyzer
from pare.aws.calls import QUICK_CONFIG
from pare.aws.evidence_store import EvidenceStore
from pare.findings.compare import access_of

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from pare.findings.terms import FindingTermsJson
    from pare.findings.watch import AnalyzerJson, RegionJson, SeenJson
    from pare.object_ref import ObjectRef


class Input(TypedDict):
    terms: FindingTermsJson
    execution: str


class Output(TypedDict):
    analyzers: list[AnalyzerJson]  # those whose findings are compared
    watch: ObjectRef  # SeenJson: all of them, and the Regions that could not be read
    counts: dict[str, int]
    unknown: list[str]


@dataclass(frozen=True, slots=True)
class Environment:
    evidence_bucket_name: str


@cache
def environment() -> Environment:
    return read_environment(Environment)


@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: Input, context: LambdaContext) -> Output:
    """Return the analyzers to compare, and where all that was seen lies."""
    regions = [read_region(name) for name in sorted(event["terms"]["governed_regions"])]
    seen: SeenJson = {
        "partition": context.invoked_function_arn.split(":")[1],
        "regions": regions,
    }
    found = [each for region in regions for each in region["analyzers"]]
    # AWS does not show the findings of others. Of them nothing is known, so nothing is closed.
    analyzers = [each for each in found if access_of(each["type"]) and each["status"] == "ACTIVE"]
    unknown = [f"{each['region']}: {each['error']}" for each in regions if each["error"]]
    unknown += [
        f"{each['arn']}: analyzers of type {each['type']} are not known to this version"
        for each in found
        if access_of(each["type"]) is None
    ]
    unknown += [
        f"{each['arn']}: not compared: the analyzer is {each['status']}"
        for each in found
        if each["status"] not in {"ACTIVE", "CREATING"}
    ]
    store = EvidenceStore(client("s3"), environment().evidence_bucket_name)
    name = event["execution"].rpartition(":")[2]
    logger.info("analyzers listed", analyzers=len(found), unread=len(unknown))
    return {
        "analyzers": analyzers,
        "watch": store.put_json(f"findings/reconcile/{name}/seen.json", seen),
        "counts": {"regions": len(regions), "analyzers": len(found)},
        "unknown": unknown,
    }


def read_region(name: str) -> RegionJson:
    """Return the analyzers of a Region, or why they could not be listed."""
    region = AccessAnalyzer(client("accessanalyzer", name, QUICK_CONFIG)).read_region()
    if region["error"] is not None:
        logger.warning("Region unread", region=name, error=region["error"])
    return region
