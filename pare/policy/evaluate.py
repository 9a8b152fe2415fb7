"""Whether policies allow one request: identity-based policies within a boundary and limits.

A request is denied by any Deny that applies; it is allowed only if the identity-based policies, the
permissions boundary and every level of limits (SCPs, RCPs) each have an Allow that applies.
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic_policy-eval-denyallow.html
https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_boundaries.html
https://docs.aws.amazon.com/organizations/latest/userguide/orgs_manage_policies_scps_evaluation.html

What the record does not tell is unknown, and the answer is "undecided" where that matters. Not
looked at here: resource-based policies, session policies, and who is exempt from limits (the
management account, service-linked roles): give no limits for those.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from pare.policy.conditions import compile_conditions, hold
from pare.policy.document import in_current_version
from pare.policy.patterns import ANY, covers, has_wildcard, matches_arn, matches_text, overlaps
from pare.policy.truth import Truth, Unknown, disjunction, negation
from pare.policy.variables import START, Absent, first_doubt, resolve_resource, widened

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pare.policy.conditions import ConditionTest
    from pare.policy.document import JsonValue, PolicyDocument, Statement

Answer: TypeAlias = Literal["allowed", "not allowed", "denied", "undecided"]
Place: TypeAlias = tuple[int, int]  # policy index, statement index
_Placed: TypeAlias = "tuple[Place, _Statement]"
_Named: TypeAlias = "tuple[list[_Placed], list[tuple[str, list[_Placed]]]]"

# Actions without a resource that a Resource value other than "*" names all the same, and its text
# after the partition. AWS's example of a home directory in S3 allows it so.
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html#Conditions_String
NAMED_WITHOUT_RESOURCE = {"s3:listallmybuckets": "s3:::*"}

_COLONS_BEFORE_THE_RESOURCE = 5
_PART = Unknown("a statement speaks of a part of the resource only")


@dataclass(frozen=True, slots=True)
class Request:
    """One call, as far as it is known."""

    action: str  # "s3:GetObject"; matched without regard to case
    # An ARN; "*": the action takes no resource; or a pattern: then every ARN it matches. An ARN
    # that holds a real * or ? is given through patterns.literal.
    resource: str
    # Condition key in lower case -> its values, known to be in the request.
    context: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    # Condition keys in lower case, known not to be in the request. A key in neither is unknown.
    absent: frozenset[str] = frozenset()


class Decision(NamedTuple):
    """What the policies say to a request.

    ``statements`` are those that decided: the Deny; the first Allow of each of the layers; those
    that are undecided. Policies are counted through: identity-based, boundary, limits by level.
    """

    answer: Answer  # not allowed: no statement allows it; denied: a Deny does
    statements: tuple[Place, ...] = ()
    why: str = ""  # "" or one sentence without its full stop: what is missing


class Policies:
    """The policies that bear on one principal, compiled; ask ``decide``.

    ``limits`` are SCPs level by level (root, OUs, account), or RCPs as further levels: at each
    level one document must allow. Empty ``limits``: none; an empty level allows nothing. Documents
    may be of any Version.
    """

    __slots__ = ("_layers", "_named")

    def __init__(
        self,
        identity: Sequence[PolicyDocument],
        *,
        boundary: PolicyDocument | None = None,
        limits: Sequence[Sequence[PolicyDocument]] = (),
    ) -> None:
        layers: list[tuple[str, Sequence[PolicyDocument]]] = [("no statement allows it", identity)]
        if boundary is not None:
            layers.append(("the permissions boundary does not allow it", (boundary,)))
        layers += [
            (f"level {i} of the organization's limits does not allow it", level)
            for i, level in enumerate(limits, 1)
        ]
        numbers = iter(range(sum(len(documents) for _, documents in layers)))
        self._layers = [
            (why_not, [(next(numbers), _compiled(each)) for each in documents])
            for why_not, documents in layers
        ]
        self._named: dict[str, _Named] = {}

    def decide(self, request: Request) -> Decision:
        """Return what the policies say to a request; never raises for a policy's content."""
        if has_wildcard(request.action):
            return Decision("undecided", (), "the action is a pattern")
        action = request.action.lower()
        named = self._named.get(action)
        if named is None:
            named = self._named[action] = self._naming(action)
        denies, layers = named
        unknown: list[tuple[Place, str]] = []
        for place, statement in denies:
            truth = statement.applies(action, request)
            if truth is True:
                return Decision("denied", (place,))
            if truth is not False:
                unknown.append((place, truth.why))
        allowing: list[Place] = []
        for why_not, allows in layers:
            found = _first_allow(allows, action, request)
            if not found:
                return Decision("not allowed", (), why_not)
            if isinstance(found, list):
                unknown += found
            else:
                allowing.append(found)
        if unknown:
            return Decision("undecided", tuple(place for place, _ in unknown), unknown[0][1])
        return Decision("allowed", tuple(allowing))

    def _naming(self, action: str) -> _Named:
        """Return the statements that name an action: the Denies, and the Allows layer by layer."""
        denies: list[_Placed] = []
        layers: list[tuple[str, list[_Placed]]] = []
        for why_not, documents in self._layers:
            allows: list[_Placed] = []
            for policy, document in documents:
                for statement in document.naming(action):
                    placed = ((policy, statement.index), statement)
                    (denies if statement.is_deny else allows).append(placed)
            layers.append((why_not, allows))
        return denies, layers


