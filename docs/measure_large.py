"""Memory and time of large planes: python docs/measure_large.py --side 4096 --iterations 1

Makes a TIFF stack of 101 planes of which three hold dots, reads these three, and makes planes with
the network, on one thread. Times are of the process, so other work on the machine does not count.
Fewer iterations than the 30 of use shorten the fit of the object, and change no memory.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
import tifffile
import torch
from scipy.ndimage import gaussian_filter

from napari_recurrent_mz import Optics, load_model
from napari_recurrent_mz.core.device import choose_device
from napari_recurrent_mz.engine.tiles import NetworkPlanes
from napari_recurrent_mz.estimates.deconvolution import ITERATIONS, NonnegativeEstimate
from napari_recurrent_mz.io import read_image, scans_from_stack

PLANES = (30, 60, 90)
OPTICS = Optics(na=1.4, wavelength_um=0.519, immersion_index=1.515, pixel_um=0.13)


def make_stack(path: Path, side: int) -> None:
    """Write 101 planes, a file with holes where nothing is asked for."""
    rng = np.random.default_rng(0)
    dots = gaussian_filter((rng.random((side, side), np.float32) > 0.999) * np.float32(1e4), 2)
    shape = (101, side, side)
    found = tifffile.imwrite(
        path, shape=shape, dtype=np.uint16, photometric="minisblack", returnoffset=True
    )
    assert found is not None
    with path.open("r+b") as file:
        for number, plane in enumerate(PLANES):
            noise = rng.standard_normal((side, side)).astype(np.float32) * 5 * (number + 1)
            image = (np.roll(dots, number * 7, 0) + 1100 + noise).clip(0, 65535).astype(np.uint16)
            file.seek(found[0] + plane * image.nbytes)
            file.write(image.tobytes())


def peak_gib() -> float:
    """Largest resident memory of this process so far."""
    used = psutil.Process().memory_info()
    if hasattr(used, "peak_wset"):
        return float(used.peak_wset) / 2**30
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=4096)
    parser.add_argument("--iterations", type=int, default=ITERATIONS)
    parser.add_argument("--planes", type=int, default=2)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    defaults = NonnegativeEstimate.__init__.__kwdefaults__
    defaults["iterations"] = chosen.iterations
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "stack.tif"
        make_stack(path, chosen.side)
        scans = scans_from_stack(read_image(path, PLANES), PLANES, 0.1)
    maker = NetworkPlanes(
        scans, OPTICS, load_model(), choose_device("cpu"), reach_um=(0.0, 10.0), on_message=print
    )
    megapixels = chosen.side**2 / 2**20
    print(f"{chosen.side} × {chosen.side}, {len(PLANES)} scans, {maker.runner.form.words}")
    began = time.process_time()
    maker.inputs.parts(4.1)
    print(f"fit and inputs {time.process_time() - began:.1f} s, peak {peak_gib():.2f} GiB")
    for number in range(chosen.planes):
        began = time.process_time()
        maker.plane(4.1 + 0.7 * number)
        seconds = (time.process_time() - began) / megapixels
        print(f"plane: {seconds:.3f} s for 2^20 pixels, peak {peak_gib():.2f} GiB", flush=True)


if __name__ == "__main__":
    main()
