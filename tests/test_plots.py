"""Figures in files: their size on paper, their colours, and what cannot be written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from skimage.io import imread

from napari_recurrent_mz.core.scans import InputError
from napari_recurrent_mz.measure.plots import Ink, save_figure


def a_line(figure: Any, ink: Ink) -> None:
    """Draws one line."""
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=ink.lines[0], label="a line")
    axes.set(xlabel="z, µm", ylabel="PSNR, dB")
    axes.legend()


def test_a_png_has_300_dots_an_inch_on_white_paper(tmp_path: Path) -> None:
    pixels = imread(save_figure(a_line, tmp_path / "f.png", width_mm=90, height_mm=60))
    assert pixels.shape[:2] == pytest.approx((60 / 25.4 * 300, 90 / 25.4 * 300), abs=1)
    assert tuple(pixels[0, 0, :3]) == (255, 255, 255)


@pytest.mark.parametrize(("name", "begins"), [("f.svg", b"<?xml"), ("f.PDF", b"%PDF")])
def test_vector_files_keep_their_letters(
    tmp_path: Path, name: str, begins: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")  # as in a napari window, which keeps every library's notes
    written = save_figure(a_line, tmp_path / name).read_bytes()
    assert written.startswith(begins)
    if name.endswith("svg"):
        assert "z, µm" in written.decode()


@pytest.mark.parametrize(
    ("name", "words"), [("f.jpg", "must end in .png, .svg or .pdf"), ("no/f.png", "another place")]
)
def test_what_cannot_be_written_is_one_sentence(tmp_path: Path, name: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        save_figure(a_line, tmp_path / name)
