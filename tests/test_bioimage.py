"""The package of a model for bioimage.io: what it says is in it, and gives what it says."""

from __future__ import annotations

import io
import json
import zipfile
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_recurrent_mz.cli import main


@pytest.mark.parametrize("model", ["recurrent-mz", "deep-z", "unet-3d"])
def test_a_package_gives_its_own_test_output(tmp_path: Path, model: str) -> None:
    """Loaded as others load it: by its description alone."""
    path = tmp_path / "model.zip"
    assert main(["package", model, "-o", str(path)]) == 0
    package = zipfile.ZipFile(path)
    told = json.loads(package.read("rdf.yaml"))
    weights = told["weights"]["pytorch_state_dict"]
    built = weights["architecture"]
    network = getattr(import_module(built["import_from"]), built["callable"])(**built["kwargs"])
    state = torch.load(io.BytesIO(package.read(weights["source"])), weights_only=True)
    network.load_state_dict(state)
    tensors = [
        np.load(io.BytesIO(package.read(tensor["test_tensor"]["source"])))
        for tensor in told["inputs"] + told["outputs"]
    ]
    for tensor, about in zip(tensors, told["inputs"] + told["outputs"], strict=True):
        assert tensor.ndim == len(about["axes"])
        channels = next(axis for axis in about["axes"] if axis["type"] == "channel")
        assert len(channels["channel_names"]) == tensor.shape[-3]
    *inputs, expected = map(torch.from_numpy, tensors)
    with torch.no_grad():
        found = network.eval()(*inputs)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert expected.std() > 0.01
    assert told["documentation"] in package.namelist()


def test_its_own_library_finds_a_package_valid(tmp_path: Path) -> None:
    core = pytest.importorskip("bioimageio.core")
    path = tmp_path / "model.zip"
    assert main(["package", "unet-3d", "-o", str(path)]) == 0
    summary = core.test_model(path)
    assert summary.status == "passed", summary.format()


def test_a_package_is_a_zip(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["package", "unet-3d", "-o", str(tmp_path / "model.tar")]) == 1
    assert "end it in .zip" in capsys.readouterr().err
