"""AWS for the handler tests: moto, and fakes in memory for what moto lacks or cannot be made to do.

A fake hooks into botocore where moto does, so the code under test makes its own clients, sessions
and pages, and botocore checks every request and answer against its model of the service.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import boto3
from botocore import handlers
from botocore.awsrequest import AWSResponse
from botocore.exceptions import EndpointConnectionError, ReadTimeoutError
from botocore.validate import validate_parameters
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.iam.models import get_account_id_from

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import pytest
    from botocore.model import OperationModel
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_sqs import SQSClient

HUB = DEFAULT_ACCOUNT_ID  # moto's own account
MEMBER = "111122223333"
REGION: Final = "eu-west-1"
EXTERNAL_ID = "pare-o-example0000"
MEMBER_ROLE_ARN_TEMPLATE = "arn:aws:iam::{account_id}:role/PareMember"
BUCKET = "evidence"


@dataclass(frozen=True)
class Call:
    """A call of an operation that a fake answered."""

    operation: str  # "accessanalyzer:StartPolicyGeneration"
    parameters: dict[str, Any]
    account_id: str  # whose credentials made it
    region: str


@dataclass
class _Answer:
    make: Callable[[dict[str, Any]], Any]
    left: int | None = None  # None: for ever
    when: Callable[[dict[str, Any]], bool] = lambda _: True


@dataclass
class FakeAws:
    """Answers chosen operations from memory; all others go to moto."""

    calls: list[Call] = field(default_factory=list)
    _answers: dict[str, list[_Answer]] = field(default_factory=dict)
    _cuts: dict[str, list[Exception]] = field(default_factory=dict)
    attempts: list[str] = field(default_factory=list)

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Hook into every session made from now on."""
        mine: list[Any] = [
            ("before-parameter-build", self._remember),
            ("before-call", self._answer),
            ("before-send", self._cut),  # after moto's own: the work is done by then
        ]
        monkeypatch.setattr(handlers, "BUILTIN_HANDLERS", [*handlers.BUILTIN_HANDLERS, *mine])
        monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)

    # --- What tests say ---

    def answer(
        self,
        operation: str,
        answer: dict[str, Any] | Callable[[dict[str, Any]], dict[str, Any]],
        *,
        times: int | None = None,
    ) -> None:
        """Answer an operation; several answers are given one after the other."""
        make = answer if callable(answer) else lambda _: answer
        self._answers.setdefault(operation, []).append(_Answer(make, times))

    def fail(
        self,
        operation: str,
        code: str,
        status: int = 400,
        *,
        message: str = "AWS's own words",
        times: int | None = None,
        when: Callable[[dict[str, Any]], bool] = lambda _: True,
    ) -> None:
        """Let an operation answer with an error, where ``when`` holds of its parameters."""
        error = {"Error": {"Code": code, "Message": message}, "_status": status}
        self._answers.setdefault(operation, []).append(_Answer(lambda _: error, times, when))

    def lose_answer(self, operation: str, times: int = 1) -> None:
        """Let moto do the work, and the answer be lost on its way back."""
        error = ReadTimeoutError(endpoint_url="https://aws.example", error="timed out")
        self._cuts.setdefault(operation, []).extend([error] * times)

    def refuse_connection(self, operation: str) -> None:
        """Let no connection come about: nothing is sent."""

        def refuse(_: dict[str, Any]) -> dict[str, Any]:
            raise EndpointConnectionError(endpoint_url="https://aws.example", error="refused")

        self._answers.setdefault(operation, []).append(_Answer(refuse))

    def mend(self, operation: str) -> None:
        """Take all answers and failures of an operation back."""
        self._answers.pop(operation, None)
        self._cuts.pop(operation, None)

    def called(self, operation: str) -> list[dict[str, Any]]:
        """Return the parameters of the calls a fake answered."""
        return [call.parameters for call in self.calls if call.operation == operation]

    # --- Hooks ---

    def _remember(
        self, params: dict[str, Any], model: OperationModel, context: dict[str, Any], **_: Any
    ) -> None:
        context["fake_parameters"] = dict(params)

    def _answer(
        self, model: OperationModel, request_signer: Any, context: dict[str, Any], **_: Any
    ) -> tuple[AWSResponse, dict[str, Any]] | None:
        operation = _name(model)
        parameters = context["fake_parameters"]
        waiting = [each for each in self._answers.get(operation, []) if each.when(parameters)]
        if not waiting:
            return None
        key = request_signer._credentials.access_key
        self.calls.append(
            Call(operation, parameters, get_account_id_from(key), context["client_region"])
        )
        chosen = waiting[0]
        if chosen.left is not None:
            chosen.left -= 1
            if chosen.left == 0:
                self._answers[operation].remove(chosen)
        answer = dict(chosen.make(parameters))
        status = answer.pop("_status", 200)
        if status == 200 and model.output_shape is not None:
            validate_parameters(answer, model.output_shape)
        metadata: dict[str, Any] = {
            "HTTPStatusCode": status,
            "RequestId": "fake",
            "HTTPHeaders": {},
        }
        response = AWSResponse("https://aws.example", status, {}, None)  # type: ignore[arg-type]
        return response, {**answer, "ResponseMetadata": metadata}

    def _cut(self, event_name: str, **_: Any) -> None:
        name = _event_operation(event_name)
        self.attempts.append(name)
        cuts = self._cuts.get(name)
        if cuts:
            raise cuts.pop(0)


