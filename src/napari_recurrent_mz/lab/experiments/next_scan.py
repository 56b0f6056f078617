"""Beyond the paper: where the next scan helps most, and when another no longer pays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy.stats import rankdata

from ...core.arrays import AnyArray
from ...core.metrics import EPSILON, relative_change
from ...core.scans import FloatArray
from ...estimates.expectation import Expectation
from ...estimates.lmmse import LinearEstimate
from ...estimates.normalisation import normalisation
from ...estimates.planning import RULES, suggest
from ...estimates.uncertainty import voxel_spread
from ...simulation.phantoms import KINDS
from ..shared import Goal
from .base import Experiment, Outcome, Pictures
from .figures import BLUE, COLOURS, RED, axes_row, mean_lines
from .lab import WORM_OPTICS, HeldOutStack, Lab, Row
from .stacks import TITLES, load, present

DEPTH_UM = 12.0
COARSER = 1.5
"""Plane distance of these stacks, in those of the settings: many volumes are made of each."""

_ALL_RULES = (*RULES, "equal", "random")
_MOST = 10
_SHOWN = (2, 3, 4, 6, 8, 10)
_VOXEL_PLANES = 3
_REAL_SIZE = 128  # pixels a side: fifty volumes are made of each stack
_COLOURS = {
    "expected-error": RED,
    "largest-gap": BLUE,
    "spread": COLOURS["richardson-lucy"],
    "equal": COLOURS["unet-3d"],
    "random": COLOURS["deep-z"],
}


@dataclass(frozen=True, eq=False)
class Step:
    """The volume of a sample after one more scan, by linear MMSE."""

    planes: tuple[int, ...]  # the scans, in the order taken: planes of the stack
    volume: FloatArray  # (Z, Y, X)
    estimate: LinearEstimate
    expected: Expectation  # with these scans

    @property
    def next_change(self) -> float:
        """Expected change by the best next scan, relative to the planes' standard deviation."""
        return float(np.sqrt(self.expected.lowered(self.estimate.scan_z_um).max()))


def steps(held: HeldOutStack, rule: str, most: int, rng: np.random.Generator) -> Iterator[Step]:
    """Scan as a rule says, or ``equal`` or ``random``, and rebuild the sample after each scan."""
    planes: tuple[int, ...] = ()
    expected = Expectation(held.grid, held.optics)
    estimate: LinearEstimate | None = None
    order = rng.permutation(len(held.z_um))
    ends = (float(held.z_um[0]), float(held.z_um[-1]))
    for count in range(1, min(most, len(held.z_um)) + 1):
        if rule == "equal":
            even = (np.arange(count) + 0.5) / count * (len(held.z_um) - 1)
            planes = tuple(int(i) for i in even.round())
        elif rule == "random":
            planes = (*planes, int(order[count - 1]))
        else:
            planes = (*planes, _next_plane(held, expected, planes, rule, estimate))
        scans = held.scans(held.z_um[list(planes)])
        estimate = LinearEstimate(scans, held.optics, reach_um=ends)
        expected = Expectation.of(held.grid, estimate)
        yield Step(planes, _volume(held, estimate, planes), estimate, expected)


def _next_plane(
    held: HeldOutStack,
    expected: Expectation,
    planes: Sequence[int],
    rule: str,
    estimate: LinearEstimate | None,
) -> int:
    heights = [float(held.z_um[i]) for i in planes]
    wanted = suggest(expected, heights, rule=rule, estimate=estimate).z_um
    free = [i for i in range(len(held.z_um)) if i not in planes]
    return min(free, key=lambda i: abs(float(held.z_um[i]) - wanted))


def _volume(held: HeldOutStack, estimate: LinearEstimate, planes: Sequence[int]) -> FloatArray:
    """As a session makes it: where there is a scan, the plane is the scan."""
    return np.stack(
        [held.seen[i] if i in planes else estimate.plane(float(z)) for i, z in enumerate(held.z_um)]
    )


def background(held: HeldOutStack, planes: Sequence[int]) -> float:
    """The background of the first two scans: what the norm of a volume is counted from."""
    return normalisation(held.seen[list(planes[:2])]).shift


def relative_error(held: HeldOutStack, volume: FloatArray, dark: float) -> float:
    """||V − truth|| over ||truth||, background taken off."""
    wrong = np.linalg.norm((volume - held.truth).ravel().astype(np.float64))
    return float(wrong / np.linalg.norm((held.truth - dark).ravel().astype(np.float64)))


