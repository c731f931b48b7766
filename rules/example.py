"""Builds the minimal submission folders that rule pages show and tests audit.

An example is a made-up submission in the manner of the challenge: a training script, README, submission.json and one
log a seed, whose figures agree with each other and with the official validation text. What a rule wants to show is
then a change of one thing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

# bpb per nat of the 1,024-token vocabulary: 62,021,632 tokens / (151,080,363 bytes * ln 2).
SP1024_BPB_PER_NAT = 0.592256327
SP1024_VAL_TOKENS = 62_021_632

PRELUDE = """\
import glob
import io
import math
import os
import time
import zlib

import numpy as np
import sentencepiece as spm
import torch
import torch.nn.functional as F
from torch import nn


class Hyperparameters:
    data_path = os.environ.get("DATA_PATH", "./data/datasets/fineweb10B_sp1024")
    train_files = os.path.join(data_path, "fineweb_train_*.bin")
    val_files = os.path.join(data_path, "fineweb_val_*.bin")
    tokenizer_path = os.environ.get("TOKENIZER_PATH", "./data/tokenizers/fineweb_1024_bpe.model")
    vocab_size = int(os.environ.get("VOCAB_SIZE", 1024))
    seq_len = int(os.environ.get("TRAIN_SEQ_LEN", 1024))
    model_dim = int(os.environ.get("MODEL_DIM", 512))
    learning_rate = float(os.environ.get("LEARNING_RATE", 0.02))
    max_wallclock_seconds = float(os.environ.get("MAX_WALLCLOCK_SECONDS", 600.0))
    seed = int(os.environ.get("SEED", 42))


def load_shard(file):
    header = np.fromfile(file, dtype="<i4", count=256)
    tokens = np.fromfile(file, dtype="<u2", count=int(header[2]), offset=256 * 4)
    return torch.from_numpy(tokens.astype(np.int64))


def load_tokens(pattern):
    return torch.cat([load_shard(file) for file in sorted(glob.glob(pattern))])


class Model(nn.Module):
    def __init__(self, args):
        super().__init__()
        self.embed = nn.Embedding(args.vocab_size, args.model_dim)
        self.mix = nn.GRU(args.model_dim, args.model_dim, batch_first=True)
        self.head = nn.Linear(args.model_dim, args.vocab_size)

    def logits(self, x):
        return self.head(self.mix(self.embed(x))[0])

    def forward(self, x, y):
        logits = self.logits(x)
        return F.cross_entropy(logits.reshape(-1, logits.size(-1)), y.reshape(-1))


def train(args, model):
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.learning_rate)
    start = time.perf_counter()
    for file in sorted(glob.glob(args.train_files)):
        tokens = load_shard(file)
        for i in range(0, tokens.numel() - args.seq_len, args.seq_len):
            if time.perf_counter() - start > args.max_wallclock_seconds:
                return
            x = tokens[i : i + args.seq_len][None].cuda()
            y = tokens[i + 1 : i + args.seq_len + 1][None].cuda()
            loss = model(x, y)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()


def save_artifact(model):
    buffer = io.BytesIO()
    torch.save({name: weight.half().cpu() for name, weight in model.state_dict().items()}, buffer)
    with open("final_model.ptz", "wb") as f:
        f.write(zlib.compress(buffer.getvalue(), 9))


def load_artifact(model):
    with open("final_model.ptz", "rb") as f:
        state = torch.load(io.BytesIO(zlib.decompress(f.read())))
    model.load_state_dict(state)


def count_bytes(args, val_tokens):
    pieces = spm.SentencePieceProcessor(model_file=args.tokenizer_path)
    length = torch.zeros(args.vocab_size, dtype=torch.long)
    leading_space = torch.zeros(args.vocab_size, dtype=torch.bool)
    boundary = torch.ones(args.vocab_size, dtype=torch.bool)
    for i in range(pieces.vocab_size()):
        if pieces.is_control(i) or pieces.is_unknown(i) or pieces.is_unused(i):
            continue
        boundary[i] = False
        piece = pieces.id_to_piece(i)
        leading_space[i] = piece.startswith("\\u2581")
        length[i] = 1 if pieces.is_byte(i) else len(piece.removeprefix("\\u2581").encode())
    previous, current = val_tokens[:-1], val_tokens[1:]
    return int((length[current] + (leading_space[current] & ~boundary[previous])).sum())


def bits_per_byte(args, val_loss, val_tokens):
    return val_loss / math.log(2.0) * (val_tokens.numel() - 1) / count_bytes(args, val_tokens)

"""

EVALUATE = """\

def evaluate(args, model, val_tokens):
    model.eval()
    loss_sum = 0.0
    token_count = 0
    with torch.no_grad():
        for i in range(0, val_tokens.numel() - 1, args.seq_len):
            end = min(i + args.seq_len, val_tokens.numel() - 1)
            x = val_tokens[i:end][None].cuda()
            y = val_tokens[i + 1 : end + 1][None].cuda()
            loss_sum += model(x, y).item() * (end - i)
            token_count += end - i
    return loss_sum / token_count

