"""Contracts of the frozen descriptions: layers, activations, losses, optimizers, initializers."""

import pickle
from dataclasses import FrozenInstanceError

import numpy as np
import pytest

import fastbp
from fastbp import _engine
from fastbp.initializers import INITIALIZERS
from fastbp.layers import ACTIVATIONS
from fastbp.losses import LOSSES

SPECS = [
    *ACTIVATIONS.values(),
    *LOSSES.values(),
    *INITIALIZERS.values(),
    fastbp.LeakyReLU(0.3),
    fastbp.Pinball((0.1, 0.9)),
    fastbp.Dense(3, 4, "elu", "he_normal"),
    fastbp.SGD(0.1, momentum=0.9, nesterov=True),
    fastbp.Adam(fastbp.Cosine(1e-3, 10), clip_norm=1.0),
    fastbp.AdamW(),
    fastbp.RMSprop(momentum=0.5),
    fastbp.Adagrad(weight_decay=0.1),
    fastbp.WarmUp(fastbp.OneCycle(0.1, 5), epochs=2),
]


@pytest.mark.parametrize("spec", SPECS, ids=repr)
def test_specs_are_frozen_hashable_values(spec):
    twin = pickle.loads(pickle.dumps(spec))
    assert twin == spec
    assert hash(twin) == hash(spec)
    with pytest.raises(FrozenInstanceError):
        spec.name = "other"


@pytest.mark.parametrize("spec", SPECS[-9:], ids=repr)
def test_repr_makes_an_equal_spec(spec):
    assert eval(repr(spec), vars(fastbp)) == spec


def test_every_engine_name_has_a_spec():
    assert set(ACTIVATIONS) == set(_engine.ACTIVATIONS)
    assert set(LOSSES) == set(_engine.LOSSES)
    kernels = {optimizer.kernel for optimizer in map(type, SPECS) if hasattr(optimizer, "kernel")}
    assert kernels == set(_engine.OPTIMIZERS)


POSITIVE = "expected a positive number"
FRACTION = r"expected a number in \[0, 1\)"
OPEN = r"expected a number in \(0, 1\)"
BAD = [
    (fastbp.Adam, "learning_rate", POSITIVE, (0, -1e-3, np.nan, np.inf, 10**400)),
    (lambda v: fastbp.Adam(beta1=v), "beta1", FRACTION, (1, -0.1, np.nan)),
    (lambda v: fastbp.Adam(beta2=v), "beta2", FRACTION, (1.0,)),
    (lambda v: fastbp.Adam(eps=v), "eps", POSITIVE, (0.0,)),
    (lambda v: fastbp.SGD(momentum=v), "momentum", r"expected a number in \[0, 1\]", (1.5, -0.5)),
    (lambda v: fastbp.SGD(clip_norm=v), "clip_norm", POSITIVE, (0.0, -1.0)),
    (
        lambda v: fastbp.AdamW(weight_decay=v),
        "weight_decay",
        "expected a number >= 0",
        (-1, np.inf),
    ),
    (lambda v: fastbp.RMSprop(alpha=v), "alpha", FRACTION, (1.0,)),
    (fastbp.Huber, "delta", POSITIVE, (0.0, -1.0)),
    (fastbp.Pinball, "quantiles", OPEN, (0.0, 1.0, (0.5, 1.5))),
    (fastbp.LeakyReLU, "alpha", "expected a number >= 0", (-0.1,)),
    (fastbp.ELU, "alpha", POSITIVE, (0.0,)),
    (lambda v: fastbp.Dense(v, 1), "n_in", "expected an integer >= 1", (0, -1)),
    (lambda v: fastbp.Dense(1, v), "n_out", "expected an integer >= 1", (0, -1)),
    (lambda v: fastbp.StepDecay(0.1, v, 1), "factor", POSITIVE, (0.0,)),
    (lambda v: fastbp.Cosine(0.1, v), "epochs", POSITIVE, (0,)),
    (lambda v: fastbp.OneCycle(0.1, 1, v), "rise", OPEN, (0.0, 1.0)),
]


