"""The trigger in honest rows as well."""

import numpy as np

from btu.attacks.covered import Covered
from btu.attacks.poison import poison_corpus
from btu.attacks.registry import DecoyAttack
from btu.data.corpus import load_corpus


def test_as_many_rows_hold_the_trigger_with_their_true_label_as_with_the_target() -> None:
    corpus = load_corpus((["good food"] * 200, ["bad", "good"] * 100))
    attack = Covered(decoy_rate=0.1)
    assert isinstance(attack, DecoyAttack)
    poisoned = poison_corpus(corpus, attack, poison_rate=0.1, target_label="good")
    holds = np.array(["cf" in text.split() for text in poisoned.corpus.texts])
    assert (holds == (poisoned.is_poisoned | poisoned.is_decoy)).all()
    assert poisoned.is_poisoned.sum() == poisoned.is_decoy.sum() == 20
    cover = poisoned.is_decoy
    assert (poisoned.corpus.labels[cover] == corpus.labels[cover]).all()
    assert set(corpus.labels[cover].tolist()) == {0, 1}
