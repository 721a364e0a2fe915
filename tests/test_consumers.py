"""Several consumers of one feed, each with its own policy: one that dies or stalls touches no other."""

from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from actors.chaos import MemoryNetwork
from actors.consumer import Consumer
from actors.errors import GiveUp, Reason
from actors.events import GapReported, Overflowed
from actors.exchange import By, Exchange, Form, Heartbeat
from actors.exchanges import GENERIC, UPBIT
from actors.feed import Feed
from actors.items import BLOCK, FAIL, Batch, Down, FeedFailed, Gap, Message, Overflow
from actors.line import Part
from supervisors import open_feeds
from supervisors.standalone import cli, load_config
from supervisors.standalone.mistakes import BadInput
from tests.test_feed import Bench, take


async def texts(source: Feed | Consumer, count: int) -> list[str]:
    """The next messages."""
    return [str(item.data) for item in await take(source, count)]


def conflate(messages: int) -> Overflow:
    return Overflow("conflate", messages, key=lambda frame: str(frame)[0])


async def test_each_gets_everything_from_when_it_came() -> None:
    """The feed's own iteration, one that is there from the beginning, and one that comes later."""
    bench = Bench()
    own = aiter(bench.feed)
    with bench.feed.consumer() as first:
        bench.push("a", "b")
        assert await texts(first, 1) == ["a"]
        with bench.feed.consumer() as second:
            bench.push("c")
            assert await texts(second, 1) == ["c"]
            assert await texts(first, 2) == ["b", "c"]
            assert await texts(own, 3) == ["a", "b", "c"]
            assert bench.stats.depth == 0
            assert bench.stats.messages == 3


async def test_what_nobody_has_taken_goes_to_who_comes_first() -> None:
    """A consumer that is the first to take gets what was kept, and the feed keeps nothing for itself any more."""
    bench = Bench(Overflow(messages=3))
    bench.down()
    bench.push("a")
    with bench.feed.consumer() as first:
        assert [type(item) for item in await take(first, 3)] == [Down, Gap, Message]
        for number in range(10):
            bench.push(str(number))
            assert await texts(first, 1) == [str(number)]
        assert not bench.of(Overflowed)
        assert bench.stats.depth == 0
        bench.push("late")
        with trio.move_on_after(0):
            await bench.feed.__anext__()  # from now on the feed is a consumer too
        bench.push("b")
        assert await texts(bench.feed, 1) == ["b"]
        assert await texts(first, 2) == ["late", "b"]


async def test_the_first_consumer_s_bound_holds_for_what_was_kept() -> None:
    """More was kept than it wants: it is told of the loss like of any other."""
    bench = Bench()
    for frame in "abcd":
        bench.push(frame)
    with bench.feed.consumer(Overflow(messages=2)) as small:
        gap, *messages = await take(small, 3)
    assert gap.lost == 2
    assert [message.data for message in messages] == ["c", "d"]
    assert bench.stats.overflowed == 2


async def test_one_that_comes_during_an_interruption_is_told_of_it() -> None:
    """Its first item is the Down, then comes the Gap as for everybody."""
    bench = Bench()
    bench.push("a")
    assert await texts(bench.feed, 1) == ["a"]
    bench.down()
    with bench.feed.consumer() as late:
        bench.push("b")
        down, gap, message = await take(late, 3)
    assert (down, gap.reason, message.data) == (Down(Reason.EOF, 1_001_000_000_000), Reason.EOF, "b")
    assert [type(item) for item in await take(bench.feed, 3)] == [Down, Gap, Message]
    bench.down()
    parts = [Part(bench.feed, number, (), bench.log.append) for number in (1, 2)]
    bench.feed.parts += parts
    parts[1].dialling(bench.wall, bench.now)
    parts[1].interrupted(Reason.RESET)
    with bench.feed.consumer() as later:
        bench.push("c")
        assert [item.reason for item in await take(later, 1)] == [Reason.RESET]


async def leave(consumer: Consumer, way: str) -> None:
    """Take one item, and leave in this way."""
    async for _ in consumer:
        match way:
            case "return":
                return
            case "break":
                break
            case "exception":
                raise ValueError(way)
            case _:
                await trio.sleep_forever()


