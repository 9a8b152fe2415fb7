"""Serve the emulated organization: ``python -m local.emulator --port N --state-dir DIR``.

One process, one port, loopback only, TLS, IAM enforcement on. ministack reads its settings at
import, so the environment is set here before anything of it is imported.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from local.process import DEFAULT_REGION, MANAGEMENT_ACCOUNT_ID


def main() -> None:
    """Run until SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m local.emulator", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--state-dir", type=Path, required=True)
    parser.add_argument(
        "--wait-scale", type=float, default=0.02, help="how long a second of waiting in AWS takes"
    )
    options = parser.parse_args()
    set_environment(options.port, options.state_dir.resolve(), options.wait_scale)

    from local.emulator.server import serve

    serve(options.port, wait_scale=options.wait_scale)


def set_environment(port: int, state_dir: Path, wait_scale: float) -> None:
    """Set what ministack and the libraries under it read from the environment."""
    scratch = state_dir / "tmp"
    scratch.mkdir(parents=True, exist_ok=True)
    certificate = scratch / "ministack-tls" / "server.crt"
    os.environ.update(
        {
            "AUTH": "true",
            "USE_SSL": "1",
            "BIND_HOST": "127.0.0.1",
            "GATEWAY_PORT": str(port),
            "TMPDIR": str(scratch),  # the certificate and the scratch folders of Lambda
            "STATE_DIR": str(state_dir / "ministack"),
            "S3_DATA_DIR": str(state_dir / "ministack" / "s3"),
            "AWS_CA_BUNDLE": str(certificate),
            "SSL_CERT_FILE": str(certificate),  # what a function's urllib goes by (ResponseURL)
            "AWS_ACCESS_KEY_ID": MANAGEMENT_ACCOUNT_ID,
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            "MINISTACK_ACCOUNT_ID": MANAGEMENT_ACCOUNT_ID,
            "MINISTACK_REGION": DEFAULT_REGION,
            "MINISTACK_EDITION": "pare",
            "SFN_WAIT_SCALE": str(wait_scale),
            # Listeners nobody needs here, on ports that would collide with a second emulator.
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
            "LAMBDA_EXECUTOR": "local",
            "DOCKER_HOST": f"unix://{scratch}/no-docker.sock",
        }
    )


if __name__ == "__main__":
    main()
