"""Model files taken apart and put together again, without fastbp: what `docs` say of them."""

import hashlib
import json
from typing import Any, NamedTuple

import safetensors
import safetensors.numpy


class Parts(NamedTuple):
    """The configuration of a model file and all its tensors, by their names in the file."""

    config: dict[str, Any]
    tensors: dict[str, Any]


def read_parts(path):
    with safetensors.safe_open(path, "np") as file:
        config = json.loads(file.metadata()["fastbp"])
    return Parts(config, safetensors.numpy.load_file(path))


def write_parts(path, parts):
    """Write a file of format 2 whose checksum is right, whatever its contents are."""
    text = json.dumps(parts.config)
    digest = hashlib.sha256(text.encode())
    for name, tensor in sorted(parts.tensors.items()):
        digest.update(f"{name} {tensor.dtype.str} {tensor.shape}".encode() + tensor.tobytes())
    metadata = {"fastbp": text, "sha256": digest.hexdigest()}
    safetensors.numpy.save_file(parts.tensors, path, metadata)
