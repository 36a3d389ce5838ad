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


class Past:
    """What a queue evicted lately, oldest first; None where a key was taken out."""

    def __init__(self, limit):
        self.limit, self.gone = max(1, limit), []

    def live(self):
        return sum(g is not None for g in self.gone)

    def add(self, key, used):
        self.gone = (self.gone + [(key, used)])[-self.limit:]

    def take(self, key):
        """(evictions since, when it was used), or None"""
        for i, g in enumerate(self.gone):
            if g and g[0] == key:
                self.gone[i] = None
                return len(self.gone) - i, g[1]
        return None


class Adaptive:
    """The rules in templates/runtime/adaptive.h, and none of its data structures."""

    ONE = 65536

    def __init__(self, cap):
        self.cap, self.now, self.leaving = cap, 0, 0
        self.small, self.main, self.freq, self.since = [], [], {}, {}
        self.of_small, self.of_main = Past(cap * 9 // 10), Past(cap * 9 // 20)
        self.least = max(self.ONE, self.ONE * cap // 100)
        self.target = max(self.least, self.ONE * cap // 10)

    def learn(self, more, own, other):
        step = min(max(self.ONE * other // own, self.ONE), 16 * self.ONE)
        if more:
            self.target = min(self.target + step, self.ONE * self.cap)
        else:
            self.target = max(self.target - step, self.least)

    def keep(self, key, uses):
        self.main.append(key)
        self.freq[key] = uses
        self.since[key] = self.now

    def main_gives(self, more):
        return not self.small or bool(
            self.main and self.ONE * (len(self.small) + more) < self.target)

    def outlasts(self, used):
        if self.freq[self.main[0]]:
            key = self.main.pop(0)
            self.keep(key, self.freq[key] - 1)
            if self.freq[self.main[0]]:
                return False
        return self.since[self.main[0]] < used

    def comes_back(self, key):
        n_small, n_main = self.of_small.live(), self.of_main.live()
        found, more = self.of_small.take(key), True
        if not found:
            found, more = self.of_main.take(key), False
        if not found:
            return False
        age, used = found
        if age <= max(1, self.cap // 4):
            self.learn(more, *((n_small, n_main) if more else (n_main, n_small)))
        full = len(self.freq) == self.cap
        if full and self.main and self.main_gives(0):
            return self.outlasts(used)
        return True

    def evict(self, more):
        while True:
            of_main = self.main_gives(more)
            key = (self.main if of_main else self.small).pop(0)
            uses = self.freq[key]
            if of_main and uses:
                self.keep(key, uses - 1)
                continue
            if not of_main:
                lucky = False
                if uses < 2:
                    self.leaving = (self.leaving + 1) % 64
                    lucky = self.leaving == 0
                if uses >= 2 or lucky:
                    self.keep(key, 0)
                    continue
            (self.of_main if of_main else self.of_small).add(key, self.since.pop(key))
            del self.freq[key]
            self.now += 1
            return

    def miss(self, key):
        hot = self.comes_back(key)
        if len(self.freq) == self.cap:
            self.evict(0 if hot else 1)
        (self.main if hot else self.small).append(key)
        self.freq[key] = 0
        self.since[key] = self.now


def adaptive(keys, cap):
    cache, misses = Adaptive(cap), 0
    for k in keys:
        if k in cache.freq:
            cache.freq[k] = min(cache.freq[k] + 1, 3)
        else:
            misses += 1
            cache.miss(k)
    return misses


POLICIES = (("FIFO", fifo), ("CLOCK", clock), ("LRU", lru), ("SIEVE", sieve), ("S3FIFO", s3fifo),
            ("ADAPTIVE", adaptive))
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
