"""The model behind `coefs_`, and what it says of X."""

import os
from abc import ABC, abstractmethod
from operator import is_not
from threading import Lock
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from fastbp import _engine
from fastbp._fitting import is_being_fitted
from fastbp._validation import Array, Float64, as_integer, explain, first_nonfinite
from fastbp.estimators._derivatives import hidden_activations, input_jacobian
from fastbp.estimators._features import as_features, validated_features
from fastbp.estimators._network import model_of
from fastbp.losses import Loss
from fastbp.model import Model

_BINDING = Lock()  # for a few instructions only, so one is enough


def _free_in_child() -> None:
    """Give a child of a fork its own lock: a thread of the parent may have held the other."""
    global _BINDING  # noqa: PLW0603 -- a lock cannot be set free by another than its holder
    _BINDING = Lock()


os.register_at_fork(after_in_child=_free_in_child)


class Predictor(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator, ABC):
    """A fitted estimator: its network's outputs, hidden activations and derivatives."""

    @abstractmethod
    def _loss(self, dtype: np.dtype[Any]) -> Loss:
        """Return the loss for the fitted `out_activation_`."""

    # -------------------------------------------------------------------------------- the model

    def _bind(self, model: Model, made_from: tuple[Any, Any] | None = None) -> None:
        """Make `coefs_` and `intercepts_` views of the model's parameters, all at once.

        Another thread may predict meanwhile, and must not take the half of it for weights that the
        caller has put there. What a prediction has made from these two lists is not bound if they
        are no longer there, or during a fit, which has a model of its own.
        """
        with _BINDING:
            if made_from is not None:
                there = (self.coefs_, self.intercepts_)
                if is_being_fitted(self) or any(map(is_not, there, made_from)):
                    return
            self.__dict__.update(
                _model=model,
                _model_settings=(self.activation, self.dropout),
                coefs_=list(model.weights),
                intercepts_=list(model.biases),
            )

    def _bound_model(self) -> Model:
        """Return the model behind `coefs_`, made anew if it is not up to date."""
        now = self.__dict__.copy()
        model: Model | None = now.get("_model")
        coefs, intercepts = now["coefs_"], now["intercepts_"]
        if (
            model is None
            or now["_model_settings"][0] is not self.activation
            or now["_model_settings"][1] is not self.dropout
            or len(coefs) != len(model.weights)
            or len(intercepts) != len(model.biases)
            or any(a is not b for a, b in zip(coefs, model.weights, strict=True))
            or any(a is not b for a, b in zip(intercepts, model.biases, strict=True))
        ):
            model = model_of(coefs, intercepts, self.activation, self.dropout, self._loss)
            self._bind(model, made_from=(coefs, intercepts))
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
        if self._is_plain(X, model) and first_nonfinite(X, model.dtype) is None:
            return model, X
        X = validated_features(self, X, "X", model.dtype)
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
