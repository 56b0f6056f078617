"""Beads: where they are, how wide they look, and how wide the optics would make them.

Everything is plain computation on arrays; definitions stand in the documentation,
"Measuring beads". Lengths are in micrometres.
"""

from ._histograms import kl_divergence
from ._measure import COLUMNS, excluded, measure_beads
from ._theory import theoretical_fwhm

__all__ = ["COLUMNS", "excluded", "kl_divergence", "measure_beads", "theoretical_fwhm"]
