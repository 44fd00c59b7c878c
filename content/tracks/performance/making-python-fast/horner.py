"""Since r is small the number of terms is known: write the sum as one expression."""

from math import ldexp

LN2_HIGH = 6.93147180369123816490e-01
LN2_LOW = 1.90821492927058770002e-10


def exp(x):
    k = round(x / LN2_HIGH)
    r = (x - k * LN2_HIGH) - k * LN2_LOW
    return ldexp(
        1 + r * (1 + r * (1 / 2 + r * (1 / 6 + r * (1 / 24 + r * (1 / 120 + r * (1 / 720
        + r * (1 / 5040 + r * (1 / 40320 + r * (1 / 362880 + r * (1 / 3628800
        + r * (1 / 39916800 + r * (1 / 479001600 + r * (1 / 6227020800))))))))))))),
        k,
    )


def exp_all(xs):
    return [exp(x) for x in xs]
