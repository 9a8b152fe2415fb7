"""``pare findings``: what is open, everything about one, and what is meant to be so."""

from __future__ import annotations

import csv
import json
import re
import shutil
import sys
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from pare.cli_activity import csv_cell, format_option, printable
from pare.cli_snapshot import (
    FOUND_PROBLEMS,
    Period,
    accounts_option,
    deployment,
    echo_lines,
    local_options,
    owners_option,
    say,
)
from pare.clock import format_time
from pare.errors import PareError
from pare.findings import page as pages
from pare.findings import view
from pare.findings.model import SEVERITIES, Finding
from pare.findings.state import exemption_of
from pare.inventory.view import wrapped
from pare.message import listed, plain, sentence, several

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from pare.aws.deployed_findings import (
        Changed,
        DeployedFindings,
        ExemptionChanged,
        Started,
    )
    from pare.findings.agreement import AgreementJson
    from pare.findings.card import CardJson
    from pare.findings.model import FindingJson, Severity
    from pare.findings.view import FindingItemJson, ListedCardJson

FAILED = 3
_WRONG_USE = 2
_WIDTH = 100
_SHOWN = 5
_EXEMPTION_DAYS = 365
_DIGEST_COMES_WITHIN = timedelta(days=8)  # where it is weekly
_LONGEST_REASON = 500


@click.group()
def findings() -> None:
    """What is open to whom, unused or not watched: in all accounts and Regions.

    The commands ask the deployed Pare with the AWS credentials of this shell (hub account, home
    Region), or, with --local, the organization in a box.

    Example: pare findings list --severity critical --severity high
    """


def _findings(is_local: bool, state_dir: Path) -> DeployedFindings:
    from pare.aws.deployed_findings import DeployedFindings

    return DeployedFindings(deployment(is_local, state_dir))


def _exit(code: int) -> None:
    if code:
        click.get_current_context().exit(code)


# --- list -----------------------------------------------------------------------------------------


@findings.command("list")
@click.option("--active", "is_active", is_flag=True, help="Open ones. The default.")
@click.option("--all", "is_all", is_flag=True, help="Those that ended or are archived, too.")
@click.option(
    "--status",
    "statuses",
    multiple=True,
    type=click.Choice(view.STATUSES, case_sensitive=False),
    help="Only those with this status. Repeatable.",
)
@click.option(
    "--type",
    "types",
    multiple=True,
    type=click.Choice(view.TYPES, case_sensitive=False),
    help="Only those of this type. Repeatable.",
)
@accounts_option
@click.option(
    "--region", "regions", multiple=True, metavar="REGION", help="Only this Region. Repeatable."
)
@owners_option
@click.option(
    "--severity",
    "severities",
    multiple=True,
    type=click.Choice((*SEVERITIES, view.UNKNOWN), case_sensitive=False),
    help="Only those that are as grave as this. Repeatable.",
)
@click.option(
    "--source",
    "sources",
    multiple=True,
    type=click.Choice(view.SOURCES, case_sensitive=False),
    help="Only those found by it. Repeatable.",
)
@click.option(
    "--resource",
    "resources",
    multiple=True,
    metavar="ARN",
    help="Only about this resource or principal; * stands for any characters. Repeatable.",
)
@click.option(
    "--fail-on",
    type=click.Choice(SEVERITIES),
    help="Exit code 1 if anything listed is open and that grave or graver, or nobody judged it; "
    "also while Pare does not know where it is blind.",
)
@format_option("text", "json", "csv")
@local_options
def list_findings(
    is_active: bool,
    is_all: bool,
    statuses: tuple[str, ...],
    types: tuple[str, ...],
    accounts: tuple[str, ...],
    regions: tuple[str, ...],
    owners: tuple[str, ...],
    severities: tuple[str, ...],
    sources: tuple[str, ...],
    resources: tuple[str, ...],
    fail_on: Severity | None,
    form: str,
    is_local: bool,
    state_dir: Path,
) -> None:
    """List what is open in all accounts and Regions, the gravest first.

    A line is a card: one resource or principal with its findings in all Regions. What nobody
    watches is always named: what is open there is not in the list.

    Example: pare findings list --account payments --fail-on high
    """
    if is_active + is_all + bool(statuses) > 1:
        raise click.UsageError("Give one of --active, --all and --status.")
    found = _findings(is_local, state_dir)
    cards = found.cards()
    statuses = statuses or (() if is_all else ("ACTIVE",))
    items = found.items(active_only=statuses == ("ACTIVE",), say=say)
    _check_regions(regions, items, found)
    _check_resources(resources, cards, items)
    wanted = view.Filter(
        statuses=statuses,
        types=types,
        accounts=_with_ids(accounts, cards, items, found),
        regions=regions,
        owners=owners,
        severities=severities,
        sources=sources,
        resources=resources,
    )
    rows = view.chosen(cards, items, wanted)
    reconciled_at, problem = _reconciled(found)
    unseen = [*_unreconciled_lines(reconciled_at, problem), *_unseen_lines(items)]
    if form == "json":
        told = _list_json(rows, items, reconciled_at)
        click.echo(json.dumps(told, indent=2, sort_keys=True))
    elif form == "csv":
        _print_csv(rows)
        echo_lines((f"pare: {line}" for line in unseen), err=True)
    else:
        # Where the output is no terminal and COLUMNS is not set, it is as wide as most terminals.
        echo_lines(view.table(rows, shutil.get_terminal_size((_WIDTH, 24)).columns))
        if rows:
            click.echo()
        echo_lines([view.summary(rows)])
        echo_lines(_archiving_lines(rows))
        echo_lines(unseen)
    if fail_on and any(
        each["status"] == "ACTIVE" and view.is_as_grave(each["severity"], fail_on)
        for row in rows
        for each in row["findings"]
    ):
        _exit(FOUND_PROBLEMS)
    if fail_on and reconciled_at is None:
        say(f"--fail-on {fail_on}: unknown, because it is not known where Pare is blind")
        _exit(FOUND_PROBLEMS)


