"""Messages between two processes as plain bytes: JSON, and the bytes of arrays behind it. What is received cannot run code.

A message is ``XRB1``, the length of the JSON (8 bytes, big endian), the JSON, and its buffers one after another. A value is decoded as the
type that the receiver expects and nothing else: the sender cannot choose a class.
"""

from __future__ import annotations

import json
import math
import struct
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from pydantic import BaseModel

_MAGIC = b"XRB1"
_HEADER_LIMIT = 1 << 26  # bytes of JSON
_KINDS = "biuf"  # of numbers in arrays: bool, int, unsigned, float
_BUFFER = "$buffer"  # the key that stands for bytes or an array
_Buffers = list[bytes | np.ndarray]


class MessageError(ValueError):
    """Bytes that are not a message, or a message that is not of the expected type."""


def send(stream: BinaryIO, value: object) -> None:
    """Write a value as one message.

    Parameters
    ----------
    stream : file object
        Opened for writing.
    value : object
        Made of None, numbers, text, bytes, paths, arrays of numbers, lists, tuples, dicts with text as keys, dataclasses and pydantic models.

    Raises
    ------
    TypeError
        If it holds anything else.
    """
    buffers: _Buffers = []
    plain = _plain(value, buffers)
    header = json.dumps({"value": plain, "buffers": [_description(buffer) for buffer in buffers]}).encode()
    stream.write(_MAGIC + struct.pack(">Q", len(header)) + header)
    for buffer in buffers:
        stream.write(
            buffer if isinstance(buffer, bytes) else np.ascontiguousarray(buffer).reshape(-1).view(np.uint8).data
        )
    stream.flush()


def receive(stream: BinaryIO, limit: int | None = None) -> Message:
    """Read one message.

    Parameters
    ----------
    stream : file object
        Opened for reading.
    limit : int, optional
        Maximum bytes of arrays and byte strings together.

    Returns
    -------
    Message
        Its value is decoded by `Message.as_type`.

    Raises
    ------
    EOFError
        If nothing comes any more.
    MessageError
        If it is not a message, or a larger one.
    """
    start = stream.read(len(_MAGIC) + 8)
    if not start:
        raise EOFError
    length = struct.unpack(">Q", start[len(_MAGIC) :])[0] if len(start) == len(_MAGIC) + 8 else 0
    if not start.startswith(_MAGIC) or not 0 < length <= _HEADER_LIMIT:
        raise MessageError("no message")
    try:
        header = json.loads(_exactly(stream, length))
        described = [_size(description) for description in header["buffers"]]
        value = header["value"]
    except (KeyError, TypeError, RecursionError, ValueError) as error:
        raise MessageError(f"no message ({type(error).__name__})") from None
    if limit is not None and sum(size for _, _, size in described) > limit:
        raise MessageError(f"a message of more than {limit:,} bytes")
    return Message(value, [_buffer(stream, *one) for one in described])


