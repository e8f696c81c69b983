"""One profile for all properties: no deadline, for right answers are asked for on a busy machine too."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("npuctl", deadline=None, max_examples=60)
settings.load_profile("npuctl")
