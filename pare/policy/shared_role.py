"""A role that several sessions share: who used what, and whether groups deserve roles of their own.

The rules are few and can be checked by hand:

* Session names that differ only in an id, a number or a time are one (``session_pattern``):
  ``api-7d9f8b6c5d-x7k2p`` is ``api-*``. Names with an ``@`` are people and stay.
* Two sessions resemble each other by the share of the actions of either that both used (Jaccard);
  two groups by the mean over all pairs of sessions, one of each. The two groups that resemble each
  other most become one, again and again, while they do so by at least a half.
* A group deserves a role of its own if it has at least 2 sessions or 100 calls, and would do
  without at least 30 % of the actions that the role was used for. One such group is enough to split
  the role: the other sessions keep it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NotRequired, TypedDict

from pare.cloudtrail.session_pattern import session_pattern
from pare.message import bullet, headline, listed, paragraph, plain, several

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from pare.cloudtrail.activity import Activity

# The mean resemblance from which groups are one.
ALIKE_PERCENT = 50
# What a group needs to deserve a role: one of the first two, and the last.
MIN_SESSIONS = 2
MIN_CALLS = 100
MIN_SPARED_PERCENT = 30
# Distinct sets of actions that are compared with each other; the rest joins the groups of these.
MAX_COMPARED = 200
MAX_LISTED = 200
MAX_RESOURCES = 20
_SHOWN = 10  # in the text
_GROUPS_NAMED = 3  # in its first sentence
_SESSIONS_NAMED = 3  # of each

# Resemblance in whole numbers: sums of it do not depend on their order.
_WHOLE = 10**9


class SessionJson(TypedDict):
    """One session, or all whose names differ in an id only.

    ``session_count`` is how many names there are at least. ``resources``: ARNs, at most 20.
    """

    name: str
    session_count: int
    call_count: int
    actions: list[str]
    only_here: list[str]  # actions that no other session used
    resources: NotRequired[list[str]]
    more_resources: NotRequired[int]


class GroupJson(TypedDict):
    """Sessions that did much the same.

    ``spared_percent``: of the actions the role was used for, those the group did not use.
    """

    sessions: list[str]
    session_count: int
    actions: list[str]
    call_count: int
    spared_percent: int
    deserves_role: bool


class SharedRoleJson(TypedDict):
    """Who used what of a role, the sessions and groups with most calls first.

    ``deserves_roles``: at least one group does, and there are others. ``why`` says who, or why not.
    """

    sessions: list[SessionJson]
    more_sessions: int  # not listed; counted in all else
    groups: list[GroupJson]
    more_groups: int
    common_actions: list[str]  # that every session used
    deserves_roles: bool
    why: str


@dataclass(slots=True)
class _Session:
    name: str
    session_count: int
    calls: dict[str, int]
    resources: set[str]

    @property
    def call_count(self) -> int:
        return sum(self.calls.values())


@dataclass(slots=True)
class _Group:
    """Sessions with the same actions, or several such sets."""

    sessions: list[_Session]
    masks: list[tuple[int, int]]  # set of actions, and how many sessions have just these
    size: int


def shared_role(
    sessions: Mapping[str, Mapping[str, int]],
    resources: Mapping[str, Collection[tuple[str, str]]] | None = None,
    session_counts: Mapping[str, int] | None = None,
) -> SharedRoleJson:
    """Return who used what of a role, and whether it deserves to be split.

    ``sessions``: session name -> action -> calls. ``resources``: session name -> pairs of action
    and ARN, only shown. ``session_counts``: how many sessions a name stands for, 1 where absent.
    """
    merged = _merged(sessions, resources or {}, session_counts or {})
    users: dict[str, int] = {}
    for session in merged:
        for action in session.calls:
            users[action] = users.get(action, 0) + 1
    groups = sorted(
        (_group_json(group, len(users)) for group in _grouped(merged, users)),
        key=lambda group: (-group["call_count"], group["sessions"]),
    )
    deserving = [group for group in groups if group["deserves_role"]]
    return SharedRoleJson(
        sessions=[
            _session_json(session, users, with_resources=resources is not None)
            for session in merged[:MAX_LISTED]
        ],
        more_sessions=max(0, len(merged) - MAX_LISTED),
        groups=groups[:MAX_LISTED],
        more_groups=max(0, len(groups) - MAX_LISTED),
        common_actions=sorted(action for action, count in users.items() if count == len(merged)),
        deserves_roles=bool(deserving),
        why=_why(merged, groups, deserving, len(users)),
    )


def of_activity(activity: Activity, role_arn: str) -> SharedRoleJson:
    """Return the same of an activity that was collected by session (``by_session`` of ``Digest``).

    There, the ``principal_id`` of a principal is ``AROAEXAMPLE:session``. Only what was allowed
    counts.
    """
    calls: dict[str, dict[str, int]] = {}
    resources: dict[str, set[tuple[str, str]]] = {}
    names: dict[str, set[str]] = {}
    more: dict[str, bool] = {}  # whether there were names that are not kept
    for principal, theirs in activity.principals.items():
        _, colon, name = principal.principal_id.partition(":")
        if principal.principal != role_arn or not colon:
            continue
        mine = calls.setdefault(name, {})
        arns = resources.setdefault(name, set())
        names.setdefault(name, set()).update(theirs.sessions.names)
        more[name] = more.get(name, False) or theirs.sessions.more
        for key, group in theirs.groups.items():
            if key.outcome != "allowed":
                continue
            count = sum(use.count for use in group.uses.values())
            mine[key.action] = mine.get(key.action, 0) + count
            arns |= {(key.action, arn) for arn in group.uses if arn}
    counts = {name: max(1, len(names[name]) + more[name]) for name in names}
    return shared_role(calls, resources, counts)


def text_of(shared: SharedRoleJson) -> str:
    """Return the text for a terminal; names and actions come from outside and are made plain."""
    lines = [headline(shared["why"])]
    has_others = len(shared["groups"]) > 1
    for number, group in enumerate(shared["groups"][:_SHOWN], 1):
        own = ""
        if group["deserves_role"]:
            own = " (deserves a role of its own)"
        lines += [
            "",
            headline(
                f"Group {number}{own}: {several(group['session_count'], 'session')}, "
                f"{several(group['call_count'], 'call')}, "
                f"{several(len(group['actions']), 'action')}"
                + (f"; would do without {group['spared_percent']}%" if has_others else "")
            ),
            bullet(f"Sessions: {_names(group['sessions'])}"),
            bullet(f"Actions: {_names(group['actions'])}"),
        ]
    more = len(shared["groups"]) + shared["more_groups"] - _SHOWN
    if more > 0:
        lines += ["", paragraph(f"And {several(more, 'group')} with fewer calls.")]
    if has_others and shared["common_actions"]:
        lines += ["", paragraph(f"Used by every session: {_names(shared['common_actions'])}")]
    alone = [session for session in shared["sessions"] if session["only_here"]]
    if len(shared["sessions"]) > 1 and alone:
        lines += ["", paragraph("Used under one session name only:")]
        lines += [
            bullet(f"{_name_of(each)}: {_names(each['only_here'])}") for each in alone[:_SHOWN]
        ]
        if len(alone) > _SHOWN:
            lines.append(bullet(several(len(alone) - _SHOWN, "more name")))
    return "\n".join(lines) + "\n"


def _merged(
    sessions: Mapping[str, Mapping[str, int]],
    resources: Mapping[str, Collection[tuple[str, str]]],
    counts: Mapping[str, int],
) -> list[_Session]:
    """Return the sessions by pattern, those with most calls first; those without any left out."""
    found: dict[str, _Session] = {}
    for name, calls in sessions.items():
        used = {action: count for action, count in calls.items() if count > 0}
        if not used:
            continue
        pattern = session_pattern(name)
        session = found.setdefault(pattern, _Session(pattern, 0, {}, set()))
        session.session_count += counts.get(name, 1)
        session.resources.update(arn for _, arn in resources.get(name, ()))
        for action, count in used.items():
            session.calls[action] = session.calls.get(action, 0) + count
    return sorted(found.values(), key=lambda session: (-session.call_count, session.name))


def _grouped(sessions: Sequence[_Session], actions: Iterable[str]) -> list[_Group]:
    """Return the groups of sessions that did much the same."""
    bits = {action: 1 << i for i, action in enumerate(sorted(actions))}
    by_mask: dict[int, list[_Session]] = {}
    for session in sessions:  # in their order: the sets of those with most calls come first
        by_mask.setdefault(sum(bits[action] for action in session.calls), []).append(session)
    alone = [_Group(theirs, [(mask, len(theirs))], len(theirs)) for mask, theirs in by_mask.items()]
    groups = _joined(alone[:MAX_COMPARED])
    joins: list[tuple[_Group, _Group]] = []
    for rest in alone[MAX_COMPARED:]:
        sums = [(_resemblance(rest, group), group) for group in groups]
        total, best = max(sums, key=lambda each: each[0] / each[1].size)
        if _is_alike(total, rest.size * best.size):
            joins.append((best, rest))
        else:
            joins.append((rest, rest))
    for best, rest in joins:
        if best is rest:
            groups.append(rest)
        else:
            best.sessions += rest.sessions
    return groups


def _joined(groups: list[_Group]) -> list[_Group]:
    """Join the two groups that resemble each other most, until none do so by half.

    Of pairs that resemble each other as much, the one whose sessions have more calls is first.
    """
    # Sums over all pairs of sessions: those of a joined group are the sums of its parts'.
    sums = {
        (i, j): _resemblance(groups[i], groups[j])
        for i in range(len(groups))
        for j in range(i + 1, len(groups))
    }
    left = dict(enumerate(groups))
    while sums:
        pair, total = min(
            sums.items(),
            key=lambda each: (-each[1] * _WHOLE // _pairs(left, each[0]), each[0]),
        )
        if not _is_alike(total, _pairs(left, pair)):
            break
        i, j = pair
        other = left.pop(j)
        left[i].sessions += other.sessions
        left[i].masks += other.masks
        left[i].size += other.size
        del sums[pair]
        for k in left:
            if k != i:
                key, gone = (min(i, k), max(i, k)), (min(j, k), max(j, k))
                sums[key] += sums.pop(gone)
    return list(left.values())


def _pairs(groups: Mapping[int, _Group], pair: tuple[int, int]) -> int:
    return groups[pair[0]].size * groups[pair[1]].size


def _is_alike(total: int, pairs: int) -> bool:
    """Return whether the mean is enough; every pair was rounded by less than one."""
    return (total + pairs) * 100 >= ALIKE_PERCENT * _WHOLE * pairs


def _resemblance(one: _Group, other: _Group) -> int:
    """Return the sum of what every session of one has in common with every session of the other."""
    return sum(
        count
        * times
        * ((_WHOLE * (mask & theirs).bit_count() * 2 // (mask | theirs).bit_count() + 1) // 2)
        for mask, count in one.masks
        for theirs, times in other.masks
    )


def _session_json(
    session: _Session, users: Mapping[str, int], *, with_resources: bool
) -> SessionJson:
    found = SessionJson(
        name=session.name,
        session_count=session.session_count,
        call_count=session.call_count,
        actions=sorted(session.calls),
        only_here=sorted(action for action in session.calls if users[action] == 1),
    )
    if with_resources:
        found["resources"] = sorted(session.resources)[:MAX_RESOURCES]
        found["more_resources"] = max(0, len(session.resources) - MAX_RESOURCES)
    return found


def _group_json(group: _Group, action_count: int) -> GroupJson:
    actions = sorted({action for session in group.sessions for action in session.calls})
    session_count = sum(session.session_count for session in group.sessions)
    call_count = sum(session.call_count for session in group.sessions)
    spared = 100 * (action_count - len(actions)) // action_count
    return GroupJson(
        sessions=sorted(session.name for session in group.sessions),
        session_count=session_count,
        actions=actions,
        call_count=call_count,
        spared_percent=spared,
        deserves_role=(session_count >= MIN_SESSIONS or call_count >= MIN_CALLS)
        and spared >= MIN_SPARED_PERCENT,
    )


def _why(
    sessions: Sequence[_Session],
    groups: Sequence[GroupJson],
    deserving: Sequence[GroupJson],
    action_count: int,
) -> str:
    """Return the answer in its first words, then why."""
    if not sessions:
        return "No split: no session of this role used anything in the window."
    if len(sessions) == 1:
        return "No split: all use was in sessions of one name; there is nothing to tell apart."
    if deserving:
        return _how_to_split(groups, deserving, action_count)
    if len(groups) == 1:
        return (
            f"No split: the {len(sessions):,} sessions did much the same. On average, two of them "
            "have at least half of their actions in common."
        )
    return (
        f"No split: of the {len(groups):,} groups of sessions, none has at least {MIN_SESSIONS} "
        f"sessions or {MIN_CALLS} calls and would do without at least {MIN_SPARED_PERCENT}% of the "
        f"{several(action_count, 'action')} used."
    )


def _how_to_split(
    groups: Sequence[GroupJson], deserving: Sequence[GroupJson], action_count: int
) -> str:
    """Return ``Split it: ann and bob need 19 of 253 actions.``, and who keeps the role."""
    found = [
        f"{_anded(group['sessions'])} {_verb(group)} {len(group['actions']):,} of "
        f"{several(action_count, 'action')}"
        for group in deserving[:_GROUPS_NAMED]
    ]
    if more := len(deserving) - len(found):
        found.append(f"{several(more, 'more group')} likewise")
    rest = len(groups) - len(deserving)
    keeps = f" The sessions of {several(rest, 'other group')} can keep the role." if rest else ""
    return f"Split it: {'; '.join(found)}.{keeps}"


def _verb(group: GroupJson) -> str:
    return "needs" if len(group["sessions"]) == 1 else "need"


def _anded(names: Sequence[str]) -> str:
    """Return ``a``, ``a and b``, or ``a, b and 7 more``."""
    shown = [plain(name, 64) for name in names]
    if len(shown) > _SESSIONS_NAMED:
        return listed(shown, _SESSIONS_NAMED)
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def _name_of(session: SessionJson) -> str:
    """Return the name, and of how many sessions it is."""
    count = session["session_count"]
    of_several = f" ({several(count, 'session')})" if count > 1 else ""
    return plain(session["name"], 64) + of_several


def _names(values: Sequence[str]) -> str:
    return listed([plain(value, 64) for value in values], _SHOWN)
