"""ARNs taken apart, in every partition."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pare.errors import ArnParseError

_ACCOUNT_ID = re.compile(r"[0-9]{12}")


@dataclass(frozen=True, slots=True)
class PrincipalArn:
    """The ARN of an IAM user or role: ``arn:PARTITION:iam::ACCOUNT:role/path/Name``."""

    arn: str
    partition: str
    account_id: str
    entity: str  # "role" or "user"
    path: str  # "/" or "/service-role/"
    name: str

    @property
    def storage_prefix(self) -> str:
        """Return where this principal's objects lie: ``<account>/role/path/Name``."""
        return f"{self.account_id}/{self.entity}{self.path}{self.name}"


def parse_principal_arn(arn: str) -> PrincipalArn:
    """Return the parts of a user's or role's ARN; raises ArnParseError for anything else."""
    parts = arn.split(":", 5)
    if len(parts) == 6 and parts[0] == "arn" and parts[2] == "iam":
        entity, slash, rest = parts[5].partition("/")
        path, _, name = rest.rpartition("/")
        is_entity = entity in {"role", "user"} and slash and name
        if is_entity and _ACCOUNT_ID.fullmatch(parts[4]):
            return PrincipalArn(arn, parts[1], parts[4], entity, f"/{path}/" if path else "/", name)
    raise ArnParseError(f"{arn!r} is not the ARN of an IAM user or role")


def region_of(arn: str) -> str:
    """Return the Region in an ARN, or an empty text where it has none."""
    parts = arn.split(":", 5)
    return parts[3] if len(parts) == 6 else ""
