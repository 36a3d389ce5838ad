"""Cases of gen/amalgamate."""

import os
import sys

from support import (
    AMALGAMATE, PROJECT, copied_project, need, read, run, succeeded, write)


def small_templates(temporary, parts, top):
    folder = os.path.join(temporary, "templates")
    for name, text in parts.items():
        write(os.path.join(folder, name), text)
    write(os.path.join(folder, "dataloader.h.in"), top)
    return folder


PARTS = {
    "runtime/a.h": '/* a */\n#ifndef A\n#define A\n\n#include <stddef.h>\n#include "xxhash.h"\n\n#endif\n',
    "runtime/b.h": '/* b uses\n\n\n * #include "a.h"\n */\n#ifndef B\n#define B\n\n#include "a.h"\n\n#define X "/*"\n'
                   '#  include "a.h"\nint b; /* keeps "quotes" */\n\n#endif\n',
    "typed/c.h": '#include "../runtime/a.h"\n#include "../runtime/b.h"\nint c;\n',
}
TOP = '/* manual:\n *     #include "dataloader.h"\n */\n#include "runtime/a.h"\n#include "runtime/b.h"\n\n#if 1\n' \
      '#include "typed/c.h"\n#endif\n'
JOINED = '''/* manual:
 *     #include "dataloader.h"
 */

/* ==== runtime/a.h ==== */

/* a */
#ifndef A
#define A

#include <stddef.h>
#include "xxhash.h"

#endif

/* ==== runtime/b.h ==== */

/* b uses


 * #include "a.h"
 */
#ifndef B
#define B

#define X "/*"

int b; /* keeps "quotes" */

#endif

#if 1

/* ==== typed/c.h ==== */

int c;

#endif
'''


def amalgamate_joins(temporary):
    folder = small_templates(temporary, PARTS, TOP)
    result = succeeded(run(sys.executable, AMALGAMATE, "--templates", folder, "--stdout"))
    need(result.stdout.decode() == JOINED, result.stdout.decode())
    out = os.path.join(temporary, "dataloader.h")
    command = [sys.executable, AMALGAMATE, "--templates", folder, "-o", out]
    need(b"+int c;" in succeeded(run(*command, "--check"), 1).stdout, "no diff for a missing file")
    need(not os.path.exists(out), "--check wrote")
    succeeded(run(*command))
    need(read(out).decode() == JOINED, "the file differs from --stdout")
    os.utime(out, ns=(10**18, 10**18))
    succeeded(run(*command))
    need(os.stat(out).st_mtime_ns == 10**18, "an up-to-date file was written again")
    need(succeeded(run(*command, "--check")).stdout == b"", "a diff without a difference")
    write(os.path.join(folder, "typed/c.h"), PARTS["typed/c.h"].replace("int c", "int d"))
    result = succeeded(run(*command, "--check"), 1)
    need(b"-int c;\n+int d;" in result.stdout, "no diff: %r" % result.stdout)
    need(read(out).decode() == JOINED, "--check wrote")


BAD_PARTS = [  # what changes: part or .in, its text; the message
    ("runtime/a.h", '#include "b.h"\n', "runtime/a.h:1: error:", "comes later"),
    ("runtime/a.h", '\n#include "a.h"\n', "runtime/a.h:2: error:", "includes itself"),
    ("runtime/a.h", '#include "../typed/c.h"\n', "runtime/a.h:1: error:", "comes later"),
    ("typed/c.h", '#include "../runtime/d.h"\n', "typed/c.h:1: error:", "does not list"),
    ("typed/c.h", '#include "../runtime/a.h" /* why */\n', "typed/c.h:1: error:", "line of its own"),
    ("typed/c.h", 'int c;\n#line 5\n', "typed/c.h:2: error:", "#line"),
    ("typed/c.h", "int c;\r\n", "typed/c.h:1: error:", "CR"),
    ("typed/c.h", "int c;", "typed/c.h:1: error:", "no newline"),
    ("typed/c.h", "\n/* open\n", "typed/c.h:2: error:", "not closed"),
    ("typed/c.h", b"\n\xff\n", "typed/c.h:2: error:", "not UTF-8"),
    ("dataloader.h.in", TOP + '#include "runtime/a.h"\n', "dataloader.h.in:10: error:", "listed twice"),
    ("dataloader.h.in", '#include "runtime/z.h"\n', "dataloader.h.in:1: error:", "no such part"),
    ("dataloader.h.in", '#include "../a.h"\n', "dataloader.h.in:1: error:", "outside"),
]


def amalgamate_refuses(temporary):
    for i, (name, text, where, message) in enumerate(BAD_PARTS):
        folder = small_templates(os.path.join(temporary, str(i)), dict(PARTS, **{"runtime/d.h": "int d;\n"}), TOP)
        write(os.path.join(folder, name), text)
        out = os.path.join(temporary, "out.h")
        result = succeeded(run(sys.executable, AMALGAMATE, "--templates", folder, "-o", out), 1)
        errors = result.stderr.decode()
        need(where in errors and message in errors, "%s %r: %s" % (name, text, errors))
        need(not os.path.exists(out), "wrote a file")


def dataloader_is_current(temporary):
    succeeded(run(sys.executable, AMALGAMATE, "--check"))


def same_bytes_elsewhere(temporary):
    """The amalgamation of this checkout does not depend on where and under what it runs."""
    wanted = read(os.path.join(PROJECT, "dataloader.h"))
    copied_project(temporary)
    for env in ({"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, {"TZ": "Asia/Kathmandu", "PYTHONHASHSEED": "3"}):
        result = succeeded(run(sys.executable, os.path.join(temporary, "gen/amalgamate"), "--stdout", cwd="/",
                               env=dict(os.environ, **env)))
        need(result.stdout == wanted, "another text under %s" % env)
