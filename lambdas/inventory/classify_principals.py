"""Classify principals: what to do with every user and role of one account, and why.

It reads what the steps before it left, last month's rows and the account's nightly digests; AWS's
IAM is not asked. The same input gives the same rows, so a repeated step does no harm.
"""

from __future__ import annotations

import io
import json
import time
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, TypedDict

from lambdas.runtime import client, logger, read_environment
from pare.aws.activity_store import ActivityStore, dates_before
from pare.aws.evidence_store import EvidenceStore
from pare.aws.tables import PrincipalsTable
from pare.clock import parse_time
from pare.cloudtrail.activity_file import read_activity
from pare.errors import ActivityFileError, InventoryError
from pare.inventory.account_activity import ActivityReading
from pare.inventory.changes import gone
from pare.inventory.classify import classify, counts_of
from pare.inventory.credential_report import read_credential_report
from pare.inventory.facts import principal_facts
from pare.inventory.issues import root_issues

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from aws_lambda_powertools.utilities.typing import LambdaContext

    from lambdas.inventory.list_accounts import AccountItem
    from pare.inventory.account_activity import ActivityOfAccount
    from pare.inventory.credential_report import CredentialReport
    from pare.inventory.model import (
        AccountResultJson,
        CollectedJson,
        InventoryTermsJson,
        LastAccessedJson,
        PrincipalFactsJson,
        PrincipalRowJson,
        ProgressJson,
    )
    from pare.object_ref import ObjectRef

# An item of DynamoDB has at most 400 KB; what is left is for the names of its attributes.
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html
MAX_ITEM_BYTES = 300_000
# What an item can do without, because the snapshot has it: the first one that is enough goes.
_DISPENSABLE = ("used_services_months", "services", "seasons", "wide", "tags", "policies", "trust",
                "issues", "description")  # fmt: skip

# States that a child of the map enters: Collect principals, Account done?, Classify principals; and
# for every batch Read last accessed, More to read?. AWS charges its start and its end as well.
# https://aws.amazon.com/step-functions/pricing/ (example 1)
STATES_OF_CHILD = 3
STATES_OF_BATCH = 2
START_AND_END = 2


class Input(TypedDict):
    item: AccountItem
    collected: ObjectRef
    terms: InventoryTermsJson


class Output(TypedDict):
    account_id: str
    error: None


@dataclass(frozen=True, slots=True)
class Environment:
    evidence_bucket_name: str
    principals_table_name: str


@cache
def environment() -> Environment:
    return read_environment(Environment)


@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: Input, context: LambdaContext) -> Output:
    """Write the account's rows, those of last month that are gone, and how the account went."""
    started = time.monotonic()
    settings = environment()
    item, terms = event["item"], event["terms"]
    account_id, period = item["account_id"], item["period"]
    logger.append_keys(account_id=account_id)
    store = EvidenceStore(client("s3"), settings.evidence_bucket_name)
    work = f"{item['work']}/account={account_id}"
    as_of = parse_time(item["as_of"])

    collected: CollectedJson = store.get_json(event["collected"])
    report = _credential_report(store, collected)
    facts = _facts(store, item, collected, report, terms)
    progress: ProgressJson = store.get_json(
        {"bucket": store.bucket, "key": f"{work}/last_accessed/progress.json"}
    )
    answers, places = _last_accessed(store, progress)
    activity = _activity(ActivityStore(client("s3"), store.bucket), facts, account_id, terms, as_of)
    before: list[PrincipalRowJson] = []
    if item["previous"]:
        previous: ObjectRef = {"bucket": item["previous"]["bucket"], "key": item["previous"]["key"]}
        before = store.get_ndjson_gz(previous)
    by_arn = {row["principal_arn"]: row for row in before}

    rows = [
        classify(
            each,
            answers.get(each["principal_arn"]),
            activity,
            by_arn.get(each["principal_arn"]),
            terms,
            period=period,
            as_of=as_of,
            # Of an account that was listed before and never read, nobody knows who is new.
            is_first=item["previous"] is None and not item["is_new"],
        )
        for each in facts
    ]
    gone_rows = gone(before, {row["principal_arn"]: row["principal_id"] for row in rows})
    unknown = [*collected["unknown"], *_missing(store, collected, facts)]
    if report is None:
        root = None
    else:
        root = report.root
        if root is None:
            unknown.append("root user: the credential report does not have it")
    result: AccountResultJson = {
        "account_id": account_id,
        "name": item["name"],
        "alias": collected["alias"],
        "error": None,
        "message": None,
        "principal_count": len(rows),
        "rows": store.put_ndjson_gz(f"{work}/rows.ndjson.gz", rows),
        "last_accessed": [{"bucket": store.bucket, "key": key} for key in progress["parts"]],
        "gone": store.put_ndjson_gz(f"{work}/gone.ndjson.gz", gone_rows),
        "root": root,
        "issues": root_issues(root, idle_days=terms["idle_days"], as_of=as_of),
        "counts": counts_of(rows, gone_rows, root),
        "unknown": unknown,
        "calls": collected["calls"] + progress["calls"],
        "throttled": progress["throttled"],
        "seconds": 0.0,
        "transitions": STATES_OF_CHILD + STATES_OF_BATCH * progress["batches"] + START_AND_END,
    }
    PrincipalsTable(client("dynamodb"), settings.principals_table_name).put_all(
        _items(rows, gone_rows, places, period)
    )
    # Last of all: with it, the account is done.
    own_seconds = time.monotonic() - started
    result["seconds"] = round(collected["seconds"] + progress["seconds"] + own_seconds, 3)
    store.put_json(f"{work}/result.json", result)
    logger.info("principals classified", count=len(rows), gone=len(gone_rows))
    return {"account_id": account_id, "error": None}


