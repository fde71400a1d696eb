import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.secret import Secret, secret
from core.units import Duration, Rate, Size, duration, from_written, rate, size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("200ms", 0.2), ("0s", 0), ("30s", 30), ("1.5m", 90), ("3h", 10_800), ("7d", 604_800)],
)
def test_duration_is_read_as_seconds(text, seconds):
    assert duration(text) == pytest.approx(seconds)
    assert type(duration(text)) is Duration


@pytest.mark.parametrize(
    "text", ["", "30", "30 s", "s", "-1s", "1e3s", "1.s", ".5s", "1S", "1w", "٣s", "1s\n", 30, None]
)
def test_invalid_duration_error_shows_the_format(text):
    with pytest.raises(ValueError, match=r"^not a duration; write 200ms, 30s, 5m, 3h or 7d$"):
        duration(text)


@pytest.mark.parametrize(
    ("text", "bytes_"),
    [
        ("0", 0),
        (4096, 4096),
        ("100B", 100),
        ("64KiB", 1 << 16),
        ("10MiB", 10 << 20),
        ("1GiB", 1 << 30),
    ],
)
def test_size_is_read_as_bytes(text, bytes_):
    assert size(text) == bytes_
    assert type(size(text)) is Size


@pytest.mark.parametrize(
    "text", ["", "64KB", "64kib", "1.5MiB", "-1", -1, True, 1.5, "1 MiB", "٣", None]
)
def test_invalid_size_error_shows_the_format(text):
    with pytest.raises(ValueError, match=r"^not a size; write 65536, 64KiB, 10MiB or 1GiB$"):
        size(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("10/s", Rate(10, 1)), ("100/m", Rate(100, 60)), ("0.5/h", Rate(0.5, 3600))],
)
def test_rate_is_read_as_count_and_seconds(text, expected):
    assert rate(text) == expected


@pytest.mark.parametrize("text", ["", "10", "0/s", "0.0/m", "10/d", "-1/s", "10 / s", "٣/s", 10])
def test_invalid_rate_error_shows_the_format(text):
    with pytest.raises(ValueError, match=r"^not a rate; write 10/s, 100/m or 1000/h$"):
        rate(text)


@given(text=st.text(min_size=4))
def test_secret_hides_its_text(text):
    """Mutant: leaving one of the four ways in which Python makes text of things."""
    hidden = secret(text)

    shown = {str(hidden), repr(hidden), f"{hidden}", f"{hidden!r}", f"{hidden:>3}", f"{[hidden]}"}
    assert shown == {"***", "[***]"}
    assert hidden.reveal() == text


def test_secret_is_in_no_error_message():
    class Options(msgspec.Struct):
        key: Secret

    options = Options(key=secret("hunter2"))

    with pytest.raises(TypeError) as unencodable:
        msgspec.json.encode(options)
    assert "hunter2" not in f"{options} {unencodable.value}"
    assert not hasattr(options.key, "__dict__")


def test_secrets_are_equal_if_their_texts_are():
    assert secret("a") == secret("a")
    assert secret("a") != secret("b")
    assert secret("a") != "a"
    assert len({secret("a"), secret("a"), secret("b")}) == 2


@pytest.mark.parametrize("text", ["", None, 12345, ["hunter2"]])
def test_invalid_secret_is_not_repeated(text):
    """Mutant: an empty file of a secret is said to be no text."""
    what = "empty" if text == "" else "not a text"
    with pytest.raises(ValueError, match=rf"^{what}; write the secret itself, or"):
        secret(text)


def test_msgspec_reads_written_values_by_type():
    class Options(msgspec.Struct):
        timeout: Duration
        max_body: Size
        key: Secret

    written = {"timeout": "30s", "max_body": 100, "key": "hunter2"}

    options = msgspec.convert(written, Options, dec_hook=from_written)

    assert options == Options(timeout=Duration(30), max_body=Size(100), key=Secret("hunter2"))
    assert from_written(Rate, "10/s") == Rate(10, 1)
    with pytest.raises(NotImplementedError, match="no way to read complex"):
        from_written(complex, "1j")
