"""From scans to planes: units, order, tiles, cancel, memory, provenance, warnings."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from napari_recurrent_mz import Optics, Scan, ZGrid, load_model, reconstruct
from napari_recurrent_mz.core.device import Device, available_cores, choose_device
from napari_recurrent_mz.core.methods import ERROR_IMAGE, METHODS, method_of
from napari_recurrent_mz.core.scans import InputError
from napari_recurrent_mz.engine import tiles as tiles_module
from napari_recurrent_mz.engine.check import (
    NETWORK,
    OwnSampleCheck,
    range_warnings,
)
from napari_recurrent_mz.engine.cost import Cost, estimate_cost, time_of_all
from napari_recurrent_mz.engine.inference import Plane, iter_planes, notes_before
from napari_recurrent_mz.engine.provenance import methods_paragraph, provenance
from napari_recurrent_mz.engine.recipe import HeightMap, Recipe
from napari_recurrent_mz.engine.tiles import NetworkPlanes, tiles
from napari_recurrent_mz.estimates.lmmse import LinearEstimate
from napari_recurrent_mz.networks.inputs import NetworkInputs, Prepared, Scale
from napari_recurrent_mz.networks.recurrent_mz import NetworkConfig, RecurrentMZ
from napari_recurrent_mz.networks.runner import Memory, Runner, overlap_of
from napari_recurrent_mz.networks.weights import Model, bundled_models

OPTICS = Optics(na=1.4, wavelength_um=0.519, immersion_index=1.515, pixel_um=0.13)
GRID = ZGrid(0, 6, 1)
CPU = choose_device("cpu")


def blobs(size: tuple[int, int], seed: int) -> np.ndarray:
    """Camera counts of a smooth random field, offset 100."""
    rng = np.random.default_rng(seed)
    y, x = np.indices(size)
    image = np.full(size, 100.0)
    for _ in range(size[0] * size[1] // 400):
        cy, cx, w = rng.uniform(0, size[0]), rng.uniform(0, size[1]), rng.uniform(2, 8)
        image += rng.uniform(50, 500) * np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / (2 * w**2))
    return image + rng.normal(0, 2, size)


@pytest.fixture(scope="module")
def scans() -> list[Scan]:
    return [Scan(blobs((80, 96), n), z, f"scan {n}") for n, z in enumerate((1.0, 3.0, 5.0))]


READY = [key for key in METHODS if method_of(key).weights in (None, *bundled_models())]


@pytest.mark.parametrize("method", READY)
@pytest.mark.filterwarnings("ignore:No points were found|The points found")
def test_every_method_returns_the_inputs_units(scans: list[Scan], method: str) -> None:
    volume = reconstruct(scans, GRID, optics=OPTICS, method=method)
    assert volume.shape == (7, 80, 96)
    assert volume.dtype == np.float32
    assert np.isfinite(volume).all()
    if method_of(method).target == "confocal":  # dark where the scans are, and of other contrast
        assert abs(float(np.median(volume)) - 100) < 400
        assert not np.array_equal(volume[3], scans[1].pixels)
        return
    for index, scan in ((1, scans[0]), (3, scans[1]), (5, scans[2])):
        np.testing.assert_array_equal(volume[index], scan.pixels)
    level = np.mean([scan.pixels.mean() for scan in scans])
    assert volume[2].mean() == pytest.approx(level, rel=0.2)


@pytest.mark.parametrize(("gain", "offset"), [(7.5, 1000.0), (1e-3, -2.0)])
def test_the_result_follows_gain_and_offset(scans: list[Scan], gain: float, offset: float) -> None:
    """Another camera's counts give the same volume in those counts."""
    other = [Scan(scan.pixels * gain + offset, scan.z_um) for scan in scans]
    model, options = load_model(), {"reach_um": (0.0, 6.0), "on_message": print, "half": False}
    one = NetworkPlanes(scans, OPTICS, model, CPU, **options).plane(2.0)
    two = NetworkPlanes(other, OPTICS, model, CPU, **options).plane(2.0)
    np.testing.assert_allclose((two - offset) / gain, one, atol=2e-3 * np.ptp(one))


