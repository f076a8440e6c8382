"""Settings of the process, from `WORKYARD_*` environment variables."""

from pathlib import Path

import platformdirs
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

_DIRS = platformdirs.PlatformDirs("workyard", appauthor=False)


class Settings(BaseSettings):
    """What the operator decides; everything has a default that works."""

    model_config = SettingsConfigDict(
        env_prefix="WORKYARD_", env_ignore_empty=True, use_attribute_docstrings=True, frozen=True
    )

    model: str | None = None
    """The model for every run that does not name one, such as `anthropic:claude-sonnet-5-5`."""

    data_dir: Path = Field(default_factory=lambda: _DIRS.user_data_path)
    """Where the record lives."""

    config_dir: Path = Field(default_factory=lambda: _DIRS.user_config_path)
    """Where the user's own agents live, in `agents/`."""

    database_url: str | None = None
    """The record's database; by default SQLite, `workyard.db` in the data directory."""

    model_timeout_s: float = Field(default=120.0, gt=0)
    """How long one request to a model may go without an answer."""

    @property
    def effective_database_url(self) -> str:
        """The database to use, as SQLAlchemy writes it."""
        return self.database_url or f"sqlite+aiosqlite:///{self.data_dir / 'workyard.db'}"
