"""The whole of fastbp in plain NumPy, line for line the maths.

The oracle of the tests, not a fallback. Everything follows the dtype of the parameters: float64,
longdouble, or complex128 for the complex step, which gets a derivative without cancellation:
``gradient . d = Im L(parameters + 1j h d) / h`` for any tiny h. So smooth functions are written
analytically, and kinks are decided by the real part.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

Array = Any  # numpy.ndarray, whose arithmetic is Any to a type checker

# Digits enough for a longdouble
PI = "3.14159265358979323846264338327950288"
SELU_SCALE = "1.0507009873554804934193349852946"
SELU_ALPHA = "1.6732632423543772848170429916717"

# Activations


def _constant(digits: str, z: Array) -> Any:
    """Round a constant to the precision of ``z``, so that it does not change the result's."""
    return z.real.dtype.type(digits)


def _size(z: Array) -> Array:
    return np.where(z.real > 0, z, -z)


def _sigmoid(z: Array) -> Array:
    e = np.exp(-_size(z))
    return np.where(z.real > 0, 1, e) / (1 + e)


def _softplus(z: Array) -> Array:
    return np.where(z.real > 0, z, 0) + np.log1p(np.exp(-_size(z)))


def _leaky_slope(z: Array, alpha: float) -> Array:
    return np.where(z.real > 0, np.ones_like(z), alpha)


def _elu(z: Array, alpha: float) -> Array:
    return np.where(z.real > 0, z, alpha * np.expm1(np.where(z.real > 0, 0, z)))


def _elu_slope(z: Array, alpha: float) -> Array:
    return np.where(z.real > 0, 1, alpha * np.exp(np.where(z.real > 0, 0, z)))


def _selu(elu: Callable[[Array, float], Array]) -> Callable[[Array, float], Array]:
    return lambda z, _: _constant(SELU_SCALE, z) * elu(z, _constant(SELU_ALPHA, z))


def _erf(x: Array) -> Array:
    """2/sqrt(pi) e^(-x^2) times the sum of 2^k x^(2k+1) / (2k+1)!!, all of one sign."""
    x = np.where(np.abs(x.real) < 7, x, 7 * np.sign(x.real))  # past 7 it is +-1 to 22 digits
    term = total = x
    k = 0
    # the derivative's terms are 2k + 1 times as large: go on well past the last bit of the value
    while np.any(np.abs(term) > 1e-4 * np.finfo(x.real.dtype).eps * np.abs(total)):
        k += 1
        term = term * (2 * x * x / (2 * k + 1))
        total = total + term
    return 2 / np.sqrt(_constant(PI, x)) * np.exp(-x * x) * total


def _normal_cdf(z: Array) -> Array:
    return (1 + _erf(z / np.sqrt(_constant("2", z)))) / 2


def _gelu_slope(z: Array) -> Array:
    return _normal_cdf(z) + z * np.exp(-z * z / 2) / np.sqrt(2 * _constant(PI, z))


def _mish_slope(z: Array) -> Array:
    t = np.tanh(_softplus(z))
    return t + z * (1 - t * t) * _sigmoid(z)


class Activation(NamedTuple):
    """sigma(z) and sigma'(z) as functions of (z, alpha)."""

    value: Callable[[Array, float], Array]
    slope: Callable[[Array, float], Array]


ACTIVATIONS = {
    "identity": Activation(lambda z, _: z, lambda z, _: np.ones_like(z)),
    "relu": Activation(lambda z, _: np.where(z.real > 0, z, 0), lambda z, _: _leaky_slope(z, 0)),
    "leaky_relu": Activation(lambda z, k: np.where(z.real > 0, z, k * z), _leaky_slope),
    "elu": Activation(_elu, _elu_slope),
    "selu": Activation(_selu(_elu), _selu(_elu_slope)),
    "sigmoid": Activation(lambda z, _: _sigmoid(z), lambda z, _: _sigmoid(z) * _sigmoid(-z)),
    "tanh": Activation(lambda z, _: np.tanh(z), lambda z, _: 1 - np.tanh(z) ** 2),
    "softsign": Activation(lambda z, _: z / (1 + _size(z)), lambda z, _: 1 / (1 + _size(z)) ** 2),
    "softplus": Activation(lambda z, _: _softplus(z), lambda z, _: _sigmoid(z)),
    "gelu": Activation(lambda z, _: z * _normal_cdf(z), lambda z, _: _gelu_slope(z)),
    "silu": Activation(
        lambda z, _: z * _sigmoid(z), lambda z, _: _sigmoid(z) * (1 + z * _sigmoid(-z))
    ),
    "mish": Activation(lambda z, _: z * np.tanh(_softplus(z)), lambda z, _: _mish_slope(z)),
}

