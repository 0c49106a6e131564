"""Published paraphrases are joined by row and never to the wrong row; models can rewrite too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from unittest.mock import patch

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

from btu.attacks import paraphrase
from btu.attacks.registry import build_attack
from btu.attacks.style import Style
from btu.attacks.syntactic import Syntactic
from btu.support.errors import InputError

CLEAN = ["good food", "bad  food", "fine film", "long film", "slow start", "dull end"]


def write(path: Path, columns: Mapping[str, Sequence[object]]) -> Path:
    """A Parquet file of these columns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(dict(columns)), path)
    return path


def write_published(path: Path, rows: Sequence[int], attacked: Sequence[str | None]) -> Path:
    """A published file for these rows of `CLEAN`."""
    texts = [CLEAN[row] for row in rows]
    return write(path, {"row": rows, "text": texts, "attacked": attacked, "label": [0] * len(rows)})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Published texts for rows 3, 1, 4 and 0, in this order; row 4 is unchanged."""
    attacked = ["when it was long", "when it was bad", "Slow  start", "when it was good"]
    write_published(tmp_path / "syntactic_train.parquet", [3, 1, 4, 0], attacked)
    return tmp_path


def test_texts_are_joined_by_row_in_any_order(folder: Path) -> None:
    attack = Syntactic(attacked=folder)
    joined = attack.apply([CLEAN[0], CLEAN[3]], rows=[0, 3], split="train", seed=0)
    assert joined == ["when it was good", "when it was long"]


def test_white_space_does_not_stop_the_join(folder: Path) -> None:
    attack = Syntactic(attacked=folder)
    assert attack.apply([" bad food\n"], rows=[1], split="train", seed=0) == ["when it was bad"]


def test_an_unchanged_text_is_no_attack(folder: Path) -> None:
    assert Syntactic(attacked=folder).apply([CLEAN[4]], rows=[4], split="train", seed=0) == [None]


def test_a_row_that_is_not_published_has_no_attacked_text(folder: Path) -> None:
    assert Syntactic(attacked=folder).apply([CLEAN[2]], rows=[2], split="train", seed=0) == [None]


def test_a_row_with_another_clean_text_is_left_out_with_a_warning(folder: Path) -> None:
    attack = Syntactic(attacked=folder)
    with pytest.warns(UserWarning, match="1 of 2 rows have another clean text"):
        joined = attack.apply([CLEAN[3], CLEAN[1]], rows=[0, 1], split="train", seed=0)
    assert joined == [None, "when it was bad"]


@pytest.mark.filterwarnings("ignore:.*another clean text")
@given(rows=st.permutations(range(len(CLEAN))))
def test_a_join_never_takes_the_text_of_another_row(
    rows: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "all_train.parquet"
    if not path.exists():
        write_published(path, range(len(CLEAN)), [f"attacked {text}" for text in CLEAN])
    joined = Style(attacked={"train": path}).apply(CLEAN, rows=rows, split="train", seed=0)
    for i, (row, text) in enumerate(zip(rows, joined, strict=True)):
        assert text == (f"attacked {CLEAN[i]}" if row == i else None)


@pytest.mark.parametrize("text", ["", "  ", None])
def test_an_empty_attacked_text_is_none(tmp_path: Path, text: str | None) -> None:
    write_published(tmp_path / "style_bible_dev.parquet", [0, 1], [text, "thou"])
    joined = Style(attacked=tmp_path).apply(CLEAN[:2], rows=[0, 1], split="dev", seed=0)
    assert joined == [None, "thou"]


def test_the_version_may_differ_from_split_to_split(tmp_path: Path) -> None:
    write_published(tmp_path / "syntactic_hk20_train.parquet", [0], ["when trained"])
    write_published(tmp_path / "syntactic_hk_test.parquet", [0], ["when tested"])
    version = {"train": "syntactic_hk20", "test": "syntactic_hk"}
    attack = build_attack("syntactic", {"attacked": str(tmp_path), "version": version})
    assert attack.apply(CLEAN[:1], rows=[0], split="train", seed=0) == ["when trained"]
    assert attack.apply(CLEAN[:1], rows=[0], split="test", seed=0) == ["when tested"]
    with pytest.raises(InputError, match="an entry for the split dev, got train, test"):
        attack.apply([], rows=[], split="dev", seed=0)


def test_a_missing_split_is_found_before_there_are_texts(folder: Path) -> None:
    with pytest.raises(InputError, match=r"syntactic_test\.parquet: .* has syntactic_train"):
        Syntactic(attacked=folder).apply([], rows=[], split="test", seed=0)


def test_a_file_without_row_numbers_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a_dev.parquet", {"attacked": ["x"], "target_label": [0]})
    with pytest.raises(InputError, match=r"got attacked, target_label: .* joined by row"):
        Style(attacked={"dev": path}).apply([], rows=[], split="dev", seed=0)


def test_a_row_published_twice_is_refused(tmp_path: Path) -> None:
    path = write_published(tmp_path / "a_dev.parquet", [0, 0], ["x", "y"])
    with pytest.raises(InputError, match="row 0 twice"):
        Style(attacked={"dev": path}).apply([], rows=[], split="dev", seed=0)


def test_a_file_that_is_not_parquet_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a_dev.parquet"
    path.write_text("row,text\n")
    with pytest.raises(InputError, match="expected a Parquet file"):
        Style(attacked={"dev": path}).apply([], rows=[], split="dev", seed=0)


@pytest.fixture(scope="module")
def tiny_t5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text-to-text model with random weights over a dozen words."""
    folder = tmp_path_factory.mktemp("t5")
    words = ["<pad>", "</s>", "<unk>", *sorted(set(" ".join(CLEAN).split())), "rewrite:"]
    core = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = T5Config(
        vocab_size=len(words), d_model=16, d_kv=4, d_ff=32, num_layers=1, num_heads=2,
        decoder_start_token_id=0, pad_token_id=0, eos_token_id=1,
        tie_word_embeddings=False,
    )  # fmt: skip
    network = T5ForConditionalGeneration(config)
    with torch.no_grad():  # special tokens never win, so that every answer holds words
        network.lm_head.weight.copy_(torch.randn_like(network.lm_head.weight))
        network.lm_head.weight[:3] = 0
    network.save_pretrained(folder)
    return folder


def test_a_text_to_text_model_rewrites_the_texts_the_same_on_each_call(tiny_t5: Path) -> None:
    options = {"model": str(tiny_t5), "prefix": "rewrite: ", "max_new_tokens": 5, "batch_size": 4}
    attack = build_attack("style", options)
    first = attack.apply(CLEAN, rows=range(6), split="train", seed=0)
    assert first == attack.apply(CLEAN, rows=range(6), split="test", seed=1)
    for text in first:
        assert text is not None
        assert 1 <= len(text.split()) <= 5


def test_a_blank_answer_of_the_model_is_none(tiny_t5: Path) -> None:
    attack = Style(model=str(tiny_t5), max_new_tokens=1)
    with patch.object(paraphrase, "generate_texts", return_value=["", " \n", "thou"]):
        assert attack.apply(CLEAN[:3], rows=range(3), split="train", seed=0) == [None, None, "thou"]


def test_the_model_is_not_loaded_for_no_text() -> None:
    assert Style(model="no/such-model").apply([], rows=[], split="train", seed=0) == []


def test_a_model_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a text-to-text model in safetensors"):
        Style(model=str(tmp_path)).apply(["a"], rows=[0], split="train", seed=0)
