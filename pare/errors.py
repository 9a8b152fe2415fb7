"""The errors Pare raises, as one tree.

The class name is a contract: Step Functions matches it in ``ErrorEquals``, and a run record and a
message to people carry it. Every class says what a person should do next in ``what_to_do``.

- PareError
  - SettingsError
  - FindingParseError
    - UnknownFindingError
  - FindingNotRecordedError
  - PrincipalNotFoundError
  - MemberAccountError
  - AccessAnalyzerQuotaError
  - AccessAnalyzerBusyError
  - PolicyGenerationConflictError
  - PolicyGenerationTimeoutError
  - ThrottledError
  - LastAccessedError
  - InventoryError
  - EvidenceError
  - ArnParseError
  - AwsCallError
  - AwsServiceError
  - TrailNotSupportedError
  - ConditionFailedError
  - MessageUnknownError
  - MessageError
  - PolicyParseError
  - PolicySizeError
  - ActivityError
  - ActivityConflictError
  - ActivityMissingError
  - TrailReadError
  - NotDeployedError
  - ActivityFileError
  - CredentialsError
  - WorkerError
  - OutputFileError
  - LogSourceError
    - LogWindowError
  - PolicyInputError
  - AuthorizationDetailsError
  - LimitsError
  - SnapshotError
  - NoInventoryError
  - NotInInventoryError
"""

from __future__ import annotations


class PareError(Exception):
    """Something Pare knows about went wrong; ``str()`` is one clear sentence."""

    what_to_do = (
        "Look at the execution in the Step Functions console; the failed step has the cause."
    )


class SettingsError(PareError):
    """The settings file is not valid."""

    what_to_do = "Mend config/pare.yaml as the message says, then run the command again."


class FindingParseError(PareError):
    """A finding event did not have the shape AWS documents."""

    what_to_do = (
        "The event is kept as it came (see the run record). If Access Analyzer sent it, report it "
        "to the maintainers; if a person or a script sent it, mend the sender."
    )


class UnknownFindingError(FindingParseError):
    """A finding event has a detail-type or finding type this version does not know."""

    what_to_do = (
        "The event is kept as it came (see the run record). AWS may have added a kind of finding: "
        "look at it in the Access Analyzer console, and update Pare."
    )


class FindingNotRecordedError(PareError):
    """A call came before the finding that it is about."""

    what_to_do = (
        "Nothing at once: the step is retried for some minutes. If it stays, the finding is "
        "recorded without who archived it; CloudTrail has the call."
    )


class PrincipalNotFoundError(PareError):
    """The principal does not exist (any more) in its account."""

    what_to_do = (
        "Nothing, if it was deleted on purpose: Access Analyzer resolves the finding itself."
    )


class MemberAccountError(PareError):
    """A member account could not be entered, or refused a call there."""

    what_to_do = (
        "`pare doctor --only members` names what the account lacks: its member stack, a right of "
        "the role PareMember, or a service control policy that keeps the hub out."
    )


class AccessAnalyzerQuotaError(PareError):
    """Access Analyzer refused a policy generation because a quota of the account is used up."""

    what_to_do = (
        "Start the policy workflow again tomorrow: AWS allows one policy generation at a time and "
        "50 a day (5 in some Regions) per account, and no increase."
    )


class AccessAnalyzerBusyError(PareError):
    """Access Analyzer could not be asked at once, and this proposal does not wait for its turn."""

    what_to_do = (
        "Nothing: the proposal rests on Pare's own reading of CloudTrail. To have both, start the "
        "policy workflow again later, or set evidence: both in config/pare.yaml, which waits."
    )


class PolicyGenerationConflictError(PareError):
    """Access Analyzer has a conflicting policy generation under way."""

    what_to_do = (
        "Wait until the running policy generation has ended, then start the workflow again."
    )


class PolicyGenerationTimeoutError(PareError):
    """A policy generation job was still running when its time was up."""

    what_to_do = "Start the policy workflow again; if it happens twice, use a shorter window."


class ThrottledError(PareError):
    """AWS throttled a call more often than the SDK's own retries allow."""

    what_to_do = (
        "Nothing at once: the step is retried with back-off. If it stays, space the runs out."
    )


class LastAccessedError(PareError):
    """Last accessed information could not be read; what is missing is unknown, not unused."""

    what_to_do = (
        "Start the workflow again; until then nothing may be called unused for this principal."
    )


class InventoryError(PareError):
    """The inventory could not be made."""

    what_to_do = "Start the inventory workflow again for the same period."


class EvidenceError(PareError):
    """Evidence that a later step needs is missing or unreadable."""

    what_to_do = "Check the life cycle of the evidence bucket, then start the workflow again."


class PolicyParseError(PareError):
    """A policy document is not one IAM would accept, or has an element Pare does not know."""

    what_to_do = (
        "Check the policy with `aws accessanalyzer validate-policy`. If AWS accepts it, report it "
        "to the maintainers; until then the principal's permissions are unknown."
    )


