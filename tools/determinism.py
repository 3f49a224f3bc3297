"""Train the same under many circumstances and compare SHA-256 sums of all weights.

Varied are the number of threads, OMP_DYNAMIC, OMP_PROC_BIND, the kernel table (those with FMA) and
the layout of X, over nets of all three ways to share a batch, losses, optimizers and options, an
estimator and ``fastbp train``. OpenMP reads its variables when it is loaded: there is one new
process for each setting of them, and in it a forked child for each run. Every sum is compared with
that of one thread, the best table and a plain array.

Usage: ``python tools/determinism.py [--long]``.
"""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from harness import Verdict, answer_of_fork, options, parsed, use_threads

import fastbp
from fastbp import _engine

THREADS = (1, 2, 3, 4, 5, 7, 8, 16)
ENVIRONMENTS = tuple(product(("true", "false"), ("spread", "close", "false")))
ISAS = tuple(isa for isa in _engine.isas() if isa != "generic") or _engine.isas()[:1]
PLAIN = (1, ISAS[0], "contiguous")
LABELS = 5


def spread(x: Any) -> Any:
    """Return x as every second row and third column of a larger array."""
    wide = np.zeros((2 * len(x), 3 * x.shape[1]), x.dtype)
    wide[::2, ::3] = x
    return wide[::2, ::3]


LAYOUTS: dict[str, Callable[[Any], Any]] = {
    "contiguous": np.ascontiguousarray,
    "Fortran": np.asfortranarray,
    "strided": spread,
    "backwards": lambda x: x[::-1, ::-1].copy()[::-1, ::-1],
    "float64": lambda x: x.astype(np.float64),
}


def fitted(
    widths: list[int] | list[fastbp.Dense],
    batch_size: int,
    layout: str,
    *,
    loss: str | fastbp.Loss = "softmax_cross_entropy",
    n: int = 1100,
    weighted: bool = False,
    model: dict[str, Any] | None = None,
    **settings: Any,
) -> bytes:
    """Train one net; return its parameters."""
    rng = np.random.default_rng(7)
    net = fastbp.Model(widths, loss=loss, seed=3, **model or {})
    x = rng.standard_normal((n, net.layers[0].n_in), np.float32)
    if loss == "softmax_cross_entropy":
        y = rng.integers(net.layers[-1].n_out, size=n)
    else:
        y = rng.uniform(0, 1, (n, net.layers[-1].n_out))
    weight = rng.uniform(0.5, 2, n) if weighted else None
    net.fit(
        LAYOUTS[layout](x), y, epochs=1, batch_size=batch_size, sample_weight=weight, **settings
    )
    if not np.isfinite(net.parameters).all():
        raise FloatingPointError("parameters that are not finite compare nothing")
    return net.parameters.tobytes()


def estimator(sparse: bool, layout: str) -> bytes:
    """Train an estimator; return its parameters."""
    rng = np.random.default_rng(7)
    x = rng.standard_normal((600, 30), np.float32) * (rng.uniform(size=(600, 30)) < 0.3)
    y = rng.integers(3, size=600)
    if sparse:
        from scipy.sparse import csr_array  # noqa: PLC0415 -- only here

        x = csr_array(x)
    else:
        # an estimator trains in the dtype of X
        x = LAYOUTS["contiguous" if layout == "float64" else layout](x)
    net = fastbp.MLPClassifier((300, 200), max_iter=3, random_state=1, n_iter_no_change=9)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that three epochs are few
        net.fit(x, y)
    return b"".join(part.tobytes() for part in (*net.coefs_, *net.intercepts_))


def command(_layout: str) -> bytes:
    """Train with the command on as many threads as are set; return the parameters."""
    from fastbp.cli import main as run  # noqa: PLC0415 -- only here

    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "a.safetensors"
        threads = str(fastbp.get_num_threads())
        with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
            words = ("--hidden", "40,20", "--epochs", "2", "--batch-size", "200")
            status = run(["train", *words, "--threads", threads, "--out", str(out)])
        if status:
            raise RuntimeError(f"fastbp train: status {status}")
        return fastbp.Model.load(out).parameters.tobytes()


