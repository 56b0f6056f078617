"""One job, from its files to its volume and record: what a worker does."""

from __future__ import annotations

import threading
import time
import traceback
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import torch

from ...core import errors
from ...core.device import choose_device, limit_gpu_memory
from ...core.methods import image_made, method_of
from ...core.progress import Stopped
from ...core.scans import InputError, Scan, ZGrid, same_height
from ...io import Place, PlaneWriter, VolumeWriter
from ...io._channels import FIRST_POINT
from ...io._time_lapse import TimePoint, lengthen_time_lapse, make_time_lapse, read_time_lapse
from ...io._whole import in_turn, refusals_of, remove_left_behind
from ..check import check_on_scans, fault_notes
from ..inference import model_for
from ..recipe import CONFOCAL_LIKE, Recipe, grid_record
from ..repairs import repaired
from ..to_disk import reconstruct_into
from ._plan import Plan, plan_of, read_job
from ._record import BATCH_KEY, forget, inputs_of, record_of, record_path, write_record
from ._settings import BatchSettings, Job, Orders

DONE, KEPT, FAILED, STOPPED = "done", "kept", "failed", "stopped"

_ONE_AT_A_TIME = threading.Lock()  # models and tables of a process are shared by its threads
_LOOK_EVERY_S = 0.2


@dataclass(frozen=True)
class Outcome:
    """What became of a job."""

    job: Job
    #: done, kept (finished by an earlier run, or by another meanwhile), failed or stopped
    state: str
    seconds: float = 0.0
    method: str = ""  #: by which the planes were made; with the method auto, what the check chose
    #: why it failed; or what the check on the scans found and what else there is to say
    message: str = ""
    trace: str = ""  #: of an error that is nobody's mistake
    has_faults: bool = False  #: whether the message names faults of scans


_prepared: set[tuple[Path, str]] = set()  # places of time-lapses, and runs of batches


def do(
    job: Job, first: Job, orders: Orders, on_progress: Callable[[int, int], None] | None = None
) -> Outcome:
    """Do one job, once ``first`` has made the place of its time points; errors are outcomes."""
    with _ONE_AT_A_TIME:
        began = time.perf_counter()
        try:
            if orders.stop.exists():
                raise Stopped
            if job.trouble:
                raise InputError(job.trouble)
            if job.in_time_lapse and (job.target, orders.run) not in _prepared:
                with _locked(record_path(orders.output, first).with_name("place.lock"), orders):
                    _prepare(first, plan_of(first, orders.settings), orders)
                _prepared.add((job.target, orders.run))
            with _locked(record_path(orders.output, job).with_suffix(".lock"), orders):
                finished = outcome_of_finished(job, orders)
                if finished is not None:
                    return finished
                _limit_resources(orders)
                made = _reconstruct(job, orders, on_progress)
        except Stopped:
            return Outcome(job, STOPPED)
        except _OvertakenError as late:
            return late.by
        except Exception as error:
            trace = "" if errors.known_sentence(error) else traceback.format_exc()
            made = Outcome(job, FAILED, message=sentence_of(error), trace=trace)
        return replace(made, seconds=time.perf_counter() - began)


def outcome_of_finished(job: Job, orders: Orders) -> Outcome | None:
    """The outcome of a job whose volume is there; None for one to be made."""
    # A volume of this run stays, also where all is made again: dask gives a job to a second
    # worker when it has lost sight of the first one.
    record = record_of(orders.output, job, orders.settings, orders.digest) or {}
    is_of_this_run = record.get("run") == orders.run
    if not record or (orders.again and not is_of_this_run):
        return None
    state, method = DONE if is_of_this_run else KEPT, _method_of(record.get("made", {}))
    return Outcome(job, state, method=method, **record.get("told", {}))


def _method_of(provenance: Mapping[str, Any]) -> str:
    """By which planes were made."""
    return str(provenance.get("used") or provenance.get("method", ""))


def lost(job: Job, message: str) -> Outcome:
    """The outcome of a job whose process was lost; what that has left is removed."""
    remove_left_behind(job.target)
    return Outcome(job, FAILED, message=message)


