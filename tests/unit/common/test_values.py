"""Values out of files that anyone may have written."""

from __future__ import annotations

import pytest

from core.common.values import read_json


def test_json_with_half_a_character_is_refused_and_a_whole_one_is_not() -> None:
    assert read_json('["\\ud83d\\ude00"]') == ["\N{GRINNING FACE}"]
    for text in ('["a\\ud800b"]', b'{"\\uDC00": 1}'):
        with pytest.raises(ValueError, match="surrogates"):
            read_json(text)