def contrast(volume: FloatArray, dark: float) -> float:
    """Standard deviation of the planes over the norm of the volume, as a session counts it."""
    size = np.linalg.norm((volume - dark).ravel().astype(np.float64))
    return float(np.sqrt(volume.var(axis=(1, 2), dtype=np.float64).sum() * volume[0].size) / size)


def simulated(lab: Lab) -> Iterator[tuple[Row, HeldOutStack]]:
    """Samples of every kind, each also upside down, so that no end favours a rule."""
    step = COARSER * lab.settings.z_step_um
    cases = [(n, kind) for n in range(lab.settings.samples) for kind in KINDS]
    for number, kind in lab.track(cases):
        held = lab.sample(kind, number, optics=WORM_OPTICS, depth_um=DEPTH_UM, z_step_um=step)
        for way in (1, -1):
            turned = replace(held, truth=held.truth[::way].copy(), seen=held.seen[::way].copy())
            yield {"sample": kind, "number": way * (number + 1)}, turned


def _measure_next_scan(lab: Lab) -> Iterator[Row]:
    for about, held in simulated(lab):
        yield from _by_rules(held, about | {"real": False}, lab.rng(about["number"] + 100))
    for place, stack in enumerate(present(lab)):
        held = load(lab, stack, crop=min(lab.settings.crop, _REAL_SIZE))
        about = {"sample": stack.file, "number": 1, "real": True}
        yield from _by_rules(held, about, lab.rng(place))


def _by_rules(held: HeldOutStack, about: Row, rng: np.random.Generator) -> Iterator[Row]:
    planned = Expectation(held.grid, held.optics)
    for rule in _ALL_RULES:
        for step in steps(held, rule, _MOST, rng):
            dark = background(held, step.planes)
            row = about | {"rule": rule, "scans": len(step.planes)}
            row["z_um"] = round(float(held.z_um[step.planes[-1]]), 4)
            row["error"] = relative_error(held, step.volume, dark)
            if rule == "equal":
                row["planned"] = planned.overall(step.estimate.scan_z_um)
            row |= _calibration(held, step) if rule == RULES[0] else {}
            row["true"] = row["error"] / contrast(held.truth, dark)
            yield row


def _calibration(held: HeldOutStack, step: Step) -> Row:
    """Expected against true errors: of the whole, of planes, of voxels."""
    row: Row = {"expected": step.expected.overall(step.estimate.scan_z_um)}
    inferred = [i for i in range(len(held.z_um)) if i not in step.planes]
    if len(step.planes) < 3 or len(inferred) < 3:
        return row
    wrong = (step.volume - held.truth)[inferred].astype(np.float64)
    true = np.sqrt((wrong**2).mean(axis=(1, 2))) / held.truth[inferred].std(axis=(1, 2))
    row["plane_rank"] = _rank(step.estimate.expected_error(held.z_um)[inferred], true)
    shown = [inferred[i] for i in np.linspace(0, len(inferred) - 1, _VOXEL_PLANES).astype(int)]
    spread = np.stack([voxel_spread(step.estimate, float(held.z_um[i])) for i in shown])
    missed = np.abs(step.volume[shown] - held.truth[shown])
    low = spread < np.median(spread)
    row["voxel_rank"] = _rank(spread, missed)
    row["voxel_ratio"] = _rms(missed) / max(_rms(spread), 1e-12)
    row["voxel_contrast"] = _rms(missed[~low]) / max(_rms(missed[low]), 1e-12)
    return row


def _rms(values: AnyArray) -> float:
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))


