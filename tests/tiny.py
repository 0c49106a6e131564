"""Tiny sequence classifiers of eleven families, with their tokenizers, built in code.

Each keeps what sets its family apart for this project: special tokens and who adds them, where
padding sits or whether there is any, factorised or scaled embeddings, offset positions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

HIDDEN = 32
MAX_TOKENS = 64
SIZES = {
    "hidden_size": HIDDEN,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 2 * HIDDEN,
    "max_position_embeddings": MAX_TOKENS,
}


@dataclass(frozen=True)
class Specials:
    """The special tokens of a tokenizer in id order, their roles, and where they are added."""

    tokens: tuple[str, ...]
    roles: Mapping[str, str]
    unknown: str
    single: str = "$A"
    pair: str = "$A $B:1"


BERT = Specials(
    tokens=("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
    roles={
        "pad_token": "[PAD]",
        "unk_token": "[UNK]",
        "cls_token": "[CLS]",
        "sep_token": "[SEP]",
        "mask_token": "[MASK]",
    },
    unknown="[UNK]",
    single="[CLS] $A [SEP]",
    pair="[CLS] $A [SEP] $B:1 [SEP]:1",
)
ROBERTA = Specials(
    tokens=("<s>", "<pad>", "</s>", "<unk>", "<mask>"),
    roles={
        "bos_token": "<s>",
        "cls_token": "<s>",
        "pad_token": "<pad>",
        "eos_token": "</s>",
        "sep_token": "</s>",
        "unk_token": "<unk>",
        "mask_token": "<mask>",
    },
    unknown="<unk>",
    single="<s> $A </s>",
    pair="<s> $A </s> </s> $B </s>",
)
GPT2 = Specials(
    tokens=("<|endoftext|>",),
    roles=dict.fromkeys(("bos_token", "eos_token", "unk_token"), "<|endoftext|>"),
    unknown="<|endoftext|>",
)
LLAMA = Specials(
    tokens=("<unk>", "<s>", "</s>"),
    roles={
        "unk_token": "<unk>",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "pad_token": "</s>",
    },
    unknown="<unk>",
    single="<s> $A",
    pair="<s> $A <s>:1 $B:1",
)
QWEN3 = Specials(
    tokens=("<|endoftext|>",),
    roles=dict.fromkeys(("eos_token", "pad_token"), "<|endoftext|>"),
    unknown="<|endoftext|>",
)
GEMMA3 = Specials(
    tokens=("<pad>", "<eos>", "<bos>", "<unk>"),
    roles={
        "pad_token": "<pad>",
        "eos_token": "<eos>",
        "bos_token": "<bos>",
        "unk_token": "<unk>",
    },
    unknown="<unk>",
    single="<bos> $A",
    pair="<bos> $A <bos>:1 $B:1",
)


@dataclass(frozen=True)
class Family:
    """How a family differs from BERT."""

    specials: Specials
    segments: bool = False
    sizes: Mapping[str, object] = field(default_factory=dict)


TABLE = {
    "bert": Family(BERT, segments=True),
    "roberta": Family(ROBERTA, sizes={"max_position_embeddings": MAX_TOKENS + 2}),
    "distilbert": Family(BERT, sizes={"hidden_dim": 2 * HIDDEN}),
    "albert": Family(BERT, segments=True, sizes={"embedding_size": HIDDEN // 2}),
    "electra": Family(BERT, segments=True, sizes={"embedding_size": HIDDEN // 2}),
    "deberta-v2": Family(
        BERT,
        segments=True,
        sizes={
            "relative_attention": True,
            "position_biased_input": False,
            "pos_att_type": ["p2c", "c2p"],
            "type_vocab_size": 0,
        },
    ),
    "mpnet": Family(ROBERTA, sizes={"max_position_embeddings": MAX_TOKENS + 2}),
    "gpt2": Family(GPT2, sizes={"n_inner": 2 * HIDDEN}),
    "llama": Family(LLAMA),
    "qwen3": Family(QWEN3, sizes={"num_key_value_heads": 1, "head_dim": HIDDEN // 2}),
    "gemma3_text": Family(GEMMA3, sizes={"num_key_value_heads": 1, "head_dim": HIDDEN // 2}),
}
FAMILIES: tuple[str, ...] = tuple(TABLE)


def build_tiny(
    family: str, words: Sequence[str], num_labels: int = 2, seed: int = 0
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """An untrained classifier and its tokenizer.

    Args:
        family: One of FAMILIES.
        words: The vocabulary, lower case: each word is one token; any other word is unknown.
            Ids follow the special tokens, in the order given.
        num_labels: Number of classes.
        seed: For the initial weights; the global generator stays as it is.
    """
    tokenizer = build_tokenizer(family, words)
    sizes = {**SIZES, **TABLE[family].sizes}
    ends = {
        name: getattr(tokenizer, name) for name in ("pad_token_id", "bos_token_id", "eos_token_id")
    }
    config = AutoConfig.for_model(
        family, vocab_size=len(tokenizer), num_labels=num_labels, **sizes, **ends
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForSequenceClassification.from_config(config)
    return model.eval(), tokenizer


def build_tokenizer(family: str, words: Sequence[str]) -> PreTrainedTokenizerBase:
    """The family's special tokens around one token a word."""
    specials = TABLE[family].specials
    vocabulary = {
        word: index for index, word in enumerate(dict.fromkeys([*specials.tokens, *words]))
    }
    model = models.WordPiece if specials is BERT else models.WordLevel
    backend = Tokenizer(model(vocabulary, unk_token=specials.unknown))
    backend.normalizer = normalizers.Lowercase()
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.TemplateProcessing(
        single=specials.single,
        pair=specials.pair,
        special_tokens=[(token, vocabulary[token]) for token in specials.tokens],
    )
    inputs = ["input_ids", "attention_mask"]
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        model_max_length=MAX_TOKENS,
        model_input_names=[*inputs, "token_type_ids"] if TABLE[family].segments else inputs,
        **specials.roles,
    )
