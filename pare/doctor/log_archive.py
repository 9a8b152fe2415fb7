"""Whether the log files can be read: the bucket, its policy, the keys, and the files themselves.

The functions themselves are asked to list and to read (``pare.aws.probe``); what they cannot is put
down to who refuses: the bucket's policy, the owner of the objects, or a key. PareLogArchive merges
Pare's statements into a policy as it is then. Where it cannot, the mend carries the whole policy as
it must become, with what others wrote, as both S3 and KMS replace it: and it is put only while the
policy still is what the doctor saw.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pare.doctor.checks import title_of
from pare.doctor.commands import (
    bring_back,
    deploy,
    deploy_members,
    look_again,
    mend_first,
    quoted,
)
from pare.doctor.elsewhere import (
    DENIED,
    log_archive_mend,
    reading_mend,
    said,
    unasked_mend,
    where_of,
)
from pare.doctor.model import Mend, Result, cannot_tell, missing, ok
from pare.errors import PolicyParseError
from pare.log_archive.lacking import ACCOUNT_IDS, in_doubt, lacking
from pare.log_archive.merge import (
    BUCKET_POLICY_BYTES,
    KEY_POLICY_BYTES,
    merged,
    size,
    statements_of,
)
from pare.log_archive.statements import DECRYPTS, bucket_statements, key_statements
from pare.message import listed, plain, sentence, several

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from pare.doctor.answers import (
        AccountLogs,
        Answer,
        BucketAnswer,
        Failure,
        KeyAnswer,
        ListingAnswer,
        ReadingAnswer,
        ReadObject,
        SampleJson,
        TrailAnswer,
        UnreadObject,
    )
    from pare.doctor.setup import Setup
    from pare.policy.document import JsonObject

ENFORCED: Final = "BucketOwnerEnforced"
PREFERRED: Final = "BucketOwnerPreferred"
_NO_BUCKET: Final = frozenset({"NoSuchBucket"})
_KEY: Final = re.compile(r"arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+")
_NO_KEY: Final = frozenset({"NotFoundException"})
_FORBIDS: Final = "a Deny statement forbids it"
# The ids by which AWS shows principals that are deleted; it takes them from nobody.
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html#identifiers-prefixes
_DELETED: Final = re.compile(r"A(?:IDA|ROA|KIA|SIA)[A-Z0-9]+")
# Control Tower lets its own role alone change the policies of its buckets.
# https://docs.aws.amazon.com/controltower/latest/controlreference/mandatory-controls.html
_CONTROL_TOWER_BUCKETS: Final = "aws-controltower"
_CONTROL_TOWER_ROLE: Final = "AWSControlTowerExecution"
# The order of a policy's lists is not kept by AWS, and means nothing.
_IS_AS_SEEN: Final = """\
import hashlib, json, sys
def form(it):
    if isinstance(it, dict): return {key: form(it[key]) for key in sorted(it)}
    return sorted(map(form, it), key=json.dumps) if isinstance(it, list) else it
