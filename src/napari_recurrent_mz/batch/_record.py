"""What is finished: a small record for each volume, written once the volume is whole.

A record holds the digest of the settings, the size and time of change of every input, and a mark
of the output. A volume whose record still says the same is not made again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from ..io import write_json
from ..io._parts import Part
from ..io._time_lapse import time_lapse_told
from ..io._whole import refusals_of
from ..io._zarr import ZarrImage
from ..scans import InputError
from ._settings import BatchSettings, Job

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
    try:
        told = json.loads(record_path(output, job).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    if not isinstance(told, dict) or told.get("settings") != digest:
        return False
    mark = output_mark(job)
    if mark is None or told.get("output") != mark:
        return False
    return told.get("inputs") == inputs_of(job, settings.planes)


def write_record(
    output: Path, job: Job, inputs: Sequence[Any], digest: str, made: Mapping[str, Any]
) -> None:
    """Write down that a job is finished.

    Parameters
    ----------
    output : Path
        The folder of the results.
    job : Job
    inputs : sequence
        What :func:`inputs_of` said before the job was begun.
    digest : str
        Of the settings.
    made : mapping
        How the volume was made.

    Raises
    ------
    InputError
        When the disk refuses.
    """
    path = record_path(output, job)
    with refusals_of(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_json(
        path,
        {
            "settings": digest,
            "inputs": list(inputs),
            "output": output_mark(job),
            "made": json.loads(json.dumps(dict(made))),
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
    told = hashlib.blake2b(digest_size=12)
    total = 0
    try:
        image = ZarrImage(folder, part.name)
        told.update(json.dumps(image.told, sort_keys=True).encode())
        for chunk in sorted(_chunks(image, part, planes)):
            _, size, changed = _file_state(folder / chunk)
            told.update(f"{chunk} {size} {changed}\n".encode())
            total += size or 0
    except (InputError, OSError, ValueError):
        return [str(folder), None, None]
    return [str(folder), total, told.hexdigest()]


def _chunks(image: ZarrImage, part: Part, planes: Sequence[int] | None) -> Iterator[str]:
    """Files of the chunks, relative to the image."""
    array: Any = image.array
    pieces = array.shards or array.chunks
    spans: list[Sequence[int]] = []
    for letter, length, piece in zip(image.letters, array.shape, pieces, strict=True):
        at = {"T": part.time, "C": part.channel}.get(letter)
        if at is None and (letter != "Z" or planes is None):
            spans.append(range(-(-length // piece)))
        else:
            wanted = [at] if at is not None else planes or ()
            spans.append(sorted({p // piece for p in wanted if 0 <= p < length}))
    for place in product(*spans):
        yield f"{array.path}/{array.metadata.encode_chunk_key(place)}"


def output_mark(job: Job) -> str | None:
    """What tells a finished output from another of its name; None when it is not there."""
    try:
        if job.in_time_lapse:
            if not (job.target / "0" / "c" / str(job.time)).is_dir():
                return None
            token = time_lapse_told(job.target)[0].get(BATCH_KEY, {}).get("token")
            return str(token) if token else None
        if job.target.is_dir():
            told = (job.target / "zarr.json").read_bytes()
            return hashlib.blake2b(told, digest_size=12).hexdigest()
        return str(job.target.stat().st_size)
    except OSError:
        return None
