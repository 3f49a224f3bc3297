"""Callbacks: when they are called, early stopping, checkpoints, the progress bar; the history."""

import builtins
import copy
import io
import pickle

import numpy as np
import pytest

import fastbp


class Log(fastbp.Callback):
    """Notes which hooks are called."""

    def __init__(self, name, calls, stop_after=None, fail_in=None):
        self.name, self.calls, self.stop_after, self.fail_in = name, calls, stop_after, fail_in

    def note(self, hook):
        self.calls.append(f"{self.name} {hook}")
        if hook == self.fail_in:
            raise LookupError(hook)

    def on_fit_begin(self, model, history, epochs):
        assert len(history) == 0
        self.note(f"begin {epochs}")

    def on_epoch_end(self, model, history):
        assert model.history is history
        self.note(f"epoch {len(history)}")
        return len(history) == self.stop_after

    def on_fit_end(self, model, history):
        self.note("end")


def test_hooks_are_called_in_order(classification):
    model, X, y = classification
    calls = []
    model.fit(X, y, epochs=2, callbacks=[Log("a", calls), Log("b", calls)])
    hooks = ["a begin 2", "b begin 2", "a epoch 1", "b epoch 1", "a epoch 2", "b epoch 2"]
    assert calls == [*hooks, "b end", "a end"]


def test_any_callback_can_stop(classification):
    model, X, y = classification
    calls = []
    history = model.fit(X, y, epochs=9, callbacks=[Log("a", calls, stop_after=2), Log("b", calls)])
    assert len(history) == 2
    assert calls[-3:] == ["b epoch 2", "b end", "a end"]


@pytest.mark.parametrize(
    ("hook", "epochs", "ended"),
    [("begin 3", 0, ["a end"]), ("epoch 2", 2, ["b end", "a end"]), ("end", 3, ["b end", "a end"])],
)
def test_an_exception_ends_the_fit_and_all_callbacks(classification, hook, epochs, ended):
    model, X, y = classification
    calls = []
    callbacks = [Log("a", calls), Log("b", calls, fail_in=hook)]
    with pytest.raises(LookupError, match=hook):
        model.fit(X, y, epochs=3, callbacks=callbacks)
    assert calls[calls.index(f"b {hook}") + 1 :] == [end for end in ended if end != f"b {hook}"]
    assert (0 if model.history is None else len(model.history)) == epochs
    assert len(model.fit(X, y, epochs=1)) == 1


def test_a_callback_that_fits_is_refused(classification):
    model, X, y = classification

    class Again(fastbp.Callback):
        def on_epoch_end(self, model, history):
            model.fit(X, y)

    with pytest.raises(RuntimeError, match="fit: this model is being fitted already"):
        model.fit(X, y, callbacks=[Again()])
    assert len(model.history) == 1


@pytest.mark.parametrize("junk", [1, "stop", np.True_])
def test_a_callback_that_answers_junk_is_refused(classification, junk):
    model, X, y = classification

    class Junk(fastbp.Callback):
        def on_epoch_end(self, model, history):
            return junk

    with pytest.raises(
        TypeError, match=r"Junk.on_epoch_end: expected to return None, True or False"
    ):
        model.fit(X, y, callbacks=[Junk()])


class Play(fastbp.Callback):
    """Replaces the figures of the fit, and writes the epoch into all parameters."""

    def __init__(self, column, figures):
        self.column, self.figures = column, figures

    def on_epoch_end(self, model, history):
        history[self.column][-1] = self.figures[len(history) - 1]
        model.parameters[:] = len(history)


