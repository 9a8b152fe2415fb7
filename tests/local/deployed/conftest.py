"""The app as people deploy it, once for all tests here: emulated organization, IAM enforced."""

from __future__ import annotations

import gzip
import itertools
import json
import socket
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from local import demo, process
from pare.aws.quota_ledger import KIND

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pare.object_ref import ObjectRef

_numbers = itertools.count(1)

QUICK = {"job_delay_seconds": 0, "last_accessed_delay_seconds": 0, "quota_per_day": 10_000}


@dataclass
class Deployed:
    """A deployed app, and what a test does to it and sees of it."""

    box: demo.Box
    queue_url: str
    seen: list[dict[str, Any]] = field(default_factory=list)

    def forget_quotas(self) -> None:
        """Let every account have its day and its turn of policy generation again."""
        dynamodb, table = self.box.hub("dynamodb"), self.box.outputs["RunsTableName"]
        found = dynamodb.query(
            TableName=table,
            KeyConditionExpression="workflow = :ledger",
            ExpressionAttributeValues={":ledger": {"S": KIND}},
        )
        for item in found["Items"]:
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

    def messages(self, text: str) -> list[dict[str, Any]]:
        """Return the messages delivered to people so far that contain a text."""
        self.seen += demo.receive(self.box, self.queue_url, 1_000, seconds=1.5)
        return [message for message in self.seen if text in message["Message"]]

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
        yield Deployed(box, demo.subscribe_queue(box))
    finally:
        process.stop(state_dir)


@pytest.fixture(autouse=True)
def emulator_put_back(deployed: Deployed) -> Iterator[None]:
    """Faults and settings of the emulator are put back after each test."""
    yield
    deployed.box.emulator.control("faults", method="DELETE")
    deployed.box.emulator.control("settings", QUICK)
    deployed.forget_quotas()


def ago(**time: float) -> datetime:
    """Return a moment in the past."""
    return datetime.now(UTC) - timedelta(**time)
