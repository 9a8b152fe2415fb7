"""The inventory of the deployed Pare, read and started with a person's own credentials.

A period's head and rows are two objects of the evidence bucket; of one principal only its account's
rows are fetched. Nothing is scanned.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pare.arns import parse_principal_arn
from pare.aws.calls import CLIENT_CONFIG, translated
from pare.aws.executions import STACK_NAME, has_ended, stack_outputs
from pare.aws.findings_table import CardsTable, FindingsTable
from pare.aws.tables import PERIOD, from_item, to_item
from pare.errors import NoInventoryError, NotDeployedError, SnapshotError
from pare.findings.card import card_id_of
from pare.findings.model import Finding
from pare.inventory.snapshot_files import (
    HEAD,
    Rows,
    named_in,
    organization_ref,
    read_head,
    read_rows,
    unpacked,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    import boto3
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client

    from pare.inventory.model import AccountResultJson, LastAccessedJson, SnapshotJson
    from pare.object_ref import ObjectRef

_PREFIX = "inventory/"
_PERIOD_PREFIX = "inventory/period="
_GONE = {"NoSuchKey": NoInventoryError}


@dataclass(frozen=True)
class Deployment:
    """The outputs of the deployed stack."""

    session: boto3.Session
    outputs: dict[str, str]

    def output(self, name: str) -> str:
        """Return an output; raises NotDeployedError where this Pare does not have it."""
        if name not in self.outputs:
            raise NotDeployedError(f"the stack {STACK_NAME} has no output {name}: it is too old")
        return self.outputs[name]

    @cached_property
    def s3(self) -> S3Client:
        return self.session.client("s3", config=CLIENT_CONFIG)

    @cached_property
    def dynamodb(self) -> DynamoDBClient:
        return self.session.client("dynamodb", config=CLIENT_CONFIG)


def find_deployment(session: boto3.Session, stack_name: str = STACK_NAME) -> Deployment:
    """Return the deployed Pare in the session's account and Region; NotDeployedError: none."""
    return Deployment(session, stack_outputs(session, stack_name))


