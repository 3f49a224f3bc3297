"""Bytes as edits of a good file: what gets past the magic numbers and checksums of a format.

A fuzzer of bytes hardly ever guesses a SHA-256. Here its bytes choose changes to the configuration,
the header and the tensors of a model file, whose checksum is then made right again.
"""

import hashlib
import json

_DTYPES = {"F32": "<f4", "F64": "<f8", "I64": "<i8", "BOOL": "|b1"}
_TEXTS = ("", "a", "relu", "elu", "softmax_cross_entropy", "pinball", "huber", "float64", "F64",
          "I64", "BOOL", "number", "category", "constant", "classes", "value", "name", "../../x",
          "\0", "\x1b[31m", "\ud800", "σ", "=1+1", "nan", "x" * 5000)  # fmt: skip
_NUMBERS = (0, 1, -1, 2, 3, 255, 1 << 31, 1 << 53, 1 << 62, 1 << 63, (1 << 64) - 1, 1 << 128, 0.0,
            -0.0, 0.5, 1.5, 1e308, -1e308, 5e-324, 3.5e38, 10**400)  # fmt: skip
_OTHERS = (None, True, False, [], {}, [[]], [0], ["a", "a"], {"name": "elu"}, {"": None})
_VALUES = (*_TEXTS, *_NUMBERS, *_OTHERS)


class Choices:
    """Choices made by bytes, the first ones when these are used up."""

    def __init__(self, data):
        self._data, self._at = data, 0

    def __bool__(self):
        return self._at < len(self._data)

    def byte(self):
        """Return the next byte."""
        self._at += 1
        return self._data[self._at - 1] if self._at <= len(self._data) else 0

    def below(self, n):
        """Return a number from 0 to n - 1."""
        return (self.byte() | self.byte() << 8) % n if n > 1 else 0

    def value(self):
        """Return a JSON value: one that has made trouble elsewhere, or any integer."""
        which = self.below(len(_VALUES) + 8)
        if which < len(_VALUES):
            return json.loads(json.dumps(_VALUES[which]))  # lists of its own
        return int.from_bytes(bytes(self.byte() for _ in range(which - len(_VALUES) + 1)), "little")


def edit_tree(choices, tree):
    """Change one place of a JSON value that is a list or a mapping."""
    containers = [tree]
    for container in containers:
        children = container.values() if isinstance(container, dict) else container
        containers.extend(child for child in children if isinstance(child, list | dict))
    container = containers[choices.below(len(containers))]
    keys = list(container) if isinstance(container, dict) else list(range(len(container)))
    action = choices.below(4)
    if not keys or action == 0:
        _insert(container, choices)
        return
    key = keys[choices.below(len(keys))]
    if action == 1:
        del container[key]
    elif action == 2:
        container[key] = container[keys[choices.below(len(keys))]]  # one object, in two places
    else:
        container[key] = choices.value()


def _insert(container, choices):
    if isinstance(container, dict):
        container[str(choices.value())] = choices.value()
    else:
        container.insert(choices.below(len(container) + 1), choices.value())


def edited_model(choices, data):
    """Return a model file with some changes and a right checksum, as far as it can have one."""
    length = int.from_bytes(data[:8], "little")
    header, tensors = json.loads(data[8 : 8 + length]), bytearray(data[8 + length :])
    config = json.loads(header.pop("__metadata__")["fastbp"])
    for _ in range(1 + choices.below(4)):
        part = choices.below(4)
        if part == 0:
            edit_tree(choices, header)
        elif part == 1 and tensors:
            at = choices.below(len(tensors))
            tensors[at : at + 4] = bytes(choices.byte() for _ in range(4))
        else:
            edit_tree(choices, config)
    return model_file(config, header, bytes(tensors))


def model_file(config, header, tensors):
    """Put a model file together; a header that describes no tensors gets a checksum of nothing."""
    text = json.dumps(config)
    metadata = {"fastbp": text, "sha256": _checksum(text, header, tensors)}
    head = json.dumps({"__metadata__": metadata} | header).encode()
    return len(head).to_bytes(8, "little") + head + tensors


def _checksum(text, header, tensors):
    digest = hashlib.sha256(text.encode())
    try:
        for name, entry in sorted(header.items()):
            begin, end = entry["data_offsets"]
            digest.update(f"{name} {_DTYPES[entry['dtype']]} {tuple(entry['shape'])}".encode())
            digest.update(tensors[begin:end])
    except (KeyError, TypeError, ValueError):
        return ""
    return digest.hexdigest()