def test_planes_come_in_the_order_wanted(scans: list[Scan]) -> None:
    planes = list(iter_planes(scans, GRID, optics=OPTICS, method="lmmse", order=[4, 1, 0]))
    assert [(p.index, p.z_um, p.measured) for p in planes] == [
        (4, 4.0, False),
        (1, 1.0, True),
        (0, 0.0, False),
    ]


def test_scans_may_come_in_any_order(scans: list[Scan]) -> None:
    forward = reconstruct(scans, GRID, optics=OPTICS, method="lmmse")
    backward = reconstruct(scans[::-1], GRID, optics=OPTICS, method="lmmse")
    np.testing.assert_allclose(forward, backward, atol=1e-3)


def test_stopping_ends_between_tiles(scans: list[Scan]) -> None:
    asked, limit = 0, 4

    def stopped() -> bool:
        nonlocal asked
        asked += 1
        return asked > limit

    # The question is asked within a plane too: while what comes before it is fitted …
    assert list(iter_planes(scans, GRID, optics=OPTICS, stopped=stopped)) == []
    assert asked == limit + 1
    asked, limit = 0, 10**6
    planes = iter_planes(scans, GRID, optics=OPTICS, stopped=stopped)
    assert isinstance(next(planes), Plane)
    limit = asked  # … and before the next one.
    assert list(planes) == []


def test_tiles_cover_every_pixel_once() -> None:
    for shape in ((64, 64), (300, 517), (129, 1000)):
        covered = np.zeros(shape, int)
        for tile in tiles(shape, 256, 64):
            covered[tile.write] += 1
            read = np.empty(shape)[tile.read]
            assert read.size <= 256**2
            assert read[tile.keep].shape == covered[tile.write].shape
            assert all(s.start % 16 == 0 for s in tile.read)
        assert (covered == 1).all()


def test_half_precision_costs_little(scans: list[Scan]) -> None:
    options = {"reach_um": (0.0, 6.0), "on_message": print}
    exact = NetworkPlanes(scans, OPTICS, load_model(), CPU, half=False, **options).plane(2.0)
    half = NetworkPlanes(scans, OPTICS, load_model(), CPU, half=True, **options).plane(2.0)
    error = np.sqrt(np.mean((half - exact) ** 2)) / np.ptp(exact)
    assert 20 * np.log10(1 / error) > 50


def test_out_of_memory_goes_on_with_smaller_tiles(
    scans: list[Scan], monkeypatch: pytest.MonkeyPatch
) -> None:
    messages: list[str] = []
    big = [Scan(blobs((300, 280), n), 2.0 * n) for n in range(2)]
    near = RecurrentMZ(NetworkConfig(base_channels=4, levels=2)).eval()  # sees a few pixels
    maker = NetworkPlanes(
        big, OPTICS, Model("near", "near", {}, near), CPU,
        reach_um=(0.0, 2.0), on_message=messages.append,
    )  # fmt: skip
    expected = maker.plane(1.0)
    run = Runner.__call__

    def short_of_memory(self: Runner, parts: Prepared) -> torch.Tensor:
        if parts.scans[0, 0, 0].numel() > 200**2:
            raise torch.OutOfMemoryError("no more")
        return run(self, parts)

    monkeypatch.setattr(Runner, "__call__", short_of_memory)
    found = maker.plane(1.0)
    assert np.abs(found - expected).max() < 0.02 * np.ptp(expected)
    assert messages == [f"{CPU.name} ran out of memory: going on with tiles of 150 pixels."]


def test_no_memory_at_all_is_told_in_a_sentence(
    scans: list[Scan], monkeypatch: pytest.MonkeyPatch
) -> None:
    maker = NetworkPlanes(
        scans, OPTICS, load_model(), CPU, reach_um=(0.0, 6.0), on_message=lambda _: None
    )

    def never(*_args: object) -> torch.Tensor:
        raise torch.OutOfMemoryError("no more")

    overlap_of(maker.model)  # is tried on a small image, for which there is memory
    monkeypatch.setattr(Runner, "__call__", never)
    with pytest.raises(MemoryError, match="crop the scans"):
        maker.plane(2.0)


