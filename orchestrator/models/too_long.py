"""Servers that say in words of their own that they got more than their model can take.

Pydantic AI knows the code of OpenAI and the words of vLLM. What stands here is any other error to
it, and a conversation that could go on, made shorter, would end.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from pydantic_ai.exceptions import ModelContextWindowExceededError, ModelHTTPError

_TYPE = "exceed_context_size_error"
"""llama.cpp's. Source: https://github.com/ggml-org/llama.cpp/pull/15780"""

_WORDS = ("when context the overflows", "cannot truncate prompt with n_keep")
"""LM Studio's, in small letters.

Source: https://github.com/lmstudio-ai/lmstudio-bug-tracker, issues 237 and 2256.
"""


@contextmanager
def too_long_named() -> Iterator[None]:
    """Let an error that says "too long" be of the class that means it.

    Raises:
        ModelContextWindowExceededError: In the place of such an error.
    """
    try:
        yield
    except ModelHTTPError as error:
        if isinstance(error, ModelContextWindowExceededError) or not _says_too_long(error):
            raise
        raise ModelHTTPError.for_category(
            ModelContextWindowExceededError,
            status_code=error.status_code,
            model_name=error.model_name,
            body=error.body,
            headers=error.headers,
            provider_error_code=error.provider_error_code,
            provider_error_type=error.provider_error_type,
        ) from error


def window_told(error: ModelContextWindowExceededError) -> int | None:
    """Return what a server says that its model can take, in tokens, if it says so.

    llama.cpp does; what it was started with, nobody else knows.
    """
    match error.body:
        case {"n_ctx": int(window)} if window > 0:
            return window
        case _:
            return None


def _says_too_long(error: ModelHTTPError) -> bool:
    text = str(error.body).lower()
    return error.provider_error_type == _TYPE or any(words in text for words in _WORDS)
