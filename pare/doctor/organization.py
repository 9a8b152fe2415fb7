"""What Organizations says of the hub: whether it may do what Pare needs of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from pare.doctor.commands import own_right
from pare.doctor.model import Mend, Result, cannot_tell, missing, ok
from pare.message import plain, sentence

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from pare.doctor.setup import Setup

T_co = TypeVar("T_co", covariant=True)

CHINA = "aws-cn"


@dataclass(frozen=True, slots=True)
class Service:
    """A service that must be trusted in the organization, with the hub as its administrator.

    ``check``: what its checks' ids begin with.
    """

    name: str
    check: str
    principal: str


# https://docs.aws.amazon.com/IAM/latest/UserGuide/access-analyzer-delegated-administrator-add.html
ACCESS_ANALYZER: Final = Service(
    "Access Analyzer", "organization.access-analyzer", "access-analyzer.amazonaws.com"
)
# https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/stacksets-orgs-delegated-admin.html
STACK_SETS: Final = Service(
    "StackSets",
    "organization.stack-sets",
    "member.org.stacksets.cloudformation.amazonaws.com",
)
SERVICES: Final = (ACCESS_ANALYZER, STACK_SETS)


@dataclass(frozen=True, slots=True)
class Asked(Generic[T_co]):
    """What AWS answered, or the problem it had with the question."""

    answer: T_co | None = None
    problem: str = ""
    is_denied: bool = False


def judge_member(setup: Setup, found: Asked[Mapping[str, str]]) -> Result:
    """Judge the organization that the hub account says it is in.

    The answer has DescribeOrganization's ``Id``, ``MasterAccountId`` and ``FeatureSet``.
    """
    check = "organization.member"
    if found.answer is None:
        return cannot_tell(
            check,
            "",
            f"Organizations did not say which organization the hub is in: {_said(found.problem)}",
            own_right(setup, found.problem)
            or Mend(
                where="hub",
                commands=("aws organizations describe-organization",),
                text="Use credentials that may call organizations:DescribeOrganization.",
            ),
        )
    organization = found.answer
    if not organization:
        return missing(
            check,
            "",
            f"The hub account {setup.hub_account_id} is in no organization; the settings name "
            f"{setup.organization_id}.",
            Mend(
                where="management",
                commands=(
                    "aws organizations invite-account-to-organization --target "
                    f"Id={setup.hub_account_id},Type=ACCOUNT",
                ),
                text="Then accept the invitation with credentials of the hub account: "
                "`aws organizations list-handshakes-for-account`, `aws organizations "
                "accept-handshake --handshake-id`.",
            ),
        )
    for field, setting, wanted in (
        ("Id", "organization_id", setup.organization_id),
        ("MasterAccountId", "management_account_id", setup.management_account_id),
    ):
        real = plain(organization.get(field, ""), 40)
        if real and real != wanted:
            return missing(
                check,
                "",
                f"The settings say {setting} {wanted}; the hub account is in an organization with "
                f"{real}.",
                Mend(
                    where="you",
                    commands=("npx cdk deploy --all",),
                    text=f"First write {setting}: {quoted_setting(real)} into config/pare.yaml, or "
                    "use credentials of the hub account that is meant.",
                ),
            )
    if organization.get("FeatureSet", "ALL") != "ALL":
        return missing(
            check,
            "",
            "The organization has consolidated billing only: no service can be trusted in it.",
            Mend(
                where="management",
                commands=("aws organizations enable-all-features",),
                text="AWS asks every invited account to agree.",
            ),
        )
    return ok(check, "", f"{setup.organization_id}, hub {setup.hub_account_id}")


def quoted_setting(value: str) -> str:
    """Return a value as the settings file wants it: an account id is a text."""
    return f'"{value}"' if value.isdigit() else value


def judge_trusted(
    setup: Setup,
    service: Service,
    trusted: Asked[Collection[str]],
    access: Asked[str] | None = None,
) -> Result:
    """Judge whether a service is trusted in the organization.

    ``trusted``: the service principals that Organizations names. ``access``: of StackSets alone,
    what CloudFormation itself says, ``ENABLED`` or ``DISABLED``: switched on at Organizations only,
    it lacks its roles, so CloudFormation's word counts where there is one.
    """
    check = f"{service.check}-trusted"
    mend = _trust(setup, service)
    is_trusted = None if trusted.answer is None else service.principal in trusted.answer
    if access is not None and access.answer is not None:
        is_trusted = access.answer == "ENABLED"
    if is_trusted is None:
        return cannot_tell(check, "", _not_told("which services are trusted", trusted), mend)
    if not is_trusted:
        return missing(check, "", f"{service.name} is not trusted in the organization.", mend)
    return ok(check, "", "on")


def judge_administrator(
    setup: Setup, service: Service, administrators: Asked[Collection[str]]
) -> Result:
    """Judge whether the hub is a delegated administrator of a service; given all their ids."""
    check = f"{service.check}-administrator"
    mend = Mend(
        where="management",
        commands=(
            "aws organizations register-delegated-administrator "
            f"--account-id {setup.hub_account_id} --service-principal {service.principal}",
        ),
    )
    if administrators.answer is None:
        return cannot_tell(
            check, "", _not_told(f"who administers {service.name}", administrators), mend
        )
    others = sorted(set(administrators.answer) - {setup.hub_account_id})
    if setup.hub_account_id in administrators.answer:
        return ok(check, "", f"the hub, {setup.hub_account_id}")
    if not others or service is not ACCESS_ANALYZER:
        return missing(
            check,
            "",
            f"The hub account {setup.hub_account_id} is not registered as a delegated "
            f"administrator of {service.name}.",
            mend,
        )
    # Access Analyzer has one administrator; another one first has to go.
    return missing(
        check,
        "",
        f"The delegated administrator of {service.name} is {', '.join(others)}, not the hub "
        f"account {setup.hub_account_id}.",
        Mend(
            where="management",
            commands=(
                *(
                    "aws organizations deregister-delegated-administrator "
                    f"--account-id {other} --service-principal {service.principal}"
                    for other in others
                ),
                *mend.commands,
            ),
            text=f"This disables the analyzers of the organization in {', '.join(others)}. Where "
            "they are to stay, make that account the hub instead: hub_account_id in "
            "config/pare.yaml.",
        ),
    )


def _trust(setup: Setup, service: Service) -> Mend:
    if service is ACCESS_ANALYZER:
        return Mend(
            where="management",
            commands=(
                "aws organizations enable-aws-service-access "
                f"--service-principal {service.principal}",
            ),
        )
    # By CloudFormation's own call, which also makes the roles that StackSets need.
    # https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/stacksets-orgs-activate-trusted-access.html
    return Mend(
        where="management",
        commands=(
            f"aws cloudformation activate-organizations-access --region {setup.home_region}",
        ),
        text="AWS's pages say that it cannot be switched on in the Regions of China: write "
        "member_stacks: by-hand into config/pare.yaml there, and deploy the member stack into "
        "every account, npx cdk deploy ByHand/PareMember."
        if setup.partition == CHINA
        else "",
    )


def _not_told(what: str, asked: Asked[Collection[str]]) -> str:
    if asked.is_denied:
        return (
            f"AWS does not tell this account {what}: it tells delegated administrators alone, so "
            "the hub probably is none yet. If it is one, these credentials lack the right. "
            "The command does no harm where it is done already."
        )
    return f"AWS did not tell {what}: {_said(asked.problem)}"


def _said(problem: str) -> str:
    return sentence(plain(problem, 400)) if problem else "it gave no reason."
