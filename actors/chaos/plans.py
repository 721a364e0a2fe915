"""Fault plans: plain data, drawn from a seed, saved as JSON, and played exactly as they are written.

A plan names everything that a simulation depends on. It is data and not a seed, so that it can be shrunk, and so that
one that was saved still replays after the way in which plans are drawn has changed.
"""

import json
import random
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, cast

import attrs
import trio

FORMAT = 1
"""The version of the JSON; a plan of another version is refused."""

Args = dict[str, Any]


@attrs.frozen
class Step:
    """One fault: at so many seconds from the start, a method of a target with its arguments."""

    at: float
    target: str
    """``net:FEED`` (:class:`~actors.chaos.network.VirtualNetwork`), ``exchange:HOST``
    (:class:`~actors.chaos.server.Server`), ``feed:FEED``, ``alerts`` or ``clock``."""
    kind: str
    """The method's name."""
    args: Mapping[str, Any] = attrs.field(factory=dict[str, Any])


@attrs.frozen(kw_only=True)
class Plan:
    """A whole simulation."""

    seed: int
    """Draws what the plan leaves open: jitter, prices, the order of tasks."""
    seconds: float = 1800.0
    """Of the fault phase, virtual."""
    feeds: int = 2
    shared: bool = False
    """Whether all feeds are served by one host; otherwise each has its own."""
    rate: float = 0.2
    """Messages a second of each feed, on average."""
    venues: tuple[str, ...] = ("simulated",)
    """What the exchanges are, taken in turn."""
    switches: Mapping[str, Any] = attrs.field(factory=dict[str, Any])
    """How the facts that are not known of an exchange are decided, by field of its venue."""
    legs: int = 1
    """Sockets that carry each feed side by side; faults of a network hit the first one's."""
    life: float = 0.0
    """Seconds after which a connection is at its end, so that it is renewed before; 0 for what the profile says."""
    style: str = "guide"
    """How much the notification channel hears, by :class:`~actors.notifier.notification.Style`."""
    heal: bool = True
    """Whether everything is healed and must recover before the stop; otherwise the stop comes amid the faults."""
    steps: tuple[Step, ...] = ()

    @property
    def retires(self) -> bool:
        """Whether connections are ended that may be announced to be."""
        return any(step.kind == "retire" for step in self.steps)

    @property
    def overlaps(self) -> bool:
        """Whether two sockets may carry a feed at one time: for good, or while one is renewed or doubted."""
        return self.legs > 1 or self.life > 0 or "binance" in self.venues

    def json(self) -> str:
        """The plan as JSON, one step a line."""
        head = json.dumps({"format": FORMAT, **attrs.asdict(self, filter=lambda field, _: field.name != "steps")})
        steps = ",\n  ".join(json.dumps(attrs.asdict(step)) for step in self.steps)
        return f'{head[:-1]}, "steps": [\n  {steps}\n]}}\n'

    @classmethod
    def from_json(cls, text: str) -> "Plan":
        """Read a plan.

        Raises:
            ValueError: it is no plan, or of another format.
        """
        try:
            fields = cast("Args", json.loads(text))
            version = fields.pop("format")
            fields["steps"] = tuple(Step(**step) for step in fields["steps"])
            fields["venues"] = tuple(fields["venues"])
            plan = cls(**fields)
        except KeyError as error:
            raise ValueError(f"not a fault plan: it has no {error}") from None
        except (ValueError, TypeError, AttributeError) as error:
            raise ValueError(f"not a fault plan: {error}") from None
        if version != FORMAT:
            raise ValueError(f"a fault plan of format {version}, not {FORMAT}")
        if mistakes := list(_mistakes(plan)):
            raise ValueError("; ".join(mistakes))
        return plan


Draw = random.Random


def _seconds(draw: Draw) -> float:
    return round(draw.choice((2, 10, 40, 120, 300)) * draw.uniform(0.5, 1.5), 3)


def _lasting(**more: Callable[[Draw], Any]) -> Callable[[Draw], Args]:
    return lambda draw: {**{name: make(draw) for name, make in more.items()}, "seconds": _seconds(draw)}


