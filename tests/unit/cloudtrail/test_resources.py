"""Known answers: for realistic events of the services people use most, the ARNs IAM evaluated.

The shapes are those of the services' CloudTrail examples in their guides and API references
(https://docs.aws.amazon.com, named in each case); accounts and names are made up.
"""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pare.cloudtrail.operations import load_operations
from pare.cloudtrail.resources import (
    ANY,
    UNKNOWN,
    RecipeRow,
    ResourcePlan,
    Resources,
    Special,
    load_resources,
)
from pare.policy.catalogue import load_catalogue
from pare.policy.resource_types import PLACEHOLDER, load_resource_types

if TYPE_CHECKING:
    from collections.abc import Iterator

DATA = Path(__file__).parents[3] / "pare/data"
ACCOUNT = "123456789012"
REGION = "us-east-1"
KEY = "1234abcd-12ab-34cd-56ef-1234567890ab"
OTHER_KEY = "0987dcba-09fe-87dc-65ba-ab0987654321"


@dataclass(frozen=True, slots=True)
class Case:
    """One event and what its action was authorized on."""

    action: str
    expected: tuple[str, ...] | Any
    request: Any = field(default_factory=dict)
    response: Any = field(default_factory=dict)
    resources: Any = ()
    operation: str = ""  # the action's own name if empty
    source: str = ""  # the event source's first label; the action's prefix if empty
    guide: str = ""  # where the shape is documented, below docs.aws.amazon.com


def case(
    action: str,
    expected: Any,
    request: Any = None,
    *,
    response: Any = None,
    resources: Any = (),
    operation: str = "",
    source: str = "",
    guide: str = "",
) -> Case:
    """Return a case; ARNs are written without ``arn:aws:`` and with * for Region and account."""
    if isinstance(expected, str):
        expected = (expected,)
    if isinstance(expected, tuple | list):
        expected = tuple(sorted(full_arn(arn) for arn in expected))
    return Case(
        action,
        expected,
        {} if request is None else request,
        {} if response is None else response,
        resources,
        operation,
        source,
        guide,
    )


def full_arn(short: str) -> str:
    """``dynamodb:table/Music`` -> ``arn:aws:dynamodb:us-east-1:123456789012:table/Music``."""
    if short.startswith("arn:"):
        return short
    service, _, resource = short.partition(":")
    return f"arn:aws:{service}:{REGION}:{ACCOUNT}:{resource}"


def resource(arn: str) -> dict[str, str]:
    return {"ARN": full_arn(arn), "accountId": ACCOUNT}


def iam(resource: str) -> str:
    return f"arn:aws:iam::{ACCOUNT}:{resource}"


