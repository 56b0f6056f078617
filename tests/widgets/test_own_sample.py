"""The method Auto in the dock: the default, with what its check on the scans found."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from napari_recurrent_mz import Optics
from napari_recurrent_mz.docks.reconstruct.dock import ReconstructDock
from napari_recurrent_mz.docks.shared.layers import METADATA_KEY
from napari_recurrent_mz.engine import inference
from napari_recurrent_mz.estimates.covariance import covariance_table
from napari_recurrent_mz.networks.recurrent_mz import NetworkConfig, RecurrentMZ
from napari_recurrent_mz.networks.weights import Model

OPTICS = Optics(na=0.8, wavelength_um=0.5, immersion_index=1.0, pixel_um=0.2)


@pytest.fixture(scope="module")
def _table() -> None:
    """What the optics need once, made beforehand: a busy machine takes long over it."""
    covariance_table(OPTICS, 8.0)


@pytest.fixture
def dock(make_dock, add_stack, _table, monkeypatch: pytest.MonkeyPatch) -> ReconstructDock:
    """Three scans, Auto, and a network whose random weights do harm."""
    torch.manual_seed(0)
    network = RecurrentMZ(NetworkConfig(base_channels=4, levels=2)).eval()
    torch.nn.init.normal_(network.last.weight, std=3.0)
    model = Model("spoilt", "0" * 64, {}, network)
    monkeypatch.setattr(inference, "model_for", lambda *_: model)
    dock = make_dock(method="auto")
    dock.add_layers([add_stack(dock._viewer)])
    dock.set_optics(OPTICS)
    dock.check()
    return dock


def test_auto_is_the_default_until_something_else_was_used(make_dock, run_to_end) -> None:
    first = make_dock().ui.method.method
    assert (first.itemData(0), first.itemText(0)) == ("auto", "Auto")
    fresh = ReconstructDock(make_dock()._viewer)
    assert fresh.ui.method.method_key() == "auto"
    fresh.deleteLater()


def test_the_bar_says_checking_until_the_check_is_over(
    dock: ReconstructDock, run_to_end: Any
) -> None:
    told: list[str] = []
    dock.footer.progress, plain = (
        lambda *how, **more: (told.append(dock.footer.message.text()), plain(*how, **more)),
        dock.footer.progress,
    )
    run_to_end(dock)
    assert told  # the bar moved, and only then
    assert all(words.startswith("On your sample: ") for words in told)


def test_the_check_is_told_and_kept(dock: ReconstructDock, run_to_end: Any) -> None:
    said: list[str] = []
    dock.ui.footer.message.say, plain = (
        lambda text, kind="hint": (said.append(text), plain(text, kind))[0],
        dock.ui.footer.message.say,
    )
    outcome = run_to_end(dock)
    assert outcome.state == "done"
    check = outcome.provenance["check"]
    assert check["sentence"].startswith("On your sample: network ")
    assert check["sentence"].endswith(" dB: linear MMSE is used.")
    assert check["sentence"] in said  # while it runs
    afterwards = dock.ui.footer.message.text().splitlines()
    assert check["sentence"] in afterwards
    assert afterwards[-1].startswith("Expected error below ")
    layer = dock.result.layer
    assert layer.name == "stack · Linear MMSE"
    kept = layer.metadata[METADATA_KEY]
    assert (kept["method"], kept["used"], kept["model"]) == ("auto", "lmmse", None)


def test_a_layer_that_the_user_named_keeps_its_name(dock: ReconstructDock, run_to_end: Any) -> None:
    dock._viewer.layers.events.inserted.connect(lambda event: setattr(event.value, "name", "mine"))
    run_to_end(dock)
    assert dock.result.layer.name == "mine"


def test_the_chosen_method_is_remembered(dock: ReconstructDock, make_dock, run_to_end: Any) -> None:
    run_to_end(dock)
    again = ReconstructDock(dock._viewer)
    assert again.ui.method.method_key() == "auto"
    again.deleteLater()