@dataclass(frozen=True)
class DeployedInventory:
    """A period's snapshot in the evidence bucket: the newest, or the one asked for."""

    deployment: Deployment
    asked_period: str | None = None
    _rows: dict[str, Rows] = field(default_factory=dict)

    @property
    def bucket(self) -> str:
        """The evidence bucket."""
        return self.deployment.output("EvidenceBucketName")

    @property
    def origin(self) -> str:
        return f"s3://{self.bucket}/{_PERIOD_PREFIX}{self.period}/"

    @property
    def period(self) -> str:
        """The month of the snapshot."""
        return self.head["period"]

    @cached_property
    def head(self) -> SnapshotJson:
        """The head of the snapshot; raises NoInventoryError where there is none.

        A month that is still being worked on has no head yet: the one before is taken.
        """
        asked = self.asked_period
        for period in [asked] if asked else sorted(self._periods(), reverse=True):
            ref: ObjectRef = {"bucket": self.bucket, "key": f"{_PERIOD_PREFIX}{period}/{HEAD}"}
            try:
                content = self._get(ref)
            except NoInventoryError:
                continue
            return read_head(content, f"s3://{ref['bucket']}/{ref['key']}")
        raise NoInventoryError(f"there is no inventory{f' of {asked}' if asked else ''} yet")

    def rows(self, account_id: str | None = None) -> Rows:
        """Return all rows, or those of one account, which are an object of their own."""
        if account_id is None:
            return self._rows_of(self.head["rows"])
        for account in self.head["accounts"]:
            if account["account_id"] == account_id and account["rows"]:
                return self._rows_of(account["rows"])
        return Rows()

    def known_rows(self, account: AccountResultJson) -> Rows:
        """Return the last rows known of an account that could not be read this time."""
        known = account.get("known")
        return self._kept({"bucket": known["bucket"], "key": known["key"]} if known else None)

    def gone_rows(self, account: AccountResultJson) -> Rows:
        """Return last month's rows of the account that are no longer there."""
        return self._kept(account["gone"])

    def last_accessed(self, account_id: str, principal_arn: str) -> LastAccessedJson | None:
        """Return the principal's last accessed information; None where there is none.

        The Principals table knows in which object it is. Where it does not, or knows that of
        another period, the account's objects are looked through.
        """
        refs = [
            ref
            for account in self.head["accounts"]
            if account["account_id"] == account_id
            for ref in account["last_accessed"]
        ]
        # With one object there is nothing to choose.
        first = self._last_accessed_ref(account_id, principal_arn) if len(refs) > 1 else None
        if first in refs:
            refs = [first]
        found: LastAccessedJson | None = None
        for ref in refs:
            try:
                lines, _ = unpacked(self._get(ref))
            except NoInventoryError:
                continue  # taken away by hand, or by the bucket's life cycle
            found = named_in(lines, principal_arn) or found
            if found and found["services"] is not None:
                break  # a job that failed was tried again: its answer is in a later object
        return found

    def _last_accessed_ref(self, account_id: str, principal_arn: str) -> ObjectRef | None:
        table = self.deployment.output("PrincipalsTableName")
        with translated(f"dynamodb:GetItem on {table}"):
            item = self.deployment.dynamodb.get_item(
                TableName=table,
                Key=to_item({"account_id": account_id, "principal_arn": principal_arn}),
                ProjectionExpression="last_accessed",
            ).get("Item")
        refs: list[ObjectRef] = from_item(item).get("last_accessed", []) if item else []
        return refs[0] if refs else None

    def organization(self) -> dict[str, dict[str, str]] | None:
        """Return name and state of every account of the organization by its id, as of the work."""
        ref = organization_ref(self.head)
        try:
            content = self._get(ref) if ref else None
        except NoInventoryError:
            content = None
        return json.loads(content)["accounts"] if content else None

    def report(self, name: str) -> bytes:
        """Return ``report.html`` or ``report.csv`` as the workflow wrote it."""
        return self._get({"bucket": self.bucket, "key": f"{_PERIOD_PREFIX}{self.period}/{name}"})

    def packed_rows(self) -> bytes:
        """Return all rows as they lie: gzip NDJSON."""
        return self._get(self.head["rows"])

    # --- beside the inventory ---

    def proposal(self, principal_arn: str) -> dict[str, Any] | None:
        """Return the record of the latest proposal for the principal, or None."""
        table = self.deployment.output("ProposalsTableName")
        with translated(f"dynamodb:Query on {table}"):
            found = self.deployment.dynamodb.query(
                TableName=table,
                KeyConditionExpression="principal_arn = :arn",
                ExpressionAttributeValues=to_item({":arn": principal_arn}),
                ScanIndexForward=False,
                Limit=1,
            )["Items"]
        return from_item(found[0]) if found else None

    def findings(self, principal_arn: str) -> list[dict[str, Any]]:
        """Return the open findings about the principal, newest first, by its card."""
        cards = CardsTable(self.deployment.dynamodb, self.deployment.output("CardsTableName"))
        card = cards.get(card_id_of(parse_principal_arn(principal_arn).account_id, principal_arn))
        table = FindingsTable(self.deployment.dynamodb, self.deployment.output("FindingsTableName"))
        found = [
            {
                "finding_id": finding_id,
                "finding": Finding.from_json(item["finding"]).to_json(),
                "updated_at": item["updated_at"],
            }
            for finding_id, item in table.get_many(card["open"] if card else ()).items()
        ]
        return sorted(found, key=lambda each: (each["updated_at"], each["finding_id"]))[::-1]

    # --- objects ---

    def _periods(self) -> Iterator[str]:
        with translated(f"s3:ListBucket s3://{self.bucket}/{_PREFIX}"):
            pages = self.deployment.s3.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=_PERIOD_PREFIX, Delimiter="/"
            )
            for page in pages:
                for each in page.get("CommonPrefixes", []):
                    yield each["Prefix"].removeprefix(_PERIOD_PREFIX).rstrip("/")

    def _rows_of(self, ref: ObjectRef) -> Rows:
        where = f"s3://{ref['bucket']}/{ref['key']}"
        if where not in self._rows:
            self._rows[where] = read_rows(self._get(ref), where)
        found = self._rows[where]
        if found.problems and not found.rows:
            raise SnapshotError(found.problems[0])
        return found

    def _kept(self, ref: ObjectRef | None) -> Rows:
        """Return rows of an object that the life cycle may have taken; none then."""
        if ref is None:
            return Rows()
        try:
            return self._rows_of(ref)
        except NoInventoryError:
            return Rows()

    def _get(self, ref: ObjectRef) -> bytes:
        where = f"s3:GetObject s3://{ref['bucket']}/{ref['key']}"
        with translated(where, codes=_GONE):
            return self.deployment.s3.get_object(Bucket=ref["bucket"], Key=ref["key"])[
                "Body"
            ].read()


# --- starting -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class InventoryStart:
    """The inventory of a period: started now, under way, or made already."""

    period: str
    execution_arn: str | None
    state: str  # "started", "running" or "done"


def start_inventory(
    deployment: Deployment, *, period: str, now: datetime, again: bool = False
) -> InventoryStart:
    """Start the inventory workflow for a period, unless it is under way or done.

    ``again`` makes a finished one anew. One that failed or was stopped goes on where it stopped.
    """
    states = deployment.session.client("stepfunctions", config=CLIENT_CONFIG)
    machine_arn = deployment.output("InventoryWorkflowArn")
    table = deployment.output("RunsTableName")
    with translated(f"dynamodb:GetItem on {table}"):
        item = deployment.dynamodb.get_item(
            TableName=table,
            Key=to_item({"workflow": PERIOD, "run_id": period}),
            ConsistentRead=True,
        ).get("Item")
    claim = from_item(item) if item else {}
    holder = claim.get("claimed_by")
    if holder:
        if claim.get("done") and not again:
            return InventoryStart(period, holder, "done")
        if not claim.get("done") and not has_ended(states, holder):
            return InventoryStart(period, holder, "running")
    # The middle of a month is in the same month in every time zone.
    start = {"scheduled_at": f"{period}-15T12:00:00Z", **({"again": True} if again else {})}
    name = f"asked-{period}-{now.astimezone(UTC):%Y%m%dT%H%M%S}"
    with translated("states:StartExecution"):
        answer = states.start_execution(
            stateMachineArn=machine_arn, name=name, input=json.dumps(start)
        )
    return InventoryStart(period, answer["executionArn"], "started")
