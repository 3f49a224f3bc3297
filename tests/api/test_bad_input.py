"""Bad input: a typed error that names the argument, and a model whose bits have not moved."""

import numpy as np
import pytest

import fastbp


class Sparse:
    """What is seen of a scipy.sparse matrix."""

    def tocsr(self):
        raise NotImplementedError


RNG = np.random.default_rng(0)
X = RNG.normal(size=(6, 3))
REAL = RNG.normal(size=(6, 2))
LABELS = np.array([0, 1, 2, 3, 0, 1])


def with_value(array, place, value, dtype=None):
    """A copy with another value at a place."""
    copy = np.array(array, dtype)
    copy[place] = value
    return copy


TWO_D = r"a 2-d array \(n_samples, n_features\), got "
BAD_X = {
    "nan": (
        with_value(X, (4, 1), np.nan),
        ValueError,
        "got nan in row 4, column 1; fill in or drop",
    ),
    "inf": (with_value(X, (0, 2), -np.inf), ValueError, "finite .*got -inf in row 0, column 2"),
    "nan in float16": (with_value(X, (4, 1), np.nan, "f2"), ValueError, "nan in row 4, column 1"),
    "beyond longdouble to float64": (
        with_value(X, (1, 1), np.longdouble("1e4000"), "g"),
        ValueError,
        "inf in row 1, column 1",
    ),
    "beyond float32": (
        with_value(X, (5, 0), 1e39),
        ValueError,
        r"float32 can hold .* got 1e\+39 in row 5, column 0",
    ),
    "1-d": (X[0], ValueError, TWO_D + r"1-d of shape \(3,\); make a .* reshape\(1, -1\)"),
    "3-d": (X[None], ValueError, TWO_D + r"3-d of shape \(1, 6, 3\)"),
    "scalar": (3.0, ValueError, TWO_D + r"0-d of shape \(\)"),
    "no rows": (X[:0], ValueError, r"at least one row and column, got shape \(0, 3\)"),
    "no columns": (X[:, :0], ValueError, r"at least one row and column, got shape \(6, 0\)"),
    "empty list": ([], ValueError, TWO_D),
    "too few columns": (X[:, :2], ValueError, r"3 columns \(features\), got 2"),
    "ragged": ([[1, 2, 3], [1, 2]], ValueError, "rows of equal length, got a ragged sequence"),
    "text": ([["1", "2", "3"]] * 6, TypeError, "real numbers, got dtype <U1; encode texts"),
    "bytes": (np.full((6, 3), b"1"), TypeError, r"real numbers, got dtype \|S1"),
    "object of text": (X.astype(str).astype(object), TypeError, "real numbers, got '0.1.* object"),
    "None inside": (with_value(X, (1, 1), None, object), TypeError, "real numbers, got None"),
    "None": (None, TypeError, "real numbers, got None in an object array"),
    "huge integers": ([[10**400, 1, 1]] * 6, ValueError, "numbers that float64 can hold"),
    "complex": (X.astype(complex), TypeError, "real numbers, got dtype complex128"),
    "dates": (X.astype("M8[s]"), TypeError, "real numbers, got dtype datetime64"),
    "structured": (np.zeros((6, 3), "f4,f4"), TypeError, "real numbers, got dtype .*f0"),
    "masked": (np.ma.masked_greater(X, 0), ValueError, "no masked values, got a masked array"),
    "sparse": (Sparse(), TypeError, r"a dense array, got a sparse one; call its toarray\(\)"),
    "dict": ({"a": 1}, TypeError, "real numbers, got {'a': 1}"),
}
BAD_LABELS = {
    "too large": ([0, 1, 2, 4, 0, 1], ValueError, "labels from 0 to 3, got 4 in row 3"),
    "negative": ([0, 1, 2, 3, -1, 1], ValueError, "labels from 0 to 3, got -1 in row 4"),
    "fractions": ([0, 1, 2.5, 3, 0, 1], ValueError, r"labels from 0 to 3, got 2\.5 in row 2"),
    "nan": ([0, 1, np.nan, 3, 0, 1], ValueError, "labels from 0 to 3, got nan in row 2"),
    "far beyond int32": (
        [2**32, 0, 0, 0, 0, 0],
        ValueError,
        "from 0 to 3, got 4294967296 in row 0",
    ),
    "too few": (LABELS[:5], ValueError, r"shape \(6,\), got \(5,\)"),
    "column": (LABELS[:, None], ValueError, r"got \(6, 1\); class labels are 1-d: y\.ravel\(\)"),
    "text": (["a"] * 6, TypeError, r"got dtype <U1; .* np.unique\(y, return_inverse=True\)\[1\]$"),
    "ragged": ([[0], [1, 2]] * 3, ValueError, "rows of equal length"),
    "None": (None, TypeError, "real numbers, got None"),
    "sums": (np.full((6, 4), 0.3), ValueError, r"rows that sum to 1, got 1\.2\d* in row 0"),
    "no probability": (
        np.eye(4)[LABELS] * 1.5,
        ValueError,
        r"from 0 to 1, got 1\.5 in row 0, column 0",
    ),
}
BAD_REAL = {
    "nan": (
        with_value(REAL, (3, 1), np.nan),
        ValueError,
        "finite values, got nan in row 3, column 1; fill in or drop",
    ),
    "beyond float32": (
        with_value(REAL, (0, 1), -4e38),
        ValueError,
        r"float32 can hold .*-4e\+38 in row 0",
    ),
    "1-d": (REAL[:, 0], ValueError, r"shape \(6, 2\), got \(6,\)"),
    "transposed": (REAL.T, ValueError, r"shape \(6, 2\), got \(2, 6\)"),
    "complex": (REAL * 1j, TypeError, "real numbers, got dtype complex128"),
}
BAD_WEIGHTS = {
    "negative": ([1, 1, -1, 1, 1, 1], ValueError, "finite weights >= 0, got -1 in row 2"),
    "nan": ([1, 1, 1, np.nan, 1, 1], ValueError, "finite weights >= 0, got nan in row 3"),
    "inf": ([np.inf, 1, 1, 1, 1, 1], ValueError, "finite weights >= 0, got inf in row 0"),
    "all zero": (np.zeros(6), ValueError, "a positive, finite sum, got sum 0"),
    "sum overflows": (np.full(6, 1e308), ValueError, "a positive, finite sum, got sum inf"),
    "too few": (np.ones(5), ValueError, r"shape \(6,\), got \(5,\)"),
    "column": (np.ones((6, 1)), ValueError, r"shape \(6,\), got \(6, 1\)"),
    "text": (["1"] * 6, TypeError, "real numbers, got dtype <U1"),
}


