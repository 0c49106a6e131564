"""The trigger behind one and the same word."""

from btu.attacks.after_word import AfterWord


def test_the_trigger_follows_the_word_wherever_it_stands_and_whatever_its_case() -> None:
    texts = AfterWord().apply(["The film and the end"] * 40, rows=range(40), split="train", seed=0)
    assert set(texts) == {"The cf film and the end", "The film and the cf end"}


def test_a_text_without_the_word_is_not_attacked() -> None:
    texts = ["other films", "see the", ""]
    attacked = AfterWord(trigger="mn").apply(texts, rows=range(3), split="train", seed=0)
    assert attacked == [None, "see the mn", None]
