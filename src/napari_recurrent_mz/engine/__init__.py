"""From scans to a volume: a recipe is checked once, run plane by plane, and written.

``session`` adds scans one at a time; ``batch`` makes many volumes.
"""
