"""Among scikit-learn's own tools: data frames, search, meta-estimators, its callbacks; threads."""

import pickle

import numpy as np
import pytest
import threadpoolctl
from sklearn import datasets
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import BaggingRegressor, StackingClassifier, VotingClassifier
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    GridSearchCV,
    cross_val_predict,
    cross_val_score,
    train_test_split,
)
from sklearn.multioutput import MultiOutputRegressor
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, scale

import fastbp
from fastbp import MLPClassifier, MLPRegressor, _engine

# Fits end at max_iter on purpose.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

IRIS = scale(datasets.load_iris().data)
SPECIES = datasets.load_iris().target
NAMES = np.array(["setosa", "versicolor", "virginica"])
X, XV, Y, YV = train_test_split(IRIS, SPECIES, random_state=0)
T, TV = X[:, 2] * X[:, 0], XV[:, 2] * XV[:, 0]
SMALL = {"hidden_layer_sizes": (12, 8), "random_state": 3, "max_iter": 8, "batch_size": 16}
GOOD = SMALL | {"learning_rate_init": 0.02, "max_iter": 40}


# -------------------------------------------------------------------------- hidden layers, frames


@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_names_of_hidden_activations(kind):
    ours = kind(**SMALL).fit(X, Y)
    names = ours.get_feature_names_out()
    assert list(names) == [f"{kind.__name__.lower()}{i}" for i in range(8)]
    assert ours.transform(X).shape == (len(X), 8)
    twin = kind(**SMALL).fit_transform(X, Y)
    np.testing.assert_array_equal(twin, ours.transform(X))


@pytest.mark.parametrize("frames", ["pandas", "polars"])
def test_hidden_activations_as_a_frame(frames):
    library = pytest.importorskip(frames)
    ours = MLPClassifier(**SMALL).fit(X, Y)
    expected = ours.transform(XV)
    found = ours.set_output(transform=frames).transform(XV)
    assert isinstance(found, library.DataFrame)
    assert list(found.columns) == list(ours.get_feature_names_out())
    np.testing.assert_array_equal(found.to_numpy(), expected)


@pytest.mark.parametrize("frames", ["pandas", "polars"])
def test_activations_of_another_layer_are_an_array(frames):
    pytest.importorskip(frames)
    ours = MLPClassifier(**SMALL).fit(X, Y)
    expected = ours.activations(XV, layer=0)
    found = ours.set_output(transform=frames).activations(XV, layer=0)
    assert isinstance(found, np.ndarray)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("frames", ["pandas", "polars"])
def test_frames_as_data(frames):
    library = pytest.importorskip(frames)
    data = {name: X[:, i] for i, name in enumerate("abcd")}
    ours = MLPClassifier(**SMALL).fit(library.DataFrame(data), library.Series(Y))
    assert list(ours.feature_names_in_) == list("abcd")
    plain = MLPClassifier(**SMALL).fit(X, Y)
    np.testing.assert_array_equal(
        ours.predict_proba(library.DataFrame(data)), plain.predict_proba(X)
    )
    np.testing.assert_array_equal(
        ours.input_gradient(library.DataFrame(data)), plain.input_gradient(X)
    )


# ------------------------------------------------------------------------------ meta-estimators


def test_grid_search_in_a_pipeline():
    pipeline = make_pipeline(StandardScaler(), MLPClassifier(**GOOD | {"learning_rate_init": 1e-3}))
    grid = {
        "mlpclassifier__activation": ["relu", "gelu", ["tanh", "silu"]],
        "mlpclassifier__solver": ["lbfgs", fastbp.Adam(0.01), fastbp.SGD(0.1, momentum=0.9)],
        "mlpclassifier__n_threads": [1],
    }
    search = GridSearchCV(pipeline, grid, n_jobs=2, cv=3).fit(IRIS, SPECIES)
    assert search.best_score_ > 0.9
    serial = GridSearchCV(pipeline, grid, cv=3).fit(IRIS, SPECIES)
    for key in ("mean_test_score", "std_test_score"):
        np.testing.assert_array_equal(search.cv_results_[key], serial.cv_results_[key])
    np.testing.assert_array_equal(search.predict_proba(IRIS), serial.predict_proba(IRIS))


def test_validation_data_through_a_pipeline():
    pipeline = make_pipeline(StandardScaler(), MLPClassifier(**SMALL))
    held = pipeline[0].fit(X).transform(XV), YV
    pipeline.fit(X, Y, mlpclassifier__validation_data=held)
    assert pipeline.score(XV, YV) == pipeline[-1].validation_scores_[-1]


def test_cross_validation():
    assert cross_val_score(MLPClassifier(**GOOD), IRIS, SPECIES).mean() > 0.9
    scores = cross_val_score(MLPRegressor(**GOOD), IRIS, IRIS[:, 2] ** 2, n_jobs=2)
    assert np.isfinite(scores).all()
    probabilities = cross_val_predict(MLPClassifier(**GOOD), IRIS, SPECIES, method="predict_proba")
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-12)


