"""`models.toml` is read strictly, holds no key, and says what it means."""

from pathlib import Path

import pytest

from orchestrator.errors import ModelNotConfiguredError, ModelSettingsError
from orchestrator.models.choice import choose_model
from orchestrator.models.providers import PROVIDERS
from orchestrator.models.user_settings import FILE, ModelSettings, load_model_settings

WHOLE = """
default = "fast"

[aliases]
fast = "google:gemini-3.8-flash"
quick = "fast"
home = "lab:qwen3"

[fallback]
"anthropic:claude-sonnet-5-5" = ["openai:gpt-6-luna", "fast"]

[providers.anthropic]
concurrency = 8
timeout_s = 60
retries = 3

[providers.lab]
kind = "openai-chat"
base_url = "http://lab.example:8080/v1"
api_key_env = "LAB_KEY"
"""


def read(directory: Path, text: str) -> ModelSettings:
    (directory / FILE).write_text(text, encoding="utf-8")
    return load_model_settings(directory)


def chosen(known: ModelSettings, requested: str | None = None, **environ: str) -> str:
    return choose_model(
        requested,
        configured=None,
        spec_model="anthropic:claude-sonnet-5-5",
        known=known,
        environ=environ,
    ).name


def test_without_a_file_nothing_is_said(tmp_path: Path) -> None:
    assert load_model_settings(tmp_path) == ModelSettings()


def test_all_that_can_be_said_is_read(tmp_path: Path) -> None:
    known = read(tmp_path, WHOLE)

    assert known.resolved("quick") == "google:gemini-3.8-flash"
    assert known.resolved("openai:gpt-6-luna") == "openai:gpt-6-luna"
    assert known.chain("anthropic:claude-sonnet-5-5") == (
        "anthropic:claude-sonnet-5-5",
        "openai:gpt-6-luna",
        "google:gemini-3.8-flash",
    )
    limits = known.limits_of("anthropic:x")
    assert (limits.concurrency, limits.timeout_s, limits.retries) == (8, 60, 3)
    assert known.limits_of("openai:x") == ModelSettings().limits_of("openai:x")
    assert [p.name for p in known.all_providers][len(PROVIDERS) :] == ["lab"]


@pytest.mark.parametrize(
    ("text", "key", "part"),
    [
        ("defalt = 'a:b'", "defalt", "did you mean 'default'?"),
        ("[provider.x]\nretries = 1", "provider", "did you mean 'providers'?"),
        ("[providers.openai]\nretrys = 1", "providers.openai.retrys", "did you mean 'retries'?"),
        ("[providers.openai]\nretries = -1", "providers.openai.retries", "greater than or equal"),
        ("[providers.openai]\nretries = '1'", "providers.openai.retries", "valid integer"),
        ("[providers.openai]\nretries = true", "providers.openai.retries", "valid integer"),
        ("[providers.openai]\nconcurrency = 0", "providers.openai.concurrency", "greater than"),
        ("[providers.openai]\ntimeout_s = nan", "providers.openai.timeout_s", "finite"),
        ("[providers.openai]\ntimeout_s = 0", "providers.openai.timeout_s", "greater than 0"),
        ("[providers.opnai]\nretries = 1", "providers.opnai", "did you mean 'openai'?"),
        ("[providers.lab]\nkind = 'soap'\nbase_url = 'http://a'", "providers.lab.kind", "ollama"),
        ("[providers.lab]\nkind = 'ollama'", "providers.lab", "needs its base_url"),
        ("[providers.lab]\nbase_url = 'http://a'", "providers.lab", "also have a kind"),
        ("[providers.openai]\nbase_url = 'http://a'", "providers.openai", "also have a kind"),
        (
            "[providers.openai]\nkind = 'openai'\nbase_url = 'http://a'",
            "providers.openai",
            "needs a name of its own",
        ),
        (
            "[providers.'a/b']\nkind = 'openai'\nbase_url = 'http://a'",
            'providers."a/b"',
            "small letters",
        ),
        (
            "[providers.lab]\nkind = 'openai'\nbase_url = 'file:///etc'",
            "providers.lab.base_url",
            "no http(s) URL",
        ),
        ("[aliases]\nfast = 'a:b'\nquick = 'fats'", "aliases.quick", "did you mean 'fast'?"),
        ("[aliases]\nfast = 'google:'", "aliases.fast", "neither provider:model nor an alias"),
        ("[aliases]\na = 'b'\nb = 'c'\nc = 'a'", "aliases.a", "in a circle: a → b → c → a"),
        ("[aliases]\na = 'a'", "aliases.a", "in a circle: a → a"),
        ("[aliases]\noffline = 'a:b'", "aliases.offline", "none of offline, client, test"),
        ("[aliases]\n'a:b' = 'c:d'", 'aliases."a:b"', "small letters"),
        ("default = 'fast'", "default", "no alias is set"),
        ("[fallback]\n'a:b' = []", 'fallback."a:b"', "at least 1 item"),
        ("[fallback]\n'a:b' = 'c:d'", 'fallback."a:b"', "valid list"),
        ("[fallback]\n'a:b' = ['c']", 'fallback."a:b"', "neither provider:model"),
        ("[fallback]\n'a:b' = ['c:d', 'a:b']", 'fallback."a:b"', "does not stand in for itself"),
        (
            "aliases = {x = 'a:b'}\n[fallback]\n'a:b' = ['c:d']\nx = ['e:f']",
            "fallback.x",
            "'a:b' means the same model",
        ),
        ("default = x", None, "line 1"),
    ],
)
def test_what_cannot_be_meant_is_an_error_with_file_line_and_key(
    tmp_path: Path, text: str, key: str | None, part: str
) -> None:
    with pytest.raises(ModelSettingsError) as caught:
        read(tmp_path, text)

    assert caught.value.key == key
    assert part in caught.value.problem
    where = f":{caught.value.line}: {key}: " if key else ": "
    assert str(caught.value).startswith(f"{tmp_path / FILE}{where}")
    assert "\n" not in str(caught.value)


