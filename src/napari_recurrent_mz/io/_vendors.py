"""Metadata that vendors and programs other than OME write about an image in a TIFF."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ._facts import Facts, StatedHeights
from ._image_file import micrometres_per, to_um

if TYPE_CHECKING:
    import tifffile

_MICRO_MANAGER_TAG = 51123


def take_micro_manager(
    facts: Facts, tif: tifffile.TiffFile, records: Sequence[Mapping[str, Any]], name: str
) -> list[StatedHeights]:
    """Take Micro-Manager's summary, and its record of each image; gives the heights."""
    records = records or _in_imagej(tif)
    summary = (tif.micromanager_metadata or {}).get("Summary") if tif.is_micromanager else None
    summary = summary if isinstance(summary, dict) else {}
    for value, where in (
        (records[0].get("PixelSizeUm") if records else None, "its Micro-Manager PixelSizeUm"),
        (summary.get("PixelSize_um"), "its Micro-Manager PixelSize_um"),
    ):
        if value:  # 0 stands for "not calibrated"
            facts.take_pixel((value, "µm"), (value, "µm"), where, name)
    if summary.get("z-step_um"):
        step = (summary["z-step_um"], "µm")
        facts.take_length("z_step_um", step, "its Micro-Manager z-step_um")
    facts.take_time_step(summary.get("Interval_ms"), "ms", "its Micro-Manager Interval_ms")
    if records:
        facts.channel = str(records[0].get("Channel") or "")
    stated = []
    for key in ("ZPositionUm", "ZPosition_um_Intended"):  # the second by Pycro-Manager
        heights = [to_um(record.get(key), "µm") for record in records]
        if heights and None not in heights:
            stated.append(StatedHeights(np.array(heights, np.float64), f"its Micro-Manager {key}"))
    return stated


def record_of(page: tifffile.TiffPage) -> dict[str, Any] | None:
    """Micro-Manager's record of one image; None when there is none."""
    record = page.tags.valueof(_MICRO_MANAGER_TAG)
    return record if isinstance(record, dict) else None


def _in_imagej(tif: tifffile.TiffFile) -> list[dict[str, Any]]:
    """The record of a single image file, where it holds one."""
    info = (tif.imagej_metadata or {}).get("Info")
    if isinstance(info, str):
        with contextlib.suppress(ValueError):
            record = json.loads(info)
            return [record] if isinstance(record, dict) else []
    return []


def take_metamorph(facts: Facts, tif: tifffile.TiffFile, name: str) -> list[StatedHeights]:
    """Take the calibration and the plane distances of a MetaMorph stack (STK)."""
    metadata = tif.stk_metadata or {}
    x, y = metadata.get("XCalibration"), metadata.get("YCalibration")
    unit = str(metadata.get("CalibrationUnits") or "") or None
    if x and y and metadata.get("SpatialCalibration", 1):
        facts.take_pixel((y, unit), (x, unit), "its MetaMorph XCalibration", name)
    steps = np.atleast_1d(np.asarray(metadata.get("ZDistance", ()), np.float64))[1:]
    if steps.size and np.isfinite(steps).all() and steps.any():
        # The first is the distance to the plane before, of which there is none.
        heights = np.concatenate([[0.0], np.cumsum(steps)])
        return [StatedHeights(heights, "its MetaMorph ZDistance")]
    return []


def take_zeiss(facts: Facts, tif: tifffile.TiffFile, name: str) -> None:
    """Take the voxel size of a Zeiss LSM file, which is in metres."""
    metadata = tif.lsm_metadata or {}
    y, x, z = ((metadata.get(f"VoxelSize{axis}") or None, "m") for axis in "YXZ")
    facts.take_pixel(y, x, "its LSM VoxelSizeX", name)
    facts.take_length("z_step_um", z, "its LSM VoxelSizeZ")


def take_tags(facts: Facts, tif: tifffile.TiffFile, name: str) -> None:
    """Take lengths from ImageJ's metadata, or from the TIFF resolution if it is of a sample."""
    page = tif.pages.first
    ij: Mapping[str, Any] = tif.imagej_metadata or {}
    resolution = {2: "inch", 3: "cm"}.get(int(page.tags.valueof("ResolutionUnit", default=1)))
    unit = ij.get("unit")
    y, x = (_length_of(page.tags.valueof(f"{axis}Resolution")) for axis in "YX")
    if unit or resolution:
        y_unit, x_unit = ij.get("yunit") or unit or resolution, unit or resolution
        where = "its ImageJ pixel size" if unit else "its resolution"
        facts.take_pixel((y, y_unit), (x, x_unit), where, name)
    facts.take_time_step(ij.get("finterval"), ij.get("tunit") or "s", "its ImageJ frame interval")
    if ij.get("spacing") is not None:
        z_unit = ij.get("zunit") or unit or resolution
        spacing = to_um(ij["spacing"], z_unit)
        is_coarse = (micrometres_per(z_unit) or 0.0) > 1
        if is_coarse and z_unit == unit and "pixel_um" in facts.doubts:
            why = facts.doubts["pixel_um"]
            facts.doubt(
                "z_step_um", f"its ImageJ spacing is in '{z_unit}' like its pixels, and {why}"
            )
        elif spacing is not None and spacing <= 0:
            facts.doubt("z_step_um", f"its ImageJ spacing is {spacing:g} µm, which cannot be true")
        else:
            facts.take_length("z_step_um", (ij["spacing"], z_unit), "its ImageJ spacing")


def _length_of(resolution: Any) -> float | None:
    """Pixel length from a TIFF resolution, a fraction of pixels per unit."""
    try:
        pixels, units = resolution
        return float(units) / float(pixels)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
