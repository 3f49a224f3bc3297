"""`MLPRegressor`."""

from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import RegressorMixin, _fit_context
from sklearn.metrics import r2_score
from sklearn.utils.metaestimators import available_if

from fastbp._fitting import fits_alone
from fastbp._validation import Array, Float64
from fastbp.estimators._callbacks import with_callbacks
from fastbp.estimators._constraints import CONSTRAINTS, LOSS, store
from fastbp.estimators._mlp import BaseMLP
from fastbp.losses import Loss, Pinball, as_loss


class MLPRegressor(RegressorMixin, BaseMLP):
    r"""scikit-learn's multi-layer perceptron regressor: same parameters, same results, sooner.

    Parameters
    ----------
    loss : str or Loss
        ``"squared_error"`` or ``"poisson"`` as in scikit-learn, any other of fastbp's but
        softmax cross-entropy, or a spec such as ``Pinball([0.1, 0.5, 0.9])``, which gives one
        output for each quantile.
    hidden_layer_sizes, activation, solver, alpha, batch_size, learning_rate, learning_rate_init, \
    power_t, max_iter, shuffle, random_state, tol, verbose, warm_start, momentum, \
    nesterovs_momentum, early_stopping, validation_fraction, beta_1, beta_2, epsilon, \
    n_iter_no_change, max_fun
        As in scikit-learn, with these additions.

        ``activation``: all of fastbp's, by name or as a spec, or a list with one for each hidden
        layer. ``solver``: also ``"adamw"``, ``"rmsprop"``, ``"adagrad"`` or an `Optimizer`, which
        has settings of its own (those here stay at their defaults). ``learning_rate``: also a
        `Schedule`, for any stochastic solver. ``verbose="bar"`` shows a progress bar.
    dropout : float or list of float
        Share of the hidden layers' outputs that training sets to zero; a list: of each layer.
    clip_norm : float or None
        A minibatch's mean gradient is shrunk to this Euclidean norm where it is longer.
    scoring : str, callable or None
        scikit-learn scorer of the validation data; None: accuracy or R2.
    restore_best_weights : bool or None
        Whether `fit` ends with the weights of its best epoch; None: with early stopping.
    callbacks : list of Callback or None
        fastbp's; scikit-learn's come by `set_callbacks`.
    n_threads : int or None
        Most threads; None: as `fastbp.get_num_threads` says.
    dtype : {"float32", "float64"} or None
        Of the weights and all arithmetic; None: that of X.
    precision : {"bf16"} or None
        As in `fastbp.Model.fit`.
    on_divergence : {"raise", "stop"}
        What becomes of a fit that stops being finite: a `DivergenceError`, with the last finite
        weights in place, or an early end with a ``ConvergenceWarning`` and these (or the best, see
        `restore_best_weights`). With early stopping it is always the second.

    Attributes
    ----------
    coefs_, intercepts_ : list of ndarray
        Weights ``(n_in, n_out)`` and biases ``(n_out,)`` of each layer. They may be changed, in
        place or by others.
    loss_, best_loss_, loss_curve_, validation_scores_, best_validation_score_, t_, n_iter_, \
    n_features_in_, feature_names_in_, n_layers_, n_outputs_, out_activation_
        As in scikit-learn.
    validation_loss_curve_ : list of float or None
        Mean loss of the validation data after each epoch (lbfgs: iteration), without the penalty.
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = CONSTRAINTS | {"loss": LOSS}

    def __init__(
        self,
        loss: Any = "squared_error",
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        solver: Any = "adam",
        alpha: float = 0.0001,
        batch_size: Any = "auto",
        learning_rate: Any = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: Any = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        dropout: Any = 0.0,
        clip_norm: float | None = None,
        scoring: Any = None,
        restore_best_weights: bool | None = None,
        callbacks: Any = None,
        n_threads: int | None = None,
        dtype: Any = None,
        precision: str | None = None,
        on_divergence: str = "raise",
    ) -> None:
        store(self, locals())

    def _validate_input(self, X: Any, y: Any, incremental: bool, reset: bool) -> tuple[Any, Any]:
        X, y = self._validated(X, y, reset, y_numeric=True)
        return X, self._encode(y)

    def _encode(self, y: Array) -> Array:
        """Return targets (n, n_outputs): one column for each quantile, if there are several."""
        loss = self._loss(np.dtype(np.float64))
        column = y.reshape(-1, 1) if y.ndim == 1 else y
        if isinstance(loss, Pinball) and isinstance(loss.quantiles, tuple) and y.ndim == 1:
            return np.repeat(column, len(loss.quantiles), axis=1)
        return column

    def _refuse_unknown(self, y: Array) -> None:
        """Let every target pass: `_targets` checks its values."""

    def _decode(self, outputs: Array) -> Array:
        return outputs.ravel() if outputs.shape[1] == 1 else outputs

    def _true(self, y: Array) -> Array:
        return self._decode(y)

    def _weights(self, y: Array, sample_weight: Float64 | None) -> Float64 | None:
        return sample_weight

    def _targets(self, y: Array, dtype: np.dtype[Any]) -> Array:
        return self._loss(dtype).as_targets(y, "y", (len(y), self.n_outputs_), dtype)

    def _output(self, y: Array) -> tuple[int, str]:
        links = {"poisson": "exp", "binary_cross_entropy": "logistic"}
        return y.shape[1], links.get(self._loss(y.dtype).name, "identity")

    def _loss(self, dtype: np.dtype[Any]) -> Loss:
        return as_loss(self.loss, "loss")

    def _stratify(self, y: Array) -> None:
        return None

    def _score_outputs(self, y: Array, outputs: Array, sample_weight: Float64 | None) -> float:
        return float(r2_score(y, outputs, sample_weight=sample_weight))

    @available_if(lambda estimator: estimator._check_solver())
    @fits_alone
    @_fit_context(prefer_skip_nested_validation=True)
    @with_callbacks
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train for one epoch; the optimizer goes on from where it was.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array-like of shape (n_samples,), optional

        Returns
        -------
        self
        """
        return self._fit(X, y, sample_weight, None, incremental=True)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return R2, its mean over the outputs; one y stands for all quantiles.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array-like of shape (n_samples,), optional

        Returns
        -------
        float
        """
        y = self._encode(np.asarray(y))
        return float(r2_score(y, self.predict(X), sample_weight=sample_weight))

    def __sklearn_tags__(self) -> Any:
        """Return what this estimator can do."""
        tags = super().__sklearn_tags__()
        tags.target_tags.positive_only = self.loss in ("poisson", Loss("poisson"))
        return tags

    def predict(self, X: Any) -> Array:
        """Return the predicted values.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
        """
        return self._decode(self._outputs(X))
