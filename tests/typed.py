"""What the pages tell their readers to type."""

import re
import shlex


def commands(page):
    """Each command of the blocks without a language, its continued lines joined."""
    # All of them, else the end of one with a language would begin one without.
    fenced = re.findall(r"(?ms)^```(\w*)\n(.*?)^```$", page)
    blocks = [text for language, text in fenced if not language]
    return [
        re.sub(r"\s*\\\n\s*", " ", line)
        for block in blocks
        for line in re.findall(r"(?m)^((?:.*\\\n)*.+)$", block)
    ]


def in_the_container(page):
    """What `docker exec` has to do: the words, and whether it is fed a configuration."""
    found = []
    for line in commands(page):
        for part in line.split(" && "):
            if part.startswith("docker exec "):
                words = shlex.split(re.sub(r" [<>] \S+$", "", part))
                found.append((words[words.index("smshook") + 1 :], " < " in part))
    return found
