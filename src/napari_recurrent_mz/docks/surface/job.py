"""The surface's job: the work in a thread, and the layers that it becomes."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from napari.layers import Image, Surface

from ...core.progress import Steps, stepping
from ...core.scans import FloatArray, Heights, contrast_limits
from ...engine.recipe import HeightMap, Recipe
from ..shared.layers import METADATA_KEY, um_scale_and_place

_MESH = 300  # vertices on a side, at most: enough to look at from all sides


@dataclass(frozen=True, eq=False)
class SurfaceImage:
    """The image of a surface and how it was made."""

    pixels: FloatArray
    provenance: dict[str, Any]
    seconds: float


@dataclass(frozen=True)
class Look:
    """How the result is shown: taken from the layer of the lowest scan when the work begins."""

    name: str
    colormap: str
    origin_um: tuple[float, float]
    is_unsized: bool


def heights_of(recipe: Recipe) -> Heights:
    """The heights of a surface that is to be reconstructed, shape (Y, X), in micrometres."""
    assert isinstance(recipe.target, HeightMap)
    return recipe.target.heights_um


def surface_steps(recipe: Recipe, stop: threading.Event) -> Steps[SurfaceImage]:
    """Yield how far the work is."""
    return stepping(lambda: _work(recipe, stop), stop.is_set)


def _work(recipe: Recipe, stop: threading.Event) -> SurfaceImage:
    from ...core.device import choose_device
    from ...engine import inference
    from ...engine.check import OwnSampleCheck

    began = time.monotonic()
    recipe = inference.loaded(recipe)
    events = list(inference.run(recipe, stopped=stop.is_set))
    check = next((event for event in events if isinstance(event, OwnSampleCheck)), None)
    (image,) = (event for event in events if isinstance(event, inference.SurfaceImage))
    seconds = time.monotonic() - began
    provenance = recipe.provenance(choose_device(recipe.device), seconds, check)
    return SurfaceImage(image.pixels, provenance, seconds)


def add_image(viewer: Any, recipe: Recipe, surface: SurfaceImage, look: Look, title: str) -> Image:
    """Add the image of the surface as a 2-D layer in µm, its heights in its metadata."""
    pixel_um = recipe.pixel_size_um
    place = um_scale_and_place(pixel_um, pixel_um, 0.0, look.origin_um)
    return viewer.add_image(
        surface.pixels,
        name=f"{look.name} · surface, {title}",
        **{name: values[1:] for name, values in place.items()},
        contrast_limits=contrast_limits(recipe.scans),
        colormap=look.colormap,
        metadata={METADATA_KEY: {**surface.provenance, "heights_um": heights_of(recipe)}},
    )


def add_mesh(viewer: Any, recipe: Recipe, image: Image, look: Look) -> Surface:
    """Add the surface where it lies in space, with its image on it."""
    heights = heights_of(recipe)
    every = [max(1, -(-size // _MESH)) for size in heights.shape]
    sparse = slice(None, None, every[0]), slice(None, None, every[1])
    heights, pixels = heights[sparse], np.asarray(image.data)[sparse]
    y, x = np.indices(heights.shape) * (np.array(every) * recipe.pixel_size_um)[:, None, None]
    vertices = np.stack([heights, y + look.origin_um[0], x + look.origin_um[1]], axis=-1)
    vertices = vertices.reshape(-1, 3)
    return viewer.add_surface(
        (vertices, _faces(heights.shape), pixels.ravel()),
        name=f"{image.name} in 3-D",
        units=("um", "um", "um"),
        axis_labels=("z", "y", "x"),
        colormap=look.colormap,
        contrast_limits=tuple(image.contrast_limits),
        shading="none",
    )


def _faces(shape: Sequence[int]) -> npt.NDArray[np.int64]:
    """Two triangles for every square of a grid of vertices."""
    number = np.arange(shape[0] * shape[1]).reshape(shape[0], shape[1])
    a, b, c, d = (number[:-1, :-1], number[:-1, 1:], number[1:, :-1], number[1:, 1:])
    upper = np.stack([a, b, c], axis=-1).reshape(-1, 3)
    lower = np.stack([b, d, c], axis=-1).reshape(-1, 3)
    return np.concatenate([upper, lower])
