"""A function's error has the name of its exception's class, and its process lives on, as in AWS.

Lambda answers ``{"errorType": "PrincipalNotFoundError", "errorMessage": …, "stackTrace": […]}``,
and Step Functions matches ``errorType`` in ``ErrorEquals``.
https://docs.aws.amazon.com/lambda/latest/dg/python-exceptions.html
ministack calls every error of a Python handler ``Runtime.HandlerError``, and ends the process: in
AWS what the handler raises ends the invocation, and the next one finds what it left in memory.
"""

from __future__ import annotations

from typing import Any

from ministack.core import lambda_runtime
from ministack.services import lambda_svc

_ERROR = "_pare_error"
_AS_SENT = '{"status": "error", "error": str(e), "trace": traceback.format_exc()}'
# To ministack an answer like any other, so that it leaves the process alone.
_AS_ANSWER = (
    f'{{"status": "ok", "result": {{"{_ERROR}": '
    "[type(e).__name__, str(e), traceback.format_exc()]}}"
)


def apply() -> None:
    """Let the Python worker send the class along, and take it apart on arrival."""
    script = lambda_runtime._PYTHON_WORKER_SCRIPT
    if _AS_SENT not in script:
        raise RuntimeError("ministack's Python worker has changed: look at function_errors.py")
    lambda_runtime._PYTHON_WORKER_SCRIPT = script.replace(_AS_SENT, _AS_ANSWER)
    execute = lambda_svc._execute_function_warm

    def execute_function_warm(func: dict[str, Any], event: Any, request_id: str) -> Any:
        result = execute(func, event, request_id)
        body = result.get("body") if isinstance(result, dict) else None
        if not isinstance(body, dict) or _ERROR not in body:
            return result
        name, message, trace = body[_ERROR]
        log = "\n".join(filter(None, [result.get("log", ""), trace]))
        return {
            "body": {
                "errorMessage": message,
                "errorType": name,
                "requestId": request_id,
                "stackTrace": log.splitlines()[-20:],
            },
            "error": True,
            "log": log,
        }

    lambda_svc._execute_function_warm = execute_function_warm
