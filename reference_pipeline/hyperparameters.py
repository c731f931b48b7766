"""Every setting of a run, from the environment. Defaults are toy size for a CPU; see configurations/ for 8xH100."""

from __future__ import annotations

import os
import uuid


class Hyperparameters:
    """Settings as class attributes; assign to an instance to override one."""

    # data
    data_path = os.environ.get("DATA_PATH", "./data/datasets/fineweb10B_sp1024")
    tokenizer_path = os.environ.get("TOKENIZER_PATH", "./data/tokenizers/fineweb_1024_bpe.model")
    train_files = f"{data_path}/fineweb_train_*.bin"
    val_files = f"{data_path}/fineweb_val_*.bin"
    val_bytes_files = f"{data_path}/fineweb_val_bytes_*.bin"
    vocab_size = int(os.environ.get("VOCAB_SIZE", 512))
    bos_id = int(os.environ.get("BOS_ID", 1))
    loader = os.environ.get("LOADER", "shuffled")
    seed = int(os.environ.get("SEED", 1337))
    run_id = os.environ.get("RUN_ID", str(uuid.uuid4()))
    artifact_path = os.environ.get("ARTIFACT_PATH", "final_model.int6.ptz")
    eval_only = bool(int(os.environ.get("EVAL_ONLY", "0")))

    # model
    num_layers = int(os.environ.get("NUM_LAYERS", 4))
    model_dim = int(os.environ.get("MODEL_DIM", 96))
    num_heads = int(os.environ.get("NUM_HEADS", 4))
    num_kv_heads = int(os.environ.get("NUM_KV_HEADS", 2))
    mlp_mult = float(os.environ.get("MLP_MULT", 3.0))
    rope_dims = int(os.environ.get("ROPE_DIMS", 16))
    rope_base = float(os.environ.get("ROPE_BASE", 10000.0))
    qk_gain_init = float(os.environ.get("QK_GAIN_INIT", 4.0))
    xsa_last_n = int(os.environ.get("XSA_LAST_N", 2))
    ve_last_n = int(os.environ.get("VE_LAST_N", 1))
    ve_dim = int(os.environ.get("VE_DIM", 16))
    parallel_start = int(os.environ.get("PARALLEL_START", 3))
    loop_start = int(os.environ.get("LOOP_START", 1))
    loop_end = int(os.environ.get("LOOP_END", 2))
    num_loops = int(os.environ.get("NUM_LOOPS", 1))
    enable_looping_at = float(os.environ.get("ENABLE_LOOPING_AT", 0.5))
    smear_gate = bool(int(os.environ.get("SMEAR_GATE", "1")))
    bigram_buckets = int(os.environ.get("BIGRAM_BUCKETS", 512))
    bigram_dim = int(os.environ.get("BIGRAM_DIM", 16))
    skip_gates = bool(int(os.environ.get("SKIP_GATES", "1")))
    sigmoid_skips = bool(int(os.environ.get("SIGMOID_SKIPS", "0")))  # with SKIP_GATES=0: added through a sigmoid
    trigram = bool(int(os.environ.get("TRIGRAM", "0")))
    gated_attention = bool(int(os.environ.get("GATED_ATTENTION", "0")))
    value_residual = bool(int(os.environ.get("VALUE_RESIDUAL", "0")))
    dtg_enabled = bool(int(os.environ.get("DTG_ENABLED", "0")))
    parallel_start_layer = int(os.environ.get("PARALLEL_START_LAYER", -1))  # two lanes from here on; -1: one
    embedding_dim = int(os.environ.get("EMBEDDING_DIM", 0))  # 0: MODEL_DIM
    tie_embeddings = bool(int(os.environ.get("TIE_EMBEDDINGS", "1")))
    ln_scale = bool(int(os.environ.get("LN_SCALE", "1")))
    rope_train_seq_len = int(os.environ.get("ROPE_TRAIN_SEQ_LEN", 0))  # beyond it the base grows; 0: never
    logit_softcap = float(os.environ.get("LOGIT_SOFTCAP", 30.0))
    tied_embed_init_std = float(os.environ.get("TIED_EMBED_INIT_STD", 0.02))

    # training
    mtp_num_heads = int(os.environ.get("MTP_NUM_HEADS", 0))
    mtp_loss_weight = float(os.environ.get("MTP_LOSS_WEIGHT", 0.2))
    iterations = int(os.environ.get("ITERATIONS", 300))
    train_batch_tokens = int(os.environ.get("TRAIN_BATCH_TOKENS", 2048))
    grad_accum_steps = int(os.environ.get("GRAD_ACCUM_STEPS", 1))  # parts of a rank's batch, one after the other
    train_seq_len = int(os.environ.get("TRAIN_SEQ_LEN", 128))
    max_wallclock_seconds = float(os.environ.get("MAX_WALLCLOCK_SECONDS", 600.0))
    gptq_reserve_seconds = float(os.environ.get("GPTQ_RESERVE_SECONDS", 12.0))
    schedule = os.environ.get("SCHEDULE", "steps")  # "steps": reproducible; "clock": fraction of the wall-clock cap
    warmup_steps = int(os.environ.get("WARMUP_STEPS", 0))
    warmdown_frac = float(os.environ.get("WARMDOWN_FRAC", 0.6))
    warmdown_iters = int(os.environ.get("WARMDOWN_ITERS", 0))  # 0: WARMDOWN_FRAC
    min_lr = float(os.environ.get("MIN_LR", 0.05))
    val_loss_every = int(os.environ.get("VAL_LOSS_EVERY", 0))
    train_log_every = int(os.environ.get("TRAIN_LOG_EVERY", 50))
    checkpoint_path = os.environ.get("CHECKPOINT_PATH", "")
    checkpoint_every = int(os.environ.get("CHECKPOINT_EVERY", 0))
    compile_model = bool(int(os.environ.get("COMPILE_MODEL", "1")))  # on a GPU only
    torch_threads = int(os.environ.get("TORCH_THREADS", 0))  # 0: leave it to torch

    # optimizers
    embed_lr = float(os.environ.get("EMBED_LR", 0.03))
    matrix_lr = float(os.environ.get("MATRIX_LR", 0.03))
    scalar_lr = float(os.environ.get("SCALAR_LR", 0.02))
    muon_momentum = float(os.environ.get("MUON_MOMENTUM", 0.95))
    muon_momentum_warmup_start = float(os.environ.get("MUON_MOMENTUM_WARMUP_START", 0.85))
    muon_momentum_warmup_steps = int(os.environ.get("MUON_MOMENTUM_WARMUP_STEPS", 0))  # 0: MUON_MOMENTUM from the start
    muon_backend_steps = int(os.environ.get("MUON_BACKEND_STEPS", 5))
    muon_backend = os.environ.get("MUON_BACKEND", "newton_schulz")  # or "polar_express"
    muon_row_normalize = bool(int(os.environ.get("MUON_ROW_NORMALIZE", "1")))
    muon_wd = float(os.environ.get("MUON_WD", 0.02))
    muon_banks = bool(int(os.environ.get("MUON_BANKS", "0")))  # matrices of one shape orthogonalized as one batch
    embed_wd = float(os.environ.get("EMBED_WD", 0.01))
    adam_wd = float(os.environ.get("ADAM_WD", 0.0))  # of gains, scales and gates
    head_lr = float(os.environ.get("HEAD_LR", 0.008))  # of an untied output matrix and of MTP heads
    beta1 = float(os.environ.get("BETA1", 0.9))
    beta2 = float(os.environ.get("BETA2", 0.95))
    adam_eps = float(os.environ.get("ADAM_EPS", 1e-8))
    grad_clip_norm = float(os.environ.get("GRAD_CLIP_NORM", 0.3))
    averaging = os.environ.get("AVERAGING", "ema")  # "ema", "swa", "lawa" or "none"
    ema_decay = float(os.environ.get("EMA_DECAY", 0.98))
    swa_start_frac = float(os.environ.get("SWA_START_FRAC", 0.9))
    swa_every = int(os.environ.get("SWA_EVERY", 5))
    lawa_k = int(os.environ.get("LAWA_K", 10))
    lawa_freq = int(os.environ.get("LAWA_FREQ", 10))
    late_qat_threshold = float(os.environ.get("LATE_QAT_THRESHOLD", 0.0))  # learning rate scale below which QAT is on

    # quantization and artifact
    matrix_bits = int(os.environ.get("MATRIX_BITS", 6))
    embed_bits = int(os.environ.get("EMBED_BITS", 8))
    matrix_clip_sigmas = float(os.environ.get("MATRIX_CLIP_SIGMAS", 12.85))
    embed_clip_sigmas = float(os.environ.get("EMBED_CLIP_SIGMAS", 20.0))
    gptq_enabled = bool(int(os.environ.get("GPTQ_ENABLED", "1")))
    gptq_embeddings = bool(int(os.environ.get("GPTQ_EMBEDDINGS", "1")))  # 0: embeddings to nearest
    gptq_calibration_batches = int(os.environ.get("GPTQ_CALIBRATION_BATCHES", 8))
    gptq_calibration = os.environ.get("GPTQ_CALIBRATION", "train")  # or "self" (text the model generates)
    gptq_calibration_temperature = float(os.environ.get("GPTQ_CALIBRATION_TEMPERATURE", 1.0))  # of its own text
    sdclip_enabled = bool(int(os.environ.get("SDCLIP_ENABLED", "1")))  # 0: the best of five percentiles
    gptq_damping = float(os.environ.get("GPTQ_DAMPING", 0.01))
    keep_float_numel = int(os.environ.get("KEEP_FLOAT_NUMEL", 2048))
    lqer_rank = int(os.environ.get("LQER_RANK", 0))
    lqer_top_k = int(os.environ.get("LQER_TOP_K", 3))
    prune_to_fit = bool(int(os.environ.get("PRUNE_TO_FIT", "0")))
    compressor = os.environ.get("COMPRESSOR", "brotli")  # or "lzma", "zstd", "rans", "auto"

    # scoring
    val_batch_size = int(os.environ.get("VAL_BATCH_SIZE", 4096))  # tokens
    eval_seq_len = int(os.environ.get("EVAL_SEQ_LEN", 128))
    eval_stride = int(os.environ.get("EVAL_STRIDE", 64))
    sliding_window_enabled = bool(int(os.environ.get("SLIDING_WINDOW_ENABLED", "1")))
    document_eval_enabled = bool(int(os.environ.get("DOCUMENT_EVAL_ENABLED", "0")))

    # adaptation on tokens already scored
    ttt_enabled = bool(int(os.environ.get("TTT_ENABLED", "0")))
    ttt_lr = float(os.environ.get("TTT_LR", 0.005))
    ttt_momentum = float(os.environ.get("TTT_MOMENTUM", 0.9))
    ttt_epochs = int(os.environ.get("TTT_EPOCHS", 3))
    ttt_chunk_tokens = int(os.environ.get("TTT_CHUNK_TOKENS", 1024))
    ttt_batch_seqs = int(os.environ.get("TTT_BATCH_SEQS", 8))
    ttt_cosine_decay = bool(int(os.environ.get("TTT_COSINE_DECAY", "0")))  # TTT_LR falls to zero along the chunks
    ttt_freeze_blocks = int(os.environ.get("TTT_FREEZE_BLOCKS", 0))  # first blocks that TTT leaves alone
    lora_ttt_enabled = bool(int(os.environ.get("LORA_TTT_ENABLED", "0")))
    ttt_lora_rank = int(os.environ.get("TTT_LORA_RANK", 4))
    ttt_lora_lr = float(os.environ.get("TTT_LORA_LR", 0.03))
    ttt_lora_chunk = int(os.environ.get("TTT_LORA_CHUNK", 32))  # tokens scored between two updates
    ttt_doc_batch = int(os.environ.get("TTT_DOC_BATCH", 16))  # documents side by side, each with its own LoRA
    phased_ttt_enabled = bool(int(os.environ.get("PHASED_TTT_ENABLED", "0")))
    phased_ttt_num_phases = int(os.environ.get("PHASED_TTT_NUM_PHASES", 3))
    global_ttt_lr = float(os.environ.get("GLOBAL_TTT_LR", 0.03))
    global_ttt_epochs = int(os.environ.get("GLOBAL_TTT_EPOCHS", 1))
    ttt_grad_clip = float(os.environ.get("TTT_GRAD_CLIP", 1.0))
    slot_causal = bool(int(os.environ.get("SLOT_CAUSAL", "0")))
    slot_segment_tokens = int(os.environ.get("SLOT_SEGMENT_TOKENS", 65536))
    slot_focal_tokens = int(os.environ.get("SLOT_FOCAL_TOKENS", 128))
    slot_lbfgs = bool(int(os.environ.get("SLOT_LBFGS", "1")))  # bias on the logits; 0: AdamW, delta on hidden states
    slot_lbfgs_max_iter = int(os.environ.get("SLOT_LBFGS_MAX_ITER", 25))
    slot_lbfgs_history = int(os.environ.get("SLOT_LBFGS_HISTORY", 20))
    slot_delta_clip = float(os.environ.get("SLOT_DELTA_CLIP", 0.3))  # 5 in #1550 and #1758: far too far for 128 targets
    slot_lr = float(os.environ.get("SLOT_LR", 0.005))
    slot_steps = int(os.environ.get("SLOT_STEPS", 8))