def _reconciled(found: DeployedFindings) -> tuple[str | None, str]:
    """Return when the last reconcile that succeeded began; else None, and why that is unknown."""
    try:
        return found.reconciled_at(), ""
    except PareError as error:
        return None, str(error)


def _unreconciled_lines(reconciled_at: str | None, problem: str) -> Iterator[str]:
    if problem:
        yield f"When Pare last looked for blind spots could not be read: {sentence(problem)}"
    elif reconciled_at is None:
        yield (
            "Blind spots are not known yet: no reconcile has succeeded. Look for them: "
            "pare findings reconcile --wait"
        )


def _archiving_lines(rows: Iterable[ListedCardJson]) -> Iterator[str]:
    asked = [
        each["archiving"]["at"] for row in rows for each in row["findings"] if each["archiving"]
    ]
    if asked:
        yield (
            f"Of {several(len(asked), 'finding')} archiving was asked for (last at "
            f"{plain(max(asked))}), and is not yet in the table."
        )


def _check_regions(
    regions: Iterable[str], items: Iterable[FindingItemJson], found: DeployedFindings
) -> None:
    """Refuse what is no Region; say of one that nothing is recorded of it, governed or not."""
    seen = {item["finding"]["region"] for item in items}
    there = seen | found.regions_of_aws() if set(regions) - seen else seen
    for each in regions:
        if each not in there:
            have = listed(sorted(seen), 10) or "none yet"
            raise click.UsageError(
                printable(f"There is no Region {each}. Findings are recorded of: {have}.")
            )
        if each not in seen:
            say(
                f"nothing of this is recorded of {each}; nobody watches it unless it is one of "
                "governed_regions in config/pare.yaml"
            )


def _check_resources(
    resources: Iterable[str], cards: Iterable[CardJson], items: Iterable[FindingItemJson]
) -> None:
    """Refuse a part of a name; say of an ARN or a pattern that no finding was ever about it."""
    known = {card["resource"] for card in cards} | {item["finding"]["resource"] for item in items}
    for each in resources:
        if any(view.is_one_of(resource, (each,)) for resource in known):
            continue
        if "*" not in each and not each.startswith("arn:"):
            raise click.UsageError(
                printable(
                    f"No finding is about {each}. Give a whole ARN, or a part with * around it: "
                    f"--resource '*{each}*'"
                )
            )
        say(f"no finding was ever recorded about {each}")


