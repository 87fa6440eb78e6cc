"""Any Boolean expression becomes a net of threshold units that says the same; all else is refused with its place."""

import random
from collections.abc import Callable
from itertools import product

import numpy as np
import pytest

from mlpexp.lineage.boolean_expression import Node, parse, truth
from mlpexp.lineage.mcculloch_pitts import MOST_INPUTS, Net, Unit, all_rows, compile_net
from mlpexp.refusals import ConfigError


def net_of(text: str) -> Net:
    return compile_net(parse(text))


def sum_of_products(table: tuple[bool, ...], inputs: list[str]) -> str:
    """An expression of a truth table: an AND for each row that is true, with all inputs; their OR."""
    rows = product((False, True), repeat=len(inputs))
    terms = [
        "(" + " and ".join(name if bit else f"not {name}" for bit, name in zip(row, inputs, strict=True)) + ")"
        for row, value in zip(rows, table, strict=True)
        if value
    ]
    nothing = " and ".join([*inputs, f"not {inputs[0]}"])
    return " or ".join(terms) or nothing


@pytest.mark.parametrize("inputs", [1, 2, 3])
def test_every_function_of_up_to_three_inputs_has_its_net(inputs: int) -> None:
    names = [f"x{i + 1}" for i in range(inputs)]
    for table in product((False, True), repeat=2**inputs):
        net = net_of(sum_of_products(table, names))
        assert net.inputs == names
        assert tuple(net.evaluate(all_rows(inputs))) == table
        assert net.depth <= 2


@pytest.mark.parametrize("seed", range(5))
def test_random_functions_of_eight_inputs_have_their_net(seed: int) -> None:
    table = tuple(np.random.default_rng(seed).random(256) < (0.1, 0.3, 0.5, 0.7, 0.9)[seed])
    net = net_of(sum_of_products(table, [f"x{i + 1}" for i in range(8)]))
    assert tuple(net.evaluate(all_rows(8))) == table


def grown(choose: random.Random, depth: int) -> tuple[str, Callable[[list[bool]], bool]]:
    """A random expression of x1 … x8 as text, and a Python function of the eight bits that goes with it."""
    kind = choose.choice(["name", "not", "and", "or", "xor"]) if depth else "name"
    if kind == "name":
        i = choose.randrange(8)
        return f"x{i + 1}", lambda bits: bits[i]
    parts = [grown(choose, depth - 1) for _ in range(1 if kind == "not" else choose.choice([2, 2, 3]))]
    texts, functions = zip(*parts, strict=True)
    value = {
        "not": lambda found: not found[0],
        "and": all,
        "or": any,
        "xor": lambda found: sum(found) % 2 == 1,
    }[kind]
    text = f"(not {texts[0]})" if kind == "not" else "(" + f" {kind} ".join(texts) + ")"
    return text, lambda bits: value([function(bits) for function in functions])


@pytest.mark.parametrize("seed", range(40))
def test_random_expressions_of_eight_inputs_have_their_net(seed: int) -> None:
    text, function = grown(random.Random(seed), 4)
    everything = f"{text} xor ({' and '.join(f'x{i}' for i in range(1, 9))})"  # so that all eight inputs are there
    net = net_of(everything)
    rows = all_rows(8)
    meant = [bool(function(row)) != all(row) for row in rows.tolist()]
    assert net.evaluate(rows).tolist() == meant


@pytest.mark.parametrize("seed", range(5))
def test_inputs_held_fast_give_the_output_after_as_many_steps_as_there_are_levels(seed: int) -> None:
    net = net_of(grown(random.Random(seed), 4)[0] + " xor x1 xor x2")
    rows = all_rows(len(net.inputs))
    states = np.random.default_rng(seed).random((len(rows), len(net.units))) < 0.5  # whatever went before
    for _ in range(net.depth):
        states = net.step(rows, states)
    assert (states[:, -1] == net.evaluate(rows)).all()


@pytest.mark.parametrize(
    ("text", "units", "depth", "connections"),
    [
        ("y = not x1 or (x2 and x3)", 2, 2, 4),
        ("x1 xor x2", 3, 2, 6),
        ("a ^ b ^ c ^ d", 5, 2, 20),
        ("x", 1, 1, 1),
        ("not x", 1, 1, 1),
        ("not (a and b)", 1, 1, 2),
        ("a and b and not c", 1, 1, 3),
        ("(a and b) or (c and not (a and b))", 3, 3, 4 + 2),  # a and b is built once
        ("True", 1, 1, 0),
        ("x and not x", 1, 1, 0),
    ],
)
def test_nets_are_as_small_as_said(text: str, units: int, depth: int, connections: int) -> None:
    net = net_of(text)
    assert (len(net.units), net.depth, net.connections) == (units, depth, connections)


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("a and b ^ c", "a and (b ^ c)"),
        ("a or b and c", "a or (b and c)"),
        ("not a and b", "(not a) and b"),
        ("a xor b xor c", "(a ^ b) ^ c"),
        ("a\n  and b", "a and b"),
    ],
)
def test_operators_bind_as_in_python(text: str, same: str) -> None:
    tree, expected = parse(text).tree, parse(same).tree
    rows = all_rows(3)
    columns = dict(zip("abc", rows.T, strict=True))
    assert (truth(tree, columns) == truth(expected, columns)).all()


