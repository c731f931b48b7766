"""nvidia-smi of a machine with one H100, enough for a script that logs it."""

import sys

QUERY = {"name": "NVIDIA H100 80GB HBM3", "memory.total": "81559 MiB", "driver_version": "570.00", "index": "0"}
asked = next((word.partition("=")[2] for word in sys.argv[1:] if word.startswith("--query-gpu=")), None)
if asked:
    print(", ".join(QUERY.get(field.strip(), "0") for field in asked.split(",")))
else:
    print(
        "NVIDIA-SMI 570.00    Driver Version: 570.00    CUDA Version: 12.8\n0  NVIDIA H100 80GB HBM3  0MiB / 81559MiB"
    )
