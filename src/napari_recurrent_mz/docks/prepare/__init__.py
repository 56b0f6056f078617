"""The Prepare dock: alignment, extended focus, normalisation and registration of stacks.

The work itself is in ``measure.preparation``.
"""
