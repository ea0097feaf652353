"""Conformance suites: what every strategy, mixing rule, topology and transport has to do.

Each suite is a module with a tuple `CHECKS` of functions. A check takes what is to be tried and raises an
AssertionError that says what it violates. From pytest:

    import pytest
    from layup_jax.testing import mixing, strategies, topologies, transports
    from layup_jax.transport.local import run_threads

    def each(suite):
        return pytest.mark.parametrize("check", suite.CHECKS, ids=lambda check: check.__name__)

    @each(strategies)
    def test_my_strategy(check):
        check(lambda optimizer, num_workers: MyStrategy(optimizer, ...))

    @each(topologies)
    @pytest.mark.parametrize("num_workers", [1, 2, 3, 8])
    def test_my_topology(check, num_workers):
        check(MyTopology(num_workers))

    @each(mixing)
    def test_my_rule(check):
        check(MyRule())                                  # see `mixing.Rule`

    @each(transports)
    def test_my_transport(check):                        # a thread for each worker, or mpirun
        run_threads(my_endpoints(4), check, lambda: None)

A line `pytest.register_assert_rewrite("layup_jax.testing")` in conftest.py makes failures show more.
`network.Network` performs what a strategy asks for, for tests of what only that strategy promises. An
algorithm that passes trains by `layup_jax.run_local(..., strategy=...)`, registered or not.
"""
