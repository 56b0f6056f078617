"""The ways to fill a grid: one table of their names and needs, without torch.

The command line, the window and the inference room all read it. A new method is one line
here and, where it is of a new kind, one in ``inference._MAKERS``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .errors import check_choice

ERROR_IMAGE = "expected error of every voxel, one standard deviation"
"""What the record of a volume of errors calls its ``image``."""


@dataclass(frozen=True)
class Method:
    """One way to fill the grid."""

    key: str  #: what the command line and files call it
    title: str  #: what a person calls it
    tip: str  #: what it is, in one line
    kind: str  #: auto, network, lmmse, nonnegative, points or interpolation: who makes its planes
    weights: str | None = None  #: the bundled weights that a network takes unless others are given
    #: which network those weights are of; see :mod:`~.architectures`
    architecture: str | None = None
    #: whether the window offers it; others serve comparisons, or are chosen there by their model
    in_dock: bool = True
    #: the image of a plane, widefield or confocal, unless a model of another kind is given
    target: str = "widefield"

    @property
    def needs_optics(self) -> bool:
        """Whether it uses NA, wavelength, refractive index and pixel size, and a device."""
        return self.kind != "interpolation"

    @property
    def needs_model(self) -> bool:
        """Whether a network makes the planes."""
        return self.weights is not None


_RECURRENT = "recurrent-mz"

_TABLE = (
    Method(
        "auto", "Auto",
        "Checks on your scans whether the network or linear MMSE does better, and uses that",
        "auto", "recurrent-mz", _RECURRENT,
    ),
    Method(
        "recurrent-mz", "Recurrent-MZ", "The recurrent network: highest fidelity",
        "network", "recurrent-mz", _RECURRENT,
    ),
    Method(
        "lmmse", "Linear MMSE",
        "The best linear estimate that the optics allow: seconds on any computer", "lmmse",
    ),
    Method(
        "richardson-lucy", "Richardson–Lucy",
        "A non-negative object that explains the scans, imaged again: slow", "nonnegative",
    ),
    Method(
        "points", "Points and linear MMSE",
        "For beads and other puncta: points of light that explain the scans; the rest linear MMSE",
        "points",
    ),
    Method("linear", "Linear interpolation", "Straight blending between neighbouring scans",
           "interpolation"),
    Method("nearest", "Nearest scan", "Repeats the nearest scan", "interpolation"),
    Method("cubic", "Cubic interpolation", "A smooth curve through the scans", "interpolation"),
    Method("pchip", "Shape-preserving interpolation",
           "A curve through the scans that never overshoots them", "interpolation"),
    Method("deep-z", "Deep-Z", "A network that sees the nearest scan alone",
           "network", "deep-z", "deep-z", in_dock=False),
    Method("unet-3d", "3-D U-Net", "A network without recurrence, for a fixed number of scans",
           "network", "unet-3d", "unet-3d", in_dock=False),
    Method("recurrent-mz-plus", "Recurrent-MZ+", "Wide-field scans to a confocal-like volume",
           "network", "recurrent-mz-plus", _RECURRENT, in_dock=False, target="confocal"),
    Method("lmmse-plus", "Linear MMSE, confocal",
           "The best linear estimate of what a confocal would see",
           "lmmse", in_dock=False, target="confocal"),
)  # fmt: skip

DEFAULT_METHOD = _TABLE[0].key
"""Method used unless another is asked for."""

METHODS = tuple(method.key for method in _TABLE)
"""Keys of all methods, the default first."""

METHOD_NAMES = {method.key: method.title for method in _TABLE}
"""Names of the methods for a person."""

DOCK_METHODS = {method.key: method for method in _TABLE if method.in_dock}
"""Those that the window offers."""

_BY_KEY = {method.key: method for method in _TABLE}


def method_of(key: str) -> Method:
    """The method of a key.

    Raises
    ------
    InputError
        If there is none.
    """
    check_choice("method", key, METHODS)
    return _BY_KEY[key]


def needs_optics(keys: Sequence[str]) -> bool:
    """Whether any of the methods uses the optics; unknown ones are told elsewhere."""
    return any(_BY_KEY[key].needs_optics for key in keys if key in _BY_KEY)


def image_made(method: str, model: Any) -> str:
    """What a method makes of a plane: its image "widefield", as the scans are, or "confocal".

    Parameters
    ----------
    method : str
        One of :data:`~.METHODS`.
    model : Model or None
        The weights given, if any; they decide.
    """
    chosen = method_of(method)
    if model is None or not chosen.needs_model:
        return chosen.target
    target: str = model.network.config.target
    return target
