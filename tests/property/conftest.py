"""One profile for all properties: no deadline, for right answers are asked for on a busy machine too.

CI tries the same examples each time, so that its answer is about the commit; elsewhere each run tries others.
"""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("npuctl", deadline=None, max_examples=60, derandomize=bool(os.environ.get("CI")))
settings.load_profile("npuctl")
