"""fastbp's estimators against scikit-learn's, with the same parameters, data and seed.

``python benchmarks/sklearn_dropin.py`` fits both in turn, round after round, each round beginning
with the other one; medians of the rounds, scikit-learn's time over fastbp's. Beside each stand the
scores on data held out, so that nobody computes less. letters and mnist need ``--data FOLDER`` with
``LetterRecognition.csv.gz`` (16 features and the letter in the column ``lettr``) and the folder
``mnist`` of its four IDX files.
"""

import csv
import gzip
import logging
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse
import sklearn.neural_network as theirs
from command import parser, save
from rivals.machine import description
from sklearn.datasets import load_digits, make_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, train_test_split

import fastbp

logger = logging.getLogger(__name__)
PAIR = (theirs.MLPClassifier, fastbp.MLPClassifier)
DTYPES = ("float32", "float64")


Timed = Callable[[type], tuple[float, float]]


class Case(NamedTuple):
    """What is timed: a call that gets an estimator's class and returns seconds and a score."""

    name: str
    rounds: int
    timed: Timed


class Data(NamedTuple):
    """Features and labels to train on and to score."""

    X: Any
    held: Any
    y: Any
    held_y: Any


def split(X: Any, y: Any, dtype: str) -> Data:
    return Data(*train_test_split(X.astype(dtype), y, test_size=0.2, random_state=0))


def letters(folder: Path) -> tuple[Any, Any]:
    with gzip.open(folder / "LetterRecognition.csv.gz", "rt", newline="") as file:
        rows = list(csv.DictReader(file))
    y = np.array([row.pop("lettr") for row in rows])
    return np.array([[float(value) for value in row.values()] for row in rows]), y


def fit(data: Data, **parameters: Any) -> Timed:
    def timed(kind: type) -> tuple[float, float]:
        estimator = kind(random_state=0, **parameters)
        begun = time.perf_counter()
        estimator.fit(data.X, data.y)
        seconds = time.perf_counter() - begun
        return seconds, estimator.score(data.held, data.held_y)

    return timed


def grid(data: Data) -> Timed:
    def timed(kind: type) -> tuple[float, float]:
        candidates = {
            "alpha": [1e-4, 1e-3, 1e-2, 1e-1],
            "hidden_layer_sizes": [(50,), (100,)],
            "learning_rate_init": [1e-3, 3e-3, 1e-2],
        }
        search = GridSearchCV(kind(random_state=0, max_iter=100), candidates, cv=3, n_jobs=2)
        begun = time.perf_counter()
        search.fit(data.X, data.y)
        seconds = time.perf_counter() - begun
        return seconds, search.score(data.held, data.held_y)

    return timed


def one_row(data: Data, calls: int = 300) -> Timed:
    fitted = {kind: kind(random_state=0, max_iter=20).fit(data.X, data.y) for kind in PAIR}
    row = data.held[:1].copy()

    def timed(kind: type) -> tuple[float, float]:
        times, predict = [], fitted[kind].predict
        for _ in range(calls):
            begun = time.perf_counter()
            predict(row)
            times.append(time.perf_counter() - begun)
        return median(times), fitted[kind].score(data.held, data.held_y)

    return timed


def cases(folder: Path | None, rounds: int) -> Iterator[Case]:
    """Yield the cases; those of large data once or twice only."""
    digits, small = load_digits(return_X_y=True), make_classification(1000, 20, random_state=0)
    for dtype in DTYPES:
        yield Case(f"fit digits {dtype}", rounds, fit(split(*digits, dtype)))
        yield Case(f"fit 1,000 x 20 {dtype}", rounds, fit(split(*small, dtype)))
    yield Case("predict one row", rounds, one_row(split(*digits, "float64")))
    X = scipy.sparse.random(4000, 10000, 0.01, random_state=0, format="csr")
    y = (X @ np.random.default_rng(0).normal(size=10000) > 0).astype(int)
    for dtype in DTYPES:
        data = split(X, y, dtype)
        yield Case(f"fit CSR 1 % of 10,000 {dtype}", rounds, fit(data, max_iter=10))
    yield Case("GridSearchCV, 24 candidates", min(rounds, 3), grid(split(*small, "float64")))
    if folder is None:
        logger.info("letters and mnist are left out: --data FOLDER")
        return
    X, y = letters(folder)
    for dtype in DTYPES:
        yield Case(f"fit letters {dtype}", min(rounds, 2), fit(split(X, y, dtype)))
    (X, y), (held, held_y) = fastbp.datasets.load_mnist(folder / "mnist")
    for dtype in DTYPES:
        data = Data(X.astype(dtype), held.astype(dtype), y, held_y)
        yield Case(f"fit mnist {dtype}", 1, fit(data, max_iter=20))


def measure(case: Case) -> dict[str, Any]:
    """Time both, in turn."""
    times: dict[type, list[float]] = {kind: [] for kind in PAIR}
    scores = {}
    for number in range(case.rounds):
        for kind in PAIR if number % 2 else PAIR[::-1]:
            seconds, scores[kind] = case.timed(kind)
            times[kind].append(seconds)
    medians = [median(times[kind]) for kind in PAIR]
    return {
        "case": case.name,
        "scikit-learn": medians[0],
        "fastbp": medians[1],
        "ratio": medians[0] / medians[1],
        "scores": [scores[kind] for kind in PAIR],
        "rounds": case.rounds,
    }


def main() -> None:
    options = parser(__doc__, seconds=0.0)
    options.add_argument("--data", type=Path, metavar="FOLDER", help="for letters and mnist")
    options.add_argument("--only", metavar="TEXT", default="", help="cases whose name has it")
    given = options.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    warnings.simplefilter("ignore", ConvergenceWarning)
    run: dict[str, Any] = {"machine": description(), "cases": []}
    logger.info("%-32s %12s %12s %7s  scores (theirs, ours)", "", "scikit-learn", "fastbp", "ratio")
    for case in cases(given.data, given.rounds):
        if given.only not in case.name:
            continue
        result = measure(case)
        run["cases"].append(result)
        save(run, given)
        logger.info(
            "%-32s %10.4f s %10.6f s %6.1fx  %.4f %.4f",
            *(result[key] for key in ("case", "scikit-learn", "fastbp", "ratio")),
            *result["scores"],
        )


if __name__ == "__main__":
    main()
