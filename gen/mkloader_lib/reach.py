"""What of a header's declarations its public functions need, and the text of that."""

import re

# Whoever has these needs no loader to reach them.
PUBLIC_CONSTANT = re.compile(r"DLOAD_(?!I_|LOCK_|EVICT_|HASH_|CLOCK_|LINKAGE_|TEMPLATE_)[A-Z_]+\Z")
PUBLIC_FUNCTION = re.compile(r"dload_(?!i_)\w+\Z")
OWN_ROOTS = re.compile(r"dload_(?:strerror|status_name|block|ticks)(?:_|\Z)")


def is_function(item):
    return item.kind in ("code", "block") and "(" in item.text and not item.text.startswith("typedef")


class Reach:
    """Which items stay: what the roots use, and what that uses."""

    def __init__(self, items, roots):
        self.items = items
        self.owners = {}
        for item in items:
            for name in item.declares:
                self.owners.setdefault(name, []).append(item)
        self.kept = set()
        self.names = set()
        self.keep(item for item in items if not item.declares and item.kind in ("line", "block"))
        self.keep(item for item in items if item.declares & roots)
        while self.keep(item for item in items if self.belongs(item)):
            pass

    def keep(self, items):
        """Adds items and all that they use; True when there was something to add."""
        todo = [item for item in items if item not in self.kept]
        more = bool(todo)
        while todo:
            item = todo.pop()
            if item in self.kept:
                continue
            self.kept.add(item)
            self.names |= item.declares
            for name in item.uses:
                todo += [i for i in self.owners.get(name, ()) if i not in self.kept]
        return more

    def belongs(self, item):
        """A public function of the runtime stays where all of its types do; an assertion where all it speaks of
        does."""
        if item in self.kept:
            return False
        if not item.declares and item.kind == "code":
            return all(name in self.names for name in item.uses if name in self.owners)
        if is_function(item) and any(PUBLIC_FUNCTION.match(name) for name in item.declares):
            head = set(re.findall(r"\bdload_\w+\b", item.text.split("{")[0])) - item.declares
            types = {name for name in head if name in self.owners}
            return bool(types) and types <= self.names and not types & {"dload_status"} == types
        return False


def is_root(name, loader):
    own = name == loader or (name.startswith(loader + "_") and not name.startswith(loader + "_i_"))
    return own or bool(PUBLIC_CONSTANT.match(name)) or bool(OWN_ROOTS.match(name))


def pruned(items, loader, more_roots=()):
    """The items without what nobody can reach. Comments stay with what they are about."""
    names = {name for item in items for name in item.declares}
    reach = Reach(items, {name for name in names if is_root(name, loader)} | set(more_roots))
    out, waiting, gap = [], [], False
    for item in items:
        if item.kind in ("banner", "heading", "note"):
            # A new banner ends what the last one was over; a new heading the last heading.
            if item.kind == "banner":
                waiting = []
            elif item.kind == "heading":
                waiting = [w for w in waiting if w.kind == "banner"]
            waiting.append(item)
        elif item in reach.kept:
            item.apart = item.apart or gap or bool(waiting)
            out += waiting + [item]
            waiting, gap = [], False
        else:
            gap = gap or item.apart
            waiting = [w for w in waiting if w.kind != "note"]
    return out


def text_of(items):
    out = []
    for item in items:
        if item.apart:
            out.append("")
        out.append(item.full())
    return "\n".join(out).strip("\n")
