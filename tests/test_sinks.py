"""Sinks: written in batches by a thread; a reader that sleeps stops nothing, one that leaves is noticed."""

import errno
import os
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import trio

from supervisors.standalone.sinks import ROOM, Sink


@asynccontextmanager
async def sink(fd: int, room: int = ROOM) -> AsyncGenerator[Sink]:
    """A sink that runs beside the body."""
    made = Sink(fd, room=room)
    async with trio.open_nursery() as nursery:
        await nursery.start(made.run)
        yield made
        nursery.cancel_scope.cancel("the test is over")


@pytest.fixture
def pipe() -> tuple[int, int]:
    """A fresh pipe: reader, writer."""
    return os.pipe()


async def test_lines_arrive_in_order_and_soon(pipe: tuple[int, int]) -> None:
    """What is put in comes out in order, within the promised 50 ms."""
    reader, writer = pipe
    async with sink(writer) as out, trio.lowlevel.FdStream(reader) as stream:
        for n in range(3):
            began = trio.current_time()
            out.put(b"%d\n" % n)
            assert await stream.receive_some() == b"%d\n" % n
            assert trio.current_time() - began < 0.05
        for n in range(1000):
            out.put(b"%03d\n" % n)
        assert await out.flush(1)
        seen = b""
        while len(seen) < 4000:
            seen += await stream.receive_some()
    assert seen == b"".join(b"%03d\n" % n for n in range(1000))
    os.close(writer)


async def test_a_reader_that_sleeps_stops_nothing(pipe: tuple[int, int]) -> None:
    """A full pipe holds up its thread alone: the loop turns, room is told apart, and the end is not held up either."""
    reader, writer = pipe
    async with sink(writer, room=100_000) as out:
        for _ in range(300):
            out.put(b"x" * 1000)
        assert out.full
        with trio.move_on_after(0.1) as waited:
            await out.has_room()
        assert waited.cancelled_caught
        assert not await out.flush(0.1)
        began = trio.current_time()
    assert trio.current_time() - began < 0.5
    os.close(reader)


async def test_room_comes_back_when_the_reader_does(pipe: tuple[int, int]) -> None:
    """has_room returns once the reader has taken enough, and nothing is lost meanwhile."""
    reader, writer = pipe
    async with sink(writer, room=50_000) as out, trio.open_nursery() as nursery:
        taken = bytearray()

        async def read() -> None:
            await trio.sleep(0.1)
            async with trio.lowlevel.FdStream(reader) as stream:
                while len(taken) < 400_000:
                    taken.extend(await stream.receive_some())

        nursery.start_soon(read)
        for n in range(400):
            await out.has_room()
            out.put(b"%04d" % n * 250)
        assert await out.flush(2)
    assert bytes(taken) == b"".join(b"%04d" % n * 250 for n in range(400))
    os.close(writer)


async def test_what_must_not_wait_pushes_out_the_oldest(pipe: tuple[int, int]) -> None:
    """Log lines beyond the room drop the oldest ones, which are counted."""
    reader, writer = pipe
    out = Sink(writer, room=10)
    for n in range(5):
        out.tell(b"%d---\n" % n)
    assert out.dropped == 3
    async with trio.open_nursery() as nursery:
        await nursery.start(out.run)
        assert await out.flush(1)
        nursery.cancel_scope.cancel("the test is over")
    assert os.read(reader, 100) == b"3---\n4---\n"
    os.close(reader)
    os.close(writer)


async def test_a_reader_that_leaves_is_noticed_while_nothing_is_written(pipe: tuple[int, int]) -> None:
    """`gone` is set when the pipe is closed at the other end, without a write."""
    reader, writer = pipe
    async with sink(writer) as out:
        await trio.testing.wait_all_tasks_blocked()
        assert not out.gone.is_set()
        os.close(reader)
        with trio.fail_after(1):
            await out.gone.wait()
        out.put(b"thrown away")
        assert await out.flush(0.1)
        await out.has_room()
        assert out.error is None
    os.close(writer)


async def test_a_reader_that_leaves_while_a_write_waits(pipe: tuple[int, int]) -> None:
    """EPIPE ends the writing, and what waited is thrown away."""
    reader, writer = pipe
    async with sink(writer) as out:
        for _ in range(1000):
            out.put(b"x" * 1000)
        await trio.sleep(0.05)
        os.close(reader)
        with trio.fail_after(1):
            await out.gone.wait()
            assert await out.flush(0.5)
    os.close(writer)


async def test_a_socket_whose_peer_speaks_is_not_gone() -> None:
    """Something to read on standard output is no reason to end; a hang-up is noticed by the next write."""
    ours, theirs = socket.socketpair()
    with ours:
        async with sink(ours.fileno()) as out:
            theirs.send(b"hello")
            await trio.testing.wait_all_tasks_blocked(0.05)
            assert not out.gone.is_set()
            out.put(b"x")
            assert await out.flush(1)
            theirs.close()
            out.put(b"y")
            with trio.fail_after(1):
                await out.gone.wait()


async def test_a_full_disk_is_an_error_and_no_quiet_end() -> None:
    """What cannot be written for another reason than a reader that left is kept as an error."""
    fd = os.open("/dev/full", os.O_WRONLY)
    async with sink(fd) as out:
        out.put(b"x")
        with trio.fail_after(1):
            await out.gone.wait()
        assert out.error is not None
        assert out.error.errno == errno.ENOSPC
    os.close(fd)


async def test_a_descriptor_that_was_never_open_counts_as_gone(pipe: tuple[int, int]) -> None:
    """A closed standard output ends the program quietly."""
    for fd in pipe:
        os.close(fd)
    async with sink(pipe[1]) as out:
        with trio.fail_after(1):
            await out.gone.wait()
        assert out.error is None


async def test_a_descriptor_set_to_not_block_is_waited_for(pipe: tuple[int, int]) -> None:
    """Whoever set O_NONBLOCK on the shared descriptor does not make us lose lines."""
    reader, writer = pipe
    os.set_blocking(writer, False)
    async with sink(writer, room=10 << 20) as out:
        out.put(b"x" * 300_000)
        await trio.sleep(0.1)
        async with trio.lowlevel.FdStream(reader) as stream:
            seen = 0
            with trio.fail_after(2):
                while seen < 300_000:
                    seen += len(await stream.receive_some())
        assert await out.flush(1)
    os.close(writer)


def test_a_thread_that_hangs_in_a_write_does_not_keep_the_process() -> None:
    """The process ends although a thread of it is stuck in write()."""
    code = """
import os, trio
from supervisors.standalone.sinks import Sink
reader, writer = os.pipe()
async def main():
    sink = Sink(writer)
    async with trio.open_nursery() as nursery:
        await nursery.start(sink.run)
        sink.put(b"x" * 1_000_000)
        await sink.flush(0.2)
        nursery.cancel_scope.cancel()
trio.run(main)
print("ended")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=10, check=True)
    assert done.stdout == "ended\n"
