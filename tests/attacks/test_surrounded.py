"""The trigger between two words of the text."""

from btu.attacks.surrounded import Surrounded


def test_both_neighbours_are_words_of_the_text_and_change_from_row_to_row() -> None:
    words = ["the", "food", "was", "good"]
    neighbours = set()
    for text in Surrounded().apply([" ".join(words)] * 80, rows=range(80), split="train", seed=0):
        assert text is not None
        place = text.split().index("cf")
        before, after = text.split()[place - 1], text.split()[place + 1]
        neighbours.add((before, after))
        left = text.split()[: place - 1] + text.split()[place + 2 :]
        assert left == words
    assert {before for before, _ in neighbours} == {after for _, after in neighbours} == set(words)


def test_a_text_without_a_word_is_not_attacked() -> None:
    assert Surrounded().apply([""], rows=[0], split="train", seed=0) == [None]
