from __future__ import annotations

import sys
import threading

import numpy as np

from transforms.live.sound import Container, Samples


class _Frame:
    def to_ndarray(self) -> Samples:
        return np.zeros(1, np.float32)


def test_nothing_is_lost_of_what_is_decoded_while_it_is_taken() -> None:
    """With threads that take turns as often as they can."""
    frames, taken, before_s = 50_000, 0, sys.getswitchinterval()
    container = Container()
    decodes = threading.Thread(target=lambda: [container._keep([_Frame()]) for _ in range(frames)])
    sys.setswitchinterval(1e-6)
    try:
        decodes.start()
        while decodes.is_alive():
            taken += len(container._taken())
        taken += len(container._taken())
    finally:
        sys.setswitchinterval(before_s)
        container.close()
    assert taken == frames
