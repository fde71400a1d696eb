"""The names of a request's fields, which are read once for many requests."""

import pytest

from httpd.fields import field_names

HOST, LENGTH, CODING = b"Host", b"content-LENGTH", b"Transfer-Encoding"


def test_names_are_in_lower_case_and_lead_to_the_first_field():
    """Mutant: `places` has the last field: `X-Request-Id` of a proxy, and not of the caller."""
    names = field_names((HOST, b"X-\xc9", b"x-one", b"X-One"))

    assert names.texts == ("host", "x-\xc9", "x-one", "x-one")
    assert names.places == {b"host": 0, b"x-\xc9": 1, b"x-one": 2}


@pytest.mark.parametrize(
    ("written", "values", "versions"),
    [
        ((HOST,), (b"h",), {"1.0", "1.1"}),
        ((), (), {"1.0"}),
        ((HOST, b"HOST"), (b"h", b"h"), set()),
        ((HOST, LENGTH), (b"h", b"1"), {"1.0", "1.1"}),
        ((LENGTH,), (b"1",), {"1.0"}),
        ((HOST, LENGTH, b"Content-Length"), (b"h", b"1", b"1"), set()),
        ((HOST, CODING), (b"h", b" Chunked\t"), {"1.1"}),
        ((HOST, CODING), (b"h", b"gzip, chunked"), set()),
        ((HOST, LENGTH, CODING), (b"h", b"1", b"chunked"), set()),
        ((HOST, CODING, CODING), (b"h", b"chunked", b"chunked"), set()),
    ],
)
def test_only_fields_that_all_servers_read_alike_are_well_framed(written, values, versions):
    """Mutants: `are_plain` ignores a second Host, a second length, or a transfer coding."""
    names = field_names(written)

    framed = {version for version in ("1.0", "1.1") if names.are_well_framed(values, version)}

    assert framed == versions
