from __future__ import annotations

from dataclasses import astuple

from srm_explorer.tui.glyphs import ASCII, UNICODE, glyphs, glyphs_of


def test_every_sign_has_a_stand_in_that_any_terminal_shows() -> None:
    assert all(sign.isascii() and sign.isprintable() for sign in astuple(ASCII))


def test_what_is_told_apart_by_signs_is_told_apart_by_stand_ins() -> None:
    for signs in (ASCII, UNICODE):
        assert len({signs.checked, signs.partly, signs.unchecked}) == 3
        assert signs.bar_full != signs.bar_empty
        assert len(signs.checked) == len(signs.unchecked) == len(signs.partly)


def test_the_mode_chooses() -> None:
    assert glyphs("ascii") is ASCII
    assert glyphs("unicode") is UNICODE
    assert glyphs_of(object()) is UNICODE
