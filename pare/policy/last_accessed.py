"""What ``aws iam get-service-last-accessed-details`` printed, read.

https://docs.aws.amazon.com/IAM/latest/APIReference/API_GetServiceLastAccessedDetails.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pare.clock import format_time, parse_time
from pare.errors import PolicyInputError

if TYPE_CHECKING:
    from datetime import datetime

    from pare.policy.evidence import LastAccessedOutcomeJson, ServiceLastAccessedJson

COMPLETED = "COMPLETED"
_KEYS = ("JobStatus", "ServicesLastAccessed")


def read_last_accessed(source: Any) -> LastAccessedOutcomeJson:
    """Return the last accessed information in the AWS CLI's JSON; raises PolicyInputError.

    A job that has not ended, or only its first page, says nothing of the rest: it is refused.
    """
    # While the job runs there may be a status alone.
    if not isinstance(source, dict) or source.keys().isdisjoint(_KEYS):
        raise PolicyInputError(
            "This is not what `aws iam get-service-last-accessed-details` prints: it has no "
            "ServicesLastAccessed"
        )
    if source.get("JobStatus") != COMPLETED:
        raise PolicyInputError(
            f"The job has not completed: JobStatus is {source.get('JobStatus')!r}"
        )
    if source.get("IsTruncated"):
        raise PolicyInputError("Only the first page is here: IsTruncated is true")
    try:
        services = [service_last_accessed(item) for item in source["ServicesLastAccessed"]]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise PolicyInputError(f"ServicesLastAccessed is damaged: {error!r}") from error
    return {"outcome": COMPLETED, "message": "", "services": services}


def entities_of(source: Any) -> frozenset[str]:
    """Return the ARNs of all users and roles that the information names: who used what last.

    Information on one user or role names no other; it names none where nothing was used.
    """
    entities: set[Any] = set()
    for item in source["ServicesLastAccessed"]:
        entities.add(item.get("LastAuthenticatedEntity"))
        tracked = item.get("TrackedActionsLastAccessed") or ()
        entities.update(each.get("LastAccessedEntity") for each in tracked)
    return frozenset(each for each in entities if isinstance(each, str))


def service_last_accessed(item: dict[str, Any]) -> ServiceLastAccessedJson:
    """Return one of ``ServicesLastAccessed``; its times are texts or boto3's moments."""
    tracked = item.get("TrackedActionsLastAccessed")
    return {
        "service": item["ServiceNamespace"].lower(),
        "name": item["ServiceName"],
        "last_accessed_at": _time(item.get("LastAuthenticated")),
        "region": item.get("LastAuthenticatedRegion"),
        "actions": None
        if tracked is None
        else {each["ActionName"]: _time(each.get("LastAccessedTime")) for each in tracked},
    }


def _time(value: str | datetime | None) -> str | None:
    if not value:
        return None
    return format_time(parse_time(value) if isinstance(value, str) else value)
