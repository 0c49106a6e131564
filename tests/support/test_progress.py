"""Progress bars: on standard error, only when switched on, and gone when the block ends."""

import re

import pytest

from btu.support.progress import ProgressBar, show_progress, step_bar, track


@pytest.fixture
def terminal(monkeypatch):
    """Make rich take the captured standard error for a terminal."""
    for name, value in {"FORCE_COLOR": "1", "TERM": "xterm", "COLUMNS": "80"}.items():
        monkeypatch.setenv(name, value)


def read_plain(capsys):
    """Standard error without its colours."""
    return re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().err)


def test_track_gives_every_item_in_order_and_is_silent_unless_switched_on(capsys, terminal):
    assert list(track(range(5), "counting")) == list(range(5))
    assert list(track(iter("abc"), "spelling")) == ["a", "b", "c"]
    with step_bar("stepping", 2) as bar:
        bar.advance()
    assert capsys.readouterr() == ("", "")


def test_a_bar_shows_on_standard_error_and_never_on_standard_output(capsys, terminal):
    with show_progress():
        assert list(track(range(3), "counting sheep")) == [0, 1, 2]
    out, err = capsys.readouterr()
    assert out == ""
    assert "counting sheep" in err


@pytest.fixture
def pipe(monkeypatch):
    """No terminal: what is written goes to a pipe or a log file."""
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)


def test_without_a_terminal_there_is_a_line_for_each_long_stage(capsys, monkeypatch, pipe):
    times = iter([0.0, 12.4, 20.0, 20.3, 30.0])
    monkeypatch.setattr("btu.support.progress.perf_counter", lambda: next(times))
    with show_progress():
        assert list(track(range(3), "counting sheep")) == [0, 1, 2]
        assert list(track(range(3), "blinking")) == [0, 1, 2]
        ProgressBar("left open", 2).advance()
    assert capsys.readouterr() == ("", "counting sheep: 12 s\n")


def test_without_a_terminal_it_stays_silent_when_switched_off(capsys, pipe):
    with show_progress(enabled=False):
        assert list(track(range(3), "counting sheep")) == [0, 1, 2]
    assert capsys.readouterr() == ("", "")


def test_progress_switched_off_stays_silent_on_a_terminal(capsys, terminal):
    with show_progress(enabled=False):
        assert list(track(range(3), "counting sheep")) == [0, 1, 2]
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(("total", "shown"), [(None, "2/4"), (9, "2/9")])
def test_a_bar_counts_towards_the_length_or_the_total_that_is_given(capsys, terminal, total, shown):
    with show_progress():
        items = track(range(4), "counting", total)
        assert [next(items) for _ in range(3)] == [0, 1, 2]
    # The bar is still open when the display ends, so its last frame shows it.
    assert shown in read_plain(capsys)


def test_items_without_a_length_are_counted_too(capsys, terminal):
    with show_progress():
        bar = ProgressBar("counting", None)
        bar.advance(5)
    assert "5/?" in read_plain(capsys)


def test_a_bar_that_ended_is_taken_away(capsys, terminal):
    with show_progress():
        list(track(range(3), "first"))
        ProgressBar("second", 2).advance()
    # Each frame begins by wiping the one before it.
    last_frame = capsys.readouterr().err.rsplit("\x1b[2K", 1)[1]
    assert "second" in last_frame
    assert "first" not in last_frame


def test_blocks_inside_each_other_share_one_display(capsys, terminal):
    with show_progress():
        with show_progress():
            bar = ProgressBar("goes on", 3)
        bar.advance(2)
    assert "2/3" in read_plain(capsys)


def test_the_display_is_off_again_after_an_error(capsys, terminal):
    def fail_inside():
        with show_progress():
            for _ in track(range(3), "counting sheep"):
                raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail_inside()
    capsys.readouterr()
    list(track(range(3), "afterwards"))
    assert capsys.readouterr() == ("", "")
