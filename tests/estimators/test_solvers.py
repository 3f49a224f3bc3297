"""Solvers, schedules and clipping: full-batch steps by formulas written here.

The gradient is scikit-learn's: what a step of plain gradient descent takes away there.
"""

from itertools import pairwise

import numpy as np
import pytest
import sklearn.neural_network
from sklearn import datasets
from sklearn.preprocessing import scale

import fastbp
from fastbp import MLPClassifier, MLPRegressor

# Fits end at max_iter on purpose.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X = scale(datasets.load_iris().data)
SPECIES = datasets.load_iris().target
SMALL = {
    "hidden_layer_sizes": (6, 5),
    "activation": "tanh",
    "random_state": 0,
    "alpha": 0.0,
    "batch_size": len(X),
    "max_iter": 3,
}


class Path(fastbp.Callback):
    """Notes all parameters before the first epoch and after each."""

    def on_fit_begin(self, model, history, epochs):
        self.points = [model.parameters.astype(np.float64)]

    def on_epoch_end(self, model, history):
        self.points.append(model.parameters.astype(np.float64))


def path_of(**parameters):
    path = Path()
    MLPClassifier(**SMALL | parameters, callbacks=[path]).fit(X, SPECIES)
    return path.points


class Descent:
    """scikit-learn's gradient at given parameters."""

    def __init__(self):
        steps = {"solver": "sgd", "momentum": 0.0, "learning_rate_init": 1.0, "max_iter": 1}
        self.estimator = sklearn.neural_network.MLPClassifier(**SMALL | steps).fit(X, SPECIES)

    def gradient(self, parameters):
        e, end = self.estimator, 0
        for i, (w, b) in enumerate(zip(e.coefs_, e.intercepts_, strict=True)):
            begin, middle, end = end, end + w.size, end + w.size + b.size
            e.coefs_[i] = parameters[begin:middle].reshape(w.shape).copy()
            e.intercepts_[i] = parameters[middle:end].copy()
        del e._optimizer
        e.partial_fit(X, SPECIES)
        pairs = zip(e.coefs_, e.intercepts_, strict=True)
        return parameters - np.concatenate([a.ravel() for pair in pairs for a in pair])


@pytest.fixture(scope="module")
def gradient():
    return Descent().gradient


class Rule:
    """An update p, g -> p with its moments, which start at zero; numbers are those of PyTorch."""

    def __init__(self, **settings):
        self.__dict__.update({"momentum": 0.0, "decay": 0.0, "m": 0.0, "v": 0.0, "t": 0})
        self.__dict__.update(settings)


class Sgd(Rule):
    nesterov = False

    def __call__(self, p, g):
        g = g + self.decay * p
        self.m = self.momentum * self.m + g
        return p - self.rate * (g + self.momentum * self.m if self.nesterov else self.m)


class AdamW(Rule):
    beta1, beta2, eps, coupled = 0.9, 0.999, 1e-8, 0.0

    def __call__(self, p, g):
        self.t += 1
        g = g + self.coupled * p
        self.m = self.beta1 * self.m + (1 - self.beta1) * g
        self.v = self.beta2 * self.v + (1 - self.beta2) * g**2
        m, v = self.m / (1 - self.beta1**self.t), self.v / (1 - self.beta2**self.t)
        return p - self.rate * self.decay * p - self.rate * m / (np.sqrt(v) + self.eps)


class RMSprop(Rule):
    alpha, eps = 0.99, 1e-8

    def __call__(self, p, g):
        self.v = self.alpha * self.v + (1 - self.alpha) * g**2
        self.m = self.momentum * self.m + g / (np.sqrt(self.v) + self.eps)
        return p - self.rate * self.m


class Adagrad(Rule):
    eps = 1e-10

    def __call__(self, p, g):
        self.v = self.v + g**2
        return p - self.rate * g / (np.sqrt(self.v) + self.eps)


