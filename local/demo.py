"""The organization in a box: bring it up, deploy Pare, take one finding to a proposed policy.

Beside it a public bucket, of which people hear at once, and next morning's digest; then two monthly
inventories, compared with the planted truth.
"""

from __future__ import annotations

import gzip
import json
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from local import deploy, process
from local.last_month import plant_last_month, read_last_month
from local.organization import (
    CreatedOrganization,
    create_organization,
    plant_credentials,
    read_organization,
)
from local.seed_findings import (
    SeedFinding,
    external_access_finding,
    plant_findings,
    unused_access_finding,
)
from local.trail_generator import CredentialUse, Usage, generate, write_trail
from local.trail_import import read_trail
from local.truth import Comparison, compare, read_truth
from pare.aws.tables import from_item
from pare.errors import PareError
from pare.inventory.model import CLASSES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from local.process import Emulator
    from pare.inventory.model import PrincipalRowJson, SnapshotJson
    from pare.object_ref import ObjectRef

APPLICATION_ROLE = "shop-prod/ShopCheckout"
RUN_SECONDS = 120
# 90 days of CloudTrail, or an inventory, on a machine that does much else; else some seconds.
WORKFLOW_SECONDS = 400


class DemoError(PareError):
    """The demo's main job did not come to its end."""

    what_to_do = "Look at .demo/emulator.log, and at the execution with `pare local status`."


@dataclass(slots=True)
class Stopwatch:
    """Seconds per step, in the order the steps began."""

    seconds: dict[str, float] = field(default_factory=dict)
    say: Callable[[str], None] = lambda _: None

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Measure a step and say that it runs."""
        self.say(name)
        self.seconds[name] = 0.0
        begin = time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] = round(time.monotonic() - begin, 1)


@dataclass(frozen=True, slots=True)
class Box:
    """A deployed emulated organization."""

    emulator: Emulator
    created: CreatedOrganization
    outputs: dict[str, str]
    usage: tuple[Usage, ...]
    finding_principal: str
    notes: tuple[str, ...]

    def hub(self, service: str) -> Any:
        """Return a client that acts as the hub account's root."""
        organization = self.created.organization
        return self.emulator.client(
            service, organization.hub_account.account_id, organization.home_region
        )


def bring_up(
    state_dir: Path,
    *,
    port: int,
    watch: Stopwatch,
    trail: Path | None = None,
    wait_scale: float = 0.02,
    more_regions: Sequence[str] = (),
) -> Box:
    """Return a fresh emulated organization with Pare deployed in it.

    ``trail`` is a folder of a person's own CloudTrail files; without it a trail is generated.
    ``more_regions`` are governed beside those of the organization's data.
    """
    now = datetime.now(UTC)
    imported = None
    if trail is not None:
        with watch.step("read your trail"):
            imported = read_trail(trail, now=now)
    organization = imported.organization if imported else read_organization()
    organization = replace(organization, regions=(*organization.regions, *more_regions))
    if process.running(state_dir) is not None:
        watch.say("stop the emulated organization that runs, and all that is in it")
    with watch.step("start the emulator"):
        process.stop(state_dir)
        emulator = process.start(state_dir, port, wait_scale=wait_scale)
    with watch.step("create the organization"):
        created = create_organization(emulator, organization, now=now)
    settings_file = deploy.write_settings(state_dir / "pare.yaml", emulator, created)
    hub = created.organization.hub_account.account_id
    with ThreadPoolExecutor(2) as pool:
        # Two of these want a core each; the trail is written meanwhile by this thread.
        with watch.step("synthesize and bootstrap"):
            assembly = pool.submit(deploy.synthesize, state_dir, settings_file)
            ready = pool.submit(deploy.bootstrap, emulator, hub, created.organization.home_region)
            with watch.step("meanwhile: write 90 days of CloudTrail"):
                credentials: tuple[CredentialUse, ...] = ()
                if imported:
                    files, usage = imported.log_files(created.organization), imported.usage
                else:
                    generated = generate(created.organization, end=now)
                    files, usage = generated.files, generated.usage
                    credentials = generated.credentials
                write_trail(emulator, created, files, usage)
                plant_credentials(emulator, created.organization, now=now, used=credentials)
            ready.result()
            assembly.result()
        with watch.step("deploy"):
            by_hand = pool.submit(deploy.deploy_by_hand, emulator, created, assembly.result())
            outputs = deploy.deploy_hub(emulator, created, assembly.result())
            by_hand.result()
    principal = (
        imported.finding_principal_arn
        if imported
        else created.organization.principal(APPLICATION_ROLE).arn
    )
    if principal is None:
        raise DemoError("The trail shows no role and no user, so there is nobody to find.")
    box = Box(
        emulator=emulator,
        created=created,
        outputs=outputs,
        usage=tuple(usage),
        finding_principal=principal,
        notes=(*created.notes, *(imported.notes if imported else ())),
    )
    _remember(state_dir, box)
    return box


