"""A model as a package for bioimage.io: description, weights, and tensors to test it with."""

from __future__ import annotations

import io
import json
import zipfile
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..core.optics import Optics
from ..core.scans import InputError, Scan
from ..io import write_whole
from ..simulation.simulate import simulate_sample
from .inputs import NetworkInputs, Prepared
from .plain import PlainNetwork
from .weights import Model

_PAPER = {
    "text": "L. Huang, H. Chen, Y. Luo, Y. Rivenson, A. Ozcan. Recurrent neural network-based "
    "volumetric fluorescence microscopy. Light: Science & Applications 10:62 (2021).",
    "doi": "10.1038/s41377-021-00506-9",
}
_SAID = {  # at most 128 characters each
    "scans": "normalised scan, its distance from the target, and (of some) the scan carried there",
    "linear": "linear MMSE estimate of the target, normalised",
    "unit": "what an output of 1 stands for: error expected of the linear estimate, less far away",
    "skip": "linear estimate, what each object that explains the scans adds to it, and leaves over",
    "extra": "what the objects add to the linear estimate, normalised",
}
_README = """# {name}

{description}

Makes the image of one target plane from wide-field scans at known heights (Recurrent-MZ). The
inputs are prepared by the Python package napari-recurrent-mz (`networks/inputs.py`), which also
holds the architecture:

    pip install napari-recurrent-mz
    recurrent-mz reconstruct A.tif B.tif --z 3 9 --model {name} -o volume.ome.tif

A reconstructed plane is an inference, not a measurement. The method is the subject of US patent
11,915,360.

## Validation

{validation}
"""
_PACKAGE = "napari-recurrent-mz"
_OPTICS = Optics(na=1.4, wavelength_um=0.519, immersion_index=1.515, pixel_um=0.103)
_PLANES, _TARGET_UM, _SIZE = (3, 9), 1.2, 64


def write_package(model: Model, path: Path) -> Path:
    """Write a model as a bioimage.io package (format 0.5), a ZIP file."""
    if path.suffix.lower() != ".zip":
        raise InputError(f"'{path.name}' is no package for bioimage.io: end it in .zip.")
    network, prepared = model.network, _prepared(model)
    names = Prepared._fields[:1] if isinstance(network, PlainNetwork) else Prepared._fields
    inputs = {name: part for name, part in zip(names, prepared, strict=False) if part.shape[1]}
    with torch.no_grad():
        plane = network(*inputs.values())
    files = {f"{name}.npy": _npy(part) for name, part in {**inputs, "plane": plane}.items()}
    weights = io.BytesIO()
    torch.save(dict(network.state_dict()), weights)
    files["weights.pt"] = weights.getvalue()
    files["README.md"] = _read_me(model).encode()
    needed = ["python>=3.11", "pip", {"pip": [f"{_PACKAGE}=={version(_PACKAGE)}"]}]
    environment = {"channels": ["conda-forge"], "dependencies": needed}
    files["environment.yaml"] = json.dumps(environment, indent=1).encode()
    files["rdf.yaml"] = json.dumps(_description(model, inputs), indent=1).encode()  # JSON is YAML

    def write(part: Path) -> None:
        with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as package:
            for name, content in files.items():
                package.writestr(name, content)

    return write_whole(path, write)


def _prepared(model: Model) -> Prepared:
    """Two scans of a simulated sample, and a plane midway, as the network takes them."""
    sample = simulate_sample(
        "nuclei", shape=(13, _SIZE, _SIZE), z_step_um=0.2, optics=_OPTICS, seed=0
    )
    scans = [Scan(sample.widefield[n], float(sample.z_um[n])) for n in _PLANES]
    return NetworkInputs(scans, _OPTICS, model.network.config).at(_TARGET_UM)


def _npy(tensor: torch.Tensor) -> bytes:
    content = io.BytesIO()
    np.save(content, tensor.numpy().astype(np.float32))
    return content.getvalue()


def _description(model: Model, inputs: dict[str, torch.Tensor]) -> dict[str, Any]:
    """What is in ``rdf.yaml``."""
    network = model.network
    architecture = {
        "import_from": "napari_recurrent_mz.networks.architectures",
        "callable": "build_as",
        "kwargs": {"name": model.architecture, "values": network.config.as_dict()},
    }
    return {
        "format_version": "0.5.4",
        "type": "model",
        "name": f"Recurrent-MZ ({model.name})",
        "description": str(model.card.get("description", model.name))[:1000],
        "authors": [{"name": "napari-recurrent-mz contributors"}],
        "cite": [_PAPER],
        "license": "BSD-3-Clause",
        "documentation": "README.md",
        "tags": ["fluorescence-light-microscopy", "3d", "image-restoration", "pytorch", "napari"],
        "timestamp": datetime.now(UTC).isoformat(timespec="seconds"),
        "inputs": [_input(name, part) for name, part in inputs.items()],
        "outputs": [
            {
                "id": "plane",
                "description": "the target plane, normalised as the scans are",
                "axes": _axes({"channel": ["intensity"]}, follow=True),
                "test_tensor": {"source": "plane.npy"},
            }
        ],
        "weights": {
            "pytorch_state_dict": {
                "source": "weights.pt",
                "architecture": architecture,
                "pytorch_version": torch.__version__.split("+")[0],
                "dependencies": {"source": "environment.yaml"},
            }
        },
        "config": {"napari-recurrent-mz": {"sha256": model.sha256, "card": model.card}},
    }


def _input(name: str, part: torch.Tensor) -> dict[str, Any]:
    channels = [f"{name}{number}" for number in range(part.shape[-3])]
    return {
        "id": name,
        "description": _SAID[name],
        "axes": _axes({"channel": channels}, follow=name != "scans", scans=name == "scans"),
        "test_tensor": {"source": f"{name}.npy"},
    }


def _axes(of: dict[str, list[str]], *, follow: bool, scans: bool = False) -> list[dict[str, Any]]:
    """Batch, scan, channel, y and x; the lengths of y and x follow those of the scans."""
    axes: list[dict[str, Any]] = [{"type": "batch"}]
    if scans:
        axes.append({"type": "index", "id": "scan", "size": {"min": 1, "step": 1}})
    axes.append({"type": "channel", "channel_names": of["channel"]})
    free = {"min": 64, "step": 16}
    for side in "yx":
        size: dict[str, Any] = {"tensor_id": "scans", "axis_id": side} if follow else free
        axes.append({"type": "space", "id": side, "size": size})
    return axes


def _read_me(model: Model) -> str:
    held_out = model.card.get("held_out", {})
    gain = held_out.get("gain_db")
    validation = f"{held_out.get('what')}: {gain:+.2f} dB." if gain is not None else "See the card."
    description = model.card.get("description", "")
    return _README.format(name=model.name, description=description, validation=validation)
