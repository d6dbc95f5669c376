"""Configuration files of a model: what libraries write passes, and nothing else does."""

from __future__ import annotations

import importlib.util
import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.models.configs import config_fault
from governance.models.files import config_faults, content_fault
from governance.models.patterns import pattern_fault
from governance.models.templates import template_fault

REPO = Path(__file__).parent.parent.parent.parent

# -- Regular expressions

KNOWN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"\s{2,}|[\n\r\t]",
    " {2,}",
    "^▁+$",
    "[一-龥぀-ゟ゠-ヿ]+",
)


@pytest.mark.parametrize("pattern", KNOWN)
def test_the_expressions_of_known_tokenizers_pass(pattern: str) -> None:
    assert pattern_fault(pattern) is None


@pytest.mark.parametrize(
    "pattern",
    [
        "(a+)+$", "(a|a)*b", "(a|aa)+$", "(a*)*", "([a-z]+)*", "a*a*b", "(.*)x.*y", "(?:a?){50}a{50}",
        r"(a)\1", "(?<=a)b", "(?R)", "(?(1)a|b)", "[a&&[b]]", "a{1,1000}b{1,1000}", "(a", "a)", "a**",
        "((((((((((a))))))))))", "x" * 3000, r"\s*[\r\n]+\s*", "a?" * 30 + "a" * 30, "(a|a)" * 20,
        "(a|b){5}", "a{0,16}" * 5, "(?=a*a*b)", "(a*|b)(a*|b)c", "a+?a+?b", "a++a++b", "\\",
    ],
)  # fmt: skip
def test_an_expression_that_could_take_long_is_refused(pattern: str) -> None:
    assert pattern_fault(pattern) is not None


@given(st.text(st.sampled_from("ab?*+(){}|[]\\,1p{L}!:=<^$"), max_size=12))
def test_an_expression_that_passes_is_fast(pattern: str) -> None:
    """Matched by an engine that backtracks, on the texts that are worst for such expressions."""
    if pattern_fault(pattern) is not None or "\\p" in pattern:
        return
    try:
        expression = re.compile(pattern)
    except (re.error, OverflowError):
        return
    began = time.process_time()
    for letter in "ab?":
        list(expression.finditer(letter * 400 + "!"))
    assert time.process_time() - began < 1


# -- Chat templates


def test_our_own_template_passes() -> None:
    assert template_fault((REPO / "pipelines/training/chat.jinja").read_text("utf-8")) is None


def _published() -> list[Path]:
    """Templates of known models, as TRL ships them."""
    found = importlib.util.find_spec("trl")
    folder = Path(found.origin).parent / "chat_templates" if found and found.origin else None
    return sorted(folder.glob("*.jinja")) if folder else []


@pytest.mark.parametrize("path", _published(), ids=lambda path: path.stem)
def test_templates_of_known_models(path: Path) -> None:
    """All but those with macros that call themselves (gpt-oss, Gemma 4), LFM2 (nested loops) and
    Muse (a replacement by what is there).
    """
    fault = template_fault(path.read_text("utf-8"))
    is_refused = path.stem.startswith(
        ("gptoss", "gemma4", "diffusion_gemma", "lfm2_2_5", "lfm2_v2", "muse_")
    )
    assert (fault is not None) == is_refused, fault


