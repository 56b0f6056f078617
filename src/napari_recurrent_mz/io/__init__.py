"""Files in and out: TIFF, ImageJ TIFF, OME-TIFF and OME-Zarr, all lengths in micrometres.

Each value that a file states is taken only where it can be true, with where it was found.
"""

from __future__ import annotations

from ._channels import Channel, Place
from ._facts import even_step, scatter_note
from ._image_file import ImageFile, to_um
from ._parts import channels_of, check_readable, read_image, read_positions, read_what_can_be
from ._scans import (
    read_heights,
    scan_heights,
    scans_from_files,
    scans_from_stack,
    stack_heights,
    z_from_name,
)
from ._whole import WORKPLACE, write_json, write_table, write_whole
from ._write import (
    PlaneWriter,
    VolumeWriter,
    check_disk,
    check_output,
    check_surface_output,
    disk_bytes,
    write_channels,
    write_surface,
    write_volume,
)

__all__ = [
    "WORKPLACE",
    "Channel",
    "ImageFile",
    "Place",
    "PlaneWriter",
    "VolumeWriter",
    "channels_of",
    "check_disk",
    "check_output",
    "check_readable",
    "check_surface_output",
    "disk_bytes",
    "even_step",
    "read_heights",
    "read_image",
    "read_positions",
    "read_what_can_be",
    "scan_heights",
    "scans_from_files",
    "scans_from_stack",
    "scatter_note",
    "stack_heights",
    "to_um",
    "write_channels",
    "write_json",
    "write_surface",
    "write_table",
    "write_volume",
    "write_whole",
    "z_from_name",
]
