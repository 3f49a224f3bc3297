"""Converted to ONNX, estimators predict in onnxruntime what they predict here."""

import subprocess
import sys

import numpy as np
import pytest
import sklearn.neural_network
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_iris
from sklearn.ensemble import StackingRegressor
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import StandardScaler, scale

import fastbp
from fastbp import MLPClassifier, MLPRegressor

skl2onnx = pytest.importorskip("skl2onnx")
onnxruntime = pytest.importorskip("onnxruntime")

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X = scale(load_iris().data)
SPECIES = load_iris().target
NAMES = np.array(["setosa", "versicolor", "virginica"])
LENGTHS = X[:, 2] * X[:, 0]
SMALL = {"hidden_layer_sizes": (12, 8), "max_iter": 15, "learning_rate_init": 0.02}
SMALL |= {"random_state": 0}
DTYPES = {"float32": 1e-5, "float64": 1e-12}  # and what predictions may differ by


@pytest.fixture(autouse=True)
def registered():
    """Twice: the second call must change nothing."""
    fastbp.register_onnx_converters()
    fastbp.register_onnx_converters()


def outputs(estimator, X, **options):
    """What onnxruntime makes of X, by name, after what it declares has been compared with it."""
    last = estimator[-1] if hasattr(estimator, "steps") else estimator
    model = skl2onnx.to_onnx(estimator, X[:1], options={id(last): options} if options else None)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    names = [o.name for o in session.get_outputs()]
    found = dict(zip(names, session.run(names, {"X": X}), strict=True))
    for declared in model.graph.output:
        array, kind = found[declared.name], declared.type
        if kind.HasField("tensor_type") and declared.name != "class_labels":
            shape = [dim.dim_value for dim in kind.tensor_type.shape.dim]
            assert shape == [0, *array.shape[1:]]  # 0: any number of rows
    return found


def check_classifier(estimator, X, atol):
    found = outputs(estimator, X, zipmap=False)
    labels, probabilities = found["label"], found["probabilities"]
    np.testing.assert_array_equal(labels, estimator.predict(X))
    np.testing.assert_allclose(probabilities, estimator.predict_proba(X), rtol=0, atol=atol)
    assert probabilities.dtype == X.dtype


def check_regressor(estimator, X, tolerance):
    found, expected = outputs(estimator, X)["variable"], estimator.predict(X)
    if expected.ndim == 1:
        expected = expected[:, None]  # skl2onnx's regressors all give a column
    np.testing.assert_allclose(found, expected, tolerance, tolerance)
    assert found.dtype == X.dtype


# ---------------------------------------------------------------------- activations and outputs


SPECS = {"leaky": fastbp.LeakyReLU(1.5), "bent": fastbp.ELU(0.3)}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [*fastbp.layers.ACTIVATIONS, "logistic", *SPECS])
def test_every_activation(name, dtype):
    wide = (4 * X).astype(dtype)  # from one tail of the activation to the other
    y = np.c_[LENGTHS, X[:, 0]]
    activation = SPECS.get(name, name)
    ours = MLPRegressor(activation=activation, dtype=dtype, **SMALL).fit(wide, y)
    # onnxruntime has erf for float32 only
    check_regressor(ours, wide, 1e-5 if name == "gelu" else DTYPES[dtype] * 10)


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_activation_for_each_layer_and_dropout(dtype):
    ours = MLPClassifier(
        (9, 8, 7),
        activation=["silu", fastbp.ELU(0.5), "tanh"],
        dropout=[0.1, 0.0, 0.2],
        random_state=0,
    ).fit(X, SPECIES)
    check_classifier(ours, X.astype(dtype), DTYPES[dtype])