def test_inputs_stand_in_natural_order_and_the_output_has_its_name() -> None:
    read = parse("out = x10 or x2 or x1")
    assert (read.output, read.inputs) == ("out", ["x1", "x2", "x10"])
    assert parse("a or b").output == "y"
    assert parse("y or x").output == "output"


def test_equal_parts_are_built_once_and_units_listen_to_earlier_ones() -> None:
    net = net_of("(a xor b) or not (a xor b)")
    assert net.evaluate(all_rows(2)).all()
    for place, unit in enumerate(net.units, start=2):
        assert all(source < place for source, _ in unit.weights)


@pytest.mark.parametrize(
    ("text", "character", "says"),
    [
        ("y = x1 + x2", 5, "x1 + x2 cannot stand here"),
        ("x1 and 3", 8, "3 cannot stand here"),
        ("ä and 3", 7, "3 cannot stand here"),
        ("x1 & x2", 1, "x1 & x2 cannot stand here"),
        ("x1 == x2", 1, "cannot stand here"),
        ("f(x1) or x2", 1, "f(x1) cannot stand here"),
        ("x1 if x2 else x3", 1, "cannot stand here"),
        ("x1 and", 7, "goes astray"),
        ("y = (x1", 5, "goes astray"),
        ("x1 xor not x2", 8, "x1 xor (not x2)"),
        ("xor(x1, x2)", 1, "x1 xor x2"),
        ("x1; x2", 5, "a second statement"),
        ("a = b = c", 5, "left of = stands one name"),
        ("a.b = c", 1, "left of = stands one name"),
        ("import os", 1, "cannot stand here"),
        ("x1 # or x2", 4, "# cannot stand here"),
        ("None or x1", 1, "None cannot stand here"),
    ],
)
def test_a_mistake_is_told_with_its_place_and_what_is_allowed(text: str, character: int, says: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse(text)
    first, second = refused.value.mistakes
    assert first.startswith(f"character {character}: ")
    assert says in first
    assert "allowed are names, not, and, or, xor" in first or "x1 xor" in first
    assert second.strip() == text[: character - 1] + "»" + text[character - 1 :]


@pytest.mark.parametrize("text", ["", "   ", "y = y or x", "(" * 5000 + "x" + ")" * 5000, "not " * 5000 + "x"])
def test_other_nonsense_is_refused_too(text: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse(text)
    assert len(refused.value.mistakes) <= 2
    assert max(map(len, refused.value.mistakes)) < 300


def test_a_truth_table_too_long_is_refused() -> None:
    most = " xor ".join(f"x{i}" for i in range(MOST_INPUTS))
    assert len(net_of(most).units) == MOST_INPUTS + 1
    with pytest.raises(ConfigError, match=f"17 inputs.*at most {MOST_INPUTS}"):
        net_of(f"{most} xor z")


# --- inhibition: signed weights and the absolute inhibition of 1943 can do the same ---


def fires_absolutely(unit: Unit, states: list[bool]) -> bool:
    """The unit of 1943: any active inhibitory input forbids firing, else excitatory ones are counted."""
    if any(states[source] for source, weight in unit.weights if weight < 0):
        return False
    return sum(weight for source, weight in unit.weights if weight > 0 and states[source]) >= unit.threshold


def test_a_weight_negative_enough_forbids_as_absolutely() -> None:
    for excitatory, inhibitory, threshold in product(range(4), range(3), range(-1, 4)):
        names = range(excitatory + inhibitory)
        absolute = Unit(tuple((i, 1 if i < excitatory else -1) for i in names), threshold, "")
        forbidding = min(-1, threshold - 1 - excitatory)
        signed = Unit(tuple((i, 1 if i < excitatory else forbidding) for i in names), threshold, "")
        rows = all_rows(len(names))
        net = Net([str(i) for i in names], "y", [signed])
        assert net.evaluate(rows).tolist() == [fires_absolutely(absolute, row) for row in rows.tolist()]


def test_units_of_1943_realise_every_function_of_three_inputs() -> None:
    rows = all_rows(3).tolist()
    for table in product((False, True), repeat=8):
        terms = [
            Unit(tuple((i, 1 if bit else -1) for i, bit in enumerate(row)), sum(row), "AND")
            for row, value in zip(rows, table, strict=True)
            if value
        ]
        some = Unit(tuple((i, 1) for i in range(len(terms))), 1, "OR")
        fired = [fires_absolutely(some, [fires_absolutely(term, row) for term in terms]) for row in rows]
        assert tuple(fired) == table


def test_the_truth_of_a_tree_is_that_of_logic() -> None:
    a, b = Node("input", name="a"), Node("input", name="b")
    columns = {"a": np.array([0, 0, 1, 1], bool), "b": np.array([0, 1, 0, 1], bool)}
    expected = {"and": [0, 0, 0, 1], "or": [0, 1, 1, 1], "xor": [0, 1, 1, 0]}
    for kind, values in expected.items():
        assert truth(Node(kind, parts=(a, b)), columns).tolist() == [bool(v) for v in values]
    assert truth(Node("not", parts=(a,)), columns).tolist() == [True, True, False, False]
