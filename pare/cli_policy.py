"""``pare policy``: proposed policies from logs, the replay of any policy, and what differs."""

from __future__ import annotations

import difflib
import gc
import json
import os
import sys
from dataclasses import fields
from datetime import UTC, date, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pare.arns import parse_principal_arn
from pare.cli_activity import (
    FOUND_PROBLEMS,
    STANDARD_INPUT,
    Moment,
    Wanted,
    collect,
    format_option,
    is_activity_file,
    patterns_of,
    printable,
    problem_lines,
)
from pare.cli_proposals import (
    Inputs,
    Logs,
    folders_named_in,
    idle_rows,
    made_folder,
    propose_all,
    propose_one,
    rendered,
    summary,
)
from pare.cloudtrail.activity import Asked, PrincipalActivity
from pare.cloudtrail.principals import Principal
from pare.errors import ArnParseError, LogWindowError, PolicyInputError, PolicyParseError
from pare.message import listed, several
from pare.policy.access import Access
from pare.policy.authorization_details import LISTS, read_authorization_details
from pare.policy.catalogue import load_catalogue
from pare.policy.difference import as_markdown, as_text, difference_of_documents
from pare.policy.document import parse
from pare.policy.evidence import Terms
from pare.policy.last_accessed import entities_of, read_last_accessed
from pare.policy.limits import read_limits
from pare.policy.observability import is_visible, visibility
from pare.policy.observed import observed_calls
from pare.policy.outputs import FORMS
from pare.policy.replay import replay as replay_calls
from pare.policy.replay_text import replay_text
from pare.policy.shared_role import of_activity, text_of
from pare.policy.statements import Rules
from pare.policy.subjects import Subject, subjects_of
from pare.policy.verdict import Exemption, Thresholds

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pare.arns import PrincipalArn
    from pare.cloudtrail.activity import Activity
    from pare.policy.authorization_details import AuthorizationDetails
    from pare.policy.difference import DifferenceJson
    from pare.policy.document import PolicyDocument
    from pare.policy.evidence import LastAccessedOutcomeJson
    from pare.policy.observed import Calls
    from pare.policy.outputs import Form
    from pare.policy.packing import Mode
    from pare.policy.subjects import Subjects

# Names that are offered for one that is not there, and how much alike they must be (0 to 1).
_OFFERED = 3
_ALIKE = 0.7


@click.group()
def policy() -> None:
    """Propose policies from what was used, replay policies, and compare them.

    Example: pare policy propose --trail ~/cloudtrail --all -o proposals/
    """


_limits_option = click.option(
    "--limits",
    "limit_files",
    multiple=True,
    metavar="FILE",
    help="Service or resource control policies, a level a file. Repeatable.",
)


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


