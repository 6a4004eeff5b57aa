"""Fusion: the metadata of whole file trees in memory.

`PathIndex` is the compiled index, usable without any server; `fusion.cli` runs the service and the agent.
"""

from fusion._index import Applied, Batch, Child, Node, PathIndex, Stats, Usage

__all__ = ["Applied", "Batch", "Child", "Node", "PathIndex", "Stats", "Usage"]
