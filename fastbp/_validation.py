"""Checks and conversions of what callers pass in.

Every function takes the argument's name, returns what the compiled core wants, and raises
`TypeError` or `ValueError` that say what was expected and what was given. Nothing is written to.
"""

import math
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from reprlib import repr as short
from typing import Any, TypeGuard, TypeVar

import numpy as np
import numpy.typing as npt

from fastbp import _engine

Array = npt.NDArray[Any]
Float64 = npt.NDArray[np.float64]
T = TypeVar("T")

_ENCODE = "encode texts as numbers: labels by np.unique(y, return_inverse=True)[1]"
_FILL = "fill in or drop such values"
_SINGLE, _DOUBLE = np.dtype(np.float32), np.dtype(np.float64)

# ---------------------------------------------------------------------------------------- scalars


def explain(name: str, expected: str, given: str, hint: str = "") -> str:
    """Text of an error: what, expected, given, what to do."""
    return f"{name}: expected {expected}, got {given}" + (f"; {hint}" if hint else "")


def _is_bool(value: object) -> TypeGuard[bool]:
    return isinstance(value, bool | np.bool_)


def as_integer(value: object, name: str, minimum: int, maximum: int | None = None) -> int:
    """Return an int of at least ``minimum`` (and at most ``maximum``); no bool, no float."""
    expected = f"an integer >= {minimum}"
    if maximum is not None:
        expected = f"an integer from {minimum} to {maximum}"
    if _is_bool(value) or not isinstance(value, Integral):
        raise TypeError(explain(name, expected, short(value)))
    number = int(value)
    if number < minimum or (maximum is not None and number > maximum):
        raise ValueError(explain(name, expected, short(number)))
    return number


def as_real(value: object, name: str, expected: str = "a finite number") -> float:
    """Return a finite float; no bool, no string."""
    if _is_bool(value) or not isinstance(value, Real):
        raise TypeError(explain(name, expected, short(value)))
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError(explain(name, expected, short(value)))
    return number


def positive_integer(value: object, name: str) -> int:
    """Return an int >= 1."""
    return as_integer(value, name, 1)


def positive(value: object, name: str) -> float:
    """Return a float > 0."""
    number = as_real(value, name, "a positive number")
    if number <= 0:
        raise ValueError(explain(name, "a positive number", short(value)))
    return number


def non_negative(value: object, name: str) -> float:
    """Return a float >= 0."""
    number = as_real(value, name, "a number >= 0")
    if number < 0:
        raise ValueError(explain(name, "a number >= 0", short(value)))
    return number


def fraction(value: object, name: str) -> float:
    """Return a float in [0, 1)."""
    number = as_real(value, name, "a number in [0, 1)")
    if not 0 <= number < 1:
        raise ValueError(explain(name, "a number in [0, 1)", short(value)))
    return number


def share(value: object, name: str) -> float:
    """Return a float in [0, 1]."""
    number = as_real(value, name, "a number in [0, 1]")
    if not 0 <= number <= 1:
        raise ValueError(explain(name, "a number in [0, 1]", short(value)))
    return number


def open_fraction(value: object, name: str) -> float:
    """Return a float in (0, 1)."""
    number = as_real(value, name, "a number in (0, 1)")
    if not 0 < number < 1:
        raise ValueError(explain(name, "a number in (0, 1)", short(value)))
    return number


def as_bool(value: object, name: str) -> bool:
    """Return a bool; no number, no string."""
    if not _is_bool(value):
        raise TypeError(explain(name, "True or False", short(value)))
    return bool(value)


def choose(value: object, name: str, kind: type[T], choices: Mapping[str, T]) -> T:
    """Return ``value`` if it is a ``kind``, or the one of ``choices`` that has this name."""
    if isinstance(value, kind):
        return value
    expected = f"a {kind.__name__} or one of {', '.join(map(repr, choices))}"
    if not isinstance(value, str):
        raise TypeError(explain(name, expected, short(value)))
    if value not in choices:
        raise ValueError(explain(name, expected, short(value)))
    return choices[value]


# ----------------------------------------------------------------------------------------- arrays


def as_numeric(value: Any, name: str) -> Array:
    """Return ``value`` as an aligned, native array of a dtype the core reads; a view if it is one.

    Booleans become uint8, half precision float32; extended precision and objects float64.
    """
    array = _as_array(value, name)
    dtype = array.dtype
    if (dtype is _SINGLE or dtype is _DOUBLE) and array.flags.aligned:  # as nearly always
        return array
    kind, itemsize = dtype.kind, dtype.itemsize
    if kind == "b":
        array = array.view(np.uint8)
    elif kind == "O":
        array = _numbers(array, name)
    elif kind == "f" and itemsize not in (4, 8):
        with np.errstate(over="ignore"):  # infinities are refused later, with their place
            array = array.astype(np.float32 if itemsize < 4 else np.float64)
    elif kind not in "fiu":
        hint = _ENCODE if kind in "SU" else ""
        raise TypeError(explain(name, "real numbers", f"dtype {array.dtype}", hint))
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    return array if array.flags.aligned else array.copy()


