"""Spring's configuration files: bytes -> properties, read as Spring Boot reads them.

In:     application.yml, .yaml or .properties, and the environment.
Out:    Properties: found under any spelling of their names, with placeholders resolved.
Rules:  of several documents the later ones win; one for a profile counts where that is active; a variable wins over the
        file; what no document says may come from a placeholder's default.
Raises: StartRefused: one line, which names the file.
Source: Spring Boot's reference, "Externalized Configuration", and its wiki, "Relaxed Binding 2.0".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from facade.errors import StartRefused

FILE_MAX_BYTES = 1024 * 1024
PROPERTIES_MAX = 10_000
"""YAML's aliases let a small file stand for any number of them."""
DEPTH_MAX = 50

_Document = dict[str, str]
"""Names as written to texts as written."""


class Property(NamedTuple):
    name: str
    """As the file writes it."""
    text: str
    """As written, with its placeholders."""
    source: str
    """The name of the file, or `variable NAME`."""


class Properties:
    """What a file and the environment state together."""

    def __init__(self, file_name: str, documents: Iterable[_Document], environment: Mapping[str, str]) -> None:
        self.file_name = file_name
        self.left_out: list[str] = []
        """Documents that do not count here, in words."""
        self.active_profiles: set[str] = set()
        self._environment = environment
        self._variables = {_squeezed(name): name for name in environment if "_" in name}
        self._stated: dict[str, Property] = {}
        self._take(documents)

    def __iter__(self) -> Iterator[Property]:
        """Those of the file that count, each as the environment has it where that says more."""
        return (self._from_variable(stated.name) or stated for stated in self._stated.values())

    def find(self, name: str) -> Property | None:
        """A property by any spelling of its name: enable-self-preservation, enableSelfPreservation, a variable's."""
        stated = self._stated.get(uniform(name))
        return self._from_variable(stated.name if stated is not None else name) or stated

    def text(self, found: Property | None) -> str:
        """What a property says, with its placeholders resolved; "" for none. Raises StartRefused."""
        return self._resolved(found.text, (found.name,)).strip() if found is not None else ""

    def _take(self, documents: Iterable[_Document]) -> None:
        every = list(documents)
        for document in every:
            if _condition(document) == _ALWAYS:
                self._state(document)
        self.active_profiles = active = self._named_profiles()
        self._stated.clear()
        for number, document in enumerate(every, 1):
            kind, expression = condition = _condition(document)
            if condition == _ALWAYS or (kind == _PROFILE and _is_met(expression, active, self.file_name)):
                self._state(document)
            else:
                active_ones = f"; active: {', '.join(sorted(active))}" if kind == _PROFILE else ""
                self.left_out.append(f"document {number}, for {kind} {expression}{active_ones}")

    def _state(self, document: _Document) -> None:
        for name, text in document.items():
            self._stated.pop(uniform(name), None)
            self._stated[uniform(name)] = Property(name, text, self.file_name)

    def _named_profiles(self) -> set[str]:
        named = [self.text(self.find(f"spring.profiles.{kind}")) for kind in ("active", "include", "default")]
        active, included, default = ([part.strip() for part in text.split(",") if part.strip()] for text in named)
        return {*(active or default or ["default"]), *included}

    def _from_variable(self, name: str) -> Property | None:
        variable = self._variables.get(_squeezed(name))
        if variable is None or not variable.lower().startswith(f"{name.partition('.')[0].lower()}_"):
            return None
        if not self._environment[variable]:  # compose files pass variables on, set or not
            return None
        return Property(name, self._environment[variable], f"variable {variable}")

    # Placeholders

    def _resolved(self, text: str, within: tuple[str, ...]) -> str:
        start = text.find("${")
        end = _closing(text, start + 2) if start >= 0 else -1
        if end < 0:
            return text
        value = self._value_of(text[start + 2 : end], within)
        return text[:start] + value + self._resolved(text[end + 1 :], within)

    def _value_of(self, placeholder: str, within: tuple[str, ...]) -> str:
        """NAME or NAME:DEFAULT, either with placeholders of its own."""
        colon = _colon(placeholder)
        name = self._resolved(placeholder if colon < 0 else placeholder[:colon], within)
        if name in within or len(within) > DEPTH_MAX:
            raise self._refusal(within[0], f"${{{name}}} stands for itself")
        if name in self._environment:
            return self._resolved(self._environment[name], (*within, name))
        found = self.find(name)
        if found is not None:
            return self._resolved(found.text, (*within, name))
        if colon < 0:
            raise self._refusal(within[0], f"${{{name}}} is neither in the environment nor in the file")
        return self._resolved(placeholder[colon + 1 :], within)

    def _refusal(self, name: str, reason: str) -> StartRefused:
        return refused(self.file_name, f"{name}: {reason}")