STEPS = [
    ({"solver": "sgd", "learning_rate_init": 0.3, "momentum": 0.0}, Sgd(rate=0.3)),
    ({"solver": fastbp.SGD(0.2)}, Sgd(rate=0.2)),
    ({"solver": fastbp.SGD(0.2, momentum=0.7)}, Sgd(rate=0.2, momentum=0.7)),
    (
        {"solver": fastbp.SGD(0.2, momentum=0.7, nesterov=True, weight_decay=0.1)},
        Sgd(rate=0.2, momentum=0.7, nesterov=True, decay=0.1),
    ),
    ({"solver": "adamw", "learning_rate_init": 0.05}, AdamW(rate=0.05, decay=0.01)),
    (
        {"solver": "adamw", "beta_1": 0.5, "beta_2": 0.8, "epsilon": 1e-2},
        AdamW(rate=0.001, decay=0.01, beta1=0.5, beta2=0.8, eps=1e-2),
    ),
    ({"solver": fastbp.AdamW(0.02, weight_decay=0.5)}, AdamW(rate=0.02, decay=0.5)),
    (
        {"solver": fastbp.Adam(0.02, eps=1e-3, weight_decay=0.5)},
        AdamW(rate=0.02, eps=1e-3, coupled=0.5),
    ),
    ({"solver": "rmsprop", "learning_rate_init": 0.02}, RMSprop(rate=0.02)),
    (
        {"solver": fastbp.RMSprop(0.02, alpha=0.9, momentum=0.5)},
        RMSprop(rate=0.02, alpha=0.9, momentum=0.5),
    ),
    (
        {"solver": "rmsprop", "learning_rate_init": 0.02, "epsilon": 1e-2},
        RMSprop(rate=0.02, eps=1e-2),
    ),
    ({"solver": "adagrad", "learning_rate_init": 0.1}, Adagrad(rate=0.1, eps=1e-8)),
    (
        {"solver": "adagrad", "learning_rate_init": 0.1, "epsilon": 1e-2},
        Adagrad(rate=0.1, eps=1e-2),
    ),
    ({"solver": fastbp.Adagrad(0.1, eps=1e-2)}, Adagrad(rate=0.1, eps=1e-2)),
]


@pytest.mark.parametrize(("parameters", "rule"), STEPS, ids=lambda v: str(v)[:70])
def test_steps(gradient, parameters, rule):
    points = path_of(**parameters)
    assert len(points) == 4
    for before, after in pairwise(points):
        expected = rule(before, gradient(before))
        assert abs(expected - before).max() > 1e-4
        np.testing.assert_allclose(after, expected, rtol=0, atol=1e-9)


OF_OPTIMIZERS = {
    "learning_rate": ["adaptive", fastbp.Cosine(0.4, 4)],
    "learning_rate_init": [0.01],
    "momentum": [0.3],
    "nesterovs_momentum": [False],
    "beta_1": [0.5],
    "beta_2": [0.5],
    "epsilon": [1e-7],
    "clip_norm": [1.0],
}


@pytest.mark.parametrize(("name", "value"), [(k, v) for k, vs in OF_OPTIMIZERS.items() for v in vs])
@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_settings_beside_an_optimizer_are_refused(kind, name, value):
    """Who sets them would think that they count."""
    e = kind(**SMALL, solver=fastbp.SGD(0.2)).fit(X, SPECIES)
    before = [w.tobytes() for w in e.coefs_]
    e.set_params(**{name: value})
    for call in (e.fit, e.partial_fit):
        with pytest.raises(ValueError, match=rf"^{name}: expected its default, .*give it to SGD"):
            call(X, SPECIES)
    assert [w.tobytes() for w in e.coefs_] == before


def test_a_rate_beside_a_schedule_is_refused():
    schedule = fastbp.Cosine(0.01, 5)
    estimator = MLPRegressor(learning_rate=schedule, learning_rate_init=0.1)
    expected = (
        "^learning_rate_init: expected its default, 0.001, beside a schedule.*give it to Cosine"
    )
    with pytest.raises(ValueError, match=expected):
        estimator.fit([[0.0], [1.0]], [0.0, 1.0])


