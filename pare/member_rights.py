"""The rights of the member role as one text, the same of the template and of what IAM has.

IAM returns an inline policy as it was stored, but neither the order of keys nor whether one action
stands alone or in a list says anything, and CloudFormation may change both on the way.
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

# Where the id of the role's own account stands, in a text that is of every account.
ACCOUNT: Final = "{account_id}"
_SETS: Final = ("Action", "NotAction", "Resource", "NotResource")


def rights_in(template: str, account_id: str) -> str:
    """Return the hash of the rights that the template gives the member role of an account.

    ``template``: the documents as JSON, with ``ACCOUNT`` for the id of the role's own account.
    """
    return rights_hash(json.loads(template.replace(ACCOUNT, account_id)))


def rights_hash(documents: Iterable[Any], boundary: str | None = None) -> str:
    """Return what tells a role's rights from others: 12 hexadecimal digits.

    Of the documents of its inline policies, and of the ARN of its permissions boundary.
    """
    statements = sorted(
        json.dumps(_plain(statement), sort_keys=True)
        for document in documents
        for statement in _listed(document.get("Statement"))
    )
    text = json.dumps([boundary, statements])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _plain(statement: dict[str, Any]) -> dict[str, Any]:
    """Return a statement with its actions and resources as sorted lists."""
    plain = {
        name: sorted(_listed(each)) if name in _SETS else each for name, each in statement.items()
    }
    condition = plain.get("Condition")
    if isinstance(condition, dict):
        plain["Condition"] = {
            operator: {key: sorted(map(str, _listed(each))) for key, each in keys.items()}
            for operator, keys in condition.items()
        }
    return plain


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]
