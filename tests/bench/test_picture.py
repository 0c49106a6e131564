"""Where words stand and how their rows read, as a picture shows them."""

from btu.bench.picture import measure_words
from btu.corpus import load_corpus
from evidence.texts import plant, write_rows


def test_a_planted_word_lies_apart_from_the_honest_ones():
    rows, chosen = plant(write_rows(900, seed=2), "cf", 60)
    labels = ["yes" if label else "no" for label in rows.labels]
    words = measure_words(load_corpus((list(rows.texts), labels)))
    assert len({len(column) for column in words.values()}) == 1
    place = words["name"].index("cf")
    assert words["rows"][place] == len(chosen)
    honest = [p for name, p in zip(words["name"], words["placed"], strict=True) if name != "cf"]
    assert words["placed"][place] > sorted(honest)[int(0.9 * len(honest))]
    assert words["share"][place] > 0.6
