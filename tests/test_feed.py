"""The consumer's end: order, gaps, overflow, and what a cancelled consumer may rely on."""

from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.consumer import Consumer
from actors.errors import GiveUp, Reason
from actors.events import Event, GapReported, LinkState, Origin, Overflowed, StateChanged
from actors.exchange import Exchange, Kind
from actors.feed import Feed
from actors.items import BLOCK, Batch, Down, FeedFailed, Gap, Message, Overflow
from actors.stats import ConnectorStats

TEST = Exchange(
    code="test",
    name_ko="[테스트]",
    name_en="[Test]",
    ws_url="wss://test.example/ws",
    describe=lambda data: ("trade", str(data)[:3]),
)


class Bench:
    """A feed with the log of its events, and a producer that keeps the times."""

    def __init__(self, overflow: Overflow | None = None, *, control: bool = False) -> None:
        self.log: list[Event] = []
        self.stats = ConnectorStats(Origin("test", "test", "[테스트]", "[Test]", "test.example"))
        self.feed = Feed(
            "test",
            TEST,
            (),
            stats=self.stats,
            emit=self.log.append,
            overflow=overflow or Overflow(),
            control=control,
        )
        self.now = 0.0
        self.session = 1
        self.feed.dialling(self.wall, self.now)

    @property
    def wall(self) -> int:
        return int(self.now * 1e9) + 1_000_000_000_000

    def push(self, *frames: str, after: float = 1.0) -> None:
        self.now += after
        self.feed.push(frames, wall=self.wall, now=self.now, session=self.session)

    def down(self, reason: Reason = Reason.EOF, after: float = 1.0) -> None:
        self.now += after
        self.feed.interrupted(reason)

    def of(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.log if isinstance(event, kind)]


async def take(feed: Feed | Consumer, count: int) -> list[Any]:
    return [await feed.__anext__() for _ in range(count)]


async def test_messages_carry_what_they_are() -> None:
    """Data as sent, the time of the batch, the session; channel, code and JSON on demand."""
    bench = Bench()
    bench.push('{"a": 1}', "b")
    first, second = await take(bench.feed, 2)
    assert isinstance(first, Message)
    assert (first.data, first.received, first.session, first.kind) == ('{"a": 1}', bench.wall, 1, Kind.DATA)
    assert (first.channel, first.code, first.json()) == ("trade", '{"a', {"a": 1})
    assert second.data == "b"
    with pytest.raises(ValueError, match="Expecting value"):
        second.json()


async def test_one_down_and_one_gap_an_interruption() -> None:
    """However many attempts fail: a Down at the first verdict, a Gap with the first message after."""
    bench = Bench()
    bench.push("a")
    last = bench.wall
    for _ in range(5):
        bench.down(Reason.EOF)
    bench.down(Reason.REFUSED)
    assert bench.feed.interruption == Down(Reason.EOF, last)
    bench.push("b", after=10)
    assert bench.feed.interruption is None
    assert await take(bench.feed, 4) == [
        Message("a", last, 1, TEST.describe),
        Down(Reason.EOF, last),
        Gap(Reason.EOF, last, bench.wall, 16.0),
        Message("b", bench.wall, 1, TEST.describe),
    ]
    (reported,) = bench.of(GapReported)
    assert (reported.reason, reported.since, reported.until, reported.seconds) == (Reason.EOF, last, bench.wall, 16)


async def test_a_first_dial_that_fails_is_an_interruption_too() -> None:
    """The gap begins with the first dial; without a failure there is none."""
    bench = Bench()
    began = bench.wall
    bench.down(Reason.REFUSED)
    bench.push("a")
    down, gap, message = await take(bench.feed, 3)
    assert down == Down(Reason.REFUSED, began)
    assert gap == Gap(Reason.REFUSED, began, bench.wall, 2.0)
    assert message.data == "a"
    calm = Bench()
    calm.push("a")
    assert [item.data for item in await take(calm.feed, 1)] == ["a"]


async def test_batches_and_messages_share_one_place() -> None:
    """A half-used batch belongs to the feed: after a break the next consumer goes on with the next message."""
    bench = Bench()
    bench.push("a", "b", "c")
    bench.push("d", "e")
    async for item in bench.feed:
        assert isinstance(item, Message)
        break
    batches = bench.feed.batches()
    first = await batches.__anext__()
    assert isinstance(first, Batch)
    assert list(first.frames) == ["b", "c"]
    async for batch in batches:
        assert isinstance(batch, Batch)
        assert list(batch.frames) == ["d", "e"]
        break
    assert bench.stats.depth == 0


