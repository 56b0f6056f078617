"""Make the pictures in docs/images: the demo window and every dock, dark and light, in two sizes.

Run it where a window can open, or in a virtual display::

    QT_QPA_PLATFORM=xcb xvfb-run -a -s "-screen 0 1920x1200x24" python docs/make_screenshots.py

Every picture is a whole run: what is in it was computed for it. The docks' scenes are in
``docs/scenes``; those with real stacks want ``--data FOLDER``.
"""

from __future__ import annotations

import argparse
import importlib
import subprocess
import sys
from pathlib import Path

THEMES = ("dark", "light")
SIZES = ((1280, 800), (1920, 1200))
HERE = Path(__file__).parent
IMAGES = HERE / "images"
SCENES = sorted(path.stem for path in (HERE / "scenes").glob("[!_]*.py"))


def make(name: str, theme: str, size: tuple[int, int], data: Path | None) -> None:
    """Make one picture, of the demo or of a scene."""
    path = IMAGES / f"{name.replace('_', '-')}-{theme}-{size[0]}x{size[1]}.png"
    if name == "demo":
        from napari_recurrent_mz.docks.demo.windows import run_demo

        outcome = run_demo(screenshot=path, theme=theme, size=size)
        print(f"{path}: {outcome.state} {outcome.sentence}".rstrip())
        return
    sys.path.insert(0, str(HERE))
    importlib.import_module(f"scenes.{name}").run(theme, size, path, data)
    print(f"{path}: done")


def main() -> None:
    """Make all pictures, or those of one name, theme or size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of demo, {', '.join(SCENES)}")
    parser.add_argument("--theme", choices=THEMES, help="only this theme")
    parser.add_argument("--width", type=int, choices=[w for w, _ in SIZES], help="only this size")
    parser.add_argument("--data", type=Path, help="folder of real stacks")
    wanted = parser.parse_args()
    IMAGES.mkdir(exist_ok=True)
    jobs = [
        (name, theme, size)
        for name in wanted.names or ["demo", *SCENES]
        for theme in THEMES
        for size in SIZES
        if wanted.theme in (None, theme) and wanted.width in (None, size[0])
    ]
    if len(jobs) == 1:
        make(*jobs[0], wanted.data)
        return
    for name, theme, size in jobs:  # a window of its own for each, in a process of its own
        again = [name, "--theme", theme, "--width", str(size[0])]
        again += ["--data", str(wanted.data)] if wanted.data else []
        subprocess.run([sys.executable, __file__, *again], check=True)  # noqa: S603  (ourselves)


if __name__ == "__main__":
    main()
