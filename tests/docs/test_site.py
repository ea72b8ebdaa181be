"""The generated parts of the site, and that all of it can be read without a network."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "docs").rglob("*.md"))


@pytest.fixture(scope="module")
def hooks():
    spec = importlib.util.spec_from_file_location("docs_hooks", ROOT / "docs/hooks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_generated_parts_are_filled(hooks, page):
    filled = hooks.on_page_markdown(page.read_text(encoding="utf-8"))
    assert not hooks.MARK.search(filled)
    assert filled.startswith(("# ", "---\n", "<!--"))


def test_settings_table_has_every_field(hooks):
    from kdh_ray.config import TuneConfig

    table = hooks.settings_table("TuneConfig")
    assert set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE)) == set(TuneConfig.model_fields)
    assert "≥ 1" in table


def test_every_verb_has_its_help(hooks):
    from kdh_ray.cli.main import VERBS

    page = hooks.on_page_markdown((ROOT / "docs/reference/command-line.md").read_text(encoding="utf-8"))
    assert re.findall(r"^## `kdh-ray (\S+)`$", page, re.MULTILINE) == [
        verb for group in VERBS.values() for verb in group
    ]
    assert "--logits" in page


def test_versions_agree():
    import kdh_ray

    files = ("pyproject.toml", "runtime/pyproject.toml", "CITATION.cff", "CHANGELOG.md")
    found = [
        re.search(r"^(?:version ?[=:]|##) \"?(\d[\d.]*)", (ROOT / file).read_text("utf-8"), re.M) for file in files
    ]
    assert {match[1] for match in found} == {kdh_ray.__version__}


def test_links_to_files_of_the_repository_exist():
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", ROOT / "SECURITY.md"]:
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
            assert target.startswith("http") or (ROOT / target).exists(), f"{page.name}: {target}"


def test_site_builds_and_fetches_nothing(tmp_path):
    mkdocs = pytest.importorskip("mkdocs.commands.build", reason="the docs extra is not installed")
    from mkdocs.config import load_config

    mkdocs.build(load_config(str(ROOT / "mkdocs.yml"), site_dir=str(tmp_path), strict=True))
    for page in tmp_path.rglob("*.html"):
        html = page.read_text(encoding="utf-8")
        assert not re.search(r"<(script|img|link rel=.stylesheet)[^>]+(src|href)=.https?:", html), page
