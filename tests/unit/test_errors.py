from __future__ import annotations

import inspect

import botocore.session
import pytest

import pare.errors
from pare.errors import PareError
from pare.policy.reasons import NO_GENERATION
from pare.runs import REJECTIONS, what_to_do

CLASSES = [
    found
    for _, found in inspect.getmembers(pare.errors, inspect.isclass)
    if issubclass(found, PareError)
]
SUBCLASSES = [found for found in CLASSES if found is not PareError]


def written_tree() -> list[tuple[str, str | None]]:
    """Return the docstring's tree as (class, parent), in its order."""
    assert pare.errors.__doc__ is not None
    tree: list[tuple[str, str | None]] = []
    parents: list[str] = []
    for line in pare.errors.__doc__.splitlines():
        head, dash, name = line.partition("- ")
        if dash and not head.strip():
            depth = len(head) // 2
            parents[depth:] = [name]
            tree.append((name, parents[depth - 1] if depth else None))
    return tree


def test_the_tree_in_the_docstring_is_the_tree_of_classes() -> None:
    real = {
        (found.__name__, None if found is PareError else found.__mro__[1].__name__)
        for found in CLASSES
    }

    assert set(written_tree()) == real
    assert len(written_tree()) == len(real)


@pytest.mark.parametrize("found", SUBCLASSES, ids=lambda found: found.__name__)
def test_an_error_says_what_it_is_and_what_to_do(found: type[PareError]) -> None:
    assert found.__name__.endswith("Error")
    assert (found.__doc__ or "").strip().endswith(".")
    assert "what_to_do" in vars(found), "its own, not its parent's"
    assert found.what_to_do.endswith(".")


def test_no_two_errors_give_the_same_advice() -> None:
    assert len({found.what_to_do for found in CLASSES}) == len(CLASSES)


@pytest.mark.parametrize("found", CLASSES, ids=lambda found: found.__name__)
def test_advice_is_found_by_an_errors_name(found: type[PareError]) -> None:
    assert what_to_do(found.__name__) == found.what_to_do


@pytest.mark.parametrize(
    "name", ["States.Timeout", "Lambda.Unknown", "KeyError", "annotations", "__doc__", ""]
)
def test_an_error_that_is_not_ours_gets_the_general_advice(name: str) -> None:
    assert what_to_do(name) == PareError.what_to_do


def test_errors_that_reject_a_run_exist() -> None:
    assert {found.__name__ for found in CLASSES} >= REJECTIONS


def test_every_end_of_a_policy_generation_has_its_advice() -> None:
    """Each code and status of AWS's model in its table; what Pare raises has its own advice."""
    model = botocore.session.get_session().get_service_model("accessanalyzer")
    codes = set(model.shape_for("JobErrorCode").enum)  # type: ignore[attr-defined]
    ends = set(model.shape_for("JobStatus").enum) - {"IN_PROGRESS", "SUCCEEDED"}  # type: ignore[attr-defined]
    ours = {"AccessAnalyzerQuotaError", "PolicyGenerationConflictError", "MemberAccountError",
            "PolicyGenerationTimeoutError", "TrailNotSupportedError", "ThrottledError",
            "AwsServiceError", "AwsCallError"}  # fmt: skip

    assert set(NO_GENERATION) == codes | ends
    assert ours <= {found.__name__ for found in CLASSES}
    advice = [*NO_GENERATION.values(), *(what_to_do(name) for name in sorted(ours))]
    assert PareError.what_to_do not in advice, "each its own"
    assert len(set(advice)) == len(NO_GENERATION) + len(ours)
    assert all(each.endswith(".") for each in advice)
