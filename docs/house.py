"""A Sphinx extension that draws the house: boxes on floors, as SVG, from a few lines of text.

The text names every room with what it is for, floor by floor, and each storey by a line without a colon. The floors
are compared with the import contracts in pyproject.toml, so the picture is wrong only when CI is.
"""

import tomllib
from html import escape
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

WIDTH, ROW, GAP, MARGIN, LABEL = 760, 34, 6, 14, 22
PYPROJECT = Path(__file__).parent.parent / "pyproject.toml"

Storeys = dict[str, list[tuple[list[str], str]]]
"""By storey, from top to bottom: the rooms of each floor, and what they are for."""


def parse(text: str) -> Storeys:
    """The storeys of a text; a floor is ``room | room: what for``."""
    storeys: Storeys = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        rooms, colon, purpose = line.partition(":")
        if not colon:
            storeys[line] = []
        elif storeys:
            storeys[list(storeys)[-1]].append(([room.strip() for room in rooms.split("|")], purpose.strip()))
    return storeys


def contracts(pyproject: Path = PYPROJECT) -> dict[str, list[set[str]]]:
    """By package, from top to bottom: the modules of each layer that import-linter checks."""
    config = tomllib.loads(pyproject.read_text(encoding="utf-8"))
    layers: dict[str, list[set[str]]] = {}
    for contract in config["tool"]["importlinter"]["contracts"]:
        for package in contract.get("containers", ()):
            floors = [{room.strip(" ()") for room in layer.split("|")} for layer in contract["layers"]]
            layers[package] = [{room for room in floor if not room.startswith("_")} for floor in floors]
    return {package: [floor for floor in floors if floor] for package, floors in layers.items()}


def differences(storeys: Storeys, layers: dict[str, list[set[str]]]) -> list[str]:
    """Where the drawing and the contracts say different things, in words."""
    drawn = {name: [set(rooms) for rooms, _ in floors] for name, floors in storeys.items()}
    return [
        f"{name}: drawn {drawn.get(name)}, but the import contracts say {layers.get(name)}"
        for name in dict.fromkeys([*drawn, *layers])
        if drawn.get(name) != layers.get(name)
    ]


def draw(storeys: Storeys) -> str:
    """The house as one SVG element, in the colours of the page around it."""
    parts: list[str] = []
    y = 2
    for name, floors in storeys.items():
        height = LABEL + len(floors) * (ROW + GAP) + MARGIN
        parts.append(f'<rect x="1" y="{y}" width="{WIDTH - 2}" height="{height}" rx="6" fill-opacity="0.04"/>')
        parts.append(f'<text x="{MARGIN}" y="{y + 18}" font-weight="bold">{escape(name)}/</text>')
        y += LABEL + GAP
        for rooms, purpose in floors:
            x = MARGIN
            for room in rooms:
                width = 24 + 8 * len(room)
                parts.append(f'<rect x="{x}" y="{y}" width="{width}" height="{ROW}" rx="4" fill-opacity="0.08"/>')
                parts.append(f'<text x="{x + 12}" y="{y + 22}" font-family="monospace">{escape(room)}</text>')
                x += width + GAP
            parts.append(f'<text x="{max(x, 190) + GAP}" y="{y + 22}" font-size="13">{escape(purpose)}</text>')
            y += ROW + GAP
        y += MARGIN
    label = "; ".join(
        f"{name}: {', '.join(room for rooms, _ in floors for room in rooms)}" for name, floors in storeys.items()
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" role="img" aria-label="{escape(label)}" '
        f'fill="currentColor" stroke="none" font-family="sans-serif" font-size="14">{"".join(parts)}</svg>'
    )


class House(SphinxDirective):
    """``{house}``: the drawing of its text; an error of the build where it contradicts the contracts."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """The picture."""
        self.env.note_dependency(str(PYPROJECT))
        storeys = parse("\n".join(self.content))
        wrong = differences(storeys, contracts())
        if wrong:
            raise self.error("; ".join(wrong))
        return [nodes.raw("", draw(storeys), format="html")]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("house", House)
    return {"parallel_read_safe": True}
