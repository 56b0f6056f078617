"""The image of a surface: a tilted plane, a curved coverslip, the face of a tissue.

The distance from a scan to its target is a map, one number for each pixel, so the target need
not be level. :func:`reconstruct_surface` gives every pixel at a height of its own;
:func:`plane_through` makes the heights of a plane through three points or more. Lengths are in
micrometres, points and pixels in the order (z, y, x).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from ..core.arrays import real_array
from ..core.device import choose_device
from ..core.methods import DEFAULT_METHOD
from ..core.optics import Optics
from ..core.progress import Listener, listening, nobody
from ..core.scans import FloatArray, Heights, InputError, Scan, check_heights
from ..networks.weights import Model
from .check import OwnSampleCheck
from .inference import SurfaceImage, loaded, run, tell
from .recipe import HeightMap, Recipe
from .recipe import SurfaceFacts as SurfaceFacts

_ON_A_LINE = 0.01  # of their length: points nearer to a line than this do not fix a plane


def reconstruct_surface(
    scans: Sequence[Scan],
    heights_um: npt.ArrayLike,
    *,
    optics: Optics | None = None,
    method: str = DEFAULT_METHOD,
    model: Model | None = None,
    device: str = "auto",
    on_progress: Listener | None = None,
    on_message: Callable[[str], None] | None = None,
    on_check: Callable[[OwnSampleCheck], None] | None = None,
    stopped: Callable[[], bool] | None = None,
) -> FloatArray:
    """Make the image of a surface from a few scans.

    A flat surface is the plane that :func:`~.reconstruct` gives.

    Parameters
    ----------
    scans : sequence of Scan
        At least two, of one shape, at different heights, in any order.
    heights_um : array_like, shape (Y, X)
        The height of every pixel of the scans, in micrometres; it may leave their range.
    optics, method, model, device, on_message, on_check
        As in :func:`~.iter_planes`.
    on_progress : callable, optional
        Told what is being done, how many pieces of it are done, and of how many.
    stopped : callable, optional
        Asked before every piece; True ends the work in
        :class:`~.Stopped`.

    Returns
    -------
    numpy.ndarray, float32, shape (Y, X)
        In the input's intensity units. Pixels at the height of a scan (within 1 nm) are that
        scan's own, unless a confocal image is made.

    Raises
    ------
    InputError
        If scans, heights, optics, method or device do not make sense.
    Stopped
        If ``stopped`` said so.

    Examples
    --------
    >>> heights = plane_through([(2, 0, 0), (8, 0, 60), (2, 60, 0)], (512, 512), 0.13)
    >>> image = reconstruct_surface(scans, heights, optics=optics)       # doctest: +SKIP
    """
    recipe = Recipe(scans, HeightMap(cast(Heights, heights_um)), optics, method, model, device)
    with listening(on_progress or nobody, stopped):
        return surface_of(recipe, on_message, on_check).pixels


@dataclass(frozen=True, eq=False)
class MadeSurface:
    """The image of a surface, and how it was made."""

    recipe: Recipe
    pixels: FloatArray  #: (Y, X), in the input's intensity units
    seconds: float  #: that it took
    check: OwnSampleCheck | None  #: what the check on the scans found, with the method auto

    @cached_property
    def provenance(self) -> dict[str, Any]:
        """How the image was made, JSON-able; InputError if the recipe has no pixel size."""
        device = choose_device(self.recipe.device)
        return self.recipe.provenance(device, self.seconds, self.check)


def surface_of(
    recipe: Recipe,
    on_message: Callable[[str], None] | None = None,
    on_check: Callable[[OwnSampleCheck], None] | None = None,
    stopped: Callable[[], bool] | None = None,
) -> MadeSurface:
    """Make the image of the surface that is a recipe's target; see :func:`reconstruct_surface`."""
    began, check = time.monotonic(), None
    recipe = loaded(recipe)
    for event in run(recipe, stopped=stopped):
        tell(event, on_message, on_check)
        if isinstance(event, OwnSampleCheck):
            check = event
        elif isinstance(event, SurfaceImage):
            return MadeSurface(recipe, event.pixels, time.monotonic() - began, check)
    raise AssertionError("the image comes last")


