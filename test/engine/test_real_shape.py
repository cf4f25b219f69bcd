"""Loading a checkpoint of the published shape, with a LoRA adapter, and quantized.

The weights are random and the widths small; layout, names and types are those of
XiaomiMiMo/MiMo-Embodied-7B as far as they are known: four shards, ``visual.*`` in FP32,
``model.layers.*`` in BF16, an untied head, four query heads to a key, a flat ``config.json`` of
transformers 4.49, the template in ``chat_template.json``.
"""

from __future__ import annotations

import json
import shutil
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

pytest.importorskip('torch')

import torch
from baseline import plain_inputs
from safetensors.torch import load_file, save_file
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from mimo_embodied_ros.core.errors import InvalidRequestError, ModelNotReadyError
from mimo_embodied_ros.engine import EngineConfig, load_engine, model_loading
from mimo_embodied_ros.engine.processor import load_processor
from support.prompts import LIMITS, make_prompt
from support.random_model import control_ids, make_tokenizer, save_processor

if TYPE_CHECKING:
    from mimo_embodied_ros.engine import Engine

SHARDS = 4


def old_name(name: str) -> str:
    """Return the name that a weight had before transformers 4.52."""
    return name.replace('model.visual.', 'visual.').replace('model.language_model.', 'model.')


def draw(folder: Path) -> Qwen2_5_VLForConditionalGeneration:
    """A model with random weights, of the types that are published, from a flat config.json."""
    config = Qwen2_5_VLConfig.from_pretrained(folder)
    torch.manual_seed(11)
    model = Qwen2_5_VLForConditionalGeneration(config).eval()
    for name, weights in model.named_parameters():
        if weights.ndim > 1:  # otherwise every answer is the same token
            torch.nn.init.normal_(weights, std=0.3)
        if 'visual' not in name:
            weights.data = weights.data.bfloat16().float()
    return model


