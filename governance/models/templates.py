"""Which chat templates may stand in a model folder: those that only put messages together.

A template is a program in Jinja's language. Whoever serves the model runs it on every request,
often outside a sandbox. This module parses it, runs nothing, and refuses everything that is not
listed here.

1. Only listed kinds of nodes, filters, functions and methods. Names that begin with `_` lead to
   Python's internals.
2. Its cost is bounded: loops count by their length, macros by their content, and a macro calls only
   macros before it. So there is no recursion.
3. Texts cannot grow exponentially. Nothing is multiplied. A name that is assigned from itself, also
   by way of other names, occurs once in the new value, and is not repeated or encoded there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import nodes


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


MAX_LENGTH = 64 << 10
"""Characters. The longest template of a known model has about 20,000."""
MAX_COST = 5_000_000
"""Nodes that a request may visit, if each list in it has `LENGTH` members."""
LENGTH = 16
MAX_NUMBER = 4096
MAX_SIZE = 1_000_000
"""How many times the length of a request's values a text may have."""
TURNS, GROWTH, MAX_INSERTED = LENGTH * LENGTH, 16, 16
"""Turns of all loops around an assignment; how much longer a text becomes by one of `GROWING`; and
the longest text that one of them may insert.
"""
MAX_GROWING = 4
"""How many of them one expression may have, one around the other."""

NODES = _names(
    """
Add And Assign Break Compare Concat CondExpr Const Continue Dict Filter For Getattr Getitem If
Keyword List Macro Name NSRef Neg Not Operand Or Output Pair Pos Scope Slice Sub Template
TemplateData Test Tuple Call Mod
"""
)
FILTERS = _names(
    """
abs bool capitalize count d default dictsort first float int items join last length list lower
map max min reject rejectattr replace reverse round safe select selectattr sort string sum title
tojson trim unique upper
"""
)
FUNCTIONS = _names("namespace raise_exception range strftime_now")
METHODS = _names(
    """
capitalize count endswith find get index isalnum isalpha isdigit items join keys lower lstrip
removeprefix removesuffix replace rfind rsplit rstrip split splitlines startswith strip title
upper values
"""
)
GROWING = _names("tojson replace join")
"""Filters and methods whose result can be a multiple of their text."""
_NUMBERS = _names("length count int abs")
_PLAIN_DATE = re.compile(r"(?:%[A-Za-z%-]|[^%])*")
"""A format of a date without widths, which could ask for any length."""


class _RefusedError(Exception):
    """Its text says why."""


def template_fault(text: str) -> str | None:
    """Why a model may not have this chat template; None if it may."""
    from jinja2 import TemplateSyntaxError

    if len(text) > MAX_LENGTH:
        return f"a chat template of {len(text)} characters"
    try:
        tree = _environment().parse(text)
        _Reader(tree).check()
    except TemplateSyntaxError as error:
        return f"not a chat template: line {error.lineno}"
    except RecursionError:
        return "a chat template that is nested too deep"
    except _RefusedError as error:
        return f"a chat template that could run code or take very long: {error}"
    return None


def _environment() -> Any:
    """As transformers sets it up, which has a block `generation` of its own."""
    from jinja2 import nodes
    from jinja2.environment import Environment
    from jinja2.ext import Extension

    class Generation(Extension):
        tags = {"generation"}

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return nodes.Scope(body, lineno=line)

    return Environment(extensions=["jinja2.ext.loopcontrols", Generation])


