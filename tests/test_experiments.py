"""The paper's experiments: statistics against their definitions, small runs from end to end."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from scipy import stats

from napari_recurrent_mz.cli import main
from napari_recurrent_mz.core.optics import Optics
from napari_recurrent_mz.core.scans import InputError
from napari_recurrent_mz.io import write_volume
from napari_recurrent_mz.lab.experiments import bead_widths, real, spacing
from napari_recurrent_mz.lab.experiments.base import Outcome
from napari_recurrent_mz.lab.experiments.lab import QUICK, HeldOutStack, Lab, Settings, plane_of
from napari_recurrent_mz.lab.experiments.order import order_spread, repetition_spread
from napari_recurrent_mz.lab.experiments.run import EXPERIMENTS, chosen, read, write, write_report
from napari_recurrent_mz.lab.experiments.samples import gains
from napari_recurrent_mz.lab.shared import Goal
from napari_recurrent_mz.networks.recurrent_mz import NetworkConfig, RecurrentMZ
from napari_recurrent_mz.networks.weights import save_model

OPTICS = Optics(na=0.8, wavelength_um=0.5, immersion_index=1.0, pixel_um=0.2)
BY_NAME = {experiment.name: experiment for experiment in EXPERIMENTS}

# --- small runs ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network that does correct the linear estimate, by a little."""
    torch.manual_seed(0)
    network = RecurrentMZ(NetworkConfig(base_channels=4, levels=2, norm="none"))
    torch.nn.init.normal_(network.last.weight, std=0.05)
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    save_model(network, {"training": {"steps": 7, "hours": 0.5, "device": "a CPU"}}, path)
    return path


@pytest.fixture(scope="module")
def stacks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one of the real stacks' names in it."""
    folder = tmp_path_factory.mktemp("stacks")
    y, x = np.mgrid[:40, :40]
    rng = np.random.default_rng(3)
    made = [
        rng.poisson(50 + 4e4 / (40 + 9 * (i - 12) ** 2)
                    * np.exp(-((y - 18) ** 2 + (x - 22) ** 2) / (2 * (20 + (i - 12) ** 2))))
        for i in range(25)
    ]  # fmt: skip
    path = folder / "bead-520nm-na0.85-widefield.ome.tif"
    write_volume(path, np.array(made, np.float32), 0.3 * np.arange(25), 0.13, {})
    return folder


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, weights: Path, stacks: Path) -> Path:
    """Three experiments, as the command leaves them."""
    folder = tmp_path_factory.mktemp("results")
    status = main(
        ["experiments", "order", "real", "any-planes", "--quick", "--size", "32",
         "-o", str(folder), "--weights", f"recurrent-mz={weights}", "--data", str(stacks),
         "--device", "cpu"]
    )  # fmt: skip
    assert status == 0
    return folder


@pytest.mark.parametrize("name", ["order", "real", "any-planes"])
def test_an_experiment_leaves_a_table_and_a_figure(results: Path, name: str) -> None:
    record = read(results, name)
    assert record is not None
    values = record.table[["psnr", "nrmse", "ssim", "rmse"]]
    assert len(values) > 3
    assert np.isfinite(values).all(axis=None)
    made = record.header
    assert made["weights"]["recurrent-mz"]["steps"] == 7
    assert made["settings"]["seed"] == 5
    assert "--quick" in made["command"]
    assert str(results.parent) not in json.dumps(made)  # says nothing of this computer's folders
    picture = results / f"{name}.png"
    assert picture.stat().st_size < 80_000
    with Image.open(picture) as opened:
        assert min(opened.size) > 100


def test_the_orders_are_all_there(results: Path) -> None:
    table = read(results, "order").table
    assert sorted(table.order.unique()) == [123, 132, 213, 231, 312, 321]
    assert not set(table.z_um) & {3.0, 9.0, 15.0}  # the scans themselves are not judged


