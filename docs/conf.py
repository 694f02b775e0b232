"""Settings of the documentation; `make docs` builds it."""

import importlib
import os
import warnings

import latex2mathml.converter
import matplotlib as mpl
from docutils import nodes

import skvaball

mpl.use("Agg")

project = "skvaball"
author = "The skvaball developers"
copyright = "The skvaball developers"
version = release = skvaball.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
# The inventories of other projects are fetched only if asked for: a build without network
# has to pass, and a failed download is a warning.
if os.environ.get("DOCS_INTERSPHINX"):
    extensions.append("sphinx.ext.intersphinx")
    intersphinx_mapping = {
        "python": ("https://docs.python.org/3", None),
        "numpy": ("https://numpy.org/doc/stable", None),
        "sklearn": ("https://scikit-learn.org/stable", None),
        "pandas": ("https://pandas.pydata.org/docs", None),
        "matplotlib": ("https://matplotlib.org/stable", None),
        "skorch": ("https://skorch.readthedocs.io/en/stable", None),
    }

templates_path = ["_templates"]
exclude_patterns = ["_build", "**.ipynb_checkpoints"]

# References: all names of this library have to resolve, those of others cannot.
nitpicky = True
nitpick_ignore_regex = [
    (
        r"py:.*",
        r"(sklearn|numpy|np|scipy|torch|nn|skorch|pandas|pd|matplotlib|joblib|pickle|imblearn)(\..*)?",
    ),
]

# API reference
autosummary_generate = True
autodoc_typehints = "none"
autodoc_default_options = {"member-order": "groupwise"}
numpydoc_show_class_members = False
numpydoc_use_plots = False

# Pages in Markdown
myst_enable_extensions = ["amsmath", "attrs_inline", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"/plot_",
    "within_subsection_order": "FileNameSortKey",
    "doc_module": ("skvaball",),
    "backreferences_dir": "api/backreferences",
    "inspect_global_variables": False,
    "remove_config_comments": True,
    "show_memory": False,
    "plot_gallery": os.environ.get("DOCS_EXAMPLES", "1") != "0",
    "download_all_examples": False,
    "abort_on_example_error": False,
    "capture_repr": (),
}

html_math_renderer = "mathml"
html_theme = "pydata_sphinx_theme"
html_title = "skvaball"
html_static_path = ["_static"]
html_css_files = ["skvaball.css"]
html_show_sourcelink = False
html_theme_options = {
    "logo": {"text": "skvaball"},
    "navigation_with_keys": False,
    "show_prev_next": True,
    "secondary_sidebar_items": ["page-toc"],
    "navbar_end": ["theme-switcher"],
    "footer_start": ["copyright"],
    "footer_end": [],
}

# A copied example is what was typed, without the prompts.
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

# The examples end with plt.show(), for those who run them; here the gallery takes the figures.
warnings.filterwarnings("ignore", message=".*Agg is non-interactive.*", category=UserWarning)

#: The modules whose public names have a page each.
PUBLIC_MODULES = (
    "skvaball",
    "skvaball.selectors",
    "skvaball.stopping",
    "skvaball.networks",
    "skvaball.features",
    "skvaball.datasets",
    "skvaball.plots",
    "skvaball.experiments",
    "skvaball.experiments.statistics",
    "skvaball.utils.estimator_checks",
    "skvaball.exceptions",
)


def write_math(translator, node):
    """An equation inside a line as MathML: browsers draw it without a script from the network."""
    translator.body.append(latex2mathml.converter.convert(node.astext()))
    raise nodes.SkipNode


def write_displayed_math(translator, node):
    """An equation on a line of its own."""
    # The number of the paper stands apart.
    latex = node.astext().replace(r"\tag", r"\qquad\tag")
    equation = latex2mathml.converter.convert(latex, display="block")
    translator.body.append(f'<div class="math">{equation}</div>')
    raise nodes.SkipNode


def skip_inherited(app, what, name, obj, skip, options):
    """Leave out what scikit-learn, torch and Python bring along: it is documented there."""
    module = getattr(obj, "__module__", None) or getattr(
        getattr(obj, "fget", None), "__module__", None
    )
    if what == "class" and (module is None or not module.startswith("skvaball")):
        return True
    return None


def public_names():
    """The page of each public object, by the object's identity."""
    names = {}
    for module_name in PUBLIC_MODULES:
        module = importlib.import_module(module_name)
        for name in vars(module):
            value = getattr(module, name)
            if not name.startswith("_") and getattr(value, "__module__", "").startswith("skvaball"):
                names.setdefault(id(value), f"{module_name}.{name}")
    return names


def resolve_alias(app, env, node, contnode):
    """Find the page of an object that is referred to by another of its names."""
    target = node.get("reftarget", "")
    if node.get("refdomain") != "py":
        return None
    if not target.startswith("skvaball."):
        # A short name, in a docstring of this module.
        target = f"{node.get('py:module') or 'skvaball'}.{target}"
    parts = target.split(".")
    for i in range(len(parts), 0, -1):
        try:
            value = importlib.import_module(".".join(parts[:i]))
        except ImportError:
            continue
        break
    rest = parts[i:]
    for j, name in enumerate(rest):
        value = getattr(value, name, None)
        page = public_names().get(id(value))
        if page is not None:
            full = ".".join([page, *rest[j + 1 :]])
            domain = env.get_domain("py")
            return domain.resolve_xref(
                env, node["refdoc"], app.builder, "obj", full, node, contnode
            )
    return None


def setup(app):
    """Connect the functions above."""
    app.connect("autodoc-skip-member", skip_inherited)
    app.connect("missing-reference", resolve_alias)
    app.add_html_math_renderer("mathml", (write_math, None), (write_displayed_math, None))
