"""The contract tests that the program ships, on its own parts."""

from reenact.testing.test_renderers import *  # noqa: F403
from reenact.testing.test_sinks import *  # noqa: F403
from reenact.testing.test_sources import *  # noqa: F403
from reenact.testing.test_specs import *  # noqa: F403
from reenact.testing.test_trackers import *  # noqa: F403
