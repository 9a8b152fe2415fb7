"""Collect principals: what IAM and the credential report say of one account.

An account that cannot be read is an unknown account in the snapshot, not a failed run. A credential
report that cannot be had leaves the credentials of users unknown, not the account.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, TypedDict

from lambdas.probe import answers_probe
from lambdas.runtime import client, logger, read_environment, utc_now
from pare.arns import parse_principal_arn
from pare.aws.evidence_store import EvidenceStore
from pare.aws.iam_reader import CallCount
from pare.aws.member_account import MemberRole
from pare.aws.principals import iam_reader
from pare.clock import format_time, json_times
from pare.errors import EvidenceError, MemberAccountError, PareError, PrincipalNotFoundError
from pare.inventory.credential_report import read_credential_report
from pare.inventory.snapshot import unknown_account
from pare.policy.authorization_details import ROLES, USERS

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from lambdas.inventory.list_accounts import AccountItem
    from pare.aws.iam_reader import IamReader
    from pare.inventory.credential_report import CredentialReport
    from pare.inventory.model import AccountResultJson, CollectedJson
    from pare.object_ref import ObjectRef

# IAM takes seconds to a minute for a report; the step must not end by its own timeout instead.
MAX_REPORT_SECONDS = 120.0
# Left for the access keys, and for writing what was read.
RESERVE_SECONDS = 20.0
LAST_SECONDS = 8.0


class Output(TypedDict):
    """``is_done``: nothing is left to do for this account in this run."""

    is_done: bool
    error: str | None
    item: AccountItem
    collected: ObjectRef | None


@dataclass(frozen=True, slots=True)
class Environment:
    member_role_arn_template: str
    member_external_id: str
    evidence_bucket_name: str


@cache
def environment() -> Environment:
    return read_environment(Environment)


@answers_probe
@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: AccountItem, context: LambdaContext) -> Output:
    """Store what the account's IAM says, once in a run; raises only what is worth a retry."""
    settings = environment()
    account_id = event["account_id"]
    logger.append_keys(account_id=account_id)
    started = time.monotonic()
    store = EvidenceStore(client("s3"), settings.evidence_bucket_name)
    folder = f"{event['work']}/account={account_id}"
    result_ref = _ref(store, f"{folder}/result.json")
    collected_ref = _ref(store, f"{folder}/collected.json")
    result: AccountResultJson | None = _stored(store, result_ref)
    if result is not None and result["error"] is None:
        logger.info("account is done")
        return {"is_done": True, "error": None, "item": event, "collected": None}
    if _stored(store, collected_ref) is not None:
        logger.info("principals were collected before")
        return {"is_done": False, "error": None, "item": event, "collected": collected_ref}
    deadline = started + context.get_remaining_time_in_millis() / 1000
    try:
        role = MemberRole(settings.member_role_arn_template, settings.member_external_id)
        reader = iam_reader(account_id, role=role, sts=client("sts"), purpose="collect-principals")
        collection = _Collection(reader, deadline)
        collection.read()
    except MemberAccountError as error:
        name = type(error).__name__
        logger.warning("account is unknown", error=name, why=str(error))
        # A state such as PENDING_CLOSURE may be why.
        why = str(error) if event["state"] == "ACTIVE" else f"{event['state']}: {error}"
        store.put_json(result_ref["key"], _unknown_account(event, name, why, started))
        return {"is_done": True, "error": name, "item": event, "collected": None}
    collected = _store(event, collection, store, folder, started)
    store.put_json(collected_ref["key"], collected)
    logger.info(
        "principals collected",
        count=collected["principal_count"],
        unknown=collected["unknown"],
        calls=collected["calls"],
    )
    return {"is_done": False, "error": None, "item": event, "collected": collected_ref}


