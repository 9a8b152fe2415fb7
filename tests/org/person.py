"""Somebody at a terminal, with a profile of every account, who does what the doctor prints.

A shell with two commands of its own: ``aws`` is ``tests.org.aws_cli``, ``npx cdk`` the real CDK CLI
on this app with the settings of the emulated organization. All else, such as here-documents, is the
shell's. Pare is where `make setup` puts it, ``.venv/bin/pare``, and not on the PATH.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from infra.settings import ARCHIVE_RULES
from local import deploy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from local.demo import Box

ROOT = Path(__file__).parents[2]
SETTINGS = "pare.yaml"
PARE = ".venv/bin/pare"
SECONDS = 300


class RanWrongError(AssertionError):
    """A command did not do what it says."""


@dataclass(frozen=True)
class Person:
    """A terminal in a folder of its own; what is there is gone with the folder."""

    box: Box
    folder: Path

    @property
    def settings_file(self) -> Path:
        """The settings that the person edits; at first those that are deployed."""
        return self.folder / SETTINGS

    def settings(self) -> dict[str, Any]:
        """Return what is in the settings file."""
        found: dict[str, Any] = yaml.safe_load(self.settings_file.read_text(encoding="utf-8"))
        return found

    def set_in_settings(self, *path: str, value: Any) -> None:
        """Write a value into the settings file."""
        whole = self.settings()
        part = whole
        for name in path[:-1]:
            part = part[name]
        part[path[-1]] = value
        text = yaml.safe_dump(whole, sort_keys=False)
        self.settings_file.write_text(text, encoding="utf-8")

    @classmethod
    def at(cls, box: Box, folder: Path) -> Person:
        """Return somebody with a terminal, the profiles, and the settings that are deployed."""
        programs = folder / "bin"
        programs.mkdir(parents=True)
        for name in (SETTINGS, ARCHIVE_RULES):
            shutil.copy(box.emulator.state_dir / name, folder)
        person = cls(box, folder)
        for name, line in {
            "aws": f"{sys.executable} -m tests.org.aws_cli",
            "npx": f"{sys.executable} -m tests.org.npx",
        }.items():
            program = programs / name
            program.write_text(f'#!/bin/sh\nexec {line} "$@"\n', encoding="utf-8")
            program.chmod(0o755)
        (folder / PARE).parent.mkdir(parents=True)
        (folder / PARE).symlink_to(Path(sys.executable).with_name("pare").resolve(strict=True))
        (folder / "config").write_text(person._profiles(), encoding="utf-8")
        return person

    def account_of(self, where: str) -> str:
        """Return the account whose credentials a mend takes; the hub's for what is done here."""
        organization = self.box.created.organization
        if where.startswith("member "):
            account_id = where.removeprefix("member ").split()[0]
            assert account_id in self.box.created.account_ids, where
            return account_id
        return {
            "hub": organization.hub_account,
            "you": organization.hub_account,
            "management": organization.management_account,
            "log archive": organization.log_archive_account,
        }[where].account_id

    def types(self, where: str, commands: Sequence[str], *, seconds: float = SECONDS) -> str:
        """Run commands as they are printed, with the credentials of an account; return the output.

        Raises RanWrongError with what was printed, where one of them fails.
        """
        ran = self.run(where, "\n".join(commands), seconds=seconds)
        if ran.returncode:
            raise RanWrongError(
                f"ended with {ran.returncode}:\n"
                + "\n".join(commands)
                + f"\n{ran.stdout}{ran.stderr}"
            )
        return ran.stdout

    def run(
        self, where: str, script: str, *, seconds: float = SECONDS
    ) -> subprocess.CompletedProcess[str]:
        """Run a script in the shell, which ends at the first command that fails."""
        bash = shutil.which("bash")
        assert bash is not None
        return subprocess.run(
            [bash, "--noprofile", "--norc", "-eu", "-o", "pipefail", "-c", script],
            cwd=self.folder,
            env=self._environment(where),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )

    def doctor(self, *arguments: str) -> Examined:
        """Return what `pare doctor` says, with the hub's credentials."""
        ran = self.run("hub", shlex.join([PARE, "doctor", "--format", "json", *arguments]))
        if ran.returncode not in (0, 1):
            raise RanWrongError(
                f"pare doctor ended with {ran.returncode}: {ran.stdout}{ran.stderr}"
            )
        found = Examined(json.loads(ran.stdout), ran.returncode, ran.stderr)
        assert ran.returncode == (1 if found.not_ok else 0)
        return found

    def _environment(self, where: str) -> dict[str, str]:
        emulator, organization = self.box.emulator, self.box.created.organization
        node = shutil.which("node")
        assert node is not None
        return {
            **emulator.environment(self.account_of(where), organization.home_region),
            "AWS_CONFIG_FILE": str(self.folder / "config"),
            "PATH": os.pathsep.join(
                [str(self.folder / "bin"), str(Path(node).parent), "/usr/bin", "/bin"]
            ),
            "PYTHONPATH": str(ROOT),
            "HOME": str(self.folder),
            "TMPDIR": str(self.folder),
            "LANG": "C.UTF-8",
            "PARE_TEST_SETTINGS": str(self.settings_file),
            "PARE_TEST_ASSEMBLIES": str(self.folder / "assemblies"),
        }

    def _profiles(self) -> str:
        """Return the AWS configuration file: a profile for each account, by name and part."""
        organization = self.box.created.organization
        named = {
            "hub": organization.hub_account.account_id,
            "management": organization.management_account.account_id,
            "log-archive": organization.log_archive_account.account_id,
            **{account.name: account.account_id for account in organization.accounts},
        }
        return "".join(
            f"[profile {name}]\naws_access_key_id = {account_id}\naws_secret_access_key = test\n"
            f"region = {organization.home_region}\n"
            for name, account_id in named.items()
        )


