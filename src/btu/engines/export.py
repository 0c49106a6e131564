"""Rows of shards, parted into files of their own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from btu.data.shards import Shard
from btu.engines.base import Engine
from btu.support.errors import InputError
from btu.support.folders import check_output_folder, replace_folder
from btu.support.progress import step_bar


def check_export(folder: Path, shards: Sequence[Shard], *, overwrite: bool) -> None:
    """Refuse early what `export_shards` would refuse.

    Raises:
        InputError: As `check_output_folder`; the rows themselves lie in the folder.
    """
    path = check_output_folder(folder, overwrite=overwrite).resolve()
    if any(Path(shard.path).resolve().is_relative_to(path) for shard in shards):
        raise InputError(
            f"{folder}: expected another folder than that of the rows. Name a new one."
        )


def export_shards(
    shards: Sequence[Shard],
    engine: Engine,
    chosen: NDArray[np.bool_],
    folder: Path,
    *,
    overwrite: bool = False,
) -> None:
    """Write some rows of all shards with all their columns, a Parquet file for each shard.

    Args:
        shards: In their order.
        engine: That reads and writes them.
        chosen: Which of all rows, shape (N,).
        folder: Where; it appears when all files are whole.
        overwrite: Whether what is there may be replaced.

    Raises:
        InputError: As `check_export`; a worker wrote where this machine does not see it.
    """
    check_export(folder, shards, overwrite=overwrite)
    with replace_folder(folder, overwrite=overwrite) as scratch:
        with step_bar("writing shards", len(shards)) as bar:
            for _ in engine.select(shards, chosen, scratch):
                bar.advance()
        if len(list(scratch.glob("part-*.parquet"))) < len(shards):
            raise InputError(
                f"{folder}: expected a folder that all workers share with this machine, found "
                "fewer files than they wrote. Name one on a shared disk."
            )