@policy.command(no_args_is_help=True, short_help="Propose a policy from what was used.")
@_logs_options
@click.option(
    "--principal",
    "principals",
    multiple=True,
    metavar="ARN",
    help="A policy for this user or role ('*/NAME' where only one has it). Repeatable.",
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
@_limits_option
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
    help="Which forms. Default: text on the terminal; markdown in a folder, where json always is.",
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
    if forms and output_dir is None and (is_all or len(set(principals)) > 1):
        raise click.UsageError("--output with --all (or several principals) needs -o DIR.")
    services = _services(complete_data_events)
    details = read_authorization_details(list(map(_json, currents))) if currents else None
    last_accessed, last_entities = (
        _last_accessed(last_accessed_file) if last_accessed_file else (None, frozenset[str]())
    )
    wanted = list(_arns(principals))
    _check_current(wanted, details)
    _check_last_accessed(wanted, last_entities)
    terms = Terms(
        break_glass_tag=break_glass_tag,
        exemptions=_exemptions(exemptions_file) if exemptions_file else (),
        today=datetime.now(UTC).date().isoformat(),
        rules=Rules(fold_after=None if no_fold else fold_after),
        packing=pack,
        thresholds=Thresholds(
            min_window_days=min_days,
            max_days_without_records=max_quiet_days,
            complete_data_events=services,
        ),
    )
    inputs = Inputs(
        details,
        tuple(read_limits([_json(path) for path in limit_files])),
        last_accessed,
        terms,
    )
    folder = made_folder(output_dir)
    activity = _collect(trails, activities, since, until, jobs)
    for line in _ignored_data_events(services, activity):
        click.echo(line, err=True)
    subjects = subjects_of(activity, _ids(details))
    if principals:
        wanted = _named(principals, [*subjects.by_arn, *_granted(details)])
        _check_current(wanted, details)
        _check_last_accessed(wanted, last_entities)
        _check_asked(activity, wanted)
        chosen = _chosen(wanted, subjects, details)
    else:
        chosen = list(subjects.by_arn.values())
        if details is not None:
            _check_accounts(details, {each.arn.account_id for each in chosen})
    if folder is None and len(chosen) == 1:
        proposal = propose_one(chosen[0], Logs(activity), inputs)
        click.echo(rendered(proposal, forms or ("text",)), nl=False)
        refused = int(proposal["verdict"] == "refused")
    else:
        idle = _idle(activity, subjects, details) if details is not None and is_all else []
        rows = propose_all(
            chosen, Logs(activity), inputs, folder=folder, forms=forms, jobs=jobs, idle=idle
        )
        for line in summary(rows, idle, subjects, folder, has_current=details is not None):
            click.echo(printable(line))
        for line in _not_covered(chosen, details):
            click.echo(line, err=True)
        refused = sum(row["verdict"] == "refused" for row in rows)
    problems = activity.totals.unreadable_files or activity.totals.unreadable_records
    if problems:
        for line in problem_lines(activity):
            click.echo(line, err=True)
    if problems or (refused and not is_all):
        click.get_current_context().exit(FOUND_PROBLEMS)


@policy.command(no_args_is_help=True, short_help="Would every observed call still be allowed?")
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
@_limits_option
@click.option(
    "--principal", "principal_arn", required=True, metavar="ARN", help="Whose calls are replayed."
)
@format_option("text", "json")
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
    refused, or it cannot be decided. 3: there is nothing to replay.

    Example: pare policy replay --policy new.json --activity activity.ndjson.gz --principal ARN
    """
    gc.disable()
    documents = [parsed for path in policy_files for parsed in _documents(path)]
    access = Access(
        documents,
        boundary=_one_document(boundary_file) if boundary_file else None,
        limits=read_limits([_json(path) for path in limit_files]),
    )
    activity = _collect(trails, activities, since, until, jobs)
    subjects = subjects_of(activity, {})
    (arn,) = _named([principal_arn], subjects.by_arn)
    _check_asked(activity, [arn])
    if arn.arn not in subjects.by_arn:
        raise PolicyInputError(_not_there(arn, subjects.by_arn))
    calls = observed_calls(subjects.by_arn[arn.arn].activity)
    if not calls.allowed:
        raise PolicyInputError(_nothing_to_replay(arn.arn, calls))
    certificate = replay_calls(
        calls.allowed, principal_arn=arn.arn, account_id=arn.account_id, access=access
    )
    if form == "json":
        click.echo(json.dumps(certificate, indent=2, sort_keys=True))
    else:
        click.echo(printable_lines(replay_text(certificate, unmapped=calls.unmapped)), nl=False)
    if not certificate["complete"]:
        click.get_current_context().exit(FOUND_PROBLEMS)


@policy.command(no_args_is_help=True, short_help="Who used what of a shared role.")
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
@format_option("text", "json")
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
    for path in trails:
        if is_activity_file(path):
            raise click.UsageError(f"{path}: an activity file does not tell sessions apart.")
    role = next(_arns([role_arn]), None)
    if role is None:
        if STANDARD_INPUT in trails:
            raise click.UsageError("Give the role's ARN: standard input is read only once.")
        of_all = _collect(trails, (), since, until, jobs)
        (role,) = _named([role_arn], subjects_of(of_all, {}).by_arn)
    if role.entity != "role":
        raise click.UsageError(f"{role.arn} is no role: only roles are shared by sessions.")
    activity = _collect(trails, (), since, until, jobs, by_session=frozenset({role.arn}))
    subjects = subjects_of(activity, {})
    if role.arn not in subjects.by_arn:
        raise PolicyInputError(_not_there(role, subjects.by_arn))
    found = of_activity(activity, role.arn)
    if form == "json":
        click.echo(json.dumps(found, indent=2, sort_keys=True))
    else:
        click.echo(printable_lines(text_of(found)), nl=False)
    if found["deserves_roles"]:
        click.get_current_context().exit(FOUND_PROBLEMS)


@policy.command(no_args_is_help=True, short_help="What differs between two policies.")
@click.argument("old", metavar="OLD")
@click.argument("new", metavar="NEW")
@format_option("text", "markdown", "json")
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
    return found["differs"]


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
    if what := _other_kind(source):
        raise PolicyInputError(f"{path} is no policy: it is {what}")
    try:
        return parse(source)
    except PolicyParseError as error:
        raise PolicyParseError(f"{path}: {error}") from error


def _other_kind(source: Any) -> str:
    """Return what a file is that people take for a policy; empty where that is not known."""
    keys = source.keys() if isinstance(source, dict) else frozenset[str]()
    if {"schema_version", "principal_arn", "documents"} <= keys:
        return "a proposal.json of Pare; name policy-1.json, or its folder"
    if {"principal_arn", "folder"} <= keys:
        return "an index.json of Pare; name policy-1.json of one of its folders"
    if "Statement" not in keys and not keys.isdisjoint(LISTS):
        return "what `aws iam get-account-authorization-details` prints"
    return ""


def _documents(path: str) -> list[PolicyDocument]:
    """Return the policy documents in a file, or in the policy*.json files of a folder."""
    if Path(path).is_dir():
        files = sorted(Path(path).glob("policy*.json"))
        if not files:
            raise PolicyInputError(_no_policies_in(Path(path)))
        return [_one_document(str(file)) for file in files]
    found = _json(path)
    return [_parsed(path, each) for each in (found if isinstance(found, list) else [found])]


def _no_policies_in(folder: Path) -> str:
    places = sorted(folders_named_in(folder))
    if not places:
        return f"There is no policy*.json in {folder}"
    several = "folders for several principals" if len(places) > 1 else "the folder of a principal"
    return f"{folder} has {several}: name one of them, such as {folder / places[0]}"


def _last_accessed(path: str) -> tuple[LastAccessedOutcomeJson, frozenset[str]]:
    """Return the last accessed information, and the ARNs of whom it is."""
    try:
        source = _json(path)
        return read_last_accessed(source), entities_of(source)
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


def _check_current(wanted: Iterable[PrincipalArn], details: AuthorizationDetails | None) -> None:
    """Raise UsageError for a principal of another account than --current."""
    for arn in wanted:
        if details is not None and arn.account_id not in details.account_ids():
            raise click.UsageError(
                f"--current is of account {', '.join(details.account_ids()) or '(none)'}; "
                f"{arn.arn} is of {arn.account_id}."
            )


def _check_last_accessed(wanted: Iterable[PrincipalArn], entities: frozenset[str]) -> None:
    """Raise UsageError where --last-accessed names others only.

    A name is unique in its account whatever its path, and the logs may not tell the path.
    """
    named = {(each.account_id, each.entity, each.name) for each in _arns(sorted(entities))}
    for arn in wanted:
        if named and (arn.account_id, arn.entity, arn.name) not in named:
            raise click.UsageError(
                f"--last-accessed is of {listed(sorted(entities), 3)}, not of {arn.arn}."
            )


def _check_accounts(details: AuthorizationDetails, of_logs: set[str]) -> None:
    """Raise UsageError where --current speaks of none of the accounts in the logs."""
    if of_logs and of_logs.isdisjoint(details.account_ids()):
        raise click.UsageError(
            f"--current is of account {', '.join(details.account_ids()) or '(none)'}; the users "
            f"and roles in the logs are of {listed(sorted(of_logs))}."
        )


def _services(names: Iterable[str]) -> tuple[str, ...]:
    """Return service prefixes in lower case; raises UsageError for one that is none."""
    known = load_catalogue().services
    for name in names:
        if name.lower() not in known:
            raise click.UsageError(
                f"--complete-data-events: {name} is not a service prefix, such as s3 or dynamodb."
            )
    return tuple(name.lower() for name in names)


def _ignored_data_events(services: Iterable[str], activity: Activity) -> Iterator[str]:
    """Yield a line for each service that the logs have no data events of."""
    sources = activity.totals.data_events
    for service in services:
        if not any(
            visibility(action) == "data event" and is_visible(action, sources)
            for action in load_catalogue().actions(service)
        ):
            yield (
                f"pare: --complete-data-events {service} is ignored: "
                f"no data events of {service} are in these logs."
            )


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
        spans = f"; they span {activity.first} to {activity.last}" if activity.first else ""
        if since or until:
            raise LogWindowError(
                f"The logs hold no API call between {since or 'the beginning'} and "
                f"{until or 'the end'}{spans}"
            )
        raise PolicyInputError(f"The logs hold no API call{spans}")
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
            if of_them(_as_principal(arn)) is not None:
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
                raise PolicyInputError(_not_there(arn, subjects.by_arn))
            found = Subject(arn, PrincipalActivity())
        chosen.append(found)
    return chosen


def _granted(details: AuthorizationDetails | None) -> list[str]:
    return [*details.principals(), *details.unknown()] if details is not None else []


def _idle(
    activity: Activity, subjects: Subjects, details: AuthorizationDetails
) -> list[dict[str, Any]]:
    """Return the rows of users and roles of --current that did nothing, as far as was asked."""
    asked = [Wanted(each.principals, each.accounts) for each in sorted(activity.asked)]
    idle = [
        arn
        for arn in sorted(set(_granted(details)) - set(subjects.by_arn))
        if all(of_them(_as_principal(parse_principal_arn(arn))) is None for of_them in asked)
    ]
    return idle_rows(idle, details)


def _as_principal(arn: PrincipalArn) -> Principal:
    return Principal(arn.arn, "", "", arn.account_id)


def _not_covered(chosen: Sequence[Subject], details: AuthorizationDetails | None) -> Iterator[str]:
    """Yield a line where the access of some principals is not known, though --current is given."""
    if details is None:
        return
    missing = sum(each.arn.arn not in details.principals() for each in chosen)
    if missing:
        yield (
            f"pare: --current does not cover {missing:,} of {len(chosen):,} "
            f"principal{'' if len(chosen) == 1 else 's'}; CURRENT_ACCESS_UNKNOWN says why."
        )


# --- which principal is meant ---------------------------------------------------------------------


def _arns(asked: Iterable[str]) -> Iterator[PrincipalArn]:
    """Yield those that are ARNs of users or roles, each once; patterns are none."""
    for each in dict.fromkeys(asked):
        if "*" not in each:
            try:
                yield parse_principal_arn(each)
            except ArnParseError:
                continue


def _named(asked: Iterable[str], known: Iterable[str]) -> list[PrincipalArn]:
    """Return the principals that are named by an ARN, or by a pattern that one of them matches.

    Raises UsageError for other names, with what they may mean, and PolicyInputError for a pattern
    that nothing matches.
    """
    known = sorted(set(known))
    found = [_named_by(each, known) for each in asked]
    return list({arn.arn: arn for arn in found}.values())


def _named_by(asked: str, known: Sequence[str]) -> PrincipalArn:
    for arn in _arns([asked]):
        return arn
    if asked in known:
        return parse_principal_arn(asked)
    if "*" not in asked:
        meant = [each for each in known if any(fnmatchcase(each, p) for p in patterns_of(asked))]
        meant = meant or _near(asked.rpartition("/")[2], known)
        hint = f" Did you mean {_offered(meant)}?" if meant else " Give its ARN, or '*/NAME'."
        raise click.UsageError(printable(f"{asked!r} is not the ARN of an IAM user or role.{hint}"))
    matching = [each for each in known if fnmatchcase(each, asked)]
    if not matching:
        raise PolicyInputError(f"No user or role in the logs matches {asked}")
    if len(matching) > 1:
        raise click.UsageError(printable(
            f"{len(matching):,} users and roles match {asked}: {listed(matching, _OFFERED)}. "
            "Name one of them."
        ))  # fmt: skip
    return parse_principal_arn(matching[0])


def _not_there(arn: PrincipalArn, known: Iterable[str]) -> str:
    near = _near(arn.name, known, arn)
    return f"{arn.arn} is not in the logs" + (f". Did you mean {_offered(near)}?" if near else "")


def _offered(arns: Sequence[str]) -> str:
    return " or ".join(arns[:_OFFERED])


def _near(name: str, known: Iterable[str], like: PrincipalArn | None = None) -> list[str]:
    """Return the ARNs with this name, or else with names that are much like it, best first.

    Where some are of the same entity as ``like``, only they are; those of its account come first.
    """
    ranked = []
    for arn in map(parse_principal_arn, known):
        alike = difflib.SequenceMatcher(None, name.lower(), arn.name.lower()).ratio()
        if alike >= _ALIKE:
            is_other = like is not None and arn.entity != like.entity
            is_far = like is not None and arn.account_id != like.account_id
            ranked.append((alike < 1, is_other, is_far, -alike, arn.arn))
    ranked.sort()
    return [each[-1] for each in ranked if each[:2] == ranked[0][:2]]


def _nothing_to_replay(arn: str, calls: Calls) -> str:
    unmapped = (
        f"; {several(len(calls.unmapped), 'operation')} "
        f"map{'s' if len(calls.unmapped) == 1 else ''} to no known action: "
        f"{listed(sorted(calls.unmapped), 5)}"
        if calls.unmapped
        else ""
    )
    return f"Nothing to replay: no allowed call of {arn} was recorded{unmapped}"


def printable_lines(text: str) -> str:
    """Return text of several lines without what a terminal would take for a command."""
    return "".join(f"{printable(line)}\n" for line in text.splitlines())