def _as_array(value: Any, name: str) -> Array:
    if type(value) is np.ndarray:  # neither masked nor sparse
        return value
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise ValueError(explain(name, "no masked values", "a masked array", "fill or drop them"))
    if hasattr(value, "tocsr"):
        raise TypeError(explain(name, "a dense array", "a sparse one", "call its toarray()"))
    try:
        return np.asarray(value)
    except ValueError as error:
        raise ValueError(
            explain(name, "rows of equal length", f"a ragged sequence ({error})")
        ) from error


def _numbers(array: Array, name: str) -> Array:
    for item in array.flat:
        if not isinstance(item, Real | np.bool_):
            hint = _ENCODE if isinstance(item, str | bytes) else ""
            given = f"{short(item)} in an object array"
            raise TypeError(explain(name, "real numbers", given, hint))
    try:
        return array.astype(np.float64)
    except OverflowError as error:
        raise ValueError(explain(name, "numbers that float64 can hold", str(error))) from error


def as_samples(x: Any, name: str, n_features: int | None, dtype: np.dtype[Any]) -> Array:
    """Return a finite 2-d array with at least one row and column, of a dtype the core reads."""
    array = as_numeric(x, name)
    shape = array.shape
    if len(shape) != 2:
        hint = "make a single sample a row with reshape(1, -1)" if len(shape) == 1 else ""
        given = f"{len(shape)}-d of shape {shape}"
        raise ValueError(explain(name, "a 2-d array (n_samples, n_features)", given, hint))
    if 0 in shape:
        raise ValueError(explain(name, "at least one row and column", f"shape {shape}"))
    if n_features is not None and shape[1] != n_features:
        raise ValueError(explain(name, f"{n_features} columns (features)", f"{shape[1]}"))
    _refuse_nonfinite(array, name, dtype, _FILL)
    return array


def as_vector(values: Any, name: str, size: int, dtype: np.dtype[Any]) -> Array:
    """Return a finite 1-d array of this size."""
    array = as_numeric(values, name)
    if array.shape != (size,):
        raise ValueError(explain(name, f"shape ({size},)", f"{array.shape}"))
    _refuse_nonfinite(array[np.newaxis], name, dtype)
    return array


def as_targets(
    y: Any, name: str, shape: tuple[int, int], dtype: np.dtype[Any], low: float, high: float
) -> Array:
    """Return finite targets from ``low`` to ``high``, C-contiguous of ``dtype`` and ``shape``."""
    array = as_numeric(y, name)
    if array.ndim == 1 and shape[1] == 1:
        array = array[:, np.newaxis]
    if array.shape != shape:
        expected = f"shape {shape}" + (f" or {shape[:1]}" if shape[1] == 1 else "")
        raise ValueError(explain(name, expected, f"{array.shape}"))
    _refuse_nonfinite(array, name, dtype, _FILL)
    expected = f"values from {low:g} to {high:g}" if high < np.inf else f"values >= {low:g}"
    _refuse_outside(array, name, low, high, expected)
    return np.ascontiguousarray(array, dtype)


def as_probabilities(y: Any, name: str, shape: tuple[int, int], dtype: np.dtype[Any]) -> Array:
    """Return targets whose rows are distributions: each value in [0, 1], each sum 1."""
    array = as_numeric(y, name)
    if array.shape == (shape[0], 1) and shape[1] > 1:
        hint = "class labels are 1-d: y.ravel()"
        raise ValueError(explain(name, f"shape {shape[:1]} or {shape}", f"{array.shape}", hint))
    array = as_targets(array, name, shape, dtype, 0.0, 1.0)
    sums = array.sum(axis=1, dtype=np.float64)
    wrong = abs(sums - 1.0) > 1e-3  # what rounding half precision input may do, not more
    if wrong.any():
        raise ValueError(explain(name, "rows that sum to 1", _first(sums, wrong)))
    return array


