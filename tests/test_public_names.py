"""What `import btu` offers: every name there, documented, and no other."""

import inspect
from dataclasses import fields, is_dataclass
from importlib.resources import files

import pytest

import btu

# An error, and what is made without an argument.
WITHOUT = {"Engine", "InputError", "LocalEngine"}
SETTINGS = [name for name in btu.__all__ if name.endswith("Settings")]


def test_all_names_are_there_once_in_order():
    assert sorted(set(btu.__all__)) == btu.__all__
    assert all(hasattr(btu, name) for name in btu.__all__)


@pytest.mark.parametrize(
    "name", ["scan", "defend", "evaluate", "load_corpus", "UnlearnCallback", "InputError"]
)
def test_what_the_readme_calls_is_public(name):
    assert name in btu.__all__


@pytest.mark.parametrize("name", btu.__all__)
def test_every_public_name_is_documented(name):
    assert inspect.getdoc(getattr(btu, name))


@pytest.mark.parametrize("name", [name for name in btu.__all__ if name not in WITHOUT])
def test_every_argument_of_a_public_name_is_typed(name):
    parameters = inspect.signature(getattr(btu, name)).parameters
    assert parameters
    for parameter in parameters.values():
        assert parameter.annotation is not parameter.empty, parameter


@pytest.mark.parametrize("name", ["scan", "defend", "evaluate"])
def test_after_model_and_data_arguments_are_keyword_only(name):
    parameters = list(inspect.signature(getattr(btu, name)).parameters.values())
    assert [p.name for p in parameters[:2]] == ["model", "data"]
    assert all(p.default is p.empty for p in parameters[:2])
    for parameter in parameters[2:]:
        assert parameter.kind in (parameter.KEYWORD_ONLY, parameter.VAR_KEYWORD)


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_have_a_default_and_a_sentence_for_every_field(name):
    settings = getattr(btu, name)
    assert is_dataclass(settings)
    settings()
    for field in fields(settings):
        assert field.metadata["help"].endswith("."), field.name


def test_the_package_says_that_it_is_typed():
    assert files("btu").joinpath("py.typed").is_file()
