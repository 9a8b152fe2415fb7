"""One run of the doctor: finds what is deployed, then runs the groups of checks one by one."""

from __future__ import annotations

import importlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from pare.aws.calls import CLIENT_CONFIG, UNREACHED, translated
from pare.aws.deployed_inventory import find_deployment
from pare.aws.doctor.context import Examination
from pare.aws.executions import STACK_NAME
from pare.doctor.checks import all_checks, group_of, groups
from pare.doctor.commands import look_again, own_right
from pare.doctor.model import Mend, Result, cannot_tell
from pare.doctor.setup import METADATA_KEY, Setup
from pare.doctor.text import in_order
from pare.errors import CredentialsError, NotDeployedError, PareError
from pare.message import plain, sentence

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime
    from pathlib import Path

    import boto3

TEMPLATE_FILE: Final = f"{STACK_NAME}.template.json"
# These need no function of the hub, so they can be looked at before anything is deployed.
BEFORE_DEPLOYMENT: Final = ("organization",)


# Credentials that STS does not take: expired, or of nobody.
_NO_LONGER_GOOD: Final[dict[str, type[PareError]]] = dict.fromkeys(
    ("ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId"), CredentialsError
)


class NoTemplateError(PareError):
    """There is no synthesized template of Pare in the folder that was named."""

    what_to_do = "Make it: `npx cdk synth --quiet`. Then: `pare doctor --template cdk.out`."


class WrongAccountError(PareError):
    """The credentials are of another account than the hub."""

    what_to_do = (
        "The doctor uses credentials of the hub account alone: choose its profile with AWS_PROFILE."
    )


class NoSetupError(PareError):
    """The deployed Pare is of a version that the doctor does not know."""

    what_to_do = "Deploy this version first: `npx cdk deploy --all`."


class _NotThereError(NotDeployedError):
    what_to_do = (
        "Use credentials of the hub account and its home Region (AWS_PROFILE, AWS_REGION). Where "
        "Pare is not deployed yet: `npx cdk synth --quiet`, then `pare doctor --template cdk.out`."
    )


def begin(
    session: boto3.Session, template: Path | None, *, now: datetime, say: Callable[[str], None]
) -> Examination:
    """Return an examination of what is deployed, or of a template that is to be.

    Raises NotDeployedError, WrongAccountError, NoSetupError or NoTemplateError.
    """
    if template is None:
        region = session.region_name
        if not region:
            raise _NotThereError("no Region is chosen")
        account_id = _account_of(session, region)
        say(f"looking for {STACK_NAME} in account {account_id}, {region}")
        try:
            outputs = find_deployment(session).outputs
        except NotDeployedError as error:
            raise _NotThereError(
                f"there is no stack {STACK_NAME} in account {account_id}, {region}"
            ) from error
        body = _deployed_template(session)
        setup = _setup_of(body, f"the deployed stack {STACK_NAME}")
    else:
        outputs = {}
        body = _template_in(template)
        setup = _setup_of(body, str(template / TEMPLATE_FILE))
        account_id = _account_of(session, setup.home_region)
    if account_id != setup.hub_account_id:
        raise WrongAccountError(
            f"these are credentials of account {account_id}; the hub is {setup.hub_account_id}"
        )
    return Examination(
        session=session, setup=setup, outputs=outputs, now=now, say=say, template=body
    )


def _account_of(session: boto3.Session, region: str) -> str:
    sts = session.client("sts", region_name=region, config=CLIENT_CONFIG)
    with translated("sts:GetCallerIdentity", codes=_NO_LONGER_GOOD):
        return sts.get_caller_identity()["Account"]


def _deployed_template(session: boto3.Session) -> dict[str, Any]:
    cloudformation = session.client("cloudformation", config=CLIENT_CONFIG)
    with translated("cloudformation:GetTemplate"):
        body: Any = cloudformation.get_template(StackName=STACK_NAME, TemplateStage="Original")[
            "TemplateBody"
        ]
    # boto3 reads JSON by itself; what is left as text is not what CDK sent.
    return template_of(body)


def template_of(body: Any) -> dict[str, Any]:
    """Return a template's body as JSON; an empty one where it is none."""
    if isinstance(body, str):
        try:
            body = json.loads(body)
        except ValueError:
            return {}
    return dict(body) if isinstance(body, dict) else {}


def _template_in(folder: Path) -> dict[str, Any]:
    path = folder / TEMPLATE_FILE
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise NoTemplateError(f"{path} is not there, or no template: {error}") from error
    return dict(found) if isinstance(found, dict) else {}


def _setup_of(template: dict[str, Any], where: str) -> Setup:
    found = template.get("Metadata", {}).get(METADATA_KEY)
    if found is None:
        raise NoSetupError(f"{where} does not say what was deployed: it is older than the doctor")
    try:
        return Setup.from_json(found)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise NoSetupError(f"{where} is of another version: {error!r}") from error


# --- The groups -----------------------------------------------------------------------------------


def chosen_groups(examination: Examination, only: Sequence[str]) -> list[str]:
    """Return the groups to look at, in the order of the table: those asked for, or all."""
    return [
        group
        for group in groups()
        if (not only or group in only)
        and (examination.is_deployed or group in BEFORE_DEPLOYMENT)
    ]  # fmt: skip


def run_group(examination: Examination, group: str) -> list[Result]:
    """Return the results of a group, in order.

    A group that breaks off leaves a result that says so: the other groups are looked at all the
    same. Only credentials that are no longer good, and a network that is gone, end everything: then
    each result would be of that alone.
    """
    results: list[Result] = []
    try:
        for each in _examiner(group)(examination):
            results.append(each)
    except CredentialsError:
        raise
    except PareError as error:
        broken = _broken_off(group, results, sentence(plain(error, 600)), error.what_to_do)
        mend = own_right(examination.setup, str(error))
        results.append(replace(broken, mend=mend) if mend else broken)
    except Exception as error:
        # What nobody foresaw is a result like any other: whoever reads it has the other groups.
        said = f"{type(error).__name__}: {plain(error, 600)}"
        results.append(
            _broken_off(
                group,
                results,
                sentence(said),
                "This is a fault of the doctor itself: please tell Pare's maintainers the line "
                "above.",
            )
        )
    if any(each.status == "cannot tell" for each in results):
        _check_credentials(examination)
    return in_order(results)


def _check_credentials(examination: Examination) -> None:
    """Raise CredentialsError where the credentials expired meanwhile, as it is at the start.

    AwsServiceError where nothing is reached any more; whatever else STS says is no matter here.
    """
    try:
        with translated("sts:GetCallerIdentity", codes=_NO_LONGER_GOOD):
            examination.client("sts").get_caller_identity()
    except CredentialsError:
        raise
    except PareError as error:
        if isinstance(error.__cause__, UNREACHED):
            raise


def _examiner(group: str) -> Callable[[Examination], Iterator[Result]]:
    module = importlib.import_module(f"pare.aws.doctor.{group.replace('-', '_')}")
    examine: Callable[[Examination], Iterator[Result]] = module.examine
    return examine


def _broken_off(group: str, results: Sequence[Result], said: str, what_to_do: str) -> Result:
    """Return the result of a group that ended early: of the first check without a result."""
    mine = [check for check in all_checks() if group_of(check) == group]
    told = {each.check for each in results}
    check = next((each for each in mine if each not in told), mine[-1])
    mend = look_again(what_to_do)
    mend = Mend(mend.where, (f"pare doctor --only {group}",), None, mend.text)
    return cannot_tell(check, "", f"This and what follows it could not be looked at: {said}", mend)
