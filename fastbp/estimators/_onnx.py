"""Converters for skl2onnx: fitted estimators as ONNX operators.

All is computed in the type of the input, float64 or else float32, as skl2onnx's own converters do.
Sums and exponentials are spelt out where ONNX has an operator for an activation: onnxruntime has
those operators for float32 only.
"""

from collections.abc import Callable
from math import sqrt
from typing import Any

import numpy as np
from skl2onnx import update_registered_converter
from skl2onnx.algebra import onnx_ops
from skl2onnx.common.data_types import DoubleTensorType
from skl2onnx.common.shape_calculator import (
    calculate_linear_classifier_output_shapes,
    calculate_linear_regressor_output_shapes,
)
from skl2onnx.common.utils_classifier import get_label_classes
from skl2onnx.proto import onnx_proto
from sklearn.utils.validation import check_is_fitted

from fastbp._reference import SELU_ALPHA, SELU_SCALE
from fastbp._validation import Array
from fastbp.estimators._classifier import MLPClassifier
from fastbp.estimators._mlp import BaseMLP
from fastbp.estimators._regressor import MLPRegressor

_CLASSIFIER_OPTIONS = {
    "zipmap": [True, False, "columns"],
    "output_class_labels": [False, True],
    "nocl": [True, False],
}
# what skl2onnx itself puts behind a last step
_LAST = ("SklearnZipMap", "SklearnZipMapColumns", "SklearnIdentity", "SklearnCast")

Node = Any  # an operator's output; skl2onnx has no types


def register() -> None:
    """Make both estimators known to skl2onnx."""
    update_registered_converter(
        MLPClassifier,
        "FastbpMLPClassifier",
        _set_classifier_shapes,
        _convert_classifier,
        options=_CLASSIFIER_OPTIONS,
    )
    update_registered_converter(
        MLPRegressor, "FastbpMLPRegressor", _set_regressor_shapes, _convert_regressor
    )


# ------------------------------------------------------------------------- operators of one dtype


class Operators:
    """Makes ONNX operators of one version, on numbers of one dtype."""

    def __init__(self, opset: int, dtype: np.dtype[Any]) -> None:
        self._opset = opset
        self.dtype = dtype

    def __call__(self, kind: str, *inputs: Any, **attributes: Any) -> Node:
        """Return the operator of that name; inputs may be plain numbers."""
        nodes = [np.array([i], self.dtype) if isinstance(i, float) else i for i in inputs]
        return getattr(onnx_ops, f"Onnx{kind}")(*nodes, op_version=self._opset, **attributes)

    def cast(self, x: Any, dtype: np.dtype[Any]) -> Node:
        """Return x as another float type."""
        double = dtype == np.float64
        proto = onnx_proto.TensorProto.DOUBLE if double else onnx_proto.TensorProto.FLOAT
        return self("Cast", x, to=proto)


def _leaky_relu(op: Operators, z: Node, alpha: float) -> Node:
    return op("Sub", op("Relu", z), op("Mul", op("Relu", op("Neg", z)), alpha))


def _elu(op: Operators, z: Node, alpha: float) -> Node:
    below = op("Sub", op("Exp", op("Neg", op("Relu", op("Neg", z)))), 1.0)
    return op("Add", op("Relu", z), op("Mul", below, alpha))


def _softplus(op: Operators, z: Node) -> Node:
    tail = op("Exp", op("Neg", op("Abs", z)))
    return op("Add", op("Relu", z), op("Log", op("Add", tail, 1.0)))


def _gelu(op: Operators, z: Node) -> Node:
    """Return z times the normal distribution, whose erf onnxruntime has for float32 only."""
    erf = op("Erf", op.cast(op("Mul", z, sqrt(0.5)), np.dtype(np.float32)))
    return op("Mul", z, op("Mul", op("Add", op.cast(erf, op.dtype), 1.0), 0.5))