class _Reader:
    """Walks through one template."""

    def __init__(self, tree: nodes.Template) -> None:
        from jinja2 import nodes

        self.nodes = nodes
        self.tree = tree
        self.macros: dict[str, int] = {}
        """Cost of each macro, of those that were read so far."""
        self.loops: list[str] = []
        """The names of the loops around a node, or of the macro."""
        self.origins: dict[str, str] = {}
        """Names that were set to a part of another name's value."""

    def check(self) -> None:
        """Raises `_RefusedError`."""
        if self._cost(self.tree) > MAX_COST:
            raise _RefusedError("loops within loops")
        _check_growth(self.tree)

    def _cost(self, node: nodes.Node) -> int:
        """How many nodes are visited at most. Raises `_RefusedError` for a node that is not
        listed.
        """
        kind = type(node).__name__
        if kind not in NODES:
            raise _RefusedError(f"{kind} is not permitted (line {node.lineno})")
        check = getattr(self, f"_check_{kind.lower()}", None)
        if check is not None:
            check(node)
        if isinstance(node, self.nodes.Assign) and isinstance(node.target, self.nodes.Name):
            origin, known = self._origin(node.node), self.origins.get(node.target.name)
            is_same = known is None or known == origin
            self.origins[node.target.name] = origin if is_same else ""
        if isinstance(node, self.nodes.Macro | self.nodes.For):
            return self._repeated(node)
        cost = 1 + sum(map(self._cost, node.iter_child_nodes()))
        if isinstance(node, self.nodes.Call) and isinstance(node.node, self.nodes.Name):
            return cost + self.macros.get(node.node.name, 0)
        return cost

    def _repeated(self, node: Any) -> int:
        """The cost of a loop or macro."""
        is_loop = isinstance(node, self.nodes.For)
        names = list(node.target.find_all(self.nodes.Name)) if is_loop else []
        if is_loop and isinstance(node.target, self.nodes.Name):
            names = [node.target]
        turns = self._turns(node.iter) if is_loop else 1
        for name in names:
            self.origins[name.name] = str(names[0].name)
        self.loops.append(str(names[0].name) if names else "")
        cost = 1 + sum(map(self._cost, node.iter_child_nodes()))
        self.loops.pop()
        if is_loop:
            return cost * turns
        self.macros[node.name] = cost
        return 1

    def _turns(self, iterable: Any) -> int:
        """Of a list that is written out, its length. A loop over a part of what the loop around it
        takes visits each part of a request once. Any other loop within a loop visits all of it
        each time, and so may a loop of a macro.
        """
        if isinstance(iterable, self.nodes.List | self.nodes.Tuple):
            return max(1, len(iterable.items))
        is_counting = isinstance(iterable, self.nodes.Call) and _name_of(iterable) == ""
        if not self.loops or self._origin(iterable) == self.loops[-1] != "":
            turns = LENGTH
        elif self.loops == [""]:
            turns = LENGTH * LENGTH
        else:
            turns = LENGTH**3
        numbers = [const.value for const in iterable.find_all(self.nodes.Const)]
        counted = [abs(number) for number in numbers if isinstance(number, int)]
        return max(turns, LENGTH * LENGTH, *counted) if is_counting else turns

    def _origin(self, expression: Any) -> str:
        """The name of whose value an expression is a part; empty for anything else."""
        while not isinstance(expression, self.nodes.Name):
            is_part = isinstance(expression, self.nodes.Getattr | self.nodes.Getitem)
            is_view = _name_of(expression) in ("items", "dictsort", "keys", "values", "list")
            if not is_part and not is_view:
                return ""
            expression = expression.node
        return self.origins.get(expression.name, str(expression.name))

    def _check_const(self, node: nodes.Const) -> None:
        number = node.value
        if isinstance(number, int | float) and not abs(number) <= MAX_NUMBER:
            raise _RefusedError(f"the number {number:g}")

    def _check_getattr(self, node: nodes.Getattr) -> None:
        if node.attr.startswith("_"):
            raise _RefusedError(f"the attribute {node.attr}")

    def _check_getitem(self, node: nodes.Getitem) -> None:
        if isinstance(node.arg, self.nodes.Const) and str(node.arg.value).startswith("_"):
            raise _RefusedError(f"the member {node.arg.value}")

    def _check_filter(self, node: nodes.Filter) -> None:
        if node.name not in FILTERS:
            raise _RefusedError(f"the filter {node.name}")
        if node.name in GROWING:
            self._check_growing(node)
        strings = [const.value for const in node.find_all(self.nodes.Const)]
        if node.name in ("map", "selectattr", "rejectattr", "sort", "sum", "unique"):
            names = [text for text in strings if isinstance(text, str)]
            if any(part[:1] == "_" for text in names for part in text.split(".")):
                raise _RefusedError(f"the filter {node.name} of a hidden attribute")
            if node.name == "map" and node.args:
                applied = node.args[0]
                is_listed = isinstance(applied, self.nodes.Const) and applied.value in FILTERS
                if not is_listed:
                    raise _RefusedError("the filter map of another filter")

    def _check_call(self, node: nodes.Call) -> None:
        function = node.node
        if isinstance(function, self.nodes.Name):
            is_listed = function.name in FUNCTIONS or function.name in self.macros
            name = function.name
        else:
            is_listed = isinstance(function, self.nodes.Getattr) and function.attr in METHODS
            name = getattr(function, "attr", "an expression")
        if not is_listed or node.dyn_args is not None or node.dyn_kwargs is not None:
            raise _RefusedError(f"a call of {name}")
        if name == "range" and not all(map(self._is_length, node.args)):
            raise _RefusedError("a range of a computed number")
        if name in GROWING:
            self._check_growing(node)
        if name == "strftime_now":
            formats = [getattr(argument, "value", None) for argument in node.args]
            if not all(isinstance(text, str) and _PLAIN_DATE.fullmatch(text) for text in formats):
                raise _RefusedError("a date with a width")

    def _check_growing(self, node: Any) -> None:
        """What is inserted is written out and short, and few such steps follow each other."""
        given = [*node.args, *(keyword.value for keyword in node.kwargs)]
        for value in given:
            number = value.value if isinstance(value, self.nodes.Const) else None
            is_short = isinstance(number, str) and len(number) <= MAX_INSERTED
            is_small = isinstance(number, int) and number <= MAX_INSERTED
            if not is_short and not is_small:
                raise _RefusedError(f"{_name_of(node)} inserts more than a short text")
        kinds = (self.nodes.Filter, self.nodes.Call)
        if sum(_name_of(part) in GROWING for part in node.find_all(kinds)) >= MAX_GROWING:
            raise _RefusedError(f"{_name_of(node)} of a text that has grown before")

    def _is_length(self, node: Any) -> bool:
        if isinstance(node, self.nodes.Filter):
            return node.name in ("length", "count")
        if isinstance(node, self.nodes.Add | self.nodes.Sub):
            return self._is_length(node.left) and self._is_length(node.right)
        return isinstance(node, self.nodes.Const) or self._is_number(node)

    def _check_mod(self, node: nodes.Mod) -> None:
        """Of numbers: with a text on its left it is a format, which can have any width."""
        if not self._is_number(node.left):
            raise _RefusedError("a format")

    def _is_number(self, node: Any) -> bool:
        if isinstance(node, self.nodes.Const):
            return isinstance(node.value, int)
        if isinstance(node, self.nodes.Getattr):
            is_loop = isinstance(node.node, self.nodes.Name) and node.node.name == "loop"
            return is_loop and node.attr in ("index", "index0", "revindex", "revindex0", "length")
        if isinstance(node, self.nodes.Filter):
            return node.name in _NUMBERS
        is_sum = isinstance(node, self.nodes.Add | self.nodes.Sub | self.nodes.Mod)
        return is_sum and self._is_number(node.left) and self._is_number(node.right)


