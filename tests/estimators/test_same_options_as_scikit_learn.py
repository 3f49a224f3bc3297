"""Each way to train, and each kind of target, gives what scikit-learn's estimators give."""

import numpy as np
import pytest
from sklearn import datasets
from sklearn.preprocessing import scale

RNG = np.random.default_rng(0)
IRIS = scale(datasets.load_iris().data)
SPECIES = datasets.load_iris().target
BODIES = scale(datasets.load_diabetes().data)[:200]
PROGRESS = scale(datasets.load_diabetes().target)[:200]
COUNTS = RNG.poisson(np.exp(0.5 * BODIES[:, 2]))
LABELS = np.stack([SPECIES > 0, SPECIES > 1, IRIS[:, 0] > 0], axis=1).astype(int)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

CLASSIFIER, REGRESSOR = "MLPClassifier", "MLPRegressor"
TARGETS = {
    "binary": (CLASSIFIER, IRIS, SPECIES == 1),
    "multiclass": (CLASSIFIER, IRIS, SPECIES),
    "multilabel": (CLASSIFIER, IRIS, LABELS),
    "regression": (REGRESSOR, BODIES, PROGRESS),
    "outputs": (REGRESSOR, BODIES, np.stack([PROGRESS, PROGRESS**2, -PROGRESS], axis=1)),
    "poisson": (REGRESSOR, BODIES, COUNTS),
    "outputs of poisson": (REGRESSOR, BODIES, np.stack([COUNTS, COUNTS[::-1]], axis=1) * 1.0),
}
SOLVERS = {
    "adam": {"solver": "adam", "learning_rate_init": 0.01},
    "sgd": {"solver": "sgd", "learning_rate_init": 0.01},
    "lbfgs": {"solver": "lbfgs", "max_iter": 10, "alpha": 0.1},
}


@pytest.fixture(params=TARGETS)
def target(request):
    """Name of the class, X, y, and the parameters that go with y."""
    name, X, y = TARGETS[request.param]
    return name, X, y, {"loss": "poisson"} if "poisson" in request.param else {}


@pytest.fixture(params=SOLVERS)
def solver(request):
    return SOLVERS[request.param]


@pytest.fixture(params=["adam", "sgd"])
def epochs(request):
    return SOLVERS[request.param]


# ---------------------------------------------------------------------------- fitting once


def test_kinds_of_targets(pair, target, solver):
    name, X, y, loss = target
    pair(name, **solver, **loss).fit(X, y).check_float64(X)


def test_sample_weight(pair, target, solver):
    name, X, y, loss = target
    weight = np.random.default_rng(1).uniform(0, 3, len(X)) * (np.arange(len(X)) % 5 > 0)
    both = pair(name, **solver, **loss).fit(X, y, sample_weight=weight)
    both.check_float64(X)
    plain = pair(name, **solver, **loss).fit(X, y)
    assert not np.isclose(plain.ours.loss_, both.ours.loss_, rtol=1e-6)


@pytest.mark.parametrize("weighted", [False, True])
def test_early_stopping(pair, target, epochs, weighted):
    name, X, y, loss = target
    weight = np.random.default_rng(1).uniform(1, 3, len(X)) if weighted else None
    more = {"early_stopping": True, "n_iter_no_change": 3, "max_iter": 100, "tol": 1e-3}
    both = pair(name, **epochs | more, **loss, validation_fraction=0.2)
    both.fit(X, y, sample_weight=weight).check_float64(X)
    scores = both.ours.validation_scores_
    assert 3 < len(scores) < 100
    assert both.ours.best_validation_score_ == max(scores)


def test_early_stopping_restores_the_best(pair):
    rng = np.random.default_rng(2)
    X, y = rng.normal(size=(60, 20)), rng.normal(size=60)
    both = pair(REGRESSOR, early_stopping=True, validation_fraction=0.3, learning_rate_init=0.05)
    both.fit(X, y).check_float64(X)
    scores = both.ours.validation_scores_
    best = int(np.argmax(scores))
    assert best + 5 < len(scores)
    shorter = pair(REGRESSOR, early_stopping=True, validation_fraction=0.3, max_iter=best + 1)
    shorter.set_params(learning_rate_init=0.05).fit(X, y)
    np.testing.assert_array_equal(shorter.ours.predict(X), both.ours.predict(X))


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("kind", ["binary", "regression"])
def test_adaptive_until_the_rate_is_too_small(pair, kind, early_stopping):
    name, X, y = TARGETS[kind]
    both = pair(
        name,
        solver="sgd",
        learning_rate="adaptive",
        learning_rate_init=0.01,
        max_iter=100,
        n_iter_no_change=2,
        tol=0.05,
        early_stopping=early_stopping,
    )
    both.fit(X, y).check_float64(X)
    assert both.ours.n_iter_ < 100
    assert both.theirs._optimizer.learning_rate <= 1e-6


@pytest.mark.parametrize("batch_size", [1, 7, 64, 149, 150, 151, "auto"])
def test_batch_sizes_that_do_not_divide_the_samples(pair, epochs, batch_size):
    both = pair(CLASSIFIER, **epochs, batch_size=batch_size, max_iter=5)
    both.fit(IRIS, SPECIES).check_float64(IRIS)


