"""The processes that run functions: how many at once, how they end, and how they are killed.

Lambda answers an invocation whose runtime process died with the error type Runtime.ExitError
("RequestId: … Error: Runtime exited with error: signal: killed"); Step Functions takes an error's
name from there. Its guide calls such unhandled errors Lambda.Unknown, so a Retry should match both:
https://docs.aws.amazon.com/step-functions/latest/dg/bp-lambda-serviceexception.html
"""

from __future__ import annotations

import contextvars
import hashlib
import queue
import tempfile
import threading
import time
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from ministack.core import lambda_runtime
from ministack.services import lambda_svc

if TYPE_CHECKING:
    from local.emulator.emulation import Emulation
    from local.emulator.faults import Fault

_DIED = "Worker process died"
# What a worker writes to its error channel at the end of an invocation.
_LOG_END = "\x1epare-end-of-log"
_LOG_SECONDS = 0.25
_KILL = "_pare_kill"
_RETRY_SCALE = "_pare_retry_scale"

_killing: contextvars.ContextVar[tuple[Fault, int] | None] = contextvars.ContextVar(
    "pare_kill", default=None
)

# In the worker: the calls of botocore are counted down, and the process ends before or after one;
# its pauses before another attempt are scaled.
_IN_WORKER = """
_pare_left = [None]
_pare_retry_scale = [1.0]

class _PareTime:
    def __getattr__(self, name):
        import time
        return getattr(time, name)

    def sleep(self, seconds):
        import time
        time.sleep(seconds * _pare_retry_scale[0])

def _pare_scale_retries():
    # The pauses of all modes, and the limit of the adaptive mode: its time runs faster.
    import threading, time
    import botocore.endpoint
    from botocore.retries import bucket
    seen, lock, sleep_amount = [time.time()] * 2, threading.Lock(), bucket.TokenBucket._sleep_amount

    def current_time(clock):
        with lock:
            now = time.time()
            seen[1] += (now - seen[0]) / max(_pare_retry_scale[0], 0.001)
            seen[0] = now
            return seen[1]

    botocore.endpoint.time = _PareTime()
    bucket.Clock.current_time = current_time
    bucket.TokenBucket._sleep_amount = (
        lambda self, amount: sleep_amount(self, amount) * _pare_retry_scale[0]
    )

def _pare_called(**kwargs):
    if _pare_left[0] is not None:
        _pare_left[0] -= 1
        if _pare_left[0] < 0:
            _pare_die()

def _pare_die():
    import os, signal
    os.kill(os.getpid(), signal.SIGKILL)
"""
_REPLACED = (
    (
        'botocore.handlers.BUILTIN_HANDLERS.append(("before-call", _ms_add_invoke_depth))',
        'botocore.handlers.BUILTIN_HANDLERS.append(("before-call", _ms_add_invoke_depth))\n'
        '    botocore.handlers.BUILTIN_HANDLERS.append(("before-call", _pare_called))\n'
        '    botocore.handlers.BUILTIN_HANDLERS.append(("after-call", _pare_called))\n'
        "    _pare_scale_retries()",
    ),
    (
        '_ms_durable = _ms_ctx.get("durable") or {}',
        '_ms_durable = _ms_ctx.get("durable") or {}\n'
        f'        _pare_left[0] = _ms_durable.get("{_KILL}")\n'
        f'        _pare_retry_scale[0] = _ms_durable.get("{_RETRY_SCALE}", 1.0)',
    ),
    (
        "result = handler_fn(event, context)",
        "result = handler_fn(event, context)\n"
        "            if _pare_left[0] is not None:\n"
        "                _pare_die()",
    ),
    (
        "        _real_stdout.flush()\n\nrun()",
        f'        sys.stderr.write({_LOG_END!r} + "\\n")\n'
        "        sys.stderr.flush()\n"
        "        _real_stdout.flush()\n\nrun()",
    ),
)