class Message:
    """A message that was read but is not yet trusted."""

    def __init__(self, value: Any, buffers: _Buffers) -> None:
        self._value, self._buffers = value, buffers

    def at(self, key: str | int) -> Message:
        """Return one part of the message: of a dict by its key, of a list by its place."""
        try:
            return Message(self._value[key], self._buffers)
        except (KeyError, IndexError, TypeError):
            raise MessageError(f"a message without {key!r}") from None

    def as_type(self, expected: Any) -> Any:
        """Decode the value as the type that is expected, such as ``tuple[Picture, int]``.

        Parameters
        ----------
        expected : type
            As in an annotation. `Any` stands for plain values: no class is made from them.

        Returns
        -------
        object
            A value of that type.

        Raises
        ------
        MessageError
            If the value is of another type.
        """
        return self._decoded(self._value, expected)

    def _decoded(self, value: Any, expected: Any) -> Any:
        if expected is Any:
            return self._untyped(value)
        kind, parts = typing.get_origin(expected) or expected, typing.get_args(expected)
        if kind in (typing.Union, types.UnionType):
            return self._first(value, parts)
        if kind in (None, type(None), bool, int, float, str):
            return _number_or_text(value, kind)
        if kind in (bytes, np.ndarray):
            return self._array_or_bytes(value, kind)
        if kind is Path:
            return Path(_number_or_text(value, str))
        if kind in (tuple, list, Sequence):
            return self._items(value, kind, parts)
        if kind in (dict, Mapping):
            _must(isinstance(value, dict))
            return {key: self._decoded(item, parts[1] if parts else Any) for key, item in value.items()}
        return self._object(value, kind)

    def _first(self, value: Any, kinds: Sequence[Any]) -> Any:
        """Value as the first type of a union that fits."""
        for kind in kinds:
            try:
                return self._decoded(value, kind)
            except MessageError:
                continue
        raise MessageError(f"a value that is not one of {kinds}")

    def _array_or_bytes(self, value: Any, kind: type) -> Any:
        _must(isinstance(value, dict) and [*value] == [_BUFFER] and type(value[_BUFFER]) is int)
        _must(0 <= value[_BUFFER] < len(self._buffers))
        buffer = self._buffers[value[_BUFFER]]
        _must(isinstance(buffer, kind))
        return buffer

    def _items(self, value: Any, kind: Any, parts: Sequence[Any]) -> Any:
        _must(isinstance(value, list))
        if kind is tuple and Ellipsis not in parts and parts:
            _must(len(value) == len(parts))
            return tuple(self._decoded(item, part) for item, part in zip(value, parts, strict=True))
        items = [self._decoded(item, parts[0] if parts else Any) for item in value]
        return tuple(items) if kind is tuple else items

    def _object(self, value: Any, kind: Any) -> Any:
        """Make a dataclass or pydantic model from its fields."""
        _must(isinstance(value, dict) and isinstance(kind, type))
        if issubclass(kind, BaseModel):
            try:
                return kind.model_validate(value)
            except ValueError:
                raise MessageError(f"not a {kind.__name__}") from None
        if not is_dataclass(kind):
            raise TypeError(f"{kind.__name__} cannot be received: make it a dataclass")
        _must({*value} == {field.name for field in fields(kind)})
        hints = typing.get_type_hints(kind)
        make: Any = kind
        return make(**{name: self._decoded(item, hints[name]) for name, item in value.items()})

    def _untyped(self, value: Any) -> Any:
        if isinstance(value, dict):
            if _BUFFER in value:
                return self._array_or_bytes(value, object)
            return {key: self._untyped(item) for key, item in value.items()}
        return [self._untyped(item) for item in value] if isinstance(value, list) else value


def _plain(value: Any, buffers: _Buffers) -> Any:
    """Return a value as JSON has it; bytes and arrays go into `buffers`."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, bytes | np.ndarray):
        buffers.append(value)
        return {_BUFFER: len(buffers) - 1}
    if isinstance(value, list | tuple):
        return [_plain(item, buffers) for item in value]
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name), buffers) for field in fields(value)}
    if isinstance(value, dict) and all(isinstance(key, str) and key != _BUFFER for key in value):
        return {key: _plain(item, buffers) for key, item in value.items()}
    raise TypeError(f"a {type(value).__name__} cannot be sent to another process")


def _description(buffer: bytes | np.ndarray) -> dict[str, Any]:
    if isinstance(buffer, bytes):
        return {"dtype": None, "shape": [len(buffer)]}
    if buffer.dtype.kind not in _KINDS:
        raise TypeError(f"an array of {buffer.dtype} cannot be sent to another process")
    return {"dtype": buffer.dtype.str, "shape": [*buffer.shape]}


def _size(description: Any) -> tuple[np.dtype | None, tuple[int, ...], int]:
    """Type, shape and number of bytes of a buffer, checked."""
    shape: tuple[int, ...] = tuple(description["shape"])
    _must(len(shape) <= 8 and all(type(n) is int and n >= 0 for n in shape))
    if description["dtype"] is None:
        _must(len(shape) == 1)
        return None, shape, math.prod(shape)
    _must(isinstance(description["dtype"], str))
    dtype = np.dtype(description["dtype"])
    _must(dtype.kind in _KINDS)
    return dtype, shape, dtype.itemsize * math.prod(shape)


def _buffer(stream: BinaryIO, dtype: np.dtype | None, shape: tuple[int, ...], size: int) -> bytes | np.ndarray:
    data = _exactly(stream, size)
    return data if dtype is None else np.frombuffer(bytearray(data), dtype).reshape(shape)  # writable


def _exactly(stream: BinaryIO, size: int) -> bytes:
    data = stream.read(size)
    if len(data) != size:
        raise MessageError("a truncated message")
    return data


def _number_or_text(value: Any, kind: Any) -> Any:
    if kind is float and type(value) is int:
        return float(value)
    _must(value is None if kind in (None, type(None)) else type(value) is kind)
    return value


def _must(fits: bool) -> None:
    if not fits:
        raise MessageError("a value of another type than expected")
