"""A fit that is cut after any minibatch and resumed ends with the bits of one that never was."""

from functools import partial

import numpy as np
import pytest
from harness import everything

import fastbp
from fastbp import _training

RNG = np.random.default_rng(3)
X = RNG.normal(size=(157, 5))
LABELS = (X[:, 0] * X[:, 1] > 0).astype(int)
WEIGHT = RNG.uniform(0.5, 2.0, size=157)
HELD = (X[:40] + 0.1, LABELS[:40])
OPTIMIZERS = {
    "sgd": fastbp.SGD(0.1),
    "momentum": fastbp.SGD(fastbp.StepDecay(0.1, 0.5, 2), 0.9, nesterov=True),
    "adam": fastbp.Adam(fastbp.Cosine(0.02, 5)),
    "adamw": fastbp.AdamW(0.02, weight_decay=0.1),
    "rmsprop": fastbp.RMSprop(0.01, momentum=0.5),
    "adagrad": fastbp.Adagrad(fastbp.WarmUp(fastbp.Constant(0.05), 2.5)),
}
CLASSIFIER = partial(fastbp.Model, [5, 8, 2], loss="softmax_cross_entropy", seed=1)
DROPOUT = [fastbp.Dense(5, 8, "tanh", dropout=0.3), fastbp.Dense(8, 2, "identity")]


class Keeping(fastbp.ModelCheckpoint):
    """Keeps every file that it has written, and does not save when the fit ends."""

    def __init__(self, path):
        super().__init__(path, every_seconds=0.0)
        self.files = []

    def _save(self, model):
        super()._save(model)
        with open(self._path, "rb") as file:
            self.files.append(file.read())


@pytest.fixture(autouse=True)
def _look_after_every_minibatch(monkeypatch):
    monkeypatch.setattr(_training, "_SLICE", 0.0)


def trained(make, stops, keeping=None, **options):
    """Return a model after its fit, to which checkpoints and a file to resume from may belong."""
    model = make()
    callbacks = [keeping] if keeping else []
    if stops:
        callbacks.append(fastbp.EarlyStopping(patience=2, min_delta=0.01))
    settings = {"epochs": 5, "batch_size": 16, "validation_data": HELD} | options
    X, y = settings.pop("data", (globals()["X"], LABELS))
    model.fit(X, y, callbacks=callbacks, **settings)
    return model


def check_every_cut(path, make, stops, **options):
    """Resume from every file of a run; return how many there were."""
    expected = everything(trained(make, stops, **options))
    keeping = Keeping(path)
    assert everything(trained(make, stops, keeping, **options)) == expected
    for data in keeping.files:
        path.write_bytes(data)
        assert everything(trained(make, stops, resume=path, **options)) == expected
    return len(keeping.files)


