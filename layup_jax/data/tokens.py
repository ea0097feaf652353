"""Token ids as samples: windows of one long row of tokens, or rows with a class each.

Nouns: `WindowSamples`, `RowSamples`.

    tokens    a b c d e f g h      context 3
    inputs    a b c                windows start every 3 tokens, so that each token but the
    labels      b c d              first is predicted once; what is left at the end is dropped
    inputs          d e f
    labels            e f g
"""

from __future__ import annotations

import numpy as np

from layup_jax.data.batch import Batch, as_labels


class WindowSamples:
    """Windows of one row of tokens; a sample's labels are its inputs, one token on."""

    def __init__(self, tokens: np.ndarray, context: int) -> None:
        """Keeps `tokens` (num_tokens,), more than `context`, of any unsigned dtype."""
        windows = np.lib.stride_tricks.sliding_window_view(tokens, context + 1)
        self._windows = windows[::context]  # a view: no token is copied

    def __len__(self) -> int:
        """Windows, the last of which ends at or before the last token."""
        return len(self._windows)

    def gather(self, indices: np.ndarray, number: int) -> Batch:
        """As `Samples.gather`: int32 inputs and labels (n, context)."""
        del number  # nothing is random
        windows = self._windows[indices]
        return Batch(windows[:, :-1].astype(np.int32), windows[:, 1:].astype(np.int32))


class RowSamples:
    """Rows of tokens of one length, each with a label."""

    def __init__(self, tokens: np.ndarray, labels: np.ndarray) -> None:
        """Keeps `tokens` (num_samples, context), unsigned, and `labels` (num_samples,)."""
        self._tokens = tokens
        self._labels = as_labels(labels)

    def gather(self, indices: np.ndarray, number: int) -> Batch:
        """As `Samples.gather`: int32 inputs (n, context), labels (n,)."""
        del number  # nothing is random
        tokens = self._tokens.take(indices, axis=0).astype(np.int32)
        return Batch(tokens, self._labels.take(indices, axis=0))
