"""The short way from a request to its resources, for the operations that most events are of.

Many operations name what they act on in one or two plain texts at the top of their request
(``bucketName`` and ``key``, ``tableName``). For these nothing else of the record needs to be looked
at, and the ARN is the format with the texts put in. Everything else goes the long way
(``resources``), which gives the same answer: a test compares the two.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pare.cloudtrail.resources import ANY, UNKNOWN

if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Mapping, Sequence

    from pare.cloudtrail.resources import Recipe, ResourcePlan, Resources, Slot

Texts = tuple[str | None, ...]
Header = tuple[str, str, str]  # partition, Region, account

# Services whose requests may name a resource otherwise than IAM does: by a key's id or alias, by a
# role's name without its path. What the record says in ``resources`` or the response counts there.
_NOT_BY_REQUEST = frozenset({"iam", "kms"})
_HEADER = ("Partition", "Region", "Account")
# Answers remembered for names that come again and again (buckets, tables); keys of S3 are not.
_MAX_REMEMBERED = 10_000


class _Format(NamedTuple):
    text: str  # "arn:%s:dynamodb:%s:%s:table/%s"
    header: tuple[int, ...]
    positions: tuple[int, ...]  # of the fields, in the order of the text
    fits: tuple[Callable[[str], bool], ...]

    def filled(self, header: Header) -> str:
        """Return the text with the header in it, ready for the fields."""
        heads = (header[i].replace("%", "%%") for i in self.header)
        return self.text % (*heads, *("%s" for _ in self.positions))


class _Step(NamedTuple):
    """One recipe: the texts that must look so, and the formats to fill (none: it wants an ARN)."""

    when: tuple[tuple[int, re.Pattern[str]], ...]
    formats: tuple[_Format, ...]
    arn_at: int | None = None  # the only field it may take an ARN of, where it wants nothing else
    is_arn: Callable[[str], bool] | None = None


class _Type(NamedTuple):
    required: bool
    steps: tuple[_Step | None, ...]  # None: from here on only the long way can tell


class Direct(NamedTuple):
    """Which request fields are enough, and how ARNs are made of them."""

    fields: tuple[str, ...]  # the needed ones first
    needed: int
    actions: Mapping[str, tuple[_Type, ...]]

    def maker(self, action: str, header: Header) -> Callable[[Texts], Resources | None]:
        """Return what makes an action's resources of the texts; gives None where it cannot tell.

        What it makes is what ``ResourcePlan.arns`` would.
        """
        types = self.actions.get(action)
        if not types:
            answer: Resources = UNKNOWN if types is None else ANY
            return lambda texts: answer
        useful = [
            t
            for t in types
            if t.required or any(s is None or s.formats or s.is_arn for s in t.steps)
        ]
        if len(useful) == 1 and len(useful[0].steps) == 1:
            step = useful[0].steps[0]
            if step is not None and not step.when and len(step.formats) == 1:
                made = _one_format(step.formats[0], header, self.needed)
                if made is not None:
                    return made
            if step is not None and step.is_arn is not None:
                return _one_arn(step)
        return lambda texts: _general(types, texts, header)


def _one_format(
    form: _Format, header: Header, needed: int
) -> Callable[[Texts], Resources | None] | None:
    """Return the maker of one ARN of one or two fields that are always there."""
    text = form.filled(header)
    if max(form.positions, default=needed) >= needed or len(form.positions) > 2:
        return None
    if len(form.positions) == 1:
        ((at,), (fits,)) = form.positions, form.fits

        def of_one(texts: Texts) -> Resources | None:
            value = texts[at]
            if value is None or value.startswith("arn:"):
                return None
            return (text % value,) if fits(value) else UNKNOWN

        return of_one
    ((first_at, second_at), (first_fits, second_fits)) = form.positions, form.fits

    def of_two(texts: Texts) -> Resources | None:
        first, second = texts[first_at], texts[second_at]
        if first is None or second is None or first.startswith("arn:") or second.startswith("arn:"):
            return None
        if first_fits(first) and second_fits(second):
            return (text % (first, second),)
        return UNKNOWN

    return of_two


def _one_arn(step: _Step) -> Callable[[Texts], Resources | None]:
    """Return the maker of the ARN that a field holds; anything else there goes the long way."""
    at, is_arn = step.arn_at or 0, step.is_arn

    def of_arn(texts: Texts) -> Resources | None:
        value = texts[at]
        return (value,) if value is not None and is_arn is not None and is_arn(value) else None

    return of_arn


def _general(types: Sequence[_Type], texts: Texts, header: Header) -> Resources | None:
    if any(text is not None and text.startswith("arn:") for text in texts):
        return None
    found: set[str] = set()
    for each in types:
        arns: Sequence[str] = ()
        for step in each.steps:
            if step is None:
                return None
            if not all(pattern.fullmatch(texts[at] or "") for at, pattern in step.when):
                continue
            made = [_fill(form, texts, header) for form in step.formats]
            if False in made:
                return UNKNOWN
            arns = [arn for arn in made if isinstance(arn, str)]
            if arns:
                break
        if each.required and not arns:
            return UNKNOWN
        found.update(arns)
    return tuple(sorted(found)) if found else UNKNOWN


def _fill(form: _Format, texts: Texts, header: Header) -> str | bool | None:
    """Return the ARN; None if a field is not there, False if one does not fit."""
    values = [texts[position] or "" for position in form.positions]
    if "" in values:
        return None
    if not all(fits(value) for fits, value in zip(form.fits, values, strict=True)):
        return False
    return form.text % (*(header[i] for i in form.header), *values)


# --- making it ready ----------------------------------------------------------------------------


def direct_of(plan: ResourcePlan, actions: Sequence[str]) -> Direct | None:
    """Return the short way to these actions of an operation, or None where there is none."""
    fields: dict[str, None] = {}
    needed: dict[str, None] = {}
    types_of = {action: plan.types.get(action, ()) for action in actions}
    for action, types in types_of.items():
        if types and action.partition(":")[0] in _NOT_BY_REQUEST:
            return None
        for type_plan in types:
            names = _fields(type_plan.recipes[0]) if type_plan.recipes else None
            if names is None:
                return None
            fields |= dict.fromkeys(names)
        for type_plan in [t for t in types if t.required] or list(types[:1]):
            recipe = type_plan.recipes[0]
            slots = [slot for _, slots in recipe.formats for slot in slots if slot.paths]
            paths = [slot.paths[0] for slot in slots] or recipe.arn_paths[:1]
            needed |= dict.fromkeys(path.steps[0] for path in paths)
    if not needed or len(needed) > 2:
        return None
    ordered = (*needed, *(field for field in fields if field not in needed))
    return Direct(
        tuple(field[:1].lower() + field[1:] for field in ordered),
        len(needed),
        {
            action: tuple(
                _Type(each.required, tuple(_step(r, ordered, len(needed)) for r in each.recipes))
                for each in types
            )
            for action, types in types_of.items()
        },
    )


def _fields(recipe: Recipe) -> list[str] | None:
    """Return the request's top-level fields a recipe looks at; None where it looks elsewhere."""
    if recipe.kind or recipe.account or recipe.scan or recipe.uses_resources or recipe.is_any:
        return None
    paths = list(recipe.paths())
    if any(path.is_response or len(path.steps) > 1 for path in paths):
        return None
    return [path.steps[0] for path in paths]


