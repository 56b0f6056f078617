"""What each change to the network's fast form brings on a CPU, beside what was expected of it.

Run it on a machine with nothing else to do::

    python docs/measure_changes.py

Every row times the plain way and the fast way of one step at the first level of the bundled
network (12 channels, 1024 × 1024 pixels), in process time on one thread, and prints what the
bytes or the operations of the two let expect. ``--others`` times whole planes: the plain network,
the fast form, and what else was tried, torch.compile and, where it is installed, OpenVINO.
``--object`` times the fit of the non-negative object.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.nn import functional

from napari_recurrent_mz import load_model
from napari_recurrent_mz.core.device import choose_device
from napari_recurrent_mz.estimates import object_sheets
from napari_recurrent_mz.estimates.deconvolution import NonnegativeEstimate
from napari_recurrent_mz.lab.benchmarks.scene import OPTICS, noise_scans
from napari_recurrent_mz.networks.fast import (
    _TANH,
    FastNetwork,
    Precision,
    _Buffers,
    _Conv,
    _Enlarged,
    _rectifier,
)
from napari_recurrent_mz.networks.inputs import Prepared
from napari_recurrent_mz.networks.recurrent_mz import RecurrentMZ

SIDE = 1024
C = 12


@dataclass(frozen=True)
class Change:
    """Two ways to do one step, and how many times faster the second should be."""

    words: str
    expected: float
    before: Callable[[], object]
    after: Callable[[], object]


def image(channels: int, side: int, dtype: torch.dtype) -> torch.Tensor:
    """Noise (1, channels, side, side), channels last."""
    made = torch.randn(1, channels, side, side).to(dtype)
    return made.contiguous(memory_format=torch.channels_last)


def changes(dtype: torch.dtype) -> list[Change]:
    """Every change, in one precision."""
    x, y, beside = image(C, SIDE, dtype), image(2 * C, SIDE // 2, dtype), image(3, SIDE, dtype)
    plain = torch.nn.Conv2d(3 * C + 3, C, 3, padding=1).to(dtype)
    plain = plain.to(memory_format=torch.channels_last)
    square = torch.nn.Conv2d(C, C, 3, padding=1).to(dtype).to(memory_format=torch.channels_last)
    enlarged, buffers = _Enlarged(plain, slice(2 * C), dtype), _Buffers()
    own, rest = _Conv(plain, dtype, slice(2 * C, 3 * C)), _Conv(plain, dtype, slice(3 * C, None))
    rest.bias = None  # there once already
    kept, rows, both = _Conv(square, dtype), image(C, SIDE, dtype)[:, :, ::2].clone(), None
    both = image(C, SIDE // 2, dtype)
    rows = rows.contiguous(memory_format=torch.channels_last)

    def joined() -> torch.Tensor:
        large = functional.interpolate(y, scale_factor=2.0)
        return torch.relu_(plain(torch.cat([large, x, beside], dim=1)))

    def apart() -> torch.Tensor:
        made = own(x, buffers, "made")
        enlarged.onto(made, y)
        return rest.onto(made, beside).relu_()

    def by_rows() -> torch.Tensor:
        torch.maximum(x[:, :, ::2], x[:, :, 1::2], out=rows)
        return torch.maximum(rows[..., ::2], rows[..., 1::2], out=both)

    taps = (9 * (3 * C + 3)) / (4 * 2 * C + 9 * (C + 3))
    return [
        Change("decoder: transposed convolution, nothing joined", taps, joined, apart),
        Change(
            "convolution and rectifier some rows at a time",
            1.0,
            lambda: torch.relu_(square(x)),
            lambda: kept(x, buffers, "kept", _rectifier(0.0)),
        ),
        Change(
            "convolution and tanh some rows at a time",
            1.0,
            lambda: torch.tanh_(square(x)),
            lambda: kept(x, buffers, "kept", _TANH),
        ),
        Change("pooling by rows, then columns", 1.0, lambda: functional.max_pool2d(x, 2), by_rows),
    ]


def seconds(run: Callable[[], object], repeats: int = 5) -> float:
    """Process time of a call, the least of some."""
    run()
    found = []
    for _ in range(repeats):
        began = time.process_time()
        run()
        found.append(time.process_time() - began)
    return min(found)


def steps() -> None:
    """Print the table of the steps."""
    print("| change | precision | operations let expect | before, ms | after, ms | faster |")
    print("|---|---|---|---|---|---|")
    for dtype in (torch.float32, torch.bfloat16):
        for change in changes(dtype):
            before, after = 1e3 * seconds(change.before), 1e3 * seconds(change.after)
            name = {torch.float32: "single", torch.bfloat16: "half"}[dtype]
            print(
                f"| {change.words} | {name} | {change.expected:.1f}× | {before:.0f} | {after:.0f} "
                f"| {before / after:.1f}× |",
                flush=True,
            )


def whole_planes() -> None:
    """Print the table of whole planes, M = 3."""
    network = load_model().network
    assert isinstance(network, RecurrentMZ)
    config, half = network.config, choose_device("cpu").half
    torch.manual_seed(0)
    one = [torch.randn(1, c, SIDE, SIDE) for c in (1, 1, config.skip_channels, 1)]
    given = Prepared(torch.randn(1, 3, config.input_channels, SIDE, SIDE), *one)
    ways: dict[str, Callable[[], object]] = {"plain, single": lambda: network(*given)}
    if half:
        ways["plain, mixed"] = lambda: mixed(network, given)
    for precise in (False, True) if half else (False,):
        fast = FastNetwork(network, Precision.of("cpu", half=precise))
        ways[f"fast, {'half' if precise else 'single'}"] = lambda fast=fast: fast(*given)
    compiled = torch.compile(network, dynamic=False)
    ways["torch.compile, single"] = lambda: compiled(*given)
    ways |= openvino(network, given)
    print("| whole plane, M = 3 | first call, s | next ones, process s |\n|---|---|---|")
    for words, run in ways.items():
        began = time.perf_counter()
        run()
        first = time.perf_counter() - began
        print(f"| {words} | {first:.1f} | {seconds(run, 3):.2f} |", flush=True)


def fits() -> None:
    """Print the table of the object's fit."""
    every, kept = object_sheets._EVERY, object_sheets._CACHE_BYTES
    print("| object of 1024 × 1024 | M | values, 10⁶ | fit, s | of the process |")
    print("|---|---|---|---|---|")
    rows = (
        ("every sheet a value for every pixel, one thread", 3, (), kept, 1),
        ("far sheets with fewer values, one thread", 3, every, kept, 1),
        ("the same, parts side by side on two cores", 3, every, kept, 2),
        ("many scans, responses made anew in every iteration", 10, every, 0, 2),
        ("the same, responses kept", 10, every, kept, 2),
    )
    for words, count, coarse, memory, threads in rows:
        scans = noise_scans(count, SIDE)
        NonnegativeEstimate(scans, OPTICS, iterations=0)  # its tables, kept from then on
        object_sheets._EVERY, object_sheets._CACHE_BYTES = coarse, memory
        torch.set_num_threads(threads)
        began, process = time.perf_counter(), time.process_time()
        found = NonnegativeEstimate(scans, OPTICS)
        took, process = time.perf_counter() - began, time.process_time() - process
        values = found.density.numel() / 1e6
        print(f"| {words} | {count} | {values:.1f} | {took:.1f} | {process:.1f} |", flush=True)


def mixed(network: RecurrentMZ, given: Prepared) -> torch.Tensor:
    """The plain network in mixed precision."""
    with torch.autocast("cpu", torch.bfloat16):
        return network(*given)


def openvino(network: RecurrentMZ, given: Prepared) -> dict[str, Callable[[], object]]:
    """The network by OpenVINO, where that is installed."""
    try:
        import openvino as ov
    except ImportError:
        return {}
    made = ov.convert_model(network, example_input=tuple(given))
    arrays = [part.numpy() for part in given]
    found: dict[str, Callable[[], object]] = {}
    for words, hint in (("single", "f32"), ("half", "bf16")):
        options = {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": 1}
        request = ov.Core().compile_model(made, "CPU", options).create_infer_request()
        found[f"OpenVINO, {words}"] = lambda request=request: request.infer(arrays)
    return found


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--others", action="store_true", help="whole planes, and what was tried")
    parser.add_argument("--object", action="store_true", help="the fit of the object")
    wanted = parser.parse_args()
    torch.set_num_threads(1)
    with torch.inference_mode():
        if wanted.others:
            whole_planes()
        elif wanted.object:
            fits()
        else:
            steps()


if __name__ == "__main__":
    main()
