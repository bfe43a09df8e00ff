"""Sphinx: the reference of the library, from its docstrings, and the pages beside this file. `make docs` builds it."""

import os

import rayon

os.environ.setdefault("WANDB_MODE", "disabled")

project, author, version = "rayon", "rayon", rayon.__version__
extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "myst_parser",
]
html_theme = "furo"
html_title = "rayon"
templates_path = ["_templates"]

default_role = "py:obj"  # `rayon.gate` in a docstring is a link where there is such a thing, and code where not
add_module_names = False
autosummary_ignore_module_all = False
autodoc_default_options = {"members": True, "show-inheritance": True, "member-order": "bysource"}
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
myst_heading_anchors = 3