def _step(recipe: Recipe, fields: Sequence[str], needed: int) -> _Step | None:
    """Return a recipe made ready, or None where it does more than put texts into formats."""
    names = _fields(recipe)
    if names is None or not set(names) <= set(fields):
        return None
    if any(pattern.pattern.startswith("arn:") for _, pattern in recipe.when):
        return _Step((), ())  # for requests with an ARN, which go the long way
    formats = []
    for parts, slots in recipe.formats:
        by_name = {slot.name: slot for slot in slots}
        heads = [name for name in parts[1::2] if name in _HEADER]
        places = [name for name in parts[1::2] if name not in _HEADER]
        if parts[1::2] != heads + places or not all(
            _is_plain(by_name[name], fields[:needed]) for name in places
        ):
            return None
        formats.append(
            _Format(
                "%s".join(part.replace("%", "%%") for part in parts[::2]),
                tuple(_HEADER.index(name) for name in heads),
                tuple(fields.index(by_name[name].paths[0].steps[0]) for name in places),
                tuple(_fits(by_name[name]) for name in places),
            )
        )
    when = tuple((fields.index(path.steps[0]), pattern) for path, pattern in recipe.when)
    if not when and not formats and len(recipe.arn_paths) == 1:
        at = fields.index(recipe.arn_paths[0].steps[0])
        return _Step((), (), at, _remembered(recipe.is_arn))
    return _Step(when, tuple(formats))


def _is_plain(slot: Slot, needed: Sequence[str]) -> bool:
    """Return whether a slot takes the text of one field as it is."""
    return (
        not (slot.takes_all or slot.extract or slot.map or slot.own or slot.default)
        and bool(slot.paths)
        and (len(slot.paths) == 1 or slot.paths[0].steps[0] in needed)
    )


def _fits(slot: Slot) -> Callable[[str], bool]:
    return _remembered(slot.service.check(slot.name))


def _remembered(check: Callable[[str], bool]) -> Callable[[str], bool]:
    known: dict[str, bool] = {}

    def remembered(value: str) -> bool:
        answer = known.get(value)
        if answer is None:
            answer = check(value)
            if len(known) < _MAX_REMEMBERED:
                known[value] = answer
        return answer

    return remembered
