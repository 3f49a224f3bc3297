"""Schedules give PyTorch's rates (recorded from torch 2.13) or their closed form."""

import numpy as np
import pytest

import fastbp

STEP_LR = [0.1, 0.1, 0.1, 0.05, 0.05, 0.05, 0.025, 0.025]
EXPONENTIAL_LR = [0.1, 0.09, 0.081, 0.0729, 0.06561]
COSINE_ANNEALING_LR = [
    0.1, 0.09140576474687263, 0.06890576474687263, 0.04109423525312736, 0.018594235253127367, 0.01,
]  # fmt: skip
LINEAR_LR = [0.1 / 3, 0.05, 0.2 / 3, 0.25 / 3, 0.1, 0.1]
# total_steps=11, pct_start=0.5: peak at 4.5 of 10
ONE_CYCLE_LR = [
    0.004, 0.01522986673028906, 0.04366488747198734, 0.076, 0.0971052457977236, 0.09797465678213016,
    0.08274310572511748, 0.05711591345069661, 0.029229532432908288, 0.0079376916091475, 4e-07,
]  # fmt: skip

CASES = {
    "step": (fastbp.StepDecay(0.1, factor=0.5, every=3), STEP_LR),
    "exponential": (fastbp.ExponentialDecay(0.1, factor=0.9), EXPONENTIAL_LR),
    "cosine": (fastbp.Cosine(0.1, epochs=5, final=0.01), COSINE_ANNEALING_LR),
    "warm_up": (fastbp.WarmUp(fastbp.Constant(0.1), epochs=4), LINEAR_LR),
    "one_cycle": (fastbp.OneCycle(0.1, epochs=10, rise=0.45), ONE_CYCLE_LR),
    "constant": (fastbp.Constant(0.1), [0.1, 0.1]),
}


@pytest.mark.parametrize("name", CASES)
def test_rates_at_whole_epochs(name):
    schedule, expected = CASES[name]
    epoch = np.arange(len(expected), dtype=float)
    np.testing.assert_allclose(schedule(7 * epoch, epoch), expected, rtol=1e-12)


def test_inverse_scaling_counts_updates_not_epochs():
    rates = fastbp.InverseScaling(0.8)(np.array([0.0, 3.0, 15.0]), np.zeros(3))
    np.testing.assert_allclose(rates, [0.8, 0.4, 0.2], rtol=1e-15)


def test_rates_between_epochs():
    half = np.array([0.5])
    assert fastbp.StepDecay(1.0, 0.1, every=1)(half, half) == 1.0
    np.testing.assert_allclose(fastbp.ExponentialDecay(1.0, 0.25)(half, half), 0.5, rtol=1e-15)
    np.testing.assert_allclose(fastbp.Cosine(1.0, epochs=1)(half, half), 0.5, rtol=1e-15)


@pytest.mark.parametrize("schedule", [fastbp.Cosine(1.0, 2, 0.25), fastbp.OneCycle(6.25e4, 2)])
def test_last_rate_holds_after_the_end(schedule):
    rates = schedule(np.zeros(3), np.array([2.0, 2.5, 1e6]))
    np.testing.assert_allclose(rates, 0.25, rtol=1e-12)


def test_fit_evaluates_the_schedule_at_every_update(regression):
    model, X, y = regression
    seen = []

    class Spy(fastbp.Schedule):
        def __call__(self, step, epoch):
            seen.append((step.tolist(), epoch.tolist()))
            return np.full(step.shape, 1e-3)

    optimizer = fastbp.SGD(Spy())
    model.fit(X, y, epochs=2, batch_size=8, optimizer=optimizer)
    model.fit(X[:4], y[:4], epochs=1, batch_size=4, optimizer=optimizer)
    third = [0.0, 1 / 3, 2 / 3]
    assert seen == [
        ([0, 1, 2], third),
        ([3, 4, 5], [1 + share for share in third]),
        ([6], [2.0]),
    ]


@pytest.mark.parametrize(
    ("rates", "given"),
    [
        (lambda step: step - 1.0, r"array\(\[-1"),
        (lambda step: step * np.nan, "nan"),
        (lambda step: 0.1, r"array\(0.1\)"),
    ],
    ids=["negative", "nan", "scalar"],
)
def test_what_no_schedule_may_give(regression, rates, given):
    model, X, y = regression
    before = model.parameters.copy()

    class Wrong(fastbp.Schedule):
        def __call__(self, step, epoch):
            return rates(step)

    with pytest.raises(ValueError, match=f"learning_rate: expected finite rates.*{given}"):
        model.fit(X, y, batch_size=20, optimizer=fastbp.SGD(Wrong()))
    np.testing.assert_array_equal(model.parameters, before)
