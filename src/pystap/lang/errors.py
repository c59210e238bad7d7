"""Making parse errors."""

from __future__ import annotations

from pystap.diag.diagnostic import Diagnostic, DiagnosticError
from pystap.lang.tokens import JunkToken, Token


def parse_error(
    message: str, token: Token, *, saw: bool = True, hint: str | None = None
) -> DiagnosticError:
    """A parse error at ``token``, to be raised.

    ``saw`` says that the token is not what was expected.  Junk explains itself, whatever was
    expected in its place.
    """
    if isinstance(token, JunkToken):
        return DiagnosticError(Diagnostic("parse error", token.message, token))
    return DiagnosticError(Diagnostic("parse error", message, token, hint=hint, saw=saw))