def _remember(state_dir: Path, box: Box) -> None:
    """Write what `pare local status` shows."""
    organization = box.created.organization
    accounts = [
        {"account_id": account.account_id, "name": account.name}
        for account in organization.accounts
    ]
    state = {
        "home_region": organization.home_region,
        "hub_account_id": organization.hub_account.account_id,
        "accounts": accounts,
        "outputs": box.outputs,
    }
    (state_dir / "organization.json").write_text(json.dumps(state, indent=2) + "\n")


def subscribe_queue(box: Box, topic_name: str = "People") -> str:
    """Return the URL of a queue that gets what people (or Machines) get, from now on.

    Mail cannot be received here.
    """
    sqs, sns = box.hub("sqs"), box.hub("sns")
    topic = box.outputs[f"{topic_name}TopicArn"]
    url = sqs.create_queue(QueueName=f"pare-demo-{topic_name.lower()}")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"][
        "QueueArn"
    ]
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "sns.amazonaws.com"},
                "Action": "sqs:SendMessage",
                "Resource": arn,
                "Condition": {"ArnEquals": {"aws:SourceArn": topic}},
            }
        ],
    }
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(policy)})
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    return str(url)


def read_logs(box: Box, *, days: int) -> None:
    """Let Pare read the trail's past days, as ``pare backfill`` does, and wait for its end."""
    today = datetime.now(UTC).date()
    window = {"first_date": today - timedelta(days=days), "last_date": today - timedelta(days=1)}
    run_workflow(box, "Activity", {name: f"{date}" for name, date in window.items()})


def run_workflow(box: Box, workflow: str, state: dict[str, str]) -> str:
    """Run a workflow, wait for its end and return its execution's ARN; DemoError if it fails."""
    states = box.hub("stepfunctions")
    arn: str = states.start_execution(
        stateMachineArn=box.outputs[f"{workflow}WorkflowArn"], input=json.dumps(state)
    )["executionArn"]
    ended = wait_for(
        lambda: (
            (status := states.describe_execution(executionArn=arn)["status"]) != "RUNNING"
            and status
        ),
        f"The end of the {workflow.lower()} workflow",
        WORKFLOW_SECONDS,
    )
    if ended != "SUCCEEDED":
        raise DemoError(f"The {workflow.lower()} workflow ended as {ended}.")
    return arn


@dataclass(frozen=True, slots=True)
class Inventory:
    """A month's inventory as it lies in the evidence bucket."""

    snapshot: SnapshotJson
    rows: list[PrincipalRowJson]
    where: ObjectRef  # of the snapshot

    def ref(self, name: str) -> ObjectRef:
        """Return where another object of the period lies, such as ``report.html``."""
        return {**self.where, "key": f"{self.where['key'].rpartition('/')[0]}/{name}"}


def tell_everything_due(box: Box, due_by: datetime) -> str:
    """Run a round of notifications of what is due up to a moment; return its execution."""
    return run_workflow(
        box, "Notification", {"kind": "hourly", "due_by": f"{due_by:%Y-%m-%dT%H:%M:%SZ}"}
    )


def public_bucket_finding(box: Box) -> SeedFinding:
    """Return the finding of a bucket that everybody may read."""
    organization = box.created.organization
    return external_access_finding(
        organization,
        datetime.now(UTC),
        account_id=organization.principal(box.finding_principal).account_id,
        is_public=True,
    )


