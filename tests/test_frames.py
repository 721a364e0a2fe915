"""Where frames begin and end, with wsproto as the judge of what is odd."""

from hypothesis import example, given, settings
from hypothesis import strategies as st
from wsproto.connection import Connection, ConnectionType
from wsproto.events import CloseConnection

from actors.transport.frames import CLOSE, Frames, Piece
from tests.hostile import frame

PAYLOADS = st.one_of(st.binary(max_size=8), st.sampled_from([b"x" * n for n in (125, 126, 127, 65_535, 65_536)]))
GOOD = st.one_of(
    st.builds(frame, st.sampled_from([0, 1, 2]), PAYLOADS, fin=st.booleans()),
    st.builds(frame, st.sampled_from([8, 9, 10]), st.binary(max_size=125)),
)
ODD = st.one_of(
    st.builds(frame, st.sampled_from([3, 7, 11, 15]), PAYLOADS),
    st.builds(frame, st.sampled_from([1, 9]), st.binary(max_size=8), rsv=st.integers(1, 7)),
    st.builds(frame, st.sampled_from([1, 9]), st.binary(max_size=8), mask=st.just(b"mask")),
    st.builds(frame, st.sampled_from([8, 9, 10]), st.binary(min_size=126, max_size=200)),
    st.builds(frame, st.sampled_from([8, 9, 10]), st.binary(max_size=8), fin=st.just(False)),
)


def pieces(data: bytes, cuts: list[int]) -> list[Piece]:
    frames, found, start = Frames(), list[Piece](), 0
    for end in (*sorted(cut % (len(data) + 1) for cut in cuts), len(data)):
        frames.feed(data[start:end])
        start = end
        while piece := frames.take():
            found.append(piece)
    return found


@given(st.lists(GOOD, max_size=6), st.lists(st.integers(0, 1 << 20), max_size=6))
@example([frame(2, b"x" * 300)], [3])
def test_cuts_where_frames_begin(frames: list[bytes], cuts: list[int]) -> None:
    """However the bytes arrive, pieces join to the frames that were sent, and control frames come whole."""
    joined: list[bytes] = []
    for piece in pieces(b"".join(frames), cuts):
        if piece.first:
            joined.append(piece.data)
            assert piece.opcode == piece.data[0] & 0x0F
            if piece.opcode >= CLOSE:
                assert piece.data[2:] == piece.payload
        else:
            assert piece.opcode < CLOSE
            joined[-1] += piece.data
    assert joined == frames


@given(st.lists(GOOD, max_size=3), ODD, st.binary(max_size=50), st.lists(st.integers(0, 1 << 20), max_size=6))
@settings(max_examples=200)
def test_odd_frames_pass_unchanged(frames: list[bytes], odd: bytes, tail: bytes, cuts: list[int]) -> None:
    """From the first odd byte on everything passes as it came, and wsproto refuses it."""
    data = b"".join(frames) + odd + tail
    found = pieces(data, cuts)
    assert b"".join(piece.data for piece in found) == data
    assert sum(piece.first for piece in found) == len(frames)

    judge = Connection(ConnectionType.CLIENT)
    judge.receive_data(odd)
    assert [event.code for event in judge.events() if isinstance(event, CloseConnection)] == [1002]