def _with_ids(
    accounts: tuple[str, ...],
    cards: Iterable[CardJson],
    items: Iterable[FindingItemJson],
    found: DeployedFindings,
) -> tuple[str, ...]:
    """Return what was asked for, and the ids of the accounts that have the names.

    By the id, what was recorded while the name could not be read is found, too. The name of an
    account in which nothing is open is known by its cards, or else by Organizations. Refuses a name
    that no account has: an empty list would seem to say that all is well.
    """
    ids: dict[str, set[str]] = {}
    for about in (*cards, *(item["finding"] for item in items)):
        if name := about["account_name"]:
            ids.setdefault(name, set()).add(about["account_id"])
    asked = [each for each in accounts if "*" not in each and not re.fullmatch("[0-9]{12}", each)]
    problem = ""
    if set(asked) - ids.keys():
        try:
            for account_id, name in found.account_names().items():
                ids.setdefault(name, set()).add(account_id)
        except PareError as error:
            problem = f" Organizations could not be asked: {error}."
    for each in asked:
        if each not in ids:
            have = listed(sorted(ids), 10) or "no name is known yet"
            raise click.UsageError(
                printable(f"No account has the name {each}: {have}. An id is taken.{problem}")
            )
    return (*accounts, *sorted({account_id for each in asked for account_id in ids[each]}))


def _unseen_lines(items: Sequence[FindingItemJson]) -> Iterator[str]:
    """Yield what the list cannot say: what nobody watches, and what is no longer watched."""
    blind = view.blind_spots(items)
    if blind:
        yield f"{several(len(blind), 'blind spot')}: what is open there is not in this list."
    for each in blind:
        yield f"  {plain(each['region'])}: {view.in_words(each)}"
    unwatched = sum(view.status_of(item["finding"]) == "UNWATCHED" for item in items)
    if unwatched:
        yield (
            f"{several(unwatched, 'finding')} of analyzers that are gone: whether they are open "
            "is unknown (--status UNWATCHED)."
        )


def _list_json(
    rows: list[ListedCardJson], items: Sequence[FindingItemJson], reconciled_at: str | None
) -> dict[str, Any]:
    return {
        "as_of": format_time(datetime.now(UTC).replace(microsecond=0)),
        "reconciled_at": reconciled_at,
        "counts": view.counts_of(rows),
        "cards": rows,
        "blind_spots": [
            {
                "finding_id": each["finding_id"],
                "finding_type": each["finding_type"],
                "region": each["region"],
                "resource": each["resource"],
                "what": view.in_words(each),
                "since": each["created_at"],
            }
            for each in view.blind_spots(items)
        ],
        "unwatched_findings": sum(view.status_of(item["finding"]) == "UNWATCHED" for item in items),
    }


CSV_COLUMNS = (
    "severity", "status", "finding_type", "what", "resource", "resource_type", "account_id",
    "account_name", "region", "owner", "created_at", "updated_at", "told_at", "source",
    "severity_rule", "exposure", "principal", "access_levels", "error", "archived_by",
    "archived_reason", "unknown", "card_id", "finding_id", "archiving_asked_at",
)  # fmt: skip


