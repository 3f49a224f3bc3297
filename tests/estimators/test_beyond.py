"""Weights of classes, activations, dropout, losses and derivatives, by formulas written here."""

import numpy as np
import pytest
import scipy.optimize
import scipy.special
import sklearn.neural_network
from sklearn import datasets, metrics
from sklearn.preprocessing import scale
from sklearn.utils.class_weight import compute_class_weight, compute_sample_weight

import fastbp
from fastbp import MLPClassifier, MLPRegressor

# Fits end at max_iter on purpose.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X = scale(datasets.load_iris().data)
SPECIES = datasets.load_iris().target
UNEQUAL = np.r_[0:50, 50:65, 100:130]  # 50, 15 and 30 of the three species
LABELS = np.stack([SPECIES > 0, SPECIES > 1, X[:, 0] > 0], axis=1).astype(int)
LENGTH = X[:, 2] + 0.1 * np.random.default_rng(0).normal(size=len(X))
COUNTS = np.random.default_rng(0).poisson(np.exp(X[:, 2]))

SMALL = {"hidden_layer_sizes": (6, 5), "random_state": 0, "max_iter": 12}
ALL_AT_ONCE = {"batch_size": len(X), "alpha": 0.0}
NO_STEP = {"solver": "sgd", "momentum": 0.0, "learning_rate_init": 1e-300, "max_iter": 1}

# ---------------------------------------------------------------------------- weights of classes


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("class_weight", ["balanced", {0: 1.0, 1: 5.0, 2: 0.5}], ids=str)
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_class_weight_is_a_weight_of_each_sample(solver, class_weight, weighted):
    x, y = X[UNEQUAL], SPECIES[UNEQUAL]
    own = np.random.default_rng(1).uniform(0.5, 2, len(y)) if weighted else None
    # "balanced" goes by the weight of each class
    names = np.unique(y)
    each = compute_class_weight(
        class_weight, classes=names, y=y, sample_weight=own if weighted else None
    )
    weight = each[np.searchsorted(names, y)] * (own if weighted else 1.0)
    theirs = sklearn.neural_network.MLPClassifier(solver=solver, **SMALL)
    theirs.fit(x, y, sample_weight=weight)
    ours = MLPClassifier(solver=solver, class_weight=class_weight, **SMALL)
    ours.fit(x, y, sample_weight=own)
    np.testing.assert_allclose(ours.loss_, theirs.loss_, rtol=1e-9)
    if solver != "lbfgs":
        np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-9)
    np.testing.assert_allclose(ours.predict_proba(x), theirs.predict_proba(x), atol=1e-6)


def test_class_weight_goes_by_the_names_of_classes():
    names = np.array(["setosa", "versicolor", "virginica"])[SPECIES[UNEQUAL]]
    numbered = MLPClassifier(class_weight={0: 1, 1: 5, 2: 0.5}, **SMALL)
    named = MLPClassifier(class_weight={"setosa": 1, "versicolor": 5, "virginica": 0.5}, **SMALL)
    numbered.fit(X[UNEQUAL], SPECIES[UNEQUAL])
    assert named.fit(X[UNEQUAL], names).loss_curve_ == numbered.loss_curve_


def test_class_weights_of_two_classes_and_of_labels():
    binary = SPECIES == 1
    weight = compute_sample_weight("balanced", binary)
    theirs = sklearn.neural_network.MLPClassifier(**SMALL).fit(X, binary, sample_weight=weight)
    ours = MLPClassifier(class_weight="balanced", **SMALL).fit(X, binary)
    np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-9)
    each = [{0: 1, 1: 2}, {0: 1, 1: 3}, {0: 0.5, 1: 1}]
    weight = compute_sample_weight(each, LABELS)
    theirs = sklearn.neural_network.MLPClassifier(**SMALL).fit(X, LABELS, sample_weight=weight)
    ours = MLPClassifier(class_weight=each, **SMALL).fit(X, LABELS)
    np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-9)


