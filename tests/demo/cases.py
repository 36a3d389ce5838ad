"""Inputs for the tests of depgraph: a small one with everything in it, malformed ones, and ways to
damage any."""

import random

QUICKSTART = """\
fetch: 6 1 8
ethanol: carbon, oxygen, hydrogen
fetch: 7 119
6: carbon
1: hydrogen
7: nitrogen
8: oxygen
119: the source has no value for this key
"""

SAMPLE = """\
Package: app
Status: install ok installed
Architecture: amd64
Version: 1.0
Installed-Size: 12
Pre-Depends: base (>= 2)
Depends: mta | ghost, nothing | also-nothing, lib:any (>= 1) [amd64] <!x>, lib (<< 9), left, right
Description: an application
 whose description: is folded
 .
 Depends: not-really

Package: base
Status: install ok installed
Version: 2:2.1-1
Description: without dependencies

Package: lib
Status: install ok installed
Architecture: amd64
Version: 3~rc1
Depends: base, app,

Package: lib
Status: install ok installed
Architecture: i386
Version: 3~rc1
Depends: only-there

Package: exim
Status: install ok triggers-pending
Version: 4
Provides: mta (= 1), mail-thing
Depends: ghost | base

Package: postfix
Status: hold ok triggers-awaited
Version: 5
Provides: mta
Depends: lib | exim

Package: gone
Status: deinstall ok config-files
Version: 6
Depends: base
Provides: ghost

Package: left
Status: install ok installed
Version: 7
Depends: deep

Package: right
Status: install ok installed
Version: 8
Depends: deep

Package: deep
Status: install ok installed
Version: 9
Depends: deeper

Package: deeper
Status: install ok installed
Version: 10
"""

SAMPLE_TREE = """
app 1.0
|-- base 2:2.1-1
|-- mta = exim 4
|   `-- base 2:2.1-1
|-- nothing (not there)
|-- lib 3~rc1
|   |-- base 2:2.1-1
|   `-- app 1.0 (cycle)
|-- left 7
|   `-- deep 9
|       `-- deeper 10
`-- right 8
    `-- deep 9 (see above)
"""

SAMPLE_TREE_1 = """
app 1.0
|-- base 2:2.1-1
|-- mta = exim 4 (+1)
|-- nothing (not there)
|-- lib 3~rc1 (+2)
|-- left 7 (+1)
`-- right 8 (+1)
"""

MAGIC = "# depgraph borders 1\n"
MALFORMED = [
    # content, line, words of the message
    (b"", 1, "empty"),
    (b"\n\n\n", 3, "describes nothing"),
    (b"Package: a\n\x00\n", 2, "NUL"),
    (b"\x7fELF\x02\x01\x01\x00\x00", 1, "NUL"),
    (b"\xff\xfe\xfd\n", 1, "Field: value"),
    (b"Package: a\nVersion: 1\n\nVersion: 2\nDepends: a\n", 4, "no Package field"),
    (b"Package: a\nno colon here\n", 2, "'no colon here'"),
    (b"Package: a\r\nno colon here\r\n", 2, "'no colon here'"),
    (b"Package: a\n: nothing before\n", 2, "Field: value"),
    (b"Package: a\nBad Field: x\n", 2, "'Bad Field'"),
    (b" continued\nPackage: a\n", 1, "continuation"),
    (b"Package: a\n\n continued\n", 3, "continuation"),
    (b"Package: a\nPackage: b\n", 2, "second Package"),
    (b"Package: a\nDepends: b\nVersion: 1\nDepends: c\n", 4, "line 2"),
    (b"Package: a\nVersion: 1\n\nPackage: b\n\nPackage: a\nVersion: 1\n", 6, "twice, first in line 1"),
    (b"Package:\nVersion: 1\n", 1, "1 to 255"),
    (b"Package: a b\n", 1, "byte 0x20"),
    (b"Package: a\x1b[2J\n", 1, "byte 0x1b"),
    (b"Package: caf\xc3\xa9\n", 1, "byte 0xc3"),
    (b"Package: " + b"a" * 256 + b"\n", 1, "255"),
    (b"Package: a\nVersion: 1\x01\n", 2, "byte 0x01"),
    (b"Package: a\nVersion:\n", 2, "1 to 255"),
    (b"Package: a\nInstalled-Size: 12k\n", 2, "'12k'"),
    (b"Package: a\nInstalled-Size: 9999999999999999\n", 2, "KiB"),
    (b"Package: a\nDepends: b,, c\n", 2, "', c'"),
    (b"Package: a\nDepends: | b\n", 2, "package name"),
    (b"Package: a\nDepends: b |\n", 2, "after the last '|'"),
    (b"Package: a\nDepends: b (>= 1\n", 2, "never closed"),
    (b"Package: a\nDepends: b c\n", 2, "expected ',' or '|' after 'b'"),
    (b"Package: a\nDepends: b,\n c,\n d e\n", 4, "after 'd'"),
    (b"Package: a\nDepends: b,\n " + b"c" * 300 + b"\n", 3, "255"),
    (b"Package: a\nProvides: b | c\n", 2, "expected ','"),
    (b"Package: a\nDepends: \xc3\xa9\n", 2, "'??'"),
    (b"Package: a\nStatus: deinstall ok config-files\n", 2, "installed"),
    (MAGIC + "FR France: Spain\n", 2, "no line"),
    (MAGIC + "FR France: Spain\nES Spain:\n", 2, "line 3"),
    (MAGIC + "FR France: Spian\nES Spain: France\n", 2, "'Spain'?"),
    (MAGIC + "FR France:\nFR Farnce:\n", 3, "FR is taken"),
    (MAGIC + "FR France:\nXX France:\n", 3, "described twice"),
    (MAGIC + "France: Spain\n", 2, "CODE Name"),
    (MAGIC + "FR France\n", 2, "CODE Name"),
    (MAGIC + "fr France:\n", 2, "capital"),
    (MAGIC + "FR France: ,\n", 2, "1 to 255"),
    (MAGIC + "FR " + "n" * 256 + ":\n", 2, "1 to 255"),
    (MAGIC + "FR France: Sp\tain\n", 2, "byte 0x09"),
    (MAGIC + "# nothing\n", 2, "describes nothing"),
]


def big_input(n):
    """n packages, each of which depends on up to five before it."""
    chance = random.Random(7)
    stanzas = []
    for i in range(n):
        depends = ", ".join(sorted({"p%d" % chance.randrange(i) for _ in range(5)})) if i else ""
        stanzas.append("Package: p%d\nVersion: %d\nDepends: %s\n" % (i, i, depends))
    return "\n".join(stanzas)


def damage(chance, content):
    content = bytearray(content)
    for _ in range(chance.choice((1, 1, 1, 2, 5, 30))):
        at = chance.randrange(len(content) + 1)
        some = chance.randrange(1, 40)
        kind = chance.randrange(6)
        if kind == 0:
            content[at:at + 1] = bytes([chance.randrange(256)])
        elif kind == 1:
            del content[at:at + some]
        elif kind == 2:
            content[at:at] = content[at:at + some]
        elif kind == 3:
            content[at:at] = chance.choice(b"\n\r\t :,|()[]<>\0#aP").to_bytes(1, "little") * chance.choice((1, 1, 300))
        elif kind == 4:
            lines = bytes(content).split(b"\n")
            lines.insert(chance.randrange(len(lines)), chance.choice(lines))
            content = bytearray(b"\n".join(lines))
        else:
            content = content[:at] or content
    return bytes(content)
