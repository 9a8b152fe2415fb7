"""The evidence a proposal rests on, in the shapes it is stored in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypedDict

from pare.policy.statements import Rules
from pare.policy.verdict import Exemption, Thresholds

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pare.cloudtrail.activity import PrincipalActivity
    from pare.policy.coverage import ActivityCoverageJson
    from pare.policy.current import CurrentAccessJson, Kind
    from pare.policy.document import PolicyDocument
    from pare.policy.packing import Mode


class GeneratedPolicyJson(TypedDict):
    """What GetGeneratedPolicy says. ``is_complete`` is None until AWS tells."""

    job_id: str
    status: str  # IN_PROGRESS, SUCCEEDED, FAILED or CANCELED, as AWS spells them
    started_at: str
    completed_at: str | None
    error_code: str | None
    error_message: str | None
    is_complete: bool | None
    policies: list[dict[str, Any]]
    trail: dict[str, Any] | None


class ServiceLastAccessedJson(TypedDict):
    """Last accessed information of one service; None: no record in AWS's tracking period.

    ``actions`` maps action names ("GetObject") to the last attempt; it is None where AWS does not
    track actions of this service, which says nothing about use.
    """

    service: str
    name: str
    last_accessed_at: str | None
    region: str | None
    actions: dict[str, str | None] | None


class GenerationOutcomeJson(TypedDict):
    """How policy generation ended: AWS's job status, or why there was no job (an error's name)."""

    outcome: str
    message: str
    job_id: str | None
    is_complete: bool | None
    policies: list[dict[str, Any]]
    trail: dict[str, Any] | None


class LastAccessedOutcomeJson(TypedDict):
    """How the last accessed job ended: ``COMPLETED`` with its services, or an error's name."""

    outcome: str
    message: str
    services: list[ServiceLastAccessedJson]


def generation_outcome(generated: GeneratedPolicyJson) -> GenerationOutcomeJson:
    """Return the outcome of a policy generation that has ended.

    A failed job's outcome is its error code; AWS names four (facts §1).
    """
    status = generated["status"]
    return {
        "outcome": generated["error_code"] or "FAILED" if status == "FAILED" else status,
        "message": generated["error_message"]
        or {"CANCELED": "the policy generation was cancelled"}.get(status, ""),
        "job_id": generated["job_id"],
        "is_complete": generated["is_complete"],
        "policies": generated["policies"],
        "trail": generated["trail"],
    }


@dataclass(frozen=True, slots=True)
class Terms:
    """What the settings say about proposals. ``today``: the date, for exemptions."""

    break_glass_tag: str = "pare:break-glass"
    exemptions: tuple[Exemption, ...] = ()
    today: str = ""
    rules: Rules = field(default_factory=Rules)
    packing: Mode = "auto"
    thresholds: Thresholds = field(default_factory=Thresholds)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of a principal. None: it was not asked for, or could not be had.

    ``activity`` is its part of the logs, empty where they do not show it, with the coverage of its
    account. An outcome that is no success carries its own error.
    """

    principal_arn: str
    account_id: str
    kind: Kind
    current: CurrentAccessJson | None = None
    activity: PrincipalActivity | None = None
    coverage: ActivityCoverageJson | None = None
    generation: GenerationOutcomeJson | None = None
    last_accessed: LastAccessedOutcomeJson | None = None
    route: Mapping[str, Any] | None = None
    limits: Sequence[Sequence[PolicyDocument]] = ()
    current_unknown_because: str = ""
    activity_unknown_because: str = ""
    is_path_known: bool = True
    gone_ids: tuple[str, ...] = ()


class TermsJson(TypedDict):
    """``Terms`` as the settings hand them to the policy workflow."""

    break_glass_tag: str
    exemptions: list[dict[str, str]]  # principal, owner, reason, expires
    thresholds: dict[str, Any]  # the fields of Thresholds
    fold_after: int | None
    packing: Mode


def terms_of(source: TermsJson, *, today: str) -> Terms:
    """Return the terms in the settings; ``today`` is a date, ``2026-11-22``."""
    thresholds = source["thresholds"]
    return Terms(
        break_glass_tag=source["break_glass_tag"],
        exemptions=tuple(Exemption(**each) for each in source["exemptions"]),
        today=today,
        rules=Rules(fold_after=source["fold_after"]),
        packing=source["packing"],
        thresholds=Thresholds(
            **{
                **thresholds,
                "complete_data_events": tuple(thresholds["complete_data_events"]),
            }
        ),
    )
