"""Streams of frames, good and bad, and what wsproto makes of them: the oracle for whatever cuts them."""

from collections.abc import Iterator
from itertools import cycle
from typing import Any

import attrs
from hypothesis import strategies as st
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, TextMessage

from tests.hostile import close, frame

TEXTS = st.text(max_size=12) | st.sampled_from(["x" * n for n in (125, 126, 127, 300)])
BINARIES = st.binary(max_size=12) | st.sampled_from([b"y" * n for n in (126, 300)])
LARGE = st.builds(frame, st.sampled_from([1, 2]), st.sampled_from([b"w" * n for n in (65_535, 65_536)]))
PLAIN = st.builds(frame, st.just(1), TEXTS.map(str.encode)) | st.builds(frame, st.just(2), BINARIES)
CONTROL = st.builds(frame, st.sampled_from([9, 9, 10]), st.binary(max_size=8) | st.just(b"z" * 125))

ALWAYS_BAD = st.one_of(
    st.builds(frame, st.sampled_from([3, 7, 11, 15]), BINARIES, fin=st.booleans()),
    st.builds(frame, st.sampled_from([0, 1, 2, 8, 9, 10]), st.binary(max_size=8), rsv=st.integers(1, 7)),
    st.builds(frame, st.sampled_from([0, 1, 2, 8, 9, 10]), st.binary(max_size=8), mask=st.just(b"mask")),
    st.builds(frame, st.sampled_from([8, 9, 10]), st.binary(min_size=126, max_size=200)),
    st.builds(frame, st.sampled_from([8, 9, 10]), st.binary(max_size=8), fin=st.just(False)),
    st.sampled_from([b"\x81\x7e\x00\x05hello", b"\x82\x7f" + bytes(6) + b"\x00\x05hello"]),
    st.just(b"\x82\x7f\x80" + bytes(7)),
    st.sampled_from([frame(8, b"\x03"), close(1006), close(999), close(1100), frame(8, b"\x03\xe8\xff")]),
)
BAD_OUTSIDE = ALWAYS_BAD | st.sampled_from(
    [frame(0, b"nothing to go on with"), frame(0, b"", fin=False), frame(1, b"ok\xff"), frame(1, b"\xed\xa0\x80")]
)
BAD_INSIDE = ALWAYS_BAD | PLAIN | st.builds(frame, st.sampled_from([1, 2]), st.binary(max_size=8), fin=st.just(False))
FAREWELL = st.builds(close, st.sampled_from([1000, 1001, 1012, 3000, 4999]), st.text(max_size=5)) | st.just(frame(8))


@st.composite
def fragmented(draw: st.DrawFn) -> list[bytes]:
    """A message in fragments, cut anywhere, with control frames in between."""
    opcode, payload = draw(st.tuples(st.just(1), TEXTS.map(str.encode)) | st.tuples(st.just(2), BINARIES))
    cuts = sorted(draw(st.lists(st.integers(0, len(payload)), min_size=1, max_size=4)))
    parts = [payload[start:end] for start, end in zip([0, *cuts], [*cuts, len(payload)], strict=True)]
    frames: list[bytes] = []
    for number, part in enumerate(parts):
        frames.append(frame(0 if number else opcode, part, fin=number == len(parts) - 1))
        if number < len(parts) - 1:
            frames += draw(st.lists(CONTROL, max_size=2))
    return frames


@st.composite
def interrupted(draw: st.DrawFn) -> list[bytes]:
    """A message in fragments that is never completed, but followed by what may not stand there, or no text."""
    frames = draw(fragmented())
    kept = frames[: draw(st.integers(1, len(frames) - 1))]
    bad = draw(BAD_INSIDE | st.just(frame(0, b"\xff\xff")))
    return [*kept, bad]


ELEMENTS = st.lists(st.one_of(PLAIN.map(lambda one: [one]), CONTROL.map(lambda one: [one]), fragmented()), max_size=6)
ENDINGS = st.one_of(
    st.just([]),
    FAREWELL.map(lambda one: [one]),
    BAD_OUTSIDE.map(lambda one: [one]),
    interrupted(),
)
SIZES = st.lists(st.integers(1, 3), min_size=1, max_size=20) | st.lists(st.integers(1, 700), min_size=1, max_size=20)


@st.composite
def streams(draw: st.DrawFn) -> list[bytes]:
    """Frames as a server may send them: good ones, perhaps a Close or a bad form, and more behind it."""
    elements = [*draw(ELEMENTS), draw(ENDINGS), *draw(ELEMENTS)]
    return [one for element in elements for one in element]


def pieces(data: bytes, sizes: list[int]) -> Iterator[bytes]:
    """The bytes, cut into pieces of these sizes over and over."""
    start = 0
    for size in cycle(sizes):
        if start >= len(data):
            return
        yield data[start : start + size]
        start += size


@attrs.define
class Heard:
    """What a client has made of a stream, up to the first Close or error."""

    messages: list[str | bytes] = attrs.Factory(list[str | bytes])
    pings: list[bytes] = attrs.Factory(list[bytes])
    code: int = 1006
    half: list[Any] = attrs.field(factory=list[Any], eq=False)

    def hear(self, event: Event) -> None:
        """Take one of wsproto's events."""
        if self.code != 1006:
            return
        if isinstance(event, Ping):
            self.pings.append(bytes(event.payload))
        elif isinstance(event, CloseConnection):
            self.code = event.code
        elif isinstance(event, TextMessage | BytesMessage):
            self._part(event.data if isinstance(event.data, str) else bytes(event.data), last=event.message_finished)

    def _part(self, data: str | bytes, *, last: bool) -> None:
        self.half.append(data)
        if last:
            self.messages.append(data[:0].join(self.half))
            self.half.clear()


def oracle(data: bytes) -> Heard:
    """What wsproto makes of the whole stream."""
    judge, heard = Connection(ConnectionType.CLIENT), Heard()
    judge.receive_data(data)
    for event in judge.events():
        heard.hear(event)
    return heard
