"""Files that cannot be read: one sentence that says why, and silence otherwise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr

import files
from napari_recurrent_mz.cli import main
from napari_recurrent_mz.core.scans import InputError
from napari_recurrent_mz.io import read_image, write_volume
from napari_recurrent_mz.io._parts import Part, contents_of
from napari_recurrent_mz.io._tiff import reading_tiff
from napari_recurrent_mz.io._zarr import ZarrImage

STACK = np.random.default_rng(1).integers(90, 4000, (5, 20, 24)).astype(np.uint16)


def _ome(path: Path, data: np.ndarray, axes: str, **more: object) -> None:
    tifffile.imwrite(path, data, ome=True, metadata={"axes": axes, **more})


def _text(path: Path) -> None:
    path.write_text("this is no image")


def _rgb(path: Path) -> None:
    tifffile.imwrite(path, np.zeros((20, 24, 3), np.uint8), photometric="rgb")


def _two_series(path: Path) -> None:
    with tifffile.TiffWriter(path, ome=True) as tif:
        tif.write(STACK, metadata={"axes": "ZYX"})
        tif.write(STACK, metadata={"axes": "ZYX"})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: p.unlink(missing_ok=True), "does not exist"),
        (_text, "is not a TIFF file"),
        (lambda p: p.touch(), "is empty, 0 bytes: "),
        (lambda p: p.write_bytes(b"II*\0\0\0\0\0"), "is damaged or cut short"),
        (lambda p: p.mkdir(), "is a folder"),
        (_rgb, "is an RGB image"),
        (lambda p: _ome(p, np.zeros((2, 5, 20, 24), np.uint8), "CZYX"), "has 2 channels"),
        (lambda p: _ome(p, np.zeros((3, 5, 20, 24), np.uint8), "TZYX"), "has 3 time points"),
        (
            lambda p: tifffile.imwrite(
                p, np.zeros((3, 20, 24), np.uint8), imagej=True, metadata={"axes": "TYX"}
            ),
            "has 3 time points",
        ),
        (_two_series, "holds 2 positions: choose one with --position"),
        (
            lambda p: _ome(p, STACK, "ZYX", PhysicalSizeX=0.1, PhysicalSizeY=0.3),
            "resample it to square pixels",
        ),
    ],
    ids="missing text empty no-page folder rgb channels time imagej-time series not-square".split(),
)
def test_one_sentence_says_why_it_cannot_be_read(tmp_path: Path, make, message: str) -> None:
    path = tmp_path / "bad.tif"
    make(path)
    with pytest.raises(InputError, match=message) as error:
        read_image(path)
    assert "bad.tif" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("fraction", [0.999, 0.9, 0.5, 0.1, 0.01])
@pytest.mark.parametrize(
    "options",
    [
        {"ome": True, "metadata": {"axes": "ZYX"}},
        {"imagej": True, "metadata": {"axes": "ZYX"}},
        {"metadata": None},
        {"photometric": "minisblack"},
        {"compression": "zlib", "metadata": None},
        {"ome": True, "compression": "zlib", "metadata": {"axes": "ZYX"}},
    ],
    ids=["ome", "imagej", "plain", "shaped", "zlib", "ome-zlib"],
)
def test_a_tiff_cut_short_is_refused_in_silence(
    tmp_path: Path, options: dict, fraction: float, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "cut.tif"
    tifffile.imwrite(path, STACK, **options)
    whole = path.read_bytes()
    assert read_image(path).data.shape == STACK.shape
    path.write_bytes(whole[: int(fraction * len(whole))])
    try:
        left = read_image(path).data
    except InputError as refusal:
        message = str(refusal)
    else:  # the last few bytes may hold no pixel: then nothing is lost, and nothing refused
        np.testing.assert_array_equal(left, STACK)
        message = "damaged or cut short" if fraction == 0.999 else "read"
    assert "damaged or cut short" in message
    assert capfd.readouterr().err == ""


def test_an_ome_tiff_set_without_its_other_files(tmp_path: Path) -> None:
    path = tmp_path / "one.ome.tif"
    _ome(path, STACK[:2], "ZYX")
    xml = tifffile.tiffcomment(path).replace('SizeZ="2"', 'SizeZ="5"')
    other = '<UUID FileName="two.ome.tif">urn:uuid:00000000-0000-0000-0000-000000000002</UUID>'
    xml = xml.replace(
        '<TiffData IFD="0" PlaneCount="2"/>',
        '<TiffData IFD="0" PlaneCount="2"/>'
        f'<TiffData FirstZ="2" IFD="0" PlaneCount="3">{other}</TiffData>',
    )
    tifffile.tiffcomment(path, xml.encode())
    with pytest.raises(InputError, match="lacks 3 of its 5 planes"):
        read_image(path)


def test_the_other_file_of_a_set_can_be_put_beside_it_and_taken_away(tmp_path: Path) -> None:
    path, other = files.write_set_of_two(tmp_path)
    elsewhere = other.rename(tmp_path.with_name(f"{tmp_path.name}-elsewhere"))
    with pytest.raises(InputError, match="must lie beside it"):
        read_image(path, ())
    elsewhere.rename(other)
    np.testing.assert_array_equal(read_image(path, [3]).data[3], STACK[3])
    other.unlink()
    with pytest.raises(InputError, match="lacks 3 of its 5 planes"):
        read_image(path, ())


@pytest.mark.parametrize("fraction", [0.3, 0.6, 0.95])
def test_a_cut_file_of_a_set_is_looked_for_in_all_of_it(tmp_path: Path, fraction: float) -> None:
    one, two = files.write_set_of_two(tmp_path)
    np.testing.assert_array_equal(read_image(one).data, STACK)
    whole = two.read_bytes()
    two.write_bytes(whole[: int(fraction * len(whole))])
    with pytest.raises(InputError, match="or another file of its OME-TIFF set, is damaged"):
        read_image(one)


def test_a_later_file_of_a_set_is_pointed_to_the_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, two = files.write_set_of_two(tmp_path)
    assert main(["info", str(two)]) == 0
    assert "give the first file of its set" in capsys.readouterr().out


def test_a_file_of_a_set_that_vanishes_is_named(tmp_path: Path) -> None:
    one, two = files.write_set_of_two(tmp_path)

    def read_while_it_goes() -> None:
        with reading_tiff(one) as tiff:
            two.unlink()
            tiff.read(Part(str(one)), [3])

    with pytest.raises(InputError, match=r"'two\.ome\.tif' cannot be read: No such file"):
        read_while_it_goes()


def test_an_ome_tiff_with_fewer_planes_than_its_header_says(tmp_path: Path) -> None:
    path = tmp_path / "stopped.ome.tif"
    _ome(path, STACK[:2], "ZYX")
    xml = tifffile.tiffcomment(path).replace('SizeZ="2"', 'SizeZ="5"')
    tifffile.tiffcomment(path, xml.replace('PlaneCount="2"', 'PlaneCount="5"').encode())
    sentence = (
        "'stopped.ome.tif' lacks 3 of its 5 planes: if its recording was stopped early, save those "
        "that are there anew."
    )
    with pytest.raises(InputError) as refused:
        read_image(path)
    assert str(refused.value) == sentence


@pytest.mark.parametrize("ngff", ["0.4", "0.5"])
def test_chunks_that_are_not_there_are_told(tmp_path: Path, ngff: str) -> None:
    """Zarr gives zeros in their place."""
    path = write_volume(tmp_path / "v.ome.zarr", STACK, np.arange(5), 0.1, ngff=ngff)
    assert read_image(path).remarks == ()
    (path / "0" / ("c/3/0/0" if ngff == "0.5" else "3/0/0")).unlink()
    (remark,) = read_image(path).remarks
    assert remark.startswith("'v.ome.zarr' lacks 1 of 5 chunks, and their pixels are taken for 0")
    (of_planes,) = read_image(path, [1, 3]).remarks
    assert "lacks 1 of 2 chunks" in of_planes
    assert read_image(path, [0, 1]).remarks == ()


def test_a_zarr_without_its_array_is_refused(tmp_path: Path) -> None:
    path = write_volume(tmp_path / "v.ome.zarr", STACK, np.arange(5), 0.1)
    (path / "0" / "zarr.json").unlink()
    with pytest.raises(InputError, match="not a complete OME-Zarr"):
        read_image(path)
    zarr.open_group(tmp_path / "other.zarr", mode="w")
    with pytest.raises(InputError, match="not a complete OME-Zarr"):
        read_image(tmp_path / "other.zarr")


def test_a_compressed_tiff_is_read_or_names_what_it_needs(tmp_path: Path) -> None:
    """LZW by hand, the codes of 9 bits that a reader needs imagecodecs for."""
    pixels = np.full((16, 16), 7, np.uint8)
    codes = [256]  # clear, then each pixel as it is, cleared again before codes grow longer
    for number, value in enumerate(pixels.ravel()):
        codes += [256] if number % 200 == 199 else []
        codes.append(int(value))
    bits = "".join(f"{code:09b}" for code in [*codes, 257])
    packed = bytes(int(bits[i : i + 8].ljust(8, "0"), 2) for i in range(0, len(bits), 8))
    path = tmp_path / "lzw.tif"
    tifffile.imwrite(path, pixels, metadata=None)
    with tifffile.TiffFile(path, mode="r+") as tif:
        page = tif.pages.first
        page.tags["Compression"].overwrite(5)
        page.tags["StripByteCounts"].overwrite(len(packed))
        tif.filehandle.seek(page.dataoffsets[0])
        tif.filehandle.write(packed.ljust(pixels.nbytes, b"\0"))
    try:
        import imagecodecs  # noqa: F401
    except ImportError:
        with pytest.raises(InputError, match="pip install imagecodecs"):
            read_image(path)
    else:
        np.testing.assert_array_equal(read_image(path).data, pixels)


KINDS: dict[str, Callable[[Path], object]] = {
    "ome.tif": files.write_ome,
    "imagej.tif": lambda p: tifffile.imwrite(p, STACK, imagej=True, metadata={"axes": "ZYX"}),
    "packed.tif": lambda p: tifffile.imwrite(p, STACK, compression="zlib"),
    "metamorph.stk": lambda p: files.write_metamorph(p, files.STACK, 0.4, 0.1),
    "zeiss.lsm": lambda p: files.write_lsm(p, files.STACK, 0.4, 0.1),
}


@pytest.mark.parametrize("name", KINDS)
def test_whatever_is_changed_in_a_file_it_is_read_or_refused_in_one_sentence(
    tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Any few bytes of it, mostly of what says how the pixels lie."""
    rng = np.random.default_rng(5)
    path = tmp_path / name
    KINDS[name](path)
    whole = path.read_bytes()
    for _ in range(40):
        changed = bytearray(whole)
        for _ in range(rng.integers(1, 6)):
            near = rng.integers(400) if rng.random() < 0.6 else len(whole) - rng.integers(1, 600)
            changed[int(near)] = int(rng.choice([0, 1, 2, 255, rng.integers(256)]))
        path.write_bytes(changed)
        for read in (contents_of, read_image):
            told = name
            try:
                read(path)
            except InputError as refusal:
                told = str(refusal)
            assert name in told
            assert "\n" not in told
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("error", [ZeroDivisionError("division by zero"), AssertionError()])
def test_what_nobody_thought_of_names_the_file(
    tmp_path: Path, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_given: object, **_more: object) -> None:
        raise error

    tiff = files.write_ome(tmp_path / "a.ome.tif")
    array = write_volume(tmp_path / "a.ome.zarr", STACK, np.arange(5), 0.1)
    monkeypatch.setattr("napari_recurrent_mz.io._tiff.TiffPages.image_file", fail)
    monkeypatch.setattr(ZarrImage, "file", fail)
    kind = type(error).__name__
    for path in (tiff, array):
        with pytest.raises(InputError, match=rf"'{path.name}' cannot be read \({kind}"):
            read_image(path)


