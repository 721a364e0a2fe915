"""What keeps actors running: supervisors, and the feeds that stand on them."""

from supervisors.actions import (
    AlreadyPresent,
    AlreadyStarted,
    NotFound,
    Restarting,
    Running,
    StartFailed,
    Stopping,
    SupervisorError,
    TooManyCrashes,
    Unstopped,
)
from supervisors.child import ChildKind, ChildSpec, ChildState, Restart, TooMany
from supervisors.feeds import FeedPlan, Feeds, FeedsConfig, FeedsFailed, open_feeds
from supervisors.intensity import Intensity
from supervisors.supervisor import ChildInfo, Counts, Supervisor

__all__ = [
    "AlreadyPresent",
    "AlreadyStarted",
    "ChildInfo",
    "ChildKind",
    "ChildSpec",
    "ChildState",
    "Counts",
    "FeedPlan",
    "Feeds",
    "FeedsConfig",
    "FeedsFailed",
    "Intensity",
    "NotFound",
    "Restart",
    "Restarting",
    "Running",
    "StartFailed",
    "Stopping",
    "Supervisor",
    "SupervisorError",
    "TooMany",
    "TooManyCrashes",
    "Unstopped",
    "open_feeds",
]
