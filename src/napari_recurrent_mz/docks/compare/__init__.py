"""The Compare dock: a volume against a truth or another volume, plane by plane.

The work itself is in ``measure.comparison``.
"""
