"""Model files: safetensors, with the configuration as strictly validated JSON in its metadata.

A file is read whole, checked from its header inwards, and never executed: no pickle anywhere. A
checkpoint is a model file with the state of its training beside the layers. From format 2 on, a
SHA-256 over configuration and tensors tells a damaged file from a whole one.
"""

import hashlib
import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from reprlib import repr as short
from typing import Any, cast

import numpy as np
import safetensors
import safetensors.numpy

from fastbp._files import name_file, replace_file
from fastbp._validation import Array, explain
from fastbp.errors import ModelFormatError
from fastbp.layers import ACTIVATIONS, Dense
from fastbp.losses import LOSSES, Loss

_FORMAT = 2
_KEY, _CHECKSUM = "fastbp", "sha256"
_TRAINING = "training."  # what the names of all tensors but the layers' begin with
_TRAINING_DTYPES = ("F32", "F64", "I64", "BOOL")
_LONGEST_HEADER = 1 << 22
_DTYPES = {"float32": "F32", "float64": "F64"}
_SIGNATURES = {
    b"PK\x03\x04": "a zip archive (NumPy's .npz or PyTorch's format)",
    b"\x93NUMPY": "a NumPy .npy file",
    b"\x89HDF": "an HDF5 file",
    b"\x1f\x8b": "a gzip file",
    b"\x80": "a pickle, which fastbp never loads",
}


@dataclass(frozen=True)
class TrainingPart:
    """What a checkpoint holds beside the model."""

    config: dict[str, Any]
    tensors: dict[str, Array]


@dataclass(frozen=True)
class ModelFile:
    """What a model file holds; ``tensors`` are w0, b0, w1, b1, ... of the layers."""

    layers: tuple[Dense, ...]
    loss: Loss
    dtype: np.dtype[Any]
    tensors: list[Array]
    metadata: dict[str, Any]
    training: TrainingPart | None = None


# ------------------------------------------------------------------------------------------ saving


def save(path: str | os.PathLike[str], contents: ModelFile) -> None:
    """Write a model file, or leave what was there as it was."""
    names = _tensor_names(contents.layers)
    for name, tensor in zip(names, contents.tensors, strict=True):
        if not np.isfinite(tensor).all():
            raise ValueError(explain("parameters", "finite values", f"others in {name}"))
    config: dict[str, Any] = {
        "format": _FORMAT,
        "dtype": contents.dtype.name,
        "layers": [
            {"n_in": k.n_in, "n_out": k.n_out, "activation": k.activation.to_config()}
            | ({"dropout": k.dropout} if k.dropout else {})
            for k in contents.layers
        ],
        "loss": contents.loss.to_config(),
        "metadata": _checked_metadata(contents.metadata),
    }
    tensors = dict(zip(names, contents.tensors, strict=True))
    if contents.training is not None:
        config["training"] = contents.training.config
        tensors |= {_TRAINING + name: t for name, t in contents.training.tensors.items()}
    text = json.dumps(config, allow_nan=False)
    data = safetensors.numpy.save(tensors, {_KEY: text, _CHECKSUM: _checksum(text, tensors)})
    if int.from_bytes(data[:8], "little") > _LONGEST_HEADER:
        raise ValueError(explain("metadata", f"less than {_LONGEST_HEADER} bytes", "more"))
    replace_file(path, data)


def _checksum(text: str, tensors: dict[str, Array]) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].dtype.str} {tensors[name].shape}".encode())
        digest.update(np.ascontiguousarray(tensors[name]).data)
    return digest.hexdigest()


