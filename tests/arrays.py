"""Arrays of every kind, given to everything public that takes an image, a stack or points.

    python tests/arrays.py

prints what came of each kind at each entry. ``right``: finite and of the right shape, and for a
kind that is only another type or layout, the same as of plain float32. ``refused``: one
:class:`InputError` in one sentence. Anything else is wrong: ``silent`` (a result that is not
finite, or not that of plain float32), ``raw`` (any other error), ``hang``.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_recurrent_mz import Optics, Scan, Session, ZGrid, reconstruct
from napari_recurrent_mz.core import metrics
from napari_recurrent_mz.core.optics import confocal_psf, widefield_psf
from napari_recurrent_mz.core.scans import InputError, default_grid
from napari_recurrent_mz.engine.inference import iter_planes
from napari_recurrent_mz.engine.recipe import HeightMap, Recipe
from napari_recurrent_mz.engine.surfaces import heights_on_field, plane_through, reconstruct_surface
from napari_recurrent_mz.engine.to_disk import reconstruct_to
from napari_recurrent_mz.estimates.covariance import covariance_table
from napari_recurrent_mz.estimates.expectation import prior_power
from napari_recurrent_mz.estimates.interpolation import Interpolator
from napari_recurrent_mz.estimates.lmmse import LinearEstimate, linear_weights, propagation_weights
from napari_recurrent_mz.estimates.normalisation import edf_normalisation
from napari_recurrent_mz.estimates.planning import plan
from napari_recurrent_mz.estimates.uncertainty import plane_spread, voxel_spread
from napari_recurrent_mz.io import (
    Channel,
    VolumeWriter,
    read_heights,
    read_image,
    write_channels,
    write_surface,
    write_volume,
)
from napari_recurrent_mz.io import Place as FilePlace
from napari_recurrent_mz.measure import beads, comparison, evaluation, preparation
from napari_recurrent_mz.measure.plots.preparation import edf_histogram_figure
from napari_recurrent_mz.measure.projections import Slab, side_views
from napari_recurrent_mz.training.measured import measured_field

PATIENCE_S = 60
GOOD = ("right", "refused")
TOLERANCE = 1e-5  # of the range, of the same values
ROUNDED = 1e-3  # of the range, of values in other units, which single precision rounds
Array = npt.NDArray[Any]
OPTICS = Optics(na=0.8, wavelength_um=0.52, immersion_index=1.0, pixel_um=0.2)
HEIGHTS = np.arange(9.0)
GRID = ZGrid(0, 8, 2)
VOXEL = (1.0, 0.2, 0.2)


def base_stack() -> npt.NDArray[np.float32]:
    """Beads and noise, 9 planes of 64 × 72, whole numbers from 2 to 120."""
    rng = np.random.default_rng(3)
    z, y, x = np.indices((9, 64, 72), dtype=np.float64)
    stack = rng.normal(10, 1.5, z.shape)
    for middle in ((4, 14, 14), (3, 16, 50), (5, 46, 18), (4, 44, 54), (4, 30, 36)):
        away = [a - m for a, m in zip((z, y, x), middle, strict=True)]
        stack += 100 * np.exp(-(away[0] ** 2) / 3 - (away[1] ** 2 + away[2] ** 2) / 5)
    return np.clip(np.rint(stack), 2, 120).astype(np.float32)


STACK = base_stack()


# --- kinds --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Kind:
    """A way to spoil an array, or to give the same one in another form.

    ``same``: the values are those of a plain array, so the result must be its result.
    ``gain`` and ``offset``: what it does to the values. ``has_nan``, ``is_none``: it has no value
    somewhere, or is no image at all, and nothing can come of it.
    """

    name: str
    make: Callable[[Array], Any]
    same: bool = False
    gain: float = 1.0
    offset: float = 0.0
    has_nan: bool = False
    is_none: bool = False


class Labelled:
    """An array with coordinates, as xarray has them: not a NumPy array, but converts to one."""

    def __init__(self, values: Array) -> None:
        self.values, self.dims = values, "zyx"[-values.ndim :]
        self.shape, self.dtype, self.ndim = values.shape, values.dtype, values.ndim

    def __array__(self, dtype: Any = None, copy: Any = None) -> Array:
        return np.asarray(self.values, dtype)

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: Any) -> Labelled:
        return Labelled(self.values[index])


class Broken:
    """An array whose pixels cannot be had."""

    def __init__(self, values: Array) -> None:
        self.shape, self.dtype, self.ndim = values.shape, values.dtype, values.ndim

    def __array__(self, dtype: Any = None, copy: Any = None) -> Array:
        raise RuntimeError("the camera is gone")

    def __len__(self) -> int:
        return int(self.shape[0])

    def __getitem__(self, index: Any) -> Broken:
        return Broken(np.empty(self.shape)[index])


def _lazy(values: Array, fails: bool = False) -> Any:
    import dask.array as da

    def block(part: Array) -> Array:
        if fails and part.size > 1:
            raise OSError(5, "Input/output error")
        return part

    chunks = (1, *values.shape[1:]) if values.ndim == 3 else (16, values.shape[1])
    lazy = da.from_array(values, chunks=chunks)
    return lazy.map_blocks(block, dtype=values.dtype)


def _on_disk(values: Array) -> Any:
    import zarr

    return zarr.array(values, chunks=tuple(min(16, n) for n in values.shape))


def _mapped(values: Array) -> Any:
    file = tempfile.NamedTemporaryFile(suffix=".npy", delete=False)  # noqa: SIM115
    np.save(file, values)
    file.close()
    mapped = np.load(file.name, mmap_mode="r")
    Path(file.name).unlink()
    return mapped


def _tensor(values: Array) -> Any:
    import torch

    return torch.tensor(values)


def _structured(values: Array) -> Any:
    made = np.zeros(values.shape, dtype=[("a", "f4"), ("b", "f4")])
    made["a"] = values
    return made


def _with(values: Array, value: float, at: float = 0.5) -> Array:
    made = np.array(values)
    made.flat[int(at * (made.size - 1))] = value
    return made


def _masked(values: Array, *, some: bool) -> Any:
    mask = np.zeros(values.shape, bool)
    mask.flat[7] = some
    return np.ma.masked_array(values, mask)


def _frozen(values: Array) -> Array:
    made = values.copy()
    made.setflags(write=False)
    return made


def _strided(values: Array) -> Array:
    return np.repeat(values, 2, axis=-1)[..., ::2]


def _backwards(values: Array) -> Array:
    turned = np.ascontiguousarray(values[..., ::-1, ::-1])
    return turned[..., ::-1, ::-1]


def _cut(values: Array, *sides: int) -> Array:
    return np.ascontiguousarray(values[..., : sides[0], : sides[1]])


def _ragged(values: Array) -> Any:
    rows = values.tolist()
    rows[0] = rows[0][:2]
    return rows


def _frame(values: Array) -> Any:
    import pandas as pd

    return pd.DataFrame(values) if values.ndim == 2 else [pd.DataFrame(p) for p in values]


def _matrix(values: Array) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.matrix(values) if values.ndim == 2 else [np.matrix(p) for p in values]


def _unknown_chunks(values: Array) -> Any:
    lazy = _lazy(values)
    return lazy[lazy.max(axis=tuple(range(1, lazy.ndim))) > -1]


SAME = tuple(
    Kind(name, make, same=True)
    for name, make in {
        **{
            t: (lambda a, t=t: a.astype(t))
            for t in (
                *("uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"),
                *("float16", "float64", "longdouble", ">f4", ">u2", ">f8"),
            )
        },
        "bool": lambda a: a > 40,
        "strided": _strided,
        "reversed strides": _backwards,
        "Fortran order": np.asfortranarray,
        "read-only": _frozen,
        "memory-mapped": _mapped,
        "memory-mapped big-endian": lambda a: _mapped(a.astype(">u2")),
        "dask": _lazy,
        "dask uint16": lambda a: _lazy(a.astype(np.uint16)),
        "dask, chunks unknown": _unknown_chunks,
        "zarr": _on_disk,
        "tensor": _tensor,
        "tensor uint8": lambda a: _tensor(a.astype(np.uint8)),
        "tensor with gradient": lambda a: _tensor(a).requires_grad_(),
        "tensor bfloat16": lambda a: _tensor(a).bfloat16(),
        "tensor transposed": lambda a: _tensor(np.swapaxes(a, -1, -2).copy()).transpose(-1, -2),
        "masked array, no mask": lambda a: _masked(a, some=False),
        "matrix": _matrix,
        "data frame": _frame,
        "list of lists": lambda a: a.tolist(),
        "tuple of arrays": tuple,
        "labelled": Labelled,
        "objects": lambda a: a.astype(object),
        "zeros of dimension 1 before": lambda a: a[None],
        "small and odd": lambda a: _cut(a, 37, 41),
    }.items()
)

VALUES = (
    Kind("negative", lambda a: -a),
    Kind("offset 1e5", lambda a: a + np.float32(1e5), offset=1e5),
    Kind("offset 1e8", lambda a: a + np.float64(1e8), offset=1e8),
    Kind(
        "offset 1e8, single", lambda a: a * np.float32(1e4) + np.float32(1e8), gain=1e4, offset=1e8
    ),
    Kind("offset 1e8, uint32", lambda a: a.astype(np.uint32) + np.uint32(10**8), offset=1e8),
    Kind("offset 1e15", lambda a: a + np.float64(1e15), offset=1e15),
    Kind("times 1e30", lambda a: a * np.float32(1e30), gain=1e30),
    Kind("times 1e36", lambda a: a * np.float64(1e36), gain=1e36),
    Kind("times 1e300", lambda a: a * np.float64(1e300), gain=1e300),
    Kind("times 1e-30", lambda a: a * np.float32(1e-30), gain=1e-30),
    Kind("denormal", lambda a: a * np.float32(1e-43)),
    Kind("times 1e-300", lambda a: a * np.float64(1e-300), gain=1e-300),
    Kind("largest uint64", lambda a: a.astype(np.uint64) * np.uint64(2**57), gain=2.0**57),
    Kind("zero", np.zeros_like),
    Kind("constant", lambda a: np.full_like(a, 7)),
    Kind("constant, large", lambda a: np.full_like(a, 1e30)),
    Kind("saturated", lambda a: np.minimum(a * 8, 255).astype(np.uint8)),
    Kind("hot pixel", lambda a: _with(a, 1e6)),
    Kind("hot pixel 1e36", lambda a: _with(a, 1e36)),
    Kind("hot pixel 3e38", lambda a: _with(a, 3e38)),
    Kind("1 × 1", lambda a: _cut(a, 1, 1)),
    Kind("1 × N", lambda a: _cut(a, 1, 72)),
    Kind("N × 1", lambda a: _cut(a, 64, 1)),
    Kind("2 × 2", lambda a: _cut(a, 2, 2)),
    Kind("5 × 7", lambda a: _cut(a, 5, 7)),
    Kind("one axis less", lambda a: a[0]),
    Kind("one axis more", lambda a: np.stack([a, a])),
    Kind("five axes", lambda a: np.broadcast_to(a, (2,) * (5 - a.ndim) + a.shape)),
    Kind("RGB", lambda a: np.stack([a] * 3, axis=-1).astype(np.uint8)),
    Kind("RGBA", lambda a: np.stack([a] * 4, axis=-1).astype(np.uint8)),
)

NAN = tuple(
    Kind(name, make, has_nan=True)
    for name, make in {
        "all NaN": lambda a: np.full_like(a, np.nan),
        "all infinite": lambda a: np.full_like(a, np.inf),
        "one NaN": lambda a: _with(a, np.nan),
        "last NaN": lambda a: _with(a, np.nan, 1),
        "one infinite": lambda a: _with(a, np.inf),
        "one -infinite": lambda a: _with(a, -np.inf, 0),
        "dask with a NaN": lambda a: _lazy(_with(a, np.nan)),
        "half with infinite": lambda a: _with(a, np.inf).astype(np.float16),
        "tensor with a NaN": lambda a: _tensor(_with(a, np.nan)),
    }.items()
)

NONE = tuple(
    Kind(name, make, is_none=True)
    for name, make in {
        "complex": lambda a: a + 1j,
        "words": lambda a: a.astype(str),
        "bytes": lambda a: a.astype("S8"),
        "objects, one a word": lambda a: _with(a.astype(object), "x"),  # type: ignore[arg-type]
        "objects, one None": lambda a: _with(a.astype(object), None),  # type: ignore[arg-type]
        "structured": _structured,
        "dates": lambda a: a.astype("datetime64[s]"),
        "durations": lambda a: a.astype("timedelta64[s]"),
        "empty": lambda a: a[:0],
        "empty rows": lambda a: a[..., :0],
        "nothing": lambda a: None,
        "a word": lambda a: "scan.tif",
        "a path": lambda a: Path("scan.tif"),
        "a dictionary": lambda a: {"image": a},
        "a set": lambda a: {1, 2},
        "an iterator": iter,
        "a function": lambda a: np.sin,
        "an empty list": lambda a: [],
        "ragged list": _ragged,
        "masked array": lambda a: _masked(a, some=True),
        "tensor complex": lambda a: _tensor(a + 1j),
        "sparse": lambda a: __import__("scipy.sparse").sparse.csr_array(a.reshape(-1, a.shape[-1])),
        "dask, read error": lambda a: _lazy(a, fails=True),
        "dask, error in the middle": lambda a: _fails_in_the_middle(a),
        "broken": Broken,
    }.items()
)
NUMBER = (Kind("no axes", lambda a: np.float32(3)), Kind("a number", lambda a: 5))


def _fails_in_the_middle(values: Array) -> Any:
    import dask.array as da

    def part(number: int) -> Array:
        if number == len(values) // 2:
            raise RuntimeError("chunk 0.4.0 is corrupt")
        return values[number]

    from dask import delayed

    parts = [
        da.from_delayed(delayed(part)(n), values.shape[1:], values.dtype)
        for n in range(len(values))
    ]
    return da.stack(parts)


KINDS = SAME + VALUES + NAN + NONE + NUMBER


# --- entries ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Entry:
    """Something public that takes an array; ``call`` returns numbers or arrays of it."""

    name: str
    base: Array
    call: Callable[[Any], Any]
    nan: bool = False  # NaN in the result has a documented meaning
    linear: bool = False  # in other units the result is the same in these units
    rounds: bool = False  # whole numbers give whole numbers
    part: bool = False  # does not look at all of it, nor need it hold anything


def _scans(image: Any) -> list[Scan]:
    return [Scan(STACK[1], 1.0), Scan(image, 4.0), Scan(STACK[7], 7.0)]


def _quiet(_sentence: str) -> None:
    return None


def _made(method: str) -> Callable[[Any], Any]:
    return lambda a: _checked(
        reconstruct(_scans(a), GRID, optics=OPTICS, method=method, on_message=_quiet)
    )


def _checked(volume: Array) -> Array:
    assert volume.dtype == np.float32
    assert volume.shape[0] == len(GRID)
    return volume


@contextmanager
def _file(name: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / name


def _to_file(name: str) -> Callable[[Any], Any]:
    def call(image: Any) -> Any:
        with _file(name) as path:
            reconstruct_to(path, _scans(image), GRID, optics=OPTICS, method="linear")
            return read_image(path).stack

    return call


def _session(image: Any) -> Any:
    session = Session(GRID, optics=OPTICS, method="lmmse")
    for scan in _scans(image):
        session.add_scan(scan, accept_doubtful=True)
    return session.volume


def _written(name: str) -> Callable[[Any], Any]:
    def call(stack: Any) -> Any:
        with _file(name) as path:
            write_volume(path, stack, HEIGHTS, 0.2)
            return read_image(path).stack

    return call


def _channels(stack: Any) -> Any:
    with _file("c.ome.tif") as path:
        write_channels(path, [Channel(stack)], FilePlace(0.2, HEIGHTS))
        return read_image(path).stack.astype(np.float32)


def _planes_written(stack: Any) -> Any:
    with _file("w.ome.zarr") as path:
        with VolumeWriter(path, STACK.shape, HEIGHTS, 0.2) as volume:
            for number in range(len(STACK)):
                volume[number] = _plane(stack, number)
            volume.finish({})
        return read_image(path).stack


def _surface_written(image: Any) -> Any:
    with _file("s.ome.tif") as path:
        write_surface(path, image, np.ones((64, 72)), 0.2)
        return read_image(path).stack


def _heights_written(heights: Any) -> Any:
    with _file("h.ome.tif") as path:
        write_surface(path, STACK[0], heights, 0.2)
        return read_heights(path)


def _beads(stack: Any, model: str = "gaussian3d") -> Any:
    table = beads.measure_beads(stack, VOXEL, model=model)
    return table[["z_um", "y_um", "x_um", "fwhm_y_um", "amplitude"]].to_numpy()


def _bead_volumes(stack: Any) -> Any:
    volume = beads.BeadVolume("a", stack, np.array(VOXEL), np.zeros(3))
    (table,), _ = beads.measure_volumes([volume])
    return table[["z_um", "fwhm_y_um"]].to_numpy()


def _profiles(stack: Any) -> Any:
    table = beads.measure_beads(STACK, VOXEL)
    return [profile.intensity for profile in beads.bead_profiles(stack, table, 0)]


def _points(points: Any) -> Any:
    table = beads.measure_beads(STACK, VOXEL, points=points)
    return table[["z_um", "y_um", "x_um"]].to_numpy()


def _views(how: str) -> Callable[[Any], Any]:
    def call(stack: Any) -> Any:
        views = side_views(stack, VOXEL, how=how, slab=Slab(4, 6, 6, 3))
        return [views.xy, views.xz, views.yz]

    return call


def _volume(stack: Any, name: str = "a") -> comparison.Volume:
    return comparison.Volume(name, stack, HEIGHTS, 0.2, scans_um=(1, 4, 7))


_ROUGH = STACK + np.random.default_rng(1).normal(0, 3, STACK.shape).astype(np.float32)


def _compared(stack: Any, *, is_reference: bool, fit: bool = False) -> Any:
    given, other = _volume(stack), _volume(_ROUGH, "b")
    pair = (other, given) if is_reference else (given, other)
    means = comparison.compare(*pair, baselines=["linear"], fit=fit).means
    return means.to_numpy(np.float64)


def _evaluated(stack: Any) -> Any:
    made = evaluation.evaluate(
        stack, HEIGHTS, [1, 4, 7], optics=OPTICS, methods=["lmmse", "linear"]
    )
    return [[s.mean(m) for m in ("psnr", "nrmse", "ssim")] for s in made.methods.values()]


def _against(stack: Any) -> Any:
    made = evaluation.evaluate_against(
        _ROUGH, stack, HEIGHTS, [1, 4, 7], optics=OPTICS, methods=["linear"]
    )
    return [[s.mean(m) for m in ("psnr", "nrmse", "ssim")] for s in made.methods.values()]


def _scale(stack: Any) -> Any:
    scale = metrics.Normalisation.of_stack(stack)
    return scale.background, scale.foreground


_SCALE = metrics.Normalisation(2.0, 100.0)


def _aligned(reference: str) -> Callable[[Any], Any]:
    return lambda a: preparation.align(a, reference=reference).matrices


def _plane(stack: Any, number: int) -> Any:
    """A plane of what has planes; of what has none, nothing that an entry would be given."""
    try:
        return stack[number]
    except Exception as error:
        raise NoneSuch from error


def _moved(stack: Any) -> Any:
    alignment = preparation.align(STACK[:3], transform="translation")
    return preparation.finished(preparation.applying(stack, alignment)).astype(np.float32)


def _in_focus(stack: Any) -> Any:
    focus = preparation.extended_focus(stack)
    return focus.image.astype(np.float32), focus.height_um(HEIGHTS)


_AT = preparation.Place(HEIGHTS, 0.2)


def _registered(stack: Any, *, is_confocal: bool) -> Any:
    pair = (_ROUGH, stack) if is_confocal else (stack, _ROUGH)
    made = preparation.register(*pair, _AT, _AT, transform="translation")
    return made.matrix, made.shift_z_um


_REGISTERED: list[Any] = []


def _resampled(stack: Any) -> Any:
    if not _REGISTERED:
        _REGISTERED.append(preparation.register(STACK, _ROUGH, _AT, _AT, transform="translation"))
    done = preparation.finished(preparation.resampling(stack, _REGISTERED[0]))
    return done.astype(np.float32)


def _edf(image: Any) -> Any:
    return list(edf_normalisation(image).as_dict().values())


def _edf_figure(image: Any) -> Any:
    edf_histogram_figure(image, edf_normalisation(STACK[4]))
    return 0.0


def _learned(stack: Any) -> Any:
    optics = Optics(1.4, 0.52, 1.515, 0.2)
    return np.asarray(measured_field(stack, HEIGHTS, optics, "a").stack, np.float32)


def _estimate() -> LinearEstimate:
    return LinearEstimate(_scans(STACK[4]), OPTICS)


_TABLE = covariance_table(OPTICS, 8.0)
_TABLE_POINTS = np.array([[4, 2.8, 2.8], [3, 3.2, 10.0], [5, 9.2, 3.6]])
_MAP = np.add.outer(np.linspace(2, 5, 64), np.linspace(0, 1, 72))
_PSF_BASE = widefield_psf(OPTICS, [-1, 0, 1], 17)
_WIDTHS = np.array([0.40625, 0.421875, 0.5, 0.4375, 0.4140625])

IMAGES = (
    Entry("Scan", STACK[4], lambda a: Scan(a, 4.0).pixels),
    *(
        Entry(f"reconstruct {method}", STACK[4], _made(method))
        for method in (
            "recurrent-mz", "lmmse", "lmmse-plus", "richardson-lucy", "points", "nearest", "linear",
            "pchip",
        )
    ),
    Entry("iter_planes", STACK[4], lambda a: [
        plane.pixels for plane in iter_planes(_scans(a), GRID, optics=OPTICS, method="lmmse")
    ]),
    Entry("reconstruct_to OME-TIFF", STACK[4], _to_file("v.ome.tif")),
    Entry("reconstruct_to OME-Zarr", STACK[4], _to_file("v.ome.zarr")),
    Entry("reconstruct_surface scan", STACK[4], lambda a: reconstruct_surface(
        _scans(a), _MAP if np.size(a) == STACK[4].size else _MAP[:37, :41], optics=OPTICS,
        method="lmmse",
    )),
    Entry("Session", STACK[4], _session),
    Entry("LinearEstimate", STACK[4], lambda a: LinearEstimate(_scans(a), OPTICS).plane(3.0)),
    Entry("Interpolator", STACK[4], lambda a: Interpolator(_scans(a), "cubic").plane(3.0)),
    Entry("voxel_spread", STACK[4], lambda a: voxel_spread(
        LinearEstimate(_scans(a), OPTICS), 3.0
    )),
    Entry("edf_normalisation", STACK[4], _edf),
    Entry("edf_histogram_figure", STACK[4], _edf_figure),
    Entry("ssim", STACK[4], lambda a: metrics.ssim(STACK[3] / 100, a)),
    Entry("psnr", STACK[4], lambda a: metrics.psnr(STACK[3], a)),
    Entry("nrmse", STACK[4], lambda a: metrics.nrmse(a, STACK[3])),
    Entry("plane_measures", STACK[4], lambda a: metrics.plane_measures(
        a, STACK[3], _SCALE
    ), nan=True),
    Entry("write_surface", STACK[4], _surface_written, nan=True),
    Entry("measure_beads image", STACK[4], _beads, nan=True),
)  # fmt: skip


def _reconstructed(method: str) -> Callable[[Any], Any]:
    def call(stack: Any) -> Any:
        scans = [Scan(_plane(stack, n), float(n)) for n in (1, 4, 7)]
        return reconstruct(scans, GRID, optics=OPTICS, method=method, on_message=_quiet)

    return call


STACKS = (
    *(
        Entry(
            f"planes, reconstruct {method}", STACK, _reconstructed(method), nan=True, linear=True,
            part=True,
        )
        for method in ("auto", "recurrent-mz", "lmmse", "cubic", "richardson-lucy", "points")
    ),
    Entry("write_volume OME-TIFF", STACK, _written("v.ome.tif"), nan=True),
    Entry("write_volume OME-Zarr", STACK, _written("v.ome.zarr"), nan=True),
    Entry("write_channels", STACK, _channels, nan=True),
    Entry("VolumeWriter", STACK, _planes_written, nan=True),
    Entry("measure_beads", STACK, _beads, nan=True),
    Entry("measure_beads profiles", STACK, lambda a: _beads(a, "profiles"), nan=True),
    Entry("measure_volumes", STACK, _bead_volumes, nan=True),
    Entry("bead_profiles", STACK, _profiles, nan=True, part=True),
    *(Entry(f"side_views {how}", STACK, _views(how)) for how in ("max", "mean", "sum")),
    Entry("compare", STACK, lambda a: _compared(a, is_reference=False)),
    Entry("compare reference", STACK, lambda a: _compared(a, is_reference=True)),
    Entry("compare fitted", STACK, lambda a: _compared(a, is_reference=False, fit=True)),
    Entry("difference", STACK, lambda a: comparison.difference(
        _volume(a), _volume(_ROUGH, "b")
    ).pixels),
    Entry("evaluate", STACK, _evaluated),
    Entry("evaluate_against", STACK, _against),
    Entry("Normalisation.of_stack", STACK, _scale),
    Entry("fitted", STACK, lambda a: metrics.fitted(a, _ROUGH)),
    Entry("relative_change", STACK, lambda a: metrics.relative_change(_ROUGH, a), nan=True),
    *(Entry(f"align {how}", STACK[:3], _aligned(how)) for how in ("previous", "first", "mean")),
    Entry("applying", STACK[:3], _moved, rounds=True),
    Entry("extended_focus", STACK, _in_focus),
    Entry("register wide-field", STACK, lambda a: _registered(a, is_confocal=False)),
    Entry("register confocal", STACK, lambda a: _registered(a, is_confocal=True)),
    Entry("resampling", STACK, _resampled, rounds=True),
    Entry("measured_field", STACK, _learned),
    Entry("confocal_psf", _PSF_BASE, lambda a: confocal_psf(a, OPTICS)),
)  # fmt: skip

LISTS = (
    Entry("measure_beads points", _TABLE_POINTS, _points, part=True),
    Entry("plane_through", _TABLE_POINTS, lambda a: plane_through(a, (64, 72), 0.2)),
    Entry("heights_on_field", _MAP, lambda a: heights_on_field(
        a, (0.2, 0.2), (0, 0), (30, 30), 0.2
    )),
    Entry("reconstruct_surface heights", _MAP, lambda a: reconstruct_surface(
        _scans(STACK[4]), a, optics=OPTICS, method="lmmse"
    )),
    Entry("HeightMap", _MAP, lambda a: Recipe(
        _scans(STACK[4]), HeightMap(a), OPTICS
    ).target.heights_um),
    Entry("write_surface heights", _MAP, _heights_written),
    Entry("histogram_edges", _WIDTHS, beads.histogram_edges, nan=True),
    Entry("kl_divergence of beads", _WIDTHS, lambda a: beads.kl_divergence(_WIDTHS, a), nan=True),
    Entry("kl_divergence", _WIDTHS, lambda a: metrics.kl_divergence(
        _WIDTHS, a, [0.3, 0.4, 0.6]
    ), nan=True),
    Entry("widefield_psf", HEIGHTS, lambda a: widefield_psf(OPTICS, a, 9)),
    Entry("linear_weights scans", HEIGHTS[:3], lambda a: linear_weights(OPTICS, a, [0.5])[1]),
    Entry("linear_weights targets", HEIGHTS[:3], lambda a: linear_weights(OPTICS, [0, 2], a)[1]),
    Entry("propagation_weights", HEIGHTS[:3], lambda a: propagation_weights(OPTICS, a)[1]),
    Entry("plane_spread", HEIGHTS[:3], lambda a: plane_spread(_estimate(), a)),
    Entry("plan power", np.ones(len(prior_power(_TABLE))), lambda a: plan(
        GRID, OPTICS, count=2, power=a
    ).per_plane, part=True),  # none is the default
    Entry("default_grid", HEIGHTS[:3], lambda a: default_grid(a, 0.4).z_um),
    Entry("write_volume heights", HEIGHTS, lambda a: _heights_of_file(a)),
    Entry("Volume heights", HEIGHTS, lambda a: comparison.Volume(
        "a", STACK, a, 0.2
    ).heights_um),
    Entry("evaluate heights", HEIGHTS, lambda a: evaluation.evaluate(
        STACK, a, [1, 4, 7], optics=OPTICS, methods=["linear"]
    ).z_um),
    Entry("Place heights", HEIGHTS, lambda a: preparation.register(
        STACK, _ROUGH, _AT, preparation.Place(a, 0.2), transform="translation"
    ).matrix),
)  # fmt: skip


def _heights_of_file(heights: Any) -> Any:
    with _file("z.ome.tif") as path:
        write_volume(path, STACK, heights, 0.2)
        return read_image(path).z_um


ENTRIES = IMAGES + STACKS + LISTS


# --- what comes of them -------------------------------------------------------------------


class NoneSuch(Exception):  # noqa: N818
    """Such a thing cannot be given there."""


class Hang(BaseException):
    """No answer in time."""


def outcome(entry: Entry, kind: Kind) -> tuple[str, str]:
    """What came of a kind of array at an entry, and what was said."""
    try:
        given = kind.make(entry.base)
    except (TypeError, ValueError, IndexError) as error:
        return "none such", repr(error)
    result, told = _called(entry, given)
    if told is not None:
        return told
    if (kind.is_none and not entry.part) or (kind.has_nan and not entry.nan):
        return "silent", "taken as if nothing were wrong"
    numbers = _numbers(result)
    if not entry.nan and not np.isfinite(numbers).all():
        return "silent", "not finite"
    if kind.same:
        wanted, refused = _called(entry, _plain(kind.make(entry.base)))
        if refused is not None:
            return "right", "where plain float32 is: " + refused[1]
        wanted = _numbers(wanted)
        if entry.rounds and (numbers == np.rint(numbers)).all():
            wanted = np.rint(wanted)
    elif entry.linear and (kind.gain, kind.offset) != (1.0, 0.0):
        wanted = _numbers(_called(entry, entry.base)[0])
        numbers = (numbers - kind.offset) / kind.gain
    else:
        return "right", ""
    if wanted.shape != numbers.shape:
        return "silent", f"{numbers.shape} numbers where plain float32 has {wanted.shape}"
    known = wanted[np.isfinite(wanted)]
    span = max(np.ptp(known) if known.size > 8 else np.abs(known).max(initial=0), 1e-12)
    off = float(np.nanmax(np.abs(numbers - wanted), initial=0)) / span
    is_same = off <= (TOLERANCE if kind.same else ROUNDED) and np.array_equal(
        np.isnan(wanted), np.isnan(numbers)
    )
    return ("right", "") if is_same else ("silent", f"{off:.1e} from plain float32")


def _plain(given: Any) -> Array:
    """The same values as an ordinary array of single precision."""
    if hasattr(given, "detach"):
        given = given.detach().float().numpy()
    return np.array(given, np.float32, order="C", ndmin=0)


def _called(entry: Entry, given: Any) -> tuple[Any, tuple[str, str] | None]:
    """The result of an entry; or None, and what came instead."""

    def late(*_: object) -> None:
        raise Hang

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(PATIENCE_S)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return entry.call(given), None
    except InputError as error:
        told = str(error)
        is_one = told.endswith(".") and "\n" not in told
        return None, ("refused" if is_one else "no sentence", told)
    except Hang:
        return None, ("hang", "")
    except NoneSuch:
        return None, ("none such", "")
    except Exception as error:
        return None, ("raw", f"{type(error).__name__}: {error}")
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _numbers(result: Any) -> npt.NDArray[np.float64]:
    """Every number of a result."""
    if isinstance(result, list | tuple):
        parts = [_numbers(one) for one in result]
        return np.concatenate(parts) if parts else np.empty(0)
    return np.ravel(np.asarray(result, np.float64))


def main() -> int:
    """Print the table; 0 when all is right or refused in one sentence."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", default="", help="only those whose name begins so")
    parser.add_argument("--kinds", default="", help="only those whose name begins so")
    parser.add_argument("--all", action="store_true", help="print the good ones, too")
    given = parser.parse_args()
    total: Counter[str] = Counter()
    for entry in ENTRIES:
        if not entry.name.startswith(given.entries):
            continue
        counted: Counter[str] = Counter()
        for kind in KINDS:
            if not kind.name.startswith(given.kinds):
                continue
            came, told = outcome(entry, kind)
            counted[came] += 1
            if came not in (*GOOD, "none such") or given.all:
                print(f"    {entry.name} | {kind.name} | {came} | {told[:200]}", flush=True)
        total += counted
        print(f"{entry.name:<28}" + ", ".join(f"{n} {o}" for o, n in counted.items()), flush=True)
    print("all: " + ", ".join(f"{n} {came}" for came, n in total.items()))
    return int(any(came not in (*GOOD, "none such") for came in total))


if __name__ == "__main__":
    sys.exit(main())
