"""What this worker wants communicated: one entry for each segment and lane, newest wins.

    outbox.put(Exchange(segment=3, peer=1))
    outbox.take()          # the oldest entry, with all others of its kind and peer

Memory is bounded by the number of segments and lanes. On a slow link messages become fresher and
rarer, and the compute thread never waits.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import NamedTuple

from layup_jax.types import Gossip


class OutboxStatistics(NamedTuple):
    """Counts since the start.

    Attributes:
      asked: requests put.
      coalesced: requests replaced by a newer one before they were served.
    """

    asked: int
    coalesced: int


class Outbox:
    """Coalescing set of requests.

    Threads: the compute thread puts, the communication thread takes. Blocks: never.
    After close: `put` is ignored; `take` still empties what is there.
    """

    def __init__(self) -> None:
        """Starts empty and open."""
        self._lock = threading.Lock()
        self._entries: OrderedDict[tuple[int, int], Gossip] = OrderedDict()
        self._closed = False
        self._asked = 0
        self._coalesced = 0

    def put(self, request: Gossip) -> None:
        """Adds a request; an older one of its segment and lane is dropped, its place in line kept."""
        with self._lock:
            if self._closed:
                return
            self._asked += 1
            self._coalesced += _key(request) in self._entries
            self._entries[_key(request)] = request

    def take(self) -> tuple[Gossip, ...]:
        """Removes and returns the oldest entry and all with the same kind and peer; () if empty."""
        with self._lock:
            if not self._entries:
                return ()
            oldest = next(iter(self._entries.values()))
            group = tuple(
                entry
                for entry in self._entries.values()
                if type(entry) is type(oldest) and entry.peer == oldest.peer
            )
            for entry in group:
                del self._entries[_key(entry)]
            return group

    def restore(self, group: tuple[Gossip, ...]) -> None:
        """Puts a taken group back at the head of the line, except where a newer request exists."""
        with self._lock:
            for entry in reversed(group):
                if _key(entry) not in self._entries:
                    self._entries[_key(entry)] = entry
                    self._entries.move_to_end(_key(entry), last=False)

    def close(self) -> None:
        """Takes no more requests; idempotent."""
        with self._lock:
            self._closed = True

    def __len__(self) -> int:
        return len(self._entries)

    def statistics(self) -> OutboxStatistics:
        """A snapshot of the counts."""
        with self._lock:
            return OutboxStatistics(self._asked, self._coalesced)


def _key(request: Gossip) -> tuple[int, int]:
    return request.segment, request.lane
