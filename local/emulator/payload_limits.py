"""A state takes and gives 262,144 bytes of JSON at most, as in AWS.

https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html: what is more, be
it a connector's output, a state's output or its input after Parameters, is
``States.DataLimitExceeded``, which ``States.ALL`` does not catch.
https://docs.aws.amazon.com/step-functions/latest/apireference/API_StateExitedEventDetails.html: the
length is that of the text in UTF-8. ministack has no limit.

From memory: that no other wildcard (``States.TaskFailed``) catches it either, while its own name
does; and the words of its cause.
"""

from __future__ import annotations

import json
from typing import Any

from ministack.services import stepfunctions

MOST_BYTES = 262_144
ERROR = "States.DataLimitExceeded"


def apply() -> None:
    """Look at all that goes into a state and comes out of it, in JSONPath (Pare has no JSONata)."""
    parameters, selector = stepfunctions._apply_parameters, stepfunctions._apply_result_selector
    output, caught = stepfunctions._apply_output_path, stepfunctions._apply_catcher
    matches = stepfunctions._error_matches

    def input_within_limit(*given: Any) -> Any:
        return _within_limit(parameters(*given), "input of the state after Parameters")

    def result_within_limit(state: dict[str, Any], result: Any) -> Any:
        return selector(state, _within_limit(result, "result"))

    def output_within_limit(*given: Any) -> Any:
        return _within_limit(output(*given), "output of the state")

    def caught_within_limit(*given: Any) -> Any:
        return _within_limit(caught(*given), "output of the state")

    def matches_but_this(names: list[str], error: str) -> bool:
        return ERROR in names if error == ERROR else bool(matches(names, error))

    stepfunctions._apply_parameters = input_within_limit
    stepfunctions._apply_result_selector = result_within_limit
    stepfunctions._apply_output_path = output_within_limit
    stepfunctions._apply_catcher = caught_within_limit
    stepfunctions._error_matches = matches_but_this


def _within_limit(payload: Any, what: str) -> Any:
    """Return the payload, or fail the state whose payload it is."""
    size = len(json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode())
    if size > MOST_BYTES:
        raise stepfunctions._ExecutionError(
            ERROR, f"The {what} has {size} bytes: more than the {MOST_BYTES} of the service's quota"
        )
    return payload
