"""Ten steps of each optimizer as PyTorch takes them (recorded by record_pytorch.py)."""

from itertools import combinations

import numpy as np
import pytest
from tolerances import TOLERANCES, largest_error

import fastbp
from fastbp import SGD, Adagrad, Adam, AdamW, RMSprop

OPTIMIZERS = {
    "sgd": SGD(0.1),
    "sgd_decay": SGD(0.1, weight_decay=0.05),
    "momentum": SGD(0.1, momentum=0.9),
    "momentum_decay": SGD(0.1, momentum=0.9, weight_decay=0.05),
    "nesterov": SGD(0.1, momentum=0.9, nesterov=True),
    "nesterov_decay": SGD(0.1, momentum=0.9, nesterov=True, weight_decay=0.05),
    "adam": Adam(0.05),
    "adam_betas": Adam(0.05, beta1=0.8, beta2=0.95, eps=1e-4),
    "adam_decay": Adam(0.05, weight_decay=0.05),
    "adamw": AdamW(0.05),
    "adamw_decay": AdamW(0.05, weight_decay=0.2),
    "rmsprop": RMSprop(0.02),
    "rmsprop_alpha": RMSprop(0.02, alpha=0.9, eps=1e-4),
    "rmsprop_momentum": RMSprop(0.02, momentum=0.9),
    "rmsprop_decay": RMSprop(0.02, momentum=0.5, weight_decay=0.05),
    "adagrad": Adagrad(0.1),
    "adagrad_decay": Adagrad(0.1, weight_decay=0.05),
}
WIDTHS = [3, 5, 4, 3]


@pytest.fixture
def model(dtype, pytorch):
    """The recorded network at its start."""
    net = fastbp.Model(WIDTHS, activation="tanh", loss="softmax_cross_entropy", dtype=dtype)
    net.parameters = pytorch["parameters"]
    return net


@pytest.fixture
def batches(pytorch):
    """One batch of samples for each step."""
    x, y = pytorch["x"], pytorch["y"]
    n_steps = len(pytorch["trajectory/sgd/loss"])
    return list(zip(np.split(x, n_steps), np.split(y, n_steps), strict=True))


def test_all_that_was_recorded_is_tested(pytorch):
    recorded = {key.split("/")[1] for key in pytorch if key.startswith("trajectory/")}
    assert recorded == set(OPTIMIZERS)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_steps(name, model, batches, isa, dtype, pytorch):
    loss, gradient, parameters = (
        pytorch[f"trajectory/{name}/{part}"] for part in ("loss", "gradient", "parameters")
    )
    tolerance = TOLERANCES[dtype].trajectory
    for step, (x, y) in enumerate(batches):
        size = len(x)
        found, found_gradient = model.loss_and_gradient(x, y)
        assert found / size == pytest.approx(loss[step], rel=tolerance)
        assert largest_error(found_gradient / size, gradient[step]) <= tolerance
        history = model.fit(
            x, y, epochs=1, batch_size=size, shuffle=False, optimizer=OPTIMIZERS[name]
        )
        assert history.to_dict()["loss"][-1] == pytest.approx(loss[step], rel=tolerance)
    assert largest_error(model.parameters, parameters) <= tolerance


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_one_epoch_takes_the_same_steps(name, model, batches, isa, dtype, pytorch):
    size = len(batches[0][0])
    model.fit(
        pytorch["x"],
        pytorch["y"],
        epochs=1,
        batch_size=size,
        shuffle=False,
        optimizer=OPTIMIZERS[name],
    )
    expected = pytorch[f"trajectory/{name}/parameters"]
    assert largest_error(model.parameters, expected) <= TOLERANCES[dtype].trajectory


def test_optimizers_differ(pytorch):
    """No two recorded trajectories are within the tolerance of each other."""
    ends = [pytorch[f"trajectory/{name}/parameters"] for name in OPTIMIZERS]
    closest = min(largest_error(a, b) for a, b in combinations(ends, 2))
    assert closest > 10 * max(t.trajectory for t in TOLERANCES.values())
