"""Layer → volume for the side views: what is projected, whether it changed, how it is shown."""

from __future__ import annotations

import zlib
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import numpy as np
from napari.layers import Image

from ...core.errors import sentence_of, size_in_words
from ...core.progress import Step, Steps, Stopped
from ...measure.plots.side_views import Panel, contrast
from ...measure.projections import How, Limits, SideViews, Slab, ViewName, iter_side_views
from ..shared import layers as _layers
from ..shared.places import units_of

Point = tuple[float, float, float]
AT_ONCE_VOXELS = 16_000_000
"""Volumes in memory up to this size are projected before the next frame is drawn."""
UNASKED_BYTES = 256 * 2**20
"""Lazy layers beyond this size are read only when a person asks for it."""
_SAMPLE = 200_000
ViewsOrReason = SideViews | str
"""The views of a volume, or a sentence that says why there are none."""


class Placed(NamedTuple):
    """A volume, and where its voxels are: the viewer's world is read through it."""

    layer: Any
    frame: _layers.Frame

    def to_um(self, world: Any, dims: Any) -> Point:
        """A position in the viewer's world as (z, y, x) in µm."""
        layer, frame = self
        index = layer.world_to_data(np.asarray(world, float)[-layer.ndim :] * units_of(layer, dims))
        z, y, x = np.asarray(frame.origin_um) + np.asarray(frame.voxel_um) * index[-3:]
        return round(float(z), 4), round(float(y), 4), round(float(x), 4)

    def show(self, point_um: Point, dims: Any) -> None:
        """Move the viewer's sliders to a position in µm."""
        layer, frame = self
        start = np.zeros(layer.ndim)
        start[-3:] = (np.asarray(point_um) - frame.origin_um) / np.asarray(frame.voxel_um)
        world = np.asarray(layer.data_to_world(start)) / units_of(layer, dims)
        for axis in sliders_of(dims):
            dims.set_point(axis + dims.ndim - 3, float(world[axis - 3]))

    def extent_um(self) -> list[tuple[float, float]]:
        """Centres of the first and the last voxel along z, y and x, the lower first."""
        counts = (_layers.plane_count(self.layer), *_layers.plane_shape(self.layer))
        voxel, first = np.asarray(self.frame.voxel_um), np.asarray(self.frame.origin_um)
        ends = np.sort([first, first + voxel * (np.asarray(counts) - 1)], axis=0)
        return [(float(low), float(high)) for low, high in ends.T]


def sliders_of(dims: Any) -> tuple[int, ...]:
    """Which of z, y and x (0, 1, 2) the viewer has sliders for."""
    first = dims.ndim - 3
    return tuple(axis - first for axis in dims.not_displayed if axis >= first)


class PixelUnderMouse(NamedTuple):
    """What the mouse points at in the figure."""

    place_um: dict[str, float]
    sentence: str


def pixel_under(event: Any, shown: list[Panel]) -> PixelUnderMouse | None:
    """The place in a side view under the mouse, and its value in words; None beside them."""
    gid = event.inaxes.get_gid() if event.inaxes is not None else None
    axes, dash, number = (gid or "").partition("-")
    if not dash or int(number) >= len(shown):
        return None
    panel = shown[int(number)]
    if panel.views is None:
        return None
    place = dict(sorted({axes[0]: float(event.xdata), axes[1]: float(event.ydata)}.items()))
    value = _value(panel.views, place)
    where = ", ".join(f"{axis} {position:.2f} µm" for axis, position in place.items())
    words = f"{panel.title}: {where}"
    return PixelUnderMouse(place, words if value is None else f"{words}: {value:.5g}")


