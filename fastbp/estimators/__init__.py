"""scikit-learn's MLP, same parameters and same results, on fastbp's engine; and what it never got.

`MLPClassifier` and `MLPRegressor` take the place of those of ``sklearn.neural_network``. They need
the extra: ``pip install 'fastbp[sklearn]'``.
"""

try:
    import sklearn  # noqa: F401 -- a clear error if it is not there
except ImportError as error:
    raise ImportError(
        "fastbp's estimators need scikit-learn: pip install 'fastbp[sklearn]'"
    ) from error

from fastbp.estimators._classifier import MLPClassifier
from fastbp.estimators._conversion import from_sklearn, register_onnx_converters
from fastbp.estimators._regressor import MLPRegressor

__all__ = ["MLPClassifier", "MLPRegressor", "from_sklearn", "register_onnx_converters"]
