"""Values as people write them become the fields of an :class:`~actors.exchange.Exchange`, or are refused by name.

The rules are strict: a number is never taken from a string, a string never from a number, and an unknown name is a
mistake.
"""

import enum
import os
import tomllib
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import partial
from typing import Any, Literal, get_args, get_origin

import attrs
from cattrs import (
    AttributeValidationNote,
    BaseValidationError,
    Converter,
    ForbiddenExtraKeysError,
    IterableValidationError,
    IterableValidationNote,
    cols,
    gen,
)

from actors.backoff import ReconnectStrategy
from actors.errors import Advice
from actors.exchange import Exchange
from actors.transport import SystemNetwork
from actors.transport.target import Target
from supervisors.standalone.mistakes import BadInput, nearest

_COLS: Any = cols  # cattrs leaves holes in the types of its factories
_GEN: Any = gen

NOT_BY_NAME = frozenset({"reconnect", "endpoint", "make_session", "describe", "sources"})
"""Fields of ``Exchange`` that are code, or prose, or whose own fields are given instead."""

_EXCHANGE = {field.name: field for field in attrs.fields(Exchange) if field.name not in NOT_BY_NAME}
_STRATEGY = {field.name: field for field in attrs.fields(ReconnectStrategy) if field.init}
SETTABLE: Mapping[str, "attrs.Attribute[Any]"] = {**_EXCHANGE, **_STRATEGY}
"""Every field that ``set`` and ``--set`` take, those of the reconnect strategy beside the exchange's own."""


def override(exchange: Exchange, values: Mapping[str, Any], place: str) -> Exchange:
    """The exchange with some of its fields, or of its reconnect strategy's, replaced.

    Args:
        exchange: The profile.
        values: By field name, as TOML has them.
        place: What stands before a field's name in a message: ``--set `` or ``feed.upbit.set.``.

    Raises:
        BadInput: every field that is unknown or has a value it cannot have.
    """
    good, mistakes = checked(values, place)
    if mistakes:
        raise BadInput(*mistakes)
    return applied(exchange, good, place.rstrip(" ."))


def checked(values: Mapping[str, Any], place: str) -> tuple[dict[str, Any], list[str]]:
    """The values that each by itself are fit for its field, and a line for each of the others."""
    good: dict[str, Any] = {}
    mistakes: list[str] = []
    for name, raw in values.items():
        try:
            good[name] = _field(name, raw)
        except BadInput as error:
            mistakes += [f"{place}{line}" for line in error.lines]
    return good, mistakes


def applied(exchange: Exchange, values: Mapping[str, Any], place: str) -> Exchange:
    """The exchange with values that are :func:`checked`; raises BadInput if they do not go together."""
    strategy = {name: value for name, value in values.items() if name in _STRATEGY}
    own = {name: value for name, value in values.items() if name in _EXCHANGE}
    try:
        return attrs.evolve(exchange, reconnect=attrs.evolve(exchange.reconnect, **strategy), **own)
    except ValueError as error:
        raise BadInput(f"{place}: {error}") from None


def at_url(exchange: Exchange, url: str, place: str) -> Exchange:
    """The exchange reached by ``url``; raises BadInput if that is no WebSocket URL that may be dialled."""
    try:
        Target.of(url)
        return attrs.evolve(exchange, ws_url=url, endpoint=None)
    except ValueError as error:
        raise BadInput(f"{place}: {str(error).removeprefix('ws_url ')}") from None


def network(ca_file: str | os.PathLike[str] | None, source: str = "") -> SystemNetwork:
    """The network that trusts a PEM file and comes from an address; ValueError without the option's own name."""
    try:
        return SystemNetwork(ca_file=ca_file, source=source)
    except ValueError as error:
        raise ValueError(str(error).removeprefix("ca_file ").removeprefix("source ")) from None


def assignment(text: str) -> tuple[str, Any]:
    """Name and value of a ``FIELD=VALUE``, the value written as in TOML; a string needs no quotes.

    Raises:
        BadInput: there is no ``=`` in it.
    """
    name, equals, value = text.partition("=")
    name = name.strip()
    if not equals or not name:
        raise BadInput("--set takes FIELD=VALUE, like --set message_timeout=30")
    if name in SETTABLE and SETTABLE[name].type is str and not value.startswith(("'", '"')):
        return name, value
    try:
        parsed = tomllib.loads(f"value = {value}")
    except tomllib.TOMLDecodeError:
        return name, value
    return name, parsed["value"] if len(parsed) == 1 else value


def structure(value: Any, kind: Any, place: str) -> Any:
    """``value`` as a ``kind``; raises BadInput with every mistake in it."""
    try:
        return _CONVERTER.structure(value, kind)
    except (BaseValidationError, ValueError, TypeError) as error:
        raise BadInput(*_explained(error, place)) from None


