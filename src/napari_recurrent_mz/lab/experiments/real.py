"""Real stacks that nothing was trained on, and the check on one's own scans."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from ...core.optics import Optics
from ...core.scans import Scan
from ...engine.check import LINEAR, NETWORK, check_on_scans
from ...io import read_image, stack_heights
from ...networks.recurrent_mz import RecurrentMZ
from ...networks.weights import Model
from ...simulation.phantoms import KINDS
from ...simulation.simulate import Camera
from ..shared import Goal
from .base import Experiment, Measured, Outcome
from .figures import axes_row, bars, name_of
from .lab import CAMERA, HeldOutStack, Lab, Row
from .samples import centred, gains

if TYPE_CHECKING:
    from matplotlib.figure import Figure


_METHODS = "recurrent-mz lmmse richardson-lucy linear nearest cubic pchip".split()


@dataclass(frozen=True)
class Question:
    """Planes that serve as scans, and what is to be reached between them."""

    planes: tuple[int, ...]
    to_beat: str  # what linear interpolation and linear MMSE reach, in dB
    goal: Goal
    over_linear: bool = False  # whether the goal is a gain over linear MMSE instead of a PSNR


@dataclass(frozen=True)
class RealStack:
    """A stack, its optics (the pixel and the z step are in the file), and the questions."""

    file: str  # its name, without ``.ome.tif``
    title: str
    na: float
    wavelength_um: float
    immersion_index: float
    questions: tuple[Question, ...] = ()
    every: int = 1  # judge one plane in so many; more than 1 where the stack is large

    def methods(self, wanted: Sequence[str]) -> list[str]:
        """Those of ``wanted`` that are worth their time: iterating over a large stack is not."""
        return [m for m in wanted if self.every == 1 or m != "richardson-lucy"]


STACKS = (
    RealStack(
        "celegans-embryo-fitc-widefield", "embryo, FITC, 100×/1.4", 1.4, 0.53, 1.518,
        (
            Question((14, 52, 90), "linear 30.5, linear MMSE 33.4 dB", Goal(34.4, "dB")),
            Question((20, 44, 68, 92), "linear 32.0, linear MMSE 34.4 dB", Goal(35.4, "dB")),
        ),
        every=3,
    ),
    RealStack(
        "nucleus-hoechst-widefield", "nucleus, wide-field, 40×/1.2 water", 1.2, 0.455, 1.33,
        (Question((12, 22, 32), "linear MMSE 38.9 dB", Goal(0.5, "dB"), over_linear=True),),
    ),
    RealStack(
        "bead-560nm-widefield", "bead, 0.6 µm, NA 1.1 water", 1.1, 0.6, 1.33,
        (Question((30, 50, 70), "linear MMSE 28.5 dB", Goal(2, "dB"), over_linear=True),),
    ),
    RealStack(
        "bead-520nm-na0.85-widefield", "bead, 0.52 µm, NA 0.85 air", 0.85, 0.52, 1.0,
        (Question((6, 12, 18), "linear MMSE 31.0 dB", Goal(2, "dB"), over_linear=True),),
    ),
    RealStack(
        "nucleus-hoechst-confocal", "nucleus, confocal, 40×/1.2 water", 1.2, 0.455, 1.33,
    ),
)  # fmt: skip
"""Stacks that are known: their optics are not in the files."""

TITLES = {stack.file: stack.title for stack in STACKS}


def path_of(folder: Path, stack: RealStack) -> Path:
    """Where a stack would be."""
    return folder / f"{stack.file}.ome.tif"


def load(folder: Path, stack: RealStack, *, crop: int) -> HeldOutStack:
    """Read a stack; ``crop`` keeps at most so many pixels a side, about the middle."""
    found = read_image(path_of(folder, stack))
    starts = [max(0, (n - crop) // 2) for n in found.stack.shape[1:]]
    y, x = (slice(start, start + crop) for start in starts)
    pixels = found.stack[:, y, x]
    heights = np.asarray(stack_heights(found, None), np.float64)
    truth = np.ascontiguousarray(pixels, np.float32)
    assert found.pixel_um is not None  # these files all have it
    optics = Optics(stack.na, stack.wavelength_um, stack.immersion_index, found.pixel_um)
    if heights[-1] < heights[0]:
        truth, heights = truth[::-1], heights[::-1]
    return HeldOutStack(truth, truth, heights - heights[0], optics)


def present(lab: Lab) -> Iterator[RealStack]:
    """The known stacks that are in the settings' folder; the missing ones are noted."""
    folder = lab.settings.data
    if folder is None:
        lab.note("Real stacks: not measured, no folder of them was given (--data FOLDER).")
        return
    for stack in STACKS:
        if path_of(folder, stack).is_file():
            yield stack
        else:
            lab.note(f"{stack.title}: not measured, {stack.file}.ome.tif is not in the folder.")


