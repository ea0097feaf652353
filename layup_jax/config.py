"""The configuration of a run: frozen records, made from an ml_collections ConfigDict and checked.

config = default_config()                   # a ConfigDict, in configs/*.py
config.strategy.mixing = "push_sum"
run = validated(config)                     # a RunConfig, or one sentence about what is wrong
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from layup_jax.config_checks import check
from layup_jax.config_values import config_dict, record_of


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """Which network; `options` are the keyword arguments of its builder in layup_jax.models."""

    name: str = "conv"
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """Which data set, and how its records become samples.

    Attributes:
      name: of TFDS; `digits` and `stdlib` (text) are embedded.
      train_split: of TFDS, such as train[:90%].
      test_split: likewise.
      data_dir: folder of the data sets; None for TFDS's default.
      test_samples: at most so many of the test split are evaluated, evenly spread; None for all.
      context: tokens in a sample of text.
      tokenizer: bytes, or the path of a tokenizer.json; of text.
      augment: none | crop | crop_flip | resized_crop; of images, to train; crop does not mirror.
      crop_padding: pixels by which crop and crop_flip move an image at most, each way.
      image_size: height and width that resized_crop gives, and to test the centre crop.
      normalize: none | cifar10 | cifar100 | imagenet2012: whose mean and deviation of each channel.
      mixup: alpha, at least 0: images of a batch are mixed in pairs, and so are their labels; 0 for none.
      memory_limit_mb: a worker's images are read from disk batch by batch if they would need more.
    """

    name: str = "digits"
    train_split: str = "train"
    test_split: str = "test"
    data_dir: str | None = None
    test_samples: int | None = None
    context: int = 256
    tokenizer: str = "bytes"
    augment: str = "none"
    crop_padding: int = 4
    image_size: int = 224
    normalize: str = "none"
    mixup: float = 0.0
    memory_limit_mb: int = 256


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """Optimizer and schedule. No weight decay on vectors (biases, normalisation).

    Attributes:
      name: sgd | adamw.
      learning_rate: after the warm-up.
      reference_batch: samples of the global batch that `learning_rate` is for. The rate is multiplied by
        what the workers' batches together, with accumulation, are times as large; of workers that never
        communicate (`local`, `fused`), by that of one. None leaves it alone.
      momentum: of sgd.
      weight_decay: of matrices and kernels.
      clip_norm: largest norm of a gradient, of one segment each: a layer is updated before the gradients
        of those below it exist, so there is no global norm but with `partition` model.
      accumulate_steps: steps whose mean gradient makes one update of a segment.
      average_decay: of an exponential moving average of the parameters (EMA), which is then what is
        evaluated, averaged over workers and returned; None for none.
      schedule: constant | cosine | step; counted in updates.
      warmup_steps: from 0 to the learning rate.
      warmup_epochs: the same in epochs, as `stop.epochs` counts them.
      decay_steps: length of the cosine, and of what `decay_at` divides; None: the updates of all steps.
      decay_at: fractions of the length, in (0, 1), at which `step` multiplies the rate by `decay_factor`.
      decay_factor: in (0, 1].
    """

    name: str = "sgd"
    learning_rate: float = 0.1
    reference_batch: int | None = None
    momentum: float = 0.9
    weight_decay: float = 0.0
    clip_norm: float | None = None
    accumulate_steps: int = 1
    average_decay: float | None = None
    schedule: str = "constant"
    warmup_steps: int = 0
    warmup_epochs: float = 0.0
    decay_steps: int | None = None
    decay_at: tuple[float, ...] = ()
    decay_factor: float = 0.1


@dataclasses.dataclass(frozen=True)
class StrategyConfig:
    """Which algorithm, and its options; None leaves an option to the algorithm.

    Attributes:
      name: layup | a2cid2 | gosgd | ad_psgd | sgp | osgp | d_psgd | ddp | local_sgd | slowmo | co2 |
        diloco | streaming_diloco | pd_asgd | hogwild | lap_sgd | lpp_sgd | local | fused;
        `layup list` says what they are.
      mixing: pairwise | push_sum; of layup and pd_asgd.
      peer_per: step | segment; of layup, pd_asgd, gosgd and ad_psgd, see `LayUpOptions`.
      probability: of asking for communication, in (0, 1]; of the same.
      rate: exchanges of a worker for each of its gradients, in expectation; of a2cid2.
      topology: complete | exponential | hypercube | one_peer_exponential | ring | star | torus, or the
        path of a graph that networkx reads (.edgelist, .adjlist, .graphml, .gml); of all that gossip.
      period: H, steps between two averages; of local_sgd (8), slowmo (48), co2 (48), diloco (500) and
        streaming_diloco (100).
      local_from: step before which every step is followed by an average; of local_sgd, then called
        post-local SGD, and slowmo and diloco.
      outer_learning_rate: of slowmo (1), co2 (0.4; together with the momentum below 1), diloco (0.7) and
        streaming_diloco (0.7).
      outer_momentum: of slowmo (0.5), co2 (0.5), diloco (0.9) and streaming_diloco (0.9).
      outer_clip: largest magnitude of any element of the momentum; of co2.
      fragments: P, that take turns; of streaming_diloco.
      delay_steps: tau, steps taken while a fragment is averaged, below H / P; of streaming_diloco.
      local_share: share of the local parameters in what is gone on from; of streaming_diloco.
    """

    name: str = "layup"
    mixing: str = "pairwise"
    peer_per: str = "step"
    probability: float = 1.0
    rate: float = 1.0
    topology: str | None = None
    period: int | None = None
    local_from: int = 0
    outer_learning_rate: float | None = None
    outer_momentum: float | None = None
    outer_clip: float | None = None
    fragments: int = 2
    delay_steps: int = 1
    local_share: float = 0.5


@dataclasses.dataclass(frozen=True)
class ThreadsConfig:
    """Threads of the schedules `decoupled` and `shared`.

    Attributes:
      ratio: auto | forward:backward threads of `decoupled`, such as "1:2"; auto measures, and goes on
        doing so.
      queue: tapes that may wait between forward and backward threads; None: the larger number of these.
      weights: stored | live; parameters at which a backward pass differentiates: those of its forward
        pass, or the newest.
      shared: threads of `shared`.
      partial_from: steps of a thread before its partial gradients begin; of lpp_sgd.
      forward_devices: indices of local devices that forward threads take in turn; () for the default.
      backward_devices: likewise; parameters live on the first.
    """

    ratio: str = "1:2"
    queue: int | None = None
    weights: str = "stored"
    shared: int = 2
    partial_from: int = 20
    forward_devices: tuple[int, ...] = ()
    backward_devices: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True)
class TransportConfig:
    """How messages travel; None and "auto" let the program choose and say what it chose.

    Attributes:
      data_plane: auto | mpi4jax | host.
      share: of one processor's time for communication, in (0, 1]; None: a small one where workers
        outnumber processors, no limit elsewhere.
      sends_in_flight: pushes under way to one peer, above which others are asked in its place.
      wire_dtype: float32 | bfloat16; of arrays of parameters in messages from worker to worker, which
        halves their bytes; also of batch statistics that go along. Scalars, push-sum weights among them,
        stay in float32, and so do sums over all workers: methods that only sum are refused. Pairwise
        averages keep the sum over workers all the same; push-sum to within that rounding.
    """

    data_plane: str = "auto"
    share: float | None = None
    sends_in_flight: int = 4
    wire_dtype: str = "float32"


@dataclasses.dataclass(frozen=True)
class StopConfig:
    """When a worker stops: at whichever comes first.

    Attributes:
      steps: of each worker; None where epochs alone decide.
      epochs: of each worker, over its share of the data: all together see the data so often. Turned into
        steps at the start, which schedules go by. Of documents, whose number of samples is not known,
        and of data from a function, say `steps`.
      seconds: of training, evaluation left out.
      samples: of all workers together, however unequally fast they are; met within about a step.
    """

    steps: int | None = 300
    epochs: float | None = None
    seconds: float | None = None
    samples: int | None = None


@dataclasses.dataclass(frozen=True)
class EvaluationConfig:
    """When to evaluate, which model, and the accuracy whose time is reported.

    Attributes:
      every_steps: of each worker, until `stop.steps`; one more follows at the end, the only one with 0.
      model: mean | own; what is evaluated while training: the mean model of all workers too, which takes
        a sum of all parameters over the network and is known once the slowest worker has got there; or
        each worker's own alone, which sends nothing. At the end it is both.
      target: test accuracy of the evaluated model, in (0, 1]; None: no time is of interest. Of workers'
        own models the time is that by which half of the workers had reached it.
    """

    every_steps: int = 50
    model: str = "mean"
    target: float | None = None


@dataclasses.dataclass(frozen=True)
class DelayConfig:
    """Artificial stragglers: some workers are slowed down, or their messages.

    Attributes:
      ranks: whom all of this concerns; "all" for every worker.
      seconds: slept in every step before its forward pass.
      backward_seconds: slept in every step before its backward pass.
      message_seconds: that every message sent takes longer, sums included.
      pattern: constant | exponential | every; how these seconds are spread over steps and messages: all
        the same; exponentially distributed with that mean, drawn from `config.seed`; or in full at each
        `every`-th step or message and not at all in between.
      every: of the pattern of that name.
      slowdown: a step takes so many times as long, emulation included, delays not; at least 1.
      link_mbit: megabits a second that these workers can send, one message after the other; None for no
        limit.
    """

    ranks: tuple[int, ...] | str = ()
    seconds: float = 0.0
    backward_seconds: float = 0.0
    message_seconds: float = 0.0
    pattern: str = "constant"
    every: int = 1
    slowdown: float = 1.0
    link_mbit: float | None = None

    def concerns(self, rank: int) -> bool:
        """Whether this worker is among them."""
        if isinstance(self.ranks, str):
            return self.ranks == "all"
        return rank in self.ranks

    def describe(self) -> str:
        """Who is slowed down and how, in words; empty if nobody is."""
        each = {
            f"{self.slowdown:g} times slower": self.slowdown > 1,
            f"{self.seconds:g} s before a forward pass": self.seconds,
            f"{self.backward_seconds:g} s before a backward pass": self.backward_seconds,
            f"messages {self.message_seconds:g} s late": self.message_seconds,
            f"a link of {self.link_mbit or 0:g} Mbit/s": self.link_mbit,
        }
        words = ", ".join(text for text, holds in each.items() if holds)
        if not (self.ranks and words):
            return ""
        if self.pattern == "every":
            words += f" (every {self.every})"  # steps or messages
        elif self.pattern != "constant":
            words += f" ({self.pattern})"
        if isinstance(self.ranks, str):
            return f"all workers: {words}"
        noun = "worker" if len(self.ranks) == 1 else "workers"
        return f"{noun} {', '.join(map(str, self.ranks))}: {words}"


@dataclasses.dataclass(frozen=True)
class EmulationConfig:
    """An emulated accelerator: layers take longer than they compute, and leave the cores free meanwhile.

    It shows with few cores how communication overlaps with computation. A segment sleeps for all of its
    layers that have parameters, so the total does not depend on the partition. Summary and figure of
    such a run say so.

    Attributes:
      forward_seconds: slept in a forward pass for each layer with parameters.
      backward_seconds: likewise in a backward pass, before the update.
    """

    forward_seconds: float = 0.0
    backward_seconds: float = 0.0

    @property
    def is_set(self) -> bool:
        """Whether there is any."""
        return self.forward_seconds > 0 or self.backward_seconds > 0


@dataclasses.dataclass(frozen=True)
class HostConfig:
    """How workers sit on a machine; "auto" does on CPUs what was measured to be best.

    Attributes:
      bind: auto | cores | none. Gives each worker cores of its own.
    """

    bind: str = "auto"


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """Everything a run needs.

    Attributes:
      name: of the run folder.
      output: folder that holds run folders.
      seed: of initial parameters, data order, peers and dropout.
      batch_size: samples per step of one worker.
      local_devices: of each worker, which share its batches in equal parts; workers of one process take
        theirs in turn.
      prefetch: batches that are placed on the device ahead of their step; None: 2, on CPUs 0.
      partition: layer | model | auto | a number of segments | a size such as "64kB".
      pipeline: auto | interleaved | decoupled | shared; how forward and backward passes are scheduled.
        auto is decoupled for pd_asgd, shared for hogwild, lap_sgd and lpp_sgd, else interleaved.
      compute_dtype: float32 | bfloat16; of activations and products. Parameters stay in float32.
      remat: none | dots | full; what a backward pass computes again in place of keeping it: elementwise
        operations, all but matrix products, all but the inputs of a segment.
      batch_statistics: local | gossip | reestimate; what workers make of running statistics (BatchNorm):
        each keeps its own; or they travel with the parameters of their segment; or at the end each worker
        makes those of the mean model anew, from its own data. The result of a run has their mean.
      record: whether each worker writes down who read and wrote what, for `layup replay`; grows with the
        run, and with communication by every message.
      log_every_steps: how often a worker writes a line of metrics.
      tensorboard: whether to write TensorBoard events too.
      profile: whether the summary says how much of what the hardware can do was used (MFU) and where time
        went; rank 0 counts and measures for that before training, half a second for small models. None:
        with `layup train` and `run_mpi` yes, with `run_local` no.
    """

    name: str = "run"
    output: str = "runs"
    seed: int = 0
    batch_size: int = 32
    local_devices: int = 1
    prefetch: int | None = None
    partition: str | int = "auto"
    pipeline: str = "auto"
    compute_dtype: str = "float32"
    remat: str = "none"
    batch_statistics: str = "local"
    record: bool = False
    log_every_steps: int = 10
    tensorboard: bool = False
    profile: bool | None = None
    model: ModelConfig = ModelConfig()
    data: DataConfig = DataConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    strategy: StrategyConfig = StrategyConfig()
    threads: ThreadsConfig = ThreadsConfig()
    transport: TransportConfig = TransportConfig()
    stop: StopConfig = StopConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    delay: DelayConfig = DelayConfig()
    emulation: EmulationConfig = EmulationConfig()
    host: HostConfig = HostConfig()


def default_config():
    """A ConfigDict with every key at its default: the start of each file in configs/.

    Returns:
      An ml_collections.ConfigDict; keys that can be None take a value of their type by override.
    """
    return config_dict(RunConfig)


def validated(config: Mapping[str, Any]) -> RunConfig:
    """Checks a configuration.

    Args:
      config: a ConfigDict, or nested mappings; missing keys take their defaults.

    Returns:
      The frozen record.

    Raises:
      ConfigError: unknown key, wrong type, value out of range, or values that do not go together.
    """
    record = record_of(RunConfig, config)
    check(record)
    return record


def to_dict(record: RunConfig) -> dict[str, Any]:
    """The inverse of `validated`: nested dicts of plain values, fit for JSON."""
    return dataclasses.asdict(record)
