"""Take a question apart: what to look for, and how to spell that for a search.

Patterns keep to what Rust's regex syntax and Python's `re` share: `grep` runs them as the first,
and the ranking as the second, over the same lines.
"""

import re
from dataclasses import dataclass, replace
from itertools import permutations

_STOP = """
a about after all also am an and any are as at be because been before being between both but by can
could did do does doing don done each either else ever every explain find for from get gets give
given goes had happen happens has have having he her here his how i if in into is it its just know
let like list look make makes many may me mean means might more most much must my need needs no nor
not of on one only or other our out over please same see shall she should show so some such tell
than that the their them then there these they this those through to too under up us use used uses
using very want was way ways we well were what when where whether which while who whom whose why
will with within without work works would you your
"""
_FAINT = "code file files folder keep kept project repo repository thing things"
_FAINT_WEIGHT = 0.4  # words that every tree is full of break ties and decide nothing
_SUFFIXES = "ations ation ments ment ing ied ies ed es ly s e y"
_QUOTED = re.compile(r'"([^"\n]{2,80})"|`([^`\n]{2,80})`')
_TOKEN = re.compile(r"\w+(?:[./:-]+\w+)*/?")
_TITLE = r"^\s*(?:#+|(?:\w+\s+){0,2}(?:def|class|fn|func|function|struct|enum|trait|interface))\s"
_MAX_CHARS = 2_000  # of a question; whatever is pasted below it says little of what is sought
_MAX_TERMS = 8
_SINGLE_SEARCHES = 4


@dataclass(frozen=True)
class Term:
    """One thing to look for, and how much it says that it is found."""

    text: str
    """As the question has it."""
    pattern: str
    """A regular expression, to be matched without regard to case."""
    weight: float = 1.0

    def search(self, text: str) -> re.Match[str] | None:
        """Return the term's first place in a line or a path."""
        return re.search(self.pattern, text, re.IGNORECASE)

    @property
    def is_path(self) -> bool:
        """Whether the term reads as the name of a file."""
        return re.fullmatch(r"[\w./-]+\.[A-Za-z]\w{0,4}", self.text) is not None


def terms_of(question: str, earlier: str = "") -> list[Term]:
    """Return what to look for, the most telling first; a short question leans on the one before."""
    terms = _terms(question[:_MAX_CHARS])
    if len(terms) < 3:
        before = _terms(earlier[:_MAX_CHARS])
        terms += [replace(term, weight=term.weight / 2) for term in before]
    return sorted(_distinct(terms), key=lambda term: -term.weight)[:_MAX_TERMS]


def asks_for_tests(question: str) -> bool:
    """Say whether tests may answer best: for "where is it tested", not for "how do I run tests"."""
    how_to = re.search(r"\bhow (?:do|can|should|to)\b", question, re.IGNORECASE)
    return how_to is None and re.search(r"\btest", question, re.IGNORECASE) is not None


def _distinct(terms: list[Term]) -> list[Term]:
    first: dict[str, Term] = {}
    for term in terms:
        first.setdefault(term.pattern, term)
    return list(first.values())


def _terms(question: str) -> list[Term]:
    """Take quoted phrases out first: what is between quotes stays one term."""
    phrases = [double or ticked for double, ticked in _QUOTED.findall(question)]
    terms = [Term(phrase, r"\s+".join(map(re.escape, phrase.split())), 2.0) for phrase in phrases]
    rest, stop = _QUOTED.sub(" ", question), frozenset(_STOP.split())
    for token in _TOKEN.finditer(rest):
        whole, opens = token.group(), not rest[: token.start()].strip(" .?!\n")
        terms += [
            _term(word, opens_sentence=opens)
            for word in ([whole] if "/" in whole else [whole, *whole.split(".")])
            if word.lower() not in stop and len(word) > 1
        ]
    return terms if any(term.weight > _FAINT_WEIGHT for term in terms) else []


def _term(word: str, *, opens_sentence: bool) -> Term:
    """Keep what reads as an identifier whole; look for anything else by its stem."""
    if re.search(r"_|[./:]|[a-z\d][A-Z]|[A-Za-z]\d", word):
        return Term(word, rf"\b{re.escape(word)}" + ("" if word.endswith("/") else r"s?\b"), 2.0)
    if "-" in word:
        return Term(word, "[-_ ]?".join(map(re.escape, word.split("-"))), 1.5)
    stem = _stem(word.lower())
    # "run" is in "prune" and "tool" in "stool": a short stem has to open a word.
    pattern = re.escape(stem) if len(stem) > 4 else rf"(?:\b|_){re.escape(stem)}"
    if word.lower() in _FAINT.split():
        return Term(word, pattern, _FAINT_WEIGHT)
    return Term(word, pattern, 1.5 if word[0].isupper() and not opens_sentence else 1.0)


def _stem(word: str) -> str:
    """Cut one ending, so that "confined" finds "confine" and "installing" finds "install"."""
    for suffix in _SUFFIXES.split():
        stem = word.removesuffix(suffix)
        if stem != word and len(stem) >= (3 if suffix == "s" else 4) and not word.endswith("ss"):
            doubled = stem[-1] == stem[-2] and stem[-1] not in "lsz"
            return stem[:-1] if doubled else stem
    return word


def loosened(terms: list[Term]) -> list[Term]:
    """Return wider terms, for when nothing matched: parts of identifiers, beginnings of words."""
    loose: list[Term] = []
    for term in terms:
        spaced = re.sub(r"([a-z\d])([A-Z])", r"\1 \2", term.text)
        for part in re.findall(r"[^\W_]{3,}", spaced):
            start = part.lower()[: max(5, len(part) * 2 // 3)]
            loose.append(Term(part, rf"(?:\b|_){re.escape(start)}", term.weight / 2))
    return _distinct(loose)[:_MAX_TERMS]


def search_patterns(terms: list[Term]) -> list[str]:
    """Return the searches to make, each narrow enough that its first 200 matches say something.

    Titles and definitions with any term, lines with two of the best, and these one by one: a
    single search for all would be full of the commonest.
    """
    best = terms[:_SINGLE_SEARCHES]
    pairs = "|".join(f"{one.pattern}.*{other.pattern}" for one, other in permutations(best, 2))
    titles = [rf"{_TITLE}.*(?:{any_of(terms)})"] if terms else []
    return [*titles, *([pairs] if pairs else []), *(term.pattern for term in best)]


def any_of(terms: list[Term]) -> str:
    """Return one pattern that matches where any of the terms does."""
    return "|".join(term.pattern for term in terms)
