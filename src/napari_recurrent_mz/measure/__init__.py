"""What is measured of volumes and drawn: bead widths, side views, errors against a truth.

Preparing a stack (alignment, extended focus, registration) stands here, too.
"""
