"""Names with scopes, as patterns have them and as symbols have them."""

from __future__ import annotations

import pytest

from pystap.debuginfo.qualified import fits, is_qualified, take_apart

GROW = "_ZN6shapes3box4growEiPKc"  # shapes::box::grow(int, char const*)
AREA = "_ZNK6shapes3box4areaEv"  # shapes::box::area() const
LARGEST = "_ZN2ns7largestIlEET_S1_S1_"  # long ns::largest<long>(long, long)
HIDDEN = "_ZN6shapes12_GLOBAL__N_16hiddenEi"  # shapes::(anonymous namespace)::hidden(int)
CALL = "_ZN6shapes3boxclEi"  # shapes::box::operator()(int)
TO_BOOL = "_ZNK6shapes3boxcvbEv"  # shapes::box::operator bool() const
LESS = "_ZN6shapes3boxltERKS0_"  # shapes::box::operator<(shapes::box const&)
PUT = "_ZN2ns5storeIsLi3EE3putEs"  # ns::store<short, 3>::put(short)
LOOK = "_ZN41_$LT$demo..Tree$u20$as$u20$demo..Look$GT$4look17h0123456789abcdefE"
LAMBDA = "_ZZ4mainENKUliE_clEi"  # main::{lambda(int)#1}::operator()(int) const
RUST = "_ZN4demo6parser5parse17h0123456789abcdefE"  # demo::parser::parse


@pytest.mark.parametrize(
    ("symbol", "own", "pattern"),
    [
        (GROW, "grow", "shapes::box::grow"),
        (GROW, "grow", "box::grow"),
        (GROW, "grow", "::shapes::box::grow"),
        (GROW, "grow", "grow(int, const char *)"),
        (GROW, "grow", "box::grow(int,char const*)"),
        (GROW, "grow", "*::grow"),
        (GROW, "grow", "shapes::*::gr*"),
        (AREA, "area", "box::area()"),
        (AREA, "area", "box::area(void) const"),
        (LARGEST, "largest<long int>", "largest<long>"),
        (LARGEST, "largest<long int>", "ns::largest<long int>"),
        (LARGEST, "largest<long int>", "ns::largest<*>"),
        (LARGEST, "largest<long int>", "largest<long>(long, long)"),
        (HIDDEN, "hidden", "shapes::(anonymous namespace)::hidden"),
        (HIDDEN, "hidden", "shapes::{anonymous}::hidden(int)"),
        (HIDDEN, "hidden", "shapes::hidden"),
        (CALL, "operator()", "box::operator()"),
        (CALL, "operator()", "box::operator()(int)"),
        (TO_BOOL, "operator bool", "box::operator bool"),
        (LESS, "operator<", "box::operator<"),
        (LESS, "operator<", "box::operator<(const shapes::box &)"),
        (PUT, "put", "ns::store<short, 3>::put"),
        (PUT, "put", "store<*>::put"),
        (RUST, "parse", "demo::parser::parse"),
        (RUST, "parse", "parser::parse"),
        (LOOK, "look", "<demo::Tree as demo::Look>::look"),
        (LOOK, "look", "<*>::look"),
        (LAMBDA, "operator()", "operator()"),
        (LAMBDA, "operator()", "main::*::operator()"),
        (LAMBDA, "operator()", "main::{lambda(int)#1}::operator()(int)"),
        ("main", "main", "main"),
    ],
)
def test_fits(symbol: str, own: str, pattern: str) -> None:
    assert fits(symbol, own, pattern)


@pytest.mark.parametrize(
    ("symbol", "own", "pattern"),
    [
        (GROW, "grow", "::box::grow"),
        (GROW, "grow", "ox::grow"),
        (GROW, "grow", "grow(int)"),
        (GROW, "grow", "shapes::grow"),
        (GROW, "grow", "::grow"),
        (AREA, "area", "area(int)"),
        (LARGEST, "largest<long int>", "largest<int>"),
        (HIDDEN, "hidden", "::hidden"),
        (CALL, "operator()", "box::operator bool"),
        (PUT, "put", "ns::store<char, 3>::put"),
        ("main", "main", "ns::main"),
    ],
)
def test_fits_not(symbol: str, own: str, pattern: str) -> None:
    assert not fits(symbol, own, pattern)


def test_parts() -> None:
    name = take_apart("std::map<int, ns::a>::at(int const&) const")
    assert name.parts == ("std", "map<int,ns::a>", "at")
    assert name.arguments == ("int const&",)
    assert take_apart("x").arguments is None


@pytest.mark.parametrize("plain", ["main", "foo*", "operator()", "operator<", "f.part.0"])
def test_plain_names(plain: str) -> None:
    assert not is_qualified(plain)


@pytest.mark.parametrize("text", ["<", ">", "::", "a::", "(", "f(", ")(", "operator", "<<<(", ""])
def test_nonsense(text: str) -> None:
    assert isinstance(fits(text, text, text), bool)