def _checked_metadata(metadata: object) -> dict[str, Any]:
    try:
        same = json.loads(json.dumps(metadata, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(explain("metadata", "JSON values", str(error))) from error
    if not isinstance(same, dict) or same != metadata:
        expected = "a dict that JSON gives back unchanged (text keys, lists, no tuples)"
        raise ValueError(explain("metadata", expected, short(metadata)))
    return same


# ----------------------------------------------------------------------------------------- loading


def load(path: str | os.PathLike[str]) -> ModelFile:
    """Read a model file; ModelFormatError, which names the file, if it is anything else."""
    name = os.fspath(path)
    if Path(path).exists() and not Path(path).is_file():
        raise ModelFormatError(f"{name}: expected a file")
    try:
        with open(path, "rb") as file:
            header, data = _read(file, os.fstat(file.fileno()).st_size)
        return _contents(header, data)
    except OSError as error:
        name_file(error, path)
        raise
    except (ValueError, TypeError, RecursionError, safetensors.SafetensorError) as error:
        raise ModelFormatError(f"{name}: not a fastbp model: {error}") from error


def _read(file: Any, size: int) -> tuple[dict[str, Any], bytes]:
    """Return the header and the whole of a safetensors file."""
    head = file.read(8)
    length = int.from_bytes(head, "little")
    if not 0 < length <= min(size - 8, _LONGEST_HEADER):
        raise ValueError(f"it looks like {_kind(head)}")
    data = head + file.read()
    try:
        header = _strict_json(data[8 : 8 + length])
    except ValueError as error:
        raise ValueError(f"its header is damaged ({error}); it looks like {_kind(head)}") from error
    return _mapping(header, "header"), data


def _kind(head: bytes) -> str:
    for signature, kind in _SIGNATURES.items():
        if head.startswith(signature):
            return kind
    if not head:
        return "an empty file"
    return "text" if head.isascii() and head.decode().isprintable() else "no known format"


def _contents(header: dict[str, Any], data: bytes) -> ModelFile:
    texts = _mapping(header.pop("__metadata__", {}), "__metadata__")
    if _KEY not in texts:
        raise ValueError("it is a safetensors file of something else, without our configuration")
    config = _mapping(_strict_json(texts[_KEY]), "configuration")
    version = config.get("format")
    if type(version) is not int or version not in (1, _FORMAT):
        raise ValueError(
            f"format {short(version)}, but this version of fastbp reads 1 to {_FORMAT}"
        )
    training = config.pop("training", None) if version == _FORMAT else None
    expect_keys(config, {"format", "dtype", "layers", "loss", "metadata"}, "configuration")
    layers, loss = _layers(config["layers"]), _named(config["loss"], "loss", LOSSES)
    loss.engine_parameters(layers[-1].n_out)
    metadata = _mapping(config["metadata"], "metadata")
    dtype = config["dtype"]
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        raise ValueError(explain("dtype", f"one of {', '.join(_DTYPES)}", short(dtype)))
    beside = {name for name in header if training is not None and name.startswith(_TRAINING)}
    _expect_tensors(header, layers, _DTYPES[dtype], beside)
    tensors = safetensors.numpy.load(data)
    _expect_checksum(texts, version, tensors)
    ordered = [tensors[name] for name in _tensor_names(layers)]
    for name, tensor in zip(_tensor_names(layers), ordered, strict=True):
        if not np.isfinite(tensor).all():
            raise ValueError(f"{name} has values that are not finite")
    part = None
    if training is not None:
        others = {name.removeprefix(_TRAINING): tensors[name] for name in beside}
        part = TrainingPart(_mapping(training, "training"), others)
    return ModelFile(layers, loss, np.dtype(dtype), ordered, metadata, part)


def _expect_checksum(texts: dict[str, Any], version: int, tensors: dict[str, Array]) -> None:
    expect_keys(texts, {_KEY} if version == 1 else {_KEY, _CHECKSUM}, "__metadata__")
    if version > 1 and texts[_CHECKSUM] != _checksum(texts[_KEY], tensors):
        raise ValueError("its checksum is not that of its contents: the file is damaged")


def _layers(configs: object) -> tuple[Dense, ...]:
    if not isinstance(configs, list) or not configs:
        raise ValueError(explain("layers", "a list", short(configs)))
    layers: list[Dense] = []
    for i, item in enumerate(configs):
        config = _mapping(item, f"layer {i}")
        dropout = config.pop("dropout", 0.0)
        expect_keys(config, {"n_in", "n_out", "activation"}, f"layer {i}")
        activation = _named(config["activation"], f"activation of layer {i}", ACTIVATIONS)
        layers.append(Dense(config["n_in"], config["n_out"], activation, dropout=dropout))
        if i > 0 and layers[-2].n_out != layers[-1].n_in:
            raise ValueError(
                f"layer {i - 1} has {layers[-2].n_out} outputs, but layer {i} takes "
                f"{layers[-1].n_in} inputs"
            )
    return tuple(layers)


def _named(item: object, what: str, choices: dict[str, Any]) -> Any:
    config = _mapping(item, what)
    name = config.get("name")
    if not isinstance(name, str) or name not in choices:
        raise ValueError(explain(what, f"one of {', '.join(choices)}", short(name)))
    return choices[name].with_config(config)


def _tensor_names(layers: tuple[Dense, ...]) -> list[str]:
    return [f"layers.{i}.{part}" for i in range(len(layers)) for part in ("weights", "biases")]


def _expect_tensors(
    header: dict[str, Any], layers: tuple[Dense, ...], dtype: str, beside: set[str]
) -> None:
    """Refuse tensors other than the layers' and those beside, before memory is taken for them."""
    shapes = [shape for k in layers for shape in ([k.n_in, k.n_out], [k.n_out])]
    names = _tensor_names(layers)
    expect_keys(header, set(names) | beside, "tensors")
    for name in beside:
        kind = _mapping(header[name], name).get("dtype")
        if kind not in _TRAINING_DTYPES:
            raise ValueError(explain(name, f"one of {', '.join(_TRAINING_DTYPES)}", short(kind)))
    for name, shape in zip(names, shapes, strict=True):
        entry = _mapping(header[name], name)
        if entry.get("dtype") != dtype or entry.get("shape") != shape:
            given = f"{short(entry.get('dtype'))} {short(entry.get('shape'))}"
            raise ValueError(explain(name, f"{dtype} {shape}", given))


def expect_keys(mapping: dict[str, Any], expected: set[str], what: str) -> None:
    """Raise ValueError unless these are its keys."""
    if mapping.keys() != expected:
        missing, unknown = sorted(expected - mapping.keys()), sorted(mapping.keys() - expected)
        raise ValueError(f"{what}: missing {short(missing)}, unknown {short(unknown)}")


def _mapping(value: object, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(explain(what, "a mapping", short(value)))
    return cast("dict[str, Any]", value)


def _strict_json(text: Any) -> Any:
    """Parse JSON without what `json` lets pass: repeated keys, NaN, infinities."""
    return json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse, parse_float=_finite)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) != len(pairs):
        raise ValueError("a key is repeated")
    return mapping


def _refuse(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{short(text)} is out of range")
    return number