CASES = [
    # S3
    case(
        "s3:GetObject",
        "arn:aws:s3:::my-data/reports/2019/report.csv",
        {"bucketName": "my-data", "key": "reports/2019/report.csv", "Host": "x"},
        guide="AmazonS3/latest/userguide/cloudtrail-logging-understanding-s3-entries.html",
    ),
    case(
        "s3:GetObject",
        "arn:aws:s3:::my-data/report.csv",
        {"bucketName": "my-data", "key": "report.csv"},
        resources=[
            {"type": "AWS::S3::Object", "ARN": "arn:aws:s3:::my-data/report.csv"},
            {"type": "AWS::S3::Bucket", "ARN": "arn:aws:s3:::my-data", "accountId": ACCOUNT},
        ],
        operation="HeadObject",
    ),
    case(
        "s3:ListBucket",
        "arn:aws:s3:::my-data",
        {"bucketName": "my-data", "prefix": "reports/", "list-type": "2", "Host": "x"},
        resources=[
            {"type": "AWS::S3::Object", "ARNPrefix": "arn:aws:s3:::my-data/"},
            {"type": "AWS::S3::Bucket", "ARN": "arn:aws:s3:::my-data", "accountId": ACCOUNT},
        ],
        operation="ListObjectsV2",
    ),
    case("s3:CreateBucket", "arn:aws:s3:::new-bucket", {"bucketName": "new-bucket", "Host": "h"}),
    case("s3:ListAllMyBuckets", ANY, {"Host": "s3.amazonaws.com"}, operation="ListBuckets"),
    case(
        "s3:DeleteObject", UNKNOWN, {"bucketName": "b-1", "delete": ""}, operation="DeleteObjects"
    ),
    case(
        "s3:GetObject",
        "arn:aws:s3:::from-bucket/a/b.txt",
        {"bucketName": "to-bucket", "key": "c.txt", "x-amz-copy-source": "from-bucket/a/b.txt"},
        resources=[{"type": "AWS::S3::Object", "ARN": "arn:aws:s3:::to-bucket/c.txt"}],
        operation="CopyObject",
        guide="AmazonS3/latest/API/API_CopyObject.html",
    ),
    case(
        "s3:PutObject",
        "arn:aws:s3:::to-bucket/c.txt",
        {"bucketName": "to-bucket", "key": "c.txt", "x-amz-copy-source": "/from-bucket/a.txt"},
        operation="CopyObject",
    ),
    case(
        "s3:GetObject",
        "s3:accesspoint/reports/object/q1.csv",
        {"bucketName": full_arn("s3:accesspoint/reports"), "key": "q1.csv"},
        guide="AmazonS3/latest/userguide/access-points-policies.html",
    ),
    case(
        "s3:GetObject",
        UNKNOWN,
        {"bucketName": "reports-abcdef0123456789-s3alias", "key": "q1.csv"},
        guide="AmazonS3/latest/userguide/access-points-alias.html",
    ),
    case(
        "s3:GetEncryptionConfiguration",
        "arn:aws:s3:::my-data",
        {"bucketName": "my-data", "encryption": ""},
        operation="GetBucketEncryption",
    ),
    # IAM: the path is not in most requests, and IAM evaluates the ARN with it.
    case("iam:CreateRole", iam("role/app/web"), {"roleName": "web", "path": "/app/"}),
    case("iam:CreateRole", iam("role/web"), {"roleName": "web"}),
    case("iam:GetRole", UNKNOWN, {"roleName": "web"}),
    case(
        "iam:GetRole",
        iam("role/app/web"),
        {"roleName": "web"},
        resources=[{"ARN": iam("role/app/web")}],
    ),
    case("iam:GetPolicy", iam("policy/app/p"), {"policyArn": iam("policy/app/p")}),
    case("iam:CreateUser", iam("user/ops/eve"), {"userName": "eve", "path": "/ops/"}),
    case(
        "iam:SimulatePrincipalPolicy",
        iam("role/app/web"),
        {"policySourceArn": iam("role/app/web"), "actionNames": ["s3:GetObject"]},
    ),
    case(
        "iam:CreateServiceLinkedRole",
        iam("role/aws-service-role/eks.amazonaws.com/AWSServiceRoleForAmazonEKS"),
        {"aWSServiceName": "eks.amazonaws.com"},
        response={
            "role": {
                "arn": iam("role/aws-service-role/eks.amazonaws.com/AWSServiceRoleForAmazonEKS")
            }
        },
    ),
    case(
        "iam:CreateOpenIDConnectProvider",
        iam("oidc-provider/token.actions.githubusercontent.com"),
        {"url": "https://token.actions.githubusercontent.com"},
    ),
    case("iam:ListRoles", ANY, {"maxItems": 10}),
    # STS
    case(
        "sts:AssumeRole",
        "arn:aws:iam::999999999999:role/path/other",
        {"roleArn": "arn:aws:iam::999999999999:role/path/other", "roleSessionName": "s"},
        guide="IAM/latest/UserGuide/cloudtrail-integration.html",
    ),
    case("sts:AssumeRole", UNKNOWN, None),
    # EC2
    case(
        "ec2:TerminateInstances",
        ["ec2:instance/i-05c30218156bcc246", "ec2:instance/i-ebeaf9e2"],
        {
            "instancesSet": {
                "items": [{"instanceId": "i-05c30218156bcc246"}, {"instanceId": "i-ebeaf9e2"}]
            }
        },
        guide="AWSEC2/latest/UserGuide/monitor-with-cloudtrail.html",
    ),
    case("ec2:DescribeInstances", ANY, {"instancesSet": {"items": [{"instanceId": "i-1"}]}}),
    case(
        "ec2:RunInstances",
        [
            "ec2:instance/*",
            "ec2:volume/*",
            "ec2:network-interface/*",
            "ec2:subnet/subnet-0ed352584ab4aa265",
            "ec2:security-group/sg-04cfb7a4712d75b00",
            "ec2:key-pair/my-key",
            f"arn:aws:ec2:{REGION}::image/ami-0aa1d83d0b0985c86",
        ],
        {
            "instancesSet": {
                "items": [{"imageId": "ami-0aa1d83d0b0985c86", "minCount": 1, "keyName": "my-key"}]
            },
            "groupSet": {"items": [{"groupId": "sg-04cfb7a4712d75b00"}]},
            "subnetId": "subnet-0ed352584ab4aa265",
            "instanceType": "t3.micro",
        },
        guide="AWSEC2/latest/UserGuide/ExamplePolicies_EC2.html",
    ),
    case(
        "ec2:RunInstances",
        [
            "ec2:instance/*",
            "ec2:volume/*",
            "ec2:network-interface/*",
            "ec2:subnet/subnet-default1",
            "ec2:security-group/sg-default1",
            f"arn:aws:ec2:{REGION}::image/ami-0aa1d83d0b0985c86",
        ],
        {"instancesSet": {"items": [{"imageId": "ami-0aa1d83d0b0985c86"}]}},
        response={
            "instancesSet": {
                "items": [
                    {
                        "instanceId": "i-new",
                        "subnetId": "subnet-default1",
                        "groupSet": {"items": [{"groupId": "sg-default1"}]},
                    }
                ]
            }
        },
    ),
    case(
        "ec2:RunInstances",
        UNKNOWN,
        {"instancesSet": {"items": [{"imageId": "ami-0aa1d83d0b0985c86"}]}},
    ),
    case(
        "ec2:CreateTags",
        ["ec2:instance/*", "ec2:volume/*"],
        {
            "tagSpecificationSet": {
                "items": [
                    {"resourceType": "instance", "tags": [{"key": "a", "value": "vpc-1"}]},
                    {"resourceType": "volume", "tags": [{"key": "a", "value": "b"}]},
                ]
            }
        },
        operation="RunInstances",
        guide="AWSEC2/latest/UserGuide/supported-iam-actions-tagging.html",
    ),
    case(
        "ec2:CreateTags",
        f"arn:aws:ec2:{REGION}::image/ami-0aa1d83d0b0985c86",
        {
            "resourcesSet": {"items": [{"resourceId": "ami-0aa1d83d0b0985c86"}]},
            "tagSet": {"items": [{"key": "vpc", "value": "vpc-12345678"}]},
        },
    ),
    case(
        "ec2:CreateSubnet",
        ["ec2:subnet/*", "ec2:vpc/vpc-06fe1a64761a0f720"],
        {"vpcId": "vpc-06fe1a64761a0f720", "cidrBlock": "10.0.128.0/24"},
    ),
    case("ec2:CreateVolume", "ec2:volume/*", {"size": "1", "zone": "us-east-1a"}),
    case(
        "ec2:AuthorizeSecurityGroupIngress",
        ["ec2:security-group/sg-04cfb7a4712d75b00", "ec2:security-group-rule/*"],
        {
            "groupId": "sg-04cfb7a4712d75b00",
            "ipPermissions": {"items": [{"groups": {"items": [{"groupId": "sg-other1"}]}}]},
        },
    ),
    case(
        "ec2:CreateNatGateway",
        [
            "ec2:natgateway/*",
            "ec2:subnet/subnet-01ed430875cff578d",
            "ec2:elastic-ip/eipalloc-08a083beb7e83dbc0",
        ],
        {
            "CreateNatGatewayRequest": {
                "AllocationId": "eipalloc-08a083beb7e83dbc0",
                "SubnetId": "subnet-01ed430875cff578d",
                "TagSpecification": {"ResourceType": "natgateway", "Tag": {"Value": "vpc-1"}},
            }
        },
    ),
    case("ec2:CreateKeyPair", "ec2:key-pair/mykeypair", {"keyName": "mykeypair"}),
    case(
        "ec2:DeleteFlowLogs",
        "ec2:vpc-flow-log/fl-064ed3a785e4a37ef",
        {"DeleteFlowLogsRequest": {"FlowLogId": {"tag": 1, "content": "fl-064ed3a785e4a37ef"}}},
    ),
    # DynamoDB
    case("dynamodb:GetItem", "dynamodb:table/Music", {"tableName": "Music", "key": {}}),
    case(
        "dynamodb:GetItem", "dynamodb:table/Music", {"tableName": full_arn("dynamodb:table/Music")}
    ),
    case("dynamodb:CreateTable", "dynamodb:table/Music", {"tableName": "Music"}),
    case(
        "dynamodb:Query",
        ["dynamodb:table/Music", "dynamodb:table/Music/index/ByYear"],
        {"tableName": "Music", "indexName": "ByYear"},
    ),
    case(
        "dynamodb:BatchGetItem",
        ["dynamodb:table/A", "dynamodb:table/B"],
        {"requestItems": [{"tableName": "A", "keys": []}, {"tableName": "B"}]},
        guide="amazondynamodb/latest/developerguide/logging-using-cloudtrail.html",
    ),
    case(
        "dynamodb:GetRecords",
        "dynamodb:table/Music/stream/2021-04-15T04:02:47.428",
        {
            "shardIterator": full_arn("dynamodb:table/Music/stream/2021-04-15T04:02:47.428")
            + "|1|AAAAAAAAAAH7HF3xwDQHBrvk2UBZ1PKh8bX3F"
        },
    ),
    case("dynamodb:ListTables", ANY),
    # SQS, SNS
    case(
        "sqs:SetQueueAttributes",
        f"arn:aws:sqs:{REGION}:444455556666:MyQueue.fifo",
        {"queueUrl": "https://sqs.us-east-1.amazonaws.com/444455556666/MyQueue.fifo"},
        guide="AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-logging-using-cloudtrail.html",
    ),
    case("sqs:CreateQueue", "sqs:MyQueue", {"queueName": "MyQueue"}),
    case("sqs:ListQueues", ANY, {}),
    case("sns:Publish", "sns:alarms", {"topicArn": full_arn("sns:alarms")}),
    case("sns:CreateTopic", "sns:alarms", {"name": "alarms"}, response={}),
    case("sns:ListTagsForResource", "sns:alarms", {"resourceArn": full_arn("sns:alarms")}),
    case(
        "sns:Unsubscribe",
        "sns:alarms",
        {"subscriptionArn": full_arn("sns:alarms:6b0e71bd-7e97-4d97-80ce-4a0994e55286")},
    ),
    # KMS
    case("kms:Encrypt", f"kms:key/{KEY}", {"keyId": KEY}),
    case("kms:Encrypt", f"kms:key/{KEY}", {"keyId": full_arn(f"kms:key/{KEY}")}),
    case("kms:Encrypt", UNKNOWN, {"keyId": "alias/app"}),
    case(
        "kms:Encrypt",
        f"kms:key/{KEY}",
        {"keyId": "alias/app"},
        resources=[resource(f"kms:key/{KEY}")],
    ),
    case("kms:Decrypt", f"kms:key/{KEY}", {}, resources=[resource(f"kms:key/{KEY}")]),
    case(
        "kms:CreateAlias",
        [f"kms:key/{KEY}", "kms:alias/app/x"],
        {"aliasName": "alias/app/x", "targetKeyId": KEY},
        guide="kms/latest/developerguide/ct-createalias.html",
    ),
    case("kms:CreateKey", ANY, {"description": ""}),
    # Secrets Manager: six characters behind the name
    case(
        "secretsmanager:GetSecretValue",
        "secretsmanager:secret:app/db-AbCdEf",
        {"secretId": full_arn("secretsmanager:secret:app/db-AbCdEf")},
    ),
    case(
        "secretsmanager:GetSecretValue",
        "secretsmanager:secret:app/db-??????",
        {"secretId": "app/db"},
        guide="secretsmanager/latest/userguide/auth-and-access_iam-policies.html",
    ),
    case("secretsmanager:CreateSecret", "secretsmanager:secret:app/db-??????", {"name": "app/db"}),
    case("secretsmanager:ListSecrets", ANY, {}),
    # Systems Manager
    case("ssm:GetParameter", "ssm:parameter/app/db", {"name": "/app/db", "withDecryption": True}),
    case("ssm:GetParameter", "ssm:parameter/db", {"name": "db:3"}),
    case("ssm:GetParameters", ["ssm:parameter/a", "ssm:parameter/b/c"], {"names": ["a", "/b/c"]}),
    case(
        "ssm:SendCommand",
        ["ec2:instance/i-0dbc91f429e48eeed", f"arn:aws:ssm:{REGION}::document/AWS-RunShellScript"],
        {"documentName": "AWS-RunShellScript", "instanceIds": ["i-0dbc91f429e48eeed"]},
    ),
    case("ssm:StartSession", "ec2:instance/i-0a1b2c3d", {"target": "i-0a1b2c3d"}),
    case(
        "ssm:ListTagsForResource",
        "ssm:parameter/app/db",
        {"resourceType": "Parameter", "resourceId": "/app/db"},
    ),
    case(
        "ssm:StartAutomationExecution",
        [
            f"arn:aws:ssm:{REGION}::automation-definition/AWS-StopEC2Instance:$DEFAULT",
            "ssm:automation-execution/*",
            f"arn:aws:ssm:{REGION}::document/AWS-StopEC2Instance",
        ],
        {"documentName": "AWS-StopEC2Instance"},
        guide="systems-manager/latest/userguide/automation-setup-iam.html",
    ),
    # Lambda
    case(
        "lambda:CreateFunction",
        "lambda:function:my-fn",
        {"functionName": "my-fn", "role": iam("role/x")},
        operation="CreateFunction20150331",
        guide="lambda/latest/dg/logging-using-cloudtrail.html",
    ),
    case(
        "lambda:InvokeFunction",
        "lambda:function:my-fn",
        {"functionName": full_arn("lambda:function:my-fn"), "invocationType": "Event"},
        operation="Invoke",
    ),
    case(
        "lambda:InvokeFunction",
        "lambda:function:my-fn:live",
        {"functionName": "my-fn", "qualifier": "live"},
        operation="Invoke",
        guide="lambda/latest/dg/lambda-api-permissions-ref.html",
    ),
    case(
        "lambda:GetFunction",
        "arn:aws:lambda:us-east-1:999999999999:function:my-fn",
        {"functionName": "999999999999:function:my-fn"},
        operation="GetFunction20150331v2",
    ),
    case(
        "lambda:TagResource",
        "lambda:function:f",
        {"resource": full_arn("lambda:function:f")},
        operation="TagResource20170331v2",
    ),
    case(
        "lambda:PublishLayerVersion",
        "lambda:layer:deps",
        {"layerName": "deps"},
        operation="PublishLayerVersion20181031",
    ),
    case(
        "lambda:GetLayerVersion", "lambda:layer:deps:3", {"layerName": "deps", "versionNumber": "3"}
    ),
    # CloudWatch, Logs, EventBridge, Scheduler, Pipes
    case(
        "logs:CreateLogGroup", "logs:log-group:/aws/lambda/f:*", {"logGroupName": "/aws/lambda/f"}
    ),
    case(
        "logs:CreateLogStream",
        "logs:log-group:/app:log-stream:*",
        {"logGroupName": "/app", "logStreamName": "s"},
    ),
    case(
        "logs:PutLogEvents",
        "logs:log-group:/app:log-stream:a/b",
        {"logGroupName": "/app", "logStreamName": "a/b"},
    ),
    case(
        "logs:FilterLogEvents",
        "logs:log-group:/app:*",
        {"logGroupIdentifier": full_arn("logs:log-group:/app")},
        guide="AmazonCloudWatch/latest/logs/iam-access-control-overview-cwl.html",
    ),
    case(
        "logs:TagResource", "logs:log-group:/app", {"resourceArn": full_arn("logs:log-group:/app")}
    ),
    case(
        "cloudwatch:PutMetricAlarm",
        "cloudwatch:alarm:High CPU",
        {"alarmName": "High CPU"},
        source="monitoring",
    ),
    case(
        "cloudwatch:DeleteAlarms",
        ["cloudwatch:alarm:a", "cloudwatch:alarm:b"],
        {"alarmNames": ["a", "b"]},
        source="monitoring",
    ),
    case("cloudwatch:DescribeAlarms", "cloudwatch:alarm:*", {}, source="monitoring"),
    case("cloudwatch:PutMetricData", ANY, {"namespace": "App"}, source="monitoring"),
    case("events:PutRule", "events:rule/nightly", {"name": "nightly"}),
    case("events:PutRule", "events:rule/nightly", {"name": "nightly", "eventBusName": "default"}),
    case(
        "events:PutTargets",
        "events:rule/app/nightly",
        {"rule": "nightly", "eventBusName": "app", "targets": []},
    ),
    case(
        "events:PutTargets",
        "events:rule/app/n",
        {"rule": "n", "eventBusName": full_arn("events:event-bus/app")},
    ),
    case("scheduler:CreateSchedule", "scheduler:schedule/default/nightly", {"name": "nightly"}),
    case(
        "scheduler:DeleteSchedule",
        "scheduler:schedule/ops/nightly",
        {"name": "nightly", "groupName": "ops"},
    ),
    case("pipes:CreatePipe", "pipes:pipe/orders", {"name": "orders", "roleArn": iam("role/x")}),
    # Step Functions
    case("states:CreateStateMachine", "states:stateMachine:Orders", {"name": "Orders"}),
    case(
        "states:StartExecution",
        "states:stateMachine:Orders",
        {"stateMachineArn": full_arn("states:stateMachine:Orders"), "name": "run"},
    ),
    case(
        "states:StopExecution",
        "states:execution:Orders:run",
        {"executionArn": full_arn("states:execution:Orders:run")},
    ),
    # Containers
    case("ecs:UpdateService", "ecs:service/prod/web", {"cluster": "prod", "service": "web"}),
    case("ecs:UpdateService", "ecs:service/default/web", {"service": "web"}),
    case(
        "ecs:UpdateService",
        "ecs:service/prod/web",
        {"cluster": full_arn("ecs:cluster/prod"), "service": "web"},
    ),
    case(
        "ecs:UpdateService",
        "ecs:service/prod/web",
        {"cluster": "prod", "service": full_arn("ecs:service/prod/web")},
    ),
    case(
        "ecs:RunTask", "ecs:task-definition/job:3", {"taskDefinition": "job:3", "cluster": "prod"}
    ),
    case("ecs:RunTask", UNKNOWN, {"taskDefinition": "job", "cluster": "prod"}),
    case(
        "ecs:RunTask",
        "ecs:task-definition/job:7",
        {"taskDefinition": "job"},
        response={"tasks": [{"taskDefinitionArn": full_arn("ecs:task-definition/job:7")}]},
    ),
    case("ecs:RegisterTaskDefinition", "ecs:task-definition/job:*", {"family": "job"}),
    case(
        "ecr:BatchGetImage",
        "ecr:repository/team/app",
        {"repositoryName": "team/app", "registryId": ACCOUNT},
    ),
    case(
        "ecr:BatchGetImage",
        "arn:aws:ecr:us-east-1:999999999999:repository/app",
        {"repositoryName": "app", "registryId": "999999999999"},
    ),
    case("ecr:GetAuthorizationToken", ANY),
    case("eks:DescribeCluster", "eks:cluster/prod", {"name": "prod"}),
    case("eks:CreateNodegroup", "eks:cluster/prod", {"clusterName": "prod", "nodegroupName": "a"}),
    case("eks:DescribeNodegroup", "eks:nodegroup/prod/a/*", {"name": "prod", "nodegroupName": "a"}),
    case("eks:UpdateClusterConfig", "eks:cluster/prod", {"name": "prod"}),
    # Databases
    case(
        "rds:CreateDBInstance",
        [
            "rds:db:orders",
            "rds:pg:default.mysql8.0",
            "rds:og:default:mysql-8-0",
            "rds:subgrp:default",
        ],
        {"dBInstanceIdentifier": "orders", "engine": "mysql"},
        response={
            "dBParameterGroups": [{"dBParameterGroupName": "default.mysql8.0"}],
            "optionGroupMemberships": [{"optionGroupName": "default:mysql-8-0"}],
            "dBSubnetGroup": {"dBSubnetGroupName": "default"},
        },
        guide="AmazonRDS/latest/UserGuide/security_iam_id-based-policy-examples.html",
    ),
    case(
        "rds:DeleteDBInstance",
        "rds:db:orders",
        {"dBInstanceIdentifier": "orders"},
        guide="AmazonRDS/latest/UserGuide/logging-using-cloudtrail.html",
    ),
    case("rds:DescribeDBInstances", "rds:db:*", {"filters": []}),
    case("rds:DescribeDBInstances", "rds:db:orders", {"dBInstanceIdentifier": "orders"}),
    case(
        "rds:CreateDBSnapshot",
        ["rds:db:orders", "rds:snapshot:s1"],
        {"dBInstanceIdentifier": "orders", "dBSnapshotIdentifier": "s1"},
    ),
    case(
        "rds:CopyDBSnapshot",
        ["rds:snapshot:a", "rds:snapshot:b"],
        {"sourceDBSnapshotIdentifier": "a", "targetDBSnapshotIdentifier": "b"},
    ),
    case("rds:AddTagsToResource", "rds:db:orders", {"resourceName": full_arn("rds:db:orders")}),
    case(
        "elasticache:DeleteReplicationGroup",
        "elasticache:replicationgroup:sessions",
        {"replicationGroupId": "sessions"},
    ),
    case(
        "elasticache:DescribeCacheClusters", "elasticache:cluster:*", {"showCacheNodeInfo": False}
    ),
    case("redshift:CreateCluster", "redshift:cluster:dwh", {"clusterIdentifier": "dwh"}),
    case(
        "redshift:GetClusterCredentials",
        ["redshift:dbuser:dwh/ana", "redshift:dbname:dwh/dev"],
        {"clusterIdentifier": "dwh", "dbUser": "ana", "dbName": "dev"},
    ),
    case("es:CreateDomain", "es:domain/logs", {"domainName": "logs"}),
    # Load balancing, scaling, stacks
    case(
        "elasticloadbalancing:DeleteLoadBalancer",
        "elasticloadbalancing:loadbalancer/web",
        {"loadBalancerName": "web"},
    ),
    case(
        "elasticloadbalancing:DeleteLoadBalancer",
        "elasticloadbalancing:loadbalancer/app/web/50dc6c495c0c9188",
        {"loadBalancerArn": full_arn("elasticloadbalancing:loadbalancer/app/web/50dc6c495c0c9188")},
    ),
    case(
        "elasticloadbalancing:CreateLoadBalancer",
        "elasticloadbalancing:loadbalancer/net/web/*",
        {"name": "web", "type": "network"},
    ),
    case(
        "elasticloadbalancing:CreateLoadBalancer",
        "elasticloadbalancing:loadbalancer/app/web/*",
        {"name": "web"},
    ),
    case(
        "elasticloadbalancing:CreateTargetGroup",
        "elasticloadbalancing:targetgroup/t/*",
        {"name": "t"},
    ),
    case(
        "elasticloadbalancing:RegisterTargets",
        "elasticloadbalancing:targetgroup/t/73e2d6bc24d8a067",
        {"targetGroupArn": full_arn("elasticloadbalancing:targetgroup/t/73e2d6bc24d8a067")},
    ),
    case("elasticloadbalancing:DescribeLoadBalancers", ANY),
    case(
        "autoscaling:SetDesiredCapacity",
        "autoscaling:autoScalingGroup:*:autoScalingGroupName/web",
        {"autoScalingGroupName": "web"},
    ),
    case("cloudformation:CreateStack", "cloudformation:stack/app/*", {"stackName": "app"}),
    case(
        "cloudformation:UpdateStack",
        "cloudformation:stack/app/a38e6a60-b397-11e3-b0fc-08002755629e",
        {"stackName": full_arn("cloudformation:stack/app/a38e6a60-b397-11e3-b0fc-08002755629e")},
    ),
    case("cloudformation:DescribeStacks", "cloudformation:stack/*/*", {}),
    # Edge and API
    case(
        "cloudfront:GetDistribution",
        f"arn:aws:cloudfront::{ACCOUNT}:distribution/EDFDVBD6EXAMPLE",
        {"id": "EDFDVBD6EXAMPLE"},
        operation="GetDistribution2020_05_31",
    ),
    case(
        "cloudfront:CreateInvalidation",
        f"arn:aws:cloudfront::{ACCOUNT}:distribution/EDFDVBD6EXAMPLE",
        {"distributionId": "EDFDVBD6EXAMPLE"},
        operation="CreateInvalidation2020_05_31",
    ),
    case(
        "route53:ChangeResourceRecordSets",
        "arn:aws:route53:::hostedzone/Z1PA6795UKMFR9",
        {"hostedZoneId": "/hostedzone/Z1PA6795UKMFR9"},
    ),
    case("route53:CreateHostedZone", ANY, {"name": "example.com"}),
    case(
        "apigateway:GET",
        f"arn:aws:apigateway:{REGION}::/restapis/a1b2c3/stages/prod",
        {"restApiId": "a1b2c3", "stageName": "prod"},
        operation="GetStage",
    ),
    case(
        "apigateway:POST",
        f"arn:aws:apigateway:{REGION}::/restapis",
        {"createRestApiInput": {"name": "x"}},
        operation="CreateRestApi",
    ),
    case(
        "apigateway:GET",
        f"arn:aws:apigateway:{REGION}::/apis/abc",
        {"apiId": "abc"},
        operation="GetApi",
    ),
    case(
        "wafv2:GetWebACL",
        "wafv2:regional/webacl/web/a1b2c3",
        {"name": "web", "scope": "REGIONAL", "id": "a1b2c3"},
    ),
    case(
        "acm:DescribeCertificate",
        f"acm:certificate/{KEY}",
        {"certificateArn": full_arn(f"acm:certificate/{KEY}")},
    ),
    # Streams and analytics
    case("kinesis:DescribeStream", "kinesis:stream/clicks", {"streamName": "clicks"}),
    case(
        "kinesis:DescribeStreamSummary",
        "kinesis:stream/clicks",
        {"streamARN": full_arn("kinesis:stream/clicks")},
    ),
    case(
        "firehose:CreateDeliveryStream",
        "firehose:deliverystream/logs",
        {"deliveryStreamName": "logs"},
    ),
    case(
        "glue:GetTable",
        ["glue:catalog", "glue:database/sales", "glue:table/sales/orders"],
        {"databaseName": "sales", "name": "orders"},
    ),
    case(
        "glue:GetTable",
        [
            f"arn:aws:glue:us-east-1:999999999999:{r}"
            for r in ("catalog", "database/s", "table/s/o")
        ],
        {"catalogId": "999999999999", "databaseName": "s", "name": "o"},
    ),
    case("glue:StartJobRun", "glue:job/etl", {"jobName": "etl"}),
    case(
        "athena:StartQueryExecution",
        "athena:workgroup/analysts",
        {"workGroup": "analysts", "queryString": "x"},
    ),
    case("athena:StartQueryExecution", "athena:workgroup/primary", {"queryString": "x"}),
    case("athena:GetQueryResults", UNKNOWN, {"queryExecutionId": "a-b"}),
    case(
        "kafka:DescribeCluster",
        "kafka:cluster/c/abcd-1",
        {"clusterArn": full_arn("kafka:cluster/c/abcd-1")},
    ),
    case(
        "elasticmapreduce:AddJobFlowSteps",
        "elasticmapreduce:cluster/j-1ABC",
        {"jobFlowId": "j-1ABC"},
    ),
    # Developer tools
    case("codebuild:BatchGetBuilds", "codebuild:project/app", {"ids": [f"app:{KEY}"]}),
    case("codebuild:StartBuild", "codebuild:project/app", {"projectName": "app"}),
    case("codepipeline:StartPipelineExecution", "codepipeline:app", {"name": "app"}),
    case(
        "codecommit:GetBranch",
        "codecommit:MyDemoRepo",
        {"repositoryName": "MyDemoRepo", "branchName": "main"},
    ),
    case(
        "codedeploy:CreateDeployment",
        "codedeploy:deploymentgroup:app/blue",
        {"applicationName": "app", "deploymentGroupName": "blue"},
    ),
    case(
        "amplify:GetBranch",
        "amplify:apps/d1/branches/feat/x",
        {"appId": "d1", "branchName": "feat/x"},
    ),
    case("appsync:GetGraphqlApi", "appsync:apis/abc", {"apiId": "abc"}),
    # Identity, organization, security
    case(
        "cognito-idp:AdminCreateUser",
        "cognito-idp:userpool/us-east-1_AbC",
        {"userPoolId": "us-east-1_AbC", "username": "u"},
    ),
    case(
        "cognito-identity:DescribeIdentityPool",
        "cognito-identity:identitypool/us-east-1:1cf667a2",
        {"identityPoolId": "us-east-1:1cf667a2"},
    ),
    case("organizations:ListAccounts", ANY),
    case("organizations:DescribeAccount", UNKNOWN, {"accountId": ACCOUNT}),
    case(
        "sso:CreatePermissionSet",
        ["arn:aws:sso:::instance/ssoins-1", "arn:aws:sso:::permissionSet/ssoins-1/*"],
        {"instanceArn": "arn:aws:sso:::instance/ssoins-1", "name": "p"},
    ),
    case("cloudtrail:StopLogging", "cloudtrail:trail/main", {"name": "main"}),
    case(
        "cloudtrail:StopLogging",
        "cloudtrail:trail/main",
        {"name": full_arn("cloudtrail:trail/main")},
    ),
    case("guardduty:UpdateDetector", "guardduty:detector/12abc34d", {"detectorId": "12abc34d"}),
    case(
        "backup:StartBackupJob",
        "backup:backup-vault:main",
        {"backupVaultName": "main", "resourceArn": full_arn("ec2:volume/vol-1")},
    ),
    case(
        "access-analyzer:GetFinding",
        "access-analyzer:analyzer/a",
        {"analyzerArn": full_arn("access-analyzer:analyzer/a"), "id": "x"},
    ),
    case(
        "ram:UpdateResourceShare",
        "ram:resource-share/abc",
        {"resourceShareArn": full_arn("ram:resource-share/abc")},
    ),
    # Storage, compute, machine learning, others
    case(
        "elasticfilesystem:DescribeMountTargets",
        "elasticfilesystem:file-system/fs-0123",
        {"fileSystemId": "fs-0123"},
    ),
    case(
        "elasticfilesystem:DeleteFileSystem",
        "elasticfilesystem:file-system/fs-0123",
        {"fileSystemId": "fs-0123"},
    ),
    case(
        "batch:SubmitJob",
        ["batch:job/*", "batch:job-queue/q", "batch:job-definition/d:1"],
        {
            "jobName": "j",
            "jobQueue": full_arn("batch:job-queue/q"),
            "jobDefinition": full_arn("batch:job-definition/d:1"),
        },
    ),
    case("sagemaker:CreateTrainingJob", "sagemaker:training-job/t1", {"trainingJobName": "t1"}),
    case(
        "sagemaker:InvokeEndpoint",
        "sagemaker:endpoint/e1",
        {"endpointName": "e1"},
        source="runtime.sagemaker",
    ),
    case(
        "bedrock:InvokeModel",
        f"arn:aws:bedrock:{REGION}::foundation-model/anthropic.claude-3-sonnet-20240229-v1:0",
        {"modelId": "anthropic.claude-3-sonnet-20240229-v1:0"},
    ),
    case(
        "bedrock:InvokeModel",
        UNKNOWN,
        {"modelId": "us.anthropic.claude-3-sonnet-20240229-v1:0"},
        operation="Converse",
    ),
    case(
        "servicecatalog:DescribePortfolio",
        "arn:aws:catalog:us-east-1:123456789012:portfolio/port-1",
        {"id": "port-1"},
    ),
    case("transfer:DescribeServer", "transfer:server/s-1", {"serverId": "s-1"}),
    case(
        "dms:DescribeTableStatistics",
        "dms:task:ABC",
        {"replicationTaskArn": full_arn("dms:task:ABC")},
    ),
    case(
        "workspaces:RebootWorkspaces",
        "workspaces:workspace/ws-1",
        {"rebootWorkspaceRequests": [{"workspaceId": "ws-1"}]},
    ),
    case(
        "iot:AttachPolicy",
        "iot:cert/abc",
        {"policyName": "p", "target": full_arn("iot:cert/abc")},
    ),
    case("iot:CreateThing", "iot:thing/lamp", {"thingName": "lamp"}),
    case("config:PutEvaluations", ANY, {}),
    # Two keys, of which resources[] does not say which is which.
    *(
        case(
            f"kms:ReEncrypt{way}",
            expected,
            request,
            resources=[resource(f"kms:key/{KEY}"), resource(f"kms:key/{OTHER_KEY}")],
            operation="ReEncrypt",
            guide="kms/latest/developerguide/ct-reencrypt.html",
        )
        for request, source, destination in [
            ({"sourceKeyId": KEY, "destinationKeyId": OTHER_KEY}, KEY, OTHER_KEY),
            (
                {
                    "sourceKeyId": full_arn(f"kms:key/{KEY}"),
                    "destinationKeyId": full_arn(f"kms:key/{OTHER_KEY}"),
                },
                KEY,
                OTHER_KEY,
            ),
            ({"destinationKeyId": OTHER_KEY}, KEY, OTHER_KEY),
            ({"destinationKeyId": full_arn(f"kms:key/{OTHER_KEY}")}, KEY, OTHER_KEY),
            ({"sourceKeyId": KEY, "destinationKeyId": "alias/app"}, KEY, OTHER_KEY),
            ({"sourceKeyId": KEY, "destinationKeyId": KEY}, KEY, KEY),
            ({"destinationKeyId": "alias/app"}, "", ""),
            ({}, "", ""),
        ]
        for way, expected in [
            ("From", f"kms:key/{source}" if source else UNKNOWN),
            ("To", f"kms:key/{destination}" if destination else UNKNOWN),
        ]
    ),
    *(
        case(
            action,
            f"arn:aws:s3:::{expected}",
            {"bucketName": "to-bucket", "key": "c.txt", "x-amz-copy-source": "from-bucket/a.txt"},
            resources=[
                {"type": "AWS::S3::Object", "ARN": "arn:aws:s3:::from-bucket/a.txt"},
                {"type": "AWS::S3::Object", "ARN": "arn:aws:s3:::to-bucket/c.txt"},
                {"type": "AWS::S3::Bucket", "ARN": "arn:aws:s3:::to-bucket"},
            ],
            operation=operation,
            guide=f"AmazonS3/latest/API/API_{operation}.html",
        )
        for operation, action, expected in [
            ("CopyObject", "s3:GetObject", "from-bucket/a.txt"),
            ("CopyObject", "s3:PutObject", "to-bucket/c.txt"),
            ("CopyObject", "s3:PutObjectAcl", "to-bucket/c.txt"),
            ("CopyObject", "s3:PutObjectTagging", "to-bucket/c.txt"),
            ("CopyObject", "s3:PutObjectRetention", "to-bucket/c.txt"),
            ("CopyObject", "s3:PutObjectLegalHold", "to-bucket/c.txt"),
            ("UploadPartCopy", "s3:GetObject", "from-bucket/a.txt"),
            ("UploadPartCopy", "s3:PutObject", "to-bucket/c.txt"),
        ]
    ),
    case(
        "s3:PutObject",
        "s3:accesspoint/reports/object/c.txt",
        {"bucketName": full_arn("s3:accesspoint/reports"), "key": "c.txt"},
        operation="CopyObject",
    ),
    # Names that look like ids
    case(
        "ec2:RunInstances",
        [
            "ec2:instance/*",
            "ec2:volume/*",
            "ec2:network-interface/*",
            "ec2:subnet/subnet-0ed352584ab4aa265",
            "ec2:security-group/sg-04cfb7a4712d75b00",
            "ec2:key-pair/ami-key",
            f"arn:aws:ec2:{REGION}::image/ami-0aa1d83d0b0985c86",
        ],
        {
            "instancesSet": {
                "items": [{"imageId": "ami-0aa1d83d0b0985c86", "keyName": "ami-key"}],
            },
            "groupSet": {"items": [{"groupId": "sg-04cfb7a4712d75b00"}]},
            "subnetId": "subnet-0ed352584ab4aa265",
            "launchTemplate": {"launchTemplateName": "lt-production"},
        },
    ),
    case(
        "ec2:DeleteLaunchTemplate",
        UNKNOWN,
        {"DeleteLaunchTemplateRequest": {"LaunchTemplateName": "lt-production"}},
    ),
    case("ec2:DeleteLaunchTemplate", UNKNOWN, {"launchTemplateName": "lt-0123456789abcdef0"}),
    case(
        "ec2:DeleteLaunchTemplate",
        "ec2:launch-template/lt-0123456789abcdef0",
        {"DeleteLaunchTemplateRequest": {"LaunchTemplateId": "lt-0123456789abcdef0"}},
    ),
    case("ec2:TerminateInstances", UNKNOWN, {"instancesSet": {"items": [{"instanceId": "i-1"}]}}),
    case("ec2:CreatePlacementGroup", "ec2:placement-group/hpc", {"groupName": "hpc"}),
    # An index of a table that is named by its ARN
    *(
        case(
            f"dynamodb:{operation}",
            [
                "arn:aws:dynamodb:eu-west-1:999999999999:table/Music",
                "arn:aws:dynamodb:eu-west-1:999999999999:table/Music/index/ByYear",
            ],
            {
                "tableName": "arn:aws:dynamodb:eu-west-1:999999999999:table/Music",
                "indexName": "ByYear",
            },
            resources=[
                {
                    "type": "AWS::DynamoDB::Table",
                    "ARN": "arn:aws:dynamodb:eu-west-1:999999999999:table/Music",
                }
            ],
        )
        for operation in ("Query", "Scan", "DescribeContributorInsights")
    ),
    # Types of which a parameter names one
    case(
        "states:DescribeExecution",
        "states:execution:orders:1",
        {"executionArn": full_arn("states:execution:orders:1")},
    ),
    case("states:DescribeExecution", UNKNOWN, {"executionArn": full_arn("states:activity:a")}),
    case(
        "states:ListExecutions",
        "states:stateMachine:orders",
        {"stateMachineArn": full_arn("states:stateMachine:orders")},
    ),
    *(
        case(f"elasticloadbalancing:{operation}", arn, {parameter: full_arn(arn)})
        for operation, parameter, arn in [
            (
                "DeleteListener",
                "listenerArn",
                "elasticloadbalancing:listener/app/web/50dc6c495c0c9188/f2f7dc8efc522ab2",
            ),
            (
                "ModifyListener",
                "listenerArn",
                "elasticloadbalancing:listener/net/web/50dc6c495c0c9188/f2f7dc8efc522ab2",
            ),
            (
                "DeleteRule",
                "ruleArn",
                "elasticloadbalancing:listener-rule/app/web/50dc6c495c0c9188/f2f7dc8efc522ab2/"
                "9683b2d02a6cabee",
            ),
        ]
    ),
    *(
        case(f"dynamodb:{operation}", "dynamodb:table/Music", {"resourceArn": arn})
        for operation in ("UntagResource", "GetResourcePolicy", "PutResourcePolicy")
        for arn in [full_arn("dynamodb:table/Music")]
    ),
    case(
        "kinesis:GetResourcePolicy",
        "kinesis:stream/s",
        {"resourceARN": full_arn("kinesis:stream/s")},
    ),
    case(
        "athena:UntagResource",
        "athena:workgroup/w",
        {"resourceARN": full_arn("athena:workgroup/w")},
    ),
    case(
        "ssm:DescribeInstancePatches",
        "ec2:instance/i-0dbc91f429e48eeed",
        {"instanceId": "i-0dbc91f429e48eeed"},
    ),
    case(
        "glue:GetSchema",
        "glue:schema/r/s",
        {"schemaId": {"schemaArn": full_arn("glue:schema/r/s")}},
    ),
    case(
        "network-firewall:DeleteRuleGroup",
        "network-firewall:stateful-rulegroup/r",
        {"ruleGroupArn": full_arn("network-firewall:stateful-rulegroup/r")},
    ),
    case(
        "arc-zonal-shift:StartZonalShift",
        "elasticloadbalancing:loadbalancer/app/web/50dc6c495c0c9188",
        {
            "resourceIdentifier": full_arn(
                "elasticloadbalancing:loadbalancer/app/web/50dc6c495c0c9188"
            )
        },
    ),
    case("rds:FailoverGlobalCluster", UNKNOWN, {"globalClusterIdentifier": "world"}),
    # Lists and defaults
    case("ecs:ListTasks", "ecs:container-instance/web/*", {"cluster": "web"}),
    case("ecs:ListTasks", "ecs:container-instance/web/*", {"cluster": full_arn("ecs:cluster/web")}),
    case("ecs:ListTasks", "ecs:container-instance/default/*", {}),
    case(
        "ecs:ListTasks",
        "ecs:container-instance/web/abc",
        {"cluster": "web", "containerInstance": "abc"},
    ),
    case("glue:GetConnections", ["glue:catalog", "glue:connection/*"], {}),
    case(
        "glue:GetConnections",
        [f"arn:aws:glue:{REGION}:999999999999:{n}" for n in ("catalog", "connection/*")],
        {"catalogId": "999999999999"},
    ),
    *(
        case(
            "events:PutEvents",
            expected,
            {
                "entries": [
                    {"source": "a", **({"eventBusName": bus} if bus else {})} for bus in buses
                ]
            },
        )
        for buses, expected in [
            ([""], ["events:event-bus/default"]),
            (["orders"], ["events:event-bus/orders"]),
            (["orders", ""], ["events:event-bus/default", "events:event-bus/orders"]),
            (
                ["arn:aws:events:us-east-1:999999999999:event-bus/x", ""],
                [
                    "arn:aws:events:us-east-1:999999999999:event-bus/x",
                    "events:event-bus/default",
                ],
            ),
        ]
    ),
    case("securityhub:BatchImportFindings", UNKNOWN, {"findings": []}),
]


