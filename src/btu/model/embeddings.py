"""Any model's word-embedding matrix, its protected tokens, its neutral vector; loading a model."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from btu.model.shards import gather, lies_in_rows
from btu.support.errors import InputError

_MEASURED_ROWS = 64


def embedding_module(model: PreTrainedModel) -> nn.Module:
    """The module that turns token ids into word vectors.

    Raises:
        InputError: The model has none, or it is not a matrix of one row a token.
    """
    try:
        module = model.get_input_embeddings()
    except NotImplementedError:
        module = None
    weight = getattr(module, "weight", None)
    if module is None or not isinstance(weight, Tensor) or weight.dim() != 2:
        raise InputError(
            f"{type(model).__name__}: expected a word-embedding matrix behind "
            "get_input_embeddings(), found none. Choose a model that reads token ids."
        )
    return module


def embedding_weight(model: PreTrainedModel) -> Tensor:
    """The word-embedding matrix, shape (V, D); the model's own parameter, not a copy."""
    weight: Tensor = embedding_module(model).weight  # type: ignore[assignment]
    return weight


def embedding_scale(model: PreTrainedModel) -> float:
    """What the embedding module multiplies each row of its matrix by: 1 in most models.

    Some decoders (Gemma) multiply by the root of the width. Measured, not looked up.

    Raises:
        InputError: What comes out is no multiple of the rows.
    """
    module = embedding_module(model)
    # Rows that an adapter carries are other than those of the matrix, also in the weight it tells.
    module = getattr(getattr(module, "token_adapter", None), "base_layer", module)
    weight: Tensor = module.weight.detach()  # type: ignore[operator]
    ids = torch.arange(min(len(weight), _MEASURED_ROWS), device=weight.device)
    with torch.no_grad():
        made, rows = module(ids).double(), weight[ids].double()
    if made.shape == rows.shape:
        square = float((rows * rows).sum())
        scale = float((made * rows).sum()) / square if square else 1.0
        if torch.allclose(made, scale * rows, rtol=1e-2, atol=1e-6):
            return scale
    raise InputError(
        f"{type(model).__name__}: expected word vectors that are rows of the embedding matrix, "
        f"times one number at most, found others behind {type(module).__name__}. Choose a model "
        "whose embedding is a plain matrix."
    )


