"""The demo runs to its picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from skimage.io import imread

from napari_recurrent_mz import Optics
from napari_recurrent_mz.docks.demo import windows as demo
from napari_recurrent_mz.docks.files import samples as _samples
from napari_recurrent_mz.docks.shared import method_panel as _method_panel
from napari_recurrent_mz.engine import inference
from napari_recurrent_mz.networks import weights
from napari_recurrent_mz.networks.recurrent_mz import NetworkConfig, RecurrentMZ
from napari_recurrent_mz.simulation.simulate import simulate_sample

OPTICS = Optics(na=1.2, wavelength_um=0.5, immersion_index=1.333, pixel_um=0.2)


@pytest.fixture
def tiny_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """A network whose correction is still zero, in a file as training writes it."""
    path = tmp_path / "tiny.safetensors"
    weights.save_model(RecurrentMZ(NetworkConfig(base_channels=4)), {}, path)
    model = weights.load_model(path)
    survey = _method_panel.Survey((("auto", "Auto, CPU"), ("cpu", "CPU")), (("tiny", "for tests"),))
    monkeypatch.setattr(_method_panel, "survey", lambda: survey)
    monkeypatch.setattr(_method_panel, "model_named", lambda _name: model)
    monkeypatch.setattr(inference, "model_for", lambda *_: model)
    return model


def test_the_demo_ends_in_a_picture_of_the_window(
    make_napari_viewer, monkeypatch, tmp_path, tiny_model
) -> None:
    import napari

    viewers, docks, leave = [], [], demo.leave

    def window(**options: Any) -> Any:
        viewers.append(make_napari_viewer(**options))
        return viewers[-1]

    def left(viewer: Any, picture: Path | None) -> None:
        docks.extend(viewer.window.dock_widgets)
        leave(viewer, picture)

    monkeypatch.setattr(demo, "leave", left)
    sample = simulate_sample("worm", shape=(51, 32, 32), z_step_um=0.2, optics=OPTICS, seed=1)
    monkeypatch.setattr(_samples, "demo", lambda: sample)
    monkeypatch.setattr(napari, "Viewer", window)
    monkeypatch.setattr(demo, "SETTLE_MS", 300)
    picture = tmp_path / "demo.png"
    outcome = demo.run_demo(screenshot=picture, size=(1280, 800), theme="dark")
    assert outcome.state == "done", outcome.sentence
    assert outcome.provenance["model"]["sha256"] == tiny_model.sha256
    assert "Reconstruct (Recurrent-MZ)" in docks  # napari's menu shows this one, not a second
    pixels = imread(picture)[..., :3].astype(float)
    assert pixels.shape[:2] == (800, 1280)
    assert np.ptp(pixels) > 200  # it shows something
