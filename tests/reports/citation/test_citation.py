"""What a run says of itself for a paper: every key is in the bibliography, every name stays a name, every item has an answer or an author."""

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.cli import invoke
from bench.recipes.suite import load_suite, suite_names
from reports.citation.bibliography import bibtex, keys, model_keys, references
from reports.citation.checklist import AUTHOR, answers, checklist
from reports.citation.methods import latex, markdown
from reports.comparison.pairwise import TestSettings
from reports.runs.results import Results, load


def test_every_entry_is_whole_and_every_key_is_known() -> None:
    entries = references()
    assert len(entries) > 30
    for key, entry in entries.items():
        assert entry.startswith("@")
        assert entry.count("{") == entry.count("}"), key
        assert re.search(r"^  title = \{", entry, re.MULTILINE), key
        assert re.search(r"^  year = \{(19|20)\d\d\}", entry, re.MULTILINE), key
    for suite in suite_names():
        for name, spec in load_suite(suite).models.items():
            found = model_keys(spec.as_dict())
            assert set(found) <= set(entries)
            assert found or name == "prior", name


def test_a_backbone_that_never_saw_imagenet_does_not_cite_it() -> None:
    models = load_suite("starts").models
    assert "russakovsky2015" in model_keys(models["imagenet-probe-100"].as_dict())
    for start in ("phantom", "random"):
        assert "russakovsky2015" not in model_keys(models[f"{start}-probe-100"].as_dict())


def test_the_bibliography_has_software_data_and_everything_used_once(results: Results) -> None:
    text = bibtex(results)
    entries = re.findall(r"^@\w+\{([\w-]+),", text, re.MULTILINE)
    assert entries[:2] == ["xraybench", "generated"]
    assert entries[2:] == keys(results)
    assert len(set(entries)) == len(entries)
    assert "dalal2005" in entries
    assert "chollet2017" not in entries
    assert bibtex(None).count("@misc{") == 1


def test_the_methods_cite_only_what_the_bibliography_has_and_keep_names_as_they_are(
    make_run: Callable[..., Path],
) -> None:
    results = load(make_run("multilabel", models={"<b>hog_50%</b>": ("classical", 1.0), "prior": ("dummy", 0.0)}))
    known = set(re.findall(r"^@\w+\{([\w-]+),", bibtex(results), re.MULTILINE))
    text = markdown(results, TestSettings())
    cited = {key for group in re.findall(r"\[@([^\]]+)\]", text) for key in group.replace("@", "").split("; ")}
    assert cited
    assert cited <= known
    assert "&lt;b&gt;hog\\_50%&lt;/b&gt;" in text
    assert "180 images of 90 patients" in text
    assert "3-fold cross-validation, with folds grouped by patient" in text
    tex = latex(results, TestSettings())
    assert r"\textless{}b\textgreater{}hog\_50\%" in tex
    assert {key for group in re.findall(r"\\cite\{([^}]+)\}", tex) for key in group.split(",")} == cited


def test_every_item_is_answered_by_the_run_or_left_to_the_author(results: Results) -> None:
    text = checklist(results, TestSettings())
    rows = [line.split(" | ") for line in text.splitlines() if re.match(r"\| \d+ \|", line)]
    assert len(rows) == 44 + 27
    assert all(row[2].strip(" |") for row in rows)
    assert sum(AUTHOR in row[2] for row in rows) > 20
    used = set(re.findall(r'answer = "(\w+)"', (Path("reports/citation/checklist.toml")).read_text()))
    assert used == set(answers(results, TestSettings()))


def test_the_command_prints_bibtex_and_writes_the_rest(
    make_run: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run("multiclass")
    assert invoke(["cite", str(run)]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("@misc{xraybench,")
    assert printed.out.strip() == (run / "report/citations.bib").read_text().strip()
    assert {p.name for p in (run / "report").iterdir()} == {
        "citations.bib",
        "methods.md",
        "methods.tex",
        "checklist.md",
    }
    assert invoke(["cite"]) == 0
    assert invoke(["cite", "gone"]) == 2


@pytest.mark.skipif(not shutil.which("pdflatex") or not shutil.which("bibtex"), reason="no LaTeX")
def test_the_methods_compile_with_their_bibliography(make_run: Callable[..., Path], tmp_path: Path) -> None:
    run = make_run("multilabel")
    assert invoke(["cite", str(run)]) == 0
    shutil.copy(run / "report/citations.bib", tmp_path)
    (tmp_path / "paper.tex").write_text(
        r"\documentclass{article}\begin{document}\input{" + (run / "report/methods.tex").as_posix() + "}"
        r"\bibliographystyle{plain}\bibliography{citations}\end{document}"
    )
    for command in (["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper"], ["bibtex", "paper"]) * 2:
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace", check=False)
        assert done.returncode == 0, done.stdout[-2000:]
    assert "Warning--" not in done.stdout.replace("Warning--empty", "")
