"""The clocks of a session, without a clock: every time is told."""

import attrs
from hypothesis import given
from hypothesis import strategies as st

from actors.errors import Reason
from actors.exchange import Channel, Exchange, Subscription
from actors.liveness import Expired, Liveness, QuietWatch, Task

TEST = Exchange(
    code="test",
    name_ko="[테스트]",
    name_en="[Test]",
    ws_url="wss://test.example/ws",
    ping_interval=20,
    ping_timeout=10,
    link_timeout=35,
    message_timeout=60,
    subscribe_timeout=10,
)
OFF = attrs.evolve(TEST, link_timeout=0, message_timeout=0)


def clocks(exchange: Exchange = TEST, *pending: str, can_probe: bool = False) -> Liveness:
    return Liveness(exchange, 0, pending=frozenset(pending), can_probe=can_probe)


def reason(alive: Liveness, now: float, last_frame: float) -> Reason | None:
    verdict = alive.check(now, last_frame)
    return verdict.reason if isinstance(verdict, Expired) else None


def test_a_link_without_any_frame_expires_when_due() -> None:
    """The link clock runs from the 101 and from each frame; one moment before it is due nothing is said."""
    alive = clocks()
    assert alive.wake(0) == 35
    assert reason(alive, 34.999, 0) is None
    assert reason(alive, 35, 0) is Reason.LINK_TIMEOUT
    assert reason(alive, 54.9, 20) is None


def test_pongs_are_not_data() -> None:
    """A link whose pongs flow is cut by the message clock; data moves it."""
    alive = clocks()
    assert reason(alive, 60, 59) is Reason.MESSAGE_TIMEOUT
    alive.data(59)
    assert reason(alive, 118.9, 118) is None
    assert reason(alive, 119, 118) is Reason.MESSAGE_TIMEOUT


def test_clocks_that_are_off_never_expire() -> None:
    """0 switches a clock off, and nothing is left to wake for."""
    alive = clocks(OFF)
    assert alive.check(1e6, 0) is None
    assert alive.wake(0) == float("inf")


def test_a_subscription_must_be_confirmed() -> None:
    """Silence after the subscription ends the session; data without the confirmation is only a warning, once."""
    silent = clocks(TEST, "trade", "book")
    silent.confirm(("book",))
    expired = silent.check(10, 9)
    assert expired == Expired(Reason.SUB_TIMEOUT, "not confirmed in 10 s: trade")
    partly = clocks(TEST, "trade", "book")
    partly.data(5)
    assert partly.check(10, 9) is Task.WARN_UNCONFIRMED
    assert partly.unconfirmed == ("book", "trade")
    assert partly.check(10, 9) is None


def test_live_means_confirmed_and_heard() -> None:
    """With keys: when all are confirmed; without: at the first frame after the subscription."""
    keyed = clocks(TEST, "1")
    keyed.subscribed()
    keyed.heard()
    assert not keyed.live
    keyed.confirm(("1",))
    assert keyed.live
    keyless = clocks()
    keyless.heard()
    assert not keyless.live
    keyless.subscribed()
    assert not keyless.live
    keyless.heard()
    assert keyless.live


def test_an_answered_probe_stretches_the_next() -> None:
    """The first probe is half-way; the next leaves just ping_timeout for its answer; data brings it back."""
    alive = clocks(can_probe=True)
    assert alive.wake(20) == 30
    assert alive.check(29.9, 29) is None
    assert alive.check(30, 29) is Task.PROBE
    alive.probe_sent()
    assert alive.check(30, 29) is None
    assert alive.probe_answered(31)
    assert not alive.probe_answered(31)
    assert alive.check(80.9, 80) is None
    assert alive.check(81, 80) is Task.PROBE
    alive.data(81)
    assert alive.check(110.9, 110) is None
    assert alive.check(111, 110) is Task.PROBE


def test_an_unanswered_probe_never_moves_the_limit() -> None:
    """The verdict falls sixty seconds after the last proof, probe or not."""
    alive = clocks(can_probe=True)
    alive.probe_sent()
    assert alive.check(59.9, 59) is None
    expired = alive.check(60, 59)
    assert isinstance(expired, Expired)
    assert expired.detail == "no data for 60 s; the probe was not answered"


def test_our_own_waiting_is_never_the_links_fault() -> None:
    """While blocked nothing falls due; afterwards the clocks start over."""
    alive = clocks(can_probe=True)
    alive.block()
    assert alive.blocked
    assert alive.check(1000, 0) is None
    assert alive.wake(0) == float("inf")
    alive.unblock(1000)
    assert alive.check(1000, 1000) is None
    assert alive.wake(1000) == 1030
    assert reason(alive, 1060, 1059) is Reason.MESSAGE_TIMEOUT


