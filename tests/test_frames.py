"""Cutting frames: whatever the bytes and the cuts, the outcome is wsproto's; limits apart."""

import tracemalloc
from itertools import accumulate

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from wsproto.connection import Connection, ConnectionType

from actors.errors import Reason
from actors.transport.frames import CLOSE, MOST_FRAGMENTS, PING, PONG, RAW, Cut, Frames, Piece, Refusal
from tests.hostile import close, frame, text
from tests.wire import LARGE, PLAIN, SIZES, Heard, oracle, pieces, streams


def cuts(frames: Frames) -> list[Cut]:
    found: list[Cut] = []
    while (cut := frames.take()) is not None:
        found.append(cut)
        if isinstance(cut, Refusal):
            break
    return found


def through(data: bytes, sizes: list[int]) -> Heard:
    """What comes out where messages are cut out and wsproto gets the rest, as the tap feeds it."""
    frames, judge, heard = Frames(1 << 20), Connection(ConnectionType.CLIENT), Heard()
    for piece in pieces(data, sizes):
        frames.feed(piece)
        for cut in cuts(frames):
            if isinstance(cut, list):
                assert not heard.half
                heard.messages += cut
            elif isinstance(cut, Piece):
                judge.receive_data(cut.data)
                for event in judge.events():
                    heard.hear(event)
            if heard.code != 1006:
                return heard
    return heard


def answered(sent: list[bytes], sizes: list[int], pings: int) -> list[bytes]:
    """Of the first so many pings the last of each read, and of each stretch between fragments."""
    ends = accumulate(map(len, sent))
    reads = list(accumulate(map(len, pieces(b"".join(sent), sizes))))
    last: dict[tuple[int, int], bytes] = {}
    fragments = 0
    for one, end in zip(sent, ends, strict=True):
        fragments += one[0] in (0x00, 0x01, 0x02, 0x80)
        if one[0] == 0x89 and one[1] <= 125 and pings > 0:
            pings -= 1
            read = next(number for number, read in enumerate(reads) if read >= end)
            last[read, fragments] = one[2:]
    return list(last.values())


@given(streams(), SIZES)
@settings(max_examples=400)
@example([frame(1, b"ok"), frame(1, "가".encode()[:2], fin=False), frame(9, b"?"), frame(0, "가".encode()[2:])], [1])
@example([frame(9, b"1"), frame(9, b"2"), frame(3), frame(9, b"3")], [700])
@example([frame(1, b"\xff"), text("after")], [700])
@example([frame(9, b"?"), frame(1, fin=False), frame(0, b"\xff")], [700])
def test_equals_wsproto(sent: list[bytes], sizes: list[int]) -> None:
    """The same messages in the same order, the same end, and the pongs that are owed."""
    data = b"".join(sent)
    truth, ours = oracle(data), through(data, sizes)
    assert ours.messages == truth.messages
    assert ours.code == truth.code
    assert ours.pings == answered(sent, sizes, len(truth.pings))


HEAD = frame(1, b"be", fin=False)
ODD = [
    (b"", frame(3)),
    (b"", frame(11, b"x")),
    (b"", frame(1, b"x", rsv=4)),
    (b"", frame(9, rsv=1)),
    (b"", frame(2, b"x", mask=b"mask")),
    (b"", frame(8, b"x" * 126)),
    (b"", frame(9, fin=False)),
    (b"", b"\x81\x7e\x00\x7d" + b"x" * 125),
    (b"", b"\x82\x7f" + (65_535).to_bytes(8) + b"x" * 65_535),
    (b"", b"\x82\x7f\x80" + bytes(7)),
    (b"", frame(0, b"x" * 300)),
    (HEAD, frame(1, b"x" * 300)),
    (HEAD, frame(2, b"x" * 70_000, fin=False)),
    (HEAD, frame(0, b"x", rsv=2)),
    (HEAD, b"\x80\x7e\x00\x7d" + b"x" * 125),
]
"""What may not come, and what has to come before it."""


@pytest.mark.parametrize(("before", "odd"), ODD)
@pytest.mark.parametrize("sizes", [[1], [100_000]])
def test_odd_forms(before: bytes, odd: bytes, sizes: list[int]) -> None:
    """Each is seen by its first bytes, however much it declares, and passed on raw; wsproto refuses it."""
    data = text("good") + before + odd
    assert through(data, sizes) == oracle(data) == Heard(["good"], code=1002)
    frames = Frames(1 << 20)
    frames.feed(text("good") + before + odd[:10])
    assert cuts(frames)[-1] == Piece(RAW, odd[:10])


