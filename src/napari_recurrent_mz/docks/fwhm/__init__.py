"""The FWHM dock: widths of beads as histograms, table and points."""
