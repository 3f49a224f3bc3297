"""A network with its parameters, and the passes through it."""

import sys
from reprlib import repr as short
from typing import Any, Literal

import numpy as np

from fastbp import _engine, _reference
from fastbp._memory import aligned_zeros
from fastbp._training import Samples
from fastbp._validation import (
    Array,
    Float64,
    as_output,
    as_samples,
    as_vector,
    as_weights,
    explain,
)
from fastbp.layers import Dense
from fastbp.losses import Loss

_DTYPES = ("float32", "float64")
_Reduction = Literal["sum", "mean", "none"]


def as_dtype(dtype: Any) -> np.dtype[Any]:
    """Return float32 or float64 as a NumPy dtype."""
    expected = " or ".join(_DTYPES)
    try:
        given: np.dtype[Any] = np.dtype(dtype)
    except TypeError as error:
        raise TypeError(explain("dtype", expected, short(dtype))) from error
    if dtype is None or given not in (np.dtype(name) for name in _DTYPES):
        raise ValueError(explain("dtype", expected, short(dtype)))
    return given


class FeedForward:
    """A network with its parameters and a loss: outputs, losses and gradients, but no training.

    Parameters
    ----------
    layers : tuple of Dense
        Their widths chain.
    loss : Loss
    dtype : numpy.dtype
        float32 or float64.
    """

    def __init__(self, layers: tuple[Dense, ...], loss: Loss, dtype: np.dtype[Any]) -> None:
        self.layers = layers
        self.loss_function = loss
        self.dtype = dtype
        self._parameters = aligned_zeros(_size(layers, dtype), dtype)
        self._network = _compiled(layers, loss, dtype)
        offsets = self._network.offsets()
        self._weights = tuple(
            self._parameters[w:b].reshape(k.n_in, k.n_out)
            for k, (w, b) in zip(layers, offsets, strict=True)
        )
        self._biases = tuple(
            self._parameters[b : b + k.n_out] for k, (_, b) in zip(layers, offsets, strict=True)
        )

    @property
    def n_parameters(self) -> int:
        """Number of weights and biases."""
        return self._parameters.size

    @property
    def parameters(self) -> Array:
        """All weights and biases in one vector: w0 (row-major), b0, w1, b1, ...

        The vector itself, not a copy. What is assigned is copied into it; ValueError unless it is
        finite and of its shape.
        """
        return self._parameters

    @parameters.setter
    def parameters(self, values: Any) -> None:
        self._parameters[:] = as_vector(values, "parameters", self.n_parameters, self.dtype)

    @property
    def weights(self) -> tuple[Array, ...]:
        """Weights ``(n_in, n_out)`` of each layer: views into `parameters`."""
        return self._weights

    @property
    def biases(self) -> tuple[Array, ...]:
        """Biases ``(n_out,)`` of each layer: views into `parameters`."""
        return self._biases

    def predict(self, X: Any) -> Array:
        """Return what the network says: probabilities, rates or values.

        Parameters
        ----------
        X : array-like of shape (n, n_in)

        Returns
        -------
        ndarray of shape (n, n_out)
            The output after the loss's link: softmax, sigmoid (binary cross-entropy), exp (poisson)
            or nothing. One output too is a column: take ``[:, 0]`` of it, or compare it with
            ``y.reshape(-1, 1)``, for ``predict(X) - y`` with a 1-d y is ``(n, n)``.
        """
        return self._outputs(self._inputs(X), link=True)

    def logits(self, X: Any) -> Array:
        """Return the last layer's output ``(n, n_out)``, on which the loss acts."""
        return self._outputs(self._inputs(X), link=False)

    def _inputs(self, X: Any, name: str = "X") -> Array:
        return as_samples(X, name, self.layers[0].n_in, self.dtype)

    def _outputs(self, x: Array | _engine.CSR, link: bool) -> Array:
        out = np.empty((len(x), self.layers[-1].n_out), self.dtype)
        self._network.predict(self._parameters, x, out, link)
        return out

    def loss(
        self, X: Any, y: Any, sample_weight: Any = None, reduction: _Reduction = "sum"
    ) -> float | Float64:
        """Return the loss of samples.

        Parameters
        ----------
        X : array-like of shape (n, n_in)
        y : array-like of shape (n,) or (n, n_out)
            Integer class labels (softmax cross-entropy), or targets; 1-d where there is one output.
        sample_weight : array-like of shape (n,), optional
            What each sample's loss is multiplied by; the model's dtype must be able to hold it.
        reduction : {"sum", "mean", "none"}
            Sum over the samples, that divided by the sum of the weights, or each sample's loss.

        Returns
        -------
        float, or ndarray of float64 of shape (n,)
        """
        if reduction not in ("sum", "mean", "none"):
            raise ValueError(explain("reduction", "'sum', 'mean' or 'none'", short(reduction)))
        samples = self._samples(X, y, sample_weight)
        losses = self._losses(samples)
        if reduction == "none":
            return losses
        total = _engine.sum_float64(losses)
        return total if reduction == "sum" else total / samples.total_weight()

    def gradient(
        self, X: Any, y: Any, sample_weight: Any = None, out: Array | None = None
    ) -> Array:
        """Return the gradient of the summed loss, flat like `parameters`.

        Parameters
        ----------
        X, y, sample_weight
            As in `loss`.
        out : ndarray of the model's dtype and shape (n_parameters,), optional
            Where to write it.

        Returns
        -------
        ndarray of shape (n_parameters,)
        """
        return self.loss_and_gradient(X, y, sample_weight, out)[1]

    def loss_and_gradient(
        self, X: Any, y: Any, sample_weight: Any = None, out: Array | None = None
    ) -> tuple[float, Array]:
        """Return the summed loss and its gradient from one pass; arguments as in `gradient`."""
        samples = self._samples(X, y, sample_weight)
        out = self._output(out, (self.n_parameters,), samples)
        loss = self._network.gradient(self._parameters, samples.x, samples.y, samples.weight, out)
        return loss, out

    def per_sample_gradient(self, X: Any, y: Any, out: Array | None = None) -> Array:
        """Return the gradient of each sample's loss; their sum is `gradient`.

        Parameters
        ----------
        X, y
            As in `loss`.
        out : ndarray of the model's dtype and shape (n, n_parameters), optional
            Where to write it.

        Returns
        -------
        ndarray of shape (n, n_parameters)
        """
        samples = self._samples(X, y)
        out = self._output(out, (len(samples), self.n_parameters), samples)
        self._network.per_sample_gradient(self._parameters, samples.x, samples.y, None, out)
        return out

    def trace(self, X: Any, y: Any) -> list[_reference.LayerTrace]:
        """Lay the two passes open, in plain NumPy and float64.

        Forward, each layer computes ``a = sigma(z)`` from its input x, ``z = x w + b``. Backward,
        it multiplies what comes from above, ``da``, by its slope: ``dz = slope * da``; below goes
        ``dz w.T``. The gradient is ``dl/dw = x.T dz`` and ``dl/db = dz`` summed over the samples.

        Parameters
        ----------
        X, y
            As in `loss`.

        Returns
        -------
        list of LayerTrace
            For each layer ``x``, ``z``, ``a``, ``slope`` (sigma'(z)), ``da`` (dl/da) and ``dz``
            (dl/dz), one row a sample.
        """
        samples = self._samples(X, y)
        net = _reference.Network(
            reference_layers(self.layers),
            self.loss_function.name,
            self.loss_function.engine_parameters(self.layers[-1].n_out),
        )
        targets = samples.y if samples.y.dtype.kind == "i" else samples.y.astype(np.float64)
        parameters, x = self._parameters.astype(np.float64), samples.x.astype(np.float64)
        return _reference.trace(net, parameters, x, targets)

    def _samples(self, X: Any, y: Any, sample_weight: Any = None, source: str = "") -> Samples:
        """Validate data; nothing in it shares memory with the parameters, which training moves."""
        x = self._inputs(X, f"{source}X")
        shape = (len(x), self.layers[-1].n_out)
        targets = self.loss_function.as_targets(y, f"{source}y", shape, self.dtype)
        weight = as_weights(sample_weight, "sample_weight", len(x), self.dtype)
        return Samples(
            self._apart(x), self._apart(targets), None if weight is None else self._apart(weight)
        )

    def _apart(self, array: Array) -> Array:
        return array.copy() if np.may_share_memory(array, self._parameters) else array

    def _output(self, out: Array | None, shape: tuple[int, ...], samples: Samples) -> Array:
        apart = (self._parameters, samples.x, samples.y, samples.weight)
        return as_output(out, "out", shape, self.dtype, apart)

    def _losses(self, samples: Samples) -> Float64:
        out = np.empty(len(samples))
        self._network.losses(self._parameters, samples.x, samples.y, samples.weight, out)
        return out


def reference_layers(layers: tuple[Dense, ...]) -> list[_reference.Layer]:
    """Return the layers as plain NumPy takes them."""
    return [
        _reference.Layer(k.n_in, k.n_out, k.activation.name, k.activation.alpha) for k in layers
    ]


def _size(layers: tuple[Dense, ...], dtype: np.dtype[Any]) -> int:
    """Return the number of parameters; ValueError if no machine could hold them."""
    size = sum(layer.n_parameters for layer in layers)
    if size * dtype.itemsize > sys.maxsize:
        given = f"{size:.3g} parameters"
        raise ValueError(explain("layers", "a network that fits into memory", given))
    return size


def _compiled(layers: tuple[Dense, ...], loss: Loss, dtype: np.dtype[Any]) -> _engine.Network:
    """Return the compiled core's view of these layers."""
    return _engine.Network(
        (layers[0].n_in, *(layer.n_out for layer in layers)),
        tuple(_engine.ACTIVATIONS.index(layer.activation.name) for layer in layers),
        tuple(layer.activation.alpha for layer in layers),
        _engine.LOSSES.index(loss.name),
        loss.engine_parameters(layers[-1].n_out),
        dtype.itemsize,
        tuple(layer.dropout for layer in layers),
    )