def test_the_networks_distance_is_signed_and_in_depths_of_field(scans: list[Scan]) -> None:
    config = NetworkConfig(dpm_unit_dof=10)
    prepared = NetworkInputs(scans, OPTICS, config).at(2.0)
    expected = (2.0 - np.array([1.0, 3.0, 5.0])) / (10 * OPTICS.depth_of_field_um)
    dpm = prepared.scans[0, :, 1]
    np.testing.assert_allclose(dpm[:, 0, 0], expected, rtol=1e-6)
    assert float(dpm.std(dim=(1, 2)).max()) == 0


def test_little_is_left_to_correct_near_a_scan(scans: list[Scan]) -> None:
    inputs = NetworkInputs(scans, OPTICS, NetworkConfig())
    near, middle = (float(inputs.at(z).unit.mean()) for z in (3.02, 4.0))
    assert near < 0.5 * middle


def test_provenance_says_how(scans: list[Scan]) -> None:
    model = load_model()
    told = provenance(
        scans, GRID, optics=OPTICS, method="recurrent-mz", model=model, device=CPU, seconds=1.5
    )
    assert json.loads(json.dumps(told)) == told
    assert told["model"] == {"name": model.name, "sha256": model.sha256}
    assert told["measured_planes"] == [1, 3, 5]
    assert told["inferred_planes"] == 4
    assert told["optics"] == OPTICS.as_dict()
    assert [scan["z_um"] for scan in told["scans"]] == [1.0, 3.0, 5.0]
    errors = LinearEstimate(scans, OPTICS).expected_error(GRID.z_um)
    np.testing.assert_allclose(told["expected_error"], errors, atol=1e-4)
    text = methods_paragraph(told)
    assert "from 3 wide-field images at z = 1, 3 and 5 µm by the neural network" in text
    assert model.sha256[:16] in text
    assert f"an NA of {OPTICS.na:g}" in text
    with pytest.raises(InputError, match="does not say all that it takes"):
        methods_paragraph({"state": "running"})
    with pytest.raises(InputError, match="choose the volume itself"):
        methods_paragraph(told | {"image": ERROR_IMAGE})


@pytest.mark.parametrize(
    ("method", "grid", "words", "missing"),
    [
        ("lmmse", ZGrid(1, 5, 2), ["All planes are images, and none is inferred."], ["other"]),
        ("linear", ZGrid(2, 2, 1), ["A plane at z = 2 µm was", "It is inferred."], ["NA of"]),
        ("richardson-lucy", ZGrid(2, 4, 1), ["Richardson–Lucy", "3 planes, 1 is an"], ["network"]),
        ("lmmse", ZGrid(2, 4, 2), ["by linear MMSE", "All planes are inferred."], ["network"]),
    ],
)  # fmt: skip
def test_how_a_volume_was_made_in_the_words_of_a_paper(
    scans: list[Scan], method: str, grid: ZGrid, words: list[str], missing: list[str]
) -> None:
    record = Recipe(scans, grid, OPTICS, method).provenance(CPU, 1.0)
    text = methods_paragraph(record)
    assert all(some in text for some in words)
    assert not any(some in text for some in missing)
    repaired = [{**scan, "acquired": {"repaired": [{"task": "shift"}]}} for scan in record["scans"]]
    again = methods_paragraph(record | {"scans": repaired})
    assert "Beforehand, a lateral shift was undone in 3 images" in again
    assert "as measured" not in again


@pytest.mark.parametrize(
    ("change", "z_um", "words"),
    [
        ({}, (0.0, 3.0, 6.0), None),
        ({"na": 0.3, "immersion_index": 1.0}, (0.0, 3.0, 6.0), "the NA 0.3"),
        ({"wavelength_um": 0.9}, (0.0, 3.0, 6.0), "the wavelength 0.9 µm"),
        ({"pixel_um": 1.2}, (0.0, 3.0, 6.0), "the finest detail needs"),
        ({}, (0.0, 20.0), "a gap of 20.0 µm between scans"),
        ({}, tuple(0.5 * n for n in range(9)), None),  # no harm was seen up to nine
        ({}, tuple(0.5 * n for n in range(10)), "not trained for 10 scans"),
    ],
)
def test_outside_of_the_trained_range_is_said(
    change: dict[str, float], z_um: tuple[float, ...], words: str | None
) -> None:
    found = range_warnings(z_um, replace(OPTICS, **change), load_model())
    if words is None:
        assert found == []
    else:
        assert any(words in sentence for sentence in found)


