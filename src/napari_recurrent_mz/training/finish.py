"""What a training run leaves behind: weights with their model card, and a picture of the curves."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from ..core.device import Device
from ..core.scans import InputError
from ..io._whole import read_json
from ..networks.architectures import Network, build_as
from ..networks.weights import save_model
from .examples import ExampleConfig
from .fields import OBJECTIVES, PIXEL_PER_NYQUIST, WAVELENGTH_UM, Pool
from .microscopes import SampleConfig

_NO_KINDS = {
    "step", "loss", "gain_db", "raw_gain_db", "worst_db", "lost", "dead_channels", "dead_levels",
}  # fmt: skip
"""Columns of a log that are no kind of sample."""

_NUCLEI = "nuclear structure of kind 'confocal' from scikit-image's cells3d (CC0)"


_IMAGES = {"widefield": "wide-field", "confocal": "confocal-like"}

_GAIN = "gain over the linear MMSE estimate in dB of mean squared error, simulated "
HELD_OUT_FIELDS = (
    f"{_GAIN}fields of every kind, 63×/1.4, M = 2 and 3, spacing 1.5 to 6 µm, a third with wrong "
    "optics and little light"
)
HELD_OUT_SETS = (
    f"{_GAIN}sets of scans: a third imaged as told, a third as in training, a third hard"
)
"""What chose the best weights, for a card."""


def write_model(
    folder: Path,
    path: Path,
    *,
    facts: dict[str, dict[str, Any]],
    check: str,
    device: Device,
) -> str:
    """Write the best weights of a run with their card; returns the SHA-256 of the file."""
    network, best = best_network(folder)
    about = {
        "description": f"Wide-field scans to {_IMAGES[network.config.target]} planes.",
        "method": _method(best.get("architecture", "recurrent-mz"), best["config"]["network"]),
    }
    return save_model(
        network, model_card(best, device, about, held_out={"what": check}, **facts), path
    )


def facts_of_fields(pool: Pool, examples: ExampleConfig) -> dict[str, dict[str, Any]]:
    """What a card says of a training on simulated fields."""
    data = {"fields": len(pool), "kinds": sorted(pool.kinds()), "origin": "fields"}
    return _facts(examples, OBJECTIVES, WAVELENGTH_UM, PIXEL_PER_NYQUIST, data)


def facts_of_sets(config: SampleConfig, groups: int) -> dict[str, dict[str, Any]]:
    """What a card says of a training on sets of scans."""
    pixels = config.pixel_per_nyquist + (config.coarse_pixel if config.coarse_share else ())
    samples, kinds = groups * config.samples, sorted(kind for kind, _ in config.kinds)
    sets = samples * len(config.scans)
    data = {"fields": samples, "sets": sets, "kinds": kinds, "origin": "examples"}
    return _facts(config, config.objectives, config.wavelength_um, pixels, data)


def _facts(
    examples: ExampleConfig,
    objectives: Sequence[tuple[float, float]],
    wavelength_um: Sequence[float],
    pixels: Sequence[float],
    data: dict[str, Any],
) -> dict[str, dict[str, Any]]:
    nas = [na for na, _ in objectives]
    nuclei = f"; {_NUCLEI}" if "confocal" in data["kinds"] else ""
    return {
        "trained_for": {
            "na": [min(nas), max(nas)],
            "wavelength_um": list(wavelength_um),
            "pixel_per_nyquist": [min(pixels), max(pixels)],
            "scans": [min(examples.shares), max(examples.shares)],
            "spacing_dof": list(examples.spacing_dof),
        },
        "data": data | {"origin": f"simulated (recurrent-mz simulate {data['origin']})" + nuclei},
    }


def model_card(
    best: dict[str, Any],
    device: Device,
    about: dict[str, Any],
    *,
    trained_for: dict[str, Any],
    data: dict[str, Any],
    held_out: dict[str, Any],
) -> dict[str, Any]:
    """The card of weights: what is said of them, and what was noted when they were ``best``."""
    return {
        **about,
        "written": datetime.now(UTC).date().isoformat(),
        "trained_for": trained_for,
        "data": data,
        "training": {
            "steps": best["step"],
            "hours": round(best["seconds"] / 3600, 2),
            "device": device.name,
            "config": best["config"],
        },
        "held_out": {**held_out, **best["validation"]},
    }


def best_network(folder: Path) -> tuple[Network, dict[str, Any]]:
    """The best weights of a run and what was noted of them."""
    path = folder / "best.json"
    if not path.exists():
        raise InputError(f"The run in '{folder}' has no validated weights yet: train longer.")
    best = read_json(path)
    network = build_as(best.get("architecture", "recurrent-mz"), best["config"]["network"])
    network.load_state_dict(load_file(folder / "best.safetensors"))
    return network, best


def _method(architecture: str, network: dict[str, Any]) -> str:
    """The publication that the network is from, and how it is used."""
    paper = "Huang et al., Light: Science & Applications 10:62 (2021)"
    if architecture == "deep-z":
        return "Deep-Z (Wu et al., Nature Methods 16:1323, 2019), on the nearest scan"
    if architecture == "unet-3d":
        return f"3-D U-Net, the baseline of {paper}, for {network['input_scans']} scans"
    if network["correction"]:
        return f"{paper}, as a learned correction to the linear MMSE estimate"
    return paper


def log_of(folder: Path) -> list[dict[str, str]]:
    """What a run has logged at every validation."""
    with (folder / "log.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def draw_curves(folder: Path) -> Path:
    """Draw a run's held-out gain over linear MMSE against steps into its ``curves.png``."""
    from matplotlib.figure import Figure

    rows = log_of(folder)
    steps = [float(row["step"]) for row in rows]
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for key in rows[0]:
        if key not in _NO_KINDS:
            axes.plot(steps, [float(row[key]) for row in rows], lw=1, alpha=0.7, label=key)
    axes.plot(steps, [float(row["gain_db"]) for row in rows], "k", lw=2.5, label="all")
    axes.axhline(0, color="0.5", lw=0.8)
    axes.set(xlabel="step", ylabel="held-out gain over linear MMSE (dB)")
    axes.legend(ncols=3, fontsize=8, frameon=False)
    path = folder / "curves.png"
    figure.savefig(path, dpi=150)
    return path
