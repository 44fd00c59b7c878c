"""Changes that sound faster and are not. Each is compared with the file it started from."""

from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import lru_cache
from math import ldexp

import horner
import reuse
import table

# Its processes start at the first use, so the first round pays for that and the minimum does not.
POOL = ProcessPoolExecutor(2)


def generator(xs):
    """reuse.py in a more elegant form: sum over a generator of terms."""

    def terms(x):
        term = 1.0
        yield term
        for n in range(1, reuse.TERMS):
            term *= x / n
            yield term

    return [sum(terms(x)) for x in xs]


def local_names(xs, ldexp=ldexp, table=table.TABLE, high=table.STEP_HIGH, low=table.STEP_LOW,
                per_step=table.PER_STEP):
    """table.py with every global made a local, and results.append looked up once."""
    results = []
    append = results.append
    for x in xs:
        n = round(x * per_step)
        r = (x - n * high) - n * low
        append(ldexp(
            table[n & 1023] * (1 + r * (1 + r * (1 / 2 + r * (1 / 6 + r * (1 / 24))))),
            n >> 10,
        ))
    return results


def cached(xs):
    """horner.py behind a cache, for numbers that do not repeat."""
    exp = lru_cache(maxsize=None)(horner.exp)
    return [exp(x) for x in xs]


def threads(xs):
    """reuse.py on two threads."""
    half = len(xs) // 2
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(reuse.exp_all, (xs[:half], xs[half:]))
    return first + second


def processes(xs):
    """table.py on two processes that are already running."""
    half = len(xs) // 2
    first, second = POOL.map(table.exp_all, (xs[:half], xs[half:]))
    return first + second