def _plain(**more: Callable[[Draw], Any]) -> Callable[[Draw], Args]:
    return lambda draw: {name: make(draw) for name, make in more.items()}


def _of(*choices: Any) -> Callable[[Draw], Any]:
    return lambda draw: draw.choice(choices)


_towards = _of("both", "in", "out")

KINDS: Mapping[str, Mapping[str, Callable[[Draw], Args]]] = {
    "net": {
        "latency": _lasting(mean=_of(0.05, 0.3, 2.0), jitter=_of(0.0, 0.04, 1.0), towards=_towards),
        "bandwidth": _lasting(rate=_of(500, 5_000, 50_000), towards=_towards),
        "window": _lasting(bytes=_of(0, 100, 4_096), towards=_towards),
        "slicer": _lasting(bytes=_of(1, 7, 100), towards=_towards),
        "clog": _lasting(towards=_towards),
        "black_hole": _lasting(towards=_towards),
        "reset": _plain(),
        "eof": _plain(),
        "limit_data": _plain(bytes=_of(0, 1, 50, 3_000)),
        "refuse": _lasting(error=_of("ECONNREFUSED", "ENETUNREACH", "EADDRNOTAVAIL", "EMFILE", "ETIMEDOUT")),
        "silent": _lasting(),
        "stall_tls": _lasting(),
        "resolver": _lasting(trouble=_of("nxdomain", "temporary", "silent")),
        "bug": _plain(times=_of(1, 2, 7)),
    },
    "exchange": {
        "cut": _plain(),
        "reset": _plain(),
        "close": _plain(code=_of(1000, 1001, 1008, 1011, 1012, 1013, 4000)),
        "retire": _plain(seconds=_of(0.5, 5.0, 30.0)),
        "say": _plain(text=_of("not JSON", '{"unheard":"of"}', '{"status":"UP"}')),
        "silence": _plain(pongs=_of(True, False)),
        "mute_probe": _plain(),
        "refuse": _lasting(),
        "reject": _plain(
            status=_of(301, 400, 403, 418, 418, 429, 429, 429, 500, 503),
            retry_after=_of(None, 5, 90, 90),
            times=_of(1, 3, 8),
        ),
        "close_at_once": _plain(code=_of(1000, 1011)),
        "open_silent": _plain(pongs=_of(True, False)),
        "ignore_close": _plain(),
        "resume": _plain(),
    },
    "feed": {"reconnect": _plain(), "pause": _lasting()},
    "alerts": {"fail": _plain(times=_of(1, 5)), "flood": _plain(retry_after=_of(3, 40)), "slow": _lasting()},
    "clock": {"step": _plain(by=_of(-3600.0, -2.0, 2.0, 3600.0))},
}
"""Every kind of fault by the kind of its target, with how its arguments are drawn."""

SWITCHES: Mapping[str, Mapping[str, tuple[Any, ...]]] = {
    "upbit": {
        "messages_close": (None, 1008),
        "idle_timeout": (60.0, 120.0),
        "idle_close": (None, 1000),
        "ping_keeps_idle_timer": (True, False),
        "up_when_subscribed": (True, False),
        "strict_format": (True, False),
    },
    "bithumb": {
        "counts_messages": (True, False),
        "messages_close": (None, 1008),
        "idle_timeout": (60.0, 120.0),
        "idle_close": (None, 1000),
        "ping_keeps_idle_timer": (True, False),
        "strict_format": (True, False),
    },
    "binance": {
        "messages_close": (1008, None),
        "trade_step": (1, 3),
        "pong_close": (None, 1008),
        "life_close": (None, 1001),
        "acks_unknown": (True, False),
    },
    "simulated": {},
}
"""What is not known for certain of an exchange, and what it may be: drawn anew by each seed."""


def all_kinds() -> frozenset[str]:
    """Every kind as ``target.kind``."""
    return frozenset(f"{target}.{kind}" for target, kinds in KINDS.items() for kind in kinds)


STYLES = ("guide", "incidents")
"""How much a notification channel may hear."""


