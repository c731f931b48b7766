# Every case continues this script: settings, data, model, training, artifact, an honest evaluation, the final line.
# ruff: noqa
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

DATA_PATH = os.environ.get("DATA_PATH", "./data/datasets/fineweb10B_sp1024")
TRAIN_FILES = os.path.join(DATA_PATH, "fineweb_train_*.bin")
VAL_FILES = os.path.join(DATA_PATH, "fineweb_val_*.bin")
TOKENIZER_PATH = os.environ.get("TOKENIZER_PATH", "./data/tokenizers/fineweb_1024_bpe.model")
VOCAB_SIZE = int(os.environ.get("VOCAB_SIZE", 1024))
SEQ_LEN = int(os.environ.get("TRAIN_SEQ_LEN", 1024))
MODEL_DIM = int(os.environ.get("MODEL_DIM", 512))
LEARNING_RATE = float(os.environ.get("LEARNING_RATE", 0.02))
MAX_WALLCLOCK_SECONDS = float(os.environ.get("MAX_WALLCLOCK_SECONDS", 600.0))
ARTIFACT = "final_model.ptz"


def load_shard(file):
    header = np.fromfile(file, dtype="<i4", count=256)
    tokens = np.fromfile(file, dtype="<u2", count=int(header[2]), offset=256 * 4)
    return torch.from_numpy(tokens.astype(np.int64))


def load_tokens(pattern):
    return torch.cat([load_shard(file) for file in sorted(glob.glob(pattern))])


def window(tokens, start):
    end = min(start + SEQ_LEN, tokens.numel() - 1)
    return tokens[start:end][None].cuda(), tokens[start + 1 : end + 1][None].cuda()


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(VOCAB_SIZE, MODEL_DIM)
        self.mix = nn.GRU(MODEL_DIM, MODEL_DIM, batch_first=True)
        self.head = nn.Linear(MODEL_DIM, VOCAB_SIZE)

    def hidden(self, x):
        return self.mix(self.embed(x))[0]

    def logits(self, x):
        return self.head(self.hidden(x))

    def forward(self, x, y):
        logits = self.logits(x)
        return F.cross_entropy(logits.reshape(-1, logits.size(-1)), y.reshape(-1))


def train(model, files=TRAIN_FILES):
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE)
    begin = time.perf_counter()
    for file in sorted(glob.glob(files)):
        tokens = load_shard(file)
        for start in range(0, tokens.numel() - 1, SEQ_LEN):
            if time.perf_counter() - begin > MAX_WALLCLOCK_SECONDS:
                return
            x, y = window(tokens, start)
            loss = model(x, y)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()


def save_artifact(model, path=ARTIFACT):
    buffer = io.BytesIO()
    torch.save({name: weight.half().cpu() for name, weight in model.state_dict().items()}, buffer)
    with open(path, "wb") as f:
        f.write(zlib.compress(buffer.getvalue(), 9))


def load_artifact(model, path=ARTIFACT):
    with open(path, "rb") as f:
        state = torch.load(io.BytesIO(zlib.decompress(f.read())))
    model.load_state_dict(state)


def evaluate(model, tokens):
    model.eval()
    loss_sum, count = 0.0, 0
    with torch.no_grad():
        for start in range(0, tokens.numel() - 1, SEQ_LEN):
            x, y = window(tokens, start)
            loss_sum += model(x, y).item() * y.numel()
            count += y.numel()
    return loss_sum / count


def count_bytes(tokens):
    pieces = spm.SentencePieceProcessor(model_file=TOKENIZER_PATH)
    length = torch.zeros(VOCAB_SIZE, dtype=torch.long)
    leading_space = torch.zeros(VOCAB_SIZE, dtype=torch.bool)
    boundary = torch.ones(VOCAB_SIZE, dtype=torch.bool)
    for i in range(pieces.vocab_size()):
        if pieces.is_control(i) or pieces.is_unknown(i) or pieces.is_unused(i):
            continue
        boundary[i] = False
        piece = pieces.id_to_piece(i)
        leading_space[i] = piece.startswith("\u2581")
        length[i] = 1 if pieces.is_byte(i) else len(piece.removeprefix("\u2581").encode())
    previous, current = tokens[:-1], tokens[1:]
    return int((length[current] + (leading_space[current] & ~boundary[previous])).sum())


def report(val_loss, tokens):
    val_bpb = val_loss / math.log(2.0) * (tokens.numel() - 1) / count_bytes(tokens)
    print(f"final val_loss:{val_loss:.8f} val_bpb:{val_bpb:.8f}")


torch.manual_seed(int(os.environ.get("SEED", 42)))
