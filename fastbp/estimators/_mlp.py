"""What both estimators share: fitting, prediction, and the model behind `coefs_`."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    _fit_context,
)
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from fastbp import _engine
from fastbp._network import as_dtype
from fastbp._training import Samples
from fastbp._validation import Array, Float64, as_integer, as_weights, explain
from fastbp.callbacks import Callback
from fastbp.estimators import _lbfgs, _stochastic
from fastbp.estimators._bookkeeping import restores_best
from fastbp.estimators._callbacks import CallbackSupportMixin, Tasks, with_callbacks
from fastbp.estimators._constraints import CONSTRAINTS
from fastbp.estimators._derivatives import hidden_activations, input_jacobian
from fastbp.estimators._features import as_features
from fastbp.estimators._network import (
    draw_parameters,
    hidden_widths,
    layers_of,
    model_of,
)
from fastbp.estimators._validation_set import hold_out, validation_of
from fastbp.losses import Loss
from fastbp.model import Model

# what is None without validation data, and what it starts with
_CURVES: dict[str, Callable[[], Any]] = {
    "loss_curve_": list,
    "validation_scores_": list,
    "validation_loss_curve_": list,
    "best_validation_score_": lambda: -np.inf,
}


class BaseMLP(
    CallbackSupportMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator, ABC
):
    """Base of the classifier and the regressor."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = CONSTRAINTS

    # ------------------------------------------------------------------- what the subclasses know

    @abstractmethod
    def _validate_input(self, X: Any, y: Any, incremental: bool, reset: bool) -> tuple[Any, Any]:
        """Return X as scikit-learn validates it, and y as `_targets` takes it."""

    @abstractmethod
    def _encode(self, y: Array) -> Array:
        """Return validated y as `_targets` takes it."""

    @abstractmethod
    def _refuse_unknown(self, y: Array) -> None:
        """Refuse what `_encode` cannot encode."""

    @abstractmethod
    def _decode(self, outputs: Array) -> Array:
        """Return what `predict` says, given the network's outputs."""

    @abstractmethod
    def _targets(self, y: Any, dtype: np.dtype[Any]) -> Array:
        """Return y as the engine reads it: labels (n,) or targets (n, n_outputs)."""

    @abstractmethod
    def _weights(self, y: Any, sample_weight: Float64 | None) -> Float64 | None:
        """Return the weights of the samples, those of their classes included."""

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
    def _true(self, y: Any) -> Any:
        """Return what `_encode` was given."""

    @abstractmethod
    def _stratify(self, y: Any) -> Any:
        """Return what a validation set is stratified by; None: it is not."""

    # ---------------------------------------------------------------------------------- fitting

    def _validated(self, X: Any, y: Any, reset: bool, **options: Any) -> tuple[Any, Array]:
        """Return X and y as scikit-learn validates them, one column of y as a vector."""
        X, y = validate_data(
            self,
            X,
            y,
            accept_sparse=["csr", "csc"],
            multi_output=True,
            dtype=(np.float64, np.float32),
            reset=reset,
            **options,
        )
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        return X, y

    @_fit_context(prefer_skip_nested_validation=True)
    @with_callbacks
    def fit(self, X: Any, y: Any, sample_weight: Any = None, validation_data: Any = None) -> Self:
        """Fit the network to data.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Class labels, or targets.
        sample_weight : array-like of shape (n_samples,), optional
            What each sample's loss is multiplied by.
        validation_data : (X, y), optional
            Data that is scored after each epoch, and that early stopping goes by, in place of a
            part of the training data.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            A parameter or the data is not as it should be.
        DivergenceError
            Training stopped being finite; `coefs_` are the last finite ones.
        """
        return self._fit(X, y, sample_weight, validation_data, incremental=False)

    def _fit(
        self, X: Any, y: Any, sample_weight: Any, validation_data: Any, incremental: bool
    ) -> Self:
        if self.early_stopping and incremental:
            raise ValueError("partial_fit does not support early_stopping=True")
        widths = hidden_widths(self.hidden_layer_sizes)
        first = not hasattr(self, "coefs_") or not (self.warm_start or incremental)
        given = {"X": X, "y": y}
        X, y = self._validate_input(X, y, incremental, reset=first)
        if sample_weight is not None:
            weight = _check_sample_weight(sample_weight, X)
            sample_weight = as_weights(weight, "sample_weight", X.shape[0])
        self._random_state = check_random_state(self.random_state)
        if first:
            self._initialize([X.shape[1], *widths], y, X.dtype)
        model = self._bound_model()
        self._refuse_other_widths(model, self._output(y)[0])
        held = None if validation_data is None else validation_of(self, validation_data)
        hooks: list[Callback] = []
        if getattr(self, "_skl_callbacks", None):
            metadata = None if sample_weight is None else {"sample_weight": sample_weight}
            hooks.append(Tasks(self, given | {"metadata": metadata}))
        if self.solver == "lbfgs":
            self._minimize(model, X, y, sample_weight, hooks)
        else:
            self._train(model, X, y, sample_weight, held, incremental, hooks)
        return self

    def _minimize(
        self, model: Model, X: Any, y: Any, sample_weight: Float64 | None, hooks: list[Callback]
    ) -> None:
        if any(layer.dropout for layer in model.layers):
            raise ValueError("dropout: solver='lbfgs' needs a loss that does not change; set 0")
        samples = self._samples(X, y, self._weights(y, sample_weight))
        _lbfgs.minimize(self, model, samples, hooks)

    def _train(
        self,
        model: Model,
        X: Any,
        y: Any,
        sample_weight: Float64 | None,
        held: _stochastic.Validation | None,
        incremental: bool,
        hooks: list[Callback],
    ) -> None:
        earlier: _stochastic.Solver | None = self.__dict__.get("_optimizer")
        if not incremental or earlier is None or not earlier.goes_on(model):
            self._optimizer = _stochastic.Solver.start(self, model)
        if self.early_stopping and held is None:
            X, y, sample_weight, held = hold_out(self, X, y, sample_weight)
        self._begin_curves(held is not None)
        samples = self._samples(X, y, self._weights(y, sample_weight))
        training = _stochastic.Training(model, samples, held, incremental, hooks)
        _stochastic.train(self, training)
        if restores_best(self) and not incremental:
            model.parameters[:] = self._best_parameters

    def _initialize(self, widths: list[int], y: Any, dtype: np.dtype[Any]) -> None:
        """Draw the first weights; set every attribute to where it starts."""
        n_outputs, out_activation = self._output(y)
        self.out_activation_ = out_activation
        layers = layers_of([*widths, n_outputs], self.activation, self.dropout)
        # SciPy's driver is float64 throughout, and so are its steps; as in scikit-learn
        own = np.dtype(np.float64) if self.solver == "lbfgs" else dtype
        if self.dtype is not None:
            own = dtype = as_dtype(self.dtype)
        model = Model._blank(layers, self._loss(own), own)
        draw_parameters(model, self._random_state, dtype)
        self._bind(model)
        self.n_iter_ = self.t_ = 0
        self.n_outputs_ = n_outputs
        self.n_layers_ = len(model.layers) + 1
        self._best_parameters = model.parameters.copy()
        self._forget_curves()

    def _forget_curves(self) -> None:
        for name in (*_CURVES, "best_loss_", "_no_improvement_count"):
            self.__dict__.pop(name, None)
        if self.solver != "lbfgs":
            self.best_loss_: float | None = None

    def _begin_curves(self, validates: bool) -> None:
        """Make room for what this fit records and an earlier one, or another solver, did not."""
        missing = [name for name in _CURVES if getattr(self, name, None) is None]
        for name in missing:
            setattr(self, name, _CURVES[name]() if validates or name == "loss_curve_" else None)
        if not self.early_stopping and getattr(self, "best_loss_", None) is None:
            self.best_loss_ = np.inf
        if not hasattr(self, "_no_improvement_count"):
            self._no_improvement_count = 0

    def _samples(self, X: Any, y: Any, sample_weight: Float64 | None) -> Samples:
        dtype = self._model.dtype
        return Samples(as_features(X, dtype), self._targets(y, dtype), sample_weight)

    def _check_solver(self) -> bool:
        if self.solver == "lbfgs":
            raise AttributeError(
                "partial_fit is only available for stochastic optimizers. "
                f"{self.solver} is not stochastic."
            )
        return True

    # -------------------------------------------------------------------------------- the model

    def _bind(self, model: Model) -> None:
        """Make `coefs_` and `intercepts_` views of the model's parameters."""
        self._model = model
        self._model_settings = (self.activation, self.dropout)
        self.coefs_ = list(model.weights)
        self.intercepts_ = list(model.biases)

    def _bound_model(self) -> Model:
        """Return the model behind `coefs_`, made anew if it is not up to date."""
        model: Model | None = self.__dict__.get("_model")
        if (
            model is None
            or self._model_settings[0] is not self.activation
            or self._model_settings[1] is not self.dropout
            or len(self.coefs_) != len(model.weights)
            or len(self.intercepts_) != len(model.biases)
            or any(a is not b for a, b in zip(self.coefs_, model.weights, strict=True))
            or any(a is not b for a, b in zip(self.intercepts_, model.biases, strict=True))
        ):
            model = model_of(
                self.coefs_, self.intercepts_, self.activation, self.dropout, self._loss
            )
            self._bind(model)
        model._network.max_threads = self.n_threads or 0
        return model

    def __getstate__(self) -> dict[str, Any]:
        """Return what copies and pickles consist of: all but the compiled part."""
        state: dict[str, Any] = dict(super().__getstate__())
        state.pop("_model", None)
        return state

    # ------------------------------------------------------------------------------- prediction

    def _outputs(self, X: Any) -> Array:
        """Return the network's outputs: probabilities, rates or values."""
        model, x = self._input(X)
        return model._outputs(x, link=True)

    def _input(self, X: Any) -> tuple[Model, Any]:
        """Return the model, and X as it reads it."""
        if "coefs_" not in self.__dict__:
            check_is_fitted(self)
        model = self._bound_model()
        self._refuse_other_widths(model)
        if self._is_plain(X, model):
            return model, X
        X = validate_data(self, X, accept_sparse=["csr", "csc"], reset=False)
        return model, as_features(X, model.dtype)

    def _refuse_other_widths(self, model: Model, n_outputs: int | None = None) -> None:
        """Refuse weights, which anyone can set, that are not those of this X and y."""
        widths = (model.layers[0].n_in, model.layers[-1].n_out)
        expected = (self.n_features_in_, n_outputs or self.n_outputs_)
        if widths != expected:
            raise ValueError(
                explain("coefs_", f"{expected[0]} inputs and {expected[1]} outputs", f"{widths}")
            )

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

    def transform(self, X: Any) -> Array:
        """Return the activations of the last hidden layer, as features for another estimator.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, width of the layer), or a frame after `set_output`
        """
        return self.activations(X)

    def activations(self, X: Any, layer: int = -1) -> Array:
        """Return the activations of a hidden layer.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
        layer : int
            Number of the hidden layer, from 0; -1 is the last.

        Returns
        -------
        ndarray of shape (n_samples, width of the layer)
        """
        model, x = self._input(X)
        n_hidden = len(model.layers) - 1
        if n_hidden == 0:
            raise ValueError("activations: this network has no hidden layer")
        layer = as_integer(layer, "layer", -n_hidden, n_hidden - 1)
        return hidden_activations(model, x, layer % n_hidden)

    @property
    def _n_features_out(self) -> int:
        return int(self.coefs_[-1].shape[0])

    def input_gradient(self, X: Any) -> Float64:
        """Return the derivatives of predicted values, or probabilities, by the features.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of float64 of shape (n_samples, n_features) or (n_samples, n_outputs, n_features)
            The first where there is one output; of a binary classifier that is the probability of
            the second class.
        """
        model, x = self._input(X)
        if isinstance(x, _engine.CSR):
            raise TypeError("input_gradient: X must be dense, as the derivatives are")
        jacobian = input_jacobian(model, x)
        return jacobian[:, 0] if jacobian.shape[1] == 1 else jacobian

    def to_sklearn(self) -> Any:
        """Return a fitted estimator of scikit-learn that predicts the same.

        ValueError where scikit-learn has not got what the parameters ask for.
        """
        from fastbp.estimators._conversion import to_sklearn  # noqa: PLC0415 -- it imports this

        return to_sklearn(self)

    def __sklearn_tags__(self) -> Any:
        """Return what these estimators can do."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        kept = [] if self.dtype is not None else ["float64"]
        if kept and self.solver != "lbfgs":
            kept.append("float32")
        tags.transformer_tags.preserves_dtype = kept
        return tags