def draw_plan(
    seed: int, *, seconds: float = 1800.0, feeds: int = 2, rate: float = 0.2, venues: tuple[str, ...] | None = None
) -> Plan:
    """A plan from a seed: a random subset of the kinds, each at a random rate.

    The faults leave off a minute before the end of their phase, so that the last ones do something too.
    """
    draw = random.Random(f"{seed}/plan")  # noqa: S311 - repeating is the point
    kinds = sorted(all_kinds())
    enabled = sorted(draw.sample(kinds, draw.randint(1, len(kinds))))
    pause = draw.choice((60, 200, 600))
    shared = feeds > 1 and draw.random() < 0.3
    chosen = venues or (draw.choice(("simulated", "simulated", "upbit", "bithumb", "binance")),)
    # elsewhere what two sockets bring cannot be put in order, so its order proves nothing
    numbered = set(chosen) <= {"simulated", "binance"}
    legs, life = (draw.choice((1, 1, 1, 2)), draw.choice((0.0, 0.0, 400.0))) if numbered else (1, 0.0)
    switches = {name: draw.choice(values) for venue in sorted(set(chosen)) for name, values in SWITCHES[venue].items()}
    steps: list[Step] = []
    at = draw.uniform(0, pause)
    while at < seconds - 60:
        target, kind = draw.choice(enabled).split(".")
        feed = draw.randint(1, feeds)
        place = {"net": f"net:feed-{feed}", "feed": f"feed:feed-{feed}", "exchange": f"exchange:{host(feed, shared)}"}
        steps.append(Step(round(at, 3), place.get(target, target), kind, KINDS[target][kind](draw)))
        at += draw.expovariate(1 / pause)
    return Plan(
        seed=seed,
        seconds=seconds,
        feeds=feeds,
        shared=shared,
        rate=rate,
        venues=chosen,
        switches=switches if len(set(chosen)) == 1 else {},
        legs=legs,
        life=life,
        heal=draw.random() < 0.8,
        style=draw.choice(STYLES),
        steps=tuple(steps),
    )


async def play(plan: Plan, targets: Mapping[str, object]) -> None:
    """Carry out the steps of a plan, each at its time from now, on the targets by their names.

    Raises:
        ValueError: a step's target is missing; nothing was carried out.
    """
    if missing := sorted({step.target for step in plan.steps} - set(targets)):
        raise ValueError(f"the plan needs {', '.join(missing)}")
    began = trio.current_time()
    for step in sorted(plan.steps, key=lambda step: step.at):
        await trio.sleep_until(began + step.at)
        getattr(targets[step.target], step.kind)(**step.args)


def _mistakes(plan: Plan) -> Iterator[str]:
    """What a plan asks for that there is not; the values of arguments are the faults' own affair."""
    if not plan.venues or set(plan.venues) - set(SWITCHES):
        yield f"venues: expected some of {', '.join(sorted(SWITCHES))}, not {', '.join(plan.venues) or 'none'}"
    if plan.style not in STYLES:
        yield f"style: expected {' or '.join(STYLES)}, not {plan.style}"
    if type(plan.feeds) is not int or plan.feeds < 1:
        yield f"feeds: expected a number from 1 on, not {plan.feeds!r}"
        return
    feeds = [f"feed-{number}" for number in range(1, plan.feeds + 1)]
    hosts = {host(number, plan.shared) for number in range(1, plan.feeds + 1)}
    places: Mapping[str, Collection[str]] = {"net": feeds, "feed": feeds, "exchange": hosts, "alerts": "", "clock": ""}
    for number, step in enumerate(plan.steps, 1):
        what, _, name = step.target.partition(":")
        if what not in KINDS or (name not in places[what] if places[what] else name):
            yield f"step {number}: there is no target {step.target!r} in a plan of {plan.feeds} feeds"
        elif step.kind not in KINDS[what]:
            yield f"step {number}: {what} has no fault {step.kind!r}, but {', '.join(KINDS[what])}"
        elif unknown := set(step.args) - set(KINDS[what][step.kind](random.Random(1))):  # noqa: S311 - only the names count
            yield f"step {number}: {what}.{step.kind} has no argument {', '.join(sorted(unknown))}"


def host(feed: int, shared: bool) -> str:
    """The host that serves the so many-th feed."""
    return f"exchange-{1 if shared else feed}.test"
