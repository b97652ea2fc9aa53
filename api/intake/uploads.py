"""Bodies as they arrive: forms by a push parser, with every limit held while bytes come in."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.requests import Request

from api.intake.pictures import PictureLimits, too_many_bytes
from api.problems import Problem

MAX_TEXT_BYTES = 4 * 1024 * 1024  # of a JSON body, or of all plain fields of a form together
MAX_PARTS = 100
_FRAMING_BYTES = 64 * 1024  # boundaries and headers of a form's parts


class UploadBudget:
    """How many bytes of uploads may be in memory at once, over all requests."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.held = 0  # bytes

    @contextmanager
    def hold(self) -> Iterator[Hold]:
        """One request's share; given back at the end."""
        hold = Hold(self)
        try:
            yield hold
        finally:
            self.held -= hold.size

    def take(self, size: int) -> None:
        """Raises Problem `uploads_busy` when there is no room."""
        if self.held + size > self._limit:
            raise Problem("uploads_busy", "Too many uploads are under way: try again in 5 seconds.")
        self.held += size


class Hold:
    """What one request holds of the budget."""

    def __init__(self, budget: UploadBudget) -> None:
        self._budget = budget
        self.size = 0

    def add(self, size: int) -> None:
        """Raises Problem `uploads_busy`."""
        self._budget.take(size)
        self.size += size


@dataclass(frozen=True, slots=True)
class Upload:
    """One file of a form, whole in memory."""

    file_name: str
    content: bytes
    sha256: str


@dataclass(frozen=True, slots=True)
class Form:
    """A multipart form: its plain fields and its files, by name."""

    fields: dict[str, str] = field(default_factory=dict)
    files: dict[str, Upload] = field(default_factory=dict)


async def read_body(request: Request, hold: Hold, limit: int) -> bytes:
    """The whole body. Raises Problem `body_too_large` as soon as that shows."""
    _check_length(request, limit)
    chunks = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise _too_large(limit)
        hold.add(len(chunk))
        chunks.append(chunk)
    return b"".join(chunks)


async def read_form(request: Request, hold: Hold, limits: PictureLimits) -> Form:
    """The form in the body. Raises Problem."""
    limit = limits.bytes + MAX_TEXT_BYTES + _FRAMING_BYTES
    _check_length(request, limit)
    _, options = parse_options_header(request.headers["content-type"])
    if not options.get(b"boundary"):
        raise Problem("invalid_form", "The content type names no boundary: let the client set it.")
    reader = _FormReader(options[b"boundary"], hold, limits)
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise _too_large(limit)
        reader.write(chunk)
    return reader.finish()


def _check_length(request: Request, limit: int) -> None:
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit:
        raise _too_large(limit)


def _too_large(limit: int) -> Problem:
    return Problem(
        "body_too_large",
        f"The body has more than {limit} bytes: send one image a request, and it as a file.",
    )


class _FormReader:
    """Gathers what python-multipart's callbacks tell, a part at a time."""

    def __init__(self, boundary: bytes, hold: Hold, limits: PictureLimits) -> None:
        self._hold, self._limits = hold, limits
        self._form = Form()
        self._parts = self._text_size = 0
        self._ended = False
        self._header_name = self._header_value = b""
        self._name = ""
        self._file_name: str | None = None
        self._chunks: list[bytes] = []
        self._size = 0
        self._hash = hashlib.sha256()
        try:
            self._parser = MultipartParser(boundary, self._callbacks())  # type: ignore[arg-type]
        except FormParserError as error:
            raise _malformed(error) from error

    def write(self, chunk: bytes) -> None:
        """Parse what arrived. Raises Problem."""
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise _malformed(error) from error

    def finish(self) -> Form:
        """The form, once all of it was written. Raises Problem if its end is missing."""
        if not self._ended:
            raise Problem(
                "invalid_form", "The form ends before its last boundary: send it again, whole."
            )
        return self._form

    def _callbacks(self) -> dict[str, object]:
        return {
            "on_part_begin": self._begin_part,
            "on_header_field": self._add_header_name,
            "on_header_value": self._add_header_value,
            "on_header_end": self._end_header,
            "on_headers_finished": self._check_name,
            "on_part_data": self._add_data,
            "on_part_end": self._end_part,
            "on_end": self._end,
        }

    def _begin_part(self) -> None:
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise Problem("invalid_form", f"The form has more than {MAX_PARTS} parts: send fewer.")
        self._header_name = self._header_value = b""
        self._name, self._file_name = "", None
        self._chunks, self._size = [], 0
        self._hash = hashlib.sha256()

    def _add_header_name(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _add_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _end_header(self) -> None:
        if self._header_name.lower() == b"content-disposition":
            _, options = parse_options_header(self._header_value)
            self._name = _text(options.get(b"name", b""), "a field's name")
            file_name = options.get(b"filename")
            if file_name and b"\0" in file_name:
                raise Problem("invalid_text", "A file's name holds a NUL character: remove it.")
            self._file_name = None if file_name is None else _text(file_name, "a file's name")
        self._header_name = self._header_value = b""

    def _check_name(self) -> None:
        if not self._name:
            raise Problem("invalid_form", "A part of the form has no name: give it one.")
        if self._name in self._form.fields or self._name in self._form.files:
            raise Problem("invalid_form", f"{self._name[:60]!r} stands twice: send it once.")

    def _add_data(self, data: bytes, start: int, end: int) -> None:
        size = end - start
        self._size += size
        if self._file_name is None:
            self._text_size += size
            if self._text_size > MAX_TEXT_BYTES:
                raise _too_large(MAX_TEXT_BYTES)
        elif self._size > self._limits.bytes:
            raise too_many_bytes(self._limits)
        self._hold.add(size)
        chunk = data[start:end]
        self._chunks.append(chunk)
        if self._file_name is not None:
            self._hash.update(chunk)

    def _end_part(self) -> None:
        content = b"".join(self._chunks)
        self._chunks = []
        if self._file_name is None:
            self._form.fields[self._name] = _text(content, self._name[:60])
        else:
            self._form.files[self._name] = Upload(
                file_name=self._file_name, content=content, sha256=self._hash.hexdigest()
            )

    def _end(self) -> None:
        self._ended = True


def _text(raw: bytes, name: str) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise Problem("invalid_text", f"{name} is not UTF-8: encode it so.") from None


def _malformed(error: FormParserError) -> Problem:
    return Problem("invalid_form", f"The form cannot be read: {error}.")
