"""The command ``recurrent-mz``, also ``python -m napari_recurrent_mz``."""

import sys


def main() -> int:
    """Load the command line and run one command; Ctrl-C is answered in one line from here on."""
    try:
        from .cli import main as run

        return run()
    except KeyboardInterrupt:
        print("recurrent-mz: Cancelled: no result was written.", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
