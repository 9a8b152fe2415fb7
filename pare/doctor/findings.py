"""Judges whether findings of every governed Region come into being, and arrive at Pare.

What was read comes from ``pare.aws.doctor.findings``. Archive rules that hide public findings are
not judged here: the daily reconcile tells of them.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from pare.arns import region_of
from pare.data_tables import read_table
from pare.doctor.checks import title_of
from pare.doctor.commands import bring_back, deploy, mend_elsewhere, mend_first, quoted
from pare.doctor.deployed_rules import DEFAULT_BUS, own_analyzers
from pare.doctor.model import Mend, Result, cannot_tell, missing, ok
from pare.message import listed, plain, sentence, several

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pare.doctor.deployed_rules import ExpectedRule, Fault, Stack
    from pare.doctor.setup import Setup
    from pare.findings.watch import AnalyzerJson
    from pare.policy.document import JsonObject

PIPELINE: Final = "ParePipeline"
AGAIN: Final = "pare doctor --only findings"
SENDING: Final = "events:PutEvents"
_EXTERNAL, _UNUSED = "ORGANIZATION", "ORGANIZATION_UNUSED_ACCESS"
_OF_UNUSED: Final = "_UNUSED_ACCESS"
_PRINCIPAL: Final = "access-analyzer.amazonaws.com"
_NAME: Final = "organization-external-access"
# What a Region answers that is not enabled in the account: it does not know the credentials.
# https://docs.aws.amazon.com/accounts/latest/reference/manage-acct-regions.html
_NOT_ENABLED: Final = (
    ": AuthFailure: ",
    ": InvalidClientTokenId: ",
    ": OptInRequired: ",
    ": UnrecognizedClientException: ",
)
_DENIED: Final = (": AccessDenied: ", ": AccessDeniedException: ")
# How EventBridge says that a rule's target is gone, whatever else it says before it.
_TARGET_GONE: Final = "does not exist"
_NO_TABLE: Final = ": ResourceNotFoundException: "
# Where more rules of a stack differ, one deployment is shorter than their commands.
_RULES_BY_HAND: Final = 2
_SHOWN = 300


def stack_of(setup: Setup, region: str) -> str:
    """Return the name of the hub's stack whose rules are in a Region."""
    return PIPELINE if region == setup.home_region else f"PareRegion-{region}"


def not_told(setup: Setup, check: str, region: str, error: str) -> Result:
    """Return the result of a Region that did not answer; ``error`` begins with the call."""
    action = error.partition(": ")[0]
    says = f"{region} did not answer: {plain(error, _SHOWN)}"
    if region != setup.home_region and any(code in error for code in _NOT_ENABLED):
        return cannot_tell(
            check,
            region,
            sentence(f"{region} does not know these credentials: {plain(error, _SHOWN)}"),
            Mend(
                where="hub",
                commands=(
                    f"aws account enable-region --region-name {region} "
                    f"--region {setup.home_region}",
                ),
                text=f"The Region seems not to be enabled in {setup.hub_account_id}; enabling "
                f"takes minutes to hours. If nobody uses it, take {region} out of "
                "governed_regions in config/pare.yaml instead and run `npx cdk deploy --all`.",
            ),
        )
    if any(code in error for code in _DENIED):
        says = f"{region} refused: {plain(error, _SHOWN)}"
        text = f"Use credentials of {setup.hub_account_id} that may call {action} in {region}."
    else:
        text = "Look again in some minutes; where it stays so, see https://health.aws.amazon.com."
    return cannot_tell(check, region, sentence(says), Mend("you", (AGAIN,), text=text))


# --- Analyzers ------------------------------------------------------------------------------------


