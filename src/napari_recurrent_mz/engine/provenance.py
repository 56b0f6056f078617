"""How a volume was made: a record that travels with it, and in the words of a paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..core.device import Device
from ..core.methods import METHOD_NAMES, method_of
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
    if not {"software", "method", "scans", "grid"} <= set(record):
        raise InputError("This is no finished volume of ours: choose one that has its record.")
    grid, method = record["grid"], record.get("used", record["method"])
    heights = listed([f"{scan['z_um']:.4g}" for scan in record["scans"]])
    title, network = METHOD_NAMES[method], method_of(method).needs_model
    by = title[0].lower() + title[1:]
    if network:
        by = f"the neural network {title} (Huang et al., Light Sci. Appl. 10:62, 2021)"
    sentences = [
        f"A volume of {counted(grid['planes'], 'plane')} from {grid['start_um']:.4g} to "
        f"{grid['stop_um']:.4g} µm, {grid['step_um']:.4g} µm apart, was reconstructed from "
        f"{counted(len(record['scans']), 'wide-field image')} at z = {heights} µm by "
        f"{by}, as implemented in {record['software']}."
    ]
    if region := Region.of_record(record):
        (top, stop), (left, end) = region.rows, region.columns
        sentences.append(
            f"It is a part of the field, rows {top} to {stop - 1} and columns {left} to {end - 1} "
            "of the images, counted from 0."
        )
    repairs = []
    for task, words in _REPAIRED.items():
        of = [f"{scan['z_um']:.4g}" for scan in record["scans"] if task in _tasks(scan)]
        if of:
            repairs.append(f"{words} in {counted(len(of), 'image')} (z = {listed(of)} µm)")
    if repairs:
        sentences.append(f"Beforehand, {listed(repairs)}.")
    if network and record.get("model"):
        model = record["model"]
        sentences.append(f"The weights were {model['name']} (SHA-256 {model['sha256'][:16]}).")
    if record.get("optics"):
        optics = record["optics"]
        sentences.append(
            f"The optics given were an NA of {optics['na']:g}, an emission wavelength of "
            f"{optics['wavelength_um']:g} µm, an immersion index of {optics['immersion_index']:g} "
            f"and a pixel size of {optics['pixel_um']:g} µm."
        )
    measured = len(record.get("measured_planes", ()))
    inferred = counted(grid["planes"] - measured, "plane")
    sentences.append(f"Of these planes {measured} are measured and {inferred} inferred.")
    error = record.get("expected_error")
    if error:
        mean, most = (100 * value for value in (sum(error) / len(error), max(error)))
        sentences.append(
            f"The linear estimate from the optics alone is expected to be off by {mean:.0f} % of a "
            f"plane's standard deviation on average, and by at most {most:.0f} %."
        )
    return " ".join(sentences)


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