def _value(views: SideViews, place: dict[str, float]) -> float | None:
    across, down = place  # sorted; the images are (y, x), (z, x) and (z, y)
    image = views[cast(ViewName, across + down)]
    index = []
    for axis, count in zip((down, across), image.shape, strict=True):
        low, high = getattr(views, f"{axis}_um")
        index.append(int((place[axis] - low) / (high - low) * count // 1))
    if all(0 <= i < count for i, count in zip(index, image.shape, strict=True)):
        return float(image[tuple(index)])
    return None


@dataclass(frozen=True, eq=False)
class VolumeSource:
    """One volume to project; nothing of it belongs to napari."""

    # ``version`` is a number that no other layer, and no other state of this one's data, has.

    layer_id: int
    name: str
    pixels: Any
    frame: _layers.Frame
    slab: Slab | None
    how: How
    version: int

    @property
    def wish(self) -> tuple[Any, ...]:
        """What makes two projections of the same data the same."""
        return self.layer_id, self.frame, self.slab, self.how

    @property
    def key(self) -> tuple[Any, ...]:
        """What makes two projections the same."""
        return (*self.wish, self.version)

    @property
    def is_quick(self) -> bool:
        """Whether it is done before anyone notices."""
        return isinstance(self.pixels, np.ndarray) and self.pixels.size <= AT_ONCE_VOXELS

    @property
    def wants_asking(self) -> bool:
        """Whether reading it takes so long that a person should say so."""
        return not isinstance(self.pixels, np.ndarray) and self.bytes > UNASKED_BYTES

    @property
    def bytes(self) -> int:
        return int(np.prod(self.pixels.shape) * np.dtype(self.pixels.dtype).itemsize)

    @property
    def why_unread(self) -> str:
        """What to say while it has not been projected."""
        if self.wants_asking:
            return (
                f"{self.name} has {size_in_words(self.bytes)} that are not in memory: press "
                "Project to read it once, block by block."
            )
        return f"{self.name} is not projected: press Project."

    def steps(self) -> Generator[tuple[int, int], None, SideViews]:
        """The projection, block by block."""
        return iter_side_views(
            self.pixels,
            self.frame.voxel_um,
            origin_um=self.frame.origin_um,
            slab=self.slab,
            how=self.how,
            name=self.name,
        )


def next_um(layers: Iterable[Any]) -> float | None:
    """Height suggested for the next scan, of the first layer that says one."""
    heights = (_layers.own_metadata(layer).get("next_z_um") for layer in layers)
    return next((float(z) for z in heights if isinstance(z, int | float)), None)


def fingerprint(layer: Any) -> int:
    """A number that changes when values in memory were changed in place; 0 for lazy data."""
    pixels = layer.data[0] if layer.multiscale else layer.data
    if not isinstance(pixels, np.ndarray) or pixels.ndim < 3:
        return 0
    planes = max(1, pixels.size // (pixels.shape[-1] * pixels.shape[-2]))
    stride = max(1, int(np.sqrt(pixels.size / max(_SAMPLE, planes))))
    return zlib.crc32(np.ascontiguousarray(pixels[..., ::stride, ::stride]).tobytes())


def project(sources: list[VolumeSource]) -> Steps[dict[tuple[Any, ...], ViewsOrReason]]:
    """Project several volumes, perhaps in a thread: gives the outcomes by their keys."""
    outcomes: dict[tuple[Any, ...], ViewsOrReason] = {}
    for number, source in enumerate(sources):
        steps = source.steps()
        try:
            while True:
                done, total = next(steps)
                yield Step(number * total + done, len(sources) * total, source.name)
        except StopIteration as end:
            outcomes[source.key] = end.value
        except Stopped:
            raise
        except Exception as error:
            outcomes[source.key] = sentence_of(error)
    return outcomes


def panels(
    layers: Sequence[Any], outcomes: Sequence[ViewsOrReason], kind: str, saturated: float
) -> list[Panel]:
    """What the figure shows, in the contrast ``shared``, ``separate`` or ``viewer``."""
    pairs = [
        (layer, _reason(layer, views) or views)
        for layer, views in zip(layers, outcomes, strict=True)
    ]
    shown = [views for _, views in pairs if isinstance(views, SideViews)]
    limits = iter(contrast(shown, shared=kind == "shared", saturated_percent=saturated))
    return [
        Panel(layer.name, reason=views)
        if isinstance(views, str)
        else _panel(layer, views, next(limits), as_in_viewer=kind == "viewer")
        for layer, views in pairs
    ]


def _panel(layer: Image, views: SideViews, limits: Any, *, as_in_viewer: bool) -> Panel:
    return Panel(
        layer.name,
        views,
        limits=_viewer_limits(layer, views) if as_in_viewer else limits,
        colormap=_colormap(layer),
        gamma=float(layer.gamma) if as_in_viewer else 1.0,
    )


def _reason(layer: Any, views: ViewsOrReason) -> str:
    """Why a volume is not shown."""
    if isinstance(views, str) or not views.is_constant:
        return views if isinstance(views, str) else ""
    value = "" if views.how == "sum" else f" (every voxel is {views.xy.flat[0]:g})"
    return f"Layer '{layer.name}' is constant here{value}: there is nothing to see."


def _viewer_limits(layer: Image, views: SideViews) -> tuple[Limits, Limits, Limits]:
    """The layer's own contrast limits; a sum has as many times more as it has voxels."""
    low, high = (float(v) for v in layer.contrast_limits)
    depth = views.depth if views.how == "sum" else (1, 1, 1)
    xy, xz, yz = ((low * n, high * n) for n in depth)
    return xy, xz, yz


def _colormap(layer: Image) -> Any:
    from matplotlib.colors import ListedColormap

    colours = np.asarray(layer.colormap.map(np.linspace(0, 1, 256)))
    return ListedColormap(colours, name=layer.colormap.name)
