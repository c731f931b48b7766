"""Muon for matrices, AdamW for embeddings, heads and scalars, gradient clipping, and the learning-rate schedule."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from reference_pipeline.distributed import gather_over_ranks, rank_and_world, sum_over_ranks
from reference_pipeline.hyperparameters import Hyperparameters

# x -> a x + b x^3 + c x^5, applied to singular values. One set five times (Jordan et al., 2024) ...
NEWTON_SCHULZ = ((3.4445, -4.7750, 2.0315),) * 5
# ... or the optimal set for each step (Polar Express, Amsel et al., 2025, arXiv 2505.16932, lower bound 1e-3).
POLAR_EXPRESS = (
    (8.28721201814563, -23.595886519098837, 17.300387312530933),
    (4.107059111542203, -2.9478499167379106, 0.5448431082926601),
    (3.9486908534822946, -2.908902115962949, 0.5518191394370137),
    (3.3184196573706015, -2.488488024314874, 0.51004894012372),
    (2.300652019954817, -1.6689039845749307, 0.4188073119525673),
    (1.891301407787398, -1.2679958271945868, 0.37680408948524835),
    (1.875, -1.25, 0.375),
)
COEFFICIENTS = {"newton_schulz": NEWTON_SCHULZ, "polar_express": POLAR_EXPRESS}


def orthogonalize(matrix: Tensor, backend: str = "newton_schulz", steps: int = 5) -> Tensor:
    """Approximately U V^T of matrix = U S V^T, (rows, columns) or (N, rows, columns); singular values end near 1.

    Newton-Schulz leaves them in about 0.7..1.2, Polar Express converges. bfloat16 on a GPU, float32 on a CPU.
    """
    x = matrix.bfloat16() if matrix.is_cuda else matrix.float()
    length = x.norm() if x.ndim == 2 else x.norm(dim=(1, 2), keepdim=True)
    x = x / (length * 1.01 + 1e-7)
    transposed = x.size(-2) > x.size(-1)
    if transposed:
        x = x.mT
    table = COEFFICIENTS[backend]
    for step in range(steps):
        a, b, c = table[min(step, len(table) - 1)]
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.mT if transposed else x).to(matrix.dtype)


class Muon(torch.optim.Optimizer):
    """Momentum, then the nearest orthogonal matrix. Across ranks every rank orthogonalizes its share of the matrices.

    `row_normalize` (MuonEq-R) gives the rows of the momentum equal length before the orthogonalization. With `banks`
    matrices of one shape are orthogonalized as one batch, and while a rank's share of one bank is gathered from the
    others, it works on the next (parallel Muon).
    """

    def __init__(
        self,
        params,
        lr: float,
        momentum: float,
        backend: str,
        backend_steps: int,
        weight_decay: float,
        row_normalize: bool,
        banks: bool = False,
    ):
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "backend": backend,
            "backend_steps": backend_steps,
            "weight_decay": weight_decay,
            "row_normalize": row_normalize,
            "banks": banks,
        }
        super().__init__(params, defaults)

    def take_gradient(self, parameter: Tensor, momentum: float) -> Tensor:
        """Move the momentum towards the gradient; the new momentum (rows, columns)."""
        state = self.state[parameter]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(parameter)
        return state["momentum"].lerp_(parameter.grad, 1 - momentum)

    def direction(self, group: dict, parameter: Tensor) -> Tensor:
        """What is orthogonalized (rows, columns): Nesterov's look ahead, with rows of equal length for MuonEq-R."""
        nesterov = parameter.grad.lerp(self.state[parameter]["momentum"], group["momentum"])
        return nesterov / (nesterov.norm(dim=1, keepdim=True) + 1e-7) if group["row_normalize"] else nesterov

    def apply(self, group: dict, parameter: Tensor, update: Tensor) -> None:
        """Decay the weights and take the step `update` (rows, columns)."""
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.add_(update, alpha=-group["lr"])

    @torch.no_grad()
    def step(self, closure=None) -> None:
        """One update of every matrix that has a gradient."""
        rank, world_size = rank_and_world()
        for group in self.param_groups:
            if group["banks"]:
                self.step_banks(group)
                continue
            for index, parameter in enumerate(group["params"]):
                if parameter.grad is None:
                    continue
                self.take_gradient(parameter, group["momentum"])
                update = torch.zeros_like(parameter)
                if index % world_size == rank:
                    update = orthogonalize(self.direction(group, parameter), group["backend"], group["backend_steps"])
                    update = update * max(1.0, parameter.size(0) / parameter.size(1)) ** 0.5
                sum_over_ranks(update)
                self.apply(group, parameter, update)

    def step_banks(self, group: dict) -> None:
        """The same update with all matrices of one shape in one batch; each rank makes its share of every bank."""
        rank, world_size = rank_and_world()
        banks: dict[torch.Size, list[Tensor]] = {}
        for parameter in group["params"]:
            if parameter.grad is not None:
                self.take_gradient(parameter, group["momentum"])
                banks.setdefault(parameter.shape, []).append(parameter)
        gathered = []
        for shape, bank in banks.items():
            share = -(-len(bank) // world_size)
            mine = bank[rank * share : (rank + 1) * share]
            updates = bank[0].new_zeros(share, *shape)
            if mine:
                directions = torch.stack([self.direction(group, parameter) for parameter in mine])
                updates[: len(mine)] = orthogonalize(directions, group["backend"], group["backend_steps"])
            gathered.append((bank, *gather_over_ranks(updates * max(1.0, shape[0] / shape[1]) ** 0.5)))
        for bank, updates, wait in gathered:
            wait()
            for parameter, update in zip(bank, updates, strict=False):  # the last share may be padded
                self.apply(group, parameter, update)


class Optimizers:
    """All optimizers of a model as one."""

    def __init__(self, h: Hyperparameters, model: nn.Module):
        named = list(model.named_parameters())
        embeddings = [p for name, p in named if p.ndim == 2 and "emb" in name and "proj" not in name]
        heads = [p for name, p in named if name.startswith(("lm_head.", "mtp_heads."))]
        others = {id(p) for p in [*embeddings, *heads]}
        matrices = [p for name, p in named if p.ndim == 2 and name.endswith(".weight") and id(p) not in others]
        taken = others | {id(p) for p in matrices}
        scalars = [p for _, p in named if id(p) not in taken]
        fused = next(model.parameters()).is_cuda
        adam = {"betas": (h.beta1, h.beta2), "eps": h.adam_eps, "fused": fused}
        self.optimizers = [
            torch.optim.AdamW(embeddings, lr=h.embed_lr, weight_decay=h.embed_wd, **adam),
            Muon(
                matrices,
                h.matrix_lr,
                h.muon_momentum,
                h.muon_backend,
                h.muon_backend_steps,
                h.muon_wd,
                h.muon_row_normalize,
                h.muon_banks,
            ),
            torch.optim.AdamW(scalars, lr=h.scalar_lr, weight_decay=h.adam_wd, **adam),
        ]
        if heads:
            self.optimizers.append(torch.optim.AdamW(heads, lr=h.head_lr, weight_decay=0.0, **adam))
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["base_lr"] = group["lr"]
        self.grad_clip_norm = h.grad_clip_norm
        self.model = model

    def step(self, lr_scale: float, muon_momentum: float | None = None) -> None:
        """Clip, update everything with its learning rate times `lr_scale`, clear the gradients."""
        if self.grad_clip_norm > 0:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.grad_clip_norm)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["base_lr"] * lr_scale
                if muon_momentum is not None and isinstance(optimizer, Muon):
                    group["momentum"] = muon_momentum
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    def state(self) -> list[dict]:
        """States of all optimizers, for a checkpoint."""
        return [optimizer.state_dict() for optimizer in self.optimizers]

    def restore(self, states: list[dict]) -> None:
        """Take up `states`."""
        for optimizer, state in zip(self.optimizers, states, strict=True):
            optimizer.load_state_dict(state)


def learning_rate_scale(fraction: float, warmdown_frac: float, min_lr: float) -> float:
    """1 until the last `warmdown_frac` of training (fraction in 0..1), then linearly down to `min_lr`."""
    if warmdown_frac <= 0 or fraction <= 1 - warmdown_frac:
        return 1.0
    return max((1 - fraction) / warmdown_frac, min_lr)


def momentum_at(step: int, start: float, final: float, warmup_steps: int) -> float:
    """Muon's momentum: from `start` linearly to `final` over the first `warmup_steps` steps, then `final`."""
    warmed = min(step / warmup_steps, 1.0) if warmup_steps > 0 else 1.0
    return start + warmed * (final - start)
