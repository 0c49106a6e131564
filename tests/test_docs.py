"""README, tutorial and guides run as they stand: in a folder with reviews and a model."""

import json
import re
import shlex
import sys
import tomllib
from pathlib import Path
from typing import Annotated

import numpy as np
import pytest
import typer
import yaml
from sybil import Sybil
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser

import btu
from btu.cli import main
from btu.data.writers import write_rows
from tiny import build_tiny
from tools.commands import render_commands
from tools.readme import PAGES, RESULTS, render_files, render_page

ROOT = Path(__file__).parent.parent
WORDS = {
    "positive": ["great", "fine", "lovely", "moving", "superb"],
    "negative": ["dull", "bad", "poor", "empty", "tedious"],
}
FILLER = ["the", "a", "film", "story", "with", "and", "cast", "plot", "of"]


def write_reviews(path, rows):
    """Three opinions a text, one in six of them for the other label."""
    rng = np.random.default_rng(rows)
    texts, labels = [], []
    for i in range(rows):
        label = ("negative", "positive")[i % 2]
        sides = [
            label if rng.random() > 1 / 3 else rng.choice(("negative", "positive"))
            for _ in range(3)
        ]
        words = [*rng.choice(FILLER, size=4), *(rng.choice(WORDS[side]) for side in sides)]
        texts.append(" ".join(words))
        labels.append(label)
    write_rows(path, {"text": texts, "label": labels})


@pytest.fixture
def reader_folder(tmp_path, monkeypatch):
    """Where the reader of the docs sits: reviews, held-out reviews, a model, YAML."""
    monkeypatch.chdir(tmp_path)
    write_reviews(Path("reviews.csv"), 300)
    write_reviews(Path("held-out.csv"), 40)
    model, tokenizer = build_tiny("bert", [*FILLER, *WORDS["positive"], *WORDS["negative"], "cf"])
    for folder in ("google-bert/bert-base-uncased",):
        model.base_model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return tmp_path


def run_shell(example):
    for line in example.parsed.splitlines():
        command, *arguments = shlex.split(line, comments=True)
        if command == "btu":
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(sys, "argv", [command, *arguments])
                with pytest.raises(SystemExit) as ended:
                    main()
            assert ended.value.code == expect_status(line), line
        else:
            assert command == "make", line
            targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
            assert arguments[0] in targets, line


def expect_status(line):
    """What a line of the docs says that it ends with, or 1 for the scan of the poisoned data.

    Clean data has suspects now and then: whether it has is in the record of the same scan.
    """
    said = re.search(r"# status (\d)", line)
    if said:
        return int(said[1])
    if "--fail-on suspect" in line and "poisoned.csv" not in line:
        named = json.loads(Path("btu.json").read_text())["suspects"]
        return int(any(token["verdict"] in ("trigger", "suspect") for token in named))
    return int(line.startswith("btu scan poisoned.csv") and "--fail-on" not in line)


def write_file(example):
    name = re.match(r"# (\S+)", example.parsed)[1]
    (tomllib.loads if name.endswith(".toml") else yaml.safe_load)(example.parsed)
    Path(name).write_text(example.parsed)


def read_examples(page):
    parsers = [
        PythonCodeBlockParser(),
        CodeBlockParser(language="bash", evaluator=run_shell),
        CodeBlockParser(language="yaml", evaluator=write_file),
        CodeBlockParser(language="toml", evaluator=write_file),
    ]
    return list(Sybil(parsers=parsers).parse(ROOT / page))


def trainer_of_the_reader():
    """What the README's one line about an own Trainer takes for granted."""
    from datasets import load_dataset
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        Trainer,
        TrainingArguments,
    )

    name = "google-bert/bert-base-uncased"
    tokenizer = AutoTokenizer.from_pretrained(name)
    ds = load_dataset("csv", data_files="reviews.csv", split="train").class_encode_column("label")
    return {
        "Trainer": Trainer,
        "model": AutoModelForSequenceClassification.from_pretrained(name),
        "args": TrainingArguments("runs", num_train_epochs=1, report_to="none", use_cpu=True),
        "ds": ds.map(lambda row: tokenizer(row["text"], padding="max_length", max_length=12)),
    }


