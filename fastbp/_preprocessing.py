"""From a table to the arrays a network trains on, and from its outputs back to labels or values.

Numbers are standardised, categories become one input each (one-hot), the target becomes class
numbers or is standardised too. What was learnt from the training rows is a plain JSON dictionary,
which is kept with the model and checked to the last key when it is read back.
"""

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, fields
from reprlib import repr as short
from typing import Any, ClassVar, Literal, Self, cast

import numpy as np
import numpy.typing as npt

from fastbp._tables import Column, DataError, Table, quoted
from fastbp.errors import ModelFormatError

Array = npt.NDArray[Any]
Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
Task = Literal["classification", "regression"]

_FORMAT = 1
# Beyond these, whole numbers are an amount and texts are a name or a key.
_MOST_NUMBERED_CLASSES = 20
_MOST_CATEGORIES = 1000
_FEWEST_CATEGORIES = 2


@dataclass(frozen=True)
class Number:
    """A column of numbers: one input, (cell - mean) / scale."""

    kind: ClassVar[str] = "number"
    n_inputs: ClassVar[int] = 1
    name: str
    mean: float
    scale: float

    def fill(self, column: Column, out: Float32) -> None:
        """Write the inputs of every row into ``out`` (n_rows, 1)."""
        out[:, 0] = _standardised(column, self.mean, self.scale)


@dataclass(frozen=True)
class Category:
    """A column of texts: one input per category, 1 for the cell's own and 0 for the others."""

    kind: ClassVar[str] = "category"
    name: str
    categories: tuple[str, ...]

    @property
    def n_inputs(self) -> int:
        """Columns of the input matrix that it fills."""
        return len(self.categories)

    def fill(self, column: Column, out: Float32) -> None:
        """Write the inputs of every row into ``out`` (n_rows, n_inputs), which holds zeros."""
        texts, codes = column.categories()
        position = {category: i for i, category in enumerate(self.categories)}
        for code, text in enumerate(texts):
            if text not in position:
                problem = f"the category {quoted(text)} was not in the training data"
                raise column.error(int(np.argmax(codes == code)), problem)
        out[np.arange(len(out)), np.array([position[text] for text in texts])[codes]] = 1


@dataclass(frozen=True)
class Constant:
    """A column that was the same in all training rows: it says nothing and is left out."""

    kind: ClassVar[str] = "constant"
    n_inputs: ClassVar[int] = 0
    name: str


@dataclass(frozen=True)
class Classes:
    """A target of class labels."""

    kind: ClassVar[str] = "classes"
    task: ClassVar[Task] = "classification"
    name: str
    classes: tuple[str, ...]

    @property
    def n_outputs(self) -> int:
        """Outputs of the network."""
        return len(self.classes)

    def encode(self, column: Column) -> Int64:
        """Return the class number (n_rows,) of every row, whose labels are all known."""
        labels, codes = _labels(column)
        position = {label: i for i, label in enumerate(self.classes)}
        return np.array([position[label] for label in labels], np.int64)[codes]


@dataclass(frozen=True)
class Value:
    """A target of real values: the network gives (value - mean) / scale."""

    kind: ClassVar[str] = "value"
    task: ClassVar[Task] = "regression"
    n_outputs: ClassVar[int] = 1
    name: str
    mean: float
    scale: float

    def encode(self, column: Column) -> Float64:
        """Return the standardised value (n_rows,) of every row."""
        return _standardised(column, self.mean, self.scale)

    def decode(self, outputs: Array) -> Float64:
        """Return the values (n_rows,) that outputs (n_rows, 1) stand for, infinite if too large."""
        with np.errstate(over="ignore"):
            return outputs[:, 0].astype(np.float64) * self.scale + self.mean


Feature = Number | Category | Constant
Target = Classes | Value


