"""A rest for who works in a thread, while the window needs a moment."""

from __future__ import annotations

import threading

_LONGEST_S = 1.0


class Rest:
    """Asked for in the GUI thread, taken in another one between two pieces of work.

    Attributes
    ----------
    is_taken : bool
        Whether who works is at rest.
    """

    def __init__(self) -> None:
        self._is_over = threading.Event()
        self._is_over.set()
        self.is_taken = False

    def want(self, is_wanted: bool) -> None:
        """Let who works rest after what is being done, or go on."""
        (self._is_over.clear if is_wanted else self._is_over.set)()

    def take(self) -> None:
        """Rest as long as that is wanted, a second at most."""
        if not self._is_over.is_set():
            self.is_taken = True
            self._is_over.wait(_LONGEST_S)
            self.is_taken = False
