"""What the package qwen-asr 0.0.6 gets wrong, a test a line: numbers as in the list of its faults, first those of
correctness, then those of speed."""

from __future__ import annotations

import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from schemas.config import RetryConfig
from tests.engines.qwen.conftest import TINY, Clip
from tests.kit.aligning import align_all
from transforms.audio.decoders import DecodeReport
from transforms.audio.reading import read_audio
from transforms.engines import AlignmentRequest, Hypothesis, Utterance
from transforms.engines.qwen import features as features_module
from transforms.engines.qwen.aligner import QwenAlignerSpec
from transforms.engines.qwen.aligning import word_times
from transforms.engines.qwen.answer import read_answer
from transforms.engines.qwen.features import log_mel, padded_length
from transforms.engines.qwen.network import audio_tokens
from transforms.engines.qwen.recognizer import QwenSpec
from transforms.errors import RecordingError
from transforms.recognition import second_try
from transforms.recognition.second_try import Tries, find_doubts, recognize_all
from transforms.text.words import split_words

RATE = 16_000


def request(clip: Clip, text: str | None = None, language: str | None = None) -> AlignmentRequest:
    text, language = text or clip.reference, language or clip.language
    return AlignmentRequest(clip.samples, text, tuple(split_words(text, language)), language)


def long_samples(sentences: list[Clip], seconds: float) -> Any:
    return np.resize(np.concatenate([clip.samples for clip in sentences]), int(seconds * RATE))


