"""``recurrent-mz batch``: many positions and time points with the same settings."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from ..core.device import choose_device
from ..core.scans import InputError, ZGrid, counted
from ..io._zarr import NGFF
from ._common import (
    OUTPUT,
    Grid,
    MethodOptions,
    Ngff,
    OpticsOptions,
    PartOfField,
    Planes,
    Repair,
    ZStep,
)
from ._options import Argument, Option
from ._terminal import Progress, clock, columns, note

if TYPE_CHECKING:
    from ..engine.batch import BatchSettings, Job, Outcome, Report
    from ..engine.cost import Cost

_SHOWN_FAILURES = 20
_BAR = 24  # characters


@dataclass(frozen=True)
class Running:
    """Running."""

    list: Annotated[bool, Option("only show what would be done")] = False
    again: Annotated[bool, Option("make every volume again, even if it is finished")] = False
    jobs: Annotated[
        int | None,
        Option("positions at a time (default: as many as memory and cores allow, one per GPU)"),
    ] = None
    scheduler: Annotated[
        str | None,
        Option(
            "run on the workers of this dask.distributed scheduler (tcp://host:8786)", "ADDRESS"
        ),
    ] = None


def batch(
    *,
    sources: Annotated[
        tuple[str, ...],
        Argument(
            "folders of image files and OME-Zarrs; single ones, with a time axis or without; "
            "OME-Zarr plates",
            "SOURCE",
        ),
    ],
    pattern: Annotated[
        str | None,
        Option(
            "which files of a folder, such as '*_GFP.tif'; with the height in it, as in "
            "'*_z{z}um*.tif', files are single images, those alike but for z one position",
            "NAME",
        ),
    ] = None,
    recursive: Annotated[bool, Option("search subfolders too")] = False,
    planes: Planes = None,
    z_step_um: ZStep = None,
    channel: Annotated[
        str | None, Option("channel of files that have several: its number, from 0, or its name")
    ] = None,
    region: PartOfField = None,
    repair: Repair = False,
    format: Annotated[  # noqa: A002  (the option's name)
        str | None,
        Option(
            "of the results (default: ome.tif for files, ome.zarr for OME-Zarrs and time-lapses)",
            choices=("ome.tif", "ome.zarr"),
        ),
    ] = None,
    ngff: Ngff = NGFF[0],
    grid: Grid = None,
    optics: OpticsOptions,
    by: MethodOptions,
    output: Annotated[
        str,
        Option("folder for the results, which are named after their inputs", "FOLDER", OUTPUT),
    ],
    running: Running,
) -> None:
    """Build the volumes of a folder, a plate or a time-lapse.

    Build the volumes of all positions and time points with the same settings. What the options
    leave out comes from the files' metadata. What an earlier run has finished is kept, unless
    a setting or an input has changed since.

    examples:
      recurrent-mz batch FOLDER -o RESULTS --planes 4 12 20 --grid 0:10:0.2 --na 1.4 \\
          --wavelength-um 0.519 --immersion-index 1.515 --pixel-um 0.103
      recurrent-mz batch FOLDER -o RESULTS --pattern '*_z{z}um*.tif'
      recurrent-mz batch PLATE.ome.zarr -o RESULTS --scheduler tcp://host:8786
    """
    if running.jobs is not None and running.jobs < 1:
        raise InputError(f"--jobs is {running.jobs}: give 1 or more.")
    from ..engine.batch import BatchSettings, find_jobs, in_words, run_batch

    settings = BatchSettings(
        grid=None if grid is None else ZGrid.parse(grid), planes=planes, z_step_um=z_step_um,
        method=by.method, model=by.model, device=by.device,
        channel=channel, region=region, repair=repair, format=format, ngff=ngff, **asdict(optics),
    )  # fmt: skip
    jobs = find_jobs(sources, output, settings, pattern=pattern, recursive=recursive)
    if running.list:
        print(_listed(jobs, settings, Path(output).absolute(), running.again))
        return
    with Progress("batch") as progress:
        bar = _Bar(progress, len(jobs))
        report = run_batch(
            jobs,
            output,
            settings,
            workers=running.jobs,
            scheduler=running.scheduler,
            again=running.again,
            on_outcome=bar.volume,
            on_plane=bar.plane,
        )
    print(f"{in_words(report.outcomes)} in {clock(report.seconds)}, in {report.output}")
    faulty = sum(outcome.has_faults for outcome in report.outcomes)
    if faulty:
        told = f"scans of {counted(faulty, 'volume')} have faults, which 'batch-report.csv' names"
        note(f"{told}." if repair else f"{told}: --repair makes most of them right.")
    _end(report)


class _Bar:
    """A bar over the volumes of this run; what was kept from before costs no time."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress, self._begun = progress, time.monotonic()
        self._kept = self._done = 0
        self._total = total

    def volume(self, outcome: Outcome, done: int, total: int) -> None:
        """Show that a volume is through."""
        self._kept += outcome.state == "kept"
        self._done, self._total = done - self._kept, total - self._kept
        self._show()

    def plane(self, name: str, done: int, total: int) -> None:
        """Show how far a volume is."""
        self._show(done / total, f"; {name}: plane {done}/{total}")

    def _show(self, part: float = 0.0, words: str = "") -> None:
        if not self._total:
            return
        share = min((self._done + part) / self._total, 1.0)
        seconds = time.monotonic() - self._begun
        left = f", {clock(seconds * (1 / share - 1))} left" if share else ""
        bar = "#" * round(_BAR * share)
        self._progress.line(f"[{bar:-<{_BAR}}] {self._done}/{self._total} volumes{left}{words}")


