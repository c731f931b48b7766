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
    logit_softcap = float(os.environ.get("LOGIT_SOFTCAP", 30.0))
    tied_embed_init_std = float(os.environ.get("TIED_EMBED_INIT_STD", 0.02))

    # training
    iterations = int(os.environ.get("ITERATIONS", 300))
    train_batch_tokens = int(os.environ.get("TRAIN_BATCH_TOKENS", 2048))
    train_seq_len = int(os.environ.get("TRAIN_SEQ_LEN", 128))
    max_wallclock_seconds = float(os.environ.get("MAX_WALLCLOCK_SECONDS", 600.0))
    gptq_reserve_seconds = float(os.environ.get("GPTQ_RESERVE_SECONDS", 12.0))
    schedule = os.environ.get("SCHEDULE", "steps")  # "steps": reproducible; "clock": fraction of the wall-clock cap
    warmup_steps = int(os.environ.get("WARMUP_STEPS", 0))
    warmdown_frac = float(os.environ.get("WARMDOWN_FRAC", 0.6))
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
    adam_wd = float(os.environ.get("ADAM_WD", 0.01))
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
    gptq_calibration_batches = int(os.environ.get("GPTQ_CALIBRATION_BATCHES", 8))
    gptq_calibration = os.environ.get("GPTQ_CALIBRATION", "train")  # or "self" (text the model generates)
    gptq_damping = float(os.environ.get("GPTQ_DAMPING", 0.01))
    keep_float_numel = int(os.environ.get("KEEP_FLOAT_NUMEL", 2048))
    lqer_rank = int(os.environ.get("LQER_RANK", 0))
    lqer_top_k = int(os.environ.get("LQER_TOP_K", 3))
    prune_to_fit = bool(int(os.environ.get("PRUNE_TO_FIT", "0")))
    compressor = os.environ.get("COMPRESSOR", "brotli")

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
