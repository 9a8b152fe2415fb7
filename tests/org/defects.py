"""What goes wrong in organizations, planted one at a time, and what the doctor must say of it.

Each plants its defect as somebody would: with the credentials of the account it is in. It returns
what takes it back by force, for the case that the doctor's mend does not.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from local.seed_findings import EXTERNAL_ACCESS_ANALYZER

if TYPE_CHECKING:
    from collections.abc import Callable

    from local.demo import Box
    from tests.org.person import Examined, Person

HOME, AWAY, OTHER = "eu-west-1", "eu-central-1", "us-east-1"
MEMBER_ROLE = "PareMember"
ACCESS_ROLE = "AccessAnalyzerMonitorServiceRole_Pare"
SOMEBODY = "somebody@northwind.example"
TEST_SOURCE = "pare.test"


@dataclass(frozen=True)
class Organization:
    """The emulated organization, and clients of the roots of its accounts."""

    box: Box
    person: Person

    def client(self, service: str, account: str, region: str = HOME) -> Any:
        """Return a client of an account, named by its part or name."""
        account_id = (
            self.account_id(account)
            if account not in {"hub", "management", "log archive"}
            else self.person.account_of(account)
        )
        return self.box.emulator.client(service, account_id, region)

    def hub(self, service: str, region: str = HOME) -> Any:
        """Return a client of the hub account."""
        return self.client(service, "hub", region)

    def account_id(self, name: str) -> str:
        """Return the id of an account of the seed."""
        return self.box.created.organization.account(name).account_id

    @property
    def trail(self) -> str:
        """The trail's ARN."""
        return self.box.created.trail_arn

    @property
    def bucket(self) -> str:
        """The trail's bucket."""
        return self.box.created.bucket_name


@dataclass(frozen=True)
class Defect:
    """A defect, and what the doctor says of it.

    ``check`` and ``subject`` (a part of it) are what it must name as missing; ``also`` what else is
    not ok in consequence, by check or by how checks begin. ``before`` and ``afterwards``: what a
    person does before and after the commands, as the mend's text says.
    """

    name: str
    plant: Callable[[Organization], Callable[[], object]]
    check: str
    subject: str = ""
    also: tuple[str, ...] = ()
    before: Callable[[Organization, Examined], object] | None = None
    afterwards: Callable[[Organization, Examined], object] | None = None
    is_quick: bool = False


# --- The trail ------------------------------------------------------------------------------------


def stopped(org: Organization) -> Callable[[], object]:
    trail = org.client("cloudtrail", "management")
    trail.stop_logging(Name=org.trail)
    return lambda: trail.start_logging(Name=org.trail)


def single_region(org: Organization) -> Callable[[], object]:
    trail = org.client("cloudtrail", "management")
    trail.update_trail(Name=org.trail, IsMultiRegionTrail=False)
    return lambda: trail.update_trail(Name=org.trail, IsMultiRegionTrail=True)


def trail_deleted(org: Organization) -> Callable[[], object]:
    """Whoever deleted it took what let CloudTrail in out of the bucket's policy, too."""
    trail = org.client("cloudtrail", "management")
    before = trail.get_trail(Name=org.trail)["Trail"]
    trail.delete_trail(Name=org.trail)
    put_back = bucket_policy(without("AWSCloudTrail", "AllowCloudTrail"))(org)

    def undo() -> None:
        put_back()
        trail.create_trail(
            Name=before["Name"],
            S3BucketName=before["S3BucketName"],
            IsMultiRegionTrail=True,
            IsOrganizationTrail=True,
        )
        trail.start_logging(Name=org.trail)

    return undo


def selecting(**selector: Any) -> Callable[[Organization], Callable[[], object]]:
    def plant(org: Organization) -> Callable[[], object]:
        trail = org.client("cloudtrail", "management")

        def put(**changes: Any) -> None:
            one = {"ReadWriteType": "All", "IncludeManagementEvents": True, **changes}
            trail.put_event_selectors(TrailName=org.trail, EventSelectors=[one])

        put(**selector)
        return put

    return plant


# --- The log archive ------------------------------------------------------------------------------