@pytest.mark.parametrize("stops", [False, True], ids=["", "early stopping"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_minibatch_of_every_optimizer(tmp_path, name, stops):
    n = check_every_cut(tmp_path / "a", CLASSIFIER, stops, optimizer=OPTIMIZERS[name])
    assert n == 50 or (stops and n % 10 == 0)  # 10 minibatches an epoch


OTHERS = {
    "float64": (partial(CLASSIFIER, dtype="float64"), {}),
    "dropout": (partial(fastbp.Model, DROPOUT, loss="softmax_cross_entropy", seed=1), {}),
    "weights": (CLASSIFIER, {"sample_weight": WEIGHT}),
    "in order": (CLASSIFIER, {"shuffle": False}),
    "penalty": (CLASSIFIER, {"l2": 0.1}),
    "clipping": (CLASSIFIER, {"optimizer": fastbp.Adam(0.01, clip_norm=0.1)}),
    "no validation": (CLASSIFIER, {"validation_data": None}),
    "one minibatch": (CLASSIFIER, {"batch_size": 1000}),
    "Fortran": (CLASSIFIER, {"data": (np.asfortranarray(X, "f4"), LABELS)}),
}


@pytest.mark.parametrize("case", OTHERS)
def test_every_minibatch_of_other_fits(tmp_path, case):
    make, options = OTHERS[case]
    assert check_every_cut(tmp_path / "a", make, False, **options) in (5, 50)


@pytest.mark.skipif(not fastbp._engine.bf16_isas(), reason="this machine has no bf16")
def test_every_minibatch_in_bf16(tmp_path):
    assert check_every_cut(tmp_path / "a", CLASSIFIER, False, precision="bf16") == 50


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_at_another_number_of_threads(tmp_path, threads):
    keeping = Keeping(tmp_path / "a")
    make = partial(fastbp.Model, [5, 64, 64, 2], loss="softmax_cross_entropy", seed=1)
    before = fastbp.get_num_threads()
    expected = everything(trained(make, True, keeping))
    fastbp.set_num_threads(threads)
    try:
        for data in keeping.files[::7]:
            (tmp_path / "a").write_bytes(data)
            assert everything(trained(make, True, resume=tmp_path / "a")) == expected
    finally:
        fastbp.set_num_threads(before)


# ------------------------------------------------------------------------------- how fits are cut


class Interrupting(fastbp.Callback):
    """Raises at the n-th of its calls."""

    def __init__(self, n, error=KeyboardInterrupt):
        self._left, self._error = n, error

    def on_progress(self, model, history, epoch):
        self._left -= 1
        if self._left == 0:
            raise self._error

    def on_epoch_end(self, model, history):
        self.on_progress(model, history, 0.0)


@pytest.mark.parametrize("first", [False, True], ids=["last", "first"])
@pytest.mark.parametrize("n", [1, 9, 10, 11, 23, 30])
def test_an_interrupted_fit_is_saved_where_it_stands(tmp_path, n, first):
    """Also where some callbacks have looked at an epoch and others have not."""
    path, stopping = tmp_path / "a", {"patience": 2, "min_delta": 0.01}
    expected = everything(trained(CLASSIFIER, True))
    model = CLASSIFIER()
    hooks = [fastbp.ModelCheckpoint(path), fastbp.EarlyStopping(**stopping)]
    hooks.insert(0 if first else 2, Interrupting(n, ZeroDivisionError))
    with pytest.raises(ZeroDivisionError):
        model.fit(X, LABELS, epochs=5, batch_size=16, validation_data=HELD, callbacks=hooks)
    assert everything(trained(CLASSIFIER, True, resume=path)) == expected


def test_ctrl_c_in_the_validation(tmp_path, monkeypatch):
    path, evaluate, calls = tmp_path / "a", fastbp.Model._evaluate, []

    def interrupted(model, samples):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return evaluate(model, samples)

    expected = everything(trained(CLASSIFIER, True))
    monkeypatch.setattr(fastbp.Model, "_evaluate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        trained(CLASSIFIER, True, fastbp.ModelCheckpoint(path))
    assert everything(trained(CLASSIFIER, True, resume=path)) == expected


def test_a_fit_is_cut_again_and_again(tmp_path):
    path, expected = tmp_path / "a", everything(trained(CLASSIFIER, True))
    options = {"epochs": 5, "batch_size": 16, "validation_data": HELD}
    for n in (3, 14, 2, 9):
        seed = n if path.exists() else 1  # a resumed model's own is without influence
        model = fastbp.Model([5, 8, 2], loss="softmax_cross_entropy", seed=seed)
        stopping = fastbp.EarlyStopping(patience=2, min_delta=0.01)
        hooks = [stopping, fastbp.ModelCheckpoint(path), Interrupting(n)]
        with pytest.raises(KeyboardInterrupt):
            model.fit(X, LABELS, callbacks=hooks, resume=path if path.exists() else None, **options)
    assert everything(trained(CLASSIFIER, True, resume=path)) == expected


def test_more_epochs_than_before(tmp_path):
    path = tmp_path / "a"
    trained(CLASSIFIER, False, fastbp.ModelCheckpoint(path), epochs=3)
    longer = trained(CLASSIFIER, False, resume=path, epochs=6)
    assert everything(longer) == everything(trained(CLASSIFIER, False, epochs=6))
    done = trained(CLASSIFIER, False, resume=path, epochs=2)  # nothing is left to do
    assert everything(done) == everything(trained(CLASSIFIER, False, epochs=3))


def test_a_fit_that_a_callback_has_ended_is_at_its_end(tmp_path):
    path = tmp_path / "a"
    ended = trained(CLASSIFIER, True, fastbp.ModelCheckpoint(path), epochs=50)
    assert len(ended.history) < 50
    assert everything(trained(CLASSIFIER, True, resume=path, epochs=50)) == everything(ended)


def test_the_best_so_far_is_known_after_resuming(tmp_path):
    """A figure that is worse than the best of before does not replace the file."""
    path, best = tmp_path / "a", tmp_path / "best"
    make = partial(trained, CLASSIFIER, False, optimizer=fastbp.SGD(0.5))
    make(fastbp.ModelCheckpoint(path), epochs=4)
    resumed = CLASSIFIER()
    saver = fastbp.ModelCheckpoint(best, save_best_only=True)
    resumed.fit(
        X,
        LABELS,
        epochs=9,
        batch_size=16,
        validation_data=HELD,
        optimizer=fastbp.SGD(0.5),
        callbacks=[saver],
        resume=path,
    )
    losses = resumed.history.val_loss
    saves = np.minimum.accumulate(losses)[3:] < np.minimum.accumulate(losses)[2:-1]
    assert best.exists() == bool(saves[1:].any())


def test_a_fit_that_diverges_leaves_the_checkpoint_before(tmp_path):
    path = tmp_path / "a"
    model = fastbp.Model([5, 8, 2], loss="softmax_cross_entropy", seed=1)
    saver = fastbp.ModelCheckpoint(path)
    rising = fastbp.SGD(fastbp.StepDecay(1e-9, 1e30, 2))
    with pytest.raises(fastbp.DivergenceError):
        model.fit(X * 1e6, LABELS, optimizer=rising, callbacks=[saver])
    assert len(model.history) == 2
    saved = fastbp.Model.load(path)
    assert np.isfinite(saved.loss(X, LABELS))
