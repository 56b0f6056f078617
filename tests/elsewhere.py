"""Planes made on a device that is not the CPU, for machines that have no other.

Its tensors say that they are elsewhere and keep their numbers in main memory. As on a GPU, what is
here cannot be computed with what is there, and numbers come back only when they are asked for.
Run as a script, it exits with an error where the two are mixed, or where an image differs from the
CPU's. With `--count` it prints how many things the device is told to do: a GPU waits for each.
"""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

from napari_recurrent_mz import Optics, Scan, Session, ZGrid, load_model
from napari_recurrent_mz.core.device import Device, choose_device
from napari_recurrent_mz.engine.tiles import NetworkPlanes
from napari_recurrent_mz.estimates import object_windows as windows
from napari_recurrent_mz.estimates.deconvolution import NonnegativeEstimate
from napari_recurrent_mz.estimates.lmmse import LinearEstimate
from napari_recurrent_mz.lab.benchmarks import scene

_setup_privateuseone_for_python_backend("elsewhere")
THERE = torch.device("elsewhere:0")
TOLD: Counter[str] = Counter()
_CROSSING = ("copy_", "_to_copy", "to", "type_as")  # what may see both devices


class Elsewhere(torch.Tensor):
    """A tensor on the other device."""

    kept: torch.Tensor

    @staticmethod
    def __new__(cls, kept: torch.Tensor) -> Elsewhere:
        made: Elsewhere = torch.Tensor._make_wrapper_subclass(
            cls, kept.size(), strides=kept.stride(), storage_offset=kept.storage_offset(),
            dtype=kept.dtype, layout=kept.layout, device=THERE,
        )  # fmt: skip
        made.kept = kept
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})

    def untyped_storage(self) -> Any:
        return self.kept.untyped_storage()


