import json

import numpy as np
import pytest

from fastbp import ModelFormatError
from fastbp._preprocessing import Preprocessing, decide_task, fit_target
from fastbp._tables import DataError, read_table

# the standard deviation of three times 0.1 is not 0 in floating point
ROWS = "size,colour,same,label\n1,red,.1,no\n3,blue,.1,yes\n8,red,.1,no\n1000,green,9,maybe\n"
TRAINING = np.array([0, 1, 2])


@pytest.fixture
def table(tmp_path):
    """Read a table from CSV text."""

    def table(text=ROWS):
        (tmp_path / "t.csv").write_text(text)
        return read_table(str(tmp_path / "t.csv"))

    return table


def fitted(table, target="label", task="classification", rows=TRAINING, **options):
    options = {"categorical": (), "ignored": ()} | options
    return Preprocessing.fit(table, fit_target(table.column(target), task, rows), rows, **options)


def test_inputs_and_targets_by_hand(table):
    some = table()
    preprocessing = fitted(some)
    sd = np.std([1, 3, 8])
    expected = [  # size, then blue, green, red
        [(1 - 4) / sd, 0, 0, 1],
        [(3 - 4) / sd, 1, 0, 0],
        [(8 - 4) / sd, 0, 0, 1],
        [(1000 - 4) / sd, 0, 1, 0],
    ]
    assert preprocessing.inputs(some).dtype == np.float32
    np.testing.assert_allclose(preprocessing.inputs(some), expected, rtol=1e-6)
    assert preprocessing.target.classes == ("maybe", "no", "yes")
    assert preprocessing.target.encode(some.column("label")).tolist() == [1, 2, 1, 0]


def test_real_targets_go_there_and_back(table):
    some = table()
    target = fitted(some, "size", "regression").target
    encoded = target.encode(some.column("size"))
    np.testing.assert_allclose(encoded[TRAINING].mean(), 0, atol=1e-15)
    np.testing.assert_allclose(encoded[TRAINING].std(), 1)
    np.testing.assert_allclose(target.decode(encoded[:, np.newaxis]), [1, 3, 8, 1000])


def test_columns_can_be_left_out_or_taken_as_categories(table):
    some = table()
    kinds = {
        feature.name: feature.kind
        for feature in fitted(some, ignored=["colour"], categorical=["size"]).features
    }
    assert kinds == {"size": "category", "same": "constant"}
    with pytest.raises(DataError, match="there is no column 'color'"):
        fitted(some, ignored=["color"])


def test_a_broken_column_hurts_only_if_used(table):
    some = table("a,b,label\n1,?,x\n2,,y\n3,9,x\n4,9,x\n")
    assert fitted(some, ignored=["b"]).inputs(some).shape == (4, 1)
    with pytest.raises(DataError, match=r"line 2, column 'b': '\?' is not a finite number"):
        fitted(some)


def test_other_rows_are_prepared_alike_whatever_their_columns(table):
    preprocessing = fitted(table())
    others = table("colour,more,size\ngreen,?,4\n")
    np.testing.assert_array_equal(preprocessing.inputs(others), [[0, 0, 1, 0]])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("size\n1\n", "there is no column 'colour'"),
        ("size,colour\n1,red\n2,pink\n", "line 3, column 'colour': the category 'pink' was not in"),
        ("size,colour\n1,red\nx,red\n", "line 3, column 'size': 'x' is not a finite number"),
        ("size,colour\n1,red\n,red\n", "line 3, column 'size': the cell is empty"),
        ("size,colour\n1,red\n2,\n", "line 3, column 'colour': the cell is empty"),
        ("size,colour\n1,red\n1e300,red\n", "line 3, column 'size': the number is too far from"),
    ],
)
def test_rows_that_do_not_fit(table, text, message):
    preprocessing = fitted(table())
    with pytest.raises(DataError, match=message):
        preprocessing.inputs(table(text))


@pytest.mark.parametrize(
    ("cells", "task"),
    [
        (["a", "b"], "classification"),
        (["0", "1"], "classification"),
        ([str(i) for i in range(20)], "classification"),
        ([str(i) for i in range(21)], "regression"),
        (["1", "2.5"], "regression"),
        (["1.0", "2.0"], "classification"),
    ],
)
def test_the_target_decides_the_task(table, cells, task):
    assert decide_task(table("y,k\n" + "".join(f"{c},0\n" for c in cells)).column("y")) == task