def judge_analyzer(
    setup: Setup, region: str, analyzers: Sequence[AnalyzerJson], stack: Stack | None
) -> Result:
    """Judge the external-access analyzer of a Region; ``analyzers``: all that the hub has there.

    ``stack``: the hub's stack of that Region, None where it is not deployed.
    """
    check = "findings.analyzer"
    of_organization = [each for each in analyzers if each["type"] == _EXTERNAL]
    active = [each["name"] for each in of_organization if each["status"] == "ACTIVE"]
    if active:
        return ok(check, region, f"active: {listed(active)}", analyzers=active)
    if of_organization:
        return _not_active(check, region, setup, of_organization[0])
    only = [each["name"] for each in analyzers if each["type"] == "ACCOUNT"]
    says = (
        f"{region} has only {listed(only)}, which sees the hub account alone: no analyzer of the "
        "organization."
        if only
        else f"{region} has no external-access analyzer of the organization."
    )
    own = own_analyzers(stack).get(_EXTERNAL) if stack is not None else None
    if setup.create_external_access and (own is None or not own[0]):
        name = stack_of(setup, region)
        return missing(check, region, says, Mend("hub", (deploy(name),)))
    if own is not None and own[0]:
        create = _create(own[0], _EXTERNAL, region)
        text = "The stack's own one was deleted by hand; under the same name the stack has it back."
        return missing(check, region, says, Mend("hub", (create,), text=text))
    create = _create(_free_name(analyzers), _EXTERNAL, region)
    after = (
        "Or let Pare create one in every governed Region, for nothing: "
        "analyzers.create_external_access: true in config/pare.yaml, then `npx cdk deploy "
        "--all`. Where there is one already, that would be a second one."
    )
    return missing(check, region, says, Mend("hub", (create,), after=after))


def judge_unused(
    setup: Setup,
    analyzers: Sequence[AnalyzerJson],
    unread: Mapping[str, str],
    home_stack: Stack | None,
) -> Iterator[Result]:
    """Judge the unused-access analyzers of all Regions: as many as set, for AWS asks for each.

    ``unread``: Region -> why it did not answer. ``home_stack``: ``ParePipeline``, if deployed.
    """
    check = "findings.unused-analyzer"
    found = [each for each in analyzers if each["type"].endswith(_OF_UNUSED)]
    own = own_analyzers(home_stack).get(_UNUSED) if home_stack is not None else None
    wanted = [each for each in found if _is_wanted(each, setup, own)]
    # An analyzer that another AWS service manages is that service's affair.
    surplus = [each for each in found if each not in wanted and not each["managed_by"]]
    for each in surplus:
        yield _one_too_many(check, setup, each, is_other=bool(wanted))
    is_set = setup.unused_access_arn is not None or setup.paid_unused_access
    if wanted and wanted[0]["status"] != "ACTIVE":
        yield _not_active(check, "", setup, wanted[0])
    elif unread and not (surplus and not is_set):
        yield cannot_tell(
            check,
            "",
            f"{listed(sorted(unread))} did not answer: whether there is one is not known.",
            mend_first(title_of("findings.analyzer")),
        )
    elif wanted:
        yield ok(check, "", f"{wanted[0]['name']} in {wanted[0]['region']}, as set")
    elif is_set:
        yield _none_there(check, setup, own)
    elif not surplus:
        yield ok(check, "", "none, as set: the monthly inventory finds what is unused")


def _is_wanted(analyzer: AnalyzerJson, setup: Setup, own: tuple[str, JsonObject] | None) -> bool:
    if setup.unused_access_arn is not None:
        return analyzer["arn"] == setup.unused_access_arn
    return (
        setup.paid_unused_access
        and own is not None
        and (analyzer["region"], analyzer["name"]) == (setup.home_region, own[0])
    )


def _one_too_many(check: str, setup: Setup, analyzer: AnalyzerJson, *, is_other: bool) -> Result:
    name, region = analyzer["name"], analyzer["region"]
    is_set = setup.unused_access_arn is not None or setup.paid_unused_access
    beside = (
        "beside the one that is set" if is_other
        else "which is not the one that is set" if is_set
        else "though the settings name none"
    )  # fmt: skip
    of = "the hub account" if analyzer["type"].startswith("ACCOUNT") else "the organization"
    name_it = "" if is_other else f" Or name it as analyzers.unused_access_arn: {analyzer['arn']}."
    return missing(
        check,
        f"{region} {name}",
        f"There is {name} in {region}, {beside}: AWS asks {_price()} USD a month for every role "
        f"and user of {of} that it sees.",
        Mend(
            "hub",
            (_delete(name, region),),
            text=f"Ask first who made it: its findings go with it.{name_it}",
        ),
        arn=analyzer["arn"],
    )


