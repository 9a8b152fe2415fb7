"""ARCHIVE: Pare's statements in the policies of a trail bucket and of keys that exist already.

A custom resource for each policy, with rights of its own that go after it: so a key that leaves the
settings is cleaned by the function while it still may (docs/decisions/0017). No assets, no
bootstrap: the function travels inside the template.
"""

from __future__ import annotations

import ast
import hashlib
import io
import re
import tokenize
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs

from infra.lambda_function import ARCHITECTURE, RUNTIME
from infra.nag import WILDCARD, explain
from pare.log_archive.statements import bucket_statements, key_statements

if TYPE_CHECKING:
    from constructs import Construct

    from infra.settings import Settings

ROOT = Path(__file__).parents[1]
FUNCTION = ROOT / "infra" / "inline" / "log_archive.py"
MERGE = ROOT / "pare" / "log_archive" / "merge.py"
# What the function needs of the bucket beside reading its log files.
BUCKET_ACTIONS = [
    "s3:DeleteBucketPolicy",
    "s3:GetBucketAcl",
    "s3:GetBucketLocation",
    "s3:GetBucketOwnershipControls",
    "s3:GetBucketPolicy",
    "s3:ListBucket",
    "s3:PutBucketPolicy",
]
KEY_ACTIONS = ["kms:GetKeyPolicy", "kms:PutKeyPolicy"]


def function_source() -> str:
    """Return the function's module with the one it imports written out in front of it."""
    function = FUNCTION.read_text(encoding="utf-8")
    merge = MERGE.read_text(encoding="utf-8")
    start = function.index("from pare.log_archive.merge import (\n")
    end = function.index(")\n", start) + 2
    future = "from __future__ import annotations\n"
    assert function.count(future) == merge.count(future) == 1
    parts = [FUNCTION, MERGE]
    names = " and ".join(each.relative_to(ROOT).as_posix() for each in parts)
    function = (function[:start] + function[end:]).replace(future, "")
    return (
        f"# Pare's {names}, which have the comments.\n"
        f"{_without_words(merge)}\n\n{_without_words(function)}"
    )


def _without_words(source: str) -> str:
    """Return a module's text without docstrings and comments: a template may have 51,200 bytes."""
    left_out: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            continue
        # Where it is the only statement, it must stay.
        if ast.get_docstring(node) is not None and len(node.body) > 1:
            words = node.body[0]
            left_out.update(range(words.lineno, (words.end_lineno or words.lineno) + 1))
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT and token.line.lstrip().startswith("#"):
            left_out.add(token.start[0])
    lines = source.splitlines()
    kept = [line for number, line in enumerate(lines, 1) if number not in left_out]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(kept)).strip() + "\n"


