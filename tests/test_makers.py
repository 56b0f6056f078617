"""Files of microscope makers: pixels to the bit, sizes, heights and optics, and what is damaged."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from makers import PIXEL_UM, PIXELS, STEP_UM, needs_readers, write_czi
from napari_recurrent_mz.core.scans import InputError
from napari_recurrent_mz.io import channels_of, read_image
from napari_recurrent_mz.io._parts import contents_of

pytestmark = needs_readers
HEIGHTS_UM = STEP_UM * np.arange(5)


def test_pixels_sizes_and_optics_are_those_of_the_file(tmp_path: Path) -> None:
    image = read_image(write_czi(tmp_path), position=1, channel=1, time=0)
    np.testing.assert_array_equal(image.data, PIXELS[1, 0, 1])
    assert image.z_um == pytest.approx(HEIGHTS_UM)
    assert image.channel == "GFP"
    known = (image.pixel_um, image.na, image.wavelength_um, image.immersion_index)
    assert known == pytest.approx((PIXEL_UM, 1.4, 0.519, 1.515))


@pytest.mark.parametrize("position", [0, 1])
@pytest.mark.parametrize("time", [0, 1])
def test_each_position_channel_and_time_point(tmp_path: Path, position: int, time: int) -> None:
    path = write_czi(tmp_path)
    assert channels_of(path, position=position) == ["DAPI", "GFP"]
    for channel in range(2):
        image = read_image(path, (1, 3, 9), position=position, channel=channel, time=time)
        for plane in (1, 3):
            np.testing.assert_array_equal(image.data[plane], PIXELS[position, time, channel, plane])


def test_what_is_in_it(tmp_path: Path) -> None:
    first, second = contents_of(write_czi(tmp_path))
    assert (first.axes, first.shape) == ("TCZYX", PIXELS.shape[1:])
    assert (first.inside, second.inside) == ("0", "1")


def test_positions_and_channels_have_to_be_chosen(tmp_path: Path) -> None:
    path = write_czi(tmp_path)
    with pytest.raises(InputError, match=r"two scenes\.czi' holds 2 positions: choose one"):
        read_image(path)
    with pytest.raises(InputError, match="has 2 channels: choose one with --channel, 0 to 1"):
        read_image(path, position=0, time=0)
    with pytest.raises(InputError, match="has no time point 2: its 2 are numbered 0 to 1"):
        read_image(path, position=0, channel=0, time=2)


def test_a_file_that_is_replaced_is_read_anew(tmp_path: Path) -> None:
    path = write_czi(tmp_path)
    read_image(path, position=0, channel=0, time=0)
    path.write_bytes(b"something else")
    with pytest.raises(InputError, match="is no Zeiss file"):
        read_image(path, position=0, channel=0, time=0)


def test_planes_that_a_reader_leaves_out_are_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Readers there are that list five planes and give four, so that heights would be shifted."""
    from bioio import BioImage

    def without_one(image: BioImage) -> Any:
        pixels = original(image).rechunk({2: 5})
        return pixels.map_blocks(lambda whole: whole[:, :, :4], dtype=pixels.dtype, meta=pixels)

    original = BioImage.dask_data.fget
    monkeypatch.setattr(BioImage, "dask_data", property(without_one))
    for planes in (None, (1, 3)):
        with pytest.raises(InputError, match=r"gaps\.czi' lacks planes of a stack"):
            read_image(write_czi(tmp_path, "gaps.czi"), planes, position=0, channel=0, time=0)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.95])
def test_a_file_that_was_cut_short_is_refused(tmp_path: Path, share: float) -> None:
    """Readers would give the planes that are left, as if there had never been more."""
    path = write_czi(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[: round(share * len(whole))])
    with pytest.raises(InputError, match=r"two scenes\.czi' is (damaged or cut short|no Zeiss)"):
        contents_of(path)


@pytest.mark.parametrize("ending", ["czi", "nd2", "lif", "oir", "ims", "vsi"])
def test_what_only_has_the_name_is_one_sentence(
    tmp_path: Path, ending: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / f"cell.{ending}"
    path.write_bytes(b"no image " * 1000)
    with pytest.raises(InputError, match=rf"cell.{ending}' is no \w+ file"):
        read_image(path)
    assert not caplog.records


def test_without_readers_it_is_said_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "bioio", None)
    with pytest.raises(InputError, match=r"Zeiss file.*pip install .*bioio bioio-"):
        read_image(write_czi(tmp_path, "other.czi"))


def test_a_reader_without_ome_metadata_still_gives_sizes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not all readers of BioIO have them, or can make them of every file."""
    from bioio_openreadout import Reader

    def unknown(_: Any) -> None:
        raise NotImplementedError

    monkeypatch.setattr(Reader, "ome_metadata", property(unknown))
    image = read_image(write_czi(tmp_path, "plain.czi"), position=0, channel=1, time=0)
    assert (image.pixel_um, image.z_step_um) == pytest.approx((PIXEL_UM, STEP_UM))
    assert (image.channel, image.na) == ("GFP", None)


def test_ome_metadata_of_another_size_are_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bioio_openreadout import Reader

    original = Reader.ome_metadata.fget

    def wrong(reader: Any) -> Any:
        ome = original(reader).model_copy(deep=True)
        ome.images[0].pixels.size_z = 7
        return ome

    monkeypatch.setattr(Reader, "ome_metadata", property(wrong))
    path = write_czi(tmp_path, "wrong.czi")
    assert read_image(path, position=0, channel=0, time=0).na is None
    assert read_image(path, position=1, channel=0, time=0).na == 1.4
