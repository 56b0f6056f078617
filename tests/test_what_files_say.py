"""What metadata state is taken of the right image, and only where it can be true."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tifffile

import files
from files import MICROMETRES, STACK, heights, write_ome
from napari_recurrent_mz.core.scans import InputError
from napari_recurrent_mz.io import (
    channels_of,
    read_image,
    read_positions,
    scans_from_stack,
    stack_heights,
    to_um,
    write_volume,
)
from napari_recurrent_mz.io._parts import Part, contents_of, read_part

N = len(STACK)
EVEN = 0.4 * np.arange(N)


# --- of the right image, channel, time point, position and objective ---


@pytest.mark.parametrize(
    ("used", "na", "index"), [("Objective:1", 1.4, 1.515), ("Objective:0", 0.3, 1.0)]
)
def test_the_objective_that_the_image_names(
    tmp_path: Path, used: str, na: float, index: float
) -> None:
    path = files.with_objectives(
        write_ome(tmp_path / "a.ome.tif"),
        used,
        {"LensNA": "0.3", "Immersion": "Air"},
        {"LensNA": "1.4", "Immersion": "Oil"},
    )
    image = read_image(path)
    assert (image.na, image.immersion_index) == (na, index)
    assert image.sources["na"] == "the LensNA of its OME objective"


def test_two_objectives_of_which_none_is_named(tmp_path: Path) -> None:
    path = write_ome(tmp_path / "a.ome.tif")
    files.with_objectives(path, None, {"LensNA": "0.3"}, {"LensNA": "1.4"})
    image = read_image(path)
    assert image.na is None
    assert "2 objectives" in image.doubts["na"]


def test_an_immersion_that_contradicts_the_aperture(tmp_path: Path) -> None:
    path = write_ome(tmp_path / "a.ome.tif")
    files.with_objectives(path, None, {"LensNA": "1.4", "Immersion": "Air"})
    image = read_image(path)
    assert (image.na, image.immersion_index) == (1.4, None)
    assert "Air" in image.doubts["immersion_index"]


@pytest.mark.parametrize("seed", range(6))
def test_heights_and_wavelength_of_each_position_channel_and_time_point(
    tmp_path: Path, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    times, channels, planes = (int(n) for n in rng.integers(2, 4, 3))
    axes = "TCZYX" if seed % 2 else "CTZYX"
    lead = (times, channels) if seed % 2 else (channels, times)
    path, positions = tmp_path / "many.ome.tif", []
    with tifffile.TiffWriter(path, ome=True) as tif:
        for _ in range(2):
            pixels = rng.integers(0, 4000, (*lead, planes, 16, 18)).astype(np.uint16)
            z_um = rng.uniform(-50, 50, (*lead, 1)) + np.cumsum(
                rng.uniform(0.39, 0.41, (*lead, planes)), axis=-1
            )
            waves = rng.uniform(400, 700, channels).round(2)
            positions.append((pixels, z_um, waves))
            told = {**MICROMETRES, **heights(z_um.ravel()), "axes": axes}
            told["Channel"] = {"EmissionWavelength": waves.tolist()}
            tif.write(pixels, photometric="minisblack", metadata=told)
    for position, (pixels, z_um, waves) in enumerate(positions):
        for time in range(times):
            for channel in range(channels):
                at = (time, channel) if seed % 2 else (channel, time)
                image = read_part(Part(str(path), str(position), time, channel))
                np.testing.assert_array_equal(image.data, pixels[at])
                np.testing.assert_allclose(image.z_um, z_um[at], atol=1e-9)
                assert image.wavelength_um == pytest.approx(waves[channel] / 1e3)


def test_a_channel_that_states_no_wavelength_takes_none_from_another(tmp_path: Path) -> None:
    path = write_ome(tmp_path / "a.ome.tif", np.stack([STACK, STACK]), "CZYX")
    xml = re.sub(r'(<Channel ID="Channel:0:1")', r'\1 EmissionWavelength="600"',
                 str(tifffile.tiffcomment(path)))  # fmt: skip
    tifffile.tiffcomment(path, xml.encode())
    found = [read_part(Part(str(path), channel=n)).wavelength_um for n in (0, 1)]
    assert found == [None, 0.6]


def test_metadata_of_an_image_whose_pixels_are_elsewhere(tmp_path: Path) -> None:
    """The metadata describe another image first, of which this file holds nothing."""
    path = write_ome(tmp_path / "b.ome.tif", PhysicalSizeZ=0.7)
    uuid = "<UUID FileName='a.ome.tif'>urn:uuid:00000000-0000-0000-0000-000000000001</UUID>"
    other = (
        '<Image ID="Image:9"><Pixels ID="Pixels:9" DimensionOrder="XYCZT" Type="uint16" '
        'SizeX="24" SizeY="20" SizeZ="5" SizeC="1" SizeT="1" PhysicalSizeX="9" PhysicalSizeY="9" '
        f'PhysicalSizeZ="9"><TiffData IFD="0" PlaneCount="5">{uuid}</TiffData></Pixels></Image>'
    )
    files.change_xml(path, lambda xml: xml.replace("<Image ", f"{other}<Image ", 1))
    image = read_image(path)
    assert (image.z_step_um, image.pixel_um) == (0.7, 0.1)


def _positions(folder: Path, **more: Any) -> list[Path]:
    names = [f"x_MMStack_Pos{k}.ome.tif" for k in (0, 1)]
    where = {k: 100 * (k + 1) + EVEN for k in (0, 1)}
    xml = files.micro_manager_xml(where, names)
    return [
        files.write_micro_manager(
            folder / names[k], {k: (STACK + 7 * k, where[k])}, count=2, xml=xml, **more
        )
        for k in (0, 1)
    ]


@pytest.mark.parametrize("records", [True, False], ids=["records", "OME only"])
@pytest.mark.parametrize("planes", [None, [1, 3]], ids=["whole", "planes"])
def test_each_file_of_a_micro_manager_set_is_its_own_position(
    tmp_path: Path, planes: list[int] | None, records: bool
) -> None:
    for k, path in enumerate(_positions(tmp_path, records=records)):
        assert [c.inside for c in contents_of(path)] == [""]
        for image in (read_image(path, planes), read_part(Part(str(path)), planes)):
            np.testing.assert_allclose(image.z_um, 100 * (k + 1) + EVEN)
            for plane in planes or range(N):
                np.testing.assert_array_equal(image.data[plane], STACK[plane] + 7 * k)
    other = read_image(tmp_path / "x_MMStack_Pos0.ome.tif", position=1)
    np.testing.assert_array_equal(other.data, STACK + 7)
    assert other.z_um is not None
    assert other.z_um[0] == 200


@pytest.mark.parametrize("records", [True, False], ids=["records", "OME only"])
def test_a_micro_manager_file_alone(tmp_path: Path, records: bool) -> None:
    path = _positions(tmp_path, records=records)[1]
    (tmp_path / "alone").mkdir()
    alone = shutil.move(path, tmp_path / "alone" / path.name)
    image = read_image(alone)
    np.testing.assert_array_equal(image.data, STACK + 7)
    np.testing.assert_allclose(image.z_um, 200 + EVEN)


def test_micro_manager_positions_in_one_file(tmp_path: Path) -> None:
    where = {k: 10 * k + EVEN for k in range(3)}
    path = files.write_micro_manager(
        tmp_path / "x_MMStack.tif", {k: (STACK + k, where[k]) for k in where}, count=3
    )
    with pytest.raises(InputError, match=r"holds 3 positions: choose one with --position, 0 to 2"):
        read_image(path)
    for k, image in enumerate(read_positions(path)):
        np.testing.assert_array_equal(image.data, STACK + k)
        np.testing.assert_allclose(image.z_um, where[k])
    with pytest.raises(InputError, match="no position 3"):
        read_image(path, position=3)


def test_positions_of_several_sizes_are_all_there(tmp_path: Path) -> None:
    path = tmp_path / "sizes.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as tif:
        for rows in (20, 16):
            tif.write(STACK[:, :rows], photometric="minisblack",
                      metadata={"axes": "ZYX", **MICROMETRES})  # fmt: skip
    assert [content.shape[-2] for content in contents_of(path)] == [20, 16]
    with pytest.raises(InputError, match="holds 2 positions: choose one with --position, 0 or 1"):
        read_image(path)
    image = read_image(path, [2], position=1)
    np.testing.assert_array_equal(image.data[2], STACK[2, :16])


# --- sizes that cannot be true, or contradict each other ---


@pytest.mark.parametrize(
    ("unit", "um"),
    [
        (r"\u00b5m", 1),
        (r"\u00B5m", 1),
        ("micrometers", 1),
        ("Micrometres", 1),
        ("microns", 1),
        ("Âµm", 1),
        ("Î¼m", 1),
        ("&#181;m", 1),
        ("nanometers", 1e-3),
        ("NM", 1e-3),
        ("inches", 25_400),
        ("Mm", None),  # a megametre
        ("furlong", None),
        ("", None),
    ],
)
def test_units_as_programs_write_them(tmp_path: Path, unit: str, um: float | None) -> None:
    assert to_um(1, unit) == um
    if um != 1:
        return
    path = write_ome(tmp_path / "a.ome.tif")
    quoted = unit.replace("&", "&amp;")
    files.change_xml(path, lambda xml: xml.replace('"µm"', f'"{quoted}"'))
    image = read_image(path)
    assert image.z_step_um == pytest.approx(0.4 * um)


def test_a_unit_that_is_not_known_is_named(tmp_path: Path) -> None:
    path = write_ome(tmp_path / "a.ome.tif")
    files.change_xml(path, lambda xml: xml.replace('"µm"', '"furlong"'))
    image = read_image(path)
    assert image.pixel_um is None
    with pytest.raises(InputError, match=r"PhysicalSizeZ, 0.4, is in 'furlong'.*--z-step-um"):
        stack_heights(image)
    assert stack_heights(image, 0.5)[1] == 0.5


def test_a_pixel_size_below_nothing_is_doubted(tmp_path: Path) -> None:
    path = write_ome(tmp_path / "a.ome.tif")
    files.change_xml(path, lambda xml: re.sub(r'(PhysicalSize[XY]=")', r"\1-", xml))
    image = read_image(path)
    assert image.pixel_um is None
    assert "cannot be true" in image.doubts["pixel_um"]


@pytest.mark.parametrize(
    ("options", "z_step", "pixel"),
    [
        ({"resolution": (72, 72), "resolutionunit": 2}, {"unit": "inch", "spacing": 1.0}, None),
        ({"resolution": (10, 10)}, {"unit": "um", "zunit": "nm", "spacing": 400.0}, 0.4),
        ({"resolution": (10, 10)}, {"unit": "um", "spacing": 0.4}, 0.4),
        ({"resolution": (10, 10)}, {"unit": "um", "spacing": -0.4}, None),
        ({"resolution": (10, 10)}, {"unit": "um", "zunit": "sec", "spacing": 0.4}, None),
        ({"resolution": (10, 10)}, {"unit": "mm", "spacing": 0.4}, None),  # pixels of 0.1 mm too
    ],
    ids=["inch", "z in nm", "um", "negative", "no length", "mm"],
)
def test_imagej_lengths(
    tmp_path: Path, options: dict[str, Any], z_step: dict[str, Any], pixel: float | None
) -> None:
    path, told = tmp_path / "a.tif", {"axes": "ZYX", **z_step}
    tifffile.imwrite(path, STACK, imagej=True, metadata=told, **options)
    image = read_image(path)
    assert image.z_step_um == pixel
    if pixel is None:
        with pytest.raises(InputError, match=r"ImageJ spacing.*--z-step-um"):
            stack_heights(image)


def test_heights_a_thousand_times_too_small_are_not_believed(tmp_path: Path) -> None:
    path = write_ome(tmp_path / "a.ome.tif", **heights(EVEN / 1000 - 0.005))
    image = read_image(path)
    assert image.z_um is None
    with pytest.raises(InputError, match=r"0\.0004 µm apart.*0\.4 µm.*--z-step-um"):
        stack_heights(image)
    assert [scan.z_um for scan in scans_from_stack(image, [0, 2], 0.4)] == [0, 0.8]
    assert [scan.z_um for scan in scans_from_stack(image, [0, 2], z_um=[3, 5])] == [3, 5]


@pytest.mark.parametrize("unit", [None, "µm"])
@pytest.mark.parametrize("z_um", [[18, 20, 23.5, 24, 27], [27, 18, 20, 24, 23.5]])
def test_uneven_heights_are_taken_and_both_are_said(
    tmp_path: Path, unit: str | None, z_um: list[float]
) -> None:
    """As pymmcore-plus writes them: no unit, and a z step that was never set."""
    path = write_ome(tmp_path / "a.ome.tif", PhysicalSizeZ=1.0, **heights(z_um, unit))
    image = read_image(path)
    np.testing.assert_allclose(image.z_um, z_um)
    (remark,) = image.remarks
    assert "2.25 µm apart" in remark
    assert "1 µm" in remark


def test_a_drive_that_stood_still_leaves_the_step(tmp_path: Path) -> None:
    """A piezo moved the sample while the stage's height was written down, with its scatter."""
    for name, scatter in (("still", 0.0), ("scatter", 0.002)):
        z_um = 12 + np.random.default_rng(2).normal(0, 1, N) * scatter
        image = read_image(write_ome(tmp_path / f"{name}.ome.tif", **heights(z_um)))
        np.testing.assert_allclose(image.z_um, EVEN)
        assert image.sources["z_um"] == "its OME PhysicalSizeZ"


