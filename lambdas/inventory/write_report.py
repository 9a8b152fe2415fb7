"""Write report: the month's inventory as HTML to read and CSV to work with."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, TypedDict, cast

from lambdas.runtime import client, logger, read_environment
from pare.aws.evidence_store import EvidenceStore
from pare.aws.gone_rows import gone_rows
from pare.inventory.report_csv import write_csv
from pare.inventory.report_html import render

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from pare.inventory.model import SnapshotJson
    from pare.inventory.report_html import Language
    from pare.object_ref import ObjectRef


class Input(TypedDict):
    snapshot: ObjectRef


class Output(TypedDict):
    report: ObjectRef
    csv: ObjectRef


@dataclass(frozen=True, slots=True)
class Environment:
    evidence_bucket_name: str
    language: str


@cache
def environment() -> Environment:
    return read_environment(Environment)


@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: Input, context: LambdaContext) -> Output:
    """Return where the reports lie: beside the snapshot, and the same again where made again.

    The rows are read as a stream, once for each report; the HTML has a bounded number of them.
    """
    settings = environment()
    store = EvidenceStore(client("s3"), settings.evidence_bucket_name)
    snapshot: SnapshotJson = store.get_json(event["snapshot"])
    folder = event["snapshot"]["key"].rpartition("/")[0]
    names = {account["account_id"]: account["name"] for account in snapshot["accounts"]}
    lines = write_csv(
        store.each_ndjson_gz(snapshot["rows"]), language=settings.language, account_names=names
    )
    csv = store.put_chunks(
        f"{folder}/report.csv", (line.encode() for line in lines), "text/csv; charset=utf-8"
    )
    page = render(
        snapshot,
        store.each_ndjson_gz(snapshot["rows"]),
        language=cast("Language", settings.language),
        # The files beside it: the links work wherever the folder is opened.
        links={"csv": "report.csv", "rows": "principals.ndjson.gz"},
        gone=gone_rows(store, snapshot["accounts"]),
    )
    report = store.put_text(f"{folder}/report.html", page, "text/html; charset=utf-8")
    logger.info("report written", period=snapshot["period"], html_characters=len(page))
    return {"report": report, "csv": csv}
