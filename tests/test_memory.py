"""Memory runs out, as each library says so: the work goes on smaller, or one sentence says what."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from safetensors import SafetensorError

from napari_recurrent_mz import Optics, Scan, ZGrid, cli
from napari_recurrent_mz.core import device, errors
from napari_recurrent_mz.core.errors import (
    NotEnoughMemoryError,
    is_out_of_memory,
    memory_sentence,
    size_in_words,
    sizes_in_words,
)
from napari_recurrent_mz.core.progress import Stopped
from napari_recurrent_mz.core.scans import InputError, ScanStack
from napari_recurrent_mz.engine import batch
from napari_recurrent_mz.estimates import object_windows
from napari_recurrent_mz.estimates.deconvolution import NonnegativeEstimate
from napari_recurrent_mz.estimates.object_windows import nonnegative_estimate
from napari_recurrent_mz.io._tiff import reading_tiff
from napari_recurrent_mz.io._zarr import reading_zarr
from napari_recurrent_mz.networks import weights
from napari_recurrent_mz.networks.recurrent_mz import NetworkConfig, RecurrentMZ

OPTICS = Optics(na=1.4, wavelength_um=0.519, immersion_index=1.515, pixel_um=0.13)
BY_TORCH = (
    "[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: "
    "you tried to allocate 4194304 bytes. Error code 12 (Cannot allocate memory)"
)
SENTENCE = r"^There is not enough memory: use fewer planes"


def really_too_much() -> BaseException:
    with pytest.raises(RuntimeError) as raised:
        torch.empty(2**62, dtype=torch.uint8)
    return raised.value


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        torch.OutOfMemoryError("no more"),
        RuntimeError(BY_TORCH),
        RuntimeError("MPS backend out of memory (MPS allocated: 8.00 GB)"),
        RuntimeError("cuFFT error: CUFFT_ALLOC_FAILED"),
        RuntimeError("std::bad_alloc"),
        RuntimeError("can't start new thread"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        ImportError("libx.so: failed to map segment from shared object"),
        SystemError("error return without exception set"),
        SafetensorError("Cannot allocate memory (os error 12)"),
    ],
)
def test_every_library_is_understood(error: BaseException) -> None:
    assert is_out_of_memory(error)
    assert memory_sentence(error).startswith("There is not enough memory: use fewer planes")


def test_what_pytorch_says_here_is_understood() -> None:
    assert is_out_of_memory(really_too_much())


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("unsupported memory format option"),
        OSError(errno.ENOSPC, "No space left on device"),
        ValueError("out of memory"),
        Stopped(),
    ],
)
def test_other_errors_are_not_taken_for_it(error: BaseException) -> None:
    assert not is_out_of_memory(error)


def test_a_sentence_of_our_own_stays() -> None:
    own = "There is not enough memory for this image even in small tiles: crop the scans."
    assert memory_sentence(NotEnoughMemoryError(own)) == own


def test_an_object_is_fitted_in_smaller_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    base = rng.gamma(2.0, 100.0, (64, 700)).astype(np.float32)
    scans = [Scan(base + 20 * n, 1.5 * n) for n in range(3)]
    whole = nonnegative_estimate(scans, OPTICS).plane(0.8)
    build, tried = NonnegativeEstimate.__init__, list[int]()

    def short_of_memory(self: NonnegativeEstimate, some: ScanStack, *args, **options) -> None:
        tried.append(some.shape[1])
        if tried[-1] > 600:
            raise RuntimeError(BY_TORCH)
        build(self, some, *args, **options)

    monkeypatch.setattr(NonnegativeEstimate, "__init__", short_of_memory)
    found = nonnegative_estimate(scans, OPTICS).plane(0.8)
    assert tried[0] == 700
    assert max(tried[1:]) <= 600
    assert np.abs(found - whole).max() < 0.02 * np.ptp(whole)
    monkeypatch.setattr(object_windows, "_SMALLEST_WINDOW", 1000)
    with pytest.raises(RuntimeError, match="DefaultCPUAllocator"):
        nonnegative_estimate(scans, OPTICS)


def test_no_room_for_a_thread_leaves_none_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    start, begun = threading.Thread.start, list[threading.Thread]()

    def only_two(self: threading.Thread) -> None:
        if len(begun) == 2:
            raise RuntimeError("can't start new thread")
        begun.append(self)
        start(self)

    monkeypatch.setattr(threading.Thread, "start", only_two)
    with pytest.raises(RuntimeError, match="can't start"):
        device.one_core_each(4)
    for thread in begun:
        thread.join(20)
        assert not thread.is_alive()


@pytest.mark.parametrize("error", [OSError(errno.ENOMEM, "no memory"), RuntimeError(BY_TORCH)])
def test_a_file_is_not_called_damaged_for_it(tmp_path: Path, error: Exception) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((4, 5), np.uint8))
    for reading in (reading_tiff(tmp_path / "a.tif"), reading_zarr("a.tif")):
        with pytest.raises(InputError, match=r"'a\.tif' does not fit in memory"), reading:
            raise error


def no_memory(*_: object, **__: object) -> None:
    raise RuntimeError(BY_TORCH)


def test_weights_are_not_called_damaged_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mine.safetensors"
    weights.save_model(RecurrentMZ(NetworkConfig(base_channels=4, levels=2)), {}, path)
    monkeypatch.setattr(weights, "build_as", no_memory)
    with pytest.raises(InputError, match=SENTENCE):
        weights.load_model(path)


def test_an_array_is_not_called_unreadable_for_it() -> None:
    class Lazy:
        shape, ndim, dtype = (4, 5), 2, np.dtype("f4")
        __array__ = no_memory

    with pytest.raises(InputError, match=SENTENCE):
        Scan(Lazy(), 1.0)


@pytest.mark.parametrize("sentence_of", [errors.sentence_of, cli._in_one_line, batch.sentence_of])
def test_windows_commands_and_batches_say_what_to_do(
    sentence_of: Callable[[Exception], str],
) -> None:
    assert sentence_of(RuntimeError(BY_TORCH)).startswith("There is not enough memory: use fewer")


@pytest.mark.parametrize(
    ("size_bytes", "words"),
    [
        (0, "0 MB"),
        (12_000, "1 MB"),
        (2.6e6, "3 MB"),
        (999.7e6, "1.0 GB"),
        (6.78e9, "6.8 GB"),
        (4e15, "4,000,000.0 GB"),
    ],
)
def test_sizes_in_words(size_bytes: float, words: str) -> None:
    assert size_in_words(size_bytes) == words


@pytest.mark.parametrize(
    ("one", "other", "words"),
    [
        (2.6e6, 1e6, ("3 MB", "1 MB")),
        (1_280_000, 1_100_000, ("1.3 MB", "1.1 MB")),
        (6_830_000_000, 6_829_000_000, ("6.830 GB", "6.829 GB")),
        (1_000_001, 1_000_000, ("1.000001 MB", "1.000000 MB")),
        (400_000, 40_000, ("0.4 MB", "0.1 MB")),
        (5e6, 5e6, ("5 MB", "5 MB")),
    ],
)
def test_sizes_that_differ_read_differently(
    one: float, other: float, words: tuple[str, str]
) -> None:
    assert sizes_in_words(one, other) == words


def test_a_volume_that_does_not_fit_is_told_beside_what_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nine tenths of the memory were refused as less than there is."""
    grid, shape = ZGrid(0, 99, 1), (1000, 1000)  # 400 MB
    monkeypatch.setattr(device, "memory_bytes", lambda: 440_000_000)
    with pytest.raises(InputError, match="needs 400 MB but this computer has 352 MB of memory for"):
        device.check_memory(grid, shape)
