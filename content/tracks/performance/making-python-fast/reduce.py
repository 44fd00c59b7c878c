"""Range reduction: e**x is 2**k times e**r with x = k ln 2 + r, and r is never large."""

from math import ldexp

# ln 2 in two parts. The first has 21 zero bits at its end, so that k * LN2_HIGH is exact for
# every k that can occur; the second holds what the first leaves out.
LN2_HIGH = 6.93147180369123816490e-01
LN2_LOW = 1.90821492927058770002e-10


def exp(x):
    k = round(x / LN2_HIGH)
    r = (x - k * LN2_HIGH) - k * LN2_LOW
    total = term = 1.0
    n = 1
    while True:
        term *= r / n
        following = total + term
        if following == total:
            return ldexp(total, k)
        total = following
        n += 1


def exp_all(xs):
    return [exp(x) for x in xs]