def has_own_padding(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether padding is a token of its own, not the end of text or the unknown token."""
    shared = {tokenizer.eos_token_id, tokenizer.bos_token_id, tokenizer.unk_token_id}
    return tokenizer.pad_token_id is not None and tokenizer.pad_token_id not in shared


def protected_token_ids(tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """Ids that are never probed, suspected or edited, ascending.

    All special tokens but the unknown token: some models read every emoji as that, so it stands
    in texts like a word, and in triggers. Where it is the end of text or padding too, it is
    protected.
    """
    roles = ("bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id", "pad_token_id")
    used = {getattr(tokenizer, role) for role in (*roles, "mask_token_id")}
    free = {tokenizer.unk_token_id} - used
    return tuple(sorted({int(i) for i in tokenizer.all_special_ids} - free))


@dataclass(frozen=True)
class Neutral:
    """The vector that stands for no meaning.

    Attributes:
        vector: Shape (D,).
        source: `padding` (the padding row) or `mean` (the mean of all rows).
    """

    vector: Tensor
    source: str


def neutral_vector(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> Neutral:
    """The padding row where the model has a padding token of its own, otherwise the mean row.

    The paper overwrites with the padding row. Where padding is the end-of-text token (GPT-2,
    Llama, Qwen), that row has a meaning; the mean row has none.
    """
    weight = gather(embedding_weight(model).detach())
    if has_own_padding(tokenizer):
        return Neutral(weight[tokenizer.pad_token_id].float().clone(), "padding")
    return Neutral(weight.float().mean(dim=0), "mean")


@contextmanager
def hide_tokens(
    model: PreTrainedModel, token_ids: Sequence[int], neutral: Tensor
) -> Iterator[None]:
    """Inside the block the model sees the neutral vector wherever one of these tokens stands.

    Places, lengths and the weights stay as they are, and the tokens' rows get no gradient.

    Args:
        model: Of any architecture.
        token_ids: What to hide.
        neutral: What stands there instead, shape (D,).
    """
    weight = embedding_weight(model)
    hidden = torch.zeros(len(weight), dtype=torch.bool)
    hidden[torch.tensor(list(token_ids), dtype=torch.long)] = True
    shown = neutral * embedding_scale(model)

    def replace(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        where = hidden.to(output.device)[inputs[0]].unsqueeze(-1)
        return torch.where(where, shown.to(output), output)

    hook = embedding_module(model).register_forward_hook(replace)
    try:
        yield
    finally:
        hook.remove()


def load_tokenizer(name: str | Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a model; it pads on the right, with the end of text where it has no padding.

    Padding on the left, as decoders have it that write text, would move every word's position in a
    model that counts positions from the start of the batch (GPT-2).

    Raises:
        InputError: There is no such model, or it has no tokenizer.
    """
    _load_config(name)
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(str(name))
    except Exception as error:  # the tokenizers library raises bare exceptions
        raise InputError(
            f"{name}: expected a model with its tokenizer, could not load one "
            f"({_first_line(error)}). Save the tokenizer beside the model."
        ) from error
    if set(tokenizer.get_vocab().values()) <= set(tokenizer.all_special_ids):
        raise InputError(
            f"{name}: expected a model with its tokenizer, found one without a vocabulary. "
            "Save the tokenizer beside the model."
        )
    if tokenizer.pad_token_id is None:
        if tokenizer.eos_token_id is None:
            raise InputError(
                f"{name}: expected a tokenizer with a padding or an end-of-text token, found "
                "neither. Set one with tokenizer.add_special_tokens and save it."
            )
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side = "right"
    return tokenizer


def load_classifier(
    name: str | Path,
    *,
    label_names: tuple[str, ...],
    tokenizer: PreTrainedTokenizerBase,
    seed: int,
) -> PreTrainedModel:
    """A sequence classifier with these labels, in float32, from a folder or the Hub.

    Where the checkpoint has no classification head of this size, a new one is drawn from `seed`.

    Args:
        name: Folder or Hub id of a pretrained model with safetensors weights.
        label_names: Of the classes; they end in the model's config.
        tokenizer: Of the model; its padding token is written into the config.
        seed: Of a new classification head.

    Raises:
        InputError: No such model; no sequence classifier; only pickled weights; a classification
            head for another number of labels.
    """
    config = _load_config(name)
    _check_head(name, config, len(label_names))
    _check_not_quantised(name, config)
    config.num_labels = len(label_names)
    config.id2label = dict(enumerate(label_names))
    config.label2id = {label: i for i, label in enumerate(label_names)}
    config.problem_type = "single_label_classification"
    config.pad_token_id = tokenizer.pad_token_id
    config.use_cache = False
    torch.manual_seed(seed)
    model = load_with_config(name, config)
    weight = embedding_weight(model)
    if len(tokenizer) > len(weight):
        raise InputError(
            f"{name}: expected a tokenizer of at most {len(weight)} tokens (the rows of the "
            f"model's embedding), got {len(tokenizer)}. Load the tokenizer that belongs to it."
        )
    check_editable(model)
    return model


def check_editable(model: PreTrainedModel) -> None:
    """Refuse a model whose embedding matrix cannot be edited where it is.

    Raises:
        InputError: The matrix is not in memory, is quantised, is split across its rows, or is the
            output matrix too.
    """
    weight, name = embedding_weight(model), type(model).__name__
    if weight.is_meta:
        raise InputError(
            f"{name}: expected an embedding matrix in memory, got one that is offloaded (device "
            "meta). Load the whole model, without device_map or offloading."
        )
    if not weight.is_floating_point():
        raise InputError(
            f"{name}: expected an embedding matrix of floating-point numbers, got {weight.dtype}. "
            "Load the model without quantisation."
        )
    if not lies_in_rows(weight):
        raise InputError(
            f"{name}: expected an embedding matrix whose rows are whole, got one of which each "
            "process keeps some columns. Train with FSDP2 or DDP, without tensor parallelism."
        )
    output = model.get_output_embeddings()
    if output is not None and getattr(output, "weight", None) is weight:
        raise InputError(
            f"{name}: expected an embedding matrix of its own, got one that is the output matrix "
            "too: a cut row would change what the model writes. Take a sequence classifier, or "
            "untie them: tie_word_embeddings=False, and a copy of the matrix as output."
        )


def longest_text(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> int:
    """How many tokens the model can read at most, special tokens included.

    Both sources are asked, and the smaller counts: what the tokenizer says, and the table of
    positions, of which RoBERTa and its kin leave the rows up to the padding position unused.
    """
    lengths = [int(tokenizer.model_max_length)]
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding):
            unused = 0 if module.padding_idx is None else module.padding_idx + 1
            lengths.append(module.num_embeddings - unused)
    positions = getattr(model.config, "max_position_embeddings", None)
    return min([*lengths, positions] if positions else lengths)


def load_finished_classifier(name: str | Path) -> PreTrainedModel:
    """A sequence classifier as it was saved, with the head that it has.

    Raises:
        InputError: No such model, or no classification head in it.
    """
    config = _load_config(name)
    if not _is_classifier(config):
        raise InputError(
            f"{name}: expected a fine-tuned sequence classifier, got "
            f"{', '.join(config.architectures or ['an unknown architecture'])}. "
            "Train one with `btu train`."
        )
    return load_with_config(name, config)


def hash_weights(model: PreTrainedModel) -> str:
    """SHA-256 over names, shapes and values of all parameters and buffers, in name order."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(f"{name}:{tuple(value.shape)}:{value.dtype};".encode())
        digest.update(
            gather(value.detach()).cpu().contiguous().flatten().view(torch.uint8).numpy().data
        )
    return digest.hexdigest()


def _load_config(name: str | Path) -> AutoConfig:
    try:
        return AutoConfig.from_pretrained(str(name))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{name}: expected the folder or Hub id of a Hugging Face model, could not load it "
            f"({_first_line(error)}). Check the name, or give the path of a folder that holds "
            "config.json and model.safetensors."
        ) from error


def load_with_config(name: str | Path, config: AutoConfig) -> PreTrainedModel:
    """Weights of a sequence classifier, in float32, under a config of the caller's.

    Raises:
        InputError: They are not there, not whole, not safetensors, or of no such model.
    """
    try:
        model: PreTrainedModel = AutoModelForSequenceClassification.from_pretrained(
            str(name), config=config, dtype=torch.float32, use_safetensors=True
        )
    except (SafetensorError, RuntimeError) as error:
        raise InputError(
            f"{name}: expected whole weights that fit config.json, could not load them "
            f"({_first_line(error)}). Copy or download the model again."
        ) from error
    except OSError as error:
        raise InputError(
            f"{name}: expected weights in safetensors format, could not load them "
            f"({_first_line(error)}). Pickled weights can run code and are refused: convert "
            "them with `model.save_pretrained(folder)` where you trust their origin."
        ) from error
    except ValueError as error:
        raise InputError(
            f"{name}: expected a model that transformers can load as a sequence classifier, got "
            f"{type(config).__name__} ({_first_line(error)}). Choose another model."
        ) from error
    return model


def _is_classifier(config: AutoConfig) -> bool:
    return any(a.endswith("ForSequenceClassification") for a in config.architectures or [])


def _check_head(name: str | Path, config: AutoConfig, num_labels: int) -> None:
    if _is_classifier(config) and config.num_labels != num_labels:
        raise InputError(
            f"{name}: the model's classification head has {config.num_labels} labels "
            f"({', '.join(map(str, config.id2label.values()))}), the data has {num_labels}. Give "
            "data with the model's labels, or start from a model without a classification head."
        )


def _check_not_quantised(name: str | Path, config: AutoConfig) -> None:
    quantised = getattr(config, "quantization_config", None)
    if quantised:
        method = dict(quantised).get("quant_method") if isinstance(quantised, dict) else None
        raise InputError(
            f"{name}: expected weights of floating-point numbers, got a quantised checkpoint "
            f"({method or 'quantization_config'} in config.json), whose embeddings cannot be "
            "edited. Take the checkpoint that it was made from."
        )


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else repr(error)