@dataclass(slots=True)
class _Collection:
    """What is read of an account, and what could not be."""

    reader: IamReader
    deadline: float  # of the monotonic clock
    pages: list[dict[str, Any]] = field(default_factory=list)
    credential_report: str | None = None
    alias: str | None = None
    access_keys: dict[str, list[dict[str, str]]] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)
    calls: int = 0

    def read(self) -> None:
        """Read everything; raises what makes the whole account unknown, or is worth a retry."""
        count = CallCount(self.reader.iam)
        for page in self.reader.authorization_details():
            page.pop("ResponseMetadata", None)
            self.pages.append(json_times(page))
        try:
            self.alias = self.reader.account_alias()
        except PareError as error:
            self.unknown.append(f"account alias: {error}")
        self._read_access_keys(self._read_credential_report())
        self.calls = count.calls

    def principals(self) -> list[str]:
        """Return the ARNs of the users and roles, sorted."""
        return sorted(
            entity["Arn"] for page in self.pages for key in (USERS, ROLES)
            for entity in page.get(key, ())
        )  # fmt: skip

    def _left(self) -> float:
        return self.deadline - time.monotonic()

    def _read_credential_report(self) -> CredentialReport | None:
        seconds = min(MAX_REPORT_SECONDS, max(self._left() - RESERVE_SECONDS, 0.0))
        try:
            text = self.reader.credential_report(seconds=seconds)
            report = read_credential_report(text)
        except PareError as error:
            self.unknown.append(f"credential report: {error}")
            return None
        self.credential_report = text
        return report

    def _read_access_keys(self, report: CredentialReport | None) -> None:
        """Read the ids of access keys: the report has none. Of users with keys, or of all."""
        users = sorted(
            parse_principal_arn(user["Arn"]).name
            for page in self.pages
            for user in page.get(USERS, ())
        )
        if report is not None:
            users = [
                name for name in users if name in report.users and report.users[name]["access_keys"]
            ]
        for place, name in enumerate(users):
            try:
                if self._left() < LAST_SECONDS:
                    raise TimeoutError("the step's time was over")
                self.access_keys[name] = self.reader.access_keys(name)
            except PrincipalNotFoundError:
                continue  # deleted since
            except (PareError, TimeoutError) as error:
                # Whatever refused this one refuses the next.
                left = len(users) - place
                self.unknown.append(f"access key ids of {left} of {len(users)} users: {error}")
                return


def _store(
    item: AccountItem, collection: _Collection, store: EvidenceStore, folder: str, started: float
) -> CollectedJson:
    principals = collection.principals()
    report = collection.credential_report
    return {
        "account_id": item["account_id"],
        "name": item["name"],
        "alias": collection.alias,
        "collected_at": format_time(utc_now()),
        "details": store.put_ndjson_gz(
            f"{folder}/authorization_details.ndjson.gz", collection.pages
        ),
        "credential_report": (
            None
            if report is None
            else store.put_text(f"{folder}/credential_report.csv", report, "text/csv")
        ),
        "access_keys": collection.access_keys,
        "principals": store.put_json(f"{folder}/principals.json", principals),
        "principal_count": len(principals),
        "unknown": collection.unknown,
        "calls": collection.calls,
        "seconds": _seconds_since(started),
    }


def _unknown_account(
    item: AccountItem, error: str, message: str, started: float
) -> AccountResultJson:
    """Return the result of an account that cannot be entered, with what was known of it last."""
    previous = item["previous"]
    result = unknown_account(
        item["account_id"],
        item["name"],
        error=error,
        message=message,
        known=(
            None
            if previous is None
            else {
                "period": previous["period"], "bucket": previous["bucket"], "key": previous["key"],
            }
        ),
    )  # fmt: skip
    result["seconds"] = _seconds_since(started)
    return result


def _ref(store: EvidenceStore, key: str) -> ObjectRef:
    return {"bucket": store.bucket, "key": key}


def _stored(store: EvidenceStore, ref: ObjectRef) -> Any:
    """Return a JSON object of this work, or None where there is none yet."""
    try:
        return store.get_json(ref)
    except EvidenceError:
        return None


def _seconds_since(started: float) -> float:
    return round(time.monotonic() - started, 3)
