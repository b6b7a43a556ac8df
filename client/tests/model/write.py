"""Writes models with the tools of the formats' authors: names, types and shapes of public models,
scaled down, with random contents. Usage: write.py FOLDER"""

import json
import sys
from pathlib import Path

import gguf
import numpy as np
from safetensors import TensorSpec, serialize_file

out = Path(sys.argv[1])
random = np.random.default_rng(12)
SIZES = {"F64": 8, "I64": 8, "F32": 4, "I32": 4, "F16": 2, "BF16": 2, "I8": 1, "U8": 1, "F8_E4M3": 1, "BOOL": 1}
NAMES = {
    "F64": "float64", "I64": "int64", "F32": "float32", "I32": "int32", "F16": "float16",
    "BF16": "bfloat16", "I8": "int8", "U8": "uint8", "F8_E4M3": "float8_e4m3fn", "BOOL": "bool",
}


def bytes_of(dtype, shape):
    size = SIZES[dtype] * int(np.prod(shape, dtype=np.int64))
    if dtype == "BOOL":
        return random.integers(0, 2, size, dtype=np.uint8).tobytes()
    return random.bytes(size)


def safetensors(name, tensors):
    specs, alive = {}, []
    for tensor, dtype, shape in tensors:
        data = np.frombuffer(bytes_of(dtype, shape), dtype=np.uint8)
        alive.append(data)
        specs[tensor] = TensorSpec(
            dtype=NAMES[dtype], shape=shape, data_ptr=data.ctypes.data, data_len=data.nbytes
        )
    serialize_file(specs, str(out / name), {"format": "pt"})


def sharded(name, shards):
    weight_map, total = {}, 0
    for i, tensors in enumerate(shards):
        shard = f"{name}-{i + 1:05}-of-{len(shards):05}.safetensors"
        safetensors(shard, tensors)
        weight_map |= {tensor: shard for tensor, _, _ in tensors}
        total += sum(SIZES[dtype] * int(np.prod(shape)) for _, dtype, shape in tensors)
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (out / f"{name}.safetensors.index.json").write_text(json.dumps(index, indent=2))


def llama(layers, hidden, kv, inner, vocabulary, dtype, first=0, bias=False):
    for i in range(first, first + layers):
        layer = f"model.layers.{i}"
        yield f"{layer}.input_layernorm.weight", dtype, (hidden,)
        for head, width in ("q", hidden), ("k", kv), ("v", kv):
            yield f"{layer}.self_attn.{head}_proj.weight", dtype, (width, hidden)
            if bias:
                yield f"{layer}.self_attn.{head}_proj.bias", dtype, (width,)
        yield f"{layer}.self_attn.o_proj.weight", dtype, (hidden, hidden)
        for part in "gate", "up":
            yield f"{layer}.mlp.{part}_proj.weight", dtype, (inner, hidden)
        yield f"{layer}.mlp.down_proj.weight", dtype, (hidden, inner)
    if vocabulary:
        yield "model.embed_tokens.weight", dtype, (vocabulary, hidden)
        yield "model.norm.weight", dtype, (hidden,)
        yield "lm_head.weight", dtype, (vocabulary, hidden)


def mixtral(layer, experts):
    for expert in range(experts):
        for part, shape in ("w1", (448, 256)), ("w2", (256, 448)), ("w3", (448, 256)):
            yield f"model.layers.{layer}.block_sparse_moe.experts.{expert}.{part}.weight", "BF16", shape
    yield f"model.layers.{layer}.block_sparse_moe.gate.weight", "BF16", (experts, 256)