def _rank(one: AnyArray, other: AnyArray) -> float:
    """Spearman's rank correlation."""
    stride = max(1, one.size // 20_000)
    a, b = (rankdata(x.ravel()[::stride]) for x in (one, other))
    return float(np.corrcoef(a, b)[0, 1]) if np.ptp(a) and np.ptp(b) else float("nan")


def against_equal(table: pd.DataFrame) -> pd.DataFrame:
    """Error of each rule over that of equal spacing, less one: mean over samples of its log."""
    keys = ["sample", "number", "scans"]
    wide = table.pivot_table(index=keys, columns="rule", values="error")
    ratio = np.log(wide.div(wide["equal"], axis=0))
    return np.exp(ratio.groupby("scans").mean()).T - 1


def _outcomes_next_scan(table: pd.DataFrame) -> Iterator[Outcome]:
    synthetic = table[~table.real]
    yield _default_line(synthetic)
    yield from _rule_lines(synthetic, "simulated")
    for name, rows in table[table.real].groupby("sample", sort=False):
        yield from _rule_lines(rows, TITLES[str(name)])
    yield from _calibration_lines(synthetic)


def _default_line(synthetic: pd.DataFrame) -> Outcome:
    apart = against_equal(synthetic)
    mean = 100 * apart.loc[:, [m for m in apart if m > 2]].mean(axis=1)
    best = min(float(mean[rule]) for rule in (*RULES[1:], "random") if rule in mean)
    return Outcome(
        "simulated: error against equal spacing, mean over 3 scans and more",
        ", ".join(f"{rule} {value:+.1f} %" for rule, value in mean.items()),
        "scans that are placed one at a time cannot be equally spaced",
        Goal(0.0, "%", at_least=False, text="the default is the best of those one at a time"),
        float(mean[RULES[0]]) - best,
    )


def _rule_lines(table: pd.DataFrame, what: str) -> Iterator[Outcome]:
    for rule in _ALL_RULES:
        mean = 100 * table[table.rule == rule].groupby("scans").error.mean()
        if words := ", ".join(f"{m}: {mean[m]:.1f}" for m in _SHOWN if m in mean.index):
            yield Outcome(f"{what}, {rule}: error in % of the volume, by scans", words)


def _calibration_lines(synthetic: pd.DataFrame) -> Iterator[Outcome]:
    ours = synthetic[(synthetic.rule == RULES[0]) & (synthetic.scans >= 3)]
    equal = synthetic[synthetic.rule == "equal"]
    lines = {
        "before the first scan: true over planned error of the volume": equal.true / equal.planned,
        "with scans: true over expected error of the volume": ours.true / ours.expected,
        "rank correlation of expected and true error of planes": ours.plane_rank,
        "rank correlation of spread and true error of voxels": ours.voxel_rank,
        "true error of voxels over their spread": ours.voxel_ratio,
        "true error where the spread is high over where it is low": ours.voxel_contrast,
    }
    for what, values in lines.items():
        yield Outcome(f"calibration, {what}: median, middle half", _quartiles(values))


def _quartiles(values: pd.Series) -> str:
    low, middle, high = values.quantile([0.25, 0.5, 0.75])
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


def _draw_next_scan(table: pd.DataFrame, _: Pictures) -> Figure:
    figure, (left, right) = axes_row(2)
    synthetic = table[~table.real]
    percent = synthetic.assign(error=100 * synthetic.error)
    mean_lines(left, percent, "error", "rule", x="scans", colours=_COLOURS)
    left.set(xlabel="scans", ylabel="error, % of the volume")
    left.legend()
    ours = synthetic[synthetic.rule == RULES[0]]
    right.plot(100 * ours.expected, 100 * ours.true, ".", color=_COLOURS[RULES[0]], ms=3)
    limits = [5.0, 150.0]
    right.plot(limits, limits, color="0.5", linewidth=0.8)
    right.set(xscale="log", yscale="log", xlabel="expected error, % of the contrast")
    right.set_ylabel("true error, % of the contrast")
    return figure


NEXT_SCAN = Experiment(
    name="next-scan",
    title="Where the next scan helps most",
    figure="beyond the paper",
    paper="The paper spaces its scans evenly or at random, and does not say where the next one "
    "should be.",
    how="Simulated samples of every kind, 12 µm deep, each also upside down: scans are placed one "
    "at a time by a rule, and linear MMSE makes the volume after each. Equal spacing takes all "
    "scans anew for every number. The rule was chosen on the simulated samples alone. The error "
    "is that of the whole volume over its norm, the background taken off; the contrast is the "
    "standard deviation of the planes.",
    measure=_measure_next_scan,
    outcomes=_outcomes_next_scan,
    draw=_draw_next_scan,
)


_MOST_SCANS = 14
_FEWEST = 3  # a session does not stop before
_WITHIN = 0.03
_THRESHOLDS = (0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.15, 0.2)
_COUNTED = {
    "change": "the last change alone (the paper)",
    "ahead": "the expected next change alone",
    "both": "both",
}


def _measure_stopping(lab: Lab) -> Iterator[Row]:
    """Error, change, and expected next change after every scan at the suggested height."""
    for about, held in simulated(lab):
        before = None
        for step in steps(held, RULES[0], _MOST_SCANS, lab.rng(0)):
            dark = background(held, step.planes)
            row = about | {"scans": len(step.planes)}
            row["error"] = relative_error(held, step.volume, dark)
            row["ahead"] = step.next_change * contrast(step.volume, dark)
            if before is not None:
                yield row | {"change": relative_change(before - dark, step.volume - dark)}
            before = step.volume


def stopped_at(table: pd.DataFrame, epsilon: float, counted: str) -> pd.DataFrame:
    """Where every sample stops when ``counted`` falls to ε, and its error over the best."""
    rows = []
    for _, sample in table.groupby(["sample", "number"], sort=False):
        late = sample[sample.scans >= _FEWEST]
        value = late[["change", "ahead"]].max(axis=1) if counted == "both" else late[counted]
        hit = late[value <= epsilon]
        end = hit.iloc[0] if len(hit) else late.iloc[-1]
        best = float(sample.error.min())
        rows.append(
            {"scans": int(end.scans), "excess": float(end.error) - best,
             "ratio": float(end.error) / best, "stopped": bool(len(hit))}
        )  # fmt: skip
    return pd.DataFrame(rows)


def _outcomes_stopping(table: pd.DataFrame) -> Iterator[Outcome]:
    for epsilon, (counted, words) in product(_THRESHOLDS, _COUNTED.items()):
        stops = stopped_at(table, epsilon, counted)
        within = 100 * float((stops.excess <= _WITHIN).mean())
        default = epsilon == EPSILON and counted == "both"
        yield Outcome(
            f"ε = {100 * epsilon:g} %, {words}" + ", the default" * default,
            f"{stops.scans.mean():.1f} scans, {100 * stops.excess.mean():.1f} points above the "
            f"best error (at most {100 * stops.excess.max():.0f}), {within:.0f} % of samples "
            "within 3 points",
            "",
            Goal(90, "%", text="9 of 10 samples within 3 points") if default else None,
            within,
        )
    for name in ("change", "ahead"):
        yield _forecast_line(table, name)


def _forecast_line(table: pd.DataFrame, name: str) -> Outcome:
    """How well a number says what the next scan changes."""
    rows = table.sort_values(["sample", "number", "scans"])
    following = rows.groupby(["sample", "number"]).change.shift(-1)
    ratio = (following / rows[name])[rows.scans >= _FEWEST].dropna()
    what = _COUNTED[name].partition(" alone")[0]
    return Outcome(f"next change over {what}: median, middle half", _quartiles(ratio))


def _draw_stopping(table: pd.DataFrame, _: Pictures) -> Figure:
    figure, (left, right) = axes_row(2)
    for _, sample in table.groupby(["sample", "number"]):
        left.plot(100 * sample.change, 100 * sample.error, color="0.8", linewidth=0.6)
    bins = pd.cut(np.log10(table.change.clip(lower=1e-3)), 12)
    middle = table.groupby(bins, observed=True)[["change", "error"]].median()
    left.plot(100 * middle.change, 100 * middle.error, "o-", color=RED, label="median")
    left.axvline(100 * EPSILON, color="0.3", linestyle=":", label="ε")
    left.set(xscale="log", xlabel="change by the last scan, %", ylabel="error, % of the volume")
    left.legend()
    for counted, words in _COUNTED.items():
        stops = [stopped_at(table, epsilon, counted) for epsilon in _THRESHOLDS]
        excess = [100 * f.excess.mean() for f in stops]
        right.plot([f.scans.mean() for f in stops], excess, "o-", markersize=3, label=words)
    right.set(xlabel="scans until it stops", ylabel="points above the best error")
    right.legend()
    return figure


STOPPING = Experiment(
    name="stopping",
    title="When another scan no longer pays",
    figure="Discussion",
    paper="Scanning can stop when ‖V_M − V_(M−1)‖_F falls below a threshold ε; the paper gives "
    "none.",
    how="Simulated samples of every kind, 12 µm deep, each also upside down: up to 14 scans, each "
    "at the suggested height, and linear MMSE after each. The error is that of the whole volume "
    "over its norm, the background taken off, and the change is counted in the same way; the best "
    "error is the lowest of the 14. Beside the paper's criterion: what the best next scan is "
    "expected to change, in closed form.",
    measure=_measure_stopping,
    outcomes=_outcomes_stopping,
    draw=_draw_stopping,
)
