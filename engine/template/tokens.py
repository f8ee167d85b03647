"""Tokens: ``${namespace.name}`` in values, and nothing more.

Rule: one pass, no logic. A value that is only a token becomes the thing it names, with its type and its
place; inside text a token becomes text. ``$$`` is a dollar. What was put in is not read for tokens again.
A secret stays a reference and must stand alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from engine import secrets
from engine.secrets import SecretRef
from engine.template.mistakes import Code, Mistakes, Place, nearest, shown
from engine.template.nodes import HOLE, Hole, Node

Scopes = Mapping[str, Mapping[str, Node]]
"""The namespaces that exist at a place, and the names in each."""

SECRET: Final = "secret"  # noqa: S105 - the name of a namespace
_DOLLAR: Final = re.compile(r"\$\$|\$\{([^}]*)(\}?)")
_NAME: Final = re.compile(r"([a-z]+)\.([A-Za-z_][A-Za-z0-9_]*)")
_PROJECT_ONLY: Final = frozenset({"env", SECRET})


def has_token(text: str) -> bool:
    """Whether text holds a token.

    >>> has_token("${param.x}"), has_token("$${param.x}"), has_token("a$")
    (True, False, False)
    """
    return any(found[0] != "$$" for found in _DOLLAR.finditer(text))


def fill(node: Node, scopes: Scopes, mistakes: Mistakes) -> Node:
    """The tree with every token resolved; a token that cannot be is a mistake and leaves a hole."""
    match node.value:
        case str(text):
            return _fill_text(node, text, scopes, mistakes) if "$" in text else node
        case tuple() as nodes:
            return Node(node.place, tuple(fill(item, scopes, mistakes) for item in nodes))
        case Mapping() as nodes:
            for key in nodes:
                if has_token(key):
                    mistakes.add(node.keys[key], Code.BAD_TOKEN, "tokens stand in values, never in keys")
            return Node(
                node.place, {key: fill(item, scopes, mistakes) for key, item in nodes.items()}, node.keys
            )
        case _:
            return node


def _fill_text(node: Node, text: str, scopes: Scopes, mistakes: Mistakes) -> Node:
    only = _DOLLAR.fullmatch(text)
    if only and only[0] != "$$":
        return _resolve(node, only, scopes, mistakes)
    parts: list[str] = []
    end, loose, whole = 0, False, True
    for found in _DOLLAR.finditer(text):
        parts.append(text[end : found.start()])
        end = found.end()
        if found[0] == "$$":
            parts.append("$")
            continue
        value = _resolve(node, found, scopes, mistakes)
        piece = _as_text(value, node, mistakes)
        whole = whole and piece is not None
        loose = loose or value.loose
        parts.append(piece or "")
    if not whole:
        return Node(node.place, HOLE)
    return Node(node.place, "".join(parts) + text[end:], loose=loose)


def _resolve(node: Node, found: re.Match[str], scopes: Scopes, mistakes: Mistakes) -> Node:
    hole = Node(node.place, HOLE)
    name = _NAME.fullmatch(found[1])
    if not found[2] or not name:
        mistakes.add(
            node.place, Code.BAD_TOKEN, "a token is written ${namespace.name}", "write $$ for a dollar"
        )
        return hole
    namespace, key = name[1], name[2]
    if namespace not in scopes:
        _refuse_namespace(node.place, namespace, scopes, mistakes)
        return hole
    if namespace == SECRET:
        return _secret(node.place, key, mistakes)
    value = scopes[namespace].get(key)
    if value is None:
        text = f"environment variable {key} is not set" if namespace == "env" else _nothing(namespace, key)
        hint = f"export {key}=…" if namespace == "env" else nearest(key, scopes[namespace])
        mistakes.add(node.place, Code.UNRESOLVED_TOKEN, text, hint)
        return hole
    return Node(node.place, value.value, loose=True) if namespace == "env" else value


def _nothing(namespace: str, key: str) -> str:
    return f"nothing is named ${{{namespace}.{key}}}"


def _refuse_namespace(place: Place, namespace: str, scopes: Scopes, mistakes: Mistakes) -> None:
    here = f"here: {', '.join(sorted(scopes))}" if scopes else "no tokens stand here"
    if namespace in _PROJECT_ONLY:
        here = f"{namespace} stands only in the Project"
    mistakes.add(place, Code.UNRESOLVED_TOKEN, f"there is no namespace {shown(namespace)} here", here)


def _secret(place: Place, key: str, mistakes: Mistakes) -> Node:
    if not secrets.NAME.fullmatch(key):
        mistakes.add(place, Code.BAD_NAME, "the name of a secret is lower case: a-z, 0-9 and _")
        return Node(place, HOLE)
    return Node(place, SecretRef(key))


def _as_text(value: Node, user: Node, mistakes: Mistakes) -> str | None:
    match value.value:
        case Hole():
            return None
        case SecretRef():
            mistakes.add(
                user.place, Code.SECRET_MISPLACED, "a secret must be the whole value", "${secret.name} alone"
            )
            return None
        case bool(flag):
            return "true" if flag else "false"
        case str() | int() | float() as scalar:
            return str(scalar)
        case _:
            mistakes.add(user.place, Code.WRONG_TYPE, "only text, numbers and booleans fit inside a text")
            return None
