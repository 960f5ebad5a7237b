"""Control endpoints of a running sandbox, under ``/_sandbox/`` on both ports."""

from collections.abc import Callable
from typing import Any, Final

import orjson

from worker.sandbox.state import World
from worker.sandbox.web import Request, Response, header_line, json_response, problem

PREFIX: Final = "/_sandbox/"


class Control:
    """The control endpoints.

    - ``POST /_sandbox/control``: a JSON object, see ``World.apply``; returns the settings.
    - ``GET /_sandbox/control``: the settings.
    - ``GET /_sandbox/stats``: counters. ``GET /_sandbox/requests``: the latest requests.
    - ``POST /_sandbox/subject-token``: ``{"sub": ..., "lifetime_s": ...}``; a subject token.
    """

    def __init__(self, world: World, mint: Callable[[str, int], str]) -> None:
        self._world = world
        self._mint = mint

    def handle(self, request: Request) -> Response:
        """Handle a request."""
        name = request.path.removeprefix(PREFIX)
        match request.method, name:
            case "GET", "stats":
                return json_response(self._world.ledger.stats())
            case "GET", "requests":
                return json_response(self._world.ledger.requests())
            case "GET", "control":
                return json_response(self._world.settings())
            case "POST", "control" | "subject-token":
                return self._post(name, request)
            case _, "stats" | "requests":
                return problem(405, "Method Not Allowed", headers=(header_line("allow", "GET"),))
            case _:
                return problem(404, "Not Found")

    def _post(self, name: str, request: Request) -> Response:
        # Requiring JSON blocks cross-origin forms, which cannot send it.
        if request.media_type != "application/json":
            return problem(415, "Unsupported Media Type")
        try:
            changes: Any = orjson.loads(request.body)
            if not isinstance(changes, dict):
                raise ValueError("expected a JSON object")  # noqa: TRY004, TRY301
            if name == "control":
                self._world.apply(changes)
                return json_response(self._world.settings())
            subject = str(changes.get("sub", "sandbox-user"))
            token = self._mint(subject, int(changes.get("lifetime_s", 600)))
        except (ValueError, TypeError) as error:
            return problem(400, "Cannot be set.", errors={"$": [str(error)]})
        return json_response({"subject_token": token})
