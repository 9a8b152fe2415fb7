"""Addresses of the AWS console that a message about a finding can name.

The table ``pare/data/console_links.json`` has only forms for which there is evidence; of anything
else there is no link. Who opens one must be signed in to the account it is about.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pare.data_tables import read_table

if TYPE_CHECKING:
    from pare.findings.model import FindingJson

# Of roles and users (the widest), buckets and findings.
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
_NAME = re.compile(r"[A-Za-z0-9+=,.@_-]{0,128}")
# Of a role or user, whose path may have any sign of ASCII.
_ARN = re.compile(r"arn:[a-z-]+:iam::[0-9]{12}:(?:role|user)/[!-~]{1,576}")
_REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-[0-9]+")


def resource_link(finding: FindingJson, *, partition: str) -> str | None:
    """Return the page of a bucket, role or user where its permissions are seen."""
    return _link(finding["resource_type"], finding, name_of(finding["resource"]), partition)


def finding_link(finding: FindingJson, *, partition: str) -> str | None:
    """Return Access Analyzer's page of a finding, or of all that is unused of a role or user.

    None for Pare's own findings, and for internal access: of that page no address is known.
    """
    if finding["source"] != "access-analyzer":
        return None
    name = finding["resource" if finding["access"] == "unused" else "finding_id"]
    return _link(f"finding.{finding['access']}", finding, name, partition)


def name_of(resource: str) -> str:
    """Return the name people call a resource by: the last of what its ARN says of it.

    A role without its path, a queue, a bucket; a repository with its namespace, a stream with its
    table. What is no ARN is its own name.
    """
    parts = resource.split(":", 5)
    if len(parts) < 6 or parts[0] != "arn":
        return resource
    service, rest = parts[2], parts[5]
    if service in {"access-analyzer", "iam"}:
        return rest.rpartition("/")[2]
    if service in {"s3", "sns", "sqs"}:
        return rest
    kind, separator, name = rest.partition(":" if ":" in rest.partition("/")[0] else "/")
    return name if separator and kind else rest


def _link(key: str, finding: FindingJson, name: str, partition: str) -> str | None:
    """Return a link of the table with Region and name put in, each encoded whole."""
    table, region = _table(), finding["region"]
    host = table["hosts"].get(partition)
    if key not in table["links"] or host is None:
        return None
    form = _ARN if table["links"][key].get("name") == "ARN" else _NAME
    if not _REGION.fullmatch(region) or not form.fullmatch(name):
        return None  # no Region, or no name of AWS
    path: str = table["links"][key]["path"]
    encoded = quote(name, safe="")
    return f"https://{host}{path.replace('{region}', region).replace('{name}', encoded)}"


@cache
def _table() -> Any:
    return read_table("console_links.json", schema_version=1)
