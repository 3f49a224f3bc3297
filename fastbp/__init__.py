"""fastbp trains fully connected neural networks on CPUs as fast as the hardware allows.

    >>> import fastbp
    >>> X, y = fastbp.datasets.load_digits()
    >>> model = fastbp.Model([64, 128, 10], loss="softmax_cross_entropy", seed=0)
    >>> history = model.fit(X, y, epochs=20, optimizer=fastbp.Adam(learning_rate=1e-3))
    >>> model.predict(X[:3]).argmax(axis=1)
    array([0, 1, 2])

The loss is a sum over samples, and so is its gradient. Two passes give it: forward, each layer's
input is kept; backward, the network runs in mirror with the gains sigma'(z) and carries dl/dz. ::

    MLPClassifier       scikit-learn's estimators on it (the extra sklearn)
    MLPRegressor
      |
    Model               the network, its flat parameter vector, and what one does with them
      |
      +-- Dense, Activation     losses     Optimizer, Schedule     what is wanted: frozen
      |   Initializer                                              descriptions
      +-- Callback, History                                        what happens between epochs
      |
    _engine (Cython)    loops over layers, row blocks and minibatches; the only threads; no GIL
      |
    src_c (C)           kernels, one thread each: products, activations, losses, updates,
                        compiled once per instruction set and chosen at run time

Imports go downwards only. `Model` validates everything before anything changes; the core trusts it.
"""

from importlib import import_module
from typing import Any

from fastbp import datasets, metrics
from fastbp._reference import LayerTrace
from fastbp.callbacks import Callback, EarlyStopping, ModelCheckpoint, ProgressBar
from fastbp.config import get_config, get_num_threads, set_num_threads, show_config
from fastbp.errors import CheckpointError, DivergenceError, ModelFormatError
from fastbp.history import History
from fastbp.initializers import (
    GlorotNormal,
    GlorotUniform,
    HeNormal,
    HeUniform,
    Initializer,
    LeCunNormal,
    LeCunUniform,
)
from fastbp.layers import ELU, Activation, Dense, LeakyReLU
from fastbp.losses import Huber, Loss, Pinball
from fastbp.model import Model
from fastbp.optimizers import SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop
from fastbp.schedules import (
    Constant,
    Cosine,
    ExponentialDecay,
    InverseScaling,
    OneCycle,
    Schedule,
    StepDecay,
    WarmUp,
)

__version__ = "0.1.0"

_ESTIMATORS = ("MLPClassifier", "MLPRegressor", "from_sklearn", "register_onnx_converters")


def __getattr__(name: str) -> Any:
    """Import the estimators, and scikit-learn with them, when they are first asked for."""
    if name in _ESTIMATORS:
        return getattr(import_module("fastbp.estimators"), name)
    raise AttributeError(f"module 'fastbp' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *_ESTIMATORS]


__all__ = [
    "ELU",
    "SGD",
    "Activation",
    "Adagrad",
    "Adam",
    "AdamW",
    "Callback",
    "CheckpointError",
    "Constant",
    "Cosine",
    "Dense",
    "DivergenceError",
    "EarlyStopping",
    "ExponentialDecay",
    "GlorotNormal",
    "GlorotUniform",
    "HeNormal",
    "HeUniform",
    "History",
    "Huber",
    "Initializer",
    "InverseScaling",
    "LayerTrace",
    "LeCunNormal",
    "LeCunUniform",
    "LeakyReLU",
    "Loss",
    "Model",
    "ModelCheckpoint",
    "ModelFormatError",
    "OneCycle",
    "Optimizer",
    "Pinball",
    "ProgressBar",
    "RMSprop",
    "Schedule",
    "StepDecay",
    "WarmUp",
    "datasets",
    "get_config",
    "get_num_threads",
    "metrics",
    "set_num_threads",
    "show_config",
]
