"""IAM in a member account, read."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pare.aws.calls import translated
from pare.clock import format_time
from pare.errors import (
    AwsServiceError,
    InventoryError,
    LastAccessedError,
    PrincipalNotFoundError,
    ThrottledError,
)
from pare.policy.current import kind_of
from pare.policy.last_accessed import service_last_accessed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from mypy_boto3_iam import IAMClient
    from mypy_boto3_iam.literals import EntityTypeType

    from pare.arns import PrincipalArn
    from pare.policy.current import AttachedPolicyJson, CurrentAccessJson, Source
    from pare.policy.evidence import ServiceLastAccessedJson

_GONE = {"NoSuchEntity": PrincipalNotFoundError, "NoSuchEntityException": PrincipalNotFoundError}
# Everything of an account, AWS's own policies as far as they are in use.
EVERYTHING: tuple[EntityTypeType, ...] = (
    "User", "Role", "Group", "LocalManagedPolicy", "AWSManagedPolicy",
)  # fmt: skip
# Seconds between two questions for a report that is being made.
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 8.0


class _ReportNotReadyError(InventoryError):
    """IAM has no credential report, or no longer, or not yet."""


# https://docs.aws.amazon.com/IAM/latest/APIReference/API_GetCredentialReport.html
_NOT_READY = dict.fromkeys(
    ("ReportNotPresent", "ReportExpired", "ReportInProgress"), _ReportNotReadyError
)


@dataclass(frozen=True, slots=True)
class IamReader:
    """Reads IAM in one account. Every call names the account it was refused in."""

    iam: IAMClient
    account_id: str

    def current_access(self, principal: PrincipalArn) -> CurrentAccessJson:
        """Return what a user or role is allowed, from every identity-based source.

        Raises PrincipalNotFoundError, or MemberAccountError where a read is refused.
        """
        with translated("reading the principal", account_id=self.account_id, codes=_GONE):
            if principal.entity == "role":
                entity, policies = self._role(principal.name)
            else:
                entity, policies = self._user(principal.name)
            boundary_arn = entity.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn")
            boundary = self._managed(boundary_arn, None) if boundary_arn else None
        if entity["Arn"] != principal.arn:
            # IAM names are unique without their path: another principal took the name.
            raise PrincipalNotFoundError(f"{principal.arn} does not exist; {entity['Arn']} does")
        used_at = entity.get("RoleLastUsed", {}).get("LastUsedDate") or entity.get(
            "PasswordLastUsed"
        )
        return {
            "principal_arn": entity["Arn"],
            "principal_id": entity.get("RoleId") or entity["UserId"],
            "kind": kind_of(principal),
            "created_at": format_time(entity["CreateDate"]),
            "last_used_at": format_time(used_at) if used_at else None,
            "tags": {tag["Key"]: tag["Value"] for tag in entity.get("Tags", [])},
            "policies": policies,
            "boundary": boundary,
        }

    def tags(self, principal: PrincipalArn) -> dict[str, str]:
        """Return the tags of a user or role."""
        with translated("reading the tags", account_id=self.account_id, codes=_GONE):
            if principal.entity == "role":
                tags = self.iam.get_role(RoleName=principal.name)["Role"].get("Tags", [])
            else:
                tags = self.iam.get_user(UserName=principal.name)["User"].get("Tags", [])
        return {tag["Key"]: tag["Value"] for tag in tags}

    def _role(self, name: str) -> tuple[dict[str, Any], list[AttachedPolicyJson]]:
        role: dict[str, Any] = dict(self.iam.get_role(RoleName=name)["Role"])
        policies = [
            _policy("inline", inline, None, None, self.iam.get_role_policy(
                RoleName=name, PolicyName=inline)["PolicyDocument"])
            for page in self.iam.get_paginator("list_role_policies").paginate(RoleName=name)
            for inline in page["PolicyNames"]
        ]  # fmt: skip
        policies += [
            self._managed(attached["PolicyArn"], None)
            for page in self.iam.get_paginator("list_attached_role_policies").paginate(
                RoleName=name
            )
            for attached in page["AttachedPolicies"]
        ]
        return role, policies

    def _user(self, name: str) -> tuple[dict[str, Any], list[AttachedPolicyJson]]:
        user: dict[str, Any] = dict(self.iam.get_user(UserName=name)["User"])
        policies = [
            _policy("inline", inline, None, None, self.iam.get_user_policy(
                UserName=name, PolicyName=inline)["PolicyDocument"])
            for page in self.iam.get_paginator("list_user_policies").paginate(UserName=name)
            for inline in page["PolicyNames"]
        ]  # fmt: skip
        policies += [
            self._managed(attached["PolicyArn"], None)
            for page in self.iam.get_paginator("list_attached_user_policies").paginate(
                UserName=name
            )
            for attached in page["AttachedPolicies"]
        ]
        for page in self.iam.get_paginator("list_groups_for_user").paginate(UserName=name):
            for group in page["Groups"]:
                policies += self._group(group["GroupName"])
        return user, policies

    def _group(self, name: str) -> list[AttachedPolicyJson]:
        policies = [
            _policy("inline", inline, None, name, self.iam.get_group_policy(
                GroupName=name, PolicyName=inline)["PolicyDocument"])
            for page in self.iam.get_paginator("list_group_policies").paginate(GroupName=name)
            for inline in page["PolicyNames"]
        ]  # fmt: skip
        policies += [
            self._managed(attached["PolicyArn"], name)
            for page in self.iam.get_paginator("list_attached_group_policies").paginate(
                GroupName=name
            )
            for attached in page["AttachedPolicies"]
        ]
        return policies

    def _managed(self, arn: str, group: str | None) -> AttachedPolicyJson:
        policy = self.iam.get_policy(PolicyArn=arn)["Policy"]
        version = self.iam.get_policy_version(PolicyArn=arn, VersionId=policy["DefaultVersionId"])[
            "PolicyVersion"
        ]
        source: Source = "AWS managed" if ":iam::aws:policy/" in arn else "customer managed"
        return _policy(source, policy["PolicyName"], arn, group, version["Document"])

    def last_accessed(
        self,
        arn: str,
        *,
        seconds: float,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> list[ServiceLastAccessedJson]:
        """Return last accessed information at action level, sorted by service.

        Generates and polls with the same session, because the job belongs to it (facts §3). Raises
        LastAccessedError where the job fails or does not end within the given seconds: nothing may
        then be called unused.
        """
        deadline = monotonic() + seconds
        with translated("iam:GenerateServiceLastAccessedDetails", account_id=self.account_id,
                        codes=_GONE):  # fmt: skip
            job_id = self.iam.generate_service_last_accessed_details(
                Arn=arn, Granularity="ACTION_LEVEL"
            )["JobId"]
        services: list[Any] = []
        marker: dict[str, str] = {}
        pause = 0.5
        while True:
            # The job, not the principal, is what may be missing here.
            with translated("iam:GetServiceLastAccessedDetails", account_id=self.account_id,
                            codes={"NoSuchEntity": LastAccessedError}):  # fmt: skip
                answer = self.iam.get_service_last_accessed_details(
                    JobId=job_id, MaxItems=1000, **marker
                )
            status = answer["JobStatus"]
            if status == "FAILED":
                failure = answer.get("Error", {})
                raise LastAccessedError(
                    f"the last accessed job for {arn} failed: {failure.get('Code', 'no code')}: "
                    f"{failure.get('Message', 'no message')}"
                )
            if status == "COMPLETED":
                services += answer["ServicesLastAccessed"]
                if not answer.get("IsTruncated"):
                    break
                marker = {"Marker": answer["Marker"]}
                continue
            if monotonic() + pause > deadline:
                raise LastAccessedError(
                    f"the last accessed job for {arn} was still {status} after {seconds:.0f} s"
                )
            sleep(pause)
            pause = min(pause * 2, 8.0)
        return sorted(
            (service_last_accessed(item) for item in services), key=lambda row: row["service"]
        )

    def authorization_details(
        self, entities: Sequence[EntityTypeType] = EVERYTHING
    ) -> Iterable[dict[str, Any]]:
        """Yield the pages of GetAccountAuthorizationDetails: everything, or what is asked for."""
        with translated("iam:GetAccountAuthorizationDetails", account_id=self.account_id):
            paginator = self.iam.get_paginator("get_account_authorization_details")
            yield from (dict(page) for page in paginator.paginate(Filter=entities))

    def credential_report(
        self,
        *,
        seconds: float,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> str:
        """Return the credential report's CSV, at most four hours old.

        IAM makes a new report only where the last one is older than that. Raises InventoryError
        where there is none within the given seconds, MemberAccountError where it is refused.
        https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_getting-report.html
        """
        deadline = monotonic() + seconds
        pause = _FIRST_PAUSE
        while True:
            try:
                with translated("iam:GenerateCredentialReport", account_id=self.account_id):
                    state = self.iam.generate_credential_report()["State"]
                if state == "COMPLETE":
                    # It may still be gone by now: then the next round makes another.
                    with translated("iam:GetCredentialReport", account_id=self.account_id,
                                    codes=_NOT_READY):  # fmt: skip
                        content = self.iam.get_credential_report()["Content"]
                    return content.decode(errors="replace")
                said = f"IAM says {state}"
            except (_ReportNotReadyError, ThrottledError, AwsServiceError) as error:
                said = str(error)
            if monotonic() + pause > deadline:
                raise InventoryError(
                    f"account {self.account_id} had no credential report within {seconds:.0f} s: "
                    f"{said}"
                )
            sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    def account_alias(self) -> str | None:
        """Return the account's alias, or None where it has none; there is never a second one."""
        with translated("iam:ListAccountAliases", account_id=self.account_id):
            return next(iter(self.iam.list_account_aliases()["AccountAliases"]), None)

    def access_keys(self, user_name: str) -> list[dict[str, str]]:
        """Return AccessKeyId, Status and CreateDate of a user's access keys, oldest first."""
        with translated("iam:ListAccessKeys", account_id=self.account_id, codes=_GONE):
            keys = [
                {
                    "AccessKeyId": key["AccessKeyId"],
                    "Status": key["Status"],
                    "CreateDate": format_time(key["CreateDate"]),
                }
                for page in self.iam.get_paginator("list_access_keys").paginate(UserName=user_name)
                for key in page["AccessKeyMetadata"]
            ]
        return sorted(keys, key=lambda key: (key["CreateDate"], key["AccessKeyId"]))


class CallCount:
    """Counts the calls of a client, pages too, from now on; what the SDK repeats counts once."""

    def __init__(self, client: IAMClient) -> None:
        self.calls = 0
        client.meta.events.register("before-parameter-build.iam", self._count)

    def _count(self, **_: object) -> None:
        self.calls += 1


def _policy(
    source: Source, name: str, arn: str | None, group: str | None, document: Any
) -> AttachedPolicyJson:
    # botocore decodes the URL-encoded documents to objects (facts §3).
    return {"source": source, "name": name, "arn": arn, "group": group, "document": document}
