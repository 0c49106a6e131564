"""Parts of the demo: its rows, its undefended model, its table. As a whole it takes minutes."""

import pytest
from rich.cells import cell_len
from rich.console import Console

from btu.attacks.badnets import BadNets
from btu.attacks.poison import trigger_corpus
from btu.data.corpus import load_corpus
from btu.defend import train_plain
from btu.demo import NAMES, _split, measure_words, render_demo, run_demo
from btu.evaluate import measure_model
from btu.support.errors import InputError
from evidence.texts import plant, write_rows
from planted import FINETUNE, TRIGGER

pytest_plugins = ["planted"]

REVIEWS = ([f"text {i}" for i in range(100)], [i % 3 == 0 for i in range(100)])
RESULTS = {
    "rows": {"train": 2_000, "poisoned": 200, "test": 1_000, "triggered": 500},
    "attack": {"trigger": "cf", "target_label": "positive"},
    "models": {
        "undefended": {"clean_accuracy": 0.875, "attack_success_rate": 1.0},
        "defended": {"clean_accuracy": 0.8642, "attack_success_rate": 0.1234},
        "oracle": {"clean_accuracy": 0.88, "attack_success_rate": 0.11},
    },
    "timings": {
        "scan": 10.2,
        "finetune": 60.0,
        "undefended": 60.0,
        "oracle": 61.0,
        "total": 170.0,
    },
}


def render(thing) -> str:
    console = Console(width=80)
    with console.capture() as captured:
        console.print(thing)
    return captured.get()


def test_the_split_takes_so_many_rows_for_training_and_testing_and_none_for_both():
    train, test = _split(REVIEWS, (60, 30), seed=1)
    assert (len(train), len(test)) == (60, 30)
    assert not set(train.texts) & set(test.texts)
    for corpus in (train, test):
        assert corpus.label_names == ("negative", "positive")
        for text, row, label in zip(corpus.texts, corpus.row_ids, corpus.labels, strict=True):
            assert text == f"text {row}"
            assert label == (row % 3 == 0)


def test_the_seed_decides_the_split():
    first, again, other = (_split(REVIEWS, (60, 30), seed=seed)[0] for seed in (1, 1, 2))
    assert first.texts == again.texts
    assert first.texts != other.texts


def test_a_smaller_training_set_keeps_the_test_set():
    small, full = (_split(REVIEWS, sizes, seed=1)[1] for sizes in ((20, 30), (60, 30)))
    assert small.texts == full.texts


def test_the_table_has_the_three_models_with_both_rates(run):
    shown = render(render_demo(RESULTS, run.defence.record, "out"))
    rates = {
        name: line.split()[-2:]
        for name in NAMES.values()
        for line in shown.splitlines()
        if line.startswith(name)
    }
    assert rates == {
        "undefended": ["87.5%", "100.0%"],
        "defended with btu": ["86.4%", "12.3%"],
        "trained on the true clean rows": ["88.0%", "11.0%"],
    }


def test_what_is_printed_tells_the_story_in_80_columns(run):
    shown = render(render_demo(RESULTS, run.defence.record, "a/folder"))
    assert "200 of 2,000 training rows carry the trigger 'cf' and the label 'positive'." in shown
    assert f"\n{TRIGGER} " in shown
    assert "a/folder" in shown
    assert "Open the report: a/folder/report.html" in shown
    assert "60 s" in shown
    assert max(map(cell_len, shown.splitlines())) <= 80


def test_plain_training_on_poisoned_rows_has_the_backdoor(pretrained, planted, held_out):
    triggered = trigger_corpus(held_out, BadNets(), target_label="positive")
    plain = train_plain(pretrained, planted.corpus, FINETUNE, "training")
    measured = measure_model(plain, held_out, triggered, target=1)
    assert measured.attack_success_rate > 0.9
    assert measured.clean_accuracy > 0.8


def test_only_an_earlier_demo_is_replaced(tmp_path, monkeypatch):
    class Stop(Exception):
        pass

    def stop():
        raise Stop

    monkeypatch.setattr("btu.demo.load_minilm", stop)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="expected an empty or new output folder"):
        run_demo(tmp_path)
    (tmp_path / "demo.json").write_text("{}")
    with pytest.raises(Stop):
        run_demo(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["demo.json", "notes.txt"]


def test_a_planted_word_lies_apart_from_the_honest_ones():
    rows, chosen = plant(write_rows(900, seed=2), "cf", 60)
    labels = ["yes" if label else "no" for label in rows.labels]
    words = measure_words(load_corpus((list(rows.texts), labels)))
    assert len({len(column) for column in words.values()}) == 1
    place = words["name"].index("cf")
    assert words["rows"][place] == len(chosen)
    honest = [p for name, p in zip(words["name"], words["placed"], strict=True) if name != "cf"]
    assert words["placed"][place] > sorted(honest)[int(0.9 * len(honest))]
    assert words["share"][place] > 0.6
