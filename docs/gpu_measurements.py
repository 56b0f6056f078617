"""Everything that is to be measured on a GPU, by one command, into a folder.

    python docs/gpu_measurements.py measured

runs the benchmark in full, sets every stage of the network beside what the machine could do at
best, profiles one volume, notes how much of the GPU's memory tiles of several sizes take, and,
where Nsight Compute is installed, has it look at the kernels of one plane. Every part is a
process of its own: one that fails or takes too long says so in `summary.txt`, and the others go
on. `--quick --device cpu` shows that it all works where there is no GPU.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

_MOST_BYTES = 16 * 2**20  # of one file
_ROWS = 40  # of the profile
_TILES = (256, 512, 1024, 2048)
_CLI = [sys.executable, "-c", "import sys; from napari_recurrent_mz.cli import main; "
        "sys.exit(main())"]  # fmt: skip


def main() -> None:
    """Run the parts that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, help="gets the results; made if it is not there")
    parser.add_argument("--quick", action="store_true", help="small sizes: no real numbers")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--model", help="a bundled model or a weights file")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--only", nargs="+", help="only these subjects of the benchmark")
    parser.add_argument("--seconds", type=float, default=3000, help="most for one part")
    parser.add_argument("--inside", choices=_INSIDE, help=argparse.SUPPRESS)
    wanted = parser.parse_args()
    if wanted.inside:
        _INSIDE[wanted.inside](_bench(wanted), wanted.folder)
        return
    wanted.folder.mkdir(parents=True, exist_ok=True)
    for part in wanted.parts:
        begun = time.monotonic()
        ended = PARTS[part](wanted)
        line = f"{part}: {ended}, {time.monotonic() - begun:.0f} s"
        print(line, flush=True)
        with (wanted.folder / "summary.txt").open("a", encoding="utf-8") as summary:
            summary.write(line + "\n")
    for path in wanted.folder.iterdir():
        if path.stat().st_size > _MOST_BYTES:
            path.unlink()
            print(f"{path.name} was larger than {_MOST_BYTES >> 20} MiB and is not kept")


def _machine(wanted: argparse.Namespace) -> str:
    ended = _run(wanted, "machine.txt", [*_CLI, "info"])
    if shutil.which("nvidia-smi"):
        ended = _run(wanted, "nvidia-smi.txt", ["nvidia-smi", "-q"])
    return ended


def _table(wanted: argparse.Namespace) -> str:
    only = ["--only", *wanted.only] if wanted.only else []
    return _by_bench(wanted, "bench", only)


def _stages(wanted: argparse.Namespace) -> str:
    return _by_bench(wanted, "stages", ["--stages"])


def _by_bench(wanted: argparse.Namespace, name: str, options: Sequence[str]) -> str:
    """The benchmark's JSON, and from it the page's table."""
    kept = str(wanted.folder / f"{name}.json")
    command = [*_CLI, "bench", "--json", kept, *_options(wanted), *options]
    ended = _run(wanted, f"{name}.txt", command)
    if Path(kept).exists():
        _run(wanted, f"{name}.md", [*_CLI, "bench", "--from", kept, "--markdown"])
    return ended


def _profile(wanted: argparse.Namespace) -> str:
    return _again(wanted, "profile")


def _memory(wanted: argparse.Namespace) -> str:
    return _again(wanted, "memory")


def _kernels(wanted: argparse.Namespace) -> str:
    """Nsight Compute on the kernels of one plane, once the process is warm."""
    if shutil.which("ncu") is None:
        return "left out, Nsight Compute (ncu) is not installed"
    limits = ["--set", "basic", "--launch-skip", "400", "--launch-count", "100", "--csv"]
    inside = [sys.executable, __file__, str(wanted.folder), *_options(wanted), "--inside", "plane"]
    return _run(wanted, "kernels.csv", ["ncu", *limits, *inside])


def _again(wanted: argparse.Namespace, inside: str) -> str:
    command = [sys.executable, __file__, str(wanted.folder), *_options(wanted), "--inside", inside]
    return _run(wanted, f"{inside}.txt", command)


def _options(wanted: argparse.Namespace) -> list[str]:
    model = ["--model", wanted.model] if wanted.model else []
    return ["--device", wanted.device, *model, *(["--quick"] if wanted.quick else [])]


