from __future__ import annotations

import io
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from pare.doctor.commands import own_right
from pare.errors import AwsCallError, ThrottledError
from tests.doctor_setup import HOME, OTHER, PAYMENTS, SHOP, setup
from tests.handlers.aws.doctor.hub import deploy, functions, template

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.handlers.fake_aws import FakeAws


def accounts(**states: str) -> dict[str, Any]:
    return {
        "Accounts": [
            {"Id": account_id, "Name": name, "Email": f"{name}@example.com", "State": state}
            for account_id, name, state in (
                (PAYMENTS, "payments", "ACTIVE"),
                (SHOP, "shop\x1b[2J", states.get("shop", "ACTIVE")),
            )
        ]
    }


def test_accounts_have_names_that_can_be_printed(
    examined: Callable[..., Any], aws: FakeAws
) -> None:
    aws.answer("organizations:ListAccounts", accounts(shop="SUSPENDED"))
    examination = examined()

    assert examination.named(PAYMENTS) == f"{PAYMENTS} payments"
    assert examination.named(SHOP).isprintable()
    assert examination.named("555566667777") == "555566667777"
    assert examination.active_accounts == [PAYMENTS]


def test_accounts_that_the_settings_leave_out_are_not_looked_at(
    examined: Callable[..., Any], aws: FakeAws
) -> None:
    aws.answer("organizations:ListAccounts", accounts())

    assert examined(account_exclusions=(SHOP,)).looked_at_accounts == [PAYMENTS]


def test_resources_and_functions_are_those_of_the_stack(
    examined: Callable[..., Any], aws: FakeAws
) -> None:
    deploy(aws, template(), resources={"ListLogs0A1B2C3D": "AWS::Lambda::Function"})
    examination = examined()

    assert examination.function_name("ListLogs") == "ParePipeline-ListLogs0A1B2C3D"
    assert examination.resources_of("AWS::Lambda::Function") == {
        "ListLogs": "ParePipeline-ListLogs0A1B2C3D"
    }
    with pytest.raises(AwsCallError, match="has no function DigestLogs"):
        examination.function_name("DigestLogs")


@pytest.mark.parametrize("asked", ["ListLogs", "list_logs"])
def test_a_function_has_the_name_of_its_construct(examined: Callable[..., Any], asked: str) -> None:
    examination = examined(resources=functions("ListLogs", "ListLogsAgain"))

    assert examination.function_name(asked) == "ParePipeline-ListLogs"


def test_a_function_answers_what_it_is_asked(
    examined: Callable[..., Any], answered: Callable[..., Any]
) -> None:
    answered(lambda name, asked: {"name": name, "asked": asked})

    answer = examined(resources=functions("ListLogs")).probe("ListLogs", {"kind": "x"})

    assert answer == {"name": "ParePipeline-ListLogs", "asked": {"kind": "x"}}


def test_a_function_that_fails_is_an_error_with_its_words(
    examined: Callable[..., Any], answered: Callable[..., Any]
) -> None:
    answered(lambda *_: {"errorMessage": "no such kind", "_failed": "Unhandled"})

    with pytest.raises(AwsCallError, match="ListLogs failed: no such kind"):
        examined(resources=functions("ListLogs")).probe("ListLogs", {})


def test_a_function_of_an_earlier_pare_that_knows_no_question_is_an_error(
    examined: Callable[..., Any], aws: FakeAws
) -> None:
    aws.answer("lambda:Invoke", lambda _: {"StatusCode": 200, "Payload": io.BytesIO(b"null")})

    with pytest.raises(AwsCallError, match="does not know this question"):
        examined(resources=functions("ListLogs")).probe("ListLogs", {})


def test_a_function_that_may_not_be_invoked_is_an_error(
    examined: Callable[..., Any], aws: FakeAws
) -> None:
    aws.fail("lambda:Invoke", "AccessDeniedException", 403)

    with pytest.raises(AwsCallError, match="lambda:InvokeFunction ListLogs"):
        examined(resources=functions("ListLogs")).probe("ListLogs", {})


def test_a_function_that_never_runs_says_why_and_is_told_from_throttling(
    examined: Callable[..., Any], aws: FakeAws
) -> None:
    refused = {
        "Error": {"Code": "TooManyRequestsException", "Message": "Rate Exceeded."},
        "Reason": "ReservedFunctionConcurrentInvocationLimitExceeded",
        "_status": 429,
    }
    aws.answer("lambda:Invoke", refused)

    with pytest.raises(ThrottledError) as caught:
        examined(resources=functions("ListLogs")).probe("ListLogs", {})

    assert str(caught.value).endswith(
        "Rate Exceeded. (ReservedFunctionConcurrentInvocationLimitExceeded)"
    )
    mend = own_right(setup(), str(caught.value))
    assert mend is not None
    assert mend.commands == ("pare doctor --only running",)
    assert own_right(setup(), "x:Y: TooManyRequestsException: Rate Exceeded.") is None


def test_a_region_has_one_client_that_threads_share(examined: Callable[..., Any]) -> None:
    examination = examined()

    assert examination.client("sqs") is examination.client("sqs", HOME)
    assert examination.client("sqs", OTHER).meta.region_name == OTHER


def test_no_two_threads_share_a_client(examined: Callable[..., Any]) -> None:
    examination, barrier = examined(), threading.Barrier(4, timeout=10)

    def client(_: int) -> Any:
        barrier.wait()
        return examination.client("sqs")

    clients = examination.side_by_side("clients", [*range(4)], client, threads=4)

    assert len({id(each) for each in [examination.client("sqs"), *clients]}) == 5


# --- side_by_side ---


def test_work_is_done_side_by_side_and_returned_in_order(
    examined: Callable[..., Any], told: list[str]
) -> None:
    barrier = threading.Barrier(4, timeout=10)

    def work(number: int) -> int:
        barrier.wait()
        return number * 10

    assert examined().side_by_side("tens", [3, 1, 2, 0], work, threads=4) == [30, 10, 20, 0]
    assert told[0] == "tens: 0 of 4"
    assert told[-1] == "tens: 4 of 4"


def test_an_item_may_count_for_many(examined: Callable[..., Any], told: list[str]) -> None:
    examined().side_by_side("accounts", [["a"] * 900, ["b"] * 600], len, weight=len)

    assert told[-1] == "accounts: 1,500 of 1,500"


def test_the_error_of_a_work_is_raised(examined: Callable[..., Any]) -> None:
    def work(number: int) -> int:
        if number == 2:
            raise AwsCallError("the second")
        return number

    with pytest.raises(AwsCallError, match="the second"):
        examined().side_by_side("works", [1, 2, 3], work)


def test_nothing_to_do_is_done_at_once(examined: Callable[..., Any]) -> None:
    assert examined().side_by_side("nothing", [], str) == []


def test_an_error_does_not_wait_for_what_is_under_way(examined: Callable[..., Any]) -> None:
    def work(number: int) -> int:
        if number == 0:
            raise AwsCallError("at once")
        time.sleep(5)
        return number

    began = time.monotonic()
    with pytest.raises(AwsCallError):
        examined().side_by_side("works", [0, 1], work, threads=2)
    assert time.monotonic() - began < 3
