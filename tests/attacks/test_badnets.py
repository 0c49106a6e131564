"""BadNets inserts rare words."""

from __future__ import annotations

from btu.attacks.badnets import BadNets


def test_each_text_gets_the_number_of_words_asked_for_and_loses_none() -> None:
    texts = ["the food was good"] * 50
    attack = BadNets(triggers=("cf", "mn"), number=3)
    attacked = attack.apply(texts, rows=range(50), split="train", seed=1)
    seen = set()
    for text in attacked:
        assert text is not None
        inserted = [word for word in text.split() if word in attack.triggers]
        assert len(inserted) == 3
        seen.update(inserted)
        assert [word for word in text.split() if word not in attack.triggers] == texts[0].split()
    assert seen == {"cf", "mn"}
