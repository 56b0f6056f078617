"""Where arrays come in: whatever a library calls one is turned into plain real numbers, or refused.

Everything public that takes an image, a stack, points or lengths goes through one of these.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import InputError, counted
from .progress import Stopped

AnyArray = npt.NDArray[Any]
Array = npt.NDArray[np.float64]

LARGEST_VALUE = 1e37
"""Beyond it an estimate might not be a number of single precision any more."""

_LOSS = 1e-4  # of the range of an image: what single precision may round away
_REAL = "biuf"


@contextmanager
def reading(label: str) -> Iterator[None]:
    """Turn whatever is raised while an array is read into one sentence about ``label``."""
    try:
        yield
    except (InputError, Stopped, MemoryError):
        raise
    except Exception as error:
        why = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise InputError(
            f"{label} cannot be read as an array of numbers ({why[:200]}): give another."
        ) from error


def real_array(given: Any, label: str, *, finite: bool = True, of: str = "pixel") -> AnyArray:
    """What was given as real numbers in native byte order, or one sentence about ``label``."""
    with reading(label):
        array = np.asarray(_unwrapped(given, label))
    if array.dtype.kind not in _REAL:
        if array.ndim == 0:
            raise InputError(f"{label} is of the type {type(given).__name__}: give an array.")
        raise _of_type(array.dtype, label)
    array = array.astype(_plain_type(array.dtype), copy=False)
    if finite:
        check_finite(array, label, of)
    return array


def check_no_mask(given: Any, label: str, wanted: str = "an image of the fluorescence") -> None:
    """Refuse an array of true and false where numbers were measured."""
    if str(getattr(given, "dtype", "")).endswith("bool"):  # also a tensor of PyTorch's
        raise InputError(f"{label} holds values of type bool, as masks do: give {wanted}.")


def _unwrapped(given: Any, label: str) -> Any:
    """What NumPy takes for an array, of what it takes for none or for another one."""
    if isinstance(given, np.ma.MaskedArray) and (hidden := int(np.sum(np.ma.getmaskarray(given)))):
        raise InputError(f"{label} has {counted(hidden, 'masked value')}: fill them first.")
    if hasattr(given, "detach"):  # PyTorch's
        given = given.detach().cpu()
        if str(given.dtype) == "torch.bfloat16":
            given = given.float()
    return given


def _plain_type(dtype: np.dtype[Any]) -> np.dtype[Any]:
    if dtype.kind == "b":
        return np.dtype(np.uint8)
    if dtype.kind == "f":
        return np.dtype(np.float64 if dtype.itemsize > 4 else np.float32)
    return dtype.newbyteorder("=")


def check_finite(array: AnyArray, label: str, of: str = "pixel") -> None:
    """Raise :class:`InputError` where a real array has values that are NaN, infinite or huge."""
    if array.dtype.kind != "f" or not array.size:
        return
    planes = array if array.ndim > 2 else array[None]  # what is asked of a volume takes room
    bad = sum(part.size - int(np.count_nonzero(np.isfinite(part))) for part in planes)
    if bad:
        raise InputError(
            f"{label} has {counted(bad, of)} that {'is' if bad == 1 else 'are'} NaN or "
            f"infinite: replace {'it' if bad == 1 else 'them'} first."
        )
    check_largest(array, label)


def check_largest(array: AnyArray, label: str) -> None:
    """Raise :class:`InputError` where a finite value is too large for single precision."""
    if array.dtype.kind != "f" or not array.size:
        return
    largest = 0.0
    for part in array if array.ndim > 2 else array[None]:
        sizes = np.abs(part)
        largest = max(largest, float(sizes.max(where=np.isfinite(sizes), initial=0)))
    if largest > LARGEST_VALUE:
        raise InputError(
            f"{label} has values of up to {largest:.2g}: divide all images by one number, "
            f"so that none is above {LARGEST_VALUE:g}."
        )


def as_single(array: AnyArray, label: str) -> npt.NDArray[np.float32]:
    """A real array in single precision, refused where an offset leaves that too few digits."""
    single = array.astype(np.float32, copy=False)
    if not array.size or np.can_cast(array.dtype, np.float32):
        return single
    low, high = float(array.min()), float(array.max())
    most = _LOSS * (high - low)
    if low < high and np.finfo(np.float32).eps * max(-low, high) > most:
        lost = float(np.abs(single.astype(np.float64) - array).max())
        if lost > most and single.min() < single.max():
            raise InputError(
                f"{label} varies by no more than {high - low:.3g} about {(low + high) / 2:.3g}, "
                "which single precision cannot hold: subtract one number from all images first."
            )
    return single


def real_values(given: Any, label: str) -> Array:
    """A list of finite real numbers, such as heights, float64; a single one is a list of one."""
    values = np.atleast_1d(real_array(given, label, of="value")).astype(np.float64)
    return with_axes(values, label, "a list of numbers", 1)


def with_axes(array: AnyArray, label: str, wanted: str, ndim: int) -> AnyArray:
    """The array once it has so many axes and is not empty."""
    if array.ndim != ndim or not array.size:
        raise InputError(f"{label} has the shape {array.shape}: give {wanted}.")
    return array


def same_shape(first: AnyArray | Planes, second: AnyArray | Planes, what: str) -> None:
    """Raise :class:`InputError` unless two arrays have one shape, with numbers in it."""
    if first.shape != second.shape or 0 in first.shape:
        raise InputError(
            f"{what} have the shapes {first.shape} and {second.shape}: give two of one shape, "
            "with pixels in it."
        )


def real_number(given: Any) -> float:
    """A single real number; NaN for everything else, so that one check refuses it."""
    try:
        return float(given) if np.ndim(given) == 0 and not isinstance(given, str) else math.nan
    except (TypeError, ValueError, OverflowError, RuntimeError):
        return math.nan


class Planes:
    """A stack (Z, Y, X), or a sequence of planes, that is read and checked plane by plane."""

    shape: tuple[int, ...]  # (Z, Y, X); (Z,) of planes that differ; as given if it is no stack
    sizes: list[tuple[int, ...]]  # the shape of each plane

    def __init__(self, given: Any, label: str, names: Sequence[str] = ()) -> None:
        self._label, self._names = label, names
        self._planes: Any
        if isinstance(given, Planes):
            given = given._planes
        if isinstance(given, list | tuple):
            self._planes = [p if hasattr(p, "shape") else real_array(p, label) for p in given]
            self.sizes = [tuple(map(int, plane.shape)) for plane in self._planes]
            size = self.sizes[0] if len(set(self.sizes)) == 1 else ()
            self.shape = (len(self.sizes), *size)
            return
        self._planes = lazy_or_read(given, label)
        self.shape = tuple(map(int, self._planes.shape))
        self.sizes = [self.shape[1:]] * self.shape[0] if self.shape else []

    @property
    def chunks(self) -> Any:
        """How a lazy stack lies on the disk, as it says; None where it does not."""
        return getattr(self._planes, "chunks", None)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the planes as they are read."""
        first = self._planes[0] if isinstance(self._planes, list) else self._planes
        return _plain_type(np.dtype(first.dtype)) if _is_lazy(first) else self[0].dtype

    def __len__(self) -> int:
        return len(self.sizes)

    def __iter__(self) -> Iterator[AnyArray]:
        return (self[number] for number in range(len(self)))

    def __getitem__(self, index: Any) -> AnyArray:
        """A plane, or any part of a stack that can be cut like an array, finite."""
        array = self.read(index)
        check_finite(array, self._called(index))
        return array

    def read(self, index: Any) -> AnyArray:
        """The same as it is, which may hold NaN."""
        planes, called = self._planes, self._called(index)
        with reading(called):
            if isinstance(planes, list) and isinstance(index, tuple):
                part = [plane[index[1:]] for plane in planes[index[0]]]
            else:
                part = planes[index]
        return real_array(part, called, finite=False)

    def _called(self, index: Any) -> str:
        if not isinstance(index, int):
            return self._label
        return self._names[index] if self._names else f"Plane {index} of {self._label}"


def lazy_or_read(given: Any, label: str) -> Any:
    """What was given if parts of it can be read by themselves; else it is read."""
    if not _is_lazy(given):
        return real_array(given, label, finite=False)
    if given.dtype.kind not in _REAL:
        raise _of_type(given.dtype, label)
    return given


def _of_type(dtype: np.dtype[Any], label: str) -> InputError:
    return InputError(f"{label} holds values of type {dtype}: give real intensities.")


def _is_lazy(given: Any) -> bool:
    """Whether a plane can be had without the others, and what it will be is known."""
    shape, dtype = getattr(given, "shape", None), getattr(given, "dtype", None)
    return (
        shape is not None
        and isinstance(dtype, np.dtype)
        and not isinstance(given, np.ma.MaskedArray)
        and hasattr(given, "__getitem__")
        and len(shape) > 0
        and all(size == size for size in shape)  # dask's NaN: not known before it is read
    )