class PolicySizeError(PareError):
    """A policy document cannot be cut into documents that fit IAM's quota."""

    what_to_do = "Shorten the statement the message names: fold its resources or its conditions."


class ActivityFileError(PareError):
    """A file is not an activity file, or is damaged."""

    what_to_do = "Make it anew from the logs: `pare activity LOGS -o activity.ndjson.gz`."


class CredentialsError(PareError):
    """There are no AWS credentials, or they have expired."""

    what_to_do = "Set AWS_PROFILE, or run `aws sso login`, and try again."


class WorkerError(PareError):
    """One of several processes that share the work ended before it was done."""

    what_to_do = "See what it printed; if nothing, memory may have run out: try with --jobs 1."


class OutputFileError(PareError):
    """A file that was asked for cannot be written."""

    what_to_do = "Check the folder, and the space on its disk."


class LogSourceError(PareError):
    """The logs that were named are not there, or may not be read."""

    what_to_do = "Check the path or the s3:// address, and that you may read it."


class LogWindowError(LogSourceError):
    """There are logs, and none of them is of the window asked for."""

    what_to_do = "Move --since or --until."


class PolicyInputError(PareError):
    """Something that was given to `pare policy` is not there, or is not what it should be."""

    what_to_do = "See `pare policy COMMAND --help`."


class ArnParseError(PareError):
    """A text is not an ARN of the kind that was asked for."""

    what_to_do = "Give the full ARN, as the IAM console or `aws iam get-role` prints it."


class AwsCallError(PareError):
    """AWS refused a call for a reason Pare has no other name for."""

    what_to_do = "Read the message: it is AWS's own. A missing permission is named in it."


class ConditionFailedError(PareError):
    """A conditional write found the item other than it expected."""

    what_to_do = "Nothing: another execution did the same work first."


class MessageUnknownError(PareError):
    """AWS's answer to a message for people was lost: nobody knows whether it went out."""

    what_to_do = (
        "Ask a subscriber whether the message came, and pass it on if not: Pare does not send it "
        "again. What it said was published to the machines topic."
    )


class MessageError(PareError):
    """Some messages of a round were refused by SNS, or their cards could not be told of them."""

    what_to_do = (
        "See the error that is named: most often somebody changed the key or the policy of a "
        "topic. Nothing is lost: the cards stay due, and the next hourly round tells them; what "
        "people may have got already says 'perhaps told before'."
    )


class AwsServiceError(PareError):
    """AWS failed by itself, or could not be reached."""

    what_to_do = (
        "Nothing at once: the step is retried. If it stays, look at the AWS Health Dashboard."
    )


class TrailNotSupportedError(PareError):
    """Access Analyzer does not read this kind of trail."""

    what_to_do = (
        "Give Pare an organization trail that Control Tower did not make (README.md): "
        "Access Analyzer refuses Control Tower's own."
    )


class ActivityError(PareError):
    """The activity workflow was started with days that it cannot read."""

    what_to_do = (
        "Start it again with first_date and last_date such as 2026-11-01, not after yesterday, or "
        "let `pare backfill --days N` do so."
    )


class ActivityConflictError(PareError):
    """Another run wrote the digest of the same account and day at the same time."""

    what_to_do = "Nothing: the step begins again with what the other run wrote."


class ActivityMissingError(PareError):
    """There is not one nightly digest of the account in the window of a proposal."""

    what_to_do = (
        "Let Pare read the trail's past days: `pare backfill --days 90`. Then start the policy "
        "workflow again."
    )


class TrailReadError(PareError):
    """The log files of the trail may not be listed or read."""

    what_to_do = (
        "Let Pare's functions read the trail bucket and its key: docs/operations.md, "
        "'Let Pare read the trail', has the statements. Then start the workflow again."
    )


class NotDeployedError(PareError):
    """The command needs the deployed app, and it is not where the credentials look."""

    what_to_do = (
        "Use credentials of the hub account and its home Region (AWS_PROFILE, AWS_REGION), or "
        "deploy Pare first (README.md)."
    )


class AuthorizationDetailsError(PareError):
    """A file is not what ``aws iam get-account-authorization-details`` prints."""

    what_to_do = (
        "Make it anew, without --filter and --query, with credentials of the principal's account: "
        "`aws iam get-account-authorization-details > current.json`."
    )


class LimitsError(PareError):
    """A file of service or resource control policies is not one, or cannot be meant so."""

    what_to_do = (
        "Give for each level, from the root to the account, all its policies with FullAWSAccess: "
        "docs/policies.md shows the shapes."
    )


class SnapshotError(PareError):
    """A snapshot of the inventory that was named is not there, or cannot be read."""

    what_to_do = (
        "Give principals.ndjson.gz of a period, or the period's folder as `aws s3 cp --recursive` "
        "brings it (docs/inventory.md)."
    )


class NoInventoryError(PareError):
    """The deployed Pare has made no inventory (of that month) yet."""

    what_to_do = "Make one: `pare inventory run --wait`."


class NotInInventoryError(PareError):
    """The inventory has no such user or role; the message says why, as far as it is known."""

    what_to_do = "`pare inventory show` lists those it has."
