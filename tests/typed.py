"""Commands that pages show."""

import re
import shlex


def commands(page):
    """Return the commands of blocks without a language. Continued lines are joined."""
    # Match all blocks first: the end of another block must not look like a start.
    fenced = re.findall(r"(?ms)^```(\w*)\n(.*?)^```$", page)
    blocks = [text for language, text in fenced if not language]
    return [
        re.sub(r"\s*\\\n\s*", " ", line)
        for block in blocks
        for line in re.findall(r"(?m)^((?:.*\\\n)*.+)$", block)
    ]


def in_the_container(page):
    """Return the words of each `docker exec`, and whether it reads a configuration from stdin."""
    found = []
    for line in commands(page):
        for part in line.split(" && "):
            if part.startswith("docker exec "):
                words = shlex.split(re.sub(r" [<>] \S+$", "", part))
                found.append((words[words.index("smshook") + 1 :], " < " in part))
    return found
