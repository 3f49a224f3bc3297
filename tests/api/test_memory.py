"""Where vectors that are updated side by side begin."""

import numpy as np
import pytest

import fastbp
from fastbp._memory import aligned_zeros

PAGE = 4096


@pytest.mark.parametrize("quarter", range(4))
@pytest.mark.parametrize("size", [0, 1, 1000, 1_000_000])
def test_zeros_start_at_a_quarter_of_a_page(size, quarter, dtype):
    vector = aligned_zeros(size, dtype, quarter)
    assert vector.dtype == dtype
    assert vector.shape == (size,)
    assert not vector.any()
    assert vector.flags.c_contiguous
    assert vector.flags.writeable
    if size:
        assert vector.ctypes.data % PAGE == quarter * PAGE // 4


def test_parameters_and_moments_are_not_whole_pages_apart():
    model = fastbp.Model([8, 16, 4], loss="squared_error", seed=0)
    model.fit(np.ones((4, 8)), np.ones((4, 4)), epochs=1, optimizer=fastbp.Adam())
    vectors = (model.parameters, model._state.m, model._state.v)
    assert len({vector.ctypes.data % PAGE for vector in vectors}) == len(vectors)
