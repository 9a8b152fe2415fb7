from __future__ import annotations

import pytest

from pare.doctor.checks import all_checks, group_of, groups, title_of, why
from pare.doctor.model import Mend, cannot_tell, missing, ok


def test_what_is_well_needs_no_mend_and_what_is_not_has_one() -> None:
    mend = Mend("hub", ("aws sts get-caller-identity",))

    assert ok("trail.logging", "", "on", since=3).mend is None
    assert ok("trail.logging", "", "on", since=3).facts == {"since": 3}
    assert missing("trail.logging", "", "It is stopped.", mend).mend == mend
    assert cannot_tell("trail.logging", "", "AWS did not say.", mend).status == "cannot tell"


def test_a_mend_is_plain_json() -> None:
    mend = Mend("log archive", ("a", "b"), {"Sid": "PareListsTheTrail"}, "Then look again.")

    assert mend.to_json() == {
        "where": "log archive",
        "commands": ["a", "b"],
        "statement": {"Sid": "PareListsTheTrail"},
        "text": "Then look again.",
        "after": "",
    }


@pytest.mark.parametrize("check", all_checks())
def test_every_check_has_a_group_a_title_and_one_sentence_of_why(check: str) -> None:
    assert group_of(check) in groups()
    assert title_of(check)
    assert why(check).endswith(".")


def test_every_group_has_checks_and_stands_in_their_order() -> None:
    order = list(dict.fromkeys(group_of(check) for check in all_checks()))

    assert order == list(groups())
