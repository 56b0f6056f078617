"""napari opens and saves files through this plugin: the same again to the bit, in µm."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from napari.components import ViewerModel
from napari.layers import Image
from npe2 import PluginManager

from files import STACK, heights, write_ome
from makers import PIXELS, needs_readers, write_czi
from napari_recurrent_mz import Optics, Scan, Session, ZGrid
from napari_recurrent_mz.core.scans import InputError
from napari_recurrent_mz.docks.files import reader as _reader
from napari_recurrent_mz.docks.files.reader import get_reader
from napari_recurrent_mz.docks.shared.layers import METADATA_KEY
from napari_recurrent_mz.engine.session import save
from napari_recurrent_mz.io import read_heights, read_image, write_surface, write_volume

pytestmark = pytest.mark.usefixtures("manager")

PLUGIN = "napari-recurrent-mz"
ENDINGS = (".ome.tif", ".ome.zarr")
TYPES = ("uint8", "uint16", "int16", "uint32", "int32", "float32", "float64", "bool")
IN_UM: dict[str, Any] = {
    "scale": (0.3, 0.103, 0.103),
    "translate": (2.0, 10.0, -3.5),
    "units": ("um",) * 3,
    "axis_labels": ("z", "y", "x"),
}
RECORD = {"method": "lmmse", "scans": [{"name": "a \"<&>' µ.tif", "z_um": 3.5}]}


@pytest.fixture
def viewer() -> ViewerModel:
    return ViewerModel()


def opened(viewer: ViewerModel, path: Path | str) -> list[Image]:
    viewer.layers.clear()
    return viewer.open(str(path), plugin=PLUGIN)


def again(viewer: ViewerModel, path: Path, *layers: Image) -> list[Image]:
    """Saved and opened as napari does it, by the ending of the name alone."""
    viewer.layers.clear()
    viewer.layers.extend(layers)
    assert viewer.layers.save(str(path)) == [str(path)]
    return opened(viewer, path)


def assert_same(found: Image, wanted: Image) -> None:
    """Pixels to the bit, and where they are."""
    pixels = np.asarray(found.data[0] if found.multiscale else found.data)
    assert pixels.dtype == np.asarray(wanted.data).dtype
    np.testing.assert_array_equal(pixels, wanted.data)
    np.testing.assert_allclose(found.scale, wanted.scale, rtol=1e-12)
    np.testing.assert_allclose(found.translate, wanted.translate, rtol=1e-12, atol=1e-12)
    assert [str(unit) for unit in found.units] == [str(unit) for unit in wanted.units]
    assert found.axis_labels == wanted.axis_labels


@pytest.mark.parametrize("pixel_um", [0.065, 0.13, 0.3])
def test_the_slider_meets_the_heights_of_single_scans(
    viewer: ViewerModel, tmp_path: Path, pixel_um: float
) -> None:
    size = {f"PhysicalSize{axis}": pixel_um for axis in "XY"}
    for z_um in (2.5, 6.1):
        path = tmp_path / f"scan_z{z_um}um.ome.tif"
        tifffile.imwrite(path, STACK[0], ome=True, metadata={"axes": "YX", **size})
        viewer.open(str(path), plugin=PLUGIN)
    low, high, step = viewer.dims.range[0]
    assert (low, high) == pytest.approx((2.5, 6.1))
    assert step <= pixel_um  # so that one scan does not hide another
    assert (high - low) / step == pytest.approx(round((high - low) / step))


def a_layer(rng: np.random.Generator) -> Image:
    """An image in µm of any type, size, place and number of planes."""
    shape = tuple(int(n) for n in rng.integers(1, 12, rng.integers(2, 4)))
    kind = np.dtype(str(rng.choice(TYPES)))
    if kind.kind == "f":
        pixels = (rng.normal(0, 1, shape) * 10.0 ** rng.integers(-6, 6)).astype(kind)
    elif kind.kind == "b":
        pixels = rng.random(shape) < 0.5
    else:
        limits = np.iinfo(kind)
        pixels = rng.integers(limits.min, limits.max, shape, dtype=kind, endpoint=True)
    pixel, step = float(rng.uniform(0.01, 5)), float(rng.uniform(0.01, 20))
    return Image(
        pixels,
        contrast_limits=(0, 1),
        scale=(step, pixel, pixel)[-len(shape) :],
        translate=rng.uniform(-5000, 5000, 3)[-len(shape) :],
        units=("um",) * len(shape),
        axis_labels=("z", "y", "x")[-len(shape) :],
    )


# --- saved and opened again -------------------------------------------------------------------


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_is_saved_opens_the_same(viewer: ViewerModel, tmp_path: Path, ending: str) -> None:
    rng = np.random.default_rng(18)
    for number in range(40):
        layer = a_layer(rng)
        assert_same(again(viewer, tmp_path / f"{number}{ending}", layer)[0], layer)


@pytest.mark.parametrize("ending", ENDINGS)
def test_how_it_was_made_and_its_optics_come_back(
    viewer: ViewerModel, tmp_path: Path, ending: str
) -> None:
    known = {**RECORD, "na": 1.2, "wavelength_um": 0.519, "immersion_index": 1.33}
    layer = Image(STACK, metadata={METADATA_KEY: known}, **IN_UM)
    found = again(viewer, tmp_path / f"v{ending}", layer)[0]
    found = again(viewer, tmp_path / f"w{ending}", found)[0]  # and once more
    assert known.items() <= found.metadata[METADATA_KEY].items()
    assert found.name == f"w{ending}"
    image = read_image(tmp_path / f"w{ending}")
    assert (image.na, image.wavelength_um, image.immersion_index) == (1.2, 0.519, 1.33)
    np.testing.assert_allclose(image.z_um, 2 + 0.3 * np.arange(5))
    assert image.pixel_um == 0.103


@pytest.mark.parametrize("ending", ENDINGS)
def test_several_layers_become_channels(viewer: ViewerModel, tmp_path: Path, ending: str) -> None:
    first = Image(STACK, name="DAPI µ", metadata={METADATA_KEY: {"na": 1.4}}, **IN_UM)
    second = Image(STACK[::-1], name="FITC", metadata={METADATA_KEY: RECORD}, **IN_UM)
    found = again(viewer, tmp_path / f"v{ending}", first, second)
    assert [layer.name for layer in found] == ["DAPI µ", "FITC"]
    for one, wanted in zip(found, (first, second), strict=True):
        assert_same(one, wanted)
    assert found[0].metadata[METADATA_KEY]["na"] == 1.4
    assert "na" not in found[1].metadata[METADATA_KEY]
    assert found[1].metadata[METADATA_KEY]["scans"] == RECORD["scans"]
    assert found[0].colormap.name != found[1].colormap.name


@pytest.mark.parametrize("ending", ENDINGS)
def test_pixels_without_size_stay_without(viewer: ViewerModel, tmp_path: Path, ending: str) -> None:
    layer = Image(STACK, axis_labels=("z", "y", "x"))
    assert_same(again(viewer, tmp_path / f"v{ending}", layer)[0], layer)
    assert read_image(tmp_path / f"v{ending}").pixel_um is None


@pytest.mark.parametrize("ending", ENDINGS)
def test_other_units_of_length_become_micrometres(
    viewer: ViewerModel, tmp_path: Path, ending: str
) -> None:
    in_nm = Image(STACK, scale=(300, 103, 103), translate=(2000, 0, 0), units=("nm",) * 3)
    found = again(viewer, tmp_path / f"v{ending}", in_nm)[0]
    np.testing.assert_allclose(found.scale, (0.3, 0.103, 0.103))
    np.testing.assert_allclose(found.translate, (2, 0, 0))
    assert {str(unit) for unit in found.units} == {"micrometer"}


def test_a_large_volume_is_written_from_its_levels(viewer: ViewerModel, tmp_path: Path) -> None:
    """A layer of several levels, as a volume on the disk is shown."""
    fine = np.arange(2 * 1100 * 1030, dtype=np.float32).reshape(2, 1100, 1030)
    layer = Image([fine, fine[:, ::2, ::2]], contrast_limits=(0, 1), **IN_UM)
    found = again(viewer, tmp_path / "v.ome.zarr", layer)[0]
    assert [level.shape[1:] for level in found.data] == [(1100, 1030), (550, 515)]
    np.testing.assert_array_equal(found.data[0], fine)
    np.testing.assert_array_equal(found.data[1][0, 0, 0], fine[0, :2, :2].mean())


def test_uneven_heights_are_kept_and_no_zarr_can_hold_them(
    viewer: ViewerModel, tmp_path: Path
) -> None:
    path = write_ome(tmp_path / "a.ome.tif", **heights([18, 20, 23.5, 24, 30], None))
    with pytest.warns(UserWarning, match=r"apart, but .* is 0.4 µm. The heights were taken"):
        layer = opened(viewer, path)[0]
    found = again(viewer, tmp_path / "b.ome.tif", layer)[0]
    assert found.metadata[METADATA_KEY]["z_um"] == [18, 20, 23.5, 24, 30]
    with pytest.raises(OSError, match="not evenly spaced upwards"):
        layer.save(str(tmp_path / "b.ome.zarr"))
    layer.translate = (0, 0, 0)  # moved by a person: then the layer says where it is
    found = again(viewer, tmp_path / "c.ome.tif", layer)[0]
    assert found.translate[0] == 0


def test_a_stack_from_the_top_down_stays_so(viewer: ViewerModel, tmp_path: Path) -> None:
    layer = Image(STACK, **(IN_UM | {"scale": (-0.3, 0.103, 0.103)}))
    assert_same(again(viewer, tmp_path / "v.ome.tif", layer)[0], layer)


def test_the_image_of_a_surface_keeps_its_heights(viewer: ViewerModel, tmp_path: Path) -> None:
    z_um = np.linspace(3, 5, 20 * 24).reshape(20, 24)
    face = STACK[0].astype(np.float32)
    write_surface(tmp_path / "a.ome.tif", face, z_um, 0.2, {"method": "lmmse"}, origin_um=(5, 6))
    found = again(viewer, tmp_path / "b.ome.tif", *opened(viewer, tmp_path / "a.ome.tif"))[0]
    np.testing.assert_array_equal(found.data, face)
    np.testing.assert_allclose(read_heights(tmp_path / "b.ome.tif"), z_um, rtol=1e-6)
    np.testing.assert_allclose(found.metadata[METADATA_KEY]["heights_um"], z_um, rtol=1e-6)
    np.testing.assert_allclose(found.translate, (5, 6))


# --- what others read -------------------------------------------------------------------------


def test_the_ome_tiff_is_valid(viewer: ViewerModel, tmp_path: Path) -> None:
    from_tiff = pytest.importorskip("ome_types").from_tiff
    layers = [Image(STACK, name=name, **IN_UM) for name in ("red", "green")]
    again(viewer, tmp_path / "v.ome.tif", *layers)
    pixels = from_tiff(tmp_path / "v.ome.tif").images[0].pixels
    assert (pixels.size_c, pixels.size_z, pixels.size_t) == (2, 5, 1)
    assert [channel.name for channel in pixels.channels] == ["red", "green"]
    sizes = (pixels.physical_size_z, pixels.physical_size_y, pixels.physical_size_x)
    assert sizes == (0.3, 0.103, 0.103)
    assert pixels.physical_size_x_unit.value == "µm"
    planes = {(plane.the_c, plane.the_z): plane for plane in pixels.planes}
    last = planes[1, 4]
    assert (last.position_z, last.position_y, last.position_x) == (3.2, 10, -3.5)
    with tifffile.TiffFile(tmp_path / "v.ome.tif") as tif:
        assert (tif.series[0].axes, tif.series[0].shape) == ("CZYX", (2, *STACK.shape))


def test_the_ome_zarr_is_valid(viewer: ViewerModel, tmp_path: Path) -> None:
    from ome_zarr_models.v05 import Image as ValidImage

    layers = [Image(STACK, name=name, **IN_UM) for name in ("red", "green")]
    again(viewer, tmp_path / "v.ome.zarr", *layers)
    told = ValidImage.from_zarr(zarr.open_group(tmp_path / "v.ome.zarr", mode="r")).ome_attributes
    multiscale = told.multiscales[0]
    assert [(axis.name, axis.type) for axis in multiscale.axes] == [
        ("c", "channel"), *((axis, "space") for axis in "zyx")
    ]  # fmt: skip
    scale, translation = multiscale.datasets[0].coordinateTransformations
    assert scale.scale == [1, 0.3, 0.103, 0.103]
    assert translation.translation == [0, 2, 10, -3.5]
    assert [channel["label"] for channel in told.omero["channels"]] == ["red", "green"]


def test_a_layer_that_a_transform_has_moved_is_saved_where_it_is_drawn(
    viewer: ViewerModel, tmp_path: Path
) -> None:
    moved = turned(affine=np.array([[1, 0, 0, 5], [0, 2, 0, 0], [0, 0, 2, -1], [0, 0, 0, 1.0]]))
    (found,) = again(viewer, tmp_path / "v.ome.tif", moved)
    for index in ((0, 0, 0), (3, 2, 5)):
        np.testing.assert_allclose(found.data_to_world(index), moved.data_to_world(index))


# --- what cannot be saved ---------------------------------------------------------------------


def turned(**changes: Any) -> Image:
    return Image(STACK, name="cell", **(IN_UM | changes))


REFUSED = {
    "RGB": (
        Image(STACK[0, ..., None].repeat(3, -1).astype(np.uint8), rgb=True, name="cell"),
        "an RGB image",
    ),
    "has a time axis": (Image(STACK, name="cell", axis_labels=("t", "y", "x")), "along axis 't'"),
    "has 4 dimensions": (Image(STACK[None, None].repeat(2, 0), name="cell"), "4|5 dimensions"),
    "is rotated": (turned(rotate=(0, 0, 30)), "resample"),
    "is sheared": (turned(shear=(0.1, 0, 0)), "resample"),
    "is moved by an affine": (turned(affine=np.diag((1, 1, 2, 1.0))), "resample"),
    "is mirrored": (turned(scale=(0.3, -0.1, 0.1)), "above 0"),
    "has oblong pixels": (turned(scale=(0.3, 0.1, 0.2)), "square pixels are needed"),
    "has mixed units": (turned(units=("pixel", "um", "um")), "pixel, micrometer, micrometer"),
    "is huge": (turned(scale=(0.3, 103, 103)), "cannot be true"),
    "is moved without size": (Image(STACK, name="cell", translate=(1, 2, 3)), "no size"),
}


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("why", list(REFUSED))
def test_what_a_file_could_not_hold_is_refused(tmp_path: Path, why: str, ending: str) -> None:
    layer, words = REFUSED[why]
    with pytest.raises(OSError, match=words) as caught:
        layer.save(str(tmp_path / f"v{ending}"))
    assert "'cell'" in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_types_that_ome_tiff_lacks(viewer: ViewerModel, tmp_path: Path) -> None:
    for kind in ("int64", "float16"):
        layer = Image(STACK.astype(kind), contrast_limits=(0, 1), **IN_UM)
        with pytest.raises(OSError, match=rf"no pixels of the type {kind}.*\.ome\.zarr"):
            layer.save(str(tmp_path / "v.ome.tif"))
        assert_same(again(viewer, tmp_path / f"{kind}.ome.zarr", layer)[0], layer)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"data": STACK[:3]}, "differ in size"),
        ({"data": STACK.astype(np.float32)}, "differ in pixel type"),
        ({"translate": (2, 10, 0)}, "differ in place"),
    ],
)
def test_layers_that_are_no_channels_of_one_image(
    viewer: ViewerModel, tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    viewer.add_image(STACK, name="a", **IN_UM)
    viewer.add_image(**({"data": STACK, "name": "b"} | IN_UM | changes))
    with pytest.raises(OSError, match=words) as caught:
        viewer.layers.save(str(tmp_path / "v.ome.tif"))
    assert "'a' and 'b'" in str(caught.value)


def test_a_name_without_ending_replaces_nothing(manager: PluginManager, tmp_path: Path) -> None:
    """napari's dialog has asked about the name as it was typed."""
    layer = Image(STACK, **IN_UM)
    writer = next(
        w for w in manager.iter_compatible_writers(["image"]) if w.display_name == "OME-Zarr"
    )
    about = [layer.as_layer_data_tuple()]
    assert writer.exec(args=(str(tmp_path / "v 0.5"), about)) == [str(tmp_path / "v 0.5.ome.zarr")]
    with pytest.raises(OSError, match="already there"):
        writer.exec(args=(str(tmp_path / "v 0.5"), about))


