"""What a fitted network says beside its outputs: hidden activations, derivatives by the input."""

from typing import Any

import numpy as np

from fastbp import _reference
from fastbp._network import FeedForward, reference_layers
from fastbp._validation import Array, Float64
from fastbp.losses import Loss
from fastbp.model import Model


def hidden_activations(model: Model, x: Any, layer: int) -> Array:
    """Return the output of the layer with this number, from 0."""
    layers = model.layers[: layer + 1]
    below = FeedForward(layers, Loss("squared_error"), model.dtype)
    below.parameters[:] = model.parameters[: below.n_parameters]
    return below._outputs(x, link=False)


def input_jacobian(model: Model, x: Array) -> Float64:
    """Return the derivatives of every output, after the link, by every input: (n, n_out, n_in).

    The mirrored network carries one row for each output instead of one delta.
    """
    layers = reference_layers(model.layers)
    parameters = model.parameters.astype(np.float64)
    states = _reference.forward(layers, parameters, x.astype(np.float64))
    rows = _link_jacobian(model.loss_function.name, states[-1][-1])
    weights = _reference.unflatten(layers, parameters)
    for layer, (w, _), (_, z, _) in reversed(list(zip(layers, weights, states, strict=True))):
        slope = _reference.ACTIVATIONS[layer.activation].slope(z, layer.alpha)
        rows = (rows * slope[:, None]) @ w.T
    return rows


def _link_jacobian(loss: str, a: Float64) -> Float64:
    """Return the derivatives of the linked outputs by the last layer's: (n, n_out, n_out)."""
    one = np.eye(a.shape[1])
    p: Float64 = _reference.LOSSES[loss].link(a)
    if loss == "softmax_cross_entropy":
        return np.asarray(p[:, :, None] * (one - p[:, None]))
    slope = np.ones_like(p)
    if loss == "binary_cross_entropy":
        slope = p * (1 - p)
    elif loss == "poisson":
        slope = p
    return one * slope[:, None]
