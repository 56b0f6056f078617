"""The command ``recurrent-mz``: files in, files and tables out."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import tifffile
import torch

import napari_recurrent_mz.__main__
import napari_recurrent_mz.engine.inference
import napari_recurrent_mz.engine.to_disk
from napari_recurrent_mz.cli import main
from napari_recurrent_mz.cli._info import _card_lines
from napari_recurrent_mz.cli._terminal import Progress, clock
from napari_recurrent_mz.core.device import check_memory
from napari_recurrent_mz.core.methods import METHODS, method_of
from napari_recurrent_mz.core.scans import InputError, ZGrid
from napari_recurrent_mz.io import read_image, write_volume
from napari_recurrent_mz.networks.recurrent_mz import NetworkConfig, RecurrentMZ
from napari_recurrent_mz.networks.weights import bundled_models, save_model
from napari_recurrent_mz.simulation.phantoms import KINDS

OPTICS = {"na": 0.8, "wavelength_um": 0.5, "immersion_index": 1.0, "pixel_um": 0.2}
OPTIONS = [
    *("--na", "0.8"),
    *("--wavelength-um", "0.5"),
    *("--immersion-index", "1"),
    *("--pixel-um", "0.2"),
]
CANCELLED = "Cancelled: what was not finished is not kept."
STACK = np.random.default_rng(2).gamma(2.0, 100.0, (9, 32, 40)).astype(np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stack with all its metadata, three images named by height, and a small model."""
    made = tmp_path_factory.mktemp("files")
    write_volume(made / "stack.ome.tif", STACK, 0.5 * np.arange(9), 0.2, {"optics": OPTICS})
    for plane in (1, 4, 7):
        tifffile.imwrite(made / f"scan_z{plane / 2}um.tif", STACK[plane], metadata=None)
    torch.manual_seed(0)
    network = RecurrentMZ(NetworkConfig(base_channels=4, levels=2))
    save_model(network, {"data": "none", "steps": 0}, made / "small.safetensors")
    return made


@pytest.fixture
def run(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., str]:
    """Run a command that must succeed in the folder; returns what it printed."""

    def succeed(*argv: object) -> str:
        status = main([str(word) for word in argv])
        printed = capsys.readouterr()
        assert status == 0, printed.err
        assert all(line.startswith("note: ") for line in printed.err.splitlines())
        return printed.out

    monkeypatch.chdir(folder)
    return succeed


# --- reconstruct ---


@pytest.mark.parametrize("method", ["recurrent-mz", "lmmse", "linear"])
@pytest.mark.parametrize("ending", [".ome.tif", ".ome.zarr"])
def test_images_with_heights(run, tmp_path: Path, method: str, ending: str) -> None:
    output = tmp_path / f"v{ending}"
    files = ["scan_z0.5um.tif", "scan_z3.5um.tif", "scan_z2.0um.tif"]
    model = ["--model", "small.safetensors"]
    line = run(
        *("reconstruct", *files, "--z", "3", "9", "6", "--grid", "3:9:0.5", *OPTIONS),
        *("--method", method, *model, "--device", "cpu", "-o", output),
    )
    image = read_image(output)
    assert image.data.shape == (13, 32, 40)
    np.testing.assert_allclose(image.z_um, 3 + 0.5 * np.arange(13))
    assert image.pixel_um == 0.2
    for plane, made in ((1, 0), (4, 6), (7, 12)):  # the scans themselves, in their own units
        np.testing.assert_array_equal(image.data[made], STACK[plane])
    told = image.provenance
    assert (told["method"], told["measured_planes"]) == (method, [0, 6, 12])
    assert told["scans"][1] == {"name": "scan_z3.5um.tif", "z_um": 9.0}
    assert (told["model"] is None) == (method != "recurrent-mz")
    assert "13 planes of 32 × 40 pixels, z 3 to 9 µm" in line


