from __future__ import annotations

import pytest
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    InvalidRegionError,
    NoCredentialsError,
    ParamValidationError,
    ReadTimeoutError,
)

from pare.aws.calls import DENIED, THROTTLED, translated
from pare.errors import (
    AccessAnalyzerQuotaError,
    AwsCallError,
    AwsServiceError,
    CredentialsError,
    MemberAccountError,
    PareError,
    PrincipalNotFoundError,
    ThrottledError,
)

MEMBER = "111122223333"


def refusal(code: str, status: int = 400, message: str = "AWS's own words") -> ClientError:
    return ClientError(
        {
            "Error": {"Code": code, "Message": message},
            "ResponseMetadata": {
                "HTTPStatusCode": status,
                "RequestId": "r",
                "HostId": "h",
                "HTTPHeaders": {},
                "RetryAttempts": 0,
            },
        },
        "Operation",
    )


def raised(
    error: Exception,
    *,
    account_id: str | None = None,
    codes: dict[str, type[PareError]] | None = None,
) -> PareError:
    with (
        pytest.raises(PareError) as caught,
        translated("iam:GetRole", account_id=account_id, codes=codes),
    ):
        raise error
    assert caught.value.__cause__ is error
    return caught.value


def test_a_call_that_goes_well_is_left_alone() -> None:
    with translated("iam:GetRole"):
        done = True

    assert done


@pytest.mark.parametrize("code", sorted(THROTTLED))
@pytest.mark.parametrize("account_id", [None, MEMBER])
def test_throttling_has_one_name_whatever_the_service_calls_it(
    code: str, account_id: str | None
) -> None:
    assert type(raised(refusal(code), account_id=account_id)) is ThrottledError


def test_too_many_requests_is_throttling_under_any_code() -> None:
    assert type(raised(refusal("SomethingNew", 429))) is ThrottledError


def test_slow_down_of_s3_is_throttling_though_it_is_a_503() -> None:
    assert type(raised(refusal("SlowDown", 503))) is ThrottledError


@pytest.mark.parametrize("code", sorted(DENIED))
def test_a_denial_in_a_member_account_names_the_account(code: str) -> None:
    error = raised(refusal(code, 403), account_id=MEMBER)

    assert type(error) is MemberAccountError
    assert str(error) == f"iam:GetRole in account {MEMBER}: {code}: AWS's own words"


@pytest.mark.parametrize("code", sorted(DENIED))
def test_a_denial_in_our_own_account_is_a_call_error(code: str) -> None:
    error = raised(refusal(code, 403, "not authorized to perform: iam:GetRole"))

    assert type(error) is AwsCallError
    assert str(error) == f"iam:GetRole: {code}: not authorized to perform: iam:GetRole"


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_failure_of_awss_own_is_a_service_error(status: int) -> None:
    assert type(raised(refusal("InternalFailure", status))) is AwsServiceError


@pytest.mark.parametrize("status", [400, 402, 404, 409, 422])
def test_any_other_refusal_is_a_call_error(status: int) -> None:
    assert type(raised(refusal("ValidationException", status))) is AwsCallError


def test_a_code_the_caller_names_comes_before_all_others() -> None:
    codes: dict[str, type[PareError]] = {
        "NoSuchEntity": PrincipalNotFoundError,
        "AccessDenied": AccessAnalyzerQuotaError,
        "Throttling": AccessAnalyzerQuotaError,
    }

    assert type(raised(refusal("NoSuchEntity", 404), codes=codes)) is PrincipalNotFoundError
    for code in ("AccessDenied", "Throttling"):
        error = raised(refusal(code), codes=codes, account_id=MEMBER)
        assert type(error) is AccessAnalyzerQuotaError
    assert type(raised(refusal("Other"), codes=codes)) is AwsCallError


@pytest.mark.parametrize(
    "error",
    [
        EndpointConnectionError(endpoint_url="https://x", error="refused"),
        ConnectTimeoutError(endpoint_url="https://x", error="slow"),
        ReadTimeoutError(endpoint_url="https://x", error="slow"),
    ],
)
def test_a_lost_connection_is_a_service_error(error: BotoCoreError) -> None:
    found = raised(error, account_id=MEMBER)

    assert type(found) is AwsServiceError
    assert str(found).startswith(f"iam:GetRole in account {MEMBER}: ")
    # A person has no step that is retried.
    assert "AWS_ENDPOINT_URL" in found.what_to_do
    assert "the step is retried" in AwsServiceError.what_to_do


@pytest.mark.parametrize(
    "error",
    [
        ParamValidationError(report="Missing required parameter"),
        InvalidRegionError(region_name="not a region"),
    ],
)
def test_what_the_sdk_itself_refuses_is_a_call_error_that_no_retry_helps(
    error: BotoCoreError,
) -> None:
    assert type(raised(error)) is AwsCallError


def test_an_answer_without_any_details_is_a_call_error() -> None:
    assert type(raised(ClientError({}, "Operation"))) is AwsCallError


@pytest.mark.parametrize("error", [KeyError("x"), ValueError("x"), MemberAccountError("ours")])
def test_errors_that_are_not_awss_pass(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, translated("iam:GetRole"):
        raise error

    assert caught.value is error


def test_missing_credentials_are_named_with_what_to_do() -> None:
    error = raised(NoCredentialsError())
    assert type(error) is CredentialsError
    assert "AWS_PROFILE" in error.what_to_do
