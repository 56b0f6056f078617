"""The device: what is chosen, and what is said when it is not there."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import torch

from napari_recurrent_mz.core import device
from napari_recurrent_mz.core.scans import InputError


def only(monkeypatch: pytest.MonkeyPatch, *kinds: str) -> None:
    """A machine that has these accelerators and no others."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: "cuda" in kinds)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA Test")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: "mps" in kinds)
    memory = SimpleNamespace(total_memory=8_000_000_000)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _number: memory)
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", lambda _share: None)


@pytest.mark.parametrize(
    ("there", "choice", "kind", "name"),
    [
        ((), "auto", "cpu", "core"),
        (("cuda",), "auto", "cuda", "NVIDIA Test"),
        (("cuda", "mps"), "auto", "cuda", "NVIDIA Test"),
        (("mps",), "auto", "mps", "Apple"),
        (("cuda",), "cpu", "cpu", "core"),
        (("cuda",), "cuda", "cuda", "NVIDIA Test"),
    ],
)
def test_choice(
    monkeypatch: pytest.MonkeyPatch, there: tuple[str, ...], choice: str, kind: str, name: str
) -> None:
    only(monkeypatch, *there)
    found = device.choose_device(choice)
    assert found.kind == kind
    assert name in found.name
    assert found.torch.type == kind


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ("cuda", "No CUDA GPU was found: choose auto or cpu"),
        ("mps", "No Apple GPU"),
        ("tpu", "'tpu' is unknown: choose one of auto, cuda, mps, cpu"),
        ("", "is unknown"),
    ],
)
def test_absent_device_is_refused(monkeypatch: pytest.MonkeyPatch, choice: str, words: str) -> None:
    only(monkeypatch)
    with pytest.raises(InputError, match=words):
        device.choose_device(choice)


def test_cuda_computes_in_mixed_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, "cuda")
    assert device.choose_device("auto").half
    only(monkeypatch, "mps")
    assert not device.choose_device("auto").half


@pytest.mark.parametrize(("cores", "words"), [(1, ", 1 core"), (2, ", 2 cores")])
def test_cpu_is_named_with_its_cores(
    monkeypatch: pytest.MonkeyPatch, cores: int, words: str
) -> None:
    assert device.available_cores() >= 1
    monkeypatch.setattr(device, "available_cores", lambda: cores)
    assert device.cpu_name.__wrapped__().endswith(words)


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("Intel(R) Xeon(R) CPU E5-2680 v4 @ 2.40GHz", "Intel Xeon E5-2680 v4"),
        ("AMD Ryzen 7 5800X 8-Core Processor", "AMD Ryzen 7 5800X 8-Core"),
        ("Intel(R) Core(TM) i7-8700 CPU @ 3.20GHz", "Intel Core i7-8700"),
        ("AMD EPYC", "AMD EPYC"),
    ],
)
def test_cpu_is_named_without_marks_that_say_nothing(
    monkeypatch: pytest.MonkeyPatch, model: str, name: str
) -> None:
    monkeypatch.setattr(device, "_cpu_info", lambda _: f"model name\t: {model}")
    assert device.cpu_name.__wrapped__().partition(",")[0] == name


def test_a_limit_to_the_memory_of_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one given counts, else the variable's; torch is told the share of what is there."""
    shares: list[float] = []
    only(monkeypatch, "cuda")
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", shares.append)
    monkeypatch.delenv(device.GPU_MEMORY, raising=False)
    device.choose_device("cuda")
    monkeypatch.setenv(device.GPU_MEMORY, "2")
    device.choose_device("cuda")
    try:
        device.limit_gpu_memory(4.0)
        device.choose_device("cuda")
        device.limit_gpu_memory(16.0)
        device.choose_device("cuda")
    finally:
        device.limit_gpu_memory(None)
    assert shares == [1.0, 0.25, 0.5, 1.0]
    assert device.gpu_memory_limit() == 2.0


@pytest.mark.parametrize(
    ("limit", "free"),
    [(None, 5e9), (4.0, 3e9), (16.0, 5e9), (0.5, 0)],
)
def test_what_may_be_taken_of_a_gpu_is_within_its_limit(
    monkeypatch: pytest.MonkeyPatch, limit: float | None, free: float
) -> None:
    """Of 8 GB this process has taken 1 and others 2."""
    monkeypatch.delenv(device.GPU_MEMORY, raising=False)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (5_000_000_000, 8_000_000_000))
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda: 1_000_000_000)
    try:
        device.limit_gpu_memory(limit)
        assert device.free_gpu_bytes() == free
    finally:
        device.limit_gpu_memory(None)


@pytest.mark.parametrize(("text", "words"), [("lots", "a number of gigabytes"), ("0.1", "too lit")])
def test_a_limit_that_makes_no_sense(
    monkeypatch: pytest.MonkeyPatch, text: str, words: str
) -> None:
    monkeypatch.setenv(device.GPU_MEMORY, text)
    with pytest.raises(InputError, match=words):
        device.gpu_memory_limit()


def test_memory_that_is_free_goes_back_to_the_system() -> None:
    """Blocks below the largest kept one: glibc would keep them."""
    own = psutil.Process()
    blocks = [np.ones(12_000, np.uint8) for _ in range(20_000)]
    del blocks[:-1]
    before = own.memory_info().rss
    device.give_back_memory()
    assert own.memory_info().rss <= before
    if sys.platform == "linux" and platform.libc_ver()[0] == "glibc":
        assert own.memory_info().rss < before - 100_000_000


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_torch_is_loaded_ahead_of_its_import_and_works() -> None:
    code = """
import sys
from pathlib import Path
from napari_recurrent_mz.core.device import map_torch
map_torch()
assert "torch" not in sys.modules
assert "libtorch_cpu" in Path("/proc/self/maps").read_text()
import torch
assert float(torch.nn.functional.conv2d(torch.ones(1, 1, 4, 4), torch.ones(1, 1, 3, 3)).sum()) == 36
map_torch()
"""
    subprocess.run([sys.executable, "-c", code], check=True)


USES = {
    "run a network": (
        "from napari_recurrent_mz.engine import inference, tiles\n"
        "from napari_recurrent_mz.networks.deep_z import DeepZConfig\n"
        "from napari_recurrent_mz.networks.operations import operations_per_pixel\n"
        "operations_per_pixel(DeepZConfig(), 2)\n"
    ),
    "train one": (
        "import torch\n"
        "from napari_recurrent_mz.networks.recurrent_mz import NetworkConfig, RecurrentMZ\n"
        "from napari_recurrent_mz.training.learner import Learner, TrainConfig\n"
        "small = RecurrentMZ(NetworkConfig(base_channels=2, levels=2))\n"
        "Learner(TrainConfig(), small, torch.device('cpu'), half=False)\n"
    ),
}


@pytest.mark.parametrize("use", USES)
def test_triton_stays_out_of_a_process_that_draws_with_mesa(tmp_path: Path, use: str) -> None:
    """Loading it there is a segmentation fault: this one ends the process too."""
    fake = tmp_path / "triton"
    fake.mkdir()
    (fake / "__init__.py").write_text("import os; os._exit(139)")
    mesa = (
        "from napari_recurrent_mz.core import device\ndevice._has_llvm = lambda: True\n"
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
    )
    subprocess.run([sys.executable, "-c", mesa + USES[use]], check=True, timeout=200)
