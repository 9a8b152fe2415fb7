"""``pare policy``: proposed policies from logs, the replay of any policy, and what differs."""

from __future__ import annotations

import difflib
import gc
import json
import os
import sys
from dataclasses import fields
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pare.arns import parse_principal_arn
from pare.cli_activity import (
    FOUND_PROBLEMS,
    Moment,
    Wanted,
    collect,
    printable,
    problem_lines,
)
from pare.cli_proposals import (
    Inputs,
    Logs,
    made_folder,
    propose_all,
    propose_one,
    rendered,
    summary,
)
from pare.cloudtrail.activity import Asked, PrincipalActivity
from pare.cloudtrail.principals import Principal
from pare.errors import PolicyInputError, PolicyParseError
from pare.policy.access import Access
from pare.policy.authorization_details import read_authorization_details
from pare.policy.difference import as_markdown, as_text, difference_of_documents
from pare.policy.document import parse
from pare.policy.evidence import Terms
from pare.policy.last_accessed import read_last_accessed
from pare.policy.limits import read_limits
from pare.policy.observed import observed_calls
from pare.policy.outputs import FORMS
from pare.policy.replay import replay as replay_calls
from pare.policy.replay_text import replay_text
from pare.policy.shared_role import of_activity, text_of
from pare.policy.statements import Rules
from pare.policy.subjects import Subject, subjects_of
from pare.policy.verdict import Exemption, Thresholds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pare.arns import PrincipalArn
    from pare.cloudtrail.activity import Activity
    from pare.policy.authorization_details import AuthorizationDetails
    from pare.policy.difference import DifferenceJson
    from pare.policy.document import PolicyDocument
    from pare.policy.evidence import LastAccessedOutcomeJson
    from pare.policy.outputs import Form
    from pare.policy.packing import Mode
    from pare.policy.subjects import Subjects

_SHOWN = 20


@click.group()
def policy() -> None:
    """Propose policies from what was used, replay policies, and compare them.

    Example: pare policy propose --trail ~/cloudtrail --all -o proposals/
    """


def _logs_options(command: Any) -> Any:
    """Add the options that say which logs are read."""
    for option in reversed(
        (
            click.option(
                "--trail",
                "trails",
                multiple=True,
                metavar="LOGS",
                help="CloudTrail files: a folder, a file, s3://bucket/prefix or -. Repeatable.",
            ),
            click.option(
                "--activity",
                "activities",
                multiple=True,
                metavar="FILE",
                help="An activity file, made by `pare activity`. Repeatable.",
            ),
            click.option("--since", type=Moment(), help="Only events from this moment on (UTC)."),
            click.option("--until", type=Moment(), help="Only events before this moment (UTC)."),
            click.option(
                "--jobs",
                type=click.IntRange(1, 256),
                default=lambda: os.cpu_count() or 1,
                show_default="one a core",
                help="Processes that read.",
            ),
        )
    ):
        command = option(command)
    return command