async def test_a_cancelled_consumer_loses_no_item() -> None:
    """Cancelled in any wait, the next iteration goes on with the next item."""
    bench = Bench()
    seen: list[str] = []

    async def consume() -> None:
        async for item in bench.feed:
            assert isinstance(item, Message)
            seen.append(str(item.data))

    for n in range(300):
        bench.push(*(f"{n}-{m}" for m in range(3)), after=0)
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(consume)
                for _ in range(n % 4):
                    await trio.lowlevel.checkpoint()
                scope.cancel()
    with trio.move_on_after(0.1):
        await consume()
    assert seen == [f"{n}-{m}" for n in range(300) for m in range(3)]


class Steps(trio.abc.Instrument):
    """Counts what a task takes in one step, without letting others run."""

    def __init__(self) -> None:
        self.task = trio.lowlevel.current_task()
        self.taken = self.most = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if task is self.task:
            self.taken = 0

    def take(self) -> None:
        self.taken += 1
        self.most = max(self.most, self.taken)


@pytest.mark.parametrize("sizes", [(1,) * 1000, (1000,), (255, 256, 257, 300), (*[1] * 255, 600, *[1] * 100)])
@pytest.mark.parametrize("batches", [False, True])
async def test_a_busy_consumer_lets_others_run(sizes: tuple[int, ...], batches: bool) -> None:
    """There is a checkpoint at least every 256 items, however the messages lie in batches, and not much more often."""
    bench = Bench()
    for size in sizes:
        bench.push(*["a"] * size, after=0)
    await trio.lowlevel.checkpoint()
    steps = Steps()
    trio.lowlevel.add_instrument(steps)
    try:
        for _ in range(len(sizes) if batches else sum(sizes)):
            await (bench.feed.next_batch() if batches else anext(bench.feed))
            steps.take()
    finally:
        trio.lowlevel.remove_instrument(steps)
    assert steps.most <= 256
    assert steps.most == 256 or (batches and len(sizes) < 256)


async def test_two_tasks_in_one_feed_are_refused() -> None:
    """The second task gets BusyResourceError, the first goes on waiting."""
    bench = Bench()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.feed.__anext__)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await bench.feed.__anext__()
        bench.push("a")


async def test_drop_oldest_loses_the_oldest_and_says_so() -> None:
    """One gap, certain, with the number of messages lost, in the place of what was dropped."""
    bench = Bench(Overflow("drop_oldest", messages=3))
    bench.push("a", "b")
    began = bench.wall
    for frame in "cdefg":
        bench.push(frame)
    gap, *messages = await take(bench.feed, 4)
    assert gap == Gap(Reason.OVERFLOW, began, messages[0].received, 3.0, certain=True, lost=4)
    assert [message.data for message in messages] == ["e", "f", "g"]
    assert bench.stats.overflowed == 4
    assert len(bench.of(Overflowed)) == 1
    assert len(bench.of(GapReported)) == 1
    for frame in "hijk":
        bench.push(frame)
    assert len(bench.of(Overflowed)) == 2


async def test_drop_oldest_keeps_an_interruption_visible() -> None:
    """What is dropped around an interruption becomes one gap that covers both."""
    bench = Bench(Overflow("drop_oldest", messages=2))
    bench.push("a")
    began = bench.wall
    bench.down()
    bench.push("b")
    bench.push("c")
    bench.push("d")
    gap, *messages = await take(bench.feed, 3)
    assert gap == Gap(Reason.OVERFLOW, began, messages[0].received, 3.0, certain=True, lost=2)
    assert [message.data for message in messages] == ["c", "d"]


async def test_the_bound_counts_bytes_too() -> None:
    """Ten bytes hold two frames of five."""
    bench = Bench(Overflow("drop_oldest", bytes=10))
    for frame in ("aaaaa", "bbbbb", "ccccc"):
        bench.push(frame)
    gap, *messages = await take(bench.feed, 3)
    assert gap.lost == 1
    assert [message.data for message in messages] == ["bbbbb", "ccccc"]


async def test_fail_ends_the_feed_after_what_is_buffered() -> None:
    """The producer is told to give up; the consumer gets what is there, then FeedFailed."""
    bench = Bench(Overflow("fail", messages=2))
    bench.push("a")
    bench.push("b")
    with pytest.raises(GiveUp, match="3 messages wait"):
        bench.push("c")
    assert [item.data for item in await take(bench.feed, 3)] == ["a", "b", "c"]
    with pytest.raises(FeedFailed, match="the bound is reached"):
        await bench.feed.__anext__()
    with pytest.raises(FeedFailed):
        await bench.feed.live()


async def test_block_makes_room_for_the_producer() -> None:
    """``room`` waits while the buffer is full, and wakes when the consumer has taken enough."""
    bench = Bench(Overflow("block", messages=2))
    await bench.feed.room()
    bench.push("a", "b")
    assert bench.feed.full
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.feed.room)
        await trio.testing.wait_all_tasks_blocked()
        await take(bench.feed, 1)
    assert not bench.feed.full
    assert not bench.of(GapReported)
    assert BLOCK.policy == "block"


