"""Model files: the round trip, saving in one piece, and hostile files."""

import errno
import json
import os
import pickle
import stat
import zipfile

import numpy as np
import pytest
import safetensors.numpy

import fastbp
from fastbp.layers import ACTIVATIONS
from fastbp.losses import LOSSES

MODELS = {
    **{
        f"{name}": ([3, 4, 2], {"loss": "squared_error", "activation": name})
        for name in ACTIVATIONS
    },
    **{f"{name}": ([3, 4, 2], {"loss": name}) for name in LOSSES},
    "parameters": (
        [fastbp.Dense(3, 4, fastbp.LeakyReLU(0.3)), fastbp.Dense(4, 2, fastbp.ELU(0.7))],
        {"loss": fastbp.Pinball((0.1, 0.9)), "dtype": "float64"},
    ),
    "one layer": ([3, 2], {"loss": fastbp.Huber(2.5)}),
}


@pytest.mark.parametrize("case", MODELS)
def test_round_trip(tmp_path, case):
    layers, options = MODELS[case]
    model = fastbp.Model(layers, seed=0, **options)
    model.metadata = {"columns": ["a", "σ"], "scale": [0.1, None], "nested": {"yes": True}}
    model.save(tmp_path / "net")
    loaded = fastbp.Model.load(tmp_path / "net")
    assert repr(loaded) == repr(model)
    assert loaded.metadata == model.metadata
    assert loaded.dtype == model.dtype
    np.testing.assert_array_equal(loaded.parameters, model.parameters)
    X = np.random.default_rng(1).normal(size=(5, 3))
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))


def test_a_loaded_model_can_be_trained(tmp_path, classification):
    model, X, y = classification
    model.save(tmp_path / "net")
    loaded = fastbp.Model.load(str(tmp_path / "net"))
    options = {"epochs": 2, "shuffle": False}
    assert loaded.fit(X, y, **options).loss == model.fit(X, y, **options).loss


def test_other_tools_can_read_the_tensors(tmp_path, classification):
    model, *_ = classification
    model.save(tmp_path / "net")
    tensors = safetensors.numpy.load_file(tmp_path / "net")
    assert sorted(tensors) == [
        f"layers.{i}.{part}" for i in (0, 1) for part in ("biases", "weights")
    ]
    np.testing.assert_array_equal(tensors["layers.1.weights"], model.weights[1])


# ------------------------------------------------------------------------------------------ saving


@pytest.fixture
def saved(tmp_path, classification):
    """A model, the path of its file, and the file's bytes."""
    model, *_ = classification
    path = tmp_path / "net.safetensors"
    model.save(path)
    return model, path, path.read_bytes()


def test_what_cannot_be_saved_leaves_the_old_file(saved):
    model, path, before = saved
    for metadata, message in [
        ({"a": np.nan}, "metadata: expected JSON values"),
        ({"a": np.float32(1)}, "metadata: expected JSON values"),
        ({1: "a"}, "metadata: expected a dict that JSON gives back unchanged"),
        ({"a": (1, 2)}, "metadata: expected a dict that JSON gives back unchanged"),
        ([1], "metadata: expected a dict"),
        ({"a": "x" * (1 << 22)}, "metadata: expected less than 4194304 bytes"),
    ]:
        model.metadata = metadata
        with pytest.raises(ValueError, match=message):
            model.save(path)
    model.metadata = {}
    model.weights[1][2, 3] = np.inf
    with pytest.raises(ValueError, match=r"parameters: expected finite .* in layers.1.weights"):
        model.save(path)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failure_while_saving_leaves_the_old_file(saved, monkeypatch, call):
    model, path, before = saved

    def fail(*_):
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr(os, call, fail)
    model.parameters = np.zeros(model.n_parameters)
    with pytest.raises(OSError, match=r"no space left on device: '.*net\.safetensors'"):
        model.save(path)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