if hashlib.sha256(json.dumps(form(json.load(sys.stdin))).encode()).hexdigest() != sys.argv[1]:
    sys.exit("The policy is not what pare doctor saw any more: run pare doctor again.")"""


def here_document(path: str, document: JsonObject) -> str:
    """Return the command that writes a policy into a file."""
    return f"cat > {path} <<'POLICY'\n{json.dumps(document, indent=2)}\nPOLICY"


def fingerprint(policy: JsonObject) -> str:
    """Return what two policies have in common that differ in order alone."""

    def form(it: Any) -> Any:
        if isinstance(it, dict):
            return {key: form(it[key]) for key in sorted(it)}
        return sorted(map(form, it), key=json.dumps) if isinstance(it, list) else it

    return hashlib.sha256(json.dumps(form(policy)).encode()).hexdigest()


# --- log-archive.bucket ---------------------------------------------------------------------------


def judge_bucket(setup: Setup, location: Answer, encryption: Answer) -> Result:
    """Judge whether the bucket is there, in the Region that the settings name.

    Its default encryption is told along: it is what CloudTrail's next files get where the trail
    names no key, and says nothing of the files that are there.
    """
    check, name, account_id = "log-archive.bucket", setup.trail.bucket, setup.log_archive_account_id
    if not location["ok"]:
        if location["code"] in _NO_BUCKET:
            # Where each account has a trail of its own, all write into the one bucket.
            trail = setup.trail.arn.replace("{account_id}", setup.hub_account_id)
            region, owner = trail.split(":")[3:5]
            return missing(
                check,
                name,
                f"There is no bucket {name}.",
                Mend(
                    "you",
                    (deploy("--all"),),
                    text="First write the trail's bucket as trail.bucket into config/pare.yaml; "
                    f"`aws cloudtrail get-trail --name {quoted(trail)} --region {region}`, with "
                    f"credentials of account {owner}, shows it as S3BucketName.",
                ),
            )
        mend = reading_mend(setup, account_id, location)
        if location["code"] in DENIED:
            mend = Mend(
                mend.where,
                mend.commands,
                None,
                f"{mend.text} Where it lacks nothing, the bucket is not in account {account_id}: "
                "correct log_archive_account_id in config/pare.yaml.",
            )
        return cannot_tell(check, name, said(location), mend)
    region = str(location["value"])
    if region != setup.trail.bucket_region:
        return missing(
            check,
            name,
            f"The bucket is in {plain(region, 30)}, the settings say {setup.trail.bucket_region}.",
            Mend(
                "you",
                (deploy("--all"),),
                text=f"First write `bucket_region: {plain(region, 30)}` under trail in "
                "config/pare.yaml.",
            ),
        )
    says = f"{name}, in {region}"
    if encryption["ok"] and encryption["value"].get("algorithm"):
        says += f"; encrypts by default with {plain(encryption['value']['algorithm'], 20)}"
        if encryption["value"].get("kms_key_arn"):
            says += f" and {plain(encryption['value']['kms_key_arn'], 200)}"
    return ok(check, name, says)


# --- log-archive.ownership ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NotOwned:
    """The log files not known to be the bucket owner's: surely others', and of nobody knows whom.

    Where the bucket's owner is not known, ``others`` are those of an owner that is not everybody's.
    """

    others: list[SampleJson]
    unknown: list[SampleJson]


def not_owned(
    setup: Setup,
    bucket: BucketAnswer,
    samples: Sequence[SampleJson],
    objects: Mapping[str, ReadObject | UnreadObject],
) -> NotOwned:
    """Return the log files that are not known to be the bucket owner's.

    S3 tells who may list of whom each file is, and the bucket's account of whom the bucket is. A
    file that the hub reads is the bucket owner's in any case: a bucket's policy lets nobody at
    another owner's objects. Not so where the bucket is the hub's own: an object's list may let that
    account read it.
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucket-policies.html
    """
    if bucket["ownership"]["ok"] and bucket["ownership"]["value"] == ENFORCED:
        return NotOwned([], [])
    read: set[str] = set()
    if setup.hub_account_id != setup.log_archive_account_id:
        read = {key for key, each in objects.items() if each["ok"]}
    owners = {each["owner"] for each in samples if each["owner"]}
    own = {each["owner"] for each in samples if each["owner"] and each["key"] in read}
    if bucket["owner"]["ok"]:
        own = {bucket["owner"]["value"]}
    strangers = owners - own if own or len(owners) > 1 else set()
    return NotOwned(
        [each for each in samples if each["owner"] in strangers],
        [
            each
            for each in samples
            if each["owner"] not in strangers | own and each["key"] not in read
        ],
    )


def judge_ownership(
    setup: Setup,
    bucket: BucketAnswer,
    samples: Sequence[SampleJson],
    objects: Mapping[str, ReadObject | UnreadObject],
) -> Result:
    """Judge whether the bucket's owner owns the log files, old and new."""
    check, name = "log-archive.ownership", setup.trail.bucket
    found = bucket["ownership"]
    if not found["ok"]:
        return cannot_tell(
            check, name, said(found), reading_mend(setup, setup.log_archive_account_id, found)
        )
    ownership = str(found["value"])
    if ownership == ENFORCED:
        return ok(check, name, f"{ENFORCED}: the bucket's owner owns every log file")
    not_its = not_owned(setup, bucket, samples, objects)
    others, unknown = not_its.others, not_its.unknown
    if ownership == PREFERRED and not others:
        if not samples:
            return cannot_tell(
                check,
                name,
                f"{PREFERRED}: log files from before that setting may have another owner, and none "
                "was looked at.",
                look_again("Mend what is said of listing first."),
            )
        if unknown:
            why = "" if bucket["owner"]["ok"] else f" {said(bucket['owner'])}"
            return cannot_tell(
                check,
                name,
                f"{PREFERRED}: log files from before that setting may have another owner, and of "
                f"{len(unknown):,} of {several(len(samples), 'log file')} looked at nobody can say "
                f"who owns them: {_of_whom(unknown)}.{why}",
                ownership_mend(setup),
                unknown=len(unknown),
            )
        return ok(
            check,
            name,
            f"{PREFERRED}; of {several(len(samples), 'log file')} looked at all are the bucket "
            "owner's",
        )
    says = (
        f"Object Ownership is {plain(ownership, 40)}, and {several(len(others), 'log file')} of "
        f"{len(samples):,} looked at have another owner: {_of_whom(others)}."
        if others
        else f"Object Ownership is {plain(ownership, 40)}: whoever writes a log file owns it."
    )
    return missing(check, name, says, ownership_mend(setup), foreign=len(others))


def ownership_mend(setup: Setup) -> Mend:
    """Return what makes the bucket's owner the owner of every log file, also of old ones.

    S3 turns access control lists off only where the bucket's own lets in nobody else.
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-ownership-migrating-acls-prerequisites.html
    """
    return Mend(
        "log archive",
        (
            f"aws s3api put-bucket-acl --bucket {quoted(setup.trail.bucket)} --acl private "
            f"--region {setup.trail.bucket_region}",
            f"aws s3api put-bucket-ownership-controls --bucket {quoted(setup.trail.bucket)} "
            f"--ownership-controls 'Rules=[{{ObjectOwnership={ENFORCED}}}]' "
            f"--region {setup.trail.bucket_region}",
        ),
        None,
        "It takes away what access control lists let others do, and turns them off: who comes by "
        f"one (`aws s3api get-bucket-acl --bucket {quoted(setup.trail.bucket)}` shows the "
        "bucket's) needs a statement in its policy first. CloudTrail writes as before.",
    )


