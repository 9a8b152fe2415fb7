"""Where ministack differs from AWS and what we do about it: one small function a difference.

Each docstring says what AWS does and where that is written; docs/emulator.md has them as a table.
``apply`` puts them in place once, before the server starts.
"""

from __future__ import annotations

import contextvars
import dataclasses
import json
import re
from typing import TYPE_CHECKING, Any

from ministack.core import iam_actions, iam_evaluator, responses
from ministack.services import cloudtrail, iam, organizations, s3, scheduler, sns, tagging
from ministack.services.cloudformation import provisioners

from local.emulator import (
    authorization_details,
    child_histories,
    event_buses,
    executions,
    function_errors,
    key_permissions,
    object_ownership,
    organization,
    payload_limits,
    subscriptions,
    task_calls,
    trail_status,
    upstream,
    workflow_roles,
)

if TYPE_CHECKING:
    from ministack.core.iam_evaluator import EvalContext, EvalResult, ParsedStatement

_VARIABLE = re.compile(r"\$\{([^}]+)\}")
_MAX_TAGGED_ARNS = 100
_LITERALS = {"*": "*", "?": "?", "$": "$"}


def apply() -> None:
    """Put every correction in place."""
    organization_id_of_members()
    condition_keys_of_role_sessions()
    condition_keys_of_listings()
    policy_variables()
    real_caller_at_foreign_buckets()
    service_roles_are_not_for_roots()
    organizations_from_member_accounts()
    accounts_are_resources()
    organization_trails()
    default_policy_of_topics_in_stacks()
    encryption_of_buckets_in_stacks()
    time_zones_of_schedules_in_stacks()
    roles_in_stacks()
    calls_inside_aws_are_encrypted()
    tagged_resources()
    authorization_details.more_aws_policies()
    key_permissions.apply()
    object_ownership.apply()
    subscriptions.apply()
    trail_status.apply()
    task_calls.apply()
    workflow_roles.apply()
    function_errors.apply()
    executions.apply()
    child_histories.apply()
    payload_limits.apply()
    event_buses.apply()


def organization_id_of_members() -> None:
    """aws:PrincipalOrgID of a member account is its organization's id.

    IAM user guide, reference_policies_condition-keys: "use this key to compare the identifier of
    the organization to which the requesting principal belongs". ministack knows it for the
    management account only.
    """

    def principal_org_id(account_id: str) -> str | None:
        found = upstream.organization_of(account_id)
        return None if found is None else str(found["Id"])

    iam_evaluator._principal_org_id = principal_org_id


def condition_keys_of_role_sessions() -> None:
    """aws:PrincipalArn of a role session is the ARN of the role, with its path.

    IAM user guide, reference_policies_condition-keys: "for IAM roles, the request context returns
    the ARN of the role, not the ARN of the user that assumed the role". ministack gives the
    assumed-role ARN. Beside it: aws:PrincipalType is Account for a root (same page), a service
    principal has none of the principal's keys, aws:ResourceAccount of a bucket is its owner, and
    aws:PrincipalOrgPaths and aws:ResourceOrgID exist.
    """
    original = iam_evaluator._resolve_condition_key

    def resolve(key: str, ctx: EvalContext) -> Any:
        name = key.lower()
        if ctx.principal_type == "Service":
            if name == "aws:principalisawsservice":
                return "true"
            if name.startswith("aws:principal") or name == "aws:userid":
                return None
            return original(key, ctx)
        if name == "aws:principalarn":
            return _principal_arn(ctx)
        if name == "aws:principaltype":
            return "Account" if ctx.principal_type == "Root" else ctx.principal_type
        if name == "aws:principalisawsservice":
            return "false"
        if name == "aws:principalorgpaths":
            return _organization_path(ctx.principal_account)
        if name in {"aws:resourceaccount", "s3:resourceaccount"}:
            return _resource_account(ctx) or original(key, ctx)
        if name == "aws:resourceorgid":
            account_id = _resource_account(ctx) or original("aws:ResourceAccount", ctx)
            return iam_evaluator._principal_org_id(account_id)
        return original(key, ctx)

    iam_evaluator._resolve_condition_key = resolve


