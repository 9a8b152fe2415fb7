"""The findings of the deployed Pare, read and changed with a person's own credentials.

The tables are small (a few kilobytes a finding) and have no index by resource, so they are read
whole. What is archived is archived at its analyzer, in its Region, under the person's own identity;
Pare's tables follow by the finding workflow, the way of every other change.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from pare.aws.access_analyzer import AccessAnalyzer
from pare.aws.calls import CLIENT_CONFIG, translated
from pare.aws.findings_table import CardsTable, FindingsTable
from pare.aws.organization import Organization
from pare.aws.tables import from_item, to_item
from pare.clock import format_time
from pare.errors import NoInventoryError, PareError
from pare.findings.model import Finding
from pare.findings.sent import event_of
from pare.findings.severity import rank, severity_of
from pare.findings.state import supersedes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    from mypy_boto3_stepfunctions import SFNClient

    from pare.aws.deployed_inventory import Deployment
    from pare.findings.agreement import AgreementJson
    from pare.findings.card import ArchivedJson, CardJson, ExemptionJson
    from pare.findings.model import FindingJson, Severity
    from pare.findings.view import FindingItemJson

# Of a finding's item, all but its history, which is the most of it.
_FIELDS = ("finding_id", "card_id", "finding", "archived")
# How a finding was archived, as the table says it.
HOW: Final = "pare findings archive"
_CLOSES = "`pare findings reconcile` closes it in Pare's tables."
_AGAIN = "Pare's own tables could not be told: run it again."

Status = Literal["ACTIVE", "ARCHIVED"]
# ``resolved``: it is no longer so, and AWS leaves it resolved. ``gone``: the analyzer does not
# have it any more.
Outcome = Literal["done", "resolved", "gone", "failed"]
OWN_SOURCES: Final = frozenset({"pare-inventory", "pare-watch"})


@dataclass(frozen=True, slots=True)
class Changed:
    """What became of one finding at its analyzer, and whether Pare's tables are told."""

    finding_id: str
    region: str
    outcome: Outcome
    error: str = ""  # why it failed, or why the tables are not told yet
    what_to_do: str = ""


@dataclass(frozen=True, slots=True)
class ExemptionChanged:
    """What became of an exemption. ``expires``: its last day; None: it has ended."""

    expires: str | None
    error: str = ""
    what_to_do: str = ""


@dataclass(frozen=True, slots=True)
class Started:
    """An execution. ``is_new``: False where one was running already, and goes on."""

    execution_arn: str
    is_new: bool = True


