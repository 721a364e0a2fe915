"""The actor kit: mailbox policies, questions and answers, and the context that says nothing."""

import pytest
import trio
import trio.testing

from actors.actor import NO_CONTEXT, ActorEnded, Mailbox, MailboxFull, Overflow, Reply


def asked(reply: Reply[str]) -> Reply[str]:
    """The message that asks a question is the reply to be filled in."""
    return reply


async def test_messages_come_out_in_order() -> None:
    """A mailbox is a queue, and its length is what waits."""
    box: Mailbox[int] = Mailbox(3)
    assert all(box.tell(n) for n in range(3))
    assert len(box) == 3
    assert [await box.receive() for _ in range(3)] == [0, 1, 2]


def test_capacity_is_checked() -> None:
    """A mailbox without room is refused when it is made."""
    with pytest.raises(ValueError, match="capacity must be at least 1: 0"):
        Mailbox[int](0)


async def test_reject_refuses_the_newest_and_counts_it() -> None:
    """Under REJECT a full mailbox refuses; ``send`` says so at once."""
    box: Mailbox[int] = Mailbox(1)
    assert box.tell(1)
    assert not box.tell(2)
    with pytest.raises(MailboxFull, match="1 messages are waiting"):
        await box.send(3, timeout=10)
    assert box.dropped == 2
    assert await box.receive() == 1


async def test_drop_oldest_keeps_the_newest_and_counts() -> None:
    """Under DROP_OLDEST nothing is refused, and a question that is pushed out fails."""
    box: Mailbox[int | Reply[str]] = Mailbox(2, Overflow.DROP_OLDEST)
    failures: list[Exception] = []

    async def ask() -> None:
        try:
            await box.ask(asked, timeout=10)
        except MailboxFull as error:
            failures.append(error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        assert [box.tell(n) for n in range(3)] == [True, True, True]
    assert box.dropped == 2
    assert len(failures) == 1
    assert [await box.receive(), await box.receive()] == [1, 2]


async def test_block_waits_for_room_until_its_deadline(autojump_clock: trio.testing.MockClock) -> None:
    """Under BLOCK ``tell`` refuses, ``send`` waits: until there is room, or for ``timeout`` seconds."""
    box: Mailbox[int] = Mailbox(1, Overflow.BLOCK)
    assert box.tell(1)
    assert not box.tell(2)
    with pytest.raises(MailboxFull):
        await box.send(3, timeout=5)
    assert trio.current_time() == 5
    async with trio.open_nursery() as nursery:

        async def send() -> None:
            await box.send(4, timeout=5)

        nursery.start_soon(send)
        await trio.testing.wait_all_tasks_blocked()
        assert await box.receive() == 1
    assert await box.receive() == 4


async def test_a_cancelled_receive_loses_nothing() -> None:
    """The take is the last thing that receive does, so a message is either returned or still there."""
    box: Mailbox[int] = Mailbox(1)
    with trio.CancelScope() as scope:
        scope.cancel()
        await box.receive()
    async with trio.open_nursery() as nursery:

        async def impatient() -> None:
            with trio.move_on_after(0):
                await box.receive()

        nursery.start_soon(impatient)
        await trio.testing.wait_all_tasks_blocked()
        assert box.tell(1)
    assert await box.receive() == 1


async def test_a_question_is_answered(autojump_clock: trio.testing.MockClock) -> None:
    """The first answer counts; without one in time the caller gets TooSlowError."""
    box: Mailbox[Reply[str]] = Mailbox(2)
    async with trio.open_nursery() as nursery:

        async def answer() -> None:
            with box.serving():
                reply = await box.receive()
                reply.answer("yes")
                reply.answer("no")
                reply.fail(ValueError("late"))
                assert reply.answered

        nursery.start_soon(answer)
        assert await box.ask(asked, timeout=1) == "yes"
    with pytest.raises(trio.TooSlowError):
        await box.ask(asked, timeout=1)
    assert trio.current_time() == 1


async def test_a_question_fails_with_the_incarnation_that_took_it(autojump_clock: trio.testing.MockClock) -> None:
    """An actor that ends without answering makes ``ask`` fail at once, not at the deadline."""
    box: Mailbox[Reply[str]] = Mailbox(2)
    async with trio.open_nursery() as nursery:

        async def crash() -> None:
            with box.serving():
                await box.receive()
                await trio.sleep(1)

        nursery.start_soon(crash)
        with pytest.raises(ActorEnded):
            await box.ask(asked, timeout=100)
    assert trio.current_time() == 1


async def test_a_closed_mailbox_ends_everybody(autojump_clock: trio.testing.MockClock) -> None:
    """Receivers, senders and callers are told; nothing is taken any more."""
    box: Mailbox[Reply[str] | str] = Mailbox(1, Overflow.BLOCK)
    ended: list[str] = []

    async def ask() -> None:
        try:
            await box.ask(asked, timeout=100)
        except ActorEnded:
            ended.append("ask")

    async def send() -> None:
        try:
            await box.send("more", timeout=100)
        except ActorEnded:
            ended.append("send")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(send)
        await trio.testing.wait_all_tasks_blocked()
        box.close()
    assert sorted(ended) == ["ask", "send"]
    assert trio.current_time() == 0
    assert not box.tell("x")
    with pytest.raises(ActorEnded):
        await box.receive()


def test_without_a_supervisor_nothing_happens() -> None:
    """The default context takes every word and does nothing."""
    NO_CONTEXT.started()
    NO_CONTEXT.healthy()
    assert NO_CONTEXT.incarnation == 1
    assert not NO_CONTEXT.stopping.is_set()