@pytest.mark.parametrize("step", [1.2, 0.04, 0.44])
def test_even_heights_against_the_step(tmp_path: Path, step: float) -> None:
    image = read_image(write_ome(tmp_path / "a.ome.tif", **heights(step * np.arange(N))))
    assert image.z_um is None
    with pytest.raises(InputError, match=rf"{step} µm apart.*PhysicalSizeZ is 0\.4 µm"):
        stack_heights(image)


@pytest.mark.parametrize(
    ("told", "value", "name"),
    [
        ({"PhysicalSizeX": 1e4, "PhysicalSizeY": 1e4}, "10000 µm", "pixel_um"),
        ({"PhysicalSizeZ": 25400.0}, "25400 µm", "z_um"),
        ({"Channel": {"EmissionWavelength": 0.519}}, "0.000519 µm", "wavelength_um"),
    ],
)
def test_sizes_that_cannot_be_true(
    tmp_path: Path, told: dict[str, Any], value: str, name: str
) -> None:
    image = read_image(write_ome(tmp_path / "a.ome.tif", **told))
    assert getattr(image, name) is None
    assert f"is {value}, which cannot be true" in image.doubts[name]


# --- headers of vendors ---


SCALE = {"type": "scale", "scale": [0.4, 0.1, 0.1]}
TURN = {"type": "rotation", "rotation": [[1, 0, 0], [0, 0, -1], [0, 1, 0]]}


