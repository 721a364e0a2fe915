"""How the documentation is built: `make docs`."""

import builtins
import importlib.metadata
import sys
from pathlib import Path
from typing import Any, cast

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.ext.napoleon import Config
from sphinx.ext.napoleon.docstring import GoogleDocstring

sys.path.insert(0, str(Path(__file__).parent))  # for the extension `house`

project = "feedwarden"
author = "the feedwarden developers"
project_copyright = f"2026 {author}"
release = importlib.metadata.version("feedwarden")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinxcontrib_trio", "house"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]
nitpicky = True
AMBIGUOUS = {"Link"}  # a name of two rooms, imported for type checkers only
UNNAMED = {"Ts"}  # a variadic type variable is written without its module
nitpick_ignore = [("py:class", name) for name in AMBIGUOUS | UNNAMED]
nitpick_ignore_regex = [
    # no page of another project is fetched: a build needs no network
    ("py:.*", r"(?!actors\.|supervisors\.)\w+\..*"),
    # private names and type variables have no entry
    ("py:.*", r"(actors|supervisors)\.(.+\.)?(_\w+|[A-Z])"),
]

autodoc_default_options = {"members": True, "undoc-members": True}
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
python_display_short_literal_types = True

NAPOLEON = Config(napoleon_use_ivar=True)

html_theme = "furo"
html_title = f"feedwarden {release}"
html_show_sourcelink = False


def read_sections(_app: Sphinx, what: str, _name: str, _obj: object, _options: object, lines: list[str]) -> None:
    """Read `Args:` and the like; napoleon as an extension would also take a field's first words for its type."""
    if what not in {"attribute", "data", "property"}:
        lines[:] = GoogleDocstring(lines, cast("Any", NAPOLEON)).lines()  # annotated as Sphinx's own Config


def aim_references(_app: Sphinx, doctree: nodes.document) -> None:
    """Find a bare name in whatever module it is; keep ``bytes`` from becoming a link to some field of that name."""
    for reference in list(doctree.findall(pending_xref)):
        if reference.get("refdomain") == "py":
            reference["refspecific"] = True
            if reference["reftarget"] in AMBIGUOUS:
                del reference["refspecific"]
            if hasattr(builtins, str(reference["reftarget"])):
                reference.replace_self(nodes.Text(reference["reftarget"]))


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", read_sections)
    app.connect("doctree-read", aim_references)