NS = "{% set ns = namespace(x='a', y='b') %}{% for m in messages %}"
END = "{% endfor %}{{ ns.x }}"
_CHAIN = "".join(
    f"{{% macro a{n}(t) %}}{{{{ a{n - 1}(t ~ t) }}}}{{% endmacro %}}" for n in range(1, 40)
)
BAD_TEMPLATES = {
    "a format with a width": "{{ '%1000000000d' % 1 }}",
    "such a format from a name": "{% set f = '%99999999d' %}{{ f % 1 }}",
    "a text multiplied": "{{ 'a' * 10**9 }}",
    "a power": "{{ 9 ** 9 ** 9 }}",
    "a large range": "{% for a in range(100000) %}x{% endfor %}",
    "ranges in ranges": "{% for a in range(4000) %}{% for b in range(4000) %}x{% endfor %}{% endfor %}",
    "a computed range": "{% set n = 4000 + 4000 %}{% for a in range(n) %}x{% endfor %}",
    "recursion": "{% macro a() %}{{ a() }}{{ a() }}{% endmacro %}{{ a() }}",
    "macros that double": "{% macro a0(t) %}{{ t }}{% endmacro %}" + _CHAIN + "{{ a39('x') }}",
    "a recursive loop": "{% for m in messages recursive %}{{ loop(m) }}{% endfor %}",
    "loops over all, thrice": "{% for a in messages %}{% for b in messages %}{% for c in messages %}x"
    "{% endfor %}{% endfor %}{% endfor %}",
    "loops over letters": "{% for m in messages %}{% set t = m.content %}{% for a in t %}{% for b in t %}"
    "{% for c in t %}x{% endfor %}{% endfor %}{% endfor %}{% endfor %}",
    "Python's internals": "{{ ''.__class__.__mro__ }}",
    "the same by index": "{{ ''['__class__'] }}",
    "the same by filter": "{{ ''|attr('__class__') }}",
    "the same by map": "{{ messages|map('attr', '__class__') }}",
    "the same by attribute": "{{ messages|map(attribute='a.__class__') }}",
    "another file": "{% include 'x' %}",
    "a module": "{% import 'x' as y %}",
    "a generator of text": "{{ lipsum(99999) }}",
    "a name doubled each turn": NS + "{% set ns.x = ns.x + ns.x %}" + END,
    "two names in turn": NS + "{% set ns.y = ns.x + m %}{% set ns.x = ns.x + ns.y %}" + END,
    "doubled by replacement": NS + "{% set ns.x = ns.x.replace('a', 'aa') %}" + END,
    "doubled by encoding": NS + "{% set ns.x = ns.x|tojson %}" + END,
    "doubled by a loop": NS + "{% for a in [ns.x] %}{% set ns.x = ns.x + a %}{% endfor %}" + END,
    "doubled by a macro": "{% macro d(t) %}{{ t }}{{ t }}{% endmacro %}" + NS
    + "{% set ns.x = d(ns.x) %}" + END,
    "doubled within a macro": NS.replace("{% for", "{% macro d(t) %}{% set ns.x = t + t %}{% endmacro %}{% for")
    + "{{ d(ns.x) }}" + END,
    "doubled by another name": "{% set n = namespace(x='a') %}{% set m = n %}{% for i in messages %}"
    "{% set n.x = n.x + m.x %}{% endfor %}",
    "doubled in lines": "{% set a0 = 'x' %}"
    + "".join(f"{{% set a{n} = a{n - 1} + a{n - 1} %}}" for n in range(1, 40)) + "{{ a39 }}",
    "a captured block": "{% set x %}{{ x }}{{ x }}{% endset %}",
    "a date with a width": "{{ strftime_now('%99999999d') }}",
    "a text filled up": "{{ 'a'.ljust(99999999) }}",
    "a text centred": "{{ 'a'|center(99999999) }}",
    "a format by method": "{{ '{:>999999999}'.format('a') }}",
    "replacements in a row": "{{ m" + ".replace('a', 'aaaaaaaaaaaaaaaa')" * 8 + " }}",
    "encodings in a row": "{{ m" + "|tojson" * 64 + " }}",
    "join by what is there": "{{ messages|join(messages|join('')) }}",
    "brackets": "{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}",
    "no template": "{% if %}",
    "a long text": "x" * 100_000,
}  # fmt: skip


@pytest.mark.parametrize("row", BAD_TEMPLATES)
def test_a_template_that_runs_code_or_takes_long_is_refused(row: str) -> None:
    began = time.process_time()
    assert template_fault(BAD_TEMPLATES[row]) is not None
    assert time.process_time() - began < 5


@given(st.text(st.sampled_from("{}%|.() '\"abm=+~[]\n-"), max_size=60))
def test_any_text_is_judged(text: str) -> None:
    template_fault("{{ " + text + " }}")
    template_fault("{% set a = " + text + " %}")


# -- Files

