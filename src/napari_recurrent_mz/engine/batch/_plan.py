"""What a job comes to: its scans, grid and optics, from the metadata of its files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...core.methods import needs_optics
from ...core.optics import Optics
from ...core.scans import InputError, Scan, ZGrid, check_scans, default_grid, require_several
from ...io import ImageFile, scan_heights, scans_from_files, scans_from_stack
from ...io._optics import optics_for, optics_values
from ...io._parts import read_part
from ._settings import BatchSettings, Job


@dataclass(frozen=True)
class Plan:
    """What a job comes to.

    Attributes
    ----------
    z_um : tuple of float
        Heights of the scans, in micrometres.
    grid : ZGrid
    shape : tuple of int
        (Y, X) of the scans.
    optics : Optics or None
        None where they are incomplete and the method does without.
    pixel_um : float
    remarks : tuple of str
        What the files contradict themselves about.
    """

    z_um: tuple[float, ...]
    grid: ZGrid
    shape: tuple[int, int]
    optics: Optics | None
    pixel_um: float
    remarks: tuple[str, ...] = ()

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
    if job.trouble:
        raise InputError(job.trouble)
    images = [read_part(part, ()) for part in job.parts]
    if job.heights_um is None:
        planes = settings.planes or tuple(range(images[0].n_planes))
        heights = [float(z) for z in scan_heights(images[0], planes, settings.z_step_um)]
    else:
        planes = None
        heights = [float(z) for z in job.heights_um]
        _check_singles(images)
    return _plan(settings, images, heights, planes)


def read_job(job: Job, settings: BatchSettings) -> tuple[list[Scan], Plan]:
    """The scans of a job, and what it comes to: only the planes that are scans are read."""
    if job.trouble:
        raise InputError(job.trouble)
    planes = settings.planes if job.heights_um is None else None
    images = [read_part(part, planes) for part in job.parts]
    if job.heights_um is None:
        planes = planes or tuple(range(images[0].n_planes))
        scans = scans_from_stack(images[0], planes, settings.z_step_um)
    else:
        _check_singles(images)
        scans = scans_from_files(images, job.heights_um)
    require_several(scans)
    scans = list(check_scans(scans))
    return scans, _plan(settings, images, [scan.z_um for scan in scans], planes)


def _plan(
    settings: BatchSettings,
    images: Sequence[ImageFile],
    z_um: Sequence[float],
    planes: Sequence[int] | None,
) -> Plan:
    values = optics_values(settings.optics, images)
    optics = optics_for(needs_optics([settings.method]), values, images)
    pixel_um = values["pixel_um"]
    assert pixel_um is not None  # optics_for has made sure of it
    dof_um = optics.depth_of_field_um if optics else None
    grid = settings.grid or default_grid(z_um, dof_um, planes)
    remarks = tuple(remark for image in images for remark in image.remarks)
    y, x = images[0].stack.shape[1:]
    return Plan(tuple(z_um), grid, (y, x), optics, pixel_um, remarks)


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