# --- what is opened ---------------------------------------------------------------------------


def test_an_imagej_stack_opens_in_um(viewer: ViewerModel, tmp_path: Path) -> None:
    about = {"axes": "ZYX", "spacing": 0.5, "unit": "um"}
    tifffile.imwrite(tmp_path / "a.tif", STACK, imagej=True, resolution=(5, 5), metadata=about)
    layer = opened(viewer, tmp_path / "a.tif")[0]
    np.testing.assert_allclose(layer.scale, (0.5, 0.2, 0.2))
    assert {str(unit) for unit in layer.units} == {"micrometer"}
    np.testing.assert_array_equal(layer.data, STACK)


def test_channels_and_time_points_open(viewer: ViewerModel, tmp_path: Path) -> None:
    pixels = np.random.default_rng(2).integers(0, 999, (3, 2, 5, 20, 24)).astype(np.uint16)
    path = write_ome(tmp_path / "a.ome.tif", pixels, "TCZYX", Channel={"Name": ["DAPI", "FITC"]})
    layers = opened(viewer, path)
    assert [layer.name for layer in layers] == ["DAPI", "FITC"]
    for number, layer in enumerate(layers):
        np.testing.assert_array_equal(layer.data, pixels[:, number])
        assert layer.axis_labels == ("t", "z", "y", "x")
        np.testing.assert_allclose(layer.scale, (1, 0.4, 0.1, 0.1))
        assert [str(u) for u in layer.units] == ["pixel", *["micrometer"] * 3]


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_an_ome_zarr_of_others_opens(viewer: ViewerModel, tmp_path: Path, version: str) -> None:
    pixels = np.random.default_rng(2).integers(0, 999, (3, 2, 5, 20, 24)).astype(np.uint16)
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2 if version == "0.4" else 3)
    group.create_array("s0", shape=pixels.shape, dtype="u2", chunks=(1, 1, 1, 20, 24))[...] = pixels
    scale = {"type": "scale", "scale": [10, 1, 0.4, 0.1, 0.1]}
    kinds = zip("tczyx", ("time", "channel", *["space"] * 3), strict=True)
    axes = [{"name": a, "type": kind} for a, kind in kinds]
    for axis in axes[2:]:
        axis["unit"] = "micrometer"
    told = {
        "multiscales": [
            {
                "version": version,
                "axes": axes,
                "datasets": [{"path": "s0", "coordinateTransformations": [scale]}],
            }
        ],
        "omero": {"channels": [{"label": "DAPI"}, {"label": "FITC"}]},
    }
    group.attrs.update(told if version == "0.4" else {"ome": {"version": version, **told}})
    layers = opened(viewer, tmp_path / "a.zarr")
    assert [layer.name for layer in layers] == ["DAPI", "FITC"]
    np.testing.assert_array_equal(np.asarray(layers[1].data), pixels[:, 1])
    np.testing.assert_allclose(layers[1].scale, (1, 0.4, 0.1, 0.1))


