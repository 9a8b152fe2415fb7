"""Record archiver: who archived findings by Access Analyzer's API, its console, or otherwise.

Access Analyzer's own events say that a finding is archived, not by whom.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, TypedDict

from lambdas.runtime import client, logger, read_environment, utc_now
from pare.aws.findings_table import CardsTable, FindingsTable
from pare.clock import parse_time
from pare.errors import FindingNotRecordedError
from pare.findings.call import CallJson, tells_of_archiver

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aws_lambda_powertools.utilities.typing import LambdaContext


# Of a finding archived as soon as it was there, the call may come first: so long after the call its
# finding is waited for. The waits between two tries add up to more (infra/lambda_function.py).
WAITED_FOR = timedelta(minutes=20)


class Input(TypedDict):
    call: CallJson


class Output(TypedDict):
    noted: int  # findings
    unknown: list[str]  # findings, or a resource, of which nothing is recorded


@dataclass(frozen=True, slots=True)
class Environment:
    findings_table_name: str
    cards_table_name: str


@cache
def environment() -> Environment:
    return read_environment(Environment)


@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: Input, context: LambdaContext) -> Output:
    """Return of how many findings it was noted who archived them.

    A call that failed changed nothing. Who sets findings ACTIVE again is logged: the note on who
    archived them falls with the event that says they are open. Raises FindingNotRecordedError
    where a finding may still come.
    """
    settings, call = environment(), event["call"]
    logger.append_keys(who=call["who"], at=call["at"], analyzer_arn=call["analyzer_arn"])
    noted, unknown = 0, []
    if call["error_code"] is None and call["status"] == "ARCHIVED":
        dynamodb = client("dynamodb")
        findings = FindingsTable(dynamodb, settings.findings_table_name)
        cards = CardsTable(dynamodb, settings.cards_table_name)
        items = {item["finding_id"]: item for item in _items(findings, call)}
        unknown = sorted(set(call["finding_ids"]) - set(items))
        if call["resource_arn"] is not None and not items:
            unknown.append(call["resource_arn"])
        for finding_id, item in sorted(items.items()):
            if tells_of_archiver(call, item):
                noted += findings.set_archived(
                    finding_id,
                    {
                        "by": call["who"],
                        "how": "call",
                        "reason": None,
                        "at": call["at"],
                        "expires": None,
                    },
                    cards=cards,
                    now=utc_now(),
                )
    logger.info(
        "call recorded",
        status=call["status"],
        error_code=call["error_code"],
        noted=noted,
        unknown=unknown,
    )
    if unknown and utc_now() - parse_time(call["at"]) < WAITED_FOR:
        raise FindingNotRecordedError(
            f"not recorded yet: {', '.join(unknown[:5])}" + (", …" if len(unknown) > 5 else "")
        )
    return {"noted": noted, "unknown": unknown}


def _items(findings: FindingsTable, call: CallJson) -> Iterator[dict[str, Any]]:
    """Yield the items of the findings that a call names, or that its resource has."""
    yield from findings.get_many(call["finding_ids"]).values()
    if call["resource_arn"] is not None:
        for item in findings.by_analyzer(call["analyzer_arn"]):
            if item["resource"] == call["resource_arn"]:
                yield item
