"""Writes ``ndtiff.zip`` with the library of Micro-Manager's NDTiff (``pip install ndstorage``).

Two time points, two channels and five planes, with what Pycro-Manager says of each image.
"""

import shutil
import tempfile
from pathlib import Path

import numpy as np
from ndstorage import NDTiffDataset


def write(folder):
    pixels = np.tensordot((1000, 500, 100, 3, 1), np.indices((2, 2, 5, 24, 32)), 1)
    dataset = NDTiffDataset(folder, summary_metadata={}, writable=True, name="scans")
    for t, c, z in np.ndindex(2, 2, 5):
        channel = ("DAPI", "GFP")[c]
        about = {"PixelSizeUm": 0.1, "ZPosition_um_Intended": 10 + 0.4 * z, "Channel": channel}
        place = {"time": t, "channel": channel, "z": z}
        dataset.put_image(place, pixels[t, c, z].astype(np.uint16), about)
    dataset.finish()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        write(folder)
        shutil.make_archive(str(Path(__file__).with_name("ndtiff")), "zip", folder)
