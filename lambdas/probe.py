"""Let a function answer the doctor: ``pare doctor`` asks the very functions that do the work.

What a function may do in another account depends on its own role, on policies there, on SCPs and
key policies. Nobody can work that out from outside as surely as the function can try it.
"""

from __future__ import annotations

import os
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Callable

HandlerT = TypeVar("HandlerT", bound="Callable[..., Any]")


def answers_probe(handler: HandlerT) -> HandlerT:
    """Return the handler, which answers ``{"probe": {…}}`` itself and hands on all else untouched.

    The function can do no more for it: it answers with its own role and variables, and the request
    says only what to look at.
    """

    @wraps(handler)
    def lambda_handler(event: Any, context: Any, *args: Any, **more: Any) -> Any:
        if not (isinstance(event, dict) and event.keys() == {"probe"}):
            return handler(event, context, *args, **more)
        # Not before it is asked for: every cold start would pay for it.
        from pare.aws.probe import answer

        return answer(
            event["probe"],
            variables=os.environ,
            seconds_left=lambda: context.get_remaining_time_in_millis() / 1000,
        )

    return cast("HandlerT", lambda_handler)
