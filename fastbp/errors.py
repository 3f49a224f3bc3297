"""Exceptions of fastbp's own; everything else is a built-in `ValueError` or `TypeError`."""


class DivergenceError(FloatingPointError, ValueError):
    """The loss or a parameter stopped being finite; the model keeps its last finite values."""


class ModelFormatError(ValueError):
    """A file is not a fastbp model, or is damaged."""
