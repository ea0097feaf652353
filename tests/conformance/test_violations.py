"""The suites notice what is wrong: methods with one mistake each, and the check that must find it."""

import itertools

import jax
import jax.numpy as jnp
import pytest

from layup_jax.mixing import push_sum
from layup_jax.strategies import LayUpOptions
from layup_jax.strategies.ddp import DDP
from layup_jax.strategies.layup import PairwiseLayUp, PushSumLayUp
from layup_jax.strategies.local_sgd import LocalSGD, Rounds
from layup_jax.strategies.sgp import SGP
from layup_jax.testing import mixing, strategies, topologies
from layup_jax.topology import Graph, OnePeerExponential, complete, ring
from layup_jax.types import AllReduce, Exchange, NeighbourGather


class Textbook(PairwiseLayUp):
    def receive(self, state, sent, payload, now):
        return state._replace(params=jax.tree.map(lambda x, y: (x + y) / 2, state.params, payload))


class KeepsItsWeight(PushSumLayUp):
    def payload(self, state, now):
        return state, (state.params, state.mixing / 2)


class HidesItsWeight(PushSumLayUp):
    weighted = False


class IgnoresWeights(PushSumLayUp):
    def receive(self, state, sent, payload, now):
        params, _ = push_sum.merge(state.params, jnp.ones(()), payload[0], jnp.ones(()))
        return state._replace(params=params, mixing=state.mixing + payload[1])


class DrawsFromState(PairwiseLayUp):
    _turn = itertools.count()

    def requests(self, event, draws):
        return (Exchange(event.segment, (draws.rank + 1 + next(self._turn) % 3) % 4),)


class AsksItself(PairwiseLayUp):
    def requests(self, event, draws):
        return (Exchange(event.segment, draws.rank),)


class AsksStrangers(PairwiseLayUp):
    def requests(self, event, draws):
        return (Exchange(event.segment, (draws.rank + 2) % 4),)


class AsksTwiceInOneLane(PairwiseLayUp):
    def requests(self, event, draws):
        return super().requests(event, draws) * 2


class AsksOtherwise(PairwiseLayUp):
    asks = AllReduce


class OneSided(SGP):
    def requests(self, event, draws):
        request = NeighbourGather(event.segment, ((draws.rank + 1) % 4,), ((draws.rank + 1) % 4,))
        return (request,) if self.topology.num_workers > 1 else ()


class LosesShares(SGP):
    def receive(self, state, sent, payload, now):
        return state._replace(params=super().receive(state, sent, payload, now).params)


class AveragesWhenDrawn(LocalSGD):
    def requests(self, event, draws):
        return (AllReduce(event.segment),) if draws.uniform(event.step) < 0.5 else ()


class DueOutOfOrder(LocalSGD):
    def requests(self, event, draws):
        return (AllReduce(event.segment, 3 * (1 - event.step % 2)),)


class HalvesTheMean(LocalSGD):
    def receive(self, state, sent, payload, now):
        return state._replace(params=jax.tree.map(lambda x: x / 2, payload))


class Widens(PairwiseLayUp):
    def receive(self, state, sent, payload, now):
        return state._replace(params=jax.tree.map(lambda x: x * jnp.float32(1), payload))


class Counts(PairwiseLayUp):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        self._calls = 0

    def apply_gradient(self, state, grads, now):
        self._calls += 1
        return super().apply_gradient(state, jax.tree.map(lambda g: g * self._calls, grads), now)


class Resets(PairwiseLayUp):
    def apply_gradient(self, state, grads, now):
        return super().apply_gradient(state, grads, now)._replace(model_state=())


class MeddlesWithTheOptimizer(PairwiseLayUp):
    def receive(self, state, sent, payload, now):
        return super().receive(state, sent, payload, now)._replace(opt_state=())


class SendsWholeNumbers(PairwiseLayUp):
    def payload(self, state, now):
        return state, (state.params, jnp.ones((), jnp.int32))


class CompilesAgain(PairwiseLayUp):
    def init_mixing(self, params):
        return jnp.asarray(0.0)  # weakly typed, unlike what follows

    def receive(self, state, sent, payload, now):
        after = super().receive(state, sent, payload, now)
        return after._replace(mixing=state.mixing + jnp.float32(1))


class Overshoots(PairwiseLayUp):
    def apply_gradient(self, state, grads, now):
        return super().apply_gradient(state, jax.tree.map(lambda g: 11 * g, grads), now)


class Forgets(PairwiseLayUp):
    """Both sides take the other's parameters: the sum is kept, and nobody comes nearer."""

    def receive(self, state, sent, payload, now):
        params = jax.tree.map(lambda x, gave, y: x + (y - gave), state.params, sent, payload)
        return state._replace(params=params)


def _gossip(kind, topology=complete):
    return lambda optimizer, workers: kind(optimizer, topology(workers), LayUpOptions())


def _rounds(kind):
    return lambda optimizer, workers: kind(optimizer, Rounds(2))


def _push(kind):
    return lambda optimizer, workers: kind(optimizer, OnePeerExponential(workers))