def _of_whom(samples: Sequence[SampleJson]) -> str:
    """Return ages and accounts of log files: ``old ones of 111122223333``."""
    by_account: dict[str, set[str]] = defaultdict(set)
    for each in samples:
        by_account[account_in(each["key"])].add(each["age"])
    by_ages: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for account_id, ages in sorted(by_account.items()):
        by_ages[tuple(age for age in ("old", "middle", "new") if age in ages)].append(account_id)
    return "; ".join(
        f"{', '.join(ages)} ones of {listed(accounts, 5)}" for ages, accounts in by_ages.items()
    )


def account_in(key: str) -> str:
    """Return the account whose folder a log file lies in."""
    return plain(key.partition("/CloudTrail/")[0].rpartition("/")[2], 20)


# --- log-archive.bucket-policy --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Lacks:
    """What a policy does not let in: a line each, and the Deny statements that stand in the way."""

    lines: tuple[str, ...]
    sids: tuple[str, ...]  # of our statements that are needed
    denials: tuple[str, ...]  # of others' Deny statements
    doubts: tuple[str, ...]  # Deny statements that may stand in the way, a line each

    @property
    def only_denied(self) -> bool:
        """Whether no statement is missing, and Deny statements alone are in the way."""
        return bool(self.denials) and all(each.endswith(_FORBIDS) for each in self.lines)


def lacks(
    policy: JsonObject,
    statements: Sequence[JsonObject],
    organization_id: str,
    *,
    key_arn: str = "",
    proven: Collection[str] = (),
) -> Lacks:
    """Return what a policy does not let in. Raises PolicyParseError for what is no policy.

    ``proven``: the Sids of statements that surely do what they are there for: whoever they let in
    was in.
    """

    def lines_of(document: JsonObject, statement: JsonObject) -> tuple[str, ...]:
        return lacking(document, statement, organization_id=organization_id, key_arn=key_arn)

    def lines_in(document: JsonObject) -> list[str]:
        return [line for each in statements for line in lines_of(document, each)]

    lines = lines_in(policy)
    sids = [
        str(each["Sid"])
        for each in statements
        if any(not line.endswith(_FORBIDS) for line in lines_of(policy, each))
    ]
    denials: list[str] = []
    forbidden = [line for line in lines if line.endswith(_FORBIDS)]
    if forbidden:
        parts = statements_of(policy)
        for place, each in enumerate(parts):
            if each.get("Effect") != "Deny":
                continue
            rest: JsonObject = {**policy, "Statement": [*parts[:place], *parts[place + 1 :]]}
            if len([line for line in lines_in(rest) if line.endswith(_FORBIDS)]) < len(forbidden):
                denials.append(str(each.get("Sid") or f"statement {place + 1}"))
    doubts = {
        line: None
        for each in statements
        if each["Sid"] not in proven
        for line in in_doubt(policy, each, organization_id=organization_id, key_arn=key_arn)
    }
    return Lacks(tuple(lines), tuple(sids), tuple(denials), tuple(doubts))


def _policy_says(what: str, found: Lacks) -> str:
    """Return what a policy lacks, in a sentence or two."""
    parts = []
    if found.sids:
        parts.append(f"{what} does not grant what {listed(list(found.sids))} grants")
    if found.denials:
        parts.append(
            f"its Deny statement {listed([plain(each, 60) for each in found.denials])} forbids it"
            if parts
            else f"The Deny statement {listed([plain(each, 60) for each in found.denials])} of "
            f"{what[0].lower()}{what[1:]} forbids it"
        )
    text = "; ".join(parts) or f"{what} does not let everybody in who must read"
    # Each right once: of which of the made-up log files, and in which account, is all the same.
    rights: dict[str, dict[str, None]] = defaultdict(dict)
    for line in found.lines:
        right = line.rpartition(": ")[0]
        rights[right.rpartition(" by ")[2]][right.partition(" on ")[0]] = None
    who = [f"{listed(list(actions))} by {role}" for role, actions in rights.items()]
    return f"{text}: {plain('; '.join(dict.fromkeys(map(_of_any_account, who))), 1_000)}."


def _of_any_account(text: str) -> str:
    """Return a line about an account that is made up as one about any."""
    for account_id in ACCOUNT_IDS:
        text = text.replace(account_id, "<account>")
    return text


def judge_bucket_policy(setup: Setup, found: Answer, proven: Collection[str] = ()) -> Result:
    """Judge whether the bucket's policy lets in whom Pare's statements name.

    ``proven``: as ``lacks`` has it.
    """
    check, name = "log-archive.bucket-policy", setup.trail.bucket
    if not found["ok"]:
        return cannot_tell(
            check, name, said(found), reading_mend(setup, setup.log_archive_account_id, found)
        )
    policy: JsonObject = found["value"] or {}
    statements = bucket_statements(setup)
    try:
        lack = lacks(policy, statements, setup.organization_id, proven=proven)
    except PolicyParseError as error:
        return cannot_tell(check, name, f"The bucket's policy: {plain(error, 300)}",
                           log_archive_mend())  # fmt: skip
    if not lack.lines:
        if lack.doubts:
            return _doubted(check, name, "The bucket's policy", _bucket_place(setup), lack)
        return ok(check, name, "lets in whom it must")
    return missing(
        check,
        name,
        _policy_says("The bucket's policy", lack),
        bucket_policy_mend(setup, policy, lack),
        lacking=list(dict.fromkeys(map(_of_any_account, lack.lines))),
    )


