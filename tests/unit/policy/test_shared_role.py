"""Who used what of a shared role: groups by a rule that can be checked by hand."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pare.cloudtrail.activity import Activity, Use, UseKey
from pare.cloudtrail.principals import Principal
from pare.cloudtrail.session_pattern import session_pattern
from pare.policy.shared_role import (
    MAX_COMPARED,
    MAX_LISTED,
    of_activity,
    shared_role,
    text_of,
)

ROLE = "arn:aws:iam::111122223333:role/team/deploy"


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        # People and services keep their names.
        ("alice@example.com", "alice@example.com"),
        ("bob12345@example.com", "bob12345@example.com"),
        ("john.smith", "john.smith"),
        ("GitHubActions", "GitHubActions"),
        ("prod-db-backup", "prod-db-backup"),
        ("my-function-v2", "my-function-v2"),
        ("feedback", "feedback"),
        ("https", "https"),
        ("federated-user/bob", "federated-user/bob"),
        ("", ""),
        # What differs from run to run.
        ("i-0abc123def4567890", "i-*"),
        ("mi-0123456789abcdef0", "mi-*"),
        ("api-7d9f8b6c5d-x7k2p", "api-*"),
        ("web-0", "web-*"),
        ("build-1234", "build-*"),
        ("deploy20261122", "deploy*"),
        ("botocore-session-1700000001", "botocore-session-*"),
        ("AWSCodeBuild-1a2b3c4d-1111-2222-3333-444455556666", "AWSCodeBuild-*"),
        ("0F8FAD5B-D9CB-469F-A165-70867728950E", "*"),
        ("d41d8cd98f00b204e9800998ecf8427e", "*"),
        ("20261122T031500Z", "*"),
        ("2026-11-22T03:15:00Z", "*"),
        ("run_2026-11-22", "run_*"),
        ("GitLab_Project_12_Pipeline_3456", "GitLab_Project_*_Pipeline_*"),
    ],
)
def test_pattern_of_a_session_name(name: str, pattern: str) -> None:
    assert session_pattern(name) == pattern


names = st.text(alphabet="ab-_.:/@*059fxzTZi ", max_size=24) | st.text(max_size=24)


@given(names)
def test_the_pattern_of_a_pattern_is_itself(name: str) -> None:
    assert session_pattern(session_pattern(name)) == session_pattern(name)


def calls(*actions: str, count: int = 10) -> dict[str, int]:
    return dict.fromkeys(actions, count)


TWO_TEAMS = {
    "alice@example.com": calls("s3:GetObject", "s3:PutObject", "sts:GetCallerIdentity"),
    "bob@example.com": calls("s3:GetObject", "s3:PutObject", "s3:ListBucket"),
    "ci-1": calls("ecr:PutImage", "ecs:UpdateService", count=100),
    "ci-2": calls("ecr:PutImage", "ecs:UpdateService", "ecs:DescribeServices"),
}


def test_two_teams_deserve_two_roles() -> None:
    shared = shared_role(TWO_TEAMS)
    assert [session["name"] for session in shared["sessions"]] == [
        "ci-*", "alice@example.com", "bob@example.com",
    ]  # fmt: skip
    assert shared["sessions"][0] == {
        "name": "ci-*",
        "session_count": 2,
        "call_count": 230,
        "actions": ["ecr:PutImage", "ecs:DescribeServices", "ecs:UpdateService"],
        "only_here": ["ecr:PutImage", "ecs:DescribeServices", "ecs:UpdateService"],
    }
    assert shared["sessions"][2]["only_here"] == ["s3:ListBucket"]
    # alice and bob: 2 of 4 actions in common, just a half.
    assert shared["groups"] == [
        {
            "sessions": ["ci-*"],
            "session_count": 2,
            "actions": ["ecr:PutImage", "ecs:DescribeServices", "ecs:UpdateService"],
            "call_count": 230,
            "spared_percent": 57,  # 4 of 7
            "deserves_role": True,
        },
        {
            "sessions": ["alice@example.com", "bob@example.com"],
            "session_count": 2,
            "actions": ["s3:GetObject", "s3:ListBucket", "s3:PutObject", "sts:GetCallerIdentity"],
            "call_count": 60,
            "spared_percent": 42,  # 3 of 7
            "deserves_role": True,
        },
    ]
    assert shared["common_actions"] == []
    assert shared["deserves_roles"] is True
    assert shared["why"] == (
        "Split it: ci-* needs 3 of 7 actions; alice@example.com and bob@example.com need 4 of 7 "
        "actions."
    )


def test_groups_are_joined_by_the_mean_over_their_sessions() -> None:
    # a and b: 3 of 4. c with a: 2 of 4, with b: 2 of 5; the mean, 0.45, is less than a half.
    sessions = {
        "a@x": calls("s:1", "s:2", "s:3"),
        "b@x": calls("s:1", "s:2", "s:3", "s:4"),
        "c@x": calls("s:1", "s:2", "s:5"),
    }
    assert [group["sessions"] for group in shared_role(sessions)["groups"]] == [
        ["a@x", "b@x"], ["c@x"],
    ]  # fmt: skip
    # With a: 3 of 4, with b: 3 of 5.
    sessions["c@x"] = calls("s:1", "s:2", "s:3", "s:5")
    assert len(shared_role(sessions)["groups"]) == 1


def test_a_half_is_exact_although_its_parts_are_not() -> None:
    # 4/9 three times and 4/6 once: their mean is a half.
    wide, narrow = [f"s:{i}" for i in range(9)], [f"s:{i}" for i in range(4)]
    sessions = {f"{name}@x": calls(*wide) for name in "abc"}
    sessions |= {"d@x": calls(*wide[:6]), "e@x": calls(*narrow)}
    assert len(shared_role(sessions)["groups"]) == 1


@pytest.mark.parametrize(("other", "group_count"), [(2, 1), (1, 2)])
def test_a_half_is_enough_and_less_is_not(other: int, group_count: int) -> None:
    # 2 of 4, then 1 of 5.
    sessions = {
        "a@x": calls("s:1", "s:2", "s:3"),
        "b@x": calls(*[f"s:{i}" for i in range(1, other + 1)], *["t:1", "t:2"][: 3 - other]),
    }
    assert len(shared_role(sessions)["groups"]) == group_count


def test_one_group_that_does_little_beside_one_that_does_all_is_enough() -> None:
    shared = shared_role({
        "admin@x": calls(*[f"s:{i}" for i in range(10)], count=100),
        "reader@x": calls("s:1", count=500),
    })  # fmt: skip
    assert [(g["spared_percent"], g["deserves_role"]) for g in shared["groups"]] == [
        (0, False), (90, True),
    ]  # fmt: skip
    assert shared["deserves_roles"] is True
    assert shared["why"] == (
        "Split it: reader@x needs 1 of 10 actions. The sessions of 1 other group can keep the role."
    )
    assert shared["common_actions"] == ["s:1"]


def test_a_pipeline_that_does_nearly_all_and_two_people() -> None:
    actions = [f"s:{i}" for i in range(253)]
    shared = shared_role(
        {
            "ci-*": calls(*actions[:247]),
            "ann@example.com": calls(*actions[235:252], count=2),
            "bob@example.com": calls(*actions[235:250], *actions[252:], "s:0", count=2),
        },
        session_counts={"ci-*": 2_860},
    )
    text = text_of(shared)

    assert [group["spared_percent"] for group in shared["groups"]] == [2, 92]
    assert shared["deserves_roles"] is True
    assert text.startswith("Split it: ann@example.com and bob@example.com need 19 of 253 actions.")
    assert "Used under one session name only:\n- ci-* (2,860 sessions): s:1" in text
    assert "Used by one session" not in text


def test_many_groups_are_named_in_part() -> None:
    shared = shared_role({
        f"{name}{i}@x": calls(f"{name}:1", f"{name}:2") for name in "abcde" for i in range(5)
    })  # fmt: skip

    assert shared["why"] == (
        "Split it: a0@x, a1@x, a2@x and 2 more need 2 of 10 actions; b0@x, b1@x, b2@x and 2 more "
        "need 2 of 10 actions; c0@x, c1@x, c2@x and 2 more need 2 of 10 actions; 2 more groups "
        "likewise."
    )


def test_a_group_of_one_session_with_few_calls_deserves_nothing() -> None:
    few = {"a@x": calls("s:1", count=99), "b@x": calls("t:1", count=100)}
    assert [g["deserves_role"] for g in shared_role(few)["groups"]] == [True, False]
    assert shared_role(few)["deserves_roles"]
    few["b@x"] = calls("t:1", count=99)
    none = shared_role(few)
    assert not none["deserves_roles"]
    assert none["why"] == (
        "No split: of the 2 groups of sessions, none has at least 2 sessions or 100 calls and "
        "would do without at least 30% of the 2 actions used."
    )


def test_alike_sessions_are_one_group() -> None:
    shared = shared_role({"a@x": calls("s:1", "s:2"), "b@x": calls("s:1", "s:2")})
    assert len(shared["groups"]) == 1
    assert not shared["deserves_roles"]
    assert shared["why"].startswith("No split: the 2 sessions did much the same.")


def test_nothing_to_compare() -> None:
    none = shared_role({})
    assert (none["sessions"], none["groups"], none["common_actions"]) == ([], [], [])
    assert none["why"] == "No split: no session of this role used anything in the window."
    assert shared_role({"a@x": {"s:1": 0}, "b@x": {}}) == none
    one = shared_role({"i-0123456789abcdef0": calls("s:1"), "i-0123456789abcdef1": calls("s:2")})
    assert one["sessions"][0]["session_count"] == 2
    assert "nothing to tell apart" in one["why"]
    assert not one["deserves_roles"]


def test_counts_of_sessions_and_resources() -> None:
    shared = shared_role(
        {"ci-*": calls("s:1"), "b@x": calls("s:1")},
        {"ci-*": {("s:1", f"arn:{i:02}") for i in range(25)}},
        {"ci-*": 12},
    )
    (ci, bob) = sorted(shared["sessions"], key=lambda each: -each["session_count"])
    assert ci["session_count"] == 12
    assert ci["resources"][:2] == ["arn:00", "arn:01"]
    assert (len(ci["resources"]), ci["more_resources"]) == (20, 5)
    assert (bob["session_count"], bob["resources"], bob["more_resources"]) == (1, [], 0)


some_sessions = st.dictionaries(
    st.sampled_from([f"{c}@x" for c in "abcdefgh"] + ["ci-1", "ci-2", "i-0123456789abcdef0"]),
    st.dictionaries(st.sampled_from([f"s:{i}" for i in range(9)]), st.integers(0, 200)),
)


@given(some_sessions, st.randoms())
def test_what_holds_for_all_sessions(
    sessions: dict[str, dict[str, int]], shuffled: random.Random
) -> None:
    shared = shared_role(sessions)
    items = list(sessions.items())
    shuffled.shuffle(items)
    assert shared_role(dict(items)) == shared
    total = sum(count for used in sessions.values() for count in used.values())
    assert sum(group["call_count"] for group in shared["groups"]) == total
    assert sum(session["call_count"] for session in shared["sessions"]) == total
    # Every session is in one group, and what only one session used is in no other's actions.
    listed = [name for group in shared["groups"] for name in group["sessions"]]
    assert sorted(listed) == sorted(session["name"] for session in shared["sessions"])
    for session in shared["sessions"]:
        others = {a for s in shared["sessions"] if s is not session for a in s["actions"]}
        assert set(session["only_here"]) == set(session["actions"]) - others
        assert set(shared["common_actions"]) <= set(session["actions"])
    deserving = [group for group in shared["groups"] if group["deserves_role"]]
    assert shared["deserves_roles"] == bool(deserving)
    assert shared["why"].startswith("Split it: " if deserving else "No split: ")
    # No two groups are left that resemble each other by a half.
    sets = {session["name"]: set(session["actions"]) for session in shared["sessions"]}
    for i, one in enumerate(shared["groups"]):
        for other in shared["groups"][i + 1 :]:
            pairs = [(sets[a], sets[b]) for a in one["sessions"] for b in other["sessions"]]
            assert sum(len(a & b) / len(a | b) for a, b in pairs) / len(pairs) < 0.5
    assert text_of(shared).endswith("\n")


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_thousands_of_sessions_are_bounded(share: float) -> None:
    chosen = random.Random(1)
    actions = [f"s:{i}" for i in range(300)]
    sessions = {
        f"user{i}@x": calls(*(a for a in actions[i % 3 * 100 :][:100] if chosen.random() < share))
        for i in range(3_000)
    }
    start = time.perf_counter()
    shared = shared_role(sessions)
    assert time.perf_counter() - start < 20  # a fraction of it on a quiet machine
    assert len(sessions) > MAX_COMPARED
    assert len(shared["sessions"]) == MAX_LISTED
    assert shared["more_sessions"] == len(sessions) - MAX_LISTED
    assert len(shared["groups"]) <= MAX_LISTED
    if share == 0.9:
        assert [len(group["sessions"]) for group in shared["groups"]] == [1_000] * 3
    assert len(text_of(shared)) < 20_000


def activity(uses: list[tuple[str, str, str, str | None, int]]) -> Activity:
    found = Activity()
    for principal_id, action, outcome, resource, count in uses:
        theirs = found.of(Principal(ROLE, principal_id, "AssumedRole", "111122223333"))
        key: Any = UseKey(action, "", outcome)  # type: ignore[arg-type]
        theirs.group(key).add(resource, Use(own=count))
    return found


def test_an_activity_by_session() -> None:
    found = activity([
        ("AROAONE:alice@x", "s3:GetObject", "allowed", "arn:aws:s3:::b/k", 3),
        ("AROAONE:alice@x", "s3:GetObject", "allowed", None, 2),
        ("AROAONE:alice@x", "s3:PutObject", "denied", "arn:aws:s3:::b/k", 9),
        ("AROATWO:alice@x", "s3:ListBucket", "allowed", "arn:aws:s3:::b", 1),  # the role made anew
        ("AROAONE:ci-*", "ecr:PutImage", "allowed", None, 4),
        ("AROAONE", "iam:GetRole", "allowed", None, 7),  # not split
    ])  # fmt: skip
    ci = found.of(Principal(ROLE, "AROAONE:ci-*", "AssumedRole", "111122223333"))
    ci.sessions.add("ci-1", 2)
    ci.sessions.add("ci-2", 2)
    other = Principal("arn:aws:iam::111122223333:role/x", "AROAX:bob", "AssumedRole", "1")
    found.of(other).group(UseKey("s:1", "", "allowed")).add(None, Use(own=1))
    shared = of_activity(found, ROLE)
    assert [(s["name"], s["session_count"], s["call_count"]) for s in shared["sessions"]] == [
        ("alice@x", 1, 6), ("ci-*", 2, 4),
    ]  # fmt: skip
    assert shared["sessions"][0]["actions"] == ["s3:GetObject", "s3:ListBucket"]
    assert shared["sessions"][0]["resources"] == ["arn:aws:s3:::b", "arn:aws:s3:::b/k"]


def test_text_for_a_terminal() -> None:
    assert text_of(shared_role(TWO_TEAMS)) == (
        "Split it: ci-* needs 3 of 7 actions; alice@example.com and bob@example.com\n"
        "  need 4 of 7 actions.\n"
        "\n"
        "Group 1 (deserves a role of its own): 2 sessions, 230 calls, 3 actions; would\n"
        "  do without 57%\n"
        "- Sessions: ci-*\n"
        "- Actions: ecr:PutImage, ecs:DescribeServices, ecs:UpdateService\n"
        "\n"
        "Group 2 (deserves a role of its own): 2 sessions, 60 calls, 4 actions; would\n"
        "  do without 42%\n"
        "- Sessions: alice@example.com, bob@example.com\n"
        "- Actions: s3:GetObject, s3:ListBucket, s3:PutObject, sts:GetCallerIdentity\n"
        "\n"
        "Used under one session name only:\n"
        "- ci-* (2 sessions): ecr:PutImage, ecs:DescribeServices, ecs:UpdateService\n"
        "- alice@example.com: sts:GetCallerIdentity\n"
        "- bob@example.com: s3:ListBucket\n"
    )


def test_a_group_with_too_few_calls_is_not_said_to_deserve_a_role() -> None:
    shared = shared_role({"admin@x": calls("s:1", "s:2", "s:3", count=100), "b@x": calls("s:1")})
    assert "deserves" not in text_of(shared)
    assert text_of(shared).startswith("No split: ")


def test_names_from_outside_forge_no_line() -> None:
    text = text_of(shared_role({"a@x\nGroup 9\x1b[2J": calls("s:1"), "b@x": calls("t:1")}))
    assert "\x1b" not in text
    assert not any(line.startswith("Group 9") for line in text.splitlines())
    split = text_of(shared_role({"a@x\nGroup 9": calls("s:1", count=200), "b@x": calls("t:1")}))
    assert split.startswith("Split it: a@x Group 9 needs 1 of 2 actions.")
    assert not any(line.startswith("Group 9") for line in split.splitlines())
