"""The documentation site: `make docs` builds it into build/docs. Every warning is an error."""

import dataclasses
import re
from importlib.metadata import version as installed_version

project = "btu"
author = "the authors of btu"
project_copyright = "the authors of btu, Apache-2.0"
release = version = installed_version("backdoor-token-unlearning")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["figures"]
myst_heading_anchors = 4  # named as code hosts name them: a link to one works here and there
nitpicky = True

html_theme = "furo"
html_title = "Backdoor Token Unlearning"
html_show_sphinx = False
html_copy_source = False
html_theme_options = {"navigation_with_keys": True}

# ---- pages that stand elsewhere

INCLUDED = {"benchmark/protocol.md": "/reference/protocol.md"}


def turn_links(app, page, source):
    """A link out of this folder to a file that a page includes leads to that page."""
    for outside, included in INCLUDED.items():
        source[0] = re.sub(rf"\]\((?:\.\./)+{outside}", f"]({included}", source[0])


# ---- docstrings

default_role = "code"  # as everywhere else, `x` is code
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_attr_annotations = True
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_type_aliases = {"ArrayLike": "ArrayLike"}
# Types of other packages and of inner rooms have no page here.
nitpick_ignore_regex = [(r"py:.*", r"(?!btu\.).*"), (r"py:.*", r"btu\.\w+\..*")]

GIVEN_BACK = {"Findings", "TokenFinding", "TokenEvidence", "Defence", "Evaluation", "RowEdit"}
_ARRAY = re.compile(r"~?numpy\.ndarray\[tuple\[[^]]*\], ~?numpy\.dtype\[~?numpy\.(\w+)\]\]")
_COLON = "\ue000"


def shorten_types(app, what, name, obj, options, signature, returned):
    """Arrays by their short name; no constructor for what btu makes and a user only reads."""
    if what == "class" and name.removeprefix("btu.") in GIVEN_BACK:
        return "", returned
    return tuple(text and _ARRAY.sub(r"NDArray[\1]", text) for text in (signature, returned))


def shorten_attribute_types(app, what, name, obj, options, lines):
    """The same where napoleon has written the type of an attribute."""
    lines[:] = [_ARRAY.sub(r"NDArray[\1]", line) for line in lines]


def tell_settings(app, what, name, obj, options, lines):
    """The fields of a settings class with the text that the command line shows, too."""
    if what != "class" or not dataclasses.is_dataclass(obj):
        return
    told = {f.name: f.metadata["help"] for f in dataclasses.fields(obj) if "help" in f.metadata}
    if told:
        lines += ["", "Attributes:", *(f"    {field}: {text}" for field, text in told.items())]


def set_off_code(app, what, name, obj, options, lines):
    """An example that is no session of an interpreter is code as well."""
    for i, line in enumerate(lines):
        if line.strip() == "Example:" and not lines[i + 1].strip().startswith(">>>"):
            indent = " " * (len(lines[i + 1]) - len(lines[i + 1].lstrip()))
            end = next((j for j in range(i + 1, len(lines)) if not lines[j].strip()), len(lines))
            code = [f"    {text}" for text in lines[i + 1 : end]]
            lines[i + 1 : end] = [f"{indent}.. code-block:: none", "", *code]


def hide_colon(app, what, name, obj, options, lines):
    """Napoleon takes what stands before a colon in a property's first line for a type."""
    if what == "property" and lines:
        lines[0] = lines[0].replace(":", _COLON)


def show_colon(app, what, name, obj, options, lines):
    """The colon back."""
    lines[:] = [line.replace(_COLON, ":") for line in lines]


def setup(app):
    """Docstrings are changed before napoleon reads them, at 500, and after."""
    app.connect("source-read", turn_links)
    app.connect("autodoc-process-signature", shorten_types)
    for change in (tell_settings, set_off_code, hide_colon):
        app.connect("autodoc-process-docstring", change, priority=400)
    for change in (shorten_attribute_types, show_colon):
        app.connect("autodoc-process-docstring", change, priority=600)