def bucket_policy_mend(setup: Setup, policy: JsonObject, lack: Lacks) -> Mend:
    """Return the commands that put Pare's statements into the bucket's policy."""
    return _policy_mend(_bucket_place(setup), policy, bucket_statements(setup), lack)


@dataclass(frozen=True, slots=True)
class _Place:
    """A policy that Pare's statements go into: who may change it, and by which commands."""

    where: str
    get: str
    put: str
    path: str
    most: int  # bytes
    is_stacks: bool  # whether PareLogArchive merges them into it
    enter: str = ""  # what takes another role, for a subshell: a person's shell keeps its own
    text: str = ""


def _bucket_place(setup: Setup) -> _Place:
    bucket = f"--bucket {quoted(setup.trail.bucket)}"
    region, path = f"--region {setup.trail.bucket_region}", "pare-bucket-policy.json"
    get = f"aws s3api get-bucket-policy {bucket} --query Policy --output text {region}"
    put = f"aws s3api put-bucket-policy {bucket} --policy file://{path} {region}"
    if not is_control_towers(setup):
        return _Place("log archive", get, put, path, BUCKET_POLICY_BYTES, is_stacks=True)
    role = f"arn:{setup.partition}:iam::{setup.log_archive_account_id}:role/{_CONTROL_TOWER_ROLE}"
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
    enter = (
        f"read -r {' '.join(names)} < <(aws sts assume-role --role-arn {role} "
        "--role-session-name pare --output text "
        "--query 'Credentials.[AccessKeyId,SecretAccessKey,SessionToken]') && "
        f"export {' '.join(names)}"
    )
    return _Place(
        "management",
        get,
        put,
        path,
        BUCKET_POLICY_BYTES,
        is_stacks=False,
        enter=enter,
        text=f"Control Tower made this bucket: only its role {_CONTROL_TOWER_ROLE} may change the "
        "policy. What stands in parentheses is one command, of bash: it takes that role, and your "
        "shell keeps its own credentials. An update of the landing zone may write the policy anew: "
        "run pare doctor after each.",
    )


def is_control_towers(setup: Setup) -> bool:
    """Return whether Control Tower made, and guards, the trail's bucket."""
    return setup.trail.made_by_control_tower or setup.trail.bucket.startswith(
        _CONTROL_TOWER_BUCKETS
    )


def _policy_mend(
    place: _Place, policy: JsonObject, statements: Sequence[JsonObject], lack: Lacks
) -> Mend:
    """Return what puts into a policy what it lacks.

    A statement that already is there, under whatever Sid, is not put in a second time.
    """
    if lack.only_denied:
        return _looking_mend(place, _excepting(lack.denials))
    needed = [each for each in statements if each["Sid"] in lack.sids]
    told = [f"Afterwards {_excepting(lack.denials)}"] if lack.denials else []
    if deleted := deleted_principals(policy):
        told.insert(0, f"First take out {listed(deleted)}: they are deleted, and AWS does not "
                       "take a policy that names them.")  # fmt: skip
    try:
        whole = merged(policy, needed)
    except ValueError as error:
        return _looking_mend(place, plain(error, 300))
    if size(whole) > place.most:
        return _looking_mend(
            place,
            f"First make room: with Pare's statements the policy has {size(whole):,} bytes, and "
            f"AWS stores {place.most:,} at most.",
        )
    if place.is_stacks:
        told.append(
            "The command below merges them into the policy as it is then. Where no stack may be "
            "deployed, `pare doctor --statements` prints them."
        )
        return log_archive_mend(" ".join(told))
    code = quoted(_IS_AS_SEEN)
    guard = (
        f"{place.get} | python3 -c {code} {fingerprint(policy)}"
        if policy
        else f'[[ "$({place.get} 2>&1)" == *NoSuchBucketPolicy* ]]'
    )
    told.append(
        "It is the policy as it is now, with Pare's statements in it, and is put only if nobody "
        f"has changed it meanwhile. It stays behind in this folder, as {place.path}."
    )
    commands = [here_document(place.path, whole), f"{guard} &&\n{place.put}"]
    if place.enter:
        commands = ["\n".join(["(", f"{place.enter} || exit", *commands, ")"])]
    return Mend(
        place.where,
        tuple(commands),
        None,
        " ".join([*([place.text] if place.text else []), *told]),
    )


def _looking_mend(place: _Place, text: str) -> Mend:
    """Return what shows a policy that a person has to change."""
    text = text[:1].upper() + text[1:]
    command = f"( {place.enter} && {place.get} )" if place.enter else place.get
    return Mend(place.where, (command,), None, f"{place.text} {text}".strip())


def _doubted(check: str, subject: str, what: str, place: _Place, lack: Lacks) -> Result:
    """Return the result of Deny statements that may keep out whom we cannot let try."""
    more = f", and {len(lack.doubts) - 1:,} more" if len(lack.doubts) > 1 else ""
    return cannot_tell(
        check,
        subject,
        f"{what} grants all, but {plain(lack.doubts[0], 300)}{more}.",
        _looking_mend(
            place,
            "Nobody but AWS knows whether it forbids what is granted. So "
            + _excepting(
                # A statement without a Sid is "statement 3, which has no Sid,".
                [each.rpartition(" denies ")[0].split(",")[0] for each in lack.doubts]
            ),
        ),
        doubts=list(lack.doubts),
    )