@pytest.fixture(scope='module')
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder as ``hf download`` would make it."""
    folder = tmp_path_factory.mktemp('published') / 'MiMo-Embodied-tiny'
    tokenizer = make_tokenizer()
    save_processor(folder, tokenizer)
    # sides of matrices are multiples of 64 as the real ones, which 4 bit needs on some CPUs
    (folder / 'config.json').write_text(json.dumps({
        'architectures': ['Qwen2_5_VLForConditionalGeneration'], 'model_type': 'qwen2_5_vl',
        'attention_dropout': 0.0, 'hidden_act': 'silu', 'hidden_size': 128,
        'intermediate_size': 384, 'num_hidden_layers': 2, 'num_attention_heads': 8,
        'num_key_value_heads': 2, 'max_position_embeddings': 128000, 'rms_norm_eps': 1e-5,
        'rope_theta': 640000.0, 'rope_scaling': {'type': 'mrope', 'mrope_section': [2, 3, 3]},
        'tie_word_embeddings': False, 'torch_dtype': 'bfloat16', 'transformers_version': '4.49.0',
        'use_cache': True, 'vocab_size': len(tokenizer),
        'bos_token_id': tokenizer.convert_tokens_to_ids('<|endoftext|>'),
        'eos_token_id': tokenizer.convert_tokens_to_ids('<|im_end|>'), **control_ids(tokenizer),
        'vision_config': {
            'model_type': 'qwen2_5_vl', 'depth': 2, 'hidden_act': 'silu', 'hidden_size': 32,
            'intermediate_size': 86, 'num_heads': 2, 'in_chans': 3, 'out_hidden_size': 128,
            'patch_size': 14, 'spatial_merge_size': 2, 'temporal_patch_size': 2,
            'tokens_per_second': 2, 'window_size': 112, 'fullatt_block_indexes': [1]}}))
    weights = {
        old_name(name): (w if 'visual' in name else w.bfloat16()).contiguous()
        for name, w in draw(folder).state_dict().items()}
    assert {name.split('.')[0] for name in weights} == {'visual', 'model', 'lm_head'}
    files: dict[str, str] = {}
    names = sorted(weights)
    for shard in range(SHARDS):
        file = f'model-{shard + 1:05d}-of-{SHARDS:05d}.safetensors'
        part = names[shard * len(names) // SHARDS : (shard + 1) * len(names) // SHARDS]
        save_file({name: weights[name] for name in part}, folder / file, {'format': 'pt'})
        files |= dict.fromkeys(part, file)
    size = sum(w.numel() * w.itemsize for w in weights.values())
    (folder / 'model.safetensors.index.json').write_text(
        json.dumps({'metadata': {'total_size': size}, 'weight_map': files}))
    return folder


def answer(engine: Engine) -> str:
    return engine.generate(make_prompt(seed=1), max_new_tokens=20).text


def expected(folder: Path, model: Qwen2_5_VLForConditionalGeneration) -> str:
    """Return what plain generate answers."""
    processor = load_processor(folder)
    inputs = plain_inputs(processor, make_prompt(seed=1))
    with torch.no_grad():
        output = model.generate(**inputs, max_new_tokens=20, do_sample=False)
    return str(processor.tokenizer.decode(
        output[0, inputs['input_ids'].shape[1] :], skip_special_tokens=True,
        clean_up_tokenization_spaces=False))


def test_every_weight_finds_its_place(published: Path) -> None:
    engine = load_engine(EngineConfig(str(published), device='cpu', dtype='float32'))
    true = draw(published)
    loaded = engine._model.state_dict()
    assert loaded.keys() == true.state_dict().keys()
    for name, weights in true.state_dict().items():
        assert loaded[name].dtype == torch.float32
        assert torch.equal(loaded[name], weights), name
    assert engine.info.parameters == sum(w.numel() for w in true.parameters())
    assert engine.info.context_length == 128000
    assert engine.limits == LIMITS
    text = answer(engine)
    assert text == expected(published, true)
    assert len(set(text)) > 3
    engine.close()


def test_bfloat16_holds_for_both_parts(published: Path) -> None:
    engine = load_engine(EngineConfig(str(published), device='cpu', dtype='bfloat16'))
    assert {weights.dtype for weights in engine._model.parameters()} == {torch.bfloat16}
    assert answer(engine)
    engine.close()


def test_loading_reports_its_progress(published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not hasattr(model_loading.transformers.utils.logging, 'set_tqdm_hook'):
        pytest.skip('transformers 4 does not tell how far loading is')
    monkeypatch.setattr(model_loading, '_PROGRESS_S', 0.0)
    shares: list[float] = []
    load_engine(EngineConfig(str(published), device='cpu'), shares.append).close()
    assert len(shares) > 20
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0, 1)
    monkeypatch.setattr(model_loading, '_PROGRESS_S', 1e9)
    load_engine(EngineConfig(str(published), device='cpu'), shares.append).close()
    assert shares.count(1) == 1, 'what is quick is not talked about'


@pytest.mark.parametrize(('gone', 'says'), [
    ('preprocessor_config.json', 'until April 2026'),
    ('chat_template.json', 'no chat template'),
    ('model-00003-of-00004.safetensors', 'lacks 1 of its 4 weight files, model-00003'),
])
def test_a_missing_file_is_named(published: Path, tmp_path: Path, gone: str, says: str) -> None:
    copy = Path(shutil.copytree(published, tmp_path / 'copy'))
    (copy / gone).unlink()
    with pytest.raises(ModelNotReadyError, match=says) as error:
        load_engine(EngineConfig(str(copy), device='cpu'))
    assert '`hf download' in str(error.value)


# --- adapters ----------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def adapter(published: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA adapter of both parts that changes every answer."""
    peft = pytest.importorskip('peft')
    torch.manual_seed(5)
    wrapped = peft.get_peft_model(draw(published), peft.LoraConfig(
        r=4, lora_alpha=8, target_modules=['q_proj', 'v_proj', 'down_proj'],
        init_lora_weights=False))
    folder = tmp_path_factory.mktemp('adapters') / 'kitchen'
    wrapped.save_pretrained(folder)
    return folder


def adapted(published: Path, adapter: Path) -> str:
    """The right answer, by adding the adapter's matrices to the weights by hand."""
    model = draw(published)
    weights = load_file(adapter / 'adapter_model.safetensors')
    targets = dict(model.named_parameters())
    for name, a in weights.items():
        if name.endswith('.lora_A.weight'):
            base = name.removeprefix('base_model.model.').replace('.lora_A', '')
            b = weights[name.replace('lora_A', 'lora_B')]
            targets[base].data += 8 / 4 * (b @ a)
    return expected(published, model)


def test_an_adapter_is_added_to_the_weights(published: Path, adapter: Path) -> None:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter('always')
        engine = load_engine(EngineConfig(
            str(published), device='cpu', dtype='float32', adapter=str(adapter)))
    assert [str(warning.message) for warning in told] == [], 'users see no notes of libraries'
    assert engine.info.name == 'MiMo-Embodied-tiny+kitchen'
    assert not any('lora' in name for name, _ in engine._model.named_parameters())
    text = answer(engine)
    assert text == adapted(published, adapter)
    assert text != expected(published, draw(published))
    engine.close()


def test_an_adapter_with_old_names_is_the_same(
    published: Path, adapter: Path, tmp_path: Path
) -> None:
    """As it was trained with a transformers before 4.52; it must not be left out silently."""
    old = Path(shutil.copytree(adapter, tmp_path / 'old'))
    file = old / 'adapter_model.safetensors'
    weights = load_file(file)
    renamed = {
        'base_model.model.' + old_name(name.removeprefix('base_model.model.')): w
        for name, w in weights.items()}
    assert renamed.keys() != weights.keys()
    save_file(renamed, file, {'format': 'pt'})
    engine = load_engine(EngineConfig(
        str(published), device='cpu', dtype='float32', adapter=str(old)))
    assert answer(engine) == adapted(published, adapter)
    engine.close()


