"""X as the engine reads it: dense arrays of any layout, or compressed sparse rows."""

from typing import Any

import numpy as np
import scipy.sparse
from sklearn import get_config
from sklearn.utils.validation import validate_data

from fastbp import _engine
from fastbp._validation import Array, as_numeric, explain, first_nonfinite


def checked_features(X: Any, name: str, dtype: np.dtype[Any]) -> Any:
    """Return X, which scikit-learn has validated but for its values, aligned and native.

    Parameters
    ----------
    X : ndarray or sparse matrix, (n_samples, n_features)
    name : str
        What errors call it.
    dtype : dtype
        What a model reads it in.

    Raises
    ------
    ValueError
        A value is not finite, or would not be in ``dtype``; or indices of a sparse X are damaged.
    """
    if scipy.sparse.issparse(X):
        _refuse_damaged(X)
        values = np.ascontiguousarray(X.data[: X.indptr[-1]])[np.newaxis]
    else:
        X = values = as_numeric(X, name)
    wrong = None if get_config()["assume_finite"] else first_nonfinite(values, dtype)
    if wrong is not None:
        value = values[wrong]
        row, column = _place(X, wrong[1]) if scipy.sparse.issparse(X) else wrong
        raise ValueError(f"Input {name} contains {_what(value, row, column, dtype)}")
    return X


def validated_features(estimator: Any, X: Any, name: str, dtype: np.dtype[Any]) -> Any:
    """Return X with the features of the fit, validated by scikit-learn and `checked_features`."""
    X = validate_data(
        estimator, X, accept_sparse=["csr", "csc"], ensure_all_finite=False, reset=False
    )
    return checked_features(X, name, dtype)


def _what(value: np.floating[Any], row: int, column: int, dtype: np.dtype[Any]) -> str:
    """Say what is wrong in scikit-learn's words, then where it is and what to do."""
    place = f"row {row}, column {column}"
    if np.isnan(value):
        return f"NaN. ({place}; fill in or drop missing values)"
    held = dtype if np.isfinite(value) else value.dtype
    hint = "scale X, or set dtype='float64'" if np.isfinite(value) else "replace or drop it"
    return f"infinity or a value too large for {held!r}. ({value:g} in {place}; {hint})"


def _place(X: Any, position: int) -> tuple[int, int]:
    """Return row and column of a stored element of a sparse X."""
    major = int(np.searchsorted(X.indptr, position, side="right")) - 1
    minor = int(X.indices[position])
    return (major, minor) if X.format == "csr" else (minor, major)


def as_features(X: Any, dtype: np.dtype[Any]) -> Array | _engine.CSR:
    """Return X, as `checked_features` gives it, for a model of this dtype."""
    return _compressed(X, dtype) if scipy.sparse.issparse(X) else X


def _compressed(X: Any, dtype: np.dtype[Any]) -> _engine.CSR:
    """Return rows whose columns ascend and lie within X, as the engine trusts them to."""
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
