"""The FWHM dock: widths of beads as histograms, table and points.

The work itself is in ``measure.beads``.
"""