def bucket_policy(
    change: Callable[[Organization, list[dict[str, Any]]], list[dict[str, Any]]],
) -> Callable[[Organization], Callable[[], object]]:
    """Return the planting of a change of the trail bucket's statements."""

    def plant(org: Organization) -> Callable[[], object]:
        s3 = org.client("s3", "log archive")
        before = s3.get_bucket_policy(Bucket=org.bucket)["Policy"]
        policy = json.loads(before)
        after = {**policy, "Statement": change(org, json.loads(before)["Statement"])}
        assert after != policy, policy
        s3.put_bucket_policy(Bucket=org.bucket, Policy=json.dumps(after))
        return lambda: s3.put_bucket_policy(Bucket=org.bucket, Policy=before)

    return plant


def without_organization_id(
    org: Organization, statements: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """The path as the documentation of an account's own trail has it."""
    organization = f"{org.box.created.organization_id}/"
    return [
        {**each, "Resource": json.loads(json.dumps(each["Resource"]).replace(organization, ""))}
        if each.get("Sid") == "ParePolicyGeneration"
        else each
        for each in statements
    ]


def without(*begin: str) -> Callable[..., list[dict[str, Any]]]:
    def change(_: Organization, statements: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [each for each in statements if not str(each.get("Sid", "")).startswith(begin)]

    return change


def refused_outright(_: Organization, statements: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A statement for another organization's id: who copied it from elsewhere."""
    return [
        json.loads(
            json.dumps(each).replace('"aws:PrincipalOrgID": "o-', '"aws:PrincipalOrgID": "o-x')
        )
        for each in statements
    ]


def archive_stack_removed(org: Organization) -> Callable[[], object]:
    cloudformation = org.client("cloudformation", "log archive")
    cloudformation.delete_stack(StackName="PareLogArchive")
    cloudformation.get_waiter("stack_delete_complete").wait(
        StackName="PareLogArchive", WaiterConfig={"Delay": 1, "MaxAttempts": 120}
    )
    deploy = "npx cdk deploy ByHand/PareLogArchive --profile log-archive"
    return lambda: org.person.types("log archive", [deploy])


def of_another_owner(org: Organization) -> Callable[[], object]:
    s3 = org.client("s3", "log archive")
    before = s3.get_bucket_ownership_controls(Bucket=org.bucket)["OwnershipControls"]
    writers = {"Rules": [{"ObjectOwnership": "ObjectWriter"}]}
    s3.put_bucket_ownership_controls(Bucket=org.bucket, OwnershipControls=writers)
    folder = f"AWSLogs/{org.box.created.organization_id}/{org.account_id('shop-prod')}/"
    body = {
        "bucket": org.bucket,
        "prefix": folder,
        "owner_account_id": org.person.account_of("management"),
    }
    org.box.emulator.control("objects", body)
    return lambda: s3.put_bucket_ownership_controls(Bucket=org.bucket, OwnershipControls=before)


def old_key(org: Organization) -> Callable[[], object]:
    """Some log files of shop-prod are encrypted with a key that nobody thinks of any more."""
    kms, s3 = org.client("kms", "log archive"), org.client("s3", "log archive")
    key: str = kms.create_key(Description="the trail's key until spring")["KeyMetadata"]["Arn"]
    folder = f"AWSLogs/{org.box.created.organization_id}/{org.account_id('shop-prod')}/"
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=org.bucket, Prefix=folder)
    names = [each["Key"] for page in pages for each in page.get("Contents", [])]
    bodies = {}
    for name in names[: len(names) // 2]:
        bodies[name] = s3.get_object(Bucket=org.bucket, Key=name)["Body"].read()
        s3.put_object(
            Bucket=org.bucket, Key=name, Body=bodies[name],
            ServerSideEncryption="aws:kms", SSEKMSKeyId=key,
        )  # fmt: skip

    def undo() -> None:
        for name, body in bodies.items():
            s3.put_object(Bucket=org.bucket, Key=name, Body=body)

    return undo


def name_the_key(org: Organization, examined: Examined) -> None:
    """Write the key into the settings, as the mend's text says."""
    (key,) = (
        subject for check, subject in examined.not_ok if check == "log-archive.keys"
    )  # fmt: skip
    (mend,) = (
        each["mend"] for (check, _), each in examined.not_ok.items() if check == "log-archive.keys"
    )
    assert f"add `{key}` to trail.kms_key_arns" in mend["text"]
    org.person.set_in_settings("trail", "kms_key_arns", value=[key])


def its_key(org: Organization) -> str:
    """Return the key that the settings name."""
    (key,) = org.person.settings()["trail"]["kms_key_arns"]
    return str(key)


def statements_at_another_key(org: Organization) -> Callable[[], object]:
    """Pare's statements are in the policy of the key that the bucket uses today, not in this."""
    kms, key = org.client("kms", "log archive"), its_key(org)
    before = kms.get_key_policy(KeyId=key, PolicyName="default")["Policy"]
    kms.create_key(Description="the key of today", Policy=before)
    policy = json.loads(before)
    others = [
        each for each in policy["Statement"] if not str(each.get("Sid", "")).startswith("Pare")
    ]
    assert len(others) < len(policy["Statement"])
    less = json.dumps({**policy, "Statement": others})
    kms.put_key_policy(KeyId=key, PolicyName="default", Policy=less)
    return lambda: kms.put_key_policy(KeyId=key, PolicyName="default", Policy=before)


def key_disabled(org: Organization) -> Callable[[], object]:
    kms, key = org.client("kms", "log archive"), its_key(org)
    kms.disable_key(KeyId=key)
    return lambda: kms.enable_key(KeyId=key)


# --- Member accounts ------------------------------------------------------------------------------


def role_deleted(org: Organization) -> Callable[[], object]:
    return _without_role(org, "shop-prod", MEMBER_ROLE)


def _without_role(org: Organization, account: str, name: str) -> Callable[[], object]:
    """Delete a role with its policies, as IAM's console does."""
    iam = org.client("iam", account)
    role = iam.get_role(RoleName=name)["Role"]
    names = iam.list_role_policies(RoleName=name)["PolicyNames"]
    policies = {
        each: iam.get_role_policy(RoleName=name, PolicyName=each)["PolicyDocument"]
        for each in names
    }
    for each in names:
        iam.delete_role_policy(RoleName=name, PolicyName=each)
    iam.delete_role(RoleName=name)

    def undo() -> None:
        iam.create_role(
            RoleName=name,
            Path=role["Path"],
            AssumeRolePolicyDocument=json.dumps(role["AssumeRolePolicyDocument"]),
            Tags=role.get("Tags", []),
        )
        for policy, document in policies.items():
            iam.put_role_policy(
                RoleName=name, PolicyName=policy, PolicyDocument=json.dumps(document)
            )

    return undo


def access_role_deleted(org: Organization) -> Callable[[], object]:
    return _without_role(org, "shop-prod", ACCESS_ROLE)


def trusting(
    account: str, change: Callable[[dict[str, Any]], None]
) -> Callable[[Organization], Callable[[], object]]:
    """Return the planting of a change of an account's member role's trust policy."""

    def plant(org: Organization) -> Callable[[], object]:
        iam = org.client("iam", account)
        before = iam.get_role(RoleName=MEMBER_ROLE)["Role"]["AssumeRolePolicyDocument"]
        after = json.loads(json.dumps(before))
        change(after["Statement"][0]["Condition"])
        assert after != before

        def put(document: dict[str, Any]) -> None:
            iam.update_assume_role_policy(RoleName=MEMBER_ROLE, PolicyDocument=json.dumps(document))

        put(after)
        return lambda: put(before)

    return plant


def other_external_id(condition: dict[str, Any]) -> None:
    """Another external id, as of an installation before this one."""
    condition["StringEquals"]["sts:ExternalId"] = "of-another-installation"


def two_functions_only(condition: dict[str, Any]) -> None:
    """The role trusts fewer functions than there are, as of a version before this one."""
    ((operator, keys),) = (
        (operator, keys) for operator, keys in condition.items() if "aws:PrincipalArn" in keys
    )
    condition[operator] = {**keys, "aws:PrincipalArn": keys["aws:PrincipalArn"][:2]}


def stack_set_target(org: Organization, account: str) -> dict[str, Any]:
    root = org.client("organizations", "management").list_roots()["Roots"][0]["Id"]
    return {
        "StackSetName": "PareMembers",
        "DeploymentTargets": {
            "OrganizationalUnitIds": [root],
            "Accounts": [org.account_id(account)],
            "AccountFilterType": "INTERSECTION",
        },
        "Regions": [HOME],
        "CallAs": "DELEGATED_ADMIN",
    }


def wait_for_stack_set(org: Organization) -> None:
    command = (
        "while aws cloudformation list-stack-set-operations --stack-set-name PareMembers "
        "--call-as DELEGATED_ADMIN --query 'Summaries[].Status' --output text "
        "| grep -qE 'RUNNING|QUEUED'; do sleep 1; done"
    )
    org.person.types("hub", [command])


def instance_missing(org: Organization) -> Callable[[], object]:
    cloudformation = org.hub("cloudformation")
    target = stack_set_target(org, "data-prod")
    cloudformation.delete_stack_instances(RetainStacks=False, **target)
    wait_for_stack_set(org)

    def undo() -> None:
        cloudformation.create_stack_instances(**target)
        wait_for_stack_set(org)

    return undo


def role_name_taken(org: Organization) -> Callable[[], object]:
    """Somebody made a role of that name by hand, so StackSets cannot make theirs."""
    undo = instance_missing(org)
    iam = org.client("iam", "data-prod")
    trust = {
        "Effect": "Allow",
        "Principal": {"Service": "ec2.amazonaws.com"},
        "Action": "sts:AssumeRole",
    }
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    iam.create_role(RoleName=MEMBER_ROLE, AssumeRolePolicyDocument=document)
    target = stack_set_target(org, "data-prod")
    org.hub("cloudformation").create_stack_instances(**target)
    wait_for_stack_set(org)

    def by_force() -> None:
        iam.delete_role(RoleName=MEMBER_ROLE)
        undo()

    return by_force


def delete_the_role(org: Organization, examined: Examined) -> None:
    """Mend what the reason names: the role that is in the way."""
    said = examined.said("members.instance", "data-prod")
    assert MEMBER_ROLE in said, said
    org.client("iam", "data-prod").delete_role(RoleName=MEMBER_ROLE)


def older_role(org: Organization) -> Callable[[], object]:
    iam = org.client("iam", "data-prod")
    tags = iam.list_role_tags(RoleName=MEMBER_ROLE)["Tags"]
    tag = next(each for each in tags if each["Key"] == "pare:member-template")
    iam.tag_role(RoleName=MEMBER_ROLE, Tags=[{**tag, "Value": "0" * 12}])
    return lambda: iam.tag_role(RoleName=MEMBER_ROLE, Tags=[tag])


def no_auto_deployment(org: Organization) -> Callable[[], object]:
    def put(*, is_on: bool) -> None:
        more = {"RetainStacksOnAccountRemoval": False} if is_on else {}
        org.hub("cloudformation").update_stack_set(
            StackSetName="PareMembers",
            UsePreviousTemplate=True,
            Capabilities=["CAPABILITY_NAMED_IAM"],
            AutoDeployment={"Enabled": is_on, **more},
            CallAs="DELEGATED_ADMIN",
        )
        wait_for_stack_set(org)

    put(is_on=False)
    return lambda: put(is_on=True)


def function_without_right(org: Organization) -> Callable[[], object]:
    """The role of one function may enter no account any more."""
    iam, role = org.hub("iam"), "PareListPrincipals"
    (name,) = iam.list_role_policies(RoleName=role)["PolicyNames"]
    document = iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
    less = [each for each in document["Statement"] if "sts:AssumeRole" not in str(each["Action"])]
    assert len(less) < len(document["Statement"])

    def put(statements: list[Any]) -> None:
        text = json.dumps({**document, "Statement": statements})
        iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=text)

    put(less)
    return lambda: put(document["Statement"])


def management_stack_missing(org: Organization) -> Callable[[], object]:
    cloudformation = org.client("cloudformation", "management")
    cloudformation.delete_stack(StackName="PareMember")
    cloudformation.get_waiter("stack_delete_complete").wait(
        StackName="PareMember", WaiterConfig={"Delay": 1, "MaxAttempts": 120}
    )
    deploy = "npx cdk deploy ByHand/PareMember --profile management"
    return lambda: org.person.types("management", [deploy])


# --- The organization -----------------------------------------------------------------------------


def deregistered(service: str) -> Callable[[Organization], Callable[[], object]]:
    def plant(org: Organization) -> Callable[[], object]:
        organizations = org.client("organizations", "management")
        hub = {"AccountId": org.person.account_of("hub"), "ServicePrincipal": service}
        organizations.deregister_delegated_administrator(**hub)
        return lambda: organizations.register_delegated_administrator(**hub)

    return plant


def untrusted(org: Organization) -> Callable[[], object]:
    organizations = org.client("organizations", "management")
    service = "access-analyzer.amazonaws.com"
    hub = {"AccountId": org.person.account_of("hub"), "ServicePrincipal": service}
    organizations.deregister_delegated_administrator(**hub)
    organizations.disable_aws_service_access(ServicePrincipal=service)

    def undo() -> None:
        organizations.enable_aws_service_access(ServicePrincipal=service)
        organizations.register_delegated_administrator(**hub)

    return undo


# --- Findings -------------------------------------------------------------------------------------


def analyzer_deleted(org: Organization) -> Callable[[], object]:
    analyzer = org.hub("accessanalyzer", AWAY)
    analyzer.delete_analyzer(analyzerName=EXTERNAL_ACCESS_ANALYZER)
    return lambda: analyzer.create_analyzer(
        analyzerName=EXTERNAL_ACCESS_ANALYZER, type="ORGANIZATION"
    )


def analyzer_failed(org: Organization) -> Callable[[], object]:
    (found,) = (
        each["arn"]
        for each in org.hub("accessanalyzer", OTHER).list_analyzers()["analyzers"]
        if each["type"] == "ORGANIZATION"
    )

    def put(**status: str) -> None:
        org.box.emulator.control("analyzers", {"analyzers": [{"arn": found, **status}]})

    put(status="FAILED")
    return lambda: put(status="ACTIVE")


def another_unused_analyzer(org: Organization) -> Callable[[], object]:
    analyzer, name = org.hub("accessanalyzer", OTHER), "somebodys-unused-access"
    analyzer.create_analyzer(analyzerName=name, type="ORGANIZATION_UNUSED_ACCESS")
    return lambda: analyzer.delete_analyzer(analyzerName=name)


def rule_off(region: str, bus: str = "default") -> Callable[[Organization], Callable[[], object]]:
    """Return the planting of a switched-off rule: the first of Pare's rules on a bus."""

    def plant(org: Organization) -> Callable[[], object]:
        events, rule = org.hub("events", region), first_rule(org, region, bus)
        events.disable_rule(**rule)
        return lambda: events.enable_rule(**rule)

    return plant


def first_rule(org: Organization, region: str, bus: str) -> dict[str, str]:
    """Return name and bus of the rule that a test event of the doctor passes there."""
    name = org.box.outputs["HubBusName"] if bus == "hub" else bus
    rules = org.hub("events", region).list_rules(EventBusName=name)["Rules"]
    found = [each for each in rules if TEST_SOURCE in each.get("EventPattern", "")]
    assert found, [each.get("EventPattern") for each in rules]
    return {"Name": found[0]["Name"], "EventBusName": name}


def without_target(region: str) -> Callable[[Organization], Callable[[], object]]:
    def plant(org: Organization) -> Callable[[], object]:
        events, rule = org.hub("events", region), first_rule(org, region, "default")
        which = {"Rule": rule["Name"], "EventBusName": rule["EventBusName"]}
        targets = events.list_targets_by_rule(**which)["Targets"]
        events.remove_targets(Ids=[each["Id"] for each in targets], **which)
        return lambda: events.put_targets(Targets=targets, **which)

    return plant


def region_stack_removed(org: Organization) -> Callable[[], object]:
    cloudformation, name = org.hub("cloudformation", OTHER), f"PareRegion-{OTHER}"
    cloudformation.delete_stack(StackName=name)
    cloudformation.get_waiter("stack_delete_complete").wait(
        StackName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 120}
    )
    return lambda: org.person.types("hub", [f"npx cdk deploy {name}"])


# --- Pare itself ----------------------------------------------------------------------------------


def pending_subscription(org: Organization) -> Callable[[], object]:
    sns, topic = org.hub("sns"), org.box.outputs["PeopleTopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="email", Endpoint=SOMEBODY)
    return lambda: confirm(org)


def confirm(org: Organization, examined: Examined | None = None) -> None:
    """Open the mails of AWS Notifications and follow their links."""
    sns = org.hub("sns")
    pending = [
        {"topic_arn": each["TopicArn"], "endpoint": each["Endpoint"]}
        for page in sns.get_paginator("list_subscriptions").paginate()
        for each in page["Subscriptions"]
        if each["SubscriptionArn"] == "PendingConfirmation"
    ]
    if pending:
        org.box.emulator.control("confirmations", {"entries": pending})


def schedule_changed(**changes: str) -> Callable[[Organization], Callable[[], object]]:
    """Return the planting of a change of the schedule that starts the reconcile."""

    def plant(org: Organization) -> Callable[[], object]:
        scheduler = org.hub("scheduler")
        (name,) = (
            (each["Name"], each["GroupName"])
            for each in scheduler.list_schedules()["Schedules"]
            if "Reconcile" in each["Name"]
        )
        whole = scheduler.get_schedule(Name=name[0], GroupName=name[1])
        members = scheduler.meta.service_model.operation_model("UpdateSchedule").input_shape.members
        before = {key: value for key, value in whole.items() if key in members}
        scheduler.update_schedule(**{**before, **changes})
        return lambda: scheduler.update_schedule(**before)

    return plant


def schedule_deleted(org: Organization) -> Callable[[], object]:
    scheduler = org.hub("scheduler")
    (name,) = (
        (each["Name"], each["GroupName"])
        for each in scheduler.list_schedules()["Schedules"]
        if "Activity" in each["Name"]
    )
    scheduler.delete_schedule(Name=name[0], GroupName=name[1])
    return lambda: org.person.types("hub", ["npx cdk deploy ParePipeline --revert-drift"])


def dead_letter(org: Organization) -> Callable[[], object]:
    sqs, url = org.hub("sqs"), org.box.outputs["FindingDeadLettersUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="{}")
    return lambda: sqs.purge_queue(QueueUrl=url)


def silent_alarms(org: Organization) -> Callable[[], object]:
    cloudwatch = org.hub("cloudwatch")
    alarms = cloudwatch.describe_alarms()["MetricAlarms"]
    names = [each["AlarmName"] for each in alarms if each["AlarmName"].startswith("Pare")][:2]
    assert names
    cloudwatch.disable_alarm_actions(AlarmNames=names)
    return lambda: cloudwatch.enable_alarm_actions(AlarmNames=names)


_UNREAD = ("log-archive.reading", "log-archive.listing", "log-archive.size", "log-archive.keys")
_BUCKET = "log-archive.bucket-policy"
_NO_ROLE = ("members.role", "members.template", "members.access-role")
STACK_SETS = "member.org.stacksets.cloudformation.amazonaws.com"

# In this order: what comes after the old key has it in the settings.
DEFECTS = (
    Defect("trail stopped", stopped, "trail.logging", is_quick=True),
    Defect("trail of a single Region", single_region, "trail.scope"),
    Defect(
        "KMS events excluded",
        selecting(ExcludeManagementEventSources=["kms.amazonaws.com"]),
        "trail.management-events",
    ),
    Defect("only reads recorded", selecting(ReadWriteType="ReadOnly"), "trail.management-events"),
    Defect(
        "bucket statement without organization id",
        bucket_policy(without_organization_id),
        _BUCKET,
        is_quick=True,
    ),
    Defect(
        "bucket statement for another organization",
        bucket_policy(refused_outright),
        _BUCKET,
    ),
    Defect(
        "bucket policy without the statement that reads",
        bucket_policy(without("PareReadsTheTrail")),
        _BUCKET,
        also=_UNREAD,
    ),
    Defect(
        "bucket policy lost its statements of Pare",
        bucket_policy(without("Pare")),
        _BUCKET,
        also=(*_UNREAD, "trail.route"),
    ),
    Defect(
        "log archive stack removed",
        archive_stack_removed,
        _BUCKET,
        also=(*_UNREAD, "trail.route", "log-archive.key-policy"),
    ),
    Defect(
        "CloudTrail may not write into the bucket",
        bucket_policy(without("AWSCloudTrailWrite")),
        "trail.logging",
    ),
    # After the one above, which needs the statement that this takes away for good.
    Defect("trail deleted", trail_deleted, "trail.exists"),
    Defect("log files of another owner", of_another_owner, "log-archive.ownership", also=_UNREAD),
    Defect(
        "log files of an old key",
        old_key,
        "log-archive.keys",
        subject="arn:aws:kms:",
        also=(*_UNREAD, "log-archive.key-policy"),
        before=name_the_key,
    ),
    Defect(
        "statements in another key's policy",
        statements_at_another_key,
        "log-archive.key-policy",
        subject="arn:aws:kms:",
        also=_UNREAD,
    ),
    Defect(
        "key disabled",
        key_disabled,
        "log-archive.key-policy",
        subject="arn:aws:kms:",
        also=_UNREAD,
    ),
    Defect(
        "role missing in one account",
        role_deleted,
        "members.role",
        subject="shop-prod",
        also=_NO_ROLE,
    ),
    Defect(
        "wrong external id",
        trusting("data-prod", other_external_id),
        "members.role",
        subject="data-prod",
        also=_NO_ROLE,
        is_quick=True,
    ),
    Defect(
        "role trusts other functions",
        trusting("shop-prod", two_functions_only),
        "members.role",
        subject="shop-prod",
        also=_NO_ROLE,
    ),
    Defect(
        "stack set instance missing",
        instance_missing,
        "members.instance",
        subject="data-prod",
        also=_NO_ROLE,
    ),
    Defect(
        "stack set instance failed",
        role_name_taken,
        "members.instance",
        subject="data-prod",
        also=_NO_ROLE,
        before=delete_the_role,
    ),
    Defect(
        "Access Analyzer's role deleted",
        access_role_deleted,
        "members.access-role",
        subject="shop-prod",
    ),
    Defect("member role of another version", older_role, "members.template", subject="data-prod"),
    Defect("no automatic deployment", no_auto_deployment, "members.stack-set"),
    Defect(
        "function may enter no account",
        function_without_right,
        "members.role",
        subject="ListPrincipals",
        # This function looks into the log archive and at the trail for the doctor.
        also=("log-archive.", "trail."),
    ),
    Defect(
        "management account's stack missing",
        management_stack_missing,
        "members.management",
        # The trail is looked at through the role in the management account.
        also=(*_NO_ROLE, "trail.", *_UNREAD),
    ),
    Defect(
        "StackSets' administrator deregistered",
        deregistered(STACK_SETS),
        "organization.stack-sets-administrator",
        also=("members.", "organization."),
    ),
    Defect(
        "Access Analyzer's administrator deregistered",
        deregistered("access-analyzer.amazonaws.com"),
        "organization.access-analyzer-administrator",
        also=("organization.", "findings.analyzer"),
    ),
    Defect(
        "Access Analyzer not trusted",
        untrusted,
        "organization.access-analyzer-trusted",
        also=("organization.access-analyzer-administrator", "findings.analyzer"),
    ),
    Defect("analyzer deleted", analyzer_deleted, "findings.analyzer", subject=AWAY),
    Defect("analyzer failed", analyzer_failed, "findings.analyzer", subject=OTHER),
    Defect(
        "second unused-access analyzer",
        another_unused_analyzer,
        "findings.unused-analyzer",
        subject=OTHER,
    ),
    Defect(
        "hub rule switched off",
        rule_off(HOME, "hub"),
        "findings.rules",
        subject=HOME,
        also=("findings.forwarding",),
    ),
    Defect(
        "Region's rule switched off",
        rule_off(AWAY),
        "findings.rules",
        subject=AWAY,
        also=("findings.forwarding",),
    ),
    Defect(
        "rule without its target",
        without_target(OTHER),
        "findings.rules",
        subject=OTHER,
        also=("findings.forwarding",),
    ),
    Defect(
        "Region's stack removed",
        region_stack_removed,
        "running.stacks",
        subject=OTHER,
        also=("findings.rules", "findings.forwarding", "running.dead-letters"),
    ),
    Defect(
        "subscription pending",
        pending_subscription,
        "running.subscriptions",
        subject=SOMEBODY,
        afterwards=confirm,
    ),
    Defect(
        "schedule switched off",
        schedule_changed(State="DISABLED"),
        "running.schedules",
        subject="Reconcile",
        is_quick=True,
    ),
    Defect(
        "schedule for another year",
        schedule_changed(ScheduleExpression="cron(0 3 1 1 ? 2099)"),
        "running.schedules",
        subject="Reconcile",
    ),
    Defect("schedule deleted", schedule_deleted, "running.schedules", subject="Activity"),
    Defect(
        "dead letter",
        dead_letter,
        "running.dead-letters",
        subject="FindingDeadLetters",
        is_quick=True,
    ),
    Defect("alarms tell nobody", silent_alarms, "running.alarms"),
)