def test_heights_from_names_and_grid_from_the_optics(run, tmp_path: Path) -> None:
    files = ["scan_z0.5um.tif", "scan_z2.0um.tif", "scan_z3.5um.tif"]
    run("reconstruct", *files, *OPTIONS, "--method", "linear", "-o", tmp_path / "v.tif")
    image = read_image(tmp_path / "v.tif")
    half_depth_of_field = 0.5 * 1.0 * 0.5 / 0.8**2  # 0.39 µm: 1.5 µm are four such steps
    assert half_depth_of_field == pytest.approx(0.39, abs=0.001)
    np.testing.assert_allclose(image.z_um, np.linspace(0.5, 3.5, 9))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            "reconstruct stack.ome.tif --planes 1 4 7 --method lmmse --pixel-um 0.25 --na 0.8 "
            "--z-step-um 0.4 -o v.tif",
            [
                "z step is 0.5 µm: 0.4 µm was taken, as given.",
                "pixel size in the sample is 0.2 µm: 0.25 µm was taken, as given.",
            ],
        ),
        (
            "reconstruct stack.ome.tif --planes 1 4 7 --method linear --z 1 2.5 5 -o v.tif",
            ["heights are 0.5, 2, 3.5 µm: 1, 2.5, 5 µm were taken, as given."],
        ),
        ("reconstruct stack.ome.tif --planes 1 4 7 --method linear --z 1 2.5 4 -o v.tif", []),
        (
            "evaluate stack.ome.tif --planes 1 4 7 --methods lmmse --wavelength-um 0.6 --na 0.7",
            [
                "numerical aperture is 0.8: 0.7 was taken, as given.",
                "emission wavelength is 0.5 µm: 0.6 µm was taken, as given.",
            ],
        ),
        (
            "prepare edf stack.ome.tif --immersion-index 1.33 -o e.tif",
            ["refractive index of the immersion is 1: 1.33 was taken, as given."],
        ),
    ],
    ids=["size and step", "heights", "heights from elsewhere", "optics", "prepare"],
)
def test_what_is_given_in_place_of_what_the_file_says_is_told(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: str,
    told: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "stack.ome.tif").symlink_to(folder / "stack.ome.tif")
    assert main(words.split()) == 0
    notes = [line for line in capsys.readouterr().err.splitlines() if "as given" in line]
    which = "note: 'stack.ome.tif' says that the"
    assert notes == [f"{which} {sentence}" for sentence in told]


def test_a_batch_reports_what_is_given_in_place_of_what_the_file_says(run, tmp_path: Path) -> None:
    out = tmp_path / "out"
    given = "--planes", 1, 4, 7, "--method", "linear", "--z-step-um", "0.4", "--jobs", 1
    run("batch", "stack.ome.tif", *given, "-o", out)
    assert "the z step is 0.5 µm: 0.4 µm was taken" in (out / "batch-report.csv").read_text("utf-8")


def test_without_a_grid_a_stack_gives_its_own_planes(run, tmp_path: Path) -> None:
    stack, output = ["stack.ome.tif", "--planes", 1, 4, 7], tmp_path / "v.tif"
    run("reconstruct", *stack, "--z-step-um", "0.7", *OPTIONS, "--method", "linear", "-o", output)
    np.testing.assert_allclose(read_image(output).z_um, 0.7 * np.arange(1, 8))


def test_everything_from_metadata(run, tmp_path: Path) -> None:
    run(
        *("reconstruct", "stack.ome.tif", "--planes", 1, 4, 7, "--grid", "0:4:0.5"),
        *("--method", "lmmse", "-o", tmp_path / "v.tif"),
    )
    image = read_image(tmp_path / "v.tif")
    np.testing.assert_allclose(image.z_um, 0.5 * np.arange(9))
    np.testing.assert_array_equal(image.data[4], STACK[4])
    assert image.provenance["optics"] == OPTICS


def test_options_win_over_metadata(run, tmp_path: Path) -> None:
    run(
        *("reconstruct", "stack.ome.tif", "--planes", 1, 7, "--z-step-um", 1, "--pixel-um", 0.3),
        *("--grid", "-1:7:1", "--method", "linear", "-o", tmp_path / "v.tif"),
    )
    image = read_image(tmp_path / "v.tif")
    assert image.pixel_um == 0.3
    np.testing.assert_allclose(image.z_um, np.arange(-1, 8))
    np.testing.assert_array_equal(image.data[2], STACK[1])


