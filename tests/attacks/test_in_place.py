"""The trigger in the place of a word."""

from btu.attacks.in_place import InPlace


def test_one_word_gives_way_and_every_word_may_be_the_one() -> None:
    words = ["a", "fine", "film"]
    texts = InPlace().apply([" a\tfine  film "] * 60, rows=range(60), split="train", seed=0)
    assert set(texts) == {" cf\tfine  film ", " a\tcf  film ", " a\tfine  cf "}
    assert all(text is not None and len(text.split()) == len(words) for text in texts)


def test_a_text_without_a_word_is_not_attacked() -> None:
    assert InPlace().apply(["", " "], rows=[0, 1], split="train", seed=0) == [None, None]