def test_numbers_as_labels_are_sorted_as_numbers(table):
    some = table("a,y\n1,10\n2,9\n3,10\n4,2.5\n")
    target = fitted(some, "y").target
    assert target.classes == ("2.5", "9", "10")
    assert target.encode(some.column("y")).tolist() == [2, 1, 2, 0]


@pytest.mark.parametrize(
    ("text", "task", "message"),
    [
        (
            "a,y\n1,x\n2,x\n3,x\n",
            "classification",
            "column 'y': the target has one class only, 'x'",
        ),
        ("a,y\n1,5\n2,5\n3,5\n4,6\n", "regression", "column 'y': the target is the same in all"),
        ("a,y\n1,x\n2,y\n3,1\n", "regression", "line 2, column 'y': 'x' is not a finite number"),
        ("a,y\n1,x\n1,y\n1,z\n", "classification", "no column besides the target varies"),
        (
            "a,y\n1e200,x\n-1e200,y\n0,z\n",
            "classification",
            "'a': numbers up to 1e.200 are too large",
        ),
        ("a,y\n0,1e200\n1,-1e200\n2,0\n", "regression", "'y': numbers up to 1e.200 are too large"),
    ],
)
def test_tables_to_learn_nothing_from(table, text, task, message):
    with pytest.raises(DataError, match=message):
        fitted(table(text), "y", task)


@pytest.mark.parametrize("column", ["name", "y"])
def test_too_many_texts_are_no_categories(table, column):
    rows = "".join(f"n{i},n{i if column == 'y' else i % 2},{i}\n" for i in range(1001))
    some = table("name,y,a\n" + rows)
    with pytest.raises(DataError, match=f"column '{column}': 1001 .* are too many"):
        fitted(some, "y", ignored=["name"] if column == "y" else [])


def test_it_survives_json(table):
    some = table()
    for target, task in (("label", "classification"), ("size", "regression")):
        preprocessing = fitted(some, target, task)
        assert (
            Preprocessing.from_dict(json.loads(json.dumps(preprocessing.to_dict())))
            == preprocessing
        )


def _set(*path, to):
    def damage(data):
        for key in path[:-1]:
            data = data[key]
        data[path[-1]] = to

    return damage


@pytest.mark.parametrize(
    "damage",
    [
        _set("format", to=2),
        _set("more", to=1),
        _set("features", to={}),
        _set("features", 0, to="size"),
        _set("features", 0, "kind", to="classes"),
        _set("features", 0, "kind", to=["number"]),
        _set("features", 0, "scale", to=0.0),
        _set("features", 0, "scale", to=-1.0),
        _set("features", 0, "scale", to=True),
        _set("features", 0, "mean", to="4"),
        _set("features", 0, "mean", to=float("nan")),
        _set("features", 0, "mean", to=10**400),
        _set("features", 0, "more", to=1),
        _set("features", 0, "name", to=5),
        _set("features", 0, "name", to="colour"),
        _set("features", 0, "name", to="label"),
        _set("features", 1, "categories", to=["red", "red"]),
        _set("features", 1, "categories", to=["red", 1]),
        _set("features", 1, "categories", to="red"),
        _set("features", 1, "categories", to=["red"]),
        _set("target", "kind", to="number"),
        _set("target", "classes", to=["no"]),
        _set("target", to=None),
        lambda data: data.pop("format"),
        lambda data: data["features"][1].pop("categories"),
    ],
)
def test_damage_is_refused(table, damage):
    data = fitted(table()).to_dict()
    Preprocessing.from_dict(data)
    damage(data)
    with pytest.raises(ModelFormatError, match=r"expected|must be|have the same name"):
        Preprocessing.from_dict(data)


@pytest.mark.parametrize("data", [None, [], "x", {}, {"format": 1}])
def test_anything_else_is_refused(data):
    with pytest.raises(ModelFormatError, match="preprocessing: expected the keys"):
        Preprocessing.from_dict(data)
