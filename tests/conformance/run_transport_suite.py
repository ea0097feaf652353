"""Runs the transport suite, and gossip on top of it, under MPI.

    mpirun -n 4 python run_transport_suite.py host mpi4jax slow

"slow" is the data plane host, of which every second worker has a slow link.
Rank 0 prints one line for each check that passed; a rank that fails prints why and ends all.
"""

import functools
import sys
import traceback

import gossip
import jax

from layup_jax.artificial import configured_transport
from layup_jax.config import validated
from layup_jax.testing import transports

# One-way messages are beyond the blocking data plane; they mix more slowly than exchanges.
_GOSSIP = {
    "host": {"pairwise": 80, "push_sum": 320},
    "mpi4jax": {"pairwise": 80},
    "slow": {"pairwise": 80, "push_sum": 320},
}
_SLOW = {"ranks": (1, 3), "message_seconds": 1e-4, "pattern": "exponential", "link_mbit": 1000}


def _reaches_the_mean(mixing, steps, transport):
    outcomes = _gossip(transport, mixing, steps, patience=1.0, update_scale=0.0)
    gossip.assert_all_at_the_initial_mean(outcomes)


def _loses_nothing(mixing, steps, transport):
    """While updates are applied; every other worker asks without ever waiting."""
    _gossip(transport, mixing, steps // 4, patience=transport.rank % 2, update_scale=1.0)


def _gossip(transport, mixing, steps, patience, update_scale):
    size = transport.size
    scenario = gossip.Scenario(mixing, 5, (steps,) * size, (patience,) * size, update_scale)
    member = gossip.Member(transport, gossip.make_parts(mixing, size), scenario)
    outcomes = transport.gather(member.run())
    gossip.assert_orderly_end(outcomes)
    gossip.assert_nothing_lost(outcomes)
    return outcomes


def checks(data_plane):
    """Names and functions, in the order in which they run."""
    yield from ((each.__name__, each) for each in transports.CHECKS)
    for mixing, steps in _GOSSIP[data_plane].items():
        for each in (_reaches_the_mean, _loses_nothing):
            yield f"{mixing}{each.__name__}", functools.partial(each, mixing, steps)


def _made(data_plane):
    from layup_jax.transport.mpi import MpiTransport

    if data_plane == "slow":
        return configured_transport(validated({"delay": _SLOW}), MpiTransport("host"))
    return MpiTransport(data_plane)


def _run(data_plane):
    transport = _made(data_plane)
    for name, check in checks(data_plane):
        check(transport)
        transport.gather("all have passed it, so none can disturb it any more")
        if transport.rank == 0:
            print(f"passed {data_plane} {name}", flush=True)
    transport.close()
    transport.close()


def _main(data_planes):
    # Only here, for the import initialises MPI, and pytest imports this module for its list.
    from mpi4py import MPI

    jax.config.update("jax_enable_x64", True)
    try:
        for data_plane in data_planes:
            _run(data_plane)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        MPI.COMM_WORLD.Abort(1)


if __name__ == "__main__":
    _main(sys.argv[1:])
