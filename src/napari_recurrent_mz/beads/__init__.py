"""Beads: where they are, how wide they look, and how wide the optics would make them.

Everything is plain computation on arrays; definitions stand in the documentation,
"Measuring beads". Lengths are in micrometres.
"""

from ._checks import MODELS
from ._histograms import histogram_edges, kl_divergence
from ._measure import COLUMNS, bead_steps, measure_beads
from ._planted import PlantedBeads, plant_beads
from ._profiles import Profile, bead_profiles
from ._summary import AXES, HEADERS, Widths, excluded, in_words, widths, write_beads
from ._theory import theoretical_fwhm

__all__ = [
    "AXES",
    "COLUMNS",
    "HEADERS",
    "MODELS",
    "PlantedBeads",
    "Profile",
    "Widths",
    "bead_profiles",
    "bead_steps",
    "excluded",
    "histogram_edges",
    "in_words",
    "kl_divergence",
    "measure_beads",
    "plant_beads",
    "theoretical_fwhm",
    "widths",
    "write_beads",
]
