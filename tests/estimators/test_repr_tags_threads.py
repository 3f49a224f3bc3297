"""How scikit-learn shows estimators, what it reads in their tags, the threads it leaves them."""

import html
from dataclasses import asdict

import joblib
import numpy as np
import pytest
import sklearn.neural_network
import threadpoolctl
from sklearn.datasets import load_iris
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_html_repr, get_tags
from sklearn.utils._openmp_helpers import _openmp_effective_n_threads, _openmp_parallelism_enabled

import fastbp
from fastbp import MLPClassifier, MLPRegressor, _engine

# Fits end at max_iter on purpose.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, SPECIES = load_iris(return_X_y=True)
KINDS = pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
SET = {
    "hidden_layer_sizes": (4, 3),
    "activation": ["gelu", fastbp.LeakyReLU(0.25)],
    "solver": fastbp.SGD(fastbp.Cosine(0.125, 10)),
    "max_iter": 3,
    "n_threads": 1,
}

# ------------------------------------------------------------------------------------ repr, tags


@KINDS
def test_repr_is_the_call(kind):
    ours = kind(**SET)
    twin = eval(repr(ours), vars(fastbp) | {kind.__name__: kind})
    assert twin.get_params() == ours.get_params()


@KINDS
@pytest.mark.parametrize("fitted", [False, True])
@pytest.mark.parametrize("piped", [False, True])
def test_html_names_what_was_set(kind, fitted, piped):
    ours = kind(**SET)
    whole = make_pipeline(StandardScaler(), ours) if piped else ours
    if fitted:
        whole.fit(X, SPECIES)
    shown = whole._repr_html_()
    assert f"<span>{'Fitted' if fitted else 'Not fitted'}</span>" in shown
    assert kind.__name__ in shown
    for value in ("['gelu', LeakyReLU(alpha=0.25)]", "max_iter", "n_threads"):
        assert html.escape(value) in shown
    assert whole._repr_mimebundle_().keys() == {"text/plain", "text/html"}
    assert len(estimator_html_repr(whole)) > 1000


@KINDS
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_tags_are_those_of_scikit_learns_and_a_transformers(kind, solver):
    ours = asdict(get_tags(kind(solver=solver)))
    theirs = asdict(get_tags(getattr(sklearn.neural_network, kind.__name__)(solver=solver)))
    theirs["input_tags"]["sparse"] = True  # which 1.6 does not say
    kept = ours.pop("transformer_tags")["preserves_dtype"]
    assert theirs.pop("transformer_tags") is None
    assert ours == theirs
    for dtype in (np.float64, np.float32):
        made = kind(solver=solver, max_iter=2).fit_transform(X.astype(dtype), SPECIES)
        assert (made.dtype == dtype) == (np.dtype(dtype).name in kept)


def test_tags_of_parameters():
    assert get_tags(MLPRegressor("poisson")).target_tags.positive_only
    assert get_tags(MLPRegressor(fastbp.Loss("poisson"))).target_tags.positive_only
    assert not get_tags(MLPRegressor("huber")).target_tags.positive_only
    assert get_tags(MLPRegressor(dtype="float32")).transformer_tags.preserves_dtype == []


# --------------------------------------------------------------------------------------- threads


@pytest.fixture
def openmp():
    if _engine.build_info()["openmp"] is None or not _openmp_parallelism_enabled():
        pytest.skip("a build without OpenMP")


@pytest.mark.parametrize("limit", [1, 2])
@pytest.mark.parametrize("api", [None, "openmp"])
def test_a_limit_is_that_of_scikit_learn(openmp, limit, api):
    before = fastbp.get_num_threads()
    with threadpoolctl.threadpool_limits(limit, user_api=api):
        assert fastbp.get_num_threads() == min(before, limit)
        # scikit-learn counts no hyperthreads
        most = joblib.cpu_count(only_physical_cores=True)
        assert _openmp_effective_n_threads() == min(most, limit)
    assert fastbp.get_num_threads() == before


@pytest.mark.parametrize("n_jobs", [2, 3])
def test_a_worker_of_joblib_has_its_share(openmp, monkeypatch, n_jobs):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)  # it would be the workers' too

    def threads(net, X):  # here, so that it is sent as code: workers cannot import the tests
        import os

        from sklearn.utils._openmp_helpers import _openmp_effective_n_threads

        import fastbp

        def running():
            return len(os.listdir("/proc/self/task")) if os.path.exists("/proc/self/task") else 0

        fastbp._engine.set_thread_grain(0)  # share however little there is
        net.set_params(n_threads=1).fit(X, X[:, 0])
        alone = running()
        net.set_params(n_threads=None).fit(X, X[:, 0])
        started = running() - alone
        return fastbp.get_num_threads(), _openmp_effective_n_threads(), started, net.predict(X)

    net = MLPRegressor(max_iter=3, random_state=0)
    call = joblib.delayed(threads)
    found = joblib.Parallel(n_jobs, backend="loky")(call(net, X) for _ in range(n_jobs))
    share = max(joblib.cpu_count() // n_jobs, 1)
    expected = net.fit(X, X[:, 0]).predict(X)
    for ours, theirs, started, predicted in found:
        assert ours == theirs == share
        assert started < share
        np.testing.assert_array_equal(predicted, expected)


@pytest.mark.parametrize("limit", [1, 2])
def test_the_share_of_a_worker_can_be_set(openmp, limit):
    call = joblib.delayed(fastbp.get_num_threads)
    theirs = joblib.delayed(_openmp_effective_n_threads)
    with joblib.parallel_config("loky", n_jobs=2, inner_max_num_threads=limit):
        assert joblib.Parallel()(call() for _ in range(2)) == [limit, limit]
        assert joblib.Parallel()(theirs() for _ in range(2)) == [limit, limit]
