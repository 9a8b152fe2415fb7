"""Who calls, and whether they may: answered by ministack's own evaluator, denied as AWS denies."""

from __future__ import annotations

from dataclasses import dataclass

from local.emulator import upstream
from local.emulator.wire import AwsError, Request, access_denied


@dataclass(frozen=True, slots=True)
class Caller:
    """The authenticated caller of one request."""

    identity: upstream.Identity

    @property
    def account_id(self) -> str:
        """The account the call is made in."""
        return self.identity.account_id

    @property
    def region(self) -> str:
        """The Region the call is made in."""
        return self.identity.region

    @property
    def arn(self) -> str:
        """The caller's ARN; of a role session the assumed-role ARN."""
        return self.identity.arn

    @property
    def session(self) -> str:
        """What a last-accessed job is bound to: the session of a role, else the user (facts §3)."""
        if self.identity.kind in {"AssumedRole", "FederatedUser"}:
            return f"{self.arn}#{self.identity.access_key_id}"
        return self.arn

    def require(self, action: str, resource: str, context: dict[str, str] | None = None) -> None:
        """Raise AccessDeniedException naming principal, action and resource, unless allowed."""
        denial = upstream.denial(self.identity, action, resource, context)
        if denial is None:
            return
        reason = (
            "with an explicit deny in an identity-based policy"
            if denial.explicit
            else f"because no identity-based policy allows the {action} action"
        )
        raise access_denied(
            f"User: {self.arn} is not authorized to perform: {action} "
            f"on resource: {resource} {reason}"
        )


def identify(request: Request) -> Caller:
    """Return the caller; raises the error AWS answers for bad credentials."""
    found = upstream.authenticate(request)
    if isinstance(found, upstream.AuthenticationFailure):
        raise AwsError(found.code, found.message, 403)
    return Caller(found)
