"""The tables → places where something was said, by its words (`phrases`) or by its meaning (`meaning`).

Must not know audio or engines.
"""