def _none_there(check: str, setup: Setup, own: tuple[str, JsonObject] | None) -> Result:
    if setup.unused_access_arn is not None:
        where = region_of(setup.unused_access_arn)
        return missing(
            check,
            "",
            f"The settings name {setup.unused_access_arn}, and {where} does not have it.",
            Mend(
                "you",
                ("npx cdk deploy --all",),
                text="First write analyzers.unused_access_arn: null into config/pare.yaml: the "
                "monthly inventory then finds what is unused, for nothing. Or write the ARN of "
                "the analyzer that is meant.",
            ),
        )
    says = f"The settings want an unused-access analyzer in {setup.home_region}; there is none."
    if own is None or not own[0]:
        return missing(check, "", says, Mend("hub", (deploy(PIPELINE),)))
    command = _create(own[0], _UNUSED, setup.home_region, _configuration(own[1]))
    return missing(
        check,
        "",
        says,
        Mend(
            "hub",
            (command,),
            text="It was deleted by hand; under the same name the stack has it back. AWS asks "
            f"{_price()} USD a month for every role and user; analyzers.paid_unused_access: false "
            "does without.",
        ),
    )


def _not_active(check: str, subject: str, setup: Setup, analyzer: AnalyzerJson) -> Result:
    """Return the result of an analyzer that is there and does not work.

    https://docs.aws.amazon.com/access-analyzer/latest/APIReference/API_StatusReason.html
    """
    name, region, reason = analyzer["name"], analyzer["region"], analyzer["status_reason"]
    because = f" ({plain(reason, 80)})" if reason else ""
    says = f"{name} in {region} is {plain(analyzer['status'], 40)}{because}."
    configured = "" if analyzer["type"] == _EXTERNAL else " with the configuration it had"
    anew = (
        f"Where it stays so, delete it (`{_delete(name, region)}`) and create it again"
        f"{configured} (`{_create(name, analyzer['type'], region)}`): its findings come anew."
    )
    organizations = f"--service-principal {_PRINCIPAL} --region {setup.home_region}"
    match reason:
        case "AWS_SERVICE_ACCESS_DISABLED":
            command = f"aws organizations enable-aws-service-access {organizations}"
            mend = Mend("management", (command,), text=anew)
        case "DELEGATED_ADMINISTRATOR_DEREGISTERED":
            command = (
                "aws organizations register-delegated-administrator --account-id "
                f"{setup.hub_account_id} {organizations}"
            )
            mend = Mend("management", (command,), text=anew)
        case "SERVICE_LINKED_ROLE_CREATION_FAILED":
            command = f"aws iam create-service-linked-role --aws-service-name {_PRINCIPAL}"
            mend = Mend(
                "hub",
                (command,),
                text="It says so too where a member account has no room for the role, or a "
                f"service control policy forbids it. {anew}",
            )
        case _ if analyzer["status"] == "CREATING":
            mend = Mend("you", (AGAIN,), text=f"AWS needs some minutes for a new one. {anew}")
        case _ if analyzer["type"] == _EXTERNAL:
            mend = Mend(
                "hub",
                (_delete(name, region), _create(name, _EXTERNAL, region)),
                text="Its findings go with it, and come anew.",
            )
        case _:
            mend = Mend("hub", (_delete(name, region),), text=anew)
    return missing(check, subject, says, mend, status=analyzer["status"])


def _free_name(analyzers: Iterable[AnalyzerJson]) -> str:
    taken = {each["name"] for each in analyzers}
    names = (_NAME, *(f"{_NAME}-{number}" for number in range(2, len(taken) + 3)))
    return next(name for name in names if name not in taken)


