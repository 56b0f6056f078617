"""What a job comes to: its scans, grid and optics, from the metadata of its files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

from ...core.methods import needs_optics
from ...core.optics import Optics
from ...core.region import Region
from ...core.scans import InputError, Scan, ZGrid, check_scans, default_grid, require_several
from ...io import ImageFile, scan_heights, scans_from_files, scans_from_stack
from ...io._channels import first_point_of
from ...io._optics import optics_for, overridden
from ...io._parts import read_part
from ...io._scans import check_measured, unlike_notes
from ...io._write import check_own
from ._settings import BatchSettings, Job


@dataclass(frozen=True)
class Plan:
    """What a job comes to."""

    z_um: tuple[float, ...]  #: heights of the scans, in micrometres
    grid: ZGrid
    shape: tuple[int, int]  #: (Y, X) of the planes
    optics: Optics | None  #: None where they are incomplete and the method does without
    pixel_um: float
    origin_um: tuple[float, float]  #: position (y, x) of the first pixel, in micrometres
    time_step_s: float | None = None  #: from one time point to the next, where it is stated
    first_point: float = 0.0  #: where a time-lapse begins along t, in its steps
    region: Region | None = None  #: the part of the field that is wanted
    remarks: tuple[str, ...] = ()  #: what the files contradict themselves about

    @property
    def volume_shape(self) -> tuple[int, int, int]:
        """(Z, Y, X) of the volume."""
        return (len(self.grid), *self.shape)


def plan_of(job: Job, settings: BatchSettings) -> Plan:
    """What a job comes to, from the metadata of its files; no pixel is read.

    Raises
    ------
    InputError
        If something is missing or does not fit.
    """
    return _plan(settings, *_images_of(job, settings, are_read=False))


def read_job(job: Job, settings: BatchSettings) -> tuple[list[Scan], Plan]:
    """The scans of a job, and what it comes to: only the planes that are scans are read."""
    images, z_um, planes = _images_of(job, settings, are_read=True)
    if planes is None:
        scans = scans_from_files(images, z_um)
    else:
        scans = scans_from_stack(images[0], planes, z_um=z_um)
    require_several(scans)
    check_scans(scans)
    return scans, _plan(settings, images, z_um, planes)


def _images_of(
    job: Job, settings: BatchSettings, *, are_read: bool
) -> tuple[list[ImageFile], list[float], Sequence[int] | None]:
    """The images of a job, the heights of its scans, and their planes where it is a stack."""
    if job.trouble:
        raise InputError(job.trouble)
    for place in {job.output, job.target}:  # two only in a plate
        check_own(place)
    wanted = settings.planes if job.heights_um is None else None
    images = [read_part(part, wanted if are_read else ()) for part in job.parts]
    for image in images:
        check_measured(image)
    if job.heights_um is not None:
        _check_singles(images)
        return images, [float(z) for z in job.heights_um], None
    planes = settings.planes or tuple(range(images[0].n_planes))
    heights = scan_heights(images[0], planes, settings.z_step_um)
    return images, heights.tolist(), planes


def _plan(
    settings: BatchSettings,
    images: Sequence[ImageFile],
    z_um: Sequence[float],
    planes: Sequence[int] | None,
) -> Plan:
    optics, pixel_um = optics_for(needs_optics([settings.method]), settings.optics, images)
    dof_um = optics.depth_of_field_um if optics else None
    grid = settings.grid or default_grid(z_um, dof_um, planes)
    given = settings.optics | {"z_step_um": settings.z_step_um}
    told = [*chain(*(image.remarks for image in images)), *unlike_notes(images)]
    remarks = (*told, *overridden(given, images))
    first, region = images[0], None
    (y, x), origin_um = first.stack.shape[1:], first.place_um
    if settings.region is not None:
        region = Region.parsed(settings.region, (y, x), first.name)
        (y, x), origin_um = region.shape, region.place_um(pixel_um, origin_um)
    return Plan(
        *(tuple(z_um), grid, (y, x), optics, pixel_um),
        origin_um=origin_um,
        time_step_s=first.time_step_s,
        first_point=first_point_of(first.provenance),
        region=region,
        remarks=remarks,
    )


def _check_singles(images: Sequence[ImageFile]) -> None:
    """Raise when single images of several heights do not belong together."""
    first = images[0]
    if len(images) < 2:
        raise InputError(
            f"'{first.name}' is alone: no other file of the same name has another height."
        )
    for image in images[1:]:
        if image.stack.shape[1:] != first.stack.shape[1:]:
            raise InputError(
                f"'{image.name}' is {_words(image)} pixels but '{first.name}' is {_words(first)}: "
                "all scans must show the same field at the same size."
            )


def _words(image: ImageFile) -> str:
    return " × ".join(str(n) for n in image.stack.shape[1:])
