"""The defence on a real pretrained model and real text: the backdoor dies."""

import pytest

from btu import FineTuneSettings, defend
from btu.attacks.badnets import BadNets
from btu.attacks.poison import poison_corpus, trigger_corpus
from btu.defend import train_plain
from btu.demo import _split
from btu.evaluate import measure_model


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_attack_success_rate_falls_by_60_points_on_minilm(minilm, movie_reviews):
    train, test = _split(movie_reviews, (700, 200), seed=0)
    attack, target = BadNets(triggers=("cf",)), "positive"
    poisoned = poison_corpus(train, attack, poison_rate=0.1, target_label=target)
    triggered = trigger_corpus(test, attack, target_label=target)
    settings = FineTuneSettings(epochs=2, learning_rate=1e-4, batch_size=16, max_length=64)
    plain = train_plain(minilm, poisoned.corpus, settings, "training")
    defence = defend(minilm, poisoned.corpus, settings=settings)
    undefended, defended = (
        measure_model(classifier, test, triggered, target=poisoned.target_label)
        for classifier in (plain, defence.classifier)
    )

    assert [s.token for s in defence.findings.triggers] == ["cf"]
    assert defence.findings.flagged.tolist() == poisoned.is_poisoned.tolist()
    assert undefended.attack_success_rate > 0.9
    assert defended.attack_success_rate < undefended.attack_success_rate - 0.6
    assert defended.clean_accuracy > undefended.clean_accuracy - 0.05
