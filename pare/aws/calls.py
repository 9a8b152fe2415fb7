"""AWS's errors translated into ours, in one place."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from pare.errors import (
    AwsCallError,
    AwsServiceError,
    MemberAccountError,
    PareError,
    ThrottledError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

THROTTLED = frozenset(
    {"Throttling", "ThrottlingException", "ThrottledException", "TooManyRequestsException",
     "RequestLimitExceeded", "SlowDown", "ProvisionedThroughputExceededException"}
)  # fmt: skip
DENIED = frozenset({"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"})


def error_code(error: ClientError) -> str:
    """Return the error code AWS sent, such as ``AccessDenied``."""
    return str(error.response.get("Error", {}).get("Code", ""))


def error_message(error: ClientError) -> str:
    """Return the message AWS sent."""
    return str(error.response.get("Error", {}).get("Message", ""))


@contextmanager
def translated(
    action: str,
    *,
    account_id: str | None = None,
    codes: Mapping[str, type[PareError]] | None = None,
) -> Iterator[None]:
    """Raise AWS's errors inside the block as ours.

    ``codes`` maps an AWS error code to the class to raise. Throttling becomes ThrottledError, a
    denial in a member account (``account_id`` given) MemberAccountError, AWS's own failures and
    lost connections AwsServiceError, all else AwsCallError.
    """
    try:
        yield
    except ClientError as error:
        code = error_code(error)
        where = f" in account {account_id}" if account_id else ""
        text = f"{action}{where}: {code}: {error_message(error)}"
        if codes and code in codes:
            raise codes[code](text) from error
        if code in THROTTLED:
            raise ThrottledError(text) from error
        if code in DENIED and account_id:
            raise MemberAccountError(text) from error
        if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) >= 500:
            raise AwsServiceError(text) from error
        raise AwsCallError(text) from error
    except BotoCoreError as error:
        raise AwsServiceError(f"{action}: {error}") from error
