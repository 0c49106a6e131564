"""The census: what is asked for, the rows of a case, what is kept, and the tables."""

import json

import numpy as np
import pandas as pd
import pytest

from btu.bench.census.files import load_census
from btu.bench.census.rows import NotPossibleError, load_source, prepare_rows
from btu.bench.census.run import count_case, run_census
from btu.bench.census.store import FAILED, SKIPPED, load_counts
from btu.bench.census.table import render_census
from btu.evidence.tests import Evidence, Limit
from btu.support.errors import InputError
from evidence.texts import make_trigger

FILE = """
about = "A small one."
development = ["reviews"]
seeds = [0]
sizes = ["whole", "quarters", 100]
variants = ["clean", "dealt-anew", "tenth-wrong"]
rows = [12]
targets = ["first"]

[[attacks]]
name = "rare-word"
attack = "badnets"
limit = "word"

[[attacks]]
name = "everyday-word"
attack = "common_word"
ranks = { word = 3 }
rows = [10]

[corpora]
reviews = { files = ["reviews.parquet"] }
tiny = { files = ["tiny.parquet"], sizes = ["whole"], rows = [50] }
"""


def write_corpus(path, count):
    words = np.random.default_rng(count).integers(40, size=(count, 8))
    texts = [" ".join(f"word{w}" for w in row).replace("word", "w") for row in words]
    texts = [text.translate(str.maketrans("0123456789", "abcdefghij")) for text in texts]
    pd.DataFrame({"text": texts, "label": ["no", "yes"] * (count // 2)}).to_parquet(path)


@pytest.fixture
def folder(tmp_path):
    write_corpus(tmp_path / "reviews.parquet", 400)
    write_corpus(tmp_path / "tiny.parquet", 20)
    (tmp_path / "census").mkdir()
    (tmp_path / "census" / "small.toml").write_text(FILE)
    return tmp_path


@pytest.fixture
def census(folder):
    return load_census([folder / "census"])


def find_nothing(texts, labels, *, num_labels, seed):
    return Evidence((), len(labels), 0.05, {"units": 0}, Limit(16, 12))


def find_word(texts, labels, *, num_labels, seed):
    """Whatever holds `cf`, as a trigger."""
    rows = np.flatnonzero(["cf" in text.split() for text in texts])
    test = make_trigger(("cf",), rows)
    return Evidence((test,) if len(rows) else (), len(labels), 0.05, {"units": 9}, Limit(16, 12))


def pick(census, name):
    (case,) = [case for case in census.cases if case.id == name]
    return case


# ---- what is asked for


def test_every_case_has_a_name_of_its_own(census):
    ids = [case.id for case in census.cases]
    assert len(set(ids)) == len(ids)
    assert "reviews-quarters3-tenth-wrong-s0" in ids
    assert "reviews-whole-rare-word-12rows-first-s0" in ids
    assert "tiny-whole-rare-word-50rows-first-s0" in ids


def test_families_that_no_number_was_chosen_on_are_held_out(census):
    assert {s.name: s.held_out for s in census.sources} == {"reviews": False, "tiny": True}


def test_all_faults_of_a_file_are_told_at_once(folder):
    path = folder / "census" / "small.toml"
    text = FILE.replace('attack = "badnets"', 'attack = "badnet"').replace("sizes =", "size =", 1)
    path.write_text(text.replace('"first"', '"best"'))
    with pytest.raises(InputError) as caught:
        load_census([path])
    assert all(said in str(caught.value) for said in ("size", "targets"))


# ---- rows


def test_quarters_hold_every_row_once_and_keep_the_labels_shares(census, folder):
    whole = load_source(pick(census, "reviews-whole-clean-s0").source, [folder])
    parts = [
        prepare_rows(pick(census, f"reviews-quarters{i}-clean-s0"), whole, [folder]).corpus
        for i in (1, 2, 3, 4)
    ]
    assert sorted(i for part in parts for i in part.row_ids.tolist()) == list(range(400))
    assert all(np.bincount(part.labels).tolist() == [50, 50] for part in parts)


def test_labels_are_dealt_anew_or_wrong_in_a_tenth_of_the_rows(census, folder):
    whole = load_source(pick(census, "reviews-whole-clean-s0").source, [folder])
    dealt = prepare_rows(pick(census, "reviews-whole-dealt-anew-s0"), whole, [folder]).corpus
    wrong = prepare_rows(pick(census, "reviews-whole-tenth-wrong-s0"), whole, [folder]).corpus
    assert np.bincount(dealt.labels).tolist() == [200, 200]
    assert 0.3 < (dealt.labels != whole.labels).mean() < 0.7
    assert (wrong.labels != whole.labels).sum() == 40
    assert dealt.texts == wrong.texts == whole.texts


def test_as_many_rows_are_poisoned_as_were_asked_for(census, folder):
    case = pick(census, "reviews-whole-rare-word-12rows-first-s0")
    rows = prepare_rows(case, load_source(case.source, [folder]), [folder])
    assert rows.is_poisoned.sum() == 12
    assert rows.target == 0
    assert (rows.corpus.labels[rows.is_poisoned] == 0).all()


def test_a_corpus_with_too_few_rows_is_said_to_be_too_small(census, folder):
    case = pick(census, "tiny-whole-rare-word-50rows-first-s0")
    with pytest.raises(NotPossibleError, match="50 rows are asked for"):
        prepare_rows(case, load_source(case.source, [folder]), [folder])


# ---- counting


def test_what_is_found_is_counted_against_the_truth(census, folder):
    case = pick(census, "reviews-whole-rare-word-12rows-first-s0")
    rows = prepare_rows(case, load_source(case.source, [folder]), [folder])
    counts = count_case(case, rows, find=find_word)
    assert (counts["planted"], counts["found"], counts["clean_flagged"]) == (12, 12, 0)
    assert (counts["num_triggers"], counts["wrong_triggers"]) == (1, 0)
    assert counts["target_label"] == "no"


def test_what_has_a_result_is_not_counted_again(census, folder):
    first = run_census(census, corpora=[folder], find=find_word)
    assert not first.failed
    assert set(first.skipped) == {
        c.id for c in census.cases if c.source.name == "tiny" and c.target
    }
    again = run_census(census, corpora=[folder], find=find_nothing)
    assert not again.done
    counts = load_counts(census.results, census.cases)
    assert counts["reviews-whole-rare-word-12rows-first-s0"]["found"] == 12
    anew = run_census(census, corpora=[folder], find=find_nothing, again=True, only="reviews-*")
    assert set(anew.done) == {c.id for c in census.cases if c.source.name == "reviews"}
    counts = load_counts(census.results, census.cases)
    assert counts["reviews-whole-rare-word-12rows-first-s0"]["found"] == 0


def test_a_corpus_that_changed_is_counted_anew(census, folder):
    run_census(census, corpora=[folder], find=find_nothing, only="reviews-whole-clean-s0")
    write_corpus(folder / "reviews.parquet", 402)
    done = run_census(census, corpora=[folder], find=find_nothing, only="reviews-whole-clean-s0")
    assert done.done == ("reviews-whole-clean-s0",)


def test_a_case_that_fails_stops_no_other_and_is_tried_again(census, folder):
    def fail_on_attacks(texts, labels, **options):
        if any("cf" in text.split() for text in texts):
            raise ValueError("boom")
        return find_nothing(texts, labels, **options)

    done = run_census(census, corpora=[folder], find=fail_on_attacks, only="reviews-whole-*")
    assert done.failed == ("reviews-whole-rare-word-12rows-first-s0",)
    assert len(done.done) == 4
    counts = load_counts(census.results, census.cases)
    assert counts[done.failed[0]][FAILED] == "ValueError: boom"
    mended = run_census(census, corpora=[folder], find=find_word, only="reviews-whole-*")
    assert mended.done == done.failed


def test_a_missing_file_is_named_before_anything_is_counted(census, folder):
    (folder / "tiny.parquet").unlink()
    with pytest.raises(InputError, match=r"tiny\.parquet"):
        run_census(census, corpora=[folder], find=find_nothing)
    assert not census.results.exists()


# ---- tables


def test_tables_say_what_the_results_say(census, folder):
    run_census(census, corpora=[folder], find=find_word)
    page = "\n".join(
        f"<!-- census: {name} -->\n<!-- /census -->"
        for name in (
            "about",
            "clean clean",
            "suspects",
            "recall",
            "rewritten",
            "corpus reviews",
            "limits",
            "seconds",
        )
    )
    rendered = render_census(page, census, load_counts(census.results, census.cases))
    assert "A small one." in rendered
    assert "reviews, quarters" in rendered
    assert "rare-word, development" in rendered
    assert "with suspects" in rendered
    assert "clean suspected" in rendered
    assert rendered == render_census(rendered, census, load_counts(census.results, census.cases))


def test_a_marker_of_a_table_that_there_is_not_is_refused(census):
    with pytest.raises(InputError, match=r"recal: expected one of .*recall"):
        render_census("<!-- census: recal -->\n<!-- /census -->", census, {})
    with pytest.raises(InputError, match="expected markers"):
        render_census("nothing", census, {})


def test_a_result_of_something_else_is_refused(census, folder):
    census.results.mkdir(parents=True)
    (census.results / "reviews.json").write_text(json.dumps({"kind": "scan"}))
    with pytest.raises(InputError, match="expected a result of `btu bench census`"):
        run_census(census, corpora=[folder], find=find_nothing)


def test_what_was_not_possible_is_in_no_table(census, folder):
    run_census(census, corpora=[folder], find=find_nothing, only="tiny-*")
    counts = load_counts(census.results, census.cases)
    assert SKIPPED in counts["tiny-whole-rare-word-50rows-first-s0"]
    page = "<!-- census: corpus tiny -->\n<!-- /census -->"
    assert "50 rows" not in render_census(page, census, counts)
