"""Files that visitors send."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import PIL.Image
import pytest
from helpers.photos import turned


@pytest.fixture(scope="session")
def sent(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("sent")


@pytest.fixture(scope="session")
def head(sent) -> Path:
    PIL.Image.fromarray(turned(0)).save(sent / "head.png")
    return sent / "head.png"


@pytest.fixture(scope="session")
def two(sent) -> Path:
    """Two heads."""
    PIL.Image.fromarray(np.hstack([turned(0), turned(0)[:, ::-1]])).save(sent / "two.png")
    return sent / "two.png"


@pytest.fixture(scope="session")
def nobody(sent) -> Path:
    PIL.Image.new("RGB", (300, 200), "gray").save(sent / "nobody.png")
    return sent / "nobody.png"


@pytest.fixture(scope="session")
def broken(sent) -> Path:
    (sent / "broken.jpg").write_bytes(b"no picture")
    return sent / "broken.jpg"


@pytest.fixture(scope="session")
def clip(sent) -> Path:
    """A second of the head, moving."""
    with av.open(str(sent / "clip.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 320, 320, "yuv420p"
        for shift in range(10):
            frame = av.VideoFrame.from_ndarray(np.roll(turned(0), 2 * shift, 1))
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return sent / "clip.mp4"
