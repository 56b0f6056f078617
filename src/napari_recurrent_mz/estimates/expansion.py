"""Filters that change with height, for images whose every pixel has a height of its own.

The optics pass a limited band along z, so the weights between two heights are all but exactly a
short sum W(z) = Σ_r u_r(z) W_r, found by a singular value decomposition. Each W_r filters the
whole image once, and every pixel adds up what it gets with the shares u_r of its own height.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from ..core.scans import Heights

Weights = npt.NDArray[np.float64]

_STEP_DOF = 1 / 16  # a tenth of the axial Nyquist step: a cubic between them is all but exact
_MOST_NODES = 1024
_TABLE = 32  # entries of the table of shares for each step: a straight line between is enough
_LEFT_OUT = 1e-4  # of the largest singular value


@dataclass(frozen=True, eq=False)
class Expansion:
    """W(z) = Σ_r u_r(z) W_r between two heights; see :func:`expand`."""

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


def expand(
    weights_at: Callable[[npt.NDArray[np.float64]], Weights], heights_um: Heights, dof_um: float
) -> Expansion:
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


def height_nodes(heights_um: Heights, dof_um: float) -> npt.NDArray[np.float64]:
    """Evenly spaced heights (T,) of a surface (Y, X), close enough to interpolate between."""
    low, high = float(heights_um.min()), float(heights_um.max())
    if low == high:
        return np.array([low])
    count = int(np.ceil((high - low) / (_STEP_DOF * dof_um))) + 1
    return np.linspace(low, high, int(np.clip(count, 4, _MOST_NODES)))
