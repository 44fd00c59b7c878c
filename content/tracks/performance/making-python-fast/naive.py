"""e to the power of x by the textbook: the sum of x**n / n! for n = 0, 1, 2, …"""

TERMS = 100


def factorial(n):
    product = 1
    for factor in range(2, n + 1):
        product *= factor
    return product


def exp(x):
    total = 0.0
    for n in range(TERMS):
        total += x ** n / factorial(n)
    return total


def exp_all(xs):
    return [exp(x) for x in xs]
