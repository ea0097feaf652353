"""A recorded run, on any schedule and with any strategy, comes out the same to the last bit."""

import threading

import jax
import numpy as np
import pytest
from local_runs import endless_batches, make_config, make_task
from schedules import SCHEDULES, Bench, decoupled, endless_features, tiny_engine

import layup_jax
from layup_jax.draws import Draws
from layup_jax.engine.recording import READS, Recorded, Recording, digest, load, save
from layup_jax.engine.replay import Replay
from layup_jax.errors import RunFolderError
from layup_jax.run import Chosen, prepare

_CASES = [(name, "layer") for name in SCHEDULES]
_CASES += [(name, "model") for name in SCHEDULES if name != "partial"]  # one segment has no parts


@pytest.mark.parametrize(("name", "partition"), _CASES)
def test_any_schedule(name, partition):
    engine = tiny_engine(partition)
    bench = Bench(engine, SCHEDULES[name])
    bench.train(25)
    bench.pipeline.close()
    replay = Replay(engine, bench.recording, Draws(0, 0))
    states = replay.run(endless_features())
    assert digest(states) == digest(bench.store.snapshot())
    assert digest(states) != digest(engine.init())


def test_another_order_of_the_same_events_comes_out_different():
    """So what is recorded matters: it is no replay of something that had only one outcome."""
    engine = tiny_engine(dropout=0.0)
    bench = Bench(engine, decoupled(1, 1, 1))
    bench.train(6)
    bench.pipeline.close()
    first = bench.recording.events
    fresher = [
        event._replace(version=max(event.version - 1, 0)) if event.kind in READS else event
        for event in first
    ]
    assert fresher != first
    states = Replay(engine, Recording(fresher), Draws(0, 0)).run(endless_features())
    assert digest(states) != digest(bench.store.snapshot())


def test_who_watches_sees_each_state_after_its_event():
    engine = tiny_engine()
    bench = Bench(engine, SCHEDULES["decoupled 1:2"])
    bench.train(5)
    bench.pipeline.close()
    seen = []
    Replay(engine, bench.recording, Draws(0, 0)).run(
        endless_features(), lambda event, state: seen.append((event, state))
    )
    assert [event for event, _ in seen] == bench.recording.events
    last = {event.segment: state for event, state in seen}
    assert digest([last[i] for i in range(4)]) == digest(bench.store.snapshot())


@pytest.mark.parametrize(
    ("algorithm", "pipeline"),
    [
        ("pairwise", "interleaved"),
        ("pairwise", "decoupled"),
        ("push_sum", "interleaved"),
        ("push_sum", "decoupled"),
        ("a2cid2", "decoupled"),
        ("ddp", "interleaved"),
        ("ddp", "decoupled"),
        ("co2", "decoupled"),
        ("streaming_diloco", "interleaved"),
        ("sgp", "interleaved"),
        ("osgp", "decoupled"),
        ("lap_sgd", "interleaved"),
        ("lap_sgd", "shared"),
        ("lpp_sgd", "shared"),
        ("fused", "interleaved"),
    ],
)
def test_a_worker_among_others(algorithm, pipeline):
    """Whatever it asks for: what came from others is in the recording."""
    _is_replayed(make_config(algorithm, record=True, pipeline=pipeline, seed=3))


@pytest.mark.parametrize("algorithm", ["pairwise", "push_sum", "a2cid2", "sgp"])
def test_a_worker_among_others_with_narrow_messages(algorithm):
    transport = {"wire_dtype": "bfloat16"}
    messages = _is_replayed(make_config(algorithm, record=True, seed=3, transport=transport))
    assert {np.asarray(each.received).dtype for each in messages} == {np.dtype(np.uint16)}


def _is_replayed(config):
    """The messages of a run of two workers, once it was replayed."""
    task, run = make_task(), None
    run = layup_jax.run_local(task, endless_batches, num_workers=2, config=config)
    recorded = run.recorded
    validated = layup_jax.validated(config)
    chosen = Chosen(recorded.partition, "as recorded")
    engine = prepare(task, validated, chosen, 2).engine
    states = Replay(engine, recorded.recording, Draws(3, 0)).run(endless_batches(0, 2))
    assert digest(states) == recorded.digest
    return recorded.recording.messages


def test_a_failed_run_can_be_replayed_up_to_its_failure():
    engine = tiny_engine()
    bench = Bench(engine, SCHEDULES["decoupled 1:2"])

    def works():
        for work in bench.works(1000):
            if work.moment.step == 9:
                work.batch.inputs[0, 0] = np.nan
            yield work

    with pytest.raises(layup_jax.errors.NonFiniteError):
        list(bench.pipeline.run(works()))
    bench.pipeline.close()

    def batches():
        for step, batch in enumerate(endless_features()):
            if step == 9:
                batch.inputs[0, 0] = np.nan
            yield batch

    states = Replay(engine, bench.recording, Draws(0, 0)).run(batches())
    assert digest(states) == digest(bench.store.snapshot())


def test_a_recording_survives_its_file(tmp_path):
    run = layup_jax.run_local(
        make_task(), endless_batches, num_workers=2, config=make_config("pairwise", record=True)
    )
    path = tmp_path / "rank0" / "recording.npz"
    save(path, run.recorded)
    found = load(path)
    assert found.recording.events == run.recorded.recording.events
    assert found[1:] == run.recorded[1:]
    for mine, theirs in zip(found.recording.messages, run.recorded.recording.messages, strict=True):
        jax.tree.map(np.testing.assert_array_equal, mine, theirs)


@pytest.mark.parametrize("content", [None, b"", b"nonsense", b"PK\x03\x04"])
def test_what_is_no_recording_is_one_sentence(tmp_path, content):
    path = tmp_path / "recording.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RunFolderError, match=r"must be a recording, got .*; run again with ") as e:
        load(path)
    assert "\n" not in str(e.value)


def test_a_recording_of_nothing(tmp_path):
    save(tmp_path / "empty.npz", Recorded(Recording(), "none", ((0, 1),)))
    assert load(tmp_path / "empty.npz").recording.events == []


def test_threads_add_events_without_losing_any():
    recording, threads = Recording(), []
    event = tiny_event()
    for _ in range(4):
        threads.append(threading.Thread(target=lambda: [recording.add(event) for _ in range(500)]))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert recording.events == [event] * 2000


def tiny_event():
    from layup_jax.engine.recording import Event

    return Event("forward", 0, step=1, version=2)


def test_the_digest_sees_every_bit():
    state = tiny_engine().init()[0]
    other = state._replace(params=jax.tree.map(lambda x: x.at[0].add(1e-7), state.params))
    assert digest([state]) == digest([state._replace(opt_state=None)])
    assert digest([state]) != digest([other])