def test_one_batch_a_read() -> None:
    """All plain messages of one read are one batch; what lies between is given out one at a time, pings at the end."""
    frames = Frames(1 << 20)
    frames.feed(text("a") + frame(2, b"b") + frame(9, b"1") + text("c") + frame(10) + frame(9, b"2") + text("d")[:2])
    got = cuts(frames)
    assert got[:2] == [["a", b"b"], ["c"]]
    assert [piece.opcode for piece in got[2:] if isinstance(piece, Piece)] == [PONG, PING]
    assert frames.pings == 2
    frames.feed(text("d")[2:] + frame(9, b"3") + close(1000))
    assert cuts(frames) == [["d"], Piece(PING, frame(9, b"3"), b"3"), Piece(CLOSE, close(1000), b"\x03\xe8")]


def test_text_that_does_not_decode() -> None:
    """What came before it is delivered, then it goes to the machine that will refuse it, alone."""
    frames = Frames(1 << 20)
    bad = frame(1, b"\xff")
    frames.feed(text("a") + bad + text("b"))
    assert cuts(frames) == [["a"], Piece(RAW, bad), ["b"]]


def test_odd_bytes_are_raw_for_ever() -> None:
    """From the first odd form on nothing is cut."""
    frames = Frames(1 << 20)
    frames.feed(text("a") + frame(3) + text("b"))
    assert cuts(frames) == [["a"], Piece(RAW, frame(3) + text("b"))]
    frames.feed(text("c"))
    assert cuts(frames) == [Piece(RAW, text("c"))]


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (frame(1, b"x" * 1025)[:4], Reason.WS_TOO_BIG),
        (frame(2, b"x" * 70_000)[:10], Reason.WS_TOO_BIG),
        (frame(2, b"x" * 600, fin=False) + frame(0, b"x" * 425)[:4], Reason.WS_TOO_BIG),
        (frame(1, b"", fin=False) + frame(0, b"", fin=False) * MOST_FRAGMENTS, Reason.WS_FRAGMENTS),
    ],
)
@pytest.mark.parametrize("size", [1, 100_000])
def test_limits(sent: bytes, reason: Reason, size: int) -> None:
    """Too much is refused as soon as a length declares it, and what came before was delivered."""
    frames, got = Frames(1024), list[Cut]()
    for piece in pieces(text("before") + frame(9, b"?") + sent, [size]):
        frames.feed(piece)
        got += cuts(frames)
    assert got[0] == ["before"]
    assert Piece(PING, frame(9, b"?"), b"?") in got
    assert isinstance(got[-1], Refusal)
    assert got[-1].reason is reason


@pytest.mark.parametrize("size", [1, 100_000])
def test_just_within_the_limits(size: int) -> None:
    """The largest message and the most fragments are taken, again and again."""
    frames = Frames(1024)
    parts = frame(1, b"x" * 24, fin=False) + frame(0, b"x", fin=False) * (MOST_FRAGMENTS - 2) + frame(0, b"x" * 2)
    for piece in pieces((frame(2, b"x" * 1024) + parts) * 2, [size]):
        frames.feed(piece)
        assert not any(isinstance(cut, Refusal) for cut in cuts(frames))


def test_a_dripping_frame_costs_no_copies() -> None:
    """However small the pieces of a large frame, they are joined once, and no more than the frame is held."""
    whole = frame(2, b"x" * 1_000_000)
    begun, frames = whole[:-1], Frames(1 << 20)
    tracemalloc.start()
    try:
        for piece in pieces(begun, [1000]):
            frames.feed(piece)
            assert frames.take() is None
        held, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held <= most < 1.2 * len(whole)
    frames.feed(whole[-1:])
    assert frames.take() == [b"x" * 1_000_000]


@given(st.lists(LARGE | PLAIN, max_size=4), st.lists(st.integers(1000, 70_000), min_size=1))
@settings(max_examples=50)
def test_long_lengths(sent: list[bytes], sizes: list[int]) -> None:
    """Lengths of two and of eight bytes, wherever the reads end."""
    data = b"".join(sent)
    assert through(data, sizes) == oracle(data)
