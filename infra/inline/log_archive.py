"""The function of PareLogArchive: puts Pare's statements into one policy, and takes them out.

``infra/log_archive_stack.py`` writes this file into the template, and ``pare.log_archive.merge``
before it in place of the import: so nothing but the standard library and boto3 is used here. Each
custom resource stands for one policy, that of the trail's bucket or that of one key:

    Policy      "bucket" or "key"
    Name        the bucket's name, or the key's ARN
    AccountId, Region   where it must be
    Statements  what Pare needs of it
    Look        of a bucket: {"Roots": [...], "WindowDays": "90", "KeyArns": [...],
                "KeyStatements": [...], "TrailRegion": "eu-west-1"}
    Again       any text: a new one makes CloudFormation ask again

Its attributes are Difference (what changed, in a line) and Notes (what a person should know).
https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/crpg-ref.html
"""

from __future__ import annotations

import json
import re
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
from botocore.exceptions import ClientError

from pare.log_archive.merge import (
    BUCKET_POLICY_BYTES,
    KEY_POLICY_BYTES,
    compact,
    difference,
    merged,
    size,
    statements_of,
    summary,
    without,
)

# The ends of a physical id, which is all that CloudFormation keeps for us.
NOT_MADE = " (not made)"
WAS_THERE = " (statements were there before)"
DENIED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "403"}
GONE = {"NoSuchBucket", "NotFoundException", "KMSInvalidStateException"}
MALFORMED = {"MalformedPolicy", "MalformedPolicyDocumentException"}
# What AWS shows in place of a user or role that was deleted.
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html#identifiers-unique-ids
DELETED = re.compile(r"A(IDA|ROA|KIA|SIA)[A-Z0-9]+")
# A role's new rights take some seconds until they count everywhere, and so does a new policy.
# https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot.html#troubleshoot_general_eventual-consistency
WAIT_SECONDS = 3
WAITS = 20
ATTEMPTS = 5
# Accounts whose log files are looked at: each at the window's first day, its middle and its end.
MAX_ACCOUNTS = 100
# CloudFormation takes 4,096 bytes of an answer, and 1,024 characters of an output.
MAX_REASON, MAX_ATTRIBUTE = 2_800, 800


class RefusedError(Exception):
    """A reason that a person can do something about."""


def lambda_handler(event: dict[str, Any], context: Any) -> None:
    """Do what CloudFormation asks, and answer it, whatever happens."""
    kind = event["RequestType"]
    name = f"{event['ResourceProperties']['Policy']} policy {event['ResourceProperties']['Name']}"
    answer: dict[str, Any] = {"PhysicalResourceId": event.get("PhysicalResourceId", name)}
    end = NOT_MADE
    try:
        target = _target(event["ResourceProperties"])
        change = {"Create": put_in, "Update": put_in, "Delete": take_out}[kind]
        try:
            answer |= {"Data": change(event, target), "Status": "SUCCESS"}
        finally:
            end = target.end
    except Exception as error:
        reason = str(error) if isinstance(error, RefusedError) else f"{name}: {error!r}"
        answer |= {"Status": "FAILED", "Reason": _cut(reason, MAX_REASON)}
        print(reason)
    if kind == "Create":
        # If it failed, CloudFormation now deletes what it takes to be half made.
        answer["PhysicalResourceId"] = name + end
    _respond(event, answer)


def put_in(event: dict[str, Any], target: Bucket | Key) -> dict[str, str]:
    """Check, merge, and return the attributes.

    A rollback updates a resource with its properties from before, also one that refused the new
    ones and changed nothing. To refuse these as well would leave the stack UPDATE_ROLLBACK_FAILED.
    """
    properties = event["ResourceProperties"]
    is_rollback = event["RequestType"] == "Update" and _is_rolled_back(event["StackId"])
    notes = [] if is_rollback else target.check(properties)
    ours = _sids(properties)
    stale = _sids(event.get("OldResourceProperties", {"Statements": []})) - ours
    try:
        before, after = _write(
            target, lambda policy: merged(policy, properties["Statements"], replacing=stale), ours
        )
    except Exception as error:
        if is_rollback:
            note = f"{target.what} may not be as it was before the update: {error}"
            print(note)
            return {"Difference": "unknown", "Notes": _cut(note, MAX_ATTRIBUTE)}
        if not isinstance(error, ClientError) or error.response["Error"]["Code"] not in GONE:
            raise
        raise RefusedError(
            f"{target.what} cannot be changed: the {properties['Policy']} does not exist, or is "
            f"being deleted. Take it out of config/pare.yaml. AWS says: {_words(error)}"
        ) from error
    kept = sum(each.get("Sid") not in ours for each in statements_of(after))
    data = {
        "Difference": f"{summary(before, after)}; others' statements kept: {kept}",
        "Notes": " ".join(notes) or "none",
    }
    print("\n".join([f"{target.what}: {data['Difference']}", *difference(before, after), *notes]))
    return {key: _cut(value, MAX_ATTRIBUTE) for key, value in data.items()}


