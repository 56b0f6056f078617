"""Writes ``two-scenes.czi.gz`` with Zeiss' own library (``pip install pylibCZIrw``).

Two scenes of two time points, two channels and five planes. The library knows no objective: that
is added to its metadata as ZEN writes it.
"""

import gzip
import re
import tempfile
from pathlib import Path

import numpy as np
from pylibCZIrw import czi

ZEN = """<Information><Instrument><Objectives><Objective Id="Objective:1">
<LensNA>1.4</LensNA><NominalMagnification>63</NominalMagnification><Immersion>Oil</Immersion>
</Objective></Objectives></Instrument><Image>
<ObjectiveSettings><ObjectiveRef Id="Objective:1"/><Medium>Oil</Medium></ObjectiveSettings>"""
CHANNELS = {0: ("DAPI", 461), 1: ("GFP", 519)}
SIZES_M = {"scale_x": 0.1e-6, "scale_y": 0.1e-6, "scale_z": 0.4e-6}


def write(path):
    at = np.indices((2, 2, 2, 5, 24, 32))
    pixels = np.tensordot((5000, 1000, 500, 100, 3, 1), at, 1).astype(np.uint16)
    with czi.create_czi(str(path)) as file:
        for s, t, c, z in np.ndindex(pixels.shape[:4]):
            plane = {"T": t, "C": c, "Z": z}
            file.write(pixels[s, t, c, z, ..., None], plane=plane, scene=s, location=(100 * s, 0))
        names = {number: name for number, (name, _) in CHANNELS.items()}
        file.write_metadata("room " * 400, channel_names=names, **SIZES_M)


def with_objective(raw):
    """The same file with other metadata of the same length."""
    start, stop = raw.index(b"<ImageDocument>"), raw.index(b"</ImageDocument>") + 16
    xml = re.sub("<Title>.*</Title>", "", raw[start:stop].decode())
    xml = re.sub(r"<Information>\s*<Image>", ZEN, xml, count=1)
    for name, nm in CHANNELS.values():
        emission = f"<EmissionWavelength>{nm}</EmissionWavelength>"
        xml = xml.replace(f'Name="{name}">', f'Name="{name}">{emission}')
    changed = xml.encode().ljust(stop - start)
    assert len(changed) == stop - start
    return raw[:start] + changed + raw[stop:]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "two-scenes.czi"
        write(made)
        packed = gzip.compress(with_objective(made.read_bytes()), mtime=0)
    Path(__file__).with_name("two-scenes.czi.gz").write_bytes(packed)
