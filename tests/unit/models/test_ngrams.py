"""Gram columns: what becomes one, how rows are weighed, and that hashing costs nothing against a vocabulary."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.pipeline import make_union

from rayon.config import NgramBranch, Synthetic
from rayon.data.synthetic import iter_products
from rayon.data.text import product_text
from rayon.models.ngrams import NgramVectorizer

TEXTS = ["Lampe de bureau", "lampe bleue", "Roman policier, édition de poche", "roman d'amour", "lampe de poche"]


def fitted(texts: list[str] = TEXTS, **settings: object) -> NgramVectorizer:
    vectorizer = NgramVectorizer(NgramBranch(**{"log2_buckets": 16, **settings}))
    vectorizer.fit(texts)
    return vectorizer


def test_a_restored_vectorizer_gives_the_same_rows():
    vectorizer = fitted()
    restored = NgramVectorizer(vectorizer.settings, vectorizer.buckets.copy(), vectorizer.idf.copy())
    others = ["lampe rouge de poche", "", "ROMAN"]
    np.testing.assert_array_equal(restored.transform(others).toarray(), vectorizer.transform(others).toarray())
    assert restored.columns == vectorizer.columns == vectorizer.transform(TEXTS).shape[1] > 0


def test_fit_transform_is_fit_on_some_texts_and_transform_of_all():
    learn = np.array([0, 2, 4])
    others = NgramVectorizer(fitted().settings)
    rows = others.fit_transform(TEXTS, learn)
    expected = fitted([TEXTS[place] for place in learn])
    np.testing.assert_array_equal(others.buckets, expected.buckets)
    np.testing.assert_array_equal(others.idf, expected.idf)
    np.testing.assert_array_equal(rows.toarray(), expected.transform(TEXTS).toarray())
    assert others.columns < fitted().columns


def test_rows_have_length_one_and_are_empty_where_nothing_is_known():
    rows = fitted().transform([*TEXTS, "", "zzzyyxx qqqww", "…"])
    assert rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows.toarray(), axis=1), [1.0] * 5 + [0.0] * 3, atol=1e-6)


def test_words_and_characters_weigh_the_same():
    vectorizer = fitted()
    words = vectorizer.buckets < 2 ** (vectorizer.settings.log2_buckets - 2)
    assert 0 < words.sum() < len(words)
    rows = vectorizer.transform(["lampe de poche"]).toarray()[0]
    assert np.linalg.norm(rows[words]) == pytest.approx(np.linalg.norm(rows[~words]), abs=1e-6)


def test_a_word_in_the_title_is_not_the_word_in_the_description():
    vectorizer = fitted(["sofa\nindex", "sofa\nindex", "index\nsofa", "index\nsofa"])
    title, other = vectorizer.transform(["sofa\nindex", "index\nsofa"]).toarray()
    assert title @ other == 0.0
    (alone,) = vectorizer.transform(["sofa"]).toarray()
    assert alone @ title == pytest.approx(2**-0.5, abs=1e-6)


def test_case_and_accents_do_not_matter():
    vectorizer = fitted()
    one, other = vectorizer.transform(["ÉDITION de Poche", "edition de poche"]).toarray()
    np.testing.assert_array_equal(one, other)


def test_grams_of_too_few_products_are_dropped():
    columns = [fitted(min_products=least).columns for least in (1, 2, 3, len(TEXTS) + 1)]
    assert columns[0] > columns[1] > columns[2] > columns[3] == 0
    # said often, but by one product
    assert fitted(["mot mot mot", "autre"], min_products=2).columns == 0


def test_a_rarer_gram_weighs_more():
    vectorizer = fitted(["lampe rouge", "lampe bleue", "lampe rouge", "lampe", "lampe verte"], min_products=1)
    single = {word: vectorizer.transform([word]) for word in ("lampe", "verte")}
    in_text = vectorizer.transform(["lampe verte"])
    common, rare = (float(in_text.multiply(single[word]).max()) for word in ("lampe", "verte"))
    assert rare > common


def test_many_texts_give_the_rows_that_few_at_a_time_give():
    many = [f"lampe numéro {n % 50}" for n in range(5000)]
    vectorizer = fitted(many)
    whole = vectorizer.transform(many)
    assert whole.shape == (5000, vectorizer.columns)
    np.testing.assert_array_equal(whole[4090:4100].toarray(), vectorizer.transform(many[4090:4100]).toarray())


def test_no_texts_give_no_rows():
    assert fitted().transform([]).shape == (0, fitted().columns)
    assert fitted(["", "", ""]).columns == 0


def test_hashed_grams_are_as_good_as_a_vocabulary():
    products = list(iter_products(Synthetic(rows=900), photos=False))
    texts = [product_text(product.designation, product.description) for product in products]
    labels = np.unique([product.category for product in products], return_inverse=True)[1]
    split = 600

    def macro_f1(known, unknown) -> float:
        model = LogisticRegression(C=10.0, tol=1e-3, max_iter=60).fit(known, labels[:split])
        return f1_score(labels[split:], model.predict(unknown), average="macro")

    shared = {"min_df": 2, "sublinear_tf": True, "strip_accents": "unicode", "dtype": np.float32}
    vocabulary = make_union(
        TfidfVectorizer(ngram_range=(1, 2), **shared), TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), **shared)
    )
    reference = macro_f1(vocabulary.fit_transform(texts[:split]), vocabulary.transform(texts[split:]))
    hashed = fitted(texts[:split], log2_buckets=18, characters=(2, 4))
    found = macro_f1(hashed.transform(texts[:split]), hashed.transform(texts[split:]))
    assert reference > 0.5
    assert found > reference - 0.02
