"""The Reconstruct dock: scans, heights, optics and grid in, a volume out.

``jobs`` turns what the window says into a recipe; the Surface dock does so, too.
"""
