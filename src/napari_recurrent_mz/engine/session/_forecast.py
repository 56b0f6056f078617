"""Expected errors of the planes, and the next scans that lower them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ...core.optics import Optics
from ...core.scans import FloatArray, InputError, Scan, ZGrid
from ...estimates.expectation import Expectation
from ...estimates.lmmse import LinearEstimate
from ...estimates.planning import Plan, Suggestion, plan, suggest
from ...estimates.uncertainty import signal_power, voxel_spread
from ._history import HistoryEntry, Verdict, judged
from ._settings import SessionSettings, check_epsilon
from ._volume import LiveVolume


class SessionForecast:
    """Expectations of a session from its scans; without state of its own."""

    settings: SessionSettings
    history: list[HistoryEntry]
    _live: LiveVolume

    @property
    def grid(self) -> ZGrid:
        """The heights wanted."""
        return self.settings.grid

    @property
    def optics(self) -> Optics:
        """The microscope's."""
        return self.settings.optics

    @property
    def scans(self) -> tuple[Scan, ...]:
        """The scans, in the order in which they came."""
        raise NotImplementedError

    def should_stop(self, epsilon: float | None = None) -> bool:
        """Whether the last scan changed the volume so little that another hardly pays.

        Parameters
        ----------
        epsilon : float, optional
            Relative Frobenius change, above 0 and below 1; by default the session's.

        Returns
        -------
        bool
            Never with fewer than three scans.
        """
        return self.verdict(epsilon).stop

    def verdict(self, epsilon: float | None = None) -> Verdict:
        """The same in a sentence for a person: what another scan would change, and what to do."""
        used = self.settings.epsilon if epsilon is None else check_epsilon(epsilon)
        return judged(self.history, used)

    def suggestion(self, rule: str | None = None) -> Suggestion:
        """Where another scan should help most, and by how much.

        Parameters
        ----------
        rule : str, optional
            One of :data:`~.RULES`; by default the session's.
        """
        estimate, heights = self._estimate(), [scan.z_um for scan in self.scans]
        if estimate is None:
            expected = Expectation(self.grid, self.optics, target=self._live.engine.target)
        else:
            expected = Expectation.of(self.grid, estimate)
        return suggest(expected, heights, rule=rule or self.settings.rule, estimate=estimate)

    def suggest_z(self, rule: str | None = None) -> float:
        """The height of :meth:`suggestion`, in micrometres."""
        return self.suggestion(rule).z_um

    def plan(self, *, count: int | None = None, target_error: float | None = None) -> Plan:
        """How many scans the grid needs, and where; see :func:`~.plan`.

        With scans there are, their spectrum is used.
        """
        estimate = self._estimate()
        return plan(
            self.grid, self.optics, count=count, target_error=target_error,
            power=None if estimate is None else signal_power(estimate),
            target=self._live.engine.target,
        )  # fmt: skip

    def expected_error(self) -> npt.NDArray[np.float64]:
        """Expected error of every plane, shape (Z,), relative to its standard deviation.

        Of the linear estimate, in closed form; 0 is known, 1 is nothing known but the mean.
        """
        estimate = self._estimate()
        if estimate is None:
            return np.ones(len(self.grid))
        return estimate.expected_error(self.grid.z_um)

    def spread(self, index: int) -> FloatArray:
        """Uncertainty of every pixel of a plane, float32 (Y, X), in the scans' units.

        How far the linear estimate moves when one scan or another is left out; see
        :func:`~.voxel_spread`.

        Raises
        ------
        InputError
            If there are fewer than three scans.
        """
        estimate = self._estimate()
        if estimate is None:
            raise InputError("The spread over the scans needs at least three of them.")
        return voxel_spread(estimate, float(self.grid.z_um[index]))

    def _estimate(self) -> LinearEstimate | None:
        scans = self.scans
        return self._live.linear(scans) if scans else None