@pytest.mark.parametrize("y", [SPECIES, LABELS], ids=["classes", "labels"])
def test_balanced_counts_a_weight_of_two_as_two_samples(y):
    weight = np.arange(len(y)) % 3  # 0, 1 or 2
    weighted, repeated = (MLPClassifier(class_weight="balanced", **SMALL) for _ in range(2))
    weighted.fit(X, y, sample_weight=weight)
    repeated.fit(X.repeat(weight, axis=0), y.repeat(weight, axis=0))
    np.testing.assert_allclose(weighted.loss_curve_, repeated.loss_curve_, rtol=1e-9)


def test_balanced_without_the_weight_of_a_class():
    weight = (SPECIES < 2).astype(float)
    plain, balanced = (MLPClassifier(class_weight=c, **SMALL) for c in (None, "balanced"))
    for estimator in (plain, balanced):  # the other two classes have equal weights as it is
        estimator.fit(X, SPECIES, sample_weight=weight)
    np.testing.assert_allclose(balanced.loss_curve_, plain.loss_curve_, rtol=1e-12)


# ---------------------------------------------------------------------------------- activations

SIGMA = {
    "identity": lambda z: z,
    "relu": lambda z: np.maximum(z, 0),
    "leaky_relu": lambda z: np.where(z > 0, z, 0.01 * z),
    "elu": lambda z: np.where(z > 0, z, np.expm1(np.minimum(z, 0))),
    "selu": lambda z: (
        1.0507009873554805 * np.where(z > 0, z, 1.6732632423543772 * np.expm1(np.minimum(z, 0)))
    ),
    "sigmoid": scipy.special.expit,
    "logistic": scipy.special.expit,
    "tanh": np.tanh,
    "softsign": lambda z: z / (1 + abs(z)),
    "softplus": lambda z: np.logaddexp(0, z),
    "gelu": lambda z: z * (1 + scipy.special.erf(z / np.sqrt(2))) / 2,
    "silu": lambda z: z * scipy.special.expit(z),
    "mish": lambda z: z * np.tanh(np.logaddexp(0, z)),
}
LISTS = [
    (["tanh", "gelu"], [SIGMA["tanh"], SIGMA["gelu"]]),
    (("relu", "logistic"), [SIGMA["relu"], SIGMA["logistic"]]),
    (
        [fastbp.LeakyReLU(0.3), fastbp.ELU(0.5)],
        [
            lambda z: np.where(z > 0, z, 0.3 * z),
            lambda z: np.where(z > 0, z, 0.5 * np.expm1(np.minimum(z, 0))),
        ],
    ),
    (np.array(["mish", "identity"]), [SIGMA["mish"], SIGMA["identity"]]),
]
EVERY = [(name, [sigma] * 2) for name, sigma in SIGMA.items()] + LISTS


def forward(estimator, x, sigmas):
    """The last layer's values before any link."""
    for sigma, w, b in zip(
        [*sigmas, SIGMA["identity"]], estimator.coefs_, estimator.intercepts_, strict=True
    ):
        x = sigma(x @ w + b)
    return x


def test_every_activation_has_a_formula_here():
    assert set(SIGMA) - {"logistic"} == set(fastbp.layers.ACTIVATIONS)


@pytest.mark.parametrize(("activation", "sigmas"), EVERY, ids=lambda v: str(v)[:40])
def test_activations(activation, sigmas):
    ours = MLPRegressor(activation=activation, **SMALL).fit(X, LENGTH)
    np.testing.assert_allclose(ours.predict(X), forward(ours, X, sigmas)[:, 0], rtol=1e-11)
    still = MLPRegressor(activation=activation, **SMALL | NO_STEP | ALL_AT_ONCE).fit(X, LENGTH)
    loss = metrics.mean_squared_error(LENGTH, forward(still, X, sigmas)) / 2
    np.testing.assert_allclose(still.loss_, loss, rtol=1e-11)