def test_batches_of_weights(pair, target, epochs):
    name, X, y, loss = target
    weight = np.random.default_rng(1).uniform(0.1, 3, len(X))
    both = pair(name, **epochs, **loss, batch_size=32)
    both.fit(X, y, sample_weight=weight).check_float64(X)


def test_samples_in_their_order(pair, target, epochs):
    name, X, y, loss = target
    both = pair(name, **epochs, **loss, shuffle=False, batch_size=40).fit(X, y)
    both.check_float64(X)


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("momentum", [0, 0.5, 1])
@pytest.mark.parametrize("rate", ["constant", "invscaling", "adaptive"])
def test_momentum(pair, momentum, nesterov, rate):
    both = pair(
        CLASSIFIER,
        solver="sgd",
        learning_rate=rate,
        learning_rate_init=0.01,
        momentum=momentum,
        nesterovs_momentum=nesterov,
        tol=0.05,
        n_iter_no_change=2,
        batch_size=50,
    )
    both.fit(IRIS, SPECIES).check_float64(IRIS)


@pytest.mark.parametrize(
    "parameters",
    [
        {"hidden_layer_sizes": ()},
        {"hidden_layer_sizes": 5},
        {"hidden_layer_sizes": [1, 1, 1], "activation": "tanh"},
        {"hidden_layer_sizes": np.array([9, 4])},
        {"alpha": 0},
        {"alpha": 10.0},
        {"beta_1": 0.0, "beta_2": 0.0, "epsilon": 1e-2},
        {"beta_1": 0.5, "beta_2": 0.6},
        {"power_t": 0.0, "solver": "sgd", "learning_rate": "invscaling"},
        {"power_t": 2, "solver": "sgd", "learning_rate": "invscaling"},
        {"tol": 0.0, "n_iter_no_change": np.inf},
        {"tol": 10.0, "n_iter_no_change": 1},
        {"solver": "lbfgs", "max_fun": 4},
        {"solver": "lbfgs", "max_iter": 60, "tol": 0.05},
        {"learning_rate_init": 1, "max_iter": 3, "activation": "logistic"},
    ],
    ids=str,
)
def test_other_parameters(pair, parameters):
    pair(CLASSIFIER, **parameters).fit(IRIS, SPECIES).check_float64(IRIS)


def test_a_shared_random_state_is_drawn_from_as_often(pair):
    both = pair(CLASSIFIER)
    draws = []
    for estimator in both:
        rng = np.random.RandomState(5)
        estimator.set_params(random_state=rng, early_stopping=True)
    both.fit(IRIS, SPECIES).check_float64(IRIS)
    for estimator in both:
        draws.append(estimator.random_state.uniform())
    assert draws[0] == draws[1]


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_x_and_y_of_other_dtypes(pair, solver, dtype):
    """The larger bound is for float32, of which y is not rounded in scikit-learn."""
    both = pair(REGRESSOR, **SOLVERS[solver])
    both.fit(BODIES.astype(dtype), PROGRESS.astype("f8" if dtype == np.float32 else "f4"))
    single = dtype == np.float32
    both.check_training(rtol=2e-5 if single else 1e-8)
    both.check_predictions(BODIES.astype(dtype), rtol=0, atol=1e-4 if single else 1e-6)


NAMED = {
    "str": np.array(["setosa", "versicolor", "virginica"])[SPECIES],
    "object": np.array(["setosa", "versicolor", "virginica"], dtype=object)[SPECIES],
    "two str": np.array(["no", "yes"])[(SPECIES > 0) * 1],
    "bool": SPECIES > 1,
    "negative": np.array([-7, 3, 100])[SPECIES],
    "two of float": np.array([-1.0, 1.0])[(SPECIES > 0) * 1],
    "float": np.array([0.0, 5.0, 9.0])[SPECIES],
    "uint8": SPECIES.astype(np.uint8),
    "list": SPECIES.tolist(),
}


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("labels", NAMED)
def test_labels_of_many_kinds(pair, labels, early_stopping):
    y = NAMED[labels]
    both = pair(CLASSIFIER, learning_rate_init=0.01, early_stopping=early_stopping)
    both.fit(IRIS, y).check_float64(IRIS)
    assert both.ours.classes_.dtype == both.theirs.classes_.dtype
    assert both.ours.score(IRIS, y) == both.theirs.score(IRIS, y)


# --------------------------------------------------------------------- fitting repeatedly


def test_two_warm_fits(pair, target, solver):
    name, X, y, loss = target
    both = pair(name, **solver, **loss, warm_start=True).fit(X, y)
    both.fit(X[::-1], y[::-1]).check_float64(X)


def test_two_fits_without_warm_start(pair, target, solver):
    name, X, y, loss = target
    both = pair(name, **solver, **loss)
    both.fit(X[::2], y[::2]).fit(X, y).check_float64(X)


