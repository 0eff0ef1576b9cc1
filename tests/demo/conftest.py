"""Files that visitors send, and the thread that paints for them."""

import threading
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from helpers.clips import encode
from helpers.photos import turned

from faceanon_hub.demo.painter import painting


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
    return encode(sent / "clip.mp4", [np.roll(turned(0), 2 * shift, 1) for shift in range(10)], rate=10)


@pytest.fixture
def held():
    """The painter, busy until it is let go."""
    let_go = threading.Event()
    holding = threading.Thread(target=painting(let_go.wait), args=(60,))
    holding.start()
    yield let_go
    let_go.set()
    holding.join()