safetensors("llama-3.2.safetensors", llama(4, 256, 64, 1024, 2004, "BF16"))
safetensors("qwen2.5.safetensors", llama(3, 224, 32, 608, 1899, "BF16", bias=True))
sharded("mistral", [list(llama(2, 256, 64, 896, 0, "F16")), list(llama(1, 256, 64, 896, 1000, "F16", first=2))])
sharded("mixtral", [list(mixtral(0, 8)), list(mixtral(1, 8)), list(mixtral(2, 7))])
safetensors("bert-base.safetensors", [
    ("embeddings.position_ids", "I64", (1, 512)),
    ("embeddings.word_embeddings.weight", "F32", (3052, 96)),
    ("embeddings.LayerNorm.gamma", "F32", (96,)),
    ("encoder.layer.0.attention.self.query.weight", "F32", (96, 96)),
    ("encoder.layer.0.attention.self.query.bias", "F32", (96,)),
    ("encoder.layer.0.intermediate.dense.weight", "F32", (384, 96)),
    ("pooler.dense.bias", "F32", (97,)),
])
safetensors("gpt2.safetensors", [
    ("wte.weight", "F32", (5025, 96)), ("wpe.weight", "F32", (1024, 96)),
    ("h.0.attn.bias", "F32", (1, 1, 128, 128)), ("h.0.attn.c_attn.weight", "F32", (96, 288)),
    ("h.0.attn.c_attn.bias", "F32", (288,)), ("ln_f.weight", "F32", (96,)),
])
safetensors("whisper-tiny.safetensors", [
    ("model.encoder.conv1.weight", "F16", (384, 80, 3)), ("model.encoder.conv1.bias", "F16", (384,)),
    ("model.encoder.embed_positions.weight", "F32", (1500, 96)),
    ("model.decoder.embed_tokens.weight", "F16", (5186, 96)),
])
safetensors("stable-diffusion-unet.safetensors", [
    ("conv_in.weight", "F16", (320, 4, 3, 3)), ("conv_in.bias", "F16", (320,)),
    ("down_blocks.0.resnets.0.conv1.weight", "F16", (160, 160, 3, 3)),
    ("time_embedding.linear_1.weight", "F16", (1280, 320)),
])
safetensors("deepseek-v3.safetensors", [
    ("model.layers.0.mlp.gate_proj.weight", "F8_E4M3", (1152, 448)),
    ("model.layers.0.mlp.gate_proj.weight_scale_inv", "F32", (9, 4)),
    ("model.layers.0.self_attn.kv_b_proj.weight", "F8_E4M3", (2048, 512)),
    ("model.layers.0.mlp.gate.e_score_correction_bias", "F32", (256,)),
])
safetensors("scalars-and-nothing.safetensors", [
    ("encoder.num_batches_tracked", "I64", ()), ("empty", "F32", (0, 4)), ("mask", "BOOL", (3, 5)),
    ("step", "F64", (1,)), ("zero_point", "I8", (7,)), ("palette", "U8", (300000,)),
])


def blk(layers, hidden, kv, inner, quant, other):
    for i in range(layers):
        yield f"blk.{i}.attn_norm.weight", "F32", (hidden,)
        yield f"blk.{i}.attn_q.weight", quant, (hidden, hidden)
        yield f"blk.{i}.attn_k.weight", quant, (kv, hidden)
        yield f"blk.{i}.attn_v.weight", other, (kv, hidden)
        yield f"blk.{i}.ffn_down.weight", other, (hidden, inner)
        yield f"blk.{i}.ffn_up.weight", quant, (inner, hidden)
    yield "token_embd.weight", quant, (1001, hidden)
    yield "output_norm.weight", "F32", (hidden,)


def write_gguf(name, architecture, tensors, alignment=None, **split):
    writer = gguf.GGUFWriter(out / name, architecture, **split)
    writer.add_block_count(4)
    writer.add_token_list([f"<token {i}>" for i in range(500)])
    writer.add_token_scores([0.5] * 500)
    if alignment:
        writer.add_custom_alignment(alignment)
    writer.add_bool("tokenizer.ggml.add_bos_token", True)
    for tensor, dtype, shape in tensors:
        quant = gguf.GGMLQuantizationType[dtype]
        elements, size = gguf.GGML_QUANT_SIZES[quant]
        rows = shape[:-1] + (shape[-1] // elements * size,)
        data = np.frombuffer(random.bytes(int(np.prod(rows))), dtype=np.uint8).reshape(rows)
        writer.add_tensor(tensor, data, raw_dtype=quant)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


write_gguf("llama-q4_k_m.gguf", "llama", blk(3, 512, 128, 1024, "Q4_K", "Q6_K"))
write_gguf("llama-q8_0.gguf", "llama", blk(3, 480, 96, 992, "Q8_0", "Q8_0"))
write_gguf("qwen2-q5_0.gguf", "qwen2", blk(3, 448, 64, 1216, "Q5_0", "Q5_1"))
write_gguf("gemma-bf16.gguf", "gemma", blk(2, 256, 64, 1024, "BF16", "F16"))
write_gguf("bert-f16.gguf", "bert", blk(2, 96, 96, 384, "F16", "F32"))
write_gguf("phi-iq4.gguf", "phi3", blk(3, 512, 128, 1024, "IQ4_XS", "IQ4_NL"))
write_gguf("bitnet-tq.gguf", "bitnet", blk(3, 512, 128, 1024, "TQ1_0", "TQ2_0"))
write_gguf("mixtral-experts.gguf", "llama", [
    ("blk.0.ffn_gate_inp.weight", "F32", (8, 256)), ("blk.0.ffn_up_exps.weight", "Q3_K", (8, 448, 256)),
    ("blk.0.ffn_down_exps.weight", "Q2_K", (8, 256, 512)), ("rope_freqs.weight", "F32", (37,)),
])
write_gguf("aligned.gguf", "llama", blk(2, 256, 64, 512, "Q4_0", "Q4_1"), alignment=4096)
write_gguf("split", "llama", blk(3, 512, 128, 1024, "Q4_K", "Q6_K"), split_max_tensors=7)
