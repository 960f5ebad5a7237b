"""How an identifier may be written."""

import base64
import json
import string
from collections.abc import Iterator


def spellings(digits: str) -> Iterator[tuple[str, str]]:
    """How an identifier may be written: (what is peculiar, the text)."""
    day, rest = digits[:6], digits[6:]
    scripts = {
        "full width": 0xFF10,
        "Arabic": 0x660,
        "Devanagari": 0x966,
        "mathematical": 0x1D7CE,
    }
    yield "plain", digits
    for name, separator in {
        "space": " ", "hyphen": "-", "no-break space": "\u00a0", "en dash": "\u2013",
        "minus": "\u2212", "line feed": "\n", "slash": "/", "zero width": "\u200b",
        "bidi mark": "\u200f", "combining": "\u0301", "quotes": '", "', "percent space": "%20",
        "percent hyphen": "%2D", "twice percent": "%2520", "entity": "&nbsp;",
        "number entity": "&#45;", "dash entity": "&ndash;", "markup": "<br/>", "plus": "+",
        "underscore": "_", "NUL": "\0", "soft hyphen": "\u00ad", "escape": "\\u0020",
    }.items():  # fmt: skip
        yield f"grouped by {name}", f"{day}{separator}{rest}"
    for name, separator in {"spaces": " ", "hyphens": "-", "zero width": "\u200b"}.items():
        yield f"single digits with {name}", separator.join(digits)
    yield "percent space in a query", f"?after={day}%20{rest}&x"
    yield "percent space in a bracket", f"<{day}%20{rest}>"
    yield "dotted date", f"{digits[:2]}.{digits[2:4]}.{digits[4:6]}-{rest}"
    date = (digits[:2], digits[2:4], f"19{digits[4:6]}")
    yield "birth date with century", f"{'.'.join(date)} {rest}"
    yield "birth date by year", f"{'-'.join(reversed(date))} {rest}"
    yield "birth date without separators", f"{''.join(date)}{rest}"
    yield "birth date without zeros", f"f. {int(date[0])}/{int(date[1])} 20{date[2][2:]} - {rest}"
    for name, zero in scripts.items():
        yield name, "".join(chr(zero + int(digit)) for digit in digits)
    yield "superscript", digits.translate(str.maketrans(string.digits, "⁰¹²³⁴⁵⁶⁷⁸⁹"))
    yield "circled", digits.translate(str.maketrans(string.digits, "⓪①②③④⑤⑥⑦⑧⑨"))
    for name, form in {
        "percent": "%{:02X}", "percent lower": "%{:02x}", "percent twice": "%25{:02X}",
        "percent thrice": "%2525{:02X}", "entities": "&#{};", "padded entities": "&#{:05d};",
        "hexadecimal entities": "&#x{:x};", "bare entities": "&#{}", "u escapes": "\\u{:04x}",
        "x escapes": "\\x{:02x}", "quoted-printable": "={:02X}",
        "entities of percent": "&#37;{:02X}",
    }.items():  # fmt: skip
        yield name, "".join(form.format(ord(digit)) for digit in digits)
    encoded = base64.b64encode(digits.encode()).decode()
    document = json.dumps({"person": {"offId": digits}}).encode()
    yield "base64", encoded
    yield "base64 without padding", encoded.rstrip("=")
    yield "base64 for URLs", base64.urlsafe_b64encode(f"??>{digits}".encode()).decode()
    yield "base64 of a document", base64.b64encode(document).decode()
    yield "base64 twice", base64.b64encode(encoded.encode()).decode()
    yield "base64 behind a letter", f"x{encoded}"
    yield "base64 of UTF-16", base64.b64encode(digits.encode("utf-16")).decode()
    yield "base64 of groups", base64.b64encode(f"{day} {rest}".encode()).decode()
    yield "percent of base64", encoded.replace("=", "%3D")
    yield "a token", f"eyJhbGciOiJub25lIn0.{base64.urlsafe_b64encode(document).decode()}."
    yield "hexadecimal", digits.encode().hex()
    yield "hexadecimal upper", digits.encode().hex().upper()
    padded = digits.encode().hex().ljust(32, "0")
    yield "hexadecimal like a digest", padded
    yield "hexadecimal behind a digit", f"f{digits.encode().hex()}"
    for name, frame in {
        "letters": "fnr{}x", "path": "Patient/{}/_history/1", "query": "?a=b&id={}&c=d",
        "equals": "id={}", "percent": "%{}", "OID": "urn:oid:2.16.578.1.12.4.1.4.1.{}",
        "after a time": "2026-01-02T03:04:05.1234567Z|{}", "before a time": "{}|2026-01-02",
        "composite key": "S-1|{}|2", "JSON in a text": '{{"offId":"{}"}}', "markup": "<id>{}</id>",
        "mail": "{}@example.no", "a bracket": "<{}>", "escaped JSON": '{{\\"offId\\":\\"{}\\"}}',
    }.items():  # fmt: skip
        yield f"within {name}", frame.format(digits)
