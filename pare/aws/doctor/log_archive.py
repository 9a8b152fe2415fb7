"""Reads the trail's bucket: its own account says what it lets in, the functions whom it lets in."""

from __future__ import annotations

from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Any, cast

from botocore.exceptions import ClientError

from pare.aws.calls import error_code, error_message
from pare.aws.doctor.trail import trail_arns
from pare.aws.trail_size import TrailSize
from pare.doctor.elsewhere import UNASKED, shown_above
from pare.doctor.log_archive import (
    Reach,
    account_in,
    awss_own_mend,
    is_awss_own,
    judge_bucket,
    judge_bucket_policy,
    judge_key_policy,
    judge_keys,
    judge_listing,
    judge_ownership,
    judge_reading,
    judge_size,
    keys_used,
)
from pare.errors import CredentialsError, PareError
from pare.log_archive.statements import DECRYPTS, LISTS, READS
from pare.message import several

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pare.aws.doctor.context import Examination
    from pare.doctor.answers import (
        AccountLogs,
        BucketAnswer,
        Failure,
        KeyAnswer,
        ListingAnswer,
        LogArchiveAnswer,
        ReadingAnswer,
        ReadObject,
        SampleJson,
        UnreadObject,
    )
    from pare.doctor.model import Mend, Result

# Enters the log archive account: it has the longest time of those that may.
ASKED = "list_principals"
# How long a function may look before it answers: the doctor waits no longer for one answer.
SECONDS = 120
# How often it is asked for the accounts that it did not reach.
ROUNDS = 2
# It lists a call a Region of each account, ten accounts at a time: of so many in half a minute.
ACCOUNTS_A_PROBE = 100
FILES_A_PROBE = 1_000


def examine(examination: Examination) -> Iterator[Result]:
    """Yield what can be read of the trail's log files, and what stands in the way."""
    setup = examination.setup
    last = examination.now.astimezone(UTC).date() - timedelta(days=1)
    window = {
        "first_date": f"{last - timedelta(days=setup.window_days - 1)}",
        "last_date": f"{last}",
        "seconds": SECONDS,
    }
    expected = _expected(examination)
    listing = _listing(examination, window, expected)
    logs = _logs(listing)
    second = _second_listing(examination, window, sorted(logs)[:1] or expected[:1])
    samples = [each for account in logs.values() for each in account["samples"]]
    examination.say(f"reading {several(len(samples), 'log file')} as DigestLogs does")
    reading = _reading(examination, samples, listing)
    objects = reading["objects"] if reading["ok"] else {}
    examination.say("reading the bucket's policy and its keys'")
    keys = sorted({*setup.trail.kms_key_arns, *keys_used(samples, objects)})
    archive = _archive(examination, keys, _trails_with_keys(examination, samples, objects))
    bucket = _bucket(archive)
    known_keys = {arn: _key(archive, arn) for arn in keys}
    is_listed = second["ok"] and listing["ok"] and len(logs) == len(listing["accounts"]) > 0
    proven = {
        *([LISTS] if is_listed else []),
        *([READS] if objects and all(each["ok"] for each in objects.values()) else []),
    }

    yield judge_bucket(setup, bucket["location"], bucket["encryption"])
    yield judge_ownership(setup, bucket, samples, objects)
    policy = judge_bucket_policy(setup, bucket["policy"], proven)
    yield policy
    trails = archive["trails"] if archive["ok"] else {}
    yield from judge_keys(setup, samples, objects, keys=known_keys, trails=trails)
    mends: dict[str, Mend] = {}
    if _stands_in_the_way(policy) and policy.mend is not None:
        mends["s3"] = shown_above(policy.mend, "The bucket's policy")
    for arn, known in known_keys.items():
        if is_awss_own(known):
            mends[arn] = awss_own_mend(setup, arn)
        for result in judge_key_policy(setup, arn, known, _proven_of(arn, objects)):
            yield result
            if _stands_in_the_way(result) and result.mend is not None:
                mends.setdefault(arn, shown_above(result.mend, f"The policy of {arn}"))
    yield from judge_listing(
        setup, "ListLogs", listing, accounts=expected, policy_mend=mends.get("s3")
    )
    yield from judge_listing(
        setup, "ChooseRoute", second, accounts=None, policy_mend=mends.get("s3")
    )
    yield from judge_reading(setup, "DigestLogs", reading, samples, bucket=bucket, mends=mends)
    yield judge_size(
        logs,
        {name: _reach(each) for name, each in logs.items()},
        days=setup.window_days,
        asks_access_analyzer=not setup.trail.made_by_control_tower,
        not_listed=_not_listed(listing),
    )


