"""The same training in plain NumPy and float64: what everybody's loss is held against."""

import numpy as np

from .problem import BETA1, BETA2, EPS, LEARNING_RATE, Problem


def activations(parameters: list[np.ndarray], x: np.ndarray) -> list[np.ndarray]:
    """Return x, the output of each hidden layer, and the logits."""
    a = [x]
    for w, b in zip(parameters[::2], parameters[1::2], strict=True):
        a.append(a[-1] @ w + b)
        if len(a) <= len(parameters) // 2:
            np.maximum(a[-1], 0, out=a[-1])
    return a


def log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def mean_loss(parameters: list[np.ndarray], problem: Problem) -> float:
    """Mean softmax cross-entropy over the problem's sample, in float64."""
    x, y = problem.sample
    logits = activations([p.astype(np.float64) for p in parameters], x)[-1]
    return float(-log_softmax(logits)[np.arange(len(y)), y].mean())


def gradient(parameters: list[np.ndarray], x: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
    """Gradient of the minibatch's mean loss, in the order of the parameters."""
    *a, logits = activations(parameters, x)
    delta = np.exp(log_softmax(logits))
    delta[np.arange(len(y)), y] -= 1
    delta /= len(y)
    g: list[np.ndarray] = []
    for w, below in zip(parameters[-2::-2], reversed(a), strict=True):
        g[:0] = [below.T @ delta, delta.sum(axis=0)]
        delta = (delta @ w.T) * (below > 0)
    return g


def trained(problem: Problem) -> list[np.ndarray]:
    """Parameters after the checked epochs."""
    first, shuffler = problem.start()
    parameters = [p.astype(np.float64) for p in first]
    m = [np.zeros_like(p) for p in parameters]
    v = [np.zeros_like(p) for p in parameters]
    step = 0
    for _ in range(problem.cell.checked_epochs):
        order = shuffler.permutation(problem.cell.checked_rows).reshape(-1, problem.cell.batch)
        for rows in order:
            step += 1
            g = gradient(parameters, problem.X[rows].astype(np.float64), problem.y[rows])
            for i, g_i in enumerate(g):
                m[i] += (1 - BETA1) * (g_i - m[i])
                v[i] += (1 - BETA2) * (g_i * g_i - v[i])
                root = np.sqrt(v[i] / (1 - BETA2**step))
                parameters[i] -= LEARNING_RATE / (1 - BETA1**step) * m[i] / (root + EPS)
    return parameters