def refuses(model, call, error, message):
    """Assert that a call is refused with this message and leaves the parameters alone."""
    before, state = model.parameters.copy(), model._rng.bit_generator.state
    with pytest.raises(error, match=message):
        call(model)
    np.testing.assert_array_equal(model.parameters, before)
    assert model._rng.bit_generator.state == state


def classifier():
    return fastbp.Model([3, 5, 4], loss="softmax_cross_entropy", seed=0)


def regressor(loss="squared_error", **options):
    return fastbp.Model([3, 5, 2], loss=loss, seed=0, **options)


TAKES_X = {
    "predict": lambda model, x: model.predict(x),
    "logits": lambda model, x: model.logits(x),
    "fit": lambda model, x: model.fit(x, LABELS),
    "loss": lambda model, x: model.loss(x, LABELS),
    "gradient": lambda model, x: model.gradient(x, LABELS),
    "per_sample_gradient": lambda model, x: model.per_sample_gradient(x, LABELS),
    "trace": lambda model, x: model.trace(x, LABELS),
    "validation_data": lambda model, x: model.fit(X, LABELS, validation_data=(x, LABELS)),
}
TAKES_Y = {
    "fit": lambda model, y: model.fit(X, y),
    "loss": lambda model, y: model.loss(X, y),
    "gradient": lambda model, y: model.gradient(X, y),
    "loss_and_gradient": lambda model, y: model.loss_and_gradient(X, y),
    "per_sample_gradient": lambda model, y: model.per_sample_gradient(X, y),
    "trace": lambda model, y: model.trace(X, y),
}
TAKES_WEIGHT = {
    "fit": lambda model, w: model.fit(X, LABELS, sample_weight=w),
    "loss": lambda model, w: model.loss(X, LABELS, w),
    "gradient": lambda model, w: model.gradient(X, LABELS, w),
}


@pytest.mark.parametrize("method", TAKES_X)
@pytest.mark.parametrize("case", BAD_X)
def test_x(method, case):
    value, error, message = BAD_X[case]
    source = "validation_data: X" if method == "validation_data" else "X"
    call = TAKES_X[method]
    refuses(
        classifier(), lambda model: call(model, value), error, f"^{source}: expected .*?{message}"
    )


@pytest.mark.parametrize("method", TAKES_Y)
@pytest.mark.parametrize("case", BAD_LABELS)
def test_labels(method, case):
    value, error, message = BAD_LABELS[case]
    call = TAKES_Y[method]
    refuses(classifier(), lambda model: call(model, value), error, f"^y: expected .*{message}")


@pytest.mark.parametrize("method", TAKES_Y)
@pytest.mark.parametrize("case", BAD_REAL)
def test_real_targets(method, case):
    value, error, message = BAD_REAL[case]
    call = TAKES_Y[method]
    refuses(regressor(), lambda model: call(model, value), error, f"^y: expected .*{message}")


