"""skops saves estimators without pickle: equal after loading, in all that follows too."""

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, scale

import fastbp
from fastbp import MLPClassifier, MLPRegressor

io = pytest.importorskip("skops.io")

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X = scale(load_iris().data)
SPECIES = load_iris().target
NAMES = np.array(["setosa", "versicolor", "virginica"], dtype=object)
SMALL = {"hidden_layer_sizes": (8, 6), "max_iter": 4, "random_state": 0, "batch_size": 40}
STATE = {"fastbp._training.OptimizerState", "fastbp.estimators._stochastic.Solver"}
CLASSIFIER = "fastbp.estimators._classifier.MLPClassifier"
REGRESSOR = "fastbp.estimators._regressor.MLPRegressor"


def ours_of(*names):
    return {f"fastbp.{name}" for name in names}


# estimator, targets, the types of its parameters and of its optimizer
CASES = {
    "adam": (MLPClassifier, SPECIES, {}, ours_of("optimizers.Adam")),
    "strings": (MLPClassifier, NAMES[SPECIES], {}, ours_of("optimizers.Adam")),
    "multilabel": (
        MLPClassifier,
        np.c_[SPECIES > 0, SPECIES > 1].astype(int),
        {"solver": "adagrad", "dropout": [0.1, 0.2]},
        ours_of("optimizers.Adagrad"),
    ),
    "sgd": (
        MLPClassifier,
        SPECIES,
        # the next epoch is the one too many without improvement
        {
            "solver": "sgd",
            "learning_rate": "adaptive",
            "n_iter_no_change": 3,
            "tol": 10.0,
            "class_weight": "balanced",
        },
        ours_of("optimizers.SGD"),
    ),
    "specs": (
        MLPClassifier,
        SPECIES,
        {
            "activation": ["gelu", fastbp.ELU(0.3)],
            "solver": fastbp.AdamW(fastbp.WarmUp(fastbp.Cosine(0.01, 10), 1)),
            "class_weight": {0: 2.0, 1: 1.0, 2: 1.0},
        },
        ours_of("layers.ELU", "optimizers.AdamW", "schedules.Cosine", "schedules.WarmUp"),
    ),
    "random state": (
        MLPRegressor,
        X[:, 0],
        {"random_state": np.random.RandomState(5), "dtype": "float32", "solver": "rmsprop"},
        ours_of("optimizers.RMSprop"),
    ),
    "quantiles": (
        MLPRegressor,
        X[:, 0],
        {"loss": fastbp.Pinball([0.1, 0.9]), "restore_best_weights": True, "clip_norm": 1.0},
        ours_of("losses.Pinball", "optimizers.Adam"),
    ),
}


def reloaded(estimator):
    """What skops makes of it, every type of fastbp's trusted."""
    data = io.dumps(estimator)
    types = io.get_untrusted_types(data=data)
    assert all(name.startswith("fastbp.") for name in types)
    return io.loads(data, trusted=types)


def assert_same(ours, twin):
    for name in ("coefs_", "intercepts_", "loss_curve_"):
        for a, b in zip(getattr(ours, name), getattr(twin, name), strict=True):
            np.testing.assert_array_equal(a, b)
            assert np.asarray(a).dtype == np.asarray(b).dtype
    np.testing.assert_array_equal(ours.predict(X), twin.predict(X))


@pytest.mark.parametrize("case", CASES)
def test_types_to_trust(case):
    kind, y, parameters, types = CASES[case]
    data = io.dumps(kind(**SMALL | parameters).fit(X, y))
    mine = CLASSIFIER if kind is MLPClassifier else REGRESSOR
    assert set(io.get_untrusted_types(data=data)) == {mine} | STATE | types


@pytest.mark.parametrize("case", CASES)
def test_equal_and_goes_on_equal(case):
    kind, y, parameters, _ = CASES[case]
    ours = kind(**SMALL | parameters).fit(X, y)
    twin = reloaded(ours)
    assert_same(ours, twin)
    for _ in range(2):
        assert_same(ours.partial_fit(X, y), twin.partial_fit(X, y))
    again = reloaded(twin)
    for estimator in (ours, again):
        estimator.set_params(warm_start=True).fit(X, y)
    assert_same(ours, again)


@pytest.mark.parametrize("parameters", [{"early_stopping": True}, {"solver": "lbfgs"}], ids=str)
@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_warm_start(kind, parameters):
    ours = kind(warm_start=True, **SMALL | parameters).fit(X, SPECIES)
    twin = reloaded(ours)
    for estimator in (ours, twin):
        estimator.fit(X, SPECIES)
    np.testing.assert_array_equal(ours.predict(X), twin.predict(X))
    for w, expected in zip(twin.coefs_, ours.coefs_, strict=True):
        np.testing.assert_array_equal(w, expected)


def test_lbfgs_has_no_state_to_trust():
    data = io.dumps(MLPRegressor(solver="lbfgs", **SMALL).fit(X, SPECIES))
    assert io.get_untrusted_types(data=data) == [REGRESSOR]


def test_an_unfitted_one():
    ours = MLPClassifier(callbacks=[fastbp.EarlyStopping("loss")], **SMALL)
    twin = reloaded(ours)
    assert_same(ours.fit(X, SPECIES), twin.fit(X, SPECIES))


def test_a_pipeline_and_data_frames():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(load_iris().data, columns=list("abcd"))
    whole = make_pipeline(StandardScaler(), MLPClassifier(**SMALL)).fit(frame, NAMES[SPECIES])
    twin = reloaded(whole)
    np.testing.assert_array_equal(twin.predict_proba(frame), whole.predict_proba(frame))
    ours = MLPClassifier(**SMALL).fit(frame, SPECIES)
    assert list(reloaded(ours).feature_names_in_) == list("abcd")
    with pytest.raises(ValueError, match="feature names"):
        reloaded(ours).predict(frame[list("dcba")])


def test_nothing_is_loaded_unless_it_is_trusted():
    data = io.dumps(MLPClassifier(**SMALL).fit(X, SPECIES))
    with pytest.raises(TypeError, match="Untrusted types"):
        io.loads(data, trusted=[CLASSIFIER])