def test_data_reach_the_disk_before_the_name_and_the_name_before_save_returns(saved, monkeypatch):
    model, path, _ = saved
    calls = []
    fsync, replace = os.fsync, os.replace

    def logged_fsync(descriptor):
        folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        calls.append("sync folder" if folder else "sync file")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", logged_fsync)
    monkeypatch.setattr(os, "replace", lambda *a: (calls.append("replace"), replace(*a)))
    model.save(path)
    assert calls == ["sync file", "replace", "sync folder"]


def test_permissions_follow_the_umask_and_links_stay_links(tmp_path, classification):
    model, *_ = classification
    target, link = tmp_path / "target", tmp_path / "link"
    link.symlink_to(target)
    umask = os.umask(0o027)
    try:
        model.save(link)
    finally:
        os.umask(umask)
    assert link.is_symlink()
    assert stat.S_IMODE(target.stat().st_mode) == 0o640


def test_folder_that_does_not_exist(tmp_path, classification):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        classification[0].save(tmp_path / "nowhere" / "net")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        fastbp.Model.load(tmp_path / "nowhere")


# ----------------------------------------------------------------------------------- hostile files


def container(header, tensors=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + tensors


def zip_file(tmp_path):
    with zipfile.ZipFile(tmp_path / "zip", "w") as file:
        file.writestr("a", "b")
    return (tmp_path / "zip").read_bytes()


FOREIGN = {
    "empty": (b"", "an empty file"),
    "7 bytes": (b"\1\2\3\4\5\6\7", "no known format"),
    "text": (b"hello, I am a text file", "text"),
    "pickle": (pickle.dumps({"a": list(range(100))}), "a pickle, which fastbp never loads"),
    "npy": (b"\x93NUMPY\1\0" + bytes(100), "a NumPy .npy file"),
    "hdf5": (b"\x89HDF\r\n\x1a\n" + bytes(100), "an HDF5 file"),
    "gzip": (b"\x1f\x8b\x08\0" + b"\1" * 100, "a gzip file"),
    "zeros": (bytes(100), "no known format"),
    "header beyond the file": ((10**6).to_bytes(8, "little") + b"{}", "no known format"),
    "header of 2^63": ((1 << 63).to_bytes(8, "little") + b"{}" * 50, "no known format"),
    "header of 2^64 - 1": (b"\xff" * 8 + b"{}" * 50, "no known format"),
    "header too long": (container(b" " * (1 << 22) + b"{}"), "no known format"),
    "no JSON": (container(b"{nonsense"), "its header is damaged"),
    "no UTF-8": (container(b'{"\xff": 1}'), "its header is damaged"),
    "deep": (container(b"[" * 100_000), "RecursionError|recursion"),
    "list": (container([1]), "header: expected a mapping"),
    "repeated key": (container(b'{"a": 1, "a": 2}'), "a key is repeated"),
    "another tool's": (safetensors.numpy.save({"a": np.zeros(3)}), "of something else"),
    "metadata no mapping": (container({"__metadata__": [1]}), "__metadata__: expected a mapping"),
}


def load_error(tmp_path, data):
    (tmp_path / "hostile").write_bytes(data)
    with pytest.raises(fastbp.ModelFormatError) as caught:
        fastbp.Model.load(tmp_path / "hostile")
    return str(caught.value)


@pytest.mark.parametrize("case", FOREIGN)
def test_foreign_files(tmp_path, case):
    data, message = FOREIGN[case]
    error = load_error(tmp_path, data)
    assert error.startswith(f"{tmp_path / 'hostile'}: not a fastbp model: ")
    assert any(part in error for part in message.split("|"))


def test_zip_folder_and_pipe(tmp_path):
    assert "a zip archive" in load_error(tmp_path, zip_file(tmp_path))
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", "/dev/zero"):
        with pytest.raises(fastbp.ModelFormatError, match="expected a file"):
            fastbp.Model.load(path)


CONFIG = {
    "format": 1,
    "dtype": "float32",
    "layers": [
        {"n_in": 2, "n_out": 3, "activation": {"name": "elu", "alpha": 0.5}},
        {"n_in": 3, "n_out": 1, "activation": {"name": "identity"}},
    ],
    "loss": {"name": "huber", "delta": 1.0},
    "metadata": {"a": 1},
}
TENSORS = {
    "layers.0.weights": np.ones((2, 3), "f4"),
    "layers.0.biases": np.ones(3, "f4"),
    "layers.1.weights": np.ones((3, 1), "f4"),
    "layers.1.biases": np.ones(1, "f4"),
}


def model_file(config=CONFIG, tensors=TENSORS):
    text = config if isinstance(config, str) else json.dumps(config)
    return safetensors.numpy.save(tensors, {"fastbp": text})


def changed(*path, to):
    """The configuration with one value changed, or taken out."""
    config = json.loads(json.dumps(CONFIG))
    place = config
    for key in path[:-1]:
        place = place[key]
    if to is changed:
        del place[path[-1]]
    else:
        place[path[-1]] = to
    return config


TEXT = json.dumps(CONFIG)
BAD_CONFIGS = {
    "newer format": (changed("format", to=3), "format 3, but this version of fastbp reads 1 to 2"),
    "format true": (changed("format", to=True), "format True"),
    "unknown key": (changed("extra", to=1), r"configuration: missing [], unknown ['extra']"),
    "missing key": (changed("loss", to=changed), r"configuration: missing ['loss'], unknown []"),
    "layer key": (changed("layers", 0, "bias", to=1), "layer 0: missing [], unknown ['bias']"),
    "layer list": (changed("layers", to=[]), "layers: expected a list, got []"),
    "layer text": (changed("layers", 0, to="a"), "layer 0: expected a mapping, got 'a'"),
    "width text": (changed("layers", 0, "n_in", to="2"), "n_in: expected an integer >= 1, got '2'"),
    "width float": (
        changed("layers", 0, "n_in", to=2.0),
        "n_in: expected an integer >= 1, got 2.0",
    ),
    "width true": (
        changed("layers", 1, "n_out", to=True),
        "n_out: expected an integer >= 1, got True",
    ),
    "width 0": (changed("layers", 0, "n_in", to=0), "n_in: expected an integer >= 1, got 0"),
    "unchained": (changed("layers", 1, "n_in", to=4), "layer 0 has 3 outputs, but layer 1 takes 4"),
    "huge": (
        changed("layers", 0, "n_in", to=10**18),
        "layers.0.weights: expected F32 [1000000000000000000, 3], got 'F32' [2, 3]",
    ),
    "activation": (
        changed("layers", 0, "activation", "name", to="sin"),
        "activation of layer 0: expected one of",
    ),
    "alpha missing": (
        changed("layers", 0, "activation", to={"name": "elu"}),
        "elu: expected the parameters ['alpha']",
    ),
    "alpha too many": (
        changed("layers", 1, "activation", "alpha", to=1),
        "identity: expected the parameters []",
    ),
    "alpha text": (
        changed("layers", 0, "activation", "alpha", to="1"),
        "alpha: expected a positive number",
    ),
    "alpha negative": (
        changed("layers", 0, "activation", "alpha", to=-1),
        "alpha: expected a positive number, got -1",
    ),
    "loss": (changed("loss", "name", to="mse"), "loss: expected one of squared_error"),
    "loss text": (changed("loss", to="huber"), "loss: expected a mapping, got 'huber'"),
    "delta": (changed("loss", "delta", to=0), "delta: expected a positive number, got 0"),
    "quantiles": (
        changed("loss", to={"name": "pinball", "quantiles": [0.1, 0.9]}),
        "quantiles: expected one for each of 1 outputs, got 2",
    ),
    "dtype": (
        changed("dtype", to="float16"),
        "dtype: expected one of float32, float64, got 'float16'",
    ),
    "dtype list": (changed("dtype", to=["float32"]), "dtype: expected one of float32, float64"),
    "metadata": (changed("metadata", to=[1]), "metadata: expected a mapping"),
    "list": ("[]", "configuration: expected a mapping, got []"),
    "NaN": (TEXT.replace("1.0", "NaN"), "NaN is not JSON"),
    "infinity": (TEXT.replace("1.0", "-Infinity"), "-Infinity is not JSON"),
    "out of range": (TEXT.replace("1.0", "1e999"), "'1e999' is out of range"),
    "5000 digits": (TEXT.replace("1.0", "1" * 5000), "integer string conversion"),
    "repeated key": (TEXT.replace('"format": 1', '"format": 1, "format": 1'), "a key is repeated"),
    "deep": (TEXT.replace("1.0", "[" * 100_000), "recursion"),
    "broken": (TEXT[:-1], "Expecting"),
}


@pytest.mark.parametrize("case", BAD_CONFIGS)
def test_bad_configurations(tmp_path, case):
    config, message = BAD_CONFIGS[case]
    assert message in load_error(tmp_path, model_file(config))


def other(name, tensor):
    return TENSORS | {name: tensor}


BAD_TENSORS = {
    "missing": (
        {"layers.0.weights": TENSORS["layers.0.weights"]},
        "tensors: missing ['layers.0.biases'",
    ),
    "unknown": (other("../x", np.ones(1, "f4")), "unknown ['../x']"),
    "dtype": (
        other("layers.0.biases", np.ones(3)),
        "layers.0.biases: expected F32 [3], got 'F64' [3]",
    ),
    "shape": (
        other("layers.0.biases", np.ones((3, 1), "f4")),
        "expected F32 [3], got 'F32' [3, 1]",
    ),
    "swapped": (
        other("layers.0.weights", np.ones((3, 2), "f4")),
        "expected F32 [2, 3], got 'F32' [3, 2]",
    ),
    "nan": (
        other("layers.1.biases", np.full(1, np.nan, "f4")),
        "layers.1.biases has values that are",
    ),
    "inf": (
        other("layers.1.biases", np.full(1, np.inf, "f4")),
        "layers.1.biases has values that are",
    ),
}


@pytest.mark.parametrize("case", BAD_TENSORS)
def test_bad_tensors(tmp_path, case):
    tensors, message = BAD_TENSORS[case]
    assert message in load_error(tmp_path, model_file(tensors=tensors))


def test_the_unchanged_file_is_good(tmp_path):
    (tmp_path / "net").write_bytes(model_file())
    model = fastbp.Model.load(tmp_path / "net")
    assert model.layers[0].activation == fastbp.ELU(0.5)
    assert model.metadata == {"a": 1}


def with_offsets(data, name, offsets):
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header[name]["data_offsets"] = offsets
    return container(header, data[8 + length :])


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1],
        lambda data: data + b"x",
        lambda data: with_offsets(data, "layers.0.weights", [0, 24]),
        lambda data: with_offsets(data, "layers.0.biases", [-12, 0]),
        lambda data: with_offsets(data, "layers.0.biases", [0, 1 << 62]),
        lambda data: with_offsets(data, "layers.0.biases", "ab"),
    ],
    ids=["truncated", "trailing byte", "overlap", "negative", "far", "text"],
)
def test_damaged_containers(tmp_path, damage):
    assert "not a fastbp model: " in load_error(tmp_path, damage(model_file()))


def test_no_prefix_of_a_file_loads(tmp_path, saved):
    *_, data = saved
    for length in range(0, len(data), 7):
        assert "not a fastbp model" in load_error(tmp_path, data[:length])


def test_save_replaces_regular_files_only(tmp_path):
    """A folder, device or pipe at the path stays what it is."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(OSError, match="not a regular file"):
        fastbp.Model([2, 1], loss="squared_error").save(pipe)
    assert [path.is_fifo() for path in tmp_path.iterdir()] == [True]