def _principal_arn(ctx: EvalContext) -> str:
    if ":assumed-role/" not in ctx.principal_arn:
        return str(ctx.principal_arn)
    name = iam_evaluator._role_name_from_assumed_arn(ctx.principal_arn)
    role = iam._roles.get_scoped(ctx.principal_account, None, name)
    return str(role["Arn"]) if role else f"arn:aws:iam::{ctx.principal_account}:role/{name}"


def _resource_account(ctx: EvalContext) -> str | None:
    if not ctx.resource_arn.startswith("arn:aws:s3:::"):
        return None
    bucket = ctx.resource_arn.removeprefix("arn:aws:s3:::").partition("/")[0]
    owner: str | None = s3._bucket_owner_account(bucket)
    return owner


def _organization_path(account_id: str) -> list[str] | None:
    found = upstream.organization_of(account_id)
    if found is None:
        return None
    with responses.request_scope(found["MasterAccountId"], responses.get_region()):
        record = organizations._accounts.get(account_id)
        # The key's value ends with the account's parent, not with the account.
        path = organization._entity_path(record).removesuffix(f"{account_id}/")
    return [path]


def condition_keys_of_listings() -> None:
    """s3:prefix, s3:delimiter and s3:max-keys are what a ListObjects request asks for.

    S3 user guide, amazon-s3-policy-keys: with s3:prefix a policy limits a listing to keys with a
    prefix. ministack knows none of them, so that a policy that asks for one never matches.
    """
    original = iam_evaluator._resolve_condition_key
    parameters = {"s3:prefix": "prefix", "s3:delimiter": "delimiter", "s3:max-keys": "max-keys"}

    def resolve(key: str, ctx: EvalContext) -> Any:
        name = key.lower()
        request = iam_evaluator._signed_request.get()
        known = name in ctx.service_context or not ctx.action.startswith("s3:ListBucket")
        if name not in parameters or known or request is None:
            return original(key, ctx)
        values = (request.query_params or {}).get(parameters[name])
        return values[0] if isinstance(values, list) and values else values

    iam_evaluator._resolve_condition_key = resolve


def policy_variables() -> None:
    """${aws:PrincipalAccount} and the like are replaced in Resource and in condition values.

    IAM user guide, reference_policies_variables: in policies of version 2012-10-17; ${*}, ${?} and
    ${$} stand for themselves; a key that is not in the request makes the element not match, unless
    a default is given as ${aws:key, 'default'}. ministack compares the text as it is written.
    """
    first_match = iam_evaluator._first_match
    conditions_met = iam_evaluator._conditions_met

    def first_match_with_variables(
        ctx: EvalContext, statements: list[ParsedStatement], effect: str
    ) -> ParsedStatement | None:
        return first_match(ctx, [_substituted(statement, ctx) for statement in statements], effect)

    def conditions_met_with_variables(conditions: dict[str, Any], ctx: EvalContext) -> bool:
        if conditions and "${" in str(conditions):
            conditions = {
                operator: {key: _values(value, ctx) for key, value in block.items()}
                if isinstance(block, dict)
                else block
                for operator, block in conditions.items()
            }
        return bool(conditions_met(conditions, ctx))

    iam_evaluator._first_match = first_match_with_variables
    iam_evaluator._conditions_met = conditions_met_with_variables


def _substituted(statement: ParsedStatement, ctx: EvalContext) -> ParsedStatement:
    if not any("${" in resource for resource in (*statement.resources, *statement.not_resources)):
        return statement
    return dataclasses.replace(
        statement,
        # "" matches no ARN, so an element whose variables are all unknown does not become "any".
        resources=[r for r in map(lambda r: _value(r, ctx), statement.resources) if r is not None]
        or ([""] if statement.resources else []),
        not_resources=[
            r for r in map(lambda r: _value(r, ctx), statement.not_resources) if r is not None
        ]
        or ([""] if statement.not_resources else []),
    )


def _values(value: Any, ctx: EvalContext) -> Any:
    if isinstance(value, str):
        found = _value(value, ctx)
        return [] if found is None else found
    if isinstance(value, list):
        return [v for v in (_value(str(item), ctx) for item in value) if v is not None]
    return value


