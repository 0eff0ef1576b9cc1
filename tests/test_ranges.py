import math

import numpy as np
import pytest

from faceanon_hub.ranges import check_number


@pytest.mark.parametrize("value", [0.5, 1, 2, np.float32(1.5), np.int64(2)])
def test_numbers_in_range_pass(value):
    check_number("strength", value, 0.5, 2)


@pytest.mark.parametrize("value", [0.4, 2.1, -math.inf, math.inf, math.nan, np.nan, True, None, "1", [1], 1j, 10**400])
def test_all_else_is_refused(value):
    with pytest.raises(ValueError, match="`strength` must be a number between 0.5 and 2, not"):
        check_number("strength", value, 0.5, 2)


def test_whole_numbers():
    check_number("size", 3, 1, 4, whole=True)
    for value in (2.0, 2.5, np.float64(2), True):
        with pytest.raises(ValueError, match="whole number between 1 and 4"):
            check_number("size", value, 1, 4, whole=True)


def test_no_upper_end_is_not_infinite():
    check_number("workers", 10**6, 1, math.inf)
    with pytest.raises(ValueError, match="number at least 1, not inf"):
        check_number("workers", math.inf, 1, math.inf)


def test_messages_stay_short():
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        check_number("strength", "x" * 10**6, 0, 1)
    assert len(str(caught.value)) < 200
