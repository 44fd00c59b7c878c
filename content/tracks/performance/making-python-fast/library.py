"""The textbook sum, with the factorial of the standard library, which is written in C."""

from math import factorial

TERMS = 100


def exp(x):
    total = 0.0
    for n in range(TERMS):
        total += x ** n / factorial(n)
    return total


def exp_all(xs):
    return [exp(x) for x in xs]