def _first_allow(
    allows: Iterable[_Placed], action: str, request: Request
) -> Place | list[tuple[Place, str]]:
    """Return the first Allow that applies, else those of which it is unknown."""
    unknown: list[tuple[Place, str]] = []
    for place, statement in allows:
        truth = statement.applies(action, request)
        if truth is True:
            return place
        if truth is not False:
            unknown.append((place, truth.why))
    return unknown


class _Document:
    """A document's statements, found by action; each action is looked for once."""

    __slots__ = ("_by_action", "_exact", "_others", "_statements")

    def __init__(self, statements: Sequence[_Statement]) -> None:
        self._statements = statements
        self._exact: dict[str, list[int]] = {}
        self._others = [each.index for each in statements if not each.exact_actions]
        for statement in statements:
            for action in statement.exact_actions or ():
                self._exact.setdefault(action, []).append(statement.index)
        self._by_action: dict[str, list[_Statement]] = {}

    def naming(self, action: str) -> list[_Statement]:
        """Return the statements that name an action (in lower case), in their order."""
        found = self._by_action.get(action)
        if found is None:
            numbers = {*self._exact.get(action, ())}
            numbers.update(i for i in self._others if self._statements[i].names(action))
            found = self._by_action[action] = [self._statements[i] for i in sorted(numbers)]
        return found


@lru_cache(maxsize=500)
def _compiled(document: PolicyDocument) -> _Document:
    """Return a document compiled; many principals share a managed policy."""
    statements = in_current_version(document).statements
    return _Document([_Statement(i, each) for i, each in enumerate(statements)])


class _Statement:
    """One statement, its values sorted by how they are looked up."""

    __slots__ = (
        "_actions",
        "_exact_resources",
        "_is_everything",
        "_is_not_action",
        "_is_not_resource",
        "_problem",
        "_tests",
        "_variable_resources",
        "_wild_resources",
        "exact_actions",
        "index",
        "is_deny",
    )

    def __init__(self, index: int, statement: Statement) -> None:
        self.index = index
        self.is_deny = statement.effect == "Deny"
        self._is_not_action = statement.not_actions is not None
        has_actions = statement.actions is not None or self._is_not_action
        values = statement.not_actions or statement.actions or ()
        self._actions = _Actions(values if has_actions else (ANY,))
        # The actions in lower case, if names() would look for nothing else; else None.
        self.exact_actions = None if self._is_not_action else self._actions.all_exact()
        self._is_not_resource = statement.not_resources is not None
        resources = statement.not_resources or statement.resources or ()
        # Without either element: what it means is for _problem to say.
        is_left_out = statement.resources is None and statement.not_resources is None
        self._is_everything = ANY in resources or is_left_out
        constant = [each for each in resources if START not in each]
        self._wild_resources = [each for each in constant if "*" in each or "?" in each]
        self._exact_resources = frozenset(constant).difference(self._wild_resources)
        self._variable_resources = [each for each in resources if START in each]
        self._tests: tuple[ConditionTest, ...] = compile_conditions(statement.conditions)
        self._problem = _problem(statement)

    def names(self, action: str) -> bool:
        """Return whether the statement's Action or NotAction takes in an action."""
        return self._actions.match(action) is not self._is_not_action

    def applies(self, action: str, request: Request) -> Truth:
        """Return whether the statement, which names the action, applies to a request."""
        truth = self._speaks_of(action, request)
        if truth is False or (not self._tests and self._problem is None):
            return truth
        held = hold(self._tests, request.context, request.absent)
        if held is False:
            return False
        if truth is not True:
            return truth
        return held if held is not True or self._problem is None else self._problem

    def _speaks_of(self, action: str, request: Request) -> Truth:
        """Return whether Resource or NotResource takes in the request's resource, all of it."""
        if self._is_everything or request.resource in self._exact_resources:
            truth: Truth = True
        else:
            truth = self._matches(action, request.resource)
        doubt: Unknown | None = None
        if self._variable_resources:
            resolved = [
                resolve_resource(each, request.context, request.absent)
                for each in self._variable_resources
            ]
            doubt = first_doubt(resolved)
            more = (
                _unless_disjoint(value, action, request.resource, each)
                if isinstance(each, Unknown)
                else _takes_in(each, action, request.resource)
                for value, each in zip(self._variable_resources, resolved, strict=True)
                if not isinstance(each, Absent)
            )
            truth = disjunction((truth, *more))
        if self._is_not_resource:
            truth = negation(truth)
        return truth if doubt is None or truth is False else doubt

    def _matches(self, action: str, resource: str) -> Truth:
        """Return whether a value without variables takes in the request's resource."""
        if has_wildcard(resource):
            if resource in self._wild_resources:
                return True
            return disjunction(
                _takes_in(each, action, resource)
                for each in (*self._wild_resources, *self._exact_resources)
            )
        return any(matches_arn(each, resource) for each in self._wild_resources)