# --- planes as stated ---------------------------------------------------------------------


def _measure_real(lab: Lab) -> Measured:
    rows: list[Row] = []
    methods = lab.available(_METHODS)
    stacks = [stack for stack in present(lab) if stack.questions]
    parts = [
        (s, q, m) for s in stacks for q in s.questions for m in methods if m in s.methods(methods)
    ]
    loaded: dict[str, HeldOutStack] = {}
    for stack, question, method in lab.track(parts):
        if stack.file not in loaded:
            assert lab.settings.data is not None  # or no stack is present
            loaded = {stack.file: load(lab.settings.data, stack, crop=lab.settings.real_size)}
        held = loaded[stack.file]
        # A quick run judges few planes.
        every = stack.every * max(1, round(lab.settings.every_um / 0.6))
        targets = [i for i in range(len(held.z_um)) if i not in question.planes][::every]
        scans = held.scans(held.z_um[list(question.planes)])
        about = {"stack": stack.file, "planes": " ".join(map(str, question.planes))}
        rows += lab.scored(held, method, scans, targets, about)
    return Measured(pd.DataFrame(rows))


def _means(table: pd.DataFrame) -> pd.DataFrame:
    """Mean PSNR, a row for every stack and its planes, a column for every method."""
    found: pd.DataFrame = table.groupby(["stack", "planes", "method"]).psnr.mean().unstack()
    return found


def _outcomes_real(table: pd.DataFrame) -> list[Outcome]:
    means = _means(table)
    lines = []
    for stack in STACKS:
        for question in stack.questions:
            key = (stack.file, " ".join(map(str, question.planes)))
            if key in means.index:
                lines.append(_line(stack, question, means.loc[key]))
    return lines


def _line(stack: RealStack, question: Question, mean: pd.Series) -> Outcome:
    ours = float(mean["recurrent-mz"])
    gain = ours - float(mean["lmmse"])
    others = ", ".join(
        f"{name_of(str(m))} {v:.2f}" for m, v in mean.dropna().items() if m != "recurrent-mz"
    )
    planes = ", ".join(map(str, question.planes))
    goal = question.goal
    if question.over_linear:
        goal = Goal(goal.limit, goal.unit, text=f"≥ +{goal.limit:g} dB over linear MMSE")
    return Outcome(
        f"real {stack.title}, planes {planes}",
        f"{ours:.2f} dB, {gain:+.2f} dB over linear MMSE ({others})",
        question.to_beat,
        goal,
        gain if question.over_linear else ours,
    )


def _draw_real(measured: Measured) -> Figure:
    found = gains(measured.table)
    rows = list(found.groupby(["stack", "planes"], sort=False))
    figure, row = axes_row(len(rows), width=9.0, height=2.6, sharey=True, sharex=True)
    for axes, ((stack, planes), some) in zip(row, rows, strict=True):
        mean = some[some.method != "lmmse"].groupby("method", sort=False).gain.mean()
        bars(axes, mean, unit="dB over linear MMSE")
        axes.set_title(f"{TITLES[stack].partition(',')[0]}\n{planes}")
    return figure


REAL_STACKS = Experiment(
    name="real",
    title="Real stacks",
    figure="beyond the paper",
    paper="The paper's own stacks are not public; these are, and linear interpolation and linear "
    "MMSE on them are what there is to beat.",
    how="Mean PSNR over the planes that are not scans (of the embryo, one plane in three, and "
    "without Richardson–Lucy).",
    measure=_measure_real,
    outcomes=_outcomes_real,
    draw=_draw_real,
)


# --- any planes ---------------------------------------------------------------------------

_TARGETS = 12
_ALLOWED_DB = 0.05


def random_planes(rng: np.random.Generator, planes: int) -> list[int]:
    """Two to five planes of a stack, drawn at random, rising."""
    count = int(rng.integers(2, 6))
    return sorted(int(p) for p in rng.choice(planes, count, replace=False))


