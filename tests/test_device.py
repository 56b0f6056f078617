"""The device: what is chosen, and what is said when it is not there."""

from __future__ import annotations

import pytest
import torch

from napari_recurrent_mz import device
from napari_recurrent_mz.scans import InputError


def only(monkeypatch: pytest.MonkeyPatch, *kinds: str) -> None:
    """A machine that has these accelerators and no others."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: "cuda" in kinds)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA Test")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: "mps" in kinds)


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


def test_cpu_is_named_with_its_cores() -> None:
    assert device.available_cores() >= 1
    assert device.cpu_name().endswith(f", {device.available_cores()} cores")
