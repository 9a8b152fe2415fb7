"""What every group of the doctor's checks reads: the deployment, the accounts, the functions."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pare.aws.calls import CLIENT_CONFIG, translated
from pare.aws.executions import STACK_NAME
from pare.aws.organization import Organization
from pare.errors import AwsCallError

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    import boto3

    from pare.aws.organization import AccountJson
    from pare.doctor.setup import Setup


@dataclass(frozen=True)
class Examination:
    """One run of the doctor, with a person's credentials of the hub account.

    ``outputs``: those of ``ParePipeline``; empty where it is not deployed yet, and then ``setup``
    is of the synthesized template. ``say`` shows progress, a few words at a time.
    """

    session: boto3.Session
    setup: Setup
    outputs: dict[str, str]
    now: datetime
    say: Callable[[str], None]

    @property
    def is_deployed(self) -> bool:
        """Whether the hub's stacks are there."""
        return bool(self.outputs)

    def client(self, service: str, region: str | None = None) -> Any:
        """Return a client of the hub account; in the home Region where none is named."""
        return self.session.client(
            service,  # type: ignore[call-overload]
            region_name=region or self.setup.home_region,
            config=CLIENT_CONFIG,
        )

    @cached_property
    def accounts(self) -> list[AccountJson]:
        """Every account of the organization; raises AwsCallError where Organizations refuses."""
        return Organization(self.client("organizations")).accounts()

    @cached_property
    def resources(self) -> dict[str, tuple[str, str]]:
        """The resources of ``ParePipeline``: logical id -> (type, physical id)."""
        with translated("cloudformation:ListStackResources"):
            pages = self.client("cloudformation").get_paginator("list_stack_resources")
            return {
                each["LogicalResourceId"]: (
                    each["ResourceType"],
                    each.get("PhysicalResourceId", ""),
                )
                for page in pages.paginate(StackName=STACK_NAME)
                for each in page["StackResourceSummaries"]
            }

    def function_name(self, construct_id: str) -> str:
        """Return the name of the function of a step, ``ListLogs`` or ``list_logs``.

        Raises AwsCallError where the stack has no such function.
        """
        wanted = "".join(word[0].upper() + word[1:] for word in construct_id.split("_"))
        for logical_id, (kind, physical_id) in self.resources.items():
            # CDK's hash of eight characters ends a logical id.
            if kind == "AWS::Lambda::Function" and logical_id[:-8] == wanted:
                return physical_id
        raise AwsCallError(f"the stack {STACK_NAME} has no function {wanted}")

    def probe(self, construct_id: str, request: dict[str, Any]) -> dict[str, Any]:
        """Ask one of the hub's functions to look at something with its own rights.

        ``request`` and the answer are those of ``pare.aws.probe``. Raises AwsCallError where the
        function cannot be invoked or failed.
        """
        with translated(f"lambda:InvokeFunction {construct_id}"):
            answer = self.client("lambda").invoke(
                FunctionName=self.function_name(construct_id),
                Payload=json.dumps({"probe": request}).encode(),
            )
            body = json.loads(answer["Payload"].read())
        if answer.get("FunctionError"):
            raise AwsCallError(f"{construct_id} failed: {body.get('errorMessage', body)}")
        found: dict[str, Any] = body
        return found
