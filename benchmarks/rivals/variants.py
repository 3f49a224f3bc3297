"""What is measured: libraries with their settings. Nothing is imported here."""

import os
from dataclasses import dataclass, replace
from importlib.util import find_spec

CPUS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class Variant:
    """A library with its settings, which gets a process of its own."""

    label: str
    rival: str
    package: str
    runner: str
    threads: int
    pinned: bool = False
    fallbacks: bool = False  # a later mode of the runner is for where an earlier one fails

    @property
    def name(self) -> str:
        if self.pinned:
            return f"{self.label}, pinned to 1 CPU"
        return f"{self.label}, {self.threads} thread{'s' * (self.threads > 1)}"

    @property
    def environment(self) -> dict[str, str]:
        """Variables of the process. JAX does not heed them: it has default threads or is pinned."""
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        compile_here = {"TORCHINDUCTOR_COMPILE_THREADS": "1"}  # no pool of compiling processes
        return dict.fromkeys(names, str(self.threads)) | compile_here

    @property
    def installed(self) -> bool:
        return find_spec(self.package) is not None


FASTBP = "fastbp"
ONE_OR_ALL = sorted({1, CPUS})
FIT = Variant("fastbp", FASTBP, "fastbp", "fastbp_runner:Fit", CPUS)
CEILING = Variant("FMA ceiling", "ceiling", "fastbp", "fastbp_runner:Ceiling", CPUS)
EAGER = Variant("PyTorch eager", "torch", "torch", "torch_runner:Eager", CPUS)
COMPILED = Variant(
    "torch.compile", "torch.compile", "torch", "torch_runner:Compiled", CPUS, fallbacks=True
)
JAX = Variant("JAX scan", "jax", "jax", "jax_runner:Scan", CPUS)
SKLEARN = Variant("scikit-learn", "sklearn", "sklearn", "sklearn_runner:PartialFit", CPUS)
VARIANTS = (
    *(replace(v, threads=n) for v in (FIT, EAGER, COMPILED) for n in ONE_OR_ALL),
    *([replace(JAX, threads=1, pinned=True)] if hasattr(os, "sched_setaffinity") else []),
    JAX,
    *(replace(SKLEARN, threads=n) for n in ONE_OR_ALL),
)
RIVALS = tuple(dict.fromkeys(v.rival for v in VARIANTS if v.rival != FASTBP))
