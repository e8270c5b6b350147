"""Names and labels as words of a sentence."""


def readable(name: str) -> str:
    """A config's name as words: `final_dose` is "Final dose"."""
    words = name.replace("_", " ").strip()
    return words[:1].upper() + words[1:]


def inline(label: str) -> str:
    """A label inside a sentence: its first letter small, unless it starts with an acronym."""
    acronym = len(label) < 2 or not label[1].islower()
    return label if acronym else label[0].lower() + label[1:]