def test_fault_is_told_with_the_line_of_its_key_or_table(tmp_path: Path) -> None:
    texts = {
        "# mine\ndefault = 1": 2,
        "\n[providers.lab]\n\nkind = 'soap'\nbase_url = 'http://a'": 4,
        "[providers]\nlab.kind = 'ollama'": 2,
        "[aliases]\n'a.b' = 'c:d'\n\"x y\" = 'c:d'": 3,
        "[fallback]\n'a:b' = [\n  'c:d',\n  'nope',\n]": 2,
    }
    for text, line in texts.items():
        with pytest.raises(ModelSettingsError) as caught:
            read(tmp_path, text)
        assert caught.value.line == line


def test_file_that_is_no_text_is_an_error(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"\xff\xfe")

    with pytest.raises(ModelSettingsError, match="no UTF-8 text"):
        load_model_settings(tmp_path)


def test_directory_in_place_of_the_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / FILE).mkdir()

    with pytest.raises(ModelSettingsError, match="cannot be read"):
        load_model_settings(tmp_path)


@pytest.mark.parametrize(
    "line",
    [
        "api_key = 'sk-secret'",
        "key = 'sk-secret'",
        "api_key_env = 'sk-secret'",
        "base_url = 'http://user:sk-secret@lab.example/v1'",
        "base_url = 'http://lab.example/v1?key=sk-secret'",
        "kind = 'sk-secret'",
        "retries = 'sk-secret'",
    ],
)
def test_key_in_the_file_is_refused_and_not_shown(tmp_path: Path, line: str) -> None:
    with pytest.raises(ModelSettingsError) as caught:
        read(tmp_path, f"[providers.lab]\n{line}\n")

    assert "sk-secret" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert "sk-secret" not in repr(caught.value.args)


def test_key_is_said_to_belong_into_the_environment(tmp_path: Path) -> None:
    with pytest.raises(ModelSettingsError, match="name the variable that holds it in api_key_env"):
        read(tmp_path, "[providers.lab]\nkind = 'openai'\napi_key = 'x'")


def test_alias_is_chosen_by_its_models_own_name(tmp_path: Path) -> None:
    known = read(tmp_path, WHOLE)

    assert chosen(known, "quick", GOOGLE_API_KEY="k") == "google:gemini-3.8-flash"


def test_default_comes_after_the_specs_own_and_before_the_first_key(tmp_path: Path) -> None:
    known = read(tmp_path, "default = 'google:mine'")

    assert chosen(known, ANTHROPIC_API_KEY="k", GOOGLE_API_KEY="k").startswith("anthropic:")
    assert chosen(known, GOOGLE_API_KEY="k", OPENAI_API_KEY="k") == "google:mine"


def test_default_that_cannot_be_used_is_not_passed_over(tmp_path: Path) -> None:
    known = read(tmp_path, "default = 'google:mine'")

    with pytest.raises(ModelNotConfiguredError, match="'google:mine' needs a key"):
        chosen(known, OPENAI_API_KEY="k")


def test_stand_in_without_a_key_is_noticed_before_it_is_needed(tmp_path: Path) -> None:
    known = read(tmp_path, WHOLE)

    with pytest.raises(ModelNotConfiguredError) as caught:
        chosen(known, "anthropic:claude-sonnet-5-5", ANTHROPIC_API_KEY="k", GOOGLE_API_KEY="k")

    for part in ("'openai:gpt-6-luna'", "stands in for 'anthropic:claude-s", "OPENAI_API_KEY"):
        assert part in str(caught.value)


def test_own_server_needs_the_variable_it_names_and_no_other(tmp_path: Path) -> None:
    known = read(tmp_path, WHOLE)

    assert chosen(known, "home", LAB_KEY="k") == "lab:qwen3"
    with pytest.raises(ModelNotConfiguredError, match="set LAB_KEY"):
        chosen(known, "home", OPENAI_API_KEY="k")


def test_own_server_may_need_no_key(tmp_path: Path) -> None:
    known = read(tmp_path, "[providers.lab]\nkind = 'ollama'\nbase_url = 'http://lab:11434/v1'")

    assert chosen(known, "lab:qwen3") == "lab:qwen3"