@pytest.mark.parametrize(
    ("model", "kind"), [("recurrent-mz", None), ("recurrent-mz-worm", "worm"), ("unet-3d", None)]
)
def test_a_network_for_one_kind_of_sample_says_so(model: str, kind: str | None) -> None:
    """No scan can show it, and on another kind it may be worse than the linear estimate."""
    scans = [Scan(blobs((48, 48), n), 3.0 + 6 * n) for n in range(3)]
    notes = notes_before(Recipe(scans, ZGrid(3, 15, 1), OPTICS, model=load_model(model)))
    said = [note for note in notes if "one kind of sample alone" in note]
    assert len(said) == (kind is not None)
    assert kind is None or (f"'{model}'" in said[0] and f"({kind})" in said[0])


@pytest.mark.parametrize("method", READY)
@pytest.mark.filterwarnings("ignore:No points were found|The points found")
def test_a_grid_that_leaves_the_scans_is_told_or_refused(method: str) -> None:
    """By every method; heights of a stage near 5 mm and a grid that begins at 0 are the example."""
    pair = [Scan(blobs((48, 48), n), 5000.0 + 3 * n) for n in range(2)]
    with pytest.raises(InputError, match=r"The grid \(0 to 6 µm\) lies 4994 µm away"):
        reconstruct(pair, ZGrid(0, 6, 3), optics=OPTICS, method=method)
    far = [Scan(scan.image, 1e3 * n) for n, scan in enumerate(pair, 1)]  # in nm
    with pytest.raises(InputError, match=r"1000 and 2000 µm are .* depths of field apart"):
        reconstruct(far, ZGrid(1000, 2000, 10), optics=OPTICS, method=method)
    with pytest.warns(UserWarning, match=r"4\.0 µm beyond the outer scans \(5000 to 5003") as told:
        volume = reconstruct(pair, ZGrid(5000, 5007, 7), optics=OPTICS, method=method)
    assert told[0].filename == __file__  # it points at who asked
    assert np.isfinite(volume).all()


def test_a_confocal_like_volume_has_no_measured_plane_and_says_what_it_is(
    scans: list[Scan],
) -> None:
    planes = list(iter_planes(scans, GRID, optics=OPTICS, method="lmmse-plus", order=[1, 2]))
    assert [plane.measured for plane in planes] == [False, False]
    told = provenance(
        scans, GRID, optics=OPTICS, method="lmmse-plus", model=None, device="cpu", seconds=1.0
    )
    assert told["image"].startswith("confocal-like")
    assert told["measured_planes"] == []
    assert told["inferred_planes"] == len(GRID)


def test_a_widefield_model_is_no_recurrent_mz_plus(scans: list[Scan]) -> None:
    with pytest.raises(InputError, match="makes wide-field images"):
        list(
            iter_planes(scans, GRID, optics=OPTICS, method="recurrent-mz-plus", model=load_model())
        )


def test_a_model_decides_what_is_made(scans: list[Scan]) -> None:
    network = RecurrentMZ(NetworkConfig(base_channels=4, norm="none", target="confocal")).eval()
    plus = replace(load_model(), network=network)
    (plane,) = iter_planes(
        scans, GRID, optics=OPTICS, method="recurrent-mz", model=plus, order=[3], device="cpu"
    )
    (linear,) = iter_planes(scans, GRID, optics=OPTICS, method="lmmse-plus", order=[3])
    assert not plane.measured
    np.testing.assert_allclose(plane.pixels, linear.pixels, rtol=0.01, atol=1.0)