def register(emulation: Emulation) -> None:
    """Put everything in place."""
    script = lambda_runtime._PYTHON_WORKER_SCRIPT
    for before, after in _REPLACED:
        if before not in script:
            raise RuntimeError("ministack's Python worker has changed: look at function_workers.py")
        script = script.replace(before, after)
    lambda_runtime._PYTHON_WORKER_SCRIPT = _IN_WORKER + script
    lambda_runtime.Worker._drain_stderr_bounded = _log_of_invocation
    lambda_runtime.zipfile = SimpleNamespace(
        ZipFile=_SharedCode,
        BadZipFile=zipfile.BadZipFile,
        LargeFileError=zipfile.LargeZipFile,
    )
    _limit_and_kill(emulation)


class _SharedCode(zipfile.ZipFile):
    """A function's code, unpacked once for all its processes, and compiled by the first of them.

    ministack unpacks it for each process anew: thousands of files, which take it longer than all
    else that it does.
    """

    _unpacking = threading.Lock()

    def extractall(self, path: Any = None, members: Any = None, pwd: Any = None) -> None:
        names = "\n".join(f"{each.filename} {each.CRC}" for each in self.infolist())
        digest = hashlib.sha256(names.encode()).hexdigest()[:16]
        shared = Path(tempfile.gettempdir()) / f"pare-code-{digest}"
        with self._unpacking:
            if not shared.exists():
                unpacked = Path(tempfile.mkdtemp(prefix="pare-code-"))
                super().extractall(unpacked)
                unpacked.rename(shared)
        for each in shared.iterdir():
            (Path(path) / each.name).symlink_to(each)


def _limit_and_kill(emulation: Emulation) -> None:
    execute, overlay = lambda_svc._execute_function_warm, lambda_svc._durable_env_overlay
    places = threading.Condition()
    busy = 0

    def execute_function_warm(func: dict[str, Any], event: Any, request_id: str) -> Any:
        name = str((func.get("config") or func).get("FunctionName", ""))
        kill = emulation.faults.take_kill(name) if emulation.faults.active else None
        nonlocal busy
        with places:
            places.wait_for(lambda: busy < emulation.settings.functions_at_once)
            busy += 1
        token = _killing.set(kill)
        try:
            result = execute(func, event, request_id)
        finally:
            _killing.reset(token)
            with places:
                busy -= 1
                places.notify()
        body = result.get("body") if isinstance(result, dict) else None
        if result.get("error") and isinstance(body, dict) and body.get("errorMessage") == _DIED:
            code = kill[0].code if kill is not None else None
            result["body"] = {
                "errorType": code or "Runtime.ExitError",
                "errorMessage": f"RequestId: {request_id} Error: Runtime exited with error: "
                "signal: killed",
            }
        return result

    def overlay_with_kill() -> dict[str, Any]:
        found, kill = dict(overlay() or {}), _killing.get()
        if kill is not None:
            found[_KILL] = kill[1]
        if emulation.settings.function_retry_scale != 1.0:
            found[_RETRY_SCALE] = emulation.settings.function_retry_scale
        return found

    lambda_svc._execute_function_warm = execute_function_warm
    lambda_svc._durable_env_overlay = overlay_with_kill


def _log_of_invocation(worker: Any, *_: Any) -> str:
    """Return the log of the invocation that has just ended: up to the mark at its end.

    ministack waits 50 ms for a first line and looks every millisecond.
    """
    lines: list[str] = []
    deadline = time.monotonic() + _LOG_SECONDS
    while (left := deadline - time.monotonic()) > 0:
        try:
            line = worker._stderr_queue.get(timeout=left)
        except queue.Empty:
            break
        if line.endswith(_LOG_END):  # after a last line without an end of its own
            lines += filter(None, [line.removesuffix(_LOG_END)])
            break
        lines.append(line)
    return "\n".join(lines)
