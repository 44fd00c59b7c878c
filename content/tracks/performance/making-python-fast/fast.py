"""table.py with every number a float, so that the interpreter's float instructions apply.

For finite x between -708 and 709.
"""

from math import ldexp

from table import PER_STEP, STEP_HIGH, STEP_LOW, TABLE

# At this size neighbouring doubles are exactly 1 apart, so adding it rounds to a whole number.
ROUND = 1.5 * 2.0 ** 52


def exp_all(xs):
    results = []
    for x in xs:
        f = x * PER_STEP + ROUND - ROUND
        r = (x - f * STEP_HIGH) - f * STEP_LOW
        n = int(f)
        results.append(ldexp(
            TABLE[n & 1023] * (1.0 + r * (1.0 + r * (1 / 2 + r * (1 / 6 + r * (1 / 24))))),
            n >> 10,
        ))
    return results