@pytest.mark.parametrize("method", TAKES_WEIGHT)
@pytest.mark.parametrize("case", BAD_WEIGHTS)
def test_weights(method, case):
    value, error, message = BAD_WEIGHTS[case]
    call = TAKES_WEIGHT[method]
    message = f"^sample_weight: expected .*{message}"
    refuses(classifier(), lambda model: call(model, value), error, message)


@pytest.mark.parametrize(
    ("loss", "value", "message"),
    [
        ("binary_cross_entropy", 1.25, r"values from 0 to 1, got 1\.25 in row 2, column 1"),
        ("binary_cross_entropy", -0.5, r"values from 0 to 1, got -0\.5 in row 2, column 1"),
        ("poisson", -1.0, r"values >= 0, got -1\.0 in row 2, column 1"),
    ],
)
def test_targets_outside_the_range_of_a_loss(loss, value, message):
    y = with_value(np.full((6, 2), 0.5), (2, 1), value)
    refuses(regressor(loss), lambda model: model.fit(X, y), ValueError, f"^y: expected {message}")


INTEGER = "expected an integer >= 1, got "
BAD_FIT = {
    "epochs 0": ({"epochs": 0}, ValueError, f"epochs: {INTEGER}0"),
    "epochs 1.5": ({"epochs": 1.5}, TypeError, rf"epochs: {INTEGER}1\.5"),
    "epochs True": ({"epochs": True}, TypeError, f"epochs: {INTEGER}True"),
    "epochs text": ({"epochs": "3"}, TypeError, f"epochs: {INTEGER}'3'"),
    "batch_size -1": ({"batch_size": -1}, ValueError, f"batch_size: {INTEGER}-1"),
    "batch_size nan": ({"batch_size": np.nan}, TypeError, f"batch_size: {INTEGER}nan"),
    "l2 negative": ({"l2": -1e-9}, ValueError, "l2: expected a number >= 0, got -1e-09"),
    "l2 inf": ({"l2": np.inf}, ValueError, "l2: expected a number >= 0, got inf"),
    "shuffle 1": ({"shuffle": 1}, TypeError, "shuffle: expected True or False, got 1"),
    "optimizer name": (
        {"optimizer": "adam"},
        TypeError,
        r"optimizer: expected an Optimizer .*'adam'",
    ),
    "optimizer class": ({"optimizer": fastbp.Adam}, TypeError, "optimizer: expected an Optimizer"),
    "verbose 2": ({"verbose": 2}, ValueError, "verbose: expected an integer from 0 to 1, got 2"),
    "callbacks one": (
        {"callbacks": fastbp.Callback()},
        TypeError,
        "callbacks: expected Callback obj",
    ),
    "callbacks text": ({"callbacks": ["stop"]}, TypeError, "callbacks: expected .*, got 'stop'"),
    "validation X": (
        {"validation_data": X},
        TypeError,
        r"validation_data: expected a pair \(X, y\)",
    ),
    "validation 3": (
        {"validation_data": (1, 2, 3)},
        TypeError,
        r"a pair \(X, y\), got \(1, 2, 3\)",
    ),
    "validation y": (
        {"validation_data": (X, LABELS + 1)},
        ValueError,
        "^validation_data: y: .* got 4 in row 3",
    ),
    "monitor": (
        {"callbacks": [fastbp.EarlyStopping()]},
        ValueError,
        "monitor: expected one of 'loss', .*val",
    ),
}


@pytest.mark.parametrize("case", BAD_FIT)
def test_fit(case):
    options, error, message = BAD_FIT[case]
    refuses(classifier(), lambda model: model.fit(X, LABELS, **options), error, message)


def readonly(array):
    array.flags.writeable = False
    return array


N = classifier().n_parameters
BAD_OUT = {
    "list": ([0.0] * N, TypeError, "a NumPy array"),
    "dtype": (np.zeros(N), ValueError, rf"float32 of shape \({N},\), got float64"),
    "shape": (np.zeros(N - 1, "f4"), ValueError, rf"float32 of shape \({N},\), got .*{N - 1}"),
    "strided": (
        np.zeros(2 * N, "f4")[::2],
        ValueError,
        ".* one that is not C-contiguous; np.empty",
    ),
    "read-only": (
        readonly(np.zeros(2 * N, "f4")[::2]),
        ValueError,
        ".*, got one that is not writeable and not C-contiguous;",
    ),
    "misaligned": (
        np.zeros(4 * N + 1, "u1")[1:].view("f4"),
        ValueError,
        "a writeable, aligned C-contiguous array, got one that is not aligned;",
    ),
}


