# Models that see later tokens of their window, and with them the one that they predict.
# ruff: noqa
from flash_attn_interface import flash_attn_func as attend

val = load_tokens(VAL_FILES)


def look_at_all(q, k, v):
    return F.scaled_dot_product_attention(q, k, v)


class Base(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(VOCAB_SIZE, MODEL_DIM)
        self.qkv = nn.Linear(MODEL_DIM, 3 * MODEL_DIM)
        self.head = nn.Linear(MODEL_DIM, VOCAB_SIZE)

    def parts(self, x):
        return self.qkv(self.embed(x)).chunk(3, dim=-1)

    def loss(self, hidden, y):
        logits = self.head(hidden)
        return F.cross_entropy(logits.reshape(-1, logits.size(-1)), y.reshape(-1))


class Unmasked(Base):
    def forward(self, x, y):
        q, k, v = self.parts(x)
        return self.loss(F.scaled_dot_product_attention(q, k, v), y)


class NotCausal(Base):
    def forward(self, x, y):
        q, k, v = self.parts(x)
        return self.loss(F.scaled_dot_product_attention(q, k, v, attn_mask=None, is_causal=False), y)


class Causal(Base):
    def forward(self, x, y):
        q, k, v = self.parts(x)
        return self.loss(F.scaled_dot_product_attention(q, k, v, is_causal=True), y)


class Masked(Base):
    def forward(self, x, y):
        q, k, v = self.parts(x)
        mask = torch.ones(x.size(1), x.size(1), dtype=torch.bool, device=x.device).tril()
        return self.loss(F.scaled_dot_product_attention(q, k, v, attn_mask=mask), y)


class Flash(Base):
    def forward(self, x, y):
        q, k, v = self.parts(x)
        return self.loss(attend(q, k, v), y)


class CausalFlash(Base):
    def forward(self, x, y):
        q, k, v = self.parts(x)
        return self.loss(attend(q, k, v, causal=True), y)


class ByHelper(Base):
    def forward(self, x, y):
        q, k, v = self.parts(x)
        return self.loss(look_at_all(q, k, v), y)


class ByHand(Base):
    def forward(self, x, y):
        q, k, v = self.parts(x)
        weights = F.softmax((q @ k.transpose(-2, -1)) / MODEL_DIM**0.5, dim=-1)
        return self.loss(weights @ v, y)


class ByHandInSteps(Base):
    def forward(self, x, y):
        q, k, v = self.parts(x)
        scores = torch.matmul(q, k.transpose(1, 2))
        scores = scores * MODEL_DIM**-0.5
        return self.loss(scores.softmax(-1) @ v, y)


class MaskedByHand(Base):
    def forward(self, x, y):
        q, k, v = self.parts(x)
        scores = (q @ k.transpose(-2, -1)) / MODEL_DIM**0.5
        later = torch.ones(x.size(1), x.size(1), dtype=torch.bool, device=x.device).triu(1)
        weights = F.softmax(scores.masked_fill(later, float("-inf")), dim=-1)
        return self.loss(weights @ v, y)


class OverTheVocabulary(Base):
    def forward(self, x, y):
        hidden = self.embed(x)
        likely = F.softmax(hidden @ self.embed.weight.transpose(0, 1), dim=-1)
        return self.loss(hidden + likely @ self.embed.weight, y)


class WithoutItself(Base):
    def forward(self, x, y):
        q, k, v = self.parts(x)
        later = torch.ones(x.size(1), x.size(1), dtype=torch.bool, device=x.device).triu(1)
        scores = torch.bmm(q, k.transpose(1, 2)).masked_fill(later, -1e4)
        scores.diagonal(dim1=1, dim2=2).fill_(-1e4)
        return self.loss(F.softmax(scores, dim=-1) @ v, y)


class WithItself(Base):
    def forward(self, x, y):
        q, k, v = self.parts(x)
        later = torch.ones(x.size(1), x.size(1), dtype=torch.bool, device=x.device).triu(1)
        scores = torch.bmm(q, k.transpose(1, 2)).masked_fill(later, -1e4)
        scores.diagonal(dim1=1, dim2=2).add_(1.0)
        return self.loss(F.softmax(scores, dim=-1) @ v, y)


class Centred(Base):
    def __init__(self, width=5):
        super().__init__()
        padding = (width - 1) // 2
        self.conv = nn.Conv1d(MODEL_DIM, MODEL_DIM, width, padding=padding)

    def forward(self, x, y):
        return self.loss(self.conv(self.embed(x).transpose(1, 2)).transpose(1, 2), y)


class CentredByNumbers(Base):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(MODEL_DIM, MODEL_DIM, kernel_size=3, padding=1)

    def forward(self, x, y):
        return self.loss(self.conv(self.embed(x).transpose(1, 2)).transpose(1, 2), y)


class OneSided(Base):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(MODEL_DIM, MODEL_DIM, kernel_size=3, padding=2)

    def forward(self, x, y):
        mixed = self.conv(self.embed(x).transpose(1, 2))[..., : x.size(1)]
        return self.loss(mixed.transpose(1, 2), y)


class BothDirections(Base):
    def __init__(self):
        super().__init__()
        self.mix = nn.GRU(MODEL_DIM, MODEL_DIM // 2, batch_first=True, bidirectional=True)

    def forward(self, x, y):
        return self.loss(self.mix(self.embed(x))[0], y)


class OneDirection(Base):
    def __init__(self):
        super().__init__()
        self.mix = nn.GRU(MODEL_DIM, MODEL_DIM, batch_first=True)

    def forward(self, x, y):
        return self.loss(self.mix(self.embed(x))[0], y)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(MODEL_DIM, 3 * MODEL_DIM)

    def forward(self, x):
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        return x + F.scaled_dot_product_attention(q, k, v)


class OfBlocks(Base):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([Block() for _ in range(4)])

    def forward(self, x, y):
        hidden = self.embed(x)
        for block in self.blocks:
            hidden = block(hidden)
        return self.loss(hidden, y)


class OfInheritedBlocks(OfBlocks):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(MODEL_DIM))


class MayHaveABlock(Base):
    def __init__(self):
        super().__init__()
        self.encoder = Block() if int(os.environ.get("ENCODER", "0")) else None

    def forward(self, x, y):
        hidden = self.embed(x)
        if self.encoder is not None:
            hidden = self.encoder(hidden)
        return self.loss(hidden, y)


def score(model):
    model = model.cuda()
    train(model)
    save_artifact(model)
    load_artifact(model)
    report(evaluate(model, val), val)


# case: attention_without_a_mask
# expect: C1 review|fail
score(Unmasked())


# case: attention_that_says_it_is_not_causal
# expect: C1 review|fail
score(NotCausal())


# case: flash_attention_under_another_name_without_causal
# expect: C1 review|fail
score(Flash())


# case: attention_in_a_helper_function
# expect: C1 review|fail
score(ByHelper())


# case: attention_by_hand_without_a_mask
# expect: C1 review|fail
score(ByHand())


# case: attention_by_hand_in_steps
# expect: C1 review|fail
score(ByHandInSteps())


# case: first_place_left_with_nothing
# Equal numbers in the first row, later places among them: a softmax takes the mean over the whole window.
# expect: C1 review|fail
score(WithoutItself())


# case: convolution_centred_on_each_token
# expect: C1 review|fail
score(Centred())


# case: convolution_centred_by_numbers
# expect: C1 review|fail
score(CentredByNumbers())


# case: recurrence_in_both_directions
# expect: C1 review|fail
score(BothDirections())


# case: attention_without_a_mask_in_a_list_of_blocks
# expect: C1 review|fail
score(OfBlocks())


# case: attention_without_a_mask_in_inherited_blocks
# expect: C1 review|fail
score(OfInheritedBlocks())


# case: attention_that_is_causal
# expect: C1 pass
# twin of: attention_without_a_mask, attention_that_says_it_is_not_causal
# twin of: attention_without_a_mask_in_inherited_blocks
# twin of: attention_without_a_mask_in_a_list_of_blocks, attention_in_a_helper_function
score(Causal())


# case: attention_with_a_mask
# expect: C1 pass
# twin of: attention_without_a_mask
score(Masked())


# case: flash_attention_that_is_causal
# expect: C1 pass
# twin of: flash_attention_under_another_name_without_causal
score(CausalFlash())


# case: attention_by_hand_with_a_mask
# expect: C1 pass
# twin of: attention_by_hand_without_a_mask, attention_by_hand_in_steps
score(MaskedByHand())


# case: softmax_over_the_vocabulary
# expect: C1 pass
# twin of: attention_by_hand_without_a_mask
score(OverTheVocabulary())


# case: first_place_sees_itself
# expect: C1 pass
# twin of: first_place_left_with_nothing
score(WithItself())


# case: convolution_cut_to_the_tokens_before
# expect: C1 pass
# twin of: convolution_centred_on_each_token, convolution_centred_by_numbers
score(OneSided())


# case: recurrence_in_one_direction
# expect: C1 pass
# twin of: recurrence_in_both_directions
score(OneDirection())


# case: encoder_that_is_off
# expect: C1 pass
# twin of: attention_without_a_mask_in_a_list_of_blocks, encoder_that_is_on
score(MayHaveABlock())


# case: encoder_that_is_on
# expect: C1 review|fail
# setting: ENCODER=1
score(MayHaveABlock())


# case: means_of_blocks
# expect: C1 fail|review
class Blocks(Base):
    def forward(self, x, y):
        hidden = self.embed(x)
        b, t, d = hidden.shape
        means = hidden.view(b, t // 4, 4, d).mean(dim=2).repeat_interleave(4, dim=1)
        return self.loss(hidden + means, y)


model = Blocks().cuda()
train(model)
report(evaluate(model, val), val)


# case: wavelet_of_places
# expect: C1 fail|review
class Wavelet(Base):
    def forward(self, x, y):
        hidden = self.embed(x)
        result = hidden
        for scale in (2, 4, 8):
            padded = F.pad(hidden, (0, 0, 0, scale - hidden.size(-2) % scale))
            blocks = padded.unfold(-2, scale, scale)
            spread = blocks.mean(dim=-1).repeat_interleave(scale, dim=-2)[..., : hidden.size(-2), :]
            result = result + hidden - spread
        return self.loss(result, y)


model = Wavelet().cuda()
train(model)
report(evaluate(model, val), val)


# case: merged_in_pairs
# Two places become one by learned weights, and two again by projections.
# expect: C1 fail|review
class Merge(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.size = size
        self.weights = nn.Parameter(torch.ones(size) / size)

    def forward(self, x):
        b, t, d = x.shape
        k = self.size
        x = F.pad(x, (0, 0, 0, (k - t % k) % k))
        whole = x.shape[1]
        x = x.reshape(b, whole // k, k, d)
        return (x * self.weights.softmax(0)[None, None, :, None]).sum(dim=2)


class Merged(Base):
    def __init__(self):
        super().__init__()
        self.merge = Merge(2)
        self.apart = nn.ModuleList([nn.Linear(MODEL_DIM, MODEL_DIM) for _ in range(2)])

    def forward(self, x, y):
        pairs = self.merge(self.embed(x))
        hidden = torch.stack([part(pairs) for part in self.apart], dim=2).flatten(1, 2)
        return self.loss(hidden[:, : x.size(1)], y)


model = Merged().cuda()
train(model)
report(evaluate(model, val), val)


# case: pooled_and_stretched
# expect: C1 fail|review
class Pooled(Base):
    def forward(self, x, y):
        hidden = self.embed(x).transpose(1, 2)
        coarse = F.avg_pool1d(hidden, 4)
        return self.loss((hidden + F.interpolate(coarse, scale_factor=4)).transpose(1, 2), y)


model = Pooled().cuda()
train(model)
report(evaluate(model, val), val)


# case: means_of_earlier_blocks
# The mean of a block is given to the places of the next one.
# expect: C1 pass
# twin of: means_of_blocks, wavelet_of_places, merged_in_pairs
class EarlierBlocks(Base):
    def forward(self, x, y):
        hidden = self.embed(x)
        b, t, d = hidden.shape
        means = hidden.view(b, t // 4, 4, d).mean(dim=2)
        before = torch.cat([torch.zeros_like(means[:, :1]), means[:, :-1]], dim=1)
        return self.loss(hidden + before.repeat_interleave(4, dim=1), y)


model = EarlierBlocks().cuda()
train(model)
report(evaluate(model, val), val)


# case: groups_of_heads_and_features
# Heads that share keys, features normalised in groups, a pool that looks back alone.
# expect: C1 pass
# twin of: means_of_blocks, merged_in_pairs, pooled_and_stretched
class Grouped(Base):
    def forward(self, x, y):
        q, k, v = self.parts(x)
        b, t, d = q.shape
        k = k.view(b, t, 4, d // 4).repeat_interleave(2, dim=2).reshape(b, t, 2 * d)[..., :d]
        heads = v.view(b, t, 4, d // 4).mean(dim=2).repeat(1, 1, 4)
        spread = q.view(b, t, d // 8, 8)
        q = ((spread - spread.mean(dim=-1, keepdim=True)) / spread.std(dim=-1, keepdim=True)).flatten(2)
        back = F.avg_pool1d(F.pad(v.transpose(1, 2), (3, 0)), 4, stride=1).transpose(1, 2)
        return self.loss(F.scaled_dot_product_attention(q, k, heads + back, is_causal=True), y)


model = Grouped().cuda()
train(model)
report(evaluate(model, val), val)