def test_planes_along_an_unnamed_axis_beside_a_z_of_one_are_all_there(
    viewer: ViewerModel, tmp_path: Path
) -> None:
    group = zarr.open_group(tmp_path / "a.zarr", mode="w")
    group.create_array("0", data=STACK[:, None], chunks=(2, 1, *STACK.shape[1:]))
    scale = {"type": "scale", "scale": [1, 0.4, 0.1, 0.1]}
    axes = [{"name": "p"}, *({"name": a, "unit": "micrometer"} for a in "zyx")]
    image = {"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": [scale]}]}
    group.attrs["ome"] = {"version": "0.5", "multiscales": [image]}
    (layer,) = opened(viewer, tmp_path / "a.zarr")
    np.testing.assert_array_equal(np.asarray(layer.data), STACK)


def test_an_ome_zarr_that_lacks_a_chunk_says_so(viewer: ViewerModel, tmp_path: Path) -> None:
    """It is shown, with zeros there, as napari would show it."""
    path = write_volume(tmp_path / "v.ome.zarr", STACK, np.arange(len(STACK)), 0.1)
    (path / "0" / "c" / "3" / "0" / "0").unlink()
    with pytest.warns(UserWarning, match="'v.ome.zarr' lacks 1 of 5 chunks, and their pixels"):
        (layer,) = opened(viewer, path)
    np.testing.assert_array_equal(np.asarray(layer.data)[[0, 1, 2, 4]], STACK[[0, 1, 2, 4]])


