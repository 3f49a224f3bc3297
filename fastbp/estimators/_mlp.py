"""What both estimators share: fitting, prediction, and the model behind `coefs_`."""

import warnings
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator, _fit_context
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.validation import (
    _check_sample_weight,
    check_is_fitted,
    validate_data,
)

from fastbp import _engine
from fastbp._training import Samples
from fastbp._validation import Array, Float64, as_weights
from fastbp.estimators import _lbfgs, _stochastic
from fastbp.estimators._constraints import CONSTRAINTS
from fastbp.estimators._features import as_features
from fastbp.estimators._network import (
    blank_model,
    draw_parameters,
    hidden_widths,
    layers_of,
    model_of,
)
from fastbp.losses import Loss
from fastbp.model import Model
from fastbp.optimizers import SGD, Adam, Optimizer

_STOCHASTIC = ("sgd", "adam")


class BaseMLP(BaseEstimator, ABC):
    """Base of the classifier and the regressor."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = CONSTRAINTS

    # ------------------------------------------------------------------- what the subclasses know

    @abstractmethod
    def _validate_input(self, X: Any, y: Any, incremental: bool, reset: bool) -> tuple[Any, Any]:
        """Return X as scikit-learn validates it, and y as `_targets` takes it."""

    @abstractmethod
    def _targets(self, y: Any, dtype: np.dtype[Any]) -> Array:
        """Return y as the engine reads it: labels (n,) or targets (n, n_outputs)."""

    @abstractmethod
    def _output(self, y: Any) -> tuple[int, str]:
        """Return the number of outputs and the name of the last layer's activation."""

    @abstractmethod
    def _loss(self, dtype: np.dtype[Any]) -> Loss:
        """Return the loss for the fitted `out_activation_`."""

    @abstractmethod
    def _score_outputs(self, y: Any, outputs: Array, sample_weight: Float64 | None) -> float:
        """Return accuracy or R2 of the network's outputs, given what `_targets` was given."""

    @abstractmethod
    def _stratify(self, y: Any) -> Any:
        """Return what a validation set is stratified by; None: it is not."""

    # ---------------------------------------------------------------------------------- fitting

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit the network to data.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Class labels, or targets.
        sample_weight : array-like of shape (n_samples,), optional
            What each sample's loss is multiplied by.

        Returns
        -------
        self
        """
        return self._fit(X, y, sample_weight, incremental=False)

    def _fit(self, X: Any, y: Any, sample_weight: Any, incremental: bool) -> Self:
        widths = hidden_widths(self.hidden_layer_sizes)
        first = not hasattr(self, "coefs_") or not (self.warm_start or incremental)
        X, y = self._validate_input(X, y, incremental, reset=first)
        if sample_weight is not None:
            sample_weight = as_weights(
                _check_sample_weight(sample_weight, X), "sample_weight", X.shape[0]
            )
        self._random_state = check_random_state(self.random_state)
        if first:
            self._initialize([X.shape[1], *widths], y, X.dtype)
        model = self._bound_model()
        if self.solver == "lbfgs":
            _lbfgs.minimize(self, model, self._samples(X, y, sample_weight))
        else:
            self._fit_stochastic(X, y, sample_weight, incremental)
        return self

    def _initialize(self, widths: list[int], y: Any, dtype: np.dtype[Any]) -> None:
        """Draw the first weights; set every attribute to where it starts."""
        n_outputs, out_activation = self._output(y)
        self.out_activation_ = out_activation
        layers = layers_of([*widths, n_outputs], self.activation)
        # SciPy's driver is float64 throughout, and so are its steps; as in scikit-learn
        own = np.dtype(np.float64) if self.solver == "lbfgs" else dtype
        model = blank_model(layers, self._loss(own), own)
        draw_parameters(model, self.activation, self._random_state, dtype)
        self._bind(model)
        self.n_iter_ = self.t_ = 0
        self.n_outputs_ = n_outputs
        self.n_layers_ = len(model.layers) + 1
        self._best_parameters = model.parameters.copy()
        if self.solver != "lbfgs":
            self._initialize_curves()

    def _initialize_curves(self) -> None:
        self.loss_curve_: list[float] = []
        self._no_improvement_count = 0
        held_out = self.early_stopping
        self.validation_scores_: list[float] | None = [] if held_out else None
        self.validation_loss_curve_: list[float] | None = [] if held_out else None
        self.best_validation_score_ = -np.inf if held_out else None
        self.best_loss_ = None if held_out else np.inf

    def _samples(self, X: Any, y: Any, sample_weight: Float64 | None) -> Samples:
        model = self._model
        return Samples(as_features(X, model.dtype), self._targets(y, model.dtype), sample_weight)

    def _fit_stochastic(
        self, X: Any, y: Any, sample_weight: Float64 | None, incremental: bool
    ) -> None:
        model = self._model
        if not incremental or not hasattr(self, "_optimizer"):
            policy = self.learning_rate if self.solver == "sgd" else "constant"
            self._optimizer = _stochastic.Solver.start(
                self._optimizer_spec(), model, policy, self.power_t
            )
        validation = None
        if self.early_stopping:
            if incremental:
                raise ValueError("partial_fit does not support early_stopping=True")
            X, y, sample_weight, validation = self._hold_out(X, y, sample_weight)
        samples = self._samples(X, y, sample_weight)
        _stochastic.train(
            self, model, samples, validation, self._clipped_batch_size(len(samples)), incremental
        )
        if self.early_stopping:
            model.parameters[:] = self._best_parameters

    def _optimizer_spec(self) -> Optimizer:
        rate = float(self.learning_rate_init)
        if self.solver == "sgd":
            nesterov = bool(self.nesterovs_momentum) and self.momentum > 0
            return SGD(rate, momentum=float(self.momentum), nesterov=nesterov)
        return Adam(
            rate, beta1=self.beta_1, beta2=self.beta_2, eps=float(self.epsilon), eps_hat=True
        )

    def _clipped_batch_size(self, n_samples: int) -> int:
        if self.batch_size == "auto":
            return min(200, n_samples)
        if self.batch_size > n_samples:
            warnings.warn(
                "Got `batch_size` less than 1 or larger than sample size. It is going to be "
                "clipped",
                stacklevel=4,
            )
        return int(min(self.batch_size, n_samples))

    def _hold_out(
        self, X: Any, y: Any, sample_weight: Float64 | None
    ) -> tuple[Any, Any, Float64 | None, _stochastic.Validation]:
        """Split a validation set off, as scikit-learn does."""
        arrays = [X, y] if sample_weight is None else [X, y, sample_weight]
        parts = train_test_split(
            *arrays,
            random_state=self._random_state,
            test_size=self.validation_fraction,
            stratify=self._stratify(y),
        )
        train, held = parts[::2], parts[1::2]
        if held[0].shape[0] < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of "
                "your dataset."
            )
        weight = None if sample_weight is None else held[2]
        samples = self._samples(held[0], held[1], weight)

        def score() -> float:
            outputs = self._model._outputs(samples.x, link=True)
            if not np.isfinite(outputs).all():
                return float("nan")
            return self._score_outputs(held[1], outputs, weight)

        validation = _stochastic.Validation(samples, score)
        return train[0], train[1], None if sample_weight is None else train[2], validation

    def _check_solver(self) -> bool:
        if self.solver not in _STOCHASTIC:
            raise AttributeError(
                "partial_fit is only available for stochastic optimizers. "
                f"{self.solver} is not stochastic."
            )
        return True

    # -------------------------------------------------------------------------------- the model

    def _bind(self, model: Model) -> None:
        """Make `coefs_` and `intercepts_` views of the model's parameters."""
        self._model = model
        self._model_activation = self.activation
        self.coefs_ = list(model.weights)
        self.intercepts_ = list(model.biases)

    def _bound_model(self) -> Model:
        """Return the model behind `coefs_`, made anew if those or `activation` are others."""
        model: Model | None = self.__dict__.get("_model")
        if (
            model is None
            or self._model_activation is not self.activation
            or len(self.coefs_) != len(model.weights)
            or len(self.intercepts_) != len(model.biases)
            or any(a is not b for a, b in zip(self.coefs_, model.weights, strict=True))
            or any(a is not b for a, b in zip(self.intercepts_, model.biases, strict=True))
        ):
            model = model_of(self.coefs_, self.intercepts_, self.activation, self._loss)
            self._bind(model)
        return model

    def __getstate__(self) -> dict[str, Any]:
        """Return what copies and pickles consist of: all but the compiled part."""
        state: dict[str, Any] = dict(super().__getstate__())
        state.pop("_model", None)
        return state

    # ------------------------------------------------------------------------------- prediction

    def _outputs(self, X: Any) -> Array:
        """Return the network's outputs: probabilities, rates or values."""
        check_is_fitted(self)
        model = self._bound_model()
        if not self._is_plain(X, model):
            X = validate_data(self, X, accept_sparse=["csr", "csc"], reset=False)
            X = as_features(X, model.dtype)
        return model._outputs(X, link=True)

    def _is_plain(self, X: Any, model: Model) -> bool:
        """Whether X needs none of scikit-learn's checks, which take longer than one sample."""
        return (
            type(X) is np.ndarray
            and X.dtype.char in "fd"
            and X.ndim == 2
            and X.shape[1] == model.layers[0].n_in
            and X.shape[0] > 0
            and X.dtype.isnative
            and X.flags.aligned
            and not hasattr(self, "feature_names_in_")
            and _engine.first_nonfinite(X) is None
        )

    def __sklearn_tags__(self) -> Any:
        """Return what these estimators can do."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags
