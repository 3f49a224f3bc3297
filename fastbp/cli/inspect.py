"""``fastbp inspect``: what a model file holds."""

from fastbp._preprocessing import Category, Classes, Constant, Feature, Preprocessing
from fastbp._tables import quoted
from fastbp.cli.report import say, show_facts, show_table
from fastbp.cli.trained import load_trained

_MOST_SHOWN = 20


def inspect(path: str) -> None:
    """Print a model's layers, the columns it reads, its target and how it was trained."""
    trained = load_trained(path)
    for line in trained.model.summary().splitlines():
        say(line)
    if trained.preprocessing is None:
        say("No preprocessing: the model was not written by fastbp train.")
        return
    _show_columns(trained.preprocessing)
    show_facts(trained.facts)


def _show_columns(preprocessing: Preprocessing) -> None:
    features = preprocessing.features
    rows = [(feature.name, feature.kind, _details(feature)) for feature in features[:_MOST_SHOWN]]
    if len(features) > _MOST_SHOWN:
        rows.append(("...", "", f"and {len(features) - _MOST_SHOWN} more"))
    target = preprocessing.target
    if isinstance(target, Classes):
        rows.append((target.name, "target", _some(target.classes)))
    else:
        rows.append((target.name, "target", f"mean {target.mean:.6g}, sd {target.scale:.6g}"))
    show_table(("column", "kind", "details"), rows)


def _details(feature: Feature) -> str:
    if isinstance(feature, Category):
        return _some(feature.categories)
    if isinstance(feature, Constant):
        return "left out"
    return f"mean {feature.mean:.6g}, sd {feature.scale:.6g}"


def _some(texts: tuple[str, ...]) -> str:
    shown = ", ".join(map(quoted, texts[:_MOST_SHOWN]))
    return f"{len(texts)}: {shown}" + (", ..." if len(texts) > _MOST_SHOWN else "")