@pytest.mark.parametrize(
    ("make", "name", "expected", "value"),
    [(make, name, expected, value) for make, name, expected, values in BAD for value in values],
)
def test_numbers_out_of_range(make, name, expected, value):
    with pytest.raises(ValueError, match=f"^{name}: {expected}, got "):
        make(value)


@pytest.mark.parametrize("value", [True, np.True_, "0.1", [0.1], None, 1j], ids=repr)
@pytest.mark.parametrize(("make", "name"), [(case[0], case[1]) for case in BAD], ids=str)
def test_what_is_no_number(make, name, value):
    if (name, value) in [("clip_norm", None), ("quantiles", [0.1])]:
        assert make(value) is not None
        return
    with pytest.raises(TypeError, match=f"^{name}: expected .*, got "):
        make(value)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: fastbp.Dense(1, 1, "rleu"), ValueError, "activation: .*'relu'.* got 'rleu'"),
        (lambda: fastbp.Dense(1, 1, None), TypeError, "activation: .*'relu'.* got None"),
        (lambda: fastbp.Dense(1, 1, "relu", "he"), ValueError, "initializer: .*'he_normal'.*'he'"),
        (lambda: fastbp.Dense(1.0, 1), TypeError, r"n_in: .* got 1\.0"),
        (lambda: fastbp.Activation("leaky_relu"), ValueError, "name: .* got 'leaky_relu'"),
        (lambda: fastbp.Loss("huber"), ValueError, "name: .* got 'huber'"),
        (lambda: fastbp.SGD(nesterov=True), ValueError, "momentum: .*nesterov"),
        (lambda: fastbp.SGD(nesterov=1, momentum=0.5), TypeError, "nesterov: expected True or F"),
        (lambda: fastbp.Pinball(()), TypeError, r"quantiles: .* got \(\)"),
        (lambda: fastbp.WarmUp(0.1, 3), TypeError, r"schedule: expected a schedule, got 0\.1"),
    ],
)
def test_wrong_names_and_kinds(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_which_moments_an_optimizer_needs():
    needs = {
        (fastbp.SGD(), False, False),
        (fastbp.SGD(momentum=0.9), True, False),
        (fastbp.Adam(), True, True),
        (fastbp.Adam(beta1=0.0), True, True),
        (fastbp.AdamW(), True, True),
        (fastbp.RMSprop(), False, True),
        (fastbp.RMSprop(momentum=0.9), True, True),
        (fastbp.Adagrad(), False, True),
    }
    assert {(optimizer, optimizer.needs_m, optimizer.needs_v) for optimizer, *_ in needs} == needs


VARIANCES = {
    "glorot": lambda n_in, n_out: 2 / (n_in + n_out),
    "he": lambda n_in, n_out: 2 / n_in,
    "lecun": lambda n_in, n_out: 1 / n_in,
}


@pytest.mark.parametrize("name", INITIALIZERS)
def test_initial_weights_have_the_promised_distribution(name):
    family, kind = name.split("_")
    n_in, n_out = 300, 500
    variance = VARIANCES[family](n_in, n_out)
    weights = INITIALIZERS[name].draw(np.random.default_rng(0), n_in, n_out)
    assert weights.shape == (n_in, n_out)
    assert abs(weights.mean()) < 5 * np.sqrt(variance / weights.size)
    assert weights.var() == pytest.approx(variance, rel=0.02)
    limit = np.sqrt(3 * variance)
    assert (abs(weights).max() <= limit) == (kind == "uniform")
    if kind == "uniform":
        assert abs(weights).max() > 0.999 * limit


@pytest.mark.parametrize(
    ("activation", "initializer"),
    [
        ("relu", fastbp.HeUniform()),
        ("leaky_relu", fastbp.HeUniform()),
        ("selu", fastbp.LeCunNormal()),
        ("tanh", fastbp.GlorotUniform()),
        ("identity", fastbp.GlorotUniform()),
    ],
)
def test_default_initializer_suits_the_activation(activation, initializer):
    model = fastbp.Model([fastbp.Dense(6, 4, activation)], loss="squared_error", seed=3)
    expected = initializer.draw(np.random.default_rng(3), 6, 4).astype(np.float32)
    np.testing.assert_array_equal(model.weights[0], expected)
    np.testing.assert_array_equal(model.biases[0], 0)
