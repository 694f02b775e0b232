"""What an installation without extras brings: a quick import, and errors that name the extra."""

import subprocess
import sys

import pytest

#: Nothing of this is needed before somebody draws, reads images or runs experiments.
HEAVY = (
    "distributed",
    "matplotlib",
    "pandas",
    "pydantic",
    "safetensors",
    "skactiveml",
    "skimage",
    "skops",
    "sqlalchemy",
    "statsmodels",
    "torchvision",
    "typer",
)


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=200
    )
    return done.stdout + done.stderr


def test_the_import_loads_nothing_heavy_beside_its_dependencies():
    # What torch, skorch and scikit-learn load by themselves is none of our doing.
    code = f"""
import sys
import sklearn, skorch, torch
before = set(sys.modules)
import skvaball, skvaball.datasets, skvaball.networks, skvaball.plots, skvaball.stopping
print(sorted(set({HEAVY!r}) & (set(sys.modules) - before)))
"""
    assert run(code).strip() == "[]"


@pytest.mark.parametrize("missing", ["pydantic", "sqlalchemy", "filelock", "psutil"])
def test_experiments_name_their_extra(missing):
    output = run(f"import sys; sys.modules[{missing!r}] = None; import skvaball.experiments")
    assert f"skvaball.experiments needs {missing}, which is not installed" in output
    assert 'pip install "skvaball[experiments]"' in output


def test_parts_that_load_a_package_late_name_their_extra():
    code = """
import sys
sys.modules["skimage"] = sys.modules["skimage.feature"] = None
import numpy as np
from skvaball.experiments.data import _hog_chunk
_hog_chunk(np.zeros((1, 3, 32, 32)))
"""
    assert 'pip install "skvaball[experiments]"' in run(code)