# --- what the steps before left -------------------------------------------------------------------


def _credential_report(store: EvidenceStore, collected: CollectedJson) -> CredentialReport | None:
    ref = collected["credential_report"]
    if ref is None:
        return None
    return read_credential_report(store.get_bytes(ref).decode())


def _facts(
    store: EvidenceStore,
    item: AccountItem,
    collected: CollectedJson,
    report: CredentialReport | None,
    terms: InventoryTermsJson,
) -> list[PrincipalFactsJson]:
    organization: dict[str, Any] = store.get_json(item["organization"])
    return principal_facts(
        store.get_ndjson_gz(collected["details"]),
        report,
        account_id=item["account_id"],
        collected=collected,
        organization_accounts=organization["accounts"],
        owner_tag_keys=terms["owner_tag_keys"],
        break_glass_tag=terms["break_glass_tag"],
    )


def _last_accessed(
    store: EvidenceStore, progress: ProgressJson
) -> tuple[dict[str, LastAccessedJson], dict[str, ObjectRef]]:
    """Return each principal's outcome, and the part that has it. An answer beats a failure."""
    answers: dict[str, LastAccessedJson] = {}
    places: dict[str, ObjectRef] = {}
    for key in progress["parts"]:
        ref: ObjectRef = {"bucket": store.bucket, "key": key}
        for each in store.get_ndjson_gz(ref):
            arn = each["principal_arn"]
            if arn not in answers or each["services"] is not None:
                answers[arn], places[arn] = each, ref
    return answers, places


def _missing(
    store: EvidenceStore, collected: CollectedJson, facts: list[PrincipalFactsJson]
) -> list[str]:
    """Return a sentence for each principal that was listed and has no facts; there is none."""
    known = {each["principal_arn"] for each in facts}
    listed: list[str] = store.get_json(collected["principals"])
    return [f"{arn}: nothing is known of it but its name" for arn in listed if arn not in known]


def _activity(
    store: ActivityStore,
    facts: list[PrincipalFactsJson],
    account_id: str,
    terms: InventoryTermsJson,
    as_of: datetime,
) -> ActivityOfAccount | None:
    """Return what the account's digests of the window show; None where there is not one."""
    days = dates_before(as_of, terms["window_days"])
    reading = ActivityReading({each["principal_arn"]: each["principal_id"] for each in facts})
    unreadable: list[str] = []
    count = 0
    for day, body in store.digests(account_id, days):
        count += 1
        try:
            activity = read_activity(io.BytesIO(body))
        except ActivityFileError as error:
            logger.warning("digest unreadable", date=day, error=str(error))
            unreadable.append(day)
            continue
        reading.add(day, activity)
    if not count:
        return None
    return reading.ended(
        days,
        unreadable=unreadable,
        complete=store.complete_dates(),
        unread_files=store.count_unread(account_id, days),
    )


# --- the table ------------------------------------------------------------------------------------


def _items(
    rows: list[PrincipalRowJson],
    gone_rows: list[PrincipalRowJson],
    places: Mapping[str, ObjectRef],
    period: str,
) -> Iterator[dict[str, Any]]:
    """Yield the items of the table; what is gone says so, and does not lie there as if alive."""
    for row in rows:
        place = places.get(row["principal_arn"])
        yield _item({**row, "last_accessed": [place] if place else []})
    there = {row["principal_arn"] for row in rows}
    for row in gone_rows:
        if row["principal_arn"] in there:
            continue  # made anew under its name: that one has the item
        yield _item({**row, "status": "gone", "gone_in": period, "last_accessed": []})


def _item(fields: dict[str, Any]) -> dict[str, Any]:
    """Return fields that fit an item; what is left out is named in ``left_out``."""
    left_out: list[str] = []
    for name in (None, *_DISPENSABLE):
        if name is not None:
            fields = {key: value for key, value in fields.items() if key != name}
            left_out.append(name)
        if len(json.dumps(fields, ensure_ascii=False).encode(errors="replace")) <= MAX_ITEM_BYTES:
            break
    else:
        raise InventoryError(f"the row of {fields['principal_arn']} is too large for the table")
    return {**fields, "left_out": left_out} if left_out else fields