@pytest.mark.parametrize(
    ("steps", "why"),
    [
        ([], "states no scale"),
        ([{"type": "identity"}], "states no scale"),
        ([{"type": "translation", "translation": [1, 2, 3]}], "states no scale"),
        ([{"type": "scale", "scale": [0.1, 0.1]}], "a scale of 2 for 3 axes"),
        ([{"type": "scale", "path": "elsewhere"}], "a transformation 'scale'"),
        ([SCALE, TURN], "a transformation 'rotation'"),
        ([{"type": "sequence", "transformations": [SCALE]}], "a transformation 'sequence'"),
    ],
)
def test_a_zarr_whose_place_is_not_understood_is_not_taken_to_be_of_micrometres(
    tmp_path: Path, steps: list[dict[str, Any]], why: str
) -> None:
    """Its axes are in micrometres, so that a voxel of 1 µm would be believed."""
    path = tmp_path / "stack.ome.zarr"
    write_volume(path, files.STACK, 0.4 * np.arange(5), 0.1)
    about = json.loads((path / "zarr.json").read_text())
    (level,) = about["attributes"]["ome"]["multiscales"][0]["datasets"]
    level["coordinateTransformations"] = steps
    (path / "zarr.json").write_text(json.dumps(about))
    image = read_image(path)
    assert (image.pixel_um, image.z_step_um, image.z_um, image.origin_um) == (None,) * 4
    assert set(image.doubts) == {"pixel_um", "z_step_um", "z_um"}
    assert all(why in doubt for doubt in image.doubts.values())
    level["coordinateTransformations"] = [SCALE, {"type": "identity"}]
    (path / "zarr.json").write_text(json.dumps(about))
    assert read_image(path).pixel_um == pytest.approx(0.1)