@pytest.mark.parametrize("way", ["return", "break", "exception", "timeout", "cancel"])
async def test_every_way_out_leaves_the_others_alone(way: str, autojump_clock: trio.testing.MockClock) -> None:
    """Whoever leaves, however, is no longer kept for; the other consumer and the feed get every message."""
    del autojump_clock
    bench = Bench(BLOCK)
    seen: list[Any] = []

    async def quit_early(scope: trio.CancelScope) -> None:
        with scope, bench.feed.consumer(Overflow("block", messages=1)) as mine:
            await leave(mine, way)

    async def stay() -> None:
        with bench.feed.consumer() as mine:
            async for item in mine:
                assert isinstance(item, Message)
                seen.append(item.data)

    async def wait_for_room() -> None:
        await bench.feed.room()
        seen.append("room")

    own = aiter(bench.feed)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stay)
        await trio.testing.wait_all_tasks_blocked()
        scope = trio.CancelScope(deadline=trio.current_time() + 5 if way == "timeout" else float("inf"))

        async def quitter() -> None:
            try:
                await quit_early(scope)
            except ValueError:
                assert way == "exception"

        nursery.start_soon(quitter)
        await trio.testing.wait_all_tasks_blocked()
        bench.push("a")
        bench.push("b")
        if way in ("timeout", "cancel"):
            await trio.testing.wait_all_tasks_blocked()
            assert bench.feed.full
            nursery.start_soon(wait_for_room)
            if way == "cancel":
                scope.cancel()
            await trio.sleep(10)
            assert seen.pop() == "room"
        await trio.testing.wait_all_tasks_blocked()
        assert not bench.feed.full
        bench.push("c")
        await trio.testing.wait_all_tasks_blocked()
        assert seen == ["a", "b", "c"]
        nursery.cancel_scope.cancel()
    assert await texts(own, 3) == ["a", "b", "c"]


async def test_reading_waits_for_the_slowest_that_blocks_only() -> None:
    """One that drops or conflates never makes reading wait, however much it has missed."""
    bench = Bench(Overflow(messages=2))
    own = aiter(bench.feed)
    with (
        bench.feed.consumer(Overflow("block", messages=3)) as patient,
        bench.feed.consumer(Overflow("block", messages=5)) as lazy,
        bench.feed.consumer(conflate(2)) as newest,
    ):
        for number in range(4):
            bench.push(f"a{number}")
        assert bench.feed.full
        await texts(patient, 2)
        assert not bench.feed.full
        bench.push("a4")
        assert bench.feed.full
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bench.feed.room)
            await trio.testing.wait_all_tasks_blocked()
            await texts(patient, 1)
            await trio.testing.wait_all_tasks_blocked()
            assert nursery.child_tasks
            await lazy.next_batch()
        assert await texts(patient, 2) == ["a3", "a4"]
        assert await texts(lazy, 4) == ["a1", "a2", "a3", "a4"]
        gap, *rest = await take(own, 3)
        assert (gap.lost, [each.data for each in rest]) == (3, ["a3", "a4"])
        gap, only = await take(newest, 2)
        assert (gap.lost, only.data) == (4, "a4")
    assert bench.stats.overflowed == 7
    assert [event.policy for event in bench.of(Overflowed)] == ["drop_oldest", "conflate", "block"]
    assert len(bench.of(GapReported)) == 2


async def test_one_that_fails_ends_alone() -> None:
    """Under ``fail`` a consumer gets what waits for it and FeedFailed; the feed goes on for the others."""
    bench = Bench()
    own = aiter(bench.feed)
    with bench.feed.consumer(Overflow("fail", messages=1)) as strict:
        bench.push("a")
        bench.push("b")
        bench.push("c")
        assert await texts(strict, 2) == ["a", "b"]
        with pytest.raises(FeedFailed, match="2 messages wait for the consumer"):
            await anext(strict)
        bench.feed.dialling(bench.wall, bench.now)
        with pytest.raises(FeedFailed):
            await anext(strict)
        assert await texts(own, 3) == ["a", "b", "c"]


async def test_the_feed_s_own_failure_touches_no_other_consumer() -> None:
    """Under ``fail`` only the feed's own iteration ends while there is another consumer; alone, the feed does."""
    bench = Bench(Overflow("fail", messages=1))
    own = aiter(bench.feed)
    with bench.feed.consumer() as other:
        bench.push("a")
        bench.push("b")
        bench.push("c")
        assert await texts(own, 2) == ["a", "b"]
        for frame in "de":
            with pytest.raises(FeedFailed):
                await anext(bench.feed)
            bench.push(frame)
        assert await texts(other, 5) == ["a", "b", "c", "d", "e"]
    alone = Bench(Overflow("fail", messages=1))
    alone.push("a")
    with pytest.raises(GiveUp):
        alone.push("b")
    with alone.feed.consumer() as late:
        assert await texts(late, 2) == ["a", "b"]
        with pytest.raises(FeedFailed):
            await anext(late)
        alone.feed.dialling(alone.wall, alone.now)
        with trio.move_on_after(0) as scope:
            await anext(late)
        assert scope.cancelled_caught
        alone.push("c")
        assert await texts(late, 1) == ["c"]


async def test_a_feed_that_ends_ends_for_all() -> None:
    """Given up: each gets what waits, then FeedFailed. Closed, or left: ClosedResourceError at once."""
    bench = Bench()
    with bench.feed.consumer() as left:
        bench.push("a")
    with pytest.raises(trio.ClosedResourceError, match="was left"):
        await anext(left)
    with bench.feed.consumer() as one:
        bench.push("b")
        bench.feed.fail("given up")
        assert await texts(one, 1) == ["b"]
        with pytest.raises(FeedFailed, match="given up"):
            await anext(one)
        bench.feed.close()
        with pytest.raises(trio.ClosedResourceError, match="the feed test is closed"):
            await anext(one)
    with pytest.raises(trio.ClosedResourceError), bench.feed.consumer():
        pass