def _measure_any(lab: Lab) -> Measured:
    rows: list[Row] = []
    stacks = list(enumerate(present(lab)))
    parts = [(n, stack, s) for n, stack in stacks for s in range(lab.settings.plane_sets)]
    loaded: dict[str, HeldOutStack] = {}
    for place, stack, number in lab.track(parts):
        if stack.file not in loaded:
            assert lab.settings.data is not None  # or no stack is present
            loaded = {stack.file: load(lab.settings.data, stack, crop=lab.settings.crop)}
        held = loaded[stack.file]
        planes = random_planes(lab.rng(place, number), len(held.z_um))
        free = [i for i in range(len(held.z_um)) if i not in planes]
        targets = [free[i] for i in np.unique(np.linspace(0, len(free) - 1, _TARGETS).astype(int))]
        scans = held.scans(held.z_um[planes])
        model = lab.model("recurrent-mz")
        assert model is not None  # the method has a network
        check = check_on_scans(scans, held.optics, model, lab.device)
        about = {"stack": stack.file, "set": number, "planes": " ".join(map(str, planes)),
                 "auto": check.chosen}  # fmt: skip
        for method in lab.available(("recurrent-mz", "lmmse")):
            rows += lab.scored(held, method, scans, targets, about)
    return Measured(pd.DataFrame(rows))


def set_gains(table: pd.DataFrame) -> pd.DataFrame:
    """Mean gains over linear MMSE for every stack and set of planes, in dB.

    ``auto`` is the gain of ``network`` where the check on the scans chose it, else zero.
    """
    keys = ["stack", "planes"]
    means = table.groupby([*keys, "method"], sort=False).psnr.mean().unstack()
    chosen = table.groupby(keys, sort=False)["auto"].first()
    network = means["recurrent-mz"] - means["lmmse"]
    return pd.DataFrame({"network": network, "auto": network.where(chosen == "recurrent-mz", 0.0)})


def _any_outcomes(table: pd.DataFrame) -> list[Outcome]:
    found = set_gains(table)
    lines = [
        _lowest("Auto, the default", found["auto"]),
        _lowest("Recurrent-MZ without the check", found["network"]),
    ]
    for name, some in found.groupby("stack", sort=False):
        network, auto = some["network"], some["auto"]
        lines.append(
            Outcome(
                f"{TITLES[str(name)]}, {len(some)} sets: mean, lowest and highest gain",
                f"{network.mean():+.2f}, {network.min():+.2f}, {network.max():+.2f} dB, "
                f"{_below(network)}; with the check {auto.mean():+.2f}, {auto.min():+.2f}, "
                f"{auto.max():+.2f} dB",
            )
        )
    return lines


def _below(gain: pd.Series) -> str:
    return f"{100 * float((gain < -_ALLOWED_DB).mean()):.0f} % below −{_ALLOWED_DB:g} dB"


def _lowest(what: str, gain: pd.Series) -> Outcome:
    stack, planes = gain.idxmin()
    lowest = float(gain.min())
    return Outcome(
        f"every real stack, any 2–5 planes, {what}: lowest gain over linear MMSE",
        f"{lowest:+.2f} dB ({TITLES[stack]}, planes {planes.replace(' ', ', ')}); "
        f"{_below(gain)} of {len(gain)} sets; mean {gain.mean():+.2f} dB",
        "linear MMSE",
        Goal(-_ALLOWED_DB, "dB", text=f"never more than {_ALLOWED_DB:g} dB below"),
        lowest,
    )


def _draw_any(measured: Measured) -> Figure:
    found = set_gains(measured.table)
    figure, (axes,) = axes_row(1, height=2.4)
    names = list(found.index.get_level_values("stack").unique())
    for height, name in enumerate(names):
        some = found.loc[name]
        for shift, column, colour in ((-0.15, "network", "#c1272d"), (0.15, "auto", "#0000a7")):
            axes.plot(some[column], np.full(len(some), height + shift), "|", color=colour,
                      markersize=9, label=column if height == 0 else None)  # fmt: skip
    axes.axvline(-_ALLOWED_DB, color="0.3", linestyle=":", linewidth=0.8)
    axes.set_yticks(range(len(names)), [TITLES[name] for name in names])
    axes.invert_yaxis()
    axes.set_xlabel("dB over linear MMSE; one mark for each set of planes")
    axes.legend()
    return figure


ANY_PLANES = Experiment(
    name="any-planes",
    title="Any planes of real stacks",
    figure="beyond the paper",
    paper="Nothing of the kind; a reconstruction that a user can trust must not lose to what the "
    "optics alone give.",
    how="Random sets of two to five planes of each stack (of large ones the middle 256 × 256 "
    "pixels), judged at twelve other planes from bottom to top, those beyond the outer scans "
    "included; Auto uses the network or linear MMSE as its check on the scans says. The confocal "
    "stack is one as well, though its optics are not wide-field.",
    measure=_measure_any,
    outcomes=_any_outcomes,
    draw=_draw_any,
)


