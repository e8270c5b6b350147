"""Numbers as a reader of a report wants them: rounded to their error, with a real minus sign."""

from __future__ import annotations

import math
from typing import NamedTuple

NOT_AVAILABLE = "n/a"


class Measured(NamedTuple):
    """A number and its Monte-Carlo error as text; both are empty where there is none.

    `bound` stands in place of an error that cannot be estimated: `below 7.2`.
    """

    value: str
    error: str = ""
    bound: str = ""

    def __str__(self) -> str:
        if self.bound:
            return f"{self.value} ({self.bound})"
        return f"{self.value} ± {self.error}" if self.error else self.value

    @property
    def percent(self) -> str:
        """The same as a percentage inside a sentence."""
        if self.bound:
            return f"{self.value} % ({self.bound} %)"
        return self.value if self.value == NOT_AVAILABLE else f"{self} %"


def fixed(value: float, decimals: int) -> str:
    """`value` with that many decimals, groups of thousands, and no sign on a zero."""
    if not math.isfinite(value):
        return NOT_AVAILABLE
    text = f"{value:,.{max(decimals, 0)}f}"
    negative = text.startswith("-") and any(digit in text for digit in "123456789")
    text = text.lstrip("-")
    return f"\N{MINUS SIGN}{text}" if negative else text


def whole(value: float) -> str:
    """A count."""
    return fixed(value, 0)


def counted(number: int, noun: str) -> str:
    """A count with what is counted, in the plural unless it is one: `1 trial`, `1,200 trials`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def significant(value: float, digits: int = 3) -> str:
    """`value` to that many significant digits, in plain notation where that is readable."""
    if not math.isfinite(value):
        return NOT_AVAILABLE
    if value == 0:
        return "0"
    if not 1e-4 <= abs(value) < 1e7:
        mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
        sign = "\N{MINUS SIGN}" if mantissa.startswith("-") else ""
        power = int(exponent)
        raised = f"{'\N{MINUS SIGN}' if power < 0 else ''}{abs(power)}"
        return f"{sign}{mantissa.lstrip('-')}e{raised}"
    decimals = digits - 1 - math.floor(math.log10(abs(value)))
    return fixed(value, decimals)


def rounded(value: float, decimals: int = 1) -> str:
    """At most that many decimals, without zeros at the end."""
    text = fixed(value, decimals)
    return text.rstrip("0").rstrip(".") if "." in text else text


def plain(value: float) -> str:
    """A number as somebody would write it, with the digits it has."""
    if not math.isfinite(value):
        return NOT_AVAILABLE
    text = f"{value:,g}"
    return significant(value) if "e" in text else text.replace("-", "\N{MINUS SIGN}")


def decimals_for(error: float) -> int:
    """Decimals that an error of this size leaves: one significant digit of it, two after a 1.

    The second digit keeps rounding of the error below 5 % where one digit would be off by up to a
    half.
    """
    if not math.isfinite(error) or error <= 0:
        return 2
    exponent = math.floor(math.log10(error))
    digits = 2 if error / 10.0**exponent < 1.95 else 1
    return min(max(digits - 1 - exponent, 0), 9)


def measured(value: float, error: float) -> Measured:
    """`value` rounded to its `error`; three significant digits where the error is unknown."""
    if not math.isfinite(value):
        return Measured(NOT_AVAILABLE)
    if not math.isfinite(error) or error <= 0:
        return Measured(significant(value))
    decimals = decimals_for(error)
    return Measured(fixed(value, decimals), fixed(error, decimals))


def share(value: float, error: float, trials: float) -> Measured:
    """A share of simulated trials in percent.

    Where none or all of them count, the binomial standard error is zero and says nothing; then the
    95 % bound on the share is given instead (Clopper & Pearson, Biometrika 1934;26:404-413).
    """
    if not math.isfinite(value) or trials < 1:
        return Measured(NOT_AVAILABLE)
    if value in (0.0, 1.0) and math.isfinite(trials):
        missing = 100 * (1 - 0.05 ** (1 / trials))
        if value == 0.0:
            return Measured("0", bound=f"below {significant(missing, 2)}")
        return Measured("100", bound=f"above {fixed(100 - missing, decimals_for(missing))}")
    return measured(100 * value, 100 * error)


def interval(lower: float, upper: float) -> str:
    """Both ends with the decimals that half its width deserves."""
    if not (math.isfinite(lower) and math.isfinite(upper)):
        return NOT_AVAILABLE
    half = abs(upper - lower) / 2
    decimals = 2 if half == 0 else min(max(1 - math.floor(math.log10(half)), 0), 9)
    return f"{fixed(lower, decimals)} to {fixed(upper, decimals)}"


def quartiles(low: float, middle: float, high: float) -> str:
    """`median (lower to upper)` with the decimals that the spread deserves; one number if equal."""
    if low == high:
        return plain(middle)
    width = abs(high - low)
    decimals = min(max(1 - math.floor(math.log10(width)), 0), 6) if math.isfinite(width) else 0
    low_text, high_text = fixed(low, decimals), fixed(high, decimals)
    return f"{fixed(middle, decimals)} ({low_text} to {high_text})"
