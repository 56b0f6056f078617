"""Files in and out: TIFF, OME-TIFF and OME-Zarr, files of makers in; lengths in micrometres.

Each value that a file states is taken only where it can be true, with where it was found.
"""

from ._channels import Channel as Channel
from ._channels import Place as Place
from ._facts import even_step as even_step
from ._facts import scatter_note as scatter_note
from ._facts import spaced_heights as spaced_heights
from ._image_file import ImageFile as ImageFile
from ._image_file import to_um as to_um
from ._parts import channels_of as channels_of
from ._parts import check_readable as check_readable
from ._parts import read_image as read_image
from ._parts import read_positions as read_positions
from ._parts import read_what_can_be as read_what_can_be
from ._scans import read_heights as read_heights
from ._scans import scan_heights as scan_heights
from ._scans import scans_from_files as scans_from_files
from ._scans import scans_from_stack as scans_from_stack
from ._scans import stack_heights as stack_heights
from ._scans import z_from_name as z_from_name
from ._whole import WORKPLACE as WORKPLACE
from ._whole import write_json as write_json
from ._whole import write_table as write_table
from ._whole import write_whole as write_whole
from ._write import PlaneWriter as PlaneWriter
from ._write import VolumeWriter as VolumeWriter
from ._write import check_disk as check_disk
from ._write import check_output as check_output
from ._write import check_surface_output as check_surface_output
from ._write import disk_bytes as disk_bytes
from ._write import write_channels as write_channels
from ._write import write_surface as write_surface
from ._write import write_volume as write_volume
