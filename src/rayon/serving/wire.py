"""What travels over the JSON API, and how a request becomes products.

Knows bytes, JSON and forms; it neither judges nor stores. A mistake of the caller is a `BadRequestError` with the
status it deserves.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import Request

from rayon.schema import Prediction, Product
from rayon.serving.service import MAX_NAME_CHARS, MAX_PRODUCTS, Told

Name = Annotated[str, Field(max_length=MAX_NAME_CHARS)]


class BadRequestError(ValueError):
    """The caller's mistake: an HTTP status and what is wrong, in words or as a list of errors."""

    def __init__(self, status: int, detail: Any) -> None:
        super().__init__(str(detail))
        self.status, self.detail = status, detail


class ProductIn(BaseModel):
    """A product: a title, a description, a photo; each may be missing, not all of them."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"designation": "Piscine tubulaire 3 m"}})

    product_id: Name = ""
    designation: str = ""
    description: str = ""
    image: str | None = Field(None, description="the photo's bytes, base64; in a form the name of its file's field")
    image_url: str | None = Field(
        None, description="where to fetch the photo, where there is no `image`, from the hosts that the server allows"
    )


_FIELDS = tuple(ProductIn.model_fields)
_MOST_FIELDS = 32
_MOST_PROBLEMS = 20
_LONG = 100_000
"""Bytes of a text that takes so long to read that others would wait."""


class Sent(NamedTuple):
    """A product as it was sent, and the address at which its photo is still to be fetched, '' for none."""

    product: Product
    address: str


class ProductsIn(BaseModel):
    """Several products."""

    model_config = ConfigDict(extra="forbid")

    products: Annotated[list[ProductIn], Field(min_length=1, max_length=MAX_PRODUCTS)]


class CategoryOut(BaseModel):
    """A category and how likely it is, in [0, 1]."""

    category: str
    probability: float


class PredictionOut(BaseModel):
    """What is said of one product. Where it is refused, `refusal` says why and the rest is empty.

    `prediction_id` is what feedback refers to.
    """

    product_id: str
    prediction_id: str = ""
    category: str | None = None
    confidence: float | None = None
    top_k: list[CategoryOut] = []
    decision: Literal["accept", "review", "refused"]
    text_contribution: float | None = None
    image_contribution: float | None = None
    photo_problem: str = ""
    refusal: str = ""


class PredictionsOut(BaseModel):
    """Answers in the order of the products, and the model that gave them."""

    model_version: str
    predictions: list[PredictionOut]


class FeedbackIn(BaseModel):
    """What a person says of a prediction: the right category, which may be the predicted one.

    `key` is the sender's own name for this feedback: sent twice, it is kept once.
    """

    model_config = ConfigDict(extra="forbid")

    prediction_id: Annotated[str, Field(min_length=1, max_length=64)]
    category: Annotated[str, Field(min_length=1, max_length=MAX_NAME_CHARS)]
    user: Name = ""
    comment: Annotated[str, Field(max_length=2000)] = ""
    key: Annotated[str, Field(max_length=64)] = ""


class FeedbackOut(BaseModel):
    """The number under which feedback is kept."""

    number: int


class ModelOut(BaseModel):
    """The model that serves."""

    model_version: str
    since: str
    categories: list[str]
    accept_from: float | None = Field(description="the confidence from which products are accepted; null: none is")
    metrics: dict[str, float] = Field(description="of its training's held-out products, where they were told")
    about: dict[str, Any]


class ErrorOut(BaseModel):
    """What is wrong."""

    detail: Any


def told_out(told: Told) -> PredictionOut:
    """Return an answer as it travels."""
    said = told.said
    if not isinstance(said, Prediction):
        return PredictionOut(product_id=said.product_id, decision="refused", refusal=f"{said.reason}: {said.detail}")
    return PredictionOut(
        product_id=said.product_id,
        prediction_id=told.id,
        category=said.category,
        confidence=said.confidence,
        top_k=[CategoryOut(category=name, probability=probability) for name, probability in said.top_k],
        decision="accept" if said.decision == "accept" else "review",
        text_contribution=said.text_contribution,
        image_contribution=said.image_contribution,
        photo_problem=said.photo_problem,
    )


async def read_products(request: Request, max_megabytes: float) -> list[Sent]:
    """Return the products of a request: JSON (one product, or `products`), or a form with photos as files, whose fields
    have at most `max_megabytes`.

    Raises:
        BadRequestError: 400 for what cannot be read, 415 for another content type, 422 for what is not allowed.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json":
        body = await request.body()
        entries = parse(body) if len(body) < _LONG else await asyncio.to_thread(parse, body)
        return [_sent(entry, _decoded(entry, place)) for place, entry in enumerate(entries)]
    if kind == "multipart/form-data":
        return await _read_form(request, max_megabytes)
    raise BadRequestError(415, "send application/json or multipart/form-data")


