"""JAX: a whole epoch is one jitted `lax.scan` over the minibatches, its state donated."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from .problem import BETA1, BETA2, EPS, LEARNING_RATE, Problem


def mean_loss(parameters, x, y):
    for w, b in zip(parameters[:-2:2], parameters[1:-2:2], strict=True):
        x = jax.nn.relu(x @ w + b)
    logits = x @ parameters[-2] + parameters[-1]
    # a comparison fuses with the rest; a gather of the labels' logits has a scatter for gradient
    chosen = jnp.arange(logits.shape[1]) == y[:, None]
    return jnp.mean(jax.nn.logsumexp(logits, axis=1) - jnp.sum(logits, axis=1, where=chosen))


def adam(p, g, m, v, rate, correction):
    m = BETA1 * m + (1 - BETA1) * g
    v = BETA2 * v + (1 - BETA2) * g * g
    return p - rate * m / (jnp.sqrt(v * correction) + EPS), m, v


def train_step(state, x, y):
    step, parameters, ms, vs = state
    step = step + 1
    rate = LEARNING_RATE / (1 - BETA1**step)
    correction = 1 / (1 - BETA2**step)
    gradients = jax.grad(mean_loss)(parameters, x, y)
    new = [
        adam(*arrays, rate, correction)
        for arrays in zip(parameters, gradients, ms, vs, strict=True)
    ]
    return step, *(list(part) for part in zip(*new, strict=True))


def taken(array, rows):
    """Rows of an array, without the checks of their numbers that JAX would add."""
    return array.at[rows].get(mode="promise_in_bounds", unique_indices=True)


@partial(jax.jit, donate_argnums=0)
def epoch_gathering_each_batch(state, X, y, order):
    def body(state, rows):
        return train_step(state, taken(X, rows), taken(y, rows)), None

    return jax.lax.scan(body, state, order)[0]


@partial(jax.jit, donate_argnums=0)
def epoch_gathering_once(state, X, y, order):
    def body(state, batch):
        return train_step(state, *batch), None

    return jax.lax.scan(body, state, (taken(X, order), taken(y, order)))[0]


class Scan:
    """Epochs of one call each."""

    programs = {  # noqa: RUF012 -- a constant
        "rows gathered in the scan": epoch_gathering_each_batch,
        "rows gathered once an epoch": epoch_gathering_once,
    }
    modes = tuple(programs)

    def __init__(self, problem: Problem, threads: int) -> None:
        jax.clear_caches()  # programs of other shapes
        self.problem = problem
        self.X = jnp.asarray(problem.X)
        self.y = jnp.asarray(problem.y, dtype=jnp.int32)

    def start(self, mode: str) -> None:
        self.program = self.programs[mode]
        first, self.shuffler = self.problem.start()
        # copies, for a donated array may share the memory of the NumPy array that it came from
        p, m, v = ([jnp.array(scale * array) for array in first] for scale in (1, 0, 0))
        self.state = (jnp.float32(0), p, m, v)

    def train(self, rows: int, epochs: int) -> None:
        for _ in range(epochs):
            order = self.shuffler.permutation(rows).astype(np.int32)
            order = order.reshape(-1, self.problem.cell.batch)
            self.state = self.program(self.state, self.X, self.y, order)
        jax.block_until_ready(self.state)

    def parameters(self) -> list[np.ndarray]:
        return [np.asarray(p) for p in self.state[1]]
