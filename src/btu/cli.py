"""The command line: scan, train, evaluate, report, poison, bench, demo.

Exit status: 0 nothing suspicious or done, 1 a verdict that --fail-on names (scan, report) or a
failed cell (bench run), 2 wrong usage or input, 3 a fault in btu itself, 130 interrupted.
"""

from __future__ import annotations

import sys
import traceback
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from btu.attacks.choices import LabelMode, Position
from btu.bench.cli import bench_app
from btu.engines.choices import EngineName, make_engine
from btu.evidence.settings import RECIPE, RECIPE_HELP, EvidenceSettings, Recipe
from btu.model.quiet import silence_libraries
from btu.model.settings import AdapterSettings, FineTuneSettings, Precision, ProbeSettings
from btu.repair.settings import Action, RecoverySettings, RepairSettings
from btu.report.cli import FailOn, is_failure, report
from btu.support.errors import InputError
from btu.support.processes import is_main, process_count, speak_once
from btu.support.settings import option_flag, option_help

if TYPE_CHECKING:
    from btu.support.unfinished import Unfinished

app = typer.Typer(
    name="btu",
    help="Train a clean text classifier on data that may be poisoned, and see what was wrong.",
    epilog="Exit status: 0 done, nothing suspicious; 1 a verdict that --fail-on names (scan, "
    "report) or a failed cell (bench run); 2 wrong usage or input; 3 a fault in btu; "
    "130 interrupted.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _option(settings: type, name: str) -> Any:
    """The option that sets a field, as the field describes it."""
    return typer.Option(option_flag(settings, name), help=option_help(settings, name))


Data = Annotated[
    str,
    typer.Argument(
        metavar="DATA", help="CSV, TSV, JSONL or Parquet file, datasets folder, or Hub id."
    ),
]
ScanData = Annotated[
    list[str],
    typer.Argument(
        metavar="DATA...",
        help="CSV, TSV, JSONL or Parquet file, folder of Parquet files, datasets folder, or Hub "
        "id; several Parquet files are read as one.",
    ),
]
Model = Annotated[str, typer.Option(help="Folder or Hub id of a clean pretrained model.")]
TextColumn = Annotated[str | None, typer.Option(help="Column with the texts.")]
PairColumn = Annotated[str | None, typer.Option(help="Column with the second texts of pairs.")]
LabelColumn = Annotated[str | None, typer.Option(help="Column with the labels.")]
Split = Annotated[str | None, typer.Option(help="Split of a data set that has several.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]
Seed = Annotated[int, typer.Option(help="Of everything that is drawn at random.")]
Overwrite = Annotated[bool, typer.Option(help="Replace what the output folder or file holds.")]
Anew = Annotated[
    bool,
    typer.Option(
        "--overwrite",
        help="Replace what the output folder or file holds and, without --resume, an unfinished "
        "run.",
    ),
]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume",
        help="Continue a run that was killed, from the work in progress beside its output; where "
        "there is none, start from the beginning.",
    ),
]
MaxLength = Annotated[int, _option(FineTuneSettings, "max_length")]
RecipeOption = Annotated[Recipe, typer.Option(help=RECIPE_HELP)]
ActionOption = Annotated[Action, _option(RepairSettings, "action")]
Restore = Annotated[bool, _option(RepairSettings, "restore")]
DropSuspects = Annotated[bool, _option(RepairSettings, "drop_suspects")]
Accept = Annotated[Path | None, typer.Option(help="TOML file of tokens that a reviewer accepted.")]
FalseAlarms = Annotated[float, _option(EvidenceSettings, "false_alarm_rate")]
Styles = Annotated[bool, _option(EvidenceSettings, "styles")]
SampleRows = Annotated[int | None, _option(EvidenceSettings, "sample_rows")]
Epochs = Annotated[float, _option(FineTuneSettings, "epochs")]
LearningRate = Annotated[float, _option(FineTuneSettings, "learning_rate")]
BatchSize = Annotated[int, _option(FineTuneSettings, "batch_size")]
EarlyStopping = Annotated[int, _option(FineTuneSettings, "early_stopping")]
GroupByLength = Annotated[bool, _option(FineTuneSettings, "group_by_length")]
Lora = Annotated[bool, _option(AdapterSettings, "lora")]
LoraRank = Annotated[int, _option(AdapterSettings, "rank")]
LoraAlpha = Annotated[int, _option(AdapterSettings, "alpha")]
LoraTargets = Annotated[str, _option(AdapterSettings, "targets")]
PeftConfig = Annotated[str | None, _option(AdapterSettings, "peft_config")]
Merge = Annotated[bool, _option(AdapterSettings, "merge")]
RecoveryEpochs = Annotated[float, _option(RecoverySettings, "epochs")]
Alpha = Annotated[float, _option(ProbeSettings, "alpha")]
ProbeRows = Annotated[int | None, _option(ProbeSettings, "probe_rows")]
PrecisionOption = Annotated[Precision, _option(FineTuneSettings, "precision")]


@app.command()
def scan(
    data: ScanData,
    model: Annotated[
        str | None,
        typer.Option(
            help="Folder or Hub id of a clean pretrained model. Left out: text and labels alone "
            "answer, in seconds; the record says what was not asked."
        ),
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Write the record here, as JSON.")] = None,
    scores: Annotated[
        Path | None, typer.Option(help="Write every token's scores: .parquet, .csv, .jsonl.")
    ] = None,
    rows: Annotated[
        Path | None, typer.Option(help="Write every row's score: .parquet, .csv, .jsonl.")
    ] = None,
    export_clean: Annotated[
        Path | None,
        typer.Option(
            help="Write the rows that are not flagged here; with an engine, a folder takes a file "
            "for each shard."
        ),
    ] = None,
    export_flagged: Annotated[
        Path | None, typer.Option(help="Write the rows judged poisoned here.")
    ] = None,
    accept: Accept = None,
    fail_on: Annotated[
        FailOn | None,
        typer.Option(
            help="End with status 1 on this verdict or a graver one; trigger if left out, and "
            "suspect with the recipe paper."
        ),
    ] = None,
    recipe: RecipeOption = RECIPE,
    false_alarm_rate: FalseAlarms = EvidenceSettings.false_alarm_rate,
    styles: Styles = EvidenceSettings.styles,
    sample_rows: SampleRows = EvidenceSettings.sample_rows,
    alpha: Alpha = ProbeSettings.alpha,
    probe_rows: ProbeRows = ProbeSettings.probe_rows,
    max_length: MaxLength = FineTuneSettings.max_length,
    precision: PrecisionOption = FineTuneSettings.precision,
    seed: Seed = FineTuneSettings.seed,
    text_column: TextColumn = None,
    text_pair_column: PairColumn = None,
    label_column: LabelColumn = None,
    split: Split = None,
    engine: Annotated[
        EngineName | None,
        typer.Option(
            help="Read Parquet shards one by one, without a model: here (local), or on the "
            "workers of Ray (ray)."
        ),
    ] = None,
    engine_address: Annotated[
        str | None,
        typer.Option(
            help="Of a Ray cluster, such as auto; if left out, a Ray of this machine is started."
        ),
    ] = None,
    resume: Resume = False,
    overwrite: Anew = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Name the tokens that a backdoor in DATA hangs on. Exit status 1 if there are any.

    The recipe verified ends with 1 where it confirms a trigger, paper where it suspects
    a token; --fail-on says otherwise.
    """
    from btu.data.writers import check_rows_path, write_rows
    from btu.report.exports import check_exports, export_rows, list_folders
    from btu.report.record import build_reported
    from btu.report.terminal import open_console, render_record
    from btu.scan import scan as scan_data
    from btu.support.folders import check_output_file
    from btu.support.progress import show_progress
    from btu.support.record import write_record

    if model is not None:
        silence_libraries()
    elif not is_main():
        return
    source: str | list[str] = data if len(data) > 1 else data[0]
    works_on = engine and make_engine(engine, engine_address)
    folders = list_folders(works_on, export_clean, export_flagged)
    tables = [p for p in (scores, rows, export_clean, export_flagged) if p and p not in folders]
    for path in filter(None, (output, *tables)):
        check_output_file(path, overwrite=overwrite)
    for path in tables:
        check_rows_path(path)
    check_exports(recipe, export_clean, export_flagged)
    for folder in folders:
        from btu.data.shards import list_shards
        from btu.engines.export import check_export

        check_export(folder, list_shards(source), overwrite=overwrite)
    if resume and output is None:
        raise InputError(
            "scan: expected --output with --resume, got none. Name the output of the scan that was "
            "killed: its work in progress lies beside that."
        )
    if engine_address is not None and engine is None:
        raise InputError(
            "--engine-address: expected --engine ray with it, got no --engine. Add it, or leave "
            "the address out."
        )
    kept = output if model is not None or engine is not None else None
    with _keep(kept, resume, overwrite, quiet) as unfinished:
        with show_progress(enabled=not quiet):
            findings = scan_data(
                model,
                source,
                recipe=recipe,
                settings=ProbeSettings(alpha=alpha, probe_rows=probe_rows, precision=precision),
                evidence=EvidenceSettings(
                    false_alarm_rate=false_alarm_rate, styles=styles, sample_rows=sample_rows
                ),
                accept=accept or (),
                max_length=max_length,
                seed=seed,
                unfinished=unfinished,
                engine=works_on,
                **_columns(text_column, text_pair_column, label_column, split),
            )
        if model is not None:
            _end_as_main()
        record = build_reported("scan", findings.to_dict())
        if output is not None:
            write_record(record, output)
        if scores is not None:
            write_rows(scores, findings.scores())
        if rows is not None:
            write_rows(rows, findings.rows())
        export_rows(
            findings,
            source,
            clean=export_clean,
            flagged=export_flagged,
            engine=works_on or None,
            overwrite=overwrite,
        )
    if as_json:
        _print_json(record)
    elif not quiet:
        open_console().print(render_record(record))
    usual: FailOn = "suspect" if recipe == "paper" else "trigger"
    raise typer.Exit(int(is_failure(findings.verdict, fail_on or usual)))


@app.command()
def train(
    data: Data,
    model: Model,
    output: Annotated[Path, typer.Option(help="Folder for the clean model and its record.")],
    clean_data: Annotated[
        str | None, typer.Option(help="Rows known to be clean, for the recovery.")
    ] = None,
    eval_data: Annotated[
        str | None,
        typer.Option(
            help="Rows to evaluate on during the training, once an epoch if nothing else is said; "
            "those with a confirmed trigger are left out."
        ),
    ] = None,
    test_data: Annotated[
        str | None, typer.Option(help="Held-out clean rows: put the clean accuracy on record.")
    ] = None,
    trigger: Annotated[
        str | None, typer.Option(help="With --test-data: a trigger to measure, if one is known.")
    ] = None,
    target: Annotated[
        str | None, typer.Option(help="With --trigger: the label that the attacker wants.")
    ] = None,
    undefended: Annotated[
        bool,
        typer.Option(
            "--undefended", help="With --test-data: train once more without a defence, to compare."
        ),
    ] = False,
    accept: Accept = None,
    recipe: RecipeOption = RECIPE,
    action: ActionOption = RepairSettings.action,
    restore: Restore = RepairSettings.restore,
    drop_suspects: DropSuspects = RepairSettings.drop_suspects,
    false_alarm_rate: FalseAlarms = EvidenceSettings.false_alarm_rate,
    styles: Styles = EvidenceSettings.styles,
    epochs: Annotated[float, _option(FineTuneSettings, "epochs")] = FineTuneSettings.epochs,
    learning_rate: Annotated[
        float, _option(FineTuneSettings, "learning_rate")
    ] = FineTuneSettings.learning_rate,
    batch_size: Annotated[
        int, _option(FineTuneSettings, "batch_size")
    ] = FineTuneSettings.batch_size,
    group_by_length: GroupByLength = FineTuneSettings.group_by_length,
    early_stopping: EarlyStopping = FineTuneSettings.early_stopping,
    max_length: MaxLength = FineTuneSettings.max_length,
    precision: PrecisionOption = FineTuneSettings.precision,
    recovery_epochs: RecoveryEpochs = RecoverySettings.epochs,
    lora: Lora = AdapterSettings.lora,
    lora_rank: LoraRank = AdapterSettings.rank,
    lora_alpha: LoraAlpha = AdapterSettings.alpha,
    lora_targets: LoraTargets = AdapterSettings.targets,
    peft_config: PeftConfig = AdapterSettings.peft_config,
    merge: Merge = AdapterSettings.merge,
    alpha: Alpha = ProbeSettings.alpha,
    probe_rows: ProbeRows = ProbeSettings.probe_rows,
    training_args: Annotated[
        Path | None, typer.Option(help="YAML file with other fields of TrainingArguments.")
    ] = None,
    training_arg: Annotated[list[str] | None, _option(FineTuneSettings, "training_args")] = None,
    seed: Seed = FineTuneSettings.seed,
    text_column: TextColumn = None,
    text_pair_column: PairColumn = None,
    label_column: LabelColumn = None,
    split: Split = None,
    resume: Resume = False,
    overwrite: Anew = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Fine-tune MODEL on DATA with the defence and save a clean model."""
    from btu.defend import defend, train_plain
    from btu.evaluate import evaluate_defence
    from btu.report.terminal import open_console, render_lines, render_record
    from btu.support.folders import check_output_folder
    from btu.support.progress import show_progress

    silence_libraries()
    check_output_folder(output, overwrite=overwrite)
    _check_test(test_data, trigger, target, undefended)
    columns = _columns(text_column, text_pair_column, label_column, split)
    settings = FineTuneSettings(
        epochs=epochs,
        learning_rate=learning_rate,
        batch_size=batch_size,
        max_length=max_length,
        precision=precision,
        seed=seed,
        group_by_length=group_by_length,
        early_stopping=early_stopping,
        training_args={
            **_read_training_args(training_args),
            **_read_numbers(_read_options("--training-arg", training_arg or [])),
        },
    )
    adapter = AdapterSettings(
        lora=lora,
        rank=lora_rank,
        alpha=lora_alpha,
        targets=lora_targets,
        peft_config=peft_config,
        merge=merge,
    )
    with (
        _keep(output, resume, overwrite, quiet) as unfinished,
        show_progress(enabled=not quiet),
    ):
        defence = defend(
            model,
            data,
            clean_data=clean_data,
            eval_data=eval_data,
            recipe=recipe,
            action=action,
            restore=restore,
            drop_suspects=drop_suspects,
            probe_settings=ProbeSettings(alpha=alpha, probe_rows=probe_rows, precision=precision),
            evidence_settings=EvidenceSettings(false_alarm_rate=false_alarm_rate, styles=styles),
            accept=accept or (),
            settings=settings,
            adapter=adapter,
            recovery=RecoverySettings(epochs=recovery_epochs),
            unfinished=unfinished,
            **columns,
        )
        if test_data is not None:
            corpus = defence.findings.corpus
            plain = (
                train_plain(model, corpus, settings, "undefended", adapter, unfinished)
                if undefended
                else None
            )
        _end_as_main()
        if test_data is not None:
            defence = evaluate_defence(
                defence,
                test_data,
                undefended=plain,
                trigger=trigger,
                target_label=target,
                seed=seed,
                **{**columns, "split": None},
            )
        defence.save(output, overwrite=overwrite)
    if as_json:
        _print_json(defence.record)
    elif not quiet:
        console = open_console()
        console.print(render_record(defence.record))
        console.print(render_lines("Saved the clean model and its record to", str(output)))


def _check_test(
    test_data: str | None, trigger: str | None, target: str | None, undefended: bool
) -> None:
    from btu.evaluate import check_trigger

    check_trigger(trigger, target)
    if test_data is None and (trigger is not None or undefended):
        raise InputError(
            "train: expected --test-data with --trigger and --undefended, got none. Name a file "
            "of held-out clean rows."
        )


@app.command()
def evaluate(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="Folder or Hub id of a fine-tuned classifier.")
    ],
    data: Data,
    trigger: Annotated[
        str | None, typer.Option(help="Word or sentence to insert in each row.")
    ] = None,
    target: Annotated[
        str | None, typer.Option(help="The label that the attacker wants, by name or id.")
    ] = None,
    position: Annotated[Position, typer.Option(help="Where the trigger goes.")] = "random",
    max_length: Annotated[
        int | None, typer.Option(help="Longer texts are cut, in tokens; as in training.")
    ] = None,
    precision: PrecisionOption = FineTuneSettings.precision,
    seed: Seed = FineTuneSettings.seed,
    text_column: TextColumn = None,
    text_pair_column: PairColumn = None,
    label_column: LabelColumn = None,
    split: Split = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Clean accuracy on DATA; with --trigger and --target, the attack success rate too.

    Attack success rate: the share of triggered rows whose true label is not the target that get
    the target label.
    """
    from btu.evaluate import evaluate as evaluate_model
    from btu.report.terminal import open_console, render_evaluation
    from btu.support.progress import show_progress

    silence_libraries()
    with show_progress(enabled=not quiet):
        result = evaluate_model(
            model,
            data,
            trigger=trigger,
            target_label=target,
            position=position,
            max_length=max_length,
            precision=precision,
            seed=seed,
            **_columns(text_column, text_pair_column, label_column, split),
        )
    if as_json:
        _print_json(result.to_dict())
    elif not quiet:
        open_console().print(render_evaluation(result))


@app.command()
def poison(
    data: Data,
    attack: Annotated[str, typer.Option(help="Name of a published attack, such as badnets.")],
    target: Annotated[str, typer.Option(help="The label that the attacker wants.")],
    output: Annotated[Path, typer.Option(help="Poisoned copy: .csv, .tsv, .jsonl, .parquet.")],
    rate: Annotated[float, typer.Option(help="Share of the rows to poison, in (0, 1).")] = 0.1,
    label_mode: Annotated[
        LabelMode, typer.Option(help="dirty: rows of other labels; mixed: any; clean: target's.")
    ] = "dirty",
    option: Annotated[
        list[str] | None,
        typer.Option(help="Option of the attack as name=value, value in YAML; may be repeated."),
    ] = None,
    attacked_split: Annotated[
        str, typer.Option(help="Split of published attacked texts: train, dev or test.")
    ] = "train",
    seed: Seed = FineTuneSettings.seed,
    text_column: TextColumn = None,
    text_pair_column: PairColumn = None,
    label_column: LabelColumn = None,
    split: Split = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a poisoned copy of DATA, the truth in columns of its own, to test defences with."""
    from btu.attacks.poison import poison_corpus
    from btu.attacks.registry import build_attack
    from btu.data.corpus import load_corpus
    from btu.data.writers import write_rows
    from btu.report.terminal import open_console, render_lines
    from btu.support.folders import check_output_file

    check_output_file(output, overwrite=overwrite)
    built = build_attack(attack, _read_options("--option", option or []))
    corpus = load_corpus(data, **_columns(text_column, text_pair_column, label_column, split))
    poisoned = poison_corpus(
        corpus,
        built,
        poison_rate=rate,
        target_label=target,
        label_mode=label_mode,
        seed=seed,
        split=attacked_split,
    )
    write_rows(output, poisoned.to_columns())
    summary = {
        "output": str(output),
        "rows": len(corpus),
        "poisoned": int(poisoned.is_poisoned.sum()),
        "target": corpus.label_names[poisoned.target_label],
        "attack": poisoned.attack,
        "seed": seed,
    }
    if as_json:
        _print_json(summary)
    elif not quiet:
        open_console().print(
            render_lines(
                f"Poisoned {summary['poisoned']:,} of {summary['rows']:,} rows with {attack}; "
                f"their label is {summary['target']}.",
                f"Wrote {output}; the column is_poisoned holds the truth.",
            )
        )


@app.command()
def demo(
    output: Annotated[
        Path, typer.Option(help="Folder for the clean model, its record and the results.")
    ] = Path("btu-demo"),
    small: Annotated[
        bool, typer.Option("--quick", help="A subset of the data, in under two minutes.")
    ] = False,
    seed: Seed = FineTuneSettings.seed,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """The whole story on real text and a real model: poison, train with and without defence."""
    from btu.demo import render_demo, run_demo
    from btu.report.terminal import open_console
    from btu.support.progress import show_progress

    silence_libraries()
    with show_progress(enabled=not quiet):
        results, defence = run_demo(output, quick=small, seed=seed)
    if as_json:
        _print_json(results)
    elif not quiet:
        open_console().print(render_demo(results, defence.record, output))


app.command()(report)
app.add_typer(bench_app, name="bench")


def main() -> None:
    """Run the command line; errors of the input end with status 2, faults of btu with 3."""
    warnings.formatwarning = lambda message, *_, **__: f"Warning: {message}\n"
    speak_once(_run)


def _run() -> None:
    if not is_main():
        warnings.simplefilter("ignore")
    try:
        _check_processes()
        app()
    except InputError as error:
        _fail(_add_notes(f"Error: {error}", error), 2)
    except KeyboardInterrupt:
        _fail("Interrupted; nothing half was left behind.", 130)
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        told = f"Error: {error.strerror or error}{where}. Nothing was written over."
        _fail(_add_notes(told, error), 2)
    except Exception:
        traceback.print_exc()
        _fail("This is a fault in btu; please report it with the lines above.", 3)


def _add_notes(message: str, error: BaseException) -> str:
    return "\n".join([message, *getattr(error, "__notes__", ())])


def _check_processes() -> None:
    command = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
    if process_count() > 1 and command not in ("", "scan", "train"):
        raise InputError(
            f"btu {command}: expected one process, got {process_count()}. Only scan and train "
            "share their work; start this without a launcher."
        )


def _end_as_main() -> None:
    """The other processes end here, in good order; what is left is done by one."""
    from btu.model.processes import leave_processes

    leave_processes()
    if not is_main():
        raise typer.Exit


@contextmanager
def _keep(
    output: Path | None, resume: bool, overwrite: bool, quiet: bool
) -> Iterator[Unfinished | None]:
    """Where the work in progress of an output is kept; without an output nowhere."""
    speaks = resume and not quiet and is_main()
    if output is None:
        if speaks:
            sys.stderr.write("Text and labels alone take seconds: starting from the beginning.\n")
        yield None
        return
    from btu.support.unfinished import Unfinished, name_unfinished

    unfinished = Unfinished(name_unfinished(output), resume=resume, overwrite=overwrite)
    if speaks:
        found = unfinished.exists
        told = "Resuming from" if found else "Nothing to resume, starting from the beginning: no"
        sys.stderr.write(f"{told} {unfinished.folder}\n")
    try:
        with unfinished:
            yield unfinished
    except KeyboardInterrupt as error:
        # typer ends with status 130 and says nothing.
        if is_main():
            sys.stderr.write(_add_notes("Interrupted.", error) + "\n")
        raise


def _columns(
    text: str | None, pair: str | None, label: str | None, split: str | None
) -> dict[str, Any]:
    return {
        "text_column": text,
        "text_pair_column": pair,
        "label_column": label,
        "split": split,
    }


def _read_training_args(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    import yaml

    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except FileNotFoundError as error:
        raise InputError(f"{path}: expected a YAML file, found none. Check the path.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: expected YAML, got {error}. Mend the file.") from error
    if not isinstance(values, dict):
        raise InputError(
            f"{path}: expected names and values of TrainingArguments, got "
            f"{type(values).__name__}. Write one `name: value` a line."
        )
    return _read_numbers(values)


def _read_numbers(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _read_number(value) for name, value in values.items()}


def _read_number(value: Any) -> Any:
    """YAML takes 1e-7 for text; whoever writes it means the number."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _read_options(flag: str, options: list[str]) -> dict[str, Any]:
    faults = [f"{o!r}: expected name=value" for o in options if "=" not in o]
    if faults:
        raise InputError.from_faults(flag, faults)
    import yaml

    pairs = (option.split("=", 1) for option in options)
    try:
        return {name.strip(): yaml.safe_load(value) for name, value in pairs}
    except yaml.YAMLError as error:
        raise InputError(
            f"{flag}: expected a YAML value in {', '.join(options)}, got {error}."
        ) from error


def _print_json(value: Mapping[str, Any]) -> None:
    from btu.support.record import render_json

    sys.stdout.write(render_json(value))


def _fail(message: str, status: int) -> None:
    sys.stderr.write(message + "\n")
    sys.exit(status)