def _value(text: str, ctx: EvalContext) -> str | None:
    """Return the text with its variables replaced, or None if the request lacks one of them."""
    missing = False

    def replace(found: re.Match[str]) -> str:
        nonlocal missing
        name, comma, default = found[1].partition(",")
        name = name.strip()
        if name in _LITERALS:
            return _LITERALS[name]
        value = iam_evaluator._resolve_condition_key(name, ctx)
        if isinstance(value, list):
            value = value[0] if len(value) == 1 else None
        if value is None and comma:
            value = default.strip().strip("'")
        if value is None:
            missing = True
            return ""
        return str(value)

    replaced = _VARIABLE.sub(replace, text)
    return None if missing else replaced


def real_caller_at_foreign_buckets() -> None:
    """A bucket policy sees the role or user that calls from another account, not its root.

    IAM user guide, reference_policies_evaluation-logic-cross-account: both accounts evaluate the
    principal that made the request. ministack evaluates the bucket's policy for the root of the
    caller's account, so conditions on aws:PrincipalArn never match.
    """
    original = iam_evaluator.evaluate_resource_policy

    def evaluate(doc: Any, ctx: EvalContext, *args: Any, **kwargs: Any) -> EvalResult:
        pinned = iam_evaluator._request_caller_arn.get()
        root = f"arn:aws:iam::{ctx.principal_account}:root"
        if ctx.principal_arn == root and upstream.account_of(pinned) == ctx.principal_account:
            kind = iam_evaluator._principal_type(pinned, "")
            ctx = dataclasses.replace(ctx, principal_arn=pinned, principal_type=kind)
        return original(doc, ctx, *args, **kwargs)

    iam_evaluator.evaluate_resource_policy = evaluate


def service_roles_are_not_for_roots() -> None:
    """A role that trusts only an AWS service cannot be assumed by an account's root.

    IAM user guide, reference_policies_elements_principal: a service principal names the service
    alone. ministack lets any root through, of any account.
    """
    original = iam_evaluator._principal_matches

    def matches(principal: Any, caller_arn: str) -> bool:
        if isinstance(principal, dict) and "Service" in principal:
            principal = {k: v for k, v in principal.items() if k != "Service"}
        return bool(original(principal, caller_arn))

    iam_evaluator._principal_matches = matches


def accounts_are_resources() -> None:
    """DescribeAccount is authorized on the account's ARN.

    Service Authorization Reference, list_awsorganizations: its resource type is account,
    ``arn:…:organizations::MANAGEMENT:account/ORGANIZATION/ACCOUNT``. ministack authorizes every
    call of Organizations on ``organization/*`` of the caller's account.
    """
    original = iam_actions.extract_resource_arn

    def extract_resource_arn(
        service: str, method: str, path: str, headers: dict[str, str], body: bytes, *rest: Any
    ) -> str:
        if service == "organizations" and headers.get("x-amz-target", "").endswith(
            ".DescribeAccount"
        ):
            account_id = str(json.loads(body or b"{}").get("AccountId", ""))
            found = upstream.organization_of(account_id)
            if found is not None:
                owner = str(found["Arn"]).replace(":organization/", ":account/")
                return f"{owner}/{account_id}"
        return str(original(service, method, path, headers, body, *rest))

    iam_actions.extract_resource_arn = extract_resource_arn


def organizations_from_member_accounts() -> None:
    """Organizations answers a member for the organization it is in (see organization.py)."""
    organizations.handle_request = organization.corrected(organizations.handle_request)
    reset = organizations.reset

    def reset_all() -> None:
        reset()
        organization.reset()

    organizations.reset = reset_all