def test_adapters_that_cannot_be_used(published: Path, adapter: Path, tmp_path: Path) -> None:
    def refusal(folder: Path | str) -> str:
        with pytest.raises(ModelNotReadyError) as error:
            load_engine(EngineConfig(str(published), device='cpu', adapter=str(folder)))
        assert str(folder) in str(error.value)
        return str(error.value)

    assert 'no adapter directory' in refusal(tmp_path / 'none')
    broken = Path(shutil.copytree(adapter, tmp_path / 'broken'))
    file = broken / 'adapter_model.safetensors'
    whole = file.read_bytes()
    file.write_bytes(whole[:-8])
    assert 'damaged' in refusal(broken)
    save_file({f'base_model.model.other.{n}': w for n, w in load_file(
        adapter / 'adapter_model.safetensors').items()}, file, {'format': 'pt'})
    assert 'the model that it was trained on' in refusal(broken)
    file.rename(broken / 'adapter_model.bin')
    assert 'can run code' in refusal(broken)
    config = broken / 'adapter_config.json'
    content = json.loads(config.read_text())
    config.write_text(json.dumps({**content, 'peft_type': 'PREFIX_TUNING'}))
    assert 'PREFIX_TUNING' in refusal(broken)
    config.unlink()
    assert 'has no adapter_config.json' in refusal(broken)


def test_an_adapter_without_peft(
    published: Path, adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, 'peft', None)
    with pytest.raises(ModelNotReadyError, match='pip install peft'):
        load_engine(EngineConfig(str(published), device='cpu', adapter=str(adapter)))


# --- quantization ---------------------------------------------------------------------------------


@pytest.mark.parametrize(('bits', 'kind'), [('8bit', 'Linear8bitLt'), ('4bit', 'Linear4bit')])
def test_only_the_language_model_is_quantized(published: Path, bits: str, kind: str) -> None:
    nn = pytest.importorskip('bitsandbytes').nn
    engine = load_engine(EngineConfig(str(published), device='cpu', quantization=bits))
    quantized = {
        name for name, module in engine._model.named_modules()
        if isinstance(module, getattr(nn, kind))}
    assert len(quantized) == 2 * 7  # layers and their matrices
    assert all('language_model.layers' in name for name in quantized)
    assert engine.info.dtype == f'float32, {bits}'
    assert engine.info.parameters == sum(w.numel() for w in draw(published).parameters())
    assert answer(engine)
    engine.close()


@pytest.mark.torchao
@pytest.mark.parametrize(('bits', 'kind'), [
    ('int8', torch.int8), ('fp8', torch.float8_e4m3fn)])
def test_only_weights_of_the_language_model_are_quantized(
    published: Path, bits: str, kind: torch.dtype
) -> None:
    """The answer is that of the quantized weights, computed and kept in the model's dtype."""
    engine = load_engine(EngineConfig(str(published), device='cpu', quantization=bits))
    dense = draw(published)
    parameters, changed = dict(dense.named_parameters()), 0
    for name, module in engine._model.named_modules():
        if hasattr(getattr(module, 'weight', None), 'qdata'):
            assert module.weight.qdata.dtype == kind
            assert 'language_model.layers' in name
            weight, true = module.weight.dequantize(), parameters[f'{name}.weight']
            assert 0 < (weight - true).abs().max() < 0.1
            true.data.copy_(weight)
            changed += 1
    assert changed == 2 * 7  # layers and their matrices
    assert engine.info.dtype == f'float32, {bits}'
    assert engine.info.parameters == sum(w.numel() for w in parameters.values())
    assert answer(engine) == expected(published, dense)
    assert {layer.dtype for slab in engine._batch.memory._slabs.values()
            for layer in slab.layers} <= {torch.float32}
    engine.close()


def test_an_adapter_stays_beside_quantized_weights(published: Path, adapter: Path) -> None:
    pytest.importorskip('bitsandbytes')
    plain, with_adapter = (load_engine(EngineConfig(
        str(published), device='cpu', quantization='4bit', adapter=name))
        for name in ('', str(adapter)))
    assert any('lora' in name for name, _ in with_adapter._model.named_parameters())
    assert answer(with_adapter) != answer(plain)
    plain.close()
    with_adapter.close()


@pytest.mark.parametrize(('bits', 'library'), [('8bit', 'bitsandbytes'), ('fp8', 'torchao')])
def test_quantization_without_its_library(
    published: Path, monkeypatch: pytest.MonkeyPatch, bits: str, library: str
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ModelNotReadyError, match=rf"'{bits}' needs .*pip install {library}"):
        load_engine(EngineConfig(str(published), device='cpu', quantization=bits))
    with pytest.raises(InvalidRequestError, match='quantization'):
        EngineConfig(str(published), quantization='2bit')
