"""Control endpoints of a running sandbox, under ``/_sandbox/`` on both ports."""

from typing import Any, Final

import orjson

from worker.sandbox.state import World
from worker.sandbox.web import Request, Response, header_line, json_response, problem

PREFIX: Final = "/_sandbox/"


class Control:
    """The control endpoints.

    - ``POST /_sandbox/control``: a JSON object, see ``World.apply``; returns the settings.
    - ``GET /_sandbox/control``: the settings.
    - ``GET /_sandbox/stats``: counters.
    """

    def __init__(self, world: World) -> None:
        self._world = world

    def handle(self, request: Request) -> Response:
        """Handle a request."""
        match request.method, request.path.removeprefix(PREFIX):
            case "GET", "stats":
                return json_response(self._world.ledger.stats())
            case "GET", "control":
                return json_response(self._world.settings())
            case "POST", "control":
                return self._change(request)
            case _, "stats":
                return problem(405, "Method Not Allowed", headers=(header_line("allow", "GET"),))
            case _:
                return problem(404, "Not Found")

    def _change(self, request: Request) -> Response:
        # Requiring JSON blocks cross-origin forms, which cannot send it.
        if request.media_type != "application/json":
            return problem(415, "Unsupported Media Type")
        try:
            changes: Any = orjson.loads(request.body)
            if not isinstance(changes, dict):
                raise ValueError("expected a JSON object")  # noqa: TRY004, TRY301
            self._world.apply(changes)
        except (ValueError, TypeError, OSError) as error:
            return problem(400, "Cannot be set.", errors={"$": [str(error)]})
        return json_response(self._world.settings())