def deleted_principals(policy: JsonObject) -> list[str]:
    """Return the deleted users and roles that a policy names, with their statements."""
    found = []
    for place, each in enumerate(statements_of(policy), 1):
        texts = json.dumps([each.get("Principal"), each.get("NotPrincipal")])
        name = plain(each.get("Sid") or f"statement {place}", 60)
        found += [f"{one} ({name})" for one in re.findall(r'"([^"]+)"', texts)
                  if _DELETED.fullmatch(one)]  # fmt: skip
    return list(dict.fromkeys(found))


def _excepting(sids: Sequence[str]) -> str:
    shown = listed([plain(each, 60) for each in dict.fromkeys(sids)])
    return (
        f"let the Deny statement {shown} except the roles that are to read (ArnNotLike on "
        "aws:PrincipalArn); `pare doctor --statements` names them."
    )


# --- log-archive.keys -----------------------------------------------------------------------------


def keys_used(
    samples: Sequence[SampleJson], objects: Mapping[str, ReadObject | UnreadObject]
) -> dict[str, list[SampleJson]]:
    """Return the log files by the key they are encrypted with, as far as S3 names it."""
    found: dict[str, list[SampleJson]] = defaultdict(list)
    for each in samples:
        looked_at = objects.get(each["key"])
        if looked_at is not None and looked_at["kms_key_arn"]:
            found[looked_at["kms_key_arn"]].append(each)
    return dict(sorted(found.items()))


def judge_keys(
    setup: Setup,
    samples: Sequence[SampleJson],
    objects: Mapping[str, ReadObject | UnreadObject],
    *,
    keys: Mapping[str, KeyAnswer],
    trails: Mapping[str, TrailAnswer],
) -> Iterator[Result]:
    """Judge whether the settings name every key that log files are really encrypted with.

    ``keys``, ``trails``: what is known of them, by their ARNs.
    """
    check, known = "log-archive.keys", setup.trail.kms_key_arns
    used = keys_used(samples, objects)
    if not objects:
        yield cannot_tell(
            check,
            "",
            "No log file could be looked at.",
            look_again("Mend what is said of listing and reading first."),
        )
        return
    # A file that can be read and names no key has none; of one that cannot, nobody knows.
    known_of = {key for key, each in objects.items() if each["ok"] or each["kms_key_arn"]}
    looked_at = [each for each in samples if each["key"] in known_of]
    unknown = [each for each in samples if each["key"] not in known_of]
    if unknown:
        yield cannot_tell(
            check,
            "",
            f"The key of {several(len(unknown), 'log file')} is not known: {_of_whom(unknown)}.",
            mend_first(title_of("log-archive.reading")),
            unknown=len(unknown),
        )
    if not looked_at:
        return
    strangers = [key for key in used if key not in known]
    for key in strangers:
        by_hand = [setup.management_account_id]
        if not setup.has_stack_set:
            by_hand = list(
                dict.fromkeys([*by_hand, setup.log_archive_account_id, key.split(":")[4]])
            )
        says = (
            f"{several(len(used[key]), 'log file')} of {len(looked_at):,} looked at "
            f"{'is' if len(used[key]) == 1 else 'are'} encrypted with {plain(key, 200)}, which "
        )
        if is_awss_own(keys.get(key)):
            yield missing(
                check,
                plain(key, 200),
                f"{says}is AWS's own (nobody outside its account can be let use it): "
                f"{_of_whom(used[key])}.",
                awss_own_mend(setup, key),
                files=len(used[key]),
            )
            continue
        yield missing(
            check,
            plain(key, 200),
            f"{says}the settings do not name: {_of_whom(used[key])}.",
            Mend(
                "you",
                (
                    deploy("--all"),
                    # The member role of the key's account looks at it; --all has the stack set's.
                    *deploy_members(setup, by_hand),
                    f"{deploy('ByHand/PareLogArchive')} --profile log-archive",
                ),
                None,
                f"First add `{plain(key, 200)}` to trail.kms_key_arns in config/pare.yaml. What "
                "was written with a key needs that key for ever."
                + (
                    ""
                    if _is_known(keys.get(key))
                    else f" Not if `{_manager(key)}`, in its own "
                    "account, says AWS: nobody can be let use such a key."
                ),
            ),
            files=len(used[key]),
        )
    for key in known:
        files = used.get(key, [])
        says = (
            f"of {len(files):,} of {several(len(looked_at), 'log file')} looked at"
            if files
            else "named in the settings; no log file looked at needs it"
        )
        others = (
            [] if setup.trail.made_by_control_tower else _not_the_trails(setup, files, key, trails)
        )
        if others:
            says += (
                f"; {len(others):,} not encrypted by the trail as it is set today: Access Analyzer "
                "may not read such files, Pare does"
            )
        yield ok(check, key, says, files=len(files), not_the_trails=len(others))
    if not used and not known and not unknown:
        yield ok(check, "", f"none of {several(len(looked_at), 'log file')} looked at needs one")


def _not_the_trails(
    setup: Setup, files: Sequence[SampleJson], key: str, trails: Mapping[str, TrailAnswer]
) -> list[SampleJson]:
    """Return the log files whose trail, as far as we know it, encrypts with another key or none.

    Then the bucket's default or a copy did it, and S3 tells KMS of no trail, as which the statement
    for Access Analyzer knows log files.
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingKMSEncryption.html
    """
    found = []
    for each in files:
        account_id = account_in(each["key"])
        answer = trails.get(setup.trail.arn.replace("{account_id}", account_id))
        trail = answer["trail"] if answer else None
        if trail and trail["ok"] and trail["value"].get("KmsKeyId") != key:
            found.append(each)
    return found


