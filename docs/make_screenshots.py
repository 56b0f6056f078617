"""Make the pictures in docs/images: the demo window, dark and light, in two sizes.

Run it where a window can open, or in a virtual display::

    QT_QPA_PLATFORM=xcb xvfb-run -a -s "-screen 0 1920x1200x24" python docs/make_screenshots.py

Every picture is a whole run of the demo: the volume in it was reconstructed for it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from napari_recurrent_mz.widgets.demo import run_demo

THEMES = ("dark", "light")
SIZES = ((1280, 800), (1920, 1200))
IMAGES = Path(__file__).parent / "images"


def main() -> None:
    """Make all pictures, or those of one theme or size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--theme", choices=THEMES, help="only this theme")
    parser.add_argument("--width", type=int, choices=[w for w, _ in SIZES], help="only this size")
    wanted = parser.parse_args()
    IMAGES.mkdir(exist_ok=True)
    for theme in THEMES:
        for width, height in SIZES:
            if wanted.theme not in (None, theme) or wanted.width not in (None, width):
                continue
            path = IMAGES / f"demo-{theme}-{width}x{height}.png"
            outcome = run_demo(screenshot=path, theme=theme, size=(width, height))
            print(f"{path}: {outcome.state} {outcome.sentence}".rstrip())


if __name__ == "__main__":
    main()
