"""A model's container: `python -m local.serving FOLDER` serves the artefact unpacked there.

The contract is that of SageMaker's scikit-learn container (SageMaker Python SDK, page 'Using
Scikit-learn with the SageMaker Python SDK', section 'Serve a model'; developer guide, page
'Custom Inference Code with Hosting Services'): `GET /ping` and `POST /invocations`, answered by
the artefact's own `code/inference.py` with `model_fn`, `input_fn`, `predict_fn` and `output_fn`.
`model_fn` has no default, as there. The functions that a script leaves out read and write
`application/json`, `text/csv` and `application/x-npy`.

It listens on 127.0.0.1 only, writes the port as its first line when it does, and ends when its
standard input closes, so it never outlives who started it.
"""

import importlib.util
import io
import json
import os
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

__all__ = ["Model", "Unsupported", "load"]

JSON, CSV, NPY = "application/json", "text/csv", "application/x-npy"


class Unsupported(Exception):
    """No default function reads or writes this media type. `status` is 415 or 406."""

    def __init__(self, status: HTTPStatus, media_type: str) -> None:
        super().__init__(f"media type {media_type!r} is not supported")
        self.status = status


@dataclass(frozen=True)
class Model:
    """A loaded model with its script's functions, or their defaults."""

    model: Any
    read: Callable[[bytes, str], Any]
    predict: Callable[[Any, Any], Any]
    write: Callable[[Any, str], Any]

    def answer(self, body: bytes, content_type: str, accept: str) -> tuple[bytes, str]:
        """The response's body and media type. Raises whatever the script raises."""
        response = self.write(self.predict(self.read(body, content_type), self.model), accept)
        # A script's `output_fn` returns the body, or the body and its media type.
        content, media_type = response if isinstance(response, tuple) else (response, accept)
        return content.encode() if isinstance(content, str) else bytes(content), media_type


def load(folder: Path) -> Model:
    """Load the model in `folder` by its own script, `code/inference.py`.

    `SAGEMAKER_PROGRAM` names another script. Raises whatever the script raises.
    """
    script = _module(folder / "code" / os.environ.get("SAGEMAKER_PROGRAM", "inference.py"))
    if not hasattr(script, "model_fn"):
        raise NotImplementedError(f"{script.__file__} has no model_fn")
    return Model(
        script.model_fn(str(folder)),
        getattr(script, "input_fn", _read),
        getattr(script, "predict_fn", lambda data, model: model.predict(data)),
        getattr(script, "output_fn", _write),
    )


def _module(path: Path) -> ModuleType:
    # The script may import what lies beside it.
    sys.path.insert(0, str(path.parent))
    specification = importlib.util.spec_from_file_location(path.stem, path)
    assert specification and specification.loader
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def _read(body: bytes, content_type: str) -> Any:
    match content_type:
        case "application/json":
            return np.array(json.loads(body))
        case "text/csv":
            return np.genfromtxt(io.BytesIO(body), delimiter=",")
        case "application/x-npy":
            return np.load(io.BytesIO(body), allow_pickle=False)
    raise Unsupported(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, content_type)


def _write(prediction: Any, accept: str) -> bytes:
    array = np.asarray(prediction)
    match accept:
        case "application/json":
            return json.dumps(array.tolist()).encode()
        case "text/csv":
            text = io.StringIO()
            np.savetxt(text, np.atleast_2d(array.T).T, delimiter=",", fmt="%s")
            return text.getvalue().encode()
        case "application/x-npy":
            content = io.BytesIO()
            np.save(content, array, allow_pickle=False)
            return content.getvalue()
    raise Unsupported(HTTPStatus.NOT_ACCEPTABLE, accept)


class _Handler(BaseHTTPRequestHandler):
    # Connections are kept and small packets not held back: a request costs a millisecond.
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    model: Model | str

    def do_GET(self) -> None:
        if self.path != "/ping":
            self._respond(HTTPStatus.NOT_FOUND, b"", "text/plain")
        elif isinstance(self.model, str):
            self._respond(HTTPStatus.INTERNAL_SERVER_ERROR, self.model.encode(), "text/plain")
        else:
            self._respond(HTTPStatus.OK, b"", "text/plain")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path != "/invocations":
            self._respond(HTTPStatus.NOT_FOUND, b"", "text/plain")
        elif isinstance(self.model, str):
            self._respond(HTTPStatus.INTERNAL_SERVER_ERROR, self.model.encode(), "text/plain")
        else:
            self._invoke(self.model, body)

    def _invoke(self, model: Model, body: bytes) -> None:
        try:
            content, media_type = model.answer(
                body,
                _media_type(self.headers.get("Content-Type")),
                _media_type(self.headers.get("Accept")),
            )
        except Unsupported as error:
            self._respond(error.status, str(error).encode(), "text/plain")
        except Exception as error:  # whatever a model raises is its answer, status 500
            message = f"{type(error).__name__}: {error}".encode()
            self._respond(HTTPStatus.INTERNAL_SERVER_ERROR, message, "text/plain")
        else:
            self._respond(HTTPStatus.OK, content, media_type)

    def _respond(self, status: HTTPStatus, body: bytes, media_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing about each request."""


def _media_type(header: str | None) -> str:
    """The media type without parameters; JSON where none, or any, is asked for."""
    name = (header or "").split(";")[0].split(",")[0].strip().lower()
    return JSON if name in ("", "*/*") else name


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


def main() -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        model: Model | str = load(Path(sys.argv[1]))
    except Exception as error:  # a model that does not load fails its health check, as it would
        model = f"the model did not load: {type(error).__name__}: {error}"
    handler = type("Handler", (_Handler,), {"model": model})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        print(server.server_port, flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
