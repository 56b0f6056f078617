"""The command ``recurrent-mz``, also ``python -m napari_recurrent_mz``."""

import io
import signal
import sys


def main() -> int:
    """Load the command line and run one command; Ctrl-C is answered in one line from here on."""
    # A cluster's time limit ends a command as Ctrl-C does: what is half written is removed.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if isinstance(sys.stdout, io.TextIOWrapper):  # as on standard error: no name of a file is lost
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        from .cli import main as run

        return run()
    except KeyboardInterrupt:
        print("recurrent-mz: Cancelled: what was not finished is not kept.", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