def test_cost_grows_with_planes_and_scans() -> None:
    device = Device("cpu", "some other CPU", half=False)
    one, two, three = (
        estimate_cost((512, 512), 2, planes, "recurrent-mz", device) for planes in (10, 20, 30)
    )
    more = estimate_cost((512, 512), 4, 10, "recurrent-mz", device)
    a_plane = (two.seconds - one.seconds) / 10
    assert three.seconds - two.seconds == pytest.approx(10 * a_plane)
    assert one.seconds > 10 * a_plane  # the object is fitted once
    assert one.megabytes == pytest.approx(512 * 512 * 10 * 4 / 1e6)
    assert more.seconds > one.seconds + 5 * a_plane


@pytest.mark.parametrize(
    ("method", "side", "scans", "taken_mb"),  # VmHWM of a fresh process, less what it had before
    [
        ("auto", 512, 3, 372),
        ("recurrent-mz", 512, 3, 360),
        ("recurrent-mz", 512, 6, 596),
        ("recurrent-mz", 1024, 3, 866),
        ("recurrent-mz", 1024, 6, 1039),
        ("auto", 1024, 3, 910),
        ("lmmse", 512, 3, 90),
        ("lmmse", 1024, 3, 87),
        ("points", 256, 3, 100),
        ("points", 512, 3, 182),
        ("points", 512, 6, 369),
        ("points", 1024, 3, 619),
    ],
)
def test_memory_while_computing_is_about_what_was_measured(
    method: str, side: int, scans: int, taken_mb: float
) -> None:
    cpu = Device("cpu", "some CPU", half=False)
    cost = estimate_cost((side, side), scans, 10, method, cpu)
    assert cost.computing_megabytes == pytest.approx(taken_mb, rel=0.3)
    on_gpu = replace(cpu, kind="cuda")  # whose memory is another one
    assert estimate_cost((side, side), scans, 10, method, on_gpu).computing_megabytes is None


def test_points_take_the_longer_the_farther_apart_scans_are() -> None:
    """Of 3 scans of 512² pixels 2.5 and 5 µm apart: 43 and 71 s were measured on one core."""
    cpu, cores = Device("cpu", "some CPU", half=False), available_cores()
    optics = Optics(na=1.4, wavelength_um=0.55, immersion_index=1.518, pixel_um=0.1)
    for gap_um, seconds in ((2.5, 43.0), (5.0, 71.0)):
        z_um = gap_um * np.arange(3)
        cost = estimate_cost((512, 512), 3, 1, "points", cpu, optics=optics, scan_z_um=z_um)
        assert cost.seconds * cores == pytest.approx(seconds, rel=0.7)
    roughly = estimate_cost((512, 512), 3, 1, "points", cpu)
    assert roughly.seconds < cost.seconds


def test_the_expected_time_follows_the_planes_before_without_the_first(
    scans: list[Scan], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiles_module, "_pace", {})
    model, device = load_model(), choose_device("cpu")

    own, large = scans[0].pixels.shape, (256, 256)

    def expected(shape: tuple[int, int], planes: int = 1, method: str = "recurrent-mz") -> Cost:
        return estimate_cost(shape, len(scans), planes, method, device)

    def of_a_plane(shape: tuple[int, int]) -> float:
        return expected(shape, 2).seconds - expected(shape).seconds

    counted, of_large = of_a_plane(own), of_a_plane(large)
    assert expected(own).start_seconds > 1 > expected(own, method="lmmse").start_seconds
    maker = NetworkPlanes(scans, OPTICS, model, device, reach_um=(0, 1), on_message=print)
    maker._remember_pace(1, 100 * counted)  # in which the scans were prepared
    assert of_a_plane(own) == pytest.approx(counted)
    assert expected(own).start_seconds == 0
    for _ in range(20):
        maker._remember_pace(1, 3 * counted)
    assert of_a_plane(own) == pytest.approx(3 * counted, rel=0.01)
    assert of_a_plane(large) == pytest.approx(of_large)  # which small images say little of


