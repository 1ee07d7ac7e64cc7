"""Sphinx: docs/ as a site with search that opens without a network (``make docs``)."""

from __future__ import annotations

import json
import sys
from importlib.metadata import version as installed_version
from pathlib import Path

from sphinx.application import Sphinx

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # generate.py
sys.path.insert(0, str(HERE.parent))  # the checkout itself, where the package is not installed from it

project = "xraybench"
author = "The xraybench developers"
project_copyright = author
version = release = installed_version("xraybench")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
# The notebook is read as the Markdown that `as_markdown` makes of it; nothing is executed.
source_suffix = {".md": "markdown", ".rst": "restructuredtext", ".ipynb": "markdown"}
exclude_patterns = ["**/__pycache__"]
highlight_language = "text"

html_theme = "furo"
html_title = "xraybench"
html_show_sourcelink = False
html_copy_source = False

myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]

autodoc_default_options = {
    "members": True,
    "member-order": "bysource",
    "exclude-members": "model_config",
    "ignore-module-all": True,
}
autodoc_typehints_format = "short"
autodoc_type_aliases = {name: name for name in ("ArrayLike", "NDArray", "Tensor")}  # else written out in a line each
add_module_names = False
default_role = "py:obj"  # a name in single backticks is a link where there is such an object, and code elsewhere
suppress_warnings = ["ref.python"]  # short names in types that several rooms have
python_maximum_signature_line_length = 100
napoleon_google_docstring = False
napoleon_use_param = False  # types are text: "shape (n, d)" is no link to whatever is called shape
napoleon_use_rtype = False
napoleon_use_ivar = True
toc_object_entries = False


def as_markdown(app: Sphinx, docname: str, content: list[str]) -> None:
    """Show a notebook's cells as text and Python; its outputs are not committed."""
    if Path(app.env.doc2path(docname)).suffix != ".ipynb":
        return
    cells = json.loads(content[0])["cells"]
    text = [(cell["cell_type"], "".join(cell["source"])) for cell in cells]
    content[0] = "\n\n".join(f"```python\n{source}\n```" if kind == "code" else source for kind, source in text)


def write_reference(_: Sphinx) -> None:
    """Write the pages that come from the code: commands from their options, Python from the docstrings."""
    import generate

    generate.write(HERE / "reference" / "generated")


def setup(app: Sphinx) -> None:
    """Register what is made of the code."""
    app.connect("builder-inited", write_reference)
    app.connect("source-read", as_markdown)
