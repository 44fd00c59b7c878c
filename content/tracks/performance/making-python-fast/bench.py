"""Times every version of e**x against the first, in one run, and checks what the article claims.

    python3 bench.py            a table
    python3 bench.py --check    exit 0 only if the results agree with math.exp and the claims hold
"""

import argparse
import importlib
import math
import random
import statistics
import sys
import time

STEPS = ["naive", "library", "reuse", "stop", "reduce", "horner", "table", "fast", "library_exp"]

# Versions from "reduce" on are right everywhere; the ones before it only for x >= 0.
REDUCED = STEPS[STEPS.index("reduce"):]

# How much faster than naive each step must be in the same run. Measured ratios are at least
# twice as large, so that a busy machine does not turn a true claim into a failure.
AT_LEAST = {"library": 2, "reuse": 20, "stop": 25, "reduce": 80, "horner": 150, "fast": 250}

# What is saved by attention to the interpreter alone, once the algorithm is right.
TIME_SAVED = 0.30


def sample(count, low, high):
    """The same numbers in every run."""
    numbers = random.Random(7)
    return [numbers.uniform(low, high) for _ in range(count)]


def worst_error(values, xs):
    """The largest relative difference from math.exp."""
    return max(abs(value - math.exp(x)) / math.exp(x) for value, x in zip(values, xs))


def measure(functions, xs, rounds):
    """Seconds per call of each function: a list of one time per round.

    The functions take turns, so that a busy spell of the machine falls on all of them.
    """
    times = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            begin = time.perf_counter()
            function(xs)
            times[name].append(time.perf_counter() - begin)
    return times


def print_table(times, count, base):
    yardstick = min(times[base])
    print(f"{'version':14}{'minimum':>12}{'median':>12}{'faster than ' + base:>24}")
    for name, seconds in times.items():
        least, middle = min(seconds) / count, statistics.median(seconds) / count
        ratio = yardstick / min(seconds)
        print(f"{name:14}{least * 1e6:9.3f} µs{middle * 1e6:9.3f} µs{ratio:22.2f} x")


def problems(modules, times):
    """Everything that contradicts the article, as sentences."""
    found = []
    upward = sample(2000, 0, 20)
    near = sample(2000, -20, 20)
    far = sample(2000, -700, 700)
    for name, module in modules.items():
        if (error := worst_error(module.exp_all(upward), upward)) > 1e-14:
            found.append(f"{name} is off by {error:.1e} for x from 0 to 20")
        for xs in (near, far) if name in REDUCED else ():
            if (error := worst_error(module.exp_all(xs), xs)) > 1e-15:
                found.append(f"{name} is off by {error:.1e} for x from {min(xs):.0f} to {max(xs):.0f}")
    for name, claimed in AT_LEAST.items():
        if (ratio := min(times["naive"]) / min(times[name])) < claimed:
            found.append(f"{name} is {ratio:.1f} times as fast as naive, not {claimed}")
    if (share := min(times["fast"]) / min(times["reduce"])) > 1 - TIME_SAVED:
        found.append(f"fast takes {share:.0%} of reduce's time, not {1 - TIME_SAVED:.0%} or less")
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="exit 1 if the article is wrong")
    parser.add_argument("--count", type=int, default=2000, help="numbers per call")
    parser.add_argument("--rounds", type=int, default=7, help="calls of each version")
    parser.add_argument("--no-help", action="store_true", help="also the changes that did not help")
    options = parser.parse_args()

    modules = {name: importlib.import_module(name) for name in STEPS}
    xs = sample(options.count, -20, 20)
    times = measure({name: m.exp_all for name, m in modules.items()}, xs, options.rounds)
    print_table(times, options.count, "naive")

    if options.no_help:
        no_help = importlib.import_module("no_help")
        for base, names in (("reuse", ["generator", "threads"]), ("horner", ["cached"]),
                            ("table", ["local_names", "processes"])):
            versions = {base: modules[base].exp_all} | {n: getattr(no_help, n) for n in names}
            print()
            print_table(measure(versions, xs, options.rounds), options.count, base)

    if options.check:
        found = problems(modules, times)
        for problem in found:
            print("WRONG:", problem, file=sys.stderr)
        sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