@policy.command(no_args_is_help=True)
@_logs_options
@click.option(
    "--principal",
    "principals",
    multiple=True,
    metavar="ARN",
    help="A policy for this user or role. Repeatable.",
)
@click.option("--all", "is_all", is_flag=True, help="A policy for every user and role in the logs.")
@click.option(
    "--current",
    "currents",
    multiple=True,
    metavar="FILE",
    help="What `aws iam get-account-authorization-details` printed: what is granted today. "
    "Repeatable (accounts, pages).",
)
@click.option(
    "--limits",
    "limit_files",
    multiple=True,
    metavar="FILE",
    help="Service or resource control policies, a level a file. Repeatable.",
)
@click.option(
    "--last-accessed",
    "last_accessed_file",
    metavar="FILE",
    help="What `aws iam get-service-last-accessed-details` printed for the principal.",
)
@click.option("-o", "--output-dir", metavar="DIR", help="Write each proposal into a folder here.")
@click.option(
    "--output",
    "forms",
    multiple=True,
    type=click.Choice(FORMS),
    help="Which forms. Default: text on the terminal; json and markdown in a folder.",
)
@click.option(
    "--fold-after",
    type=click.IntRange(1),
    default=Rules().fold_after,
    show_default=True,
    help="ARNs of one type that a statement names before they fold to prefixes.",
)
@click.option("--no-fold", is_flag=True, help="Name every ARN.")
@click.option(
    "--pack",
    type=click.Choice(["auto", "always", "never"]),
    default="auto",
    show_default=True,
    help="Wildcards of actions: where it would not fit, or not.",
)
@click.option(
    "--min-days",
    type=click.IntRange(0),
    default=Thresholds().min_window_days,
    show_default=True,
    help="Days the logs must span for the verdict ready.",
)
@click.option(
    "--max-quiet-days",
    type=click.IntRange(0),
    show_default=True,
    default=Thresholds().max_days_without_records,
    help="Days without a record of the account that ready allows.",
)
@click.option(
    "--complete-data-events",
    multiple=True,
    metavar="SERVICE",
    help="The trail records all data events of this service, such as s3. Repeatable.",
)
@click.option(
    "--exemptions",
    "exemptions_file",
    metavar="FILE",
    help="Principals to leave as they are: a JSON list of {principal, owner, reason, expires}.",
)
@click.option(
    "--break-glass-tag",
    default=Terms().break_glass_tag,
    show_default=True,
    help="Roles and users with this tag get no policy.",
)
def propose(
    trails: tuple[str, ...],
    activities: tuple[str, ...],
    since: str | None,
    until: str | None,
    jobs: int,
    principals: tuple[str, ...],
    is_all: bool,
    currents: tuple[str, ...],
    limit_files: tuple[str, ...],
    last_accessed_file: str | None,
    output_dir: str | None,
    forms: tuple[Form, ...],
    fold_after: int,
    no_fold: bool,
    pack: Mode,
    min_days: int,
    max_quiet_days: int,
    complete_data_events: tuple[str, ...],
    exemptions_file: str | None,
    break_glass_tag: str,
) -> None:
    """Propose a policy from what was used, with evidence, a replay certificate and the difference.

    Without --current nothing is known of today's policies: the proposal is what the logs show, and
    there is no difference and no proof that nothing is new.

    Exit code 1: a principal asked for gets no policy, or something could not be read. 3: no logs,
    or the principal is not in them.

    Example: pare policy propose --trail ~/cloudtrail --current iam.json --all -o proposals/
    """
    gc.disable()  # see `pare activity`: nothing here makes cycles
    if bool(principals) == is_all:
        raise click.UsageError("Give either --principal ARN or --all.")
    if last_accessed_file and len(principals) != 1:
        raise click.UsageError("--last-accessed is of one principal: give it with one --principal.")
    wanted = [parse_principal_arn(arn) for arn in dict.fromkeys(principals)]
    details = _read_details(currents, wanted)
    terms = Terms(
        break_glass_tag=break_glass_tag,
        exemptions=_exemptions(exemptions_file) if exemptions_file else (),
        today=datetime.now(UTC).date().isoformat(),
        rules=Rules(fold_after=None if no_fold else fold_after),
        packing=pack,
        thresholds=Thresholds(
            min_window_days=min_days,
            max_days_without_records=max_quiet_days,
            complete_data_events=complete_data_events,
        ),
    )
    inputs = Inputs(
        details,
        tuple(read_limits([_json(path) for path in limit_files])),
        _last_accessed(last_accessed_file) if last_accessed_file else None,
        terms,
    )
    folder = made_folder(output_dir)
    activity = _collect(trails, activities, since, until, jobs)
    subjects = subjects_of(activity, _ids(details))
    _check_asked(activity, wanted)
    chosen = _chosen(wanted, subjects, details) if wanted else list(subjects.by_arn.values())
    if folder is None and len(chosen) == 1:
        proposal = propose_one(chosen[0], Logs(activity), inputs)
        click.echo(rendered(proposal, forms or ("text",)), nl=False)
        refused = int(proposal["verdict"] == "refused")
    else:
        rows = propose_all(chosen, Logs(activity), inputs, folder=folder, forms=forms, jobs=jobs)
        for line in summary(rows, subjects, folder):
            click.echo(printable(line))
        refused = sum(row["verdict"] == "refused" for row in rows)
    problems = activity.totals.unreadable_files or activity.totals.unreadable_records
    if problems:
        for line in problem_lines(activity):
            click.echo(line, err=True)
    if problems or (refused and not is_all):
        click.get_current_context().exit(FOUND_PROBLEMS)