@dataclass(frozen=True)
class DeployedFindings:
    """The tables and workflows of the findings."""

    deployment: Deployment

    # --- reading ---

    @cached_property
    def _findings_table(self) -> FindingsTable:
        return FindingsTable(self.deployment.dynamodb, self.deployment.output("FindingsTableName"))

    @cached_property
    def _cards_table(self) -> CardsTable:
        return CardsTable(self.deployment.dynamodb, self.deployment.output("CardsTableName"))

    def cards(self) -> list[CardJson]:
        """Return all cards."""
        return sorted(self._cards_table.all_cards(), key=lambda each: each["card_id"])

    def items(
        self, *, active_only: bool = False, say: Callable[[str], None] = lambda _: None
    ) -> list[FindingItemJson]:
        """Return all findings, or those that are open, without their history."""
        table = self.deployment.output("FindingsTableName")
        names = {f"#{number}": name for number, name in enumerate(_FIELDS)}
        request: dict[str, Any] = {
            "TableName": table,
            "ProjectionExpression": ", ".join(names),
            "ExpressionAttributeNames": names,
        }
        if active_only:
            names["#status"] = "status"
            request["FilterExpression"] = "#status = :active"
            request["ExpressionAttributeValues"] = to_item({":active": "ACTIVE"})
        found: list[FindingItemJson] = []
        with translated(f"dynamodb:Scan on {table}"):
            for page in self.deployment.dynamodb.get_paginator("scan").paginate(**request):
                found += [_item(from_item(each)) for each in page["Items"]]
                if "LastEvaluatedKey" in page:
                    say(f"{len(found):,} findings read")
        return sorted(found, key=lambda each: each["finding_id"])

    def full_items(self, finding_ids: Iterable[str]) -> list[FindingItemJson]:
        """Return the findings with these ids, with their history; those that are gone are not."""
        found = self._findings_table.get_many(finding_ids)
        return [_item(item) for _, item in sorted(found.items())]

    def card(self, card_id: str) -> CardJson | None:
        """Return a card, or None."""
        return self._cards_table.get(card_id)

    def agreement(self, period: str) -> AgreementJson | None:
        """Return what the paid analyzer and the inventory of a month say of each other, or None."""
        bucket = self.deployment.output("EvidenceBucketName")
        key = f"inventory/period={period}/agreement.json"
        try:
            with translated(f"s3:GetObject s3://{bucket}/{key}",
                            codes={"NoSuchKey": NoInventoryError}):  # fmt: skip
                content = self.deployment.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        except NoInventoryError:
            return None
        found: AgreementJson = json.loads(content)
        return found

    def reconciled_at(self) -> str | None:
        """Return when the last reconcile that succeeded began, by its run record; None: none did.

        From then on Pare knows where it is blind.
        """
        table = self.deployment.output("RunsTableName")
        request: dict[str, Any] = {
            "TableName": table,
            "KeyConditionExpression": "workflow = :reconcile",
            "FilterExpression": "outcome = :succeeded",
            "ProjectionExpression": "started_at",
            "ExpressionAttributeValues": to_item(
                {":reconcile": "reconcile", ":succeeded": "succeeded"}
            ),
            "ScanIndexForward": False,
        }
        with translated(f"dynamodb:Query on {table}"):
            for page in self.deployment.dynamodb.get_paginator("query").paginate(**request):
                for each in page["Items"]:
                    return str(from_item(each)["started_at"])
        return None

    def regions_of_aws(self) -> frozenset[str]:
        """Return the Regions that the SDK knows, of every partition; nobody is asked."""
        session = self.deployment.session
        return frozenset(
            region
            for partition in session.get_available_partitions()
            for region in session.get_available_regions("accessanalyzer", partition)
        )

    def account_names(self) -> dict[str, str]:
        """Return the names of all accounts of the organization, by id."""
        client = self.deployment.session.client("organizations", config=CLIENT_CONFIG)
        return {
            each["account_id"]: each["name"]
            for each in Organization(client).accounts()
            if each["name"]
        }

    # --- changing ---

    @cached_property
    def caller(self) -> str:
        """The ARN of the person whose credentials these are."""
        with translated("sts:GetCallerIdentity"):
            sts = self.deployment.session.client("sts", config=CLIENT_CONFIG)
            return sts.get_caller_identity()["Arn"]

    def archive(
        self, item: FindingItemJson, *, reason: str, expires: str | None, now: datetime
    ) -> Changed:
        """Archive a finding at its analyzer, note by whom and why, and let Pare's tables follow.

        Archiving what is archived already does no harm. What fails is in the answer: other Regions
        go on. Pare's own findings have no analyzer: they change in the tables alone.
        """
        archived: ArchivedJson = {
            "by": self.caller,
            "how": HOW,
            "reason": reason,
            "at": format_time(now.replace(microsecond=0)),
            "expires": expires,
        }
        return self._set_status(item, "ARCHIVED", now=now, archived=archived)

    def unarchive(self, item: FindingItemJson, *, now: datetime) -> Changed:
        """Set an archived finding active again, as ``archive`` archives it."""
        return self._set_status(item, "ACTIVE", now=now)

    def record_again(self, item: FindingItemJson, *, now: datetime) -> Changed:
        """Let a finding's card follow it: nothing changes at its analyzer, or of the finding."""
        finding = item["finding"]
        try:
            self._start_finding(finding, now=now)
        except PareError as error:
            return Changed(finding["finding_id"], finding["region"], "failed", str(error), _AGAIN)
        return Changed(finding["finding_id"], finding["region"], "done")

    def exempt(
        self,
        card_id: str,
        items: Sequence[FindingItemJson],
        *,
        reason: str,
        expires: str,
        now: datetime,
    ) -> ExemptionChanged:
        """Note on a card that an access is meant: it is quiet up to the day it expires.

        ``items``: the findings of the access, one at least (``pare.findings.view.alike``). What is
        graver than the gravest of them is not meant by it.
        """
        findings = [Finding.from_json(item["finding"]) for item in items]
        exemption: ExemptionJson = {
            "finding_type": findings[0].finding_type,
            "principal": dict(findings[0].principal),
            "is_public": findings[0].is_public,
            "condition": dict(findings[0].condition),
            "severity": _gravest(findings),
            "reason": reason,
            "by": self.caller,
            "at": format_time(now.replace(microsecond=0)),
            "expires": expires,
        }
        try:
            self._cards_table.add_exemption(card_id, exemption, findings=findings, now=now)
        except PareError as error:
            return ExemptionChanged(expires, str(error), error.what_to_do)
        return ExemptionChanged(expires)

    def end_exemption(
        self, card_id: str, finding: FindingJson, *, now: datetime
    ) -> ExemptionChanged:
        """Take the exemption of an access off a card; one that is not there has ended already."""
        try:
            self._cards_table.end_exemption(card_id, finding, now=now)
        except PareError as error:
            return ExemptionChanged(None, str(error), error.what_to_do)
        return ExemptionChanged(None)

    def _set_status(
        self,
        item: FindingItemJson,
        status: Status,
        *,
        now: datetime,
        archived: ArchivedJson | None = None,
    ) -> Changed:
        finding = Finding.from_json(item["finding"])
        of = (finding.finding_id, finding.region)
        try:
            if finding.source in OWN_SOURCES:
                moment = format_time(now)
                seen: dict[str, str] | None = {
                    "status": status, "updated_at": moment, "analyzed_at": moment,
                }  # fmt: skip
            else:
                seen = self._set_at_analyzer(finding, status)
        except PareError as error:
            return Changed(*of, "failed", str(error), error.what_to_do)
        if seen is None:
            return Changed(*of, "gone", what_to_do=_CLOSES)
        changed = replace(finding, **cast("Any", seen))
        if not supersedes(finding, changed):
            # Its analyzer gave it no later time: what a person did now is newer all the same.
            moment = format_time(now)
            changed = replace(changed, updated_at=moment, analyzed_at=moment)
        outcome: Outcome = "done" if changed.status == status else "resolved"
        try:
            if archived and outcome == "done":
                self._findings_table.set_archived(
                    finding.finding_id, archived, cards=self._cards_table, now=now
                )
            self._start_finding(changed.to_json(), now=now)
        except PareError as error:
            return Changed(*of, "failed", str(error), _AGAIN)
        return Changed(*of, outcome)

    def _set_at_analyzer(self, finding: Finding, status: Status) -> dict[str, str] | None:
        """Return status and times as the analyzer has them then; None where it is gone."""
        analyzer = AccessAnalyzer(
            self.deployment.session.client(
                "accessanalyzer", region_name=finding.region, config=CLIENT_CONFIG
            )
        )
        if analyzer.update_findings(finding.analyzer_arn, [finding.finding_id], status):
            return None
        listed = analyzer.finding(finding.analyzer_arn, finding.finding_id)
        if listed is None:
            return None
        return {
            "status": listed.status,
            "updated_at": listed.updated_at,
            "analyzed_at": listed.analyzed_at,
        }

    # --- starting ---

    def _start_finding(self, finding: FindingJson, *, now: datetime) -> None:
        """Let the finding workflow record a finding as its own sender brings it."""
        event = event_of(finding, asked_by=self.caller)
        tail = hashlib.sha256(finding["finding_id"].encode()).hexdigest()[:16]
        self._start("Finding", event, f"asked-{_stamp(now)}-{tail}")

    def start_reconcile(self, *, now: datetime) -> Started:
        """Start the reconcile workflow, unless it is under way."""
        return self._start_one("Reconcile", {}, now=now)

    def start_round(self, start: Mapping[str, Any], *, now: datetime) -> Started:
        """Start the notification workflow with this input, unless a round is under way."""
        return self._start_one("Notification", start, now=now)

    def _start_one(self, workflow: str, start: Mapping[str, Any], *, now: datetime) -> Started:
        machine_arn = self.deployment.output(f"{workflow}WorkflowArn")
        with translated("states:ListExecutions"):
            running = self._states.list_executions(
                stateMachineArn=machine_arn, statusFilter="RUNNING", maxResults=1
            )["executions"]
        if running:
            return Started(running[0]["executionArn"], is_new=False)
        return Started(self._start(workflow, start, f"asked-{_stamp(now)}"))

    def _start(self, workflow: str, start: Mapping[str, Any], name: str) -> str:
        with translated("states:StartExecution"):
            answer = self._states.start_execution(
                stateMachineArn=self.deployment.output(f"{workflow}WorkflowArn"),
                name=name,
                input=json.dumps(start),
            )
        return answer["executionArn"]

    @cached_property
    def _states(self) -> SFNClient:
        return self.deployment.session.client("stepfunctions", config=CLIENT_CONFIG)


def _gravest(findings: Sequence[Finding]) -> Severity:
    """Return the severity of the gravest that is open; where none is, of the gravest archived."""
    meant = (
        [each for each in findings if each.is_open]
        or [each for each in findings if each.status == "ARCHIVED"]
        or findings
    )
    return max((each.severity or severity_of(each)[0] for each in meant), key=rank)


def _stamp(now: datetime) -> str:
    return f"{now:%Y%m%dT%H%M%S%f}"


def _item(fields: dict[str, Any]) -> FindingItemJson:
    """Return an item whose finding has every field, also where an earlier version wrote it."""
    finding = Finding.from_json(fields["finding"]).to_json()
    return cast("FindingItemJson", {"archived": None, **fields, "finding": finding})