@pytest.mark.parametrize("solver", ["rmsprop", "adagrad"])
def test_what_is_sgd_s_and_adam_s_alone(solver):
    """As in scikit-learn, where the names say whose they are."""
    others = {"momentum": 0.3, "nesterovs_momentum": False, "beta_1": 0.5, "beta_2": 0.5}
    np.testing.assert_array_equal(path_of(solver=solver), path_of(solver=solver, **others))


@pytest.mark.parametrize("solver", ["sgd", "adam", "adamw", "rmsprop", "adagrad"])
def test_a_name_and_its_optimizer_give_the_same(solver):
    """Of Adam the place of epsilon is another: it is scikit-learn's."""
    kinds = {
        "sgd": fastbp.SGD(1e-3, momentum=0.9, nesterov=True),
        "adam": fastbp.Adam(1e-3, eps_hat=True),
        "adamw": fastbp.AdamW(1e-3),
        "rmsprop": fastbp.RMSprop(1e-3),
        "adagrad": fastbp.Adagrad(1e-3, eps=1e-8),
    }
    np.testing.assert_array_equal(path_of(solver=solver), path_of(solver=kinds[solver]))


# ------------------------------------------------------------------------------------ schedules

EPOCHS = np.arange(6)
SCHEDULES = [
    (fastbp.Constant(0.3), [0.3] * 6),
    (fastbp.Cosine(0.4, 4), 0.2 * (1 + np.cos(np.pi * np.minimum(EPOCHS, 4) / 4))),
    (fastbp.StepDecay(0.4, 0.5, 2), [0.4, 0.4, 0.2, 0.2, 0.1, 0.1]),
    (fastbp.ExponentialDecay(0.4, 0.8), 0.4 * 0.8**EPOCHS),
    (fastbp.InverseScaling(0.4, 0.5), 0.4 / np.sqrt(EPOCHS + 1)),
    (
        fastbp.WarmUp(fastbp.Constant(0.4), epochs=4, start_factor=0.5),
        0.4 * (0.5 + 0.5 * np.minimum(EPOCHS / 4, 1)),
    ),
]


@pytest.mark.parametrize(("schedule", "rates"), SCHEDULES, ids=lambda v: str(v)[:40])
@pytest.mark.parametrize("as_optimizer", [False, True])
def test_steps_follow_the_schedule(gradient, schedule, rates, as_optimizer):
    sgd = {"solver": "sgd", "momentum": 0.0, "learning_rate": schedule}
    points = path_of(max_iter=6, **{"solver": fastbp.SGD(schedule)} if as_optimizer else sgd)
    for before, after, rate in zip(points[:-1], points[1:], rates, strict=True):
        np.testing.assert_allclose(after, before - rate * gradient(before), rtol=0, atol=1e-12)


@pytest.mark.parametrize("solver", ["adam", "adamw", "rmsprop", "adagrad"])
def test_every_solver_takes_a_schedule(solver):
    constant = path_of(solver=solver, learning_rate=fastbp.Constant(0.01))
    np.testing.assert_array_equal(constant, path_of(solver=solver, learning_rate_init=0.01))
    falling = path_of(solver=solver, learning_rate=fastbp.ExponentialDecay(0.01, 0.5))
    np.testing.assert_array_equal(falling[1], constant[1])
    assert abs(falling[2] - constant[2]).max() > 1e-4


def test_partial_fits_go_on_with_the_schedule(gradient):
    ours = MLPClassifier(**SMALL, solver="sgd", momentum=0.0, learning_rate=fastbp.Cosine(0.4, 4))
    path = Path()
    ours.set_params(callbacks=[path])
    for rate in 0.2 * (1 + np.cos(np.pi * np.arange(4) / 4)):
        ours.partial_fit(X, SPECIES, classes=[0, 1, 2])
        before, after = path.points
        np.testing.assert_allclose(after, before - rate * gradient(before), rtol=0, atol=1e-12)