@dataclass(frozen=True)
class Preprocessing:
    """What the training rows taught about the columns, in the order of the network's inputs."""

    features: tuple[Feature, ...]
    target: Target

    @property
    def n_inputs(self) -> int:
        """Inputs of the network."""
        return sum(feature.n_inputs for feature in self.features)

    @classmethod
    def fit(
        cls,
        table: Table,
        target: Target,
        rows: Int64,
        *,
        categorical: Collection[str],
        ignored: Collection[str],
    ) -> Self:
        """Learn the features of a table from some of its rows.

        Every column is a feature but the target and those `ignored`; those named `categorical` and
        those that are mostly text become categories.

        Raises
        ------
        DataError
            A cell does not fit its column, a column cannot be used, or none is of use.
        """
        for name in {*categorical, *ignored}:
            table.column(name)
        names = [name for name in table.columns if name != target.name and name not in ignored]
        features = tuple(
            _fit_feature(table.column(name), rows, as_category=name in categorical)
            for name in names
        )
        if not any(feature.n_inputs for feature in features):
            raise DataError(f"{table.name}: no column besides the target varies over the rows")
        return cls(features, target)

    def inputs(self, table: Table) -> Float32:
        """Return the network's input (n_rows, n_inputs) for every row.

        Raises
        ------
        DataError
            A column is missing, a cell does not fit its column, or a category is unknown.
        """
        out = np.zeros((table.n_rows, self.n_inputs), np.float32)
        start = 0
        for feature in self.features:
            if not isinstance(feature, Constant):
                block = out[:, start : start + feature.n_inputs]
                feature.fill(table.column(feature.name), block)
                start += feature.n_inputs
        return out

    def to_dict(self) -> dict[str, Any]:
        """Return plain data that JSON can hold."""
        features = [_to_dict(feature) for feature in self.features]
        return {"format": _FORMAT, "features": features, "target": _to_dict(self.target)}

    @classmethod
    def from_dict(cls, data: object) -> Self:
        """Return what `to_dict` was called on.

        Raises
        ------
        ModelFormatError
            Anything is missing, superfluous, of another type or out of range.
        """
        content = _with_keys(data, {"format", "features", "target"}, "preprocessing")
        if content["format"] != _FORMAT:
            raise ModelFormatError(
                f"preprocessing: expected format {_FORMAT}, got {short(content['format'])}; "
                "the file was written by another version of fastbp"
            )
        if not isinstance(content["features"], list):
            raise ModelFormatError("preprocessing: features must be a list")
        features = tuple(
            cast(Feature, _from_dict(entry, (Number, Category, Constant)))
            for entry in content["features"]
        )
        target = cast(Target, _from_dict(content["target"], (Classes, Value)))
        names = [target.name, *(feature.name for feature in features)]
        if len(set(names)) < len(names):
            raise ModelFormatError("preprocessing: two columns have the same name")
        return cls(features, target)


# ------------------------------------------------------------------------------------ the target


def decide_task(column: Column) -> Task:
    """Return what a target column asks for: few whole numbers or texts are classes."""
    if not column.is_numeric:
        return "classification"
    values = np.unique(column.numbers())
    few_whole = values.size <= _MOST_NUMBERED_CLASSES and bool((values == np.rint(values)).all())
    return "classification" if few_whole else "regression"


def fit_target(column: Column, task: Task, rows: Int64) -> Target:
    """Learn the classes of a target column from all its rows, or its moments from some.

    Raises
    ------
    DataError
        A cell is empty, or not a number in a regression; all are the same; too many classes.
    """
    if task == "regression":
        mean, scale = _moments(column, column.numbers()[rows])
        if scale == 0:
            raise column.error(0, "the target is the same in all training rows")
        return Value(column.name, mean, scale)
    labels, _ = _labels(column)
    if len(labels) < _FEWEST_CATEGORIES:
        raise column.error(0, f"the target has one class only, {quoted(labels[0])}")
    if len(labels) > _MOST_CATEGORIES:
        problem = f"{len(labels)} classes are too many (at most {_MOST_CATEGORIES})"
        raise column.error(0, f"{problem}; for values instead of classes: --task regression")
    return Classes(column.name, tuple(labels))


def _labels(column: Column) -> tuple[Sequence[str], Int64]:
    """Return the distinct labels in order, and the index (n_rows,) of each row's among them."""
    if column.is_numeric:
        values, codes = np.unique(column.numbers(), return_inverse=True)
        return [repr(value).removesuffix(".0") for value in values.tolist()], codes
    texts, codes = column.categories()
    order = sorted(range(len(texts)), key=texts.__getitem__)
    rank = np.empty(len(texts), np.int64)
    rank[order] = np.arange(len(texts))
    return [texts[i] for i in order], rank[codes]


# ---------------------------------------------------------------------------------- the features


