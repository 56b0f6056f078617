"""Where scans come from: a folder that is written to, and a microscope.

Nothing here opens a window or a thread that outlives its work: folders and runs are generators,
for a worker or a script to iterate, with an event to stop them.
"""

from __future__ import annotations

from .acquisition import Ended, Event, Moved, PlaneRefined, Refined, Scanned, acquire
from .folder import (
    FolderBack,
    FolderEvent,
    FolderGone,
    FolderWatch,
    LeftAlone,
    NewScan,
    watch_folder,
)
from .mda import OthersFrames
from .microscope import (
    CoreMicroscope,
    Microscope,
    MicroscopeError,
    StageError,
    load_core,
    running_core,
    standing,
)
from .pattern import NamePattern
from .simulated import SimulatedSample, simulated_microscope, simulated_sample

__all__ = [
    "CoreMicroscope",
    "Ended",
    "Event",
    "FolderBack",
    "FolderEvent",
    "FolderGone",
    "FolderWatch",
    "LeftAlone",
    "Microscope",
    "MicroscopeError",
    "Moved",
    "NamePattern",
    "NewScan",
    "OthersFrames",
    "PlaneRefined",
    "Refined",
    "Scanned",
    "SimulatedSample",
    "StageError",
    "acquire",
    "load_core",
    "running_core",
    "simulated_microscope",
    "simulated_sample",
    "standing",
    "watch_folder",
]
