"""Options, markers and the fixtures that run a numeric test on every kernel table.

The modules beside this file (tolerances, nets) and tools/ are importable from all tests.
"""

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from fastbp import _engine

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(1, str(Path(__file__).parents[1] / "tools"))
# Tests that start Python in a checkout mean the installed package, not the folder beside them.
os.environ["PYTHONSAFEPATH"] = "1"

THREADS = (1, 2, 3)


def pytest_addoption(parser):
    parser.addoption("--long", action="store_true", help="also run the tests marked `long`")
    parser.addoption(
        "--mnist", type=Path, metavar="FOLDER", help="folder of MNIST's four IDX files (or .gz)"
    )


def pytest_configure(config):
    config.addinivalue_line("markers", "long: too long for every day; run with --long")


def pytest_collection_modifyitems(config, items):
    if not config.getoption("--long"):
        long = [item for item in items if item.get_closest_marker("long")]
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if not item.get_closest_marker("long")]


@pytest.fixture
def mnist(request):
    """Folder of the MNIST files."""
    folder = request.config.getoption("--mnist")
    if folder is None:
        pytest.skip("needs the MNIST files; run with --mnist FOLDER")
    return folder


@pytest.fixture
def engine():
    """The compiled core, whose settings are put back afterwards."""
    isa, threads = _engine.get_isa(), _engine.get_num_threads()
    grain = _engine.get_thread_grain()
    yield _engine
    _engine.use_isa(isa)
    _engine.set_num_threads(threads)
    _engine.set_thread_grain(grain)


@pytest.fixture(params=_engine.isas())
def isa(request, engine):
    """Each kernel table that this machine can run, in use."""
    engine.use_isa(request.param)
    return request.param


@pytest.fixture(params=THREADS, ids=lambda n: f"{n}threads")
def threads(request, engine):
    """Several team sizes, in use however small the work is."""
    engine.set_num_threads(request.param)
    engine.set_thread_grain(0)
    return request.param


@pytest.fixture(params=(np.float32, np.float64), ids=("float32", "float64"))
def dtype(request):
    """The dtypes of the parameters."""
    return np.dtype(request.param)


@pytest.fixture(scope="session")
def pytorch():
    """What PyTorch computed: golden/pytorch.npz, by the keys of golden/record_pytorch.py."""
    with np.load(Path(__file__).parent / "golden" / "pytorch.npz") as file:
        return dict(file)
