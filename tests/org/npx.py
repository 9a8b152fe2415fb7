"""`npx cdk` for the tests' shell: the real CDK CLI, on this app, with the settings of the test."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from local.deploy import CDK
from tests.org.person import ROOT, assembly_of

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS = ("deploy", "destroy", "diff", "list", "synth")


def main(arguments: Sequence[str]) -> int:
    """Hand a command to the CDK CLI; it reads what would be synthesized here."""
    if len(arguments) < 2 or arguments[0] != "cdk" or arguments[1] not in COMMANDS:
        print(f"npx: {' '.join(arguments)} is not known here", file=sys.stderr)
        return 1
    settings = Path(os.environ["PARE_TEST_SETTINGS"])
    assembly = assembly_of(settings, Path(os.environ["PARE_TEST_ASSEMBLIES"]))
    more = ["--app", str(assembly)]
    if arguments[1] == "deploy":
        more += ["--require-approval", "never", "--progress", "events"]
    environment = {
        **os.environ,
        "CI": "true",
        "CDK_DISABLE_VERSION_CHECK": "1",
        "CDK_DISABLE_CLI_TELEMETRY": "true",
        "JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION": "20",
    }
    command = [str(CDK), *arguments[1:], *more]
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