def _is_known(answer: KeyAnswer | None) -> bool:
    return answer is not None and answer["key"]["ok"]


def is_awss_own(answer: KeyAnswer | None) -> bool:
    """Return whether a key is known to be managed by AWS, as ``aws/s3`` is."""
    return answer is not None and answer["key"]["ok"] and answer["key"]["value"]["manager"] == "AWS"


def awss_own_mend(setup: Setup, key_arn: str) -> Mend:
    """Return what can be done about a key whose policy is AWS's."""
    return Mend(
        where_of(setup, key_arn.split(":")[4]),
        (),
        None,
        "Such files stay unread, and no policy and no setting changes that. Give the trail a key "
        "of your own, and the bucket where it encrypts by default; what is there can be copied "
        "over itself with that key (`aws s3 cp --sse aws:kms --sse-kms-key-id`), or is past the "
        f"window in {setup.window_days} days.",
    )


def _manager(key_arn: str) -> str:
    region = key_arn.split(":")[3]
    return (
        f"aws kms describe-key --key-id {quoted(key_arn)} --query KeyMetadata.KeyManager "
        f"--region {region}"
    )


# --- log-archive.key-policy -----------------------------------------------------------------------


def judge_key_policy(
    setup: Setup, arn: str, answer: KeyAnswer, proven: Collection[str] = ()
) -> Iterator[Result]:
    """Judge a key: that it can decrypt, and that its policy lets in whom it must.

    ``proven``: as ``lacks`` has it. With DECRYPTS in it the key does decrypt, whether or not it can
    be looked at.
    """
    check, shown = "log-archive.key-policy", plain(arn, 200)
    region, account_id = arn.split(":")[3:5]
    where, found_key = where_of(setup, account_id), answer["key"]
    if not found_key["ok"] and found_key["code"] in _NO_KEY:
        yield missing(
            check,
            shown,
            f"There is no key {shown} any more: what is encrypted with it is lost.",
            Mend(
                "you",
                (deploy("--all"),),
                None,
                "First take it out of trail.kms_key_arns in config/pare.yaml. If the trail still "
                "uses it, CloudTrail cannot deliver: see the trail.",
            ),
        )
        return
    if is_awss_own(answer):
        if arn in setup.trail.kms_key_arns:
            yield missing(
                check,
                shown,
                f"{shown} is AWS's own key of its account: nobody else can be let use it.",
                Mend("you", (deploy("--all"),), None,
                     "First take it out of trail.kms_key_arns in config/pare.yaml. "
                     + awss_own_mend(setup, arn).text),
            )  # fmt: skip
        return
    state = found_key["value"]["state"] if found_key["ok"] else "Enabled"
    if state != "Enabled":
        commands = [f"aws kms enable-key --key-id {quoted(arn)} --region {region}"]
        if state == "PendingDeletion":
            commands.insert(
                0, f"aws kms cancel-key-deletion --key-id {quoted(arn)} --region {region}"
            )
        yield missing(
            check,
            shown,
            f"The key is {plain(state, 40)}: nothing can be decrypted with it.",
            Mend(where, tuple(commands)),
        )
        return
    found = answer["policy"]
    if not found["ok"]:
        yield _unseen_key(setup, arn, found)
        return
    policy: JsonObject = found["value"]
    try:
        lack = lacks(
            policy, key_statements(setup, arn), setup.organization_id, key_arn=arn, proven=proven
        )
    except (PolicyParseError, ValueError) as error:
        yield cannot_tell(check, shown, f"The key's policy: {plain(error, 300)}",
                          log_archive_mend())  # fmt: skip
        return
    if lack.lines:
        yield missing(
            check,
            shown,
            _policy_says("The key's policy", lack),
            key_policy_mend(setup, arn, policy, lack),
            lacking=list(dict.fromkeys(map(_of_any_account, lack.lines))),
        )
        return
    if lack.doubts:
        yield _doubted(check, shown, "The key's policy", _key_place(setup, arn), lack)
        return
    if not found_key["ok"] and DECRYPTS not in proven:
        yield _unseen_key(setup, arn, found_key)  # it may be disabled
        return
    yield ok(check, shown, "lets in whom it must")


def _unseen_key(setup: Setup, arn: str, failure: Failure) -> Result:
    """Return the result of a key that could not be looked at."""
    mend = reading_mend(setup, arn.split(":")[4], failure, arn)
    if arn not in setup.trail.kms_key_arns and failure["code"] in DENIED:
        mend = look_again("First name the key in config/pare.yaml, as said of its log files.")
    return cannot_tell("log-archive.key-policy", plain(arn, 200), said(failure), mend)


def key_policy_mend(setup: Setup, arn: str, policy: JsonObject, lack: Lacks) -> Mend:
    """Return the commands that put Pare's statements into a key's policy."""
    return _policy_mend(_key_place(setup, arn), policy, key_statements(setup, arn), lack)


