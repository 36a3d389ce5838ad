"""profile = embedded: what it sets unless the section says otherwise, and what does not go with it."""

# Settings, as the section would have them. The order is that of the manual.
EMBEDDED = {"lock": "none", "evict": "clock", "clock": "manual", "compact": True, "stats": False, "async": False}

NO_LIBC = "needs a hosted program, and profile = embedded is for those without a libc"
NOT_SMALL = "is nothing that a compact cache has: leave it out, or add compact = no"
# (key, whether its setting is wrong, whether it is so for compact caches only, why)
CONFLICTS = (
    ("lock", lambda word: word == "pthread", False, NO_LIBC),
    ("clock", lambda word: word in ("coarse", "precise"), False, NO_LIBC + ": env, or manual"),
    ("xxhash", bool, False, NO_LIBC),
    ("store", bool, False, NO_LIBC),
    ("lock", lambda word: word not in ("none", "custom"), True, "is nothing that a compact cache has: none, or custom, or "
                                                                "add compact = no"),
    ("evict", lambda word: word not in ("none", "fifo", "clock", "auto"), True,
     "is nothing that a compact cache has: none, fifo or clock, or add compact = no"),
    ("key", lambda word: word == "DLOAD_STRING", True, "is nothing that a compact cache has: a scalar, or id128, or add "
                                                       "compact = no"),
    ("hash", lambda word: word == "sip", True, NOT_SMALL), ("refresh", bool, True, NOT_SMALL), ("group", bool, True, NOT_SMALL),
    ("snapshot", bool, True, NOT_SMALL), ("store", bool, True, NOT_SMALL), ("weight", bool, True, NOT_SMALL),
)


MAX_COMPACT = 65534  # entries: links have 16 bits


def is_embedded(settings):
    return settings.get("profile") == "embedded"


def applied(loader):
    """Fills the loader's settings, and remembers in loader.implied what was not in its section."""
    if not is_embedded(loader.settings):
        return
    for key, value in EMBEDDED.items():
        if key == "async" and loader.settings["lock"] != "none":
            value = True  # a lock is for several callers
        if key not in loader.settings:
            loader.settings[key] = value
            loader.implied.append((key, {True: "yes", False: "no"}.get(value, value)))


def conflicts(loader):
    """(key, message) of everything in the section that its profile or its compact cache excludes."""
    settings = loader.settings
    embedded, compact = is_embedded(settings), settings.get("compact", False)
    for key, wrong, for_compact, why in CONFLICTS:
        if key in settings and wrong(settings[key]) and (compact if for_compact else embedded):
            text = loader.words[key][0] if key in loader.words else settings[key]
            yield key, "%s = %s %s" % (key, text, why)
            return
    for field, value, text in loader.presets if compact else ():
        if field.name == "capacity" and (value == "DLOAD_UNBOUNDED" or (value.isdigit() and int(value) > MAX_COMPACT)):
            yield "capacity", "capacity = %s is more than a compact cache has: %d entries, and it does not grow" % (text, MAX_COMPACT)
        if field.name == "shards" and text != "1":
            yield "shards", "shards = %s: a compact cache is one" % text