def test_positions_open_as_layers(viewer: ViewerModel, tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as tif:
        for rows in (20, 16):
            about = {"axes": "ZYX", "PhysicalSizeX": 0.1, "PhysicalSizeY": 0.1}
            tif.write(STACK[:, :rows], photometric="minisblack", metadata=about)
    assert [layer.data.shape[1] for layer in opened(viewer, tmp_path / "a.ome.tif")] == [20, 16]


@needs_readers
def test_a_microscope_maker_s_file_opens_with_its_optics(
    viewer: ViewerModel, tmp_path: Path
) -> None:
    path = write_czi(tmp_path)
    layers = viewer.open(str(path), plugin=PLUGIN)
    assert len(layers) == 4  # two positions of two channels
    for number, layer in enumerate(layers):
        position, channel = divmod(number, 2)
        assert not isinstance(layer.data, np.ndarray)  # planes are read when they are shown
        np.testing.assert_array_equal(np.asarray(layer.data), PIXELS[position, :, channel])
        assert tuple(layer.scale[1:]) == pytest.approx((0.4, 0.1, 0.1))
        assert [str(unit) for unit in layer.units[1:]] == ["micrometer"] * 3
        assert layer.name.startswith(("DAPI", "GFP")[channel])
        known = layer.metadata[METADATA_KEY]
        assert known["wavelength_um"] == pytest.approx((0.461, 0.519)[channel])
        assert known["na"] == pytest.approx(1.4)


@needs_readers
@pytest.mark.parametrize("is_replaced", [True, False])
def test_planes_of_a_file_that_is_another_one_by_now_are_not_shown(
    viewer: ViewerModel, tmp_path: Path, is_replaced: bool
) -> None:
    path = write_czi(tmp_path)
    layer = viewer.open(str(path), plugin=PLUGIN)[0]
    path.unlink()
    if is_replaced:
        write_czi(tmp_path)
    with pytest.raises(InputError, match=r"two scenes\.czi' was removed or replaced"):
        np.asarray(layer.data)


def test_without_readers_of_makers_files_others_may_try(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(_reader, "find_spec", lambda name: None)
    assert get_reader(str(write_czi(tmp_path))) is None


def test_where_a_stage_stood_is_no_place(viewer: ViewerModel, tmp_path: Path) -> None:
    told = heights(0.4 * np.arange(5))
    told["Plane"] |= {"PositionX": [5000.0] * 5, "PositionY": [7000.0] * 5}
    layer = opened(viewer, write_ome(tmp_path / "a.ome.tif", **told))[0]
    np.testing.assert_array_equal(layer.translate, 0)


@pytest.mark.parametrize("name", ["s.rmz", "s.rmz.zip"])
def test_a_session_opens_as_its_scans_and_its_volume(
    viewer: ViewerModel, tmp_path: Path, name: str
) -> None:
    optics = Optics(na=0.8, wavelength_um=0.5, immersion_index=1.0, pixel_um=0.3)
    session = Session(ZGrid(0, 4, 1), optics=optics, method="lmmse")
    for number, z_um in enumerate((1.0, 3.0)):
        session.add_scan(Scan(STACK[number], z_um, f"scan {number}"))
    save(session, tmp_path / name)
    first, second, volume = opened(viewer, tmp_path / name)
    np.testing.assert_array_equal(first.data[0], STACK[0])
    assert (first.name, float(first.translate[0]), float(second.translate[0])) == ("scan 0", 1, 3)
    np.testing.assert_array_equal(volume.data, session.volume)
    np.testing.assert_allclose(volume.scale, (1, 0.3, 0.3))
    assert [s["z_um"] for s in volume.metadata[METADATA_KEY]["scans"]] == [1, 3]
    assert {str(unit) for layer in viewer.layers for unit in layer.units} == {"micrometer"}


# --- what is left to napari, and what is damaged ----------------------------------------------


def test_what_says_nothing_is_left_to_napari(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "plain.tif", STACK)
    tifffile.imwrite(tmp_path / "colour.tif", np.zeros((20, 24, 3), np.uint8), photometric="rgb")
    (tmp_path / "folder").mkdir()
    names = ("plain.tif", "colour.tif", "folder", "missing.tif")
    assert [get_reader(str(tmp_path / name)) for name in names] == [None] * 4
    assert get_reader([str(tmp_path / "plain.tif")]) is None  # files that napari stacks


def cut(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def without(path: Path, name: str) -> Path:
    (path / name).unlink()
    return path


def damaged(tmp_path: Path, kind: str) -> Path:
    if kind == "cut":
        return cut(write_ome(tmp_path / "a.ome.tif"))
    if kind == "text":
        (tmp_path / "a.tif").write_text("no image")
        return tmp_path / "a.tif"
    layer = Image(STACK, **IN_UM)
    layer.save(str(tmp_path / "a.ome.zarr"))
    if kind == "no level":
        return without(tmp_path / "a.ome.zarr", "0/zarr.json")
    group = tmp_path / "a.ome.zarr/zarr.json"
    told = json.loads(group.read_text())
    del told["attributes"]["ome"]
    group.write_text(json.dumps(told))
    return tmp_path / "a.ome.zarr"


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("cut", "'a.ome.tif' is damaged or cut short"),
        ("text", "'a.tif' is not a TIFF"),
        ("no level", "'a.ome.zarr' is not a complete OME-Zarr"),
        ("no metadata", "'a.ome.zarr' is not a complete OME-Zarr"),
    ],
)
def test_damage_is_one_sentence(viewer: ViewerModel, tmp_path: Path, kind: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        opened(viewer, damaged(tmp_path, kind))
    assert len(viewer.layers) == 0


def test_whatever_a_damaged_file_raises_is_one_sentence(
    viewer: ViewerModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_ome(tmp_path / "a.ome.tif")
    monkeypatch.setattr(_reader, "contents_of", lambda _: 1 // 0)
    with pytest.raises(InputError, match=r"'a.ome.tif' cannot be read \(ZeroDivisionError"):
        opened(viewer, path)


def test_more_positions_than_a_layer_list_can_show(viewer: ViewerModel, tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as tif:
        for _ in range(25):
            tif.write(STACK[0], photometric="minisblack", metadata={"axes": "YX"})
    with pytest.raises(InputError, match=r"'a.ome.tif' holds 25 images, too many"):
        opened(viewer, tmp_path / "a.ome.tif")


def test_napari_has_both_to_offer(manager: PluginManager, tmp_path: Path) -> None:
    """Who has chosen nothing is asked once, and may leave all to napari as before."""
    path = write_ome(tmp_path / "a.ome.tif")
    readers = {reader.plugin_name for reader in manager.iter_compatible_readers([str(path)])}
    assert {"napari", PLUGIN} <= readers
    layer = ViewerModel().open(str(path))[0]  # as scripts do
    assert {str(unit) for unit in layer.units} == {"pixel"}


# --- in a window ------------------------------------------------------------------------------


def test_a_drop_on_the_window_and_napari_s_save_dialog(
    make_napari_viewer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari.settings import get_settings
    from qtpy.QtWidgets import QFileDialog

    path = write_ome(tmp_path / "a.ome.tif")
    viewer = make_napari_viewer()
    window = viewer.window._qt_viewer
    monkeypatch.setitem(get_settings().plugins.extension2reader, "*.tif", PLUGIN)
    window._qt_open([str(path)], stack=False)
    layer = viewer.layers[0]
    np.testing.assert_allclose(layer.scale, (0.4, 0.1, 0.1))
    assert {str(unit) for unit in layer.units} == {"micrometer"}
    asked: list[str] = []

    def answer(*_asked: Any, **options: Any) -> tuple[str, str]:
        asked.extend(options["filter"].split(";;"))
        return str(tmp_path / "b"), next(kind for kind in asked if "OME-Zarr" in kind)

    monkeypatch.setattr(QFileDialog, "getSaveFileName", answer)
    window._save_layers_dialog(selected=True)
    assert "Recurrent-MZ OME-TIFF (*.ome.tif *.ome.tiff)" in asked
    np.testing.assert_array_equal(read_image(tmp_path / "b.ome.zarr").data, STACK)
    layer.rotate = (0, 0, 30)
    with pytest.raises(OSError, match="is turned"):  # which napari shows
        window._save_layers_dialog(selected=True)
