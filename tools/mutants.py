"""Every damage of one byte, every truncation and many splices of a model file and a checkpoint.

    python tools/mutants.py [--sample N]

Each mutant is refused with ModelFormatError, or what is loaded is equal to the original (a changed
blank in the header, say). Anything else is printed and makes the exit status 1. ``--sample`` takes
N of each file's mutants, always the same ones, instead of all.
"""

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from itertools import islice
from pathlib import Path

import numpy as np

import fastbp
from fastbp import _serialization

SPLICES = 10_000
MOST_SHOWN = 20


def originals(folder):
    """Return the bytes of a model file and of a checkpoint, 4 KiB each."""
    x = np.random.default_rng(0).normal(size=(30, 14))
    y = (x[:, 0] > 0).astype(int)
    model = fastbp.Model([14, 50, 2], loss="softmax_cross_entropy", seed=0)
    model.metadata = {"columns": ["a", "σ"], "scale": [0.1, None]}
    model.save(folder / "model")
    small = fastbp.Model([14, 8, 2], loss="softmax_cross_entropy", seed=0)
    callbacks = [fastbp.ModelCheckpoint(folder / "checkpoint"), fastbp.EarlyStopping("loss")]
    small.fit(x, y, epochs=2, callbacks=callbacks)
    return {name: (folder / name).read_bytes() for name in ("model", "checkpoint")}


def mutants(data, other, chance):
    """Yield what was done to a file, and the bytes."""
    for at in range(len(data)):
        for value in range(256):
            if value != data[at]:
                yield f"byte {at} = {value}", data[:at] + bytes([value]) + data[at + 1 :]
    for length in range(len(data)):
        yield f"first {length} bytes", data[:length]
    for number in range(SPLICES):
        yield f"splice {number}", spliced(data, other, chance)


def spliced(data, other, chance):
    """Put a piece of this file or the other into the place of another piece."""
    while True:
        source = chance.choice((data, other))
        begin, end = sorted(chance.sample(range(len(source) + 1), 2))
        first = chance.randrange(len(data) + 1)
        last = chance.choice((first, min(first + end - begin, len(data))))
        mutant = data[:first] + source[begin:end] + data[last:]
        if mutant not in (data, other):
            return mutant


def read(path):
    """Return all that a file holds, as plain values."""
    held = _serialization.load(path)
    part = held.training
    training = part and (part.config, {k: as_plain(v) for k, v in sorted(part.tensors.items())})
    tensors = [as_plain(tensor) for tensor in held.tensors]
    return held.layers, held.loss, held.dtype, tensors, held.metadata, training


def as_plain(tensor):
    """Return an array as values that can be compared."""
    return tensor.dtype.str, tensor.shape, tensor.tobytes()


def check(name, data, other, folder, sample):
    """Return how many mutants had which outcome, those that had another, and the longest time."""
    path = folder / "mutant"
    path.write_bytes(data)
    expected = read(path)
    chance = random.Random(name)
    some = mutants(data, other, chance)
    if sample:
        total = 255 * len(data) + len(data) + SPLICES
        chosen = set(random.Random(0).sample(range(total), min(sample, total)))
        some = (mutant for i, mutant in enumerate(some) if i in chosen)
    outcomes, others, slowest = Counter(), [], 0.0
    for what, mutant in some:
        path.write_bytes(mutant)
        begun = time.perf_counter()
        try:
            outcome = "equal" if read(path) == expected else "loaded, but not equal"
        except fastbp.ModelFormatError:
            outcome = "refused"
        except Exception as error:
            outcome = repr(error)
        slowest = max(slowest, time.perf_counter() - begun)
        outcomes[outcome if outcome in ("equal", "refused") else "other"] += 1
        if outcome not in ("equal", "refused"):
            others.append(f"{name}: {what}: {outcome}")
    return outcomes, others, slowest


def main(arguments=None):
    """Check both files; return 1 if a mutant had another outcome than it should."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sample", type=int, default=0, metavar="N")
    options = parser.parse_args(arguments)
    failed = False
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = originals(folder)
        for kind, other in (("model", "checkpoint"), ("checkpoint", "model")):
            data = files[kind]
            outcomes, others, slowest = check(kind, data, files[other], folder, options.sample)
            print(
                f"{kind}: {len(data)} bytes, {outcomes.total():,} mutants: "
                f"{outcomes['refused']:,} refused, {outcomes['equal']:,} equal, "
                f"{outcomes['other']:,} other; slowest {1e3 * slowest:.1f} ms"
            )
            for line in islice(others, MOST_SHOWN):
                print(line)
            failed = failed or bool(others)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
