"""Sphinx: the reference of the library, from its docstrings, and the pages beside this file. `make docs` builds it."""

from scipy.stats import ks_2samp

import rayon

project, author, version = "rayon", "rayon", rayon.__version__
extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "myst_parser",
]
templates_path = ["_templates"]
html_theme, html_title = "furo", "rayon"
myst_heading_anchors = 3

default_role = "py:obj"  # `rayon.gate` in a docstring is a link where there is such a thing, and code elsewhere
add_module_names = False
autodoc_default_options = {
    "members": True,
    "ignore-module-all": True,  # what a module passes on is documented where it comes from
    "member-order": "bysource",
    "show-inheritance": True,
}
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False

nitpicky = True  # a name below rayon that is not there is a mistake; other libraries are not linked
nitpick_ignore_regex = [(r"py:.*", r"(?!rayon\.).*"), (r"py:.*", r".*\.(T|Item|Result)")]  # the latter: type variables
suppress_warnings = [
    "ref.python",  # an annotation's bare name that two modules have
    "myst.xref_missing",  # Markdown outside docs/, such as notebooks/LOG.md
]


def setup(app):
    """Leave out fields of records, which their docstring tells, and what scipy makes look like ours."""

    def skip(app, kind, name, thing, skipped, options):
        return True if type(thing).__name__ == "_tuplegetter" or thing is ks_2samp else None

    app.connect("autodoc-skip-member", skip)
