"""What layers, losses, optimizers and schedules have in common: frozen, checked descriptions."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from reprlib import repr as short
from typing import Annotated, Any, Self

from fastbp._validation import (
    explain,
    fraction,
    non_negative,
    open_fraction,
    positive,
    positive_integer,
)

Positive = Annotated[float, positive]
NonNegative = Annotated[float, non_negative]
Fraction = Annotated[float, fraction]
OpenFraction = Annotated[float, open_fraction]
PositiveInteger = Annotated[int, positive_integer]


def one_of(names: tuple[str, ...]) -> Callable[[object, str], str]:
    """Return a check that lets only these names pass."""

    def check(value: object, name: str) -> str:
        if isinstance(value, str) and value in names:
            return value
        error = ValueError if isinstance(value, str) else TypeError
        raise error(explain(name, f"one of {', '.join(map(repr, names))}", short(value)))

    return check


@dataclass(frozen=True)
class Spec:
    """A frozen dataclass that checks and converts each ``Annotated`` field when it is made."""

    def __post_init__(self) -> None:
        """Replace each field by what its checks return."""
        for field in fields(self):
            for check in getattr(field.type, "__metadata__", ()):
                object.__setattr__(self, field.name, check(getattr(self, field.name), field.name))


@dataclass(frozen=True)
class NamedSpec(Spec):
    """A spec that a model file can hold: a name, and parameters where the name has some."""

    name: str

    def to_config(self) -> dict[str, Any]:
        """Return the name and the parameters."""
        return {"name": self.name} | self._parameters()

    def with_config(self, config: dict[str, Any]) -> Self:
        """Return this spec with the parameters of ``config``, which must name them all."""
        given = {key: value for key, value in config.items() if key != "name"}
        if given.keys() != self._parameters().keys():
            expected, got = sorted(self._parameters()), sorted(given)
            raise ValueError(f"{self.name}: expected the parameters {expected}, got {got}")
        return replace(self, **given)

    def _parameters(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self) if f.init and f.name != "name"}

    def brief(self) -> str:
        """Return how a reader would write it: the bare name if that is all there is."""
        return repr(self) if self._parameters() else repr(self.name)