def test_interpolation_needs_only_the_pixel(run, tmp_path: Path) -> None:
    files = ["scan_z0.5um.tif", "scan_z3.5um.tif"]
    common = ["--pixel-um", 0.2, "--grid", "0.5:3.5:1", "--method", "cubic"]
    run("reconstruct", *files, *common, "-o", tmp_path / "v.tif")
    np.testing.assert_allclose(
        read_image(tmp_path / "v.tif").data[1], STACK[1] * 2 / 3 + STACK[7] / 3, rtol=1e-4
    )


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (KeyboardInterrupt(), CANCELLED),
        (MemoryError("Unable to allocate 9 GiB"), "There is not enough memory: use fewer planes"),
        (ZeroDivisionError("odd\nthing"), "with an unexpected ZeroDivisionError (odd): please"),
    ],
)
def test_a_stop_half_way_leaves_no_file(
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    words: str,
) -> None:
    whole = napari_recurrent_mz.engine.inference.run

    def interrupted(*recipe: object, **options: object):
        for event in whole(*recipe, **options):
            yield event
            if getattr(event, "index", None) == 2:
                raise error

    monkeypatch.setattr(napari_recurrent_mz.engine.to_disk, "run", interrupted)
    argv = ["reconstruct", str(folder / "stack.ome.tif"), "--planes", "1", "7"]
    argv += ["--method", "linear", "-o", str(tmp_path / "v.tif")]
    assert main(argv) == 1
    printed = capsys.readouterr()
    assert words in printed.err
    assert printed.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(type(error)):
        main([*argv, "--traceback"])
    assert list(tmp_path.iterdir()) == []


