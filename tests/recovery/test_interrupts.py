"""Ctrl-C at every moment of a fit: wherever Python can notice it, the model stays in order.

Python looks for signals between some bytecodes. A tracer counts the places and sets the signal off
at the n-th, in a way that leaves no such look between that and the fit's next own.
"""

import _thread
import gc
import os
import signal
import sys
from functools import partial
from itertools import count

import numpy as np
import pytest
from harness import everything

import fastbp
from fastbp import _training

RNG = np.random.default_rng(3)
X = RNG.normal(size=(64, 4))
Y = (X[:, 0] > 0).astype(int)
EPOCHS, BATCHES = 2, 4
NEW = partial(fastbp.Model, [4, 6, 2], loss="softmax_cross_entropy", seed=1)
FIT = {"epochs": EPOCHS, "batch_size": 16, "validation_data": (X[:9], Y[:9])}
FILES = ("fastbp", "contextlib")


class Signal(int):
    """Its attribute sets a signal off: reading one is no place where Python looks for signals."""

    now = property(_thread.interrupt_main)


SIGINT = Signal(signal.SIGINT)


class Tracer:
    """Sets SIGINT off at the n-th line (or bytecode) that runs in the package."""

    def __init__(self, n, event):
        self._left, self._event, self.where = n, event, None

    def __call__(self, frame, event, _):
        if not any(name in frame.f_code.co_filename for name in FILES):
            return None
        frame.f_trace_opcodes = self._event == "opcode"
        if event == self._event:
            self._left -= 1
            if self._left == 0:
                self.where = f"{frame.f_code.co_filename}:{frame.f_lineno}"
                sys.settrace(None)
                return SIGINT.now
        return self


@pytest.fixture(autouse=True)
def _ctrl_c():
    before, trace = signal.signal(signal.SIGINT, signal.default_int_handler), sys.gettrace()
    yield
    sys.settrace(trace)
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def no_collector():
    """Nothing but what is no longer referred to goes away."""
    gc.disable()
    yield
    gc.enable()


def cut(work, n, event):
    """Interrupt the work at its n-th place; return where that is, None if it has fewer."""
    tracer = Tracer(n, event)
    sys.settrace(tracer)
    try:
        work()
        len("")  # the latest place where Python may look
    except KeyboardInterrupt:
        pass
    finally:
        sys.settrace(None)
    return tracer.where


EVENTS = ("line", "opcode")


@pytest.fixture
def minibatches(monkeypatch):
    """Which parameters belong to how many finished minibatches."""
    finished = {NEW().parameters.tobytes(): 0}

    class Look(fastbp.Callback):
        def on_progress(self, model, history, epoch):
            finished[model.parameters.tobytes()] = round(epoch * BATCHES)

        def on_epoch_end(self, model, history):
            self.on_progress(model, history, len(history))

    with monkeypatch.context() as patch:
        patch.setattr(_training, "_SLICE", 0.0)
        NEW().fit(X, Y, callbacks=[Look()], **FIT)
    assert len(finished) == EPOCHS * BATCHES + 1
    return finished


@pytest.mark.parametrize("event", ["line", pytest.param("opcode", marks=pytest.mark.long)])
def test_the_model_is_in_order(minibatches, event):
    for n in count(1):
        model = NEW()
        where = cut(lambda model=model: model.fit(X, Y, **FIT), n, event)
        if where is None:
            break
        done = minibatches[model.parameters.tobytes()]
        if model._state is None:
            assert done == 0, where
        else:
            assert (model._state.steps, model._state.epochs) == (done, done / BATCHES), where
            epochs = len(model.history)
            assert epochs == done // BATCHES or BATCHES * (epochs + 1) == done, where
        model.fit(X, Y, **FIT)
        assert model._state.steps == done + EPOCHS * BATCHES, where
    assert n > 200


@pytest.mark.parametrize(
    ("event", "step"),
    [("line", 7), *(pytest.param(event, 1, marks=pytest.mark.long) for event in EVENTS)],
)
@pytest.mark.usefixtures("no_collector")
@pytest.mark.filterwarnings("ignore:.*unclosed file")  # which the interpreter closes
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_checkpoint_is_in_order(tmp_path, monkeypatch, event, step):
    """No temporary file is left, and the same callback goes on to the same bits.

    Without the garbage collector: nothing that an exception holds may hold the lock.
    """
    monkeypatch.setattr(_training, "_SLICE", 0.0)
    path, fit = tmp_path / "a", FIT | {"epochs": 1, "batch_size": 32}
    whole = NEW()
    whole.fit(X, Y, **fit)
    for n in count(1, step):
        saver = fastbp.ModelCheckpoint(path, every_seconds=0.0)
        where = cut(lambda saver=saver: NEW().fit(X, Y, callbacks=[saver], **fit), n, event)
        if where is None:
            break
        assert set(os.listdir(tmp_path)) <= {"a", ".a.lock"}, where  # an empty file
        resume = path if path.exists() else None
        model = NEW()
        model.fit(X, Y, callbacks=[saver], resume=resume, **fit)
        assert everything(model) == everything(whole), where
        assert os.listdir(tmp_path) == ["a"], where
        path.unlink()
    assert n > 500
