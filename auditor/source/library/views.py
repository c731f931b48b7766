"""Names of attributes and methods that give sizes, a view of the same storage, or the thing itself."""

from __future__ import annotations

METADATA = frozenset(
    "shape size numel dtype device ndim dim nbytes element_size itemsize is_cuda requires_grad is_contiguous "
    "stride is_floating_point __len__ st_size stat layout names".split()
)
VIEWS = frozenset(
    "data detach view reshape flatten transpose permute T mT squeeze unsqueeze expand contiguous weight bias "
    "numpy data_ptr data_as untyped_storage storage grad_fn as_strided from_numpy asarray ravel unfold "
    "diagonal "
    "parameters buffers named_parameters named_buffers modules named_modules children named_children "
    "state_dict items values keys narrow chunk split unbind select view_as expand_as param_groups module "
    "_orig_mod".split()
)
RETURNING_SELF = frozenset(
    "eval train to cuda cpu half bfloat16 float double requires_grad_ zero_grad apply compile share_memory "
    "to_empty type".split()
)
