"""What holds for every test: property tests have no deadline of their own, and in CI the same examples every time."""

import os

from hypothesis import settings

# a shared machine may pause for longer than any example takes; new examples are searched for at the desk, where a
# failing one can be looked at, and not in the run that decides whether a change lands
settings.register_profile("desk", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "desk")