def organization_trails() -> None:
    """An organization trail is made by the management account and is seen, by ARN, in every member.

    CloudTrail user guide, creating-trail-organization: the trail has the same ARN in every member
    account, which can see it and not change it; other accounts than the management account or a
    delegated administrator get NotOrganizationMasterAccountException. ministack keeps a trail to
    the account that made it.
    """
    find_visible, visible_items = cloudtrail._find_visible_trail, cloudtrail._visible_trail_items
    create = cloudtrail._create_trail

    def shared_trails() -> list[tuple[str, str, dict[str, Any]]]:
        account_id = responses.get_account_id()
        found = upstream.organization_of(account_id)
        if found is None or found["MasterAccountId"] == account_id:
            return []
        return [
            (region, name, trail)
            for (owner, region, name), trail in cloudtrail._trails.all_items()
            if owner == found["MasterAccountId"] and trail.get("IsOrganizationTrail")
        ]

    def find_visible_trail(raw: str) -> tuple[Any, Any, Any]:
        own: tuple[Any, Any, Any] = find_visible(raw)
        if own[2] is not None:
            return own
        for region, name, trail in shared_trails():
            if trail["TrailARN"] == raw:
                return name, region, trail
        return own

    def visible_trail_items(*, include_shadow_trails: bool = True) -> list[Any]:
        items = list(visible_items(include_shadow_trails=include_shadow_trails))
        region = responses.get_region()
        for shared in shared_trails():
            at_home = shared[0] == region
            if at_home or (include_shadow_trails and shared[2].get("IsMultiRegionTrail")):
                items.append(shared)
        return items

    def create_trail(body: dict[str, Any]) -> Any:
        account_id = responses.get_account_id()
        if not body.get("IsOrganizationTrail"):
            return create(body)
        found = upstream.organization_of(account_id)
        if found is None:
            return cloudtrail._err(
                "OrganizationsNotInUseException", "The account is not in an organization."
            )
        management_id = found["MasterAccountId"]
        if account_id != management_id and not organization.is_delegated_administrator(
            account_id, "cloudtrail.amazonaws.com"
        ):
            return cloudtrail._err(
                "NotOrganizationMasterAccountException",
                "This operation requires the management account or a delegated administrator.",
            )
        with responses.request_scope(management_id, responses.get_region()):
            return create(body)

    cloudtrail._find_visible_trail = find_visible_trail
    cloudtrail._visible_trail_items = visible_trail_items
    cloudtrail._create_trail = create_trail
    cloudtrail._DISPATCH["CreateTrail"] = create_trail


def default_policy_of_topics_in_stacks() -> None:
    """A topic made by a stack has SNS's default policy, with its condition.

    SNS developer guide, sns-access-policy-language-key-concepts: the default policy has the
    condition StringEquals AWS:SourceOwner. ministack's CloudFormation leaves it out, so that
    anybody may publish and a missing sns:Publish of a role does not show.
    """
    handler = provisioners._RESOURCE_HANDLERS["AWS::SNS::Topic"]
    create = handler["create"]

    def create_topic(logical_id: str, props: dict[str, Any], stack_name: str) -> Any:
        created = create(logical_id, props, stack_name)
        attributes = sns._topics[created[0]]["attributes"]
        policy = json.loads(attributes["Policy"])
        for statement in policy["Statement"]:
            if statement.get("Sid") == "__default_statement_ID":
                owner = {"AWS:SourceOwner": responses.get_account_id()}
                statement["Condition"] = {"StringEquals": owner}
        attributes["Policy"] = json.dumps(policy)
        return created

    handler["create"] = create_topic


def encryption_of_buckets_in_stacks() -> None:
    """A bucket made by a stack encrypts as its BucketEncryption says.

    CloudFormation user guide, AWS::S3::Bucket BucketEncryption. ministack's CloudFormation drops
    it, so that a missing right on the key of a bucket does not show.
    """
    handler = provisioners._RESOURCE_HANDLERS["AWS::S3::Bucket"]
    create, update = handler["create"], handler["update"]

    def encrypt(name: str, props: dict[str, Any]) -> None:
        rules = ""
        configuration = props.get("BucketEncryption", {}).get("ServerSideEncryptionConfiguration")
        for rule in configuration or []:
            default = rule.get("ServerSideEncryptionByDefault", {})
            if not default.get("KMSMasterKeyID"):
                continue  # AWS's own key: nobody needs a right on it, and ministack has none
            rules += (
                "<Rule><ApplyServerSideEncryptionByDefault>"
                f"<SSEAlgorithm>{default['SSEAlgorithm']}</SSEAlgorithm>"
                f"<KMSMasterKeyID>{default['KMSMasterKeyID']}</KMSMasterKeyID>"
                "</ApplyServerSideEncryptionByDefault><BucketKeyEnabled>"
                f"{str(rule.get('BucketKeyEnabled', False)).lower()}</BucketKeyEnabled></Rule>"
            )
        if rules:
            s3._bucket_encryption[name] = (
                f"<ServerSideEncryptionConfiguration>{rules}</ServerSideEncryptionConfiguration>"
            )

    def create_bucket(logical_id: str, props: dict[str, Any], stack_name: str) -> Any:
        created = create(logical_id, props, stack_name)
        encrypt(created[0], props)
        return created

    def update_bucket(
        physical_id: str, old_props: dict[str, Any], props: dict[str, Any], stack_name: str
    ) -> Any:
        updated = update(physical_id, old_props, props, stack_name)
        encrypt(updated[0], props)
        return updated

    handler["create"], handler["update"] = create_bucket, update_bucket


