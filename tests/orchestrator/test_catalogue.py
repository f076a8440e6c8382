"""Agents are found by name, the first directory that has one wins."""

from pathlib import Path

import pytest

from orchestrator.catalogue import SHIPPED_SPECS, Catalogue, load_agent_file, open_catalogue
from orchestrator.errors import NotFoundError, SpecError
from orchestrator.settings import Settings


def add(directory: Path, name: str, description: str = "d") -> Path:
    directory.mkdir(exist_ok=True, parents=True)
    file = directory / f"{name}.yaml"
    file.write_text(f"name: {name}\ndescription: {description}\ninstructions: x\n")
    return file


def test_first_directory_wins(tmp_path: Path) -> None:
    add(tmp_path / "a", "one", "from a")
    add(tmp_path / "b", "one", "from b")
    add(tmp_path / "b", "two")

    catalogue = Catalogue((tmp_path / "a", tmp_path / "b", tmp_path / "missing"))

    assert catalogue.names() == ["one", "two"]
    assert catalogue.get("one").document.description == "from a"


def test_unknown_agent_names_the_near_ones() -> None:
    with pytest.raises(NotFoundError, match="did you mean 'code_reviewer'"):
        Catalogue().get("code_reviwer")


def test_broken_spec_does_not_hide_the_others(tmp_path: Path) -> None:
    add(tmp_path, "good")
    (tmp_path / "broken.yaml").write_text("name: [")

    catalogue = Catalogue((tmp_path,))

    assert catalogue.get("good").name == "good"
    with pytest.raises(SpecError):
        catalogue.get("broken")


def test_name_must_be_that_of_the_file(tmp_path: Path) -> None:
    file = add(tmp_path, "one").rename(tmp_path / "two.yaml")

    with pytest.raises(SpecError, match="'one' is not that of the file, 'two'"):
        load_agent_file(file)


def test_edited_spec_counts_at_once(tmp_path: Path) -> None:
    catalogue = Catalogue((tmp_path,))
    add(tmp_path, "one", "before")
    before = catalogue.get("one").sha256

    add(tmp_path, "one", "after")

    assert catalogue.get("one").sha256 != before


def test_own_agents_come_before_the_shipped_ones(tmp_path: Path) -> None:
    settings = Settings(config_dir=tmp_path)
    add(tmp_path / "agents", "repo_guide", "mine")

    assert open_catalogue(settings).get("repo_guide").document.description == "mine"
    assert {*Catalogue((SHIPPED_SPECS,)).names()} <= {*open_catalogue(settings).names()}


def test_missing_directory_that_was_asked_for_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="not a directory"):
        open_catalogue(Settings(), tmp_path / "nowhere")
