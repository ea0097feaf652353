"""The count of samples over all workers, which are told of each other's more often towards the end."""

from layup_jax.transport.local import local_transports
from layup_jax.transport.tally import Tally


def _deliver(transports, tallies):
    """Tells and takes until nothing more is said; the number of messages."""
    count = 0
    for tally in tallies:
        tally.advance()
    for transport, tally in zip(transports, tallies, strict=True):
        while (message := transport.poll()) is not None:
            tally.take(message)
            count += 1
    return count


def test_all_stop_within_a_step_of_the_target():
    target, batch, workers = 100_000, 32, 4
    transports = local_transports(workers)
    tallies = [Tally(transport, target) for transport in transports]
    messages = steps = 0
    while not all(tally.is_reached() for tally in tallies):
        for rank, tally in enumerate(tallies):
            if not tally.is_reached():
                for _ in range(rank + 1):  # unequally fast
                    tally.add(batch)
        messages += _deliver(transports, tallies)
        steps += 1
    done = sum(tally._samples[rank] for rank, tally in enumerate(tallies))
    assert target <= done <= target + workers * workers * batch
    assert messages < steps  # not every step: far fewer than 4 * 3 a step


def test_what_is_not_known_yet_is_less_than_a_quarter_of_what_is_left():
    transports = local_transports(2)
    tallies = [Tally(transport, 1000) for transport in transports]
    for _ in range(60):
        for tally in tallies:
            tally.add(8)
        _deliver(transports, tallies)
        true = sum(tally._samples[rank] for rank, tally in enumerate(tallies))
        for tally in tallies:
            assert true - tally.total() <= (1000 - tally.total()) / 4


def test_whoever_tells_is_woken_when_it_is_time():
    woken = []
    tally = Tally(local_transports(2)[0], 160, lambda: woken.append(tally.total()))
    for _ in range(5):
        tally.add(8)
    assert woken == [24, 32, 40]  # 24 is an eighth of the 136 that are left, and more


def test_without_a_target_nobody_is_told():
    transports = local_transports(2)
    tallies = [Tally(transport, None) for transport in transports]
    tallies[0].add(10**9)
    assert not tallies[0].is_reached()
    assert _deliver(transports, tallies) == 0


def test_one_worker_counts_alone():
    tally = Tally(local_transports(1)[0], 64)
    tally.add(32)
    assert tally.advance() == []
    assert not tally.is_reached()
    tally.add(32)
    assert tally.is_reached()
