"""The captured exchange sessions that lie beside the checkout, where they do."""

import base64
import json
from pathlib import Path

import pytest

CAPTURES = Path(__file__).parents[2] / "shared" / "captures"


def server_frames(name: str) -> list[str | bytes]:
    """The frames a server sent in one captured session, in order; skips the test where there is no such file."""
    file = CAPTURES / f"{name}.ndjson"
    if not file.exists():
        pytest.skip(f"no captured session {name!r} beside the checkout")
    frames: list[str | bytes] = []
    for line in file.read_text("utf-8").splitlines():
        record = json.loads(line)
        if record.get("from") != "server":
            continue
        if "text" in record:
            frames.append(record["text"])
        elif "binary_text" in record:
            frames.append(record["binary_text"].encode())
        else:
            frames.append(base64.b64decode(record["binary_b64"]))
    return frames
