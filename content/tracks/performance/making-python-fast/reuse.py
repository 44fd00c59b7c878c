"""Each term from the one before it: x**n / n! is the previous term times x / n."""

TERMS = 100


def exp(x):
    total = term = 1.0
    for n in range(1, TERMS):
        term *= x / n
        total += term
    return total


def exp_all(xs):
    return [exp(x) for x in xs]
