"""AWS's errors translated into ours, in one place."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConfigParseError,
    CredentialRetrievalError,
    HTTPClientError,
    InvalidConfigError,
    NoCredentialsError,
    NoRegionError,
    ParamValidationError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
    TokenRetrievalError,
    ValidationError,
)
from botocore.exceptions import ConnectionError as NoConnectionError

from pare.errors import (
    AwsCallError,
    AwsServiceError,
    CredentialsError,
    MemberAccountError,
    NotDeployedError,
    PareError,
    ThrottledError,
)
from pare.message import sentence

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import boto3

# Every client's: the SDK's own retries carry short throttling; the state machine carries the rest.
CLIENT_CONFIG = Config(
    retries={"mode": "adaptive", "max_attempts": 5}, connect_timeout=5, read_timeout=30
)
# Of a call whose answer is not worth a wait, because the caller asks again by itself: a Region that
# takes a connection and never answers must cost seconds, not minutes.
QUICK_CONFIG = CLIENT_CONFIG.merge(
    Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=10)
)

THROTTLED = frozenset(
    {"Throttled", "Throttling", "ThrottlingException", "ThrottledException", "KMSThrottling",
     "KmsThrottlingException", "TooManyRequestsException", "RequestLimitExceeded", "SlowDown",
     "ProvisionedThroughputExceededException"}
)  # fmt: skip
DENIED = frozenset({"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"})
# What the shell has is no credentials: a profile that is not there, one that cannot be read, none.
_NO_CREDENTIALS = (
    ConfigParseError, CredentialRetrievalError, InvalidConfigError, NoCredentialsError,
    PartialCredentialsError, ProfileNotFound, SSOError, TokenRetrievalError,
)  # fmt: skip
# What never reached AWS, or whose answer never came back.
UNREACHED = (NoConnectionError, HTTPClientError)
# For a person at a terminal: a workflow's error is told by its class, whose words are of its retry.
_IF_UNREACHED = (
    "Check the network, the VPN, the proxy (HTTPS_PROXY) and AWS_ENDPOINT_URL of this shell, then "
    "run it again."
)
_IF_AWS_FAILED = "Run it again in some minutes. If it stays, look at the AWS Health Dashboard."


class RegionNotSetError(NotDeployedError):
    """Nothing says in which Region to look."""

    what_to_do = (
        "Set AWS_REGION to the Region that Pare is deployed in (home_region of its settings), or "
        "give the profile one: `aws configure set region REGION`."
    )


def shell_session() -> boto3.Session:
    """Return a session with the profile, the credentials and the Region of the shell.

    AWS_REGION comes before AWS_DEFAULT_REGION, as in the AWS CLI; boto3 reads the latter alone.
    https://docs.aws.amazon.com/cli/latest/userguide/cli-configure-envvars.html
    Raises CredentialsError for a profile that is not there.
    """
    import boto3

    with translated("The AWS credentials of this shell"):
        return boto3.Session(region_name=os.environ.get("AWS_REGION") or None)


def region_of_session(session: boto3.Session) -> str:
    """Return a session's Region; raises RegionNotSetError where it has none."""
    if not session.region_name:
        raise RegionNotSetError("No Region is set")
    return session.region_name


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
    lost connections AwsServiceError, all else AwsCallError, also what the SDK itself refuses.
    """
    where = f" in account {account_id}" if account_id else ""
    try:
        yield
    except ClientError as error:
        code = error_code(error)
        text = f"{action}{where}: {code}: {error_message(error)}"
        if codes and code in codes:
            raise codes[code](text) from error
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if code in THROTTLED or status == 429:
            raise ThrottledError(text) from error
        if code in DENIED and account_id:
            raise MemberAccountError(text) from error
        if status >= 500:
            raise _service_error(text, _IF_AWS_FAILED) from error
        raise AwsCallError(text) from error
    except (ParamValidationError, ValidationError) as error:
        raise AwsCallError(f"{action}{where}: {error}") from error
    except _NO_CREDENTIALS as error:
        raise CredentialsError(sentence(f"{action}{where}: {error}")) from error
    except NoRegionError as error:
        raise RegionNotSetError(f"{action}{where}: No Region is set") from error
    except BotoCoreError as error:
        text = f"{action}{where}: {error}"
        if isinstance(error, UNREACHED):
            raise _service_error(text, _IF_UNREACHED) from error
        raise AwsServiceError(text) from error


def _service_error(text: str, what_to_do: str) -> AwsServiceError:
    error = AwsServiceError(text)
    error.what_to_do = what_to_do
    return error