class LogArchiveStack(cdk.Stack):
    """In the log archive account, and in the Region of the trail's bucket."""

    def __init__(
        self, scope: Construct, construct_id: str, *, settings: Settings, **kwargs: Any
    ) -> None:
        super().__init__(
            scope,
            construct_id,
            description="Pare: its statements in the policies of the trail's bucket and keys",
            **kwargs,
        )
        self._settings, self._setup = settings, settings.setup()
        self._again = cdk.CfnParameter(
            self,
            "Again",
            default="0",
            description="Another value than before makes the stack look and merge again",
            max_length=64,
            allowed_pattern="[A-Za-z0-9:.-]+",
        )
        self._role, self._function = self._make_function()
        trail = settings.trail
        own = [each for each in trail.kms_key_arns if self._is_own(each)]
        bucket = self._policy_of_bucket(list(trail.kms_key_arns))
        for key_arn in own:
            # The bucket comes first: its resource looks at log files before anything is changed.
            self._policy_of_key(key_arn).node.add_dependency(bucket)
        elsewhere = [each for each in trail.kms_key_arns if each not in own]
        if elsewhere:
            cdk.CfnOutput(
                self,
                "KeysOfOtherAccounts",
                description="Paste what pare doctor --statements prints into their policies",
                value=" ".join(elsewhere),
            )

    def _is_own(self, key_arn: str) -> bool:
        return key_arn.split(":")[4] == self._settings.log_archive_account_id

    def _make_function(self) -> tuple[iam.Role, lambda_.Function]:
        log_group = logs.CfnLogGroup(
            self, "Logs", retention_in_days=self._settings.log_retention_days
        )
        role = iam.Role(
            self,
            "Role",
            assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"),
            description="Pare: merges its statements into the trail bucket's and keys' policies",
        )
        role.add_to_policy(
            iam.PolicyStatement(
                sid="WriteOwnLogs",
                actions=["logs:CreateLogStream", "logs:PutLogEvents"],
                # The streams of its own log group; a log group's ARN ends in ":*" to name them.
                resources=[log_group.attr_arn],
            )
        )
        role.add_to_policy(
            iam.PolicyStatement(
                # Whether a deletion is part of a rollback.
                sid="SeeOwnStack",
                actions=["cloudformation:DescribeStacks"],
                resources=[self.stack_id],
            )
        )
        function = lambda_.Function(
            self,
            "Function",
            runtime=RUNTIME,
            architecture=ARCHITECTURE,
            handler="index.lambda_handler",
            code=lambda_.Code.from_inline(function_source()),
            role=role,
            log_group=logs.LogGroup.from_log_group_name(self, "LogGroup", log_group.ref),
            description="Pare: merges its statements into the trail bucket's and keys' policies",
            timeout=cdk.Duration.minutes(15),
            memory_size=512,
        )
        # CloudFormation calls it: it must be able to write its logs by then.
        function.node.add_dependency(role)
        return role, function

    def _policy_of_bucket(self, key_arns: list[str]) -> cdk.CustomResource:
        trail, setup = self._settings.trail, self._setup
        bucket = f"arn:{setup.partition}:s3:::{trail.bucket}"
        log_files = [f"{bucket}/{root}*" for root in setup.trail.log_roots]
        name = f"Bucket{_short(trail.bucket)}"
        rights = iam.Policy(
            self,
            f"{name}Rights",
            roles=[self._role],
            statements=[
                iam.PolicyStatement(
                    sid="MergeBucketPolicy", actions=BUCKET_ACTIONS, resources=[bucket]
                ),
                # HeadObject, which tells an object's key.
                iam.PolicyStatement(
                    sid="LookAtLogFiles", actions=["s3:GetObject"], resources=log_files
                ),
            ],
        )
        explain(
            rights,
            WILDCARD,
            "It looks at log files, which have made-up names, for the key of each.",
            *(f"Resource::{each}" for each in log_files),
        )
        look = {
            "Roots": list(setup.trail.log_roots),
            "WindowDays": str(self._settings.window_days),
            "TrailRegion": trail.region,
            "KeyArns": key_arns,
            # For a key that the settings do not name yet.
            "KeyStatements": key_statements(setup, f"arn:{setup.partition}:kms:::key/any"),
        }
        return self._resource(
            name, "bucket", trail.bucket, bucket_statements(setup), rights, {"Look": look}
        )

    def _policy_of_key(self, key_arn: str) -> cdk.CustomResource:
        name = f"Key{_short(key_arn)}"
        rights = iam.Policy(
            self,
            f"{name}Rights",
            roles=[self._role],
            statements=[
                iam.PolicyStatement(
                    sid=f"MergeKeyPolicy{_short(key_arn)}",
                    actions=KEY_ACTIONS,
                    resources=[key_arn],
                )
            ],
        )
        statements = key_statements(self._setup, key_arn)
        return self._resource(name, "key", key_arn, statements, rights, {})

    def _resource(
        self,
        construct_id: str,
        policy: str,
        name: str,
        statements: list[Any],
        rights: iam.Policy,
        more: dict[str, Any],
    ) -> cdk.CustomResource:
        resource = cdk.CustomResource(
            self,
            construct_id,
            service_token=self._function.function_arn,
            # Longer than the function may take.
            service_timeout=cdk.Duration.minutes(20),
            resource_type=f"Custom::Pare{policy.capitalize()}Policy",
            properties={
                "Policy": policy,
                "Name": name,
                "AccountId": self._settings.log_archive_account_id,
                "Region": self._settings.trail.bucket_region,
                "Statements": statements,
                "Again": self._again.value_as_string,
                # Another function may find what this one did not.
                "Function": _short(function_source()),
                **more,
            },
        )
        # Made after its rights, and deleted before them.
        resource.node.add_dependency(rights)
        for attribute in ("Difference", "Notes") if policy == "bucket" else ("Difference",):
            cdk.CfnOutput(
                self,
                f"{'Bucket' if policy == 'bucket' else construct_id}{attribute}",
                description=f"{policy} {name}",
                value=resource.get_att_string(attribute),
            )
        return resource


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
