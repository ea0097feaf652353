"""Graphs given by hand or by file: what is refused, and that formats agree."""

import networkx as nx
import pytest

from layup_jax.errors import ConfigError
from layup_jax.topology import Graph, hypercube, torus
from layup_jax.topology.file import read_graph


@pytest.mark.parametrize(
    ("neighbours", "message"),
    [
        ([], "at least 1 worker, got 0"),
        ([(1,), ()], "both directions, got 0 -> 1"),
        ([(0,)], "between two of its 1 workers in both directions, got 0 -> 0"),
        ([(1,), (0, 2)], "got 1 -> 2"),
        ([(1, 1), (0,)], "both directions"),
        ([(1,), (0,), (3,), (2,)], "no way from 0 to 2; add edges"),
    ],
)
def test_refused(neighbours, message):
    with pytest.raises(ConfigError, match=message):
        Graph("mine", neighbours)


def test_special_sizes_are_named():
    with pytest.raises(ConfigError, match="a product, such as 4, 6 or 9, got 5"):
        torus(5)
    with pytest.raises(ConfigError, match="a power of two as number of workers, got 6"):
        hypercube(6)


def test_networkx_graphs_with_loops_are_refused():
    with pytest.raises(ConfigError, match="got 1 -> 1; mend it"):
        Graph.from_networkx(nx.Graph([(0, 1), (1, 1)]))


def test_directed_networkx_graphs_are_refused():
    with pytest.raises(ConfigError, match=r"graph\.to_undirected"):
        Graph.from_networkx(nx.DiGraph([(0, 1), (1, 0)]))


@pytest.mark.parametrize(
    ("suffix", "write"),
    [
        (".edgelist", nx.write_edgelist),
        (".adjlist", nx.write_adjlist),
        (".graphml", nx.write_graphml),
        (".gml", nx.write_gml),
    ],
)
def test_a_graph_from_a_file(tmp_path, suffix, write):
    path = tmp_path / f"graph{suffix}"
    write(nx.Graph([(2, 1), (1, 0), (0, 3), (3, 2), (0, 2)]), path)
    graph = read_graph(path)
    assert [graph.neighbours(rank) for rank in range(4)] == [(1, 2, 3), (0, 2), (0, 1, 3), (0, 2)]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("graph.txt", "0 1", "must end in one of .edgelist"),
        ("graph.edgelist", "0 one", "readable as edgelist"),
        ("graph.graphml", "<", "readable as graphml"),
        ("graph.edgelist", "1 2", "name its nodes 0 to 1, got 1, 2"),
        ("graph.edgelist", "", "must have edges, got none"),
        ("graph.edgelist", "0 1\n2 3", "no way from 0 to 2"),
    ],
)
def test_a_file_that_is_no_topology(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_graph(tmp_path / name)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ConfigError, match="was not found; correct its path"):
        read_graph(tmp_path / "none.gml")
