"""The artifact: tensors in a pickle-free container, compressed, and counted with the code to the byte.

Container: magic "PGOLF1", one byte for the compressor, uint32 CRC of what follows, then the compressed payload.
Payload: uint32 length of a JSON list of [name, type, shape], the list, and the tensors' bytes in that order, with the
bytes of float16 values separated (all low bytes, then all high bytes), which compresses better.
"""

from __future__ import annotations

import base64
import json
import lzma
import struct
import zlib
from pathlib import Path

import brotli
import numpy as np
import torch
import torch.distributed as dist
import zstandard
from torch import Tensor

from reference_pipeline.distributed import rank_and_world
from reference_pipeline.errors import PipelineError
from reference_pipeline.hyperparameters import Hyperparameters
from reference_pipeline.logs import log
from reference_pipeline.model import GPT
from reference_pipeline.quantization import QuantizedMatrix, pruning_order
from reference_pipeline.rans import rans_compress, rans_decompress
from reference_pipeline.shards import write_atomically

ARTIFACT_MAGIC = b"PGOLF1"  # the digit is the version of the container
MAX_SUBMISSION_BYTES = 16_000_000
COMPRESSORS = ("brotli", "lzma", "zstd", "rans")
COMPRESSOR_CHOICES = (*COMPRESSORS, "auto")
TENSOR_TYPES = {"int8": "<i1", "float16": "<f2"}


def compress(data: bytes, compressor: str) -> bytes:
    """brotli 11, lzma 9 extreme, zstd 22 or rANS."""
    if compressor == "brotli":
        return brotli.compress(data, quality=11, lgwin=24)
    if compressor == "lzma":
        return lzma.compress(data, preset=9 | lzma.PRESET_EXTREME)
    if compressor == "zstd":
        return zstandard.ZstdCompressor(level=22).compress(data)
    if compressor == "rans":
        return rans_compress(data)
    raise PipelineError(f"COMPRESSOR={compressor}: unknown; choose one of {', '.join(COMPRESSOR_CHOICES)}")


def compress_best(data: bytes, compressor: str) -> tuple[bytes, str]:
    """(compressed data, the compressor used); "auto" is the smaller of brotli and rANS."""
    names = ("brotli", "rans") if compressor == "auto" else (compressor,)
    return min(((compress(data, name), name) for name in names), key=lambda pair: len(pair[0]))


def decompress(data: bytes, compressor: str) -> bytes:
    """Inverse of `compress`."""
    if compressor == "brotli":
        return brotli.decompress(data)
    if compressor == "lzma":
        return lzma.decompress(data)
    if compressor == "rans":
        return rans_decompress(data)
    return zstandard.ZstdDecompressor().decompress(data)


def byte_shuffle(data: bytes, stride: int) -> bytes:
    """First bytes of all `stride`-byte values, then second bytes, and so on."""
    return np.frombuffer(data, dtype=np.uint8).reshape(-1, stride).T.tobytes()


def byte_unshuffle(data: bytes, stride: int) -> bytes:
    """Inverse of `byte_shuffle`."""
    return np.frombuffer(data, dtype=np.uint8).reshape(stride, -1).T.tobytes()


def pack_tensors(tensors: dict[str, Tensor], compressor: str) -> bytes:
    """The whole artifact as bytes. Tensors are int8 or float16."""
    entries, chunks = [], []
    for name, tensor in tensors.items():
        kind = str(tensor.dtype).removeprefix("torch.")
        array = tensor.contiguous().numpy().astype(TENSOR_TYPES[kind])
        entries.append([name, kind, list(tensor.shape)])
        chunks.append(byte_shuffle(array.tobytes(), array.itemsize))
    index = json.dumps(entries, separators=(",", ":")).encode()
    payload, used = compress_best(struct.pack("<I", len(index)) + index + b"".join(chunks), compressor)
    return ARTIFACT_MAGIC + bytes([COMPRESSORS.index(used)]) + struct.pack("<I", zlib.crc32(payload)) + payload


def unpack_tensors(blob: bytes, name: str) -> dict[str, Tensor]:
    """Inverse of `pack_tensors`; `name` is the file named in errors."""
    start = len(ARTIFACT_MAGIC) + 5
    if blob[:5] == ARTIFACT_MAGIC[:5] and blob[5:6] not in (b"", ARTIFACT_MAGIC[5:]):
        raise PipelineError(
            f"{name}: container version {blob[5:6]!r} instead of {ARTIFACT_MAGIC[5:]!r}; "
            "read it with the pipeline that wrote it, or train again"
        )
    if len(blob) < start or not blob.startswith(ARTIFACT_MAGIC) or blob[len(ARTIFACT_MAGIC)] >= len(COMPRESSORS):
        raise PipelineError(f"{name}: not an artifact of this pipeline; train again or set ARTIFACT_PATH")
    if struct.unpack("<I", blob[start - 4 : start])[0] != zlib.crc32(blob[start:]):
        raise PipelineError(f"{name}: checksum differs, the artifact is truncated or damaged; copy it again")
    data = decompress(blob[start:], COMPRESSORS[blob[len(ARTIFACT_MAGIC)]])
    index_bytes = struct.unpack("<I", data[:4])[0]
    position = 4 + index_bytes
    tensors = {}
    for entry, kind, shape in json.loads(data[4:position]):
        dtype = np.dtype(TENSOR_TYPES[kind])
        size = int(np.prod(shape)) * dtype.itemsize
        array = np.frombuffer(byte_unshuffle(data[position : position + size], dtype.itemsize), dtype=dtype)
        tensors[entry] = torch.from_numpy(array.reshape(shape).copy())
        position += size
    return tensors


