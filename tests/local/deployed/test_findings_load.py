"""Findings of an organization on a bad day: told once each, whatever fails, comes twice or never.

`make test-load` runs it with 5,000 findings of 20 accounts; the suite with fewer (PARE_FINDINGS).
"""

from __future__ import annotations

import json
import os
import re
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from infra.settings import load_settings
from local import demo, findings_load, findings_told, scale
from pare.aws.findings_table import CardsTable, FindingsTable
from pare.findings.card import card_id_of
from pare.findings.state import card_news

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local.findings_load import LoadPlan
    from local.findings_told import Telling
    from pare.findings.card import CardJson
    from tests.local.deployed.conftest import Deployed

FINDINGS = int(os.environ.get("PARE_FINDINGS", "60"))
IS_LARGE = FINDINGS >= 1_000
ACCOUNTS = 20 if IS_LARGE else 4
# Rounds asked for by hand while everything fails, beside those that findings start.
ROUNDS = 4
KILLED = {
    "NormalizeFinding": 0.02,
    "EnrichFinding": 0.04,
    "RecordFinding": 0.04,
    "RecordRun": 0.02,
    "CollectNews": 0.3,
    "ComposeMessage": 0.1,
    "SettleMessage": 0.2,
}
# Where there is little to do, a rate alone may let all of it pass: so the first calls fail, surely.
SURE = [
    {"operation": "Publish", "kind": "throttle", "count": 2},
    {"operation": "TransactWriteItems", "kind": "conflict", "count": 2},
    {"operation": "UpdateItem", "kind": "lost_answer", "count": 1},
    {"operation": "ParePipeline-EnrichFinding", "kind": "kill", "count": 1},
    {"operation": "ParePipeline-RecordFinding", "kind": "kill", "count": 1},
    {"operation": "ParePipeline-CollectNews", "kind": "kill", "count": 1},
]
WORKFLOWS = ("finding", "notification", "reconcile", "policy")
DEAD_LETTERS = ("FindingDeadLettersUrl", "ScheduleDeadLettersUrl", "MessageDeadLettersUrl")


@dataclass
class Load:
    """The accounts of this test, what happens in them, and what machines hear."""

    deployed: Deployed
    accounts: list[str]
    plan: LoadPlan
    machines_url: str
    began_at: float = field(default_factory=time.monotonic)

    def say(self, text: str) -> None:
        """Print what happened, and when."""
        print(f"{time.monotonic() - self.began_at:7.1f} s  {text}")

    def state(self) -> dict[str, Any]:
        """Return what the emulator counts."""
        return self.deployed.box.emulator.control("state")

    def wait_until_quiet(self) -> None:
        """Return once no event is on its way and no execution runs."""
        quiet = 0
        while quiet < 3:
            state = self.state()
            is_quiet = state["events"]["waiting"] == 0 and state["executions_running"] == 0
            quiet = quiet + 1 if is_quiet else 0
            time.sleep(0.2)

    def start_round(self, number: int) -> None:
        """Ask for an hourly round, again where the request itself meets a fault."""
        for _ in range(20):
            try:
                self.deployed.start("Notification", tomorrow(), f"load-{os.getpid()}-{number}")
            except ClientError:
                continue
            return
        raise AssertionError("no round could be started")

    def runs(self, workflow: str) -> list[dict[str, Any]]:
        """Return the run records of a workflow since the test began."""
        return [
            run
            for run in demo.runs_of(self.deployed.box, workflow)
            if run["started_at"] >= self.since
        ]

    @property
    def since(self) -> str:
        """When this test began."""
        began = datetime.now(UTC) - timedelta(seconds=time.monotonic() - self.began_at + 1)
        return f"{began:%Y-%m-%dT%H:%M:%SZ}"

    def findings(self) -> dict[str, dict[str, Any]]:
        """Return the recorded findings of the accounts by id."""
        table = FindingsTable(self._dynamodb, self.deployed.box.outputs["FindingsTableName"])
        return {
            item["finding_id"]: item["finding"]
            for item in table.all_items()
            if item["account_id"] in self.accounts
        }

    def cards(self) -> dict[str, CardJson]:
        """Return the cards of the accounts by id."""
        table = CardsTable(self._dynamodb, self.deployed.box.outputs["CardsTableName"])
        return {
            card["card_id"]: card
            for card in table.all_cards()
            if card["account_id"] in self.accounts
        }

    @property
    def _dynamodb(self) -> Any:
        return self.deployed.box.hub("dynamodb")

    def clean_up(self) -> None:
        """Let the other tests find what was there before."""
        box = self.deployed.box
        organizations = box.emulator.client(
            "organizations", box.created.organization.management_account.account_id
        )
        for account_id in self.accounts:
            organizations.remove_account_from_organization(AccountId=account_id)
        for arn in self.plan.analyzers:
            ids = [
                key
                for key, end in self.plan.ends.items()
                if end.analyzer_arn == arn and end.status is not None
            ]
            box.emulator.control("findings", {"analyzer_arn": arn, "delete": ids})
        for name, key, found in (
            ("FindingsTableName", "finding_id", self.findings()),
            ("CardsTableName", "card_id", self.cards()),
        ):
            for value in found:
                self._dynamodb.delete_item(TableName=box.outputs[name], Key={key: {"S": value}})


