"""Reads what Organizations says of the hub account; works before anything is deployed."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from botocore.exceptions import ClientError

from pare.aws.calls import DENIED, error_code, translated
from pare.doctor.organization import (
    SERVICES,
    STACK_SETS,
    Asked,
    judge_administrator,
    judge_member,
    judge_trusted,
)
from pare.errors import PareError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pare.aws.doctor.context import Examination
    from pare.doctor.model import Result

_T = TypeVar("_T")
_IN_NONE = "AWSOrganizationsNotInUseException"


def examine(examination: Examination) -> Iterator[Result]:
    """Yield what lets the hub work in the organization, and what does not."""
    setup = examination.setup
    organizations = examination.client("organizations")
    cloudformation = examination.client("cloudformation")
    examination.say("asking Organizations")

    def organization() -> dict[str, str]:
        try:
            found = organizations.describe_organization()["Organization"]
        except ClientError as error:
            if error_code(error) == _IN_NONE:
                return {}
            raise
        return {name: value for name, value in found.items() if isinstance(value, str)}

    def trusted() -> set[str]:
        pages = organizations.get_paginator("list_aws_service_access_for_organization")
        return {
            each["ServicePrincipal"]
            for page in pages.paginate()
            for each in page["EnabledServicePrincipals"]
        }

    def administrators(principal: str) -> set[str]:
        pages = organizations.get_paginator("list_delegated_administrators")
        return {
            each["Id"]
            for page in pages.paginate(ServicePrincipal=principal)
            for each in page["DelegatedAdministrators"]
        }

    def access() -> str:
        answer = cloudformation.describe_organizations_access(CallAs="DELEGATED_ADMIN")
        return str(answer["Status"])

    yield judge_member(setup, _asked("organizations:DescribeOrganization", organization))
    services = _asked("organizations:ListAWSServiceAccessForOrganization", trusted)
    for service in SERVICES:
        if service is STACK_SETS and not setup.has_stack_set:
            continue
        own_word = (
            _asked("cloudformation:DescribeOrganizationsAccess", access)
            if service is STACK_SETS
            else None
        )
        yield judge_trusted(setup, service, services, own_word)
        yield judge_administrator(
            setup,
            service,
            _asked(
                "organizations:ListDelegatedAdministrators",
                lambda principal=service.principal: administrators(principal),  # type: ignore[misc]
            ),
        )


def _asked(action: str, call: Callable[[], _T]) -> Asked[_T]:
    """Return the answer of a call, or what AWS had against it."""
    try:
        with translated(action):
            return Asked(call())
    except PareError as error:
        cause = error.__cause__
        denied = isinstance(cause, ClientError) and error_code(cause) in DENIED
        return Asked(problem=str(error), is_denied=denied)