@dataclass(frozen=True)
class _Assignment:
    """A name that gets a value, and the names that the value is made of."""

    target: str
    used: tuple[str, ...]
    """Once for each place."""
    grown: frozenset[str]
    """Those of them that are repeated or encoded."""


def _check_growth(tree: nodes.Template) -> None:
    """(3) A plain name is set once per turn of its loop and forgotten after it; the members of a
    namespace stay. So growth without end needs a namespace, and plain names grow statement by
    statement. Raises `_RefusedError`.
    """
    from jinja2 import nodes

    assignments = list(_assignments(tree))
    sources: dict[str, set[str]] = {}
    for assignment in assignments:
        sources.setdefault(assignment.target, set()).update(assignment.used)
    behind = {name: _behind(name, sources) for name in sources}
    spaces = {str(reference.name) for reference in tree.find_all(nodes.NSRef)}
    staying = {
        name
        for name in sources
        if any(name in behind.get(space, ()) for space in behind[name] & spaces)
    }
    sizes: dict[str, int] = {}
    for assignment in assignments * 2:  # a namespace can be read before it is assigned
        again = []
        if assignment.target in staying:
            again = [name for name in assignment.used if assignment.target in behind.get(name, ())]
        if len(again) > 1 or assignment.grown & set(again):
            raise _RefusedError(f"{assignment.target} grows with each assignment")
        added = 1 + sum(
            sizes.get(name, 1) * (GROWTH if name in assignment.grown else 1)
            for name in assignment.used
            if name not in again
        )
        size = added * (TURNS if again else 1)
        sizes[assignment.target] = max(sizes.get(assignment.target, 1), size)
        if size > MAX_SIZE:
            raise _RefusedError(f"{assignment.target} can become very long")