def found(example: Case, *, partition: str = "aws", region: str = REGION) -> Resources:
    prefix, _, name = example.action.partition(":")
    plan = load_resources().plan(
        f"{example.source or prefix}.amazonaws.com",
        example.operation or name,
        (example.action,),
    )
    return plan.arns(
        example.action,
        # As the reader does it: only the fields the plan asks for.
        only(example.request, plan.request_fields),
        only(example.response, plan.response_fields),
        example.resources,
        partition=partition,
        region=region,
        account_id=ACCOUNT,
    )


PARTITIONS = [
    ("dynamodb:GetItem", {"tableName": "Music"}, "arn:{p}:dynamodb:{r}:{a}:table/Music"),
    ("s3:GetObject", {"bucketName": "b-1", "key": "k"}, "arn:{p}:s3:::b-1/k"),
    ("iam:CreateRole", {"roleName": "web"}, "arn:{p}:iam::{a}:role/web"),
    ("ec2:CreateVolume", {"size": "1"}, "arn:{p}:ec2:{r}:{a}:volume/*"),
]


@pytest.mark.parametrize(("action", "request_", "arn"), PARTITIONS, ids=[p[0] for p in PARTITIONS])
@pytest.mark.parametrize(
    ("partition", "region"),
    [("aws", "eu-west-1"), ("aws-cn", "cn-north-1"), ("aws-us-gov", "us-gov-west-1")],
)
def test_partition_region_and_account_come_from_the_event(
    action: str, request_: dict[str, str], arn: str, partition: str, region: str
) -> None:
    example = Case(action, (), request_)
    expected = arn.format(p=partition, r=region, a=ACCOUNT)
    assert found(example, partition=partition, region=region) == (expected,)


