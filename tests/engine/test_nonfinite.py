"""The search of X for what is not finite, alone and on a team."""

import numpy as np
import pytest

from fastbp import _engine

ROWS, COLUMNS = 6000, 50  # enough for a team
LAST = (ROWS - 1, COLUMNS - 1)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [(0, 0), (2999, COLUMNS - 1), (3000, 0), LAST])
@pytest.mark.parametrize("n_threads", [1, 2, 3, 7])
def test_the_first_is_found(place, value, n_threads, dtype, engine):
    engine.set_num_threads(n_threads)
    x = np.ones((ROWS, COLUMNS), dtype)
    assert _engine.first_nonfinite(x) is None
    x[LAST] = np.nan
    x[place] = value
    assert _engine.first_nonfinite(x) == place
    assert _engine.first_nonfinite(x[::-1]) == (0, COLUMNS - 1)
    assert _engine.first_nonfinite(np.asfortranarray(x)) == place


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_values_that_float32_would_not_hold(sign, n_threads, engine):
    engine.set_num_threads(n_threads)
    largest = float(np.finfo(np.float32).max)
    x = np.full((ROWS, COLUMNS), sign * largest)
    assert _engine.first_nonfinite(x, single=True) is None
    x[2999, 7] = np.nextafter(x[0, 0], sign * np.inf)
    assert _engine.first_nonfinite(x, single=True) == (2999, 7)
    assert _engine.first_nonfinite(x) is None
    x[5, 5] = np.nan
    assert _engine.first_nonfinite(x, single=True) == (5, 5)
