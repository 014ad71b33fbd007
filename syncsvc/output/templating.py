"""
The Jinja environment of every page, and the pages' Content-Security-Policy.
"""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from syncsvc import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def environment(filters: Mapping[str, Callable[..., object]]) -> Environment:
    """
    Return an environment for the templates: everything is escaped, unknown names are errors.

    Args:
        filters: Functions of one page; templates use them as filters and as functions.
    """
    made = Environment(
        loader=PackageLoader("syncsvc.output"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(filters)
    made.globals |= {**filters, "version": __version__}
    return made


def source(made: Environment, name: str) -> Markup:
    """
    Return a style sheet or a script of ours, to stand inline in a page.
    """
    return Markup(made.get_template(name).render())  # noqa: S704 - a file of ours


def inline_hash(text: str) -> str:
    """
    Return the hash by which a Content-Security-Policy allows an inline style or script.
    """
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def content_security_policy(**sources: str) -> str:
    """
    Return a policy that allows nothing but these sources, such as `style_src="'self'"`.
    """
    allowed = [f"{name.replace('_', '-')} {value}" for name, value in sources.items()]
    return "; ".join(["default-src 'none'", *allowed, "base-uri 'none'", "form-action 'none'"])