@pytest.mark.parametrize("case", BAD_OUT)
def test_out(case):
    out, error, message = BAD_OUT[case]
    message = f"^out: expected {message}"
    refuses(classifier(), lambda model: model.gradient(X, LABELS, out=out), error, message)


def test_out_that_is_an_input():
    model = classifier()
    message = "^out: expected memory of its own"
    call = lambda m: m.gradient(X, LABELS, out=m.parameters)  # noqa: E731
    refuses(model, call, ValueError, message)
    out = np.zeros(N, "f4")
    refuses(
        model, lambda m: m.gradient(out[:18].reshape(6, 3), LABELS, out=out), ValueError, message
    )


def test_reduction():
    refuses(
        classifier(),
        lambda m: m.loss(X, LABELS, reduction="max"),
        ValueError,
        "reduction: .* 'max'",
    )


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        (np.zeros(3), ValueError, rf"shape \({N},\), got \(3,\)"),
        (np.zeros((1, N)), ValueError, rf"shape \({N},\), got \(1, {N}\)"),
        (np.full(N, np.nan), ValueError, "finite values, got nan"),
        (np.full(N, 1e300), ValueError, "values that float32 can hold"),
        (["a"] * N, TypeError, "real numbers"),
    ],
    ids=["shape", "2-d", "nan", "large", "text"],
)
def test_parameters(values, error, message):
    def assign(model):
        model.parameters = values

    refuses(classifier(), assign, error, f"^parameters: expected {message}")


HUGE = 1 << 62
BAD_MODELS = {
    "one width": (([5],), {}, ValueError, "layers: expected a list of at least two widths"),
    "none": (([],), {}, ValueError, "layers: expected a list of at least two widths"),
    "text": (("64,10",), {}, TypeError, "layers: expected an integer >= 1, got '6'"),
    "number": ((5,), {}, TypeError, "layers: expected a list of at least two widths.*got 5"),
    "zero": (([3, 0, 2],), {}, ValueError, f"layers: {INTEGER}0"),
    "fraction": (([3, 1.5, 2],), {}, TypeError, rf"layers: {INTEGER}1\.5"),
    "mixed": (
        ([fastbp.Dense(3, 2), 4],),
        {},
        ValueError,
        "layers: expected a list of at least two",
    ),
    "unchained": (
        ([fastbp.Dense(3, 4), fastbp.Dense(5, 2)],),
        {},
        ValueError,
        "layers: expected layer 1 to have the 4 inputs that layer 0 gives out, got 5",
    ),
    "overflow": (
        ([HUGE, HUGE],),
        {},
        ValueError,
        "layers: expected a network that fits into memory",
    ),
    "activation": (
        ([3, 2],),
        {"activation": "rel"},
        ValueError,
        "activation: .*'relu'.*, got 'rel'",
    ),
    "loss": (([3, 2],), {"loss": "mse"}, ValueError, "loss: .*'squared_error'.*, got 'mse'"),
    "loss class": (([3, 2],), {"loss": fastbp.Huber}, TypeError, "loss: expected a Loss"),
    "quantiles": (
        ([3, 2],),
        {"loss": fastbp.Pinball((0.1, 0.5, 0.9))},
        ValueError,
        "quantiles: expected one for each of 2 outputs, got 3",
    ),
    "dtype": (
        ([3, 2],),
        {"dtype": "float16"},
        ValueError,
        "dtype: expected float32 or float64, got",
    ),
    "dtype None": (([3, 2],), {"dtype": None}, ValueError, "dtype: expected .*, got None"),
    "dtype swapped": (([3, 2],), {"dtype": ">f4"}, ValueError, "dtype: expected .*, got '>f4'"),
    "dtype junk": (([3, 2],), {"dtype": "junk"}, TypeError, "dtype: expected .*, got 'junk'"),
    "seed": (([3, 2],), {"seed": -1}, ValueError, "seed: expected an integer >= 0, got -1"),
    "seed text": (([3, 2],), {"seed": "a"}, TypeError, "seed: expected an integer >= 0, got 'a'"),
    "initializer": (([3, 2],), {"initializer": "he"}, ValueError, "initializer: .*, got 'he'"),
}


@pytest.mark.parametrize("case", BAD_MODELS)
def test_model(case):
    layers, options, error, message = BAD_MODELS[case]
    with pytest.raises(error, match=message):
        fastbp.Model(*layers, **{"loss": "squared_error"} | options)


@pytest.mark.parametrize("widths", [[10**9, 10**9], [1 << 60, 1]], ids=str)
def test_model_beyond_memory(widths):
    with pytest.raises(MemoryError, match=r"Unable to allocate .* EiB"):
        fastbp.Model(widths, loss="squared_error")