def take_inventory(box: Box, period: str) -> Inventory:
    """Run the inventory of a period (``2026-11``) as its schedule would, and return it."""
    run_workflow(box, "Inventory", {"scheduled_at": f"{period}-01T06:00:00Z"})
    key = f"inventory/period={period}/snapshot.json"
    where: ObjectRef = {"bucket": box.outputs["EvidenceBucketName"], "key": key}
    snapshot: SnapshotJson = read_json(box, where)
    body = read_bytes(box, snapshot["rows"])
    rows = [json.loads(line) for line in gzip.decompress(body).splitlines()]
    return Inventory(snapshot, rows, where)


def take_two_inventories(box: Box, last: str, this: str) -> Inventory:
    """Run last month's inventory, plant what was otherwise then, and return this month's."""
    before = take_inventory(box, last)
    then = read_last_month(box.created.organization)
    plant_last_month(box.hub("s3"), before.snapshot, before.where, then)
    return take_inventory(box, this)


def compare_with_truth(box: Box, inventory: Inventory) -> Comparison:
    """Return where an inventory of the seeded organization says other than what is planted."""
    accounts = inventory.snapshot["accounts"]
    return compare(read_truth(), box.created.organization, inventory.rows, accounts)


def send(box: Box, finding: SeedFinding) -> None:
    """Put a finding's event on the hub bus, after the analyzer knows the finding."""
    plant_findings(box.emulator, box.created.organization, [finding])
    answer = box.hub("events").put_events(
        Entries=[finding.put_events_entry(box.outputs["HubBusName"])]
    )
    if answer["FailedEntryCount"]:
        raise DemoError(f"The hub bus refused the event: {answer['Entries'][0]}")


