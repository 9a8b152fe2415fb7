"""Plant a defect, see that the doctor names it and nothing else, type its mend, see it green."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.org import defects

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.org.defects import Defect, Organization
    from tests.org.person import Examined

# A consequence is mended after its cause, and may have been hidden by it.
ROUNDS = 3


def type_mends(organization: Organization, results: Iterable[dict[str, Any]]) -> list[str]:
    """Type the commands of the results' mends, each mend once; return what was typed."""
    typed: list[str] = []
    seen: list[Any] = []
    for result in results:
        mend = result["mend"]
        if mend in seen:
            continue
        seen.append(mend)
        commands = mend["commands"]
        if commands:  # else it follows from another result, and says so
            organization.person.types(mend["where"], commands)
            typed += commands
    return typed


def confirm_subscriptions(organization: Organization, examined: Examined) -> None:
    """Do first what the doctor says of subscriptions: open the mail, and follow its link."""
    for (check, _), each in examined.not_ok.items():
        if check == "running.subscriptions":
            assert "follow its link" in each["mend"]["text"], each
    defects.confirm(organization)


def make_green(organization: Organization, examined: Examined, *groups: str) -> None:
    """Do what the doctor says until it has nothing to say any more."""
    for _ in range(ROUNDS):
        type_mends(organization, examined.not_ok.values())
        confirm_subscriptions(organization, examined)
        examined = organization.person.doctor(*_only(groups))
        if not examined.not_ok:
            return
    raise AssertionError(f"after {ROUNDS} rounds:\n{examined.shown()}")


def check_defect(organization: Organization, defect: Defect, *groups: str) -> None:
    """Check that a defect is named, alone, and that its mend makes all well again.

    ``groups``: of the doctor's checks to look at; all where none is named. All is well before.
    """
    person = organization.person
    undo = defect.plant(organization)
    is_mended = False
    try:
        found = person.doctor(*_only(groups))
        named = {
            key: each
            for key, each in found.not_ok.items()
            if key[0] == defect.check and defect.subject in key[1]
        }
        assert named, f"{defect.name} is not named:\n{found.shown()}"
        assert {each["status"] for each in named.values()} == {"missing"}, found.shown()
        others = {
            key: each
            for key, each in found.not_ok.items()
            if key not in named and not key[0].startswith(tuple(defect.also))
        }
        assert not others, f"{defect.name}: named besides:\n{found.shown()}"
        if defect.before is not None:
            defect.before(organization, found)
        print(f"{defect.name}:\n{found.shown()}")
        for command in type_mends(organization, named.values()):
            print(f"    $ {command}")
        if defect.afterwards is not None:
            defect.afterwards(organization, found)
        after = person.doctor(*_only(groups))
        if after.not_ok:
            # What only followed has a mend of its own: a dead letter, say.
            assert not any(key in named for key in after.not_ok), (
                f"{defect.name}: the mend did not help:\n{after.shown()}"
            )
            print(f"  left: {after.shown()}")
            make_green(organization, after, *groups)
        is_mended = True
    finally:
        if not is_mended:
            undo()


def _only(groups: Iterable[str]) -> list[str]:
    return [word for group in groups for word in ("--only", group)]