BAD_NAMES = [
    "a*",
    "a?",
    "${aws:username}",
    'a"b',
    "a'b",
    "a\nb",
    "a\\b",
    "ä",
    "x" * 2000,
    "a\u0000",
]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_name_that_would_widen_or_break_a_policy_is_unknown(name: str) -> None:
    assert found(Case("s3:GetObject", (), {"bucketName": "b-1", "key": name})) is UNKNOWN
    assert found(Case("dynamodb:GetItem", (), {"tableName": name})) is UNKNOWN
    assert found(Case("sns:Publish", (), {"topicArn": full_arn(f"sns:{name}")})) is UNKNOWN


def test_one_name_that_cannot_be_used_makes_the_whole_unknown() -> None:
    assert found(Case("ssm:GetParameters", (), {"names": ["a", "b*"]})) is UNKNOWN


def test_an_arn_in_resources_counts_only_for_its_type() -> None:
    bucket = [{"ARN": "arn:aws:s3:::b-1"}]
    assert found(Case("s3:ListBucket", (), {}, resources=bucket)) == ("arn:aws:s3:::b-1",)
    assert found(Case("s3:GetObject", (), {}, resources=bucket)) is UNKNOWN


def test_an_arn_of_another_account_is_kept_as_it_is() -> None:
    arn = "arn:aws:dynamodb:eu-west-1:999999999999:table/Music"
    assert found(Case("dynamodb:GetItem", (), {"tableName": arn})) == (arn,)