class _Actions:
    """The values of an Action or NotAction element; patterns are tried within their service."""

    __slots__ = ("_exact", "_loose", "_of_service")

    def __init__(self, values: Iterable[str]) -> None:
        exact: set[str] = set()
        self._loose: list[str] = []
        self._of_service: dict[str, list[str]] = {}
        for value in values:
            lowered = value.lower()
            if "*" not in lowered and "?" not in lowered:
                exact.add(lowered)
                continue
            service, colon, _ = lowered.partition(":")
            if colon and not has_wildcard(service):
                self._of_service.setdefault(service, []).append(lowered)
            else:
                self._loose.append(lowered)
        self._exact = frozenset(exact)

    def all_exact(self) -> frozenset[str] | None:
        """Return the values if none is a pattern, else None."""
        return None if self._loose or self._of_service else self._exact

    def match(self, action: str) -> bool:
        """Return whether a value matches an action in lower case."""
        if action in self._exact:
            return True
        for pattern in self._loose:
            if matches_text(pattern, action):
                return True
        patterns = self._of_service.get(action.partition(":")[0], ()) if self._of_service else ()
        return any(matches_text(each, action) for each in patterns)


def _takes_in(value: str, action: str, resource: str) -> Truth:
    """Return whether a Resource value matches a request's resource: a pattern's all, or part."""
    if resource == ANY:
        if value and value.strip("*") == "":
            return True
        named = NAMED_WITHOUT_RESOURCE.get(action)
        return named is not None and value.split(":", 2)[2:] == [named]
    if not has_wildcard(resource):
        return matches_arn(value, resource)
    if covers(value, resource):
        return True
    return _PART if overlaps(value, resource) else False


def _unless_disjoint(value: str, action: str, resource: str, unknown: Unknown) -> Truth:
    """Return False if a value matches no such resource, whatever its variables hold."""
    if value.partition(START)[0].count(":") < _COLONS_BEFORE_THE_RESOURCE:
        return unknown
    value = widened(value)
    if resource == ANY:
        named = NAMED_WITHOUT_RESOURCE.get(action)
        return unknown if named and matches_text(value.split(":", 2)[2], named) else False
    return unknown if overlaps(value, resource) else False


def _problem(statement: Statement) -> Unknown | None:
    """Return why a statement can never be decided, if so; IAM would not take most of these."""
    if statement.not_principals is not None or not _is_everyone(statement.principals):
        return Unknown("a statement has a Principal element other than everyone")
    if statement.not_actions == () or statement.not_resources == ():
        return Unknown("a statement has an empty NotAction or NotResource")
    if statement.actions is None and statement.not_actions is None:
        return Unknown("a statement has no Action")
    if statement.resources is None and statement.not_resources is None:
        return Unknown("a statement has no Resource")
    return None


def _is_everyone(principals: JsonValue) -> bool:
    """Return whether a Principal element is absent or, as RCPs must have it, everyone."""
    return principals in (None, ANY, {"AWS": ANY}, {"AWS": [ANY]})
