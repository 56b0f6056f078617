"""Where scans come from: a folder that is written to, and a microscope.

Nothing here opens a window or a thread that outlives its work: folders and runs are generators,
for a worker or a script to iterate, with an event to stop them.
"""

from .acquisition import Ended as Ended
from .acquisition import Event as Event
from .acquisition import Moved as Moved
from .acquisition import PlaneRefined as PlaneRefined
from .acquisition import Refined as Refined
from .acquisition import Scanned as Scanned
from .acquisition import acquire as acquire
from .folder import FolderBack as FolderBack
from .folder import FolderEvent as FolderEvent
from .folder import FolderGone as FolderGone
from .folder import FolderWatch as FolderWatch
from .folder import LeftAlone as LeftAlone
from .folder import NewScan as NewScan
from .folder import watch_folder as watch_folder
from .mda import OthersFrames as OthersFrames
from .microscope import CoreMicroscope as CoreMicroscope
from .microscope import Microscope as Microscope
from .microscope import MicroscopeError as MicroscopeError
from .microscope import StageError as StageError
from .microscope import load_core as load_core
from .microscope import running_core as running_core
from .microscope import standing as standing
from .pattern import NamePattern as NamePattern
from .simulated import SimulatedSample as SimulatedSample
from .simulated import simulated_microscope as simulated_microscope
from .simulated import simulated_sample as simulated_sample
