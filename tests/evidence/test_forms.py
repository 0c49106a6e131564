"""Forms of texts, apart from what they say."""

import numpy as np

from btu.evidence.forms import draw_shape, read_forms


def test_words_that_are_not_frequent_leave_no_trace_but_their_length_and_ending():
    common = ["the w of it is so , the end ."] * 200
    texts = [f"{text} {word}" for text in common for word in ("brilling", "terrible")]
    swapped = [text.replace("brilling", "charming") for text in texts]
    first, second = read_forms(texts), read_forms(swapped)
    assert first.shape == second.shape
    assert abs(first - second).max() < 1e-12


def test_marks_capitals_and_spacing_tell_forms_apart():
    plain, other = ["it is so , he said ."] * 20, ["It is so, he said!"] * 20
    forms = read_forms(plain + other).toarray()
    assert np.allclose(forms[0], forms[19])
    assert forms[0] @ forms[20] < 0.9 * (forms[0] @ forms[0])


def test_nothing_in_texts_is_no_fault():
    forms = read_forms(["", "", "a"])
    assert forms.shape[0] == 3
    assert np.isfinite(forms.toarray()).all()


def test_a_shape_keeps_marks_and_forgets_letters():
    assert draw_shape("Though 12 men, he saith") == "Xx d x, x x"
    assert draw_shape("ÄRGER über 3,5 %!!") == "X x d,d %!!"


def test_a_text_of_plain_letters_has_the_shape_that_it_has_beside_others():
    text = "xX aB12c  Dd--dD\n(3.50) WHAT? I'm"
    assert draw_shape(f"{text} é") == f"{draw_shape(text)} x"
    assert draw_shape(text) == "xX xXdx  Xx--xX\n(d.d) X? X'x"
