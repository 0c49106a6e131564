"""Shards read by the workers of a Ray of this machine."""

import os
import signal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import btu
from btu.data.shards import list_shards
from btu.engines.base import encode_shard
from btu.engines.cluster import RayEngine
from btu.engines.export import export_shards
from tests.engines.conftest import PLANTED, ROWS

ray = pytest.importorskip("ray")
pytestmark = [pytest.mark.slow, pytest.mark.enable_socket]


@pytest.fixture(scope="module")
def cluster():
    """Two workers that all tests share, as a user's own Ray would be."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()


class Spoiled(RayEngine):
    """Its workers do something else."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def map(self, function, jobs):
        return super().map(self.function, jobs)


def compare(found, expected):
    assert np.array_equal(found.flagged, expected.flagged)
    assert np.array_equal(found.row_scores, expected.row_scores)
    told, wanted = found.to_dict(), expected.to_dict()
    assert {**told, "timings": None} == {**wanted, "timings": None}


def test_two_workers_find_what_one_process_finds(folder, cluster, in_memory):
    found = btu.scan(None, folder, engine=RayEngine())
    assert found.flagged.sum() == PLANTED
    compare(found, in_memory)
    assert ray.is_initialized()  # what was running goes on running


def test_workers_find_the_rows_of_what_was_drawn(folder, cluster):
    drawn = btu.EvidenceSettings(sample_rows=ROWS // 2)
    found = btu.scan(None, folder, engine=RayEngine(), evidence=drawn)
    assert found.flagged.sum() == PLANTED
    compare(found, btu.scan(None, folder, evidence=drawn))


def test_workers_write_what_is_kept(folder, cluster, tmp_path, in_memory):
    export_shards(list_shards(folder), RayEngine(), ~in_memory.flagged, tmp_path / "clean")
    assert len(btu.load_corpus(tmp_path / "clean")) == ROWS - PLANTED


def test_a_worker_that_is_killed_changes_nothing(folder, cluster, tmp_path, in_memory):
    killed = tmp_path / "killed"

    def die_once(shard, *given):
        if shard.first and not killed.exists():
            killed.write_text(str(os.getpid()))
            os.kill(os.getpid(), signal.SIGKILL)
        return encode_shard(shard, *given)

    found = btu.scan(None, folder, engine=Spoiled(die_once))
    assert int(killed.read_text()) != os.getpid()
    compare(found, in_memory)


def test_a_shard_that_kills_every_worker_ends_the_scan(folder, cluster):
    def die(*given):
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(btu.InputError, match=r"part-\d\.parquet: expected a worker to read it"):
        btu.scan(None, folder, engine=Spoiled(die))


def test_what_a_worker_says_is_wrong_is_said_as_it_is(cluster, tmp_path):
    pq.write_table(pa.table({"text": ["a", None], "label": [0, 1]}), tmp_path / "a.parquet")
    with pytest.raises(btu.InputError, match="expected a text in every row, got none in row 2"):
        btu.scan(None, tmp_path, engine=RayEngine())


def test_an_address_where_nobody_is_is_refused_at_once():
    if ray.is_initialized():
        ray.shutdown()
    with pytest.raises(btu.InputError, match="expected the address of a Ray cluster"):
        list(RayEngine("127.0.0.1:9").map(print, []))