@contextmanager
def _locked(lock: Path, orders: Orders) -> Iterator[None]:
    """Wait while another process is at it: another run, or a worker that dask has lost."""

    def look() -> None:
        if orders.stop.exists():
            raise Stopped

    with refusals_of(lock):
        lock.parent.mkdir(parents=True, exist_ok=True)
    with in_turn(lock, look):
        yield


def _prepare(job: Job, plan: Plan, orders: Orders) -> None:
    """Make the place of all time points of a job's position."""
    remove_left_behind(job.target)
    place_record, shape = read_time_lapse(job.target)
    batch, is_checked = place_record.get(BATCH_KEY) or {}, bool(place_record.get("check"))
    if (
        batch.get("settings") == orders.digest
        and shape[1:] == plan.volume_shape
        and batch.get("inputs") == _place_inputs(job, batch.get("time"), is_checked, orders)
    ):
        if shape[0] < job.points:
            lengthen_time_lapse(job.target, job.points)
        return
    method, check = _method_for_all(job, orders)
    make_time_lapse(
        job.target,
        (job.points, *plan.volume_shape),
        Place(
            plan.pixel_um,
            plan.grid.z_um,
            origin_um=plan.origin_um,
            time_step_s=plan.time_step_s,
        ),
        {
            **_record_of_all(plan, method, orders.settings),
            "check": check,
            FIRST_POINT: plan.first_point,
            BATCH_KEY: {
                "settings": orders.digest,
                "grid": [plan.grid.start_um, plan.grid.stop_um, plan.grid.step_um],
                "inputs": _place_inputs(job, job.time, check is not None, orders),
                "time": job.time,
                "token": uuid.uuid4().hex,
                "asked": orders.settings.as_dict(),
            },
        },
        orders.settings.ngff,
    )


def _record_of_all(plan: Plan, method: str, settings: BatchSettings) -> dict[str, Any]:
    """How all time points are made, as the record of a volume says it."""
    from ... import __version__

    model = model_for(method, settings.model) if method_of(method).needs_model else None
    confocal = image_made(method, model) == "confocal"
    heights = enumerate(plan.grid.z_um)
    measured = [n for n, z_um in heights if same_height(z_um, plan.z_um).any()]
    return {
        "software": f"napari-recurrent-mz {__version__}",
        "method": method,
        **({"image": CONFOCAL_LIKE} if confocal else {}),
        "model": {"name": model.name, "sha256": model.sha256} if model else None,
        "scans": [{"name": f"scan {n}", "z_um": z} for n, z in enumerate(plan.z_um)],
        **({"region": asdict(plan.region)} if plan.region else {}),
        "grid": grid_record(plan.grid),
        "measured_planes": [] if confocal else measured,
        "optics": plan.optics.as_dict() if plan.optics else None,
    }


def _place_inputs(job: Job, time: int | None, is_checked: bool, orders: Orders) -> list[list[Any]]:
    """What a place is made from: the metadata of the files, and the planes that were checked."""
    at_time = replace(job, parts=tuple(replace(part, time=time) for part in job.parts))
    return inputs_of(at_time, orders.settings.planes if is_checked else ())


def _read(job: Job, settings: BatchSettings) -> tuple[list[Scan], Plan]:
    """The scans of a job, repaired if that is wanted, and what it comes to."""
    scans, plan = read_job(job, settings)
    if not settings.repair:
        return scans, plan
    scans, done = repaired(scans, plan.optics)
    return scans, replace(plan, remarks=(*plan.remarks, *done))


def _method_for_all(job: Job, orders: Orders) -> tuple[str, dict[str, Any] | None]:
    """The method of all time points, and what a check on this one found with the method auto."""
    settings = orders.settings
    if method_of(settings.method).kind != "auto":
        return settings.method, None
    scans, plan = _read(job, settings)
    model = model_for(settings.method, settings.model)
    assert plan.optics is not None  # this method needs them
    assert model is not None
    _limit_resources(orders)
    device = choose_device(settings.device)
    seen = _recipe(scans, plan, settings.method, settings).around_region()[0].scans
    check = check_on_scans(seen, plan.optics, model, device, stopped=_Stopped(orders.stop))
    return check.chosen, check.as_dict()


def _recipe(scans: list[Scan], plan: Plan, method: str, settings: BatchSettings) -> Recipe:
    how = plan.optics, method, settings.model, settings.device
    return Recipe(scans, plan.grid, *how, plan.pixel_um, plan.region)


