"""Sphinx settings of the documentation: `tox -e docs`."""

from importlib.metadata import version as installed

project = "napari-recurrent-mz"
author = "napari-recurrent-mz contributors"
copyright = f"2026, {author}"  # noqa: A001
release = version = installed(project)
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_enable_extensions = ["dollarmath"]
exclude_patterns = ["performance/*.md"]  # parts of a page
myst_heading_anchors = 3
html_theme = "furo"
html_title = project
html_logo = html_favicon = "../src/napari_recurrent_mz/docks/icon.svg"
autodoc_member_order = "bysource"
autodoc_typehints = "none"
napoleon_google_docstring = False
# Types in docstrings such as "shape (Z, Y, X)" are words; several classes have a `shape`.
suppress_warnings = ["ref.python"]