LABELS = {
    "multiclass": SPECIES,
    "multiclass strings": NAMES[SPECIES],
    "objects": NAMES.astype(object)[SPECIES],
    "binary": (SPECIES > 0) * 2 - 1,
    "binary strings": NAMES[np.minimum(SPECIES, 1)],
    "bool": SPECIES > 1,
    "floats": SPECIES * 2.0,
    "unsigned": SPECIES.astype(np.uint8),
    "large": (SPECIES > 0) * (1 << 40),
    "one class": SPECIES * 0 + 7,
    "two labels": np.c_[SPECIES > 0, SPECIES > 1],
    "three labels": np.c_[SPECIES > 0, SPECIES > 1, SPECIES == 1],
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("labels", LABELS)
def test_classes(labels, dtype):
    y = LABELS[labels]
    ours = MLPClassifier(**SMALL).fit(X, y)
    assert len(np.unique(ours.predict(X))) == len(np.unique(y))
    check_classifier(ours, X.astype(dtype), DTYPES[dtype])


def test_one_class_at_any_probability():
    ours = MLPClassifier(**SMALL).fit(X, LABELS["one class"])
    ours.intercepts_[-1][:] = 100.0
    assert outputs(ours, X, zipmap=False)["probabilities"][0, 1] > 0.99
    check_classifier(ours, X, DTYPES["float64"])


LOSSES = {
    **{name: name for name in fastbp.losses.LOSSES if name != "softmax_cross_entropy"},
    "a quantile": fastbp.Pinball(0.9),
    "quantiles": fastbp.Pinball([0.1, 0.5, 0.9]),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", LOSSES)
def test_losses(loss, dtype):
    y = SPECIES / 2  # within the range of every loss
    ours = MLPRegressor(LOSSES[loss], **SMALL).fit(X, y)
    assert ours.predict(X).ndim == (2 if loss == "quantiles" else 1)
    check_regressor(ours, X.astype(dtype), DTYPES[dtype])


@pytest.mark.parametrize("loss", ["squared_error", "poisson", "binary_cross_entropy"])
def test_several_targets(loss):
    ours = MLPRegressor(loss, **SMALL).fit(X, np.c_[SPECIES, SPECIES[::-1], SPECIES > 0] / 2)
    check_regressor(ours, X, DTYPES["float64"])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_weights_of_another_dtype(solver, dtype):
    """They are converted to the type of the input."""
    ours = MLPRegressor(solver=solver, **SMALL).fit(X.astype("f4"), LENGTHS)
    check_regressor(ours, X.astype(dtype), 1e-5)


def test_integers_are_computed_in_float32():
    whole = np.round(4 * X).astype(np.int64)
    ours = MLPRegressor(**SMALL).fit(whole, LENGTHS)
    found = outputs(ours, whole)["variable"]
    np.testing.assert_allclose(found[:, 0], ours.predict(whole), 1e-4, 1e-5)
    assert found.dtype == np.float32


def test_weights_that_the_caller_has_put_in_place():
    ours = MLPRegressor(**SMALL).fit(X, LENGTHS)
    ours.coefs_ = [w + 0.1 for w in ours.coefs_]
    check_regressor(ours, X, DTYPES["float64"])


@pytest.mark.parametrize("opset", [9, 12, 13, 17])
def test_older_versions_of_onnx(opset):
    ours = MLPClassifier(
        (6,) * len(fastbp.layers.ACTIVATIONS), activation=[*fastbp.layers.ACTIVATIONS], max_iter=3
    ).fit(X, SPECIES)
    model = skl2onnx.to_onnx(ours, X[:1], target_opset=opset, options={"zipmap": False})
    assert max(o.version for o in model.opset_import if o.domain == "") <= opset
    session = onnxruntime.InferenceSession(model.SerializeToString())
    found = session.run(["probabilities"], {"X": X})[0]
    np.testing.assert_allclose(found, ours.predict_proba(X), rtol=0, atol=1e-6)


# ------------------------------------------------------------------- among others, and options


@pytest.mark.parametrize("dtype", DTYPES)
def test_pipelines(dtype):
    data = load_iris().data.astype(dtype)
    whole = make_pipeline(StandardScaler(), MLPClassifier(**SMALL)).fit(data, NAMES[SPECIES])
    check_classifier(whole, data, 10 * DTYPES[dtype])
    check_regressor(
        make_pipeline(StandardScaler(), MLPRegressor(**SMALL)).fit(data, LENGTHS),
        data,
        10 * DTYPES[dtype],
    )


@pytest.mark.parametrize("dtype", DTYPES)
def test_meta_estimators(dtype):
    data, atol = X.astype(dtype), 10 * DTYPES[dtype]
    stack = StackingRegressor([("net", MLPRegressor(**SMALL)), ("line", LinearRegression())], cv=2)
    check_regressor(stack.fit(data, LENGTHS), data, atol)
    calibrated = CalibratedClassifierCV(MLPClassifier(**SMALL), cv=2).fit(data, SPECIES)
    found = outputs(calibrated, data, zipmap=False)["probabilities"]
    np.testing.assert_allclose(found, calibrated.predict_proba(data), rtol=0, atol=max(atol, 1e-6))


@pytest.mark.parametrize("labels", ["multiclass", "multiclass strings", "binary"])
def test_options_of_classifiers(labels):
    data = X.astype("f4")
    ours = MLPClassifier(**SMALL).fit(data, LABELS[labels])
    expected = ours.predict_proba(data)
    as_dicts = outputs(ours, data)["output_probability"]  # skl2onnx's default
    assert list(as_dicts[0]) == list(ours.classes_)
    np.testing.assert_allclose([[*row.values()] for row in as_dicts], expected, rtol=0, atol=1e-6)
    columns = list(outputs(ours, data, zipmap="columns").values())
    np.testing.assert_allclose(np.stack(columns[1:], axis=1), expected, rtol=0, atol=1e-6)
    numbers = outputs(ours, data, zipmap=False, nocl=True)["label"]
    np.testing.assert_array_equal(ours.classes_[numbers], ours.predict(data))
    named = outputs(ours, data, zipmap=False, output_class_labels=True)["class_labels"]
    assert list(named) == list(ours.classes_)


@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
@pytest.mark.parametrize("union", [False, True])
def test_features_for_others_are_refused(kind, union):
    """skl2onnx would hand on what the network predicts, and the next step would take it."""
    net = kind(**SMALL)
    first = FeatureUnion([("net", net), ("same", StandardScaler())]) if union else net
    whole = make_pipeline(first, LinearRegression()).fit(X, SPECIES)
    with pytest.raises(NotImplementedError, match=f"{kind.__name__} can be converted as the last"):
        skl2onnx.to_onnx(whole, X[:1])


def test_an_unfitted_estimator():
    with pytest.raises(NotFittedError):
        skl2onnx.to_onnx(MLPRegressor(), X[:1])


def test_named_and_typed_outputs():
    types = skl2onnx.common.data_types
    ours = MLPRegressor(**SMALL).fit(X, LENGTHS)
    final = [("length", types.FloatTensorType([None, 1]))]
    model = skl2onnx.to_onnx(ours, X[:1], final_types=final)
    found = onnxruntime.InferenceSession(model.SerializeToString()).run(["length"], {"X": X})[0]
    np.testing.assert_allclose(found[:, 0], ours.predict(X), 1e-5, 1e-6)
    assert found.dtype == np.float32


def test_scikit_learns_own_are_converted_as_before():
    theirs = sklearn.neural_network.MLPRegressor(**SMALL).fit(X, LENGTHS)
    check_regressor(theirs, X, DTYPES["float64"])


def test_without_skl2onnx(monkeypatch):
    monkeypatch.delitem(sys.modules, "fastbp.estimators._onnx", raising=False)
    monkeypatch.delattr("fastbp.estimators._onnx", raising=False)
    monkeypatch.setitem(sys.modules, "skl2onnx", None)
    with pytest.raises(ImportError, match=r"needs skl2onnx: pip install 'fastbp\[onnx\]'"):
        fastbp.register_onnx_converters()


def test_skl2onnx_is_imported_when_it_is_asked_for():
    code = "import sys, fastbp; fastbp.MLPClassifier(); sys.exit('skl2onnx' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_name_is_public():
    assert "register_onnx_converters" in dir(fastbp)
