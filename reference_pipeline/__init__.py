"""A complete, legal Parameter Golf pipeline: data, tokenizer, model, training, quantization, artifact, scoring.

One stage a module, readable top to bottom. ``python -m reference_pipeline`` runs all of them at toy size on a CPU;
`reference_pipeline.packing` turns them into a submission folder. What breaks a rule lives in
`reference_pipeline.violations` and nowhere else.
"""
