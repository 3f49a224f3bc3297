"""What is written down twice says the same: stub and engine, documents and tree, versions."""

import ast
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import fastbp
from fastbp import _engine

ROOT = Path(__file__).parents[2]
DOCUMENTS = ("README.md", "CONTRIBUTING.md", "docs/architecture.md")


@pytest.mark.parametrize("family", ["ACTIVATIONS", "LOSSES", "OPTIMIZERS", "X_DTYPES"])
def test_names_are_unique(family):
    names = getattr(_engine, family)
    assert names
    assert len(set(names)) == len(names)


def test_what_the_stub_of_the_engine_declares_is_there():
    stub = ast.parse((ROOT / "fastbp/_engine.pyi").read_text())
    declared = {}
    for node in stub.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            declared[node.name] = node
        elif isinstance(node, ast.AnnAssign):
            declared[node.target.id] = node
    assert {"ACTIVATIONS", "Epoch", "use_isa"} <= declared.keys()
    assert [name for name in declared if not hasattr(_engine, name)] == []
    for name in ("Network", "Epoch"):
        members = {node.name for node in declared[name].body if isinstance(node, ast.FunctionDef)}
        members |= {n.target.id for n in declared[name].body if isinstance(n, ast.AnnAssign)}
        assert members - set(dir(getattr(_engine, name))) == set()


def test_the_installed_version_is_that_of_the_module():
    try:
        installed = metadata.version("fastbp")
    except metadata.PackageNotFoundError:
        pytest.skip("needs the installed package: pip install .")
    assert fastbp.__version__ == installed


@pytest.mark.parametrize("document", DOCUMENTS)
def test_paths_that_a_document_names_exist(document):
    text = (ROOT / document).read_text()
    paths = re.findall(r"`((?:src_c|fastbp|tests|tools|docs|benchmarks|\.ci)/[\w./-]+)`", text)
    assert [path for path in paths if not (ROOT / path).exists()] == []
    assert paths or document == "README.md"


@pytest.mark.parametrize("family", ["ACTIVATIONS", "LOSSES"])
def test_the_changelog_lists_what_there_is(family):
    text = (ROOT / "CHANGELOG.md").read_text()
    assert [name for name in getattr(_engine, family) if f"`{name}`" not in text] == []


def test_importing_needs_the_run_time_dependencies_alone():
    code = "import sys, fastbp; print(*{name.split('.')[0] for name in sys.modules})"
    # -P: the package of this checkout is not the installed one
    command = [sys.executable, "-P", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert {"fastbp", "numpy"} <= loaded
    extras = {"typer", "rich", "pyarrow", "matplotlib", "tqdm", "scipy", "sklearn", "torch"}
    assert loaded & extras == set()


def test_ci_runs_the_readme_command_for_the_tests():
    commands = re.findall(r"^    (python3 -m venv .*)$", (ROOT / "README.md").read_text(), re.M)
    assert [command.split("/")[-1] for command in commands] == ["fastbp train", "pytest"]
    assert commands[1] in (ROOT / ".ci/run").read_text()


def test_the_example_of_the_readme_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    [code] = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    variables = {}
    exec(compile(code, "README.md", "exec"), variables)
    assert variables["accuracy"] > 0.9
    assert variables["gradient"].shape == (variables["model"].parameters.size,)
    assert fastbp.Model.load("digits.safetensors").parameters.size == 64 * 128 + 128 + 1290
