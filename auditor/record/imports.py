"""What a script imports at its top level and nobody provides: neither Python, nor the folder, nor a known package."""

from __future__ import annotations

import ast
import re
import sys
from dataclasses import dataclass
from pathlib import PurePosixPath

from auditor.submission import syntax
from auditor.submission.model import Submission

MAX_REQUIREMENTS_CHARACTERS = 20_000
_NAME = re.compile(r"[A-Za-z][\w.-]{0,80}")
KNOWN_PACKAGES = frozenset(
    (
        "torch torchvision torchaudio numpy scipy pandas sklearn matplotlib sentencepiece tokenizers tiktoken "
        "transformers datasets huggingface_hub safetensors accelerate einops triton triton_kernels flash_attn "
        "flash_attn_interface flash_attn_3 flash_attn_2_cuda mamba_ssm causal_conv1d fla liger_kernel kernels "
        "xformers bitsandbytes torchao apex transformer_engine deepspeed cutlass cuda cupy numba llvmlite jax jaxlib "
        "flax optax mlx brotli brotlicffi zstandard zstd lz4 lzma_sdk lrzip constriction compressai blosc tqdm rich "
        "psutil pynvml wandb tensorboard tensorboardX yaml toml requests filelock packaging typing_extensions "
        "ml_dtypes cython Cython cffi pybind11 ninja setuptools modal runpod sympy networkx joblib regex pyarrow h5py "
        "PIL python_minifier muon setproctitle "
    ).split()
)


@dataclass(frozen=True, slots=True)
class MissingModule:
    """An import of `name` at `line` of the script."""

    name: str
    line: int


def missing_modules(submission: Submission) -> list[MissingModule]:
    """Top-level imports outside any ``try`` that nothing provides. Empty for a script that is packed or unparsable."""
    script = submission.script
    if script is None or script.packed:
        return []
    tree = syntax.parse(script.text).tree
    if tree is None:
        return []
    provided = sys.stdlib_module_names | KNOWN_PACKAGES | _local_names(submission) | _required(submission)
    found: dict[str, MissingModule] = {}
    for node in tree.body:
        for name in _imported(node):
            if name not in provided:
                found.setdefault(name, MissingModule(name, node.lineno))
    return list(found.values())


def _imported(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name.partition(".")[0] for alias in node.names]
    if isinstance(node, ast.ImportFrom) and not node.level and node.module:
        return [node.module.partition(".")[0]]
    return []


def _local_names(submission: Submission) -> set[str]:
    """Modules and packages that the folder holds at any depth: scripts change their search path."""
    names: set[str] = set()
    for item in submission.files:
        path = PurePosixPath(submission.relative(item.path))
        names.update(path.parts[:-1])
        names.add(path.name.partition(".")[0])
    return names


def _required(submission: Submission) -> set[str]:
    """Names of requirements files, as written and as modules spell them."""
    names: set[str] = set()
    for item in submission.files:
        if item.data is not None and re.fullmatch(r"requirements[\w.-]{0,40}\.txt", PurePosixPath(item.path).name):
            text = item.data[:MAX_REQUIREMENTS_CHARACTERS].decode("utf-8", "replace")
            found = [match[0] for line in text.split("\n") if (match := _NAME.match(line.strip()))]
            names.update(found)
            names.update(name.replace("-", "_") for name in found)
    return names
