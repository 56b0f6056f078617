"""The trained baselines: what they look at; training and use take them like the network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from napari_recurrent_mz.core.methods import METHODS, method_of
from napari_recurrent_mz.core.optics import Optics
from napari_recurrent_mz.core.scans import InputError, Scan, ZGrid
from napari_recurrent_mz.engine.inference import model_for, reconstruct
from napari_recurrent_mz.measure.evaluation import evaluate
from napari_recurrent_mz.networks.architectures import ARCHITECTURES, architecture_of, build
from napari_recurrent_mz.networks.deep_z import DeepZ, DeepZConfig
from napari_recurrent_mz.networks.plain import PlainNetwork, nearest_scans
from napari_recurrent_mz.networks.recurrent_mz import NetworkConfig
from napari_recurrent_mz.networks.unet3d import Convolution3D, UNet3D, UNet3DConfig
from napari_recurrent_mz.networks.weights import bundled_models, load_model, save_model

DEEP_Z = DeepZConfig(base_channels=4, levels=3)
UNET = UNet3DConfig(base_channels=4, levels=3)
OPTICS = Optics(na=1.4, wavelength_um=0.519, immersion_index=1.515, pixel_um=0.13)
Z_UM = 0.5 * np.arange(9)
STACK = np.random.default_rng(2).normal(100, 20, (9, 40, 36)).astype(np.float32)


def network(config: NetworkConfig) -> PlainNetwork:
    torch.manual_seed(1)
    made = build(config).eval()
    assert isinstance(made, PlainNetwork)
    return made


def scans_at(*distances: float, size: tuple[int, int] = (16, 16), seed: int = 0) -> torch.Tensor:
    """Noise images with the DPMs of these distances, shape (1, M, 2, H, W)."""
    images = torch.rand(len(distances), *size, generator=torch.Generator().manual_seed(seed))
    dpm = torch.tensor(distances, dtype=torch.float32)[:, None, None].expand_as(images)
    return torch.stack([images, dpm], dim=1)[None]


@pytest.mark.parametrize("config", [DEEP_Z, UNET, replace(UNET, norm="none")])
@pytest.mark.parametrize(
    ("count", "size"), [(1, (16, 16)), (2, (17, 30)), (3, (5, 3)), (5, (32, 9))]
)
def test_any_number_of_scans_of_any_size(config: NetworkConfig, count: int, size) -> None:
    inputs = scans_at(*np.linspace(-1, 1, count), size=size).expand(2, -1, -1, -1, -1)
    made = network(config)(inputs, None, None, None)
    assert made.shape == (2, 1, *size)
    assert torch.isfinite(made).all()
    torch.testing.assert_close(network(config)(list(inputs.unbind(1))), made)


def test_deep_z_sees_the_nearest_scan_alone() -> None:
    deep_z = network(DEEP_Z)
    one = scans_at(0.9, -0.4, -0.7)
    others = one.clone()
    others[:, [0, 2], 0] = 5.0
    same = one.clone()
    same[:, 1, 0] += 1.0
    torch.testing.assert_close(deep_z(others), deep_z(one))
    torch.testing.assert_close(deep_z(one[:, [1]]), deep_z(one))
    assert (deep_z(same) - deep_z(one)).abs().max() > 1e-3


def test_deep_z_chooses_for_every_example_of_a_batch() -> None:
    deep_z = network(DEEP_Z)
    both = torch.cat([scans_at(0.2, -0.9), scans_at(0.8, -0.1, seed=1)])
    apart = torch.cat([deep_z(both[:1, :1]), deep_z(both[1:, 1:])])
    torch.testing.assert_close(deep_z(both), apart)


def test_the_unet_uses_every_scan_and_sorts_them() -> None:
    unet = network(UNET)
    scans = scans_at(0.9, -0.4, -0.7)
    for scan in range(3):
        other = scans.clone()
        other[:, scan, 0] += 1.0
        assert (unet(other) - unet(scans)).abs().max() > 1e-3
    torch.testing.assert_close(unet(scans[:, [2, 0, 1]]), unet(scans))


def test_an_unsorted_unet_depends_on_the_order() -> None:
    """Fig. S5 of the paper: without recurrence, another order is another image."""
    sorted_, unsorted = network(UNET), network(replace(UNET, sort=False))
    scans = scans_at(0.9, -0.4, -0.7)
    torch.testing.assert_close(unsorted(scans), sorted_(scans))  # lowest scan first already
    assert (unsorted(scans[:, [2, 0, 1]]) - sorted_(scans)).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ((0.3,), (0.3, 0.3, 0.3)),
        ((0.9, -0.2), (0.9, -0.2, -0.2)),
        ((-0.2, 0.9), (0.9, -0.2, -0.2)),
        ((1.5, 0.9, -0.4, -0.7, -2.0), (0.9, -0.4, -0.7)),
    ],
)
def test_other_numbers_of_scans_are_brought_to_three(given, taken) -> None:
    """The nearest is repeated, or the farthest left out."""
    found = nearest_scans(scans_at(*given), 3, sort=True)
    np.testing.assert_allclose(found[0, :, 1, 0, 0], taken)
    torch.testing.assert_close(network(UNET)(found), network(UNET)(scans_at(*given)))


def test_the_folded_convolution_is_torchs_3d_one() -> None:
    folded = Convolution3D(4, 5, 3)
    x = torch.randn(2, 3, 4, 9, 8)  # (N, M, C, H, W)
    kernel = folded.weight.reshape(5, 3, 4, 3, 3).transpose(1, 2)
    expected = functional.conv3d(x.transpose(1, 2), kernel, folded.bias, padding=1)
    found = folded(x.flatten(0, 1)).reshape(2, 3, 5, 9, 8)
    torch.testing.assert_close(found, expected.transpose(1, 2), atol=1e-5, rtol=1e-4)


def test_the_publications_widths() -> None:
    """Deep-Z's blocks end in 48 … 768 channels; the U-Net's in 60 · 2^k."""
    ends = [block[-2].out_channels for block in DeepZ().down]  # type: ignore[index,operator]
    assert ends == [48, 96, 192, 384, 768]
    wide = UNet3D(UNet3DConfig(norm="none"))
    assert [block[-2].out_channels for block in wide.down] == [60, 120, 240, 480]  # type: ignore[index,operator]


def test_what_the_optics_say_is_not_for_the_plain_networks() -> None:
    with pytest.raises(InputError, match="leave out --correction"):
        DeepZConfig(correction=True)
    with pytest.raises(InputError, match="leave out --propagated-input"):
        replace(UNET, propagated_input=True)


@pytest.mark.parametrize("config", [DEEP_Z, UNET])
def test_weights_come_back_as_the_right_network(config: NetworkConfig, tmp_path: Path) -> None:
    made = network(config)
    save_model(made, {}, tmp_path / "mine.safetensors")
    model = load_model(tmp_path / "mine.safetensors")
    assert type(model.network) is type(made)
    assert model.network.config == config
    assert model.architecture == model.card["architecture"] == architecture_of(config)
    inputs = scans_at(0.9, -0.4, -0.7)
    np.testing.assert_allclose(model.network(inputs).detach(), made(inputs).detach(), atol=0.02)


@pytest.fixture
def own(tmp_path: Path) -> dict[str, Path]:
    """A weights file of each architecture."""
    configs = {"deep-z": DEEP_Z, "unet-3d": UNET, "recurrent-mz": NetworkConfig(4, 3)}
    for name, config in configs.items():
        save_model(build(config), {}, tmp_path / f"{name}.safetensors")
    return {name: tmp_path / f"{name}.safetensors" for name in configs}


@pytest.mark.parametrize("method", ["deep-z", "unet-3d"])
def test_planes_by_a_baseline(method: str, own: dict[str, Path]) -> None:
    scans = [Scan(STACK[i], float(Z_UM[i])) for i in (1, 4, 7)]
    model = model_for(method, own[method])
    grid = ZGrid(0.5, 3.5, 0.5)
    volume = reconstruct(scans, grid, optics=OPTICS, method=method, model=model)
    assert volume.shape == (7, 40, 36)
    assert np.isfinite(volume).all()
    np.testing.assert_array_equal(volume[3], STACK[4])


def test_a_model_goes_to_the_method_that_it_is_for(own: dict[str, Path]) -> None:
    methods, planes = ["recurrent-mz", "deep-z"], [1, 4, 7]
    found = evaluate(STACK, Z_UM, planes, optics=OPTICS, methods=methods, model=own["deep-z"])
    used = {key: model["sha256"] for key, model in found.as_dict()["models"].items()}
    assert used == {
        "recurrent-mz": load_model().sha256,
        "deep-z": load_model(own["deep-z"]).sha256,
    }


def test_a_model_of_another_method_is_told(own: dict[str, Path]) -> None:
    with pytest.raises(InputError, match=r"of the method unet-3d, which is not among the methods"):
        evaluate(STACK, Z_UM, [1, 4], optics=OPTICS, methods=["deep-z"], model=own["unet-3d"])
    scans = [Scan(STACK[i], float(Z_UM[i])) for i in (1, 4)]
    with pytest.raises(InputError, match="choose that method, or another model for"):
        reconstruct(scans, ZGrid(0, 2, 0.5), optics=OPTICS, model=load_model(own["deep-z"]))


def test_weights_that_are_not_bundled_are_told_in_one_sentence(monkeypatch) -> None:
    from napari_recurrent_mz.engine import inference

    monkeypatch.setattr(inference, "bundled_models", lambda: ["recurrent-mz"])
    with pytest.raises(InputError, match=r"Deep-Z are not part .* train --architecture deep-z"):
        evaluate(STACK, Z_UM, [1, 4], optics=OPTICS, methods=["lmmse", "deep-z"])


def test_the_window_is_offered_recurrent_models_only() -> None:
    assert "deep-z" not in bundled_models("recurrent-mz")
    assert bundled_models("recurrent-mz")[0] == "recurrent-mz"


def test_every_network_method_has_an_architecture() -> None:
    for method in map(method_of, METHODS):
        assert (method.architecture in ARCHITECTURES) == method.needs_model