@policy.command(no_args_is_help=True)
@_logs_options
@click.option(
    "--policy",
    "policy_files",
    multiple=True,
    required=True,
    metavar="FILE",
    help="A policy document, or a folder of them: together they are replayed. Repeatable.",
)
@click.option("--boundary", "boundary_file", metavar="FILE", help="The permissions boundary.")
@click.option(
    "--limits",
    "limit_files",
    multiple=True,
    metavar="FILE",
    help="Service or resource control policies, a level a file. Repeatable.",
)
@click.option(
    "--principal", "principal_arn", required=True, metavar="ARN", help="Whose calls are replayed."
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="What to print.",
)
def replay(
    trails: tuple[str, ...],
    activities: tuple[str, ...],
    since: str | None,
    until: str | None,
    jobs: int,
    policy_files: tuple[str, ...],
    boundary_file: str | None,
    limit_files: tuple[str, ...],
    principal_arn: str,
    form: str,
) -> None:
    """Tell whether every observed call would still be allowed by these policies.

    Calls that were refused are not replayed: they are no needs. Exit code 1: a call would be
    refused, or it cannot be decided.

    Example: pare policy replay --policy new.json --activity activity.ndjson.gz --principal ARN
    """
    gc.disable()
    arn = parse_principal_arn(principal_arn)
    documents = [parsed for path in policy_files for parsed in _documents(path)]
    access = Access(
        documents,
        boundary=_one_document(boundary_file) if boundary_file else None,
        limits=read_limits([_json(path) for path in limit_files]),
    )
    activity = _collect(trails, activities, since, until, jobs)
    subjects = subjects_of(activity, {})
    _check_asked(activity, [arn])
    if arn.arn not in subjects.by_arn:
        raise PolicyInputError(_not_there(arn.arn, subjects))
    calls = observed_calls(subjects.by_arn[arn.arn].activity)
    certificate = replay_calls(
        calls.allowed, principal_arn=arn.arn, account_id=arn.account_id, access=access
    )
    if form == "json":
        click.echo(json.dumps(certificate, indent=2, sort_keys=True))
    else:
        click.echo(printable_lines(replay_text(certificate, unmapped=calls.unmapped)), nl=False)
    if not certificate["complete"]:
        click.get_current_context().exit(FOUND_PROBLEMS)


@policy.command(no_args_is_help=True)
@click.option(
    "--trail",
    "trails",
    multiple=True,
    required=True,
    metavar="LOGS",
    help="CloudTrail files. Activity files do not tell sessions apart. Repeatable.",
)
@click.option("--since", type=Moment(), help="Only events from this moment on (UTC).")
@click.option("--until", type=Moment(), help="Only events before this moment (UTC).")
@click.option(
    "--jobs",
    type=click.IntRange(1, 256),
    default=lambda: os.cpu_count() or 1,
    show_default="one a core",
    help="Processes that read.",
)
@click.option("--principal", "role_arn", required=True, metavar="ARN", help="The role.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="What to print.",
)
def sessions(
    trails: tuple[str, ...],
    since: str | None,
    until: str | None,
    jobs: int,
    role_arn: str,
    form: str,
) -> None:
    """Tell who used what of a role that people, pods or pipelines share.

    Session names that differ in an id or a number only are one. Exit code 1: there are groups that
    deserve roles of their own.

    Example: pare policy sessions --trail ~/cloudtrail --principal ARN
    """
    gc.disable()
    role = parse_principal_arn(role_arn)
    activity = _collect(trails, (), since, until, jobs, by_session=frozenset({role.arn}))
    subjects = subjects_of(activity, {})
    if role.arn not in subjects.by_arn:
        raise PolicyInputError(_not_there(role.arn, subjects))
    found = of_activity(activity, role.arn)
    if form == "json":
        click.echo(json.dumps(found, indent=2, sort_keys=True))
    else:
        click.echo(printable_lines(text_of(found)), nl=False)
    if found["deserves_roles"]:
        click.get_current_context().exit(FOUND_PROBLEMS)


@policy.command(no_args_is_help=True)
@click.argument("old", metavar="OLD")
@click.argument("new", metavar="NEW")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "markdown", "json"]),
    default="text",
    show_default=True,
    help="What to print.",
)
def diff(old: str, new: str, form: str) -> None:
    """Compare two policies, or two folders of policies: what is removed, kept and added.

    Exit code 1: they differ.

    Example: pare policy diff attached/ proposals/111122223333/role/app/
    """
    found = difference_of_documents(_documents(old), _documents(new))
    if form == "json":
        click.echo(json.dumps(found, indent=2, sort_keys=True))
    elif form == "markdown":
        click.echo(as_markdown(found), nl=False)
    else:
        click.echo(printable_lines(as_text(found)), nl=False)
    if _differs(found):
        click.get_current_context().exit(FOUND_PROBLEMS)


def _differs(found: DifferenceJson) -> bool:
    return bool(
        found["removed_action_count"]
        or found["added_action_count"]
        or found["changed_action_count"]
    )


# --- input ----------------------------------------------------------------------------------------


def _json(path: str) -> Any:
    try:
        # Some shells begin what they write to a file with a byte order mark.
        text = sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8-sig")
        return json.loads(text)
    except OSError as error:
        raise PolicyInputError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise PolicyInputError(f"{path} is not JSON: {error}") from error


def _one_document(path: str) -> PolicyDocument:
    return _parsed(path, _json(path))


def _parsed(path: str, source: Any) -> PolicyDocument:
    try:
        return parse(source)
    except PolicyParseError as error:
        raise PolicyParseError(f"{path}: {error}") from error


