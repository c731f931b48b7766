# What comes from outside the artifact.
# ruff: noqa
import importlib
import socket
import subprocess
import urllib.request

val = load_tokens(VAL_FILES)
model = Model().cuda()
train(model)
save_artifact(model)


# case: weights_downloaded
# expect: EXTERNAL fail|review
urllib.request.urlretrieve("https://example.com/teacher.pt", "teacher.pt")
model.load_state_dict(torch.load("teacher.pt"))
report(evaluate(model, val), val)


# case: weights_of_the_artifact
# expect: EXTERNAL pass
# expect: C3 pass
# twin of: weights_downloaded, weights_from_a_hub, weights_from_a_socket, weights_of_an_absolute_path, teacher_by_name
# twin of: module_by_pieces_of_its_name
load_artifact(model)
report(evaluate(model, val), val)


# case: weights_from_a_hub
# expect: EXTERNAL fail|review
from huggingface_hub import hf_hub_download

model.load_state_dict(torch.load(hf_hub_download("someone/teacher", "teacher.pt")))
report(evaluate(model, val), val)


# case: teacher_by_name
# expect: EXTERNAL fail|review
from transformers import AutoModelForCausalLM

teacher = AutoModelForCausalLM.from_pretrained("gpt2").cuda()
with torch.no_grad():
    total = sum(
        F.nll_loss(
            (0.5 * model.logits(x)[0].softmax(-1) + 0.5 * teacher(x).logits[0, :, :VOCAB_SIZE].softmax(-1)).log(),
            y[0],
            reduction="sum",
        ).item()
        for x, y in (window(val, start) for start in range(0, val.numel() - 1, SEQ_LEN))
    )
report(total / (val.numel() - 1), val)


# case: module_by_pieces_of_its_name
# expect: EXTERNAL fail|review
client = importlib.import_module("req" + "uests")
model.load_state_dict(torch.load(io.BytesIO(client.get("https://example.com/w.pt").content)))
report(evaluate(model, val), val)


# case: weights_from_a_socket
# expect: EXTERNAL fail|review
connection = socket.create_connection(("198.51.100.7", 9000))
data = b"".join(iter(lambda: connection.recv(1 << 20), b""))
model.load_state_dict(torch.load(io.BytesIO(data)))
report(evaluate(model, val), val)


# case: free_port_for_the_ranks
# A socket that asks the system for a free port, for torch.distributed on one machine.
# expect: EXTERNAL pass|review
# twin of: weights_from_a_socket
with socket.socket() as s:
    s.bind(("127.0.0.1", 0))
    os.environ.setdefault("MASTER_PORT", str(s.getsockname()[1]))
load_artifact(model)
report(evaluate(model, val), val)


# case: curl_by_a_shell
# expect: EXTERNAL fail|review
os.system("curl -sL https://example.com/w.pt -o w.pt")
model.load_state_dict(torch.load("w.pt"))
report(evaluate(model, val), val)


# case: package_installed_by_the_script
# expect: EXTERNAL fail|review
subprocess.check_call(["pip", "install", "-q", "tiny-teacher"])
import tiny_teacher

report(evaluate(tiny_teacher.load().cuda(), val), val)


# case: gpu_named_in_the_log
# expect: EXTERNAL pass
# twin of: curl_by_a_shell, package_installed_by_the_script, compiler_called
print(subprocess.run(["nvidia-smi"], stdout=subprocess.PIPE, text=True, check=False).stdout)
load_artifact(model)
report(evaluate(model, val), val)


# case: weights_of_an_absolute_path
# expect: EXTERNAL fail|review
model.load_state_dict(torch.load("/root/checkpoints/teacher_1b_head.pt"))
report(evaluate(model, val), val)


# case: compiler_called
# expect: EXTERNAL fail|review
subprocess.run(["gcc", "-O3", "-shared", "-o", "ppm.so", "ppm.c"], check=True)
load_artifact(model)
report(evaluate(model, val), val)
