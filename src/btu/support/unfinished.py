"""Work in progress of one run, in a folder of its own, so that a killed run can be continued."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from btu.support.errors import InputError
from btu.support.folders import replace_file
from btu.support.processes import is_main
from btu.support.record import render_json

logger = logging.getLogger(__name__)

_NOTES = "run.json"
_VERSION = 1
_MOST_SHOWN = 80
_ABSENT = object()


def name_unfinished(output: str | Path) -> Path:
    """Where the command line keeps the work in progress of an output: hidden, beside it.

    Example:
        >>> name_unfinished("/models/clean").as_posix()
        '/models/.clean.btu-unfinished'
    """
    path = Path(output).expanduser().absolute()
    return path.with_name(f".{path.name}.btu-unfinished")


class Unfinished:
    """A folder for what a run has done so far, for `scan` and `defend`, as the block of a `with`.

    The folder appears with the first thing that is worth keeping. Where the block ends well it is
    removed; after an error, an interrupt or a kill it stays, and the same run can be continued from
    it. Of several processes the main one alone writes.

    Args:
        folder: Where; a folder for this one run.
        resume: Continue what is there. Where nothing is there, the run starts from the beginning.
        overwrite: Without `resume`: throw away what is there.

    Attributes:
        folder: The absolute path.
        resumed: What was taken over from an earlier run, by the names that the timings of a record
            have; grows while the run goes on.

    Raises:
        InputError: When the block is entered: an unfinished run is there, and neither `resume` nor
            `overwrite` says what to do with it.

    Example:
        with btu.Unfinished("clean-model.unfinished", resume=True) as unfinished:
            defence = btu.defend(model, data, unfinished=unfinished)
            defence.save("clean-model")
    """

    def __init__(
        self, folder: str | Path, *, resume: bool = False, overwrite: bool = False
    ) -> None:
        self.folder = Path(folder).expanduser().absolute()
        self.resume = resume
        self.overwrite = overwrite
        self.resumed: list[str] = []
        self._notes: dict[str, Any] | None = None

    @property
    def exists(self) -> bool:
        """Whether there is an unfinished run in the folder."""
        return (self.folder / _NOTES).exists()

    def __enter__(self) -> Unfinished:
        """Refuse to start over what was not finished."""
        if self.folder.exists() and not self.exists and self._holds_other_files():
            raise InputError(
                f"{self.folder}: expected an unfinished run or a new folder, found one with other "
                "files in it. Name another folder, or remove it."
            )
        if self.exists and not (self.resume or self.overwrite):
            raise InputError(
                f"{self.folder}: expected no unfinished run, found one that was begun at "
                f"{self._read_notes().get('begun')}. Continue it with --resume (resume=True); or "
                "begin anew with --overwrite (overwrite=True), which throws it away, or with "
                "another output."
            )
        if self.resume and not self.exists:
            logger.info("%s: nothing to resume, starting from the beginning.", self.folder)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Remove the folder after a good end; otherwise say that it is there."""
        if self._notes is None or not is_main():
            return
        if error is None:
            self._remove()
        elif self.exists:
            error.add_note(
                f"What was done so far is kept in {self.folder}: continue with --resume "
                "(resume=True), or begin anew with --overwrite."
            )

    def begin(self, kind: str, facts: Mapping[str, Any]) -> list[str]:
        """Say what this run is, before anything is kept or taken over.

        Args:
            kind: `scan` or `defence`.
            facts: All that decides its result, JSON types; may be nested.

        Returns:
            How the unfinished run in the folder differs, a sentence each; with any, nothing may be
            taken over and nothing is kept. Empty where all is well.
        """
        if self._notes is not None:
            return ["expected one run, got a second one in the same block"]
        notes = {"version": _VERSION, "kind": kind, "facts": dict(facts)}
        ours: dict[str, Any] = json.loads(render_json(notes))
        if self.exists and self.resume:
            theirs = self._read_notes()
            found = {name: theirs.get(name) for name in ours}
            faults = list(_compare(dict(_flatten(found)), dict(_flatten(ours))))
            if faults:
                return faults
        elif self.exists and is_main():
            self._remove()
        self._notes = {**ours, "begun": datetime.now(UTC).isoformat(timespec="seconds")}
        return []

    def refuse(self, faults: list[str]) -> None:
        """Raise what `begin` found.

        Raises:
            InputError: There is a fault.
        """
        if faults:
            remedy = (
                "Start it as it was started, or begin anew with --overwrite (overwrite=True) and "
                "without --resume, or with another output."
            )
            listed = "\n  - ".join([f"{self.folder}: cannot resume another run", *faults])
            raise InputError(f"{listed}\n{remedy}")

    def open_part(self, name: str) -> Path:
        """A folder for a part of the run; the main process makes it.

        Args:
            name: Of the part.
        """
        self._start()
        part = self.folder / name
        if is_main():
            part.mkdir(exist_ok=True)
        return part

    def keep(self, name: str, write: Callable[[BinaryIO], Any]) -> None:
        """Write a file that is whole or absent; only the main process does.

        Args:
            name: Of the file, in the folder.
            write: Puts the content into the open file.
        """
        if not is_main():
            return
        self._start()
        with replace_file(self.folder / name) as file:
            write(file)

    def find(self, name: str) -> Path | None:
        """A file that was kept by the run that is continued; None where there is none."""
        path = self.folder / name
        return path if self._notes is not None and self.exists and path.is_file() else None

    def _start(self) -> None:
        """The notes come first: without them nothing in the folder is anybody's."""
        if self._notes is None:
            raise ValueError("Expected `begin` before anything is kept.")
        if is_main() and not self.exists:
            content = render_json(self._notes).encode()
            with replace_file(self.folder / _NOTES) as file:
                file.write(content)

    def _holds_other_files(self) -> bool:
        """A write that was killed leaves a scratch file, and that alone is nothing."""
        return not self.folder.is_dir() or any(
            path.suffix != ".tmp" for path in self.folder.iterdir()
        )

    def _remove(self) -> None:
        """The notes go last: what is killed on the way is still an unfinished run."""
        for path in self.folder.glob("*"):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            elif path.name != _NOTES:
                path.unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _read_notes(self) -> dict[str, Any]:
        path = self.folder / _NOTES
        try:
            notes = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise InputError(
                f"{path}: expected the notes of an unfinished run, got {error}. Remove the folder."
            ) from error
        return notes if isinstance(notes, dict) else {}


def _flatten(facts: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in facts.items():
        # What the notes wrap the facts in is no part of their names.
        path = name if not above or above == "facts" else f"{above}.{name}"
        if isinstance(value, Mapping):
            yield from _flatten(value, path)
        else:
            yield path, value


def _compare(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> Iterator[str]:
    for name in dict.fromkeys([*theirs, *ours]):
        before, now = theirs.get(name, _ABSENT), ours.get(name, _ABSENT)
        if before != now:
            yield f"{name}: expected {_show(before)}, got {_show(now)}"


def _show(value: Any) -> str:
    shown = "nothing" if value is _ABSENT else json.dumps(value)
    return shown if len(shown) <= _MOST_SHOWN else f"{shown[: _MOST_SHOWN - 1]}…"