def parse(body: bytes) -> list[ProductIn]:
    """Return the products of a JSON text.

    Raises:
        BadRequestError: it is no JSON (400), or not what it should hold (422).
    """
    return _entries(_json(body, "the body"))


def _entries(value: Any) -> list[ProductIn]:
    several = isinstance(value, dict) and "products" in value
    products = value["products"] if several else [value]
    for given in (value, *(products if isinstance(products, list) else ())):
        if isinstance(given, dict) and len(given) > _MOST_FIELDS:  # each unknown one would be a problem of its own
            raise BadRequestError(422, f"an object has {len(given):,} fields: a product has {len(_FIELDS)}")
    try:
        if several:
            return ProductsIn.model_validate(value, strict=True).products
        return [ProductIn.model_validate(value, strict=True)]
    except ValidationError as error:
        raise BadRequestError(422, validation_detail(error)) from None


def validation_detail(error: ValidationError) -> list[dict[str, Any]]:
    """Return what is wrong, a dict an error, without what was sent: it may be long, or secret."""
    return plain_problems(error.errors(include_url=False, include_input=False, include_context=False))


def plain_problems(problems: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return of the first of pydantic's errors what may be told: where, what, and its kind."""
    some = islice(problems, _MOST_PROBLEMS)
    return [{"loc": list(problem["loc"]), "msg": problem["msg"], "type": problem["type"]} for problem in some]


async def _read_form(request: Request, max_megabytes: float) -> list[Sent]:
    try:
        form = await request.form(max_files=MAX_PRODUCTS, max_fields=16, max_part_size=int(max_megabytes * 1e6))
    except (MultiPartException, HTTPException) as error:
        raise BadRequestError(400, f"the form cannot be read: {getattr(error, 'detail', error)}") from None
    try:
        files = {name: await value.read() for name, value in form.multi_items() if isinstance(value, UploadFile)}
        fields = {name: value for name, value in form.multi_items() if isinstance(value, str)}
    finally:
        await form.close()
    if "products" in fields:
        entries = _entries({"products": _json(fields["products"], "the field 'products'")})
    else:
        try:
            entries = [ProductIn.model_validate({**fields, **({"image": "image"} if "image" in files else {})})]
        except ValidationError as error:
            raise BadRequestError(422, validation_detail(error)) from None
    sent = []
    for place, entry in enumerate(entries):
        if entry.image is not None and entry.image not in files:
            raise BadRequestError(422, [_problem(place, "there is no file in a field of that name")])
        sent.append(_sent(entry, files.get(entry.image or "")))
    return sent


def _json(words: str | bytes, what: str) -> Any:
    try:
        return json.loads(words)
    except (ValueError, RecursionError) as error:
        raise BadRequestError(400, f"{what} is not valid JSON: {error}") from None


def _decoded(entry: ProductIn, place: int) -> bytes | None:
    if entry.image is None:
        return None
    words = entry.image
    if words.startswith("data:"):
        words = words.partition(",")[2]
    try:
        return base64.b64decode(words, validate=True)
    except (binascii.Error, ValueError):
        raise BadRequestError(422, [_problem(place, "the photo is not valid base64")]) from None


def _sent(entry: ProductIn, image: bytes | None) -> Sent:
    product = Product(entry.product_id, entry.designation, entry.description, "", image)
    return Sent(product, (entry.image_url or "") if image is None else "")


def _problem(place: int, words: str) -> dict[str, Any]:
    return {"loc": ["products", place, "image"], "msg": words, "type": "photo"}