"""

MAIN = """\

def main():
    args = Hyperparameters()
    torch.manual_seed(args.seed)
    val_tokens = load_tokens(args.val_files)
    model = Model(args).cuda()
    train(args, model)
    save_artifact(model)
    load_artifact(model)
    val_loss = evaluate(args, model, val_tokens)
    print(f"final val_loss:{val_loss:.8f} val_bpb:{bits_per_byte(args, val_loss, val_tokens):.8f}")


main()
"""

HONEST_SCRIPT = PRELUDE + EVALUATE + MAIN


def example_folder(
    script: str = HONEST_SCRIPT,
    *,
    val_losses: Mapping[int, float] | None = None,
    environment: Mapping[str, str] | None = None,
    extra_files: Mapping[str, str] | None = None,
    log_lines: Sequence[str] = (),
) -> dict[str, str]:
    """A submission folder, file name -> text, around `script`.

    `val_losses` gives each seed's final loss in nats per token; `environment` is what the README's command sets beyond
    SEED; `log_lines` are put into every log between the end of training and the final score.
    """
    losses = val_losses or {42: 2.0500, 314: 2.0506, 999: 2.0497}
    settings = dict(environment or {})
    model_bytes = 15_200_000
    total = model_bytes + len(script.encode())
    bpbs = {seed: loss * SP1024_BPB_PER_NAT for seed, loss in losses.items()}
    mean_loss = sum(losses.values()) / len(losses)
    mean_bpb = sum(bpbs.values()) / len(bpbs)
    files = {
        "README.md": _readme(losses, bpbs, mean_bpb, settings, total),
        "submission.json": json.dumps(
            {
                "name": "Example: a small GRU",
                "author": "Example Author",
                "github_id": "example",
                "val_bpb": round(mean_bpb, 8),
                "val_loss": round(mean_loss, 8),
                "bytes_total": total,
                "bytes_code": len(script.encode()),
                "seeds": sorted(losses),
            },
            indent=2,
        )
        + "\n",
        "train_gpt.py": script,
    }
    for seed, loss in losses.items():
        files[f"train_seed{seed}.log"] = _log(seed, loss, script, model_bytes, settings, log_lines)
    files.update(extra_files or {})
    return files


def _readme(
    losses: Mapping[int, float],
    bpbs: Mapping[int, float],
    mean_bpb: float,
    environment: Mapping[str, str],
    total_bytes: int,
) -> str:
    assignments = "".join(f"{name}={value} " for name, value in environment.items())
    rows = "\n".join(f"| {seed} | {losses[seed]:.4f} | {bpbs[seed]:.4f} | {total_bytes:,} |" for seed in losses)
    return (
        f"# Example: a small GRU\n\nval_bpb: {mean_bpb:.4f} (mean of {len(losses)} seeds)\n\n"
        "| seed | val_loss | val_bpb | artifact bytes |\n|---|---|---|---|\n"
        f"{rows}\n\n## Run\n\n"
        f"```bash\nSEED=42 {assignments}torchrun --standalone --nproc_per_node=8 train_gpt.py\n```\n"
    )


def _log(
    seed: int,
    val_loss: float,
    script: str,
    model_bytes: int,
    environment: Mapping[str, str],
    extra_lines: Sequence[str],
) -> str:
    """A log in the baseline's manner. The training losses differ from seed to seed, as honest ones do."""
    code_bytes = len(script.encode())
    drift = (seed % 97) / 1000
    lines = [
        f"seed:{seed}",
        "world_size:8 grad_accum_steps:1",
        "train_loader:dataset:fineweb10B_sp1024 train_shards:80",
        f"val_loader:shards pattern=./data/datasets/fineweb10B_sp1024/fineweb_val_*.bin tokens:{SP1024_VAL_TOKENS}",
        *(f"{name.lower()}:{value}" for name, value in environment.items()),
    ]
    for step in range(1000, 14_000, 1000):
        train_loss = 2.0 + 4.0 / step**0.5 + drift + ((seed * step) % 89) / 5000
        train_ms = 46 * step + seed % 7
        lines.append(
            f"step:{step}/20000 train_loss:{train_loss:.4f} train_time:{train_ms}ms step_avg:46.0{seed % 10}ms"
        )
    lines += [
        f"stopping_early: wallclock_cap train_time:{599_900 + seed % 90}ms step:13041/20000",
        *extra_lines,
        f"Serialized model fp16+zlib: {model_bytes} bytes",
        f"Code size: {code_bytes} bytes",
        f"Total submission size fp16+zlib: {model_bytes + code_bytes} bytes",
        f"final val_loss:{val_loss:.8f} val_bpb:{val_loss * SP1024_BPB_PER_NAT:.8f} eval_time:{61_000 + seed % 100}ms",
    ]
    return "\n".join(lines) + "\n"
