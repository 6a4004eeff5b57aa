"""The front door: the one package that imports Sanic. It holds no state of the view, only a ``Datastore`` per name."""

from fusion.api.app import create_app
from fusion.api.server import serve

__all__ = ["create_app", "serve"]