def tomorrow() -> dict[str, str]:
    """Return the input of a round of all that is due up to the next digest, and it too."""
    return {
        "kind": "hourly",
        "due_by": f"{datetime.now(UTC) + timedelta(days=1):%Y-%m-%dT%H:%M:%SZ}",
    }


@pytest.fixture
def load(deployed: Deployed) -> Iterator[Load]:
    """Accounts, analyzers and findings of this test alone."""
    box, organization = deployed.box, deployed.box.created.organization
    added = scale.add_accounts(
        box.emulator,
        accounts=ACCOUNTS,
        roles=0,
        first_id=710_000_000_001,
    )
    accounts = [each.account_id for each in added]
    home = organization.home_region
    plan = findings_load.plan_load(
        FINDINGS,
        accounts,
        [home, *(region for region in organization.regions if region != home)],
        hub_account_id=organization.hub_account.account_id,
        now=datetime.now(UTC),
    )
    findings_load.make_analyzers(box.emulator, plan)
    deployed.seen += received(box, deployed.queue_url)
    found = Load(deployed, accounts, plan, demo.subscribe_queue(box, "Machines"))
    at_once = found.state()["settings"]["functions_at_once"]
    yield found
    findings_load.switch_faults_off(box.emulator)
    box.emulator.control("settings", {"functions_at_once": at_once})
    found.clean_up()


def test_every_open_finding_is_told_once_on_a_bad_day(load: Load) -> None:
    deployed, plan, box = load.deployed, load.plan, load.deployed.box
    dead_before = dead_letters(deployed)
    before = load.state()

    play(load)
    after = load.state()
    check_that_it_was_a_bad_day(load, before, after)
    executions = len(load.runs("finding"))
    load.say(f"faults off after {executions} runs of the finding workflow")
    lacking = findings_load.wrong(plan, load.findings())
    load.say(f"not in the table as at the analyzers: {len(lacking)} findings")

    demo.run_workflow(box, "Reconcile", {})
    load.wait_until_quiet()
    (reconciled,) = load.runs("reconcile")
    load.say(f"reconciled: {reconciled['counts']}")
    rounds = tell_all(load)
    load.say(f"told in {rounds} more rounds")

    # The table is as the analyzers are, the cards are as the table is.
    # Other tests sent findings of analyzers that do not exist: those are said to be unwatched.
    assert not [
        each for each in reconciled["unknown"] if any(arn in each for arn in plan.analyzers)
    ]
    assert findings_load.wrong(plan, load.findings()) == []
    at_the_analyzers = findings_load.at_the_analyzers(box.emulator, plan)
    ends = {key: end.status for key, end in plan.ends.items() if end.status is not None}
    assert {key: at_the_analyzers.get(key) for key in ends} == ends
    cards = load.cards()
    is_open = {card_id: set(card["open"]) for card_id, card in cards.items() if card["open"]}
    assert is_open == {card_id_of(*key): ids for key, ids in plan.open_cards().items()}

    # People know what is open, and heard of each thing once.
    told = what_was_told(load)
    load.say(
        f"{Counter(each.kind for each in told)} tellings of {len({t.card_id for t in told})} cards"
    )
    assert findings_told.wrong_tellings(told, cards, always_open=plan.always_open()) == []
    check_cards(load, cards, told)

    # Nothing is stuck, and what failed is known and healed.
    assert dead_letters(deployed) == dead_before
    assert load.state()["executions_running"] == 0
    check_runs(load)


