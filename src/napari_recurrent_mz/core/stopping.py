"""When another scan hardly pays: what the window and a session share, without torch."""

from __future__ import annotations

EPSILON = 0.08
"""Below this change, relative to the volume, another scan hardly pays; see docs/live.md."""

FEWEST = 3
"""A change counts from this number of scans on: two are the least that make a volume."""
