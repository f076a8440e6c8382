"""What a model's response says of itself."""

from pydantic_ai.messages import ModelResponse


def was_cut_off(response: ModelResponse) -> bool:
    """Say whether an answer stops short, as when a proxy loses the provider.

    Pydantic AI takes such a stream for complete. These providers always give a reason for the end;
    `tests/wire/test_failures.py` holds that its absence is the sign.
    """
    if response.provider_name not in ("anthropic", "google", "google-cloud", "openai", "ollama"):
        return False
    return "finish_reason" not in (response.provider_details or {})
