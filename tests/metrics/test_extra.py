"""What the metrics say where the extra `eval` is not installed."""

import sys

import numpy as np
import pytest

from faceanon_hub import MissingDependencyError, metrics
from faceanon_hub.metrics import expression, identity


@pytest.mark.parametrize(
    ("package", "call"),
    [
        ("scipy", lambda photo, points: metrics.median_interval(np.arange(3))),
        ("dlib", lambda photo, points: metrics.DlibFaces()),
        ("dlib", lambda photo, points: metrics.DlibSearch()),
        ("dlib", lambda photo, points: metrics.dlib_landmarks(photo, points)),
        ("dlib", lambda photo, points: metrics.DlibRecognizer()(photo, points)),
    ],
)
def test_without_its_package_the_extra_is_named(package, call, portrait, face, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    for cached in (expression._predictor, identity._dlib):
        cached.cache_clear()
    with pytest.raises(MissingDependencyError, match=r"faceanon-hub\[eval\]"):
        call(portrait, face.landmarks)
