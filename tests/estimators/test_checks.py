"""scikit-learn's checks of estimators, none of them expected to fail."""

import re
from inspect import signature

import pytest
import sklearn.neural_network
from sklearn.utils.estimator_checks import parametrize_with_checks

import fastbp
from fastbp import _engine
from fastbp.estimators import MLPClassifier, MLPRegressor

# scikit-learn checks its own with max_iter=100 and these; fewer epochs learn too little for
# check_classifiers_train and check_regressors_train
PLAIN = [
    estimator(solver=solver, max_iter=100)
    for estimator in (MLPClassifier, MLPRegressor)
    for solver in ("adam", "sgd", "lbfgs")
]
BF16 = {"dtype": "float32", "precision": "bf16" if _engine.bf16_isas() else None}
# each parameter that scikit-learn has not got at least once, and each kind of value it takes
CLASSIFIERS = [
    {
        "hidden_layer_sizes": (40, 20),
        "activation": ["gelu", fastbp.LeakyReLU(0.1)],
        "solver": "adamw",
        "learning_rate": fastbp.WarmUp(fastbp.Cosine(0.02, 150), 2),
        "class_weight": "balanced",
        "clip_norm": 5.0,
        "on_divergence": "stop",
        "callbacks": [fastbp.EarlyStopping("loss", patience=90)],
    },
    {
        "activation": "silu",
        "dropout": 0.1,
        "solver": fastbp.SGD(fastbp.StepDecay(0.1, 0.5, 40), momentum=0.9, clip_norm=2.0),
        "early_stopping": True,
        "validation_fraction": 0.2,
        "scoring": "f1_micro",
        "restore_best_weights": False,
        "n_threads": 1,
        "dtype": "float32",
        "verbose": True,
    },
    {
        "activation": fastbp.ELU(0.5),
        "solver": "lbfgs",
        "class_weight": "balanced",
        "n_threads": 2,
        "verbose": "bar",
    },
    BF16 | {"solver": "rmsprop", "learning_rate": fastbp.ExponentialDecay(0.01, 0.98)},
]
REGRESSORS = [
    {
        "loss": "huber",
        "activation": ["softplus"],
        "solver": "rmsprop",
        **BF16,
    },
    {
        "loss": fastbp.Huber(0.5),
        "solver": "adagrad",
        "learning_rate_init": 0.05,
        "clip_norm": 10.0,
        "on_divergence": "stop",
        "restore_best_weights": True,
        "verbose": "bar",
    },
    {
        "loss": "absolute_error",
        "dropout": [0.02],
        "solver": fastbp.AdamW(fastbp.OneCycle(0.02, 100), weight_decay=1e-3),
        "early_stopping": True,
        "validation_fraction": 0.3,
        "scoring": "neg_mean_absolute_error",
        "callbacks": [fastbp.Callback()],
        "n_threads": 2,
    },
    {"loss": "pinball", "activation": "mish", "learning_rate": fastbp.Constant(0.01)},
    {"loss": "poisson", "solver": fastbp.Adam(0.02), "dtype": "float64"},
]
FURTHER = [MLPClassifier(max_iter=100, **further) for further in CLASSIFIERS]
FURTHER += [MLPRegressor(max_iter=100, **further) for further in REGRESSORS]

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning"),
]
# with early stopping partial_fit raises a ValueError, as scikit-learn's own does
OF_PARTIAL_FIT = (
    "check_estimators_partial_fit_n_features",
    "check_fit_score_takes_y",
    "check_n_features_in_after_fitting",
)


def can_hold(estimator, check):
    """Whether the parameters leave the check something to hold."""
    name = check.func.__name__
    if name in OF_PARTIAL_FIT:
        return not estimator.early_stopping
    if name.startswith("check_sample_weight_equivalence"):
        # other samples are held out or dropped if some are repeated; equal to 1e-7
        return not (estimator.early_stopping or estimator.dropout or estimator.dtype == "float32")
    return True


MARK = parametrize_with_checks([*PLAIN, *FURTHER]).mark


def id_of(value):
    """scikit-learn's, without the addresses of callbacks, so that it is the same in each run."""
    return re.sub(" object at 0x[0-9a-f]+|objectat0x[0-9a-f]+", "", MARK.kwargs["ids"](value))


# a list, for scikit-learn before 1.7 gives a generator, which pytest will not take for long
@pytest.mark.parametrize(
    MARK.args[0], [case for case in MARK.args[1] if can_hold(*case)], ids=id_of
)
def test_estimator_passes(estimator, check):
    check(estimator)


@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_every_parameter_of_ours_is_checked(kind):
    theirs = signature(getattr(sklearn.neural_network, kind.__name__)).parameters
    given = CLASSIFIERS if kind is MLPClassifier else REGRESSORS
    assert signature(kind).parameters.keys() - theirs.keys() <= {n for one in given for n in one}