def wait_for(check: Callable[[], Any], what: str, seconds: float = RUN_SECONDS) -> Any:
    """Return the first true answer of a check; DemoError if there is none in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := check():
            return found
        time.sleep(0.25)
    raise DemoError(f"{what} did not come within {seconds:.0f} s.")


def receive(box: Box, queue_url: str, count: int, seconds: float = 20) -> list[dict[str, Any]]:
    """Return the messages delivered to the queue, oldest first, as SNS wrapped them."""
    sqs = box.hub("sqs")
    found: list[dict[str, Any]] = []
    deadline = time.monotonic() + seconds
    while len(found) < count and time.monotonic() < deadline:
        answer = sqs.receive_message(QueueUrl=queue_url, MaxNumberOfMessages=10, WaitTimeSeconds=1)
        for message in answer.get("Messages", []):
            found.append(json.loads(message["Body"]))
            sqs.delete_message(QueueUrl=queue_url, ReceiptHandle=message["ReceiptHandle"])
    return sorted(found, key=lambda message: str(message["Timestamp"]))


def proposals_of(box: Box, principal_arn: str) -> list[dict[str, Any]]:
    """Return the recorded proposals of a principal, oldest first."""
    answer = box.hub("dynamodb").query(
        TableName=box.outputs["ProposalsTableName"],
        KeyConditionExpression="principal_arn = :arn",
        ExpressionAttributeValues={":arn": {"S": principal_arn}},
    )
    return [from_item(item) for item in answer["Items"]]


def runs_of(box: Box, workflow: str) -> list[dict[str, Any]]:
    """Return the run records of a workflow, oldest first."""
    pages = box.hub("dynamodb").get_paginator("query").paginate(
        TableName=box.outputs["RunsTableName"],
        KeyConditionExpression="workflow = :workflow",
        ExpressionAttributeValues={":workflow": {"S": workflow}},
    )  # fmt: skip
    return [from_item(item) for page in pages for item in page["Items"]]


def finding_item(box: Box, finding_id: str) -> dict[str, Any] | None:
    """Return the recorded item of a finding."""
    answer = box.hub("dynamodb").get_item(
        TableName=box.outputs["FindingsTableName"], Key={"finding_id": {"S": finding_id}}
    )
    item = answer.get("Item")
    return from_item(item) if item else None


def read_bytes(box: Box, ref: ObjectRef) -> bytes:
    """Return the content of the object that a reference names."""
    body: bytes = box.hub("s3").get_object(Bucket=ref["bucket"], Key=ref["key"])["Body"].read()
    return body


def read_json(box: Box, ref: ObjectRef) -> Any:
    """Return the JSON object that a reference names."""
    return json.loads(read_bytes(box, ref))


def run(
    state_dir: Path, *, port: int, trail: Path | None, say: Callable[[str], None]
) -> dict[str, Any]:
    """Run the whole demo and return its summary, which is also written to summary.json."""
    begin = time.monotonic()
    watch = Stopwatch(say=say)
    box = bring_up(state_dir, port=port, watch=watch, trail=trail)
    organization = box.created.organization
    queue_url = subscribe_queue(box)
    with watch.step("read 90 days of CloudTrail"):
        read_logs(box, days=90)
    with watch.step("finding to proposed policy"):
        finding = unused_access_finding(
            organization,
            organization.principal(box.finding_principal),
            box.usage,
            datetime.now(UTC),
        )
        send(box, finding)
        if trail is None:
            send(box, public_bucket_finding(box))
        proposals = wait_for(lambda: _proposed(box), "The proposed policy")
    with watch.step("what people are told, next morning's digest included"):
        expected = 1 if trail else 2
        # The public bucket is told after some minutes, the rest with the digest.
        tell_everything_due(box, datetime.now(UTC) + timedelta(days=8))
        notifications = receive(box, queue_url, expected)
        if len(notifications) < expected:
            raise DemoError(
                f"{len(notifications)} of {expected} messages to people were delivered."
            )
    inventory = _take_inventory(box, watch, queue_url, state_dir, is_planted=trail is None)
    summary = {
        "finding": finding_item(box, finding.finding["id"]),
        "proposals": [
            {**item, "document": read_json(box, item["proposal"])} for item in proposals
        ],
        "notifications": [_notification(message) for message in notifications],
        "inventory": inventory,
        "seconds": {**watch.seconds, "total": round(time.monotonic() - begin, 1)},
        "stack_outputs": box.outputs,
        "trail": str(trail) if trail else None,
        "notes": list(box.notes),
    }  # fmt: skip
    (state_dir / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    return summary


def _take_inventory(
    box: Box, watch: Stopwatch, queue_url: str, state_dir: Path, *, is_planted: bool
) -> dict[str, Any]:
    """Take this month's inventory, and last month's before it where the organization is the seed's.

    The report is copied into the state folder, so that a person can open it.
    """
    today = datetime.now(UTC).date()
    this = f"{today:%Y-%m}"
    last = f"{today.replace(day=1) - timedelta(days=1):%Y-%m}"
    if is_planted:
        with watch.step("inventory of last month, and of this month"):
            inventory = take_two_inventories(box, last, this)
    else:
        with watch.step("inventory"):
            inventory = take_inventory(box, this)
    for name in ("report.html", "report.csv"):
        (state_dir / name).write_bytes(read_bytes(box, inventory.ref(name)))
    received = receive(box, queue_url, 2 if is_planted else 1)
    messages = [_notification(message) for message in received]
    messages = [each for each in messages if each["attributes"].get("kind") == "inventory"]
    if not messages:
        raise DemoError("The inventory's message to people was not delivered.")
    planted = compare_with_truth(box, inventory) if is_planted else None
    snapshot = inventory.snapshot
    return {
        "period": snapshot["period"],
        "counts": snapshot["counts"],
        "by_kind": snapshot["by_kind"],
        "accounts": snapshot["account_count"],
        "unknown_accounts": snapshot["unknown_account_count"],
        "report": str(state_dir / "report.html"),
        "csv": str(state_dir / "report.csv"),
        "planted": planted and {
            "cases": planted.count,
            "right": planted.right,
            "differences": list(planted.differences),
        },
        "notification": messages[-1],
    }  # fmt: skip


def _notification(message: dict[str, Any]) -> dict[str, Any]:
    """Return a message as SNS delivered it, in the form of the summary."""
    attributes = message.get("MessageAttributes", {})
    return {
        "subject": message.get("Subject"),
        "message": message["Message"],
        "attributes": {name: value["Value"] for name, value in attributes.items()},
    }


def _proposed(box: Box) -> list[dict[str, Any]]:
    """Return the proposals so far; DemoError as soon as a run is recorded that did not succeed."""
    for workflow in ("finding", "notification", "policy"):
        for run_record in runs_of(box, workflow):
            if run_record["outcome"] != "succeeded":
                raise DemoError(
                    f"The {workflow} workflow ended as {run_record['outcome']}: "
                    f"{run_record['error']}: {run_record['message']}"
                )
    if not runs_of(box, "policy"):
        return []  # the proposal may be stored, and people not yet told
    return proposals_of(box, box.finding_principal)


def account(summary: dict[str, Any], state_dir: Path) -> str:
    """Return the short account of a demo, for a person at a terminal."""
    item = summary["finding"]
    finding = item["finding"]
    lines = [
        "",
        "The finding",
        f"  {finding['finding_type']} {finding['finding_id']} ({finding['status']})",
        f"  {finding['resource']}",
        f"  account {finding['account_name']} ({finding['account_id']}), owner {finding['owner']}",
        f"  unused: {finding['unused_service_count']} services and "
        f"{finding['unused_action_count']} actions of services in use",
    ]
    for proposal in summary["proposals"]:
        document = proposal["document"]
        lines += ["", f"The proposal: {proposal['verdict']}"]
        before, after = document["before"], document["after"]
        lines.append(
            f"  granted today: {before['action_count']:,} actions in "
            f"{before['service_count']:,} services"
            # A trail does not tell what is attached.
            + (" (AdministratorAccess, attached by the demo)" if summary["trail"] else "")
        )
        if after:
            lines.append(
                f"  proposed:      {after['action_count']:,} actions in "
                f"{after['service_count']:,} services"
                f" ({len(document['removed_services']):,} services removed)"
            )
            observed = [
                action
                for row in document["evidence"]
                if row["basis"] == "observed"
                for action in row["actions"]
            ]
            lines.append(f"  observed:      {', '.join(observed)}")
            lines.append("                 (called, that is; Access Analyzer counts refused calls)")
        lines += [f"  {reason['code']}: {reason['text']}" for reason in document["reasons"]]
        ref = proposal["proposal"]
        lines.append(f"  stored in s3://{ref['bucket']}/{ref['key'].rpartition('/')[0]}/")
    lines += ["", "The notifications, as delivered"]
    for message in [*summary["notifications"], summary["inventory"]["notification"]]:
        lines += ["", f"  Subject: {message['subject']}"]
        lines += [f"  | {line}" for line in message["message"].rstrip().splitlines()]
    lines += _inventory_account(summary["inventory"])
    lines += ["", "Seconds"]
    lines += [f"  {seconds:6.1f}  {name}" for name, seconds in summary["seconds"].items()]
    if summary["notes"]:
        lines += ["", "Notes", *(f"  - {note}" for note in summary["notes"])]
    lines += [
        "",
        f"All of this is in {state_dir / 'summary.json'}.",
        f"Open the inventory's report in a browser: {state_dir / 'report.html'}",
        "The emulated organization stays up. Look further: .venv/bin/pare local status",
        "Stop it: make demo-down",
    ]
    return "\n".join(lines)


def _inventory_account(inventory: dict[str, Any]) -> list[str]:
    counts = inventory["counts"]
    classes = ", ".join(f"{name} {counts[f'class_{name}']}" for name in CLASSES)
    lines = [
        "",
        f"The inventory of {inventory['period']}",
        f"  {counts['principals']} principals in {inventory['accounts']} accounts"
        f" ({inventory['unknown_accounts']} could not be read): {classes}",
        f"  {counts['new']} new, {counts['gone']} gone, {counts['changed']} changed;"
        f" {counts['unused_principals']} not used for 90 days",
    ]
    planted = inventory["planted"]
    if planted:
        lines.append(
            f"  {planted['right']} of {planted['cases']} planted cases classified as planted"
        )
        lines += [f"  not as planted: {line}" for line in planted["differences"]]
    return lines