@pytest.mark.parametrize("rate", ["constant", "invscaling", "adaptive"])
def test_many_warm_fits_of_one_epoch(pair, rate):
    both = pair(CLASSIFIER, solver="sgd", learning_rate=rate, max_iter=1, warm_start=True)
    both.set_params(learning_rate_init=0.01, tol=0.05, n_iter_no_change=2)
    for _ in range(12):
        both.fit(IRIS, SPECIES)
    assert len(both.ours.loss_curve_) == 12
    both.check_float64(IRIS)


def test_warm_fits_with_early_stopping(pair, epochs):
    both = pair(REGRESSOR, **epochs, early_stopping=True, warm_start=True, max_iter=8)
    for _ in range(4):
        both.fit(BODIES, PROGRESS).check_float64(BODIES)


@pytest.mark.parametrize("first", SOLVERS)
@pytest.mark.parametrize("second", SOLVERS)
def test_warm_fits_with_different_solvers(pair, first, second):
    both = pair(CLASSIFIER, **SOLVERS[first], warm_start=True).fit(IRIS, SPECIES)
    before = both.ours.loss_
    both.set_params(**SOLVERS[second])
    if first == "lbfgs" != second:  # theirs has no loss_curve_ to append to, ours goes on
        both.ours.fit(IRIS, SPECIES)
        assert len(both.ours.loss_curve_) == both.ours.n_iter_
        assert both.ours.loss_curve_[0] < 2 * before
        return
    both.fit(IRIS, SPECIES)
    both.check_training(rtol=1e-8)
    both.check_predictions(IRIS, rtol=1e-6, atol=1e-6)


def test_early_stopping_begins_with_a_warm_fit(pair):
    """In theirs there is no list of scores to append to."""
    ours = pair(CLASSIFIER, warm_start=True, learning_rate_init=0.01).fit(IRIS, SPECIES).ours
    ours.set_params(early_stopping=True).fit(IRIS, SPECIES)
    assert len(ours.validation_scores_) == ours.n_iter_
    assert ours.best_validation_score_ == max(ours.validation_scores_)


@pytest.mark.parametrize("weighted", [False, True])
def test_partial_fits(pair, target, epochs, weighted):
    name, X, y, loss = target
    both = pair(name, **epochs, **loss, batch_size=16)
    more = {}
    if name == CLASSIFIER:
        more["classes"] = np.arange(y.shape[1]) if y.ndim == 2 else np.unique(y)
    rng = np.random.default_rng(3)
    for n in (50, 10, len(X), 3, 77):
        rows = rng.permutation(len(X))[:n]
        weight = {"sample_weight": rng.uniform(1, 2, n)} if weighted else {}
        both.call("partial_fit", X[rows], y[rows], **weight, **more)
        more = {}
        both.check_training(rtol=1e-8)
    assert len(both.ours.loss_curve_) == 5
    both.check_float64(X)


@pytest.mark.parametrize("rate", ["constant", "invscaling", "adaptive"])
def test_partial_fits_at_rates_that_change(pair, rate):
    both = pair(REGRESSOR, solver="sgd", learning_rate=rate, learning_rate_init=0.02)
    both.set_params(tol=0.05, n_iter_no_change=2)
    for _ in range(15):
        both.call("partial_fit", BODIES, PROGRESS)
    assert (rate != "constant") == (both.theirs._optimizer.learning_rate < 0.02)
    both.check_float64(BODIES)


def test_partial_fit_goes_on_where_fit_ended(pair, target, epochs):
    name, X, y, loss = target
    both = pair(name, **epochs, **loss).fit(X, y)
    for _ in range(3):
        both.call("partial_fit", X, y)
    both.check_float64(X)
    both.fit(X, y).check_float64(X)


@pytest.mark.parametrize("changed", [{"learning_rate_init": 0.1}, {"alpha": 1.0}, {"beta_1": 0.1}])
def test_parameters_changed_between_partial_fits(pair, changed):
    both = pair(REGRESSOR, batch_size=50)
    for _ in range(3):
        both.call("partial_fit", BODIES, PROGRESS)
    both.set_params(**changed)
    for _ in range(3):
        both.call("partial_fit", BODIES, PROGRESS)
    both.check_float64(BODIES)


# ------------------------------------------------------------------------------ what is printed


@pytest.mark.parametrize(
    "parameters",
    [
        {"max_iter": 30, "tol": 0.05, "n_iter_no_change": 2},
        {"early_stopping": True, "max_iter": 30, "tol": 0.05, "n_iter_no_change": 2},
        {"solver": "sgd", "learning_rate": "adaptive", "tol": 10.0, "n_iter_no_change": 1},
    ],
    ids=["loss", "early_stopping", "adaptive"],
)
def test_verbose_prints_the_same_lines(pair, capsys, parameters):
    both = pair(CLASSIFIER, learning_rate_init=0.01, verbose=True)
    both.set_params(**{"max_iter": 60} | parameters)
    printed = []
    for estimator in both:
        estimator.fit(IRIS, SPECIES)
        printed.append(capsys.readouterr().out.splitlines())
    assert len(printed[0]) > 3
    assert printed[1] == printed[0]
