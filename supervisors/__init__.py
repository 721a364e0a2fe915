"""What keeps actors running: supervisors, and the feeds that stand on them."""

from supervisors.child import ChildInfo, ChildKind, ChildSpec, ChildState, Counts, Restart, TooMany
from supervisors.feed_plan import FeedPlan, FeedsConfig
from supervisors.feeds import Feeds, FeedsFailed, open_feeds
from supervisors.flags import AutoShutdown, Strategy
from supervisors.intensity import Intensity
from supervisors.refusals import (
    AlreadyPresent,
    AlreadyStarted,
    BadCombination,
    NotFound,
    NotRunning,
    Overloaded,
    Restarting,
    Running,
    StartFailed,
    Stopping,
    SupervisorError,
    TooManyChildren,
    TooManyCrashes,
    Unstopped,
    Unsupported,
)
from supervisors.supervisor import Instance, Supervisor

__all__ = [
    "AlreadyPresent",
    "AlreadyStarted",
    "AutoShutdown",
    "BadCombination",
    "ChildInfo",
    "ChildKind",
    "ChildSpec",
    "ChildState",
    "Counts",
    "FeedPlan",
    "Feeds",
    "FeedsConfig",
    "FeedsFailed",
    "Instance",
    "Intensity",
    "NotFound",
    "NotRunning",
    "Overloaded",
    "Restart",
    "Restarting",
    "Running",
    "StartFailed",
    "Stopping",
    "Strategy",
    "Supervisor",
    "SupervisorError",
    "TooMany",
    "TooManyChildren",
    "TooManyCrashes",
    "Unstopped",
    "Unsupported",
    "open_feeds",
]
