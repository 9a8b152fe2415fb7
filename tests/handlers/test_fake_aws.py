"""The fakes are code too: what they promise to the other tests."""

from __future__ import annotations

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ParamValidationError

from tests.handlers.fake_aws import HUB, MEMBER, REGION, FakeAws, Topic, member_session


def test_an_answer_is_given_to_the_client_and_the_call_is_kept(aws: FakeAws) -> None:
    aws.answer("accessanalyzer:CancelPolicyGeneration", {})

    member_session().client("accessanalyzer", region_name="us-east-1").cancel_policy_generation(
        jobId="job-1"
    )
    boto3.client("accessanalyzer").cancel_policy_generation(jobId="job-2")

    assert [(call.parameters, call.account_id, call.region) for call in aws.calls] == [
        ({"jobId": "job-1"}, MEMBER, "us-east-1"),
        ({"jobId": "job-2"}, HUB, REGION),
    ]


def test_an_answer_aws_could_not_give_is_refused(aws: FakeAws) -> None:
    aws.answer("accessanalyzer:StartPolicyGeneration", {"jobID": "misspelled"})

    with pytest.raises(ParamValidationError, match="jobId"):
        boto3.client("accessanalyzer").start_policy_generation(
            policyGenerationDetails={"principalArn": "arn:aws:iam::111122223333:role/App"}
        )


def test_a_failure_is_an_error_of_the_client(aws: FakeAws) -> None:
    aws.fail("sts:GetCallerIdentity", "Throttling", 429, times=1)

    with pytest.raises(ClientError) as caught:
        boto3.client("sts").get_caller_identity()

    assert caught.value.response["Error"]["Code"] == "Throttling"
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 429
    assert boto3.client("sts").get_caller_identity()["Account"] == HUB


def test_a_failure_may_be_of_some_calls_only(aws: FakeAws) -> None:
    aws.fail("iam:GetRole", "Throttling", when=lambda sent: sent["RoleName"] == "Busy")
    iam = boto3.client("iam")
    iam.create_role(RoleName="Idle", AssumeRolePolicyDocument="{}")

    with pytest.raises(ClientError, match="Throttling"):
        iam.get_role(RoleName="Busy")
    assert iam.get_role(RoleName="Idle")["Role"]["RoleName"] == "Idle"


def test_a_lost_answer_is_lost_after_the_work_was_done(aws: FakeAws) -> None:
    topic = Topic.create()
    aws.lose_answer("sns:Publish")

    boto3.client("sns").publish(TopicArn=topic.arn, Message="done")

    assert len(topic.messages()) == 2, "the SDK tries again by itself where nobody forbids it"
    assert aws.attempts.count("sns:Publish") == 2


def test_a_refused_connection_sends_nothing(aws: FakeAws) -> None:
    topic = Topic.create()
    aws.refuse_connection("sns:Publish")

    with pytest.raises(EndpointConnectionError):
        boto3.client("sns").publish(TopicArn=topic.arn, Message="done")

    assert topic.messages() == []