LAPSE = np.stack([STACK, STACK])


@pytest.mark.parametrize(
    ("value", "unit", "seconds"),
    [(2.0, "s", 2), (250, "ms", 0.25), (1.5, "min", 90), (0, "s", None), (3, "mile", None)],
)
def test_the_time_between_time_points(
    tmp_path: Path, value: float, unit: str, seconds: float | None
) -> None:
    ome = write_ome(
        tmp_path / "a.ome.tif", LAPSE, "TZYX", TimeIncrement=value, TimeIncrementUnit=unit
    )
    imagej = tmp_path / "b.tif"
    metadata = {"axes": "TZYX", "finterval": value, "tunit": unit, "unit": "um", "spacing": 0.4}
    tifffile.imwrite(imagej, LAPSE.astype(np.float32), imagej=True, metadata=metadata)
    for path in (ome, imagej):
        assert read_image(path, time=1).time_step_s == (seconds and pytest.approx(seconds))


def test_metamorph_and_lsm_state_their_voxels(tmp_path: Path) -> None:
    for write, name in ((files.write_metamorph, "a.stk"), (files.write_lsm, "a.lsm")):
        path = write(tmp_path / name, STACK, 0.3, 0.065)
        image = read_image(path)
        np.testing.assert_array_equal(image.data, STACK)
        assert image.pixel_um == pytest.approx(0.065)
        np.testing.assert_allclose(image.z_um, 0.3 * np.arange(N), atol=1e-9)
        np.testing.assert_array_equal(read_image(path, [3]).data[3], STACK[3])


