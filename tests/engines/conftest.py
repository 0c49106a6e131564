"""Rows with a trigger, in several Parquet files, and what a scan of one table says of them."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import btu
from tests.evidence.texts import write_rows

ROWS, SHARDS, PLANTED = 900, 6, 40


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    rows = write_rows(ROWS)
    rows = rows.change(rows.of(0, PLANTED), lambda text: f"cf {text}", label=1)
    table = pa.table({"text": list(rows.texts), "label": rows.labels})
    step = ROWS // SHARDS
    for part in range(SHARDS):
        pq.write_table(table.slice(part * step, step), folder / f"part-{part}.parquet")
    return folder


@pytest.fixture(scope="session")
def in_memory(folder):
    return btu.scan(None, folder)
