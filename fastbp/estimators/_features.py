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
    _refuse_damaged(X)
    rows = X.tocsr()
    if not rows.has_sorted_indices:
        rows = rows.sorted_indices()
    n, n_in = rows.shape
    return _engine.CSR(
        np.ascontiguousarray(rows.indptr, np.int64),
        np.ascontiguousarray(rows.indices, np.int32),
        np.ascontiguousarray(rows.data, dtype),
        (n, n_in),
    )


def _refuse_damaged(X: Any) -> None:
    """Refuse indices outside X before SciPy's own code, which trusts them, sees them."""
    major, minor = X.shape if X.format == "csr" else X.shape[::-1]
    starts, indices = np.asarray(X.indptr), np.asarray(X.indices)
    stored = len(indices)
    if (
        starts.shape != (major + 1,)
        or starts[0] != 0
        or (np.diff(starts.astype(np.int64)) < 0).any()
        or starts[-1] > stored
        or stored != len(X.data)
        or (stored and not 0 <= indices.min() <= indices.max() < minor)
    ):
        expected = "a sparse matrix whose indices lie within it"
        raise ValueError(explain("X", expected, "damaged indptr or indices", "make it anew"))
