"""A recording's address or bytes → chunks of speech on the file's time line, streamed a block at a time.

In: a Work. Out: Chunks, then its one Closing. Must not know Spark, engines, or what is made of the chunks.

A live server has samples and no Work. It keeps a `channel.Channel` for each stream (of 16 kHz; `decoders` and soxr make
them from anything else) and asks an engine for what comes out, or `recognition.second_try.recognize_all`:

    channel = Channel(config.vad, config.packing)
    for samples in stream:
        for chunk in channel.push(samples):
            answer(chunk.start_ms, recognizer.recognize([Utterance(chunk.samples, "en", speech=chunk.speech)]))
    then the same for channel.finish()
"""