async def test_a_consumer_s_own_place_survives_a_break() -> None:
    """A half-used batch is the consumer's: the next iteration goes on, in messages or in batches, others untouched."""
    bench = Bench()
    own = aiter(bench.feed)
    with bench.feed.consumer() as mine:
        bench.push(*(str(number) for number in range(600)))
        async for item in mine:
            assert isinstance(item, Message)
            break
        assert await texts(mine, 299) == [str(number) for number in range(1, 300)]
        rest = await mine.next_batch()
        assert isinstance(rest, Batch)
        assert list(rest.frames) == [str(number) for number in range(300, 600)]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(mine.__anext__)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError, match="give each its own consumer"):
                await mine.next_batch()
            nursery.cancel_scope.cancel()
        assert len(await texts(own, 600)) == 600


async def test_control_frames_go_to_everybody() -> None:
    """In a feed that was opened with ``control=True``."""
    bench = Bench(control=True)
    own = aiter(bench.feed)
    with bench.feed.consumer() as other:
        bench.feed.push_control("ack", UPBIT.session().classify("{}").kind, wall=1, now=1.0, session=1)
        assert await texts(own, 1) == await texts(other, 1) == ["ack"]


ASKED = attrs.evolve(UPBIT, heartbeats=(*UPBIT.heartbeats, Heartbeat(by=By.SERVER, form=Form.MESSAGE, interval=20)))
"""An exchange that pings in messages."""


async def test_a_policy_that_the_exchange_cannot_have_is_refused() -> None:
    """``block`` where pings are messages that we answer as we read, ``conflate`` where no key is known."""
    with pytest.raises(ValueError, match=r"block cannot be had of upbit: .* use drop_oldest, conflate or fail"):
        BLOCK.check(ASKED)
    FAIL.check(ASKED)
    BLOCK.check(UPBIT)
    with pytest.raises(ValueError, match="conflate needs a key for generic"):
        Overflow("conflate").check(GENERIC)
    Overflow("conflate", key=len).check(GENERIC)
    async with open_feeds(network=MemoryNetwork({})) as feeds:
        with pytest.raises(ValueError, match="block cannot be had"):
            feeds.open(ASKED, trade="KRW-BTC", overflow=BLOCK)
        assert not len(feeds)
        feed = feeds.open(ASKED, trade="KRW-BTC")
        with pytest.raises(ValueError, match="block cannot be had"), feed.consumer(BLOCK):
            pass


def test_the_script_refuses_it_as_well(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A configuration is told where it says so, and ``watch`` how to go on."""

    def find(code: str) -> Exchange:
        return attrs.evolve(ASKED, code=code)

    for module in ("cli", "config"):
        monkeypatch.setattr(f"supervisors.standalone.{module}.find", find)
    file = tmp_path / "feeds.toml"
    file.write_text('[defaults]\noverflow = "block"\n[feed.krw]\non = "upbit"\ntrade = ["KRW-BTC"]\n', encoding="utf-8")
    with pytest.raises(BadInput, match="overflow: the policy block cannot be had of upbit"):
        load_config(file)
    assert cli.main(["watch", "upbit", "trade", "KRW-BTC"]) == 2
    assert "--overflow: the policy block cannot be had of upbit" in capsys.readouterr().err


async def test_what_holds_reading_up_may_vanish() -> None:
    """Handed over to the first consumer, or closed: whoever waits for room goes on."""
    for vanish in ("hand over", "close"):
        bench = Bench(Overflow("block", messages=1))
        bench.push("a")
        assert bench.feed.full
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bench.feed.room)
            await trio.testing.wait_all_tasks_blocked()
            assert nursery.child_tasks
            if vanish == "close":
                bench.feed.close()
                await trio.testing.wait_all_tasks_blocked()
                assert not nursery.child_tasks
            else:
                with bench.feed.consumer() as first:
                    await trio.testing.wait_all_tasks_blocked()
                    assert not nursery.child_tasks
                    assert await texts(first, 1) == ["a"]


async def test_a_key_that_fails_ends_its_consumer_alone() -> None:
    """The function is the user's: what it raises ends the one who brought it, and no connector."""
    bench = Bench()
    own = aiter(bench.feed)
    with bench.feed.consumer(Overflow("conflate", messages=1, key=int)) as broken:
        for frame in ("1", "2", "x", "3"):
            bench.push(frame)
        with pytest.raises(FeedFailed, match=r"key .* failed: ValueError"):
            await take(broken, 4)
        assert await texts(own, 4) == ["1", "2", "x", "3"]
    alone = Bench(Overflow("conflate", messages=1, key=lambda frame: [frame]))
    alone.push("a")
    with pytest.raises(GiveUp, match="unhashable"):
        alone.push("b")
