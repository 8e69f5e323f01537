"""What the dashboard asks of REST, read from its sources: methods and paths, names as `*`."""

import ast
import re
from itertools import pairwise, product
from pathlib import Path

import server.dashboard

HOME = Path(server.dashboard.__file__).parent
METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})
PREFIX = "/api/v1"
LINKS = frozenset({"src", "data-live"})  # attributes that a browser fetches


def asked():
    """(method, path) of every call of every page, and of every link and picture: GET."""
    return {call for file in HOME.glob("*.py") for call in calls_of(file.read_text())}


def calls_of(source):
    """Those of one module."""
    reader = _Reader()
    reader.learn(ast.parse(source))
    return {
        (method, (path if path.startswith(PREFIX) else base + path).partition("?")[0])
        for method, base, value, where in reader.asking
        for path in reader.texts(value, where)
        if path.startswith("/")
    }


def route(path):
    """A path of the OpenAPI document, written as `asked` does."""
    return re.sub(r"{\w+}", "*", path)


class _Reader:
    """Finds what is asked, and what texts a name may stand for where it is used: what its function
    gives it, or its class to its attributes. A parameter may be whatever the module calls so."""

    def __init__(self):
        self.asking = []  # method, what comes before the path, the path, functions and class around
        self._given = []  # name, expression, functions and class around it

    def learn(self, node, where=()):
        """Read what is below a node."""
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            where = (*where, node.name)
        if isinstance(node, ast.Assign):
            self._learn_assignment(node, where)
        self.asking += [(*found, where) for found in _asking(node)]
        for below in ast.iter_child_nodes(node):
            self.learn(below, where)

    def texts(self, node, where, seen=()):
        """Every text that an expression may stand for; what only a running program knows is `*`."""
        match node:
            case ast.Constant(value=str(text)):
                return {text}
            case ast.JoinedStr(values=parts):
                each = [self.texts(part, where, seen) for part in parts]
                return {"".join(chosen) for chosen in product(*each)}
            case ast.FormattedValue(value=value):
                return self.texts(value, where, seen)
        name = _name(node)
        if not name or (name, where) in seen:
            return {"*"}
        found = set()
        for value, place in self._values(name, where):
            found |= self.texts(value, place, (*seen, (name, where)))
        return {text for text in found if text.startswith("/")} or {"*"}

    def _values(self, name, where):
        """Of its own function or class, else of the whole module."""
        given = [(value, place) for other, value, place in self._given if other == name]
        scope = where[:1] if name.startswith("self.") else where
        own = [(value, place) for value, place in given if place[: len(scope)] == scope]
        return own or given

    def _learn_assignment(self, node, where):
        for target in node.targets:
            both = isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple)
            targets = target.elts if both else [target]
            values = node.value.elts if both else [node.value]
            for one, value in zip(targets, values, strict=True):
                if name := _name(one):
                    self._given.append((name, value, where))
                elif _key(one) in LINKS:
                    self.asking.append(("GET", "", value, where))


def _asking(node):
    """(method, what comes before, expression of the path): of a method's name with what comes after
    it, as in a call, a `partial` or a tuple; of `get`; and of links."""
    values = node.args if isinstance(node, ast.Call) else getattr(node, "elts", [])
    for before, after in pairwise(values):
        if isinstance(before, ast.Constant) and before.value in METHODS:
            yield before.value, PREFIX, after
    if isinstance(node, ast.Call):
        if isinstance(node.func, ast.Attribute) and node.func.attr == "get" and values:
            yield "GET", PREFIX, values[0]
        yield from (("GET", "", word.value) for word in node.keywords if word.arg == "target")


def _key(node):
    """Of `something["key"]`."""
    match node:
        case ast.Subscript(slice=ast.Constant(value=key)):
            return key
    return None


def _name(node):
    """Of a variable, or of an attribute of `self`."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=ast.Name(id="self"), attr=name):
            return f"self.{name}"
    return ""
