"""What benches/compare/run has measured, as lines, as a table of docs/performance.md and as its picture."""
import html, math, statistics

# What a case is called, its unit, how a sample becomes the figure, and in brackets beside it a rate.
PER_GB = ("CPU s/GB", lambda r: r["broker_cpu_seconds"] * 1e9 / r["bytes"], ("MB/s", lambda r: r["bytes"] / 1e6 / r["seconds"]))
EACH = ("CPU µs", lambda r: r["broker_cpu_seconds"] * 1e6 / r["records"], ("/s", lambda r: r["records"] / r["seconds"]))
FIELD = lambda unit, key: (unit, lambda r: r[key], None)
FIGURES = {
    "produce": [("produce 1 KiB, PLAINTEXT", *PER_GB)],
    "consume": [("consume 1 KiB, PLAINTEXT", *PER_GB)],
    "produce-tls": [("produce 1 KiB, SASL_SSL with ACLs", *PER_GB)],
    "consume-tls": [("consume 1 KiB, SASL_SSL with ACLs", *PER_GB)],
    "produce-100": [("produce 100 B, PLAINTEXT", *PER_GB)],
    "consume-100": [("consume 100 B, PLAINTEXT", *PER_GB)],
    "produce-lz4": [("produce 1 KiB in lz4", *PER_GB)],
    "consume-lz4": [("consume 1 KiB in lz4", *PER_GB)],
    "produce-acks1": [("produce 1 KiB, acks=1", *PER_GB)],
    "latency": [(f"latency of a record at 2,000/s, {name}", *FIELD("ms", key))
                for name, key in (("median", "p50_ms"), ("99th percentile", "p99_ms"), ("99.9th", "p999_ms"))]
               + [("the same, broker", *FIELD("CPU s", "broker_cpu_seconds"))],
    "logins": [("a login, SASL_SSL and SCRAM-SHA-512", *EACH)],
    "connections": [("a connection in clear with one request", *EACH)],
    "metadata": [("a Metadata request for one topic", *EACH)],
    "rules": [("the same over SASL_SSL, 50,000 ACLs on the topic", *EACH)],
    "rules-written": [("writing one of those ACLs", *EACH)],
    "members": [("1,000 members of a group rebalance", *FIELD("s", "seconds")), ("the same, broker", *FIELD("CPU s", "broker_cpu_seconds")),
                ("a heartbeat", *FIELD("CPU µs", "heartbeat_cpu_us"))],
    "groups": [("10,000 groups of one member", *FIELD("s", "seconds")), ("the same, broker", *FIELD("CPU s", "broker_cpu_seconds"))],
    "start": [("start until Metadata is answered", *FIELD("s", "seconds"))],
    "idle": [("resident memory, idle", *FIELD("MiB", "mib"))],
    "loaded": [("resident memory after the load", *FIELD("MiB", "mib"))],
}


class Row:
    """One figure of both brokers: medians, the median of the pairs' ratios and how far that median may lie off."""

    def __init__(self, case, name, unit, of, rate, ours, theirs, limit):
        self.case, self.name, self.unit, self.pairs = case, name, unit, len(ours)
        self.ours, self.theirs = ([of(r) for r in results] for results in (ours, theirs))
        self.rates = rate and (rate[0], *(statistics.median(map(rate[1], results)) for results in (ours, theirs)))
        self.ratios = sorted(s / k for s, k in zip(self.ours, self.theirs) if k > 0)
        self.limit = limit

    ratio = property(lambda self: statistics.median(self.ratios))

    @property
    def bounds(self):
        """The order statistics that hold the median with 95%, where there are enough pairs; else all."""
        n, out = len(self.ratios), 0
        while sum(math.comb(n, k) for k in range(out + 1)) / 2**n <= 0.025:
            out += 1
        out = max(out - 1, 0)
        return self.ratios[out], self.ratios[n - 1 - out]


def rows(samples, limits):
    """`samples`: (case, name of the broker) → results."""
    for case, figures in FIGURES.items():
        ours, theirs = samples.get((case, "schloss")), samples.get((case, "kafka"))
        if ours and theirs:
            for name, unit, of, rate in figures:
                row = Row(case, name, unit, of, rate, ours, theirs, limits.get(case))
                if row.ratios:
                    yield row


def number(value):
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"


def part(ratio):
    return f"{ratio:.2f}" if ratio >= 0.1 else f"{ratio:.3f}"


def cells(row):
    middles = [statistics.median(values) for values in (row.ours, row.theirs)]
    brackets = [f" ({number(rate)} {row.rates[0]})" if row.rates else "" for rate in (row.rates or (0, 0, 0))[1:]]
    low, high = row.bounds
    spread = f"{part(low)} to {part(high)}" if row.pairs > 1 else "-"
    limit = (number(row.limit), f"{middles[0] / row.limit:.1f}") if row.limit else ("", "")
    return [f"{row.name}, {row.unit}", number(middles[1]) + brackets[1], number(middles[0]) + brackets[0], part(row.ratio), spread, *limit]


HEAD = ["", "Apache Kafka 4.3.1", "Schloss", "ratio", "its bounds", "limit", "× limit"]


def text(rows):
    lines = [HEAD, *map(cells, rows)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(HEAD))]
    return "\n".join("  ".join(cell.ljust(width) if at == 0 else cell.rjust(width) for at, (cell, width) in enumerate(zip(line, widths))) for line in lines)


def markdown(rows):
    lines = [HEAD, ["---"] * len(HEAD), *map(cells, rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def picture(rows):
    """Schloss in parts of Apache Kafka, one bar a figure with its bounds, from a thousandth to twice as much."""
    rows = list(rows)
    left, width, step, top = 400, 440, 22, 52
    low, high = math.log10(0.01), math.log10(2)
    x = lambda ratio: left + width * (min(max(math.log10(max(ratio, 1e-9)), low), high) - low) / (high - low)
    height = top + step * len(rows) + 30
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {left + width + 70} {height}" font-family="sans-serif" font-size="12">',
           f'<rect width="100%" height="100%" fill="#fff"/>',
           f'<text x="10" y="20" font-size="14" font-weight="bold">Schloss, in parts of Apache Kafka 4.3.1 (less is better)</text>']
    for mark in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2):
        colour = "#b03030" if mark == 1 else "#ddd"
        out.append(f'<line x1="{x(mark):.0f}" x2="{x(mark):.0f}" y1="{top - 8}" y2="{height - 26}" stroke="{colour}"/>')
        out.append(f'<text x="{x(mark):.0f}" y="{top - 14}" text-anchor="middle" fill="#555">{mark:g}</text>')
    for at, row in enumerate(rows):
        y = top + at * step
        bounds = row.bounds
        out.append(f'<text x="{left - 8}" y="{y + 12}" text-anchor="end">{html.escape(f"{row.name}, {row.unit}")}</text>')
        out.append(f'<rect x="{left}" y="{y + 2}" width="{max(x(row.ratio) - left, 1):.0f}" height="13" fill="#4878a8"/>')
        if row.pairs > 1:
            out.append(f'<line x1="{x(bounds[0]):.0f}" x2="{x(bounds[1]):.0f}" y1="{y + 8.5}" y2="{y + 8.5}" stroke="#102030" stroke-width="2"/>')
        out.append(f'<text x="{left + width + 10}" y="{y + 12}">{part(row.ratio)}</text>')
    out.append("</svg>")
    return "\n".join(out) + "\n"
