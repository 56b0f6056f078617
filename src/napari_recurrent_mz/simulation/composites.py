"""Composite phantoms: several kinds of structure, each in a part of the sample of its own."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import ndimage

from .phantoms import (
    Space,
    Volume,
    add_points,
    blobs_of,
    log_uniform,
    random_field,
    scatter_um,
    walk,
)

_Draw = Callable[[Space, np.random.Generator], Volume]


def composite(space: Space, rng: np.random.Generator) -> Volume:
    """Draw one composite phantom; brightest structures about 1."""
    volume = space.empty()
    domains = [_domain(space, rng) for _ in range(int(rng.integers(1, 3)))]
    for _ in range(int(rng.choice([1, 2, 3, 4], p=[0.2, 0.35, 0.3, 0.15]))):
        draw = _STRUCTURES[int(rng.integers(len(_STRUCTURES)))]
        structure = draw(space, rng) * domains[int(rng.integers(len(domains)))]
        top = float(structure.max()) if draw is _spots else _bright(structure)
        if top > 0:
            volume += structure * np.float32(log_uniform(rng, 0.1, 1.0) / top)
    if rng.random() < 0.6:
        volume += np.float32(log_uniform(rng, 0.003, 0.3)) * _haze(space, rng) * domains[0]
    return volume


def _bright(volume: Volume) -> float:
    """The 99.9th percentile, or the maximum where less than that is lit."""
    some = volume[::2, ::2, ::2]
    return float(np.percentile(some, 99.9)) or float(volume.max())


def _domain(space: Space, rng: np.random.Generator) -> Volume:
    """A part of the sample: 1 inside, 0 outside, with a soft border."""
    where = rng.choice(["everywhere", "layer", "body", "cells", "cells in a layer"])
    inside = np.ones(space.shape, np.float32)
    if where == "body":
        inside *= _body(space, rng)
    if "cells" in where:
        field = random_field(space, rng, log_uniform(rng, 2, 10) * space.unit_um, 5.0)
        inside *= np.clip((field - rng.normal(0, 0.7)) / rng.uniform(0.02, 0.3) + 0.5, 0, 1)
    if "layer" in where:
        inside *= _layer(space, rng)
    return inside


def _axes_um(space: Space) -> list[np.ndarray]:
    """Positions along z, y and x, shaped to broadcast."""
    return [
        (np.arange(n, dtype=np.float32) * np.float32(d)).reshape(
            [-1 if a == axis else 1 for a in range(3)]
        )
        for axis, (n, d) in enumerate(zip(space.shape, space.voxel_um, strict=True))
    ]


def _body(space: Space, rng: np.random.Generator) -> Volume:
    """An ellipsoid that fills a part of the field, or more than it."""
    centre = space.size_um * rng.uniform(0.3, 0.7, 3)
    radii = space.size_um * rng.uniform(0.15, 0.8, 3)
    squares = [((at - c) / r) ** 2 for at, c, r in zip(_axes_um(space), centre, radii, strict=True)]
    distance = np.sqrt(squares[0] + squares[1] + squares[2])
    border = np.float32(rng.uniform(0.02, 0.3))
    return np.asarray(np.clip((1 - distance) / border + 0.5, 0, 1), np.float32)


def _layer(space: Space, rng: np.random.Generator) -> Volume:
    """A layer of a few micrometres, tilted and uneven."""
    z, y, x = _axes_um(space)
    size = space.size_um
    middle = size[0] * rng.uniform(0.3, 0.7) + sum(
        rng.normal(0, 0.05) * (at - length / 2) for at, length in ((y, size[1]), (x, size[2]))
    )
    rough = ndimage.zoom(rng.normal(0, 1, (6, 6)), np.array(space.shape[1:]) / 6, order=3)[None]
    thickness = log_uniform(rng, 0.5, 12) * space.unit_um * np.exp(0.3 * rough).astype(np.float32)
    soft = rng.uniform(0.1, 0.6) * space.unit_um
    return np.asarray(np.clip((thickness / 2 - np.abs(z - middle)) / soft + 0.5, 0, 1), np.float32)


def _haze(space: Space, rng: np.random.Generator) -> Volume:
    field = random_field(space, rng, log_uniform(rng, 1, 8) * space.unit_um, 4.0)
    return np.asarray(np.exp(np.float32(rng.uniform(0.1, 0.6)) * field), np.float32)


def _texture(space: Space, rng: np.random.Generator) -> Volume:
    """Structure at many scales, from soft clouds to sparse grains."""
    scale = log_uniform(rng, 0.15, 6) * space.unit_um
    field = random_field(space, rng, scale, rng.uniform(2, 5))
    if rng.random() < 0.4:  # as grains: only the peaks
        return np.asarray(np.maximum(field - rng.uniform(0, 2), 0), np.float32)
    return np.asarray(np.exp(np.float32(rng.uniform(0.3, 2.0)) * field), np.float32)


def _membranes(space: Space, rng: np.random.Generator) -> Volume:
    field = random_field(space, rng, log_uniform(rng, 0.8, 8) * space.unit_um, rng.uniform(4, 6))
    level, width = np.float32(rng.normal(0, 0.7)), np.float32(rng.uniform(0.03, 0.2))
    return np.asarray(np.exp(-0.5 * ((field - level) / width) ** 2), np.float32)


def _tubules(space: Space, rng: np.random.Generator) -> Volume:
    """A mesh of tubes: where two smooth fields are near nil at once."""
    scale, power = log_uniform(rng, 0.8, 6) * space.unit_um, rng.uniform(4, 6)
    square = sum(random_field(space, rng, scale, power) ** 2 for _ in range(2))
    return np.asarray(np.exp(-0.5 * square / np.float32(rng.uniform(0.05, 0.3) ** 2)), np.float32)


def _spots(space: Space, rng: np.random.Generator) -> Volume:
    """Spots below or about the resolution, alone or in clusters."""
    volume = space.empty()
    area = float(np.prod(space.size_um[1:])) / space.unit_um**2
    count = max(1, int(area * log_uniform(rng, 0.003, 10)))
    points = rng.uniform(size=(count, 3)) * space.shape
    if rng.random() < 0.5:
        centres = rng.uniform(size=(max(1, count // int(rng.integers(3, 60))), 3)) * space.shape
        spread = log_uniform(rng, 0.3, 4) * space.unit_um / np.array(space.voxel_um)
        points = (
            centres[rng.integers(len(centres), size=count)] + rng.normal(size=(count, 3)) * spread
        )
    add_points(volume, points, rng.lognormal(0, rng.choice([0.1, 0.4, 0.9]), count))
    width = rng.choice([0.0, rng.uniform(0, 0.25)]) * space.unit_um / np.array(space.voxel_um)
    return ndimage.gaussian_filter(volume, width) if width.any() else volume


def _blobs(space: Space, rng: np.random.Generator) -> Volume:
    """Nuclei, granules or vesicles: solid, textured or hollow."""
    volume = space.empty()
    radius = log_uniform(rng, 0.3, 5.0) * space.unit_um
    fill = log_uniform(rng, 0.005, 0.5)
    count = int(np.clip(fill * np.prod(space.size_um) / (4.2 * radius**3), 1, 500))
    radii = radius * rng.uniform(0.6, 1.4, (count, 1)) * rng.uniform(0.7, 1.3, (count, 3))
    hollow = rng.choice([0.0, rng.uniform(0, 0.5), rng.uniform(0.8, 1.0)])
    bright = rng.lognormal(0, rng.uniform(0, 0.6), count)
    blobs_of(volume, space, rng, scatter_um(space, rng, count), radii, bright, hollow=hollow)
    if rng.random() < 0.6:
        scale = log_uniform(rng, 0.15, 1.5) * space.unit_um
        volume *= np.exp(np.float32(rng.uniform(0.1, 0.9)) * random_field(space, rng, scale, 4.0))
    return volume


def _filaments(space: Space, rng: np.random.Generator) -> Volume:
    volume = space.empty()
    stiff = log_uniform(rng, 2, 300)
    for _ in range(int(log_uniform(rng, 3, 150))):
        path = walk(space, rng, int(rng.integers(200, 1500)), stiff=stiff)
        add_points(volume, path, rng.lognormal(0, 0.4))
    return volume


_STRUCTURES: tuple[_Draw, ...] = (
    _texture, _membranes, _tubules, _spots, _spots, _blobs, _blobs, _filaments,
)  # fmt: skip