def _run(wanted: argparse.Namespace, name: str, command: Sequence[str]) -> str:
    """What became of a process whose output goes to a file."""
    with (wanted.folder / name).open("w", encoding="utf-8") as output:
        try:
            done = subprocess.run(  # noqa: S603  (our own commands)
                command, stdout=output, stderr=subprocess.STDOUT, check=False,
                timeout=wanted.seconds,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return f"ended after {wanted.seconds:g} s, see {name}"
    return "done" if done.returncode == 0 else f"failed with status {done.returncode}, see {name}"


PARTS: dict[str, Callable[[argparse.Namespace], str]] = {
    "machine": _machine,
    "bench": _table,
    "stages": _stages,
    "profile": _profile,
    "memory": _memory,
    "kernels": _kernels,
}
"""What is measured, in this order."""


# --- in processes of their own ---


def _bench(wanted: argparse.Namespace) -> Any:
    from napari_recurrent_mz.core.device import choose_device
    from napari_recurrent_mz.lab.benchmarks.base import FULL, QUICK, Bench

    sizes = QUICK if wanted.quick else FULL
    return Bench(choose_device(wanted.device), wanted.model, sizes, print)


def profile_volume(bench: Any, folder: Path) -> None:
    """PyTorch's profiler over one warm volume: a table, its numbers, and a trace if it is small."""
    from torch.profiler import ProfilerActivity, profile

    from napari_recurrent_mz.lab.benchmarks.scene import heights, noise_scans, prepared, volume_of

    maker = prepared(bench, noise_scans(bench.sizes.scans, bench.sizes.pixels))
    targets = heights(bench.sizes.planes)
    volume_of(maker, targets[:8])
    gpu = [ProfilerActivity.CUDA] if bench.on_gpu else []
    with profile(activities=[ProfilerActivity.CPU, *gpu]) as found:
        volume_of(maker, targets)
    order = "self_device_time_total" if bench.on_gpu else "self_cpu_time_total"
    averages = found.key_averages()
    print(averages.table(sort_by=order, row_limit=_ROWS, max_name_column_width=90))
    kept = sorted(averages, key=lambda event: -getattr(event, order))[: 5 * _ROWS]
    numbers = [
        {"name": event.key, "calls": event.count, "self_cpu_us": event.self_cpu_time_total,
         "self_device_us": event.self_device_time_total}
        for event in kept
    ]  # fmt: skip
    (folder / "profile.json").write_text(json.dumps(numbers, indent=1), encoding="utf-8")
    found.export_chrome_trace(str(folder / "trace.json.gz"))


def tile_memory(bench: Any, folder: Path) -> None:
    """The most GPU memory that a plane takes in tiles of several sizes, and its time."""
    import torch

    from napari_recurrent_mz.lab.benchmarks.scene import heights, noise_scans, prepared
    from napari_recurrent_mz.lab.shared import timed

    rows = []
    scans = noise_scans(bench.sizes.scans, bench.sizes.pixels)
    for tile in _TILES:
        maker = prepared(bench, scans, tile=tile)
        maker.plane(heights(3)[1])
        if bench.on_gpu:
            torch.cuda.reset_peak_memory_stats()
        seconds = timed(lambda maker=maker: maker.plane(heights(3)[1]))
        most = torch.cuda.max_memory_allocated() if bench.on_gpu else None
        rows.append({"tile": tile, "seconds": seconds, "most_bytes": most})
        print(rows[-1], flush=True)
    (folder / "memory.json").write_text(json.dumps(rows, indent=1), encoding="utf-8")


def planes(bench: Any, _folder: Path) -> None:
    """Some planes for a profiler that watches from outside."""
    from napari_recurrent_mz.lab.benchmarks.scene import heights, noise_scans, prepared

    maker = prepared(bench, noise_scans(bench.sizes.scans, bench.sizes.pixels))
    for z in heights(8):
        maker.plane(z)


_INSIDE: dict[str, Callable[[Any, Path], None]] = {
    "profile": profile_volume,
    "memory": tile_memory,
    "plane": planes,
}

if __name__ == "__main__":
    main()
