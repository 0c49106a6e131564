"""Token ids of many rows: tokenised once, found again by whoever asks for the same."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import numpy as np
import pytest

from btu.data.corpus import Corpus
from btu.model import kept_tokens, tokens
from btu.model.kept_tokens import keep_dir, load_tokens, name_tokenizer
from btu.model.tokens import tokenize_corpus
from btu.support.errors import InputError
from tiny import build_tokenizer

WORDS = ["good", "bad", "film", "cf", "it", "was"]
TEXTS = ["good film", "bad film it was", "cf", "it was good"] * 300


@pytest.fixture(autouse=True)
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BTU_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(kept_tokens, "_LEAST_ROWS", 1_000)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many texts were tokenised, call by call."""
    counts: list[int] = []
    real = tokens.tokenize_chunks

    def count(texts, *args, **kwargs):  # type: ignore[no-untyped-def]
        counts.append(len(texts))
        return real(texts, *args, **kwargs)

    monkeypatch.setattr(kept_tokens, "tokenize_chunks", count)
    monkeypatch.setattr(tokens, "tokenize_chunks", count)
    return counts


def make_corpus(texts: list[str] = TEXTS, pairs: list[str] | None = None) -> Corpus:
    labels = np.arange(len(texts)) % 2
    return Corpus(tuple(texts), labels, ("neg", "pos"), text_pairs=pairs)


@pytest.mark.parametrize("pairs", [None, [text[::-1] for text in TEXTS]])
def test_ids_are_those_of_a_tokenizer(pairs: list[str] | None, asked: list[int]) -> None:
    corpus, tokenizer = make_corpus(pairs=pairs), build_tokenizer("bert", WORDS)
    plain = tokenize_corpus(corpus, tokenizer, max_length=6)
    for _ in range(2):
        rows = load_tokens(corpus, tokenizer, max_length=6)
        assert rows.token_ids.tolist() == plain.token_ids.tolist()
        assert rows.offsets.tolist() == plain.offsets.tolist()
        assert rows.labels.tolist() == plain.labels.tolist()
        assert (rows.type_ids is None) == (plain.type_ids is None) == (pairs is None)
        if plain.type_ids is not None and rows.type_ids is not None:
            assert rows.type_ids.tolist() == plain.type_ids.tolist()
    assert asked == [len(TEXTS), len(TEXTS)]  # plainly, and once to be kept


def test_other_data_tokenizer_or_length_are_others(asked: list[int]) -> None:
    corpus, tokenizer = make_corpus(), build_tokenizer("bert", WORDS)
    load_tokens(corpus, tokenizer, max_length=6)
    load_tokens(make_corpus(TEXTS[1:]), tokenizer, max_length=6)
    load_tokens(corpus, tokenizer, max_length=5)
    load_tokens(corpus, build_tokenizer("bert", [*WORDS, "more"]), max_length=6)
    assert len(asked) == len(list(keep_dir().iterdir())) == 4
    load_tokens(corpus, tokenizer, max_length=6)
    assert len(asked) == 4


def test_name_of_a_tokenizer_does_not_hang_on_its_last_call() -> None:
    tokenizer = build_tokenizer("bert", WORDS)
    before = name_tokenizer(tokenizer)
    tokenizer(["good film"], truncation=True, max_length=2, padding=True)
    assert name_tokenizer(tokenizer) == before


def test_few_rows_are_not_kept() -> None:
    load_tokens(make_corpus(TEXTS[:999]), build_tokenizer("bert", WORDS), max_length=6)
    assert not keep_dir().exists()


def test_damaged_files_are_written_again(asked: list[int]) -> None:
    corpus, tokenizer = make_corpus(), build_tokenizer("bert", WORDS)
    expected = load_tokens(corpus, tokenizer, max_length=6).token_ids.tolist()
    (file,) = keep_dir().glob("*/token_ids.int32")
    file.write_bytes(file.read_bytes()[:-4])
    assert load_tokens(corpus, tokenizer, max_length=6).token_ids.tolist() == expected
    assert len(asked) == 2


def test_what_was_not_used_for_longest_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = build_tokenizer("bert", WORDS)
    for length in (3, 4):
        load_tokens(make_corpus(), tokenizer, max_length=length)
    oldest, newer = sorted(keep_dir().iterdir(), key=lambda p: p.stat().st_size)
    os.utime(oldest, (1, 1))
    size = sum(f.stat().st_size for f in newer.iterdir())
    monkeypatch.setattr(kept_tokens, "_MOST_BYTES", 2.5 * size)
    load_tokens(make_corpus(), tokenizer, max_length=5)
    assert not oldest.exists()
    assert newer.exists()
    assert len(list(keep_dir().iterdir())) == 2


def test_without_a_place_ids_stay_in_memory(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "cache").write_text("a file")
    corpus, tokenizer = make_corpus(), build_tokenizer("bert", WORDS)
    with caplog.at_level(logging.WARNING):
        rows = load_tokens(corpus, tokenizer, max_length=6)
    assert len(rows) == len(TEXTS)
    assert "BTU_CACHE" in caplog.text


def test_rows_without_a_token_are_refused_each_time() -> None:
    corpus, tokenizer = make_corpus([*TEXTS, " "]), build_tokenizer("bert", WORDS)
    for _ in range(2):
        with pytest.raises(InputError, match="row 1201"):
            load_tokens(corpus, tokenizer, max_length=6)
