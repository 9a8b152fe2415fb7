"""The emulated organization as a process: start it, find it, ask it, stop it.

The server itself is ``local.emulator``. This module knows nothing of its inside: it spawns
``python -m local.emulator``, keeps its process id in the state folder and speaks HTTPS to it.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import botocore.session
from botocore.config import Config

from pare.errors import PareError

if TYPE_CHECKING:
    from botocore.loaders import Loader

DEFAULT_REGION = "eu-west-1"
MANAGEMENT_ACCOUNT_ID = "100000000001"

_STATE_FILE = "emulator.json"
_LOG_FILE = "emulator.log"
_START_SECONDS = 60.0
_STOP_SECONDS = 10.0
_ROOT = Path(__file__).parent.parent


class EmulatorError(PareError):
    """The emulated organization could not be started, reached or stopped."""

    what_to_do = "Look at emulator.log in the state folder, then start it again: `make demo`."


class PortBusyError(EmulatorError):
    """Another program listens on the emulator's port."""

    what_to_do = (
        "Stop it (`make demo-down` if it is ours), or take another port: "
        "PARE_LOCAL_PORT=4600 make demo"
    )


class EmulatorStartError(EmulatorError):
    """The emulator ended, or did not answer, while it was starting."""


class EmulatorControlError(EmulatorError):
    """The emulator refused a request to its control plane."""

    what_to_do = "Mend the request as the message says."


@dataclass(frozen=True, slots=True)
class Emulator:
    """A running emulated organization."""

    port: int
    state_dir: Path
    pid: int

    @property
    def endpoint_url(self) -> str:
        """The one endpoint of every emulated service."""
        return f"https://127.0.0.1:{self.port}"

    @property
    def ca_bundle(self) -> Path:
        """The certificate a client must trust."""
        return _ca_bundle(self.state_dir)

    @property
    def log(self) -> Path:
        """What the emulator printed."""
        return self.state_dir / _LOG_FILE

    def environment(self, account_id: str, region: str = DEFAULT_REGION) -> dict[str, str]:
        """Return the variables with which a program acts as the account's root, only here.

        The configuration and credentials files are /dev/null, so that a person's real profile can
        never be used.
        """
        bundle = str(self.ca_bundle)
        return {
            "AWS_ACCESS_KEY_ID": account_id,
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": region,
            "AWS_DEFAULT_REGION": region,
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_CA_BUNDLE": bundle,
            "NODE_EXTRA_CA_CERTS": bundle,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }

    def client(self, service: str, account_id: str, region: str = DEFAULT_REGION) -> Any:
        """Return a boto3 client that acts as the account's root."""
        return self.client_with(service, access_key_id=account_id, region=region)

    def client_with(
        self,
        service: str,
        *,
        access_key_id: str,
        secret_access_key: str = "test",
        session_token: str | None = None,
        region: str = DEFAULT_REGION,
    ) -> Any:
        """Return a boto3 client with the given credentials, without retries of its own."""
        return _client(
            service,
            self.endpoint_url,
            str(self.ca_bundle),
            access_key_id,
            secret_access_key,
            session_token,
            region,
        )

    def control(
        self, path: str, body: dict[str, Any] | None = None, *, method: str | None = None
    ) -> dict[str, Any]:
        """Return the control plane's answer: GET without a body, else POST (docs/emulator.md)."""
        method = method or ("GET" if body is None else "POST")
        request = urllib.request.Request(
            f"{self.endpoint_url}/_pare/{path.strip('/')}",
            data=None if body is None else json.dumps(body).encode(),
            method=method,
            headers={"Content-Type": "application/json"},
        )
        context = ssl.create_default_context(cafile=str(self.ca_bundle))
        try:
            with urllib.request.urlopen(request, timeout=60, context=context) as response:
                answer: dict[str, Any] = json.loads(response.read())
        except urllib.error.HTTPError as error:
            with error:
                text = error.read().decode("utf-8", "replace")
            raise EmulatorControlError(f"{method} /_pare/{path.strip('/')}: {text}") from error
        except OSError as error:
            raise EmulatorError(
                f"The emulator on port {self.port} does not answer: {error}"
            ) from error
        return answer


def start(state_dir: Path, port: int, *, wait_scale: float = 0.02) -> Emulator:
    """Return the emulator started on the port, healthy, or the one that already runs there.

    ``wait_scale`` is what one second of waiting in AWS (a Wait state, a retry, an Access Analyzer
    job) takes here.
    """
    state_dir = state_dir.resolve()
    found = running(state_dir)
    if found is not None and found.port == port:
        return found
    if found is not None:
        stop(state_dir)
    _require_free(port)
    (state_dir / "tmp").mkdir(parents=True, exist_ok=True)
    log = state_dir / _LOG_FILE
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "local.emulator",
                "--port",
                str(port),
                "--state-dir",
                str(state_dir),
                "--wait-scale",
                str(wait_scale),
            ],
            cwd=_ROOT,
            env=_clean_environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    emulator = Emulator(port=port, state_dir=state_dir, pid=process.pid)
    (state_dir / _STATE_FILE).write_text(json.dumps({"pid": process.pid, "port": port}) + "\n")
    try:
        _wait_until_healthy(emulator, process)
    except EmulatorError:
        stop(state_dir)
        raise
    _forget(process)
    return emulator


