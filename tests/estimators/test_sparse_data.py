"""A sparse X, of every form that SciPy has, against the same X, dense; damaged ones are refused."""

import json
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
import scipy.sparse

from fastbp import MLPClassifier, MLPRegressor

# Fits end at max_iter on purpose.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RNG = np.random.default_rng(0)
DENSE = RNG.normal(size=(90, 30)) * (RNG.uniform(size=(90, 30)) < 0.2)
DENSE[[0, 40, 89]] = 0.0  # rows that store nothing
Y = RNG.integers(0, 3, 90)
T = DENSE[:, 0] - DENSE[:, 5] ** 2
SMALL = {"hidden_layer_sizes": (9, 5), "random_state": 0, "max_iter": 6, "batch_size": 16}


def with_int64(m):
    m.indices, m.indptr = m.indices.astype(np.int64), m.indptr.astype(np.int64)
    return m


def unsorted(m):
    """Reverse what is stored of each row or column."""
    for begin, end in zip(m.indptr[:-1], m.indptr[1:], strict=True):
        m.indices[begin:end] = m.indices[begin:end][::-1].copy()
        m.data[begin:end] = m.data[begin:end][::-1].copy()
    m.has_sorted_indices = False
    return m


def twice(m):
    """Store every value as two halves."""
    halves = np.repeat(m.indices, 2), np.repeat(m.data / 2, 2)
    return type(m)((halves[1], halves[0], 2 * m.indptr), shape=m.shape)


def with_room(m):
    """Leave unused room behind what is stored."""
    m.data = np.r_[m.data, np.full(7, 3.0)]
    m.indices = np.r_[m.indices, np.zeros(7, m.indices.dtype)]
    return m


def with_zeros(m):
    m.data[::5] = 0.0
    return m


FORMS = {
    "csr": scipy.sparse.csr_array,
    "csc": scipy.sparse.csc_array,
    "csr_matrix": scipy.sparse.csr_matrix,
    "csc_matrix": scipy.sparse.csc_matrix,
    "coo": scipy.sparse.coo_array,
    "lil": scipy.sparse.lil_array,
    "dok": scipy.sparse.dok_array,
    "float32": lambda x: scipy.sparse.csr_array(x.astype("f4").astype("f8")).astype("f8"),
}
CHANGES = {
    "as it is": lambda m: m,
    "int64": with_int64,
    "unsorted": unsorted,
    "both": lambda m: with_int64(unsorted(m)),
    "twice": twice,
    "room": with_room,
    "zeros": with_zeros,
    "rows from a slice": lambda m: m[::2],
    "read-only": lambda m: [a.setflags(write=False) for a in (m.data, m.indices, m.indptr)] and m,
}


