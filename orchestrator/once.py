"""Work that is known by a key: begun once, and gone on with when it is asked for again.

The key is the external id of the session in which it is done. Whoever asks with the same key finds
what was begun, also after a crash, and also from another process.
"""

from dataclasses import dataclass, replace

from orchestrator.lifecycle import RunStatus
from orchestrator.runner import RunHandle, Runner, RunRequest
from orchestrator.session import LOCAL_OWNER, title_of
from orchestrator.store.tables import RunRow


@dataclass(frozen=True)
class Earlier:
    """A run that was begun for a key before, and has given its answer."""

    session_id: str
    run: RunRow


async def begin_once(runner: Runner, request: RunRequest, key: str) -> RunHandle | Earlier:
    """Begin a run for a key; go on with one that has ended without an answer.

    Raises:
        SessionBusyError: If a living process is at work on it.
        OrchestratorError: If the run cannot begin or go on.
    """
    draft = request.draft
    sessions = runner.store.sessions.of(draft.owner or LOCAL_OWNER)
    session = await sessions.get_or_create(
        key, agent=draft.agent, root=draft.root, title=title_of(draft.prompt)
    )
    request = replace(request, draft=replace(draft, session_id=session.id))
    runs = await sessions.runs(session.id)
    if not runs:
        return await runner.start(request)
    begun = runs[0]  # others may have gone on in the session since
    if begun.status == RunStatus.SUCCEEDED:
        return Earlier(session.id, begun)
    return await runner.resume(request, begun.id)
