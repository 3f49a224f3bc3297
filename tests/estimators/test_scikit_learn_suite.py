"""scikit-learn's own tests of its MLP, as installed, pass with fastbp's estimators."""

import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import pytest

SUITE = "sklearn.neural_network.tests.test_mlp"
LEFT_OUT = {"test_gradient": "calls their private _loss_grad_lbfgs with their scratch buffers"}
OUTCOMES = ("failure", "error", "skipped")


def run_suite(folder, *arguments):
    """Return the exit code, what was printed, and the elements of the tests that ran."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    path = [str(Path(__file__).parent), environment.get("PYTHONPATH", "")]
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, path))
    # no configuration from a folder above; a family of reports that has properties of tests
    (folder / "pytest.ini").write_text("[pytest]\njunit_family = xunit1\n")
    options = ["-c", "pytest.ini", "-p", "no:cacheprovider", "--tb=short", "--disable-warnings"]
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", *options, "--junitxml=results.xml"),
            *(*arguments, "--pyargs", SUITE),
        ],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    printed = done.stdout + done.stderr
    assert (folder / "results.xml").exists(), printed
    cases = ElementTree.parse(folder / "results.xml").iter("testcase")
    return done.returncode, printed, list(cases)


def function_of(case):
    return case.get("name").partition("[")[0]


def outcome(case):
    found = [name for name in OUTCOMES if case.find(name) is not None]
    return found[0] if found else "passed"


def estimators_of(case):
    """The modules that the tested classes come from, by the names of the classes."""
    return {p.get("name"): p.get("value") for p in case.iter("property")}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    names = [f"--leave-out={name}" for name in LEFT_OUT]
    return run_suite(tmp_path_factory.mktemp("suite"), "-p", "swap_plugin", *names)


def test_every_test_of_theirs_passes(results):
    code, printed, cases = results
    bad = [case.get("name") for case in cases if outcome(case) in ("failure", "error")]
    assert bad == [], printed
    assert code == 0, printed
    assert Counter(map(outcome, cases))["passed"] >= 50, printed


def test_the_tested_estimators_are_fastbp_s(results):
    _, printed, cases = results
    expected = {
        "MLPClassifier": "fastbp.estimators._classifier",
        "MLPRegressor": "fastbp.estimators._regressor",
    }
    assert cases, printed
    assert [case.get("name") for case in cases if estimators_of(case) != expected] == []


def test_just_the_listed_tests_are_left_out(results):
    _, printed, cases = results
    assert {function_of(case) for case in cases} & LEFT_OUT.keys() == set()
    assert set(re.findall(r"(\d+) deselected", printed)) == {str(len(LEFT_OUT))}, printed


@pytest.mark.parametrize("name", LEFT_OUT)
def test_what_is_left_out_would_fail(name, tmp_path):
    code, printed, cases = run_suite(tmp_path, "-p", "swap_plugin", "-k", name)
    assert code == 1, printed
    assert [outcome(case) for case in cases if function_of(case) == name] == ["failure"], printed
