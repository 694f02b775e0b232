"""The documentation is complete: a page for each public name, and code that can be run."""

import ast
import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
#: Pages whose blocks marked "python" are one program. Blocks marked "py" are not run: they
#: are of other libraries, or need what not every machine has.
PAGES = [
    path
    for folder in ("guide", "coming_from")
    for path in sorted((ROOT / "docs" / folder).glob("*.md"))
] + [ROOT / "docs" / name for name in ("index.md", "cheatsheet.md")]
PACKAGES = (
    "skvaball",
    "skvaball.selectors",
    "skvaball.vab",
    "skvaball.stopping",
    "skvaball.networks",
    "skvaball.datasets",
    "skvaball.plots",
    "skvaball.experiments",
    "skvaball.experiments.report",
)
MODULES = ("skvaball.exceptions", "skvaball.features", "skvaball.utils.estimator_checks")


def reference() -> dict[str, object]:
    """The names in the API reference, in full, with what they name."""
    text = (ROOT / "docs" / "api" / "index.rst").read_text(encoding="utf-8")
    names, module = {}, ""
    for line in text.splitlines():
        if found := re.match(r"\.\. currentmodule:: (\S+)", line):
            module = found.group(1)
        elif found := re.match(r"   (\w+)$", line):
            names[f"{module}.{found.group(1)}"] = getattr(
                importlib.import_module(module), found.group(1)
            )
    return names


def public_objects() -> list[object]:
    names = [(package, name) for package in PACKAGES for name in _all(package)]
    for module in MODULES:
        own = vars(importlib.import_module(module)).items()
        names += [
            (module, name)
            for name, value in own
            if not name.startswith("_") and getattr(value, "__module__", "") == module
        ]
    return [
        pytest.param(getattr(importlib.import_module(module), name), id=f"{module}.{name}")
        for module, name in names
    ]


def _all(package: str) -> list[str]:
    return [name for name in importlib.import_module(package).__all__ if name != "__version__"]


def python_blocks(page: Path) -> str:
    return "\n".join(
        re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.M)
    )


PROGRAMS = [page for page in PAGES if python_blocks(page)]


@pytest.mark.parametrize("value", public_objects())
def test_public_name_is_in_the_reference_and_has_a_docstring(value):
    assert any(value is known for known in reference().values())
    assert inspect.getdoc(value)


def public_functions() -> list[str]:
    """Functions, and the methods of classes, by their full names."""
    found = set()
    for case in public_objects():
        value = case.values[0]
        # The public checks take a selector, each in the same way; check_selector says it once.
        if not callable(value) or value.__module__ == "skvaball.utils.estimator_checks":
            continue
        name = f"{value.__module__}.{value.__qualname__}"
        if not inspect.isclass(value):
            found.add(name)
            continue
        found |= {
            f"{name}.{attribute}"
            for attribute, part in vars(value).items()
            if not attribute.startswith("_")
            and (inspect.isfunction(part) or isinstance(part, classmethod | staticmethod))
        }
    return sorted(name for name in found if name.startswith("skvaball."))


@pytest.mark.parametrize("name", public_functions())
def test_docstring_has_what_goes_in_and_what_comes_out(name):
    numpydoc = pytest.importorskip("numpydoc.validate", reason="the extra docs is not installed")
    missing = {"GL08": "docstring", "PR01": "parameter", "PR02": "parameter"}
    missing |= {"RT01": "Returns", "YD01": "Yields"}
    errors = [error for error in numpydoc.validate(name)["errors"] if error[0] in missing]
    assert not errors


def test_the_reference_names_nothing_twice():
    names = reference()
    assert len({id(value) for value in names.values()}) == len(names)


def test_there_are_ten_examples():
    assert len(EXAMPLES) >= 10
    assert all(path.name.startswith("plot_") for path in EXAMPLES)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_has_a_title_a_lesson_and_code_that_compiles(path):
    source = path.read_text(encoding="utf-8")
    compile(source, str(path), "exec")
    title, line, *rest = ast.get_docstring(ast.parse(source)).splitlines()
    assert line == "=" * len(title)
    assert "lesson" in " ".join(rest).lower()
    assert "plt.show()" in source


@pytest.mark.parametrize("path", PAGES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_code_of_a_page_compiles(path):
    compile(python_blocks(path), str(path), "exec")


@pytest.mark.slow
@pytest.mark.pages
@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_code_of_a_page_runs_from_top_to_bottom(path, tmp_path):
    code = python_blocks(path)
    if "SkactivemlSelector(" in code:
        pytest.importorskip("skactiveml", reason="scikit-activeml is not installed")
    program = tmp_path / "page.py"
    program.write_text(code, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, program], cwd=tmp_path, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stderr


def test_pages_are_reached_from_the_index():
    """Each page in Markdown is in some table of contents."""
    docs = ROOT / "docs"
    pages = [page for page in docs.rglob("*.md") if "_build" not in page.parts]
    listed = set()
    for page in pages:
        text = page.read_text(encoding="utf-8")
        for tree in re.findall(r"```{toctree}(.*?)```", text, re.DOTALL):
            for entry in re.findall(r"^(?!:)(\S+)$", tree, re.M):
                listed.add((page.parent / entry).resolve())
    missing = [page for page in pages if page.with_suffix("").resolve() not in listed]
    assert missing == [docs / "index.md"]
