"""The section of a model card: what it says, and that nothing around it moves."""

import os
import time

import pytest

from btu.report.card import END, START, render_card, write_card
from btu.report.summary import say_uncertainty, say_verdict
from btu.report.text import show_text
from btu.support.errors import InputError
from hostile import HOSTILE, ONE_MEGABYTE, PLAIN, grow, load_sample, read_markdown, spoil

SAMPLES = ("poisoned-scan", "clean-scan", "paper-scan", "defence")
FRONT = b"---\nlicense: apache-2.0\ntags:\n- text-classification\n---\n\n# A model\n\nWords.\n"
CARDS = {
    "front matter": FRONT,
    "CRLF": FRONT.replace(b"\n", b"\r\n"),
    "no last newline": FRONT.rstrip(b"\n"),
    "CRLF, no last newline": FRONT.replace(b"\n", b"\r\n").rstrip(b"\r\n"),
    "byte order mark": b"\xef\xbb\xbf" + FRONT,
    "byte order mark alone": b"\xef\xbb\xbf",
    "empty": b"",
    "blank lines at the end": FRONT + b"\n\n\n",
    "trailing blanks": FRONT + b"  \t ",
    "mixed line ends": b"one\r\ntwo\nthree\r",
    "other scripts": "# Фильм 電影 \u202e\u200b\n".encode(),
    "a marker in a sentence": f"Between `{START}` and `{END}`.\n".encode(),
    "a marker in indented code": f"    {START}\n".encode(),
}


@pytest.fixture
def defence():
    return load_sample("defence")


@pytest.mark.parametrize("name", ["poisoned-scan", "defence"])
def test_the_view_stays_as_it_was(name, snapshot):
    assert render_card(load_sample(name)) == snapshot


@pytest.mark.parametrize("name", SAMPLES)
def test_the_section_says_what_was_searched_found_done_and_not_checked(name):
    record = load_sample(name)
    text = read_markdown(render_card(record)).text
    assert "Backdoor audit" in text
    assert f"(400 rows, SHA-256 {record['data']['sha256']})" in text
    made = f"{record['created'][:10]} with btu {record['versions']['backdoor-token-unlearning']}"
    assert f"was searched for backdoor triggers on {made}" in text
    assert say_verdict(record) in text
    assert say_uncertainty(record) in text
    for line in record["not_checked"]:
        assert line in text
    for entry in record["frameworks"]:
        assert f"{entry['id']} ({entry['name']})" in text
    assert "What was done" in text


def test_measured_rates_stand_beside_those_without_a_defence(defence):
    text = read_markdown(render_card(defence)).text
    assert (
        "Clean accuracy was 94.5 % (91.0 % to 97.5 %), against 93.0 % (89.5 % to 96.5 %) without "
        "a defence, on 200 held-out rows" in text
    )
    assert "The attack success rate of the trigger cf for positive was 10.0 %" in text


def test_what_was_not_measured_is_not_told(defence):
    defence["evaluation"]["before"] = None
    assert "without a defence" not in render_card(defence)
    for name in ("attack_success_rate", "attack_success_rate_interval"):
        defence["evaluation"]["after"][name] = None
    assert "attack success" not in render_card(defence)
    defence["evaluation"] = None
    assert "What was measured" not in render_card(defence)


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_the_data_cannot_close_the_section_or_make_a_tag(name, text):
    record = load_sample(name)
    rendered = render_card(spoil(record, text))
    page = read_markdown(rendered)
    assert page.shape == read_markdown(render_card(spoil(record, PLAIN))).shape
    assert rendered.count("<!--") == rendered.count("-->") == 2
    assert rendered.startswith(f"{START}\n")
    assert rendered.endswith(f"\n{END}\n")
    assert show_text(text)[:29] in page.text
    rendered.encode()


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_a_card_with_hostile_text_can_be_written_again(text, tmp_path, defence):
    (tmp_path / "README.md").write_bytes(FRONT)
    write_card(spoil(defence, text), tmp_path)
    write_card(defence, tmp_path)
    assert (tmp_path / "README.md").read_bytes() == FRONT + b"\n" + render_card(defence).encode()