DROPPING = [fastbp.Dense(40, 90, "relu", dropout=0.4), fastbp.Dense(90, LABELS, "identity")]
ADAM = fastbp.Adam(1e-3)
CLIPPED = fastbp.Adam(1e-3, weight_decay=1e-3, clip_norm=0.1)
MOMENTUM = fastbp.SGD(1e-3, 0.9, nesterov=True)
F64 = {"dtype": "float64"}
BASE: dict[str, Callable[[str], bytes]] = {
    # by slabs
    "narrow 128": partial(fitted, [16, 32, 32, LABELS], 128, optimizer=ADAM),
    "narrow 1024": partial(fitted, [16, 32, 32, LABELS], 1024, optimizer=MOMENTUM),
    "narrow float64": partial(fitted, [16, 32, LABELS], 300, model=F64),
    "narrow, one output": partial(fitted, [16, 32, 1], 256, loss=fastbp.Huber(0.3)),
    "narrow, clipped": partial(fitted, [20, 33, 7, LABELS], 130, optimizer=CLIPPED, weighted=True),
    # by weights
    "one sample": partial(fitted, [64, 67, 33, LABELS], 1, n=150, optimizer=ADAM),
    "one sample, in parts": partial(fitted, [520, 300, LABELS], 1, n=40, optimizer=ADAM),
    "few, in parts": partial(fitted, [70, 520, 70, LABELS], 4, n=200, optimizer=MOMENTUM),
    "32": partial(fitted, [64, 128, LABELS], 32, optimizer=ADAM),
    "100, tanh": partial(
        fitted,
        [200, 300, 150, LABELS],
        100,
        model={"activation": "tanh"},
        optimizer=fastbp.AdamW(1e-3),
    ),
    "one output": partial(fitted, [150, 200, 1], 17, loss="squared_error", optimizer=MOMENTUM),
    # by rows
    "200, gelu": partial(
        fitted, [200, 256, 128, LABELS], 200, model={"activation": "gelu"}, optimizer=ADAM
    ),
    "700, one output": partial(fitted, [300, 256, 1], 700, loss="absolute_error"),
    "200, float64": partial(fitted, [200, 150, LABELS], 200, model=F64, optimizer=CLIPPED),
    "dropout": partial(fitted, DROPPING, 50, optimizer=ADAM),
    "dropout, wide": partial(
        fitted, [fastbp.Dense(300, 200, "silu", dropout=0.2), fastbp.Dense(200, LABELS)], 400
    ),
    # others
    "weights, l2": partial(fitted, [64, 128, LABELS], 60, weighted=True, l2=0.1),
    "rmsprop, mish": partial(
        fitted,
        [30, 50, 3],
        48,
        loss="poisson",
        model={"activation": "mish"},
        optimizer=fastbp.RMSprop(1e-3, momentum=0.5),
    ),
    "adagrad, elu": partial(
        fitted,
        [30, 50, 3],
        111,
        loss=fastbp.Pinball(0.3),
        model={"activation": "elu"},
        optimizer=fastbp.Adagrad(1e-2),
    ),
    "sigmoid": partial(
        fitted, [30, 50, 2], 96, loss="binary_cross_entropy", model={"activation": "sigmoid"}
    ),
    "estimator": partial(estimator, False),
    "estimator, sparse": partial(estimator, True),
    "fastbp train": command,
}
BF16: dict[str, Callable[[str], bytes]] = {
    "bf16": partial(fitted, [200, 256, LABELS], 200, precision="bf16", optimizer=ADAM)
}
FITS = BASE | (BF16 if _engine.bf16_isas() else {})
Run = tuple[str, int, str, str]  # fit, threads, kernel table, layout


def digest(fit: str, threads: int, isa: str, layout: str) -> str:
    """Return the SHA-256 of a fit's weights."""
    use_threads(threads)
    _engine.use_isa(isa)
    return hashlib.sha256(FITS[fit](layout)).hexdigest()


def serve() -> None:
    """Read runs from standard input; answer each with its digest, or with what happened."""
    for run in json.load(sys.stdin):
        status, answer = answer_of_fork(partial(digest, *run))
        print(answer if status == 0 else f"status {status}", flush=True)


def digests(environment: dict[str, str], runs: list[Run]) -> list[str]:
    """Do runs in a new process."""
    done = subprocess.run(
        [sys.executable, __file__, "--serve"],
        input=json.dumps(runs),
        stdout=subprocess.PIPE,
        env=os.environ | environment,
        text=True,
        check=True,
    )
    return done.stdout.split("\n")[:-1]


def drawn(n: int, rng: np.random.Generator) -> list[Run]:
    """Return n runs in random order: each fit as often as the next, the rest at random."""
    names = list(FITS)
    return [
        (
            names[i % len(names)],
            int(rng.choice(THREADS)),
            str(rng.choice(ISAS)),
            str(rng.choice(list(LAYOUTS))),
        )
        for i in rng.permutation(n)
    ]


def main() -> int:
    """Compare n runs; return the exit status."""
    parser = options(__doc__, short=60, long=1500)
    parser.add_argument("--serve", action="store_true", help="be a process that does the runs")
    arguments = parsed(parser)
    if arguments.serve:
        serve()
        return 0
    rng, verdict = np.random.default_rng(arguments.seed), Verdict("determinism")
    expected = dict(zip(FITS, digests({}, [(fit, *PLAIN) for fit in FITS]), strict=True))
    for fit, bits in expected.items():
        verdict.expect(not bits.startswith("status"), f"{fit}: {bits}")
    verdict.expect(len(set(expected.values())) == len(FITS), "two fits with the same weights")
    runs = drawn(arguments.n, rng)
    parts = [runs[i :: len(ENVIRONMENTS)] for i in range(len(ENVIRONMENTS))]
    for (dynamic, bind), part in zip(ENVIRONMENTS, parts, strict=True):
        environment = {"OMP_DYNAMIC": dynamic, "OMP_PROC_BIND": bind}
        for run, bits in zip(part, digests(environment, part), strict=True):
            verdict.expect(bits == expected[run[0]], f"{run}, {environment}: {bits}")
    return verdict.status(runs=len(runs), fits=len(FITS), kernel_tables=", ".join(ISAS))


if __name__ == "__main__":
    sys.exit(main())