def _stands_in_the_way(result: Result) -> bool:
    """Return whether a policy's result says, or suspects, why somebody is refused."""
    return result.status == "missing" or bool(result.facts.get("doubts"))


def _proven_of(arn: str, objects: Mapping[str, ReadObject | UnreadObject]) -> set[str]:
    """Return the Sids of a key's statements that did what they are there for."""
    of_key = [each["ok"] for each in objects.values() if each["kms_key_arn"] == arn]
    return {DECRYPTS} if of_key and all(of_key) else set()


def _expected(examination: Examination) -> list[str]:
    """Return the accounts that should have log files; none where nobody says which there are."""
    try:
        return examination.looked_at_accounts
    except CredentialsError:
        raise
    except PareError:
        return []  # the organization's own group says so


def _trails_with_keys(
    examination: Examination,
    samples: Sequence[SampleJson],
    objects: Mapping[str, ReadObject | UnreadObject],
) -> list[str]:
    """Return the trails whose log files are encrypted with a key; the ARNs."""
    if not keys_used(samples, objects):
        return []
    if examination.setup.trail.is_organization_trail:
        return [examination.setup.trail.arn]
    used = keys_used(samples, objects).values()
    accounts = {account_in(each["key"]) for files in used for each in files}
    return [each for each in trail_arns(examination) if each.split(":")[4] in accounts]


# --- Asking ---------------------------------------------------------------------------------------


def _probe(examination: Examination, function: str, request: dict[str, Any]) -> dict[str, Any]:
    """Return a function's answer; a Failure where it could not be asked."""
    try:
        return examination.probe(function, request)
    except CredentialsError:
        raise
    except PareError as error:
        cause = error.__cause__
        action = f"lambda:InvokeFunction {function}"
        if isinstance(cause, ClientError):
            code, message = error_code(cause), error_message(cause)
            action = str(error).partition(": ")[0]  # or that which finds the function's name
        else:
            code, message = type(error).__name__, str(error)
        return {
            "ok": False,
            "action": action,
            "code": f"{UNASKED}{code}",  # not what S3 said
            "message": message,
        }


def _listing(
    examination: Examination, window: Mapping[str, Any], account_ids: Sequence[str]
) -> ListingAnswer | Failure:
    """Return what ListLogs lists of these accounts; of all with log files, where none are known."""
    whole: ListingAnswer = {
        "ok": True, "region": None, "accounts": {}, "missing": [], "not_reached": []
    }  # fmt: skip
    some = [
        list(account_ids[start : start + ACCOUNTS_A_PROBE])
        for start in range(0, len(account_ids), ACCOUNTS_A_PROBE)
    ]
    asked: list[list[str] | None] = [*some] if some else [None]
    for _ in range(ROUNDS):
        answers = examination.side_by_side(
            "accounts' log files listed as ListLogs does",
            asked,
            lambda each: _listed(examination, "list_logs", window, each),
            weight=lambda each: len(each or "1"),
        )
        failures = [each for each in answers if not each["ok"]]
        if len(failures) == len(answers) and not whole["accounts"]:
            return failures[0]
        left: list[list[str] | None] = []
        for chunk, answer in zip(asked, answers, strict=True):
            if not answer["ok"]:
                left.append(chunk)
                continue
            whole["region"] = whole["region"] or answer["region"]
            whole["accounts"] |= answer["accounts"]
            whole["missing"] += answer["missing"]
            if answer["not_reached"]:
                left.append(answer["not_reached"])
        asked = left
        whole["not_reached"] = [name for chunk in left for name in chunk or ()]
        if not asked:
            break
    return whole