def running(state_dir: Path) -> Emulator | None:
    """Return the emulator of this state folder if its process lives, else None."""
    state_dir = state_dir.resolve()
    try:
        state = json.loads((state_dir / _STATE_FILE).read_text())
    except (OSError, json.JSONDecodeError):
        return None
    pid = int(state["pid"])
    if not _is_ours(pid, state_dir):
        return None
    return Emulator(port=int(state["port"]), state_dir=state_dir, pid=pid)


def stop(state_dir: Path) -> bool:
    """Return whether an emulator was stopped: it and the Lambda workers it started are gone."""
    state_dir = state_dir.resolve()
    emulator = running(state_dir)
    (state_dir / _STATE_FILE).unlink(missing_ok=True)
    if emulator is None:
        return False
    # It is the leader of its own session, so its process group is it and its Lambda workers.
    _signal_group(emulator.pid, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_SECONDS
    while _group_lives(emulator.pid) and time.monotonic() < deadline:
        _reap(emulator.pid)
        time.sleep(0.05)
    _signal_group(emulator.pid, signal.SIGKILL)
    _reap(emulator.pid)
    return True


@cache
def _client(
    service: str,
    endpoint_url: str,
    ca_bundle: str,
    access_key_id: str,
    secret_access_key: str,
    session_token: str | None,
    region: str,
) -> Any:
    """Return a client, made once: making one takes longer than most calls."""
    session = botocore.session.Session()
    session.register_component("data_loader", _loader())
    return boto3.session.Session(
        aws_access_key_id=access_key_id,
        aws_secret_access_key=secret_access_key,
        aws_session_token=session_token,
        region_name=region,
        botocore_session=session,
    ).client(  # type: ignore[call-overload]
        service,
        endpoint_url=endpoint_url,
        verify=ca_bundle,
        config=Config(retries={"total_max_attempts": 1}, read_timeout=120),
    )


@cache
def _loader() -> Loader:
    """Return one loader for all sessions: the service models are read once."""
    loader: Loader = botocore.session.Session().get_component("data_loader")
    return loader


def _ca_bundle(state_dir: Path) -> Path:
    return state_dir / "tmp" / "ministack-tls" / "server.crt"


def _clean_environment() -> dict[str, str]:
    # Nothing of a person's AWS set-up reaches the server, nor settings of another ministack.
    prefixes = ("AWS_", "MINISTACK_", "SFN_", "LAMBDA_", "LOCALSTACK_", "SERVICES")
    return {k: v for k, v in os.environ.items() if not k.startswith(prefixes)}


def _require_free(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise PortBusyError(f"Port {port} on 127.0.0.1 is taken by another program.") from error


def _wait_until_healthy(emulator: Emulator, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise EmulatorStartError(
                f"The emulator ended with code {process.returncode} while it was starting. "
                f"Its last words:\n{_last_lines(emulator.log)}"
            )
        if emulator.ca_bundle.exists():
            try:
                emulator.control("health")
            except EmulatorError:
                pass
            else:
                return
        time.sleep(0.1)
    raise EmulatorStartError(
        f"The emulator did not answer on port {emulator.port} within {_START_SECONDS:.0f} s. "
        f"Its last words:\n{_last_lines(emulator.log)}"
    )


def _last_lines(log: Path, count: int = 15) -> str:
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-count:])
    except OSError:
        return f"({log} cannot be read)"


def _is_ours(pid: int, state_dir: Path) -> bool:
    """Return whether the process lives and is an emulator of this state folder.

    A process id is reused after a restart of the machine, so its command line is looked at.
    """
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    proc = Path(f"/proc/{pid}")
    if proc.parent.is_dir() and proc.exists():
        try:
            if proc.joinpath("stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return False
            command = proc.joinpath("cmdline").read_bytes().split(b"\0")
        except OSError:
            return False
        return b"local.emulator" in command and str(state_dir).encode() in command
    listing = subprocess.run(
        ["ps", "-p", str(pid), "-o", "command="], capture_output=True, text=True, check=False
    ).stdout
    return "local.emulator" in listing and str(state_dir) in listing


def _signal_group(pid: int, number: signal.Signals) -> None:
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        return


def _group_lives(pid: int) -> bool:
    try:
        os.killpg(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # macOS answers so for a group of zombies
        return False
    return True


def _reap(pid: int) -> None:
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return


def _forget(process: subprocess.Popen[bytes]) -> None:
    """Let go of the child: it outlives us on purpose, and Popen would warn about that."""
    process.returncode = 0
