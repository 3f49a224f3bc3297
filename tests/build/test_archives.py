"""What the source archive and the wheel contain."""

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def not_sources(folder, names):
    """Names of a folder that a fresh checkout would not have."""
    if Path(folder) == ROOT:
        dots = {".ci", ".clang-format", ".editorconfig"}
        return {n for n in names if n in ("build", "dist") or (n.startswith(".") and n not in dots)}
    return shutil.ignore_patterns("*.so", "__pycache__")(folder, names)


def build(kind, folder):
    """Build an archive from a copy of the checkout; return its path."""
    tree = folder / "tree"
    shutil.copytree(ROOT, tree, ignore=not_sources)
    code = f"from setuptools import build_meta as b; print(b.build_{kind}({str(folder)!r}))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tree, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder / done.stdout.split()[-1]


def sources(*patterns):
    """Paths of the checkout's files that match, relative to it."""
    paths = {path for pattern in patterns for path in ROOT.glob(pattern) if path.is_file()}
    assert paths
    return {path.relative_to(ROOT).as_posix() for path in paths}


def test_the_source_archive_has_all_sources_and_nothing_built(tmp_path):
    with tarfile.open(build("sdist", tmp_path)) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = sources("src_c/**/*.[ch]", "fastbp/**/*.py*", "fastbp/data/*", "docs/*")
    wanted |= sources("tests/**/*.py", "tests/golden/*", "benchmarks/*.py", "tools/*.py", "*.md")
    wanted -= {name for name in wanted if "__pycache__" in name}
    wanted |= {"LICENSE", "setup.py", "pyproject.toml", ".ci/run", ".clang-format"}
    assert wanted - names == set()
    built = (".so", ".o", ".pyc", ".safetensors")
    assert [name for name in names if name.endswith(built) or "build/temp" in name] == []
    assert [name for name in names if name.startswith("fastbp/") and name.endswith(".c")] == []


@pytest.mark.long
def test_the_wheel_has_modules_data_and_types_but_no_sources_of_c(tmp_path):
    with zipfile.ZipFile(build("wheel", tmp_path)) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    wanted = sources("fastbp/*.py", "fastbp/*.pyi", "fastbp/data/*", "fastbp/py.typed")
    assert wanted - names == set()
    assert sum(name.endswith((".so", ".pyd")) for name in names) == 2
    assert {name.split("/")[0] for name in names} == {"fastbp"}
    assert [name for name in names if name.endswith((".c", ".h"))] == []


@pytest.mark.long
@pytest.mark.parametrize("switch", ["FASTBP_NO_OPENMP", "FASTBP_DEBUG"])
def test_other_builds_train_like_the_installed_one(switch, tmp_path, monkeypatch):
    monkeypatch.setenv(switch, "1")
    with zipfile.ZipFile(build("wheel", tmp_path)) as archive:
        archive.extractall(tmp_path / "installed")
    code = """if True:
        import hashlib, fastbp
        X, y = fastbp.datasets.load_digits()
        model = fastbp.Model([64, 16, 10], loss="softmax_cross_entropy", seed=0)
        model.fit(X, y, epochs=1)
        print(fastbp.__file__)
        print(hashlib.sha256(model.parameters.tobytes()).hexdigest())
        fastbp.show_config()
    """

    def run(**environment):
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", code],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.splitlines()

    here, digest, *config = run(PYTHONPATH=str(tmp_path / "installed"))
    assert here.startswith(str(tmp_path))
    assert digest == run()[1]
    if switch == "FASTBP_NO_OPENMP":
        assert "this build is serial" in " ".join(config)
