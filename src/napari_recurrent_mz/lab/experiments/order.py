"""Figures 6, 7, S2a, S5 to S7: the order of the scans, their repetition and their number."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import permutations, product
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ...core.scans import FloatArray
from ...networks.weights import Model
from ..shared import Goal
from .base import NOT_MEASURED, Experiment, Outcome, Pictures
from .figures import BLUE, COLOURS, RED, axes_row, mark_scans, mean_lines, name_of, panels
from .lab import OURS, WORM_NETWORK, WORM_SCANS_UM, HeldOutStack, Lab, Row, plane_of, score


def _unscanned(lab: Lab, held: HeldOutStack, scans_um: Sequence[float]) -> list[int]:
    """The planes between the outer scans that are not scans."""
    return [i for i in lab.between(held, scans_um) if i not in held.nearest(scans_um)]


_ORDERS = [list(order) for order in permutations(range(len(WORM_SCANS_UM)))]
_TRAINED_ORDERS = {
    "order-depth": "4.03, the best",
    "order-distance": "",
    "order-random": "the least spread",
}
_PAPER = {**dict.fromkeys(OURS, "a narrow band (Fig. 6e)"), "unet-3d": "fails (Fig. S5)"}


def _measure_order(lab: Lab) -> Iterator[Row]:
    models: dict[str, Model | None] = {
        name: _unsorted(lab.model(name)) for name in lab.available((*OURS, "unet-3d"))
    }
    why = "Networks trained with scans sorted by depth, by distance, and at random"
    models |= lab.trained(list(_TRAINED_ORDERS), why)
    for name, number in lab.track(product(models, range(lab.settings.samples))):
        held = lab.sample("worm", number)
        network = lab.network(held, held.scans(WORM_SCANS_UM), models[name])
        for index, order in product(_unscanned(lab, held, WORM_SCANS_UM), _ORDERS):
            z = float(held.z_um[index])
            about = {"method": name, "sample": number, "z_um": round(z, 4)}
            about["order"] = "".join(str(1 + n) for n in order)
            yield {**about, **score(held, index, plane_of(network, z, order=order))}


def _unsorted(model: Model | None) -> Model | None:
    """Weights whose network takes the scans as they come; the 3-D U-Net would sort them."""
    if model is None or not hasattr(model.network, "sort"):
        return model
    network = copy.deepcopy(model.network)
    setattr(network, "sort", False)  # noqa: B010  (only the 3-D U-Net has it)
    return replace(model, network=network)


def order_spread(table: pd.DataFrame) -> pd.DataFrame:
    """Mean RMSE over six orders, its standard deviation, and that of ``sorted`` scans."""
    keys = ["method", "sample", "z_um"]
    rmse = table.groupby(keys, sort=False).rmse
    spread = pd.DataFrame({"mean": rmse.mean(), "std": rmse.std(ddof=0)})
    by_depth = table[table.order.astype(str) == "123"].set_index(keys).rmse
    return spread.assign(sorted=by_depth)


def _order_outcomes(table: pd.DataFrame) -> Iterator[Outcome]:
    spread = order_spread(table).groupby("method", sort=False).mean()
    nrmse = table.groupby("method").nrmse.mean()
    for method, s in spread.iterrows():
        percent = 100 * float(s["std"] / s["mean"])
        yield Outcome(
            f"all orders of three scans, {name_of(method)}: σ_RMSE / μ_RMSE",
            f"{percent:.2g} % ({s['std']:.3f} of {s['mean']:.2f}; sorted {s['sorted']:.2f})",
            _PAPER.get(str(method), ""),
            Goal(2, "%", at_least=False) if method in OURS else None,
            percent,
        )
    for name, paper in _TRAINED_ORDERS.items():
        what = f"trained with scans ordered by {name.removeprefix('order-')}: NRMSE"
        words = NOT_MEASURED
        if name in nrmse:
            by_depth = table[(table.method == name) & (table.order.astype(str) == "123")].nrmse
            words = f"{by_depth.mean():.2f} sorted by depth, {nrmse[name]:.2f} over all orders"
        yield Outcome(what, words, paper)


def _draw_order(table: pd.DataFrame, _: Pictures) -> Figure:
    spread = order_spread(table).groupby(["method", "z_um"], sort=False).mean()
    ylabel = "RMSE, grey levels of 255"
    figure, row = panels(spread.reset_index("z_um"), "method", ylabel=ylabel, sharey=True)
    for axes, method, s in row:
        colour = COLOURS.get(method, RED)
        axes.plot(s.z_um, s["mean"], color=colour, label="mean of six orders")
        low, high = s["mean"] - s["std"], s["mean"] + s["std"]
        axes.fill_between(s.z_um, low, high, color=colour, alpha=0.25, label="± σ")
        axes.plot(s.z_um, s["sorted"], "--", color=BLUE, label="sorted by depth")
        mark_scans(axes, WORM_SCANS_UM)
        axes.set(title=name_of(method), xlabel="z, µm")
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


ORDER = Experiment(
    name="order",
    title="The order of the scans",
    figure="Figures 6, S5 and S6",
    paper="Trained with scans sorted by depth, Recurrent-MZ gives nearly the same RMSE for all six "
    "orders of three scans; a 3-D U-Net fails. Training with scans sorted by depth gives the best "
    "NRMSE (4.03), with random order the best generalisation to other orders.",
    how="Simulated worms, scans at 3, 9 and 15 µm in all six orders, each with its DPM; the 3-D "
    "U-Net, which else sorts its scans, takes them as they come.",
    measure=_measure_order,
    outcomes=_order_outcomes,
    draw=_draw_order,
)


_REPEATS = (1, 2, 4, 6)
_REPEATED_UM = {"M = 2": (6.0, 12.0), "M = 3": WORM_SCANS_UM}


def _measure_repetition(lab: Lab) -> Iterator[Row]:
    deep = lab.model("deep-z") if lab.available(("deep-z",)) else None
    for number, held in lab.worms():
        for group, heights in _REPEATED_UM.items():
            for index in _unscanned(lab, held, heights[:2]):
                z = float(held.z_um[index])
                about = {"group": group, "sample": number, "z_um": round(z, 4)}
                for fed, plane in _repeated(lab, held, heights, z, deep).items():
                    yield {**about, "fed": fed, **score(held, index, plane)}


def _repeated(
    lab: Lab, held: HeldOutStack, heights: Sequence[float], z_um: float, deep: Model | None
) -> Mapping[str, FloatArray]:
    """The plane from the first scan again and again, from all of them, and from Deep-Z."""
    scans = held.scans(heights)
    model = lab.network_model(WORM_NETWORK)
    one, whole = lab.network(held, scans[:1], model), lab.network(held, scans, model)
    planes = {f"I1 × {k}": plane_of(one, z_um, order=[0] * k) for k in _REPEATS}
    every = list(range(len(scans)))
    planes |= {f"all × {k}": plane_of(whole, z_um, order=every * k) for k in _REPEATS}
    planes["all, reversed"] = plane_of(whole, z_um, order=every[::-1])
    if deep is not None:
        single = [plane_of(lab.network(held, [scan], deep), z_um) for scan in scans]
        planes |= {f"Deep-Z(I{n})": plane for n, plane in enumerate(single, start=1)}
        planes["Deep-Z, average"] = np.mean(single, axis=0)
    return planes


def repetition_spread(rmse: Mapping[str, float]) -> float:
    """(largest − smallest) / mean of the RMSE for 2, 4 and 6 repetitions, in percent."""
    values = [float(rmse[f"I1 × {k}"]) for k in _REPEATS[1:]]
    return 100 * (max(values) - min(values)) * len(values) / math.fsum(values)


def _repetition_outcomes(table: pd.DataFrame) -> Iterator[Outcome]:
    for group, rows in table.groupby("group"):
        rmse = rows.groupby("fed", sort=False).rmse.mean().to_dict()
        spread = repetition_spread(rmse)
        words = ", ".join(f"{rmse[f'I1 × {k}']:.2f}" for k in _REPEATS[1:])
        yield Outcome(
            f"{group}, one scan repeated 2, 4, 6 times: RMSE and spread",
            f"{words} ({spread:.2g} %); once {rmse['I1 × 1']:.2f}",
            "12.30, 11.26, 11.73 (9 %)" if group == "M = 2" else "much the same (Fig. S7)",
            Goal(5, "%", at_least=False, text="spread ≤ 5 %"),
            spread,
        )
        yield _more_scans(str(group), rmse)


def _more_scans(group: str, rmse: Mapping[Any, float]) -> Outcome:
    repeated = ", ".join(f"{rmse[f'all × {k}']:.2f}" for k in _REPEATS[1:])
    words = f"{rmse['all × 1']:.2f}; all of them 2, 4, 6 times {repeated}"
    if "Deep-Z, average" in rmse:
        words += f"; Deep-Z from I1 {rmse['Deep-Z(I1)']:.2f}, averaged over the scans "
        words += f"{rmse['Deep-Z, average']:.2f}"
    paper = "8.78 for M = 2, better than Deep-Z from either scan and their average"
    return Outcome(f"{group}, all scans: RMSE", words, paper if group == "M = 2" else "the same")


def _draw_repetition(table: pd.DataFrame, _: Pictures) -> Figure:
    figure, row = panels(table, "group", 7.2, 3.4)
    for axes, group, some in row:
        rmse = some.groupby("fed", sort=False).rmse.mean()
        colours = [COLOURS["deep-z"] if "Deep" in fed else RED for fed in rmse.index]
        axes.barh(list(rmse.index), rmse, color=colours, height=0.65)
        axes.invert_yaxis()
        heights = ", ".join(f"{z:g}" for z in _REPEATED_UM[group])
        axes.set(title=f"{group}, scans at {heights} µm", xlabel="RMSE, grey levels of 255")
    return figure


REPETITION = Experiment(
    name="repetition",
    title="One scan again and again",
    figure="Figures 7 and S7",
    paper="Fed with one scan 2, 4 and 6 times, Recurrent-MZ reaches an RMSE of 12.30, 11.26 and "
    "11.73, like Deep-Z from that scan; a second scan lowers it to 8.78. The same holds for M = 3.",
    how="Simulated worms, the network for worms; the first scan repeated, all scans repeated, and "
    "Deep-Z from each scan, judged between the first two scans. The linear estimate counts a "
    "repeated scan once.",
    measure=_measure_repetition,
    outcomes=_repetition_outcomes,
    draw=_draw_repetition,
)


_NESTED_UM = {1: (9.0,), 2: (9.0, 3.0), 3: (9.0, 3.0, 15.0), 5: (9.0, 3.0, 15.0, 6.0, 12.0)}


def _measure_number(lab: Lab) -> Iterator[Row]:
    models = {name: lab.network_model(name) for name in lab.available(OURS)}
    for number, held in lab.worms():
        for (name, model), (count, heights) in product(models.items(), _NESTED_UM.items()):
            network = lab.network(held, held.scans(heights), model)
            for index in _unscanned(lab, held, _NESTED_UM[5]):
                z = float(held.z_um[index])
                about = {"method": name, "sample": number, "scans": count, "z_um": round(z, 4)}
                yield {**about, **score(held, index, plane_of(network, z))}


def _falls(name: str, table: pd.DataFrame) -> Outcome:
    nrmse, psnr = (table.groupby("scans")[m].mean() for m in ("nrmse", "psnr"))
    steps = (nrmse.shift() / nrmse).dropna()
    errors, decibels = (", ".join(f"{v:.2f}" for v in values) for values in (nrmse, psnr))
    return Outcome(
        f"1, 2, 3, 5 scans of the same sample, {name_of(name)}: NRMSE",
        f"{errors} (PSNR {decibels} dB)",
        "falls with M (Fig. S2a)",
        Goal(1, text="error falls with every scan"),
        float(steps.min()) if len(steps) else math.nan,
    )


def _draw_number(table: pd.DataFrame, _: Pictures) -> Figure:
    figure, (left, *row) = axes_row(1 + table.method.nunique())
    mean_lines(left, table, "nrmse", "method", x="scans", label=name_of, marker="o")
    left.set(xlabel="number of scans", ylabel="NRMSE, %")
    left.legend()
    for axes, (name, some) in zip(row, table.groupby("method", sort=False), strict=True):
        mean_lines(axes, some, "psnr", "scans", label="M = {}".format)
        axes.set(title=name_of(name), xlabel="z, µm", ylabel="PSNR, dB")
        axes.legend()
    return figure


NUMBER = Experiment(
    name="number",
    title="The number of scans",
    figure="Figure S2a",
    paper="A larger M gives a better reconstruction, at the cost of throughput.",
    how="Simulated worms; scans at 9, then 3, 15, 6 and 12 µm are added to the same samples, and "
    "the same planes from 3 to 15 µm judged.",
    measure=_measure_number,
    outcomes=lambda table: [
        _falls(str(name), some) for name, some in table.groupby("method", sort=False)
    ],
    draw=_draw_number,
)
