"""What an operation needs: the tables' answers, looked up once and made ready for many records."""

from __future__ import annotations

import sys
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec

from pare.cloudtrail.denials import outcome_of
from pare.cloudtrail.direct import direct_of
from pare.cloudtrail.operations import load_operations
from pare.cloudtrail.pass_role import load_pass_role
from pare.cloudtrail.principals import partition_of
from pare.cloudtrail.record import NOTHING
from pare.cloudtrail.resources import load_resources

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from pare.cloudtrail.activity import Outcome
    from pare.cloudtrail.direct import Header, Texts
    from pare.cloudtrail.operations import Mapped
    from pare.cloudtrail.pass_role import PassedRole
    from pare.cloudtrail.principals import Principal
    from pare.cloudtrail.record import Record
    from pare.cloudtrail.resources import Resources

# Rules by which a record is left out, and what people read about it.
NOT_AUTHENTICATED = "refused before authorization (bad or expired credentials)"
NO_OPERATION = "names no operation"

# msgspec says so by an exception; None has no fields.
_NOT_OF_THE_SHAPE = (msgspec.MsgspecError, RecursionError, UnicodeError, AttributeError)
# With more fields than this, the whole text is taken instead.
_MAX_FIELDS = 8


class Operation:
    """An operation that needs actions: which, on what, and which fields of a record tell.

    ``pick`` takes out of a record what its resources can be known from, as a key to count under:
    a struct of texts where those are enough (``direct``), otherwise a tuple of raw JSON. None where
    nothing of a record matters. Both kinds of key are decoded once for each distinct one.
    """

    __slots__ = (
        "_direct", "_fields", "_known", "_makers", "_mapped", "_pass_role", "_plan",
        "_uses_resources", "pick",
    )  # fmt: skip

    def __init__(self, source: str, name: str, mapped: Mapped) -> None:
        conditional = (action for each in mapped.conditional for action in each.actions)
        actions = tuple(sorted({*mapped.actions, *conditional}))
        self._mapped = mapped
        self._plan = load_resources().plan(source, name, actions)
        self._pass_role = load_pass_role().plan(source, name)
        request = {*mapped.needs, *self._plan.request_fields}
        if self._pass_role is not None:
            request.update(self._pass_role.request_fields)
        response = self._plan.response_fields
        self._uses_resources = self._plan.uses_resources
        self._fields = [
            (side, sorted(names), _fields_decoder(sorted(names)))
            for side, names in (("requestParameters", request), ("responseElements", response))
            if names
        ]
        self._direct = None
        if self._pass_role is None:
            self._direct = direct_of(self._plan, mapped.actions)
        if self._direct is not None and not set(self._direct.fields).isdisjoint(mapped.needs):
            self._direct = None
        self._makers: dict[Header, list[tuple[str, Callable[[Texts], Resources | None]]]] = {}
        # Many callers make the same request.
        self._known: dict[tuple[Any, Header], list[tuple[str, Resources]]] = {}
        self.pick: Callable[[Record], Any] | None = None
        if self._fields or self._uses_resources:
            self.pick = self._pick_all
        if self._direct is not None:
            direct = self._direct
            self.pick = _pick_texts(direct.fields, direct.needed, mapped.needs, self._pick_all)

    def _pick_all(self, record: Record) -> tuple[bytes, ...]:
        values: list[bytes] = []
        for side, names, decode in self._fields:
            if decode is None:
                values.append(bytes(getattr(record, side)))
                continue
            try:
                found = decode(getattr(record, side))
            except _NOT_OF_THE_SHAPE:
                found = None  # a text where an object should be: nothing can be taken from it
            if found is None:
                values += [b""] * len(names)
            else:
                values += [bytes(value) for value in msgspec.structs.astuple(found)]
        if self._uses_resources:
            values.append(bytes(record.resources))
        return tuple(values)

    def resources(self, key: Any, header: Header) -> list[tuple[str, Resources]]:
        """Return the actions that a request needed, each with its resources.

        Empty where the request does not say which actions.
        """
        if self._direct is not None and not isinstance(key, tuple):
            texts = msgspec.structs.astuple(key)
            found = []
            for action, make in self._makers_for(header):
                resources = make(texts)
                if resources is None:
                    break
                found.append((action, resources))
            else:
                return found
        known = self._known.get((key, header))
        if known is None:
            known = self._resources_the_long_way(key, header)
            if len(self._known) < _MAX_KNOWN:
                self._known[key, header] = known
        return known

    def _resources_the_long_way(self, key: Any, header: Header) -> list[tuple[str, Resources]]:
        request, response, listed = self._decoded(key)
        partition, region, account_id = header
        return self._plan.arns_of_all(
            self._mapped.for_request(request), request, response, listed,
            partition=partition, region=region, account_id=account_id,
        )  # fmt: skip

    @property
    def passes_role(self) -> bool:
        """Return whether its requests may pass a role."""
        return self._pass_role is not None

    def passed_roles(self, key: Any, header: Header) -> Sequence[PassedRole]:
        """Return the roles that a request passed."""
        if self._pass_role is None:
            return ()
        request = self._decoded(key)[0]
        return self._pass_role.passed(request, partition=header[0], account_id=header[2])

    def _makers_for(
        self, header: Header
    ) -> Sequence[tuple[str, Callable[[Texts], Resources | None]]]:
        makers = self._makers.get(header)
        if makers is None:
            assert self._direct is not None
            makers = [(each, self._direct.maker(each, header)) for each in self._mapped.actions]
            if len(self._makers) < _MAX_HEADERS:
                self._makers[header] = makers
        return makers

    def _decoded(self, key: Any) -> tuple[dict[str, Any], dict[str, Any], Sequence[Any]]:
        """Return request parameters, response elements and resources from a record's key."""
        if not isinstance(key, tuple):
            assert self._direct is not None
            texts = msgspec.structs.astuple(key)
            return dict(zip(self._direct.fields, texts, strict=False)), {}, ()
        values = iter(key)
        sides: dict[str, dict[str, Any]] = {"requestParameters": {}, "responseElements": {}}
        for side, names, decode in self._fields:
            if decode is None:
                whole = _decode(next(values))
                if isinstance(whole, dict):
                    sides[side] = {name: whole[name] for name in names if name in whole}
            else:
                for name in names:
                    value = _decode(next(values))
                    if value is not None:
                        sides[side][name] = value
        listed = _decode(next(values)) if self._uses_resources else None
        return (
            sides["requestParameters"],
            sides["responseElements"],
            listed if isinstance(listed, list) else (),
        )


