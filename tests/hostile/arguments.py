"""Hostile inputs 1 to 15 and 30: arguments, arrays, threads, callbacks, pickles."""

import pickle
import threading

import numpy as np
from hostile.common import REAL, X, Y, classifier, network, refused, regressor

import fastbp


def row_1_not_finite(folder):
    for value in (np.nan, np.inf):
        bad = X.copy()
        bad[17, 2] = value
        refused(lambda bad=bad: network().fit(bad, Y), match="row 17, column 2")
        refused(lambda bad=bad: classifier().fit(bad, Y))


def row_2_beyond_range(folder):
    estimator = regressor(solver="sgd")
    refused(lambda: estimator.fit(X, REAL * 1e300), fastbp.DivergenceError)
    assert all(np.isfinite(coefficients).all() for coefficients in estimator.coefs_)


def row_3_learning_rate(folder):
    model = fastbp.Model([4, 5, 1], loss="squared_error", seed=0)
    options = {"optimizer": fastbp.SGD(1e6), "epochs": 50}
    refused(lambda: model.fit(X, REAL, **options), fastbp.DivergenceError, "learning_rate")
    assert np.isfinite(model.parameters).all()


def row_4_parameters(folder):
    for value in (np.nan, np.inf, -1.0, "0.1", True):
        refused(lambda value=value: fastbp.SGD(value))
    for value in (np.nan, -1.0, "0.1"):
        refused(lambda value=value: classifier(alpha=value).fit(X, Y))


def row_5_sizes(folder):
    for sizes in (0, -5, (10**9, 10**9), 1.5):
        estimator = fastbp.MLPClassifier(sizes, max_iter=1)
        refused(lambda estimator=estimator: estimator.fit(X, Y), (ValueError, MemoryError))
    refused(lambda: fastbp.Model([10**9, 10**9], loss="squared_error"), MemoryError)


def row_6_shapes(folder):
    for bad in (X[:0], X[:, :0], X[0], X[None]):
        refused(lambda bad=bad: network().fit(bad, Y))
        refused(lambda bad=bad: classifier().fit(bad, Y))
    regressor().fit(X[:1], REAL[:1])
    regressor().fit(X[:, :1], REAL)


def row_7_one_class(folder):
    estimator = classifier().fit(X, np.zeros(30, int))
    assert set(estimator.predict(X)) == {0}
    alone = np.where(np.arange(30) == 4, 1, 0)
    refused(lambda: classifier(early_stopping=True).fit(X, alone), match="class")


def row_8_labels(folder):
    for labels in (np.array(["a", "b", "c"])[Y], Y > 0):
        classifier(early_stopping=True).fit(X, labels)
    mixed = Y.astype(object)
    mixed[3] = None
    refused(lambda: classifier().fit(X, mixed))


def row_9_partial_fit(folder):
    estimator = classifier().fit(X, Y)
    before = pickle.dumps(estimator.coefs_)
    refused(lambda: estimator.partial_fit(X, Y + 1))
    refused(lambda: estimator.partial_fit(X[:, :3], Y))
    assert pickle.dumps(estimator.coefs_) == before


def row_10_weights(folder):
    for weight in (-np.ones(30), np.full(30, np.nan), np.zeros(30), np.ones(29)):
        refused(lambda weight=weight: network().fit(X, Y, sample_weight=weight))
        refused(lambda weight=weight: classifier().fit(X, Y, sample_weight=weight))


def row_11_layouts(folder):
    expected = network().predict(X)
    frozen = np.asfortranarray(X)
    frozen.flags.writeable = False
    wide = np.repeat(X, 2, axis=1)
    for view in (frozen, X[::-1][::-1], wide[:, ::2]):
        np.testing.assert_array_equal(network().predict(view), expected)
    row = np.broadcast_to(X[0], X.shape)
    np.testing.assert_array_equal(network().predict(row), network().predict(row.copy()))


def row_12_dtypes(folder):
    expected = network().predict(X)
    swapped = X.astype(X.dtype.newbyteorder())
    raw = np.zeros(X.nbytes + 1, "u1")
    raw[1:] = np.frombuffer(X.tobytes(), "u1")
    misaligned = raw[1:].view(X.dtype).reshape(X.shape)
    for array in (swapped, misaligned, X.astype("g"), X.astype(object)):
        np.testing.assert_array_equal(network().predict(array), expected)
    for bad in (X + 1j, X.astype("M8[s]"), np.ma.masked_greater(X, 0), [[1.0], [1.0, 2.0]]):
        refused(lambda bad=bad: network().predict(bad))


# ----------------------------------------------------------------------------- large, shared, ended


def row_13_many_elements(folder):
    """Row 2^31 + 7 of a matrix without memory of its own: no index wraps."""
    rows = (1 << 31) + 8
    many = np.lib.stride_tricks.as_strided(np.ones(1, "u1"), (rows, 1), (0, 0), writeable=False)
    model = fastbp.Model([1, 1], loss="squared_error", seed=0)
    tail = many[rows - 3 :]
    np.testing.assert_array_equal(model.predict(tail), model.predict(np.ones((3, 1))))
    refused(lambda: fastbp.Model([1 << 60, 1], loss="squared_error"), MemoryError)


def row_14_other_threads(folder):
    model, inside, problems = network(), threading.Event(), []

    class Waiting(fastbp.Callback):
        def on_epoch_end(self, model, history):
            inside.set()
            other.join(20)

    def fit_again():
        inside.wait(20)
        data = X.copy()
        try:
            model.fit(data, Y)
        except RuntimeError as error:
            problems.append(str(error))

    other = threading.Thread(target=fit_again)
    other.start()
    model.fit(X, Y, epochs=1, callbacks=[Waiting()])
    assert len(problems) == 1
    assert "being fitted already" in problems[0]


def row_15_callbacks(folder):
    class Raising(fastbp.Callback):
        def __init__(self, answer):
            self.answer = answer

        def on_epoch_end(self, model, history):
            if isinstance(self.answer, BaseException):
                raise self.answer
            return model.fit(X, Y) if self.answer is None else self.answer

    cases = ((KeyboardInterrupt(), KeyboardInterrupt), (OSError(), OSError))
    for answer, error in (*cases, ("junk", TypeError), (None, RuntimeError)):
        model = network()
        refused(lambda m=model, a=answer: m.fit(X, Y, callbacks=[Raising(a)]), error)
        model.fit(X, Y, epochs=1)


def row_30_pickles(folder):
    estimator = classifier().fit(X, Y)
    estimator.coefs_ = [estimator.coefs_[0][:-1], estimator.coefs_[1]]
    tampered = pickle.loads(pickle.dumps(estimator))
    refused(lambda: tampered.predict(X), ValueError)
    refused(lambda: tampered.partial_fit(X, Y), ValueError)
