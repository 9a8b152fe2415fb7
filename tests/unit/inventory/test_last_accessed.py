from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pare.inventory.last_accessed import NewestUse, compact, newest_use, service_counts

if TYPE_CHECKING:
    from pare.policy.evidence import ServiceLastAccessedJson

EARLY, LATE = "2026-01-05T10:00:00Z", "2026-11-01T06:00:00Z"


def service(name: str, at: str | None = None, **more: Any) -> ServiceLastAccessedJson:
    found: ServiceLastAccessedJson = {
        "service": name, "name": name.upper(), "last_accessed_at": at,
        "region": "eu-west-1" if at else None, "actions": None,
    }  # fmt: skip
    found.update(more)  # type: ignore[typeddict-item]
    return found


def test_a_used_service_names_what_was_used_and_what_was_not() -> None:
    (use,) = compact(
        [service("s3", LATE, actions={"PutBucketAcl": None, "ListBuckets": LATE, "Create": None})]
    )
    assert use == {
        "service": "s3",
        "last_accessed_at": LATE,
        "region": "eu-west-1",
        "used": {"ListBuckets": LATE},
        "unused": ["Create", "PutBucketAcl"],
        "tracked": 3,
    }


def test_a_service_nobody_used_has_a_number_instead_of_names() -> None:
    (use,) = compact([service("ec2", actions={"RunInstances": None, "StopInstances": None})])
    assert (use["used"], use["unused"], use["tracked"]) == ({}, None, 2)


def test_untracked_actions_are_unknown_and_not_unused() -> None:
    untracked, empty = compact([service("a", LATE), service("b", LATE, actions={})])
    assert untracked["unused"] is None
    assert empty["unused"] is None
    assert (untracked["tracked"], empty["tracked"]) == (0, 0)


def test_a_use_of_an_action_is_a_use_of_its_service() -> None:
    (use,) = compact([service("s3", actions={"A": EARLY, "B": LATE, "C": None})])
    assert use["last_accessed_at"] == LATE
    assert use["unused"] == ["C"]


def test_services_and_actions_are_sorted() -> None:
    uses = compact([service("s3", LATE, actions={"B": EARLY, "A": LATE}), service("ec2")])
    assert [use["service"] for use in uses] == ["ec2", "s3"]
    assert list(uses[1]["used"]) == ["A", "B"]


def test_counts_tell_used_unused_and_unknown_apart() -> None:
    uses = compact(
        [
            service("s3", LATE, actions={"A": LATE, "B": None, "C": None}),
            service("sqs", EARLY, actions={"D": None}),
            service("ec2", actions={"E": None, "F": None}),
            service("sts", LATE),
        ]
    )
    assert service_counts(uses) == (4, 3, 1, 3)
    assert service_counts(compact([service("sts", LATE)])).unused_actions is None
    assert service_counts(compact([service("ec2", actions={"E": None})])) == (1, 0, 1, 0)
    assert service_counts([]) == (0, 0, 0, 0)


def test_the_newest_use_of_all_services() -> None:
    uses = compact([service("a", EARLY), service("b", LATE), service("c")])
    assert newest_use(uses) == NewestUse(LATE, "b", "eu-west-1")
    assert newest_use(compact([service("c")])) is None
