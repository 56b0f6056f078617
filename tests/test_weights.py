"""Weights files: ours load, others are told apart in one sentence, nothing is unpickled."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from napari_recurrent_mz.cli import main
from napari_recurrent_mz.core.scans import InputError
from napari_recurrent_mz.networks.recurrent_mz import NetworkConfig, RecurrentMZ
from napari_recurrent_mz.networks.weights import (
    DEFAULT,
    FORMAT,
    bundled_models,
    load_model,
    save_model,
)

SMALL = NetworkConfig(base_channels=4, levels=3)


def test_the_bundled_model_is_what_its_card_says() -> None:
    assert bundled_models()[0] == "recurrent-mz"
    folder = files("napari_recurrent_mz") / "networks" / "weights_data"
    for name in bundled_models():
        model = load_model(name)
        content = (folder / f"{name}.safetensors").read_bytes()
        card = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        assert card["sha256"] == hashlib.sha256(content).hexdigest() == model.sha256
        assert {k: card[k] for k in model.card} == model.card
        for key in ("trained_for", "data", "training", "held_out"):
            assert card[key]
        assert name != DEFAULT or card["held_out"]["gain_db"] > 0
        assert not model.network.training


def test_a_model_survives_being_saved(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = RecurrentMZ(SMALL)
    torch.nn.init.normal_(network.last.weight)
    digest = save_model(network, {"description": "a test"}, tmp_path / "mine.safetensors")
    model = load_model(tmp_path / "mine.safetensors")
    assert (model.name, model.sha256) == ("mine", digest)
    assert model.card["description"] == "a test"
    assert model.network.config == SMALL
    x, linear = torch.rand(1, 2, 3, 32, 32), torch.rand(1, 1, 32, 32)
    with torch.no_grad():
        expected, found = network.eval()(x, linear), model.network(x, linear)
    np.testing.assert_allclose(found, expected, atol=0.02)


def _pickled(path: Path) -> None:
    torch.save({"a": torch.zeros(2)}, path)


def _cut_short(path: Path) -> None:
    save_model(RecurrentMZ(SMALL), {}, path)
    path.write_bytes(path.read_bytes()[:-100])


def _somebody_elses(path: Path) -> None:
    save_file({"a": torch.zeros(2)}, path, metadata={"format": "pt"})


def _other_network(path: Path) -> None:
    card = {"network": NetworkConfig(base_channels=8).as_dict()}
    tensors = dict(RecurrentMZ(SMALL).state_dict())
    save_file(tensors, path, metadata={"format": FORMAT, "card": json.dumps(card)})


def _nan(path: Path) -> None:
    network = RecurrentMZ(SMALL)
    torch.nn.init.constant_(network.last.weight, float("nan"))
    save_model(network, {}, path)


def _text(path: Path) -> None:
    path.write_text("weights")


def _card_of(**network: object) -> Callable[[Path], None]:
    """A file whose card tells of another network than its tensors are of."""

    def make(path: Path) -> None:
        card = {"network": SMALL.as_dict() | network}
        tensors = dict(RecurrentMZ(SMALL).state_dict())
        save_file(tensors, path, metadata={"format": FORMAT, "card": json.dumps(card)})

    return make


def _card_text(text: str) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        save_file({"a": torch.zeros(2)}, path, metadata={"format": FORMAT, "card": text})

    return make


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (_pickled, "is not a Recurrent-MZ weights file"),
        (_cut_short, "is not a Recurrent-MZ weights file"),
        (_somebody_elses, "is not a Recurrent-MZ weights file"),
        (_text, "is not a Recurrent-MZ weights file"),
        (_other_network, "do not fit this version's network"),
        (_nan, "hold NaN or infinity"),
        (_card_of(base_channels=3000), "do not fit this version's network"),
        (_card_of(levels=40), "do not fit this version's network"),
        (_card_of(levels=10**9), "do not fit this version's network"),
        (_card_of(base_channels="4"), "do not fit this version's network"),
        (_card_of(object_share=float("nan")), "is not a Recurrent-MZ weights file"),
        (_card_of(object_share=-1.0), "do not fit this version's network"),
        (_card_of(surprise=1), "do not fit this version's network"),
        (_card_text('{"network": ' + "[" * 10**5 + "]" * 10**5 + "}"), "is not a Recurrent-MZ"),
        (_card_text("[1, 2]"), "do not fit this version's network"),
        (_card_text('{"network": {"object_share": 1e999}}'), "is not a Recurrent-MZ weights file"),
    ],
)
def test_weights_that_are_not_ours(make, words: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "odd.safetensors"
    make(path)
    with pytest.raises(InputError, match=words):
        load_model(path)


def test_weights_changed_in_one_bit_are_refused(tmp_path: Path) -> None:
    """Wherever the bit is: in the header, the card or a weight; by the file alone."""
    path = tmp_path / "mine.safetensors"
    save_model(RecurrentMZ(SMALL), {"description": "a test"}, path)
    whole = path.read_bytes()
    path.with_suffix(".json").unlink()
    load_model(path)
    rng = np.random.default_rng(5)
    in_card = whole.index(b"a test")
    for place in [in_card, len(whole) - 1, *rng.integers(0, len(whole), 60)]:
        changed = bytearray(whole)
        changed[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(changed)
        os.utime(path, ns=(0, int(rng.integers(2**50))))  # another moment: it is read anew
        with pytest.raises(InputError, match=r"mine\.safetensors"):
            load_model(path)


def test_the_card_of_another_file_is_refused(tmp_path: Path) -> None:
    one, other = tmp_path / "one.safetensors", tmp_path / "other.safetensors"
    for path in (one, other):
        save_model(RecurrentMZ(SMALL), {}, path)
    one.with_suffix(".json").write_text(other.with_suffix(".json").read_text())
    with pytest.raises(InputError, match=r"not the file that its card 'one\.json' describes"):
        load_model(one)
    one.with_suffix(".json").unlink()
    assert load_model(one).name == "one"


def test_a_range_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    save_model(RecurrentMZ(SMALL), {"trained_for": {"na": "high"}}, path)
    with pytest.raises(InputError, match="do not fit"):
        load_model(path)


def test_a_model_that_does_not_exist() -> None:
    with pytest.raises(InputError, match=r"no model 'magic': choose one of recurrent-mz"):
        load_model("magic")


def test_measurements_go_into_the_card(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, table = tmp_path / "mine.safetensors", tmp_path / "e.json"
    network = RecurrentMZ(SMALL)
    save_model(network, {"description": "before"}, path)
    means = {"lmmse": {"mean": {"psnr_db": 30.25}}}
    measured = {"stack": "a.tif", "planes": [1, 5], "methods": means}
    table.write_text(json.dumps(measured))
    assert main(["card", str(path), "--evaluation", str(table)]) == 0
    model = load_model(path)
    assert model.card["evaluation"] == [
        {"stack": "a.tif", "planes": [1, 5], "lmmse": {"psnr_db": 30.25}}
    ]
    assert model.card["description"] == "before"
    for key, value in network.half().float().state_dict().items():
        assert torch.equal(model.network.state_dict()[key], value)
    table.write_text("{}")
    assert main(["card", str(path), "--evaluation", str(table)]) == 1
    assert "is not a result of recurrent-mz evaluate" in capsys.readouterr().err