def test_the_page_shows_the_paper_beside_ours(results: Path) -> None:
    page = (results / "results.md").read_text(encoding="utf-8")
    section = page.partition("## The order of the scans")[2].partition("\n## ")[0]
    assert "(4.03)" in section  # what the paper reports
    assert "| a narrow band (Fig. 6e) |" in section
    assert "![The order of the scans](order.png)" in section
    assert "seed 5" in section
    assert "--weights order-depth=FILE" in section  # what could not be measured, and how to
    goals = page.partition("## Goals")[2].partition("\n## ")[0]
    assert "| ≥ +2 dB over linear MMSE |" in goals
    assert "≤ 2 % |" in goals
    assert "small" in page  # the weights by name
    assert "a CPU" in page
    assert "**Figure" not in page
    missing = page.partition("## Not measured")[2]
    assert "`worm`" in missing
    assert "`order`" not in missing


def test_what_is_there_is_kept_unless_forced(
    results: Path, weights: Path, stacks: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["experiments", "any-planes", "-o", str(results), "--quick", "--data", str(stacks),
             "--weights", f"recurrent-mz={weights}"]  # fmt: skip
    before = (results / "any-planes.csv").read_text()
    assert main(words) == 0
    assert "kept, made on" in capsys.readouterr().out
    assert (results / "any-planes.csv").read_text() == before
    assert main([*words, "--force"]) == 0
    assert "rows in" in capsys.readouterr().out
    again = (results / "any-planes.csv").read_text()
    # The same seeds give the same numbers, another time of day.
    assert again.split("\n", 1)[1] == before.split("\n", 1)[1]


def test_the_page_for_the_documentation(results: Path, tmp_path: Path) -> None:
    page = write_report(results, tmp_path)
    assert page == tmp_path / "results.md"
    assert "](images/results/order.png)" in page.read_text(encoding="utf-8")
    copied = (tmp_path / "images" / "results" / "order.png").read_bytes()
    assert copied == (results / "order.png").read_bytes()


def test_networks_of_equal_training_are_asked_by_name(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [f"{name}={weights}" for name in ("equal-recurrent-mz", "order-depth")]
    options = [word for weight in given for word in ("--weights", weight)]
    words = ["experiments", "budget", "order", "--quick", "--size", "32", "-o", str(tmp_path)]
    assert main([*words, *options, "--weights", f"recurrent-mz={weights}"]) == 0
    capsys.readouterr()
    table = read(tmp_path, "budget").table
    assert set(table.trained) == {"equal-recurrent-mz", "lmmse"}
    psnr = table.groupby(["trained", "kind"]).psnr.mean()
    page = (tmp_path / "results.md").read_text(encoding="utf-8")
    assert f"worm {psnr['lmmse', 'worm']:.2f} dB" in page
    assert "--weights equal-deep-z=FILE" in page
    orders = read(tmp_path, "order").table.set_index("method").loc["order-depth"]
    by_depth = orders[orders.order == 123].nrmse.mean()
    assert f"{by_depth:.2f} sorted by depth, {orders.nrmse.mean():.2f} over all orders" in page


def test_without_real_stacks_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["experiments", "real", "--quick", "-o", str(tmp_path)]) == 0
    assert "no folder of them was given (--data FOLDER)" in capsys.readouterr().out
    assert not (tmp_path / "real.csv").exists()


# --- the command --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nonsense"], "There is no experiment 'nonsense': choose from worm"),
        (["--data", "nowhere"], "The folder 'nowhere' does not exist"),
        (["--weights", "deep-z"], "'deep-z' is not NAME=FILE"),
        (["--size", "16"], "at least 32"),
        (["--samples", "0"], "above 0"),
        (["--docs", "nowhere"], "'nowhere' does not exist"),
        (["order", "--quick", "--weights", "recurrent-mz=no.safetensors"], "There is no model"),
    ],
)
def test_a_mistake_is_one_sentence(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["experiments", *words, "-o", str(tmp_path / "out")]) == 1
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1


