"""Models that differ in a word are written once."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bench.errors import UserError
from bench.recipes.suite import load_suite

HEAD = 'head = { class = "baselines.prior:Prior" }\n'


def test_values_follow_each_other_within_a_model_and_belong_together(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(
        "[[vary]]\npercent = [5, 100]\nshare = [0.05, 1.0]\n"
        f'[models.plain]\ndescription = "{{braces}}"\n{HEAD}'
        f'[models."a-{{percent}}"]\ntrain_share = "{{share}}"\ndescription = "On {{percent}} %"\n{HEAD}'
        f'[models."b-{{percent}}"]\n{HEAD}'
    )
    models = load_suite(str(tmp_path / "s.toml")).models
    assert list(models) == ["plain", "a-5", "a-100", "b-5", "b-100"]
    assert (models["a-5"].train_share, models["a-5"].description) == (0.05, "On 5 %")
    assert models["plain"].description == "{braces}"


def test_models_follow_each_other_within_an_outer_value(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(
        '[[vary]]\nouter = true\nx = ["p", "q"]\n[[vary]]\nn = [1, 2]\n'
        + "".join(f'[models."{{x}}-{name}-{{n}}"]\n{HEAD}' for name in ("a", "b"))
    )
    assert list(load_suite(str(tmp_path / "s.toml")).models) == [
        *("p-a-1", "p-a-2", "p-b-1", "p-b-2", "q-a-1", "q-a-2", "q-b-1", "q-b-2")
    ]


@pytest.mark.parametrize(
    ("vary", "name", "message"),
    [
        ("n = [1, 2]\nm = [1]", "a-{n}", "n, m belong together and need lists of one length"),
        ("n = 1", "a-{n}", "give each word a list of values"),
        ("n = [1, 2]", "a-{k}", "{k}: no such word under vary; there are n"),
        ("n = [1, 1]", "a-{n}", "models.a-{n}: gives two models the name 'a-1'"),
    ],
)
def test_what_cannot_be_meant_is_one_line(tmp_path: Path, vary: str, name: str, message: str) -> None:
    (tmp_path / "s.toml").write_text(f'[[vary]]\n{vary}\n[models."{name}"]\n{HEAD}')
    with pytest.raises(UserError, match=re.escape(message)):
        load_suite(str(tmp_path / "s.toml"))
