"""A model in words: the call that makes it, and a table of its layers."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastbp.layers import ACTIVATIONS, Dense
from fastbp.losses import Loss


def constructor(layers: Sequence[Dense], loss: Loss, dtype: np.dtype[Any]) -> str:
    """Return the call that makes a model like this one, in its shortest form."""
    hidden = {layer.activation for layer in layers[:-1]}
    starts = {layer.initializer for layer in layers}
    options = {"loss": loss.brief()}
    first: Sequence[int | Dense] = layers
    alike = len(hidden) <= 1 == len(starts) and not any(layer.dropout for layer in layers)
    if alike and layers[-1].activation == ACTIVATIONS["identity"]:
        first = [layers[0].n_in, *(layer.n_out for layer in layers)]
        options.update(("activation", activation.brief()) for activation in hidden)
        options.update(("initializer", repr(start)) for start in starts if start is not None)
    options["dtype"] = repr(dtype.name)
    listed = ", ".join(map(repr, first))
    return f"Model([{listed}], {', '.join(f'{key}={text}' for key, text in options.items())})"


def table(layers: Sequence[Dense], loss: Loss, dtype: np.dtype[Any]) -> str:
    """Return a table of the layers with their sizes, and the totals."""
    total = sum(layer.n_parameters for layer in layers)
    size = f"{dtype.name}, {total * dtype.itemsize / 1024:,.1f} KiB"
    rows = [("layer", "inputs x outputs", "activation", "parameters")]
    rows += [
        (f"{i}", f"{k.n_in} x {k.n_out}", _activation(k), f"{k.n_parameters:,}")
        for i, k in enumerate(layers)
    ]
    rows += [("total", "", size, f"{total:,}")]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows
    ]
    rule = "-" * len(lines[0])
    loss_text = loss.brief().strip("'")
    return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1], f"loss: {loss_text}"])


def _activation(layer: Dense) -> str:
    name = layer.activation.brief().strip("'")
    return f"{name}, dropout {layer.dropout:g}" if layer.dropout else name
