"""Real stacks: some of their planes serve as scans, the others are what is to be rebuilt."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ...engine.check import LINEAR, NETWORK, check_on_scans
from ..shared import Goal
from .base import Experiment, Outcome, Pictures
from .figures import BLUE, RED, axes_row, bars, name_of, panels
from .lab import HeldOutStack, Lab, Row
from .samples import gains
from .stacks import STACKS, TITLES, Question, RealStack, load, present

_METHODS = "recurrent-mz lmmse richardson-lucy linear nearest cubic pchip".split()


def _measure_real(lab: Lab) -> Iterator[Row]:
    methods = lab.available(_METHODS)
    cases = [
        (stack, question, method)
        for stack in present(lab)
        for question in stack.questions
        for method in stack.methods(methods)
    ]
    for stack, question, method in lab.track(cases):
        held = load(lab, stack, crop=lab.settings.real_size)
        # A quick run judges few planes.
        every = stack.every * max(1, round(lab.settings.every_um / 0.6))
        targets = [i for i in range(len(held.z_um)) if i not in question.planes][::every]
        scans = held.scans(held.z_um[list(question.planes)])
        about = {"stack": stack.file, "planes": " ".join(map(str, question.planes))}
        yield from lab.scored(held, method, scans, targets, about)


def _outcomes_real(table: pd.DataFrame) -> Iterator[Outcome]:
    means = table.groupby(["stack", "planes", "method"]).psnr.mean().unstack()
    for stack in STACKS:
        for question in stack.questions:
            key = stack.file, " ".join(map(str, question.planes))
            if key in means.index:
                yield _line(stack, question, means.loc[key])


def _line(stack: RealStack, question: Question, mean: pd.Series) -> Outcome:
    ours = float(mean["recurrent-mz"])
    gain = ours - float(mean["lmmse"])
    others = ", ".join(
        f"{name_of(m)} {v:.2f}" for m, v in mean.dropna().items() if m != "recurrent-mz"
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


def _draw_real(table: pd.DataFrame, _: Pictures) -> Figure:
    figure, row = panels(gains(table), ["stack", "planes"], 9.0, 2.6, sharey=True, sharex=True)
    for axes, (stack, planes), some in row:
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


_TARGETS = 12
_ALLOWED_DB = 0.05


def random_planes(rng: np.random.Generator, planes: int) -> list[int]:
    """Two to five planes of a stack, drawn at random, rising."""
    count = int(rng.integers(2, 6))
    return sorted(int(p) for p in rng.choice(planes, count, replace=False))


def random_questions(
    lab: Lab,
) -> Iterator[tuple[RealStack, int, HeldOutStack, list[int], list[int]]]:
    """Each stack with a number, pixels, planes that are scans, and twelve others to judge by."""
    cases = product(enumerate(present(lab)), range(lab.settings.plane_sets))
    for (place, stack), number in lab.track(cases):
        held = load(lab, stack, crop=lab.settings.crop)
        planes = random_planes(lab.rng(place, number), len(held.z_um))
        free = [i for i in range(len(held.z_um)) if i not in planes]
        targets = [free[i] for i in np.unique(np.linspace(0, len(free) - 1, _TARGETS).astype(int))]
        yield stack, number, held, planes, targets


def _measure_any(lab: Lab) -> Iterator[Row]:
    for stack, number, held, planes, targets in random_questions(lab):
        scans = held.scans(held.z_um[planes])
        check = check_on_scans(scans, held.optics, lab.network_model(), lab.device)
        about = {"stack": stack.file, "set": number, "planes": " ".join(map(str, planes)),
                 "auto": check.chosen}  # fmt: skip
        for method in lab.available((NETWORK, LINEAR)):
            yield from lab.scored(held, method, scans, targets, about)


def set_gains(table: pd.DataFrame) -> pd.DataFrame:
    """Mean gains over linear MMSE for every stack and set of planes, in dB; ``auto`` as checked."""
    keys = ["stack", "planes"]
    means = table.groupby([*keys, "method"], sort=False).psnr.mean().unstack()
    chosen = table.groupby(keys, sort=False)["auto"].first()
    network = means["recurrent-mz"] - means["lmmse"]
    return pd.DataFrame({"network": network, "auto": network.where(chosen == "recurrent-mz", 0.0)})


def _any_outcomes(table: pd.DataFrame) -> Iterator[Outcome]:
    by_set = set_gains(table)
    yield _lowest("Auto, the default", by_set["auto"])
    yield _lowest("Recurrent-MZ without the check", by_set["network"])
    for name, some in by_set.groupby("stack", sort=False):
        network, auto = (
            f"{gain.mean():+.2f}, {gain.min():+.2f}, {gain.max():+.2f}"
            for gain in (some["network"], some["auto"])
        )
        what = f"{TITLES[str(name)]}, {len(some)} sets: mean, lowest and highest gain"
        words = f"{network} dB, {_below(some['network'])}; with the check {auto} dB"
        yield Outcome(what, words)


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


def _draw_any(table: pd.DataFrame, _: Pictures) -> Figure:
    by_set = set_gains(table)
    figure, (axes,) = axes_row(1, 7.2, 2.4)
    names = list(by_set.index.get_level_values("stack").unique())
    for height, name in enumerate(names):
        some = by_set.loc[name]
        for shift, column, colour in ((-0.15, "network", RED), (0.15, "auto", BLUE)):
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
