"""The tables, but those of findings and cards (``findings_table``).

Items are plain JSON objects; numbers go in as int and come out as int.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer

from pare.aws.calls import translated
from pare.clock import parse_time
from pare.errors import ConditionFailedError, ThrottledError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    from mypy_boto3_dynamodb import DynamoDBClient

_CONDITION_FAILED = {"ConditionalCheckFailedException": ConditionFailedError}


def to_item(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields in DynamoDB's typed form."""
    serializer = TypeSerializer()
    return {name: serializer.serialize(_storable(value)) for name, value in fields.items()}


def from_item(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of an item as JSON knows them; a set becomes a sorted list."""
    deserializer = TypeDeserializer()
    return {name: _plain(deserializer.deserialize(value)) for name, value in item.items()}


def _storable(value: Any) -> Any:
    if isinstance(value, float):
        return Decimal(str(value))
    if isinstance(value, dict):
        return {name: _storable(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_storable(inner) for inner in value]
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, set):
        return sorted(_plain(inner) for inner in value)
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return value


# Between two tries to write what DynamoDB left unprocessed.
_FIRST_PAUSE_SECONDS = 0.1
_LAST_PAUSE_SECONDS = 12.8

# Claims lie beside the runs, under workflow names of their own.
_MESSAGE = "message"
_BUDGET = "message-budget"
_BUDGET_KEPT_SECONDS = 2 * 86_400
PERIOD = "inventory-period"


@dataclass(frozen=True, slots=True)
class Claim:
    """Which execution has a period, and the work that it does for it."""

    holder: str  # the execution's ARN
    is_done: bool
    work: str  # the prefix under which the work lies in the evidence bucket
    as_of: str  # the moment that the work is about


@dataclass(frozen=True, slots=True)
class Table:
    """A table, and the calls that all tables make."""

    dynamodb: DynamoDBClient
    name: str

    def _get(self, key: Mapping[str, str]) -> dict[str, Any] | None:
        with translated(f"dynamodb:GetItem on {self.name}"):
            answer = self.dynamodb.get_item(
                TableName=self.name, Key=to_item(key), ConsistentRead=True
            )
        item = answer.get("Item")
        return from_item(item) if item else None

    def _put(self, fields: Mapping[str, Any]) -> None:
        with translated(f"dynamodb:PutItem on {self.name}"):
            self.dynamodb.put_item(TableName=self.name, Item=to_item(fields))

    def _update(
        self,
        key: Mapping[str, str],
        expression: str,
        *,
        condition: str | None,
        names: Mapping[str, str] | None = None,
        values: Mapping[str, Any],
    ) -> bool:
        """Return whether the condition held and the item was changed."""
        try:
            with translated(f"dynamodb:UpdateItem on {self.name}", codes=_CONDITION_FAILED):
                optional: Any = {"ExpressionAttributeNames": dict(names)} if names else {}
                if condition:
                    optional["ConditionExpression"] = condition
                self.dynamodb.update_item(
                    TableName=self.name,
                    Key=to_item(key),
                    UpdateExpression=expression,
                    ExpressionAttributeValues=to_item(values),
                    **optional,
                )
        except ConditionFailedError:
            return False
        return True


@dataclass(frozen=True, slots=True)
class PrincipalsTable(Table):
    """The latest inventory of each user and role; key ``account_id``, ``principal_arn``."""

    def put_all(
        self, rows: Iterable[Mapping[str, Any]], *, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        """Write the rows, each with its key, in batches of 25 (the most AWS takes).

        What AWS leaves unprocessed is written again, after a pause that doubles. Raises
        ThrottledError where it takes nothing eight times over.
        """
        requests: list[Any] = [{"PutRequest": {"Item": to_item(row)}} for row in rows]
        pause = _FIRST_PAUSE_SECONDS
        while requests:
            batch, requests = requests[:25], requests[25:]
            with translated(f"dynamodb:BatchWriteItem on {self.name}"):
                answer = self.dynamodb.batch_write_item(RequestItems={self.name: batch})
            left = answer.get("UnprocessedItems", {}).get(self.name, [])
            requests += left
            if len(left) < len(batch):
                pause = _FIRST_PAUSE_SECONDS
            if pause > _LAST_PAUSE_SECONDS:
                raise ThrottledError(
                    f"dynamodb:BatchWriteItem on {self.name} left {len(requests)} rows unwritten"
                )
            if left:
                sleep(pause)
                pause *= 2


@dataclass(frozen=True, slots=True)
class ProposalsTable(Table):
    """One item a proposal; key ``principal_arn``, ``created_at``."""

    def put(self, fields: Mapping[str, Any]) -> None:
        """Write a proposal record; the same key again replaces it."""
        self._put(fields)


@dataclass(frozen=True, slots=True)
class RunsTable(Table):
    """One item a run; key ``workflow``, ``run_id`` (start time and execution name)."""

    def put(self, fields: Mapping[str, Any]) -> None:
        """Write a run record; the same run again replaces it."""
        self._put(fields)

    def claim(
        self,
        kind: str,
        key: str,
        *,
        execution: str,
        work: str,
        as_of: str,
        has_ended: Callable[[str], bool],
        again: bool = False,
    ) -> Claim:
        """Return who has the key now: this execution, or the one that runs or is done with it.

        Where the holder has ended (``has_ended``, asked of its ARN) and is not done, this execution
        takes over and goes on with the holder's work. ``again`` takes the claim from whoever has
        it, and begins a new work. A repeated call says the same.
        """
        names = {"#done": "done", "#work": "work", "#as_of": "as_of"}
        mine = {":execution": execution, ":work": work, ":as_of": as_of, ":no": False}
        begin = "SET claimed_by = :execution, #work = :work, #as_of = :as_of, #done = :no"
        item_key = {"workflow": kind, "run_id": key}
        condition = None if again else "attribute_not_exists(claimed_by)"
        while not self._update(item_key, begin, condition=condition, names=names, values=mine):
            item = self._get(item_key)
            if item is None:
                continue  # deleted meanwhile, by a person: try again
            claim = Claim(
                holder=item["claimed_by"],
                is_done=item["done"],
                # Claims of a version before this one named no work.
                work=item.get("work", work),
                as_of=item.get("as_of", as_of),
            )
            if claim.holder == execution or claim.is_done or not has_ended(claim.holder):
                return claim
            taken = {**mine, ":holder": claim.holder, ":work": claim.work, ":as_of": claim.as_of}
            still = "claimed_by = :holder AND #done = :no"
            if self._update(item_key, begin, condition=still, names=names, values=taken):
                return replace(claim, holder=execution)
            # Another execution was faster: look again.
        return Claim(execution, is_done=False, work=work, as_of=as_of)

    def finish(self, kind: str, key: str, *, execution: str) -> bool:
        """Return whether the execution had the claim; then it is done: only ``again`` takes it."""
        return self._update(
            {"workflow": kind, "run_id": key},
            "SET #done = :yes",
            condition="claimed_by = :execution",
            names={"#done": "done"},
            values={":yes": True, ":execution": execution},
        )

    def claim_message(self, key: str, *, expires_at: int) -> bool:
        """Return True to the first caller with this message, and to nobody after it.

        ``expires_at`` (epoch seconds) is when DynamoDB may forget the claim. The call's own token
        lets the SDK ask again after a lost answer without taking itself for somebody else.
        """
        return self._update(
            {"workflow": _MESSAGE, "run_id": key},
            "SET expires_at = :expires_at, claimed_by = :token",
            condition="attribute_not_exists(run_id) OR claimed_by = :token",
            values={":expires_at": expires_at, ":token": uuid.uuid4().hex},
        )

    def release_message(self, key: str) -> None:
        """Take a claim back, because AWS refused the message and nobody was told."""
        with translated(f"dynamodb:DeleteItem on {self.name}"):
            self.dynamodb.delete_item(
                TableName=self.name, Key=to_item({"workflow": _MESSAGE, "run_id": key})
            )

    def claim_for(
        self, kind: str, key: str, *, execution: str, now: datetime, seconds: int
    ) -> bool:
        """Return whether the key is this execution's for so long: the first's that asks.

        The same execution hears the same again. ``kind`` stands for the workflow.
        """
        moment = int(now.timestamp())
        return self._update(
            {"workflow": kind, "run_id": key},
            "SET claimed_by = :execution, expires_at = :expires_at",
            condition="attribute_not_exists(run_id) OR claimed_by = :execution"
            " OR expires_at <= :now",
            values={":execution": execution, ":expires_at": moment + seconds, ":now": moment},
        )

    def take_budget(self, hour_key: str, wanted: int, limit: int, *, execution: str) -> int:
        """Return how many messages of an hour's budget this execution may send, ``wanted`` at most.

        The same execution hears the same again, so a retried step takes nothing twice; one that
        wants more asks under another name (``ARN#2``). ``hour_key``: ``2026-11-22T09``, in UTC;
        what has a part of the hour's budget to itself adds its name (``2026-11-22T09 later``).
        """
        key = {"workflow": _BUDGET, "run_id": hour_key}
        expires_at = int(parse_time(f"{hour_key[:13]}:00:00Z").timestamp()) + _BUDGET_KEPT_SECONDS
        while True:
            item = self._get(key) or {}
            # ``used`` only grows: what was given back stands beside it.
            used, taken = item.get("used", 0), item.get("taken", {})
            if execution in taken:
                return int(taken[execution])
            left = limit - max(0, used - len(item.get("given_back", ())))
            granted: int = max(0, min(wanted, left))
            if not granted:
                return 0
            if self._update(
                key,
                "SET #used = :used, #taken = :taken, expires_at = :expires_at",
                condition="attribute_not_exists(#used) OR #used = :known",
                names={"#used": "used", "#taken": "taken"},
                values={
                    ":used": used + granted,
                    ":taken": {**taken, execution: granted},
                    ":expires_at": expires_at,
                    ":known": used,
                },
            ):
                return granted
            # Another execution took some meanwhile: look again.

    def give_back_budget(self, hour_key: str, message_id: str) -> None:
        """Give back the place of a message that nobody got; a second time, nothing."""
        expires_at = int(parse_time(f"{hour_key[:13]}:00:00Z").timestamp()) + _BUDGET_KEPT_SECONDS
        self._update(
            {"workflow": _BUDGET, "run_id": hour_key},
            "SET expires_at = :expires_at ADD given_back :message",
            condition=None,
            values={":expires_at": expires_at, ":message": {message_id}},
        )
