"""What the JSON files of a model folder may say: numbers anywhere, texts under known keys only.

Libraries read these files when they load a model. A text can name code, a file or another model; a
number can only be too large. So:

1. Only files of known names. Each has its table below.
2. A number, a truth value, or a list of them may stand under any key: hyperparameters differ from
   architecture to architecture, and new ones must not need a new version of this module.
3. A text, or an object, only under a key of the table. A text there is one word or name: it has no
   slash and no colon, so it is no path, no address and no name of a repository.
4. Regular expressions and chat templates must be of those that cannot take long or run code
   (`patterns`, `templates`).
5. Sizes and depth are bounded, and so is what a tokenizer can add to a text.

The tables hold what transformers 5 and tokenizers 0.23 write for language models.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any

from governance.models.patterns import pattern_fault
from governance.models.templates import template_fault
from governance.models.weights import INDEX

MAX_SMALL = 4 << 20
"""Bytes of any of these files but vocabularies and `tokenizer.json`."""
MAX_DEPTH = 8
MAX_NUMBER = 1 << 31
MAX_LAYERS = 10_000
MAX_MEMBERS = 1 << 20
MAX_TOKEN = 1000
"""Characters of a token, a label or a stop text."""
MAX_PADDING = 1 << 20
"""The largest number in a tokenizer's components: texts can be filled up to such a length."""
MAX_REPLACED = 1000
"""By how much replacements of a tokenizer can lengthen a text, multiplied."""
MAX_COMPONENTS = 64

_KEY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,99}")
_WORD = re.compile(r"[A-Za-z0-9_+.,() \-]{0,100}")


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


MODEL_TEXTS = _names(
    """
_name_or_path activation activation_function afn architectures attention_layers attention_type
attention_types attn_implementation attn_impl attn_layers attn_type autocast_kernel_dtype
average_approximation_function block_types cache_implementation chunkwise_kernel
classifier_activation classifier_pooling conv_activation conv_glu_type
cross_attention_shape_for_attention dense_act_fn dtype expert_selection_fn feed_forward_proj
ff_activation feature_extractor_type force_dequant hidden_act hidden_activation hidden_mamba_act
image_processor_type indexer_types inference_state_dtype init_device languages layer_types
layers_block_type mamba_hidden_act mamba_ssm_cache_dtype mlp_hidden_act mlp_layer_types mode
model_type mtp_layers_block_type name nemo_activation norm_type normalization_type pad_mode
patching_mode pooler_hidden_act pooling_type position_embedding_type problem_type processor_class
projector_hidden_act rope_type scoring_func sequence_kernel shared_expert_combination_strategy
step_kernel summary_activation summary_type time_step_init_scheme tokenizer_class topk_method
torch_dtype transformers_version type use_bidirectional_attention video_processor_type
vision_feature_select_strategy weight_mode
"""
)
MODEL_GROUPS = _names(
    """
attn_config audio_config compress compress_rates crop_size encoder_config decoder_config
ffn_act_fn ffn_config full_attention hybrid hybrid_sliding id2label image_processor
indexed_attention label2id main per_layer_config pruned_heads quantization_config rope_parameters
rope_scaling size sliding_attention text_config tokenizer vision_config
"""
)
QUANTIZATION_TEXTS = _names(
    """
activation_scheme backend bnb_4bit_compute_dtype bnb_4bit_quant_storage bnb_4bit_quant_type fmt
format kv_cache_dtype llm_int8_skip_modules modules_to_not_convert quant_method version
"""
)
GENERATION_TEXTS = _names(
    """
cache_implementation early_stopping num_assistant_tokens_schedule speculation_type stop_strings
transformers_version
"""
)
GENERATION_GROUPS = _names("cache_config continuous_batching_config watermarking_config")
TOKENIZER_TEXTS = _names(
    """
backend errors language model_input_names name_or_path padding_side processor_class src_lang
target_lang tgt_lang tokenizer_class truncation_side truncation_strategy padding
"""
)
FREE_TEXTS = _names("_name_or_path name_or_path stop_strings")
"""Keys of texts that are notes of where a model came from, or that are compared with its answers.
Loading replaces the former.
"""
LABELS = _names("id2label label2id")
TOKEN = _names("__type content id lstrip normalized rstrip single_word special")