class Watch(TorchDispatchMode):
    """Sends what is made elsewhere, or of what is there, there."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    name = func._schema.name.split("::")[1]
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
    there = [one for one in tensors if isinstance(one, Elsewhere)]
    here = [one for one in tensors if not isinstance(one, Elsewhere) and one.dim()]
    if there and here and name not in _CROSSING:
        sizes = ", ".join(str(tuple(one.shape)) for one in here)
        raise RuntimeError(f"{name}: what is elsewhere meets what is here ({sizes})")
    devices = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.device)]
    goes_there = devices[-1].type == THERE.type if devices else bool(there)
    if name == "copy_":
        goes_there = isinstance(args[0], Elsewhere)
    if there or goes_there:
        TOLD["views" if func.is_view else "operations"] += 1
    made = func(*tree_map(_kept, args), **tree_map(_kept, kwargs))
    known = {id(one.kept): one for one in there}

    def placed(value: Any) -> Any:
        if not isinstance(value, torch.Tensor) or isinstance(value, Elsewhere):
            return value
        if id(value) in known:  # changed in place
            return known[id(value)]
        return Elsewhere(value) if goes_there else value

    return tree_map(placed, made)


def _kept(value: Any) -> Any:
    if isinstance(value, torch.device):
        return torch.device("cpu")
    return value.kept if isinstance(value, Elsewhere) else value


# --- the same work there and here ---

OPTICS = Optics(na=0.8, wavelength_um=0.52, immersion_index=1.0, pixel_um=0.3)
HEIGHTS = [1.3, 2.0, 3.7, 4.4, 4.9, 1.0]
GRID = ZGrid(1.0, 5.0, 1.0)
SHAPE = (64, 80)


def _scans() -> list[Scan]:
    rng = np.random.default_rng(4)
    spots = 5000 * (rng.random((3, *SHAPE)) > 0.99)
    return [Scan(100 + spot + rng.normal(0, 3, SHAPE), 1.0 + 2 * n) for n, spot in enumerate(spots)]


def _network(device: Device, **options: Any) -> NetworkPlanes:
    given = {"reach_um": (1.0, 5.0), "on_message": print, "half": False, "fast": True, **options}
    return NetworkPlanes(_scans(), OPTICS, load_model(), device, **given)


def _session(device: Device) -> np.ndarray:
    session = Session(GRID, optics=OPTICS, model=load_model(), half=False, device=device.kind)
    for scan in _scans():
        session.add_scan(scan, refine=scan.z_um > 1)
    assert session.volume is not None
    return session.volume


def _in_windows(device: Device) -> np.ndarray:
    with contextlib.ExitStack() as changed:
        for name, value in (("WINDOW", 32), ("OVERLAP", 16), ("IN_MEMORY_BYTES", 0)):
            changed.callback(setattr, windows, name, getattr(windows, name))
            setattr(windows, name, value)
        return _network(device).plane(2.3)


TASKS: dict[str, Callable[[Device], np.ndarray]] = {
    "planes": lambda device: np.array(list(_network(device).planes(HEIGHTS))),
    "plain": lambda device: _network(device, fast=False).plane(2.3),
    "tiles": lambda device: _network(device, tile=64).plane(2.3),
    "surface": lambda device: _network(device).plane(np.linspace(1.1, 4.8, 64 * 80).reshape(SHAPE)),
    "windows": _in_windows,
    "linear": lambda device: LinearEstimate(_scans(), OPTICS, device=device.torch).plane(2.3),
    "session": _session,
}
_CUDA = {
    "is_available": True,
    "get_device_name": "another device",
    "current_device": 0,
    "get_device_properties": SimpleNamespace(total_memory=8 * 10**9),
    "set_per_process_memory_fraction": None,
    "mem_get_info": (6 * 10**9, 8 * 10**9),
    "memory_allocated": 0,
    "empty_cache": None,
    "synchronize": None,
}
"""What is asked of CUDA, and what it says."""


def main() -> int:
    """Do everything on both devices, and say how far the images differ; or count."""
    _pretend()
    gpu = Device("cuda", "another device", half=False)
    return _count(gpu) if sys.argv[1:] == ["--count"] else _compare(gpu)


def _pretend() -> None:
    """Let the package find the other device where it looks for CUDA."""
    own = Device.torch
    Device.torch = property(lambda self: THERE if self.kind == "cuda" else own.fget(self))
    for name, answer in _CUDA.items():
        setattr(torch.cuda, name, lambda *_, answer=answer: answer)
    torch.inference_mode = _NoGradient  # tensors without a version counter cannot be wrapped
    torch._C._set_only_lift_cpu_tensors(True)  # numbers go there as any others do
    torch.__future__.set_overwrite_module_params_on_conversion(True)


def _compare(gpu: Device) -> int:
    NonnegativeEstimate.__init__.__kwdefaults__["iterations"] = 4  # enough to see a difference
    worst = 0.0
    for name, task in TASKS.items():
        with Watch():
            made = task(gpu)
        wanted = task(choose_device("cpu"))
        off = float(np.abs(made - wanted).max() / np.ptp(wanted))
        print(f"{name}: {off:.1e} of the range")
        worst = max(worst, off)
    return int(worst > 1e-4)


def _count(gpu: Device) -> int:
    """Of the scene of the benchmark, M = 3; more pixels are no more operations."""
    scans, optics = scene.noise_scans(3, 96), scene.OPTICS
    options = {"reach_um": scene.REACH_UM, "on_message": print, "half": False, "fast": True}
    with Watch():
        maker = NetworkPlanes(scans, optics, load_model(), gpu, **options)
        few, many = (_told(lambda n=n: list(maker.planes(scene.heights(n)))) for n in (5, 13))
        fit = _told(lambda: NonnegativeEstimate(scans, optics, device=THERE))
    for kind in ("operations", "views"):
        plane = (many[kind] - few[kind]) / 8
        print(f"{kind}: {plane:g} for a plane of many, {fit[kind]:,} for the object's fit")
    return 0


def _told(work: Callable[[], object]) -> Counter[str]:
    work()  # what is made once
    TOLD.clear()
    work()
    return Counter(TOLD)


class _NoGradient(contextlib.ContextDecorator):
    def __init__(self, mode: bool = True) -> None:
        self.inner = torch.no_grad() if mode else contextlib.nullcontext()

    def __enter__(self) -> None:
        self.inner.__enter__()

    def __exit__(self, *error: Any) -> None:
        self.inner.__exit__(*error)


if __name__ == "__main__":
    sys.exit(main())
