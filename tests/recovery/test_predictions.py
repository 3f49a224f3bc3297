"""Passes over many rows that a signal ends."""

import signal

import numpy as np
import pytest

import fastbp


def test_ctrl_c_ends_a_prediction():
    """Rows beyond those computed by then are left alone."""
    model = fastbp.Model([64, 1024, 1024, 1], loss="squared_error", seed=0)
    X = np.zeros((400_000, 64), np.float32)
    out = np.full((len(X), 1), np.nan, np.float32)

    def interrupt(number, frame):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.02)
    try:
        with pytest.raises(KeyboardInterrupt):
            model._network.predict(model.parameters, X, out, True)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert np.isnan(out).any()
    model._network.predict(model.parameters, X[:10], out[:10], True)
    np.testing.assert_array_equal(out[:10], model.predict(X[:10]))