def test_an_action_the_plan_was_not_made_for_is_unknown() -> None:
    plan = load_resources().plan("s3.amazonaws.com", "GetObject", ("s3:GetObject",))
    arguments: dict[str, Any] = {"partition": "aws", "region": REGION, "account_id": ACCOUNT}
    assert plan.arns("s3:PutObject", {}, {}, (), **arguments) is UNKNOWN


def test_an_action_without_resources_needs_nothing_of_the_event() -> None:
    plan = load_resources().plan("kms.amazonaws.com", "CreateKey", ("kms:CreateKey",))
    assert (plan.request_fields, plan.response_fields, plan.uses_resources) == ((), (), False)


def every_recipe() -> Iterator[tuple[str, str, str, str, RecipeRow]]:
    """Yield every row of the data file: prefix, operation, action, type, recipe."""
    content = gzip.decompress((DATA / "resources.json.gz").read_bytes())
    for prefix, text in json.loads(content)["services"].items():
        row = json.loads(text)
        for operation, actions in row["operations"].items():
            for action, types in actions.items():
                for type_name, recipes in types.items():
                    for recipe in recipes:
                        yield prefix, operation, action, type_name, recipe
        for type_name, recipes in row["any_operation"].items():
            for recipe in recipes:
                yield prefix, "", "", type_name, recipe