def _reconstruct(
    job: Job, orders: Orders, on_progress: Callable[[int, int], None] | None
) -> Outcome:
    """Make the volume and its record."""
    settings = orders.settings
    inputs = inputs_of(job, settings.planes)  # before reading: what changes meanwhile shows
    scans, plan = _read(job, settings)
    place_record = _place_record(job, orders)
    method = str(place_record.get("method", settings.method))
    if place_record:  # one z axis for all time points, wherever the stage was
        plan = replace(plan, grid=ZGrid(*place_record[BATCH_KEY]["grid"]))
    planes = None if job.heights_um is not None else settings.planes or range(len(scans))
    faults = list(chain(*fault_notes(scans, plan.optics, planes)))
    remarks, made = [*plan.remarks, *faults], dict[str, Any]()

    def opened(shape: tuple[int, int, int]) -> PlaneWriter:
        forget(orders.output, job)
        return _place(job, plan, shape, settings.ngff)

    def before_finish(provenance: dict[str, Any]) -> None:
        by = outcome_of_finished(job, orders)
        if by is not None:
            raise _OvertakenError(by)
        made.update(provenance)

    recipe = _recipe(scans, plan, method, settings)
    reconstruct_into(
        opened,
        recipe,
        on_progress=on_progress,
        on_message=remarks.append,
        before_finish=before_finish,
        stopped=_Stopped(orders.stop),
    )
    if _place_record(job, orders) != place_record:
        raise _other_settings(job)
    check: Mapping[str, Any] = place_record.get("check") or made.get("check") or {}
    if check:
        remarks.append(str(check["sentence"]))
    told: dict[str, Any] = {"message": " ".join(remarks), "has_faults": bool(faults)}
    write_record(orders, job, plan.volume_shape, inputs, made, told)
    return Outcome(job, DONE, 0.0, _method_of(made), **told)


def _place_record(job: Job, orders: Orders) -> dict[str, Any]:
    """What the place of a time point was made with; empty where a volume has its own."""
    if not job.in_time_lapse:
        return {}
    place_record = read_time_lapse(job.target)[0]
    if (place_record.get(BATCH_KEY) or {}).get("settings") != orders.digest:
        raise _other_settings(job)
    return place_record


def _other_settings(job: Job) -> InputError:
    return InputError(
        f"Another batch, with other settings, has begun '{job.target.name}' anew: give one of the "
        "two a folder of its own."
    )


def _place(job: Job, plan: Plan, shape: tuple[int, int, int], ngff: str) -> PlaneWriter:
    if job.in_time_lapse:
        assert job.time is not None
        return TimePoint(job.target, job.time, shape)
    with refusals_of(job.target):
        job.target.parent.mkdir(parents=True, exist_ok=True)
    remove_left_behind(job.target)
    return VolumeWriter(
        job.target,
        shape,
        plan.grid.z_um,
        plan.pixel_um,
        inputs=[part.path for part in job.parts],
        origin_um=plan.origin_um,
        in_plate=bool(job.inside),
        ngff=ngff,
    )


class _OvertakenError(Exception):
    """Another has made a volume meanwhile, on a drive without locks: what it made stays."""

    def __init__(self, by: Outcome) -> None:
        super().__init__(by.job.name)
        self.by = by


class _Stopped:
    """Whether the stop file has appeared, looked for a few times a second at most."""

    def __init__(self, path: Path) -> None:
        self._path, self._next, self._found = path, 0.0, False

    def __call__(self) -> bool:
        now = time.monotonic()
        if not self._found and now >= self._next:
            self._next, self._found = now + _LOOK_EVERY_S, self._path.exists()
        return self._found


def _limit_resources(orders: Orders) -> None:
    """Give torch the threads, and the memory of a GPU, that this process may use."""
    if orders.gpu_memory_gb is not None:
        limit_gpu_memory(orders.gpu_memory_gb)
    threads = orders.threads
    if isinstance(threads, Mapping):
        from distributed import get_worker

        threads = threads.get(get_worker().address)
    if threads is not None:
        torch.set_num_threads(threads)


def sentence_of(error: BaseException) -> str:
    """An error in one sentence."""
    advice = "use fewer --jobs, a coarser grid or smaller images"
    return " ".join(errors.sentence_of(error, advice).split())
