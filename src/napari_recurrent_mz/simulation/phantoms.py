"""Phantoms: fluorophore densities from sparse to dense, the objects of the simulated samples.

Each is a non-negative float32 volume (Z, Y, X) whose brightest structures are about 1, drawn in
micrometres, so that it looks the same through every objective.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage

from ..core.arrays import Array
from ..core.device import available_cores
from ..core.optics import Optics

Volume = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Space:
    """Where a phantom is drawn."""

    shape: tuple[int, int, int]  # (Z, Y, X) voxels
    voxel_um: tuple[float, float, float]  # (z, y, x)
    unit_um: float = 1.0  # structures scale with it: about 1 for a high NA, larger for a low one

    @classmethod
    def of(cls, optics: Optics, shape: tuple[int, int, int], z_step_um: float) -> Space:
        """Where a microscope looks: structures grow with its resolution, as samples do."""
        pixel = optics.pixel_um
        unit = max(1.0, optics.resolution_um / 0.25, pixel / 0.25)
        return cls(shape, (z_step_um, pixel, pixel), unit)

    @property
    def size_um(self) -> Array:
        """(z, y, x) extent, in micrometres."""
        return np.asarray(np.array(self.shape) * np.array(self.voxel_um), np.float64)

    def empty(self) -> Volume:
        """A dark volume."""
        return np.zeros(self.shape, np.float32)


Phantom = Callable[[Space, np.random.Generator], Volume]


def phantom(kind: str, space: Space, rng: np.random.Generator) -> Volume:
    """Draw one phantom of a kind of :data:`KINDS`: float32, >= 0, brightest structures about 1."""
    volume = np.maximum(KINDS[kind](space, rng), 0)
    top = float(np.percentile(volume[::2, ::2, ::2], 99.9)) if kind not in SPARSE else 0.0
    return (volume / (top or float(volume.max()) or 1.0)).astype(np.float32)


def add_points(volume: Volume, points: Array, values: npt.ArrayLike) -> None:
    """Add point sources at ``points`` (N, 3), fractional voxels (z, y, x), spread trilinearly."""
    base = np.floor(points).astype(int)
    part = points - base
    amounts = np.broadcast_to(np.asarray(values, dtype=float), len(points))
    for corner in np.ndindex(2, 2, 2):
        index = base + corner
        weight = np.prod(np.where(np.array(corner) == 1, part, 1 - part), axis=1) * amounts
        inside = np.all((index >= 0) & (index < volume.shape), axis=1)
        np.add.at(volume, tuple(index[inside].T), weight[inside])


def random_field(space: Space, rng: np.random.Generator, scale_um: float, power: float) -> Volume:
    """Smooth random field, zero mean and unit variance: spectrum falls beyond 1/scale."""
    noise = fft.rfftn(rng.standard_normal(space.shape, dtype=np.float32), workers=available_cores())
    frequencies = [
        np.fft.fftfreq(n, d) if axis < 2 else np.fft.rfftfreq(n, d)
        for axis, (n, d) in enumerate(zip(space.shape, space.voxel_um, strict=True))
    ]
    square = np.zeros((1, 1, 1))
    for axis, f in enumerate(frequencies):
        square = square + (f**2).reshape([-1 if a == axis else 1 for a in range(3)])
    noise *= (1 + square * scale_um**2).astype(np.float32) ** np.float32(-power / 2)
    noise[0, 0, 0] = 0
    field = fft.irfftn(noise, s=space.shape, workers=available_cores())
    return np.asarray(field / (field.std() + 1e-12), np.float32)


def blobs_of(
    volume: Volume,
    space: Space,
    rng: np.random.Generator,
    centres_um: Array,
    radii_um: Array,
    brightness: Array,
    *,
    hollow: float = 0.0,
) -> None:
    """Draw soft ellipsoids (centres (N, 3), semi-axes (N, 3)); ``hollow`` dims the inside."""
    voxel = np.array(space.voxel_um)
    for centre, radii, value in zip(centres_um, radii_um, brightness, strict=True):
        low = np.maximum(np.floor((centre - 1.3 * radii) / voxel).astype(int), 0)
        high = np.minimum(np.ceil((centre + 1.3 * radii) / voxel).astype(int) + 1, space.shape)
        if np.any(high <= low):
            continue
        axes = [
            ((np.arange(a, b) * d - c) / r).astype(np.float32)
            for a, b, d, c, r in zip(low, high, voxel, centre, radii, strict=True)
        ]
        z, y, x = np.meshgrid(*axes, indexing="ij", sparse=True)
        tilt = np.float32(rng.uniform(-0.4, 0.4))
        distance = np.sqrt(z**2 + (y + tilt * x) ** 2 + (x - tilt * y) ** 2)
        body = np.clip((1.1 - distance) / 0.2, 0, 1)
        body *= 1 - hollow * np.clip(1.0 - distance, 0, 1)
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        np.maximum(volume[box], np.float32(value) * body, out=volume[box])


def scatter_um(space: Space, rng: np.random.Generator, count: int) -> Array:
    return rng.uniform(size=(count, 3)) * space.size_um


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def walk(space: Space, rng: np.random.Generator, steps: int, stiff: float) -> Array:
    """A persistent random path in voxel coordinates, (steps, 3), half a pixel a step."""
    step_um = 0.5 * space.voxel_um[1]
    turns = rng.standard_normal((steps, 3)) * np.sqrt(step_um / (stiff * space.unit_um))
    direction = rng.standard_normal(3) + np.cumsum(turns, axis=0)
    direction[:, 0] *= rng.uniform(0.2, 0.8)
    direction /= np.linalg.norm(direction, axis=1, keepdims=True) + 1e-9
    path = scatter_um(space, rng, 1) + np.cumsum(direction * step_um, axis=0)
    return np.asarray(path / np.array(space.voxel_um))


def beads(space: Space, rng: np.random.Generator) -> Volume:
    """Sub-resolution beads at random positions, of one or of mixed brightness."""
    volume = space.empty()
    area = float(np.prod(space.size_um[1:])) / space.unit_um**2
    count = max(1, int(area * log_uniform(rng, 0.001, 0.6)))
    spread = rng.choice([0.05, 0.3, 0.8])
    add_points(volume, rng.uniform(size=(count, 3)) * space.shape, rng.lognormal(0, spread, count))
    return volume


def neurites(space: Space, rng: np.random.Generator) -> Volume:
    """Thin branching fibres with varicosities, and now and then a cell body."""
    volume = space.empty()
    for _ in range(int(rng.integers(3, 26))):
        steps = int(rng.integers(300, 2500))
        path = walk(space, rng, steps, stiff=log_uniform(rng, 2, 40))
        beading = 1 + rng.uniform(0, 2) * (
            ndimage.gaussian_filter1d(rng.normal(size=steps), 6) > 0.15
        )
        add_points(volume, path, beading * rng.lognormal(0, 0.4))
    if rng.random() < 0.6:
        thickness = rng.uniform(0, 0.2) * space.unit_um / np.array(space.voxel_um)
        volume = ndimage.gaussian_filter(volume, thickness).astype(np.float32)
    volume /= volume.max() + 1e-9
    somata = int(rng.integers(0, 4))
    radii = rng.uniform(1, 4, (somata, 1)) * rng.uniform(0.8, 1.2, (somata, 3)) * space.unit_um
    blobs_of(
        volume, space, rng, scatter_um(space, rng, somata), radii, rng.uniform(0.1, 0.6, somata)
    )
    return volume


def nuclei(space: Space, rng: np.random.Generator) -> Volume:
    """Sparse nuclei with chromatin texture on a dark ground."""
    volume = space.empty()
    radius = log_uniform(rng, 0.8, 4.0) * space.unit_um
    fill = rng.uniform(0.01, 0.10)
    count = int(np.clip(fill * np.prod(space.size_um) / (4.2 * radius**3), 3, 400))
    radii = radius * rng.uniform(0.7, 1.3, (count, 3))
    blobs_of(
        volume,
        space,
        rng,
        scatter_um(space, rng, count),
        radii,
        rng.lognormal(0, 0.4, count),
        hollow=rng.uniform(0, 0.5),
    )
    return _textured(volume, space, rng)


def _textured(volume: Volume, space: Space, rng: np.random.Generator) -> Volume:
    scale = log_uniform(rng, 0.15, 1.0) * space.unit_um
    texture = np.exp(rng.uniform(0.1, 0.7) * random_field(space, rng, scale, 4.0))
    return np.asarray(volume * texture, np.float32)


def worm(space: Space, rng: np.random.Generator) -> Volume:
    """A worm: rows of nuclei along a curved body, cords of fibres, a faint glow of the body."""
    volume = space.empty()
    size, unit = space.size_um, space.unit_um
    radius = rng.uniform(0.28, 0.45) * min(size[0], size[1])
    along = np.linspace(-0.2, 1.2, 400) * size[2]
    bend = (
        rng.uniform(0.05, 0.2)
        * size[1]
        * np.sin(along / size[2] * rng.uniform(2, 6) + rng.uniform(0, 6))
    )
    centre_y = rng.uniform(0.4, 0.6) * size[1] + bend
    centre_z = size[0] * rng.uniform(0.4, 0.6)
    z, y, x = (
        np.arange(n, dtype=np.float32) * d for n, d in zip(space.shape, space.voxel_um, strict=True)
    )
    middle = np.interp(x, along, centre_y)
    off = np.sqrt((z[:, None, None] - centre_z) ** 2 + (y[None, :, None] - middle) ** 2)
    glow = np.clip((radius - off) / (0.2 * radius), 0, 1) * rng.uniform(0.0, 0.12)
    volume += glow * (1 + 0.4 * random_field(space, rng, 1.5 * unit, 4.0))
    for _ in range(int(rng.integers(2, 6))):
        angle, where = rng.uniform(0, 2 * np.pi), rng.uniform(0.5, 0.95) * radius
        count = int(size[2] / (unit * rng.uniform(2.0, 6.0)))
        at = rng.uniform(-0.1, 1.1, count) * size[2]
        centres = np.stack(
            [
                centre_z + where * np.sin(angle) + rng.normal(0, 0.6, count) * unit,
                np.interp(at, along, centre_y)
                + where * np.cos(angle)
                + rng.normal(0, 0.6, count) * unit,
                at,
            ],
            axis=1,
        )
        radii = rng.uniform(0.6, 1.8, (count, 3)) * unit
        blobs_of(volume, space, rng, centres, radii, rng.lognormal(-0.3, 0.5, count), hollow=0.3)
    return _textured(volume, space, rng)


def tissue(space: Space, rng: np.random.Generator) -> Volume:
    """Dense tissue: hundreds of touching nuclei in a bright cytoplasm, no dark ground."""
    unit = space.unit_um
    radius = rng.uniform(1.0, 3.0) * unit
    haze = rng.uniform(0.1, 0.6) * np.exp(
        rng.uniform(0.2, 0.6) * random_field(space, rng, rng.uniform(1, 6) * unit, 4.0)
    )
    volume = haze.astype(np.float32)
    count = int(
        np.clip(rng.uniform(0.2, 0.6) * np.prod(space.size_um) / (4.2 * radius**3), 20, 900)
    )
    radii = radius * rng.uniform(0.7, 1.2, (count, 3))
    bright = rng.uniform(0.3, 1.0, count)
    cells = space.empty()
    blobs_of(
        cells, space, rng, scatter_um(space, rng, count), radii, bright, hollow=rng.uniform(0, 0.4)
    )
    # Half of such stains leave the nuclei dark and light the cytoplasm instead.
    volume = volume * (1 - 0.8 * np.minimum(cells, 1)) if rng.random() < 0.35 else volume + cells
    return _textured(volume, space, rng)


def embryo(space: Space, rng: np.random.Generator) -> Volume:
    """An embryo: a large bright ellipsoid of tissue that fills the field, granules inside."""
    unit, size = space.unit_um, space.size_um
    body = space.empty()
    centre = size * rng.uniform(0.35, 0.65, 3)
    radii = np.array([rng.uniform(0.5, 1.0) * size[0], *(rng.uniform(0.4, 0.9, 2) * size[1])])
    blobs_of(body, space, rng, centre[None], radii[None], np.ones(1))
    fine = np.exp(
        rng.uniform(0.3, 0.9) * random_field(space, rng, log_uniform(rng, 0.3, 2) * unit, 4.0)
    )
    volume = body * fine * rng.uniform(0.2, 0.6)
    inside = tissue(space, rng) if rng.random() < 0.5 else nuclei(space, rng)
    volume += (
        body * inside * rng.uniform(0.3, 1.0) / (np.percentile(inside[::3, ::3, ::3], 99.5) + 1e-6)
    )
    granules = space.empty()
    count = int(rng.integers(50, 3000))
    add_points(granules, rng.uniform(size=(count, 3)) * space.shape, rng.lognormal(0, 0.6, count))
    return np.asarray(volume + body * granules * rng.uniform(0, 4), np.float32)


def filaments(space: Space, rng: np.random.Generator) -> Volume:
    """A dense mesh of stiff filaments, as microtubules or actin, over a faint haze."""
    volume = space.empty()
    for _ in range(int(rng.integers(40, 220))):
        path = walk(space, rng, int(rng.integers(300, 1200)), stiff=log_uniform(rng, 10, 300))
        add_points(volume, path, rng.uniform(0.4, 1.0))
    volume /= np.percentile(volume[volume > 0], 99) if volume.any() else 1
    haze = np.exp(0.5 * random_field(space, rng, 3 * space.unit_um, 4.0))
    return np.asarray(volume + rng.uniform(0, 0.05) * haze, np.float32)


def membranes(space: Space, rng: np.random.Generator) -> Volume:
    """Thin sheets: the level sets of smooth random fields, as cell borders or organelles."""
    volume = space.empty()
    for _ in range(int(rng.integers(1, 3))):
        field = random_field(space, rng, rng.uniform(1.5, 6) * space.unit_um, 5.0)
        width = rng.uniform(0.04, 0.15)
        volume += np.exp(-0.5 * ((field - rng.normal(0, 0.5)) / width) ** 2) * rng.uniform(0.4, 1)
    return (volume + rng.uniform(0, 0.15)).astype(np.float32)


def texture(space: Space, rng: np.random.Generator) -> Volume:
    """A log-normal random field with a power-law spectrum: structure at many scales."""
    field = random_field(space, rng, log_uniform(rng, 0.3, 8) * space.unit_um, rng.uniform(2, 5))
    return np.asarray(np.exp(rng.uniform(0.3, 1.6) * field), np.float32)


@lru_cache(maxsize=1)
def _confocal_nuclei() -> Volume:
    """Nuclei of a tissue, confocal, (60, 256, 256) at 0.29 × 0.26 µm, background removed."""
    with files(__package__).joinpath("phantom_data/nuclei.npz").open("rb") as stream:
        stack = np.load(stream)["stack"].astype(np.float32)
    return np.asarray(np.maximum(stack - np.percentile(stack, 20), 0), np.float32)


def confocal(space: Space, rng: np.random.Generator) -> Volume:
    """Real confocal structure (CC0, see phantom_data/README.md), at a random size and turn."""
    source = _confocal_nuclei()
    zoom = rng.uniform(0.35, 1.0)  # smaller than it was, so that its own blur shrinks too
    ratio = zoom * np.array([0.29, 0.26, 0.26]) * space.unit_um / np.array(space.voxel_um)
    small = ndimage.zoom(source, ratio, order=1)
    small = np.rot90(small, int(rng.integers(4)), axes=(1, 2))
    # Mirrored where the field is larger than the source, so that no seam is seen.
    spare = [max(0, n - m) for n, m in zip(small.shape, space.shape, strict=True)]
    start = [int(rng.integers(0, n + 1)) for n in spare]
    cut = small[start[0] :, start[1] :, start[2] :]
    pads = [(0, max(0, n - m)) for n, m in zip(space.shape, cut.shape, strict=True)]
    tiled = np.pad(cut, pads, mode="symmetric")
    z, y, x = space.shape
    return np.asarray(tiled[:z, :y, :x] ** rng.uniform(0.8, 2.0), np.float32)


def mixture(space: Space, rng: np.random.Generator) -> Volume:
    """Two kinds in one sample, as counterstains and debris give."""
    first, second = rng.choice([k for k in KINDS if k != "mixture"], 2, replace=False)
    share = rng.uniform(0.2, 0.8)
    return share * phantom(first, space, rng) + (1 - share) * phantom(second, space, rng)


SPARSE = ("beads", "neurites", "nuclei")
"""Kinds with much dark ground, where more than the linear estimate can be had."""

KINDS: dict[str, Phantom] = {
    "beads": beads,
    "neurites": neurites,
    "nuclei": nuclei,
    "worm": worm,
    "tissue": tissue,
    "embryo": embryo,
    "filaments": filaments,
    "membranes": membranes,
    "texture": texture,
    "confocal": confocal,
    "mixture": mixture,
}
