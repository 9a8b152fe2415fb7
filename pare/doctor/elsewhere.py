"""Mends of what lies in other accounts than the hub: whose credentials, which commands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pare.doctor.commands import deploy, deploy_members, look_again, own_right, quoted
from pare.doctor.model import Mend
from pare.message import plain, sentence

if TYPE_CHECKING:
    from pare.doctor.answers import Failure
    from pare.doctor.setup import Setup
    from pare.policy.document import JsonObject

DENIED: Final = frozenset({"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"})
# What the codes begin with of calls that did not even reach the function.
UNASKED: Final = "Invoke"


def where_of(setup: Setup, account_id: str) -> str:
    """Return whose credentials it takes to change something in an account."""
    names = {
        setup.log_archive_account_id: "log archive",
        setup.hub_account_id: "hub",
        setup.management_account_id: "management",
    }
    return names.get(account_id, f"member {account_id}")


def member_mend(setup: Setup, account_id: str) -> Mend:
    """Return what gives an account the member role of this version."""
    text = "Where that changes nothing, `pare doctor --only members` names what the account lacks."
    by_hand = account_id == setup.management_account_id or not setup.has_stack_set
    where = where_of(setup, account_id) if by_hand else "hub"
    return Mend(where, deploy_members(setup, [account_id]), after=text)


def log_archive_mend(text: str = "") -> Mend:
    """Return what puts Pare's statements into the trail bucket's policy and its keys'.

    A deployment of an unchanged template changes nothing: the parameter makes it look again.
    """
    command = (
        f"{deploy('ByHand/PareLogArchive')} --profile log-archive --parameters Again=$(date +%s)"
    )
    return Mend("log archive", (command,), text=text)


def key_reading_mend(setup: Setup, key_arn: str) -> Mend:
    """Return what lets a key be looked at that trusts no policy of its account's roles.

    A key's policy alone decides, unless it hands the decision to its account.
    https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-default.html
    """
    region, account_id = key_arn.split(":")[3:5]
    role = setup.member_role_arn_template.format(account_id=account_id)
    statement: JsonObject = {
        "Sid": "PareLooksAtTheKey",
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:{setup.partition}:iam::{account_id}:root"},
        "Action": ["kms:DescribeKey", "kms:GetKeyPolicy"],
        "Resource": "*",
        "Condition": {"ArnEquals": {"aws:PrincipalArn": role}},
    }
    key, path = f"--key-id {quoted(key_arn)} --policy-name default", "pare-key-policy.json"
    add = (
        "import json, sys; policy = json.load(sys.stdin); "
        'policy["Statement"].append(json.loads(sys.argv[1])); print(json.dumps(policy, indent=2))'
    )
    return Mend(
        where_of(setup, account_id),
        (
            f"aws kms get-key-policy {key} --query Policy --output text --region {region} "
            f"| python3 -c {quoted(add)} {quoted(statement)} > {path} &&\n"
            f"aws kms put-key-policy {key} --policy file://{path} --region {region}",
        ),
        statement,
        "The key's own policy keeps the member role out. This lets it look at the key, not use it; "
        f"it takes credentials that the key's policy lets change it. {path} stays behind in this "
        "folder.",
    )


def shown_above(mend: Mend, what: str) -> Mend:
    """Return a mend for another result: what is long is printed once, by the policy's."""
    if all("\n" not in each for each in mend.commands):
        return mend
    return look_again(f"{what} refuses: mend it first, as said of it.")


def reading_mend(setup: Setup, account_id: str, failure: Failure, key_arn: str = "") -> Mend:
    """Return what lets something in another account be looked at through its member role.

    ``key_arn``: the key that was to be looked at, if it was one.
    """
    if (
        key_arn
        and "resource-based policy" in failure["message"]
        and (failure["action"].startswith("kms:"))
    ):
        return key_reading_mend(setup, key_arn)
    if failure["code"] in DENIED:
        return member_mend(setup, account_id)
    return unasked_mend(setup, failure) or look_again(
        "The message is AWS's own, or the SDK's: it may pass by itself."
    )


def unasked_mend(setup: Setup, failure: Failure) -> Mend | None:
    """Return what lets the person ask the function that AWS did not let them ask; None: it did."""
    return own_right(setup, said(failure)) if failure["code"].startswith(UNASKED) else None


def said(failure: Failure) -> str:
    """Return a failure as a sentence: ``s3:GetBucketPolicy: AccessDenied: …``."""
    return sentence(f"{failure['action']}: {failure['code']}: {plain(failure['message'], 300)}")