def _key_place(setup: Setup, arn: str) -> _Place:
    region, account_id = arn.split(":")[3:5]
    key = f"--key-id {quoted(arn)} --policy-name default"
    path = f"pare-key-policy-{quoted(arn.rpartition('/')[2])}.json"
    return _Place(
        where_of(setup, account_id),
        f"aws kms get-key-policy {key} --query Policy --output text --region {region}",
        f"aws kms put-key-policy {key} --policy file://{path} --region {region}",
        path,
        KEY_POLICY_BYTES,
        is_stacks=account_id == setup.log_archive_account_id and arn in setup.trail.kms_key_arns,
    )


# --- log-archive.listing --------------------------------------------------------------------------


def judge_listing(
    setup: Setup,
    function: str,
    answer: ListingAnswer | Failure,
    *,
    accounts: Sequence[str] | None,
    policy_mend: Mend | None,
) -> Iterator[Result]:
    """Judge what a function may list.

    ``accounts``: those that should have log files; None: it was only asked whether it may list.
    ``policy_mend``: of the bucket's policy, where that is known to lack something.
    """
    check = "log-archive.listing"
    if not answer["ok"]:
        yield _refused(setup, check, function, answer, policy_mend)
        return
    failed: dict[str, Failure] = {}
    for name, each in answer["accounts"].items():
        if not each["ok"]:
            failed[name] = each
    if failed:
        told = _refused(setup, check, function, failed[min(failed)], policy_mend)
        yield Result(
            told.check,
            told.subject,
            told.status,
            f"Log files of {several(len(failed), 'account')} cannot be listed "
            f"({listed(sorted(failed))}): {told.says}",
            told.mend,
            {"accounts": sorted(failed)},
        )
    if answer["not_reached"]:
        yield cannot_tell(
            check,
            f"{function}, {several(len(answer['not_reached']), 'account')}",
            "No time was left to look at all accounts.",
            look_again("The others are as they should be as far as they were looked at."),
            not_reached=len(answer["not_reached"]),
        )
    if accounts is None:
        if not failed:
            yield ok(check, function, f"{function} may list")
        return
    found = {name for name, each in answer["accounts"].items() if each["ok"] and each["samples"]}
    silent = sorted(set(accounts) - found - set(failed) - set(answer["not_reached"]))
    if silent:
        yield cannot_tell(
            check,
            several(len(silent), "account"),
            f"No log file of the window is there of {listed(silent)}: nothing was called there, or "
            "the trail does not record it.",
            look_again(
                "An account that joined today has some tomorrow. Of the others see above whether "
                "the trail is one of the organization; accounts nobody uses: account_exclusions "
                "in config/pare.yaml."
            ),
            accounts=silent,
        )
    if found and not failed:
        yield ok(check, function, f"{function}: log files of {several(len(found), 'account')}")


def _refused(
    setup: Setup,
    check: str,
    function: str,
    failure: Failure,
    policy_mend: Mend | None,
    key: str = "",
    otherwise: Mend | None = None,
) -> Result:
    """Return the result of a function that S3, or KMS for a key, refuses something, by who refuses.

    ``otherwise``: the mend where neither AWS's words nor the policy say who does.
    AWS says which kind of policy it was only where it may tell; then its words are these:
    https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html
    """
    message = failure["message"]
    if failure["code"] not in DENIED and failure["code"] not in _NO_BUCKET:
        return cannot_tell(
            check,
            function,
            said(failure),
            unasked_mend(setup, failure)
            or look_again("The message is AWS's own, or the SDK's: it may pass by itself."),
        )
    if "identity-based" in message:
        mend = bring_back("ParePipeline")
    elif "service control policy" in message or "resource control policy" in message:
        mend = Mend(
            "management",
            (f"aws organizations list-policies-for-target --target-id {setup.hub_account_id} "
             "--filter SERVICE_CONTROL_POLICY",
             "aws organizations list-policies-for-target --target-id "
             f"{setup.log_archive_account_id} --filter RESOURCE_CONTROL_POLICY"),
            None,
            "One of these, or one of a unit above, denies it: let it except Pare's role "
            f"{function}.",
        )  # fmt: skip
    elif policy_mend is None and "explicit deny in a resource-based policy" in message:
        mend = _looking_mend(
            _key_place(setup, key) if key else _bucket_place(setup),
            f"A Deny statement of this policy keeps {function} out: let it except the roles that "
            "are to read (ArnNotLike on aws:PrincipalArn); `pare doctor --statements` names them.",
        )
    else:
        mend = policy_mend or otherwise or log_archive_mend()
    return missing(check, function, said(failure), mend)


# --- log-archive.reading --------------------------------------------------------------------------


