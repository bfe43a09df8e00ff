"""The card of a dataset version: how much can be learnt from, of what, and what was refused and why.

Knows what a dataset version is and lists Metaflow card components, the conclusion first. It reads no file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from metaflow.cards import MetaflowCardComponent

from rayon.cards_charts import bars
from rayon.cards_layout import (
    Photo,
    Tile,
    chart,
    percent,
    photo_grid,
    refusals,
    section,
    style,
    table,
    tiles,
    verdict,
)
from rayon.data.rejects import Refused
from rayon.data.shards import Manifest

_BARS = 40


def dataset_card(
    manifest: Manifest,
    refused: Refused,
    mix: Sequence[tuple[str, int]],
    split_counts: Mapping[str, int],
    new_rows: int,
    photos: Sequence[tuple[str, bytes]],
    new_shards: int | None = None,
) -> list[MetaflowCardComponent]:
    """Return the card of a dataset version.

    Args:
        refused: what was refused, rows and photos.
        mix: products by category, largest first.
        split_counts: products by split.
        new_rows: products that the previous version did not have.
        photos: a sample, as (category, encoded photo).
        new_shards: how many of the shards were built for this version, where that is known.
    """
    counts = manifest.counts
    kept, labelled = counts["kept"], counts.get("feedback", 0)
    (largest, most), (smallest, fewest) = mix[0], mix[-1]
    rejected = counts["rejected"]
    sentence = (
        f"{kept - labelled:,} of {counts['read']:,} products can be learnt from, in {len(mix)} categories; "
        f"{'none was' if not rejected else f'{rejected:,} were'} refused."
    )
    more = [
        f"The largest category, {largest}, holds {percent(most / kept)} of them, the smallest, {smallest}, "
        f"{fewest:,} {_plural('product', fewest)}.",
        f"Against the version before: {new_rows:,} new or changed, {counts.get('removed', 0):,} gone.",
    ]
    megabytes = sum(ref.size for ref in manifest.shards) / 1e6
    shards = f"{megabytes:,.1f} MB" if new_shards is None else f"{new_shards} new, {megabytes:,.1f} MB"
    numbers = [
        Tile("read", f"{counts['read']:,}", "rows of the catalogue"),
        Tile("kept", f"{kept - labelled:,}", percent((kept - labelled) / max(counts["read"], 1)) + " of what was read"),
        *([Tile("from people", f"{labelled:,}", "labelled in the app")] if labelled else []),
        Tile("refused", f"{rejected:,}", "reasons below"),
        Tile("photos refused", f"{counts['photos_refused']:,}", "kept on their text"),
        Tile("without photo", percent(counts["without_photo"] / kept), f"{counts['without_photo']:,} products"),
        Tile("without description", percent(counts["without_description"] / kept), "the title alone"),
        Tile("repeated titles", f"{counts['title_duplicates']:,}", "never on both sides of a split"),
        Tile("categories", f"{len(mix)}", f"{fewest:,} to {most:,} products each"),
        Tile("shards", f"{len(manifest.shards)}", shards),
    ]
    parts = [Tile(split, f"{count:,}", percent(count / kept)) for split, count in split_counts.items() if count]
    shown = dict(mix[:_BARS])
    rest = f" The {len(mix) - _BARS} smallest are not drawn." if len(mix) > _BARS else ""
    sheet = photo_grid([Photo(image, lines=[("plain", category)]) for category, image in photos])
    facts = {"version": manifest.name, "fingerprint": manifest.fingerprint, "created": manifest.created}
    return [
        style(),
        verdict(sentence, more, "caution" if rejected > counts["read"] / 10 else "good"),
        tiles(numbers),
        *section(
            "Splits", "By a hash of the title: the test set stays as it is while the catalogue grows.", tiles(parts)
        ),
        *section("Products by category", f"Of all {kept:,} products.{rest}", chart(bars(shown, "products"))),
        *(section("A look at the photos", "Drawn at random, as they are stored.", sheet) if photos else []),
        *refusals(refused, "A refused photo leaves the product on its text."),
        *section("Details", "", table(["fact", "value"], list(facts.items()))),
    ]


def _plural(word: str, count: int) -> str:
    return word if count == 1 else word + "s"