@pytest.mark.parametrize(("activation", "sigmas"), EVERY, ids=lambda v: str(v)[:40])
def test_hidden_activations(activation, sigmas):
    ours = MLPClassifier(activation=activation, **SMALL).fit(X, SPECIES)
    first = sigmas[0](X @ ours.coefs_[0] + ours.intercepts_[0])
    second = sigmas[1](first @ ours.coefs_[1] + ours.intercepts_[1])
    np.testing.assert_allclose(ours.activations(X, layer=0), first, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(ours.transform(X), second, rtol=1e-11, atol=1e-13)
    np.testing.assert_array_equal(ours.activations(X, layer=1), ours.activations(X, layer=-1))


@pytest.mark.parametrize("activation", [["relu"], ["relu"] * 3, ["relu", "cube"], "cube"])
def test_activations_that_do_not_fit(activation):
    with pytest.raises(ValueError, match="activation"):
        MLPRegressor(activation=activation, **SMALL).fit(X, LENGTH)


@pytest.mark.parametrize("hidden", [(), (4,), (4, 3, 2)])
def test_layers_that_cannot_be_looked_into(hidden):
    ours = MLPRegressor(**SMALL | {"hidden_layer_sizes": hidden}).fit(X, LENGTH)
    for layer in (len(hidden), -len(hidden) - 1):
        with pytest.raises(ValueError, match=r"layer"):
            ours.activations(X, layer=layer)


# -------------------------------------------------------------------------------------- dropout


@pytest.mark.parametrize("share", [0.2, 0.7])
def test_the_loss_under_dropout_has_the_mean_of_independent_masks(share):
    """Of a linear network and one input: the square of the mean, and the variance."""
    n = 40_000
    one, zero = np.ones((n, 1)), np.zeros(n)
    settings = NO_STEP | {"hidden_layer_sizes": 10, "activation": "identity", "random_state": 0}
    ours = MLPRegressor(dropout=share, alpha=0.0, batch_size=1000, **settings).fit(one, zero)
    parts = (ours.coefs_[0] + ours.intercepts_[0])[0] * ours.coefs_[1][:, 0]
    mean, variance = parts.sum() + ours.intercepts_[1][0], share / (1 - share) * (parts**2).sum()
    assert ours.loss_ == pytest.approx((mean**2 + variance) / 2, rel=0.03)
    np.testing.assert_allclose(ours.predict(one), mean, rtol=1e-12)  # it drops nothing


def test_dropout_of_each_layer():
    one = MLPClassifier(dropout=0.3, **SMALL).fit(X, SPECIES)
    two = MLPClassifier(dropout=[0.3, 0.3], **SMALL).fit(X, SPECIES)
    assert one.loss_curve_ == two.loss_curve_
    other = MLPClassifier(dropout=(0.3, 0.0), **SMALL).fit(X, SPECIES)
    none = MLPClassifier(dropout=[0.0, 0.0], **SMALL).fit(X, SPECIES)
    plain = MLPClassifier(**SMALL).fit(X, SPECIES)
    assert none.loss_curve_ == plain.loss_curve_
    assert len({tuple(e.loss_curve_) for e in (one, other, plain)}) == 3
    for bad in ([0.3], 1.0, -0.1, [0.3, 1.0]):
        with pytest.raises(ValueError, match="dropout"):
            MLPClassifier(dropout=bad, **SMALL).fit(X, SPECIES)


@pytest.mark.parametrize("calls", ["one", "partial", "warm"])
def test_each_epoch_drops_others(calls):
    still = SMALL | NO_STEP | ALL_AT_ONCE | {"dropout": 0.5, "shuffle": False}
    if calls == "one":
        ours = MLPClassifier(**still | {"max_iter": 4}).fit(X, SPECIES)
    elif calls == "partial":
        ours = MLPClassifier(**still)
        for _ in range(4):
            ours.partial_fit(X, SPECIES, classes=[0, 1, 2])
    else:
        ours = MLPClassifier(**still, warm_start=True)
        for _ in range(4):
            ours.fit(X, SPECIES)
    assert len(set(ours.loss_curve_)) == 4


# ---------------------------------------------------------------------------- input_gradient

TARGETS = {
    "softmax": (MLPClassifier, SPECIES, {}),
    "logistic": (MLPClassifier, SPECIES == 1, {}),
    "multilabel": (MLPClassifier, LABELS, {}),
    "identity": (MLPRegressor, LENGTH, {}),
    "outputs": (MLPRegressor, np.stack([LENGTH, -(LENGTH**2)], axis=1), {}),
    "huber": (MLPRegressor, LENGTH, {"loss": "huber"}),
    "quantiles": (MLPRegressor, LENGTH, {"loss": fastbp.Pinball([0.1, 0.9])}),
    "poisson": (MLPRegressor, COUNTS, {"loss": "poisson"}),
}


@pytest.mark.parametrize("activation", ["relu", "logistic", "gelu", "selu", ["mish", "softsign"]])
@pytest.mark.parametrize("target", TARGETS)
def test_input_gradient_is_that_of_finite_differences(target, activation):
    kind, y, loss = TARGETS[target]
    ours = kind(activation=activation, **SMALL, **loss).fit(X, y)

    def outputs(x):
        values = ours.predict_proba(x) if kind is MLPClassifier else ours.predict(x)
        if target == "logistic":
            values = values[:, 1]
        return values

    x, h = X[::10], 1e-6
    columns = [(outputs(x + h * e) - outputs(x - h * e)) / (2 * h) for e in np.eye(x.shape[1])]
    expected = np.stack(columns, axis=-1)
    found = ours.input_gradient(x)
    assert found.shape == expected.shape
    largest = abs(expected).max()
    assert largest > 1e-3
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-8 * max(largest, 1))


