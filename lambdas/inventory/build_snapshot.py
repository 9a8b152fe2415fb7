"""Build snapshot: one period's inventory of the organization from its accounts'."""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections import Counter, deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, TypedDict

from lambdas.runtime import client, count, logger, metrics, read_environment, utc_now
from pare.aws.evidence_store import EvidenceStore
from pare.clock import format_time
from pare.errors import EvidenceError
from pare.inventory.snapshot import build_snapshot, unknown_account

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aws_lambda_powertools.utilities.typing import LambdaContext

    from pare.inventory.model import AccountResultJson, SnapshotJson
    from pare.object_ref import ObjectRef

# Accounts that are fetched beside each other; as many are in memory at once.
_AT_ONCE = 8


class Input(TypedDict):
    period: str
    prefix: str
    work: str
    as_of: str
    manifest: ObjectRef
    previous_snapshot: ObjectRef | None


class Output(TypedDict):
    snapshot: ObjectRef
    counts: dict[str, int]
    unknown: list[str]  # accounts, and "previous snapshot"


@dataclass(frozen=True, slots=True)
class Environment:
    evidence_bucket_name: str


@cache
def environment() -> Environment:
    return read_environment(Environment)


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def lambda_handler(event: Input, context: LambdaContext) -> Output:
    """Return where the snapshot lies, its counts, and the accounts nobody knows about.

    The rows are joined as the bytes that the accounts left, in the order of the accounts' ids.
    """
    store = EvidenceStore(client("s3"), environment().evidence_bucket_name)
    unknown: list[str] = []
    previous = _previous(store, event["previous_snapshot"])
    if event["previous_snapshot"] and previous is None:
        unknown.append("previous snapshot")
    joined = _Joined(store, event["work"])
    items = sorted(store.get_json(event["manifest"]), key=lambda item: str(item["account_id"]))
    rows = store.put_chunks(
        f"{event['prefix']}/principals.ndjson.gz", joined.bodies(items), "application/gzip"
    )
    snapshot = build_snapshot(
        period=event["period"],
        created_at=format_time(utc_now()),
        as_of=event["as_of"],
        results=joined.results,
        by_kind=joined.by_kind,
        rows=rows,
        previous=previous,
    )
    ref = store.put_json(f"{event['prefix']}/snapshot.json", snapshot)
    unknown += [each["account_id"] for each in snapshot["accounts"] if each["error"]]
    count("Principals", snapshot["counts"]["principals"])
    count("UnknownAccounts", snapshot["unknown_account_count"])
    count("LastAccessedUnknown", snapshot["counts"]["last_accessed_unknown"])
    logger.info(
        "snapshot built",
        period=event["period"],
        principal_count=snapshot["counts"]["principals"],
        unknown=unknown,
    )
    return {"snapshot": ref, "counts": _counts(snapshot), "unknown": unknown}


def _counts(snapshot: SnapshotJson) -> dict[str, int]:
    """Return the counts for the run record."""
    return {
        "accounts": snapshot["account_count"],
        "unknown_accounts": snapshot["unknown_account_count"],
        "principals": snapshot["counts"]["principals"],
        "last_accessed_unknown": snapshot["counts"]["last_accessed_unknown"],
        "calls": snapshot["calls"],
        "throttled": snapshot["throttled"],
        "seconds": round(snapshot["seconds"]),
        "child_transitions": snapshot["transitions"],
    }


def _previous(store: EvidenceStore, ref: ObjectRef | None) -> SnapshotJson | None:
    """Return the head of the inventory before; None where there is none, or it is gone."""
    if ref is None:
        return None
    try:
        head: SnapshotJson = store.get_json(ref)
    except EvidenceError as error:
        logger.warning("the trend begins anew", error=str(error))
        return None
    return head


class _Joined:
    """The accounts' results and rows. Memory is bounded by _AT_ONCE accounts, not by all."""

    def __init__(self, store: EvidenceStore, work: str) -> None:
        self.store = store
        self.work = work
        self.results: list[AccountResultJson] = []
        self.by_kind: Counter[str] = Counter()

    def bodies(self, items: list[dict[str, Any]]) -> Iterator[bytes]:
        """Yield the rows of each account as it left them: a gzip member."""
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            fetching = deque(threads.submit(self._fetch, item) for item in items[:_AT_ONCE])
            for number in range(len(items)):
                result, by_kind, body = fetching.popleft().result()
                if number + _AT_ONCE < len(items):
                    fetching.append(threads.submit(self._fetch, items[number + _AT_ONCE]))
                self.results.append(result)
                self.by_kind.update(by_kind)
                yield body

    def _fetch(self, item: dict[str, Any]) -> tuple[AccountResultJson, Counter[str], bytes]:
        """Return how an account went, its kinds and its rows.

        One whose child failed left nothing, and one whose rows cannot be read has none: both are
        unknown, and keep what was last known of them.
        """
        account_id, name, known = item["account_id"], item["name"], item["previous"]
        place = f"{self.work}/account={account_id}/result.json"
        try:
            result: AccountResultJson = self.store.get_json(
                {"bucket": self.store.bucket, "key": place}
            )
        except EvidenceError:
            return unknown_account(account_id, name, known=known), Counter(), b""
        if result["error"]:
            if known and not result.get("known"):
                result["known"] = known
            return result, Counter(), b""
        try:
            if result["rows"] is None:
                raise EvidenceError(f"the result of account {account_id} names no rows")
            body = self.store.get_bytes(result["rows"])
            by_kind = _kinds(body, result)
        except EvidenceError as error:
            logger.warning("rows cannot be read", account_id=account_id, error=str(error))
            unread = unknown_account(
                account_id, name, error=EvidenceError.__name__, message=str(error), known=known
            )
            for spent in ("calls", "throttled", "seconds", "transitions"):
                unread[spent] = result[spent]
            return unread, Counter(), b""
        return result, by_kind, body


def _kinds(body: bytes, result: AccountResultJson) -> Counter[str]:
    """Return how many rows of each kind there are; raises EvidenceError where rows are missing."""
    where = f"the rows of account {result['account_id']}"
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(body)) as lines:
            found = Counter(json.loads(line)["kind"] for line in lines)
    except (ValueError, KeyError, TypeError, OSError, EOFError, zlib.error) as error:
        raise EvidenceError(f"{where} are not gzip NDJSON of rows: {error}") from error
    if found.total() != result["principal_count"]:
        raise EvidenceError(
            f"{where} are {found.total():,}, and its result says {result['principal_count']:,}"
        )
    return found
