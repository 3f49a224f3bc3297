"""What both estimators share: fitting."""

from abc import abstractmethod
from collections.abc import Callable
from reprlib import repr as short
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import _fit_context
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils.validation import _check_sample_weight, validate_data

from fastbp._fitting import fits_alone, fitting_alone
from fastbp._network import as_dtype
from fastbp._training import Samples
from fastbp._validation import Array, Float64, as_weights, explain
from fastbp.callbacks import Callback
from fastbp.estimators import _lbfgs, _stochastic
from fastbp.estimators._bookkeeping import own_callbacks, restores_best
from fastbp.estimators._callbacks import CallbackSupportMixin, Tasks, with_callbacks
from fastbp.estimators._constraints import CONSTRAINTS
from fastbp.estimators._features import as_features, checked_features
from fastbp.estimators._network import draw_parameters, hidden_widths, layers_of
from fastbp.estimators._optimizers import refuse_idle_settings
from fastbp.estimators._predictor import Predictor
from fastbp.estimators._validation_set import Validation, hold_out, validation_of
from fastbp.model import Model

# what is None without validation data, and what it starts with
_VALIDATION_CURVES: dict[str, Callable[[], Any]] = {
    "validation_scores_": list,
    "validation_loss_curve_": list,
    "best_validation_score_": lambda: -np.inf,
}
_CURVES: dict[str, Callable[[], Any]] = {"loss_curve_": list} | _VALIDATION_CURVES


class BaseMLP(CallbackSupportMixin, Predictor):
    """Base of the classifier and the regressor."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = CONSTRAINTS
    best_loss_: float | None

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
            ensure_all_finite=False,
            reset=reset,
            **options,
        )
        X = checked_features(X, "X", self._dtype_of_model(X.dtype, reset))
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        return X, y

    @fits_alone
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
            Data that is scored after each epoch, or iteration of lbfgs, and that early stopping
            goes by, in place of a part of the training data.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            A parameter or the data is not as it should be.
        DivergenceError
            Training stopped being finite; `coefs_` are the last finite ones. With
            ``on_divergence="stop"`` it ends with a warning instead.
        RuntimeError
            This estimator is being fitted already, by a thread or the fit that calls a callback.
        """
        return self._fit(X, y, sample_weight, validation_data, incremental=False)

    def _fit(
        self, X: Any, y: Any, sample_weight: Any, validation_data: Any, incremental: bool
    ) -> Self:
        if self.early_stopping and incremental:
            raise ValueError("partial_fit does not support early_stopping=True")
        refuse_idle_settings(self)
        hooks = own_callbacks(self)
        widths = hidden_widths(self.hidden_layer_sizes)
        first = not hasattr(self, "coefs_") or not (self.warm_start or incremental)
        if not first:
            self._bind(self._bound_model())
            self._refuse_other_network(widths)
        given = {"X": X, "y": y}
        X, y = self._validate_input(X, y, incremental, reset=first)
        if sample_weight is not None:
            weight = _check_sample_weight(sample_weight, X)
            dtype = self._dtype_of_model(X.dtype, first)
            sample_weight = as_weights(weight, "sample_weight", X.shape[0], dtype)
        self._random_state = check_random_state(self.random_state)
        if first:
            self._initialize([X.shape[1], *widths], y, X.dtype)
        model = self._bound_model()
        self._refuse_other_widths(model, self._output(y)[0])
        held = None if validation_data is None else validation_of(self, validation_data)
        if getattr(self, "_skl_callbacks", None):
            metadata = None if sample_weight is None else {"sample_weight": sample_weight}
            hooks.insert(0, Tasks(self, given | {"metadata": metadata}))
        with fitting_alone(model):
            if self.solver == "lbfgs":
                self._minimize(model, X, y, sample_weight, held, hooks)
            else:
                self._train(model, X, y, sample_weight, held, incremental, hooks)
        return self

    def _refuse_other_network(self, widths: list[int]) -> None:
        """Refuse parameters that the weights to go on with were not made by."""
        model = self._bound_model()
        there = [layer.n_out for layer in model.layers[:-1]]
        hint = "set it back, or fit anew without warm_start"
        if widths != there:
            expected = f"{short(there)}, the layers to go on with"
            raise ValueError(explain("hidden_layer_sizes", expected, short(widths), hint))
        dtype = model.dtype if self.dtype is None else as_dtype(self.dtype)
        if dtype != model.dtype:
            expected = f"{model.dtype} or None, for weights to go on with"
            raise ValueError(explain("dtype", expected, f"{dtype}", hint))

    def _minimize(
        self,
        model: Model,
        X: Any,
        y: Any,
        sample_weight: Float64 | None,
        held: Validation | None,
        hooks: list[Callback],
    ) -> None:
        if any(layer.dropout for layer in model.layers):
            raise ValueError("dropout: solver='lbfgs' needs a loss that does not change; set 0")
        samples = self._samples(X, y, self._weights(y, sample_weight))
        if held is not None:
            self._begin_curves(_VALIDATION_CURVES, validates=True)
        _lbfgs.minimize(self, model, samples, held, hooks)

    def _train(
        self,
        model: Model,
        X: Any,
        y: Any,
        sample_weight: Float64 | None,
        held: Validation | None,
        incremental: bool,
        hooks: list[Callback],
    ) -> None:
        earlier: _stochastic.Solver | None = self.__dict__.get("_optimizer")
        if not incremental or earlier is None or not earlier.goes_on(model):
            self._optimizer = _stochastic.Solver.start(self, model)
        if self.early_stopping and held is None:
            X, y, sample_weight, held = hold_out(self, X, y, sample_weight)
        self._begin_curves(_CURVES, validates=held is not None)
        if not self.early_stopping and getattr(self, "best_loss_", None) is None:
            self.best_loss_ = np.inf
        if not hasattr(self, "_no_improvement_count"):
            self._no_improvement_count = 0
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
        own = self._dtype_of_model(dtype, first=True)
        model = Model._blank(layers, self._loss(own), own)
        draw_parameters(model, self._random_state, dtype if self.dtype is None else own)
        self.n_outputs_ = n_outputs
        self._bind(model)
        self.n_iter_ = self.t_ = 0
        self.n_layers_ = len(model.layers) + 1
        self._best_parameters = model.parameters.copy()
        self._forget_curves()

    def _dtype_of_model(self, dtype: np.dtype[Any], first: bool) -> np.dtype[Any]:
        """Return that of the weights that are there or, in a first fit, to come, given X's."""
        if not first:
            return self._bound_model().dtype
        if self.dtype is not None:
            return as_dtype(self.dtype)
        # SciPy's driver is float64 throughout, and so are its steps; as in scikit-learn
        return np.dtype(np.float64) if self.solver == "lbfgs" else dtype

    def _forget_curves(self) -> None:
        for name in (*_CURVES, "loss_", "best_loss_", "_no_improvement_count"):
            self.__dict__.pop(name, None)
        if self.solver != "lbfgs":
            self.best_loss_ = None

    def _begin_curves(self, curves: dict[str, Callable[[], Any]], validates: bool) -> None:
        """Make room for what this fit records and an earlier one, or another solver, did not."""
        for name in [name for name in curves if getattr(self, name, None) is None]:
            wanted = validates or name not in _VALIDATION_CURVES
            setattr(self, name, curves[name]() if wanted else None)

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
