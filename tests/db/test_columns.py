"""Text and times on their way into a column."""

import hypothesis.strategies as st
from hypothesis import given

from db.columns import KEY_CHARACTERS, TEXT_CHARACTERS, clean_key, clean_text

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=600)


@given(ANY_TEXT)
def test_cleaned_text_can_be_stored_anywhere(text: str) -> None:
    """Whatever the text, what is left is UTF-8 without NUL and short enough for an index."""
    for cleaned, limit in ((clean_text(text), TEXT_CHARACTERS), (clean_key(text), KEY_CHARACTERS)):
        assert "\x00" not in cleaned
        assert len(cleaned) <= limit
        assert len(cleaned.encode("utf-8")) <= 4 * limit


@given(ANY_TEXT)
def test_cleaning_twice_is_cleaning_once(text: str) -> None:
    """A value that was read from the database finds its own row again."""
    assert clean_key(clean_key(text)) == clean_key(text)
    assert clean_text(clean_text(text)) == clean_text(text)


@given(st.text("0123456789.", max_size=64))
def test_uids_stay_as_they_are(uid: str) -> None:
    """What the standard allows as a UID is not changed."""
    assert clean_key(uid) == uid


def test_long_keys_stay_apart() -> None:
    """Two endless UIDs that begin alike do not become one."""
    assert clean_key("1" * 1000) != clean_key("1" * 1001)
