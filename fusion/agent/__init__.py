"""The reference agent: scans a directory tree, follows its changes, and tells a server over its public HTTP API."""

from .agent import Agent, Phase
from .push import Pusher, Refused

__all__ = ["Agent", "Phase", "Pusher", "Refused"]
