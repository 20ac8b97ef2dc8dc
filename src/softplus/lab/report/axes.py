"""Axes of the report's pictures: where a value is, in percent of the picture, and the ticks."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from matplotlib.ticker import LogLocator, MaxNLocator

# Room beside the outermost marks, as a share of the range.
_ROOM = 0.04


@dataclass(frozen=True)
class Axis:
    """A range of values, linear or logarithmic, across or up a picture."""

    low: float
    high: float
    log: bool = False

    def at(self, value: float) -> float:
        """Return where a value is, from 0 to 100; what is outside is at the end."""
        if self.log:
            share = (math.log(value) - math.log(self.low)) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return round(100 * min(1.0, max(0.0, share)), 2)

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """Return the places of round values, and their texts."""
        locator = LogLocator(subs=(1.0, 3.0)) if self.log else MaxNLocator(5, steps=[1, 2, 5, 10])
        values = [float(v) for v in locator.tick_values(self.low, self.high)]
        inside = [value for value in values if self.low <= value <= self.high]
        return [(self.at(value), f"{value + 0.0:,.6g}") for value in inside]


def covering(values: Iterable[float], *, log: bool = False) -> Axis:
    """Return an axis that shows all finite values, with room beside them."""
    finite = [value for value in values if math.isfinite(value) and (value > 0 or not log)]
    low, high = (min(finite), max(finite)) if finite else (1.0, 1.0)
    if log:
        room = max(high / low, 1.1) ** _ROOM
        return Axis(low / room, high * room, log=True)
    room = _ROOM * (high - low) or abs(high) / 10 or 1.0
    return Axis(low - room, high + room)
