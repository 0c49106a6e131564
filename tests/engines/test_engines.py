"""Shards read one by one say what one table in memory says."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import btu
from btu.data.shards import list_shards
from btu.engines.base import Engine
from btu.engines.export import export_shards
from btu.engines.local import LocalEngine
from btu.engines.read import read_shards
from btu.evidence.words import Words
from btu.report.stories import say_limit
from btu.support.record import build_record
from tests.engines.conftest import ROWS, SHARDS
from tests.evidence.texts import write_rows

# What two runs never share, and how many files the rows came in.
OF_ONE_RUN = ("timings", "resumed")
DRAWN = btu.EvidenceSettings(sample_rows=450)


def tell(findings):
    told = findings.to_dict()
    return {name: value for name, value in told.items() if name not in OF_ONE_RUN}


class Interrupted(Engine):
    """Stops after some shards; knows which it was asked for."""

    name = "interrupted"

    def __init__(self, most):
        self.most, self.asked = most, []

    def map(self, function, jobs):
        self.asked = [Path(shard.path).name for shard, *_ in jobs]
        for place, job in enumerate(jobs):
            if place == self.most:
                raise KeyboardInterrupt
            yield place, function(*job)


class Backwards(Engine):
    """The last shard comes first."""

    name = "backwards"

    def map(self, function, jobs):
        for place in reversed(range(len(jobs))):
            yield place, function(*jobs[place])


def test_the_rows_hold_a_trigger(in_memory):
    assert [found.token for found in in_memory.triggers] == ["cf"]
    assert in_memory.flagged.sum() == 40


@pytest.mark.parametrize("engine", [LocalEngine(), Backwards()], ids=lambda e: e.name)
def test_an_engine_finds_what_one_table_shows(engine, folder, in_memory):
    found = btu.scan(None, folder, engine=engine)
    assert tell(found) == tell(in_memory)
    assert np.array_equal(found.row_scores, in_memory.row_scores)


@pytest.fixture(scope="module")
def of_drawn(folder):
    return btu.scan(None, folder, evidence=DRAWN)


@pytest.mark.parametrize("engine", [LocalEngine(), Backwards()], ids=lambda e: e.name)
def test_an_engine_draws_the_rows_that_one_table_gives(engine, folder, of_drawn, in_memory):
    found = btu.scan(None, folder, engine=engine, evidence=DRAWN)
    assert tell(found) == tell(of_drawn)
    assert np.array_equal(found.row_scores, of_drawn.row_scores)
    assert np.array_equal(found.flagged, in_memory.flagged)
    assert found.evidence.limit.word_rows > in_memory.evidence.limit.word_rows
    record = build_record("scan", found.to_dict())
    assert "looked for in 450 rows, and what was found in all 900." in say_limit(record)


def test_all_rows_are_drawn_where_there_are_no_more(folder, in_memory):
    found = btu.scan(None, folder, evidence=btu.EvidenceSettings(sample_rows=ROWS))
    assert tell(found)["limit"] == tell(in_memory)["limit"]
    assert np.array_equal(found.row_scores, in_memory.row_scores)


def test_pairs_of_texts_are_looked_through_together(tmp_path):
    rows = write_rows(1500)
    rows = rows.change(rows.of(0, 60), lambda text: f"{text} cf", label=1)
    halves = [text.rpartition(" ")[::2] for text in rows.texts]
    table = {"sentence1": [a for a, _ in halves], "sentence2": [b for _, b in halves]}
    pq.write_table(pa.table({**table, "label": rows.labels}), tmp_path / "a.parquet")
    drawn = btu.EvidenceSettings(sample_rows=1000)
    found = btu.scan(None, tmp_path, engine=LocalEngine(), evidence=drawn)
    assert (
        np.flatnonzero(found.flagged).tolist()
        == rows.of(1, 1500)[["cf" in rows.texts[i] for i in rows.of(1, 1500)]].tolist()
    )


def test_with_a_model_no_rows_are_drawn(folder):
    with pytest.raises(btu.InputError, match="Leave out --model, or --sample-rows"):
        btu.scan("model", folder, evidence=DRAWN)
    with pytest.raises(btu.InputError, match="sample_rows: expected none with a model, got 450"):
        btu.defend("model", folder, evidence_settings=DRAWN)
    with pytest.raises(btu.InputError, match="sample_rows: expected more than 0, got 0"):
        btu.EvidenceSettings(sample_rows=0)


def test_words_that_were_read_in_parts_are_those_that_were_read_at_once():
    texts = ["a b c", "", "c d", "d cf 电影", "e"]
    parts = [Words.of(texts[:2]), Words.of([]), Words.of(texts[2:])]
    joined, whole = Words.join(parts), Words.of(texts)
    assert joined.names == whole.names
    assert np.array_equal(joined.flat, whole.flat)
    assert np.array_equal(joined.row, whole.row)
    assert len(Words.join([])) == 0


def test_the_texts_stay_where_they_are(folder):
    corpus, words = read_shards(list_shards(folder), LocalEngine(), str(folder))
    assert not isinstance(corpus.texts, tuple)
    assert len(words) == len(corpus) == ROWS
    assert corpus.select([3]).texts == (btu.load_corpus(folder).texts[3],)


def test_pairs_are_read_together(tmp_path):
    table = {"sentence1": ["one film", "two"], "sentence2": ["bad", "good"], "label": [0, 1]}
    pq.write_table(pa.table(table), tmp_path / "a.parquet")
    corpus, words = read_shards(list_shards(tmp_path), LocalEngine(), "a")
    assert words.names[2:] == ("one", "film", "bad", "two", "good")
    assert list(corpus.text_pairs) == ["bad", "good"]


def test_texts_may_lie_in_nested_columns(tmp_path):
    rows = [{"text": "one film"}, {"text": "two"}]
    pq.write_table(pa.table({"data": rows, "label": [0, 1]}), tmp_path / "a.parquet")
    named = {"text_column": "data.text"}
    corpus, words = read_shards(list_shards(tmp_path), LocalEngine(), "a", **named)
    assert words.names[2:] == ("one", "film", "two")
    assert list(corpus.texts) == ["one film", "two"]
    assert corpus.fingerprint() == btu.load_corpus(tmp_path, **named).fingerprint()


def test_a_shard_without_a_single_text_is_a_fault(tmp_path):
    for part, key in enumerate(("text", "other")):
        table = pa.table(
            {"data": [{"text": None, key: "a"}, {"text": None, key: "b"}], "label": [0, 1]}
        )
        pq.write_table(table, tmp_path / f"{part}.parquet")
    with pytest.raises(btu.InputError, match=r"got none in .*1\.parquet"):
        read_shards(list_shards(tmp_path), LocalEngine(), "rows", text_column="data.text")


def test_faults_of_all_shards_are_named_by_their_rows(tmp_path):
    for part, texts in enumerate((["a", None], ["b", " "])):
        table = pa.table({"text": texts, "label": [0, 1]})
        pq.write_table(table, tmp_path / f"{part}.parquet")
    with pytest.raises(btu.InputError) as caught:
        btu.scan(None, tmp_path, engine=LocalEngine())
    assert "row 2" in str(caught.value)
    assert "row 4" in str(caught.value)


def test_a_model_and_a_split_are_refused(folder):
    with pytest.raises(btu.InputError, match="Leave out --model, or --engine"):
        btu.scan("model", folder, engine=LocalEngine())
    with pytest.raises(btu.InputError, match="name the files of the split"):
        btu.scan(None, folder, engine=LocalEngine(), split="train")


def test_shards_that_were_read_are_not_read_again(folder, tmp_path, in_memory):
    kept, first, second = tmp_path / "kept", Interrupted(4), Interrupted(SHARDS)
    with pytest.raises(KeyboardInterrupt), btu.Unfinished(kept) as unfinished:
        btu.scan(None, folder, engine=first, unfinished=unfinished)
    with btu.Unfinished(kept, resume=True) as unfinished:
        found = btu.scan(None, folder, engine=second, unfinished=unfinished)
    assert second.asked == ["part-4.parquet", "part-5.parquet"]
    assert found.facts.resumed == ("4 of 6 shards",)
    assert tell(found) == tell(in_memory)
    assert not kept.exists()


@pytest.mark.parametrize("engine", [LocalEngine(), Backwards()], ids=lambda e: e.name)
def test_rows_are_parted_shard_by_shard(engine, folder, tmp_path, in_memory):
    shards = list_shards(folder)
    export_shards(shards, engine, ~in_memory.flagged, tmp_path / "clean")
    export_shards(shards, engine, in_memory.flagged, tmp_path / "flagged")
    whole, clean = btu.load_corpus(folder), btu.load_corpus(tmp_path / "clean")
    assert len(list((tmp_path / "clean").iterdir())) == SHARDS
    assert list(clean.texts) == [whole.texts[i] for i in np.flatnonzero(~in_memory.flagged)]
    parts = [pq.read_table(path) for path in sorted((tmp_path / "flagged").iterdir())]
    assert sum(len(part) for part in parts) == 40
    assert all("cf" in text for part in parts for text in part["text"].to_pylist())


def test_a_folder_that_holds_the_rows_is_no_place_to_write_to(folder, tmp_path, in_memory):
    shards = list_shards(folder)
    for place in (folder, folder.parent):
        with pytest.raises(btu.InputError):
            export_shards(shards, LocalEngine(), in_memory.flagged, place, overwrite=True)
    with pytest.raises(KeyboardInterrupt):
        export_shards(shards, Interrupted(2), in_memory.flagged, tmp_path / "half")
    assert not list(tmp_path.iterdir())
    assert len(list(folder.iterdir())) == SHARDS


def test_other_files_are_another_scan(folder, tmp_path):
    kept = tmp_path / "kept"
    copy = tmp_path / "rows"
    copy.mkdir()
    for path in folder.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    with pytest.raises(KeyboardInterrupt), btu.Unfinished(kept) as unfinished:
        btu.scan(None, copy, engine=Interrupted(2), unfinished=unfinished)
    (copy / "part-0.parquet").write_bytes((copy / "part-1.parquet").read_bytes())
    with (
        pytest.raises(btu.InputError, match=r"part-0\.parquet: expected"),
        btu.Unfinished(kept, resume=True) as unfinished,
    ):
        btu.scan(None, copy, engine=LocalEngine(), unfinished=unfinished)


_KILLED = """
import os, signal
from btu.cli import main
from btu.engines import base
step, done = os.environ["STEP"], []
work = getattr(base, step)
def work_or_die(*given):
    if len(done) == int(os.environ["MOMENT"]):
        os.kill(os.getpid(), signal.SIGKILL)
    done.append(1)
    return work(*given)
