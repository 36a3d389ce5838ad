#!/usr/bin/env python3
"""Writes mixed.txt, a small trace, and miss-counts.csv, what each policy misses on it.

The definitions are those of the papers, on Python lists and dicts, so that neither the library
nor the simulator in test_evict.c could share a mistake with them. That the committed files are what
it writes:  python3 tests/golden/make.py --check
"""
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))


def rng(state):
    """splitmix64"""
    while True:
        state = (state + 0x9E3779B97F4A7C15) & (2**64 - 1)
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & (2**64 - 1)
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & (2**64 - 1)
        yield z ^ (z >> 31)


def trace():
    """Popular keys, a loop, scans, and keys used three times and never again; integers only.

    The last make S3-FIFO promote while its main queue is full, which is where its rules are easiest
    to get wrong.
    """
    r = rng(2024)
    keys = []
    scan = 5000
    while len(keys) < 6000:
        kind = next(r) % 10
        if kind < 5:  # low keys are the popular ones: the smaller of two
            for _ in range(20):
                keys.append(min(next(r) % 200, next(r) % 200))
        elif kind < 6:
            start = next(r) % 60
            keys.extend(1000 + (start + i) % 130 for i in range(40))
        elif kind < 7:
            keys.extend(range(scan, scan + 30))
            scan += 30
        else:
            keys.extend([2000 + next(r) % 3000 for _ in range(5)] * 3)
    return keys[:6000]


def fifo(keys, cap):
    queue, misses = [], 0
    for k in keys:
        if k in queue:
            continue
        misses += 1
        if len(queue) == cap:
            queue.pop(0)
        queue.append(k)
    return misses


def lru(keys, cap):
    queue, misses = [], 0
    for k in keys:
        if k in queue:
            queue.remove(k)
        else:
            misses += 1
            if len(queue) == cap:
                queue.pop(0)
        queue.append(k)
    return misses


def clock(keys, cap):
    queue, bit, misses = [], {}, 0
    for k in keys:
        if k in bit:
            bit[k] = 1
            continue
        misses += 1
        if len(queue) == cap:
            while bit[queue[0]]:
                bit[queue[0]] = 0
                queue.append(queue.pop(0))
            del bit[queue.pop(0)]
        queue.append(k)
        bit[k] = 0
    return misses


def sieve(keys, cap):
    queue, bit, misses = [], {}, 0  # queue[0] is the oldest
    hand = None  # a key
    for k in keys:
        if k in bit:
            bit[k] = 1
            continue
        misses += 1
        if len(queue) == cap:
            at = 0 if hand is None else queue.index(hand)
            while bit[queue[at]]:
                bit[queue[at]] = 0
                at = (at + 1) % len(queue)
            hand = queue[at + 1] if at + 1 < len(queue) else None
            del bit[queue.pop(at)]
        queue.append(k)
        bit[k] = 0
    return misses


def s3fifo(keys, cap):
    small, main, ghost, freq, misses = [], [], [], {}, 0
    main_limit = cap - max(1, cap // 10)
    ghost_limit = cap * 9 // 10
    for k in keys:
        if k in freq:
            freq[k] = min(freq[k] + 1, 3)
            continue
        misses += 1
        hot = k in ghost
        if hot:
            ghost.remove(k)
        while len(small) + len(main) >= cap:
            if len(main) > main_limit or not small:
                while freq[main[0]]:
                    freq[main[0]] -= 1
                    main.append(main.pop(0))
                del freq[main.pop(0)]
                continue
            while small:
                tail = small.pop(0)
                if freq[tail] >= 2:
                    freq[tail] = 0
                    main.append(tail)
                    continue
                del freq[tail]
                if ghost_limit:
                    if len(ghost) == ghost_limit:
                        ghost.pop(0)
                    ghost.append(tail)
                break
        (main if hot else small).append(k)
        freq[k] = 0
    return misses


POLICIES = (("FIFO", fifo), ("CLOCK", clock), ("LRU", lru), ("SIEVE", sieve), ("S3FIFO", s3fifo))
CAPACITIES = (1, 2, 3, 9, 10, 13, 99, 100, 257, 1000)


def files():
    keys = trace()
    lines = [" ".join(map(str, keys[i:i + 20])) for i in range(0, len(keys), 20)]
    yield "mixed.txt", "\n".join(lines) + "\n"
    rows = ["policy,capacity,misses"]
    for name, policy in POLICIES:
        rows.extend("%s,%d,%d" % (name, cap, policy(keys, cap)) for cap in CAPACITIES)
    yield "miss-counts.csv", "\n".join(rows) + "\n"


def main():
    check = sys.argv[1:] == ["--check"]
    if sys.argv[1:] and not check:
        print("usage: make.py [--check]", file=sys.stderr)
        return 2
    differ = 0
    for name, text in files():
        path = os.path.join(HERE, name)
        if check:
            with open(path, newline="") as f:
                if f.read() != text:
                    print("%s is not what make.py writes" % path, file=sys.stderr)
                    differ = 1
        else:
            with open(path, "w", newline="\n") as f:
                f.write(text)
    return differ


if __name__ == "__main__":
    sys.exit(main())
