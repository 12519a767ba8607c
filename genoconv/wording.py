"""How messages put what they are about into words."""


def printable(text: str) -> str:
    """``text`` as one line that a terminal shows and does not obey.

    Names from files may hold anything. Control characters (escape sequences, line ends), invisible formatting (text
    direction) and bytes that are not UTF-8 become ``\\x1b``, ``\\u202e``, ``\\xff``.
    """
    return text if text.isprintable() else "".join(c if c.isprintable() else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte of a file name, as Python carries it
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")