def test_input_gradient_of_float32_and_without_hidden_layers():
    ours = MLPClassifier(dtype="float32", **SMALL).fit(X, SPECIES)
    twin = MLPClassifier(**SMALL).fit(X, SPECIES)
    twin.coefs_ = [w.astype(np.float64) for w in ours.coefs_]
    twin.intercepts_ = [b.astype(np.float64) for b in ours.intercepts_]
    np.testing.assert_allclose(ours.input_gradient(X), twin.input_gradient(X), atol=1e-6)
    line = MLPRegressor(**SMALL | {"hidden_layer_sizes": ()}).fit(X, LENGTH)
    np.testing.assert_array_equal(line.input_gradient(X), np.tile(line.coefs_[0].T, (len(X), 1)))


def test_input_gradient_takes_no_sparse_data():
    ours = MLPRegressor(**SMALL).fit(X, LENGTH)
    with pytest.raises(TypeError, match="dense"):
        ours.input_gradient(scipy.sparse.csr_array(X))


# --------------------------------------------------------------------------------------- losses

LOSSES = {
    "absolute_error": metrics.mean_absolute_error,
    "pinball": lambda y, p: metrics.mean_pinball_loss(y, p, alpha=0.5),
    fastbp.Pinball(0.2): lambda y, p: metrics.mean_pinball_loss(y, p, alpha=0.2),
    "huber": lambda y, p: scipy.special.huber(1.0, y - p).mean(),
    fastbp.Huber(0.3): lambda y, p: scipy.special.huber(0.3, y - p).mean(),
    "squared_error": lambda y, p: metrics.mean_squared_error(y, p) / 2,
    "binary_cross_entropy": lambda y, p: metrics.log_loss(y > 0, scipy.special.expit(p)),
}


@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_losses(loss):
    y = 1.0 * (LENGTH > 0) if loss == "binary_cross_entropy" else LENGTH
    still = MLPRegressor(loss, **SMALL | NO_STEP | ALL_AT_ONCE).fit(X, y)
    values = forward(still, X, [SIGMA["relu"]] * 2)[:, 0]
    np.testing.assert_allclose(still.loss_, LOSSES[loss](y, values), rtol=1e-11)


