"""Beads: where they are, how wide they look, and how wide the optics would make them.

Everything is plain computation on arrays; definitions stand in the documentation,
"Measuring beads". Lengths are in micrometres.
"""

from ._checks import MODELS as MODELS
from ._measure import COLUMNS as COLUMNS
from ._measure import HEADERS as HEADERS
from ._measure import BeadSettings as BeadSettings
from ._measure import measure_beads as measure_beads
from ._profiles import Profile as Profile
from ._profiles import bead_profiles as bead_profiles
from ._summary import AXES as AXES
from ._summary import Widths as Widths
from ._summary import excluded as excluded
from ._summary import histogram_edges as histogram_edges
from ._summary import in_words as in_words
from ._summary import kl_divergence as kl_divergence
from ._summary import widths as widths
from ._summary import write_beads as write_beads
from ._theory import PlantedBeads as PlantedBeads
from ._theory import plant_beads as plant_beads
from ._theory import theoretical_fwhm as theoretical_fwhm
from ._volumes import BeadVolume as BeadVolume
from ._volumes import even_planes as even_planes
from ._volumes import measure_volumes as measure_volumes
from ._volumes import volumes_in_steps as volumes_in_steps