# Losses, from the last layer's output a


def _huber(r: Array, delta: Array) -> Array:
    return np.where(_size(r).real < delta, r * r / 2, delta * (_size(r) - delta / 2))


def _huber_slope(r: Array, delta: Array) -> Array:
    return np.where(np.abs(r.real) < delta, r, delta * np.sign(r.real))


def _pinball_slope(r: Array, quantile: Array) -> Array:
    return np.where(r.real > 0, 1 - quantile, quantile * np.sign(r.real))


def _log_softmax(a: Array) -> Array:
    shifted = a - a.real.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


class Loss(NamedTuple):
    """l of each output and dl/da as functions of (a, y, parameter); a prediction from a."""

    value: Callable[[Array, Array, Array], Array]
    slope: Callable[[Array, Array, Array], Array]
    link: Callable[[Array], Array] = lambda a: a


LOSSES = {
    "squared_error": Loss(lambda a, y, _: (a - y) ** 2 / 2, lambda a, y, _: a - y),
    "absolute_error": Loss(lambda a, y, _: _size(a - y), lambda a, y, _: np.sign((a - y).real)),
    "huber": Loss(lambda a, y, d: _huber(a - y, d), lambda a, y, d: _huber_slope(a - y, d)),
    "pinball": Loss(
        lambda a, y, q: (a - y) * _pinball_slope(a - y, q), lambda a, y, q: _pinball_slope(a - y, q)
    ),
    "poisson": Loss(lambda a, y, _: np.exp(a) - y * a, lambda a, y, _: np.exp(a) - y, np.exp),
    "binary_cross_entropy": Loss(
        lambda a, y, _: y * _softplus(-a) + (1 - y) * _softplus(a),
        lambda a, y, _: _sigmoid(a) - y,
        _sigmoid,
    ),
    "softmax_cross_entropy": Loss(
        lambda a, y, _: -y * _log_softmax(a),
        lambda a, y, _: np.exp(_log_softmax(a)) * y.sum(axis=-1, keepdims=True) - y,
        lambda a: np.exp(_log_softmax(a)),
    ),
}

# The network and its two passes


class Layer(NamedTuple):
    """A dense layer, a = sigma(x w + b)."""

    n_in: int
    n_out: int
    activation: str
    alpha: float = 1.0


class Network(NamedTuple):
    """Layers and a loss with one parameter per output."""

    layers: Sequence[Layer]
    loss: str
    loss_parameters: Any = 0.0


class LayerTrace(NamedTuple):
    """What the two passes leave in a layer; all have one row per sample."""

    x: Array
    z: Array
    a: Array
    slope: Array
    da: Array
    dz: Array


def unflatten(layers: Sequence[Layer], parameters: Array) -> list[tuple[Array, Array]]:
    """View the flat vector as [(w, b), ...]; along leading axes lie networks of their own."""
    views, lead, end = [], parameters.shape[:-1], 0
    for layer in layers:
        begin, middle = end, end + layer.n_in * layer.n_out
        end = middle + layer.n_out
        w = parameters[..., begin:middle].reshape(*lead, layer.n_in, layer.n_out)
        views.append((w, parameters[..., None, middle:end]))
    return views


def forward(layers: Sequence[Layer], parameters: Array, x: Array) -> list[tuple[Array, ...]]:
    """Return (x, z, a) of every layer."""
    states = []
    for layer, (w, b) in zip(layers, unflatten(layers, parameters), strict=True):
        z = x @ w + b
        a = ACTIVATIONS[layer.activation].value(z, layer.alpha)
        states.append((x, z, a))
        x = a
    return states


def _targets(y: Array, n_out: int) -> Array:
    """Turn class labels into rows of zeros with a one."""
    return np.eye(n_out)[y] if y.dtype.kind == "i" else y