def _create(name: str, kind: str, region: str, configuration: JsonObject | None = None) -> str:
    more = f" --configuration {quoted(configuration)}" if configuration else ""
    return (
        f"aws accessanalyzer create-analyzer --analyzer-name {quoted(name)} --type {kind}{more} "
        f"--region {region}"
    )


def _delete(name: str, region: str) -> str:
    return f"aws accessanalyzer delete-analyzer --analyzer-name {quoted(name)} --region {region}"


def _configuration(properties: JsonObject) -> JsonObject:
    """Return CloudFormation's configuration of an unused-access analyzer as the API spells it."""
    configuration: Any = properties.get("AnalyzerConfiguration", {})
    return {"unusedAccess": _lower(configuration.get("UnusedAccessConfiguration", {}))}


def _lower(value: Any) -> Any:
    if isinstance(value, dict):
        return {name[:1].lower() + name[1:]: _lower(each) for name, each in value.items()}
    return [_lower(each) for each in value] if isinstance(value, list) else value


def _price() -> str:
    price = read_table("prices.json", schema_version=1)["usd"]["unused_access_principal_month"]
    return f"{price:.2f}"


# --- Rules ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RegionRules:
    """The rules of a Region: ``stack`` is None where it is not deployed (or ``error`` says why)."""

    region: str
    stack: Stack | None = None
    rules: tuple[ExpectedRule, ...] = ()
    faults: tuple[Fault, ...] = ()
    error: str = ""


def judge_rules(setup: Setup, found: RegionRules) -> Result:
    """Judge the rules that bring a Region's events to the hub bus, and at home to the workflows."""
    check, region = "findings.rules", found.region
    if found.error:
        return not_told(setup, check, region, found.error)
    if found.stack is None:
        return missing(check, region, _no_stack(setup, region), _deploy(setup, region))
    if found.faults:
        says = listed(_wrong(found.faults), 20)
        says = says[:1].upper() + says[1:]
        mend = _mend_of_rules(setup, region, found.faults)
        return missing(check, region, sentence(says), mend, rules=len(found.rules))
    if not found.rules:
        says = f"The stack {found.stack.name} has no rules."
        return missing(check, region, says, _deploy(setup, region))
    count = several(len(found.rules), "rule")
    return ok(check, region, f"{count} on, with their targets", rules=len(found.rules))


def _named(rule: ExpectedRule) -> str:
    bus = "" if rule.bus == DEFAULT_BUS else f" on bus {rule.bus}"
    return f"rule {rule.name or 'without a name'}{bus}"


def _wrong(faults: Iterable[Fault]) -> list[str]:
    """Return what is wrong with rules, in a few words; a bus that is gone is named once."""
    gone = [each for each in faults if each.is_of_bus]
    buses = [
        f"the event bus {bus} is not there, and with it {several(rules, 'rule')}"
        for bus, rules in sorted(Counter(each.rule.bus for each in gone).items())
    ]
    return buses + [f"{_named(each.rule)} {each.says}" for each in faults if not each.is_of_bus]


def _no_stack(setup: Setup, region: str) -> str:
    return f"The stack {stack_of(setup, region)} is not deployed: {region} sends nothing."


def _deploy(setup: Setup, region: str) -> Mend:
    return Mend("hub", (deploy(stack_of(setup, region)),))


def _mend_of_rules(setup: Setup, region: str, faults: Sequence[Fault]) -> Mend:
    """Return the commands that mend the rules; CloudFormation where it is shorter, or all helps."""
    back = bring_back(stack_of(setup, region))
    if buses := sorted({each.rule.bus for each in faults if each.is_of_bus}):
        return replace(back, after=_bus_by_hand(buses, region))
    rules = {(each.rule.bus, each.rule.name) for each in faults}
    if len(rules) > _RULES_BY_HAND or any(not each.commands for each in faults):
        return back
    commands = dict.fromkeys(command for each in faults for command in each.commands)
    return Mend("hub", tuple(commands), after=f"Or all that differs at once: `{back.commands[0]}`.")


