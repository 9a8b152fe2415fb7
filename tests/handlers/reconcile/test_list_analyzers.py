from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from lambdas.reconcile.list_analyzers import Output, lambda_handler
from pare.aws.access_analyzer import PAUSE_SECONDS
from tests.handlers.fake_aws import REGION
from tests.handlers.reconcile.conftest import EXECUTION, TERMS

if TYPE_CHECKING:
    from pare.aws.evidence_store import EvidenceStore
    from pare.findings.watch import SeenJson
    from tests.handlers.fake_aws import FakeAws
    from tests.handlers.reconcile.conftest import Analyzers

LIST = "accessanalyzer:ListAnalyzers"


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    return slept


def listed(context: Any) -> Output:
    output: Output = lambda_handler({"terms": TERMS, "execution": EXECUTION}, context)
    return output


def seen(evidence: EvidenceStore, output: Output) -> SeenJson:
    found: SeenJson = evidence.get_json(output["watch"])
    return found


def test_the_analyzers_of_every_region_are_listed(
    context: Any, analyzers: Analyzers, evidence: EvidenceStore
) -> None:
    unused = analyzers.add(name="unused", type="ORGANIZATION_UNUSED_ACCESS")

    output = listed(context)

    names = [(each["region"], each["name"]) for each in output["analyzers"]]
    assert names == [(REGION, "org"), (REGION, "unused"), ("us-east-1", "org")]
    assert output["analyzers"][1] == unused.item()
    assert (output["unknown"], output["counts"]) == ([], {"regions": 2, "analyzers": 3})
    found = seen(evidence, output)
    assert found["partition"] == "aws"
    assert [each["error"] for each in found["regions"]] == [None, None]


def test_a_region_that_refuses_is_unread_and_hides_no_other(
    aws: FakeAws, context: Any, analyzers: Analyzers, evidence: EvidenceStore
) -> None:
    aws.mend(LIST)
    aws.fail(LIST, "AccessDeniedException", 403, times=1)
    aws.answer(LIST, analyzers._list_analyzers)

    output = listed(context)

    assert [each["region"] for each in output["analyzers"]] == ["us-east-1"]
    (unknown,) = output["unknown"]
    assert unknown.startswith(f"{REGION}: ")
    assert "AWS's own words" in unknown
    first, second = seen(evidence, output)["regions"]
    assert (first["analyzers"], second["error"]) == ([], None)
    assert first["error"] is not None


def test_a_region_that_does_not_answer_is_asked_again_before_it_is_a_message(
    aws: FakeAws, context: Any, analyzers: Analyzers, evidence: EvidenceStore, pauses: list[float]
) -> None:
    aws.mend(LIST)
    aws.fail(LIST, "InternalServerException", 500, times=2)
    aws.answer(LIST, analyzers._list_analyzers)

    output = listed(context)

    assert (len(output["analyzers"]), output["unknown"]) == (2, [])
    assert pauses == [PAUSE_SECONDS, 2 * PAUSE_SECONDS]


def test_an_analyzer_being_created_and_one_of_a_kind_unknown_are_seen_and_not_compared(
    context: Any, analyzers: Analyzers, evidence: EvidenceStore
) -> None:
    analyzers.all[0].status = "CREATING"
    analyzers.all[1].type = "ORGANIZATION_OF_TOMORROW"

    output = listed(context)

    assert output["analyzers"] == []
    assert [len(each["analyzers"]) for each in seen(evidence, output)["regions"]] == [1, 1]
    (unknown,) = output["unknown"]
    assert "ORGANIZATION_OF_TOMORROW" in unknown


@pytest.mark.parametrize("status", ["DISABLED", "FAILED"])
def test_an_analyzer_that_does_not_work_is_seen_and_not_compared(
    context: Any, analyzers: Analyzers, evidence: EvidenceStore, status: str
) -> None:
    """Its list is empty, and each of its findings would look as if it were gone."""
    analyzers.all[0].status = status

    output = listed(context)

    assert [each["region"] for each in output["analyzers"]] == ["us-east-1"]
    assert seen(evidence, output)["regions"][0]["analyzers"][0]["status"] == status
    assert output["unknown"] == [f"{analyzers.all[0].arn}: not compared: the analyzer is {status}"]