# --- the check on one's own sample ----------------------------------------------------------------


_ASKED = ((3, 1.5), (3, 3.0), (3, 6.0), (5, 3.0))  # scans, µm between them
_DIM = Camera(photons=300.0, background=3.0)
_TARGETS_A_GAP = 4
_REAL_SETS = 3  # random ones, beside the planes as stated
_CLEAR_DB = 0.1
GROUPS = {"bundled": "as it is", "turned": "its correction turned round"}


def turned(model: Model) -> Model:
    """A network that does harm: ``model`` with its correction turned round."""
    network = copy.deepcopy(model.network)
    assert isinstance(network, RecurrentMZ)  # as the method asks for
    with torch.no_grad():
        for part in network.last.parameters():  # the weights and the bias
            part[:1] *= -1
    return replace(
        model, name=f"{model.name}, turned", sha256=f"turned {model.sha256}", network=network
    )


def _simulated(lab: Lab) -> Iterator[tuple[str, HeldOutStack, list[Scan]]]:
    """Held-out samples of every kind: three or five scans, near and far, bright and dim."""
    for number, kind in enumerate(list(KINDS)[: lab.settings.plane_sets]):
        held = lab.sample(kind, 0)
        for n, (count, spacing) in enumerate(_ASKED):
            scans = held.scans(centred(held, spacing, count))
            if (number + n) % 2:
                rng = torch.Generator().manual_seed(1000 * number + n)
                scans = [_dimmed(scan, held, rng) for scan in scans]
            yield kind, held, scans


def _dimmed(scan: Scan, held: HeldOutStack, generator: torch.Generator) -> Scan:
    """The same scan from a camera with less light, in the units of the truth."""
    (plane,) = held.nearest(scan.z_um)
    light = (held.truth[plane] - CAMERA.offset - CAMERA.background) / CAMERA.photons
    counts = _DIM.expose(torch.from_numpy(light), generator).numpy()
    signal = (counts - _DIM.offset - _DIM.background) / _DIM.photons
    return Scan(signal * CAMERA.photons + CAMERA.background + CAMERA.offset, scan.z_um)


def _real(lab: Lab) -> Iterator[tuple[str, HeldOutStack, list[Scan]]]:
    """Real stacks: the planes as stated, and random sets of three to five."""
    for stack in present(lab):
        assert lab.settings.data is not None  # or none is present
        held = load(lab.settings.data, stack, crop=min(lab.settings.crop, lab.settings.real_size))
        planes = len(held.z_um)
        rng = lab.rng(sum(stack.file.encode()))
        sets = [np.array(question.planes) for question in stack.questions]
        for _ in range(_REAL_SETS):
            count = int(rng.integers(3, 6))
            sets.append(np.sort(rng.choice(np.arange(planes), count, replace=False)))
        for chosen in sets:
            yield stack.title, held, held.scans(held.z_um[chosen])


def _measure_own_sample(lab: Lab) -> Measured:
    model = lab.model(NETWORK)
    assert model is not None  # the method has a network
    models = {"bundled": model, "turned": turned(model)}
    asked = [("simulated", *q) for q in _simulated(lab)] + [("real", *q) for q in _real(lab)]
    rows = [
        {"origin": origin, "sample": sample, "network": name, **_judge(lab, held, scans, one)}
        for origin, sample, held, scans in lab.track(asked)
        for name, one in models.items()
    ]
    return Measured(pd.DataFrame(rows))


def _judge(lab: Lab, held: HeldOutStack, scans: list[Scan], model: Model) -> Row:
    """What the check says of some scans, and what the truth says."""
    check = check_on_scans(scans, held.optics, model, lab.device)
    planes = held.nearest([scan.z_um for scan in scans])
    between = [i for i in range(planes[0] + 1, planes[-1]) if i not in planes]
    targets = [between[i] for i in _spread(len(between), _TARGETS_A_GAP * (len(planes) - 1))]
    true = {
        method: float(
            np.mean(
                [row["psnr"] for row in lab.scored(held, method, scans, targets, {}, model=model)]
            )
        )
        for method in (NETWORK, LINEAR)
    }
    return {
        "scans": len(scans),
        "gap_um": float(np.diff([scan.z_um for scan in scans]).max()),
        "chosen": check.chosen,
        "said_network": check.network_db,
        "said_linear": check.linear_db,
        "true_network": true[NETWORK],
        "true_linear": true[LINEAR],
    }


