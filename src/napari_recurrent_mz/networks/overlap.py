"""How many pixels the windows of a large image have to share for a network to leave no seam."""

from __future__ import annotations

import torch

from ..core.device import choose_device
from .inputs import Prepared
from .runner import Form, Runner, noise_input
from .weights import Model

LARGEST = 256
"""Pixels that neighbouring windows share at most, whatever a network sees beyond."""

ALIGN = 16
"""Windows start where the pooling grid of the whole image does: a multiple of this or more."""

_TOLERANCE = 5e-6
"""Largest deviation from the whole image, of its range: half of what is promised."""

_ROWS = (256, 512, 1024)  # of the images that are tried, cut across the middle
_COLUMNS = 128
_COARSE = 8  # pixels of the larger structure that a network is tried on
_overlaps: dict[str, int] = {}


def alignment(model: Model) -> int:
    """Pixels between the places where the windows of a model may start."""
    return max(ALIGN, int(2 ** (model.network.config.levels - 1)))


def overlap_of(model: Model) -> int:
    """Pixels that a window reads beyond what is kept of it, tried once for a network's weights."""
    if model.sha256 not in _overlaps:
        _overlaps[model.sha256] = _measured(model)
    return _overlaps[model.sha256]


def _measured(model: Model) -> int:
    device, begin = choose_device("cpu"), 0
    plain = Runner(model, device, Form(fast=False, half=False))
    for rows in _ROWS:
        noise = noise_input(plain.config, device, (rows, _COLUMNS))
        noise.scans[:, :, 1] = noise.scans[:, :, 1, :1, :1]  # distances, even for a plane
        wholes = [(image, plain(image)) for image in (noise, _coarse(noise))]
        step = max(alignment(model), rows // 32)
        for overlap in range(begin + step, rows // 4 + 1, step):
            if all(_seam(plain, image, whole, overlap) <= _TOLERANCE for image, whole in wholes):
                return min(overlap + alignment(model), LARGEST)
        begin = rows // 4
    return LARGEST


def _coarse(noise: Prepared) -> Prepared:
    """Brighter noise of larger grains, as of what is out of focus."""

    def larger(part: torch.Tensor) -> torch.Tensor:
        grains = 3 * part[..., ::_COARSE, ::_COARSE]
        return grains.repeat_interleave(_COARSE, -2).repeat_interleave(_COARSE, -1)

    return Prepared(*map(larger, noise))


def _seam(plain: Runner, image: Prepared, whole: torch.Tensor, overlap: int) -> float:
    """How far the two halves of an image, made apart, are from the whole: of its range."""
    middle = whole.shape[-2] // 2
    above = plain(_rows(image, slice(0, middle + overlap)))[..., :middle, :]
    below = plain(_rows(image, slice(middle - overlap, None)))[..., overlap:, :]
    off = (torch.cat([above, below], dim=-2) - whole).abs().max()
    return float(off / (whole.max() - whole.min()))


def _rows(image: Prepared, rows: slice) -> Prepared:
    return Prepared(*(part[..., rows, :] for part in image))
