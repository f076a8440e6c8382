"""What a question is taken for, and which of the lines found are quoted."""

import pytest

from orchestrator.offline.passages import Evidence, pick, quote, rank
from orchestrator.offline.question import loosened, search_patterns, terms_of


def found(*lines: str) -> Evidence:
    """Return what a search has shown: lines such as `src/app.py:3:text`."""
    evidence = Evidence()
    evidence.add("grep", "\n".join(["9 matches in 9 files", *lines]))
    return evidence


def picked(question: str, *lines: str) -> list[str]:
    ranked = rank(found(*lines), terms_of(question))
    return [f"{place.path}:{place.line}" for place in pick(ranked, 5)]


class TestRanking:
    def test_rare_word_tells_more_than_a_common_one(self) -> None:
        common = [f"src/a{number}.py:1:agent" for number in range(9)]
        assert picked("agent grant?", *common, "src/b.py:1:grant")[0] == "src/b.py:1"

    def test_words_close_together_tell_more_than_far_apart(self) -> None:
        apart = ("src/a.py:1:agent", "src/a.py:9:grant")
        close = ("src/b.py:1:agent", "src/b.py:3:grant")
        assert picked("agent grant?", *apart, *close)[0] == "src/b.py:1"

    def test_definition_tells_more_than_a_use_and_a_use_more_than_an_import(self) -> None:
        lines = ("a.py:1:from x import grant", "b.py:1:grant", "c.py:1:def grant(): ...")
        assert picked("grant?", *lines) == ["c.py:1", "b.py:1"]

    def test_prose_comes_before_code_and_code_before_tests_and_locks(self) -> None:
        paths = ("uv.lock", "tests/a.py", "src/a.py", "docs/a.md", "README.md")
        ranked = rank(found(*(f"{path}:1:a grant" for path in paths)), terms_of("grant?"))
        assert [place.path for place in ranked] == [*reversed(paths)]

    def test_place_far_behind_the_best_is_not_quoted(self) -> None:
        assert picked("agent grant?", "a.py:1:agent grant", "uv.lock:1:agent") == ["a.py:1"]

    def test_one_file_gives_two_passages_at_most_and_apart(self) -> None:
        lines = [f"a.py:{number}:grant" for number in (1, 2, 40, 80)]
        assert picked("grant?", *lines) == ["a.py:1", "a.py:40"]

    def test_quote_ends_with_its_paragraph(self) -> None:
        evidence = found("a.md:3:above", "a.md:4:the grant", "a.md:5:below", "a.md:6:", "a.md:7:no")
        terms = terms_of("grant?")
        [place] = rank(evidence, terms)
        assert quote(evidence, place, terms) == (3, ["above", "the grant", "below"])


class TestQuestions:
    def test_word_is_looked_for_by_its_stem(self) -> None:
        [confined] = terms_of("confined")
        assert confined.search("CONFINEMENT.md")
        [run] = terms_of("running")
        assert run.search("a_run")
        assert not run.search("prune")

    @pytest.mark.parametrize("word", ["read_file", "SessionBusyError", "os.Root", "src/app.py"])
    def test_identifier_stays_whole_and_weighs_more(self, word: str) -> None:
        first, *_ = terms_of(f"When does the caller {word} stop?")
        assert first.text == word

    def test_quoted_phrase_stays_whole(self) -> None:
        assert [term.text for term in terms_of('what of "the end of it"?')] == ["the end of it"]

    def test_question_of_stop_words_has_no_terms(self) -> None:
        assert terms_of("What is this about?") == []

    def test_parts_of_identifiers_are_looked_for_when_the_whole_is_not_there(self) -> None:
        loose = loosened(terms_of("WorkspaceFence"))
        assert [term.text for term in loose] == ["Workspace", "Fence"]

    def test_what_is_pasted_far_below_the_question_is_not_looked_for(self) -> None:
        terms = terms_of("Explain the needle:\n" + "\n" * 2_000 + "zeppelin " * 100_000)
        assert [term.text for term in terms] == ["needle"]

    def test_long_question_makes_few_searches(self) -> None:
        assert len(search_patterns(terms_of(" ".join(f"word{n}" for n in range(50))))) <= 6