def test_every_action_type_and_placeholder_of_the_table_is_one_of_the_catalogue() -> None:
    catalogue, types = load_catalogue(), load_resource_types()
    for prefix, operation, action, type_name, recipe in every_recipe():
        where = f"{operation} ({prefix}:{action}) {type_name}"
        if action:
            assert catalogue.exists(f"{prefix}:{action}"), where
            known = {use.name for use in types.types_of(f"{prefix}:{action}")}
            assert type_name == "*" or type_name in known, where
        formats = types.arn_formats(prefix)
        assert type_name == "*" or type_name in formats, where
        assert set(recipe.get("types", ())) <= set(formats), where
        texts = [recipe["format"]] if "format" in recipe else formats.get(type_name, ())
        assert all(text.startswith(("arn:${Partition}:", "${")) for text in texts), where
        names = {name for text in texts for name in PLACEHOLDER.findall(text)}
        used = {*recipe.get("fill", {}), *recipe.get("text", {}), *recipe.get("default", {})}
        assert used <= names, where


def test_only_an_id_the_service_chooses_is_written_as_a_wildcard() -> None:
    for prefix, operation, action, type_name, recipe in every_recipe():
        where = f"{operation} ({prefix}:{action}) {type_name}"
        assert set(recipe.get("text", {}).values()) <= {"*"}, where
        assert not re.search(r"[*?]", "".join(recipe.get("default", {}).values())), where
        ending = re.search(r"[^$}]*$", recipe.get("format", ""))
        assert ending is None or ending[0] in WILDCARD_ENDINGS or "*" not in ending[0], where