def _behind(name: str, sources: Mapping[str, set[str]]) -> set[str]:
    """All names that a name's value is made of, itself included."""
    found, waiting = {name}, [name]
    while waiting:
        new = sources.get(waiting.pop(), set()) - found
        found |= new
        waiting += new
    return found


def _assignments(tree: Any) -> Iterator[_Assignment]:
    """Of the template's names, and of what the calls of each macro give to it."""
    from jinja2 import nodes

    macros = {macro.name: macro for macro in tree.find_all(nodes.Macro)}
    around = {
        id(node): macro
        for macro in macros.values()
        for node in macro.find_all((nodes.Assign, nodes.For, nodes.Call))
    }

    def tokens(node: Any, names: Iterable[Any]) -> list[str]:
        macro = around.get(id(node))
        own = {str(argument.name) for argument in macro.args} if macro is not None else set()
        named = [str(name.name) for name in names]
        return [f"{macro.name}()" if macro and name in own else name for name in named]

    order = [None, *reversed(macros.values())]  # a macro calls those before it
    calls = sorted(tree.find_all(nodes.Call), key=lambda call: order.index(around.get(id(call))))
    for call in calls:
        if getattr(call.node, "name", "") in macros:
            given = [*call.args, *call.kwargs]
            used = [name for value in given for name in value.find_all(nodes.Name)]
            yield _Assignment(f"{call.node.name}()", tuple(tokens(call, used)), frozenset())
    for node in tree.find_all((nodes.Assign, nodes.For)):
        value = node.node if isinstance(node, nodes.Assign) else node.iter
        taken = tokens(node, _taken_over(value, (nodes.Name,)))
        grown: set[str] = set()
        for part in _taken_over(value, (nodes.Filter, nodes.Call)):
            macro = macros.get(getattr(getattr(part, "node", None), "name", ""))
            within = tokens(node, part.find_all(nodes.Name))
            if macro is not None and isinstance(part, nodes.Call):
                own = {str(argument.name) for argument in macro.args}
                read = [str(name.name) for name in macro.find_all(nodes.Name)]
                read = [name for name in read if name not in own]
                taken += read
                grown |= {*within, *read}
            elif _name_of(part) in GROWING:
                grown |= set(within)
        for target in _targets(node.target):
            yield _Assignment(target, tuple(taken), frozenset(grown))


def _targets(target: Any) -> Iterator[str]:
    from jinja2 import nodes

    if isinstance(target, nodes.Name | nodes.NSRef):
        yield str(target.name)
    else:
        yield from (str(name.name) for name in target.find_all((nodes.Name, nodes.NSRef)))


def _name_of(part: Any) -> str:
    """Of a filter, or of the method or function that is called."""
    called = getattr(part, "node", None)
    return str(getattr(part, "name", "") or getattr(called, "attr", ""))


def _taken_over(node: Any, kinds: tuple[type, ...]) -> list[Any]:
    """The nodes of these kinds within an expression whose values go into its value. What is only
    asked (`a == b`, `a is defined`, the condition of `if`, an index) does not.
    """
    from jinja2 import nodes

    if isinstance(node, nodes.Compare | nodes.Test | nodes.Not):
        return []
    own = [node] if isinstance(node, kinds) else []
    if isinstance(node, nodes.CondExpr):
        children = [branch for branch in (node.expr1, node.expr2) if branch is not None]
    elif isinstance(node, nodes.Getitem):
        children = [node.node]
    else:
        children = list(node.iter_child_nodes())
    return own + [part for child in children for part in _taken_over(child, kinds)]
