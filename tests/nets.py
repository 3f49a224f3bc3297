"""Networks and samples for the numeric tests, for the engine and the oracle alike."""

from typing import NamedTuple

import numpy as np
from tolerances import norm_error

from fastbp import _engine, _reference

ALPHA = {"leaky_relu": 0.01, "elu": 0.7}
KINKED_ACTIVATIONS = ("relu", "leaky_relu", "elu", "selu")
KINK_MARGIN = 1e-3
"""No pre-activation or residual of a `Case` is nearer to a kink."""


class Case(NamedTuple):
    """A network with parameters and samples, all exact in float32."""

    net: _reference.Network
    parameters: np.ndarray
    x: np.ndarray
    y: np.ndarray
    weight: np.ndarray


def layers_of(widths, hidden, output):
    """Layers of those widths, hidden ones and the last with the activations named."""
    names = [hidden] * (len(widths) - 2) + [output]
    return [
        _reference.Layer(n_in, n_out, name, ALPHA.get(name, 1.0))
        for n_in, n_out, name in zip(widths, widths[1:], names, strict=False)
    ]


def exact_in_float32(values):
    """Round so that float32 and float64 runs see the same numbers."""
    return np.asarray(values, np.float32).astype(np.float64)


def _parameters(layers, rng):
    """LeCun normal weights and small biases."""
    parts = []
    for layer in layers:
        parts.append(rng.normal(size=layer.n_in * layer.n_out) / np.sqrt(layer.n_in))
        parts.append(rng.normal(size=layer.n_out, scale=0.1))
    return exact_in_float32(np.concatenate(parts))


def _keep_off_kinks(layers, parameters, x):
    """Move biases up, layer by layer, until no pre-activation is within the margin of zero."""
    shifts = np.arange(100) * 2 * KINK_MARGIN
    for l, (_, biases) in enumerate(_reference.unflatten(layers, parameters)):
        z = _reference.forward(layers[: l + 1], parameters, x)[-1][1]
        nearest = np.abs(z + shifts[:, None, None]).min(axis=1)
        shift = shifts[np.argmax(nearest > 2 * KINK_MARGIN, axis=0)]
        biases[:] = exact_in_float32(biases + shift)


def _targets(loss, a, rng, labels):
    """Targets of the kind that the loss takes, off its kinks for outputs a."""
    if loss == "softmax_cross_entropy":
        y = rng.integers(a.shape[1], size=len(a)).astype(np.int32)
        return y if labels else exact_in_float32(rng.dirichlet(np.ones(a.shape[1]), len(a)))
    if loss == "binary_cross_entropy":
        return exact_in_float32(rng.uniform(size=a.shape))
    if loss == "poisson":
        return exact_in_float32(rng.poisson(2.0, a.shape))
    # residuals off 0, the kink of most, and off 1, the delta of huber
    residual = rng.choice((-1, 1), a.shape) * rng.choice((0.1, 1.1), a.shape)
    return exact_in_float32(a + residual * rng.uniform(1, 1.5, a.shape))


def _loss_parameters(loss, n_out, rng):
    if loss == "huber":
        return np.full(n_out, 1.0)
    return rng.uniform(0.1, 0.9, n_out) if loss == "pinball" else np.zeros(n_out)


def make_case(widths, hidden, loss, *, batch, seed, output="identity", labels=True, weighted=True):
    """Return a `Case` of random numbers."""
    rng = np.random.default_rng(seed)
    layers = layers_of(widths, hidden, output)
    net = _reference.Network(layers, loss, _loss_parameters(loss, widths[-1], rng))
    parameters = _parameters(layers, rng)
    x = exact_in_float32(rng.normal(size=(batch, widths[0])))
    if {hidden, output} & set(KINKED_ACTIVATIONS):
        _keep_off_kinks(layers, parameters, x)
    a = _reference.forward(layers, parameters, x)[-1][-1]
    weight = exact_in_float32(rng.uniform(0.5, 2, batch)) if weighted else np.ones(batch)
    return Case(net, parameters, x, _targets(loss, a, rng, labels), weight)


def network(net, dtype, dropouts=None):
    """Return the engine's network for an oracle's."""
    layers = net.layers
    return _engine.Network(
        (layers[0].n_in, *(layer.n_out for layer in layers)),
        tuple(_engine.ACTIVATIONS.index(layer.activation) for layer in layers),
        tuple(layer.alpha for layer in layers),
        _engine.LOSSES.index(net.loss),
        np.array(np.broadcast_to(net.loss_parameters, layers[-1].n_out), np.float64),
        np.dtype(dtype).itemsize,
        dropouts,
    )


def cast(case, dtype):
    """Parameters, x, y and weight as the engine takes them."""
    y = case.y if case.y.dtype == np.int32 else case.y.astype(dtype)
    return case.parameters.astype(dtype), case.x.astype(dtype), y, case.weight


def engine_gradient(case, dtype):
    """Summed loss and its gradient by the engine."""
    p, x, y, weight = cast(case, dtype)
    g = np.empty_like(p)
    loss = network(case.net, dtype).gradient(p, x, y, weight, g)
    return loss, g


def sensitivity(case):
    """How far a gradient moves, norm-wise, when all its data move by half a unit of float32."""
    net, p, x, *targets = case
    rng = np.random.default_rng(0)
    moved = (v * (1 + 2.0**-24 * rng.choice((-1, 1), v.shape)) for v in (p, x))
    return norm_error(_reference.gradient(net, *moved, *targets), _reference.gradient(*case))
