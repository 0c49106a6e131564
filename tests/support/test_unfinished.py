"""Work in progress is whole, somebody's, and gone after a good end."""

import errno
import json

import pytest

from btu.support.errors import InputError
from btu.support.unfinished import Unfinished, name_unfinished

FACTS = {"seed": 3, "probes": {"alpha": 0.1, "more": {}}, "names": ("a", "b")}


def stop(work, error):
    """A run that keeps one file and ends with an error."""
    with work:
        work.begin("scan", FACTS)
        work.keep("first", lambda file: file.write(b"1"))
        raise error


@pytest.fixture
def folder(tmp_path):
    """What a run left that was stopped by an error."""
    with pytest.raises(RuntimeError):
        stop(Unfinished(tmp_path / "work"), RuntimeError())
    return tmp_path / "work"


def list_names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_nothing_appears_before_something_is_kept(tmp_path):
    with Unfinished(tmp_path / "work") as work:
        assert work.begin("scan", FACTS) == []
        assert not work.folder.exists()
        work.keep("first", lambda file: file.write(b"1"))
        assert list_names(work.folder) == ["first", "run.json"]
    assert not list(tmp_path.iterdir())


def test_after_an_error_it_stays_and_the_error_says_where(tmp_path):
    work = Unfinished(tmp_path / "work")
    with pytest.raises(OSError, match="full") as ended:
        stop(work, OSError(errno.ENOSPC, "full"))
    (note,) = ended.value.__notes__
    assert str(work.folder) in note
    assert "--resume" in note
    assert list_names(work.folder) == ["first", "run.json"]


def test_a_file_is_whole_or_absent(folder):
    def write_half(file):
        file.write(b"half")
        raise RuntimeError("broken")

    with Unfinished(folder, resume=True) as work:
        work.begin("scan", FACTS)
        with pytest.raises(RuntimeError, match="broken"):
            work.keep("second", write_half)
        assert work.find("second") is None
        assert list_names(folder) == ["first", "run.json"]


def test_what_is_there_is_found_by_who_resumes_alone(folder):
    with Unfinished(folder, resume=True) as work:
        assert work.find("first") is None  # not before it is known whose it is
        assert work.begin("scan", FACTS) == []
        assert work.find("first").read_bytes() == b"1"
        assert work.find("second") is None
    assert not folder.exists()


def test_without_a_word_it_is_not_begun_anew(folder):
    with pytest.raises(InputError, match="found one that was begun at"), Unfinished(folder):
        pass
    assert list_names(folder) == ["first", "run.json"]


def test_it_is_begun_anew_on_request(folder):
    with Unfinished(folder, overwrite=True) as work:
        assert (folder / "first").exists()  # data and model may still be refused
        assert work.begin("scan", {"seed": 4}) == []
        assert work.find("first") is None
    assert not folder.exists()


def test_each_difference_is_one_sentence(folder):
    with Unfinished(folder, resume=True) as work:
        faults = work.begin("defence", {"seed": 4, "probes": {"alpha": 0.1}, "more": None})
        assert faults == [
            'kind: expected "scan", got "defence"',
            "seed: expected 3, got 4",
            'names: expected ["a", "b"], got nothing',
            "more: expected nothing, got null",
        ]
        with pytest.raises(InputError, match="cannot resume another run"):
            work.refuse(faults)
    assert list_names(folder) == ["first", "run.json"]


def test_one_folder_is_of_one_run(tmp_path):
    with Unfinished(tmp_path / "work") as work:
        assert work.begin("scan", FACTS) == []
        assert work.begin("scan", FACTS) == ["expected one run, got a second one in the same block"]


def test_a_folder_with_other_files_is_refused(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(InputError, match="found one with other files"), Unfinished(tmp_path):
        pass
    assert list_names(tmp_path) == ["thesis.tex"]


def test_the_scratch_file_of_a_killed_write_is_nothing(tmp_path):
    (tmp_path / ".run.json.0a1b.tmp").touch()
    with Unfinished(tmp_path) as work:
        work.begin("scan", FACTS)
        work.keep("first", lambda file: file.write(b"1"))
    assert not tmp_path.exists()


def test_notes_that_are_broken_are_refused(folder):
    (folder / "run.json").write_text("{")
    with (
        pytest.raises(InputError, match="expected the notes"),
        Unfinished(folder, resume=True) as w,
    ):
        w.begin("scan", FACTS)
    assert list_names(folder) == ["first", "run.json"]


def test_nothing_is_kept_by_who_does_not_say_what_run_it_is(tmp_path):
    with pytest.raises(ValueError, match="begin"), Unfinished(tmp_path / "work") as work:
        work.keep("first", lambda file: file.write(b"1"))
    assert not list(tmp_path.iterdir())


def test_the_notes_are_json_with_the_facts(folder):
    notes = json.loads((folder / "run.json").read_text())
    assert notes["facts"]["probes"] == {"alpha": 0.1, "more": {}}


def test_the_command_line_keeps_it_hidden_beside_the_output(tmp_path):
    assert name_unfinished(tmp_path / "out") == tmp_path / ".out.btu-unfinished"
