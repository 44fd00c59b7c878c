"""Stop as soon as a term is too small to change the sum."""


def exp(x):
    total = term = 1.0
    n = 1
    while True:
        term *= x / n
        following = total + term
        if following == total:
            return total
        total = following
        n += 1


def exp_all(xs):
    return [exp(x) for x in xs]