def time_zones_of_schedules_in_stacks() -> None:
    """A schedule made by a stack keeps its time zone, and is on unless the template says else.

    CloudFormation user guide, AWS::Scheduler::Schedule ScheduleExpressionTimezone and State.
    ministack's CloudFormation drops the time zone: every schedule is in UTC; an update leaves a
    schedule off that somebody has switched off.
    """
    handler = provisioners._RESOURCE_HANDLERS["AWS::Scheduler::Schedule"]
    create, update = handler["create"], handler["update"]

    def create_schedule(logical_id: str, props: dict[str, Any], stack_name: str) -> Any:
        created = create(logical_id, props, stack_name)
        if time_zone := props.get("ScheduleExpressionTimezone"):
            key = f"{props.get('GroupName', 'default')}/{created[0]}"
            scheduler._schedules[key]["ScheduleExpressionTimezone"] = time_zone
        return created

    def update_schedule(
        physical_id: str, old_props: dict[str, Any], props: dict[str, Any], stack_name: str
    ) -> Any:
        updated = update(physical_id, old_props, props, stack_name)
        schedule = scheduler._schedules[f"{props.get('GroupName', 'default')}/{updated[0]}"]
        schedule["State"] = props.get("State", "ENABLED")
        schedule["ScheduleExpressionTimezone"] = props.get("ScheduleExpressionTimezone", "UTC")
        return updated

    handler["create"], handler["update"] = create_schedule, update_schedule


def roles_in_stacks() -> None:
    """A stack takes no role over that is there, and cannot change one that is gone.

    CloudFormation user guide, troubleshooting (resource already exists): a custom name that is
    taken fails the resource. ministack's CloudFormation overwrites the role; of one that somebody
    deleted it fails with an error of Python's.
    """
    handler = provisioners._RESOURCE_HANDLERS["AWS::IAM::Role"]
    create, update = handler["create"], handler["update"]

    def create_role(logical_id: str, props: dict[str, Any], stack_name: str) -> Any:
        name = props.get("RoleName")
        if name and name in iam._roles:
            raise ValueError(
                f"Role with name {name} already exists. (Service: Iam, Status Code: 409)"
            )
        return create(logical_id, props, stack_name)

    def update_role(physical_id: str, *args: Any) -> Any:
        if physical_id not in iam._roles:
            raise ValueError(
                f"Resource of type 'AWS::IAM::Role' with identifier '{physical_id}' was not found."
            )
        return update(physical_id, *args)

    handler["create"], handler["update"] = create_role, update_role


def tagged_resources() -> None:
    """GetResources knows what has tags, but no users and roles of IAM.

    https://docs.aws.amazon.com/resourcegroupstagging/latest/APIReference/supported-services.html
    and API_GetResources.html: "all the tagged or previously tagged resources"; at most 100 ARNs.
    ministack answers users, roles, and what never had a tag.
    """
    get_resources = tagging._get_resources

    def get_tagged_resources(data: dict[str, Any]) -> Any:
        if len(data.get("ResourceARNList") or []) > _MAX_TAGGED_ARNS:
            return tagging._invalid_parameter("ResourceARNList has more than 100 ARNs")
        status, headers, body = get_resources(data)
        answer = json.loads(body)
        if status == 200:
            answer["ResourceTagMappingList"] = [
                found
                for found in answer["ResourceTagMappingList"]
                if found["Tags"] and not found["ResourceARN"].startswith("arn:aws:iam:")
            ]
        return status, headers, json.dumps(answer).encode()

    tagging._HANDLERS["GetResources"] = get_tagged_resources


def calls_inside_aws_are_encrypted() -> None:
    """Calls AWS services make among themselves have aws:SecureTransport true.

    IAM user guide, reference_policies_condition-keys; services call each other over TLS. ministack
    says false for what a schedule or a background thread does, so that a queue or topic that
    demands TLS refuses it.
    """
    origin: contextvars.ContextVar[tuple[str, bool]] = contextvars.ContextVar(
        "ministack_request_origin", default=("127.0.0.1", True)
    )
    iam_evaluator._request_origin = origin
