"""What findings are judged, told, archived and watched by: the settings as the steps take them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NotRequired, TypedDict

if TYPE_CHECKING:
    from pare.findings.archive_rules import RuleJson


class FindingTermsJson(TypedDict):
    """``settings.finding_terms()``: each step takes all of it, so that there is one shape."""

    organization_id: str
    hub_account_id: str
    home_region: str
    governed_regions: list[str]
    owner_tag_keys: list[str]
    default_owner: str
    partner_accounts: dict[str, str]  # names by account id
    settle_seconds: int
    max_messages_per_hour: int
    remind_after_days: dict[str, int]  # by severity; low has none
    digest: Literal["daily", "weekly"]
    digest_hour: int  # of the local day
    time_zone: str  # IANA's name
    language: Literal["en", "ja"]
    routed_owners: list[str]
    cool_down_days: int
    expects_unused_analyzer: bool
    has_unused_analyzer: bool
    # Whether the settings create them; none in the terms of an earlier version.
    creates_external_analyzer: NotRequired[bool]
    creates_unused_analyzer: NotRequired[bool]
    announce_days: int
    archive_rules: list[RuleJson]
