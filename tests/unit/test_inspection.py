"""Feedback is believed for reasons: who says it, how many say so, what the model knows; gold is never learnt."""

from __future__ import annotations

from itertools import count

import pandas as pd
import pytest

from rayon.config import FeedbackRules
from rayon.inspection import COLUMNS, inspect, stand

KNOWN = ("livres", "jouets", "vases")


@pytest.fixture
def said():
    """A factory of pieces of feedback as rows; each about a product of its own unless `product` says otherwise."""
    numbers = count(1)

    def make(
        category="jouets", who="anna", predicted="livres", confidence=0.6, sure=False, given=0.3, product=None, group=0,
        day="2026-03-02",
    ):  # fmt: skip
        number = next(numbers)
        key = f"product {number if product is None else product}".encode()
        return (number, who, category, predicted, confidence, sure, given, key, group, True, True, day)

    return make


def run(rows, settled=None, gold=(), **rules) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    done = inspect(frame, KNOWN, set(gold), settled or {}, FeedbackRules(**rules))
    assert done["number"].tolist() == sorted(frame["number"].unique())  # nothing is lost, nothing twice
    return done


def test_plain_corrections_and_confirmations_are_accepted(said):
    done = run([said(), said("livres"), said("vases", who="ben")])
    assert done["verdict"].tolist() == ["accept"] * 3 and done["reason"].tolist() == [""] * 3


def test_titles_of_the_gold_set_are_never_learnt(said):
    done = run([said(group=7), said(group=8)], gold=[7], settled={1: True})
    assert done["verdict"].tolist() == ["refuse", "accept"] and done["reason"][0] == "gold"


def test_what_has_neither_text_nor_photo_left_is_refused(said):
    row = (*said()[:-3], False, False, "2026-03-02")
    assert run([row])["reason"].tolist() == ["nothing_left"]


def test_the_last_word_of_a_person_counts(said):
    done = run([said("jouets", product=1), said("vases", product=1)])
    assert done["reason"].tolist() == ["superseded", ""] and done["verdict"].tolist() == ["refuse", "accept"]


def test_a_flood_by_one_person_waits_and_a_trusted_person_may(said):
    rows = [said(who="mallory") for _ in range(11)] + [said(who="anna") for _ in range(10)]
    done = run(rows, per_person=10)
    assert (done["verdict"] == "review").sum() == 11 and set(done.loc[done["verdict"] == "review", "who"]) == {
        "mallory"
    }
    assert (run(rows, per_person=10, trusted=("mallory",))["verdict"] == "accept").all()


def test_three_hundred_false_corrections_of_one_person_change_nothing(said):
    done = run([said("vases", who="mallory", confidence=0.99, sure=True, given=0.001) for _ in range(300)])
    assert (done["verdict"] == "review").all()


def test_a_slow_poisoner_fights_a_sure_model_and_waits(said):
    rows = [said("vases", who="mallory", confidence=0.99, sure=True, given=0.001) for _ in range(30)]
    done = run(rows)
    assert set(done["reason"]) == {"unlikely"} and "99%" in done["detail"][0] and "0.1%" in done["detail"][0]
    assert run([said("vases", sure=True, given=0.3), said("vases", given=0.001)])["verdict"].tolist() == ["accept"] * 2


def test_two_people_who_agree_overrule_a_sure_model(said):
    unlikely = {"confidence": 0.99, "sure": True, "given": 0.0}
    done = run([said("vases", "anna", product=1, **unlikely), said("vases", "ben", product=1, **unlikely)])
    assert done["verdict"].tolist() == ["accept", "accept"]


def test_a_pattern_of_many_people_is_a_change_of_mind_of_the_shop(said):
    unlikely = {"confidence": 0.99, "sure": True, "given": 0.0}
    rows = [said("vases", f"person {n % 3}", **unlikely) for n in range(10)]
    assert (run(rows)["verdict"] == "accept").all()
    assert (run(rows[:9])["verdict"] == "review").all()
    assert (run(rows, pattern_people=4)["verdict"] == "review").all()


def test_people_who_disagree(said):
    tie = run([said("jouets", "anna", product=1), said("vases", "ben", product=1)])
    assert set(tie["reason"]) == {"contradiction"} and "'jouets' (1)" in tie["detail"][0]
    majority = run([said("jouets", who, product=1) for who in ("a", "b", "c")] + [said("vases", "d", product=1)])
    assert majority["verdict"].tolist() == ["accept"] * 3 + ["refuse"] and majority["reason"][3] == "outvoted"


def test_unknown_categories_wait_until_enough_people_use_them(said):
    typo = run([said("jouet")])
    assert typo["reason"].tolist() == ["unknown_category"] and "is it 'jouets'?" in typo["detail"][0]
    rows = [said("bijoux", ("anna", "ben")[n % 2]) for n in range(10)]
    assert (run(rows)["verdict"] == "accept").all() and (run(rows[:9])["verdict"] == "review").all()
    assert (run([said("bijoux", "anna") for _ in range(10)])["verdict"] == "review").all()