def take_out(event: dict[str, Any], target: Bucket | Key) -> dict[str, str]:
    """Take our statements out again, unless they never came or were there before us."""
    properties, physical_id = event["ResourceProperties"], event["PhysicalResourceId"]
    if physical_id.endswith(NOT_MADE):
        return {}
    if physical_id.endswith(WAS_THERE) and _is_rolled_back(event["StackId"]):
        print(f"{physical_id}: the stack is rolled back, so they stay")
        return {}
    ours = _sids(properties)
    try:
        before, after = _write(target, lambda policy: without(policy, ours), ours)
    except ClientError as error:
        if error.response["Error"]["Code"] not in GONE:
            raise
        print(f"{target.what} is gone")
        return {}
    print("\n".join([f"{target.what}: {summary(before, after)}", *difference(before, after)]))
    return {}


def _is_rolled_back(stack_id: str) -> bool:
    client = boto3.client("cloudformation", region_name=stack_id.split(":")[3])
    (stack,) = client.describe_stacks(StackName=stack_id)["Stacks"]
    return "ROLLBACK" in stack["StackStatus"]


def _write(
    target: Bucket | Key, change: Any, ours: set[str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Change a policy as it is now, and return it before and after.

    AWS has no "only if it is still as I read it": so it is read again right before, and once more
    until the change is seen. Whatever others wrote meanwhile, the change is made anew upon it.
    """
    end = None
    for _ in range(ATTEMPTS):
        before = target.read()
        if end is None:
            end = (
                WAS_THERE if any(each.get("Sid") in ours for each in statements_of(before)) else ""
            )
        try:
            after = change(before)
        except ValueError as error:
            raise RefusedError(f"{target.what}: {error}") from error
        if after == before:
            target.end = end
            return before, after
        if (found := size(after)) > target.limit and found > size(before):
            raise RefusedError(
                f"{target.what} would have {found:,} bytes with Pare's statements, and AWS allows "
                f"{target.limit:,}. It has {size(before):,} now: make it shorter first."
            )
        if target.read() != before:
            continue
        _put(target, after, end)
        for _ in range(WAITS):
            now = target.read()
            if now == after or (now != before and change(now) == now):
                return before, after
            time.sleep(WAIT_SECONDS)
    raise RefusedError(
        f"{target.what} was changed by somebody else {ATTEMPTS} times while Pare's statements were "
        "written. Find out who writes it (CloudTrail: PutBucketPolicy, PutKeyPolicy), and deploy "
        "again."
    )


def _put(target: Bucket | Key, policy: dict[str, Any], end: str) -> None:
    """Replace a policy; from then on there is something to take out, unless AWS surely refused."""
    ended, target.end = target.end, end
    try:
        target.put(policy)
    except RefusedError:
        target.end = ended
        raise
    except ClientError as error:
        if error.response["Error"]["Code"] not in MALFORMED:
            raise
        target.end = ended
        # AWS takes a policy as a whole, and so refuses what it showed us itself.
        deleted = [
            f"{each} (Sid {statement.get('Sid', 'none')})"
            for statement in statements_of(policy)
            for each in _principals(statement)
            if DELETED.fullmatch(each)
        ]
        why = (
            "It names users or roles that were deleted, which AWS shows as ids and does not take "
            f"back: {', '.join(deleted)}. Take them out of it, then do this again."
            if deleted
            else "A statement of others may name what is no longer there."
        )
        raise RefusedError(
            f"AWS refuses {target.what[0].lower()}{target.what[1:]} with the change. {why} AWS "
            f"says: {_words(error)}"
        ) from error


def _principals(statement: dict[str, Any]) -> list[str]:
    found: list[str] = []
    for element in ("Principal", "NotPrincipal"):
        named = statement.get(element, [])
        named = named.get("AWS", []) if isinstance(named, dict) else named
        found += named if isinstance(named, list) else [named]
    return found


class Bucket:
    """The policy of the trail's bucket."""

    limit = BUCKET_POLICY_BYTES
    # The end of the physical id, as far as it came.
    end = NOT_MADE

    def __init__(self, properties: dict[str, Any]) -> None:
        self.name = properties["Name"]
        self.what = f"The policy of the bucket {self.name}"
        self.s3 = boto3.client("s3", region_name=properties["Region"])
        # Whoever has a bucket of this name, it must be this account.
        self.bucket = {"Bucket": self.name, "ExpectedBucketOwner": properties["AccountId"]}

    def read(self) -> dict[str, Any]:
        """Return the policy; {} if there is none."""
        try:
            answer = _call("s3:GetBucketPolicy", self.name, self.s3.get_bucket_policy, self.bucket)
        except ClientError as error:
            if error.response["Error"]["Code"] != "NoSuchBucketPolicy":
                raise
            return {}
        policy: dict[str, Any] = json.loads(answer["Policy"])
        return policy

    def put(self, policy: dict[str, Any]) -> None:
        """Replace the policy; one without statements is none."""
        if statements_of(policy):
            wanted = {**self.bucket, "Policy": compact(policy)}
            _call("s3:PutBucketPolicy", self.name, self.s3.put_bucket_policy, wanted)
        else:
            _call("s3:DeleteBucketPolicy", self.name, self.s3.delete_bucket_policy, self.bucket)

    def check(self, properties: dict[str, Any]) -> list[str]:
        """Return what a person should know; RefusedError where Pare could not read log files."""
        self._check_place(properties)
        preferred = self._check_ownership(properties["Region"])
        look = properties["Look"]
        found = self._log_files(look)
        if not found:
            return [
                f"No log file of the last {look['WindowDays']} days was found under "
                f"{', '.join(look['Roots'])}: look at trail.prefix, unless the trail is new."
            ]
        notes = self._check_owners(found, properties["Region"]) if preferred else []
        return notes + self._check_keys(found, properties)

    def _check_place(self, properties: dict[str, Any]) -> None:
        wanted = f"{properties['Region']} of the account {properties['AccountId']}"
        try:
            answer = _call(
                "s3:GetBucketLocation", self.name, self.s3.get_bucket_location, self.bucket
            )
        except ClientError as error:
            raise RefusedError(
                f"The bucket {self.name} (trail.bucket) is not in {wanted}: {_words(error)}"
            ) from error
        place = answer.get("LocationConstraint") or "us-east-1"
        region = "eu-west-1" if place == "EU" else place
        if region != properties["Region"]:
            raise RefusedError(
                f"The bucket {self.name} (trail.bucket) is not in {wanted} but in {region}: write "
                f"bucket_region: {region} under trail in config/pare.yaml, and deploy again."
            )

    def _check_ownership(self, region: str) -> bool:
        """Return whether others may own objects that are older than the setting."""
        ownership = "ObjectWriter"
        try:
            answer = _call(
                "s3:GetBucketOwnershipControls",
                self.name,
                self.s3.get_bucket_ownership_controls,
                self.bucket,
            )
            ownership = answer["OwnershipControls"]["Rules"][0]["ObjectOwnership"]
        except ClientError as error:
            if error.response["Error"]["Code"] != "OwnershipControlsNotFoundError":
                raise
        if ownership == "ObjectWriter":
            raise RefusedError(
                f"Object Ownership of the bucket {self.name} is ObjectWriter: the log files belong "
                "to CloudTrail, and the bucket's policy lets nobody read them. Run, with "
                f"credentials of this account: {self._enforce(region, self._acl())} . Then deploy "
                "again."
            )
        return bool(ownership == "BucketOwnerPreferred")

    def _enforce(self, region: str, acl: dict[str, Any]) -> str:
        """Return the commands that make the bucket's owner that of every object."""
        of = f"--region {region} --bucket {self.name}"
        command = (
            f"aws s3api put-bucket-ownership-controls {of} "
            "--ownership-controls 'Rules=[{ObjectOwnership=BucketOwnerEnforced}]'"
        )
        grantees = [each["Grantee"] for each in acl["Grants"]]
        names = {str(each.get("ID") or each.get("URI")) for each in grantees} - {acl["Owner"]["ID"]}
        if not names:
            return command
        return (
            f"aws s3api put-bucket-acl {of} --acl private && {command} (the first because S3 wants "
            f"no ACL that grants others something, and this one does: {', '.join(sorted(names))}; "
            "what they still need, the bucket's policy must allow them before)"
        )

    def _acl(self) -> dict[str, Any]:
        return _call("s3:GetBucketAcl", self.name, self.s3.get_bucket_acl, self.bucket)

    def _check_owners(self, found: list[dict[str, Any]], region: str) -> list[str]:
        """Return a note: what came before BucketOwnerPreferred may still belong to CloudTrail."""
        acl = self._acl()
        owner = acl["Owner"]["ID"]
        foreign = [each for each in found if each.get("Owner", {}).get("ID", owner) != owner]
        seen = f" {foreign[0]['Key']} does, for one." if foreign else ""
        return [
            "Object Ownership is BucketOwnerPreferred: log files from before that setting belong "
            f"to CloudTrail, and nobody else can read them.{seen} This mends it: "
            f"{self._enforce(region, acl)}"
        ]

    def _log_files(self, look: dict[str, Any]) -> list[dict[str, Any]]:
        """Return some log files, old, middle and new, of up to a hundred accounts."""
        accounts = sorted(
            folder
            for root in look["Roots"]
            for parent in [root, *self._folders(root, r"o-[a-z0-9]{10,32}")]
            for folder in self._folders(parent, r"[0-9]{12}")
        )
        accounts = accounts[:: -(-len(accounts) // MAX_ACCOUNTS) or 1]
        with ThreadPoolExecutor(8) as pool:
            found = pool.map(lambda folder: self._log_files_of(folder, look), accounts)
            by_key = {each["Key"]: each for files in found for each in files}
        return list(by_key.values())

    def _log_files_of(self, account: str, look: dict[str, Any]) -> list[dict[str, Any]]:
        regions = self._folders(f"{account}CloudTrail/", r"[a-z0-9-]+")
        home = f"{account}CloudTrail/{look['TrailRegion']}/"
        files: list[dict[str, Any]] = []
        for region in [home] if home in regions else regions[:1]:
            days = int(look["WindowDays"])
            for ago in (days, days // 2, 1, 0):
                day = datetime.now(UTC) - timedelta(days=ago)
                files += _call(
                    "s3:ListBucket",
                    self.name,
                    self.s3.list_objects_v2,
                    {
                        **self.bucket,
                        "Prefix": region,
                        # A day's folder is longer than this text, and so comes after it.
                        "StartAfter": f"{region}{day:%Y/%m/%d}",
                        "MaxKeys": 1,
                        "FetchOwner": True,
                    },
                ).get("Contents", [])
        return files

    def _folders(self, prefix: str, pattern: str) -> list[str]:
        """Return the folders right under a prefix whose names are like that."""
        found: list[str] = []
        token: dict[str, str] = {}
        while True:
            page = _call(
                "s3:ListBucket",
                self.name,
                self.s3.list_objects_v2,
                {**self.bucket, "Prefix": prefix, "Delimiter": "/", **token},
            )
            found += [each["Prefix"] for each in page.get("CommonPrefixes", [])]
            if not page.get("NextContinuationToken"):
                return [each for each in found if re.fullmatch(pattern, each.split("/")[-2])]
            token = {"ContinuationToken": page["NextContinuationToken"]}

    def _check_keys(self, found: list[dict[str, Any]], properties: dict[str, Any]) -> list[str]:
        """Return notes; RefusedError names a key that log files have and the settings have not."""
        look = properties["Look"]
        keys = [each["Key"] for each in found]
        # The first is waited for: the function's right to look is perhaps new.
        heads = [self._head(keys[0], WAITS)]
        waits = 0 if isinstance(heads[0], str) else 1
        with ThreadPoolExecutor(8) as pool:
            heads += pool.map(lambda key: self._head(key, waits), keys[1:])
        used: dict[str, str] = {}
        failed: dict[str, str] = {}
        for key, head in zip(keys, heads, strict=True):
            if isinstance(head, str):
                failed[key] = head
            elif key_arn := head.get("SSEKMSKeyId"):
                used.setdefault(key_arn, key)
        notes = [
            f"{len(failed)} of {len(keys)} log files could not be looked at, and so the keys of "
            f"these are not known. {key}: {head}"
            for key, head in list(failed.items())[:1]
        ]
        if len(failed) == len(keys):
            raise RefusedError(
                f"{notes[0]} . A Deny statement may forbid s3:GetObject to the function of "
                "PareLogArchive, or the log files belong to another account."
            )
        unnamed = sorted(set(used) - set(look["KeyArns"]))
        if not unnamed:
            return notes
        lines = [
            f"Log files of the last {look['WindowDays']} days are encrypted with keys that "
            "trail.kms_key_arns in config/pare.yaml does not name: "
            + ", ".join(f"{key_arn} (such as {used[key_arn]})" for key_arn in unnamed)
            + ". Add them there, and deploy PareLogArchive and the other stacks again. A key that "
            "AWS manages (aws/s3) lets in no other account: nobody but this one can read what it "
            "encrypts."
        ]
        foreign = [each for each in unnamed if each.split(":")[4] != properties["AccountId"]]
        for key_arn in foreign:
            lines.append(f"{key_arn} belongs to the account {key_arn.split(':')[4]}.")
        if foreign:
            statements = " and ".join(compact(each) for each in look["KeyStatements"])
            lines.append(f"There, its policy needs by hand: {statements}")
        raise RefusedError(" ".join(lines))

    def _head(self, key: str, waits: int) -> dict[str, Any] | str:
        # HeadObject of an encrypted object needs no kms:Decrypt.
        try:
            wanted = {**self.bucket, "Key": key}
            return _call("s3:GetObject", key, self.s3.head_object, wanted, waits)
        except ClientError as error:
            return _words(error)
        except RefusedError as error:
            return _words(error.__cause__)


class Key:
    """The policy of a key that log files are encrypted with."""

    limit = KEY_POLICY_BYTES
    end = NOT_MADE

    def __init__(self, properties: dict[str, Any]) -> None:
        self.name = properties["Name"]
        self.what = f"The policy of the key {self.name}"
        self.kms = boto3.client("kms", region_name=self.name.split(":")[3])

    def check(self, _properties: dict[str, Any]) -> list[str]:
        """Return nothing: what is to be looked at is looked at with the bucket."""
        return []

    def read(self) -> dict[str, Any]:
        """Return the policy: a key always has one."""
        wanted = {"KeyId": self.name, "PolicyName": "default"}
        answer = _call("kms:GetKeyPolicy", self.name, self.kms.get_key_policy, wanted)
        policy: dict[str, Any] = json.loads(answer["Policy"])
        return policy

    def put(self, policy: dict[str, Any]) -> None:
        """Replace the policy. KMS refuses one by which we could not replace it again."""
        wanted = {"KeyId": self.name, "PolicyName": "default", "Policy": compact(policy)}
        _call("kms:PutKeyPolicy", self.name, self.kms.put_key_policy, wanted)


def _target(properties: dict[str, Any]) -> Bucket | Key:
    return Bucket(properties) if properties["Policy"] == "bucket" else Key(properties)


def _sids(properties: dict[str, Any]) -> set[str]:
    return {each["Sid"] for each in properties["Statements"]}


def _call(
    action: str, resource: str, function: Any, arguments: dict[str, Any], waits: int = WAITS
) -> dict[str, Any]:
    """Call AWS; RefusedError where it may not be done, once waiting cannot help any more."""
    for left in range(waits, -1, -1):
        try:
            answer: dict[str, Any] = function(**arguments)
            return answer
        except ClientError as error:
            if error.response["Error"]["Code"] not in DENIED:
                raise
            if "explicit deny" in str(error) or left == 0:
                raise RefusedError(_forbidden(action, resource, error)) from error
        time.sleep(WAIT_SECONDS)
    raise AssertionError("the last round returns or raises")


def _forbidden(action: str, resource: str, error: ClientError) -> str:
    text = str(error)
    by_hand = (
        "`pare doctor --statements` prints the statements, to be pasted by somebody who may "
        "change this policy."
    )
    is_guarded = "controltower" in resource and action.endswith("BucketPolicy")
    if "control policy" in text or is_guarded:
        return (
            f"A policy of the organization forbids {action} on {resource}: Control Tower's "
            "guardrails do so for its log archive, but for its own role "
            f"AWSControlTowerExecution. {by_hand} AWS says: {_words(error)}"
        )
    if "explicit deny" in text:
        return (
            f"A Deny statement forbids {action} on {resource}, for the function of PareLogArchive "
            f"as well. {by_hand} AWS says: {_words(error)}"
        )
    why = (
        "The key's policy may not leave it to the account's IAM policies who changes it."
        if action.startswith("kms:")
        else "Somebody may have narrowed the rights of the function's role, or the bucket is not "
        "of this account."
    )
    return f"The right {action} on {resource} is missing. {why} {by_hand} AWS says: {_words(error)}"


def _words(error: Any) -> str:
    told = error.response["Error"]
    return _cut(f"{told['Code']}: {told.get('Message', '')}", 600)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 24]} … (see the log group)"


def _respond(event: dict[str, Any], answer: dict[str, Any]) -> None:
    body = {
        **answer,
        "StackId": event["StackId"],
        "RequestId": event["RequestId"],
        "LogicalResourceId": event["LogicalResourceId"],
    }
    request = urllib.request.Request(
        event["ResponseURL"],
        data=json.dumps(body).encode(),
        method="PUT",
        # The URL is signed for an empty one.
        headers={"Content-Type": ""},
    )
    with urllib.request.urlopen(request, timeout=30):
        pass
