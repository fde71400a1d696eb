"""What the pages tell their readers to type."""

import re
import shlex


def commands(page):
    """Each command of the blocks without a language, its continued lines joined."""
    blocks = re.findall(r"(?ms)^```\n(.*?)^```$", page)
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
