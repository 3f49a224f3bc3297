"""Build of the extension modules: flags, table of ISAs, probes of the compiler.

Everything else about the package stands in pyproject.toml. Switches (environment, ``=1``):

``FASTBP_NO_OPENMP``  build serial, without the warning
``FASTBP_DEBUG``      checks of indices and of None in the Cython modules, ``-O1 -g``
``FASTBP_WERROR``     warnings in ``src_c`` are errors
"""

import os
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError
from setuptools.modified import newer_group

DEBUG = os.environ.get("FASTBP_DEBUG") == "1"
WERROR = os.environ.get("FASTBP_WERROR") == "1"
NO_OPENMP = os.environ.get("FASTBP_NO_OPENMP") == "1"

C_SOURCES = ["src_c/plan.c", "src_c/runtime.c", "src_c/dispatch.c", "src_c/bf16.c"]
C_SOURCES += ["src_c/isa/generic.c"]
INCLUDE_DIRS = ["src_c/include"]
HEADERS = sorted(str(path) for path in Path("src_c").rglob("*.h"))

AVX2 = ["-mavx2", "-mfma"]
AVX512 = [*AVX2, "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mprefer-vector-width=512"]
AVX512_BF16 = [*AVX512, "-mavx512bf16"]
AMX = [*AVX512_BF16, "-mamx-tile", "-mamx-bf16"]
# source, macro that tells the others of it, flags; left out where the compiler cannot build it
ISAS = [
    ("src_c/isa/avx2.c", "FBP_HAVE_AVX2", AVX2),
    ("src_c/isa/avx512.c", "FBP_HAVE_AVX512", AVX512),
    ("src_c/isa/avx512_bf16.c", "FBP_HAVE_AVX512_BF16", AVX512_BF16),
    ("src_c/isa/amx.c", "FBP_HAVE_AMX", AMX),
]
PROBE = "int fbp_probe;\n"
X86_64_PROBE = f"#ifndef __x86_64__\n#error another architecture\n#endif\n{PROBE}"

