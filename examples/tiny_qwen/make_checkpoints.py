"""Make the tiny checkpoints: recognizer/, aligner/ and the recordings in speech/.

    python3.11 -m venv .venv-tiny
    .venv-tiny/bin/pip install -r examples/tiny_qwen/requirements.txt
    .venv-tiny/bin/python examples/tiny_qwen/make_checkpoints.py --work DIR

Speaks a training set with espeak-ng (in --work), trains a recognizer, then from its weights an
aligner, replaces the folders here, and prints the scores that README.md shows. A part that
--work holds already is not made again.
"""

import argparse
import shutil
from pathlib import Path

from corpus import load_corpus, make_corpus
from demo_speech import make_demo_speech
from forward import use_exact_arithmetic, use_one_fast_thread
from scores import attend_within_windows, largest_difference, make_test_sets, score_aligner, score_recognizer
from train_aligner import train_aligner
from train_recognizer import train_recognizer

HERE = Path(__file__).resolve().parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for 2 GB of training data and the checkpoints")
    parser.add_argument("--processes", type=int, default=2, help="how many speak the training set (default 2)")
    parser.add_argument("--clips", type=int, default=40, help="how many of each kind to score (default 40)")
    options = parser.parse_args()
    use_one_fast_thread()

    make_demo_speech(HERE / "speech")
    corpus = options.work / "corpus"
    make_corpus(corpus, options.processes)
    examples = load_corpus(corpus)
    recognizer, aligner = options.work / "recognizer", options.work / "aligner"
    if not complete(recognizer):
        train_recognizer(examples, recognizer)
    publish(recognizer)
    if not complete(aligner):
        train_aligner(examples, recognizer, aligner)
    publish(aligner)

    use_exact_arithmetic()
    attend_within_windows()
    print(f"largest difference between the package's network and the one trained: {largest_difference(recognizer):.1e}")
    sets = make_test_sets(options.clips)
    print(*score_recognizer(recognizer, sets), "", *score_aligner(aligner, sets), sep="\n")


def complete(folder: Path) -> bool:
    """Whether a checkpoint is there: its last file is."""
    return (folder / "generation_config.json").exists()


def publish(made: Path) -> None:
    """Replace the checkpoint of this name beside this file."""
    shutil.rmtree(HERE / made.name, ignore_errors=True)
    shutil.copytree(made, HERE / made.name)


if __name__ == "__main__":
    main()
