"""The older JSON shape of an agent: `display_name`, `model{provider, model}`, `system_prompt`."""

from collections.abc import Iterator, Mapping

from pydantic import JsonValue

from orchestrator.formats.converted import Conversion

_MARKS = ("system_prompt", "display_name")
_KNOWN = ("name", "display_name", "description", "model", "system_prompt", "tools", "metadata")
_TOOLS = {"file_read": "read_file", "file_write": "write_file", "grep": "grep"}
_PROVIDERS = {
    "google": "google",
    "gemini": "google",
    "google-gla": "google",
    "vertex": "google-cloud",
    "vertexai": "google-cloud",
    "google-vertex": "google-cloud",
    "anthropic": "anthropic",
    "openai": "openai",
    "ollama": "ollama",
}
_SETTINGS = ("temperature", "max_tokens")


def is_older(values: Mapping[str, JsonValue]) -> bool:
    """Say whether values are of this shape and not a spec's."""
    return any(key in values for key in _MARKS) or isinstance(values.get("model"), dict)


def convert(values: Mapping[str, JsonValue], into: Conversion) -> None:
    """Make a spec's values of an agent's in this shape, and note what is lost.

    Raises:
        SpecError: If what it cannot be without is missing or something else.
    """
    into.values["name"] = into.name(into.text(values, "name"))
    display_name = into.text(values, "display_name", default="")
    into.values["description"] = into.text(values, "description", default="") or display_name
    prompt = into.text(values, "system_prompt")
    into.values["instructions"] = into.instructions(prompt, ("system_prompt",))
    _model(values.get("model"), into)
    _metadata(values.get("metadata"), display_name, into)
    into.give_hands(_tools(values.get("tools"), into), ("tools",))
    for key in values:
        if key not in _KNOWN:
            into.note((key,), "a spec has nothing for this; it is left out.")


def _model(given: JsonValue, into: Conversion) -> None:
    if given is None:
        return
    if not isinstance(given, dict):
        raise into.error(("model",), "a model has 'provider' and 'model'.")
    provider, name = (str(given.get(key) or "") for key in ("provider", "model"))
    if provider.lower() in _PROVIDERS and name:
        into.values["model"] = f"{_PROVIDERS[provider.lower()]}:{name}"
    else:
        known = ", ".join(sorted(_PROVIDERS))
        problem = f"{provider!r} is no provider known here ({known}); the model is left out."
        into.note(("model", "provider"), problem)
    settings = {key: given[key] for key in _SETTINGS if given.get(key) is not None}
    if settings:
        into.values["model_settings"] = settings
    for key in given:
        if key not in ("provider", "model", *_SETTINGS):
            into.note(("model", key), "it is left out; see model_settings for what there is.")


def _metadata(given: JsonValue, display_name: str, into: Conversion) -> None:
    if given is not None and not isinstance(given, dict):
        raise into.error(("metadata",), "this is a mapping of keys to values.")
    metadata = {**({"display_name": display_name} if display_name else {}), **(given or {})}
    if metadata:
        into.values["metadata"] = metadata


def _tools(given: JsonValue, into: Conversion) -> Iterator[str]:
    if given is None:
        return
    if not isinstance(given, list):
        raise into.error(("tools",), "this is a list of tools.")
    for index, tool in enumerate(given):
        if not isinstance(tool, dict) or not isinstance(tool.get("name"), str):
            raise into.error(("tools", index), "a tool has 'name' and 'enabled'.")
        name, enabled = str(tool["name"]), tool.get("enabled", True)
        if not isinstance(enabled, bool):
            raise into.error(
                ("tools", index, "enabled"), f"this is true or false, not {enabled!r}."
            )
        for key in tool:
            if key not in ("name", "enabled"):
                into.note(("tools", index, key), "a spec has nothing for this; it is left out.")
        if not enabled:
            into.note(("tools", index), f"{name!r} is not enabled; it is left out.")
        elif name in _TOOLS:
            yield _TOOLS[name]
        else:
            known = ", ".join(_TOOLS)
            into.note(("tools", index), f"there is no {name!r} here ({known}); it is left out.")
