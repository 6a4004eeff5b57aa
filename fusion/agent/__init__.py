"""The reference agent: scans a directory tree, follows its changes, tells a server over HTTP."""

from .agent import Agent, Phase
from .push import Pusher, Refused

__all__ = ["Agent", "Phase", "Pusher", "Refused"]