def losses(net: Network, parameters: Array, x: Array, y: Array, weight: Any = 1.0) -> Array:
    """Return the weighted loss of each sample."""
    a = forward(net.layers, parameters, x)[-1][-1]
    value = LOSSES[net.loss].value(a, _targets(y, a.shape[-1]), np.asarray(net.loss_parameters))
    return value.sum(axis=-1) * weight


def trace(net: Network, p: Array, x: Array, y: Array, weight: Any = 1.0) -> list[LayerTrace]:
    """Run the network forward, then in mirror with the gains sigma'(z), which carries dl/dz."""
    states = forward(net.layers, p, x)
    a = states[-1][-1]
    y = _targets(y, a.shape[-1])
    da = LOSSES[net.loss].slope(a, y, np.asarray(net.loss_parameters)) * np.reshape(weight, (-1, 1))
    traces = []
    for layer, (w, _), (x_in, z, a) in reversed(
        list(zip(net.layers, unflatten(net.layers, p), states, strict=True))
    ):
        slope = ACTIVATIONS[layer.activation].slope(z, layer.alpha)
        dz = slope * da
        traces.append(LayerTrace(x_in, z, a, slope, da, dz))
        da = dz @ w.T
    return traces[::-1]


def gradient(net: Network, p: Array, x: Array, y: Array, weight: Any = 1.0) -> Array:
    """Return the gradient of the summed loss: dl/dw = x^T dz, dl/db = the sum of dz."""
    parts = [(t.x.T @ t.dz, t.dz.sum(axis=0)) for t in trace(net, p, x, y, weight)]
    return np.concatenate([part.ravel() for dw_db in parts for part in dw_db])


def per_sample_gradient(net: Network, p: Array, x: Array, y: Array, weight: Any = 1.0) -> Array:
    """Return the gradient of each sample's loss, one row per sample."""
    parts = [(t.x[:, :, None] * t.dz[:, None], t.dz) for t in trace(net, p, x, y, weight)]
    return np.concatenate([part.reshape(len(x), -1) for dw_db in parts for part in dw_db], axis=1)


class Update(NamedTuple):
    """How a gradient changes the parameters."""

    optimizer: str
    beta1: float = 0.0
    beta2: float = 0.0
    eps: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0
    decoupled_decay: float = 0.0
    l2: float = 0.0
    clip_norm: float = float("inf")


def step(u: Update, state: Sequence[Array], s: Array, rate: float, t: int) -> Sequence[Array]:
    """Return the state (p, m, v) after update number t >= 1 by the gradient s."""
    p, m, v = state
    s = s + u.weight_decay * p
    p = p * (1 - rate * u.decoupled_decay)
    if u.optimizer == "adam":
        m = u.beta1 * m + (1 - u.beta1) * s
        v = u.beta2 * v + (1 - u.beta2) * s * s
        m_hat, v_hat = m / (1 - u.beta1**t), v / (1 - u.beta2**t)
        return p - rate * m_hat / (np.sqrt(v_hat) + u.eps), m, v
    if u.optimizer == "adagrad":
        v = v + s * s
        return p - rate * s / (np.sqrt(v) + u.eps), m, v
    if u.optimizer == "rmsprop":
        v = u.beta2 * v + (1 - u.beta2) * s * s
        s = s / (np.sqrt(v) + u.eps)
    m = u.beta1 * m + s
    return p - rate * (s + u.beta1 * m if u.nesterov else m), m, v


def train(
    net: Network, u: Update, p: Array, samples: Sequence[Array], batches: Iterable[Any]
) -> Iterator[tuple[Any, Array, Array]]:
    """Update once for each (rows, learning rate) of the batches; samples are (x, y, weight).

    Yields the loss and its gradient (sums over the batch) before an update, the parameters after.
    """
    m = v = np.zeros_like(p)
    is_weight = np.concatenate([[1.0] * k.n_in * k.n_out + [0.0] * k.n_out for k in net.layers])
    for t, (rows, rate) in enumerate(batches, start=1):
        batch = [values[rows] for values in samples]
        loss, g, scale = losses(net, p, *batch).sum(), gradient(net, p, *batch), 1 / batch[2].sum()
        norm = scale * np.sqrt((g * g).sum())
        clip = u.clip_norm / norm if norm > u.clip_norm else 1.0
        p, m, v = step(u, (p, m, v), scale * (clip * g + u.l2 * is_weight * p), rate, t)
        yield loss, g, p
