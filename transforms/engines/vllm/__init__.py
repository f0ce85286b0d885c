"""Qwen3-ASR and Qwen3-ForcedAligner in vLLM, in the worker's own process: continuous batching over all that a task has.

    spec.py         what both specs say of their engine
    serving.py      vLLM's engine: requests in, answers out, a step at a time
    recognizer.py   the plug-in: utterances → hypotheses
    aligner.py      the plug-in: texts and audio → word times

What is asked and what an answer means is the engine `qwen`'s (transforms.engines.qwen: asking, answer, placing). vLLM
wants other versions of torch and transformers than qwen-asr, and so an environment of its own (make setup-vllm). It is
imported where a model is loaded, and below.
"""
