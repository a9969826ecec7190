"""How an amount is divided over tenders, for any amounts and any way of asking."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from coordinator.domain.split import Exact, InOrder, ProRata, Split, divide

METHODS = ("points", "card", "gift", "loan", "cash")
MAX_MINOR = 10**12
ALL = ProRata()

bearables = st.dictionaries(
    st.sampled_from(METHODS), st.integers(0, MAX_MINOR), min_size=1, max_size=len(METHODS)
).filter(lambda bearable: sum(bearable.values()) > 0)


@st.composite
def exact_within(draw: st.DrawFn, bearable: dict[str, int], total: int) -> Exact:
    """Shares that fit: as much as it likes of each, and what is then left of those that can."""
    shares, left, room = {}, total, sum(bearable.values())
    for method, most in bearable.items():
        room -= most
        shares[method] = draw(st.integers(max(0, left - room), min(most, left)))
        left -= shares[method]
    return Exact({method: share for method, share in shares.items() if share})


def orders(bearable: dict[str, int]) -> st.SearchStrategy[InOrder]:
    """Some of the methods, each once, in any order."""
    methods = st.lists(st.sampled_from(sorted(bearable)), unique=True)
    return methods.map(lambda chosen: InOrder(tuple(chosen)))


@st.composite
def askings(draw: st.DrawFn) -> tuple[int, dict[str, int], Split]:
    """Something that can be asked for."""
    bearable = draw(bearables)
    return draw(asked_of(bearable))


@st.composite
def asked_of(draw: st.DrawFn, bearable: dict[str, int]) -> tuple[int, dict[str, int], Split]:
    total = draw(st.integers(1, sum(bearable.values())))
    split: Split = draw(
        st.one_of(st.just(ProRata()), orders(bearable), exact_within(bearable, total))
    )
    return total, bearable, split


@given(askings())
def test_shares_add_up_exactly(asking: tuple[int, dict[str, int], Split]) -> None:
    total, bearable, split = asking
    assert sum(divide(total, bearable, split).values()) == total


@given(askings())
def test_every_tender_has_a_share_that_it_can_bear(
    asking: tuple[int, dict[str, int], Split],
) -> None:
    total, bearable, split = asking
    shares = divide(total, bearable, split)
    assert list(shares) == list(bearable)
    assert all(0 <= share <= bearable[method] for method, share in shares.items())


@given(askings())
def test_the_same_question_has_the_same_answer(
    asking: tuple[int, dict[str, int], Split],
) -> None:
    total, bearable, split = asking
    assert divide(total, dict(bearable), split) == divide(total, dict(bearable), split)


@given(bearables, st.data())
def test_pro_rata_is_within_one_unit_of_the_exact_share(
    bearable: dict[str, int], data: st.DataObject
) -> None:
    whole = sum(bearable.values())
    total = data.draw(st.integers(1, whole))
    for method, share in divide(total, bearable, ProRata()).items():
        assert abs(share - Fraction(total * bearable[method], whole)) < 1


@given(bearables)
def test_all_of_it_is_all_of_every_tender_however_it_is_asked_for(
    bearable: dict[str, int],
) -> None:
    total = sum(bearable.values())
    for split in (ProRata(), InOrder(()), InOrder(tuple(bearable)), Exact(bearable)):
        assert divide(total, bearable, split) == bearable


@given(bearables, st.data())
def test_in_order_takes_nothing_of_the_next_while_the_one_before_has_some(
    bearable: dict[str, int], data: st.DataObject
) -> None:
    total = data.draw(st.integers(1, sum(bearable.values())))
    split = data.draw(orders(bearable))
    shares = divide(total, bearable, split)
    rest = [method for method in bearable if method not in split.methods]
    order = [*split.methods, *rest]
    for before, after in pairwise(order):
        assert shares[after] == 0 or shares[before] == bearable[before]


@given(bearables, st.data())
def test_an_exact_split_is_kept_to_the_unit(bearable: dict[str, int], data: st.DataObject) -> None:
    total = data.draw(st.integers(1, sum(bearable.values())))
    split = data.draw(exact_within(bearable, total))
    assert {method: s for method, s in divide(total, bearable, split).items() if s} == split.shares


@given(bearables, st.data())
def test_partial_refunds_end_exactly_at_what_was_captured_of_each_tender(
    captured: dict[str, int], data: st.DataObject
) -> None:
    left, given_back = dict(captured), dict.fromkeys(captured, 0)
    times = data.draw(st.integers(0, 12))
    while sum(left.values()):
        total, _, split = data.draw(asked_of(left)) if times > 0 else (sum(left.values()), {}, ALL)
        times -= 1
        for method, share in divide(total, left, split).items():
            left[method] -= share
            given_back[method] += share
            assert left[method] >= 0
    assert given_back == captured


@given(bearables, st.integers(), st.sampled_from([ProRata(), InOrder(())]))
def test_a_total_that_cannot_be_borne_raises(
    bearable: dict[str, int], total: int, split: Split
) -> None:
    assume(not 0 < total <= sum(bearable.values()))
    with pytest.raises(ValueError, match=r"^the tenders cannot bear this total$"):
        divide(total, bearable, split)


@given(bearables, st.data())
def test_exact_shares_of_another_total_raise(bearable: dict[str, int], data: st.DataObject) -> None:
    total = data.draw(st.integers(1, sum(bearable.values())))
    other = data.draw(st.integers(1, sum(bearable.values())).filter(lambda minor: minor != total))
    split = data.draw(exact_within(bearable, other))
    with pytest.raises(ValueError, match=r"^the shares do not fit$"):
        divide(total, bearable, split)


@pytest.mark.parametrize(
    ("total", "shares"),
    [
        (10, {"points": 6, "barter": 4}),
        (10, {"points": 7, "card": 3}),
        (5, {"points": 6, "card": -1}),
    ],
    ids=["another's method", "above what it bears", "below nothing"],
)
def test_exact_shares_that_a_tender_cannot_have_raise(total: int, shares: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"^the shares do not fit$"):
        divide(total, {"points": 6, "card": 4}, Exact(shares))


@pytest.mark.parametrize("methods", [("points", "points"), ("barter",)], ids=["twice", "unknown"])
def test_an_order_that_names_a_method_twice_or_an_unknown_one_raises(
    methods: tuple[str, ...],
) -> None:
    with pytest.raises(
        ValueError, match=r"^an order names each tender at most once, and no other$"
    ):
        divide(9, {"points": 6, "card": 4}, InOrder(methods))
