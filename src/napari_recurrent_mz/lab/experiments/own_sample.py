"""The check on one's own sample: how often it chooses the better method."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure

from ...core.scans import Scan
from ...engine.check import LINEAR, NETWORK, check_on_scans
from ...networks.recurrent_mz import RecurrentMZ
from ...networks.weights import Model
from ...simulation.phantoms import KINDS
from ...simulation.simulate import Camera
from ..shared import Goal
from .base import Experiment, Outcome, Pictures
from .figures import BLUE, RED, panels
from .lab import CAMERA, HeldOutStack, Lab, Row
from .samples import centred
from .stacks import load, present

_ASKED = ((3, 1.5), (3, 3.0), (3, 6.0), (5, 3.0))  # scans, µm between them
_DIM = Camera(photons=300.0, background=3.0)
_TARGETS_PER_GAP = 4
_REAL_SETS = 3  # random ones, beside the planes as stated
_CLEAR_DB = 0.1
_NETWORKS = {"bundled": "as it is", "turned": "its correction turned round"}


def _inverted(model: Model) -> Model:
    """A network that does harm: ``model`` with the sign of its correction changed."""
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
        held = load(lab, stack, crop=min(lab.settings.crop, lab.settings.real_size))
        rng = lab.rng(sum(stack.file.encode()))
        sets = [np.array(question.planes) for question in stack.questions]
        for _ in range(_REAL_SETS):
            count = int(rng.integers(3, 6))
            sets.append(np.sort(rng.choice(np.arange(len(held.z_um)), count, replace=False)))
        for chosen in sets:
            yield stack.title, held, held.scans(held.z_um[chosen])


def _measure(lab: Lab) -> Iterator[Row]:
    model = lab.network_model()
    models = {"bundled": model, "turned": _inverted(model)}
    asked = [("simulated", *q) for q in _simulated(lab)] + [("real", *q) for q in _real(lab)]
    for origin, sample, held, scans in lab.track(asked):
        for name, one in models.items():
            about = {"origin": origin, "sample": sample, "network": name}
            yield about | _checked(lab, held, scans, one)


def _checked(lab: Lab, held: HeldOutStack, scans: list[Scan], model: Model) -> Row:
    """What the check says of some scans, and what the truth says."""
    check = check_on_scans(scans, held.optics, model, lab.device)
    planes = held.nearest([scan.z_um for scan in scans])
    between = [i for i in range(planes[0] + 1, planes[-1]) if i not in planes]
    targets = [between[i] for i in _spread(len(between), _TARGETS_PER_GAP * (len(planes) - 1))]

    def true_db(method: str) -> float:
        rows = lab.scored(held, method, scans, targets, {}, model=model)
        return float(np.mean([row["psnr"] for row in rows]))

    return {
        "scans": len(scans),
        "gap_um": float(np.diff([scan.z_um for scan in scans]).max()),
        "chosen": check.chosen,
        "said_network": check.network_db,
        "said_linear": check.linear_db,
        "true_network": true_db(NETWORK),
        "true_linear": true_db(LINEAR),
    }


def _spread(count: int, wanted: int) -> list[int]:
    """Up to ``wanted`` numbers below ``count``, evenly spread."""
    at = (np.arange(min(wanted, count)) + 0.5) * count / min(wanted, count)
    return [int(i) for i in at]


def judged(table: pd.DataFrame) -> pd.DataFrame:
    """What the choice was worth in dB, true and by the check, and what was lost by each method."""
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


def _outcomes(table: pd.DataFrame) -> Iterator[Outcome]:
    for (origin, network), some in judged(table).groupby(["origin", "network"], sort=False):
        yield from _lines(f"{origin} samples, the network {_NETWORKS[str(network)]}", some)


def _lines(where: str, some: pd.DataFrame) -> Iterator[Outcome]:
    clear = some[some.gain.abs() >= _CLEAR_DB]
    auto, network, linear = (
        float(some[column].mean()) for column in ("auto", "always_network", "always_linear")
    )
    best = min(network, linear)
    off, gain_off = some.said_linear - some.true_linear, some.said - some.gain
    yield Outcome(
        f"{where}: the better method is chosen",
        f"{_percent(some.right)} of {len(some)} questions; {_percent(clear.right)} of the "
        f"{len(clear)} where {_CLEAR_DB:g} dB or more lie between them",
    )
    yield Outcome(
        f"{where}: mean loss to the better of the two by Auto",
        f"{auto:.3f} dB; always the network {network:.3f}, always linear MMSE {linear:.3f}",
        "the better of the two constant choices",
        Goal(best, "dB", at_least=False, text=f"≤ {best:.3f} dB"),
        auto,
    )
    yield Outcome(
        f"{where}: the check's figure less the true one",
        f"linear MMSE {off.median():+.1f} dB (middle half {off.quantile(0.25):+.1f} to "
        f"{off.quantile(0.75):+.1f}); gain of the network {gain_off.mean():+.2f} ± "
        f"{gain_off.std():.2f} dB",
    )


def _percent(right: pd.Series) -> str:
    return f"{100 * right.mean():.0f} %" if len(right) else "none"


def _draw(table: pd.DataFrame, _: Pictures) -> Figure:
    figure, row = panels(judged(table), "origin", 7.2, 3.2)
    for axes, origin, some in row:
        for name, rows in some.groupby("network", sort=False):
            colour = RED if name == "bundled" else BLUE
            axes.plot(rows.gain, rows.said, ".", color=colour, label=_NETWORKS[str(name)])
        axes.axhline(0, color="0.6", linewidth=0.8)
        axes.axvline(0, color="0.6", linewidth=0.8)
        axes.set(title=f"{origin} samples", xlabel="true gain of the network, dB")
        axes.set_ylabel("gain that the check says, dB")
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
    measure=_measure,
    outcomes=_outcomes,
    draw=_draw,
)
