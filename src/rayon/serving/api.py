"""The JSON API: predictions, feedback, the model, health, metrics, documentation.

Knows HTTP; what is asked is done by the service. A refusal holds `detail`, which says what is wrong.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import swagger_ui_bundle
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse, JSONResponse
from fastapi.staticfiles import StaticFiles

import rayon
from rayon.feedback import StoreError, UnknownPredictionError
from rayon.serving.access import Access
from rayon.serving.batching import BusyError
from rayon.serving.limits import Bounded, Keyed, Logged
from rayon.serving.metrics import CONTENT_TYPE
from rayon.serving.origins import OwnPages
from rayon.serving.service import MAX_PRODUCTS, NoModelError, Service
from rayon.serving.wire import (
    BadRequestError,
    ErrorOut,
    FeedbackIn,
    FeedbackOut,
    ModelOut,
    PredictionsOut,
    ProductIn,
    plain_problems,
    read_products,
    told_out,
)

_RETRY_SECONDS = "2"
_FEEDBACK = "/api/v1/feedback"

Errors = dict[int | str, dict[str, Any]]


def make_api(service: Service, access: Access) -> FastAPI:
    """Return the application; entering its lifespan starts the service, leaving it closes it."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.start()
        yield
        await asyncio.to_thread(service.close)

    api = FastAPI(
        title="rayon",
        version=rayon.__version__,
        description="Puts products into categories by their text and photo.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
    )
    _handle_errors(api)
    _add_health(api, service)
    # what is added last comes first
    api.add_middleware(Bounded, max_megabytes=service.config.app.max_upload_megabytes, short={_FEEDBACK: 0.064})
    api.add_middleware(Keyed, access=access, prefixes=("/api/v1/", "/metrics"))
    api.add_middleware(OwnPages, loopback=access.local and not access.users)
    api.add_middleware(Logged, metrics=service.metrics)
    _add_docs(api)

    def caller(request: Request) -> str:
        return str(request.state.caller)

    @api.post(
        "/api/v1/predict",
        response_model=PredictionsOut,
        responses=_errors(400, 401, 413, 415, 422, 503),
        openapi_extra={"requestBody": _PREDICT_BODY},
        summary="Judge one product, or up to 64",
    )
    async def predict(request: Request, who: str = Depends(caller)) -> Any:
        sent = await read_products(request, service.config.app.max_upload_megabytes)
        told = await service.predict([one.product for one in sent], who, [one.address for one in sent])
        answers = [told_out(one) for one in told]
        if all(answer.decision == "refused" for answer in answers):
            raise HTTPException(422, [answer.refusal for answer in answers])
        return PredictionsOut(model_version=told[0].model.version, predictions=answers)

    @api.post(
        _FEEDBACK,
        status_code=201,
        response_model=FeedbackOut,
        responses=_errors(400, 401, 404, 413, 422, 503),
        summary="Say what a product's category really is",
    )
    async def feedback(sent: FeedbackIn, who: str = Depends(caller)) -> FeedbackOut:
        name = "/".join(filter(None, [who, sent.user.replace("/", " ")]))  # the key answers for its users
        try:
            number = await service.add_feedback(sent.prediction_id, sent.category, name, sent.comment, sent.key)
        except ValueError as error:
            raise HTTPException(422, str(error)) from None
        return FeedbackOut(number=number)

    @api.get("/api/v1/model", response_model=ModelOut, responses=_errors(401, 503), summary="The model that serves")
    async def model(who: str = Depends(caller)) -> ModelOut:
        current = service.live.current
        if current is None:
            raise NoModelError(service.live.problem)
        bundle, threshold = current.predictor.bundle, current.predictor.threshold
        return ModelOut(
            model_version=current.version,
            since=current.since.isoformat(timespec="seconds"),
            categories=list(bundle.categories),
            accept_from=threshold if threshold <= 1.0 else None,
            metrics={f"coverage_at_{t.precision:g}": t.coverage for t in bundle.thresholds},
            about=bundle.about,
        )

    @api.get("/metrics", responses=_errors(401), summary="Numbers for Prometheus", response_class=Response)
    async def metrics(who: str = Depends(caller)) -> Response:
        service.metrics.serving(service.live.current.version if service.live.current else "")
        service.metrics.model_failures.set(service.live.failures)
        return Response(service.metrics.text(), media_type=CONTENT_TYPE)

    return api


