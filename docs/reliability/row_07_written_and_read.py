"""Row 7: what is written is read again, by every way (tests of files, layers and sessions)."""

from __future__ import annotations

from reliability._tests import TESTS, passed

WHAT = "pixels, heights, scale, units and provenance, written and opened by every way"
GOAL = "all as they were"
WAYS = (
    "test_io.py",
    "test_session_store.py",
    "widgets/test_files.py",
    "widgets/test_save_volume.py",
)


def measure(quick: bool) -> tuple[str, bool]:
    """OME-TIFF and OME-Zarr by the library, napari's save and drop, the dock, and sessions."""
    return passed(1, *(str(TESTS / way) for way in (WAYS[:1] if quick else WAYS)))
