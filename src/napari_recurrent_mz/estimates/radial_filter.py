"""Responses to the length of a lateral frequency, applied to images of one height or of many."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.fft import next_fast_len

from ..core.arrays import Array
from ..core.device import uploaded
from ..core.optics import Optics
from ..core.progress import tell
from ..core.scans import Heights
from .covariance import CovarianceTable

Weights = npt.NDArray[np.float64]

_STEP_DOF = 1 / 16  # a tenth of the axial Nyquist step: a cubic between them is all but exact
_MOST_NODES = 1024
_TABLE = 32  # entries of the table of shares for each step: a straight line between is enough
_LEFT_OUT = 1e-4  # of the largest singular value


@dataclass(frozen=True, eq=False)
class Expansion:
    """W(z) = Σ_r u_r(z) W_r between two heights; see :func:`expand`."""

    # The optics pass a limited band along z, so the weights between two heights are all but
    # exactly such a short sum, found by a singular value decomposition. Each W_r filters the whole
    # image once, and every pixel adds up what it gets with the shares u_r of its own height.

    responses: Weights  # (R, C, K): W_r, weights of C spectra at K radial frequencies
    low_um: float  # height of the first entry of the table
    step_um: float  # between entries
    table: npt.NDArray[np.float32]  # (T, R): u_r at the entries; T is 1 for a flat surface

    def shares(self, heights_um: Heights, device: torch.device | None) -> Iterator[torch.Tensor]:
        """u_r of every pixel (Y, X), for r = 0 … R − 1."""
        position = np.clip((heights_um - self.low_um) / self.step_um, 0, len(self.table) - 1)
        low = np.minimum(position.astype(np.int64), max(len(self.table) - 2, 0))
        part = torch.from_numpy((position - low).astype(np.float32)).to(device)
        below = torch.from_numpy(low).to(device)
        above = (below + 1).clamp_max(len(self.table) - 1)
        for column in torch.from_numpy(np.ascontiguousarray(self.table.T)).to(device):
            yield torch.lerp(column[below], column[above], part)


def expand(weights_at: Callable[[Array], Weights], heights_um: Heights, dof_um: float) -> Expansion:
    """Expand weights over the heights of a surface (Y, X); ``weights_at`` makes (T, C, K)."""
    nodes = height_nodes(heights_um, dof_um)
    weights = weights_at(nodes)
    if len(nodes) == 1:
        return Expansion(weights, float(nodes[0]), 1.0, np.ones((1, 1), np.float32))
    from scipy.interpolate import make_interp_spline

    u, s, v = np.linalg.svd(weights.reshape(len(nodes), -1), full_matrices=False)
    significant = s > _LEFT_OUT * s[0]
    fine = np.linspace(nodes[0], nodes[-1], (len(nodes) - 1) * _TABLE + 1)
    shares = make_interp_spline(nodes, u[:, significant] * s[significant], k=3)(fine)
    step = float(fine[1] - fine[0])
    responses = v[significant].reshape(-1, *weights.shape[1:])
    return Expansion(responses, float(nodes[0]), step, shares.astype(np.float32))


def height_nodes(heights_um: Heights, dof_um: float) -> Array:
    """Evenly spaced heights (T,) of a surface (Y, X), close enough to interpolate between."""
    low, high = float(heights_um.min()), float(heights_um.max())
    if low == high:
        return np.array([low])
    count = int(np.ceil((high - low) / (_STEP_DOF * dof_um))) + 1
    return np.linspace(low, high, int(np.clip(count, 4, _MOST_NODES)))


_PAD = 64
_AT_ONCE = 500_000  # numbers that a CPU works on
AT_ONCE_ON_GPU = 2**26  # half a gigabyte of complex numbers

Response = tuple[slice, slice, torch.Tensor]
"""Rows, columns, and what a spectrum is multiplied with there."""

Responses = list[Response]
"""Responses of some spectra."""


def _margins(length: int, pad: int) -> tuple[int, int]:
    """Pixels before and after an axis, for a fast transform of a length that 8 divides."""
    before = min(pad, length - 1)
    fast = 8 * next_fast_len(-(-(length + 2 * before) // 8), real=True)
    after = fast - length - before
    return before, after if after < length else before  # a reflection is no longer than the image


@dataclass
class FilterCache:
    """Responses and memory for other images of one shape, filtered by the same weights."""

    responses: dict[int, Responses] | None = None  # see RadialFilter.mix
    spectrum: torch.Tensor | None = None  # (T, Y', X'/2 + 1), memory for their sum
    image: torch.Tensor | None = None  # (T, Y, X), memory for the image


class RadialFilter:
    """Applies radial responses, given at the table's ``k``, to images of one shape (Y, X)."""

    def __init__(
        self,
        shape: tuple[int, int],
        optics: Optics,
        table: CovarianceTable,
        device: torch.device | None = None,
        pad: int = _PAD,
    ) -> None:
        self.shape = shape
        down, across = _margins(shape[0], pad), _margins(shape[1], pad)
        self.margins = (*across, *down)
        self.padded = (sum(down) + shape[0], sum(across) + shape[1])
        per_um = optics.wavelength_um / optics.na
        # Radial responses are the same at ky and -ky: only the rows from 0 to the Nyquist one.
        ky = np.arange(self.padded[0] // 2 + 1) / (self.padded[0] * optics.pixel_um) * per_um
        kx = np.fft.rfftfreq(self.padded[1], optics.pixel_um) * per_um
        position = np.hypot(ky[:, None], kx[None]) / table.k[1]
        low = np.minimum(position.astype(np.int64), len(table.k) - 2)
        # Beyond the cut-off the last node is repeated, whose covariance is zero.
        part = np.minimum(position - low, 1.0).astype(np.float32)
        self._low = torch.from_numpy(low).to(device)
        self._part = torch.from_numpy(part).to(device)

    def transform(self, images: torch.Tensor) -> torch.Tensor:
        """Reflect-pad and transform images (N, Y, X): complex (N, Y', X')."""
        wide = torch.nn.functional.pad(images[:, None], self.margins, mode="reflect")
        spectra: torch.Tensor = torch.fft.rfft2(wide[:, 0])
        return spectra

    @property
    def nearest_node(self) -> npt.NDArray[np.int64]:
        """The node nearest to each frequency of the transform, (Y' · X',)."""
        half = (self._low + (self._part > 0.5)).cpu()
        return self._mirrored(half, self.padded[0]).numpy().ravel()

    def response(self, weights: torch.Tensor) -> torch.Tensor:
        """Spread radial weights (…, K) over the frequency plane: (…, Y', X'/2 + 1)."""
        return self._mirrored(self.half_response(weights, self.padded), self.padded[0])

    def half_response(self, weights: torch.Tensor, padded: tuple[int, ...]) -> torch.Tensor:
        """The same for images of a size at one sign of ky: (…, Y' // 2 + 1, X' // 2 + 1)."""
        rows, columns = padded
        return self._half(weights, slice(rows // 2 + 1), slice(columns // 2 + 1))

    def mix(
        self,
        spectra: Iterable[torch.Tensor],
        weights: torch.Tensor,
        cache: dict[int, Responses] | None = None,
        out: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Σ over groups of spectra (C, Y', X'/2 + 1), filtered by weights (…, ΣC, K)."""
        size = (*weights.shape[:-2], self.padded[0], self.padded[1] // 2 + 1)
        if out is None:
            out = torch.empty(size, dtype=torch.complex64, device=weights.device)
        total = out.zero_()
        number = 0
        for spectrum in spectra:
            group = spectrum[None] if spectrum.dim() == 2 else spectrum
            responses: Iterable[Response]
            if cache is not None and number in cache:
                responses = cache[number]
            else:
                own = weights[..., number : number + len(group), :]
                responses = self._responses(own, (group.shape[-2], group.shape[-1]))
                if cache is not None:
                    responses = cache[number] = list(responses)
            for rows, columns, response in responses:
                filtered = group[:, rows, columns] * response
                one = len(group) == 1
                total[..., rows, columns] += filtered[..., 0, :, :] if one else filtered.sum(dim=-3)
            number += len(group)
        return total

    def _responses(self, weights: torch.Tensor, size: tuple[int, int]) -> Iterator[Response]:
        """Rows, columns, and what they are multiplied with, of spectra of a size."""
        y, x = size
        if (y, x) == (self.padded[0], self.padded[1] // 2 + 1):
            above, below, columns = y // 2 + 1, y - y // 2 - 1, slice(x)
        else:  # of a coarse image: not its highest frequency, of which the sign is not known
            above, below, columns = y // 2, y // 2 - 1, slice(x - 1)
        for rows in self._blocks(above, weights[..., 0].numel() * x):
            half = self._half(weights, rows, columns)
            yield rows, columns, half
            first, last = max(rows.start, 1), min(rows.stop, below + 1)  # rows of −ky
            if first < last:
                mirrored = half[..., first - rows.start : last - rows.start, :].flip(-2)
                yield slice(1 - last, 1 - first or None), columns, mirrored

    def _half(self, weights: torch.Tensor, rows: slice, columns: slice) -> torch.Tensor:
        """Radial weights (…, K) at the rows of one sign of ky: (…, Y' // 2 + 1, X' // 2 + 1)."""
        low, part = self._low[rows, columns], self._part[rows, columns]
        # gather is four times as fast as indexing, which checks every index.
        radial = weights.reshape(-1, 1, weights.shape[-1]).expand(-1, len(low), -1)
        at = low.expand(len(radial), -1, -1)
        below, above = radial[..., :-1].gather(2, at), radial[..., 1:].gather(2, at)
        return torch.lerp(below, above, part).view(*weights.shape[:-1], *low.shape)

    def _mirrored(self, half: torch.Tensor, rows: int) -> torch.Tensor:
        """Responses mirrored to all rows: (…, Y' // 2 + 1, X) → (…, Y', X)."""
        below = rows - half.shape[-2]
        return torch.cat([half, half[..., 1 : below + 1, :].flip(-2)], dim=-2)

    def back(self, spectra: torch.Tensor, out: torch.Tensor | None = None) -> torch.Tensor:
        """Inverse transform and crop (N, Y', X'/2 + 1), which may be overwritten: (N, Y, X)."""
        (x, _, y, _), (high, wide) = self.margins, self.shape
        if spectra.device.type != "cpu":
            whole: torch.Tensor = torch.fft.irfft2(spectra, s=self.padded)
            return whole[:, y : y + high, x : x + wide]
        if out is None:
            out = spectra.new_empty((len(spectra), high, wide), dtype=torch.float32)
        for columns in self._blocks(spectra.shape[2], spectra.shape[1]):
            spectra[..., columns] = torch.fft.ifft(spectra[..., columns], dim=1)
        for rows in self._blocks(high, spectra.shape[2]):
            block = spectra[:, y : y + high][:, rows]
            out[:, rows] = torch.fft.irfft(block, n=self.padded[1])[..., x : x + wide]
        return out

    def _blocks(self, length: int, width: int) -> Iterator[slice]:
        """Slices of an axis, ``width`` numbers to a place: on a CPU as long as its caches hold."""
        most = _AT_ONCE if self._part.device.type == "cpu" else AT_ONCE_ON_GPU
        step = max(most // width, 1)
        return (slice(low, min(low + step, length)) for low in range(0, length, step))

    def along(
        self, spectra: Iterable[torch.Tensor], expansion: Expansion, heights_um: Heights, words: str
    ) -> torch.Tensor:
        """Filter and add spectra (C, Y', X') with weights of every pixel's own height: (Y, X)."""
        device = self._part.device
        total = torch.zeros(self.shape, device=device)
        shares = expansion.shares(heights_um, device)
        for number, (radial, share) in enumerate(zip(expansion.responses, shares, strict=True)):
            tell(words, number, len(expansion.responses))
            weights = uploaded(radial, device)
            total.addcmul_(share, self.back(self.mix(spectra, weights)[None])[0])
        return total
