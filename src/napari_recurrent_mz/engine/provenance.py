"""How a volume was made: a record that travels with it, and in the words of a paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..core.device import Device
from ..core.methods import ERROR_IMAGE, METHOD_NAMES, method_of
from ..core.optics import Optics
from ..core.region import Region
from ..core.scans import InputError, Scan, ZGrid, counted, listed
from ..networks.weights import Model
from .check import OwnSampleCheck
from .recipe import Recipe

_SURE = 0.2  # of a plane's standard deviation


def provenance(
    scans: Sequence[Scan],
    grid: ZGrid,
    *,
    optics: Optics | None,
    method: str,
    model: Model | None,
    device: Device | str,
    seconds: float,
    check: OwnSampleCheck | None = None,
) -> dict[str, Any]:
    """How a volume was made, JSON-able, to travel with it.

    Parameters
    ----------
    scans, grid, optics, method, model
        As in :class:`~.Recipe`.
    device, seconds, check
        As in :meth:`~napari_recurrent_mz.engine.recipe.Recipe.provenance`.
    """
    return Recipe(scans, grid, optics, method, model).provenance(device, seconds, check)


_REPAIRED = {
    "hot pixels": "hot pixels were replaced by the median of their neighbours",
    "even light": "the brightness was matched to the other images",
    "shift": "a lateral shift was undone",
}


def _tasks(scan: Mapping[str, Any]) -> list[str]:
    """What was done to the pixels of a scan before."""
    acquired = scan.get("acquired", {})
    steps = (*acquired.get("prepared", ()), *acquired.get("repaired", ()))
    return [str(step.get("task")) for step in steps]


def methods_paragraph(record: Mapping[str, Any]) -> str:
    """A record as a paragraph for the methods section of a paper.

    Parameters
    ----------
    record : mapping
        As :func:`provenance` gives it, and as the metadata of a volume hold it.

    Raises
    ------
    InputError
        If the record is not that of a finished volume.
    """
    if not ({"software", "method", "scans"} <= set(record) and {"grid", "surface"} & set(record)):
        raise InputError(
            "The record of this image does not say all that it takes: choose a volume that "
            "Reconstruct has finished, or the file it was saved in."
        )
    if record.get("image") == ERROR_IMAGE:
        raise InputError("These are the expected errors of a volume: choose the volume itself.")
    return " ".join(filter(None, (say(record) for say in _SENTENCES)))


def _what_was_made(record: Mapping[str, Any]) -> str:
    scans, times = record["scans"], record.get("time_points")
    heights = listed([f"{scan['z_um']:.4g}" for scan in scans])
    title = METHOD_NAMES[_method(record)]
    is_name = title.startswith(("Deep", "Richardson"))
    by = title if is_name else title[0].lower() + title[1:]
    if _network(record):
        by = f"the neural network {title} (Huang et al., Light Sci. Appl. 10:62, 2021)"
    at, of_batch = record.get("time_point"), "batch" in record
    each = f" at each of {counted(times, 'time point')}" if times else ""
    each = each if at is None else f" at time point {at} (the first is 0)"
    return (
        f"{_where(record)} was reconstructed{' at each time point' if of_batch else each} from "
        f"{counted(len(scans), 'wide-field image')} at z = {heights} µm"
        f"{' (those of the first time point)' if of_batch else ''} by {by}, as implemented in "
        f"{record['software']}."
    )


def _where(record: Mapping[str, Any]) -> str:
    grid, surface = record.get("grid"), record.get("surface")
    if surface:
        return (
            f"The image of a surface, whose heights ({surface['from']}) go from "
            f"{surface['lowest_um']:.4g} to {surface['highest_um']:.4g} µm,"
        )
    assert grid is not None
    if grid["planes"] == 1:
        return f"A plane at z = {grid['start_um']:.4g} µm"
    return (
        f"A volume of {grid['planes']} planes from {grid['start_um']:.4g} to "
        f"{grid['stop_um']:.4g} µm, {grid['step_um']:.4g} µm apart,"
    )


def _which_part(record: Mapping[str, Any]) -> str:
    region = Region.of_record(record)
    if region is None:
        return ""
    (top, stop), (left, end) = region.rows, region.columns
    return (
        f"It is a part of the field, rows {top} to {stop - 1} and columns {left} to {end - 1} "
        "of the images, counted from 0."
    )


def _what_was_repaired(record: Mapping[str, Any]) -> str:
    if record.get("batch", {}).get("asked", {}).get("repair"):
        return (
            "Beforehand, hot pixels, uneven light and shifts to the side were looked for in the "
            "images of each time point, and corrected where they were found."
        )
    repairs = []
    for task, words in _REPAIRED.items():
        of = [f"{scan['z_um']:.4g}" for scan in record["scans"] if task in _tasks(scan)]
        if of:
            repairs.append(f"{words} in {counted(len(of), 'image')} (z = {listed(of)} µm)")
    return f"Beforehand, {listed(repairs)}." if repairs else ""


def _why_this_method(record: Mapping[str, Any]) -> str:
    check = record.get("check") or {}
    network, linear = check.get("network_db"), check.get("linear_db")
    if network is None or linear is None:
        return ""
    left_out = counted(len(check["per_scan"]), "image")
    is_near = abs(network - linear) < check.get("margin_db", 0)
    return (
        f"{'The network' if _network(record) else 'Linear MMSE'} was chosen by predicting "
        f"{left_out} from the others: the mean PSNR was {network:.1f} dB with the network and "
        f"{linear:.1f} dB with linear MMSE"
        f"{', too near to tell apart' * is_near}."
    )


def _which_weights(record: Mapping[str, Any]) -> str:
    model = record.get("model")
    if not (_network(record) and model):
        return ""
    return f"The network's weights are '{model['name']}' (SHA-256 {model['sha256'][:16]}…)."


def _which_optics(record: Mapping[str, Any]) -> str:
    optics = record.get("optics")
    if not optics or not method_of(_method(record)).needs_optics:
        return ""
    return (
        f"The computation assumes an NA of {optics['na']:g}, an emission wavelength of "
        f"{optics['wavelength_um']:g} µm, a refractive index of {optics['immersion_index']:g} "
        f"and a pixel size of {optics['pixel_um']:g} µm."
    )


def _what_is_measured(record: Mapping[str, Any]) -> str:
    if "surface" in record:
        measured = record["surface"]["measured_pixels"]
        images = f"Of its pixels, {measured} are those of an image; the others are inferred."
        return images if measured else "All its pixels are inferred."
    measured, planes = len(record.get("measured_planes", ())), record["grid"]["planes"]
    if record.get("image"):
        return f"All planes are {record['image']}."
    if planes == 1:
        return "It is one of the images." if measured else "It is inferred."
    if not measured:
        return "All planes are inferred."
    if measured == planes:
        return "All planes are images, and none is inferred."
    are = "is an image" if measured == 1 else "are images"
    given = "repaired as said" if _what_was_repaired(record) else "as measured"
    return f"Of the {planes} planes, {measured} {are} {given}; the other planes are inferred."


def _how_far_off(record: Mapping[str, Any]) -> str:
    error, method = record.get("expected_error"), _method(record)
    if not error or method not in ("lmmse", "recurrent-mz"):
        return ""
    mean, most = (100 * value for value in (sum(error) / len(error), max(error)))
    whose = "The" if method == "lmmse" else "The network corrects a linear MMSE estimate, whose"
    return (
        f"{whose} expected error is {mean:.0f} % of a plane's standard deviation on average and "
        f"{most:.0f} % at most."
    )


def _method(record: Mapping[str, Any]) -> str:
    return str(record.get("used", record["method"]))


def _network(record: Mapping[str, Any]) -> bool:
    return method_of(_method(record)).needs_model


_SENTENCES = (
    _what_was_made, _which_part, _what_was_repaired, _why_this_method, _which_weights,
    _which_optics, _what_is_measured, _how_far_off,
)  # fmt: skip


def what_to_believe(record: Mapping[str, Any]) -> str:
    """A sentence on the planes of a volume that are known well, and least; empty if none can be."""
    error = record.get("expected_error")
    if not error:
        return ""
    grid = record["grid"]
    sure = sum(value < _SURE for value in error)
    worst = max(range(len(error)), key=error.__getitem__)
    z_um = grid["start_um"] + worst * grid["step_um"]
    least = f"least is known at z = {z_um:.4g} µm ({100 * error[worst]:.0f} %)"
    if sure == len(error):
        return f"Expected error below {100 * _SURE:.0f} % in every plane; {least}."
    return f"Expected error below {100 * _SURE:.0f} % in {sure} of {len(error)} planes; {least}."