@pytest.mark.parametrize(
    ("column", "figures", "options", "epochs", "best"),
    [
        ("val_loss", [5, 4, 4.5, 4.1, 3, 9, 9, 9], {"patience": 3}, 8, 5),
        ("val_loss", [5, 4, 4.5, 4.1, 3, 9, 9, 9], {"patience": 2}, 4, 2),
        ("val_accuracy", [0.1, 0.3, 0.2, 0.3, 0.9], {"patience": 2}, 4, 2),
        ("loss", [5, 4.95, 4.9, 4.85], {"patience": 2, "min_delta": 0.1}, 3, 1),
        ("loss", [5, 4.8, 4.75, 4.6], {"patience": 2, "min_delta": 0.1}, 4, 4),
        ("loss", [2, np.nan, 1, np.inf, np.nan, 0], {"patience": 2}, 5, 3),
        ("loss", [5, 6, 7], {"patience": 2, "restore_best": False}, 3, 3),
    ],
)
def test_early_stopping(classification, column, figures, options, epochs, best):
    model, X, y = classification
    callbacks = [Play(column, figures), fastbp.EarlyStopping(column, **options)]
    history = model.fit(X, y, epochs=len(figures), validation_data=(X, y), callbacks=callbacks)
    assert len(history) == epochs
    np.testing.assert_array_equal(model.parameters, best)


def test_early_stopping_starts_anew_in_each_fit(classification):
    model, X, y = classification
    stopping = fastbp.EarlyStopping("loss", patience=2)
    for figures in ([1, 2, 3, 4], [9, 8, 9, 9]):
        history = model.fit(X, y, epochs=4, callbacks=[Play("loss", figures), stopping])
    assert len(history) == 4
    np.testing.assert_array_equal(model.parameters, 2)


def test_callbacks_are_copied_and_pickled_after_a_fit_as_before(classification, tmp_path):
    model, X, y = classification
    for callback in (
        fastbp.EarlyStopping("loss", patience=2),
        fastbp.ModelCheckpoint(tmp_path / "model.safetensors", "loss"),
        fastbp.ProgressBar(disable=True),
    ):
        before = pickle.dumps(callback)
        model.fit(X, y, epochs=4, callbacks=[Play("loss", [1, 2, 3, 4]), callback])
        assert pickle.dumps(callback) == before
        copy.deepcopy(callback)


def test_best_parameters_are_restored_after_an_exception(classification):
    model, X, y = classification
    callbacks = [
        Play("loss", [1, 2, 3]),
        fastbp.EarlyStopping("loss"),
        Log("a", [], fail_in="epoch 3"),
    ]
    with pytest.raises(LookupError, match="epoch 3"):
        model.fit(X, y, callbacks=callbacks)
    np.testing.assert_array_equal(model.parameters, 1)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: fastbp.EarlyStopping(3), TypeError, "monitor: expected a column .*, got 3"),
        (
            lambda: fastbp.EarlyStopping(patience=0),
            ValueError,
            "patience: expected an integer >= 1",
        ),
        (
            lambda: fastbp.EarlyStopping(min_delta=-1),
            ValueError,
            "min_delta: expected a number >= 0",
        ),
        (lambda: fastbp.EarlyStopping(restore_best=1), TypeError, "restore_best: expected True"),
        (
            lambda: fastbp.ModelCheckpoint("a", save_best_only=1),
            TypeError,
            "save_best_only: expected",
        ),
    ],
)
def test_bad_arguments(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(("best_only", "saved"), [(True, 2), (False, 4)])
def test_checkpoint(tmp_path, classification, best_only, saved):
    model, X, y = classification
    path = tmp_path / "net"
    checkpoint = fastbp.ModelCheckpoint(path, "loss", save_best_only=best_only)
    model.fit(X, y, epochs=4, callbacks=[Play("loss", [5, 4, 4.5, 6]), checkpoint])
    np.testing.assert_array_equal(fastbp.Model.load(path).parameters, saved)


def test_progress_bar(classification):
    model, X, y = classification
    file = io.StringIO()
    bar = fastbp.ProgressBar(file=file, mininterval=0)
    history = model.fit(X, y, epochs=3, validation_data=(X, y), callbacks=[bar])
    last = file.getvalue().split("\r")[-1].rstrip()
    figures = history.last()
    assert last.startswith("100%")
    assert "| 3.0/3 epochs [" in last
    shown = [f"{name}={figures[name]:.4g}" for name in ("loss", "val_loss", "val_accuracy")]
    assert last.endswith(", ".join(shown) + "]")


def test_progress_moves_within_an_epoch():
    model = fastbp.Model([200, 400, 400, 1], loss="squared_error", seed=0)
    X, y = np.random.default_rng(0).normal(size=(20000, 200)), np.zeros(20000)
    seen = []

    class Progress(fastbp.Callback):
        def on_progress(self, model, history, epoch):
            seen.append((len(history), epoch))
            if len(history) == 1:
                raise KeyboardInterrupt

    options = {"batch_size": 10, "optimizer": fastbp.SGD(1e-3), "callbacks": [Progress()]}
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, y, epochs=50, **options)
    assert len(seen) > 1
    assert all(finished < epoch < finished + 1 for finished, epoch in seen)
    assert seen == sorted(seen)


