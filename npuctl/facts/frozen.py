"""The base of every fact."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """A fact: frozen; unknown keys are ignored so that older readers take newer files of one schema."""

    model_config = ConfigDict(frozen=True, extra="ignore")
