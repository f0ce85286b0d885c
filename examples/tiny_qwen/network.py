"""The tiny checkpoints: configuration, tokenizer, first weights, and files as qwen-asr reads them."""

import json
from pathlib import Path

import torch
from corpus import MEL_BINS, feature_extractor
from grammar import ENGLISH, GERMAN
from qwen_asr.core.transformers_backend import Qwen3ASRConfig, Qwen3ASRForConditionalGeneration, Qwen3ASRProcessor
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen2TokenizerFast

WIDTH, FEED_FORWARD, HEADS, KEY_VALUE_HEADS, HEAD_WIDTH = 128, 384, 4, 2, 32
ENCODER_LAYERS, DECODER_LAYERS, CONV_CHANNELS = 3, 6, 16
TIME_CLASSES, TIME_CLASS_MS = 512, 80
TIME_CLASS_S = TIME_CLASS_MS / 1000

END_OF_TEXT, TURN_START, TURN_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
AUDIO, AUDIO_START, AUDIO_END = "<|audio_pad|>", "<|audio_start|>", "<|audio_end|>"
ASR_TEXT, TIMESTAMP = "<asr_text>", "<timestamp>"
CHAT_TEMPLATE = (
    "{%- set turns = namespace(system='') -%}"
    "{%- for message in messages if message.role == 'system' -%}"
    "{%- set turns.system = message.content -%}"
    "{%- endfor -%}"
    "<|im_start|>system\n{{ turns.system }}<|im_end|>\n"
    "<|im_start|>user\n<|audio_start|><|audio_pad|><|audio_end|><|im_end|>\n"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level pieces learned from the vocabulary: nearly every word is one token, any text can be written."""
    pieces = Tokenizer(models.BPE())
    pieces.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    pieces.decoder = decoders.ByteLevel()
    forms = ["language", " English", " German", " None", "system", "user", "assistant"]
    for word in ENGLISH + GERMAN:
        # The aligner's text comes without hyphens.
        for form in sorted({word, word[0].upper() + word[1:], word.replace("-", "")}):
            forms += [form, " " + form]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=2000, min_frequency=2, initial_alphabet=alphabet, show_progress=False)
    pieces.train_from_iterator(forms * 20, trainer)
    audio = {"audio_token": AUDIO, "audio_bos_token": AUDIO_START, "audio_eos_token": AUDIO_END}
    tokenizer = Qwen2TokenizerFast(
        tokenizer_object=pieces, eos_token=TURN_END, pad_token=END_OF_TEXT, unk_token=None, extra_special_tokens=audio
    )
    special = [END_OF_TEXT, TURN_START, TURN_END, *audio.values()]
    tokenizer.add_special_tokens({"additional_special_tokens": special})
    # Not special: decoding with skip_special_tokens must keep <asr_text>, which ends the name of the language.
    tokenizer.add_tokens([AddedToken(token, special=False, normalized=False) for token in (ASR_TEXT, TIMESTAMP)])
    return tokenizer


def make_processor() -> Qwen3ASRProcessor:
    return Qwen3ASRProcessor(feature_extractor(), make_tokenizer(), chat_template=CHAT_TEMPLATE)


def make_model(tokenizer: PreTrainedTokenizerFast, *, aligner: bool) -> Qwen3ASRForConditionalGeneration:
    """A network with fresh weights; the aligner's head has time classes instead of tokens."""
    ids = {token: tokenizer.convert_tokens_to_ids(token) for token in tokenizer.get_vocab()}
    audio = {
        "num_mel_bins": MEL_BINS, "encoder_layers": ENCODER_LAYERS, "encoder_attention_heads": HEADS,
        "encoder_ffn_dim": FEED_FORWARD, "d_model": WIDTH, "n_window": 50, "n_window_infer": 800,
        "output_dim": WIDTH, "downsample_hidden_size": CONV_CHANNELS,
    }  # fmt: skip
    rope = {"rope_type": "default", "type": "default", "mrope_section": [4, 6, 6], "interleaved": True}
    text = {
        "vocab_size": len(tokenizer), "hidden_size": WIDTH, "intermediate_size": FEED_FORWARD,
        "num_hidden_layers": DECODER_LAYERS, "num_attention_heads": HEADS, "num_key_value_heads": KEY_VALUE_HEADS,
        "head_dim": HEAD_WIDTH, "max_position_embeddings": 65536, "tie_word_embeddings": not aligner, "rope_theta": 1e6,
        "rope_scaling": rope | {"mrope_interleaved": True},
        "eos_token_id": ids[TURN_END], "pad_token_id": ids[END_OF_TEXT],
    }  # fmt: skip
    thinker = {
        "audio_config": audio, "text_config": text, "audio_token_id": ids[AUDIO], "pad_token_id": ids[END_OF_TEXT],
        "audio_start_token_id": ids[AUDIO_START], "audio_end_token_id": ids[AUDIO_END],
    }  # fmt: skip
    extra = {}
    if aligner:
        thinker |= {"model_type": "qwen3_forced_aligner", "classify_num": TIME_CLASSES}
        extra = {"timestamp_token_id": ids[TIMESTAMP], "timestamp_segment_time": TIME_CLASS_MS}
    config = Qwen3ASRConfig(
        thinker_config=thinker,
        support_languages=["English", "German"],
        architectures=["Qwen3ASRForConditionalGeneration"],
        **extra,
    )
    model = Qwen3ASRForConditionalGeneration(config)
    _set_first_weights(model.thinker)
    return model


def _set_first_weights(thinker: torch.nn.Module) -> None:
    """Weights of 1/√fan-in: the library's 0.02 drowns the sound under the position embedding in so narrow a network."""
    for name, weights in thinker.named_parameters():
        if weights.dim() < 2:
            continue
        fan_in = weights[0].numel()
        std = 0.1 if "embed_tokens" in name else fan_in**-0.5
        if "conv2d" in name:
            std = (2 / fan_in) ** 0.5
        if any(part in name for part in ("o_proj", "out_proj", "down_proj", "fc2")):
            std *= 0.5  # what adds to the residual stream starts small
        torch.nn.init.normal_(weights, 0, std)


def save(model: Qwen3ASRForConditionalGeneration, processor: Qwen3ASRProcessor, folder: Path) -> None:
    """Write a complete checkpoint folder with fp16 weights. The model itself stays in float32."""
    state = {name: weights.to(torch.float16) for name, weights in model.state_dict().items()}
    if model.config.thinker_config.text_config.tie_word_embeddings:
        del state["thinker.lm_head.weight"]
    model.save_pretrained(folder, state_dict=state)
    (folder / "model.safetensors").chmod(0o644)
    processor.save_pretrained(folder)
    text, path = model.config.thinker_config.text_config, folder / "config.json"
    config = json.loads(path.read_text())
    config["dtype"] = "float16"
    if getattr(model.config.thinker_config, "classify_num", None):
        config["thinker_config"]["model_type"] = "qwen3_forced_aligner"  # saving wrote the class's own
    path.write_text(json.dumps(config, indent=1) + "\n")
    ends = {"eos_token_id": [text.eos_token_id, text.pad_token_id], "pad_token_id": text.pad_token_id}
    (folder / "generation_config.json").write_text(json.dumps(ends | {"do_sample": False}, indent=1) + "\n")