CONFIG: dict[str, Any] = {
    "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_act": "silu",
    "dtype": "bfloat16", "hidden_size": 128, "num_hidden_layers": 2, "rms_norm_eps": 1e-06,
    "layer_types": ["full_attention", "sliding_attention"], "tie_word_embeddings": True,
    "rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"}, "sliding_window": None,
    "id2label": {"0": "very unsafe!", "1": "fine"}, "label2id": {"fine": 1}, "eos_token_id": [1, 2],
    "a_new_hyperparameter": 0.5, "transformers_version": "5.23.0", "time_step_limit": [0.0, float("inf")],
    "_name_or_path": "/fsx/checkpoints/smol", "per_layer_config": {"01": {"head_dim": 512}},
    "vision_config": {"model_type": "siglip", "patch_size": 14},
}  # fmt: skip
TOKENIZER_CONFIG: dict[str, Any] = {
    "tokenizer_class": "Qwen2Tokenizer", "backend": "tokenizers", "bos_token": None, "eos_token": "<|end|>",
    "pad_token": {"__type": "AddedToken", "content": "<pad>", "lstrip": False, "normalized": False},
    "added_tokens_decoder": {"0": {"content": "<pad>", "special": True}}, "is_local": True,
    "additional_special_tokens": ["<|a|>"], "extra_special_tokens": {"image_token": "<image>"},
    "model_max_length": 10**30, "padding_side": "left", "clean_up_tokenization_spaces": False,
    "chat_template": "{% for m in messages %}{{ m.content }}{% endfor %}", "sp_model_kwargs": {},
}  # fmt: skip
TOKENIZER: dict[str, Any] = {
    "version": "1.0", "truncation": None,
    "padding": {"strategy": {"Fixed": 512}, "direction": "Right", "pad_id": 0, "pad_token": "<pad>"},
    "added_tokens": [{"id": 0, "content": "<pad>", "special": True}],
    "normalizer": {"type": "Sequence", "normalizers": [
        {"type": "NFC"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
    "pre_tokenizer": {"type": "Split", "pattern": {"Regex": KNOWN[0]}, "behavior": "Isolated", "invert": False},
    "post_processor": {"type": "TemplateProcessing", "single": [{"Sequence": {"id": "A", "type_id": 0}}],
                       "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}},
    "decoder": {"type": "ByteLevel", "use_regex": True},
    "model": {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": ["a b", ["b", "a"]], "byte_fallback": False},
}  # fmt: skip
GOOD: dict[str, Any] = {
    "config.json": CONFIG,
    "generation_config.json": {"eos_token_id": 1, "_from_model_config": True, "temperature": 0.6},
    "tokenizer_config.json": TOKENIZER_CONFIG,
    "tokenizer.json": TOKENIZER,
    "special_tokens_map.json": {"eos_token": "<|end|>", "additional_special_tokens": ["<|a|>"]},
    "added_tokens.json": {"<|a|>": 7},
    "vocab.json": {"a": 0},
    "chat_template.json": {"chat_template": "{{ messages[0].content }}"},
}


def written(folder: Path, name: str, value: Any) -> str | None:
    path = folder / name
    path.write_text(json.dumps(value), encoding="utf-8")
    return content_fault(path)


@pytest.mark.parametrize("name", GOOD)
def test_what_libraries_write_passes(name: str, tmp_path: Path) -> None:
    assert written(tmp_path, name, GOOD[name]) is None


def test_the_shipped_architecture_passes() -> None:
    folder = REPO / "pipelines/architectures"
    for path in folder.glob("*.json"):
        value = json.loads(path.read_text("utf-8"))
        assert config_fault("config.json", value, 1) is None


@pytest.mark.slow
def test_every_language_model_of_transformers_passes() -> None:
    """As its own configuration class writes it: a new version that needs another key is noticed."""
    from transformers import CONFIG_MAPPING
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    faults = {}
    for name in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        try:
            value = json.loads(CONFIG_MAPPING[name]().to_json_string(use_diff=False))
        except Exception:
            continue
        fault = config_fault("config.json", value, 1)
        if fault is not None:
            faults[name] = fault
    assert len(faults) <= 12, faults


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


BAD: dict[str, tuple[str, Any]] = {
    "code": ("config.json", {**CONFIG, "auto_map": {"AutoModel": "x.Model"}}),
    "a file": ("tokenizer_config.json", {**TOKENIZER_CONFIG, "vocab_file": "/etc/passwd"}),
    "special tokens elsewhere": ("tokenizer_config.json", {"special_tokens_map_file": "/elsewhere/x.json"}),
    "a generator of its own": ("generation_config.json", {"custom_generate": "evil/repo"}),
    "an unknown text": ("config.json", {"plugin": "evil"}),
    "an unknown object": ("config.json", {"hooks": {"a": 1}}),
    "an object in a list": ("config.json", {"layer_types": [{"a": 1}]}),
    "a repository as activation": ("config.json", {"hidden_act": "evil/kernel"}),
    "an address as type": ("config.json", {"model_type": "http:x"}),
    "an address as origin": ("config.json", {"_name_or_path": "https://evil.example/x"}),
    "a key with a path": ("config.json", {"../x": 1}),
    "quantized by code": ("config.json", {"quantization_config": {"quant_type": "torchao.evil"}}),
    "too many layers": ("config.json", {"num_hidden_layers": 10**8}),
    "a number without end": ("config.json", {"hidden_size": 10**30}),
    "nested lists": ("config.json", {"eos_token_id": nested(50)}),
    "nested too deep for the parser": ("config.json", {"eos_token_id": nested(500)}),
    "a long list": ("config.json", {"eos_token_id": [0] * (2 << 20)}),
    "a large file": ("config.json", {"architectures": ["x" * 99] * 60_000}),
    "a file that nobody needs": ("modules.json", [{"type": "sentence_transformers.models.Evil"}]),
    "a template in the settings": ("tokenizer_config.json", {"chat_template": "{{ ''.__class__ }}"}),
    "a template among several": (
        "tokenizer_config.json", {"chat_template": [{"name": "rag", "template": "{{ 'a' * 10**9 }}"}]},
    ),
    "a template that is a path": (
        "tokenizer_config.json", {"chat_template": [{"name": "../../rag", "template": "x"}]},
    ),
    "a template in a file": ("chat_template.json", {"chat_template": "{% include 'x' %}"}),
    "no object": ("config.json", [1]),
    "an expression that hangs": (
        "tokenizer.json",
        {**TOKENIZER, "pre_tokenizer": {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated"}},
    ),
    "the same in a normalizer": (
        "tokenizer.json",
        {**TOKENIZER, "normalizer": {"type": "Replace", "pattern": {"Regex": "(a|a)*b"}, "content": ""}},
    ),
    "texts that grow": (
        "tokenizer.json",
        {**TOKENIZER, "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 100}] * 4}},
    ),
    "texts filled up": ("tokenizer.json", {**TOKENIZER, "padding": {"strategy": {"Fixed": 10**12}}}),
    "an unknown component": ("tokenizer.json", {**TOKENIZER, "decoder": {"type": "Python"}}),
    "an unknown key of a component": ("tokenizer.json", {**TOKENIZER, "decoder": {"type": "Fuse", "run": "x"}}),
    "an unknown part": ("tokenizer.json", {**TOKENIZER, "plugins": []}),
    "a list as a type": ("tokenizer.json", {**TOKENIZER, "decoder": {"type": []}}),
    "a list as the model's type": ("tokenizer.json", {**TOKENIZER, "model": {"type": []}}),
    "a vocabulary of texts": ("vocab.json", {"a": "b"}),
}  # fmt: skip


@pytest.mark.parametrize("row", BAD)
def test_what_a_configuration_may_not_say(row: str, tmp_path: Path) -> None:
    name, value = BAD[row]
    assert written(tmp_path, name, value) is not None
    assert [path for path, _ in config_faults(tmp_path)] == [name]


def test_a_template_file_is_judged_too(tmp_path: Path) -> None:
    (tmp_path / "chat_template.jinja").write_text("{{ cycler.__init__ }}", encoding="utf-8")
    assert [path for path, _ in config_faults(tmp_path)] == ["chat_template.jinja"]


def test_what_was_registered_under_older_rules_is_judged_as_then(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"plugin": "x"}', encoding="utf-8")
    (tmp_path / "code.json").write_text('{"auto_map": {"AutoModel": "x.Y"}}', encoding="utf-8")
    assert content_fault(tmp_path / "config.json", configs=False) is None
    assert content_fault(tmp_path / "config.json") is not None
    assert content_fault(tmp_path / "code.json", configs=False) is not None


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(st.sampled_from(sorted(GOOD)), _JSON)
def test_any_value_is_judged(name: str, value: Any) -> None:
    fault = config_fault(name, value, 1)
    assert fault is None or isinstance(fault, str)


@given(st.sampled_from(sorted(GOOD)), st.data())
def test_any_value_at_any_place_is_judged(name: str, data: st.DataObject) -> None:
    key = data.draw(st.sampled_from(sorted(GOOD[name])))
    fault = config_fault(name, {**GOOD[name], key: data.draw(_JSON)}, 1)
    assert fault is None or isinstance(fault, str)
