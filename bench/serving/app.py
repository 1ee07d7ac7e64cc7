"""The application: a page, and an API for other programs. Uploads are never stored, and paths are never accepted."""

from __future__ import annotations

import secrets
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from importlib.resources import files
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from radiographs.read import UnreadableImageError
from starlette.datastructures import UploadFile as StarletteUpload
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp

import bench
from bench.inference.model import Model
from bench.serving.limits import BusyError, Guard, Limits, RequestQueue, refusal
from bench.serving.predictions import Upload, decode, explain_upload, predict_upload

_POLICY = "default-src 'none'; img-src 'self' data:; style-src 'nonce-{n}'; script-src 'nonce-{n}'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_HOW = "send one file as the multipart field 'file'"
_UPLOAD = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": {"type": "string", "format": "binary"}},
                }
            }
        },
    }
}
_BUCKETS = (0.1, 0.3, 1, 3, 10)  # seconds


class Metrics:
    """Counts for a monitoring system, without any uploaded content."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, int]] = Counter()
        self.verdicts: Counter[tuple[str, str]] = Counter()
        self.seconds: Counter[float] = Counter()
        self.total, self.n = 0.0, 0

    def observe(self, seconds: float) -> None:
        """Count a prediction and its seconds."""
        self.total, self.n = self.total + seconds, self.n + 1
        self.seconds.update(bucket for bucket in _BUCKETS if seconds <= bucket)

    def text(self) -> str:
        """Return the counts in Prometheus' text format."""
        lines = ["# TYPE xraybench_requests_total counter"]
        lines += [
            f'xraybench_requests_total{{route="{r}",status="{s}"}} {n}' for (r, s), n in sorted(self.requests.items())
        ]
        lines += ["# TYPE xraybench_answers_total counter"]
        lines += [
            f'xraybench_answers_total{{model="{m}",verdict="{v}"}} {n}' for (m, v), n in sorted(self.verdicts.items())
        ]
        lines += ["# TYPE xraybench_predict_seconds histogram"]
        lines += [f'xraybench_predict_seconds_bucket{{le="{b}"}} {self.seconds[b]}' for b in _BUCKETS]
        lines += [f'xraybench_predict_seconds_bucket{{le="+Inf"}} {self.n}']
        lines += [f"xraybench_predict_seconds_sum {self.total:.6f}", f"xraybench_predict_seconds_count {self.n}"]
        return "\n".join(lines) + "\n"


def make_app(models: Sequence[Model], limits: Limits) -> ASGIApp:
    """Make the application for open models.

    Parameters
    ----------
    models : sequence of Model
        Open models, with distinct names.
    limits : Limits
        What a request may be.

    Returns
    -------
    ASGIApp
        The application.
    """
    app = FastAPI(
        title="xraybench", version=bench.__version__, docs_url=None, redoc_url=None, description=_describe(models)
    )
    metrics, queue = Metrics(), RequestQueue(limits)
    _add_errors(app)
    _add_pages(app, models, metrics)

    async def answer(
        route: Callable[[Sequence[Model], Upload], dict[str, Any]], request: Request, frame: int
    ) -> dict[str, Any]:
        with queue.slot():
            data = await _uploaded(request, limits)
            upload = await queue.decode(lambda: decode(models, data, frame, limits))
            return await queue.predict(lambda: route(models, upload))

    @app.post("/v1/predict", openapi_extra=_UPLOAD)
    async def predict(request: Request, frame: Annotated[int, Query(ge=0, le=100_000)] = 0) -> dict[str, Any]:
        """Name the body parts in a PNG, JPEG, TIFF or DICOM file, with every model."""
        start = time.perf_counter()
        found = await answer(predict_upload, request, frame)
        metrics.observe(time.perf_counter() - start)
        metrics.verdicts.update((each["model"], each["verdict"]) for each in found["models"])
        return found

    @app.post("/v1/explain", openapi_extra=_UPLOAD)
    async def explain_(request: Request, frame: Annotated[int, Query(ge=0, le=100_000)] = 0) -> dict[str, Any]:
        """Show what each model's prediction depends on, as a PNG with a heat map."""
        return await answer(explain_upload, request, frame)

    @app.middleware("http")
    async def count(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        response = await call_next(request)
        known = {getattr(route, "path", "") for route in app.routes}
        path = request.url.path if request.url.path in known else "other"
        metrics.requests[path, response.status_code] += 1
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Cache-Control"] = "no-store"
        return response

    def refused(status: int) -> None:
        metrics.requests["refused", status] += 1

    return Guard(app, limits, refused)


async def _uploaded(request: Request, limits: Limits) -> bytes:
    """Bytes of the one file of a form, which is never written to disk, whatever its size."""
    try:
        parser = MultiPartParser(request.headers, request.stream(), max_files=1, max_fields=4)
        parser.spool_max_size = limits.max_bytes + 1
        form = await parser.parse()
    except (MultiPartException, KeyError):
        raise HTTPException(422, _HOW) from None
    file = form.get("file")
    if not isinstance(file, StarletteUpload):
        raise HTTPException(422, _HOW)
    try:
        return await file.read()
    finally:
        await form.close()


def _describe(models: Sequence[Model]) -> str:
    names = ", ".join(f"{model.name} ({model.facts['family']})" for model in models)
    return f"Names body parts in radiographs. Models: {names}. Not a medical device. Uploads are not stored."


def _add_pages(app: FastAPI, models: Sequence[Model], metrics: Metrics) -> None:
    page = files("bench.serving").joinpath("page.html").read_text(encoding="utf-8")

    @app.get("/", include_in_schema=False)
    async def home() -> HTMLResponse:
        nonce = secrets.token_urlsafe(16)
        headers = {"Content-Security-Policy": _POLICY.format(n=nonce), "Referrer-Policy": "no-referrer"}
        return HTMLResponse(page.replace("NONCE", nonce), headers=headers)

    @app.get("/v1/models")
    async def known() -> list[dict[str, Any]]:
        """List the models: name, family, classes, and test results."""
        keys = ("name", "family", "task", "classes", "trained_on", "tests", "holdout", "decision", "licences")
        return [{key: model.facts.get(key) for key in keys} for model in models]

    @app.get("/health")
    async def health() -> dict[str, Any]:
        """Report that the server is up, and how many models are open."""
        return {"status": "ok", "models": len(models), "version": bench.__version__}

    @app.get("/metrics", response_class=PlainTextResponse)
    async def counted() -> PlainTextResponse:
        """Count requests, predictions and seconds, for Prometheus."""
        return PlainTextResponse(metrics.text(), media_type="text/plain; version=0.0.4")


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(UnreadableImageError)
    async def unreadable(_: Request, error: UnreadableImageError) -> JSONResponse:
        return refusal(422, str(error))

    @app.exception_handler(BusyError)
    async def busy(_: Request, __: BusyError) -> JSONResponse:
        return refusal(503, "too many requests are waiting: try again in a moment")

    @app.exception_handler(RequestValidationError)
    async def wrong(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        return refusal(422, f"{'.'.join(map(str, first['loc']))}: {first['msg'].lower()}")

    @app.exception_handler(Exception)
    async def unexpected(_: Request, __: Exception) -> JSONResponse:
        return refusal(500, "internal error: see the server's terminal")

    @app.exception_handler(HTTPException)
    async def refused(_: Request, error: HTTPException) -> JSONResponse:
        return refusal(error.status_code, str(error.detail).lower())
