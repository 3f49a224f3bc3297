"""Script: what estimators do whose pickles were tampered with, each in a process of its own.

Prints, as JSON, for each case the outcome of each call, or the signal that ended the process.
"""

import json
import os
import pickle
import sys
import warnings

import numpy as np

from fastbp.estimators import MLPClassifier

X = np.random.default_rng(0).normal(size=(30, 4))
Y = np.arange(30) % 3


def attribute(name, change):
    return lambda e: setattr(e, name, change(getattr(e, name)))


def first(change):
    """A change of the first of a list of arrays."""
    return lambda arrays: [change(arrays[0]), *arrays[1:]]


def moment(name, change):
    return lambda e: setattr(e._optimizer.state, name, change(getattr(e._optimizer.state, name)))


def fewer_outputs(e):
    e.coefs_[-1], e.intercepts_[-1] = e.coefs_[-1][:, :2], e.intercepts_[-1][:2]


def wider(e):
    e.coefs_ = [np.zeros((4, 50000)), np.zeros((50000, 3))]
    e.intercepts_ = [np.zeros(50000), e.intercepts_[1]]


def other_precision(e):
    e.coefs_ = [c.astype(np.float32) for c in e.coefs_]
    e.intercepts_ = [c.astype(np.float32) for c in e.intercepts_]


BOTH = {
    "transposed": lambda arrays: [a.T[::2] for a in arrays],
    "one of two": lambda arrays: arrays[:1],
    "none": lambda _: [],
    "nan": first(lambda a: np.full_like(a, np.nan)),
    "inf": first(lambda a: np.full_like(a, np.inf)),
    "numbers": lambda arrays: [0.5] * len(arrays),
    "a row less": first(lambda a: a[:-1]),
    "no rows": first(lambda a: a[:0]),
    "an axis more": first(lambda a: a[None]),
    "many rows": first(lambda a: np.repeat(a, 10000, axis=0)),
    "ragged": first(lambda _: [[1, 2], [3]]),
}
BAD = {f"coefs_: {k}": attribute("coefs_", v) for k, v in BOTH.items()}
BAD |= {f"intercepts_: {k}": attribute("intercepts_", v) for k, v in BOTH.items()}
BAD |= {"fewer outputs": fewer_outputs}

MOMENTS = {
    "missing": lambda _: None,
    "short": lambda m: m[:3],
    "long": lambda m: np.zeros(10 * m.size),
    "float32": lambda m: m.astype(np.float32),
    "of another shape": lambda m: m[None],
    "nan": lambda m: np.full_like(m, np.nan),
    "text": lambda _: "moment",
}
# predictions do not need these; a partial fit does
BAD_FOR_TRAINING = {
    f"{name}: {k}": moment(name, change) for name in "mv" for k, change in MOMENTS.items()
} | {
    "steps: negative": moment("steps", lambda _: -5),
    "steps: huge": moment("steps", lambda _: 10**30),
    "classes_: more": attribute("classes_", lambda _: np.arange(-1000, 3)),
    "n_features_in_: less": attribute("n_features_in_", lambda _: 2),
}
# coefs_ may be replaced, by what their shapes allow: the moments start anew or it is refused
REPLACED = {"wider": wider, "float32": other_precision}

CASES = {"bad": BAD, "bad for training": BAD_FOR_TRAINING, "replaced": REPLACED}


def outcome(method, *args):
    try:
        method(*args)
    except Exception as error:
        return "ValueError" if isinstance(error, ValueError) else repr(error)
    return "done"


def calls(estimator):
    e = pickle.loads(pickle.dumps(estimator))
    return {
        "predict": outcome(e.predict, X),
        "partial_fit": outcome(e.partial_fit, X, Y),
        "predict_proba": outcome(e.predict_proba, X),
        "score": outcome(e.score, X, Y),
    }


def isolated(tamper):
    """The outcomes of the calls in a fork, or what ended it."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        estimator = MLPClassifier((5,), max_iter=3, random_state=0).fit(X, Y)
        tamper(estimator)
        os.write(writing, json.dumps(calls(estimator)).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        text = pipe.read()
    _, status = os.waitpid(pid, 0)
    return json.loads(text) if text else {"ended by": str(os.waitstatus_to_exitcode(status))}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    found = {kind: {k: isolated(v) for k, v in cases.items()} for kind, cases in CASES.items()}
    json.dump(found, sys.stdout)