def plane_through(
    points_um: npt.ArrayLike,
    shape: tuple[int, int],
    pixel_um: float,
    origin_um: tuple[float, float] = (0.0, 0.0),
) -> Heights:
    """Heights of the plane through points: exactly for three, by least squares for more.

    Parameters
    ----------
    points_um : array_like, shape (N, 3)
        Points (z, y, x), in micrometres, N >= 3.
    shape : tuple of int
        (Y, X) of the scans.
    pixel_um : float
        Pixel size, in micrometres, > 0.
    origin_um : tuple of float, optional
        Where (y, x) the centre of the first pixel lies.

    Returns
    -------
    numpy.ndarray, float64, shape (Y, X)
        z of the plane at the centre of every pixel, in micrometres.

    Raises
    ------
    InputError
        If there are fewer than three points, or they lie on one line seen from above.
    """
    points = real_array(points_um, "The list of points", of="coordinate").astype(np.float64)
    if points.ndim != 2 or points.shape[1] != 3 or len(points) < 3:
        given = len(points) if points.ndim == 2 and points.shape[1] == 3 else 0
        are_there = "is one" if given == 1 else f"are {given or 'none'}"
        raise InputError(
            f"A plane needs three points (z, y, x) in µm, but there {are_there}: give three."
        )
    centre = points.mean(axis=0)
    from_centre = points - centre
    lengths = np.linalg.svd(from_centre[:, 1:], compute_uv=False)
    if lengths[1] <= _ON_A_LINE * lengths[0]:
        raise InputError(
            f"The {len(points)} points lie on one line seen from above, which does not fix a "
            "plane: move one of them to the side."
        )
    field_um = pixel_um * np.array(shape)
    for z, *place in points:
        if (np.abs(place - np.array(origin_um) - field_um / 2) > 1.5 * field_um).any():
            y, x = field_um
            raise InputError(
                f"The point ({z:g}, {place[0]:g}, {place[1]:g}) lies far outside of the field of "
                f"{y:.3g} × {x:.3g} µm: give points as z, y, x in µm, not in pixels."
            )
    slope = np.linalg.lstsq(from_centre[:, 1:], from_centre[:, 0], rcond=None)[0]
    y, x = (
        start + pixel_um * np.arange(n) - middle
        for start, n, middle in zip(origin_um, shape, centre[1:], strict=True)
    )
    plane: Heights = centre[0] + slope[0] * y[:, None] + slope[1] * x[None]
    return plane


def heights_on_field(
    heights_um: npt.ArrayLike,
    spacing_um: tuple[float, float],
    origin_um: tuple[float, float],
    shape: tuple[int, int],
    pixel_um: float,
    field_origin_um: tuple[float, float] = (0.0, 0.0),
    *,
    name: str = "",
) -> Heights:
    """Bring a height map of another pixel size or place onto the pixels of the scans.

    Bilinear between the map's pixels, and flat for the half pixel around its outermost centres.

    Parameters
    ----------
    heights_um : array_like, shape (Y', X')
        Heights, in micrometres.
    spacing_um, origin_um : tuple of float
        (y, x) size of the map's pixels, and centre of its first one, in micrometres.
    shape : tuple of int
        (Y, X) of the scans.
    pixel_um, field_origin_um
        The same of the scans.
    name : str, optional
        How an error message calls the map.

    Returns
    -------
    numpy.ndarray, float64, shape (Y, X)

    Raises
    ------
    InputError
        If the map is no map of finite heights, or does not cover the field of the scans.
    """
    what = f"The height map '{name}'" if name else "The height map"
    given = real_array(heights_um, what)
    size = given.shape
    checked = check_heights(given, size, name)
    places = [
        (start + pixel_um * np.arange(n) - first) / spacing
        for start, n, first, spacing in zip(
            field_origin_um, shape, origin_um, spacing_um, strict=True
        )
    ]
    # Another quarter of a pixel is a matter of how corners and centres are counted.
    short = [p.min() < -0.75 or p.max() > n - 0.25 for p, n in zip(places, size, strict=True)]
    if any(short):
        axis = "y and x" if all(short) else "yx"[int(np.argmax(short))]
        raise InputError(
            f"{what} does not reach over the whole field of the scans along {axis}: give one that "
            "covers it, or crop the scans."
        )
    heights: Heights = ndimage.map_coordinates(
        checked, np.meshgrid(*places, indexing="ij"), order=1, mode="nearest"
    )
    return heights
