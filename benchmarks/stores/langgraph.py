"""LangGraph's `AsyncSqliteSaver`: a graph of one node, which the runner checkpoints as it goes."""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any  # a graph's state and configuration are dictionaries

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import END, START, MessagesState, StateGraph

from benchmarks.stores.contest import serve
from benchmarks.stores.interface import Model
from benchmarks.stores.workload import Turn

Config = dict[str, Any]


class LangGraphStore:
    """`ainvoke` is the only way in, so a turn's time holds the load of its thread too."""

    async def open(self, file: Path) -> None:
        """Open the saver and compile the graph."""
        self._stack = AsyncExitStack()
        saver = await self._stack.enter_async_context(AsyncSqliteSaver.from_conn_string(str(file)))
        graph = StateGraph(MessagesState)
        graph.add_node("answer", self._answer)
        graph.add_edge(START, "answer")
        graph.add_edge("answer", END)
        self._graph = graph.compile(checkpointer=saver)
        self._asked: dict[str, tuple[Turn, Model]] = {}

    async def begin(self, session: str) -> Config:
        """Return the thread's configuration."""
        return {"configurable": {"thread_id": session}}

    async def turn(self, conversation: Config, turn: Turn, model: Model) -> float:
        """Run the graph."""
        self._asked[turn.user] = turn, model
        await self._graph.ainvoke({"messages": [HumanMessage(turn.user)]}, conversation)
        return 0

    async def load(self, session: str) -> Sequence[BaseMessage]:
        """Return the messages of a thread's last checkpoint."""
        state = await self._graph.aget_state(await self.begin(session))
        messages: Sequence[BaseMessage] = state.values["messages"]
        return messages

    def texts(self, messages: Sequence[BaseMessage]) -> list[str]:
        """Return what was said."""
        return [str(message.content) for message in messages]

    async def numbers(self, session: str) -> Sequence[int]:
        """Return nothing: messages have no numbers."""
        return ()

    async def close(self) -> None:
        """Close the connection."""
        await self._stack.aclose()

    async def _answer(self, state: MessagesState) -> dict[str, list[BaseMessage]]:
        turn, model = self._asked.pop(state["messages"][-1].content)
        await model()
        return {"messages": [AIMessage(turn.reply)]}


if __name__ == "__main__":
    serve(LangGraphStore())