def read(path: Path, environment: Mapping[str, str]) -> Properties:
    """Raises StartRefused."""
    name = path.name
    documents_of = _READERS.get(path.suffix.lower())
    if documents_of is None:
        raise refused(name, "expected application.yml, application.yaml or application.properties")
    try:
        with path.open("rb") as file:
            content = file.read(FILE_MAX_BYTES + 1)
    except OSError as error:
        raise refused(name, f"cannot be read: {error.strerror}") from None
    if len(content) > FILE_MAX_BYTES:
        raise refused(name, f"cannot be read: larger than {FILE_MAX_BYTES} bytes")
    return Properties(name, documents_of(name, content), environment)


def refused(file_name: str, reason: str) -> StartRefused:
    """On one line, whatever is in the file."""
    text = f"{file_name}: {' '.join(reason.split())}"
    return StartRefused("".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text))


def uniform(name: str) -> str:
    """The one spelling of a name that stands for all: service-url, serviceUrl and service_url are serviceurl."""
    return name.lower().replace("-", "").replace("_", "")


def _squeezed(name: str) -> str:
    return uniform(name).replace(".", "")


# Profiles


_ALWAYS = ("", "")
_PROFILE = "profile"
_CONDITIONS = {
    "spring.config.activate.onprofile": _PROFILE,
    "spring.profiles": _PROFILE,  # before Spring Boot 2.4
    "spring.config.activate.oncloudplatform": "cloud platform",
}


def _condition(document: _Document) -> tuple[str, str]:
    """When a document counts: what has to be so, and for which of those."""
    for name, text in document.items():
        if uniform(name) in _CONDITIONS:
            return _CONDITIONS[uniform(name)], text
    return _ALWAYS


def _is_met(expression: str, active: set[str], file_name: str) -> bool:
    """prod, !prod, prod & eu, prod | test, and lists of those. Raises StartRefused for more than that."""
    if "(" in expression:
        raise refused(file_name, f"the profile expression {expression} has parentheses, which are not read here")

    def is_met(term: str) -> bool:
        return (term.strip().removeprefix("!") in active) is not term.strip().startswith("!")

    return any(all(map(is_met, part.split("&"))) for part in re.split("[,|]", expression))


# Placeholders


def _closing(text: str, at: int) -> int:
    """Where the brace stands that closes the placeholder begun before `at`; -1 without one."""
    depth = 0
    for place in range(at, len(text)):
        if text.startswith("${", place):
            depth += 1
        elif text[place] == "}":
            if not depth:
                return place
            depth -= 1
    return -1


def _colon(placeholder: str) -> int:
    """Where the default begins: at a colon that is in no placeholder inside; -1 without one."""
    depth = 0
    for place, char in enumerate(placeholder):
        if placeholder.startswith("${", place):
            depth += 1
        elif char == "}":
            depth -= 1
        elif char == ":" and not depth:
            return place
    return -1


# YAML