def _bus_by_hand(buses: Sequence[str], region: str) -> str:
    """Return how an event bus that is gone is made by hand, its rules with the stack."""
    commands = "; ".join(
        f"aws events create-event-bus --name {quoted(bus)} --region {region}" for bus in buses
    )
    return (
        f"Where that does not make the bus anew, this does: {commands}. Then deploy as above: that "
        "makes its rules and its policy."
    )


# --- The test event -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Trace:
    """What was found of a test event that did not arrive.

    ``dead_letter``: AWS's reason for which it, ``rule`` (its ARN) being at fault, lies in a
    dead-letter queue; ``others`` and ``other_reason``: how many other events lie there, and why the
    last. ``execution``: the ARN of the finding workflow's execution that has it, and its state;
    ``throttled``: the function (its ARN or name) that AWS does not let run there. ``is_at_work``:
    nothing failed there yet. ``unread``: what could not be looked at.
    """

    dead_letter: str = ""
    rule: str = ""
    others: int = 0
    other_reason: str = ""
    execution: str = ""
    execution_says: str = ""
    throttled: str = ""
    is_at_work: bool = False
    unread: str = ""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A test event: ``seconds`` from sending to its arrival, None where it did not arrive.

    ``waited``: for how long it was waited for. ``error``: why it could not be sent (then it begins
    with SENDING), or looked for.
    """

    region: str
    check_id: str
    seconds: float | None = None
    waited: float = 0.0
    error: str = ""
    trace: Trace = Trace()


def on_the_way(setup: Setup, region: str, rules: Mapping[str, RegionRules]) -> list[Fault]:
    """Return what is wrong with the rules that a Region's test event has to pass."""
    ways = [(region, DEFAULT_BUS)]
    if region != setup.home_region:
        ways.append((setup.home_region, setup.bus_name))
    return [
        fault
        for where, bus in ways
        if where in rules
        for fault in rules[where].faults
        if fault.rule.bus == bus and fault.rule.takes(setup.test_event_source)
    ]


def judge_forwarding(setup: Setup, arrival: Arrival, rules: Mapping[str, RegionRules]) -> Result:
    """Judge the way of a Region's events by its test event."""
    check, region = "findings.forwarding", arrival.region
    if arrival.error.startswith(SENDING):
        return not_told(setup, check, region, arrival.error)
    if _NO_TABLE in arrival.error:
        says = f"What arrives is not noted: the table of runs is not there: {arrival.error}"
        mend = mend_elsewhere("running", title_of("running.resources"))
        return missing(check, region, sentence(plain(says, _SHOWN)), mend)
    if arrival.error:
        says = f"Whether it arrived could not be read: {plain(arrival.error, _SHOWN)}"
        text = f"Use credentials of {setup.hub_account_id} that may read the table of runs."
        return cannot_tell(check, region, sentence(says), Mend("you", (AGAIN,), text=text))
    facts: dict[str, Any] = {"check_id": arrival.check_id}
    if arrival.seconds is not None:
        seconds = round(arrival.seconds, 1)
        return ok(check, region, f"arrived after {seconds:g} s", seconds=seconds, **facts)
    lost = f"The test event did not arrive within {arrival.waited:.0f} s"
    of_region = rules.get(region)
    if of_region is not None and of_region.stack is None and not of_region.error:
        says = f"{lost}: {_no_stack(setup, region)[4:]}"
        return missing(check, region, says, _deploy(setup, region), **facts)
    faults = on_the_way(setup, region, rules)
    trace = arrival.trace
    if faults:
        what = listed(_wrong(faults))
        # Each of these lies in one Region alone.
        mends = [_mend_of_rules(setup, each.rule.region, [each]) for each in faults]
        mend = Mend(
            "hub",
            tuple(dict.fromkeys(one for each in mends for one in each.commands)),
            after=next(
                (one.after for one, each in zip(mends, faults, strict=True) if each.is_of_bus), ""
            ),
        )
        return missing(check, region, sentence(f"{lost}: {what}"), mend, **facts)
    if trace.dead_letter:
        says = f"{lost}: EventBridge could not deliver it ({plain(trace.dead_letter, _SHOWN)})."
        return missing(check, region, says, _mend_of_delivery(setup, trace, rules), **facts)
    if trace.execution:
        says = (
            "The test event arrived at the finding workflow and was not noted within "
            f"{arrival.waited:.0f} s: {plain(trace.execution_says, _SHOWN)}"
        )
        return missing(check, region, sentence(says), _mend_of_workflow(setup, trace), **facts)
    says, mend = _without_a_trace(setup, lost, region, trace)
    return missing(check, region, says, mend, **facts)