# ------------------------------------------------------------------------------------- clipping


@pytest.mark.parametrize("clip_norm", [0.01, 0.05])
def test_a_clipped_step_has_the_length_of_rate_times_norm(gradient, clip_norm):
    points = path_of(solver="sgd", momentum=0.0, learning_rate_init=0.7, clip_norm=clip_norm)
    for before, after in pairwise(points):
        g = gradient(before)
        assert np.linalg.norm(g) > clip_norm
        assert np.linalg.norm(after - before) == pytest.approx(0.7 * clip_norm, rel=1e-9)
        np.testing.assert_allclose(
            after, before - 0.7 * clip_norm * g / np.linalg.norm(g), rtol=0, atol=1e-12
        )


def test_shorter_gradients_are_not_clipped():
    wide = path_of(solver="sgd", clip_norm=1e6)
    np.testing.assert_array_equal(wide, path_of(solver="sgd"))


@pytest.mark.parametrize("solver", ["adam", "adamw", "rmsprop", "adagrad"])
def test_every_solver_clips(solver):
    """A first step of these does not depend on the gradient's length, a second one does."""
    clipped, free = path_of(solver=solver, clip_norm=0.01), path_of(solver=solver)
    assert abs(clipped[2] - free[2]).max() > 1e-6
    instance = {"adam": fastbp.Adam, "adamw": fastbp.AdamW}.get(solver)
    if instance:
        more = {"eps_hat": True} if solver == "adam" else {}
        twin = path_of(solver=instance(1e-3, clip_norm=0.01, **more))
        np.testing.assert_array_equal(clipped, twin)


LBFGS_HAS_NOT = [("clip_norm", 1.0), ("precision", "bf16"), ("learning_rate", fastbp.Cosine(1, 4))]


@pytest.mark.parametrize(("name", "value"), LBFGS_HAS_NOT)
def test_what_lbfgs_has_not_is_refused(name, value):
    for kind in (MLPClassifier, MLPRegressor):
        e = kind(solver="lbfgs", **SMALL).fit(X, SPECIES)
        before = e.coefs_[0].tobytes()
        with pytest.raises(ValueError, match=rf"^{name}: expected .*'lbfgs', which .*leave it out"):
            e.set_params(**{name: value}).fit(X, SPECIES)
        assert e.coefs_[0].tobytes() == before


IGNORED = {"learning_rate": "adaptive", "learning_rate_init": 9.0, "momentum": 0.1, "beta_1": 0.1}
IGNORED |= {"beta_2": 0.1, "epsilon": 1.0, "batch_size": 3, "shuffle": False, "power_t": 3.0}
IGNORED |= {"early_stopping": True, "validation_fraction": 0.5, "n_iter_no_change": 1}


@pytest.mark.parametrize("name", IGNORED)
def test_what_lbfgs_ignores_as_in_scikit_learn(name):
    plain = MLPClassifier(solver="lbfgs", **SMALL).fit(X, SPECIES)
    other = MLPClassifier(solver="lbfgs", **SMALL | {name: IGNORED[name]}).fit(X, SPECIES)
    np.testing.assert_array_equal(other.coefs_[0], plain.coefs_[0])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_clipping_keeps_finite_what_would_diverge(dtype):
    steps = {"solver": "sgd", "learning_rate_init": 0.5, "activation": "identity", "max_iter": 60}
    steep = MLPRegressor(**SMALL | steps, dtype=dtype)
    with pytest.raises(fastbp.DivergenceError, match="need to be preprocessed"):
        steep.fit(X, 100 * X[:, 0])
    assert np.isfinite(steep.predict(X)).all()
    steep.set_params(clip_norm=0.1).fit(X, 100 * X[:, 0])
    assert steep.n_iter_ == len(steep.loss_curve_) > 3
