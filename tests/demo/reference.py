"""The counts that depgraph prints, by other means: its input read and walked here once more."""

import re

def count_graph(packages, answers):
    """packages: name -> names it depends on, in the order of the file; answers: name -> package.
    Returns packages, edges, missing, starts of walks, different names asked for."""
    edges = [(p, d) for p, wanted in packages.items() for d in wanted]
    wanted = {answers[d] for _, d in edges if d in answers}
    starts, reached = [], set()

    def walk(roots):
        starts.extend(roots)
        todo = list(roots)
        while todo:
            package = todo.pop()
            if package not in reached:
                reached.add(package)
                todo.extend(answers[d] for d in packages[package] if d in answers)

    walk([p for p in packages if p not in wanted])
    for p in packages:
        if p not in reached:
            walk([p])
    names = {d for _, d in edges} | set(starts)
    return len(packages), len(edges), sum(d not in answers for _, d in edges), len(starts), len(names)


def count_status(path):
    with open(path, encoding="utf-8", errors="surrogateescape") as f:
        text = f.read()
    found, provided = {}, {}
    for stanza in re.split(r"\n(?:[ \t]*\n)+", text.strip("\n")):
        fields = dict(re.findall(r"(?m)^([^\s:]+):[ \t]*(.*(?:\n[ \t].*)*)", stanza))
        state = fields.get("Status", "install ok installed").split()[-1]
        if state not in ("installed", "triggers-pending", "triggers-awaited") or fields["Package"] in found:
            continue
        groups = []
        for field in ("Pre-Depends", "Depends"):
            groups += [g for g in fields.get(field, "").split(",") if g.strip()]
        found[fields["Package"]] = [[re.match(r"\s*([^\s:(\[]+)", a)[1] for a in g.split("|")] for g in groups]
        for name in fields.get("Provides", "").split(","):
            if name.strip():
                provided.setdefault(name.split()[0], fields["Package"])
    answers = dict(provided, **{name: name for name in found})
    packages = {name: list(dict.fromkeys(next((a for a in g if a in answers), g[0]) for g in groups))
                for name, groups in found.items()}
    return count_graph(packages, answers)


def read_borders(path):
    borders = {}
    with open(path, encoding="utf-8") as f:
        for line in f:
            if line.strip() and not line.startswith("#"):
                head, _, tail = line.partition(":")
                borders[head[3:]] = (head[:2], [n.strip() for n in tail.split(",") if n.strip()])
    return borders


def count_borders(path):
    packages = {name: neighbours for name, (_, neighbours) in read_borders(path).items()}
    return count_graph(packages, {name: name for name in packages})
