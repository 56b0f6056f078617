"""Layer → volume for the side views: what is projected, whether it changed, how it is shown."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from napari.layers import Image

from ...core.progress import finished
from ...core.scans import InputError
from ...measure.plots.side_views import Panel, contrast
from ...measure.projections import How, Limits, SideViews, Slab, iter_side_views
from ..shared import layers as _layers
from ..shared.dock import Progress, Result
from ..shared.guard import sentence_of

AT_ONCE_VOXELS = 16_000_000
"""Volumes in memory up to this size are projected before the next frame is drawn."""

UNASKED_BYTES = 256 * 2**20
"""Lazy layers beyond this size are read only when a person asks for it."""

_SAMPLE = 200_000

Outcome = SideViews | str
"""The views of a volume, or a sentence that says why there are none."""


@dataclass(frozen=True, eq=False)
class Source:
    """One volume to project; nothing of it belongs to napari.

    ``version`` is a number that no other layer, and no other state of this one's data, has.
    """

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
        """Size of the whole volume."""
        return int(np.prod(self.pixels.shape) * np.dtype(self.pixels.dtype).itemsize)

    @property
    def why_unread(self) -> str:
        """What to say while it has not been projected."""
        if self.wants_asking:
            return (
                f"{self.name} has {self.bytes / 1e9:.3g} GB that are not in memory: press "
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


def frame_of(layer: Any, typed_um: tuple[float, float, float] | None) -> _layers.Frame:
    """Where a layer's voxels are; ``typed_um`` holds where the layer does not say."""
    stack = _layers.check_layer(layer)
    if _layers.plane_count(stack) < 2:
        raise InputError(
            f"Layer '{layer.name}' is one plane: side views need a volume (z, y, x) of several."
        )
    found = _layers.stack_frame(stack)
    if found is None and typed_um is not None:
        return _layers.Frame(typed_um, (0.0, 0.0, 0.0))
    if found is None:
        raise InputError(
            f"Layer '{layer.name}' does not say the size of its voxels: type it in µm."
        )
    return found


def pixels_of(layer: Any) -> Any:
    """The values of a volume as they are stored, (z, y, x), perhaps lazy."""
    return _layers.stack_pixels(_layers.check_layer(layer))


def is_volume(layer: Any) -> bool:
    """Whether a layer is an image of several planes of one channel."""
    try:
        return _layers.plane_count(_layers.check_layer(layer)) > 1
    except InputError:
        return False


def says_its_size(layer: Any) -> bool:
    """Whether the size of a volume need not be asked for; True for what is no volume."""
    try:
        stack = _layers.check_layer(layer)
        return _layers.plane_count(stack) < 2 or _layers.stack_frame(stack) is not None
    except InputError:
        return True


def scans_um(layer: Any) -> tuple[float, ...]:
    """Heights of the scans that a layer was reconstructed from, if it says so."""
    record = layer.metadata.get(_layers.METADATA_KEY)
    scans = record.get("scans") if isinstance(record, Mapping) else None
    if not isinstance(scans, Sequence):
        return ()
    heights = (scan.get("z_um") for scan in scans if isinstance(scan, Mapping))
    return tuple(sorted(float(z) for z in heights if isinstance(z, int | float)))


def next_um(layers: Iterable[Any]) -> float | None:
    """Height suggested for the next scan, of the first layer that says one."""
    for layer in layers:
        record = layer.metadata.get(_layers.METADATA_KEY)
        found = record.get("next_z_um") if isinstance(record, Mapping) else None
        if isinstance(found, int | float):
            return float(found)
    return None


def fingerprint(layer: Any) -> int:
    """A number that changes when values in memory were changed in place; 0 for lazy data."""
    pixels = layer.data[0] if layer.multiscale else layer.data
    if not isinstance(pixels, np.ndarray) or pixels.ndim < 3:
        return 0
    planes = max(1, pixels.size // (pixels.shape[-1] * pixels.shape[-2]))
    stride = max(1, int(np.sqrt(pixels.size / max(_SAMPLE, planes))))
    return zlib.crc32(np.ascontiguousarray(pixels[..., ::stride, ::stride]).tobytes())


def project(sources: list[Source], stop: threading.Event) -> Iterator[object]:
    """Project several volumes, for a thread: progress, and at last the outcomes by their keys."""
    found: dict[tuple[Any, ...], Outcome] = {}
    for number, source in enumerate(sources):
        steps = source.steps()
        try:
            while not stop.is_set():
                done, total = next(steps)
                yield Progress(number * total + done, len(sources) * total, source.name)
        except StopIteration as end:
            found[source.key] = end.value
        except Exception as error:
            found[source.key] = sentence_of(error)
        finally:
            steps.close()
        if stop.is_set():
            return
    yield Result(found)


def project_now(source: Source) -> Outcome:
    """Project a small volume."""
    try:
        return finished(source.steps())
    except Exception as error:
        return sentence_of(error)


def panels(layers: Sequence[Any], outcomes: Sequence[Outcome], kind: str, saturated: float
           ) -> list[Panel]:  # fmt: skip
    """What the figure shows, in the contrast ``shared``, ``separate`` or ``viewer``."""
    told = [_reason(layer, outcome) for layer, outcome in zip(layers, outcomes, strict=True)]
    shown = [
        o for o, why in zip(outcomes, told, strict=True) if isinstance(o, SideViews) if not why
    ]
    limits = iter(contrast(shown, shared=kind == "shared", saturated_percent=saturated))
    found = []
    for layer, outcome, why in zip(layers, outcomes, told, strict=True):
        if why or isinstance(outcome, str):
            found.append(Panel(layer.name, reason=why))
            continue
        own = next(limits)
        found.append(
            Panel(
                layer.name,
                outcome,
                limits=own if kind != "viewer" else _viewer_limits(layer, outcome),
                colormap=_colormap(layer),
                gamma=float(layer.gamma) if kind == "viewer" else 1.0,
            )
        )
    return found


def _reason(layer: Any, outcome: Outcome) -> str:
    if isinstance(outcome, str):
        return outcome
    if outcome.is_constant:
        return (
            f"Layer '{layer.name}' is constant here (every voxel is {outcome.xy.flat[0]:g}): "
            "there is nothing to see."
            if outcome.how != "sum"
            else f"Layer '{layer.name}' is constant here: there is nothing to see."
        )
    return ""


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