MISTAKES = [
    (_gossip(Textbook), "loses_nothing_of_what_is_late"),
    (_gossip(KeepsItsWeight), "keeps_the_weighted_sum"),
    (_gossip(KeepsItsWeight), "loses_nothing_by_giving"),
    (_gossip(HidesItsWeight), "weighs_in_float32"),
    (_gossip(IgnoresWeights), "keeps_the_weighted_sum"),
    (_gossip(IgnoresWeights), "brings_workers_to_their_mean"),
    (_gossip(DrawsFromState), "asks_the_same_of_the_same_event"),
    (_gossip(AsksItself), "asks_about_the_segment_just_updated"),
    (_gossip(AsksItself), "finds_nobody_to_ask_when_alone"),
    (_gossip(AsksStrangers, ring), "asks_neighbours_only"),
    (_gossip(AsksTwiceInOneLane), "asks_for_each_exchange_in_a_lane_of_its_own"),
    (_gossip(AsksOtherwise), "asks_about_the_segment_just_updated"),
    (_push(OneSided), "agrees_between_workers"),
    (_push(OneSided), "keeps_the_weighted_sum"),
    (_push(LosesShares), "keeps_the_weighted_sum"),
    (_push(LosesShares), "loses_nothing_where_workers_stop"),
    (_push(LosesShares), "loses_nothing_by_giving"),
    (_rounds(AveragesWhenDrawn), "agrees_between_workers"),
    (_rounds(AveragesWhenDrawn), "keeps_the_weighted_sum"),
    (_rounds(DueOutOfOrder), "is_due_in_the_order_of_asking"),
    (_rounds(HalvesTheMean), "keeps_the_weighted_sum"),
    (_rounds(HalvesTheMean), "stays_put_where_all_agree"),
    (_rounds(HalvesTheMean), "finds_the_mean_of_different_targets"),
    (_gossip(Widens), "keeps_shapes_and_dtypes"),
    (_gossip(Counts), "gives_the_same_for_the_same"),
    (_gossip(Resets), "hands_on_the_model_state"),
    (_gossip(MeddlesWithTheOptimizer), "touches_only_what_it_is_shown"),
    (_gossip(SendsWholeNumbers), "sends_what_can_travel"),
    (_gossip(CompilesAgain), "compiles_once"),
    (_gossip(Overshoots), "converges_on_a_quadratic"),
    (_gossip(Overshoots), "converges_with_late_messages"),
    (_gossip(Forgets), "brings_workers_to_their_mean"),
    (lambda optimizer, workers: DDP(optimizer), "applies_gradients_as_optax_does"),
    (_gossip(Overshoots), "trains_alone_as_optax_does"),
]


@pytest.mark.parametrize(("make", "name"), MISTAKES)
def test_a_mistake_in_a_strategy_is_found(make, name):
    found = {each.__name__: each for each in strategies.CHECKS + strategies.PROMISES}
    with pytest.raises(AssertionError):
        found[name](make)


class Halving:
    mutual = True

    def init(self, params):
        return params, jnp.ones(())

    def give(self, state):
        return state, state[0]

    def take(self, state, sent, message):
        return jax.tree.map(lambda x, gave, y: x + (y - gave) / 2, state[0], sent, message), state[
            1
        ]


class Swapping(Halving):
    def take(self, state, sent, message):
        return message, state[1]


class Following(Halving):
    mutual = False

    def take(self, state, sent, message):
        return jax.tree.map(lambda x, y: (x + y) / 2, state[0], message), state[1]


class Widening(Halving):
    def take(self, state, sent, message):
        return jax.tree.map(lambda y: jnp.float32(1) * y, message), state[1]


class Shrinking(Halving):
    def take(self, state, sent, message):
        return jax.tree.map(lambda y: 0.9 * y, message), state[1]


@pytest.mark.parametrize(
    ("rule", "name"),
    [
        (Swapping(), "reaches_the_mean"),
        (Following(), "keeps_the_mass"),
        (Widening(), "keeps_shapes_and_dtypes"),
        (Shrinking(), "leaves_equal_models_as_they_are"),
    ],
)
def test_a_mistake_in_a_mixing_rule_is_found(rule, name):
    found = {each.__name__: each for each in mixing.CHECKS}
    with pytest.raises(AssertionError):
        found[name](rule)
    found[name](Halving())


class Lopsided(Graph):
    def peer(self, rank, turn, uniform):
        return self.neighbours(rank)[0]


class Elsewhere(Graph):
    def peer(self, rank, turn, uniform):
        return (rank + 2) % 4

    def targets(self, rank, turn):
        return ((rank + 2) % 4,)


class NextInTurn(Graph):
    """Sends around the ring, but expects what comes from both sides."""

    def targets(self, rank, turn):
        return ((rank + 1) % 4,)

    def sources(self, rank, turn):
        return self.neighbours(rank)


class Undirected(OnePeerExponential):
    directed = False


class Lonely(Graph):
    def neighbours(self, rank):
        return () if rank == 3 else super().neighbours(rank)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (Lopsided, "peers_are_met_as_often_as_listed"),
        (Elsewhere, "peers_are_neighbours"),
        (Elsewhere, "targets_are_neighbours"),
        (NextInTurn, "sources_are_those_whose_target_one_is"),
        (Lonely, "neighbours_are_others"),
        (Undirected, "neighbours_are_mutual_unless_directed"),
    ],
)
def test_a_mistake_in_a_topology_is_found(kind, name):
    square = ("square", [(1, 3), (0, 2), (1, 3), (0, 2)])
    found = {each.__name__: each for each in topologies.CHECKS}
    with pytest.raises(AssertionError):
        found[name](kind(4) if kind is Undirected else kind(*square))
    found[name](Graph(*square))
