"""The Side views dock: maximum-intensity projections that follow the viewer.

The work itself is in ``measure.projections``.
"""
