"""``recurrent-mz batch``: many positions and time points with the same settings."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..scans import InputError, ZGrid
from . import _common

if TYPE_CHECKING:
    from ..batch import BatchSettings, Job, Outcome, Report

_EXAMPLES = """examples:
  recurrent-mz batch FOLDER -o RESULTS --planes 4 12 20 --grid 0:10:0.2 --na 1.4 \\
      --wavelength-um 0.519 --immersion-index 1.515 --pixel-um 0.103
  recurrent-mz batch FOLDER -o RESULTS --pattern '*_z{z}um*.tif'
  recurrent-mz batch PLATE.ome.zarr -o RESULTS --scheduler tcp://host:8786
"""
_SHOWN_FAILURES = 20
_BAR = 24  # characters


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "batch",
        help="build the volumes of a folder, a plate or a time-lapse",
        description="Build the volumes of all positions and time points with the same settings. "
        "What the options leave out comes from the files' metadata. What an earlier run has "
        "finished is kept; a changed setting or input makes it anew.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "sources",
        nargs="+",
        metavar="SOURCE",
        help="folders of TIFFs and OME-Zarrs; TIFFs or OME-Zarrs, with a time axis or without; "
        "OME-Zarr plates",
    )
    _add_choice(parser)
    _common.add_grid_option(parser)
    _common.add_making_options(
        parser, "folder for the results, called as their inputs; it is made", metavar="FOLDER"
    )
    _add_running(parser)
    parser.set_defaults(run=run)


def _add_choice(parser: argparse.ArgumentParser) -> None:
    """Which files, and which of their planes and channels."""
    parser.add_argument(
        "--pattern",
        metavar="NAME",
        help="which files of a folder, as '*_GFP.tif'; with the height in it, as "
        "'*_z{z}um*.tif', files are single images and those that differ in it are one position",
    )
    parser.add_argument(
        "--recursive", action="store_true", help="search the folders in a folder too"
    )
    _common.add_stack_options(parser)
    parser.add_argument(
        "--channel", type=int, metavar="N", help="channel of files that hold several, from 0"
    )
    parser.add_argument(
        "--format",
        choices=("ome.tif", "ome.zarr"),
        help="of the results (default: ome.tif for TIFFs, ome.zarr for OME-Zarrs and time-lapses)",
    )


def _add_running(parser: argparse.ArgumentParser) -> None:
    """Where and how it runs."""
    group = parser.add_argument_group("running")
    group.add_argument(
        "--list", action="store_true", help="show what would be done, and do nothing"
    )
    group.add_argument("--again", action="store_true", help="make all, whatever is finished")
    group.add_argument(
        "--jobs",
        type=int,
        metavar="N",
        help="positions at a time (default: what memory and cores hold, and one for each GPU)",
    )
    group.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="run on the workers of this dask.distributed scheduler, as tcp://host:8786",
    )


def run(arguments: argparse.Namespace) -> None:
    """Find, do, report."""
    if arguments.jobs is not None and arguments.jobs < 1:
        raise InputError(f"--jobs is {arguments.jobs}: give 1 or more.")
    from ..batch import find_jobs, in_words, run_batch

    settings = _settings(arguments)
    jobs = find_jobs(
        arguments.sources,
        arguments.output,
        settings,
        pattern=arguments.pattern,
        recursive=arguments.recursive,
    )
    if arguments.list:
        print(_listed(jobs, settings, Path(arguments.output).absolute(), arguments.again))
        return
    with _common.Progress("batch") as progress:
        bar = _Bar(progress, len(jobs))
        report = run_batch(
            jobs,
            arguments.output,
            settings,
            workers=arguments.jobs,
            scheduler=arguments.scheduler,
            again=arguments.again,
            on_outcome=bar.volume,
            on_plane=bar.plane,
        )
    print(f"{in_words(report.outcomes)} in {_common.clock(report.seconds)}, in {report.output}")
    _end(report)


def _settings(arguments: argparse.Namespace) -> BatchSettings:
    from ..batch import BatchSettings

    return BatchSettings(
        grid=ZGrid.parse(arguments.grid) if arguments.grid is not None else None,
        planes=tuple(arguments.planes) if arguments.planes is not None else None,
        z_step_um=arguments.z_step_um,
        na=arguments.na,
        wavelength_um=arguments.wavelength_um,
        immersion_index=arguments.immersion_index,
        pixel_um=arguments.pixel_um,
        method=arguments.method,
        model=arguments.model,
        device=arguments.device,
        channel=arguments.channel,
        format=arguments.format,
    )


class _Bar:
    """A bar over the volumes of this run; what was kept from before costs no time."""

    def __init__(self, progress: _common.Progress, total: int) -> None:
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
        left = f", {_common.clock(seconds * (1 / share - 1))} left" if share else ""
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
        raise InputError(
            f"{len(report.failed)} of {len(report.outcomes)} volumes failed, the others are done: "
            f"see '{report.output / 'batch-report.csv'}'."
            if not report.of("stopped")
            else f"Stopped, and {len(report.failed)} volumes failed: the same command goes on."
        )
    if not report.is_complete:
        raise InputError("Stopped: what is done is kept, and the same command goes on from there.")


def _listed(jobs: list[Job], settings: BatchSettings, output: Path, again: bool) -> str:
    """A table of what would be done, a row for each position."""
    from ..batch import digest_of, is_done

    digest, seconds, left = digest_of(settings), 0.0, 0
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
        seconds += cost * (len(own) - done)
        needed = _common.clock(cost * (len(own) - done)) if done < len(own) else ""
        rows.append((position, scans, result, needed, _state(done, len(own))))
    return f"{_columns(rows)}\n{left} of {len(jobs)} volumes to do, about {_common.clock(seconds)}"


def _state(done: int, points: int) -> str:
    if points == 1:
        return "done" if done else "to do"
    return f"{done} of {points} time points done"


def _scans_and_cost(job: Job, settings: BatchSettings) -> tuple[str, float | None]:
    """Heights of the scans and the expected seconds; why it cannot be done and None."""
    from ..batch import plan_of, sentence_of
    from ..cost import estimate_cost
    from ..device import choose_device
    from ..inference import model_for

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
    )
    return " ".join(heights), cost.seconds


def _columns(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]) - 1)]
    return "\n".join(
        "  ".join(
            [*(text.ljust(w) for text, w in zip(row[:-1], widths, strict=True)), row[-1]]
        ).rstrip()
        for row in rows
    )
