"""What is done to raw stacks before a network sees them: alignment, extended depth of field,
registration of two microscopes (Huang et al. 2021, Methods, "Sample preparation").
"""

from ...core.progress import Step as Step
from ...core.progress import finished as finished
from ._warp import TRANSFORMS as TRANSFORMS
from .alignment import REFERENCES as REFERENCES
from .alignment import Alignment as Alignment
from .alignment import align as align
from .alignment import aligning as aligning
from .alignment import applying as applying
from .edf import ExtendedFocus as ExtendedFocus
from .edf import extended_focus as extended_focus
from .edf import extending_focus as extending_focus
from .registration import Place as Place
from .registration import Registration as Registration
from .registration import register as register
from .registration import registering as registering
from .registration import resampling as resampling