def test_verbose_shows_a_bar(classification, capsys):
    model, X, y = classification
    model.fit(X, y, epochs=2, verbose=1)
    assert "2.0/2 epochs" in capsys.readouterr().err
    model.fit(X, y, epochs=2)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("module", "use"),
    [
        ("tqdm", lambda model, X, y: model.fit(X, y, verbose=True)),
        ("matplotlib", lambda model, X, y: model.fit(X, y).plot()),
    ],
)
def test_missing_extras_are_named(classification, monkeypatch, module, use):
    model, X, y = classification
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.split(".")[0] == module:
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=rf"needs {module}: pip install 'fastbp\[cli\]'"):
        use(model, X, y)


# ----------------------------------------------------------------------------------------- history


def test_history(classification):
    model, X, y = classification
    history = model.fit(X, y, epochs=3, validation_data=(X, y))
    assert history.epochs == [1, 2, 3]
    assert len(history.loss) == len(history.val_loss) == len(history.seconds) == len(history) == 3
    assert list(history.metrics) == ["val_accuracy"]
    assert all(seconds > 0 for seconds in history.seconds)
    assert history.to_dict() == {
        "epoch": [1, 2, 3],
        "loss": history.loss,
        "val_loss": history.val_loss,
        "val_accuracy": history.metrics["val_accuracy"],
        "seconds": history.seconds,
    }
    history.to_dict()["loss"].clear()
    assert len(history.loss) == 3


def test_history_without_validation(classification):
    model, X, y = classification
    history = model.fit(X, y, epochs=1)
    assert (history.val_loss, history.metrics) == ([], {})
    assert list(history.to_dict()) == ["epoch", "loss", "seconds"]
    assert history.columns == ("loss", "seconds")
    with pytest.raises(KeyError, match="val_loss"):
        history["val_loss"]


@pytest.mark.parametrize(
    ("callback", "message"),
    [
        (fastbp.EarlyStopping(), "'loss', 'seconds', got 'val_loss'; val_ figures need val"),
        (fastbp.ModelCheckpoint("a", "val_r2", True), "'loss', 'seconds', got 'val_r2'; val_ fig"),
        (fastbp.EarlyStopping("accuracy"), "'loss', 'seconds', got 'accuracy'$"),
    ],
    ids=["early stopping", "checkpoint", "no such figure"],
)
def test_a_figure_that_the_fit_does_not_record(classification, callback, message):
    model, X, y = classification
    with pytest.raises(ValueError, match=f"monitor: expected one of {message}"):
        model.fit(X, y, callbacks=[callback])


def test_history_repr():
    history = fastbp.History(["loss", "val_r2"])
    assert repr(history) == "<History: 0 epochs, 0 s>"
    history.append({"loss": 0.123456, "val_r2": 0.9, "seconds": 1.25})
    history.append({"loss": 0.0123456, "val_r2": 0.95, "seconds": 1.25})
    assert repr(history) == "<History: 2 epochs, 2.5 s, loss=0.01235, val_r2=0.95>"


def test_history_plot(classification):
    figure = pytest.importorskip("matplotlib.figure").Figure()
    model, X, y = classification
    history = model.fit(X, y, epochs=3, validation_data=(X, y))
    left = history.plot(figure.add_subplot())
    _, right = figure.axes
    drawn = {line.get_label(): line.get_ydata().tolist() for line in left.lines + right.lines}
    assert drawn == {
        "loss": history.loss,
        "val_loss": history.val_loss,
        "val_accuracy": history.metrics["val_accuracy"],
    }
    assert [text.get_text() for text in left.get_legend().get_texts()] == list(drawn)
