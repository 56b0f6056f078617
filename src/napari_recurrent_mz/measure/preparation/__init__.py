"""What is done to raw stacks before a network sees them: alignment, extended depth of field,
registration of two microscopes (Huang et al. 2021, Methods, "Sample preparation").
"""

from ...core.progress import Step, finished
from ._axial import Place
from ._warp import TRANSFORMS
from .alignment import REFERENCES, Alignment, align, aligning, applying
from .edf import ExtendedFocus, extended_focus, extending_focus
from .registration import Registration, register, registering, resampling

__all__ = [
    "REFERENCES",
    "TRANSFORMS",
    "Alignment",
    "ExtendedFocus",
    "Place",
    "Registration",
    "Step",
    "align",
    "aligning",
    "applying",
    "extended_focus",
    "extending_focus",
    "finished",
    "register",
    "registering",
    "resampling",
]
