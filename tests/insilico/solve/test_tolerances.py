"""What may be asked of a solve's exactness."""

import math

import pytest

from insilico.solve import Tolerances


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"relative": -1e-6}, "relative must be from 0 to below 1; found -1e-06"),
        ({"relative": math.nan}, "relative must be from 0 to below 1; found nan"),
        ({"relative": 1.0}, "relative must be from 0 to below 1; found 1.0"),
        ({"absolute": -1.0}, "absolute must be finite and not below 0; found -1.0"),
        ({"absolute": math.nan}, "absolute must be finite and not below 0; found nan"),
        ({"relative": 0.0, "absolute": 0.0}, "are both 0"),
        ({"max_steps": 0}, "max_steps must be at least 1; found 0"),
        ({"step": 0.0}, "step must be a time above 0; found 0.0"),
    ],
)
def test_what_no_solve_can_keep_to_is_refused(wrong, said):
    with pytest.raises(ValueError) as error:
        Tolerances(**wrong)
    assert said in str(error.value)


def test_either_tolerance_alone_is_enough():
    assert Tolerances(relative=0.0).absolute > 0
    assert Tolerances(absolute=0.0).relative > 0
