"""What the Live dock says."""

from __future__ import annotations

from ...acquisition import Ended
from ...core.scans import counted
from .sources import FOLDER, HAND, MICROSCOPE

START = ("Start session", "Begin: the first scan brings the volume as a new layer")
ACTIONS = {
    HAND: (
        "Add selected layer",
        "Take the selected image as a scan; of a stack, the plane in view",
    ),
    FOLDER: ("Watch the folder", "Every TIFF that appears in the folder becomes a scan"),
    MICROSCOPE: (
        "Run automatically",
        "Scan, refine, go where the next scan helps most; stop by ε or at the most scans",
    ),
}
"""The main button while a session runs, for each source."""

STOP_WATCHING = ("Stop watching", "New files are no longer taken; the session stays")
ABORT = "End what the microscope does; the stage comes to rest, the scans stay (Esc)"
NOTHING = "Start a session and add scans: what each of them changes is drawn here."
STAGES = {"scan": "Scan", "linear": "Linear estimate", "network": "Network"}
PLACES = {
    "device": "The network remembers the scans on the GPU.",
    "host": "The network remembers the scans in main memory.",
    "recomputed": "Memory does not hold what the network remembers: every scan enters again.",
}
"""Where the states of the network are."""


def run_over(ended: Ended) -> str:
    """How an automatic run ended; the verdict itself stands over the plots."""
    by_itself = f"The run has stopped by itself after {counted(ended.scans, 'scan')}."
    why = by_itself if ended.reason == "converged" else ended.sentence
    return f"{why} {ended.stage}".strip()


def start_again(count: int) -> str:
    """The question before a session with so many scans is let go."""
    scans = "The scan" if count == 1 else f"The {count} scans"
    return f"Start again? {scans} of this session will be discarded; the volume stays as a layer."
