"""The same app, deployed into the emulated organization with the real CDK CLI."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from infra.by_hand import BY_HAND, LOG_ARCHIVE_STACK
from infra.member_stack import MEMBER_STACK
from infra.settings import ARCHIVE_RULES
from infra.stacks import PIPELINE_STACK
from pare.errors import PareError

if TYPE_CHECKING:
    from local.organization import CreatedOrganization
    from local.process import Emulator

ROOT = Path(__file__).parent.parent
CDK = ROOT / "node_modules" / ".bin" / "cdk"
# Of the seed: whom the role PartnerFeed lets in, and who answers for that.
PARTNER_ACCOUNT, PARTNER_OWNER = "910000000001", "logistics@northwind.example"


class DeployError(PareError):
    """The CDK CLI could not deploy the app into the emulated organization."""

    what_to_do = "Read the CDK CLI's last lines above; the whole of it is in the named log."


@dataclass(frozen=True, slots=True)
class Deployment:
    """Where the app lies: the stack outputs of the hub, by their names."""

    settings_file: Path
    outputs: dict[str, str]


def write_settings(path: Path, emulator: Emulator, created: CreatedOrganization) -> Path:
    """Write the settings file that fits the emulated organization, and return it.

    The archive rules lie beside it.
    """
    organization = created.organization
    management = organization.management_account.account_id
    roots = emulator.client("organizations", management).list_roots()["Roots"]
    today = datetime.now(UTC).date()
    settings = {
        "organization_id": created.organization_id,
        "management_account_id": management,
        "hub_account_id": organization.hub_account.account_id,
        "log_archive_account_id": organization.log_archive_account.account_id,
        "organizational_units": [root["Id"] for root in roots],
        "home_region": organization.home_region,
        "governed_regions": list(organization.regions),
        "trail": {
            "arn": created.trail_arn,
            "bucket": created.bucket_name,
            "made_by_control_tower": False,
        },
        "policy_generation": {"poll_seconds": 60, "max_wait_minutes": 30},
        "notifications": {
            "people_emails": [],
            "default_owner": "security@example.com",
            "routes": [{"owners": [PARTNER_OWNER], "emails": [PARTNER_OWNER]}],
        },
        "partner_accounts": [{"account_id": PARTNER_ACCOUNT, "name": "Parcel carrier"}],
        "exemptions": [
            {
                "principal": organization.principal(each.principal).arn,
                "owner": each.owner,
                "reason": each.reason,
                "expires": f"{today + timedelta(days=each.expires_in_days)}",
            }
            for each in organization.exemptions
        ],
        # Nobody else asks the emulated IAM for anything.
        "inventory": {"calls_per_second": 50},
    }
    rules = [
        {
            "name": "carrier-parcels",
            "filter": {
                "resourceType": {"eq": ["AWS::IAM::Role"]},
                "resource": {"contains": ["role/partners/PartnerFeed"]},
                "principal.AWS": {"eq": [PARTNER_ACCOUNT]},
                "isPublic": {"eq": ["false"]},
            },
            "reason": "The carrier fetches parcels, with an external id.",
            "owner": PARTNER_OWNER,
            "expires": f"{today + timedelta(days=200)}",
        }
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    for file, content in ((path, settings), (path.with_name(ARCHIVE_RULES), {"rules": rules})):
        file.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return path


def synthesize(state_dir: Path, settings_file: Path) -> Path:
    """Return the cloud assembly of the app for these settings.

    One after the other of a checkout: each fills .build anew with the functions' code.
    """
    assembly = state_dir / "cdk.out"
    shutil.rmtree(assembly, ignore_errors=True)
    lock_file = ROOT / ".build" / "synth.lock"
    lock_file.parent.mkdir(exist_ok=True)
    with lock_file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _run(
            [str(CDK), "synth", "--quiet", "--app", f"{sys.executable} app.py",
             "--output", str(assembly), "-c", f"settings={settings_file}", "-c", "synthesizer=cli",
             "-c", "functions=host"],
            log=state_dir / "synth.log",
            env={},
        )  # fmt: skip
    return assembly


def bootstrap(emulator: Emulator, account_id: str, region: str) -> None:
    """Bootstrap the hub account, as a person would once in AWS."""
    _run(
        [str(CDK), "bootstrap", f"aws://{account_id}/{region}", "--app", "",
         "--cloudformation-execution-policies", "arn:aws:iam::aws:policy/AdministratorAccess"],
        log=emulator.state_dir / "bootstrap.log",
        env=emulator.environment(account_id, region),
    )  # fmt: skip


def deploy_hub(emulator: Emulator, created: CreatedOrganization, assembly: Path) -> dict[str, str]:
    """Deploy the hub's stacks of all Regions and return the outputs of the pipeline.

    The stack set among them puts the member roles into every account but the management account.
    """
    organization = created.organization
    outputs = emulator.state_dir / "outputs.json"
    _run(
        [str(CDK), "deploy", "--all", "--app", str(assembly), "--require-approval", "never",
         "--outputs-file", str(outputs), "--progress", "events", "--concurrency", "2"],
        log=emulator.state_dir / "deploy-hub.log",
        env=emulator.environment(organization.hub_account.account_id, organization.home_region),
    )  # fmt: skip
    found: dict[str, str] = json.loads(outputs.read_text(encoding="utf-8"))[PIPELINE_STACK]
    return {name: value for name, value in found.items() if not name.startswith("Exports")}


def deploy_by_hand(emulator: Emulator, created: CreatedOrganization, assembly: Path) -> None:
    """Deploy what other accounts deploy: the management account and the log archive account."""
    organization = created.organization
    for stack, account in (
        (MEMBER_STACK, organization.management_account),
        (LOG_ARCHIVE_STACK, organization.log_archive_account),
    ):
        own = _copy(emulator, assembly, stack)
        _run(
            [str(CDK), "deploy", f"{BY_HAND}/{stack}", "--app", str(own),
             "--require-approval", "never", "--progress", "events"],
            log=emulator.state_dir / f"deploy-{stack}.log",
            env=emulator.environment(account.account_id, organization.home_region),
        )  # fmt: skip


def _copy(emulator: Emulator, assembly: Path, name: str) -> Path:
    """Return a copy of an assembly: the CLI locks the one it reads."""
    own = emulator.state_dir / f"cdk.out-{name}"
    shutil.rmtree(own, ignore_errors=True)
    shutil.copytree(assembly, own, ignore=shutil.ignore_patterns("asset.*", "*.lock"))
    return own


def _run(command: list[str], *, log: Path, env: dict[str, str]) -> None:
    log.parent.mkdir(parents=True, exist_ok=True)
    clean = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
    with log.open("wb") as output:
        code = subprocess.run(
            command,
            cwd=ROOT,
            env={
                **clean,
                **env,
                "CI": "true",
                "CDK_DISABLE_VERSION_CHECK": "1",
                "CDK_DISABLE_CLI_TELEMETRY": "true",
                # CDK's JavaScript runs on Node 20, which its makers no longer maintain.
                "JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION": "20",
            },
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        ).returncode
    if code:
        lines = log.read_text(errors="replace").splitlines()
        last = "\n".join(line for line in lines[-15:] if line.strip())
        raise DeployError(f"`cdk {command[1]}` ended with code {code}; see {log}\n{last}")
