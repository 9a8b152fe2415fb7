"""The way into a member account: the one role that the hub's functions may assume."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import boto3
import botocore.session

from pare.aws.calls import CLIENT_CONFIG, translated

if TYPE_CHECKING:
    from mypy_boto3_sts import STSClient


@dataclass(frozen=True, slots=True)
class MemberRole:
    """The member role: ``arn_template`` has ``{account_id}`` where the account id goes."""

    arn_template: str
    external_id: str

    def enter(self, sts: STSClient, account_id: str, *, session_name: str) -> boto3.Session:
        """Return a session in the member account.

        Raises MemberAccountError where the role is missing or does not trust the caller.
        """
        with translated("sts:AssumeRole", account_id=account_id):
            credentials = sts.assume_role(
                RoleArn=self.arn_template.format(account_id=account_id),
                RoleSessionName=session_name[:64],
                ExternalId=self.external_id,
                DurationSeconds=3600,
            )["Credentials"]
        # The session's clients are made elsewhere, and without this with the SDK's own patience.
        core = botocore.session.get_session()
        core.set_default_client_config(CLIENT_CONFIG)
        return boto3.Session(
            botocore_session=core,
            aws_access_key_id=credentials["AccessKeyId"],
            aws_secret_access_key=credentials["SecretAccessKey"],
            aws_session_token=credentials["SessionToken"],
        )