def compare(sparse, rtol=0.0):
    """Compare what training and prediction say of a sparse X and of the same, dense."""
    dense = sparse.toarray()
    y, t = Y[: len(dense)], T[: len(dense)]
    classifier = MLPClassifier(**SMALL).fit(dense, y)
    for method in (classifier.predict_proba, classifier.transform):
        np.testing.assert_allclose(method(sparse), method(dense), rtol)
    for solver in ("adam", "sgd", "lbfgs"):
        ours = MLPRegressor(solver=solver, **SMALL)
        expected, loss = ours.fit(dense, t).predict(dense), ours.loss_
        np.testing.assert_allclose(ours.fit(sparse, t).loss_, loss, rtol=1e-8)
        np.testing.assert_allclose(ours.predict(sparse), expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("form", FORMS)
def test_forms(form):
    compare(FORMS[form](DENSE))


@pytest.mark.parametrize("form", [scipy.sparse.csr_array, scipy.sparse.csc_array])
@pytest.mark.parametrize("change", CHANGES)
def test_what_lies_in_the_arrays(change, form):
    compare(CHANGES[change](form(DENSE)), rtol=1e-12 if change == "twice" else 0.0)


@pytest.mark.parametrize("form", ["csr", "csc"])
def test_x_is_left_as_it_was(form):
    m = unsorted(FORMS[form](DENSE))
    before = m.indices.copy(), m.data.copy()
    MLPRegressor(**SMALL).fit(m, T).predict(m)
    np.testing.assert_array_equal(m.indices, before[0])
    np.testing.assert_array_equal(m.data, before[1])


def test_validation_data_and_early_stopping():
    sparse = scipy.sparse.csr_array(DENSE)
    dense = MLPRegressor(**SMALL).fit(DENSE, T, validation_data=(DENSE, T))
    ours = MLPRegressor(**SMALL).fit(sparse, T, validation_data=(sparse.tocsc(), T))
    np.testing.assert_allclose(ours.validation_scores_, dense.validation_scores_, rtol=1e-8)
    both = [MLPRegressor(early_stopping=True, **SMALL).fit(x, T) for x in (DENSE, sparse)]
    np.testing.assert_allclose(*(e.validation_scores_ for e in both), rtol=1e-8)


@pytest.mark.parametrize("form", ["csr", "csc"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite(form, value):
    m = FORMS[form](DENSE)
    m.data[3] = value
    with pytest.raises(ValueError, match=r"NaN|infinity"):
        MLPRegressor(**SMALL).fit(m, T)


def test_a_wide_sparse_matrix_never_becomes_dense():
    n, width = 300, 200_000
    wide = scipy.sparse.random_array((n, width), density=1e-4, format="csr", rng=0)
    y = RNG.integers(0, 2, n)
    ours = MLPClassifier(hidden_layer_sizes=2, max_iter=2, random_state=0)
    for call in (ours.fit, ours.partial_fit, lambda x, _: ours.predict(x)):
        tracemalloc.start()
        call(wide, y)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < n * width * 8 / 4


DAMAGES = {
    "index by one": "m.indices[3] = 10 + 30 * (m.format == 'csc')",
    "index by far": "m.indices[3] = 10**6",
    "negative index": "m.indices[3] = -5",
    "far negative index": "m.indices[3] = -(10**6)",
    "falling indptr": "m.indptr[5] = m.indptr[9] + 1",
    "indptr beyond": "m.indptr[-1] = len(m.data) + 10**6",
    "far indptr": "m.indptr[4] = 10**8",
    "later start": "m.indptr[0] = 3",
    "negative indptr": "m.indptr[1] = -(10**6)",
    "fewer indices": "m.indices = m.indices[:-5]",
    "fewer values": "m.data = m.data[:-5]",
    "fewer rows": "m.indptr = m.indptr[:-1]",
    "unsorted index by far": "m.indices[3] = 10**6; m.has_sorted_indices = False",
}


# Each in a process of its own: what reads beyond an array may end it.
DAMAGED = """
import json, os, sys, warnings
import numpy as np
import scipy.sparse
from fastbp import MLPRegressor

warnings.simplefilter("ignore")
rng = np.random.default_rng(0)
dense = rng.normal(size=(40, 10)) * (rng.uniform(size=(40, 10)) < 0.3)
small = {"hidden_layer_sizes": 3, "max_iter": 2, "n_threads": 1}
fitted = MLPRegressor(**small).fit(dense, dense[:, 0])

def refused(m):
    for call in (fitted.predict, lambda x: MLPRegressor(**small).fit(x, dense[:, 0])):
        try:
            call(m)
        except ValueError:
            continue
        return False
    return True

def ends(form, damage):
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = 1
    try:
        m = form(dense)
        exec(damage)
        code = 0 if refused(m) else 2
    finally:
        os._exit(code)

forms = scipy.sparse.csr_array, scipy.sparse.csc_array
print(json.dumps({k: [ends(form, v) for form in forms] for k, v in json.load(sys.stdin).items()}))
"""


@pytest.fixture(scope="module")
def ends():
    """How a process ends that takes damaged CSR and CSC: 0: ValueError, 2: no error, < 0: crash."""
    command = [sys.executable, "-c", DAMAGED]
    given = json.dumps(DAMAGES)
    done = subprocess.run(
        command, input=given, stdout=subprocess.PIPE, text=True, timeout=100, check=True
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_indices_are_refused(ends, damage):
    assert ends[damage] == [0, 0]
