"""PyTorch: eager with fused Adam, and compiled. The data is one tensor; there is no DataLoader."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from .problem import BETA1, BETA2, EPS, LEARNING_RATE, Problem

EACH_BATCH = "rows gathered for each batch"
ONCE = "rows gathered once an epoch"
NO_GUARDS = {"guard_filter_fn": torch.compiler.skip_all_guards_unsafe}  # shapes never change


class Epochs:
    """Epochs over minibatches, each handed to `self.step`."""

    def __init__(self, problem: Problem, threads: int) -> None:
        torch.set_num_threads(threads)
        self.problem = problem
        self.X = torch.from_numpy(problem.X)
        self.y = torch.from_numpy(problem.y)
        self.gather_once = True

    def train(self, rows: int, epochs: int) -> None:
        for _ in range(epochs):
            self.epoch(rows)

    def epoch(self, rows: int) -> None:
        batch = self.problem.cell.batch
        order = torch.from_numpy(self.shuffler.permutation(rows))
        if self.gather_once:
            X, y = self.X.index_select(0, order), self.y.index_select(0, order)
            for minibatch in zip(X.split(batch), y.split(batch), strict=True):
                self.step(*minibatch)
        else:
            for indices in order.split(batch):
                self.step(self.X[indices], self.y[indices])

    def start_parameters(self) -> list[torch.Tensor]:
        """First parameters w, b, ..., each w as PyTorch has it: n_out x n_in."""
        parameters, self.shuffler = self.problem.start()
        return [torch.from_numpy(p.T.copy()) for p in parameters]

    def parameters(self) -> list[np.ndarray]:
        return [p.detach().numpy().T for p in self.tensors]


def network(parameters: list[torch.Tensor]) -> nn.Sequential:
    """Dense layers with ReLU between them."""
    layers: list[nn.Module] = []
    for w, b in zip(parameters[::2], parameters[1::2], strict=True):
        linear = nn.Linear(*reversed(w.shape))
        linear.weight, linear.bias = nn.Parameter(w), nn.Parameter(b)
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class Eager(Epochs):
    """`nn.Sequential`, cross-entropy, backward, fused Adam."""

    modes = (EACH_BATCH, ONCE)

    def start(self, mode: str) -> None:
        self.gather_once = mode == ONCE
        self.tensors = self.start_parameters()
        self.build(network(self.tensors))

    def build(self, net: nn.Sequential) -> None:
        self.net = net
        self.tensors = list(net.parameters())
        self.optimizer = torch.optim.Adam(self.tensors, lr=LEARNING_RATE, fused=True)
        self.loss = lambda x, y: F.cross_entropy(self.net(x), y)

    def step(self, x: torch.Tensor, y: torch.Tensor) -> None:
        self.optimizer.zero_grad()
        self.loss(x, y).backward()
        self.optimizer.step()


class CompiledLoss(Eager):
    """As eager, with model and loss, and so their gradient, compiled."""

    def build(self, net: nn.Sequential) -> None:
        super().build(net)
        self.loss = torch.compile(self.loss, options=NO_GUARDS)


def forward_loss(parameters: list[torch.Tensor], x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    for w, b in zip(parameters[:-2:2], parameters[1:-2:2], strict=True):
        x = F.relu(F.linear(x, w, b))
    return F.cross_entropy(F.linear(x, *parameters[-2:]), y)


def whole_step(p, m, v, count, x, y) -> None:
    """Forward, loss, backward and Adam on functions of tensors, which compile into one graph.

    With `loss.backward()` and `optimizer.step()` the compiler breaks the graph at each of them,
    which is slower than eager for small nets.
    """
    g = torch.func.grad(forward_loss)(p, x, y)
    count.add_(1)
    rate = LEARNING_RATE / (1 - BETA1**count)
    root = torch.sqrt(1 - BETA2**count)
    for p_i, g_i, m_i, v_i in zip(p, g, m, v, strict=True):
        m_i.lerp_(g_i, 1 - BETA1)
        v_i.mul_(BETA2).addcmul_(g_i, g_i, value=1 - BETA2)
        p_i.sub_(rate * m_i / (v_i.sqrt() / root + EPS))


class CompiledStep(Epochs):
    """The whole step compiled; its kernels are called from C++."""

    def start(self, mode: str) -> None:
        self.tensors = self.start_parameters()
        m, v = ([torch.zeros_like(p) for p in self.tensors] for _ in "mv")
        self.state = (self.tensors, m, v, torch.zeros(()))
        options = NO_GUARDS | {"cpp_wrapper": True}
        self.program = torch.compile(whole_step, fullgraph=True, options=options)

    def step(self, x: torch.Tensor, y: torch.Tensor) -> None:
        self.program(*self.state, x, y)


class Compiled:
    """`torch.compile`; it needs a C++ compiler."""

    ways = {  # noqa: RUF012 -- a constant
        "whole step compiled": CompiledStep,
        "model and loss compiled": CompiledLoss,
    }
    modes = tuple(ways)

    def __init__(self, problem: Problem, threads: int) -> None:
        self.problem, self.threads = problem, threads

    def start(self, mode: str) -> None:
        torch.compiler.reset()  # what was compiled for other shapes
        self.way = self.ways[mode](self.problem, self.threads)
        self.way.start(ONCE)

    def train(self, rows: int, epochs: int) -> None:
        self.way.train(rows, epochs)

    def parameters(self) -> list[np.ndarray]:
        return self.way.parameters()