@dataclass(frozen=True)
class Examined:
    """What the doctor said, as its JSON has it."""

    document: dict[str, Any]
    code: int
    progress: str

    @property
    def results(self) -> list[dict[str, Any]]:
        """Every result."""
        found: list[dict[str, Any]] = self.document["results"]
        return found

    @property
    def not_ok(self) -> dict[tuple[str, str], dict[str, Any]]:
        """What is missing or cannot be told, by check and subject."""
        return {
            (each["check"], each["subject"]): each
            for each in self.results
            if each["status"] != "ok"
        }

    def shown(self) -> str:
        """Return what is not ok in a line each, for a failed test to show."""
        lines = [
            f"{each['status']}: {check} [{subject}] {each['says']}"
            for (check, subject), each in sorted(self.not_ok.items())
        ]
        return "\n".join(lines) or "all ok"

    def said(self, check: str, subject: str) -> str:
        """Return what is said of the one result of a check whose subject has a text in it."""
        (found,) = (each for each in self.results if self._is(each, check, subject))
        return str(found["says"])

    def is_ok(self, check: str, subject: str) -> bool:
        """Return whether there is such a result, and it is well."""
        found = [each["status"] for each in self.results if self._is(each, check, subject)]
        return found == ["ok"]

    @staticmethod
    def _is(result: dict[str, Any], check: str, subject: str) -> bool:
        return result["check"] == check and subject in result["subject"]


def assembly_of(settings_file: Path, folder: Path) -> Path:
    """Return the cloud assembly of these settings; synthesized where they are not yet."""
    rules = settings_file.with_name(ARCHIVE_RULES)
    text = settings_file.read_bytes() + (rules.read_bytes() if rules.exists() else b"")
    own = folder / hashlib.sha256(text).hexdigest()[:16]
    if not (own / "cdk.out" / "manifest.json").exists():
        own.mkdir(parents=True, exist_ok=True)
        deploy.synthesize(own, settings_file)
    return own / "cdk.out"
