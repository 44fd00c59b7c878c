"""A table takes most of r away, and one loop does the whole list.

x = (1024 k + j) ln 2 / 1024 + r, so e**x = 2**k * 2**(j/1024) * e**r, where |r| < 0.00034 and
the series up to r**4 suffices.
"""

from math import ldexp

STEPS = 1024
TABLE = [2.0 ** (j / STEPS) for j in range(STEPS)]

# ln 2 / 1024 in two parts, as in reduce.py: dividing by a power of two loses nothing.
STEP_HIGH = 6.93147180369123816490e-01 / STEPS
STEP_LOW = 1.90821492927058770002e-10 / STEPS
PER_STEP = 1 / STEP_HIGH


def exp_all(xs):
    results = []
    for x in xs:
        n = round(x * PER_STEP)
        r = (x - n * STEP_HIGH) - n * STEP_LOW
        results.append(ldexp(
            TABLE[n & 1023] * (1 + r * (1 + r * (1 / 2 + r * (1 / 6 + r * (1 / 24))))),
            n >> 10,
        ))
    return results
