"""Read what the tools answered, rank it, and quote it.

The tools' formats are known in `Evidence` and nowhere else.
"""

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from orchestrator.offline.question import Term

_PAGE = re.compile(r"(.+) · lines \d+-\d+ of \d+")
_PAGE_LINE = re.compile(r" *(\d+)\t(.*)")
_MATCH = re.compile(r"(.+?):(\d+):(.*)")
_CUT = re.compile(r"(?<=…) \([^()]*\d+ characters[^()]*\)$")
_ENTRY = re.compile(r"(.+/)|(.+)\t\d+")

_PROSE = (".md", ".rst", ".txt", ".adoc")
_HEADING = re.compile(r"#+ ")
_DEFINITION = re.compile(
    r"\s*(?:\w+ ){0,2}(?:def|class|fn|func|function|struct|enum|trait) [a-zA-Z]"
)
_IMPORT = re.compile(r"\s*(?:from \S+ import|import) |\s*\w+,$")
_CODE = re.compile(r"[=({;\[]")
_ITEM = re.compile(r"\s*(?:[-*+|]|\d+[.)]) ")
_TESTS = re.compile(r"(?:^|/)(?:tests?|specs?|conftest\.py)(?:/|$)|(?:^|/)test_|_test\.|\.test\.")
_DULL = re.compile(r"(?i)(?:lock|\.json|\.svg|\.csv|\.map)$|(?:^|/)(?:change|history|news|license)")

BEFORE, AFTER = 3, 9
"""How far around a line its neighbours count, and no second passage begins."""
_QUOTED_LINES = 5
_TITLED_LINES = 8
_QUOTED_CHARS = 320
_PER_FILE = 2

Hits = dict[int, list[Term]]


@dataclass(frozen=True)
class Passage:
    """A place in a file, and how well it fits the question."""

    path: str
    line: int
    score: float = 0.0


@dataclass
class Evidence:
    """What the tools have answered so far; a line in another form than theirs is passed over."""

    lines: dict[str, dict[int, str]] = field(default_factory=dict)
    """Path → line number → text, from `grep` and `read_file` alike."""
    pages: dict[str, set[int]] = field(default_factory=dict)
    """Path → the lines that `read_file` gave."""
    entries: list[str] = field(default_factory=list)
    """Paths that were listed; a directory ends in a slash."""

    def add(self, tool: str, answer: str) -> None:
        """Take in the answer of a tool."""
        lines = answer.split("\n")
        if tool == "grep":
            for path, number, text in _each(_MATCH, lines):
                self.lines.setdefault(path, {}).setdefault(int(number), _CUT.sub("", text))
        elif tool == "list_directory":
            self.entries += [directory or file for directory, file in _each(_ENTRY, lines[1:])]
        elif header := _PAGE.match(lines[0]):
            known = self.lines.setdefault(header[1], {})
            page = {int(n): _CUT.sub("", text) for n, text in _each(_PAGE_LINE, lines)}
            # A line cut at its end may lack the match that `grep` has shown.
            known.update(
                (n, text) for n, text in page.items() if n not in known or text[-1:] != "…"
            )
            self.pages.setdefault(header[1], set()).update(page)

    @property
    def files(self) -> list[str]:
        """What was listed, without the directories."""
        return [path for path in self.entries if not path.endswith("/")]

    def opening(self, path: str) -> Passage | None:
        """Return where a file that was read begins to say something."""
        said = [number for number in self.pages.get(path, ()) if self.lines[path][number].strip()]
        return Passage(path, min(said)) if said else None

    def holds(self, term: Term) -> bool:
        """Say whether a term was found anywhere, be it as the name of a file."""
        texts = (text for lines in self.lines.values() for text in lines.values())
        return term.text in self.pages or any(map(term.search, texts))


def _each(form: re.Pattern[str], lines: Sequence[str]) -> list[tuple[str, ...]]:
    return [match.groups() for line in lines if (match := form.fullmatch(line))]


