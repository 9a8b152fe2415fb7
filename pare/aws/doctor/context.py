"""What every group of the doctor's checks reads: the deployment, the accounts, the functions."""

from __future__ import annotations

import json
import queue
import threading
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from botocore.config import Config
from botocore.exceptions import ClientError

from pare.aws.calls import CLIENT_CONFIG, translated
from pare.aws.executions import STACK_NAME
from pare.aws.organization import Organization
from pare.doctor.deployed_rules import construct_id_of
from pare.errors import AwsCallError
from pare.message import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    import boto3

    from pare.aws.organization import AccountJson
    from pare.doctor.setup import Setup

_In = TypeVar("_In")
_Out = TypeVar("_Out")

# A function that looks at many accounts answers late; asked again meanwhile, it would do it twice.
PROBE_CONFIG = CLIENT_CONFIG.merge(Config(retries={"total_max_attempts": 1}, read_timeout=300))
_THREADS = 8
_ACTIVE = "ACTIVE"


@dataclass(frozen=True)
class Examination:
    """One run of the doctor, with a person's credentials of the hub account.

    ``outputs``: those of ``ParePipeline``; empty where it is not deployed yet, and then ``setup``
    and ``template`` are of the synthesized one. ``say`` shows progress, a few words at a time.
    """

    session: boto3.Session
    setup: Setup
    outputs: dict[str, str]
    now: datetime
    say: Callable[[str], None]
    template: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    _mine: Any = field(default_factory=threading.local, repr=False, compare=False)
    _lock: Any = field(default_factory=threading.Lock, repr=False, compare=False)

    @property
    def is_deployed(self) -> bool:
        """Whether the hub's stacks are there."""
        return bool(self.outputs)

    def client(self, service: str, region: str | None = None, config: Config | None = None) -> Any:
        """Return a client of the hub account; in the home Region where none is named.

        Each thread has its own, and a session makes one at a time. Two that open the first
        connections of one client at once load certificates into one TLS context, which can crash
        Python before 3.13.5: https://github.com/python/cpython/issues/134698
        """
        key = (service, region or self.setup.home_region, config or CLIENT_CONFIG)
        mine: dict[tuple[str, str, Config], Any] = self._mine.__dict__
        if key not in mine:
            with self._lock:
                mine[key] = self.session.client(
                    service,  # type: ignore[call-overload]
                    region_name=key[1],
                    config=key[2],
                )
        return mine[key]

    @cached_property
    def accounts(self) -> list[AccountJson]:
        """Every account of the organization; raises AwsCallError where Organizations refuses."""
        return Organization(self.client("organizations")).accounts()

    @property
    def active_accounts(self) -> list[str]:
        """The ids of the accounts that are not closed, suspended or about to be."""
        return [each["account_id"] for each in self.accounts if each["state"] == _ACTIVE]

    @property
    def looked_at_accounts(self) -> list[str]:
        """The ids of the active accounts but those that the settings leave out."""
        left_out = set(self.setup.account_exclusions)
        return [each for each in self.active_accounts if each not in left_out]

    @cached_property
    def _names(self) -> dict[str, str]:
        return {each["account_id"]: plain(each["name"], 60) for each in self.accounts}

    def named(self, account_id: str) -> str:
        """Return ``111122223333 payments``; the id alone where it has no name we know."""
        return f"{account_id} {self._names.get(account_id, '')}".strip()

    @cached_property
    def resources(self) -> dict[str, tuple[str, str]]:
        """The resources of ``ParePipeline``: logical id -> (type, physical id)."""
        with translated("cloudformation:ListStackResources"):
            return stack_resources(self.client("cloudformation"), STACK_NAME)

    def resources_of(self, kind: str) -> dict[str, str]:
        """Return the resources of a type: logical id without CDK's hash -> physical id."""
        return {
            construct_id_of(logical_id): physical_id
            for logical_id, (each, physical_id) in sorted(self.resources.items())
            if each == kind
        }

    def function_name(self, construct_id: str) -> str:
        """Return the name of the function of a step, ``ListLogs`` or ``list_logs``.

        Raises AwsCallError where the stack has no such function.
        """
        wanted = "".join(word[0].upper() + word[1:] for word in construct_id.split("_"))
        functions = self.resources_of("AWS::Lambda::Function")
        if wanted not in functions:
            raise AwsCallError(f"the stack {STACK_NAME} has no function {wanted}")
        return functions[wanted]

    def probe(self, construct_id: str, request: dict[str, Any]) -> dict[str, Any]:
        """Ask one of the hub's functions to look at something with its own rights.

        ``request`` and the answer are those of ``pare.aws.probe``. Raises AwsCallError where the
        function cannot be invoked or failed.
        """
        name = self.function_name(construct_id)
        with translated(f"lambda:InvokeFunction {construct_id}"):
            try:
                answer = self.client("lambda", config=PROBE_CONFIG).invoke(
                    FunctionName=name, Payload=json.dumps({"probe": request}).encode()
                )
            except ClientError as error:
                # Whatever keeps a function from running, the message is "Rate Exceeded." alone.
                # https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html#API_Invoke_Errors
                if reason := error.response.get("Reason"):
                    message = error.response["Error"].get("Message", "")
                    error.response["Error"]["Message"] = f"{message} ({reason})"
                raise
            text = answer["Payload"].read()
        try:
            body = json.loads(text)
        except ValueError as error:
            raise AwsCallError(f"{construct_id} answered no JSON") from error
        if answer.get("FunctionError"):
            said = body.get("errorMessage", body) if isinstance(body, dict) else body
            raise AwsCallError(f"{construct_id} failed: {said}")
        if not isinstance(body, dict):
            raise AwsCallError(f"{construct_id} does not know this question: it is of another Pare")
        return body

    def side_by_side(
        self,
        what: str,
        items: Sequence[_In],
        work: Callable[[_In], _Out],
        *,
        threads: int = _THREADS,
        weight: Callable[[_In], int] = lambda _: 1,
    ) -> list[_Out]:
        """Return the work of each item, in their order; several are done at once.

        Progress is told as it comes: ``what``, and how many of how many. ``weight``: for how many
        an item counts. The first error of a work is raised. A person who stops the doctor does not
        wait for what is under way.
        """
        waiting: queue.SimpleQueue[tuple[int, _In]] = queue.SimpleQueue()
        done: queue.SimpleQueue[tuple[int, Any, BaseException | None]] = queue.SimpleQueue()
        for numbered in enumerate(items):
            waiting.put(numbered)

        def run() -> None:
            while True:
                try:
                    number, item = waiting.get_nowait()
                except queue.Empty:
                    return
                try:
                    done.put((number, work(item), None))
                except BaseException as error:  # raised again where somebody waits for it
                    done.put((number, None, error))

        total, so_far = sum(weight(item) for item in items), 0
        self.say(f"{what}: 0 of {total:,}")
        for _ in range(min(threads, len(items))):
            threading.Thread(target=run, daemon=True).start()
        results: dict[int, _Out] = {}
        for _ in items:
            number, result, error = done.get()
            if error is not None:
                raise error
            results[number] = result
            so_far += weight(items[number])
            self.say(f"{what}: {so_far:,} of {total:,}")
        return [results[number] for number in range(len(items))]


def stack_resources(cloudformation: Any, name: str) -> dict[str, tuple[str, str]]:
    """Return the resources of a stack that are there: logical id -> (type, physical id).

    The caller translates what AWS says (cloudformation:ListStackResources).
    """
    pages = cloudformation.get_paginator("list_stack_resources").paginate(StackName=name)
    return {
        each["LogicalResourceId"]: (each["ResourceType"], each.get("PhysicalResourceId", ""))
        for page in pages
        for each in page["StackResourceSummaries"]
        if each["ResourceStatus"] != "DELETE_COMPLETE"
    }