def test_a_traceback_is_asked_for_by_the_option_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Abbreviated as well; a file of that name does not ask for it."""
    missing, volume = str(tmp_path / "missing.tif"), str(tmp_path / "volume.tif")
    with pytest.raises(InputError, match="missing"):
        main(["reconstruct", "-o", volume, missing, "--trace"])
    assert main(["reconstruct", "-o", volume, "--", missing, "--traceback"]) == 1
    assert "missing.tif" in capsys.readouterr().err


# --- evaluate ---


def test_evaluate_prints_the_table_and_writes_the_json(run, tmp_path: Path) -> None:
    table = run(
        *("evaluate", "stack.ome.tif", "--planes", 1, 4, 7, "--model", "small.safetensors"),
        *("--methods", "recurrent-mz,lmmse,linear", "--device", "cpu"),
        *("--json", tmp_path / "out.json"),
    )
    found = json.loads((tmp_path / "out.json").read_text())
    rows = [line.split() for line in table.splitlines()]
    assert [row[0] for row in rows] == ["method", "recurrent-mz", "lmmse", "linear"]
    for row in rows[1:]:
        values = found["methods"][row[0]]
        assert float(row[1]) == pytest.approx(values["mean"]["psnr_db"], abs=0.005)
        assert len(values["psnr_db"]) == len(found["z_um"]) == 9
    # An untrained network is its linear estimate: the last convolution starts at zero.
    first, second = (found["methods"][m]["psnr_db"] for m in ("recurrent-mz", "lmmse"))
    np.testing.assert_allclose(
        [v for v in first if v is not None], [v for v in second if v is not None], atol=0.02
    )
    assert found["model"]["name"] == "small"


@pytest.mark.parametrize("method", METHODS)
def test_evaluate_takes_every_method(run, method: str) -> None:
    """One row each; a network whose weights are not here is told in one sentence."""
    asked = ("evaluate", "stack.ome.tif", "--planes", 1, 4, 7, "--methods", method)
    if method_of(method).weights in (None, *bundled_models()):
        rows = [line.split() for line in run(*asked).splitlines()]
        assert [row[0] for row in rows] == ["method", method]
        assert float(rows[1][1]) > 0
    else:
        assert main([str(word) for word in asked]) == 1


# --- the other commands ---


def test_simulated_stack_can_be_evaluated(run, tmp_path: Path) -> None:
    stack, confocal = tmp_path / "s.ome.tif", tmp_path / "c.ome.tif"
    run(
        *("simulate", "stack", "beads", "--size", 64, "--n-planes", 9, "--seed", 3),
        *("--na", 0.8, "--immersion-index", 1, "--z-step-um", 0.4, "--pixel-um", 0.2),
        *("-o", stack, "--confocal", confocal),
    )
    assert read_image(confocal).data.shape == read_image(stack).data.shape == (9, 64, 64)
    assert read_image(stack).na == 0.8
    table = run("evaluate", stack, "--planes", 1, 4, 7, "--methods", "linear,nearest")
    assert "nearest" in table
    pair = run(
        *("evaluate", stack, "--planes", 1, 4, 7, "--reference", confocal),
        *("--methods", "lmmse-plus", "--json", tmp_path / "pair.json"),
    )
    assert [line.split("  ")[0] for line in pair.splitlines()[1:]] == [
        "wide-field stack",
        "lmmse-plus",
    ]
    written = json.loads((tmp_path / "pair.json").read_text())
    assert written["reference"] == "c.ome.tif"
    assert "offset" in written["fit"]


def test_the_help_names_every_kind_of_sample(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["simulate", "stack", "--help"])
    printed = capsys.readouterr().out
    assert [kind for kind in KINDS if kind not in printed] == []


@pytest.mark.parametrize(
    "words",
    [
        "stack worm -o v.ome.tif --size 1000000",
        "stack worm -o v.ome.tif --n-planes 10000000",
        "stack worm -o v.ome.tif --z-step-um 0.0000001",
        "fields pool --count 1 --size 1000000",
    ],
)
def test_samples_that_memory_cannot_hold_are_refused_at_once(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["simulate", *words.split(), *(["--device", "cpu"] * ("stack" not in words))]) == 1
    said = capsys.readouterr().err
    memory = r"needs [\d,.]+ GB but this computer has [\d,.]+ GB of memory for it: use"
    assert re.search(memory if "stack" in words else "may need .* but its disk has", said)
    assert not Path("v.ome.tif").exists()


def test_a_simulated_stack_that_the_disk_cannot_hold_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=10**6)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage)
    out = tmp_path / "v.ome.tif"
    assert main(["simulate", "stack", "beads", "--size", "512", "-o", str(out)]) == 1
    assert "'v.ome.tif' may need" in capsys.readouterr().err


def test_what_a_large_simulated_stack_takes_is_told_and_how_far_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from napari_recurrent_mz.simulation import simulate

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(simulate, "_BYTES", 10_000)
    words = "simulate stack beads --size 32 --n-planes 5".split()
    assert main([*words, "-o", str(tmp_path / "v.ome.tif")]) == 0
    said = terminal.getvalue()
    assert re.search(r"note: About [\d.]+ GB of memory and up to \d+ MB of disk are needed", said)
    stages = re.findall(r"simulating: ([a-z -]+) (\d)/4", said)
    assert [int(done) for _, done in stages] == [0, 1, 2, 3]


@pytest.mark.parametrize("every", [1, 7])
def test_a_stack_of_more_values_than_pytorch_sorts_has_its_quantile(every: int) -> None:
    from napari_recurrent_mz.simulation.simulate import quantile

    values = torch.linspace(0, 1, 2**24 * every + 1000)
    assert float(quantile(values, every, 0.999)) == pytest.approx(0.999, abs=1e-4)


def test_simulated_fields(run, tmp_path: Path) -> None:
    argv = ["simulate", "fields", tmp_path / "pool", "--count", 2, "--size", 64, "--n-planes", 8]
    assert "2 fields" in run(*argv, "--device", "cpu")
    assert len(list((tmp_path / "pool").glob("*.npy"))) == 2


def test_info_names_version_and_device(run) -> None:
    import napari_recurrent_mz

    text = run("info")
    assert f"napari-recurrent-mz {napari_recurrent_mz.__version__}" in text
    assert f"torch {torch.__version__}" in text
    assert "device c" in text
    assert "Report a problem" in text


def test_a_model_card_in_short() -> None:
    card = {
        "trained_for": {"na": [0.75, 1.45], "scans": [1, 5]},
        "training": {"steps": 4000, "config": {"batch": 4}},
        "held_out": {"gain_db": 0.123456, "by_kind": {"beads": 0.5, "worm": 0.25}},
        "kinds": ["beads", "worm"],
        "measured": [{"stack": "embryo", "psnr": 33.41}],
        "network": {"levels": 5},
    }
    assert _card_lines(card) == [
        "trained for: na 0.75 to 1.45; scans 1 to 5",
        "training: steps 4000",
        "held out: gain db 0.1235; by kind (beads 0.5; worm 0.25)",
        "kinds: beads, worm",
        "measured:",
        "  stack embryo; psnr 33.41",
    ]


def test_demo_without_window(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from napari_recurrent_mz.simulation import simulate

    stack = np.random.default_rng(1).gamma(2.0, 100.0, (51, 32, 32)).astype(np.float32)
    z_um = 0.2 * np.arange(51)
    little = simulate.Sample(stack, stack, stack, z_um, simulate.DEMO_OPTICS, "worm")
    monkeypatch.setattr(simulate, "demo_sample", lambda: little)
    model = ["--model", "small.safetensors", "--device", "cpu"]
    text = run("demo", "--no-show", *model, "-o", tmp_path / "volume.ome.tif")
    volume = read_image(tmp_path / "volume.ome.tif")
    assert volume.data.shape == (51, 32, 32)
    assert np.isfinite(volume.data).all()
    assert volume.provenance["measured_planes"] == [10, 25, 40]
    rows = [line.split()[0] for line in text.splitlines()[-4:]]
    assert rows == ["method", "recurrent-mz", "lmmse", "linear"]


def test_training_from_fields_to_a_reconstruction(
    run, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_recurrent_mz.training.loop import Trainer

    pool = tmp_path / "pool"
    run(*("simulate", "fields", pool, "--count", 3, "--size", 64, "--held-out", "--n-planes", 60))
    argv: list[object] = ["train", tmp_path / "run", "--fields", pool, "--held-out", pool]
    argv += ["--steps", 4, "--batch", 1, "--validate-every", 2, "--checkpoint-every", 1]
    argv += ["--base-channels", 4, "--levels", 2, "--norm", "none", "--crop", 32, "--targets", 1]
    argv += ["--scans", 0, 1, "--no-propagated-input", "--device", "cpu"]

    whole = Trainer.run

    def interrupted(self: Trainer):
        for now in whole(self):
            yield now
            if now.step == 3:
                raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "run", interrupted)
    assert main([str(word) for word in argv]) == 1
    stopped = capsys.readouterr()
    assert "Stopped at step 3: the same command goes on" in stopped.err
    assert "step 2: held-out gain over linear MMSE" in stopped.out
    monkeypatch.setattr(Trainer, "run", whole)
    text = run(*argv)
    assert "from step 3" in text
    assert (tmp_path / "run" / "curves.png").stat().st_size > 1000
    weights = tmp_path / "run" / "weights.safetensors"
    card = json.loads(weights.with_suffix(".json").read_text())
    assert card["network"]["base_channels"] == 4
    assert card["network"]["propagated_input"] is False
    assert card["training"]["config"]["examples"]["crop"] == 32
    run(
        *("reconstruct", "stack.ome.tif", "--planes", 1, 7, "--model", weights),
        *("--device", "cpu", "-o", tmp_path / "v.tif"),
    )
    made = read_image(tmp_path / "v.tif").provenance["model"]
    assert made["sha256"] == card["sha256"]


def test_ctrl_c_before_the_options_are_read_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_recurrent_mz import cli

    def interrupted(_words: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_parser", interrupted)
    assert main(["info"]) == 1
    assert capsys.readouterr().err == f"recurrent-mz: {CANCELLED}\n"


def test_every_setting_of_a_training_has_its_option() -> None:
    import argparse
    from dataclasses import replace

    from napari_recurrent_mz.cli import _train
    from napari_recurrent_mz.cli._options import add_command
    from napari_recurrent_mz.networks.recurrent_mz import NetworkConfig, RecurrentMZ
    from napari_recurrent_mz.networks.unet3d import UNet3DConfig
    from napari_recurrent_mz.training.learner import TrainConfig
    from napari_recurrent_mz.training.losses import LossConfig

    parser = argparse.ArgumentParser()
    add_command(parser.add_subparsers(), _train.train)
    train = parser._subparsers._group_actions[0].choices["train"]  # type: ignore[union-attr]
    _train.add_settings(train)
    folders = ["train", "run", "--fields", "a", "--held-out", "b"]
    assert _train.configuration(parser.parse_args(folders)) == TrainConfig()
    papers = parser.parse_args([*folders, "--paper-network", "--paper-loss", "--berhu", "2"])
    assert _train.configuration(papers) == TrainConfig(
        network=NetworkConfig.paper(), loss=replace(LossConfig.paper(), berhu=2.0)
    )
    other = parser.parse_args([*folders, "--architecture", "unet-3d", "--input-scans", "5"])
    assert _train.configuration(other).network == UNet3DConfig(input_scans=5)
    for more, slope in (
        ([], 0.0),
        (["--norm", "none"], 0.01),
        (["--norm", "none", "--slope", "0"], 0),
    ):
        assert _train.configuration(parser.parse_args([*folders, *more])).network.slope == slope
    start = RecurrentMZ(NetworkConfig(base_channels=4, levels=2, norm="none"))
    begun = _train.configuration(parser.parse_args([*folders, "--crop", "32"]), start=start)
    assert begun.network == start.config
    settings = [action for action in train._actions if action.dest in TrainConfig().__dict__]
    assert all(action.help for action in settings)


# --- usage ---


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["nonsense"],
        ["reconstruct"],
        ["reconstruct", "a.tif"],
        ["reconstruct", "a.tif", "--method", "magic", "-o", "v.tif"],
        ["evaluate", "a.tif", "--planes", "one"],
    ],
)
def test_wrong_usage_is_status_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(argv)
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("recurrent-mz")
    assert line.endswith(" --help'")


def test_the_installed_command_and_its_quick_help() -> None:
    """As a user meets it, in a process of its own; help must not wait for torch."""
    code = (
        "import sys; from napari_recurrent_mz.cli import main\n"
        "try: main(['reconstruct', '--help'])\n"
        "finally: assert not {'torch', 'napari', 'scipy'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, encoding="utf-8", timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "recurrent-mz reconstruct A.tif B.tif C.tif --z 3 6 9" in done.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="a device that is always full")
def test_a_full_disk_under_what_is_printed_is_told_in_one_sentence() -> None:
    command = [sys.executable, "-m", "napari_recurrent_mz", "info"]
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert ended.returncode == 1
    assert ended.stderr.startswith("recurrent-mz: Something could not be read or written (No space")
    assert "check the space on the disk" in ended.stderr
    assert "unexpected" not in ended.stderr


def test_a_program_without_a_terminal_makes_its_volume(
    run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for stream in ("stdout", "stderr"):
        monkeypatch.setattr(sys, stream, None)
    files = ["scan_z0.5um.tif", "scan_z3.5um.tif"]
    common = ["--pixel-um", 0.2, "--grid", "0.5:3.5:1", "--method", "linear"]
    run("reconstruct", *files, *common, "-o", tmp_path / "v.tif")
    assert (tmp_path / "v.tif").is_file()


def test_a_volume_that_was_made_here_is_no_scan(
    run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither alone nor in a folder: planes between scans would be taken for measured ones."""
    made = tmp_path / "in" / "made.ome.tif"
    made.parent.mkdir()
    planes = ["--planes", "1", "4", "7"]
    run("reconstruct", "stack.ome.tif", *planes, "--method", "linear", "-o", made)
    for command in (["reconstruct", made], ["evaluate", made], ["batch", made.parent]):
        words = [*command, "--planes", 0, 2, 4]
        if command[0] != "evaluate":
            words += ["--method", "linear", "-o", tmp_path / "again.ome.tif"]
        assert main([str(word) for word in words]) == 1
        assert "'made.ome.tif' was made from scans" in "".join(capsys.readouterr())