COMPONENT_KEYS = _names(
    """
type normalizers pretokenizers processors decoders pattern behavior invert content prepend
add_prefix_space trim_offsets use_regex individual_digits replacement prepend_scheme split
strip_left strip_right left right lowercase strip_accents handle_chinese_chars clean_text delimiter
sep cls single pair special_tokens precompiled_charsmap prefix cleanup pad_token
word_delimiter_token suffix start stop direction max_length strategy stride pad_to_multiple_of
pad_id pad_type_id Sequence SpecialToken id ids tokens type_id Regex String Fixed length
"""
)
COMPONENTS = _names(
    """
BPEDecoder BertNormalizer BertPreTokenizer BertProcessing ByteFallback ByteLevel CTC
CharDelimiterSplit Digits FixedLength Fuse Lowercase Metaspace NFC NFD NFKC NFKD Nmt Precompiled
Prepend Punctuation Replace RobertaProcessing Sequence Split Strip StripAccents TemplateProcessing
UnicodeScripts Whitespace WhitespaceSplit WordPiece
"""
)
TOKENIZER_MODELS = _names("BPE Unigram WordLevel WordPiece")
TOKENIZER_MODEL_KEYS = _names(
    """
type dropout unk_token continuing_subword_prefix end_of_word_suffix fuse_unk byte_fallback
ignore_merges vocab merges unk_id max_input_chars_per_word
"""
)
TOKENIZER_PARTS = _names(
    "version truncation padding added_tokens normalizer pre_tokenizer post_processor decoder model"
)
_BIG = _names("vocab.json added_tokens.json tokenizer.json")


class _RefusedError(Exception):
    """Its text says what may not stand in the file."""


def config_fault(path: str, value: Any, size: int) -> str | None:
    """Why a model may not have this JSON file; None if it may. `size`: its bytes."""
    name = PurePosixPath(path).name
    if name == INDEX:
        return None  # it names exactly the weights at hand: `weights.check_index`
    check = _FILES.get(name)
    if check is None:
        return "a JSON file that no model needs"
    if size > MAX_SMALL and name not in _BIG:
        return f"a configuration of {size} bytes"
    try:
        check(value)
    except _RefusedError as error:
        return str(error)
    except RecursionError:
        return "nested too deep"
    return None


# -- Hyperparameters


def _model(value: Any) -> None:
    _hyperparameters(value, MODEL_TEXTS, MODEL_GROUPS)


def _generation(value: Any) -> None:
    _hyperparameters(value, GENERATION_TEXTS, GENERATION_GROUPS)


def _hyperparameters(
    value: Any, texts: frozenset[str], groups: frozenset[str], depth: int = 0
) -> None:
    """(2), (3)"""
    for key, member in _members(value, depth).items():
        if key in LABELS:
            _texts(key, [*_members(member, depth), *_members(member, depth).values()])
        elif isinstance(member, dict):
            if key not in groups and not (key.isdigit() and depth):
                raise _RefusedError(f"an object under the key {key!r}, which nobody knows")
            known = QUANTIZATION_TEXTS if key == "quantization_config" else texts
            _hyperparameters(member, known, groups, depth + 1)
        elif isinstance(member, str):
            _text(key, member, texts)
        elif isinstance(member, list):
            _list(key, member, texts, depth)
        else:
            _number(key, member)


def _list(key: str, members: list[Any], texts: frozenset[str], depth: int) -> None:
    if len(members) > MAX_MEMBERS or depth > MAX_DEPTH:
        raise _RefusedError(f"the list {key!r} is too long, or nested too deep")
    for member in members:
        if isinstance(member, str):
            _text(key, member, texts)
        elif isinstance(member, list):
            _list(key, member, texts, depth + 1)
        elif isinstance(member, dict):
            raise _RefusedError(f"objects in the list {key!r}")
        else:
            _number(key, member)


