"""The ways a client may send pictures: a form, the bytes themselves, or base64 in JSON."""

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Any

from flask import Request
from werkzeug.exceptions import BadRequest, HTTPException, UnsupportedMediaType

MAX_PICTURES = 16
MAX_TOP = 100_000
CROP = "[0-9]{1,5},[0-9]{1,5},[1-9][0-9]{0,4},[1-9][0-9]{0,4}"
MAX_PLAIN = 1 << 20  # bytes of a form that is held in memory twice for a moment
_PLAIN_HEAD = re.compile(
    rb"--(?P<boundary>[\x21-\x7e]{1,70})\r\n"
    rb'Content-Disposition: form-data; name="file"; filename="(?P<name>[\x20-\x21\x23-\x5b\x5d-\x7e]{1,200})"\r\n'
    rb"(?:Content-Type: [\x20-\x7e]{1,100}\r\n)?\r\n"
)
_NOT_JSON = "The body is not JSON"


class BadBody(HTTPException):
    """A body or a parameter that is not as it must be; its text is one sentence for the client."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.code = status


@dataclass(frozen=True, slots=True)
class Upload:
    """One encoded picture as it came, and what to call it in an answer."""

    name: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Asked:
    """What one call asks: its pictures in order, whether as a list, and how the answer is wanted."""

    uploads: list[Upload]
    several: bool
    top: int | None
    crop: tuple[int, int, int, int] | None


def read_body(request: Request) -> Asked:
    """Reads a /predict call; raises BadBody (400, 415) with the sentence that clients of the tutorials expect."""
    check_coding(request)
    several = False
    kind = request.mimetype
    if kind == "application/json":
        uploads, several = _from_json(request)
    elif kind.startswith("image/") or kind == "application/octet-stream":
        data = request.get_data(cache=False)
        uploads = [Upload("the picture", data)] if data else []
    else:
        if plain := _from_plain_form(request):
            return Asked([plain], False, _top(request), _crop(request))
        files = request.files.getlist("file")
        if files and not all(file.filename for file in files):
            raise BadBody(400, "No selected file")
        if kind == "multipart/form-data" and request.content_length and not request.files and not request.form:
            raise BadBody(400, "The form cannot be read: it is cut short, or a name in it is not UTF-8 text")
        uploads, several = [Upload(_short(file.filename), file.read()) for file in files], len(files) > 1
    if not uploads:
        raise BadBody(400, "No file part")
    if len(uploads) > MAX_PICTURES:
        raise BadBody(400, f"At most {MAX_PICTURES} pictures are taken in one call; these are {len(uploads)}")
    return Asked(uploads, several, _top(request), _crop(request))


def check_coding(request: Request) -> None:
    """Raises BadBody (415) for a body that was compressed on its way (RFC 9110, section 8.4).

    None is taken: unpacking is where a small body becomes a large one, and pictures are compressed already.
    """
    coding = request.headers.get("Content-Encoding", "").strip().lower()
    if coding not in {"", "identity"}:
        raise BadBody(415, f"The body is compressed ({_short(coding)}); send it without Content-Encoding")


def whole_number(text: str, most: int) -> int | None:
    """What a text of ASCII digits and nothing else says, up to most; int() takes "1_0", " 5", "+5" and "٣" too."""
    found = int(text) if len(text) <= 12 and text.isascii() and text.isdigit() else None
    return found if found is not None and found <= most else None


def query(request: Request, key: str) -> str | None:
    """What the address gives for a key; raises BadBody (400) where it gives two values, of which none is meant more."""
    values = request.args.getlist(key)
    if len(values) > 1:
        raise BadBody(400, f"{key} is given more than once")
    return values[0] if values else None


def read_json(request: Request) -> Any:
    """The body as JSON; raises BadBody, 400 or 415, when it is not, nests too deep, or is not said to be JSON."""
    check_coding(request)
    try:
        return request.get_json(cache=False)
    except UnsupportedMediaType:
        raise BadBody(415, _NOT_JSON) from None
    except (BadRequest, RecursionError):
        raise BadBody(400, _NOT_JSON) from None


def _from_plain_form(request: Request) -> Upload | None:
    """The picture of a form (RFC 7578) that holds one file and nothing else, as nearly all do; None for any other.

    Werkzeug's parser takes all forms, line by line, which for one picture costs as much as all else that is
    not the picture's. It gets what does not look exactly as expected here.
    """
    boundary = request.mimetype_params.get("boundary", "")
    if request.mimetype != "multipart/form-data" or not boundary or (request.content_length or MAX_PLAIN) >= MAX_PLAIN:
        return None
    body = request.get_data()  # kept, for the parser that takes all
    head = _PLAIN_HEAD.match(body)
    end = b"\r\n--" + boundary.encode("latin-1", "replace")
    if head is None or head["boundary"] != end[4:]:
        return None
    stop = body.find(end, head.end())
    if stop < 0 or body[stop + len(end) :] not in (b"--", b"--\r\n"):
        return None
    return Upload(_short(head["name"].decode("ascii")), body[head.end() : stop])


def _from_json(request: Request) -> tuple[list[Upload], bool]:
    content = read_json(request)
    if not isinstance(content, dict) or not {"image", "images"} & content.keys():
        raise BadBody(400, 'The body must be {"image": "<base64>"} or {"images": ["<base64>", ...]}')
    if "image" in content:
        return [Upload("image", _from_base64(content["image"], "image"))], False
    images = content["images"]
    if not isinstance(images, list):
        raise BadBody(400, "images must be a list of base64 texts")
    if len(images) > MAX_PICTURES:
        raise BadBody(400, f"At most {MAX_PICTURES} pictures are taken in one call; these are {len(images)}")
    return [Upload(f"images[{i}]", _from_base64(text, f"images[{i}]")) for i, text in enumerate(images)], True


def _from_base64(text: Any, name: str) -> bytes:
    if not isinstance(text, str):
        raise BadBody(400, f"{name} must be a base64 text")
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise BadBody(400, f"{name} is not base64") from None


def _top(request: Request) -> int | None:
    text = query(request, "top")
    if text is None:
        return None
    top = whole_number(text, MAX_TOP)
    if not top:
        raise BadBody(400, f"top must be a whole number from 1 to {MAX_TOP}")
    return top


def _crop(request: Request) -> tuple[int, int, int, int] | None:
    text = query(request, "crop")
    if text is None:
        return None
    if not re.fullmatch(CROP, text):
        raise BadBody(400, "crop must be x,y,width,height in whole pixels, inside the picture")
    x, y, width, height = map(int, text.split(","))
    return x, y, width, height


def _short(name: str | None) -> str:
    text = "".join(c if c.isprintable() else "?" for c in name or "")
    return text if len(text) <= 80 else text[:77] + "..."
