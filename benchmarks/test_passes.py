"""What a user calls: a gradient for a loop of one's own, an epoch of `fit`, a prediction.

Adam, ReLU, softmax cross-entropy, shuffled rows, float32, with as many threads as fastbp would use.
Only the products count as work: activations, loss and optimizer lower the rate.
"""

from itertools import pairwise

import pytest

import fastbp


def forward_flop(net, rows):
    """Operations of `rows` samples from inputs to outputs; a multiply-add counts as two."""
    return 2 * rows * sum(n_in * n_out for n_in, n_out in pairwise(net))


def training_flop(net, rows):
    """Operations of both passes; dl/dx of the first layer is not computed."""
    return 3 * forward_flop(net, rows) - forward_flop(net[:2], rows)


batches = pytest.mark.parametrize("batch", [1, 32, 128, 1024])


@batches
def test_gradient(measure, model, net, make_samples, n_threads, batch):
    X, y = make_samples(batch)
    out = model.gradient(X, y)
    measure(
        lambda: model.loss_and_gradient(X, y, out=out),
        flop=training_flop(net, batch),
        threads=n_threads,
    )


@batches
def test_epoch(measure, model, net, make_samples, n_threads, batch):
    steps = max(4, min(1000, 200_000_000 // training_flop(net, batch)))
    X, y = make_samples(batch * steps)
    measure(
        lambda: model.fit(X, y, epochs=1, batch_size=batch, optimizer=fastbp.Adam()),
        flop=training_flop(net, batch * steps),
        steps=steps,
        threads=n_threads,
    )


@batches
def test_predict(measure, model, net, make_samples, n_threads, batch):
    X, _ = make_samples(batch)
    measure(lambda: model.predict(X), flop=forward_flop(net, batch), threads=n_threads)