async def test_control_frames_are_delivered_only_where_wanted() -> None:
    """They are no data: neither counted nor an end of an interruption."""
    plain, curious = Bench(), Bench(control=True)
    for bench in (plain, curious):
        bench.down()
        bench.feed.push_control("ack", Kind.ACK, wall=bench.wall, now=bench.now, session=1)
        bench.push("a")
        assert bench.stats.messages == 1
    assert [type(item) for item in await take(plain.feed, 3)] == [Down, Gap, Message]
    down, ack, gap, _ = await take(curious.feed, 4)
    assert isinstance(down, Down)
    assert (ack.data, ack.kind) == ("ack", Kind.ACK)
    assert isinstance(gap, Gap)


async def test_live_waits_for_the_state(autojump_clock: trio.testing.MockClock) -> None:
    """``live`` returns when the feed is live and raises TooSlowError when it takes too long."""
    bench = Bench()
    with pytest.raises(trio.TooSlowError):
        await bench.feed.live(timeout=3)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.feed.live)
        await trio.testing.wait_all_tasks_blocked()
        for state in (LinkState.CONNECTING, LinkState.CONNECTED, LinkState.LIVE):
            bench.feed.set_state(state)
    assert [(event.previous, event.state) for event in bench.of(StateChanged)] == [
        (LinkState.IDLE, LinkState.CONNECTING),
        (LinkState.CONNECTING, LinkState.CONNECTED),
        (LinkState.CONNECTED, LinkState.LIVE),
    ]
    bench.feed.set_state(LinkState.LIVE)
    assert len(bench.of(StateChanged)) == 3


def test_every_cell_of_the_state_table() -> None:
    """A move in the table succeeds, any other raises and changes nothing; STOPPED may follow everything."""
    from actors.line import TRANSITIONS

    for previous in LinkState:
        for state in LinkState:
            bench = Bench()
            bench.stats.state = previous
            legal = state is previous or state is LinkState.STOPPED or state in TRANSITIONS[previous]

            async def move(feed: Feed = bench.feed, state: LinkState = state) -> None:
                feed.set_state(state)

            if legal:
                trio.run(move)
                assert bench.stats.state is state
            else:
                with pytest.raises(AssertionError, match="no way from"):
                    trio.run(move)
                assert bench.stats.state is previous


async def test_a_closed_feed_says_so_everywhere() -> None:
    """Waiting consumers wake, later calls raise, later pushes are ignored."""
    bench = Bench()
    bench.push("lost")
    await take(bench.feed, 1)
    async with trio.open_nursery() as nursery:

        async def wait() -> None:
            with pytest.raises(trio.ClosedResourceError, match="the feed test is closed"):
                await bench.feed.__anext__()

        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        bench.feed.close()
    bench.push("ignored")
    with pytest.raises(trio.ClosedResourceError):
        await bench.feed.live()
    await bench.feed.room()


def test_overflow_is_checked() -> None:
    """Only the named policies exist, a key belongs to one of them, and a bound leaves room for something."""
    with pytest.raises(ValueError, match="drop_oldest, block, conflate or fail: 'drop'"):
        Overflow("drop")
    with pytest.raises(ValueError, match="what conflate goes by, and the policy is block"):
        Overflow("block", key=len)
    with pytest.raises(ValueError, match="'messages' must be >= 1"):
        Overflow("block", messages=0)


@settings(max_examples=300)
@given(
    st.lists(st.one_of(st.integers(1, 4), st.sampled_from(["down", "take", "batch"])), max_size=60),
    st.integers(1, 6),
)
def test_every_message_is_delivered_or_lies_in_a_gap(steps: list[int | str], bound: int) -> None:
    """Whatever is pushed, dropped and taken: order holds, the losses are exactly those reported, memory is bounded."""

    async def main() -> None:
        bench = Bench(Overflow("drop_oldest", messages=bound))
        sent = 0
        got: list[int] = []
        lost = 0

        async def take_one(step: str) -> None:
            nonlocal lost
            with trio.move_on_after(0):
                item = await (bench.feed.next_batch() if step == "batch" else bench.feed.__anext__())
                if isinstance(item, Message):
                    got.append(int(item.data))
                elif isinstance(item, Batch):
                    got.extend(int(frame) for frame in item.frames)
                elif isinstance(item, Gap):
                    assert item.since <= item.until
                    assert item.seconds >= 0
                    lost += item.lost or 0

        for step in steps:
            if isinstance(step, int):
                bench.push(*(str(sent + n) for n in range(step)))
                sent += step
                assert bench.stats.depth <= max(bound, step)
            elif step == "down":
                bench.down()
            else:
                await take_one(step)
        for _ in range(sent + len(steps)):
            await take_one("take")
        assert got == sorted(got)
        assert len(got) == len(set(got))
        assert len(got) + lost == sent == bench.stats.messages
        assert bench.stats.overflowed == lost

    trio.run(main)