@pytest.mark.parametrize(
    ("side", "scans", "seconds"),  # of the check alone, processor time of one core
    [(128, 3, 1.0), (256, 3, 0.9), (256, 5, 3.2), (512, 5, 5.9), (1024, 3, 4.3), (1024, 5, 19.8)],
)
def test_the_expected_time_of_auto_counts_the_check(side: int, scans: int, seconds: float) -> None:
    """Whose prediction is wrong by less than a factor of three on any number of cores up to two."""
    cpu, shape = Device("cpu", "another CPU", half=True), (side, side)
    auto, network, linear = (
        estimate_cost(shape, scans, 10, method, cpu) for method in ("auto", "recurrent-mz", "lmmse")
    )
    check = auto.seconds - network.seconds
    assert seconds / 2 / 3 < check < 3 * seconds
    assert auto.least_seconds == pytest.approx(check + linear.seconds)


def test_what_auto_makes_of_two_scans_is_known_before() -> None:
    cpu = Device("cpu", "another CPU", half=True)

    def seconds(method: str, gap_um: float) -> float:
        z_um = (0.0, gap_um)
        cost = estimate_cost((256, 256), 2, 10, method, cpu, optics=OPTICS, scan_z_um=z_um)
        assert cost.least_seconds is None
        return cost.seconds

    assert seconds("auto", 2.0) == seconds("recurrent-mz", 2.0)
    assert seconds("auto", 40.0) == seconds("lmmse", 40.0)  # no network was trained for that


