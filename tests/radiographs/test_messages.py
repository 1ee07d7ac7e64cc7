"""Messages are bytes that hold numbers and texts; whatever else arrives is refused."""

import io
import json
import pickle
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from radiographs.messages import MessageError, receive, send

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def sent(value: object) -> bytes:
    stream = io.BytesIO()
    send(stream, value)
    return stream.getvalue()


def message(header: object, rest: bytes = b"") -> bytes:
    data = json.dumps(header).encode()
    return b"XRB1" + struct.pack(">Q", len(data)) + data + rest


@given(PLAIN)
@settings(max_examples=50, deadline=None)
def test_a_plain_value_arrives_as_it_was_sent(value: Any) -> None:
    assert receive(io.BytesIO(sent(value))).as_type(Any) == value


@pytest.mark.parametrize("dtype", ["u1", "<u2", ">i4", "f4", "?"])
def test_an_array_arrives_with_its_type_and_shape_and_can_be_written_to(dtype: str) -> None:
    array = np.arange(24).reshape(2, 3, 4).astype(dtype).transpose(1, 0, 2)
    found = receive(io.BytesIO(sent({"a": array}))).as_type(dict[str, np.ndarray])["a"]
    np.testing.assert_array_equal(found, array)
    assert found.dtype == array.dtype
    found[0] = 0


@pytest.mark.parametrize(
    "data",
    [
        pickle.dumps({"value": 1}),
        b"XRB1",
        b"XRB1" + struct.pack(">Q", 1 << 40),
        message({"value": 1}),
        message([1]),
        message({"value": 1, "buffers": [{"dtype": "O", "shape": [1]}]}, bytes(8)),
        message({"value": 1, "buffers": [{"dtype": "u1", "shape": [-1]}]}),
        message({"value": 1, "buffers": [{"dtype": "u1", "shape": [9]}]}, bytes(8)),
        message({"value": 1, "buffers": [{"dtype": "u1,O", "shape": [1]}]}, bytes(9)),
        message({"value": 1, "buffers": [{"dtype": "u1", "shape": [1 << 40]}]}),
        b"XRB1" + struct.pack(">Q", 3) + b"\xff{]",
        b"XRB1" + struct.pack(">Q", 200_000) + b"[" * 200_000,
    ],
)
def test_whatever_is_no_message_is_refused(data: bytes) -> None:
    with pytest.raises(MessageError):
        receive(io.BytesIO(data), limit=1 << 20)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("7", int),
        (True, int),
        (1, bool),
        ([1, 2], tuple[int]),
        ({"$buffer": 0}, bytes),
        ({"$buffer": -1}, np.ndarray),
        (None, str),
        ({"a": 1}, dict[str, str]),
        (1.5, int | str),
    ],
)
def test_a_value_of_another_type_is_refused(value: object, expected: Any) -> None:
    data = message({"value": value, "buffers": []})
    with pytest.raises(MessageError):
        receive(io.BytesIO(data)).as_type(expected)


def test_what_cannot_be_sent_is_named() -> None:
    for value in ({1}, np.array([None]), {1: 2}, {"$buffer": 1}, lambda: 0):
        with pytest.raises(TypeError, match="cannot be sent"):
            sent(value)