def play(load: Load) -> None:
    """Let everything of the plan happen while much fails, and rounds tell of it meanwhile."""
    emulator = load.deployed.box.emulator
    if not IS_LARGE:
        emulator.control("faults", {"faults": SURE})
    findings_load.switch_faults_on(
        emulator,
        kill={f"ParePipeline-{name}": often for name, often in KILLED.items()},
        most_kills=max(2, FINDINGS // 100),
    )
    findings_load.play(emulator, load.plan, batch=max(20, FINDINGS // 50))
    events = load.state()["events"]
    total, started = events["waiting"], 0
    load.say(f"{events['sent']} events sent, {len(load.plan.ends)} findings")
    while waiting := load.state()["events"]["waiting"]:
        if waiting < total * (1 - (started + 1) / (ROUNDS + 1)):
            started += 1
            load.start_round(started)
            load.say(f"round {started}, {waiting} events wait")
        time.sleep(0.2)
    load.wait_until_quiet()
    findings_load.switch_faults_off(emulator)


def tell_all(load: Load) -> int:
    """Run rounds until one has nothing to tell; return how many told something."""
    for number in range(10):
        arn = demo.run_workflow(load.deployed.box, "Notification", tomorrow())
        (run,) = [run for run in load.runs("notification") if run["execution_arn"] == arn]
        load.say(f"round: {run['counts']}")
        if not run["counts"].get("messages"):
            return number
    raise AssertionError("after ten rounds there is still something to tell")


def check_that_it_was_a_bad_day(load: Load, before: dict[str, Any], after: dict[str, Any]) -> None:
    """Check that what should go wrong did, so that the test shows something."""
    events = Counter(after["events"])
    events.subtract(before["events"])
    load.say(f"events: {dict(events)}")
    assert 0.05 < events["lost"] / events["sent"] < 0.2
    assert events["twice"] > 0
    assert events["late"] > 0
    met = Counter(after["faults_met"])
    met.subtract(before["faults_met"])
    by_kind: Counter[str] = Counter()
    for name, number in met.items():
        by_kind[name.split()[1]] += number
    load.say(f"faults met: {dict(by_kind)}")
    for kind in ("throttle", "server_error", "conflict", "lost_answer", "kill"):
        assert by_kind[kind] > 0, met
    assert met["Publish throttle"] > 0, met
    killed = {name: met[f"ParePipeline-{name} kill"] for name in KILLED}
    load.say(f"killed: {killed}")
    assert killed["EnrichFinding"] > 0
    assert killed["RecordFinding"] > 0
    # Of rounds there are few where there is little to tell.
    of_rounds = [killed[name] for name in ("CollectNews", "ComposeMessage", "SettleMessage")]
    assert all(of_rounds) if IS_LARGE else any(of_rounds), killed


def what_was_told(load: Load) -> list[Telling]:
    """Return what was told of the cards of the accounts; people and machines heard the same."""
    deployed, box = load.deployed, load.deployed.box
    keys = {key.rpartition("/")[2]: key for key in deployed.keys("notifications/")}
    told: list[Telling] = []
    machines: Counter[tuple[str, ...]] = Counter()
    seen: set[str] = set()
    for delivered in received(box, load.machines_url):
        facts = findings_told.message_of(delivered)
        if facts is None:
            continue
        assert facts["message_id"] not in seen, "machines heard twice, though no answer was lost"
        seen.add(facts["message_id"])
        where = deployed.key(f"notifications/{keys[facts['message_id'] + '.json']}")
        told += findings_told.tellings(facts, demo.read_json(box, facts.get("object") or where))
        shown = facts["findings"][0]["finding_id"] if facts["kind"] == "finding" else ""
        machines[facts["kind"], facts.get("owner") or "", shown] += 1
    assert what_people_got(load) == machines
    cards = load.cards()
    return [each for each in told if each.card_id in cards]


def what_people_got(load: Load) -> Counter[tuple[str, ...]]:
    """Return how many messages of a kind, and about which finding, people got."""
    people: Counter[tuple[str, ...]] = Counter()
    found = received(load.deployed.box, load.deployed.queue_url)
    load.deployed.seen += found
    for message in found:
        attributes = {key: each["Value"] for key, each in message["MessageAttributes"].items()}
        kind = attributes["kind"]
        if kind == "finding":
            shown = re.search(r"pare findings show (\S+)", message["Message"])
            assert shown, message["Message"]
            people[kind, "", shown[1]] += 1
        elif kind.startswith("finding-"):
            is_owners = json.loads(attributes["audience"]) == ["owner"]
            people[kind, attributes["owner"] if is_owners else "", ""] += 1
        else:
            assert kind == "failure", attributes
    return people


def check_cards(load: Load, cards: dict[str, CardJson], told: list[Telling]) -> None:
    """Check that every card is at rest: told as it is, claimed by nobody, due for reminders."""
    settings = load_settings(load.deployed.box.emulator.state_dir / "pare.yaml")
    terms: Any = settings.finding_terms()
    now = datetime.now(UTC)
    for card in cards.values():
        last = card["told"]
        assert card["telling"] is None, card
        assert (last["findings"] if last else {}) == card["open"], card
        assert card["ended"] == {}, card
        # The analyzers are alive: what they have no more is closed, whatever could not be asked.
        assert last is None or last["news"] != "unwatched", card
        assert card_news(card, now, terms) == "none", card
        assert card["due_at"] is None or card["due_at"] > tomorrow()["due_by"], card
        assert not [each for each in card["messages"] if each["how"] == "unknown"], card
    singles = Counter(
        each["at"][:13]
        for card in cards.values()
        for each in card["messages"]
        if each["how"] == "single"
    )
    load.say(f"single messages by hour: {dict(singles)}")
    hours = len(singles) + 1  # a round may settle what it told in the hour before
    # What is critical is told singly whatever is left of the budget.
    can_wait = [t for t in told if t.kind == "single" and "critical" not in t.open.values()]
    assert len(can_wait) <= hours * terms["max_messages_per_hour"]


def check_runs(load: Load) -> None:
    """Check that what failed did so by a fault, and say what it was."""
    failed = [
        (run["workflow"], run["outcome"], run["error"])
        for workflow in WORKFLOWS
        for run in load.runs(workflow)
        if run["outcome"] != "succeeded"
    ]
    for each, number in Counter(failed).most_common():
        load.say(f"{number} runs: {each}")
    for workflow, outcome, error in failed:
        if workflow == "policy":  # these roles are not in IAM
            assert (outcome, error) == ("rejected", "PrincipalNotFoundError")
        else:
            assert (workflow, error) in {
                ("finding", "ThrottledError"),
                ("finding", "AwsServiceError"),
                # Of StartExecution, by which a finding starts the policy workflow.
                ("finding", "StepFunctions.InternalServerException"),
                ("finding", "StepFunctions.ThrottlingException"),
                ("finding", "Runtime.ExitError"),
                ("notification", "MessageError"),
            }


def dead_letters(deployed: Deployed) -> dict[str, int]:
    """Return how many messages wait in each dead-letter queue of the hub account."""
    box = deployed.box
    organization = box.created.organization
    queues = [(box.hub("sqs"), box.outputs[name]) for name in DEAD_LETTERS]
    for region in set(organization.regions) - {organization.home_region}:
        sqs = box.emulator.client("sqs", organization.hub_account.account_id, region)
        queues.append((sqs, sqs.get_queue_url(QueueName="PareRegionDeadLetters")["QueueUrl"]))
    name = "ApproximateNumberOfMessages"
    return {
        url: int(sqs.get_queue_attributes(QueueUrl=url, AttributeNames=[name])["Attributes"][name])
        for sqs, url in queues
    }


def received(box: demo.Box, queue_url: str) -> list[dict[str, Any]]:
    """Return all messages of a queue, until no more come for a while."""
    found: list[dict[str, Any]] = []
    while some := demo.receive(box, queue_url, 1_000, seconds=3):
        found += some
    return found
