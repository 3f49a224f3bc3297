"""X as the engine reads it: dense arrays of any layout, or compressed sparse rows."""

from typing import Any

import numpy as np
import scipy.sparse

from fastbp import _engine
from fastbp._validation import Array, as_numeric, explain


def as_features(X: Any, dtype: np.dtype[Any]) -> Array | _engine.CSR:
    """Return X, which scikit-learn has validated, for a model of this dtype."""
    return _compressed(X, dtype) if scipy.sparse.issparse(X) else as_numeric(X, "X")


def _compressed(X: Any, dtype: np.dtype[Any]) -> _engine.CSR:
    """Return rows whose columns ascend and lie within X, as the engine trusts them to."""
    rows = X.tocsr()
    if not rows.has_sorted_indices:
        rows = rows.sorted_indices()
    n, n_in = rows.shape
    starts = np.ascontiguousarray(rows.indptr, np.int64)
    stored = len(rows.indices)
    if (
        starts.shape != (n + 1,)
        or starts[0] != 0
        or (np.diff(starts) < 0).any()
        or not starts[-1] <= stored == len(rows.data)
        or (stored and not 0 <= rows.indices.min() <= rows.indices.max() < n_in)
    ):
        expected = "a sparse matrix whose indices lie within it"
        raise ValueError(explain("X", expected, "damaged indptr or indices", "make it anew"))
    return _engine.CSR(
        starts,
        np.ascontiguousarray(rows.indices, np.int32),
        np.ascontiguousarray(rows.data, dtype),
        (n, n_in),
    )
