"""Exceptions of fastbp's own; everything else is a built-in `ValueError` or `TypeError`."""


class DivergenceError(FloatingPointError, ValueError):
    """The loss or a parameter stopped being finite.

    The model keeps the last finite values of its parameters and of the optimizer's moments.

    Attributes
    ----------
    where : str
        What it was, and when.
    """

    where: str = ""


class ModelFormatError(ValueError):
    """A file is not a fastbp model, or is damaged."""


class CheckpointError(ModelFormatError):
    """A file is not a checkpoint, or not one that this fit can go on from."""
