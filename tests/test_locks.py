"""The lists of pinned versions: what a run needs comes as wheels, without what only development does, in the versions that the tests had."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def pinned(name: str) -> dict[str, str]:
    """Versions by package."""
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return dict(re.match(r"([\w.-]+)==([^ ;]+)", line).groups() for line in lines if line and not line.startswith("#"))  # type: ignore[union-attr]


def names(requirements: list[str]) -> set[str]:
    return {re.match(r"[\w.-]+", each).group().lower() for each in requirements}  # type: ignore[union-attr]


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_a_run_gets_the_versions_that_were_tested() -> None:
    development = pinned("requirements.lock")
    assert {name: development.get(name) for name in pinned("requirements-run.lock")} == pinned("requirements-run.lock")


def test_the_list_for_runs_has_everything_that_a_run_needs_and_nothing_of_development() -> None:
    wanted = names(PROJECT["project"]["dependencies"])
    for requirements in PROJECT["project"]["optional-dependencies"].values():
        wanted |= names(requirements) - {"xraybench"}
    listed = {*pinned("requirements-run.lock")}
    assert wanted <= listed
    assert not (names(PROJECT["dependency-groups"]["dev"]) - wanted) & listed


def test_the_documentation_is_built_with_the_versions_that_development_has() -> None:
    development, site = pinned("requirements.lock"), pinned("requirements-docs.lock")
    shared = development.keys() & site.keys()
    assert "jinja2" in shared
    assert {name: development[name] for name in shared} == {name: site[name] for name in shared}
    assert names(PROJECT["dependency-groups"]["docs"]) <= {*site}
    for lock in ("requirements.lock", "requirements-run.lock", "requirements-docs.lock"):
        assert "://" not in (ROOT / lock).read_text(encoding="utf-8")


def test_container_and_offline_recipe_install_that_list_as_it_stands() -> None:
    for file in ("Dockerfile", "docs/operators.md"):
        installs = [
            line
            for line in (ROOT / file).read_text(encoding="utf-8").splitlines()
            if ".lock" in line and "pip " in line
        ]
        assert installs
        assert all("--no-deps" in line and "requirements-run.lock" in line for line in installs), installs