def test_decisions_as_a_loss_of_regression():
    """Its targets are probabilities, and so is what it predicts."""
    share = scipy.special.expit(LENGTH)
    ours = MLPRegressor("binary_cross_entropy", **SMALL).fit(X, share)
    values = forward(ours, X, [SIGMA["relu"]] * 2)[:, 0]
    np.testing.assert_allclose(ours.predict(X), scipy.special.expit(values), rtol=1e-11)
    assert ours.out_activation_ == "logistic"


def test_loss_of_poisson_is_that_of_scikit_learn():
    small = SMALL | {"loss": "poisson"}
    theirs = sklearn.neural_network.MLPRegressor(**small).fit(X, COUNTS)
    ours = MLPRegressor(**small).fit(X, COUNTS)
    np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-9)
    half = metrics.mean_poisson_deviance(COUNTS, ours.predict(X)) / 2
    then = ours.set_params(warm_start=True, **NO_STEP | ALL_AT_ONCE).fit(X, COUNTS)
    np.testing.assert_allclose(then.loss_, half, rtol=1e-9)


NOTHING = np.zeros((101, 2))
SKEW = np.random.default_rng(4).exponential(size=101)
# Rates that fall: a slope that does not fall by itself would go around the minimum.
SLOWER = {
    "hidden_layer_sizes": (),
    "learning_rate": fastbp.ExponentialDecay(0.1, 0.985),
    "max_iter": 700,
    "tol": 0.0,
    "n_iter_no_change": np.inf,
    "alpha": 0.0,
    "batch_size": 101,
    "random_state": 0,
}


@pytest.mark.parametrize(
    ("loss", "quantiles"),
    [
        ("absolute_error", 0.5),
        ("pinball", 0.5),
        (fastbp.Pinball(0.25), 0.25),
        (fastbp.Pinball([0.1, 0.5, 0.9]), [0.1, 0.5, 0.9]),
    ],
    ids=str,
)
def test_without_features_quantiles_are_learnt(loss, quantiles):
    """Of 101 numbers these quantiles are among them, and the loss has one minimum."""
    ours = MLPRegressor(loss, **SLOWER).fit(NOTHING, SKEW)
    expected = np.broadcast_to(np.quantile(SKEW, quantiles), ours.predict(NOTHING).shape)
    np.testing.assert_allclose(ours.predict(NOTHING), expected, atol=2e-3)


@pytest.mark.parametrize("delta", [0.1, 1.0])
def test_without_features_the_constant_of_huber_is_learnt(delta):
    best = scipy.optimize.minimize_scalar(
        lambda c: scipy.special.huber(delta, SKEW - c).sum(), tol=1e-12
    )
    settings = SLOWER | {"solver": "lbfgs", "learning_rate": "constant", "tol": 1e-9}
    ours = MLPRegressor(fastbp.Huber(delta), **settings).fit(NOTHING, SKEW)
    np.testing.assert_allclose(ours.predict(NOTHING), best.x, rtol=1e-6)


def test_several_quantiles_need_as_many_outputs():
    loss = fastbp.Pinball([0.1, 0.9])
    with pytest.raises(ValueError, match="quantiles"):
        MLPRegressor(loss, **SMALL).fit(X, np.stack([LENGTH] * 3, axis=1))
    two = MLPRegressor(loss, **SMALL).fit(X, np.stack([LENGTH] * 2, axis=1))
    one = MLPRegressor(loss, **SMALL).fit(X, LENGTH)
    np.testing.assert_array_equal(two.predict(X), one.predict(X))


def test_several_quantiles_have_a_score():
    """cross_val_score and early stopping ask for it."""
    ours = MLPRegressor(fastbp.Pinball([0.1, 0.9]), **SMALL).fit(X, LENGTH)
    expected = metrics.r2_score(np.stack([LENGTH] * 2, axis=1), ours.predict(X))
    assert ours.score(X, LENGTH) == pytest.approx(expected)