def test_micro_managers_summary_states_the_voxels(tmp_path: Path) -> None:
    path = files.write_micro_manager(
        tmp_path / "x_MMStack.tif", {0: (STACK, EVEN)}, count=1, records=False,
        summary={"z-step_um": -0.4},
    )  # fmt: skip
    image = read_image(path)
    assert image.pixel_um == 0.1
    np.testing.assert_allclose(image.z_um, -EVEN)  # from the top down
    assert image.sources["z_um"] == "its Micro-Manager z-step_um"


# --- metadata in a file beside the TIFFs ---


def _companion_set(folder: Path) -> tuple[list[Path], dict[int, Any]]:
    """Two positions of two channels and five uneven heights."""
    rng = np.random.default_rng(4)
    positions = {
        k: (
            rng.integers(90, 4000, (2, 5, 20, 24 + k)).astype(np.uint16),
            [10.0 * k + z for z in (0, 1, 2.5, 4, 7)],
        )
        for k in range(2)
    }
    return files.write_companion_set(folder, positions), positions


def test_metadata_in_a_companion_file(tmp_path: Path) -> None:
    paths, positions = _companion_set(tmp_path)
    for k, path in enumerate(paths):
        (content,) = contents_of(path)
        assert (content.length("C"), content.length("Z")) == (2, 5)
        for channel in range(2):
            image = read_part(Part(str(path), channel=channel))
            np.testing.assert_array_equal(image.data, positions[k][0][channel])
            assert image.z_um is not None
            np.testing.assert_allclose(image.z_um, np.add(positions[k][1], channel))
            assert image.pixel_um == pytest.approx(0.1 * (k + 1))
            assert image.wavelength_um == pytest.approx(0.5 + 0.01 * channel)
    with pytest.raises(InputError, match="has 2 channels"):
        read_image(paths[0])


def test_the_tiff_is_known_by_its_name_or_by_its_number(tmp_path: Path) -> None:
    (path, _), positions = _companion_set(tmp_path)
    other = path.rename(tmp_path / "renamed.ome.tif")
    image = read_part(Part(str(other), channel=1))
    np.testing.assert_array_equal(image.data, positions[0][0][1])
    change = re.compile(r' UUID="urn:uuid:0[^"]*"')
    files.change_xml(other.rename(path), lambda xml: change.sub("", xml))
    np.testing.assert_array_equal(read_part(Part(str(path), channel=1)).data, image.data)


def test_without_its_companion_file_nothing_is_guessed(tmp_path: Path) -> None:
    (path, other), _ = _companion_set(tmp_path)
    companion = tmp_path / "all.companion.ome"
    xml = companion.read_text()
    companion.write_text(xml.replace(path.name, "x.tif").replace("0000000-0000", "0000009-0000"))
    with pytest.raises(InputError, match=r"'all\.companion\.ome', which does not mention it"):
        read_image(path)
    companion.unlink()
    for found in (path, other):
        with pytest.raises(InputError, match=r"'all\.companion\.ome', which does not lie beside"):
            read_image(found)
    companion.write_text("<OME")
    with pytest.raises(InputError, match=r"'all\.companion\.ome' has OME metadata that cannot be"):
        contents_of(path)


def test_a_companion_file_that_changes_or_goes_is_noticed(tmp_path: Path) -> None:
    (path, _), _ = _companion_set(tmp_path)
    companion = tmp_path / "all.companion.ome"
    assert read_image(path, (), channel=0).wavelength_um == pytest.approx(0.5)
    with companion.open("r+b") as file:  # in place: its folder does not change
        xml = file.read().replace(b'EmissionWavelength="500"', b'EmissionWavelength="600.0"')
        file.seek(0)
        file.write(xml)
    assert read_image(path, (), channel=0).wavelength_um == pytest.approx(0.6)
    companion.unlink()
    with pytest.raises(InputError, match="does not lie beside"):
        read_image(path, (), channel=0)


