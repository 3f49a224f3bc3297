"""When training goes on alone, on a machine whose time is made up; no bit depends on it."""

import itertools

import numpy as np
import pytest

import fastbp
from fastbp import _engine

STEP = 0.001  # seconds of one call, of which five are a trial
_clock = itertools.count(1_000, 1_000)  # later than all that other tests have done


class Machine:
    """Rates of a team and of one thread, and what share of its time a team waits."""

    def __init__(self):
        self.now = float(next(_clock)) * 1e6
        self.net = int(self.now)

    def run(self, calls, team, alone, waits):
        """Return how many threads each call had, of two."""
        used = []
        for _ in range(calls):
            threads = _engine.useful_team(2, self.now)
            self.now += STEP
            rate, waited = (team, waits) if threads == 2 else (alone, 0.0)
            _engine.judge_team(self.net, 32, rate * STEP, STEP, waited * STEP, self.now)
            used.append(threads)
        return used


@pytest.fixture
def machine():
    grain = _engine.get_thread_grain()
    _engine.set_thread_grain(1e6)
    made = Machine()
    made.run(1, team=1.0, alone=1.0, waits=0.0)  # ends what training of other tests has begun
    yield made
    made.run(2000, team=2.0, alone=1.0, waits=0.0)  # leaves no time alone behind
    _engine.set_thread_grain(grain)


def test_a_team_that_does_not_wait_is_left_alone(machine):
    assert set(machine.run(500, team=0.1, alone=1.0, waits=0.39)) == {2}


def test_one_thread_where_it_is_faster(machine):
    used = machine.run(5000, team=0.2, alone=1.0, waits=0.7)
    assert used.count(1) > 0.97 * len(used)
    assert used[-1000:].count(2) > 0  # tried again now and then


def test_a_team_where_it_is_faster_though_it_waits(machine):
    used = machine.run(5000, team=1.5, alone=1.0, waits=0.5)
    assert used.count(2) > 0.97 * len(used)
    assert 1 in used


def test_a_team_again_when_the_cores_are_free(machine):
    machine.run(5000, team=0.2, alone=1.0, waits=0.7)
    used = machine.run(5000, team=1.9, alone=1.0, waits=0.02)
    assert set(used[-2500:]) == {2}  # after 2.1 s at most


def test_other_work_begins_another_trial(machine):
    for net in (1, 2, 1, 2) * 50:
        machine.net = int(machine.now) + net
        assert machine.run(1, team=0.1, alone=1.0, waits=0.9) == [2]


def test_tests_can_turn_it_off(machine):
    machine.run(10, team=0.1, alone=1.0, waits=0.9)
    assert _engine.useful_team(2, machine.now) == 1
    _engine.set_thread_grain(0)
    assert _engine.useful_team(2, machine.now) == 2


def test_no_bit_depends_on_it(machine, monkeypatch):
    """A fit whose team changes between any two slices of an epoch."""
    from fastbp import _training

    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(600, 48)), rng.integers(0, 3, 600)
    monkeypatch.setattr(_training, "_SLICE", 0.0)
    threads = _engine.get_num_threads()

    class Shake(fastbp.Callback):
        def on_progress(self, model, history, epoch):
            machine.run(7, team=0.1, alone=1.0, waits=0.9)

    def fitted(n, *callbacks):
        fastbp.set_num_threads(n)
        model = fastbp.Model([48, 256, 96, 3], loss="softmax_cross_entropy", seed=0)
        model.fit(X, y, epochs=3, batch_size=100, callbacks=callbacks)
        return model.parameters.tobytes()

    try:
        _engine.set_thread_grain(1.0)
        assert fitted(3, Shake()) == fitted(1)
    finally:
        fastbp.set_num_threads(threads)
