"""The history of a distributed map's child has the states that the child entered, as AWS's has.

"Each child workflow execution has its own execution history":
https://docs.aws.amazon.com/step-functions/latest/dg/state-map-distributed.html. In ministack a
child's history has its tasks' events alone, so that nobody could count its transitions. The events
have a state's name, and not its input.
"""

from __future__ import annotations

from typing import Any

from ministack.services import stepfunctions


class _Watched(dict[str, Any]):
    """A child's states; the runner looks each one up once when it is entered."""

    def __init__(self, states: dict[str, Any], execution: dict[str, Any]) -> None:
        super().__init__(states)
        self._execution = execution

    def get(self, name: str, default: Any = None) -> Any:
        """Return a state's definition, and write into the history that it was entered."""
        state = super().get(name, default)
        if state:
            stepfunctions._add_event(
                self._execution,
                f"{state['Type']}StateEntered",
                {"stateEnteredEventDetails": {"name": name}},
            )
        return state


def apply() -> None:
    """Put everything in place."""
    run_states = stepfunctions._run_sub_machine

    def run_watched(
        states: dict[str, Any], start_at: Any, input_data: Any, execution: dict[str, Any], ctx: Any
    ) -> Any:
        if execution.get("mapRunArn"):
            states = _Watched(states, execution)
        return run_states(states, start_at, input_data, execution, ctx)

    stepfunctions._run_sub_machine = run_watched
