"""1 for an answer of one line with four fields: the form of a routing line, whatever it says."""


def one_line(text, answer):
    return float("\n" not in text.strip() and text.count(";") == 3)