def _end(report: Report) -> None:
    """Tell what failed; end with status 1 unless all volumes are there."""
    for outcome in report.failed[:_SHOWN_FAILURES]:
        print(f"  failed: {outcome.job.name}: {outcome.message}")
    more = len(report.failed) - _SHOWN_FAILURES
    if more > 0:
        print(f"  and {more} more")
    if report.failed:
        others = ", the others are done" * (len(report.failed) < len(report.outcomes))
        raise InputError(
            f"{len(report.failed)} of {len(report.outcomes)} volumes failed{others}: "
            f"see '{report.output / 'batch-report.csv'}'."
            if not report.of("stopped")
            else f"Stopped, and {counted(len(report.failed), 'volume')} failed: the same command "
            "goes on."
        )
    if not report.is_complete:
        raise InputError("Stopped: what is done is kept, and the same command goes on from there.")


def _listed(jobs: list[Job], settings: BatchSettings, output: Path, again: bool) -> str:
    """A table of what would be done, a row for each position."""
    from ..engine.batch import digest_of, is_done
    from ..engine.cost import time_of_all

    digest, left = digest_of(settings), 0
    costs: list[tuple[Cost, int]] = []
    rows = [("position", "scans at z (µm)", "result", "time", "state")]
    positions: dict[str, list[Job]] = {}
    for job in jobs:
        positions.setdefault(job.position, []).append(job)
    for position, own in positions.items():
        done = 0 if again else sum(is_done(output, job, settings, digest) for job in own)
        scans, cost = _scans_and_cost(own[0], settings)
        result = str(own[0].target.relative_to(output))
        if cost is None:
            rows.append((position, "", result, "", f"cannot: {scans}"))
            continue
        left += len(own) - done
        costs.append((cost, len(own) - done))
        own_time = replace(cost, start_seconds=0.0).time_in_words(len(own) - done)
        needed = own_time if done < len(own) else ""
        rows.append((position, scans, result, needed, _state(done, len(own))))
    needed = f", {time_of_all(costs)}" if left else ""
    return f"{columns(rows)}\n{left} of {len(jobs)} volumes to do{needed}"


def _state(done: int, points: int) -> str:
    if points == 1:
        return "done" if done else "to do"
    return f"{done} of {points} time points done"


def _scans_and_cost(job: Job, settings: BatchSettings) -> tuple[str, Cost | None]:
    """Heights of the scans and the cost of a volume; why it cannot be done and None."""
    from ..engine.batch import plan_of, sentence_of
    from ..engine.cost import estimate_cost
    from ..engine.inference import model_for

    try:
        plan = plan_of(job, settings)
    except Exception as error:  # one file is no reason not to list the others
        return sentence_of(error), None
    heights = [f"{z:g}" for z in plan.z_um]
    if len(heights) > 6:
        heights = [*heights[:3], "…", heights[-1]]
    cost = estimate_cost(
        plan.shape,
        len(plan.z_um),
        len(plan.grid),
        settings.method,
        choose_device(settings.device),
        model_for(settings.method, settings.model),
        optics=plan.optics,
        scan_z_um=plan.z_um,
    )
    return " ".join(heights), cost