def test_the_list_names_every_experiment(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["experiments", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(BY_NAME)
    for figure in ("Figures 2", "Figure 3", "Figures 4a", "Figure 5", "Figures 6", "Figure 8"):
        assert any(figure in line for line in lines)


def test_the_help_waits_for_no_torch() -> None:
    code = (
        "import sys\nfrom napari_recurrent_mz.cli import main\n"
        "try: main(['experiments', '--help'])\nexcept SystemExit: pass\n"
        "assert 'torch' not in sys.modules and 'pandas' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "--quick" in done.stdout


def test_a_foreign_table_is_told(tmp_path: Path) -> None:
    (tmp_path / "order.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match=r"'order.csv' is not a table written by"):
        read(tmp_path, "order")


def test_experiments_are_chosen_in_the_order_of_the_paper() -> None:
    assert [e.name for e in chosen(["speed", "worm"])] == ["worm", "speed"]
    assert chosen([]) == list(EXPERIMENTS)


# --- goals and the page -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("goal", "value", "verdict"),
    [
        (Goal(3, "dB"), 3.2, "met"),
        (Goal(3, "dB"), 2.58, "missed by 0.42 dB"),
        (Goal(2, "%", at_least=False), 1.9, "met"),
        (Goal(2, "%", at_least=False), 2.5, "missed by 0.5 %"),
        (Goal(2), float("nan"), "not measured"),
    ],
)
def test_verdicts(goal: Goal, value: float, verdict: str) -> None:
    assert Outcome("", "", goal=goal, value=value).verdict == verdict


def test_goals_as_words() -> None:
    assert Goal(34.4, "dB").words == "≥ 34.4 dB"
    assert Goal(5, "%", at_least=False).words == "≤ 5 %"
    assert Goal(1, text="falls").words == "falls"


def test_the_command_names_what_was_changed_and_no_folder() -> None:
    named = {"deep-z": "/here/mine.safetensors"}
    settings = Settings(
        samples=QUICK.samples, device="cpu", data=Path("/here/stacks"), weights=named
    )
    rest = "--weights deep-z=mine.safetensors --data stacks"
    assert settings.command(Settings()) == f"recurrent-mz experiments --samples 1 {rest}"
    words = replace(QUICK, samples=3, plane_sets=4).command(QUICK)
    assert words == "recurrent-mz experiments --quick --samples 3 --plane-sets 4"


# --- statistics ---------------------------------------------------------------------------


def test_gains_compare_the_same_planes() -> None:
    rows = [
        {"method": m, "sample": s, "z_um": z, "scans": 3, "psnr": p, "nrmse": 0, "ssim": 0,
         "rmse": 0}
        for m, s, z, p in (
            ("lmmse", 0, 1.0, 30.0), ("lmmse", 0, 2.0, 20.0), ("lmmse", 1, 1.0, 10.0),
            ("recurrent-mz", 1, 1.0, 10.5), ("recurrent-mz", 0, 2.0, 22.0),
            ("recurrent-mz", 0, 1.0, 29.0),
        )
    ]  # fmt: skip
    found = gains(pd.DataFrame(rows))
    ours = found[found.method == "recurrent-mz"]
    assert ours.gain.tolist() == [0.5, 2.0, -1.0]


def test_the_spread_over_orders_is_the_papers() -> None:
    """μ and σ of its equations, the standard deviation over all six and not of a sample."""
    rmse = np.random.default_rng(0).uniform(5, 9, 6)
    orders = ["123", "132", "213", "231", "312", "321"]
    table = pd.DataFrame({"method": "m", "sample": 0, "z_um": 4.6, "order": orders, "rmse": rmse})
    row = order_spread(table).loc[("m", 0, 4.6)]
    mu = rmse.sum() / 6
    sigma = np.sqrt(((rmse - mu) ** 2).sum() / 6)
    assert row["mean"] == pytest.approx(mu)
    assert row["std"] == pytest.approx(sigma)
    assert row["sorted"] == pytest.approx(rmse[0])


def test_the_spread_over_repetitions_of_the_papers_values() -> None:
    """12.30, 11.26 and 11.73 (Fig. 7): 1.04 of their mean 11.763."""
    paper = {"I1 × 1": 20.0, "I1 × 2": 12.30, "I1 × 4": 11.26, "I1 × 6": 11.73}
    assert repetition_spread(paper) == pytest.approx(100 * 1.04 / 11.7633, rel=1e-4)


def test_position_errors_as_a_ratio() -> None:
    """The paper's 5.94 against 5.03 is × 1.18, whatever the samples' own errors are."""
    rows = [
        {"error_in": "DPM", "z_um": 4.6, "sample": s, "sigma_um": sigma, "draw": d, "nrmse": v}
        for s, sigma, d, v in (
            (0, 0.0, 0, 5.03), (1, 0.0, 0, 10.06), (0, 1.0, 0, 5.64), (0, 1.0, 2, 6.24),
            (1, 1.0, 1, 11.58), (1, 1.0, 3, 12.18),
        )
    ]  # fmt: skip
    ratio = spacing.ratios(pd.DataFrame(rows))
    assert ratio["DPM", 1.0] == pytest.approx(5.94 / 5.03)
    assert ratio["DPM", 0.0] == 1.0


def test_random_spacings_are_those_of_the_figure() -> None:
    rng = np.random.default_rng(0)
    draws = np.array([spacing.random_heights(rng) for _ in range(300)])
    gaps = np.diff(draws, axis=1).ravel()
    assert np.all(draws[:, 0] == 3.0)
    assert stats.kstest(gaps, stats.uniform(4.0, 2.0).cdf).pvalue > 0.01


def test_random_planes_are_two_to_five() -> None:
    drawn = [real.random_planes(np.random.default_rng(n), 25) for n in range(200)]
    counts = np.array([len(planes) for planes in drawn])
    assert set(counts) == {2, 3, 4, 5}
    assert all(len(set(planes)) == len(planes) and planes == sorted(planes) for planes in drawn)
    everywhere = np.concatenate(drawn)
    assert everywhere.min() == 0
    assert everywhere.max() == 24


def test_the_check_takes_the_network_out_of_a_set() -> None:
    rows = [
        {"stack": "s", "planes": planes, "auto": auto, "method": m, "psnr": p}
        for planes, auto, m, p in (
            ("1 5", "lmmse", "recurrent-mz", 29.0), ("1 5", "lmmse", "lmmse", 30.0),
            ("2 6", "recurrent-mz", "recurrent-mz", 32.0), ("2 6", "recurrent-mz", "lmmse", 30.0),
        )
    ]  # fmt: skip
    found = real.set_gains(pd.DataFrame(rows))
    assert found["network"].tolist() == [-1.0, 2.0]
    assert found["auto"].tolist() == [0.0, 2.0]


def test_the_confocal_goal_takes_both_measures() -> None:
    """Ahead in PSNR and behind in SSIM is a miss."""
    rows = [
        {"case": "simulated 0", "method": m, "z_um": 1.0, "psnr": p, "ssim": s}
        for m, p, s in (
            ("wide-field stack", 20.0, 0.40), ("lmmse-plus", 22.0, 0.60),
            ("recurrent-mz-plus", 25.0, 0.55),
        )
    ]  # fmt: skip
    simulated, pair = BY_NAME["confocal"].outcomes(pd.DataFrame(rows))
    assert simulated.verdict == "missed: by 0.05 of SSIM"
    assert pair.verdict == "not measured"


def test_beads_are_paired_by_number_and_far_ones_told() -> None:
    rows = [
        {"sample": 0, "bead": b, "method": m, "z_um": z, "fwhm_um": w, "accepted": ok}
        for b, m, z, w, ok in (
            (0, "truth", 4.5, 0.30, True), (0, "lmmse", 4.5, 0.36, True),
            (1, "truth", 6.2, 0.31, True), (1, "lmmse", 6.2, 0.33, True),
            (2, "truth", 7.5, 0.32, True), (2, "lmmse", 7.5, 9.99, False),
            (3, "truth", 5.0, 0.50, False), (3, "lmmse", 5.0, 0.40, True),
        )
    ]  # fmt: skip
    both = bead_widths.paired(pd.DataFrame(rows), "lmmse")
    assert both[["truth", "test", "far"]].values.tolist() == [
        [0.30, 0.36, True],
        [0.31, 0.33, False],
    ]


def test_beads_too_few_are_not_judged() -> None:
    """Below the 88 beads of the paper the goals are missed, whatever the widths are."""
    rows = [
        {"sample": 0, "bead": b, "method": m, "z_um": 4.5, "fwhm_um": w + 0.001 * b,
         "accepted": True}
        for b in range(20)
        for m, w in (("truth", 0.30), ("recurrent-mz", 0.303))
    ]  # fmt: skip
    lines = list(BY_NAME["beads"].outcomes(pd.DataFrame(rows)))
    assert "(1.0 %), 20 of 20 beads" in lines[0].ours
    assert [line.verdict for line in lines] == 2 * ["missed: only 20 beads measured"]


# --- the lab ------------------------------------------------------------------------------


def small_lab(weights: Path) -> Lab:
    given = {"recurrent-mz": str(weights)}
    return Lab(Settings(size=32, z_step_um=0.6, weights=given, device="cpu"))


def blurred() -> HeldOutStack:
    rng = np.random.default_rng(2)
    stack = rng.gamma(2.0, 100.0, (9, 32, 32)).astype(np.float32)
    return HeldOutStack(stack, stack, 0.5 * np.arange(9), OPTICS)


def test_samples_follow_from_their_seed(weights: Path) -> None:
    options = {"optics": OPTICS, "depth_um": 3.0, "z_step_um": 1.0}
    one, two = (small_lab(weights).sample("nuclei", 1, **options) for _ in range(2))
    np.testing.assert_array_equal(one.seen, two.seen)
    other = small_lab(weights).sample("nuclei", 2, **options)
    assert not np.array_equal(one.truth, other.truth)
    # The truth is what the camera would show on average: their difference is noise.
    rest = one.seen - one.truth
    assert abs(rest.mean()) < 4 * rest.std() / np.sqrt(rest.size)


def test_an_unusual_order_is_the_order_of_the_scans(weights: Path) -> None:
    lab, held = small_lab(weights), blurred()
    scans = held.scans([0.5, 2.0, 3.5])
    turned = plane_of(lab.network(held, [scans[2], scans[0], scans[1]]), 1.5)
    same = plane_of(lab.network(held, scans), 1.5, order=[2, 0, 1])
    other = plane_of(lab.network(held, scans), 1.5)
    np.testing.assert_allclose(same, turned, atol=1e-3 * np.ptp(turned))
    assert np.abs(other - turned).max() > 1e-3 * np.ptp(turned)


def test_an_error_in_the_distances_reaches_the_network_alone(weights: Path) -> None:
    lab, held = small_lab(weights), blurred()
    network = lab.network(held, held.scans([0.5, 3.5]))
    right = plane_of(network, 1.5)
    np.testing.assert_array_equal(plane_of(network, 1.5, dpm_error_um=[0.0, 0.0]), right)
    wrong = plane_of(network, 1.5, dpm_error_um=[1.0, -1.0])
    stated = plane_of(lab.network(held, held.scans([0.5, 3.0])), 1.5)
    assert 0 < np.abs(wrong - right).max() < np.abs(stated - right).max()


def test_a_table_is_read_as_it_was_written(tmp_path: Path) -> None:
    number = BY_NAME["number"]
    rows = [
        {"method": "recurrent-mz", "sample": 0, "scans": m, "z_um": z, "psnr": 20.0 + m,
         "nrmse": 10.0 / m, "ssim": 0.5, "rmse": 9.0}
        for m in (1, 2, 3, 5)
        for z in (4.0, 5.0)
    ]  # fmt: skip
    write(tmp_path, number, pd.DataFrame(rows), {}, {"command": "c", "µ": 1})
    record = read(tmp_path, "number")
    assert record.header == {"command": "c", "µ": 1}
    assert record.table.nrmse.tolist() == pytest.approx([r["nrmse"] for r in rows], rel=1e-5)
    (line,) = number.outcomes(record.table)
    assert line.ours.startswith("10.00, 5.00, 3.33, 2.00")
    assert line.verdict == "met"