def test_large_records_make_small_sections_quickly(defence):
    large = [grow(defence), spoil(defence, "x" * 1_000_000, row_text=ONE_MEGABYTE)]
    start = time.perf_counter()
    assert all(len(render_card(record)) < 12_000 for record in large)
    assert time.perf_counter() - start < 5


# ---- the file


@pytest.mark.parametrize("content", CARDS.values(), ids=CARDS)
def test_every_byte_of_the_card_stays_and_a_second_run_changes_nothing(content, tmp_path, defence):
    card = tmp_path / "README.md"
    card.write_bytes(content)
    write_card(defence, card)
    once = card.read_bytes()
    assert once.startswith(content)
    added = once[len(content) :].decode()
    assert added.replace("\r\n", "\n").lstrip("\n") == render_card(defence)
    write_card(defence, tmp_path)
    assert card.read_bytes() == once


def test_the_section_takes_the_line_ends_of_the_card(tmp_path, defence):
    card = tmp_path / "README.md"
    card.write_bytes(CARDS["CRLF"])
    write_card(defence, card)
    content = card.read_bytes()
    assert content.count(b"\n") == content.count(b"\r\n")
    card.write_bytes(FRONT)
    write_card(defence, card)
    assert b"\r" not in card.read_bytes()


@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
@pytest.mark.parametrize("after", [b"", b"NL", b"NL## MoreNLNLtext", b" NLNL  x \xe2\x80\xae"])
def test_a_section_is_replaced_where_it_stands(newline, after, tmp_path, defence):
    card, before = tmp_path / "README.md", FRONT.replace(b"\n", newline)
    after = after.replace(b"NL", newline)
    old = newline.join([START.encode(), b"old", b"words --> <!-- ", END.encode()])
    card.write_bytes(before + old + after)
    write_card(defence, card)
    fresh = render_card(defence).rstrip("\n").encode().replace(b"\n", newline)
    assert card.read_bytes() == before + fresh + after.removeprefix(b" ")
    write_card(load_sample("clean-scan"), card)
    assert card.read_bytes().count(START.encode()) == 1
    assert b"No trigger found" in card.read_bytes()


@pytest.mark.parametrize("name", ["README.md", "folder/README.md"])
def test_a_missing_card_is_made(name, tmp_path, defence):
    write_card(defence, tmp_path / name)
    assert (tmp_path / name).read_text(encoding="utf-8") == render_card(defence)


@pytest.mark.parametrize(
    ("content", "came"),
    [
        (FRONT.decode().encode("utf-16"), "UTF-8, got the byte 0xFF"),
        (FRONT.decode().encode("utf-16-le"), "NUL"),
        ("# Café\n".encode("cp1252"), "got the byte 0xE9 at 5"),
        (f"{START}\nwords\n".encode(), "got the markers start in line 1"),
        (f"words\n{END}\n".encode(), "got the markers end in line 2"),
        (f"{END}\n{START}\n".encode(), "end in line 1, start in line 2"),
        (f"{START}\n{END}\n{START}\n{END}\n".encode(), "start in line 3, end in line 4"),
        (f"{START}\n{START}\n{END}\n".encode(), "start in line 1, start in line 2, end"),
        (f"{START}\r\n".encode() * 9, "start in line 6 and more"),
    ],
    ids=range(9),
)
def test_a_card_that_cannot_be_kept_up_to_date_is_refused_and_stays(
    content, came, tmp_path, defence
):
    card = tmp_path / "README.md"
    card.write_bytes(content)
    with pytest.raises(InputError) as caught:
        write_card(defence, card)
    assert came in str(caught.value)
    assert str(card) in str(caught.value)
    assert card.read_bytes() == content
    assert os.listdir(tmp_path) == ["README.md"]  # noqa: PTH208


@pytest.mark.parametrize("name", ["btu.json", "model", "folder/model"])
def test_only_a_markdown_file_is_written(name, tmp_path, defence):
    with pytest.raises(InputError, match="expected a"):
        write_card(defence, tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_leaves_the_old_card_whole(tmp_path, defence, monkeypatch):
    card = tmp_path / "README.md"
    card.write_bytes(FRONT)

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        write_card(defence, card)
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [FRONT]
