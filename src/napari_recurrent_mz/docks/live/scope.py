"""What the Live dock does at the microscope: connect, scan, run by itself, abort."""

from __future__ import annotations

import contextlib
from typing import Any

from ...core.scans import InputError
from ...measure.plots.live import ErrorOverZ
from .feeds import MicroscopeFeed
from .intake import ScanIntake
from .messages import Acquire, MicroscopeFree, StageAt, TakeScan
from .pages import ScansPage, SetupPage
from .words import run_over, unbroken

_ENDS = {"converged": "done", "failed": "error"}


class AtMicroscope(ScanIntake):
    """Asks the session for scans of a microscope; one thing at a time."""

    setup: SetupPage
    scans: ScansPage
    scope: MicroscopeFeed
    over_z: ErrorOverZ | None
    run_ended: Any
    _is_pending: bool
    _is_at_microscope: bool

    def _show_state(self) -> None:
        """Enable what can be done now."""
        raise NotImplementedError

    @property
    def session(self) -> Any:
        """The :class:`~.Session` that runs, or None."""
        return self.live.session

    @property
    def epsilon(self) -> float:
        """The threshold ε, above 0 and below 1."""
        return float(self.scans.epsilon.value()) / 100

    def connect_microscope(self, which: str) -> None:
        """Connect to Micro-Manager ("micro-manager") or to a simulated microscope ("simulated")."""
        page = self.setup.sources.microscope
        page.which.setCurrentIndex(max(page.which.findData(which), 0))
        self.scope.connect_to(which)

    def take_scan(self, *, suggested: bool = False) -> None:
        """Take one scan where the stage stands, or at the suggested height."""
        z_um = self.over_z.suggested_um if suggested and self.over_z is not None else None
        with self.sentences():
            self._ask_microscope(TakeScan(self.scope.microscope(), z_um), "Scanning")

    def run_automatically(self) -> None:
        """Scan and refine until another scan no longer pays, or the most scans are taken."""
        page = self.setup.sources.microscope
        most, afterwards = page.most.value(), str(page.afterwards.currentData())
        with self.sentences():
            scope = self.scope.microscope()
            self._ask_microscope(Acquire(scope, self.epsilon, most, afterwards), "Running")

    def cancel(self) -> None:
        """End what the microscope does; the scans stay."""
        if self._is_at_microscope:
            self.live.abort()
            self.footer.cancelling()

    def _ask_microscope(self, command: object, title: str) -> None:
        if self.session is None:
            raise InputError("There is no session yet: start one, then scan.")
        if self._is_at_microscope:
            return
        self.scans.pause.setChecked(False)
        self._is_at_microscope = True
        self.footer.begin(title)
        self.live.ask(command)
        self._show_state()

    def _stage_read(self, read: StageAt) -> None:
        stage = f"The stage was at {read.z_um:.4g} µm."
        self.setup.sources.rows.stage.setText(unbroken(stage))

    def _microscope_free(self, free: MicroscopeFree) -> None:
        self._is_at_microscope = False
        self.footer.ended()
        if self._is_pending:
            self.footer.begin("Refining", aside=True)
        if free.ended is not None:
            kind = _ENDS.get(free.ended.reason, "hint")
            self.say(run_over(free.ended), kind)
            self.setup.sources.rows.stage.setText(unbroken(free.ended.stage))
        self._show_state()
        self.run_ended.emit(free.ended)

    def _microscope_connected(self, microscope: Any) -> None:
        """Fill in what the microscope knows, unless a session runs."""
        if not self.live.is_on:
            optics, panel = self.scope.optics, self.setup.optics
            if optics is not None:
                panel.set_values(optics.as_dict(), "of the simulated microscope")
            else:
                panel.set_values({"pixel_um": microscope.pixel_um}, "from the microscope")
            with contextlib.suppress(InputError):
                self.setup.propose_grid(microscope.limits_um)
        self._show_state()