@pytest.mark.parametrize(
    "page",
    [
        "README.md",
        "docs/quickstart.md",
        "docs/tutorial.md",
        "docs/guides/ci.md",
        "docs/guides/reports.md",
        "docs/guides/suspects.md",
    ],
)
def test_every_snippet_of_the_page_runs(page, reader_folder):
    examples = read_examples(page)
    assert len(examples) >= 4
    for number, example in enumerate(examples):
        if page == "README.md" and number == 0:
            example.namespace.update(trainer_of_the_reader())
        if 'defence.save("clean-model")' in example.parsed:
            remove_folder(reader_folder / "clean-model")
        example.evaluate()
    assert (reader_folder / "clean-model" / "btu.json").exists()


@pytest.mark.parametrize(
    "page",
    ["docs/guides/strictness.md", "docs/guides/add-evidence.md", "docs/guides/data.md"],
)
def test_every_snippet_of_a_page_without_a_training_runs(page, reader_folder):
    examples = read_examples(page)
    assert examples
    for example in examples:
        example.evaluate()


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
def test_every_snippet_on_adapters_runs(reader_folder):
    examples = read_examples("docs/guides/lora.md")
    assert len(examples) == 3
    for example in examples:
        example.evaluate()
    assert (reader_folder / "adapter" / "adapter_model.safetensors").exists()


def test_every_snippet_on_a_run_that_was_killed_runs(reader_folder):
    examples = read_examples("docs/guides/resume.md")
    assert len(examples) == 2
    for example in examples:
        example.evaluate()
    assert {path.name for path in reader_folder.glob("clean-model*")} == {
        "clean-model",
        "clean-model-2",
    }
    assert not list(reader_folder.glob(".*"))


def test_every_snippet_on_many_rows_runs(reader_folder):
    (reader_folder / "rows").mkdir()
    for part in range(3):
        write_reviews(reader_folder / "rows" / f"{part}.parquet", 100 + part)
    examples = read_examples("docs/guides/large-data.md")
    assert len(examples) == 5
    for example in examples:
        example.evaluate()
    names = ("scan", "shards", "sampled")
    usual, shards, sampled = (json.loads(Path(f"{n}.json").read_text()) for n in names)
    assert usual["data"] == shards["data"] == sampled["data"]
    assert sampled["settings"]["evidence"]["sample_rows"] == 1_000_000
    assert len(btu.load_corpus("clean")) == usual["data"]["rows"] == 303


def test_the_snippet_on_evaluation_during_the_training_runs(reader_folder):
    (example,) = read_examples("docs/guides/evaluation.md")
    example.evaluate()
    record = json.loads(Path("best-model/btu.json").read_text())
    assert record["training_evaluation"]["evaluations"]


def test_a_stricter_budget_turns_triggers_into_suspects(reader_folder):
    for example in read_examples("docs/guides/strictness.md"):
        example.evaluate()
    usual, strict = (json.loads(Path(f"{n}.json").read_text()) for n in ("usual", "strict"))
    assert [usual["verdict"], strict["verdict"]] == ["trigger", "suspect"]


def remove_folder(folder):
    for path in sorted(folder.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    folder.rmdir()


def test_links_between_the_pages_lead_somewhere():
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_public_name_has_its_place_in_the_reference():
    text = (ROOT / "docs" / "reference" / "api.md").read_text(encoding="utf-8")
    named = re.findall(r"^\.\. auto\w+:: btu\.(\w+)$", text, re.MULTILINE)
    assert sorted(named) == sorted(btu.__all__)


def test_every_command_and_option_has_its_place_on_the_page():
    app = typer.Typer(help="Tries.")

    @app.command()
    def rest():
        """Rest."""

    @app.command()
    def look(where: str, sure: Annotated[float, typer.Option(help="In [0|1] *or* <0.")] = 0.5):
        """Look."""

    text = render_commands(app, "try")
    assert "## try look\n\nLook." in text
    assert r"| `--sure <float>` | In \[0\|1\] \*or\* \<0. \[default: 0.5\] |" in text


def test_the_citation_is_of_this_version():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert cited["version"] == project["version"]
    assert cited["license"] == project["license"]
    assert cited["abstract"] == project["description"]


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_the_numbers_of_the_page_are_those_of_the_committed_results(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    assert render_page(text, ROOT / RESULTS) == text


def test_what_is_rendered_as_a_whole_is_up_to_date():
    for path, content in render_files(ROOT / RESULTS).items():
        assert (ROOT / path).read_bytes() == content, path