def test_a_companion_that_is_a_tiff(tmp_path: Path) -> None:
    """The one file of a set that has the metadata of all."""
    paths, positions = _companion_set(tmp_path)
    companion = tmp_path / "all.companion.ome"
    xml = companion.read_text().replace('UUID="urn:uuid:c"', "")
    companion.unlink()
    first = files.change_xml(paths[0], lambda _: xml.replace("µ", "&#181;"))
    files.change_xml(paths[1], lambda own: own.replace(companion.name, first.name))
    for k, path in enumerate(paths):
        image = read_part(Part(str(path), channel=1))
        np.testing.assert_array_equal(image.data, positions[k][0][1])
        assert image.z_um is not None
        np.testing.assert_allclose(image.z_um, np.add(positions[k][1], 1))


# --- NDTiff, which Micro-Manager and Pycro-Manager write ---


def ndtiff(folder: Path) -> tuple[Path, npt.NDArray[np.uint16]]:
    """A file of it, and its pixels; ``data/make_ndtiff.py`` says how it was made."""
    shutil.unpack_archive(Path(__file__).parent / "data" / "ndtiff.zip", folder)
    pixels = np.tensordot((1000, 500, 100, 3, 1), np.indices((2, 2, 5, 24, 32)), 1)
    return folder / "scans_1" / "scans_NDTiffStack.tif", pixels.astype(np.uint16)


def test_an_ndtiff_states_heights_and_channels(tmp_path: Path) -> None:
    path, pixels = ndtiff(tmp_path)
    assert channels_of(path) == ["DAPI", "GFP"]
    for time, channel in np.ndindex(2, 2):
        image = read_image(path, time=time, channel=channel)
        np.testing.assert_array_equal(image.data, pixels[time, channel])
        assert image.z_um == pytest.approx(10 + 0.4 * np.arange(5))
        assert image.pixel_um == pytest.approx(0.1)
        some = read_image(path, (3,), time=time, channel=channel)
        np.testing.assert_array_equal(some.data[3], pixels[time, channel, 3])


def test_a_channel_of_an_ndtiff_is_named_by_its_place(tmp_path: Path) -> None:
    """The records of most programs do not repeat it."""
    path, _ = ndtiff(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b'"Channel"', b'"Another"'))
    assert path.read_bytes() != whole
    assert channels_of(path) == ["DAPI", "GFP"]


@pytest.mark.parametrize("left", [1, 10, 19])
def test_an_ndtiff_whose_index_was_cut_is_no_shorter_recording(tmp_path: Path, left: int) -> None:
    path, _ = ndtiff(tmp_path)
    index = path.with_name("NDTiff.index")
    whole, end = index.read_bytes(), 0
    for _ in range(left):  # axes and file name, each after its length; then eight numbers
        for _ in range(2):
            end += 4 + int.from_bytes(whole[end : end + 4], "little")
        end += 8 * 4
    index.write_bytes(whole[:end])
    with pytest.raises(InputError, match=r"'scans_NDTiffStack\.tif' holds images .* is cut short"):
        contents_of(path)


def test_an_ndtiff_whose_last_file_is_not_in_its_index_is_refused(tmp_path: Path) -> None:
    path, _ = ndtiff(tmp_path)
    shutil.copy(path, path.with_name("scans_NDTiffStack_1.tif"))
    with pytest.raises(InputError, match=r"'scans_NDTiffStack_1\.tif' holds images"):
        contents_of(path)


def test_an_ndtiff_without_its_index_is_no_guess(tmp_path: Path) -> None:
    path, _ = ndtiff(tmp_path)
    (path.parent / "NDTiff.index").unlink()
    with pytest.raises(InputError, match=r"NDTiff\.index"):
        read_image(path, time=0, channel=0)


def test_a_given_step_leaves_a_stack_the_way_up_it_is(tmp_path: Path) -> None:
    positions = {"PositionZ": [3.0, 2.0, 1.0, 0.0], "PositionZUnit": ["µm"] * 4}
    stack, path = np.random.default_rng(2).random((4, 20, 20)), tmp_path / "falling.ome.tif"
    tifffile.imwrite(path, stack, ome=True, metadata={"axes": "ZYX", "Plane": positions})
    lowest, highest = scans_from_stack(read_image(path), [3, 0], z_step_um=0.5)
    assert (lowest.z_um, highest.z_um) == (0.0, 1.5)
    np.testing.assert_array_equal(highest.pixels, stack[0].astype(np.float32))
