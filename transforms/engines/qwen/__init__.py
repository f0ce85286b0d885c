"""Qwen3-ASR and Qwen3-ForcedAligner on the model classes of the package qwen-asr.

The package's `transcribe()` and `align()` are not used. In the order of the data:

    checkpoint.py   a folder, a hub's name or an object store's → a checked local folder, pinned to a revision
    features.py     samples → log-mel features, once for both models
    network.py      the loaded model: features → audio embeddings, embeddings → hidden states
    decoding.py     prompts and audio embeddings → generated tokens with their log-probabilities
    answer.py       tokens → language and text, each token's place in it
    asking.py       an utterance → its prompt; tokens → a hypothesis
    recognizer.py   the plug-in: utterances → hypotheses
    placing.py      the aligner's tokens ↔ the characters of the transcript; repaired times
    aligning.py     a text → its prompt; the model's classes → word times
    aligner.py      the plug-in: texts and audio → word times
    languages.py    ISO 639 codes ↔ the models' names

torch, transformers and qwen_asr are imported where a model is loaded, and below.
"""
