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