def test_a_field_of_a_plate_that_is_damaged_leaves_the_others(tmp_path: Path) -> None:
    raw = zarr.open_group(tmp_path / "raw.zarr", mode="w")
    raw.attrs["ome"] = {"version": "0.5", "bioformats2raw.layout": 3}
    for k in range(3):
        made = write_volume(tmp_path / f"{k}.ome.zarr", STACK, np.arange(5), 0.1)
        made.rename(tmp_path / "raw.zarr" / str(k))
    (tmp_path / "raw.zarr" / "1" / "0" / "zarr.json").unlink()
    found = contents_of(tmp_path / "raw.zarr")
    assert [content.shape for content in found] == [STACK.shape, (), STACK.shape]
    assert [bool(content.trouble) for content in found] == [False, True, False]
    assert "'raw.zarr/1' is not a complete OME-Zarr" in found[1].trouble
    for k in (0, 2):
        np.testing.assert_array_equal(read_image(tmp_path / "raw.zarr", position=k).data, STACK)


def test_a_position_that_is_cut_short_leaves_the_others(tmp_path: Path) -> None:
    path = tmp_path / "three.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as tif:
        for _ in range(3):
            tif.write(STACK, metadata={"axes": "ZYX"})
    with tifffile.TiffFile(path, mode="r+") as tif:
        lengths = tif.series[1].pages[0].tags["StripByteCounts"]
        lengths.overwrite([path.stat().st_size] * lengths.count)
    found = contents_of(path)
    assert [bool(content.trouble) for content in found] == [False, True, False]
    assert "damaged or cut short" in found[1].trouble
    np.testing.assert_array_equal(read_image(path, position=2).data, STACK)
    with pytest.raises(InputError, match="damaged or cut short"):
        read_image(path, position=1)