def test_the_time_of_many_volumes_has_one_start() -> None:
    one = Cost(1.0, 10.0, start_seconds=2.0)
    either = Cost(1.0, 20.0, least_seconds=5.0, start_seconds=2.0)
    assert one.time_in_words(3) == "about 32 s"
    assert either.time_in_words(2) == "12 to 42 s"
    assert time_of_all([(one, 3), (either, 2)]) == "42 to 72 s"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"method": "magic"}, "unknown"),
        ({"optics": None}, "needs the optics"),
        ({"device": "abacus"}, "unknown"),
    ],
)
def test_mistakes_come_before_the_first_plane(
    scans: list[Scan], options: dict[str, object], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        iter_planes(scans, GRID, **{"optics": OPTICS, **options})  # type: ignore[arg-type]
    with pytest.raises(InputError, match="One scan only"):
        iter_planes(scans[:1], GRID, optics=OPTICS)


def pretend_gpu(monkeypatch: pytest.MonkeyPatch) -> Device:
    """A device that is treated as a CUDA GPU and computes on the CPU, in single precision."""
    device = replace(CPU, kind="cuda", half=False)
    monkeypatch.setattr(Device, "torch", torch.device("cpu"))
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    return device


def test_a_gpu_makes_several_planes_at_once(
    scans: list[Scan], monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    run = Runner.__call__

    def note(self: Runner, parts: Prepared) -> torch.Tensor:
        sizes.append(len(parts.linear))
        return run(self, parts)

    options: dict[str, Any] = {"reach_um": (0.0, 6.0), "on_message": print, "half": False}
    heights = [0.5, 1.5, 2.0, 2.5, 3.5, 4.0, 4.5]
    one = NetworkPlanes(scans, OPTICS, load_model(), CPU, **options)
    expected = [one.plane(z) for z in heights]
    maker = NetworkPlanes(scans, OPTICS, load_model(), pretend_gpu(monkeypatch), **options)
    monkeypatch.setattr(Runner, "__call__", note)
    made = list(maker.planes(heights))
    assert sizes == [1, 4, 2], "the first alone, so that it is soon there"
    assert np.abs(np.array(made) - expected).max() < 1e-5 * np.ptp(expected)


def test_a_gpu_remembers_each_of_the_planes_that_it_makes_together(
    scans: list[Scan], monkeypatch: pytest.MonkeyPatch
) -> None:
    scale = Scale.of(np.stack([scan.pixels for scan in scans]))
    options: dict[str, Any] = {
        "reach_um": (0.0, 6.0), "on_message": print, "half": False, "scale": scale
    }  # fmt: skip
    heights = [0.5, 1.5, 2.0, 2.5, 3.5, 4.0]
    one = NetworkPlanes(scans, OPTICS, load_model(), CPU, **options)
    expected = np.array([one.plane(z) for z in heights])
    gpu = pretend_gpu(monkeypatch)
    memories = {z: Memory(torch.device("cpu")) for z in heights}
    first = NetworkPlanes(scans[:2], OPTICS, load_model(), gpu, **options)
    assert len(list(first.requested(memories.items()))) == len(heights)
    assert {memory.entered for memory in memories.values()} == {2}
    places = {h.data_ptr() for memory in memories.values() for h in memory.windows[0]}
    assert len(places) == len(heights) * len(memories[0.5].windows[0]), "each has its own"
    memories[2.0].forget()  # it has to see all scans, between others that have seen two
    second = NetworkPlanes(scans, OPTICS, load_model(), gpu, **options)
    made = np.array(list(second.requested(memories.items())))
    assert np.abs(made - expected).max() < 1e-5 * np.ptp(expected)
    assert {memory.entered for memory in memories.values()} == {len(scans)}


def test_a_gpu_short_of_memory_makes_fewer_planes_at_once(
    scans: list[Scan], monkeypatch: pytest.MonkeyPatch
) -> None:
    messages: list[str] = []
    run = Runner.__call__

    def short(self: Runner, parts: Prepared) -> torch.Tensor:
        if len(parts.linear) > 1:
            raise torch.OutOfMemoryError("no more")
        return run(self, parts)

    options: dict[str, Any] = {"reach_um": (0.0, 6.0), "half": False}
    maker = NetworkPlanes(
        scans, OPTICS, load_model(), pretend_gpu(monkeypatch), on_message=messages.append, **options
    )
    monkeypatch.setattr(Runner, "__call__", short)
    heights = [0.5, 1.5, 2.0]
    expected = [maker.plane(z) for z in heights]
    assert np.abs(np.array(list(maker.planes(heights))) - expected).max() < 1e-5 * np.ptp(expected)
    assert not messages, "nothing that a person notices"


def test_features_beyond_half_precision_are_made_in_single(
    scans: list[Scan], monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"reach_um": (0.0, 6.0), "on_message": print}
    exact = NetworkPlanes(scans, OPTICS, load_model(), CPU, half=False, **options).plane(2.0)
    run = Runner.__call__

    def overflowing(self: Runner, parts: Prepared) -> torch.Tensor:
        made = run(self, parts)
        return made * float("inf") if self.form.half else made

    maker = NetworkPlanes(scans, OPTICS, load_model(), CPU, half=True, **options)
    monkeypatch.setattr(Runner, "__call__", overflowing)
    assert np.abs(maker.plane(2.0) - exact).max() < 1e-5 * np.ptp(exact)


def test_memory_kept_for_the_next_plane_is_given_back(
    scans: list[Scan], monkeypatch: pytest.MonkeyPatch
) -> None:
    given_back: list[NetworkPlanes] = []
    release = NetworkPlanes.release

    def note(self: NetworkPlanes) -> None:
        given_back.append(self)
        release(self)

    monkeypatch.setattr(NetworkPlanes, "release", note)
    planes = iter_planes(scans, GRID, optics=OPTICS, method="recurrent-mz", device="cpu")
    next(planes)
    assert not given_back
    planes.close()
    assert len(given_back) == 1
    checks: list[OwnSampleCheck] = []
    options: dict[str, Any] = {"method": "auto", "device": "cpu", "on_check": checks.append}
    list(iter_planes(scans, GRID, optics=OPTICS, **options))
    networks = int(checks[0].chosen == NETWORK)  # linear MMSE, if it was chosen, keeps nothing
    assert len(given_back) == 1 + networks


def test_the_methods_text_of_a_surface(scans: list[Scan]) -> None:
    heights = np.linspace(1.0, 4.0, scans[0].pixels.size).reshape(scans[0].pixels.shape)
    target = HeightMap(heights, "plane through points")
    text = methods_paragraph(Recipe(scans, target, OPTICS, "lmmse").provenance(CPU, 1.0))
    assert text.startswith(
        "The image of a surface, whose heights (plane through points) go from 1 to 4 µm, was "
        "reconstructed from 3 wide-field images at z = 1, 3 and 5 µm by linear MMSE"
    )
    assert "of an image; the others are inferred." in text
