"""Principals of member accounts, read through the member role."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pare.aws.iam_reader import IamReader

if TYPE_CHECKING:
    from mypy_boto3_sts import STSClient

    from pare.aws.member_account import MemberRole


def iam_reader(account_id: str, *, role: MemberRole, sts: STSClient, purpose: str) -> IamReader:
    """Return a reader of an account's IAM; ``purpose`` names the session in its CloudTrail."""
    session = role.enter(sts, account_id, session_name=f"pare-{purpose}")
    return IamReader(session.client("iam"), account_id)
