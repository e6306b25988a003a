"""The base of every settings model: frozen, and strict about keys it does not know."""

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """One table of the configuration file. A user's own camera or output brings a subclass of it."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