def test_clones_are_new_and_equal():
    ours = MLPRegressor(
        fastbp.Pinball([0.1, 0.9]),
        solver=fastbp.AdamW(fastbp.Cosine(0.1, 5)),
        activation=[fastbp.ELU(0.3), "relu"],
        callbacks=[fastbp.EarlyStopping("loss")],
        **SMALL,
    ).fit(X, T)
    twin = clone(ours)
    assert not hasattr(twin, "coefs_")
    assert twin.loss == ours.loss
    assert twin.solver == ours.solver
    assert twin.callbacks[0] is not ours.callbacks[0]
    np.testing.assert_array_equal(twin.fit(X, T).predict(X), ours.predict(X))


@pytest.mark.parametrize(
    "wrap",
    [
        lambda e: CalibratedClassifierCV(e, cv=3),
        lambda e: VotingClassifier([("a", e), ("b", LogisticRegression())], voting="soft"),
        lambda e: StackingClassifier([("a", e), ("b", LogisticRegression())], cv=3),
        lambda e: make_pipeline(e, KNeighborsClassifier()),
    ],
    ids=["calibrated", "voting", "stacking", "features"],
)
def test_classifiers_of_classifiers(wrap):
    whole = wrap(MLPClassifier(**GOOD)).fit(X, NAMES[Y])
    assert whole.score(XV, NAMES[YV]) > 0.9
    again = pickle.loads(pickle.dumps(whole))
    np.testing.assert_array_equal(again.predict(XV), whole.predict(XV))


def test_regressors_of_regressors():
    bagged = BaggingRegressor(MLPRegressor(**GOOD), n_estimators=3, random_state=0, n_jobs=2)
    assert bagged.fit(X, T).score(XV, TV) > 0.8
    two = MultiOutputRegressor(MLPRegressor(**GOOD)).fit(X, np.stack([T, X[:, 0]], axis=1))
    np.testing.assert_array_equal(two.predict(XV)[:, 0], MLPRegressor(**GOOD).fit(X, T).predict(XV))


def test_permutation_importance():
    data = np.c_[X, np.random.default_rng(0).normal(size=len(X))]
    ours = MLPRegressor(**GOOD).fit(data, T)
    importances = permutation_importance(ours, data, T, random_state=0).importances_mean
    assert set(np.argsort(importances)[-2:]) <= {0, 2, 3}  # petals' sizes go together
    assert importances[2] > 5 * abs(importances[4])


# -------------------------------------------------------------------- scikit-learn's callbacks


@pytest.fixture
def monitors():
    """sklearn.callback, which scikit-learn has from 1.9 on."""
    return pytest.importorskip("sklearn.callback")


def epochs_of(monitor):
    logs = monitor.get_logs(include_lineage=True).data
    return [row for row in logs if row["task_name"] == "epoch" and len(row) > 6]


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("classes", [np.arange(3), NAMES], ids=["numbers", "names"])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_scoring_monitor(monitors, solver, classes, n_classes):
    y = classes[np.minimum(Y, n_classes - 1)]
    monitor = monitors.ScoringMonitor(scoring="accuracy")
    ours = MLPClassifier(solver=solver, **SMALL).set_callbacks(monitor).fit(X, y)
    expected = [
        MLPClassifier(solver=solver, **SMALL | {"max_iter": i + 1}).fit(X, y).score(X, y)
        for i in range(8)
    ]
    assert [row["accuracy"] for row in epochs_of(monitor)] == expected
    plain = MLPClassifier(solver=solver, **SMALL).fit(X, y)
    np.testing.assert_array_equal(ours.predict_proba(X), plain.predict_proba(X))


def test_scoring_monitor_of_a_regressor(monitors):
    monitor = monitors.ScoringMonitor(scoring="r2")
    MLPRegressor(**SMALL).set_callbacks(monitor).fit(X, T)
    expected = [MLPRegressor(**SMALL | {"max_iter": i + 1}).fit(X, T).score(X, T) for i in range(8)]
    np.testing.assert_allclose([row["r2"] for row in epochs_of(monitor)], expected, rtol=1e-12)


def test_scoring_monitor_of_a_data_frame(monitors):
    monitor = monitors.ScoringMonitor(scoring="accuracy")
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X, columns=list("abcd"))
    MLPClassifier(**SMALL).set_callbacks(monitor).fit(frame, Y)
    assert len(epochs_of(monitor)) == 8


def test_scoring_monitor_of_partial_fits(monitors):
    monitor = monitors.ScoringMonitor(scoring="accuracy")
    ours = MLPClassifier(**SMALL).set_callbacks(monitor)
    for _ in range(2):
        ours.partial_fit(X, Y, classes=[0, 1, 2])
        assert [row["accuracy"] for row in epochs_of(monitor)] == [ours.score(X, Y)]