def as_labels(y: Any, name: str, n_rows: int, n_classes: int) -> npt.NDArray[np.int32]:
    """Return class labels 0 .. n_classes-1 of shape ``(n_rows,)``."""
    array = as_numeric(y, name)
    if array.shape != (n_rows,):
        raise ValueError(explain(name, f"shape ({n_rows},)", f"{array.shape}"))
    expected = f"integer labels from 0 to {n_classes - 1}"
    _refuse_outside(array, name, 0, n_classes - 1, expected)
    if array.dtype.kind == "f" and (array != np.floor(array)).any():
        raise ValueError(explain(name, expected, _first(array, array != np.floor(array))))
    return np.array(array, np.int32, order="C")  # a copy: the core trusts labels as they are now


def as_weights(weight: Any, name: str, n_rows: int, dtype: np.dtype[Any]) -> Float64 | None:
    """Return float64 weights >= 0 of shape ``(n_rows,)``, not all zero; None stays None.

    None of them becomes zero or infinite in ``dtype``, in which gradients are multiplied by them;
    nor does the factor 1 / sum.
    """
    if weight is None:
        return None
    array = as_numeric(weight, name)
    if array.shape != (n_rows,):
        raise ValueError(explain(name, f"shape ({n_rows},)", f"{array.shape}"))
    _refuse_outside(array, name, 0.0, np.finfo(np.float64).max, "finite weights >= 0")
    array = np.ascontiguousarray(array, np.float64)
    total = _engine.sum_float64(array)
    if not 0 < total < np.inf:
        raise ValueError(explain(name, "weights with a positive, finite sum", f"sum {total:g}"))
    limits = np.finfo(dtype)
    hint = "multiply all by a constant, or make the least 0"
    hint += ", or use float64" * (dtype != np.float64)
    # below the least normal number the engine computes with zero
    lost = (array > limits.max) | ((array < limits.tiny) & (array > 0))
    if lost.any():
        expected = f"weights that {dtype} can hold: 0, or {limits.tiny:.3g} to {limits.max:.3g}"
        raise ValueError(explain(name, expected, _first(array, lost), hint))
    if total > (most := 1 / float(limits.tiny)):
        raise ValueError(explain(name, f"a sum of at most {most:.3g}", f"{total:g}", hint))
    return array


def as_output(
    out: Array | None,
    name: str,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    apart: Sequence[Array | None],
) -> Array:
    """Return ``out`` if the core can write to it while it reads ``apart``; a new array if None."""
    if out is None:
        return np.empty(shape, dtype)
    if not isinstance(out, np.ndarray):
        raise TypeError(explain(name, "a NumPy array", short(out)))
    if out.dtype != dtype or out.shape != shape:
        given = f"{out.dtype} of shape {out.shape}"
        raise ValueError(explain(name, f"{dtype} of shape {shape}", given))
    lacking = ["writeable"] * (not out.flags.writeable)
    lacking += ["aligned"] * (not out.flags.aligned)
    lacking += ["C-contiguous"] * (not out.flags.c_contiguous)
    if lacking:
        given = f"one that is not {' and not '.join(lacking)}"
        expected = "a writeable, aligned C-contiguous array"
        raise ValueError(explain(name, expected, given, "np.empty makes such an array"))
    if any(value is not None and np.may_share_memory(out, value) for value in apart):
        raise ValueError(explain(name, "memory of its own", "memory of an input or parameter"))
    return out


def _refuse_nonfinite(array: Array, name: str, dtype: np.dtype[Any], hint: str = "") -> None:
    """Refuse NaN, infinities and what would become one in ``dtype``; ``array`` is 2-d."""
    place = first_nonfinite(array, dtype)
    if place is None:
        return
    given = f"{array[place]} in row {place[0]}, column {place[1]}"
    if np.isfinite(array[place]):
        raise ValueError(explain(name, f"values that {dtype} can hold (scale them)", given))
    raise ValueError(explain(name, "finite values", given, hint))


def first_nonfinite(array: Array, dtype: np.dtype[Any]) -> tuple[int, int] | None:
    """Return the place of the first value of a 2-d array that is not finite in ``dtype``."""
    return _engine.first_nonfinite(array, dtype is _SINGLE or dtype == _SINGLE)


def _refuse_outside(array: Array, name: str, low: float, high: float, expected: str) -> None:
    """Refuse values outside ``low`` to ``high``, and NaN."""
    if not (array.min() >= low and array.max() <= high):
        wrong = ~((array >= low) & (array <= high))
        raise ValueError(explain(name, expected, _first(array, wrong)))


def _first(array: Array, wrong: npt.NDArray[np.bool_]) -> str:
    """Say the first wrong value and its place."""
    place = np.unravel_index(int(wrong.argmax()), wrong.shape)
    where = ", ".join(f"{axis} {i}" for axis, i in zip(("row", "column"), place, strict=False))
    return f"{array[place]} in {where}"
