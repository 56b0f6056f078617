"""Beads: where they are, how wide they look, and how wide the optics would make them.

Everything is plain computation on arrays; definitions stand in the documentation,
"Measuring beads". Lengths are in micrometres.
"""

from ._checks import MODELS
from ._measure import COLUMNS, HEADERS, BeadSettings, measure_beads
from ._planted import PlantedBeads, plant_beads
from ._profiles import Profile, bead_profiles
from ._summary import (
    AXES,
    Widths,
    excluded,
    histogram_edges,
    in_words,
    kl_divergence,
    widths,
    write_beads,
)
from ._theory import theoretical_fwhm
from ._volumes import BeadVolume, even_planes, measure_volumes, volumes_in_steps

__all__ = [
    "AXES",
    "COLUMNS",
    "HEADERS",
    "MODELS",
    "BeadSettings",
    "BeadVolume",
    "PlantedBeads",
    "Profile",
    "Widths",
    "bead_profiles",
    "even_planes",
    "excluded",
    "histogram_edges",
    "in_words",
    "kl_divergence",
    "measure_beads",
    "measure_volumes",
    "plant_beads",
    "theoretical_fwhm",
    "volumes_in_steps",
    "widths",
    "write_beads",
]
