"""What is finished: a record of settings, inputs and output for each volume, written last."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...core.scans import InputError
from ...io import write_json
from ...io._parts import Part, verify_volume
from ...io._whole import read_json, refusals_of
from ...io._zarr import ZarrImage, chunks_of, reading_zarr
from ._settings import BatchSettings, Job, Orders

FOLDER = ".recurrent-mz"
"""Where the records are, in the folder of the results."""

BATCH_KEY = "batch"
"""Where a time-lapse keeps the digest of its settings and its token."""


def record_path(output: Path, job: Job) -> Path:
    """The record of a job whose results go to the folder ``output``."""
    inside = job.output.relative_to(output) / job.inside
    time = "volume" if job.time is None else f"t{job.time:05d}"
    return output / FOLDER / inside / f"{time}.json"


def is_done(output: Path, job: Job, settings: BatchSettings, digest: str) -> bool:
    """Whether a job was finished with these settings, and neither input nor output changed."""
    return record_of(output, job, settings, digest) is not None


def record_of(
    output: Path, job: Job, settings: BatchSettings, digest: str
) -> dict[str, Any] | None:
    """The record of a job that is done, see :func:`is_done`; else None."""
    try:
        record = read_json(record_path(output, job))
    except (OSError, ValueError):
        return None
    if not isinstance(record, dict) or record.get("settings") != digest:
        return None
    if record.get("inputs") != inputs_of(job, settings.planes):
        return None
    try:
        z, y, x = record["shape"]
        return record if record["output"] == output_mark(job, (z, y, x)) else None
    except (InputError, KeyError, TypeError, ValueError):
        return None


def write_record(
    orders: Orders,
    job: Job,
    shape: tuple[int, int, int],
    inputs: Sequence[Any],
    made: Mapping[str, Any],
    told: Mapping[str, Any],
) -> None:
    """Write down that a job is finished, once what it made was opened."""
    path, mark = record_path(orders.output, job), output_mark(job, shape)
    with refusals_of(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_json(
        path,
        {
            "settings": orders.digest,
            "inputs": list(inputs),
            "output": mark,
            "shape": list(shape),
            "run": orders.run,
            "made": dict(made),
            "told": dict(told),
        },
    )


def forget(output: Path, job: Job) -> None:
    """Take a record away, because its volume is about to be made again."""
    with refusals_of(record_path(output, job)):
        record_path(output, job).unlink(missing_ok=True)


def inputs_of(job: Job, planes: Sequence[int] | None) -> list[list[Any]]:
    """Name, size and time of change of what a job reads; of an OME-Zarr, those of its chunks."""
    return [
        _zarr_state(part, planes) if Path(part.path).is_dir() else _file_state(Path(part.path))
        for part in job.parts
    ]


def _file_state(path: Path) -> list[Any]:
    try:
        status = path.stat()
    except OSError:
        return [str(path), None, None]
    return [str(path), status.st_size, status.st_mtime_ns]


def _zarr_state(part: Part, planes: Sequence[int] | None) -> list[Any]:
    """A digest over all chunks that the wanted planes of an OME-Zarr image lie in."""
    folder = Path(part.path) / part.inside
    digest = hashlib.blake2b(digest_size=12)
    total = 0
    try:
        with reading_zarr(part.name):
            image = ZarrImage(folder, part.name)
            digest.update(json.dumps(image.pixel_metadata, sort_keys=True).encode())
            for chunk in chunks_of(image.array, _wanted(image, part, planes)):
                _, size, changed = _file_state(folder / chunk)
                digest.update(f"{chunk} {size} {changed}\n".encode())
                total += size or 0
    except InputError:
        return [str(folder), None, None]
    return [str(folder), total, digest.hexdigest()]


def _wanted(image: ZarrImage, part: Part, planes: Sequence[int] | None) -> dict[int, Sequence[int]]:
    """The entries of the axes that a job reads."""
    one = {"T": part.time, "C": part.channel}
    wanted: dict[int, Sequence[int]] = {}
    for axis, letter in enumerate(image.letters):
        at = one.get(letter)
        if at is not None:
            wanted[axis] = [at]
        elif letter == "Z" and planes is not None:
            wanted[axis] = planes
    return wanted


def output_mark(job: Job, shape: tuple[int, int, int]) -> str:
    """What tells a finished output from another of its name; it is opened for that."""
    if not job.target.exists():
        raise InputError(f"'{job.target.name}' is gone: make it again.")
    return verify_volume(job.target, shape, job.time if job.in_time_lapse else None)
