"""The model without an LLM: it searches the workspace and answers with cited excerpts.

It is what `--model offline` names, and what runs when no key and no local server is there. It says
in every answer that no language model wrote it.

    question.py   the question → terms → search patterns
    passages.py   what the tools answered → ranked, verbatim passages
    model.py      the Pydantic AI side: the turn so far → tool calls or the answer, streamed
"""

from orchestrator.offline.model import OfflineModel

__all__ = ["OfflineModel"]
