"""All state of the AWS parts we add, in one place, so that a reset is one call."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from local.emulator import organization
from local.emulator.access_analyzer import AccessAnalyzer
from local.emulator.alternate_contacts import AlternateContacts
from local.emulator.authorization_details import AuthorizationDetails
from local.emulator.credential_report import CredentialReports
from local.emulator.faults import FaultBook
from local.emulator.last_accessed import LastAccessed
from local.emulator.service_events import ServiceEvents
from local.emulator.service_quotas import ServiceQuotas
from local.emulator.stack_set_api import StackSetApi
from local.emulator.stack_sets import StackSets
from local.emulator.usage import UsageBook

if TYPE_CHECKING:
    import asyncio
    from datetime import datetime

    from local.emulator.settings import Settings
    from local.emulator.trail import TrailReader


@dataclass(slots=True)
class Emulation:
    """The emulated services we add, their settings, faults and planted usage."""

    first_settings: Settings
    trail_reader: TrailReader
    settings: Settings = field(init=False)
    faults: FaultBook = field(init=False)
    usage: UsageBook = field(init=False)
    access_analyzer: AccessAnalyzer = field(init=False)
    last_accessed: LastAccessed = field(init=False)
    credential_reports: CredentialReports = field(init=False)
    authorization_details: AuthorizationDetails = field(init=False)
    alternate_contacts: AlternateContacts = field(init=False)
    service_events: ServiceEvents = field(init=False)
    service_quotas: ServiceQuotas = field(init=False)
    stack_sets: StackSets = field(init=False)
    stack_set_api: StackSetApi = field(init=False)
    # The server's, from its start on.
    loop: asyncio.AbstractEventLoop = field(init=False)

    def __post_init__(self) -> None:
        self.faults = FaultBook()
        self.service_events = self._new_service_events()
        self.stack_sets = StackSets(self)
        organization.tell_of_accounts(lambda account: self.stack_sets.account_changed(account))
        self.reset()

    def reset(self) -> None:
        """Forget everything: settings, faults, usage, analyzers, findings, jobs and reports."""
        self.settings = self.first_settings
        self.faults.clear()
        self.usage = UsageBook()
        self.service_events.end()
        self.service_events = self._new_service_events()
        self.last_accessed = LastAccessed(self)
        self.credential_reports = CredentialReports(self)
        self.authorization_details = AuthorizationDetails(self)
        self.alternate_contacts = AlternateContacts(self)
        self.service_quotas = ServiceQuotas(self)
        self.access_analyzer = AccessAnalyzer(self)
        self.stack_sets.end()
        self.stack_sets = StackSets(self)
        self.stack_set_api = StackSetApi(self)

    def now(self) -> datetime:
        """Return the emulation's time."""
        return self.settings.now()

    def _new_service_events(self) -> ServiceEvents:
        return ServiceEvents(
            lambda: self.settings.event_faults,
            lambda: self.settings.events_wait_above_executions,
        )