def _text(key: str, text: str, known: frozenset[str]) -> None:
    if key not in known:
        raise _RefusedError(f"a text under the key {key!r}, which nobody knows")
    if key in FREE_TEXTS:
        _texts(key, [text])
        if "://" in text:
            raise _RefusedError(f"an address under the key {key!r}")
    elif not _WORD.fullmatch(text):
        raise _RefusedError(f"the key {key!r} is no single name")


def _number(key: str, number: Any) -> None:
    """Of a hyperparameter, or true, false or nothing. A float may be infinite: some limits are."""
    most = MAX_LAYERS if "layers" in key or key == "n_layer" else MAX_NUMBER
    if isinstance(number, int) and abs(number) > most:
        raise _RefusedError(f"the number of {key!r} is too large")


def _members(value: Any, depth: int = 0) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _RefusedError("not an object of keys and values")
    if depth > MAX_DEPTH or len(value) > MAX_MEMBERS:
        raise _RefusedError("nested too deep, or too many keys")
    odd = next((key for key in value if not _KEY.fullmatch(key)), None)
    if odd is not None and depth == 0:
        raise _RefusedError(f"the key {odd[:40]!r}")
    return value


def _texts(key: str, texts: list[Any]) -> None:
    """Of tokens, labels and notes: anything that can be printed."""
    if len(texts) > MAX_MEMBERS or any(len(str(text)) > MAX_TOKEN for text in texts):
        raise _RefusedError(f"the texts of {key!r} are too long")


# -- Tokens


def _tokenizer_settings(value: Any) -> None:
    for key, member in _members(value).items():
        if key == "chat_template":
            _chat_templates(member)
        elif key == "added_tokens_decoder":
            _tokens(key, list(_objects(key, member).values()))
        elif key in ("additional_special_tokens", "extra_special_tokens"):
            _tokens(key, list(member.values()) if isinstance(member, dict) else member)
        elif key.endswith("_token"):
            _tokens(key, [member])
        elif key == "model_max_length":
            _number(key, min(member, MAX_NUMBER) if isinstance(member, int) else member)
        elif isinstance(member, dict):
            if key not in ("sp_model_kwargs", "init_kwargs", "truncation", "padding"):
                raise _RefusedError(f"an object under the key {key!r}, which nobody knows")
            _hyperparameters(member, TOKENIZER_TEXTS, frozenset(), 1)
        else:
            _hyperparameters({key: member}, TOKENIZER_TEXTS, frozenset())


def _special_tokens(value: Any) -> None:
    for key, member in _members(value).items():
        _tokens(key, member if isinstance(member, list) else [member])


def _tokens(key: str, tokens: Any) -> None:
    """Texts, or tokens with their settings."""
    if not isinstance(tokens, list):
        tokens = [tokens]
    for token in tokens:
        if isinstance(token, dict):
            _only(token, TOKEN, key)
            _texts(key, list(token.values()))
        elif token is not None and not isinstance(token, str):
            raise _RefusedError(f"{key!r} is no token")
        else:
            _texts(key, [token])


def _numbered(value: Any) -> None:
    """Texts and their numbers: a vocabulary."""
    for text, number in _objects("a vocabulary", value).items():
        if type(number) is not int or not 0 <= number < MAX_NUMBER or len(text) > MAX_TOKEN:
            raise _RefusedError(f"a vocabulary with the entry {text[:40]!r}")


def _chat_templates(value: Any) -> None:
    """One template, or several with their names."""
    templates = value if isinstance(value, list) else [{"name": "default", "template": value}]
    for template in templates:
        if not isinstance(template, dict) or set(template) != {"name", "template"}:
            raise _RefusedError("a list of chat templates that has something else")
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,100}", str(template["name"])):
            raise _RefusedError("a chat template's name that is no name of a file")
        _template(template["template"])


def _template_file(value: Any) -> None:
    _only(value, frozenset({"chat_template"}), "chat_template.json")
    _chat_templates(value["chat_template"])


def _template(text: Any) -> None:
    if text is not None and not isinstance(text, str):
        raise _RefusedError("a chat template that is no text")
    fault = template_fault(text or "")
    if fault is not None:
        raise _RefusedError(fault)


# -- A tokenizer


