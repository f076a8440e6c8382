"""What broke a run → the error that says so: who can act on it, and what to do.

One table for everything that Pydantic AI and the MCP client raise. What is not in it is a bug of
ours and stays what it is.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import chain, repeat

from mcp import MCPError
from pydantic_ai.exceptions import (
    FallbackExceptionGroup,
    ModelAPIError,
    ModelAuthenticationError,
    ModelConnectionError,
    ModelContextWindowExceededError,
    ModelHTTPError,
    ModelNotFoundError,
    ModelQuotaExceededError,
    ModelRateLimitError,
    ModelRequestTimeout,
    ModelRetry,
    ModelTimeoutError,
    UnexpectedModelBehavior,
    UsageLimitExceeded,
    UserError,
)
from pydantic_ai.messages import ModelResponse

from orchestrator.budget.errors import BudgetExceededError, PriceUnknownError
from orchestrator.errors import (
    InvalidInputError,
    LimitError,
    ModelUnavailableError,
    OrchestratorError,
    WorkspaceUnavailableError,
    causes,
)

_SECRET_ENDINGS = ("KEY", "TOKEN", "SECRET", "PASSWORD")

MIN_SECRET_CHARS = 6
"""What is shorter is no secret, and stands in every other word."""

MAX_DETAIL_CHARS = 300
"""A provider's own words are quoted this far; some answer with a page of HTML."""


def explain(error: BaseException, model: str) -> OrchestratorError | None:
    """Return the error to report for what broke a run, or None if it is a bug."""
    known = _explained(error, model)
    if known is not None:
        known.args = (redact(str(known)),)
    return known


def _explained(error: BaseException, model: str) -> OrchestratorError | None:
    for cause in causes(error):
        if isinstance(cause, FallbackExceptionGroup):
            return _nobody_answered(cause, model)
        if isinstance(cause, OrchestratorError):
            return cause
        for kind, build in _TABLE.items():
            if isinstance(cause, kind):
                return build(cause, model)
    return None


def redact(text: str, environ: Mapping[str, str] = os.environ) -> str:
    """Return the text without any secret of the environment.

    Some servers repeat the key that they refuse, and not only keys of the providers we know.
    """
    for variable, secret in environ.items():
        if variable.upper().endswith(_SECRET_ENDINGS) and len(secret) >= MIN_SECRET_CHARS:
            text = text.replace(secret, "***")
    return text


def without_secrets(response: ModelResponse) -> ModelResponse:
    """Return a response that can be put on record: what failed before it is told in their words."""
    if not response.failed_attempts:
        return response
    attempts = [
        replace(attempt, error=attempt.error and redact(attempt.error))
        for attempt in response.failed_attempts
    ]
    return replace(response, failed_attempts=attempts)


def _nobody_answered(group: FallbackExceptionGroup, model: str) -> OrchestratorError:
    """Say of each model of a chain why it has not answered."""
    names = [f"{attempt.provider_name}:{attempt.model_name}" for attempt in group.attempts]
    known = chain(names, repeat(model))
    told = [str(_explained(error, next(known))) for error in group.exceptions]
    return ModelUnavailableError(f"None of {len(told)} models answered. {' '.join(told)}")


def _budget(error: BudgetExceededError, model: str) -> OrchestratorError:
    return LimitError(
        f"{error} {error.advice}",
        limit=float(error.limit),
        actual=float(error.actual),
        unit=error.unit,
    )


def _model(what: str, advice: str) -> Callable[[ModelAPIError, str], OrchestratorError]:
    def build(error: ModelAPIError, model: str) -> OrchestratorError:
        if not model.endswith(error.model_name):  # one that stands in for it has failed
            model = error.model_name
        status = f" ({error.status_code})" if isinstance(error, ModelHTTPError) else ""
        wait = f" It asks to wait {error.retry_after:g} s." if error.retry_after else ""
        said = _said(error)
        quoted = f": {said}" if said else ""
        text = f"Model {model!r} {what}{status}{quoted.rstrip('.')}.{wait} {advice}"
        return ModelUnavailableError(text)

    return build


def _connection(error: ModelConnectionError, model: str) -> OrchestratorError:
    if error.phase == "read":
        return _model("broke off in the middle of its answer", "Try again.")(error, model)
    return _model("cannot be reached", "Is its server running and its URL right?")(error, model)


def _said(error: ModelAPIError) -> str:
    otherwise = "" if isinstance(error, ModelHTTPError) else str(error)
    text = " ".join((_message_in(error.body) or otherwise).split())
    return text if len(text) <= MAX_DETAIL_CHARS else text[:MAX_DETAIL_CHARS] + "…"


def _first_sentence(error: BaseException) -> str:
    """Return what an error says, without the advice for programmers that Pydantic AI adds."""
    return str(error).partition(" Consider ")[0].partition(" See ")[0]


def _why_unusable(error: BaseException) -> str:
    """Return what was wrong with the last answer, where somebody has judged it."""
    judged = (str(cause) for cause in causes(error) if isinstance(cause, ModelRetry))
    return next(judged, None) or _first_sentence(error)


def _message_in(body: object) -> str | None:
    """Return the provider's message: each wraps it differently, in "error" or a list or neither."""
    match body:
        case [first, *_]:
            return _message_in(first)
        case {"error": dict() as inner}:
            return _message_in(inner)
        case {"message": str(message)}:
            return message
        case _:
            return None


_TABLE: Mapping[type[BaseException], Callable[..., OrchestratorError]] = {
    BudgetExceededError: _budget,
    PriceUnknownError: lambda error, model: LimitError(
        str(error), limit=0, actual=0, unit="US dollars"
    ),
    UsageLimitExceeded: lambda error, model: LimitError(str(error), limit=0, actual=0, unit=""),
    ModelAuthenticationError: _model("refused the key", "Check the provider's key."),
    ModelQuotaExceededError: _model("is out of quota", "Check the account, or use another model."),
    ModelRateLimitError: _model("is over its rate limit", "Try again later."),
    ModelNotFoundError: _model("is not known to its provider", "'workyard models' shows names."),
    ModelContextWindowExceededError: _model("got more than it can take", "Start a new session."),
    ModelTimeoutError: _model("did not answer in time", "Try again, or use another model."),
    ModelRequestTimeout: _model("did not answer in time", "Try again, or use another model."),
    ModelConnectionError: _connection,
    ModelAPIError: _model("answered with an error", "Try again, or use another model."),
    UnexpectedModelBehavior: lambda error, model: ModelUnavailableError(
        f"Model {model!r} did not answer in a usable way: {_why_unusable(error)}"
    ),
    UserError: lambda error, model: InvalidInputError(f"Model {model!r} cannot do this: {error}"),
    MCPError: lambda error, model: WorkspaceUnavailableError(
        f"The workspace's server does not answer: {error}."
    ),
}
"""In the order in which they are tried: the particular before the general."""
