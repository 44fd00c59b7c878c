"""What retries do to a service that is slow for ten seconds. Simulated time, no network."""

import collections

CAPACITY = 100      # requests the service can finish in a second
LOAD = 80           # new requests from users in a second
PATIENCE = 1.0      # seconds after which a caller gives up on an attempt
TICK = 0.01


def simulate(attempts, budget, limit, seconds=60, report=10):
    """One line every `report` seconds: time, requests sent, answered in time, still queued.

    Each call is tried up to `attempts` times. For every first attempt the callers earn `budget`
    retries (at most ten are saved up). The service refuses what finds `limit` requests queued.
    """
    queue = collections.deque()                 # (call, when this attempt was sent)
    timeouts = collections.deque()              # (call, when sent, attempt)
    answered = set()
    calls = arrivals = credit = tokens = sent = good = 0
    for tick in range(round(seconds / TICK)):
        now = tick * TICK
        starting = []
        arrivals += LOAD * TICK
        while arrivals >= 1:                    # users arrive
            arrivals -= 1
            calls += 1
            tokens = min(tokens + budget, 10)
            starting.append((calls, 1))
        while timeouts and timeouts[0][1] + PATIENCE <= now:    # callers lose patience
            call, _, attempt = timeouts.popleft()
            if call not in answered and attempt < attempts and tokens >= 1:
                tokens -= 1
                starting.append((call, attempt + 1))
        for call, attempt in starting:
            sent += 1
            timeouts.append((call, now, attempt))
            if len(queue) < limit:
                queue.append((call, now))
        slow = 10 <= now < 20
        credit = min(credit + CAPACITY * TICK * (0.3 if slow else 1), 5)
        while credit >= 1 and queue:            # the service works, oldest first
            credit -= 1
            call, when = queue.popleft()
            if now - when < PATIENCE and call not in answered:  # else nobody listens any more
                good += 1
                answered.add(call)
        if (tick + 1) % round(report / TICK) == 0:
            yield f"{now + TICK:4.0f} s {sent / report:8.0f}/s {good / report:8.0f}/s {len(queue):8}"
            sent = good = 0


MANY = 10 ** 9
for name, case in {
    "one attempt": (1, 0, MANY),
    "three attempts": (3, MANY, MANY),
    "three attempts, retry budget of 10 %": (3, 0.1, MANY),
    "three attempts, retry budget of 10 %, queue of 50": (3, 0.1, 50),
    "three attempts, retry budget of 10 %, queue of 25": (3, 0.1, 25),
}.items():
    print(f"{name}\n  time       sent   answered   queued")
    for line in simulate(*case):
        print(line)
