"""Settings of the process, from `WORKYARD_*` environment variables."""

from decimal import Decimal
from pathlib import Path

import platformdirs
from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from orchestrator.errors import InvalidInputError
from orchestrator.record_url import sqlite_file, sqlite_url

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

    state_dir: Path = Field(default_factory=lambda: _DIRS.user_state_path)
    """Where every change of a file is kept, so that it can be undone, in `journals/`."""

    database_url: str | None = None
    """The record's database; by default SQLite, `workyard.db` in the data directory."""

    model_timeout_s: float = Field(default=120.0, gt=0, allow_inf_nan=False)
    """How long one request to a model may go without an answer."""

    budget_session_usd: Decimal | None = Field(default=None, gt=0, allow_inf_nan=False)
    """What the runs of one session may cost together, in US dollars, whatever specs allow."""

    budget_session_tokens: int | None = Field(default=None, gt=0)
    """How many tokens they may use."""

    budget_day_usd: Decimal | None = Field(default=None, gt=0, allow_inf_nan=False)
    """What the runs of one owner that began on one day (UTC) may cost together."""

    budget_day_tokens: int | None = Field(default=None, gt=0)
    """How many tokens they may use."""

    @field_validator("data_dir", "config_dir", "state_dir")
    @classmethod
    def _absolute(cls, path: Path) -> Path:
        # Hosts and env files pass `~` on as it is.
        return path.expanduser().absolute()

    @property
    def effective_database_url(self) -> str:
        """The database to use, as SQLAlchemy writes it."""
        return self.database_url or sqlite_url(self.data_dir / "workyard.db")

    @property
    def record_file(self) -> Path | None:
        """The file of an SQLite record; none if the URL names another, or cannot be used."""
        try:
            return sqlite_file(self.effective_database_url)
        except InvalidInputError:
            return None  # whoever opens the record is told

    @property
    def may_have_record(self) -> bool:
        """Whether something may be on record; a file that is not there yet holds nothing."""
        file = self.record_file
        return file is None or file.exists()


def load_settings() -> Settings:
    """Return the settings of this process.

    Raises:
        InvalidInputError: If a variable holds what it cannot; it is named.
    """
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        variable = f"WORKYARD_{first['loc'][0]}".upper()
        raise InvalidInputError(f"{variable} is {first['input']!r}: {first['msg']}.") from None
    except RuntimeError as error:  # `~` of nobody
        raise InvalidInputError(f"A WORKYARD_ directory cannot be used: {error}") from None
