"""Trained models that several defences need: trained once, kept in memory and on the disk."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from accelerate import PartialState
from huggingface_hub import snapshot_download

from btu.bench.defences import Workbench
from btu.bench.meter import Meter
from btu.data.corpus import Corpus
from btu.data.packages import load_minilm
from btu.model.embeddings import load_finished_classifier, load_tokenizer
from btu.model.finetune import Classifier
from btu.model.settings import FineTuneSettings
from btu.support.errors import InputError
from btu.support.folders import replace_folder

MINILM = "minilm"
FACTS_NAME = "trained.json"
_IN_MEMORY = 2
_HALF_WRITTEN_AFTER = 86_400.0


@dataclass(frozen=True)
class TrainingFacts:
    """What plain fine-tuning cost.

    Attributes:
        seconds: Wall time.
        peak_mb: Largest resident memory of the process, megabytes.
        peak_device_mb: Largest memory in use on the accelerator; None without one.
    """

    seconds: float
    peak_mb: float
    peak_device_mb: float | None


@dataclass(frozen=True)
class Trained:
    """A fine-tuned model and what it cost."""

    classifier: Classifier
    facts: TrainingFacts


class ModelStore:
    """Plain fine-tuning, each model once: by pretrained model, data, settings and versions.

    Args:
        model: Folder of the pretrained model.
        folder: Where trained models are kept from run to run; None keeps the last two in memory
            only.
        keep: Models kept in the folder; the oldest go first.
    """

    def __init__(self, model: Path, folder: Path | None, *, keep: int = 50) -> None:
        self.model = model
        self.folder = folder
        self.keep = keep
        self.model_sha256 = hash_model(model)
        self._memory: dict[str, Trained] = {}

    def train(self, corpus: Corpus, settings: FineTuneSettings) -> Trained:
        """The model fine-tuned on these rows. It belongs to the store: copy it to change it."""
        key = self._key(corpus, settings)
        trained = self._memory.pop(key, None) or self._load(key, settings)
        if trained is None:
            with Meter() as meter:
                bench = Workbench(self.model, settings, train_undefended=_refuse)
                classifier = bench.finetune(corpus)
            facts = TrainingFacts(meter.seconds, meter.peak_mb, meter.peak_device_mb)
            trained = Trained(classifier, facts)
            self._save(key, trained)
        self._memory[key] = trained
        while len(self._memory) > _IN_MEMORY:
            del self._memory[next(iter(self._memory))]
        return trained

    def find_facts(self, corpus: Corpus, settings: FineTuneSettings) -> TrainingFacts | None:
        """What training on these rows cost; None where that was never measured."""
        key = self._key(corpus, settings)
        if key in self._memory:
            return self._memory[key].facts
        return None if self.folder is None else _read_facts(self.folder / key)

    def _key(self, corpus: Corpus, settings: FineTuneSettings) -> str:
        parts = {
            "model": self.model_sha256,
            "data": corpus.fingerprint(),
            "settings": asdict(settings),
            "device": PartialState().device.type,
            "versions": {name: version(name) for name in ("torch", "transformers")},
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]

    def _load(self, key: str, settings: FineTuneSettings) -> Trained | None:
        """From the folder; None too where another process cleared it away meanwhile."""
        facts = None if self.folder is None else _read_facts(self.folder / key)
        if self.folder is None or facts is None:
            return None
        try:
            model = load_finished_classifier(self.folder / key)
            tokenizer = load_tokenizer(self.folder / key)
        except InputError:
            return None
        classifier = Classifier(model, tokenizer, settings.max_length, settings.precision)
        return Trained(classifier, facts)

    def _save(self, key: str, trained: Trained) -> None:
        if self.folder is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        self._clear_away()
        with replace_folder(self.folder / key, overwrite=True) as fresh:
            trained.classifier.save(fresh)
            facts = json.dumps(asdict(trained.facts))
            (fresh / FACTS_NAME).write_text(facts, encoding="utf-8")

    def _clear_away(self) -> None:
        """Remove the oldest models, and what killed runs left half-written."""
        assert self.folder is not None
        ages = {path: path.stat().st_mtime for path in self.folder.iterdir() if path.is_dir()}
        whole = sorted((p for p in ages if not p.name.startswith(".")), key=ages.__getitem__)
        stale = [
            path
            for path, changed in ages.items()
            if path.name.startswith(".") and time.time() - changed > _HALF_WRITTEN_AFTER
        ]
        for path in [*whole[: max(0, len(whole) - self.keep + 1)], *stale]:
            shutil.rmtree(path, ignore_errors=True)


def find_model(name: str) -> Path:
    """The folder of a pretrained model: `minilm`, a folder, or a Hub id that is fetched.

    Raises:
        InputError: There is no such model.
    """
    if name == MINILM:
        return load_minilm()
    if Path(name).is_dir():
        return Path(name)
    try:
        return Path(snapshot_download(name, allow_patterns=["*.json", "*.safetensors", "*.txt"]))
    except Exception as error:
        raise InputError(
            f"model: expected {MINILM}, a folder or a Hub id, got {name!r}, which cannot be loaded "
            f"({type(error).__name__}: {error})."
        ) from error


def hash_model(folder: Path) -> str:
    """SHA-256 over names and contents of a model's configuration, vocabulary and weights."""
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix in {".json", ".safetensors", ".txt", ".model"}:
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
            digest.update(f"{path.name}:{content};".encode())
    return digest.hexdigest()


def _read_facts(folder: Path) -> TrainingFacts | None:
    try:
        return TrainingFacts(**json.loads((folder / FACTS_NAME).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _refuse() -> Classifier:
    raise RuntimeError("Plain fine-tuning asked for an undefended model.")
