"""Heads: replicas that do not know of each other, and the one of them that is served."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import sparse
from torch import nn

from rayon.data.batches import Collator, sparse_rows
from rayon.models.heads import DenseHead, NgramHead


def randomise(head: nn.Module, seed: int = 0) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    for parameter in head.parameters():
        parameter.data.copy_(torch.randn(parameter.shape, generator=generator))
    return head.eval()


@pytest.fixture
def grams() -> torch.Tensor:
    matrix = sparse.random(9, 40, density=0.1, format="lil", dtype=np.float32, random_state=0)
    matrix[3] = 0
    return sparse_rows(matrix.tocsr(), np.arange(9))


def test_the_ngram_head_is_an_embedding_bag(grams):
    head = randomise(NgramHead(40, classes=5, replicas=3))
    bag = nn.EmbeddingBag.from_pretrained(head.weight.detach(), mode="sum", freeze=False, include_last_offset=True)
    summed = bag(grams.col_indices(), grams.crow_indices(), per_sample_weights=grams.values())
    expected = summed.view(9, 3, 5) + head.bias
    found = head(grams)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    upstream = torch.randn(found.shape)
    found.backward(upstream)
    summed.backward(upstream.view(9, -1))
    torch.testing.assert_close(head.weight.grad, bag.weight.grad, atol=1e-5, rtol=0)


def test_a_gradient_added_in_place_is_the_gradient(grams):
    heads = [randomise(NgramHead(40, classes=5, replicas=3)) for _ in range(2)]
    heads[1].add_in_place()
    kept = heads[1].weight.grad
    for seed in range(2):  # the second batch finds zeros where the first one left its own
        upstream = torch.randn(9, 3, 5, generator=torch.Generator().manual_seed(seed))
        for head in heads:
            head.zero_grad(set_to_none=head is heads[0])
            head(grams).backward(upstream)
        torch.testing.assert_close(heads[1].weight.grad, heads[0].weight.grad, atol=1e-6, rtol=0)
        torch.testing.assert_close(heads[1].bias.grad, heads[0].bias.grad, atol=1e-6, rtol=0)
    assert heads[1].weight.grad is kept


def test_a_product_without_a_known_gram_gets_the_bias(grams):
    head = randomise(NgramHead(40, classes=5, replicas=3))
    torch.testing.assert_close(head(grams)[3], head.bias)


def test_an_ngram_head_without_columns_says_its_bias_and_can_still_learn():
    head = randomise(NgramHead(0, classes=3, replicas=2))
    head.add_in_place()
    logits = head(sparse_rows(sparse.csr_matrix((4, 0), dtype=np.float32), np.arange(4)))
    torch.testing.assert_close(logits, head.bias.expand(4, 2, 3))
    logits.square().sum().backward()
    assert head.bias.grad.abs().sum() > 0


@pytest.mark.parametrize("replicas", [1, 4])
def test_what_is_served_is_the_last_replica(replicas, grams):
    features = torch.randn(9, 7, generator=torch.Generator().manual_seed(1))
    dense = randomise(DenseHead(7, classes=5, replicas=replicas, hidden=6, dropout=0.5))
    dense.standardise(torch.arange(7.0), torch.arange(1.0, 8.0))
    for head, given in ((dense, features), (randomise(NgramHead(40, 5, replicas)), grams)):
        served = head.keep_last().eval()
        assert served(given).shape == (9, 1, 5)
        torch.testing.assert_close(served(given)[:, 0], head(given)[:, -1])
        served.get_parameter(next(iter(dict(served.named_parameters())))).data.zero_()
        assert not torch.allclose(served(given)[:, 0], head(given)[:, -1])


def test_each_replica_is_a_perceptron_of_its_own():
    head = randomise(DenseHead(7, classes=5, replicas=3, hidden=6, dropout=0.0))
    features = torch.randn(4, 7, generator=torch.Generator().manual_seed(2))
    for replica in range(3):
        first, second = nn.Linear(7, 6), nn.Linear(6, 5)
        first.weight.data, first.bias.data = head.first[replica].T, head.first_bias[replica, 0]
        second.weight.data, second.bias.data = head.second[replica].T, head.second_bias[replica, 0]
        torch.testing.assert_close(head(features)[:, replica], second(nn.functional.gelu(first(features))))


def test_features_are_standardised_and_a_constant_one_is_harmless():
    features = torch.randn(50, 7, generator=torch.Generator().manual_seed(3)) * torch.arange(1.0, 8.0) + 100.0
    features[:, 2] = 4.0
    head = randomise(DenseHead(7, classes=5, replicas=2, hidden=6, dropout=0.0))
    plain = randomise(DenseHead(7, classes=5, replicas=2, hidden=6, dropout=0.0))
    head.standardise(features.mean(dim=0), features.std(dim=0))
    scaled = (features - features.mean(dim=0)) / features.std(dim=0).clamp_min(1e-6)
    torch.testing.assert_close(head(features), plain(scaled), atol=1e-4, rtol=1e-4)
    assert head(features).isfinite().all()
    assert not any(name.startswith(("mean", "scale")) for name, _ in head.named_parameters())


def test_an_untrained_head_favours_no_class():
    head = DenseHead(7, classes=5, replicas=2, hidden=6, dropout=0.0).eval()
    torch.testing.assert_close(head(torch.randn(3, 7)), torch.zeros(3, 2, 5))


def gradients(classifier, batch) -> dict[str, torch.Tensor]:
    classifier.zero_grad()
    classifier.training_step(batch, 0).backward()
    by_replica = {}
    for name, parameter in classifier.named_parameters():
        if name == "network.heads.gram.weight":
            by_replica[name] = parameter.grad.view(len(parameter), classifier.replicas, -1).transpose(0, 1).clone()
        else:
            by_replica[name] = parameter.grad.clone()
    return by_replica


@pytest.mark.filterwarnings("ignore:You are trying to `self.log:UserWarning")
@pytest.mark.parametrize("fold", [0, 1, 2])
def test_a_replica_learns_nothing_from_its_own_fold(make_toy, make_classifier, fold):
    toy = make_toy(folds=3)
    classifier = randomise(make_classifier(toy, replicas=4, class_weights=[0.5, 1.0, 2.0]))
    rows, folds = np.arange(64), toy.targets.folds[:64]
    collate = Collator(toy.inputs, toy.targets)
    everything = gradients(classifier, collate(rows))
    without = gradients(classifier, collate(rows[folds != fold]))
    alone = gradients(classifier, collate(rows[folds == fold]))
    assert set(everything) == set(without) and any("gram" in name for name in everything)
    for name, gradient in everything.items():
        assert alone[name][fold].abs().max() == 0.0, name
        assert alone[name][3].abs().max() > 0.0, name
        torch.testing.assert_close(gradient[fold], without[name][fold], msg=name)
        assert not torch.allclose(gradient[3], without[name][3]), name