def _fit_feature(column: Column, rows: Int64, *, as_category: bool) -> Feature:
    if as_category or not column.is_numeric:
        return _fit_category(column)
    mean, scale = _moments(column, column.numbers()[rows])
    return Number(column.name, mean, scale) if scale else Constant(column.name)


def _fit_category(column: Column) -> Feature:
    # Those of all rows: a category that only the held-out rows have is known, if untrained.
    categories = sorted(column.categories()[0])
    if len(categories) > _MOST_CATEGORIES:
        problem = f"{len(categories)} different texts are too many (at most {_MOST_CATEGORIES})"
        hint = "leave the column out with --ignore, or write its numbers with a decimal point"
        raise column.error(0, f"{problem}; {hint}")
    if len(categories) < _FEWEST_CATEGORIES:
        return Constant(column.name)
    return Category(column.name, tuple(categories))


def _moments(column: Column, values: Float64) -> tuple[float, float]:
    """Return mean and standard deviation, the latter 0 exactly if all values are the same."""
    if values.min() == values.max():
        return float(values[0]), 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        mean, scale = float(values.mean()), float(values.std())
    if not (math.isfinite(mean) and math.isfinite(scale)):
        problem = f"numbers up to {np.abs(values).max():.3g} are too large to standardise"
        raise column.error(0, f"{problem}; write them in a larger unit")
    return mean, scale


def _standardised(column: Column, mean: float, scale: float) -> Float64:
    """Return (cells - mean) / scale (n_rows,), all of them within the range of float32."""
    with np.errstate(over="ignore"):
        values = (column.numbers() - mean) / scale
    far = np.abs(values) > np.finfo(np.float32).max
    if far.any():
        problem = "the number is too far from those of the training rows"
        raise column.error(int(np.argmax(far)), problem)
    return values


# --------------------------------------------------------------------------- to and from the file


def _to_dict(column: Feature | Target) -> dict[str, Any]:
    entries = asdict(column).items()
    # lists, because that is what JSON gives back
    plain = {key: list(value) if isinstance(value, tuple) else value for key, value in entries}
    return {"kind": column.kind, **plain}


def _from_dict(data: object, kinds: tuple[type[Feature | Target], ...]) -> Feature | Target:
    kind = data.get("kind") if isinstance(data, dict) else None
    for known in kinds:
        if kind == known.kind:
            keys = [field.name for field in fields(known)]
            content = _with_keys(data, {"kind", *keys}, known.kind)
            return known(**{key: _VALIDATORS[key](content[key], key) for key in keys})
    expected = ", ".join(known.kind for known in kinds)
    raise ModelFormatError(
        f"preprocessing: expected a column of kind {expected}, got {short(kind)}"
    )


def _with_keys(data: object, keys: set[str], name: str) -> dict[str, Any]:
    if not isinstance(data, dict) or data.keys() != keys:
        given = short(list(data)) if isinstance(data, dict) else type(data).__name__
        raise ModelFormatError(f"{name}: expected the keys {sorted(keys)}, got {given}")
    return data


def _text(value: object, name: str) -> str:
    if not isinstance(value, str):
        raise ModelFormatError(f"preprocessing: {name} must be a text, got {short(value)}")
    try:
        value.encode()
    except UnicodeEncodeError as error:  # JSON can spell halves of characters, which no file can
        raise ModelFormatError(f"preprocessing: {name} must be Unicode, got {value!a}") from error
    return value


def _finite(value: object, name: str) -> float:
    try:
        number = float(value) if type(value) in (int, float) else math.nan  # type: ignore[arg-type]
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ModelFormatError(f"preprocessing: {name} must be a finite number, got {short(value)}")
    return number


def _positive(value: object, name: str) -> float:
    number = _finite(value, name)
    if number <= 0:
        raise ModelFormatError(f"preprocessing: {name} must be positive, got {number!r}")
    return number


def _distinct_texts(value: object, name: str) -> tuple[str, ...]:
    texts = tuple(_text(entry, name) for entry in value) if isinstance(value, list) else ()
    if len(set(texts)) < len(texts) or len(texts) < _FEWEST_CATEGORIES:
        raise ModelFormatError(f"preprocessing: {name} must be at least two different texts")
    return texts


_VALIDATORS: dict[str, Callable[[object, str], Any]] = {
    "name": _text,
    "mean": _finite,
    "scale": _positive,
    "categories": _distinct_texts,
    "classes": _distinct_texts,
}