def _documents(path: str) -> list[PolicyDocument]:
    """Return the policy documents in a file, or in the policy*.json files of a folder."""
    if Path(path).is_dir():
        files = sorted(Path(path).glob("policy*.json"))
        if not files:
            raise PolicyInputError(f"There is no policy*.json in {path}")
        return [_one_document(str(file)) for file in files]
    found = _json(path)
    return [_parsed(path, each) for each in (found if isinstance(found, list) else [found])]


def _last_accessed(path: str) -> LastAccessedOutcomeJson:
    try:
        return read_last_accessed(_json(path))
    except PolicyInputError as error:
        message = str(error)
        raise PolicyInputError(
            message if message.startswith(path) else f"{path}: {message}"
        ) from error


def _exemptions(path: str) -> tuple[Exemption, ...]:
    found = _json(path)
    names = {each.name for each in fields(Exemption)}
    if not isinstance(found, list) or not all(
        isinstance(each, dict)
        and each.keys() == names
        and all(isinstance(value, str) for value in each.values())
        for each in found
    ):
        raise PolicyInputError(
            f"{path} is no JSON list of objects with {', '.join(sorted(names))}, all of them texts"
        )
    for each in found:
        try:
            each["expires"] = date.fromisoformat(each["expires"]).isoformat()
        except ValueError as error:
            raise PolicyInputError(
                f"{path}: expires of {each['principal']} is no date such as 2027-06-30"
            ) from error
    return tuple(Exemption(**each) for each in found)


def _read_details(
    paths: tuple[str, ...], wanted: Sequence[PrincipalArn]
) -> AuthorizationDetails | None:
    if not paths:
        return None
    details = read_authorization_details([_json(path) for path in paths])
    for arn in wanted:
        if arn.account_id not in details.account_ids():
            raise click.UsageError(
                f"--current is of account {', '.join(details.account_ids()) or '(none)'}; "
                f"{arn.arn} is of {arn.account_id}."
            )
    return details


def _collect(
    trails: tuple[str, ...],
    activities: tuple[str, ...],
    since: str | None,
    until: str | None,
    jobs: int,
    by_session: frozenset[str] = frozenset(),
) -> Activity:
    if not trails and not activities:
        raise click.UsageError("Give the logs: --trail LOGS or --activity FILE.")
    if since and until and since >= until:
        raise click.UsageError(f"--since {since} is not before --until {until}.")
    activity = collect(
        (*trails, *activities), Asked(since or "", until or ""), jobs=jobs, by_session=by_session
    )
    if not activity.totals.used and not activity.totals.denied:
        between = f" between {since or 'the beginning'} and {until or 'the end'}"
        raise PolicyInputError(
            f"The logs hold no API call{between if since or until else ''}"
            + (f"; they span {activity.first} to {activity.last}" if activity.first else "")
        )
    return activity


def _ids(details: AuthorizationDetails | None) -> dict[str, str]:
    if details is None:
        return {}
    return {arn: access["principal_id"] for arn, access in details.principals().items()}


def _check_asked(activity: Activity, wanted: Sequence[PrincipalArn]) -> None:
    """Refuse activity that was collected of other principals: these seem to have done nothing."""
    for asked in sorted(activity.asked):
        of_them = Wanted(asked.principals, asked.accounts)
        for arn in wanted:
            if of_them(Principal(arn.arn, "", "", arn.account_id)) is not None:
                raise PolicyInputError(
                    f"The activity was collected of "
                    f"{', '.join((*asked.principals, *asked.accounts))} only, not of {arn.arn}"
                )


def _chosen(
    wanted: Sequence[PrincipalArn], subjects: Subjects, details: AuthorizationDetails | None
) -> list[Subject]:
    chosen = []
    for arn in wanted:
        found = subjects.by_arn.get(arn.arn)
        if found is None:
            is_granted = details is not None and (
                arn.arn in details.principals() or arn.arn in details.unknown()
            )
            if not is_granted:
                raise PolicyInputError(_not_there(arn.arn, subjects))
            found = Subject(arn, PrincipalActivity())
        chosen.append(found)
    return chosen


def _not_there(arn: str, subjects: Subjects) -> str:
    name = arn.rpartition("/")[2]
    near = [each for each in subjects.by_arn if each.rpartition("/")[2] == name]
    near = near or difflib.get_close_matches(arn, subjects.by_arn, n=3)
    return f"{arn} is not in the logs" + (
        f". Did you mean {' or '.join(near[:3])}?" if near else ""
    )


def printable_lines(text: str) -> str:
    """Return text of several lines without what a terminal would take for a command."""
    return "".join(f"{printable(line)}\n" for line in text.splitlines())
