"""The documentation's site: ``make docs`` builds it, and every warning is an error."""

from __future__ import annotations

import sys
from importlib.metadata import version as installed_version
from pathlib import Path

from sphinx.application import Sphinx

sys.path.insert(0, str(Path(__file__).parent))

from api_pages import as_restructured_text, keep_first_line, write_pages

project = "trimkit"
version = release = installed_version("trimkit")
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
default_role = "code"
autodoc_member_order = "groupwise"
autodoc_typehints = "signature"
autodoc_class_signature = "mixed"
autodoc_inherit_docstrings = False
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
html_theme = "furo"
html_title = f"trimkit {release}"
html_show_sphinx = False
html_static_path = ["_static"]
html_css_files = ["copy.css"]
html_js_files = [("copy.js", {"defer": "defer"})]

write_pages(Path(__file__).parent / "api")


def setup(app: Sphinx) -> None:
    """Docstrings are plain text with Google's headings: what reStructuredText would take for markup is escaped."""
    app.connect("autodoc-process-docstring", lambda *event: as_restructured_text(event[-1]), priority=100)
    app.connect("autodoc-process-docstring", lambda _, what, *event: keep_first_line(what, event[-1]), priority=200)