# Whole texts of AWS: its log groups and secrets are written so (see resource_parameters.json).
WILDCARD_ENDINGS = {":*", ":log-stream:*", "-??????"}


def test_every_row_kept_by_hand_cites_its_source() -> None:
    kept = json.loads((DATA / "resource_parameters.json").read_text(encoding="utf-8"))
    for name, rows in kept.items():
        for row in rows if isinstance(rows, list) else ():
            assert "https://" in row["source"], (name, row)


ANY_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=True)
    | st.text(max_size=30)
    | st.sampled_from(["*", "arn:aws:s3:::*", "arn:aws:iam::1:role/*", "${aws:x}", "i-1", "x\ny"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["items", "item", "content", "ARN", "arn", "name", "key", "member"])
            | st.text(max_size=5),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_no_shape_of_an_event_raises_or_puts_a_wildcard_of_its_own_into_an_arn(
    data: st.DataObject,
) -> None:
    example = data.draw(st.sampled_from(CASES))
    prefix, _, name = example.action.partition(":")
    plan = load_resources().plan(
        f"{example.source or prefix}.amazonaws.com", example.operation or name, (example.action,)
    )
    fields = data.draw(st.permutations(plan.request_fields or ("x",)))[:3]
    request = {field: data.draw(ANY_JSON) for field in (*fields, *example.request)}
    response = {field: data.draw(ANY_JSON) for field in plan.response_fields[:3]}
    arns = plan.arns(
        example.action,
        data.draw(
            st.sampled_from([request, {**example.request, **dict(list(request.items())[:1])}])
        ),
        response,
        data.draw(ANY_JSON),  # type: ignore[arg-type]
        partition="aws",
        region=REGION,
        account_id=ACCOUNT,
    )
    if isinstance(arns, tuple):
        assert arns and list(arns) == sorted(set(arns))
        for arn in arns:
            assert re.fullmatch(r"[ -~]+", arn)
            assert not re.search(r"[\"']|\$\{", arn)
            rest = re.sub(r"-\?{6}$|(?<=[:/])\*(?=$|[:/])", "", arn)
            assert not re.search(r"[*?]", rest), arn


def test_a_very_deep_and_a_very_wide_event_are_bounded() -> None:
    deep: Any = "x"
    for _ in range(900):
        deep = [{"items": deep}]
    assert found(Case("ec2:TerminateInstances", (), {"instancesSet": deep})) is UNKNOWN
    wide = {"items": [{"instanceId": f"i-{i:08x}"} for i in range(100_000)]}
    arns = found(Case("ec2:TerminateInstances", (), {"instancesSet": wide}))
    assert isinstance(arns, Special) or len(arns) <= 1001


REAL = Path(__file__).parents[4] / "shared/cloudtrail"


def test_most_real_calls_on_a_resource_say_which(capsys: pytest.CaptureFixture[str]) -> None:
    if not REAL.is_dir():
        pytest.skip(f"{REAL} is not here: the real records are not part of this repository")
    counts: Counter[str] = Counter()
    unknown: Counter[str] = Counter()
    operations, table = load_operations(), load_resources()
    plans: dict[tuple[str, str, tuple[str, ...]], ResourcePlan] = {}
    for record in real_records():
        event_source, event_name = str(record["eventSource"]), str(record["eventName"])
        mapped = operations.lookup(event_source, event_name)
        if mapped is None:
            continue
        request = record.get("requestParameters")
        actions = mapped.for_request(request if isinstance(request, dict) else {})
        key = event_source, event_name, actions
        if key not in plans:
            plans[key] = table.plan(*key)
        plan = plans[key]
        for action in actions:
            arns = plan.arns(
                action,
                only(request, plan.request_fields),
                only(record.get("responseElements"), plan.response_fields),
                record.get("resources") or (),
                partition="aws",
                region=str(record.get("awsRegion")),
                account_id=str(record.get("recipientAccountId")),
            )
            if isinstance(arns, tuple):
                counts["found"] += 1
            elif arns is ANY:
                counts["takes none"] += 1
            else:
                reason = "no request parameters" if not request else "not in the event"
                if action.startswith("iam:") and request:
                    reason = "the name without its path"
                counts[f"unknown: {reason}"] += 1
                unknown[f"{action} ({reason})"] += 1
    with capsys.disabled():
        share = counts["found"] / (counts.total() - counts["takes none"])
        print(f"\nresources of real calls: {dict(counts)}, found {share:.1%} of those with one")
        for line, count in unknown.most_common():
            print(f"  {count:4} {line}")
    assert share >= 0.80
    named = counts["found"] + counts["unknown: not in the event"]
    assert counts["found"] / named >= 0.95


def real_records() -> Iterator[dict[str, Any]]:
    for path in sorted(REAL.rglob("*.json")):
        text = path.read_text(encoding="utf-8")
        try:
            content = json.loads(text)
        except json.JSONDecodeError:
            content = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
        if isinstance(content, dict):
            content = content.get("Records", [content])
        for record in content:
            if record.get("eventType", "AwsApiCall") == "AwsApiCall" and "eventName" in record:
                yield record


def only(parameters: Any, fields: tuple[str, ...]) -> Any:
    if not isinstance(parameters, dict):
        return {}
    return {name: value for name, value in parameters.items() if name in fields}


@pytest.mark.parametrize(
    "example", CASES, ids=[f"{i}-{c.operation or ''}-{c.action}" for i, c in enumerate(CASES)]
)
def test_known_answers(example: Case) -> None:
    assert load_catalogue().exists(example.action)
    assert found(example) == example.expected


def test_known_answers_cover_the_services_people_use_most() -> None:
    assert len({case.action.partition(":")[0] for case in CASES}) >= 60
