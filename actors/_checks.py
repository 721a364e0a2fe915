"""Validators whose message names the field, the bound and the value (pure)."""

from collections.abc import Callable
from typing import Any

import attrs

Validator = Callable[[Any, "attrs.Attribute[Any]", Any], None]


def in_range(low: float, high: float, *, open_left: bool = False) -> Validator:
    """A number from ``low`` to ``high``; with ``open_left`` the lower bound itself is refused."""

    def check(_instance: object, field: "attrs.Attribute[Any]", value: Any) -> None:
        whole = field.type is int
        if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
            msg = f"{field.name} must be {'a whole number' if whole else 'a number'}: {value!r}"
            raise TypeError(msg)
        if not (low < value if open_left else low <= value) or not value <= high:
            bound = f"more than {low:g}" if open_left else f"at least {low:g}"
            msg = f"{field.name} must be {bound} and at most {high:g}: {value!r}"
            raise ValueError(msg)

    return check
