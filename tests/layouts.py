"""Arrays that are read-only, misaligned or mapped from a file."""

import numpy as np


def readonly(array):
    array.flags.writeable = False
    return array


def misaligned(array):
    raw = np.zeros(array.nbytes + 1, np.uint8)
    view = raw[1:].view(array.dtype).reshape(array.shape)
    view[:] = array
    assert not view.flags.aligned
    return view


def memory_map(array, folder, mode):
    np.save(folder / "x.npy", array)
    return np.load(folder / "x.npy", mmap_mode=mode)