def test_a_link_that_leads_to_itself_does_not_exist(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    loop = tmp_path / "loop.tif"
    loop.symlink_to(loop)
    words = ["reconstruct", str(loop), "--method", "linear", "-o", str(tmp_path / "v.tif")]
    assert main(words) == 1
    assert "loop.tif' does not exist" in capsys.readouterr().err


def test_ctrl_c_while_the_command_is_loaded_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Loading(ModuleType):
        def __getattr__(self, _name: str) -> None:
            raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "napari_recurrent_mz.cli", Loading("cli"))
    assert napari_recurrent_mz.__main__.main() == 1
    assert capsys.readouterr() == ("", f"recurrent-mz: {CANCELLED}\n")


# --- progress ---


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_shows_the_time_left_on_a_terminal_only() -> None:
    terminal, pipe = Terminal(), io.StringIO()
    for stream in (terminal, pipe):
        with Progress("plane", stream) as progress:
            progress(1, 4)
            progress(4, 4)
    assert "plane 1/4, 0:00 left" in terminal.getvalue()
    assert terminal.getvalue().endswith("\r")  # a clean line for what follows
    assert pipe.getvalue() == ""


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [("--planes", "5,15", "is not a whole number"), ("--na", "1,4", "is not a number")],
)
def test_a_number_that_is_none_is_told_how_to_be_written(
    option: str, value: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["reconstruct", "stack.tif", "-o", "v.ome.tif", option, value])
    said = capsys.readouterr().err.splitlines()[-1]
    assert f"'{value}' {words}" in said
    assert "several numbers with spaces between them" in said
    assert ("decimals with a point" in said) == (option == "--na")


def test_progress_fits_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    terminal = Terminal()
    with Progress("plane", terminal) as progress:
        progress.line("a" * 60)
    assert max(map(len, terminal.getvalue().split("\r"))) < 40  # a longer one would wrap


def test_a_volume_that_cannot_fit_is_refused() -> None:
    check_memory(ZGrid(0, 99, 1), (64, 64))
    with pytest.raises(InputError, match=r"10,000 planes needs 4,000,000.0 GB"):
        check_memory(ZGrid(0, 9999, 1), (10_000, 10_000_000))


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (75, "1:15"), (3725, "1:02:05")]
)
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text
