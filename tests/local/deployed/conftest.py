"""The app as people deploy it, once for all tests here: emulated organization, IAM enforced."""

from __future__ import annotations

import gzip
import itertools
import json
import socket
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from lambdas.findings.record_finding import COOL_DOWN
from local import demo, process, seed_findings
from pare.aws.findings_table import CardsTable
from pare.aws.quota_ledger import KIND
from pare.aws.tables import RunsTable
from pare.findings.card import card_id_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pare.findings.card import CardJson
    from pare.object_ref import ObjectRef

_numbers = itertools.count(1)

QUICK = {
    "job_delay_seconds": 0,
    "last_accessed_delay_seconds": 0,
    "quota_per_day": 10_000,
    "event_faults": {},
    "cloudtrail_events": False,
}


@dataclass
class Deployed:
    """A deployed app, and what a test does to it and sees of it."""

    box: demo.Box
    queue_url: str
    seen: list[dict[str, Any]] = field(default_factory=list)

    def forget_quotas(self) -> None:
        """Let every account have its day and its turn of policy generation again.

        And the hour its single messages, and every principal its proposal because of a finding.
        """
        for kind in (KIND, COOL_DOWN, "message-budget"):
            self.forget(kind)
        self.forget("message", "runs#")  # how many failures people heard of in this hour

    def forget(self, kind: str, begin: str = "") -> None:
        """Delete the items of a kind (``workflow``) from the table of runs; of those that begin so.

        A message's claim is such an item: who forgets one tells people again.
        """
        dynamodb, table = self.box.hub("dynamodb"), self.box.outputs["RunsTableName"]
        found = dynamodb.query(
            TableName=table,
            KeyConditionExpression="workflow = :kind",
            ExpressionAttributeValues={":kind": {"S": kind}},
        )
        for item in found["Items"]:
            if item["run_id"]["S"].startswith(begin):
                key = {name: item[name] for name in ("workflow", "run_id")}
                dynamodb.delete_item(TableName=table, Key=key)

    def evidence_of(self, execution_arn: str) -> dict[str, Any]:
        """Return what a policy execution gathered: the input of its step Build policy."""
        for event in self.history(execution_arn):
            details = event.get("stateEnteredEventDetails", {})
            if details.get("name") == "Build policy":
                evidence: dict[str, Any] = json.loads(details["input"])["evidence"]
                return evidence
        raise AssertionError(f"{execution_arn} built nothing: {self.history(execution_arn)[-4:]}")

    def event(
        self,
        principal: str | None = None,
        *,
        finding_id: str | None = None,
        updated_at: datetime | None = None,
        detail_type: str = "Unused Access Finding for IAM entities",
        **changes: Any,
    ) -> dict[str, Any]:
        """Return an unused-permission event about a principal (account/Name), changed as asked."""
        organization = self.box.created.organization
        arn = organization.principal(principal).arn if principal else "arn:aws:iam::1:role/none"
        moment = (updated_at or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
        hub, region = organization.hub_account.account_id, organization.home_region
        detail = {
            "findingId": finding_id or f"00000000-0000-4000-8000-{next(_numbers):012d}",
            "resource": arn,
            "resourceType": "AWS::IAM::Role" if ":role/" in arn else "AWS::IAM::User",
            "accountId": arn.split(":")[4],
            "createdAt": moment,
            "updatedAt": moment,
            "analyzedAt": moment,
            "previousStatus": "",
            "status": "ACTIVE",
            "version": "62160bda-8e94-46d6-ac97-9670930d8ffb",
            "isDeleted": False,
            "findingType": "UnusedPermission",
            "numberOfUnusedServices": 1,
            "numberOfUnusedActions": 2,
        }
        return {
            "Source": "pare.test",
            "DetailType": detail_type,
            "Resources": [f"arn:aws:access-analyzer:{region}:{hub}:analyzer/unused"],
            "Detail": json.dumps({**detail, **changes}),
        }

    def send(self, event: dict[str, Any]) -> None:
        """Put an event on the hub bus."""
        answer = self.box.hub("events").put_events(
            Entries=[{"EventBusName": self.box.outputs["HubBusName"], **event}]
        )
        assert answer["FailedEntryCount"] == 0, answer

    def make_analyzers(self) -> None:
        """Let the hub have an external-access analyzer in every Region, for some days already."""
        control, organization = self.box.emulator.control, self.box.created.organization
        hub = organization.hub_account.account_id
        made = f"{ago(days=3):%Y-%m-%dT%H:%M:%SZ}"
        for region in organization.regions:
            arn = seed_findings.analyzer_arn(
                organization, seed_findings.EXTERNAL_ACCESS_ANALYZER, region
            )
            seed_findings.make_analyzer(self.box.emulator, hub, arn)
            control("analyzers", {"analyzers": [{"arn": arn, "created_at": made}]})

    def plant(self, *findings: seed_findings.SeedFinding, events: bool = True) -> None:
        """Let the hub's analyzers find these, and wait until Pare has what it hears of it.

        ``events``: whether EventBridge tells of them.
        """
        organization = self.box.created.organization
        seed_findings.plant_findings(self.box.emulator, organization, findings, events=events)
        self.settle()

    def end(self, what: str, *findings: seed_findings.SeedFinding, events: bool = True) -> None:
        """Let analyzers ``resolve`` or ``delete`` findings, as ``plant`` makes them."""
        for each in findings:
            body = {what: [each.finding["id"]], "events": events}
            self.box.emulator.control("findings", {"analyzer_arn": each.analyzer_arn, **body})
        self.settle()

    def settle(self, seconds: float = 120) -> None:
        """Wait until all events of Access Analyzer are delivered and what they started has ended.

        Rounds of messages, too; not the policy workflow.
        """
        states = self.box.hub("stepfunctions")

        def check() -> bool:
            return self.box.emulator.control("state")["events"]["waiting"] == 0 and not any(
                states.list_executions(
                    stateMachineArn=self.box.outputs[f"{workflow}WorkflowArn"],
                    statusFilter="RUNNING",
                )["executions"]
                for workflow in ("Finding", "Notification")
            )

        demo.wait_for(check, "the end of what Access Analyzer's events started", seconds)

    def nothing_runs(self) -> bool:
        """Return whether no workflow runs, and no event of Access Analyzer is on its way."""
        state = self.box.emulator.control("state")
        return not state["executions_running"] and not state["events"]["waiting"]

    def start(self, workflow: str, state: dict[str, Any], name: str | None = None) -> str:
        """Start a workflow by hand and return the execution's ARN."""
        started = self.box.hub("stepfunctions").start_execution(
            stateMachineArn=self.box.outputs[f"{workflow}WorkflowArn"],
            input=json.dumps(state),
            name=name or f"test-{next(_numbers)}",
        )
        return str(started["executionArn"])

    def ended(self, execution_arn: str, seconds: float = 90) -> dict[str, Any]:
        """Return an execution's description once it has ended."""
        states = self.box.hub("stepfunctions")

        def check() -> dict[str, Any] | None:
            found: dict[str, Any] = states.describe_execution(executionArn=execution_arn)
            return found if found["status"] != "RUNNING" else None

        result: dict[str, Any] = demo.wait_for(check, execution_arn, seconds)
        return result

    def history(self, execution_arn: str) -> list[dict[str, Any]]:
        """Return the events of an execution."""
        paginator = self.box.hub("stepfunctions").get_paginator("get_execution_history")
        return [
            event
            for page in paginator.paginate(executionArn=execution_arn)
            for event in page["events"]
        ]

    def run_of(self, workflow: str, subject: str, seconds: float = 90) -> dict[str, Any]:
        """Return the newest run record of a workflow about a subject, waiting for it."""

        def check() -> dict[str, Any] | None:
            found = [run for run in demo.runs_of(self.box, workflow) if run["subject"] == subject]
            return found[-1] if found else None

        result: dict[str, Any] = demo.wait_for(check, f"a {workflow} run of {subject}", seconds)
        return result

    def runs_about(self, subject: str, count: int) -> list[dict[str, Any]]:
        """Return the finding workflow's runs about a subject, waiting until there are so many."""

        def check() -> list[dict[str, Any]] | None:
            runs = [r for r in demo.runs_of(self.box, "finding") if r["subject"] == subject]
            return runs if len(runs) >= count else None

        result: list[dict[str, Any]] = demo.wait_for(check, f"{count} runs about {subject}", 90)
        assert len(result) == count
        return result

    def tell(self, *, outcome: str = "succeeded", **more: Any) -> dict[str, Any]:
        """Run a round of messages: of all that is due, and of what waits for the next digest.

        Return the run's record. ``more``: of the workflow's input, instead of that.
        """
        due_by = f"{datetime.now(UTC) + timedelta(days=8):%Y-%m-%dT%H:%M:%SZ}"
        execution = self.start("Notification", {"kind": "hourly", "due_by": due_by, **more})
        return self._run(execution, "notification", outcome)

    def reconcile(self, *, outcome: str = "succeeded") -> dict[str, Any]:
        """Compare every analyzer with the table, let what differs come in; return the run."""
        run = self._run(self.start("Reconcile", {}), "reconcile", outcome)
        self.settle()
        return run

    def _run(self, execution: str, workflow: str, outcome: str) -> dict[str, Any]:
        self.ended(execution, seconds=240)
        (run,) = (
            run for run in demo.runs_of(self.box, workflow) if run["execution_arn"] == execution
        )
        assert run["outcome"] == outcome, (run, self.history(execution)[-4:])
        return run

    @contextmanager
    def nobody_told(self) -> Iterator[None]:
        """Leave what is urgent to the next ``tell``: the hour has no single messages left.

        Waits take no time here, so a round would begin with the first of several events.
        """
        runs = RunsTable(self.box.hub("dynamodb"), self.box.outputs["RunsTableName"])
        now = datetime.now(UTC)
        for hour in (now, now + timedelta(hours=1)):
            runs.take_budget(f"{hour:%Y-%m-%dT%H}", 1_000, 1_000, execution="nobody told")
        yield
        self.forget("message-budget")

    @contextmanager
    def terms(self, workflow: str, change: Callable[[dict[str, Any]], None]) -> Iterator[None]:
        """Let a workflow go by other terms for a while, as after a deployment of other settings."""
        states, arn = self.box.hub("stepfunctions"), self.box.outputs[f"{workflow}WorkflowArn"]
        before = states.describe_state_machine(stateMachineArn=arn)["definition"]

        def changed(value: Any) -> Any:
            if isinstance(value, list):
                return [changed(each) for each in value]
            if not isinstance(value, dict):
                return value
            value = {name: changed(each) for name, each in value.items()}
            if isinstance(value.get("terms"), dict):
                change(value["terms"])
            return value

        after = json.dumps(changed(json.loads(before)))
        assert after != json.dumps(json.loads(before))
        states.update_state_machine(stateMachineArn=arn, definition=after)
        try:
            yield
        finally:
            states.update_state_machine(stateMachineArn=arn, definition=before)

    @contextmanager
    def without_right(self, role_name: str, action: str) -> Iterator[None]:
        """Take an action from the role of the hub whose name begins so, for a while."""
        iam = self.box.hub("iam")
        role = next(
            role["RoleName"]
            for page in iam.get_paginator("list_roles").paginate()
            for role in page["Roles"]
            if role["RoleName"].startswith(role_name)
        )
        (policy,) = iam.list_role_policies(RoleName=role)["PolicyNames"]
        document = iam.get_role_policy(RoleName=role, PolicyName=policy)["PolicyDocument"]
        less = [each for each in document["Statement"] if action not in json.dumps(each["Action"])]
        assert len(less) < len(document["Statement"])

        def put(statements: list[dict[str, Any]]) -> None:
            text = json.dumps({**document, "Statement": statements})
            iam.put_role_policy(RoleName=role, PolicyName=policy, PolicyDocument=text)

        put(less)
        try:
            yield
        finally:
            put(document["Statement"])

    def card(self, account_id: str, resource: str) -> CardJson:
        """Return the card of a resource."""
        table = CardsTable(self.box.hub("dynamodb"), self.box.outputs["CardsTableName"])
        card = table.get(card_id_of(account_id, resource))
        assert card is not None, resource
        return card

    def messages(self, text: str) -> list[dict[str, Any]]:
        """Return the messages delivered to people so far that contain a text, line ends aside."""
        # Until the queue is empty, however slow the machine.
        while more := demo.receive(self.box, self.queue_url, 10, seconds=1):
            self.seen += more
        self.seen.sort(key=lambda message: str(message["Timestamp"]))
        return [
            message
            for message in self.seen
            if text in message["Message"] or text in " ".join(message["Message"].split())
        ]

    def message(self, text: str, seconds: float = 60) -> dict[str, Any]:
        """Return the first message to people that contains a text, waiting for it."""
        found: list[dict[str, Any]] = demo.wait_for(lambda: self.messages(text), text, seconds)
        return found[0]

    def key(self, path: str) -> ObjectRef:
        """Return where an object of the evidence bucket lies."""
        return {"bucket": self.box.outputs["EvidenceBucketName"], "key": path}

    def keys(self, prefix: str) -> set[str]:
        """Return the keys of the evidence bucket under a prefix, without the prefix."""
        pages = self.box.hub("s3").get_paginator("list_objects_v2").paginate(
            Bucket=self.box.outputs["EvidenceBucketName"], Prefix=prefix
        )  # fmt: skip
        return {
            each["Key"].removeprefix(prefix) for page in pages for each in page.get("Contents", [])
        }

    def rows(self, ref: ObjectRef) -> list[dict[str, Any]]:
        """Return the rows of a gzip NDJSON object."""
        answer = self.box.hub("s3").get_object(Bucket=ref["bucket"], Key=ref["key"])
        return [json.loads(line) for line in gzip.decompress(answer["Body"].read()).splitlines()]

    def snapshot(self, period: str) -> dict[str, Any]:
        """Return the head of a period's inventory."""
        path = f"inventory/period={period}/snapshot.json"
        found: dict[str, Any] = demo.read_json(self.box, self.key(path))
        return found

    def principals(self, period: str) -> dict[str, dict[str, Any]]:
        """Return the rows of a period's inventory by ARN; each ARN has one."""
        rows = self.rows(self.snapshot(period)["rows"])
        found = {row["principal_arn"]: row for row in rows}
        assert len(found) == len(rows)
        return found

    def in_iam(self) -> set[str]:
        """Return the ARNs of every user and role of every account, as IAM lists them now."""
        return {
            each["Arn"]
            for account_id in self.box.created.account_ids
            for page in self.box.emulator.client("iam", account_id)
            .get_paginator("get_account_authorization_details")
            .paginate(Filter=["User", "Role"])
            for each in page["UserDetailList"] + page["RoleDetailList"]
        }

    def take_inventory(self, period: str, **more: Any) -> str:
        """Run the inventory of a period to its good end and return the execution's ARN."""
        execution = self.start("Inventory", {"scheduled_at": f"{period}-01T06:00:00Z", **more})
        ended = self.ended(execution, seconds=240)
        assert ended["status"] == "SUCCEEDED", (ended, self.history(execution)[-4:])
        return execution

    def propose(self, principal: str, **more: Any) -> dict[str, Any]:
        """Run the policy workflow for a principal (account/Name) and return the stored proposal."""
        arn = self.box.created.organization.principal(principal).arn
        execution = self.start("Policy", {"principal_arn": arn, **more})
        ended = self.ended(execution)
        assert ended["status"] == "SUCCEEDED", (ended, self.history(execution)[-4:])
        item = demo.proposals_of(self.box, arn)[-1]
        assert item["execution"] == execution
        return {**item, "document": demo.read_json(self.box, item["proposal"])}


@pytest.fixture(scope="session")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """The deployed app; jobs end at once and waits take no time."""
    state_dir = tmp_path_factory.mktemp("deployed")
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    try:
        box = demo.bring_up(state_dir, port=port, watch=demo.Stopwatch(), wait_scale=0.0)
        box.emulator.control("settings", QUICK)
        found = Deployed(box, demo.subscribe_queue(box))
        found.make_analyzers()
        yield found
    finally:
        process.stop(state_dir)


@pytest.fixture(autouse=True)
def emulator_put_back(deployed: Deployed) -> Iterator[None]:
    """After each test nothing runs any more, and faults and settings of the emulator are put back.

    What a test started and did not wait for would have the turn of policy generation in the next.
    """
    yield
    deployed.box.emulator.control("faults", method="DELETE")
    deployed.box.emulator.control("settings", QUICK)
    demo.wait_for(deployed.nothing_runs, "the end of everything that a test started")
    deployed.forget_quotas()


def ago(**time: float) -> datetime:
    """Return a moment in the past."""
    return datetime.now(UTC) - timedelta(**time)