def _field(name: str, raw: Any) -> Any:
    if name not in SETTABLE:
        if name in NOT_BY_NAME:
            raise BadInput(f"{name}: cannot be given in words")
        raise BadInput(f"{name}: unknown field{nearest(name, SETTABLE)}")
    field = SETTABLE[name]
    value = structure(raw, field.type, name)
    try:
        if name == "ws_url":
            Target.of(value)  # stricter than the field, and repeats no query
        if field.validator is not None:
            field.validator(None, field, value)
    except (ValueError, TypeError) as error:
        # the validators name the field themselves, some in quotes
        why = str(error.args[0]).removeprefix(f"'{name}'").removeprefix(name)
        raise BadInput(f"{name}: {why.lstrip()}") from None
    return value


def _explained(error: BaseException, place: str) -> Iterator[str]:
    """One line for each mistake that cattrs found, the place spelled as in the file."""
    if isinstance(error, BaseValidationError):
        for inner in error.exceptions:
            yield from _explained(inner, place + _step(inner, error))
    elif isinstance(error, ForbiddenExtraKeysError):
        known = [field.name for field in attrs.fields(error.cl)]
        for name in sorted(error.extra_fields):
            yield f"{place}.{name}: unknown key{nearest(name, known)}"
    elif isinstance(error, KeyError):
        yield f"{place}: missing"
    else:
        yield f"{place}: {error}"


def _step(inner: BaseException, outer: BaseException) -> str:
    for note in getattr(inner, "__notes__", ()):
        if isinstance(note, AttributeValidationNote):
            return f".{note.name}"
        if isinstance(note, IterableValidationNote):
            listed = isinstance(outer, IterableValidationError) and isinstance(note.index, int)
            return f"[{note.index}]" if listed else f".{note.index}"
    return ""


_WORDS: Mapping[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a string",
    list: "a list",
    dict: "a table",
}


def _word(value: Any) -> str:
    return _WORDS.get(type(value), "a date or time")


def _checked(value: Any, kind: type) -> Any:
    if type(value) is not kind and not (kind is float and type(value) is int):
        raise TypeError(f"expected {_WORDS[kind]}, got {_word(value)}")
    return value


def _scalar(value: Any, kind: Any) -> Any:
    # cattrs sends the members of a StrEnum here too
    return _member(value, kind) if issubclass(kind, enum.Enum) else _checked(value, kind)


def _member(value: Any, kind: type[enum.Enum]) -> enum.Enum:
    for member in kind:
        if member.value == value:
            return member
    raise ValueError(f"expected one of {', '.join(str(member.value) for member in kind)}")


def _moment(value: Any, _kind: Any) -> datetime:
    if not isinstance(value, datetime):
        raise TypeError(
            f"expected a date with a time and its offset, like 2026-12-01T02:00:00+09:00, got {_word(value)}"
        )
    return value


def _literal(value: Any, kind: Any) -> Any:
    if value not in get_args(kind):
        raise ValueError(f"expected one of {', '.join(map(str, get_args(kind)))}")
    return value


def _one_or_more(value: Any, _kind: Any) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else _CONVERTER.structure(value, tuple[str, ...])


def _of(kind: type, hook: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """A hook for a ``kind`` only: cattrs itself would iterate over a string."""
    return lambda value, wanted: hook(_checked(value, kind), wanted)


def _close_codes(value: Any, _type: Any) -> dict[int, Advice]:
    table: dict[str, Any] = _checked(value, dict)
    if not all(code.isdecimal() for code in table):
        raise ValueError("the keys are close codes, like 1008")
    return {int(code): _CONVERTER.structure(advice, Advice) for code, advice in table.items()}


def _made_of(origin: type) -> Callable[[Any], bool]:
    return lambda kind: get_origin(kind) is origin


def _strict() -> Converter:
    converter = Converter(forbid_extra_keys=True)
    for scalar in (bool, int, float, str):
        converter.register_structure_hook(scalar, _scalar)
    hook: Callable[[Callable[[Any], bool], Callable[[Any, Any], Any]], None] = converter.register_structure_hook_func
    hook(lambda kind: isinstance(kind, type) and issubclass(kind, enum.Enum), _member)
    hook(lambda kind: kind == Mapping[int, Advice], _close_codes)
    hook(lambda kind: get_origin(kind) is Literal, _literal)
    hook(lambda kind: kind is datetime, _moment)
    hook(lambda kind: kind == int | str, lambda value, _kind: value if type(value) is int else _checked(value, str))
    hook(lambda kind: kind == str | tuple[str, ...], _one_or_more)
    # a heartbeat's payload: only code can give a function
    hook(lambda kind: kind == str | Callable[[int], str], lambda value, _kind: _checked(value, str))
    for applies, written_as, make in (
        (attrs.has, dict, _GEN.make_dict_structure_fn),
        (_made_of(tuple), list, _COLS.homogenous_tuple_structure_factory),
        (_made_of(dict), dict, _COLS.mapping_structure_factory),
    ):
        factory: Callable[[Any], Any] = partial(_wrapped, converter, written_as, make)
        converter.register_structure_hook_factory(applies, factory)
    return converter


def _wrapped(converter: Converter, written_as: type, make: Any, kind: Any) -> Callable[[Any, Any], Any]:
    return _of(written_as, make(kind, converter))


_CONVERTER = _strict()
