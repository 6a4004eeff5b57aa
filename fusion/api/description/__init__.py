"""The API, route by route: method, path, scope, parameters, body, answers and errors.

Handlers take their parameters from here, and ``fusion.api.openapi`` makes /openapi.json of it.
"""
