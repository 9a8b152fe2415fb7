"""Run ministack's application behind our gateway. Imported only after the environment is set."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from pathlib import Path
from typing import Any

from hypercorn.asyncio import serve as hypercorn_serve
from hypercorn.config import Config
from ministack import app as ministack
from ministack.core import lambda_runtime, tls

from local.emulator import (
    analyzer_resource,
    authorization_details,
    corrections,
    drift_reverts,
    function_workers,
    stack_set_resource,
    task_calls,
)
from local.emulator.control import ControlPlane
from local.emulator.emulation import Emulation
from local.emulator.gateway import Gateway
from local.emulator.settings import Settings
from local.emulator.trail import TrailReader

_GRACE_SECONDS = 0.5


def serve(port: int, *, wait_scale: float) -> None:
    """Serve on the port until SIGTERM or SIGINT."""
    logging.getLogger("hypercorn.access").setLevel(logging.WARNING)
    certificate, key = tls.resolve_tls_material()
    corrections.apply()
    emulation = Emulation(
        Settings.scaled(wait_scale),
        TrailReader(f"https://127.0.0.1:{port}", Path(certificate)),
    )
    analyzer_resource.register(emulation)
    authorization_details.register(emulation)
    function_workers.register(emulation)
    stack_set_resource.register(emulation)
    drift_reverts.register(emulation)
    task_calls.register(emulation)
    control = ControlPlane(emulation, ministack._reset_all_state)
    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    config.certfile, config.keyfile = certificate, key
    config.keep_alive_timeout = 75
    config.graceful_timeout = 0.5
    config.loglevel = os.environ.get("LOG_LEVEL", "INFO")
    asyncio.run(_run(Gateway(ministack.app, emulation, control), emulation, config))
    _end()


async def _run(gateway: Gateway, emulation: Emulation, config: Config) -> None:
    stopping = asyncio.Event()
    loop = emulation.loop = asyncio.get_running_loop()

    def stop() -> None:
        stopping.set()
        # Clients keep connections open, and hypercorn would wait for them.
        loop.call_later(_GRACE_SECONDS, _end)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    application: Any = gateway  # hypercorn spells the scope and messages as TypedDicts
    await hypercorn_serve(application, config, shutdown_trigger=stopping.wait)


def _end() -> None:
    """End at once, with the Lambda workers: all state is in memory."""
    lambda_runtime.reset()
    os._exit(0)
