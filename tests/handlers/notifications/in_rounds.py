"""What the tests of rounds share: findings that are recorded, and the steps as they are called."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from lambdas.notifications import collect_news, settle_message
from pare.aws.findings_table import CardsTable, FindingsTable
from pare.clock import format_time
from pare.findings.card import card_id_of
from pare.findings.model import Finding
from tests.finding_terms import finding_terms
from tests.handlers.fake_aws import HUB, REGION

if TYPE_CHECKING:
    from pare.aws.evidence_store import EvidenceStore
    from pare.findings.card import CardJson
    from pare.findings.model import Severity
    from pare.findings.outcomes import SettledJson
    from pare.findings.rounds import MessageJson

ACCOUNT = "111122223333"
# Long after whenever these tests run: a round's clock may be ahead, never behind.
NOW = datetime(2096, 11, 22, 9, 0, tzinfo=UTC)
LATER = NOW + timedelta(days=2)  # everything that can wait is due
ROUND, NEXT_ROUND = (
    f"arn:aws:states:{REGION}:{HUB}:execution:Notification:{name}" for name in ("one", "two")
)
TERMS = finding_terms()


def finding(number: int, severity: Severity = "high", **changes: Any) -> Finding:
    """Return a finding about a bucket of its own."""
    at = format_time(NOW - timedelta(hours=1))
    found = Finding(
        finding_id=f"f-{number:04}",
        access="external",
        finding_type="ExternalAccess",
        status="ACTIVE",
        is_deleted=False,
        account_id=ACCOUNT,
        region=REGION,
        analyzer_arn=f"arn:aws:access-analyzer:{REGION}:{HUB}:analyzer/pare",
        resource=f"arn:aws:s3:::bucket-{number:04}",
        resource_type="AWS::S3::Bucket",
        created_at=at,
        updated_at=at,
        analyzed_at=at,
    )
    return replace(found, severity=severity, **changes)


def record(tables: Any, *findings: Finding, now: datetime = NOW) -> None:
    """Record findings, as the finding workflow does."""
    for each in findings:
        FindingsTable(tables, "Findings").record(
            each,
            cards=CardsTable(tables, "Cards"),
            execution=f"{each.finding_id} {each.updated_at} {each.status}",
            now=now,
            terms=TERMS,
        )


def close(tables: Any, context: Any, *closing: int, severity: Severity = "high") -> None:
    """Record findings, tell people of each by itself, an hour ago, and then resolve them."""
    for number in closing:
        record(tables, finding(number, severity), now=NOW - timedelta(hours=2))
    before = NOW - timedelta(hours=1)
    execution = f"{ROUND}-before"
    output = collect(context, as_of=before, execution=execution, max_messages_per_hour=100)
    settle_all(context, output)
    for number in closing:
        gone = finding(number, severity, status="RESOLVED", updated_at=format_time(NOW))
        record(tables, gone)


def card_id(number: int) -> str:
    return card_id_of(ACCOUNT, f"arn:aws:s3:::bucket-{number:04}")


def card(tables: Any, number: int) -> CardJson:
    found = CardsTable(tables, "Cards").get(card_id(number))
    assert found is not None
    return found


def numbers(message: MessageJson) -> list[int]:
    """Return the numbers of the buckets that a message is about."""
    return [int(view["card"]["resource"][-4:]) for view in message["views"]]


def collect(
    context: Any,
    *,
    kind: str = "hourly",
    as_of: datetime = LATER,
    execution: str = ROUND,
    after: dict[str, Any] | None = None,
    **terms: Any,
) -> collect_news.Output:
    """Collect, as the workflow does; ``after``: the state that a step before it left."""
    output: collect_news.Output = collect_news.lambda_handler(
        {
            "input": {"kind": kind, "as_of": format_time(as_of), **(after or {})},
            "execution": execution,
            "started_at": "2026-11-22T09:00:00.123Z",
            "terms": {**TERMS, **terms},
        },
        context,
    )
    return output


def frozen(evidence: EvidenceStore, output: collect_news.Output) -> list[MessageJson]:
    """Return the messages as they lie in the evidence bucket."""
    return [evidence.get_json(each["ref"]) for each in output["messages"]]


def settle(
    context: Any,
    item: Any,
    outcome: str = "told",
    failure: dict[str, str] | None = None,
    **failures: dict[str, str],
) -> SettledJson:
    """Settle a message of a step, as the workflow does."""
    output: SettledJson = settle_message.lambda_handler(
        {
            "ref": item["ref"],
            "outcome": outcome,
            "failure": failure or {},
            "machines_failure": failures.get("machines_failure", {}),
            "chat_failure": failures.get("chat_failure", {}),
            "execution": ROUND,
            "terms": TERMS,
        },
        context,
    )
    return output


def settle_all(context: Any, output: collect_news.Output, outcome: str = "told") -> None:
    for each in output["messages"]:
        settle(context, each, outcome)
