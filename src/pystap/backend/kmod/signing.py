"""``--sign-module``: a module signed with a key of this machine's owner.

The kernel wants a PKCS#7 message without certificates and signed attributes behind the module,
then a fixed structure (``struct module_signature``) and a mark.  The key is made at the first use;
the firmware's list of owner's keys (MOK) makes the kernel trust it, once it has been enrolled.
"""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from pystap.typing import Final, NamedTuple

MARK: Final = b"~Module signature appended~\n"
_PKCS7: Final = 2  # PKEY_ID_PKCS7, <linux/module_signature.h>
_DAYS: Final = 36500
_REQUEST: Final = """\
[req]
distinguished_name = name
x509_extensions = extensions
prompt = no
[name]
CN = {name}
[extensions]
basicConstraints = critical,CA:FALSE
keyUsage = digitalSignature
extendedKeyUsage = codeSigning,1.3.6.1.4.1.2312.16.1.2
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
"""


class SigningError(Exception):
    """A module cannot be signed; the message says why."""


class Key(NamedTuple):
    """A private key (PEM) and its certificate (DER, as mokutil takes it); whether just made."""

    private: Path
    certificate: Path
    is_new: bool


def owner_key() -> Key:
    """The key in ``signing`` below $SYSTEMTAP_DIR or ~/.systemtap, made unless it is there.

    Raises :class:`SigningError`.
    """
    base = os.environ.get("SYSTEMTAP_DIR") or os.path.expanduser("~/.systemtap")
    directory = Path(base, "signing")
    key = Key(directory / "MOK.priv", directory / "MOK.der", False)
    if key.private.exists() and key.certificate.exists():
        return key
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with TemporaryDirectory(dir=directory) as work:
            private, certificate = Path(work, "key"), Path(work, "certificate")
            _make_key(private, certificate, Path(work, "request"))
            private.replace(key.private)
            certificate.replace(key.certificate)
    except OSError as error:
        raise SigningError(f"cannot make a key in '{directory}': {error.strerror}") from error
    return key._replace(is_new=True)


def _make_key(private: Path, certificate: Path, request: Path) -> None:
    name = f"pystap module signing key of {os.uname().nodename}"[:64]
    request.write_text(_REQUEST.format(name=name))
    words = ["req", "-new", "-x509", "-newkey", "rsa:2048", "-nodes", "-sha256"]
    words += ["-days", str(_DAYS), "-config", str(request), "-keyout", str(private)]
    _openssl([*words, "-outform", "DER", "-out", str(certificate)])
    private.chmod(0o600)


def signed(module: bytes, key: Key) -> bytes:
    """A module with a signature by a key, in place of one that it may have.

    Raises :class:`SigningError`.
    """
    module = _unsigned(module)
    with TemporaryDirectory() as work:
        plain, signature = Path(work, "module"), Path(work, "signature")
        plain.write_bytes(module)
        words = ["cms", "-sign", "-binary", "-noattr", "-nocerts", "-nosmimecap", "-md", "sha256"]
        words += ["-signer", _pem(key, work), "-inkey", str(key.private), "-in", str(plain)]
        _openssl([*words, "-outform", "DER", "-out", str(signature)])
        message = signature.read_bytes()
    return module + message + struct.pack(">5B3xI", 0, 0, _PKCS7, 0, 0, len(message)) + MARK


def _unsigned(module: bytes) -> bytes:
    """The module without its signature, if it has one."""
    if not module.endswith(MARK):
        return module
    end = len(module) - len(MARK) - 12
    (size,) = struct.unpack_from(">8xI", module, end)
    return module[: end - size]


def _pem(key: Key, work: str) -> str:
    """The certificate in the form that the signing command reads."""
    path = os.path.join(work, "certificate.pem")
    _openssl(["x509", "-inform", "DER", "-in", str(key.certificate), "-out", path])
    return path


def _openssl(words: list[str]) -> None:
    program = shutil.which("openssl")
    if program is None:
        raise SigningError("signing needs openssl: apt-get install openssl")
    done = subprocess.run([program, *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SigningError(f"openssl {words[0]} failed: {done.stderr.strip()}")