ACTIVATIONS: dict[str, Callable[[Operators, Node, float], Node]] = {
    "identity": lambda op, z, _: z,
    "relu": lambda op, z, _: op("Relu", z),
    "leaky_relu": _leaky_relu,
    "elu": _elu,
    "selu": lambda op, z, _: op("Mul", _elu(op, z, float(SELU_ALPHA)), float(SELU_SCALE)),
    "sigmoid": lambda op, z, _: op("Sigmoid", z),
    "tanh": lambda op, z, _: op("Tanh", z),
    "softsign": lambda op, z, _: op("Div", z, op("Add", op("Abs", z), 1.0)),
    "softplus": lambda op, z, _: _softplus(op, z),
    "gelu": lambda op, z, _: _gelu(op, z),
    "silu": lambda op, z, _: op("Mul", z, op("Sigmoid", z)),
    "mish": lambda op, z, _: op("Mul", z, op("Tanh", _softplus(op, z))),
}
LINKS: dict[str, Callable[[Operators, Node], Node]] = {
    "identity": lambda op, z: z,
    "exp": lambda op, z: op("Exp", z),
    "logistic": lambda op, z: op("Sigmoid", z),
    "softmax": lambda op, z: op("Softmax", z, axis=1),
}


# --------------------------------------------------------------------------------- the estimators


def _operators(operator: Any, container: Any) -> Operators:
    double = isinstance(operator.inputs[0].type, DoubleTensorType)
    return Operators(container.target_opset, np.dtype(np.float64 if double else np.float32))


def _outputs(op: Operators, estimator: BaseMLP, x: Any) -> Node:
    """Return the network's outputs: probabilities, rates or values (N, n_outputs)."""
    model = estimator._bound_model()
    node = op.cast(x, op.dtype)
    for layer, w, b in zip(model.layers, model.weights, model.biases, strict=True):
        z = op("Add", op("MatMul", node, w.astype(op.dtype)), b.astype(op.dtype))
        node = ACTIVATIONS[layer.activation.name](op, z, layer.activation.alpha)
    return LINKS[estimator.out_activation_](op, node)


def _convert_regressor(scope: Any, operator: Any, container: Any) -> None:
    op = _operators(operator, container)
    predicted = _outputs(op, operator.raw_operator, operator.inputs[0])
    op("Identity", predicted, output_names=operator.outputs).add_to(scope, container)


def _convert_classifier(scope: Any, operator: Any, container: Any) -> None:
    op, estimator = _operators(operator, container), operator.raw_operator
    probabilities = _outputs(op, estimator, operator.inputs[0])
    if estimator.n_outputs_ == 1:
        other = op("Sub", 1.0, probabilities)
        probabilities = op("Concat", other, probabilities, axis=1)
    labels, said = operator.outputs
    if _is_multilabel(estimator):
        above = op("Greater", probabilities, 0.5)
        label = op("Cast", above, to=onnx_proto.TensorProto.INT64, output_names=[labels])
    else:
        best = op("ArgMax", probabilities, axis=1, keepdims=0)
        classes = _class_labels(get_label_classes(scope, estimator))
        label = op("Gather", classes, best, output_names=[labels])
    label.add_to(scope, container)
    op("Identity", probabilities, output_names=[said]).add_to(scope, container)


def _class_labels(classes: Array) -> Array:
    """Return the label of each column of probabilities, of which there are two at least."""
    if classes.dtype.kind in "biuf":
        classes = classes.astype(np.int64)
    return np.resize(classes, max(len(classes), 2))


def _is_multilabel(estimator: MLPClassifier) -> bool:
    return bool(estimator._label_binarizer.y_type_ == "multilabel-indicator")


def _set_regressor_shapes(operator: Any) -> None:
    """Declare (N, n_outputs), with one output too, as skl2onnx does for all regressors."""
    check_is_fitted(operator.raw_operator)
    _refuse_features(operator)
    calculate_linear_regressor_output_shapes(operator)
    operator.outputs[0].type.shape[1] = operator.raw_operator.n_outputs_


def _set_classifier_shapes(operator: Any) -> None:
    _refuse_features(operator)
    calculate_linear_classifier_output_shapes(operator)
    label, probabilities = (output.type for output in operator.outputs)
    probabilities.shape[1] = max(operator.raw_operator.n_outputs_, 2)
    if _is_multilabel(operator.raw_operator):
        label.shape = probabilities.shape


def _refuse_features(operator: Any) -> None:
    """Refuse a network that gives features to another step: skl2onnx would hand predictions on."""
    given = {output.full_name for output in operator.outputs}
    for other in operator.scope_inst.operators.values():  # in the order of the data
        if given.isdisjoint(i.full_name for i in other.inputs):
            continue
        if other.type not in _LAST:
            raise NotImplementedError(
                f"{type(operator.raw_operator).__name__} can be converted as the last step of a "
                "pipeline, not as one that gives features to others"
            )
        given.update(output.full_name for output in other.outputs)