# No -ffast-math or its like: linking with it makes all of Python flush denormals. No contraction:
# an FMA stands in the result only where the source says so, on every ISA alike.
OPTIMIZE = ["-O1", "-g"] if DEBUG else ["-O3"]
C_FLAGS = ["-std=c11", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off"]
C_FLAGS += ["-fvisibility=hidden", *OPTIMIZE]
HARDENING = ["-fstack-protector-strong", "-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=3"]
HARDENING += ["-Wformat", "-Werror=format-security"]
OPTIONAL_C_FLAGS = [
    "-fstack-clash-protection",
    "-fcf-protection",
    f"-ffile-prefix-map={Path.cwd()}=.",
]
LINK_FLAGS = ["-Wl,-z,relro,-z,now", "-Wl,-z,noexecstack", "-Wl,--as-needed"]
WARNINGS = ["-Wall", "-Wextra"]
WARNINGS += ["-Werror", "-Wshadow", "-Wdouble-promotion"] if WERROR else []
FORBIDDEN = {"-Ofast", "-ffast-math", "-funsafe-math-optimizations", "-ffinite-math-only"}

OPENMP_PROBE = "#include <omp.h>\nint fbp_probe(void) { return omp_get_max_threads(); }\n"
OPENMP_FLAGS = [  # compile, link
    (["-fopenmp"], ["-fopenmp"]),
    (["-Xpreprocessor", "-fopenmp"], ["-lomp"]),  # Apple's clang with libomp beside it
]

# Not overflowcheck: it takes hashes of unsigned integers for errors, and raises without the GIL.
# tools/sanitizers.py finds overflows.
DIRECTIVES = {
    "language_level": 3,
    "boundscheck": DEBUG,
    "initializedcheck": DEBUG,
    "nonecheck": DEBUG,
    "wraparound": False,  # with boundscheck on, a negative index is an error too
    "cdivision": True,
    "embedsignature": False,
}

NO_COMPILER = """no working C compiler ({command}).
fastbp is built from C: install gcc or clang and try again.
    Debian, Ubuntu   apt-get install build-essential
    Fedora, RHEL     dnf install gcc
    macOS            xcode-select --install
    Windows          use WSL"""
NO_HEADERS = """Python.h is missing: the C compiler works, but this Python came without its headers.
    Debian, Ubuntu   apt-get install python3-dev
    Fedora, RHEL     dnf install python3-devel"""
NO_OPENMP_WARNING = """
***********************************************************************************************
fastbp is being built WITHOUT OpenMP: this compiler cannot compile and link a program with it.
Training and prediction will use ONE thread, whatever fastbp.set_num_threads asks for.
To mend it, install OpenMP for this compiler (gcc: libgomp; clang: libomp-dev; macOS: brew
install libomp and its paths in CPPFLAGS and LDFLAGS) and install fastbp again.
If one thread is what you want, FASTBP_NO_OPENMP=1 silences this warning.
***********************************************************************************************"""


class BuildExt(build_ext):
    """Compiles the C sources, each with its own flags, and links them into _engine."""

    def initialize_options(self):
        super().initialize_options()
        self.cython_c_in_temp = 1
        self.cython_directives = dict(DIRECTIVES)

    def build_extensions(self):
        self.check_compiler()
        flags = [f for f in OPTIONAL_C_FLAGS if self.builds(PROBE, ["-Werror", f])]
        flags = [*C_FLAGS, *HARDENING, *flags]
        link_flags = [f for f in LINK_FLAGS if self.builds(PROBE, [], [f])]
        openmp_flags, openmp_link_flags = self.find_openmp()
        flags += openmp_flags
        link_flags += openmp_link_flags
        self.isas = [isa for isa in ISAS if self.builds(X86_64_PROBE, isa[2])]
        for ext in self.extensions:
            ext.extra_compile_args = flags
            ext.extra_link_args = link_flags
        settings = [self.compiler.compiler_so, flags, link_flags, self.isas, DIRECTIVES, WARNINGS]
        with self.rebuilt_if_changed(repr(settings)):
            super().build_extensions()

    def build_extension(self, ext):
        if ext.name == "fastbp._engine":
            ext.extra_objects = self.compile_c(ext.extra_compile_args)
        super().build_extension(ext)

    def compile_c(self, flags):
        """Object files of the C sources; those that are up to date are kept."""
        macros = [(macro, "1") for _, macro, _ in self.isas]
        jobs = [(source, []) for source in C_SOURCES] + [(isa[0], isa[2]) for isa in self.isas]

        def compile_one(job):
            source, isa_flags = job
            [target] = self.compiler.object_filenames([source], output_dir=self.build_temp)
            if self.force or newer_group([source, "setup.py", *HEADERS], target):
                self.compiler.compile(
                    [source],
                    output_dir=self.build_temp,
                    macros=macros,
                    include_dirs=INCLUDE_DIRS,
                    extra_postargs=[*flags, *WARNINGS, *isa_flags],
                )
            return target

        with ThreadPoolExecutor(self.parallel or os.cpu_count()) as pool:
            return list(pool.map(compile_one, jobs))

    def check_compiler(self):
        command = getattr(self.compiler, "compiler_so", ["MSVC"])
        if not shutil.which(command[0]) or not self.builds(PROBE):
            raise CompileError(NO_COMPILER.format(command=command[0]))
        if not self.builds("#include <Python.h>\n"):
            raise CompileError(NO_HEADERS)
        if given := FORBIDDEN.intersection([*command, *self.compiler.linker_so]):
            raise CompileError(
                f"{', '.join(given)} in CFLAGS or LDFLAGS: fastbp cannot be built with it, as it "
                "changes the floating-point arithmetic of the whole Python process; take it out."
            )

    def find_openmp(self):
        """Flags to compile and link with OpenMP; none where there is none."""
        if NO_OPENMP:
            return [], []
        for compile_flags, link_flags in OPENMP_FLAGS:
            if self.builds(OPENMP_PROBE, compile_flags, link_flags):
                return compile_flags, link_flags
        self.warn(NO_OPENMP_WARNING)
        return [], []

    def builds(self, source, flags=(), link_flags=()):
        """Whether the compiler can make a shared library of a C source with these flags."""
        include = [f"-I{folder}" for folder in self.compiler.include_dirs]
        compile_ = [*self.compiler.compiler_so, *include, *flags, "-c", "probe.c", "-o", "probe.o"]
        link = [*self.compiler.linker_so, "probe.o", *link_flags, "-o", "probe.so"]
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "probe.c").write_text(source)
            return all(
                subprocess.run(command, cwd=folder, capture_output=True, check=False).returncode
                == 0
                for command in (compile_, link)
            )

    @contextmanager
    def rebuilt_if_changed(self, settings):
        """Force a full build unless the last one was finished with the same settings."""
        stamp = Path(self.build_temp, "settings.txt")
        if not stamp.exists() or stamp.read_text() != settings:
            self.force = True
            stamp.unlink(missing_ok=True)
        yield
        stamp.write_text(settings)


depends = ["setup.py", *HEADERS, *C_SOURCES, *(isa[0] for isa in ISAS)]
extensions = [
    Extension(f"fastbp.{name}", [f"fastbp/{name}.pyx"], include_dirs=INCLUDE_DIRS, depends=depends)
    for name in ("_engine", "_kernels")
]
setup(ext_modules=extensions, cmdclass={"build_ext": BuildExt})
