"""A function's error has the name of its exception's class, as in AWS.

Lambda answers ``{"errorType": "PrincipalNotFoundError", "errorMessage": …, "stackTrace": […]}``,
and Step Functions matches ``errorType`` in ``ErrorEquals``.
https://docs.aws.amazon.com/lambda/latest/dg/python-exceptions.html
ministack calls every error of a Python handler ``Runtime.HandlerError``.
"""

from __future__ import annotations

from typing import Any

from ministack.core import lambda_runtime
from ministack.services import lambda_svc

# Stands between class and message on the worker's way home; no message of ours contains it.
_SEPARATOR = "\x1f"
_AS_SENT = '"status": "error", "error": str(e), "trace"'
_WITH_CLASS = '"status": "error", "error": type(e).__name__ + chr(31) + str(e), "trace"'


def apply() -> None:
    """Let the Python worker send the class along, and take it apart on arrival."""
    script = lambda_runtime._PYTHON_WORKER_SCRIPT
    if _AS_SENT not in script:
        raise RuntimeError("ministack's Python worker has changed: look at function_errors.py")
    lambda_runtime._PYTHON_WORKER_SCRIPT = script.replace(_AS_SENT, _WITH_CLASS)
    execute = lambda_svc._execute_function_warm

    def execute_function_warm(func: dict[str, Any], event: Any, request_id: str) -> Any:
        result = execute(func, event, request_id)
        body = result.get("body") if isinstance(result, dict) else None
        if isinstance(body, dict) and _SEPARATOR in str(body.get("errorMessage", "")):
            name, _, message = body["errorMessage"].partition(_SEPARATOR)
            trace = str(result.get("log", "")).splitlines()
            result["body"] = {
                "errorMessage": message,
                "errorType": name,
                "requestId": request_id,
                "stackTrace": trace[-20:],
            }
        return result

    lambda_svc._execute_function_warm = execute_function_warm