def test_the_engine_equals_the_package_on_single_clips_below_8_s(
    recognizer: Any, package_recognizer: Any, sentences: list[Clip]
) -> None:
    for clip in sentences:
        whole = clip.samples[: len(clip.samples) // 160 * 160]
        (ours,) = recognizer.recognize([Utterance(whole)])
        theirs = package_recognizer.transcribe((whole, RATE))[0]
        assert ours.text == theirs.text
        name = {"English": "en", "German": "de", "": None}[theirs.language]
        assert ours.language == name


def test_the_aligner_equals_the_package_on_single_clips_below_8_s(
    aligner: Any, package_aligner: Any, sentences: list[Clip]
) -> None:
    compared = 0
    for clip in sentences:
        whole = clip._replace(samples=clip.samples[: len(clip.samples) // 160 * 160])
        (ours,) = aligner.align([request(whole)])
        name = {"en": "English", "de": "German"}[clip.language or ""]
        theirs = package_aligner.align((whole.samples, RATE), clip.reference, name)[0]
        if any(time.estimated for time in ours):  # times that ran backwards: the two mend them in their own ways
            continue
        compared += len(ours)
        assert [(our.start_ms, our.end_ms) for our in ours] == [
            (round(their.start_time * 1000), round(their.end_time * 1000)) for their in theirs
        ]
    assert compared > 20


def test_1_the_encoder_attends_within_8_s(recognizer: Any, package_recognizer: Any, sentences: list[Clip]) -> None:
    import torch

    network = recognizer._network
    mel = log_mel(long_samples(sentences, 12), network.mel_filters)
    with torch.inference_mode():
        alone, together = network.encode([mel[:, :800]])[0], network.encode([mel])[0]
        assert torch.allclose(alone, together[:104], atol=1e-4)
        tower = package_recognizer.model.thinker.audio_tower
        theirs = [
            tower(part, feature_lens=torch.tensor([part.shape[1]])).last_hidden_state for part in (mel[:, :800], mel)
        ]
    assert torch.allclose(alone, theirs[0], atol=1e-4)
    assert not torch.allclose(theirs[0], theirs[1][:104], atol=1e-2), "the package was mended: so can the engine be"


def test_2_a_text_that_reaches_the_token_limit_is_tried_by_halves_and_flagged(sentences: list[Clip]) -> None:
    clip = max(sentences, key=lambda clip: len(clip.words))
    short = QwenSpec(model=str(TINY / "recognizer"), tokens_per_s=0.01).checked().load()
    short_limit = short._spec.tokens_per_s
    assert short_limit < 0.1
    (cut,) = short.recognize([Utterance(np.concatenate([clip.samples] * 3))])
    assert cut.finish == "length"
    tries = Tries()
    (result,) = recognize_all(short, [Utterance(np.concatenate([clip.samples] * 3))], RetryConfig(), tries)
    assert tries.second >= 1
    assert isinstance(result, Hypothesis)
    assert result.finish == "stop" or "truncated" in result.flags


def test_2_the_token_limit_grows_with_the_audio(recognizer: Any) -> None:
    audio = np.zeros(30 * RATE, np.float32)
    assert recognizer._most(Utterance(audio)) >= 30 * 16


def test_3_halves_are_joined_with_a_space(
    recognizer: Any, sentences: list[Clip], monkeypatch: pytest.MonkeyPatch
) -> None:
    english = [clip for clip in sentences if clip.language == "en"][:2]
    gap = np.zeros(RATE, np.float32)
    samples = np.concatenate([english[0].samples, gap, english[1].samples])
    whole = {len(samples): ("repetition",)}
    monkeypatch.setattr(second_try, "find_doubts", lambda _, seconds: whole.get(round(seconds * RATE), ()))
    (joined,) = recognize_all(recognizer, [Utterance(samples)], RetryConfig(min_audio_ms=200), Tries())
    assert isinstance(joined, Hypothesis)
    assert joined.text == f"{english[0].reference} {english[1].reference}"
    assert all(joined.text[token.char_start : token.char_end].strip() for token in joined.tokens)


def test_5_neither_features_nor_text_depend_on_the_batch(recognizer: Any, sentences: list[Clip]) -> None:
    filters = recognizer._network.mel_filters
    odd = [Utterance(clip.samples[: len(clip.samples) - 80 - index]) for index, clip in enumerate(sentences)]
    for utterance in odd:
        frames = log_mel(utterance.samples, filters).shape[1]
        assert frames == padded_length(len(utterance.samples)) // 160
    together = recognizer.recognize(odd)
    alone = [recognizer.recognize([utterance])[0] for utterance in odd]
    assert [h.text for h in together] == [h.text for h in alone]
    for left, right in zip(together, alone, strict=True):
        assert left.mean_logprob == pytest.approx(right.mean_logprob, abs=1e-3)


@pytest.mark.parametrize("samples", [0, 1, 100, 199, 200, 1600, 7999])
def test_6_short_clips_cost_nothing_but_themselves(recognizer: Any, sentences: list[Clip], samples: int) -> None:
    clip = sentences[0]
    short, whole = recognizer.recognize([Utterance(clip.samples[:samples].copy()), Utterance(clip.samples)])
    assert whole.text == clip.reference
    assert short.finish == "stop"


@pytest.mark.parametrize(
    "text",
    [
        "Don’t open the $1,000 window, twenty-one times!",
        unicodedata.normalize("NFD", "Der schöne Vogel – fünf Häuser?"),
        "The 🐕 dog & the cat…",
        "你好，world。东京",
    ],
)
def test_7_aligned_words_keep_their_characters(aligner: Any, sentences: list[Clip], text: str) -> None:
    language = "zh" if "你" in text else "de" if "Der" in text else "en"
    samples = long_samples(sentences, 5)
    hypothesis = Hypothesis(text, language, 1.0, (), 0, None)
    ((name, words, _),) = align_all([("qwen", QwenAlignerSpec(), aligner)], [(samples, hypothesis)])
    if language == "zh":  # the tiny aligner says that it does not speak it
        assert name is None
        return
    assert name == "qwen"
    assert [text[word["char_start"] : word["char_end"]] for word in words] == [word["word"] for word in words]
    assert all(word["start_ms"] is not None and word["start_ms"] < word["end_ms"] for word in words)
    if "🐕" in text:
        assert [word["estimated"] for word in words if word["word"] in ("🐕", "&")] == [True, True]


@pytest.mark.parametrize("language", ["hi", "ar", "tr", "sv", None])
def test_8_languages_that_the_aligner_does_not_speak_are_not_sent_to_it(
    aligner: Any, sentences: list[Clip], language: str | None
) -> None:
    asked = AlignmentRequest(sentences[0].samples, "one two", ((0, 3), (4, 7)), language)
    assert aligner.align([asked]) == [None]


def test_9_moved_outliers_are_marked_and_no_word_is_without_length(sentences: list[Clip]) -> None:
    asked = AlignmentRequest(np.zeros(4 * RATE, np.float32), "a b c d", ((0, 1), (2, 3), (4, 5), (6, 7)), "en")
    times = word_times(asked, asked.words, [(0, 400), (3900, 3900), (800, 800), (1200, 1600)])
    assert [time.estimated for time in times if time] == [False, True, True, False]
    assert all(time is not None and time.start_ms < time.end_ms for time in times)
    starts = [time.start_ms for time in times if time]
    assert starts == sorted(starts)


def test_10_a_repeated_header_leaves_the_text_and_mixed_languages_keep_their_names(recognizer: Any) -> None:
    tokenizer = recognizer._network.tokenizer

    def read(raw: str) -> Any:
        ids = tokenizer.encode(raw, add_special_tokens=False)
        return read_answer(ids, [-0.1] * len(ids), recognizer._decode)

    assert read("language English<asr_text>The dog.").text == "The dog."
    assert read("The dog. language German<asr_text>Der Hund.").text == "The dog. Der Hund."
    assert read("language Chinese English<asr_text>The dog.").language == "zh"
    assert read("language Chinese,English<asr_text>The dog.").language == "zh"
    none = read("language None<asr_text>")
    assert (none.text, none.language, none.says_none) == ("", None, True)


def test_10_iso_codes_force_a_language(recognizer: Any, sentences: list[Clip]) -> None:
    german = next(clip for clip in sentences if clip.language == "de")
    free, forced = recognizer.recognize([Utterance(german.samples), Utterance(german.samples, language="de")])
    assert forced.text == free.text == german.reference
    assert (free.language, forced.language) == ("de", "de")
    assert forced.language_probability == 1.0
    assert 0.5 < free.language_probability <= 1.0


def test_11_long_patterns_are_found_and_nothing_is_deleted() -> None:
    sentence = "We would like to thank you all for the long day here too. "
    assert len(sentence) == 58
    loop = Hypothesis((sentence * 30).strip(), "en", 1.0, (), 300, -0.1)
    assert "repetition" in find_doubts(loop, 60.0)
    zeros = " ".join(["zero"] * 25)

    class Counts:
        def recognize(self, utterances: Any) -> list[Hypothesis]:
            return [Hypothesis(zeros, "en", 1.0, (), 25, -0.1) for _ in utterances]

    (result,) = recognize_all(Counts(), [Utterance(np.zeros(RATE, np.float32))], RetryConfig(), Tries())
    assert isinstance(result, Hypothesis)
    assert (result.text, result.flags) == (zeros, ("repetition",))


def test_12_loud_audio_is_not_rescaled(recognizer: Any, sentences: list[Clip], tmp_path: Path) -> None:
    import torch

    filters, samples = recognizer._network.mel_filters, sentences[0].samples
    loud = log_mel(samples * 4.0, filters) - log_mel(samples, filters)
    assert torch.allclose(loud, torch.full_like(loud, np.log10(16) / 4), atol=1e-4)
    soundfile.write(tmp_path / "half.wav", np.full(RATE, 0.5), RATE, subtype="PCM_16")
    blocks = list(read_audio(tmp_path / "half.wav", "half.wav", "mix", DecodeReport(), block_s=30.0))
    assert np.abs(np.concatenate(blocks, axis=1)).max() == pytest.approx(0.5, abs=1e-3)


def test_13_a_wrong_number_of_placeholders_is_an_error(recognizer: Any) -> None:
    import torch

    network = recognizer._network
    with pytest.raises(RuntimeError, match="2 audio placeholders for 3"):
        network.embed([network.audio_token] * 2, torch.zeros(3, network.thinker.config.text_config.hidden_size))


def test_13_special_tokens_in_a_context_are_only_words(recognizer: Any, sentences: list[Clip]) -> None:
    clip = sentences[0]
    context = "<|audio_pad|> dog <|im_end|><asr_text>"
    (found,) = recognizer.recognize([Utterance(clip.samples, context=context)])
    assert found.text == clip.reference


def test_14_the_checkpoints_own_end_token_ends_the_text(recognizer: Any, sentences: list[Clip]) -> None:
    assert not recognizer._network.end_ids & {151643, 151645}
    for clip, found in zip(
        sentences, recognizer.recognize([Utterance(clip.samples) for clip in sentences]), strict=True
    ):
        assert found.finish == "stop"
        assert found.token_count < len(clip.reference) + 8


def test_15_every_word_has_a_confidence(recognizer: Any, sentences: list[Clip]) -> None:
    for clip in sentences:
        (found,) = recognizer.recognize([Utterance(clip.samples)])
        assert found.mean_logprob is not None
        assert -2 < found.mean_logprob <= 0
        covered = {at for token in found.tokens for at in range(token.char_start, token.char_end)}
        assert all(char.isspace() or at in covered for at, char in enumerate(found.text))
        assert all(0 < (token.probability or 0) <= 1 for token in found.tokens)


def test_16_the_driver_imports_neither_torch_nor_the_package() -> None:
    code = (
        "import sys; from transforms.engines.qwen.recognizer import QwenSpec;"
        "from transforms.engines.qwen.aligner import QwenAlignerSpec;"
        f"QwenSpec(model={str(TINY / 'recognizer')!r}).checked(); QwenAlignerSpec(model={str(TINY / 'aligner')!r}).checked();"
        "print(*sorted({'torch', 'transformers', 'qwen_asr', 'vllm', 'gradio', 'flask'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=TINY.parents[1])
    assert done.stdout.strip() == ""


@contextmanager
def watched(module: Any) -> Iterator[list[tuple[tuple[Any, ...], dict[str, Any]]]]:
    """The arguments of each call of a torch module."""
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
    handle = module.register_forward_pre_hook(
        lambda _, arguments, options: calls.append((arguments, options)), with_kwargs=True
    )
    try:
        yield calls
    finally:
        handle.remove()


def test_speed_1_only_the_last_position_meets_the_vocabulary(recognizer: Any, sentences: list[Clip]) -> None:
    with watched(recognizer._network.thinker.lm_head) as calls:
        recognizer.recognize([Utterance(clip.samples) for clip in sentences])
    assert calls
    assert all(arguments[0].dim() == 2 and len(arguments[0]) <= len(sentences) for arguments, _ in calls)


def test_speed_2_a_batch_is_one_pass_of_the_encoder(recognizer: Any, sentences: list[Clip]) -> None:
    long_enough = [clip for clip in sentences if len(clip.samples) >= RATE]
    with watched(recognizer._network.thinker.audio_tower) as calls:
        recognizer.recognize([Utterance(clip.samples) for clip in long_enough])
    assert len(calls) == 1


def test_speed_4_the_aligner_keeps_no_cache_and_features_are_computed_once(
    recognizer: Any, aligner: Any, sentences: list[Clip], monkeypatch: pytest.MonkeyPatch
) -> None:
    computed = []

    def counted(samples: Any, filters: Any) -> Any:
        computed.append(len(samples))
        return log_mel(samples, filters)

    monkeypatch.setattr(features_module, "log_mel", counted)
    copies = [clip._replace(samples=clip.samples.copy()) for clip in sentences]
    recognizer.recognize([Utterance(clip.samples) for clip in copies])
    with watched(aligner._network.thinker.model) as calls:
        aligner.align([request(clip) for clip in copies])
    assert all(options["past_key_values"] is None and not options["use_cache"] for _, options in calls)
    assert len(computed) == len(copies)


@pytest.mark.gpu
def test_speed_5_features_are_computed_on_the_gpu() -> None:
    import torch

    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    recognizer = QwenSpec(model=str(TINY / "recognizer")).checked().load()
    assert log_mel(np.zeros(RATE, np.float32), recognizer._network.mel_filters).is_cuda


def test_speed_6_finished_rows_leave_the_batch(recognizer: Any, sentences: list[Clip]) -> None:
    with watched(recognizer._network.thinker.model) as calls:
        found = recognizer.recognize([Utterance(clip.samples) for clip in sentences])
    rows = [len(options["inputs_embeds"]) for _, options in calls]
    assert rows[0] == len(sentences)
    assert rows == sorted(rows, reverse=True)
    assert sum(rows) == sum(hypothesis.token_count + 1 for hypothesis in found)


def test_speed_7_a_call_leaves_no_state_on_the_model(recognizer: Any, sentences: list[Clip]) -> None:
    recognizer.recognize([Utterance(sentences[0].samples)])
    assert recognizer._network.thinker.rope_deltas is None


def test_audio_embeddings_are_counted_as_the_package_counts_them() -> None:
    from qwen_asr.core.transformers_backend.processing_qwen3_asr import _get_feat_extract_output_lengths

    assert [audio_tokens(frames) for frames in range(1, 1000)] == [
        _get_feat_extract_output_lengths(frames) for frames in range(1, 1000)
    ]


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda u: Utterance(np.full(RATE, np.nan, np.float32)), "not_finite"),
        (lambda u: Utterance(u.samples, language="sw"), "language"),
    ],
)
def test_a_bad_utterance_costs_only_itself(recognizer: Any, sentences: list[Clip], change: Any, kind: str) -> None:
    good = Utterance(sentences[0].samples)
    bad, fine = recognize_all(recognizer, [change(good), good], RetryConfig(), Tries())
    assert isinstance(bad, RecordingError)
    assert bad.kind == kind
    if kind == "language":
        assert "it knows de, en" in bad.message
    assert isinstance(fine, Hypothesis)
    assert fine.text == sentences[0].reference


def test_silence_and_clipping_are_no_errors(recognizer: Any, sentences: list[Clip]) -> None:
    silent, clipped = recognizer.recognize(
        [Utterance(np.zeros(2 * RATE, np.float32)), Utterance(np.clip(sentences[0].samples * 50, -1, 1))]
    )
    assert (silent.text, silent.language, silent.finish) == ("", None, "stop")
    assert clipped.finish == "stop"


def test_a_context_of_100_000_characters_is_cut_and_flagged(recognizer: Any, sentences: list[Clip]) -> None:
    clip = sentences[0]
    found = recognizer.recognize(
        [Utterance(clip.samples, context="dog " * 25_000), Utterance(clip.samples, context="dog")]
    )
    assert [hypothesis.flags for hypothesis in found] == [("context_cut",), ()]
    ids, _ = recognizer._ids(Utterance(clip.samples, context="dog " * 25_000))
    assert len(ids) < 1100


def test_a_beam_gives_alternatives_best_first_and_the_same_text(recognizer: Any, sentences: list[Clip]) -> None:
    wide = QwenSpec(model=str(TINY / "recognizer"), n_best=3).checked().load()
    clip = sentences[0]
    (found,) = wide.recognize([Utterance(clip.samples)])
    assert found.text == clip.reference == found.alternatives[0].text
    assert len(found.alternatives) == 3
    assert len({alternative.text for alternative in found.alternatives}) >= 2
    (greedy,) = recognizer.recognize([Utterance(clip.samples)])
    assert greedy.alternatives == ()
    assert found.alternatives[0].logprob == pytest.approx(greedy.mean_logprob * (greedy.token_count + 1), abs=1e-2)
