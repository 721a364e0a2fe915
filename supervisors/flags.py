"""How a supervisor treats its children: strategy, order, limits (pure). Contradictions are refused at once."""

import enum
from collections.abc import Iterable

import attrs

from supervisors.child import ChildSpec
from supervisors.intensity import Intensity
from supervisors.refusals import BadCombination


class Strategy(enum.StrEnum):
    """Who is restarted with a child that failed: nobody else, all, those behind it; or instances of one template."""

    ONE_FOR_ONE = "one_for_one"
    ONE_FOR_ALL = "one_for_all"
    REST_FOR_ONE = "rest_for_one"
    SIMPLE_ONE_FOR_ONE = "simple_one_for_one"


class AutoShutdown(enum.StrEnum):
    """Whether significant children that ended by themselves stop their supervisor: never, the first, the last."""

    NEVER = "never"
    ANY_SIGNIFICANT = "any_significant"
    ALL_SIGNIFICANT = "all_significant"


@attrs.frozen(kw_only=True)
class Flags:
    """The settings of a supervisor; :class:`~supervisors.supervisor.Supervisor` documents them."""

    strategy: Strategy = attrs.field(default=Strategy.ONE_FOR_ONE, converter=Strategy)
    dynamic: bool = False
    intensity: Intensity
    every_restart_counts: bool = False
    auto_shutdown: AutoShutdown = attrs.field(default=AutoShutdown.NEVER, converter=AutoShutdown)
    max_children: int | None = attrs.field(default=None, validator=attrs.validators.optional(attrs.validators.ge(1)))

    def __attrs_post_init__(self) -> None:
        if self.dynamic and self.grouped:
            raise BadCombination(f"dynamic children have no order, which {self.strategy.value} needs")
        if self.unordered and self.auto_shutdown is not AutoShutdown.NEVER:
            raise BadCombination("auto_shutdown needs static children")
        if not self.unordered and self.max_children is not None:
            raise BadCombination("max_children is for dynamic children")

    @property
    def simple(self) -> bool:
        """Whether all children are instances of one template."""
        return self.strategy is Strategy.SIMPLE_ONE_FOR_ONE

    @property
    def unordered(self) -> bool:
        """Whether children start and stop all at once and are forgotten when they have ended."""
        return self.dynamic or self.simple

    @property
    def grouped(self) -> bool:
        """Whether a child's failure restarts others too."""
        return self.strategy in (Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE)

    def check(self, name: str, specs: Iterable[ChildSpec]) -> None:
        """Refuse children that a supervisor with these flags cannot have.

        Raises:
            ValueError: two children have one id.
            BadCombination: any other contradiction.
        """
        ids = set[str]()
        for spec in specs:
            if spec.id in ids:
                msg = f"two children of {name!r} have the id {spec.id!r}"
                raise ValueError(msg)
            ids.add(spec.id)
            if spec.significant and self.auto_shutdown is AutoShutdown.NEVER:
                raise BadCombination(f"child {spec.id!r} is significant, but {name!r} has auto_shutdown never")
        if self.simple and len(ids) != 1:
            raise BadCombination(f"{name!r} is simple_one_for_one, which takes one spec as its template: {len(ids)}")
        if self.max_children is not None and not self.simple and len(ids) > self.max_children:
            raise BadCombination(f"{name!r} has {len(ids)} children, but max_children is {self.max_children}")