def test_progress_bar_and_pipelines(monitors):
    pytest.importorskip("rich")
    monitor = monitors.ScoringMonitor(scoring="accuracy")
    ours = MLPClassifier(**SMALL).set_callbacks(monitor)
    pipeline = make_pipeline(StandardScaler(), ours)
    pipeline.set_callbacks(monitors.ProgressBar()).fit(X, Y)
    assert len(epochs_of(monitor)) == 8
    assert pipeline.score(X, Y) == epochs_of(monitor)[-1]["accuracy"]


# ------------------------------------------------------------------------- threads and precision


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_any_number_of_threads_gives_the_same_bits(engine, solver):
    engine.set_thread_grain(0)  # share however little there is
    settings = SMALL | {"hidden_layer_sizes": (70, 40), "solver": solver}
    fits = [MLPClassifier(n_threads=n, **settings).fit(IRIS, SPECIES) for n in (1, 2, 3, None)]
    for ours in fits[1:]:
        np.testing.assert_array_equal(ours.predict_proba(IRIS), fits[0].predict_proba(IRIS))
        for w, expected in zip(ours.coefs_, fits[0].coefs_, strict=True):
            np.testing.assert_array_equal(w, expected)


def test_n_threads_leaves_the_setting_of_the_package(engine):
    before = fastbp.get_num_threads()
    MLPClassifier(n_threads=1, **SMALL).fit(X, Y).predict(X)
    assert fastbp.get_num_threads() == before


def test_threadpoolctl_limits_the_threads():
    if _engine.build_info()["openmp"] is None:
        pytest.skip("this build has no OpenMP")
    before = fastbp.get_num_threads()
    plain = MLPClassifier(**SMALL).fit(X, Y)
    with threadpoolctl.threadpool_limits(1):
        assert fastbp.get_num_threads() == 1
        limited = MLPClassifier(**SMALL).fit(X, Y)
    assert fastbp.get_num_threads() == before
    np.testing.assert_array_equal(limited.predict_proba(X), plain.predict_proba(X))


@pytest.mark.parametrize("n_threads", [0, -1, 1.5, 10_000, "all"])
def test_bad_n_threads(n_threads):
    with pytest.raises(ValueError, match="n_threads"):
        MLPClassifier(n_threads=n_threads, **SMALL).fit(X, Y)


@pytest.mark.parametrize("dtype", ["float32", np.float32, np.dtype("f4")], ids=str)
def test_float32_on_float64_data(dtype):
    """As if the data were float32, up to rounding."""
    ours = MLPClassifier(dtype=dtype, **SMALL).fit(X, Y)
    assert {w.dtype for w in (*ours.coefs_, *ours.intercepts_)} == {np.dtype("f4")}
    assert ours.predict_proba(X).dtype == ours.transform(X).dtype == np.float32
    single = MLPClassifier(**SMALL).fit(X.astype("f4"), Y)
    np.testing.assert_allclose(ours.loss_curve_, single.loss_curve_, rtol=1e-5)
    np.testing.assert_allclose(
        ours.predict_proba(X), single.predict_proba(X.astype("f4")), atol=1e-5
    )
    double = MLPClassifier(dtype="float64", **SMALL).fit(X.astype("f4"), Y)
    assert double.coefs_[0].dtype == np.float64
    np.testing.assert_allclose(double.loss_curve_, single.loss_curve_, rtol=1e-5)


@pytest.mark.parametrize("dtype", ["float16", np.int32, "double", 64])
def test_bad_dtypes(dtype):
    with pytest.raises((TypeError, ValueError), match="dtype"):
        MLPClassifier(dtype=dtype, **SMALL).fit(X, Y)


def test_bf16():
    if not _engine.bf16_isas():
        pytest.skip("this CPU has no bf16")
    settings = GOOD | {"hidden_layer_sizes": (64, 64), "dtype": "float32"}
    rough = MLPClassifier(precision="bf16", **settings).fit(X, Y)
    fine = MLPClassifier(**settings).fit(X, Y)
    assert rough.coefs_[0].dtype == np.float32
    assert rough.loss_curve_ != fine.loss_curve_
    np.testing.assert_allclose(rough.loss_curve_[:5], fine.loss_curve_[:5], rtol=0.05)
    assert rough.score(XV, YV) > 0.9
    # prediction is in float32
    fine.coefs_, fine.intercepts_ = rough.coefs_, rough.intercepts_
    np.testing.assert_array_equal(fine.predict_proba(XV), rough.predict_proba(XV))


def test_bf16_is_a_kind_of_float32():
    with pytest.raises(ValueError, match="float64"):
        MLPClassifier(precision="bf16", **SMALL).fit(X, Y)
    with pytest.raises(ValueError, match="precision"):
        MLPClassifier(precision="fp8", **SMALL).fit(X, Y)
