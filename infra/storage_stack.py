"""STORE: the tables, the evidence bucket, the one key: whatever must outlive a deployment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import aws_cdk as cdk
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3

from infra.setup import tell_doctor

if TYPE_CHECKING:
    from constructs import Construct

# Indexes, as pare.aws.findings_table names them.
BY_ANALYZER = "by_analyzer"
BY_DUE = "by_due"


class StorageStack(cdk.Stack):
    """Stateful resources. Their logical ids are pinned by a test."""

    def __init__(self, scope: Construct, construct_id: str, **kwargs: Any) -> None:
        super().__init__(
            scope,
            construct_id,
            description="Pare: tables, evidence, key",
            termination_protection=True,
            **kwargs,
        )
        tell_doctor(self)
        self.key = kms.Key(
            self,
            "Key",
            description="Pare: tables, evidence and topics",
            enable_key_rotation=True,
            removal_policy=cdk.RemovalPolicy.RETAIN,
        )
        self._let_alarms_publish()
        self.findings_table = self._table("FindingsTable", "finding_id")
        # What an analyzer lists is compared with what is recorded of it. CloudFormation adds one
        # index an update: another one takes another deployment.
        # https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/GSI.OnlineOps.html
        _add_index(self.findings_table, BY_ANALYZER, "analyzer_arn", "finding_id")
        self.cards_table = self._table("CardsTable", "card_id")
        # Sparse: a card is in it while somebody should hear of it.
        _add_index(self.cards_table, BY_DUE, "due", "due_at")
        self.principals_table = self._table("PrincipalsTable", "account_id", "principal_arn")
        self.proposals_table = self._table("ProposalsTable", "principal_arn", "created_at")
        self.runs_table = self._table("RunsTable", "workflow", "run_id", ttl="expires_at")
        self.access_logs_bucket = self._access_logs_bucket()
        self.evidence_bucket = self._evidence_bucket()

    def _let_alarms_publish(self) -> None:
        # An alarm publishes to an encrypted topic only if the key lets CloudWatch use it.
        # https://docs.aws.amazon.com/sns/latest/dg/sns-key-management.html
        self.key.add_to_resource_policy(
            iam.PolicyStatement(
                sid="AlarmsPublishToTopics",
                principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
                actions=["kms:Decrypt", "kms:GenerateDataKey"],
                resources=["*"],  # in a key policy: this key
                conditions={"StringEquals": {"aws:SourceAccount": self.account}},
            )
        )

    def _table(
        self, name: str, partition_key: str, sort_key: str | None = None, *, ttl: str | None = None
    ) -> dynamodb.TableV2:
        text = dynamodb.AttributeType.STRING
        return dynamodb.TableV2(
            self,
            name,
            partition_key=dynamodb.Attribute(name=partition_key, type=text),
            sort_key=dynamodb.Attribute(name=sort_key, type=text) if sort_key else None,
            billing=dynamodb.Billing.on_demand(),
            encryption=dynamodb.TableEncryptionV2.customer_managed_key(self.key),
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=True
            ),
            time_to_live_attribute=ttl,
            deletion_protection=True,
            removal_policy=cdk.RemovalPolicy.RETAIN,
        )

    def _access_logs_bucket(self) -> s3.Bucket:
        return s3.Bucket(
            self,
            "AccessLogsBucket",
            # S3 cannot deliver access logs to a bucket encrypted with a customer managed key.
            # https://docs.aws.amazon.com/AmazonS3/latest/userguide/enable-server-access-logging.html
            encryption=s3.BucketEncryption.S3_MANAGED,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            enforce_ssl=True,
            minimum_tls_version=1.2,
            versioned=True,
            lifecycle_rules=[
                s3.LifecycleRule(
                    expiration=cdk.Duration.days(400),
                    noncurrent_version_expiration=cdk.Duration.days(30),
                    abort_incomplete_multipart_upload_after=cdk.Duration.days(7),
                )
            ],
            removal_policy=cdk.RemovalPolicy.RETAIN,
        )

    def _evidence_bucket(self) -> s3.Bucket:
        old_versions = cdk.Duration.days(365)
        return s3.Bucket(
            self,
            "EvidenceBucket",
            encryption=s3.BucketEncryption.KMS,
            encryption_key=self.key,
            bucket_key_enabled=True,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            enforce_ssl=True,
            minimum_tls_version=1.2,
            versioned=True,
            server_access_logs_bucket=self.access_logs_bucket,
            server_access_logs_prefix="evidence/",
            lifecycle_rules=[
                # Proposals and inventories are what an auditor asks for: they stay.
                s3.LifecycleRule(
                    id="OldVersions",
                    noncurrent_version_expiration=old_versions,
                    abort_incomplete_multipart_upload_after=cdk.Duration.days(7),
                ),
                *(
                    s3.LifecycleRule(
                        id=name, prefix=f"{name.lower()}/", expiration=cdk.Duration.days(400)
                    )
                    for name in ("Runs", "Notifications", "Findings")
                ),
                # 400 days, so that seasonal use shows (facts §3).
                s3.LifecycleRule(
                    id="Activity", prefix="activity/", expiration=cdk.Duration.days(430)
                ),
                # Of two rules S3 follows the one that ends earlier. The ids of events serve to
                # count late log files once; the parts serve while a run goes on.
                *(
                    s3.LifecycleRule(
                        id=name,
                        prefix=f"activity/{name.lower()}/",
                        expiration=cdk.Duration.days(days),
                        noncurrent_version_expiration=cdk.Duration.days(1),
                    )
                    for name, days in (("Seen", 30), ("Parts", 14))
                ),
            ],
            removal_policy=cdk.RemovalPolicy.RETAIN,
        )


def _add_index(table: dynamodb.TableV2, name: str, partition_key: str, sort_key: str) -> None:
    text = dynamodb.AttributeType.STRING
    table.add_global_secondary_index(
        index_name=name,
        partition_key=dynamodb.Attribute(name=partition_key, type=text),
        sort_key=dynamodb.Attribute(name=sort_key, type=text),
        projection_type=dynamodb.ProjectionType.ALL,
    )
