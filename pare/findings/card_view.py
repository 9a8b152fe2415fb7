"""A card as a message sees it: its findings, those that say the same, who archived it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from pare.findings.model import Finding

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pare.findings.card import CardViewJson, OpenJson
    from pare.findings.model import FindingJson
    from pare.object_ref import ObjectRef

# What is known now of a finding that a message is about. ``unwatched``: nobody knows. ``archived``:
# it is still so. Only ``closed`` is over. In the order in which people are told.
Part = Literal["open", "unwatched", "archived", "closed"]
PARTS: tuple[Part, ...] = ("open", "unwatched", "archived", "closed")
_PART_OF_END: Mapping[str, Part] = {
    "RESOLVED": "closed", "DELETED": "closed", "ARCHIVED": "archived", "UNWATCHED": "unwatched",
}  # fmt: skip
_PART_OF_NEWS: Mapping[str, Part] = {
    "closed": "closed", "archived": "archived", "unwatched": "unwatched",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Place:
    """Where Pare runs, where the full list of a message lies, if it has one, and who answers."""

    partition: str
    region: str
    listing: ObjectRef | None = None
    contact: str | None = None  # whom an owner can ask


@dataclass(frozen=True, slots=True)
class Group:
    """Findings that say the same of one access, or of one kind; in each Region one."""

    findings: tuple[FindingJson, ...]  # at least one, gravest first
    part: Part = "open"

    @property
    def first(self) -> FindingJson:
        return self.findings[0]


class ArchiverJson(TypedDict):
    """Who archived a finding, and why, as far as anybody noted it."""

    by: str | None
    reason: str | None
    expires: str | None


def findings_of(view: CardViewJson) -> list[FindingJson]:
    """Return the findings a message is about, gravest first, in this version's shape.

    At least one: of a card whose findings could not be read, one that knows nothing more than it.
    """
    found = [Finding.from_json(each).to_json() for each in view["findings"]]
    return found or [_unread(view)]


def ended_of(view: CardViewJson) -> list[FindingJson]:
    """Return the findings that ended since people were last told."""
    return [Finding.from_json(each).to_json() for each in view["ended"]]


def _unread(view: CardViewJson) -> FindingJson:
    card = view["card"]
    known: dict[str, Any] = {**card["ended"], **card["open"]}
    finding_id, one = next(iter(sorted(known.items())), ("?", dict[str, Any]()))
    return Finding(
        finding_id=finding_id,
        access="external",
        finding_type=one.get("finding_type", "unknown"),
        status="ACTIVE",
        is_deleted=False,
        account_id=card["account_id"],
        region=one.get("region", "unknown"),
        analyzer_arn="",
        resource=card["resource"],
        resource_type=card["resource_type"],
        created_at=card["opened_at"] or card["updated_at"],
        updated_at=card["updated_at"],
        analyzed_at=card["updated_at"],
        error="not read",
        owner=card["owner"],
        unknown=("the finding itself could not be read",),
    ).to_json()


def part_of(view: CardViewJson, finding: FindingJson) -> Part:
    """Return what is known now of a finding of a card: how it ended, where nothing is open."""
    if view["news"] not in _PART_OF_NEWS:
        return "open"
    ended = view["card"]["ended"].get(finding["finding_id"])
    return _PART_OF_END[ended["how"]] if ended else _PART_OF_NEWS[view["news"]]


def groups_of(view: CardViewJson, findings: Iterable[FindingJson]) -> list[Group]:
    """Return the findings that say the same together: what may still be so before what is over."""
    by_part: dict[Part, list[FindingJson]] = {part: [] for part in PARTS}
    for finding in findings:
        by_part[part_of(view, finding)].append(finding)
    return [Group(group.findings, part) for part in PARTS for group in grouped(by_part[part])]


def archived_before(view: CardViewJson) -> list[OpenJson]:
    """Return what of a card is still so and archived, and did not end since people were told."""
    card = view["card"]
    kept = card.get("archived") or {}  # not in a message that an earlier version froze
    return [kept[each] for each in sorted(kept) if each not in card["ended"]]


def grouped(findings: Iterable[FindingJson]) -> list[Group]:
    """Return findings that say the same together, in the order in which each is first met."""
    groups: dict[tuple[object, ...], list[FindingJson]] = {}
    for finding in findings:
        groups.setdefault(said_by(finding), []).append(finding)
    return [Group(tuple(found)) for found in groups.values()]


def said_by(finding: FindingJson) -> tuple[object, ...]:
    """Return what a finding says: those of which it is equal are told as one.

    What the same principal may do besides, or under another condition, is another access: what is
    said of the one is not true of the other, and no exemption is for two conditions.
    """
    is_access = finding["access"] in {"external", "internal"}
    return (
        *whose(finding),
        tuple(sorted(finding["condition"].items())) if is_access else None,
        tuple(sorted(set(finding["actions"]))) if is_access else None,
    )


def whose(finding: FindingJson) -> tuple[object, ...]:
    """Return what a finding says without what exactly is open: those of one principal are equal."""
    return (
        finding["finding_type"],
        finding["error"],
        finding["is_public"],
        tuple(sorted(finding["principal"].items())),
        finding["access_key_id"],
        finding["region"] if finding["access"] == "watch" else None,
        finding["finding_id"] if finding["access"] == "watch" else None,
    )


def others_of(groups: Sequence[Group]) -> int:
    """Return how many principals, or kinds, there are in groups beside that of the first."""
    return len({whose(group.first) for group in groups}) - 1


def of_the_first(groups: Sequence[Group]) -> list[Group]:
    """Return the groups of the principal, or of the kind, that the first is of."""
    return [each for each in groups if whose(each.first) == whose(groups[0].first)]


def archivers_of(view: CardViewJson, groups: Iterable[Group]) -> list[str]:
    """Return who archived these, each once; without those of whom nobody noted it."""
    found = (archiver_of(view, each) for group in groups for each in group.findings)
    return list(dict.fromkeys(each["by"] for each in found if each and each["by"]))


def archiver_of(view: CardViewJson, finding: FindingJson) -> ArchiverJson | None:
    """Return who archived a finding and why; None where nobody noted it.

    The Findings table noted it, or an exemption of the card tells it.
    """
    found: Any = view["archived"].get(finding["finding_id"]) or next(
        (
            each
            for each in view["card"]["exemptions"]
            if each["finding_type"] == finding["finding_type"]
            and each["principal"] == finding["principal"]
            and each.get("is_public") == finding["is_public"]
            and (each.get("condition") or {}) == finding["condition"]
        ),
        None,
    )
    if found is None:
        return None
    return {
        "by": found.get("by") or found.get("how"),  # ``archive rule pare-auditors``
        "reason": found.get("reason"),
        "expires": found.get("expires"),
    }