def _mend_of_workflow(setup: Setup, trace: Trace) -> Mend:
    """Return what lets the finding workflow go on where a test event stays in it.

    The template reserves no concurrency: what keeps one function from running is set by hand, or
    the account's own limit.
    https://docs.aws.amazon.com/lambda/latest/dg/configuration-concurrency.html
    """
    history = (
        f"aws stepfunctions get-execution-history --execution-arn {trace.execution} "
        f"--reverse-order --max-items 10 --region {setup.home_region}"
    )
    if trace.throttled:
        function = f"--function-name {quoted(plain(trace.throttled, 200))}"
        return Mend(
            "hub",
            (f"aws lambda delete-function-concurrency {function} --region {setup.home_region}",),
            text="Pare reserves no concurrency for its functions: this takes away what somebody "
            "set by hand.",
            after="Where that changes nothing, the account's functions use up its limit: see "
            "quotas in `pare doctor --only size`.",
        )
    if trace.is_at_work:
        text = f"It may be slow: look again. Where it stays so, this says where it is: {history}"
        return Mend("you", (AGAIN,), text=text)
    return Mend(
        "hub",
        (bring_back(PIPELINE).commands[0],),
        text="This brings back what somebody changed by hand of the workflow, its functions and "
        "their roles.",
        after=f"Where that changes nothing, this says which step stopped, and why: {history}",
    )


def _mend_of_delivery(setup: Setup, trace: Trace, rules: Mapping[str, RegionRules]) -> Mend:
    name, region = trace.rule.rpartition("/")[2], region_of(trace.rule) or setup.home_region
    of_region = rules.get(region, RegionRules(region))
    commands = [
        command for rule in of_region.rules if rule.name == name for command in rule.role_commands
    ]
    back = bring_back(stack_of(setup, region))
    if _TARGET_GONE in trace.dead_letter:
        # The hub bus and the workflows, to which rules send, are of one stack in every Region.
        return replace(
            bring_back(PIPELINE),
            after="What the dead-letter queue holds the daily reconcile makes good.",
        )
    return Mend(
        "hub",
        tuple(commands) or back.commands,
        text="This gives the rule's role its rights again; IAM takes a minute to know of it. Where "
        f"it is not the role: `{back.commands[0]}`. What the dead-letter queue holds the daily "
        "reconcile makes good.",
    )


def _without_a_trace(setup: Setup, lost: str, region: str, trace: Trace) -> tuple[str, Mend]:
    says = f"{lost}, and nothing says where it is"
    if trace.others:
        says += (
            f"; {several(trace.others, 'other event')} could not be delivered there, the last "
            f"because of {plain(trace.other_reason, _SHOWN)}"
        )
    if trace.unread:
        says += f"; not looked at: {plain(trace.unread, _SHOWN)}"
    bus = "" if region != setup.home_region else f", or of {PIPELINE}"
    return sentence(says), Mend(
        "hub",
        (AGAIN,),
        text="EventBridge is sometimes slow. Where it stays so, look in CloudTrail for changes of "
        f"the rules and of their role in {region}{bus}, and bring back what the template has: "
        f"`{bring_back(stack_of(setup, region)).commands[0]}`.",
    )