def _name(model: OperationModel) -> str:
    service = model.service_model.service_id.hyphenize().replace("-", "")
    return f"{service}:{model.name}"


def _event_operation(event_name: str) -> str:
    """Return ``sns:Publish`` for ``before-send.sns.Publish``."""
    _, service, operation = event_name.split(".")
    return f"{service.replace('-', '')}:{operation}"


# --- Things that exist before a step runs ---


def member_session(account_id: str = MEMBER) -> boto3.Session:
    """Return a session in a member account, for a test to make roles and users with."""
    credentials = boto3.client("sts").assume_role(
        RoleArn=MEMBER_ROLE_ARN_TEMPLATE.format(account_id=account_id),
        RoleSessionName="the-test",
    )["Credentials"]
    return boto3.Session(
        credentials["AccessKeyId"],
        credentials["SecretAccessKey"],
        credentials["SessionToken"],
    )


def create_table(
    dynamodb: DynamoDBClient, name: str, *keys: str, index: tuple[str, str, str] | None = None
) -> None:
    """Create a table with the keys that infra/storage_stack.py gives it, and its index."""
    optional: Any = {}
    if index:
        optional["GlobalSecondaryIndexes"] = [
            {
                "IndexName": index[0],
                "KeySchema": _key_schema(index[1:]),
                "Projection": {"ProjectionType": "ALL"},
            }
        ]
    dynamodb.create_table(
        TableName=name,
        KeySchema=_key_schema(keys),
        AttributeDefinitions=[
            {"AttributeName": key, "AttributeType": "S"}
            for key in sorted({*keys, *(index or ())[1:]})
        ],
        BillingMode="PAY_PER_REQUEST",
        **optional,
    )


def _key_schema(keys: Sequence[str]) -> Any:
    return [
        {"AttributeName": key, "KeyType": kind}
        for key, kind in zip(keys, ("HASH", "RANGE"), strict=False)
    ]


_numbers = itertools.count(1)


@dataclass(frozen=True)
class Topic:
    """A topic with a queue subscribed to it."""

    arn: str
    queue_url: str
    sqs: SQSClient

    @classmethod
    def create(cls) -> Topic:
        """Create both."""
        sns, sqs = boto3.client("sns"), boto3.client("sqs")
        name = f"topic-{next(_numbers)}"
        arn = sns.create_topic(Name=name)["TopicArn"]
        url = sqs.create_queue(QueueName=name)["QueueUrl"]
        queue_arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])[
            "Attributes"
        ]["QueueArn"]
        sns.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=queue_arn)
        return cls(arn, url, sqs)

    def messages(self) -> list[dict[str, Any]]:
        """Return what was delivered since the last look: Subject, Message, MessageAttributes."""
        return list(self._received())

    def _received(self) -> Iterator[dict[str, Any]]:
        while found := self.sqs.receive_message(
            QueueUrl=self.queue_url, MaxNumberOfMessages=10
        ).get("Messages"):
            for message in found:
                self.sqs.delete_message(
                    QueueUrl=self.queue_url, ReceiptHandle=message["ReceiptHandle"]
                )
                yield json.loads(message["Body"])
