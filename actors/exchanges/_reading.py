"""Careful looks into decoded JSON of strangers: whatever has the wrong shape reads as empty, nothing raises."""

from typing import Any, cast


def fields(value: Any) -> dict[str, Any]:
    """The value if it is a JSON object, else an empty one."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def text(value: Any) -> str:
    """A string or number as text, anything else empty: the text of a deeply nested list would exhaust the stack."""
    return str(value) if isinstance(value, str | int | float) else ""