_MAX_HEADERS = 1000
_MAX_KNOWN = 1000


def _pick_texts(
    names: Sequence[str],
    needed: int,
    absent: Sequence[str],
    pick_all: Callable[[Record], Any],
) -> Callable[[Record], Any]:
    """Return a picker of texts, for records that have the needed ones and none of the absent.

    Others (also those that have something else than a text there) go to the other picker.
    """
    fields: list[Any] = [(f"f{i}", str | None, None) for i in range(len(names))]
    # A field that may only be null: any value leads to an error, and so to the other picker.
    fields += [(f"f{i}", None, None) for i in range(len(names), len(names) + len(absent))]
    rename = {f"f{i}": name for i, name in enumerate((*names, *absent))}
    shape = msgspec.defstruct("Texts", fields, rename=rename, frozen=True, gc=False)
    read = msgspec.json.Decoder(shape | None).decode

    def pick_one(record: Record) -> Any:
        try:
            texts: Any = read(record.requestParameters)
            if texts.f0:
                return texts
        except _NOT_OF_THE_SHAPE:
            pass
        return pick_all(record)

    def pick_two(record: Record) -> Any:
        try:
            texts: Any = read(record.requestParameters)
            if texts.f0 and texts.f1:
                return texts
        except _NOT_OF_THE_SHAPE:
            pass
        return pick_all(record)

    return pick_one if needed == 1 else pick_two


def _fields_decoder(names: Collection[str]) -> Callable[[Any], Any] | None:
    """Return a decoder of these fields as raw JSON; None where there are too many."""
    if len(names) > _MAX_FIELDS:
        return None
    fields: list[Any] = [(f"f{i}", msgspec.Raw, NOTHING) for i in range(len(names))]
    rename = {f"f{i}": name for i, name in enumerate(names)}
    shape = msgspec.defstruct("Fields", fields, rename=rename, gc=False)
    return msgspec.json.Decoder(shape | None).decode


def _decode(value: bytes) -> Any:
    try:
        return msgspec.json.decode(value) if value else None
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return None


def load_tables() -> None:
    """Read all tables that calls are looked up in."""
    load_operations()
    load_resources()
    load_pass_role()


@cache
def _operation(source: str, name: str) -> Operation | str | None:
    """Return the operation, or the rule why it needs no action, or None where it is unmapped."""
    mapped = load_operations().lookup(source, name)
    if mapped is None:
        return None
    if mapped.no_action is not None:
        return f"no IAM action: {mapped.no_action}"
    return Operation(source, name, mapped)


class Call:
    """One kind of call: operation, Region, error and accounts; and what follows from these."""

    __slots__ = (
        "account_id", "category", "copy", "error", "name", "operation", "outcome", "pick", "region",
        "rule", "source", "unreadable", "where",
    )  # fmt: skip

    def __init__(
        self,
        source: str | None,
        name: str | None,
        region: str | None,
        error: str | None,
        event_type: str | None,
        category: str | None,
        account_id: str | None,
        via: str | None,
        copy: bool,
    ) -> None:
        self.name = sys.intern(f"{source}:{name}")
        self.source = source
        self.region = region or ""
        self.error = error
        self.category = category
        self.account_id = account_id or ""
        self.copy = copy  # recorded in the other of two accounts
        self.where = ((region,) if region else (), (self.name,), (via,) if via else ())
        self.rule: str | None = None
        self.unreadable: str | None = None
        self.operation: Operation | None = None
        self.outcome: Outcome = "allowed"
        self.pick: Callable[[Record], Any] | None = None
        if event_type not in {"AwsApiCall", None} or category not in {"Management", "Data", None}:
            self.rule = f"not an API call: {event_type if event_type != 'AwsApiCall' else category}"
            return
        if not source or not name:
            self.unreadable = NO_OPERATION
            return
        operation = _operation(source, name)
        outcome = outcome_of(error, source)
        if isinstance(operation, str):
            self.rule = operation
        elif outcome == "unauthenticated":
            self.rule = None if operation is None else NOT_AUTHENTICATED
        elif operation is not None:
            self.outcome = outcome
            self.operation, self.pick = operation, operation.pick

    def header(self, principal: Principal) -> Header:
        """Return partition, Region and account of what the call was on."""
        partition = partition_of(self.region, principal.principal)
        return partition, self.region, self.account_id or principal.account_id
