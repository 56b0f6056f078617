"""``recurrent-mz demo --live``: a simulated microscope that scans until it no longer pays."""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING, Any

from ..scans import InputError, ZGrid
from . import _common

if TYPE_CHECKING:
    from ..sources import Ended

GRID = ZGrid(0.0, 10.0, 0.2)
"""The planes of the demo's volume: the sample's depth, half a depth of field apart."""

MOST = 10
"""Most scans."""


def without_window(arguments: argparse.Namespace) -> None:
    """Run the acquisition, and print what every scan changed."""
    from ..session import Session
    from ..sources import Refined, acquire, simulated_microscope, simulated_sample

    sample = simulated_sample()
    microscope = simulated_microscope(sample)
    session = Session(GRID, optics=sample.optics, model=arguments.model, device=arguments.device)
    ended: Any = None
    with _common.Progress("scan") as progress:
        for event in acquire(session, microscope, max_scans=MOST):
            if isinstance(event, Refined):
                progress(event.number, MOST)
            ended = event
    print("scan     z (µm)  change (%)  seconds")
    for number, entry in enumerate(session.history, start=1):
        print(f"{number:4} {entry.z_um[-1]:10.2f}  {_percent(entry)}  {entry.seconds:7.1f}")
    told(ended)


def told(ended: Ended) -> None:
    """Print how the run ended.

    Raises
    ------
    InputError
        If it failed.
    """
    if ended.reason == "failed":
        raise InputError(ended.sentence)
    print(f"{ended.sentence} {ended.stage}".strip())


def _percent(entry: Any) -> str:
    change = entry.relative_change
    return f"{100 * change:10.2f}" if math.isfinite(change) else f"{'first':>10}"