setattr(base, step, work_or_die)
main()
"""


def kill_and_resume(folder, tmp_path, step, moment, *options):
    words = ["scan", str(folder), "--engine", "local", "-q", "--output", str(tmp_path / "a.json")]
    words += options
    killed = subprocess.run(
        [sys.executable, "-c", _KILLED, *words],
        env={**os.environ, "STEP": step, "MOMENT": str(moment)},
        capture_output=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    kept = sorted(path.name.split("-")[0] for path in tmp_path.glob(".*/*.npz"))
    ended = subprocess.run([sys.executable, "-m", "btu", *words, "--resume"], check=False)
    assert ended.returncode == 1
    record = btu.load_record(tmp_path / "a.json")
    assert len(record["flagged_rows"]) == 40
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
    return kept, record.get("resumed", [])


@pytest.mark.parametrize("moment", [0, 1, 5])
def test_a_scan_that_is_killed_goes_on(moment, folder, tmp_path):
    kept, resumed = kill_and_resume(folder, tmp_path, "encode_shard", moment)
    assert kept == moment * ["shard"]
    assert resumed == ([f"{moment} of 6 shards"] if moment else [])


def test_a_scan_that_is_killed_while_it_looks_through_the_other_rows_goes_on(folder, tmp_path):
    options = ("--sample-rows", "450")
    kept, resumed = kill_and_resume(folder, tmp_path, "find_in_shard", 4, *options)
    assert kept == [*4 * ["held"], *6 * ["shard"]]
    assert resumed == ["6 of 6 shards", "4 of 6 shards looked through"]