def _yaml_documents(name: str, content: bytes) -> list[_Document]:
    documents = []
    try:
        for tree in yaml.safe_load_all(content):
            if not isinstance(tree, dict | None):
                raise refused(name, "cannot be read: expected keys and values")
            documents.append(_flat(tree or {}, name))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f"line {mark.line + 1}: " if mark else ""
        reason = getattr(error, "problem", None) or getattr(error, "reason", None) or "it is no YAML"
        raise refused(name, f"cannot be read: {place}{reason}") from None
    return documents


def _flat(tree: dict[Any, Any], file_name: str) -> _Document:
    """Nested keys joined with dots; a list of scalars is a text with commas, as Spring takes it for the same."""
    flat: _Document = {}

    def put(name: str, value: object, depth: int) -> None:
        if depth > DEPTH_MAX or len(flat) > PROPERTIES_MAX:
            raise refused(file_name, f"cannot be read: more than {PROPERTIES_MAX} keys, or {DEPTH_MAX} levels of them")
        match value:
            case dict() if value:
                for key, item in value.items():
                    put(f"{name}.{_plain(key)}" if name else _plain(key), item, depth + 1)
            case list() if any(isinstance(item, dict | list) for item in value):
                for number, item in enumerate(value):
                    put(f"{name}.{number}", item, depth + 1)
            case list():
                flat[name] = ",".join(map(_scalar, value))
            case _:
                flat[name] = _scalar(value)

    if tree:
        put("", tree, 0)
    return flat


def _scalar(value: object) -> str:
    match value:
        case None | {}:
            return ""
        case bool():
            return str(value).lower()
    return str(value)


def _plain(key: object) -> str:
    """[defaultZone] is how Spring writes a key that is to be kept as it is."""
    return _scalar(key).replace("[", ".").replace("]", "").removeprefix(".")


# Properties


def _properties_documents(name: str, content: bytes) -> list[_Document]:
    """Source: java.util.Properties.load; a line of #--- or !--- begins a new document."""
    try:
        text = content.decode()
    except UnicodeDecodeError:
        text = content.decode("iso-8859-1")  # as Java reads it
    documents: list[_Document] = [{}]
    lines = iter(re.split("\r\n|\r|\n", text))
    for line in lines:
        line = line.lstrip(" \t\f")
        if line.rstrip() in ("#---", "!---"):
            documents.append({})
        if not line or line[0] in "#!":
            continue
        while len(_TRAILING_BACKSLASHES.findall(line)[0]) % 2:
            line = line[:-1] + next(lines, "").lstrip(" \t\f")
        found = _KEY_AND_VALUE.fullmatch(line)
        assert found is not None, "any line has a key, if an empty one"
        key, value = _unescaped(found["key"]), _unescaped(found["value"])
        base, index = _INDEXED.sub("", key), _INDEXED.search(key)
        held = documents[-1].get(_plain(base)) if index else None
        documents[-1][_plain(base)] = value if held is None else f"{held},{value}"
        if len(documents[-1]) > PROPERTIES_MAX:
            raise refused(name, f"cannot be read: more than {PROPERTIES_MAX} keys")
    return documents


_TRAILING_BACKSLASHES = re.compile(r"\\*$")
_KEY_AND_VALUE = re.compile(r"(?P<key>(?:\\.|[^\\:= \t\f])*)[ \t\f]*[:=]?[ \t\f]*(?P<value>.*)", re.DOTALL)
_INDEXED = re.compile(r"\[\d+\]$")
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.)|$)", re.DOTALL)
_CONTROLS = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}


def _unescaped(text: str) -> str:
    def character(escaped: re.Match[str]) -> str:
        if escaped[1]:
            return chr(int(escaped[1], 16))
        return _CONTROLS.get(escaped[2] or "", escaped[2] or "")

    return _ESCAPE.sub(character, text)


_READERS = {".yml": _yaml_documents, ".yaml": _yaml_documents, ".properties": _properties_documents}
