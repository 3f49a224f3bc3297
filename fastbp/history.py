"""What each epoch of a fit gave."""

from collections.abc import Iterable
from typing import Any


class History:
    """Figures of the finished epochs of one fit, in order.

    Parameters
    ----------
    columns : iterable of str
        Names of the figures of each epoch, such as ``loss``, ``val_loss``, ``val_accuracy``.
    """

    def __init__(self, columns: Iterable[str]) -> None:
        self._columns: dict[str, list[float]] = {name: [] for name in (*columns, "seconds")}

    def append(self, figures: dict[str, float]) -> None:
        """Add an epoch; ``figures`` has every column."""
        for name, values in self._columns.items():
            values.append(figures[name])

    def __len__(self) -> int:
        """Return how many epochs are finished."""
        return len(self.seconds)

    def __getitem__(self, name: str) -> list[float]:
        """Return a column; KeyError if this fit does not record it."""
        return self._columns[name]

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the figures that this fit records."""
        return tuple(self._columns)

    @property
    def epochs(self) -> list[int]:
        """Numbers of the finished epochs, from 1."""
        return list(range(1, len(self) + 1))

    @property
    def loss(self) -> list[float]:
        """Mean training loss: each minibatch's before its update, without penalties."""
        return self._columns["loss"]

    @property
    def val_loss(self) -> list[float]:
        """Mean loss of the validation data after each epoch; empty without such data."""
        return self._columns.get("val_loss", [])

    @property
    def metrics(self) -> dict[str, list[float]]:
        """The other figures of the validation data: ``val_accuracy`` or ``val_r2``."""
        others = ("loss", "val_loss", "seconds")
        return {name: values for name, values in self._columns.items() if name not in others}

    @property
    def seconds(self) -> list[float]:
        """Duration of each epoch, validation included."""
        return self._columns["seconds"]

    def last(self) -> dict[str, float]:
        """Return the figures of the last epoch; empty if none is finished."""
        return {name: values[-1] for name, values in self._columns.items() if values}

    def to_dict(self) -> dict[str, list[Any]]:
        """Return a copy as columns of equal length, ready for a data frame."""
        return {"epoch": self.epochs} | {name: list(v) for name, v in self._columns.items()}

    def plot(self, ax: Any = None) -> Any:
        """Draw losses (left axis) and metrics (right axis) over the epochs with matplotlib.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; a new figure if left out.

        Returns
        -------
        matplotlib.axes.Axes
        """
        if ax is None:
            ax = _new_axes()
        for name in ("loss", "val_loss"):
            if name in self._columns:
                ax.plot(self.epochs, self._columns[name], label=name)
        ax.set(xlabel="epoch", ylabel="mean loss")
        lines = ax.get_lines()
        if self.metrics:
            right = ax.twinx()
            for name, values in self.metrics.items():
                lines += right.plot(self.epochs, values, "C2--", label=name)
                right.set_ylabel(name)
        ax.legend(handles=lines, loc="center right")
        return ax

    def __repr__(self) -> str:
        """Return the figures of the last epoch in one line."""
        figures = {name: value for name, value in self.last().items() if name != "seconds"}
        text = "".join(f", {name}={value:.4g}" for name, value in figures.items())
        return f"<History: {len(self)} epochs, {sum(self.seconds):.3g} s{text}>"


def _new_axes() -> Any:
    try:
        from matplotlib import pyplot  # noqa: PLC0415 -- optional dependency
    except ImportError as error:
        raise ImportError("plot needs matplotlib: pip install 'fastbp[cli]'") from error
    return pyplot.subplots()[1]
