"""How many crashes are too many: a sliding window (pure)."""

import attrs


@attrs.frozen
class Intensity:
    """More than ``crashes`` in any ``seconds`` is too much; ``Intensity(0, 1)`` bears none."""

    crashes: int = attrs.field(default=5, validator=attrs.validators.ge(0))
    seconds: float = attrs.field(default=300.0, validator=attrs.validators.gt(0))


DEFAULT = Intensity()
"""What a child is borne unless it is said otherwise; one value for all."""


@attrs.define
class Window:
    """The crashes of one child that still count. Times are trio's clock."""

    limit: Intensity
    _times: list[float] = attrs.field(factory=list[float], init=False)

    def crash(self, now: float) -> bool:
        """Count a crash at ``now``; True if that is more than the limit allows."""
        self._times.append(now)
        while self._times[0] < now - self.limit.seconds:
            del self._times[0]
        return len(self._times) > self.limit.crashes

    def clear(self) -> None:
        """Forget every crash."""
        self._times.clear()

    def __len__(self) -> int:
        return len(self._times)