def _listed(
    examination: Examination,
    function: str,
    window: Mapping[str, Any],
    account_ids: Sequence[str] | None,
) -> ListingAnswer | Failure:
    named = {} if account_ids is None else {"account_ids": list(account_ids)}
    answer = _probe(examination, function, {"kind": "list trail", **window, **named})
    return cast("ListingAnswer | Failure", answer)


def _second_listing(
    examination: Examination, window: Mapping[str, Any], account_ids: Sequence[str]
) -> ListingAnswer | Failure:
    """Return what the other function lists that may: one account is enough to know it can."""
    return _listed(examination, "choose_route", window, account_ids)


def _logs(listing: ListingAnswer | Failure) -> dict[str, AccountLogs]:
    found: dict[str, AccountLogs] = {}
    if listing["ok"]:
        for name, each in sorted(listing["accounts"].items()):
            if each["ok"]:
                found[name] = each
    return found


def _not_listed(listing: ListingAnswer | Failure) -> list[str]:
    """Return the accounts that were asked for, and of which nobody knows what is there."""
    if not listing["ok"]:
        return []  # none at all is: judge_size says so by itself
    failed = [name for name, each in listing["accounts"].items() if not each["ok"]]
    return sorted({*failed, *listing["not_reached"]})


def _reading(
    examination: Examination, samples: Sequence[SampleJson], listing: ListingAnswer | Failure
) -> ReadingAnswer | Failure:
    setup = examination.setup
    region = (listing["region"] if listing["ok"] else None) or setup.trail.bucket_region
    whole: ReadingAnswer = {"ok": True, "objects": {}, "not_reached": []}
    keys = [each["key"] for each in samples]
    for start in range(0, len(keys), FILES_A_PROBE):
        answer = cast(
            "ReadingAnswer | Failure",
            _probe(
                examination,
                "digest_logs",
                {
                    "kind": "read trail",
                    "keys": keys[start : start + FILES_A_PROBE],
                    "region": region,
                    "seconds": SECONDS,
                },
            ),
        )
        if not answer["ok"]:
            return answer
        whole["objects"] |= answer["objects"]
        whole["not_reached"] += answer["not_reached"]
    return whole


def _archive(
    examination: Examination, keys: Sequence[str], trails: Sequence[str]
) -> LogArchiveAnswer | Failure:
    setup = examination.setup
    answer = _probe(
        examination,
        ASKED,
        {
            "kind": "log archive",
            "bucket": {
                "name": setup.trail.bucket,
                "account_id": setup.log_archive_account_id,
                "region": setup.trail.bucket_region,
            },
            "key_arns": list(keys),
            "trail_arns": list(trails),
            "seconds": SECONDS,
        },
    )
    return cast("LogArchiveAnswer | Failure", answer)


def _bucket(archive: LogArchiveAnswer | Failure) -> BucketAnswer:
    """Return what is known of the bucket; where nothing could be asked, that failure of each."""
    if archive["ok"] and archive["bucket"] is not None:
        return archive["bucket"]
    failure = cast("Failure", archive)
    return {
        "location": failure,
        "policy": failure,
        "ownership": failure,
        "encryption": failure,
        "owner": failure,
    }


def _key(archive: LogArchiveAnswer | Failure, arn: str) -> KeyAnswer:
    if not archive["ok"]:
        return {"key": archive, "policy": archive}
    if arn in archive["keys"]:
        return archive["keys"][arn]
    failure: Failure = {
        "ok": False,
        "action": "kms:GetKeyPolicy",
        "code": "NotReached",
        "message": "no time was left to look at this key",
    }
    return {"key": failure, "policy": failure}


def _reach(logs: AccountLogs) -> Reach:
    size = TrailSize(logs["files"], logs["bytes"], is_counted_out=True)
    return Reach(size.fits, size.cannot_fit)
