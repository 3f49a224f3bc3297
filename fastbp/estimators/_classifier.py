"""`MLPClassifier`."""

from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.metrics import accuracy_score
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import (
    _check_partial_fit_first_call,
    type_of_target,
    unique_labels,
)

from fastbp._fitting import fits_alone
from fastbp._validation import Array, Float64, as_weights
from fastbp.estimators._callbacks import with_callbacks
from fastbp.estimators._constraints import CLASS_WEIGHT, CONSTRAINTS, store
from fastbp.estimators._mlp import BaseMLP
from fastbp.estimators._network import CappedCrossEntropy
from fastbp.losses import Loss


def _balanced(y: Array, sample_weight: Float64 | None) -> Float64:
    """Return for each sample the total weight over its class's, as if all classes had the same.

    Of several outputs the product. A sample of weight 3 counts like three samples.
    """
    product = np.ones(len(y))
    for column in y.reshape(len(y), -1).T:
        index = np.unique(column, return_inverse=True)[1]
        totals = np.bincount(index, sample_weight)
        shares = (totals > 0).sum() * totals[index]
        product *= np.divide(totals.sum(), shares, out=np.zeros(len(y)), where=shares > 0)
    return product


class MLPClassifier(ClassifierMixin, BaseMLP):
    r"""scikit-learn's multi-layer perceptron classifier: same parameters, same results, sooner.

    Parameters
    ----------
    hidden_layer_sizes, activation, solver, alpha, batch_size, learning_rate, learning_rate_init, \
    power_t, max_iter, shuffle, random_state, tol, verbose, warm_start, momentum, \
    nesterovs_momentum, early_stopping, validation_fraction, beta_1, beta_2, epsilon, \
    n_iter_no_change, max_fun
        As in scikit-learn, with these additions.

        ``activation``: all of fastbp's, by name or as a spec, or a list with one for each hidden
        layer. ``solver``: also ``"adamw"``, ``"rmsprop"``, ``"adagrad"`` or an `Optimizer`, which
        has settings of its own (those here stay at their defaults). ``learning_rate``: also a
        `Schedule`, for any stochastic solver. ``verbose="bar"`` shows a progress bar.
    class_weight : dict, "balanced" or None
        What the weights of samples are multiplied by, as elsewhere in scikit-learn; "balanced"
        goes by the weight of each class.
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
    classes_ : ndarray, or list of ndarray
        The labels of `y`.
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = CONSTRAINTS | {
        "class_weight": CLASS_WEIGHT
    }

    def __init__(
        self,
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
        class_weight: Any = None,
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

    # ------------------------------------------------------------------------------------ targets

    def _validate_input(self, X: Any, y: Any, incremental: bool, reset: bool) -> tuple[Any, Any]:
        X, y = self._validated(X, y, reset)
        if not hasattr(self, "classes_") or not (self.warm_start or incremental):
            self._label_binarizer = LabelBinarizer().fit(y)
            self.classes_ = self._label_binarizer.classes_
        else:
            self._refuse_other_classes(unique_labels(y))
        return X, self._encode(y)

    def _refuse_other_classes(self, classes: Array) -> None:
        if self.warm_start:
            if set(classes) != set(self.classes_):
                raise ValueError(
                    "warm_start can only be used where `y` has the same classes as in the "
                    f"previous call to fit. Previously got {self.classes_}, `y` has {classes}"
                )
        elif len(np.setdiff1d(classes, self.classes_, assume_unique=True)):
            raise ValueError(
                "`y` has classes not in `self.classes_`. "
                f"`self.classes_` has {self.classes_}. 'y' has {classes}."
            )

    def _refuse_unknown(self, y: Array) -> None:
        unknown = np.setdiff1d(unique_labels(y), self.classes_)
        if len(unknown) or (y.ndim == 2) != (self._label_binarizer.y_type_[:10] == "multilabel"):
            raise ValueError(
                f"y has classes, or a kind of labels, that training has not: {self.classes_} are "
                f"known, got {unique_labels(y)}"
            )

    @property
    def _is_multiclass(self) -> bool:
        return bool(self._label_binarizer.y_type_ == "multiclass")

    def _encode(self, y: Array) -> Array:
        """Return the class of each sample (n,), or a decision for each output (n, n_outputs)."""
        if self._is_multiclass:
            return np.searchsorted(self.classes_, y).astype(np.int32)
        decisions: Array = self._label_binarizer.transform(y).astype(bool)
        return decisions

    def _true(self, y: Array) -> Array:
        """Return what `_encode` was given."""
        if self._is_multiclass:
            return np.asarray(self.classes_[y])
        return np.asarray(self._label_binarizer.inverse_transform(y))

    def _decode(self, outputs: Array) -> Array:
        """Return the classes that the network's outputs say."""
        if self._is_multiclass:
            return np.asarray(self.classes_[outputs.argmax(axis=1)])
        if outputs.shape[1] == 1:
            outputs = outputs.ravel()
        classes: Array = self._label_binarizer.inverse_transform(outputs)
        return classes

    def _targets(self, y: Array, dtype: np.dtype[Any]) -> Array:
        return y if self._is_multiclass else np.ascontiguousarray(y, dtype)

    def _weights(self, y: Array, sample_weight: Float64 | None) -> Float64 | None:
        if self.class_weight is None:
            return sample_weight
        of_class: Float64
        if self.class_weight == "balanced":
            of_class = _balanced(y, sample_weight)
        else:
            of_class = compute_sample_weight(self.class_weight, self._true(y))
        weight = of_class if sample_weight is None else of_class * sample_weight
        return as_weights(weight, "class_weight times sample_weight", len(y), self._model.dtype)

    def _output(self, y: Array) -> tuple[int, str]:
        if self._is_multiclass:
            return len(self.classes_), "softmax"
        return y.shape[1], "logistic"

    def _loss(self, dtype: np.dtype[Any]) -> Loss:
        multiclass = self.out_activation_ == "softmax"
        name = "softmax_cross_entropy" if multiclass else "binary_cross_entropy"
        return CappedCrossEntropy.for_dtype(name, dtype)

    def _stratify(self, y: Array) -> Array | None:
        return y if y.ndim == 2 and y.shape[1] == 1 else None

    def _score_outputs(self, y: Array, outputs: Array, sample_weight: Float64 | None) -> float:
        true, said = self._true(y), self._decode(outputs)
        return float(accuracy_score(true, said, sample_weight=sample_weight))

    # ------------------------------------------------------------------------- fit and prediction

    @available_if(lambda estimator: estimator._check_solver())
    @fits_alone
    @_fit_context(prefer_skip_nested_validation=True)
    @with_callbacks
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> Self:
        """Train for one epoch; the optimizer goes on from where it was.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array-like of shape (n_samples,), optional
        classes : array-like of shape (n_classes,), optional
            All classes of all calls, which the first call needs.

        Returns
        -------
        self
        """
        if _check_partial_fit_first_call(self, classes):
            multilabel = type_of_target(y).startswith("multilabel")
            self._label_binarizer = LabelBinarizer().fit(y if multilabel else classes)
        return self._fit(X, y, sample_weight, None, incremental=True)

    def predict(self, X: Any) -> Array:
        """Return the most probable class of each sample, or each label above 0.5.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_classes)
        """
        return self._decode(self._outputs(X))

    def predict_proba(self, X: Any) -> Array:
        """Return the probability of each class, in the order of `classes_`.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
        """
        outputs = self._outputs(X)
        if outputs.shape[1] == 1:
            return np.hstack([1 - outputs, outputs])
        return outputs

    def predict_log_proba(self, X: Any) -> Array:
        """Return the logarithms of `predict_proba`."""
        probabilities = self.predict_proba(X)
        return np.log(probabilities, out=probabilities)

    def __sklearn_tags__(self) -> Any:
        """Return what this estimator can do."""
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags
