"""Record what PyTorch computes, in float64, into pytorch.npz beside this file.

Run ``python tests/golden/record_pytorch.py`` where PyTorch 2.13 is installed; the tests that read
the file do not need it. Keys:

- ``x``, ``y``, ``parameters``: data and initial parameters of a 3-5-4-3 tanh network with softmax
  cross-entropy, parameters flat as in fastbp;
- ``trajectory/NAME/loss`` (10,), ``.../gradient`` (10, n), ``.../parameters`` (n,): mean loss and
  its gradient before each of ten updates, one per batch of 8 rows, and the parameters after them;
- ``activation/NAME`` (3, n): z, sigma(z), sigma'(z), on both sides of a kink and at it;
- ``loss/NAME/a``, ``.../y``, ``.../value``, ``.../gradient``: dl/da of the summed loss, likewise.
"""

from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

WIDTHS = (3, 5, 4, 3)
STEPS, BATCH = 10, 8

OPTIMIZERS = {
    "sgd": ("SGD", {"lr": 0.1}),
    "sgd_decay": ("SGD", {"lr": 0.1, "weight_decay": 0.05}),
    "momentum": ("SGD", {"lr": 0.1, "momentum": 0.9}),
    "momentum_decay": ("SGD", {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.05}),
    "nesterov": ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    "nesterov_decay": (
        "SGD",
        {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.05},
    ),
    "adam": ("Adam", {"lr": 0.05}),
    "adam_betas": ("Adam", {"lr": 0.05, "betas": (0.8, 0.95), "eps": 1e-4}),
    "adam_decay": ("Adam", {"lr": 0.05, "weight_decay": 0.05}),
    "adamw": ("AdamW", {"lr": 0.05}),
    "adamw_decay": ("AdamW", {"lr": 0.05, "weight_decay": 0.2}),
    "rmsprop": ("RMSprop", {"lr": 0.02}),
    "rmsprop_alpha": ("RMSprop", {"lr": 0.02, "alpha": 0.9, "eps": 1e-4}),
    "rmsprop_momentum": ("RMSprop", {"lr": 0.02, "momentum": 0.9}),
    "rmsprop_decay": ("RMSprop", {"lr": 0.02, "momentum": 0.5, "weight_decay": 0.05}),
    "adagrad": ("Adagrad", {"lr": 0.1}),
    "adagrad_decay": ("Adagrad", {"lr": 0.1, "weight_decay": 0.05}),
}

ACTIVATIONS = {
    "identity": nn.Identity(),
    "relu": nn.ReLU(),
    "leaky_relu": nn.LeakyReLU(),
    "elu": nn.ELU(),
    "selu": nn.SELU(),
    "sigmoid": nn.Sigmoid(),
    "tanh": nn.Tanh(),
    "softplus": nn.Softplus(),
    "softsign": nn.Softsign(),
    "gelu": nn.GELU(),
    "silu": nn.SiLU(),
    "mish": nn.Mish(),
}
# Within +-15: from 20 on, PyTorch's softplus and mish round to the identity
Z = (0.0, -0.0, 1e-3, -1e-3, 0.5, -0.5, 1.0, -1.0, 3.0, -3.0, 15.0, -15.0)

LOGITS = ((0.5, -1.0, 2.0), (1.0, 0.0, -0.0), (-3.0, 4.0, 12.0))
REAL_TARGETS = ((0.5, 0.0, 1.0), (0.0, 1.0, -1.0), (-1.0, 4.5, 2.0))  # residuals 0, +-1 = kinks
COUNTS = ((0.0, 1.0, 2.0), (3.0, 0.0, 1.0), (0.5, 7.0, 2.0))
PROBABILITIES = ((0.25, 0.25, 0.5), (1.0, 0.0, 0.0), (0.125, 0.5, 0.375))


def softmax_cross_entropy(a, y):
    return F.cross_entropy(a, y, reduction="sum")


LOSSES = {
    "squared_error": (lambda a, y: F.mse_loss(a, y, reduction="sum") / 2, REAL_TARGETS),
    "absolute_error": (lambda a, y: F.l1_loss(a, y, reduction="sum"), REAL_TARGETS),
    "huber": (lambda a, y: F.huber_loss(a, y, reduction="sum"), REAL_TARGETS),
    "poisson": (lambda a, y: F.poisson_nll_loss(a, y, reduction="sum"), COUNTS),
    "binary_cross_entropy": (
        lambda a, y: F.binary_cross_entropy_with_logits(a, y, reduction="sum"),
        PROBABILITIES,
    ),
    "softmax_cross_entropy": (softmax_cross_entropy, PROBABILITIES),
    "softmax_cross_entropy_labels": (softmax_cross_entropy, (2, 0, 1)),
}


def flat(tensors):
    """Weights (out, in) and biases in turn, as the one vector w0 (in, out), b0, w1, ..."""
    return np.concatenate([t.detach().numpy().T.ravel() for t in tensors])


def network():
    torch.manual_seed(1)
    layers = []
    for n_in, n_out in pairwise(WIDTHS):
        layers += [nn.Linear(n_in, n_out), nn.Tanh()]
    return nn.Sequential(*layers[:-1])


def trajectory(x, y, name, options):
    """Mean losses and gradients before each update, parameters after the last."""
    net = network()
    optimizer = getattr(torch.optim, name)(net.parameters(), **options)
    losses, gradients = [], []
    for x_batch, y_batch in zip(x.split(BATCH), y.split(BATCH), strict=True):
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x_batch), y_batch)
        loss.backward()
        losses.append(loss.item())
        gradients.append(flat(p.grad for p in net.parameters()))
        optimizer.step()
    return losses, gradients, flat(net.parameters())


def record():
    rng = np.random.default_rng(0)
    x = torch.tensor(rng.normal(size=(STEPS * BATCH, WIDTHS[0])))
    y = torch.tensor(rng.integers(WIDTHS[-1], size=STEPS * BATCH))
    found = {"x": x.numpy(), "y": y.numpy(), "parameters": flat(network().parameters())}
    for name, (optimizer, options) in OPTIMIZERS.items():
        parts = trajectory(x, y, optimizer, options)
        for part, values in zip(("loss", "gradient", "parameters"), parts, strict=True):
            found[f"trajectory/{name}/{part}"] = np.array(values)
    for name, activation in ACTIVATIONS.items():
        z = torch.tensor(Z, requires_grad=True)
        a = activation(z)
        (slope,) = torch.autograd.grad(a.sum(), z)
        found[f"activation/{name}"] = np.array([z.tolist(), a.tolist(), slope.tolist()])
    for name, (loss, targets) in LOSSES.items():
        a, target = torch.tensor(LOGITS, requires_grad=True), torch.tensor(targets)
        value = loss(a, target)
        (gradient,) = torch.autograd.grad(value, a)
        parts = {"a": a.detach(), "y": target, "value": value.detach(), "gradient": gradient}
        found |= {f"loss/{name}/{part}": t.numpy() for part, t in parts.items()}
    return found


if __name__ == "__main__":
    torch.set_default_dtype(torch.float64)
    np.savez_compressed(Path(__file__).with_name("pytorch.npz"), **record())
