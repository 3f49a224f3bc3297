"""scikit-learn's checks of estimators, none of them expected to fail."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from fastbp.estimators import MLPClassifier, MLPRegressor

# scikit-learn checks its own with max_iter=100 and these; fewer epochs learn too little for
# check_classifiers_train and check_regressors_train
ESTIMATORS = [
    estimator(solver=solver, max_iter=100)
    for estimator in (MLPClassifier, MLPRegressor)
    for solver in ("adam", "sgd", "lbfgs")
]

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning"),
]


MARK = parametrize_with_checks(ESTIMATORS).mark


# a list, for scikit-learn before 1.7 gives a generator, which pytest will not take for long
@pytest.mark.parametrize(MARK.args[0], list(MARK.args[1]), **MARK.kwargs)
def test_estimator_passes(estimator, check):
    check(estimator)
