"""What the tests share: made recordings and lakes, a deterministic engine, killing."""
