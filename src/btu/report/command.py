"""The command that makes a record again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from btu.data.shards import JOIN
from btu.evidence.settings import RECIPE, EvidenceSettings
from btu.model.settings import AdapterSettings, FineTuneSettings, ProbeSettings
from btu.repair.settings import RecoverySettings, RepairSettings
from btu.report.summary import Record
from btu.report.text import show_text
from btu.support.settings import has_option, write_options

# The probes take these from the options of the fine-tuning.
_SHARED = ("precision", "seed")


def write_command(record: Record) -> str:
    """The command that makes this record again, for a POSIX shell.

    A line of Python where no command can say it: for data that was in memory, and for settings
    that have no option. Reviews that came from no file go into one: the record holds them.
    """
    if record["data"]["source"] == "memory" or not _has_options(record):
        return show_text(_write_call(record))
    is_scan = record["kind"] == "scan"
    words = ["btu", "scan" if is_scan else "train", *record["data"]["source"].split(JOIN)]
    words += ["--model", record["model"]["name"]] if record["model"] else []
    words += ["--output", "btu.json" if is_scan else "clean-model"]
    words += ["--recipe", record["recipe"]]
    if record["reviews"]:
        words += ["--accept", record.get("accept_file") or "reviews.toml"]
    for settings, values in _list_settings(record):
        words += write_options(settings, values)
    if not is_scan:
        words += _write_test(record)
    for name, value in record["data"]["columns"].items():
        words += [f"--{name.replace('_', '-')}", value] if value is not None else []
    return show_text(shlex.join(map(str, words)))


def _has_options(record: Record) -> bool:
    """Whether all that is not as usual can be said by options of the command line."""
    return all(
        name in _SHARED or value == getattr(settings(), name) or has_option(settings, name)
        for settings, values in _list_settings(record)
        for name, value in values.items()
    )


def _list_settings(record: Record) -> list[tuple[type, Mapping[str, Any]]]:
    """Every class of settings with what the run had, in the order in which it is written."""
    settings, is_scan = record["settings"], record["kind"] == "scan"
    tuned = dict(settings.get("finetune") or {})
    if is_scan:
        # A scan tunes nothing; it shares these options with the training.
        tuned = {"seed": record["seed"]}
        if record["model"]:
            tuned |= {
                "max_length": record["max_length"],
                "precision": settings["probes"]["precision"],
            }
    probes = dict(settings["probes"] or {})
    if probes.get("probe_rows") == ProbeSettings().for_recipe(record["recipe"]).probe_rows:
        probes["probe_rows"] = None  # what the recipe takes by itself
    parts: list[tuple[type, Mapping[str, Any]]] = [
        (FineTuneSettings, tuned),
        (ProbeSettings, probes),
        (EvidenceSettings, settings["evidence"] or {}),
    ]
    if not is_scan:
        repair = {name: record.get(name, False) for name in ("action", "restore", "drop_suspects")}
        parts += [
            (AdapterSettings, settings.get("adapter") or {}),
            (RepairSettings, repair if record["recipe"] == RECIPE else {}),
            (RecoverySettings, {"epochs": record["recovery"]["epochs"]}),
        ]
    return parts


def _write_test(record: Record) -> list[str]:
    """What a training was given beside its data: clean rows, held-out rows, a known trigger."""
    clean, tested = record["recovery"]["clean_data"], record["evaluation"]
    words = [] if clean is None else ["--clean-data", clean["source"]]
    evaluated = record.get("training_evaluation")
    words += [] if evaluated is None else ["--eval-data", evaluated["source"]]
    if tested is not None and tested["test_data"]["source"] != "memory":
        words += ["--test-data", tested["test_data"]["source"]]
        if tested["after"].get("trigger") is not None:
            words += ["--trigger", tested["after"]["trigger"]]
            words += ["--target", tested["after"]["target_label"]]
        words += ["--undefended"] if tested["before"] is not None else []
    return words


def _write_call(record: Record) -> str:
    """A line of Python, with the settings that are not the usual ones."""
    is_scan = record["kind"] == "scan"
    names = {
        FineTuneSettings: "settings",
        ProbeSettings: "settings" if is_scan else "probe_settings",
        EvidenceSettings: "evidence" if is_scan else "evidence_settings",
        RecoverySettings: "recovery",
        AdapterSettings: "adapter",
    }
    options = [f"recipe={record['recipe']!r}"]
    for settings, values in _list_settings(record):
        usual = settings()
        other = {
            name: value
            for name, value in values.items()
            if getattr(usual, name) != value and (settings is not ProbeSettings or name != "seed")
        }
        if settings is RepairSettings or (settings is FineTuneSettings and is_scan):
            # A scan takes these by themselves, and its precision with the probes.
            options += [f"{n}={value!r}" for n, value in other.items() if n != "precision"]
        elif other:
            inside = ", ".join(f"{name}={value!r}" for name, value in other.items())
            options.append(f"{names[settings]}=btu.{settings.__name__}({inside})")
    options += ["accept=reviews"] if record["reviews"] else []
    data = "data" if record["data"]["source"] == "memory" else repr(record["data"]["source"])
    columns = record["data"]["columns"]
    options += [f"{name}={value!r}" for name, value in columns.items() if value is not None]
    model = record["model"] and record["model"]["name"]
    return f"btu.{'scan' if is_scan else 'defend'}({model!r}, {data}, {', '.join(options)})"