def test_an_admin_has_the_last_word(said):
    rows = [said("bijoux"), said("bijoux"), said("jouets")]
    done = run(rows, settled={1: True, 2: False, 3: False})
    assert done["verdict"].tolist() == ["accept", "refuse", "refuse"]
    assert done["reason"].tolist() == ["settled", "settled_against", "settled_against"]


def test_nothing_is_no_trouble():
    assert run([]).empty


def test_a_program_answers_for_all_the_people_it_names(said):
    unlikely = {"confidence": 0.99, "sure": True, "given": 0.0}
    rows = [said("vases", f"shop/u{n % 3}", product=n // 3, **unlikely) for n in range(30)]
    assert (run(rows)["verdict"] != "accept").all()
    many = [said("vases", f"shop/u{n}") for n in range(11)]
    assert set(run(many, per_person=10)["reason"]) == {"flood"}
    assert (run(many, per_person=10, trusted=("shop",))["verdict"] == "accept").all()


def test_a_flood_in_many_small_waves_is_a_flood(said):
    frame = pd.DataFrame([said(who="mallory") for _ in range(5)], columns=list(COLUMNS))
    rules, day = FeedbackRules(per_person=10), ("mallory", "2026-03-02")
    assert (inspect(frame, KNOWN, set(), {}, rules, {day: 10})["verdict"] == "accept").all()
    assert set(inspect(frame, KNOWN, set(), {}, rules, {day: 11})["reason"]) == {"flood"}


def test_what_is_said_on_many_days_is_no_flood(said):
    week = [said(day=f"2026-03-0{1 + n // 8}") for n in range(56)]  # while nobody ran FeedbackFlow
    assert (run(week, per_person=10)["verdict"] == "accept").all()
    after = run([*(said(day="2026-03-01") for _ in range(11)), said(day="2026-03-02")], per_person=10)
    assert after["reason"].tolist() == ["flood"] * 11 + [""] and "on 2026-03-01" in after["detail"][0]


def test_one_alone_does_not_overrule_what_was_accepted_before(said):
    rows = [said("vases", "dave", product=1), said("jouets", "anna", product=2)]
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    earlier = {key: ("jouets", frozenset({"anna", "ben"})) for key in frame["product_key"]}
    done = inspect(frame, KNOWN, set(), {}, FeedbackRules(), None, earlier)
    assert done["verdict"].tolist() == ["review", "accept"] and done["reason"][0] == "contradiction"
    both = pd.concat([frame, pd.DataFrame([said("vases", "ben", product=1)], columns=list(COLUMNS))])
    assert (inspect(both, KNOWN, set(), {}, FeedbackRules(), None, earlier)["verdict"] == "accept").all()


def test_who_alone_said_something_may_take_it_back_in_a_later_run(said):
    frame = pd.DataFrame([said("vases", "anna", product=1)], columns=list(COLUMNS))
    (product,) = frame["product_key"]
    for people, verdict in (({"anna"}, "accept"), ({"ben"}, "review"), ({"anna", "ben"}, "review")):
        earlier = {product: ("jouets", frozenset(people))}
        assert inspect(frame, KNOWN, set(), {}, FeedbackRules(), None, earlier)["verdict"].tolist() == [verdict]


def test_what_stands_of_a_product_is_the_last_category_and_all_who_gave_it():
    before = stand([(b"1", "jouets", "anna"), (b"2", "vases", "anna")])
    after = stand([(b"1", "jouets", "ben"), (b"2", "livres", "ben")], before)
    assert after == {b"1": ("jouets", {"anna", "ben"}), b"2": ("livres", {"ben"})}
    assert before[b"1"] == ("jouets", {"anna"})


def test_an_admin_who_accepts_one_of_two_words_refuses_the_other(said):
    rows = [said("jouets", "anna", product=1), said("vases", "ben", product=1), said("jouets", "carl", product=1)]
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    done = inspect(frame, KNOWN, set(), {1: True}, FeedbackRules(), waited={1, 2, 3})
    assert done["verdict"].tolist() == ["accept", "refuse", "accept"]
    assert done["reason"].tolist() == ["settled", "overruled", "settled"] and "'jouets'" in done["detail"][1]
    refused = inspect(frame[:2], KNOWN, set(), {1: False}, FeedbackRules(), waited={1, 2})
    assert refused["verdict"].tolist() == ["refuse", "accept"]  # nobody contradicts Ben any more


def test_a_word_that_the_admin_did_not_see_is_judged_against_what_was_accepted(said):
    rows = [said("jouets", "anna", product=1), said("vases", "ben", product=1), said("vases", "carl", product=1)]
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    alone = inspect(frame, KNOWN, set(), {1: True}, FeedbackRules(), waited={1, 2})
    assert alone["reason"].tolist() == ["settled", "overruled", "contradiction"]
    two = inspect(frame, KNOWN, set(), {1: True}, FeedbackRules(), waited={1})
    assert two["verdict"].tolist() == ["accept"] * 3