def _spread(count: int, wanted: int) -> list[int]:
    """Up to ``wanted`` numbers below ``count``, evenly spread."""
    at = (np.arange(min(wanted, count)) + 0.5) * count / min(wanted, count)
    return [int(i) for i in at]


def judged(table: pd.DataFrame) -> pd.DataFrame:
    """What the choice was worth, question by question.

    ``gain`` and ``said`` are dB of the network over linear MMSE, true and by the check; ``auto``,
    ``always_network`` and ``always_linear`` are what is lost to the better of the two.
    """
    gain = table.true_network - table.true_linear
    uses = table.chosen == NETWORK
    lost_by_network, lost_by_linear = (-gain).clip(lower=0), gain.clip(lower=0)
    return table.assign(
        gain=gain,
        said=table.said_network - table.said_linear,
        right=uses == (gain > 0),
        auto=lost_by_network.where(uses, lost_by_linear),
        always_network=lost_by_network,
        always_linear=lost_by_linear,
    )


def _outcomes_own_sample(table: pd.DataFrame) -> list[Outcome]:
    found = judged(table)
    lines = []
    for (origin, network), some in found.groupby(["origin", "network"], sort=False):
        clear = some[some.gain.abs() >= _CLEAR_DB]
        where = f"{origin} samples, the network {GROUPS[str(network)]}"
        lines.append(
            Outcome(
                f"{where}: the better method is chosen",
                f"{_percent(some.right)} of {len(some)} questions; {_percent(clear.right)} of the "
                f"{len(clear)} where {_CLEAR_DB:g} dB or more lie between them",
            )
        )
        lines.append(_lost(where, some))
        off = some.said_linear - some.true_linear
        lines.append(
            Outcome(
                f"{where}: the check's figure less the true one",
                f"linear MMSE {off.median():+.1f} dB (middle half {off.quantile(0.25):+.1f} to "
                f"{off.quantile(0.75):+.1f}); gain of the network {_error(some)}",
            )
        )
    return lines


def _lost(where: str, some: pd.DataFrame) -> Outcome:
    auto, network, linear = (
        float(some[column].mean()) for column in ("auto", "always_network", "always_linear")
    )
    return Outcome(
        f"{where}: mean loss to the better of the two by Auto",
        f"{auto:.3f} dB; always the network {network:.3f}, always linear MMSE {linear:.3f}",
        "the better of the two constant choices",
        Goal(round(min(network, linear), 3), "dB", at_least=False,
             text=f"≤ {min(network, linear):.3f} dB"),
        auto,
    )  # fmt: skip


def _percent(right: pd.Series) -> str:
    return f"{100 * right.mean():.0f} %" if len(right) else "none"


def _error(some: pd.DataFrame) -> str:
    off = some.said - some.gain
    return f"{off.mean():+.2f} ± {off.std():.2f} dB"


def _draw_own_sample(measured: Measured) -> Figure:
    found = judged(measured.table)
    figure, row = axes_row(found.origin.nunique(), height=3.2)
    for axes, (origin, some) in zip(row, found.groupby("origin", sort=False), strict=True):
        for name, rows in some.groupby("network", sort=False):
            colour = "#c1272d" if name == "bundled" else "#0000a7"
            axes.plot(rows.gain, rows.said, ".", color=colour, label=GROUPS[str(name)])
        axes.axhline(0, color="0.6", linewidth=0.8)
        axes.axvline(0, color="0.6", linewidth=0.8)
        axes.set_xlabel("true gain of the network, dB")
        axes.set_ylabel("gain that the check says, dB")
        axes.set_title(f"{origin} samples")
        axes.legend()
    return figure


OWN_SAMPLE = Experiment(
    name="own-sample",
    title="The check on one's own sample",
    figure="beyond the paper",
    paper="Nothing of the kind.",
    how="Held-out simulated samples of every kind (three or five scans, 1.5 to 6 µm apart, 2,000 "
    "or 300 photons) and, where there are any, real stacks (of large ones the middle): the check "
    "sees the scans, the truth is the planes between them. Asked of the network as it is and, to "
    "see that harm is noticed, with its correction turned round.",
    measure=_measure_own_sample,
    outcomes=_outcomes_own_sample,
    draw=_draw_own_sample,
)