def _add_health(api: FastAPI, service: Service) -> None:
    @api.get("/healthz", summary="Whether the process answers")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @api.get(
        "/readyz",
        responses={503: {"description": "no model, no store, or nothing that judges"}},
        summary="Whether it can judge",
    )
    async def readyz() -> JSONResponse:
        current, store = service.live.current, await service.check_store() or "ok"
        ready = current is not None and store == "ok" and service.judging
        facts = {
            "ready": ready,
            "model": current.version if current else "",
            "problem": service.live.problem if service.judging else "what judges has stopped: restart the app",
            "store": "full: photos are no longer kept" if store == "ok" and service.store.full else store,
        }
        return JSONResponse(facts, 200 if ready else 503)


def _add_docs(api: FastAPI) -> None:
    assets = next(Path(swagger_ui_bundle.__file__).parent.glob("vendor/*/swagger-ui-bundle.js")).parent
    api.mount("/api/assets", StaticFiles(directory=assets), name="assets")

    @api.get("/api/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        at = "/api/assets"
        return get_swagger_ui_html(
            openapi_url="../api/openapi.json",
            title="rayon",
            swagger_js_url=f"..{at}/swagger-ui-bundle.js",
            swagger_css_url=f"..{at}/swagger-ui.css",
            swagger_favicon_url="data:,",
        )


def _handle_errors(api: FastAPI) -> None:
    def answer(status: int, words: Any, headers: dict[str, str] | None = None) -> Response:
        # ASCII: what was sent, and is told in the words, need not be text that can be encoded
        content = json.dumps({"detail": words}, default=str)
        return Response(content, status, headers, media_type="application/json")

    async def sentence(status: int, headers: dict[str, str] | None, _: Request, error: Exception) -> Response:
        return answer(status, str(error.args[0] if error.args else error), headers)

    async def bad(_: Request, error: Exception) -> Response:
        assert isinstance(error, BadRequestError)
        return answer(error.status, error.detail)

    async def invalid(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        problems = plain_problems(error.errors())
        unreadable = any(problem["type"] == "json_invalid" for problem in problems)
        return answer(400 if unreadable else 422, problems)

    later = {"Retry-After": _RETRY_SECONDS}
    handlers: dict[type[Exception], Callable[[Request, Exception], Any]] = {
        BadRequestError: bad,
        RequestValidationError: invalid,
        UnknownPredictionError: partial(sentence, 404, None),
        NoModelError: partial(sentence, 503, later),
        BusyError: partial(sentence, 503, later),
        StoreError: partial(sentence, 503, later),
    }
    for kind, handler in handlers.items():
        api.add_exception_handler(kind, handler)


def _errors(*statuses: int) -> Errors:
    words = {
        400: "the request cannot be read",
        401: "no known key",
        404: "no such prediction",
        413: "too large",
        415: "another content type",
        422: "what was sent is not allowed, or no product of it can be judged",
        503: "no model yet, too much waits, or the store is away",
    }
    return {status: {"model": ErrorOut, "description": words[status]} for status in statuses}


_PRODUCT = ProductIn.model_json_schema()
_PRODUCTS = {
    "type": "object",
    "properties": {"products": {"type": "array", "items": _PRODUCT, "minItems": 1, "maxItems": MAX_PRODUCTS}},
    "required": ["products"],
    "additionalProperties": False,
}
_FORM = {
    "type": "object",
    "properties": {
        **{name: {"type": "string"} for name in ("product_id", "designation", "description")},
        "image": {"type": "string", "format": "binary"},
        "products": {"type": "string", "description": "JSON, as `products`; each `image` names a file's field"},
    },
}
_PREDICT_BODY = {
    "required": True,
    "content": {
        "application/json": {"schema": {"anyOf": [_PRODUCT, _PRODUCTS]}},
        "multipart/form-data": {"schema": _FORM},
    },
}