def _tokenizer(value: Any) -> None:
    _only(value, TOKENIZER_PARTS, "tokenizer.json")
    tokens = value.get("added_tokens")
    _tokens("added_tokens", [] if tokens is None else tokens)
    _tokenizer_model(value.get("model", {}))
    components: list[dict[str, Any]] = []
    for part in TOKENIZER_PARTS - {"version", "added_tokens", "model"}:
        _component(part, value.get(part), components, 0)
    replacing = [found for found in components if found.get("type") in ("Replace", "Prepend")]
    lengths = [len(str(found.get("content", found.get("prepend", "")))) for found in replacing]
    if math.prod(max(1, length) for length in lengths) > MAX_REPLACED:
        raise _RefusedError("a tokenizer that lengthens texts too much")
    if len(components) > MAX_COMPONENTS:
        raise _RefusedError(f"a tokenizer of {len(components)} components")


def _tokenizer_model(model: Any) -> None:
    _only(model, TOKENIZER_MODEL_KEYS, "the tokenizer's model")
    if str(model.get("type", "BPE")) not in TOKENIZER_MODELS:
        raise _RefusedError("a tokenizer's model that nobody knows")
    vocabulary = model.get("vocab")
    if isinstance(vocabulary, dict):
        _numbered(vocabulary)
    for key, member in model.items():
        if key in ("vocab", "merges") and isinstance(member, list):
            _pieces(key, member)
        elif isinstance(member, str):
            _texts(key, [member])
        elif key != "vocab":
            _number(key, member)


def _pieces(key: str, pieces: list[Any]) -> None:
    """Merges (`a b`, or a pair), or pieces with their scores."""
    for piece in pieces:
        parts = piece if isinstance(piece, list) else [piece]
        if len(parts) > 2 or not all(isinstance(part, str | int | float) for part in parts):
            raise _RefusedError(f"an entry of {key!r} that is none")
        _texts(key, parts)


def _component(key: str, node: Any, components: list[dict[str, Any]], depth: int) -> None:
    """(4), (5) A normalizer, pre-tokenizer, decoder or processor, or a part of one."""
    if depth > MAX_DEPTH:
        raise _RefusedError("a tokenizer that is nested too deep")
    if isinstance(node, list):
        for member in node:
            _component(key, member, components, depth + 1)
    elif not isinstance(node, dict):
        _setting(key, node)
    elif key == "special_tokens":
        _texts(key, list(node))
        for token in node.values():
            _component("token", token, components, depth + 1)
    else:
        _only(node, COMPONENT_KEYS, f"the tokenizer's {key}")
        if "type" in node:
            components.append(node)
            if str(node["type"]) not in COMPONENTS:
                raise _RefusedError(f"a tokenizer's component that nobody knows, in {key!r}")
        for name, member in node.items():
            _component(name, member, components, depth + 1)


def _setting(key: str, value: Any) -> None:
    """(4), (5) A text or number of a component."""
    if isinstance(value, str):
        fault = pattern_fault(value) if key == "Regex" else None
        if fault is not None:
            raise _RefusedError(fault)
        if len(value) > (MAX_SMALL if key == "precompiled_charsmap" else MAX_TOKEN):
            raise _RefusedError(f"the text of {key!r} is too long")
    elif isinstance(value, int | float) and abs(value) > MAX_PADDING:
        raise _RefusedError(f"the number of {key!r} is too large")


def _objects(key: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict) or len(value) > MAX_MEMBERS:
        raise _RefusedError(f"{key!r} is no object, or too large")
    return value


def _only(value: Any, known: frozenset[str], what: str) -> None:
    unknown = sorted(set(_objects(what, value)) - known)
    if unknown:
        raise _RefusedError(f"the key {unknown[0][:40]!r} of {what}, which nobody knows")


_FILES: dict[str, Callable[[Any], None]] = {
    "config.json": _model,
    "generation_config.json": _generation,
    "preprocessor_config.json": _model,
    "processor_config.json": _model,
    "tokenizer.json": _tokenizer,
    "tokenizer_config.json": _tokenizer_settings,
    "special_tokens_map.json": _special_tokens,
    "added_tokens.json": _numbered,
    "vocab.json": _numbered,
    "chat_template.json": _template_file,
}
"""(1)"""
