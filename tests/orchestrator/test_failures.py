"""What broke a run becomes an error that says who can act, and holds no secret."""

import pytest
from mcp import MCPError
from pydantic_ai.exceptions import (
    FallbackExceptionGroup,
    ModelHTTPError,
    ModelRequestTimeout,
    UnexpectedModelBehavior,
    UsageLimitExceeded,
    UserError,
)

from orchestrator.errors import (
    InvalidInputError,
    LimitError,
    ModelUnavailableError,
    NotFoundError,
    OrchestratorError,
    WorkspaceUnavailableError,
)
from orchestrator.failures import explain, redact


def http(status: int, body: object = None) -> ModelHTTPError:
    return ModelHTTPError(status, "m", body=body)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (http(401), ModelUnavailableError),
        (http(500), ModelUnavailableError),
        (UnexpectedModelBehavior("odd"), ModelUnavailableError),
        (UsageLimitExceeded("over"), LimitError),
        (MCPError(-32000, "Connection closed"), WorkspaceUnavailableError),
        (ExceptionGroup("g", [ExceptionGroup("h", [http(429)])]), ModelUnavailableError),
        (FallbackExceptionGroup("all", [http(500), http(503)]), ModelUnavailableError),
        (NotFoundError("run", "r"), NotFoundError),
        (UserError("no text output"), InvalidInputError),
    ],
)
def test_what_can_break_a_run_is_explained(error: Exception, kind: type[OrchestratorError]) -> None:
    assert type(explain(error, "anthropic:x")) is kind


def test_model_that_never_begins_to_answer_is_late_and_not_broken() -> None:
    """Pydantic AI's class for this is no kind of its other time-outs."""
    error = ModelRequestTimeout("m", 5)

    assert "did not answer in time" in str(explain(error, "m"))


def test_bug_of_ours_is_not_explained_away() -> None:
    assert explain(KeyError("x"), "m") is None


def test_cause_behind_an_error_is_found() -> None:
    error = RuntimeError("outer")
    error.__cause__ = http(500)

    assert isinstance(explain(error, "m"), ModelUnavailableError)


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "the words"}},
        {"message": "the words"},
        {"type": "error", "error": {"type": "t", "message": "the\nwords"}},
        [{"error": {"message": "the words"}}],
    ],
)
def test_providers_own_words_are_quoted_on_one_line(body: object) -> None:
    text = str(explain(http(400, body), "anthropic:x"))

    assert "the words" in text
    assert "400" in text
    assert "\n" not in text


def test_page_of_html_is_cut() -> None:
    text = str(explain(http(502, {"error": {"message": "<p>" * 1000}}), "m"))

    assert len(text) < 500


def test_key_that_a_server_repeats_does_not_reach_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")

    text = str(explain(http(401, {"error": {"message": "bad key sk-very-secret"}}), "m"))

    assert "sk-very-secret" not in text
    assert redact("sk-very-secret", {"OPENAI_API_KEY": "sk-very-secret"}) == "***"


def test_no_secret_of_the_environment_reaches_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("DEEPSEEK_API_KEY", "GITHUB_TOKEN", "MY_SECRET"):
        monkeypatch.setenv(variable, f"value-of-{variable}")
    said = "no: value-of-DEEPSEEK_API_KEY value-of-GITHUB_TOKEN value-of-MY_SECRET"

    for error in (http(401, {"message": said}), UserError(said), UnexpectedModelBehavior(said)):
        assert "value-of" not in str(explain(error, "m"))


def test_code_of_an_error_is_its_name() -> None:
    assert ModelUnavailableError("x").code == "model_unavailable"
