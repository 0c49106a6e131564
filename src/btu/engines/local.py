"""One shard after the other, in this process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from btu.data.shards import Shard
from btu.engines.base import Columns, Encoded, Engine, encode_shard


class LocalEngine(Engine):
    """Reads in this process: at any time the texts of one shard are in memory."""

    name = "local"

    def encode(
        self, shards: Sequence[Shard], columns: Columns, source: str
    ) -> Iterator[tuple[int, Encoded]]:
        """See `Engine.encode`."""
        for place, shard in enumerate(shards):
            yield place, encode_shard(shard, columns, source)
