"""The `Model`: a network, its parameters, and everything one does with them."""

import copy
import os
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from reprlib import repr as short
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from fastbp import _engine, _serialization
from fastbp._checkpoint import Recorder
from fastbp._fitting import Fit, as_callbacks, fits_alone
from fastbp._memory import aligned_zeros
from fastbp._network import FeedForward, as_dtype
from fastbp._serialization import ModelFile, TrainingPart
from fastbp._summary import constructor, table
from fastbp._training import OptimizerState, Samples, Trainer
from fastbp._validation import (
    as_bool,
    as_integer,
    explain,
    non_negative,
    positive_integer,
)
from fastbp.callbacks import Callback
from fastbp.history import History
from fastbp.initializers import Initializer
from fastbp.layers import Activation, Dense, as_layers
from fastbp.losses import Loss, as_loss
from fastbp.optimizers import Adam, Optimizer

_ADAM = Adam()


class Model(FeedForward):
    """A fully connected network with a loss that is a sum over samples.

    Parameters
    ----------
    layers : list of int, or list of Dense
        Widths from the input to the output, or the layers themselves.
    loss : str or Loss
        Such as ``"softmax_cross_entropy"`` or ``Huber(2.0)``; it acts on the last layer's output.
    activation : str or Activation
        Activation of the hidden layers, where layers are given as widths.
    dtype : str or dtype
        ``float32`` or ``float64``: parameters and all arithmetic (losses are summed in float64).
    seed : int or None
        Where the random numbers start, for weights and then for shuffling; None: anywhere.
    initializer : str, Initializer or None
        How weights start in layers that do not say; None: as suits their activation.

    Attributes
    ----------
    layers : tuple of Dense
    loss_function : Loss
    dtype : numpy.dtype
    weights, biases : tuple of ndarray
        Views into `parameters`: one ``(n_in, n_out)``, one ``(n_out,)`` for each layer.
    history : History or None
        Of the last fit, also when that was interrupted.
    metadata : dict
        JSON values that are saved and loaded with the model.

    Raises
    ------
    TypeError, ValueError
        An argument is not of these kinds, or no machine could hold the network.
    MemoryError
        This machine cannot.

    Examples
    --------
    >>> model = Model([64, 32, 10], loss="softmax_cross_entropy", seed=0)
    >>> model
    Model([64, 32, 10], loss='softmax_cross_entropy', activation='relu', dtype='float32')
    """

    def __init__(
        self,
        layers: Sequence[int] | Sequence[Dense],
        *,
        loss: str | Loss,
        activation: str | Activation = "relu",
        dtype: npt.DTypeLike = "float32",
        seed: int | None = None,
        initializer: str | Initializer | None = None,
    ) -> None:
        self._build(as_layers(layers, activation, initializer), as_loss(loss, "loss"), dtype, seed)
        for layer, weights in zip(self.layers, self.weights, strict=True):
            start = layer.initializer or layer.activation.default_initializer
            weights[:] = start.draw(self._rng, layer.n_in, layer.n_out)

    @classmethod
    def _blank(cls, layers: tuple[Dense, ...], loss: Loss, dtype: npt.DTypeLike) -> Self:
        """Return a model whose parameters are all zero."""
        model = cls.__new__(cls)
        model._build(layers, loss, dtype, None)
        return model

    def _build(
        self, layers: tuple[Dense, ...], loss: Loss, dtype: npt.DTypeLike, seed: int | None
    ) -> None:
        """Set everything up with parameters that are all zero."""
        super().__init__(layers, loss, as_dtype(dtype))
        self.history: History | None = None
        self.metadata: dict[str, Any] = {}
        self._rng = np.random.default_rng(None if seed is None else as_integer(seed, "seed", 0))
        self._state: OptimizerState | None = None
        self._recorder: Recorder | None = None  # during a fit that can be resumed

    @fits_alone
    def fit(
        self,
        X: Any,
        y: Any,
        *,
        epochs: int = 10,
        batch_size: int = 32,
        optimizer: Optimizer = _ADAM,
        shuffle: bool = True,
        l2: float = 0.0,
        sample_weight: Any = None,
        precision: str | None = None,
        validation_data: tuple[Any, Any] | None = None,
        callbacks: Iterable[Callback] = (),
        verbose: int = 0,
        resume: str | os.PathLike[str] | None = None,
        allow_other_data: bool = False,
    ) -> History:
        """Train: one update for each minibatch, ``epochs`` times through the data.

        Each minibatch's gradient is divided by its total sample weight; where that is zero, so are
        gradient and penalty. A second fit with an equal optimizer continues its moments and its
        schedule; another optimizer starts afresh.

        Parameters
        ----------
        X, y, sample_weight
            As in `loss`. X is read where it is and never written to. It is copied only where it
            cannot be read so: a dtype that is not an integer, float32 or float64, other byte order,
            misaligned, or in the memory of `parameters`.
        epochs, batch_size : int
        optimizer : Optimizer
        shuffle : bool
            Whether each epoch takes the samples in a new random order.
        l2 : float
            Penalty ``l2 / 2`` times the sum of squared weights (not biases) of each minibatch's
            summed loss, as scikit-learn's ``alpha``.
        precision : {None, "bf16"}
            ``"bf16"`` rounds the factors of all products to bfloat16 (8 bits of precision) while it
            trains and sums in float32; parameters, biases, activations, loss, gradient and
            optimizer stay in float32, and so does everything outside `fit`. Several times faster
            for wide layers and large batches on CPUs with AMX-BF16, faster on those of AMD with
            AVX512-BF16. The same bits at any thread count, but not on both kinds of CPU.
        validation_data : (X, y), optional
            Data whose mean loss, and accuracy or R2, are recorded after each epoch.
        callbacks : iterable of Callback
        verbose : {0, 1}
            1 shows a `ProgressBar`.
        resume : str or path, optional
            A file of `ModelCheckpoint` to go on from, to the same bits (parameters, moments,
            history, random numbers) as if that fit had never been cut. All arguments but ``epochs``
            (the number in total) and those without influence on the bits must be the same.
        allow_other_data : bool
            Resume also with other data than those of the checkpoint.

        Returns
        -------
        History
            Also kept as ``model.history``.

        Raises
        ------
        TypeError, ValueError
            An argument is not as it should be; nothing has changed.
        DivergenceError
            The loss or a parameter stopped being finite; the last finite parameters (and moments
            of the optimizer) are kept.
        CheckpointError
            The file is no checkpoint, or one of a fit with other arguments or data.
        RuntimeError
            This model is being fitted already, or this machine has no bf16.
        """
        samples = self._samples(X, y, sample_weight)
        validation = self._validation(validation_data)
        hooks = as_callbacks(callbacks, verbose)
        epochs = positive_integer(epochs, "epochs")
        shuffler = self._rng if as_bool(shuffle, "shuffle") else None
        batch_size = min(positive_integer(batch_size, "batch_size"), len(samples))
        l2 = non_negative(l2, "l2")
        bf16 = self._products(precision)
        state = self._state_of(optimizer)
        gradient = aligned_zeros(self.n_parameters, self.dtype)
        trainer = Trainer(
            self._network,
            self._parameters,
            gradient,
            state,
            samples,
            batch_size,
            l2,
            bf16,
            draw_seed=self._draw_seed(bf16, lambda: int(self._rng.integers(1 << 63))),
        )
        metric = f"val_{self.loss_function.metric}"
        history = History(["loss"] if validation is None else ["loss", "val_loss", metric])
        evaluate = partial(self._evaluate, validation)
        fit = Fit(self, trainer, hooks, evaluate, shuffler, history)
        self._run(fit, epochs, validation, resume, as_bool(allow_other_data, "allow_other_data"))
        return history

    def _run(
        self,
        fit: Fit,
        epochs: int,
        validation: Samples | None,
        resume: str | os.PathLike[str] | None,
        allow_other_data: bool,
    ) -> None:
        """Train, from a checkpoint and with checkpoints if asked for."""
        recorder = checkpoint = None
        if resume is not None or fit.savers:
            recorder = Recorder(fit, validation)
        if recorder is not None and resume is not None:
            checkpoint = recorder.read(resume, allow_other_data)
            checkpoint.recall(fit.history)
        self._recorder = recorder
        try:
            with fit.callbacks_around(epochs):
                if checkpoint is not None:
                    checkpoint.apply(fit)
                self._state, self.history = fit.trainer.state, fit.history
                fit.run(epochs)
        finally:
            self._recorder = None

    def _products(self, precision: object) -> str:
        """Return the name of the engine's products of bf16, "" for those of the dtype."""
        if precision is None:
            return ""
        if precision != "bf16":
            raise ValueError(explain("precision", "None or 'bf16'", short(precision)))
        if self.dtype != np.float32:
            expected = "None for a float64 model, as bf16 is a kind of float32 training"
            raise ValueError(explain("precision", expected, short(precision)))
        kinds = _engine.bf16_isas()
        if not kinds:
            raise RuntimeError(
                "precision='bf16' needs a CPU with AMX-BF16 or AVX512-BF16 (and Linux 5.16 for "
                "AMX), which this machine has not; leave it out to train in float32"
            )
        return kinds[0]

    def _draw_seed(self, bf16: str, draw: Callable[[], int]) -> Callable[[], int] | None:
        """Return what draws seeds for dropout, if a layer has any; None if not."""
        if not any(layer.dropout for layer in self.layers):
            return None
        if bf16:
            raise ValueError(explain("precision", "None where a layer has dropout", "'bf16'"))
        return draw

    def _validation(self, data: Any) -> Samples | None:
        if data is None:
            return None
        if not isinstance(data, tuple | list) or len(data) != 2:
            raise TypeError(explain("validation_data", "a pair (X, y)", short(data)))
        X, y = data
        return self._samples(X, y, source="validation_data: ")

    def _state_of(self, optimizer: object) -> OptimizerState:
        if not isinstance(optimizer, Optimizer):
            expected = "an Optimizer such as Adam(learning_rate=1e-3)"
            raise TypeError(explain("optimizer", expected, short(optimizer)))
        if self._state is not None and self._state.optimizer == optimizer:
            return self._state
        return OptimizerState.start(optimizer, self._parameters)

    def _evaluate(self, samples: Samples | None) -> dict[str, float]:
        """Return the mean loss and the metric of validation data, if there are any."""
        if samples is None:
            return {}
        loss = _engine.sum_float64(self._losses(samples)) / samples.total_weight()
        predicted = self._outputs(samples.x, link=True)
        score = self.loss_function.score(samples.y, predicted)
        return {"val_loss": loss, f"val_{self.loss_function.metric}": score}

    # ---------------------------------------------------------------------------- files and text

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write configuration, parameters and `metadata` to a safetensors file.

        The file appears, or is replaced, in one piece. The optimizer's state is not in it.

        Raises
        ------
        ValueError
            A parameter is not finite, or ``metadata`` is not JSON.
        OSError
            The file cannot be written; an old one is left as it was.
        """
        _serialization.save(path, self._contents(None))

    def _contents(self, training: TrainingPart | None) -> ModelFile:
        tensors = [view for pair in zip(self.weights, self.biases, strict=True) for view in pair]
        return ModelFile(
            self.layers, self.loss_function, self.dtype, tensors, self.metadata, training
        )

    def _progress(self) -> tuple[int, int] | None:
        """Return the epoch and its finished minibatches of a fit that can be resumed from here."""
        return None if self._recorder is None else self._recorder.progress()

    def _save_checkpoint(self, path: str | os.PathLike[str]) -> None:
        """Save the model, with the training that is running if it can be resumed."""
        training = None if self._recorder is None else self._recorder.training_part()
        _serialization.save(path, self._contents(training))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a model that `save` wrote.

        Raises
        ------
        ModelFormatError
            The file is something else, damaged, or of a newer version.
        OSError
            The file cannot be read.
        """
        contents = _serialization.load(path)
        model = cls._blank(contents.layers, contents.loss, contents.dtype)
        model.parameters = np.concatenate([tensor.ravel() for tensor in contents.tensors])
        model.metadata = contents.metadata
        return model

    def __getstate__(self) -> dict[str, Any]:
        """Return what copies and pickles consist of: all but the compiled part."""
        return {
            "network": (self.layers, self.loss_function, self.dtype),
            "parameters": self._parameters,
            "training": (self._rng, self._state, self.history),
            "metadata": self.metadata,
        }

    def __copy__(self) -> Self:
        """Return a model of its own: nothing of it is shared, as with ``copy.deepcopy``."""
        return copy.deepcopy(self)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Build the model again; ValueError where the optimizer's state does not fit to it."""
        layers, loss, dtype = state["network"]
        self._build(layers, loss, dtype, None)
        self.parameters = state["parameters"]
        self._rng, self._state, self.history = state["training"]
        if isinstance(self._state, OptimizerState):
            self._state.refuse_damaged(self._parameters)
        elif self._state is not None:
            raise ValueError(explain("state", "one of an optimizer, or None", short(self._state)))
        self.metadata = state["metadata"]

    def summary(self) -> str:
        """Return a table of the layers: inputs and outputs, activation, parameters."""
        return table(self.layers, self.loss_function, self.dtype)

    def __repr__(self) -> str:
        """Return the call that makes a model like this one."""
        return constructor(self.layers, self.loss_function, self.dtype)