def named_tensors(quantized: dict[str, QuantizedMatrix], kept: dict[str, Tensor]) -> dict[str, Tensor]:
    """Everything the artifact holds: tensors as they are, the parts of a matrix as "name:part"."""
    tensors = dict(kept)
    for name, matrix in quantized.items():
        parts = {"integers": matrix.integers, "scale": matrix.scale, "left": matrix.left, "right": matrix.right}
        tensors |= {f"{name}:{part}": tensor for part, tensor in parts.items() if tensor is not None}
    return tensors


def log_sizes(compressor: str, model_bytes: int, code_bytes: int) -> int:
    """Log the account of the submission in bytes; returns the total."""
    log(f"Serialized model quantized+{compressor}: {model_bytes} bytes")
    log(f"Code size: {code_bytes} bytes")
    log(f"Total submission size quantized+{compressor}: {model_bytes + code_bytes} bytes")
    return model_bytes + code_bytes


def prune_to_fit(
    h: Hyperparameters, quantized: dict[str, QuantizedMatrix], kept: dict[str, Tensor], max_bytes: int
) -> bytes:
    """Set the least costly entries of the int6 matrices to zero until the packed artifact has at most `max_bytes`.

    `quantized` is changed. What does not fit with all candidates gone is returned as it is then.
    """
    names = [name for name, matrix in quantized.items() if matrix.bits == h.matrix_bits]
    candidates, order = pruning_order([quantized[name] for name in names])
    integers = torch.cat([quantized[name].integers.flatten() for name in names])

    def packed(pruned: int) -> bytes:
        changed = integers.clone()
        changed[candidates[order[:pruned]]] = 0
        parts = changed.split([quantized[name].integers.numel() for name in names])
        for name, part in zip(names, parts, strict=True):
            quantized[name].integers = part.view_as(quantized[name].integers)
        return pack_tensors(named_tensors(quantized, kept), h.compressor)

    too_few, enough = 0, len(order)
    while enough - too_few > max(len(order) // 64, 1):  # each look packs the whole artifact
        middle = (too_few + enough) // 2
        if len(packed(middle)) > max_bytes:
            too_few = middle
        else:
            enough = middle
    log(f"prune_to_fit: {enough} of {len(order)} entries of one step set to zero")
    return packed(enough)


def serialize(
    h: Hyperparameters, quantized: dict[str, QuantizedMatrix], kept: dict[str, Tensor], code_path: Path
) -> int:
    """Write the artifact, log its size and the code's, refuse more than 16,000,000 bytes in all. Returns the total."""
    blob = pack_tensors(named_tensors(quantized, kept), h.compressor)
    code_bytes = code_path.stat().st_size
    if h.prune_to_fit and len(blob) + code_bytes > MAX_SUBMISSION_BYTES:
        blob = prune_to_fit(h, quantized, kept, MAX_SUBMISSION_BYTES - code_bytes)
    total = log_sizes(COMPRESSORS[blob[len(ARTIFACT_MAGIC)]], len(blob), code_bytes)
    if total > MAX_SUBMISSION_BYTES:
        raise PipelineError(
            f"{h.artifact_path}: {total} bytes of code and model exceed {MAX_SUBMISSION_BYTES}; "
            "lower MODEL_DIM, NUM_LAYERS or MATRIX_BITS, or set PRUNE_TO_FIT=1"
        )
    if rank_and_world()[0] == 0:
        write_atomically(Path(h.artifact_path), blob)
    if dist.is_initialized():
        dist.barrier()  # nobody reads the file before it is whole
    return total


def read_artifact(h: Hyperparameters) -> dict[str, Tensor]:
    """The artifact's tensors by name, checked."""
    path = Path(h.artifact_path)
    if not path.is_file():
        raise PipelineError(f"{path}: no artifact; train first or set ARTIFACT_PATH")
    return unpack_tensors(path.read_bytes(), str(path))


def model_from_tensors(h: Hyperparameters, tensors: dict[str, Tensor], device: torch.device) -> GPT:
    """The model that evaluation uses, dequantized."""
    state = {name: tensor.float() for name, tensor in tensors.items() if ":" not in name}
    for name in {name.split(":")[0] for name in tensors if ":" in name}:
        integers, scale = tensors[f"{name}:integers"], tensors[f"{name}:scale"]
        left, right = tensors.get(f"{name}:left"), tensors.get(f"{name}:right")
        state[name] = QuantizedMatrix(integers, scale, 8, left, right).dequantize()
    model = GPT(h)
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise PipelineError(
            f"{h.artifact_path}: made with other settings ({str(error).splitlines()[-1].strip()}); "
            "use the environment it was trained with"
        ) from error
    model.looping = h.num_loops > 0
    return model.to(device)


def deserialize(h: Hyperparameters, device: torch.device) -> GPT:
    """The model, read back from the artifact alone."""
    return model_from_tensors(h, read_artifact(h), device)


def wrap_code(source: str) -> str:
    """A script that runs `source` and is smaller: the text as lzma in base 85."""
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME}]
    packed = base64.b85encode(lzma.compress(source.encode(), format=lzma.FORMAT_RAW, filters=filters)).decode()
    return (
        "import lzma as L,base64 as B\n"
        f'exec(L.decompress(B.b85decode("{packed}"),format=L.FORMAT_RAW,filters=[{{"id":L.FILTER_LZMA2}}]))\n'
    )
