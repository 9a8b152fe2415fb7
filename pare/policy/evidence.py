"""The evidence a proposal rests on, in the shapes it is stored in."""

from __future__ import annotations

from typing import Any, TypedDict


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