def judge_reading(
    setup: Setup,
    function: str,
    answer: ReadingAnswer | Failure,
    samples: Sequence[SampleJson],
    *,
    bucket: BucketAnswer,
    mends: Mapping[str, Mend],
) -> Iterator[Result]:
    """Judge whether log files can be read: old, middle and new ones of each account.

    ``mends``: what mends each barrier, where it is known: ``s3`` (the bucket's policy), and the ARN
    of a key (its policy).
    """
    check = "log-archive.reading"
    if not answer["ok"]:
        mend = unasked_mend(setup, answer) or Mend("hub", (deploy("--all"),))
        yield cannot_tell(check, function, said(answer), mend)
        return
    objects = answer["objects"]
    looked_at = [each for each in samples if each["key"] in objects]
    not_its = not_owned(setup, bucket, looked_at, objects)
    others = {each["key"] for each in not_its.others}
    doubtful = {each["key"] for each in not_its.unknown if bucket["ownership"]["ok"]}
    unread: dict[tuple[str, str], list[SampleJson]] = defaultdict(list)
    failures: dict[tuple[str, str], Failure] = {}
    for each in looked_at:
        found = objects[each["key"]]
        if found["ok"]:
            continue
        barrier: str = found["barrier"] or "other"
        if barrier == "s3" and each["key"] in others:
            barrier = "owner"
        place = barrier, found["kms_key_arn"] or ""
        unread[place].append(each)
        failures.setdefault(place, found)
    for (barrier, key), files in sorted(unread.items()):
        failure = failures[barrier, key]
        count = f"{len(files):,} of {several(len(looked_at), 'log file')} looked at"
        says = f"{count} cannot be read, {_BARRIERS[barrier]}: {_of_whom(files)}. {said(failure)}"
        subject = f"{function}, {plain(key, 200)}" if key else f"{function}, {barrier}"
        if barrier == "other":
            yield cannot_tell(check, subject, says, look_again("The message is AWS's own."))
        else:
            otherwise = None
            if barrier == "s3" and doubtful.issuperset(each["key"] for each in files):
                otherwise = ownership_mend(setup)
            mend = _reading_mend(setup, check, function, barrier, key, failure, mends, otherwise)
            yield missing(check, subject, says, mend, files=len(files), barrier=barrier)
    if answer["not_reached"]:
        yield cannot_tell(
            check,
            function,
            f"No time was left to look at {several(len(answer['not_reached']), 'log file')}.",
            look_again("The others are as they should be as far as they were looked at."),
        )
    if looked_at and not unread:
        ages = Counter(each["age"] for each in looked_at)
        shown = ", ".join(f"{ages[age]:,} {age}" for age in ("old", "middle", "new"))
        accounts = len({account_in(each["key"]) for each in looked_at})
        yield ok(
            check,
            function,
            f"{function} reads {several(len(looked_at), 'log file')} ({shown}) of "
            f"{several(accounts, 'account')}",
        )
    if not looked_at and not answer["not_reached"]:
        yield cannot_tell(
            check,
            function,
            "There is no log file to read.",
            look_again("Mend what is said of listing first."),
        )


_BARRIERS: Final = {
    "kms": "their key refuses",
    "owner": "another owner's objects",
    "s3": "S3 refuses",
    "other": "for another reason",
}


def _reading_mend(
    setup: Setup,
    check: str,
    function: str,
    barrier: str,
    key: str,
    failure: Failure,
    mends: Mapping[str, Mend],
    otherwise: Mend | None,
) -> Mend:
    if barrier == "owner":
        return ownership_mend(setup)
    if barrier == "kms" and not key:
        named = _KEY.search(failure["message"])
        key = named[0] if named else ""
    name = key if barrier == "kms" else "s3"
    told = _refused(setup, check, function, failure, mends.get(name), key, otherwise)
    if told.mend is not None and told.status == "missing":
        return told.mend
    return mends.get(name) or log_archive_mend()


# --- log-archive.size -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reach:
    """Whether a window is within what Access Analyzer reads: surely, surely not, or neither."""

    fits: bool
    cannot_fit: bool


def judge_size(
    accounts: Mapping[str, AccountLogs],
    reach: Mapping[str, Reach],
    *,
    days: int,
    asks_access_analyzer: bool,
    not_listed: Sequence[str],
) -> Result:
    """Say how much the window of each account holds, largest first, and who can read it.

    ``not_listed``: the accounts whose log files could not be listed, or not in time.
    """
    check = "log-archive.size"
    if not accounts:
        return cannot_tell(
            check,
            "",
            "How much there is cannot be told: no log file could be listed.",
            look_again("Mend what is said of listing first."),
        )
    by_size = sorted(accounts, key=lambda each: (-accounts[each]["bytes"], each))
    total_files = sum(each["files"] for each in accounts.values())
    total = sum(each["bytes"] for each in accounts.values())
    largest = [
        f"{each} {accounts[each]['files']:,} ({accounts[each]['bytes'] / 1e9:,.1f} GB)"
        for each in by_size
    ]
    says = [
        f"about {total_files:,} log files, {total / 1e9:,.1f} GB as stored, in {days} days of the "
        f"{several(len(accounts), 'account')} listed",
        f"most in {listed(largest, 3)}",
    ]
    over = [each for each in by_size if reach[each].cannot_fit]
    perhaps = [each for each in by_size if not reach[each].fits and not reach[each].cannot_fit]
    if asks_access_analyzer:
        if over:
            says.append(f"too much for Access Analyzer: {listed(over)}; Pare's own reading carries "
                        "them")  # fmt: skip
        if perhaps:
            says.append(f"perhaps too much for it: {listed(perhaps)}")
        if not over and not perhaps:
            says.append("none has too much for Access Analyzer")
    facts: dict[str, Any] = {
        "files": total_files,
        "bytes": total,
        "accounts": {
            each: {"files": accounts[each]["files"], "bytes": accounts[each]["bytes"]}
            for each in by_size
        },
        "too_large": over,
        "perhaps_too_large": perhaps,
    }
    if not_listed:
        return cannot_tell(
            check,
            "",
            f"{sentence('; '.join(says))} How much there is of "
            f"{several(len(not_listed), 'account')} more is not known: {listed(not_listed)}.",
            look_again("Mend what is said of listing first."),
            **facts,
            not_listed=list(not_listed),
        )
    return ok(check, "", "; ".join(says), **facts)
