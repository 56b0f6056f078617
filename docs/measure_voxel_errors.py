"""Whether an error for every voxel would be right: calibration on simulated samples.

    python docs/measure_voxel_errors.py

Three scans 2, 4 or 8 depths of field apart of every kind of phantom; standard deviations from what
a person has (scans, optics, the estimate) against the true error of the planes between the scans.
Constants are fitted on some seeds and judged on others. "Constant" is one value for each plane, its
expected error times the standard deviation of the scans; the others share it out over the voxels.
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter
from scipy.stats import spearmanr

from napari_recurrent_mz.core.optics import Optics
from napari_recurrent_mz.core.scans import Scan, ZGrid
from napari_recurrent_mz.engine.inference import reconstruct
from napari_recurrent_mz.estimates.lmmse import LinearEstimate
from napari_recurrent_mz.estimates.normalisation import noise_of
from napari_recurrent_mz.estimates.uncertainty import voxel_spread
from napari_recurrent_mz.simulation.phantoms import KINDS
from napari_recurrent_mz.simulation.simulate import Sample, simulate_sample

Array = npt.NDArray[np.float64]

OPTICS = Optics(na=1.4, wavelength_um=0.519, immersion_index=1.515, pixel_um=0.13)
STEP_UM = OPTICS.depth_of_field_um / 2
GAPS = (2, 4, 8)  # depths of field
PLANES, SIZE, MIDDLE = 37, 128, 18
SMOOTHING = (1.0, 2.0, 4.0, 8.0)  # pixels
FIT, JUDGE = (101, 102), (201, 202)
METHODS = ("lmmse", "recurrent-mz")
SHARES = (0.0, 0.05, 0.1, 0.2, 0.4, 0.7)  # of the constant in the local variance
FLOORS = (0.03, 0.1, 0.3)  # parts of the variance of a scan's noise
SCALES = np.geomspace(0.05, 20, 40)
PER_PLANE = 600  # voxels


@dataclass(frozen=True, eq=False)
class Case:
    """Voxels between the scans of one sample: squared errors, and what their variance may be."""

    gap: int
    error2: dict[str, Array]  # by method
    maps: dict[str, Array]  # variances in squared counts: "constant" and the local ones
    noise2: float


@functools.lru_cache(1)
def sample_of(kind: str, seed: int) -> Sample:
    """Simulate a sample."""
    shape = (PLANES, SIZE, SIZE)
    return simulate_sample(kind, shape=shape, z_step_um=STEP_UM, optics=OPTICS, seed=seed)


def case_of(kind: str, seed: int, gap: int) -> Case:
    """Reconstruct a sample by each method, and take voxels at random."""
    sample = sample_of(kind, seed)
    indices = [MIDDLE - 2 * gap, MIDDLE, MIDDLE + 2 * gap]
    scans = [Scan(sample.widefield[i], float(sample.z_um[i])) for i in indices]
    estimate, rng = LinearEstimate(scans, OPTICS), np.random.default_rng(seed)
    planes = range(indices[0], indices[-1] + 1, gap // 2)
    between = [i for i in planes if i not in indices]
    heights = sample.z_um[between]
    squared = np.stack([(scan.pixels - scan.pixels.mean()) ** 2.0 for scan in scans])
    variance = squared.mean(axis=(1, 2))
    relative2 = estimate.expected_error(heights) ** 2
    grid = ZGrid(scans[0].z_um, scans[-1].z_um, gap // 2 * STEP_UM)
    volumes = {
        method: reconstruct(scans, grid, optics=OPTICS, method=method, device="cpu",
                            on_message=lambda _: None)
        for method in METHODS
    }  # fmt: skip
    errors: dict[str, list[Array]] = {method: [] for method in METHODS}
    maps: dict[str, list[Array]] = {}
    for i, z_um, part in zip(between, heights, relative2, strict=True):
        at = rng.choice(SIZE * SIZE, PER_PLANE, replace=False)
        weights = np.array([np.interp(z_um, estimate.scan_z_um, one) for one in np.eye(3)])
        own = (estimate.plane(z_um) - float(estimate.offset) * estimate.unit) ** 2.0
        level = float(weights @ variance)
        found = {"constant": np.full((SIZE, SIZE), part * level)}
        found["spread"] = voxel_spread(estimate, float(z_um)).astype(np.float64) ** 2
        scanned = np.tensordot(weights, squared, 1)
        for pixels in SMOOTHING:
            found[f"scans, {pixels:g} pixels"] = part * gaussian_filter(scanned, pixels)
            found[f"estimate, {pixels:g} pixels"] = part * gaussian_filter(own, pixels)
        for name, image in found.items():
            maps.setdefault(name, []).append(image.ravel()[at])
        for method, volume in volumes.items():
            off = (volume[planes.index(i)] - sample.noiseless[i]).astype(np.float64) ** 2
            errors[method].append(off.ravel()[at])
    noise2 = float(np.median([noise_of(scan.pixels) for scan in scans])) ** 2
    return Case(
        gap,
        {name: np.concatenate(parts) for name, parts in errors.items()},
        {name: np.concatenate(parts) for name, parts in maps.items()},
        noise2,
    )


@dataclass(frozen=True)
class Fitted:
    """What was fitted: a map, the share of the constant in it, a scale and a floor."""

    name: str
    share: float
    scale: float
    floor: float

    def variance(self, case: Case) -> Array:
        """Of the voxels of a case."""
        mixed = (1 - self.share) * case.maps[self.name] + self.share * case.maps["constant"]
        return self.scale * mixed + self.floor * case.noise2


def likelihood(case: Case, method: str, fitted: Fitted) -> float:
    """Negative log-likelihood in nats for a voxel, without its constant."""
    variance = fitted.variance(case)
    return float(0.5 * np.mean(np.log(variance) + case.error2[method] / variance))


def fit(cases: Sequence[Case], method: str, names: Sequence[str]) -> Fitted:
    """The best of a family of maps, each case counting the same."""

    def candidates() -> Iterator[Fitted]:
        for name in names:
            shares = (0.0,) if name == "constant" else SHARES
            for share, floor, scale in product(shares, FLOORS, SCALES):
                yield Fitted(name, share, float(scale), floor)

    return min(candidates(), key=lambda one: sum(likelihood(case, method, one) for case in cases))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("kinds", nargs="*", default=list(KINDS), help="of phantoms")
    kinds = parser.parse_args().kinds
    fitting, judging = (
        [case_of(*one) for one in product(kinds, seeds, GAPS)] for seeds in (FIT, JUDGE)
    )
    families = {
        "constant": ["constant"],
        "scans": [name for name in judging[0].maps if name.startswith("scans")],
        "estimate": [name for name in judging[0].maps if name.startswith("estimate")],
        "spread": ["spread"],
    }
    print(
        "| method, gap | error | fitted | < 1 σ | < 2 σ | rank correlation | "
        "gain in nats: mean; median | worse in |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for method in METHODS:
        base = fit(fitting, method, ["constant"])
        for family, names in families.items():
            best = fit(fitting, method, names)
            how = f"{best.name}, share {best.share:g}, ×{best.scale:.2f}, floor {best.floor:g}"
            for gap in GAPS:
                own = [case for case in judging if case.gap == gap]
                print(f"| {method}, {gap} | {family} | {how} | {row(own, method, best, base)} |")


def row(cases: Sequence[Case], method: str, best: Fitted, base: Fitted) -> str:
    """Coverage, rank correlation and gain over the constant: median and range of samples."""
    ratios = [case.error2[method] / best.variance(case) for case in cases]
    ranks = [spearmanr(best.variance(case), case.error2[method]).statistic for case in cases]
    gains = [likelihood(case, method, base) - likelihood(case, method, best) for case in cases]
    lost = f"{100 * float(np.mean(np.array(gains) < 0)):.0f} %"
    cells = [
        _span([100 * float(np.mean(ratio < 1)) for ratio in ratios], ".0f"),
        _span([100 * float(np.mean(ratio < 4)) for ratio in ratios], ".0f"),
        _span(ranks, ".2f"),
        f"{float(np.mean(gains)):+.2f}; {_span(gains, '+.2f')}",
        lost,
    ]
    return " | ".join(cells)


def _span(values: Sequence[float], form: str) -> str:
    low, middle, high = np.nanpercentile(values, [0, 50, 100])
    return f"{middle:{form}} ({low:{form}} to {high:{form}})"


if __name__ == "__main__":
    main()
