"""The image of a surface: a tilted plane, a curved coverslip, the face of a tissue.

The distance from a scan to its target is a map, one number for each pixel, so the target need
not be level. :func:`reconstruct_surface` gives every pixel at a height of its own;
:func:`plane_through` makes the heights of a plane through three points or more. Lengths are in
micrometres, points and pixels in the order (z, y, x).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .check import OwnSampleCheck
from .deconvolution import Interrupted
from .device import Device
from .inference import plane_maker
from .methods import DEFAULT_METHOD, image_made
from .optics import Optics
from .progress import Listener, listening
from .provenance import provenance
from .scans import (
    FloatArray,
    Heights,
    InputError,
    Scan,
    ZGrid,
    check_heights,
    check_scans,
    require_several,
)
from .tiles import Stopped
from .weights import Model

_SAME_UM = 1e-3
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

    A flat surface is the plane that :func:`~napari_recurrent_mz.inference.reconstruct` gives.

    Parameters
    ----------
    scans : sequence of Scan
        At least two, of one shape, at different heights, in any order.
    heights_um : array_like, shape (Y, X)
        The height of every pixel of the scans, in micrometres; it may leave their range.
    optics, method, model, device, on_message, on_check
        As in :func:`~napari_recurrent_mz.inference.iter_planes`.
    on_progress : callable, optional
        Told what is being done, how many pieces of it are done, and of how many.
    stopped : callable, optional
        Asked before every piece; True ends the work in
        :class:`~napari_recurrent_mz.tiles.Stopped`.

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
    found = check_scans(scans)
    require_several(found)
    heights = check_heights(heights_um, found[0].pixels.shape)
    stopped = stopped or (lambda: False)
    maker = plane_maker(
        found,
        (float(heights.min()), float(heights.max())),
        optics=optics,
        model=model,
        method=method,
        device=device,
        on_message=on_message,
        on_check=on_check,
        stopped=stopped,
        what="surface",
    )

    def listen(words: str, done: int, total: int) -> None:
        if stopped():
            raise Stopped
        if on_progress is not None:
            on_progress(words, done, total)

    try:
        with listening(listen):
            pixels = maker.plane(heights)
    except Interrupted:
        raise Stopped from None
    if image_made(method, model) == "widefield":
        for scan in found:
            pixels = np.where(_at(scan, heights), scan.pixels, pixels)
    return pixels


def _at(scan: Scan, heights_um: Heights) -> npt.NDArray[np.bool_]:
    return np.abs(heights_um - scan.z_um) < _SAME_UM


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
    points = np.asarray(points_um, dtype=float)
    if points.ndim != 2 or points.shape[1] != 3 or len(points) < 3:
        given = len(points) if points.ndim == 2 and points.shape[1] == 3 else 0
        raise InputError(
            f"A plane needs three points (z, y, x) in µm, but there {_are(given)}: give three."
        )
    if not np.isfinite(points).all():
        raise InputError("A point of the plane is not finite: give z, y and x in µm.")
    centre = points.mean(axis=0)
    from_centre = points - centre
    lengths = np.linalg.svd(from_centre[:, 1:], compute_uv=False)
    if lengths[1] <= _ON_A_LINE * lengths[0]:
        raise InputError(
            f"The {len(points)} points lie on one line seen from above, which does not fix a "
            "plane: move one of them to the side."
        )
    slope = np.linalg.lstsq(from_centre[:, 1:], from_centre[:, 0], rcond=None)[0]
    y, x = (
        start + pixel_um * np.arange(n) - middle
        for start, n, middle in zip(origin_um, shape, centre[1:], strict=True)
    )
    plane: Heights = centre[0] + slope[0] * y[:, None] + slope[1] * x[None]
    return plane


def _are(count: int) -> str:
    return "is one" if count == 1 else f"are {count or 'none'}"


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
    from scipy import ndimage

    size = np.asarray(heights_um).shape
    known = check_heights(heights_um, size, name)
    places = [
        (start + pixel_um * np.arange(n) - first) / spacing
        for start, n, first, spacing in zip(
            field_origin_um, shape, origin_um, spacing_um, strict=True
        )
    ]
    # Another quarter of a pixel is a matter of how corners and centres are counted.
    short = [p.min() < -0.75 or p.max() > n - 0.25 for p, n in zip(places, size, strict=True)]
    if any(short):
        what = f"The height map '{name}'" if name else "The height map"
        axis = "y and x" if all(short) else "yx"[int(np.argmax(short))]
        raise InputError(
            f"{what} does not reach over the whole field of the scans along {axis}: give one that "
            "covers it, or crop the scans."
        )
    found: Heights = ndimage.map_coordinates(
        known, np.meshgrid(*places, indexing="ij"), order=1, mode="nearest"
    )
    return found


@dataclass(frozen=True)
class SurfaceFacts:
    """What a surface is like.

    Attributes
    ----------
    lowest_um, highest_um : float
    tilt_deg : float
        Of the plane nearest to it by least squares, 0 (level) to 90.
    bend_um : float
        Standard deviation of its heights from that plane.
    """

    lowest_um: float
    highest_um: float
    tilt_deg: float
    bend_um: float

    @classmethod
    def of(cls, heights_um: Heights, pixel_um: float) -> SurfaceFacts:
        """The facts about heights (Y, X), in micrometres."""
        rest = heights_um - heights_um.mean()
        slopes = []
        for axis, n in enumerate(heights_um.shape):
            steps = (np.arange(n) - (n - 1) / 2) * pixel_um
            along = steps[:, None] if axis == 0 else steps[None]
            slope = float((rest * along).mean() / max(float((steps**2).mean()), 1e-300))
            slopes.append(slope)
            rest = rest - slope * along
        tilt = math.degrees(math.atan(math.hypot(*slopes)))
        low, high = float(heights_um.min()), float(heights_um.max())
        return cls(low, high, tilt, float(rest.std()))

    def __str__(self) -> str:
        bent = f", {self.bend_um:.2g} µm (r.m.s.) off flat" if self.bend_um > 1e-3 else ""
        return (
            f"Heights {self.lowest_um:.4g} to {self.highest_um:.4g} µm, "
            f"tilt {self.tilt_deg:.1f}°{bent}."
        )


def surface_provenance(
    scans: Sequence[Scan],
    heights_um: Heights,
    *,
    origin: str,
    pixel_um: float,
    optics: Optics | None,
    method: str,
    model: Model | None,
    device: Device | str,
    seconds: float,
    check: OwnSampleCheck | None = None,
    points_um: npt.ArrayLike | None = None,
) -> dict[str, Any]:
    """How the image of a surface was made, JSON-able, to travel with it.

    Parameters
    ----------
    scans, optics, method, model, device, seconds, check
        As in :func:`~napari_recurrent_mz.provenance.provenance`.
    heights_um : numpy.ndarray, shape (Y, X)
    origin : str
        Where the heights come from.
    pixel_um : float
    points_um : array_like, shape (N, 3), optional
        The points (z, y, x) of a plane.

    Returns
    -------
    dict
    """
    facts = SurfaceFacts.of(heights_um, pixel_um)
    span = ZGrid(facts.lowest_um, facts.highest_um, max(facts.highest_um - facts.lowest_um, 1.0))
    made = provenance(
        scans, span, optics=optics, method=method, model=model, device=device,
        seconds=seconds, check=check,
    )  # fmt: skip
    for of_planes in ("grid", "measured_planes", "inferred_planes"):
        del made[of_planes]
    kept = () if "image" in made else scans
    measured = sum(int(np.count_nonzero(_at(scan, heights_um))) for scan in kept)
    made["surface"] = {"from": origin, **asdict(facts), "measured_pixels": measured}
    if points_um is not None:
        made["surface"]["points_um"] = np.asarray(points_um, dtype=float).tolist()
    return made
