"""Every other governed Region of the hub account: what Access Analyzer says there, to the hub bus.

No assets and no bootstrap, as PareMember (docs/decisions/0008): the Region may have none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import aws_cdk as cdk
from aws_cdk import aws_accessanalyzer as accessanalyzer
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam

from infra.event_sources import (
    ARCHIVING_CALLS,
    CALL_DETAIL_TYPES,
    OTHER_DETAIL_TYPES,
    SOURCE,
    WATCHED_CALLS,
    call_events,
    dead_letter_queue,
    hub_test_events,
)
from infra.setup import tell_doctor

if TYPE_CHECKING:
    from constructs import Construct

    from infra.settings import Settings


def region_stack_name(region: str) -> str:
    """Return the name of a Region's stack."""
    return f"PareRegion-{region}"


# The rules, by construct id. They are named, because the role trusts them by name: the names that
# CloudFormation makes up have 64 characters at most, and it cuts the stack's name for that.
ANALYZER_EVENT, ANALYZER_CALL, TEST_EVENT = "AnalyzerEvent", "AnalyzerCall", "TestEvent"


def rule_name(name: str) -> str:
    """Return the name of a rule, the same in every Region."""
    return f"PareRegion-{name}"


class RegionStack(cdk.Stack):
    """Rules from the default bus to the hub bus, one hop; the external-access analyzer if wanted.

    Which events Pare acts on is decided by the rules of the hub bus, which know its roles: here
    goes all that one of them could want.
    """

    def __init__(
        self, scope: Construct, construct_id: str, *, settings: Settings, **kwargs: Any
    ) -> None:
        super().__init__(
            scope,
            construct_id,
            description="Pare: Access Analyzer events of this Region, to the hub bus",
            **kwargs,
        )
        tell_doctor(self)
        # From its names: no stack of another Region exports anything to this one. EventBridge takes
        # any bus as a target, there or not: this stack comes before ParePipeline (app.py).
        hub_bus_arn = self.format_arn(
            service="events",
            region=settings.home_region,
            account=settings.hub_account_id,
            resource="event-bus",
            resource_name=settings.names.bus_name,
        )
        target = targets.EventBus(
            events.EventBus.from_event_bus_arn(self, "HubBus", hub_bus_arn),
            role=self._role(hub_bus_arn).without_policy_updates(),
            # Named, so that the dashboard in the home Region can show it. An alarm could not tell
            # anybody there, and what waits here the daily reconcile finds by itself.
            dead_letter_queue=dead_letter_queue(
                self, "DeadLetters", queue_name=settings.names.region_dead_letters_name
            ),
        )
        for name, description, pattern in (
            (ANALYZER_EVENT, "Findings and previews of Access Analyzer, kinds yet unknown too",
             analyzer_events()),
            (ANALYZER_CALL, "Findings, analyzers and archive rules changed in this Region",
             call_events(settings, [*ARCHIVING_CALLS, *WATCHED_CALLS])),
            (TEST_EVENT, "Test findings, sent by the hub account itself",
             hub_test_events(settings)),
        ):  # fmt: skip
            events.Rule(
                self,
                f"{name}Rule",
                rule_name=rule_name(name),
                description=description,
                event_pattern=pattern,
                targets=[target],
            )
        if settings.analyzers.create_external_access:
            external_access_analyzer(self)

    def _role(self, hub_bus_arn: str) -> iam.Role:
        """Return the role that a target in another Region must have, for that one bus.

        https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-cross-region.html
        """
        rules = [
            self.format_arn(service="events", resource="rule", resource_name=rule_name(name))
            for name in (ANALYZER_EVENT, ANALYZER_CALL, TEST_EVENT)
        ]
        role = iam.Role(
            self,
            "ForwardRole",
            description="Pare: events of this Region, to the hub bus",
            # Not for anybody else's rule: the confused deputy.
            assumed_by=iam.ServicePrincipal(
                "events.amazonaws.com",
                conditions={
                    "StringEquals": {"aws:SourceAccount": self.account},
                    "ArnEquals": {"aws:SourceArn": rules},
                },
            ),
        )
        role.add_to_policy(
            iam.PolicyStatement(
                sid="ForwardToHubBus", actions=["events:PutEvents"], resources=[hub_bus_arn]
            )
        )
        return role


def analyzer_events() -> events.EventPattern:
    """Return the pattern of all that Access Analyzer itself says."""
    return events.EventPattern(
        source=SOURCE,
        detail_type=events.Match.anything_but(*CALL_DETAIL_TYPES, *OTHER_DETAIL_TYPES),
    )


def external_access_analyzer(scope: Construct) -> None:
    """Create the organization's external-access analyzer of the scope's Region.

    Deleted where the setting is taken back: one that stayed would be a second one next time.
    """
    accessanalyzer.CfnAnalyzer(scope, "ExternalAccess", type="ORGANIZATION")
