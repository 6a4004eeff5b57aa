"""The front door, and the one package that imports Sanic. All state is in the datastores."""

from fusion.api.app import create_app
from fusion.api.server import serve

__all__ = ["create_app", "serve"]
