"""pytest plugin: fastbp's estimators in the place of those of ``sklearn.neural_network``.

It must be loaded before anything that imports those by name, hence as ``-p swap_plugin``.
"""

import pytest
import sklearn.neural_network

from fastbp import estimators

NAMES = ("MLPClassifier", "MLPRegressor")

for name in NAMES:
    setattr(sklearn.neural_network, name, getattr(estimators, name))


def pytest_addoption(parser):
    parser.addoption("--leave-out", action="append", default=[], metavar="FUNCTION")


def pytest_collection_modifyitems(config, items):
    left_out = [item for item in items if item.originalname in config.getoption("--leave-out")]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


@pytest.fixture(autouse=True)
def _whose_estimators(request, record_property):
    """Write down where the classes come from that the module of the test has by these names."""
    for name in NAMES:
        record_property(name, getattr(request.module, name).__module__)