def _print_csv(rows: list[ListedCardJson]) -> None:
    """Print a row for each finding, with what its card says."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for row in rows:
        for each in row["findings"]:
            archived = each["archived"] or {}
            cells = {
                **{name: row.get(name) for name in CSV_COLUMNS},
                **{name: each[name] for name in CSV_COLUMNS if name in each},  # type: ignore[literal-required]
                "told_at": row["told"]["at"] if row["told"] else None,
                "principal": "; ".join(f"{k} {v}" for k, v in sorted(each["principal"].items())),
                "access_levels": "; ".join(each["access_levels"]),
                "archived_by": archived.get("by"),
                "archived_reason": archived.get("reason"),
                "archiving_asked_at": (each["archiving"] or {}).get("at"),
                "unknown": "; ".join(each["unknown"]),
            }
            writer.writerow([csv_cell(str(cells[name] or "")) for name in CSV_COLUMNS])


# --- which finding is meant -----------------------------------------------------------------------


def _meant(asked: str, cards: Sequence[CardJson], items: Sequence[FindingItemJson]) -> view.Meant:
    """Return what an id or ARN names; UsageError with the choice where it names several."""
    found = view.meant(asked, cards, items)
    if len(found) == 1:
        return found[0]
    shown = printable(plain(asked, 2_100))
    if found:
        lines = "\n".join(f"  {each.finding_id or each.card_id}" for each in found[:_SHOWN])
        more = f"\n  … and {len(found) - _SHOWN:,} more" if len(found) > _SHOWN else ""
        raise _RefusedError(f"{shown} names {len(found):,}. Give one of these:\n{lines}{more}")
    if len(asked) < view.SHORTEST_PREFIX and not asked.startswith("arn:"):
        raise _RefusedError(f"{shown} is too short: give at least 6 characters of an id.")
    raise _NoFindingError(f"no finding, card or resource is {shown}")


class _RefusedError(click.ClickException):
    """What was asked for is well said, and yet not done: no lines on usage help."""

    exit_code = _WRONG_USE


class _NoFindingError(PareError):
    what_to_do = (
        "`pare findings list --all` has those there are. One that Access Analyzer has and Pare "
        "does not: `pare findings reconcile --wait` brings it in."
    )


# --- show -----------------------------------------------------------------------------------------


@findings.command(no_args_is_help=True)
@click.argument("asked", metavar="ID")
@format_option("text", "json")
@local_options
def show(asked: str, form: str, is_local: bool, state_dir: Path) -> None:
    """Tell everything known about a finding, or about all findings of a resource.

    ID is a finding's or a card's, a unique beginning of at least 6 characters of one, or the ARN of
    a resource or principal.

    Exit code 2: the beginning is of several. 3: there is no such finding.

    Example: pare findings show 22222222-dcba
    """
    found = _findings(is_local, state_dir)
    items = found.items(say=say)
    meant = _meant(asked, found.cards(), items)
    of_card = [item["finding_id"] for item in items if view.card_id_of_item(item) == meant.card_id]
    card = found.card(meant.card_id)
    if not of_card:
        raise _NoFindingError(f"of card {meant.card_id} no finding is recorded")
    page = pages.Page(card, found.full_items(of_card), datetime.now(UTC), meant.finding_id)
    if form == "json":
        click.echo(json.dumps(pages.as_json(page), indent=2, sort_keys=True))
    else:
        echo_lines(page.lines())


# --- archive, unarchive ---------------------------------------------------------------------------


class Day(click.ParamType[str]):
    """A day in the future."""

    name = "date"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            day = date.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{value!r} is not a date such as 2027-03-31.")
        if day <= datetime.now(UTC).date():
            self.fail(f"{value} is not in the future.")
        return day.isoformat()


ids_argument = click.argument("asked", metavar="ID...", nargs=-1, required=True)


@findings.command(no_args_is_help=True)
@ids_argument
@click.option(
    "--all-regions",
    is_flag=True,
    help="In every Region, and later ones too, until it expires: an exemption.",
)
@click.option("--reason", required=True, metavar="TEXT", help="Why it is meant to be so.")
@click.option(
    "--expires",
    type=Day(),
    metavar="DATE",
    help="The last day of the exemption. Default: in a year.",
)
@click.option("--yes", is_flag=True, help="Do not ask, also of public access.")
@format_option("text", "json")
@local_options
def archive(
    asked: tuple[str, ...],
    all_regions: bool,
    reason: str,
    expires: str | None,
    yes: bool,
    form: str,
    is_local: bool,
    state_dir: Path,
) -> None:
    """Archive findings: what they say is meant to be so.

    ID is as in `show`; of a card or a resource all its open findings are meant. Each is archived at
    its analyzer, in its Region, under your own identity. With --all-regions also the findings of
    the same resource, type and principal in all Regions, and later ones, until the exemption
    expires; people are told 14 days before. Public access and what is critical needs --yes.

    Exit code 3: not everything could be archived; what is and what is not is said. Run again, it
    goes on with the rest.

    \b
    Example: pare findings archive 3f2a91c0 --all-regions \\
               --reason "Our website is public, see WEB-7" --yes
    """
    if expires and not all_regions:
        raise click.UsageError("--expires ends an exemption, and only --all-regions makes one.")
    reason = _reason(reason)
    found = _findings(is_local, state_dir)
    items, cards = found.items(say=say), found.cards()
    chosen = _chosen(asked, cards, items, status="ACTIVE", all_regions=all_regions)
    if all_regions and expires is None:
        expires = f"{datetime.now(UTC).date() + timedelta(days=_EXEMPTION_DAYS)}"
        say(f"no --expires was given: the exemption ends in a year, on {expires}")
    _confirm(chosen, yes=yes)
    told = _Told(form, "archived")
    refused = set()
    for card_id, same in _distinct(chosen) if all_regions else ():
        exemption = found.exempt(
            card_id, same, reason=reason, expires=expires or "", now=datetime.now(UTC)
        )
        told.exemption(card_id, same[0]["finding"], exemption)
        if exemption.error:
            refused.add(card_id)
    for item in chosen:
        if view.card_id_of_item(item) in refused:
            told.untried(item)
        elif view.status_of(item["finding"]) == "ACTIVE":
            told.changed(
                item, found.archive(item, reason=reason, expires=expires, now=datetime.now(UTC))
            )
        else:
            told.left(item)
    if form == "text" and not all_regions and any(told.done):
        say("only these: those of other Regions, and later ones, stay open (--all-regions)")
    if not chosen:
        say("nothing of it is open: it is archived already, or over")
    told.end({"reason": reason, "expires": expires, "by": found.caller})


@findings.command(no_args_is_help=True)
@ids_argument
@click.option("--all-regions", is_flag=True, help="In every Region, and end the exemption.")
@format_option("text", "json")
@local_options
def unarchive(
    asked: tuple[str, ...], all_regions: bool, form: str, is_local: bool, state_dir: Path
) -> None:
    """Open archived findings again: the way back from `archive`.

    Each is set active at its analyzer, in its Region, under your own identity. With --all-regions
    also those of the same resource, type and principal in all Regions, and their exemption ends.
    People are told of them again; also of what only the exemption kept quiet, because it could not
    be archived at its analyzer.

    Exit code 3: not everything could be opened; what is and what is not is said.

    Example: pare findings unarchive 3f2a91c0 --all-regions
    """
    found = _findings(is_local, state_dir)
    items, cards = found.items(say=say), found.cards()
    chosen = _chosen(asked, cards, items, status="ARCHIVED", all_regions=all_regions)
    if not all_regions:
        _refuse_exempted(chosen, cards)
    told = _Told(form, "opened")
    refused = set()
    for card_id, same in _distinct(chosen) if all_regions else ():
        ended = found.end_exemption(card_id, same[0]["finding"], now=datetime.now(UTC))
        told.exemption(card_id, same[0]["finding"], ended)
        if ended.error:
            refused.add(card_id)
    known = {card["card_id"]: card for card in cards}
    for item in chosen:
        card = known.get(view.card_id_of_item(item))
        if view.card_id_of_item(item) in refused:
            told.untried(item)
        elif _is_quiet(item, card):
            told.changed(item, found.record_again(item, now=datetime.now(UTC)))
        elif view.status_of(item["finding"]) == "ARCHIVED":
            told.changed(item, found.unarchive(item, now=datetime.now(UTC)))
            how = str((item["archived"] or {}).get("how", ""))
            if how.startswith("archive rule"):
                say(f"{plain(how)} archived it: the rule may do so again. Change "
                    "config/archive-rules.yaml.")  # fmt: skip
        else:
            told.left(item)
    if not chosen:
        say("nothing of it is archived: it is already open, or over")
    told.end({"by": found.caller})


def _reason(text: str) -> str:
    reason = plain(text, len(text))
    if not reason:
        raise click.UsageError("--reason is empty. Say why it is meant to be so.")
    if len(reason) > _LONGEST_REASON:
        raise click.UsageError(f"--reason is longer than {_LONGEST_REASON} characters.")
    return reason


def _chosen(
    asked: Iterable[str],
    cards: Sequence[CardJson],
    items: Sequence[FindingItemJson],
    *,
    status: str,
    all_regions: bool,
) -> list[FindingItemJson]:
    """Return the findings that are meant; of a card those with the status.

    Of a finding that announces the end of an exemption: those that the exemption is about.
    """
    known = {card["card_id"]: card for card in cards}
    chosen: dict[str, FindingItemJson] = {}
    for each in asked:
        meant = _meant(each, cards, items)
        for item in items:
            is_meant = (
                item["finding_id"] == meant.finding_id
                if meant.finding_id
                else view.card_id_of_item(item) == meant.card_id
                and (
                    view.status_of(item["finding"]) == status
                    or (status == "ARCHIVED" and _is_quiet(item, known.get(meant.card_id)))
                )
            )
            if not is_meant:
                continue
            if view.is_ending_exemption(item):
                same = view.exempted_by(item, known.get(meant.card_id), items)
                if meant.finding_id and not (same and all_regions):
                    raise click.UsageError(
                        "It announces that an exemption ends, which is of all Regions: give "
                        "--all-regions."
                        if same
                        else "Nothing is left of what the exemption is about: let it end."
                    )
                same = same if all_regions else []
            else:
                same = view.alike(item, items) if all_regions else [item]
            chosen |= {one["finding_id"]: one for one in same}
    return sorted(
        chosen.values(),
        key=lambda item: (item["finding"]["resource"], item["finding"]["region"],
                          item["finding_id"]),
    )  # fmt: skip


def _is_quiet(item: FindingItemJson, card: CardJson | None) -> bool:
    """Return whether a finding is open, and not on its card: an exemption keeps it quiet."""
    if view.status_of(item["finding"]) != "ACTIVE" or card is None:
        return False
    if exemption_of(card, Finding.from_json(item["finding"]), datetime.now(UTC)):
        return True
    # An exemption that has ended, and the finding could not be recorded again.
    return item["finding_id"] not in card["open"] and not card["more_open"]


def _distinct(chosen: Iterable[FindingItemJson]) -> list[tuple[str, list[FindingItemJson]]]:
    """Return what an exemption each is about: of a card, the findings of one access."""
    found: dict[tuple[str, str], list[FindingItemJson]] = {}
    for item in chosen:
        access = json.dumps(view.access_of(item["finding"]), sort_keys=True)
        found.setdefault((view.card_id_of_item(item), access), []).append(item)
    return [(card_id, items) for (card_id, _), items in sorted(found.items())]


def _confirm(chosen: Sequence[FindingItemJson], *, yes: bool) -> None:
    """Ask before public access, or what is critical or not judged, is made quiet."""
    grave = [
        item
        for item in chosen
        if view.status_of(item["finding"]) == "ACTIVE" and view.is_public_or_critical(item)
    ]
    if not grave or yes:
        return
    lines = [
        line
        for item in grave
        for line in wrapped(
            f"{plain(item['finding']['region'])}  {view.severity_of(item['finding'])}  "
            f"{plain(item['finding']['resource'], 2_100)}: {view.in_words(item['finding'])}",
            first="  ",
            rest="    ",
        )
    ]
    echo_lines(
        [f"{several(len(grave), 'finding')} of public or critical access:", *lines], err=True
    )
    if not sys.stdin.isatty():
        raise _RefusedError(
            "Nothing was archived. Nobody would be told of it any more: add --yes if you mean it."
        )
    if not click.confirm("Archive, so that nobody would be told of it any more?", err=True):
        raise click.Abort


def _refuse_exempted(chosen: Iterable[FindingItemJson], cards: Sequence[CardJson]) -> None:
    """Refuse to open what an exemption would archive again at once."""
    known = {card["card_id"]: card for card in cards}
    for item in chosen:
        card = known.get(view.card_id_of_item(item))
        exemption = exemption_of(card, Finding.from_json(item["finding"]), datetime.now(UTC))
        if exemption:
            raise click.UsageError(
                f"An exemption until {plain(exemption['expires'] or 'further notice')} would "
                f"archive {plain(item['finding_id'])} again at once. End it, in all Regions: "
                "--all-regions."
            )


# Why a finding is left as it is, by its status.
_ALREADY = {
    "ACTIVE": "it is already open",
    "ARCHIVED": "it is already archived",
    "RESOLVED": "it is resolved",
    "UNWATCHED": "its analyzer is gone",
}


class _Told:
    """What became of each finding, told as it comes, or as one JSON object at the end."""

    def __init__(self, form: str, done_word: str) -> None:
        self._is_text, self._done_word = form == "text", done_word
        self._rows: list[dict[str, Any]] = []
        self._resource = ""  # the last one that was named
        self._exemptions: list[dict[str, Any]] = []

    @property
    def done(self) -> list[dict[str, Any]]:
        """What was changed."""
        return [each for each in self._rows if each["outcome"] == self._done_word]

    def exemption(self, card_id: str, finding: FindingJson, result: ExemptionChanged) -> None:
        self._exemptions.append(
            {
                "card_id": card_id,
                "resource": finding["resource"],
                "finding_type": finding["finding_type"],
                "principal": finding["principal"],
                "expires": result.expires,
                "error": result.error or None,
            }
        )
        if self._is_text:
            end = f"until {result.expires}" if result.expires else "ended"
            what = f"{result.error}. {result.what_to_do}" if result.error else end
            self._name(finding["resource"])
            self._say(
                f"  {'exemption':<9}  {plain(finding['finding_type'])}: {plain(what, 1_000)}",
            )

    def changed(self, item: FindingItemJson, result: Changed) -> None:
        outcome = self._done_word if result.outcome == "done" else result.outcome
        self._row(item, outcome, result.error, result.what_to_do)

    def untried(self, item: FindingItemJson) -> None:
        self._row(item, "failed", "its exemption could not be written, so it was left as it is", "")

    def left(self, item: FindingItemJson) -> None:
        self._row(item, "left", "", "")

    def _row(self, item: FindingItemJson, outcome: str, error: str, what_to_do: str) -> None:
        finding = item["finding"]
        self._rows.append(
            {
                "finding_id": item["finding_id"],
                "region": finding["region"],
                "resource": finding["resource"],
                "status_before": view.status_of(finding),
                "outcome": outcome,
                "error": error or None,
                "what_to_do": what_to_do or None,
            }
        )
        if self._is_text:
            why = {
                "left": _ALREADY.get(view.status_of(finding), "it is over"),
                "resolved": "it is resolved already, and AWS leaves it so",
                "gone": "its analyzer does not have it any more",
            }.get(outcome, "")
            told = " ".join(
                sentence(plain(part, 1_000)) for part in (why, error, what_to_do) if part
            )
            self._name(finding["resource"])
            self._say(
                f"  {outcome:<9}  {plain(finding['region']):<14}  {plain(item['finding_id'])}"
                f"{f': {told}' if told else ''}"
            )

    def _name(self, resource: str) -> None:
        """Print the resource that the lines are about from here on."""
        if resource != self._resource:
            echo_lines([plain(resource, 2_100)])
            self._resource = resource

    def _say(self, line: str) -> None:
        echo_lines(wrapped(line.removeprefix("  "), first="  ", rest="    "))

    def end(self, more: dict[str, Any]) -> None:
        """Print what is left to be said; exit code 3 where anything failed."""
        counts = Counter(each["outcome"] for each in self._rows)
        failed = counts["failed"] + sum(bool(each["error"]) for each in self._exemptions)
        if self._is_text:
            parts = [f"{count} {outcome}" for outcome, count in sorted(counts.items())]
            click.echo(f"{several(len(self._rows), 'finding')}: {', '.join(parts) or 'none'}.")
            if any(self.done):
                say("Pare's tables, and `list`, follow in a minute or two")
            if failed:
                say("not everything could be done. Run it again: what is done stays done")
        else:
            told = {**more, "findings": self._rows, "exemptions": self._exemptions}
            click.echo(json.dumps(told, indent=2, sort_keys=True))
        _exit(FAILED if failed else 0)


# --- reconcile, tell ------------------------------------------------------------------------------

wait_option = click.option(
    "--wait", is_flag=True, help="Wait for its end. Exit code 1: it did not succeed."
)


@findings.command()
@wait_option
@format_option("text", "json")
@local_options
def reconcile(wait: bool, form: str, is_local: bool, state_dir: Path) -> None:
    """Compare every analyzer of every Region with what Pare knows, now instead of tonight.

    What events missed is brought in, what vanished is closed, archive rules are applied, and what
    nobody watches is told. While one is under way no second is started.

    Example: pare findings reconcile --wait
    """
    found = _findings(is_local, state_dir)
    started = found.start_reconcile(now=datetime.now(UTC))
    _await(found, started, "the comparison with the analyzers", wait, form, is_local)


@findings.command()
@click.option("--digest", is_flag=True, help="Also what would wait for the next digest.")
@wait_option
@format_option("text", "json")
@local_options
def tell(digest: bool, wait: bool, form: str, is_local: bool, state_dir: Path) -> None:
    """Let people hear now of what is due, instead of in the next hourly round.

    Example: pare findings tell --digest --wait
    """
    found = _findings(is_local, state_dir)
    now = datetime.now(UTC).replace(microsecond=0)
    start = {"as_of": format_time(now), "kind": "hourly"}
    if digest:
        start["due_by"] = format_time(now + _DIGEST_COMES_WITHIN)
    started = found.start_round(start, now=datetime.now(UTC))
    _await(found, started, "a round of messages", wait, form, is_local)


def _await(
    found: DeployedFindings, started: Started, what: str, wait: bool, form: str, is_local: bool
) -> None:
    """Tell what was started and, if that is asked for, how it ended."""
    from pare.aws.executions import ended

    told: dict[str, Any] = {
        "state": "started" if started.is_new else "running",
        "execution_arn": started.execution_arn,
    }
    if form == "text":
        click.echo(f"{'Started' if started.is_new else 'Already running'}: {what}")
        click.echo(f"  {started.execution_arn}")
    if wait:
        session = found.deployment.session
        told["status"] = ended(session, started.execution_arn, poll_seconds=1 if is_local else 5)
        if form == "text":
            click.echo(f"It ended: {told['status']}.")
    if form == "json":
        click.echo(json.dumps(told, indent=2, sort_keys=True))
    _exit(0 if told.get("status", "SUCCEEDED") == "SUCCEEDED" else FOUND_PROBLEMS)


# --- agreement ------------------------------------------------------------------------------------


@findings.command()
@click.option("--period", type=Period(), help="The inventory of this month. Default: the newest.")
@format_option("text", "json")
@local_options
def agreement(period: str | None, form: str, is_local: bool, state_dir: Path) -> None:
    """Tell where AWS's paid unused-access analyzer and Pare's inventory agree, and where not.

    Where that analyzer is off, Pare's own results stand in for it, and what it would cost is said.

    Exit code 1: they disagree. 3: that month has no inventory.

    Example: pare findings agreement --period 2026-11
    """
    from pare.aws.deployed_inventory import DeployedInventory

    found = _findings(is_local, state_dir)
    head = DeployedInventory(found.deployment, period).head
    told = found.agreement(head["period"])
    if told is None:
        raise _NoAgreementError(f"the inventory of {head['period']} was not compared yet")
    if form == "json":
        click.echo(json.dumps(told, indent=2, sort_keys=True))
    else:
        echo_lines(_agreement_lines(told))
    _exit(FOUND_PROBLEMS if told["disagreements"] else 0)


class _NoAgreementError(PareError):
    what_to_do = "The end of the inventory workflow compares: `pare inventory run --again --wait`."


def _agreement_lines(told: AgreementJson) -> Iterator[str]:
    yield f"Inventory {told['period']}, as of {told['as_of'][:16].replace('T', ' ')} UTC"
    cost = (
        f"{told['principals']:,} roles and users at {told['usd_per_principal_month']:.2f} USD "
        f"each: {told['estimated_usd_month']:,.2f} USD a month"
    )
    if not told["is_on"]:
        yield "AWS's unused-access analyzer is off. Pare's own results stand in for it."
        if though_off := told.get("found_though_off"):
            yield (
                f"Yet {several(though_off, 'finding')} of such an analyzer came: test events, or "
                "of one that the settings (analyzers) do not name. They are told, and not compared."
            )
        yield f"Switched on, AWS would ask for {cost}."
        return
    yield f"AWS's unused-access analyzer is on, for {cost}."
    yield ""
    yield f"{'':<24}{'both':>8}{'analyzer':>10}{'inventory':>11}{'unknown':>9}"
    for kind, counts in told["counts"].items():
        yield (
            f"{plain(kind):<24}{counts['both']:>8,}{counts['analyzer']:>10,}"
            f"{counts['inventory']:>11,}{counts['unknown']:>9,}"
        )
    if not told["counts"]:
        yield "Neither found anything unused."
    if told["disagreements"]:
        yield ""
        yield "They disagree on:"
    for each in told["disagreements"]:
        used = f"; last used {each['last_used_at'][:10]}" if each["last_used_at"] else ""
        yield (
            f"  {plain(each['principal_arn'], 2_100)}  {plain(each['finding_type'])}: analyzer "
            f"{each['analyzer']}, inventory {each['inventory']}{used}"
        )
    if told["left_out"]:
        yield f"  … and {told['left_out']:,} more"