def rank(evidence: Evidence, terms: Sequence[Term], *, wants_tests: bool = False) -> list[Passage]:
    """Return the places where telling terms stand close together, best first.

    A term tells more the fewer files have it. What a line is, and its file, weigh in.
    """
    hits = {path: _hits(terms, lines) for path, lines in evidence.lines.items()}
    files = Counter(term for found in hits.values() for term in set().union(*found.values()))
    worth = {term: term.weight / math.log2(2 + count) for term, count in files.items()}
    ranked = []
    for path, found in hits.items():
        fit = _fit(path, wants_tests=wants_tests)
        named = [0.4 * value for term, value in worth.items() if term.search(path)]
        for line in found:
            near = _nearby(line, found, evidence.lines[path], path)
            # fsum: the same in whatever order a set was walked.
            score = math.fsum([*named, *(worth[term] * share for term, share in near.items())])
            ranked.append(Passage(path, line, score * fit))
    return sorted(ranked, key=lambda place: (-place.score, place.path, place.line))


def _hits(terms: Sequence[Term], lines: dict[int, str]) -> Hits:
    """Return the lines that have any term, each with its terms."""
    found = {number: [t for t in terms if t.search(text)] for number, text in lines.items()}
    return {number: terms for number, terms in found.items() if terms}


def _nearby(line: int, found: Hits, lines: dict[int, str], path: str) -> dict[Term, float]:
    """Return each term's best share around a line; it fades with distance."""
    shares: dict[Term, float] = {}
    for other in found.keys() & range(line - BEFORE, line + AFTER):
        share = _line_weight(path, lines[other]) / (1 + abs(other - line) / 6)
        for term in found[other]:
            shares[term] = max(share, shares.get(term, 0.0))
    return shares


def _line_weight(path: str, text: str) -> float:
    """Weigh a line: a title says most, an import least, words more than code or a long table."""
    if _is_title(path, text):
        return 1.5
    if path.endswith(_PROSE):
        return min(1.0, math.sqrt(_QUOTED_CHARS / max(1, len(text))))
    if _IMPORT.match(text):
        return 0.3
    return 0.8 if _CODE.search(text) else 1.0


def _is_title(path: str, text: str) -> bool:
    return (_HEADING if path.endswith(_PROSE) else _DEFINITION).match(text) is not None


def _fit(path: str, *, wants_tests: bool) -> float:
    """Weigh a file: prose explains; tests, hidden and generated files seldom do."""
    if _DULL.search(path):
        return 0.3
    if _TESTS.search(path) and not wants_tests:
        return 0.5
    if path.startswith("."):
        return 0.7
    if path.endswith(_PROSE):
        return 1.35 if path.lower().startswith("readme") else 1.2
    return 1.0


def pick(ranked: Sequence[Passage], count: int) -> list[Passage]:
    """Return the best places that are apart from each other and not far behind the first."""
    picked: list[Passage] = []
    for place in ranked:
        same = [other.line for other in picked if other.path == place.path]
        apart = all(abs(line - place.line) > AFTER for line in same) and len(same) < _PER_FILE
        if apart and place.score >= 0.5 * ranked[0].score and len(picked) < count:
            picked.append(place)
    return picked


def quote(evidence: Evidence, place: Passage, terms: Sequence[Term]) -> tuple[int, list[str]]:
    """Return the number of the first line, and the lines as they stand in the file.

    Prose is quoted from where its paragraph begins, a title together with what follows it.
    """
    lines, start = evidence.lines[place.path], place.line
    title = _is_title(place.path, lines[start]) or lines[start].startswith('"""')
    while not title and start > place.line - 2 and _joins(place.path, lines, start):
        start -= 1
    hits, end, blanks = _hits(terms, lines), start + 1, 0
    while end in lines and end - start < (_TITLED_LINES if title else _QUOTED_LINES):
        blanks += not lines[end].strip()
        if blanks > title or (_ITEM.match(lines[end]) and end not in hits):
            break
        end += 1
    while not lines[end - 1].strip():
        end -= 1
    return start, [_clip(lines[number], terms) for number in range(start, end)]


def _joins(path: str, lines: dict[int, str], number: int) -> bool:
    """Say whether the line above belongs to the same paragraph."""
    above = lines.get(number - 1, "")
    return bool(above.strip()) and not (_ITEM.match(lines[number]) or _is_title(path, above))


def _clip(line: str, terms: Sequence[Term]) -> str:
    """Cut a line to a glance, around the first term in it, with … where something is missing."""
    if len(line) <= _QUOTED_CHARS:
        return line
    first = min([match.start() for term in terms if (match := term.search(line))], default=0)
    start = max(0, min(first - _QUOTED_CHARS // 4, len(line) - _QUOTED_CHARS))
    end = start + _QUOTED_CHARS
    return ("…" if start else "") + line[start:end] + ("…" if end < len(line) else "")