@given(
    st.lists(st.tuples(st.floats(0, 50), st.sampled_from(["data", "frame", "answer", "none"])), max_size=30),
    st.booleans(),
)
def test_verdicts_fall_exactly_when_due(steps: list[tuple[float, str]], can_probe: bool) -> None:
    """Whatever comes when: asking at each wake, a silent data path is found at the limit, never before it."""
    alive, now, last_frame, proof = clocks(can_probe=can_probe), 0.0, 0.0, 0.0
    for wait, what in [*steps, (1e6, "none")]:
        until = now + wait
        while (wake := alive.wake(last_frame)) <= until:
            now = max(now, wake)
            verdict = alive.check(now, last_frame)
            if isinstance(verdict, Expired):
                limit = proof + 60 if verdict.reason is Reason.MESSAGE_TIMEOUT else last_frame + 35
                assert now == limit
                return
            assert verdict is Task.PROBE
            alive.probe_sent()
        now = until
        if what != "none":
            last_frame = now
        if what == "data":
            alive.data(now)
            proof = now
        elif what == "answer" and alive.probe_answered(now):
            proof = now
    raise AssertionError("the endless silence at the end was never found")


def test_a_quiet_code_is_warned_of_once_for_every_silence() -> None:
    """Per channel and code, spelled in whatever case, with the channel's own limit before the exchange's."""
    quiet = attrs.evolve(
        TEST,
        quiet_after=100.0,
        channels=(Channel(name="trade"), Channel(name="book", quiet_after=30.0), Channel(name="news", quiet_after=0.0)),
    )
    wanted = [Subscription("trade", "btcusdt"), Subscription("book", "KRW-BTC.15"), Subscription("news", "X")]
    watch = QuietWatch(quiet)
    watch.watch(wanted, 0)
    assert watch.on
    assert watch.wake == 30
    watch.data("book", "KRW-BTC", 10)
    watch.data("book", "KRW-ETH", 10)
    assert watch.wake == 40
    assert watch.check(39.9) == []
    assert watch.check(40) == [("book", "KRW-BTC", 30)]
    assert watch.check(41) == []
    assert watch.check(100) == [("trade", "BTCUSDT", 100)]
    assert watch.wake == float("inf")
    watch.data("trade", "BTCUSDT", 150)
    assert watch.wake == 250
    assert watch.check(250) == [("trade", "BTCUSDT", 100)]
    unwatched = QuietWatch(TEST)
    unwatched.watch([], 0)
    assert not unwatched.on


def test_the_clock_of_a_quiet_code_goes_on_when_the_list_changes() -> None:
    """What stays keeps its silence and its warning, what is new begins, what is gone is forgotten."""
    watch = QuietWatch(attrs.evolve(TEST, quiet_after=30.0, channels=(Channel(name="trade"),)))
    watch.watch([Subscription("trade", ("A", "B"))], 0)
    watch.data("trade", "B", 20)
    assert watch.check(30) == [("trade", "A", 30)]
    watch.watch([Subscription("trade", ("A", "B", "C"))], 40)
    assert watch.wake == 50
    assert watch.check(50) == [("trade", "B", 30)]
    watch.watch([Subscription("trade", ("C",))], 60)
    assert watch.check(70) == [("trade", "C", 30)]
    watch.watch([Subscription("trade", ("A",))], 80)
    assert watch.wake == 110, "it begins anew"


def test_a_pause_of_ours_is_nobody_s_silence() -> None:
    """The clock of a quiet code stands still for its length; it does not begin anew."""
    watch = QuietWatch(attrs.evolve(TEST, quiet_after=30.0, channels=(Channel(name="trade"),)))
    watch.watch([Subscription("trade", "A")], 0)
    watch.shift(100)
    assert watch.check(129) == []
    assert watch.check(130) == [("trade", "A", 30)]


def test_what_is_expected_after_a_change() -> None:
    """Its time begins with the change, and what was expected before is not any more."""
    alive = clocks(TEST, "1")
    alive.expect(frozenset({"2"}), 8)
    assert alive.check(10, 9) is None
    assert alive.unconfirmed == ("2",)
    assert reason(alive, 18, 17) is Reason.SUB_TIMEOUT
    alive.expect(frozenset(), 18)
    assert alive.check(100, 99) != Task.WARN_UNCONFIRMED
    assert alive.wake(99) == 60
