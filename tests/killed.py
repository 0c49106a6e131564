"""Runs of the command line that are killed at a moment: `python killed.py PLAN`.

The plan is a JSON list of runs: the words after `btu`, and the moment at which the run is killed by
SIGKILL (null: never). Each runs in a process of its own, forked from this one, which has imported
everything and run nothing. Prints what each ended with: a status, or minus the signal.
"""

import functools
import json
import os
import signal
import sys
from importlib import import_module
from pathlib import Path

import torch
from transformers import TrainerState

from btu.cli import main
from btu.model import finetune
from btu.support import folders, unfinished

# What each run would import for itself.
for module in (
    "btu.defend",
    "btu.evaluate",
    "btu.report.record",
    "btu.report.terminal",
    "pydantic.type_adapter",
    "torch.profiler",
    "transformers.models.bert.modeling_bert",
):
    import_module(module)


def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)


def after(function, condition):
    """The function, and death after the call that the condition picks."""

    @functools.wraps(function)
    def call(*args, **options):
        result = function(*args, **options)
        if condition(*args, **options):
            die()
        return result

    return call


def after_keeping(name):
    """Once a file of the work in progress is whole."""
    keep = unfinished.Unfinished.keep
    unfinished.Unfinished.keep = after(keep, lambda _, kept, __: kept == name)


def while_keeping(name):
    """With half of a file of the work in progress on the disk."""
    fsync = os.fsync

    def flush(descriptor):
        if f".{name}." in str(Path(f"/proc/self/fd/{descriptor}").readlink()):
            os.ftruncate(descriptor, os.fstat(descriptor).st_size // 2)
            die()
        fsync(descriptor)

    folders.os.fsync = flush


def at_step(part, number):
    """After an optimiser step of a training."""
    step = finetune._ProgressCallback.on_step_end
    wanted = {"finetune": "fine-tuning", "recovery": "recovering"}[part]
    finetune._ProgressCallback.on_step_end = after(
        step,
        lambda self, _, state, *__, **___: (
            (self.description, state.global_step) == (wanted, int(number))
        ),
    )


def while_saving(step):
    """With half a `trainer_state.json` in the checkpoint of a step."""
    write = TrainerState.save_to_json

    def write_half(self, path):
        write(self, path)
        if self.global_step == int(step):
            content = Path(path).read_text()
            Path(path).write_text(content[: len(content) // 2])
            die()

    TrainerState.save_to_json = write_half


def before_the_cut():
    """The fine-tuning is over."""
    sys.modules["btu.defend"].unlearn_model = die


def before_the_end():
    """All is done but for the output."""
    sys.modules["btu.defend"].Defence.save = die


def run(words, moment):
    """One run, in this process."""
    torch.set_num_threads(1)
    if moment is not None:
        name, *values = moment
        globals()[name](*values)
    sys.argv = ["btu", *words]
    try:
        main()
    except SystemExit as ended:
        return ended.code or 0


def start(words, moment):
    """One run, in a process of its own; how it ended."""
    child = os.fork()
    if child == 0:
        status = 99
        try:
            status = run(words, moment)
        finally:
            sys.stderr.flush()
            os._exit(status)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    plan = json.loads(Path(sys.argv[1]).read_text())
    sys.stdout.write(json.dumps([start(*step) for step in plan]))
